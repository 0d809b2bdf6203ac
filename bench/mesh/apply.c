/* apply.c: what one core does with others' writes, and what they take in memory.
 *
 *     updates/s    small deltas (a counter's row, signed a batch at a time) read, verified, checked
 *                  and applied, the log kept, records made
 *     memory       of 100,000 keys, beside the bytes of their records
 *     growth       of a set of 100 elements after a million adds and removes
 *
 * usage: apply [SECONDS]      prints a line each */
#include "base/mem.h"
#include "quiet_world.h"

#include <malloc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SPACE 1u
#define BATCH 100u /* ops of one */

struct node {
    uint64_t id, put_bytes;
    uint8_t pub[32], secret[64];
    struct slv_hlc hlc;
    struct slv_mesh_trust trust;
    struct slv_replica_world world;
    struct slv_replica *r;
};
static struct node node[2];

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(int rc) {
    if (!rc) return;
    fprintf(stderr, "apply: error %d\n", rc);
    exit(1);
}

static int sign(void *ctx, struct slv_str bytes, uint8_t ret[SLV_BATCH_SIG]) {
    const struct node *n = ctx;
    return crypto_sign_detached(ret, NULL, (const uint8_t *)bytes.p, bytes.n, n->secret);
}
static bool check(void *ctx, uint64_t id, struct slv_str bytes, const uint8_t *sig) {
    (void)ctx;
    return !crypto_sign_verify_detached(sig, (const uint8_t *)bytes.p, bytes.n, node[id].pub);
}
static int put(void *ctx, struct slv_str key, struct slv_str value) {
    ((struct node *)ctx)->put_bytes += key.n + value.n;
    return 0;
}
static void open_node(uint64_t id, enum slv_mesh_type type, size_t log_max) {
    struct node *n = &node[id];
    const struct slv_replica_stores stores = {.store = 1};
    *n = (struct node){.id = id};
    crypto_sign_keypair(n->pub, n->secret);
    slv_hlc_init(&n->hlc, &slv_clock_system, 0);
    n->trust = (struct slv_mesh_trust){sign, check, n};
    n->world = quiet_world(n);
    n->world.put = put;
    const struct slv_replica_conf c = {.id = SPACE,
                                       .type = type,
                                       .log_max = log_max,
                                       .waiting_max = 1 << 20,
                                       .repair_max = 1 << 20,
                                       .node = id,
                                       .chance = 1,
                                       .hlc = &n->hlc,
                                       .trust = &n->trust,
                                       .world = &n->world};
    must(slv_replica_open(&c, &n->r));
    must(slv_replica_loaded(n->r, &stores));
}

static void close_nodes(void) {
    for (size_t i = 0; i < 2; i++)
        slv_replica_close(node[i].r);
}

/* A message of what was written. */
static void flush(struct node *n, struct slv_buf *m) {
    slv_buf_clear(m);
    slv_buf_addc(m, SLV_MSG_BATCH);
    slv_write_id(m, SPACE);
    must(slv_replica_flush(n->r, m));
    slv_replica_synced(n->r);
}

static void give(struct node *to, const struct slv_buf *m) {
    struct slv_reader r = slv_reader_of(m->data + 9, m->len - 9);
    must(slv_replica_receive(to->r, 1 - to->id, 1, SLV_MSG_BATCH, &r));
}

static void count(struct node *n, unsigned key) {
    struct slv_draft d;
    char name[16];
    snprintf(name, sizeof name, "k%u", key);
    must(slv_replica_draft(n->r, (struct slv_str){name, strlen(name)}, &d));
    must(slv_draft_count(&d, 1));
    must(slv_replica_write(n->r, &d));
    slv_draft_close(&d);
}

/* Time of the one who is given, alone. */
static void updates(double most) {
    struct slv_buf m;
    double spent = 0;
    uint64_t n = 0;
    slv_buf_init(&m, SLV_MESSAGE_MAX);
    open_node(0, SLV_TYPE_COUNTER, (size_t)8 << 20);
    open_node(1, SLV_TYPE_COUNTER, (size_t)8 << 20);
    for (unsigned turn = 0; spent < most; turn++) {
        for (unsigned i = 0; i < BATCH; i++)
            count(&node[0], (turn * BATCH + i) % 10000);
        flush(&node[0], &m);
        const double start = seconds();
        give(&node[1], &m);
        spent += seconds() - start;
        n += BATCH;
    }
    printf("updates applied a second, batches of %u signed once: %.0f\n", BATCH, (double)n / spent);
    slv_buf_fini(&m);
    close_nodes();
}

static size_t heap(void) { return mallinfo2().uordblks; }

static void memory(void) {
    struct slv_buf m;
    slv_buf_init(&m, SLV_MESSAGE_MAX);
    open_node(0, SLV_TYPE_COUNTER, 4096);
    open_node(1, SLV_TYPE_COUNTER, 4096);
    const size_t before = heap();
    for (unsigned i = 0; i < 100000; i++) {
        count(&node[0], i);
        if (i % BATCH == BATCH - 1) flush(&node[0], &m);
    }
    const size_t took = heap() - before;
    const struct slv_space *s = slv_replica_space(node[0].r);
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < slv_entries_count(s->entries); i++) {
        const struct slv_entry *e = slv_entries_at(s->entries, i);
        bytes += 25 + 3 + e->key->n + e->n_path + e->n_data; /* its record */
    }
    printf("100,000 keys: %.1f MB of heap, their records %.1f MB: %.2fx\n", (double)took / 1e6,
           (double)bytes / 1e6, (double)took / (double)bytes);
    slv_buf_fini(&m);
    close_nodes();
}

static void growth(void) {
    struct slv_buf m;
    size_t early = 0;
    slv_buf_init(&m, SLV_MESSAGE_MAX);
    open_node(0, SLV_TYPE_SET, 65536);
    open_node(1, SLV_TYPE_SET, 65536);
    for (unsigned i = 0; i < 1000000; i++) {
        struct slv_draft d;
        char name[16];
        snprintf(name, sizeof name, "e%u", i / 2 % 100);
        const struct slv_str e = {name, strlen(name)};
        must(slv_replica_draft(node[0].r, (struct slv_str){"set", 3}, &d));
        must(i % 2 ? slv_draft_drop(&d, e) : slv_draft_add(&d, e));
        must(slv_replica_write(node[0].r, &d));
        slv_draft_close(&d);
        if (i % BATCH == BATCH - 1) flush(&node[0], &m);
        if (i == 10000) early = heap();
    }
    printf("a set after 10,000 and 1,000,000 adds and removes: %.0f and %.0f kB of heap\n",
           (double)early / 1e3, (double)heap() / 1e3);
    slv_buf_fini(&m);
    close_nodes();
}

int main(int argc, char **argv) {
    if (sodium_init() < 0) return 1;
    updates(argc > 1 ? atof(argv[1]) : 3);
    memory();
    growth();
    return 0;
}
