/* node_member.c: see node.h. Members: how their records are signed and checked, what swim asks of a
 * node, and which records the store keeps, so that a node that starts again finds everybody it knew
 * and not only those that it was told of on its command line: whoever it was told of may be dead.
 *
 *     record: 'M', id (8): incarnation, flags (1: taken for dead), bytes record, signature (64)
 *
 * Some hundred records are enough to find the others by. They are hints: each is signed by whom it
 * is about, and one that is lost or old does no harm. So they are written now and then; the first
 * at once, for who dies young and was told of nobody would be found by nobody. */
#include "mesh/node_int.h"
#include "base/mem.h"

#define KEPT_MAX 256u
#define KEEP_NS (250 * MS)   /* between two times that they are written */
#define RISE_NS (10000 * MS) /* and of one that says the same again: it may do so for ever */
#define FLAG_DEAD 1u

/* --- records ---------------------------------------------------------------------------------- */

static void record_bytes(const struct slv_swim_record *r, struct slv_buf *b) {
    slv_buf_init(b, 1024);
    slv_buf_adds(b, "selvage mesh member 1");
    slv_write_id(b, r->id);
    slv_write_number(b, r->incarnation);
    slv_write_number(b, r->left);
    slv_buf_add(b, r->data.p, r->data.n);
}

static bool verify_record(void *ctx, const struct slv_swim_record *r) {
    const struct slv_node *n = ctx;
    struct slv_buf b;
    record_bytes(r, &b);
    const bool good = !b.status && node_may_join(n, r->id) &&
                      n->conf.trust->check(n->conf.trust->ctx, r->id,
                                           (struct slv_str){b.data, b.len}, r->signature);
    slv_buf_fini(&b);
    return good;
}

static int sign_record(void *ctx, const struct slv_swim_record *r,
                       uint8_t ret[SLV_SWIM_SIGNATURE]) {
    const struct slv_node *n = ctx;
    struct slv_buf b;
    record_bytes(r, &b);
    const int rc =
        b.status ? b.status
                 : n->conf.trust->sign(n->conf.trust->ctx, (struct slv_str){b.data, b.len}, ret);
    slv_buf_fini(&b);
    return rc;
}

/* --- what swim asks for ----------------------------------------------------------------------- */

static bool swim_send(void *ctx, uint64_t to, const void *p, size_t len) {
    return node_datagram(ctx, to, (struct slv_str){p, len}, slv_swim_asks(p, len));
}

static uint64_t swim_random(void *ctx) {
    const struct slv_node_world *w = &((struct slv_node *)ctx)->conf.world;
    return w->random(w->ctx);
}

static void on_change(void *ctx, uint64_t id, enum slv_swim_state state, uint64_t incarnation) {
    struct slv_node *n = ctx;
    (void)incarnation;
    if (id == n->conf.id) return;
    n->members_changed = true;
    if (state == SLV_SWIM_ALIVE) node_is_back(n, id);
    node_event(n, SLV_NODE_MEMBER, id, (int)state);
}

static void on_isolated(void *ctx, bool isolated) {
    node_event(ctx, SLV_NODE_ISOLATED, ((struct slv_node *)ctx)->conf.id, isolated);
}

int node_member_open(struct slv_node *n) {
    struct slv_swim_conf c = n->conf.swim;
    const size_t mtu = n->conf.link.mtu_min ? n->conf.link.mtu_min : LINK_MTU;
    /* (a message that is longer than a link's datagrams would never arrive) */
    c.mtu = (uint32_t)(mtu - SLV_LINK_DATAGRAM_HEAD);
    c.id = n->conf.id;
    c.incarnation = n->incarnation;
    c.record = n->conf.record;
    c.ctx = n;
    c.verify = verify_record;
    c.sign = sign_record;
    c.send = swim_send;
    c.random = swim_random;
    c.on_change = on_change;
    c.on_isolated = on_isolated;
    return slv_swim_open(&c, n->now, &n->swim);
}

/* --- what is kept ----------------------------------------------------------------------------- */

int node_member_load(struct slv_node *n, struct slv_str key, struct slv_str value) {
    slv_write_bytes(&n->members, key.p + 1, key.n - 1);
    slv_write_bytes(&n->members, value.p, value.n);
    return n->members.status;
}

static size_t kept_at(const struct slv_node *n, uint64_t id) {
    size_t lo = 0, hi = n->n_kept;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (n->kept[mid].id < id) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static bool is_kept(const struct slv_node *n, size_t at, uint64_t id) {
    return at < n->n_kept && n->kept[at].id == id;
}

/* NULL: there are enough, or there is no memory. */
static struct node_kept *kept_of(struct slv_node *n, uint64_t id) {
    const size_t at = kept_at(n, id);
    void *v = n->kept;
    if (is_kept(n, at, id)) return &n->kept[at];
    const int rc = slv_mem_grow(&v, n->n_kept, &n->room_kept, sizeof *n->kept, KEPT_MAX);
    n->kept = v;
    if (rc) return NULL;
    memmove(n->kept + at + 1, n->kept + at, (n->n_kept - at) * sizeof *n->kept);
    n->n_kept++;
    n->kept[at] = (struct node_kept){.id = id};
    return &n->kept[at];
}

static int recall(struct slv_node *n, struct slv_str key, struct slv_str value) {
    struct slv_reader k = slv_reader_of(key.p, key.n), v = slv_reader_of(value.p, value.n);
    struct slv_swim_record r = {.id = slv_read_id(&k)};
    r.incarnation = slv_read_number(&v, SLV_SWIM_INCARNATION_MAX);
    const bool is_dead = slv_read_number(&v, FLAG_DEAD);
    r.data = slv_read_bytes(&v, SLV_SWIM_RECORD_MAX);
    r.signature = (const uint8_t *)slv_read_raw(&v, SLV_SWIM_SIGNATURE).p;
    const bool good = slv_reader_done(&k) && slv_reader_done(&v);
    struct node_kept *kept = kept_of(n, r.id);
    if (kept) *kept = (struct node_kept){r.id, r.incarnation, 0, is_dead};
    if (!good) return 0; /* a hint that is none: it goes, or another comes in its place */
    /* (One that is not taken is no longer a member, and will be kept no longer.) */
    const int rc = r.id == n->conf.id ? 0 : slv_swim_recall(n->swim, n->now, &r, is_dead);
    return rc == SLV_E_NOMEM ? rc : 0;
}

int node_member_start(struct slv_node *n) {
    struct slv_reader r = slv_reader_of(n->members.data, n->members.len);
    int rc = 0;
    while (slv_reader_left(&r) && !rc) {
        const struct slv_str key = slv_read_bytes(&r, SIZE_MAX);
        rc = recall(n, key, slv_read_bytes(&r, SIZE_MAX));
    }
    slv_buf_fini(&n->members);
    n->members_changed = true;
    return rc;
}

static struct slv_str key_of(uint64_t id, struct slv_buf *b) {
    slv_buf_init(b, 16);
    slv_buf_addc(b, RECORD_MEMBER);
    slv_write_id(b, id);
    return (struct slv_str){b->data, b->len};
}

static bool is_worth_keeping(const struct slv_swim_member *m) {
    return m->state <= SLV_SWIM_DEAD && m->record.n;
}

static bool is_put_off(struct slv_node *n, const struct node_kept *kept,
                       const struct node_kept *want) {
    const uint64_t at = kept->at + RISE_NS;
    if (!kept->at || kept->is_dead != want->is_dead || n->now >= at) return false;
    if (!n->keep_again || at < n->keep_again) n->keep_again = at;
    return true;
}

/* Whether it is put. A failure fails the node. */
static bool put_member(struct slv_node *n, const struct slv_swim_member *m) {
    const struct node_kept want = {m->id, m->incarnation, n->now, m->state == SLV_SWIM_DEAD};
    struct node_kept *kept = kept_of(n, m->id);
    struct slv_buf k, v;
    if (!kept || (kept->incarnation == want.incarnation && kept->is_dead == want.is_dead))
        return false;
    if (is_put_off(n, kept, &want)) return false;
    const struct slv_str key = key_of(m->id, &k);
    slv_buf_init(&v, SLV_SWIM_RECORD_MAX + SLV_SWIM_SIGNATURE + 32);
    slv_write_number(&v, want.incarnation);
    slv_write_number(&v, want.is_dead ? FLAG_DEAD : 0);
    slv_write_bytes(&v, m->record.p, m->record.n);
    slv_buf_add(&v, (const char *)m->signature, SLV_SWIM_SIGNATURE);
    const bool is_put =
        !k.status && !v.status && !node_put(n, key, (struct slv_str){v.data, v.len});
    if (is_put) *kept = want;
    slv_buf_fini(&k);
    slv_buf_fini(&v);
    return is_put;
}

static bool drop_others(struct slv_node *n) {
    const size_t before = n->n_kept;
    size_t left = 0;
    for (size_t i = 0; i < n->n_kept; i++) {
        struct slv_swim_member m;
        struct slv_buf b;
        const bool is_known = !slv_swim_find(n->swim, n->kept[i].id, &m);
        if (is_known && is_worth_keeping(&m)) {
            n->kept[left++] = n->kept[i];
            continue;
        }
        const struct slv_str key = key_of(n->kept[i].id, &b);
        if (b.status || node_del(n, key)) n->kept[left++] = n->kept[i];
        slv_buf_fini(&b);
    }
    n->n_kept = left;
    return left != before;
}

uint64_t node_member_tick(struct slv_node *n) {
    if (n->keep_again && n->now >= n->keep_again) {
        n->members_changed = true;
        n->keep_again = 0;
    }
    const uint64_t again = n->keep_again ? n->keep_again : UINT64_MAX;
    if (!n->members_changed) return again;
    if (n->now < n->keep_next) return n->keep_next < again ? n->keep_next : again;
    n->members_changed = false;
    bool wrote = drop_others(n);
    for (size_t i = 0; i < slv_swim_count(n->swim); i++) {
        struct slv_swim_member m;
        slv_swim_at(n->swim, i, &m);
        if (m.id != n->conf.id && is_worth_keeping(&m) && put_member(n, &m)) wrote = true;
    }
    if (wrote) n->keep_next = n->now + KEEP_NS;
    return n->keep_again ? n->keep_again : UINT64_MAX;
}

void node_member_close(struct slv_node *n) {
    slv_buf_fini(&n->members);
    slv_mem_free(n->kept);
    slv_swim_close(n->swim);
}

/* --- who there should be ---------------------------------------------------------------------- */

bool node_next_member(const struct slv_node *n, size_t *i, uint64_t *ret) {
    const struct slv_node_world *w = &n->conf.world;
    const size_t named = n->roster ? slv_roster_count(n->roster) : 0;
    while (*i < named) {
        struct slv_statement s;
        const uint8_t *sig;
        if (slv_statement_read(slv_roster_at(n->roster, (*i)++), &s, &sig)) continue;
        *ret = slv_node_id_of(n, s.key);
        if (s.kind != SLV_INVITE && node_about(n, *ret) && node_may_join(n, *ret)) return true;
    }
    while (w->member && w->member(w->ctx, *i - named, ret)) {
        ++*i;
        if (!node_about(n, *ret)) return true;
    }
    return false;
}

bool slv_node_is_alone(const struct slv_node *n) {
    struct slv_swim_counters c;
    uint64_t member;
    if (!n->swim) return false;
    slv_swim_count_all(n->swim, &c);
    if (c.isolated) return true;
    if (c.members[SLV_SWIM_ALIVE] + c.members[SLV_SWIM_SUSPECT] > 1) return false;
    for (size_t i = 0; node_next_member(n, &i, &member);)
        if (member != n->conf.id) return true;
    return false;
}
