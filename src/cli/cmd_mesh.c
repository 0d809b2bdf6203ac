/* cmd_mesh.c: selvage mesh get, del, watch, status, found, lead: asking the node of this machine.
 * (put: cmd_mesh_put.c.) */
#define _GNU_SOURCE /* memmem */
#include "base/amount.h"
#include "base/json.h"
#include "cli/cmd.h"
#include "cli/mesh.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "mesh/client.h"
#include "store/local.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct opts {
    const char *socket, *session;
    int read;
    double timeout;
    bool anew, copy, other;
};

/* --- values ----------------------------------------------------------------------------------- */

/* Where a value begins and ends in the text it was read from: strings as they are. */
static void print_value(const char *text, struct slv_json_val v) {
    struct slv_str s;
    if (slv_json_get_str(v, &s)) slv_out_write(s.p, s.n);
    else slv_out_puts(text);
    slv_out_puts("\n");
}

/* The JSON of member "value", which is the last of its object. */
static char *value_text(const struct slv_cli_reply *r, struct slv_buf *b) {
    static const char name[] = "\"value\":";
    const char *at = strstr(r->text.data, name);
    size_t n = at ? strlen(at += sizeof name - 1) : 0;
    while (n && (at[n - 1] == '\n' || at[n - 1] == ' '))
        n--;
    slv_buf_init(b, (size_t)256 << 20);
    slv_buf_add(b, at ? at : "null", at ? n - 1 : 4);
    return b->data;
}

static struct slv_cli_key key_of(const struct slv_cli *cli, const struct opts *o) {
    static const char *const reads[] = {NULL, "leased", "local"}; /* (the first is meant anyway) */
    return (struct slv_cli_key){.socket = o->socket,
                                .session = o->session,
                                .space = cli->args[0],
                                .key = cli->args[1],
                                .read = reads[o->read],
                                .timeout = o->timeout};
}

static int get(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct slv_cli_reply r;
    struct slv_buf text;
    const struct slv_cli_key k = key_of(cli, opts);
    int rc = slv_cli_mesh_ask_key(&k, "GET", (struct slv_str){"", 0}, &r, err);
    if (rc) return rc;
    if (cli->json) {
        rc = slv_cli_reply_print(&r, err);
    } else {
        print_value(value_text(&r, &text), slv_json_get(slv_json_root(&r.doc), "value"));
        slv_buf_fini(&text);
    }
    slv_cli_reply_fini(&r);
    return rc;
}

static int del(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct slv_cli_reply r;
    const struct slv_cli_key k = key_of(cli, opts);
    int rc = slv_cli_mesh_ask_key(&k, "DELETE", (struct slv_str){"", 0}, &r, err);
    if (rc) return rc;
    if (cli->json) rc = slv_cli_reply_print(&r, err);
    slv_cli_reply_fini(&r);
    return rc;
}

/* --- watching --------------------------------------------------------------------------------- */

struct watching {
    bool json;
    struct slv_err *err;
    struct slv_buf said; /* what came that is no event: an error */
};

static int on_line(void *ctx, struct slv_str line) {
    struct watching *w = ctx;
    struct slv_json_doc doc = {0};
    struct slv_str key, told;
    if (!slv_client_event(line, &told)) {
        if (line.n && line.p[0] == '{') slv_buf_add(&w->said, line.p, line.n);
        return 0;
    }
    if (w->json) {
        slv_out_write(told.p, told.n);
        slv_out_puts("\n");
    } else if (!slv_json_read(told.p, told.n, &doc, NULL) &&
               slv_json_get_str(slv_json_get(slv_json_root(&doc), "key"), &key)) {
        /* {"key":"K","value":V} */
        const char *value = memmem(told.p, told.n, "\"value\":", 8);
        slv_out_name(key.p, key.n);
        slv_out_puts(" ");
        if (value) slv_out_write(value + 8, (size_t)(line.p + line.n - value) - 9);
        slv_out_puts("\n");
    }
    slv_json_doc_fini(&doc);
    return slv_out_flush(w->err);
}

static int watch(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct watching w = {.json = cli->json, .err = err};
    const char *space = cli->args[0];
    struct slv_buf path, at;
    long status = 0;
    int error = 0;
    slv_buf_init(&path, (size_t)64 << 10);
    slv_client_target(&path, (struct slv_str){space, strlen(space)}, "watch",
                      (struct slv_str){NULL, 0});
    slv_buf_init(&at, 4096);
    slv_buf_init(&w.said, 65536);
    int rc = path.status ? slv_err_set(err, path.status, "mesh: the space's name is too long")
                         : slv_cli_mesh_socket(o->socket, &at, err);
    const struct slv_local_request q = {
        .socket = at.data, .method = "GET", .path = path.data, .body = {"", 0}, .error = &error};
    slv_sig_watch();
    if (!rc) rc = slv_local_lines(&q, &status, on_line, &w, slv_sig_seen, err);
    slv_sig_unwatch();
    if (rc == SLV_E_CANCELLED) rc = 0;
    if (rc == SLV_E_NET && error) rc = slv_cli_mesh_no_node(at.data, error, err);
    else if (rc == SLV_E_NET) rc = slv_err_set(err, rc, "mesh: the node at %s has ended", at.data);
    if (!rc && status && status != 200)
        rc = slv_client_refused(path.data, (struct slv_str){w.said.data, w.said.len}, status, err);
    slv_buf_fini(&w.said);
    slv_buf_fini(&path);
    slv_buf_fini(&at);
    return rc;
}

/* --- status ----------------------------------------------------------------------------------- */

static struct slv_str text_of(struct slv_json_val v, const char *name) {
    struct slv_str s = {"", 0};
    slv_json_get_str(slv_json_get(v, name), &s);
    return s;
}

static double number_of(struct slv_json_val v, const char *name) {
    double d = 0;
    slv_json_get_f64(slv_json_get(v, name), &d);
    return d;
}

static void print_attested(struct slv_json_val v) {
    const struct slv_str id = text_of(v, "id"), why = text_of(v, "why");
    bool is_shown = false;
    slv_json_get_bool(slv_json_get(v, "attested"), &is_shown);
    slv_out_printf("attested %.*s  %s", (int)id.n, id.p, is_shown ? "yes" : "no: ");
    slv_out_name(why.p, why.n);
    slv_out_puts("\n");
}

/* A writer of a lost store, or of a revoked node. */
static void print_over(struct slv_json_val v) {
    const struct slv_str node = text_of(v, "node"), whom = text_of(v, "waits_for");
    const double waits = number_of(v, "waits");
    bool large = false;
    slv_json_get_bool(slv_json_get(v, "too_large"), &large);
    slv_out_printf("over     a writer of %.*s, %s", (int)node.n, node.p,
                   large ? "kept: it has more spaces or gaps than can be agreed on\n"
                         : "retired when ");
    if (large) return;
    if (waits > 1)
        slv_out_printf("%.0f members have said what they have of it: %.*s, and others\n", waits,
                       (int)whom.n, whom.p);
    else if (waits > 0) slv_out_printf("%.*s has said what it has of it\n", (int)whom.n, whom.p);
    else slv_out_puts("all members have all of it\n");
}

/* Times as `mesh up --space` takes them. */
static void print_space(struct slv_json_val v) {
    const struct slv_str name = text_of(v, "name"), type = text_of(v, "type"),
                         order = text_of(v, "order");
    const double ttl = number_of(v, "ttl_ms"), kept = number_of(v, "history_ms"),
                 n = number_of(v, "entries");
    char time[SLV_AMOUNT_MS_TEXT];
    bool full = false;
    slv_json_get_bool(slv_json_get(v, "full"), &full);
    slv_out_printf("space    %.*s: %.*s, %.*s, ", (int)name.n, name.p, (int)type.n, type.p,
                   (int)order.n, order.p);
    if (ttl > 0) slv_out_printf("each for %s, ", slv_amount_ms_text((uint64_t)ttl, time));
    if (kept > 0) slv_out_printf("history of %s, ", slv_amount_ms_text((uint64_t)kept, time));
    slv_out_printf("%.0f %s%s\n", n, n == 1 ? "entry" : "entries", full ? ", full" : "");
}

static void print_status(struct slv_json_val s) {
    struct slv_json_iter it = {0};
    struct slv_json_val v;
    bool on = false;
    const struct slv_str mesh = text_of(s, "mesh"), node = text_of(s, "node"),
                         outside = text_of(s, "outside");
    slv_json_get_bool(slv_json_get(s, "local_only"), &on);
    slv_out_printf("mesh     %.*s\nnode     %.*s%s\n", (int)mesh.n, mesh.p, (int)node.n, node.p,
                   on ? ", on its own: writes stay here until others are back" : "");
    if (outside.n) slv_out_printf("outside  %.*s\n", (int)outside.n, outside.p);
    while (slv_json_each(slv_json_get(s, "odd"), &it, NULL, &v)) {
        const struct slv_str id = text_of(v, "node"), says = text_of(v, "says");
        slv_out_printf("odd      %.*s %.*s\n", (int)id.n, id.p, (int)says.n, says.p);
    }
    it = (struct slv_json_iter){0};
    while (slv_json_each(slv_json_get(s, "members"), &it, NULL, &v)) {
        const struct slv_str id = text_of(v, "id"), state = text_of(v, "state");
        bool self = false;
        slv_json_get_bool(slv_json_get(v, "self"), &self);
        slv_out_printf("member   %.*s  %.*s", (int)id.n, id.p, (int)state.n, state.p);
        if (self) slv_out_puts(", this one\n");
        else slv_out_printf(", %.1f ms\n", number_of(v, "rtt_ms"));
    }
    it = (struct slv_json_iter){0};
    while (slv_json_each(slv_json_get(s, "attested"), &it, NULL, &v))
        print_attested(v);
    it = (struct slv_json_iter){0};
    while (slv_json_each(slv_json_get(s, "over"), &it, NULL, &v))
        print_over(v);
    if (number_of(s, "retired") > 0)
        slv_out_printf("retired  %.0f writer%s\n", number_of(s, "retired"),
                       number_of(s, "retired") > 1 ? "s" : "");
    it = (struct slv_json_iter){0};
    while (slv_json_each(slv_json_get(s, "spaces"), &it, NULL, &v))
        print_space(v);
}

/* Who leads the group of the strong spaces, and who is in it. */
static void print_group(struct slv_json_val g, struct slv_str node) {
    struct slv_json_iter it = {0};
    struct slv_json_val v;
    const struct slv_str leader = text_of(g, "leader"), role = text_of(g, "role");
    if (slv_json_kind(g) != SLV_JSON_OBJECT) return;
    const bool leads = leader.n && !slv_str_compare(leader, node);
    slv_out_printf("group    term %.0f, leader %.*s, this one: %.*s%s\n", number_of(g, "term"),
                   leader.n ? (int)leader.n : 4, leader.n ? leader.p : "none", (int)role.n, role.p,
                   leads ? ", leads" : "");
    const struct slv_str rival = text_of(g, "rival");
    if (rival.n)
        slv_out_printf("group    another one is led by %.*s: two were founded\n", (int)rival.n,
                       rival.p);
    while (slv_json_each(slv_json_get(g, "members"), &it, NULL, &v)) {
        const struct slv_str id = text_of(v, "id"), is = text_of(v, "role");
        slv_out_printf("         %.*s  %.*s\n", (int)id.n, id.p, (int)is.n, is.p);
    }
}

static int status(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_cli_reply r;
    int rc = slv_cli_mesh_ask(o->socket, "GET", "/v1/status", (struct slv_str){"", 0}, &r, err);
    if (rc) return rc;
    if (cli->json) rc = slv_cli_reply_print(&r, err);
    else {
        print_status(slv_json_root(&r.doc));
        print_group(slv_json_get(slv_json_root(&r.doc), "strong"),
                    text_of(slv_json_root(&r.doc), "node"));
    }
    slv_cli_reply_fini(&r);
    return rc;
}

/* --- the group -------------------------------------------------------------------------------- */

static int found(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_cli_reply r;
    const char *path = o->copy    ? "/v1/found?copy=true"
                       : o->anew  ? "/v1/found?anew=true"
                       : o->other ? "/v1/found?other=true"
                                  : "/v1/found";
    int rc = slv_cli_mesh_ask(o->socket, "POST", path, (struct slv_str){"", 0}, &r, err);
    if (rc) return rc;
    if (cli->json) rc = slv_cli_reply_print(&r, err);
    slv_cli_reply_fini(&r);
    return rc;
}

static int lead(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_cli_reply r;
    struct slv_buf body;
    struct slv_json j;
    char path[64];
    slv_buf_init(&body, 4096);
    slv_json_init(&j, &body);
    slv_json_object(&j, NULL);
    if (cli->nargs) slv_json_str(&j, "to", cli->args[0]);
    slv_json_object_end(&j);
    snprintf(path, sizeof path, "/v1/lead?timeout_ms=%.0f", o->timeout * 1e3);
    int rc = body.status ? slv_err_set(err, SLV_E_USAGE, "mesh lead: a node is 16 digits")
                         : slv_cli_mesh_ask(o->socket, "POST", path,
                                            (struct slv_str){body.data, body.len}, &r, err);
    slv_buf_fini(&body);
    if (rc) return rc;
    const struct slv_str id = text_of(slv_json_root(&r.doc), "leader");
    if (cli->json) rc = slv_cli_reply_print(&r, err);
    else slv_out_printf("%.*s\n", (int)id.n, id.p);
    slv_cli_reply_fini(&r);
    return rc;
}

/* --- the commands ----------------------------------------------------------------------------- */

#define SOCKET_ROW SLV_CLI_MESH_SOCKET_ROW(struct opts)
#define TIMEOUT_ROW SLV_CLI_MESH_TIMEOUT_ROW(struct opts)
#define SESSION_ROW SLV_CLI_MESH_SESSION_ROW(struct opts)

static const struct slv_opt socket_rows[] = {SOCKET_ROW};
static const struct slv_opt del_rows[] = {SOCKET_ROW, TIMEOUT_ROW, SESSION_ROW};

static const struct slv_opt get_rows[] = {
    SOCKET_ROW,
    TIMEOUT_ROW,
    SESSION_ROW,
    {"read", 0, SLV_OPT_CHOICE_AT(struct opts, read), .choices = "barrier|leased|local",
     .def = "barrier",
     .help =
         "of a strong space: barrier, leased (from a leader that has a lease), local (what this "
         "node has)"},
};

static const struct slv_opt found_rows[] = {
    SOCKET_ROW,
    {"anew", 0, SLV_OPT_FLAG_AT(struct opts, anew),
     .help = "even if this node was in a group, and has lost what it had of it"},
    {"from-copy", 0, SLV_OPT_FLAG_AT(struct opts, copy),
     .help = "out of what this node has of a group whose other voters are lost for good, most of "
             "them: what they had decided and this one had not heard of is lost, too"},
    {"give-up", 0, SLV_OPT_FLAG_AT(struct opts, other),
     .help = "this node's part in its group, with what it has of it, for another that is heard of: "
             "two were founded"},
};

static const struct slv_opt lead_rows[] = {
    SOCKET_ROW,
    {"timeout", 0, SLV_OPT_REAL_AT(struct opts, timeout), .arg = "SECONDS", .def = "10",
     .rmin = 0.01, .rmax = 3600, .help = "how long it is asked and waited for"},
};

const struct slv_cmd slv_cmd_mesh_get = {
    .name = "mesh get",
    .help = "read a key of the mesh",
    .args = "SPACE KEY",
    .min_args = 2,
    .max_args = 2,
    SLV_CMD_OPTS(get_rows, struct opts),
    .fn = get,
};

const struct slv_cmd slv_cmd_mesh_del = {
    .name = "mesh del",
    .help = "delete a key of the mesh",
    .args = "SPACE KEY",
    .min_args = 2,
    .max_args = 2,
    SLV_CMD_OPTS(del_rows, struct opts),
    .fn = del,
};

const struct slv_cmd slv_cmd_mesh_watch = {
    .name = "mesh watch",
    .help = "print keys of a space as they change",
    .args = "SPACE",
    .min_args = 1,
    .max_args = 1,
    SLV_CMD_OPTS(socket_rows, struct opts),
    .fn = watch,
};

const struct slv_cmd slv_cmd_mesh_status = {
    .name = "mesh status",
    .help = "show the node of this machine, its members and spaces",
    .args = "",
    SLV_CMD_OPTS(socket_rows, struct opts),
    .fn = status,
};

const struct slv_cmd slv_cmd_mesh_found = {
    .name = "mesh found",
    .help = "begin the group that agrees on strong spaces",
    .args = "",
    .more =
        "Once in the life of a mesh, at one node. The others join by themselves; up to seven of "
        "them vote (see --voters of `mesh up`), and the group goes on while more than half of "
        "those answer.\n"
        "--anew begins another one: what the first held is gone.",
    SLV_CMD_OPTS(found_rows, struct opts),
    .fn = found,
};

const struct slv_cmd slv_cmd_mesh_lead = {
    .name = "mesh lead",
    .help = "have this node, or another, lead the group of the strong spaces",
    .args = "[NODE]",
    .max_args = 1,
    .more =
        "Before a machine is worked on, or where the leader should be near. NODE is one of those "
        "that vote, as `mesh status` shows them; whoever leads hands over to it, and nothing that "
        "was written is lost. Its id is printed when it leads. A node that is stopped by SIGTERM "
        "hands over anyway, and so does one that does not get to run in time.",
    SLV_CMD_OPTS(lead_rows, struct opts),
    .fn = lead,
};
