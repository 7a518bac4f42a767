/* SPDX-License-Identifier: MIT */
#include "stats.h"

#include <string.h>

#include "fatal.h"
#include "hardened.h"
#include "heap_drain.h"
#include "heaps.h"
#include "mheap_internal.h"
#include "vm.h"

/* ---- Counting ---- */

/* The run's tile was counted as one live element; share it out. */
static void add_run(stats_t *stats, const run_t *run) {
    uint64_t bytes = size_class_bytes(run->size_class);
    uint64_t n_in = run->n_free, n_out = run_capacity[run->size_class] - n_in;
    stats->n_runs++;
    stats->n_objects += n_out - !run->is_joined;
    stats->live_bytes -= RUN_BYTES - n_out * bytes + (run->is_joined ? MHEAP_TAG_BYTES : 0);
    stats->free_bytes += n_in * bytes;
    stats->overhead_bytes += RUN_BYTES - (n_out + n_in) * bytes;
}

static void add_region(stats_t *stats, region_t *region) {
    mheap_t *h = region_mheap(region);
    mheap_usage_t usage;
    mheap_usage(region_vector(region), &usage);
    uint64_t header_bytes = region->n_header_pages * RUN_PAGE_BYTES;
    stats->n_mheaps++;
    stats->reserved_bytes += REGION_HEADER_BYTES + h->max_len;
    stats->accessible_bytes += header_bytes + h->accessible_len;
    stats->n_objects += usage.object_count;
    stats->live_bytes += usage.bytes_used;
    stats->free_bytes += usage.bytes_free + (h->accessible_len - h->len);
    stats->overhead_bytes += header_bytes + h->len - usage.bytes_used - usage.bytes_free;
    stats->dirty_bytes += mheap_dirty_bytes(h);
    for (unsigned tile = 0; tile < N_REGION_TILES; tile++)
        if (region->tile_class[tile] != TILE_ELEMENTS)
            add_run(stats, &region->runs[tile]);
}

/* Blocks in lists look live to their runs and mheaps. */
static void add_lists(stats_t *stats, thread_heap_t *heap) {
    int64_t inbox_bytes = (int64_t)atomic_load_explicit(&heap->inbox_bytes, memory_order_relaxed);
    uint64_t bytes = inbox_bytes > 0 ? (uint64_t)inbox_bytes : 0, n_objects = 0;
    for (unsigned c = 0; c < N_CLASSES; c++) {
        uint64_t n = list_n_blocks(heap, c);
        n_objects += n;
        bytes += n * size_class_bytes(c);
    }
    for (uint32_t i = 0; i < heap->n_waiting; i++)
        bytes += sent_bytes(heap_waiting(heap)[i]);
    n_objects += heap->n_waiting;
    for (unsigned i = 0; i < N_REMOTE_BATCHES; i++) {
        bytes += heap->remote[i].n_bytes;
        n_objects += heap->remote[i].n_blocks;
    }
    bytes = bytes < stats->live_bytes ? bytes : stats->live_bytes;
    stats->n_objects -= n_objects < stats->n_objects ? n_objects : stats->n_objects;
    stats->live_bytes -= bytes;
    stats->listed_bytes += bytes;
}

static void add_counts(heap_counts_t *sum, const heap_counts_t *counts) {
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)counts;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
}

void stats_add_heap(stats_t *stats, thread_heap_t *heap) {
    stats->n_heaps++;
    for (uint32_t i = 0; i < heap->n_mheaps; i++)
        add_region(stats, heap->mheaps[i].region);
    add_lists(stats, heap);
    add_counts(&stats->counts, &heap->counts);
}

static void visit_heap(void *stats, thread_heap_t *heap) {
    stats_add_heap(stats, heap);
}

void stats_collect(stats_t *stats) {
    memset(stats, 0, sizeof *stats);
    heap_foreach(visit_heap, stats);
    large_stats(&stats->large);
    if (MHEAP_HARDENED)
        hardened_stats(stats);
}

/* ---- Resident ---- */

uint64_t stats_heap_resident_bytes(const thread_heap_t *heap) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < heap->n_mheaps; i++) {
        region_t *region = heap->mheaps[i].region;
        bytes +=
            vm_resident_bytes(region, REGION_HEADER_BYTES + region_mheap(region)->accessible_len);
    }
    return bytes;
}

static void add_resident(void *bytes, thread_heap_t *heap) {
    *(uint64_t *)bytes += stats_heap_resident_bytes(heap);
}

uint64_t stats_resident_bytes(void) {
    uint64_t bytes = 0;
    heap_foreach(add_resident, &bytes);
    if (MHEAP_HARDENED)
        bytes += hardened_resident_bytes();
    return bytes + large_resident_bytes();
}

/* ---- Printing ---- */

static void print_number(int file_descriptor, const char *name, uint64_t number) {
    line_t line = {.n_bytes = 0};
    line_text(&line, "libmheap:   ");
    line_text(&line, name);
    while (line.n_bytes < 56)
        line_text(&line, " ");
    line_decimal(&line, number);
    line_write(&line, file_descriptor);
}

void stats_print(int file_descriptor) {
    stats_t s;
    line_t line = {.n_bytes = 0};
    stats_collect(&s);
    line_text(&line, "libmheap: statistics (bytes unless said otherwise)");
    line_write(&line, file_descriptor);
    const struct {
        const char *name;
        uint64_t number;
    } rows[] = {
        {"resident", stats_resident_bytes()},
        {"live", s.live_bytes + s.large.live_bytes},
        {"live objects (number)", s.n_objects + s.large.n_objects},
        {"in thread heaps: live", s.live_bytes},
        {"in thread heaps: ready in lists", s.listed_bytes},
        {"in thread heaps: free", s.free_bytes},
        {"in thread heaps: free, dirty", s.dirty_bytes},
        {"in thread heaps: overhead", s.overhead_bytes},
        {"in thread heaps: accessible", s.accessible_bytes},
        {"thread heaps (number)", s.n_heaps},
        {"mheaps (number)", s.n_mheaps},
        {"runs (number)", s.n_runs},
        {"large: live", s.large.live_bytes},
        {"large: free, kept", s.large.free_dirty_bytes},
        {"large: live objects (number)", s.large.n_objects},
        {"large: allocations so far (number)", s.large.n_allocs},
        {"reserved address space", s.reserved_bytes + s.large.reserved_bytes},
        {"refills (number)", s.counts.n_refills},
        {"flushes (number)", s.counts.n_flushes},
        {"batches freed by other threads (number)", s.counts.n_remote_batches},
        {"blocks freed by other threads (number)", s.counts.n_inbox_blocks},
        {"heaps adopted (number)", s.counts.n_adoptions},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        print_number(file_descriptor, rows[i].name, rows[i].number);
}
