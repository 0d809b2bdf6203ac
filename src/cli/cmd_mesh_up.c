/* cmd_mesh_up.c: selvage mesh up: a node of the mesh on this machine. */
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/cmd.h"
#include "cli/mesh.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "cli/trust.h"
#include "mesh/host.h"
#include "mesh/invite.h"
#include "mesh/names.h"
#include "trust/attest.h"
#include "trust/fields.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SPACE_FORM "NAME:TYPE[:ORDER][:ttl=TIME][:history=TIME][:max=SIZE]"
#define SPACE_BYTES ((uint64_t)1 << 30) /* that its entries may take, unless it is said */
#define SPACE_BYTES_MIN ((uint64_t)64 << 10)
#define SPACE_BYTES_MAX ((uint64_t)64 << 30)
#define ATTEST_LEAST_MS 10000u
#define ATTEST_MOST_MS 2592000000u
#define KEY_HEX (2u * SLV_HOST_KEY_BYTES)

struct opts {
    const char *name, *store, *socket, *key, *authority, *invitation, *policy, *attest_every;
    struct slv_opt_list listen, advertise, peer, member, space;
    uint64_t relay, rate, peer_rate;
    int64_t voters;
    bool discover, attest;
};

/* What the host borrows. */
struct up {
    const struct slv_cli *cli;
    struct slv_host_peer peer[SLV_OPT_LIST_MAX];
    uint8_t member[SLV_OPT_LIST_MAX][SLV_HOST_KEY_BYTES];
    struct slv_space_conf space[SLV_OPT_LIST_MAX];
    struct slv_str strong[SLV_OPT_LIST_MAX];
    struct slv_buf folder, store, socket;
    struct slv_key *key;
    struct slv_invite invitation;
    struct slv_map policy;
    uint8_t authority[SLV_HOST_KEY_BYTES];
    struct slv_host_conf conf;
    struct slv_host *host;
};

/* --- what is written in lists ----------------------------------------------------------------- */

/* What may stand behind the type and its order: "ttl=30m", "history=7d", "max=64M". */
struct extra {
    const char *name;
    bool is_time;
    uint64_t most;
    const char *what;
};

enum { TTL, HISTORY, MAX, EXTRAS };

static const struct extra extras[EXTRAS] = {
    [TTL] = {"ttl=", true, SLV_TTL_MAX_MS,
             "1 s to 3650d: a number of seconds, or one with s, m, h "
             "or d behind it"},
    [HISTORY] = {"history=", true, SLV_HISTORY_MAX_MS,
                 "1 s to 366d: a number of seconds, or one "
                 "with s, m, h or d behind it"},
    [MAX] = {"max=", false, SPACE_BYTES_MAX,
             "64K to 64G: bytes, or a number with K, M or G behind "
             "it"},
};

/* Which of them a part is, and its number: 0 where it is none that may be. */
static int read_extra(struct slv_str part, uint64_t *ret) {
    for (int i = 0; i < EXTRAS; i++) {
        const struct extra *e = &extras[i];
        const size_t n = strlen(e->name);
        if (part.n <= n || memcmp(part.p, e->name, n) != 0) continue;
        const struct slv_str value = {part.p + n, part.n - n};
        char text[32];
        snprintf(text, sizeof text, "%.*s", (int)(value.n < 31 ? value.n : 31), value.p);
        if (e->is_time) *ret = slv_cli_duration(value);
        else if (!slv_opt_size(text, ret) || *ret < SPACE_BYTES_MIN) *ret = 0;
        if (*ret > e->most) *ret = 0;
        return i;
    }
    return EXTRAS;
}

/* ":causal" or ":strong", then extras, each at most once. */
static int read_order(struct up *u, const char *text, const char *order, bool *ret_strong,
                      struct slv_err *err) {
    struct slv_space_conf *to = &u->space[u->conf.n_space];
    uint64_t given[EXTRAS] = {0}, v = 0;
    bool first = true;
    for (size_t n; *order; order += n, first = false) {
        n = 1 + strcspn(order + 1, ":");
        const struct slv_str part = {order + 1, n - 1};
        const int e = read_extra(part, &v);
        if (first && slv_str_is(part, "causal")) to->causal = true;
        else if (first && slv_str_is(part, "strong")) *ret_strong = true;
        else if (e == EXTRAS || given[e])
            return slv_err_set(err, SLV_E_USAGE, "mesh up: --space %s: not " SPACE_FORM, text);
        else if (!v)
            return slv_err_set(err, SLV_E_USAGE, "mesh up: --space %s: %.*s is %s", text,
                               (int)strlen(extras[e].name) - 1, extras[e].name, extras[e].what);
        else given[e] = v;
    }
    to->ttl_ms = given[TTL];
    to->history_ms = given[HISTORY];
    to->max = given[MAX] ? given[MAX] : SPACE_BYTES;
    if (*ret_strong && (given[TTL] || given[HISTORY] || given[MAX]))
        return slv_err_set(err, SLV_E_USAGE, "mesh up: --space %s: %s", text,
                           given[TTL]       ? "what is strong has leases, no ttl"
                           : given[HISTORY] ? "what is strong has no history"
                                            : "what is strong has no size of its own");
    if (given[TTL] && given[HISTORY])
        return slv_err_set(err, SLV_E_USAGE,
                           "mesh up: --space %s: what goes by itself has no history", text);
    return 0;
}

/* Names are parts of commands and of paths. */
static bool is_space_name(const char *p, size_t n) {
    size_t k = 0;
    while (k < n && (isalnum((unsigned char)p[k]) || strchr("-_.", p[k])))
        k++;
    return k == n;
}

static int no_type(const char *text, struct slv_str type, struct slv_err *err) {
    struct slv_buf b;
    slv_buf_init(&b, 1024);
    for (int t = 0; t < SLV_MESH_TYPES; t++)
        slv_buf_addf(&b, "%s%s", t ? ", " : "", slv_mesh_type_name((enum slv_mesh_type)t));
    slv_err_set(err, SLV_E_USAGE, "mesh up: --space %s: no such type: '%.*s': there are %s", text,
                (int)type.n, type.p, b.status ? "others" : b.data);
    slv_buf_fini(&b);
    return SLV_E_USAGE;
}

/* "NAME:TYPE", "NAME:TYPE:causal", "NAME:last:strong", "NAME:TYPE:ttl=12h", ":history=24h" */
static int read_space(struct up *u, const char *text, struct slv_err *err) {
    struct slv_space_conf *to = &u->space[u->conf.n_space];
    const char *type = strchr(text, ':');
    const size_t n = type ? (size_t)(type - text) : 0;
    bool strong = false;
    if (!n || n > SLV_NODE_SPACE_NAME_MAX)
        return slv_err_set(err, SLV_E_USAGE, "mesh up: --space %s: not " SPACE_FORM, text);
    if (!is_space_name(text, n))
        return slv_err_set(err, SLV_E_USAGE,
                           "mesh up: --space %s: a name has letters, digits, '-', '_' and '.' only",
                           text);
    type++;
    const struct slv_str t = {type, strcspn(type, ":")};
    *to = (struct slv_space_conf){.name = {text, n}};
    if (!slv_mesh_type_find(t, &to->type)) return no_type(text, t, err);
    const int rc = read_order(u, text, type + t.n, &strong, err);
    if (rc) return rc;
    if (strong && to->type != SLV_TYPE_LAST)
        return slv_err_set(err, SLV_E_USAGE, "mesh up: --space %s: what is strong is of type last",
                           text);
    if (to->history_ms && !slv_mesh_type_reverts(to->type))
        return slv_err_set(err, SLV_E_USAGE,
                           "mesh up: --space %s: a %s cannot be put back: history is for last, "
                           "many, on-wins, off-wins, set, counter, list, text, doc",
                           text, slv_mesh_type_name(to->type));
    if (to->ttl_ms && !slv_mesh_type_expires(to->type))
        return slv_err_set(err, SLV_E_USAGE,
                           "mesh up: --space %s: a %s would fall apart: ttl is for last, many, "
                           "on-wins, off-wins, set, counter, growing, unique, top",
                           text, slv_mesh_type_name(to->type));
    if (strong) u->strong[u->conf.n_strong++] = to->name;
    else u->conf.n_space++;
    return 0;
}

static int read_key(const char *text, size_t n, uint8_t ret[SLV_HOST_KEY_BYTES], const char *option,
                    struct slv_err *err) {
    if (n != KEY_HEX || !slv_hex_read(text, ret, SLV_HOST_KEY_BYTES))
        return slv_err_set(
            err, SLV_E_USAGE,
            "mesh up: --%s %s: a key is 64 hexadecimal digits, as `selvage key show` "
            "has them behind \"public\"",
            option, text);
    return 0;
}

/* "KEY@HOST:PORT" */
static int read_peer(struct up *u, const char *text, struct slv_err *err) {
    const char *at = strchr(text, '@');
    struct slv_host_peer *p = &u->peer[u->conf.n_peer];
    if (!at) return slv_err_set(err, SLV_E_USAGE, "mesh up: --peer %s: not KEY@HOST:PORT", text);
    if (!slv_names_is_place(at + 1, false))
        return slv_err_set(err, SLV_E_USAGE, "mesh up: --peer: %s: not HOST:PORT", at + 1);
    p->address = at + 1;
    u->conf.n_peer++;
    return read_key(text, (size_t)(at - text), p->key, "peer", err);
}

/* Others take it as it is, and would take nothing of a record with one that is none. */
static int check_advertised(const char *text, struct slv_err *err) {
    if (slv_names_is_place(text, true)) return 0;
    return slv_err_set(err, SLV_E_USAGE,
                       "mesh up: --advertise %s: not ADDRESS:PORT, or [ADDRESS]:PORT, in numbers",
                       text);
}

static int read_lists(struct up *u, const struct opts *o, struct slv_err *err) {
    int rc = 0;
    for (size_t i = 0; i < o->space.n && !rc; i++)
        rc = read_space(u, o->space.v[i], err);
    for (size_t i = 0; i < o->member.n && !rc; i++)
        rc = read_key(o->member.v[i], strlen(o->member.v[i]), u->member[u->conf.n_member++],
                      "member", err);
    if (!rc && o->peer.n + o->member.n > SLV_OPT_LIST_MAX)
        rc = slv_err_set(err, SLV_E_LIMIT, "mesh up: more than %d peers and members",
                         SLV_OPT_LIST_MAX);
    for (size_t i = 0; i < o->peer.n && !rc; i++)
        rc = read_peer(u, o->peer.v[i], err);
    for (size_t i = 0; i < o->advertise.n && !rc; i++)
        rc = check_advertised(o->advertise.v[i], err);
    return rc;
}

/* An invitation says whose mesh it is and where to find it. */
static int read_invitation(struct up *u, const struct opts *o, struct slv_err *err) {
    struct slv_invite *i = &u->invitation;
    int rc = slv_invite_read((struct slv_str){o->invitation, strlen(o->invitation)}, i, err);
    if (rc) return slv_err_prefix(err, rc, "mesh up: --invitation");
    if (u->conf.n_peer + i->n_peer > SLV_OPT_LIST_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "mesh up: more than %d peers", SLV_OPT_LIST_MAX);
    if (o->name && strcmp(o->name, i->mesh) != 0)
        return slv_err_set(err, SLV_E_USAGE,
                           "mesh up: --name %s: the invitation is to mesh '%s': leave --name out",
                           o->name, i->mesh);
    for (size_t k = 0; k < i->n_peer && !rc; k++) {
        struct slv_host_peer *p = &u->peer[u->conf.n_peer++];
        memcpy(p->key, i->peer[k].key, sizeof p->key);
        p->address = i->peer[k].address;
        if (!slv_names_is_place(p->address, false))
            rc = slv_err_set(err, SLV_E_FORMAT, "mesh up: --invitation: %s: not HOST:PORT",
                             p->address);
    }
    u->conf.mesh = i->mesh;
    u->conf.authority = i->authority;
    u->conf.invitation = i;
    return rc;
}

static int read_authority(struct up *u, const struct opts *o, struct slv_err *err) {
    if (o->invitation && o->authority)
        return slv_err_set(err, SLV_E_USAGE,
                           "mesh up: --authority does not go with --invitation, which names it");
    if (o->invitation) return read_invitation(u, o, err);
    if (!o->authority) return 0;
    u->conf.authority = u->authority;
    return read_key(o->authority, strlen(o->authority), u->authority, "authority", err);
}

/* --- what it shows of itself ------------------------------------------------------------------ */

static int read_attest(struct up *u, const struct opts *o, struct slv_err *err) {
    const uint64_t ms =
        slv_cli_duration((struct slv_str){o->attest_every, strlen(o->attest_every)});
    if (ms < ATTEST_LEAST_MS || ms > ATTEST_MOST_MS)
        return slv_err_set(err, SLV_E_USAGE,
                           "mesh up: --attest-every %s: 10 s to 30d: a number of seconds, or one "
                           "with s, m, h or d behind it",
                           o->attest_every);
    if (o->policy && !o->attest)
        return slv_err_set(err, SLV_E_USAGE, "mesh up: --policy goes with --attest");
    u->conf.attest = o->attest;
    u->conf.attest_ms = (uint32_t)ms;
    const int rc = o->policy ? slv_map_open(o->policy, &u->policy, err) : 0;
    if (!rc) u->conf.policy = (struct slv_str){(const char *)u->policy.data, u->policy.size};
    return rc;
}

/* --- where things are ------------------------------------------------------------------------- */

static int make_paths(struct up *u, const struct opts *o, struct slv_err *err) {
    slv_buf_init(&u->folder, 4096);
    slv_buf_init(&u->store, 4096);
    slv_buf_init(&u->socket, 4096);
    int rc = slv_cli_mesh_path(o->store, "", &u->folder, err);
    if (!rc) rc = slv_folder_make(u->folder.data, 0700, err);
    if (!rc) rc = slv_cli_mesh_path(o->store, "mesh.db", &u->store, err);
    if (!rc && o->socket) slv_buf_adds(&u->socket, o->socket);
    else if (!rc) rc = slv_cli_mesh_path(o->store, "mesh.sock", &u->socket, err);
    return rc;
}

/* --- running ---------------------------------------------------------------------------------- */

/* What `mesh admit` of this node wants to be told: ak, binary, policy. */
static void say_self(const struct slv_attest_self *a, struct slv_json *j) {
    static const char *const names[] = {"ak", "binary", "policy"};
    if (!a) return;
    const uint8_t *const v[] = {a->ak, a->events[0], a->events[1]};
    for (size_t i = 0; i < 3; i++) {
        char hex[SLV_HEX(SLV_TPM_DIGEST)];
        slv_hex_write(v[i], SLV_TPM_DIGEST, hex);
        if (j) slv_json_str(j, names[i], hex);
        else slv_out_printf("%s %s\n", names[i], hex);
    }
}

static void say(const struct up *u, const char *const *addresses, size_t n) {
    char id[20], hex[SLV_HEX(SLV_HOST_KEY_BYTES)];
    const struct slv_pub *pub = slv_key_pub(u->key);
    struct slv_buf b;
    struct slv_json j;
    snprintf(id, sizeof id, "%016" PRIx64, slv_host_id(pub->key));
    slv_hex_write(pub->key, sizeof pub->key, hex);
    if (!u->cli->json) {
        slv_out_printf("node %s of mesh %s\nkey %s\nsocket %s\n", id, u->conf.mesh, hex,
                       u->conf.socket);
        for (size_t i = 0; i < n; i++)
            slv_out_printf("listening %s\n", addresses[i]);
        say_self(slv_host_self(u->host), NULL);
        return;
    }
    slv_buf_init(&b, 65536);
    slv_json_init(&j, &b);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "mesh", u->conf.mesh);
    slv_json_str(&j, "node", id);
    slv_json_str(&j, "key", hex);
    slv_json_str(&j, "socket", u->conf.socket);
    slv_json_array(&j, "listening");
    for (size_t i = 0; i < n; i++)
        slv_json_str(&j, NULL, addresses[i]);
    slv_json_array_end(&j);
    say_self(slv_host_self(u->host), &j);
    slv_json_object_end(&j);
    if (slv_out_line(&b, NULL)) slv_log(SLV_LOG_ERROR, "mesh: out of memory");
    slv_buf_fini(&b);
}

static void on_ready(void *ctx, const char *const *addresses, size_t n) {
    struct slv_err err = {0};
    say(ctx, addresses, n);
    if (slv_out_flush(&err)) slv_log(SLV_LOG_ERROR, "mesh: %s", err.msg);
}

static void on_stop(void *host) { slv_host_stop(host); }

static int run_host(struct up *u, struct slv_err *err) {
    int rc = slv_host_open(&u->conf, &u->host, err);
    if (rc) return rc;
    slv_sig_hook(on_stop, u->host);
    slv_sig_watch();
    if (slv_sig_seen()) slv_host_stop(u->host); /* before there was a hook */
    rc = slv_host_run(u->host, err);
    slv_sig_hook(NULL, NULL);
    slv_host_close(u->host);
    return rc;
}

static int run(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    static const char *const any[] = {"0.0.0.0:7420"};
    const struct opts *o = opts;
    struct up u = {.cli = cli};
    if (!o->space.n)
        return slv_err_set(err, SLV_E_USAGE, "mesh up: no --space: what is shared must be said");
    int rc = make_paths(&u, o, err);
    if (!rc) rc = read_lists(&u, o, err);
    u.conf.mesh = o->name ? o->name : "mesh";
    if (!rc) rc = read_authority(&u, o, err);
    if (!rc) rc = read_attest(&u, o, err);
    if (!rc) rc = slv_store_key_open(o->key, false, &u.key, err);
    u.conf.store = u.store.data;
    u.conf.socket = u.socket.data;
    u.conf.key = u.key;
    u.conf.listen = o->listen.n ? o->listen.v : any;
    u.conf.n_listen = o->listen.n ? o->listen.n : 1;
    u.conf.advertise = o->advertise.v;
    u.conf.n_advertise = o->advertise.n;
    u.conf.peer = u.peer;
    u.conf.member = (const uint8_t(*)[SLV_HOST_KEY_BYTES])u.member;
    u.conf.space = u.space;
    u.conf.strong = u.strong;
    u.conf.voters = (uint32_t)o->voters;
    u.conf.discover = o->discover;
    u.conf.relay_rate = o->relay;
    u.conf.rate = o->rate;
    u.conf.peer_rate = o->peer_rate;
    u.conf.ready = on_ready;
    u.conf.ctx = &u;
    if (!rc) rc = run_host(&u, err);
    slv_key_close(u.key);
    if (u.policy.data) slv_map_close(&u.policy);
    slv_buf_fini(&u.folder);
    slv_buf_fini(&u.store);
    slv_buf_fini(&u.socket);
    return rc;
}

static const struct slv_opt rows[] = {
    {"name", 0, SLV_OPT_STR_AT(struct opts, name), .arg = "NAME",
     .help = "of the mesh, the same at all its nodes; default: what the invitation says, or mesh"},
    {"space", 0, SLV_OPT_LIST_AT(struct opts, space), .arg = SPACE_FORM,
     .help = "what is shared; may be repeated. ORDER: causal, or strong (of type last; see `mesh "
             "found`). ttl: what is older goes by itself; history: for which `mesh revert` can put "
             "back; as 90 (seconds), 30m, 12h or 7d. max: memory, 1G. TYPE: last, many, on-wins, "
             "off-wins, set, counter, "
             "growing, budget, vector, list, text, doc, unique, top"},
    {"listen", 0, SLV_OPT_LIST_AT(struct opts, listen), .arg = "ADDRESS",
     .help = "ADDRESS:PORT or [ADDRESS]:PORT, of UDP and TCP; default: 0.0.0.0:7420; may be "
             "repeated; port 0: any"},
    {"advertise", 0, SLV_OPT_LIST_AT(struct opts, advertise), .arg = "ADDRESS",
     .help =
         "ADDRESS:PORT, in numbers: where others are told to look for this node; default: where "
         "it listens"},
    {"peer", 0, SLV_OPT_LIST_AT(struct opts, peer), .arg = "KEY@HOST:PORT",
     .help = "a node to find the others by; a name is looked up again while it is not reached; may "
             "be repeated"},
    {"member", 0, SLV_OPT_LIST_AT(struct opts, member), .arg = "KEY",
     .help = "a node that may join, wherever it is; may be repeated"},
    {"discover", 0, SLV_OPT_FLAG_AT(struct opts, discover),
     .help = "look for members in the local network by multicast"},
    {"relay", 0, SLV_OPT_SIZE_AT(struct opts, relay), .arg = "SIZE", .def = "0", .imin = 0,
     .imax = 1 << 30,
     .help = "bytes a second passed on between members that do not reach each other"},
    {"rate", 0, SLV_OPT_SIZE_AT(struct opts, rate), .arg = "SIZE", .def = "0", .imin = 0,
     .imax = (int64_t)1 << 40,
     .help = "bytes a second sent to each node, at most; 0: what the network takes"},
    {"peer-rate", 0, SLV_OPT_SIZE_AT(struct opts, peer_rate), .arg = "SIZE", .def = "16M",
     .imin = 0, .imax = (int64_t)1 << 40,
     .help = "bytes a second of writes taken from each node, at most; 0: any"},
    {"authority", 0, SLV_OPT_STR_AT(struct opts, authority), .arg = "KEY",
     .help = "whose statements say who is a member (`mesh admit`), beside --peer and --member"},
    {"invitation", 0, SLV_OPT_STR_AT(struct opts, invitation), .arg = "LINE",
     .help = "join by this (`mesh invite`); it has the mesh's name, authority and peers"},
    {"attest", 0, SLV_OPT_FLAG_AT(struct opts, attest),
     .help = "show what this node runs, by its TPM ($SELVAGE_TPM), to members that want to see it"},
    {"policy", 0, SLV_OPT_STR_AT(struct opts, policy), .arg = "FILE",
     .help = "what this node was told to do, measured with --attest as it stands; without it "
             "nothing is"},
    {"attest-every", 0, SLV_OPT_STR_AT(struct opts, attest_every), .arg = "TIME", .def = "1h",
     .help = "how often those who must show what they run are asked again, beside each time that "
             "they connect"},
    {"voters", 0, SLV_OPT_INT_AT(struct opts, voters), .arg = "N", .def = "5", .imin = 1, .imax = 7,
     .help = "nodes that vote on strong spaces, where there are as many"},
    {"store", 0, SLV_OPT_STR_AT(struct opts, store), .arg = "FOLDER",
     .help = "what the node keeps; default: mesh in the store"},
    {"socket", 0, SLV_OPT_STR_AT(struct opts, socket), .arg = "PATH",
     .help = "for the other commands; default: mesh.sock in that folder"},
    SLV_CLI_KEY_ROW(struct opts),
};

const struct slv_cmd slv_cmd_mesh_up = {
    .name = "mesh up",
    .help = "run a node of the mesh, until it is stopped",
    .args = "",
    .more =
        "Members are known by their keys: `selvage key new` makes one, `selvage key show` shows "
        "it. All that is said between nodes is encrypted, and every write is signed.\n"
        "Ctrl-C, or SIGTERM: the others are told that this node leaves.",
    SLV_CMD_OPTS(rows, struct opts),
    .fn = run,
};
