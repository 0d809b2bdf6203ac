/* cmd_attest.c: selvage attest quote, verify, show: what a node runs, as its TPM signs it. */
#include "config.h"
#include "cli/cmd.h"
#include "cli/out.h"
#include "cli/trust.h"
#include "base/file.h"
#include "base/log.h"
#include "trust/attest.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_MAX ((size_t)65536)
#define HEX_MAX SLV_HEX(SLV_TPM_DIGEST)

/* --- values of options ------------------------------------------------------------------------ */

/* Nonces, keys and digests are all of one size. */
static int read_digest(const char *option, const char *s, uint8_t ret[SLV_TPM_DIGEST],
                       struct slv_err *err) {
    if (strlen(s) == HEX_MAX - 1 && slv_hex_read(s, ret, SLV_TPM_DIGEST)) return 0;
    return slv_err_set(err, SLV_E_USAGE, "--%s: %d hexadecimal digits, a to f small, are wanted",
                       option, HEX_MAX - 1);
}

static int read_needed(const char *option, const char *s, uint8_t ret[SLV_TPM_DIGEST],
                       struct slv_err *err) {
    if (s) return read_digest(option, s, ret, err);
    return slv_err_set(err, SLV_E_USAGE, "--%s: is missing", option);
}

struct digests {
    uint8_t v[SLV_OPT_LIST_MAX][SLV_TPM_DIGEST];
};

/* None given: any will do. */
static void as_list(const struct digests *d, size_t n, struct slv_attest_list *ret) {
    *ret = (struct slv_attest_list){(const uint8_t(*)[SLV_TPM_DIGEST])d->v, n, !n};
}

static int read_list(const char *option, const struct slv_opt_list *l, struct digests *d,
                     struct slv_attest_list *ret, struct slv_err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < l->n; i++)
        rc = read_digest(option, l->v[i], d->v[i], err);
    as_list(d, l->n, ret);
    return rc;
}

static int read_policies(const struct slv_opt_list *files, struct digests *d,
                         struct slv_attest_list *ret, struct slv_err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < files->n; i++) {
        struct slv_map map;
        rc = slv_map_open(files->v[i], &map, err);
        if (rc) break;
        crypto_hash_sha256(d->v[i], map.size ? map.data : (const unsigned char *)"", map.size);
        slv_map_close(&map);
    }
    as_list(d, files->n, ret);
    return rc;
}

/* "7=HEX". */
static int read_pcr(const char *s, struct slv_tpm_pcrs *ret, struct slv_err *err) {
    char *end = NULL;
    const unsigned long i = *s >= '0' && *s <= '9' ? strtoul(s, &end, 10) : SLV_TPM_PCRS;
    if (i >= SLV_TPM_PCRS || *end != '=' || !(SLV_ATTEST_PCRS >> i & 1))
        return slv_err_set(err, SLV_E_USAGE, "--pcr: N=HEX with N of 0 to 7, or %d, is wanted",
                           SLV_ATTEST_PCR);
    if (ret->which >> i & 1)
        return slv_err_set(err, SLV_E_USAGE, "--pcr: PCR %lu is given twice", i);
    ret->which |= UINT32_C(1) << i;
    return read_digest("pcr", end + 1, ret->v[i], err);
}

static int read_text(const char *path, struct slv_buf *ret, struct slv_err *err) {
    slv_buf_init(ret, SLV_EVIDENCE_MAX);
    return slv_file_read(path, ret, err);
}

/* --- showing ---------------------------------------------------------------------------------- */

static void put_hex(struct slv_json *j, const char *name, const uint8_t *digest) {
    char hex[HEX_MAX];
    slv_hex_write(digest, SLV_TPM_DIGEST, hex);
    slv_json_str(j, name, hex);
}

static void put_pcrs(struct slv_json *j, const struct slv_tpm_pcrs *pcrs) {
    slv_json_array(j, "pcrs");
    for (unsigned i = 0; i < SLV_TPM_PCRS; i++) {
        if (!(pcrs->which >> i & 1)) continue;
        slv_json_object(j, NULL);
        slv_json_uint(j, "pcr", i);
        put_hex(j, "value", pcrs->v[i]);
        slv_json_object_end(j);
    }
    slv_json_array_end(j);
}

/* `valid`: it was verified; `aks` says whether against a list of keys. */
static int print_json(const struct slv_attest_report *r, const char *file, bool valid, bool aks,
                      struct slv_err *err) {
    struct slv_buf out;
    struct slv_json j;
    char version[17]; /* a number too large for JSON's readers */
    snprintf(version, sizeof version, "%016" PRIx64, r->quoted.firmware);
    slv_buf_init(&out, JSON_MAX);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    if (valid) {
        slv_json_bool(&j, "valid", true);
        slv_json_bool(&j, "ak_expected", aks);
    }
    slv_json_str(&j, "file", file);
    put_hex(&j, "ak", r->ak);
    put_hex(&j, "binary", r->events[0]);
    put_hex(&j, "policy", r->events[1]);
    put_hex(&j, "extra", r->quoted.extra);
    put_pcrs(&j, &r->pcrs);
    slv_json_uint(&j, "clock_ms", r->quoted.clock_ms);
    slv_json_bool(&j, "clock_safe", r->quoted.safe);
    slv_json_uint(&j, "resets", r->quoted.resets);
    slv_json_uint(&j, "restarts", r->quoted.restarts);
    slv_json_str(&j, "firmware", version);
    slv_json_object_end(&j);
    const int rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

static void print_line(const char *name, const uint8_t *digest) {
    char hex[HEX_MAX];
    slv_hex_write(digest, SLV_TPM_DIGEST, hex);
    slv_out_printf("%-8s %s\n", name, hex);
}

static int print_text(const struct slv_attest_report *r) {
    print_line("ak", r->ak);
    print_line("binary", r->events[0]);
    print_line("policy", r->events[1]);
    slv_out_printf("resets   %u, then %u restarts\nfirmware %016" PRIx64 "\n", r->quoted.resets,
                   r->quoted.restarts, r->quoted.firmware);
    for (unsigned i = 0; i < SLV_TPM_PCRS; i++) {
        char name[16];
        snprintf(name, sizeof name, "pcr %u", i);
        if (r->pcrs.which >> i & 1) print_line(name, r->pcrs.v[i]);
    }
    return 0;
}

/* --- quote ------------------------------------------------------------------------------------ */

#ifdef SLV_TPM
struct quote_opts {
    const char *nonce, *policy, *key, *out;
};

static int make(const struct quote_opts *o, const uint8_t nonce[SLV_ATTEST_NONCE],
                const uint8_t node[SLV_PUB_BYTES], struct slv_buf *ret, struct slv_err *err) {
    struct slv_attest *a = NULL;
    struct slv_map policy = {0};
    int rc = o->policy ? slv_map_open(o->policy, &policy, err) : 0;
    if (rc) return rc;
    rc = slv_attest_open(NULL, policy.data, policy.size, &a, err);
    if (!rc) rc = slv_attest_quote(a, nonce, node, ret, err);
    slv_attest_close(a);
    if (o->policy) slv_map_close(&policy);
    return rc;
}

static int keep(const struct slv_cli *cli, const char *path, const struct slv_buf *text,
                struct slv_err *err) {
    struct slv_attest_report r;
    char hex[HEX_MAX];
    int rc = slv_attest_read(text->data, text->len, path, &r, err);
    if (!rc) rc = slv_file_write(path, text->data, text->len, 0644, err);
    if (rc) return rc;
    if (cli->json) return print_json(&r, path, false, false, err);
    slv_hex_write(r.ak, sizeof r.ak, hex);
    slv_log(SLV_LOG_INFO, "%s: quoted by attestation key %s", path, hex);
    return 0;
}

static int quote(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct quote_opts *o = opts;
    uint8_t nonce[SLV_ATTEST_NONCE];
    struct slv_key *k = NULL;
    struct slv_buf text;
    slv_buf_init(&text, SLV_EVIDENCE_MAX);
    int rc = read_needed("nonce", o->nonce, nonce, err);
    if (!rc && !o->out) rc = slv_err_set(err, SLV_E_USAGE, "--out: is missing");
    if (rc) return slv_err_prefix(err, rc, "attest quote");
    rc = slv_store_key_open(o->key, true, &k, err);
    if (!rc) rc = make(o, nonce, slv_key_pub(k)->key, &text, err);
    if (!rc) rc = keep(cli, o->out, &text, err);
    slv_key_close(k);
    slv_buf_fini(&text);
    return rc;
}

static const struct slv_opt quote_rows[] = {
    {"nonce", 0, SLV_OPT_STR_AT(struct quote_opts, nonce), .arg = "HEX",
     .help = "what the verifier drew for this time: 32 bytes as 64 digits"},
    {"policy", 0, SLV_OPT_STR_AT(struct quote_opts, policy), .arg = "FILE",
     .help = "what this node was told to do, measured as it stands; without it nothing is"},
    SLV_CLI_KEY_ROW(struct quote_opts),
    {"out", 'o', SLV_OPT_STR_AT(struct quote_opts, out), .arg = "FILE",
     .help = "where the evidence goes"},
};

const struct slv_cmd slv_cmd_attest_quote = {
    .name = "attest quote",
    .help = "let the TPM sign what this node runs",
    .args = "",
    .more =
        "This machine's TPM 2.0 ($SELVAGE_TPM names another one) signs PCRs 0 to 7, and PCR 23, "
        "into which this program and the policy are measured: its earlier value is lost. The "
        "nonce and the device key's public part are signed with them. No secret is needed.",
    SLV_CMD_OPTS(quote_rows, struct quote_opts),
    .fn = quote,
};
#endif

/* --- verify ----------------------------------------------------------------------------------- */

struct verify_opts {
    const char *nonce, *node;
    struct slv_opt_list aks, binaries, policies, pcrs;
};

struct wanted {
    uint8_t nonce[SLV_ATTEST_NONCE], node[SLV_PUB_BYTES];
    struct digests aks, binaries, policies;
    struct slv_attest_want want;
};

static int read_wanted(const struct verify_opts *o, struct wanted *w, struct slv_err *err) {
    int rc = read_needed("nonce", o->nonce, w->nonce, err);
    if (!rc) rc = read_needed("node", o->node, w->node, err);
    if (!rc) rc = read_list("ak", &o->aks, &w->aks, &w->want.aks, err);
    if (!rc) rc = read_list("binary", &o->binaries, &w->binaries, &w->want.binaries, err);
    if (!rc) rc = read_policies(&o->policies, &w->policies, &w->want.policies, err);
    for (size_t i = 0; !rc && i < o->pcrs.n; i++)
        rc = read_pcr(o->pcrs.v[i], &w->want.pcrs, err);
    return rc ? slv_err_prefix(err, rc, "attest verify") : 0;
}

static int verify(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const char *file = cli->args[0];
    struct wanted w = {0};
    struct slv_attest_report r;
    struct slv_buf text;
    int rc = read_wanted(opts, &w, err);
    if (rc) return rc;
    rc = read_text(file, &text, err);
    if (!rc) rc = slv_attest_verify(text.data, text.len, file, w.nonce, w.node, &w.want, &r, err);
    slv_buf_fini(&text);
    if (rc) return rc;
    if (w.want.aks.any)
        slv_log(SLV_LOG_WARN, "%s: without --ak this does not show that a TPM made it", file);
    return cli->json ? print_json(&r, file, true, !w.want.aks.any, err) : print_text(&r);
}

static const struct slv_opt verify_rows[] = {
    {"nonce", 0, SLV_OPT_STR_AT(struct verify_opts, nonce), .arg = "HEX",
     .help = "the nonce that the node was given"},
    {"node", 0, SLV_OPT_STR_AT(struct verify_opts, node), .arg = "HEX",
     .help = "the node's public key, as 'selvage key show' prints it"},
    {"ak", 0, SLV_OPT_LIST_AT(struct verify_opts, aks), .arg = "HEX",
     .help = "an attestation key that is expected, as 'attest show' prints it; may be repeated; "
             "without it any will do, and nothing is shown of a TPM"},
    {"binary", 0, SLV_OPT_LIST_AT(struct verify_opts, binaries), .arg = "HEX",
     .help = "SHA-256 of a program that is expected; may be repeated; without it any will do"},
    {"policy", 0, SLV_OPT_LIST_AT(struct verify_opts, policies), .arg = "FILE",
     .help = "a policy that is expected; may be repeated; without it any will do"},
    {"pcr", 0, SLV_OPT_LIST_AT(struct verify_opts, pcrs), .arg = "N=HEX",
     .help = "the value that PCR N must have; may be repeated, for others"},
};

const struct slv_cmd slv_cmd_attest_verify = {
    .name = "attest verify",
    .help = "judge what a node's TPM signed",
    .args = "FILE",
    .more = "No TPM is needed. Exit status 5: it is not what is expected, or not signed; 3: it is "
            "malformed. What it proves, and what not, is in docs/attest.md.",
    .min_args = 1,
    .max_args = 1,
    SLV_CMD_OPTS(verify_rows, struct verify_opts),
    .fn = verify,
};

/* --- show ------------------------------------------------------------------------------------- */

static int show(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct slv_attest_report r;
    struct slv_buf text;
    (void)opts;
    int rc = read_text(cli->args[0], &text, err);
    if (!rc) rc = slv_attest_read(text.data, text.len, cli->args[0], &r, err);
    slv_buf_fini(&text);
    if (rc) return rc;
    return cli->json ? print_json(&r, cli->args[0], false, false, err) : print_text(&r);
}

const struct slv_cmd slv_cmd_attest_show = {
    .name = "attest show",
    .help = "what evidence says, without judging it",
    .args = "FILE",
    .more = "Nothing of it need be true: 'attest verify' judges it.",
    .min_args = 1,
    .max_args = 1,
    .fn = show,
};
