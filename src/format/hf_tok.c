/* hf_tok.c: tokenizer.json (Hugging Face's tokenizers) or vocab.txt -> tokenizer.ggml.* keys.
 *
 * What tokenizer.c can do has a shape here, one file a kind (hf_wpm.c, hf_bpe.c, hf_unigram.c);
 * at most one token before a text and one behind it. Anything else in the file is refused by name,
 * never guessed.
 *
 * Pieces of WordPiece are written as GGUF files have them: U+2581 before one that begins a word,
 * no "##" before one that does not. An id without a piece, up to the size the model says, is an
 * unused token "[PADid]". Some keys are this project's own, because GGUF has none for what they
 * say: tokenizer.selvage.strip (a byte a token: 1, white space before it belongs to it; 2, behind
 * it), .nfc, .any_space and .keep_last_space (tok_int.h), and .between (tokens between the two of a
 * pair).
 *
 * Source: the files as tokenizers 0.20 writes them, its documentation, and BERT's vocab.txt.
 */
#include "base/mem.h"
#include "format/hf_int.h"
#include "format/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define VOCAB_MAX (1u << 22)
#define VOCAB_TEXT_MAX ((size_t)64 << 20)

int hf_vocab_bad(const struct hf_vocab *w, int code, const char *what) {
    return hf_fail(w->f, w->file, code, "%s", what);
}

bool hf_is_type(struct slv_json_val v, const char *type) {
    struct slv_str s;
    return slv_json_get_str(slv_json_get(v, "type"), &s) && slv_str_is(s, type);
}

bool hf_is_nothing(struct slv_json_val v) {
    const enum slv_json_kind kind = slv_json_kind(v);
    return kind == SLV_JSON_NONE || kind == SLV_JSON_NULL;
}

bool hf_flag(struct slv_json_val v, const char *name, bool missing) {
    bool b = missing;
    slv_json_get_bool(slv_json_get(v, name), &b);
    return b;
}

/* --- pieces ----------------------------------------------------------------------------------- */

int hf_vocab_set(struct hf_vocab *w, int64_t id, struct slv_str text, uint8_t kind) {
    if (id < 0 || id >= w->n)
        return hf_fail(w->f, w->file, SLV_E_FORMAT,
                       "token '%.*s' has the id %" PRId64 ", outside a vocabulary of %u",
                       text.n > 64 ? 64 : (int)text.n, text.p, id, w->n);
    w->v[id].text = text;
    w->v[id].kind = kind;
    return 0;
}

/* The largest id of an object of ids, or of a list of objects that have one; -1: none. */
static int64_t largest(struct slv_json_val v) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    int64_t most = -1, id;
    while (slv_json_each(v, &it, NULL, &at))
        if ((slv_json_get_i64(at, &id) || slv_json_get_i64(slv_json_get(at, "id"), &id)) &&
            id > most)
            most = id;
    return most;
}

int hf_vocab_room(struct hf_vocab *w, int64_t most, uint32_t n_vocab) {
    w->n = n_vocab ? n_vocab : (uint32_t)(most + 1);
    if (most >= VOCAB_MAX || w->n > VOCAB_MAX || !w->n)
        return hf_fail(w->f, w->file, SLV_E_LIMIT, "a vocabulary of %" PRId64 " pieces; 1 to %u",
                       n_vocab ? (int64_t)n_vocab : most + 1, VOCAB_MAX);
    w->v = slv_mem_calloc(w->n, sizeof *w->v);
    return w->v ? 0 : hf_vocab_bad(w, SLV_E_NOMEM, "out of memory");
}

/* [["piece", score], ...]: an id is its place. */
static int read_list(struct hf_vocab *w, struct slv_json_val v, int64_t added, uint32_t n_vocab) {
    const int64_t n = (int64_t)slv_json_count(v);
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    int rc = hf_vocab_room(w, n - 1 > added ? n - 1 : added, n_vocab);
    for (int64_t id = 0; !rc && slv_json_each(v, &it, NULL, &at); id++) {
        struct slv_json_iter in = {0};
        struct slv_json_val piece;
        struct slv_str text;
        if (!slv_json_each(at, &in, NULL, &piece) || !slv_json_get_str(piece, &text))
            return hf_vocab_bad(w, SLV_E_FORMAT, "a piece is not a string and a score");
        rc = hf_vocab_set(w, id, text, SLV_TOKEN_NORMAL);
    }
    return rc;
}

static int read_vocab(struct hf_vocab *w, uint32_t n_vocab) {
    const struct slv_json_val v = slv_json_get(w->model, "vocab");
    const int64_t a = largest(v), b = largest(slv_json_get(w->root, "added_tokens"));
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    struct slv_str text;
    if (slv_json_kind(v) == SLV_JSON_ARRAY) return read_list(w, v, b, n_vocab);
    if (slv_json_kind(v) != SLV_JSON_OBJECT)
        return hf_vocab_bad(w, SLV_E_FORMAT, "it has no vocabulary");
    int rc = hf_vocab_room(w, a > b ? a : b, n_vocab);
    while (!rc && slv_json_each(v, &it, &text, &at)) {
        int64_t id;
        if (!slv_json_get_i64(at, &id))
            return hf_vocab_bad(w, SLV_E_FORMAT, "an id is not a number");
        if (id >= 0 && id < w->n && w->v[id].text.p)
            return hf_fail(w->f, w->file, SLV_E_FORMAT, "two pieces have the id %" PRId64, id);
        rc = hf_vocab_set(w, id, text, SLV_TOKEN_NORMAL);
    }
    return rc;
}

static int read_added(struct hf_vocab *w) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    int rc = 0;
    while (!rc && slv_json_each(slv_json_get(w->root, "added_tokens"), &it, NULL, &at)) {
        struct slv_str text;
        int64_t id;
        if (!slv_json_get_str(slv_json_get(at, "content"), &text) ||
            !slv_json_get_i64(slv_json_get(at, "id"), &id))
            return hf_vocab_bad(w, SLV_E_FORMAT, "an added token has no content or no id");
        if (hf_flag(at, "single_word", false))
            return hf_vocab_bad(w, SLV_E_UNSUPPORTED, "an added token with 'single_word'");
        rc = hf_vocab_set(w, id, text,
                          hf_flag(at, "special", false) ? SLV_TOKEN_CONTROL : SLV_TOKEN_USER);
        if (rc) return rc;
        w->v[id].strip =
            (uint8_t)(hf_flag(at, "lstrip", false) | hf_flag(at, "rstrip", false) << 1);
        w->strips = w->strips || w->v[id].strip;
    }
    return rc;
}

uint32_t hf_vocab_find(const struct hf_vocab *w, struct slv_str text) {
    for (uint32_t i = 0; i < w->n; i++)
        if (w->v[i].text.n == text.n && w->v[i].text.p && !memcmp(w->v[i].text.p, text.p, text.n))
            return i;
    return HF_NO_TOKEN;
}

/* The token that a file calls `role`, "eos_token": a string, or an object with its content. */
uint32_t hf_vocab_role(const struct hf_vocab *w, const char *role) {
    static const enum hf_file files[] = {HF_TOKENIZER_CONFIG, HF_SPECIAL_TOKENS};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const struct slv_json_val v = slv_json_get(hf_root(w->f, files[i]), role);
        struct slv_str text;
        if (slv_json_get_str(v, &text) || slv_json_get_str(slv_json_get(v, "content"), &text))
            return hf_vocab_find(w, text);
    }
    return HF_NO_TOKEN;
}

/* --- tokens around a text --------------------------------------------------------------------- */

static int too_many(const struct hf_vocab *w) {
    return hf_vocab_bad(w, SLV_E_UNSUPPORTED, "more than one token before or behind a text");
}

/* {"single": [{"SpecialToken": {"id": "[CLS]"}}, {"Sequence": {"id": "A"}}, ...]} */
static int read_single(struct hf_vocab *w, struct slv_json_val single) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    bool behind = false;
    while (slv_json_each(single, &it, NULL, &at)) {
        struct slv_str text;
        uint32_t *to = behind ? &w->after : &w->before;
        if (!slv_json_get_str(slv_json_get(slv_json_get(at, "SpecialToken"), "id"), &text)) {
            if (behind)
                return hf_vocab_bad(w, SLV_E_UNSUPPORTED, "a template of more than one text");
            behind = true;
            continue;
        }
        if (*to != HF_NO_TOKEN) return too_many(w);
        *to = hf_vocab_find(w, text);
        if (*to == HF_NO_TOKEN)
            return hf_vocab_bad(w, SLV_E_FORMAT, "a token of the template is no piece");
    }
    return 0;
}

/* How many tokens stand between the two texts of {"pair": [...]}; each must be the one behind. */
static int read_pair_template(struct hf_vocab *w, struct slv_json_val pair) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    size_t texts = 0;
    uint32_t between = 0;
    while (slv_json_each(pair, &it, NULL, &at)) {
        struct slv_str text;
        if (!slv_json_get_str(slv_json_get(slv_json_get(at, "SpecialToken"), "id"), &text)) texts++;
        else if (texts == 1 && hf_vocab_find(w, text) == w->after) between++;
        else if (texts == 1) return 0; /* pairs of a make that nobody has asked for */
    }
    if (texts == 2) w->between = between;
    return 0;
}

/* ["[SEP]", 102] */
static uint32_t read_pair(const struct hf_vocab *w, struct slv_json_val v) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    struct slv_str text;
    return slv_json_each(v, &it, NULL, &at) && slv_json_get_str(at, &text) ? hf_vocab_find(w, text)
                                                                           : HF_NO_TOKEN;
}

static int read_processor(struct hf_vocab *w, struct slv_json_val v, unsigned depth) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    int rc = 0;
    if (hf_is_nothing(v) || hf_is_type(v, "ByteLevel")) return 0;
    if (hf_is_type(v, "TemplateProcessing")) {
        rc = read_single(w, slv_json_get(v, "single"));
        return rc ? rc : read_pair_template(w, slv_json_get(v, "pair"));
    }
    if (hf_is_type(v, "BertProcessing") || hf_is_type(v, "RobertaProcessing")) {
        w->between = hf_is_type(v, "RobertaProcessing") ? 2 : 1;
        w->before = read_pair(w, slv_json_get(v, "cls"));
        w->after = read_pair(w, slv_json_get(v, "sep"));
        return 0;
    }
    if (!hf_is_type(v, "Sequence") || depth)
        return hf_vocab_bad(w, SLV_E_UNSUPPORTED, "a post-processor of an unknown type");
    while (!rc && slv_json_each(slv_json_get(v, "processors"), &it, NULL, &at))
        rc = read_processor(w, at, 1);
    return rc;
}

/* --- writing ---------------------------------------------------------------------------------- */

void hf_vocab_put(struct hf_vocab *w, bool word_piece) {
    struct slv_gguf_meta *m = &w->f->meta;
    static const char space[] = "\xe2\x96\x81";
    slv_gguf_put_arr(m, "tokenizer.ggml.tokens", SLV_GGUF_STR, w->n);
    for (uint32_t i = 0; i < w->n; i++) {
        const struct hf_piece *p = &w->v[i];
        const bool plain = word_piece && p->kind == SLV_TOKEN_NORMAL;
        char pad[32];
        if (!p->text.p)
            slv_gguf_put_elem_str(m, pad, (size_t)snprintf(pad, sizeof pad, "[PAD%u]", i), "", 0);
        else if (plain && p->text.n > 2 && !memcmp(p->text.p, "##", 2))
            slv_gguf_put_elem_str(m, p->text.p + 2, p->text.n - 2, "", 0);
        else slv_gguf_put_elem_str(m, space, plain ? sizeof space - 1 : 0, p->text.p, p->text.n);
    }
    slv_gguf_put_u32(m, "tokenizer.selvage.between", w->between);
    slv_gguf_put_arr(m, "tokenizer.ggml.token_type", SLV_GGUF_U8, w->n);
    for (uint32_t i = 0; i < w->n; i++)
        slv_gguf_put_elem_u8(m, w->v[i].text.p ? w->v[i].kind : SLV_TOKEN_UNUSED);
    if (!w->strips) return;
    slv_gguf_put_arr(m, "tokenizer.selvage.strip", SLV_GGUF_U8, w->n);
    for (uint32_t i = 0; i < w->n; i++)
        slv_gguf_put_elem_u8(m, w->v[i].strip);
}

void hf_put_text(struct hf_vocab *w, const char *key, const char *value) {
    slv_gguf_put_str(&w->f->meta, key, (struct slv_str){value, strlen(value)});
}

/* --- tokens with a role ----------------------------------------------------------------------- */

/* The first end of generation that is not `eos`. */
static uint32_t other_end(const struct hf_vocab *w, uint32_t eos) {
    const struct slv_json_val ends = slv_json_get(hf_root(w->f, HF_GENERATION), "eos_token_id");
    struct slv_json_iter it = {0};
    struct slv_json_val at = ends;
    int64_t id;
    if (slv_json_get_i64(ends, &id))
        return id >= 0 && id < w->n && id != eos ? (uint32_t)id : HF_NO_TOKEN;
    while (slv_json_each(ends, &it, NULL, &at))
        if (slv_json_get_i64(at, &id) && id >= 0 && id < w->n && id != eos) return (uint32_t)id;
    return HF_NO_TOKEN;
}

void hf_vocab_put_roles(struct hf_vocab *w) {
    struct slv_gguf_meta *m = &w->f->meta;
    const uint32_t bos = w->before != HF_NO_TOKEN ? w->before : hf_vocab_role(w, "bos_token");
    const uint32_t eos = w->after != HF_NO_TOKEN ? w->after : hf_vocab_role(w, "eos_token");
    const uint32_t eot = other_end(w, eos), pad = hf_vocab_role(w, "pad_token");
    slv_gguf_put_u32(m, "tokenizer.ggml.bos_token_id", bos);
    slv_gguf_put_u32(m, "tokenizer.ggml.eos_token_id", eos);
    if (eot != HF_NO_TOKEN) slv_gguf_put_u32(m, "tokenizer.ggml.eot_token_id", eot);
    if (pad != HF_NO_TOKEN) slv_gguf_put_u32(m, "tokenizer.ggml.padding_token_id", pad);
    slv_gguf_put_bool(m, "tokenizer.ggml.add_bos_token", w->before != HF_NO_TOKEN);
    slv_gguf_put_bool(m, "tokenizer.ggml.add_eos_token", w->after != HF_NO_TOKEN);
}

/* --- all of it -------------------------------------------------------------------------------- */

/* Files of before 2021 do not say which model theirs is. */
static bool is_model(const struct hf_vocab *w, const char *type, const char *sign) {
    if (!hf_is_nothing(slv_json_get(w->model, "type"))) return hf_is_type(w->model, type);
    return !hf_is_nothing(slv_json_get(w->model, sign));
}

static int from_json(struct hf_vocab *w, uint32_t n_vocab) {
    w->model = slv_json_get(w->root, "model");
    static const struct {
        const char *type, *sign;
        int (*put)(struct hf_vocab *w);
    } kinds[] = {{"BPE", "merges", hf_bpe},
                 {"WordPiece", "max_input_chars_per_word", hf_word_piece},
                 {"Unigram", "unk_id", hf_unigram}};
    size_t i = 0;
    while (i < sizeof kinds / sizeof kinds[0] && !is_model(w, kinds[i].type, kinds[i].sign))
        i++;
    if (i == sizeof kinds / sizeof kinds[0])
        return hf_vocab_bad(w, SLV_E_UNSUPPORTED,
                            "a tokenizer that is none of BPE, WordPiece and Unigram");
    int rc = read_vocab(w, n_vocab);
    if (!rc) rc = read_added(w);
    if (!rc) rc = read_processor(w, slv_json_get(w->root, "post_processor"), 0);
    return rc ? rc : kinds[i].put(w);
}

int hf_tokenizer(struct hf *f, uint32_t n_vocab) {
    struct hf_vocab w = {.f = f,
                         .root = hf_root(f, HF_TOKENIZER),
                         .file = HF_TOKENIZER,
                         .before = HF_NO_TOKEN,
                         .after = HF_NO_TOKEN,
                         .between = 1};
    bool lines = false;
    int rc = 0;
    slv_buf_init(&w.text, VOCAB_TEXT_MAX);
    if (!w.root.doc) {
        w.file = HF_TOKENIZER_CONFIG;
        rc = hf_read(f, "vocab.txt", &w.text, &lines);
        if (!rc && !lines)
            rc = slv_err_set(f->err, SLV_E_NOENT, "%s: a folder without tokenizer.json", f->folder);
    }
    if (!rc) rc = lines ? hf_word_piece_lines(&w, n_vocab) : from_json(&w, n_vocab);
    slv_mem_free(w.v);
    slv_buf_fini(&w.text);
    return rc;
}
