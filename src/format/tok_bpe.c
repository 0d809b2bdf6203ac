/* tok_bpe.c: byte-level BPE (GPT-2 and nearly everything since), and BPE over UTF-8 with byte
 * fallback (Gemma 4), which differs in what a word's first stretches are.
 *
 * Sources: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019) and its
 * encoder; Hugging Face tokenizers' BPE model for `ignore_merges` and ties. */
#include "base/mem.h"
#include "base/utf8.h"
#include "format/tok_int.h"

#include <string.h>
#include <utf8proc.h>

static bool bpe_pair(const struct slv_tokenizer *t, const char *s, const struct slv_sym *left,
                     const struct slv_sym *right, uint32_t *ret_rank, int32_t *ret_id) {
    (void)s;
    const struct slv_tok_merge_row *m = slv_tok_merge_find(t, left->id, right->id);
    if (!m) return false;
    *ret_rank = m->rank;
    *ret_id = m->id;
    return true;
}

/* The piece that is the whole word, or -1. */
static int32_t whole_word(struct slv_tok_work *w, const char *s, size_t n) {
    const struct slv_tokenizer *t = w->t;
    int32_t id;
    if (n > t->max_piece) return -1;
    if (t->raw) {
        id = slv_tokenizer_find(t, s, n);
    } else {
        slv_buf_clear(&w->word);
        for (size_t i = 0; i < n; i++) {
            char c[SLV_UTF8_MAX];
            slv_buf_add(&w->word, c, slv_utf8_encode(slv_tok_byte_char((unsigned char)s[i]), c));
        }
        if (w->word.status) return -1;
        id = slv_tokenizer_find(t, w->word.data, w->word.len);
    }
    return id >= 0 && (t->attr[id] & SLV_TOK_TEXT) ? id : -1;
}

static bool all_newlines(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] != '\n') return false;
    return true;
}

/* A byte the vocabulary does not have is left out before anything merges, so that its neighbours
 * may, as in the reference; only a vocabulary that was cut down lacks one. */
static int first_stretches(struct slv_tok_work *w, const char *s, size_t n) {
    const struct slv_tokenizer *t = w->t;
    int rc = 0;
    w->n_sym = 0;
    for (size_t i = 0, len = 1; !rc && i < n; i += len) {
        int32_t id = t->byte_id[(unsigned char)s[i]];
        if (t->raw) {
            uint32_t cp;
            len = slv_utf8_decode(s + i, n - i, &cp);
            id = slv_tokenizer_find(t, s + i, len);
            if (id >= 0 && !(t->attr[id] & SLV_TOK_TEXT)) id = -1;
        }
        if (id >= 0 || t->raw) rc = slv_tok_sym_add(w, i, len, id);
    }
    return rc;
}

static int emit(struct slv_tok_work *w, const char *s) {
    int rc = 0;
    for (int32_t i = w->n_sym ? 0 : -1; !rc && i >= 0; i = w->sym[i].next) {
        const struct slv_sym *sym = w->sym + i;
        if (sym->id >= 0) rc = slv_ids_add(w->out, sym->id);
        else if (w->t->raw) rc = slv_tok_fall_back(w, s + sym->at, sym->len);
    }
    return rc;
}

static int bpe_word(void *ctx, const char *s, size_t n) {
    struct slv_tok_work *w = ctx;
    bool whole = (w->t->pretok->flags & SLV_PRETOK_WHOLE) || (w->t->raw && all_newlines(s, n));
    if (whole) {
        int32_t id = whole_word(w, s, n);
        if (id >= 0) return slv_ids_add(w->out, id);
        if (w->word.status) return w->word.status;
    }
    int rc = first_stretches(w, s, n);
    if (!rc) rc = slv_tok_merge_all(w, s, bpe_pair);
    return rc ? rc : emit(w, s);
}

/* Below U+0300 every text is composed, and no such character has a byte from 0xcc on. */
static bool is_composed(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] >= 0xcc) return false;
    return true;
}

/* s in Unicode's form C into w->text. */
static int compose(struct slv_tok_work *w, const char *s, size_t n) {
    const utf8proc_uint8_t *from = (const utf8proc_uint8_t *)s;
    const utf8proc_option_t how = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    utf8proc_ssize_t len = utf8proc_decompose(from, (utf8proc_ssize_t)n, NULL, 0, how);
    if (len < 0) return SLV_E_LIMIT;
    utf8proc_int32_t *cp = slv_mem_alloc((size_t)len * sizeof *cp);
    if (!cp) return SLV_E_NOMEM;
    utf8proc_decompose(from, (utf8proc_ssize_t)n, cp, len, how);
    len = utf8proc_normalize_utf32(cp, len, how);
    slv_buf_clear(&w->text);
    for (utf8proc_ssize_t i = 0; i < len; i++) {
        char c[SLV_UTF8_MAX];
        slv_buf_add(&w->text, c, slv_utf8_encode((uint32_t)cp[i], c));
    }
    slv_mem_free(cp);
    return w->text.status;
}

int slv_tok_bpe(struct slv_tok_work *w, const char *s, size_t n) {
    if (w->t->nfc && !is_composed(s, n)) {
        int rc = compose(w, s, n);
        if (rc) return rc;
        s = w->text.data;
        n = w->text.len;
    }
    if (w->t->raw) {
        slv_buf_clear(&w->text);
        int rc = slv_tok_escape_spaces(&w->text, s, n);
        if (rc) return rc;
        s = w->text.data;
        n = w->text.len;
    }
    return slv_pretok_split(w->t->pretok, s, n, bpe_word, w);
}
