/* gguf_meta.h: writing the metadata of a GGUF file (version 3) into a bounded buffer.
 *
 * Errors are the buffer's, sticky, and seen at the end. An array is begun with its length and then
 * filled; the caller keeps its word about that. Threads: one. Source: ggml's docs/gguf.md. */
#ifndef SLV_FORMAT_GGUF_META_H
#define SLV_FORMAT_GGUF_META_H

#include "base/buf.h"
#include "format/gguf.h"

struct slv_gguf_meta {
    struct slv_buf buf;
    uint64_t n; /* entries */
};

/* Begins a file without tensors. */
void slv_gguf_meta_init(struct slv_gguf_meta *m, size_t max);
void slv_gguf_meta_fini(struct slv_gguf_meta *m);

void slv_gguf_put_u32(struct slv_gguf_meta *m, const char *key, uint32_t v);
void slv_gguf_put_f32(struct slv_gguf_meta *m, const char *key, float v);
void slv_gguf_put_bool(struct slv_gguf_meta *m, const char *key, bool v);
void slv_gguf_put_str(struct slv_gguf_meta *m, const char *key, struct slv_str v);

/* n elements of a kind follow. */
void slv_gguf_put_arr(struct slv_gguf_meta *m, const char *key, enum slv_gguf_kind kind, size_t n);
void slv_gguf_put_elem_str(struct slv_gguf_meta *m, const char *a, size_t a_n, const char *b,
                           size_t b_n); /* a and b end to end */
void slv_gguf_put_elem_u8(struct slv_gguf_meta *m, uint8_t v);
void slv_gguf_put_elem_f32(struct slv_gguf_meta *m, float v);

/* Says how many entries there are; the buffer's status. */
int slv_gguf_meta_end(struct slv_gguf_meta *m) SLV_MUST_USE;

#endif
