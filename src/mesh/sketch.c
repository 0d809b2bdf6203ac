/* sketch.c: see sketch.h. */
#include "mesh/sketch.h"
#include "base/mem.h"

#include <math.h>
#include <sodium.h>
#include <stdlib.h>

#define HASH_BITS (SLV_UNIQUE_RANK_MAX - 1) /* of the hash, beside the register's */

enum { SPARSE, DENSE };

/* --- unique ----------------------------------------------------------------------------------- */

void slv_unique_add(struct slv_unique *u, struct slv_str value) {
    uint8_t hash[crypto_generichash_BYTES_MIN];
    crypto_generichash(hash, sizeof hash, (const uint8_t *)value.p, value.n, NULL, 0);
    struct slv_reader r = slv_reader_of(hash, 8);
    const uint64_t h = slv_read_id(&r), rest = h << (64 - HASH_BITS);
    const unsigned rank = rest ? (unsigned)__builtin_clzll(rest) + 1 : SLV_UNIQUE_RANK_MAX;
    uint8_t *at = &u->rank[h >> HASH_BITS];
    if (*at < rank) *at = (uint8_t)rank;
}

void slv_unique_join(struct slv_unique *u, const struct slv_unique *v) {
    for (size_t i = 0; i < SLV_UNIQUE_REGISTERS; i++)
        if (u->rank[i] < v->rank[i]) u->rank[i] = v->rank[i];
}

/* x + sum of x^(2^k) 2^(k-1), k from 1 on; 0 <= x < 1. */
static double sigma(double x) {
    double y = 1.0, z = x, before;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (z != before);
    return z;
}

/* (1 - x - sum of (1 - x^(2^-k))^2 2^-k, k from 1 on) / 3; 0 <= x <= 1. */
static double tau(double x) {
    double y = 1.0, z = 1.0 - x, before;
    if (x <= 0.0 || x >= 1.0) return 0.0;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
    } while (z != before);
    return z / 3.0;
}

uint64_t slv_unique_count(const struct slv_unique *u) {
    const double m = SLV_UNIQUE_REGISTERS, half_by_ln2 = 0.72134752044448170367996234050095;
    uint32_t have[SLV_UNIQUE_RANK_MAX + 1] = {0}; /* registers by rank */
    for (size_t i = 0; i < SLV_UNIQUE_REGISTERS; i++)
        have[u->rank[i]]++;
    if (have[0] == SLV_UNIQUE_REGISTERS) return 0;
    double z = m * tau(1.0 - have[SLV_UNIQUE_RANK_MAX] / m);
    for (size_t k = HASH_BITS; k >= 1; k--)
        z = 0.5 * (z + have[k]);
    z += m * sigma(have[0] / m);
    const double most = (double)SLV_UNIQUE_MOST;
    if (z * most <= half_by_ln2 * m * m) return SLV_UNIQUE_MOST;
    return (uint64_t)(half_by_ln2 * m * m / z + 0.5);
}

static void write_sparse(const struct slv_unique *u, struct slv_buf *b) {
    size_t from = 0;
    slv_buf_addc(b, SPARSE);
    for (size_t i = 0; i < SLV_UNIQUE_REGISTERS; i++) {
        if (!u->rank[i]) continue;
        slv_write_number(b, i - from);
        slv_buf_addc(b, (char)u->rank[i]);
        from = i + 1;
    }
}

static size_t sparse_bytes(const struct slv_unique *u) {
    size_t n = 1, from = 0;
    for (size_t i = 0; i < SLV_UNIQUE_REGISTERS; i++) {
        if (!u->rank[i]) continue;
        n += slv_number_bytes(i - from) + 1;
        from = i + 1;
    }
    return n;
}

static void write_dense(const struct slv_unique *u, struct slv_buf *b) {
    slv_buf_addc(b, DENSE);
    for (const uint8_t *p = u->rank; p < u->rank + SLV_UNIQUE_REGISTERS; p += 4) {
        const uint32_t v =
            (uint32_t)p[0] | (uint32_t)p[1] << 6 | (uint32_t)p[2] << 12 | (uint32_t)p[3] << 18;
        const char bytes[3] = {(char)v, (char)(v >> 8), (char)(v >> 16)};
        slv_buf_add(b, bytes, sizeof bytes);
    }
}

void slv_unique_write(const struct slv_unique *u, struct slv_buf *b) {
    if (sparse_bytes(u) <= SLV_UNIQUE_BYTES_MAX) write_sparse(u, b);
    else write_dense(u, b);
}

static bool read_sparse(struct slv_reader *r, struct slv_unique *u) {
    size_t i = 0;
    for (; slv_reader_left(r) && i < SLV_UNIQUE_REGISTERS; i++) {
        i += slv_read_number(r, SLV_UNIQUE_REGISTERS - 1 - i);
        const struct slv_str s = slv_read_raw(r, 1);
        const uint8_t rank = s.n ? (uint8_t)*s.p : 0;
        if (!rank || rank > SLV_UNIQUE_RANK_MAX) return false;
        u->rank[i] = rank;
    }
    return slv_reader_done(r);
}

static bool read_dense(struct slv_reader *r, struct slv_unique *u) {
    const struct slv_str s = slv_read_raw(r, SLV_UNIQUE_BYTES_MAX - 1);
    const uint8_t *p = (const uint8_t *)s.p;
    if (!slv_reader_done(r)) return false;
    for (size_t i = 0; i < SLV_UNIQUE_REGISTERS; i += 4, p += 3) {
        const uint32_t v = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
        for (size_t k = 0; k < 4; k++) {
            u->rank[i + k] = (uint8_t)(v >> (6 * k) & 63);
            if (u->rank[i + k] > SLV_UNIQUE_RANK_MAX) return false;
        }
    }
    return true;
}

bool slv_unique_read(struct slv_str data, struct slv_unique *ret) {
    *ret = (struct slv_unique){{0}};
    if (!data.n || data.n > SLV_UNIQUE_BYTES_MAX) return false;
    struct slv_reader r = slv_reader_of(data.p, data.n);
    const char form = *slv_read_raw(&r, 1).p;
    const bool good = form == SPARSE ? read_sparse(&r, ret)
                      : form == DENSE
                          ? read_dense(&r, ret) && sparse_bytes(ret) > SLV_UNIQUE_BYTES_MAX
                          : false;
    if (!good) *ret = (struct slv_unique){{0}};
    return good;
}

/* --- top -------------------------------------------------------------------------------------- */

/* The first slot whose string is not before this one. */
static uint32_t find(const struct slv_top *t, struct slv_str value) {
    uint32_t from = 0, to = t->n;
    while (from < to) {
        const uint32_t half = from + (to - from) / 2;
        if (slv_str_compare(t->slot[half].value, value) < 0) from = half + 1;
        else to = half;
    }
    return from;
}

/* The last of those with the smallest count; of none 0. */
static uint32_t smallest(const struct slv_top *t) {
    uint32_t k = 0;
    for (uint32_t i = 1; i < t->n; i++)
        if (t->slot[i].count <= t->slot[k].count) k = i;
    return k;
}

/* What a string that has no slot may count. */
static uint64_t missed(const struct slv_top *t) {
    return t->n < SLV_TOP_SLOTS ? 0 : t->slot[smallest(t)].count;
}

static uint64_t total(const struct slv_top *t) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < t->n; i++)
        n += t->slot[i].count;
    return n;
}

int slv_top_add(struct slv_top *t, struct slv_str value, uint64_t n) {
    const uint64_t had = total(t), error = missed(t);
    if (!n) return SLV_E_USAGE;
    if (value.n > SLV_TOP_VALUE_MAX || n > SLV_TOP_TOTAL_MAX - had) return SLV_E_LIMIT;
    uint32_t at = find(t, value);
    if (at < t->n && !slv_str_compare(t->slot[at].value, value)) {
        t->slot[at].count += n;
        return 0;
    }
    if (t->n == SLV_TOP_SLOTS) {
        const uint32_t out = smallest(t);
        t->n--;
        memmove(&t->slot[out], &t->slot[out + 1], (t->n - out) * sizeof *t->slot);
        at -= out < at;
    }
    memmove(&t->slot[at + 1], &t->slot[at], (t->n - at) * sizeof *t->slot);
    t->slot[at] = (struct slv_top_item){value, error + n, error};
    t->n++;
    return 0;
}

void slv_top_write(const struct slv_top *t, struct slv_buf *b) {
    for (uint32_t i = 0; i < t->n; i++) {
        const struct slv_top_item *s = &t->slot[i];
        slv_write_bytes(b, s->value.p, s->value.n);
        slv_write_number(b, s->count);
        slv_write_number(b, s->error);
    }
}

/* A sketch could have come to be like this. */
static bool is_sound(const struct slv_top *t) {
    const uint64_t most = missed(t);
    for (uint32_t i = 0; i < t->n; i++) {
        const struct slv_top_item *s = &t->slot[i];
        if (s->error >= s->count || s->error > most) return false;
        if (i && slv_str_compare(t->slot[i - 1].value, s->value) >= 0) return false;
    }
    return total(t) <= SLV_TOP_TOTAL_MAX;
}

bool slv_top_read(struct slv_str data, struct slv_top *ret) {
    struct slv_reader r = slv_reader_of(data.p, data.n);
    *ret = (struct slv_top){.n = 0};
    while (slv_reader_left(&r) && ret->n < SLV_TOP_SLOTS) {
        struct slv_top_item *s = &ret->slot[ret->n++];
        s->value = slv_read_bytes(&r, SLV_TOP_VALUE_MAX);
        s->count = slv_read_number(&r, SLV_TOP_TOTAL_MAX);
        s->error = slv_read_number(&r, SLV_TOP_TOTAL_MAX);
    }
    const bool good = slv_reader_done(&r) && is_sound(ret);
    if (!good) *ret = (struct slv_top){.n = 0};
    return good;
}

/* --- sums of tops ----------------------------------------------------------------------------- */

void slv_top_sum_fini(struct slv_top_sum *s) {
    slv_mem_free(s->item);
    *s = (struct slv_top_sum){0};
}

/* Until the end an item's count is by how much it is above what is missed, its error by how much it
 * is below: a sketch that does not have it adds nothing to either. */
int slv_top_sum_add(struct slv_top_sum *s, const struct slv_top *t) {
    const uint64_t m = missed(t);
    for (uint32_t i = 0; i < t->n; i++) {
        void *p = s->item;
        const int rc = slv_mem_grow(&p, s->n, &s->room, sizeof *s->item,
                                    (size_t)SLV_WRITERS_MAX * SLV_TOP_SLOTS);
        s->item = p;
        if (rc) return rc;
        const struct slv_top_item *x = &t->slot[i];
        s->item[s->n++] = (struct slv_top_item){x->value, x->count - m, m - x->error};
    }
    s->missed += m;
    return 0;
}

static int by_value(const void *a, const void *b) {
    const struct slv_top_item *x = a, *y = b;
    return slv_str_compare(x->value, y->value);
}

static int by_count(const void *a, const void *b) {
    const struct slv_top_item *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    return slv_str_compare(x->value, y->value);
}

void slv_top_sum_end(struct slv_top_sum *s) {
    size_t n = 0;
    if (!s->n) return;
    qsort(s->item, s->n, sizeof *s->item, by_value);
    for (size_t i = 0; i < s->n; i++) {
        struct slv_top_item *x = &s->item[i];
        if (n && !slv_str_compare(s->item[n - 1].value, x->value)) {
            s->item[n - 1].count += x->count;
            s->item[n - 1].error += x->error;
        } else {
            s->item[n++] = *x;
        }
    }
    s->n = n;
    for (size_t i = 0; i < n; i++) {
        s->item[i].count += s->missed;
        s->item[i].error = s->missed - s->item[i].error;
    }
    qsort(s->item, n, sizeof *s->item, by_count);
}
