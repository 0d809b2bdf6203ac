/* tok_vocab.c: what a GGUF file says of its vocabulary: pieces, kinds, scores, the ids with a role,
 * and which tokens end a generation.
 *
 * Files rarely name all the tokens that end a turn, so those are also known by their texts. The
 * texts, and which roles they stand for, are llama.cpp's (llama-vocab.cpp), since its users'
 * expectations are everyone's; so are defaults for ids and flags a file leaves out. Two of its
 * habits are not followed: gpt-oss's channel tokens stay control tokens (there, plain text can
 * become them), and an id that a file names must exist. */
#include "base/mem.h"
#include "base/utf8.h"
#include "format/tok_int.h"

#include <math.h>
#include <string.h>

#define MAX_BETWEEN 4u

/* --- pieces ----------------------------------------------------------------------------------- */

static int load_pieces(struct slv_tokenizer *t, const struct slv_gguf *g, struct slv_err *err) {
    static const char key[] = "tokenizer.ggml.tokens";
    struct slv_gguf_array a;
    if (!slv_gguf_arr(g, key, &a) || a.kind != SLV_GGUF_STR)
        return slv_err_set(err, SLV_E_FORMAT, "%s is not an array of strings", key);
    const size_t n = a.n;
    if (!n || n > SLV_TOK_MAX_PIECES)
        return slv_err_set(err, SLV_E_FORMAT, "%s: %zu pieces, which is not 1 to %u", key, n,
                           SLV_TOK_MAX_PIECES);
    t->n = (uint32_t)n;
    t->piece = slv_mem_calloc(n, sizeof *t->piece);
    t->attr = slv_mem_calloc(n, 1);
    if (!t->piece || !t->attr)
        return slv_err_set(err, SLV_E_NOMEM, "out of memory for %zu pieces", n);
    for (size_t i = 0; i < n; i++) {
        if (!slv_gguf_arr_str(&a, i, &t->piece[i]))
            return slv_err_set(err, SLV_E_FORMAT, "%s[%zu] is not a string", key, i);
        if (t->piece[i].n > SLV_TOK_MAX_PIECE)
            return slv_err_set(err, SLV_E_FORMAT, "%s[%zu] has %zu bytes, over %u", key, i,
                               t->piece[i].n, SLV_TOK_MAX_PIECE);
        if (t->piece[i].n > t->max_piece) t->max_piece = t->piece[i].n;
    }
    return 0;
}

/* An array that, if it is there, has an element for each piece, of the kinds allowed; else one of
 * no elements. */
static int find_array(const struct slv_tokenizer *t, const struct slv_gguf *g, const char *key,
                      unsigned kinds, struct slv_gguf_array *ret, struct slv_err *err) {
    bool there = slv_gguf_arr(g, key, ret);
    if (!slv_gguf_has(g, key)) return 0;
    if (!there || !(kinds >> ret->kind & 1))
        return slv_err_set(err, SLV_E_FORMAT, "%s is not an array of numbers of the right kind",
                           key);
    if (ret->n < t->n)
        return slv_err_set(err, SLV_E_FORMAT, "%s has %zu entries for %u pieces", key, ret->n,
                           t->n);
    return 0;
}

/* Which kinds of token plain text may turn into. WordPiece and BPE vocabularies mark little. */
static bool text_may_become(const struct slv_tokenizer *t, enum slv_token_kind kind) {
    if (kind == SLV_TOKEN_UNUSED) return t->model != SLV_TOK_UNIGRAM;
    return kind == SLV_TOKEN_NORMAL || kind == SLV_TOKEN_USER;
}

static int load_kinds(struct slv_tokenizer *t, const struct slv_gguf *g, struct slv_err *err) {
    static const char key[] = "tokenizer.ggml.token_type";
    const unsigned ints = 1u << SLV_GGUF_I32 | 1u << SLV_GGUF_U32 | 1u << SLV_GGUF_U8 |
                          1u << SLV_GGUF_I8 | 1u << SLV_GGUF_U16 | 1u << SLV_GGUF_I16;
    struct slv_gguf_array a;
    int rc = find_array(t, g, key, ints, &a, err);
    for (uint32_t i = 0; !rc && i < t->n; i++) {
        int64_t v = SLV_TOKEN_NORMAL;
        if (a.n && (!slv_gguf_arr_i64(&a, i, &v) || v < 0 || v > SLV_TOKEN_BYTE))
            return slv_err_set(err, SLV_E_FORMAT, "%s[%u] is no kind of token", key, i);
        if (v == 0) v = SLV_TOKEN_UNUSED; /* "undefined" */
        t->attr[i] = (uint8_t)v;
        if (text_may_become(t, (enum slv_token_kind)v)) t->attr[i] |= SLV_TOK_TEXT;
        if (v == SLV_TOKEN_BYTE && slv_tok_byte_value(t->piece[i]) < 0)
            return slv_err_set(err, SLV_E_FORMAT,
                               "tokenizer.ggml.tokens[%u] is a byte and not written as one", i);
    }
    return rc;
}

static int load_scores(struct slv_tokenizer *t, const struct slv_gguf *g, struct slv_err *err) {
    static const char key[] = "tokenizer.ggml.scores";
    struct slv_gguf_array a;
    if (t->model != SLV_TOK_SPM && t->model != SLV_TOK_UNIGRAM) return 0;
    int rc = find_array(t, g, key, 1u << SLV_GGUF_F32 | 1u << SLV_GGUF_I32, &a, err);
    if (rc) return rc;
    if (!a.n) return slv_err_set(err, SLV_E_FORMAT, "%s is missing", key);
    t->score = slv_mem_calloc(t->n, sizeof *t->score);
    if (!t->score) return slv_err_set(err, SLV_E_NOMEM, "out of memory for the scores");
    for (uint32_t i = 0; i < t->n; i++) {
        int64_t v;
        if (slv_gguf_arr_f32(&a, i, &t->score[i])) {
            if (!isfinite(t->score[i]))
                return slv_err_set(err, SLV_E_FORMAT, "%s[%u] is not a finite number", key, i);
        } else if (slv_gguf_arr_i64(&a, i, &v)) {
            t->score[i] = (float)v;
        }
    }
    return 0;
}

/* Bytes by their tokens: "<0xHH>" where pieces are UTF-8, else GPT-2's character for each. A raw
 * byte of its own serves where there is no "<0xHH>". */
static void find_bytes(struct slv_tokenizer *t) {
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        size_t n;
        uint32_t cp = slv_tok_byte_char((unsigned char)b);
        if (t->model == SLV_TOK_BPE && !t->raw) {
            n = cp < 0x80 ? 1 : 2;
            text[0] = n == 1 ? (char)cp : (char)(0xc0 | cp >> 6);
            text[1] = (char)(0x80 | (cp & 0x3f));
        } else {
            static const char hex[] = "0123456789ABCDEF";
            n = 6;
            memcpy(text, "<0x", 3);
            text[3] = hex[b >> 4];
            text[4] = hex[b & 15];
            text[5] = '>';
        }
        t->byte_id[b] = slv_tokenizer_find(t, text, n);
        text[0] = (char)b;
        if (t->byte_id[b] < 0 && t->model == SLV_TOK_SPM)
            t->byte_id[b] = slv_tokenizer_find(t, text, 1);
    }
}

int slv_tok_vocab_load(struct slv_tokenizer *t, const struct slv_gguf *g, struct slv_err *err) {
    int rc = load_pieces(t, g, err);
    if (!rc) rc = load_kinds(t, g, err);
    if (!rc) rc = load_scores(t, g, err);
    if (!rc) rc = slv_tok_index_build(t, err);
    if (!rc) find_bytes(t);
    return rc;
}

/* --- ids with a role -------------------------------------------------------------------------- */

/* -1 where neither the file nor a default that exists names one. Some writers store "none" as -1 in
 * an unsigned field. */
static int read_id(const struct slv_tokenizer *t, const struct slv_gguf *g, const char *key,
                   int32_t otherwise, int32_t *ret, struct slv_err *err) {
    int64_t v;
    *ret = otherwise < (int64_t)t->n ? otherwise : -1;
    if (!slv_gguf_has(g, key)) return 0;
    if (!slv_gguf_i64(g, key, &v))
        return slv_err_set(err, SLV_E_FORMAT, "%s is not an integer", key);
    if (v == -1 || v == UINT32_MAX) {
        *ret = -1;
        return 0;
    }
    if (v < 0 || v >= (int64_t)t->n)
        return slv_err_set(err, SLV_E_FORMAT, "%s is %lld, outside the vocabulary of %u", key,
                           (long long)v, t->n);
    *ret = (int32_t)v;
    return 0;
}

static int read_flag(const struct slv_gguf *g, const char *key, bool *flag, struct slv_err *err) {
    if (slv_gguf_has(g, key) && !slv_gguf_bool(g, key, flag))
        return slv_err_set(err, SLV_E_FORMAT, "%s is not a truth value", key);
    return 0;
}

struct defaults {
    int32_t bos, eos, unk, sep;
    bool add_bos, add_eos, add_space;
};

static struct defaults defaults_of(const struct slv_tokenizer *t) {
    static const struct defaults by_model[] = {
        [SLV_TOK_BPE] = {11, 11, -1, -1, false, false, false},
        [SLV_TOK_SPM] = {1, 2, 0, -1, true, false, true},
        [SLV_TOK_UNIGRAM] = {-1, 1, 2, -1, false, true, false},
        [SLV_TOK_WPM] = {101, -1, 100, 102, true, true, false},
    };
    struct defaults d = by_model[t->model];
    if (t->pretok) {
        d.add_bos = (t->pretok->flags & SLV_PRETOK_BOS) != 0;
        if (t->pretok->flags & SLV_PRETOK_NO_BOS) d.bos = -1;
    }
    if (t->raw && t->model == SLV_TOK_BPE) d.bos = d.eos = -1;
    return d;
}

static int load_roles(struct slv_tokenizer *t, const struct slv_gguf *g, struct slv_err *err) {
    struct defaults d = defaults_of(t);
    const char *bos_key = "tokenizer.ggml.bos_token_id";
    if (t->model == SLV_TOK_WPM && !slv_gguf_has(g, bos_key))
        bos_key = "tokenizer.ggml.cls_token_id";
    t->add_bos = d.add_bos;
    t->add_eos = d.add_eos;
    t->add_space = d.add_space;
    t->lowercase = true;
    int rc = read_id(t, g, bos_key, d.bos, &t->bos, err);
    if (!rc) rc = read_id(t, g, "tokenizer.ggml.eos_token_id", d.eos, &t->eos, err);
    if (!rc) rc = read_id(t, g, "tokenizer.ggml.unknown_token_id", d.unk, &t->unk, err);
    if (!rc) rc = read_id(t, g, "tokenizer.ggml.seperator_token_id", d.sep, &t->sep, err);
    if (!rc) rc = read_flag(g, "tokenizer.ggml.add_bos_token", &t->add_bos, err);
    if (!rc) rc = read_flag(g, "tokenizer.ggml.add_eos_token", &t->add_eos, err);
    if (!rc) rc = read_flag(g, "tokenizer.ggml.add_space_prefix", &t->add_space, err);
    if (!rc) rc = read_flag(g, "tokenizer.ggml.remove_extra_whitespaces", &t->merge_spaces, err);
    if (!rc) rc = read_flag(g, "tokenizer.ggml.normalizer.lowercase", &t->lowercase, err);
    t->strip_accents = t->lowercase;
    if (!rc) rc = read_flag(g, "tokenizer.ggml.normalizer.strip_accents", &t->strip_accents, err);
    if (!rc) rc = read_flag(g, "tokenizer.selvage.nfc", &t->nfc, err);
    if (!rc) rc = read_flag(g, "tokenizer.selvage.any_space", &t->any_space, err);
    if (!rc) rc = read_flag(g, "tokenizer.selvage.keep_last_space", &t->keep_last_space, err);
    if (rc) return rc;
    if (t->model == SLV_TOK_WPM && t->unk < 0)
        return slv_err_set(err, SLV_E_FORMAT, "tokenizer.ggml.unknown_token_id is missing");
    if (t->model == SLV_TOK_WPM) t->add_bos = t->add_eos = true;
    t->between = t->model == SLV_TOK_WPM ? 1 : 2;
    if (slv_gguf_u32(g, "tokenizer.selvage.between", &t->between) && t->between > MAX_BETWEEN)
        return slv_err_set(err, SLV_E_FORMAT, "tokenizer.selvage.between is %u", t->between);
    if (t->model == SLV_TOK_BPE) t->add_space = false;
    if (t->raw && t->pretok && t->pretok->flags & SLV_PRETOK_BOS) t->add_bos = true;
    return 0;
}

/* --- ends of generation ----------------------------------------------------------------------- */

enum role { NONE, EOT, EOM, FIM_PRE, FIM_SUF, FIM_MID, FIM_PAD, FIM_REP, FIM_SEP, N_ROLES };

/* What a token with this text is for, and whether a generation always ends there. Of several texts
 * with one role in a vocabulary the first in this list has it. */
static const struct {
    const char *text;
    uint8_t role;
    bool ends;
} known[] = {
    {"<|eot_id|>", EOT, true},
    {"<|im_end|>", EOT, true},
    {"<|end|>", EOT, true},
    {"<end_of_turn>", EOT, true},
    {"<|endoftext|>", EOT, true},
    {"<|end_of_text|>", EOT, true},
    {"<EOT>", EOT, true},
    {"_<EOT>", EOT, true},
    {"[EOT]", EOT, true},
    {"<\uff5cend\u2581of\u2581sentence\uff5c>", EOT, true},
    {"<end_of_utterance>", EOT, true},
    {"<|eom_id|>", EOM, true},
    {"<|return|>", NONE, true},
    {"<|call|>", NONE, true},
    {"<|flush|>", NONE, true},
    {"<|calls|>", NONE, true},
    {"</s>", NONE, true},
    {"[EOS]", NONE, true},
    {"<eos>", NONE, true},
    {"<turn|>", NONE, true},
    {"<|tool_response>", NONE, true},
    {"[e~[", NONE, true},
    {"<|fim_prefix|>", FIM_PRE, false},
    {"<fim-prefix>", FIM_PRE, false},
    {"<fim_prefix>", FIM_PRE, false},
    {"<\uff5cfim\u2581begin\uff5c>", FIM_PRE, false},
    {"<PRE>", FIM_PRE, false},
    {"\u2581<PRE>", FIM_PRE, false},
    {"<|code_prefix|>", FIM_PRE, false},
    {"<|prefix|>", FIM_PRE, false},
    {"<|fim_suffix|>", FIM_SUF, false},
    {"<fim-suffix>", FIM_SUF, false},
    {"<fim_suffix>", FIM_SUF, false},
    {"<\uff5cfim\u2581hole\uff5c>", FIM_SUF, false},
    {"<SUF>", FIM_SUF, false},
    {"\u2581<SUF>", FIM_SUF, false},
    {"<|code_suffix|>", FIM_SUF, false},
    {"<|suffix|>", FIM_SUF, false},
    {"<|fim_middle|>", FIM_MID, false},
    {"<fim-middle>", FIM_MID, false},
    {"<fim_middle>", FIM_MID, false},
    {"<\uff5cfim\u2581end\uff5c>", FIM_MID, false},
    {"<MID>", FIM_MID, false},
    {"\u2581<MID>", FIM_MID, false},
    {"<|code_middle|>", FIM_MID, false},
    {"<|middle|>", FIM_MID, false},
    {"<|fim_pad|>", FIM_PAD, false},
    {"<fim-pad>", FIM_PAD, false},
    {"<fim_pad>", FIM_PAD, false},
    {"<PAD>", FIM_PAD, false},
    {"[PAD]", FIM_PAD, false},
    {"<|fim_repo|>", FIM_REP, false},
    {"<|repo_name|>", FIM_REP, false},
    {"<fim-repo>", FIM_REP, false},
    {"<REPO>", FIM_REP, false},
    {"<reponame>", FIM_REP, false},
    {"<|file_sep|>", FIM_SEP, false},
};

static const char *const role_keys[N_ROLES] = {
    [EOT] = "tokenizer.ggml.eot_token_id",         [EOM] = "tokenizer.ggml.eom_token_id",
    [FIM_PRE] = "tokenizer.ggml.fim_pre_token_id", [FIM_SUF] = "tokenizer.ggml.fim_suf_token_id",
    [FIM_MID] = "tokenizer.ggml.fim_mid_token_id", [FIM_PAD] = "tokenizer.ggml.fim_pad_token_id",
    [FIM_REP] = "tokenizer.ggml.fim_rep_token_id", [FIM_SEP] = "tokenizer.ggml.fim_sep_token_id",
};

static int32_t find_text(const struct slv_tokenizer *t, const char *text) {
    return slv_tokenizer_find(t, text, strlen(text));
}

static void make_control(struct slv_tokenizer *t, int32_t id) {
    t->attr[id] = (uint8_t)((t->attr[id] & ~SLV_TOK_KIND) | SLV_TOKEN_CONTROL);
}

static void make_end(struct slv_tokenizer *t, int32_t id) {
    if (id >= 0) t->attr[id] |= SLV_TOK_END;
}

static bool ends(const struct slv_tokenizer *t, const char *text) {
    int32_t id = find_text(t, text);
    return id >= 0 && (t->attr[id] & SLV_TOK_END);
}

static int load_ends(struct slv_tokenizer *t, const struct slv_gguf *g, struct slv_err *err) {
    static const uint8_t ending[] = {EOT, EOM, FIM_PAD, FIM_REP, FIM_SEP};
    int32_t role[N_ROLES];
    for (size_t r = 1; r < N_ROLES; r++) {
        int rc = read_id(t, g, role_keys[r], -1, &role[r], err);
        if (rc) return rc;
    }
    int32_t s = find_text(t, "</s>");
    uint8_t s_was = s < 0 ? 0 : t->attr[s];
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        int32_t id = find_text(t, known[i].text);
        if (id < 0) continue;
        bool takes_role = known[i].role != NONE && role[known[i].role] < 0;
        if (takes_role) role[known[i].role] = id;
        if (takes_role || known[i].ends) make_control(t, id);
        if (known[i].ends) make_end(t, id);
    }
    for (size_t i = 0; i < sizeof ending; i++)
        make_end(t, role[ending[i]]);
    make_end(t, t->eos);
    /* In these two vocabularies a turn has several messages, and <|end|> ends but one of them. */
    bool calls = ends(t, "<|call|>") || ends(t, "<|calls|>");
    if (calls && (ends(t, "<|return|>") || ends(t, "<|flush|>")) && ends(t, "<|end|>"))
        t->attr[find_text(t, "<|end|>")] &= (uint8_t)~SLV_TOK_END;
    /* And here </s> is HTML. */
    if (s >= 0 && (ends(t, "<|tool_response>") || ends(t, "<|plamo:eos|>"))) t->attr[s] = s_was;
    return 0;
}

/* --- white space at control tokens ------------------------------------------------------------ */

static bool contains(struct slv_str s, const char *what) {
    size_t n = strlen(what);
    for (size_t i = 0; i + n <= s.n; i++) {
        size_t k = 0;
        while (k < n && (s.p[i + k] | (s.p[i + k] >= 'A' && s.p[i + k] <= 'Z' ? 32 : 0)) == what[k])
            k++;
        if (k == n) return true;
    }
    return false;
}

static void set_strip(struct slv_tokenizer *t, const char *text, unsigned flag, bool on) {
    int32_t id = find_text(t, text);
    if (id >= 0) t->attr[id] = (uint8_t)(on ? t->attr[id] | flag : t->attr[id] & ~flag);
}

static bool is_special(enum slv_token_kind kind) {
    return kind == SLV_TOKEN_CONTROL || kind == SLV_TOKEN_USER || kind == SLV_TOKEN_UNKNOWN;
}

/* What a folder in Hugging Face layout says of each token (hf_tok.c). */
static bool load_own_strips(struct slv_tokenizer *t, const struct slv_gguf *g) {
    struct slv_gguf_array a;
    if (!slv_gguf_arr(g, "tokenizer.selvage.strip", &a)) return false;
    for (uint32_t id = 0; id < t->n; id++) {
        int64_t v = 0;
        slv_gguf_arr_i64(&a, id, &v);
        if (v & 1) t->attr[id] |= SLV_TOK_LSTRIP;
        if (v & 2) t->attr[id] |= SLV_TOK_RSTRIP;
    }
    return true;
}

/* GGUF has no place for "lstrip" and "rstrip"; these are the models known to have them. */
static void load_strips(struct slv_tokenizer *t, const struct slv_gguf *g) {
    if (load_own_strips(t, g)) return;
    struct slv_str name = {"", 0}, pre = {"", 0}, arch = {"", 0};
    slv_gguf_str(g, "general.name", &name);
    slv_gguf_str(g, "tokenizer.ggml.pre", &pre);
    slv_gguf_str(g, "general.architecture", &arch);
    if (contains(pre, "jina-v2-de") || contains(pre, "jina-v2-es") ||
        contains(pre, "jina-v2-code") || contains(arch, "nomic-bert-moe") ||
        contains(arch, "jina-bert-v3")) {
        set_strip(t, "<mask>", SLV_TOK_LSTRIP, true);
    } else if (contains(name, "phi-3") || contains(name, "phi3")) {
        for (uint32_t id = 0; id < t->n; id++)
            if (is_special(slv_tok_kind(t, (int32_t)id))) t->attr[id] |= SLV_TOK_RSTRIP;
        set_strip(t, "</s>", SLV_TOK_RSTRIP, true);
        set_strip(t, "<unk>", SLV_TOK_RSTRIP, false);
        set_strip(t, "<s>", SLV_TOK_RSTRIP, false);
        set_strip(t, "<|endoftext|>", SLV_TOK_RSTRIP, false);
    } else if (contains(name, "modern-bert")) {
        set_strip(t, "[MASK]", SLV_TOK_LSTRIP, true);
    }
}

/* The search of a text for pieces takes their length at each place; so what is sought is short, or
 * a vocabulary could make a text of a megabyte take hours. */
int slv_tok_seek(const struct slv_tokenizer *t, struct slv_trie *trie, uint32_t id,
                 struct slv_err *err) {
    struct slv_str p = t->piece[id];
    if (p.n > SLV_TOK_MAX_SOUGHT)
        return slv_err_set(err, SLV_E_LIMIT,
                           "tokenizer.ggml.tokens[%u] has %zu bytes; texts are searched for tokens "
                           "of at most %u",
                           id, p.n, SLV_TOK_MAX_SOUGHT);
    int rc = slv_trie_add(trie, p.p, p.n, (int32_t)id);
    return rc ? slv_err_set(err, rc, "tokenizer.ggml.tokens[%u]: %s", id, slv_strerror(rc)) : 0;
}

int slv_tok_specials_load(struct slv_tokenizer *t, const struct slv_gguf *g, struct slv_err *err) {
    int rc = load_roles(t, g, err);
    if (!rc) rc = load_ends(t, g, err);
    if (rc) return rc;
    load_strips(t, g);
    for (uint32_t id = 0; !rc && id < t->n; id++) {
        enum slv_token_kind kind = slv_tok_kind(t, (int32_t)id);
        struct slv_str p = t->piece[id];
        /* Broken UTF-8 is in no text, but could be found within a character. */
        if (!p.n || !is_special(kind) || !slv_utf8_valid(p.p, p.n, NULL)) continue;
        rc = slv_tok_seek(t, &t->special, id, err);
        if (!rc && kind == SLV_TOKEN_USER) rc = slv_tok_seek(t, &t->user, id, err);
    }
    return rc;
}
