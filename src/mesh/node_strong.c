/* node_strong.c: see node.h. The node's part in the group that agrees on the strong spaces: its
 * records in the node's own transactions, its messages in a lane of the links, and what was asked
 * until it is decided. (Who votes, and who leads: node_roles.c.)
 *
 *     frames of the lane: kind, group (8), then
 *       MESSAGE  of the group's own (strong_wire.h)
 *       HELLO    leader (8): who is not in the group may be; group (8) out of which this one was
 *                made, if it was: who is in that one, and hears no leader of it, goes over
 *       READY    to the leader: this node can be added
 *       WHO      leads? answered with HELLO by those who know
 *       LEAD     to the leader: it should hand over to a voter (8)
 *
 * A node that is founded begins a group. Others take part when a leader that they hear of says
 * HELLO. They start as if they had lost their records, for perhaps they have: with those of a whole
 * disk the node forgets that it had voted. The group lets such a node in again by its own rule
 * (strong.h), and one that it never saw too.
 *
 * What is asked is sent again until it is decided, or its time is up: each under a client's number,
 * so that it is done once. */
#include "mesh/node_int.h"
#include "base/mem.h"

#define GROUP_KEY 'G'              /* behind it: the group's number; others are the group's */
#define AGAIN_NS (40 * MS)         /* until something is asked again, at first, */
#define AGAIN_MOST_NS (640 * MS)   /* and at most */
#define WHO_NS (300 * MS)          /* between two of them */
#define CALL_MS 2000u              /* until an answer is taken for lost */
#define RIVAL_NS (10000 * MS)      /* another group that was not heard of for so long is gone */
#define SUPERSEDED_NS (10000 * MS) /* without a leader, before another group is gone over to */

enum frame { MESSAGE = 1, HELLO, READY, WHO, LEAD };

/* --- what goes out ---------------------------------------------------------------------------- */

static void send_frame(struct slv_node *n, uint64_t peer, enum frame kind, struct slv_str rest) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_LINK_MESSAGE_MAX);
    slv_buf_addc(&b, (char)kind);
    slv_write_id(&b, n->strong.group);
    slv_buf_add(&b, rest.p, rest.n);
    const struct slv_str m = {b.data, b.len};
    if (!b.status && node_message(n, peer, SLV_LANE_STRONG, node_packed(n, m)))
        n->stats.unsent++; /* as if it were lost */
    slv_buf_fini(&b);
}

void node_strong_hello(struct slv_node *n, uint64_t peer, uint64_t leader) {
    struct slv_buf b;
    slv_buf_init(&b, 16);
    slv_write_id(&b, leader);
    if (n->strong.was) slv_write_id(&b, n->strong.was);
    send_frame(n, peer, HELLO, (struct slv_str){b.data, b.len});
    slv_buf_fini(&b);
}

void node_strong_ask_lead(struct slv_node *n, uint64_t leader, uint64_t to) {
    struct slv_buf b;
    slv_buf_init(&b, 16);
    slv_write_id(&b, to);
    send_frame(n, leader, LEAD, (struct slv_str){b.data, b.len});
    slv_buf_fini(&b);
}

static void on_send(void *ctx, uint64_t peer, struct slv_str bytes) {
    send_frame(ctx, peer, MESSAGE, bytes);
}

/* --- records ---------------------------------------------------------------------------------- */

/* The group's keys are short. */
static struct slv_str record_key(char buf[16], struct slv_str key) {
    const size_t n = key.n < 15 ? key.n : 15;
    buf[0] = RECORD_STRONG;
    memcpy(buf + 1, key.p, n);
    return (struct slv_str){buf, n + 1};
}

static int on_put(void *ctx, struct slv_str key, struct slv_str value) {
    char buf[16];
    return node_put(ctx, record_key(buf, key), value);
}

static int on_del(void *ctx, struct slv_str key) {
    char buf[16];
    return node_del(ctx, record_key(buf, key));
}

/* It goes with the node's next transaction, which is to be soon. */
static int on_commit(void *ctx, uint64_t ticket) {
    struct slv_node *n = ctx;
    n->strong.ticket = ticket;
    n->has_writes = true;
    return n->failed ? SLV_E_IO : 0;
}

static int put_group(struct slv_node *n) {
    static const char key = GROUP_KEY;
    struct slv_buf b;
    slv_buf_init(&b, 16);
    slv_write_id(&b, n->strong.group);
    if (n->strong.was) slv_write_id(&b, n->strong.was);
    const int rc =
        b.status ? b.status : on_put(n, (struct slv_str){&key, 1}, (struct slv_str){b.data, b.len});
    slv_buf_fini(&b);
    return rc;
}

/* --- the group -------------------------------------------------------------------------------- */

static uint64_t on_random(void *ctx) {
    const struct slv_node_world *w = &((struct slv_node *)ctx)->conf.world;
    return w->random(w->ctx);
}

static void on_event(void *ctx, enum slv_strong_event e, uint64_t id) {
    struct slv_node *n = ctx;
    switch (e) {
    case SLV_STRONG_LEADER:
        if (id == n->conf.id) n->strong.leads_since = n->now;
        if (id) n->strong.heard = n->now;
        n->strong.led = n->strong.led || id;
        n->strong.policy_next = n->now;
        for (size_t i = 0; id && i < n->strong.n_ask; i++) /* now there is somebody to ask */
            n->strong.ask[i]->next = n->now;
        node_event(n, SLV_NODE_LEADER, id, 0);
        break;
    case SLV_STRONG_STEPPED_DOWN:
        n->strong.change = 0;
        n->strong.heard = n->now;
        break;
    case SLV_STRONG_FAILED:
        node_fail(n, SLV_NODE_FAILED);
        break;
    case SLV_STRONG_DAMAGED:
        node_roles_hurt(n, id);
        if (slv_strong_role(n->strong.s, id) != SLV_STRONG_GONE) /* others are new to it */
            node_event(n, SLV_NODE_DAMAGED, id, 0);
        break;
    case SLV_STRONG_READMITTED:
        n->strong.is_ready = true;
        break;
    }
}

static void on_answer(void *ctx, uint64_t call, const struct slv_strong_result *r);

/* All members may read, and use invitations (keys of the group's own space, as long as those are);
 * leases are nobody's until keys have them. */
static bool may_ask(void *ctx, uint64_t peer, const struct slv_strong_command *c) {
    const struct slv_node *n = ctx;
    struct slv_str name = {"", 0};
    if (c->op == SLV_STRONG_GET || !c->key.n) return true;
    if (!c->space) return c->key.n == SLV_ROSTER_KEY || node_retire_may_ask(n, peer, c);
    for (size_t i = 0; i < n->n_agreed; i++)
        if (n->agreed[i].id == c->space)
            name = (struct slv_str){n->agreed[i].name, strlen(n->agreed[i].name)};
    return node_may_write(n, peer, name, c->space, c->key);
}

static int open_group(struct slv_node *n) {
    const struct slv_strong_conf c = {
        .id = n->conf.id,
        .world = {on_send, on_put, on_del, on_commit, on_random, on_event, on_answer, n, may_ask},
        .heartbeat_ms = n->conf.heartbeat_ms ? n->conf.heartbeat_ms : 120,
        .election_ms = n->conf.election_ms ? n->conf.election_ms : 400,
        .call_ms = CALL_MS,
        .log_max = n->conf.group_log,
        .readmit = true,
    };
    return n->strong.s ? 0 : slv_strong_open(&c, &n->strong.s);
}

static int begin_group(struct slv_node *n, uint64_t group, bool damaged) {
    n->strong.group = group;
    int rc = group ? put_group(n) : 0;
    if (!rc) rc = slv_strong_start(n->strong.s, n->now, damaged);
    n->strong.started = !rc;
    n->strong.heard = n->now;
    n->strong.next = n->now;
    n->has_writes = true;
    return rc;
}

/* (What was asked of it may have been done, and is asked of the next; what waits to be synced is
 * nobody's any more.) */
static void close_group(struct slv_node *n) {
    slv_strong_close(n->strong.s);
    n->strong.s = NULL;
    n->strong.started = false;
    n->strong.ticket = n->strong.committing = n->strong.durable = n->strong.change = 0;
    for (size_t i = 0; i < n->strong.n_ask; i++) {
        struct node_ask *a = n->strong.ask[i];
        if (!a->call) continue;
        a->unknown = a->unknown || a->command.op != SLV_STRONG_GET;
        a->call = 0;
        a->next = n->now;
    }
    for (size_t i = 0; i < n->n_agreed; i++)
        n->agreed[i].watched = false;
}

/* What is kept of a group that is given up. */
static int forget_group(struct slv_node *n) {
    static const char group = GROUP_KEY, fresh = 'Q';
    close_group(n);
    n->strong.group = 0;
    const int rc = on_del(n, (struct slv_str){&group, 1});
    return rc ? rc : on_del(n, (struct slv_str){&fresh, 1});
}

/* A leader is there, or was not long ago. (Who only learns takes the one that it heard last for the
 * leader.) */
static bool is_led(const struct slv_node *n) {
    const struct slv_strong *s = n->strong.s;
    if (slv_strong_leads(s)) return true;
    return slv_strong_role(s, n->conf.id) == SLV_STRONG_VOTER
               ? slv_strong_leader(s) != 0
               : n->now - n->strong.heard <= SUPERSEDED_NS;
}

/* The node is opened anew when that is on the disk: so it is what a crash then would have made.
 * Until then it takes no part in any group. */
static int found_copy(struct slv_node *n) {
    if (!n->strong.started || is_led(n)) return SLV_E_USAGE;
    int rc = slv_strong_take_over(n->strong.s, n->now);
    if (rc == SLV_E_USAGE) return rc;
    n->strong.was = n->strong.group;
    n->strong.group = on_random(n) | 1;
    if (!rc) rc = put_group(n);
    n->strong.refounds = n->has_writes = true;
    close_group(n);
    if (rc) node_fail(n, SLV_NODE_FAILED); /* half of it may be put */
    return rc;
}

/* What it has of its group goes: it takes part in another as if it had never been in one. */
static int go_over(struct slv_node *n, uint64_t group, uint64_t was) {
    int rc = slv_strong_erase(n->strong.s);
    close_group(n);
    n->strong.was = was;
    if (!rc) rc = open_group(n);
    return rc ? rc : begin_group(n, group, true);
}

static int give_up(struct slv_node *n) {
    if (!n->strong.started || !slv_node_rival(n)) return SLV_E_USAGE;
    const int rc = go_over(n, n->strong.other, 0);
    if (rc) node_fail(n, SLV_NODE_FAILED); /* half of it may be put */
    return rc;
}

int slv_node_found(struct slv_node *n, uint64_t now, enum slv_node_founding how) {
    n->now = now;
    if (!n->started || n->failed || n->strong.refounds) return SLV_E_USAGE;
    if (how == SLV_FOUND_COPY) return found_copy(n);
    if (how == SLV_FOUND_OTHER) return give_up(n);
    const bool anew = how == SLV_FOUND_ANEW;
    if (n->strong.s && !(anew && slv_strong_is_lost(n->strong.s))) return SLV_E_USAGE;
    n->strong.was = n->strong.s ? n->strong.group : 0;
    int rc = n->strong.s ? forget_group(n) : 0;
    if (!rc) rc = open_group(n);
    if (!rc) rc = slv_strong_bootstrap(n->strong.s, &n->conf.id, 1);
    if (!rc) rc = begin_group(n, on_random(n) | 1, false);
    if (rc) node_fail(n, SLV_NODE_FAILED); /* half of it may be put */
    return rc;
}

int node_strong_load(struct slv_node *n, struct slv_str key, struct slv_str value) {
    const struct slv_str own = {key.p + 1, key.n - 1};
    int rc = open_group(n);
    if (rc) return rc;
    if (own.n != 1 || own.p[0] != GROUP_KEY) return slv_strong_load(n->strong.s, own, value);
    struct slv_reader r = slv_reader_of(value.p, value.n);
    n->strong.group = slv_read_id(&r);
    n->strong.was = slv_reader_left(&r) ? slv_read_id(&r) : 0;
    return slv_reader_done(&r) ? 0 : SLV_E_FORMAT;
}

/* (Records without a group's number: that one is lost, and is told by the next HELLO.) */
int node_strong_start(struct slv_node *n, bool damaged) {
    if (!n->strong.s) return 0;
    return begin_group(n, n->strong.group, damaged || !n->strong.group);
}

void node_strong_close(struct slv_node *n) {
    slv_strong_close(n->strong.s);
    for (size_t i = 0; i < n->strong.n_ask; i++) {
        slv_mem_free(n->strong.ask[i]->bytes);
        slv_mem_free(n->strong.ask[i]);
    }
    slv_mem_free(n->strong.ask);
    slv_mem_free(n->strong.ready);
}

void node_strong_committed(struct slv_node *n) {
    n->strong.committing = n->strong.ticket;
    n->strong.refounded = n->strong.refounds;
}

void node_strong_synced(struct slv_node *n) {
    if (n->strong.refounded) {
        node_fail(n, SLV_NODE_REFOUNDED);
        return;
    }
    if (n->strong.committing == n->strong.durable) return;
    n->strong.durable = n->strong.committing;
    slv_strong_synced(n->strong.s, n->now, n->strong.durable);
    n->strong.next = n->now;
}

struct slv_strong *slv_node_strong(const struct slv_node *n) {
    return n->strong.started ? n->strong.s : NULL;
}

uint64_t slv_node_group(const struct slv_node *n) {
    return n->strong.started || n->strong.refounds ? n->strong.group : 0;
}

/* --- spaces ----------------------------------------------------------------------------------- */

static void on_change(void *ctx, const struct slv_strong_change *c) {
    const struct node_agreed *a = ctx;
    const struct slv_node_world *w = &a->node->conf.world;
    if (w->agreed_changed) w->agreed_changed(w->ctx, a->index, c->key);
}

int slv_node_agreed(struct slv_node *n, struct slv_str name, size_t *ret) {
    if (n->n_agreed == SLV_NODE_SPACES_MAX || name.n > SLV_NODE_SPACE_NAME_MAX) return SLV_E_LIMIT;
    if (node_has_name(n, name)) return SLV_E_USAGE;
    struct node_agreed *a = &n->agreed[n->n_agreed];
    a->node = n;
    a->index = n->n_agreed;
    memcpy(a->name, name.p, name.n);
    a->id = node_space_id(name, "strong", 's', 0);
    *ret = n->n_agreed++;
    return 0;
}

size_t slv_node_agreed_count(const struct slv_node *n) { return n->n_agreed; }
const char *slv_node_agreed_name(const struct slv_node *n, size_t i) { return n->agreed[i].name; }
uint64_t slv_node_agreed_id(const struct slv_node *n, size_t i) { return n->agreed[i].id; }

/* Once, as soon as there is something to watch. */
static void watch_spaces(struct slv_node *n) {
    const struct slv_str all = {"", 0};
    uint64_t watch;
    for (size_t i = 0; i < n->n_agreed; i++) {
        struct node_agreed *a = &n->agreed[i];
        if (!a->watched && !slv_strong_watch(n->strong.s, a->id, all, 0, on_change, a, &watch))
            a->watched = true;
    }
}

/* --- what is asked ---------------------------------------------------------------------------- */

/* The lowest number that is free: as few clients as are needed at once. */
static unsigned free_client(const struct slv_node *n) {
    unsigned k = 0;
    while (n->strong.client[k].busy)
        k++;
    return k;
}

static void begin_client(struct slv_node *n, struct node_ask *a) {
    struct node_client *k = &n->strong.client[a->client];
    if (!k->id) k->id = on_random(n) | 1;
    a->command.client = k->id;
    a->command.seq = ++k->seq;
}

static struct slv_str copy_to(char **at, struct slv_str s) {
    char *p = *at;
    if (s.n) memcpy(p, s.p, s.n);
    *at += s.n;
    return (struct slv_str){p, s.n};
}

int slv_node_ask(struct slv_node *n, uint64_t now, const struct slv_strong_command *c, uint32_t ms,
                 uint64_t *ret) {
    void *p = n->strong.ask;
    n->now = now;
    if (n->failed) return SLV_E_IO;
    if (!may_ask(n, n->conf.id, c)) return SLV_E_TRUST;
    if (c->key.n > SLV_STRONG_KEY_MAX || c->value.n > SLV_STRONG_VALUE_MAX ||
        c->expect.n > SLV_STRONG_VALUE_MAX)
        return SLV_E_LIMIT;
    int rc = slv_mem_grow(&p, n->strong.n_ask, &n->strong.room_ask, sizeof *n->strong.ask,
                          SLV_NODE_ASKS_MAX);
    n->strong.ask = p;
    if (rc) return rc == SLV_E_LIMIT ? SLV_E_BUSY : rc;
    struct node_ask *a = slv_mem_calloc(1, sizeof *a);
    char *bytes = slv_mem_alloc(c->key.n + c->value.n + c->expect.n + 1);
    if (!a || !bytes) {
        slv_mem_free(a);
        slv_mem_free(bytes);
        return SLV_E_NOMEM;
    }
    *a = (struct node_ask){.command = *c, .bytes = bytes, .client = free_client(n)};
    a->command.key = copy_to(&bytes, c->key);
    a->command.value = copy_to(&bytes, c->value);
    a->command.expect = copy_to(&bytes, c->expect);
    a->id = *ret = ++n->strong.asks;
    a->until = now + (uint64_t)ms * MS;
    a->gap = AGAIN_NS;
    n->strong.client[a->client].busy = true;
    begin_client(n, a);
    n->strong.ask[n->strong.n_ask++] = a;
    n->strong.next = now;
    return 0;
}

/* A client whose command may have been done under its number, or was never heard of, ends with it:
 * the next number would be taken for one that is too far on. */
static void decided(struct slv_node *n, struct node_ask *a, const struct slv_strong_result *r) {
    const struct slv_node_world *w = &n->conf.world;
    struct node_client *k = &n->strong.client[a->client];
    if (r->status == SLV_STRONG_TIMEOUT || r->status == SLV_STRONG_UNAVAILABLE)
        *k = (struct node_client){0};
    k->busy = false;
    a->done = true;
    const bool own = node_roster_answered(n, a->id, r) || node_retire_answered(n, a->id, r);
    if (!own && w->answer) w->answer(w->ctx, a->id, r);
}

static void ask_later(struct slv_node *n, struct node_ask *a) {
    a->call = 0;
    a->next = n->now + a->gap / 2 + node_random(n, a->gap);
    a->gap = 2 * a->gap < AGAIN_MOST_NS ? 2 * a->gap : AGAIN_MOST_NS;
}

static void expired(struct slv_node *n, struct node_ask *a, struct slv_strong_result r) {
    if (a->unknown) {
        r.status = SLV_STRONG_TIMEOUT;
        decided(n, a, &r);
        return;
    }
    n->strong.client[a->client] = (struct node_client){.busy = true};
    begin_client(n, a);
    ask_later(n, a);
}

static void on_answer(void *ctx, uint64_t call, const struct slv_strong_result *r) {
    struct slv_node *n = ctx;
    struct node_ask *a = NULL;
    if (call == n->strong.change) {
        n->strong.change = 0;
        n->strong.policy_next = n->now;
        return;
    }
    for (size_t i = 0; i < n->strong.n_ask && !a; i++)
        if (n->strong.ask[i]->call == call) a = n->strong.ask[i];
    if (!a || a->done) return;
    switch (r->status) {
    case SLV_STRONG_OK:
    case SLV_STRONG_CONFLICT:
    case SLV_STRONG_LIMIT:
    case SLV_STRONG_DENIED:
        if (a->command.op != SLV_STRONG_GET && slv_strong_leads(n->strong.s))
            node_measure(n, SLV_NODE_COMMIT, 0, (double)(n->now - a->called) / 1e9);
        decided(n, a, r);
        return;
    case SLV_STRONG_EXPIRED:
        expired(n, a, *r);
        return;
    case SLV_STRONG_TIMEOUT:
        a->unknown = a->unknown || a->command.op != SLV_STRONG_GET;
        ask_later(n, a);
        return;
    case SLV_STRONG_NOT_LEADER:
    case SLV_STRONG_UNAVAILABLE:
    case SLV_STRONG_STATUSES:
        ask_later(n, a);
        return;
    }
}

static void ask_once(struct slv_node *n, struct node_ask *a) {
    uint64_t call;
    a->called = n->now;
    if (n->strong.started && !slv_strong_call(n->strong.s, n->now, &a->command, &call))
        a->call = call;
    else ask_later(n, a);
}

static void drop_done(struct slv_node *n) {
    size_t kept = 0;
    for (size_t i = 0; i < n->strong.n_ask; i++) {
        struct node_ask *a = n->strong.ask[i];
        if (!a->done) {
            n->strong.ask[kept++] = a;
            continue;
        }
        slv_mem_free(a->bytes);
        slv_mem_free(a);
    }
    n->strong.n_ask = kept;
}

static uint64_t tick_asks(struct slv_node *n) {
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < n->strong.n_ask; i++) {
        struct node_ask *a = n->strong.ask[i];
        if (!a->done && n->now >= a->until) {
            const struct slv_strong_result r = {
                .status = a->call || a->unknown ? SLV_STRONG_TIMEOUT : SLV_STRONG_UNAVAILABLE,
                .value = {"", 0}};
            decided(n, a, &r);
        }
        if (a->done) continue;
        if (!a->call && n->now >= a->next) ask_once(n, a);
        if (!a->call && a->next < next) next = a->next;
        if (a->until < next) next = a->until;
    }
    drop_done(n);
    return next;
}

/* A group's message to a node that knows of none: it was a member, and has lost that. */
static void ask_peer(struct slv_node *n, uint64_t peer) {
    if (n->now < n->strong.who_next) return;
    n->strong.who_next = n->now + WHO_NS;
    send_frame(n, peer, WHO, (struct slv_str){"", 0});
}

/* Somebody who knows who leads, where this node hears of nobody. */
static void ask_who(struct slv_node *n) {
    if (!n->strong.n_ask || !n->n_peer || n->now < n->strong.who_next) return;
    if (n->strong.started && slv_strong_leader(n->strong.s)) return;
    n->strong.who_next = n->now + WHO_NS;
    const size_t from = (size_t)node_random(n, n->n_peer);
    for (size_t i = 0, k = 0; i < n->n_peer && k < 3; i++) {
        const struct peer *p = n->peer[(from + i) % n->n_peer];
        if (!p->link) continue;
        send_frame(n, p->id, WHO, (struct slv_str){"", 0});
        k++;
    }
}

/* --- what comes in ---------------------------------------------------------------------------- */

/* A group that was made of this node's, of which no leader was heard for long. (Who only learns
 * takes the one that it heard last for the leader.) */
static bool is_superseded(const struct slv_node *n, uint64_t peer, uint64_t was) {
    return was && was == n->strong.group && n->strong.started &&
           n->now - n->strong.heard > SUPERSEDED_NS && !slv_strong_leads(n->strong.s) &&
           node_may_vote(n, peer);
}

/* Said once, and again if it was not heard of for long. */
static void note_rival(struct slv_node *n, uint64_t group, uint64_t leader) {
    struct node_strong *g = &n->strong;
    const bool news = g->other != group || !slv_node_rival(n);
    g->other = group;
    g->other_leader = leader;
    g->other_at = n->now;
    if (news) node_event(n, SLV_NODE_RIVAL, leader, 0);
}

uint64_t slv_node_rival(const struct slv_node *n) {
    const struct node_strong *g = &n->strong;
    const bool lately = g->other && n->now - g->other_at < RIVAL_NS;
    return lately && g->other != g->group ? g->other_leader : 0;
}

static void on_hello(struct slv_node *n, uint64_t peer, uint64_t group, uint64_t leader,
                     uint64_t was) {
    if (is_superseded(n, peer, was) && go_over(n, group, was)) {
        node_fail(n, SLV_NODE_FAILED);
        return;
    }
    if (!n->strong.s && (open_group(n) || begin_group(n, group, true))) {
        node_fail(n, SLV_NODE_FAILED);
        return;
    }
    /* (Who has nothing of its group, and hears of another, has no reason to wait for the first.) */
    if (n->strong.started && n->strong.group != group && slv_strong_is_lost(n->strong.s)) {
        n->strong.group = group;
        if (put_group(n)) return;
    }
    if (n->strong.started && n->strong.group != group && n->strong.group != was)
        note_rival(n, group, leader);
    if (n->strong.group != group || !n->strong.started) return;
    slv_strong_guide(n->strong.s, n->now, peer); /* who is heard, as the leader may not be */
    if (leader != peer) return;
    if (slv_strong_damaged(n->strong.s)) {
        if (slv_strong_appeal(n->strong.s, n->now, peer)) n->strong.is_ready = true;
    } else if (slv_strong_role(n->strong.s, n->conf.id) == SLV_STRONG_GONE) {
        n->strong.is_ready = true;
    }
    n->strong.guide = peer;
}

static void say_ready(struct slv_node *n) {
    if (!n->strong.is_ready || !n->strong.guide) return;
    n->strong.is_ready = false;
    send_frame(n, n->strong.guide, READY, (struct slv_str){"", 0});
}

/* (One that was founded just now may still be lost with the store.) */
static void tell_leader(struct slv_node *n, uint64_t peer) {
    const uint64_t leader = slv_strong_leader(n->strong.s);
    if (leader && (leader != n->conf.id || slv_strong_leads(n->strong.s)))
        node_strong_hello(n, peer, leader);
}

void node_strong_receive(struct slv_node *n, uint64_t peer, struct slv_str bytes) {
    struct slv_reader m = slv_reader_of(bytes.p, bytes.n);
    const uint64_t kind = slv_read_number(&m, LEAD), group = slv_read_id(&m);
    const bool ours = n->strong.started && group == n->strong.group;
    n->strong.next = n->now;
    if (n->strong.refounds) return;
    if (m.bad || !kind || (kind != WHO && !group)) {
        n->stats.refused++;
        return;
    }
    switch ((enum frame)kind) {
    case MESSAGE:
        if (ours && peer == slv_strong_leader(n->strong.s)) n->strong.heard = n->now;
        if (ours)
            slv_strong_receive(n->strong.s, n->now, peer,
                               (struct slv_str){(const char *)m.p, slv_reader_left(&m)});
        else if (!n->strong.group) ask_peer(n, peer);
        break;
    case HELLO: {
        const uint64_t leader = slv_read_id(&m), was = slv_reader_left(&m) ? slv_read_id(&m) : 0;
        if (slv_reader_done(&m) && leader) on_hello(n, peer, group, leader, was);
        else n->stats.refused++;
        break;
    }
    case READY:
        if (ours) node_roles_ready(n, peer);
        break;
    case LEAD: {
        const uint64_t to = slv_read_id(&m);
        if (!slv_reader_done(&m) || !to) n->stats.refused++;
        else if (ours) node_roles_asked(n, peer, to);
        break;
    }
    case WHO:
        if (n->strong.started && (ours || !group)) tell_leader(n, peer);
        break;
    }
}

void node_strong_lost(struct slv_node *n, uint64_t peer) {
    if (!n->strong.started) return;
    slv_strong_lost(n->strong.s, peer);
    n->strong.next = n->now;
}

/* --- time ------------------------------------------------------------------------------------- */

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

uint64_t node_strong_tick(struct slv_node *n) {
    uint64_t next = UINT64_MAX;
    if (n->strong.started) {
        n->strong.next = slv_strong_tick(n->strong.s, n->now);
        watch_spaces(n);
        say_ready(n);
        next = least(n->strong.next, node_roles_tick(n));
    }
    next = least(next, tick_asks(n));
    ask_who(n);
    if (n->strong.n_ask) next = least(next, n->now + WHO_NS);
    n->strong.due = next;
    return next;
}

int slv_node_leave(struct slv_node *n, uint64_t now) {
    n->now = now;
    n->leaves = true;
    n->keep_next = now;
    const bool leads = n->strong.started && slv_strong_leads(n->strong.s);
    /* (Where nobody can take it, it goes all the same.) */
    if (leads && !slv_strong_transfer(n->strong.s, now, 0)) n->strong.next = now;
    return slv_swim_leave(n->swim, now);
}

static bool is_owed(const struct peer *p) {
    return p->link &&
           (slv_link_queued(p->link, SLV_LANE_URGENT) || slv_link_queued(p->link, SLV_LANE_STRONG));
}

bool slv_node_has_left(const struct slv_node *n) {
    if (!slv_swim_has_left(n->swim)) return false;
    if (n->is_committing || n->has_writes || n->has_records) return false;
    if (n->strong.started && slv_strong_is_moving(n->strong.s)) return false;
    for (size_t i = 0; i < n->n_peer; i++)
        if (is_owed(n->peer[i])) return false;
    return true;
}
