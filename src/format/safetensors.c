/* safetensors.c: see safetensors.h. */
#include "format/safetensors.h"
#include "base/jsonin.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_MAX ((size_t)64 << 20)
#define PATH_MAX_BYTES 65536u
#define NAMES_MAX ((size_t)64 << 20)

static const struct {
    const char *name;
    enum slv_dtype_id id;
} types[] = {
    {"F32", SLV_F32}, {"F16", SLV_F16},    {"BF16", SLV_BF16},  {"F64", SLV_F64},
    {"I64", SLV_I64}, {"I32", SLV_I32},    {"I16", SLV_I16},    {"I8", SLV_I8},
    {"U64", SLV_I64}, {"U32", SLV_I32},    {"U16", SLV_I16},    {"U8", SLV_I8},
    {"BOOL", SLV_I8}, {"F8_E4M3", SLV_I8}, {"F8_E5M2", SLV_I8}, {"F8_E8M0", SLV_I8},
};

void slv_safetensors_init(struct slv_safetensors *s) {
    *s = (struct slv_safetensors){0};
    slv_arena_init(&s->names, NAMES_MAX);
}

void slv_safetensors_fini(struct slv_safetensors *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_files; i++)
        slv_map_close(&s->map[i]);
    slv_mem_free(s->map);
    slv_mem_free(s->v);
    slv_arena_fini(&s->names);
    *s = (struct slv_safetensors){0};
}

static int out_of_memory(struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOMEM, "out of memory");
}

/* --- one tensor ------------------------------------------------------------------------------- */

static int read_type(struct slv_json_val v, struct slv_gguf_tensor *t, struct slv_err *err) {
    struct slv_str name;
    if (!slv_json_get_str(slv_json_get(v, "dtype"), &name))
        return slv_err_set(err, SLV_E_FORMAT, "it has no dtype");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (slv_str_is(name, types[i].name)) {
            t->type = slv_dtype_get(types[i].id);
            return 0;
        }
    return slv_err_set(err, SLV_E_UNSUPPORTED, "dtype '%.*s'", name.n > 32 ? 32 : (int)name.n,
                       name.p);
}

/* The shape, turned round, and the bytes it takes. */
static int read_shape(struct slv_json_val v, struct slv_gguf_tensor *t, struct slv_err *err) {
    const struct slv_json_val shape = slv_json_get(v, "shape");
    const size_t n = slv_json_count(shape);
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    if (slv_json_kind(shape) != SLV_JSON_ARRAY)
        return slv_err_set(err, SLV_E_FORMAT, "it has no shape");
    if (n > SLV_GGUF_MAX_DIMS)
        return slv_err_set(err, SLV_E_UNSUPPORTED, "%zu dimensions; at most %u are read", n,
                           SLV_GGUF_MAX_DIMS);
    t->n_dims = n ? (uint32_t)n : 1;
    t->bytes = t->type->bytes;
    for (size_t i = 0; i < SLV_GGUF_MAX_DIMS; i++)
        t->ne[i] = 1;
    for (size_t i = n; slv_json_each(shape, &it, NULL, &at); i--) {
        int64_t d;
        if (!slv_json_get_i64(at, &d) || d < 0)
            return slv_err_set(err, SLV_E_FORMAT, "a dimension is not a count");
        if (!d) return slv_err_set(err, SLV_E_UNSUPPORTED, "it is empty");
        t->ne[i - 1] = (uint64_t)d;
        if (__builtin_mul_overflow(t->bytes, (uint64_t)d, &t->bytes) || t->bytes > INT64_MAX)
            return slv_err_set(err, SLV_E_FORMAT, "its size in bytes does not fit 63 bits");
    }
    return 0;
}

static int read_offsets(struct slv_json_val v, size_t size, struct slv_gguf_tensor *t,
                        struct slv_err *err) {
    const struct slv_json_val pair = slv_json_get(v, "data_offsets");
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    int64_t o[2];
    size_t n = 0;
    if (slv_json_kind(pair) != SLV_JSON_ARRAY || slv_json_count(pair) != 2)
        return slv_err_set(err, SLV_E_FORMAT, "it has no data_offsets");
    while (slv_json_each(pair, &it, NULL, &at))
        if (!slv_json_get_i64(at, &o[n++]))
            return slv_err_set(err, SLV_E_FORMAT, "an offset is not a number");
    if (o[0] < 0 || o[1] < o[0] || (uint64_t)o[1] > size)
        return slv_err_set(err, SLV_E_FORMAT,
                           "offsets %" PRId64 " to %" PRId64 "; the data has %zu bytes", o[0], o[1],
                           size);
    if ((uint64_t)(o[1] - o[0]) != t->bytes)
        return slv_err_set(err, SLV_E_FORMAT, "%" PRId64 " bytes; its type and shape take %" PRIu64,
                           o[1] - o[0], t->bytes);
    t->offset = (uint64_t)o[0];
    return 0;
}

static int read_tensor(struct slv_safetensors *s, struct slv_str name, struct slv_json_val v,
                       size_t size, struct slv_err *err) {
    struct slv_gguf_tensor t = {0};
    if (!name.n || name.n > SLV_GGUF_MAX_NAME)
        return slv_err_set(err, name.n ? SLV_E_LIMIT : SLV_E_FORMAT,
                           "a name of %zu bytes; at most %u are read", name.n, SLV_GGUF_MAX_NAME);
    int rc = read_type(v, &t, err);
    if (!rc) rc = read_shape(v, &t, err);
    if (!rc) rc = read_offsets(v, size, &t, err);
    if (rc) return slv_err_prefix(err, rc, "tensor '%.*s'", (int)name.n, name.p);
    rc = slv_mem_grow((void **)&s->v, s->n, &s->cap, sizeof *s->v, SLV_GGUF_MAX_TENSORS);
    if (rc == SLV_E_LIMIT)
        return slv_err_set(err, rc, "more than %u tensors", SLV_GGUF_MAX_TENSORS);
    t.name = (struct slv_str){slv_arena_strndup(&s->names, name.p, name.n), name.n};
    if (rc || !t.name.p) return out_of_memory(err);
    s->v[s->n++] = t;
    return 0;
}

/* --- one file --------------------------------------------------------------------------------- */

static int by_offset(const void *a, const void *b) {
    const struct slv_gguf_tensor *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Tensors [from, n) cover the data once; then they get their places in it. */
static int place(struct slv_safetensors *s, size_t from, const unsigned char *data, size_t begin,
                 size_t size, struct slv_err *err) {
    uint64_t at = 0;
    if (s->n > from) qsort(s->v + from, s->n - from, sizeof *s->v, by_offset);
    for (size_t i = from; i < s->n; i++) {
        struct slv_gguf_tensor *t = &s->v[i];
        if (t->offset != at)
            return slv_err_set(err, SLV_E_FORMAT,
                               "tensor '%.*s': its data begins at %" PRIu64 ", %s those before it, "
                               "which end at %" PRIu64,
                               (int)t->name.n, t->name.p, t->offset,
                               t->offset < at ? "within" : "after a gap behind", at);
        at += t->bytes; /* at most size */
        t->data = data + begin + t->offset;
        t->offset += begin;
    }
    if (at != size - begin)
        return slv_err_set(err, SLV_E_FORMAT,
                           "the tensors have %" PRIu64 " bytes, the data has %zu", at,
                           size - begin);
    return 0;
}

static int read_header(struct slv_safetensors *s, const struct slv_json_doc *doc, size_t size,
                       struct slv_err *err) {
    const struct slv_json_val root = slv_json_root(doc);
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    struct slv_str name;
    int rc = 0;
    if (slv_json_kind(root) != SLV_JSON_OBJECT)
        return slv_err_set(err, SLV_E_FORMAT, "the header is not an object");
    while (!rc && slv_json_each(root, &it, &name, &at))
        if (!slv_str_is(name, "__metadata__")) rc = read_tensor(s, name, at, size, err);
    return rc;
}

int slv_safetensors_parse(struct slv_safetensors *s, const unsigned char *data, size_t size,
                          struct slv_err *err) {
    uint64_t n = 0;
    const size_t from = s->n;
    struct slv_json_doc doc = {0};
    if (size < 8) return slv_err_set(err, SLV_E_FORMAT, "the file ends inside its header");
    for (size_t i = 0; i < 8; i++)
        n |= (uint64_t)data[i] << (8 * i);
    if (n > SLV_ST_MAX_HEADER)
        return slv_err_set(err, SLV_E_LIMIT, "a header of %" PRIu64 " bytes; at most %zu are read",
                           n, SLV_ST_MAX_HEADER);
    if (n > size - 8)
        return slv_err_set(err, SLV_E_FORMAT,
                           "a header of %" PRIu64 " bytes, of which %zu are there", n, size - 8);
    const size_t begin = 8 + (size_t)n;
    int rc = slv_json_read((const char *)data + 8, (size_t)n, &doc, err);
    if (rc) return slv_err_prefix(err, rc, "header");
    rc = read_header(s, &doc, size - begin, err);
    if (!rc) rc = place(s, from, data, begin, size, err);
    if (rc) s->n = from;
    slv_json_doc_fini(&doc);
    return rc;
}

int slv_safetensors_open(struct slv_safetensors *s, const char *path, struct slv_err *err) {
    struct slv_map *all = slv_mem_realloc(s->map, (s->n_files + 1) * sizeof *all);
    if (!all) return out_of_memory(err);
    s->map = all;
    struct slv_map *map = &s->map[s->n_files];
    int rc = slv_map_open(path, map, err); /* says the path itself */
    if (rc) return rc;
    s->n_files++;
    rc = slv_safetensors_parse(s, map->data, map->size, err);
    return rc ? slv_err_prefix(err, rc, "%s", path) : 0;
}

/* --- a set ------------------------------------------------------------------------------------ */

static bool is_plain(struct slv_str name) {
    return name.n && name.n < 256 && name.p[0] != '.' && !memchr(name.p, '/', name.n) &&
           !memchr(name.p, '\0', name.n);
}

struct set {
    struct slv_safetensors *s;
    struct slv_str *file; /* [SLV_ST_MAX_FILES] */
    size_t *end;          /* tensors of the files up to each */
    size_t n;
};

static size_t find_file(const struct set *set, struct slv_str name) {
    size_t i = 0;
    while (i < set->n && (set->file[i].n != name.n || memcmp(set->file[i].p, name.p, name.n)))
        i++;
    return i;
}

/* The number of the file of this name, opened if it is the first time. */
static int want_file(struct set *set, const char *folder, struct slv_str name, size_t *ret,
                     struct slv_err *err) {
    struct slv_buf path;
    *ret = find_file(set, name);
    if (*ret < set->n) return 0;
    if (!is_plain(name)) return slv_err_set(err, SLV_E_FORMAT, "a file's name is not a plain one");
    if (set->n == SLV_ST_MAX_FILES)
        return slv_err_set(err, SLV_E_LIMIT, "more than %u files", SLV_ST_MAX_FILES);
    slv_buf_init(&path, PATH_MAX_BYTES);
    int rc = slv_buf_addf(&path, "%s/%.*s", folder, (int)name.n, name.p);
    if (rc) slv_err_set(err, rc, "%s", slv_strerror(rc));
    else rc = slv_safetensors_open(set->s, path.data, err);
    slv_buf_fini(&path);
    if (rc) return rc;
    set->file[set->n] = name;
    set->end[set->n++] = set->s->n;
    return 0;
}

/* "NAME/number of its file", for sorting both sides of what is compared. */
struct place_of {
    struct slv_str name;
    size_t file;
};

static int by_name(const void *a, const void *b) {
    const struct place_of *x = a, *y = b;
    const size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    const int c = memcmp(x->name.p, y->name.p, n);
    if (c) return c;
    if (x->name.n != y->name.n) return x->name.n < y->name.n ? -1 : 1;
    return x->file < y->file ? -1 : x->file > y->file;
}

/* Whether each tensor that is listed is among those there, in the file it is listed for. */
static int check_places(const struct set *set, const struct place_of *listed, size_t n,
                        struct slv_err *err) {
    const struct slv_safetensors *s = set->s;
    struct place_of *there = slv_mem_calloc(s->n + 1, sizeof *there);
    int rc = 0;
    if (!there) return out_of_memory(err);
    for (size_t i = 0, file = 0; i < s->n; i++) {
        while (i >= set->end[file])
            file++;
        there[i] = (struct place_of){s->v[i].name, file};
    }
    qsort(there, s->n, sizeof *there, by_name);
    for (size_t i = 0; i < n && !rc; i++)
        if (!s->n || !bsearch(&listed[i], there, s->n, sizeof *there, by_name))
            rc = slv_err_set(err, SLV_E_FORMAT, "tensor '%.*s' is not in the file it is listed for",
                             listed[i].name.n > 96 ? 96 : (int)listed[i].name.n, listed[i].name.p);
    slv_mem_free(there);
    return rc;
}

static int open_set(struct set *set, const char *folder, struct slv_json_val list,
                    struct slv_err *err) {
    const size_t n = slv_json_count(list);
    struct place_of *listed = slv_mem_calloc(n + 1, sizeof *listed);
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    struct slv_str file;
    size_t i = 0;
    int rc = listed ? 0 : out_of_memory(err);
    while (!rc && slv_json_each(list, &it, &listed[i].name, &at)) {
        if (!slv_json_get_str(at, &file))
            rc = slv_err_set(err, SLV_E_FORMAT, "weight_map: a file's name is not a string");
        else rc = want_file(set, folder, file, &listed[i++].file, err);
    }
    if (!rc) rc = check_places(set, listed, n, err);
    slv_mem_free(listed);
    return rc;
}

int slv_safetensors_open_index(struct slv_safetensors *s, const char *folder, const char *index,
                               struct slv_err *err) {
    struct set set = {.s = s};
    struct slv_json_doc doc = {0};
    struct slv_buf text, path;
    slv_buf_init(&text, INDEX_MAX);
    slv_buf_init(&path, PATH_MAX_BYTES);
    set.file = slv_mem_calloc(SLV_ST_MAX_FILES, sizeof *set.file);
    set.end = slv_mem_calloc(SLV_ST_MAX_FILES, sizeof *set.end);
    int rc = set.file && set.end ? slv_buf_addf(&path, "%s/%s", folder, index) : SLV_E_NOMEM;
    if (rc) slv_err_set(err, rc, "%s", slv_strerror(rc));
    else rc = slv_file_read(path.data, &text, err);
    if (!rc) {
        rc = slv_json_read(text.data, text.len, &doc, err);
        if (!rc) rc = open_set(&set, folder, slv_json_get(slv_json_root(&doc), "weight_map"), err);
        if (!rc && !set.n) rc = slv_err_set(err, SLV_E_FORMAT, "it names no files");
        if (rc) slv_err_prefix(err, rc, "%s", path.data);
    }
    slv_json_doc_fini(&doc);
    slv_mem_free(set.file);
    slv_mem_free(set.end);
    slv_buf_fini(&path);
    slv_buf_fini(&text);
    return rc;
}
