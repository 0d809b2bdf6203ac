/* dots.h: names of writes, and sets of them.
 *
 * A dot is a writer and a number of its own, from 1 on; each is given once (Almeida, Shoker,
 * Baquero: Delta State Replicated Data Types, 2016). What a node has seen of a space is a set of
 * dots: mostly 1 to some number of each writer, and now and then more behind a gap.
 *
 *     writers ascending: [writer | ranges of numbers, ascending, that do not touch]
 *
 * Equal sets have equal forms, here and on the wire:
 *
 *     number of writers, then for each: 8 bytes id, number of ranges, then for each
 *     numbers left out before it (less one but for the first), its length less one
 *
 * Threads: one for a set that changes.
 */
#ifndef SLV_MESH_DOTS_H
#define SLV_MESH_DOTS_H

#include "mesh/wire.h"

#define SLV_WRITERS_MAX 4096u
#define SLV_RANGES_MAX 4096u            /* of a writer */
#define SLV_DOT_MAX ((uint64_t)1 << 56) /* numbers of a writer */

struct slv_dot {
    uint64_t writer, n;
};

/* By writer, then by number: below, at or above 0. */
static inline int slv_dot_compare(struct slv_dot a, struct slv_dot b) {
    if (a.writer != b.writer) return a.writer < b.writer ? -1 : 1;
    return (a.n > b.n) - (a.n < b.n);
}

/* Numbers first to last, both in it. */
struct slv_dot_range {
    uint64_t first, last;
};

struct slv_dots_writer {
    uint64_t id;
    struct slv_dot_range *range; /* heap */
    uint32_t n, room;
};

struct slv_dots {
    struct slv_dots_writer *writer; /* heap */
    uint32_t n, room;
};

/* An empty set is {0}; none of these leaves one changed when it fails. */
void slv_dots_fini(struct slv_dots *s);

bool slv_dots_has(const struct slv_dots *s, struct slv_dot dot);

/* 1 to this number of the writer are in it, and the next is not; 0: none. */
uint64_t slv_dots_base(const struct slv_dots *s, uint64_t writer);

/* The largest number of the writer in it; 0: there is none. */
uint64_t slv_dots_last(const struct slv_dots *s, uint64_t writer);

/* Numbers r.first to r.last of a writer. SLV_E_NOMEM, SLV_E_LIMIT: more writers or ranges than
 * there may be. */
int slv_dots_add(struct slv_dots *s, uint64_t writer, struct slv_dot_range r) SLV_MUST_USE;

/* One dot. */
static inline int slv_dots_add_dot(struct slv_dots *s, struct slv_dot dot) {
    return slv_dots_add(s, dot.writer, (struct slv_dot_range){dot.n, dot.n});
}

/* s and t together. What was added before a failure stays. */
int slv_dots_join(struct slv_dots *s, const struct slv_dots *t) SLV_MUST_USE;

/* s without those of t. Nothing has changed on failure: SLV_E_NOMEM, SLV_E_LIMIT. */
int slv_dots_subtract(struct slv_dots *s, const struct slv_dots *t) SLV_MUST_USE;

/* Those of s that are of a writer, as a set that is to be read only: borrowed until s changes. */
struct slv_dots slv_dots_of(const struct slv_dots *s, uint64_t writer);
/* Takes a writer out, whatever of it is in the set. */
void slv_dots_drop(struct slv_dots *s, uint64_t writer);

/* Whether all of t are in s; whether the two are equal. */
bool slv_dots_cover(const struct slv_dots *s, const struct slv_dots *t);
bool slv_dots_equal(const struct slv_dots *s, const struct slv_dots *t);

/* Calls fn with each range of a writer that is in s and not in t, in order, until it returns other
 * than 0, which is returned. */
int slv_dots_missing(const struct slv_dots *s, const struct slv_dots *t,
                     int (*fn)(void *ctx, uint64_t writer, struct slv_dot_range r), void *ctx);

/* Dots in it; UINT64_MAX: as many and more. */
uint64_t slv_dots_count(const struct slv_dots *s);

void slv_dots_write(const struct slv_dots *s, struct slv_buf *b);
/* *ret is empty before. SLV_E_FORMAT: not a set, or not in the form above; SLV_E_NOMEM. */
int slv_dots_read(struct slv_reader *r, struct slv_dots *ret) SLV_MUST_USE;

#endif
