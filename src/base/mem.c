/* mem.c: see mem.h. The two counters are the only global state; both are touched by relaxed atomics
 * because only their own values matter. */
#define _GNU_SOURCE
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static _Atomic uint64_t allocations;
static _Atomic uint64_t fail_number; /* the value of `allocations` that fails; 0: none */

static bool allowed(void) {
    uint64_t n = atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed) + 1;
    return n != atomic_load_explicit(&fail_number, memory_order_relaxed);
}

void slv_mem_fail_at(uint64_t n) {
    uint64_t now = atomic_load_explicit(&allocations, memory_order_relaxed);
    atomic_store_explicit(&fail_number, n ? now + n : 0, memory_order_relaxed);
}

uint64_t slv_mem_count(void) { return atomic_load_explicit(&allocations, memory_order_relaxed); }

void *slv_mem_alloc(size_t size) { return allowed() ? malloc(size ? size : 1) : NULL; }

void *slv_mem_calloc(size_t count, size_t size) {
    size_t bytes;
    if (!count || !size) count = size = 1;
    return slv_size_mul(count, size, &bytes) && allowed() ? calloc(count, size) : NULL;
}

void *slv_mem_realloc(void *p, size_t size) {
    return allowed() ? realloc(p, size ? size : 1) : NULL;
}

void slv_mem_free(void *p) { free(p); }

void slv_mem_trim(void) {
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

void *slv_mem_alloc_aligned(size_t align, size_t size) {
    void *p;
    if (!allowed() || posix_memalign(&p, align, size ? size : 1)) return NULL;
    return p;
}

static size_t system_page(void) { return (size_t)sysconf(_SC_PAGESIZE); }

void *slv_mem_map(size_t align, size_t size) {
    size_t page = system_page(), room;
    if (align < page) align = page;
    if (!slv_size_align(size ? size : 1, page, &size) || !slv_size_add(size, align, &room))
        return NULL;
    unsigned char *all = allowed() ? mmap(NULL, room, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                                   : MAP_FAILED;
    if (all == MAP_FAILED) return NULL;
    size_t before = (align - (uintptr_t)all % align) % align;
    if (before) munmap(all, before);
    munmap(all + before + size, room - before - size); /* align is a page at least */
    if (madvise(all + before, size, MADV_HUGEPAGE)) {  /* only a hint */
    }
    return all + before;
}

void slv_mem_unmap(void *p, size_t size) {
    if (p && slv_size_align(size ? size : 1, system_page(), &size)) munmap(p, size);
}

void slv_mem_forget(void *p, size_t size) {
    uintptr_t page = system_page(), from = ((uintptr_t)p + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)p + size) / page * page;
    if (end > from && madvise((void *)from, end - from, MADV_DONTNEED)) { /* it stays */
    }
}

void slv_mem_hide(void *p, size_t size) {
    if (slv_size_align(size ? size : 1, system_page(), &size) && madvise(p, size, MADV_DONTDUMP)) {
        /* only a wish */
    }
}

char *slv_mem_strndup(const char *s, size_t n) {
    size_t size;
    if (!slv_size_add(n, 1, &size)) return NULL;
    char *p = slv_mem_alloc(size);
    if (!p) return NULL;
    if (n) memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

int slv_mem_grow(void **p, size_t n, size_t *cap, size_t elem_size, size_t max) {
    if (n < *cap) return 0;
    if (n >= max) return SLV_E_LIMIT;
    size_t want = *cap ? *cap : 8, bytes;
    if (*cap && !slv_size_mul(*cap, 2, &want)) return SLV_E_LIMIT;
    if (want > max) want = max;
    if (!slv_size_mul(want, elem_size, &bytes)) return SLV_E_LIMIT;
    void *q = slv_mem_realloc(*p, bytes);
    if (!q) return SLV_E_NOMEM;
    *p = q;
    *cap = want;
    return 0;
}
