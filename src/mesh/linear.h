/* linear.h: whether what clients saw of keys could be seen if there were one copy of each, and
 * every operation happened at one moment between its call and its answer (linearizable).
 *
 * Keys are looked at one by one, as each behaves by itself (Herlihy, Wing 1990). Of a key an order
 * is searched that fits, by trying as first any operation that began before any of the rest had
 * ended (Wing, Gong 1993), and never the same set with the same state twice (Lowe 2017). Sets are
 * remembered by 128 bits of a hash: two that are taken for one have a chance of 2^-80 at 2^24 sets.
 *
 * What nobody knows the outcome of may have happened at any time after its call, or not at all.
 * Threads: any, each its own history. Sources: as above; Lowe, Testing for linearizability.
 */
#ifndef SLV_MESH_LINEAR_H
#define SLV_MESH_LINEAR_H

#include "base/buf.h"

#define SLV_LINEAR_OPS_MAX 65536u /* of a history */

/* What it does to the key's value, a number, 0: none; as a lock: the token of its holder. */
enum slv_linear_f {
    SLV_LINEAR_READ,    /* result: the value */
    SLV_LINEAR_WRITE,   /* value */
    SLV_LINEAR_CAS,     /* expect -> value; refused: it was another */
    SLV_LINEAR_ACQUIRE, /* none -> value; refused: there was one */
    SLV_LINEAR_RELEASE, /* value -> none; refused: it was another */
};

enum slv_linear_outcome {
    SLV_LINEAR_OK,
    SLV_LINEAR_REFUSED, /* it was decided, against it */
    SLV_LINEAR_FAILED,  /* it did not happen */
    SLV_LINEAR_UNKNOWN
};

struct slv_linear_op {
    uint64_t process, key;
    enum slv_linear_f f;
    enum slv_linear_outcome outcome;
    uint64_t value, expect, result;
    uint64_t begin, end; /* any clock, the same for all; end of those unknown is not looked at */
};

enum slv_linear_verdict { SLV_LINEAR_YES, SLV_LINEAR_NO, SLV_LINEAR_UNDECIDED };

struct slv_linear_result {
    enum slv_linear_verdict verdict;
    uint64_t key; /* of NO and UNDECIDED */
    size_t at;    /* of NO: an operation that none of the orders tried could place */
    uint64_t steps;
};

/* At most `steps_max` tries a key, then UNDECIDED (0: 2^20). SLV_E_LIMIT: too many operations;
 * SLV_E_USAGE: one ends before it begins; SLV_E_NOMEM. */
int slv_linear_check(const struct slv_linear_op *op, size_t n, uint64_t steps_max,
                     struct slv_linear_result *ret) SLV_MUST_USE;

/* The history as JSON Lines in the order of time: {"process", "type": invoke, ok, fail or info,
 * "f": read, write, cas, acquire or release, "key", "value", "time", "index"}; of cas the value is
 * a pair, of what did not happen or was refused the type is fail. b's status, or SLV_E_NOMEM. */
int slv_linear_write(const struct slv_linear_op *op, size_t n, struct slv_buf *b) SLV_MUST_USE;

#endif
