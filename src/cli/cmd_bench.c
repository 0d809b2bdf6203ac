/* cmd_bench.c: tokens a second of a model on this machine, and the memory bus beside them.
 *
 * Tests are named as llama-bench names them: ppN reads a prompt of N tokens, tgN draws N tokens one
 * at a time. Each is repeated; median, lowest and highest are shown. Speed does not depend on what
 * the tokens are, so they are pseudo-random. A batch of B draws for B sessions in each step
 * (bench_batch.c) and counts the tokens of all. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/team.h"
#include "cli/bench.h"
#include "cli/bench_speculate.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "cli/tuned.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct slv_opt rows[] = {
    {"prompt", 'p', SLV_OPT_INT_AT(struct slv_bench_opts, prompt), .arg = "N", .def = "512",
     .imin = 0, .imax = 1 << 20, .help = "tokens of prompt to read; 0: skip that test"},
    {"gen", 'n', SLV_OPT_INT_AT(struct slv_bench_opts, gen), .arg = "N", .def = "128", .imin = 0,
     .imax = 1 << 20, .help = "tokens to draw; 0: skip that test"},
    {"threads", 't', SLV_OPT_INTS_AT(struct slv_bench_opts, threads), .arg = "N,...", .imin = 1,
     .imax = 256, .help = "thread counts to try; default: one for each core"},
    {"depth", 'd', SLV_OPT_INTS_AT(struct slv_bench_opts, depth), .arg = "N,...", .def = "0",
     .imin = 0, .imax = 1 << 24, .help = "tokens already in the cache"},
    {"batch", 'b', SLV_OPT_INTS_AT(struct slv_bench_opts, batch), .arg = "N,...", .def = "1",
     .imin = 1, .imax = SLV_BENCH_BATCH_MAX, .help = "sessions that draw at once"},
    {"repeat", 'r', SLV_OPT_INT_AT(struct slv_bench_opts, repeat), .arg = "N", .def = "3",
     .imin = 1, .imax = SLV_BENCH_REPEAT_MAX, .help = "runs of each test"},
    {"batch-size", 0, SLV_OPT_INT_AT(struct slv_bench_opts, batch_size), .arg = "N", .imin = 1,
     .imax = SLV_TUNED_BATCH_MAX, .help = "prompt tokens in one step; default: 256"},
    {"kv", 0, SLV_OPT_CHOICE_AT(struct slv_bench_opts, kv), .arg = "TYPE", .choices = "f16|f32|q8",
     .def = "f16", .help = "element type of the KV cache"},
    {"membw", 0, SLV_OPT_FLAG_AT(struct slv_bench_opts, membw),
     .help = "also measure how fast memory can be read, over --membw-size bytes"},
    {"membw-size", 0, SLV_OPT_SIZE_AT(struct slv_bench_opts, membw_size), .arg = "SIZE",
     .def = "1G", .imin = 1 << 20, .imax = INT64_C(1) << 36, .help = "bytes to read for --membw"},
    {"speculate", 0, SLV_OPT_STR_AT(struct slv_bench_opts, speculate), .arg = "FILE",
     .help = "instead: answer the prompt in FILE with at most -n tokens, one step a token and with "
             "tokens guessed ahead in turn, and compare"},
    {"draft", 0, SLV_OPT_STR_AT(struct slv_bench_opts, draft), .arg = "MODEL",
     .help = "with --speculate: a smaller model that guesses too"},
    {"raw", 0, SLV_OPT_FLAG_AT(struct slv_bench_opts, raw),
     .help = "with --speculate: go on from the text as it is, without the chat template"},
    {"ops", 0, SLV_OPT_FLAG_AT(struct slv_bench_opts, ops),
     .help = "instead: where the time of a token goes, by operator, beside what this machine's "
             "memory and products could do"},
    {"trace", 0, SLV_OPT_STR_AT(struct slv_bench_opts, trace), .arg = "FILE",
     .help = "also write when each thread worked on which operator, for chrome://tracing or "
             "Perfetto"},
    {"tune", 0, SLV_OPT_FLAG_AT(struct slv_bench_opts, tune),
     .help = "instead: find the numbers of threads and the size of a prompt's steps that are "
             "fastest here, and keep them for run, chat, batch and bench"},
    SLV_CLI_TUNED_ROW(struct slv_bench_opts, no_tuned),
    SLV_CLI_MODEL_ROWS(struct slv_bench_opts, model),
};

struct row {
    char test[32];
    size_t threads, batch;
    int64_t depth;
    double median, min, max, gbps;
    double joules; /* a token; negative: not known */
};

static uint64_t now(void) { return slv_clock_mono(&slv_clock_system); }

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Bytes that one step reads which ends at position `at` of each of so many caches. */
static double cache_bytes(const struct slv_bench *b, size_t batch, int64_t at) {
    const struct slv_hparams *h = &b->m->h;
    static const double elem[] = {[SLV_KV_KIND_F16] = 2.0,
                                  [SLV_KV_KIND_F32] = 4.0,
                                  [SLV_KV_KIND_Q8] = 1.125}; /* with its scales */
    double kv = 0.0;
    for (uint32_t i = 0; i < h->n_layer; i++) {
        int64_t seen = h->window && h->windowed[i] && at > h->window ? h->window : at;
        kv += (double)seen * h->n_head_kv * (h->head_k + h->head_v) * elem[b->o->kv];
    }
    return kv * (double)batch;
}

/* Bytes read a token: weights once a step, whatever the number of its sessions or tokens. */
static double token_bytes(const struct slv_bench *b, bool prompt, size_t batch, int64_t depth,
                          int64_t n) {
    const struct slv_mat *mat = &b->m->w.out.mat;
    const size_t tiles = (mat->rows + SLV_TILE_ROWS - 1) / SLV_TILE_ROWS;
    double weights = (double)b->m->w.tile_bytes, out = (double)tiles * (double)mat->tile_bytes;
    double all = out;
    if (!prompt) return (weights + cache_bytes(b, batch, depth + n / 2)) / (double)batch;
    for (int64_t done = 0; done < n;) { /* only the last step has logits */
        done += n - done < b->batch_size ? n - done : b->batch_size;
        all += weights - out + cache_bytes(b, 1, depth + done);
    }
    return all / (double)n;
}

static void put_row(struct slv_bench *b, const struct row *r) {
    if (!b->cli->json) {
        slv_out_printf("%-8s %7zu %5zu %6lld  %10.2f  %10.2f  %10.2f  %7.2f", r->test, r->threads,
                       r->batch, (long long)r->depth, r->median, r->min, r->max, r->gbps);
        if (r->joules >= 0.0) slv_out_printf("  %8.4f", r->joules);
        slv_out_puts("\n");
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
    if (r->joules >= 0.0) slv_json_double(&b->j, "joules_per_token", r->joules);
    slv_json_uint(&b->j, "peak_rss", slv_cli_peak_rss());
    slv_json_double(&b->j, "load_ms", b->load_ms);
    slv_json_object_end(&b->j);
}

/* One session: a warm-up, then the counted runs. */
static int measure_one(struct slv_bench *b, bool prompt, size_t threads, int64_t depth, int64_t n,
                       double *tps, double *ret_joules, struct slv_err *err) {
    struct slv_bench_rig r;
    int rc = slv_bench_rig_open(b, threads, (uint32_t)(depth + n), &r, err);
    if (rc) return rc;
    if (depth) rc = slv_bench_read(b, &r, depth, err);
    for (int64_t i = -1; i < b->o->repeat && !rc; i++) {
        rc = slv_bench_rewind(b, &r, depth, err);
        if (rc) break;
        int64_t count = i < 0 && n > 16 ? 16 : n;
        if (i == 0) slv_bench_energy_begin(b);
        uint64_t t0 = now();
        rc = prompt ? slv_bench_read(b, &r, count, err) : slv_bench_draw(b, &r, count, err);
        if (i >= 0) tps[i] = (double)count * 1e9 / (double)(now() - t0);
    }
    *ret_joules = slv_bench_energy(b);
    slv_bench_rig_close(&r);
    return rc;
}

/* One test under one setting. */
static int measure(struct slv_bench *b, bool prompt, size_t threads, size_t batch, int64_t depth,
                   struct slv_err *err) {
    int64_t n = prompt ? b->o->prompt : b->o->gen;
    double tps[SLV_BENCH_REPEAT_MAX] = {0}, joules = -1.0;
    int rc = slv_bench_check_room(b, depth, n, err);
    if (rc) return rc;
    if (!prompt) threads = slv_bench_drawing(b, threads, batch);
    if (batch > 1) rc = slv_bench_batch(b, threads, batch, depth, n, tps, &joules, err);
    else rc = measure_one(b, prompt, threads, depth, n, tps, &joules, err);
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
    row.gbps = token_bytes(b, prompt, batch, depth, n) * row.median * 1e-9;
    row.joules = joules / ((double)n * (double)batch * (double)k);
    put_row(b, &row);
    return slv_out_flush(err);
}

/* --- the memory bus --------------------------------------------------------------------------- */

static int measure_bus(struct slv_bench *b, size_t threads, struct slv_err *err) {
    double gbps = 0.0;
    unsigned char *p = slv_mem_alloc_aligned(4096, b->o->membw_size);
    if (p) memset(p, 1, b->o->membw_size);
    int rc = p ? slv_bench_bus(threads, p, b->o->membw_size, &gbps) : SLV_E_NOMEM;
    slv_mem_free(p);
    if (rc) return slv_err_set(err, rc, "no memory to measure with");
    b->bus[b->n_bus].threads = threads;
    b->bus[b->n_bus++].gbps = gbps;
    if (!b->cli->json) slv_out_printf("%-8s %7zu %45s  %7.2f\n", "membw", threads, "", gbps);
    return 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

static int speculate(struct slv_bench *b, size_t threads, struct slv_err *err) {
    const struct slv_bench_opts *o = b->o;
    struct slv_bench_speculate s = {.file = o->speculate,
                                    .raw = o->raw,
                                    .model = &o->model,
                                    .draft = o->draft,
                                    .n = (uint32_t)o->gen,
                                    .batch = (uint32_t)b->batch_size,
                                    .repeat = (uint32_t)o->repeat,
                                    .threads = (uint32_t)threads,
                                    .kv = (enum slv_kv_kind)o->kv};
    return slv_cli_bench_speculate(b->cli, b->m, &s, &b->j, err);
}

static int measure_threads(struct slv_bench *b, size_t threads, struct slv_err *err) {
    const struct slv_bench_opts *o = b->o;
    if (o->speculate) return speculate(b, threads, err);
    int rc = o->membw ? measure_bus(b, threads, err) : 0;
    if (o->ops || o->tune) return rc;
    for (size_t d = 0; d < o->depth.n && !rc; d++)
        for (size_t i = 0; i < o->batch.n && !rc; i++) {
            size_t batch = (size_t)o->batch.v[i];
            if (o->prompt && batch == 1) rc = measure(b, true, threads, batch, o->depth.v[d], err);
            if (o->gen && !rc) rc = measure(b, false, threads, batch, o->depth.v[d], err);
        }
    return rc;
}

/* Rows for each number of threads, then operators. */
static int measure_all(struct slv_bench *b, struct slv_err *err) {
    size_t threads[SLV_OPT_LIST_MAX] = {b->threads}, n = b->o->threads.n;
    for (size_t i = 0; i < n; i++)
        threads[i] = (size_t)b->o->threads.v[i];
    int rc = 0;
    if (!n) n = 1;
    for (size_t i = 0; i < n && !rc; i++)
        rc = measure_threads(b, threads[i], err);
    if (b->cli->json) slv_json_array_end(&b->j);
    if (!rc && b->o->tune) rc = slv_bench_tune(b, err);
    if (!rc && (b->o->ops || b->o->trace)) rc = slv_bench_ops(b, threads, n, err);
    return rc;
}

static void head(struct slv_bench *b, const char *path) {
    struct slv_model_info i;
    slv_model_info(b->m, &i);
    if (!b->cli->json) {
        slv_out_printf("%s: %s, %.1f M parameters; %s, %zu processors; loaded in %.0f ms%s\n", path,
                       i.arch, (double)i.params * 1e-6, i.cpu, slv_team_cpus(), b->load_ms,
                       b->tuned ? "; tuned" : "");
        if (b->o->speculate || b->o->ops || b->o->tune) return;
        slv_bench_energy_begin(b);
        slv_out_printf("%-8s %7s %5s %6s  %10s  %10s  %10s  %7s%s\n", "test", "threads", "batch",
                       "depth", "tokens/s", "lowest", "highest", "GB/s",
                       b->has_energy ? "   J/token" : "");
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
    slv_json_bool(&b->j, "tuned", b->tuned);
    slv_json_object_end(&b->j);
    slv_json_array(&b->j, "rows");
}

static int tail(struct slv_bench *b, struct slv_err *err) {
    if (b->cli->json) {
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

/* Options that would be passed over in silence. */
static int check_options(const struct slv_bench_opts *o, struct slv_err *err) {
    const char *other = o->ops ? "ops" : o->trace ? "trace" : "tune";
    bool depths = o->depth.n > 1 || o->depth.v[0] != 0,
         batches = o->batch.n > 1 || o->batch.v[0] != 1;
    if (!o->prompt && !o->gen && (!o->membw || o->ops || o->trace))
        return slv_err_set(err, SLV_E_USAGE, "bench: -p 0 -n 0: nothing to measure");
    if (o->speculate && !o->gen)
        return slv_err_set(err, SLV_E_USAGE, "bench: --speculate: -n 0: nothing to measure");
    if (!o->speculate && (o->draft || o->raw))
        return slv_err_set(err, SLV_E_USAGE, "bench: --%s: goes with --speculate",
                           o->draft ? "draft" : "raw");
    if (o->speculate && (o->ops || o->trace || o->tune))
        return slv_err_set(err, SLV_E_USAGE, "bench: --%s: not together with --speculate", other);
    if (o->ops && batches)
        return slv_err_set(err, SLV_E_USAGE, "bench: --ops: operators are those of one session");
    if (o->tune && (!o->prompt || !o->gen || o->threads.n || o->batch_size || o->ops || o->trace ||
                    depths || batches))
        return slv_err_set(err, SLV_E_USAGE,
                           "bench: --tune: tries threads and sizes of steps itself, with a prompt "
                           "and tokens to draw, and nothing else");
    return 0;
}

/* What a session would have, where the options do not say otherwise. */
static int fill_defaults(struct slv_bench *b, struct slv_err *err) {
    const struct slv_bench_opts *o = b->o;
    struct slv_session_opts so = {.threads = o->threads.n ? 1 : 0,
                                  .n_batch = (uint32_t)o->batch_size};
    if (!o->no_tuned && !o->tune) b->tuned = slv_tuned_apply(b->m, &so);
    int rc = slv_session_opts_fill(b->m, &so, &so, err);
    if (rc) return rc;
    b->threads = so.threads;
    b->threads_few = so.threads_few;
    b->batch_size = o->batch_size ? o->batch_size : so.n_batch;
    return 0;
}

static int bench(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct slv_bench b = {.o = opts, .cli = cli, .rnd = 1};
    slv_buf_init(&b.path, 65536);
    struct slv_model_opts mo = {0};
    int rc = check_options(b.o, err);
    if (rc) return rc;
    rc = slv_cli_model_path(slv_cli_arg(cli, 0), &b.path, err);
    uint64_t t0 = now();
    if (!rc) rc = slv_cli_model_open(cli, b.path.data, &mo, &b.o->model, &b.m, err);
    if (rc) {
        slv_buf_fini(&b.path);
        return rc;
    }
    slv_sig_watch();
    b.load_ms = (double)(now() - t0) * 1e-6;
    slv_buf_init(&b.out, (size_t)16 << 20);
    slv_json_init(&b.j, &b.out);
    rc = fill_defaults(&b, err);
    head(&b, slv_cli_arg(cli, 0) ? slv_cli_arg(cli, 0) : b.path.data);
    if (!rc) rc = measure_all(&b, err);
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
            "of weights and KV cache read a token, times tokens a second; weights count once a "
            "step. With --ops a thread's time is parted into operators and waiting, and GB/s "
            "and TOP/s are of the time in which threads work. --speculate shows the speed with "
            "and without guessing, how many tokens were guessed and right, and tokens a step.",
    .max_args = 1,
    SLV_CMD_OPTS(rows, struct slv_bench_opts),
    .fn = bench,
};
