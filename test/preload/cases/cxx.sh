# SPDX-License-Identifier: MIT
# about: a C++ program with threads, exceptions, thread-local and static destructors (cxx_program.cc)
# programs: cxx_program
# packages: g++
# set: quick
# probe: cxx_program 1

run() {
    cxx_program 1
    cxx_program 8
    cxx_program 64
}
