/* swim_net.h: a network of members in one process, in virtual time, from a seed: datagrams are
 * delayed, lost, cut off; members crash, come back, or get the processor in bursts only.
 *
 * Node i has the id net_id(i). A record of incarnation n is any bytes, signed by a hash that a test
 * can make for any node. Times are ns from NET_BEGIN on. */
#ifndef SLV_TESTS_SWIM_NET_H
#define SLV_TESTS_SWIM_NET_H

#include "mesh/swim.h"

#define NET_MS ((uint64_t)1000000)
#define NET_S (1000 * NET_MS)
#define NET_BEGIN NET_S
#define NET_OVERHEAD 65u /* bytes of a datagram beside ours: IP, UDP, DTLS */

struct net;

struct net_node {
    struct net *net;
    struct slv_swim *swim; /* NULL: it is down */
    struct slv_swim_conf conf;
    size_t i;
    uint64_t random, next, incarnation;
    unsigned group;  /* only nodes of one group reach each other */
    bool mute, deaf; /* nothing goes out; nothing comes in */
    bool starved;    /* runs for a moment, then not for up to net.starve_ms */
    uint64_t awake_at;
    struct net_datagram *inbox, **inbox_end;
    size_t n_inbox;
    uint64_t far_us;  /* added to its datagrams, to and from it */
    uint64_t wait_us; /* its datagrams wait so long before they go */
    unsigned isolations;
    uint64_t received;
};

struct net_datagram {
    struct net_datagram *next;
    size_t from, n;
    char bytes[];
};

struct net_event {
    uint64_t at, order;
    size_t node;
    struct net_datagram *datagram; /* NULL: a tick */
};

struct net {
    struct net_node *node;
    size_t n;
    uint64_t now, random, order, hash; /* hash: of all that was sent and changed */
    uint64_t delay_us, jitter_us, starve_ms;
    unsigned loss_pct;
    size_t cut[2]; /* these two nodes cannot reach each other; the same: all can */
    struct net_event *heap;
    size_t n_heap, room;
    /* Called for each change that a member sees; may be NULL. */
    void (*on_change)(struct net *net, const struct net_node *at, size_t of,
                      enum slv_swim_state state);
    /* Of members that were up: found dead, by whom: all, and healthy ones by healthy ones. */
    uint64_t wrong, wrong_healthy, wrong_of_healthy;
};

uint64_t net_id(size_t i);
size_t net_index(uint64_t id);
uint64_t net_random(uint64_t *state);
void net_sign(const struct slv_swim_record *r, uint8_t ret[SLV_SWIM_SIGNATURE]);

/* n nodes, none up. */
void net_open(struct net *net, size_t n, uint64_t seed);
void net_close(struct net *net);
/* Brings node i up, or up again, with this seed (itself: none); conf: what differs from defaults,
 * may be NULL. */
void net_start(struct net *net, size_t i, size_t seed, const struct slv_swim_conf *conf);
void net_stop(struct net *net, size_t i);
void net_run(struct net *net, uint64_t ns);
/* Runs until all that are up (and in one group) see each other alive; false: not within ns. */
bool net_settle(struct net *net, uint64_t ns);
/* All started within a second, through node 0, and settled. */
void net_join(struct net *net, const struct slv_swim_conf *conf);
enum slv_swim_state net_sees(const struct net *net, size_t i, size_t of);
/* Nodes that are up and see node i in this state. */
size_t net_seen(const struct net *net, size_t i, enum slv_swim_state state);

#endif
