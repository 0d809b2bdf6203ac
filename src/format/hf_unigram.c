/* hf_unigram.c: SentencePiece's unigram model, as XLM-RoBERTa and the models on it have it.
 * See hf_tok.c.
 *
 * The normalizer's table ("precompiled_charsmap") is base64 in tokenizer.json (RFC 4648). Words are
 * parted by white space (WhitespaceSplit) or by spaces alone, of which any number counts as one,
 * and each begins with U+2581. */
#include "format/hf_int.h"
#include "format/tokenizer.h"

#include <string.h>

#define CHARSMAP_MAX ((size_t)16 << 20)

/* --- the normalizer --------------------------------------------------------------------------- */

static int digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Writes the bytes that s stands for. */
static int put_charsmap(struct hf_vocab *w, struct slv_str s) {
    struct slv_gguf_meta *m = &w->f->meta;
    size_t n = s.n;
    if (n % 4 || n > CHARSMAP_MAX)
        return hf_vocab_bad(w, SLV_E_FORMAT, "the normalizer's table is not base64");
    for (int pads = 0; pads < 2 && n && s.p[n - 1] == '='; pads++)
        n--;
    slv_gguf_put_arr(m, "tokenizer.ggml.precompiled_charsmap", SLV_GGUF_U8, n * 6 / 8);
    uint32_t bits = 0;
    for (size_t i = 0, have = 0; i < n; i++) {
        const int d = digit(s.p[i]);
        if (d < 0) return hf_vocab_bad(w, SLV_E_FORMAT, "the normalizer's table is not base64");
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have < 8) continue;
        have -= 8;
        slv_gguf_put_elem_u8(m, (uint8_t)(bits >> have));
    }
    return 0;
}

/* {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "} */
static bool joins_spaces(struct slv_json_val v) {
    struct slv_str from = {"", 0}, to = {"", 0};
    slv_json_get_str(slv_json_get(slv_json_get(v, "pattern"), "Regex"), &from);
    slv_json_get_str(slv_json_get(v, "content"), &to);
    return hf_is_type(v, "Replace") && slv_str_is(from, " {2,}") && slv_str_is(to, " ");
}

static int put_normalizer(struct hf_vocab *w, struct slv_json_val v, bool *joins, unsigned depth) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    struct slv_str s;
    int rc = 0;
    if (hf_is_nothing(v)) return 0;
    if (joins_spaces(v)) {
        *joins = true;
        return 0;
    }
    if (hf_is_type(v, "Precompiled") && !w->mapped &&
        slv_json_get_str(slv_json_get(v, "precompiled_charsmap"), &s)) {
        w->mapped = true;
        return put_charsmap(w, s);
    }
    if (!hf_is_type(v, "Sequence") || depth)
        return hf_vocab_bad(w, SLV_E_UNSUPPORTED, "Unigram with an unknown normalizer");
    while (!rc && slv_json_each(slv_json_get(v, "normalizers"), &it, NULL, &at))
        rc = put_normalizer(w, at, joins, 1);
    return rc;
}

/* Whether words are parted and marked as they should: Metaspace, or one behind WhitespaceSplit. */
static bool marks_words(struct slv_json_val v, bool *joins) {
    struct slv_json_iter it = {0};
    struct slv_json_val at = v;
    struct slv_str mark = {"", 0}, scheme = {"always", 6};
    size_t n = 0;
    if (hf_is_type(v, "Sequence")) {
        while (slv_json_each(slv_json_get(v, "pretokenizers"), &it, NULL, &at) && n++ < 1)
            if (!hf_is_type(at, "WhitespaceSplit")) return false;
        *joins = true;
    }
    slv_json_get_str(slv_json_get(at, "replacement"), &mark);
    slv_json_get_str(slv_json_get(at, "prepend_scheme"), &scheme);
    return hf_is_type(at, "Metaspace") && slv_str_is(mark, "\xe2\x96\x81") &&
           hf_flag(at, "add_prefix_space", true) && !slv_str_is(scheme, "never") && n != 1;
}

/* --- scores ----------------------------------------------------------------------------------- */

static int put_scores(struct hf_vocab *w) {
    const struct slv_json_val vocab = slv_json_get(w->model, "vocab");
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    uint32_t n = 0;
    slv_gguf_put_arr(&w->f->meta, "tokenizer.ggml.scores", SLV_GGUF_F32, w->n);
    for (; slv_json_each(vocab, &it, NULL, &at); n++) {
        struct slv_json_iter in = {0};
        struct slv_json_val last = {NULL, 0};
        double score;
        while (slv_json_each(at, &in, NULL, &last)) {
        }
        if (slv_json_count(at) != 2 || !slv_json_get_f64(last, &score) || score > 1e30 ||
            score < -1e30)
            return hf_vocab_bad(w, SLV_E_FORMAT, "a piece is not a string and a score");
        slv_gguf_put_elem_f32(&w->f->meta, (float)score);
    }
    for (; n < w->n; n++)
        slv_gguf_put_elem_f32(&w->f->meta, 0.0f);
    return 0;
}

int hf_unigram(struct hf_vocab *w) {
    int64_t unk = -1;
    bool joins = false;
    if (hf_flag(w->model, "byte_fallback", false))
        return hf_vocab_bad(w, SLV_E_UNSUPPORTED, "Unigram with 'byte_fallback'");
    if (!slv_json_get_i64(slv_json_get(w->model, "unk_id"), &unk) || unk < 0 || unk >= w->n)
        return hf_vocab_bad(w, SLV_E_FORMAT, "'unk_id' is no token");
    hf_put_text(w, "tokenizer.ggml.model", "t5");
    int rc = put_normalizer(w, slv_json_get(w->root, "normalizer"), &joins, 0);
    if (rc) return rc;
    if (!marks_words(slv_json_get(w->root, "pre_tokenizer"), &joins) || !joins)
        return hf_vocab_bad(w, SLV_E_UNSUPPORTED, "Unigram with an unknown pre-tokenizer");
    w->v[unk].kind = SLV_TOKEN_UNKNOWN;
    slv_gguf_put_u32(&w->f->meta, "tokenizer.ggml.unknown_token_id", (uint32_t)unk);
    slv_gguf_put_bool(&w->f->meta, "tokenizer.ggml.add_space_prefix", true);
    slv_gguf_put_bool(&w->f->meta, "tokenizer.ggml.remove_extra_whitespaces", true);
    const bool parted = hf_is_type(slv_json_get(w->root, "pre_tokenizer"), "Sequence");
    slv_gguf_put_bool(&w->f->meta, "tokenizer.selvage.any_space", parted);
    slv_gguf_put_bool(&w->f->meta, "tokenizer.selvage.keep_last_space", !parted);
    hf_vocab_put(w, false);
    hf_vocab_put_roles(w);
    return put_scores(w);
}
