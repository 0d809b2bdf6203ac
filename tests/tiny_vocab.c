/* tiny_vocab.c: see tiny_vocab.h. */
#include "tiny_vocab.h"

#include <stdio.h>
#include <string.h>

#define SP "\xe2\x96\x81"

static void put(struct tiny *t, const void *p, size_t n) { slv_buf_add(&t->out, p, n); }
static void put_u32(struct tiny *t, uint32_t v) { put(t, &v, sizeof v); }
static void put_u64(struct tiny *t, uint64_t v) { put(t, &v, sizeof v); }

static void put_str(struct tiny *t, const char *s, size_t n) {
    put_u64(t, n);
    put(t, s, n);
}

static void put_key(struct tiny *t, const char *key, enum slv_gguf_kind kind) {
    put_str(t, key, strlen(key));
    put_u32(t, kind);
    t->n_kv++;
}

void tiny_begin(struct tiny *t) {
    t->n_kv = 0;
    slv_buf_init(&t->out, 1 << 22);
    put(t, "GGUF", 4);
    put_u32(t, 3);
    put_u64(t, 0);
    put_u64(t, 0);
}

void tiny_end(struct tiny *t) {
    if (t->out.len >= 24) memcpy(t->out.data + 16, &t->n_kv, sizeof t->n_kv);
}

void tiny_str(struct tiny *t, const char *key, const char *value) {
    put_key(t, key, SLV_GGUF_STR);
    put_str(t, value, strlen(value));
}

void tiny_u32(struct tiny *t, const char *key, uint32_t value) {
    put_key(t, key, SLV_GGUF_U32);
    put_u32(t, value);
}

void tiny_bool(struct tiny *t, const char *key, bool value) {
    put_key(t, key, SLV_GGUF_BOOL);
    put(t, value ? "\1" : "\0", 1);
}

void tiny_array(struct tiny *t, const char *key, enum slv_gguf_kind kind, size_t n) {
    put_key(t, key, SLV_GGUF_ARRAY);
    put_u32(t, kind);
    put_u64(t, n);
}

void tiny_item(struct tiny *t, const char *s, size_t n) { put_str(t, s, n); }

/* --- the vocabularies ------------------------------------------------------------------------- */

struct token {
    const char *text;
    int kind;
    float score;
};

/* GPT-2's characters for the 256 bytes, in the order of the bytes. */
static size_t byte_char(unsigned b, char out[4]) {
    static const unsigned first_hidden = 0x100;
    unsigned cp = b, hidden = 0;
    if (b < 33 || b == 127 || (b > 127 && b < 161) || b == 173) {
        for (unsigned i = 0; i < b; i++)
            hidden += i < 33 || i == 127 || (i > 127 && i < 161) || i == 173;
        cp = first_hidden + hidden;
    }
    if (cp < 0x80) return (size_t)snprintf(out, 4, "%c", (int)cp);
    out[0] = (char)(0xc0 | cp >> 6);
    out[1] = (char)(0x80 | (cp & 0x3f));
    return 2;
}

/* Each row joins to the next token of the vocabulary. \xc4\xa0 is the character of a space. */
static const char *const bpe_merges[] = {"h e",
                                         "l l",
                                         "ll o",
                                         "he llo",
                                         "\xc4\xa0 w",
                                         "o r",
                                         "or l",
                                         "orl d",
                                         "\xc4\xa0w orld",
                                         "a a",
                                         "aa aa",
                                         "aaaa aaaa",
                                         "\xc4\xa0 \xc4\xa0",
                                         "\xc4\x8a \xc4\x8a",
                                         "' s",
                                         "1 2",
                                         "\xc3\x83 \xc2\xa9"};
static const struct token bpe_extra[] = {
    {"<|endoftext|>", 3, 0}, {"<|im_end|>", 3, 0}, {"<user>", 4, 0}, {"<user>x", 4, 0}};
static const struct token spm_tokens[] = {
    {"<unk>", 2, 0},      {"<s>", 3, 0},       {"</s>", 3, 0},  {SP, 1, -20},     {"h", 1, -30},
    {"e", 1, -31},        {"l", 1, -32},       {"o", 1, -33},   {"w", 1, -34},    {"r", 1, -35},
    {"d", 1, -36},        {"a", 1, -37},       {"he", 1, -5},   {"ll", 1, -6},    {"llo", 1, -4},
    {"hello", 1, -3},     {SP "hello", 1, -2}, {SP "w", 1, -7}, {"or", 1, -8},    {"ld", 1, -9},
    {"orld", 1, -10},     {SP "world", 1, -1}, {"aa", 1, -11},  {"aaaa", 1, -12}, {SP SP, 1, -13},
    {"\xc3\xa9", 1, -14}, {"<u>", 4, 0},       {"<", 1, -40},   {"/", 1, -41},    {"s", 1, -42},
    {">", 1, -43},        {"</", 1, -15},      {"s>", 1, -16},  {"\n", 1, -44},   {"\n\n", 1, -17},
    {"unused", 5, -50}};
static const struct token unigram_tokens[] = {
    {"<pad>", 3, 0},     {"</s>", 3, 0}, {"<unk>", 2, 0},    {SP, 1, -4},
    {"a", 1, -5},        {"b", 1, -5},   {"c", 1, -5},       {"ab", 1, -6},
    {"abc", 1, -7},      {"bc", 1, -3},  {SP "a", 1, -4.5f}, {"A", 1, -6},
    {SP "hello", 1, -8}, {"<u>", 4, 0},  {SP "hell", 1, -9}, {"o", 1, -5}};
static const struct token wpm_tokens[] = {
    {"[PAD]", 3, 0},    {"[UNK]", 3, 0}, {"[CLS]", 3, 0},   {"[SEP]", 3, 0},
    {SP "hello", 1, 0}, {SP "un", 1, 0}, {"aff", 1, 0},     {"able", 1, 0},
    {SP "world", 1, 0}, {SP ",", 1, 0},  {SP "cafe", 1, 0}, {SP "\xe4\xbd\xa0", 1, 0},
    {SP "a", 1, 0},     {"a", 1, 0},     {"[MASK]", 3, 0},  {SP "'", 1, 0}};
static const char *const gemma_merges[] = {"h e",   "l l",   "ll o", "he llo", SP " hello",
                                           SP " w", "o r",   "l d",  "or ld",  SP "w orld",
                                           "a a",   "aa aa", "\n \n"};

static void put_tokens(struct tiny *t, const struct token *v, size_t n, size_t bytes, bool raw) {
    char c[8];
    for (size_t b = 0; b < bytes; b++) {
        size_t len = raw ? (size_t)snprintf(c, sizeof c, "<0x%02X>", (unsigned)b)
                         : byte_char((unsigned)b, c);
        put_str(t, c, len);
    }
    for (size_t i = 0; i < n; i++)
        put_str(t, v[i].text, strlen(v[i].text));
}

static bool wanted(const char *key, const char *without) {
    return !without || strcmp(key, without);
}

static void put_vocab(struct tiny *t, const struct token *v, size_t n, size_t bytes, bool raw,
                      const char *const *made, size_t n_made, const char *without) {
    size_t all = bytes + n_made + n;
    if (wanted("tokenizer.ggml.tokens", without)) {
        tiny_array(t, "tokenizer.ggml.tokens", SLV_GGUF_STR, all);
        put_tokens(t, NULL, 0, bytes, raw);
        for (size_t i = 0; i < n_made; i++) { /* a merge's result: its row without the space */
            const char *sp = strchr(made[i] + 1, ' ');
            size_t left = (size_t)(sp - made[i]), right = strlen(sp + 1);
            put_u64(t, left + right);
            put(t, made[i], left);
            put(t, sp + 1, right);
        }
        put_tokens(t, v, n, 0, raw);
    }
    if (wanted("tokenizer.ggml.token_type", without)) {
        tiny_array(t, "tokenizer.ggml.token_type", SLV_GGUF_I32, all);
        for (size_t i = 0; i < all; i++) {
            size_t k = i - bytes - n_made;
            put_u32(t, i < bytes && raw ? 6u : i < bytes + n_made ? 1u : (uint32_t)v[k].kind);
        }
    }
    if (wanted("tokenizer.ggml.scores", without)) {
        tiny_array(t, "tokenizer.ggml.scores", SLV_GGUF_F32, all);
        for (size_t i = 0; i < all; i++) {
            float score = i < bytes + n_made ? -100.0f : v[i - bytes - n_made].score;
            put(t, &score, sizeof score);
        }
    }
}

static void put_merges(struct tiny *t, const char *const *rows, size_t n, const char *without) {
    if (!wanted("tokenizer.ggml.merges", without)) return;
    tiny_array(t, "tokenizer.ggml.merges", SLV_GGUF_STR, n);
    for (size_t i = 0; i < n; i++)
        put_str(t, rows[i], strlen(rows[i]));
}

static void put_id(struct tiny *t, const char *key, size_t id, const char *without) {
    if (wanted(key, without)) tiny_u32(t, key, (uint32_t)id);
}

/* A charsmap that turns U+FF21 (bytes EF BC A1) into "A": one unit a byte, each with its children's
 * indices counted from a round number. */
static void put_charsmap(struct tiny *t) {
    enum { UNITS = 0x401 };
    static uint32_t unit[UNITS];
    unit[0] = 0x100u << 10;
    unit[0x100 ^ 0xef] = (0x1efu ^ 0x200) << 10 | 0xef;
    unit[0x200 ^ 0xbc] = (0x2bcu ^ 0x300) << 10 | 0xbc;
    unit[0x300 ^ 0xa1] = (0x3a1u ^ 0x400) << 10 | 1u << 8 | 0xa1;
    unit[0x400] = 1u << 31;
    tiny_array(t, "tokenizer.ggml.precompiled_charsmap", SLV_GGUF_U8, 4 + sizeof unit + 2);
    put_u32(t, sizeof unit);
    put(t, unit, sizeof unit);
    put(t, "A", 2);
}

#define COUNT(v) (sizeof(v) / sizeof(v)[0])

void tiny_vocab(struct tiny *t, enum tiny_kind kind, const char *without) {
    static const char *const models[] = {"gpt2", "llama", "t5", "bert", "gemma4"};
    tiny_begin(t);
    if (wanted("tokenizer.ggml.model", without)) tiny_str(t, "tokenizer.ggml.model", models[kind]);
    switch (kind) {
    case TINY_BPE:
        if (wanted("tokenizer.ggml.pre", without)) tiny_str(t, "tokenizer.ggml.pre", "gpt-2");
        put_vocab(t, bpe_extra, COUNT(bpe_extra), 256, false, bpe_merges, COUNT(bpe_merges),
                  without);
        put_merges(t, bpe_merges, COUNT(bpe_merges), without);
        put_id(t, "tokenizer.ggml.bos_token_id", 256 + COUNT(bpe_merges), without);
        put_id(t, "tokenizer.ggml.eos_token_id", 256 + COUNT(bpe_merges), without);
        break;
    case TINY_SPM:
        put_vocab(t, spm_tokens, COUNT(spm_tokens), 256, true, NULL, 0, without);
        put_id(t, "tokenizer.ggml.unknown_token_id", 256, without);
        put_id(t, "tokenizer.ggml.bos_token_id", 257, without);
        put_id(t, "tokenizer.ggml.eos_token_id", 258, without);
        break;
    case TINY_UNIGRAM:
        put_vocab(t, unigram_tokens, COUNT(unigram_tokens), 0, true, NULL, 0, without);
        tiny_bool(t, "tokenizer.ggml.add_space_prefix", true);
        tiny_bool(t, "tokenizer.ggml.remove_extra_whitespaces", true);
        if (wanted("tokenizer.ggml.precompiled_charsmap", without)) put_charsmap(t);
        break;
    case TINY_WPM:
        put_vocab(t, wpm_tokens, COUNT(wpm_tokens), 0, true, NULL, 0, without);
        put_id(t, "tokenizer.ggml.unknown_token_id", 1, without);
        put_id(t, "tokenizer.ggml.cls_token_id", 2, without);
        put_id(t, "tokenizer.ggml.seperator_token_id", 3, without);
        break;
    case TINY_GEMMA4:
        put_vocab(t, spm_tokens, COUNT(spm_tokens), 256, true, NULL, 0, without);
        put_merges(t, gemma_merges, COUNT(gemma_merges), without);
        put_id(t, "tokenizer.ggml.bos_token_id", 257, without);
        put_id(t, "tokenizer.ggml.eos_token_id", 258, without);
        break;
    case TINY_KINDS:
        break;
    }
}
