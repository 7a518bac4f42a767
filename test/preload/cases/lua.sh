# SPDX-License-Identifier: MIT
# about: tables, strings, closures, coroutines and the collector, every object by realloc and free
# programs: lua5.4
# packages: lua5.4
# set: quick
# probe: lua5.4 -v

prepare() {
    cat >"$INPUT/work.lua" <<'LUA'
local mode = ...
collectgarbage(mode)
local seed = 42
local function number(n) seed = (seed * 1103515245 + 12345) % 2147483648; return seed % n end
local kept = {}
for i = 1, 150000 do
    kept[number(20000)] = { id = i, text = string.rep(string.char(97 + number(26)), number(200)), {} }
end
local total, n = 0, 0
for key, value in pairs(kept) do total = total + #value.text; n = n + 1 end
print("tables", n, total)
local parts = {}
for i = 1, 40000 do parts[#parts + 1] = string.format("%d:%s", i, ("%x"):format(number(65536))) end
local text = table.concat(parts, ",")
print("strings", #text, select(2, text:gsub("%f[%x](%x)%1", "<%0>")), text:upper():find("77:", 1, true))
table.sort(parts, function(a, b) return a:reverse() < b:reverse() end)
print("sort", parts[1], parts[#parts])
local function tree(depth) if depth == 0 then return { } end return { tree(depth - 1), tree(depth - 1) } end
local function count(t) local c = 1; for _, s in ipairs(t) do c = c + count(s) end; return c end
for i = 1, 8 do io.write(count(tree(i + 6)), " ") end print()
local sum = 0
for i = 1, 4000 do
    local co = coroutine.wrap(function(a) for j = 1, 10 do a = a + coroutine.yield(a) end return a end)
    sum = sum + co(i) for j = 1, 10 do sum = sum + co(j) end
end
print("coroutines", sum)
local closed = 0
for i = 1, 5000 do setmetatable({}, { __gc = function() closed = closed + 1 end }) end
kept, parts = nil, nil
collectgarbage() collectgarbage()
print("collected", closed, collectgarbage("count") < 8000)
print(pcall(function() error({ code = 5 }) end))
LUA
}

run() {
    lua5.4 "$INPUT/work.lua" incremental | sed 's/0x[0-9a-f]*/ADDRESS/'
    lua5.4 "$INPUT/work.lua" generational | sed 's/0x[0-9a-f]*/ADDRESS/'
}
