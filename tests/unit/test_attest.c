/* test_attest.c: evidence is believed only for the nonce, the node, the key, the program, the
 * policy and the PCRs that were asked for: no bit of it can change, and what its key signed in
 * another form is refused; and a node shows what was measured, or says that it cannot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "soft_tpm.h"
#include "trust/attest.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define POLICY "allow: everything\n"

static struct slv_err err;
static struct soft_tpm tpm;
static struct slv_attest *node;
static uint8_t nonce[SLV_ATTEST_NONCE], node_key[SLV_PUB_BYTES], policy[1][SLV_TPM_DIGEST];
static uint8_t binary[1][SLV_TPM_DIGEST], key[1][SLV_TPM_DIGEST];
static char text[SLV_EVIDENCE_MAX];
static size_t text_n;
static struct slv_attest_report report;

static const struct slv_attest_want anything = {
    .aks.any = true, .binaries.any = true, .policies.any = true};

/* Exactly what the node is. */
static struct slv_attest_want exact(void) {
    struct slv_attest_want w = {.aks = {(const uint8_t(*)[32])key, 1, false},
                                .binaries = {(const uint8_t(*)[32])binary, 1, false},
                                .policies = {(const uint8_t(*)[32])policy, 1, false},
                                .pcrs = tpm.pcrs};
    w.pcrs.which = SLV_ATTEST_PCRS;
    return w;
}

static int quote(void) {
    struct slv_buf b;
    slv_buf_init(&b, sizeof text - 1);
    int rc = slv_attest_quote(node, nonce, node_key, &b, &err);
    memcpy(text, b.data, b.len + 1);
    text_n = b.len;
    slv_buf_fini(&b);
    return rc;
}

static int verify(const char *t, size_t n, const struct slv_attest_want *w) {
    err = (struct slv_err){0};
    int rc = slv_attest_verify(t, n, "e", nonce, node_key, w, &report, &err);
    assert_true(!rc == !err.msg[0] && !strchr(err.msg, '\n'));
    return rc;
}

/* Why it is refused. */
static void refused(const struct slv_attest_want *w, int want, const char *why) {
    assert_int_equal(verify(text, text_n, w), want);
    if (!strstr(err.msg, why)) fail_msg("'%s' does not say '%s'", err.msg, why);
}

static void hash_program(uint8_t ret[SLV_TPM_DIGEST]) {
    struct slv_map map;
    assert_int_equal(slv_map_open("/proc/self/exe", &map, &err), 0);
    SHA256(map.data, map.size, ret);
    slv_map_close(&map);
}

static int begin(bool short_point) {
    soft_tpm_init(&tpm, short_point);
    for (unsigned i = 0; i < SLV_ATTEST_NONCE; i++) {
        nonce[i] = (uint8_t)(i + 1);
        node_key[i] = (uint8_t)(3 * i);
    }
    for (unsigned i = 0; i < 5; i++)
        soft_tpm_extend(&tpm, i, nonce);
    hash_program(binary[0]);
    SHA256((const uint8_t *)POLICY, strlen(POLICY), policy[0]);
    memcpy(key[0], tpm.name, sizeof key[0]);
    return slv_attest_open(&tpm.quoter, POLICY, strlen(POLICY), &node, &err) || quote();
}

static int set_up(void **state) {
    (void)state;
    return begin(false);
}

static int tear_down(void **state) {
    (void)state;
    slv_attest_close(node);
    node = NULL;
    soft_tpm_fini(&tpm);
    return 0;
}

/* --- what is true ----------------------------------------------------------------------------- */

static void a_node_is_what_it_shows(void **state) {
    (void)state;
    const struct slv_attest_want w = exact();
    const struct slv_attest_self *self = slv_attest_self(node);
    assert_int_equal(verify(text, text_n, &w), 0);
    assert_memory_equal(report.ak, key[0], 32);
    assert_memory_equal(report.events[0], binary[0], 32);
    assert_memory_equal(report.events[1], policy[0], 32);
    assert_memory_equal(&report.pcrs, &w.pcrs, 4);
    assert_memory_equal(report.pcrs.v[4], tpm.pcrs.v[4], 32);
    assert_int_equal(report.quoted.clock_ms, 1234567);
    assert_int_equal(report.quoted.resets, 17);
    assert_int_equal(report.quoted.restarts, 3);
    assert_true(report.quoted.safe);
    assert_true(report.quoted.firmware == 0x0102030405060708);
    assert_memory_equal(self->ak, key[0], 32);
    assert_memory_equal(self->ak_public, tpm.ak, tpm.ak_n);
    assert_memory_equal(self->events, report.events, sizeof report.events);
    assert_int_equal(verify(text, text_n, &anything), 0);
    assert_int_equal(slv_attest_read(text, text_n, "e", &report, &err), 0);
}

static void nonce_and_node_are_signed(void **state) {
    (void)state;
    char all[16 + 32 + 32];
    uint8_t want[32];
    memcpy(all, "selvage attest 1", 16);
    memcpy(all + 16, nonce, 32);
    memcpy(all + 48, node_key, 32);
    SHA256((uint8_t *)all, sizeof all, want);
    assert_int_equal(verify(text, text_n, &anything), 0);
    assert_memory_equal(report.quoted.extra, want, 32);
    for (unsigned i = 0; i < 256; i++) {
        nonce[i / 8] ^= (uint8_t)(1 << i % 8);
        refused(&anything, SLV_E_TRUST, "another nonce, or for another node");
        nonce[i / 8] ^= (uint8_t)(1 << i % 8);
        node_key[i / 8] ^= (uint8_t)(1 << i % 8);
        refused(&anything, SLV_E_TRUST, "another nonce, or for another node");
        node_key[i / 8] ^= (uint8_t)(1 << i % 8);
    }
}

static void a_key_with_a_short_number_is_taken(void **state) {
    tear_down(state);
    assert_int_equal(begin(true), 0);
    const struct slv_attest_want w = exact();
    assert_int_equal(tpm.ak_n, 89);
    assert_int_equal(verify(text, text_n, &w), 0);
}

/* --- what is not expected --------------------------------------------------------------------- */

static void what_is_not_expected_is_refused(void **state) {
    (void)state;
    struct slv_attest_want w = exact();
    const struct slv_attest_list none = {NULL, 0, false};
    const struct slv_attest_list other = {(const uint8_t(*)[32])nonce, 1, false};
    const struct slv_attest_list lists[] = {none, other};
    for (size_t i = 0; i < 2; i++) {
        w = exact();
        w.aks = lists[i];
        refused(&w, SLV_E_TRUST, "e: attestation key ");
        w = exact();
        w.binaries = lists[i];
        refused(&w, SLV_E_TRUST, "e: binary ");
        w = exact();
        w.policies = lists[i];
        refused(&w, SLV_E_TRUST, "e: policy ");
    }
    for (unsigned i = 0; i < SLV_TPM_PCRS; i++) {
        w = exact();
        w.pcrs.v[i][31] ^= 1;
        if (SLV_ATTEST_PCRS >> i & 1) refused(&w, SLV_E_TRUST, "which is not expected");
        w = exact();
        w.pcrs.which |= UINT32_C(1) << i;
        if (!(SLV_ATTEST_PCRS >> i & 1)) refused(&w, SLV_E_TRUST, "was not quoted");
    }
    memset(&w, 0, sizeof w);
    refused(&w, SLV_E_TRUST, "not an expected one");
}

static void a_list_may_have_several(void **state) {
    (void)state;
    struct slv_attest_want w = exact();
    uint8_t both[2][32];
    memcpy(both[0], nonce, 32);
    memcpy(both[1], binary[0], 32);
    w.binaries = (struct slv_attest_list){(const uint8_t(*)[32])both, 2, false};
    assert_int_equal(verify(text, text_n, &w), 0);
}

/* --- what was changed ------------------------------------------------------------------------- */

static void no_bit_of_evidence_can_change(void **state) {
    (void)state;
    char hurt[SLV_EVIDENCE_MAX];
    memcpy(hurt, text, text_n);
    for (size_t i = 0; i < 8 * text_n; i++) {
        hurt[i / 8] ^= (char)(1 << i % 8);
        const int rc = verify(hurt, text_n, &anything);
        if (rc != SLV_E_TRUST && rc != SLV_E_FORMAT) fail_msg("bit %zu: %d", i, rc);
        hurt[i / 8] ^= (char)(1 << i % 8);
    }
    hurt[text_n] = '\n';
    assert_int_equal(verify(hurt, text_n + 1, &anything), SLV_E_FORMAT);
}

static void evidence_that_is_cut_is_malformed(void **state) {
    (void)state;
    for (size_t i = 0; i < text_n; i++) { /* at the end of a block: reading past it shows */
        char *cut = malloc(i + 1);
        assert_non_null(cut);
        memcpy(cut + 1, text, i);
        assert_int_equal(verify(cut + 1, i, &anything), SLV_E_FORMAT);
        free(cut);
    }
    char *much = calloc(1, SLV_EVIDENCE_MAX + 1);
    assert_int_equal(verify(much, SLV_EVIDENCE_MAX + 1, &anything), SLV_E_LIMIT);
    free(much);
}

/* --- what the key signed, in another form ----------------------------------------------------- */

static struct slv_evidence good(void) {
    struct slv_evidence e;
    assert_int_equal(slv_evidence_parse(text, text_n, "e", &e, &err), 0);
    return e;
}

/* With a signature that is right. */
static int verify_signed(struct slv_evidence *e, const struct slv_attest_want *w) {
    struct slv_buf b;
    soft_tpm_sign(&tpm, e->quote.attest, e->quote.attest_n, e->quote.sig);
    slv_buf_init(&b, SLV_EVIDENCE_MAX);
    assert_int_equal(slv_evidence_write(e, &b), 0);
    const int rc = verify(b.data, b.len, w);
    slv_buf_fini(&b);
    return rc;
}

/* Offsets in a TPMS_ATTEST of ours: clock, counts, safe, firmware. Of safe only the low bit is. */
static bool may_change(size_t bit) {
    const size_t at = bit / 8, clock = 4 + 2 + 36 + 34, safe = clock + 16;
    return at >= clock && at < safe + 9 && (at != safe || bit % 8 == 0);
}

static void signed_structures_have_one_form(void **state) {
    (void)state;
    const struct slv_attest_want w = exact();
    struct slv_evidence e = good();
    for (size_t i = 0; i < 8 * e.quote.attest_n; i++) {
        e = good();
        e.quote.attest[i / 8] ^= (uint8_t)(1 << i % 8);
        const int rc = verify_signed(&e, &w);
        if (may_change(i) ? rc : rc != SLV_E_FORMAT && rc != SLV_E_TRUST)
            fail_msg("bit %zu: %d", i, rc);
    }
    for (size_t n = 1; n < good().quote.attest_n; n++) {
        e = good();
        e.quote.attest_n = n;
        assert_int_equal(verify_signed(&e, &w), SLV_E_FORMAT);
    }
    e = good();
    e.quote.attest[e.quote.attest_n++] = 0;
    assert_int_equal(verify_signed(&e, &w), SLV_E_FORMAT);
    assert_non_null(strstr(err.msg, "e: quote: 1 bytes too many"));
}

static void names_of_fields_are_told(void **state) {
    (void)state;
    static const struct {
        size_t at;
        const char *name;
    } fields[] = {{0, "magic"},       {5, "type"},
                  {7, "signer"},      {43, "extra data"},
                  {92, "clock"},      {104, "count of PCR banks"},
                  {106, "PCR bank"},  {107, "PCR selection"},
                  {112, "PCR digest"}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct slv_evidence e = good();
        e.quote.attest[fields[i].at] ^= 2;
        assert_int_equal(verify_signed(&e, &anything), SLV_E_FORMAT);
        if (!strstr(err.msg, fields[i].name)) fail_msg("'%s': %s", err.msg, fields[i].name);
    }
}

/* An attestation key without "restricted" would sign whatever it is given. */
static void only_a_restricted_key_is_taken(void **state) {
    (void)state;
    for (size_t i = 0; i < 8 * (size_t)22; i++) { /* up to the point */
        struct slv_evidence e = good();
        e.quote.ak[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(verify_signed(&e, &anything), SLV_E_FORMAT);
    }
    struct slv_evidence e = good();
    e.quote.ak[5 + 2] ^= 1; /* 0x00010000 */
    assert_int_equal(verify_signed(&e, &anything), SLV_E_FORMAT);
    assert_non_null(strstr(err.msg, "e: ak: malformed attributes"));
    for (size_t n = 1; n < tpm.ak_n; n++) {
        e = good();
        e.quote.ak_n = n;
        assert_int_equal(verify_signed(&e, &anything), SLV_E_FORMAT);
    }
    e = good();
    e.quote.ak[e.quote.ak_n++] = 0;
    e.quote.ak[1]++;
    assert_int_equal(verify_signed(&e, &anything), SLV_E_FORMAT);
}

/* Sizes that fit together, but not what is made of them. */
static void points_of_another_size_are_malformed(void **state) {
    (void)state;
    static const size_t x = 22, y = 22 + 34;
    for (size_t size = 0; size <= 40; size++) {
        for (int of_y = 0; of_y < 2; of_y++) {
            struct slv_evidence e = good();
            uint8_t *ak = e.quote.ak, *at = ak + (of_y ? y : x);
            memmove(at + 2 + size, at + 34, tpm.ak_n - (size_t)(at + 34 - ak));
            at[1] = (uint8_t)size;
            e.quote.ak_n = tpm.ak_n - 32 + size;
            ak[1] = (uint8_t)(e.quote.ak_n - 2);
            const int want = !size || size > 32 ? SLV_E_FORMAT : size < 32 ? SLV_E_TRUST : 0;
            assert_int_equal(verify_signed(&e, &anything), want);
        }
    }
}

static void another_key_signs_nothing(void **state) {
    (void)state;
    struct soft_tpm other;
    struct slv_evidence e = good();
    struct slv_buf b;
    soft_tpm_init(&other, false);
    soft_tpm_sign(&other, e.quote.attest, e.quote.attest_n, e.quote.sig);
    slv_buf_init(&b, SLV_EVIDENCE_MAX);
    assert_int_equal(slv_evidence_write(&e, &b), 0);
    assert_int_equal(verify(b.data, b.len, &anything), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "did not sign the quote"));
    /* and with its own key in the evidence, the quote names another one */
    memcpy(e.quote.ak, other.ak, other.ak_n);
    slv_buf_clear(&b);
    assert_int_equal(slv_evidence_write(&e, &b), 0);
    assert_int_equal(verify(b.data, b.len, &anything), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "does not name its attestation key"));
    slv_buf_fini(&b);
    soft_tpm_fini(&other);
}

/* The hashes must be those that PCR 23 was extended with, in this order. */
static void events_are_those_of_the_pcr(void **state) {
    (void)state;
    struct slv_evidence e = good();
    memcpy(e.events[0], policy[0], 32);
    memcpy(e.events[1], binary[0], 32);
    assert_int_equal(verify_signed(&e, &anything), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "are not what PCR 23 was extended with"));
    e = good();
    e.quote.pcrs.v[3][0] ^= 1;
    assert_int_equal(verify_signed(&e, &anything), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "its values of PCRs are not those that were quoted"));
    e = good();
    e.quote.pcrs.which &= ~UINT32_C(8);
    assert_int_equal(verify_signed(&e, &anything), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "its PCRs are not those that were quoted"));
}

/* --- the node --------------------------------------------------------------------------------- */

static void a_bank_may_lack_pcrs(void **state) {
    (void)state;
    struct slv_attest_want w = exact();
    tpm.pcrs.which = 1u << 23 | 1u;
    assert_int_equal(quote(), 0);
    refused(&w, SLV_E_TRUST, "PCR 1 was not quoted");
    w.pcrs.which = tpm.pcrs.which;
    assert_int_equal(verify(text, text_n, &w), 0);
    tpm.pcrs.which = 0xff;
    assert_int_equal(quote(), SLV_E_IO);
    assert_string_equal(err.msg, "TPM: has no PCR 23 with SHA-256");
}

static void quotes_without_the_program_are_refused(void **state) {
    (void)state;
    struct slv_tpm_quote q;
    struct slv_evidence e = good();
    uint8_t extra[32];
    slv_attest_extra(nonce, node_key, extra);
    assert_int_equal(tpm.quoter.quote(&tpm, 0xff, extra, &q, &err), 0);
    e.quote = q;
    assert_int_equal(verify_signed(&e, &anything), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "PCRs 0 to 7 and 23 are to be quoted"));
    assert_int_equal(tpm.quoter.quote(&tpm, SLV_ATTEST_PCRS | 1u << 16, extra, &q, &err), 0);
    e.quote = q;
    assert_int_equal(verify_signed(&e, &anything), SLV_E_TRUST);
}

static void what_another_program_did_to_the_pcr_is_measured_again(void **state) {
    (void)state;
    const struct slv_attest_want w = exact();
    assert_int_equal(tpm.measured, 1);
    tpm.disturb = 3;
    assert_int_equal(quote(), 0);
    assert_int_equal(tpm.measured, 4);
    assert_int_equal(verify(text, text_n, &w), 0);
    tpm.tear = 1;
    assert_int_equal(quote(), 0);
    assert_int_equal(verify(text, text_n, &w), 0);
    tpm.disturb = 100;
    assert_int_equal(quote(), SLV_E_BUSY);
    assert_int_equal(tpm.disturb, 96);
    assert_int_equal(text_n, 0);
}

static void no_policy_is_the_empty_one(void **state) {
    (void)state;
    uint8_t empty[32];
    SHA256((const uint8_t *)"", 0, empty);
    slv_attest_close(node);
    node = NULL;
    assert_int_equal(slv_attest_open(&tpm.quoter, NULL, 0, &node, &err), 0);
    assert_memory_equal(slv_attest_self(node)->events[1], empty, 32);
}

static void failed_allocations_are_errors(void **state) {
    (void)state;
    struct slv_attest *a = NULL;
    slv_mem_fail_at(1);
    assert_int_equal(slv_attest_open(&tpm.quoter, "", 0, &a, &err), SLV_E_NOMEM);
    assert_null(a);
    slv_mem_fail_at(1);
    assert_int_equal(quote(), SLV_E_NOMEM);
    slv_mem_fail_at(0);
    assert_int_equal(quote(), 0);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_node_is_what_it_shows),
        T(nonce_and_node_are_signed),
        T(a_key_with_a_short_number_is_taken),
        T(what_is_not_expected_is_refused),
        T(a_list_may_have_several),
        T(no_bit_of_evidence_can_change),
        T(evidence_that_is_cut_is_malformed),
        T(signed_structures_have_one_form),
        T(names_of_fields_are_told),
        T(only_a_restricted_key_is_taken),
        T(points_of_another_size_are_malformed),
        T(another_key_signs_nothing),
        T(events_are_those_of_the_pcr),
        T(a_bank_may_lack_pcrs),
        T(quotes_without_the_program_are_refused),
        T(what_another_program_did_to_the_pcr_is_measured_again),
        T(no_policy_is_the_empty_one),
        T(failed_allocations_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
