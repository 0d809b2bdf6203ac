/* ops_sum32.h: wide_tmpl.h's vocabulary for instruction sets that add four products of bytes to an
 * int32 in one step. The including ops_<isa>.h has first defined vi_dot_u (acc + products of
 * unsigned codes and the four bytes of x), vi_load, and WIDE_BIAS, by which signed codes become
 * unsigned ones. */
#ifndef SLV_OPS_SUM32_H
#define SLV_OPS_SUM32_H

#define WIDE_DIGITS 1

typedef vi vm;
OP vm vm_load(const void *p) { return vi_load((const int32_t *)p); }
OP void vm_store(void *p, vm x) { vi_store((int32_t *)p, x); }
OP vm vm_from_i8(const int8_t *p, int times) {
    return times == 1 ? vi_from_i8(p) : vi_mul(vi_from_i8(p), vi_set1(times));
}
OP vm vm_ones(int times) { return vi_set1(times); }

OP void vi_dot_groups(int bits, const vb *u, int ng, const int8_t *x, int nc, bool ones, vm mult,
                      vi dot[]) {
    (void)bits;
    vi part[WIDE_COLS];
    _Pragma("GCC unroll 8") for (int c = 0; c < nc; c++) part[c] = ones ? dot[c] : vi_zero();
    _Pragma("GCC unroll 8") for (int g = 0; g < ng; g++) {
        _Pragma("GCC unroll 8") for (int c = 0; c < nc; c++) {
            int32_t four;
            __builtin_memcpy(&four, x + 32 * c + 4 * g, 4);
            part[c] = vi_dot_u(part[c], u[g], four);
        }
    }
    _Pragma("GCC unroll 8") for (int c = 0; c < nc; c++) dot[c] =
        ones ? part[c] : vi_add(dot[c], vi_mul(part[c], mult));
}

#endif
