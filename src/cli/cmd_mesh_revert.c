/* cmd_mesh_revert.c: selvage mesh revert: a node that keeps a history of a space puts back what was
 * written to it, page by page (service_revert.c). */
#define _GNU_SOURCE /* strptime, timegm */
#include "base/amount.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/mesh.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "mesh/client.h"
#include "mesh/value.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

struct opts {
    const char *socket, *since, *by, *key, *prefix;
    bool dry_run, again;
};

struct job {
    const struct slv_cli *cli;
    const struct opts *o;
    int64_t since_ms, until_ms; /* until: 0 before the first page */
    char *after;                /* heap: the last key of the page before */
    uint64_t keys, left;
    int64_t excused; /* writes that were put back before, as the first page says */
};

static struct slv_str str(const char *s) { return (struct slv_str){s, strlen(s)}; }

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* "10m": so long ago; "2026-11-29T10:00:00Z", also with a fraction. */
static int read_since(const char *text, int64_t *ret_ms, struct slv_err *err) {
    const uint64_t ago = slv_amount_ms(str(text));
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    int64_t ms = 0;
    if (ago) {
        *ret_ms = now_ms() - (int64_t)ago;
        return 0;
    }
    if (rest && *rest == '.')
        for (int64_t unit = 100; *++rest >= '0' && *rest <= '9'; unit /= 10)
            ms += unit * (*rest - '0');
    if (!rest || strcmp(rest, "Z") != 0)
        return slv_err_set(err, SLV_E_USAGE,
                           "mesh revert: --since %s: how long ago (90s, 10m, 2h, 1d), or a time as "
                           "2026-11-29T10:00:00Z",
                           text);
    *ret_ms = (int64_t)timegm(&tm) * 1000 + ms;
    return 0;
}

static void write_question(const struct job *b, struct slv_buf *out) {
    const struct opts *o = b->o;
    struct slv_json j;
    slv_buf_init(out, (size_t)64 << 10);
    slv_json_init(&j, out);
    slv_json_object(&j, NULL);
    slv_json_int(&j, "since_ms", b->since_ms);
    if (b->until_ms) slv_json_int(&j, "until_ms", b->until_ms);
    if (o->by) slv_json_str(&j, "by", o->by);
    if (o->key) slv_json_str(&j, "key", o->key);
    if (o->prefix) slv_json_str(&j, "prefix", o->prefix);
    if (b->after) slv_json_str(&j, "after", b->after);
    if (o->again) slv_json_bool(&j, "again", true);
    if (o->dry_run) slv_json_bool(&j, "dry_run", true);
    slv_json_object_end(&j);
}

/* --- what was done ---------------------------------------------------------------------------- */

static void print_op(struct slv_str key, struct slv_json_val op) {
    struct slv_buf b;
    struct slv_json j;
    slv_buf_init(&b, (size_t)1 << 20);
    slv_json_init(&j, &b);
    slv_value_json(&j, NULL, op);
    slv_out_name(key.p, key.n);
    slv_out_printf("\t%s\n", b.status ? "" : b.data);
    slv_buf_fini(&b);
}

/* As lines of text; or each key an object. */
static int show_key(struct job *b, struct slv_json_val v, struct slv_err *err) {
    struct slv_json_iter it = {0};
    struct slv_json_val op;
    struct slv_str key = {"", 0};
    struct slv_buf line;
    struct slv_json j;
    int rc = 0;
    b->keys++;
    if (b->cli->json) {
        slv_buf_init(&line, (size_t)1 << 20);
        slv_json_init(&j, &line);
        slv_value_json(&j, NULL, v);
        rc = slv_out_line(&line, err);
        slv_buf_fini(&line);
        return rc;
    }
    slv_json_get_str(slv_json_get(v, "key"), &key);
    while (slv_json_each(slv_json_get(v, "ops"), &it, NULL, &op))
        print_op(key, op);
    return 0;
}

static void show_left(struct job *b, struct slv_json_val v) {
    struct slv_str key = {"", 0}, why = {"", 0};
    slv_json_get_str(slv_json_get(v, "key"), &key);
    slv_json_get_str(slv_json_get(v, "why"), &why);
    slv_log(SLV_LOG_WARN, "mesh revert: %.*s: left as it is: %.*s", (int)key.n, key.p, (int)why.n,
            why.p);
    b->left++;
}

static int show_page(struct job *b, struct slv_json_val v, struct slv_err *err) {
    struct slv_json_iter it = {0};
    struct slv_json_val x;
    struct slv_str after = {"", 0};
    int rc = 0;
    while (!rc && slv_json_each(slv_json_get(v, "keys"), &it, NULL, &x))
        rc = show_key(b, x, err);
    it = (struct slv_json_iter){0};
    while (slv_json_each(slv_json_get(v, "left"), &it, NULL, &x))
        show_left(b, x);
    if (!b->after) slv_json_get_i64(slv_json_get(v, "excused"), &b->excused);
    slv_mem_free(b->after);
    b->after = NULL;
    if (!slv_json_get_i64(slv_json_get(v, "until_ms"), &b->until_ms))
        return slv_err_set(err, SLV_E_FORMAT, "mesh revert: the node's answer lacks a time");
    if (rc || !slv_json_get_str(slv_json_get(v, "after"), &after)) return rc;
    b->after = slv_mem_strndup(after.p, after.n);
    return b->after ? 0 : slv_err_set(err, SLV_E_NOMEM, "mesh revert: out of memory");
}

/* --- the command ------------------------------------------------------------------------------ */

static int page(struct job *b, struct slv_err *err) {
    struct slv_buf path, body;
    struct slv_cli_reply r;
    slv_buf_init(&path, 4096);
    slv_client_target(&path, str(b->cli->args[0]), "revert", (struct slv_str){NULL, 0});
    write_question(b, &body);
    int rc = path.status ? path.status : body.status;
    if (rc) slv_err_set(err, rc, "mesh revert: a name is too long");
    else
        rc = slv_cli_mesh_ask(b->o->socket, "POST", path.data,
                              (struct slv_str){body.data, body.len}, &r, err);
    slv_buf_fini(&path);
    slv_buf_fini(&body);
    if (rc) return rc;
    rc = show_page(b, slv_json_root(&r.doc), err);
    slv_cli_reply_fini(&r);
    return rc;
}

static int revert(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct job b = {.cli = cli, .o = o};
    if (!o->since)
        return slv_err_set(err, SLV_E_USAGE, "mesh revert: --since: from when on, must be said");
    if (o->key && o->prefix)
        return slv_err_set(err, SLV_E_USAGE, "mesh revert: --key or --prefix, not both");
    int rc = slv_cli_mesh_key("--key", o->key, err);
    if (!rc) rc = slv_cli_mesh_node("--by", o->by, err);
    if (!rc) rc = slv_cli_mesh_utf8("--prefix", o->prefix, err);
    if (!rc) rc = read_since(o->since, &b.since_ms, err);
    if (!rc && b.since_ms > now_ms())
        rc = slv_err_set(err, SLV_E_USAGE, "mesh revert: --since %s: that is to come", o->since);
    slv_sig_watch();
    if (!rc) rc = page(&b, err);
    while (!rc && b.after && !slv_sig_seen())
        rc = page(&b, err);
    slv_sig_unwatch();
    if (!rc && b.after) rc = slv_err_set(err, SLV_E_CANCELLED, "mesh revert: stopped");
    slv_mem_free(b.after);
    if (!cli->json && (!rc || b.keys)) /* (refused before anything was done: there is no more) */
        slv_out_printf("%" PRIu64 " key%s %s\n", b.keys, b.keys == 1 ? "" : "s",
                       o->dry_run ? "would be put back" : "put back");
    if (b.excused)
        slv_log(SLV_LOG_WARN,
                "mesh revert: of the writes to this space, whatever their key, %" PRId64
                " %s said to have been put back before (--again takes them back once more)",
                b.excused, b.excused == 1 ? "is" : "are");
    if (!rc && b.left)
        rc = slv_err_set(err, SLV_E_BUSY, "mesh revert: %" PRIu64 " left as %s", b.left,
                         b.left == 1 ? "it is" : "they are");
    return rc;
}

static const struct slv_opt revert_rows[] = {
    {"socket", 0, SLV_OPT_STR_AT(struct opts, socket), .arg = "PATH",
     .help = "the node's; default: where `mesh up` puts it"},
    {"since", 0, SLV_OPT_STR_AT(struct opts, since), .arg = "TIME",
     .help = "what was written then or later is undone: 90s, 10m, 2h, 1d (ago), or "
             "2026-11-29T10:00:00Z"},
    {"by", 0, SLV_OPT_STR_AT(struct opts, by), .arg = "NODE",
     .help = "only what this node has written, as `mesh status` shows it; others' stays"},
    {"key", 0, SLV_OPT_STR_AT(struct opts, key), .arg = "KEY", .help = "only this key"},
    {"prefix", 0, SLV_OPT_STR_AT(struct opts, prefix), .arg = "TEXT",
     .help = "only keys that begin so"},
    {"again", 0, SLV_OPT_FLAG_AT(struct opts, again),
     .help = "also what is said to have been put back before, here or at another node"},
    {"dry-run", 'n', SLV_OPT_FLAG_AT(struct opts, dry_run),
     .help = "show what would be done, and do nothing"},
};

const struct slv_cmd slv_cmd_mesh_revert = {
    .name = "mesh revert",
    .help = "put keys of a space back to what they were",
    .args = "SPACE",
    .more = "Of a space that was declared with :history=TIME at this node. What is put back is "
            "written like anything else: it goes to all nodes, and can be undone the same way.",
    .min_args = 1,
    .max_args = 1,
    SLV_CMD_OPTS(revert_rows, struct opts),
    .fn = revert,
};
