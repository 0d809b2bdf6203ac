/* host.h: a node of the mesh on a machine: node.h on sockets (transport.h), a disk (records.h), and
 * a unix socket for programs of this machine (service.h), all on one loop.
 *
 *     transport --datagrams--> node --records--> store (a thread of its own)
 *                               ^                  |
 *     programs --> service -----+ <---- synced ----+
 *
 * Who is let in is a list of keys, the node's own, its peers' and the members', and whoever an
 * authority names (roster.h), less those whom it has revoked. A node's number is
 * the first eight bytes of its key's hash; what it says of itself to others is its key and its
 * addresses.
 *
 * Where members must show what they run (node_attest.c), evidence comes from this machine's TPM by
 * way of quoter.h.
 *
 * A node that nobody lets in says so in its log (outside.h).
 *
 * A store that fails ends the node, not the program: it is opened again every few seconds, and what
 * was written and not synced is refused until then.
 *
 * Threads: slv_host_run's; slv_host_stop from any, or a signal handler.
 */
#ifndef SLV_MESH_HOST_H
#define SLV_MESH_HOST_H

#include "base/err.h"
#include "mesh/node.h"

#include <stdio.h>

#define SLV_HOST_KEYS_MAX 1024u
#define SLV_HOST_PEERS_MAX 64u
#define SLV_HOST_KEY_BYTES 32u

struct slv_attest_self;
struct slv_invite;
struct slv_key;

struct slv_host_peer {
    uint8_t key[SLV_HOST_KEY_BYTES];
    const char *address; /* "10.0.0.2:7420", or with a name, looked up while it runs (names.h) */
};

/* Borrowed for as long as the host runs. */
struct slv_host_conf {
    const char *mesh;   /* its name; nodes of another mesh are strangers */
    const char *store;  /* path of its records */
    const char *socket; /* path of its unix socket */
    const struct slv_key *key;
    const char *const *listen;
    size_t n_listen;
    const char *const *advertise; /* addresses that others are told; none: those that it has */
    size_t n_advertise;
    const struct slv_host_peer *peer;
    size_t n_peer;
    const uint8_t (*member)[SLV_HOST_KEY_BYTES]; /* keys that are let in beside the peers' */
    size_t n_member;
    const struct slv_space_conf *space;
    size_t n_space;
    const struct slv_str *strong; /* names of spaces that are agreed on */
    size_t n_strong;
    /* Who is a member is what this key's owner says (roster.h), beside the keys above; NULL: those
     * alone. */
    const uint8_t *authority;
    const struct slv_invite *invitation; /* by which this node joins; NULL: none */
    uint32_t voters;                     /* of them; see slv_node_conf */
    bool attest;           /* show evidence of this machine, by its TPM, to those who want it */
    struct slv_str policy; /* the bytes that are measured with the program */
    uint32_t attest_ms;    /* see slv_node_conf */
    bool discover;         /* look for others in the local network */
    uint64_t relay_rate;
    uint64_t rate;      /* bytes a second sent to a peer, all counted; 0: any */
    uint64_t peer_rate; /* bytes a second of messages taken from one; 0: any */
    /* It is up, and where it listens: called once. May be NULL. */
    void (*ready)(void *ctx, const char *const *addresses, size_t n);
    void *ctx;
};

struct slv_host;

/* The number of a node with this key. */
uint64_t slv_host_id(const uint8_t key[SLV_HOST_KEY_BYTES]);

/* SLV_E_USAGE, SLV_E_IO, SLV_E_BUSY (its store is open elsewhere), SLV_E_FORMAT, SLV_E_NOMEM, with
 * a line that says what. With conf.attest also as slv_attest_open. */
int slv_host_open(const struct slv_host_conf *conf, struct slv_host **ret,
                  struct slv_err *err) SLV_MUST_USE;
/* What was measured, and the attestation key; NULL: without conf.attest. The host's. */
const struct slv_attest_self *slv_host_self(const struct slv_host *h);
/* Until slv_host_stop. Members are told that it leaves. */
int slv_host_run(struct slv_host *h, struct slv_err *err) SLV_MUST_USE;
void slv_host_stop(struct slv_host *h);
void slv_host_close(struct slv_host *h);

#endif
