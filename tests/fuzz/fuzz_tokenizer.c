/* fuzz_tokenizer.c: any bytes are text for each kind of tokenizer, and any cut is without loss.
 * The first byte chooses: its low three bits the vocabulary, bits 3-4 the flags. For byte-level BPE
 * the ids must give the (repaired) text back; every pre-tokenizer must cut it into the same bytes.
 */
#include "base/mem.h"
#include "base/utf8.h"
#include "format/pretok.h"
#include "format/stream.h"
#include "format/tokenizer.h"
#include "tiny_vocab.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slv_tokenizer *tokenizer_of(unsigned kind) {
    static struct slv_tokenizer *made[TINY_KINDS];
    static struct tiny file[TINY_KINDS];
    static struct slv_gguf *g[TINY_KINDS]; /* all three live as long as the process */
    if (made[kind]) return made[kind];
    tiny_vocab(&file[kind], (enum tiny_kind)kind, NULL);
    tiny_end(&file[kind]);
    if (slv_gguf_parse(file[kind].out.data, file[kind].out.len, &g[kind], NULL)) abort();
    if (slv_tokenizer_open(g[kind], &made[kind], NULL)) abort();
    return made[kind];
}

struct cover {
    const char *at;
};

static int cover_word(void *ctx, const char *s, size_t n) {
    struct cover *c = ctx;
    if (s != c->at || !n) abort();
    c->at += n;
    return 0;
}

static void cut(const char *text, size_t n) {
    const struct slv_pretok *p;
    for (size_t i = 0; (p = slv_pretok_at(i)); i++) {
        struct cover c = {text};
        if (slv_pretok_split(p, text, n, cover_word, &c) || c.at != text + n) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    unsigned kind = data[0] % TINY_KINDS, flags = data[0] >> 3 & 3;
    const struct slv_tokenizer *t = tokenizer_of(kind);
    const char *text = (const char *)data + 1;
    size_t n = size - 1, fixed_n;
    struct slv_ids ids = {0};
    struct slv_buf out;
    char *fixed = slv_mem_alloc(3 * n + 1);
    if (!fixed) abort();
    fixed_n = slv_utf8_repair(text, n, fixed, NULL);
    slv_buf_init(&out, SIZE_MAX / 2);
    if (slv_tokenize(t, text, n, flags, &ids)) abort();
    for (size_t i = 0; i < ids.n; i++)
        if (ids.v[i] < 0 || (size_t)ids.v[i] >= slv_tokenizer_size(t)) abort();
    if (slv_detokenize(t, ids.v, ids.n, true, false, &out)) abort();
    if (!slv_utf8_valid(out.data, out.len, NULL)) abort();
    bool same = out.len == fixed_n && !memcmp(out.data, fixed, fixed_n);
    if (kind == TINY_BPE && !(flags & SLV_TOKENIZE_ADD) && !same) abort();
    cut(fixed, fixed_n);
    slv_buf_fini(&out);
    slv_ids_fini(&ids);
    slv_mem_free(fixed);
    return 0;
}
