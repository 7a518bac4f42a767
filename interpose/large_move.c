/* SPDX-License-Identifier: MIT */
/* large_move.c - an object's contents to a new place, without copying where the kernel can move
 * pages. */
#include "large_internal.h"

#include <string.h>

#include "vm.h"

#define MOVE_MIN_BYTES ((size_t)128 << 10) /* a smaller part is copied in less time than moved */

typedef struct {
    const extent_t *from, *to;
    bool may_move, any_is_moved, all_is_moved;
    large_pieces_t *pieces;
} move_t;

static void move_part(move_t *move, size_t begin, size_t end) {
    char *from = move->from->memory + begin, *to = move->to->memory + begin;
    if (move->may_move && end - begin >= MOVE_MIN_BYTES && vm_move(from, to, end - begin)) {
        move->any_is_moved = true;
    } else {
        memcpy(to, from, end - begin);
        move->all_is_moved = false;
    }
    move->pieces->end[move->pieces->n++] = end;
}

bool large_move(const extent_t *from, const extent_t *to, bool may_move, large_pieces_t *pieces) {
    // cppcheck-suppress ctuuninitvar ; *pieces is set here, not read
    move_t move = {from, to, may_move, false, true, pieces};
    unsigned i = 0;
    size_t begin = 0;
    pieces->n = 0;
    if (from->pieces.n == EXTENT_MAX_PIECES) { /* the first two, always the smallest, become one */
        begin = from->pieces.end[1];
        memcpy(to->memory, from->memory, begin);
        move.all_is_moved = false;
        pieces->end[pieces->n++] = begin;
        i = 2;
    }
    for (; i < from->pieces.n; begin = from->pieces.end[i++])
        move_part(&move, begin, from->pieces.end[i]);
    if (begin < from->bytes)
        move_part(&move, begin, from->bytes);
    if (!move.any_is_moved)
        pieces->n = 0;
    return move.all_is_moved;
}
