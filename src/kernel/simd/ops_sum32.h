/* ops_sum32.h: block_tmpl.h's vocabulary for instruction sets that add four products of bytes to an
 * int32 in one step. The including ops_<isa>.h has first defined vi_dot_u (acc + products of
 * unsigned codes and the four bytes at x) and vi_load. */
#ifndef SLV_OPS_SUM32_H
#define SLV_OPS_SUM32_H

typedef vi vm;
OP vm vm_load(const void *p) { return vi_load((const int32_t *)p); }
OP void vm_store(void *p, vm x) { vi_store((int32_t *)p, x); }
OP vm vm_from_i8(const int8_t *p) { return vi_from_i8(p); }
OP vm vm_ones(void) { return vi_set1(1); }

typedef vi va;

OP void vi_dot_group(int bits, int i, int ng, vb u, const int8_t *x, int nc, bool ones, vm mult,
                     va part[], vi dot[]) {
    (void)bits;
    _Pragma("GCC unroll 8") for (int c = 0; c < nc; c++) {
        if (i == 0) part[c] = ones ? dot[c] : vi_zero();
        part[c] = vi_dot_u(part[c], u, x + 32 * c);
        if (i == ng - 1) dot[c] = ones ? part[c] : vi_add(dot[c], vi_mul(part[c], mult));
    }
}

#endif
