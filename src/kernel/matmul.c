/* matmul.c: the definition of matrix times columns: one output at a time, plainly, from the same
 * tiles the vector kernels read. */
#include "kernel/fmath.h"
#include "kernel/kernels.h"

#define ROWS SLV_TILE_ROWS

static float load_scale(const struct slv_layout *l, const uint8_t *line, size_t r) {
    float f;
    uint16_t h;
    if (l->d_f32) {
        memcpy(&f, line + 4 * r, 4);
        return f;
    }
    memcpy(&h, line + 2 * r, 2);
    return slv_f16_to_f32(h);
}

/* The code of column k (of its chunk of 32), row r. */
static int8_t load_code(const struct slv_layout *l, const struct slv_form_parts *f,
                        const uint8_t *chunk, size_t k, size_t r) {
    unsigned u = 0;
    for (const struct slv_code_piece *p = slv_code_pieces[f->bits][k / 4]; p->n; p++)
        u |= ((unsigned)chunk[p->vec * 64 + r * 4 + k % 4] >> p->at & ((1u << p->n) - 1)) << p->to;
    if (f->bits == 8) return (int8_t)u;
    return l->table ? l->table[u] : (int8_t)((int)u + l->bias);
}

/* One row of one tile block, unpacked. A scale covers `per` columns, a sub-scale `sub`. */
struct row_block {
    size_t n_scales, per, sub;
    float d[SLV_QBLOCK_MAX / 16], m;
    int8_t code[SLV_QBLOCK_MAX], sc[SLV_QSUB_MAX], mn[SLV_QSUB_MAX];
};

static void unpack(const struct slv_layout *l, const uint8_t *blk, size_t r,
                   struct row_block *ret) {
    const struct slv_form_parts *f = &slv_form_parts[l->form];
    size_t line = (size_t)ROWS * (l->d_f32 ? 4 : 2), chunk_bytes = (size_t)64 * f->bits;
    ret->n_scales = f->fsub ? (size_t)l->block / f->fsub : 1;
    ret->per = l->block / ret->n_scales;
    ret->sub = f->sub ? f->sub : ret->per;
    for (size_t i = 0; i < ret->n_scales; i++)
        ret->d[i] = load_scale(l, blk + line * i, r);
    blk += line * ret->n_scales;
    ret->m = f->min ? load_scale(l, blk, r) : 0.0f;
    blk += f->min ? line : 0;
    size_t nsub = f->sub ? (size_t)l->block / f->sub : 0;
    for (size_t s = 0; s < (size_t)l->block / ret->sub; s++) {
        ret->sc[s] = f->sub ? (int8_t)blk[s * ROWS + r] : 1;
        ret->mn[s] = f->min == 2 ? (int8_t)blk[(nsub + s) * ROWS + r] : 1;
    }
    blk += nsub * ROWS * (f->min == 2 ? 2 : 1);
    for (size_t k = 0; k < l->block; k++)
        ret->code[k] = load_code(l, f, blk + k / 32 * chunk_bytes, k % 32, r);
}

/* The sum of the codes that a sub-minimum covers, from `at` on. */
static int32_t codes_sum(size_t sub, const struct slv_codes *x, size_t at, size_t panel_w) {
    return sub == 32 ? x->sum32[at / 64 * panel_w * 2 + at / 32 % 2]
                     : x->sum[at / 32 * panel_w * 2 + at / 16 % 2];
}

/* Adds the product of one unpacked block with its part of a column, whose panel has w, to acc. */
static float block_dot(const struct row_block *w, int mins, size_t act, size_t panel_w,
                       const struct slv_codes *x, float acc) {
    for (size_t i = 0; i < w->n_scales; i++) {
        int32_t dot = 0, min = 0;
        for (size_t at = i * w->per; at < (i + 1) * w->per; at += w->sub) {
            int32_t part = 0;
            for (size_t k = at; k < at + w->sub; k++)
                part += w->code[k] * x->q[k / 32 * panel_w * 32 + k % 32];
            dot += w->sc[at / w->sub] * part;
            if (mins == 2) min += w->mn[at / w->sub] * codes_sum(w->sub, x, at, panel_w);
        }
        float dx = x->d[i * w->per / act * panel_w];
        acc = slv_fma((float)dot, w->d[i] * dx, acc);
        if (mins == 2) acc = slv_fma((float)min, w->m * dx, acc);
    }
    return mins == 1 ? slv_fma(w->m, *x->m, acc) : acc;
}

#define COLS 16 /* columns that share one unpacking */

/* Columns [c0, c1) of n. */
static void row_int(const struct slv_mat *w, const struct slv_acts *x, size_t n, size_t c0,
                    size_t c1, const uint8_t *tile, size_t r, float *out, size_t ldo) {
    const struct slv_layout *l = w->layout;
    size_t blocks = w->cols / l->block, bytes = w->tile_bytes / blocks;
    const int mins = slv_form_parts[l->form].min;
    float acc[COLS] = {0};
    struct row_block unpacked;
    for (size_t b = 0; b < blocks; b++) {
        unpack(l, tile + b * bytes, r, &unpacked);
        for (size_t c = c0; c < c1; c++) {
            struct slv_panel p = slv_panel_of(c, n, x->ld);
            const struct slv_codes at =
                slv_codes_at(&x->codes, p.at + b * l->block * p.w, l->act, p.c);
            acc[c - c0] = block_dot(&unpacked, mins, l->act, p.w, &at, acc[c - c0]);
        }
    }
    for (size_t c = c0; c < c1; c++)
        out[c * ldo + r] = acc[c - c0];
}

static void matmul_int(const struct slv_mat *w, const struct slv_acts *x, size_t n, size_t tile0,
                       size_t tile1, float *out, size_t ldo) {
    for (size_t t = tile0; t < tile1; t++)
        for (size_t r = 0; r < ROWS; r++)
            for (size_t c = 0; c < n; c += COLS)
                row_int(w, x, n, c, c + COLS < n ? c + COLS : n, w->tiles + t * w->tile_bytes, r,
                        out + t * ROWS, ldo);
}

static float load_float(enum slv_form form, const uint8_t *tile, size_t i) {
    float f;
    uint16_t h;
    if (form == SLV_FORM_F32) {
        memcpy(&f, tile + 4 * i, 4);
        return f;
    }
    memcpy(&h, tile + 2 * i, 2);
    return form == SLV_FORM_F16 ? slv_f16_to_f32(h) : slv_bf16_to_f32(h);
}

static void matmul_float(const struct slv_mat *w, const struct slv_acts *x, size_t n, size_t tile0,
                         size_t tile1, float *out, size_t ldo) {
    for (size_t t = tile0; t < tile1; t++)
        for (size_t c = 0; c < n; c++)
            for (size_t r = 0; r < ROWS; r++) {
                const uint8_t *tile = w->tiles + t * w->tile_bytes;
                float acc = 0.0f;
                for (size_t k = 0; k < w->cols; k++)
                    acc = slv_fma(load_float((enum slv_form)w->layout->form, tile, k * ROWS + r),
                                  x->f[c * x->ld + k], acc);
                out[c * ldo + t * ROWS + r] = acc;
            }
}

void slv_kernels_scalar_matmul(struct slv_kernels *k) {
    for (int form = 0; form < SLV_FORM_COUNT; form++)
        k->matmul[form] = slv_form_parts[form].bits >= 16 ? matmul_float : matmul_int;
}
