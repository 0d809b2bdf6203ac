/* safetensors.h: reading the tensors of a safetensors file, or of a set of files with an index.
 *
 *     u64 n, little-endian | n bytes of JSON | data
 *
 *     {"NAME": {"dtype": "F32", "shape": [ROWS, COLUMNS], "data_offsets": [BEGIN, END]}, ...,
 *      "__metadata__": {...}}
 *
 * Offsets count from the first byte of the data. Nothing in the file is trusted: the header's
 * length has a limit and is bounded by the file, a tensor's bytes are what its type and shape say,
 * and the tensors together cover the data once, without a gap and without an overlap, as the format
 * demands. Shapes are turned round, so that ne[0] is the contiguous dimension as in GGUF; a scalar
 * is one element. A type that this project has no arithmetic for (U8, BOOL, F8_E4M3, ...) is one of
 * integers as wide: such a tensor can be passed over, and is refused where numbers are wanted.
 *
 * Tensors borrow from the maps, their names from the arena.
 * Source: the format's description in Hugging Face's safetensors, README "Format".
 */
#ifndef SLV_FORMAT_SAFETENSORS_H
#define SLV_FORMAT_SAFETENSORS_H

#include "base/arena.h"
#include "base/file.h"
#include "format/gguf.h"

#define SLV_ST_MAX_HEADER ((size_t)100000000) /* bytes of JSON, the format's own limit */
#define SLV_ST_MAX_FILES 1000u

struct slv_safetensors {
    struct slv_map *map; /* [n_files] */
    size_t n_files;
    struct slv_gguf_tensor *v; /* file by file, in order of their data */
    size_t n, cap;
    struct slv_arena names;
};

/* Empty; for the functions below. */
void slv_safetensors_init(struct slv_safetensors *s);
void slv_safetensors_fini(struct slv_safetensors *s);

/* Appends the tensors of one file's bytes, which must outlive them. SLV_E_FORMAT, SLV_E_LIMIT,
 * SLV_E_UNSUPPORTED (a type that is not known, more than four dimensions, an empty tensor),
 * SLV_E_NOMEM. Names that two files share are the caller's to find. */
int slv_safetensors_parse(struct slv_safetensors *s, const unsigned char *data, size_t size,
                          struct slv_err *err) SLV_MUST_USE;

/* Maps the file at PATH, and appends its tensors. Messages begin with the path. */
int slv_safetensors_open(struct slv_safetensors *s, const char *path,
                         struct slv_err *err) SLV_MUST_USE;

/* The same for all files that an index ("model.safetensors.index.json" in a folder) names: plain
 * names, in that folder. Every tensor that it lists is in the file it is listed for. */
int slv_safetensors_open_index(struct slv_safetensors *s, const char *folder, const char *index,
                               struct slv_err *err) SLV_MUST_USE;

#endif
