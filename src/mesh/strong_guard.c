/* strong_guard.c: what libraft 0.15 must not be given, and what it leaves undone. Its checks are
 * assertions that Debian builds without: what breaks one goes on with wrong state. Looked at before
 * the core sees a message:
 *
 *   1. An entry of an older term is not committed by counting who has it (Ongaro 2014, 3.6.2). The
 *      core does; so it is told of a majority only where the entry is of this term. It also looks
 *      at its own last entry alone, which under load is never with a majority: it is told the one
 *      that is.
 *   2. A follower says how far its log is stored, which may be leftovers of another leader; the
 *      leader would count them. It says how far it is known to be the leader's.
 *   3. Members that were cut off the log are those of the entry before, which the core looks for at
 *      an index that it does not keep right over restarts, snapshots and several changes at once.
 *   4. A node is no candidate while entries are on their way to its disk: members in them would not
 *      take effect, and later they would count in the wrong term. What replaces entries, or all of
 *      the log, waits for them too: the core counts references by index and term. And one that
 *      is told to lead, which is said once, does when they are there.
 *   5. The only voter makes itself leader without a new term. Here it is given one.
 *   6. A follower refuses votes while it remembers a leader, silent or not, until its own time is
 *      up: it is made to forget one that was silent for the least time to an election.
 *   7. A node that hands over its leadership votes for the one it chose even if it has voted.
 *   8. What a leader remembers of a follower is set back by refusals that come late, to before what
 *      it has acknowledged; a snapshot that is not needed after all is never over. Both are mended.
 *   9. Entries that begin before the snapshot are put at the end of the log; entries of its own
 *      term stop a leader; a conflict with what is committed stops a node. The first are cut, the
 *      others dropped.
 *  10. A node that by its own log does not vote refuses to, though it may have lost, with a crash,
 *      the entry that made it a voter, and others need it to go on. Who asks knows better: whoever
 *      is asked votes.
 *  11. A candidate that is not answered stands again and again, each time in a new term, without
 *      asking first whether it would be voted for; heard by some and hearing nobody, it would raise
 *      the term for ever. It is made to ask again. And who refuses says in which term it is itself,
 *      where the core repeats the one that it was asked: else two, of which one has the longer log
 *      and the other the later term, would refuse each other for ever.
 *  12. A leader that sends entries sends no heartbeats, and a follower answers when they are on its
 *      disk: where that takes longer than an election a leader that writes would take all for dead.
 *      It hears in between how far the follower is. */
#include "mesh/strong_int.h"

#include <stdio.h>

enum { PROBE, PIPELINE, SNAPSHOT }; /* how a leader stands to a follower, as libraft has it */

/* --- the core's log --------------------------------------------------------------------------- */

static size_t log_n(const struct raft_log *l) {
    return l->front <= l->back ? l->back - l->front : l->size - l->front + l->back;
}

const struct raft_entry *strong_entry_at(const struct slv_strong *s, uint64_t index) {
    const struct raft_log *l = &s->raft.log;
    if (index <= l->offset || index > l->offset + log_n(l)) return NULL;
    return &l->entries[(l->front + (size_t)(index - 1 - l->offset)) % l->size];
}

/* 0: it is not there. */
uint64_t strong_term_at(const struct slv_strong *s, uint64_t index) {
    const struct raft_log *l = &s->raft.log;
    if (!index) return 0;
    if (index == l->snapshot.last_index) return l->snapshot.last_term;
    const struct raft_entry *e = strong_entry_at(s, index);
    return e ? e->term : 0;
}

static uint64_t log_last(const struct slv_strong *s) {
    return s->raft.log.offset + log_n(&s->raft.log);
}

void strong_deliver(struct slv_strong *s, uint64_t from, struct raft_message *m) {
    char address[17];
    snprintf(address, sizeof address, "%016llx", (unsigned long long)from);
    m->server_id = from;
    m->server_address = address;
    s->recv_cb(&s->io, m);
}

bool strong_is_quiet(const struct slv_strong *s) {
    return s->fresh_until || (s->raft.state != RAFT_LEADER && s->n_waiting);
}

/* --- members ---------------------------------------------------------------------------------- */

/* The index of the last entry of members before `below`, 0: none is in the log. */
static uint64_t members_before(const struct slv_strong *s, uint64_t below) {
    for (uint64_t i = below; i-- > s->raft.log.offset + 1;) {
        const struct raft_entry *e = strong_entry_at(s, i);
        if (e && e->type == RAFT_CHANGE) return i;
    }
    return 0;
}

/* The members of the log before `below`, and how far they are committed. */
static void settle_members(struct slv_strong *s, uint64_t below) {
    struct raft *r = &s->raft;
    const uint64_t snap = s->snap ? s->snap->conf_index : 0;
    const uint64_t at = members_before(s, below);
    struct raft_configuration c;
    struct strong_members m;
    raft_configuration_init(&c);
    if (at > snap) {
        struct slv_buf b;
        slv_buf_init(&b, RECORD_MAX);
        struct slv_reader reader;
        int rc = strong_payload_from_raft(strong_entry_at(s, at), &b);
        reader = slv_reader_of(b.data, b.len);
        if (!rc && !strong_members_read(&reader, &m)) rc = SLV_E_FORMAT;
        slv_buf_fini(&b);
        if (rc || strong_members_to_raft(&m, &c)) strong_fail(s);
    } else if (s->snap && strong_members_to_raft(&s->snap->members, &c)) {
        strong_fail(s);
    }
    if (s->failed) return;
    raft_configuration_close(&r->configuration);
    r->configuration = c;
    const uint64_t before = at > snap ? members_before(s, at) : 0;
    if (at > snap && at > r->commit_index) {
        r->configuration_uncommitted_index = at;
        r->configuration_index = before > snap ? before : snap;
    } else {
        r->configuration_uncommitted_index = 0;
        r->configuration_index = at > snap ? at : snap;
    }
}

void strong_guard_started(struct slv_strong *s) {
    /* (its array of progress is as long as the members that it has) */
    if (s->raft.state == RAFT_FOLLOWER) settle_members(s, log_last(s) + 1);
}

/* --- votes ------------------------------------------------------------------------------------ */

static void forget_silent_leader(struct slv_strong *s) {
    struct raft *r = &s->raft;
    if (r->state == RAFT_FOLLOWER && s->now / MS - r->election_timer_start >= r->election_timeout)
        r->follower_state.current_leader.id = 0;
}

/* Two that stand at once split the votes, and the next try is long after. So who would vote for
 * another waits a little with its own, and of two that ask first, the one with the lower id lets
 * the other go ahead. */
static void make_way(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    struct raft *r = &s->raft;
    const uint64_t last = log_last(s), term = strong_term_at(s, last), now = s->now / MS;
    const unsigned wait = s->conf.heartbeat_ms / 2;
    if (m->index_term < term || (m->index_term == term && m->index < last)) return;
    if (r->state == RAFT_FOLLOWER && !r->follower_state.current_leader.id) {
        const unsigned all = r->follower_state.randomized_election_timeout;
        if (now - r->election_timer_start + wait > all) r->election_timer_start = now + wait - all;
    } else if (r->state == RAFT_CANDIDATE && r->candidate_state.in_pre_vote && from > r->id) {
        s->yield_until = s->now + wait * MS;
    }
}

/* A result of a vote, real or not, that cannot be one. */
static bool vote_result_ok(const struct slv_strong *s, const struct strong_msg *m) {
    const struct raft *r = &s->raft;
    return r->state != RAFT_CANDIDATE || !r->candidate_state.in_pre_vote || !(m->flags & 1) ||
           m->term <= r->current_term + 1;
}

static struct raft_server *own_server(struct raft *r) {
    for (unsigned i = 0; i < r->configuration.n; i++)
        if (r->configuration.servers[i].id == r->id) return &r->configuration.servers[i];
    return NULL;
}

static bool receive_vote(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    const struct raft *r = &s->raft;
    struct raft_message msg = {.type = RAFT_IO_REQUEST_VOTE};
    const bool pre = m->flags & 1;
    if (s->fresh_until || !m->index) return false;
    if (!pre && r->transfer && m->term == r->current_term && r->voted_for && r->voted_for != from)
        return false;
    forget_silent_leader(s);
    msg.request_vote = (struct raft_request_vote){
        m->term, from, m->index, m->index_term, (m->flags & 2) != 0, pre};
    if (pre) make_way(s, from, m);
    struct raft_server *own = own_server(&s->raft);
    const int role = own ? own->role : 0;
    if (own) own->role = RAFT_VOTER;
    strong_deliver(s, from, &msg);
    if (own) own->role = role;
    return true;
}

static bool receive_vote_result(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    struct raft_message msg = {.type = RAFT_IO_REQUEST_VOTE_RESULT};
    if (!vote_result_ok(s, m) || ((m->flags & 2) && s->now < s->yield_until)) return false;
    msg.request_vote_result.term = m->term;
    msg.request_vote_result.vote_granted = m->flags & 1;
    msg.request_vote_result.pre_vote = m->flags & 2 ? raft_tribool_true : raft_tribool_false;
    strong_deliver(s, from, &msg);
    return true;
}

/* --- entries ---------------------------------------------------------------------------------- */

uint64_t strong_guard_match(const struct slv_strong *s, uint64_t last) {
    if (s->matched_term != s->raft.current_term) return 0;
    return last < s->matched ? last : s->matched;
}

static void set_match(struct slv_strong *s, uint64_t term, uint64_t index) {
    if (s->matched_term != term) s->matched = 0;
    s->matched_term = term;
    if (index > s->matched) s->matched = index;
}

/* Entries up to the snapshot are what it has. False: there is nothing behind it. */
static bool trim(const struct slv_strong *s, struct strong_msg *m) {
    const struct raft_log *l = &s->raft.log;
    struct slv_reader r = slv_reader_of(m->bytes.p, m->bytes.n);
    struct strong_entry e;
    if (m->index >= l->snapshot.last_index) return true;
    const uint64_t n = l->snapshot.last_index - m->index;
    if (m->n < n) return false;
    for (uint64_t i = 0; i < n; i++)
        if (!strong_entry_read(&r, &e)) return false;
    m->bytes = (struct slv_str){(const char *)r.p, (size_t)(r.end - r.p)};
    m->n -= (unsigned)n;
    m->index = l->snapshot.last_index;
    m->index_term = l->snapshot.last_term;
    return true;
}

/* Whether the entries may come into the log; what they replace is made ready for it. */
static bool admit(struct slv_strong *s, const struct strong_msg *m) {
    struct raft *r = &s->raft;
    struct slv_reader reader = slv_reader_of(m->bytes.p, m->bytes.n);
    const uint64_t prev = strong_term_at(s, m->index);
    if (m->index && prev != m->index_term) return !prev || m->index > r->commit_index;
    uint64_t at = m->index + 1;
    set_match(s, m->term, m->index);
    for (unsigned i = 0; i < m->n; i++, at++) {
        struct strong_entry e;
        if (!strong_entry_read(&reader, &e)) return false;
        const uint64_t term = strong_term_at(s, at);
        if (!term) return true;
        if (term == e.term) {
            set_match(s, m->term, at);
            continue;
        }
        if (at <= r->commit_index || s->n_waiting) return false;
        if (r->configuration_uncommitted_index >= at) settle_members(s, at);
        return !s->failed;
    }
    return true;
}

/* The entries as the core takes them: one block for what they hold. */
static int make_entries(const struct strong_msg *m, struct raft_append_entries *a) {
    struct slv_reader r = slv_reader_of(m->bytes.p, m->bytes.n);
    size_t used = 0, room = m->bytes.n + (size_t)m->n * 32;
    if (!m->n) return 0;
    struct raft_entry *v = raft_calloc(m->n, sizeof *v);
    char *batch = raft_malloc(room); /* members are longer there */
    int rc = v && batch ? 0 : SLV_E_NOMEM;
    for (unsigned i = 0; i < m->n && !rc; i++) {
        struct strong_entry e;
        struct raft_buffer b = {0};
        if (!strong_entry_read(&r, &e)) rc = SLV_E_FORMAT;
        else rc = strong_payload_to_raft(e.type, e.payload, &b);
        if (!rc && b.len > room - used) {
            char *more = raft_realloc(batch, room + b.len + 4096);
            if (more) {
                batch = more;
                room += b.len + 4096;
            } else {
                rc = SLV_E_NOMEM;
            }
        }
        if (!rc) {
            if (b.len) memcpy(batch + used, b.base, b.len);
            v[i] = (struct raft_entry){.term = e.term, .type = (unsigned short)e.type};
            v[i].buf.len = b.len;
            used += b.len;
        }
        raft_free(b.base);
    }
    if (rc) {
        raft_free(v);
        raft_free(batch);
        return rc;
    }
    used = 0;
    for (unsigned i = 0; i < m->n; i++) {
        v[i].buf.base = batch + used;
        v[i].batch = batch;
        used += v[i].buf.len;
    }
    a->entries = v;
    a->n_entries = m->n;
    return 0;
}

static void see_leases(struct slv_strong *s, const struct strong_msg *m) {
    struct slv_reader r = slv_reader_of(m->bytes.p, m->bytes.n);
    struct strong_entry e;
    for (unsigned i = 0; i < m->n && strong_entry_read(&r, &e); i++) {
        struct slv_reader p = slv_reader_of(e.payload.p, e.payload.n);
        struct slv_strong_command c;
        if (e.type == STRONG_COMMAND && strong_command_read(&p, &c) && (int)c.op == STRONG_LEAD)
            strong_call_lease_seen(s, c.ttl_ms);
    }
}

static bool receive_append(struct slv_strong *s, uint64_t from, const struct strong_msg *msg) {
    const struct raft *r = &s->raft;
    struct strong_msg m = *msg;
    struct raft_message out = {.type = RAFT_IO_APPEND_ENTRIES};
    struct raft_append_entries *a = &out.append_entries;
    if (m.term == r->current_term && r->state == RAFT_LEADER) return false;
    if (m.term < r->current_term) m.n = 0; /* it is told that it is late */
    else if (!trim(s, &m) || !admit(s, &m)) return false;
    see_leases(s, &m);
    a->term = m.term;
    a->prev_log_index = m.index;
    a->prev_log_term = m.index_term;
    a->leader_commit = m.commit < m.index + m.n ? m.commit : m.index + m.n;
    if (make_entries(&m, a)) return false;
    const uint64_t last_term = m.n ? a->entries[m.n - 1].term : 0;
    const bool joins = !m.index || strong_term_at(s, m.index) == m.index_term;
    s->owes = m.n > 0;
    strong_deliver(s, from, &out);
    if (m.n && joins && r->current_term == m.term && r->state == RAFT_FOLLOWER &&
        strong_term_at(s, m.index + m.n) == last_term)
        set_match(s, m.term, m.index + m.n);
    return true;
}

/* See 12 above. */
static void say_stored(struct slv_strong *s) {
    const struct raft *r = &s->raft;
    if (!s->owes || r->state != RAFT_FOLLOWER || !r->follower_state.current_leader.id) return;
    if (s->now - s->result_at < s->conf.heartbeat_ms * MS) return;
    const struct strong_msg m = {.kind = STRONG_APPEND_RESULT,
                                 .term = r->current_term,
                                 .commit = strong_guard_match(s, r->last_stored)};
    strong_send(s, r->follower_state.current_leader.id, &m, s->vote_ticket);
    s->owes = false;
    s->result_at = s->now;
}

/* --- how far the others are ------------------------------------------------------------------- */

/* The last index that a majority of voters has, when server i has `match`. */
static uint64_t majority(const struct raft *r, unsigned i, uint64_t match) {
    uint64_t v[SLV_STRONG_MEMBERS_MAX];
    unsigned n = 0;
    for (unsigned k = 0; k < r->configuration.n && n < SLV_STRONG_MEMBERS_MAX; k++) {
        if (r->configuration.servers[k].role != RAFT_VOTER) continue;
        const uint64_t x = k == i ? match : r->leader_state.progress[k].match_index;
        unsigned at = n++;
        for (; at && v[at - 1] < x; at--)
            v[at] = v[at - 1];
        v[at] = x;
    }
    return n ? v[n / 2] : 0;
}

/* What it remembers of the followers, after each result: see 8 above. */
static void mend(struct raft *r, uint64_t from, bool accepted) {
    for (unsigned k = 0; r->state == RAFT_LEADER && k < r->configuration.n; k++) {
        struct raft_progress *p = &r->leader_state.progress[k];
        if (p->state == SNAPSHOT && p->match_index >= p->snapshot_index) {
            p->state = PROBE;
            p->snapshot_index = 0;
            p->next_index = p->match_index + 1;
        }
        if (p->next_index <= p->match_index) p->next_index = p->match_index + 1;
        if (accepted && r->configuration.servers[k].id == from && p->state == PROBE &&
            p->match_index && p->next_index == p->match_index + 1)
            p->state = PIPELINE;
    }
}

static bool receive_result(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    struct raft *r = &s->raft;
    struct raft_message msg = {.type = RAFT_IO_APPEND_ENTRIES_RESULT};
    msg.append_entries_result = (struct raft_append_entries_result){m->term, m->at, m->commit};
    if (r->state != RAFT_LEADER || m->term != r->current_term) {
        strong_deliver(s, from, &msg);
        return true;
    }
    unsigned i = 0;
    while (i < r->configuration.n && r->configuration.servers[i].id != from)
        i++;
    if (i == r->configuration.n) return false;
    const uint64_t last = log_last(s);
    uint64_t match = r->leader_state.progress[i].match_index;
    if (m->at && m->at <= match) return false; /* of before that was acknowledged */
    if (m->at && m->commit < match) msg.append_entries_result.last_log_index = match;
    if (!m->at && m->commit > match) match = m->commit < last ? m->commit : last;
    const uint64_t common = majority(r, i, match), stored = r->last_stored;
    const bool counts = common > r->commit_index && strong_term_at(s, common) == r->current_term;
    r->last_stored = counts ? common : r->commit_index; /* what it looks at: see 1 above */
    strong_deliver(s, from, &msg);
    r->last_stored = stored;
    mend(r, from, !m->at);
    return true;
}

static void stand(struct slv_strong *s) {
    struct raft_message msg = {.type = RAFT_IO_TIMEOUT_NOW};
    const uint64_t by = s->chosen.by;
    msg.timeout_now =
        (struct raft_timeout_now){s->chosen.term, s->chosen.index, s->chosen.index_term};
    s->chosen.by = 0;
    if (s->now < s->chosen.until) strong_deliver(s, by, &msg);
}

/* (The leader says it once, and takes nothing while it waits. Where much is written, some is nearly
 * always on its way to this disk. What has come after, the core sees by index and term.) */
static bool receive_timeout(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    if (s->fresh_until) return false;
    s->chosen.by = from;
    s->chosen.until = s->now + s->conf.election_ms * MS;
    s->chosen.term = m->term;
    s->chosen.index = m->index;
    s->chosen.index_term = m->index_term;
    strong_guard_synced(s);
    return true;
}

void strong_guard_synced(struct slv_strong *s) {
    if (s->chosen.by && !strong_is_quiet(s)) stand(s);
}

/* --- all of them ------------------------------------------------------------------------------ */

void strong_guard_receive(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    static bool (*const fn[])(struct slv_strong *, uint64_t, const struct strong_msg *) = {
        [STRONG_VOTE] = receive_vote,           [STRONG_VOTE_RESULT] = receive_vote_result,
        [STRONG_APPEND] = receive_append,       [STRONG_APPEND_RESULT] = receive_result,
        [STRONG_TIMEOUT_NOW] = receive_timeout,
    };
    if (!fn[m->kind](s, from, m)) s->stats.guarded++;
}

/* Whether this is the only voter, and none else could ever be asked. */
static bool is_alone(const struct raft *r) {
    unsigned voters = 0;
    bool own = false;
    for (unsigned i = 0; i < r->configuration.n; i++) {
        voters += r->configuration.servers[i].role == RAFT_VOTER;
        own |= r->configuration.servers[i].role == RAFT_VOTER &&
               r->configuration.servers[i].id == r->id;
    }
    return own && voters == 1;
}

/* Who asks whether it would be voted for, and is told that the leader was heard from just now, asks
 * again soon: that costs no term. */
static void hurry(struct slv_strong *s) {
    struct raft *r = &s->raft;
    if (r->state != RAFT_CANDIDATE || !r->candidate_state.in_pre_vote) return;
    const unsigned most = s->conf.heartbeat_ms;
    if (r->candidate_state.randomized_election_timeout > 2 * most)
        r->candidate_state.randomized_election_timeout =
            most + (unsigned)(s->conf.world.random(s->conf.world.ctx) % most);
}

uint64_t strong_guard_due(const struct slv_strong *s) {
    const struct raft *r = &s->raft;
    uint64_t due = UINT64_MAX;
    if (r->state == RAFT_FOLLOWER)
        due = r->election_timer_start + r->follower_state.randomized_election_timeout;
    else if (r->state == RAFT_CANDIDATE)
        due = r->election_timer_start + r->candidate_state.randomized_election_timeout;
    return due < UINT64_MAX / MS && due * MS > s->now ? due * MS : UINT64_MAX;
}

void strong_guard_tick(struct slv_strong *s) {
    struct raft *r = &s->raft;
    say_stored(s);
    if (strong_is_quiet(s)) return;
    if (r->state == RAFT_FOLLOWER && is_alone(r) &&
        s->now / MS - r->election_timer_start >= r->follower_state.randomized_election_timeout) {
        s->io.set_term(&s->io, r->current_term + 1);
        s->io.set_vote(&s->io, r->id);
        r->current_term++;
        r->voted_for = r->id;
    }
    if (r->state == RAFT_CANDIDATE &&
        s->now / MS - r->election_timer_start >= r->candidate_state.randomized_election_timeout)
        r->candidate_state.in_pre_vote = true;
    s->tick_cb(&s->io);
    hurry(s);
}
