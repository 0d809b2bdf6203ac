/* node_attest.c: see node.h. Members whose statement has a condition (roster.h): they are guests
 * until they have shown evidence for a nonce of this node's, and this node shows its own to those
 * who ask.
 *
 *     ATTEST   (a message): nonce (32)
 *     EVIDENCE (its answer): that nonce, evidence as bytes (none: there is none to be had)
 *
 *                       no answer, or a wrong one
 *     up, or a new statement --> asked --> failed --+ asked again after RETRY_NS
 *                                  |  ^-------------+
 *                                  v
 *                                shown, heard --+ asked again after conf.attest_ms, and heard
 *                                  ^------------+ meanwhile
 *
 * The two of an association do this each by itself: each may have a condition for the other, and
 * neither waits for the other. The association has proved the peer's key, and evidence names it.
 *
 * What a peer can do. It is asked with one nonce at a time, drawn for this association, and one
 * answer to it is judged: a signature to check, once an association and RETRY_NS. It makes
 * this node ask its TPM once in QUOTE_NS, with the last nonce that it sent; the TPM is asked for
 * one peer at a time, whoever was served longest ago first. Who is no member is not answered.
 *
 * Nothing else of a guest is heard but statements, and it is told nothing else.
 *
 * A condition is about associations, not writes: see roster.h. */
#include "mesh/node_int.h"

#include <stdio.h>
#include <string.h>

#define ANSWER_NS (60000 * MS) /* until when evidence must come: many may ask one TPM */
#define RETRY_NS (60000 * MS)  /* from a failure until it is asked again */
#define SEND_NS (1000 * MS)    /* from a message that could not be sent until the next try */
#define QUOTE_NS (5000 * MS)   /* between two quotes for one peer */
#define TELL_NS (600000 * MS)  /* between two events that say the same of a peer */

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* NULL: it has none. */
static const struct slv_condition *condition_of(const struct slv_node *n, uint64_t id) {
    const struct slv_statement *s = node_about(n, id);
    return s && s->kind != SLV_REVOKED && s->is_conditional ? &s->condition : NULL;
}

bool node_attest_wants(const struct slv_node *n, uint64_t id) {
    return condition_of(n, id) != NULL;
}

void slv_node_attest(const struct slv_node *n, uint64_t id, struct slv_node_attest *ret) {
    const struct peer *p = node_peer(n, id);
    *ret = (struct slv_node_attest){.is_wanted = id != n->conf.id && node_attest_wants(n, id),
                                    .why = ""};
    if (!ret->is_wanted) return;
    ret->is_shown = p && p->link && p->shown.is_shown;
    if (!ret->is_shown && p) ret->why = p->shown.why;
    if (!ret->is_shown && !*ret->why)
        ret->why = p && p->link ? "it was asked, and has not answered yet" : "it is not connected";
}

/* --- asking ----------------------------------------------------------------------------------- */

static void soon(struct slv_node *n) { n->attest_next = n->now; }

/* (The same again and again is an event now and then: a peer may come back every second.) */
static void tell_event(struct slv_node *n, struct peer *p, bool is_shown, const char *why) {
    const bool same = !strncmp(p->shown.why, why, sizeof p->shown.why - 1);
    const bool told = same && p->shown.told && n->now - p->shown.told < TELL_NS;
    snprintf(p->shown.why, sizeof p->shown.why, "%s", why);
    if (told) return;
    p->shown.told = n->now;
    node_event(n, SLV_NODE_ATTESTED, p->id, is_shown);
}

static void fail(struct slv_node *n, struct peer *p, const char *why) {
    n->stats.unattested++;
    p->shown.is_asked = p->shown.is_shown = false;
    p->shown.due = n->now + RETRY_NS;
    node_shut(n, p);
    tell_event(n, p, false, why);
}

static void pass(struct slv_node *n, struct peer *p) {
    const bool was = p->shown.is_shown;
    p->shown.is_asked = false;
    p->shown.is_shown = true;
    p->shown.due = n->now + n->conf.attest_ms * MS;
    if (p->is_guest) node_roster_welcome(n, p);
    if (was) return;
    p->shown.told = 0;
    tell_event(n, p, true, "");
}

static void draw(struct slv_node *n, uint8_t ret[SLV_NODE_NONCE]) {
    const struct slv_node_world *w = &n->conf.world;
    for (size_t i = 0; i < SLV_NODE_NONCE; i += sizeof(uint64_t)) {
        const uint64_t v = w->random(w->ctx);
        memcpy(ret + i, &v, sizeof v);
    }
}

static int send(struct slv_node *n, const struct peer *p, unsigned kind,
                const uint8_t nonce[SLV_NODE_NONCE], const struct slv_str *evidence) {
    struct slv_buf m;
    slv_buf_init(&m, SLV_NODE_EVIDENCE_MAX + 64);
    slv_buf_addc(&m, (char)kind);
    slv_buf_add(&m, (const char *)nonce, SLV_NODE_NONCE);
    if (evidence) slv_write_bytes(&m, evidence->p, evidence->n);
    const int rc = m.status
                       ? m.status
                       : node_message(n, p->id, SLV_LANE_REPAIR, (struct slv_str){m.data, m.len});
    slv_buf_fini(&m);
    return rc;
}

static void challenge(struct slv_node *n, struct peer *p) {
    draw(n, p->shown.nonce);
    p->shown.is_asked = !send(n, p, MSG_ATTEST, p->shown.nonce, NULL);
    p->shown.due = n->now + (p->shown.is_asked ? ANSWER_NS : SEND_NS);
}

/* When there is something to do about it next. */
static uint64_t look_at(struct slv_node *n, struct peer *p) {
    if (!p->link || !node_attest_wants(n, p->id)) return UINT64_MAX;
    if (n->now < p->shown.due) return p->shown.due;
    if (p->shown.is_asked) fail(n, p, "it has not answered");
    else challenge(n, p);
    return p->shown.due;
}

void node_attest_begin(struct slv_node *n, struct peer *p) {
    p->shown.is_asked = p->shown.is_shown = false;
    p->shown.due = n->now;
    p->asked.waits = p->asked.is_quoted = false;
    soon(n);
}

void node_attest_follow(struct slv_node *n, struct peer *p) {
    p->shown.is_asked = p->shown.is_shown = false;
    p->shown.due = n->now;
    if (node_attest_wants(n, p->id)) node_shut(n, p);
    else if (p->is_guest) node_roster_welcome(n, p);
    soon(n);
}

static void on_evidence(struct slv_node *n, struct peer *p, struct slv_reader *m) {
    const struct slv_node_world *w = &n->conf.world;
    const struct slv_condition *c = condition_of(n, p->id);
    const struct slv_str nonce = slv_read_raw(m, SLV_NODE_NONCE),
                         evidence = slv_read_bytes(m, SLV_NODE_EVIDENCE_MAX);
    struct slv_err err = {0};
    if (!slv_reader_done(m) || !c || !p->shown.is_asked ||
        memcmp(nonce.p, p->shown.nonce, SLV_NODE_NONCE) != 0) {
        n->stats.refused++; /* or it is of before, and too late */
        return;
    }
    soon(n);
    if (!evidence.n) fail(n, p, "it has no evidence: no TPM, or was started without --attest");
    else if (!w->attested) fail(n, p, "this node cannot judge evidence");
    else if (w->attested(w->ctx, node_about(n, p->id)->key, p->shown.nonce, evidence, c, &err))
        fail(n, p, err.msg);
    else pass(n, p);
}

/* --- being asked ------------------------------------------------------------------------------ */

static void on_asked(struct slv_node *n, struct peer *p, struct slv_reader *m) {
    const struct slv_str nonce = slv_read_raw(m, SLV_NODE_NONCE);
    if (!slv_reader_done(m) || !node_may_join(n, p->id)) {
        n->stats.refused++;
        return;
    }
    memcpy(p->asked.nonce, nonce.p, SLV_NODE_NONCE);
    p->asked.waits = true;
    soon(n);
}

/* (Where there is no room for it, it is made once more.) */
static void show(struct slv_node *n, struct peer *p, const uint8_t nonce[SLV_NODE_NONCE],
                 struct slv_str evidence) {
    if (send(n, p, MSG_EVIDENCE, nonce, &evidence)) p->asked.waits = true;
}

/* Who waits, and was served longest ago. */
static struct peer *whose_turn(const struct slv_node *n) {
    struct peer *best = NULL;
    for (size_t i = 0; i < n->n_peer; i++) {
        struct peer *p = n->peer[i];
        if (p->link && p->asked.waits && (!best || p->asked.next < best->asked.next)) best = p;
    }
    return best;
}

static uint64_t answer(struct slv_node *n) {
    static const struct slv_str none = {"", 0};
    const struct slv_node_world *w = &n->conf.world;
    struct peer *p;
    while (!n->is_quoting && (p = whose_turn(n)) != NULL) {
        if (p->asked.next > n->now) return p->asked.next;
        p->asked.next = n->now + QUOTE_NS;
        p->asked.waits = false;
        if (!w->quote) {
            show(n, p, p->asked.nonce, none);
            continue;
        }
        p->asked.is_quoted = n->is_quoting = true;
        n->quote_peer = p->id;
        memcpy(n->quote_nonce, p->asked.nonce, SLV_NODE_NONCE);
        w->quote(w->ctx, p->id, n->quote_nonce);
    }
    return UINT64_MAX;
}

/* (An association that has begun since then has other nonces.) */
void slv_node_quoted(struct slv_node *n, uint64_t now, uint64_t peer,
                     const uint8_t nonce[SLV_NODE_NONCE], struct slv_str evidence) {
    struct peer *p = node_peer(n, peer);
    n->now = now;
    if (n->failed || !n->is_quoting || peer != n->quote_peer ||
        memcmp(nonce, n->quote_nonce, SLV_NODE_NONCE) != 0)
        return;
    n->is_quoting = false;
    soon(n);
    if (!p || !p->link || !p->asked.is_quoted) return;
    p->asked.is_quoted = false;
    show(n, p, nonce, evidence);
}

/* --- both ------------------------------------------------------------------------------------- */

void node_attest_receive(struct slv_node *n, struct peer *p, uint64_t kind, struct slv_reader *m) {
    if (kind == MSG_ATTEST) on_asked(n, p, m);
    else on_evidence(n, p, m);
}

uint64_t node_attest_tick(struct slv_node *n) {
    uint64_t next = UINT64_MAX;
    if (n->now < n->attest_next) return n->attest_next;
    for (size_t i = 0; i < n->n_peer && n->roster; i++)
        next = least(next, look_at(n, n->peer[i]));
    next = least(next, answer(n));
    n->attest_next = next;
    return next;
}
