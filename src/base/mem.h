/* mem.h: every heap allocation of the library, and checked size arithmetic.
 *
 * One door for allocations lets a test make the n-th one fail and count those a decode step makes
 * (none). Sizes that come from a file or the wire pass slv_size_add / slv_size_mul first. */
#ifndef SLV_BASE_MEM_H
#define SLV_BASE_MEM_H

#include "selvage.h"

/* Like malloc, calloc, realloc, free. NULL on failure or overflow; size 0 gives a unique pointer.
 * Threads: any. */
void *slv_mem_alloc(size_t size) SLV_MUST_USE;
void *slv_mem_calloc(size_t count, size_t size) SLV_MUST_USE;
void *slv_mem_realloc(void *p, size_t size) SLV_MUST_USE;
void slv_mem_free(void *p);

/* size bytes on a multiple of align (a power of two >= sizeof(void *)); freed by slv_mem_free. */
void *slv_mem_alloc_aligned(size_t align, size_t size) SLV_MUST_USE;

/* size bytes of zeros straight from the system, on a multiple of align (a power of two). Memory is
 * taken as it is touched, in large pages where the system has them. NULL on failure; size 0 counts
 * as 1. Given back by slv_mem_unmap with the same size. Threads: any. */
void *slv_mem_map(size_t align, size_t size) SLV_MUST_USE;
void slv_mem_unmap(void *p, size_t size);

/* What [p, p + size) of such memory holds is no longer wanted: whole pages of the system in it go
 * back, and are zeros when they are touched again. Of a file mapped for reading: they are read
 * again. */
void slv_mem_forget(void *p, size_t size);

/* Leaves memory of slv_mem_map out of core dumps where the system can. */
void slv_mem_hide(void *p, size_t size);

/* A NUL-terminated copy of s[0..n). */
char *slv_mem_strndup(const char *s, size_t n) SLV_MUST_USE;

/* Makes room for one more element: doubles *cap when n == *cap, never past max elements.
 * SLV_E_LIMIT or SLV_E_NOMEM, with *p and *cap unchanged. */
int slv_mem_grow(void **p, size_t n, size_t *cap, size_t elem_size, size_t max) SLV_MUST_USE;

/* Gives what was freed back to the system, where the allocator can: after much was freed. Takes a
 * moment, more where much is in use. Threads: any. */
void slv_mem_trim(void);

/* For tests: the n-th allocation from now on (n >= 1) fails, once; 0 switches this off. The count
 * is of all allocations since the process began. */
void slv_mem_fail_at(uint64_t n);
uint64_t slv_mem_count(void);

/* a + b and a * b; false on overflow, *ret untouched. */
static inline bool slv_size_add(size_t a, size_t b, size_t *ret) {
    size_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *ret = r;
    return true;
}

static inline bool slv_size_mul(size_t a, size_t b, size_t *ret) {
    size_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *ret = r;
    return true;
}

/* Rounds up to a multiple of align, a power of two; false on overflow. */
static inline bool slv_size_align(size_t a, size_t align, size_t *ret) {
    size_t r;
    if (!slv_size_add(a, align - 1, &r)) return false;
    *ret = r & ~(align - 1);
    return true;
}

#endif
