/* strong_state.h: what the log of a group makes: keys, leases, clients. A function of the log and
 * of nothing else, so that it is the same at all nodes.
 *
 *     snapshot: version, index, longest lease of a leader (ms),
 *               clients, ascending: id (8), number, index, status, version
 *               leases, ascending: id, ttl, index of the last renewal
 *               keys, ascending: space (8), key, kind, version, lease, value
 *
 * Equal states have equal bytes, and no other bytes are read.
 *
 * Invariants: a key's lease is there. A lock's key has a lease whose id is its version, its token.
 * Threads: one.
 */
#ifndef SLV_MESH_STRONG_STATE_H
#define SLV_MESH_STRONG_STATE_H

#include "mesh/strong.h"
#include "mesh/wire.h"

#define STRONG_KEYS_MAX ((size_t)1 << 20)
#define STRONG_NUMBER_MAX (((uint64_t)1 << 62) - 1) /* an index, a term */
#define STRONG_TTL_MAX ((uint64_t)1 << 31)
#define STRONG_SNAPSHOT_MAX (SLV_STRONG_STATE_MAX + ((size_t)8 << 20))

/* Commands of leaders, beside enum slv_strong_op. */
enum { STRONG_NOP = 12, STRONG_LEAD, STRONG_EXPIRE, STRONG_OPS };

enum strong_kind { STRONG_VALUE, STRONG_LOCKED, STRONG_EPOCH };

struct strong_key {
    uint64_t space, version, lease;
    enum strong_kind kind;
    struct slv_str key, value; /* of this block */
    char bytes[];
};

struct strong_lease {
    uint64_t id, ttl_ms, renewed;
    uint64_t since; /* when this node applied that; not part of the state */
};

struct strong_client {
    uint64_t id, seq, index, version;
    enum slv_strong_status status;
};

struct strong_state {
    struct strong_key **key; /* ascending by space and key */
    size_t n_key, room_key;
    struct strong_lease *lease; /* ascending */
    size_t n_lease, room_lease;
    struct strong_client *client; /* ascending */
    size_t n_client, room_client;
    size_t bytes;
    uint64_t index, lead_ms;
    /* A key was written, or is about to go. May be NULL. */
    void (*changed)(void *ctx, const struct strong_key *k, uint64_t index, bool gone);
    void *ctx;
};

void strong_state_fini(struct strong_state *st);

/* A command and its bytes: op, client, number, then what its op has. Those of leaders have neither
 * client nor number. */
void strong_command_write(const struct slv_strong_command *c, struct slv_buf *b);
/* All of r. False: it is none. */
bool strong_command_read(struct slv_reader *r, struct slv_strong_command *ret) SLV_MUST_USE;
/* What a client may ask. */
bool strong_command_ok(const struct slv_strong_command *c);

/* Applies the entry at the index behind the last one; ret->value is empty. SLV_E_NOMEM: nothing
 * has changed. */
int strong_state_apply(struct strong_state *st, uint64_t index, uint64_t now,
                       const struct slv_strong_command *c,
                       struct slv_strong_result *ret) SLV_MUST_USE;

const struct strong_key *strong_state_get(const struct strong_state *st, uint64_t space,
                                          struct slv_str key);

/* The first key of a space behind `key`, or NULL; how many keys a space has. */
const struct strong_key *strong_state_behind(const struct strong_state *st, uint64_t space,
                                             struct slv_str key);
size_t strong_state_count(const struct strong_state *st, uint64_t space);

void strong_state_write(const struct strong_state *st, struct slv_buf *b);
/* *ret is {0} before and after a failure. SLV_E_FORMAT, SLV_E_NOMEM. */
int strong_state_read(struct slv_str bytes, struct strong_state *ret) SLV_MUST_USE;

#endif
