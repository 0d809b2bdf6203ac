/* pool.c: see pool.h. */
#include "engine/pool.h"
#include "base/mem.h"

#define HUGE ((size_t)2 << 20) /* where large pages of the system begin */

static int open_class(struct slv_pool_class *c, size_t page_bytes, uint32_t n) {
    size_t bytes;
    *c = (struct slv_pool_class){.page_bytes = page_bytes, .n = n, .n_untouched = n};
    if (!page_bytes || !n) return 0;
    if (!slv_size_mul(page_bytes, n, &bytes)) return SLV_E_NOMEM;
    c->refs = slv_mem_calloc(n, sizeof *c->refs);
    c->list = slv_mem_calloc(n, sizeof *c->list);
    c->base = c->refs && c->list ? slv_mem_map(bytes < HUGE ? 64 : HUGE, bytes) : NULL;
    if (!c->base) return SLV_E_NOMEM;
    for (uint32_t i = 0; i < n; i++)
        c->list[i] = i; /* the first page is taken first */
    return 0;
}

int slv_pool_open(const size_t page_bytes[SLV_PAGE_CLASSES], const uint32_t n[SLV_PAGE_CLASSES],
                  size_t budget, struct slv_pool **ret) {
    struct slv_pool *p = slv_mem_calloc(1, sizeof *p);
    if (!p) return SLV_E_NOMEM;
    pthread_mutex_init(&p->lock, NULL);
    p->budget = budget;
    int rc = 0;
    for (size_t c = 0; c < SLV_PAGE_CLASSES && !rc; c++)
        rc = open_class(&p->cls[c], page_bytes[c], n[c]);
    if (rc) slv_pool_close(p);
    else *ret = p;
    return rc;
}

void slv_pool_close(struct slv_pool *p) {
    if (!p) return;
    for (size_t i = 0; i < SLV_PAGE_CLASSES; i++) {
        struct slv_pool_class *c = &p->cls[i];
        if (c->base) slv_mem_unmap(c->base, c->page_bytes * c->n);
        slv_mem_free(c->refs);
        slv_mem_free(c->list);
    }
    pthread_mutex_destroy(&p->lock);
    slv_mem_free(p);
}

size_t slv_pool_table_bytes(const uint32_t n[SLV_PAGE_CLASSES]) {
    return sizeof(struct slv_pool) +
           2 * sizeof(uint32_t) * ((size_t)n[SLV_PAGE_FULL] + n[SLV_PAGE_WINDOWED]);
}

void slv_pool_lock(struct slv_pool *p) { pthread_mutex_lock(&p->lock); }

void slv_pool_unlock(struct slv_pool *p) { pthread_mutex_unlock(&p->lock); }

bool slv_pool_reserve(struct slv_pool *p, size_t bytes) {
    if (bytes > p->budget - p->reserved) return false;
    p->reserved += bytes;
    return true;
}

void slv_pool_unreserve(struct slv_pool *p, size_t bytes) { p->reserved -= bytes; }

static size_t index_of(const struct slv_pool_class *c, const unsigned char *page) {
    return (size_t)(page - c->base) / c->page_bytes;
}

/* Gives free pages of any class back to the system until one more of page_bytes can be touched.
 * False: there are not enough. */
static bool make_room(struct slv_pool *p, size_t page_bytes) {
    for (size_t i = 0; i < SLV_PAGE_CLASSES; i++) {
        struct slv_pool_class *c = &p->cls[i];
        while (c->n_touched && p->resident + page_bytes > p->budget) {
            uint32_t k = c->list[--c->n_touched];
            slv_mem_forget(c->base + k * c->page_bytes, c->page_bytes);
            p->resident -= c->page_bytes;
            c->list[c->n - ++c->n_untouched] = k;
        }
    }
    return p->resident + page_bytes <= p->budget;
}

/* A free page within the budget, taken off its list; false: there is none. */
static bool find_free(struct slv_pool *p, struct slv_pool_class *c, uint32_t *ret) {
    if (p->used + c->page_bytes > p->budget) return false;
    if (c->n_touched) {
        *ret = c->list[--c->n_touched];
        return true;
    }
    if (!c->n_untouched || !make_room(p, c->page_bytes)) return false;
    p->resident += c->page_bytes;
    *ret = c->list[c->n - c->n_untouched--];
    return true;
}

unsigned char *slv_pool_take(struct slv_pool *p, enum slv_page_class cls) {
    struct slv_pool_class *c = &p->cls[cls];
    uint32_t i = 0;
    while (!find_free(p, c, &i))
        if (!p->evict || !p->evict(p->evict_ctx)) return NULL;
    c->refs[i] = 1;
    c->taken++;
    p->used += c->page_bytes;
    return c->base + i * c->page_bytes;
}

bool slv_pool_warm(struct slv_pool *p, enum slv_page_class cls, uint32_t n) {
    struct slv_pool_class *c = &p->cls[cls];
    const size_t fourth = p->budget / 4, most = fourth < SLV_POOL_WARM ? fourth : SLV_POOL_WARM;
    if (c->n_touched >= c->taken || (c->n_touched + 1) * c->page_bytes > most) c->taken = 0;
    const uint32_t want = n > c->taken ? n : c->taken;
    if (c->n_touched >= want || !c->n_untouched || p->resident + c->page_bytes > p->budget)
        return false;
    uint32_t k = c->list[c->n - c->n_untouched--];
    volatile unsigned char *page = c->base + k * c->page_bytes;
    for (size_t i = 0; i < c->page_bytes; i += 4096)
        page[i] = 0;
    p->resident += c->page_bytes;
    c->list[c->n_touched++] = k;
    return true;
}

void slv_pool_hold(struct slv_pool *p, enum slv_page_class cls, const unsigned char *page) {
    p->cls[cls].refs[index_of(&p->cls[cls], page)]++;
}

void slv_pool_drop(struct slv_pool *p, enum slv_page_class cls, const unsigned char *page) {
    struct slv_pool_class *c = &p->cls[cls];
    size_t i = index_of(c, page);
    if (--c->refs[i]) return;
    p->used -= c->page_bytes;
    c->list[c->n_touched++] = (uint32_t)i;
}

uint32_t slv_pool_holders(const struct slv_pool *p, enum slv_page_class cls,
                          const unsigned char *page) {
    return p->cls[cls].refs[index_of(&p->cls[cls], page)];
}
