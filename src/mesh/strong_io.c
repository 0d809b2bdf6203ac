/* strong_io.c: the raft_io of a strong group's node: what the core writes becomes records of a
 * transaction, what it sends waits until the records it depends on are synced, and its callbacks
 * come when the call that led to them is over. See strong.h.
 *
 * libraft 0.15 takes set_term and set_vote as done when they return; here they are put, and every
 * message that was made after waits for their ticket. Of the terms and votes that others have heard
 * nothing is forgotten then: a crash before the sync is one before the message. Entries are another
 * matter: those that a leader sends need not be on its own disk (which counts as one of a majority,
 * no more), and what a follower says that it has is what the core was told is synced. What damage,
 * readmission and snapshots are said with waits for all that was put.
 *
 * The core's own form of its members, with padding that it leaves as it finds it in memory, goes
 * neither to disk nor to others. Its type "barrier" has eight such bytes, and is never used. */
#include "mesh/strong_int.h"

#include <stdio.h>

/* --- records ---------------------------------------------------------------------------------- */

static struct slv_str record_key(char kind, bool numbered, uint64_t number, char bytes[9]) {
    bytes[0] = kind;
    for (int i = 8; i > 0; i--, number >>= 8)
        bytes[i] = (char)number;
    return (struct slv_str){bytes, numbered ? 9 : 1};
}

void strong_put(struct slv_strong *s, char kind, bool numbered, uint64_t number,
                const struct slv_buf *value) {
    char key[9];
    const struct slv_str k = record_key(kind, numbered, number, key);
    if (s->failed) return;
    s->dirty = true;
    if (value->status ||
        s->conf.world.put(s->conf.world.ctx, k, (struct slv_str){value->data, value->len}))
        strong_fail(s);
}

void strong_del(struct slv_strong *s, char kind, uint64_t number) {
    char key[9];
    const struct slv_str k = record_key(kind, kind == 'L' || kind == 'P', number, key);
    if (s->failed) return;
    s->dirty = true;
    if (s->conf.world.del(s->conf.world.ctx, k)) strong_fail(s);
}

uint64_t strong_gate(const struct slv_strong *s) { return s->tickets + (s->dirty ? 1 : 0); }

void strong_put_vote(struct slv_strong *s) {
    struct slv_buf b;
    slv_buf_init(&b, 32);
    slv_write_number(&b, s->term);
    slv_write_id(&b, s->vote);
    strong_put(s, 'T', false, 0, &b);
    slv_buf_fini(&b);
    s->vote_ticket = strong_gate(s);
}

void strong_put_fresh(struct slv_strong *s) {
    struct slv_buf b;
    slv_buf_init(&b, 32);
    if (s->damaged) {
        slv_write_number(&b, 1);
    } else {
        slv_write_number(&b, 2);
        slv_write_number(&b, s->fresh_until);
    }
    strong_put(s, 'Q', false, 0, &b);
    slv_buf_fini(&b);
}

int strong_size_push(struct slv_strong *s, size_t bytes) {
    void *p = s->size;
    const int rc = slv_mem_grow(&p, s->n_size, &s->room_size, sizeof *s->size, SIZE_MAX / 8);
    s->size = p;
    if (rc) return rc;
    s->size[s->n_size++] = (uint32_t)bytes;
    s->log_bytes += bytes;
    return 0;
}

/* Entries before `first` go off the disk. */
static void cut_before(struct slv_strong *s, uint64_t first) {
    size_t n = 0;
    while (n < s->n_size && s->disk_first + n < first) {
        strong_del(s, 'L', s->disk_first + n);
        s->log_bytes -= s->size[n++];
    }
    if (n) memmove(s->size, s->size + n, (s->n_size - n) * sizeof *s->size);
    s->n_size -= n;
    s->disk_first += n;
}

/* --- members ---------------------------------------------------------------------------------- */

static const int role_to_raft[] = {[SLV_STRONG_SPARE] = RAFT_SPARE,
                                   [SLV_STRONG_LEARNER] = RAFT_STANDBY,
                                   [SLV_STRONG_VOTER] = RAFT_VOTER};

static enum slv_strong_role role_of(int role) {
    if (role == RAFT_VOTER) return SLV_STRONG_VOTER;
    return role == RAFT_STANDBY ? SLV_STRONG_LEARNER : SLV_STRONG_SPARE;
}

bool strong_members_of(const struct raft_configuration *c, struct strong_members *ret) {
    if (!c->n || c->n > SLV_STRONG_MEMBERS_MAX) return false;
    memset(ret, 0, sizeof *ret);
    ret->n = c->n;
    for (unsigned i = 0; i < c->n; i++) {
        ret->v[i].id = c->servers[i].id;
        ret->v[i].role = role_of(c->servers[i].role);
    }
    return true;
}

int strong_members_to_raft(const struct strong_members *m, struct raft_configuration *ret) {
    raft_configuration_init(ret);
    for (uint32_t i = 0; i < m->n; i++) {
        char address[17];
        snprintf(address, sizeof address, "%016llx", (unsigned long long)m->v[i].id);
        if (raft_configuration_add(ret, m->v[i].id, address, role_to_raft[m->v[i].role])) {
            raft_configuration_close(ret);
            return SLV_E_NOMEM;
        }
    }
    return 0;
}

int strong_payload_to_raft(unsigned type, struct slv_str payload, struct raft_buffer *ret) {
    if (type != STRONG_MEMBERS) {
        ret->len = payload.n;
        ret->base = raft_malloc(payload.n ? payload.n : 1);
        if (!ret->base) return SLV_E_NOMEM;
        if (payload.n) memcpy(ret->base, payload.p, payload.n);
        return 0;
    }
    struct slv_reader r = slv_reader_of(payload.p, payload.n);
    struct strong_members m;
    struct raft_configuration c;
    if (!strong_members_read(&r, &m) || !slv_reader_done(&r)) return SLV_E_FORMAT;
    int rc = strong_members_to_raft(&m, &c);
    if (rc) return rc;
    rc = raft_configuration_encode(&c, ret) ? SLV_E_NOMEM : 0;
    raft_configuration_close(&c);
    return rc;
}

/* The core's own bytes, so not to be distrusted; their end is minded all the same. */
static bool decode_members(const struct raft_buffer *b, struct strong_members *ret) {
    const uint8_t *p = b->base, *end = p + b->len;
    uint64_t n = 0;
    memset(ret, 0, sizeof *ret);
    if (b->len < 9 || *p++ != 1) return false;
    memcpy(&n, p, 8); /* (as this machine has it: the core flips it on others) */
    p += 8;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    n = __builtin_bswap64(n);
#endif
    if (n > SLV_STRONG_MEMBERS_MAX) return false;
    for (; ret->n < n; ret->n++) {
        uint64_t id;
        if (end - p < 8) return false;
        memcpy(&id, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        id = __builtin_bswap64(id);
#endif
        p += 8;
        const uint8_t *nul = memchr(p, 0, (size_t)(end - p));
        if (!nul || end - nul < 2) return false;
        ret->v[ret->n].id = id;
        ret->v[ret->n].role = role_of(nul[1]);
        p = nul + 2;
    }
    return true;
}

int strong_payload_from_raft(const struct raft_entry *e, struct slv_buf *ret) {
    struct strong_members m;
    if (e->type == RAFT_COMMAND) return slv_buf_add(ret, e->buf.base, e->buf.len);
    if (e->type != RAFT_CHANGE || !decode_members(&e->buf, &m)) return SLV_E_FORMAT;
    strong_members_write(&m, ret);
    return ret->status;
}

/* An entry as it is in records and messages. */
static int write_entry(const struct raft_entry *e, struct slv_buf *b) {
    struct slv_buf payload;
    slv_buf_init(&payload, STRONG_COMMAND_MAX);
    int rc = strong_payload_from_raft(e, &payload);
    if (!rc) {
        strong_entry_write(&(struct strong_entry){e->term, e->type, {payload.data, payload.len}},
                           b);
        rc = b->status;
    }
    slv_buf_fini(&payload);
    return rc;
}

/* --- messages --------------------------------------------------------------------------------- */

static void drop_out(struct slv_strong *s, size_t i) {
    s->out_bytes -= s->out[i].n;
    slv_mem_free(s->out[i].bytes);
    memmove(s->out + i, s->out + i + 1, (s->n_out - i - 1) * sizeof *s->out);
    s->n_out--;
}

void strong_send(struct slv_strong *s, uint64_t peer, const struct strong_msg *m, uint64_t gate) {
    struct slv_buf b;
    size_t n;
    if (s->failed || !peer || peer == s->conf.id) return;
    slv_buf_init(&b, SLV_STRONG_MESSAGE_MAX);
    strong_msg_write(m, &b);
    char *bytes = slv_buf_take(&b, &n);
    slv_buf_fini(&b);
    if (!bytes) return; /* as if it were lost */
    void *p = s->out;
    const int rc = s->out_bytes + n > OUT_BYTES
                       ? SLV_E_LIMIT
                       : slv_mem_grow(&p, s->n_out, &s->room_out, sizeof *s->out, OUT_MAX);
    s->out = p;
    if (rc) {
        slv_mem_free(bytes);
        return;
    }
    s->out[s->n_out++] = (struct out){peer, gate, bytes, n};
    s->out_bytes += n;
}

static int progress_of(const struct slv_strong *s, uint64_t peer, bool *ret_votes) {
    const struct raft_configuration *c = &s->raft.configuration;
    *ret_votes = true;
    for (unsigned k = 0; s->raft.state == RAFT_LEADER && k < c->n; k++) {
        if (c->servers[k].id != peer) continue;
        *ret_votes = c->servers[k].role == RAFT_VOTER;
        return s->raft.leader_state.progress[k].state;
    }
    return 0;
}

static struct told *told_of(struct slv_strong *s, uint64_t peer) {
    for (size_t i = 0; i < s->n_told; i++)
        if (s->told[i].peer == peer) return &s->told[i];
    void *p = s->told;
    const int rc = slv_mem_grow(&p, s->n_told, &s->room_told, sizeof *s->told, 1024);
    s->told = p;
    if (rc) return NULL;
    s->told[s->n_told] = (struct told){.peer = peer};
    return &s->told[s->n_told++];
}

/* Heartbeats keep others from standing for election, which those who only learn never do: they are
 * told what is new, and now and then that there is nothing. */
static bool is_news(struct slv_strong *s, uint64_t peer, const struct raft_append_entries *a) {
    struct told *t = told_of(s, peer);
    if (!t) return true;
    const struct told now = {peer, a->term, a->prev_log_index, a->leader_commit, s->now};
    const bool same = t->term == now.term && t->index == now.index && t->commit == now.commit;
    if (s->raft.leader_state.promotee_id == peer) return true; /* it is on its way to vote */
    if (same && !a->n_entries && now.at - t->at < QUIET_NS) return false;
    *t = now;
    return true;
}

/* Entries in as many messages as it takes: to one whose log is not known yet, in one. */
static int send_append(struct slv_strong *s, uint64_t peer, const struct raft_append_entries *a) {
    struct strong_msg m = {.kind = STRONG_APPEND, .term = a->term};
    struct slv_buf b;
    unsigned i = 0;
    int rc = 0;
    bool votes;
    const bool probing = progress_of(s, peer, &votes) == 0;
    if (!votes && !probing && !is_news(s, peer, a)) return 0;
    slv_buf_init(&b, SLV_STRONG_MESSAGE_MAX);
    do {
        const unsigned first = i;
        m.index = a->prev_log_index + first;
        m.index_term = first ? a->entries[first - 1].term : a->prev_log_term;
        slv_buf_clear(&b);
        while (!rc && i < a->n_entries && i - first < STRONG_ENTRIES_MAX &&
               b.len < STRONG_ENTRIES_BYTES)
            rc = write_entry(&a->entries[i++], &b);
        if (rc) break;
        m.n = i - first;
        m.bytes = (struct slv_str){b.data, b.len};
        /* What is committed beyond these entries may be others in his log. */
        m.commit = a->leader_commit < m.index + m.n ? a->leader_commit : m.index + m.n;
        strong_send(s, peer, &m, s->vote_ticket);
    } while (i < a->n_entries && !probing);
    slv_buf_fini(&b);
    return rc ? RAFT_NOMEM : 0;
}

static int send_message(struct slv_strong *s, const struct raft_message *r) {
    struct strong_msg m = {0};
    switch (r->type) {
    case RAFT_IO_APPEND_ENTRIES:
        return send_append(s, r->server_id, &r->append_entries);
    case RAFT_IO_INSTALL_SNAPSHOT:
        return strong_snap_send(s, r->server_id) ? RAFT_NOMEM : 0;
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        m.kind = STRONG_APPEND_RESULT;
        s->owes = false;
        s->result_at = s->now;
        m.term = r->append_entries_result.term;
        m.at = r->append_entries_result.rejected;
        m.commit = r->append_entries_result.last_log_index;
        if (!m.at) m.commit = strong_guard_match(s, m.commit);
        break;
    case RAFT_IO_REQUEST_VOTE:
        m.kind = STRONG_VOTE;
        m.term = r->request_vote.term;
        m.index = r->request_vote.last_log_index;
        m.index_term = r->request_vote.last_log_term;
        m.flags = (r->request_vote.pre_vote ? 1u : 0) | (r->request_vote.disrupt_leader ? 2u : 0);
        break;
    case RAFT_IO_REQUEST_VOTE_RESULT:
        m.kind = STRONG_VOTE_RESULT;
        m.term = r->request_vote_result.term;
        if (!r->request_vote_result.vote_granted && m.term < s->raft.current_term)
            m.term = s->raft.current_term;
        m.flags = (r->request_vote_result.vote_granted ? 1u : 0) |
                  (r->request_vote_result.pre_vote == raft_tribool_true ? 2u : 0);
        break;
    case RAFT_IO_TIMEOUT_NOW:
        m.kind = STRONG_TIMEOUT_NOW;
        m.term = r->timeout_now.term;
        m.index = r->timeout_now.last_log_index;
        m.index_term = r->timeout_now.last_log_term;
        break;
    default:
        return RAFT_INVALID;
    }
    strong_send(s, r->server_id, &m, s->vote_ticket);
    return 0;
}

/* --- the functions of raft_io ----------------------------------------------------------------- */

static int io_init(struct raft_io *io, raft_id id, const char *address) {
    (void)io, (void)id, (void)address;
    return 0;
}

static void io_close(struct raft_io *io, raft_io_close_cb cb) {
    strong_io_drop(io->impl);
    cb(io);
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *vote,
                   struct raft_snapshot **snapshot, raft_index *start, struct raft_entry *entries[],
                   size_t *n) {
    struct slv_strong *s = io->impl;
    *term = s->term;
    *vote = s->vote;
    return strong_load_all(s, snapshot, start, entries, n) ? RAFT_NOMEM : 0;
}

static int io_start(struct raft_io *io, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb recv) {
    struct slv_strong *s = io->impl;
    (void)ms;
    s->tick_cb = tick;
    s->recv_cb = recv;
    return 0;
}

/* slv_strong_bootstrap puts the records itself. */
static int io_bootstrap(struct raft_io *io, const struct raft_configuration *c) {
    (void)io, (void)c;
    return RAFT_CANTBOOTSTRAP;
}

/* A configuration is forced on nobody. */
static int io_recover(struct raft_io *io, const struct raft_configuration *c) {
    (void)io, (void)c;
    return RAFT_INVALID;
}

/* (That these fail is not said to the core: in the middle of becoming a candidate it would take
 * what it has as one for a follower's, and free a number. Nothing goes out after strong_fail.) */
static int io_set_term(struct raft_io *io, raft_term term) {
    struct slv_strong *s = io->impl;
    s->term = term;
    s->vote = 0;
    strong_put_vote(s);
    return 0;
}

static int io_set_vote(struct raft_io *io, raft_id id) {
    struct slv_strong *s = io->impl;
    s->vote = id;
    strong_put_vote(s);
    return 0;
}

static int io_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *m,
                   raft_io_send_cb cb) {
    struct slv_strong *s = io->impl;
    void *p = s->sent;
    const int rc = slv_mem_grow(&p, s->n_sent, &s->room_sent, sizeof *s->sent, SIZE_MAX / 64);
    s->sent = p;
    if (rc) return RAFT_NOMEM;
    const int sent = send_message(s, m);
    if (sent) return sent;
    s->sent[s->n_sent++] = (struct sent){req, cb};
    return 0;
}

static struct waiting *wait_for(struct slv_strong *s) {
    void *p = s->waiting;
    const int rc =
        slv_mem_grow(&p, s->n_waiting, &s->room_waiting, sizeof *s->waiting, SIZE_MAX / 128);
    s->waiting = p;
    if (rc) return NULL;
    s->waiting[s->n_waiting] = (struct waiting){0};
    return &s->waiting[s->n_waiting];
}

static int io_append(struct raft_io *io, struct raft_io_append *req,
                     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb) {
    struct slv_strong *s = io->impl;
    struct waiting *w = wait_for(s);
    struct slv_buf b;
    int rc = w ? 0 : SLV_E_NOMEM;
    slv_buf_init(&b, RECORD_MAX + STRONG_COMMAND_MAX);
    for (unsigned i = 0; i < n && !rc; i++) {
        slv_buf_clear(&b);
        rc = write_entry(&entries[i], &b);
        if (!rc) strong_put(s, 'L', true, s->disk_first + s->n_size, &b);
        if (!rc && entries[i].type == RAFT_CHANGE) w->members = s->disk_first + s->n_size;
        if (!rc) rc = strong_size_push(s, b.len);
    }
    slv_buf_fini(&b);
    if (rc || s->failed) { /* half of it may be put: nothing good comes of going on */
        strong_fail(s);
        return RAFT_NOMEM;
    }
    w->ticket = strong_gate(s);
    w->append = req;
    w->append_cb = cb;
    s->n_waiting++;
    return 0;
}

static int io_truncate(struct raft_io *io, raft_index index) {
    struct slv_strong *s = io->impl;
    while (s->n_size && s->disk_first + s->n_size > index) {
        s->log_bytes -= s->size[--s->n_size];
        strong_del(s, 'L', s->disk_first + s->n_size);
    }
    return s->failed ? RAFT_IOERR : 0;
}

/* The head, and the bytes in pieces over those of the one before. */
static void put_snapshot(struct slv_strong *s, const struct blob *b) {
    struct slv_buf r;
    uint64_t n = 0;
    slv_buf_init(&r, RECORD_MAX);
    slv_write_number(&r, b->index);
    slv_write_number(&r, b->term);
    slv_write_number(&r, b->conf_index);
    strong_members_write(&b->members, &r);
    slv_write_number(&r, b->n);
    strong_put(s, 'H', false, 0, &r);
    for (size_t at = 0; at < b->n; n++) {
        const size_t k = b->n - at < SLV_STRONG_PIECE_MAX ? b->n - at : SLV_STRONG_PIECE_MAX;
        slv_buf_clear(&r);
        slv_buf_add(&r, b->bytes + at, k);
        strong_put(s, 'P', true, n, &r);
        at += k;
    }
    for (uint64_t i = n; i < s->snap_pieces; i++)
        strong_del(s, 'P', i);
    s->snap_pieces = n;
    slv_buf_fini(&r);
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb) {
    struct slv_strong *s = io->impl;
    struct waiting *w = wait_for(s);
    struct blob *b = s->snap_next;
    if (!w || !b) return RAFT_NOMEM;
    put_snapshot(s, b);
    if (!trailing) {
        cut_before(s, UINT64_MAX);
        s->disk_first = snapshot->index + 1;
    } else if (snapshot->index > trailing) {
        cut_before(s, snapshot->index - trailing + 1);
    }
    if (s->failed) return RAFT_IOERR;
    s->snap_next = NULL;
    w->ticket = strong_gate(s);
    w->put = req;
    w->put_cb = cb;
    w->blob = b;
    if (!trailing) w->bufs = snapshot->bufs;
    s->n_waiting++;
    return 0;
}

/* The bytes do not pass through the core: strong_snap_send has them. */
static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req,
                           raft_io_snapshot_get_cb cb) {
    struct slv_strong *s = io->impl;
    void *p = s->got;
    const int rc = slv_mem_grow(&p, s->n_got, &s->room_got, sizeof *s->got, 4096);
    s->got = p;
    if (rc || !s->snap) return RAFT_NOMEM;
    s->got[s->n_got++] = (struct got){req, cb};
    return 0;
}

static raft_time io_time(struct raft_io *io) {
    const struct slv_strong *s = io->impl;
    return s->now / MS;
}

/* The core asks for the time to an election alone, between once and twice its least: the lower six
 * tenths of that are enough apart, and a leader is there sooner. */
static int io_random(struct raft_io *io, int min, int max) {
    struct slv_strong *s = io->impl;
    const uint64_t wide = (uint64_t)(max - min) * 6 / 10 + 1;
    return min + (int)(s->conf.world.random(s->conf.world.ctx) % wide);
}

void strong_io_init(struct slv_strong *s) {
    s->io = (struct raft_io){.version = 1,
                             .impl = s,
                             .init = io_init,
                             .close = io_close,
                             .load = io_load,
                             .start = io_start,
                             .bootstrap = io_bootstrap,
                             .recover = io_recover,
                             .set_term = io_set_term,
                             .set_vote = io_set_vote,
                             .send = io_send,
                             .append = io_append,
                             .truncate = io_truncate,
                             .snapshot_put = io_snapshot_put,
                             .snapshot_get = io_snapshot_get,
                             .time = io_time,
                             .random = io_random};
}

/* --- what was left for later ------------------------------------------------------------------ */

/* The core's callbacks that do not wait for the disk. Whether there were any. */
static bool call_back(struct slv_strong *s) {
    if (s->n_sent) {
        const struct sent k = s->sent[0];
        memmove(s->sent, s->sent + 1, --s->n_sent * sizeof *s->sent);
        if (k.cb) k.cb(k.req, 0);
        return true;
    }
    if (!s->n_got) return false;
    const struct got g = s->got[0];
    memmove(s->got, s->got + 1, --s->n_got * sizeof *s->got);
    struct raft_snapshot *snap = s->snap ? raft_calloc(1, sizeof *snap) : NULL;
    struct raft_buffer *none = raft_calloc(1, sizeof *none);
    if (!snap || !none || strong_members_to_raft(&s->snap->members, &snap->configuration)) {
        raft_free(snap);
        raft_free(none);
        g.cb(g.req, NULL, RAFT_NOMEM);
        return true;
    }
    snap->index = s->snap->index;
    snap->term = s->snap->term;
    snap->configuration_index = s->snap->conf_index;
    snap->bufs = none;
    snap->n_bufs = 1;
    g.cb(g.req, snap, 0);
    return true;
}

void strong_io_flush(struct slv_strong *s) {
    while (call_back(s))
        continue;
    if (s->dirty && !s->failed) {
        s->dirty = false;
        s->tickets++;
        s->stats.commits++;
        if (s->conf.world.commit(s->conf.world.ctx, s->tickets)) strong_fail(s);
    }
    for (size_t i = 0; i < s->n_out && !s->failed;) {
        if (s->out[i].gate > s->durable) {
            i++;
            continue;
        }
        s->stats.sent++;
        s->conf.world.send(s->conf.world.ctx, s->out[i].peer,
                           (struct slv_str){s->out[i].bytes, s->out[i].n});
        drop_out(s, i);
    }
}

static void complete(struct slv_strong *s) {
    const struct waiting w = s->waiting[0];
    memmove(s->waiting, s->waiting + 1, --s->n_waiting * sizeof *s->waiting);
    if (w.append) {
        w.append_cb(w.append, 0);
        return;
    }
    strong_blob_drop(s->snap);
    s->snap = w.blob;
    const bool installed = s->has_next;
    const bool closing = s->raft.state == RAFT_UNAVAILABLE;
    w.put_cb(w.put, 0);
    if (closing) raft_free(w.bufs);
    if (installed && !closing) strong_guard_started(s);
}

void strong_io_synced(struct slv_strong *s, uint64_t ticket) {
    if (ticket > s->tickets || ticket <= s->durable) return;
    s->durable = ticket;
    while (s->n_waiting && s->waiting[0].ticket <= s->durable && !s->failed)
        complete(s);
}

/* The core is unavailable by now, and only lets go of what it holds. */
void strong_io_drop(struct slv_strong *s) {
    while (call_back(s))
        continue;
    while (s->n_waiting)
        complete(s);
    while (s->n_out)
        drop_out(s, 0);
    slv_mem_free(s->sent);
    slv_mem_free(s->got);
    slv_mem_free(s->waiting);
    slv_mem_free(s->out);
    s->sent = NULL;
    s->got = NULL;
    s->waiting = NULL;
    s->out = NULL;
}
