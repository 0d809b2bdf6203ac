/* op.c: see op.h. */
#include "mesh/op.h"
#include "base/mem.h"

void slv_op_fini(struct slv_op *op) {
    slv_dots_fini(&op->removes);
    slv_mem_free(op->entry);
    *op = (struct slv_op){0};
}

int slv_op_add(struct slv_op *op, struct slv_str path, struct slv_str data) {
    if (op->n == SLV_OP_ENTRIES_MAX || path.n > SLV_PATH_MAX || data.n > SLV_DATA_MAX)
        return SLV_E_LIMIT;
    if (!(op->n & (op->n - 1))) { /* 0 or a power of two: the room is used up */
        void *p = slv_mem_realloc(op->entry, (op->n ? 2 * op->n : 1) * sizeof *op->entry);
        if (!p) return SLV_E_NOMEM;
        op->entry = p;
    }
    op->entry[op->n++] = (struct slv_op_entry){path, data};
    return 0;
}

void slv_op_write(const struct slv_op *op, struct slv_buf *b) {
    slv_write_bytes(b, op->key.p, op->key.n);
    slv_dots_write(&op->removes, b);
    slv_write_number(b, op->n);
    for (uint32_t i = 0; i < op->n; i++) {
        slv_write_bytes(b, op->entry[i].path.p, op->entry[i].path.n);
        slv_write_bytes(b, op->entry[i].data.p, op->entry[i].data.n);
    }
}

static int read_entries(struct slv_reader *r, struct slv_op *op) {
    const uint64_t n = slv_read_number(r, SLV_OP_ENTRIES_MAX);
    if (r->bad || op->dot.n + n > SLV_DOT_MAX) return SLV_E_FORMAT;
    for (uint64_t i = 0; i < n; i++) {
        const struct slv_str path = slv_read_bytes(r, SLV_PATH_MAX);
        const struct slv_str data = slv_read_bytes(r, SLV_DATA_MAX);
        if (r->bad) return SLV_E_FORMAT;
        const int rc = slv_op_add(op, path, data);
        if (rc) return rc;
    }
    return 0;
}

int slv_op_read(struct slv_reader *r, struct slv_dot dot, struct slv_op *ret) {
    struct slv_op op = {.dot = dot};
    op.key = slv_read_bytes(r, SLV_KEY_MAX);
    int rc = r->bad || !dot.n || dot.n > SLV_DOT_MAX ? SLV_E_FORMAT : slv_dots_read(r, &op.removes);
    if (!rc && slv_dots_count(&op.removes) > SLV_OP_REMOVES_MAX) rc = SLV_E_FORMAT;
    if (!rc) rc = read_entries(r, &op);
    if (rc) slv_op_fini(&op);
    else *ret = op;
    return rc;
}
