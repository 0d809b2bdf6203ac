/* cmd_mesh_put.c: selvage mesh put: a write, made of a value and what the options say. What can be
 * seen to be wrong here is refused before the node is asked to write. */
#include "base/file.h"
#include "base/json.h"
#include "cli/cmd.h"
#include "cli/mesh.h"
#include "cli/out.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define VALUE_MOST ((size_t)16 << 20) /* a node takes less */

struct opts {
    const char *socket, *op, *pointer, *to, *expect, *session, *file;
    int64_t at, gone, epoch, keep, n, version, token, lease;
    double ttl, timeout;
};

/* What is not given is not sent: a number's least value is one that can be meant. */
static const struct slv_opt rows[] = {
    SLV_CLI_MESH_SOCKET_ROW(struct opts),
    SLV_CLI_MESH_TIMEOUT_ROW(struct opts),
    SLV_CLI_MESH_SESSION_ROW(struct opts),
    {"version", 0, SLV_OPT_INT_AT(struct opts, version), .arg = "N", .imin = 0, .imax = INT64_MAX,
     .help = "with --op cas: which one is replaced; 0: there is none"},
    {"expect", 0, SLV_OPT_STR_AT(struct opts, expect), .arg = "VALUE",
     .help = "with --op swap: which one is replaced"},
    {"ttl", 0, SLV_OPT_REAL_AT(struct opts, ttl), .arg = "SECONDS", .rmin = 0.001, .rmax = 2e6,
     .help = "of a lock or a lease, unless it is kept alive"},
    {"token", 0, SLV_OPT_INT_AT(struct opts, token), .arg = "N", .imin = 1, .imax = INT64_MAX,
     .help = "of a lock"},
    {"lease", 0, SLV_OPT_INT_AT(struct opts, lease), .arg = "N", .imin = 1, .imax = INT64_MAX,
     .help = "with which the key goes"},
    {"file", 0, SLV_OPT_STR_AT(struct opts, file), .arg = "FILE",
     .help = "VALUE is what this file has, as it is; -: standard input"},
    {"op", 0, SLV_OPT_STR_AT(struct opts, op), .arg = "NAME",
     .help = "what is done; default: the first that the type has (see docs/mesh.md)"},
    {"pointer", 0, SLV_OPT_STR_AT(struct opts, pointer), .arg = "POINTER",
     .help = "where in a document: /shelves/0/name"},
    {"at", 0, SLV_OPT_INT_AT(struct opts, at), .arg = "N", .imin = 0, .imax = INT64_MAX,
     .help = "before which element or character"},
    {"gone", 0, SLV_OPT_INT_AT(struct opts, gone), .arg = "N", .imin = 0, .imax = INT64_MAX,
     .help = "characters that an edit takes away"},
    {"to", 0, SLV_OPT_STR_AT(struct opts, to), .arg = "NODE",
     .help = "to which a part of a budget is given"},
    {"epoch", 0, SLV_OPT_INT_AT(struct opts, epoch), .arg = "N", .imin = 0, .imax = INT64_MAX,
     .help = "of a contribution to a vector"},
    {"keep", 0, SLV_OPT_INT_AT(struct opts, keep), .arg = "N", .imin = 0, .imax = INT64_MAX,
     .help = "epochs before this one go"},
    {"n", 0, SLV_OPT_INT_AT(struct opts, n), .arg = "N", .imin = 1, .imax = INT64_MAX,
     .help = "how often a text is counted in a top; default: once"},
};
#define ROWS (sizeof rows / sizeof rows[0])

static bool is_given(const struct slv_cli *cli, const char *option) {
    return slv_opt_given(rows, ROWS, cli->given, option);
}

/* --- the space -------------------------------------------------------------------------------- */

struct kind {
    char type[16];
    bool is_strong;
};

static int find_space(const struct opts *o, const char *space, struct kind *ret,
                      struct slv_err *err) {
    struct slv_cli_reply r;
    struct slv_json_iter it = {0};
    struct slv_json_val v;
    int rc = slv_cli_mesh_ask(o->socket, "GET", "/v1/spaces", (struct slv_str){"", 0}, &r, err);
    if (rc) return rc;
    rc = SLV_E_NOENT;
    while (rc && slv_json_each(slv_json_root(&r.doc), &it, NULL, &v)) {
        struct slv_str name, type, order;
        if (!slv_json_get_str(slv_json_get(v, "name"), &name) || !slv_str_is(name, space)) continue;
        if (!slv_json_get_str(slv_json_get(v, "type"), &type)) continue;
        rc = 0;
        snprintf(ret->type, sizeof ret->type, "%.*s", (int)type.n, type.p);
        ret->is_strong =
            slv_json_get_str(slv_json_get(v, "order"), &order) && slv_str_is(order, "strong");
    }
    slv_cli_reply_fini(&r);
    return rc ? slv_err_set(err, rc, "mesh: no such space: '%s'", space) : 0;
}

static bool is_any(const char *word, const char *const *of) {
    while (word && *of && strcmp(word, *of) != 0)
        of++;
    return word && *of;
}

/* Whether values of a space are strings, however they look. (Of a text so many characters are
 * removed; of a set an element.) */
static bool takes_strings(const struct slv_cli *cli, const struct opts *o, const struct kind *k) {
    static const char *const types[] = {"last", "many", "set", "text", "unique", "top", NULL};
    if (o->op && !strcmp(o->op, "remove") && is_given(cli, "at")) return false;
    return !k->is_strong && is_any(k->type, types);
}

/* Whether a value is JSON of any kind: what is none would be stored as a text, and nobody told. */
static bool takes_json(const struct opts *o, const struct kind *k) {
    static const char *const types[] = {"doc", "list", "vector", NULL};
    static const char *const texts[] = {"text", "edit", NULL};
    if (k->is_strong || !is_any(k->type, types)) return false;
    return strcmp(k->type, "doc") != 0 || !is_any(o->op, texts);
}

/* --- what is wanted --------------------------------------------------------------------------- */

static int check_utf8(const char *value, const struct opts *o, struct slv_err *err) {
    const struct {
        const char *name, *text;
    } texts[] = {
        {"VALUE", value}, {"--expect", o->expect}, {"--pointer", o->pointer},
        {"--to", o->to},  {"--op", o->op},
    };
    int rc = 0;
    for (size_t i = 0; !rc && i < sizeof texts / sizeof *texts; i++)
        rc = slv_cli_mesh_utf8(texts[i].name, texts[i].text, err);
    return rc;
}

/* The options without which an operation is none. */
static int check_options(const struct slv_cli *cli, const struct opts *o, const struct kind *k,
                         struct slv_err *err) {
    static const struct {
        const char *op, *option, *type; /* type: NULL: of a strong space */
    } needs[] = {
        {"cas", "version", NULL},  {"swap", "expect", NULL},     {"lock", "ttl", NULL},
        {"unlock", "token", NULL}, {"keepalive", "lease", NULL}, {"revoke", "lease", NULL},
        {"grant", "ttl", NULL},    {"give", "to", "budget"},
    };
    for (size_t i = 0; o->op && i < sizeof needs / sizeof *needs; i++) {
        const bool is_type =
            needs[i].type ? !k->is_strong && !strcmp(needs[i].type, k->type) : k->is_strong;
        if (is_type && !strcmp(needs[i].op, o->op) && !is_given(cli, needs[i].option))
            return slv_err_set(err, SLV_E_USAGE, "mesh put: --op %s wants --%s", o->op,
                               needs[i].option);
    }
    if (o->pointer && *o->pointer && *o->pointer != '/')
        return slv_err_set(err, SLV_E_USAGE, "mesh put: --pointer %s: it begins with '/'",
                           o->pointer);
    return o->op && !strcmp(o->op, "give") ? slv_cli_mesh_node("--to", o->to, err) : 0;
}

static int check_value(const char *value, const struct opts *o, const struct kind *k,
                       struct slv_err *err) {
    static const char *const sets[] = {"set", "cas", "swap", NULL};
    struct slv_json_doc doc = {0};
    struct slv_err why = {0};
    const bool json = takes_json(o, k), removes = o->op && !strcmp(o->op, "remove");
    const bool wants = k->is_strong ? !o->op || is_any(o->op, sets) : json && !removes;
    if (!value && wants) return slv_err_set(err, SLV_E_USAGE, "mesh put: a VALUE is wanted");
    if (!value || !json) return 0;
    int rc = slv_json_read(value, strlen(value), &doc, &why);
    if (rc && rc != SLV_E_NOMEM)
        rc = slv_err_set(err, SLV_E_USAGE,
                         "mesh put: a %s takes JSON, and VALUE is none: %s; a text is written in "
                         "quotes: '\"b\"'",
                         k->type, why.msg);
    else if (rc) slv_err_set(err, rc, "mesh put: out of memory");
    slv_json_doc_fini(&doc);
    return rc;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* JSON where it is and may be, else a string. */
static void add_value(struct slv_json *j, const char *name, const char *value, bool is_string) {
    struct slv_json_doc doc = {0};
    if (!is_string && !slv_json_read(value, strlen(value), &doc, NULL))
        slv_json_raw(j, name, value, strlen(value));
    else slv_json_str(j, name, value);
    slv_json_doc_fini(&doc);
}

static void make_op(const struct slv_cli *cli, const struct opts *o, const char *value,
                    bool is_string, struct slv_buf *b) {
    const struct {
        const char *name;
        int64_t v;
    } numbers[] = {{"at", o->at},     {"gone", o->gone},      {"epoch", o->epoch},
                   {"keep", o->keep}, {"token", o->token},    {"lease", o->lease},
                   {"n", o->n},       {"version", o->version}};
    struct slv_json j;
    slv_buf_init(b, (size_t)64 << 20);
    slv_json_init(&j, b);
    slv_json_object(&j, NULL);
    if (o->op) slv_json_str(&j, "op", o->op);
    if (value) add_value(&j, "value", value, is_string);
    if (o->expect) add_value(&j, "expect", o->expect, is_string);
    if (o->pointer) slv_json_str(&j, "pointer", o->pointer);
    if (o->to) slv_json_str(&j, "to", o->to);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (is_given(cli, numbers[i].name)) slv_json_int(&j, numbers[i].name, numbers[i].v);
    if (is_given(cli, "ttl")) slv_json_int(&j, "ttl_ms", (int64_t)(o->ttl * 1e3));
    slv_json_object_end(&j);
}

/* What a lock, a lease, an epoch is: later commands want it. */
static void print_gained(struct slv_json_val v) {
    static const char *const names[] = {"token", "lease", "epoch"};
    int64_t n;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (slv_json_get_i64(slv_json_get(v, names[i]), &n)) slv_out_printf("%" PRId64 "\n", n);
}

/* NULL: there is none. It is `text`'s, or an argument. */
static int find_value(const struct slv_cli *cli, const struct opts *o, struct slv_buf *text,
                      const char **ret, struct slv_err *err) {
    *ret = slv_cli_arg(cli, 2);
    if (!o->file) return 0;
    if (*ret)
        return slv_err_set(err, SLV_E_USAGE, "mesh put: VALUE and --file: one of them is wanted");
    int rc = slv_file_read(o->file, text, err);
    if (rc) return slv_err_prefix(err, rc, "mesh put");
    if (text->len && memchr(text->data, 0, text->len))
        return slv_err_set(err, SLV_E_USAGE, "mesh put: --file %s: it is no text", o->file);
    slv_buf_addc(text, '\0');
    *ret = text->data;
    return text->status ? slv_err_set(err, text->status, "mesh put: the value is too long") : 0;
}

static int write_key(const struct slv_cli *cli, const struct opts *o, const char *value,
                     struct slv_err *err) {
    const struct slv_cli_key key = {.socket = o->socket,
                                    .session = o->session,
                                    .space = cli->args[0],
                                    .key = cli->args[1],
                                    .timeout = o->timeout};
    struct kind k = {0};
    struct slv_cli_reply r;
    struct slv_buf body;
    int rc = check_utf8(value, o, err);
    if (!rc) rc = find_space(o, key.space, &k, err);
    if (!rc) rc = check_options(cli, o, &k, err);
    if (!rc) rc = check_value(value, o, &k, err);
    if (rc) return rc;
    make_op(cli, o, value, takes_strings(cli, o, &k), &body);
    rc = body.status
             ? slv_err_set(err, body.status, "mesh: the value is too long")
             : slv_cli_mesh_ask_key(&key, "PUT", (struct slv_str){body.data, body.len}, &r, err);
    slv_buf_fini(&body);
    if (rc) return rc;
    if (cli->json) rc = slv_cli_reply_print(&r, err);
    else print_gained(slv_json_root(&r.doc));
    slv_cli_reply_fini(&r);
    return rc;
}

static int put(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    const char *value;
    struct slv_buf text;
    slv_buf_init(&text, VALUE_MOST);
    int rc = find_value(cli, o, &text, &value, err);
    if (!rc) rc = write_key(cli, o, value, err);
    slv_buf_fini(&text);
    return rc;
}

const struct slv_cmd slv_cmd_mesh_put = {
    .name = "mesh put",
    .help = "write a key of the mesh",
    .args = "SPACE KEY [VALUE]",
    .more = "Ends when the write is on this machine's disk; it is on its way to the others then.\n"
            "What a doc, a list or a vector holds is JSON: a text is written in quotes, '\"b\"'.",
    .min_args = 2,
    .max_args = 3,
    SLV_CMD_OPTS(rows, struct opts),
    .fn = put,
};
