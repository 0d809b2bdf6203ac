/* tok_wpm.c: WordPiece (BERT and the embedding models on it).
 *
 * Text is cleaned and cut into words: controls go, white space and Chinese characters separate,
 * punctuation stands alone; with `lowercase`, letters are decomposed (NFD), their accents (Mn)
 * dropped and the rest lower-cased. A word becomes the longest pieces that fit, from the left; a
 * word that cannot be covered, or is longer than 100 characters, is one unknown token.
 *
 * GGUF files store a piece that begins a word with U+2581 before it and a continuation without its
 * "##". Source: Devlin et al., "BERT" (2018), its tokenization.py, and Hugging Face tokenizers'
 * BertNormalizer, which published vocabularies run with (of its details: a control is Cc, Cf or Co
 * and goes even where it is also white space, but for tab, CR and LF). */
#include "base/utf8.h"
#include "format/tok_int.h"
#include "format/uclass.h"

#include <utf8proc.h>

#define MAX_WORD 100u    /* characters; longer words are unknown */
#define MAX_DECOMPOSED 8 /* code points of one code point in NFD; 4 in Unicode 15 */

struct wpm {
    struct slv_tok_work *w;
    size_t chars; /* in w->word */
    int rc;
};

static bool is_chinese(uint32_t cp) {
    static const struct slv_range blocks[] = {
        {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},   {0x20000, 0x2a6df},
        {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        if (cp >= blocks[i].lo && cp <= blocks[i].hi) return true;
    return false;
}

/* The longest piece of the word from `at` on; at 0 the piece must begin with U+2581. */
static int32_t longest(const struct slv_tokenizer *t, const struct slv_buf *word, size_t at,
                       size_t *ret_len) {
    static const char space[] = SLV_TOK_SPACE;
    int32_t best = -1;
    uint32_t node = 0;
    if (at == 0)
        for (size_t i = 0; i < sizeof space - 1; i++)
            if (!(node = slv_trie_step(&t->words, node, (unsigned char)space[i]))) return -1;
    for (size_t i = at; i < word->len; i++) {
        node = slv_trie_step(&t->words, node, (unsigned char)word->data[i]);
        if (!node) break;
        if (t->words.value[node] < 0) continue;
        best = t->words.value[node];
        *ret_len = i + 1 - at;
    }
    return best;
}

static void end_word(struct wpm *m) {
    struct slv_tok_work *w = m->w;
    struct slv_ids *out = w->out;
    size_t before = out->n, len = 0;
    bool known = m->chars <= MAX_WORD;
    if (!m->chars || m->rc) return;
    for (size_t at = 0; known && !m->rc && at < w->word.len; at += len) {
        int32_t id = longest(w->t, &w->word, at, &len);
        known = id >= 0;
        if (known) m->rc = slv_ids_add(out, id);
    }
    if (!known) {
        out->n = before;
        m->rc = slv_ids_add(out, w->t->unk);
    }
    slv_buf_clear(&w->word);
    m->chars = 0;
}

/* One code point of cleaned, normalized text. The word's buffer is not grown past what counts. */
static void put(struct wpm *m, uint32_t cp) {
    uint32_t cls = slv_uclass(cp);
    if (cls & SLV_U_WS) {
        end_word(m);
        return;
    }
    bool alone = (cls & (SLV_U_P | SLV_U_APUNCT)) != 0;
    if (alone) end_word(m);
    if (m->chars <= MAX_WORD) {
        char c[SLV_UTF8_MAX];
        int rc = slv_buf_add(&m->w->word, c, slv_utf8_encode(cp, c));
        if (rc && !m->rc) m->rc = rc;
        m->chars++;
    }
    if (alone) end_word(m);
}

static void put_lower(struct wpm *m, uint32_t cp) {
    if (!m->w->t->lowercase) {
        put(m, cp);
    } else if (cp == 0x130) { /* the one code point whose lower case is two */
        put(m, 'i');
        put(m, 0x307);
    } else {
        put(m, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
    }
}

static void normalize(struct wpm *m, uint32_t cp) {
    utf8proc_int32_t d[MAX_DECOMPOSED];
    int last_class = UTF8PROC_BOUNDCLASS_START;
    if (!m->w->t->strip_accents || cp < 128) {
        put_lower(m, cp);
        return;
    }
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, d, MAX_DECOMPOSED,
                                                 UTF8PROC_DECOMPOSE, &last_class);
    if (n < 1 || n > MAX_DECOMPOSED) {
        put_lower(m, cp);
        return;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++)
        if (!(slv_uclass((uint32_t)d[i]) & SLV_U_MN)) put_lower(m, (uint32_t)d[i]);
}

int slv_tok_wpm(struct slv_tok_work *w, const char *s, size_t n) {
    struct wpm m = {.w = w};
    slv_buf_clear(&w->word);
    for (size_t i = 0; i < n && !m.rc;) {
        uint32_t cp;
        i += slv_utf8_decode(s + i, n - i, &cp);
        uint32_t cls = slv_uclass(cp);
        bool blank = cp == '\t' || cp == '\n' || cp == '\r';
        if (!blank && (cp == 0xfffd || (cls & SLV_U_C))) continue;
        bool alone = is_chinese(cp);
        if (alone) end_word(&m);
        normalize(&m, cp);
        if (alone) end_word(&m);
    }
    end_word(&m);
    return m.rc;
}
