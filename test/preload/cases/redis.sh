# SPDX-License-Identifier: MIT
# about: server with io-threads under redis-benchmark, bulk load, expiry, lua, save by fork, reload
# programs: redis-check-rdb redis-cli redis-benchmark awk
# packages: redis-tools gawk
# set: quick
# probe: redis-cli --version

# The server is redis-check-rdb under its other name (it looks at argv[0]): so no package has to be
# installed that starts a service.
start_server() {
    (exec -a redis-server redis-check-rdb --port 0 --unixsocket "$TMPDIR/socket" --save '' \
        --dir "$TMPDIR" --io-threads 2 --io-threads-do-reads yes --enable-debug-command yes \
        --hz 50 --activerehashing yes --logfile "$TMPDIR/log") &
    server=$!
    wait_for $server redis-cli -s "$TMPDIR/socket" ping
    expect_active $server
}

cli() { redis-cli -s "$TMPDIR/socket" "$@"; }

# A command a line, values of many sizes, some overwritten and some deleted again.
prepare() {
    awk 'BEGIN { x = 1; for (i = 0; i < 20000; i++) {
        x = (x * 1103515245 + 12345) % 2147483648
        value = sprintf("%*d", x % 600 + 1, x); gsub(/ /, "v", value)
        kind = x % 6
        if (kind == 0) print "SET", "s" x % 9973, value
        if (kind == 1) print "HSET", "h" x % 97, "f" i % 1000, value
        if (kind == 2) print "RPUSH", "l" x % 53, value
        if (kind == 3) print "SADD", "set" x % 31, x % 5000
        if (kind == 4) print "ZADD", "z" x % 31, x % 1000, "m" i % 3000
        if (kind == 5) print "DEL", "s" x % 9973, "f" i
        if (i % 500 == 0) print "LTRIM", "l" x % 53, 0, 100
    } }' >"$INPUT/commands"
}

show_state() {
    cli dbsize
    cli debug digest
    cli --raw --scan | LC_ALL=C sort | digest
}

run() {
    start_server
    redis-benchmark -q -s "$TMPDIR/socket" -c 24 -n 2000 -P 4 -d 300 \
        -t set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100,mset >/dev/null 2>&1
    show_state
    cli flushall async
    cli <"$INPUT/commands" | digest
    cli eval 'local t = {} for i = 1, 20000 do t[i] = string.rep("x", i % 90) end
        redis.call("SET", "lua", table.concat(t)) return #t' 0
    cli eval 'for i = 1, 3000 do redis.call("SET", "gone" .. i, ("y"):rep(i), "PX", 1) end' 0
    while [[ $(cli info keyspace) == *expires=[1-9]* ]]; do sleep 0.05; done
    show_state
    cli config set activedefrag no
    cli bgsave >/dev/null
    redis-benchmark -q -s "$TMPDIR/socket" -c 8 -n 5000 -t get,ping >/dev/null 2>&1
    while [[ $(cli info persistence) == *rdb_bgsave_in_progress:1* ]]; do sleep 0.05; done
    cli info persistence | grep -o 'rdb_last_bgsave_status:[a-z]*'
    stop $server
    start_server
    show_state
    cli memory doctor >/dev/null
    cli memory purge
    stop $server
}
