/* SPDX-License-Identifier: MIT */
#include "group_limit.h"

#include <stdatomic.h>
#include <string.h>

#include "heap_elements.h"
#include "heaps.h"
#include "large.h"
#include "limits.h"
#include "text.h"
#include "vm.h"

/* Where systems mount the two versions of control groups. */
static const struct {
    char root[24], file[24];
} hierarchies[] = {{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
                   {"/sys/fs/cgroup", "memory.max"}};

/* The rest of the group's memory is for all that is not ours. */
#define PARTS      15u
#define WHOLE      16u

/* More is what version 1 says where there is none. */
#define MOST_BYTES ((uint64_t)1 << 60)

/* ---- /proc/self/cgroup: lines of number:controller,controller:path ---- */

typedef struct {
    const char *text;
    size_t n_bytes;
} part_t;

/* Up to the mark, or the end of the line. */
static part_t part_until(const char *text, const char *marks) {
    return (part_t){text, text_bytes_until(text, marks)};
}

static bool is_memory(part_t controllers) {
    static const char name[] = "memory";
    const size_t n = sizeof name - 1;
    for (const char *at = controllers.text; at + n <= controllers.text + controllers.n_bytes; at++)
        if ((at == controllers.text || at[-1] == ',') && text_begins(at, name) &&
            (at[n] == ',' || at[n] == ':'))
            return true;
    return false;
}

static bool set_group(group_t *group, unsigned version, part_t path) {
    const char *root = hierarchies[version - 1].root;
    size_t n_root = text_bytes(root), n_path = path.n_bytes;
    while (n_path && path.text[n_path - 1] == '/')
        n_path--;
    /* Behind it are the name of the file and two more bytes. */
    if (n_root + n_path + sizeof hierarchies[0].file + 2 > sizeof group->folder)
        return false;
    group->file = hierarchies[version - 1].file;
    group->n_root_bytes = n_root;
    group->n_bytes = n_root + n_path;
    memcpy(group->folder, root, n_root);
    memcpy(group->folder + n_root, path.text, n_path);
    group->folder[group->n_bytes] = '\0';
    return true;
}

/* Where version 1 has the memory, version 2 has none of it. */
bool group_find(const char *text, group_t *group) {
    bool is_found = false;
    while (*text) {
        part_t number = part_until(text, ":\n");
        const char *next = number.text + number.n_bytes;
        if (*next == ':') {
            part_t controllers = part_until(next + 1, ":\n");
            next = controllers.text + controllers.n_bytes;
            part_t path = part_until(*next == ':' ? next + 1 : next, "\n");
            next = path.text + path.n_bytes;
            if (is_memory(controllers))
                return set_group(group, 1, path);
            if (controllers.n_bytes == 0 && number.n_bytes == 1 && *number.text == '0')
                is_found = set_group(group, 2, path);
        }
        text = next + (*next == '\n');
    }
    return is_found;
}

bool group_go_up(group_t *group) {
    if (group->n_bytes <= group->n_root_bytes)
        return false;
    while (group->n_bytes > group->n_root_bytes && group->folder[group->n_bytes - 1] != '/')
        group->n_bytes--;
    while (group->n_bytes > group->n_root_bytes && group->folder[group->n_bytes - 1] == '/')
        group->n_bytes--;
    group->folder[group->n_bytes] = '\0';
    return true;
}

uint64_t group_limit_number(const char *text) {
    uint64_t number = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (number > MOST_BYTES)
            return 0;
        number = number * 10 + (uint64_t)(*text - '0');
    }
    return number <= MOST_BYTES && (*text == '\n' || !*text) ? number : 0;
}

/* ---- The process's own ---- */

static uint64_t limit_of(group_t *group) {
    char text[32];
    group->folder[group->n_bytes] = '/';
    memcpy(group->folder + group->n_bytes + 1, group->file, text_bytes(group->file) + 1);
    uint64_t limit = vm_read_file(group->folder, text, sizeof text) ? group_limit_number(text) : 0;
    group->folder[group->n_bytes] = '\0';
    return limit;
}

uint64_t group_limit_read(void) {
    /* Not on a stack, which may be small.  One thread comes here (group_limit_look). */
    static char text[4096];
    static group_t group;
    if (!vm_read_file("/proc/self/cgroup", text, sizeof text) || !group_find(text, &group))
        return 0;
    uint64_t least = 0;
    do {
        uint64_t limit = limit_of(&group);
        if (limit && (!least || limit < least))
            least = limit;
    } while (group_go_up(&group));
    return least;
}

static void account_heap(void *unused, thread_heap_t *heap) {
    (void)unused;
    for (uint32_t i = 0; i < heap->n_mheaps; i++)
        heap_note_resident(heap, &heap->mheaps[i]);
}

void group_limit_look(void) {
    static atomic_flag has_looked = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set_explicit(&has_looked, memory_order_relaxed))
        return;
    uint64_t limit = group_limit_read();
    limits_set_group(limit / WHOLE * PARTS);
    if (!limit)
        return;
    heap_foreach(account_heap, NULL);
    large_account();
}
