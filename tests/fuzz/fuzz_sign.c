/* fuzz_sign.c: any bytes as a signature file, a public key file, and a file of API keys: refused
 * with a line of text, or read as what writing it again gives. */
#include "trust/apikeys.h"
#include "trust/sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok) {
    if (!ok) abort();
}

static bool is_same(int rc, const struct slv_buf *b, const char *s, size_t n) {
    return !rc && b->len == n && !memcmp(b->data, s, n);
}

static void signature(const char *s, size_t n) {
    struct slv_signature sig;
    struct slv_err err = {0};
    struct slv_buf b;
    int rc = slv_signature_parse(s, n, "fuzz", &sig, &err);
    require(rc == 0 || (rc == SLV_E_FORMAT && err.msg[0]));
    if (rc) return;
    struct slv_pubs none = {0};
    slv_buf_init(&b, SLV_SIGN_TEXT_MAX);
    require(is_same(slv_signature_write(&sig, &b), &b, s, n));
    require(slv_signature_check(&sig, &none, "fuzz", &err) == SLV_E_TRUST);
    slv_buf_fini(&b);
}

static void public_keys(const char *s, size_t n) {
    struct slv_pubs pubs = {0};
    struct slv_err err = {0};
    struct slv_buf b;
    int rc = slv_pubs_parse(&pubs, s, n, "fuzz", &err);
    require(rc <= 0 && !rc == !err.msg[0] && !rc == !!pubs.n);
    slv_buf_init(&b, SLV_PUB_FILE_MAX);
    if (!rc) require(is_same(slv_pubs_write(&pubs, &b), &b, s, n));
    slv_buf_fini(&b);
    slv_pubs_fini(&pubs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *s = (const char *)data;
    struct slv_err err = {0};
    signature(s, size);
    public_keys(s, size);
    int rc = slv_apikeys_check(s, size, &err);
    require(rc <= 0 && !rc == !err.msg[0]);
    return 0;
}
