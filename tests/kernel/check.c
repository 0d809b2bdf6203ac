/* check.c: every kernel of every instruction-set level that this machine has, or that is emulated
 * here (levels.h), against the scalar definition, to the bit.
 *
 * Inputs are random and extreme (zeros, subnormals, infinities, NaN, largest codes), sizes are
 * odd, outputs stand between guard bytes. A failure prints the seed, which is the first argument.
 * What was covered is counted: a form of product or a number of columns that a level was not asked
 * for fails.
 * --digest prints one number made of all that the scalar kernels give for fixed inputs: machines of
 * other kinds must print the same. --bench [TYPE...] prints nanoseconds a call and the ratio to
 * scalar as CSV.
 *
 * What a user would lose: the promise that another machine gives the same answer.
 */
#include "base/clock.h"
#include "base/dtype.h"
#include "base/mem.h"
#include "kernel/fmath.h"
#include "levels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD 64
#define GUARD_BYTE 0xa5

static uint64_t seed, state, digest = 0xcbf29ce484222325u;
static int test_number, failures;

static uint64_t rnd(void) { /* splitmix64 */
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t rnd_below(size_t n) { return (size_t)(rnd() % n); }

static float rnd_float(void) { return ((float)(rnd() >> 40) / 16777216.0f - 0.5f) * 4.0f; }

/* What real data holds, and at `wild` what it should not. */
static float rnd_value(bool wild) {
    static const uint32_t odd[] = {0x00000000, 0x80000000, 0x00000001, 0x807fffff, 0x00800000,
                                   0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000,
                                   0x3f800000, 0x02ffffff, 0x42d00000, 0xc2d00000};
    if (!wild || rnd() % 16) return rnd_float();
    return slv_f32_from_bits(odd[rnd_below(sizeof odd / sizeof odd[0])]);
}

/* n bytes between guards, 64-byte aligned. */
struct space {
    unsigned char *raw, *p;
    size_t n;
};

static struct space space_new(size_t n) {
    struct space s = {.n = n};
    size_t all = (n + 2 * GUARD + 63) / 64 * 64;
    s.raw = slv_mem_alloc_aligned(64, all);
    if (!s.raw) abort();
    memset(s.raw, GUARD_BYTE, all);
    s.p = s.raw + GUARD;
    return s;
}

static bool space_intact(const struct space *s) {
    for (size_t i = 0; i < GUARD; i++)
        if (s->raw[i] != GUARD_BYTE || s->p[s->n + i] != GUARD_BYTE) return false;
    return true;
}

static void space_free(struct space *s) { slv_mem_free(s->raw); }

static void add_to_digest(uint32_t u) { digest = (digest ^ u) * 0x100000001b3u; }

/* Equal to the bit; two NaN are equal whatever their payload. */
static bool same_floats(const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        add_to_digest(a[i] != a[i] ? 0x7fc00000u : slv_f32_bits(a[i]));
    for (size_t i = 0; i < n; i++)
        if (slv_f32_bits(a[i]) != slv_f32_bits(b[i]) && !(a[i] != a[i] && b[i] != b[i]))
            return false;
    return true;
}

static void report(bool ok, const char *level, const char *what) {
    printf("%sok %d - %s %s\n", ok ? "" : "not ", ++test_number, level, what);
    if (!ok) {
        printf("# seed %llu\n", (unsigned long long)seed);
        failures++;
    }
}

/* --- matrix times columns --------------------------------------------------------------------- */

struct mm_case {
    struct slv_mat w;
    struct slv_acts x;
    struct space tiles, f, q, d, m, less, sum, sum32;
    size_t n;
};

static void fill_bytes(void *p, size_t n) {
    unsigned char *b = p;
    for (size_t i = 0; i < n; i++)
        b[i] = (unsigned char)rnd();
}

/* Random bytes are good codes and sub-scales; the float lines get sane numbers and some extremes.
 */
static void fill_tiles(struct mm_case *m, bool wild) {
    const struct slv_layout *l = m->w.layout;
    const struct slv_form_parts *f = &slv_form_parts[l->form];
    size_t block = slv_layout_block_bytes(l);
    fill_bytes(m->tiles.p, m->tiles.n);
    size_t lines =
        f->bits >= 16 ? 1 : (size_t)(f->fsub ? l->block / f->fsub : 1) + (f->min ? 1 : 0);
    size_t line = f->bits >= 16 ? block : (size_t)(l->d_f32 ? 64 : 32);
    for (size_t b = 0; b < m->tiles.n; b += block)
        for (size_t i = 0; i < lines * line; i += line / 16) {
            size_t width = line / 16;
            float v = rnd_value(wild);
            uint16_t h =
                l->form == SLV_FORM_BF16 ? (uint16_t)(slv_f32_bits(v) >> 16) : slv_f32_to_f16(v);
            memcpy(m->tiles.p + b + i, width == 4 ? (void *)&v : (void *)&h, width);
        }
}

static void mm_init(struct mm_case *m, const struct slv_layout *l, size_t rows, size_t cols,
                    size_t n, bool wild) {
    *m = (struct mm_case){.n = n};
    size_t tiles = (rows + 15) / 16, ld = cols;
    m->tiles = space_new(slv_layout_bytes(l, rows, cols));
    m->w = (struct slv_mat){l, m->tiles.p, rows, cols, m->tiles.n / tiles};
    fill_tiles(m, wild);
    m->f = space_new(n * ld * 4);
    m->q = space_new(n * ld);
    m->d = space_new(n * ld * 4 / (l->act ? l->act : 1));
    m->m = space_new(m->d.n);
    m->less = space_new(m->d.n);
    m->sum = space_new((n * ld / 16 + 1) * 2);
    m->sum32 = space_new((n * ld / 32 + 1) * 2);
    float *f = (float *)(void *)m->f.p, *d = (float *)(void *)m->d.p;
    float *mx = (float *)(void *)m->m.p;
    int32_t *less = (int32_t *)(void *)m->less.p;
    int8_t *q = (int8_t *)m->q.p;
    int16_t *sum = (int16_t *)(void *)m->sum.p, *sum32 = (int16_t *)(void *)m->sum32.p;
    for (size_t i = 0; i < n * ld; i++) {
        f[i] = rnd_value(wild);
        q[i] = rnd() % 8 ? (int8_t)((int)rnd_below(255) - 127) : rnd() % 2 ? 127 : -127;
    }
    for (size_t i = 0; i < m->d.n / 4; i++) {
        d[i] = rnd_value(wild);
        mx[i] = rnd_value(wild); /* whatever it is made of: the reference takes it as it is */
    }
    for (size_t i = 0; i < n * ld / 16; i++) { /* pairs of sums lie as their codes do */
        int s = 0;
        for (size_t j = 0; j < 16; j++)
            s += q[i * 16 + j];
        sum[i] = (int16_t)s;
    }
    for (size_t c = 0; l->act && c < n; c++) {
        struct slv_panel p = slv_panel_of(c, n, ld);
        for (size_t b = 0; b < ld / l->act; b++) {
            int s = 0;
            for (size_t k = b * l->act; k < (b + 1) * l->act; k += 32) {
                int s32 = 0;
                for (size_t j = 0; j < 32; j++)
                    s32 += q[p.at + (k / 32 * p.w + p.c) * 32 + j];
                if (l->act >= 64)
                    sum32[p.at / 32 + (k / 64 * p.w + p.c) * 2 + k / 32 % 2] = (int16_t)s32;
                s += s32;
            }
            less[p.at / l->act + b * p.w + p.c] = -s;
        }
    }
    m->x = (struct slv_acts){f, {q, d, mx, less, sum, sum32}, ld};
}

static void mm_free(struct mm_case *m) {
    struct space *all[] = {&m->tiles, &m->f, &m->q, &m->d, &m->m, &m->less, &m->sum, &m->sum32};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        space_free(all[i]);
}

/* Numbers of columns: each form of each level is asked for all of them. */
static const size_t shapes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 23, 40, 70, 135, 150};
#define SHAPES (sizeof shapes / sizeof shapes[0])
_Static_assert(SHAPES <= SHAPES_MAX, "a bit for each");

static void mm_random(struct mm_case *m, const struct slv_layout *l, size_t n, bool wild) {
    static const size_t rows[] = {1, 16, 17, 80, 131};
    size_t step = l->block > 1 ? l->block : 16;
    size_t cols = step * (1 + rnd_below(step < 128 ? 22 : 4));
    mm_init(m, l, rows[rnd_below(n > 40 ? 3 : 5)], cols, n, wild);
}

/* One product by the definition and by all subjects, whose `ok` stays where it is right. */
static void check_product(const struct slv_kernels *ref, struct subject *subjects,
                          size_t n_subjects, const struct slv_layout *l, size_t shape, bool wild) {
    struct mm_case m;
    mm_random(&m, l, shapes[shape], wild);
    size_t tiles = (m.w.rows + 15) / 16, ldo = tiles * 16;
    size_t t0 = rnd_below(tiles), t1 = t0 + 1 + rnd_below(tiles - t0);
    struct space a = space_new(m.n * ldo * 4);
    ref->matmul[l->form](&m.w, &m.x, m.n, t0, t1, (float *)(void *)a.p, ldo);
    for (size_t i = 0; i < n_subjects; i++) {
        struct subject *s = &subjects[i];
        if (s->missing || !s->ok) continue;
        struct space b = space_new(m.n * ldo * 4);
        s->k.matmul[l->form](&m.w, &m.x, m.n, t0, t1, (float *)(void *)b.p, ldo);
        s->ok = same_floats((float *)(void *)a.p, (float *)(void *)b.p, m.n * ldo) &&
                space_intact(&b) && emulation_sound(s);
        if (!s->ok) printf("# %s: %zu columns\n", s->name, m.n);
        s->covered[l->form] |= 1u << shape;
        space_free(&b);
    }
    space_free(&a);
    mm_free(&m);
}

static void check_products(const struct slv_kernels *ref, struct subject *subjects,
                           size_t n_subjects) {
    char what[64];
    for (uint32_t id = 0; id < SLV_DTYPE_END; id++) {
        const struct slv_layout *l = slv_layout_get(id);
        if (!l) continue;
        for (size_t i = 0; i < n_subjects; i++)
            subjects[i].ok = true;
        for (size_t shape = 0; shape < SHAPES; shape++)
            for (int wild = 0; wild < 2; wild++)
                check_product(ref, subjects, n_subjects, l, shape, wild);
        snprintf(what, sizeof what, "matmul %s", slv_dtype_get(id)->name);
        for (size_t i = 0; i < n_subjects; i++)
            if (!subjects[i].missing) report(subjects[i].ok, subjects[i].name, what);
    }
}

/* --- rows ------------------------------------------------------------------------------------- */

struct row_case {
    size_t n;
    float *a, *b, *c;
};

#define ROW_OPS(X)                                                                                 \
    X(rms_norm, k->rms_norm(r->a, r->b, r->n, 1e-5f, o))                                           \
    X(rms_norm_bare, k->rms_norm(r->a, NULL, r->n, 1e-5f, o))                                      \
    X(layer_norm, k->layer_norm(r->a, r->b, r->c, r->n, 1e-5f, o))                                 \
    X(layer_norm_bare, k->layer_norm(r->a, NULL, NULL, r->n, 1e-5f, o))                            \
    X(silu, k->silu(r->a, r->n, o))                                                                \
    X(gelu, k->gelu(r->a, r->n, o))                                                                \
    X(gelu_erf, k->gelu_erf(r->a, r->n, o))                                                        \
    X(add, k->add(r->a, r->b, r->n, o))                                                            \
    X(mul, k->mul(r->a, r->b, r->n, o))                                                            \
    X(silu_mul, k->silu_mul(r->a, r->b, r->n, o))                                                  \
    X(gelu_mul, k->gelu_mul(r->a, r->b, r->n, o))                                                  \
    X(axpy, k->axpy(r->a, r->b, 0.37f, r->n, o))                                                   \
    X(softcap, k->softcap(r->a, 30.0f, r->n, o))                                                   \
    X(top, put_top(k, r, o))

static void put_top(const struct slv_kernels *k, const struct row_case *r, float *o) {
    for (size_t i = 0; i < r->n; i++)
        o[i] = slv_f32_from_bits(k->top(r->a + i, r->n - i));
}

#define ROW_FN(name, call)                                                                         \
    static void row_##name(const struct slv_kernels *k, const struct row_case *r, float *o) {      \
        call;                                                                                      \
    }
ROW_OPS(ROW_FN)

static const struct {
    const char *name;
    void (*run)(const struct slv_kernels *k, const struct row_case *r, float *o);
} row_ops[] = {
#define ROW_ROW(name, call) {#name, row_##name},
    ROW_OPS(ROW_ROW)
#undef ROW_ROW
};

static bool check_row(const struct slv_kernels *ref, const struct slv_kernels *k, size_t op) {
    bool ok = true;
    for (int turn = 0; turn < 40 && ok; turn++) {
        size_t n = 1 + rnd_below(turn % 2 ? 40 : 700);
        struct space in = space_new(3 * n * 4), a = space_new(n * 4), b = space_new(n * 4);
        float *f = (float *)(void *)in.p;
        float span = turn % 5 == 4 ? 60.0f : 1.0f;
        for (size_t i = 0; i < 3 * n; i++)
            f[i] = rnd_value(turn % 4 == 3) * span;
        struct row_case r = {n, f, f + n, f + 2 * n};
        row_ops[op].run(ref, &r, (float *)(void *)a.p);
        row_ops[op].run(k, &r, (float *)(void *)b.p);
        ok = same_floats((float *)(void *)a.p, (float *)(void *)b.p, n) && space_intact(&b);
        space_free(&in);
        space_free(&a);
        space_free(&b);
    }
    return ok;
}

static bool check_quantize(const struct slv_kernels *ref, const struct slv_kernels *k) {
    static const size_t blocks[] = {32, 64, 128, 256};
    bool ok = true;
    for (int turn = 0; turn < 200 && ok; turn++) {
        size_t block = blocks[rnd_below(4)], n = block * (1 + rnd_below(5));
        size_t w = 1 + rnd_below(SLV_PANEL), c = rnd_below(w);
        float x[1280], span = turn % 3 ? 1.0f : slv_pow2i((int)rnd_below(250) - 125);
        for (size_t i = 0; i < n; i++)
            x[i] = (turn % 7 == 6 && i < block) ? 0.0f : rnd_value(turn % 4 == 3) * span;
        const bool sums = turn % 5; /* or codes and scales alone */
        struct space q[2], d[2], m[2], less[2], s[2], s32[2];
        for (int i = 0; i < 2; i++) {
            q[i] = space_new(n * w);
            d[i] = space_new(n / block * 4 * w);
            m[i] = space_new(n / block * 4 * w);
            less[i] = space_new(n / block * 4 * w);
            s[i] = space_new(n / 16 * 2 * w);
            s32[i] = space_new(n / 32 * 2 * w);
            memset(q[i].p, 0, q[i].n); /* the other columns must stay so */
            memset(d[i].p, 0, d[i].n);
            memset(m[i].p, 0, m[i].n);
            memset(less[i].p, 0, less[i].n);
            memset(s[i].p, 0, s[i].n);
            memset(s32[i].p, 0, s32[i].n);
            struct slv_codes all = {(int8_t *)q[i].p,          (float *)(void *)d[i].p,
                                    (float *)(void *)m[i].p,   (int32_t *)(void *)less[i].p,
                                    (int16_t *)(void *)s[i].p, (int16_t *)(void *)s32[i].p};
            struct slv_codes to = slv_codes_at(&all, 0, block, c);
            if (!sums) to.m = NULL, to.less = NULL, to.sum = to.sum32 = NULL;
            (i ? k : ref)->quantize(x, n, block, w, &to);
        }
        ok = !memcmp(q[0].p, q[1].p, q[0].n) && !memcmp(s[0].p, s[1].p, s[0].n) &&
             !memcmp(less[0].p, less[1].p, less[0].n) && !memcmp(s32[0].p, s32[1].p, s32[0].n) &&
             same_floats((float *)(void *)d[0].p, (float *)(void *)d[1].p, n / block * w) &&
             same_floats((float *)(void *)m[0].p, (float *)(void *)m[1].p, n / block * w) &&
             space_intact(&q[1]) && space_intact(&d[1]) && space_intact(&m[1]) &&
             space_intact(&less[1]) && space_intact(&s[1]) && space_intact(&s32[1]);
        for (size_t i = 0; ok && i < q[0].n; i++) {
            ok = ((int8_t *)q[0].p)[i] >= -127 && (i / 32 % w == c || !q[0].p[i]);
            add_to_digest(q[0].p[i]);
        }
        for (int i = 0; i < 2; i++) {
            space_free(&q[i]);
            space_free(&d[i]);
            space_free(&m[i]);
            space_free(&less[i]);
            space_free(&s[i]);
            space_free(&s32[i]);
        }
    }
    return ok;
}

static bool check_f16(const struct slv_kernels *ref, const struct slv_kernels *k) {
    bool ok = true;
    uint16_t h[1000], a[1000], b[1000];
    float f[1000], g[1000];
    for (int turn = 0; turn < 200 && ok; turn++) {
        size_t n = 1 + rnd_below(1000);
        for (size_t i = 0; i < n; i++) {
            h[i] = (uint16_t)rnd();
            f[i] = turn % 2 ? rnd_value(true) : slv_f32_from_bits((uint32_t)rnd());
            if (f[i] != f[i]) f[i] = 1.0f;
        }
        ref->f32_to_f16(f, n, a);
        k->f32_to_f16(f, n, b);
        ok = !memcmp(a, b, n * 2);
        ref->f16_to_f32(h, n, f);
        k->f16_to_f32(h, n, g);
        ok = ok && same_floats(f, g, n);
    }
    return ok;
}

/* --- attention -------------------------------------------------------------------------------- */

#define HEAD_MAX 272
#define QUERIES_MAX 19

struct attn_case {
    struct slv_attn_block b;
    float *k, *v, *k_scale, *v_scale;
    size_t n;
    struct slv_attn_query q[QUERIES_MAX];
    float qf[QUERIES_MAX][HEAD_MAX], q8_scale[QUERIES_MAX][HEAD_MAX / 32 + 1];
    int8_t q8[QUERIES_MAX][HEAD_MAX];
    int32_t q8_less[QUERIES_MAX][HEAD_MAX / 32 + 1];
};

static void attn_queries(struct attn_case *t, bool wild, int turn) {
    t->n = turn % 4 == 3 ? 1 : 1 + rnd_below(QUERIES_MAX);
    for (size_t c = 0; c < t->n; c++) {
        size_t first = rnd_below(64), last = first + 1 + rnd_below(64 - first);
        if (turn % 3 == 0) first = 0, last = 64;
        if (turn % 3 == 1) first = 0, last = 30 + c; /* as a prompt's tokens do */
        t->q[c] = (struct slv_attn_query){.q = t->qf[c],
                                          .q8 = t->q8[c],
                                          .q8_scale = t->q8_scale[c],
                                          .q8_less = t->q8_less[c],
                                          .first = first,
                                          .last = last};
        for (size_t i = 0; i < t->b.dk; i++) {
            t->qf[c][i] = rnd_value(wild) * 2;
            t->q8[c][i] = (int8_t)((int)rnd_below(255) - 127);
            t->q8_scale[c][i / 32] = rnd_float() * 0.01f;
            t->q8_less[c][i / 32] = (i % 32 ? t->q8_less[c][i / 32] : 0) - t->q8[c][i];
        }
    }
}

static struct attn_case *attn_new(const struct slv_kernels *ref, int type, int turn) {
    static const size_t dims[] = {32, 64, 96, 128, 256};
    size_t dk = dims[rnd_below(5)], dv = dims[rnd_below(5)];
    if (type != SLV_KV_Q8 && turn % 2) dk += 16, dv += 16;
    bool wild = turn % 5 == 4;
    struct attn_case *t = slv_mem_calloc(1, sizeof *t);
    t->k = slv_mem_calloc(64 * dk, 4);
    t->v = slv_mem_calloc(64 * dv, 4);
    t->k_scale = slv_mem_calloc(64 * dk, 4);
    t->v_scale = slv_mem_calloc(64 * dv, 4);
    for (size_t i = 0; i < 64 * dk; i++)
        t->k_scale[i] = rnd_float() * 0.01f, t->k[i] = rnd_value(wild);
    for (size_t i = 0; i < 64 * dv; i++)
        t->v_scale[i] = rnd_float() * 0.01f, t->v[i] = rnd_value(wild);
    if (type == SLV_KV_F16) {
        ref->f32_to_f16(t->k, 64 * dk, (uint16_t *)(void *)t->k);
        ref->f32_to_f16(t->v, 64 * dv, (uint16_t *)(void *)t->v);
    } else if (type == SLV_KV_Q8) {
        for (size_t i = 0; i < 64 * dk; i++)
            ((int8_t *)t->k)[i] = (int8_t)((int)rnd_below(255) - 127);
        fill_bytes(t->v, 64 * dv);
    }
    t->b = (struct slv_attn_block){.k = t->k,
                                   .v = t->v,
                                   .k_scale = t->k_scale,
                                   .v_scale = t->v_scale,
                                   .next = t->k,
                                   .dk = dk,
                                   .dv = dv,
                                   .scale = 0.125f,
                                   .cap = turn % 4 == 1 ? 5.0f : 0.0f};
    attn_queries(t, wild, turn);
    return t;
}

static void attn_free(struct attn_case *t) {
    slv_mem_free(t->k);
    slv_mem_free(t->v);
    slv_mem_free(t->k_scale);
    slv_mem_free(t->v_scale);
    slv_mem_free(t);
}

/* What a kernel gives for all queries, out [n][dv] between guards. */
static void attn_run(const struct slv_kernels *k, int type, struct attn_case *t,
                     const struct space *out, float *max, float *sum) {
    for (size_t c = 0; c < t->n; c++)
        t->q[c].out = (float *)(void *)out->p + c * t->b.dv;
    k->attn[type](&t->b, t->q, t->n);
    for (size_t c = 0; c < t->n; c++) {
        max[c] = t->q[c].max;
        sum[c] = t->q[c].sum;
    }
}

static bool check_attn(const struct slv_kernels *ref, const struct slv_kernels *k, int type) {
    bool ok = true;
    for (int turn = 0; turn < 60 && ok; turn++) {
        struct attn_case *t = attn_new(ref, type, turn);
        size_t dv = t->b.dv;
        float m[2][QUERIES_MAX], l[2][QUERIES_MAX];
        struct space o[2] = {space_new(t->n * dv * 4), space_new(t->n * dv * 4)};
        attn_run(ref, type, t, &o[0], m[0], l[0]);
        attn_run(k, type, t, &o[1], m[1], l[1]);
        const float *out = (const float *)(const void *)o[0].p;
        ok = same_floats(m[0], m[1], t->n) && same_floats(l[0], l[1], t->n) &&
             same_floats(out, (const float *)(const void *)o[1].p, t->n * dv) &&
             space_intact(&o[1]);
        float acc[2][HEAD_MAX], top[2] = {rnd_float(), 0}, sum[2] = {2.0f, 2.0f};
        top[1] = top[0];
        memcpy(acc[0], t->v_scale, dv * 4);
        memcpy(acc[1], t->v_scale, dv * 4);
        ref->attn_join(m[0][0], l[0][0], out, dv, &top[0], &sum[0], acc[0]);
        k->attn_join(m[0][0], l[0][0], out, dv, &top[1], &sum[1], acc[1]);
        ok = ok && same_floats(top, top + 1, 1) && same_floats(sum, sum + 1, 1) &&
             same_floats(acc[0], acc[1], dv);
        space_free(&o[0]);
        space_free(&o[1]);
        attn_free(t);
    }
    return ok;
}

/* --- running ---------------------------------------------------------------------------------- */

static double time_matmul(const struct slv_kernels *k, const struct mm_case *m, float *out) {
    size_t tiles = (m->w.rows + 15) / 16;
    uint64_t best = UINT64_MAX, begin = slv_clock_mono(&slv_clock_system);
    do {
        uint64_t t0 = slv_clock_mono(&slv_clock_system);
        k->matmul[m->w.layout->form](&m->w, &m->x, m->n, 0, tiles, out, tiles * 16);
        uint64_t t = slv_clock_mono(&slv_clock_system) - t0;
        if (t < best) best = t;
    } while (slv_clock_mono(&slv_clock_system) - begin < 30000000u);
    return (double)best;
}

static bool named(const char *name, char **names, int n) {
    bool found = !n;
    for (int i = 0; i < n; i++)
        found = found || !strcmp(name, names[i]);
    return found;
}

/* Of all types, or of those named. */
static void bench(char **names, int n_names) {
    static const size_t columns[] = {1, 2, 4, 8, 64};
    struct slv_kernels ref;
    slv_kernels_init(&ref, SLV_CPU_SCALAR);
    printf("type,columns,level,ns,gmac_per_s,ratio_to_scalar\n");
    for (uint32_t id = 0; id < SLV_DTYPE_END; id++) {
        const struct slv_layout *l = slv_layout_get(id);
        if (!l || !named(slv_dtype_get(id)->name, names, n_names)) continue;
        for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
            const size_t n = columns[i];
            struct mm_case m;
            mm_init(&m, l, 256, 1024, n, false);
            float *out = slv_mem_alloc(256 * n * 4);
            double slow = time_matmul(&ref, &m, out);
            for (int level = 0; level < SLV_CPU_LEVELS; level++) {
                if (!slv_cpu_has((enum slv_cpu_level)level)) continue;
                struct slv_kernels k;
                slv_kernels_init(&k, (enum slv_cpu_level)level);
                double t = time_matmul(&k, &m, out);
                printf("%s,%zu,%s,%.0f,%.2f,%.1f\n", slv_dtype_get(id)->name, n,
                       slv_cpu_name((enum slv_cpu_level)level), t, 256.0 * 1024.0 * (double)n / t,
                       slow / t);
            }
            slv_mem_free(out);
            mm_free(&m);
        }
    }
}

static void check_rest(const struct slv_kernels *ref, const struct subject *s) {
    for (size_t op = 0; op < sizeof row_ops / sizeof row_ops[0]; op++)
        report(check_row(ref, &s->k, op), s->name, row_ops[op].name);
    report(check_quantize(ref, &s->k), s->name, "quantize");
    report(check_f16(ref, &s->k), s->name, "f16 conversions");
    static const char *const kv[] = {"attention f32", "attention f16", "attention q8"};
    for (int type = 0; type < SLV_KV_TYPES; type++)
        report(check_attn(ref, &s->k, type), s->name, kv[type]);
}

/* Every level that the build knows was asked for every form and shape, or is named as left out. */
static void report_coverage(const struct slv_kernels *ref, const struct subject *subjects,
                            size_t n_subjects) {
    char what[96];
    for (size_t i = 0; i < n_subjects; i++) {
        const struct subject *s = &subjects[i];
        if (s->missing) {
            printf("ok %d - %s # SKIP %s\n", ++test_number, s->name, s->missing);
            continue;
        }
        bool whole;
        size_t n = subject_coverage(s, ref, SHAPES, &whole);
        snprintf(what, sizeof what, "covered: %zu of %d forms times %zu numbers of columns", n,
                 SLV_FORM_COUNT, SHAPES);
        report(whole && emulation_used(s), s->name, what);
    }
    report(subjects_complete(), "every level", "is run or left out by name");
}

static void check(struct subject *subjects, size_t n) {
    struct slv_kernels ref;
    slv_kernels_init(&ref, SLV_CPU_SCALAR);
    check_products(&ref, subjects, n);
    for (size_t i = 0; i < n; i++)
        if (!subjects[i].missing) check_rest(&ref, &subjects[i]);
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "--bench")) {
        bench(argv + 2, argc - 2);
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "--digest")) {
        struct subject scalar = {.name = "scalar", .level = SLV_CPU_SCALAR};
        slv_kernels_init(&scalar.k, SLV_CPU_SCALAR);
        check(&scalar, 1);
        printf("bits of the scalar kernels: %016llx\n", (unsigned long long)digest);
        return 0;
    }
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : slv_clock_wall(&slv_clock_system);
    state = seed;
    static struct subject subjects[SUBJECTS_MAX];
    size_t n = subjects_init(subjects);
    printf("# seed %llu\n", (unsigned long long)seed);
    check(subjects, n);
    struct slv_kernels ref;
    slv_kernels_init(&ref, SLV_CPU_SCALAR);
    report_coverage(&ref, subjects, n);
    printf("1..%d\n", test_number);
    return failures ? 1 : 0;
}
