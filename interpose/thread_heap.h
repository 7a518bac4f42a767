/* SPDX-License-Identifier: MIT */
/*
 * thread_heap.h - a thread's heap: lists of free blocks by size class, a list of mheaps they come
 * from, batches of other threads' blocks on their way home, and an inbox for ours.
 *
 * Who may touch what:
 *   fast part   the owning thread only, without a lock: its lists, remote[].  While no thread owns
 * the heap: whoever holds `alive`. slow part   whoever holds `lock`: runs, mheaps, regions[],
 * counters.  The owner holds it in its slow paths; any other thread may take it to sweep, validate,
 * walk or print. inbox       anyone puts blocks in (release), a holder of `lock` takes them
 * (acquire). alive       a robust mutex that the owner holds while it lives.  The kernel marks it
 * when the thread dies, however it dies and after all its destructors have run; whoever then gets
 * it with trylock owns the heap.  So no exit hook is needed, none can run too early, and a free
 * after the thread's last destructor is an ordinary free.
 *
 * Lock order: no path but fork's holds two of these at once; fork takes the heaps' table (heaps.c),
 * then the heaps in the order of their ids, then large.c's, then the trace's.
 */
#ifndef MHEAP_THREAD_HEAP_H
#define MHEAP_THREAD_HEAP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "demand.h"
#include "lock.h"
#include "owner.h"
#include "region.h"
#include "size_class.h"

/* No region: no pointer is 64 MiB or less above it, but for one wild one of 2^38. */
#define NO_REGION ((uintptr_t)0x9e3779b97f4a7c15u)

/* Blocks of one other heap, on their way to its inbox; the pointers are in the outbox. */
typedef struct {
    _Alignas(16) owner_id_t owner;
    uint32_t n_bytes, n_blocks;
} remote_batch_t;

#define N_REMOTE_BATCHES 16u
#define BATCH_MAX_BLOCKS 64u

/* Below the arrays of the heap's lists: the inbox's ring, then the outbox, a batch behind the
 * other.  Pages of either are touched when they are first used. */
#ifndef INBOX_RING_BLOCKS /* the model's is short */
#define INBOX_RING_BLOCKS 1024u
#endif
#define INBOX_RING_OFFSET (-(int64_t)(HEAP_SLOTS_BYTES + HEAP_HANDOVER_BYTES))
#define OUTBOX_OFFSET     (INBOX_RING_OFFSET + (int64_t)(INBOX_RING_BLOCKS * sizeof(block_t *)))

_Static_assert((INBOX_RING_BLOCKS + N_REMOTE_BATCHES * BATCH_MAX_BLOCKS) * sizeof(block_t *) <=
                   HEAP_HANDOVER_BYTES,
               "room for the ring and the outbox");

/* One mheap of the heap. */
typedef struct {
    region_t *region;
    uint32_t largest_bin;     /* of the mheap's free elements; ~0 if none */
    uint32_t tail_bytes;      /* by which its vector may still grow */
    uint32_t longest_bytes;   /* its vector's greatest length */
    uint32_t resident_bytes, dirty_bytes; /* mheap_resident_bytes, mheap_dirty_bytes */
    uint64_t accounted_bytes; /* of it that may be resident, as published (limits.h) */
} heap_mheap_t;

#define N_INLINE_MHEAPS 8u

/* Objects of a small class that are elements before it counts as hot and gets runs: from then on,
 * for good, n_cold is this. */
#define N_COLD_OBJECTS  24u

/* Of so many frees of elements the class of the last gets hot, if its objects are small
 * (heap_make_hot): blocks of a run are faster, however few are live. */
#define FREES_UNTIL_HOT 4096u

/* Added up over the heap's mheaps, of which a large heap has hundreds, and over their runs. */
typedef struct {
    uint64_t longest_bytes, resident_bytes, dirty_bytes; /* as the entries have them */
    uint64_t clean_run_bytes;                            /* as the regions have them */
} heap_sums_t;

/* What of the heap's free memory is wanted again, and what there was at the last look. */
typedef struct {
    demand_t demand;
    uint64_t free_bytes, clean_bytes; /* resident and not */
    uint64_t least_free_bytes;        /* at any look since decay.c asked */
} heap_demand_t;

/* Where the arrays of lists come from: below the heap in its first region's header. */
#define N_SLOT_ARRAY_SIZES 8u
typedef struct {
    int32_t end;                      /* offset down to which arrays were made so far */
    int32_t free[N_SLOT_ARRAY_SIZES]; /* arrays of each size that are not in use; 0 ends */
    int32_t first[N_CLASSES];         /* slot of each list's array; 0 if it has none */
    uint8_t log2_bytes[N_CLASSES];    /* of the array */
} heap_slots_t;

typedef struct {
    uint64_t n_refills, n_flushes, n_remote_batches, n_inbox_blocks;
    uint64_t n_runs_made;
    uint64_t n_adoptions;
} heap_counts_t;

/* The sizes that a table gives the class of: all small ones and nearly all medium ones, so that no
 * branch is needed where nobody can guess. */
#define CLASS_TABLE_MAX_BYTES ((size_t)32 << 10)

typedef struct thread_heap {
    /* fast part */
    block_t *empty_slot; /* always NO_BLOCK; the slot that lists without an array have */
    uintptr_t key;       /* secret of marks and links, the same in all heaps */
    owner_id_t fast_id;  /* `id`, or OWNER_NOT_SELF when every call has to go the slow way */
    owner_id_t id;
    uintptr_t only_region; /* the heap's first region, if it seems to be the only one and fast_id is
                              `id`; else NO_REGION */
    /* By (bytes + 15) / 16; the same in all heaps. */
    uint8_t class_of[CLASS_TABLE_MAX_BYTES / 16 + 1];
    uint32_t reciprocal[N_CLASSES + 1]; /* run_reciprocal by a tile's class; for TILE_ELEMENTS what
                                           makes no offset look like a block's, but 0 */
    /*
     * Free blocks of each size class: a stack of pointers in an array of slots (heap_slots.h), so
     * that neither malloc nor free has to wait for what the last one wrote to a block.  The array's
     * first slot always holds NO_BLOCK: the stack is empty when that is what the top slot holds.
     * Full and empty ones: see heap_make_room and heap_refill.
     *
     * Slots are known by their byte offset in the heap, which is negative.  A list without an array
     * has zeros here: offset 0 is empty_slot.  So has TILE_ELEMENTS, whose list is
     * empty and full: an element at its tile's first byte goes the slow way.
     */
    int32_t list_top[N_CLASSES + 1];  /* the slot pushed last */
    int32_t list_last[N_CLASSES + 1]; /* the last slot that may be used; full if top is not less */
    remote_batch_t remote[N_REMOTE_BATCHES];

    /* slow part */
    lock_t lock;
    uint32_t n_mheaps, max_mheaps;
    heap_mheap_t *mheaps; /* inline_mheaps, or a mapping once there are more */
    heap_mheap_t inline_mheaps[N_INLINE_MHEAPS];
    uint32_t ready_runs[N_SMALL_CLASSES]; /* lists of runs by state (run.h), tile numbers */
    uint32_t clean_runs[N_SMALL_CLASSES];
    uint32_t n_runs[N_SMALL_CLASSES]; /* of each class; 16 bits would be 4 GiB of it */
    heap_sums_t sums;
    uint64_t ready_bytes;             /* of the runs' free blocks on pages that are resident */
    uint64_t n_puts; /* blocks that came home since all runs were searched for free pages */
    uint8_t n_cold[N_CLASSES]; /* elements that a small class has out or on its list while it is
                                  cold, 0 for medium ones; the owner, who alone writes it, reads it
                                  unlocked */
    uint32_t n_until_hot;      /* frees of elements on lists; the owner's only */
    uint8_t n_returns[N_SMALL_CLASSES]; /* heap_return_cold; the owner's only */
    int32_t limit[N_CLASSES];           /* of each list, in blocks; adapts */
    int32_t n_sent_home[N_CLASSES];     /* by full lists, not wanted back so far */
    uint16_t n_swept[N_CLASSES];        /* blocks on each list at the last sweep */
    uint8_t n_flushes[N_CLASSES];       /* since the list was last refilled */
    uint8_t n_larger[N_MEDIUM_CLASSES]; /* elements of larger classes that a medium one may still
                                           take (heap_slow.c); the owner's only */
    heap_slots_t slots;                 /* heap_slots.h; the owner's only */
    uint64_t draining;                  /* classes whose lists drain (heap_drain.h), a bit each;
                                           this and the next two are the owner's only */
    int32_t waiting;                    /* the array of the blocks that wait, 0 if there is none */
    uint32_t n_waiting;
    uint64_t grown_bytes; /* by which the mheaps grew since the last sweep */
    uint64_t fresh_bytes; /* that became accessible; the next refill sees to it */
    heap_counts_t counts;
    struct {
        uint64_t activity, dirty_bytes; /* at the last look */
        bool is_done;                   /* has given everything back since */
    } decay;                            /* decay.c */
    heap_demand_t demand;               /* heap_demand.c */

    /* shared part, on a line of its own: the inbox is written by other threads */
    _Alignas(64) _Atomic uint64_t ring_tail; /* places of the inbox's ring ever given to a block */
    _Atomic uint64_t ring_head;              /* and those that were emptied */
    _Atomic(block_t *) inbox;                /* what the ring had no room for, linked */
    _Atomic uint64_t inbox_bytes;  /* of both; too low, modulo 2^64, when one is on its way */
    _Atomic uint64_t inbox_bound;  /* in bytes, set by a holder of `lock` (remote.c) */
    _Atomic uint32_t n_looks;      /* of the owner, which writes it, into its inbox */
    _Atomic uint32_t n_looks_seen; /* when the inbox was last found full, by whoever filled it */
    _Atomic uint64_t spare_bytes;  /* free and resident, as last looked at by a holder of `lock`; a
                                      hint for who adopts a heap */
    pthread_mutex_t alive;
} thread_heap_t;

/* Reports that a free block was written to; returns only with the option abort off. */
__attribute__((cold)) void report_damage(const block_t *block, const char *function);

static inline block_t **heap_slot(const thread_heap_t *heap, int64_t offset) {
    return (block_t **)((uintptr_t)heap + (uintptr_t)offset);
}

/* Below all blocks of a list.  It lacks its mark, so malloc finds a list empty by the same test as
 * a block damaged. */
extern const block_t no_block;
#define NO_BLOCK ((block_t *)&no_block)

static inline bool list_is_empty(const thread_heap_t *heap, size_t size_class) {
    return *heap_slot(heap, heap->list_top[size_class]) == NO_BLOCK;
}

/* For classes that are listed. */
static inline uint32_t list_n_blocks(const thread_heap_t *heap, unsigned size_class) {
    int32_t n_bytes = heap->list_top[size_class] - heap->slots.first[size_class];
    return (uint32_t)n_bytes / (uint32_t)sizeof(block_t *);
}

/* The block behind one in an inbox.  If the link was written to it says so, and then (object.c)
 * aborts or gives the rest of the chain up.  `function` is for the message. */
static inline block_t *block_next(const block_t *block, uintptr_t key, const char *function) {
    uintptr_t next = block_decode(block, key);
    if (__builtin_expect(!block_link_is_plausible(next), 0))
        return report_damage(block, function), NULL;
    return (block_t *)next;
}

static inline bool list_is_full(const thread_heap_t *heap, size_t size_class) {
    return heap->list_top[size_class] >= heap->list_last[size_class];
}

/* Above `top`, the list's top, on a list that is not full.  A block that has its mark, and is not
 * touched. */
static inline void list_push_above(thread_heap_t *heap, size_t size_class, int64_t top,
                                   block_t *block) {
    top += (int64_t)sizeof(block_t *);
    *heap_slot(heap, top) = block;
    /* A fork's child may see us between any two stores: the slot comes first. */
    atomic_signal_fence(memory_order_seq_cst);
    heap->list_top[size_class] = (int32_t)top;
}

static inline void list_push_marked(thread_heap_t *heap, size_t size_class, block_t *block) {
    list_push_above(heap, size_class, heap->list_top[size_class], block);
}

static inline void list_push(thread_heap_t *heap, size_t size_class, block_t *block) {
    /* Once: for all the compiler knows the mark may lie there. */
    int64_t top = heap->list_top[size_class];
    block_set_mark(block, heap->key);
    list_push_above(heap, size_class, top, block);
}

/* Elements of a hot class are not kept in its list when freed: they are slower to free than blocks
 * of a run, and would go round for ever.  Those of no class have no list (get_from_others). */
static inline bool thread_heap_wants_element(const thread_heap_t *heap, unsigned size_class) {
    return size_class < N_CLASSES && heap->n_cold[size_class] < N_COLD_OBJECTS;
}

#endif /* MHEAP_THREAD_HEAP_H */
