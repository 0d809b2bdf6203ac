/* sum.h: a fast checksum that finds damage: flipped bits, lost or zeroed pages, bytes in the wrong
 * place. It is no protection against somebody who wants two contents to have one sum.
 *
 * Bytes are taken as sixteen lanes of 64-bit little-endian words. A lane's step is a bijection of
 * the word for a given state and of the state for a given word, and so is the joining of lanes: a
 * change within one word always changes the sum; any other goes unseen once in 2^64. */
#ifndef SLV_BASE_SUM_H
#define SLV_BASE_SUM_H

#include <stddef.h>
#include <stdint.h>

/* Of p[0..n). Other seeds give unrelated sums, so that a piece in another's place is seen: use its
 * number. The same on every machine. Threads: any. Source: this project's own. */
uint64_t slv_sum64(const void *p, size_t n, uint64_t seed);

/* A bijection that spreads every bit over all (the finalizer of SplitMix64, Steele et al. 2014). */
uint64_t slv_sum_mix(uint64_t x);

#endif
