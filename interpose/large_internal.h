/* SPDX-License-Identifier: MIT */
/*
 * large_internal.h - how large objects are kept.  Private to large*.c and their tests.
 *
 * A *store* is a lock with what it guards: arenas, and which parts of them are free.  There are
 * several, but one serves all until threads are seen to wait for its lock; then objects of up to
 * LARGE_SPREAD_MAX_BYTES come from the store of the processor that asks (large_stores.c).  An
 * object goes back to the store that it came from, which its region's owner names.
 *
 * An *arena* is an address range that we reserved, accessible from its front:
 *
 *        memory                          committed                        bytes
 *        | extent | extent |  extent ... |          no access yet         |
 *
 * An *extent* is a piece of the accessible part.  Its descriptor lies elsewhere, so nothing that a
 * program writes reaches it.  States:
 *
 *        LIVE    a program's object
 *        DIRTY   free, may be resident; preferred for new objects, since its pages are there
 *        CLEAN   free, known to be zero: never used, or given back to the system
 *        BUSY    free, its pages are on their way back to the system (a thread does that, unlocked)
 *
 * An arena that holds one object only is a *span*: huge objects have one, and objects that grew,
 * with room behind them to grow on.  A span whose object was freed may be kept in `cached`.
 *
 * Free memory counts against RLIMIT_DATA, and as committed where the kernel does not overcommit, as
 * long as it is accessible.  So when memory has run out, or malloc_trim is called, it loses its
 * access (may_lack_access), and gets it again when it is taken.
 *
 * A *piece* of a live object is a part whose pages were moved in (vm_move): a kernel mapping of its
 * own that can never merge with its neighbours.  Pieces come first in an object; the next move has
 * to take them one by one; when freed, they are renewed, so that free memory holds no pieces.
 *
 * Invariants (large_validate has a function for each number):
 *
 *  L1  the extents of an arena tile [memory, memory + committed) in address order, are whole pages,
 *      and their links agree
 *  L2  no two neighbours are both DIRTY or both CLEAN
 *  L3  a free extent of an arena that is no span is in the bin of its state and size; bins hold
 *      nothing else; a bin's bit is set if and only if it is not empty
 *  L4  the age list holds exactly the DIRTY extents, ordered by freed_ms, and their sum is
 *      stats.free_dirty_bytes
 *  L5  the table finds each live extent under its address and holds nothing else; stats.n_objects
 *      and stats.live_bytes are their number and sum
 *  L6  every region of an arena belongs to OWNER_LARGE and the store's number;
 *      stats.reserved_bytes is the arenas' sum
 *  L7  a span in `spans` has a live first extent and no other live one; a span in `cached` has none
 *  L8  pieces are whole pages in ascending order inside their live object, and n_pieces is their
 *      number in all
 *
 * Everything here is guarded by its store's lock.  No thread holds two, but for one that forks.
 */
#ifndef MHEAP_LARGE_INTERNAL_H
#define MHEAP_LARGE_INTERNAL_H

#include "large.h"
#include "coarse_clock.h"
#include "demand.h"
#include "lock.h"
#include "vm.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LARGE_N_STORES           8u
#define LARGE_SPREAD_MAX_BYTES   ((size_t)512 << 10) /* larger ones: their pages take longer */
#define LARGE_ARENA_MIN_BYTES    ((size_t)256 << 20) /* first arena; later as much as all before */
#define LARGE_ARENA_SPREAD_BYTES ((size_t)64 << 20)  /* the first of a store but the first */
#define LARGE_ARENA_MAX_BYTES    ((size_t)1 << 30)
#define LARGE_SPAN_MIN_BYTES     ((size_t)32 << 20) /* larger objects have a span from the start */
#define LARGE_GROW_MIN_BYTES     ((size_t)1 << 20) /* growing ones from here on when they must move */
#define LARGE_GROW_MAX_SPANS     256u              /* so many growing objects may have one */
#define LARGE_GROW_FACTOR        4u                /* room of such a span, in sizes of its object */
#define LARGE_COMMIT_MIN_BYTES   ((size_t)1 << 20)
#define LARGE_COMMIT_MAX_BYTES   ((size_t)64 << 20)
#define LARGE_ASK_MIN_BYTES      ((size_t)1 << 30) /* from here on the system is asked before */
#define LARGE_RETRY_MS           1000u             /* after the system refused to take pages back */
#define LARGE_PEAK_HALF_MS       1000u /* what the peak exceeds the present by, is halved */
#define LARGE_MAX_PIECES_IN_ALL  4096u /* in a store, of the 65530 kernel mappings there may be */

typedef enum { EXTENT_LIVE, EXTENT_DIRTY, EXTENT_CLEAN, EXTENT_BUSY } extent_state_t;
#define LARGE_N_BIN_KINDS 2u /* DIRTY and CLEAN */

#define EXTENT_MAX_PIECES 4u

typedef struct {
    unsigned n;
    size_t end[EXTENT_MAX_PIECES]; /* offset of each one's end */
} large_pieces_t;

typedef struct arena arena_t;
typedef struct large_store large_store_t;

typedef struct extent {
    char *memory;
    size_t bytes;
    arena_t *arena;
    struct extent *prev, *next;         /* neighbours by address */
    struct extent *bin_prev, *bin_next; /* of the same bin */
    struct extent *older, *newer;       /* neighbours on the age list */
    uint64_t freed_ms;                  /* its parts' mean, about */
    uint8_t state;                      /* extent_state_t */
    bool has_no_access; /* all of it, while free; a hint: not to take it away twice */
    uint16_t bin;       /* while it is in one */
    large_pieces_t pieces;
} extent_t;

struct arena {
    large_store_t *store;
    char *memory;
    size_t bytes, committed;
    extent_t *first, *last;
    arena_t *prev, *next; /* in its list */
    bool is_span;
    bool may_lack_access; /* of what is free; see extent_give_access */
};

/* Bins by size in 4 KiB: sizes up to 8 have one each, then each power of two has 8. */
#define LARGE_N_BINS      320u
#define LARGE_N_BIN_WORDS (LARGE_N_BINS / 64u)

typedef struct {
    extent_t *bin[LARGE_N_BINS];
    uint64_t non_empty[LARGE_N_BIN_WORDS];
} large_bins_t;

/* The live extents by address; slots is NULL as long as first_slots are enough. */
#define LARGE_FIRST_LOG2_SLOTS 8u
typedef struct {
    extent_t **slots;
    size_t n_used;
    unsigned n_doublings;
    extent_t *first_slots[1u << LARGE_FIRST_LOG2_SLOTS];
} large_table_t;

typedef union descriptor {
    union descriptor *next;
    extent_t extent;
    arena_t arena;
} descriptor_t;

#define LARGE_FIRST_DESCRIPTORS 32u
typedef struct {
    descriptor_t *free;
    size_t n_free;
    bool first_is_used;
    descriptor_t first[LARGE_FIRST_DESCRIPTORS];
} large_pool_t;

/* What each operation uses comes first, and on no cache line of another store's. */
struct large_store {
    lock_t lock __attribute__((aligned(64)));
    uint32_t n_spans, n_pieces;
    uint32_t n_waits; /* for the lock, since n_judged operations */
    bool shows_dirty; /* its bit of large_dirty_flags */
    uint64_t now_ms;  /* the coarse clock's, when the lock was taken */
    uint64_t n_judged;
    extent_t *oldest, *newest;
    arena_t *arenas, *spans, *cached;
    arena_t *leaving; /* unused arenas whose address range is being given up, unlocked */
    uint64_t spent_bytes, spent_ms; /* of the purge budget; as of when */
    uint64_t no_purge_until_ms;     /* the system refused to take pages back: ask again later */
    size_t wanted_bytes;            /* by the demand, when it was last asked */
    uint64_t quiet_ms;              /* nothing is to be purged as long as the clock shows this, */
    size_t quiet_bytes;             /* and no more is dirty than this (large_purge_if_due) */
    uint64_t idle_bytes;            /* dirty beyond that; read without the lock: relaxed */
    uint64_t accounted_bytes;       /* live and dirty, as published (limits.h) */
    size_t peak_bytes;              /* the most that was live and dirty together; falls with time */
    uint64_t peak_ms;               /* as of when */
    size_t fresh_bytes;  /* that thread heaps took since large_purge_exchange gave back for it */
    size_t unused_bytes; /* the least that was dirty since then */
    demand_t demand;
    large_stats_t stats;
    large_bins_t bins[LARGE_N_BIN_KINDS];
    large_table_t table;
    large_pool_t pool;
};

/* ---- large_stores.c: the stores and their locks ---- */

extern large_store_t large_stores[LARGE_N_STORES];

/* The first so many, and one more, are in use: one less than a power of two.  Relaxed; raised under
 * the lock of one of them, never lowered. */
extern uint32_t large_last_store;

static inline large_store_t *large_stores_end(void) {
    return large_stores + __atomic_load_n(&large_last_store, __ATOMIC_RELAXED) + 1;
}

static inline bool large_are_spread(void) {
    return __atomic_load_n(&large_last_store, __ATOMIC_RELAXED) > 0;
}

/* Do objects of that size come from several stores? */
static inline bool large_is_spread(size_t bytes) {
    return large_are_spread() && bytes <= LARGE_SPREAD_MAX_BYTES;
}

/* Where the calling thread's new objects of that size come from. */
large_store_t *large_store_for(size_t bytes);

/* The store that the object at `pointer` came from; of any other pointer, some store. */
large_store_t *large_store_of(const void *pointer);

static inline bool large_store_has_dirty(const large_store_t *store) {
    return __atomic_load_n(&large_dirty_flags, __ATOMIC_RELAXED) >> (store - large_stores) & 1;
}

uint16_t large_store_owner(const large_store_t *store); /* of its regions */

/* Every operation enters, with the lock, and leaves; within one, the lock may be let go of for a
 * time. */
void large_enter(large_store_t *store);
void large_leave(large_store_t *store);

/* Every store in turn, entered: for (s = large_enter_first(); s; s = large_enter_next(s)).  Who
 * stops earlier leaves the last one. */
static inline large_store_t *large_enter_first(void) {
    large_enter(large_stores);
    return large_stores;
}

static inline large_store_t *large_enter_next(large_store_t *store) {
    large_leave(store);
    if (++store == large_stores_end())
        return NULL;
    large_enter(store);
    return store;
}

void large_lock(large_store_t *store);
void large_unlock(large_store_t *store);

/* ---- large_table.c: the live extents by address ---- */

bool large_table_reserve_more(large_store_t *store);
static inline bool large_table_reserve(large_store_t *store) { /* room for one more? */
    const large_table_t *table = &store->table;
    return 2 * (table->n_used + 1) <= (size_t)1 << (LARGE_FIRST_LOG2_SLOTS + table->n_doublings) ||
           large_table_reserve_more(store); /* false without memory */
}
void large_table_add(extent_t *extent);
void large_table_remove(extent_t *extent);
extent_t *large_table_find(large_store_t *store, const void *pointer);

/* ---- large_extent.c: descriptors, bins, the age list ---- */

/* Make sure that so many descriptors can be had; false without memory. */
bool extent_reserve_more(large_store_t *store, unsigned n_descriptors);
static inline bool extent_reserve(large_store_t *store, unsigned n_descriptors) {
    return store->pool.n_free >= n_descriptors || extent_reserve_more(store, n_descriptors);
}

extent_t *extent_new(arena_t *arena, char *memory, size_t bytes); /* reserved before; not linked */
void extent_drop(extent_t *extent);
arena_t *
extent_new_arena(large_store_t *store); /* an arena's descriptor comes from the same pool, zeroed */
void extent_drop_arena(arena_t *arena);

#define LARGE_BIN_UNIT_BYTES 4096u /* the least page: a constant to divide by */

static inline unsigned extent_bin(size_t bytes) {
    size_t n_units = bytes / LARGE_BIN_UNIT_BYTES;
    if (n_units < 8)
        return (unsigned)n_units;
    unsigned log2 = 63u - (unsigned)__builtin_clzl(n_units);
    return ((log2 - 2u) << 3) + (unsigned)((n_units >> (log2 - 3u)) & 7u);
}

static inline bool extent_is_free(const extent_t *extent) {
    return extent->state == EXTENT_DIRTY || extent->state == EXTENT_CLEAN;
}

/* Put a free extent into its bin, or take it out.  Its place on the age list is not touched. */
void extent_enlist(extent_t *extent);
void extent_delist(extent_t *extent);

/* Put a DIRTY extent at the new end of the age list, or take it off. */
void extent_age_append(extent_t *extent);
void extent_age_remove(extent_t *extent);

/* Cut the extent (not in a bin) after head_bytes; returns the tail, of the same state and age, not
 * in a bin either.  One descriptor is reserved. */
extent_t *extent_split(extent_t *extent, size_t head_bytes);

/* Make `extent`, LIVE or BUSY, free memory of that state; it melts into equal neighbours. */
void extent_set_free(extent_t *extent, extent_state_t state, uint64_t now_ms);

/* Make `extent`, free, LIVE or BUSY. */
void extent_set_taken(extent_t *extent, extent_state_t state);

/* A free extent of that state in which `bytes` aligned to `align` fit, nearly the smallest; or
 * NULL. */
extent_t *extent_search(const large_store_t *store, extent_state_t state, size_t bytes,
                        size_t align);

/* The first of a run of free extents, not all of a state, in which they fit, with the least part
 * that is not dirty; or NULL.  The run may end where its arena's accessible part does, and
 * *missing_bytes more are to be made accessible first. */
extent_t *extent_search_runs(const large_store_t *store, size_t bytes, size_t align,
                             size_t *missing_bytes);

/* Bytes to skip in the memory for an object aligned to `align`. */
static inline size_t extent_lead_bytes(const extent_t *extent, size_t align) {
    return -(uintptr_t)extent->memory & (align - 1);
}

/* Turn `bytes` of the run of free extents that starts with `extent` into a live one, skipping the
 * first lead_bytes.  The run is long enough; two descriptors are reserved. */
extent_t *extent_take(extent_t *extent, size_t lead_bytes, size_t bytes, bool *is_zero);

/* Give a live extent up to `bytes` from the run of free extents behind it, which is long enough.
 * Returns whether all of the new part was CLEAN. */
bool extent_grow(extent_t *extent, size_t bytes);

/* Make [memory, memory + bytes) accessible if free memory of its arena may not be, for an object
 * that shall live there.  False without memory; nothing has changed then. */
static inline bool extent_give_access(const arena_t *arena, char *memory, size_t bytes) {
    return !arena->may_lack_access || vm_commit(memory, bytes);
}

/* ---- large_arena.c: address space ---- */

/* Reserve a span (one object) or an arena and add it to its list; NULL without memory.  One
 * descriptor is reserved. */
arena_t *arena_new(large_store_t *store, size_t bytes, size_t align, bool is_span);

/* Make at least `bytes` more at the end accessible: CLEAN.  One descriptor is reserved. */
bool arena_commit(arena_t *arena, size_t bytes);

static inline size_t arena_room(const arena_t *arena) {
    return arena->bytes - arena->committed;
}

bool arena_is_unused(const arena_t *arena); /* neither a live extent nor a busy one */

void arena_push(arena_t **list, arena_t *arena);
void arena_remove(arena_t **list, arena_t *arena);

/* The arena that `pointer` lies in, of those in use; NULL if none.  O(arenas). */
arena_t *arena_find(const large_store_t *store, const void *pointer);

/* Give up the address range of an unused arena that was taken off `list`; lets go of the lock for a
 * time.  False, and it is on the list again, if the system refuses. */
bool arena_release(arena_t **list, arena_t *arena);

/* ---- large_place.c: where a new object goes ---- */

/* Which free memory an object is given. */
typedef enum {
    LARGE_DIRTY_FIRST, /* it is resident already */
    LARGE_CLEAN_FIRST  /* pages are moved there that are resident elsewhere */
} large_choice_t;

/* A live extent for a new object: in an arena, or in a span with room_bytes to grow on if it is
 * huge or room_bytes > bytes.   NULL without memory. */
extent_t *large_place(large_store_t *store, size_t bytes, size_t align, size_t room_bytes,
                      large_choice_t choice, bool *is_zero);

/* The same within one DIRTY extent of an arena; NULL if none fits. */
extent_t *large_place_dirty(large_store_t *store, size_t bytes, size_t align);

/* Make the live extent hold `bytes`, more than now, where it is. */
bool large_place_grow(extent_t *extent, size_t bytes);

/* ---- large_purge.c ---- */

/* Make a live extent, already forgotten by the table, free.  is_zero: its contents were moved away.
 */
void large_release(extent_t *extent, bool is_zero);

/* With the lock held; these let go of it while they wait for the system.  They return the bytes
 * that went. */
size_t large_purge_excess(large_store_t *store); /* what is more than should stay for reuse */
size_t large_purge_now(large_store_t *store);    /* that, and what has been free for long */
/* Instead of growing: fresh memory was just taken. */
size_t large_purge_growth(large_store_t *store);
/* So much fresh memory was, by a thread heap. */
size_t large_purge_exchange(large_store_t *store, size_t fresh_bytes);
size_t large_purge_aged(large_store_t *store); /* what has been free for long */
size_t large_purge_everything(large_store_t *store);

/* The same after objects were taken from dirty memory, or freed to be dirty.  Looking once for each
 * tick of the clock, or when much was freed, finds all that looking each time would find. */
static inline void large_purge_if_due(large_store_t *store) {
    if (store->now_ms != store->quiet_ms || store->stats.free_dirty_bytes > store->quiet_bytes)
        large_purge_now(store);
}

/* ---- large_move.c ---- */

/* Bring the contents of `from` to `to`, a larger live extent: by moving pages where the kernel can
 * (if may_move), by copying where not.  Without the lock; both belong to the caller.  Sets *pieces
 * to those that `to` has now.  True if nothing is left in `from` but zeros. */
bool large_move(const extent_t *from, const extent_t *to, bool may_move, large_pieces_t *pieces);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_LARGE_INTERNAL_H */
