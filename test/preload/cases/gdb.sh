# SPDX-License-Identifier: MIT
# about: debugger in batch mode, itself and the program in it on the library: symbols, stacks, python
# programs: gdb g++
# packages: gdb g++
# set: long
# probe: gdb --version

prepare() {
    cat >"$INPUT/debugged.cc" <<'CC'
#include <map>
#include <string>
#include <vector>
struct Tree { int value; std::vector<Tree> children; std::map<std::string, int> names; };
int sum(const Tree &tree) { int s = tree.value; for (auto &c : tree.children) s += sum(c); return s; }
Tree make(int depth) {
    Tree tree{depth, {}, {{"depth", depth}, {"twice", 2 * depth}}};
    for (int i = 0; i < depth; i++) tree.children.push_back(make(depth - 1));
    return tree;
}
int main() { Tree tree = make(5); return sum(tree) == 0; }
CC
    g++ -g -O0 "$INPUT/debugged.cc" -o "$INPUT/debugged"
    cat >"$INPUT/commands" <<'GDB'
set pagination off
set confirm off
set debuginfod enabled off
set print thread-events off
set disable-randomization off
break sum if tree.value == 0
run
bt
up 2
print tree.value
print tree.names
print tree.children.size()
python
import gdb
print([field.name for field in gdb.lookup_type("Tree").fields()])
print(sum(range(1000)), len([str(b.number) * 100 for b in gdb.breakpoints() for i in range(10000)]))
end
info line make
list make
ptype Tree
delete
continue
GDB
}

run() {
    # Addresses and process ids differ from run to run.
    gdb -q -nx -batch -x "$INPUT/commands" "$INPUT/debugged" 2>&1 |
        sed -e 's/0x[0-9a-f]*/ADDRESS/g' -e 's/process [0-9]*/process/'
    gdb -q -nx -batch -ex 'info functions sum' -ex 'info line make' -ex 'disassemble /s main' "$INPUT/debugged" | digest
}
