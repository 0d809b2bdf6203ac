/* fuzz_strong.c: any bytes as what others say to a node of a strong group, as its records, and as a
 * snapshot. What is read is written as it was; a node stays sound whatever it is told.
 *
 *     kind & 3: 0 a message, 1 a snapshot, 2 records: key length, key, length (2), value, then a
 *     start; 3 messages to a node: what happens (0-3: from whom, 4 sync, 5 time, 6 call), length
 *     (2), bytes
 */
#include "base/mem.h"
#include "mesh/strong.h"
#include "mesh/strong_wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MS ((uint64_t)1000000)

static uint64_t ticket, number;

static void require(bool ok) {
    if (!ok) abort();
}

static void on_send(void *ctx, uint64_t peer, struct slv_str bytes) {
    (void)ctx, (void)peer;
    struct strong_msg m;
    require(strong_msg_read(bytes, &m)); /* what it says is well formed */
}
static int on_put(void *ctx, struct slv_str key, struct slv_str value) {
    (void)ctx, (void)key, (void)value;
    return 0;
}
static int on_del(void *ctx, struct slv_str key) {
    (void)ctx, (void)key;
    return 0;
}
static int on_commit(void *ctx, uint64_t t) {
    (void)ctx;
    ticket = t;
    return 0;
}
static uint64_t on_random(void *ctx) {
    (void)ctx;
    return number += 7919;
}
static void on_event(void *ctx, enum slv_strong_event e, uint64_t id) {
    (void)ctx, (void)e, (void)id;
}
static void on_answer(void *ctx, uint64_t call, const struct slv_strong_result *r) {
    (void)ctx, (void)call, (void)r;
}

static struct slv_strong *open_node(void) {
    const struct slv_strong_conf c = {
        .id = 1,
        .log_max = 2000,
        .readmit = true,
        .world = {on_send, on_put, on_del, on_commit, on_random, on_event, on_answer, NULL, NULL}};
    struct slv_strong *s;
    ticket = number = 0;
    if (slv_strong_open(&c, &s)) abort();
    return s;
}

static void message(struct slv_str in) {
    struct strong_msg m;
    struct slv_buf b;
    if (!strong_msg_read(in, &m)) return;
    slv_buf_init(&b, SLV_STRONG_MESSAGE_MAX);
    strong_msg_write(&m, &b);
    require(b.len == in.n && !memcmp(b.data, in.p, in.n));
    slv_buf_fini(&b);
}

static void snapshot(struct slv_str in) {
    struct strong_state st = {0};
    struct slv_buf b;
    if (strong_state_read(in, &st)) return;
    slv_buf_init(&b, STRONG_SNAPSHOT_MAX);
    strong_state_write(&st, &b);
    require(b.len == in.n && !memcmp(b.data, in.p, in.n));
    slv_buf_fini(&b);
    strong_state_fini(&st);
}

static struct slv_str take(const uint8_t **p, const uint8_t *end, size_t n) {
    const size_t left = (size_t)(end - *p);
    const struct slv_str s = {(const char *)*p, n < left ? n : left};
    *p += s.n;
    return s;
}

static size_t take2(const uint8_t **p, const uint8_t *end) {
    const struct slv_str s = take(p, end, 2);
    return s.n < 2 ? 0 : (size_t)(uint8_t)s.p[0] | (size_t)(uint8_t)s.p[1] << 8;
}

static void run(struct slv_strong *s, uint64_t *now, uint64_t ms) {
    for (uint64_t i = 0; i < ms; i += 10) {
        *now += 10 * MS;
        slv_strong_tick(s, *now);
        slv_strong_synced(s, *now, ticket);
    }
}

static void records(const uint8_t *p, const uint8_t *end) {
    struct slv_strong *s = open_node();
    uint64_t now = 5000 * MS;
    while (p < end) {
        const struct slv_str key = take(&p, end, *p++ % 16);
        const size_t n = take2(&p, end);
        const int rc = slv_strong_load(s, key, take(&p, end, n));
        require(!rc || rc == SLV_E_FORMAT);
    }
    require(!slv_strong_start(s, now, false));
    run(s, &now, 2000);
    require(!slv_strong_failed(s));
    slv_strong_close(s);
}

static void one_call(struct slv_strong *s, uint64_t now, struct slv_str key) {
    const struct slv_strong_command c = {.op = SLV_STRONG_PUT,
                                         .client = 1 + number % 3,
                                         .seq = 1 + number % 5,
                                         .key = key,
                                         .value = key};
    uint64_t call;
    if (key.n <= SLV_STRONG_KEY_MAX) require(slv_strong_call(s, now, &c, &call) != SLV_E_USAGE);
}

static void messages(const uint8_t *p, const uint8_t *end) {
    static const uint64_t ids[] = {1, 2, 3};
    struct slv_strong *s = open_node();
    uint64_t now = 5000 * MS;
    require(!slv_strong_bootstrap(s, ids, 3) && !slv_strong_start(s, now, false));
    while (p < end) {
        const unsigned what = *p++ % 7;
        const struct slv_str bytes = take(&p, end, take2(&p, end));
        if (what < 4) slv_strong_receive(s, now, what + 1, bytes);
        else if (what == 4) slv_strong_synced(s, now, ticket);
        else if (what == 5) run(s, &now, bytes.n * 100 % 2000);
        else one_call(s, now, bytes);
        slv_strong_tick(s, now);
    }
    run(s, &now, 1000);
    require(!slv_strong_failed(s));
    slv_strong_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    const struct slv_str rest = {(const char *)data + 1, size - 1};
    switch (data[0] & 3) {
    case 0:
        message(rest);
        break;
    case 1:
        snapshot(rest);
        break;
    case 2:
        records(data + 1, data + size);
        break;
    default:
        messages(data + 1, data + size);
    }
    return 0;
}
