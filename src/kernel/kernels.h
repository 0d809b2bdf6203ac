/* kernels.h: every vector kernel, as one table of functions for each instruction set.
 *
 * Numeric contract: each function gives the same bits at every level; the scalar one
 * (matmul.c, rows.c, attn.c) is the definition. See DESIGN "Arithmetic" and fmath.h. Round to
 * nearest even, no flush to zero (slv_fpenv_enter sees to that).
 *
 * Threads: any number at once, on disjoint outputs. Nothing here allocates or fails.
 */
#ifndef SLV_KERNEL_KERNELS_H
#define SLV_KERNEL_KERNELS_H

#include "kernel/cpu.h"
#include "kernel/layout.h"

/* --- matrix times columns --------------------------------------------------------------------- */

/* A weight matrix in tiles (layout.h). */
struct slv_mat {
    const struct slv_layout *layout;
    const uint8_t *tiles; /* 64-byte aligned */
    size_t rows, cols;    /* outputs, inputs */
    size_t tile_bytes;    /* bytes from one tile to the next */
};

/* Quantized columns lie in panels of SLV_PANEL side by side, so that a kernel reads several of them
 * from one pointer. Panel p begins at element p * SLV_PANEL * ld and holds w columns: SLV_PANEL,
 * or what is left of n for the last one. Column c of a panel has
 *
 *     q      codes, -127..127: [panel + (k / 32 * w + c) * 32 + k % 32]
 *     d      scales: [panel / act + k / act * w + c]
 *     m      like d: the scale times the sum of its codes, which a minimum is multiplied by
 *     less   like d: minus that sum, which is what a bias of -1 adds to a product
 *     sum    sums of 16 codes, in pairs: [panel / 16 + (k / 32 * w + c) * 2 + k / 16 % 2]
 *     sum32  of 32, where act is 64 or more: [panel / 32 + (k / 64 * w + c) * 2 + k / 32 % 2]
 *
 * One column alone (w = 1) is simply contiguous. */
#define SLV_PANEL 8
struct slv_codes {
    int8_t *q;
    float *d, *m;
    int32_t *less;
    int16_t *sum, *sum32;
};

/* What products with a layout's weights read beside q and d, as bits. */
enum {
    SLV_CODES_M = 1,
    SLV_CODES_LESS = 2,
    SLV_CODES_SUM = 4,
    SLV_CODES_SUM32 = 8,
};
uint8_t slv_codes_read(const struct slv_layout *l);

/* The same from element `at` of the panel and column c on; `act`: codes of a scale. */
static inline struct slv_codes slv_codes_at(const struct slv_codes *x, size_t at, size_t act,
                                            size_t c) {
    return (struct slv_codes){.q = x->q + at + c * 32,
                              .d = x->d + at / act + c,
                              .m = x->m + at / act + c,
                              .less = x->less + at / act + c,
                              .sum = x->sum + at / 16 + c * 2,
                              .sum32 = act < 64 ? NULL : x->sum32 + at / 32 + c * 2};
}

/* Input columns, quantized for a layout's `act`, or plain floats where act is 0. */
struct slv_acts {
    const float *f; /* [n][ld] */
    struct slv_codes codes;
    size_t ld; /* elements of a column; quantized: a multiple of 32 */
};

/* Where column `col` of n lies: element `at` begins its panel, it is number `c` of `w` there. */
struct slv_panel {
    size_t at, c, w;
};

static inline struct slv_panel slv_panel_of(size_t col, size_t n, size_t ld) {
    size_t first = col / SLV_PANEL * SLV_PANEL;
    return (struct slv_panel){first * ld, col - first,
                              n - first < SLV_PANEL ? n - first : SLV_PANEL};
}

/* out[c * ldo + r] for all rows r of tiles [tile0, tile1) and columns [0, n). Rows past w->rows in
 * the last tile are written too: outputs are padded to 16. One chain of fma for each output:
 *   float layouts:   acc = fma(w[r][k], x[c][k], acc), k ascending
 *   integer layouts: for each block ascending: acc = fma((float)dot, d_w * d_x, acc), then with
 *                    minimums acc = fma((float)min, m_w * d_x, acc), with one only
 *                    acc = fma(m_w, m_x, acc); dot and min are exact int32. */
typedef void (*slv_matmul_fn)(const struct slv_mat *w, const struct slv_acts *x, size_t n,
                              size_t tile0, size_t tile1, float *out, size_t ldo);

/* --- rows of floats --------------------------------------------------------------------------- */

/* Codes, scales and sums of x[n], as one column of a panel of w, of which `to` has the places; but
 * for codes and scales they may be NULL: not wanted. n and block are multiples of 32, block divides
 * n. d = amax / 127, q = rne(x * (127 / amax)). A block with a NaN or an infinity gets d = NaN; one
 * whose 127 / amax overflows (amax < 2^-121) counts as zeros. */
typedef void (*slv_quantize_fn)(const float *x, size_t n, size_t block, size_t w,
                                const struct slv_codes *to);

/* out = x * (1 / sqrt(mean(x^2) + eps)) * w. w may be NULL: ones. out may be x. Sums run in sixteen
 * partial sums by index mod 16, joined as a binary tree (8, 4, 2, 1). */
typedef void (*slv_rms_norm_fn)(const float *x, const float *w, size_t n, float eps, float *out);

/* out = (x - mean) * (1 / sqrt(var + eps)) * w + b. w, b may be NULL. */
typedef void (*slv_layer_norm_fn)(const float *x, const float *w, const float *b, size_t n,
                                  float eps, float *out);

/* Elementwise; out may be an input. */
typedef void (*slv_unary_fn)(const float *x, size_t n, float *out);
typedef void (*slv_binary_fn)(const float *a, const float *b, size_t n, float *out);
/* out = fma(b, s, a) */
typedef void (*slv_axpy_fn)(const float *a, const float *b, float s, size_t n, float *out);
/* out = s * tanh(x / s), as s * tanh(x * (1 / s)) */
typedef void (*slv_softcap_fn)(const float *x, float s, size_t n, float *out);
/* The largest magnitude of x[n], as bits: 0x7f800000 and more where one is infinite or NaN. */
typedef uint32_t (*slv_top_fn)(const float *x, size_t n);

/* --- attention over one block of positions ---------------------------------------------------- */

#define SLV_KV_BLOCK 64 /* positions in a block, aligned to absolute position */

enum slv_kv_type { SLV_KV_F32, SLV_KV_F16, SLV_KV_Q8, SLV_KV_TYPES };

/* One block of one KV head. Head sizes are multiples of 16 (the caller pads with zeros); for Q8 of
 * 32.
 *
 *   K: 4 tiles of 16 positions, each [dk][16] f32 or f16; Q8: each [dk / 4][16][4] int8, and
 *      k_scale [4][dk / 32][16] f32
 *   V: [64][dv] f32, f16 or int8; Q8: v_scale [64][dv / 32] f32 */
struct slv_attn_block {
    const void *k, *v;
    const float *k_scale, *v_scale;
    const void *next; /* what will be read after this block: only asked for, never read */
    size_t dk, dv;
    float scale, cap;
};

/* One query head, which sees the positions [first, last) of the block, 0 <= first < last <= 64. */
struct slv_attn_query {
    const float *q;         /* [dk] */
    const int8_t *q8;       /* Q8 only: codes [dk] */
    const float *q8_scale;  /* [dk / 32] */
    const int32_t *q8_less; /* [dk / 32]: minus the sum of the codes under each */
    size_t first, last;
    float *out; /* [dv], and the block's own maximum and sum: results */
    float max, sum;
};

/* n queries, each as if alone:
 *
 * score = (chain over k of fma(q[k], K[k][pos], acc)) * scale; Q8: the chain of matmul with
 * activation block 32. Then softcap if cap > 0. p = exp(score - max), sum in sixteen partial sums,
 * out = chain over positions of fma(p, V, acc); Q8: fma(p * v_scale, code, acc). */
typedef void (*slv_attn_fn)(const struct slv_attn_block *b, struct slv_attn_query *q, size_t n);

/* Joins block (m, l, o) to the running (*max, *sum, acc[n]): both are scaled to the larger maximum.
 */
typedef void (*slv_attn_join_fn)(float m, float l, const float *o, size_t n, float *max, float *sum,
                                 float *acc);

/* --- the table -------------------------------------------------------------------------------- */

struct slv_kernels {
    enum slv_cpu_level level;
    slv_matmul_fn matmul[SLV_FORM_COUNT];
    slv_quantize_fn quantize;
    slv_rms_norm_fn rms_norm;
    slv_layer_norm_fn layer_norm;
    slv_unary_fn silu, gelu, gelu_erf;
    slv_binary_fn add, mul, silu_mul, gelu_mul; /* silu(a) * b */
    slv_axpy_fn axpy;
    slv_softcap_fn softcap;
    slv_top_fn top;
    slv_attn_fn attn[SLV_KV_TYPES];
    slv_attn_join_fn attn_join;
    void (*f32_to_f16)(const float *x, size_t n, uint16_t *out);
    void (*f16_to_f32)(const uint16_t *x, size_t n, float *out);
};

/* Fills *ret for a level that the machine has (slv_cpu_choose). */
void slv_kernels_init(struct slv_kernels *ret, enum slv_cpu_level level);

/* Sets round to nearest even and clears flush-to-zero for the calling thread; returns the old state
 * for slv_fpenv_leave. */
uint64_t slv_fpenv_enter(void);
void slv_fpenv_leave(uint64_t old);

/* One function for each instruction-set file; each overwrites the entries it has: the scalar ones
 * together all of them, every other level's too but for amx. */
void slv_kernels_scalar_matmul(struct slv_kernels *k);
void slv_kernels_scalar_rows(struct slv_kernels *k);
void slv_kernels_scalar_attn(struct slv_kernels *k);
void slv_kernels_sse4(struct slv_kernels *k);
void slv_kernels_avx2(struct slv_kernels *k);
void slv_kernels_avxvnni(struct slv_kernels *k);
void slv_kernels_avx512(struct slv_kernels *k);
void slv_kernels_avx512vnni(struct slv_kernels *k);
void slv_kernels_amx(struct slv_kernels *k); /* over the table of avx512vnni */
void slv_kernels_neon(struct slv_kernels *k);
void slv_kernels_dotprod(struct slv_kernels *k);
void slv_kernels_i8mm(struct slv_kernels *k);

/* The product of a form in AVX-512 VNNI, for what AMX leaves to it. */
slv_matmul_fn slv_matmul_avx512vnni(enum slv_form form);

/* Whether AMX tiles multiply as they should: tried out. Only for a processor that has them and a
 * thread that the system lets use them; leaves them released. */
bool slv_amx_works(void);

#endif
