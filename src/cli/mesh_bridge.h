/* mesh_bridge.h: what the files of `mesh bridge` share: a bridge between a zone and the mesh above
 * it, which does what summary.h says with two nodes of this machine.
 *
 *     zone's node  -- follow: a thread a space ---->  summary  -- look, write -->  upper node
 *                  <- list, read what is not told --
 *                  <- the lock: take, keep ---------
 *
 * All but following is done by one thread, one question at a time, each within BRIDGE_ASK_MS, so
 * that a node that hangs costs no more than that. A side whose node does not answer is down: that
 * is said once, and it is asked again with gaps that grow from 0.1 s to 5 s. When it is back, what
 * is there is listed, or compared, anew: nothing is remembered that could have been missed.
 *
 * With --lock nothing is written unless the lock surely is ours for longer than a write may take.
 */
#ifndef SLV_CLI_MESH_BRIDGE_H
#define SLV_CLI_MESH_BRIDGE_H

#include "base/clock.h"
#include "cli/cmd.h"
#include "cli/mesh.h"
#include "cli/mesh_follow.h"
#include "cli/mesh_lock.h"
#include "mesh/summary.h"

#define BRIDGE_ASK_MS 1000u
#define BRIDGE_MS ((uint64_t)1000000)

struct bridge_opts {
    const char *from, *to, *as, *lock;
    struct slv_opt_list rule[SLV_SUMMARY_KINDS];
    double ttl;
};

/* What a bridge that stands by has been told that it waits for. */
enum bridge_waits { BRIDGE_WAITS_NOT, BRIDGE_WAITS_HELD, BRIDGE_WAITS_GROUP };

/* A node, and what it has for each rule. */
struct bridge_side {
    const char *socket;
    const char *name; /* "the zone's node" */
    char mesh[256];
    struct {
        char type[16];
        bool is_strong;
    } space[SLV_SUMMARY_RULES_MAX];
    bool up;
    bool told; /* that it is down */
    uint64_t again, gap;
};

struct bridge_source {
    enum slv_summary_side side;
    struct slv_str space;
    bool is_followed;
    bool told; /* that it is not */
};

struct bridge {
    const struct slv_cli *cli;
    const struct bridge_opts *o;
    struct slv_summary *sum;
    struct slv_follow *follow;
    struct bridge_side side[2];
    struct bridge_source source[SLV_SUMMARY_RULES_MAX];
    size_t n_source;
    size_t source_of[SLV_SUMMARY_RULES_MAX];
    uint64_t list_at[SLV_SUMMARY_RULES_MAX];
    struct slv_buf zone_socket, lock_path;
    struct slv_mesh_lock lock;
    char holder[SLV_SUMMARY_ZONE_MAX + 32];
    bool active;
    enum bridge_waits waits; /* for the lock; as it was said last */
    bool settled;            /* both nodes were there once, and the rules can be */
    bool news;               /* the status is another one than was told */
    long status;             /* HTTP's, of the last answer; 0: there was none */
    uint64_t lock_at;        /* when it is taken, or kept, again */
};

static inline uint64_t bridge_now(void) { return slv_clock_mono(&slv_clock_system); }

/* A side's node does not answer: said once, until it does; why is borrowed for the call. */
void bridge_is_down(struct bridge *br, enum slv_summary_side i, const char *why);
/* It has done what it was asked to. */
void bridge_is_well(struct bridge *br, enum slv_summary_side i);
/* The lock is kept, or asked for, where it is time for that: between any two questions. */
void bridge_tend_lock(struct bridge *br);
int bridge_get(struct bridge *br, enum slv_summary_side i, const char *path,
               struct slv_cli_reply *ret, struct slv_err *err) SLV_MUST_USE;
/* What a source has is not known: its rules are listed again. */
void bridge_lose_rules(struct bridge *br, size_t source);

/* mesh_bridge_read.c */

/* The value of a key; *ret_there false: it has none, and *ret nothing. `how` a strong space is
 * read ("local", "barrier"). */
int bridge_read_key(struct bridge *br, enum slv_summary_side i, bool is_strong, const char *how,
                    struct slv_str space, struct slv_str key, struct slv_cli_reply *ret,
                    bool *ret_there, struct slv_err *err) SLV_MUST_USE;
/* Lists what is to be listed, and takes in what the nodes have told since. */
void bridge_tend_lists(struct bridge *br);
void bridge_take_events(struct bridge *br);

#endif
