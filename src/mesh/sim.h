/* sim.h: many nodes of the mesh in one process, in virtual time, over a network and disks that
 * fail: all of it drawn from one seed, so that what went wrong goes wrong again.
 *
 * The nodes are node.h's, unchanged. A run has two parts. For a while nodes write, and faults of
 * the chosen kinds befall all of them. Then they end for a core of nodes, and go on for the rest,
 * if there are any: a system must not hang on those who are still ill. Within a bound the core
 * holds the same, and what it holds is what was written:
 *
 *     safety    of each space, at all times: no writer gives a number twice; a causal one shows no
 *               write before what it was written in view of; nothing is there that a write that was
 *               seen had removed; what was synced is there after a crash; what was on a disk that
 *               is lost, and on another one, is not lost
 *               of the strong space, where no disk lies: one leader a term, equal logs make
 *               equal states, and all answers could be those of one copy (linear.h)
 *     liveness  the core agrees within SLV_SIM_BOUND_MS of the faults' end
 *     truth     its entries are those of all writes that it has seen, applied one by one
 *
 * Threads: one for a run. Source: the two parts as in VOPR of TigerBeetle and in Jepsen's final
 * reads; the idea of it from FoundationDB's simulation (Zhou and others, 2021).
 */
#ifndef SLV_MESH_SIM_H
#define SLV_MESH_SIM_H

#include "base/err.h"
#include "base/str.h"
#include "selvage.h"

#include <stdint.h>

#define SLV_SIM_NODES_MIN 2u
#define SLV_SIM_NODES_MAX 1000u
#define SLV_SIM_BOUND_MS 90000u

/* Kinds of faults, bits of slv_sim_conf.faults. */
enum slv_sim_fault {
    SLV_SIM_LOSS = 1 << 0,   /* datagrams, up to a third of them */
    SLV_SIM_DELAY = 1 << 1,  /* up to half a second, with jitter, so that they come out of order */
    SLV_SIM_DOUBLE = 1 << 2, /* datagrams that come again, some much later */
    SLV_SIM_SPLIT = 1 << 3,  /* parts of the network without a way between them, or with a bridge */
    SLV_SIM_ONE_WAY = 1 << 4,  /* pairs of which one does not hear the other */
    SLV_SIM_CRASH = 1 << 5,    /* and start again, without what was not synced */
    SLV_SIM_CLOCK = 1 << 6,    /* that are off, drift, and jump */
    SLV_SIM_SLOW = 1 << 7,     /* nodes that handle nothing for a while, and then all at once */
    SLV_SIM_FULL = 1 << 8,     /* disks without room */
    SLV_SIM_FLIP = 1 << 9,     /* bits of records that a starting node reads */
    SLV_SIM_LIE = 1 << 10,     /* disks that lose what they said was synced */
    SLV_SIM_NARROW = 1 << 11,  /* links of some kbit/s, and paths that drop long datagrams */
    SLV_SIM_TRAITOR = 1 << 12, /* a member that sends rubbish, old messages, and two versions */
    SLV_SIM_CHURN = 1 << 13,   /* nodes that leave for good, and new ones */
    SLV_SIM_LOST = 1 << 14,    /* disks of which nothing is left */
    SLV_SIM_FAULTS = 15,
    SLV_SIM_ALL = (1 << SLV_SIM_FAULTS) - 1
};

/* "loss", ...; NULL: there are no more. */
const char *slv_sim_fault_name(unsigned i);

struct slv_sim_conf {
    unsigned nodes;
    uint64_t seed;
    unsigned faults; /* of which a seed draws some; `exact`: all of them */
    bool exact;
    uint64_t for_ms;                                         /* the first part; 0: 20 s */
    void (*trace)(void *ctx, uint64_t ms, const char *line); /* may be NULL */
    void *ctx;
};

struct slv_sim_result {
    bool held;
    char why[200];      /* what did not hold, and where */
    unsigned faults;    /* drawn */
    uint64_t digest;    /* of all that happened: equal for equal seeds */
    uint64_t agreed_ms; /* after the faults' end */
    uint64_t virtual_ms, events, datagrams, bytes, writes, batches, crashes;
    uint64_t agreements; /* answers of the strong space */
    uint64_t undecided;  /* histories of it that were too long to search */
    uint64_t retired;    /* writers, as some node knows */
};

/* SLV_E_USAGE: numbers out of range; SLV_E_NOMEM. That something did not hold is no error. */
int slv_sim_run(const struct slv_sim_conf *conf, struct slv_sim_result *ret) SLV_MUST_USE;

/* Of a seed that fails: the fewest kinds of faults, the fewest nodes and the shortest time with
 * which it still does, as far as trying one after the other finds them. */
int slv_sim_minimize(const struct slv_sim_conf *conf, struct slv_sim_conf *ret,
                     struct slv_sim_result *ret_result) SLV_MUST_USE;

#endif
