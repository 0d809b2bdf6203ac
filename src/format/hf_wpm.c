/* hf_wpm.c: WordPiece behind BERT's normalizer and cutter, from tokenizer.json or from vocab.txt.
 * See hf_tok.c. */
#include "format/hf_int.h"
#include "format/tokenizer.h"

#include <string.h>

static int put_word_piece(struct hf_vocab *w, bool lowercase, bool strip_accents,
                          uint32_t unknown) {
    struct slv_gguf_meta *m = &w->f->meta;
    const uint32_t pad = hf_vocab_role(w, "pad_token");
    if (w->before == HF_NO_TOKEN || w->after == HF_NO_TOKEN)
        return hf_vocab_bad(w, SLV_E_UNSUPPORTED,
                            "texts without a token before and one behind them");
    if (unknown == HF_NO_TOKEN)
        return hf_vocab_bad(w, SLV_E_FORMAT, "the unknown token is no piece");
    hf_put_text(w, "tokenizer.ggml.model", "bert");
    hf_vocab_put(w, true);
    slv_gguf_put_u32(m, "tokenizer.ggml.bos_token_id", w->before);
    slv_gguf_put_u32(m, "tokenizer.ggml.eos_token_id", w->after);
    slv_gguf_put_u32(m, "tokenizer.ggml.seperator_token_id", w->after);
    slv_gguf_put_u32(m, "tokenizer.ggml.unknown_token_id", unknown);
    if (pad != HF_NO_TOKEN) slv_gguf_put_u32(m, "tokenizer.ggml.padding_token_id", pad);
    slv_gguf_put_bool(m, "tokenizer.ggml.normalizer.lowercase", lowercase);
    slv_gguf_put_bool(m, "tokenizer.ggml.normalizer.strip_accents", strip_accents);
    return 0;
}

int hf_word_piece(struct hf_vocab *w) {
    const struct slv_json_val norm = slv_json_get(w->root, "normalizer");
    struct slv_str prefix = {"##", 2}, unknown = {"[UNK]", 5};
    int64_t longest = 100;
    if (!hf_is_type(norm, "BertNormalizer") || !hf_flag(norm, "clean_text", true) ||
        !hf_flag(norm, "handle_chinese_chars", true))
        return hf_vocab_bad(w, SLV_E_UNSUPPORTED, "WordPiece with another normalizer than BERT's");
    if (!hf_is_type(slv_json_get(w->root, "pre_tokenizer"), "BertPreTokenizer"))
        return hf_vocab_bad(w, SLV_E_UNSUPPORTED,
                            "WordPiece with another pre-tokenizer than BERT's");
    slv_json_get_str(slv_json_get(w->model, "continuing_subword_prefix"), &prefix);
    slv_json_get_i64(slv_json_get(w->model, "max_input_chars_per_word"), &longest);
    slv_json_get_str(slv_json_get(w->model, "unk_token"), &unknown);
    if (!slv_str_is(prefix, "##") || longest != 100)
        return hf_vocab_bad(w, SLV_E_UNSUPPORTED,
                            "WordPiece with another prefix or length of words");
    const bool lowercase = hf_flag(norm, "lowercase", true);
    return put_word_piece(w, lowercase, hf_flag(norm, "strip_accents", lowercase),
                          hf_vocab_find(w, unknown));
}

/* vocab.txt: a piece a line, with what tokenizer_config.json says of it. */
static int read_lines(struct hf_vocab *w, uint32_t n_vocab) {
    const char *p = w->text.data, *end = p + w->text.len;
    int64_t n = 0;
    for (const char *q = p; q < end && (q = memchr(q, '\n', (size_t)(end - q))); q++)
        n++;
    if (w->text.len && end[-1] != '\n') n++;
    int rc = hf_vocab_room(w, n - 1, n_vocab);
    for (int64_t id = 0; id < n && !rc; id++) {
        const char *q = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((q ? q : end) - p);
        const char *next = p + len + 1;
        if (len && p[len - 1] == '\r') len--;
        rc = hf_vocab_set(w, id, (struct slv_str){p, len}, SLV_TOKEN_NORMAL);
        p = next;
    }
    return rc;
}

int hf_word_piece_lines(struct hf_vocab *w, uint32_t n_vocab) {
    static const struct {
        const char *role;
        struct slv_str text;
    } roles[] = {{"unk_token", {"[UNK]", 5}},
                 {"cls_token", {"[CLS]", 5}},
                 {"sep_token", {"[SEP]", 5}},
                 {"pad_token", {"[PAD]", 5}},
                 {"mask_token", {"[MASK]", 6}}};
    const struct slv_json_val config = hf_root(w->f, HF_TOKENIZER_CONFIG);
    uint32_t id[sizeof roles / sizeof roles[0]];
    int rc = read_lines(w, n_vocab);
    for (size_t i = 0; i < sizeof roles / sizeof roles[0] && !rc; i++) {
        id[i] = hf_vocab_role(w, roles[i].role);
        if (id[i] == HF_NO_TOKEN) id[i] = hf_vocab_find(w, roles[i].text);
        if (id[i] != HF_NO_TOKEN) w->v[id[i]].kind = SLV_TOKEN_CONTROL;
    }
    if (rc) return rc;
    w->before = id[1];
    w->after = id[2];
    if (!hf_flag(config, "tokenize_chinese_chars", true) ||
        !hf_flag(config, "do_basic_tokenize", true))
        return hf_vocab_bad(w, SLV_E_UNSUPPORTED, "WordPiece with another cutter than BERT's");
    const bool lowercase = hf_flag(config, "do_lower_case", true);
    return put_word_piece(w, lowercase, hf_flag(config, "strip_accents", lowercase), id[0]);
}
