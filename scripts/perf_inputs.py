# SPDX-License-Identifier: MIT
"""Inputs for the real programs of the suite: generated, the same each time, scaled by a size.

Each maker takes a directory and a size (1.0: about a second under glibc) and returns a Command.
What a program prints is compared between allocators: nothing may print a time or an address.
"""

import os
import random
import shutil
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    argv: list
    stdin: str = os.devnull
    server: dict = None      # for redis: how to load the server and how to stop it
    needs_libc: bool = False  # linked to an allocator of its own: "glibc" is preloaded too


def _write(directory, name, lines):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    return path


# ---- A compiler --------------------------------------------------------------------------------

CXX_BLOCK = """
struct Record{i} {{
    std::string name; std::vector<double> values; std::map<int, std::string> index;
    template <typename F> double fold(F f) const {{
        return std::accumulate(values.begin(), values.end(), 0.0, f);
    }}
    bool operator<(const Record{i} &o) const {{
        return std::tie(name, values) < std::tie(o.name, o.values);
    }}
}};
double use{i}(std::vector<Record{i}> &all) {{
    std::sort(all.begin(), all.end());
    std::function<double(double, double)> f = [&](double a, double b) {{ return a * {i} + b; }};
    double sum = 0;
    for (auto &r : all) {{
        r.index.emplace({i}, r.name + "{i}");
        sum += r.fold(f) + r.fold([](double a, double b) {{ return a > b ? a : b; }});
    }}
    return sum;
}}"""


def gxx(directory, size):
    lines = [f"#include <{h}>" for h in ("algorithm", "functional", "map", "numeric", "string",
                                         "tuple", "vector")]
    lines += [CXX_BLOCK.format(i=i) for i in range(max(1, int(6 * size)))]
    source = _write(directory, "generated.cc", lines)
    return Command(["g++", "-O1", "-c", source, "-o", os.path.join(directory, "generated.o")])


# ---- Script languages --------------------------------------------------------------------------

PYTHON = """
import json, re, sys
class Node:
    def __init__(self, key, left, right):
        self.key, self.left, self.right = key, left, right
def tree(depth):
    return Node(depth, tree(depth - 1), tree(depth - 1)) if depth else None
def count(node):
    return 1 + count(node.left) + count(node.right) if node else 0
total = 0
for step in range(int(sys.argv[1])):
    rows = [{'id': i, 'name': 'name%d' % (i * 7919 % 1000),
             'tags': ['t%d' % (i % k) for k in range(1, 6)]} for i in range(2000)]
    text = json.dumps(rows)
    back = json.loads(text)
    by_name = {}
    for row in back:
        by_name.setdefault(row['name'], []).append(row['id'])
    words = re.findall(r'name[0-9]+', text)
    total += count(tree(11)) + len(sorted(words)) + sum(map(len, by_name.values()))
    total += len(' '.join(str(x ** 5) for x in range(3000)))
print(total)
"""

PERL = """
use strict; use warnings;
my $total = 0;
for my $round (1 .. $ARGV[0]) {
    my %count; my @lines;
    for my $i (0 .. 9999) {
        my $key = 'k' . ($i * 7919 % 5000);
        $count{$key} .= "$i,";
        push @lines, join(' ', map { chr(97 + ($i * $_) % 26) x ($_ % 9 + 1) } 1 .. 6);
    }
    my @sorted = sort { $a cmp $b } @lines;
    for my $line (@sorted) {
        my @words = split / /, $line;
        $line =~ s/([aeiou])/<$1>/g;
        $total += length($line) + scalar(@words);
    }
    my %nested = map { $_ => { list => [split /,/, $count{$_}] } } keys %count;
    $total += scalar @{ $nested{$_}{list} } for keys %nested;
}
print "$total\\n";
"""

LUA = """
local total = 0
local function tree(depth)
  if depth == 0 then return {} end
  return {tree(depth - 1), tree(depth - 1)}
end
local function count(t) return t[1] and 1 + count(t[1]) + count(t[2]) or 1 end
for round = 1, tonumber(arg[1]) do
  total = total + count(tree(14))
  local words, index = {}, {}
  for i = 1, 10000 do
    local word = string.rep(string.char(97 + i % 26), i % 17 + 1) .. i
    words[#words + 1] = word
    index[word] = {i, function() return i + round end}
  end
  table.sort(words)
  for _, word in ipairs(words) do total = total + index[word][2]() + #word:upper() end
  total = total + #table.concat(words, ",")
end
print(total)
"""

PHP = """<?php
$total = 0;
for ($round = 0; $round < (int)$argv[1]; $round++) {
    $index = [];
    for ($i = 0; $i < 20000; $i++) {
        $index['key' . ($i * 7919 % 8000)][] = str_repeat(chr(97 + $i % 26), $i % 40 + 1);
    }
    ksort($index);
    foreach ($index as $key => $list) {
        $text = implode(',', $list);
        $total += strlen(strtoupper($text)) + count(explode(',', $text));
        $total += preg_match_all('/a+/', $text);
    }
    $total += strlen(serialize($index));
    $copy = unserialize(serialize($index));
    $total += count($copy);
}
echo $total, "\\n";
"""


def _real_python():
    """A python3 that is a program: version managers put a shell script in its place."""
    for path in ("/usr/bin/python3", sys.executable):
        if os.path.exists(path):
            return path
    return "python3"


def _script(interpreter, name, text, rounds):
    def make(directory, size):
        path = _write(directory, name, [text])
        return Command([*interpreter, path, str(max(1, round(rounds * size)))])
    return make


# ---- Data bases --------------------------------------------------------------------------------

def sqlite(directory, size):
    rng = random.Random(1)
    n = max(100, int(60000 * size))
    lines = ["CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, kind INT);",
             "CREATE TABLE sale(item INT, n INT, note TEXT);", "BEGIN;"]
    lines += [f"INSERT INTO item VALUES({i},'item {rng.randrange(n)}',{rng.randrange(9999) / 100},"
              f"{rng.randrange(50)});" for i in range(n)]
    lines += [f"INSERT INTO sale VALUES({rng.randrange(n)},{rng.randrange(9)},"
              f"'{'x' * rng.randrange(60)}');" for _ in range(n)]
    lines += ["COMMIT;", "CREATE INDEX by_name ON item(name);",
              "CREATE INDEX by_item ON sale(item);",
              "SELECT kind, count(*), sum(price) FROM item GROUP BY kind ORDER BY kind;",
              "SELECT sum(i.price * s.n), max(s.note) FROM item i JOIN sale s ON s.item = i.id;",
              "SELECT count(*) FROM (SELECT name || note FROM item i JOIN sale s ON s.item = i.id"
              " ORDER BY 1);",
              "UPDATE item SET name = upper(name) || kind WHERE kind < 25;",
              "DELETE FROM sale WHERE n < 3;", "SELECT count(*), max(name) FROM item, sale"
              " WHERE sale.item = item.id;"]
    return Command(["sqlite3", ":memory:"], stdin=_write(directory, "statements.sql", lines))


def redis(directory, size):
    socket = os.path.join(directory, "redis.sock")
    server = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly",
              "no", "--dir", directory, "--daemonize", "no", "--loglevel", "warning"]
    load = ["redis-benchmark", "-s", socket, "-q", "-P", "16", "-c", "8", "-n",
            str(max(2000, int(150000 * size))), "-r", "100000", "-d", "100",
            "-t", "set,get,incr,lpush,rpop,sadd,hset,zadd,mset"]
    stop = ["redis-cli", "-s", socket, "shutdown", "nosave"]
    return Command(server, server={"socket": socket, "load": load, "stop": stop}, needs_libc=True)


# ---- Others ------------------------------------------------------------------------------------

def _schedule(rng, n_jobs):
    """SMT lines: jobs of three steps, a machine for each step; done in ever less time?"""
    time = [[rng.randrange(2, 9) for _ in range(3)] for _ in range(n_jobs)]
    lines = ["(push)"]
    for job in range(n_jobs):
        lines += [f"(declare-const s{job}_{m} Int)" for m in range(3)]
        lines.append(f"(assert (>= s{job}_0 0))")
        lines += [f"(assert (>= s{job}_{m + 1} (+ s{job}_{m} {time[job][m]})))" for m in range(2)]
        for other in range(job):
            lines += [f"(assert (or (>= s{job}_{m} (+ s{other}_{m} {time[other][m]}))"
                      f" (>= s{other}_{m} (+ s{job}_{m} {time[job][m]}))))" for m in range(3)]
    total = max(sum(time[job][m] for job in range(n_jobs)) for m in range(3))
    for slack in (20, 12, 8, 6):
        lines += ["(push)", *(f"(assert (<= s{job}_2 {total + slack - time[job][2]}))"
                              for job in range(n_jobs)), "(check-sat)", "(pop)"]
    return lines + ["(pop)"]


def z3(directory, size):
    """Products to factor by bit vectors, and jobs to schedule by linear arithmetic, in turn."""
    rng = random.Random(4)
    lines = []
    for product in (1021 * 1019, 1013 * 1009, 997 * 991, 983 * 977)[:max(1, round(4 * size))]:
        lines += ["(push)", "(declare-const a (_ BitVec 24))", "(declare-const b (_ BitVec 24))",
                  "(assert (bvule a b))", "(assert (bvult #x000001 a))",
                  "(assert (bvult b #x001000))", f"(assert (= (bvmul a b) (_ bv{product} 24)))",
                  "(check-sat)", "(pop)"]
        lines += _schedule(rng, 7)
    return Command(["z3", _write(directory, "questions.smt2", lines)])


def xmllint(directory, size):
    rng = random.Random(2)
    lines = ["<shop>"]
    for i in range(max(10, int(60000 * size))):
        lines.append(f'<item id="i{i}" kind="{rng.randrange(40)}"><name>name {rng.randrange(5000)}'
                     f'</name><price>{rng.randrange(10000)}</price></item>')
    lines.append("</shop>")
    query = "count(//item[price > 5000]) + sum(//item[@kind = '7']/price)"
    return Command(["xmllint", "--xpath", query, _write(directory, "shop.xml", lines)])


def _xz(n_threads):
    def make(directory, size):
        rng = random.Random(3)
        words = ["".join(rng.choice("abcdefgh") for _ in range(rng.randrange(2, 12)))
                 for _ in range(3000)]
        lines = [" ".join(rng.choice(words) for _ in range(12)) for _ in range(int(14000 * size))]
        return Command(["xz", "-6", "-c", "-T", str(n_threads), "--block-size=1MiB",
                        _write(directory, f"words{n_threads}.txt", lines)])
    return make


def shell(directory, _size):
    lines = ["for i in 1 2 3 4 5; do", "  /bin/true; x=$(echo $i | cat); /bin/echo $x >/dev/null",
             "done"]
    return Command(["/bin/sh", _write(directory, "script.sh", lines)])


MAKERS = {
    "gxx": gxx,
    "python": _script([_real_python()], "work.py", PYTHON, 16),
    "sqlite": sqlite,
    "perl": _script(["perl"], "work.pl", PERL, 8),
    "lua": _script(["lua5.4"], "work.lua", LUA, 20),
    "redis": redis,
    "z3": z3,
    "php": _script(["php", "-n"], "work.php", PHP, 20),
    "php-extensions": _script(["php"], "work-extensions.php", PHP, 20),
    "xmllint": xmllint,
    "xz": _xz(1),
    "xz-2t": _xz(2),
    "shell": shell,
}


class Inputs:
    """Makes each input once, in a directory of its own that the caller removes."""

    def __init__(self, directory):
        self.directory = directory
        self.made = {}

    def command(self, name, size):
        """The Command, or None if the program is not installed."""
        if (name, size) not in self.made:
            place = os.path.join(self.directory, f"{name}-{size}")
            os.makedirs(place, exist_ok=True)
            command = MAKERS[name](place, size)
            found = shutil.which(command.argv[0])
            if command.server:
                found = found and shutil.which(command.server["load"][0])
            self.made[(name, size)] = command if found else None
        return self.made[(name, size)]
