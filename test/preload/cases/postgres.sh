# SPDX-License-Identifier: MIT
# about: server with parallel queries under pgbench, indexes, vacuum, dump and restore
# programs: /usr/lib/postgresql/*/bin/postgres /usr/lib/postgresql/*/bin/pgbench setpriv
# packages: postgresql postgresql-contrib util-linux
# set: long
# probe: /usr/lib/postgresql/*/bin/postgres --version

# The server refuses to run as root.
user=()
[ "$(id -u)" -ne 0 ] || user=(setpriv --reuid=postgres --regid=postgres --clear-groups --)
as_user() { "${user[@]}" "$@"; }

start_server() {
    "${user[@]}" postgres -D "$TMPDIR/data" -k "$TMPDIR" -c listen_addresses= -c fsync=off \
        -c max_parallel_workers_per_gather=2 -c min_parallel_table_scan_size=0 \
        -c parallel_setup_cost=0 -c autovacuum=off >"$TMPDIR/log" 2>&1 &
    server=$!
    wait_for $server as_user psql -h "$TMPDIR" -d postgres -c 'select 1'
    expect_active $server
}

sql() { as_user psql -h "$TMPDIR" -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

run() {
    local servers=(/usr/lib/postgresql/*/bin/postgres)
    PATH=${servers[-1]%/*}:$PATH
    export PGDATABASE=postgres
    chmod 777 "$TMPDIR"
    [ "$(id -u)" -ne 0 ] || chmod 711 "$(dirname "$TMPDIR")"
    as_user initdb -D "$TMPDIR/data" -A trust --no-sync >"$TMPDIR/initdb" 2>&1
    start_server
    as_user pgbench -h "$TMPDIR" -i -s 2 -q 2>/dev/null
    as_user pgbench -h "$TMPDIR" -c 4 -j 2 -t 250 --random-seed=1 >/dev/null 2>&1
    sql -c 'select sum(abalance), count(*) from pgbench_accounts' \
        -c 'select sum(tbalance) from pgbench_tellers' -c 'select sum(delta) from pgbench_history'
    sql -c 'select bid, count(*), avg(aid) from pgbench_accounts group by bid order by bid' \
        -c 'select a.aid from pgbench_accounts a join pgbench_accounts b using (aid) order by md5(a.aid::text) limit 5' \
        -c "select md5(string_agg(x, ',' order by x)) from (select repeat(i::text, i % 50) x from generate_series(1, 60000) i) t" \
        -c "create table j as select jsonb_build_object('a', i, 'b', array[i, i * 2]) d from generate_series(1, 30000) i" \
        -c 'create index on j using gin (d)' -c "select count(*) from j where d @> '{\"a\": 77}'" \
        -c 'vacuum full analyze'
    sql -c "do \$\$ begin for i in 1..2000 loop begin perform 1 / (i % 2); exception when others then null; end; end loop; end \$\$"
    # Rows lie where the clients' order left them; the comments name versions.
    as_user pg_dump -h "$TMPDIR" -t pgbench_accounts -t j | grep -v -e '^--' -e restrict | LC_ALL=C sort | digest
    stop $server
    start_server
    sql -c 'select count(*), sum(aid) from pgbench_accounts'
    stop $server
}
