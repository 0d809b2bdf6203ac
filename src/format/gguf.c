/* gguf.c: opening GGUF files, alone or as a split set, and answering from the index.
 *
 * A split set is what llama.cpp's gguf-split writes: part i of n (from 1) is
 * PREFIX-0000i-of-0000n.gguf, every part says split.no = i - 1 and split.count = n, part 1 holds
 * all other metadata, and split.tensors.count is the number of tensors in all parts. A split.count
 * of 0 or 1 means a whole file (merging leaves 0 behind). */
#include "format/gguf_int.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/sum.h"

#include <inttypes.h>
#include <string.h>

#define MAX_PATH ((size_t)1 << 20) /* far above PATH_MAX: the path was just opened */

struct slv_gguf {
    uint32_t version;
    bool borrowed;    /* parts[0] is the caller's memory, or `head` */
    size_t head_room; /* of parts[0], which is the beginning of a source; else 0 */
    size_t head_have;
    struct slv_map *parts;
    size_t n_parts;
    struct gguf_kvs kvs; /* of part 1, or of `meta` */
    struct gguf_tensors tensors;
    unsigned char *meta; /* [meta_n]: metadata that is in none of the parts, or NULL */
    size_t meta_n;
    struct slv_arena names; /* of tensors whose names are in none of them */
};

/* --- opening ---------------------------------------------------------------------------------- */

static int out_of_memory(struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOMEM, "out of memory");
}

/* A count from the metadata; `absent` where the key is missing. */
static int split_value(const struct gguf_kvs *kvs, const char *key, int64_t absent, int64_t *ret,
                       struct slv_err *err) {
    const struct gguf_kv *kv = gguf_kvs_find(kvs, key);
    *ret = absent;
    if (kv && (!gguf_load_i64(kv->kind, kv->value, ret) || *ret < 0))
        return slv_err_set(err, SLV_E_FORMAT, "'%s' is not a count", key);
    return 0;
}

/* Indexes the file that was mapped last; part 1's metadata stays in g. */
static int parse_last(struct slv_gguf *g, struct gguf_head *head, int64_t *ret_no,
                      struct slv_err *err) {
    struct gguf_kvs own = {.n_strings = g->kvs.n_strings}, *kvs = g->n_parts == 1 ? &g->kvs : &own;
    const struct slv_map *map = &g->parts[g->n_parts - 1];
    uint32_t version;
    int rc = gguf_parse_part(map->data, map->size, head, &version, kvs, &g->tensors, err);
    if (!rc) rc = split_value(kvs, "split.no", g->n_parts == 1 ? 0 : -1, ret_no, err);
    if (!rc && g->n_parts == 1) g->version = version;
    gguf_kvs_fini(&own);
    return rc;
}

static int open_part(struct slv_gguf *g, const char *path, int64_t *ret_no, struct slv_err *err) {
    int rc = slv_map_open(path, &g->parts[g->n_parts], err);
    if (rc) return rc;
    g->n_parts++;
    rc = parse_last(g, NULL, ret_no, err);
    return rc ? slv_err_prefix(err, rc, "%s", path) : 0;
}

/* Appends "-0000i-of-0000n.gguf", i from 1. */
static int add_suffix(struct slv_buf *b, int64_t i, int64_t n) {
    return slv_buf_addf(b, "-%05" PRId64 "-of-%05" PRId64 ".gguf", i, n);
}

/* The path up to the suffix that part `no` (from 0) of n must have, into *prefix. */
static int split_prefix(const char *path, int64_t no, int64_t n, struct slv_buf *prefix,
                        struct slv_err *err) {
    struct slv_buf suffix;
    slv_buf_init(&suffix, 100);
    int rc = add_suffix(&suffix, no + 1, n);
    size_t len = strlen(path);
    if (rc) {
        rc = out_of_memory(err);
    } else if (len < suffix.len || strcmp(path + len - suffix.len, suffix.data) != 0) {
        rc = slv_err_set(err, SLV_E_FORMAT,
                         "%s: part %" PRId64 " of a split set of %" PRId64
                         " must have a name that ends in %s",
                         path, no + 1, n, suffix.data);
    } else if (slv_buf_add(prefix, path, len - suffix.len)) {
        rc = out_of_memory(err);
    }
    slv_buf_fini(&suffix);
    return rc;
}

static int open_other_parts(struct slv_gguf *g, struct slv_buf *path, int64_t n,
                            struct slv_err *err) {
    size_t prefix = path->len;
    struct slv_map *parts = slv_mem_realloc(g->parts, (size_t)n * sizeof *parts);
    if (!parts) return out_of_memory(err);
    g->parts = parts;
    for (int64_t i = 1; i < n; i++) {
        path->len = prefix;
        if (add_suffix(path, i + 1, n)) return out_of_memory(err);
        int64_t no;
        int rc = open_part(g, path->data, &no, err);
        if (rc) return rc;
        if (no != i)
            return slv_err_set(err, SLV_E_FORMAT, "%s: does not say it is part %" PRId64,
                               path->data, i + 1);
    }
    return 0;
}

/* Opens the rest of the set that part `no` (from 0), just opened from `path`, belongs to. */
static int open_set(struct slv_gguf *g, const char *path, int64_t no, struct slv_err *err) {
    int64_t n, n_tensors;
    int rc = split_value(&g->kvs, "split.count", 0, &n, err);
    if (!rc) rc = split_value(&g->kvs, "split.tensors.count", -1, &n_tensors, err);
    if (rc) return slv_err_prefix(err, rc, "%s", path);
    if (n <= 1) return 0;
    if (n > SLV_GGUF_MAX_SPLITS)
        return slv_err_set(err, SLV_E_LIMIT,
                           "%s: a split set of %" PRId64 " parts; at most %u are read", path, n,
                           SLV_GGUF_MAX_SPLITS);
    if (no >= n)
        return slv_err_set(err, SLV_E_FORMAT, "%s: says it is part %" PRId64 " of %" PRId64, path,
                           no + 1, n);
    struct slv_buf other;
    slv_buf_init(&other, MAX_PATH);
    rc = split_prefix(path, no, n, &other, err);
    if (!rc && no != 0) {
        add_suffix(&other, 1, n);
        rc = slv_err_set(err, SLV_E_USAGE,
                         "%s: is part %" PRId64 " of a split set; open the first, %s", path, no + 1,
                         other.data);
    }
    if (!rc) rc = open_other_parts(g, &other, n, err);
    if (!rc && n_tensors >= 0 && (uint64_t)n_tensors != g->tensors.n)
        rc = slv_err_set(err, SLV_E_FORMAT, "%s: the parts hold %zu tensors, not %" PRId64, path,
                         g->tensors.n, n_tensors);
    slv_buf_fini(&other);
    return rc;
}

/* Sorts the tensors' names, now that all are there. */
static int finish(struct slv_gguf *g, struct slv_err *err) {
    const struct slv_gguf_tensor *twice = NULL;
    int rc = gguf_tensors_sort(&g->tensors, &twice);
    if (rc == SLV_E_NOMEM) return out_of_memory(err);
    if (!rc) return 0;
    if (g->meta)
        return slv_err_set(err, rc, "the tensor '%.*s' is there twice", (int)twice->name.n,
                           twice->name.p);
    size_t part = 0, at = 0;
    for (; part < g->n_parts; part++) {
        at = (size_t)((uintptr_t)twice->name.p - (uintptr_t)g->parts[part].data);
        if (at < g->parts[part].size) break;
    }
    slv_err_set(err, rc, "offset %zu: the tensor '%.*s' is there twice", at, (int)twice->name.n,
                twice->name.p);
    return part ? slv_err_prefix(err, rc, "part %zu", part + 1) : rc;
}

static struct slv_gguf *new_gguf(void) {
    struct slv_gguf *g = slv_mem_calloc(1, sizeof *g);
    struct slv_map *parts = slv_mem_calloc(1, sizeof *parts);
    if (g && parts) {
        g->parts = parts;
        return g;
    }
    slv_mem_free(g);
    slv_mem_free(parts);
    return NULL;
}

int slv_gguf_open(const char *path, struct slv_gguf **ret, struct slv_err *err) {
    struct slv_gguf *g = new_gguf();
    int64_t no = 0;
    if (!g) return out_of_memory(err);
    int rc = open_part(g, path, &no, err);
    if (!rc) rc = open_set(g, path, no, err);
    if (!rc) {
        rc = finish(g, err);
        if (rc) slv_err_prefix(err, rc, "%s", path);
    }
    if (rc) slv_gguf_close(g);
    else *ret = g;
    return rc;
}

/* Indexes parts[0], which is no file. */
static int parse_alone(struct slv_gguf *g, struct gguf_head *head, struct slv_err *err) {
    int64_t no, n;
    int rc = parse_last(g, head, &no, err);
    if (!rc) rc = split_value(&g->kvs, "split.count", 0, &n, err);
    if (!rc && n > 1)
        rc = slv_err_set(err, SLV_E_UNSUPPORTED,
                         "one part of a split set; the set is opened by path");
    return rc ? rc : finish(g, err);
}

int slv_gguf_parse(const void *data, size_t size, struct slv_gguf **ret, struct slv_err *err) {
    struct slv_gguf *g = new_gguf();
    if (!g) return out_of_memory(err);
    g->borrowed = true;
    g->parts[g->n_parts++] = (struct slv_map){.data = data, .size = size};
    int rc = parse_alone(g, NULL, err);
    if (rc) slv_gguf_close(g);
    else *ret = g;
    return rc;
}

int slv_gguf_read(const struct slv_blocks *from, struct slv_gguf **ret, struct slv_err *err) {
    if (from->size > SIZE_MAX / 2) return slv_err_set(err, SLV_E_LIMIT, "too large");
    const size_t size = (size_t)from->size;
    struct gguf_head head = {.from = from,
                             .room = size < SLV_GGUF_MAX_HEAD ? size : SLV_GGUF_MAX_HEAD};
    struct slv_gguf *g = new_gguf();
    head.data = g ? slv_mem_map(1, head.room) : NULL;
    if (!head.data) {
        slv_gguf_close(g);
        return out_of_memory(err);
    }
    slv_mem_hide(head.data, head.room);
    g->borrowed = true;
    g->head_room = head.room ? head.room : 1;
    g->parts[g->n_parts++] = (struct slv_map){.data = head.data, .size = size};
    int rc = parse_alone(g, &head, err);
    g->head_have = head.have;
    if (rc) slv_gguf_close(g);
    else *ret = g;
    return rc;
}

void slv_gguf_close(struct slv_gguf *g) {
    if (!g) return;
    gguf_kvs_fini(&g->kvs);
    gguf_tensors_fini(&g->tensors);
    for (size_t i = 0; i < g->n_parts && !g->borrowed; i++)
        slv_map_close(&g->parts[i]);
    if (g->head_room) slv_mem_unmap((void *)(uintptr_t)g->parts[0].data, g->head_room);
    slv_mem_free(g->parts);
    slv_mem_free(g->meta);
    slv_arena_fini(&g->names);
    slv_mem_free(g);
}

void gguf_made_fini(struct gguf_made *made) {
    for (size_t i = 0; i < made->n_parts; i++)
        slv_map_close(&made->parts[i]);
    slv_mem_free(made->parts);
    slv_mem_free(made->meta);
    gguf_tensors_fini(&made->tensors);
    slv_arena_fini(&made->names);
    *made = (struct gguf_made){0};
}

int gguf_adopt(struct gguf_made *made, struct slv_gguf **ret, struct slv_err *err) {
    struct gguf_tensors none = {0};
    struct slv_gguf *g = slv_mem_calloc(1, sizeof *g);
    if (!g) {
        gguf_made_fini(made);
        return out_of_memory(err);
    }
    *g = (struct slv_gguf){.parts = made->parts,
                           .n_parts = made->n_parts,
                           .tensors = made->tensors,
                           .meta = made->meta,
                           .meta_n = made->meta_n,
                           .names = made->names};
    *made = (struct gguf_made){0};
    int rc = gguf_parse_part(g->meta, g->meta_n, NULL, &g->version, &g->kvs, &none, err);
    gguf_tensors_fini(&none);
    if (!rc) rc = finish(g, err);
    if (rc) slv_gguf_close(g);
    else *ret = g;
    return rc;
}

uint32_t slv_gguf_version(const struct slv_gguf *g) { return g->version; }

uint64_t slv_gguf_file_bytes(const struct slv_gguf *g) {
    uint64_t sum = 0;
    for (size_t i = 0; i < g->n_parts; i++)
        sum += g->parts[i].size;
    return sum;
}

uint64_t slv_gguf_stamp(const struct slv_gguf *g) {
    uint64_t sum = g->n_parts;
    for (size_t i = 0; i < g->n_parts; i++) {
        if (!g->parts[i].stamp) return 0;
        sum = slv_sum_mix(sum ^ g->parts[i].stamp);
    }
    return sum;
}

#define SUM_BYTES ((size_t)4 << 20)

uint64_t slv_gguf_sum(const struct slv_gguf *g) {
    uint64_t sum = g->n_parts;
    for (size_t i = 0; i < g->n_parts; i++) {
        const struct slv_map *m = &g->parts[i];
        const size_t end = g->head_room ? g->head_have : m->size;
        for (size_t at = 0; at < end; at += SUM_BYTES) {
            size_t n = end - at < SUM_BYTES ? end - at : SUM_BYTES;
            sum = slv_sum_mix(sum ^ slv_sum64(m->data + at, n, at));
            if (!g->borrowed) slv_mem_forget((void *)(uintptr_t)(m->data + at), n);
        }
        sum = slv_sum_mix(sum + m->size);
    }
    return g->meta ? slv_sum_mix(sum ^ slv_sum64(g->meta, g->meta_n, 0)) : sum;
}

bool slv_gguf_is_file(const struct slv_gguf *g) { return !g->borrowed; }

uint64_t slv_gguf_meta_bytes(const struct slv_gguf *g) {
    uint64_t bytes = slv_gguf_file_bytes(g) + g->meta_n;
    for (size_t i = 0; i < g->tensors.n; i++)
        bytes -= g->tensors.v[i].bytes;
    return bytes;
}

/* --- metadata --------------------------------------------------------------------------------- */

static bool to_u32(unsigned kind, const unsigned char *p, uint32_t *ret) {
    int64_t v;
    if (!gguf_load_i64(kind, p, &v) || v < 0 || v > UINT32_MAX) return false;
    *ret = (uint32_t)v;
    return true;
}

static bool to_bool(unsigned kind, const unsigned char *p, bool *ret) {
    int64_t v = *p;
    if (kind != SLV_GGUF_BOOL && !gguf_load_i64(kind, p, &v)) return false;
    if (v != 0 && v != 1) return false;
    *ret = v == 1;
    return true;
}

/* A scalar's entry, or NULL: for the conversions, which refuse kinds without a size. */
static const struct gguf_kv *scalar(const struct slv_gguf *g, const char *key) {
    const struct gguf_kv *kv = gguf_kvs_find(&g->kvs, key);
    return kv && gguf_kind_size(kv->kind) ? kv : NULL;
}

bool slv_gguf_has(const struct slv_gguf *g, const char *key) {
    return gguf_kvs_find(&g->kvs, key) != NULL;
}

bool slv_gguf_u32(const struct slv_gguf *g, const char *key, uint32_t *ret) {
    const struct gguf_kv *kv = scalar(g, key);
    return kv && to_u32(kv->kind, kv->value, ret);
}

bool slv_gguf_i64(const struct slv_gguf *g, const char *key, int64_t *ret) {
    const struct gguf_kv *kv = scalar(g, key);
    return kv && gguf_load_i64(kv->kind, kv->value, ret);
}

bool slv_gguf_f32(const struct slv_gguf *g, const char *key, float *ret) {
    const struct gguf_kv *kv = scalar(g, key);
    return kv && gguf_load_f32(kv->kind, kv->value, ret);
}

bool slv_gguf_bool(const struct slv_gguf *g, const char *key, bool *ret) {
    const struct gguf_kv *kv = scalar(g, key);
    return kv && to_bool(kv->kind, kv->value, ret);
}

bool slv_gguf_str(const struct slv_gguf *g, const char *key, struct slv_str *ret) {
    const struct gguf_kv *kv = gguf_kvs_find(&g->kvs, key);
    if (!kv || kv->kind != SLV_GGUF_STR) return false;
    *ret = (struct slv_str){(const char *)kv->value, (size_t)kv->n};
    return true;
}

bool slv_gguf_arr(const struct slv_gguf *g, const char *key, struct slv_gguf_array *ret) {
    const struct gguf_kv *kv = gguf_kvs_find(&g->kvs, key);
    *ret = (struct slv_gguf_array){0};
    if (!kv || kv->kind != SLV_GGUF_ARRAY) return false;
    *ret = (struct slv_gguf_array){(enum slv_gguf_kind)kv->elem, (size_t)kv->n, kv};
    return true;
}

/* Element i of an array of numbers or bools; NULL if there is none. */
static const unsigned char *element(const struct slv_gguf_array *a, size_t i) {
    size_t size = i < a->n ? gguf_kind_size(a->kind) : 0;
    return size ? a->kv->value + i * size : NULL;
}

bool slv_gguf_arr_i64(const struct slv_gguf_array *a, size_t i, int64_t *ret) {
    const unsigned char *p = element(a, i);
    return p && gguf_load_i64(a->kind, p, ret);
}

bool slv_gguf_arr_f32(const struct slv_gguf_array *a, size_t i, float *ret) {
    const unsigned char *p = element(a, i);
    return p && gguf_load_f32(a->kind, p, ret);
}

bool slv_gguf_arr_bool(const struct slv_gguf_array *a, size_t i, bool *ret) {
    const unsigned char *p = element(a, i);
    return p && to_bool(a->kind, p, ret);
}

bool slv_gguf_arr_str(const struct slv_gguf_array *a, size_t i, struct slv_str *ret) {
    if (i >= a->n || !a->kv->strings) return false;
    const unsigned char *p = a->kv->value + a->kv->strings[i];
    *ret = (struct slv_str){(const char *)p + 8, (size_t)gguf_load_u64(p)};
    return true;
}

bool slv_gguf_kv_at(const struct slv_gguf *g, size_t i, struct slv_str *ret_key,
                    enum slv_gguf_kind *ret_kind) {
    if (i >= g->kvs.n) return false;
    *ret_key = g->kvs.v[i].key;
    *ret_kind = (enum slv_gguf_kind)g->kvs.v[i].kind;
    return true;
}

/* --- tensors ---------------------------------------------------------------------------------- */

size_t slv_gguf_n_tensors(const struct slv_gguf *g) { return g->tensors.n; }

const struct slv_gguf_tensor *slv_gguf_tensor_at(const struct slv_gguf *g, size_t i) {
    return i < g->tensors.n ? &g->tensors.v[i] : NULL;
}

const struct slv_gguf_tensor *slv_gguf_tensor(const struct slv_gguf *g, const char *name) {
    return gguf_tensors_find(&g->tensors, name);
}
