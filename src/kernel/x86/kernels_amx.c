/* kernels_amx.c: products of many columns in the tiles of AMX-INT8; of fewer, and all else, those
 * of AVX-512 VNNI.
 *
 * A tile register is up to 16 rows of 64 bytes. TDPB**D adds to C, int32 [16 columns][16 outputs],
 * what A, bytes [16 columns][kb of k], times B, bytes [kb / 4][16 outputs][4 of k], gives:
 *
 *     B  groups of a chunk, unpacked: 64 bytes each, byte 4 r + j (layout.h), one after the other
 *     A  columns side by side: am_columns, copied from panels once for AM_TILES row tiles
 *     C  sums of one unit of k, as many columns as share a float scale; stored, and finished with
 *        the chain of fma that every level has
 *
 * Codes are bytes with a sign, the bias in them. Where there are sub-scales, sc * code is split
 * into two digits, 256 * hi + lo, hi signed and lo not, which is exact:
 * dot = 256 * (hi . x) + lo . x, one chain of products each over the whole block. Two C of 16
 * columns times two digits, or times two units where a unit is short, are four tiles; two of A and
 * two of B make eight.
 *
 * What it should cost on Sapphire Rapids, in cycles for 16 rows, 32 columns, 256 of k (TDP 16 apart
 * with 16 rows of A, tile loads 8, tile stores 16; vector operations of 512 bits two a cycle):
 *
 *     sub-scales   16 loads, 16 TDP (256), 4 stores (64); finish 32 times (8 VPDPWSSD for minimums
 *                  and 9 more) = 270, beside the TDP; unpacking 300 for all columns together.
 *                  VNNI: 32 times (64 VPDPBUSD, 24 for sub-scales, 8, 5) = 1600.
 *     units of 32  24 loads, 16 TDP (256: half of each is not used), 16 stores (256), finish 256
 *                  times 3 = 384, beside them. VNNI: 32 times 8 times (8 and 4) = 1540.
 *
 * The finish of one pair of units is written behind the products of the next, which do not wait for
 * it. Tiles are configured when a call begins and released when it ends: that takes some tens of
 * cycles of many thousands, needs no memory of what a thread did before, and leaves nothing that
 * a context switch would have to save (8 KB). Sources: Intel SDM vol. 2 (LDTILECFG, TDPBSSD),
 * Optimization Reference Manual, chapter on AMX.
 */
#include "kernel/simd/ops_avx512.h"

#include "kernel/simd/block_tmpl.h"

/* Fewer columns do not pay for the unpacking to signed digits. To be tuned. */
#define AM_LEAST 16
/* Columns whose sums are held at once, and row tiles that share the copy of their codes. */
#define AM_STRIP 128
#define AM_TILES 4
#define AM_GROUP 16 /* columns of a tile */
#define AM_SPAN SLV_QBLOCK_MAX

/* Registers. The macros of the intrinsics want literal numbers. C_jh: unit or digit j, half h of 32
 * columns. */
#define C_00 0
#define C_01 1
#define C_10 2
#define C_11 3
#define A_0 4
#define A_1 5
#define B_0 6
#define B_1 7

/* Tile loads read what the compiler does not know they read. */
#define AM_WRITTEN() __asm__ volatile("" : : : "memory")

/* The operand of LDTILECFG: bytes of a row and rows of each register. */
struct am_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t colsb[16];
    uint8_t rows[16];
};

#define AM_CONFIG(kb)                                                                              \
    {                                                                                              \
        1, 0, {0}, {64, 64, 64, 64, (kb), (kb), 64, 64}, {                                         \
            16, 16, 16, 16, 16, 16, (kb) / 4, (kb) / 4                                             \
        }                                                                                          \
    }

/* kb is 64, or a unit's columns if less. */
static void am_configure(int kb) {
    static const _Alignas(64) struct am_config for_64 = AM_CONFIG(64), for_32 = AM_CONFIG(32),
                                               for_16 = AM_CONFIG(16);
    _tile_loadconfig(kb == 64 ? &for_64 : kb == 32 ? &for_32 : &for_16);
}

/* Columns of a strip over one span of k, side by side: [group of 16][64 of k][column][64 bytes]. */
struct am_columns {
    _Alignas(64) int8_t q[AM_STRIP / AM_GROUP][AM_SPAN / 64][AM_GROUP][64];
};

/* A row tile over the span: digits (or codes in the first) by groups of 4 columns of k; what pairs
 * of sums are multiplied by for minimums; scales a unit; scales of minimums a block. */
struct am_weights {
    _Alignas(64) uint8_t b[2][AM_SPAN / 4][64];
    uint8_t pair[AM_SPAN / 32][64];
    float d[AM_SPAN / 16][ROWS], m[AM_SPAN / 32][ROWS];
};

/* A pair of units from `u` on, `nj` of them, times columns [c, c + nc) of the call, nc <= 32. */
struct am_job {
    size_t c;
    int nc, u, nj;
};

/* A call's constants: columns of a unit, of a block, and the bytes of k that a tile holds. */
struct am_shape {
    int unit, block, kb;
};

INLINE struct am_shape am_shape_of(struct mm_form f, const struct slv_layout *l) {
    const int block = f.block ? f.block : l->block, unit = f.fsub ? f.fsub : block;
    return (struct am_shape){unit, block, unit < 64 ? unit : 64};
}

/* Codes of columns [c0, c1), [k, k + len) of each, len <= AM_SPAN. A group's missing columns are
 * zeros: their sums are never read. */
static void am_copy(const struct slv_acts *x, size_t n, size_t c0, size_t c1, size_t k, size_t len,
                    struct am_columns *ret) {
    static const _Alignas(32) int8_t none[32];
    for (size_t c = c0; c < (c1 + AM_GROUP - 1) / AM_GROUP * AM_GROUP; c += SLV_PANEL) {
        const struct slv_panel p = slv_panel_of(c < c1 ? c : c0, n, x->ld);
        for (size_t i = 0; i < len / 32; i++)
            for (size_t j = 0; j < SLV_PANEL; j++) {
                const int8_t *from =
                    c + j < c1 ? x->codes.q + p.at + (k + i * 32) * p.w + j * 32 : none;
                const size_t row = (c - c0) % AM_GROUP + j;
                int8_t *to = ret->q[(c - c0) / AM_GROUP][i / 2][row] + i % 2 * 32;
                __builtin_memcpy(to, from, 32);
            }
    }
}

/* The codes of a chunk with their sign: eight bits, or a table's, or unsigned and below 64. */
INLINE __m512i am_code(struct mm_form f, vb u) {
    if (mm_signed(f) || !f.bias) return u.v;
    return _mm512_add_epi8(u.v, _mm512_set1_epi8((char)f.bias));
}

/* Chunk i's codes times their sub-scales, in two digits. A product of bytes fits 16 bits, and its
 * two bytes are the digits: what is left is to bring products of even and odd bytes together. */
INLINE void am_digits(struct mm_form f, const vb u[8], const int8_t *sc, int i, uint8_t lo[8][64],
                      uint8_t hi[8][64]) {
    const __mmask64 odd_bytes = 0xaaaaaaaaaaaaaaaau;
    const bool sign = mm_signed(f) || f.bias;
    __m512i by[2];
    UNROLL for (int half = 0; half < 2; half++) {
        const int8_t *s = sc + (32 * i + 16 * half) / f.sub * ROWS;
        by[half] = vp_pairs(s, s, 1).v;
    }
    UNROLL for (int g = 0; g < 8; g++) {
        const __m512i s = am_code(f, u[g]);
        __m512i even = sign ? _mm512_srai_epi16(_mm512_slli_epi16(s, 8), 8)
                            : _mm512_and_si512(s, _mm512_set1_epi16(0xff));
        __m512i odd = sign ? _mm512_srai_epi16(s, 8) : _mm512_srli_epi16(s, 8);
        even = _mm512_mullo_epi16(even, by[g / 4]);
        odd = _mm512_mullo_epi16(odd, by[g / 4]);
        vb_store(lo[g], (vb){_mm512_mask_blend_epi8(odd_bytes, even, _mm512_slli_epi16(odd, 8))});
        vb_store(hi[g], (vb){_mm512_mask_blend_epi8(odd_bytes, _mm512_srli_epi16(even, 8), odd)});
    }
}

/* The tile blocks of a span of len columns, `bytes` each, unpacked. */
INLINE void am_expand(struct mm_form f, const struct slv_layout *l, const uint8_t *blk,
                      size_t bytes, size_t len, struct am_weights *e) {
    const struct mm_block_at at = mm_locate(f, l);
    const int scales = f.fsub ? at.block / f.fsub : 1, chunks = at.block / 32;
    for (int b = 0; b < (int)len / at.block; b++, blk += bytes) {
        const int8_t *sc = (const int8_t *)blk + at.sc, *mn = (const int8_t *)blk + at.mn;
        for (int i = 0; i < scales; i++)
            vf_store(e->d[b * scales + i], mm_scale(l->d_f32, blk + at.line * i));
        if (f.min) vf_store(e->m[b], mm_scale(l->d_f32, blk + at.m));
        for (int i = 0; i < chunks; i++) {
            const int chunk = b * chunks + i;
            vb u[8];
            UNROLL for (int g = 0; g < 8; g++) u[g] =
                mm_code(f, blk + at.codes + (size_t)i * 64 * (size_t)f.bits, l->table, g);
            if (f.sub) {
                am_digits(f, u, sc, i, e->b[0] + 8 * chunk, e->b[1] + 8 * chunk);
            } else {
                UNROLL for (int g = 0; g < 8; g++)
                    vb_store(e->b[0][8 * chunk + g], (vb){am_code(f, u[g])});
            }
        }
        const int pairs = f.min == 2 ? mm_pairs(f, at.block) : 0;
        for (int i = 0; i < pairs; i++)
            vp_store(e->pair[b * pairs + i], mm_pair(f, sc, mn, i));
    }
}

/* Where group g's codes lie from column k of the span on. */
INLINE const int8_t *am_a(const struct am_columns *a, size_t g, int k) {
    return a->q[g][k / 64][0] + k % 64;
}

/* The products of a job into C; with sub-scales C_0h holds the low digits' and C_1h the high ones'.
 * `g` is the first of its one or two groups of columns. */
INLINE void am_multiply(struct mm_form f, struct am_shape s, const struct am_weights *e,
                        const struct am_columns *a, size_t g, struct am_job job) {
    const bool two = job.nc > AM_GROUP;
    AM_WRITTEN();
    _tile_zero(C_00);
    _tile_zero(C_01);
    _tile_zero(C_10);
    _tile_zero(C_11);
    for (int k = job.u * s.unit; k < (job.u + 1) * s.unit; k += s.kb) {
        _tile_loadd(A_0, am_a(a, g, k), 64);
        _tile_loadd(B_0, e->b[0][k / 4], 64);
        if (two) _tile_loadd(A_1, am_a(a, g + 1, k), 64);
        if (f.sub) {
            _tile_loadd(B_1, e->b[1][k / 4], 64);
            _tile_dpbsud(C_00, A_0, B_0);
            _tile_dpbssd(C_10, A_0, B_1);
            if (two) {
                _tile_dpbsud(C_01, A_1, B_0);
                _tile_dpbssd(C_11, A_1, B_1);
            }
        } else {
            _tile_dpbssd(C_00, A_0, B_0);
            if (two) _tile_dpbssd(C_01, A_1, B_0);
        }
    }
    if (f.sub || job.nj < 2) return;
    for (int k = (job.u + 1) * s.unit; k < (job.u + 2) * s.unit; k += s.kb) {
        _tile_loadd(A_0, am_a(a, g, k), 64);
        _tile_loadd(B_1, e->b[0][k / 4], 64);
        if (two) _tile_loadd(A_1, am_a(a, g + 1, k), 64);
        _tile_dpbssd(C_10, A_0, B_1);
        if (two) _tile_dpbssd(C_11, A_1, B_1);
    }
}

/* C to memory: [unit or digit][column][16]. */
INLINE void am_keep(struct mm_form f, struct am_job job, int32_t c[2][2 * AM_GROUP][ROWS]) {
    const bool two = job.nc > AM_GROUP, both = f.sub || job.nj > 1;
    _tile_stored(C_00, c[0][0], 64);
    if (two) _tile_stored(C_01, c[0][AM_GROUP], 64);
    if (both) _tile_stored(C_10, c[1][0], 64);
    if (both && two) _tile_stored(C_11, c[1][AM_GROUP], 64);
}

/* Column i of a job, which lies in a panel of w: x begins with it where the span does. */
INLINE vf am_column(struct mm_form f, struct am_shape s, const struct am_weights *e,
                    const int32_t c[2][2 * AM_GROUP][ROWS], struct am_job job, int i,
                    const struct slv_codes *x, size_t w, vf acc) {
    const int act = f.fsub ? 32 : s.unit;
    for (int j = 0; j < job.nj; j++) {
        const int u = job.u + j, k = u * s.unit;
        vi dot = vi_load(c[f.sub ? 0 : j][i]);
        if (f.sub) dot = vi_add(dot, vi_sll(vi_load(c[1][i]), 8));
        const size_t at = (size_t)(k / act) * w;
        const vf dx = vf_each(x->d + at);
        acc = vf_fma(vi_to_vf(dot), vf_mul(vf_load(e->d[u]), dx), acc);
        if (f.min == 1) acc = vf_fma(vf_load(e->m[u]), vf_each(x->m + at), acc);
        if (f.min < 2) continue;
        const int pairs = mm_pairs(f, s.block);
        vi min = vi_zero();
        UNROLL for (int p = u * pairs; p < (u + 1) * pairs; p++) min =
            vi_add_pairs(min, vp_load(e->pair[p]), mm_load4(mm_sums(f, x) + (size_t)p * w * 2));
        acc = vf_fma(vi_to_vf(min), vf_mul(vf_load(e->m[u]), dx), acc);
    }
    return acc;
}

/* The job's columns go on from acc[nc][16]. k is where the span begins. */
INLINE void am_finish(struct mm_form f, struct am_shape s, const struct am_weights *e,
                      const int32_t c[2][2 * AM_GROUP][ROWS], const struct slv_acts *x, size_t n,
                      size_t k, struct am_job job, float *acc) {
    const size_t act = f.fsub ? 32 : (size_t)s.unit;
    for (int i = 0; i < job.nc; i += SLV_PANEL) {
        const struct slv_panel p = slv_panel_of(job.c + (size_t)i, n, x->ld);
        for (int j = i; j < i + SLV_PANEL && j < job.nc; j++) {
            const struct slv_codes at =
                slv_codes_at(&x->codes, p.at + k * p.w, act, (size_t)(j - i));
            vf_store(acc + j * ROWS,
                     am_column(f, s, e, c, job, j, &at, p.w, vf_load(acc + j * ROWS)));
        }
    }
}

/* A row tile's span times columns [c0, c1). */
INLINE void am_span(struct mm_form f, struct am_shape s, const struct am_weights *e,
                    const struct am_columns *a, const struct slv_acts *x, size_t n, size_t c0,
                    size_t c1, size_t k, size_t len, float *acc) {
    _Alignas(64) int32_t c[2][2 * AM_GROUP][ROWS];
    const int units = (int)len / s.unit;
    struct am_job before = {0};
    for (size_t col = c0; col < c1; col += 2 * AM_GROUP)
        for (int u = 0; u < units; u += 2) {
            const struct am_job job = {col,
                                       c1 - col < 2 * AM_GROUP ? (int)(c1 - col) : 2 * AM_GROUP, u,
                                       u + 1 < units ? 2 : 1};
            am_multiply(f, s, e, a, (col - c0) / AM_GROUP, job);
            if (before.nj) am_finish(f, s, e, c, x, n, k, before, acc + (before.c - c0) * ROWS);
            am_keep(f, job, c);
            before = job;
        }
    am_finish(f, s, e, c, x, n, k, before, acc + (before.c - c0) * ROWS);
}

/* Row tiles [t0, t1), AM_TILES at most, times columns [c0, c1), AM_STRIP at most. */
INLINE void am_strip(struct mm_form f, struct am_shape s, const struct slv_mat *w,
                     const struct slv_acts *x, size_t n, size_t c0, size_t c1, size_t t0, size_t t1,
                     float *out, size_t ldo) {
    const size_t bytes = w->tile_bytes / (w->cols / (size_t)s.block);
    _Alignas(64) float acc[AM_TILES][AM_STRIP * ROWS];
    struct am_columns a;
    struct am_weights e;
    for (size_t t = t0; t < t1; t++)
        __builtin_memset(acc[t - t0], 0, (c1 - c0) * ROWS * sizeof(float));
    for (size_t k = 0; k < w->cols; k += AM_SPAN) {
        const size_t len = w->cols - k < AM_SPAN ? w->cols - k : AM_SPAN;
        am_copy(x, n, c0, c1, k, len, &a);
        for (size_t t = t0; t < t1; t++) {
            am_expand(f, w->layout, w->tiles + t * w->tile_bytes + k / (size_t)s.block * bytes,
                      bytes, len, &e);
            am_span(f, s, &e, &a, x, n, c0, c1, k, len, acc[t - t0]);
        }
    }
    for (size_t t = t0; t < t1; t++)
        for (size_t c = c0; c < c1; c++)
            vf_store(out + c * ldo + t * ROWS, vf_load(acc[t - t0] + (c - c0) * ROWS));
}

/* Strips are of one size as far as may be: a short one pays for unpacking as a long one does. */
INLINE void am_int(struct mm_form f, enum slv_form form, const struct slv_mat *w,
                   const struct slv_acts *x, size_t n, size_t tile0, size_t tile1, float *out,
                   size_t ldo) {
    if (n < AM_LEAST) {
        slv_matmul_avx512vnni(form)(w, x, n, tile0, tile1, out, ldo);
        return;
    }
    const struct am_shape s = am_shape_of(f, w->layout);
    const size_t strips = (n + AM_STRIP - 1) / AM_STRIP, even = (n + strips - 1) / strips;
    const size_t strip = (even + AM_GROUP - 1) / AM_GROUP * AM_GROUP;
    am_configure(s.kb);
    for (size_t c = 0; c < n; c += strip)
        for (size_t t = tile0; t < tile1; t += AM_TILES)
            am_strip(f, s, w, x, n, c, c + strip < n ? c + strip : n, t,
                     t + AM_TILES < tile1 ? t + AM_TILES : tile1, out, ldo);
    _tile_release();
}

#define AM_INT(name, form, ...)                                                                    \
    static void am_##name(MM_ARGS) {                                                               \
        am_int((struct mm_form){__VA_ARGS__}, form, w, x, n, tile0, tile1, out, ldo);              \
    }
MM_FORMS(AM_INT)

void slv_kernels_amx(struct slv_kernels *k) {
#define AM_ROW(name, form, ...) k->matmul[form] = am_##name;
    MM_FORMS(AM_ROW)
#undef AM_ROW
}

/* --- whether it works ------------------------------------------------------------------------- */

/* What C_00 and C_10 of one job should be: digits of b, low ones unsigned, times two columns' a. */
static bool am_right(const struct am_columns *a, const struct am_weights *e,
                     const int32_t c[2][2 * AM_GROUP][ROWS]) {
    for (int digit = 0; digit < 2; digit++)
        for (int col = 0; col < AM_GROUP; col++)
            for (int r = 0; r < ROWS; r++) {
                int32_t want = 0;
                for (int k = 0; k < 64; k++) {
                    const uint8_t b = e->b[digit][k / 4][4 * r + k % 4];
                    want += a->q[0][0][col][k] * (digit ? (int8_t)b : b);
                }
                if (c[digit][col][r] != want) return false;
            }
    return true;
}

bool slv_amx_works(void) {
    const struct am_job job = {0, AM_GROUP, 0, 1};
    struct am_columns a;
    struct am_weights e;
    int32_t c[2][2 * AM_GROUP][ROWS];
    uint32_t state = 1; /* any bytes, all values among them */
    for (int i = 0; i < AM_GROUP * 64; i++) {
        state = state * 1664525u + 1013904223u;
        a.q[0][0][i / 64][i % 64] = (int8_t)(state >> 24);
        e.b[0][i / 64][i % 64] = (uint8_t)(state >> 16);
        e.b[1][i / 64][i % 64] = (uint8_t)(state >> 8);
    }
    am_configure(64);
    am_multiply((struct mm_form){.sub = 32}, (struct am_shape){64, 64, 64}, &e, &a, 0, job);
    am_keep((struct mm_form){.sub = 32}, job, c);
    _tile_release();
    return am_right(&a, &e, c);
}
