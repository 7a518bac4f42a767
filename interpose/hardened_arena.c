/* SPDX-License-Identifier: MIT */
#include "hardened_arena.h"

#include <errno.h>

#include "boot.h"
#include "vm.h"

_Thread_local lock_t *hardened_held_lock;
_Thread_local bool hardened_is_forking;

/* Metadata is made accessible by so much at once, with a guard before and behind. */
#define POOL_CHUNK_BYTES    ((size_t)1 << 20)
#define POOL_GUARD_BYTES    TILE_BYTES

/* What the quarantine of a class may hold in each of its two stages. */
#define HELD_BYTES          ((size_t)32 << 10)
#define HELD_MIN_PLACES     8u
#define HELD_MAX_PLACES     256u

/* Kernel mappings: two for each group.  One slab a group up to 128 MiB of slabs, 8 up to about
 * 1.8 GiB, then 64. */
#define REGIONS_OF_GROUPS_1 4u
#define REGIONS_OF_GROUPS_8 32u

/* Closed slabs may lie between open ones: two kernel mappings more for each. */
#define MAX_CLOSED_SLABS    8192u

#define REGION_MIN_BYTES    ((size_t)512 << 10)

/* All but slab[] is the arena's. */
struct slab_region {
    _Atomic(slab_t *) slab[N_REGION_TILES]; /* NULL: a guard, or not yet made */
    uint32_t group;                         /* as in slab_source_t */
    bool has_metadata;                      /* a slab's place has become that */
    char *memory;
    size_t n_bytes;
    struct slab_region *next; /* of the arena's regions, or of its spare descriptors */
};

/* Written for each region before a pointer into it is given to anyone, cleared when none is left
 * that means an object. */
static _Atomic(struct slab_region *) region_maps[N_REGIONS]; /* sparse, in .bss */
static _Atomic uint32_t n_regions;
static _Atomic uint32_t n_closed; /* slabs; relaxed: a limit more or less */

static slab_arena_t arenas[N_SLAB_ARENAS];
static _Atomic uint32_t n_threads;
static _Thread_local slab_arena_t *self_arena;

slab_arena_t *arena_at(unsigned index) {
    return &arenas[index];
}

static slab_arena_t *first_call(void) {
    int saved_errno = errno;
    unsigned index = atomic_fetch_add_explicit(&n_threads, 1, memory_order_relaxed) % N_SLAB_ARENAS;
    self_arena = &arenas[index]; /* what follows may allocate */
    boot_first_heap();
    errno = saved_errno;
    return self_arena;
}

slab_arena_t *arena_self(void) {
    return __builtin_expect(self_arena != NULL, 1) ? self_arena : first_call();
}

void arena_foreach(void (*visit)(void *arg, slab_arena_t *arena), void *arg) {
    for (unsigned i = 0; i < N_SLAB_ARENAS; i++) {
        hardened_lock(&arenas[i].lock);
        visit(arg, &arenas[i]);
        hardened_unlock(&arenas[i].lock);
    }
}

/* Relaxed: the pointer came here some way, and that way orders the store before this load, as for
 * region_owner. */
slab_t *slab_of(const void *pointer) {
    size_t index = (uintptr_t)pointer >> REGION_LOG2_BYTES;
    if (index >= N_REGIONS)
        return NULL;
    struct slab_region *map = atomic_load_explicit(&region_maps[index], memory_order_relaxed);
    return map ? atomic_load_explicit(&map->slab[region_tile(pointer)], memory_order_relaxed)
               : NULL;
}

/* ---- Metadata ---- */

static bool use_slab_as_chunk(slab_arena_t *arena);

static bool new_chunk(slab_arena_t *arena, size_t bytes) {
    char *chunk = vm_reserve(bytes + 2 * POOL_GUARD_BYTES, vm_page_bytes());
    if (!chunk)
        return false;
    if (!vm_commit(chunk + POOL_GUARD_BYTES, bytes)) {
        vm_release(chunk, bytes + 2 * POOL_GUARD_BYTES);
        return false;
    }
    arena->pool = (slab_pool_t){chunk + POOL_GUARD_BYTES, bytes};
    return true;
}

/* Under a limit a little is better than nothing. */
static bool new_metadata_memory(slab_arena_t *arena) {
    return new_chunk(arena, POOL_CHUNK_BYTES) || new_chunk(arena, SLAB_BYTES) ||
           use_slab_as_chunk(arena);
}

/* Zeroed, never given back. */
static void *pool_take(slab_arena_t *arena, size_t bytes) {
    bytes = (bytes + 15) & ~(size_t)15;
    if (arena->pool.n_bytes < bytes && !new_metadata_memory(arena))
        return NULL;
    void *taken = arena->pool.next;
    arena->pool.next += bytes;
    arena->pool.n_bytes -= bytes;
    arena->pool_bytes += bytes;
    return taken;
}

bool arena_reserve_held(slab_arena_t *arena, unsigned size_class) {
    held_t *held = &arena->held[size_class];
    size_t n_places = HELD_BYTES / size_class_bytes(size_class);
    if (held->capacity)
        return true;
    if (n_places < HELD_MIN_PLACES)
        n_places = HELD_MIN_PLACES;
    if (n_places > HELD_MAX_PLACES)
        n_places = HELD_MAX_PLACES;
    held->place = pool_take(arena, 2 * n_places * sizeof *held->place);
    held->capacity = held->place ? (uint32_t)n_places : 0;
    return held->place != NULL;
}

/* ---- Addresses ---- */

/* Slabs side by side in the region that is the n-th. */
static uint32_t group_of(uint32_t n) {
    return n < REGIONS_OF_GROUPS_1 ? 1 : n < REGIONS_OF_GROUPS_8 ? 8 : 64;
}

/* A region, or as much of one as a limit on address space leaves. */
static char *reserve_region(size_t *bytes) {
    for (*bytes = REGION_BYTES; *bytes >= REGION_MIN_BYTES; *bytes /= 2) {
        char *memory = owner_reserve(*bytes, REGION_BYTES);
        if (memory)
            return memory;
    }
    return NULL;
}

static struct slab_region *new_map(slab_arena_t *arena) {
    struct slab_region *map = arena->spare_regions;
    if (!map)
        return pool_take(arena, sizeof *map);
    arena->spare_regions = map->next;
    return map;
}

static bool new_source(slab_arena_t *arena) {
    size_t bytes;
    char *memory = reserve_region(&bytes);
    if (!memory)
        return false;
    struct slab_region *map = new_map(arena);
    if (!map) {
        vm_release(memory, bytes);
        return false;
    }
    map->memory = memory;
    map->n_bytes = bytes;
    map->next = arena->regions;
    arena->regions = map;
    uint32_t n = atomic_fetch_add_explicit(&n_regions, 1, memory_order_relaxed);
    arena->source = (slab_source_t){
        .memory = memory,
        .map = map,
        .n_tiles = (uint32_t)(bytes >> TILE_LOG2_BYTES) - 1, /* the last one is a guard */
        .group = group_of(n),
    };
    map->group = arena->source.group;
    atomic_store_explicit(&region_maps[(uintptr_t)memory >> REGION_LOG2_BYTES], map,
                          memory_order_release);
    owner_set(memory, REGION_BYTES, OWNER_SLAB);
    return true;
}

/* Where the next slab goes; accessible. */
static char *next_slab_memory(slab_arena_t *arena) {
    slab_source_t *source = &arena->source;
    if (source->memory && source->next_tile % (source->group + 1) == 0)
        source->next_tile++; /* a guard, as is the region's first tile */
    if (source->next_tile >= source->n_tiles) {
        if (!new_source(arena))
            return NULL;
        source->next_tile = 1;
    }
    char *memory = source->memory + ((size_t)source->next_tile << TILE_LOG2_BYTES);
    if (source->next_tile % (source->group + 1) != 1)
        return memory;
    uint32_t n_slabs = source->n_tiles - source->next_tile;
    if (n_slabs > source->group)
        n_slabs = source->group;
    return vm_commit(memory, (size_t)n_slabs << TILE_LOG2_BYTES) ? memory : NULL;
}

/* ---- Slabs ---- */

void arena_list_add(slab_arena_t *arena, slab_t *slab) {
    slab_t **head = &arena->listed[slab->size_class];
    slab->prev = NULL;
    slab->next = *head;
    if (*head)
        (*head)->prev = slab;
    *head = slab;
    slab->is_listed = true;
}

void arena_list_remove(slab_arena_t *arena, slab_t *slab) {
    if (slab->next)
        slab->next->prev = slab->prev;
    *(slab->prev ? &slab->prev->next : &arena->listed[slab->size_class]) = slab->next;
    slab->is_listed = false;
}

static struct slab_region *map_of(const slab_t *slab) {
    return region_maps[(uintptr_t)slab->memory >> REGION_LOG2_BYTES];
}

static void set_slab(char *memory, slab_t *slab) {
    struct slab_region *map = region_maps[(uintptr_t)memory >> REGION_LOG2_BYTES];
    atomic_store_explicit(&map->slab[region_tile(memory)], slab, memory_order_release);
}

bool arena_open(slab_t *slab) {
    if (!slab->is_closed)
        return true;
    if (!vm_commit(slab->memory, SLAB_BYTES))
        return false;
    slab->is_closed = false;
    atomic_fetch_sub_explicit(&n_closed, 1, memory_order_relaxed);
    return true;
}

void arena_close(slab_t *slab) {
    if (slab->is_closed || n_closed >= MAX_CLOSED_SLABS || !vm_decommit(slab->memory, SLAB_BYTES))
        return;
    slab->is_closed = true;
    atomic_fetch_add_explicit(&n_closed, 1, memory_order_relaxed);
}

/* The memory of a slab without an object or a page. */
static char *take_memory(slab_arena_t *arena, slab_t *slab) {
    char *memory = slab->memory;
    arena_list_remove(arena, slab);
    slab->memory = NULL;
    slab->is_closed = false;
    slab->next = arena->spare[slab->size_class];
    arena->spare[slab->size_class] = slab;
    return memory;
}

/* One without an object or a page, in a group of at most so many; NULL if there is none that can
 * be had. */
static slab_t *empty_slab(slab_arena_t *arena, uint32_t most_in_group) {
    slab_t *slab = arena->slabs;
    while (slab && (!slab->memory || slab->n_open > 0 || map_of(slab)->group > most_in_group))
        slab = slab->other;
    return slab && arena_open(slab) ? slab : NULL;
}

/* There are no other addresses: those of a slab of any class. */
static char *reused_slab_memory(slab_arena_t *arena) {
    slab_t *slab = empty_slab(arena, UINT32_MAX);
    return slab ? take_memory(arena, slab) : NULL;
}

/* For metadata, as it lies between two guards, if it does. */
static bool use_slab_as_chunk(slab_arena_t *arena) {
    slab_t *slab = empty_slab(arena, 1);
    if (!slab)
        return false;
    map_of(slab)->has_metadata = true;
    set_slab(slab->memory, NULL);
    arena->pool = (slab_pool_t){take_memory(arena, slab), SLAB_BYTES};
    return true;
}

static slab_t *new_metadata(slab_arena_t *arena, unsigned size_class) {
    slab_t *slab = arena->spare[size_class];
    if (slab) {
        arena->spare[size_class] = slab->next;
        return slab;
    }
    uint32_t slot_bytes = (uint32_t)size_class_bytes(size_class);
    uint32_t n_slots = SLAB_BYTES / slot_bytes;
    slab = pool_take(arena, sizeof *slab + 2 * n_slots * sizeof *slab->slots);
    if (!slab)
        return NULL;
    slab->ready = slab->slots + n_slots;
    slab->slot_bytes = slot_bytes;
    slab->reciprocal = UINT32_MAX / slot_bytes + 1;
    slab->n_slots = (uint16_t)n_slots;
    slab->size_class = (uint8_t)size_class;
    slab->arena = (uint8_t)(arena - arenas);
    slab->other = arena->slabs;
    arena->slabs = slab;
    return slab;
}

slab_t *arena_new_slab(slab_arena_t *arena, unsigned size_class) {
    slab_t *slab = new_metadata(arena, size_class);
    if (!slab)
        return NULL;
    slab->memory = next_slab_memory(arena);
    if (slab->memory)
        arena->source.next_tile++;
    else
        slab->memory = reused_slab_memory(arena);
    if (!slab->memory) {
        slab->next = arena->spare[size_class];
        arena->spare[size_class] = slab;
        return NULL;
    }
    set_slab(slab->memory, slab);
    return slab;
}

/* ---- Regions back ---- */

static bool has_use(const struct slab_region *map) {
    for (unsigned tile = 0; tile < N_REGION_TILES; tile++) {
        const slab_t *slab = map->slab[tile];
        if (slab && slab->n_open > 0)
            return true;
    }
    return map->has_metadata;
}

static void set_region(struct slab_region *map, bool is_there) {
    atomic_store_explicit(&region_maps[(uintptr_t)map->memory >> REGION_LOG2_BYTES],
                          is_there ? map : NULL, memory_order_release);
    owner_set(map->memory, REGION_BYTES, is_there ? OWNER_SLAB : OWNER_NONE);
}

/* The slabs' descriptors are spare from now on, as is the region's. */
static void forget_slabs(slab_arena_t *arena, struct slab_region *map) {
    for (unsigned tile = 0; tile < N_REGION_TILES; tile++) {
        slab_t *slab = map->slab[tile];
        if (!slab)
            continue;
        if (slab->is_closed)
            atomic_fetch_sub_explicit(&n_closed, 1, memory_order_relaxed);
        take_memory(arena, slab);
        atomic_store_explicit(&map->slab[tile], NULL, memory_order_relaxed);
    }
    map->next = arena->spare_regions;
    arena->spare_regions = map;
}

/* As soon as the address range is given up it may be somebody else's, who says so in the tables. */
static bool give_up_region(slab_arena_t *arena, struct slab_region *map) {
    set_region(map, false);
    if (!vm_release(map->memory, map->n_bytes)) {
        set_region(map, true);
        return false;
    }
    if (arena->source.map == map)
        arena->source = (slab_source_t){0};
    atomic_fetch_sub_explicit(&n_regions, 1, memory_order_relaxed);
    return true;
}

void arena_give_up_regions(slab_arena_t *arena) {
    struct slab_region **link = &arena->regions;
    for (struct slab_region *map; (map = *link);) {
        struct slab_region *next = map->next;
        if (has_use(map) || !give_up_region(arena, map)) {
            link = &map->next;
            continue;
        }
        *link = next;
        forget_slabs(arena, map);
    }
}

/* ---- Fork ---- */

void slab_fork_prepare(void) {
    for (unsigned i = 0; i < N_SLAB_ARENAS; i++)
        lock_acquire(&arenas[i].lock);
}

void slab_fork_parent(void) {
    for (unsigned i = N_SLAB_ARENAS; i-- > 0;)
        lock_release(&arenas[i].lock);
}

/* The child shall not place its objects as its parent does. */
void slab_fork_child(void) {
    for (unsigned i = 0; i < N_SLAB_ARENAS; i++) {
        lock_reset(&arenas[i].lock);
        arenas[i].random.n_left = 0;
    }
}
