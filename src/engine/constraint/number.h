/* number.h: sets of numbers, and which decimal texts of JSON name one of them.
 *
 * A set is a union of parts; a part has bounds, a step that its numbers are multiples of, and steps
 * that they are no multiples of. Numbers are exact decimals: integers that count 10^-16, with at
 * most 21 digits before the point, so that whatever decimals a schema's bounds have, they are met
 * to the last digit; bounds with more than 16 decimals are moved inwards. The set of all numbers is
 * free: any text is taken, exponents too. Others are written without exponent.
 *
 * A text is read byte by byte; it is refused at the first byte after which no number of the set
 * is left, so that what was taken can always be finished. */
#ifndef SLV_ENGINE_CONSTRAINT_NUMBER_H
#define SLV_ENGINE_CONSTRAINT_NUMBER_H

#include "base/arena.h"
#include "base/err.h"

typedef __int128 slv_decimal; /* units of 10^-16 */

#define SLV_DECIMALS 16
#define SLV_NUMBER_PARTS 512u

struct slv_number_part {
    slv_decimal lo, hi; /* inclusive; +-SLV_DECIMAL_MAX: none */
    slv_decimal step;   /* 0: any number */
    const slv_decimal *not_steps;
    uint32_t n_not;
};

/* Immutable; lives in the arena it was made in. No parts: no number. */
struct slv_numbers {
    const struct slv_number_part *v;
    uint32_t n;
    bool free; /* every number */
};

extern const slv_decimal SLV_DECIMAL_ONE; /* 1 */
extern const slv_decimal SLV_DECIMAL_MAX; /* 10^21 */
extern const struct slv_numbers slv_numbers_all, slv_numbers_none;

/* The decimal that JSON text s[0..n) names, rounded down, or up, where it has more digits;
 * bounded by SLV_DECIMAL_MAX either way. *ret_exact: neither was needed. False if it is no
 * number. */
bool slv_decimal_read(const char *s, size_t n, bool up, slv_decimal *ret, bool *ret_exact);

/* Sets. NULL: out of memory, or more parts than SLV_NUMBER_PARTS (the arena decides which). */
const struct slv_numbers *slv_numbers_range(struct slv_arena *a, slv_decimal lo, slv_decimal hi);
const struct slv_numbers *slv_numbers_multiples(struct slv_arena *a, slv_decimal step);
const struct slv_numbers *slv_numbers_and(struct slv_arena *a, const struct slv_numbers *x,
                                          const struct slv_numbers *y);
const struct slv_numbers *slv_numbers_or(struct slv_arena *a, const struct slv_numbers *x,
                                         const struct slv_numbers *y);
const struct slv_numbers *slv_numbers_not(struct slv_arena *a, const struct slv_numbers *x);

bool slv_numbers_has(const struct slv_numbers *x, slv_decimal v);
/* How many numbers at least, counted up to most. */
size_t slv_numbers_count(const struct slv_numbers *x, size_t most);
/* Bytes of the longest text. */
size_t slv_numbers_longest(const struct slv_numbers *x);

/* A text that has begun. All zero: nothing read yet. */
struct slv_number {
    unsigned __int128 digits; /* before the point: the number; after it: units */
    uint8_t phase, n_int, n_frac;
    bool negative;
};

/* Which texts of a number are taken: those that are written, which read as the same number where
 * numbers are doubles (15 digits, if there are decimals) or integers of 64 bits; those that can
 * be read; of those that are written one only, so that equal numbers are equal texts. */
enum slv_number_mode { SLV_NUMBER_WRITE, SLV_NUMBER_READ, SLV_NUMBER_ONE_TEXT };

/* Reads one more byte; false where it cannot belong to it. */
bool slv_number_step(const struct slv_numbers *set, struct slv_number *s, char c,
                     enum slv_number_mode mode);
/* Whether the text may end here. */
bool slv_number_done(const struct slv_numbers *set, const struct slv_number *s,
                     enum slv_number_mode mode);
/* Whether some number of the set can be written in full. */
bool slv_numbers_writable(const struct slv_numbers *set);

#endif
