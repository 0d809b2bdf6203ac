/* fuzz_safetensors.c: any bytes are a file of tensors that opens, and whose tensors are inside it,
 * or an error with a message; nothing else. */
#include "format/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sink; /* keeps the reads */

static void touch(const struct slv_gguf_tensor *t) {
    const unsigned char *p = t->data;
    uint64_t n = t->type->bytes;
    for (size_t i = 0; i < SLV_GGUF_MAX_DIMS; i++)
        n *= t->ne[i];
    if (n != t->bytes || !n || !t->name.n) abort();
    sink += (unsigned)p[0] + p[t->bytes - 1] + (unsigned char)t->name.p[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slv_safetensors s;
    struct slv_err e = {0};
    slv_safetensors_init(&s);
    if (!slv_safetensors_parse(&s, data, size, &e)) {
        for (size_t i = 0; i < s.n; i++)
            touch(&s.v[i]);
    } else if (!e.msg[0] || s.n) {
        abort();
    }
    slv_safetensors_fini(&s);
    return 0;
}
