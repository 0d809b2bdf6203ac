/* ops_sum16.h: block_tmpl.h's vocabulary for instruction sets that multiply bytes into pairs of
 * int16 and pairs of int16 into int32: products of several groups add up in int16 while they fit,
 * and what they are multiplied by comes with the step to int32.
 *
 * The including ops_<isa>.h has first defined vp (pairs of int16, a pair a row), and
 *
 *     vp_pairs(lo, hi, times)   see block_tmpl.h
 *     vp_repeat(x)              the pair of int16 in x, or four bytes, for all rows
 *     vp_products(u, x)         u0 * x0 + u1 * x1, u2 * x2 + u3 * x3: unsigned, signed bytes
 *     vp_add(a, b)              int16
 *     vi_madd(acc, a, b)        acc + lo * lo + hi * hi
 *     vp_hold(p)                nothing, but the compiler must have *p in registers there
 */
#ifndef SLV_OPS_SUM16_H
#define SLV_OPS_SUM16_H

OP vi vi_add_pairs(vi acc, vp p, int32_t x) { return vi_madd(acc, p, vp_repeat(x)); }

typedef vp vm;
#define vm_load vp_load
#define vm_store vp_store
OP vm vm_from_i8(const int8_t *p) { return vp_pairs(p, p, 1); }
OP vm vm_ones(void) { return vp_repeat(0x10001); }

/* Groups whose products of `bits` by int8 add up in int16: 2 * (2^bits - 1) * 127 a group. */
#define SUM16_GROUPS(bits) ((bits) <= 4 ? 8 : (bits) == 5 ? 4 : (bits) == 6 ? 2 : 1)

typedef vp va;

/* Sums must grow group by group: a compiler that is free to put all products first and to add them
 * later has no registers to keep them in. */
OP void vi_dot_group(int bits, int i, int ng, vb u, const int8_t *x, int nc, bool ones, vm mult,
                     va part[], vi dot[]) {
    (void)ones;
    const int run = SUM16_GROUPS(bits);
    vp_hold(&u);
    _Pragma("GCC unroll 8") for (int c = 0; c < nc; c++) {
        int32_t four;
        __builtin_memcpy(&four, x + 32 * c, 4);
        const vp p = vp_products(u, vp_repeat(four));
        part[c] = i % run == 0 ? p : vp_add(part[c], p);
        vp_hold(&part[c]);
    }
    if (i % run != run - 1 && i != ng - 1) return;
    _Pragma("GCC unroll 8") for (int c = 0; c < nc; c++) dot[c] = vi_madd(dot[c], part[c], mult);
}

#endif
