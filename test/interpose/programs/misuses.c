/* SPDX-License-Identifier: MIT */
/*
 * misuses NAME - does what is wrong, goes on with ordinary work, and says how it ended:
 *
 *      "ok", status 0        nothing was noticed, nothing is broken (as far as this program sees)
 *      "refused", status 3   the call said that it cannot be (NULL, 0)
 *      "damage", status 4    memory was handed out twice, or something live was changed
 *
 * misuses --list prints the rows: name, what libmheap does, what is wrong.  docs/MISUSE.md is made
 * of them, misuse_table_test.cc runs them on libmheap, scripts/misuse-compare on every allocator
 * there is; so nothing here knows of libmheap.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SMALL = 100, MEDIUM = 5000, LARGE = 3 << 20 };
/* A size that is hardly used is served another way: the victim is not one of the first. */
enum { N = 40, MIDDLE = 30 };

static void *volatile keep; /* hides from the compiler what is wrong */
static char *object[N];     /* neighbours of one size; the middle one is abused */
static char *victim;
static int status; /* 0, or 3 or 4 as above */

static void *hidden(void *pointer) {
    keep = pointer;
    return keep;
}

static void *hidden_at(uintptr_t address) {
    return hidden((void *)address);
}

static void refuse_unless(bool is_done) {
    status = is_done ? status : 3;
}

static void make(size_t bytes) {
    for (int i = 0; i < N; i++)
        object[i] = memset(malloc(bytes), i, bytes);
    victim = object[MIDDLE];
}

/* As many objects of the size as were freed: are there two in one place? */
static void look_for_twins(size_t bytes) {
    char *got[3 * N];
    for (int i = 0; i < 3 * N; i++)
        got[i] = memset(malloc(bytes), 100 + i, bytes);
    for (int i = 0; i < 3 * N; i++)
        if (got[i][bytes - 1] != (char)(100 + i))
            status = 4;
}

static void ordinary_work(void) {
    static char *objects[1000];
    for (int i = 0; i < 1000; i++)
        objects[i] = memset(malloc(10 + i * 5), i, 10 + i * 5);
    for (int i = 0; i < 1000; i++) {
        if (objects[i][9] != (char)i)
            status = 4;
        free(objects[i]);
    }
}

static void *call_free(void *pointer) {
    free(pointer);
    return NULL;
}

static void free_in_thread(void *pointer) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, call_free, pointer) == 0)
        pthread_join(thread, NULL);
}

/* ---- Free already ---- */

static void at_once(size_t bytes) {
    make(bytes);
    free(victim);
    free(hidden(victim));
    look_for_twins(bytes);
}

static void first_object(size_t bytes) {
    victim = malloc(bytes);
    free(victim);
    free(hidden(victim));
    look_for_twins(bytes);
}

static void aligned(size_t bytes) {
    make(bytes);
    victim = memalign(4096, bytes);
    free(victim);
    free(hidden(victim));
    look_for_twins(bytes);
}

static void reallocated(size_t bytes) {
    make(bytes);
    victim = realloc(victim, bytes * 3);
    free(victim);
    free(hidden(victim));
    look_for_twins(bytes * 3);
}

static void zeroed(size_t bytes) {
    victim = calloc(bytes, 1);
    free(victim);
    free(hidden(victim));
    look_for_twins(bytes);
}

static void interleaved(size_t bytes) {
    make(bytes);
    free(victim);
    free(object[3]);
    free(hidden(victim));
    look_for_twins(bytes);
}

static void delayed(size_t bytes) {
    make(bytes);
    free(victim);
    for (int i = 0; i < 1000; i++)
        free(malloc(1000 + i));
    free(hidden(victim));
    look_for_twins(bytes);
}

static void with_neighbours(size_t bytes) {
    make(bytes);
    free(object[MIDDLE - 1]);
    free(victim);
    free(object[MIDDLE + 1]);
    free(hidden(victim));
    look_for_twins(bytes);
}

static void among_all(size_t bytes) {
    make(bytes);
    for (int i = 0; i < N; i++)
        free(object[i]);
    free(hidden(victim));
    look_for_twins(bytes);
}

static void after_neighbours_reuse(size_t bytes) {
    make(bytes);
    free(victim);
    free(object[MIDDLE + 1]);
    keep = malloc(bytes);
    free(hidden(victim));
    look_for_twins(bytes);
}

static void after_trim(size_t bytes) {
    make(bytes);
    free(victim);
    malloc_trim(0);
    free(hidden(victim));
    look_for_twins(bytes);
}

static void here_then_thread(size_t bytes) {
    make(bytes);
    free(victim);
    free_in_thread(hidden(victim));
    look_for_twins(bytes);
}

static void thread_then_here(size_t bytes) {
    make(bytes);
    free_in_thread(victim);
    free(hidden(victim));
    look_for_twins(bytes);
}

static void *call_free_twice(void *pointer) {
    free(pointer);
    free(hidden(pointer));
    return NULL;
}

static void twice_in_thread(size_t bytes) {
    make(bytes);
    pthread_t thread;
    if (pthread_create(&thread, NULL, call_free_twice, victim) == 0)
        pthread_join(thread, NULL);
    look_for_twins(bytes);
}

/* In the child, with the child's way to end. */
static void before_and_after_fork(size_t bytes) {
    make(bytes);
    free(victim);
    pid_t child = fork();
    int result = 0;
    if (child == 0) {
        free(hidden(victim));
        look_for_twins(bytes);
        _exit(status);
    }
    waitpid(child, &result, 0);
    if (WIFSIGNALED(result))
        raise(WTERMSIG(result));
    status = WEXITSTATUS(result);
}

static void stale_after_realloc(size_t bytes) {
    make(bytes);
    char *moved = realloc(victim, 8 << 20);
    if (moved != victim)
        free(hidden(victim));
    look_for_twins(bytes);
}

static void realloc_of_free(size_t bytes) {
    make(bytes);
    free(victim);
    refuse_unless(realloc(hidden(victim), bytes * 2));
}

static void usable_size_of_free(size_t bytes) {
    make(bytes);
    free(victim);
    refuse_unless(malloc_usable_size(hidden(victim)));
}

static void overwritten_between(size_t bytes) {
    make(bytes);
    free(victim);
    memset(hidden(victim), 0x41, bytes);
    free(hidden(victim));
    look_for_twins(bytes);
}

/* The second free hits whoever has the memory now; then that one's own free is the second. */
static void after_reuse(size_t bytes) {
    make(bytes);
    free(victim);
    char *heirs[N];
    for (int i = 0; i < N; i++)
        heirs[i] = malloc(bytes);
    free(hidden(victim));
    for (int i = 0; i < N; i++)
        free(heirs[i]);
    look_for_twins(bytes);
}

/* ---- No object of malloc's ---- */

static char in_data[256] = "data";
static const char constant[64] = "constant";

static void *foreign(int which) {
    static void *mapping;
    switch (which) {
    case 0:
        return in_data + 64;
    case 1:
        return (void *)(uintptr_t)(constant + 16);
    case 2:
        return (void *)(uintptr_t)&malloc;
    case 3:
    case 4:
        mapping = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (which == 4)
            munmap(mapping, 1 << 16);
        return mapping;
    case 5:
        return hidden_at(16);
    case 6:
        return hidden_at((uintptr_t)1 << 62 | 0x1230);
    default:
        return hidden_at(0x123456789ab0);
    }
}

static void free_foreign(size_t which) {
    make(SMALL);
    free(hidden(foreign((int)which)));
    look_for_twins(SMALL);
}

static void free_stack(size_t bytes) {
    char on_stack[256];
    make(bytes);
    free(hidden(on_stack + 64));
    look_for_twins(bytes);
}

static void realloc_stack(size_t bytes) {
    char on_stack[256] = "";
    make(bytes);
    refuse_unless(realloc(hidden(on_stack + 64), 1000));
}

static void realloc_foreign(size_t which) {
    make(SMALL);
    refuse_unless(realloc(hidden(foreign((int)which)), 1000));
}

static void usable_size_foreign(size_t which) {
    make(SMALL);
    refuse_unless(malloc_usable_size(hidden(foreign((int)which))));
}

/* ---- Into an object ---- */

static void free_16_inside(size_t bytes) {
    make(bytes);
    free(hidden(victim + 16));
    look_for_twins(bytes);
}

static void free_odd(size_t bytes) {
    make(bytes);
    free(hidden(victim + 1));
    look_for_twins(bytes);
}

static void free_page_inside(size_t bytes) {
    make(bytes);
    free(hidden(victim + 4096));
    look_for_twins(bytes);
}

static void free_before(size_t bytes) {
    make(bytes);
    free(hidden(victim - 8));
    look_for_twins(bytes);
}

static void free_inside_aligned(size_t bytes) {
    make(bytes);
    victim = memalign(1 << 16, bytes);
    free(hidden(victim + 64));
    look_for_twins(bytes);
}

static void realloc_inside(size_t bytes) {
    make(bytes);
    refuse_unless(realloc(hidden(victim + 16), bytes * 2));
    look_for_twins(bytes);
}

static void usable_size_inside(size_t bytes) {
    make(bytes);
    refuse_unless(malloc_usable_size(hidden(victim + 16)));
}

/* What would be an object if more of them had been allocated: at the start of the 64 KiB that the
 * newest of so many lies in, which are used from their end; it lies in their second half. */
static void *before_the_newest(size_t bytes, int n_objects) {
    uintptr_t newest = 0;
    for (int i = 0; i < n_objects || (newest & 0xffff) < 0x8000; i++)
        newest = (uintptr_t)malloc(bytes);
    return hidden_at(newest & ~(uintptr_t)0xffff);
}

static void realloc_never_allocated(size_t bytes) {
    refuse_unless(realloc(before_the_newest(bytes, 240), bytes / 2));
}

static void free_never_allocated(size_t bytes) {
    free(before_the_newest(bytes, 240));
    malloc_trim(0);
}

/* In fresh memory: others have used up what was used before.  (With so many of its own size all
 * pages of their 64 KiB would be taken into use at once.)  And 64 KiB more, so that all around the
 * place is used. */
static void reuse_never_allocated(size_t bytes) {
    for (int i = 0; i < 4000; i++)
        hidden(malloc(3 * bytes));
    void *place = before_the_newest(bytes, 240);
    free(place);
    void *object = malloc(bytes);
    memset(hidden(object), 1, bytes);
    for (size_t taken = 0; taken < 1 << 16; taken += bytes)
        if (malloc(bytes) == object)
            status = 4;
}

/* ---- Overwritten ---- */

static void overflow(size_t n_bytes) {
    make(MEDIUM);
    char *end = victim + malloc_usable_size(victim);
    for (size_t i = 0; i < n_bytes; i++)
        end[i] ^= 0x7f;
    free(hidden(victim));
    free(object[MIDDLE + 1]);
    free(object[MIDDLE - 1]);
    ordinary_work();
}

static void overflow_neighbour_first(size_t n_bytes) {
    make(MEDIUM);
    char *end = victim + malloc_usable_size(victim);
    for (size_t i = 0; i < n_bytes; i++)
        end[i] ^= 0x7f;
    free(object[MIDDLE + 1]);
    free(hidden(victim));
    ordinary_work();
}

static void overflow_realloc(size_t n_bytes) {
    make(MEDIUM);
    char *end = victim + malloc_usable_size(victim);
    for (size_t i = 0; i < n_bytes; i++)
        end[i] ^= 0x7f;
    refuse_unless(realloc(hidden(victim), 3 * MEDIUM));
    ordinary_work();
}

static void underflow(size_t n_bytes) {
    make(MEDIUM);
    for (size_t i = 1; i <= n_bytes; i++)
        victim[-(long)i] ^= 0x7f;
    free(hidden(victim));
    free(object[MIDDLE - 1]);
    ordinary_work();
}

/* Then a call that has nothing to do with it, which ends before the process meets the damage. */
static void overflow_only(size_t n_bytes) {
    make(MEDIUM);
    char *end = victim + malloc_usable_size(victim);
    for (size_t i = 0; i < n_bytes; i++)
        end[i] ^= 0x7f;
    keep = malloc(16);
    puts("ok");
    exit(0);
}

static void overflow_of_small(size_t bytes) {
    make(bytes);
    size_t usable = malloc_usable_size(victim);
    for (size_t i = 0; i < 8; i++)
        ((char *)hidden(victim))[usable + i] ^= 0x7f;
    for (int i = 0; i < N; i++)
        for (size_t j = 0; j < bytes; j++)
            if (object[i][j] != (char)i)
                status = 4;
}

static void read_past_the_end(size_t bytes) {
    make(bytes);
    char *bytes_read = hidden(victim);
    for (size_t i = 0; i < 64; i++)
        in_data[i] = bytes_read[bytes + i];
}

/* ---- Written to after free ---- */

static void write_then_malloc(size_t bytes, size_t offset, const void *what, size_t n_bytes) {
    make(bytes);
    free(object[3]);
    free(victim);
    memcpy((char *)hidden(victim) + offset, what, n_bytes);
    look_for_twins(bytes);
    ordinary_work();
}

static void written_word(size_t bytes) {
    write_then_malloc(bytes, 0, "AAAAAAAA", 8);
}

static void written_first_byte(size_t bytes) {
    write_then_malloc(bytes, 0, "\x5a", 1);
}

static void written_inner_bytes(size_t bytes) {
    write_then_malloc(bytes, 4, "BBBB", 4);
}

static void written_third_byte(size_t bytes) {
    write_then_malloc(bytes, 2, "\x5a", 1);
}

/* The classic attack: the link shall lead malloc to a place of the writer's choice. */
static void written_address(size_t bytes) {
    static uint64_t target[64];
    void *place = target + 2;
    make(bytes);
    free(object[3]);
    free(victim);
    memcpy(hidden(victim), &place, sizeof place);
    for (int i = 0; i < 3 * N; i++) {
        char *got = malloc(bytes);
        if (got >= (char *)target && got < (char *)(target + 64))
            status = 4;
    }
}

/* Bits of a link flipped: a link that is only masked would lead to the neighbour. */
static void flipped_bits(size_t bytes) {
    make(bytes);
    free(object[3]);
    free(victim);
    ((unsigned char *)hidden(victim))[1] ^= 0x40;
    look_for_twins(bytes);
}

/* Space between live objects that is on no thread's list any more. */
static void written_free_space(size_t bytes) {
    make(bytes);
    for (int i = MIDDLE - 3; i <= MIDDLE + 3; i++)
        free(object[i]);
    malloc_trim(0);
    for (int i = MIDDLE - 3; i <= MIDDLE + 3; i++)
        memset(hidden(object[i]), 0x41, 16);
    for (int i = 0; i < N; i++)
        memset(malloc(bytes * 2), 0, bytes * 2);
    ordinary_work();
}

static void written_late(size_t bytes) {
    make(bytes);
    free(victim);
    memset((char *)hidden(victim) + 64, 0x41, 16);
    look_for_twins(bytes);
}

/* ---- Sizes that cannot be ---- */

static void impossible_malloc(size_t bytes) {
    keep = (void *)bytes;
    refuse_unless(malloc((size_t)keep) || errno != ENOMEM);
}

static void impossible_calloc(size_t bytes) {
    keep = (void *)bytes;
    refuse_unless(calloc((size_t)keep, 16) || errno != ENOMEM);
}

static void impossible_realloc(size_t bytes) {
    make(SMALL);
    keep = (void *)bytes;
    refuse_unless(realloc(victim, (size_t)keep) || errno != ENOMEM);
    for (int i = 0; i < SMALL; i++)
        if (victim[i] != (char)MIDDLE)
            status = 4;
}

static void impossible_aligned(size_t bytes) {
    keep = (void *)bytes;
    refuse_unless(memalign(4096, (size_t)keep) || errno != ENOMEM);
}

/* ---- The table ---- */

typedef struct {
    const char *name;
    void (*body)(size_t argument);
    size_t argument;
    const char *expected; /* on libmheap: stops, refuses, no */
    const char *what;
} row_t;

#define STOPS   "stops"   /* one line, then abort */
#define REFUSES "refuses" /* by its result, as the standard says */
#define LATER   "later"   /* stops, but at a later call than the one that is wrong */
#define NO      "no"

static const row_t rows[] = {
    {"twice-small", at_once, SMALL, STOPS, "free of a small object twice"},
    {"twice-first", first_object, 2000, STOPS, "free of the first object of its size twice"},
    {"twice-medium", at_once, MEDIUM, STOPS, "free of a medium object twice"},
    {"twice-large", at_once, LARGE, STOPS, "free of a large object twice"},
    {"twice-aligned", aligned, 200, STOPS, "free of an aligned object twice"},
    {"twice-aligned-medium", aligned, 20000, STOPS, "the same, medium"},
    {"twice-realloc", reallocated, SMALL, STOPS, "free of a reallocated object twice"},
    {"twice-calloc", zeroed, 3000, STOPS, "free of an object of calloc's twice"},
    {"twice-interleaved", interleaved, SMALL, STOPS, "another free in between"},
    {"twice-interleaved-medium", interleaved, MEDIUM, STOPS, "the same, medium"},
    {"twice-interleaved-large", interleaved, LARGE, STOPS, "the same, large"},
    {"twice-delayed", delayed, SMALL, STOPS, "a thousand calls in between"},
    {"twice-delayed-medium", delayed, 30000, STOPS, "the same, medium"},
    {"twice-neighbours", with_neighbours, MEDIUM, STOPS, "both neighbours freed, too"},
    {"twice-neighbours-large", with_neighbours, LARGE, STOPS, "the same, large"},
    {"twice-among-all", among_all, SMALL, STOPS, "everything freed, then one again"},
    {"twice-among-all-medium", among_all, 30000, STOPS, "the same, medium"},
    {"twice-neighbour-reused", after_neighbours_reuse, SMALL, STOPS,
     "a neighbour's place is in use again"},
    {"twice-after-trim", after_trim, SMALL, STOPS, "the heap was trimmed in between"},
    {"twice-after-trim-medium", after_trim, MEDIUM, STOPS, "the same, medium"},
    {"twice-second-by-thread", here_then_thread, SMALL, STOPS, "second free by another thread"},
    {"twice-first-by-thread", thread_then_here, SMALL, STOPS, "first free by another thread"},
    {"twice-first-by-thread-medium", thread_then_here, MEDIUM, STOPS, "the same, medium"},
    {"twice-in-thread", twice_in_thread, SMALL, STOPS, "both by another thread"},
    {"twice-in-thread-large", twice_in_thread, LARGE, STOPS, "the same, large"},
    {"twice-across-fork", before_and_after_fork, SMALL, STOPS,
     "freed before fork and in the child"},
    {"twice-overwritten", overwritten_between, SMALL, LATER,
     "freed, written to, freed again: seen when it is next handed out"},
    {"twice-after-reuse", after_reuse, SMALL, LATER,
     "freed again when its place is another's: that one's free is then the second"},
    {"stale-realloc", stale_after_realloc, SMALL, STOPS, "free of the pointer before realloc"},
    {"stale-realloc-medium", stale_after_realloc, MEDIUM, STOPS, "the same, medium"},
    {"realloc-free", realloc_of_free, SMALL, STOPS, "realloc of a free object"},
    {"realloc-free-medium", realloc_of_free, MEDIUM, STOPS, "the same, medium"},
    {"realloc-free-large", realloc_of_free, LARGE, STOPS, "the same, large"},
    {"usable-size-free", usable_size_of_free, SMALL, STOPS, "malloc_usable_size of a free object"},

    {"foreign-stack", free_stack, SMALL, STOPS, "free of a stack address"},
    {"foreign-data", free_foreign, 0, STOPS, "free of a static variable"},
    {"foreign-constant", free_foreign, 1, STOPS, "free of a constant"},
    {"foreign-code", free_foreign, 2, STOPS, "free of a function"},
    {"foreign-mapping", free_foreign, 3, STOPS, "free of another mapping"},
    {"foreign-unmapped", free_foreign, 4, STOPS, "free of an unmapped address"},
    {"foreign-near-null", free_foreign, 5, STOPS, "free of address 16"},
    {"foreign-non-canonical", free_foreign, 6, STOPS, "free of a non-canonical address"},
    {"foreign-wild", free_foreign, 7, STOPS, "free of a wild address"},
    {"foreign-realloc-stack", realloc_stack, SMALL, STOPS, "realloc of a stack address"},
    {"foreign-realloc-data", realloc_foreign, 0, STOPS, "realloc of a static variable"},
    {"foreign-realloc-wild", realloc_foreign, 7, STOPS, "realloc of a wild address"},
    {"foreign-usable-size", usable_size_foreign, 0, STOPS,
     "malloc_usable_size of a static variable"},

    {"inside-small", free_16_inside, SMALL, STOPS, "free 16 bytes into a small object"},
    {"inside-medium", free_16_inside, MEDIUM, STOPS, "the same, medium"},
    {"inside-large", free_16_inside, LARGE, STOPS, "the same, large"},
    {"inside-medium-page", free_page_inside, 30000, STOPS, "free a page into a medium object"},
    {"inside-large-page", free_page_inside, LARGE, STOPS, "the same, large"},
    {"inside-odd", free_odd, SMALL, STOPS, "free of an odd address in a small object"},
    {"inside-odd-medium", free_odd, MEDIUM, STOPS, "the same, medium"},
    {"inside-before", free_before, SMALL, STOPS, "free 8 bytes before a small object"},
    {"inside-before-medium", free_before, MEDIUM, STOPS, "the same, medium"},
    {"inside-aligned", free_inside_aligned, 3000, STOPS, "free inside an aligned object"},
    {"inside-realloc", realloc_inside, SMALL, STOPS, "realloc inside a small object"},
    {"inside-realloc-medium", realloc_inside, MEDIUM, STOPS, "the same, medium"},
    {"inside-usable-size", usable_size_inside, MEDIUM, STOPS,
     "malloc_usable_size inside an object"},
    {"never-realloc", realloc_never_allocated, 1024, STOPS,
     "realloc of a place where an object might be but none ever was"},
    {"never-free", free_never_allocated, 1024, LATER,
     "free of such a place: seen when it goes home"},
    {"never-free-reused", reuse_never_allocated, 1024, LATER,
     "the same, but malloc gives it out before: seen when its page, fresh memory, is first used"},

    {"overflow-1", overflow, 1, STOPS, "1 byte written past a medium object"},
    {"overflow-8", overflow, 8, STOPS, "8 bytes"},
    {"overflow-64", overflow, 64, STOPS, "64 bytes"},
    {"overflow-next-first", overflow_neighbour_first, 8, STOPS,
     "8 bytes; the neighbour is freed first"},
    {"overflow-only", overflow_only, 8, NO,
     "8 bytes; no neighbour is freed (`validate:true` sees it at the next call)"},
    {"overflow-realloc", overflow_realloc, 8, STOPS, "8 bytes; then realloc"},
    {"underflow-8", underflow, 8, STOPS, "8 bytes written before a medium object"},
    {"overflow-small", overflow_of_small, SMALL, NO, "8 bytes written past a small object"},
    {"over-read", read_past_the_end, MEDIUM, NO, "64 bytes read past an object"},

    {"after-free-word", written_word, SMALL, STOPS, "8 bytes written to a free small object"},
    {"after-free-word-medium", written_word, MEDIUM, STOPS, "the same, medium"},
    {"after-free-byte", written_first_byte, SMALL, STOPS, "its first byte"},
    {"after-free-third-byte", written_third_byte, SMALL, STOPS, "its third byte"},
    {"after-free-inner", written_inner_bytes, SMALL, STOPS, "4 bytes at offset 4"},
    {"after-free-inner-medium", written_inner_bytes, MEDIUM, STOPS, "the same, medium"},
    {"after-free-address", written_address, SMALL, STOPS,
     "an address, where malloc shall then allocate (an attack)"},
    {"after-free-flip", flipped_bits, SMALL, STOPS,
     "one bit flipped in its second byte (an attack)"},
    {"after-free-space", written_free_space, MEDIUM, STOPS, "16 bytes at the start of free space"},
    {"after-free-late", written_late, MEDIUM, NO, "bytes 64 to 79 of a free object"},
    {"after-free-large", written_word, LARGE, NO, "8 bytes of a free large object"},

    {"size-malloc", impossible_malloc, (size_t)PTRDIFF_MAX + 1, REFUSES, "malloc of 2^63 bytes"},
    {"size-calloc", impossible_calloc, SIZE_MAX / 8, REFUSES, "calloc whose product overflows"},
    {"size-realloc", impossible_realloc, SIZE_MAX - 100, REFUSES, "realloc to 2^64 - 101 bytes"},
    {"size-aligned", impossible_aligned, SIZE_MAX - 4000, REFUSES, "memalign of 2^64 - 4001 bytes"},
};

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row_t *row = &rows[i];
        if (!strcmp(name, "--list"))
            printf("%s\t%s\t%s\n", row->name, row->expected, row->what);
        else if (!strcmp(name, row->name)) {
            ordinary_work();
            row->body(row->argument);
            if (status == 0)
                ordinary_work();
            puts(status == 4 ? "damage" : status == 3 ? "refused" : "ok");
            return status;
        }
    }
    return strcmp(name, "--list") ? 1 : 0;
}
