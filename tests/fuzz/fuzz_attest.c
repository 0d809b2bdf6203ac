/* fuzz_attest.c: evidence to which any bytes have been done is refused with a line of text, or says
 * what the good one says; what is read is written again as the same bytes; and a structure that its
 * key did sign is refused, or says of the node what the good one says.
 *
 * The first byte says what the rest is: evidence (0), a TPMS_ATTEST that the key signs (1), a
 * TPM2B_PUBLIC in good evidence (2), or a list of changes of 3 bytes to good evidence: where (2)
 * and what to (1). */
#include "soft_tpm.h"
#include "trust/attest.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok) {
    if (!ok) abort();
}

static const struct slv_attest_want anything = {
    .aks.any = true, .binaries.any = true, .policies.any = true};
static const uint8_t nonce[SLV_ATTEST_NONCE] = {1}, node_key[SLV_PUB_BYTES] = {2};
static struct soft_tpm tpm;
static char good[SLV_EVIDENCE_MAX];
static size_t good_n;
static struct slv_evidence good_e;
static struct slv_attest_report good_r;

static void drop_key(void) { soft_tpm_fini(&tpm); }

static void set_up(void) {
    struct slv_attest *a = NULL;
    struct slv_buf b;
    if (good_n) return;
    soft_tpm_init(&tpm, false);
    atexit(drop_key);
    slv_buf_init(&b, sizeof good);
    require(!slv_attest_open(&tpm.quoter, "policy", 6, &a, NULL));
    require(!slv_attest_quote(a, nonce, node_key, &b, NULL));
    memcpy(good, b.data, b.len);
    good_n = b.len;
    slv_buf_fini(&b);
    slv_attest_close(a);
    require(!slv_evidence_parse(good, good_n, "fuzz", &good_e, NULL));
    require(!slv_attest_verify(good, good_n, "fuzz", nonce, node_key, &anything, &good_r, NULL));
}

/* What a verifier goes by; the clock and its counts are the TPM's word alone. */
static bool is_same(const struct slv_attest_report *r) {
    return !memcmp(r->ak, good_r.ak, sizeof r->ak) &&
           !memcmp(r->events, good_r.events, sizeof r->events) &&
           !memcmp(&r->pcrs, &good_r.pcrs, sizeof r->pcrs) && r->quoted.pcrs == good_r.quoted.pcrs;
}

static void judge(const char *text, size_t n) {
    struct slv_attest_report r;
    struct slv_err err = {0};
    const int rc = slv_attest_verify(text, n, "fuzz", nonce, node_key, &anything, &r, &err);
    require(rc <= 0 && !rc == !err.msg[0]);
    require(!rc || rc == SLV_E_FORMAT || rc == SLV_E_TRUST || rc == SLV_E_LIMIT);
    require(rc || is_same(&r));
}

static void judge_parts(const struct slv_evidence *e) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_EVIDENCE_MAX);
    require(!slv_evidence_write(e, &b));
    judge(b.data, b.len);
    slv_buf_fini(&b);
}

static void as_text(const char *text, size_t n) {
    struct slv_evidence e;
    struct slv_err err = {0};
    struct slv_buf b;
    judge(text, n);
    if (slv_evidence_parse(text, n, "fuzz", &e, &err)) return;
    slv_buf_init(&b, SLV_EVIDENCE_MAX);
    require(!slv_evidence_write(&e, &b) && b.len == n && !memcmp(b.data, text, n));
    slv_buf_fini(&b);
}

static void as_attest(const uint8_t *p, size_t n) {
    struct slv_evidence e = good_e;
    struct slv_quoted q;
    struct slv_err err = {0};
    const int rc = slv_quoted_parse(p, n, &q, &err); /* p ends where its block does */
    require(!rc == !err.msg[0] && (!rc || rc == SLV_E_FORMAT));
    if (rc || !n || n > sizeof e.quote.attest) return;
    memcpy(e.quote.attest, p, n);
    e.quote.attest_n = n;
    soft_tpm_sign(&tpm, p, n, e.quote.sig);
    judge_parts(&e);
}

static void as_ak(const uint8_t *p, size_t n) {
    struct slv_evidence e = good_e;
    struct slv_ak ak;
    struct slv_err err = {0};
    const int rc = slv_ak_parse(p, n, &ak, &err);
    require(!rc == !err.msg[0] && (!rc || rc == SLV_E_FORMAT));
    if (!n || n > sizeof e.quote.ak) return;
    memcpy(e.quote.ak, p, n);
    e.quote.ak_n = n;
    judge_parts(&e);
}

static void as_changes(const uint8_t *p, size_t n) {
    char text[SLV_EVIDENCE_MAX];
    memcpy(text, good, good_n);
    for (size_t i = 0; i + 3 <= n; i += 3)
        text[(size_t)(p[i] << 8 | p[i + 1]) % good_n] = (char)p[i + 2];
    as_text(text, good_n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    set_up();
    if (!size) return 0;
    const uint8_t *p = data + 1;
    const size_t n = size - 1;
    if (data[0] == 0) as_text((const char *)p, n);
    else if (data[0] == 1) as_attest(p, n);
    else if (data[0] == 2) as_ak(p, n);
    else as_changes(p, n);
    return 0;
}
