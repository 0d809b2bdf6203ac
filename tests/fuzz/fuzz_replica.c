/* fuzz_replica.c: any bytes as what peers send to a replica, with every signature taken for right,
 * as a member with a key could make them: nothing crashes, nothing grows without bound, what the
 * replica then holds can be read as values, and can be told to another, which comes to hold the
 * same.
 *
 * Input: messages, each: length (2, the high byte first), peer (1), then as it is sent. */
#include "base/mem.h"
#include "mesh/replica_int.h"
#include "mesh/value.h"
#include "quiet_world.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SPACE 0x7370616365u
#define MESSAGES_MAX 64
#define ROUNDS 64
#define TTL_MS 20000u

static void require(bool ok) {
    if (!ok) abort();
}

struct end {
    struct slv_replica *r;
    struct end *other;   /* NULL: what is sent goes nowhere */
    struct slv_buf mail; /* to it, each behind its length */
    size_t sent;
};

#define START 1700000000000000000u

static uint64_t now_ns; /* from START on, for each input */
static uint64_t clock_ns(void *ctx) {
    (void)ctx;
    return now_ns;
}
static const struct slv_clock still = {clock_ns, clock_ns, NULL};

static int sign(void *ctx, struct slv_str bytes, uint8_t ret[SLV_BATCH_SIG]) {
    (void)ctx, (void)bytes;
    memset(ret, 0, SLV_BATCH_SIG);
    return 0;
}
static bool check(void *ctx, uint64_t node, struct slv_str bytes, const uint8_t *sig) {
    (void)ctx, (void)node, (void)bytes, (void)sig;
    return true;
}
static const struct slv_mesh_trust trusting = {sign, check, NULL};

static int send_to(void *ctx, uint64_t peer, struct slv_str message) {
    struct end *e = ctx;
    (void)peer;
    require(message.n <= SLV_MESSAGE_MAX);
    e->sent += message.n;
    if (e->other) slv_write_bytes(&e->other->mail, message.p, message.n);
    return 0;
}
static void open_end(struct end *e, struct slv_replica_world *w, struct slv_hlc *hlc,
                     enum slv_mesh_type type, bool causal, bool ttl, uint64_t node) {
    const struct slv_replica_stores stores = {.store = 1};
    *e = (struct end){0};
    slv_buf_init(&e->mail, (size_t)64 << 20);
    *w = quiet_world(e);
    w->send = send_to;
    slv_hlc_init(hlc, &still, 0);
    const struct slv_replica_conf c = {.id = SPACE,
                                       .type = type,
                                       .causal = causal,
                                       .ttl_ms = ttl ? TTL_MS : 0,
                                       .log_max = 20000,
                                       .waiting_max = 20000,
                                       .repair_max = 1 << 20,
                                       .node = node,
                                       .chance = node,
                                       .hlc = hlc,
                                       .trust = &trusting,
                                       .world = w};
    require(!slv_replica_open(&c, &e->r) && !slv_replica_loaded(e->r, &stores));
}

static void take(struct end *e, uint64_t peer, struct slv_str m) {
    struct slv_reader r = slv_reader_of(m.p, m.n);
    const uint64_t kind = slv_read_number(&r, SLV_MSG_TELL);
    if (slv_read_id(&r) != SPACE || r.bad || !kind) return;
    const int rc = slv_replica_receive(e->r, peer, now_ns, (enum slv_mesh_kind)kind, &r);
    require(rc != SLV_E_NOMEM && rc != SLV_E_USAGE);
}

/* Two that speak only to each other agree, but for what causes are missing of. */
static void converse(struct end *a, struct end *b) {
    a->other = b;
    b->other = a;
    for (int round = 0; round < ROUNDS; round++) {
        struct end *to = round % 2 ? a : b;
        uint8_t x[SLV_SUM_BYTES], y[SLV_SUM_BYTES];
        slv_replica_expire(a->r);
        slv_replica_expire(b->r);
        slv_replica_follow(a->r, 2, slv_replica_cut(b->r));
        slv_replica_follow(b->r, 1, slv_replica_cut(a->r));
        slv_replica_sum(a->r, x);
        slv_replica_sum(b->r, y);
        if (!memcmp(x, y, sizeof x)) return;
        now_ns += 61000000000u;
        slv_replica_tick(a->r, now_ns);
        slv_replica_tick(b->r, now_ns);
        slv_replica_differs(to->r, to == a ? 2 : 1, now_ns);
        for (int k = 0; k < 200 && (a->mail.len || b->mail.len); k++) {
            struct end *e = a->mail.len ? a : b;
            size_t n;
            struct slv_buf mail = e->mail;
            struct slv_reader r = slv_reader_of(mail.data, mail.len);
            slv_buf_init(&e->mail, mail.max);
            while (slv_reader_left(&r) && (n = slv_reader_left(&r)) > 0)
                take(e, e == a ? 2 : 1, slv_read_bytes(&r, SLV_MESSAGE_MAX));
            slv_buf_fini(&mail);
        }
    }
}

static void read_values(const struct end *e, enum slv_mesh_type type) {
    const struct slv_space *s = slv_replica_space(e->r);
    const struct slv_entry *at;
    for (uint64_t rank = 0; (at = slv_entries_at(s->entries, rank)) != NULL;) {
        struct slv_buf b;
        struct slv_json j;
        slv_buf_init(&b, (size_t)16 << 20);
        slv_json_init(&j, &b);
        const int rc = slv_value_read(s, type, slv_entry_key(at), 1, &j, NULL, NULL);
        require(!rc || rc == SLV_E_LIMIT);
        slv_buf_fini(&b);
        rank = slv_entries_rank_behind(s->entries, slv_entry_key(at));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum slv_mesh_type types[] = {SLV_TYPE_SET,     SLV_TYPE_MANY,   SLV_TYPE_LIST,
                                               SLV_TYPE_COUNTER, SLV_TYPE_UNIQUE, SLV_TYPE_TOP,
                                               SLV_TYPE_UNIQUE,  SLV_TYPE_TOP};
    struct slv_reader r = slv_reader_of(data, size);
    struct slv_replica_world wa, wb;
    struct slv_hlc ha, hb;
    struct end a, b;
    if (!size) return 0;
    now_ns = START;
    const uint8_t how = (uint8_t)*slv_read_raw(&r, 1).p;
    const enum slv_mesh_type type = types[(how & 3) | (how >> 1 & 4)];
    const bool ttl = how & 16 && slv_mesh_type_expires(type);
    open_end(&a, &wa, &ha, type, how & 4, ttl, 1);
    open_end(&b, &wb, &hb, type, how & 4, ttl, 2);
    for (int k = 0; k < MESSAGES_MAX && slv_reader_left(&r) > 3; k++) {
        const struct slv_str head = slv_read_raw(&r, 3);
        const size_t n = (size_t)(uint8_t)head.p[0] << 8 | (uint8_t)head.p[1];
        const struct slv_str m =
            slv_read_raw(&r, n < slv_reader_left(&r) ? n : slv_reader_left(&r));
        const size_t before = a.sent;
        if (head.p[2] & 8) slv_replica_differs(a.r, (uint8_t)head.p[2] & 7, now_ns);
        now_ns += 1000000000u;
        take(&a, (uint8_t)head.p[2] & 7, m);
        slv_replica_tick(a.r, now_ns);
        /* what was asked of it bounds its answer; the log is 20,000 bytes, and entries as many */
        require(a.sent - before < (size_t)4 << 20);
    }
    read_values(&a, type);
    if (!a.r->failed && !b.r->failed) converse(&a, &b);
    slv_replica_close(a.r);
    slv_replica_close(b.r);
    slv_buf_fini(&a.mail);
    slv_buf_fini(&b.mail);
    return 0;
}
