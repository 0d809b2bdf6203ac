/* test_layout.c: a weight in tiles is the weight in the file. For every type that can be multiplied
 * with: random blocks are packed, multiplied with unit columns, and must give back what dequant
 * says; read back as rows they must give its bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "base/mem.h"
#include "kernel/fmath.h"
#include "kernel/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 19
#define COLS 512

static uint32_t state = 1;

static uint8_t rnd(void) {
    state = state * 1664525u + 1013904223u;
    return (uint8_t)(state >> 24);
}

/* Random bytes, with float scales kept finite: retried until every value is sane. */
static void random_row(const struct slv_dtype *t, uint8_t *row, float *values) {
    for (size_t b = 0; b < COLS / t->block; b++) {
        uint8_t *blk = row + b * t->bytes;
        for (bool sane = false; !sane;) {
            for (size_t i = 0; i < t->bytes; i++)
                blk[i] = rnd();
            slv_dequant(t->id, blk, values + b * t->block, t->block);
            sane = true;
            for (size_t i = 0; i < t->block; i++)
                sane = sane && fabsf(values[b * t->block + i]) < 1e6f;
        }
    }
}

/* A sealed model's embeddings come from the tiles: other bits would be other answers. */
static void check_rows(const struct slv_layout *l, const uint8_t *tiles, size_t tile_bytes,
                       const float *want) {
    float got[COLS];
    for (size_t r = 0; r < ROWS; r++) {
        slv_layout_row(l, tiles + r / SLV_TILE_ROWS * tile_bytes, r % SLV_TILE_ROWS, COLS, got);
        for (size_t c = 0; c < COLS; c++)
            if (memcmp(&got[c], &want[r * COLS + c], sizeof *got))
                fail_msg("%s row %zu column %zu: %a, not %a", slv_dtype_get(l->id)->name, r, c,
                         (double)got[c], (double)want[r * COLS + c]);
    }
}

static void check_type(uint32_t id) {
    const struct slv_dtype *t = slv_dtype_get(id);
    const struct slv_layout *l = slv_layout_get(id);
    size_t row_bytes = (size_t)COLS / t->block * t->bytes, bytes = slv_layout_bytes(l, ROWS, COLS);
    uint8_t *file = slv_mem_alloc(ROWS * row_bytes), *tiles = slv_mem_alloc_aligned(64, bytes);
    float *want = slv_mem_alloc(ROWS * COLS * sizeof *want);
    for (size_t r = 0; r < ROWS; r++)
        random_row(t, file + r * row_bytes, want + r * COLS);
    for (size_t tile = 0; tile < 2; tile++)
        slv_layout_pack(l, file, row_bytes, ROWS, COLS, tile, tiles + tile * (bytes / 2));

    check_rows(l, tiles, bytes / 2, want);

    struct slv_kernels k;
    slv_kernels_init(&k, SLV_CPU_SCALAR);
    struct slv_mat w = {l, tiles, ROWS, COLS, bytes / 2};
    float x[COLS], d[COLS], m[COLS], out[32];
    int32_t less[COLS];
    int8_t q[COLS];
    int16_t sum[COLS / 16], sum32[COLS / 32];
    const struct slv_codes codes = {q, d, m, less, sum, sum32};
    for (size_t c = 0; c < COLS; c += 37) {
        memset(x, 0, sizeof x);
        x[c] = 127.0f;
        if (l->act) k.quantize(x, COLS, l->act, 1, &codes);
        struct slv_acts a = {x, codes, COLS};
        k.matmul[l->form](&w, &a, 1, 0, 2, out, 32);
        for (size_t r = 0; r < 32; r++) {
            float v = r < ROWS ? want[r * COLS + c] : 0.0f, got = out[r] / 127.0f;
            if (fabsf(got - v) >
                2e-5f * fabsf(v) + 2e-5f * fabsf(want[(r < ROWS ? r : 0) * COLS + (c ^ 1)]))
                fail_msg("%s row %zu column %zu: %g, not %g", t->name, r, c, (double)got,
                         (double)v);
        }
    }
    slv_mem_free(file);
    slv_mem_free(tiles);
    slv_mem_free(want);
}

static void tiles_hold_what_the_file_holds(void **unused) {
    (void)unused;
    int n = 0;
    for (uint32_t id = 0; id < SLV_DTYPE_END; id++)
        if (slv_layout_get(id)) {
            check_type(id);
            n++;
        }
    assert_int_equal(n, 30);
}

static void every_quantized_type_can_be_multiplied_with(void **unused) {
    (void)unused;
    for (uint32_t id = 0; id < SLV_DTYPE_END; id++)
        if (slv_quant_get(id)) assert_non_null(slv_layout_get(id));
}

static void sizes_that_do_not_fit_are_refused(void **unused) {
    (void)unused;
    const struct slv_layout *l = slv_layout_get(SLV_Q4_K);
    assert_int_equal(slv_layout_bytes(l, 16, 255), 0);
    assert_int_equal(slv_layout_bytes(l, SIZE_MAX - 3, 256), 0);
    assert_int_equal(slv_layout_bytes(l, SIZE_MAX / 32, 256u << 20), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_hold_what_the_file_holds),
        cmocka_unit_test(every_quantized_type_can_be_multiplied_with),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
