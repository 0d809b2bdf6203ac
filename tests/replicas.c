/* replicas.c: see replicas.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replicas.h"

struct replica replica[REPLICAS];
struct slv_buf history[WRITES_MAX];
size_t n_history;

uint32_t rnd(uint32_t n) {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % n);
}

struct slv_str text(const char *s) {
    return (struct slv_str){s, strlen(s)};
}

void replicas_open(void) {
    n_history = 0;
    for (size_t i = 0; i < REPLICAS; i++) { /* ids near each other and far apart */
        replica[i] = (struct replica){.id = 0xffffffffffff0000u * (i % 2) + 10 + i, .next = 1};
        assert_int_equal(slv_space_init(&replica[i].space), 0);
    }
}

void replicas_close(void) {
    for (size_t i = 0; i < REPLICAS; i++)
        slv_space_fini(&replica[i].space);
    while (n_history)
        slv_buf_fini(&history[--n_history]);
}

void write_op(const struct slv_op *op, struct slv_buf *b) {
    slv_write_id(b, op->dot.writer);
    slv_write_number(b, op->dot.n);
    slv_op_write(op, b);
}

int read_op(struct slv_reader *r, struct slv_op *ret) {
    const uint64_t writer = slv_read_id(r), n = slv_read_number(r, SLV_DOT_MAX);
    return slv_op_read(r, (struct slv_dot){writer, n}, ret);
}

struct slv_op replicas_op(size_t k) {
    struct slv_op op = {0};
    struct slv_reader r = slv_reader_of(history[k].data, history[k].len);
    assert_int_equal(read_op(&r, &op), 0);
    assert_true(slv_reader_done(&r));
    return op;
}

void replica_give(struct replica *to, size_t k) {
    struct slv_op op = replicas_op(k);
    assert_int_equal(slv_space_apply(&to->space, &op, NULL), 0);
    slv_op_fini(&op);
}

void replica_write(struct replica *from, const struct slv_op *op) {
    assert_true(n_history < WRITES_MAX);
    slv_buf_init(&history[n_history], SLV_OP_BYTES_MAX + 32);
    write_op(op, &history[n_history]);
    from->next = slv_op_range(op).last + 1;
    replica_give(from, n_history++);
}
