/* strong_snap.c: the core's state machine, and snapshots of it: taken when the log is long, kept as
 * one block that several may send, sent a piece at a time, and put together. See strong.h.
 *
 * The core has no way to send a snapshot in pieces, and copies what it is given: it gets empty
 * ones, and the bytes go from here. Pieces are wanted in order; who puts them together says up to
 * where he has them, so that he may begin anew after a crash. */
#include "mesh/strong_int.h"

#define GIVE_UP_NS (30000 * MS)
#define AGAIN_NS (500 * MS)

struct blob *strong_blob_hold(struct blob *b) {
    b->refs++;
    return b;
}

void strong_blob_drop(struct blob *b) {
    if (!b || --b->refs) return;
    slv_mem_free(b->bytes);
    slv_mem_free(b);
}

/* --- the state machine ------------------------------------------------------------------------ */

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result) {
    struct slv_strong *s = fsm->data;
    struct slv_reader r = slv_reader_of(buf->base, buf->len);
    struct slv_strong_command c = {.op = (enum slv_strong_op)STRONG_NOP};
    if (!strong_command_read(&r, &c)) c.op = (enum slv_strong_op)STRONG_NOP;
    if (strong_state_apply(&s->state, s->raft.last_applied + 1, s->now, &c, &s->result)) {
        strong_fail(s);
        return RAFT_NOMEM;
    }
    *result = &s->result;
    return 0;
}

/* Entries that stay behind a snapshot, for those who are a little late: a quarter of the most. */
static unsigned trailing(const struct slv_strong *s) {
    size_t bytes = 0, n = 0;
    for (uint64_t i = s->raft.last_applied; i >= s->disk_first && i - s->disk_first < s->n_size;
         i--, n++) {
        bytes += s->size[i - s->disk_first];
        if (bytes > s->conf.log_max / 4) break;
        if (!i) break;
    }
    return n ? (unsigned)n : 1;
}

static struct blob *take(struct slv_strong *s) {
    struct blob *b = slv_mem_calloc(1, sizeof *b);
    struct slv_buf out;
    if (!b) return NULL;
    b->refs = 1;
    b->index = s->raft.last_applied;
    b->term = strong_term_at(s, b->index);
    b->conf_index = s->raft.configuration_index;
    slv_buf_init(&out, STRONG_SNAPSHOT_MAX);
    strong_state_write(&s->state, &out);
    b->bytes = slv_buf_take(&out, &b->n);
    slv_buf_fini(&out);
    if (!b->bytes || !strong_members_of(&s->raft.configuration, &b->members)) {
        strong_blob_drop(b);
        return NULL;
    }
    return b;
}

/* Not while members are uncommitted: they would be in it, and the core could not take them back. */
static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n) {
    struct slv_strong *s = fsm->data;
    if (s->raft.configuration_uncommitted_index || s->snap_next) return RAFT_BUSY;
    struct raft_buffer *none = raft_calloc(1, sizeof *none);
    if (none) s->snap_next = take(s);
    if (!s->snap_next) {
        raft_free(none);
        return RAFT_BUSY; /* it asks again */
    }
    raft_set_snapshot_trailing(&s->raft, trailing(s));
    s->stats.snapshots++;
    *bufs = none;
    *n = 1;
    return 0;
}

/* What was read before the core was told of it. */
static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf) {
    struct slv_strong *s = fsm->data;
    raft_free(buf->base);
    if (!s->has_next) return RAFT_MALFORMED;
    strong_state_fini(&s->state);
    s->state = s->next;
    s->next = (struct strong_state){0};
    s->has_next = false;
    s->state.changed = strong_watch_changed;
    s->state.ctx = s;
    for (size_t i = 0; i < s->state.n_lease; i++)
        s->state.lease[i].since = s->now;
    if (s->state.lead_ms) strong_call_lease_seen(s, s->state.lead_ms);
    strong_watch_compact(s, s->snap->index);
    return 0;
}

void strong_snap_init(struct slv_strong *s) {
    s->fsm = (struct raft_fsm){.version = 1,
                               .data = s,
                               .apply = fsm_apply,
                               .snapshot = fsm_snapshot,
                               .restore = fsm_restore};
}

/* The core counts entries; what matters is bytes. */
void strong_snap_tune(struct slv_strong *s) {
    raft_set_snapshot_threshold(&s->raft, s->log_bytes > s->conf.log_max ? 16 : UINT32_MAX);
}

/* --- sending ---------------------------------------------------------------------------------- */

static struct transfer *find(struct slv_strong *s, uint64_t peer) {
    for (size_t i = 0; i < s->n_transfer; i++)
        if (s->transfer[i].peer == peer) return &s->transfer[i];
    return NULL;
}

static void stop(struct slv_strong *s, struct transfer *t) {
    strong_blob_drop(t->blob);
    *t = s->transfer[--s->n_transfer];
}

/* As many pieces as may be under way. */
static void send_pieces(struct slv_strong *s, struct transfer *t) {
    struct strong_msg m = {.kind = STRONG_PIECE,
                           .term = s->raft.current_term,
                           .index = t->blob->index,
                           .index_term = t->blob->term,
                           .commit = t->blob->conf_index,
                           .members = t->blob->members,
                           .size = t->blob->n};
    while (t->sent < t->blob->n && t->sent - t->acked < WINDOW * SLV_STRONG_PIECE_MAX) {
        const uint64_t left = t->blob->n - t->sent;
        m.at = t->sent;
        m.bytes.p = t->blob->bytes + t->sent;
        m.bytes.n = left < SLV_STRONG_PIECE_MAX ? (size_t)left : SLV_STRONG_PIECE_MAX;
        strong_send(s, t->peer, &m, s->vote_ticket);
        t->sent += m.bytes.n;
    }
    t->at = s->now + PIECE_NS;
}

/* One that gets on is not replaced by a later one. */
int strong_snap_send(struct slv_strong *s, uint64_t peer) {
    struct transfer *t = find(s, peer);
    if (!s->snap) return SLV_E_NOENT;
    if (t && (t->blob == s->snap || t->acked)) return 0;
    if (t) stop(s, t);
    void *p = s->transfer;
    const int rc = slv_mem_grow(&p, s->n_transfer, &s->room_transfer, sizeof *s->transfer,
                                2 * SLV_STRONG_MEMBERS_MAX);
    s->transfer = p;
    if (rc) return rc;
    t = &s->transfer[s->n_transfer++];
    *t = (struct transfer){.peer = peer, .blob = strong_blob_hold(s->snap), .heard = s->now};
    send_pieces(s, t);
    return 0;
}

void strong_snap_acked(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    struct transfer *t = find(s, from);
    if (!t || m->index != t->blob->index || m->index_term != t->blob->term || m->at > t->blob->n)
        return;
    t->heard = s->now;
    if (m->at == t->acked) return; /* what is lost comes again in time */
    if (m->at == t->blob->n) {     /* its word that it is installed comes by way of the core */
        t->acked = t->sent = m->at;
        t->at = s->now + AGAIN_NS;
        return;
    }
    if (m->at < t->acked) t->sent = m->at;
    t->acked = m->at;
    if (t->sent < t->acked) t->sent = t->acked;
    send_pieces(s, t);
}

/* Whether the core still waits for it to be installed. */
static bool is_wanted(const struct slv_strong *s, uint64_t peer) {
    const struct raft *r = &s->raft;
    for (unsigned k = 0; r->state == RAFT_LEADER && k < r->configuration.n; k++)
        if (r->configuration.servers[k].id == peer)
            return r->leader_state.progress[k].snapshot_index != 0;
    return false;
}

uint64_t strong_snap_tick(struct slv_strong *s) {
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < s->n_transfer;) {
        struct transfer *t = &s->transfer[i];
        const bool done = t->acked == t->blob->n;
        if (s->now - t->heard > GIVE_UP_NS || (done && !is_wanted(s, t->peer))) {
            stop(s, t);
            continue;
        }
        if (s->now >= t->at) {
            if (done) t->acked = 0; /* its word was lost: it says so again, at the first piece */
            t->sent = t->acked;
            send_pieces(s, t);
        }
        if (t->at < next) next = t->at;
        i++;
    }
    return next;
}

void strong_snap_stop(struct slv_strong *s) {
    while (s->n_transfer)
        stop(s, &s->transfer[0]);
}

/* --- putting together ------------------------------------------------------------------------- */

static void want(struct slv_strong *s, uint64_t to, const struct strong_msg *m, uint64_t at) {
    const struct strong_msg out = {
        .kind = STRONG_PIECE_RESULT, .index = m->index, .index_term = m->index_term, .at = at};
    strong_send(s, to, &out, strong_gate(s));
}

/* To the core; false: not now. */
static bool install(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    const struct raft *r = &s->raft;
    struct raft_message msg = {.type = RAFT_IO_INSTALL_SNAPSHOT};
    struct raft_install_snapshot *a = &msg.install_snapshot;
    const uint64_t have = strong_term_at(s, m->index);
    const bool has = r->log.snapshot.last_index >= m->index || (have && have >= m->index_term);
    if (s->n_waiting || r->snapshot.put.data || r->snapshot.pending.term || s->snap_next)
        return false;
    if (!has && m->index <= r->commit_index) return false;
    if (!has) {
        strong_state_fini(&s->next);
        s->has_next = false;
        if (strong_state_read((struct slv_str){s->in->bytes, s->in->n}, &s->next)) return false;
        if (s->next.index > m->index) {
            strong_state_fini(&s->next);
            return false;
        }
        s->has_next = true;
    }
    *a = (struct raft_install_snapshot){.term = m->term,
                                        .last_index = m->index,
                                        .last_term = m->index_term,
                                        .conf_index = m->commit};
    if (strong_members_to_raft(&m->members, &a->conf)) return false;
    if (s->matched_term != m->term) s->matched = 0;
    s->matched_term = m->term;
    if (s->matched < m->index) s->matched = m->index;
    if (!has) {
        s->snap_next = s->in;
        s->in = NULL;
        s->stats.installed++;
    }
    strong_deliver(s, from, &msg);
    if (s->snap_next) { /* it was not taken after all */
        strong_blob_drop(s->snap_next);
        s->snap_next = NULL;
        strong_state_fini(&s->next);
        s->has_next = false;
    }
    return true;
}

static bool begin(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    struct blob *b = slv_mem_calloc(1, sizeof *b);
    if (!b) return false;
    strong_blob_drop(s->in);
    s->in = NULL;
    b->refs = 1;
    b->index = m->index;
    b->term = m->index_term;
    b->conf_index = m->commit;
    b->members = m->members;
    b->n = (size_t)m->size;
    b->bytes = slv_mem_alloc(b->n);
    if (!b->bytes) {
        strong_blob_drop(b);
        return false;
    }
    s->in = b;
    s->in_from = from;
    s->in_at = 0;
    return true;
}

static bool same_members(const struct strong_members *a, const struct strong_members *b) {
    if (a->n != b->n) return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (a->v[i].id != b->v[i].id || a->v[i].role != b->v[i].role) return false;
    return true;
}

void strong_snap_piece(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    const struct raft *r = &s->raft;
    if (m->term < r->current_term || (m->term == r->current_term && r->state == RAFT_LEADER)) {
        s->stats.guarded++;
        return;
    }
    const struct blob *b = s->in;
    const bool same = b && s->in_from == from && b->index == m->index && b->term == m->index_term &&
                      b->n == m->size && b->conf_index == m->commit &&
                      same_members(&b->members, &m->members);
    if (r->log.snapshot.last_index >= m->index) { /* installed already: the core says so */
        if (!s->n_waiting && install(s, from, m)) want(s, from, m, m->size);
        return;
    }
    if (!same && (m->at || !begin(s, from, m))) { /* this node was down in between */
        want(s, from, m, 0);
        return;
    }
    if (m->at == s->in_at) {
        memcpy(s->in->bytes + s->in_at, m->bytes.p, m->bytes.n);
        s->in_at += m->bytes.n;
    }
    if (s->in_at < s->in->n) {
        want(s, from, m, s->in_at);
        return;
    }
    if (!install(s, from, m)) {
        s->stats.guarded++;
        /* (its last piece is sent until it can be taken; bytes that are none are let go) */
        if (!s->n_waiting && !s->snap_next) {
            strong_blob_drop(s->in);
            s->in = NULL;
        }
        return;
    }
    want(s, from, m, m->size);
    strong_blob_drop(s->in);
    s->in = NULL;
}

void strong_snap_free(struct slv_strong *s) {
    strong_snap_stop(s);
    slv_mem_free(s->transfer);
    strong_blob_drop(s->in);
    strong_blob_drop(s->snap_next);
    strong_blob_drop(s->snap);
    strong_state_fini(&s->next);
    strong_state_fini(&s->state);
}
