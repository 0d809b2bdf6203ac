/* cmd_mesh_roster.c: selvage mesh admit, revoke, invite, roster: who is a member of a mesh, said by
 * its authority. The authority's secret is used here and stays here; the node of this machine is
 * given what was signed, and passes it on. */
#include "base/amount.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/cmd.h"
#include "cli/mesh.h"
#include "cli/out.h"
#include "cli/trust.h"
#include "mesh/invite.h"
#include "store/keys.h"
#include "trust/fields.h"
#include "trust/key.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct opts {
    const char *socket, *key, *name, *lasts;
    struct slv_opt_list write, peer, aks, binaries, policies;
    bool no_vote, no_repair, any_ak;
};

/* --- the node's side -------------------------------------------------------------------------- */

struct view {
    struct slv_cli_reply reply;
    struct slv_json_val root;
    uint64_t most; /* the highest number of a statement */
};

static int look(const struct opts *o, struct view *v, struct slv_err *err) {
    struct slv_json_iter it = {0};
    struct slv_json_val m;
    int64_t n;
    *v = (struct view){0};
    const int rc =
        slv_cli_mesh_ask(o->socket, "GET", "/v1/roster", (struct slv_str){"", 0}, &v->reply, err);
    if (rc) return rc;
    v->root = slv_json_root(&v->reply.doc);
    while (slv_json_each(slv_json_get(v->root, "members"), &it, NULL, &m))
        if (slv_json_get_i64(slv_json_get(m, "number"), &n) && n > 0 && (uint64_t)n > v->most)
            v->most = (uint64_t)n;
    return 0;
}

static struct slv_str text_of(struct slv_json_val v, const char *name) {
    struct slv_str s = {"", 0};
    slv_json_get_str(slv_json_get(v, name), &s);
    return s;
}

static int tell(const struct opts *o, const struct slv_buf *statement, struct slv_err *err) {
    char hex[SLV_HEX(SLV_STATEMENT_MAX)];
    struct slv_cli_reply r;
    struct slv_buf b;
    struct slv_json j;
    if (statement->len > SLV_STATEMENT_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "mesh: too many spaces");
    slv_hex_write(statement->data, statement->len, hex);
    slv_buf_init(&b, 4 * SLV_STATEMENT_MAX);
    slv_json_init(&j, &b);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "statement", hex);
    slv_json_object_end(&j);
    const int rc =
        slv_cli_mesh_ask(o->socket, "POST", "/v1/roster", (struct slv_str){b.data, b.len}, &r, err);
    slv_buf_fini(&b);
    if (!rc) slv_cli_reply_fini(&r);
    return rc;
}

/* --- statements ------------------------------------------------------------------------------- */

static int sign(const struct opts *o, struct slv_str mesh, struct slv_buf *statement,
                struct slv_err *err) {
    uint8_t sig[SLV_ROSTER_SIG];
    struct slv_key *key = NULL;
    struct slv_buf b;
    slv_buf_init(&b, 2 * SLV_STATEMENT_MAX);
    slv_statement_signed(mesh, (struct slv_str){statement->data, statement->len}, &b);
    int rc = b.status ? slv_err_set(err, b.status, "mesh: out of memory") : 0;
    if (!rc) rc = slv_store_key_open(o->key, false, &key, err);
    if (!rc) rc = slv_key_sign(key, b.data, b.len, sig, err);
    if (!rc) slv_buf_add(statement, (const char *)sig, sizeof sig);
    slv_key_close(key);
    slv_buf_fini(&b);
    return rc ? rc : statement->status;
}

/* "SPACE", "SPACE/PREFIX" */
static int read_scopes(const struct opts *o, struct slv_statement *s, struct slv_err *err) {
    s->flags = (o->write.n ? 0 : SLV_MAY_WRITE_ALL) | (o->no_vote ? 0 : SLV_MAY_VOTE) |
               (o->no_repair || o->write.n ? 0 : SLV_MAY_REPAIR);
    if (o->write.n > SLV_ROSTER_SCOPES_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "mesh: more than %u of --write",
                           SLV_ROSTER_SCOPES_MAX);
    for (size_t i = 0; i < o->write.n; i++) {
        const char *text = o->write.v[i], *slash = strchr(text, '/');
        const size_t n = slash ? (size_t)(slash - text) : strlen(text);
        s->scope[i].space = (struct slv_str){text, n};
        s->scope[i].prefix =
            slash ? (struct slv_str){slash + 1, strlen(slash + 1)} : (struct slv_str){"", 0};
        if (!n || n > 64 || s->scope[i].prefix.n > SLV_ROSTER_PREFIX_MAX)
            return slv_err_set(err, SLV_E_USAGE, "mesh: --write %s: not SPACE or SPACE/PREFIX",
                               text);
        s->n_scope++;
    }
    return 0;
}

/* What a condition's lists borrow. */
struct wanted {
    uint8_t aks[SLV_ROSTER_DIGESTS_MAX][SLV_ROSTER_DIGEST];
    uint8_t binaries[SLV_ROSTER_DIGESTS_MAX][SLV_ROSTER_DIGEST];
    uint8_t policies[SLV_ROSTER_DIGESTS_MAX][SLV_ROSTER_DIGEST];
};

static int read_digests(const char *option, const struct slv_opt_list *l,
                        uint8_t (*v)[SLV_ROSTER_DIGEST], struct slv_digests *ret,
                        struct slv_err *err) {
    if (l->n > SLV_ROSTER_DIGESTS_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "mesh: more than %u of --%s", SLV_ROSTER_DIGESTS_MAX,
                           option);
    for (size_t i = 0; i < l->n; i++)
        if (strlen(l->v[i]) != 2 * SLV_ROSTER_DIGEST ||
            !slv_hex_read(l->v[i], v[i], SLV_ROSTER_DIGEST))
            return slv_err_set(
                err, SLV_E_USAGE,
                "mesh: --%s %s: 64 hexadecimal digits are wanted, as `selvage attest "
                "show` and `mesh up --attest` print them",
                option, l->v[i]);
    *ret = (struct slv_digests){(const uint8_t(*)[SLV_ROSTER_DIGEST])v, slv_digests_sort(v, l->n)};
    return 0;
}

static int read_condition(const struct opts *o, struct wanted *w, struct slv_statement *s,
                          struct slv_err *err) {
    struct slv_condition *c = &s->condition;
    s->is_conditional = o->aks.n || o->any_ak || o->binaries.n || o->policies.n;
    if (!s->is_conditional) return 0;
    if (o->any_ak && o->aks.n)
        return slv_err_set(err, SLV_E_USAGE, "mesh: --any-ak does not go with --ak");
    if (!o->any_ak && !o->aks.n)
        return slv_err_set(err, SLV_E_USAGE,
                           "mesh: --binary and --policy want --ak, the attestation key of the "
                           "machine; with --any-ak anybody can make up what they say");
    c->any_ak = o->any_ak;
    int rc = read_digests("ak", &o->aks, w->aks, &c->aks, err);
    if (!rc) rc = read_digests("binary", &o->binaries, w->binaries, &c->binaries, err);
    if (!rc) rc = read_digests("policy", &o->policies, w->policies, &c->policies, err);
    return rc;
}

static int read_key(const char *text, uint8_t ret[SLV_ROSTER_KEY], struct slv_err *err) {
    if (strlen(text) != 2 * SLV_ROSTER_KEY || !slv_hex_read(text, ret, SLV_ROSTER_KEY))
        return slv_err_set(err, SLV_E_USAGE,
                           "mesh: %s: a key is 64 hexadecimal digits, as `selvage key show` has "
                           "them behind \"public\"",
                           text);
    return 0;
}

static int state(const struct opts *o, struct slv_statement *s, const struct view *v,
                 struct slv_err *err) {
    struct slv_buf b;
    s->number = v->most + 1;
    slv_buf_init(&b, SLV_STATEMENT_MAX + SLV_ROSTER_SIG);
    int rc = slv_statement_write(s, &b);
    if (rc) slv_err_set(err, rc, "mesh: too much for a statement");
    if (!rc) rc = sign(o, text_of(v->root, "mesh"), &b, err);
    if (!rc) rc = tell(o, &b, err);
    slv_buf_fini(&b);
    return rc;
}

/* --- the commands' work ----------------------------------------------------------------------- */

/* The key that is named, or the node's own. */
static int whose(const struct slv_cli *cli, const struct view *v, uint8_t ret[SLV_ROSTER_KEY],
                 struct slv_err *err) {
    char hex[2 * SLV_ROSTER_KEY + 1] = "";
    const struct slv_str own = text_of(v->root, "key");
    const char *given = slv_cli_arg(cli, 0);
    if (own.n == sizeof hex - 1) memcpy(hex, own.p, own.n);
    return read_key(given ? given : hex, ret, err);
}

static int read_name(const struct opts *o, const char *command, struct slv_statement *s,
                     struct slv_err *err) {
    if (o->name) s->name = (struct slv_str){o->name, strlen(o->name)};
    if (s->name.n > SLV_ROSTER_NAME_MAX)
        return slv_err_set(err, SLV_E_USAGE, "%s: --name: longer than %u bytes", command,
                           SLV_ROSTER_NAME_MAX);
    return slv_cli_mesh_utf8("--name", o->name, err);
}

/* What the roster says of a key; of kind SLV_JSON_NONE: nothing. */
static struct slv_json_val member_of(const struct view *v, const uint8_t key[SLV_ROSTER_KEY]) {
    struct slv_json_iter it = {0};
    struct slv_json_val m;
    char hex[2 * SLV_ROSTER_KEY + 1];
    slv_hex_write(key, SLV_ROSTER_KEY, hex);
    while (slv_json_each(slv_json_get(v->root, "members"), &it, NULL, &m))
        if (slv_str_is(text_of(m, "key"), hex)) return m;
    return (struct slv_json_val){0};
}

static bool has_space(struct slv_json_val spaces, struct slv_str name) {
    struct slv_json_iter it = {0};
    struct slv_json_val s;
    while (slv_json_each(spaces, &it, NULL, &s))
        if (!slv_str_compare(text_of(s, "name"), name)) return true;
    return false;
}

/* It may be that only others have it; more often it is misspelled. */
static void note_spaces(const struct opts *o, const struct slv_statement *s) {
    struct slv_cli_reply r;
    struct slv_err err = {0};
    if (!s->n_scope ||
        slv_cli_mesh_ask(o->socket, "GET", "/v1/spaces", (struct slv_str){"", 0}, &r, &err))
        return;
    for (size_t i = 0; i < s->n_scope; i++) {
        const struct slv_str name = s->scope[i].space;
        if (!has_space(slv_json_root(&r.doc), name))
            slv_log(SLV_LOG_WARN, "mesh: --write %.*s: the node of this machine has no such space",
                    (int)name.n, name.p);
    }
    slv_cli_reply_fini(&r);
}

static int admit(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_statement s = {.kind = SLV_MEMBER};
    struct wanted w;
    struct view v;
    int rc = read_name(o, "mesh admit", &s, err);
    if (!rc) rc = read_scopes(o, &s, err);
    if (!rc) rc = read_condition(o, &w, &s, err);
    if (!rc) rc = look(o, &v, err);
    if (rc) return rc;
    rc = whose(cli, &v, s.key, err);
    if (!o->name) s.name = text_of(member_of(&v, s.key), "name"); /* it stays what it is called */
    if (!rc) rc = state(o, &s, &v, err);
    slv_cli_reply_fini(&v.reply);
    if (!rc) note_spaces(o, &s);
    return rc;
}

/* What it could write stays said, for what members have of it. */
static int take_rights(struct slv_json_val m, struct slv_statement *s) {
    struct slv_json_iter it = {0};
    struct slv_json_val w;
    bool on = false;
    if (slv_json_get_bool(slv_json_get(m, "all"), &on) && on) s->flags |= SLV_MAY_WRITE_ALL;
    s->name = text_of(m, "name");
    while (slv_json_each(slv_json_get(m, "writes"), &it, NULL, &w)) {
        if (s->n_scope == SLV_ROSTER_SCOPES_MAX) return SLV_E_LIMIT;
        s->scope[s->n_scope++] = (struct slv_scope){text_of(w, "space"), text_of(w, "prefix")};
    }
    return 0;
}

/* A key, or that of an invitation's line. */
static int read_whom(const char *text, uint8_t ret[SLV_ROSTER_KEY], struct slv_err *err) {
    struct slv_invite i;
    if (strncmp(text, SLV_INVITE_MARK, sizeof SLV_INVITE_MARK - 1) != 0)
        return read_key(text, ret, err);
    const int rc = slv_invite_read((struct slv_str){text, strlen(text)}, &i, err);
    if (!rc) slv_invite_key(&i, ret);
    sodium_memzero(&i, sizeof i);
    return rc ? slv_err_prefix(err, rc, "mesh revoke") : 0;
}

static int revoke(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_statement s = {.kind = SLV_REVOKED};
    struct view v;
    int rc = read_whom(cli->args[0], s.key, err);
    if (!rc) rc = look(o, &v, err);
    if (rc) return rc;
    const struct slv_json_val m = member_of(&v, s.key);
    if (slv_json_kind(m) != SLV_JSON_NONE) rc = take_rights(m, &s);
    else s.flags = SLV_MAY_WRITE_ALL; /* a member by an option of the nodes */
    if (!rc) rc = state(o, &s, &v, err);
    slv_cli_reply_fini(&v.reply);
    return rc;
}

/* --- invitations ------------------------------------------------------------------------------ */

/* "KEY@HOST:PORT" */
static int add_peer(struct slv_invite *i, const char *text, struct slv_err *err) {
    char key[2 * SLV_ROSTER_KEY + 1];
    const char *at = strchr(text, '@');
    struct slv_invite_peer *p = &i->peer[i->n_peer];
    if (!at || at - text != 2 * SLV_ROSTER_KEY || strlen(at + 1) > SLV_INVITE_ADDRESS_MAX)
        return slv_err_set(err, SLV_E_USAGE, "mesh invite: --peer %s: not KEY@HOST:PORT", text);
    memcpy(key, text, sizeof key - 1);
    key[sizeof key - 1] = '\0';
    snprintf(p->address, sizeof p->address, "%s", at + 1);
    i->n_peer++;
    return read_key(key, p->key, err);
}

/* The node of this machine, at its addresses, where no other is named. */
static int add_own(struct slv_invite *i, const struct view *v, struct slv_err *err) {
    struct slv_json_iter it = {0};
    struct slv_json_val a;
    struct slv_str s;
    char text[2 * SLV_ROSTER_KEY + SLV_INVITE_ADDRESS_MAX + 4];
    const struct slv_str key = text_of(v->root, "key");
    int rc = 0;
    while (!rc && i->n_peer < SLV_INVITE_PEERS_MAX &&
           slv_json_each(slv_json_get(v->root, "addresses"), &it, NULL, &a)) {
        if (!slv_json_get_str(a, &s)) continue;
        snprintf(text, sizeof text, "%.*s@%.*s", (int)key.n, key.p, (int)s.n, s.p);
        rc = add_peer(i, text, err);
    }
    return rc;
}

static int make_invite(const struct opts *o, const struct view *v, struct slv_invite *i,
                       struct slv_err *err) {
    const struct slv_str mesh = text_of(v->root, "mesh"), authority = text_of(v->root, "authority");
    char hex[2 * SLV_ROSTER_KEY + 1] = "";
    if (authority.n != sizeof hex - 1)
        return slv_err_set(err, SLV_E_USAGE,
                           "mesh invite: the node was started without --authority");
    memcpy(hex, authority.p, authority.n);
    if (mesh.n >= sizeof i->mesh)
        return slv_err_set(err, SLV_E_LIMIT, "mesh invite: the mesh's name is too long");
    memcpy(i->mesh, mesh.p, mesh.n);
    int rc = read_key(hex, i->authority, err);
    if (!rc && o->peer.n > SLV_INVITE_PEERS_MAX)
        rc = slv_err_set(err, SLV_E_LIMIT, "mesh invite: more than %u of --peer",
                         SLV_INVITE_PEERS_MAX);
    for (size_t k = 0; k < o->peer.n && !rc; k++)
        rc = add_peer(i, o->peer.v[k], err);
    return rc || o->peer.n ? rc : add_own(i, v, err);
}

static int print_invite(const struct slv_cli *cli, const struct slv_invite *i,
                        struct slv_err *err) {
    struct slv_buf line, out;
    struct slv_json j;
    uint8_t key[SLV_ROSTER_KEY];
    char hex[2 * SLV_ROSTER_KEY + 1];
    slv_invite_key(i, key);
    slv_hex_write(key, sizeof key, hex);
    slv_buf_init(&line, 32768);
    slv_buf_init(&out, 65536);
    int rc = slv_invite_write(i, &line);
    if (!rc && cli->json) {
        slv_json_init(&j, &out);
        slv_json_object(&j, NULL);
        slv_json_str(&j, "invitation", line.data);
        slv_json_str(&j, "key", hex);
        slv_json_object_end(&j);
        rc = slv_out_line(&out, err);
    } else if (!rc) {
        slv_out_printf("%s\n", line.data);
    }
    if (line.data) sodium_memzero(line.data, line.len);
    if (out.data) sodium_memzero(out.data, out.len);
    slv_buf_fini(&line);
    slv_buf_fini(&out);
    return rc;
}

/* Who joins by this node must know it for a member. */
static int admit_own(const struct opts *o, const struct slv_cli *cli, struct view *v,
                     struct slv_err *err) {
    struct slv_statement s = {.kind = SLV_MEMBER, .flags = SLV_MAY_ALL};
    int rc = whose(cli, v, s.key, err);
    if (!rc && slv_json_kind(member_of(v, s.key)) != SLV_JSON_NONE) return 0;
    if (!rc) rc = state(o, &s, v, err);
    v->most++;
    return rc;
}

static int read_until(const char *lasts, uint64_t *ret, struct slv_err *err) {
    const uint64_t ms = slv_amount_ms((struct slv_str){lasts, strlen(lasts)});
    if (!ms)
        return slv_err_set(err, SLV_E_USAGE,
                           "mesh invite: --for %s: not a time as 90s, 30m, 12h or 7d", lasts);
    *ret = (uint64_t)time(NULL) + ms / 1000;
    return 0;
}

static int invite(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_statement s = {.kind = SLV_INVITE};
    struct slv_invite i = {0};
    struct wanted w;
    struct view v;
    int rc = read_until(o->lasts, &s.until, err);
    if (!rc) rc = read_name(o, "mesh invite", &s, err);
    if (!rc) rc = read_scopes(o, &s, err);
    if (!rc) rc = read_condition(o, &w, &s, err);
    if (!rc) rc = look(o, &v, err);
    if (rc) return rc;
    rc = make_invite(o, &v, &i, err);
    if (!rc) rc = admit_own(o, cli, &v, err);
    if (!rc) {
        slv_invite_draw(&i, s.key);
        rc = state(o, &s, &v, err);
    }
    if (!rc) rc = print_invite(cli, &i, err);
    if (!rc) note_spaces(o, &s);
    sodium_memzero(&i, sizeof i);
    slv_cli_reply_fini(&v.reply);
    return rc;
}

/* --- looking ---------------------------------------------------------------------------------- */

static void print_digests(struct slv_json_val c, const char *list, const char *name) {
    struct slv_json_iter it = {0};
    struct slv_json_val d;
    struct slv_str s;
    while (slv_json_each(slv_json_get(c, list), &it, NULL, &d))
        if (slv_json_get_str(d, &s)) slv_out_printf("    %-7s %.*s\n", name, (int)s.n, s.p);
}

/* What it must show, a line each. */
static void print_condition(struct slv_json_val c) {
    bool any = false;
    if (slv_json_get_bool(slv_json_get(c, "any_ak"), &any) && any)
        slv_out_puts("    ak      any: this shows nothing of a TPM\n");
    print_digests(c, "aks", "ak");
    print_digests(c, "binaries", "binary");
    print_digests(c, "policies", "policy");
}

static void print_member(struct slv_json_val m) {
    struct slv_json_iter it = {0};
    struct slv_json_val w;
    bool on = false;
    int64_t until;
    const struct slv_str key = text_of(m, "key"), kind = text_of(m, "kind"),
                         name = text_of(m, "name");
    slv_out_printf("%.*s  %.*s", (int)key.n, key.p, (int)kind.n, kind.p);
    if (slv_json_get_bool(slv_json_get(m, "used"), &on) && on) slv_out_puts(", used");
    else if (slv_str_is(kind, "invitation") && slv_json_get_i64(slv_json_get(m, "until"), &until) &&
             until <= time(NULL))
        slv_out_puts(", over");
    if (name.n) slv_out_puts("  ");
    slv_out_name(name.p, name.n);
    if (slv_json_get_bool(slv_json_get(m, "votes"), &on) && !on) slv_out_puts("  no vote");
    while (slv_json_each(slv_json_get(m, "writes"), &it, NULL, &w)) {
        const struct slv_str space = text_of(w, "space"), prefix = text_of(w, "prefix");
        slv_out_puts("  writes ");
        slv_out_name(space.p, space.n);
        if (prefix.n) slv_out_puts("/");
        slv_out_name(prefix.p, prefix.n);
    }
    slv_out_puts("\n");
    print_condition(slv_json_get(m, "attest"));
}

static int roster(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct slv_json_iter it = {0};
    struct slv_json_val m;
    struct view v;
    int rc = look(opts, &v, err);
    if (rc) return rc;
    if (cli->json) {
        slv_out_write(v.reply.text.data, v.reply.text.len);
    } else {
        const struct slv_str authority = text_of(v.root, "authority");
        slv_out_printf("authority  %.*s\n", authority.n ? (int)authority.n : 4,
                       authority.n ? authority.p : "none");
        while (slv_json_each(slv_json_get(v.root, "members"), &it, NULL, &m))
            print_member(m);
    }
    slv_cli_reply_fini(&v.reply);
    return rc;
}

/* --- the commands ----------------------------------------------------------------------------- */

#define SOCKET_ROW                                                                                 \
    {                                                                                              \
        "socket", 0, SLV_OPT_STR_AT(struct opts, socket),                                          \
            .arg = "PATH", .help = "the node's; default: where `mesh up` puts it"                  \
    }
#define RIGHTS_ROWS                                                                                \
    {"write", 0, SLV_OPT_LIST_AT(struct opts, write), .arg = "SPACE[/PREFIX]",                     \
     .help = "what it may write, alone; may be repeated; default: all"},                           \
        {"no-vote", 0, SLV_OPT_FLAG_AT(struct opts, no_vote),                                      \
         .help = "it does not vote on strong spaces"},                                             \
    {                                                                                              \
        "no-repair", 0, SLV_OPT_FLAG_AT(struct opts, no_repair),                                   \
            .help = "what it says of others' old writes is not taken (so with --write)"            \
    }

#define ATTEST_ROWS                                                                                \
    {"ak", 0, SLV_OPT_LIST_AT(struct opts, aks), .arg = "HEX",                                     \
     .help = "it must show what it runs, by a TPM with this attestation key; may be repeated"},    \
        {"binary", 0, SLV_OPT_LIST_AT(struct opts, binaries), .arg = "HEX",                        \
         .help = "SHA-256 of the program that it must run; may be repeated; without it any"},      \
        {"policy", 0, SLV_OPT_LIST_AT(struct opts, policies), .arg = "HEX",                        \
         .help = "SHA-256 of the policy that it must have; may be repeated; without it any"},      \
    {                                                                                              \
        "any-ak", 0, SLV_OPT_FLAG_AT(struct opts, any_ak),                                         \
            .help = "any attestation key will do: this finds what is old, not who lies"            \
    }

static const struct slv_opt admit_rows[] = {
    SOCKET_ROW,
    RIGHTS_ROWS,
    ATTEST_ROWS,
    {"name", 0, SLV_OPT_STR_AT(struct opts, name), .arg = "TEXT", .help = "for people"},
    SLV_CLI_KEY_ROW(struct opts),
};

static const struct slv_opt revoke_rows[] = {SOCKET_ROW, SLV_CLI_KEY_ROW(struct opts)};
static const struct slv_opt roster_rows[] = {SOCKET_ROW};

static const struct slv_opt invite_rows[] = {
    SOCKET_ROW,
    RIGHTS_ROWS,
    ATTEST_ROWS,
    {"for", 0, SLV_OPT_STR_AT(struct opts, lasts), .arg = "TIME", .def = "1d",
     .help = "how long it may be used: 90s, 30m, 12h, 7d"},
    {"name", 0, SLV_OPT_STR_AT(struct opts, name), .arg = "TEXT", .help = "for people"},
    {"peer", 0, SLV_OPT_LIST_AT(struct opts, peer), .arg = "KEY@HOST:PORT",
     .help = "whom to join by; default: the node of this machine"},
    SLV_CLI_KEY_ROW(struct opts),
};

const struct slv_cmd slv_cmd_mesh_admit = {
    .name = "mesh admit",
    .help = "make a key a member, or say anew what it may write",
    .args = "[KEY]",
    .no_args = "the node of this machine",
    .more = "Signed with --key, which must be that of the authority with which the nodes were "
            "started. It takes effect at each node as soon as it hears of it. What is said with "
            "--ak, --binary and --policy each node demands of the member (`mesh up --attest`) "
            "before it hears it, and now and then (docs/attest.md).",
    .max_args = 1,
    SLV_CMD_OPTS(admit_rows, struct opts),
    .fn = admit,
};

const struct slv_cmd slv_cmd_mesh_revoke = {
    .name = "mesh revoke",
    .help = "end a key's membership, or an invitation",
    .args = "KEY|INVITATION",
    .more = "Nodes cut it off as soon as they hear of it, also where there is no majority of "
            "anything. What it had written stays.",
    .min_args = 1,
    .max_args = 1,
    SLV_CMD_OPTS(revoke_rows, struct opts),
    .fn = revoke,
};

const struct slv_cmd slv_cmd_mesh_invite = {
    .name = "mesh invite",
    .help = "print an invitation, with which one machine may join",
    .args = "",
    .more =
        "The line is a secret until it is used: `selvage mesh up --invitation LINE`. That it is "
        "used once needs the group of the strong spaces (see `mesh found`).",
    SLV_CMD_OPTS(invite_rows, struct opts),
    .fn = invite,
};

const struct slv_cmd slv_cmd_mesh_roster = {
    .name = "mesh roster",
    .help = "show who is a member, and what each may write",
    .args = "",
    SLV_CMD_OPTS(roster_rows, struct opts),
    .fn = roster,
};
