/* gguf.h: reading GGUF v2 and v3 model files (ggml's docs/gguf.md), one file or a split set.
 *
 * Owns the mapped bytes and an index over them. Everything handed out borrows from the mapping and
 * is good until slv_gguf_close. Nothing in the file is trusted: every count, length, offset and
 * product is checked against the bytes that are really there before it is used, and against the
 * named limits below. Malformed files give SLV_E_FORMAT with the byte offset and the reason; what
 * another reader may know (versions, big-endian files, tensor types) SLV_E_UNSUPPORTED; what is
 * past a named limit SLV_E_LIMIT. The index takes at most 64 MB, reached only by a file that holds
 * millions of strings; the time is linear in the metadata, but for sorting the names.
 *
 * Threads: an open file is read-only and may be used by any number.
 */
#ifndef SLV_FORMAT_GGUF_H
#define SLV_FORMAT_GGUF_H

#include "base/blocks.h"
#include "base/dtype.h"
#include "base/err.h"
#include "base/str.h"

#define SLV_GGUF_MAX_KV 65536u
#define SLV_GGUF_MAX_TENSORS 65536u
#define SLV_GGUF_MAX_NAME 256u /* bytes in a key or tensor name */
#define SLV_GGUF_MAX_DIMS 4u
#define SLV_GGUF_MAX_SPLITS 1000u
#define SLV_GGUF_MAX_STRINGS (1u << 22) /* in all string arrays of a file together */
#define SLV_GGUF_MAX_ALIGN 65536u       /* general.alignment: a power of two from 8 to this */

enum slv_gguf_kind {
    SLV_GGUF_U8 = 0,
    SLV_GGUF_I8 = 1,
    SLV_GGUF_U16 = 2,
    SLV_GGUF_I16 = 3,
    SLV_GGUF_U32 = 4,
    SLV_GGUF_I32 = 5,
    SLV_GGUF_F32 = 6,
    SLV_GGUF_BOOL = 7,
    SLV_GGUF_STR = 8,
    SLV_GGUF_ARRAY = 9,
    SLV_GGUF_U64 = 10,
    SLV_GGUF_I64 = 11,
    SLV_GGUF_F64 = 12
};

/* One tensor. ne[0] is the contiguous dimension; absent dimensions are 1. The data is
 * ne[0] / block * bytes * ne[1] * ne[2] * ne[3] bytes at `data`, all inside the mapping; NULL in
 * what slv_gguf_read gives. */
struct slv_gguf_tensor {
    struct slv_str name;
    const struct slv_dtype *type;
    uint32_t n_dims;
    uint64_t ne[SLV_GGUF_MAX_DIMS];
    const void *data;
    uint64_t bytes;
    uint64_t offset; /* of data in its file */
};

struct slv_gguf;

/* Opens PATH. A file that says it is part 1 of a split set ("...-00001-of-00003.gguf") opens the
 * others beside it; opening another part by name is an error that names the first. The metadata is
 * that of part 1; of the others only split.no is read. Messages begin with the path. */
int slv_gguf_open(const char *path, struct slv_gguf **ret, struct slv_err *err) SLV_MUST_USE;

/* The same over bytes in memory, which must outlive the result (fuzzers, embedded models) and begin
 * at a multiple of general.alignment for the tensors to be aligned. A split set cannot be opened
 * this way. Empty or NULL data is a malformed file. */
int slv_gguf_parse(const void *data, size_t size, struct slv_gguf **ret,
                   struct slv_err *err) SLV_MUST_USE;

/* The same of bytes that come from a source, which is needed no longer after: what stands before
 * the data is read into memory, at most SLV_GGUF_MAX_HEAD bytes of it (SLV_E_LIMIT), and tensors
 * have an offset but no data. Or as the source's reading fails. */
#define SLV_GGUF_MAX_HEAD ((size_t)1 << 30)
int slv_gguf_read(const struct slv_blocks *from, struct slv_gguf **ret,
                  struct slv_err *err) SLV_MUST_USE;
void slv_gguf_close(struct slv_gguf *g);

uint32_t slv_gguf_version(const struct slv_gguf *g);
/* Bytes of the files that hold no tensor: metadata, and padding. */
uint64_t slv_gguf_meta_bytes(const struct slv_gguf *g);
uint64_t slv_gguf_file_bytes(const struct slv_gguf *g); /* over all parts */
/* The stamps of all parts (struct slv_map) as one; 0 where one has none, as bytes in memory. */
uint64_t slv_gguf_stamp(const struct slv_gguf *g);
/* A checksum of every byte of all parts that is in memory or mapped: not of the data that
 * slv_gguf_read leaves where it is. Reads them, and lets the pages of a file go again. */
uint64_t slv_gguf_sum(const struct slv_gguf *g);
bool slv_gguf_is_file(const struct slv_gguf *g); /* not bytes in memory, or of a source */

/* --- metadata. A key is looked up by its whole name. ------------------------------------------ */

bool slv_gguf_has(const struct slv_gguf *g, const char *key);

/* Each returns true and writes *ret if the key is there and of a kind that converts: integers that
 * fit for u32 / i64; floats and integers, rounded to nearest, for f32 (also infinities and NaN that
 * the file holds, but no finite number that would become infinite); BOOL and the integers 0 and 1
 * for bool; STR for str. */
bool slv_gguf_u32(const struct slv_gguf *g, const char *key, uint32_t *ret);
bool slv_gguf_i64(const struct slv_gguf *g, const char *key, int64_t *ret);
bool slv_gguf_f32(const struct slv_gguf *g, const char *key, float *ret);
bool slv_gguf_bool(const struct slv_gguf *g, const char *key, bool *ret);
bool slv_gguf_str(const struct slv_gguf *g, const char *key, struct slv_str *ret);

/* n elements of a kind; lives as long as the file is open. */
struct slv_gguf_array {
    enum slv_gguf_kind kind;
    size_t n;
    const struct gguf_kv *kv;
};

/* False, and an array of no elements, if there is no array of this name. */
bool slv_gguf_arr(const struct slv_gguf *g, const char *key, struct slv_gguf_array *ret);

/* Element i, converted as above; of an array of arrays none can be read. Out-of-range i or the
 * wrong kind gives false. O(1), for strings too. */
bool slv_gguf_arr_i64(const struct slv_gguf_array *a, size_t i, int64_t *ret);
bool slv_gguf_arr_f32(const struct slv_gguf_array *a, size_t i, float *ret);
bool slv_gguf_arr_bool(const struct slv_gguf_array *a, size_t i, bool *ret);
bool slv_gguf_arr_str(const struct slv_gguf_array *a, size_t i, struct slv_str *ret);

/* Metadata by position in the file, for `show`: key and kind of entry i, false past the end. */
bool slv_gguf_kv_at(const struct slv_gguf *g, size_t i, struct slv_str *ret_key,
                    enum slv_gguf_kind *ret_kind);

/* --- tensors ---------------------------------------------------------------------------------- */

size_t slv_gguf_n_tensors(const struct slv_gguf *g);
const struct slv_gguf_tensor *slv_gguf_tensor_at(const struct slv_gguf *g, size_t i);
/* NULL when there is none of that name. */
const struct slv_gguf_tensor *slv_gguf_tensor(const struct slv_gguf *g, const char *name);

#endif
