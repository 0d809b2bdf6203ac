/* ttl.c: see ttl.h. */
#include "mesh/ttl.h"
#include "base/mem.h"
#include "mesh/hlc.h"

#define GRAINS 64u
#define FEW 64u /* dots that are not looked through for those that went */
#define DOTS_MAX ((size_t)1 << 32)

void slv_ttl_init(struct slv_ttl *t, uint64_t ms) {
    const uint64_t part = ms / GRAINS;
    *t = (struct slv_ttl){.ms = ms, .grain = part > SLV_TTL_MIN_MS ? part : SLV_TTL_MIN_MS};
}

void slv_ttl_fini(struct slv_ttl *t) {
    while (t->n)
        slv_mem_free(t->bucket[--t->n].dot);
    slv_mem_free(t->bucket);
    *t = (struct slv_ttl){0};
}

/* --- when ------------------------------------------------------------------------------------- */

static uint64_t floor_of(const struct slv_ttl *t, uint64_t ms) { return ms / t->grain * t->grain; }

uint64_t slv_ttl_due(const struct slv_ttl *t, struct slv_str data) {
    struct slv_reader r = slv_reader_of(data.p, data.n);
    const uint64_t stamp = slv_read_id(&r);
    return r.bad ? 0 : floor_of(t, slv_stamp_ms(stamp) + t->ms) + t->grain;
}

struct slv_str slv_ttl_data(const struct slv_ttl *t, struct slv_str data) {
    if (!t->ms) return data;
    if (data.n < SLV_TTL_STAMP) return (struct slv_str){"", 0};
    return (struct slv_str){data.p + SLV_TTL_STAMP, data.n - SLV_TTL_STAMP};
}

/* (Nothing that others have now is due later than `all`, as no stamp is further ahead than the
 * bound.) */
void slv_ttl_advance(struct slv_ttl *t, uint64_t wall_ms, uint64_t skew_ms) {
    const uint64_t now = floor_of(t, wall_ms), limit = wall_ms + skew_ms;
    const uint64_t all = floor_of(t, limit + t->ms) + t->grain;
    if (now > t->cut || t->cut > limit) t->cut = now;
    if (t->reach > limit && t->reach > all) t->reach = all;
    if (t->cut > t->reach) t->reach = t->cut;
}

void slv_ttl_follow(struct slv_ttl *t, uint64_t cut) {
    if (cut > t->cut) t->cut = cut;
    if (cut > t->reach) t->reach = cut;
}

/* --- buckets ---------------------------------------------------------------------------------- */

/* The first that is not due before. */
static size_t bucket_at(const struct slv_ttl *t, uint64_t due) {
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (t->bucket[mid].due < due) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static bool is_there(const struct slv_ttl *t, size_t i, uint64_t due) {
    return i < t->n && t->bucket[i].due == due;
}

/* Those that went, by other ways, are left out when they are more than the others. */
static void tidy(struct slv_ttl_bucket *b, const struct slv_entries *e) {
    size_t k = 0;
    if (b->n < FEW || b->n < 2 * b->live) return;
    for (size_t i = 0; i < b->n; i++)
        if (slv_entries_find(e, b->dot[i])) b->dot[k++] = b->dot[i];
    b->n = k;
}

static int add_bucket(struct slv_ttl *t, size_t i, uint64_t due) {
    void *p = t->bucket;
    const int rc = slv_mem_grow(&p, t->n, &t->room, sizeof *t->bucket, SLV_TTL_BUCKETS);
    t->bucket = p;
    if (rc) return rc;
    memmove(t->bucket + i + 1, t->bucket + i, (t->n - i) * sizeof *t->bucket);
    t->bucket[i] = (struct slv_ttl_bucket){.due = due};
    t->n++;
    return 0;
}

static void drop_bucket(struct slv_ttl *t, size_t i) {
    t->n--;
    memmove(t->bucket + i, t->bucket + i + 1, (t->n - i) * sizeof *t->bucket);
}

int slv_ttl_hold(struct slv_ttl *t, const struct slv_entries *e, struct slv_dot dot, uint64_t due) {
    const size_t i = bucket_at(t, due);
    int rc = is_there(t, i, due) ? 0 : add_bucket(t, i, due);
    if (rc) return rc;
    struct slv_ttl_bucket *b = &t->bucket[i];
    tidy(b, e);
    void *p = b->dot;
    rc = slv_mem_grow(&p, b->n, &b->room, sizeof *b->dot, DOTS_MAX);
    b->dot = p;
    if (!rc) {
        b->dot[b->n++] = dot;
        b->live++;
    } else if (!b->live) {
        slv_mem_free(b->dot);
        drop_bucket(t, i);
    }
    return rc;
}

void slv_ttl_release(struct slv_ttl *t, uint64_t due) {
    const size_t i = bucket_at(t, due);
    if (!is_there(t, i, due) || --t->bucket[i].live) return;
    slv_mem_free(t->bucket[i].dot);
    drop_bucket(t, i);
}

uint64_t slv_ttl_next(const struct slv_ttl *t) { return t->n ? t->bucket[0].due : UINT64_MAX; }

bool slv_ttl_take(struct slv_ttl *t, struct slv_ttl_bucket *ret) {
    if (!t->n || t->bucket[0].due > t->cut) return false;
    *ret = t->bucket[0];
    drop_bucket(t, 0);
    return true;
}
