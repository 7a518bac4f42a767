# SPDX-License-Identifier: MIT
# about: server with a thread a connection, tables, joins, procedures and concurrent clients
# programs: mariadbd mariadb mariadb-install-db awk
# packages: mariadb-server gawk
# set: long
# probe: mariadbd --no-defaults --version

sql() { mariadb --no-defaults -u root -S "$TMPDIR/socket" -N -B "$@"; }

prepare() {
    cat >"$INPUT/work.sql" <<'SQL'
create table item(id int primary key, name varchar(80), price int, note text, key(name)) engine=innodb;
insert into item select seq, concat('name ', seq * 7919 % 5003), seq * 31 % 9973, repeat('n', seq % 900) from seq_1_to_30000;
create table sale engine=aria as select id as sale, id * 7 % 30000 + 1 as item, id % 11 as shop from item;
select shop, count(*), sum(price), count(distinct name) from sale join item on item = id group by shop order by shop;
select name, price, rank() over (partition by shop order by price desc, id) r from sale join item on item = id where shop = 3 order by r, name limit 10;
with recursive n as (select 1 i union all select i + 1 from n where i < 900) select sum(i), max(json_extract(json_object('a', i), '$.a')) from n;
select md5(group_concat(name order by id separator ',')) from item where id < 60;
delete from item where id % 5 = 0; update item set note = reverse(concat(name, note)) where id % 7 = 0; optimize table item;
check table item; checksum table sale;
SQL
}

client() { # NUMBER
    local i
    for i in $(seq 60); do
        echo "insert into log values($1, $i, repeat('x', $i * 30)); select count(*) from item where name like '%$i%';"
    done | sql work | digest
}

run() {
    local user=() i clients=()
    [ "$(id -u)" -ne 0 ] || user=(--user=root)
    mariadb-install-db --no-defaults "${user[@]}" --datadir="$TMPDIR/data" --skip-test-db \
        --auth-root-authentication-method=normal >"$TMPDIR/install" 2>&1
    mariadbd --no-defaults "${user[@]}" --datadir="$TMPDIR/data" --socket="$TMPDIR/socket" --skip-networking \
        --pid-file="$TMPDIR/pid" --innodb-buffer-pool-size=32M --innodb-flush-log-at-trx-commit=0 \
        --group-concat-max-len=100000 >"$TMPDIR/log" 2>&1 &
    local server=$!
    wait_for $server sql -e 'select 1'
    expect_active $server
    sql -e 'create database work'
    sql work <"$INPUT/work.sql"
    sql work -e 'create table log(client int, n int, data text)'
    for i in 1 2 3 4 5 6; do
        client "$i" >"$TMPDIR/client$i" &
        clients+=($!)
    done
    wait "${clients[@]}"
    cat "$TMPDIR"/client?
    sql work -e 'select client, count(*), sum(length(data)) from log group by client order by client'
    stop $server
}
