/* test_node_attest.c: members whose statement has a condition, in nodes without sockets. What a
 * user would lose: a machine that is heard without having shown what it must, by an old answer,
 * another's, or none; one that stays out though it has; a node whose TPM anybody may keep busy. */
#include "node_parts.h"

#define N 3u
#define QUEUE 4096u
#define STEP_MS 10u
#define EVIDENCE (SLV_NODE_NONCE + 2 * SLV_ROSTER_KEY)

/* Evidence of this test: nonce, the node's key, the binary. */
struct world {
    struct slv_node *node;
    uint64_t id;
    uint8_t key[SLV_ROSTER_KEY], secret[crypto_sign_SECRETKEYBYTES];
    bool up[N], wants[N]; /* associations: there; asked for */
    bool synced;
    bool is_slow;          /* its TPM's answers are given by the test */
    uint8_t binary, whose; /* what it shows: its binary, and whose key */
    unsigned quotes, events, news;
    uint64_t asked_by;
    uint8_t nonce[SLV_NODE_NONCE];
    bool waits; /* its TPM has been asked */
};

static struct world w[N];
static struct {
    unsigned from, to;
    size_t n;
    char *bytes;
} queue[QUEUE];
static size_t queued;
static uint64_t number;

static const uint8_t ak[1][SLV_ROSTER_DIGEST] = {{9}}, good[1][SLV_ROSTER_DIGEST] = {{1}},
                     other[1][SLV_ROSTER_DIGEST] = {{2}};

/* --- the world -------------------------------------------------------------------------------- */

static unsigned by_id(uint64_t id) {
    unsigned i = 0;
    while (i < N && w[i].id != id)
        i++;
    return i;
}

static int sign(void *ctx, struct slv_str bytes, uint8_t ret[SLV_BATCH_SIG]) {
    return crypto_sign_detached(ret, NULL, (const uint8_t *)bytes.p, bytes.n,
                                ((struct world *)ctx)->secret);
}

static bool check(void *ctx, uint64_t node, struct slv_str bytes,
                  const uint8_t sig[SLV_BATCH_SIG]) {
    const unsigned i = by_id(node);
    return i < N && verify(ctx, w[i].key, bytes, sig);
}

static void send_to(void *ctx, uint64_t peer, struct slv_str datagram) {
    const unsigned from = (unsigned)((struct world *)ctx - w), to = by_id(peer);
    if (to == N || !w[from].up[to] || queued == QUEUE) return;
    queue[queued].from = from;
    queue[queued].to = to;
    queue[queued].n = datagram.n;
    queue[queued].bytes = malloc(datagram.n);
    memcpy(queue[queued++].bytes, datagram.p, datagram.n);
}

static void connect_to(void *ctx, uint64_t peer, struct slv_str record) {
    (void)record;
    if (by_id(peer) < N) ((struct world *)ctx)->wants[by_id(peer)] = true;
}

static void disconnect_from(void *ctx, uint64_t peer) {
    struct world *x = ctx;
    const unsigned to = by_id(peer);
    x->up[to] = w[to].up[x - w] = false;
    w[to].wants[x - w] = false;
}

static int put(void *ctx, struct slv_str key, struct slv_str value) {
    (void)ctx, (void)key, (void)value;
    return 0;
}
static int del(void *ctx, struct slv_str key) {
    (void)ctx, (void)key;
    return 0;
}
static int commit(void *ctx) {
    ((struct world *)ctx)->synced = true;
    return 0;
}

static bool may_write(void *ctx, uint64_t node, uint64_t space, struct slv_str key) {
    (void)ctx, (void)node, (void)space, (void)key;
    return false;
}
static bool may_repair(void *ctx, uint64_t node, uint64_t space) {
    (void)ctx, (void)node, (void)space;
    return false;
}
static bool may_join(void *ctx, uint64_t node) {
    (void)ctx, (void)node;
    return false;
}

static void on_event(void *ctx, enum slv_node_event e, uint64_t id, int state) {
    struct world *x = ctx;
    (void)id, (void)state;
    x->news += e == SLV_NODE_ATTESTED;
}

/* --- evidence --------------------------------------------------------------------------------- */

static void quote(void *ctx, uint64_t peer, const uint8_t nonce[SLV_NODE_NONCE]) {
    struct world *x = ctx;
    assert_false(x->waits); /* one at a time */
    x->waits = true;
    x->quotes++;
    x->asked_by = peer;
    memcpy(x->nonce, nonce, sizeof x->nonce);
}

static void make_evidence(const struct world *x, char ret[EVIDENCE]) {
    memcpy(ret, x->nonce, SLV_NODE_NONCE);
    memcpy(ret + SLV_NODE_NONCE, w[x->whose].key, SLV_ROSTER_KEY);
    memset(ret + SLV_NODE_NONCE + SLV_ROSTER_KEY, 0, SLV_ROSTER_DIGEST);
    ret[SLV_NODE_NONCE + SLV_ROSTER_KEY] = (char)x->binary;
}

static void answer(struct world *x) {
    char evidence[EVIDENCE];
    if (!x->waits) return;
    x->waits = false;
    make_evidence(x, evidence);
    slv_node_quoted(x->node, clock_ns(NULL), x->asked_by, x->nonce,
                    (struct slv_str){evidence, x->binary ? sizeof evidence : 0});
}

static int attested(void *ctx, const uint8_t key[SLV_ROSTER_KEY],
                    const uint8_t nonce[SLV_NODE_NONCE], struct slv_str evidence,
                    const struct slv_condition *c, struct slv_err *err) {
    (void)ctx;
    assert_memory_equal(c->aks.v, ak, sizeof ak);
    if (evidence.n != EVIDENCE || memcmp(evidence.p, nonce, SLV_NODE_NONCE) != 0)
        return slv_err_set(err, SLV_E_TRUST, "another nonce");
    if (memcmp(evidence.p + SLV_NODE_NONCE, key, SLV_ROSTER_KEY) != 0)
        return slv_err_set(err, SLV_E_TRUST, "another node");
    if (memcmp(evidence.p + SLV_NODE_NONCE + SLV_ROSTER_KEY, c->binaries.v, SLV_ROSTER_DIGEST) != 0)
        return slv_err_set(err, SLV_E_TRUST, "another binary");
    return 0;
}

/* --- time ------------------------------------------------------------------------------------- */

static void associate(unsigned a, unsigned b) {
    w[a].up[b] = w[b].up[a] = true;
    w[a].wants[b] = w[b].wants[a] = false;
    const int one = slv_node_up(w[a].node, clock_ns(NULL), w[b].id),
              two = slv_node_up(w[b].node, clock_ns(NULL), w[a].id);
    assert_true((!one || one == SLV_E_NOMEM) && (!two || two == SLV_E_NOMEM));
    if (!one && !two) return;
    slv_node_down(w[a].node, clock_ns(NULL), w[b].id);
    slv_node_down(w[b].node, clock_ns(NULL), w[a].id);
    disconnect_from(&w[a], w[b].id);
}

static void deliver(void) {
    while (queued) {
        const unsigned from = queue[0].from, to = queue[0].to;
        char *bytes = queue[0].bytes;
        const size_t n = queue[0].n;
        memmove(queue, queue + 1, --queued * sizeof *queue);
        if (w[to].up[from])
            slv_node_receive(w[to].node, clock_ns(NULL), w[from].id, (struct slv_str){bytes, n});
        free(bytes);
        slv_node_tick(w[to].node, clock_ns(NULL));
    }
}

static void run_ms(unsigned ms) {
    for (const uint64_t end = now_ms + ms; now_ms < end; now_ms += STEP_MS) {
        for (unsigned i = 0; i < N; i++) {
            for (unsigned k = 0; k < N; k++)
                if (w[i].wants[k] && !w[i].up[k]) associate(i, k);
            if (!w[i].is_slow) answer(&w[i]);
            slv_node_tick(w[i].node, clock_ns(NULL));
            if (w[i].synced) {
                w[i].synced = false;
                slv_node_synced(w[i].node, clock_ns(NULL));
            }
        }
        deliver();
    }
}

static void open_node(struct world *x, bool has_tpm) {
    const struct slv_mesh_trust trust = {sign, check, x};
    static struct slv_mesh_trust trusts[N];
    trusts[x - w] = trust;
    const struct slv_node_conf c = {
        .id = x->id,
        .clock = &clock_of_test,
        .trust = &trusts[x - w],
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
                  .event = on_event,
                  .quote = has_tpm ? quote : NULL,
                  .attested = attested,
                  .ctx = x},
        .record = {"somewhere", 9},
        .roster = &roster,
        .attest_ms = 600000,
    };
    const struct slv_space_conf tags = {.name = {"tags", 4}, .type = SLV_TYPE_SET};
    size_t k;
    assert_int_equal(slv_node_open(&c, &x->node), 0);
    assert_int_equal(slv_node_space(x->node, &tags, &k), 0);
    assert_int_equal(slv_node_start(x->node, clock_ns(NULL), false, false), 0);
}

static void begin(void) {
    memset(w, 0, sizeof w);
    now_ms = number = 0;
    random_state = 1;
    for (unsigned i = 0; i < N; i++) {
        make_key((uint8_t)(i + 1), w[i].key, w[i].secret);
        w[i].id = id_of(NULL, w[i].key);
        w[i].binary = 1;
        w[i].whose = (uint8_t)i;
    }
    for (unsigned i = 0; i < N; i++)
        open_node(&w[i], true);
}

static void end(void) {
    for (unsigned i = 0; i < N; i++)
        slv_node_close(w[i].node);
    for (size_t i = 0; i < queued; i++)
        free(queue[i].bytes);
    queued = 0;
}

/* --- statements ------------------------------------------------------------------------------- */

/* binary NULL: without a condition. */
static void state_at(unsigned at, unsigned about, enum slv_statement_kind kind,
                     const uint8_t (*binary)[SLV_ROSTER_DIGEST]) {
    struct slv_statement s = {.kind = kind, .number = ++number, .flags = SLV_MAY_ALL};
    struct slv_buf b;
    memcpy(s.key, w[about].key, sizeof s.key);
    s.is_conditional = binary != NULL;
    s.condition = (struct slv_condition){.aks = {ak, 1}, .binaries = {binary, 1}};
    sign_statement(&s, &b);
    for (unsigned i = 0; i < N; i++)
        if (at == N || i == at)
            assert_int_equal(
                slv_node_state(w[i].node, clock_ns(NULL), (struct slv_str){b.data, b.len}), 0);
    slv_buf_fini(&b);
}

/* All know all; of 1 with a condition. */
static void state_all(const uint8_t (*binary)[SLV_ROSTER_DIGEST]) {
    state_at(N, 0, SLV_MEMBER, NULL);
    state_at(N, 1, SLV_MEMBER, binary);
    state_at(N, 2, SLV_MEMBER, NULL);
}

static void write_at(unsigned i, const char *text) {
    struct slv_draft d;
    uint64_t ticket;
    assert_int_equal(slv_node_draft(w[i].node, 0, (struct slv_str){"k", 1}, &d), 0);
    assert_int_equal(slv_draft_add(&d, (struct slv_str){text, strlen(text)}), 0);
    assert_int_equal(slv_node_write(w[i].node, 0, &d, &ticket), 0);
    slv_draft_close(&d);
}

static uint64_t has(unsigned i) { return slv_entries_count(slv_node_read(w[i].node, 0)->entries); }

static struct slv_node_attest of(unsigned at, unsigned about) {
    struct slv_node_attest a;
    slv_node_attest(w[at].node, w[about].id, &a);
    return a;
}

static uint64_t unattested(unsigned i) {
    struct slv_node_stats s;
    slv_node_stats(w[i].node, &s);
    return s.unattested;
}

static uint64_t refused(unsigned i) {
    struct slv_node_stats s;
    slv_node_stats(w[i].node, &s);
    return s.refused;
}

/* --- tests ------------------------------------------------------------------------------------ */

/* Whoever in a node has something for a guest. */
static void tells_nothing(unsigned from, unsigned to) {
    const char kinds[] = {SLV_MSG_BATCH, MSG_ROSTER, MSG_ATTEST, 16};
    for (unsigned i = 0; i < sizeof kinds; i++) {
        const struct slv_str m = {kinds + i, 1};
        for (int lane = 0; lane < SLV_LANES; lane++)
            if (kinds[i] != MSG_ATTEST || lane != SLV_LANE_REPAIR)
                assert_int_equal(node_message(w[from].node, w[to].id, (enum slv_lane)lane, m),
                                 SLV_E_BUSY);
        assert_false(node_datagram(w[from].node, w[to].id, m, false));
    }
}

static void who_shows_it_is_heard(void **state) {
    (void)state;
    begin();
    state_all(good);
    w[1].is_slow = true;
    write_at(0, "of 0");
    write_at(1, "of 1");
    associate(0, 1);
    run_ms(3000);
    assert_true(w[1].waits);
    assert_int_equal(has(0), 1); /* nothing is heard, and nothing told */
    assert_int_equal(has(1), 1);
    assert_true(of(0, 1).is_wanted && !of(0, 1).is_shown &&
                strstr(of(0, 1).why, "not answered yet"));
    assert_false(of(1, 0).is_wanted);
    tells_nothing(0, 1);
    answer(&w[1]);
    run_ms(3000);
    assert_true(of(0, 1).is_shown);
    assert_int_equal(has(0), 2);
    assert_int_equal(has(1), 2);
    assert_int_equal(w[0].news, 1);
    assert_int_equal(w[0].quotes, 0);
    assert_int_equal(w[1].quotes, 1);
    end();
}

static void both_may_have_to_show_it(void **state) {
    (void)state;
    begin();
    state_all(good);
    state_at(N, 0, SLV_MEMBER, good);
    write_at(0, "of 0");
    write_at(1, "of 1");
    associate(0, 1);
    run_ms(6000);
    assert_true(of(0, 1).is_shown && of(1, 0).is_shown);
    assert_int_equal(has(0), 2);
    assert_int_equal(has(1), 2);
    end();
}

/* What it wrote comes by way of who was shown it: all come to hold the same. */
static void a_wrong_one_stays_out_until_it_is_admitted(void **state) {
    (void)state;
    begin();
    state_all(other);
    write_at(1, "of 1");
    associate(0, 1);
    run_ms(3000);
    assert_int_equal(has(0), 0);
    assert_false(of(0, 1).is_shown);
    assert_string_equal(of(0, 1).why, "another binary");
    assert_int_equal(unattested(0), 1);
    run_ms(70000);
    assert_int_equal(unattested(0), 2); /* it is asked again, and told of once */
    assert_int_equal(w[0].news, 1);
    state_at(0, 1, SLV_MEMBER, good);
    run_ms(8000);
    assert_true(of(0, 1).is_shown);
    assert_int_equal(has(0), 1);
    associate(0, 2);
    run_ms(3000);
    assert_int_equal(has(2), 1);
    end();
}

static void a_new_condition_holds_at_once(void **state) {
    (void)state;
    begin();
    state_all(NULL);
    associate(0, 1);
    write_at(1, "one");
    run_ms(3000);
    assert_int_equal(has(0), 1);
    state_at(0, 1, SLV_MEMBER, other);
    write_at(1, "two");
    write_at(0, "three");
    run_ms(8000);
    assert_int_equal(has(0), 2); /* its own, and what it had heard */
    assert_int_equal(has(1), 2);
    state_at(0, 1, SLV_MEMBER, NULL); /* and goes at once */
    run_ms(8000);
    assert_int_equal(has(0), 3);
    assert_int_equal(has(1), 3);
    end();
}

/* Told by nobody but itself that it may. */
static void a_guest_may_tell_what_the_authority_says(void **state) {
    (void)state;
    begin();
    state_all(other);
    associate(0, 1);
    write_at(1, "of 1");
    run_ms(3000);
    assert_false(of(0, 1).is_shown);
    const char bad[] = {MSG_ROSTER, 2, 3, 'x', 'y', 'z', 3, 'x', 'y', 'z'};
    const uint64_t before = refused(0);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(
            node_message(w[1].node, w[0].id, SLV_LANE_REPAIR, (struct slv_str){bad, sizeof bad}),
            0);
    run_ms(100);
    assert_int_equal(refused(0), before + 1); /* and no more */
    run_ms(11000);
    state_at(1, 1, SLV_MEMBER, good);
    run_ms(8000);
    assert_true(of(0, 1).is_shown);
    assert_int_equal(has(0), 1);
    end();
}

static void who_says_nothing_stays_out(void **state) {
    (void)state;
    begin();
    state_all(good);
    w[1].is_slow = true;
    associate(0, 1);
    run_ms(59000);
    assert_int_equal(unattested(0), 0);
    run_ms(2000);
    assert_int_equal(unattested(0), 1);
    assert_string_equal(of(0, 1).why, "it has not answered");
    answer(&w[1]); /* too late: another nonce will be asked for */
    run_ms(3000);
    assert_false(of(0, 1).is_shown);
    end();
}

static void who_has_no_tpm_says_so(void **state) {
    (void)state;
    begin();
    state_all(good);
    slv_node_close(w[1].node);
    open_node(&w[1], false);
    state_at(1, 0, SLV_MEMBER, NULL);
    associate(0, 1);
    run_ms(1000);
    assert_false(of(0, 1).is_shown);
    assert_non_null(strstr(of(0, 1).why, "no TPM"));
    w[2].binary = 0; /* its TPM fails */
    state_at(N, 2, SLV_MEMBER, good);
    associate(0, 2);
    run_ms(1000);
    assert_non_null(strstr(of(0, 2).why, "no TPM"));
    end();
}

static void another_s_evidence_is_refused(void **state) {
    (void)state;
    begin();
    state_all(good);
    w[1].whose = 2;
    associate(0, 1);
    run_ms(1000);
    assert_string_equal(of(0, 1).why, "another node");
    end();
}

/* Kind 11 with this nonce, of what the node last made. */
static void say_evidence(unsigned from, unsigned to, const uint8_t nonce[SLV_NODE_NONCE],
                         size_t len) {
    char evidence[EVIDENCE];
    struct slv_buf m;
    make_evidence(&w[from], evidence);
    slv_buf_init(&m, 65536);
    slv_buf_addc(&m, MSG_EVIDENCE);
    slv_buf_add(&m, nonce, SLV_NODE_NONCE);
    slv_write_bytes(&m, evidence, sizeof evidence);
    while (m.len < len)
        slv_buf_addc(&m, 0);
    assert_int_equal(
        node_message(w[from].node, w[to].id, SLV_LANE_REPAIR, (struct slv_str){m.data, m.len}), 0);
    slv_buf_fini(&m);
}

static void an_old_answer_is_not_taken(void **state) {
    uint8_t old[SLV_NODE_NONCE];
    (void)state;
    begin();
    state_all(good);
    associate(0, 1);
    run_ms(1000);
    assert_true(of(0, 1).is_shown);
    memcpy(old, w[1].nonce, sizeof old);
    w[1].is_slow = true;
    associate(0, 1); /* a new association has a new nonce */
    run_ms(6000);
    assert_false(of(0, 1).is_shown);
    assert_true(w[1].waits && memcmp(old, w[1].nonce, sizeof old) != 0);
    uint8_t asked[SLV_NODE_NONCE];
    memcpy(asked, w[1].nonce, sizeof asked);
    memcpy(w[1].nonce, old, sizeof old);
    const uint64_t before = refused(0);
    say_evidence(1, 0, old, 0);                             /* as it was sent then */
    say_evidence(1, 0, asked, SLV_NODE_EVIDENCE_MAX + 500); /* or with something behind it */
    run_ms(1000);
    assert_int_equal(refused(0), before + 2);
    assert_int_equal(unattested(0), 0);
    say_evidence(1, 0, asked, 0); /* under the new nonce */
    run_ms(1000);
    assert_int_equal(unattested(0), 1);
    assert_string_equal(of(0, 1).why, "another nonce");
    memcpy(w[1].nonce, asked, sizeof asked);
    say_evidence(1, 0, asked, 0); /* the right one, behind a wrong one */
    run_ms(1000);
    assert_false(of(0, 1).is_shown);
    end();
}

static void it_is_asked_again(void **state) {
    (void)state;
    begin();
    state_all(good);
    associate(0, 1);
    write_at(1, "one");
    run_ms(590000);
    assert_int_equal(w[1].quotes, 1);
    assert_int_equal(has(0), 1);
    run_ms(30000);
    assert_int_equal(w[1].quotes, 2);
    assert_true(of(0, 1).is_shown);
    w[1].binary = 2; /* it was changed */
    run_ms(560000);
    write_at(1, "two");
    run_ms(30000);
    assert_false(of(0, 1).is_shown);
    assert_string_equal(of(0, 1).why, "another binary");
    write_at(1, "three");
    run_ms(3000);
    assert_int_equal(has(0), 2); /* what it wrote before */
    end();
}

static void say_challenge(unsigned from, unsigned to, uint8_t nonce) {
    char m[1 + SLV_NODE_NONCE] = {MSG_ATTEST, (char)nonce};
    assert_int_equal(
        node_message(w[from].node, w[to].id, SLV_LANE_REPAIR, (struct slv_str){m, sizeof m}), 0);
}

static void a_tpm_is_not_kept_busy(void **state) {
    (void)state;
    begin();
    state_all(NULL);
    w[1].is_slow = true;
    associate(0, 1);
    associate(1, 2);
    for (unsigned i = 1; i <= 100; i++) {
        say_challenge(0, 1, (uint8_t)i);
        run_ms(10);
    }
    run_ms(10000);
    assert_int_equal(w[1].quotes, 1); /* until it has answered there is no other */
    say_challenge(2, 1, 200);
    run_ms(10);
    answer(&w[1]);
    run_ms(10);
    assert_int_equal(w[1].quotes, 2);
    assert_int_equal(w[1].asked_by, w[2].id); /* who was not served yet */
    answer(&w[1]);
    run_ms(10);
    assert_int_equal(w[1].quotes, 3);
    assert_int_equal(w[1].nonce[0], 100); /* the last that was sent */
    w[1].is_slow = false;
    for (unsigned i = 1; i <= 100; i++) {
        say_challenge(0, 1, (uint8_t)i);
        run_ms(100);
    }
    assert_true(w[1].quotes <= 3 + 3);
    state_at(1, 0, SLV_REVOKED, NULL);
    run_ms(1000);
    const unsigned quotes = w[1].quotes;
    run_ms(20000);
    assert_int_equal(w[1].quotes, quotes); /* no member is no longer answered */
    end();
}

/* As a guest that may have an invitation. */
static void a_stranger_is_shown_nothing(void **state) {
    (void)state;
    begin();
    state_at(0, 1, SLV_MEMBER, NULL);
    associate(0, 1);
    say_challenge(0, 1, 1);
    run_ms(6000);
    assert_int_equal(w[1].quotes, 0);
    end();
}

/* (It says so itself: its message is read while it is cut off.) */
static void who_tells_of_its_own_end_is_cut_off(void **state) {
    (void)state;
    begin();
    state_all(NULL);
    associate(0, 1);
    run_ms(3000);
    state_at(1, 1, SLV_REVOKED, NULL);
    run_ms(3000);
    assert_int_equal(slv_roster_about(slv_node_roster(w[0].node), w[1].key)->kind, SLV_REVOKED);
    assert_false(slv_node_is_connected(w[0].node, w[1].id));
    end();
}

static void without_memory_it_is_out_or_in(void **state) {
    (void)state;
    for (uint64_t n = 1; n < 120; n++) {
        begin();
        state_all(good);
        slv_mem_fail_at(n);
        associate(0, 1);
        for (unsigned ms = 0; ms < 100; ms += STEP_MS) {
            run_ms(STEP_MS);
            if (!w[0].up[1]) associate(0, 1);
        }
        slv_mem_fail_at(0);
        if (!w[0].up[1]) associate(0, 1);
        run_ms(70000); /* what was lost is asked for again */
        assert_true(of(0, 1).is_shown);
        end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_shows_it_is_heard),
        cmocka_unit_test(both_may_have_to_show_it),
        cmocka_unit_test(a_wrong_one_stays_out_until_it_is_admitted),
        cmocka_unit_test(a_new_condition_holds_at_once),
        cmocka_unit_test(a_guest_may_tell_what_the_authority_says),
        cmocka_unit_test(who_says_nothing_stays_out),
        cmocka_unit_test(who_has_no_tpm_says_so),
        cmocka_unit_test(another_s_evidence_is_refused),
        cmocka_unit_test(an_old_answer_is_not_taken),
        cmocka_unit_test(it_is_asked_again),
        cmocka_unit_test(a_tpm_is_not_kept_busy),
        cmocka_unit_test(a_stranger_is_shown_nothing),
        cmocka_unit_test(who_tells_of_its_own_end_is_cut_off),
        cmocka_unit_test(without_memory_it_is_out_or_in),
    };
    return cmocka_run_group_tests(tests, make_authority, NULL);
}
