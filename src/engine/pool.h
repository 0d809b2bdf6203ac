/* pool.h: pages for keys and values, counted by who holds them.
 *
 * A pool has pages of up to two sizes (kv.h says what is in them) within one budget of bytes. Each
 * size has a stretch of addresses of its own, large enough for the whole budget; memory is taken
 * from the system as pages are first used, and what pages of one size no longer need is given back
 * when those of the other want it. So what is resident never exceeds the budget.
 *
 *     a class:  base | page 0 | page 1 | ...          refs[i]: 0 free
 *     its list: free, touched before -> | ... | <- free, never touched or given back
 *
 * A holder reserves what it may need at worst before it takes pages, so that none is refused later:
 * the reservations together are within the budget, and what is held beyond them (by the tree of
 * prefixes, prefix.h) is dropped by `evict` when somebody needs a page.
 *
 * Invariants: used is the bytes of pages with refs > 0, used <= resident <= budget and
 * reserved <= budget.
 * Threads: any; whoever calls a function below holds the lock, but for opening and closing. Pages
 * that several hold are only read.
 */
#ifndef SLV_ENGINE_POOL_H
#define SLV_ENGINE_POOL_H

#include "selvage.h"

#include <pthread.h>

enum slv_page_class { SLV_PAGE_FULL, SLV_PAGE_WINDOWED, SLV_PAGE_CLASSES };

struct slv_pool_class {
    size_t page_bytes; /* 0: there are none; a multiple of 64 */
    uint32_t n;        /* pages there may be */
    unsigned char *base;
    uint32_t *refs; /* [n] */
    uint32_t *list; /* [n]: free pages, touched ones from the left, untouched from the right */
    uint32_t n_touched, n_untouched;
    uint32_t taken; /* pages, since slv_pool_warm had nothing to do */
};

struct slv_pool {
    pthread_mutex_t lock;
    struct slv_pool_class cls[SLV_PAGE_CLASSES];
    size_t budget, used, resident, reserved; /* bytes */
    /* Lets go of something that nobody needs at the moment; false: there is nothing. NULL: nobody
     * holds such things. */
    bool (*evict)(void *ctx);
    void *evict_ctx;
};

/* At most n[c] pages of class c and budget bytes in all. SLV_E_NOMEM. */
int slv_pool_open(const size_t page_bytes[SLV_PAGE_CLASSES], const uint32_t n[SLV_PAGE_CLASSES],
                  size_t budget, struct slv_pool **ret) SLV_MUST_USE;
/* Nobody holds a page. NULL is taken. */
void slv_pool_close(struct slv_pool *p);

/* Bytes of the tables of such a pool, beside its pages. */
size_t slv_pool_table_bytes(const uint32_t n[SLV_PAGE_CLASSES]);

void slv_pool_lock(struct slv_pool *p);
void slv_pool_unlock(struct slv_pool *p);

/* False: there would be more reserved than the budget. */
bool slv_pool_reserve(struct slv_pool *p, size_t bytes) SLV_MUST_USE;
void slv_pool_unreserve(struct slv_pool *p, size_t bytes);

/* A page that one holds, with any content; NULL: there is none, which does not happen to who holds
 * less than it reserved. No heap allocation. */
unsigned char *slv_pool_take(struct slv_pool *p, enum slv_page_class c) SLV_MUST_USE;

/* Has the system give memory for one more free page, so that who takes it need not wait for that:
 * if fewer have some than n, or than were taken since there was nothing to be done; but these only
 * up to SLV_POOL_WARM bytes and a fourth of the budget. False: nothing was to be done. */
#define SLV_POOL_WARM ((size_t)128 << 20)
bool slv_pool_warm(struct slv_pool *p, enum slv_page_class c, uint32_t n);

/* One more holder, one less, how many there are. */
void slv_pool_hold(struct slv_pool *p, enum slv_page_class c, const unsigned char *page);
void slv_pool_drop(struct slv_pool *p, enum slv_page_class c, const unsigned char *page);
uint32_t slv_pool_holders(const struct slv_pool *p, enum slv_page_class c,
                          const unsigned char *page);

#endif
