/* ops_quad.h: the sixteen-lane vocabulary of the kernel templates for instruction sets of 128 bits:
 * each vector is four registers.
 *
 * The including ops_<isa>.h has first defined the registers, f4 (floats), i4 (int32) and b16
 * (bytes), and f4_add, i4_add, b16_or and so on, each of which does for one register what the
 * vocabulary's vf_add, vi_add, vb_or do for four. What crosses registers (vi_from_i8, vi_store_i8,
 * vf_tree_sum) and what is no vector at all stays in the ops_<isa>.h.
 *
 * The four calls are written out and not a loop: until a loop is unrolled the compiler must keep
 * the registers' array in memory.
 */
#ifndef SLV_OPS_QUAD_H
#define SLV_OPS_QUAD_H

typedef struct {
    f4 r[4];
} vf;
typedef struct {
    i4 r[4];
} vi;
typedef struct {
    b16 r[4];
} vb;

/* `to name(from x, ...)` by `one`, its form for one register. SHARED: the last argument is the same
 * for all four. */
#define QUAD_1(to, name, from, one)                                                                \
    OP to name(from x) { return (to){{one(x.r[0]), one(x.r[1]), one(x.r[2]), one(x.r[3])}}; }
#define QUAD_2(to, name, from, one)                                                                \
    OP to name(from x, from y) {                                                                   \
        return (to){                                                                               \
            {one(x.r[0], y.r[0]), one(x.r[1], y.r[1]), one(x.r[2], y.r[2]), one(x.r[3], y.r[3])}}; \
    }
#define QUAD_3(to, name, from, one)                                                                \
    OP to name(from x, from y, from z) {                                                           \
        return (to){{one(x.r[0], y.r[0], z.r[0]), one(x.r[1], y.r[1], z.r[1]),                     \
                     one(x.r[2], y.r[2], z.r[2]), one(x.r[3], y.r[3], z.r[3])}};                   \
    }
#define QUAD_SHARED(to, name, from, scalar, one)                                                   \
    OP to name(from x, scalar n) {                                                                 \
        return (to){{one(x.r[0], n), one(x.r[1], n), one(x.r[2], n), one(x.r[3], n)}};             \
    }
/* From memory; a register takes `step` elements of it. */
#define QUAD_LOAD(to, name, from, elem, step, one)                                                 \
    OP to name(const from *p) {                                                                    \
        const elem *e = (const elem *)p;                                                           \
        return (to){{one(e), one(e + (step)), one(e + 2 * (step)), one(e + 3 * (step))}};          \
    }
#define QUAD_STORE(name, from, elem, one)                                                          \
    OP void name(elem *p, from x) {                                                                \
        one(p, x.r[0]);                                                                            \
        one(p + 4, x.r[1]);                                                                        \
        one(p + 8, x.r[2]);                                                                        \
        one(p + 12, x.r[3]);                                                                       \
    }
#define QUAD_SET(to, name, scalar, one)                                                            \
    OP to name(scalar n) { return (to){{one(n), one(n), one(n), one(n)}}; }

QUAD_LOAD(vf, vf_load, float, float, 4, f4_load)
QUAD_LOAD(vf, vf_from_f16, void, uint16_t, 4, f4_from_f16)
QUAD_LOAD(vf, vf_from_bf16, void, uint16_t, 4, f4_from_bf16)
QUAD_STORE(vf_store, vf, float, f4_store)
QUAD_STORE(vf_store_f16, vf, uint16_t, f4_store_f16)
QUAD_SET(vf, vf_set1, float, f4_set1)
OP vf vf_zero(void) { return vf_set1(0.0f); }
QUAD_2(vf, vf_add, vf, f4_add)
QUAD_2(vf, vf_sub, vf, f4_sub)
QUAD_2(vf, vf_mul, vf, f4_mul)
QUAD_2(vf, vf_div, vf, f4_div)
QUAD_2(vf, vf_max, vf, f4_max) /* x > y ? x : y */
QUAD_2(vf, vf_min, vf, f4_min) /* x < y ? x : y */
QUAD_3(vf, vf_fma, vf, f4_fma)
QUAD_3(vf, vf_select, vf, f4_select)
QUAD_1(vi, vf_bits, vf, f4_bits)
QUAD_1(vi, vf_to_vi, vf, f4_to_i4)

QUAD_1(vf, vi_float_bits, vi, i4_float_bits)
QUAD_1(vf, vi_to_vf, vi, i4_to_f4)
QUAD_STORE(vi_store, vi, int32_t, i4_store)
QUAD_SET(vi, vi_set1, int32_t, i4_set1)
OP vi vi_zero(void) { return vi_set1(0); }
QUAD_2(vi, vi_add, vi, i4_add)
QUAD_2(vi, vi_sub, vi, i4_sub)
QUAD_2(vi, vi_mul, vi, i4_mul)
QUAD_2(vi, vi_and, vi, i4_and)
QUAD_2(vi, vi_or, vi, i4_or)
QUAD_2(vi, vi_maxu, vi, i4_maxu)
QUAD_SHARED(vi, vi_sll, vi, int, i4_sll)
QUAD_1(vi, vi_sra1, vi, i4_sra1)
OP vi vi_lanes(void) { return (vi){{i4_lanes(0), i4_lanes(4), i4_lanes(8), i4_lanes(12)}}; }
OP vf vi_within(vi x, int lo, int hi) {
    return (vf){{i4_within(x.r[0], lo, hi), i4_within(x.r[1], lo, hi), i4_within(x.r[2], lo, hi),
                 i4_within(x.r[3], lo, hi)}};
}

QUAD_LOAD(vb, vb_load, void, uint8_t, 16, b16_load)
QUAD_SHARED(vb, vb_and, vb, uint8_t, b16_and)
QUAD_1(vb, vb_flip, vb, b16_flip) /* the top bit of each byte */
OP void vb_store(void *p, vb x) {
    uint8_t *b = (uint8_t *)p;
    b16_store(b, x.r[0]);
    b16_store(b + 16, x.r[1]);
    b16_store(b + 32, x.r[2]);
    b16_store(b + 48, x.r[3]);
}
QUAD_2(vb, vb_or, vb, b16_or)
QUAD_SHARED(vb, vb_srl, vb, int, b16_srl)
QUAD_SHARED(vb, vb_sll, vb, int, b16_sll)
OP vb vb_table(const int8_t *table, vb x) {
    const b16 t = b16_load((const uint8_t *)table);
    return (vb){
        {b16_pick(t, x.r[0]), b16_pick(t, x.r[1]), b16_pick(t, x.r[2]), b16_pick(t, x.r[3])}};
}

OP int32_t four_bytes(const void *x) {
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    return four;
}
OP vi vi_each(const void *x) { return vi_set1(four_bytes(x)); }
OP vf vf_each(const float *x) { return vf_set1(*x); }

/* acc + for each lane the sum of 4 products of its bytes with the 4 bytes at x. */
#define QUAD_DOT(name, one)                                                                        \
    OP vi name(vi acc, vb codes, const int8_t *x) {                                                \
        const b16 v = b16_repeat(four_bytes(x));                                                   \
        return (vi){{one(acc.r[0], codes.r[0], v), one(acc.r[1], codes.r[1], v),                   \
                     one(acc.r[2], codes.r[2], v), one(acc.r[3], codes.r[3], v)}};                 \
    }
QUAD_DOT(vi_dot_s, i4_dot_s)

/* The largest lane; none is NaN. */
OP float vf_max_of(vf x) {
    float t[4];
    f4_store(t, f4_max(f4_max(x.r[0], x.r[1]), f4_max(x.r[2], x.r[3])));
    float a = t[0] > t[1] ? t[0] : t[1], b = t[2] > t[3] ? t[2] : t[3];
    return a > b ? a : b;
}
/* The largest lane, unsigned; the sum of all. */
OP uint32_t vi_maxu_of(vi x) {
    int32_t t[4];
    i4_store(t, i4_maxu(i4_maxu(x.r[0], x.r[1]), i4_maxu(x.r[2], x.r[3])));
    uint32_t a = (uint32_t)t[0] > (uint32_t)t[1] ? (uint32_t)t[0] : (uint32_t)t[1];
    uint32_t b = (uint32_t)t[2] > (uint32_t)t[3] ? (uint32_t)t[2] : (uint32_t)t[3];
    return a > b ? a : b;
}
OP int32_t vi_sum_of(vi x) {
    int32_t t[4];
    i4_store(t, i4_add(i4_add(x.r[0], x.r[1]), i4_add(x.r[2], x.r[3])));
    return t[0] + t[1] + t[2] + t[3];
}

/* Pairs of int16, a pair a row. */
typedef vb vp;
#define vp_load vb_load
#define vp_store vb_store

#endif
