/* bench_rig.c: the sessions that bench measures, below the library's own: see bench.h. */
#include "base/log.h"
#include "base/mem.h"
#include "base/team.h"
#include "cli/bench.h"
#include "cli/sig.h"

#include <stdlib.h>

#define BUSY 0.5 /* of the cores, by the load of the last minute */

int32_t slv_bench_token(struct slv_bench *b) {
    b->rnd = b->rnd * 6364136223846793005u + 1442695040888963407u;
    return (int32_t)((b->rnd >> 33) % b->m->h.n_vocab);
}

int slv_bench_check_room(const struct slv_bench *b, int64_t depth, int64_t n, struct slv_err *err) {
    if (depth + n <= b->m->h.n_ctx) return 0;
    return slv_err_set(err, SLV_E_USAGE, "%lld tokens after %lld: the model has %u positions",
                       (long long)n, (long long)depth, b->m->h.n_ctx);
}

size_t slv_bench_drawing(const struct slv_bench *b, size_t threads, size_t sessions) {
    bool few = b->threads_few && sessions <= SLV_STEP_FEW && b->threads_few < threads;
    return few ? b->threads_few : threads;
}

void slv_bench_rig_close(struct slv_bench_rig *r) {
    slv_runner_close(r->runner);
    slv_kv_fini(&r->kv);
    slv_mem_free(r->tok);
    slv_team_close(r->team);
}

int slv_bench_rig_open(const struct slv_bench *b, size_t threads, uint32_t ctx,
                       struct slv_bench_rig *ret, struct slv_err *err) {
    const struct slv_model *m = b->m;
    struct slv_runner_model parts = {&m->h, &m->w, &m->plan, &m->kern};
    const enum slv_kv_type kv = slv_kv_type_of((enum slv_kv_kind)b->o->kv);
    uint32_t step = (uint32_t)b->batch_size < ctx ? (uint32_t)b->batch_size : ctx;
    struct slv_bench_rig *r = ret;
    *r = (struct slv_bench_rig){0};
    int rc = slv_model_check_generates(m, err);
    if (rc) return rc;
    rc = slv_team_open(threads, &r->team);
    if (!rc) rc = slv_runner_open(&parts, step, 1, r->team, &r->runner);
    r->tok = slv_mem_calloc(step, sizeof *r->tok);
    if (!rc && !r->tok) rc = SLV_E_NOMEM;
    if (!rc) rc = slv_kv_init(&r->kv, &m->h, kv, ctx, step, NULL);
    if (!rc) return 0;
    slv_bench_rig_close(r);
    return slv_err_set(err, rc, "no memory for a session of %u positions", ctx);
}

/* One step of k tokens. */
static int one_step(struct slv_bench *b, struct slv_bench_rig *r, int64_t k, bool logits,
                    struct slv_err *err) {
    for (int64_t i = 0; i < k; i++)
        r->tok[i] = (struct slv_step_token){.kv = &r->kv,
                                            .id = slv_bench_token(b),
                                            .pos = r->kv.n_pos + (uint32_t)i,
                                            .logits = logits && i + 1 == k};
    int rc = slv_kv_ready(&r->kv, (uint32_t)k);
    if (!rc) rc = slv_step(r->runner, r->tok, (uint32_t)k);
    if (rc) return slv_err_set(err, rc, "%s", slv_strerror(rc));
    r->kv.n_pos += (uint32_t)k;
    return slv_sig_seen() ? slv_err_set(err, SLV_E_CANCELLED, "interrupted") : 0;
}

int slv_bench_read(struct slv_bench *b, struct slv_bench_rig *r, int64_t n, struct slv_err *err) {
    int rc = 0;
    for (int64_t done = 0; done < n && !rc;) {
        int64_t k = n - done < b->batch_size ? n - done : b->batch_size;
        done += k;
        rc = one_step(b, r, k, done == n, err);
    }
    return rc;
}

int slv_bench_rewind(struct slv_bench *b, struct slv_bench_rig *r, int64_t depth,
                     struct slv_err *err) {
    if (slv_kv_rewind(&r->kv, (uint32_t)depth)) return 0;
    bool back = slv_kv_rewind(&r->kv, 0); /* always works */
    return back ? slv_bench_read(b, r, depth, err) : SLV_E_INTERNAL;
}

int slv_bench_draw(struct slv_bench *b, struct slv_bench_rig *r, int64_t n, struct slv_err *err) {
    int rc = 0;
    for (int64_t i = 0; i < n && !rc; i++)
        rc = one_step(b, r, 1, true, err);
    return rc;
}

void slv_bench_energy_begin(struct slv_bench *b) {
    b->has_energy = !slv_energy_begin(&b->energy, SLV_ENERGY_FOLDER);
}

double slv_bench_energy(struct slv_bench *b) {
    uint64_t uj = 0;
    bool told = b->has_energy && !slv_energy_read(&b->energy, &uj);
    return told && uj ? (double)uj * 1e-6 : -1.0;
}

void slv_bench_warn_busy(void) {
    double load = 0.0;
    if (getloadavg(&load, 1) == 1 && load > BUSY * (double)slv_team_cpus())
        slv_log(SLV_LOG_WARN,
                "this machine has other work (load %.1f): what is measured now need "
                "not hold when it has none",
                load);
}
