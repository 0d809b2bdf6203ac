/* traffic.h: what nodes of a mesh send each other when they write and repair, of a seed: spaces of
 * usual types, with keys and values as users may have them, written by several nodes in turn,
 * and then asked for by one that lacks all, half or the last few. Signatures are real, as they do
 * not compress. The same on every machine. */
#ifndef SLV_BENCH_TRAFFIC_H
#define SLV_BENCH_TRAFFIC_H

#include "mesh/types.h"

/* How a message came to be. */
enum traffic_way {
    TRAFFIC_WRITE, /* a batch that is pushed */
    TRAFFIC_LOG,   /* repair by the batches of a log */
    TRAFFIC_RANGE, /* repair by ranges: those who were away for long */
    TRAFFIC_FEW,   /* repair of the last few writes, in either way */
    TRAFFIC_WAYS
};

struct traffic {
    enum slv_mesh_type type; /* LAST, SET, COUNTER, TEXT, DOC */
    uint64_t seed;
    unsigned writes;  /* of each of the writers */
    unsigned at_once; /* writes of a batch */
    unsigned words;   /* 0 or 1: which half of the words keys and values are made of */
    void (*message)(void *ctx, enum traffic_way way, struct slv_str bytes);
    void *ctx;
};

/* Gives each message that is sent to traffic.message. */
void traffic_make(const struct traffic *t);

#endif
