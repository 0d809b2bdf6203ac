/* quiet_world.h: what a replica wants of a node, where there is none: everybody may write and
 * repair, nothing is kept, nobody is told. Who uses it sets what it wants (`send`, `put`). */
#ifndef SLV_TEST_QUIET_WORLD_H
#define SLV_TEST_QUIET_WORLD_H

#include "mesh/replica.h"

static int quiet_send(void *ctx, uint64_t peer, struct slv_str message) {
    (void)ctx, (void)peer, (void)message;
    return 0;
}
static bool quiet_may_write(void *ctx, uint64_t node, struct slv_str key) {
    (void)ctx, (void)node, (void)key;
    return true;
}
static bool quiet_may_repair(void *ctx, uint64_t node) {
    (void)ctx, (void)node;
    return true;
}
static void quiet_fresh(void *ctx, const struct slv_batch *b, uint64_t peer) {
    (void)ctx, (void)b, (void)peer;
}
static void quiet_event(void *ctx) { (void)ctx; }
static void quiet_two_faced(void *ctx, uint64_t node, struct slv_str one, struct slv_str other) {
    (void)ctx, (void)node, (void)one, (void)other;
}
static int quiet_put(void *ctx, struct slv_str key, struct slv_str value) {
    (void)ctx, (void)key, (void)value;
    return 0;
}
static int quiet_del(void *ctx, struct slv_str key) {
    (void)ctx, (void)key;
    return 0;
}

static inline struct slv_replica_world quiet_world(void *ctx) {
    return (struct slv_replica_world){.send = quiet_send,
                                      .may_write = quiet_may_write,
                                      .may_repair = quiet_may_repair,
                                      .fresh = quiet_fresh,
                                      .pulled = quiet_event,
                                      .behind_itself = quiet_event,
                                      .two_faced = quiet_two_faced,
                                      .put = quiet_put,
                                      .del = quiet_del,
                                      .ctx = ctx};
}

#endif
