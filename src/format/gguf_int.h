/* gguf_int.h: what gguf.c (opening, getters) and gguf_parse.c (bytes to index) share. */
#ifndef SLV_FORMAT_GGUF_INT_H
#define SLV_FORMAT_GGUF_INT_H

#include "base/arena.h"
#include "base/file.h"
#include "format/gguf.h"

/* One metadata entry. `value` points at the value's first byte: of a number, of a string's bytes
 * (not its length), of an array's first element. */
struct gguf_kv {
    struct slv_str key;
    const unsigned char *value;
    uint64_t n;        /* bytes of a string, elements of an array, else 1 */
    uint64_t *strings; /* array of strings: from `value` to the length field of each */
    uint8_t kind;      /* enum slv_gguf_kind */
    uint8_t elem;      /* array: kind of its elements */
};

/* A file's metadata in file order, and the numbers of its entries in order of their keys. */
struct gguf_kvs {
    struct gguf_kv *v;
    uint32_t *by_key;
    size_t n;
    size_t n_strings; /* in all string arrays together */
};

/* Tensors of all parts, in file order, and their numbers in order of their names. */
struct gguf_tensors {
    struct slv_gguf_tensor *v;
    uint32_t *by_name;
    size_t n;
};

/* The beginning of a file that comes from a source, as much of it as was needed so far. */
struct gguf_head {
    const struct slv_blocks *from;
    unsigned char *data; /* [room], of slv_mem_map; the first `have` bytes are there */
    size_t room, have;
};

/* Indexes one file, of which all bytes are at data, or (head not NULL) come there as they are
 * needed, and tensors get no data. *kvs is empty before and owned by the caller after, also on
 * failure; the file's tensors are appended to *tensors (by_name is not touched). */
int gguf_parse_part(const unsigned char *data, size_t size, struct gguf_head *head,
                    uint32_t *ret_version, struct gguf_kvs *kvs, struct gguf_tensors *tensors,
                    struct slv_err *err) SLV_MUST_USE;

/* Makes by_name once all parts are in. SLV_E_NOMEM, or SLV_E_FORMAT with *ret_twice at a tensor
 * whose name an earlier one has. */
int gguf_tensors_sort(struct gguf_tensors *t,
                      const struct slv_gguf_tensor **ret_twice) SLV_MUST_USE;

/* A file that was put together from others (hf.h): metadata, which begins as a GGUF file of version
 * 3 without tensors does, and tensors in mapped files. */
struct gguf_made {
    unsigned char *meta; /* of slv_mem_alloc */
    size_t meta_n;
    struct slv_map *parts;
    size_t n_parts;
    struct gguf_tensors tensors; /* without by_name */
    struct slv_arena names;      /* of the tensors */
};

/* Makes it a slv_gguf. Takes everything over, also when it fails: SLV_E_NOMEM, and SLV_E_FORMAT
 * where two tensors have one name. */
int gguf_adopt(struct gguf_made *made, struct slv_gguf **ret, struct slv_err *err) SLV_MUST_USE;
void gguf_made_fini(struct gguf_made *made);

void gguf_kvs_fini(struct gguf_kvs *kvs);
void gguf_tensors_fini(struct gguf_tensors *t);

/* NULL when there is none. */
const struct gguf_kv *gguf_kvs_find(const struct gguf_kvs *kvs, const char *key);
const struct slv_gguf_tensor *gguf_tensors_find(const struct gguf_tensors *t, const char *name);

/* The number of kind `kind` at p as an integer or a float; false if it is not one, or does not fit.
 * An f32 is rounded to nearest; what would round to infinity does not fit. */
bool gguf_load_i64(unsigned kind, const unsigned char *p, int64_t *ret);
bool gguf_load_f32(unsigned kind, const unsigned char *p, float *ret);

/* Bytes of a value of this kind; 0 for strings, arrays and unknown kinds. */
size_t gguf_kind_size(uint64_t kind);

uint32_t gguf_load_u32(const unsigned char *p);
uint64_t gguf_load_u64(const unsigned char *p);

#endif
