/* op.h: one write.
 *
 * An op has a dot of its own; its entries have the dots behind it, in their order. What it removes
 * are dots that its writer saw. In bytes, where the dot is told by what it lies in (batch.h):
 *
 *     key, removed dots (dots.h), number of entries, each: path, data
 *
 * An op that is read borrows from the bytes it was read from, but for its removed dots.
 * Threads: any, each its own.
 */
#ifndef SLV_MESH_OP_H
#define SLV_MESH_OP_H

#include "mesh/entries.h"

#define SLV_OP_ENTRIES_MAX 1024u
#define SLV_OP_REMOVES_MAX 65536u /* dots */
#define SLV_OP_BYTES_MAX ((size_t)768 << 10)

struct slv_op_entry {
    struct slv_str path, data;
};

struct slv_op {
    struct slv_dot dot;
    struct slv_str key;
    struct slv_dots removes;
    struct slv_op_entry *entry; /* [n], heap */
    uint32_t n;
};

/* The dot of entry i. */
static inline struct slv_dot slv_op_entry_dot(const struct slv_op *op, uint32_t i) {
    return (struct slv_dot){op->dot.writer, op->dot.n + 1 + i};
}

/* All dots that it brings. */
static inline struct slv_dot_range slv_op_range(const struct slv_op *op) {
    return (struct slv_dot_range){op->dot.n, op->dot.n + op->n};
}

void slv_op_fini(struct slv_op *op);

/* One entry more. SLV_E_LIMIT, SLV_E_NOMEM. */
int slv_op_add(struct slv_op *op, struct slv_str path, struct slv_str data) SLV_MUST_USE;

void slv_op_write(const struct slv_op *op, struct slv_buf *b);

/* The op with this dot. *ret is {0} before and after a failure. SLV_E_FORMAT, SLV_E_NOMEM. */
int slv_op_read(struct slv_reader *r, struct slv_dot dot, struct slv_op *ret) SLV_MUST_USE;

#endif
