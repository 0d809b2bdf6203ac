/* replicas.h: some spaces of the mesh that write and are given each other's writes, for tests.
 *
 * Everything fails the test that calls it by cmocka's own means. */
#ifndef SLV_TESTS_REPLICAS_H
#define SLV_TESTS_REPLICAS_H

#include "mesh/space.h"

#define REPLICAS 4
#define WRITES_MAX 160

uint32_t rnd(uint32_t n); /* below n; always the same numbers */

struct slv_str text(const char *s);

struct replica {
    struct slv_space space;
    uint64_t id, next; /* its writer, and the next dot of that */
};
extern struct replica replica[REPLICAS];

/* All writes there were, as bytes. */
extern struct slv_buf history[WRITES_MAX];
extern size_t n_history;

void replicas_open(void);
void replicas_close(void);

/* A write behind its dot. slv_op_read's errors. */
void write_op(const struct slv_op *op, struct slv_buf *b);
int read_op(struct slv_reader *r, struct slv_op *ret);

/* Write k, by way of its bytes. */
struct slv_op replicas_op(size_t k);
void replica_give(struct replica *to, size_t k);

/* A write of its own: it goes into the history, and to itself. */
void replica_write(struct replica *from, const struct slv_op *op);

#endif
