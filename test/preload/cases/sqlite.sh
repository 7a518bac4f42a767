# SPDX-License-Identifier: MIT
# about: SQL over generated tables: indexes, windows, json, full text, vacuum; the file must be equal
# programs: sqlite3
# packages: sqlite3
# set: quick
# probe: sqlite3 :memory: .databases

prepare() {
    cat >"$INPUT/work.sql" <<'SQL'
PRAGMA page_size = 4096;
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, data BLOB);
WITH RECURSIVE n(i, x) AS (SELECT 1, 12345 UNION ALL
    SELECT i + 1, (x * 1103515245 + 12345) % 2147483648 FROM n WHERE i < 40000)
INSERT INTO item SELECT i, 'name ' || (x % 5003), (x % 100000) / 100.0, zeroblob(x % 300) FROM n;
CREATE INDEX by_name ON item(name, price);
CREATE TABLE sale AS SELECT id AS sale, (id * 7919) % 40000 + 1 AS item, id % 13 AS shop FROM item;
SELECT shop, count(*), round(sum(price), 2), count(DISTINCT name) FROM sale JOIN item ON item = id
    GROUP BY shop ORDER BY shop;
SELECT name, price, rank() OVER (PARTITION BY shop ORDER BY price DESC, id) AS r FROM sale
    JOIN item ON item = id WHERE shop = 3 ORDER BY r, name LIMIT 20;
SELECT sum(json_extract(json_object('a', id, 'b', json_array(name, price)), '$.a')) FROM item;
SELECT length(group_concat(name, ';')) FROM (SELECT name FROM item ORDER BY name DESC);
CREATE VIRTUAL TABLE words USING fts5(body);
INSERT INTO words SELECT name || ' of shop ' || (id % 97) FROM item WHERE id % 4 = 0;
SELECT count(*), min(rowid), max(rowid) FROM words WHERE words MATCH 'shop AND "5"';
BEGIN; DELETE FROM item WHERE id % 3 = 0; ROLLBACK;
DELETE FROM item WHERE id % 5 = 0;
UPDATE item SET data = zeroblob(3) || name WHERE id % 7 = 0;
VACUUM;
PRAGMA integrity_check;
SQL
}

run() {
    sqlite3 file.db <"$INPUT/work.sql"
    sqlite3 file.db .dump | digest
    sqlite3 -cmd 'PRAGMA temp_store=MEMORY' -cmd 'PRAGMA cache_size=20000' file.db \
        'SELECT a.name, count(*) FROM item a JOIN item b ON a.name = b.name GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5'
    if sqlite3 file.db 'SELECT nothing FROM nowhere'; then die "a wrong query succeeded"; fi
}
