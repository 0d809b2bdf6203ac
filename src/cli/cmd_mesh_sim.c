/* cmd_mesh_sim.c: selvage mesh sim: nodes of the mesh in virtual time, over a network and disks
 * that fail as a seed says. What is printed depends on the options alone. */
#include "base/json.h"
#include "cli/cmd.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "mesh/sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct opts {
    int64_t nodes, seed, seeds;
    const char *faults;
    bool exact, trace, as_it_is;
    double for_s;
};

struct total {
    uint64_t run, failed, slowest_ms, events, datagrams, bytes, writes, batches, crashes, retired,
        digest;
};

/* --- kinds of faults -------------------------------------------------------------------------- */

static int find_fault(const char *name, size_t n, unsigned *mask) {
    const char *f;
    for (unsigned i = 0; (f = slv_sim_fault_name(i)) != NULL; i++)
        if (strlen(f) == n && !memcmp(f, name, n)) {
            *mask |= 1u << i;
            return 0;
        }
    return SLV_E_USAGE;
}

static int read_faults(const char *text, unsigned *ret, struct slv_err *err) {
    unsigned mask = 0;
    if (!strcmp(text, "all")) mask = SLV_SIM_ALL;
    for (const char *p = text; mask != SLV_SIM_ALL && strcmp(text, "none") != 0; p++) {
        const size_t n = strcspn(p, ",");
        if (find_fault(p, n, &mask))
            return slv_err_set(err, SLV_E_USAGE, "mesh sim: --faults: no such fault: '%.*s'",
                               (int)(n < 40 ? n : 40), p);
        p += n;
        if (!*p) break;
    }
    *ret = mask;
    return 0;
}

/* "loss,crash"; "none". */
static void add_faults(struct slv_buf *b, unsigned mask) {
    const char *f, *comma = "";
    for (unsigned i = 0; (f = slv_sim_fault_name(i)) != NULL; i++) {
        if (!(mask & 1u << i)) continue;
        slv_buf_addf(b, "%s%s", comma, f);
        comma = ",";
    }
    if (!mask) slv_buf_adds(b, "none");
}

/* --- what is told ----------------------------------------------------------------------------- */

/* The command that does it again. */
static void add_command(struct slv_buf *b, const struct slv_sim_conf *c) {
    slv_buf_addf(b, "selvage mesh sim --nodes %u --seed %" PRIu64 " --faults ", c->nodes, c->seed);
    add_faults(b, c->faults);
    if (c->exact) slv_buf_adds(b, " --exact");
    if (c->for_ms) slv_buf_addf(b, " --for %g", (double)c->for_ms / 1e3);
}

static void tell_failure(const struct slv_cli *cli, struct slv_json *j,
                         const struct slv_sim_conf *c, const struct slv_sim_result *r,
                         uint64_t seed) {
    struct slv_buf again;
    slv_buf_init(&again, 4096);
    add_command(&again, c);
    if (cli->json) {
        slv_json_object(j, NULL);
        slv_json_uint(j, "seed", seed);
        slv_json_str(j, "why", r->why);
        slv_json_str(j, "replay", again.data);
        slv_json_object_end(j);
    } else {
        slv_out_printf("seed %" PRIu64 ": %s\n  %s --trace\n", seed, r->why, again.data);
    }
    slv_buf_fini(&again);
}

static void tell_total(const struct slv_cli *cli, struct slv_json *j, const struct total *t,
                       unsigned nodes) {
    const struct {
        const char *name;
        uint64_t v;
    } number[] = {
        {"nodes", nodes},
        {"seeds", t->run},
        {"held", t->run - t->failed},
        {"agreed_ms", t->slowest_ms},
        {"events", t->events},
        {"datagrams", t->datagrams},
        {"bytes", t->bytes},
        {"writes", t->writes},
        {"batches", t->batches},
        {"crashes", t->crashes},
        {"retired", t->retired},
    };
    char digest[20];
    snprintf(digest, sizeof digest, "%016" PRIx64, t->digest);
    for (size_t i = 0; i < sizeof number / sizeof *number && cli->json; i++)
        slv_json_uint(j, number[i].name, number[i].v);
    if (cli->json) {
        slv_json_str(j, "digest", digest);
        return;
    }
    slv_out_printf("%" PRIu64 " of %" PRIu64 " seeds held, %u nodes each: %" PRIu64
                   " writes, %" PRIu64 " crashes, %" PRIu64 " writers retired, %" PRIu64
                   " datagrams\n"
                   "agreed within %" PRIu64 " ms of the faults' end; digest %s\n",
                   t->run - t->failed, t->run, nodes, t->writes, t->crashes, t->retired,
                   t->datagrams, t->slowest_ms, digest);
}

static void trace(void *ctx, uint64_t ms, const char *line) {
    (void)ctx;
    slv_out_printf("%9.3f  %s\n", (double)ms / 1e3, line);
}

/* --- running ---------------------------------------------------------------------------------- */

static void add(struct total *t, const struct slv_sim_result *r) {
    t->run++;
    t->failed += !r->held;
    if (r->agreed_ms > t->slowest_ms) t->slowest_ms = r->agreed_ms;
    t->events += r->events;
    t->datagrams += r->datagrams;
    t->bytes += r->bytes;
    t->writes += r->writes;
    t->batches += r->batches;
    t->crashes += r->crashes;
    t->retired += r->retired;
    t->digest = (t->digest ^ r->digest) * 0x100000001b3u;
}

static int run_seed(const struct slv_cli *cli, const struct opts *o, struct slv_sim_conf c,
                    struct slv_json *j, struct total *t) {
    struct slv_sim_result r;
    int rc = slv_sim_run(&c, &r);
    if (rc) return rc;
    add(t, &r);
    if (r.held) return 0;
    const uint64_t seed = c.seed;
    if (!o->as_it_is && !o->trace) rc = slv_sim_minimize(&c, &c, &r);
    if (!rc) tell_failure(cli, j, &c, &r, seed);
    return rc;
}

static int run_seeds(const struct slv_cli *cli, const struct opts *o, struct slv_sim_conf c,
                     struct slv_json *j, struct total *t) {
    struct slv_progress p;
    int rc = 0;
    slv_sig_watch();
    slv_progress_init(&p, "seeds", cli->quiet || o->trace);
    p.count = true;
    for (int64_t k = 0; k < o->seeds && !rc; k++, c.seed++) {
        if (slv_sig_seen()) rc = SLV_E_CANCELLED;
        else rc = run_seed(cli, o, c, j, t);
        slv_progress_update(&p, (uint64_t)k + 1, (uint64_t)o->seeds);
    }
    slv_progress_end(&p);
    slv_sig_unwatch();
    return rc;
}

static int run(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_sim_conf c = {.nodes = (unsigned)o->nodes,
                             .seed = (uint64_t)o->seed,
                             .exact = o->exact,
                             .for_ms = (uint64_t)(o->for_s * 1e3)};
    struct total t = {0};
    struct slv_buf out;
    struct slv_json j;
    int rc = read_faults(o->faults, &c.faults, err);
    if (rc) return rc;
    if (cli->json && o->trace)
        return slv_err_set(err, SLV_E_USAGE, "mesh sim: --trace does not go with --json");
    if (o->trace) c.trace = trace;
    slv_buf_init(&out, (size_t)1 << 24);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    slv_json_array(&j, "failed");
    rc = run_seeds(cli, o, c, &j, &t);
    slv_json_array_end(&j);
    tell_total(cli, &j, &t, c.nodes);
    slv_json_object_end(&j);
    if (!rc && cli->json) rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    if (rc == SLV_E_NOMEM) slv_err_set(err, rc, "mesh sim: out of memory");
    if (rc == SLV_E_CANCELLED) slv_err_set(err, rc, "mesh sim: interrupted");
    return rc ? rc : t.failed ? 1 : 0;
}

static const struct slv_opt rows[] = {
    {"nodes", 0, SLV_OPT_INT_AT(struct opts, nodes), .arg = "N", .def = "5",
     .imin = SLV_SIM_NODES_MIN, .imax = SLV_SIM_NODES_MAX, .help = "how many"},
    {"seed", 0, SLV_OPT_INT_AT(struct opts, seed), .arg = "S", .def = "1", .imin = 0,
     .imax = INT64_MAX, .help = "of the first run"},
    {"seeds", 0, SLV_OPT_INT_AT(struct opts, seeds), .arg = "K", .def = "1", .imin = 1,
     .imax = 100000000, .help = "runs, each with the next seed"},
    {"faults", 0, SLV_OPT_STR_AT(struct opts, faults), .arg = "LIST", .def = "all",
     .help = "kinds of faults, of which a seed draws some: all, none, or of loss, delay, double, "
             "split, one-way, crash, clock, slow, full, flip, lie, narrow, traitor, churn, lost"},
    {"exact", 0, SLV_OPT_FLAG_AT(struct opts, exact), .help = "all of these faults in each run"},
    {"for", 0, SLV_OPT_REAL_AT(struct opts, for_s), .arg = "SECONDS", .def = "20", .rmin = 0.5,
     .rmax = 86400, .help = "how long nodes write and suffer"},
    {"trace", 0, SLV_OPT_FLAG_AT(struct opts, trace), .help = "print what happens, as it happens"},
    {"as-it-is", 0, SLV_OPT_FLAG_AT(struct opts, as_it_is),
     .help = "do not look for the smallest run in which a failing seed fails"},
};

const struct slv_cmd slv_cmd_mesh_sim = {
    .name = "mesh sim",
    .help = "simulate a mesh over a network and disks that fail",
    .args = "",
    .more = "Runs the code of a node, unchanged, many times in one process, in virtual time. While "
            "nodes write, faults befall all of them; then they end for some, who must come to hold "
            "the same, and what was written, within 90 seconds.\n"
            "Ends with 0 when all held. For a seed that fails the command is printed that does it "
            "again, with as few faults and nodes as will do. The same options print the same.",
    SLV_CMD_OPTS(rows, struct opts),
    .fn = run,
};
