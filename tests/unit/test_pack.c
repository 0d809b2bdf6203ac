/* test_pack.c: what a user would lose: a write that comes out of its packing as another, a node by
 * what a peer packed for it, or the bytes that packing is to save. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/pack.h"
#include "mesh/pack_dict.h"
#include "mesh/replica.h"
#include "replicas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char message[SLV_MESSAGE_MAX + 1], sent[SLV_MESSAGE_MAX];
static struct slv_packer *packer;

static int open_packer(void **state) {
    (void)state;
    return slv_packer_open(&packer);
}

static int close_packer(void **state) {
    (void)state;
    slv_packer_close(packer);
    return 0;
}

/* --- messages --------------------------------------------------------------------------------- */

static struct slv_str random_message(size_t n) {
    for (size_t i = 0; i < n; i++)
        message[i] = (char)rnd(256);
    message[0] = SLV_MSG_TELL;
    return (struct slv_str){message, n};
}

/* As ranges are told: keys and values that are like each other, and dots between them. */
static struct slv_str typical_message(size_t n) {
    size_t at = 0;
    message[at++] = SLV_MSG_TELL;
    while (at < n) {
        char item[96];
        const int k =
            snprintf(item, sizeof item, "%cline-%u/pump-%u/temperature%c%c%c{\"value\": %u}",
                     (int)(28 + rnd(4)), (unsigned)rnd(4), (unsigned)rnd(90), 0, (int)rnd(256),
                     (int)rnd(256), (unsigned)rnd(1000));
        const size_t most = n - at < (size_t)k ? n - at : (size_t)k;
        memcpy(message + at, item, most);
        at += most;
    }
    return (struct slv_str){message, n};
}

/* A copy of what is sent: the packer's own is overwritten by the next. */
static struct slv_str packed(struct slv_str m) {
    const struct slv_str p = slv_pack(packer, m);
    memcpy(sent, p.p, p.n);
    return (struct slv_str){sent, p.n};
}

static void comes_back(struct slv_str m) {
    const struct slv_str p = slv_pack(packer, m);
    struct slv_str back;
    if (p.p == m.p) {
        assert_int_equal(p.n, m.n);
        return;
    }
    assert_true(slv_is_packed(p) && m.n >= SLV_PACK_MIN && p.n <= m.n - m.n / 8);
    assert_int_equal(slv_unpack(packer, p, &back), 0);
    assert_int_equal(back.n, m.n);
    assert_memory_equal(back.p, m.p, m.n);
}

static void is_refused(struct slv_str p) {
    struct slv_str back = {"untouched", 9};
    assert_int_equal(slv_unpack(packer, p, &back), SLV_E_FORMAT);
    assert_string_equal(back.p, "untouched");
}

/* One frame written as RFC 8878 has it: in a single segment, with a dictionary's id of two bytes, a
 * length of four, and a last block that is raw (0) or one byte repeated (1). */
static struct slv_str frame_of(uint32_t dict, uint32_t length, unsigned kind, size_t n) {
    const uint32_t block = 1u | kind << 1 | (uint32_t)n << 3;
    const uint8_t head[] = {SLV_MSG_PACKED,
                            0x28,
                            0xb5,
                            0x2f,
                            0xfd,
                            0xa2,
                            (uint8_t)dict,
                            (uint8_t)(dict >> 8),
                            (uint8_t)length,
                            (uint8_t)(length >> 8),
                            (uint8_t)(length >> 16),
                            (uint8_t)(length >> 24),
                            (uint8_t)block,
                            (uint8_t)(block >> 8),
                            (uint8_t)(block >> 16)};
    memcpy(sent, head, sizeof head);
    memset(sent + sizeof head, SLV_MSG_BATCH, kind ? 1 : n);
    return (struct slv_str){sent, sizeof head + (kind ? 1 : n)};
}

/* --- what is sent comes ----------------------------------------------------------------------- */

static void every_message_comes_back(void **state) {
    static const size_t large[] = {4096, 49152, 65535, 65536, 131072, 400000, SLV_MESSAGE_MAX};
    (void)state;
    for (size_t n = 1; n < 1500; n += n < 300 ? 1 : 37) {
        comes_back(random_message(n));
        comes_back(typical_message(n));
    }
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        comes_back(random_message(large[i]));
        comes_back(typical_message(large[i]));
        comes_back(typical_message(300)); /* after which long buffers are gone */
    }
    comes_back((struct slv_str){"", 0});
}

static void what_repeats_becomes_less_than_half(void **state) {
    (void)state;
    for (size_t n = 2000; n <= SLV_MESSAGE_MAX; n *= 4)
        assert_true(packed(typical_message(n)).n < n / 2);
    memset(message, SLV_MSG_BATCH, SLV_MESSAGE_MAX);
    assert_true(packed((struct slv_str){message, SLV_MESSAGE_MAX}).n < 200);
}

static void what_is_short_or_does_not_get_shorter_goes_as_it_is(void **state) {
    (void)state;
    memset(message, SLV_MSG_BATCH, sizeof message);
    for (size_t n = 0; n < SLV_PACK_MIN; n++)
        assert_ptr_equal(slv_pack(packer, (struct slv_str){message, n}).p, message);
    assert_true(slv_is_packed(slv_pack(packer, (struct slv_str){message, SLV_PACK_MIN})));
    assert_ptr_equal(slv_pack(packer, (struct slv_str){message, SLV_MESSAGE_MAX + 1}).p, message);
    for (size_t n = SLV_PACK_MIN; n < 200000; n *= 3)
        assert_ptr_equal(slv_pack(packer, random_message(n)).p, message);
}

/* Packers are made once: usual messages cost no memory more. */
static void contexts_are_kept(void **state) {
    (void)state;
    comes_back(typical_message(48000));
    const uint64_t before = slv_mem_count();
    for (size_t n = 300; n < 48000; n += 477)
        comes_back(typical_message(n));
    assert_int_equal(slv_mem_count(), before);
}

/* --- what is no packed message ---------------------------------------------------------------- */

static void another_implementations_frame_is_read(void **state) {
    struct slv_str back;
    (void)state;
    assert_int_equal(slv_unpack(packer, frame_of(SLV_PACK_DICT, 700, 0, 700), &back), 0);
    assert_int_equal(back.n, 700);
    for (size_t i = 0; i < back.n; i++)
        assert_int_equal(back.p[i], SLV_MSG_BATCH);
    assert_int_equal(slv_unpack(packer, frame_of(SLV_PACK_DICT, 90000, 1, 90000), &back), 0);
    assert_int_equal(back.n, 90000);
    assert_int_equal(slv_unpack(packer, frame_of(SLV_PACK_DICT, 1, 0, 1), &back), 0);
    assert_int_equal(back.n, 1);
}

static void the_dictionary_is_that_of_the_wire(void **state) {
    (void)state;
    assert_int_equal(n_slv_pack_dict, 4096);
    const uint8_t head[] = {0x37, 0xa4, 0x30, 0xec, SLV_PACK_DICT & 255, SLV_PACK_DICT >> 8, 0, 0};
    assert_memory_equal(slv_pack_dict, head, sizeof head);
    is_refused(frame_of(SLV_PACK_DICT + 1, 700, 0, 700));
    is_refused(frame_of(0, 700, 0, 700));
    const struct slv_str p = packed(typical_message(3000));
    assert_int_equal(p.p[6] & 255, SLV_PACK_DICT & 255);
    sent[6] ^= 1;
    is_refused(p);
}

static void a_wrong_length_is_refused(void **state) {
    (void)state;
    is_refused(frame_of(SLV_PACK_DICT, 699, 0, 700));
    is_refused(frame_of(SLV_PACK_DICT, 701, 0, 700));
    is_refused(frame_of(SLV_PACK_DICT, 0, 0, 0));
    is_refused(frame_of(SLV_PACK_DICT, 100, 1, 100000));
    is_refused(frame_of(SLV_PACK_DICT, SLV_MESSAGE_MAX, 1, 131072));
    /* Not even looked at: nothing is allocated for it. */
    const uint64_t before = slv_mem_count();
    is_refused(frame_of(SLV_PACK_DICT, SLV_MESSAGE_MAX + 1, 1, 131072));
    is_refused(frame_of(SLV_PACK_DICT, UINT32_MAX, 1, 131072));
    assert_int_equal(slv_mem_count(), before);
}

/* Sixteen Mbyte of one byte in 500, of which the first says how long they are. */
static void a_bomb_is_refused(void **state) {
    (void)state;
    struct slv_str p = frame_of(SLV_PACK_DICT, SLV_MESSAGE_MAX, 1, 131072);
    sent[12] = (char)(sent[12] & ~1); /* no block is the last, but the last */
    for (size_t i = 1; i < 128; i++, p.n += 4)
        memcpy(sent + p.n, sent + 12, 4);
    sent[p.n - 4] |= 1;
    is_refused(p);
    comes_back(typical_message(3000));
}

static void what_is_packed_twice_is_refused(void **state) {
    struct slv_str back;
    (void)state;
    frame_of(SLV_PACK_DICT, 700, 0, 700);
    sent[15] = (char)SLV_MSG_PACKED;
    is_refused((struct slv_str){sent, 715});
    sent[15] = SLV_MSG_BATCH;
    assert_int_equal(slv_unpack(packer, (struct slv_str){sent, 715}, &back), 0);
    memset(message, SLV_MSG_PACKED, 3000);
    is_refused(packed((struct slv_str){message, 3000}));
}

static void what_is_cut_off_or_goes_on_is_refused(void **state) {
    (void)state;
    for (size_t n = 300; n <= 30000; n *= 10) {
        const struct slv_str p = packed(typical_message(n));
        assert_true(slv_is_packed(p));
        for (size_t k = 0; k < p.n; k++) {
            char *cut = malloc(k + 1); /* of its size, for who looks past the end */
            assert_non_null(cut);
            memcpy(cut, p.p, k);
            is_refused((struct slv_str){cut, k});
            free(cut);
        }
        sent[p.n] = 0;
        is_refused((struct slv_str){sent, p.n + 1});
        memcpy(sent + p.n, sent + 1, p.n - 1); /* another frame */
        is_refused((struct slv_str){sent, 2 * p.n - 1});
        memcpy(sent + p.n, "\x50\x2a\x4d\x18\0\0\0\0", 8); /* one to be left out */
        is_refused((struct slv_str){sent, p.n + 8});
    }
    is_refused((struct slv_str){"\x9\x50\x2a\x4d\x18\4\0\0\0abcd", 13});
    is_refused((struct slv_str){"\1", 1});
}

/* There is no sum: what is bent may be another message, but is one of the length that it says. */
static void what_is_bent_does_no_harm(void **state) {
    (void)state;
    struct slv_str back;
    size_t refused = 0, others = 0;
    const struct slv_str p = packed(typical_message(2000));
    for (size_t i = 0; i < p.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            sent[i] ^= (char)(1 << bit);
            const int rc = slv_unpack(packer, p, &back);
            assert_true(!rc || rc == SLV_E_FORMAT);
            if (!rc) assert_true(back.n > 0 && back.n <= SLV_MESSAGE_MAX && !slv_is_packed(back));
            refused += rc != 0;
            others += !rc;
            sent[i] ^= (char)(1 << bit);
        }
    assert_true(refused && others);
    assert_int_equal(slv_unpack(packer, p, &back), 0);
    assert_memory_equal(back.p, message, back.n);
}

static void rubbish_is_refused(void **state) {
    (void)state;
    for (int turn = 0; turn < 20000; turn++) {
        struct slv_str m = random_message(1 + rnd(200)), back;
        message[0] = (char)SLV_MSG_PACKED;
        if (turn % 2) memcpy(message + 1, "\x28\xb5\x2f\xfd", m.n < 5 ? m.n - 1 : 4);
        const int rc = slv_unpack(packer, m, &back);
        assert_true(rc == SLV_E_FORMAT || (!rc && back.n <= SLV_MESSAGE_MAX));
    }
}

/* --- without memory --------------------------------------------------------------------------- */

/* All of opening, packing and unpacking, with one allocation that fails: another one each turn. */
static bool once_without_memory(uint64_t k) {
    struct slv_packer *p = NULL;
    struct slv_str back = {"", 0};
    const struct slv_str m = typical_message(3000);
    const uint64_t before = slv_mem_count();
    slv_mem_fail_at(k);
    int rc = slv_packer_open(&p);
    assert_true(rc ? rc == SLV_E_NOMEM && !p : p != NULL);
    struct slv_str out = rc ? m : slv_pack(p, m);
    if (!rc && !slv_is_packed(out)) out = slv_pack(p, m); /* it can, the next time */
    if (!rc) {
        assert_true(slv_is_packed(out));
        rc = slv_unpack(p, out, &back);
        assert_true(!rc || rc == SLV_E_NOMEM);
        if (rc) assert_int_equal(slv_unpack(p, out, &back), 0);
        assert_int_equal(back.n, m.n);
        assert_memory_equal(back.p, m.p, m.n);
    }
    slv_mem_fail_at(0);
    slv_packer_close(p);
    return slv_mem_count() - before >= k;
}

static void without_memory_it_goes_as_it_is(void **state) {
    uint64_t k = 1;
    (void)state;
    while (once_without_memory(k))
        k++;
    assert_true(k > 8 && k < 100);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_comes_back),
        cmocka_unit_test(what_repeats_becomes_less_than_half),
        cmocka_unit_test(what_is_short_or_does_not_get_shorter_goes_as_it_is),
        cmocka_unit_test(contexts_are_kept),
        cmocka_unit_test(another_implementations_frame_is_read),
        cmocka_unit_test(the_dictionary_is_that_of_the_wire),
        cmocka_unit_test(a_wrong_length_is_refused),
        cmocka_unit_test(a_bomb_is_refused),
        cmocka_unit_test(what_is_packed_twice_is_refused),
        cmocka_unit_test(what_is_cut_off_or_goes_on_is_refused),
        cmocka_unit_test(what_is_bent_does_no_harm),
        cmocka_unit_test(rubbish_is_refused),
        cmocka_unit_test(without_memory_it_goes_as_it_is),
    };
    return cmocka_run_group_tests(tests, open_packer, close_packer);
}
