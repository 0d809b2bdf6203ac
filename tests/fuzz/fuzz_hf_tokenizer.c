/* fuzz_hf_tokenizer.c: any bytes are a tokenizer.json that becomes a tokenizer, which cuts texts
 * and puts them together, or an error with a message; nothing else. */
#include "format/gguf_int.h"
#include "format/hf_int.h"
#include "format/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char text[] = "The c\xc3\xa1t's 12 [MASK] <|im_end|> \xe6\x97\xa5  e\xcc\x81\n\n.";

static void use(const struct slv_gguf *g) {
    struct slv_tokenizer *t = NULL;
    struct slv_ids ids = {0};
    struct slv_buf out;
    struct slv_err e = {0};
    if (slv_tokenizer_open(g, &t, &e)) {
        if (!e.msg[0]) abort();
        return;
    }
    slv_buf_init(&out, 1 << 20);
    const unsigned flags = SLV_TOKENIZE_SPECIAL | SLV_TOKENIZE_ADD;
    if (!slv_tokenize(t, text, sizeof text - 1, flags, &ids)) {
        for (size_t i = 0; i < ids.n; i++)
            if (ids.v[i] < 0 || (size_t)ids.v[i] >= slv_tokenizer_size(t)) abort();
        if (slv_detokenize(t, ids.v, ids.n, true, false, &out)) { /* a very long piece */
        }
    }
    slv_buf_fini(&out);
    slv_ids_fini(&ids);
    slv_tokenizer_close(t);
}

/* What was written must be read, if it is whole. */
static void read_back(struct slv_gguf_meta *m) {
    struct gguf_made made = {0};
    struct slv_gguf *g = NULL;
    if (slv_gguf_meta_end(m)) return;
    made.meta = (unsigned char *)slv_buf_take(&m->buf, &made.meta_n);
    if (!made.meta || gguf_adopt(&made, &g, NULL)) abort();
    use(g);
    slv_gguf_close(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slv_err e = {0};
    struct hf f = {.folder = "folder", .err = &e};
    if (slv_json_read((const char *)data, size, &f.file[HF_TOKENIZER].doc, &e)) {
        if (!e.msg[0]) abort();
        return 0;
    }
    slv_gguf_meta_init(&f.meta, (size_t)64 << 20);
    if (!hf_tokenizer(&f, 0)) read_back(&f.meta);
    else if (!e.msg[0]) abort();
    slv_gguf_meta_fini(&f.meta);
    slv_json_doc_fini(&f.file[HF_TOKENIZER].doc);
    return 0;
}
