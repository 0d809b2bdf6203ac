/* strong.c: see strong.h. */
#include "mesh/strong_int.h"

#include <stdio.h>

#define CATCH_UP_MS 5000u /* in which one that is to vote must get what is new */

/* --- opening ---------------------------------------------------------------------------------- */

/* Defaults; false: they contradict each other. */
static bool settle_conf(struct slv_strong_conf *c) {
    if (!c->heartbeat_ms) c->heartbeat_ms = 100;
    if (!c->election_ms) c->election_ms = 500;
    if (!c->lease_ms) c->lease_ms = c->election_ms / 5 * 4;
    if (!c->drift_ppm) c->drift_ppm = 1000;
    if (!c->call_ms) c->call_ms = 5000;
    if (!c->log_max) c->log_max = (size_t)4 << 20;
    if (!c->history_max) c->history_max = (size_t)1 << 20;
    return c->id && c->heartbeat_ms < c->election_ms && c->lease_ms &&
           c->lease_ms < c->election_ms && c->election_ms <= 3600000 && c->drift_ppm < 200000 &&
           c->world.send && c->world.put && c->world.del && c->world.commit && c->world.random &&
           c->world.event && c->world.answer;
}

int slv_strong_open(const struct slv_strong_conf *conf, struct slv_strong **ret) {
    struct slv_strong *s = slv_mem_calloc(1, sizeof *s);
    if (!s) return SLV_E_NOMEM;
    s->conf = *conf;
    if (!settle_conf(&s->conf)) {
        slv_mem_free(s);
        return SLV_E_USAGE;
    }
    s->least[0] = s->conf.heartbeat_ms;
    s->least[1] = s->conf.election_ms;
    s->least[2] = s->conf.lease_ms;
    s->disk_first = 1;
    s->history_from = 1;
    s->state.changed = strong_watch_changed;
    s->state.ctx = s;
    strong_io_init(s);
    strong_snap_init(s);
    *ret = s;
    return 0;
}

void slv_strong_close(struct slv_strong *s) {
    if (!s) return;
    s->failed = true; /* nothing goes out any more */
    if (s->opened) raft_close(&s->raft, NULL);
    else strong_io_drop(s);
    strong_load_free(s);
    strong_call_free(s);
    strong_watch_free(s);
    strong_snap_free(s);
    slv_mem_free(s->size);
    slv_mem_free(s->told);
    slv_mem_free(s);
}

int slv_strong_bootstrap(struct slv_strong *s, const uint64_t *ids, size_t n) {
    struct strong_members m = {.n = (uint32_t)n};
    struct slv_buf payload, entry;
    if (s->started || s->has_records || !n || n > SLV_STRONG_MEMBERS_MAX) return SLV_E_USAGE;
    for (size_t i = 0; i < n; i++) {
        m.v[i].id = ids[i];
        m.v[i].role = SLV_STRONG_VOTER;
    }
    slv_buf_init(&payload, RECORD_MAX);
    slv_buf_init(&entry, RECORD_MAX);
    strong_members_write(&m, &payload);
    strong_entry_write(&(struct strong_entry){1, STRONG_MEMBERS, {payload.data, payload.len}},
                       &entry);
    static const char key[9] = {'L', 0, 0, 0, 0, 0, 0, 0, 1};
    int rc = payload.status ? payload.status : entry.status;
    if (!rc)
        rc = slv_strong_load(s, (struct slv_str){key, sizeof key},
                             (struct slv_str){entry.data, entry.len});
    if (!rc) {
        strong_put(s, 'L', true, 1, &entry);
        s->term = 1;
        strong_put_vote(s);
        if (s->failed) rc = SLV_E_IO;
    } else if (rc == SLV_E_FORMAT) {
        s->load_bad = s->has_records = false;
        rc = SLV_E_USAGE;
    }
    slv_buf_fini(&payload);
    slv_buf_fini(&entry);
    return rc;
}

/* --- another group ---------------------------------------------------------------------------- */

int slv_strong_take_over(struct slv_strong *s, uint64_t now) {
    const struct strong_members m = {.n = 1, .v = {{.id = s->conf.id, .role = SLV_STRONG_VOTER}}};
    struct slv_buf payload, entry;
    s->now = now;
    if (!s->started || s->failed || slv_strong_damaged(s) || s->raft.state == RAFT_LEADER)
        return SLV_E_USAGE;
    slv_buf_init(&payload, RECORD_MAX);
    slv_buf_init(&entry, RECORD_MAX);
    strong_members_write(&m, &payload);
    strong_entry_write(&(struct strong_entry){s->term, STRONG_MEMBERS, {payload.data, payload.len}},
                       &entry);
    int rc = payload.status ? payload.status : entry.status;
    if (!rc) {
        strong_put(s, 'L', true, s->disk_first + s->n_size, &entry);
        rc = s->failed ? SLV_E_IO : 0;
        s->failed = true; /* (the core knows nothing of that entry) */
    }
    slv_buf_fini(&payload);
    slv_buf_fini(&entry);
    return rc;
}

/* Of records nothing is left. */
static void erase_records(struct slv_strong *s) {
    static const char kinds[] = {'H', 'T', 'Q'};
    for (uint64_t i = 0; i < s->n_size; i++)
        strong_del(s, 'L', s->disk_first + i);
    for (uint64_t i = 0; i < s->snap_pieces; i++)
        strong_del(s, 'P', i);
    for (size_t i = 0; i < sizeof kinds; i++)
        strong_del(s, kinds[i], 0);
}

int slv_strong_erase(struct slv_strong *s) {
    if (s->failed) return SLV_E_IO;
    erase_records(s);
    const int rc = s->failed ? SLV_E_IO : 0;
    s->failed = true;
    return rc;
}

/* --- starting --------------------------------------------------------------------------------- */

static void emit_nothing(struct raft_tracer *t, const char *file, int line, const char *message) {
    (void)t, (void)file, (void)line, (void)message;
}

/* In place of the core's own, which an environment variable makes write to stderr. */
static struct raft_tracer silent = {.emit = emit_nothing};

/* Whether by the last members in the log this is the only voter. */
static bool starts_alone(const struct slv_strong *s) {
    const struct strong_members *m = s->snap ? &s->snap->members : NULL;
    struct strong_members last;
    for (size_t i = s->n_load; i-- > 0;) {
        struct slv_reader r = slv_reader_of(s->load[i].bytes.p, s->load[i].bytes.n);
        struct strong_entry e;
        if (!strong_entry_read(&r, &e) || e.type != STRONG_MEMBERS) continue;
        if (s->snap && s->load[i].index <= s->snap->conf_index) break;
        struct slv_reader p = slv_reader_of(e.payload.p, e.payload.n);
        if (strong_members_read(&p, &last)) m = &last;
        break;
    }
    unsigned voters = 0, own = 0;
    for (uint32_t i = 0; m && i < m->n; i++) {
        if (m->v[i].role != SLV_STRONG_VOTER) continue;
        voters++;
        own += m->v[i].id == s->conf.id;
    }
    return voters == 1 && own == 1;
}

int strong_core_start(struct slv_strong *s) {
    char address[17];
    snprintf(address, sizeof address, "%016llx", (unsigned long long)s->conf.id);
    if (raft_init(&s->raft, &s->io, &s->fsm, s->conf.id, address)) return SLV_E_NOMEM;
    s->opened = true;
    s->raft.tracer = &silent;
    raft_set_election_timeout(&s->raft, s->conf.election_ms);
    raft_set_heartbeat_timeout(&s->raft, s->conf.heartbeat_ms);
    raft_set_install_snapshot_timeout(&s->raft, 10000);
    raft_set_max_catch_up_round_duration(&s->raft, CATCH_UP_MS);
    raft_set_pre_vote(&s->raft, true);
    if (starts_alone(s)) { /* the core leads at once, and in the term that it finds */
        s->term++;
        s->vote = s->conf.id;
        strong_put_vote(s);
    }
    const int rc = raft_start(&s->raft);
    strong_load_free(s);
    if (rc || s->failed) return SLV_E_NOMEM;
    strong_guard_started(s);
    return s->failed ? SLV_E_NOMEM : 0;
}

/* Of what is damaged nothing is kept, on disk neither. */
static void throw_away(struct slv_strong *s) {
    for (size_t i = 0; i < s->n_load; i++)
        strong_del(s, 'L', s->load[i].index);
    for (size_t i = 0; i < s->n_piece; i++)
        strong_del(s, 'P', s->piece[i].index);
    strong_del(s, 'H', 0);
    strong_del(s, 'T', 0);
    strong_load_free(s);
    strong_blob_drop(s->snap);
    s->snap = NULL;
    strong_state_fini(&s->next);
    s->has_next = false;
    s->snap_pieces = s->term = s->vote = s->fresh_until = 0;
    s->n_size = s->log_bytes = 0;
    s->disk_first = 1;
    s->damaged = true;
    strong_put_fresh(s);
}

int slv_strong_start(struct slv_strong *s, uint64_t now, bool damaged) {
    if (s->started) return SLV_E_USAGE;
    s->now = now;
    s->tick_next = now;
    s->nonce = s->conf.world.random(s->conf.world.ctx) | 1;
    /* Answers to calls from before a crash must find none. */
    s->calls = s->conf.world.random(s->conf.world.ctx) << 16 >> 1;
    int rc = s->damaged || damaged ? SLV_E_FORMAT : strong_load_check(s);
    if (rc == SLV_E_FORMAT) {
        throw_away(s);
        rc = 0;
    } else if (!rc) {
        rc = strong_core_start(s);
    }
    if (rc) return rc;
    s->started = true;
    strong_pump(s);
    return s->failed ? SLV_E_IO : 0;
}

/* An election takes two round trips and must not be overtaken by the next, and a heartbeat or two
 * may be lost. */
void slv_strong_pace(struct slv_strong *s, uint32_t rtt_ms) {
    const uint64_t want = 6 * (uint64_t)(rtt_ms < 60000 ? rtt_ms : 60000);
    const uint64_t election = want > s->least[1] ? want : s->least[1];
    if (election == s->conf.election_ms || s->failed) return;
    s->conf.election_ms = (uint32_t)election;
    s->conf.heartbeat_ms = (uint32_t)(s->least[0] * election / s->least[1]);
    s->conf.lease_ms = (uint32_t)(s->least[2] * election / s->least[1]);
    if (!s->opened) return;
    raft_set_election_timeout(&s->raft, s->conf.election_ms);
    raft_set_heartbeat_timeout(&s->raft, s->conf.heartbeat_ms);
}

/* --- what happens ----------------------------------------------------------------------------- */

void strong_fail(struct slv_strong *s) { s->failed = true; }

/* A fresh node that has come as far as it had to is one like others. */
static void ripen(struct slv_strong *s) {
    if (!s->fresh_until || s->raft.last_applied < s->fresh_until) return;
    s->fresh_until = 0;
    strong_del(s, 'Q', 0);
}

void strong_pump(struct slv_strong *s) {
    if (s->started && !s->damaged && !s->failed) {
        ripen(s);
        strong_call_role(s);
        strong_member_step(s);
        strong_call_barriers(s);
        strong_snap_tune(s);
    }
    if (!s->failed) strong_io_flush(s);
    if (s->opened && s->raft.state == RAFT_UNAVAILABLE) s->failed = true;
    if (s->failed && !s->told_failed) {
        s->told_failed = true;
        s->conf.world.event(s->conf.world.ctx, SLV_STRONG_FAILED, s->conf.id);
    }
}

static void receive(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    static void (*const fn[STRONG_MESSAGES])(struct slv_strong *, uint64_t,
                                             const struct strong_msg *) = {
        [STRONG_VOTE] = strong_guard_receive,        [STRONG_VOTE_RESULT] = strong_guard_receive,
        [STRONG_APPEND] = strong_guard_receive,      [STRONG_APPEND_RESULT] = strong_guard_receive,
        [STRONG_TIMEOUT_NOW] = strong_guard_receive, [STRONG_PIECE] = strong_snap_piece,
        [STRONG_PIECE_RESULT] = strong_snap_acked,   [STRONG_CALL] = strong_call_asked,
        [STRONG_ANSWER] = strong_call_answered,      [STRONG_DAMAGED] = strong_member_damaged,
    };
    /* (Who is damaged may still ask, as a client does.) */
    if (s->damaged && m->kind != STRONG_ANSWER) strong_member_readmit(s, from, m);
    else if (fn[m->kind]) fn[m->kind](s, from, m);
}

void slv_strong_receive(struct slv_strong *s, uint64_t now, uint64_t from, struct slv_str bytes) {
    struct strong_msg m;
    if (!s->started || s->failed) return;
    if (now > s->now) s->now = now;
    s->stats.received++;
    if (!from || from == s->conf.id || !strong_msg_read(bytes, &m)) {
        s->stats.refused++;
        return;
    }
    receive(s, from, &m);
    strong_pump(s);
}

void slv_strong_synced(struct slv_strong *s, uint64_t now, uint64_t ticket) {
    if (!s->started || s->failed) return;
    if (now > s->now) s->now = now;
    strong_io_synced(s, ticket);
    strong_guard_synced(s);
    strong_pump(s);
}

uint64_t slv_strong_tick(struct slv_strong *s, uint64_t now) {
    uint64_t next = UINT64_MAX;
    if (!s->started) return next;
    if (now > s->now) s->now = now;
    if (s->damaged) next = strong_call_tick(s);
    if (!s->failed && !s->damaged) {
        if (s->now >= s->tick_next) {
            const uint64_t ms = s->conf.heartbeat_ms / 5;
            s->tick_next = s->now + (ms ? ms : 1) * MS;
            strong_guard_tick(s);
        }
        strong_pump(s);
        if (strong_guard_due(s) < s->tick_next) s->tick_next = strong_guard_due(s);
        const uint64_t due[] = {s->tick_next, strong_call_tick(s), strong_member_tick(s),
                                strong_snap_tick(s)};
        for (size_t i = 0; i < sizeof due / sizeof *due; i++)
            if (due[i] < next) next = due[i];
    }
    strong_pump(s);
    strong_call_sweep(s);
    return s->failed ? UINT64_MAX : next;
}

/* --- looking ---------------------------------------------------------------------------------- */

uint64_t slv_strong_leader(const struct slv_strong *s) {
    if (!s->started || s->failed) return 0;
    if (s->damaged) return s->guide;
    if (s->raft.state == RAFT_LEADER) return s->conf.id;
    const uint64_t id =
        s->raft.state == RAFT_FOLLOWER ? s->raft.follower_state.current_leader.id : 0;
    return id || slv_strong_role(s, s->conf.id) != SLV_STRONG_GONE ? id : s->guide;
}

void slv_strong_guide(struct slv_strong *s, uint64_t now, uint64_t peer) {
    if (now > s->now) s->now = now;
    s->guide = peer == s->conf.id ? 0 : peer;
}

bool slv_strong_leads(const struct slv_strong *s) {
    return s->started && !s->damaged && !s->failed && strong_call_ready(s);
}

uint64_t slv_strong_applied(const struct slv_strong *s) { return s->raft.last_applied; }
uint64_t slv_strong_term(const struct slv_strong *s) { return s->term; }
bool slv_strong_failed(const struct slv_strong *s) { return s->failed; }
bool slv_strong_is_lost(const struct slv_strong *s) { return s->damaged; }
bool slv_strong_damaged(const struct slv_strong *s) { return s->damaged || s->fresh_until; }

void slv_strong_stats(const struct slv_strong *s, struct slv_strong_stats *ret) {
    *ret = s->stats;
    ret->log_bytes = s->log_bytes;
    ret->state_bytes = s->state.bytes;
}
