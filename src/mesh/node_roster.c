/* node_roster.c: see node.h. Who is a member: statements (roster.h) in the node's records, told to
 * those who have others, and what follows for members and peers; guests, who have an invitation.
 *
 *     ROSTER (a message): how many, each behind its length, invitations before those who joined
 *     JOIN   (of a guest): the statement that names it
 *
 * A guest is connected and heard of nothing but this; of one that is a member and has not shown
 * what it must, what node_attest.c says. An invitation's use is written into the strong spaces'
 * space 0, key: the invitation, value: the guest's key, where it can be written once; then it is a
 * statement like others.
 *
 * What a revoked member wrote, and members pass on, is taken: each of them had it before it knew,
 * and if some had it and others refused it they would never agree. From itself nothing is taken. */
#include "mesh/node_int.h"
#include "base/mem.h"

#include <string.h>

#define PART ((size_t)128 << 10) /* bytes of statements in a message, and one more */
#define TOLD_NS (1000 * MS)      /* between two tellings of all to a peer */
#define SULK_NS (10000 * MS)     /* for which a guest that told a wrong one is not heard */
#define JOIN_NS (2000 * MS)      /* between two tries to join */
#define JOIN_ASK_MS 8000u        /* for the group to agree on it */

/* --- rights ----------------------------------------------------------------------------------- */

const struct slv_statement *node_about(const struct slv_node *n, uint64_t id) {
    return n->roster ? slv_roster_find(n->roster, id) : NULL;
}

bool node_may_join(const struct slv_node *n, uint64_t id) {
    const struct slv_node_world *w = &n->conf.world;
    const struct slv_statement *s = node_about(n, id);
    return s ? s->kind != SLV_REVOKED : w->may_join(w->ctx, id);
}

bool node_may_write(const struct slv_node *n, uint64_t id, struct slv_str space, uint64_t space_id,
                    struct slv_str key) {
    const struct slv_node_world *w = &n->conf.world;
    const struct slv_statement *s = node_about(n, id);
    return s ? slv_statement_covers(s, space, key) : w->may_write(w->ctx, id, space_id, key);
}

bool node_may_repair(const struct slv_node *n, uint64_t id, uint64_t space_id) {
    const struct slv_node_world *w = &n->conf.world;
    const struct slv_statement *s = node_about(n, id);
    return s ? s->kind != SLV_REVOKED && s->flags & SLV_MAY_REPAIR
             : w->may_repair(w->ctx, id, space_id);
}

bool node_may_vote(const struct slv_node *n, uint64_t id) {
    const struct slv_statement *s = node_about(n, id);
    return !s || (s->kind != SLV_REVOKED && s->flags & SLV_MAY_VOTE);
}

static uint64_t wall_s(const struct slv_node *n) {
    return slv_clock_wall(n->conf.clock) / 1000000000u;
}

bool slv_node_lets_in(const struct slv_node *n, const uint8_t key[SLV_ROSTER_KEY]) {
    const struct slv_statement *s = n->roster ? slv_roster_about(n->roster, key) : NULL;
    if (s && s->kind != SLV_INVITE) return s->kind != SLV_REVOKED;
    return n->roster && slv_roster_is_open(n->roster, wall_s(n));
}

const struct slv_roster *slv_node_roster(const struct slv_node *n) { return n->roster; }

/* --- telling ---------------------------------------------------------------------------------- */

/* Statements of `bytes`, each behind its length, as messages to one peer, or (0) to all. (Never
 * packed: they are signatures, mostly, and to whom this node is a guest they must come all the
 * same.) */
static void send_part(struct slv_node *n, uint64_t peer, uint64_t k, const struct slv_buf *bytes) {
    struct slv_buf m;
    if (!k || bytes->status) return;
    slv_buf_init(&m, SLV_LINK_MESSAGE_MAX);
    slv_buf_addc(&m, MSG_ROSTER);
    slv_write_number(&m, k);
    slv_buf_add(&m, bytes->data, bytes->len);
    const struct slv_str all = {m.data, m.len};
    if (!m.status && !peer) node_spread_all(n, all);
    else if (!m.status && node_message(n, peer, SLV_LANE_REPAIR, all)) n->stats.unsent++;
    slv_buf_fini(&m);
}

/* Who joined by an invitation last: that is not understood without it. */
static void tell_all(struct slv_node *n, uint64_t peer) {
    struct slv_buf b;
    uint64_t k = 0;
    slv_buf_init(&b, SLV_LINK_MESSAGE_MAX);
    for (int turn = 0; turn < 2; turn++) {
        for (size_t i = 0; i < slv_roster_count(n->roster); i++) {
            const struct slv_str bytes = slv_roster_at(n->roster, i);
            struct slv_statement s;
            const uint8_t *sig;
            if (slv_statement_read(bytes, &s, &sig) || (s.kind == SLV_JOINED) != turn) continue;
            slv_write_bytes(&b, bytes.p, bytes.n);
            k++;
            if (b.len < PART) continue;
            send_part(n, peer, k, &b);
            slv_buf_clear(&b);
            k = 0;
        }
    }
    send_part(n, peer, k, &b);
    slv_buf_fini(&b);
}

void node_roster_differs(struct slv_node *n, struct peer *p) {
    if (n->now < p->roster_next) return;
    p->roster_next = n->now + TOLD_NS;
    tell_all(n, p->id);
}

void node_roster_welcome(struct slv_node *n, struct peer *p) {
    p->is_guest = false;
    slv_swim_met(n->swim, n->now, p->id);
    tell_all(n, p->id);
    node_tell_sums(n, p);
}

/* --- what follows ----------------------------------------------------------------------------- */

static void follow(struct slv_node *n, uint64_t id) {
    const struct slv_statement *s = node_about(n, id);
    struct peer *p = node_peer(n, id);
    if (!s) return; /* an invitation */
    if (s->kind != SLV_REVOKED) {
        slv_swim_allow(n->swim, n->now, id);
        if (p && p->link) node_attest_follow(n, p);
    } else if (id != n->conf.id) {
        /* (Its own message may be what is being read: it is cut off when peers are looked at.) */
        if (p) node_shut(n, p);
        n->look_next = n->now;
        /* (no memory: it is not let in again, and in time is taken for dead) */
        if (slv_swim_remove(n->swim, n->now, id)) n->stats.refused++;
    }
    n->swim_next = n->now;
    node_event(n, SLV_NODE_ROSTER, id, (int)s->kind);
}

static int put_statement(struct slv_node *n, struct slv_str bytes) {
    struct slv_statement s;
    const uint8_t *sig;
    char key[1 + SLV_ROSTER_KEY] = {RECORD_ROSTER};
    const int rc = slv_statement_read(bytes, &s, &sig);
    if (rc) return rc;
    memcpy(key + 1, s.key, sizeof s.key);
    return node_put(n, (struct slv_str){key, sizeof key}, bytes);
}

/* (What is said of an invitation is said of who joined by it.) */
static void follow_use(struct slv_node *n, struct slv_str bytes) {
    struct slv_statement s;
    const uint8_t *sig;
    if (slv_statement_read(bytes, &s, &sig)) return;
    const struct slv_statement *use = slv_roster_use(n->roster, s.key);
    if (use) follow(n, slv_node_id_of(n, use->key));
}

/* One that is new is kept, followed and, by the caller, passed on. */
static int take(struct slv_node *n, struct slv_str bytes, bool *ret_new) {
    uint64_t id;
    int rc = slv_roster_add(n->roster, bytes, &id);
    *ret_new = !rc && id;
    if (!*ret_new) return rc;
    rc = put_statement(n, bytes);
    n->has_writes = true;
    if (rc) return rc;
    follow(n, id);
    follow_use(n, bytes);
    return 0;
}

int slv_node_state(struct slv_node *n, uint64_t now, struct slv_str statement) {
    struct slv_buf b;
    bool is_new;
    n->now = now;
    if (!n->roster || n->failed) return SLV_E_USAGE;
    int rc = take(n, statement, &is_new);
    if (rc || !is_new) return rc;
    slv_buf_init(&b, SLV_LINK_MESSAGE_MAX);
    slv_write_bytes(&b, statement.p, statement.n);
    send_part(n, 0, 1, &b);
    slv_buf_fini(&b);
    return 0;
}

/* Also of a member that has not shown what it must: whoever tells them, they are the authority's,
 * and one of them may be what lets it in. */
static bool may_tell(const struct slv_node *n, const struct peer *p) {
    return !p->is_guest || (n->now >= p->roster_next && node_may_join(n, p->id));
}

void node_roster_receive(struct slv_node *n, struct peer *p, struct slv_reader *m) {
    struct slv_buf news;
    uint64_t k = 0;
    if (!may_tell(n, p)) return;
    slv_buf_init(&news, SLV_LINK_MESSAGE_MAX);
    for (uint64_t left = slv_read_number(m, SLV_ROSTER_MAX); left > 0 && !m->bad; left--) {
        const struct slv_str bytes = slv_read_bytes(m, SLV_STATEMENT_MAX);
        bool is_new = false;
        if (m->bad || !n->roster) break;
        const int rc = take(n, bytes, &is_new);
        const bool is_wrong = rc == SLV_E_FORMAT || rc == SLV_E_TRUST;
        n->stats.refused += is_wrong;
        if (is_wrong && p->is_guest) { /* signatures cost time */
            p->roster_next = n->now + SULK_NS;
            break;
        }
        if (!is_new) continue;
        slv_write_bytes(&news, bytes.p, bytes.n);
        k++;
    }
    n->stats.refused += m->bad;
    send_part(n, 0, k, &news);
    slv_buf_fini(&news);
}

/* --- guests ----------------------------------------------------------------------------------- */

static struct node_join *join_of(struct slv_node *n, uint64_t ask) {
    for (size_t i = 0; i < JOINS_MAX; i++)
        if (n->join[i].ask == ask && n->join[i].bytes) return &n->join[i];
    return NULL;
}

static void end_join(struct node_join *j) {
    slv_mem_free(j->bytes);
    *j = (struct node_join){0};
}

static int ask_for(struct slv_node *n, struct node_join *j, enum slv_strong_op op) {
    const struct slv_str invitation = {(const char *)j->invitation, SLV_ROSTER_KEY};
    const struct slv_strong_command c = {
        .op = op, .key = invitation, .value = {(const char *)j->key, SLV_ROSTER_KEY}};
    j->op = op;
    return slv_node_ask(n, n->now, &c, JOIN_ASK_MS, &j->ask);
}

static bool is_invited(const struct slv_node *n, const struct slv_statement *s) {
    const struct slv_statement *i = slv_roster_about(n->roster, s->invitation);
    return i && i->kind == SLV_INVITE && (!i->until || wall_s(n) < i->until);
}

static bool is_sound(const struct slv_node *n, uint64_t guest, struct slv_str bytes,
                     struct slv_statement *ret) {
    const uint8_t *sig;
    return !slv_statement_read(bytes, ret, &sig) && ret->kind == SLV_JOINED &&
           slv_node_id_of(n, ret->key) == guest && is_invited(n, ret) &&
           !slv_roster_check(n->roster, bytes);
}

/* A place for a guest; NULL: there is none, or it is asked about already. */
static struct node_join *free_join(struct slv_node *n, const uint8_t key[SLV_ROSTER_KEY]) {
    struct node_join *j = NULL;
    for (size_t i = 0; i < JOINS_MAX; i++) {
        if (!n->join[i].bytes) j = &n->join[i];
        else if (!memcmp(n->join[i].key, key, SLV_ROSTER_KEY)) return NULL;
    }
    return j;
}

/* The group is asked whether this use is the first. Who is not answered asks again. */
void node_roster_join(struct slv_node *n, struct peer *p, struct slv_reader *m) {
    const struct slv_str bytes = slv_read_bytes(m, SLV_STATEMENT_MAX);
    struct slv_statement s;
    if (n->now < p->roster_next) return; /* signatures cost time */
    p->roster_next = n->now + TOLD_NS;
    if (!n->roster || !slv_reader_done(m) || !is_sound(n, p->id, bytes, &s)) {
        n->stats.refused++;
        return;
    }
    struct node_join *j = free_join(n, s.key);
    if (!j) return;
    j->bytes = slv_mem_strndup(bytes.p, bytes.n);
    j->n = bytes.n;
    memcpy(j->key, s.key, sizeof s.key);
    memcpy(j->invitation, s.invitation, sizeof s.invitation);
    if (j->bytes && ask_for(n, j, SLV_STRONG_CAS)) end_join(j);
}

static void admit(struct slv_node *n, struct node_join *j) {
    if (slv_node_state(n, n->now, (struct slv_str){j->bytes, j->n})) n->stats.refused++;
    end_join(j);
}

bool node_roster_answered(struct slv_node *n, uint64_t ask, const struct slv_strong_result *r) {
    struct node_join *j = join_of(n, ask);
    if (!j) return false;
    const bool same = j->op == SLV_STRONG_GET && r->value.n == SLV_ROSTER_KEY &&
                      !memcmp(r->value.p, j->key, SLV_ROSTER_KEY);
    if (r->status == SLV_STRONG_OK && (j->op == SLV_STRONG_CAS || same)) admit(n, j);
    else if (r->status != SLV_STRONG_CONFLICT || ask_for(n, j, SLV_STRONG_GET)) end_join(j);
    return true;
}

/* As a guest itself: asks some peer, until it is a member. */
uint64_t node_roster_tick(struct slv_node *n) {
    struct slv_buf m;
    if (!n->conf.join.n || node_about(n, n->conf.id)) return UINT64_MAX;
    if (n->now < n->join_next) return n->join_next;
    n->join_next = n->now + JOIN_NS;
    slv_buf_init(&m, SLV_LINK_MESSAGE_MAX);
    slv_buf_addc(&m, MSG_JOIN);
    slv_write_bytes(&m, n->conf.join.p, n->conf.join.n);
    const size_t from = n->n_peer ? (size_t)node_random(n, n->n_peer) : 0;
    for (size_t i = 0; i < n->n_peer && !m.status; i++) {
        const struct peer *p = n->peer[(from + i) % n->n_peer];
        if (p->link && !node_message(n, p->id, SLV_LANE_REPAIR, (struct slv_str){m.data, m.len}))
            break;
    }
    slv_buf_fini(&m);
    return n->join_next;
}

/* --- opening ---------------------------------------------------------------------------------- */

int node_roster_open(struct slv_node *n) {
    const struct slv_node_conf *c = &n->conf;
    if (c->join.n) {
        n->join_bytes = slv_mem_strndup(c->join.p, c->join.n);
        if (!n->join_bytes) return SLV_E_NOMEM;
        n->conf.join.p = n->join_bytes;
    }
    return c->roster ? slv_roster_open(c->roster, &n->roster) : 0;
}

void node_roster_close(struct slv_node *n) {
    for (size_t i = 0; i < JOINS_MAX; i++)
        end_join(&n->join[i]);
    slv_mem_free(n->join_bytes);
    slv_roster_close(n->roster);
}

/* Records come in the order of their keys: one that joined, perhaps before its invitation. */
int node_roster_load(struct slv_node *n, struct slv_str value) {
    uint64_t id;
    if (!n->roster) return 0;
    const int rc = slv_roster_add(n->roster, value, &id);
    if (rc == SLV_E_NOENT) return node_later(n, value);
    return rc == SLV_E_TRUST || rc == SLV_E_BUSY ? 0 : rc; /* of another authority */
}

int node_roster_start(struct slv_node *n) {
    struct slv_reader r = slv_reader_of(n->later.data, n->later.len);
    uint64_t id;
    while (n->roster && slv_reader_left(&r))
        if (slv_roster_add(n->roster, slv_read_bytes(&r, SLV_STATEMENT_MAX), &id) == SLV_E_NOMEM)
            return SLV_E_NOMEM;
    slv_buf_fini(&n->later);
    for (size_t i = 0; n->roster && i < slv_roster_count(n->roster); i++) {
        struct slv_statement s;
        const uint8_t *sig;
        if (slv_statement_read(slv_roster_at(n->roster, i), &s, &sig)) continue;
        id = slv_node_id_of(n, s.key);
        if (slv_roster_about(n->roster, s.key)->kind == SLV_REVOKED && id != n->conf.id &&
            slv_swim_remove(n->swim, n->now, id))
            return SLV_E_NOMEM;
    }
    return 0;
}
