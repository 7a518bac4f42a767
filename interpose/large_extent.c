/* SPDX-License-Identifier: MIT */
/* large_extent.c - descriptors of extents, the bins and the age list of the free ones. */
#include "large_internal.h"

#include <string.h>

#include "vm.h"

/* ---- Descriptors ---- */

#define POOL_CHUNK_BYTES ((size_t)64 << 10)

static void pool_give(large_pool_t *pool, descriptor_t *descriptor) {
    descriptor->next = pool->free;
    pool->free = descriptor;
    pool->n_free++;
}

/* Never given back: a descriptor is a four-thousandth of the smallest object. */
static void pool_add(large_pool_t *pool, descriptor_t *descriptors, size_t n) {
    for (size_t i = n; i-- > 0;)
        pool_give(pool, &descriptors[i]);
}

bool extent_reserve_more(large_store_t *store, unsigned n_descriptors) {
    large_pool_t *pool = &store->pool;
    if (!pool->first_is_used) {
        pool->first_is_used = true;
        pool_add(pool, pool->first, LARGE_FIRST_DESCRIPTORS);
    }
    if (pool->n_free >= n_descriptors)
        return true;
    descriptor_t *chunk = vm_map(vm_round_up(POOL_CHUNK_BYTES));
    if (!chunk)
        return false;
    pool_add(pool, chunk, vm_round_up(POOL_CHUNK_BYTES) / sizeof *chunk);
    return true;
}

static descriptor_t *pool_take(large_pool_t *pool) {
    descriptor_t *descriptor = pool->free;
    pool->free = descriptor->next;
    pool->n_free--;
    return descriptor;
}

/* Links are set where it is put into a list, and read only there. */
extent_t *extent_new(arena_t *arena, char *memory, size_t bytes) {
    extent_t *extent = &pool_take(&arena->store->pool)->extent;
    extent->arena = arena;
    extent->memory = memory;
    extent->bytes = bytes;
    extent->prev = extent->next = NULL;
    extent->freed_ms = 0;
    extent->state = EXTENT_LIVE;
    extent->has_no_access = false;
    extent->pieces.n = 0;
    return extent;
}

void extent_drop(extent_t *extent) {
    pool_give(&extent->arena->store->pool, (descriptor_t *)(void *)extent);
}

arena_t *extent_new_arena(large_store_t *store) {
    arena_t *arena = &pool_take(&store->pool)->arena;
    memset(arena, 0, sizeof *arena);
    arena->store = store;
    return arena;
}

void extent_drop_arena(arena_t *arena) {
    pool_give(&arena->store->pool, (descriptor_t *)(void *)arena);
}

/* ---- Bins ---- */

#define BIN_SCAN_MAX  16u /* extents looked at in a bin for a better fit */
#define RUN_SCAN_MAX  32u /* and for a run */
#define RUN_MIN_SHARE 8u  /* the dirty part of a run is at least this part of what is needed */

static large_bins_t *bins_of(const extent_t *extent) {
    return &extent->arena->store->bins[extent->state - EXTENT_DIRTY];
}

static void bin_insert(large_bins_t *bins, extent_t *extent, unsigned bin) {
    extent_t *next = bins->bin[bin];
    extent->bin = (uint16_t)bin;
    extent->bin_prev = NULL;
    extent->bin_next = next;
    bins->bin[bin] = extent;
    if (next)
        next->bin_prev = extent;
    else
        bins->non_empty[bin / 64] |= (uint64_t)1 << bin % 64;
}

static void bin_remove(large_bins_t *bins, extent_t *extent) {
    unsigned bin = extent->bin;
    if (extent->bin_next)
        extent->bin_next->bin_prev = extent->bin_prev;
    if (extent->bin_prev)
        extent->bin_prev->bin_next = extent->bin_next;
    else if (!(bins->bin[bin] = extent->bin_next))
        bins->non_empty[bin / 64] &= ~((uint64_t)1 << bin % 64);
}

void extent_enlist(extent_t *extent) {
    if (extent->state == EXTENT_DIRTY)
        extent->arena->store->stats.free_dirty_bytes += extent->bytes;
    if (!extent->arena->is_span)
        bin_insert(bins_of(extent), extent, extent_bin(extent->bytes));
}

void extent_delist(extent_t *extent) {
    if (extent->state == EXTENT_DIRTY)
        extent->arena->store->stats.free_dirty_bytes -= extent->bytes;
    if (!extent->arena->is_span)
        bin_remove(bins_of(extent), extent);
}

/* A free extent in its bin becomes larger or smaller. */
static void set_free_bytes(extent_t *extent, size_t bytes) {
    large_store_t *store = extent->arena->store;
    if (extent->state == EXTENT_DIRTY)
        store->stats.free_dirty_bytes += bytes - extent->bytes;
    extent->bytes = bytes;
    if (extent->arena->is_span)
        return;
    unsigned bin = extent_bin(bytes);
    if (bin == extent->bin)
        return;
    large_bins_t *bins = bins_of(extent);
    bin_remove(bins, extent);
    bin_insert(bins, extent, bin);
}

/* The first bin from `bin` on that is not empty; LARGE_N_BINS if there is none. */
static unsigned next_non_empty(const large_bins_t *bins, unsigned bin) {
    for (unsigned word = bin / 64; word < LARGE_N_BIN_WORDS; word++) {
        uint64_t bits = bins->non_empty[word];
        if (word == bin / 64)
            bits &= ~(uint64_t)0 << bin % 64;
        if (bits)
            return word * 64 + (unsigned)__builtin_ctzll(bits);
    }
    return LARGE_N_BINS;
}

/* Of a bin's first extents the best place for an object: least is left over, then the lower
 * address. */
static inline extent_t *search_bin(extent_t *extent, size_t bytes, size_t align) {
    extent_t *best = NULL;
    for (unsigned n_left = BIN_SCAN_MAX; extent && n_left; extent = extent->bin_next, n_left--) {
        size_t has_bytes = extent->bytes;
        if (has_bytes < bytes || has_bytes - bytes < extent_lead_bytes(extent, align))
            continue;
        if (!best || has_bytes < best->bytes ||
            (has_bytes == best->bytes && extent->memory < best->memory))
            best = extent;
    }
    return best;
}

extent_t *extent_search(const large_store_t *store, extent_state_t state, size_t bytes,
                        size_t align) {
    const large_bins_t *bins = &store->bins[state - EXTENT_DIRTY];
    unsigned bin = extent_bin(bytes);
    extent_t *best = search_bin(bins->bin[bin], bytes, align);
    while (!best && (bin = next_non_empty(bins, bin + 1)) < LARGE_N_BINS)
        best = search_bin(bins->bin[bin], bytes, align);
    return best;
}

/* A place for an object in free extents side by side. */
typedef struct {
    extent_t *first;
    size_t clean_bytes;   /* of it, that are not dirty: to be faulted in */
    size_t missing_bytes; /* of those, behind the accessible part of the arena */
} stretch_t;

/* The object from the start of `first` on; clean_bytes is SIZE_MAX if it does not fit there. */
static stretch_t run_from(extent_t *first, size_t bytes, size_t align) {
    stretch_t run = {first, 0, 0};
    size_t need_bytes = extent_lead_bytes(first, align) + bytes;
    const extent_t *e = first;
    for (; e && extent_is_free(e) && need_bytes > 0; e = e->next) {
        size_t part_bytes = e->bytes < need_bytes ? e->bytes : need_bytes;
        need_bytes -= part_bytes;
        run.clean_bytes += e->state == EXTENT_CLEAN ? part_bytes : 0;
    }
    run.missing_bytes = need_bytes;
    run.clean_bytes += need_bytes;
    if (need_bytes > 0 && (e || need_bytes > arena_room(first->arena)))
        run.clean_bytes = SIZE_MAX;
    return run;
}

static extent_t *first_of_run(extent_t *extent) {
    while (extent->prev && extent_is_free(extent->prev))
        extent = extent->prev;
    return extent;
}

static void keep_better(stretch_t *best, stretch_t run) {
    if (run.clean_bytes < best->clean_bytes ||
        (run.clean_bytes == best->clean_bytes && run.missing_bytes < best->missing_bytes))
        *best = run;
}

extent_t *extent_search_runs(const large_store_t *store, size_t bytes, size_t align,
                             size_t *missing_bytes) {
    const large_bins_t *bins = &store->bins[0];
    unsigned n_seen = 0, bin = extent_bin(bytes), last_bin = extent_bin(bytes / RUN_MIN_SHARE);
    stretch_t best = {NULL, bytes - bytes / RUN_MIN_SHARE, 0};
    for (; bin > last_bin; bin--)
        for (extent_t *e = bins->bin[bin]; e && n_seen < RUN_SCAN_MAX; e = e->bin_next, n_seen++) {
            keep_better(&best, run_from(e, bytes, align));
            keep_better(&best, run_from(first_of_run(e), bytes, align));
        }
    *missing_bytes = best.missing_bytes;
    return best.first;
}

/* ---- The age list ---- */

#define AGE_SEARCH_MAX   32u
#define AGE_MAX_APART_MS ((uint64_t)1 << 20)
#define AGE_SAME_MS      64u /* what was freed at times so close is as old as the first of it */

static void age_insert(extent_t *extent, extent_t *older) {
    large_store_t *store = extent->arena->store;
    extent->older = older;
    extent->newer = older ? older->newer : store->oldest;
    *(extent->newer ? &extent->newer->older : &store->newest) = extent;
    *(older ? &older->newer : &store->oldest) = extent;
}

/* To where it belongs by its time, looked for from behind `place` on.  It may end up a bit too old:
 * the search is bounded. */
static void age_insert_from(extent_t *extent, extent_t *place, uint64_t freed_ms) {
    extent_t *newer = place ? place->newer : extent->arena->store->oldest;
    for (unsigned i = 0; newer && newer->freed_ms < freed_ms && i < AGE_SEARCH_MAX; i++) {
        place = newer;
        newer = newer->newer;
    }
    extent->freed_ms = newer && newer->freed_ms < freed_ms ? newer->freed_ms : freed_ms;
    age_insert(extent, place);
}

void extent_age_append(extent_t *extent) {
    age_insert(extent, extent->arena->store->newest);
}

void extent_age_remove(extent_t *extent) {
    large_store_t *store = extent->arena->store;
    *(extent->newer ? &extent->newer->older : &store->newest) = extent->older;
    *(extent->older ? &extent->older->newer : &store->oldest) = extent->newer;
}

/* ---- Cutting and joining ---- */

static void link_behind(extent_t *extent, extent_t *prev) {
    extent->prev = prev;
    extent->next = prev->next;
    *(extent->next ? &extent->next->prev : &extent->arena->last) = extent;
    prev->next = extent;
}

static void link_before(extent_t *extent, extent_t *next) {
    extent->next = next;
    extent->prev = next->prev;
    *(extent->prev ? &extent->prev->next : &extent->arena->first) = extent;
    next->prev = extent;
}

static void unlink_extent(extent_t *extent) {
    *(extent->prev ? &extent->prev->next : &extent->arena->first) = extent->next;
    *(extent->next ? &extent->next->prev : &extent->arena->last) = extent->prev;
}

static void split_pieces(extent_t *head, extent_t *tail) {
    unsigned n_before = head->pieces.n, n_head = 0;
    for (unsigned i = 0; i < n_before; i++) {
        size_t end = head->pieces.end[i];
        if (end > head->bytes)
            tail->pieces.end[tail->pieces.n++] = end - head->bytes;
        if (n_head == 0 || head->pieces.end[n_head - 1] < head->bytes)
            head->pieces.end[n_head++] = end < head->bytes ? end : head->bytes;
    }
    head->pieces.n = n_head;
    head->arena->store->n_pieces += n_head + tail->pieces.n - n_before;
}

extent_t *extent_split(extent_t *extent, size_t head_bytes) {
    extent_t *tail =
        extent_new(extent->arena, extent->memory + head_bytes, extent->bytes - head_bytes);
    tail->state = extent->state;
    tail->freed_ms = extent->freed_ms;
    tail->has_no_access = extent->has_no_access;
    extent->bytes = head_bytes;
    link_behind(tail, extent);
    if (extent->state == EXTENT_DIRTY)
        age_insert(tail, extent);
    if (extent->pieces.n)
        split_pieces(extent, tail);
    return tail;
}

/* The mean of two extents' times, by bytes: much idle memory stays old next to a little that is in
 * use.  Differences of more than a quarter of an hour are all the same. */
static uint64_t mean_freed_ms(const extent_t *older, const extent_t *newer) {
    uint64_t apart_ms = newer->freed_ms - older->freed_ms;
    if (apart_ms > AGE_MAX_APART_MS)
        apart_ms = AGE_MAX_APART_MS;
    uint64_t n_units = (older->bytes + newer->bytes) / LARGE_BIN_UNIT_BYTES;
    return newer->freed_ms - apart_ms * (older->bytes / LARGE_BIN_UNIT_BYTES) / n_units;
}

/* `extent` is on the age list and gets `part`, which is not (any more); so its time changes. */
static void join_age(extent_t *extent, const extent_t *part) {
    if (part->freed_ms - extent->freed_ms < AGE_SAME_MS) /* not less, since unsigned */
        return;
    bool is_older = extent->freed_ms < part->freed_ms;
    uint64_t freed_ms = is_older ? mean_freed_ms(extent, part) : mean_freed_ms(part, extent);
    bool stays = is_older && (!extent->newer || extent->newer->freed_ms >= freed_ms);
    if (stays) {
        extent->freed_ms = freed_ms;
        return;
    }
    extent_t *place = is_older ? extent->older : part->older; /* where it was: no newer than that */
    extent_age_remove(extent);
    age_insert_from(extent, place, freed_ms);
}

/* The free extent, in its bin and on the age list, takes in its neighbour `part`, of the same state
 * and on neither. */
static void absorb(extent_t *extent, extent_t *part) {
    if (extent->state == EXTENT_DIRTY)
        join_age(extent, part);
    if (part->memory < extent->memory)
        extent->memory = part->memory;
    extent->has_no_access &= part->has_no_access;
    set_free_bytes(extent, extent->bytes + part->bytes);
    unlink_extent(part);
    extent_drop(part);
}

static bool has_state(const extent_t *extent, extent_state_t state) {
    return extent && extent->state == state;
}

void extent_set_free(extent_t *extent, extent_state_t state, uint64_t now_ms) {
    extent_t *prev = extent->prev, *next = extent->next;
    bool joins_next = has_state(next, state);
    extent->state = (uint8_t)state;
    extent->freed_ms = now_ms;
    extent->older = NULL;
    if (has_state(prev, state)) {
        absorb(prev, extent);
        if (!joins_next)
            return;
        extent_delist(next);
        if (state == EXTENT_DIRTY)
            extent_age_remove(next);
        absorb(prev, next);
    } else if (joins_next) {
        absorb(next, extent);
    } else {
        if (state == EXTENT_DIRTY)
            extent_age_append(extent);
        extent_enlist(extent);
    }
}

/* As extent_set_taken, for one that is in no bin. */
static void set_taken_delisted(extent_t *extent, extent_state_t state) {
    if (extent->state == EXTENT_DIRTY)
        extent_age_remove(extent);
    extent->state = (uint8_t)state;
    extent->has_no_access = false;
}

void extent_set_taken(extent_t *extent, extent_state_t state) {
    extent_delist(extent);
    set_taken_delisted(extent, state);
}

/* The front of a free extent becomes a live one; the rest stays in its bin, or changes it, and
 * where it is on the age list. */
static extent_t *take_front(extent_t *rest, size_t bytes) {
    extent_t *front = extent_new(rest->arena, rest->memory, bytes);
    link_before(front, rest);
    rest->memory += bytes;
    set_free_bytes(rest, rest->bytes - bytes);
    return front;
}

extent_t *extent_take(extent_t *extent, size_t lead_bytes, size_t bytes, bool *is_zero) {
    while (lead_bytes >= extent->bytes) {
        lead_bytes -= extent->bytes;
        extent = extent->next;
    }
    *is_zero = extent->state == EXTENT_CLEAN;
    if (lead_bytes == 0 && extent->bytes > bytes)
        return take_front(extent, bytes);
    extent_delist(extent);
    if (lead_bytes) {
        extent_t *tail = extent_split(extent, lead_bytes);
        extent_enlist(extent);
        extent = tail;
    }
    if (extent->bytes > bytes)
        extent_enlist(extent_split(extent, bytes));
    set_taken_delisted(extent, EXTENT_LIVE);
    if (extent->bytes < bytes)
        *is_zero &= extent_grow(extent, bytes);
    return extent;
}

bool extent_grow(extent_t *extent, size_t bytes) {
    bool is_zero = true;
    while (extent->bytes < bytes) {
        extent_t *next = extent->next;
        size_t part_bytes = bytes - extent->bytes;
        is_zero &= next->state == EXTENT_CLEAN;
        if (next->bytes > part_bytes) { /* the border between the two moves */
            next->memory += part_bytes;
            set_free_bytes(next, next->bytes - part_bytes);
        } else {
            part_bytes = next->bytes;
            extent_set_taken(next, EXTENT_LIVE);
            unlink_extent(next);
            extent_drop(next);
        }
        extent->bytes += part_bytes;
    }
    return is_zero;
}
