/* seq.h: lists and texts that several write at once.
 *
 * An element is a character of a text or an item of a list. Those that are put in together are a
 * run: one entry. Elements are the nodes of a tree, whose walk (what hangs on the left, the node,
 * what hangs on the right, siblings by their names) is the order: Fugue (Weidner, Kleppmann, The
 * Art of the Fugue, 2023). What two writers put at one place at the same time stays apart, whether
 * they wrote forwards or backwards.
 *
 *     path "r":             a run. side (0 left, 1 right), parent: writer (8), number, which
 * element
 *                           of it; then its elements: UTF-8, or each behind its length
 *     path "d" and a dot:   which elements of that run are gone: numbers left out and gone, in turn
 *
 * An element of a run hangs on the right of the one before it; the first on its parent: that which
 * it was put behind, where that has nothing on its right yet, else on the left of that which
 * follows. Elements that are gone keep their places, as others may hang on them. A run whose parent
 * is not here hangs on the right of the beginning, so that nothing is lost.
 *
 * A sequence is what a space had of a key when it was opened. Threads: one.
 */
#ifndef SLV_MESH_SEQ_H
#define SLV_MESH_SEQ_H

#include "mesh/types.h"

#define SLV_SEQ_MAX ((size_t)1 << 24) /* elements, with those that are gone */

/* Elements [from, to) of a run, in order; all gone or none. */
struct slv_seq_piece {
    const struct slv_entry *run;
    uint32_t from, to;
    bool gone;
};

struct slv_seq {
    bool is_text;
    struct slv_seq_piece *piece; /* heap, in the order of the sequence */
    size_t n, room;
    size_t count;              /* elements that are not gone */
    struct slv_seq_tree *tree; /* of which it is the walk */
};

/* The sequence whose paths begin with `prefix` (none: the key's value is one), which is borrowed.
 * SLV_E_NOMEM, SLV_E_LIMIT. The space must not change while it is open. */
int slv_seq_open(const struct slv_space *s, struct slv_str key, struct slv_str prefix, bool is_text,
                 struct slv_seq *ret) SLV_MUST_USE;
void slv_seq_close(struct slv_seq *q);

/* Element i, borrowed from the space; of a text its bytes. i < count. */
struct slv_str slv_seq_at(const struct slv_seq *q, size_t i);

/* The name of element i, which never changes: its run, and the how-manieth of it. */
struct slv_dot slv_seq_name(const struct slv_seq *q, size_t i, uint32_t *ret);

/* The whole text. The buffer's status says whether it fitted. */
void slv_seq_text(const struct slv_seq *q, struct slv_buf *ret);

/* Puts elements before element `at` (0 to count): of a text the characters of `text` (well-formed
 * UTF-8, else SLV_E_FORMAT), of a list n items. The draft is of the sequence's key and space.
 * SLV_E_USAGE: there is no such place; SLV_E_NOMEM, SLV_E_LIMIT. */
int slv_seq_insert_text(const struct slv_seq *q, struct slv_draft *d, size_t at,
                        struct slv_str text) SLV_MUST_USE;
int slv_seq_insert(const struct slv_seq *q, struct slv_draft *d, size_t at,
                   const struct slv_str *item, size_t n) SLV_MUST_USE;

/* Elements [at, at + n) go. */
int slv_seq_erase(const struct slv_seq *q, struct slv_draft *d, size_t at, size_t n) SLV_MUST_USE;

#endif
