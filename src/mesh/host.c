/* host.c: see host.h. */
#include "mesh/host.h"
#include "base/log.h"
#include "base/mem.h"
#include "mesh/invite.h"
#include "mesh/names.h"
#include "mesh/outside.h"
#include "mesh/quoter.h"
#include "mesh/service.h"
#include "mesh/transport.h"
#include "store/records.h"
#include "trust/fields.h"
#include "trust/key.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <sodium.h>
#include <string.h>

#define AGAIN_S 2              /* between two tries to open a store that failed */
#define RECORD_MAX 320u        /* bytes that a node says of itself */
#define LEAVE_NS 1500000000ull /* at most */
#define ADDRESSES_MAX 8u
#define UNLISTED_MAX 16u
#define UNLISTED_NS (10 * (uint64_t)1000000000)
#define ODD_AGAIN_NS (3600 * (uint64_t)1000000000)
#define ODD_PEERS 16u

/* A node that has no key here. */
struct unlisted {
    uint64_t node, since;
    bool said;
};

struct host_key {
    uint64_t id;
    uint8_t key[SLV_HOST_KEY_BYTES];
};

struct slv_host {
    struct slv_host_conf conf;
    uint64_t id;
    struct slv_httpd *httpd;
    struct slv_service *service;
    struct slv_transport *transport;
    struct slv_records *records;
    struct slv_quoter *quoter; /* NULL: no evidence is shown */
    struct slv_names *names;   /* of conf.peer, in that order */
    struct slv_outside outside;
    struct slv_service_host seen;
    struct odd_said {
        uint64_t peer, at;
    } odd_said[SLV_TRANSPORT_ODDS][ODD_PEERS]; /* what was said last, a ring */
    size_t odd_next[SLV_TRANSPORT_ODDS];
    struct unlisted unlisted[UNLISTED_MAX];
    struct slv_node *node;
    struct slv_mesh_trust trust;
    struct host_key *key; /* heap: of all that are let in, ascending by id */
    size_t n_key;
    struct event *tick, *synced, *again, *quoted;
    struct slv_buf record; /* what this node says of itself */
    struct slv_buf join;   /* the use of its invitation */
    struct slv_roster_conf roster;
    bool fresh, leaving;
    bool recheck; /* members have changed: who is no more is cut off */
    uint64_t left_at;
};

/* --- keys ------------------------------------------------------------------------------------- */

uint64_t slv_host_id(const uint8_t key[SLV_HOST_KEY_BYTES]) {
    static const char what[] = "selvage mesh node 1";
    uint8_t out[16];
    crypto_generichash_state s;
    crypto_generichash_init(&s, NULL, 0, sizeof out);
    crypto_generichash_update(&s, (const uint8_t *)what, sizeof what);
    crypto_generichash_update(&s, key, SLV_HOST_KEY_BYTES);
    crypto_generichash_final(&s, out, sizeof out);
    struct slv_reader r = slv_reader_of(out, sizeof out);
    return slv_read_id(&r);
}

static const struct host_key *find_key(const struct slv_host *h, uint64_t id) {
    size_t lo = 0, hi = h->n_key;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (h->key[mid].id < id) lo = mid + 1;
        else hi = mid;
    }
    return lo < h->n_key && h->key[lo].id == id ? &h->key[lo] : NULL;
}

static void let_in(struct slv_host *h, const uint8_t key[SLV_HOST_KEY_BYTES]) {
    const uint64_t id = slv_host_id(key);
    size_t i = 0;
    if (find_key(h, id)) return;
    while (i < h->n_key && h->key[i].id < id)
        i++;
    memmove(h->key + i + 1, h->key + i, (h->n_key - i) * sizeof *h->key);
    h->key[i].id = id;
    memcpy(h->key[i].key, key, SLV_HOST_KEY_BYTES);
    h->n_key++;
}

static int open_keys(struct slv_host *h, struct slv_err *err) {
    const struct slv_host_conf *c = &h->conf;
    const struct slv_pub *own = slv_key_pub(c->key);
    const size_t n = 1 + c->n_peer + c->n_member;
    h->key = n <= SLV_HOST_KEYS_MAX ? slv_mem_calloc(n, sizeof *h->key) : NULL;
    if (!h->key) return slv_err_set(err, SLV_E_LIMIT, "mesh: too many keys");
    h->id = slv_host_id(own->key);
    let_in(h, own->key);
    for (size_t i = 0; i < c->n_peer; i++)
        let_in(h, c->peer[i].key);
    for (size_t i = 0; i < c->n_member; i++)
        let_in(h, c->member[i]);
    return 0;
}

static int sign(void *ctx, struct slv_str bytes, uint8_t ret[SLV_BATCH_SIG]) {
    const struct slv_host *h = ctx;
    return slv_key_sign(h->conf.key, bytes.p, bytes.n, ret, NULL);
}

/* Of a node that is, or was, let in. NULL: none is known. */
static const uint8_t *key_of(const struct slv_host *h, uint64_t id) {
    const struct host_key *k = find_key(h, id);
    const struct slv_roster *r = h->node ? slv_node_roster(h->node) : NULL;
    const struct slv_statement *s = r && !k ? slv_roster_find(r, id) : NULL;
    return k ? k->key : s ? s->key : NULL;
}

static uint64_t now_ns(void) { return slv_clock_mono(&slv_clock_system); }

/* Others pass on what a node says or writes that nobody has named here: all would look well, and it
 * would not be taken. (A statement that names it may be on its way.) */
static void note_unlisted(struct slv_host *h, uint64_t node) {
    const uint64_t now = now_ns();
    size_t i = 0, old = 0;
    for (; i < UNLISTED_MAX && h->unlisted[i].node != node; i++)
        if (h->unlisted[i].since < h->unlisted[old].since) old = i;
    struct unlisted *u = &h->unlisted[i < UNLISTED_MAX ? i : old];
    if (i == UNLISTED_MAX) *u = (struct unlisted){node, now, false};
    if (u->said || now - u->since < UNLISTED_NS) return;
    u->said = true;
    slv_log(SLV_LOG_WARN,
            "mesh: others have heard of node %016" PRIx64
            ", whose key is in no list here: what it writes is not taken (`--member`%s)",
            node, h->conf.authority ? ", `mesh admit`" : "");
}

static bool check(void *ctx, uint64_t node, struct slv_str bytes,
                  const uint8_t sig[SLV_BATCH_SIG]) {
    const uint8_t *key = key_of(ctx, node);
    if (!key) note_unlisted(ctx, node);
    return key && slv_pub_verify(key, bytes.p, bytes.n, sig);
}

static bool verify(void *ctx, const uint8_t key[SLV_ROSTER_KEY], struct slv_str bytes,
                   const uint8_t sig[SLV_ROSTER_SIG]) {
    (void)ctx;
    return slv_pub_verify(key, bytes.p, bytes.n, sig);
}

/* --- the node's world ------------------------------------------------------------------------- */

static void tick_in(struct slv_host *h, uint64_t ns) {
    const struct timeval tv = {(time_t)(ns / 1000000000u), (suseconds_t)(ns % 1000000000u / 1000)};
    evtimer_add(h->tick, &tv);
}

static void wake(void *ctx) { tick_in(ctx, 0); }

static void send_to(void *ctx, uint64_t peer, struct slv_str datagram) {
    struct slv_host *h = ctx;
    slv_transport_send(h->transport, peer, datagram);
}

/* Addresses out of a member's record: its key, and each behind its length. */
static size_t addresses_of(struct slv_str record, struct slv_buf *text, const char **ret,
                           size_t most) {
    struct slv_reader r = slv_reader_of(record.p, record.n);
    size_t at[ADDRESSES_MAX], n = 0;
    slv_read_raw(&r, SLV_HOST_KEY_BYTES);
    while (slv_reader_left(&r) && n < most) {
        const struct slv_str a = slv_read_bytes(&r, SLV_TRANSPORT_ADDRESS_TEXT - 1);
        if (r.bad || memchr(a.p, 0, a.n)) break;
        at[n++] = text->len;
        slv_buf_add(text, a.p, a.n);
        slv_buf_addc(text, '\0');
    }
    for (size_t i = 0; i < n && !text->status; i++)
        ret[i] = text->data + at[i];
    return text->status ? 0 : n;
}

/* A peer of the configuration is tried where that says, too, and there first: what is known of it
 * may be from long ago. */
static void connect_to(void *ctx, uint64_t peer, struct slv_str record) {
    struct slv_host *h = ctx;
    const uint8_t *k = key_of(h, peer);
    const char *address[ADDRESSES_MAX];
    size_t n = 0;
    struct slv_err err = {0};
    struct slv_buf text;
    if (!k) return;
    slv_buf_init(&text, 4096);
    for (size_t i = 0; i < h->conf.n_peer; i++)
        if (slv_host_id(h->conf.peer[i].key) == peer)
            n += slv_names_get(h->names, i, address + n, ADDRESSES_MAX - n);
    n += addresses_of(record, &text, address + n, ADDRESSES_MAX - n);
    if (n && slv_transport_connect(h->transport, peer, k, address, n, &err))
        slv_log(SLV_LOG_INFO, "mesh: %s", err.msg);
    slv_buf_fini(&text);
}

static void disconnect_from(void *ctx, uint64_t peer) {
    slv_transport_disconnect(((struct slv_host *)ctx)->transport, peer);
}

static int put(void *ctx, struct slv_str key, struct slv_str value) {
    return slv_records_put(((struct slv_host *)ctx)->records, key, value);
}

static int del(void *ctx, struct slv_str key) {
    return slv_records_del(((struct slv_host *)ctx)->records, key);
}

static int commit(void *ctx) {
    struct slv_err err = {0};
    const int rc = slv_records_commit(((struct slv_host *)ctx)->records, &err);
    if (rc) slv_log(SLV_LOG_ERROR, "mesh: %s", err.msg);
    return rc;
}

static uint64_t random_of(void *ctx) {
    uint64_t v;
    (void)ctx;
    randombytes_buf(&v, sizeof v);
    return v;
}

static bool may_write(void *ctx, uint64_t node, uint64_t space, struct slv_str key) {
    (void)space, (void)key;
    return find_key(ctx, node) != NULL;
}
static bool may_repair(void *ctx, uint64_t node, uint64_t space) {
    return may_write(ctx, node, space, (struct slv_str){"", 0});
}
static bool may_join(void *ctx, uint64_t node) { return find_key(ctx, node) != NULL; }

static bool member(void *ctx, size_t i, uint64_t *ret) {
    const struct slv_host *h = ctx;
    if (i < h->n_key) *ret = h->key[i].id;
    return i < h->n_key;
}

static void log_attested(const struct slv_host *h, uint64_t id, bool is_shown) {
    struct slv_node_attest a;
    slv_node_attest(h->node, id, &a);
    if (is_shown) slv_log(SLV_LOG_INFO, "mesh: node %016" PRIx64 " has shown what it runs", id);
    else slv_log(SLV_LOG_WARN, "mesh: node %016" PRIx64 " is not heard: %s", id, a.why);
}

static void log_other(const struct slv_host *h, uint64_t id) {
    const struct slv_node_other *o = slv_node_other(h->node);
    char ttl[32] = "no ttl";
    if (o->ttl_ms) snprintf(ttl, sizeof ttl, "ttl=%" PRIu64 "s", o->ttl_ms / 1000);
    slv_log(SLV_LOG_WARN,
            "mesh: node %016" PRIx64 " has a space '%.*s' that is declared otherwise (%s, %s, %s): "
            "neither sees what is written in the other's",
            id, (int)o->name.n, o->name.p, o->type, o->causal ? "causal" : "eventual", ttl);
}

/* Whether that was said of the peer within the hour. */
static bool was_said(const struct odd_said said[ODD_PEERS], uint64_t peer, uint64_t now) {
    for (size_t i = 0; i < ODD_PEERS; i++)
        if (said[i].at && said[i].peer == peer && now - said[i].at < ODD_AGAIN_NS) return true;
    return false;
}

/* (Of two processes with one key each takes the other's place, again and again: on_odd says so.) */
static enum slv_log_level member_level(const struct slv_host *h, uint64_t id, int state) {
    const bool is_twin = was_said(h->odd_said[SLV_TRANSPORT_TWIN], id, now_ns());
    return is_twin || state == SLV_SWIM_SUSPECT ? SLV_LOG_DEBUG : SLV_LOG_INFO;
}

static void on_event(void *ctx, enum slv_node_event e, uint64_t id, int state) {
    static const char *const states[] = {"alive", "suspect", "dead", "gone", "removed"};
    struct slv_host *h = ctx;
    switch (e) {
    case SLV_NODE_MEMBER:
        slv_log(member_level(h, id, state), "mesh: node %016" PRIx64 " is %s", id, states[state]);
        break;
    case SLV_NODE_ISOLATED:
        slv_log(SLV_LOG_WARN, state ? "mesh: no other node answers: local only"
                                    : "mesh: other nodes answer again");
        break;
    case SLV_NODE_TWO_FACED:
        slv_log(SLV_LOG_ERROR, "mesh: node %016" PRIx64 " has signed two things as one", id);
        break;
    case SLV_NODE_FAILED:
        slv_log(SLV_LOG_ERROR, "mesh: the store has failed");
        break;
    case SLV_NODE_REFOUNDED:
        slv_log(SLV_LOG_WARN, "mesh: the group is made anew out of what this node has of it");
        break;
    case SLV_NODE_OVERTAKEN:
        slv_log(SLV_LOG_WARN, "mesh: others have writes of this node that its store has lost, or "
                              "it was given up meanwhile: it goes on under a new number");
        h->fresh = true;
        break;
    case SLV_NODE_LEADER:
        if (id) slv_log(SLV_LOG_INFO, "mesh: node %016" PRIx64 " leads", id);
        else slv_log(SLV_LOG_WARN, "mesh: no leader is known");
        break;
    case SLV_NODE_RIVAL:
        slv_log(SLV_LOG_WARN,
                "mesh: node %016" PRIx64 " leads another group of the strong spaces: two were "
                "founded, and do not agree. Give one up: `mesh found --give-up` at its nodes",
                id);
        break;
    case SLV_NODE_OTHERWISE:
        log_other(h, id);
        break;
    case SLV_NODE_UNSHARED:
        slv_log(SLV_LOG_WARN, "mesh: no other node that was met has a space '%s'",
                slv_node_space_conf(h->node, (size_t)state)->name.p);
        break;
    case SLV_NODE_HANDOVER:
        slv_log(SLV_LOG_INFO, "mesh: this node hands the lead over to node %016" PRIx64, id);
        break;
    case SLV_NODE_ROSTER:
        slv_log(SLV_LOG_INFO, "mesh: node %016" PRIx64 " is %s", id,
                state == SLV_REVOKED ? "revoked" : "a member");
        h->recheck = true;
        break;
    case SLV_NODE_ATTESTED:
        log_attested(h, id, state);
        break;
    case SLV_NODE_DAMAGED:
        slv_log(SLV_LOG_WARN,
                "mesh: node %016" PRIx64 " has lost its log of the strong spaces: it "
                "is let in anew",
                id);
        break;
    }
}

static void on_agreed_changed(void *ctx, size_t agreed, struct slv_str key) {
    slv_service_agreed_changed(((struct slv_host *)ctx)->service, agreed, key);
}

static void on_answer(void *ctx, uint64_t ask, const struct slv_strong_result *r) {
    slv_service_answered(((struct slv_host *)ctx)->service, ask, r);
}

static void on_measured(void *ctx, enum slv_node_measure what, size_t space, double value) {
    slv_service_measured(((struct slv_host *)ctx)->service, what, space, value);
}

static void on_changed(void *ctx, size_t space, struct slv_str key) {
    slv_service_changed(((struct slv_host *)ctx)->service, space, key);
}

/* --- where its peers are ---------------------------------------------------------------------- */

static bool is_wanted(void *ctx, size_t i) {
    const struct slv_host *h = ctx;
    const uint64_t id = slv_host_id(h->conf.peer[i].key);
    return h->node && id != h->id && !slv_node_is_connected(h->node, id);
}

/* The node asks for a way from time to time; where there are new addresses it is tried at once. */
static void on_name(void *ctx, size_t i, const char *why) {
    struct slv_host *h = ctx;
    const struct slv_host_peer *p = &h->conf.peer[i];
    const uint64_t id = slv_host_id(p->key);
    struct slv_swim_member m = {.state = SLV_SWIM_DEAD};
    const char *address = "";
    if (why) {
        slv_log(SLV_LOG_WARN, "mesh: peer %016" PRIx64 ": %s: %s: trying again", id, p->address,
                why);
        return;
    }
    slv_names_get(h->names, i, &address, 1);
    slv_log(SLV_LOG_INFO, "mesh: peer %016" PRIx64 ": %s is %s", id, p->address, address);
    if (!h->node || slv_node_is_connected(h->node, id)) return;
    const bool is_known = !slv_swim_find(slv_node_swim(h->node), id, &m);
    if (is_known && m.state == SLV_SWIM_REMOVED) return;
    connect_to(h, id, is_known ? m.record : (struct slv_str){"", 0});
}

static int open_names(struct slv_host *h, struct slv_err *err) {
    const struct slv_names_conf c = {
        .base = slv_httpd_base(h->httpd), .is_wanted = is_wanted, .told = on_name, .ctx = h};
    int rc = slv_names_open(&c, &h->names, err);
    for (size_t i = 0; i < h->conf.n_peer && !rc; i++)
        rc = slv_names_add(h->names, h->conf.peer[i].address, err);
    return rc;
}

/* --- evidence --------------------------------------------------------------------------------- */

_Static_assert(SLV_HOST_PEERS_MAX <= SLV_NAMES_MAX, "each peer is a name");
_Static_assert(SLV_NODE_NONCE == SLV_ATTEST_NONCE && SLV_NODE_EVIDENCE_MAX >= SLV_EVIDENCE_MAX,
               "a node's messages carry evidence");

static void quote(void *ctx, uint64_t peer, const uint8_t nonce[SLV_NODE_NONCE]) {
    slv_quoter_ask(((struct slv_host *)ctx)->quoter, peer, nonce);
}

static int attested(void *ctx, const uint8_t key[SLV_ROSTER_KEY],
                    const uint8_t nonce[SLV_NODE_NONCE], struct slv_str evidence,
                    const struct slv_condition *c, struct slv_err *err) {
    (void)ctx;
    return slv_quoter_judge(key, nonce, evidence, c, err);
}

static void on_quoted(evutil_socket_t fd, short what, void *ctx) {
    struct slv_host *h = ctx;
    struct slv_quoter_answer a = {0};
    (void)fd, (void)what;
    if (!slv_quoter_done(h->quoter, &a)) return;
    if (!a.evidence.n) slv_log(SLV_LOG_WARN, "mesh: no evidence to show: %s", a.why);
    if (h->node) slv_node_quoted(h->node, now_ns(), a.peer, a.nonce, a.evidence);
    wake(h);
}

static int open_quoter(struct slv_host *h, struct slv_err *err) {
    const struct slv_host_conf *c = &h->conf;
    if (!c->attest) return 0;
    const int rc = slv_quoter_open(NULL, c->policy, slv_key_pub(c->key)->key, &h->quoter, err);
    if (rc) return rc;
    h->quoted = event_new(slv_httpd_base(h->httpd), slv_quoter_fd(h->quoter), EV_READ | EV_PERSIST,
                          on_quoted, h);
    if (!h->quoted || event_add(h->quoted, NULL))
        return slv_err_set(err, SLV_E_NOMEM, "mesh: out of memory");
    return 0;
}

const struct slv_attest_self *slv_host_self(const struct slv_host *h) {
    return h->quoter ? slv_quoter_self(h->quoter) : NULL;
}

/* --- the transport's -------------------------------------------------------------------------- */

static int sign_cert(void *ctx, const void *p, size_t n, uint8_t ret[SLV_DTLS_SIGNATURE]) {
    return sign(ctx, (struct slv_str){p, n}, ret);
}

static bool allow(void *ctx, const uint8_t key[SLV_DTLS_KEY]) {
    const struct slv_host *h = ctx;
    const struct host_key *k = find_key(h, slv_host_id(key));
    const struct slv_roster *r = h->node ? slv_node_roster(h->node) : NULL;
    const bool listed = k && !memcmp(k->key, key, SLV_HOST_KEY_BYTES);
    if (r && (!listed || slv_roster_about(r, key))) return slv_node_lets_in(h->node, key);
    return listed;
}

static uint64_t id_of(void *ctx, const uint8_t key[SLV_DTLS_KEY]) {
    (void)ctx;
    return slv_host_id(key);
}

static int on_up(void *ctx, uint64_t peer) {
    struct slv_host *h = ctx;
    const int rc = h->node ? slv_node_up(h->node, now_ns(), peer) : SLV_E_BUSY;
    wake(h);
    return rc;
}

static void on_down(void *ctx, uint64_t peer) {
    struct slv_host *h = ctx;
    if (h->node) slv_node_down(h->node, now_ns(), peer);
    wake(h);
}

static void on_receive(void *ctx, uint64_t peer, struct slv_str datagram) {
    struct slv_host *h = ctx;
    if (h->node) slv_node_receive(h->node, now_ns(), peer, datagram);
    wake(h);
}

static void on_found(void *ctx, uint64_t peer, const char *address) {
    struct slv_host *h = ctx;
    const uint8_t *k = key_of(h, peer);
    if (!k || !h->node || peer == h->id) return;
    if (slv_transport_connect(h->transport, peer, k, &address, 1, NULL)) return;
    if (slv_node_seed(h->node, now_ns(), peer)) return; /* there are enough */
    wake(h);
}

static bool is_told_of(const struct slv_host *h, uint64_t id) {
    for (size_t i = 0; i < h->conf.n_peer; i++)
        if (slv_host_id(h->conf.peer[i].key) == id) return true;
    return false;
}

/* What goes on is said once an hour of each. */
static void on_odd(void *ctx, uint64_t peer, enum slv_transport_odd what) {
    struct slv_host *h = ctx;
    struct slv_service_odd *o = &h->seen.odd[what];
    const uint64_t now = now_ns();
    /* (Addresses that members had go to others: of those only that it was told of is said.) */
    if (what == SLV_TRANSPORT_ELSE && !is_told_of(h, peer)) return;
    *o = (struct slv_service_odd){peer, now, o->n + 1};
    if (was_said(h->odd_said[what], peer, now)) return;
    h->odd_said[what][h->odd_next[what]++ % ODD_PEERS] = (struct odd_said){peer, now};
    slv_log(SLV_LOG_WARN, "mesh: node %016" PRIx64 " %s", peer, slv_transport_odd_text[what].says);
}

static uint64_t mesh_id(const struct slv_host *h) {
    uint8_t out[16];
    crypto_generichash(out, sizeof out, (const uint8_t *)h->conf.mesh, strlen(h->conf.mesh), NULL,
                       0);
    struct slv_reader r = slv_reader_of(out, sizeof out);
    return slv_read_id(&r);
}

static int open_transport(struct slv_host *h, struct slv_err *err) {
    struct slv_transport_conf c = {
        .base = slv_httpd_base(h->httpd),
        .ctx = h,
        .listen = h->conf.listen,
        .n_listen = h->conf.n_listen,
        .sign = sign_cert,
        .allow = allow,
        .id_of = id_of,
        .up = on_up,
        .down = on_down,
        .receive = on_receive,
        .odd = on_odd,
        .mesh = mesh_id(h),
        .found = on_found,
        .relay_use = true,
        .relay_rate = h->conf.relay_rate,
        .discover = {.on = h->conf.discover},
    };
    memcpy(c.key, slv_key_pub(h->conf.key)->key, sizeof c.key);
    return slv_transport_open(&c, &h->transport, err);
}

/* --- what it says of itself ------------------------------------------------------------------- */

static void add_address(struct slv_host *h, const char *text) {
    const size_t n = strlen(text);
    if (h->record.len + n + 2 <= RECORD_MAX) slv_write_bytes(&h->record, text, n);
}

/* In the place of an address that means all: those of the interfaces, but the loopback's. */
static void add_all(struct slv_host *h, const char *port, bool six) {
    struct ifaddrs *all = NULL;
    char text[INET6_ADDRSTRLEN], address[SLV_TRANSPORT_ADDRESS_TEXT + 8];
    if (getifaddrs(&all)) return;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        const int family = i->ifa_addr ? i->ifa_addr->sa_family : 0;
        const void *p = NULL;
        if (i->ifa_flags & IFF_LOOPBACK || !(i->ifa_flags & IFF_UP)) continue;
        if (family == AF_INET && !six)
            p = &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr;
        if (family == AF_INET6 && six)
            p = &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr;
        if (!p || !inet_ntop(family, p, text, sizeof text) || !strncmp(text, "fe80", 4)) continue;
        snprintf(address, sizeof address, six ? "[%s]:%s" : "%s:%s", text, port);
        add_address(h, address);
    }
    freeifaddrs(all);
}

static void describe(struct slv_host *h) {
    char text[SLV_TRANSPORT_ADDRESS_TEXT];
    slv_buf_clear(&h->record);
    slv_buf_add(&h->record, slv_key_pub(h->conf.key)->key, SLV_HOST_KEY_BYTES);
    for (size_t i = 0; i < h->conf.n_advertise; i++)
        add_address(h, h->conf.advertise[i]);
    for (size_t i = 0; !h->conf.n_advertise && !slv_transport_listening(h->transport, i, text);
         i++) {
        const char *port = strrchr(text, ':');
        if (!strncmp(text, "0.0.0.0:", 8)) add_all(h, port + 1, false);
        else if (!strncmp(text, "[::]:", 5)) add_all(h, port + 1, true);
        else add_address(h, text);
    }
}

/* --- the store and the node ------------------------------------------------------------------- */

static void on_note(void *ctx, const char *line) {
    (void)ctx;
    slv_log(SLV_LOG_WARN, "mesh: %s", line);
}

static int load(void *ctx, struct slv_str key, struct slv_str value) {
    return slv_node_load(((struct slv_host *)ctx)->node, key, value);
}

static void on_synced(evutil_socket_t fd, short what, void *ctx);

static int open_node(struct slv_host *h, struct slv_err *err) {
    const struct slv_node_conf c = {
        .id = h->id,
        .clock = &slv_clock_system,
        .trust = &h->trust,
        .world = {.send = send_to,
                  .connect = connect_to,
                  .disconnect = disconnect_from,
                  .put = put,
                  .del = del,
                  .commit = commit,
                  .random = random_of,
                  .may_write = may_write,
                  .may_repair = may_repair,
                  .may_join = may_join,
                  .member = member,
                  .event = on_event,
                  .changed = on_changed,
                  .measured = on_measured,
                  .agreed_changed = on_agreed_changed,
                  .answer = on_answer,
                  .quote = h->quoter ? quote : NULL,
                  .attested = attested,
                  .ctx = h},
        .record = {h->record.data, h->record.len},
        .roster = h->conf.authority ? &h->roster : NULL,
        .join = {h->join.data, h->join.len},
        .link = {.mtu_min = SLV_TRANSPORT_DATAGRAM,
                 .mtu_max = SLV_TRANSPORT_DATAGRAM_MAX,
                 .rate = h->conf.rate},
        .peer_rate = h->conf.peer_rate,
        .attest_ms = h->conf.attest_ms,
        .voters = h->conf.voters,
    };
    int rc = slv_node_open(&c, &h->node);
    size_t k;
    for (size_t i = 0; i < h->conf.n_space + h->conf.n_strong && !rc; i++) {
        const bool strong = i >= h->conf.n_space;
        const struct slv_str name =
            strong ? h->conf.strong[i - h->conf.n_space] : h->conf.space[i].name;
        rc = strong ? slv_node_agreed(h->node, name, &k)
                    : slv_node_space(h->node, &h->conf.space[i], &k);
        if (rc == SLV_E_USAGE || rc == SLV_E_LIMIT)
            return slv_err_set(err, rc, "mesh: space %.*s: %s", (int)name.n, name.p,
                               rc == SLV_E_USAGE ? "there are two of that name"
                                                 : "too many, or its name is too long");
    }
    return rc ? slv_err_set(err, rc, "mesh: out of memory") : 0;
}

static int start_node(struct slv_host *h, struct slv_err *err) {
    const struct slv_records_conf rc_conf = {.note = on_note};
    bool damaged = false;
    int rc = slv_records_open(h->conf.store, &rc_conf, &h->records, err);
    if (!rc) rc = open_node(h, err);
    if (!rc) rc = slv_records_load(h->records, load, h, &damaged, err);
    if (rc) return rc;
    rc = slv_node_start(h->node, now_ns(), damaged, h->fresh);
    h->fresh = false;
    for (size_t i = 0; i < h->conf.n_peer && !rc; i++)
        rc = slv_node_seed(h->node, now_ns(), slv_host_id(h->conf.peer[i].key));
    if (rc) return slv_err_set(err, rc, "mesh: %s: the node does not start", h->conf.store);
    h->synced = event_new(slv_httpd_base(h->httpd), slv_records_fd(h->records),
                          EV_READ | EV_PERSIST, on_synced, h);
    if (!h->synced || event_add(h->synced, NULL))
        return slv_err_set(err, SLV_E_NOMEM, "mesh: out of memory");
    slv_service_set_node(h->service, h->node);
    tick_in(h, 0);
    return 0;
}

static void stop_node(struct slv_host *h) {
    slv_service_set_node(h->service, NULL);
    if (h->synced) event_free(h->synced);
    h->synced = NULL;
    slv_node_close(h->node);
    h->node = NULL;
    if (h->records) slv_records_drop(h->records);
    slv_records_close(h->records);
    h->records = NULL;
}

static void begin_again(struct slv_host *h) {
    const struct timeval tv = {AGAIN_S, 0};
    stop_node(h);
    evtimer_add(h->again, &tv);
}

static void on_again(evutil_socket_t fd, short what, void *ctx) {
    struct slv_host *h = ctx;
    struct slv_err err = {0};
    (void)fd, (void)what;
    if (!start_node(h, &err)) {
        slv_log(SLV_LOG_INFO, "mesh: the store is open again");
        return;
    }
    slv_log(SLV_LOG_ERROR, "%s; trying again", err.msg);
    begin_again(h);
}

static void on_synced(evutil_socket_t fd, short what, void *ctx) {
    struct slv_host *h = ctx;
    struct slv_err err = {0};
    int status = 0;
    (void)fd, (void)what;
    if (slv_records_done(h->records, &status, &err) != 1) return;
    if (status) {
        slv_log(SLV_LOG_ERROR, "mesh: %s", err.msg);
        begin_again(h);
        return;
    }
    slv_node_synced(h->node, now_ns());
    slv_service_news(h->service);
    tick_in(h, 0);
}

/* Whether it is in the mesh, and what is said if not. */
static void look_outside(struct slv_host *h, uint64_t now) {
    const uint8_t *own = slv_key_pub(h->conf.key)->key;
    const struct slv_roster *r = slv_node_roster(h->node);
    const struct slv_statement *s = r ? slv_roster_about(r, own) : NULL;
    struct slv_swim_counters swim;
    struct slv_transport_stats t;
    char key[SLV_HEX(SLV_HOST_KEY_BYTES)];
    slv_swim_count_all(slv_node_swim(h->node), &swim);
    slv_transport_stats(h->transport, &t);
    slv_hex_write(own, SLV_HOST_KEY_BYTES, key);
    struct slv_outside_look look = {.alive = swim.members[SLV_SWIM_ALIVE] - 1,
                                    .refused = t.failed[SLV_DTLS_WHY_REFUSED],
                                    .is_seeking = h->conf.n_peer || h->conf.invitation,
                                    .has_invitation = h->conf.invitation,
                                    .is_named = s && s->kind != SLV_REVOKED,
                                    .is_revoked = s && s->kind == SLV_REVOKED,
                                    .is_tested = s && s->is_conditional,
                                    .key = key};
    /* (Those whom it was told of: others may be guests of its own.) */
    for (size_t i = 0; i < h->conf.n_peer; i++)
        look.connected += slv_node_is_connected(h->node, slv_host_id(h->conf.peer[i].key));
    slv_outside_tick(&h->outside, now, &look);
}

static void on_tick(evutil_socket_t fd, short what, void *ctx) {
    struct slv_host *h = ctx;
    (void)fd, (void)what;
    if (!h->node) return;
    if (h->recheck) {
        h->recheck = false;
        slv_transport_recheck(h->transport);
    }
    const uint64_t now = now_ns();
    uint64_t next = slv_node_tick(h->node, now);
    if (slv_node_failed(h->node)) {
        begin_again(h);
        return;
    }
    if (now >= h->outside.next) look_outside(h, now);
    if (h->outside.next < next) next = h->outside.next;
    if (slv_service_next(h->service) < next) next = slv_service_next(h->service);
    if (h->leaving && (now > h->left_at || slv_node_has_left(h->node))) slv_httpd_stop(h->httpd);
    else if (next != UINT64_MAX) tick_in(h, next > now ? next - now : 0);
    slv_service_news(h->service); /* what it begins is ticked at once */
}

/* --- the host --------------------------------------------------------------------------------- */

/* (Asked from another thread or a signal handler.) */
static void on_poke(void *arg) {
    struct slv_host *h = arg;
    if (h->leaving) return;
    h->leaving = true;
    h->left_at = now_ns() + LEAVE_NS;
    if (!h->node || slv_node_leave(h->node, now_ns())) slv_httpd_stop(h->httpd);
    else tick_in(h, 0);
}

static uint64_t id_of_key(void *ctx, const uint8_t key[SLV_ROSTER_KEY]) {
    (void)ctx;
    return slv_host_id(key);
}

static int open_roster(struct slv_host *h, struct slv_err *err) {
    const struct slv_host_conf *c = &h->conf;
    if (!c->authority) return 0;
    h->roster = (struct slv_roster_conf){.mesh = {c->mesh, strlen(c->mesh)},
                                         .has_authority = true,
                                         .verify = verify,
                                         .id_of = id_of_key,
                                         .ctx = h};
    memcpy(h->roster.authority, c->authority, SLV_ROSTER_KEY);
    if (!c->invitation) return 0;
    const int rc =
        slv_invite_use(c->invitation, slv_key_pub(c->key)->key, (struct slv_str){"", 0}, &h->join);
    return rc ? slv_err_set(err, rc, "mesh: out of memory") : 0;
}

static int open_parts(struct slv_host *h, struct slv_err *err) {
    const struct slv_service_conf sc = {.mesh = h->conf.mesh,
                                        .host = &h->seen,
                                        .wake = wake,
                                        .now = now_ns,
                                        .record = &h->record,
                                        .ctx = h};
    h->seen.outside = h->outside.why;
    struct slv_buf at;
    int rc = open_keys(h, err);
    if (!rc) rc = open_roster(h, err);
    if (!rc) rc = slv_service_open(&sc, &h->service, err);
    const struct slv_httpd_opts o = {.handle = slv_service_handle, .ctx = h->service};
    if (!rc) rc = slv_httpd_open(&o, &h->httpd, err);
    if (rc) return rc;
    slv_httpd_on_poke(h->httpd, on_poke, h);
    h->tick = evtimer_new(slv_httpd_base(h->httpd), on_tick, h);
    h->again = evtimer_new(slv_httpd_base(h->httpd), on_again, h);
    if (!h->tick || !h->again) return slv_err_set(err, SLV_E_NOMEM, "mesh: out of memory");
    rc = open_quoter(h, err);
    if (!rc) rc = open_transport(h, err);
    if (!rc) rc = open_names(h, err);
    if (!rc) describe(h);
    if (!rc) rc = start_node(h, err);
    slv_buf_init(&at, 4096);
    slv_buf_addf(&at, "unix:%s", h->conf.socket);
    if (!rc) rc = at.status ? at.status : slv_httpd_listen(h->httpd, at.data, NULL, err);
    slv_buf_fini(&at);
    return rc;
}

int slv_host_open(const struct slv_host_conf *conf, struct slv_host **ret, struct slv_err *err) {
    struct slv_host *h = slv_mem_calloc(1, sizeof *h);
    if (!h) return slv_err_set(err, SLV_E_NOMEM, "mesh: out of memory");
    h->conf = *conf;
    h->trust = (struct slv_mesh_trust){sign, check, h};
    slv_buf_init(&h->record, 1024);
    slv_buf_init(&h->join, SLV_STATEMENT_MAX);
    const int rc = open_parts(h, err);
    if (rc) slv_host_close(h);
    else *ret = h;
    return rc;
}

int slv_host_run(struct slv_host *h, struct slv_err *err) {
    char text[SLV_TRANSPORT_LISTEN_MAX][SLV_TRANSPORT_ADDRESS_TEXT];
    const char *at[SLV_TRANSPORT_LISTEN_MAX];
    size_t n = 0;
    while (n < SLV_TRANSPORT_LISTEN_MAX && !slv_transport_listening(h->transport, n, text[n])) {
        at[n] = text[n];
        n++;
    }
    if (h->conf.ready) h->conf.ready(h->conf.ctx, at, n);
    return slv_httpd_run(h->httpd, 1000, err);
}

void slv_host_stop(struct slv_host *h) { slv_httpd_poke(h->httpd); }

void slv_host_close(struct slv_host *h) {
    if (!h) return;
    if (h->service) stop_node(h);
    slv_names_close(h->names);
    slv_transport_close(h->transport);
    slv_service_close(h->service);
    if (h->tick) event_free(h->tick);
    if (h->again) event_free(h->again);
    if (h->quoted) event_free(h->quoted);
    slv_quoter_close(h->quoter);
    slv_httpd_close(h->httpd);
    slv_buf_fini(&h->record);
    slv_buf_fini(&h->join);
    slv_mem_free(h->key);
    slv_mem_free(h);
}
