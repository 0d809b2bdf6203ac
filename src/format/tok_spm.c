/* tok_spm.c: SentencePiece's BPE (Llama 2, Mistral, Gemma 1-3, Phi-3): the whole text is one word;
 * neighbours merge if together they are a piece, the piece with the highest score first.
 *
 * As in SentencePiece, control, unknown and byte pieces are no merge results: "</s>" typed by a
 * user stays text. Characters without a piece become their UTF-8 bytes' tokens.
 *
 * Sources: Kudo and Richardson, "SentencePiece" (2018); sentencepiece's bpe_model.cc. */
#include "base/utf8.h"
#include "format/tok_int.h"

#include <string.h>

int slv_tok_escape_spaces(struct slv_buf *b, const char *s, size_t n) {
    while (n) {
        const char *sp = memchr(s, ' ', n);
        size_t len = sp ? (size_t)(sp - s) : n;
        slv_buf_add(b, s, len);
        if (sp) {
            slv_buf_adds(b, SLV_TOK_SPACE);
            len++;
        }
        s += len;
        n -= len;
    }
    return b->status;
}

int slv_tok_fall_back(struct slv_tok_work *w, const char *s, size_t n) {
    const struct slv_tokenizer *t = w->t;
    bool have = true;
    int rc = 0;
    for (size_t i = 0; i < n; i++)
        have = have && t->byte_id[(unsigned char)s[i]] >= 0;
    if (!have) return t->unk >= 0 ? slv_ids_add(w->out, t->unk) : 0;
    for (size_t i = 0; !rc && i < n; i++)
        rc = slv_ids_add(w->out, t->byte_id[(unsigned char)s[i]]);
    return rc;
}

/* Floats in descending order as ascending integers. */
static uint32_t rank_of(float score) {
    uint32_t bits;
    float f = score == 0.0f ? 0.0f : score; /* -0 and 0 are equal */
    memcpy(&bits, &f, sizeof bits);
    return bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
}

static int32_t text_piece(const struct slv_tokenizer *t, const char *s, size_t n) {
    int32_t id = slv_tokenizer_find(t, s, n);
    return id >= 0 && (t->attr[id] & SLV_TOK_TEXT) ? id : -1;
}

static bool spm_pair(const struct slv_tokenizer *t, const char *s, const struct slv_sym *left,
                     const struct slv_sym *right, uint32_t *ret_rank, int32_t *ret_id) {
    size_t n = (size_t)left->len + right->len;
    int32_t id = n > t->max_piece ? -1 : text_piece(t, s + left->at, n);
    if (id < 0) return false;
    *ret_rank = rank_of(t->score[id]);
    *ret_id = id;
    return true;
}

int slv_tok_spm(struct slv_tok_work *w, const char *s, size_t n) {
    int rc = 0;
    slv_buf_clear(&w->text);
    if (w->t->add_space) slv_buf_adds(&w->text, SLV_TOK_SPACE);
    if ((rc = slv_tok_escape_spaces(&w->text, s, n))) return rc;
    s = w->text.data;
    n = w->text.len;
    w->n_sym = 0;
    for (size_t i = 0, len; !rc && i < n; i += len) {
        uint32_t cp;
        len = slv_utf8_decode(s + i, n - i, &cp);
        rc = slv_tok_sym_add(w, i, len, text_piece(w->t, s + i, len));
    }
    if (!rc) rc = slv_tok_merge_all(w, s, spm_pair);
    for (int32_t i = 0; !rc && i >= 0; i = w->sym[i].next) {
        const struct slv_sym *sym = w->sym + i;
        rc = sym->id >= 0 ? slv_ids_add(w->out, sym->id)
                          : slv_tok_fall_back(w, s + sym->at, sym->len);
    }
    return rc;
}
