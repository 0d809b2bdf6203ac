/* replica_pull.c: see replica.h. Asking a peer for the batches that are missing here, and being
 * asked. */
#include "mesh/replica_int.h"
#include "base/mem.h"

enum { GIVE_MORE = 1, GIVE_GONE = 2, GIVE_FLAGS = 3 };

/* A message of batches is about so long. */
#define CHUNK ((size_t)48 << 10)

/* --- whom not to ask -------------------------------------------------------------------------- */

static struct shy *find_shy(struct slv_replica *r, uint64_t peer) {
    for (size_t i = 0; i < SHY_MAX; i++)
        if (r->shy[i].gap && r->shy[i].peer == peer) return &r->shy[i];
    return NULL;
}

/* A place for it, if need be that of the one that may be asked again the soonest. */
static struct shy *room_for_shy(struct slv_replica *r) {
    struct shy *s = &r->shy[0];
    for (size_t i = 1; i < SHY_MAX && s->gap; i++)
        if (!r->shy[i].gap || r->shy[i].until < s->until) s = &r->shy[i];
    return s;
}

static void leave_alone(struct slv_replica *r, uint64_t peer, uint64_t now, bool useless) {
    struct shy *had = find_shy(r, peer), *s = had ? had : room_for_shy(r);
    uint64_t gap = useless ? SHY_NS : SHY_NS / 4;
    if (had && useless) gap = 2 * had->gap < SHY_MOST_NS ? 2 * had->gap : SHY_MOST_NS;
    *s = (struct shy){peer, now + gap, gap};
}

/* --- asking ----------------------------------------------------------------------------------- */

bool slv_replica_asking(const struct slv_replica *r) { return r->pull.what != NOBODY; }
bool slv_replica_asks(const struct slv_replica *r, uint64_t peer) {
    return r->pull.what != NOBODY && r->pull.peer == peer;
}

void replica_pull_end(struct slv_replica *r, uint64_t now, enum outcome o) {
    const struct slv_replica_world *w = r->conf.world;
    const bool gained = r->pull.gained;
    struct shy *s = find_shy(r, r->pull.peer);
    replica_forget_ranges(r);
    r->pull.what = NOBODY;
    r->count.useless += o == USELESS;
    if (o != GAINS) leave_alone(r, r->pull.peer, now, o == USELESS);
    else if (s) *s = (struct shy){0};
    if (gained) w->pulled(w->ctx);
}

static void send_pull(struct slv_replica *r, uint64_t now) {
    struct slv_dots shown = {0};
    struct slv_buf b;
    r->pull.id = ++r->pull_id;
    r->pull.deadline = now + ANSWER_NS;
    r->pull.gains = r->pull.came = false;
    if (replica_shown(r, &shown)) return; /* as if it were lost */
    replica_begin(r, &b, SLV_MSG_PULL);
    slv_write_id(&b, r->pull.id);
    slv_write_number(&b, r->pull.budget);
    replica_write_cut(r, &b);
    slv_dots_write(&shown, &b);
    slv_dots_fini(&shown);
    if (replica_send(r, r->pull.peer, &b)) r->pull.deadline = now + SHY_NS;
}

void slv_replica_differs(struct slv_replica *r, uint64_t peer, uint64_t now) {
    const struct shy *s = find_shy(r, peer);
    if (r->pull.what != NOBODY || r->failed || (s && now < s->until)) return;
    r->pull.what = FOR_BATCHES;
    r->pull.peer = peer;
    r->pull.budget = BUDGET_MIN;
    r->pull.gained = false;
    r->count.pulls++;
    send_pull(r, now);
}

uint64_t slv_replica_next(const struct slv_replica *r) {
    return r->pull.what == NOBODY ? UINT64_MAX : r->pull.deadline;
}

void slv_replica_tick(struct slv_replica *r, uint64_t now) {
    if (r->pull.what == NOBODY || now < r->pull.deadline) return;
    r->count.unanswered++;
    replica_pull_end(r, now, USELESS);
}

/* (It is no fault of the peer's.) */
void slv_replica_lost(struct slv_replica *r, uint64_t peer, uint64_t now) {
    if (r->pull.what != NOBODY && r->pull.peer == peer) replica_pull_end(r, now, GAINS);
}

void replica_heard(struct slv_replica *r, uint64_t peer, uint64_t now, bool gains) {
    if (r->pull.what != FOR_BATCHES || r->pull.peer != peer) return;
    r->pull.came = true;
    if (!gains) return;
    r->pull.gains = r->pull.gained = true;
    r->pull.deadline = now + ANSWER_NS;
}

/* --- being asked ------------------------------------------------------------------------------ */

struct give {
    const struct slv_replica *r;
    uint64_t peer;
    size_t left; /* bytes that may still be given */
    bool more;
    struct slv_buf b;
};

static int give_chunk(struct give *g) {
    const int rc = replica_send(g->r, g->peer, &g->b);
    replica_begin(g->r, &g->b, SLV_MSG_BATCH);
    if (rc) g->more = true;
    return rc;
}

/* At least one, whatever the budget. */
static int give_batch(void *ctx, struct slv_str bytes) {
    struct give *g = ctx;
    if (g->b.len + bytes.n > CHUNK && g->b.len > 9) {
        const int rc = give_chunk(g);
        if (rc) return rc;
    }
    slv_buf_add(&g->b, bytes.p, bytes.n);
    g->more = bytes.n >= g->left;
    g->left -= g->more ? g->left : bytes.n;
    return g->more;
}

/* What of `have` and the log is not in theirs. */
static int give(struct slv_replica *r, uint64_t peer, const struct slv_dots *have,
                const struct slv_dots *theirs, size_t budget, unsigned *ret_flags) {
    struct give g = {.r = r, .peer = peer, .left = budget};
    bool gone;
    replica_begin(r, &g.b, SLV_MSG_BATCH);
    slv_oplog_missing(r->log, have, theirs, give_batch, &g, &gone);
    int rc = 0;
    if (g.b.len > 9) rc = give_chunk(&g);
    slv_buf_fini(&g.b);
    *ret_flags = (g.more ? GIVE_MORE : 0u) | (gone ? GIVE_GONE : 0u);
    return rc;
}

static void send_give(struct slv_replica *r, uint64_t peer, uint64_t id, unsigned flags,
                      const struct slv_dots *shown) {
    uint8_t seen[SLV_SUM_BYTES], there[SLV_SUM_BYTES];
    struct slv_buf b;
    replica_sums(r, shown, seen, there);
    replica_begin(r, &b, SLV_MSG_GIVE);
    slv_write_id(&b, id);
    slv_write_number(&b, flags);
    replica_write_cut(r, &b);
    slv_buf_add(&b, seen, sizeof seen);
    slv_buf_add(&b, there, sizeof there);
    if (replica_send(r, peer, &b)) return; /* it asks again */
}

int replica_on_pull(struct slv_replica *r, uint64_t peer, uint64_t now, struct slv_reader *m) {
    const uint64_t id = slv_read_id(m), budget = slv_read_number(m, BUDGET_MAX);
    struct slv_dots theirs = {0}, shown = {0};
    unsigned flags = 0;
    if (!replica_read_cut(r, peer, m, NULL) && m->bad) return SLV_E_FORMAT;
    int rc = m->bad ? SLV_E_FORMAT : slv_dots_read(m, &theirs);
    if (!rc && !slv_reader_done(m)) rc = SLV_E_FORMAT;
    if (!rc) rc = replica_shown(r, &shown);
    const bool more_there = !rc && !slv_space_covers(&r->space, &theirs);
    bool lacks = false;
    if (!rc) rc = replica_level(r, &theirs, &lacks);
    if (!rc) rc = give(r, peer, &shown, &theirs, (size_t)budget, &flags);
    if (lacks) flags |= GIVE_GONE; /* it is in no log */
    if (!rc) send_give(r, peer, id, flags, &shown);
    slv_dots_fini(&shown);
    slv_dots_fini(&theirs);
    if (more_there) slv_replica_differs(r, peer, now);
    return rc == SLV_E_BUSY ? 0 : rc;
}

/* --- what was given --------------------------------------------------------------------------- */

/* Whether all was seen that the other has seen, and what is there differs all the same. */
static bool is_damaged(struct slv_replica *r, const uint8_t *seen, const uint8_t *there) {
    uint8_t own_seen[SLV_SUM_BYTES], own_there[SLV_SUM_BYTES];
    struct slv_dots shown = {0};
    if (r->synced != r->next - 1 || replica_shown(r, &shown)) return false;
    replica_sums(r, &shown, own_seen, own_there);
    slv_dots_fini(&shown);
    return !memcmp(own_seen, seen, SLV_SUM_BYTES) && memcmp(own_there, there, SLV_SUM_BYTES) != 0;
}

static void ask_more(struct slv_replica *r, uint64_t now) {
    r->pull.budget = 2 * r->pull.budget < BUDGET_MAX ? 2 * r->pull.budget : BUDGET_MAX;
    send_pull(r, now);
}

int replica_on_give(struct slv_replica *r, uint64_t peer, uint64_t now, struct slv_reader *m) {
    const uint64_t id = slv_read_id(m), flags = slv_read_number(m, GIVE_FLAGS);
    uint64_t at = 0;
    const bool near = replica_read_cut(r, peer, m, &at);
    const struct slv_str seen = slv_read_raw(m, SLV_SUM_BYTES);
    const struct slv_str there = slv_read_raw(m, SLV_SUM_BYTES);
    const struct slv_replica_world *w = r->conf.world;
    if (!slv_reader_done(m)) return SLV_E_FORMAT;
    if (r->pull.what != FOR_BATCHES || r->pull.peer != peer || r->pull.id != id) return 0;
    if (flags & GIVE_MORE && r->pull.gains) {
        ask_more(r, now);
        return 0;
    }
    /* (What batches wait for is not in the log of one who has seen them: it may be in nobody's.) */
    const bool ranges = flags & GIVE_GONE || (r->pull.came && !r->pull.gains && r->waiting) ||
                        (near && at == r->space.ttl.cut &&
                         is_damaged(r, (const uint8_t *)seen.p, (const uint8_t *)there.p));
    if (ranges && w->may_repair(w->ctx, peer)) replica_ask_all(r, now);
    else replica_pull_end(r, now, r->pull.gained ? GAINS : r->pull.came ? USELESS : NOTHING);
    return 0;
}
