/* traffic.c: see traffic.h. */
#include "traffic.h"
#include "base/mem.h"
#include "mesh/doc.h"
#include "quiet_world.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITERS 4u
#define NODES (WRITERS + 1) /* the last is the one that asks */
#define QUEUE_MAX 4096u
#define LOG_ALL ((size_t)64 << 20)
#define START 1764000000000000000u /* the wall's ns at the first write */
#define MS 1000000u

struct node {
    uint64_t id;
    uint8_t pub[32], secret[64];
    struct slv_hlc hlc;
    struct slv_mesh_trust trust;
    struct slv_replica_world world;
    struct slv_replica *r;
};

static struct node node[NODES];
static const struct traffic *now_made;
static enum traffic_way way;
static uint64_t now_ns, state;
static struct {
    uint64_t from, to;
    char *p;
    size_t n;
} queue[QUEUE_MAX];
static size_t n_queue;

static void must(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "traffic: %s\n", what);
    exit(1);
}

static uint64_t rnd(uint64_t below) { /* splitmix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static uint64_t clock_ns(void *ctx) {
    (void)ctx;
    return now_ns;
}
static const struct slv_clock still = {clock_ns, clock_ns, NULL};

static struct node *by_id(uint64_t id) {
    for (size_t i = 0; i < NODES; i++)
        if (node[i].id == id) return &node[i];
    return NULL;
}

static int sign(void *ctx, struct slv_str bytes, uint8_t ret[SLV_BATCH_SIG]) {
    const struct node *n = ctx;
    return crypto_sign_detached(ret, NULL, (const uint8_t *)bytes.p, bytes.n, n->secret);
}
static bool check(void *ctx, uint64_t id, struct slv_str bytes, const uint8_t *sig) {
    (void)ctx;
    return !crypto_sign_verify_detached(sig, (const uint8_t *)bytes.p, bytes.n, by_id(id)->pub);
}
static int send_to(void *ctx, uint64_t peer, struct slv_str m) {
    now_made->message(now_made->ctx, way, m);
    must(n_queue < QUEUE_MAX, "too many messages");
    queue[n_queue].from = ((struct node *)ctx)->id;
    queue[n_queue].to = peer;
    queue[n_queue].p = slv_mem_strndup(m.p, m.n);
    must(queue[n_queue].p != NULL, "out of memory");
    queue[n_queue++].n = m.n;
    return 0;
}
static void open_node(struct node *n, uint64_t space, size_t log_max) {
    const struct slv_replica_stores stores = {.store = (uint32_t)n->id | 1};
    n->trust = (struct slv_mesh_trust){sign, check, n};
    n->world = quiet_world(n);
    n->world.send = send_to;
    slv_hlc_init(&n->hlc, &still, 0);
    const struct slv_replica_conf c = {.id = space,
                                       .type = now_made->type,
                                       .log_max = log_max,
                                       .waiting_max = 4 << 20,
                                       .repair_max = 64 << 20,
                                       .node = n->id,
                                       .chance = n->id,
                                       .hlc = &n->hlc,
                                       .trust = &n->trust,
                                       .world = &n->world};
    must(!slv_replica_open(&c, &n->r) && !slv_replica_loaded(n->r, &stores), "open");
}

static void give(struct node *to, uint64_t from, struct slv_str m) {
    struct slv_reader r = slv_reader_of(m.p, m.n);
    const enum slv_mesh_kind kind = (enum slv_mesh_kind)slv_read_number(&r, SLV_MSG_TELL);
    slv_read_id(&r);
    must(!slv_replica_receive(to->r, from, now_ns, kind, &r), "a message is refused");
}

/* --- what is written -------------------------------------------------------------------------- */

static const char *const words[][2] = {
    {"pump", "valve"},       {"temperature", "pressure"},
    {"line", "hall"},        {"robot", "gripper"},
    {"sensor", "meter"},     {"status", "mode"},
    {"order", "ticket"},     {"site", "plant"},
    {"limit", "threshold"},  {"door", "gate"},
    {"camera", "radar"},     {"shelf", "box"},
    {"battery", "charger"},  {"speed", "torque"},
    {"alarm", "notice"},     {"user", "visitor"},
    {"running", "stopped"},  {"open", "closed"},
    {"north", "south"},      {"red", "blue"},
    {"inspection", "audit"}, {"please check", "found"},
    {"ok", "late"},          {"motor", "fan"},
};

static const char *word(void) { return words[rnd(sizeof words / sizeof *words)][now_made->words]; }

static struct slv_str make_key(char at[96]) {
    int n;
    switch (rnd(3)) {
    case 0:
        n = snprintf(at, 96, "%s-%u/%s-%u/%s", word(), (unsigned)rnd(4), word(), (unsigned)rnd(20),
                     word());
        break;
    case 1:
        n = snprintf(at, 96, "%s.%s.%u", word(), word(), (unsigned)rnd(500));
        break;
    default:
        n = snprintf(at, 96, "%s:2026-11-%02u:%04u", word(), (unsigned)rnd(30) + 1,
                     (unsigned)rnd(2000));
    }
    return (struct slv_str){at, (size_t)n};
}

static struct slv_str make_value(char at[256]) {
    int n;
    switch (rnd(4)) {
    case 0:
        n = snprintf(at, 256, "%u.%u", (unsigned)rnd(200), (unsigned)rnd(10));
        break;
    case 1:
        n = snprintf(at, 256, "%s", word());
        break;
    case 2:
        n = snprintf(at, 256,
                     "{\"%s\": %u, \"%s\": \"%s\", \"at\": \"2026-11-%02uT%02u:%02u:%02uZ\"}",
                     word(), (unsigned)rnd(1000), word(), word(), (unsigned)rnd(30) + 1,
                     (unsigned)rnd(24), (unsigned)rnd(60), (unsigned)rnd(60));
        break;
    default:
        n = snprintf(at, 256, "%s %s-%u", word(), word(), (unsigned)rnd(100));
    }
    return (struct slv_str){at, (size_t)n};
}

static struct slv_str make_object(char at[512]) {
    const int n = snprintf(at, 512,
                           "{\"id\": \"%s-%u\", \"name\": \"%s %s\", \"state\": \"%s\", \"value\": "
                           "%u.%u, \"enabled\": %s, "
                           "\"%s\": [\"%s\", \"%s\"], \"updated\": \"2026-11-%02uT%02u:%02u:00Z\"}",
                           word(), (unsigned)rnd(1000), word(), word(), word(), (unsigned)rnd(100),
                           (unsigned)rnd(100), rnd(2) ? "true" : "false", word(), word(), word(),
                           (unsigned)rnd(30) + 1, (unsigned)rnd(24), (unsigned)rnd(60));
    return (struct slv_str){at, (size_t)n};
}

static int fill(struct slv_draft *d, const struct slv_space *s, struct slv_str key) {
    static const struct slv_str all = {"", 0};
    char at[512];
    struct slv_buf b;
    struct slv_seq q;
    switch ((int)now_made->type) {
    case SLV_TYPE_SET:
        return slv_draft_add(d, make_value(at));
    case SLV_TYPE_COUNTER:
        return slv_draft_count(d, 1 + (int64_t)rnd(20));
    case SLV_TYPE_DOC:
        slv_buf_init(&b, 1 << 20);
        const bool is_new = slv_doc_read(s, key, all, &b) != 0;
        slv_buf_fini(&b);
        if (is_new) return slv_doc_set(d, all, make_object(at));
        return rnd(2) ? slv_doc_set(d, (struct slv_str){"/state", 6}, (struct slv_str){"\"ok\"", 4})
                      : slv_doc_count(d, (struct slv_str){"/visits", 7}, 1);
    case SLV_TYPE_TEXT: {
        int rc = slv_seq_open(s, key, all, true, &q);
        if (!rc) rc = slv_seq_insert_text(&q, d, q.count, make_value(at));
        slv_seq_close(&q);
        return rc;
    }
    default:
        return slv_draft_assign(d, make_value(at));
    }
}

static void write_once(struct node *n) {
    struct slv_draft d;
    char key[96];
    const struct slv_str k = make_key(key);
    now_ns += (1 + rnd(2000)) * MS;
    must(!slv_replica_draft(n->r, k, &d), "draft");
    must(!fill(&d, slv_replica_space(n->r), k) && !slv_replica_write(n->r, &d), "write");
    slv_draft_close(&d);
}

/* To all; to the last only while it is there. */
static void push(struct node *n, uint64_t space, bool to_all) {
    struct slv_buf m;
    slv_buf_init(&m, SLV_MESSAGE_MAX);
    slv_buf_addc(&m, SLV_MSG_BATCH);
    slv_write_id(&m, space);
    must(!slv_replica_flush(n->r, &m), "flush");
    slv_replica_synced(n->r);
    const struct slv_str bytes = {m.data, m.len};
    now_made->message(now_made->ctx, TRAFFIC_WRITE, bytes);
    for (size_t i = 0; i < (to_all ? NODES : WRITERS); i++)
        if (&node[i] != n) give(&node[i], n->id, bytes);
    slv_buf_fini(&m);
}

/* The last misses what is written from `there` on. */
static void write_all(uint64_t space, unsigned there) {
    for (unsigned k = 0; k < now_made->writes; k++)
        for (size_t i = 0; i < WRITERS; i++) {
            write_once(&node[i]);
            if (k % now_made->at_once + 1 == now_made->at_once || k + 1 == now_made->writes)
                push(&node[i], space, k < there);
        }
}

/* The last asks the first until they are the same. */
static void repair(void) {
    uint8_t a[SLV_SUM_BYTES], b[SLV_SUM_BYTES];
    for (unsigned turn = 0; turn < 100; turn++) {
        slv_replica_sum(node[0].r, a);
        slv_replica_sum(node[WRITERS].r, b);
        if (!memcmp(a, b, sizeof a)) return;
        now_ns += 61000 * (uint64_t)MS;
        slv_replica_tick(node[WRITERS].r, now_ns);
        slv_replica_differs(node[WRITERS].r, node[0].id, now_ns);
        for (size_t i = 0; i < n_queue; i++) {
            give(by_id(queue[i].to), queue[i].from, (struct slv_str){queue[i].p, queue[i].n});
            slv_mem_free(queue[i].p);
        }
        n_queue = 0;
    }
    must(false, "they do not agree");
}

static void make_once(uint64_t space, size_t log_max, unsigned there) {
    for (size_t i = 0; i < NODES; i++)
        open_node(&node[i], space, log_max);
    way = log_max == LOG_ALL ? TRAFFIC_LOG : TRAFFIC_RANGE;
    if (now_made->writes - there < 8) way = TRAFFIC_FEW;
    write_all(space, there);
    repair();
    for (size_t i = 0; i < NODES; i++)
        slv_replica_close(node[i].r);
}

void traffic_make(const struct traffic *t) {
    uint8_t seed[32] = {0};
    now_made = t;
    state = t->seed;
    now_ns = START + rnd(1u << 30) * MS;
    for (size_t i = 0; i < NODES; i++) {
        for (size_t k = 0; k < sizeof seed; k++)
            seed[k] = (uint8_t)rnd(256);
        crypto_sign_seed_keypair(node[i].pub, node[i].secret, seed);
        memcpy(&node[i].id, node[i].pub, sizeof node[i].id);
    }
    const uint64_t space = rnd(UINT64_MAX);
    const unsigned there[] = {0, t->writes / 2, t->writes - 1 - (unsigned)rnd(4)};
    for (size_t k = 0; k < sizeof there / sizeof *there; k++)
        for (int ranges = 0; ranges < 2; ranges++)
            make_once(space, ranges ? 4096 : LOG_ALL, there[k]);
}
