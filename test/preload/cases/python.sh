# SPDX-License-Identifier: MIT
# about: json, re, threads, multiprocessing, zlib, ctypes; once with every object from malloc
# programs: python3
# packages: python3
# set: quick
# check: python3 -c 'import multiprocessing; multiprocessing.Lock()'
# probe: python3 -c pass

prepare() {
    cat >"$INPUT/work.py" <<'PYTHON'
import collections, ctypes, hashlib, json, multiprocessing, re, sqlite3, threading, zlib

def number(seed):
    return (seed * 1103515245 + 12345) % 2**31

def record(i):
    n = number(i)
    return {"id": i, "name": f"user {n % 9973}", "tags": [f"t{n % k}" for k in range(1, n % 9 + 2)],
            "text": "x" * (n % 700), "nested": {"score": n / 7, "ok": n % 3 == 0, "none": None}}

def json_and_regex():
    records = [record(i) for i in range(6000)]
    text = json.dumps(records, indent=1, sort_keys=True)
    assert json.loads(text) == records
    words = collections.Counter(re.findall(r"t(\d+)|user (\d{1,3})\b", text))
    print("json", len(text), hashlib.sha256(text.encode()).hexdigest())
    print("regex", sorted(words.items())[:5], len(re.sub(r"x{3,}", lambda m: str(len(m[0])), text)))

def worker(name, results):
    kept, total = [], 0
    for i in range(20000):
        n = number(i + name)
        kept.append(bytearray(n % 2000))
        if len(kept) > 300:
            total += len(kept.pop(n % 300))
    results[name] = total

def threads():
    results = {}
    workers = [threading.Thread(target=worker, args=(i, results)) for i in range(6)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    print("threads", sorted(results.items()))

def compress(i):
    data = bytes(number(i * 1000 + j) % 251 for j in range(20000)) * 3
    return hashlib.sha256(zlib.decompress(zlib.compress(data, 6))).hexdigest()

def processes():
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print("pool", hashlib.sha256("".join(pool.map(compress, range(30))).encode()).hexdigest())

def libraries():
    libc = ctypes.CDLL(None)
    libc.strdup.restype = ctypes.c_void_p
    copy = libc.strdup(b"from the C library")
    print("ctypes", ctypes.string_at(copy).decode())
    libc.free(ctypes.c_void_p(copy))
    database = sqlite3.connect(":memory:")
    database.execute("create table t(a, b)")
    database.executemany("insert into t values(?, ?)", ((i, "v" * (i % 50)) for i in range(5000)))
    print("sqlite", database.execute("select sum(length(b)), count(distinct b) from t").fetchone())

if __name__ == "__main__":
    json_and_regex()
    threads()
    processes()
    libraries()
PYTHON
}

run() {
    export PYTHONHASHSEED=0
    python3 "$INPUT/work.py"
    PYTHONMALLOC=malloc python3 "$INPUT/work.py"
}
