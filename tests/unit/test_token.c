/* test_token.c: what a user would lose: a read that does not wait for what he has seen, as a token
 * said less than that, or a node that a made-up token brings down.
 *
 * Tokens of sets drawn at random, through their text and joined in any order; texts that are cut,
 * and with every character another; bytes of any kind with the right sum; more than a token has
 * room for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/token.h"
#include "replicas.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define SPACES 4
#define GROUPS 3

static uint64_t id_of(size_t i) { return 0x0102030405060708u * (i + 1); }

static void draw_dots(struct slv_dots *s) {
    *s = (struct slv_dots){0};
    for (uint32_t k = rnd(8); k > 0; k--) {
        const uint64_t first = 1 + rnd(40);
        const struct slv_dot_range r = {first, first + rnd(20)};
        assert_int_equal(slv_dots_add(s, id_of(rnd(5)), r), 0);
    }
}

static void draw(struct slv_token *t) {
    *t = (struct slv_token){0};
    for (uint32_t k = rnd(6); k > 0; k--) {
        struct slv_dots s;
        draw_dots(&s);
        assert_int_equal(slv_token_see(t, id_of(rnd(SPACES)), &s), 0);
        slv_dots_fini(&s);
    }
    for (uint32_t k = rnd(4); k > 0; k--)
        assert_int_equal(slv_token_see_group(t, id_of(rnd(GROUPS)), 1 + rnd(100)), 0);
}

static struct slv_buf write(const struct slv_token *t) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_TOKEN_MAX);
    assert_int_equal(slv_token_write(t, &b), 0);
    return b;
}

static struct slv_str str_of(const struct slv_buf *b) { return (struct slv_str){b->data, b->len}; }

/* Whether a says all that b does. */
static bool covers(const struct slv_token *a, const struct slv_token *b) {
    for (size_t i = 0; i < b->n_space; i++) {
        const struct slv_dots *s = slv_token_seen(a, b->space[i].id);
        if (!s || !slv_dots_cover(s, &b->space[i].seen)) return false;
    }
    for (size_t i = 0; i < b->n_group; i++)
        if (slv_token_index(a, b->group[i].id) < b->group[i].index) return false;
    return true;
}

static bool is_equal(const struct slv_token *a, const struct slv_token *b) {
    return covers(a, b) && covers(b, a) && a->n_space == b->n_space && a->n_group == b->n_group;
}

static void through_its_text(void **state) {
    (void)state;
    for (int turn = 0; turn < 2000; turn++) {
        struct slv_token t, back;
        draw(&t);
        struct slv_buf b = write(&t);
        assert_int_equal(slv_token_read(str_of(&b), &back, NULL), 0);
        assert_true(is_equal(&t, &back));
        struct slv_buf again = write(&back);
        assert_string_equal(b.data, again.data);
        slv_buf_fini(&again);
        slv_buf_fini(&b);
        slv_token_fini(&back);
        slv_token_fini(&t);
    }
}

static void joined_in_any_order(void **state) {
    (void)state;
    for (int turn = 0; turn < 1000; turn++) {
        struct slv_token t[3], one = {0}, two = {0};
        for (int i = 0; i < 3; i++)
            draw(&t[i]);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(slv_token_join(&one, &t[i]), 0);
            assert_int_equal(slv_token_join(&two, &t[2 - i]), 0);
        }
        struct slv_buf a = write(&one), b = write(&two);
        assert_string_equal(a.data, b.data);
        for (int i = 0; i < 3; i++) {
            assert_true(covers(&one, &t[i]));
            slv_token_fini(&t[i]);
        }
        slv_buf_fini(&a);
        slv_buf_fini(&b);
        slv_token_fini(&one);
        slv_token_fini(&two);
    }
}

static void refuse(struct slv_str text) {
    struct slv_token t;
    struct slv_err err = {0};
    assert_int_equal(slv_token_read(text, &t, &err), SLV_E_FORMAT);
    assert_true(err.msg[0] && !strchr(err.msg, '\n'));
    assert_true(!t.space && !t.group);
}

static void errors_of_typing(void **state) {
    (void)state;
    struct slv_token t;
    do {
        draw(&t);
        if (t.n_space < 2 || t.n_group < 2) slv_token_fini(&t);
    } while (t.n_space < 2 || t.n_group < 2);
    struct slv_buf b = write(&t);
    for (size_t n = 0; n < b.len; n++)
        refuse((struct slv_str){b.data, n});
    for (size_t i = 0; i < b.len; i++) {
        const char had = b.data[i];
        for (int c = 0; c < 256; c++) {
            b.data[i] = (char)c;
            if (b.data[i] != had) refuse(str_of(&b));
        }
        b.data[i] = had;
    }
    for (size_t i = 0; i + 1 < b.len; i++) {
        const char x = b.data[i], y = b.data[i + 1];
        b.data[i] = y;
        b.data[i + 1] = x;
        if (x != y) refuse(str_of(&b));
        b.data[i] = x;
        b.data[i + 1] = y;
    }
    slv_buf_fini(&b);
    slv_token_fini(&t);
}

/* Bytes with their sum, as text. */
static struct slv_buf signed_text(const uint8_t *p, size_t n) {
    uint8_t bytes[4096 + 16];
    char text[8192];
    struct slv_buf b;
    assert_true(n <= 4096);
    memcpy(bytes, p, n);
    crypto_generichash(bytes + n, 16, bytes, n, NULL, 0);
    sodium_bin2base64(text, sizeof text, bytes, n + 4, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    slv_buf_init(&b, sizeof text);
    slv_buf_adds(&b, text);
    return b;
}

static void bytes_of_any_kind(void **state) {
    static const struct {
        const char *bytes;
        size_t n;
    } wrong[] = {
        {"", 0},
        {"\2\0\0", 3},                      /* another version */
        {"\1\0", 2},                        /* no groups */
        {"\1\0\0\0", 4},                    /* more */
        {"\1\1aaaaaaaa\0\0", 12},           /* a space of which nothing was seen */
        {"\1\0\1aaaaaaaa\0", 12},           /* a group's index of 0 */
        {"\1\0\2aaaaaaaa\1aaaaaaaa\1", 21}, /* one twice */
        {"\1\0\2bbbbbbbb\1aaaaaaaa\1", 21}, /* in another order */
        {"\1\2aaaaaaaa\1wwwwwwww\1\0\0aaaaaaaa\1wwwwwwww\1\0\0\0", 43},
        {"\1\0\1aaaaaaaa\x81\0", 13}, /* a number longer than it need be */
        {"\1\0\1aaaaaaaa\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 21}, /* 2^64 - 1 */
        {"\1\x81\2", 3},                                              /* more spaces than may be */
        {"\1\1aaaaaaaa\1wwwwwwww\1\0\xff\xff\xff\xff\xff\xff\xff\xff\x01\0", 31},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct slv_buf b = signed_text((const uint8_t *)wrong[i].bytes, wrong[i].n);
        refuse(str_of(&b));
        slv_buf_fini(&b);
    }
    for (int turn = 0; turn < 20000; turn++) {
        uint8_t bytes[64] = {1, (uint8_t)rnd(3)};
        const size_t n = 2 + rnd(62);
        for (size_t i = 2; i < n; i++)
            bytes[i] = (uint8_t)(rnd(2) ? rnd(4) : rnd(256));
        struct slv_buf b = signed_text(bytes, n);
        struct slv_token t;
        if (!slv_token_read(str_of(&b), &t, NULL)) { /* then it has no other form */
            struct slv_buf again = write(&t);
            assert_string_equal(b.data, again.data);
            slv_buf_fini(&again);
        }
        slv_token_fini(&t);
        slv_buf_fini(&b);
    }
}

/* A hundred writers with gaps are too long; with the gaps closed they are not, and say no less. */
static void what_is_too_long_says_more(void **state) {
    struct slv_dots s = {0};
    struct slv_token t = {0}, back;
    (void)state;
    for (size_t w = 0; w < 100; w++)
        for (uint64_t n = 3; n < 200; n += 2)
            assert_int_equal(slv_dots_add_dot(&s, (struct slv_dot){id_of(w), n}), 0);
    assert_int_equal(slv_token_see(&t, 7, &s), 0);
    struct slv_buf b = write(&t);
    assert_int_equal(slv_token_read(str_of(&b), &back, NULL), 0);
    assert_true(covers(&back, &t) && !covers(&t, &back));
    assert_int_equal(slv_dots_base(slv_token_seen(&back, 7), id_of(4)), 199);
    slv_token_fini(&back);
    slv_buf_fini(&b);
    for (size_t w = 100; w < 700; w++)
        assert_int_equal(slv_dots_add_dot(&s, (struct slv_dot){id_of(w), 1}), 0);
    assert_int_equal(slv_token_see(&t, 7, &s), 0);
    slv_buf_init(&b, 4 * SLV_TOKEN_MAX);
    assert_int_equal(slv_token_write(&t, &b), SLV_E_LIMIT);
    assert_int_equal(b.len, 0);
    slv_buf_fini(&b);
    slv_dots_fini(&s);
    slv_token_fini(&t);
}

static void limits(void **state) {
    struct slv_token t = {0};
    struct slv_dots s = {0};
    (void)state;
    assert_int_equal(slv_token_see(&t, 1, &s), 0);
    assert_int_equal(slv_token_see_group(&t, 1, 0), 0);
    assert_true(!t.n_space && !t.n_group);
    assert_int_equal(slv_token_see_group(&t, 1, UINT64_MAX), SLV_E_LIMIT);
    assert_int_equal(slv_dots_add_dot(&s, (struct slv_dot){1, 1}), 0);
    for (uint64_t i = 0; i < SLV_TOKEN_SPACES_MAX; i++)
        assert_int_equal(slv_token_see(&t, i, &s), 0);
    assert_int_equal(slv_token_see(&t, SLV_TOKEN_SPACES_MAX, &s), SLV_E_LIMIT);
    for (uint64_t i = 0; i < SLV_TOKEN_GROUPS_MAX; i++)
        assert_int_equal(slv_token_see_group(&t, i, 1), 0);
    assert_int_equal(slv_token_see_group(&t, SLV_TOKEN_GROUPS_MAX, 1), SLV_E_LIMIT);
    slv_dots_fini(&s);
    slv_token_fini(&t);
}

static void without_memory(void **state) {
    struct slv_token t;
    (void)state;
    do {
        draw(&t);
        if (!t.n_space || !t.n_group) slv_token_fini(&t);
    } while (!t.n_space || !t.n_group);
    struct slv_buf b = write(&t), out;
    slv_buf_init(&out, SLV_TOKEN_MAX);
    for (uint64_t n = 1;; n++) {
        struct slv_token back;
        slv_mem_fail_at(n);
        const int rc = slv_token_read(str_of(&b), &back, NULL);
        slv_mem_fail_at(0);
        slv_token_fini(&back);
        if (!rc) break;
        assert_int_equal(rc, SLV_E_NOMEM);
    }
    slv_mem_fail_at(1);
    assert_int_equal(slv_token_write(&t, &out), SLV_E_NOMEM);
    slv_mem_fail_at(0);
    slv_buf_fini(&out);
    slv_buf_fini(&b);
    slv_token_fini(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(through_its_text),
        cmocka_unit_test(joined_in_any_order),
        cmocka_unit_test(errors_of_typing),
        cmocka_unit_test(bytes_of_any_kind),
        cmocka_unit_test(what_is_too_long_says_more),
        cmocka_unit_test(limits),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
