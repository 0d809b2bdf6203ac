/* quoted.c: see quoted.h. */
#include "trust/quoted.h"

#include <sodium.h>
#include <string.h>

_Static_assert(SLV_TPM_DIGEST == crypto_hash_sha256_BYTES, "SHA-256");

#define GENERATED 0xff544347u /* TPM_GENERATED_VALUE */
#define ST_QUOTE 0x8018       /* TPM_ST_ATTEST_QUOTE */
#define ALG_SHA256 0x000b
#define ALG_NULL 0x0010
#define ALG_ECDSA 0x0018
#define ALG_ECC 0x0023
#define CURVE_P256 0x0003
#define RH_ENDORSEMENT 0x4000000bu
/* fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign */
#define AK_ATTRIBUTES 0x00050472u
#define SELECT 3
#define COORDINATE 32

/* Reads on, to nowhere past the end; the first thing that is wrong sticks. */
struct cursor {
    const uint8_t *p, *end;
    const char *bad; /* its name; NULL: none */
};

/* n bytes, or NULL. */
static const uint8_t *raw(struct cursor *c, const char *name, size_t n) {
    if (!c->bad && (size_t)(c->end - c->p) < n) c->bad = name;
    if (c->bad) return NULL;
    c->p += n;
    return c->p - n;
}

static uint64_t number(struct cursor *c, const char *name, size_t bytes) {
    const uint8_t *p = raw(c, name, bytes);
    uint64_t v = 0;
    for (size_t i = 0; p && i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

/* A number of which only one value will do. */
static void constant(struct cursor *c, const char *name, size_t bytes, uint64_t value) {
    if (number(c, name, bytes) != value && !c->bad) c->bad = name;
}

/* A TPM2B of n bytes. */
static void sized(struct cursor *c, const char *name, uint8_t *ret, size_t n) {
    constant(c, name, 2, n);
    const uint8_t *p = raw(c, name, n);
    if (p) memcpy(ret, p, n);
}

static int finish(const struct cursor *c, const char *what, struct slv_err *err) {
    if (c->bad) return slv_err_set(err, SLV_E_FORMAT, "%s: malformed %s", what, c->bad);
    if (c->p != c->end)
        return slv_err_set(err, SLV_E_FORMAT, "%s: %zu bytes too many", what,
                           (size_t)(c->end - c->p));
    return 0;
}

/* --- quotes ----------------------------------------------------------------------------------- */

static uint32_t selection(struct cursor *c) {
    constant(c, "count of PCR banks", 4, 1);
    constant(c, "PCR bank", 2, ALG_SHA256);
    constant(c, "PCR selection", 1, SELECT);
    const uint8_t *p = raw(c, "PCR selection", SELECT);
    return p ? p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 : 0;
}

int slv_quoted_parse(const uint8_t *p, size_t n, struct slv_quoted *ret, struct slv_err *err) {
    struct cursor c = {p, p + n, NULL};
    struct slv_quoted q = {0};
    constant(&c, "magic", 4, GENERATED);
    constant(&c, "type", 2, ST_QUOTE);
    sized(&c, "signer", q.signer, sizeof q.signer);
    sized(&c, "extra data", q.extra, sizeof q.extra);
    q.clock_ms = number(&c, "clock", 8);
    q.resets = (uint32_t)number(&c, "count of resets", 4);
    q.restarts = (uint32_t)number(&c, "count of restarts", 4);
    const uint64_t safe = number(&c, "clock", 1);
    if (safe > 1 && !c.bad) c.bad = "clock"; /* TPMI_YES_NO */
    q.safe = safe == 1;
    q.firmware = number(&c, "firmware version", 8);
    q.pcrs = selection(&c);
    sized(&c, "PCR digest", q.digest, sizeof q.digest);
    const int rc = finish(&c, "quote", err);
    if (!rc) *ret = q;
    return rc;
}

/* --- keys ------------------------------------------------------------------------------------- */

/* Fields of a TPMT_PUBLIC that are the template's: the one key that is taken. */
static const struct {
    const char *name;
    size_t bytes;
    uint32_t value;
} ak_fields[] = {
    {"type", 2, ALG_ECC},
    {"name's hash", 2, ALG_SHA256},
    {"attributes", 4, AK_ATTRIBUTES},
    {"policy", 2, 0},
    {"symmetric cipher", 2, ALG_NULL},
    {"scheme", 2, ALG_ECDSA},
    {"scheme's hash", 2, ALG_SHA256},
    {"curve", 2, CURVE_P256},
    {"key derivation", 2, ALG_NULL},
};

/* TPMs may leave leading zeros out. */
static void coordinate(struct cursor *c, const char *name, uint8_t ret[COORDINATE]) {
    const size_t n = number(c, name, 2);
    if ((!n || n > COORDINATE) && !c->bad) c->bad = name;
    const uint8_t *p = raw(c, name, n);
    if (p) memcpy(ret + COORDINATE - n, p, n);
}

static void put_name(uint8_t ret[SLV_TPM_NAME], const uint8_t digest[SLV_TPM_DIGEST]) {
    ret[0] = ALG_SHA256 >> 8;
    ret[1] = ALG_SHA256 & 0xff;
    memcpy(ret + 2, digest, SLV_TPM_DIGEST);
}

/* Of a primary key: a digest over the number of its hierarchy and its name. */
static void put_qualified(struct slv_ak *ak) {
    uint8_t in[4 + SLV_TPM_NAME], digest[SLV_TPM_DIGEST];
    for (unsigned i = 0; i < 4; i++)
        in[i] = (uint8_t)(RH_ENDORSEMENT >> (24 - 8 * i));
    put_name(in + 4, ak->name);
    crypto_hash_sha256(digest, in, sizeof in);
    put_name(ak->qualified, digest);
}

int slv_ak_parse(const uint8_t *p, size_t n, struct slv_ak *ret, struct slv_err *err) {
    struct cursor c = {p, p + n, NULL};
    struct slv_ak ak = {.point = {4}};
    constant(&c, "size", 2, n - 2);
    for (size_t i = 0; i < sizeof ak_fields / sizeof *ak_fields; i++)
        constant(&c, ak_fields[i].name, ak_fields[i].bytes, ak_fields[i].value);
    coordinate(&c, "point", ak.point + 1);
    coordinate(&c, "point", ak.point + 1 + COORDINATE);
    const int rc = finish(&c, "ak", err);
    if (rc) return rc;
    crypto_hash_sha256(ak.name, p + 2, n - 2);
    put_qualified(&ak);
    *ret = ak;
    return 0;
}

/* --- PCRs ------------------------------------------------------------------------------------- */

void slv_pcrs_digest(const struct slv_tpm_pcrs *pcrs, uint8_t ret[SLV_TPM_DIGEST]) {
    crypto_hash_sha256_state h;
    crypto_hash_sha256_init(&h);
    for (unsigned i = 0; i < SLV_TPM_PCRS; i++)
        if (pcrs->which >> i & 1) crypto_hash_sha256_update(&h, pcrs->v[i], SLV_TPM_DIGEST);
    crypto_hash_sha256_final(&h, ret);
}

void slv_pcr_replay(const uint8_t (*events)[SLV_TPM_DIGEST], size_t n,
                    uint8_t ret[SLV_TPM_DIGEST]) {
    uint8_t both[2 * SLV_TPM_DIGEST] = {0};
    for (size_t i = 0; i < n; i++) {
        memcpy(both + SLV_TPM_DIGEST, events[i], SLV_TPM_DIGEST);
        crypto_hash_sha256(both, both, sizeof both);
    }
    memcpy(ret, both, SLV_TPM_DIGEST);
}
