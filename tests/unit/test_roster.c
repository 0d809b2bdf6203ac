/* test_roster.c: what a user would lose: nodes that do not agree on who is a member, a signature
 * that is not asked for, an invitation that two can use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mesh/invite.h"

#include <sodium.h>
#include <string.h>

#define KEYS 6u
#define MOST 64u

static uint8_t authority[SLV_ROSTER_KEY], secret[crypto_sign_SECRETKEYBYTES];
static uint64_t rnd_state = 1;

static uint64_t rnd(uint64_t below) {
    rnd_state = rnd_state * 6364136223846793005u + 1442695040888963407u;
    return (rnd_state >> 33) % below;
}

static const struct slv_str mesh = {"floor", 5};

static bool verify(void *ctx, const uint8_t key[SLV_ROSTER_KEY], struct slv_str bytes,
                   const uint8_t sig[SLV_ROSTER_SIG]) {
    (void)ctx;
    return !crypto_sign_verify_detached(sig, (const uint8_t *)bytes.p, bytes.n, key);
}

static uint64_t id_of(void *ctx, const uint8_t key[SLV_ROSTER_KEY]) {
    uint64_t id;
    (void)ctx;
    memcpy(&id, key, sizeof id);
    return id;
}

static struct slv_roster *open_roster(void) {
    struct slv_roster_conf c = {
        .mesh = mesh, .has_authority = true, .verify = verify, .id_of = id_of};
    struct slv_roster *r;
    memcpy(c.authority, authority, sizeof authority);
    assert_int_equal(slv_roster_open(&c, &r), 0);
    return r;
}

static void sign(const struct slv_statement *s, struct slv_buf *ret) {
    uint8_t sig[SLV_ROSTER_SIG];
    struct slv_buf b;
    slv_buf_init(&b, 65536);
    slv_buf_init(ret, 65536);
    assert_int_equal(slv_statement_write(s, ret), 0);
    slv_statement_signed(mesh, (struct slv_str){ret->data, ret->len}, &b);
    crypto_sign_detached(sig, NULL, (const uint8_t *)b.data, b.len, secret);
    slv_buf_add(ret, (const char *)sig, sizeof sig);
    slv_buf_fini(&b);
}

static const uint8_t digests[3][SLV_ROSTER_DIGEST] = {{1}, {2}, {2, 1}};

static struct slv_statement about(unsigned k, enum slv_statement_kind kind, uint64_t number) {
    struct slv_statement s = {.kind = kind, .number = number, .flags = (unsigned)rnd(8)};
    memset(s.key, (int)(k + 1), sizeof s.key);
    s.name = (struct slv_str){"pump", rnd(5)};
    s.n_scope = rnd(3);
    for (size_t i = 0; i < s.n_scope; i++)
        s.scope[i] = (struct slv_scope){{"tags", 4}, {"north", rnd(6)}};
    s.is_conditional = kind == SLV_MEMBER && rnd(2);
    s.condition = (struct slv_condition){.aks = {digests, 1}, .binaries = {digests, rnd(4)}};
    return s;
}

static int add(struct slv_roster *r, const struct slv_buf *b, uint64_t *id) {
    return slv_roster_add(r, (struct slv_str){b->data, b->len}, id);
}

/* --- agreement -------------------------------------------------------------------------------- */

/* Whatever order they come in, and however often. */
static void all_agree(void **state) {
    (void)state;
    for (unsigned turn = 0; turn < 60; turn++) {
        struct slv_buf s[MOST];
        struct slv_roster *r[4];
        uint8_t first[16], print[16];
        uint64_t id;
        for (unsigned i = 0; i < MOST; i++) {
            const struct slv_statement x =
                about((unsigned)rnd(KEYS), rnd(3) ? SLV_MEMBER : SLV_REVOKED, 1 + rnd(6));
            sign(&x, &s[i]);
        }
        for (unsigned k = 0; k < 4; k++) {
            r[k] = open_roster();
            const unsigned from = (unsigned)rnd(MOST);
            for (unsigned i = 0; i < MOST; i++)
                assert_int_equal(add(r[k], &s[(from + 7 * i) % MOST], &id), 0);
            for (unsigned i = 0; i < MOST; i++) {
                assert_int_equal(add(r[k], &s[i], &id), 0);
                assert_int_equal(id, 0); /* nothing is new any more */
            }
            slv_roster_print(r[k], k ? print : first);
            if (k) assert_memory_equal(first, print, sizeof print);
        }
        for (unsigned i = 0; i < MOST; i++)
            slv_buf_fini(&s[i]);
        for (unsigned k = 0; k < 4; k++)
            slv_roster_close(r[k]);
    }
}

/* --- trust ------------------------------------------------------------------------------------ */

static void no_bit_may_differ(void **state) {
    struct slv_roster *r = open_roster();
    struct slv_statement x = about(0, SLV_MEMBER, 1);
    struct slv_buf b;
    uint64_t id;
    (void)state;
    sign(&x, &b);
    for (size_t i = 0; i < 8 * b.len; i++) {
        b.data[i / 8] = (char)(b.data[i / 8] ^ 1 << i % 8);
        assert_int_not_equal(add(r, &b, &id), 0);
        b.data[i / 8] = (char)(b.data[i / 8] ^ 1 << i % 8);
    }
    for (size_t n = 0; n < b.len; n++)
        assert_int_not_equal(slv_roster_add(r, (struct slv_str){b.data, n}, &id), 0);
    assert_int_equal(slv_roster_count(r), 0);
    assert_int_equal(add(r, &b, &id), 0);
    assert_int_equal(slv_roster_count(r), 1);
    slv_buf_fini(&b);
    slv_roster_close(r);
}

static void rights(void **state) {
    struct slv_statement s = {.kind = SLV_MEMBER, .n_scope = 2};
    const struct slv_str tags = {"tags", 4}, hits = {"hits", 4};
    (void)state;
    s.scope[0] = (struct slv_scope){{"tags", 4}, {"north-", 6}};
    s.scope[1] = (struct slv_scope){{"hits", 4}, {"", 0}};
    assert_true(slv_statement_covers(&s, tags, (struct slv_str){"north-1", 7}));
    assert_true(slv_statement_covers(&s, hits, (struct slv_str){"any", 3}));
    assert_false(slv_statement_covers(&s, tags, (struct slv_str){"north", 5}));
    assert_false(slv_statement_covers(&s, tags, (struct slv_str){"south-1", 7}));
    assert_false(slv_statement_covers(&s, (struct slv_str){"hit", 3}, (struct slv_str){"any", 3}));
    s.flags = SLV_MAY_WRITE_ALL;
    assert_true(slv_statement_covers(&s, tags, (struct slv_str){"south-1", 7}));
}

/* --- conditions ------------------------------------------------------------------------------- */

static struct slv_statement conditional(enum slv_statement_kind kind) {
    struct slv_statement s = {.kind = kind, .number = 1, .is_conditional = true};
    s.key[0] = 7;
    s.condition = (struct slv_condition){
        .aks = {digests, 2}, .binaries = {digests, 3}, .policies = {digests + 2, 1}};
    return s;
}

static bool reads(const struct slv_statement *s, struct slv_statement *ret) {
    const uint8_t *sig;
    struct slv_statement got;
    struct slv_buf b;
    slv_buf_init(&b, 65536);
    assert_int_equal(slv_statement_write(s, &b), 0);
    const bool ok = !slv_statement_read((struct slv_str){b.data, b.len}, &got, &sig);
    if (ok && ret) *ret = got;
    slv_buf_fini(&b);
    return ok;
}

/* (What is borrowed is gone: numbers only.) */
static void a_condition_has_one_form(void **state) {
    static const uint8_t wrong[2][SLV_ROSTER_DIGEST] = {{2}, {1}},
                         twice[2][SLV_ROSTER_DIGEST] = {{0}};
    static uint8_t many[SLV_ROSTER_DIGESTS_MAX + 1][SLV_ROSTER_DIGEST];
    struct slv_statement s = conditional(SLV_MEMBER), got;
    (void)state;
    assert_true(reads(&s, &got));
    assert_true(got.is_conditional && !got.condition.any_ak);
    assert_int_equal(got.condition.aks.n, 2);
    assert_int_equal(got.condition.binaries.n, 3);
    assert_int_equal(got.condition.policies.n, 1);
    s.condition.any_ak = true; /* and a list */
    assert_false(reads(&s, NULL));
    s.condition.aks.n = 0;
    assert_true(reads(&s, &got));
    assert_true(got.condition.any_ak);
    s.condition.any_ak = false; /* no key, without saying so */
    assert_false(reads(&s, NULL));
    for (unsigned i = 0; i < 2; i++) {
        s = conditional(SLV_INVITE);
        s.condition.policies = (struct slv_digests){i ? wrong : twice, 2};
        assert_false(reads(&s, NULL));
    }
    for (unsigned i = 0; i <= SLV_ROSTER_DIGESTS_MAX; i++)
        many[i][0] = (uint8_t)i;
    for (unsigned n = SLV_ROSTER_DIGESTS_MAX; n <= SLV_ROSTER_DIGESTS_MAX + 1; n++) {
        s.condition.policies = (struct slv_digests){many, n};
        assert_int_equal(reads(&s, NULL), n == SLV_ROSTER_DIGESTS_MAX);
    }
    s = conditional(SLV_REVOKED);
    assert_false(reads(&s, NULL));
    s = conditional(SLV_JOINED);
    s.number = 0;
    assert_false(reads(&s, NULL));
}

/* Others' stores and signatures are of these bytes. */
static void without_a_condition_nothing_changes(void **state) {
    static const char want[] = "\1\1\5"
                               "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
                               "\3\0\4pump\1\4tags\2n-";
    struct slv_statement s = {.kind = SLV_MEMBER, .number = 5, .flags = 3, .name = {"pump", 4}};
    struct slv_buf b;
    (void)state;
    memset(s.key, 'k', sizeof s.key);
    s.n_scope = 1;
    s.scope[0] = (struct slv_scope){{"tags", 4}, {"n-", 2}};
    slv_buf_init(&b, 65536);
    assert_int_equal(slv_statement_write(&s, &b), 0);
    assert_int_equal(b.len, sizeof want - 1);
    assert_memory_equal(b.data, want, b.len);
    slv_buf_fini(&b);
}

static void digests_are_put_in_order(void **state) {
    uint8_t v[5][SLV_ROSTER_DIGEST] = {{3}, {1}, {3}, {2}, {1}};
    (void)state;
    assert_int_equal(slv_digests_sort(v, 0), 0);
    assert_int_equal(slv_digests_sort(v, 5), 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(v[i][0], i + 1);
}

static void who_joins_has_the_invitation_s_condition(void **state) {
    struct slv_roster *r = open_roster();
    struct slv_invite i = {.mesh = "floor"};
    struct slv_statement s = conditional(SLV_INVITE);
    struct slv_buf invite, use, anew;
    uint8_t one[SLV_ROSTER_KEY] = {1};
    uint64_t id;
    (void)state;
    slv_invite_draw(&i, s.key);
    slv_buf_init(&use, 65536);
    assert_int_equal(slv_invite_use(&i, one, (struct slv_str){"", 0}, &use), 0);
    sign(&s, &invite);
    assert_int_equal(add(r, &invite, &id), 0);
    assert_int_equal(add(r, &use, &id), 0);
    const struct slv_statement *m = slv_roster_about(r, one);
    assert_true(m->is_conditional);
    assert_int_equal(m->condition.binaries.n, 3);
    assert_memory_equal(m->condition.binaries.v, digests, sizeof digests);
    s.number = 2;
    s.condition.binaries.n = 1; /* the invitation is said anew */
    sign(&s, &anew);
    assert_int_equal(add(r, &anew, &id), 0);
    assert_int_equal(m->condition.binaries.n, 1);
    assert_memory_equal(m->condition.binaries.v, digests, SLV_ROSTER_DIGEST);
    slv_buf_fini(&invite);
    slv_buf_fini(&use);
    slv_buf_fini(&anew);
    slv_roster_close(r);
}

/* --- invitations ------------------------------------------------------------------------------ */

/* One text for each: whatever stands in a place is refused, or written again as it was. */
static void an_invitation_has_one_text(void **state) {
    struct slv_invite i = {.mesh = "floor", .n_peer = 1}, got;
    struct slv_buf line, again;
    uint8_t key[SLV_ROSTER_KEY];
    (void)state;
    strcpy(i.peer[0].address, "[::1]:7420");
    slv_invite_draw(&i, key);
    slv_buf_init(&line, 65536);
    assert_int_equal(slv_invite_write(&i, &line), 0);
    for (size_t n = 0; n < line.len; n++) {
        const char had = line.data[n];
        for (int c = 0; c < 256; c++) {
            line.data[n] = (char)c;
            if (slv_invite_read((struct slv_str){line.data, line.len}, &got, NULL)) continue;
            slv_buf_init(&again, 65536);
            assert_int_equal(slv_invite_write(&got, &again), 0);
            assert_int_equal(again.len, line.len);
            assert_memory_equal(again.data, line.data, line.len);
            slv_buf_fini(&again);
        }
        line.data[n] = had;
    }
    slv_buf_fini(&line);
}

static void an_invitation_names_one(void **state) {
    struct slv_roster *r = open_roster();
    struct slv_invite i = {.mesh = "floor", .n_peer = 1}, got;
    struct slv_statement s = about(0, SLV_INVITE, 1);
    struct slv_buf line, invite, use, other;
    struct slv_err err = {0};
    uint8_t one[SLV_ROSTER_KEY] = {1}, two[SLV_ROSTER_KEY] = {2};
    uint64_t id;
    (void)state;
    memcpy(i.authority, authority, sizeof authority);
    strcpy(i.peer[0].address, "[::1]:7420");
    slv_invite_draw(&i, s.key);
    s.flags = SLV_MAY_VOTE;
    s.until = 1000;
    slv_buf_init(&line, 65536);
    assert_int_equal(slv_invite_write(&i, &line), 0);
    assert_int_equal(slv_invite_read((struct slv_str){line.data, line.len}, &got, &err), 0);
    assert_memory_equal(&i, &got, sizeof i);
    for (size_t n = 0; n < line.len; n++)
        assert_int_equal(slv_invite_read((struct slv_str){line.data, n}, &got, &err), SLV_E_FORMAT);
    slv_buf_init(&use, 65536);
    slv_buf_init(&other, 65536);
    assert_int_equal(slv_invite_use(&i, one, (struct slv_str){"robot", 5}, &use), 0);
    assert_int_equal(slv_invite_use(&i, two, (struct slv_str){"", 0}, &other), 0);
    assert_int_equal(add(r, &use, &id), SLV_E_NOENT); /* nobody has heard of it */
    sign(&s, &invite);
    assert_int_equal(add(r, &invite, &id), 0);
    assert_true(slv_roster_is_open(r, 999));
    assert_false(slv_roster_is_open(r, 1000));
    assert_int_equal(slv_roster_check(r, (struct slv_str){use.data, use.len}), 0);
    assert_int_equal(add(r, &use, &id), 0);
    const struct slv_statement *m = slv_roster_find(r, id);
    assert_int_equal(m->flags, SLV_MAY_VOTE); /* its invitation's rights */
    assert_int_equal(add(r, &other, &id), SLV_E_BUSY);
    assert_true(slv_roster_use(r, s.key) != NULL);
    assert_false(slv_roster_is_open(r, 999));
    struct slv_statement end = {.kind = SLV_REVOKED, .number = 2};
    memcpy(end.key, one, sizeof one);
    struct slv_buf b;
    sign(&end, &b);
    assert_int_equal(add(r, &b, &id), 0);
    assert_int_equal(add(r, &use, &id), 0); /* it does not undo that */
    assert_int_equal(slv_roster_about(r, one)->kind, SLV_REVOKED);
    slv_buf_fini(&b);
    slv_buf_fini(&line);
    slv_buf_fini(&invite);
    slv_buf_fini(&use);
    slv_buf_fini(&other);
    slv_roster_close(r);
}

/* Whoever joined by it is out with it, in whatever order that is heard, and wrote what he wrote. */
static void a_revoked_invitation_takes_its_use_along(void **state) {
    struct slv_invite i = {.mesh = "floor"};
    struct slv_statement s = about(0, SLV_INVITE, 1), end = {.kind = SLV_REVOKED, .number = 2};
    struct slv_buf b[3];
    uint8_t one[SLV_ROSTER_KEY] = {1}, print[2][16];
    uint64_t id;
    (void)state;
    slv_invite_draw(&i, s.key);
    memcpy(end.key, s.key, sizeof end.key);
    s.n_scope = end.n_scope = 1;
    s.flags = SLV_MAY_VOTE;
    s.scope[0] = end.scope[0] = (struct slv_scope){{"tags", 4}, {"north-", 6}};
    sign(&s, &b[0]);
    sign(&end, &b[2]);
    slv_buf_init(&b[1], 65536);
    assert_int_equal(slv_invite_use(&i, one, (struct slv_str){"", 0}, &b[1]), 0);
    for (unsigned turn = 0; turn < 2; turn++) {
        struct slv_roster *r = open_roster();
        assert_int_equal(add(r, &b[0], &id), 0);
        assert_int_equal(add(r, &b[turn ? 2 : 1], &id), 0);
        assert_int_equal(add(r, &b[turn ? 1 : 2], &id), 0);
        const struct slv_statement *m = slv_roster_about(r, one);
        assert_int_equal(m->kind, SLV_REVOKED);
        assert_int_equal(m->flags, 0);
        assert_true(
            slv_statement_covers(m, (struct slv_str){"tags", 4}, (struct slv_str){"north-1", 7}));
        assert_ptr_equal(slv_roster_use(r, s.key), m);
        slv_roster_print(r, print[turn]);
        slv_roster_close(r);
    }
    assert_memory_equal(print[0], print[1], sizeof print[0]);
    for (unsigned k = 0; k < 3; k++)
        slv_buf_fini(&b[k]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_agree),
        cmocka_unit_test(no_bit_may_differ),
        cmocka_unit_test(rights),
        cmocka_unit_test(a_condition_has_one_form),
        cmocka_unit_test(without_a_condition_nothing_changes),
        cmocka_unit_test(digests_are_put_in_order),
        cmocka_unit_test(who_joins_has_the_invitation_s_condition),
        cmocka_unit_test(an_invitation_has_one_text),
        cmocka_unit_test(an_invitation_names_one),
        cmocka_unit_test(a_revoked_invitation_takes_its_use_along),
    };
    crypto_sign_keypair(authority, secret);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
