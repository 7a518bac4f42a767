// SPDX-License-Identifier: MIT
// Every interleaving of the scenarios, and mistakes put in on purpose, which must be found.
#include "scenarios.h"

#include <cstring>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

extern "C" char __libc_single_threaded;

namespace {

struct Outcome {
    uint64_t n_runs, n_cut, n_points;
    unsigned longest;
    char what[500]; // empty: nothing is wrong
};

// In a process of its own, which may die.
Outcome explore(const scenario_t &scenario, mistake_t mistake) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        __libc_single_threaded = 0;
        model_mistake = mistake;
        if (mistake != MISTAKE_NONE) { // a list that leads into itself is walked for ever
            rlimit limit{10, 10};
            setrlimit(RLIMIT_CPU, &limit);
        }
        model_result_t result = model_explore(&scenario);
        Outcome outcome{result.n_runs, result.n_cut, result.n_points, result.longest, ""};
        if (result.wrong)
            snprintf(outcome.what, sizeof outcome.what, "%s; order: %s", result.wrong,
                     result.where);
        _exit(write(ends[1], &outcome, sizeof outcome) != sizeof outcome);
    }
    close(ends[1]);
    Outcome outcome{};
    ssize_t n = read(ends[0], &outcome, sizeof outcome);
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    if (n != sizeof outcome)
        snprintf(outcome.what, sizeof outcome.what, "the process died of signal %d",
                 WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return outcome;
}

class Protocol : public testing::TestWithParam<const scenario_t *> {};

TEST_P(Protocol, HoldsInEveryOrder) {
    Outcome outcome = explore(*GetParam(), MISTAKE_NONE);
    EXPECT_STREQ(outcome.what, "");
    EXPECT_GT(outcome.n_runs, 10u);
    printf("%s: %lu runs, %lu cut short, %lu points, longest run %u\n", GetParam()->name,
           outcome.n_runs, outcome.n_cut, outcome.n_points, outcome.longest);
}

INSTANTIATE_TEST_SUITE_P(Scenarios, Protocol,
                         testing::Values(&scenario_push, &scenario_push_hot, &scenario_push_full,
                                         &scenario_push_over_limit, &scenario_push_asleep,
                                         &scenario_push_awake, &scenario_trim, &scenario_adopt,
                                         &scenario_adopt_dead, &scenario_first_heaps,
                                         &scenario_fork_parent, &scenario_fork_child,
                                         &scenario_fork_child_writes, &scenario_fork_child_adopting,
                                         &scenario_two_forks));

// Minutes: by hand, with --gtest_also_run_disabled_tests.
INSTANTIATE_TEST_SUITE_P(DISABLED_Long, Protocol,
                         testing::Values(&scenario_push_long, &scenario_push_over_limit_long,
                                         &scenario_push_awake_long));

class Mistake : public testing::TestWithParam<std::pair<mistake_t, const scenario_t *>> {};

TEST_P(Mistake, IsFound) {
    Outcome outcome = explore(*GetParam().second, GetParam().first);
    EXPECT_STRNE(outcome.what, "");
    printf("%s\n", outcome.what);
}

INSTANTIATE_TEST_SUITE_P(Each, Mistake,
                         testing::Values(std::pair{MISTAKE_PUSH_NOT_ATOMIC, &scenario_push},
                                         std::pair{MISTAKE_PUSH_NO_REREAD, &scenario_push},
                                         std::pair{MISTAKE_TAKE_NOT_ATOMIC, &scenario_push_full},
                                         std::pair{MISTAKE_PUSH_RELAXED, &scenario_push},
                                         std::pair{MISTAKE_TAKE_RELAXED, &scenario_push},
                                         std::pair{MISTAKE_LOCK_IGNORED, &scenario_push_over_limit},
                                         std::pair{MISTAKE_ADOPTED_ALIVE, &scenario_adopt},
                                         std::pair{MISTAKE_FORK_WITHOUT_LOCK,
                                                   &scenario_fork_child_writes},
                                         std::pair{MISTAKE_NONE, &scenario_wrong_lock_order}));

} // namespace
