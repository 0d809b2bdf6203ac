/* bench_ceiling.c: what this machine's memory and product kernels give at most: see bench.h. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/team.h"
#include "cli/bench.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 5

/* The shortest time of a job, in ns. */
static uint64_t best_of(struct slv_team *team, const struct slv_job *job) {
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t t0 = slv_clock_mono(&slv_clock_system);
        slv_team_run(team, job);
        uint64_t t = slv_clock_mono(&slv_clock_system) - t0;
        if (t < best) best = t;
    }
    return best ? best : 1;
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

int slv_bench_bus(size_t threads, const void *p, size_t n, double *ret_gbps) {
    struct bus bus = {.p = p, .n = n / BUS_UNIT * BUS_UNIT};
    const struct slv_job job = {1, bus_units, read_units, &bus};
    struct slv_team *team = NULL;
    if (bus.n < 4 * BUS_UNIT) return SLV_E_USAGE;
    int rc = slv_team_open(threads, &team);
    if (rc) return rc;
    *ret_gbps = (double)bus.n / (double)best_of(team, &job);
    slv_team_close(team);
    return 0;
}

/* --- products --------------------------------------------------------------------------------- */

#define L2_DEFAULT ((size_t)256 << 10)
#define PRODUCT_MACS 1e8 /* of a round, about: some milliseconds */

struct product {
    const struct slv_kernels *kern;
    struct slv_mat mat; /* of a few tiles */
    size_t tiles, n, units, ldo;
    struct slv_acts x;
    float *f, *out; /* out: [members][n][ldo] */
};

static size_t product_units(void *arg, size_t stage) {
    const struct product *p = arg;
    (void)stage;
    return p->units;
}

static void multiply(void *arg, size_t stage, size_t from, size_t to) {
    const struct product *p = arg;
    (void)stage;
    float *out = p->out + slv_team_member() * p->n * p->ldo;
    uint64_t fp = slv_fpenv_enter();
    for (size_t u = from; u < to; u++) {
        size_t t = u % p->tiles;
        p->kern->matmul[p->mat.layout->form](&p->mat, &p->x, p->n, t, t + 1, out, p->ldo);
    }
    slv_fpenv_leave(fp);
}

static size_t bytes_of(const struct slv_mat *mat) {
    return mat->layout ? (mat->rows + SLV_TILE_ROWS - 1) / SLV_TILE_ROWS * mat->tile_bytes : 0;
}

/* The largest matrix of the type that most of the weights have. */
static const struct slv_linear *main_matrix(struct slv_model *m) {
    uint64_t bytes[SLV_DTYPE_END] = {0};
    const struct slv_linear *best = NULL;
    for (size_t i = 0; i < slv_weights_count(&m->h); i++) {
        const struct slv_mat *mat = &slv_weights_at(&m->w, &m->h, i)->mat;
        if (mat->layout) bytes[mat->layout->id] += bytes_of(mat);
    }
    for (size_t i = 0; i < slv_weights_count(&m->h); i++) {
        const struct slv_linear *l = slv_weights_at(&m->w, &m->h, i);
        if (!l->mat.layout) continue;
        uint64_t of_type = bytes[l->mat.layout->id];
        uint64_t most = best ? bytes[best->mat.layout->id] : 0;
        if (of_type > most || (of_type == most && bytes_of(&l->mat) > bytes_of(&best->mat)))
            best = l;
    }
    return best;
}

static size_t l2_bytes(void) {
    long n = -1;
#ifdef _SC_LEVEL2_CACHE_SIZE
    n = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return n > 0 ? (size_t)n : L2_DEFAULT;
}

/* Numbers that count up: any will do, but for those that are slow. */
static int fill_columns(struct product *p, size_t members) {
    size_t cols = p->mat.cols, act = p->mat.layout->act, all = p->n * cols;
    p->out = slv_mem_alloc_aligned(64, members * p->n * p->ldo * sizeof *p->out);
    p->f = slv_mem_alloc_aligned(64, all * sizeof *p->f);
    struct slv_codes *c = &p->x.codes;
    *c = (struct slv_codes){.q = slv_mem_alloc_aligned(64, all),
                            .d = slv_mem_alloc_aligned(64, all / 32 * sizeof *c->d + 64),
                            .m = slv_mem_alloc_aligned(64, all / 32 * sizeof *c->m + 64),
                            .less = slv_mem_alloc_aligned(64, all / 32 * sizeof *c->less + 64),
                            .sum = slv_mem_alloc_aligned(64, all / 16 * sizeof *c->sum + 64),
                            .sum32 = slv_mem_alloc_aligned(64, all / 32 * sizeof *c->sum + 64)};
    if (!p->out || !p->f || !c->q || !c->d || !c->m || !c->less || !c->sum || !c->sum32)
        return SLV_E_NOMEM;
    for (size_t i = 0; i < all; i++)
        p->f[i] = (float)(i % 200) - 100.0f;
    p->x.f = p->f;
    p->x.ld = cols;
    for (size_t i = 0; act && i < p->n; i++) {
        const struct slv_panel to = slv_panel_of(i, p->n, cols);
        const struct slv_codes column = slv_codes_at(c, to.at, act, to.c);
        p->kern->quantize(p->f + i * cols, cols, act, to.w, &column);
    }
    return 0;
}

int slv_bench_product(struct slv_model *m, size_t threads, size_t columns,
                      struct slv_bench_product *ret) {
    const struct slv_linear *l = main_matrix(m);
    struct slv_team *team = NULL;
    if (!l) return SLV_E_USAGE;
    struct product p = {.kern = &m->kern, .mat = l->mat, .n = columns};
    size_t fit = l2_bytes() / 4 / l->mat.tile_bytes, all = l->mat.rows / SLV_TILE_ROWS;
    p.tiles = fit < 1 || all < 1 ? 1 : fit < all ? fit : all;
    p.ldo = p.tiles * SLV_TILE_ROWS;
    double macs = (double)SLV_TILE_ROWS * (double)l->mat.cols * (double)columns;
    p.units = ((size_t)(PRODUCT_MACS / macs) + 1) * threads * 4;
    const struct slv_job job = {1, product_units, multiply, &p};
    int rc = fill_columns(&p, threads);
    if (!rc) rc = slv_team_open(threads, &team);
    if (!rc) {
        double ns = (double)best_of(team, &job), units = (double)p.units;
        *ret = (struct slv_bench_product){.type = l->from->type->name,
                                          .columns = columns,
                                          .gbps = units * (double)l->mat.tile_bytes / ns,
                                          .tops = units * macs * 2.0 / ns * 1e-3};
    }
    slv_team_close(team);
    slv_mem_free(p.out);
    slv_mem_free(p.f);
    slv_mem_free(p.x.codes.q);
    slv_mem_free(p.x.codes.d);
    slv_mem_free(p.x.codes.m);
    slv_mem_free(p.x.codes.less);
    slv_mem_free(p.x.codes.sum);
    slv_mem_free(p.x.codes.sum32);
    return rc;
}
