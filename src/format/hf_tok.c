/* hf_tok.c: tokenizer.json (Hugging Face's tokenizers) or vocab.txt -> tokenizer.ggml.* keys.
 *
 * What tokenizer.c can do has a shape here: WordPiece behind BERT's normalizer and cutter, and
 * byte-level BPE behind a pre-tokenizer of pretok_table.c; at most one token before a text and one
 * behind it. Anything else in the file is refused by name, never guessed.
 *
 * Pieces of WordPiece are written as GGUF files have them: U+2581 before one that begins a word,
 * no "##" before one that does not. An id without a piece, up to the size the model says, is an
 * unused token "[PADid]". Two keys are this project's own, because GGUF has none for what they say:
 * tokenizer.selvage.strip (a byte a token: 1, white space before it belongs to it; 2, behind it)
 * and tokenizer.selvage.nfc.
 *
 * Source: the files as tokenizers 0.20 writes them, its documentation, and BERT's vocab.txt.
 */
#include "base/mem.h"
#include "format/hf_int.h"
#include "format/pretok.h"
#include "format/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define VOCAB_MAX (1u << 22)
#define VOCAB_TEXT_MAX ((size_t)64 << 20)
#define NO_TOKEN UINT32_MAX /* as GGUF files store it */

struct piece {
    struct slv_str text; /* p NULL: no such piece */
    uint8_t kind;        /* enum slv_token_kind */
    uint8_t strip;
};

struct vocab {
    struct hf *f;
    struct slv_json_val root, model; /* of tokenizer.json */
    enum hf_file file;               /* that errors name */
    struct piece *v;                 /* [n] */
    uint32_t n;
    struct slv_buf text;    /* of vocab.txt */
    uint32_t before, after; /* tokens around a text, or NO_TOKEN */
    bool strips;
};

static int bad(const struct vocab *w, int code, const char *what) {
    return hf_fail(w->f, w->file, code, "%s", what);
}

static bool is_type(struct slv_json_val v, const char *type) {
    struct slv_str s;
    return slv_json_get_str(slv_json_get(v, "type"), &s) && slv_str_is(s, type);
}

static bool is_nothing(struct slv_json_val v) {
    const enum slv_json_kind kind = slv_json_kind(v);
    return kind == SLV_JSON_NONE || kind == SLV_JSON_NULL;
}

/* A truth value; `missing` where there is none. */
static bool flag(struct slv_json_val v, const char *name, bool missing) {
    bool b = missing;
    slv_json_get_bool(slv_json_get(v, name), &b);
    return b;
}

/* --- pieces ----------------------------------------------------------------------------------- */

static int set_piece(struct vocab *w, int64_t id, struct slv_str text, uint8_t kind) {
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

/* Room for the pieces: as many as the model says, or as the largest id says where it does not. */
static int make_room(struct vocab *w, int64_t most, uint32_t n_vocab) {
    w->n = n_vocab ? n_vocab : (uint32_t)(most + 1);
    if (most >= VOCAB_MAX || w->n > VOCAB_MAX || !w->n)
        return hf_fail(w->f, w->file, SLV_E_LIMIT, "a vocabulary of %" PRId64 " pieces; 1 to %u",
                       n_vocab ? (int64_t)n_vocab : most + 1, VOCAB_MAX);
    w->v = slv_mem_calloc(w->n, sizeof *w->v);
    return w->v ? 0 : bad(w, SLV_E_NOMEM, "out of memory");
}

static int read_vocab(struct vocab *w, uint32_t n_vocab) {
    const struct slv_json_val v = slv_json_get(w->model, "vocab");
    const int64_t a = largest(v), b = largest(slv_json_get(w->root, "added_tokens"));
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    struct slv_str text;
    if (slv_json_kind(v) != SLV_JSON_OBJECT) return bad(w, SLV_E_FORMAT, "it has no vocabulary");
    int rc = make_room(w, a > b ? a : b, n_vocab);
    while (!rc && slv_json_each(v, &it, &text, &at)) {
        int64_t id;
        if (!slv_json_get_i64(at, &id)) return bad(w, SLV_E_FORMAT, "an id is not a number");
        if (id >= 0 && id < w->n && w->v[id].text.p)
            return hf_fail(w->f, w->file, SLV_E_FORMAT, "two pieces have the id %" PRId64, id);
        rc = set_piece(w, id, text, SLV_TOKEN_NORMAL);
    }
    return rc;
}

static int read_added(struct vocab *w) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    int rc = 0;
    while (!rc && slv_json_each(slv_json_get(w->root, "added_tokens"), &it, NULL, &at)) {
        struct slv_str text;
        int64_t id;
        if (!slv_json_get_str(slv_json_get(at, "content"), &text) ||
            !slv_json_get_i64(slv_json_get(at, "id"), &id))
            return bad(w, SLV_E_FORMAT, "an added token has no content or no id");
        if (flag(at, "single_word", false))
            return bad(w, SLV_E_UNSUPPORTED, "an added token with 'single_word'");
        rc =
            set_piece(w, id, text, flag(at, "special", false) ? SLV_TOKEN_CONTROL : SLV_TOKEN_USER);
        if (rc) return rc;
        w->v[id].strip = (uint8_t)(flag(at, "lstrip", false) | flag(at, "rstrip", false) << 1);
        w->strips = w->strips || w->v[id].strip;
    }
    return rc;
}

static uint32_t find(const struct vocab *w, struct slv_str text) {
    for (uint32_t i = 0; i < w->n; i++)
        if (w->v[i].text.n == text.n && w->v[i].text.p && !memcmp(w->v[i].text.p, text.p, text.n))
            return i;
    return NO_TOKEN;
}

/* The token that a file calls `role`, "eos_token": a string, or an object with its content. */
static uint32_t find_role(const struct vocab *w, const char *role) {
    static const enum hf_file files[] = {HF_TOKENIZER_CONFIG, HF_SPECIAL_TOKENS};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const struct slv_json_val v = slv_json_get(hf_root(w->f, files[i]), role);
        struct slv_str text;
        if (slv_json_get_str(v, &text) || slv_json_get_str(slv_json_get(v, "content"), &text))
            return find(w, text);
    }
    return NO_TOKEN;
}

/* --- tokens around a text --------------------------------------------------------------------- */

static int too_many(const struct vocab *w) {
    return bad(w, SLV_E_UNSUPPORTED, "more than one token before or behind a text");
}

/* {"single": [{"SpecialToken": {"id": "[CLS]"}}, {"Sequence": {"id": "A"}}, ...]} */
static int read_single(struct vocab *w, struct slv_json_val single) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    bool behind = false;
    while (slv_json_each(single, &it, NULL, &at)) {
        struct slv_str text;
        uint32_t *to = behind ? &w->after : &w->before;
        if (!slv_json_get_str(slv_json_get(slv_json_get(at, "SpecialToken"), "id"), &text)) {
            if (behind) return bad(w, SLV_E_UNSUPPORTED, "a template of more than one text");
            behind = true;
            continue;
        }
        if (*to != NO_TOKEN) return too_many(w);
        *to = find(w, text);
        if (*to == NO_TOKEN) return bad(w, SLV_E_FORMAT, "a token of the template is no piece");
    }
    return 0;
}

/* ["[SEP]", 102] */
static uint32_t read_pair(const struct vocab *w, struct slv_json_val v) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    struct slv_str text;
    return slv_json_each(v, &it, NULL, &at) && slv_json_get_str(at, &text) ? find(w, text)
                                                                           : NO_TOKEN;
}

static int read_processor(struct vocab *w, struct slv_json_val v, unsigned depth) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    int rc = 0;
    if (is_nothing(v) || is_type(v, "ByteLevel")) return 0;
    if (is_type(v, "TemplateProcessing")) return read_single(w, slv_json_get(v, "single"));
    if (is_type(v, "BertProcessing") || is_type(v, "RobertaProcessing")) {
        w->before = read_pair(w, slv_json_get(v, "cls"));
        w->after = read_pair(w, slv_json_get(v, "sep"));
        return 0;
    }
    if (!is_type(v, "Sequence") || depth)
        return bad(w, SLV_E_UNSUPPORTED, "a post-processor of an unknown type");
    while (!rc && slv_json_each(slv_json_get(v, "processors"), &it, NULL, &at))
        rc = read_processor(w, at, 1);
    return rc;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void put_tokens(struct vocab *w, bool word_piece) {
    struct slv_gguf_meta *m = &w->f->meta;
    static const char space[] = "\xe2\x96\x81";
    slv_gguf_put_arr(m, "tokenizer.ggml.tokens", SLV_GGUF_STR, w->n);
    for (uint32_t i = 0; i < w->n; i++) {
        const struct piece *p = &w->v[i];
        const bool plain = word_piece && p->kind == SLV_TOKEN_NORMAL;
        char pad[32];
        if (!p->text.p)
            slv_gguf_put_elem_str(m, pad, (size_t)snprintf(pad, sizeof pad, "[PAD%u]", i), "", 0);
        else if (plain && p->text.n > 2 && !memcmp(p->text.p, "##", 2))
            slv_gguf_put_elem_str(m, p->text.p + 2, p->text.n - 2, "", 0);
        else slv_gguf_put_elem_str(m, space, plain ? sizeof space - 1 : 0, p->text.p, p->text.n);
    }
    slv_gguf_put_arr(m, "tokenizer.ggml.token_type", SLV_GGUF_U8, w->n);
    for (uint32_t i = 0; i < w->n; i++)
        slv_gguf_put_elem_u8(m, w->v[i].text.p ? w->v[i].kind : SLV_TOKEN_UNUSED);
    if (!w->strips) return;
    slv_gguf_put_arr(m, "tokenizer.selvage.strip", SLV_GGUF_U8, w->n);
    for (uint32_t i = 0; i < w->n; i++)
        slv_gguf_put_elem_u8(m, w->v[i].strip);
}

static void put_text(struct vocab *w, const char *key, const char *value) {
    slv_gguf_put_str(&w->f->meta, key, (struct slv_str){value, strlen(value)});
}

/* --- WordPiece -------------------------------------------------------------------------------- */

static int put_word_piece(struct vocab *w, bool lowercase, bool strip_accents, uint32_t unknown) {
    struct slv_gguf_meta *m = &w->f->meta;
    const uint32_t pad = find_role(w, "pad_token");
    if (w->before == NO_TOKEN || w->after == NO_TOKEN)
        return bad(w, SLV_E_UNSUPPORTED, "texts without a token before and one behind them");
    if (unknown == NO_TOKEN) return bad(w, SLV_E_FORMAT, "the unknown token is no piece");
    put_text(w, "tokenizer.ggml.model", "bert");
    put_tokens(w, true);
    slv_gguf_put_u32(m, "tokenizer.ggml.bos_token_id", w->before);
    slv_gguf_put_u32(m, "tokenizer.ggml.eos_token_id", w->after);
    slv_gguf_put_u32(m, "tokenizer.ggml.seperator_token_id", w->after);
    slv_gguf_put_u32(m, "tokenizer.ggml.unknown_token_id", unknown);
    if (pad != NO_TOKEN) slv_gguf_put_u32(m, "tokenizer.ggml.padding_token_id", pad);
    slv_gguf_put_bool(m, "tokenizer.ggml.normalizer.lowercase", lowercase);
    slv_gguf_put_bool(m, "tokenizer.ggml.normalizer.strip_accents", strip_accents);
    return 0;
}

static int word_piece(struct vocab *w) {
    const struct slv_json_val norm = slv_json_get(w->root, "normalizer");
    struct slv_str prefix = {"##", 2}, unknown = {"[UNK]", 5};
    int64_t longest = 100;
    if (!is_type(norm, "BertNormalizer") || !flag(norm, "clean_text", true) ||
        !flag(norm, "handle_chinese_chars", true))
        return bad(w, SLV_E_UNSUPPORTED, "WordPiece with another normalizer than BERT's");
    if (!is_type(slv_json_get(w->root, "pre_tokenizer"), "BertPreTokenizer"))
        return bad(w, SLV_E_UNSUPPORTED, "WordPiece with another pre-tokenizer than BERT's");
    slv_json_get_str(slv_json_get(w->model, "continuing_subword_prefix"), &prefix);
    slv_json_get_i64(slv_json_get(w->model, "max_input_chars_per_word"), &longest);
    slv_json_get_str(slv_json_get(w->model, "unk_token"), &unknown);
    if (!slv_str_is(prefix, "##") || longest != 100)
        return bad(w, SLV_E_UNSUPPORTED, "WordPiece with another prefix or length of words");
    const bool lowercase = flag(norm, "lowercase", true);
    return put_word_piece(w, lowercase, flag(norm, "strip_accents", lowercase), find(w, unknown));
}

/* vocab.txt: a piece a line, with what tokenizer_config.json says of it. */
static int read_lines(struct vocab *w, uint32_t n_vocab) {
    const char *p = w->text.data, *end = p + w->text.len;
    int64_t n = 0;
    for (const char *q = p; q < end && (q = memchr(q, '\n', (size_t)(end - q))); q++)
        n++;
    if (w->text.len && end[-1] != '\n') n++;
    int rc = make_room(w, n - 1, n_vocab);
    for (int64_t id = 0; id < n && !rc; id++) {
        const char *q = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((q ? q : end) - p);
        const char *next = p + len + 1;
        if (len && p[len - 1] == '\r') len--;
        rc = set_piece(w, id, (struct slv_str){p, len}, SLV_TOKEN_NORMAL);
        p = next;
    }
    return rc;
}

static int from_lines(struct vocab *w, uint32_t n_vocab) {
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
        id[i] = find_role(w, roles[i].role);
        if (id[i] == NO_TOKEN) id[i] = find(w, roles[i].text);
        if (id[i] != NO_TOKEN) w->v[id[i]].kind = SLV_TOKEN_CONTROL;
    }
    if (rc) return rc;
    w->before = id[1];
    w->after = id[2];
    if (!flag(config, "tokenize_chinese_chars", true) || !flag(config, "do_basic_tokenize", true))
        return bad(w, SLV_E_UNSUPPORTED, "WordPiece with another cutter than BERT's");
    const bool lowercase = flag(config, "do_lower_case", true);
    return put_word_piece(w, lowercase, flag(config, "strip_accents", lowercase), id[0]);
}

/* --- byte-level BPE --------------------------------------------------------------------------- */

/* The regular expression of {"type": "Split"} that leaves matches as pieces of their own. */
static bool split_regex(struct slv_json_val v, struct slv_str *ret) {
    struct slv_str behavior = {"", 0};
    slv_json_get_str(slv_json_get(v, "behavior"), &behavior);
    return is_type(v, "Split") && slv_str_is(behavior, "Isolated") && !flag(v, "invert", false) &&
           slv_json_get_str(slv_json_get(slv_json_get(v, "pattern"), "Regex"), ret);
}

/* The row of pretok_table.c that a pre-tokenizer is: a ByteLevel, and what comes before it. */
static const char *pretok_of(struct slv_json_val v) {
    struct slv_json_val part[2] = {v, {NULL, 0}}, at;
    struct slv_json_iter it = {0};
    struct slv_str regex;
    size_t n = 1;
    if (is_type(v, "Sequence"))
        for (n = 0; slv_json_each(slv_json_get(v, "pretokenizers"), &it, NULL, &at); n++) {
            if (n == 2) return NULL;
            part[n] = at;
        }
    const struct slv_json_val last = part[n ? n - 1 : 0];
    if (!n || !is_type(last, "ByteLevel") || flag(last, "add_prefix_space", true)) return NULL;
    const bool own = flag(last, "use_regex", true);
    if (n == 1) return own ? "gpt-2" : NULL;
    if (own)
        return is_type(part[0], "Digits") && flag(part[0], "individual_digits", false) ? "smollm"
                                                                                       : NULL;
    return split_regex(part[0], &regex) ? hf_pretok_name(regex) : NULL;
}

/* A merge is "left right" or ["left", "right"]; written as the first. */
static int put_merges(struct vocab *w) {
    const struct slv_json_val merges = slv_json_get(w->model, "merges");
    struct slv_gguf_meta *m = &w->f->meta;
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    if (slv_json_kind(merges) != SLV_JSON_ARRAY) return bad(w, SLV_E_FORMAT, "it has no merges");
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
            return bad(w, SLV_E_FORMAT, "a merge is not two pieces");
        char joined[512];
        if (a.n >= sizeof joined) return bad(w, SLV_E_LIMIT, "a merge of a very long piece");
        memcpy(joined, a.p, a.n);
        joined[a.n] = ' ';
        slv_gguf_put_elem_str(m, joined, a.n + 1, b.p, b.n);
    }
    return 0;
}

/* The first end of generation that is not `eos`. */
static uint32_t other_end(const struct vocab *w, uint32_t eos) {
    const struct slv_json_val ends = slv_json_get(hf_root(w->f, HF_GENERATION), "eos_token_id");
    struct slv_json_iter it = {0};
    struct slv_json_val at = ends;
    int64_t id;
    if (slv_json_get_i64(ends, &id))
        return id >= 0 && id < w->n && id != eos ? (uint32_t)id : NO_TOKEN;
    while (slv_json_each(ends, &it, NULL, &at))
        if (slv_json_get_i64(at, &id) && id >= 0 && id < w->n && id != eos) return (uint32_t)id;
    return NO_TOKEN;
}

static void put_bpe_roles(struct vocab *w) {
    struct slv_gguf_meta *m = &w->f->meta;
    const uint32_t bos = w->before != NO_TOKEN ? w->before : find_role(w, "bos_token");
    const uint32_t eos = w->after != NO_TOKEN ? w->after : find_role(w, "eos_token");
    const uint32_t eot = other_end(w, eos), pad = find_role(w, "pad_token");
    slv_gguf_put_u32(m, "tokenizer.ggml.bos_token_id", bos);
    slv_gguf_put_u32(m, "tokenizer.ggml.eos_token_id", eos);
    if (eot != NO_TOKEN) slv_gguf_put_u32(m, "tokenizer.ggml.eot_token_id", eot);
    if (pad != NO_TOKEN) slv_gguf_put_u32(m, "tokenizer.ggml.padding_token_id", pad);
    slv_gguf_put_bool(m, "tokenizer.ggml.add_bos_token", w->before != NO_TOKEN);
    slv_gguf_put_bool(m, "tokenizer.ggml.add_eos_token", w->after != NO_TOKEN);
}

static int byte_level_bpe(struct vocab *w) {
    const struct slv_json_val norm = slv_json_get(w->root, "normalizer");
    const char *pre = pretok_of(slv_json_get(w->root, "pre_tokenizer"));
    static const char *const absent[] = {"dropout", "continuing_subword_prefix",
                                         "end_of_word_suffix"};
    if (!pre) return bad(w, SLV_E_UNSUPPORTED, "a pre-tokenizer that is not known");
    if (!is_nothing(norm) && !is_type(norm, "NFC"))
        return bad(w, SLV_E_UNSUPPORTED, "BPE with a normalizer other than NFC");
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        struct slv_str s = {"x", 1};
        const struct slv_json_val v = slv_json_get(w->model, absent[i]);
        slv_json_get_str(v, &s);
        if (!is_nothing(v) && s.n) return bad(w, SLV_E_UNSUPPORTED, absent[i]);
    }
    const struct slv_pretok *row = slv_pretok_find((struct slv_str){pre, strlen(pre)});
    const bool whole = row && (row->flags & SLV_PRETOK_WHOLE);
    if (flag(w->model, "byte_fallback", false) || flag(w->model, "ignore_merges", false) != whole)
        return bad(w, SLV_E_UNSUPPORTED, "BPE with other 'byte_fallback' or 'ignore_merges'");
    put_text(w, "tokenizer.ggml.model", "gpt2");
    put_text(w, "tokenizer.ggml.pre", pre);
    slv_gguf_put_bool(&w->f->meta, "tokenizer.selvage.nfc", is_type(norm, "NFC"));
    put_tokens(w, false);
    put_bpe_roles(w);
    return put_merges(w);
}

/* --- all of it -------------------------------------------------------------------------------- */

/* Files of before 2021 do not say which model theirs is. */
static bool is_model(const struct vocab *w, const char *type, const char *sign) {
    if (!is_nothing(slv_json_get(w->model, "type"))) return is_type(w->model, type);
    return !is_nothing(slv_json_get(w->model, sign));
}

static int from_json(struct vocab *w, uint32_t n_vocab) {
    w->model = slv_json_get(w->root, "model");
    const bool bpe = is_model(w, "BPE", "merges");
    if (!bpe && !is_model(w, "WordPiece", "max_input_chars_per_word"))
        return bad(w, SLV_E_UNSUPPORTED, "a tokenizer that is neither BPE nor WordPiece");
    int rc = read_vocab(w, n_vocab);
    if (!rc) rc = read_added(w);
    if (!rc) rc = read_processor(w, slv_json_get(w->root, "post_processor"), 0);
    if (rc) return rc;
    return bpe ? byte_level_bpe(w) : word_piece(w);
}

int hf_tokenizer(struct hf *f, uint32_t n_vocab) {
    struct vocab w = {.f = f,
                      .root = hf_root(f, HF_TOKENIZER),
                      .file = HF_TOKENIZER,
                      .before = NO_TOKEN,
                      .after = NO_TOKEN};
    bool lines = false;
    int rc = 0;
    slv_buf_init(&w.text, VOCAB_TEXT_MAX);
    if (!w.root.doc) {
        w.file = HF_TOKENIZER_CONFIG;
        rc = hf_read(f, "vocab.txt", &w.text, &lines);
        if (!rc && !lines)
            rc = slv_err_set(f->err, SLV_E_NOENT, "%s: a folder without tokenizer.json", f->folder);
    }
    if (!rc) rc = lines ? from_lines(&w, n_vocab) : from_json(&w, n_vocab);
    slv_mem_free(w.v);
    slv_buf_fini(&w.text);
    return rc;
}
