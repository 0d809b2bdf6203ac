/* gguf_meta.c: see gguf_meta.h. */
#include "format/gguf_meta.h"

#include <string.h>

#define N_AT 16 /* of the number of entries: magic, version and number of tensors come first */

static void put_int(struct slv_gguf_meta *m, uint64_t v, size_t bytes) {
    char le[8];
    for (size_t i = 0; i < bytes; i++)
        le[i] = (char)(v >> (8 * i));
    slv_buf_add(&m->buf, le, bytes);
}

static void put_bytes(struct slv_gguf_meta *m, const char *p, size_t n) {
    put_int(m, n, 8);
    slv_buf_add(&m->buf, p, n);
}

static void put_key(struct slv_gguf_meta *m, const char *key, enum slv_gguf_kind kind) {
    put_bytes(m, key, strlen(key));
    put_int(m, (uint64_t)kind, 4);
    m->n++;
}

static uint32_t bits_of(float v) {
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    return u;
}

void slv_gguf_meta_init(struct slv_gguf_meta *m, size_t max) {
    m->n = 0;
    slv_buf_init(&m->buf, max);
    slv_buf_add(&m->buf, "GGUF", 4);
    put_int(m, 3, 4);
    put_int(m, 0, 8);
    put_int(m, 0, 8);
}

void slv_gguf_meta_fini(struct slv_gguf_meta *m) {
    if (m) slv_buf_fini(&m->buf);
}

void slv_gguf_put_u32(struct slv_gguf_meta *m, const char *key, uint32_t v) {
    put_key(m, key, SLV_GGUF_U32);
    put_int(m, v, 4);
}

void slv_gguf_put_f32(struct slv_gguf_meta *m, const char *key, float v) {
    put_key(m, key, SLV_GGUF_F32);
    put_int(m, bits_of(v), 4);
}

void slv_gguf_put_bool(struct slv_gguf_meta *m, const char *key, bool v) {
    put_key(m, key, SLV_GGUF_BOOL);
    put_int(m, v, 1);
}

void slv_gguf_put_str(struct slv_gguf_meta *m, const char *key, struct slv_str v) {
    put_key(m, key, SLV_GGUF_STR);
    put_bytes(m, v.p, v.n);
}

void slv_gguf_put_arr(struct slv_gguf_meta *m, const char *key, enum slv_gguf_kind kind, size_t n) {
    put_key(m, key, SLV_GGUF_ARRAY);
    put_int(m, (uint64_t)kind, 4);
    put_int(m, n, 8);
}

void slv_gguf_put_elem_str(struct slv_gguf_meta *m, const char *a, size_t a_n, const char *b,
                           size_t b_n) {
    put_int(m, a_n + b_n, 8);
    slv_buf_add(&m->buf, a, a_n);
    slv_buf_add(&m->buf, b, b_n);
}

void slv_gguf_put_elem_u8(struct slv_gguf_meta *m, uint8_t v) { put_int(m, v, 1); }

void slv_gguf_put_elem_f32(struct slv_gguf_meta *m, float v) { put_int(m, bits_of(v), 4); }

int slv_gguf_meta_end(struct slv_gguf_meta *m) {
    if (m->buf.status) return m->buf.status;
    for (size_t i = 0; i < 8; i++)
        m->buf.data[N_AT + i] = (char)(m->n >> (8 * i));
    return 0;
}
