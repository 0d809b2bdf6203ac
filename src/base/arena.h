/* arena.h: many allocations with one lifetime (a model's tables, a request's scratch).
 *
 * Memory comes in chunks that are never moved, so pointers stay good until reset or fini. An arena
 * has a maximum from birth; a hostile input can exhaust it, not the machine. Threads: one. */
#ifndef SLV_BASE_ARENA_H
#define SLV_BASE_ARENA_H

#include "selvage.h"

struct slv_arena {
    struct slv_arena_chunk *head; /* newest first */
    size_t used;                  /* bytes taken from the system for chunks */
    size_t max;
};

/* An empty arena that never takes more than max bytes from the system. Allocates nothing yet. */
void slv_arena_init(struct slv_arena *a, size_t max);

/* size zeroed bytes on a multiple of 16; NULL past the maximum or out of memory. */
void *slv_arena_alloc(struct slv_arena *a, size_t size) SLV_MUST_USE;
void *slv_arena_calloc(struct slv_arena *a, size_t count, size_t size) SLV_MUST_USE;

/* A NUL-terminated copy of s[0..n). */
char *slv_arena_strndup(struct slv_arena *a, const char *s, size_t n) SLV_MUST_USE;

/* Gives everything back; the arena can be used again (reset) with the same maximum. */
void slv_arena_reset(struct slv_arena *a);
void slv_arena_fini(struct slv_arena *a);

#endif
