/* tiles.h: the tile registers of AMX in C, one set a thread. What the processor answers with an
 * exception is counted as a fault, named once, and does nothing. Rows are addressed as by the
 * instruction; what a register does not hold is zero after each of them.
 *
 * Source: Intel SDM vol. 1 chapter 18, vol. 2 (LDTILECFG, TILELOADD, TILESTORED, TILEZERO,
 * TILERELEASE, TDPBSSD and its kin).
 */
#ifndef SLV_TEST_TILES_H
#define SLV_TEST_TILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void tile_config(const void *config); /* 64 bytes */
void tile_release(void);
void tile_load(int t, const void *base, ptrdiff_t stride);
void tile_store(int t, void *base, ptrdiff_t stride);
void tile_zero(int t);
/* C += A * B of bytes, each with or without a sign. */
void tile_dp(int c, int a, int b, bool a_signed, bool b_signed);

/* Faults of all threads since the program began. */
long tile_faults(void);
/* Whether this thread's registers are released. */
bool tile_released(void);
/* How many products there were, since the program began. */
long tile_products(void);

#endif
