/* SPDX-License-Identifier: MIT */
/*
 * malloc_info.c - glibc's questions about the allocator, with our answers.
 */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hardened.h"
#include "heap_slow.h"
#include "heaps.h"
#include "stats.h"

#define EXPORT __attribute__((visibility("default")))

/* Gives back every free page, whatever `pad` asks to keep: at least that much address space stays
 * accessible anyhow.  1 if pages went: what counts as dirty may never have been touched, so the
 * kernel is asked. */
EXPORT int malloc_trim(size_t pad) {
    (void)pad;
    uint64_t before = stats_resident_bytes();
    if (MHEAP_HARDENED)
        hardened_trim();
    else
        heaps_trim();
    return stats_resident_bytes() < before;
}

EXPORT void malloc_stats(void) {
    stats_print(STDERR_FILENO);
}

/* glibc's fields: arena == uordblks + fordblks for what is in heaps, hblk* for large objects. */
EXPORT struct mallinfo2 mallinfo2(void) {
    stats_t s;
    stats_collect(&s);
    return (struct mallinfo2){
        .arena = s.live_bytes + s.listed_bytes + s.free_bytes + s.overhead_bytes,
        .ordblks = s.n_mheaps,
        .hblks = s.large.n_objects,
        .hblkhd = s.large.live_bytes,
        .fsmblks = s.listed_bytes,
        .uordblks = s.live_bytes + s.overhead_bytes,
        .fordblks = s.listed_bytes + s.free_bytes,
        .keepcost = s.dirty_bytes + s.large.free_dirty_bytes,
    };
}

static int saturated(size_t number) {
    return number > INT32_MAX ? INT32_MAX : (int)number;
}

/* The same in ints: saturated, where glibc's wraps around. */
EXPORT struct mallinfo mallinfo(void) {
    struct mallinfo2 info = mallinfo2();
    return (struct mallinfo){
        .arena = saturated(info.arena),
        .ordblks = saturated(info.ordblks),
        .hblks = saturated(info.hblks),
        .hblkhd = saturated(info.hblkhd),
        .fsmblks = saturated(info.fsmblks),
        .uordblks = saturated(info.uordblks),
        .fordblks = saturated(info.fordblks),
        .keepcost = saturated(info.keepcost),
    };
}

/* glibc's tunings have no counterpart here.  Those it knows are accepted, as hints that need not be
 * followed; nothing else is. */
EXPORT int mallopt(int parameter, int value) {
    switch (parameter) {
    case M_MXFAST:
        return value >= 0 && (size_t)value <= 80 * sizeof(size_t) / 4;
    case M_TRIM_THRESHOLD:
    case M_TOP_PAD:
    case M_MMAP_THRESHOLD:
    case M_MMAP_MAX:
    case M_CHECK_ACTION:
    case M_PERTURB:
    case M_ARENA_TEST:
    case M_ARENA_MAX:
        return 1;
    default:
        return 0;
    }
}

static void print_heap(FILE *file, unsigned number, const stats_t *s, uint64_t resident_bytes) {
    fprintf(file,
            "<heap nr=\"%u\">\n"
            "<total type=\"rest\" count=\"%" PRIu64 "\" size=\"%" PRIu64 "\"/>\n"
            "<total type=\"fast\" count=\"0\" size=\"%" PRIu64 "\"/>\n"
            "<system type=\"current\" size=\"%" PRIu64 "\"/>\n"
            "<system type=\"max\" size=\"%" PRIu64 "\"/>\n"
            "<mheap regions=\"%" PRIu64 "\" runs=\"%" PRIu64 "\" live=\"%" PRIu64
            "\" dirty=\"%" PRIu64 "\" overhead=\"%" PRIu64 "\" resident=\"%" PRIu64 "\"/>\n"
            "</heap>\n",
            number, s->n_mheaps, s->free_bytes, s->listed_bytes, s->accessible_bytes,
            s->reserved_bytes, s->n_mheaps, s->n_runs, s->live_bytes, s->dirty_bytes,
            s->overhead_bytes, resident_bytes);
}

/* glibc's document: a heap element for each of its arenas, here for each thread heap, then the
 * sums. No lock is held while it is written, since the file may well allocate. */
EXPORT int malloc_info(int options, FILE *file) {
    if (options != 0)
        return EINVAL;
    fprintf(file, "<malloc version=\"1\">\n");
    for (owner_id_t id = 1; id <= heap_last_id(); id++) {
        stats_t s;
        memset(&s, 0, sizeof s);
        thread_heap_t *heap = heap_by_id(id);
        heap_lock(heap);
        stats_add_heap(&s, heap);
        uint64_t resident_bytes = stats_heap_resident_bytes(heap);
        heap_unlock(heap);
        print_heap(file, id - 1u, &s, resident_bytes);
    }
    stats_t all;
    stats_collect(&all);
    fprintf(
        file,
        "<total type=\"fast\" count=\"0\" size=\"%" PRIu64 "\"/>\n"
        "<total type=\"rest\" count=\"%" PRIu64 "\" size=\"%" PRIu64 "\"/>\n"
        "<total type=\"mmap\" count=\"%" PRIu64 "\" size=\"%" PRIu64 "\"/>\n"
        "<system type=\"current\" size=\"%" PRIu64 "\"/>\n"
        "<system type=\"max\" size=\"%" PRIu64 "\"/>\n"
        "<aspace type=\"total\" size=\"%" PRIu64 "\"/>\n"
        "<aspace type=\"mprotect\" size=\"%" PRIu64 "\"/>\n"
        "<mheap live=\"%" PRIu64 "\" listed=\"%" PRIu64 "\" dirty=\"%" PRIu64
        "\" overhead=\"%" PRIu64 "\" resident=\"%" PRIu64 "\"/>\n"
        "</malloc>\n",
        all.listed_bytes, all.n_mheaps, all.free_bytes, all.large.n_objects, all.large.live_bytes,
        all.accessible_bytes, all.reserved_bytes, all.reserved_bytes + all.large.reserved_bytes,
        all.accessible_bytes, all.live_bytes + all.large.live_bytes, all.listed_bytes,
        all.dirty_bytes + all.large.free_dirty_bytes, all.overhead_bytes, stats_resident_bytes());
    return 0;
}
