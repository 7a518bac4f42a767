# SPDX-License-Identifier: MIT
# about: RocksDB's db_bench with threads: fill, overwrite, compaction, reads, merges, and all of it dumped
# programs: db_bench ldb
# packages: rocksdb-tools
# set: long
# probe: ldb --version

# What it prints are rates; what it must have in common is the database, whose keys and values follow
# from the seed.  One writer, so that the order of writes is the same.
bench() {
    db_bench --db="$TMPDIR/db" --seed=7 --num=60000 --value_size=300 --write_buffer_size=2000000 \
        --target_file_size_base=1000000 --max_background_jobs=4 --cache_size=4000000 \
        --disable_wal=1 "$@" >"$TMPDIR/log" 2>&1 || die "db_bench $*: $(tail -3 "$TMPDIR/log")"
}

run() {
    bench --benchmarks=fillrandom,overwrite,flush,compact --use_existing_db=0
    ldb --db="$TMPDIR/db" scan --hex | digest
    bench --benchmarks=readrandom,readseq,seekrandom,multireadrandom --use_existing_db=1 --threads=4 --reads=20000
    bench --benchmarks=deleterandom,mergerandom,flush,compact --merge_operator=put --use_existing_db=1 --bloom_bits=10
    ldb --db="$TMPDIR/db" scan --hex | digest
    ldb --db="$TMPDIR/db" idump --count_only | head -1
}
