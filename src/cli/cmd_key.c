/* cmd_key.c: selvage key new, show, rotate, trust: the device key, and whose keys are trusted. */
#include "config.h"
#include "cli/cmd.h"
#include "cli/out.h"
#include "cli/trust.h"
#include "base/file.h"
#include "base/log.h"

#include <string.h>
#include <unistd.h>

#define TEXT_MAX ((size_t)1 << 20)

struct opts {
    const char *key;
    bool force, forget, public, tpm;
};

/* --- showing ---------------------------------------------------------------------------------- */

static int print_json(const struct slv_key *k, const char *path, struct slv_err *err) {
    const struct slv_pubs *all = slv_key_pubs(k);
    struct slv_buf out;
    struct slv_json j;
    slv_buf_init(&out, TEXT_MAX);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    slv_cli_pub_json(slv_key_pub(k), &j);
    slv_json_str(&j, "path", path);
    slv_json_bool(&j, "tpm", slv_key_in_tpm(k));
    slv_json_array(&j, "keys");
    for (size_t i = 0; i < all->n; i++) {
        slv_json_object(&j, NULL);
        slv_cli_pub_json(&all->v[i], &j);
        slv_json_bool(&j, "secret", slv_key_has_secret(k, i));
        slv_json_object_end(&j);
    }
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    int rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

static int print_text(const struct slv_key *k, const char *path) {
    const struct slv_pubs *all = slv_key_pubs(k);
    const struct slv_pub *p = slv_key_pub(k);
    char hex[SLV_HEX(SLV_PUB_BYTES)], when[SLV_CLI_TIME_MAX];
    slv_hex_write(p->key, sizeof p->key, hex);
    slv_out_printf("id       %s\npublic   %s\ncreated  %s\nfile     ", p->id, hex,
                   slv_cli_time(p->created, when));
    slv_out_name(path, strlen(path));
    slv_out_puts(slv_key_in_tpm(k) ? ", secret in the TPM\n" : "\n");
    for (size_t i = all->n - 1; i-- > 0;)
        slv_out_printf("earlier  %s, of %s%s\n", all->v[i].id,
                       slv_cli_time(all->v[i].created, when),
                       slv_key_has_secret(k, i) ? "" : ", forgotten");
    return 0;
}

static int print_public(const struct slv_key *k, struct slv_err *err) {
    struct slv_buf out;
    slv_buf_init(&out, TEXT_MAX);
    int rc = slv_pubs_write(slv_key_pubs(k), &out);
    if (rc) slv_err_set(err, rc, "key: %s", slv_strerror(rc));
    else slv_out_write(out.data, out.len);
    slv_buf_fini(&out);
    return rc;
}

static int print_key(const struct slv_cli *cli, const struct slv_key *k, const char *path,
                     struct slv_err *err) {
    return cli->json ? print_json(k, path, err) : print_text(k, path);
}

/* --- commands --------------------------------------------------------------------------------- */

static int make(const struct opts *o, const char *path, struct slv_key **ret, struct slv_err *err) {
    struct slv_key *k = NULL;
    int rc = o->tpm ? slv_key_new_tpm(&k, err) : slv_key_new(&k, err);
    if (!rc) rc = slv_key_save(k, path, o->force, err);
    if (rc == SLV_E_USAGE)
        slv_err_set(err, rc,
                    "key new: %s: there is a key already: 'selvage key rotate' keeps what "
                    "was signed and sealed with it; --force loses it",
                    path);
    if (rc) slv_key_close(k);
    else *ret = k;
    return rc;
}

static int new_key(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_key *k = NULL;
    struct slv_buf path;
    slv_buf_init(&path, 8192);
    int rc = slv_store_keys_path(o->key, SLV_STORE_DEVICE_KEY, &path, err);
    if (!rc) rc = make(o, path.data, &k, err);
    if (!rc) rc = print_key(cli, k, path.data, err);
    slv_key_close(k);
    slv_buf_fini(&path);
    return rc;
}

static int show_key(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_key *k = NULL;
    struct slv_buf path;
    if (o->public && cli->json)
        return slv_err_set(err, SLV_E_USAGE, "key show: --public: is a file of its own, not JSON");
    slv_buf_init(&path, 8192);
    int rc = slv_store_keys_path(o->key, SLV_STORE_DEVICE_KEY, &path, err);
    if (!rc) rc = slv_key_open(path.data, true, &k, err);
    if (!rc) rc = o->public ? print_public(k, err) : print_key(cli, k, path.data, err);
    slv_key_close(k);
    slv_buf_fini(&path);
    return rc;
}

static int rotate_key(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_key *k = NULL;
    struct slv_buf path;
    slv_buf_init(&path, 8192);
    int rc = slv_store_keys_path(o->key, SLV_STORE_DEVICE_KEY, &path, err);
    if (!rc) rc = slv_key_rotate(path.data, o->forget, &k, err);
    if (!rc) rc = print_key(cli, k, path.data, err);
    slv_key_close(k);
    slv_buf_fini(&path);
    return rc;
}

/* What is trusted of a device already must be the beginning of what it shows now: another history
 * under the same first key is not its own. */
static int check_extends(const char *path, const struct slv_pubs *now, struct slv_err *err) {
    struct slv_pubs old = {0};
    if (access(path, F_OK)) return 0;
    int rc = slv_pubs_read_file(&old, path, err);
    for (size_t i = 0; !rc && i < old.n; i++)
        if (i >= now->n || memcmp(old.v[i].key, now->v[i].key, SLV_PUB_BYTES))
            rc =
                slv_err_set(err, SLV_E_TRUST,
                            "%s: the keys trusted of this device so far are not in the file", path);
    slv_pubs_fini(&old);
    return rc;
}

static int keep_trusted(const struct slv_pubs *s, const char *folder, struct slv_buf *path,
                        struct slv_err *err) {
    struct slv_buf text;
    slv_buf_init(&text, TEXT_MAX);
    int rc = slv_pubs_write(s, &text);
    if (!rc) rc = slv_buf_addf(path, "%s/%s" SLV_PUB_SUFFIX, folder, s->v[0].id);
    if (rc) slv_err_set(err, rc, "key trust: %s", slv_strerror(rc));
    if (!rc) rc = slv_folder_make(folder, 0700, err);
    if (!rc) rc = check_extends(path->data, s, err);
    if (!rc) rc = slv_file_write(path->data, text.data, text.len, 0600, err);
    slv_buf_fini(&text);
    return rc;
}

static int report_trusted(const struct slv_cli *cli, const struct slv_pub *p, const char *path,
                          struct slv_err *err) {
    struct slv_buf out;
    struct slv_json j;
    if (!cli->json) {
        slv_log(SLV_LOG_INFO, "%s: what this key signs is trusted from now on", p->id);
        return 0;
    }
    slv_buf_init(&out, TEXT_MAX);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    slv_cli_pub_json(p, &j);
    slv_json_str(&j, "path", path);
    slv_json_object_end(&j);
    int rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

static int trust_key(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct slv_pubs s = {0};
    struct slv_buf folder, path;
    (void)opts;
    slv_buf_init(&folder, 8192);
    slv_buf_init(&path, 8192);
    int rc = slv_store_keys_path(NULL, SLV_STORE_TRUSTED, &folder, err);
    if (!rc) rc = slv_pubs_read_file(&s, cli->args[0], err);
    if (!rc) rc = keep_trusted(&s, folder.data, &path, err);
    if (!rc) rc = report_trusted(cli, &s.v[s.n - 1], path.data, err);
    slv_pubs_fini(&s);
    slv_buf_fini(&folder);
    slv_buf_fini(&path);
    return rc;
}

/* --- rows ------------------------------------------------------------------------------------- */

static const struct slv_opt new_rows[] = {
    SLV_CLI_KEY_ROW(struct opts),
#ifdef SLV_TPM
    {"tpm", 0, SLV_OPT_FLAG_AT(struct opts, tpm),
     .help = "the secret is kept by this machine's TPM 2.0 ($SELVAGE_TPM names another one): the "
             "file is of no use on another machine, or once the TPM is cleared"},
#endif
    {"force", 0, SLV_OPT_FLAG_AT(struct opts, force),
     .help = "replace a key that is there: what is sealed for it stays shut for good"},
};

static const struct slv_opt show_rows[] = {
    SLV_CLI_KEY_ROW(struct opts),
    {"public", 0, SLV_OPT_FLAG_AT(struct opts, public),
     .help = "write the public key file, for others to trust and to seal for"},
};

static const struct slv_opt rotate_rows[] = {
    SLV_CLI_KEY_ROW(struct opts),
    {"forget", 0, SLV_OPT_FLAG_AT(struct opts, forget),
     .help = "drop the old secrets too: what is sealed for them stays shut for good"},
};

const struct slv_cmd slv_cmd_key_new = {
    .name = "key new",
    .help = "make this device's key",
    .args = "",
    .more = "An Ed25519 key that signs files and audit logs, and that models are sealed for. The "
            "file is for its owner only: one that others may read is refused with exit status 5.",
    SLV_CMD_OPTS(new_rows, struct opts),
    .fn = new_key,
};

const struct slv_cmd slv_cmd_key_show = {
    .name = "key show",
    .help = "show this device's key, without its secret",
    .args = "",
    SLV_CMD_OPTS(show_rows, struct opts),
    .fn = show_key,
};

const struct slv_cmd slv_cmd_key_rotate = {
    .name = "key rotate",
    .help = "put a new key in use, signed by the old one",
    .args = "",
    .more = "What old keys signed still verifies, and what was sealed for them still opens, unless "
            "--forget is given. Hand out the public key file anew: whoever trusts the old one "
            "takes it.",
    SLV_CMD_OPTS(rotate_rows, struct opts),
    .fn = rotate_key,
};

const struct slv_cmd slv_cmd_key_trust = {
    .name = "key trust",
    .help = "trust the keys of a public key file",
    .args = "FILE",
    .more = "FILE is what 'selvage key show --public' wrote on another device. It is kept in "
            "keys/trusted in the store; to trust it no longer, remove it there.",
    .min_args = 1,
    .max_args = 1,
    .fn = trust_key,
};
