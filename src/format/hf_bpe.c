/* hf_bpe.c: byte-level BPE behind a pre-tokenizer of pretok_table.c, and SentencePiece's BPE with
 * byte fallback. See hf_tok.c.
 *
 * SentencePiece's is written with scores, as GGUF files have it: a piece is worth more the sooner
 * its first merge comes. tokenizer.json has the merges that were made of such scores. */
#define _GNU_SOURCE /* qsort_r */
#include "base/mem.h"
#include "format/hf_int.h"
#include "format/pretok.h"
#include "format/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- byte level ------------------------------------------------------------------------------- */

/* The regular expression of {"type": "Split"} that leaves matches as pieces of their own. */
static bool split_regex(struct slv_json_val v, struct slv_str *ret) {
    struct slv_str behavior = {"", 0};
    slv_json_get_str(slv_json_get(v, "behavior"), &behavior);
    return hf_is_type(v, "Split") && slv_str_is(behavior, "Isolated") &&
           !hf_flag(v, "invert", false) &&
           slv_json_get_str(slv_json_get(slv_json_get(v, "pattern"), "Regex"), ret);
}

/* The row of pretok_table.c that a pre-tokenizer is: a ByteLevel, and what comes before it. */
static const char *pretok_of(struct slv_json_val v) {
    struct slv_json_val part[2] = {v, {NULL, 0}}, at;
    struct slv_json_iter it = {0};
    struct slv_str regex;
    size_t n = 1;
    if (hf_is_type(v, "Sequence"))
        for (n = 0; slv_json_each(slv_json_get(v, "pretokenizers"), &it, NULL, &at); n++) {
            if (n == 2) return NULL;
            part[n] = at;
        }
    const struct slv_json_val last = part[n ? n - 1 : 0];
    if (!n || !hf_is_type(last, "ByteLevel") || hf_flag(last, "add_prefix_space", true))
        return NULL;
    const bool own = hf_flag(last, "use_regex", true);
    if (n == 1) return own ? "gpt-2" : NULL;
    if (own)
        return hf_is_type(part[0], "Digits") && hf_flag(part[0], "individual_digits", false)
                   ? "smollm"
                   : NULL;
    return split_regex(part[0], &regex) ? hf_pretok_name(regex) : NULL;
}

/* A merge is "left right" or ["left", "right"]; written as the first. */
static int put_merges(struct hf_vocab *w) {
    const struct slv_json_val merges = slv_json_get(w->model, "merges");
    struct slv_gguf_meta *m = &w->f->meta;
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    slv_gguf_put_arr(m, "tokenizer.ggml.merges", SLV_GGUF_STR, slv_json_count(merges));
    while (slv_json_each(merges, &it, NULL, &at)) {
        struct slv_json_iter in = {0};
        struct slv_json_val left, right;
        struct slv_str a, b;
        if (slv_json_get_str(at, &a)) {
            slv_gguf_put_elem_str(m, a.p, a.n, "", 0);
            continue;
        }
        if (slv_json_count(at) != 2 || !slv_json_each(at, &in, NULL, &left) ||
            !slv_json_each(at, &in, NULL, &right) || !slv_json_get_str(left, &a) ||
            !slv_json_get_str(right, &b) || memchr(a.p, ' ', a.n) || memchr(b.p, ' ', b.n))
            return hf_vocab_bad(w, SLV_E_FORMAT, "a merge is not two pieces");
        char joined[512];
        if (a.n >= sizeof joined)
            return hf_vocab_bad(w, SLV_E_LIMIT, "a merge of a very long piece");
        memcpy(joined, a.p, a.n);
        joined[a.n] = ' ';
        slv_gguf_put_elem_str(m, joined, a.n + 1, b.p, b.n);
    }
    return 0;
}

static int byte_level(struct hf_vocab *w) {
    const struct slv_json_val norm = slv_json_get(w->root, "normalizer");
    const char *pre = pretok_of(slv_json_get(w->root, "pre_tokenizer"));
    if (!pre) return hf_vocab_bad(w, SLV_E_UNSUPPORTED, "a pre-tokenizer that is not known");
    if (!hf_is_nothing(norm) && !hf_is_type(norm, "NFC"))
        return hf_vocab_bad(w, SLV_E_UNSUPPORTED, "BPE with a normalizer other than NFC");
    const struct slv_pretok *row = slv_pretok_find((struct slv_str){pre, strlen(pre)});
    const bool whole = row && (row->flags & SLV_PRETOK_WHOLE);
    if (hf_flag(w->model, "ignore_merges", false) != whole)
        return hf_vocab_bad(w, SLV_E_UNSUPPORTED, "BPE with another 'ignore_merges'");
    hf_put_text(w, "tokenizer.ggml.model", "gpt2");
    hf_put_text(w, "tokenizer.ggml.pre", pre);
    slv_gguf_put_bool(&w->f->meta, "tokenizer.selvage.nfc", hf_is_type(norm, "NFC"));
    hf_vocab_put(w, false);
    hf_vocab_put_roles(w);
    return put_merges(w);
}

/* --- SentencePiece ---------------------------------------------------------------------------- */

#define NO_SCORE 1.0f      /* no merge makes it, so far */
#define NEVER_MADE (-1e7f) /* of pieces that no merge makes */

static bool is_space(struct slv_json_val v, const char *name) {
    struct slv_str s;
    return slv_json_get_str(slv_json_get(v, name), &s) && slv_str_is(s, "\xe2\x96\x81");
}

/* What the normalizer or the pre-tokenizer does: every space becomes U+2581, and one is put in
 * front of the text, or not. */
static bool spaces_are_marked(const struct hf_vocab *w, bool *ret_prefix) {
    const struct slv_json_val norm = slv_json_get(w->root, "normalizer");
    const struct slv_json_val pre = slv_json_get(w->root, "pre_tokenizer");
    struct slv_str scheme = {"always", 6}, from = {"", 0};
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    bool prefix = false, marked = false;
    if (hf_is_nothing(norm) && hf_is_type(pre, "Metaspace")) {
        slv_json_get_str(slv_json_get(pre, "prepend_scheme"), &scheme);
        *ret_prefix = !slv_str_is(scheme, "never");
        return is_space(pre, "replacement") && !hf_flag(pre, "split", true);
    }
    if (!hf_is_nothing(pre) || !hf_is_type(norm, "Sequence")) return false;
    while (slv_json_each(slv_json_get(norm, "normalizers"), &it, NULL, &at)) {
        slv_json_get_str(slv_json_get(slv_json_get(at, "pattern"), "String"), &from);
        if (hf_is_type(at, "Prepend") && is_space(at, "prepend") && !marked) prefix = true;
        else if (hf_is_type(at, "Replace") && slv_str_is(from, " ") && is_space(at, "content"))
            marked = true;
        else return false;
    }
    *ret_prefix = prefix;
    return marked;
}

/* Pieces in order of their bytes, to be found among. */
struct sorted {
    const struct hf_piece *v;
    uint32_t *order;
};

static int by_text(const void *a, const void *b, void *v) {
    const struct hf_piece *p = v;
    return slv_str_compare(p[*(const uint32_t *)a].text, p[*(const uint32_t *)b].text);
}

static uint32_t look(const struct sorted *s, uint32_t n, struct slv_str text) {
    uint32_t lo = 0, hi = n;
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        const int c = slv_str_compare(s->v[s->order[mid]].text, text);
        if (!c) return s->order[mid];
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return HF_NO_TOKEN;
}

/* The text of what a merge makes, its space left out. */
static bool merged(struct slv_json_val v, char *out, size_t room, struct slv_str *ret) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    struct slv_str s;
    size_t n = 0;
    if (slv_json_get_str(v, &s)) {
        const char *sp = s.n > 2 ? memchr(s.p + 1, ' ', s.n - 1) : NULL;
        if (!sp || s.n > room) return false;
        const size_t left = (size_t)(sp - s.p);
        memcpy(out, s.p, left);
        memcpy(out + left, sp + 1, s.n - left - 1);
        *ret = (struct slv_str){out, s.n - 1};
        return true;
    }
    while (slv_json_each(v, &it, NULL, &at)) {
        if (!slv_json_get_str(at, &s) || s.n > room - n) return false;
        memcpy(out + n, s.p, s.n);
        n += s.n;
    }
    *ret = (struct slv_str){out, n};
    return n > 0;
}

static int fill_scores(struct hf_vocab *w, const struct sorted *s, uint32_t n, float *score) {
    const struct slv_json_val merges = slv_json_get(w->model, "merges");
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    char text[512];
    for (uint32_t i = 0; i < w->n; i++)
        score[i] = NO_SCORE;
    for (uint32_t rank = 0; slv_json_each(merges, &it, NULL, &at); rank++) {
        struct slv_str made;
        if (!merged(at, text, sizeof text, &made))
            return hf_vocab_bad(w, SLV_E_FORMAT, "a merge is not two pieces");
        const uint32_t id = look(s, n, made);
        if (id == HF_NO_TOKEN)
            return hf_vocab_bad(w, SLV_E_FORMAT, "what a merge makes is not in the vocabulary");
        if (score[id] == NO_SCORE) score[id] = -(float)rank;
    }
    for (uint32_t i = 0; i < w->n; i++)
        if (score[i] == NO_SCORE) score[i] = NEVER_MADE;
    return 0;
}

static int put_scores(struct hf_vocab *w) {
    struct sorted s = {.v = w->v, .order = slv_mem_calloc(w->n, sizeof *s.order)};
    float *score = slv_mem_calloc(w->n, sizeof *score);
    uint32_t n = 0;
    int rc = s.order && score ? 0 : hf_vocab_bad(w, SLV_E_NOMEM, "out of memory");
    for (uint32_t i = 0; i < w->n && !rc; i++)
        if (w->v[i].text.p) s.order[n++] = i;
    if (!rc) {
        qsort_r(s.order, n, sizeof *s.order, by_text, w->v);
        rc = fill_scores(w, &s, n, score);
    }
    if (!rc) {
        slv_gguf_put_arr(&w->f->meta, "tokenizer.ggml.scores", SLV_GGUF_F32, w->n);
        for (uint32_t i = 0; i < w->n; i++)
            slv_gguf_put_elem_f32(&w->f->meta, score[i]);
    }
    slv_mem_free(s.order);
    slv_mem_free(score);
    return rc;
}

static bool is_byte(struct slv_str s) {
    return s.n == 6 && !memcmp(s.p, "<0x", 3) && s.p[5] == '>' &&
           strspn(s.p + 3, "0123456789ABCDEF") >= 2;
}

static int sentence_piece(struct hf_vocab *w) {
    struct slv_str unknown = {"<unk>", 5};
    bool prefix = false;
    if (!spaces_are_marked(w, &prefix))
        return hf_vocab_bad(w, SLV_E_UNSUPPORTED,
                            "BPE with byte fallback and spaces that are not marked as usual");
    slv_json_get_str(slv_json_get(w->model, "unk_token"), &unknown);
    for (uint32_t i = 0; i < w->n; i++)
        if (w->v[i].text.p && is_byte(w->v[i].text)) w->v[i].kind = SLV_TOKEN_BYTE;
    const uint32_t unk = hf_vocab_find(w, unknown);
    if (unk == HF_NO_TOKEN) return hf_vocab_bad(w, SLV_E_FORMAT, "the unknown token is no piece");
    w->v[unk].kind = SLV_TOKEN_UNKNOWN;
    hf_put_text(w, "tokenizer.ggml.model", "llama");
    slv_gguf_put_u32(&w->f->meta, "tokenizer.ggml.unknown_token_id", unk);
    slv_gguf_put_bool(&w->f->meta, "tokenizer.ggml.add_space_prefix", prefix);
    hf_vocab_put(w, false);
    hf_vocab_put_roles(w);
    return put_scores(w);
}

/* --- either ----------------------------------------------------------------------------------- */

int hf_bpe(struct hf_vocab *w) {
    static const char *const absent[] = {"dropout", "continuing_subword_prefix",
                                         "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        struct slv_str s = {"x", 1};
        const struct slv_json_val v = slv_json_get(w->model, absent[i]);
        slv_json_get_str(v, &s);
        if (!hf_is_nothing(v) && s.n) return hf_vocab_bad(w, SLV_E_UNSUPPORTED, absent[i]);
    }
    if (slv_json_kind(slv_json_get(w->model, "merges")) != SLV_JSON_ARRAY)
        return hf_vocab_bad(w, SLV_E_FORMAT, "it has no merges");
    return hf_flag(w->model, "byte_fallback", false) ? sentence_piece(w) : byte_level(w);
}
