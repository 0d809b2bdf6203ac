/* cmd_bench.c: tokens a second of a model on this machine, and the memory bus beside them.
 *
 * Tests are named as llama-bench names them: ppN reads a prompt of N tokens, tgN draws N tokens one
 * at a time. Each is repeated; median, lowest and highest are shown. Speed does not depend on what
 * the tokens are, so they are pseudo-random. A batch of B runs B sessions at once and counts the
 * tokens of all. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/team.h"
#include "cli/bench_speculate.h"
#include "cli/cmd.h"
#include "cli/engine.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "engine/model.h"
#include "engine/step.h"

#include <stdio.h>
#include <stdlib.h>
#include <stdatomic.h>
#include <string.h>

#define BATCH_MAX 64
#define REPEAT_MAX 100

struct bench_opts {
    int64_t prompt, gen, repeat, batch_size;
    struct slv_opt_ints threads, depth, batch;
    int kv;
    bool membw, raw, no_repack_cache;
    uint64_t membw_size;
    const char *speculate, *draft;
};

static const struct slv_opt rows[] = {
    {"prompt", 'p', SLV_OPT_INT_AT(struct bench_opts, prompt), .arg = "N", .def = "512", .imin = 0,
     .imax = 1 << 20, .help = "tokens of prompt to read; 0: skip that test"},
    {"gen", 'n', SLV_OPT_INT_AT(struct bench_opts, gen), .arg = "N", .def = "128", .imin = 0,
     .imax = 1 << 20, .help = "tokens to draw; 0: skip that test"},
    {"threads", 't', SLV_OPT_INTS_AT(struct bench_opts, threads), .arg = "N,...", .imin = 1,
     .imax = 256, .help = "thread counts to try; default: one for each processor"},
    {"depth", 'd', SLV_OPT_INTS_AT(struct bench_opts, depth), .arg = "N,...", .def = "0", .imin = 0,
     .imax = 1 << 24, .help = "tokens already in the cache"},
    {"batch", 'b', SLV_OPT_INTS_AT(struct bench_opts, batch), .arg = "N,...", .def = "1", .imin = 1,
     .imax = BATCH_MAX, .help = "sessions that draw at once"},
    {"repeat", 'r', SLV_OPT_INT_AT(struct bench_opts, repeat), .arg = "N", .def = "3", .imin = 1,
     .imax = REPEAT_MAX, .help = "runs of each test"},
    {"batch-size", 0, SLV_OPT_INT_AT(struct bench_opts, batch_size), .arg = "N", .def = "256",
     .imin = 1, .imax = 8192, .help = "prompt tokens in one step"},
    {"kv", 0, SLV_OPT_CHOICE_AT(struct bench_opts, kv), .arg = "TYPE", .choices = "f16|f32|q8",
     .def = "f16", .help = "element type of the KV cache"},
    {"membw", 0, SLV_OPT_FLAG_AT(struct bench_opts, membw),
     .help = "also measure how fast memory can be read, over --membw-size bytes"},
    {"membw-size", 0, SLV_OPT_SIZE_AT(struct bench_opts, membw_size), .arg = "SIZE", .def = "1G",
     .imin = 1 << 20, .imax = INT64_C(1) << 36, .help = "bytes to read for --membw"},
    {"speculate", 0, SLV_OPT_STR_AT(struct bench_opts, speculate), .arg = "FILE",
     .help = "instead: answer the prompt in FILE with at most -n tokens, one step a token and with "
             "tokens guessed ahead in turn, and compare"},
    {"draft", 0, SLV_OPT_STR_AT(struct bench_opts, draft), .arg = "MODEL",
     .help = "with --speculate: a smaller model that guesses too"},
    {"raw", 0, SLV_OPT_FLAG_AT(struct bench_opts, raw),
     .help = "with --speculate: go on from the text as it is, without the chat template"},
    SLV_CLI_REPACK_ROW(struct bench_opts, no_repack_cache),
};

struct row {
    char test[32];
    size_t threads, batch;
    int64_t depth;
    double median, min, max, gbps;
};

struct bench {
    const struct bench_opts *o;
    const struct slv_cli *cli;
    struct slv_model *m;
    double load_ms;
    struct slv_buf out;
    struct slv_json j;
    struct slv_buf path;
    struct {
        size_t threads;
        double gbps;
    } bus[SLV_OPT_LIST_MAX]; /* what --membw found */
    size_t n_bus;
    uint64_t rnd;
};

/* The sessions of one setting. */
struct rig {
    struct slv_team *team;
    struct slv_runner *runner;
    struct slv_kv kv[BATCH_MAX];
    size_t n;
    struct slv_step_token *tok;
};

static uint64_t now(void) { return slv_clock_mono(&slv_clock_system); }

static int32_t random_token(struct bench *b) {
    b->rnd = b->rnd * 6364136223846793005u + 1442695040888963407u;
    return (int32_t)((b->rnd >> 33) % b->m->h.n_vocab);
}

static void rig_close(struct rig *r) {
    slv_runner_close(r->runner);
    for (size_t i = 0; i < r->n; i++)
        slv_kv_fini(&r->kv[i]);
    slv_mem_free(r->tok);
    slv_team_close(r->team);
}

static int rig_open(struct bench *b, size_t threads, size_t batch, uint32_t ctx, struct rig *r,
                    struct slv_err *err) {
    const struct slv_model *m = b->m;
    struct slv_runner_model parts = {&m->h, &m->w, &m->plan, &m->kern};
    uint32_t step = (uint32_t)b->o->batch_size < ctx ? (uint32_t)b->o->batch_size : ctx;
    if (step < batch) step = (uint32_t)batch;
    *r = (struct rig){0};
    int rc = slv_team_open(threads, &r->team);
    if (!rc) rc = slv_runner_open(&parts, step, (uint32_t)batch, r->team, &r->runner);
    r->tok = slv_mem_calloc(step, sizeof *r->tok);
    if (!rc && !r->tok) rc = SLV_E_NOMEM;
    for (; !rc && r->n < batch; r->n++)
        rc =
            slv_kv_init(&r->kv[r->n], &m->h, slv_kv_type_of((enum slv_kv_kind)b->o->kv), ctx, step);
    if (rc) {
        rig_close(r);
        return slv_err_set(err, rc, "no memory for %zu sessions of %u positions", batch, ctx);
    }
    return 0;
}

/* Reads n tokens into session s, the last with logits. */
static int read_tokens(struct bench *b, struct rig *r, size_t s, int64_t n, struct slv_err *err) {
    for (int64_t done = 0; done < n;) {
        int64_t k = n - done < b->o->batch_size ? n - done : b->o->batch_size;
        for (int64_t i = 0; i < k; i++)
            r->tok[i] = (struct slv_step_token){.kv = &r->kv[s],
                                                .id = random_token(b),
                                                .pos = r->kv[s].n_pos + (uint32_t)i,
                                                .logits = done + i + 1 == n};
        int rc = slv_step(r->runner, r->tok, (uint32_t)k);
        if (rc) return slv_err_set(err, rc, "%s", slv_strerror(rc));
        r->kv[s].n_pos += (uint32_t)k;
        done += k;
        if (slv_sig_seen()) return slv_err_set(err, SLV_E_CANCELLED, "interrupted");
    }
    return 0;
}

/* One token for every session. */
static int draw_tokens(struct bench *b, struct rig *r, int64_t n, struct slv_err *err) {
    for (int64_t i = 0; i < n; i++) {
        for (size_t s = 0; s < r->n; s++)
            r->tok[s] = (struct slv_step_token){
                .kv = &r->kv[s], .id = random_token(b), .pos = r->kv[s].n_pos, .logits = true};
        int rc = slv_step(r->runner, r->tok, (uint32_t)r->n);
        if (rc) return slv_err_set(err, rc, "%s", slv_strerror(rc));
        for (size_t s = 0; s < r->n; s++)
            r->kv[s].n_pos++;
        if (slv_sig_seen()) return slv_err_set(err, SLV_E_CANCELLED, "interrupted");
    }
    return 0;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Bytes read for one step that ends at position `at`: all weights once, each session's cache. */
static double step_bytes(const struct bench *b, size_t batch, int64_t at) {
    const struct slv_hparams *h = &b->m->h;
    size_t elem = b->o->kv == SLV_KV_KIND_F32 ? 4 : b->o->kv == SLV_KV_KIND_Q8 ? 1 : 2;
    double kv = 0.0;
    for (uint32_t i = 0; i < h->n_layer; i++) {
        int64_t seen = h->window && h->windowed[i] && at > h->window ? h->window : at;
        kv += (double)seen * h->n_head_kv * (double)((h->head_k + h->head_v) * elem);
    }
    return (double)b->m->w.tile_bytes + kv * (double)batch;
}

static void put_row(struct bench *b, const struct row *r) {
    if (!b->cli->json) {
        slv_out_printf("%-8s %7zu %5zu %6lld  %10.2f  %10.2f  %10.2f  %7.2f\n", r->test, r->threads,
                       r->batch, (long long)r->depth, r->median, r->min, r->max, r->gbps);
        return;
    }
    slv_json_object(&b->j, NULL);
    slv_json_str(&b->j, "test", r->test);
    slv_json_uint(&b->j, "threads", r->threads);
    slv_json_uint(&b->j, "batch", r->batch);
    slv_json_int(&b->j, "depth", r->depth);
    slv_json_double(&b->j, "tps_median", r->median);
    slv_json_double(&b->j, "tps_min", r->min);
    slv_json_double(&b->j, "tps_max", r->max);
    slv_json_double(&b->j, "gbps", r->gbps);
    slv_json_uint(&b->j, "peak_rss", slv_cli_peak_rss());
    slv_json_double(&b->j, "load_ms", b->load_ms);
    slv_json_object_end(&b->j);
}

/* One test under one setting: a warm-up, then the counted runs. */
static int measure(struct bench *b, bool prompt, size_t threads, size_t batch, int64_t depth,
                   struct slv_err *err) {
    int64_t n = prompt ? b->o->prompt : b->o->gen;
    double tps[REPEAT_MAX];
    struct rig r;
    if (depth + n > b->m->h.n_ctx)
        return slv_err_set(err, SLV_E_USAGE, "%lld tokens after %lld: the model has %u positions",
                           (long long)n, (long long)depth, b->m->h.n_ctx);
    int rc = rig_open(b, threads, batch, (uint32_t)(depth + n), &r, err);
    if (rc) return rc;
    for (size_t s = 0; s < batch && !rc && depth; s++)
        rc = read_tokens(b, &r, s, depth, err);
    for (int64_t i = -1; i < b->o->repeat && !rc; i++) {
        for (size_t s = 0; s < batch; s++)
            r.kv[s].n_pos = (uint32_t)depth; /* the cache behind it is written anew */
        int64_t count = i < 0 && n > 16 ? 16 : n;
        uint64_t t0 = now();
        if (!prompt) rc = draw_tokens(b, &r, count, err);
        for (size_t s = 0; s < batch && prompt && !rc; s++)
            rc = read_tokens(b, &r, s, count, err);
        if (i >= 0) tps[i] = (double)count * (double)batch * 1e9 / (double)(now() - t0);
    }
    rig_close(&r);
    if (rc) return rc;
    size_t k = (size_t)b->o->repeat;
    qsort(tps, k, sizeof *tps, by_value);
    struct row row = {.threads = threads,
                      .batch = batch,
                      .depth = depth,
                      .min = tps[0],
                      .max = tps[k - 1],
                      .median = k % 2 ? tps[k / 2] : (tps[k / 2 - 1] + tps[k / 2]) / 2};
    snprintf(row.test, sizeof row.test, "%s%lld", prompt ? "pp" : "tg", (long long)n);
    double per_step = step_bytes(b, batch, depth + n / 2);
    double steps = prompt ? row.median / (double)b->o->batch_size : row.median / (double)batch;
    row.gbps = per_step * steps * 1e-9;
    put_row(b, &row);
    struct slv_err ignore;
    return slv_out_flush(&ignore) ? slv_err_set(err, SLV_E_IO, "standard output: %s", ignore.msg)
                                  : 0;
}

/* --- the memory bus --------------------------------------------------------------------------- */

struct bus {
    const unsigned char *p;
    size_t n;
    _Atomic uint64_t sum; /* so that the reading is not idle */
};

#define BUS_UNIT 65536

static size_t bus_units(void *arg, size_t stage) {
    const struct bus *b = arg;
    (void)stage;
    return b->n / BUS_UNIT;
}

/* Four streams, each prefetched ahead: the most one core can pull. */
static void read_units(void *arg, size_t stage, size_t from, size_t to) {
    struct bus *b = arg;
    (void)stage;
    size_t part = (to - from) * (BUS_UNIT / 8) / 4;
    const uint64_t *p = (const uint64_t *)(const void *)(b->p + from * BUS_UNIT);
    uint64_t s[4] = {0};
    for (size_t i = 0; i + 8 <= part; i += 8)
        for (size_t k = 0; k < 4; k++) {
            const uint64_t *q = p + k * part + i;
            __builtin_prefetch(q + 96);
            s[k] += q[0] + q[1] + q[2] + q[3] + q[4] + q[5] + q[6] + q[7];
        }
    atomic_fetch_add_explicit(&b->sum, s[0] + s[1] + s[2] + s[3], memory_order_relaxed);
}

static int measure_bus(struct bench *b, size_t threads, struct slv_err *err) {
    struct bus bus = {.n = b->o->membw_size};
    const struct slv_job job = {1, bus_units, read_units, &bus};
    unsigned char *p = slv_mem_alloc_aligned(4096, bus.n);
    struct slv_team *team = NULL;
    int rc = p ? slv_team_open(threads, &team) : SLV_E_NOMEM;
    if (rc) {
        slv_mem_free(p);
        return slv_err_set(err, rc, "no memory to measure with");
    }
    memset(p, 1, bus.n);
    bus.p = p;
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        uint64_t t0 = now();
        slv_team_run(team, &job);
        uint64_t t = now() - t0;
        if (t < best) best = t;
    }
    double gbps = (double)bus.n / (double)best;
    b->bus[b->n_bus].threads = threads;
    b->bus[b->n_bus++].gbps = gbps;
    if (!b->cli->json) slv_out_printf("%-8s %7zu %45s  %7.2f\n", "membw", threads, "", gbps);
    slv_team_close(team);
    slv_mem_free(p);
    return 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

static int speculate(struct bench *b, size_t threads, struct slv_err *err) {
    const struct bench_opts *o = b->o;
    struct slv_bench_speculate s = {.file = o->speculate,
                                    .raw = o->raw,
                                    .repack_cache = !o->no_repack_cache,
                                    .draft = o->draft,
                                    .n = (uint32_t)o->gen,
                                    .batch = (uint32_t)o->batch_size,
                                    .repeat = (uint32_t)o->repeat,
                                    .threads = (uint32_t)threads,
                                    .kv = (enum slv_kv_kind)o->kv};
    return slv_cli_bench_speculate(b->cli, b->m, &s, &b->j, err);
}

static int measure_threads(struct bench *b, size_t threads, struct slv_err *err) {
    const struct bench_opts *o = b->o;
    if (o->speculate) return speculate(b, threads, err);
    int rc = o->membw ? measure_bus(b, threads, err) : 0;
    for (size_t d = 0; d < o->depth.n && !rc; d++)
        for (size_t i = 0; i < o->batch.n && !rc; i++) {
            size_t batch = (size_t)o->batch.v[i];
            if (o->prompt && batch == 1) rc = measure(b, true, threads, batch, o->depth.v[d], err);
            if (o->gen && !rc) rc = measure(b, false, threads, batch, o->depth.v[d], err);
        }
    return rc;
}

static void head(struct bench *b, const char *path) {
    struct slv_model_info i;
    slv_model_info(b->m, &i);
    if (!b->cli->json) {
        slv_out_printf("%s: %s, %.1f M parameters; %s, %zu processors; loaded in %.0f ms\n", path,
                       i.arch, (double)i.params * 1e-6, i.cpu, slv_team_cpus(), b->load_ms);
        if (b->o->speculate) return;
        slv_out_printf("%-8s %7s %5s %6s  %10s  %10s  %10s  %7s\n", "test", "threads", "batch",
                       "depth", "tokens/s", "lowest", "highest", "GB/s");
        return;
    }
    slv_json_object(&b->j, NULL);
    slv_json_object(&b->j, "machine");
    slv_json_str(&b->j, "cpu", i.cpu);
    slv_json_uint(&b->j, "processors", slv_team_cpus());
    slv_json_object_end(&b->j);
    slv_json_object(&b->j, "model");
    slv_json_str(&b->j, "path", path);
    slv_json_str(&b->j, "arch", i.arch);
    slv_json_uint(&b->j, "params", i.params);
    slv_json_uint(&b->j, "bytes", i.file_bytes);
    slv_json_uint(&b->j, "weights", b->m->w.tile_bytes);
    slv_json_str(&b->j, "packed", i.cached ? "cached" : "built");
    slv_json_object_end(&b->j);
    slv_json_array(&b->j, "rows");
}

static int tail(struct bench *b, struct slv_err *err) {
    if (b->cli->json) {
        slv_json_array_end(&b->j);
        if (b->n_bus) slv_json_array(&b->j, "membw");
        for (size_t i = 0; i < b->n_bus; i++) {
            slv_json_object(&b->j, NULL);
            slv_json_uint(&b->j, "threads", b->bus[i].threads);
            slv_json_double(&b->j, "gbps", b->bus[i].gbps);
            slv_json_object_end(&b->j);
        }
        if (b->n_bus) slv_json_array_end(&b->j);
        slv_json_object_end(&b->j);
        return slv_out_line(&b->out, err);
    }
    char size[SLV_OUT_SIZE_MAX];
    slv_out_printf("peak memory %s\n", slv_out_size(slv_cli_peak_rss(), size));
    return 0;
}

static int bench(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct bench b = {.o = opts, .cli = cli, .rnd = 1};
    slv_buf_init(&b.path, 65536);
    struct slv_model_opts mo = {0};
    if (!b.o->prompt && !b.o->gen && !b.o->membw)
        return slv_err_set(err, SLV_E_USAGE, "bench: -p 0 -n 0: nothing to measure");
    if (b.o->speculate && !b.o->gen)
        return slv_err_set(err, SLV_E_USAGE, "bench: --speculate: -n 0: nothing to measure");
    if (!b.o->speculate && (b.o->draft || b.o->raw))
        return slv_err_set(err, SLV_E_USAGE, "bench: --%s: goes with --speculate",
                           b.o->draft ? "draft" : "raw");
    int rc = slv_cli_model_path(slv_cli_arg(cli, 0), &b.path, err);
    uint64_t t0 = now();
    if (!rc) rc = slv_cli_model_open(cli, b.path.data, &mo, !b.o->no_repack_cache, &b.m, err);
    if (rc) {
        slv_buf_fini(&b.path);
        return rc;
    }
    slv_sig_watch();
    b.load_ms = (double)(now() - t0) * 1e-6;
    slv_buf_init(&b.out, (size_t)16 << 20);
    slv_json_init(&b.j, &b.out);
    head(&b, slv_cli_arg(cli, 0) ? slv_cli_arg(cli, 0) : b.path.data);
    size_t cpus = slv_team_cpus(), n = b.o->threads.n;
    for (size_t i = 0; i < (n ? n : 1) && !rc; i++)
        rc = measure_threads(&b, n ? (size_t)b.o->threads.v[i] : cpus, err);
    if (!rc) rc = tail(&b, err);
    slv_buf_fini(&b.out);
    slv_buf_fini(&b.path);
    slv_model_close(b.m);
    return rc;
}

const struct slv_cmd slv_cmd_bench = {
    .name = "bench",
    .help = "measure tokens a second on this machine",
    .args = "[MODEL]",
    .more = "ppN reads a prompt of N tokens, tgN draws N tokens one after the other. GB/s is bytes "
            "of weights and KV cache read a step, times steps a second. --speculate shows the "
            "speed with "
            "and without guessing, how many tokens were guessed and right, and tokens a step.",
    .max_args = 1,
    SLV_CMD_OPTS(rows, struct bench_opts),
    .fn = bench,
};
