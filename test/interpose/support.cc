// SPDX-License-Identifier: MIT
#include "support.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <ostream>
#include <regex>

extern "C" char **environ;

namespace interpose {

std::string library_of(const char *name) {
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, name);
    if (!address || !dladdr(address, &info) || !info.dli_fname)
        return "";
    const char *slash = strrchr(info.dli_fname, '/');
    return slash ? slash + 1 : info.dli_fname;
}

std::vector<size_t> edge_sizes(size_t limit) {
    std::vector<size_t> sizes;
    for (size_t size = 0; size <= std::min(limit, KiB); size++)
        sizes.push_back(size);
    for (size_t power = KiB; power <= limit; power *= 2)
        for (size_t edge = power; edge < 2 * power; edge += power / 16)
            for (ptrdiff_t near : {-17, -16, -9, -8, -1, 0, 1, 8, 9, 16, 17})
                if (size_t size = edge + near; size > KiB && size <= limit)
                    sizes.push_back(size);
    return sizes;
}

// ---- Child processes ------------------------------------------------------------------------

std::ostream &operator<<(std::ostream &stream, const Outcome &outcome) {
    if (outcome.exited)
        stream << "exit status " << outcome.status;
    else
        stream << "signal " << outcome.signal << " (" << strsignal(outcome.signal) << ")";
    return stream << "\nstdout: " << outcome.out << "\nstderr: " << outcome.err;
}

namespace {

struct Pipe {
    int ends[2];
    Pipe() {
        if (pipe2(ends, O_CLOEXEC) != 0)
            abort();
    }
};

// Reads both pipes to their ends at once: a child may fill either first.
void read_all(int out, int err, Outcome *outcome) {
    pollfd files[] = {{out, POLLIN, 0}, {err, POLLIN, 0}};
    std::string *texts[] = {&outcome->out, &outcome->err};
    while (files[0].fd >= 0 || files[1].fd >= 0) {
        poll(files, 2, -1);
        for (int i = 0; i < 2; i++) {
            if (files[i].fd < 0 || !files[i].revents)
                continue;
            char buffer[4096];
            ssize_t n = read(files[i].fd, buffer, sizeof buffer);
            if (n > 0)
                texts[i]->append(buffer, n);
            else
                files[i].fd = -1;
        }
    }
}

// Forks; `in_child` runs there with the pipes as its output and does not return.
Outcome collect(bool catch_out, const std::function<void()> &in_child) {
    Pipe out, err;
    Outcome outcome;
    fflush(nullptr);
    pid_t child = fork();
    if (child == 0) {
        if (catch_out)
            dup2(out.ends[1], STDOUT_FILENO);
        dup2(err.ends[1], STDERR_FILENO);
        in_child();
        _exit(127);
    }
    close(out.ends[1]);
    close(err.ends[1]);
    read_all(out.ends[0], err.ends[0], &outcome);
    close(out.ends[0]);
    close(err.ends[0]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    outcome.exited = WIFEXITED(status);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    outcome.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return outcome;
}

// The strings as execve wants them.
std::vector<char *> pointers_to(std::vector<std::string> &strings) {
    std::vector<char *> pointers;
    for (std::string &string : strings)
        pointers.push_back(string.data());
    pointers.push_back(nullptr);
    return pointers;
}

std::string name_part(const std::string &assignment) {
    return assignment.substr(0, assignment.find('=') + 1);
}

} // namespace

testing::AssertionResult is_aborted_with(const Outcome &outcome, const std::string &report) {
    if (outcome.signal != SIGABRT)
        return testing::AssertionFailure() << "not aborted: " << outcome;
    if (!std::regex_match(outcome.err, std::regex("libmheap: " + report + "\n")))
        return testing::AssertionFailure() << "not the line \"" << report << "\": " << outcome;
    return testing::AssertionSuccess();
}

Outcome run_in_child(const std::function<void()> &body) {
    return collect(false, [&] {
        body();
        _exit(0);
    });
}

void require(bool condition, const char *what) {
    if (condition)
        return;
    dprintf(STDERR_FILENO, "not so: %s\n", what);
    _exit(100);
}

std::string program_path(const std::string &name) {
    return name.find('/') == std::string::npos ? std::string(MHEAP_TEST_PROGRAM_DIR "/") + name
                                               : name;
}

Outcome run_program(const Program &program) {
    std::vector<std::string> arguments = program.arguments;
    arguments[0] = program_path(arguments[0]);
    std::vector<std::string> environment = program.environment;
    for (char **variable = environ; *variable; variable++) {
        bool replaced = false;
        for (const std::string &ours : program.environment)
            replaced |= name_part(ours) == name_part(*variable);
        if (!replaced)
            environment.push_back(*variable);
    }
    std::vector<char *> argv = pointers_to(arguments), envp = pointers_to(environment);
    return collect(true, [&] {
        for (auto [resource, value] : program.limits) {
            rlimit limit = {value, value};
            require(setrlimit(static_cast<__rlimit_resource>(resource), &limit) == 0, "limit set");
        }
        execve(argv[0], argv.data(), envp.data());
        dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
    });
}

} // namespace interpose

// ---- Every test program's main --------------------------------------------------------------

// A test that by some mistake of linking runs on another malloc must not pass.
static bool runs_on_libmheap() {
    for (const char *name : {"malloc", "free", "_Znwm", "_ZdlPvm"}) {
        std::string library = interpose::library_of(name);
        if (library.rfind("libmheap.so", 0) != 0) {
            fprintf(stderr, "%s is not libmheap's but that of \"%s\"\n", name, library.c_str());
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv) {
    testing::InitGoogleTest(&argc, argv);
    if (!interpose::kStandIn && !runs_on_libmheap())
        return 1;
    return RUN_ALL_TESTS();
}
