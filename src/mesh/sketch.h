/* sketch.h: what a writer keeps of strings that are too many to keep: how many different ones there
 * were, and which were there most. Arithmetic only; entries and rows are types.h's.
 *
 * Unique (HyperLogLog: Flajolet, Fusy, Gandouet, Meunier 2007). The first 8 bytes of a string's
 * BLAKE2b-128 are a number, the highest byte first. Its upper 12 bits name a register; the rank is
 * the place of the first one among the other 52, from 1 on, 53 where there is none. A register has
 * the largest rank it met, 0: none. Sketches join register by register, and the count is that of
 * all strings together. It is estimated as by Ertl (New cardinality estimation algorithms for
 * HyperLogLog sketches, 2017, algorithm 6: no tables, no change of methods between small and large
 * counts) with a standard error of 1.04 / sqrt(4096) = 1.6 %.
 *
 *     0, for each register that is set, ascending: registers left out before it (number), rank (1)
 *     1, all registers: 6 bits each, the lowest bit of the lowest byte first: 3,072 bytes
 *
 * whichever is shorter, of equal ones the first.
 *
 * Top (Space-Saving: Metwally, Agrawal, El Abbadi 2005). 64 slots: a string that has none takes
 * that of the smallest count, of equal ones the last in the order of bytes, and goes on from its
 * count, which is its error. So of strings of weight N in all, with m the smallest count of full
 * slots, else 0:
 *
 *     count - error <= true count <= count    of what is there
 *     true count <= m <= N / 64               of what is not
 *
 * Sketches are summed (Agarwal and others, Mergeable summaries, 2012): a string counts m, with an
 * error of m, in those that do not have it. Then both hold of the sums: nothing is left out here.
 *
 *     for each slot, in the order of strings: string (bytes), count (number), error (number)
 *
 * Invariants: slots ascend by string (bytes, a shorter one first); the counts come to N, at most
 * 2^50; error < count, error <= m. Equal sketches have equal bytes, and any others are refused.
 * Threads: any, each its own.
 */
#ifndef SLV_MESH_SKETCH_H
#define SLV_MESH_SKETCH_H

#include "mesh/dots.h"

#define SLV_UNIQUE_REGISTERS 4096u
#define SLV_UNIQUE_RANK_MAX 53u
#define SLV_UNIQUE_BYTES_MAX (1u + SLV_UNIQUE_REGISTERS / 4 * 3)
#define SLV_UNIQUE_MOST ((uint64_t)1 << 62) /* more is not told apart */

#define SLV_TOP_SLOTS 64u
#define SLV_TOP_VALUE_MAX 256u                /* bytes of a string */
#define SLV_TOP_TOTAL_MAX ((uint64_t)1 << 50) /* of a sketch; of all writers' it fits 63 bits */

/* {0}: of nothing. */
struct slv_unique {
    uint8_t rank[SLV_UNIQUE_REGISTERS];
};

void slv_unique_add(struct slv_unique *u, struct slv_str value);
/* u has what either had. */
void slv_unique_join(struct slv_unique *u, const struct slv_unique *v);
/* About how many different strings were added, the same on every machine: at most
 * SLV_UNIQUE_MOST. */
uint64_t slv_unique_count(const struct slv_unique *u);

/* At most SLV_UNIQUE_BYTES_MAX bytes; b's status. */
void slv_unique_write(const struct slv_unique *u, struct slv_buf *b);
/* All of data is one sketch. False: it is none, or in another form; *ret is {0} then. */
bool slv_unique_read(struct slv_str data, struct slv_unique *ret);

/* Strings are borrowed: from whoever added them, or from what was read. */
struct slv_top_item {
    struct slv_str value;
    uint64_t count, error;
};

/* {0}: of nothing. */
struct slv_top {
    struct slv_top_item slot[SLV_TOP_SLOTS];
    uint32_t n;
};

/* n times a string. SLV_E_USAGE: n is 0; SLV_E_LIMIT: it is too long, or the total too large;
 * nothing has changed then. */
int slv_top_add(struct slv_top *t, struct slv_str value, uint64_t n) SLV_MUST_USE;

void slv_top_write(const struct slv_top *t, struct slv_buf *b);
/* All of data is one sketch, which borrows from it. False: it is none; *ret is {0} then. */
bool slv_top_read(struct slv_str data, struct slv_top *ret);

/* Sketches of several writers, summed. {0}: of none. */
struct slv_top_sum {
    struct slv_top_item *item; /* heap */
    size_t n, room;
    uint64_t missed; /* of a string that no sketch has: the most it can count */
};

void slv_top_sum_fini(struct slv_top_sum *s);
/* SLV_E_NOMEM; SLV_E_LIMIT: more than SLV_WRITERS_MAX. Not after slv_top_sum_end. */
int slv_top_sum_add(struct slv_top_sum *s, const struct slv_top *t) SLV_MUST_USE;
/* Now item[0..n) are all strings that some sketch has, each once, the largest count first, of equal
 * ones in the order of bytes. */
void slv_top_sum_end(struct slv_top_sum *s);

#endif
