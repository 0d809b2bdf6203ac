/* cmd_audit.c: selvage audit verify, show, checkpoint: the log of who asked which model when. */
#include "cli/cmd.h"
#include "cli/out.h"
#include "cli/trust.h"
#include "base/file.h"
#include "trust/audit.h"
#include "trust/audit_check.h"
#include "trust/audit_tail.h"

#include <inttypes.h>
#include <string.h>

#define TEXT_MAX ((size_t)1 << 20)

struct opts {
    const char *pub, *key;
    struct slv_opt_list checkpoints;
    int64_t from, last;
};

/* --- verify ----------------------------------------------------------------------------------- */

static int add_checkpoints(const struct opts *o, struct slv_audit_check *c, struct slv_err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < o->checkpoints.n; i++) {
        struct slv_buf text;
        slv_buf_init(&text, (size_t)16 << 20);
        rc = slv_file_read(o->checkpoints.v[i], &text, err);
        if (!rc) rc = slv_audit_check_add(c, text.data, text.len, o->checkpoints.v[i], err);
        slv_buf_fini(&text);
    }
    return rc;
}

static void put_found(const struct slv_audit_check *c, struct slv_json *j) {
    slv_json_str(j, "log", c->log);
    slv_json_str(j, "key", c->key);
    slv_json_uint(j, "first_segment", c->first_segment);
    slv_json_uint(j, "last_segment", c->segment);
    slv_json_uint(j, "records", c->records);
    slv_json_uint(j, "requests", c->requests);
    slv_json_uint(j, "signatures", c->signatures);
    slv_json_uint(j, "unsigned", c->not_signed);
    slv_json_uint(j, "torn", c->torn);
    slv_json_uint(j, "tail_bytes", c->tail);
    slv_json_uint(j, "checkpoints", c->n_checkpoints);
    slv_json_str(j, "begun", c->begun);
    slv_json_str(j, "ended", c->ended);
    slv_json_bool(j, "closed", c->closed);
    slv_json_uint(j, "last_record", c->next - 1);
    slv_json_str(j, "last_hash", c->hash);
}

/* Also of a log that was refused: then which record it is, and why. */
static int verify_json(const struct slv_audit_check *c, int rc, struct slv_err *err) {
    struct slv_buf out;
    struct slv_json j;
    slv_buf_init(&out, TEXT_MAX);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    slv_json_bool(&j, "valid", !rc);
    if (!rc) put_found(c, &j);
    if (rc == SLV_E_TRUST) slv_json_uint(&j, "record", c->bad);
    if (rc) slv_json_str(&j, "error", err->msg);
    slv_json_object_end(&j);
    int out_rc = slv_out_line(&out, rc ? NULL : err);
    slv_buf_fini(&out);
    return rc ? rc : out_rc;
}

static void verify_text(const struct slv_audit_check *c, const char *log) {
    slv_out_name(log, strlen(log));
    slv_out_printf(": %" PRIu64 " records, %s to %s\n", c->records, c->begun, c->ended);
    slv_out_printf("requests    %" PRIu64 "\nsegments    %" PRIu64 " to %" PRIu64 "\n", c->requests,
                   c->first_segment, c->segment);
    slv_out_printf("signatures  %" PRIu64 ", by key %s\n", c->signatures, c->key);
    if (c->not_signed)
        slv_out_printf("unsigned    the last %" PRIu64 " records: nothing vouches for them yet\n",
                       c->not_signed);
    if (c->torn) slv_out_printf("torn        %" PRIu64 " times, moved aside\n", c->torn);
    if (c->tail)
        slv_out_printf(
            "tail        %" PRIu64 " bytes are no whole record: being written, or torn\n", c->tail);
    if (!c->closed) slv_out_puts("open        it was not closed, or is being written\n");
    if (!c->n_checkpoints)
        slv_out_puts("checkpoint  none: that records were cut off its end cannot be seen\n");
}

static int verify(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_pubs trusted = {0};
    struct slv_audit_check c;
    struct slv_err why = {0};
    slv_audit_check_init(&c, &trusted);
    int rc = slv_store_pubs(o->pub, o->key, &trusted, &why);
    if (!rc) rc = add_checkpoints(o, &c, &why);
    if (!rc) rc = slv_audit_check_files(&c, cli->args[0], (uint64_t)o->from, &why);
    if (cli->json) rc = verify_json(&c, rc, &why);
    else if (!rc) verify_text(&c, cli->args[0]);
    slv_audit_check_fini(&c);
    slv_pubs_fini(&trusted);
    return rc ? slv_err_set(err, rc, "%s", why.msg) : 0;
}

/* --- show ------------------------------------------------------------------------------------- */

static void show_request(const struct slv_audit_line *l) {
    slv_out_name(l->model, strlen(l->model));
    slv_out_puts(" for ");
    slv_out_name(*l->who ? l->who : "-", *l->who ? strlen(l->who) : 1);
    slv_out_printf(": %" PRIu64 " + %" PRIu64 " tokens, %" PRIu64 " ms, ", l->prompt_tokens,
                   l->output_tokens, l->ms);
    slv_out_name(l->finish, strlen(l->finish));
    slv_out_printf(" %" PRIu64 "\n", l->status);
}

static void show_record(const struct slv_audit_line *l) {
    slv_out_printf("%8" PRIu64 "  %s  %-8s ", l->seq, l->time, slv_audit_type_name(l->type));
    if (l->type == SLV_AUDIT_REQUEST) show_request(l);
    else if (l->type == SLV_AUDIT_OPEN)
        slv_out_printf("segment %" PRIu64 " of log %s\n", l->segment, l->log);
    else if (l->type == SLV_AUDIT_START)
        slv_out_printf("opened again; %" PRIu64 " records before are not signed\n", l->not_signed);
    else if (l->type == SLV_AUDIT_SIGN) {
        slv_out_printf("by key %s: ", l->key);
        slv_out_name(l->why, strlen(l->why));
        slv_out_puts("\n");
    } else if (l->type == SLV_AUDIT_TORN)
        slv_out_printf("%" PRIu64 " bytes of an unfinished record were moved aside\n", l->bytes);
    else slv_out_printf("key %s\n", l->key);
}

/* A caller of slv_audit_tail. */
struct shown {
    const struct slv_cli *cli;
    const char *path;
};

static int show_line(void *ctx, const char *s, size_t n, struct slv_err *err) {
    const struct shown *to = ctx;
    struct slv_audit_line l;
    if (!slv_audit_line_read(s, n, &l))
        return slv_err_set(err, SLV_E_FORMAT, "%s: '%.*s': is not a record", to->path,
                           n < 40 ? (int)n : 40, s);
    if (!to->cli->json) {
        show_record(&l);
        return 0;
    }
    slv_out_write(s, n);
    slv_out_puts("\n");
    return 0;
}

static int show(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct shown to = {cli, cli->args[0]};
    return slv_audit_tail(cli->args[0], o->last ? (uint64_t)o->last : UINT64_MAX, show_line, &to,
                          err);
}

/* --- checkpoint ------------------------------------------------------------------------------- */

static int checkpoint(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_key *k = NULL;
    struct slv_buf out;
    slv_buf_init(&out, TEXT_MAX);
    int rc = slv_store_key_open(o->key, false, &k, err);
    if (!rc) rc = slv_audit_checkpoint(cli->args[0], (uint64_t)o->from, k, &out, err);
    if (!rc) slv_out_write(out.data, out.len);
    slv_key_close(k);
    slv_buf_fini(&out);
    return rc;
}

/* --- rows ------------------------------------------------------------------------------------- */

#define FROM_ROW                                                                                   \
    {                                                                                              \
        "from", 0, SLV_OPT_INT_AT(struct opts, from),                                              \
            .arg = "SEGMENT", .imin = 0, .imax = SLV_AUDIT_SEGMENTS_MAX,                           \
            .help = "begin with this segment: those before have been put away"                     \
    }

static const struct slv_opt verify_rows[] = {
    {"pub", 0, SLV_OPT_STR_AT(struct opts, pub), .arg = "FILE|KEYID",
     .help = "trust the keys of this public key file, or this one among the trusted, and no other"},
    {"checkpoint", 0, SLV_OPT_LIST_AT(struct opts, checkpoints), .arg = "FILE",
     .help = "what 'audit checkpoint' wrote, kept elsewhere: the log must have gone on from there; "
             "may be repeated"},
    FROM_ROW,
    SLV_CLI_KEY_ROW(struct opts),
};

static const struct slv_opt show_rows[] = {
    {"last", 'n', SLV_OPT_INT_AT(struct opts, last), .arg = "N", .imin = 1, .imax = INT64_MAX,
     .help = "only the last N records"},
};

static const struct slv_opt checkpoint_rows[] = {
    FROM_ROW,
    SLV_CLI_KEY_ROW(struct opts),
};

const struct slv_cmd slv_cmd_audit_verify = {
    .name = "audit verify",
    .help = "check that an audit log is what was written",
    .args = "LOG",
    .more =
        "LOG and its finished segments, LOG.000000 and so on, are one log. The first record that "
        "was changed, removed, moved, repeated or signed by another key is named, and the exit "
        "status is 5. That records were cut off its end shows against a checkpoint.",
    .min_args = 1,
    .max_args = 1,
    SLV_CMD_OPTS(verify_rows, struct opts),
    .fn = verify,
};

const struct slv_cmd slv_cmd_audit_show = {
    .name = "audit show",
    .help = "show the records of an audit log",
    .args = "LOG",
    .more = "With --json the lines as they are. Nothing is verified.",
    .min_args = 1,
    .max_args = 1,
    SLV_CMD_OPTS(show_rows, struct opts),
    .fn = show,
};

const struct slv_cmd slv_cmd_audit_checkpoint = {
    .name = "audit checkpoint",
    .help = "write a signed line that says where an audit log stands",
    .args = "LOG",
    .more =
        "Keep it where whoever can write the log cannot: 'audit verify --checkpoint' then shows "
        "if the log was cut off or replaced. The log is verified first.",
    .min_args = 1,
    .max_args = 1,
    SLV_CMD_OPTS(checkpoint_rows, struct opts),
    .fn = checkpoint,
};
