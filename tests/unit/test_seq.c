/* test_seq.c: what a user would lose: text that is not what was typed, or that of two who typed at
 * once mixed letter by letter.
 *
 * Replicas insert and erase at random in texts and lists, each against a plain array of its own
 * while it is alone, and see each other's writes in any order; in the end all read the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/seq.h"
#include "replicas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITES 120
#define KEY ((struct slv_str){"text", 4})

static const struct slv_str none = {"", 0};

/* The text of a replica, or its list with bars behind items; and how many elements it has. */
static size_t read_all(const struct replica *r, bool is_text, struct slv_buf *ret) {
    struct slv_seq q;
    assert_int_equal(slv_seq_open(&r->space, KEY, none, is_text, &q), 0);
    const size_t n = q.count;
    slv_buf_clear(ret);
    if (is_text) slv_seq_text(&q, ret);
    for (size_t i = 0; i < n; i++) {
        const struct slv_str e = slv_seq_at(&q, i);
        if (!is_text) {
            slv_buf_add(ret, e.p, e.n);
            slv_buf_addc(ret, '|');
        } else if (!rnd(8)) {
            assert_true(e.n >= 1 && e.n <= 4);
        }
    }
    slv_seq_close(&q);
    return n;
}

/* Elements [at, at + erased) go and `text` comes in their place; a list gets each
 * of its letters. */
static void change(struct replica *r, bool is_text, size_t at, size_t erased, const char *text) {
    struct slv_seq q;
    struct slv_draft d;
    struct slv_str item[64];
    const size_t n = strlen(text);
    assert_int_equal(slv_seq_open(&r->space, KEY, none, is_text, &q), 0);
    const struct slv_dot dot = {r->id, r->next};
    assert_int_equal(slv_draft_open(&d, &r->space, SLV_TYPE_LAST, KEY, dot, 1), 0);
    for (size_t i = 0; i < n && !is_text; i++)
        item[i] = (struct slv_str){text + i, 1};
    if (is_text) assert_int_equal(slv_seq_insert_text(&q, &d, at, (struct slv_str){text, n}), 0);
    else assert_int_equal(slv_seq_insert(&q, &d, at, item, n), 0);
    assert_int_equal(slv_seq_erase(&q, &d, at, erased), 0);
    replica_write(r, &d.op);
    slv_seq_close(&q);
    slv_draft_close(&d);
}

/* The same on a plain string, of which an element of a list is two bytes. */
static void change_plain(char *s, bool is_text, size_t at, size_t erased, const char *text) {
    const size_t unit = is_text ? 1 : 2, n = strlen(text) * unit,
                 rest = strlen(s + (at + erased) * unit);
    memmove(s + at * unit + n, s + (at + erased) * unit, rest + 1);
    for (size_t i = 0; text[i]; i++) {
        s[at * unit + i * unit] = text[i];
        if (!is_text) s[at * unit + i * unit + 1] = '|';
    }
}

static void draw_text(char ret[16]) {
    uint32_t n = rnd(8);
    ret[n] = '\0';
    while (n)
        ret[--n] = (char)('a' + rnd(26));
}

static void edit(struct replica *r, bool is_text, struct slv_buf *b, bool check) {
    static char plain[8192];
    char text[16];
    const size_t n = read_all(r, is_text, b);
    const size_t at = rnd((uint32_t)n + 1), left = n - at < 9 ? n - at : 9;
    const size_t erased = rnd(3) ? 0 : rnd((uint32_t)left + 1);
    draw_text(text);
    memcpy(plain, b->data, b->len);
    plain[b->len] = '\0';
    change(r, is_text, at, erased, text);
    change_plain(plain, is_text, at, erased, text);
    read_all(r, is_text, b);
    if (check) assert_int_equal(b->len, strlen(plain));
    if (check) assert_memory_equal(b->data, plain, b->len);
}

static void what_is_read_is_what_was_typed(void **state) {
    (void)state;
    struct slv_buf b, other;
    slv_buf_init(&b, 1 << 20);
    slv_buf_init(&other, 1 << 20);
    for (int turn = 0; turn < 120; turn++) {
        const bool is_text = turn % 2;
        replicas_open();
        while (n_history <
               WRITES) { /* an edit here is what it is on an array, whatever came before */
            edit(&replica[rnd(REPLICAS)], is_text, &b, true);
            for (uint32_t i = rnd(4); i > 0; i--)
                replica_give(&replica[rnd(REPLICAS)], rnd((uint32_t)n_history));
        }
        for (size_t i = 0; i < REPLICAS; i++) {
            for (size_t k = 0; k < WRITES; k++)
                replica_give(&replica[i], (k * 7 + i * 11) % WRITES);
            read_all(&replica[i], is_text, i ? &other : &b);
            if (i) assert_int_equal(b.len, other.len);
            if (i) assert_memory_equal(b.data, other.data, b.len);
        }
        replicas_close();
    }
    slv_buf_fini(&b);
    slv_buf_fini(&other);
}

/* Two write a word each, letter by letter, forwards or backwards, at one place, and do
 * not see it. */
static void words_that_are_typed_at_once_stay_whole(void **state) {
    (void)state;
    struct slv_buf b;
    slv_buf_init(&b, 1 << 20);
    for (int ways = 0; ways < 4; ways++) {
        const char *word[2] = {"shopping", "kitchen"};
        replicas_open();
        change(&replica[0], true, 0, 0, "<>");
        replica_give(&replica[1], 0);
        for (size_t w = 0; w < 2; w++) {
            const size_t n = strlen(word[w]);
            for (size_t i = 0; i < n; i++) {
                const bool back = ways >> w & 1;
                const char letter[2] = {word[w][back ? n - 1 - i : i], '\0'};
                change(&replica[w], true, back ? 1 : 1 + i, 0, letter);
            }
        }
        for (size_t k = 0; k < n_history; k++)
            replica_give(&replica[0], k);
        read_all(&replica[0], true, &b);
        assert_true(!strcmp(b.data, "<shoppingkitchen>") || !strcmp(b.data, "<kitchenshopping>"));
        replicas_close();
    }
    slv_buf_fini(&b);
}

static void what_is_no_place_or_no_text_is_refused(void **state) {
    (void)state;
    struct slv_seq q;
    struct slv_draft d;
    struct slv_buf b;
    const struct slv_str item = {"x", 1};
    slv_buf_init(&b, 1 << 20);
    replicas_open();
    struct slv_space *s = &replica[0].space;
    change(&replica[0], true, 0, 0, "h\xc3\xa9llo \xf0\x9f\x8c\x8d");
    assert_int_equal(slv_seq_open(s, KEY, none, true, &q), 0);
    assert_int_equal(q.count, 7);
    assert_true(slv_str_is(slv_seq_at(&q, 1), "\xc3\xa9"));
    assert_true(slv_str_is(slv_seq_at(&q, 6), "\xf0\x9f\x8c\x8d"));
    assert_int_equal(slv_draft_open(&d, s, SLV_TYPE_LAST, KEY, (struct slv_dot){7, 9}, 1), 0);
    assert_int_equal(slv_seq_insert_text(&q, &d, 8, item), SLV_E_USAGE);
    assert_int_equal(slv_seq_insert(&q, &d, 0, &item, 1), SLV_E_USAGE);
    assert_int_equal(slv_seq_insert_text(&q, &d, 0, (struct slv_str){"\xc3", 1}), SLV_E_FORMAT);
    assert_int_equal(slv_seq_erase(&q, &d, 3, 5), SLV_E_USAGE);
    assert_int_equal(d.op.n, 0);
    slv_seq_close(&q);
    slv_draft_close(&d);
    change(&replica[0], true, 1, 1, "e");
    read_all(&replica[0], true, &b);
    assert_string_equal(b.data, "hello \xf0\x9f\x8c\x8d");
    slv_buf_fini(&b);
    replicas_close();
}

/* Any bytes as entries of a sequence: something is read, and nothing beyond them. */
static void damaged_entries_do_no_harm(void **state) {
    (void)state;
    struct slv_buf b;
    slv_buf_init(&b, 1 << 20);
    for (int turn = 0; turn < 400; turn++) {
        replicas_open();
        struct replica *r = &replica[0];
        for (int i = 0; i < 10; i++)
            edit(r, turn % 2, &b, false);
        for (uint64_t i = 0; i < 6; i++) {
            const struct slv_entry *e = slv_entries_at(
                r->space.entries, rnd((uint32_t)slv_entries_count(r->space.entries)));
            char data[64], path[20];
            const size_t n = e->n_data < sizeof data ? e->n_data : sizeof data;
            memcpy(data, slv_entry_data(e).p, n);
            memcpy(path, e->bytes, e->n_path);
            for (uint32_t k = rnd(4); k > 0 && n; k--)
                data[rnd((uint32_t)n)] ^= (char)(1 << rnd(8));
            if (!rnd(3)) path[rnd(e->n_path)] ^= (char)(1 << rnd(8));
            const struct slv_place at = {KEY, {path, e->n_path}, {99, i + 1}};
            assert_int_equal(slv_entries_put(r->space.entries, &at,
                                             (struct slv_str){data, rnd((uint32_t)n + 1)}, NULL),
                             0);
        }
        read_all(r, turn % 2, &b);
        edit(r, turn % 2, &b, false);
        replicas_close();
    }
    slv_buf_fini(&b);
}

static void without_memory_nothing_is_opened(void **state) {
    (void)state;
    struct slv_buf b;
    slv_buf_init(&b, 1 << 20);
    replicas_open();
    while (n_history < 40)
        edit(&replica[0], true, &b, false);
    for (uint64_t k = 1;; k++) {
        struct slv_seq q = {0};
        slv_mem_fail_at(k);
        const int rc = slv_seq_open(&replica[0].space, KEY, none, true, &q);
        slv_mem_fail_at(0);
        assert_true(!rc || rc == SLV_E_NOMEM);
        slv_seq_close(&q);
        if (!rc) break;
    }
    slv_buf_fini(&b);
    replicas_close();
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_what_was_typed),
        cmocka_unit_test(words_that_are_typed_at_once_stay_whole),
        cmocka_unit_test(what_is_no_place_or_no_text_is_refused),
        cmocka_unit_test(damaged_entries_do_no_harm),
        cmocka_unit_test(without_memory_nothing_is_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
