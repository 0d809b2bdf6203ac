/* bench_batch.c: sessions that draw together, as a server has them: see bench.h. */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/bench.h"
#include "cli/sig.h"

struct crowd {
    struct slv_bench *b;
    struct slv_batch *batch;
    struct slv_session *s[SLV_BENCH_BATCH_MAX];
    int32_t first[SLV_BENCH_BATCH_MAX]; /* what each is fed when it joins */
    size_t n;
    int64_t depth;
    double joules; /* of the counted tokens; negative: not known */
    struct slv_generate_opts opts;
};

static bool on_piece(const struct slv_piece *piece, void *ctx) {
    (void)piece, (void)ctx;
    return true;
}

static void on_done(struct slv_session *s, int rc, enum slv_finish finish, const char *msg,
                    void *ctx) {
    (void)s, (void)rc, (void)finish, (void)msg, (void)ctx;
}

static int feed(struct crowd *c, struct slv_session *s, struct slv_err *err) {
    size_t n = (size_t)c->depth;
    int32_t *ids = slv_mem_calloc(n + 1, sizeof *ids);
    if (!ids) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        ids[i] = slv_bench_token(c->b);
    int rc = n ? slv_session_feed(s, ids, n, err) : 0;
    slv_mem_free(ids);
    return rc;
}

/* Back to where the counted tokens begin. */
static int go_back(struct crowd *c, struct slv_session *s, struct slv_err *err) {
    if (!slv_session_rewind(s, (uint32_t)c->depth)) return 0;
    int rc = slv_session_rewind(s, 0); /* a window has lost what it would need there */
    return rc ? slv_err_set(err, rc, "%s", slv_strerror(rc)) : feed(c, s, err);
}

static int open_crowd(struct crowd *c, size_t threads, size_t batch, int64_t n,
                      struct slv_err *err) {
    const struct slv_bench_opts *o = c->b->o;
    uint32_t step =
        (uint32_t)(c->b->batch_size > (int64_t)batch ? c->b->batch_size : (int64_t)batch);
    struct slv_batch_opts bo = {
        .n_sessions = (uint32_t)batch, .n_batch = step, .threads = (uint32_t)threads};
    int rc = slv_batch_open(c->b->m, &bo, &c->batch, err);
    for (; c->n < batch && !rc; c->n += !rc) {
        struct slv_session_opts so = {
            .n_ctx = (uint32_t)(c->depth + n), .kv = (enum slv_kv_kind)o->kv, .batch = c->batch};
        rc = slv_session_open(c->b->m, &so, &c->s[c->n], err);
        if (!rc) rc = feed(c, c->s[c->n], err);
        if (rc) slv_session_close(c->s[c->n]);
    }
    return rc;
}

/* `count` tokens of each session; *ret_ns: how long it took. */
static int draw(struct crowd *c, int64_t count, uint64_t *ret_ns, struct slv_err *err) {
    uint32_t active = 0;
    int rc = 0;
    for (size_t i = 0; i < c->n && !rc; i++) {
        rc = go_back(c, c->s[i], err);
        c->first[i] = slv_bench_token(c->b);
        if (!rc)
            rc = slv_batch_join(c->batch, c->s[i], &c->first[i], 1, &c->opts, on_piece, on_done, c,
                                err);
    }
    slv_bench_energy_begin(c->b);
    uint64_t t0 = slv_clock_mono(&slv_clock_system);
    for (int64_t i = 0; i < count && !rc; i++) {
        rc = slv_batch_step(c->batch, &active, err);
        if (!rc && i + 1 < count && active < c->n)
            rc = slv_err_set(err, SLV_E_INTERNAL, "a session ended before its time");
        if (!rc && slv_sig_seen()) rc = slv_err_set(err, SLV_E_CANCELLED, "interrupted");
    }
    *ret_ns = slv_clock_mono(&slv_clock_system) - t0;
    double joules = slv_bench_energy(c->b);
    c->joules = joules < 0.0 || c->joules < 0.0 ? -1.0 : c->joules + joules;
    for (size_t i = 0; i < c->n; i++)
        slv_batch_leave(c->batch, c->s[i]);
    return rc;
}

int slv_bench_batch(struct slv_bench *b, size_t threads, size_t batch, int64_t depth, int64_t n,
                    double *tps, double *ret_joules, struct slv_err *err) {
    struct crowd c = {.b = b, .depth = depth};
    uint64_t ns = 0;
    slv_generate_default(&c.opts);
    c.opts.ignore_end = c.opts.plain = true;
    int rc = open_crowd(&c, threads, batch, n, err);
    if (!rc) rc = draw(&c, n > 16 ? 16 : n, &ns, err);
    c.joules = 0.0;
    for (int64_t i = 0; i < b->o->repeat && !rc; i++) {
        rc = draw(&c, n, &ns, err);
        tps[i] = (double)n * (double)batch * 1e9 / (double)(ns ? ns : 1);
    }
    *ret_joules = c.joules;
    for (size_t i = 0; i < c.n; i++)
        slv_session_close(c.s[i]);
    slv_batch_close(c.batch);
    return rc;
}
