/* node_peer.c: see node.h. Peers, their links, and what comes and goes through them. */
#include "mesh/node_int.h"
#include "base/mem.h"

/* A link's datagram. Larger ones than a path takes are found out by the link. */
#define DATAGRAM_MAX 2048u
#define UNPACKED_MOST (4u << 20) /* bytes of a peer's that are unpacked beyond its rate */

/* --- peers ------------------------------------------------------------------------------------ */

static size_t peer_at(const struct slv_node *n, uint64_t id) {
    size_t lo = 0, hi = n->n_peer;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (n->peer[mid]->id < id) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

struct peer *node_peer(const struct slv_node *n, uint64_t id) {
    const size_t i = peer_at(n, id);
    return i < n->n_peer && n->peer[i]->id == id ? n->peer[i] : NULL;
}

/* NULL: no memory, or too many. */
static struct peer *open_peer(struct slv_node *n, uint64_t id) {
    const size_t i = peer_at(n, id);
    if (i < n->n_peer && n->peer[i]->id == id) return n->peer[i];
    void *v = n->peer;
    const int rc = slv_mem_grow(&v, n->n_peer, &n->room_peer, sizeof *n->peer, PEERS_MAX);
    n->peer = v;
    struct peer *p = rc ? NULL : slv_mem_calloc(1, sizeof *p);
    if (!p) return NULL;
    *p = (struct peer){.node = n, .id = id, .next = UINT64_MAX, .used = n->now};
    slv_buf_init(&p->early, EARLY_MAX * DATAGRAM_MAX);
    memmove(n->peer + i + 1, n->peer + i, (n->n_peer - i) * sizeof(struct peer *));
    n->peer[i] = p;
    n->n_peer++;
    return p;
}

static void free_peer(struct peer *p) {
    struct slv_node *n = p->node;
    for (size_t i = 0; i < n->n_dirty && p->dirty; i++)
        if (n->dirty[i] == p) n->dirty[i--] = n->dirty[--n->n_dirty];
    slv_link_close(p->link);
    slv_buf_fini(&p->early);
    slv_mem_free(p);
}

void node_free_peers(struct slv_node *n) {
    for (size_t i = 0; i < n->n_peer; i++)
        free_peer(n->peer[i]);
    slv_mem_free(n->peer);
    slv_mem_free(n->dirty);
    n->peer = n->dirty = NULL;
    n->n_peer = n->n_dirty = 0;
}

/* Its link has something to send, perhaps. (Without memory for that, all links are looked at.) */
static void mark(struct peer *p) {
    struct slv_node *n = p->node;
    void *v = n->dirty;
    if (p->dirty) return;
    const int rc = slv_mem_grow(&v, n->n_dirty, &n->room_dirty, sizeof *n->dirty, PEERS_MAX);
    n->dirty = v;
    p->dirty = !rc;
    if (rc) p->next = n->link_next = 0;
    else n->dirty[n->n_dirty++] = p;
}

/* There is something to say to it: that is a reason to try at once, whatever came of it before. */
static void want(struct peer *p) {
    const uint64_t now = p->node->now;
    p->used = now;
    if (p->link || (p->wanted && now - p->tried < CONNECT_NS)) return;
    p->wanted = now;
    p->gap = CONNECT_NS;
    p->node->look_next = now;
}

void node_is_back(struct slv_node *n, uint64_t id) {
    struct peer *p = node_peer(n, id);
    if (p && !p->link && p->wanted) want(p);
}

bool node_is_small(const struct slv_node *n) {
    return slv_swim_count(n->swim) <= n->conf.direct_max;
}

bool slv_node_is_connected(const struct slv_node *n, uint64_t id) {
    const struct peer *p = node_peer(n, id);
    return p && p->link;
}

/* --- what goes out ---------------------------------------------------------------------------- */

static void touch(struct peer *p) {
    mark(p);
    p->used = p->node->now;
}

static bool is_for_guests(enum slv_lane lane, struct slv_str bytes) {
    const unsigned kind = lane == SLV_LANE_REPAIR && bytes.n ? (uint8_t)bytes.p[0] : 0;
    return kind == MSG_JOIN || kind == MSG_ATTEST || kind == MSG_EVIDENCE;
}

struct slv_str node_packed(struct slv_node *n, struct slv_str message) {
    const struct slv_str packed = slv_pack(n->packer, message);
    if (packed.p == message.p) return message;
    n->stats.plain_bytes += message.n;
    n->stats.packed_bytes += packed.n;
    return packed;
}

int node_message(struct slv_node *n, uint64_t id, enum slv_lane lane, struct slv_str bytes) {
    struct peer *p = open_peer(n, id);
    if (!p) return SLV_E_NOMEM;
    want(p);
    if (!p->link || (p->is_guest && !is_for_guests(lane, bytes))) return SLV_E_BUSY;
    touch(p);
    return slv_link_send(p->link, lane, bytes);
}

bool node_datagram(struct slv_node *n, uint64_t id, struct slv_str bytes, bool asks) {
    struct peer *p = open_peer(n, id);
    if (!p) return false;
    want(p);
    if (p->link && p->is_guest) return false;
    if (p->link) {
        touch(p);
        p->asks = p->asks || asks;
        if (!slv_link_datagram(p->link, bytes)) return true;
        n->stats.refused++; /* as if it were lost */
        return false;
    }
    if (p->n_early == EARLY_MAX || bytes.n > SLV_SWIM_MESSAGE_MAX) return false;
    slv_write_bytes(&p->early, bytes.p, bytes.n);
    if (p->early.status) return false;
    p->n_early++;
    p->early_until = n->now + EARLY_NS;
    return false;
}

static void send_early(struct peer *p) {
    struct slv_reader r = slv_reader_of(p->early.data, p->early.len);
    while (!p->is_guest && slv_reader_left(&r) && p->node->now <= p->early_until)
        if (slv_link_datagram(p->link, slv_read_bytes(&r, SLV_SWIM_MESSAGE_MAX))) break;
    slv_buf_fini(&p->early);
    slv_buf_init(&p->early, EARLY_MAX * DATAGRAM_MAX);
    p->n_early = 0;
}

/* Enough for a rumour to reach everybody, by far most of the time: log2 n and some. */
static size_t fanout(const struct slv_node *n) {
    size_t k = 4;
    for (size_t m = slv_swim_count(n->swim); m > 1; m >>= 1)
        k++;
    return k;
}

size_t node_spread(struct slv_node *n, struct slv_str message, uint64_t not_to) {
    size_t most = node_is_small(n) ? SIZE_MAX : fanout(n), k = 0;
    struct slv_str packed = {NULL, 0};
    if (!n->n_peer) return 0;
    const size_t from = (size_t)node_random(n, n->n_peer);
    for (size_t i = 0; i < n->n_peer && k < most; i++) {
        struct peer *p = n->peer[(from + i) % n->n_peer];
        if (!p->link || p->is_guest || p->id == not_to) continue;
        touch(p);
        if (!packed.p) packed = node_packed(n, message);
        k += !slv_link_send(p->link, SLV_LANE_URGENT, packed);
    }
    return k;
}

void node_spread_all(struct slv_node *n, struct slv_str message) {
    for (size_t i = 0; i < n->n_peer; i++) {
        struct peer *p = n->peer[i];
        if (!p->link || p->is_guest) continue;
        touch(p);
        n->stats.unsent += slv_link_send(p->link, SLV_LANE_URGENT, message) != 0;
    }
}

static bool is_told(const struct peer *p) { return p->link && !p->is_guest; }

void node_tell_sums(struct slv_node *n, struct peer *p) {
    uint8_t print[SLV_SUM_BYTES] = {0};
    struct slv_buf b;
    const size_t from = n->n_peer ? (size_t)node_random(n, n->n_peer) : 0;
    for (size_t i = 0; i < n->n_peer && !p; i++)
        if (is_told(n->peer[(from + i) % n->n_peer])) p = n->peer[(from + i) % n->n_peer];
    if (!p || !is_told(p)) return;
    slv_buf_init(&b, SLV_MESSAGE_MAX);
    slv_buf_addc(&b, MSG_SUMS);
    if (n->roster) slv_roster_print(n->roster, print);
    slv_buf_add(&b, (const char *)print, sizeof print);
    slv_write_id(&b, node_retire_print(n));
    slv_write_number(&b, n->n_space);
    for (size_t i = 0; i < n->n_space; i++) {
        uint8_t sum[SLV_SUM_BYTES];
        slv_replica_sum(n->space[i]->replica, sum);
        slv_write_id(&b, n->space[i]->id);
        slv_buf_add(&b, sum, sizeof sum);
        slv_write_number(&b, slv_replica_cut(n->space[i]->replica));
    }
    const struct slv_str m = {b.data, b.len};
    touch(p);
    if (slv_link_datagram(p->link, m) == SLV_E_LIMIT && slv_link_send(p->link, SLV_LANE_REPAIR, m))
        n->stats.refused++;
    slv_buf_fini(&b);
    n->stats.rounds++;
}

static void pump(struct slv_node *n, struct peer *p) {
    const struct slv_node_world *w = &n->conf.world;
    char buf[DATAGRAM_MAX];
    size_t len = 1;
    while (p->link && len && !slv_link_poll(p->link, n->now, buf, sizeof buf, &len) && len) {
        n->stats.datagrams_sent++;
        n->stats.bytes_sent += len;
        if (!p->unheard && (p->asks || slv_link_waits(p->link))) p->unheard = n->now;
        p->asks = false;
        w->send(w->ctx, p->id, (struct slv_str){buf, len});
    }
    if (!p->link) return; /* sending has found that there is none any more */
    p->next = slv_link_next(p->link, n->now);
    if (p->next < n->link_next) n->link_next = p->next;
}

/* Those that are dirty, and, when one is due, all that are. */
void node_pump(struct slv_node *n) {
    for (size_t i = 0; i < n->n_dirty; i++) {
        struct peer *p = n->dirty[i];
        p->dirty = false;
        if (p->link) pump(n, p);
    }
    n->n_dirty = 0;
    if (n->now < n->link_next) return;
    n->link_next = UINT64_MAX;
    for (size_t i = 0; i < n->n_peer; i++) {
        struct peer *p = n->peer[i];
        if (p->link && p->next <= n->now) pump(n, p);
        else if (p->link && p->next < n->link_next) n->link_next = p->next;
    }
}

/* --- what comes in ---------------------------------------------------------------------------- */

static void measure_convergence(struct slv_node *n, struct peer *p, bool differs) {
    if (!differs && p->differs)
        node_measure(n, SLV_NODE_CONVERGENCE, 0, (double)(n->now - p->differs) / 1e9);
    if (!differs) p->differs = 0;
    else if (!p->differs) p->differs = n->now;
}

static void on_sums(struct slv_node *n, struct peer *p, struct slv_reader *m) {
    const struct slv_str print = slv_read_raw(m, SLV_SUM_BYTES);
    const uint64_t retired = slv_read_id(m), peer = p->id;
    uint8_t own[SLV_SUM_BYTES];
    bool differs = false;
    if (n->roster && !m->bad) {
        slv_roster_print(n->roster, own);
        if (memcmp(own, print.p, sizeof own) != 0) node_roster_differs(n, p);
    }
    if (!m->bad && retired && retired != node_retire_print(n)) node_retire_differs(n, p);
    uint64_t k = slv_read_number(m, SLV_NODE_SPACES_MAX);
    for (; k > 0 && !m->bad; k--) {
        const uint64_t id = slv_read_id(m);
        const struct slv_str theirs = slv_read_raw(m, SLV_SUM_BYTES);
        const uint64_t cut = slv_read_number(m, UINT64_MAX);
        struct space *s = node_space(n, id);
        uint8_t ours[SLV_SUM_BYTES];
        if (!m->bad && !s) node_other_heard(n, p->id, id);
        if (m->bad || !s) continue;
        s->is_shared = true;
        slv_replica_follow(s->replica, peer, cut);
        slv_replica_sum(s->replica, ours);
        if (!memcmp(ours, theirs.p, sizeof ours)) continue;
        n->stats.differing++;
        differs = true;
        slv_replica_differs(s->replica, peer, n->now);
    }
    if (!slv_reader_done(m)) {
        n->stats.refused++;
        return;
    }
    measure_convergence(n, p, differs);
    node_other_tick(n);
}

/* A peer that sends more than its rate gets no credit for more until it is within it again, and
 * others have their turn. What the group says, and snapshots of it, is not held up. */
static void hold(struct peer *p, bool on) {
    p->is_held = on;
    slv_link_hold(p->link, SLV_LANE_URGENT, on);
    slv_link_hold(p->link, SLV_LANE_REPAIR, on);
    mark(p);
}

static void pay(struct peer *p, size_t bytes) {
    struct slv_node *n = p->node;
    if (!n->conf.peer_rate) return;
    if (p->paid < n->now) p->paid = n->now;
    p->paid += bytes * 1000000000 / n->conf.peer_rate;
    if (p->is_held || p->paid - n->now <= 1000 * MS) return;
    n->stats.held++;
    hold(p, true);
}

/* `sent`: its bytes on the way, perhaps packed. */
static void take_message(struct peer *p, enum slv_lane lane, struct slv_str bytes, size_t sent) {
    struct slv_node *n = p->node;
    pay(p, lane == SLV_LANE_STRONG ? bytes.n - sent : bytes.n);
    struct slv_reader m = slv_reader_of(bytes.p, bytes.n);
    const uint64_t kind = slv_read_number(&m, MSG_RETIRED_ASK);
    if (kind == MSG_ATTEST || kind == MSG_EVIDENCE) {
        node_attest_receive(n, p, kind, &m);
        return;
    }
    if (p->is_guest || kind == MSG_JOIN) {
        if (kind == MSG_JOIN) node_roster_join(n, p, &m);
        else if (kind == MSG_ROSTER) node_roster_receive(n, p, &m);
        return;
    }
    if (lane == SLV_LANE_STRONG) {
        node_strong_receive(n, p->id, bytes);
        return;
    }
    if (kind == MSG_SUMS) {
        on_sums(n, p, &m);
        return;
    }
    if (kind == MSG_ROSTER) {
        node_roster_receive(n, p, &m);
        return;
    }
    if (kind == MSG_RETIRED || kind == MSG_RETIRED_ASK) {
        node_retire_receive(n, p, kind, &m);
        return;
    }
    const uint64_t id = slv_read_id(&m);
    struct space *s = m.bad ? NULL : node_space(n, id);
    if (m.bad || !kind) n->stats.refused++;
    if (!s || !kind) return;
    if (lane == SLV_LANE_REPAIR && slv_replica_asks(s->replica, p->id)) s->round += sent;
    const int rc = slv_replica_receive(s->replica, p->id, n->now, (enum slv_mesh_kind)kind, &m);
    if (rc == SLV_E_FORMAT || rc == SLV_E_TRUST) n->stats.refused++;
    node_end_round(s);
}

/* What it has on the way while it is held is little, but may be much when it is unpacked. */
static bool is_too_much(const struct peer *p) {
    const struct slv_node *n = p->node;
    const uint64_t rate = n->conf.peer_rate, over = p->paid > n->now ? p->paid - n->now : 0;
    return rate && over > 2000 * MS + (uint64_t)UNPACKED_MOST * 1000000000 / rate;
}

/* (Nothing is unpacked for a guest. Without memory it is as if it were lost.) */
static void on_message(void *ctx, enum slv_lane lane, struct slv_str bytes) {
    struct peer *p = ctx;
    struct slv_node *n = p->node;
    const size_t sent = bytes.n;
    p->used = n->now;
    if (n->failed || (slv_is_packed(bytes) && p->is_guest)) return;
    if (lane == SLV_LANE_BULK || (lane != SLV_LANE_STRONG && is_too_much(p))) {
        n->stats.refused++; /* nothing is sent in bulk */
        return;
    }
    const int rc = slv_is_packed(bytes) ? slv_unpack(n->packer, bytes, &bytes) : 0;
    n->stats.refused += rc == SLV_E_FORMAT;
    if (!rc) take_message(p, lane, bytes, sent);
}

/* Members' messages begin with their version, which is above all kinds. */
static void on_datagram(void *ctx, struct slv_str bytes) {
    struct peer *p = ctx;
    struct slv_node *n = p->node;
    if (!bytes.n || n->failed || p->is_guest) return;
    p->used = n->now;
    if ((uint8_t)bytes.p[0] <= MSG_JOIN) {
        if (!p->is_held) on_message(p, SLV_LANE_REPAIR, bytes);
        return;
    }
    if (slv_swim_receive(n->swim, n->now, p->id, bytes.p, bytes.n) == SLV_E_FORMAT)
        n->stats.refused++;
    n->swim_next = n->now;
}

void slv_node_receive(struct slv_node *n, uint64_t now, uint64_t peer, struct slv_str datagram) {
    struct peer *p = node_peer(n, peer);
    n->now = now;
    if (n->failed || !p || !p->link) return;
    n->stats.datagrams_received++;
    n->stats.bytes_received += datagram.n;
    p->unheard = 0;
    if (slv_link_receive(p->link, now, datagram) == SLV_E_FORMAT) n->stats.refused++;
    else if (!p->is_guest) slv_swim_heard(n->swim, now, peer);
    mark(p);
}

/* --- associations ----------------------------------------------------------------------------- */

/* What is on the way in an association is lost with it. */
static void lose(struct slv_node *n, uint64_t id) {
    for (size_t i = 0; i < n->n_space; i++)
        slv_replica_lost(n->space[i]->replica, id, n->now);
    node_strong_lost(n, id);
}

static void close_link(struct peer *p) {
    if (!p->link) return;
    lose(p->node, p->id);
    slv_link_close(p->link);
    p->link = NULL;
    p->next = UINT64_MAX;
}

void node_shut(struct slv_node *n, struct peer *p) {
    if (!p->is_guest) lose(n, p->id);
    p->is_guest = true;
}

/* (Members that have not shown anything yet are as many as the authority has named.) */
static size_t count_strangers(const struct slv_node *n) {
    size_t k = 0;
    for (size_t i = 0; i < n->n_peer; i++)
        k += n->peer[i]->link && n->peer[i]->is_guest && !node_may_join(n, n->peer[i]->id);
    return k;
}

int slv_node_up(struct slv_node *n, uint64_t now, uint64_t id) {
    struct slv_link_conf c = n->conf.link;
    struct slv_link *link;
    n->now = now;
    const bool is_stranger = n->roster && !node_may_join(n, id);
    if (is_stranger && count_strangers(n) >= GUESTS_MAX) return SLV_E_BUSY;
    struct peer *p = n->failed ? NULL : open_peer(n, id);
    if (!p) return SLV_E_NOMEM;
    c.on_message = on_message;
    c.on_datagram = on_datagram;
    c.ctx = p;
    const int rc = slv_link_open(&c, &link);
    if (rc) return rc;
    close_link(p);
    node_strong_lost(n, id); /* what it was handed without a link did not go */
    p->link = link;
    p->is_held = false;
    if (p->paid > now + 1000 * MS) hold(p, true); /* as in the association before */
    p->is_guest = is_stranger || node_attest_wants(n, id);
    p->wanted = p->unheard = 0;
    p->up = p->used = now;
    mark(p);
    node_attest_begin(n, p);
    send_early(p);
    if (!p->is_guest) slv_swim_met(n->swim, now, id);
    node_tell_sums(n, p);
    return 0;
}

void slv_node_down(struct slv_node *n, uint64_t now, uint64_t id) {
    struct peer *p = node_peer(n, id);
    n->now = now;
    if (p) close_link(p);
}

static void try_to_connect(struct slv_node *n, struct peer *p) {
    const struct slv_node_world *w = &n->conf.world;
    struct slv_swim_member m = {.state = SLV_SWIM_DEAD};
    const bool known = !slv_swim_find(n->swim, p->id, &m);
    if (n->now < p->wanted || m.state == SLV_SWIM_REMOVED) return;
    p->tried = n->now;
    p->wanted = n->now + p->gap;
    p->gap = 2 * p->gap < CONNECT_MOST_NS ? 2 * p->gap : CONNECT_MOST_NS;
    w->connect(w->ctx, p->id, known ? m.record : (struct slv_str){"", 0});
}

void node_disconnect(struct slv_node *n, struct peer *p) {
    const struct slv_node_world *w = &n->conf.world;
    if (p->link) w->disconnect(w->ctx, p->id);
    close_link(p);
    p->wanted = p->unheard = 0;
}

void node_disconnect_all(struct slv_node *n) {
    for (size_t i = 0; i < n->n_peer; i++)
        node_disconnect(n, n->peer[i]);
    n->look_next = n->now;
}

/* Whether there is nothing more to keep of a peer. */
static bool is_done(struct slv_node *n, struct peer *p) {
    struct slv_swim_member m = {.state = SLV_SWIM_DEAD};
    const bool known = !slv_swim_find(n->swim, p->id, &m);
    if (known && m.state == SLV_SWIM_REMOVED) return true;
    if (known && m.state <= SLV_SWIM_SUSPECT && node_is_small(n)) return false;
    if (p->link && p->is_guest && node_attest_wants(n, p->id)) return false; /* it is asked again */
    return n->now - p->used > n->conf.idle_ms * MS;
}

/* A peer that has begun anew no longer has the association, and does not say so. One that was taken
 * for dead since it was made need not be waited for: it is found again by a new one only. (Who
 * waits for what this node has to show answers nothing.) */
static bool is_silent(struct slv_node *n, const struct peer *p) {
    struct slv_swim_member m;
    const bool is_waiting = p->asked.waits || p->asked.is_quoted;
    const bool is_dead = !is_waiting && !slv_swim_find(n->swim, p->id, &m) &&
                         m.state == SLV_SWIM_DEAD && p->up < m.since;
    return p->unheard && n->now - p->unheard > (is_dead ? SILENT_DEAD_NS : SILENT_NS);
}

/* All members, where they are few. */
static void want_members(struct slv_node *n) {
    struct slv_swim_member m;
    if (!node_is_small(n)) return;
    for (size_t i = 0; i < slv_swim_count(n->swim); i++) {
        slv_swim_at(n->swim, i, &m);
        if (m.id == n->conf.id || m.state > SLV_SWIM_SUSPECT) continue;
        struct peer *p = open_peer(n, m.id);
        if (p && !p->link && !p->wanted) want(p);
    }
}

static void look(struct slv_node *n) {
    uint64_t next = n->now + LOOK_NS;
    n->look_next = UINT64_MAX;
    want_members(n);
    for (size_t i = 0; i < n->n_peer; i++) {
        struct peer *p = n->peer[i];
        const bool dead = p->link && (is_silent(n, p) || slv_link_dead(p->link));
        const bool done = is_done(n, p);
        if (dead || done) node_disconnect(n, p);
        if (done) {
            free_peer(p);
            memmove(n->peer + i, n->peer + i + 1, (n->n_peer - i - 1) * sizeof(struct peer *));
            n->n_peer--;
            i--;
            continue;
        }
        if (p->link && p->is_held && p->paid <= n->now + 500 * MS) hold(p, false);
        if (!p->link && p->wanted) try_to_connect(n, p);
        if (!p->link && p->wanted && p->wanted < next) next = p->wanted;
    }
    n->look_next = next;
}

uint64_t node_tick_peers(struct slv_node *n) {
    if (n->now >= n->look_next) look(n);
    return n->look_next;
}
