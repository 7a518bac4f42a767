# SPDX-License-Identifier: MIT
# about: objects, strings, regular expressions, json, threads, fibers, compaction of the heap
# programs: ruby
# packages: ruby
# set: long
# probe: ruby -e 1

prepare() {
    cat >"$INPUT/work.rb" <<'RUBY'
require "json"; require "digest"; require "set"; require "zlib"
$seed = 3
def number(n) = ($seed = ($seed * 1103515245 + 12345) % 2147483648) % n
records = (0...20000).map { |i| { "id" => i, "name" => "n" * number(120), "list" => Array.new(number(12)) { number(1000) } } }
text = JSON.pretty_generate(records)
puts text.length, Digest::SHA256.hexdigest(text), JSON.parse(text) == records
puts text.scan(/"name": "(n+)"/).sum { |m| m[0].length }, text.gsub(/\d+/) { |d| d.to_i.to_s(16) }.length
table = Hash.new { |h, k| h[k] = [] }
200_000.times { |i| table["k#{number(5003)}"] << i; table.delete("k#{number(5003)}") if i % 4 == 0 }
puts table.values.sum(&:length), table.keys.sort.first(3).inspect
puts 4.times.map { |t| Thread.new { (0...20000).each_with_object(Set.new) { |i, s| s << "t#{(i * (t + 3)) % 997}" }.size } }.map(&:value).inspect
fibers = 2000.times.map { |i| Fiber.new { |x| 5.times { x = Fiber.yield(x + i) } ; x } }
puts fibers.sum { |f| f.resume(1) + f.resume(2) }
puts 2 ** 20000 % 1_000_000_007, (1..600).inject(:*).to_s.length
puts Zlib::Inflate.inflate(Zlib::Deflate.deflate(text)) == text
GC.start; GC.compact if GC.respond_to?(:compact)
puts table.size, ObjectSpace.each_object(Hash).count > 10000
5.times { |i| pid = fork { exit!(records.sum { |r| r["id"] * i } % 97) }; Process.wait(pid); print $?.exitstatus, " " }
puts
RUBY
}

run() {
    ruby "$INPUT/work.rb"
    MALLOC_ARENA_MAX=1 ruby -e 'a = Array.new(300000) { |i| "s#{i}" }; a.shuffle!(random: Random.new(1)); puts a.first, a.sort.last'
}
