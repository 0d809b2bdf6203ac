/* fuzz_grammar.c: any bytes as a grammar, and a walk along what it takes. What may happen is an
 * error, which says something. What was taken can be gone on with until the text is whole, or a
 * limit is met; a mask has a token unless nothing may follow, and each of its tokens is taken.
 *
 * The first byte chooses the way of the walk; the rest is the grammar, whose vocabulary is that of
 * byte-level BPE in tiny_vocab.h. */
#include "engine/constraint/grammar.h"
#include "engine/constraint/mask.h"
#include "tiny_vocab.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WORDS 64

static struct slv_tokenizer *tokenizer;
static struct slv_lexicon *lexicon;
static struct slv_free_text *free_text;

static void require(bool ok) {
    if (!ok) abort();
}

/* All live as long as the process. */
static void open_vocabulary(void) {
    static struct tiny file;
    static struct slv_gguf *g;
    if (tokenizer) return;
    tiny_vocab(&file, TINY_BPE, NULL);
    tiny_end(&file);
    require(slv_gguf_parse(file.out.data, file.out.len, &g, NULL) == 0);
    require(slv_tokenizer_open(g, &tokenizer, NULL) == 0);
    require(slv_lexicon_open(tokenizer, &lexicon, NULL) == 0);
    require(slv_free_text_open(lexicon, &free_text) == 0 && slv_mask_words(lexicon) <= WORDS);
}

static bool take(struct slv_grammar *g, struct slv_matcher *m, int32_t id) {
    struct slv_buf b;
    if (slv_grammar_names(g, id)) return slv_matcher_feed_token(m, id);
    slv_buf_init(&b, 256);
    require(slv_token_bytes(tokenizer, id, false, false, &b) == 0 && b.len);
    const bool ok = slv_matcher_feed(m, b.data, b.len) == b.len;
    slv_buf_fini(&b);
    return ok;
}

static void walk(struct slv_grammar *g, struct slv_masks *z, struct slv_matcher *m, uint32_t seed) {
    uint64_t bits[WORDS];
    char forced[16];
    size_t n_forced;
    for (int i = 0; i < 50; i++) {
        uint32_t n = 0;
        int32_t id = -1;
        if (slv_mask_next(z, m, bits) || slv_mask_forced(m, forced, sizeof forced, &n_forced))
            return;
        for (size_t k = 0; k < lexicon->n_tokens; k++) {
            if (!(bits[k / 64] >> (k % 64) & 1)) continue;
            seed = seed * 1664525u + 1013904223u;
            if ((seed >> 8) % ++n == 0) id = (int32_t)k;
        }
        require(id >= 0 || slv_matcher_done(m));
        if (id < 0) return;
        if (!take(g, m, id)) {
            require(slv_matcher_status(m) != 0);
            return;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slv_grammar *g;
    struct slv_masks *z;
    struct slv_matcher *m;
    struct slv_err err;
    if (size < 1) return 0;
    open_vocabulary();
    if (slv_grammar_read(tokenizer, (const char *)data + 1, size - 1, &g, &err)) {
        require(err.msg[0]);
        return 0;
    }
    require(slv_masks_open_grammar(free_text, g, &z) == 0);
    const int rc = slv_matcher_open_grammar(g, &m);
    require(!rc || rc == SLV_E_LIMIT);
    if (!rc) {
        walk(g, z, m, data[0]);
        slv_matcher_close(m);
    }
    slv_masks_close(z);
    slv_grammar_free(g);
    return 0;
}
