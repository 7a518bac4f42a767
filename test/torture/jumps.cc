// SPDX-License-Identifier: MIT
// Threads under a hail of signals, on stacks that were malloc'ed.  Where a signal did not interrupt
// malloc, its handler leaves by siglongjmp over frames that own objects; where it did, the handler
// does what POSIX allows there, and now and then forks.
#include "torture.h"

#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <ctime>
#include <unistd.h>

using namespace torture;

namespace {

struct Target {
    sigjmp_buf back;
    volatile sig_atomic_t is_in_malloc, is_ready;
    volatile size_t n_jumps, n_inside;
    Object *volatile held; // what the frame owns that a jump leaves
};
thread_local Target target;

void on_signal(int) {
    int saved_errno = errno;
    if (!target.is_ready)
        return;
    if (!target.is_in_malloc) {
        target.n_jumps = target.n_jumps + 1;
        siglongjmp(target.back, 1);
    }
    target.n_inside = target.n_inside + 1;
    if (target.n_inside % 512 == 1) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        require(child > 0 && wait_for(child) == 0, "a handler can fork");
    }
    errno = saved_errno;
}

// The flag goes up before malloc is entered and down after it has returned.
template <class Call> auto in_malloc(Call call) {
    target.is_in_malloc = 1;
    auto result = call();
    target.is_in_malloc = 0;
    return result;
}

void work(Slots &slots, Xorshift &random, size_t n_signals) {
    while (target.n_jumps + target.n_inside < n_signals) {
        size_t size = random.size_up_to(16 * KiB);
        target.is_in_malloc = 1;
        target.held = make_any_way(random, size);
        target.is_in_malloc = 0;
        check(target.held); // jumped out of here, mostly
        in_malloc([&] {
            slots.replace(random, target.held);
            target.held = nullptr;
            return 0;
        });
    }
}

// Signals to this thread alone, as fast as they can be delivered while it runs.
class Hail {
  public:
    Hail() {
        sigevent event = {};
        event.sigev_notify = SIGEV_THREAD_ID;
        event.sigev_signo = SIGUSR1;
        event._sigev_un._tid = gettid(); // sigev_notify_thread_id, where libc names it
        itimerspec often = {{0, 30000}, {0, 30000}};
        require(timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0 &&
                    timer_settime(timer_, 0, &often, nullptr) == 0,
                "a timer can be had");
    }
    ~Hail() { timer_delete(timer_); }

  private:
    timer_t timer_;
};

void set_signals(int how) {
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(how, &usr1, nullptr);
}

// The frames between here and the jump are gone; what they owned is not.  The jump leaves the
// signal blocked, as it is in the handler: let in before the handler's stack is left, signals that
// come faster than handlers end (on a busy machine) would fill it.
void work_and_jump(Slots &slots, Xorshift &random, size_t n_signals) {
    sigsetjmp(target.back, 0);
    set_signals(SIG_UNBLOCK);
    target.is_in_malloc = 1;
    check_and_free(target.held);
    target.held = nullptr;
    target.is_in_malloc = 0;
    target.is_ready = 1;
    work(slots, random, n_signals);
    target.is_ready = 0;
}

void live(Slots &slots, size_t number, size_t n_signals) {
    Xorshift random(number + 1);
    stack_t stack = {}, none = {};
    stack.ss_size = 256 * KiB;
    stack.ss_sp = malloc(stack.ss_size);
    none.ss_flags = SS_DISABLE;
    require(stack.ss_sp && sigaltstack(&stack, nullptr) == 0, "the handler has a stack");
    {
        Hail hail;
        work_and_jump(slots, random, n_signals);
    }
    sigset_t all; // one may still be on its way
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    sigaltstack(&none, nullptr);
    free(stack.ss_sp);
}

} // namespace

void torture_run(Arguments &arguments) {
    size_t n_signals = arguments.number("signals", 40000); // of all threads together
    size_t n_threads = arguments.number("threads", 4);
    arguments.check_all_used();
    struct sigaction action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_ONSTACK | SA_RESTART;
    sigaction(SIGUSR1, &action, nullptr);
    Slots slots(300);
    std::atomic<size_t> n_jumps{0}, n_inside{0};
    Threads(n_threads, [&](size_t t) {
        live(slots, t, n_signals / n_threads);
        n_jumps += target.n_jumps;
        n_inside += target.n_inside;
    });
    slots.check_all();
    require(n_jumps > 0, "some signals did not hit malloc");
    printf("jumps: %zu, and %zu signals inside malloc; peak %zu kB\n", n_jumps.load(),
           n_inside.load(), status_kilobytes("VmHWM"));
}
