/* cmd_sign.c: selvage sign, selvage verify: signatures of files, beside them. */
#include "cli/cmd.h"
#include "cli/out.h"
#include "cli/trust.h"
#include "cli/work.h"
#include "base/file.h"
#include "base/log.h"
#include "trust/sign.h"

struct opts {
    const char *key, *pub, *sig;
};

static int sig_path(const char *file, const char *given, struct slv_buf *ret, struct slv_err *err) {
    slv_buf_init(ret, 8192);
    int rc = slv_buf_addf(ret, "%s%s", given ? given : file, given ? "" : SLV_SIGN_SUFFIX);
    return rc ? slv_err_set(err, rc, "path: %s", slv_strerror(rc)) : 0;
}

static int print_json(const struct slv_signature *s, const char *file, const char *sig, bool valid,
                      struct slv_err *err) {
    struct slv_buf out;
    struct slv_json j;
    char hex[SLV_HEX(SLV_SIGN_DIGEST)];
    slv_hex_write(s->digest, sizeof s->digest, hex);
    slv_buf_init(&out, (size_t)1 << 20);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    if (valid) slv_json_bool(&j, "valid", true);
    slv_json_str(&j, "file", file);
    slv_json_str(&j, "signature", sig);
    slv_json_str(&j, "key", s->key);
    slv_json_uint(&j, "time", s->time);
    slv_json_uint(&j, "size", s->size);
    slv_json_str(&j, "blake2b", hex);
    slv_json_object_end(&j);
    int rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

/* --- sign ------------------------------------------------------------------------------------- */

static int write_signature(const struct slv_signature *s, const char *path, struct slv_err *err) {
    struct slv_buf text;
    slv_buf_init(&text, SLV_SIGN_TEXT_MAX);
    int rc = slv_signature_write(s, &text);
    if (rc) slv_err_set(err, rc, "%s: %s", path, slv_strerror(rc));
    else rc = slv_file_write(path, text.data, text.len, 0644, err);
    slv_buf_fini(&text);
    return rc;
}

static int sign(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_key *k = NULL;
    struct slv_signature s;
    struct slv_buf path;
    struct slv_work work;
    int rc = sig_path(cli->args[0], o->sig, &path, err);
    if (!rc) rc = slv_store_key_open(o->key, false, &k, err);
    slv_work_init(&work, cli);
    if (!rc) rc = slv_sign_file(k, cli->args[0], &work.ui, &s, err);
    slv_work_end(&work);
    if (!rc) rc = write_signature(&s, path.data, err);
    if (!rc && cli->json) rc = print_json(&s, cli->args[0], path.data, false, err);
    else if (!rc) slv_log(SLV_LOG_INFO, "%s: signed by key %s", path.data, s.key);
    slv_key_close(k);
    slv_buf_fini(&path);
    return rc;
}

/* --- verify ----------------------------------------------------------------------------------- */

static int verify(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_pubs trusted = {0};
    struct slv_signature s = {0};
    struct slv_buf path;
    struct slv_work work;
    char when[SLV_CLI_TIME_MAX];
    int rc = sig_path(cli->args[0], o->sig, &path, err);
    if (!rc) rc = slv_signature_read(path.data, &s, err);
    if (!rc) rc = slv_store_pubs(o->pub, o->key, &trusted, err);
    slv_work_init(&work, cli);
    if (!rc) rc = slv_signature_verify(&s, &trusted, cli->args[0], &work.ui, err);
    slv_work_end(&work);
    if (!rc && cli->json) rc = print_json(&s, cli->args[0], path.data, true, err);
    else if (!rc)
        slv_log(SLV_LOG_INFO, "%s: as signed by key %s, %s", cli->args[0], s.key,
                slv_cli_time(s.time, when));
    slv_pubs_fini(&trusted);
    slv_buf_fini(&path);
    return rc;
}

/* --- rows ------------------------------------------------------------------------------------- */

static const struct slv_opt sign_rows[] = {
    SLV_CLI_KEY_ROW(struct opts),
    {"sig", 0, SLV_OPT_STR_AT(struct opts, sig), .arg = "FILE",
     .help = "the signature's file, in place of FILE.sig"},
};

static const struct slv_opt verify_rows[] = {
    {"pub", 0, SLV_OPT_STR_AT(struct opts, pub), .arg = "FILE|KEYID",
     .help = "trust the keys of this public key file, or this one among the trusted, and no other"},
    {"sig", 0, SLV_OPT_STR_AT(struct opts, sig), .arg = "FILE",
     .help = "the signature's file, in place of FILE.sig"},
    SLV_CLI_KEY_ROW(struct opts),
};

const struct slv_cmd slv_cmd_sign = {
    .name = "sign",
    .help = "sign a file with this device's key",
    .args = "FILE",
    .more = "The signature is a small text file, FILE.sig.",
    .min_args = 1,
    .max_args = 1,
    SLV_CMD_OPTS(sign_rows, struct opts),
    .fn = sign,
};

const struct slv_cmd slv_cmd_verify = {
    .name = "verify",
    .help = "check that a file is what a trusted key signed",
    .args = "FILE",
    .more =
        "Trusted are this device's own keys and those of 'selvage key trust'. Exit status 5: the "
        "key is not trusted, or the file is not what it signed; 3: the signature is malformed.",
    .min_args = 1,
    .max_args = 1,
    SLV_CMD_OPTS(verify_rows, struct opts),
    .fn = verify,
};
