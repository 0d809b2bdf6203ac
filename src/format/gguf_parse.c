/* gguf_parse.c: the bytes of one GGUF file -> an index over them.
 *
 * Layout (ggml's docs/gguf.md; versions 2 and 3 differ only in that 3 may be big-endian), all
 * little-endian, nothing aligned before the data:
 *
 *     "GGUF" | u32 version | u64 tensors | u64 entries
 *     entries x   string key | u32 kind | value
 *     tensors x   string name | u32 dims | dims x u64 | u32 type | u64 offset into the data
 *     zeros up to a multiple of general.alignment (32)
 *     data
 *
 *     string: u64 n | n bytes          array: u32 kind | u64 n | n values
 *
 * Invariants:
 *  1. at <= size; a read happens only after `left` has shown the bytes to be there.
 *  2. A count is used (to allocate, to loop) only after count * (least bytes an element takes) <=
 * the bytes left. So memory is bounded by a small multiple of the file and by the named limits, and
 *     time is linear in the file; sorting the names is n log n by heap sort, whose worst case no
 *     choice of names makes worse (a hash table has such names).
 *  3. A tensor enters the index with its data proven to be inside the file, and all together have
 *     no more bytes than the data: what is made of them is bounded by the file's size.
 */
#include "format/gguf_int.h"
#include "base/mem.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MAX_ARRAY_DEPTH 4
#define KV_MIN_BYTES 14     /* key of one byte, kind, value of one byte */
#define TENSOR_MIN_BYTES 33 /* name of one byte, one dimension */
#define STRING_MIN_BYTES 8
#define ARRAY_MIN_BYTES 12

static const uint8_t kind_size[] = {
    [SLV_GGUF_U8] = 1,  [SLV_GGUF_I8] = 1,    [SLV_GGUF_U16] = 2, [SLV_GGUF_I16] = 2,
    [SLV_GGUF_U32] = 4, [SLV_GGUF_I32] = 4,   [SLV_GGUF_F32] = 4, [SLV_GGUF_BOOL] = 1,
    [SLV_GGUF_STR] = 0, [SLV_GGUF_ARRAY] = 0, [SLV_GGUF_U64] = 8, [SLV_GGUF_I64] = 8,
    [SLV_GGUF_F64] = 8,
};
#define N_KINDS (sizeof kind_size)
#define FETCH_BYTES ((size_t)1 << 20) /* of a source at a time */

struct reader {
    const unsigned char *data;
    size_t size, at;
    struct gguf_head *head; /* NULL: all of data is there */
    struct slv_err *err;
};

/* --- bytes ------------------------------------------------------------------------------------ */

size_t gguf_kind_size(uint64_t kind) { return kind < N_KINDS ? kind_size[kind] : 0; }

uint32_t gguf_load_u32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t gguf_load_u64(const unsigned char *p) {
    return gguf_load_u32(p) | (uint64_t)gguf_load_u32(p + 4) << 32;
}

static size_t left(const struct reader *r) { return r->size - r->at; }

/* "offset AT: REASON" */
__attribute__((format(printf, 4, 5))) static int fail(const struct reader *r, int code, size_t at,
                                                      const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    slv_err_vset(r->err, code, fmt, ap);
    va_end(ap);
    return slv_err_prefix(r->err, code, "offset %zu", at);
}

static int ends_early(const struct reader *r, const char *what) {
    return fail(r, SLV_E_FORMAT, r->at, "the file ends inside %s", what);
}

/* The next n bytes are in the file; here they come into memory too. */
static int fetch(const struct reader *r, size_t n) {
    struct gguf_head *h = r->head;
    if (!h || r->at + n <= h->have) return 0;
    if (r->at + n > h->room)
        return fail(r, SLV_E_LIMIT, r->at, "more than %zu bytes of metadata", h->room);
    size_t end = h->room - h->have, want = r->at + n - h->have;
    if (want < FETCH_BYTES) want = FETCH_BYTES;
    if (want < end) end = want;
    int rc = slv_blocks_read(h->from, h->have, end, h->data + h->have, r->err);
    if (!rc) h->have += end;
    return rc;
}

static int take_u32(struct reader *r, const char *what, uint32_t *ret) {
    if (left(r) < 4) return ends_early(r, what);
    int rc = fetch(r, 4);
    if (rc) return rc;
    *ret = gguf_load_u32(r->data + r->at);
    r->at += 4;
    return 0;
}

static int take_u64(struct reader *r, const char *what, uint64_t *ret) {
    if (left(r) < 8) return ends_early(r, what);
    int rc = fetch(r, 8);
    if (rc) return rc;
    *ret = gguf_load_u64(r->data + r->at);
    r->at += 8;
    return 0;
}

/* A count of things that take at least `least` bytes each. */
static int take_count(struct reader *r, const char *what, size_t least, uint64_t *ret) {
    size_t at = r->at;
    int rc = take_u64(r, what, ret);
    if (rc) return rc;
    if (*ret > left(r) / least)
        return fail(r, SLV_E_FORMAT, at, "%" PRIu64 " %s cannot be in the %zu bytes that follow",
                    *ret, what, left(r));
    return 0;
}

static int take_str(struct reader *r, const char *what, struct slv_str *ret) {
    uint64_t n = 0;
    size_t at = r->at;
    int rc = take_u64(r, what, &n);
    if (rc) return rc;
    if (n > left(r))
        return fail(r, SLV_E_FORMAT, at, "%s of %" PRIu64 " bytes, of which %zu are there", what, n,
                    left(r));
    *ret = (struct slv_str){(const char *)r->data + r->at, (size_t)n};
    r->at += (size_t)n;
    return 0;
}

/* The name of an entry or a tensor: not empty, at most SLV_GGUF_MAX_NAME bytes. */
static int take_name(struct reader *r, const char *what, struct slv_str *ret) {
    size_t at = r->at;
    int rc = take_str(r, what, ret);
    if (rc) return rc;
    if (!ret->n) return fail(r, SLV_E_FORMAT, at, "%s is empty", what);
    if (ret->n > SLV_GGUF_MAX_NAME)
        return fail(r, SLV_E_LIMIT, at, "%s of %zu bytes; at most %u are read", what, ret->n,
                    SLV_GGUF_MAX_NAME);
    return 0;
}

/* --- numbers ---------------------------------------------------------------------------------- */

bool gguf_load_i64(unsigned kind, const unsigned char *p, int64_t *ret) {
    size_t n = gguf_kind_size(kind);
    uint64_t v = 0;
    if (!n || kind == SLV_GGUF_F32 || kind == SLV_GGUF_F64 || kind == SLV_GGUF_BOOL) return false;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    bool is_signed = kind == SLV_GGUF_I8 || kind == SLV_GGUF_I16 || kind == SLV_GGUF_I32;
    uint64_t sign = (uint64_t)1 << (8 * n - 1);
    if (is_signed) v = (v ^ sign) - sign; /* extends the sign */
    else if (kind == SLV_GGUF_U64 && v > INT64_MAX) return false;
    memcpy(ret, &v, sizeof v);
    return true;
}

bool gguf_load_f32(unsigned kind, const unsigned char *p, float *ret) {
    int64_t i;
    if (kind == SLV_GGUF_F32) {
        uint32_t bits = gguf_load_u32(p);
        memcpy(ret, &bits, sizeof bits);
        return true;
    }
    if (kind == SLV_GGUF_F64) {
        uint64_t bits = gguf_load_u64(p);
        double d;
        memcpy(&d, &bits, sizeof d);
        if (isfinite(d) && (d > (double)FLT_MAX || d < -(double)FLT_MAX)) return false;
        *ret = (float)d;
        return true;
    }
    if (!gguf_load_i64(kind, p, &i)) return false;
    *ret = (float)i;
    return true;
}

/* --- metadata --------------------------------------------------------------------------------- */

static int take_bools(struct reader *r, uint64_t n) {
    int rc = fetch(r, (size_t)n);
    if (rc) return rc;
    for (uint64_t i = 0; i < n; i++, r->at++)
        if (r->data[r->at] > 1) return fail(r, SLV_E_FORMAT, r->at, "a bool of %u", r->data[r->at]);
    return 0;
}

static int take_strings(struct reader *r, struct gguf_kvs *kvs, struct gguf_kv *kv, uint64_t n,
                        bool index) {
    size_t start = r->at;
    if (index) {
        if (n > SLV_GGUF_MAX_STRINGS - kvs->n_strings)
            return fail(r, SLV_E_LIMIT, start, "more than %u strings in arrays",
                        SLV_GGUF_MAX_STRINGS);
        kvs->n_strings += (size_t)n;
        kv->strings = slv_mem_calloc((size_t)n, sizeof *kv->strings);
        if (!kv->strings) return slv_err_set(r->err, SLV_E_NOMEM, "out of memory");
    }
    for (uint64_t i = 0; i < n; i++) {
        struct slv_str ignored;
        if (index) kv->strings[i] = r->at - start;
        int rc = take_str(r, "a string", &ignored);
        if (rc) return rc;
    }
    return 0;
}

/* Takes an array; fills in kv for the outermost one (depth 0). */
static int take_array(struct reader *r, struct gguf_kvs *kvs, struct gguf_kv *kv, unsigned depth) {
    uint32_t elem = 0;
    uint64_t n = 0;
    size_t at = r->at;
    int rc = take_u32(r, "an array", &elem);
    if (rc) return rc;
    if (elem >= N_KINDS)
        return fail(r, SLV_E_FORMAT, at, "unknown kind %" PRIu32 " of array", elem);
    size_t least = elem == SLV_GGUF_STR     ? STRING_MIN_BYTES
                   : elem == SLV_GGUF_ARRAY ? ARRAY_MIN_BYTES
                                            : kind_size[elem];
    rc = take_count(r, "array elements", least, &n);
    if (rc) return rc;
    if (depth == 0) {
        kv->elem = (uint8_t)elem;
        kv->n = n;
        kv->value = r->data + r->at;
    }
    if (elem == SLV_GGUF_STR) return take_strings(r, kvs, kv, n, depth == 0);
    if (elem == SLV_GGUF_BOOL) return take_bools(r, n);
    if (elem != SLV_GGUF_ARRAY) {
        rc = fetch(r, (size_t)n * least); /* n <= left / least */
        r->at += (size_t)n * least;
        return rc;
    }
    if (depth + 1 == MAX_ARRAY_DEPTH)
        return fail(r, SLV_E_LIMIT, at, "arrays nested more than %d deep", MAX_ARRAY_DEPTH);
    for (uint64_t i = 0; i < n && !rc; i++)
        rc = take_array(r, kvs, kv, depth + 1);
    return rc;
}

static int take_value(struct reader *r, struct gguf_kvs *kvs, struct gguf_kv *kv) {
    uint32_t kind = 0;
    size_t at = r->at;
    int rc = take_u32(r, "an entry's kind", &kind);
    if (rc) return rc;
    if (kind >= N_KINDS) return fail(r, SLV_E_FORMAT, at, "unknown kind %" PRIu32, kind);
    kv->kind = (uint8_t)kind;
    kv->n = 1;
    if (kind == SLV_GGUF_ARRAY) return take_array(r, kvs, kv, 0);
    if (kind == SLV_GGUF_STR) {
        struct slv_str s = {0};
        rc = take_str(r, "a string", &s);
        if (rc) return rc;
        kv->value = (const unsigned char *)s.p;
        kv->n = s.n;
        return 0;
    }
    if (left(r) < kind_size[kind]) return ends_early(r, "a value");
    kv->value = r->data + r->at;
    if (kind == SLV_GGUF_BOOL) return take_bools(r, 1);
    rc = fetch(r, kind_size[kind]);
    r->at += kind_size[kind];
    return rc;
}

/* "key 'KEY': offset AT: REASON" */
static int in_entry(const struct reader *r, const struct gguf_kv *kv, int code) {
    return slv_err_prefix(r->err, code, "key '%.*s'", (int)kv->key.n, kv->key.p);
}

static int take_kvs(struct reader *r, struct gguf_kvs *kvs, size_t n) {
    kvs->v = slv_mem_calloc(n, sizeof *kvs->v);
    if (!kvs->v) return slv_err_set(r->err, SLV_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        struct gguf_kv *kv = &kvs->v[i];
        int rc = take_name(r, "a key", &kv->key);
        if (rc) return rc;
        kvs->n = i + 1;
        rc = take_value(r, kvs, kv);
        if (rc) return in_entry(r, kv, rc);
    }
    return 0;
}

/* --- order ------------------------------------------------------------------------------------ */

/* Names are the first member of both structs, so that one sort serves both. */
_Static_assert(offsetof(struct gguf_kv, key) == 0, "sort_names reads the name first");
_Static_assert(offsetof(struct slv_gguf_tensor, name) == 0, "sort_names reads the name first");

struct names {
    const unsigned char *v;
    size_t stride;
};

static const struct slv_str *name_at(const struct names *s, uint32_t i) {
    return (const struct slv_str *)(const void *)(s->v + (size_t)i * s->stride);
}

/* Equal names go by number, so that of two the later one in the file is reported. */
static bool before(const struct names *s, uint32_t a, uint32_t b) {
    int c = slv_str_compare(*name_at(s, a), *name_at(s, b));
    return c ? c < 0 : a < b;
}

/* The element at i sinks in the heap order[0..n). */
static void sift(const struct names *s, uint32_t *order, size_t i, size_t n) {
    uint32_t x = order[i];
    for (size_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && before(s, order[child], order[child + 1])) child++;
        if (!before(s, x, order[child])) break;
        order[i] = order[child];
        i = child;
    }
    order[i] = x;
}

/* Heap sort of the numbers 0..n-1 by name into a new array. SLV_E_NOMEM, or SLV_E_FORMAT with
 * *ret_twice the number of a name that an earlier one equals. */
static int sort_names(const struct names *s, size_t n, uint32_t **ret_order, uint32_t *ret_twice) {
    uint32_t *order = slv_mem_calloc(n, sizeof *order);
    if (!order) return SLV_E_NOMEM;
    *ret_order = order;
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    for (size_t i = n / 2; i-- > 0;)
        sift(s, order, i, n);
    for (size_t end = n; end-- > 1;) {
        uint32_t last = order[end];
        order[end] = order[0];
        order[0] = last;
        sift(s, order, 0, end);
    }
    for (size_t i = 1; i < n; i++) {
        if (slv_str_compare(*name_at(s, order[i - 1]), *name_at(s, order[i]))) continue;
        *ret_twice = order[i];
        return SLV_E_FORMAT;
    }
    return 0;
}

/* The number of the entry with this name, or n. */
static size_t find_name(const struct names *s, const uint32_t *order, size_t n, const char *name) {
    struct slv_str want = {name, strlen(name)};
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = slv_str_compare(*name_at(s, order[mid]), want);
        if (!c) return order[mid];
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return n;
}

static struct names kv_names(const struct gguf_kvs *kvs) {
    return (struct names){(const unsigned char *)kvs->v, sizeof *kvs->v};
}

static struct names tensor_names(const struct gguf_tensors *t) {
    return (struct names){(const unsigned char *)t->v, sizeof *t->v};
}

static int sort_kvs(const struct reader *r, struct gguf_kvs *kvs) {
    struct names s = kv_names(kvs);
    uint32_t twice;
    int rc = sort_names(&s, kvs->n, &kvs->by_key, &twice);
    if (rc == SLV_E_NOMEM) return slv_err_set(r->err, rc, "out of memory");
    if (!rc) return 0;
    const struct slv_str *key = &kvs->v[twice].key;
    return fail(r, rc, (size_t)((const unsigned char *)key->p - r->data),
                "the key '%.*s' is there twice", (int)key->n, key->p);
}

int gguf_tensors_sort(struct gguf_tensors *t, const struct slv_gguf_tensor **ret_twice) {
    struct names s = tensor_names(t);
    uint32_t twice = 0;
    int rc = sort_names(&s, t->n, &t->by_name, &twice);
    if (rc == SLV_E_FORMAT) *ret_twice = &t->v[twice];
    return rc;
}

const struct gguf_kv *gguf_kvs_find(const struct gguf_kvs *kvs, const char *key) {
    struct names s = kv_names(kvs);
    size_t i = find_name(&s, kvs->by_key, kvs->n, key);
    return i < kvs->n ? &kvs->v[i] : NULL;
}

const struct slv_gguf_tensor *gguf_tensors_find(const struct gguf_tensors *t, const char *name) {
    struct names s = tensor_names(t);
    size_t i = find_name(&s, t->by_name, t->n, name);
    return i < t->n ? &t->v[i] : NULL;
}

/* --- tensors ---------------------------------------------------------------------------------- */

static int alignment(const struct reader *r, const struct gguf_kvs *kvs, uint32_t *ret) {
    const struct gguf_kv *kv = gguf_kvs_find(kvs, "general.alignment");
    *ret = 32;
    if (!kv) return 0;
    size_t at = (size_t)(kv->value - r->data);
    if (kv->kind != SLV_GGUF_U32)
        return fail(r, SLV_E_FORMAT, at, "general.alignment is not a u32");
    uint32_t v = gguf_load_u32(kv->value);
    if (v < 8 || v > SLV_GGUF_MAX_ALIGN || v & (v - 1))
        return fail(r, SLV_E_FORMAT, at,
                    "general.alignment is %" PRIu32 ", not a power of two from 8 to %u", v,
                    SLV_GGUF_MAX_ALIGN);
    *ret = v;
    return 0;
}

static int take_dims(struct reader *r, struct slv_gguf_tensor *t) {
    size_t at = r->at;
    int rc = take_u32(r, "a tensor", &t->n_dims);
    if (rc) return rc;
    if (t->n_dims < 1 || t->n_dims > SLV_GGUF_MAX_DIMS)
        return fail(r, SLV_E_FORMAT, at, "%" PRIu32 " dimensions, not 1 to %u", t->n_dims,
                    SLV_GGUF_MAX_DIMS);
    for (unsigned i = t->n_dims; i < SLV_GGUF_MAX_DIMS; i++)
        t->ne[i] = 1;
    for (unsigned i = 0; i < t->n_dims; i++) {
        at = r->at;
        rc = take_u64(r, "a tensor", &t->ne[i]);
        if (rc) return rc;
        if (t->ne[i] < 1 || t->ne[i] > INT64_MAX)
            return fail(r, SLV_E_FORMAT, at, "dimension %u of %" PRIu64 " elements", i, t->ne[i]);
    }
    return 0;
}

/* Takes the type and computes t->bytes. */
static int take_type(struct reader *r, struct slv_gguf_tensor *t) {
    uint32_t id = 0;
    size_t at = r->at;
    int rc = take_u32(r, "a tensor", &id);
    if (rc) return rc;
    t->type = slv_dtype_get(id);
    if (!t->type) return fail(r, SLV_E_UNSUPPORTED, at, "unknown tensor type %" PRIu32, id);
    if (t->ne[0] % t->type->block)
        return fail(r, SLV_E_FORMAT, at, "rows of %" PRIu64 " are not whole %s blocks of %u",
                    t->ne[0], t->type->name, t->type->block);
    uint64_t bytes;
    bool fits = !__builtin_mul_overflow(t->ne[0] / t->type->block, t->type->bytes, &bytes);
    for (unsigned i = 1; i < SLV_GGUF_MAX_DIMS; i++)
        fits = fits && !__builtin_mul_overflow(bytes, t->ne[i], &bytes);
    if (!fits || bytes > INT64_MAX)
        return fail(r, SLV_E_FORMAT, at, "its size in bytes does not fit 63 bits");
    t->bytes = bytes;
    return 0;
}

/* Takes all of a tensor but its name; t->offset is still relative to the data. */
static int take_tensor(struct reader *r, uint32_t align, struct slv_gguf_tensor *t) {
    int rc = take_dims(r, t);
    if (!rc) rc = take_type(r, t);
    size_t at = r->at;
    if (!rc) rc = take_u64(r, "a tensor", &t->offset);
    if (!rc && t->offset % align)
        rc = fail(r, SLV_E_FORMAT, at, "data offset %" PRIu64 " is not a multiple of %" PRIu32,
                  t->offset, align);
    return rc;
}

static int in_tensor(const struct reader *r, const struct slv_gguf_tensor *t, int code) {
    return slv_err_prefix(r->err, code, "tensor '%.*s'", (int)t->name.n, t->name.p);
}

static int place_data(const struct reader *r, uint32_t align, struct slv_gguf_tensor *v, size_t n) {
    size_t start;
    if (!n) return 0;
    if (!slv_size_align(r->at, align, &start) || start > r->size)
        return ends_early(r, "the padding before the data");
    uint64_t sum = 0; /* fits: each is at most the file's size, and there are at most 2^16 */
    for (struct slv_gguf_tensor *t = v; t < v + n; t++) {
        size_t room = r->size - start;
        if (t->offset > room || t->bytes > room - t->offset) {
            int rc = fail(r, SLV_E_FORMAT, start,
                          "%" PRIu64 " bytes at data offset %" PRIu64 "; the data has %zu",
                          t->bytes, t->offset, room);
            return in_tensor(r, t, rc);
        }
        sum += t->bytes;
        if (sum > room) {
            int rc = fail(r, SLV_E_FORMAT, start,
                          "it shares its data: up to it tensors have %" PRIu64
                          " bytes; the data has %zu",
                          sum, room);
            return in_tensor(r, t, rc);
        }
        t->offset += start;
        t->data = r->head ? NULL : r->data + t->offset;
    }
    return 0;
}

static int take_tensors(struct reader *r, uint32_t align, struct gguf_tensors *tensors, size_t n) {
    if (n > SLV_GGUF_MAX_TENSORS - tensors->n)
        return slv_err_set(r->err, SLV_E_LIMIT, "more than %u tensors", SLV_GGUF_MAX_TENSORS);
    size_t bytes = (tensors->n + n) * sizeof *tensors->v; /* at most 2^16 elements */
    struct slv_gguf_tensor *all = slv_mem_realloc(tensors->v, bytes);
    if (!all) return slv_err_set(r->err, SLV_E_NOMEM, "out of memory");
    tensors->v = all;
    struct slv_gguf_tensor *v = all + tensors->n;
    for (size_t i = 0; i < n; i++) {
        v[i] = (struct slv_gguf_tensor){0};
        int rc = take_name(r, "a tensor's name", &v[i].name);
        if (rc) return rc;
        rc = take_tensor(r, align, &v[i]);
        if (rc) return in_tensor(r, &v[i], rc);
    }
    int rc = place_data(r, align, v, n);
    if (!rc) tensors->n += n;
    return rc;
}

/* --- the whole -------------------------------------------------------------------------------- */

static int take_version(struct reader *r, uint32_t *ret) {
    int rc = left(r) < 4 ? 0 : fetch(r, 4);
    if (rc) return rc;
    if (left(r) < 4 || memcmp(r->data, "GGUF", 4))
        return fail(r, SLV_E_FORMAT, 0, "not a GGUF file (it does not begin with GGUF)");
    r->at = 4;
    uint32_t v = 0;
    rc = take_u32(r, "the header", &v);
    if (rc) return rc;
    if (v == 0) return fail(r, SLV_E_FORMAT, 4, "GGUF version 0");
    if ((v & 0xffff) == 0)
        return fail(r, SLV_E_UNSUPPORTED, 4, "a big-endian GGUF file; little-endian ones are read");
    if (v < 2 || v > 3)
        return fail(r, SLV_E_UNSUPPORTED, 4, "GGUF version %" PRIu32 "; 2 and 3 are read", v);
    *ret = v;
    return 0;
}

int gguf_parse_part(const unsigned char *data, size_t size, struct gguf_head *head,
                    uint32_t *ret_version, struct gguf_kvs *kvs, struct gguf_tensors *tensors,
                    struct slv_err *err) {
    struct reader r = {.data = data, .size = size, .head = head, .err = err};
    uint32_t version = 0, align = 0;
    uint64_t n_tensors = 0, n_kv = 0;
    int rc = take_version(&r, &version);
    if (!rc) rc = take_count(&r, "tensors", TENSOR_MIN_BYTES, &n_tensors);
    if (!rc) rc = take_count(&r, "entries", KV_MIN_BYTES, &n_kv);
    if (rc) return rc;
    if (n_kv > SLV_GGUF_MAX_KV)
        return fail(&r, SLV_E_LIMIT, 16, "%" PRIu64 " entries; at most %u are read", n_kv,
                    SLV_GGUF_MAX_KV);
    if (n_tensors > SLV_GGUF_MAX_TENSORS)
        return fail(&r, SLV_E_LIMIT, 8, "%" PRIu64 " tensors; at most %u are read", n_tensors,
                    SLV_GGUF_MAX_TENSORS);
    rc = take_kvs(&r, kvs, (size_t)n_kv);
    if (!rc) rc = sort_kvs(&r, kvs);
    if (!rc) rc = alignment(&r, kvs, &align);
    if (!rc) rc = take_tensors(&r, align, tensors, (size_t)n_tensors);
    if (!rc) *ret_version = version;
    return rc;
}

void gguf_kvs_fini(struct gguf_kvs *kvs) {
    for (size_t i = 0; i < kvs->n; i++)
        slv_mem_free(kvs->v[i].strings);
    slv_mem_free(kvs->v);
    slv_mem_free(kvs->by_key);
    *kvs = (struct gguf_kvs){0};
}

void gguf_tensors_fini(struct gguf_tensors *t) {
    slv_mem_free(t->v);
    slv_mem_free(t->by_name);
    *t = (struct gguf_tensors){0};
}
