/* bench_tune.c: bench --tune: what is fastest for this model here: see bench.h and tuned.h.
 *
 * Numbers of threads are tried for drawing tokens and for reading a prompt, then sizes of a
 * prompt's steps. Candidates are measured in turn, round after round, and stand for their best
 * round, because what disturbs a measurement makes it slower. A default is only left for what is
 * clearly faster, found so once more when both are measured at the end. */
#include "base/clock.h"
#include "base/cores.h"
#include "base/team.h"
#include "cli/bench.h"
#include "cli/out.h"
#include "cli/tuned.h"

#define CLEARLY 1.03
#define PROMPT_MOST 512 /* tokens of a round */
#define GEN_MOST 32
#define TRIED_MAX 32

/* One thing that is tried. */
struct candidate {
    size_t threads;
    int64_t batch;
    double tps; /* of the best round */
};

struct tune {
    struct slv_bench *b;
    int64_t prompt, gen; /* tokens of a round */
    struct slv_tuned before, after;
};

/* One round of a candidate, on a session of its own. */
static int one_round(struct tune *t, bool prompt, struct candidate *c, struct slv_err *err) {
    struct slv_bench *b = t->b;
    struct slv_bench_rig r;
    int64_t n = prompt ? t->prompt : t->gen, warm = prompt ? c->batch : 8;
    if (warm > n) warm = n;
    b->batch_size = c->batch;
    int rc = slv_bench_rig_open(b, c->threads, (uint32_t)n, &r, err);
    if (rc) return rc;
    rc = prompt ? slv_bench_read(b, &r, warm, err) : slv_bench_draw(b, &r, warm, err);
    if (!rc) rc = slv_bench_rewind(b, &r, 0, err);
    uint64_t t0 = slv_clock_mono(&slv_clock_system);
    if (!rc) rc = prompt ? slv_bench_read(b, &r, n, err) : slv_bench_draw(b, &r, n, err);
    double tps = (double)n * 1e9 / (double)(slv_clock_mono(&slv_clock_system) - t0);
    if (tps > c->tps) c->tps = tps;
    slv_bench_rig_close(&r);
    return rc;
}

static int all_rounds(struct tune *t, bool prompt, struct candidate *c, size_t n,
                      struct slv_err *err) {
    int rc = 0;
    for (int64_t round = 0; round < t->b->o->repeat; round++)
        for (size_t i = 0; i < n && !rc; i++)
            rc = one_round(t, prompt, &c[i], err);
    return rc;
}

static const struct candidate *fastest(const struct candidate *c, size_t n) {
    const struct candidate *best = c;
    for (size_t i = 1; i < n; i++)
        if (c[i].tps > best->tps) best = &c[i];
    return best->tps > c[0].tps * CLEARLY ? best : c;
}

static void report(struct tune *t, bool prompt, const struct candidate *c, size_t n) {
    struct slv_bench *b = t->b;
    for (size_t i = 0; i < n; i++) {
        if (!b->cli->json) {
            slv_out_printf("%-8s %7zu %10lld  %10.2f\n", prompt ? "prompt" : "decode", c[i].threads,
                           (long long)(prompt ? c[i].batch : 1), c[i].tps);
            continue;
        }
        slv_json_object(&b->j, NULL);
        slv_json_str(&b->j, "what", prompt ? "prompt" : "decode");
        slv_json_uint(&b->j, "threads", c[i].threads);
        slv_json_int(&b->j, "step", prompt ? c[i].batch : 1);
        slv_json_double(&b->j, "tps", c[i].tps);
        slv_json_object_end(&b->j);
    }
}

/* The default first. Up to eight every number of threads, then those between two powers of two, and
 * all processors. */
static size_t thread_counts(size_t fallback, size_t least, struct candidate c[TRIED_MAX]) {
    struct slv_cores cores;
    slv_cores_here(&cores);
    size_t most = cores.quota ? cores.threads : cores.allowed, n = 0;
    if (most > SLV_TEAM_MAX) most = SLV_TEAM_MAX;
    c[n++].threads = fallback;
    for (size_t k = least, step = 1; k <= most && n + 1 < TRIED_MAX; k += step) {
        if (k != fallback) c[n++].threads = k;
        while (step * 8 <= k)
            step *= 2;
    }
    if (c[n - 1].threads < most && fallback != most) c[n++].threads = most;
    return n;
}

static int try_threads(struct tune *t, bool prompt, size_t fallback, size_t least, uint32_t *ret,
                       struct slv_err *err) {
    struct candidate c[TRIED_MAX] = {0};
    size_t n = thread_counts(fallback, least, c);
    for (size_t i = 0; i < n; i++)
        c[i].batch = t->before.prompt_batch;
    int rc = all_rounds(t, prompt, c, n, err);
    if (rc) return rc;
    report(t, prompt, c, n);
    *ret = (uint32_t)fastest(c, n)->threads;
    return slv_out_flush(err);
}

static int try_batches(struct tune *t, struct slv_err *err) {
    static const uint32_t sizes[] = {64, 128, 256, 512};
    struct candidate c[TRIED_MAX] = {{.batch = t->before.prompt_batch}};
    size_t n = 1;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] != t->before.prompt_batch && sizes[i] <= t->prompt) c[n++].batch = sizes[i];
    for (size_t i = 0; i < n; i++)
        c[i].threads = t->after.prompt_threads;
    int rc = n > 1 ? all_rounds(t, true, c, n, err) : 0;
    if (rc) return rc;
    if (n > 1) report(t, true, c, n);
    t->after.prompt_batch = (uint32_t)fastest(c, n)->batch;
    return slv_out_flush(err);
}

/* Defaults and choice once more, side by side; back to the default where it is not clearly slower.
 */
static int confirm(struct tune *t, bool prompt, double tps[2], struct slv_err *err) {
    struct slv_tuned *was = &t->before, *is = &t->after;
    struct candidate c[2] = {
        {.threads = prompt ? was->prompt_threads : was->decode_threads, .batch = was->prompt_batch},
        {.threads = prompt ? is->prompt_threads : is->decode_threads, .batch = is->prompt_batch}};
    bool same = c[0].threads == c[1].threads && (!prompt || c[0].batch == c[1].batch);
    int rc = all_rounds(t, prompt, c, same ? 1 : 2, err);
    if (rc) return rc;
    if (same || fastest(c, 2) == c) c[1] = c[0];
    if (prompt) {
        is->prompt_threads = (uint32_t)c[1].threads;
        is->prompt_batch = (uint32_t)c[1].batch;
    } else {
        is->decode_threads = (uint32_t)c[1].threads;
    }
    tps[0] = c[0].tps;
    tps[1] = c[1].tps;
    return 0;
}

static void side_json(struct slv_json *j, const char *key, const struct slv_tuned *s, double prompt,
                      double decode) {
    slv_json_object(j, key);
    slv_json_uint(j, "prompt_threads", s->prompt_threads);
    slv_json_uint(j, "prompt_step", s->prompt_batch);
    slv_json_double(j, "prompt_tps", prompt);
    slv_json_uint(j, "decode_threads", s->decode_threads);
    slv_json_double(j, "decode_tps", decode);
    slv_json_object_end(j);
}

static void side_line(const char *name, const struct slv_tuned *s, double prompt, double decode) {
    slv_out_printf("%-8s %7u %10u  %10.2f   %7u  %10.2f\n", name, s->prompt_threads,
                   s->prompt_batch, prompt, s->decode_threads, decode);
}

static int conclude(struct tune *t, struct slv_err *err) {
    struct slv_bench *b = t->b;
    double prompt[2], decode[2];
    struct slv_buf path;
    int rc = confirm(t, false, decode, err);
    if (!rc) rc = confirm(t, true, prompt, err);
    if (rc) return rc;
    if (t->after.prompt_threads < t->after.decode_threads)
        t->after.decode_threads = t->after.prompt_threads;
    slv_buf_init(&path, 65536);
    rc = slv_tuned_save(b->m, &t->after, &path, err);
    if (b->cli->json) {
        slv_json_array_end(&b->j);
        side_json(&b->j, "before", &t->before, prompt[0], decode[0]);
        side_json(&b->j, "after", &t->after, prompt[1], decode[1]);
        slv_json_str(&b->j, "file", path.data);
        slv_json_object_end(&b->j);
    } else { /* what was found is shown also where it cannot be kept */
        slv_out_printf("\n%-8s %7s %10s  %10s   %7s  %10s\n", "", "threads", "step", "prompt t/s",
                       "threads", "decode t/s");
        side_line("before", &t->before, prompt[0], decode[0]);
        side_line("after", &t->after, prompt[1], decode[1]);
        if (!rc) slv_out_printf("kept in %s\n", path.data);
    }
    slv_buf_fini(&path);
    return rc;
}

int slv_bench_tune(struct slv_bench *b, struct slv_err *err) {
    const uint32_t cpus = (uint32_t)slv_team_cpus();
    struct slv_session_opts so = {0};
    int rc = slv_session_opts_fill(b->m, &so, &so, err);
    if (rc) return rc;
    int64_t room = b->m->h.n_ctx;
    struct tune t = {.b = b,
                     .prompt = b->o->prompt < PROMPT_MOST ? b->o->prompt : PROMPT_MOST,
                     .gen = b->o->gen < GEN_MOST ? b->o->gen : GEN_MOST,
                     .before = {cpus, cpus, so.n_batch},
                     .after = {cpus, cpus, so.n_batch}};
    if (t.prompt > room) t.prompt = room;
    slv_bench_warn_busy();
    if (t.gen > room) t.gen = room;
    if (b->cli->json) {
        slv_json_object(&b->j, "tune");
        slv_json_array(&b->j, "tried");
    } else {
        slv_out_printf("%-8s %7s %10s  %10s\n", "tried", "threads", "step", "tokens/s");
    }
    rc = try_threads(&t, false, cpus, 1, &t.after.decode_threads, err);
    /* Steps of few tokens are made by some of those that make all others. */
    size_t least = t.after.decode_threads;
    if (!rc)
        rc =
            try_threads(&t, true, least > cpus ? least : cpus, least, &t.after.prompt_threads, err);
    if (!rc) rc = try_batches(&t, err);
    return rc ? rc : conclude(&t, err);
}
