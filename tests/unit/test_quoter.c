/* test_quoter.c: what a user would lose: a node that stands still while its TPM thinks, evidence
 * that is for another nonce than was asked, a thread that outlives its node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mesh/quoter.h"
#include "soft_tpm.h"

#include <poll.h>
#include <string.h>

static struct soft_tpm tpm;
static const uint8_t key[SLV_PUB_BYTES] = {7}, other[SLV_PUB_BYTES] = {8};
static const struct slv_str policy = {"allow", 5};

static struct slv_quoter *open_quoter(const struct slv_tpm_quoter *q) {
    struct slv_quoter *ret;
    struct slv_err err = {0};
    assert_int_equal(slv_quoter_open(q, policy, key, &ret, &err), 0);
    return ret;
}

static void wait_for(struct slv_quoter *q, struct slv_quoter_answer *ret) {
    struct pollfd p = {.fd = slv_quoter_fd(q), .events = POLLIN};
    do {
        assert_int_equal(poll(&p, 1, 30000), 1);
    } while (!slv_quoter_done(q, ret));
}

static void what_is_asked_is_answered_once(void **state) {
    struct slv_quoter *q = open_quoter(&tpm.quoter);
    const struct slv_attest_self *self = slv_quoter_self(q);
    struct slv_condition c = {.aks = {&self->ak, 1}, .binaries = {&self->events[0], 1}};
    struct slv_quoter_answer a;
    struct slv_err err = {0};
    (void)state;
    assert_false(slv_quoter_done(q, &a));
    for (uint8_t i = 1; i < 20; i++) {
        const uint8_t nonce[SLV_ATTEST_NONCE] = {i}, old[SLV_ATTEST_NONCE] = {(uint8_t)(i - 1)};
        slv_quoter_ask(q, i, nonce);
        wait_for(q, &a);
        assert_int_equal(a.peer, i);
        assert_memory_equal(a.nonce, nonce, sizeof nonce);
        assert_int_equal(slv_quoter_judge(key, nonce, a.evidence, &c, &err), 0);
        assert_int_equal(slv_quoter_judge(key, old, a.evidence, &c, &err), SLV_E_TRUST);
        assert_int_equal(slv_quoter_judge(other, nonce, a.evidence, &c, &err), SLV_E_TRUST);
        assert_false(slv_quoter_done(q, &a));
    }
    slv_quoter_close(q);
}

static void a_condition_is_what_its_lists_say(void **state) {
    struct slv_quoter *q = open_quoter(&tpm.quoter);
    const struct slv_attest_self *self = slv_quoter_self(q);
    const uint8_t nonce[SLV_ATTEST_NONCE] = {1}, none[2][SLV_ROSTER_DIGEST] = {{0}, {1}};
    const struct slv_digests right[] = {
        {&self->ak, 1}, {&self->events[0], 1}, {&self->events[1], 1}};
    struct slv_quoter_answer a;
    struct slv_err err = {0};
    (void)state;
    slv_quoter_ask(q, 1, nonce);
    wait_for(q, &a);
    for (unsigned i = 0; i < 4; i++) { /* which of the lists is wrong; 3: none */
        struct slv_condition c = {.aks = right[0], .binaries = right[1], .policies = right[2]};
        if (i == 0) c.aks = (struct slv_digests){none, 2};
        if (i == 1) c.binaries = (struct slv_digests){none, 2};
        if (i == 2) c.policies = (struct slv_digests){none, 2};
        assert_int_equal(slv_quoter_judge(key, nonce, a.evidence, &c, &err),
                         i < 3 ? SLV_E_TRUST : 0);
    }
    const struct slv_condition any = {.any_ak = true}, nothing = {.any_ak = false};
    assert_int_equal(slv_quoter_judge(key, nonce, a.evidence, &any, &err), 0);
    assert_int_equal(slv_quoter_judge(key, nonce, a.evidence, &nothing, &err), SLV_E_TRUST);
    assert_int_equal(slv_quoter_judge(key, nonce, (struct slv_str){"x", 1}, &any, &err),
                     SLV_E_FORMAT);
    slv_quoter_close(q);
}

static int no_quote(void *ctx, uint32_t pcrs, const uint8_t extra[SLV_TPM_DIGEST],
                    struct slv_tpm_quote *ret, struct slv_err *err) {
    (void)ctx, (void)pcrs, (void)extra, (void)ret;
    return slv_err_set(err, SLV_E_IO, "TPM: is gone");
}

static void a_tpm_that_fails_is_told_of(void **state) {
    struct slv_tpm_quoter broken = tpm.quoter;
    const uint8_t nonce[SLV_ATTEST_NONCE] = {1};
    struct slv_quoter_answer a;
    (void)state;
    broken.quote = no_quote;
    struct slv_quoter *q = open_quoter(&broken);
    slv_quoter_ask(q, 5, nonce);
    wait_for(q, &a);
    assert_int_equal(a.evidence.n, 0);
    assert_string_equal(a.why, "TPM: is gone");
    slv_quoter_ask(q, 6, nonce); /* and nobody waits for this one */
    slv_quoter_close(q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_asked_is_answered_once),
        cmocka_unit_test(a_condition_is_what_its_lists_say),
        cmocka_unit_test(a_tpm_that_fails_is_told_of),
    };
    soft_tpm_init(&tpm, false);
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    soft_tpm_fini(&tpm);
    return rc;
}
