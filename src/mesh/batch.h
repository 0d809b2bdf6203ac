/* batch.h: ops of one writer that follow on each other, signed once by its node: what goes over the
 * wire, into logs, and on to others.
 *
 *     head: version (1), space (8), node (8), store, first number, numbers less one, stamp (8),
 *           what it depends on (dots.h), length of the ops, their hash (32)
 *     signature (64) of the head
 *     ops (op.h), whose dots follow on from the first number
 *
 * The node is the one whose key signed; `store` is a number that its store drew when it began, and
 * both make the writer: who lost what it wrote begins another. The signature is of the head alone,
 * which with it proves how far a writer has come without its ops.
 *
 * What it depends on are writes of others, and of older stores of its own, that were seen between
 * the writer's batch before and this one; with that batch itself, and what that depends on, these
 * are all it may have been written in view of. Eventual spaces leave it empty.
 *
 * A stamp (hlc.h) is not before those of the ops.
 *
 * A batch that is read borrows from its bytes, but for `deps`. Threads: any, each its own.
 * Signatures: RFC 8032 by way of the caller's functions. Hashes: BLAKE2b (RFC 7693).
 */
#ifndef SLV_MESH_BATCH_H
#define SLV_MESH_BATCH_H

#include "mesh/op.h"

#define SLV_BATCH_VERSION 1u
#define SLV_BATCH_SIG 64u
#define SLV_BATCH_HASH 32u
#define SLV_BATCH_MAX ((size_t)960 << 10) /* bytes of one, head and all */
#define SLV_BATCH_OPS_MAX ((size_t)800 << 10)
#define SLV_BATCH_DOTS_MAX ((uint64_t)1 << 20)
#define SLV_BATCH_DEPS_MAX 1024u /* ranges */

/* How this node signs, and whose signature it believes. */
struct slv_mesh_trust {
    /* SLV_E_*: the key cannot be used. */
    int (*sign)(void *ctx, struct slv_str bytes, uint8_t ret[SLV_BATCH_SIG]);
    /* False: that node is not known, or did not sign this. */
    bool (*check)(void *ctx, uint64_t node, struct slv_str bytes, const uint8_t sig[SLV_BATCH_SIG]);
    void *ctx;
};

/* The writer of a node's store. */
uint64_t slv_mesh_writer(uint64_t node, uint32_t store);

struct slv_batch_head {
    uint64_t space, node, writer, stamp;
    uint32_t store;
    struct slv_dot_range dots;
    struct slv_dots deps;
    size_t n_ops; /* bytes */
    uint8_t hash[SLV_BATCH_HASH];
    struct slv_str bytes; /* the head with its signature */
};

struct slv_batch {
    struct slv_batch_head head;
    struct slv_str ops;
    struct slv_str bytes; /* all of it */
};

/* A head with its signature, in its form: not whether its signature is right. *ret is {0} before
 * and after a failure. SLV_E_FORMAT, SLV_E_NOMEM. */
int slv_batch_head_read(struct slv_reader *r, struct slv_batch_head *ret) SLV_MUST_USE;
void slv_batch_head_fini(struct slv_batch_head *h);

/* Whether the node that it names signed it. */
bool slv_batch_head_check(const struct slv_batch_head *h, const struct slv_mesh_trust *t);

/* A batch whose ops are those that its head names; their own form is seen when they are read. As
 * slv_batch_head_read. */
int slv_batch_read(struct slv_reader *r, struct slv_batch *ret) SLV_MUST_USE;
void slv_batch_fini(struct slv_batch *b);

/* Its ops one after the other: 0 and *ret_op, which the caller ends; 1: there are no more, and the
 * numbers were used up; SLV_E_FORMAT, SLV_E_NOMEM. */
struct slv_batch_walk {
    struct slv_reader r;
    uint64_t writer, next, last;
};
struct slv_batch_walk slv_batch_walk_of(const struct slv_batch *b);
int slv_batch_next(struct slv_batch_walk *w, struct slv_op *ret_op) SLV_MUST_USE;

/* Writes a batch of ops that are bytes already. h's hash, n_ops, writer and bytes are not looked
 * at. SLV_E_LIMIT, SLV_E_NOMEM, or what signing fails with; b is as it was then. */
int slv_batch_write(const struct slv_batch_head *h, struct slv_str ops,
                    const struct slv_mesh_trust *t, struct slv_buf *b) SLV_MUST_USE;

#endif
