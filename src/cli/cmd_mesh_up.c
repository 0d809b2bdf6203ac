/* cmd_mesh_up.c: selvage mesh up: a node of the mesh on this machine. */
#include "base/amount.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/cmd.h"
#include "cli/mesh.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "cli/trust.h"
#include "mesh/declare.h"
#include "trust/attest.h"
#include "trust/fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ATTEST_LEAST_MS 10000u
#define ATTEST_MOST_MS 2592000000u

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
    struct slv_declared declared;
    struct slv_buf folder, store, socket;
    struct slv_key *key;
    struct slv_map policy;
    struct slv_host_conf conf;
    struct slv_host *host;
};

static struct slv_declare_list list(const struct slv_opt_list *l) {
    return (struct slv_declare_list){l->v, l->n};
}

static int read_lists(struct up *u, const struct opts *o, struct slv_err *err) {
    const struct slv_declare d = {.mark = "mesh up: --",
                                  .name = o->name,
                                  .authority = o->authority,
                                  .invitation = o->invitation,
                                  .space = list(&o->space),
                                  .peer = list(&o->peer),
                                  .member = list(&o->member),
                                  .advertise = list(&o->advertise)};
    return slv_declare_read(&d, &u->declared, &u->conf, err);
}

/* --- what it shows of itself ------------------------------------------------------------------ */

static int read_attest(struct up *u, const struct opts *o, struct slv_err *err) {
    const uint64_t ms = slv_amount_ms((struct slv_str){o->attest_every, strlen(o->attest_every)});
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
    int rc = read_lists(&u, o, err);
    if (!rc) rc = make_paths(&u, o, err);
    if (!rc) rc = read_attest(&u, o, err);
    if (!rc) rc = slv_store_key_open(o->key, false, &u.key, err);
    u.conf.store = u.store.data;
    u.conf.socket = u.socket.data;
    u.conf.key = u.key;
    u.conf.listen = o->listen.n ? o->listen.v : any;
    u.conf.n_listen = o->listen.n ? o->listen.n : 1;
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
    {"space", 0, SLV_OPT_LIST_AT(struct opts, space), .arg = SLV_DECLARE_SPACE,
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
