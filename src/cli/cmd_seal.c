/* cmd_seal.c: selvage seal, selvage unseal: models that only some devices can read. */
#include "cli/cmd.h"
#include "cli/out.h"
#include "cli/trust.h"
#include "cli/work.h"
#include "base/log.h"
#include "trust/seal.h"

#include <unistd.h>

struct opts {
    const char *key;
    struct slv_opt_list to;
    bool self, force;
};

struct done {
    const char *in, *out;
    uint64_t size;
    const struct slv_pubs *to; /* NULL: unsealed */
};

static int report(const struct slv_cli *cli, const struct done *d, struct slv_err *err) {
    struct slv_buf out;
    struct slv_json j;
    char size[SLV_OUT_SIZE_MAX];
    if (!cli->json) {
        slv_log(SLV_LOG_INFO, "%s: %s %s", d->out, slv_out_size(d->size, size),
                d->to ? "sealed" : "unsealed");
        return 0;
    }
    slv_buf_init(&out, (size_t)1 << 20);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "in", d->in);
    slv_json_str(&j, "out", d->out);
    slv_json_uint(&j, "size", d->size);
    if (d->to) slv_json_array(&j, "for");
    for (size_t i = 0; d->to && i < d->to->n; i++)
        slv_json_str(&j, NULL, d->to->v[i].id);
    if (d->to) slv_json_array_end(&j);
    slv_json_object_end(&j);
    int rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

/* What is there already may be all that is left of something: it is not lost unasked. */
static int check_out(const struct opts *o, const char *out, struct slv_err *err) {
    if (o->force || access(out, F_OK)) return 0;
    return slv_err_set(err, SLV_E_USAGE, "%s: is there already: --force replaces it", out);
}

/* --- seal ------------------------------------------------------------------------------------- */

static int add(struct slv_pubs *to, const struct slv_pub *p, struct slv_err *err) {
    if (slv_pubs_find(to, p->id)) return 0; /* named twice */
    int rc = slv_pubs_add(to, p);
    return rc ? slv_err_set(err, rc, "seal: %s", slv_strerror(rc)) : 0;
}

static int add_self(const struct opts *o, struct slv_pubs *to, struct slv_err *err) {
    struct slv_key *k = NULL;
    int rc = slv_store_key_open(o->key, true, &k, err);
    if (!rc) rc = add(to, slv_key_pub(k), err);
    slv_key_close(k);
    return rc;
}

static int recipients(const struct opts *o, struct slv_pubs *to, struct slv_err *err) {
    int rc = !o->to.n || o->self ? add_self(o, to, err) : 0;
    for (size_t i = 0; !rc && i < o->to.n; i++) {
        struct slv_pub p;
        rc = slv_store_pub(o->to.v[i], o->key, &p, err);
        if (!rc) rc = add(to, &p, err);
    }
    return rc;
}

static int seal(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_pubs to = {0};
    struct slv_work work;
    struct done d = {cli->args[0], cli->args[1], 0, &to};
    int rc = check_out(o, d.out, err);
    if (!rc) rc = recipients(o, &to, err);
    slv_work_init(&work, cli);
    if (!rc) rc = slv_seal_file(d.in, d.out, &to, &work.ui, &d.size, err);
    slv_work_end(&work);
    if (!rc) rc = report(cli, &d, err);
    slv_pubs_fini(&to);
    return rc;
}

/* --- unseal ----------------------------------------------------------------------------------- */

static int unseal(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_key *k = NULL;
    struct slv_work work;
    struct done d = {cli->args[0], cli->args[1], 0, NULL};
    int rc = check_out(o, d.out, err);
    if (!rc) rc = slv_store_key_open(o->key, false, &k, err);
    slv_work_init(&work, cli);
    if (!rc) rc = slv_unseal_file(d.in, d.out, k, &work.ui, &d.size, err);
    slv_work_end(&work);
    if (!rc) rc = report(cli, &d, err);
    slv_key_close(k);
    return rc;
}

/* --- rows ------------------------------------------------------------------------------------- */

#define FORCE_ROW                                                                                  \
    { "force", 0, SLV_OPT_FLAG_AT(struct opts, force), .help = "replace OUT if it is there" }

static const struct slv_opt seal_rows[] = {
    {"for", 0, SLV_OPT_LIST_AT(struct opts, to), .arg = "FILE|KEYID",
     .help = "seal for the newest key of this public key file, or for this one of those that are "
             "trusted, in place of this device; may be repeated"},
    {"self", 0, SLV_OPT_FLAG_AT(struct opts, self), .help = "with --for: for this device too"},
    FORCE_ROW,
    SLV_CLI_KEY_ROW(struct opts),
};

static const struct slv_opt unseal_rows[] = {
    FORCE_ROW,
    SLV_CLI_KEY_ROW(struct opts),
};

const struct slv_cmd slv_cmd_seal = {
    .name = "seal",
    .help = "encrypt a file for this device, or for others",
    .args = "IN OUT",
    .more =
        "IN '-' is standard input. OUT can be read by the devices it is sealed for and by nobody "
        "else, and no byte of it can change unnoticed. It does not say who sealed it: sign it.\n"
        "IN stays as it is.",
    .min_args = 2,
    .max_args = 2,
    SLV_CMD_OPTS(seal_rows, struct opts),
    .fn = seal,
};

const struct slv_cmd slv_cmd_unseal = {
    .name = "unseal",
    .help = "decrypt a file that was sealed for this device",
    .args = "IN OUT",
    .more = "OUT appears when every block was good. Exit status 5: it is sealed for others, or is "
            "not what was sealed; 3: it is no sealed file.",
    .min_args = 2,
    .max_args = 2,
    SLV_CMD_OPTS(unseal_rows, struct opts),
    .fn = unseal,
};
