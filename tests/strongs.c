/* strongs.c: see strongs.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "strongs.h"

#include <stdlib.h>
#include <string.h>

struct packet {
    uint64_t at, order, from, to;
    size_t n;
    char *bytes;
};

struct strongs_node strongs_node[STRONGS + 1];
uint64_t strongs_now;
bool strongs_cut[STRONGS + 1][STRONGS + 1];
uint32_t strongs_loss;
uint32_t strongs_sync_us;
uint64_t strongs_sent;
void (*strongs_answer)(uint64_t node, uint64_t call, const struct slv_strong_result *r);
void (*strongs_step)(void);
char strongs_value[1 << 18];

static struct strongs_conf conf;
static struct packet *air; /* a heap by time */
static size_t n_air, room_air;
static uint64_t state, order;
static struct slv_strong_result answered;
static uint64_t waiting_node, waiting_call;
static bool is_answered;

uint64_t strongs_rnd(uint64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 30) % n;
}

struct slv_str strongs_str(const char *s) {
    return (struct slv_str){s, strlen(s)};
}

static void *grow(void *v, size_t n, size_t *room, size_t size) {
    if (n < *room) return v;
    *room = *room ? *room * 2 : 16;
    v = realloc(v, *room * size);
    assert_non_null(v);
    return v;
}

/* --- the network ------------------------------------------------------------------------------ */

static bool before(const struct packet *a, const struct packet *b) {
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(struct packet p) {
    air = grow(air, n_air, &room_air, sizeof *air);
    size_t i = n_air++;
    for (; i && before(&p, &air[(i - 1) / 2]); i = (i - 1) / 2)
        air[i] = air[(i - 1) / 2];
    air[i] = p;
}

static struct packet pop(void) {
    const struct packet top = air[0], last = air[--n_air];
    size_t i = 0;
    for (size_t k = 1; k < n_air; k = 2 * i + 1) {
        if (k + 1 < n_air && before(&air[k + 1], &air[k])) k++;
        if (!before(&air[k], &last)) break;
        air[i] = air[k];
        i = k;
    }
    air[i] = last;
    return top;
}

static void on_send(void *ctx, uint64_t peer, struct slv_str bytes) {
    const struct strongs_node *n = ctx;
    if (peer > STRONGS || strongs_cut[n->id][peer]) return;
    strongs_sent++;
    for (int copies = 1; copies > 0; copies--) {
        if (strongs_rnd(1000) < strongs_loss) continue;
        struct packet p = {.from = n->id, .to = peer, .n = bytes.n, .order = order++};
        p.bytes = malloc(bytes.n + 1);
        assert_non_null(p.bytes);
        memcpy(p.bytes, bytes.p, bytes.n);
        p.at = strongs_now + 1000 * (conf.delay_us + strongs_rnd(conf.delay_us + 1));
        if (conf.jitter_us) p.at += 1000 * strongs_rnd(conf.jitter_us);
        push(p);
        if (strongs_rnd(1000) < conf.twice) copies++;
    }
}

/* --- disks ------------------------------------------------------------------------------------ */

static struct strong_commit *open_commit(struct strongs_node *n) {
    if (n->n_commit && !n->commit[n->n_commit - 1].ticket) return &n->commit[n->n_commit - 1];
    n->commit = grow(n->commit, n->n_commit, &n->room_commit, sizeof *n->commit);
    n->commit[n->n_commit] = (struct strong_commit){0};
    return &n->commit[n->n_commit++];
}

static void add(struct strongs_node *n, struct slv_str key, const struct slv_str *value) {
    struct strong_commit *c = open_commit(n);
    struct strong_record r = {.n_key = (uint8_t)key.n};
    assert_in_range(key.n, 1, sizeof r.key);
    memcpy(r.key, key.p, key.n);
    if (value) {
        r.n = value->n;
        r.value = malloc(value->n + 1);
        assert_non_null(r.value);
        memcpy(r.value, value->p, value->n);
    }
    c->v = realloc(c->v, (c->n + 1) * sizeof *c->v);
    assert_non_null(c->v);
    c->v[c->n++] = r;
}

static int on_put(void *ctx, struct slv_str key, struct slv_str value) {
    add(ctx, key, &value);
    return 0;
}

static int on_del(void *ctx, struct slv_str key) {
    add(ctx, key, NULL);
    return 0;
}

static int on_commit(void *ctx, uint64_t ticket) {
    struct strongs_node *n = ctx;
    struct strong_commit *c = open_commit(n);
    const uint64_t before_it = n->n_commit > 1 ? n->commit[n->n_commit - 2].at : 0;
    c->ticket = ticket;
    c->at = strongs_now + 1000 * (strongs_sync_us / 4 + strongs_rnd(strongs_sync_us + 1));
    if (c->at <= before_it) c->at = before_it + 1;
    return 0;
}

static size_t record_at(const struct strongs_node *n, const struct strong_record *r) {
    size_t lo = 0, hi = n->n_disk;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        const struct strong_record *m = &n->disk[mid];
        int c = memcmp(m->key, r->key, m->n_key < r->n_key ? m->n_key : r->n_key);
        if (!c) c = m->n_key - r->n_key;
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static void store(struct strongs_node *n, const struct strong_record *r) {
    const size_t i = record_at(n, r);
    const bool there =
        i < n->n_disk && n->disk[i].n_key == r->n_key && !memcmp(n->disk[i].key, r->key, r->n_key);
    if (there) free(n->disk[i].value);
    if (there && !r->value) {
        memmove(n->disk + i, n->disk + i + 1, (n->n_disk - i - 1) * sizeof *n->disk);
        n->n_disk--;
    } else if (there) {
        n->disk[i] = *r;
    } else if (r->value) {
        n->disk = grow(n->disk, n->n_disk, &n->room_disk, sizeof *n->disk);
        memmove(n->disk + i + 1, n->disk + i, (n->n_disk - i) * sizeof *n->disk);
        n->disk[i] = *r;
        n->n_disk++;
    }
}

/* The first transaction is on the disk, or is not and will not be. */
static void end_commit(struct strongs_node *n, bool kept) {
    struct strong_commit c = n->commit[0];
    memmove(n->commit, n->commit + 1, --n->n_commit * sizeof *n->commit);
    for (size_t i = 0; i < c.n; i++) {
        if (kept) store(n, &c.v[i]);
        else free(c.v[i].value);
    }
    free(c.v);
}

void strongs_wipe(uint64_t id) {
    struct strongs_node *n = &strongs_node[id];
    while (n->n_disk)
        free(n->disk[--n->n_disk].value);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static uint64_t on_random(void *ctx) {
    (void)ctx;
    return strongs_rnd(UINT32_MAX) << 32 | strongs_rnd(UINT32_MAX);
}

static void on_event(void *ctx, enum slv_strong_event e, uint64_t id) {
    struct strongs_node *n = ctx;
    (void)id;
    n->events[e]++;
}

static void on_answer(void *ctx, uint64_t call, const struct slv_strong_result *r) {
    const struct strongs_node *n = ctx;
    if (n->id == waiting_node && call == waiting_call) {
        answered = *r;
        is_answered = true;
        if (r->value.n) memcpy(strongs_value, r->value.p, r->value.n);
        answered.value.p = strongs_value;
    } else if (strongs_answer) {
        strongs_answer(n->id, call, r);
    }
}

uint64_t strongs_clock(uint64_t id) {
    const struct strongs_node *n = &strongs_node[id];
    const uint64_t gone = strongs_now - n->born;
    return n->base + gone + (uint64_t)((int64_t)(gone / 1000) * n->ppm / 1000);
}

/* Its clock's time as true time, a little later. */
static uint64_t true_time(const struct strongs_node *n, uint64_t clock) {
    if (clock == UINT64_MAX) return clock;
    if (clock <= n->base) return n->born;
    const double gone = (double)(clock - n->base) * 1e6 / (1e6 + (double)n->ppm);
    return n->born + (uint64_t)gone + 1000;
}

static void tick(struct strongs_node *n) {
    if (!n->s) return;
    const uint64_t next = slv_strong_tick(n->s, strongs_clock(n->id));
    n->next = true_time(n, next);
    if (n->next <= strongs_now) n->next = strongs_now + 1000;
}

void strongs_start(uint64_t id, bool damaged, bool first) {
    struct strongs_node *n = &strongs_node[id];
    struct slv_strong_conf c = conf.node;
    c.id = id;
    c.world = (struct slv_strong_world){on_send,  on_put,    on_del, on_commit, on_random,
                                        on_event, on_answer, n,      NULL};
    n->id = id;
    n->born = strongs_now;
    n->base = strongs_rnd(1000) * 1000 * SMS;
    assert_int_equal(slv_strong_open(&c, &n->s), 0);
    for (size_t i = 0; i < n->n_disk; i++) {
        const struct strong_record *r = &n->disk[i];
        const int rc = slv_strong_load(n->s, (struct slv_str){r->key, r->n_key},
                                       (struct slv_str){r->value, r->n});
        assert_true(!rc || rc == SLV_E_FORMAT);
    }
    uint64_t ids[STRONGS];
    for (unsigned i = 0; i < conf.n; i++)
        ids[i] = i + 1;
    if (first) assert_int_equal(slv_strong_bootstrap(n->s, ids, conf.n), 0);
    assert_int_equal(slv_strong_start(n->s, strongs_clock(id), damaged), 0);
    tick(n);
}

void strongs_crash(uint64_t id) {
    struct strongs_node *n = &strongs_node[id];
    if (!n->s) return;
    slv_strong_close(n->s);
    n->s = NULL;
    size_t lucky = strongs_rnd(2) ? strongs_rnd(n->n_commit + 1) : 0;
    while (n->n_commit) {
        const bool kept = lucky && n->commit[0].ticket;
        if (lucky) lucky--;
        end_commit(n, kept);
    }
}

void strongs_open(const struct strongs_conf *c) {
    conf = *c;
    state = c->seed * 2654435761u + 12345;
    order = 0;
    strongs_now = 1000 * SMS;
    strongs_loss = c->loss;
    strongs_sync_us = c->sync_us;
    strongs_sent = 0;
    memset(strongs_cut, 0, sizeof strongs_cut);
    memset(strongs_node, 0, sizeof strongs_node);
    for (unsigned i = 1; i <= c->n; i++)
        strongs_start(i, false, true);
}

void strongs_close(void) {
    for (unsigned i = 1; i <= STRONGS; i++) {
        struct strongs_node *n = &strongs_node[i];
        strongs_crash(i);
        strongs_wipe(i);
        free(n->disk);
        free(n->commit);
    }
    while (n_air)
        free(air[--n_air].bytes);
    free(air);
    air = NULL;
    room_air = 0;
    strongs_answer = NULL;
    strongs_step = NULL;
}

void strongs_partition(unsigned mask) {
    for (unsigned a = 1; a <= STRONGS; a++)
        for (unsigned b = 1; b <= STRONGS; b++)
            strongs_cut[a][b] = mask && ((mask >> a & 1) != (mask >> b & 1));
}

/* --- time ------------------------------------------------------------------------------------- */

/* What comes next: a packet, a sync or a tick. Its time. */
static uint64_t next_event(struct strongs_node **ret, bool *ret_sync) {
    uint64_t at = n_air ? air[0].at : UINT64_MAX;
    *ret = NULL;
    for (unsigned i = 1; i <= STRONGS; i++) {
        struct strongs_node *n = &strongs_node[i];
        if (!n->s) continue;
        if (n->n_commit && n->commit[0].ticket && n->commit[0].at < at) {
            at = n->commit[0].at;
            *ret = n;
            *ret_sync = true;
        }
        if (n->next < at) {
            at = n->next;
            *ret = n;
            *ret_sync = false;
        }
    }
    return at;
}

void strongs_run(uint64_t until) {
    struct strongs_node *n;
    bool sync = false;
    for (;;) {
        const uint64_t at = next_event(&n, &sync);
        if (at > until) break;
        if (at > strongs_now) strongs_now = at;
        if (!n) {
            const struct packet p = pop();
            n = &strongs_node[p.to];
            if (n->s && !strongs_cut[p.from][p.to])
                slv_strong_receive(n->s, strongs_clock(p.to), p.from,
                                   (struct slv_str){p.bytes, p.n});
            free(p.bytes);
        } else if (sync) {
            const uint64_t ticket = n->commit[0].ticket;
            end_commit(n, true);
            slv_strong_synced(n->s, strongs_clock(n->id), ticket);
        }
        tick(n);
        if (strongs_step) strongs_step();
    }
    if (until != UINT64_MAX) strongs_now = until;
}

uint64_t strongs_leader(void) {
    uint64_t id = 0, term = 0;
    for (unsigned i = 1; i <= STRONGS; i++) {
        const struct slv_strong *s = strongs_node[i].s;
        if (!s || !slv_strong_leads(s) || slv_strong_term(s) < term) continue;
        id = i;
        term = slv_strong_term(s);
    }
    return id;
}

uint64_t strongs_elect(uint64_t within) {
    const uint64_t end = strongs_now + within;
    while (!strongs_leader() && strongs_now < end)
        strongs_run(strongs_now + SMS);
    const uint64_t id = strongs_leader();
    assert_int_not_equal(id, 0);
    return id;
}

static struct slv_strong_result wait_answer(uint64_t id, uint64_t call) {
    const uint64_t end = strongs_now + 60000 * SMS;
    waiting_node = id;
    waiting_call = call;
    is_answered = false;
    tick(&strongs_node[id]);
    while (!is_answered && strongs_now < end)
        strongs_run(strongs_now + SMS / 4);
    waiting_node = 0;
    assert_true(is_answered);
    return answered;
}

struct slv_strong_result strongs_call(uint64_t id, const struct slv_strong_command *c) {
    uint64_t call = 0;
    assert_int_equal(slv_strong_call(strongs_node[id].s, strongs_clock(id), c, &call), 0);
    return wait_answer(id, call);
}

struct slv_strong_result strongs_member(uint64_t id, uint64_t who, enum slv_strong_role role) {
    uint64_t call = 0;
    assert_int_equal(slv_strong_member(strongs_node[id].s, strongs_clock(id), who, role, &call), 0);
    return wait_answer(id, call);
}
