/* fuzz_gguf.c: any bytes are a GGUF file that opens or an error with a message; nothing else. */
#include "format/gguf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sink; /* keeps the reads */

static void touch(struct slv_str s) {
    if (s.n) sink += (unsigned char)s.p[0] + (unsigned char)s.p[s.n - 1];
}

/* All getters on one key, whatever its kind. */
static void get(const struct slv_gguf *g, const char *key) {
    uint32_t u32;
    int64_t i64;
    float f32;
    bool yes;
    struct slv_str s = {0};
    struct slv_gguf_array a;
    if (!slv_gguf_has(g, key)) abort();
    slv_gguf_u32(g, key, &u32);
    slv_gguf_i64(g, key, &i64);
    slv_gguf_f32(g, key, &f32);
    slv_gguf_bool(g, key, &yes);
    if (slv_gguf_str(g, key, &s)) touch(s);
    if (!slv_gguf_arr(g, key, &a)) return;
    for (size_t i = 0; i <= a.n; i += i < 1000 ? 1 : a.n / 100 + 1) {
        slv_gguf_arr_i64(&a, i, &i64);
        slv_gguf_arr_f32(&a, i, &f32);
        slv_gguf_arr_bool(&a, i, &yes);
        if (slv_gguf_arr_str(&a, i, &s)) touch(s);
    }
}

static void walk(const struct slv_gguf *g) {
    char name[SLV_GGUF_MAX_NAME + 1];
    struct slv_str key;
    enum slv_gguf_kind kind;
    for (size_t i = 0; slv_gguf_kv_at(g, i, &key, &kind); i++) {
        memcpy(name, key.p, key.n);
        name[key.n] = '\0';
        if (strlen(name) == key.n) get(g, name);
    }
    for (size_t i = 0; i < slv_gguf_n_tensors(g); i++) {
        const struct slv_gguf_tensor *t = slv_gguf_tensor_at(g, i);
        memcpy(name, t->name.p, t->name.n);
        name[t->name.n] = '\0';
        if (strlen(name) == t->name.n && slv_gguf_tensor(g, name) != t) abort();
        touch((struct slv_str){t->data, (size_t)t->bytes});
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slv_gguf *g;
    struct slv_err e = {0};
    if (!slv_gguf_parse(data, size, &g, &e)) {
        walk(g);
        slv_gguf_close(g);
    } else if (!e.msg[0]) {
        abort();
    }
    return 0;
}
