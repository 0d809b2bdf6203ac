/* test_strong_raw.c: what a user would lose: a vote that is given twice, an entry that one says to
 * have and has not, members that never were agreed on; a node that a message ends.
 *
 * One node of a strong group, and any messages of others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/strong_int.h"

#include <stdlib.h>
#include <string.h>

static struct slv_strong *node;
static uint64_t now, ticket;
static struct {
    uint64_t to;
    struct strong_msg m;
} out[256];
static size_t n_out;
static struct {
    char key[9];
    size_t n_key, n;
    char value[4096];
} disk[256];
static size_t n_disk;
static uint64_t random_number;
static unsigned answers;
static bool broken; /* the store */

static void on_send(void *ctx, uint64_t peer, struct slv_str bytes) {
    (void)ctx;
    assert_true(n_out < 256);
    out[n_out].to = peer;
    assert_true(strong_msg_read(bytes, &out[n_out++].m));
}

static size_t find(struct slv_str key) {
    for (size_t i = 0; i < n_disk; i++)
        if (disk[i].n_key == key.n && !memcmp(disk[i].key, key.p, key.n)) return i;
    return n_disk;
}

static int on_put(void *ctx, struct slv_str key, struct slv_str value) {
    (void)ctx;
    const size_t i = find(key);
    assert_true(i < 256 && value.n <= sizeof disk[i].value);
    if (i == n_disk) n_disk++;
    memcpy(disk[i].key, key.p, key.n);
    memcpy(disk[i].value, value.p, value.n);
    disk[i].n_key = key.n;
    disk[i].n = value.n;
    return broken ? SLV_E_IO : 0;
}

static int on_del(void *ctx, struct slv_str key) {
    (void)ctx;
    const size_t i = find(key);
    if (i < n_disk) disk[i] = disk[--n_disk];
    return 0;
}

static int on_commit(void *ctx, uint64_t t) {
    (void)ctx;
    ticket = t;
    return broken ? SLV_E_IO : 0;
}

static uint64_t on_random(void *ctx) {
    (void)ctx;
    return random_number += 7919;
}
static void on_event(void *ctx, enum slv_strong_event e, uint64_t id) {
    (void)ctx, (void)e, (void)id;
}
static void on_answer(void *ctx, uint64_t call, const struct slv_strong_result *r) {
    (void)ctx, (void)call;
    answers += r->status == SLV_STRONG_OK;
}

static bool hurt; /* the records are not all there */

static void start(bool first) {
    const uint64_t ids[] = {1, 2, 3};
    const struct slv_strong_conf c = {
        .id = 1,
        .world = {on_send, on_put, on_del, on_commit, on_random, on_event, on_answer, NULL, NULL}};
    assert_int_equal(slv_strong_open(&c, &node), 0);
    for (size_t i = 0; i < n_disk; i++)
        assert_int_equal(slv_strong_load(node, (struct slv_str){disk[i].key, disk[i].n_key},
                                         (struct slv_str){disk[i].value, disk[i].n}),
                         0);
    if (first) assert_int_equal(slv_strong_bootstrap(node, ids, 3), 0);
    assert_int_equal(slv_strong_start(node, now, hurt), 0);
    slv_strong_synced(node, now, ticket);
    n_out = 0;
}

static void open_node(void) {
    now = 1000 * MS;
    n_disk = n_out = 0;
    ticket = 0;
    start(true);
}

static void synced(void) { slv_strong_synced(node, now, ticket); }

static void give(uint64_t from, struct strong_msg m) {
    struct slv_buf b;
    struct strong_msg again;
    slv_buf_init(&b, SLV_STRONG_MESSAGE_MAX);
    strong_msg_write(&m, &b);
    assert_true(strong_msg_read((struct slv_str){b.data, b.len}, &again)); /* it is one */
    slv_strong_receive(node, now, from, (struct slv_str){b.data, b.len});
    slv_buf_fini(&b);
}

/* The last message of this kind that went to a node, or NULL. */
static const struct strong_msg *sent(uint64_t to, enum strong_kind_of_message kind) {
    for (size_t i = n_out; i-- > 0;)
        if (out[i].to == to && out[i].m.kind == kind) return &out[i].m;
    return NULL;
}

/* Entries of the term that do nothing, or that make members of 1 to n. */
static void append(uint64_t from, uint64_t term, uint64_t index, uint64_t index_term,
                   uint64_t commit, unsigned n, unsigned members) {
    struct slv_buf entries, payload;
    struct strong_msg m = {.kind = STRONG_APPEND,
                           .term = term,
                           .index = index,
                           .index_term = index_term,
                           .commit = commit,
                           .n = n};
    struct strong_members who = {.n = members};
    for (unsigned i = 0; i < members; i++) {
        who.v[i].id = i + 1;
        who.v[i].role = SLV_STRONG_VOTER;
    }
    slv_buf_init(&entries, 65536);
    slv_buf_init(&payload, 4096);
    if (members) strong_members_write(&who, &payload);
    else
        strong_command_write(&(struct slv_strong_command){.op = (enum slv_strong_op)STRONG_NOP},
                             &payload);
    for (unsigned i = 0; i < n; i++)
        strong_entry_write(&(struct strong_entry){term,
                                                  members ? STRONG_MEMBERS : STRONG_COMMAND,
                                                  {payload.data, payload.len}},
                           &entries);
    m.bytes = (struct slv_str){entries.data, entries.len};
    give(from, m);
    slv_buf_fini(&entries);
    slv_buf_fini(&payload);
}

static void vote(uint64_t from, uint64_t term, uint64_t index, uint64_t index_term) {
    give(from, (struct strong_msg){
                   .kind = STRONG_VOTE, .term = term, .index = index, .index_term = index_term});
}

/* Time goes on, and the disk with it. */
static void run(uint64_t ms) {
    for (const uint64_t end = now + ms * MS; now < end; now += MS) {
        slv_strong_tick(node, now);
        synced();
    }
}

static void elect(void) {
    while (!sent(2, STRONG_VOTE)) {
        assert_true(now < 10000 * MS);
        run(1);
    }
    give(2, (struct strong_msg){
                .kind = STRONG_VOTE_RESULT, .term = sent(2, STRONG_VOTE)->term, .flags = 3});
    synced();
    assert_int_equal(sent(3, STRONG_VOTE)->flags, 0);
    give(2, (struct strong_msg){
                .kind = STRONG_VOTE_RESULT, .term = sent(2, STRONG_VOTE)->term, .flags = 1});
    assert_int_equal(slv_strong_leader(node), 1);
}

/* --- what waits for the disk ------------------------------------------------------------------ */

static void a_vote_waits_for_the_disk(void **state) {
    (void)state;
    open_node();
    vote(2, 5, 1, 1);
    slv_strong_tick(node, now);
    assert_null(sent(2, STRONG_VOTE_RESULT));
    synced();
    assert_int_equal(sent(2, STRONG_VOTE_RESULT)->flags, 1);
    slv_strong_close(node);
    start(false); /* and is remembered */
    vote(3, 5, 1, 1);
    synced();
    assert_int_equal(sent(3, STRONG_VOTE_RESULT)->flags, 0);
    assert_int_equal(sent(3, STRONG_VOTE_RESULT)->term, 5);
    slv_strong_close(node);
}

static void entries_wait_for_the_disk(void **state) {
    (void)state;
    open_node();
    append(2, 2, 1, 1, 1, 3, 0);
    slv_strong_tick(node, now);
    assert_null(sent(2, STRONG_APPEND_RESULT));
    synced();
    assert_int_equal(sent(2, STRONG_APPEND_RESULT)->commit, 4);
    slv_strong_close(node);
}

/* A leader asks for nobody's vote before its own is on the disk, and stands while nothing waits. */
static void it_stands_with_a_clean_disk(void **state) {
    (void)state;
    open_node();
    append(2, 2, 1, 1, 1, 1, 4);
    for (int i = 0; i < 3000; i++, now += MS)
        slv_strong_tick(node, now);
    assert_null(sent(2, STRONG_VOTE));
    synced();
    run(1000);
    assert_non_null(sent(4, STRONG_VOTE)); /* by the members that came last */
    slv_strong_close(node);
}

/* --- what is counted -------------------------------------------------------------------------- */

static void leftovers_are_not_the_leaders(void **state) {
    (void)state;
    open_node();
    append(2, 2, 1, 1, 1, 3, 0);
    synced();
    append(3, 3, 1, 1, 3, 0, 0); /* another leader, who knows of none of these */
    synced();
    assert_int_equal(slv_strong_applied(node), 1);
    assert_int_equal(sent(3, STRONG_APPEND_RESULT)->at, 0);
    assert_int_equal(sent(3, STRONG_APPEND_RESULT)->commit, 1);
    append(3, 3, 1, 1, 4, 1, 0); /* what is committed beyond what he sent is not what is here */
    synced();
    assert_int_equal(sent(3, STRONG_APPEND_RESULT)->commit, 2);
    assert_int_equal(slv_strong_applied(node), 2);
    slv_strong_close(node);
}

static void entries_of_old_terms_are_not_counted(void **state) {
    (void)state;
    open_node();
    append(2, 2, 1, 1, 1, 1, 0);
    synced();
    elect();
    const uint64_t term = slv_strong_term(node);
    give(2, (struct strong_msg){.kind = STRONG_APPEND_RESULT, .term = term, .commit = 2});
    assert_int_equal(slv_strong_applied(node), 1);
    slv_strong_tick(node, now);
    synced();
    give(2, (struct strong_msg){.kind = STRONG_APPEND_RESULT, .term = term, .commit = 3});
    assert_int_equal(slv_strong_applied(node), 3);
    slv_strong_close(node);
}

/* Another may lead since the entry that is under way was appended. */
static void a_read_waits_for_its_own_entry(void **state) {
    (void)state;
    const struct slv_strong_command get = {.op = SLV_STRONG_GET, .key = {"k", 1}};
    uint64_t call;
    open_node();
    elect();
    const uint64_t term = slv_strong_term(node);
    synced();
    give(2, (struct strong_msg){.kind = STRONG_APPEND_RESULT, .term = term, .commit = 2});
    answers = 0;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(slv_strong_call(node, now, &get, &call), 0);
        synced();
    }
    for (unsigned i = 1; i <= 2; i++) {
        give(2, (struct strong_msg){.kind = STRONG_APPEND_RESULT, .term = term, .commit = 2 + i});
        slv_strong_tick(node, now);
        synced();
        assert_int_equal(answers, i);
    }
    slv_strong_close(node);
}

static void late_refusals_do_no_harm(void **state) {
    (void)state;
    open_node();
    elect();
    const uint64_t term = slv_strong_term(node);
    synced();
    give(2, (struct strong_msg){.kind = STRONG_APPEND_RESULT, .term = term, .commit = 2});
    for (uint64_t i = 0; i < 4; i++)
        give(2, (struct strong_msg){.kind = STRONG_APPEND_RESULT, .term = term, .at = i});
    run(300);
    assert_true(sent(2, STRONG_APPEND)->index >= 2);
    slv_strong_close(node);
}

/* --- members ---------------------------------------------------------------------------------- */

static void members_that_are_taken_back(void **state) {
    (void)state;
    for (int restarts = 0; restarts < 2; restarts++) {
        open_node();
        append(2, 2, 1, 1, 1, 1, 4);
        synced();
        assert_int_equal(slv_strong_role(node, 4), SLV_STRONG_VOTER);
        if (restarts) {
            slv_strong_close(node);
            start(false);
            assert_int_equal(slv_strong_role(node, 4), SLV_STRONG_VOTER);
        }
        append(3, 3, 1, 1, 1, 1, 0);
        synced();
        assert_int_equal(slv_strong_role(node, 4), SLV_STRONG_GONE);
        slv_strong_close(node);
    }
    /* Two changes in one message, of which the first stays. */
    open_node();
    append(2, 2, 1, 1, 1, 1, 4);
    append(2, 2, 2, 2, 1, 1, 5);
    synced();
    assert_int_equal(slv_strong_role(node, 5), SLV_STRONG_VOTER);
    append(3, 3, 2, 2, 1, 1, 0);
    synced();
    assert_int_equal(slv_strong_role(node, 5), SLV_STRONG_GONE);
    assert_int_equal(slv_strong_role(node, 4), SLV_STRONG_VOTER);
    slv_strong_close(node);
}

/* Others may have led, or been told of entries, in the term that it knows. */
static void alone_it_leads_in_a_new_term(void **state) {
    (void)state;
    open_node();
    append(2, 2, 1, 1, 2, 1, 1);
    synced();
    run(2000);
    assert_int_equal(slv_strong_leader(node), 1);
    assert_int_equal(slv_strong_term(node), 3);
    assert_int_equal(node->raft.current_term, 3);
    slv_strong_close(node);
    start(false);
    run(100);
    assert_int_equal(slv_strong_leader(node), 1);
    assert_int_equal(slv_strong_term(node), 4);
    slv_strong_close(node);
}

/* --- what the log makes ----------------------------------------------------------------------- */

static struct slv_strong_result apply(struct strong_state *st, struct slv_strong_command c) {
    struct slv_strong_result r;
    assert_int_equal(strong_state_apply(st, st->index + 1, now, &c, &r), 0);
    return r;
}

static void the_same_from_its_bytes(void **state) {
    (void)state;
    struct strong_state st = {0}, again = {0};
    struct slv_buf a, b;
    struct slv_strong_command expire = {.op = (enum slv_strong_op)STRONG_EXPIRE, .lease = 1};
    apply(&st, (struct slv_strong_command){
                   .op = SLV_STRONG_GRANT, .client = 5000, .seq = 1, .ttl_ms = 10});
    apply(&st, (struct slv_strong_command){
                   .op = SLV_STRONG_KEEPALIVE, .client = 5000, .seq = 2, .lease = 1});
    expire.version = 1; /* it was proposed before that */
    apply(&st, expire);
    assert_int_equal(st.n_lease, 1);
    for (uint64_t i = 1; i <= SLV_STRONG_CLIENTS; i++) /* with the last one is forgotten */
        apply(&st, (struct slv_strong_command){
                       .op = SLV_STRONG_EPOCH, .client = i, .seq = 1, .key = {"e", 1}});
    struct slv_strong_command late = {
        .op = SLV_STRONG_KEEPALIVE, .client = 5000, .seq = 3, .lease = 1};
    assert_int_equal(apply(&st, late).status, SLV_STRONG_EXPIRED);
    slv_buf_init(&a, STRONG_SNAPSHOT_MAX);
    slv_buf_init(&b, STRONG_SNAPSHOT_MAX);
    strong_state_write(&st, &a);
    for (size_t n = 0; n < a.len; n += 7)
        assert_int_equal(strong_state_read((struct slv_str){a.data, n}, &again), SLV_E_FORMAT);
    assert_int_equal(strong_state_read((struct slv_str){a.data, a.len}, &again), 0);
    strong_state_write(&again, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    expire.version = 2;
    apply(&again, expire);
    assert_int_equal(again.n_lease, 0);
    strong_state_fini(&again);
    for (uint64_t n = 1, rc = 1; rc; n++) { /* without memory nothing has changed */
        slv_mem_fail_at(n);
        rc = strong_state_read((struct slv_str){a.data, a.len}, &again) != 0;
        slv_mem_fail_at(0);
    }
    slv_buf_fini(&a);
    slv_buf_fini(&b);
    strong_state_fini(&again);
    strong_state_fini(&st);
}

/* --- what is not taken ------------------------------------------------------------------------ */

static void nothing_ends_it(void **state) {
    (void)state;
    struct slv_strong_stats a, b;
    open_node();
    append(2, 2, 1, 1, 3, 2, 0);
    synced();
    assert_int_equal(slv_strong_applied(node), 3);
    slv_strong_stats(node, &a);
    append(3, 4, 1, 1, 1, 1, 0); /* against what is committed */
    append(3, 4, 2, 4, 1, 1, 0);
    slv_strong_stats(node, &b);
    assert_int_equal(b.guarded - a.guarded, 2);
    elect();
    const uint64_t term = slv_strong_term(node);
    slv_strong_stats(node, &a);
    append(2, term, 3, 2, 3, 1, 0); /* another leader in its own term */
    slv_strong_stats(node, &b);
    assert_int_equal(b.guarded - a.guarded, 1);
    assert_int_equal(slv_strong_leader(node), 1);
    slv_strong_receive(node, now, 2, (struct slv_str){"\1\3", 2});
    slv_strong_receive(node, now, 0, (struct slv_str){"\1\1", 2});
    assert_false(slv_strong_failed(node));
    slv_strong_close(node);
}

/* Readmitted, it may have voted in any term before, and said that it had any entry. */
static void fresh_it_votes_for_nobody(void **state) {
    (void)state;
    open_node();
    slv_strong_close(node);
    hurt = true;
    start(false);
    hurt = false;
    append(2, 2, 1, 1, 1, 1, 0);
    vote(3, 2, 9, 2);
    run(3000);
    assert_null(sent(2, STRONG_APPEND_RESULT));
    assert_null(sent(3, STRONG_VOTE_RESULT));
    const uint64_t nonce = sent(2, STRONG_DAMAGED)->number;
    give(2,
         (struct strong_msg){.kind = STRONG_READMIT, .term = 7, .commit = 4, .number = nonce + 2});
    assert_int_equal(slv_strong_term(node), 0); /* that was for another damage */
    give(2, (struct strong_msg){.kind = STRONG_READMIT, .term = 7, .commit = 4, .number = nonce});
    synced();
    append(2, 7, 0, 0, 1, 1, 3);
    synced();
    assert_int_equal(sent(2, STRONG_APPEND_RESULT)->commit, 1);
    for (int restarts = 0; restarts < 2; restarts++) {
        run(3000);
        vote(3, 8, 9, 7);
        synced();
        assert_null(sent(3, STRONG_VOTE_RESULT));
        assert_null(sent(3, STRONG_VOTE));
        assert_int_equal(slv_strong_role(node, 1), SLV_STRONG_VOTER);
        slv_strong_close(node);
        start(false);
        assert_true(slv_strong_damaged(node));
    }
    append(2, 7, 1, 7, 4, 3, 0);
    synced();
    assert_int_equal(slv_strong_applied(node), 4);
    assert_false(slv_strong_damaged(node));
    run(600);
    vote(3, 99, 9, 7);
    synced();
    assert_int_equal(sent(3, STRONG_VOTE_RESULT)->flags, 1);
    slv_strong_close(node);
}

static void a_store_that_fails(void **state) {
    (void)state;
    open_node();
    broken = true;
    append(2, 2, 1, 1, 1, 1, 0);
    broken = false;
    assert_null(sent(2, STRONG_APPEND_RESULT));
    assert_true(slv_strong_failed(node));
    assert_int_equal(slv_strong_tick(node, now), UINT64_MAX);
    assert_int_equal(slv_strong_leader(node), 0);
    slv_strong_close(node);
}

/* Told to lead while entries are on their way to its disk, it does when they are there; not when
 * the leader has long given that up. */
static void it_stands_when_its_disk_is_clean(void **state) {
    const struct strong_msg now_lead = {
        .kind = STRONG_TIMEOUT_NOW, .term = 2, .index = 2, .index_term = 2};
    (void)state;
    for (unsigned late = 0; late < 2; late++) {
        open_node();
        append(2, 2, 1, 1, 1, 1, 0);
        give(2, now_lead);
        assert_null(sent(3, STRONG_VOTE));
        if (late) now += 5000 * MS;
        synced();
        synced(); /* of its vote for itself */
        if (late) assert_null(sent(3, STRONG_VOTE));
        else assert_int_equal(sent(3, STRONG_VOTE)->flags, 2);
        slv_strong_close(node);
    }
}

/* The core is in the middle of becoming a candidate then. */
static void a_store_that_fails_as_it_is_to_lead(void **state) {
    (void)state;
    open_node();
    append(2, 2, 1, 1, 1, 1, 0);
    synced();
    assert_int_equal(slv_strong_leader(node), 2);
    broken = true;
    give(2,
         (struct strong_msg){.kind = STRONG_TIMEOUT_NOW, .term = 2, .index = 2, .index_term = 2});
    broken = false;
    assert_null(sent(3, STRONG_VOTE));
    assert_true(slv_strong_failed(node));
    slv_strong_close(node);
    open_node(); /* and one that does not */
    append(2, 2, 1, 1, 1, 1, 0);
    synced();
    give(2,
         (struct strong_msg){.kind = STRONG_TIMEOUT_NOW, .term = 2, .index = 2, .index_term = 2});
    synced();
    assert_int_equal(sent(3, STRONG_VOTE)->term, 3);
    slv_strong_close(node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vote_waits_for_the_disk),
        cmocka_unit_test(entries_wait_for_the_disk),
        cmocka_unit_test(it_stands_with_a_clean_disk),
        cmocka_unit_test(leftovers_are_not_the_leaders),
        cmocka_unit_test(entries_of_old_terms_are_not_counted),
        cmocka_unit_test(a_read_waits_for_its_own_entry),
        cmocka_unit_test(late_refusals_do_no_harm),
        cmocka_unit_test(members_that_are_taken_back),
        cmocka_unit_test(alone_it_leads_in_a_new_term),
        cmocka_unit_test(the_same_from_its_bytes),
        cmocka_unit_test(nothing_ends_it),
        cmocka_unit_test(fresh_it_votes_for_nobody),
        cmocka_unit_test(a_store_that_fails),
        cmocka_unit_test(it_stands_when_its_disk_is_clean),
        cmocka_unit_test(a_store_that_fails_as_it_is_to_lead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
