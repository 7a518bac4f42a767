# SPDX-License-Identifier: MIT
# about: buffers, workers, streams, zlib and crypto on its thread pool, a server on a unix socket
# programs: node
# packages: nodejs
# set: long
# probe: node -e 0

prepare() {
    cat >"$INPUT/work.js" <<'JS'
const crypto = require("crypto"), http = require("http"), util = require("util"), zlib = require("zlib");
const { Worker, isMainThread, parentPort, workerData } = require("worker_threads");
const hash = (data) => crypto.createHash("sha256").update(data).digest("hex");
let seed = 5;
const number = (n) => (seed = (seed * 16807) % 2147483647) % n;

function work(start) {
    seed = start;
    const kept = new Map();
    for (let i = 0; i < 20000; i++) {
        kept.set(number(400), Buffer.alloc(number(20000), i % 251));
        if (i % 3 == 0) kept.delete(number(400));
    }
    return hash(Buffer.concat([...kept.keys()].sort((a, b) => a - b).map((k) => kept.get(k))));
}

if (!isMainThread) {
    parentPort.postMessage(work(workerData));
} else {
    (async () => {
        console.log("buffers", work(9));
        const workers = [1, 2, 3, 4].map((n) => new Promise((done, fail) =>
            new Worker(__filename, { workerData: n }).on("message", done).on("error", fail)));
        console.log("workers", await Promise.all(workers));
        const data = Buffer.from(Array.from({ length: 400000 }, () => number(60) + 32));
        const packed = await Promise.all([1, 4, 9].map((level) => util.promisify(zlib.deflate)(data, { level })));
        for (const p of packed) console.log("zlib", hash(p), zlib.inflateSync(p).equals(data));
        const keys = await Promise.all([1, 2, 3, 4, 5].map((n) => util.promisify(crypto.scrypt)("secret", "salt" + n, 32)));
        console.log("scrypt", keys.map((k) => k.toString("hex")));
        const server = http.createServer((q, r) => r.end(hash(q.url).repeat(50)));
        await new Promise((done) => server.listen(process.env.TMPDIR + "/node.socket", done));
        const get = (path) => new Promise((done, fail) => http.get({ socketPath: process.env.TMPDIR + "/node.socket", path }, (r) => {
            const parts = []; r.on("data", (d) => parts.push(d)); r.on("end", () => done(Buffer.concat(parts)));
        }).on("error", fail));
        const answers = await Promise.all(Array.from({ length: 300 }, (_, i) => get("/page" + i)));
        console.log("http", hash(Buffer.concat(answers)));
        server.close();
    })();
}
JS
}

run() { node "$INPUT/work.js"; }
