/* test_tokenizer.c: text reaches a model as the ids its authors meant, and its answers come back as
 * the text it meant; whatever the text, and whatever the file says of its vocabulary. The exact
 * ids of real vocabularies are compared in tests/golden. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "format/pretok.h"
#include "format/stream.h"
#include "format/tokenizer.h"
#include "tiny_vocab.h"

#include <stdio.h>
#include <string.h>

#define SP "\xe2\x96\x81"

/* --- helpers ---------------------------------------------------------------------------------- */

struct fixture {
    struct tiny file;
    struct slv_gguf *g;
    struct slv_tokenizer *t;
};

static int try_open(struct fixture *f, struct slv_err *err) {
    f->g = NULL;
    f->t = NULL;
    tiny_end(&f->file);
    assert_int_equal(f->file.out.status, 0);
    int rc = slv_gguf_parse(f->file.out.data, f->file.out.len, &f->g, err);
    return rc ? rc : slv_tokenizer_open(f->g, &f->t, err);
}

static void close_all(struct fixture *f) {
    slv_tokenizer_close(f->t);
    slv_gguf_close(f->g);
    slv_buf_fini(&f->file.out);
}

static void open_kind(struct fixture *f, enum tiny_kind kind) {
    struct slv_err err = {0};
    tiny_vocab(&f->file, kind, NULL);
    if (try_open(f, &err)) fail_msg("%s", err.msg);
}

/* The pieces of text, joined by '|'. */
static const char *pieces(const struct slv_tokenizer *t, const char *text, size_t n,
                          unsigned flags) {
    static char line[4096];
    struct slv_ids ids = {0};
    size_t at = 0;
    assert_int_equal(slv_tokenize(t, text, n, flags, &ids), 0);
    for (size_t i = 0; i < ids.n; i++) {
        struct slv_str p = slv_tokenizer_piece(t, ids.v[i]);
        assert_true(at + p.n + 2 < sizeof line);
        if (i) line[at++] = '|';
        memcpy(line + at, p.p, p.n);
        at += p.n;
    }
    line[at] = '\0';
    slv_ids_fini(&ids);
    return line;
}

static void expect(const struct slv_tokenizer *t, const char *text, unsigned flags,
                   const char *want) {
    assert_string_equal(pieces(t, text, strlen(text), flags), want);
}

/* text -> ids -> text */
static void expect_round_trip(const struct slv_tokenizer *t, const char *text, size_t n,
                              const char *want, size_t want_n) {
    struct slv_ids ids = {0};
    struct slv_buf out;
    slv_buf_init(&out, 1 << 24);
    assert_int_equal(slv_tokenize(t, text, n, 0, &ids), 0);
    assert_int_equal(slv_detokenize(t, ids.v, ids.n, true, false, &out), 0);
    assert_int_equal(out.len, want_n);
    assert_memory_equal(out.data, want, want_n);
    slv_ids_fini(&ids);
    slv_buf_fini(&out);
}

/* A small generator of its own, so that a seed means the same everywhere. */
static uint32_t next(uint64_t *s) {
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*s >> 33);
}

static size_t random_text(uint64_t *seed, char *out, size_t room) {
    static const char *const bits[] = {"hello",      " world",       " ",
                                       "  ",         "\n",           "\n\n",
                                       "\t",         "aaaa",         "a",
                                       "'s",         "don't",        "12345",
                                       "!?",         "...",          "\xc3\xa9",
                                       SP,           "</s>",         "<s>",
                                       "<user>x",    "\xe4\xbd\xa0", "\xf0\x9f\x98\x80",
                                       "\xcc\x81",   "\xc2\xa0",     "\xe3\x80\x80",
                                       "A",          "bC",           "\r\n",
                                       "<|im_end|>", "\xef\xbc\xa1"};
    size_t n = 0;
    for (uint32_t k = next(seed) % 24; k > 0; k--) {
        const char *bit = bits[next(seed) % (sizeof bits / sizeof bits[0])];
        size_t len = strlen(bit);
        if (n + len > room) break;
        memcpy(out + n, bit, len);
        n += len;
    }
    return n;
}

/* --- byte-level BPE --------------------------------------------------------------------------- */

static void words_become_the_pieces_their_merges_make(void **state) {
    (void)state;
    struct fixture f;
    open_kind(&f, TINY_BPE);
    expect(f.t, "hello world", 0, "hello|\xc4\xa0world");
    expect(f.t, "hell", 0, "he|ll");
    expect(f.t, "ello", 0, "e|llo");
    expect(f.t, "it's 12", 0, "i|t|'s|\xc4\xa0|12");
    expect(f.t, "aaaaaaaaaaa", 0, "aaaaaaaa|aa|a");
    expect(f.t, "   x", 0, "\xc4\xa0\xc4\xa0|\xc4\xa0|x");
    expect(f.t, "\xc3\xa9", 0, "\xc3\x83\xc2\xa9");
    expect(f.t, "", 0, "");
    assert_string_equal(slv_tokenizer_name(f.t), "gpt2/gpt-2");
    close_all(&f);
}

static void gemma_newlines_and_spaces_keep_their_pieces(void **state) {
    (void)state;
    struct fixture f;
    open_kind(&f, TINY_GEMMA4);
    expect(f.t, "hello world", 0, "hello|" SP "world");
    expect(f.t, " hello\n\n\nhello", 0, SP "hello|\n\n|\n|hello");
    expect(f.t, "\n\n", 0, "\n\n");
    expect(f.t, "\xc3\xa9z", 0, "\xc3\xa9|<0x7A>");
    expect(f.t, "a", SLV_TOKENIZE_ADD, "<s>|a");
    assert_string_equal(slv_tokenizer_name(f.t), "gemma4");
    close_all(&f);
}

/* --- SentencePiece ---------------------------------------------------------------------------- */

static void sentencepiece_merges_by_score_and_falls_back_to_bytes(void **state) {
    (void)state;
    struct fixture f;
    open_kind(&f, TINY_SPM);
    expect(f.t, "hello world", 0, SP "hello|" SP "world");
    expect(f.t, "hello", SLV_TOKENIZE_ADD, "<s>|" SP "hello");
    expect(f.t, "", SLV_TOKENIZE_ADD, "<s>");
    expect(f.t, "ahello", 0, SP "|a|hello");
    expect(f.t, "z\xe4\xbd\xa0", 0, SP "|<0x7A>|<0xE4>|<0xBD>|<0xA0>");
    expect(f.t, "  aaaaa", 0, SP SP "|" SP "|aaaa|a");
    expect(f.t, "hello<u>hello", 0, SP "hello|<u>|" SP "hello");
    close_all(&f);
}

static void unigram_takes_the_likeliest_cut_of_normalized_text(void **state) {
    (void)state;
    struct fixture f;
    open_kind(&f, TINY_UNIGRAM);
    expect(f.t, "abc", 0, SP "a|bc");
    expect(f.t, "  a   bc ", 0, SP "a|" SP "|bc");
    expect(f.t, "hello", SLV_TOKENIZE_ADD, SP "hello|</s>");
    expect(f.t, "a\xef\xbc\xa1", 0, SP "a|A");
    expect(f.t,
           "axyz\xe4\xbd\xa0"
           "a",
           0, SP "a|<unk>|a");
    expect(f.t, "   ", 0, "");
    close_all(&f);
}

static void wordpiece_covers_words_or_gives_them_up(void **state) {
    (void)state;
    struct fixture f;
    char longest[201];
    memset(longest, 'a', 200);
    longest[200] = '\0';
    open_kind(&f, TINY_WPM);
    expect(f.t, "Hello, WORLD", SLV_TOKENIZE_ADD, "[CLS]|" SP "hello|" SP ",|" SP "world|[SEP]");
    expect(f.t, "unaffable caf\xc3\xa9 \xe4\xbd\xa0\xe4\xbd\xa0", 0,
           SP "un|aff|able|" SP "cafe|" SP "\xe4\xbd\xa0|" SP "\xe4\xbd\xa0");
    expect(f.t, "unknown hello", 0, "[UNK]|" SP "hello");
    expect(f.t,
           "a\x0b"
           "aff\xe2\x80\x8b",
           0, SP "a|aff");
    expect(f.t, longest, 0, "[UNK]");
    expect(f.t, longest + 195, 0, SP "a|a|a|a|a");
    close_all(&f);
}

/* --- control tokens --------------------------------------------------------------------------- */

static void users_cannot_type_control_tokens(void **state) {
    (void)state;
    struct fixture f;
    open_kind(&f, TINY_BPE);
    expect(f.t, "<|im_end|>", 0, "<|||i|m|_|e|n|d|||>");
    expect(f.t, "a<|im_end|>a", SLV_TOKENIZE_SPECIAL, "a|<|im_end|>|a");
    expect(f.t, "a<user>x<user>a", 0, "a|<user>x|<user>|a");
    close_all(&f);
    open_kind(&f, TINY_SPM);
    expect(f.t, "</s>", 0, SP "|</|s>");
    expect(f.t, "</s>", SLV_TOKENIZE_SPECIAL, "</s>");
    expect(f.t, "<0x41>", 0, SP "|<|<0x30>|<0x78>|<0x34>|<0x31>|>");
    close_all(&f);
    open_kind(&f, TINY_WPM);
    expect(f.t, "[MASK]a", SLV_TOKENIZE_SPECIAL, "[MASK]|" SP "a");
    expect(f.t, "[MASK]", 0, "[UNK]|[UNK]|[UNK]");
    close_all(&f);
}

/* Control tokens of one character, one the beginning of another, one that is half a character,
 * and a user-defined one. What a message spells must give no control token, in any surroundings. */
static void short_control_tokens_cannot_be_typed_either(void **state) {
    (void)state;
    static const char *const tokens[] = {"<unk>", "#", "#a", "\xc2\xa7", "\xa9", "b#", "[T]"};
    static const uint32_t kinds[] = {2, 3, 3, 3, 3, 4, 3};
    static const char *const texts[] = {"#",   "#a",  "##",       "\xc2\xa7",  "b#",
                                        "b##", "#b#", "\xc3\xa9", "a\xc2\xa9", "#\xc2\xa7#a#"};
    struct fixture f;
    struct slv_err err = {0};
    tiny_begin(&f.file);
    tiny_str(&f.file, "tokenizer.ggml.model", "llama");
    tiny_array(&f.file, "tokenizer.ggml.tokens", SLV_GGUF_STR, 7 + 256);
    for (size_t i = 0; i < 7; i++)
        tiny_item(&f.file, tokens[i], strlen(tokens[i]));
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", b);
        tiny_item(&f.file, text, 6);
    }
    tiny_array(&f.file, "tokenizer.ggml.token_type", SLV_GGUF_U32, 7 + 256);
    for (uint32_t i = 0, byte = 6; i < 7 + 256; i++)
        slv_buf_add(&f.file.out, i < 7 ? &kinds[i] : &byte, 4);
    tiny_array(&f.file, "tokenizer.ggml.scores", SLV_GGUF_F32, 7 + 256);
    for (size_t i = 0; i < 7 + 256; i++)
        slv_buf_add(&f.file.out, "\0\0\0", 4);
    if (try_open(&f, &err)) fail_msg("%s", err.msg);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct slv_buf b;
        struct slv_ids ids = {0};
        slv_buf_init(&b, 1000);
        slv_buf_adds(&b, "[T]");
        assert_int_equal(slv_token_guard(f.t, texts[i], strlen(texts[i]), &b), 0);
        slv_buf_adds(&b, "[T]");
        unsigned flags = SLV_TOKENIZE_SPECIAL | SLV_TOKENIZE_GUARDS;
        assert_int_equal(slv_tokenize(f.t, b.data, b.len, flags, &ids), 0);
        assert_true(ids.n >= 3); /* the template's own two are read */
        assert_int_equal(ids.v[0], 6);
        assert_int_equal(ids.v[ids.n - 1], 6);
        for (size_t k = 1; k + 1 < ids.n; k++)
            if (slv_tokenizer_kind(f.t, ids.v[k]) == SLV_TOKEN_CONTROL) fail_msg("'%s'", texts[i]);
        slv_ids_fini(&ids);
        slv_buf_fini(&b);
    }
    close_all(&f);
}

static void white_space_by_a_token_goes_where_its_model_wants_it(void **state) {
    (void)state;
    struct fixture f;
    struct slv_err err = {0};
    tiny_vocab(&f.file, TINY_SPM, NULL);
    tiny_str(&f.file, "general.name", "My-PHI-3-tuned");
    if (try_open(&f, &err)) fail_msg("%s", err.msg);
    expect(f.t, "<u> \n\xe3\x80\x80hello", 0, "<u>|" SP "hello");
    expect(f.t, "<s> hello", SLV_TOKENIZE_SPECIAL, "<s>|" SP "|" SP "hello");
    close_all(&f);
}

static void generation_ends_at_every_kind_of_end(void **state) {
    (void)state;
    struct fixture f;
    struct slv_err err = {0};
    open_kind(&f, TINY_BPE);
    size_t ends = 0;
    for (size_t i = 0; i < slv_tokenizer_size(f.t); i++)
        ends += slv_tokenizer_is_end(f.t, (int32_t)i);
    assert_int_equal(ends, 2);
    assert_true(slv_tokenizer_is_end(f.t, slv_tokenizer_find(f.t, "<|endoftext|>", 13)));
    assert_true(slv_tokenizer_is_end(f.t, slv_tokenizer_find(f.t, "<|im_end|>", 10)));
    assert_false(slv_tokenizer_is_end(f.t, -1));
    assert_false(slv_tokenizer_is_end(f.t, 1 << 20));
    close_all(&f);
    tiny_vocab(&f.file, TINY_SPM, NULL);
    tiny_u32(&f.file, "tokenizer.ggml.eot_token_id", 260);
    if (try_open(&f, &err)) fail_msg("%s", err.msg);
    assert_true(slv_tokenizer_is_end(f.t, 258));
    assert_true(slv_tokenizer_is_end(f.t, 260));
    assert_false(slv_tokenizer_is_end(f.t, 257));
    close_all(&f);
}

/* --- back to text ----------------------------------------------------------------------------- */

static void every_byte_survives_the_round_trip(void **state) {
    (void)state;
    struct fixture f;
    uint64_t seed = 7;
    char text[512];
    open_kind(&f, TINY_BPE);
    for (int i = 0; i < 2000; i++) {
        size_t n = random_text(&seed, text, sizeof text);
        expect_round_trip(f.t, text, n, text, n);
    }
    close_all(&f);
    open_kind(&f, TINY_SPM); /* a user token first has no space before it to drop */
    expect_round_trip(f.t, " hello  \n z", 11, " hello  \n z", 11);
    close_all(&f);
    open_kind(&f, TINY_WPM);
    expect_round_trip(f.t, "Hello, world", 12, "hello , world", 13);
    close_all(&f);
}

static void broken_text_is_repaired_before_it_is_cut(void **state) {
    (void)state;
    struct fixture f;
    open_kind(&f, TINY_BPE);
    expect_round_trip(f.t,
                      "a\xff\xe4\xbd"
                      "b\0c",
                      7,
                      "a\xef\xbf\xbd\xef\xbf\xbd"
                      "b\0c",
                      10);
    close_all(&f);
}

static void unknown_ids_are_refused(void **state) {
    (void)state;
    struct fixture f;
    struct slv_buf out;
    open_kind(&f, TINY_BPE);
    slv_buf_init(&out, 16);
    int32_t past = (int32_t)slv_tokenizer_size(f.t);
    assert_int_equal(slv_token_bytes(f.t, -1, true, true, &out), SLV_E_USAGE);
    assert_int_equal(slv_token_bytes(f.t, past, true, true, &out), SLV_E_USAGE);
    assert_int_equal(slv_detokenize(f.t, &past, 1, true, true, &out), SLV_E_USAGE);
    assert_int_equal(out.len, 0);
    assert_int_equal(slv_tokenizer_piece(f.t, past).n, 0);
    assert_int_equal(slv_tokenizer_kind(f.t, past), SLV_TOKEN_UNUSED);
    assert_int_equal(slv_tokenizer_find(f.t, "nothing", 7), -1);
    int32_t big = slv_tokenizer_find(f.t, "<|endoftext|>", 13);
    assert_int_equal(slv_token_bytes(f.t, big, true, true, &out), 0);
    assert_int_equal(slv_token_bytes(f.t, big, true, true, &out), SLV_E_LIMIT);
    assert_int_equal(out.len, 13);
    slv_buf_fini(&out);
    close_all(&f);
}

static void control_tokens_are_silent_unless_asked_for(void **state) {
    (void)state;
    struct fixture f;
    struct slv_buf out;
    open_kind(&f, TINY_SPM);
    slv_buf_init(&out, 64);
    int32_t ids[] = {257, slv_tokenizer_find(f.t, SP "hello", 8),
                     slv_tokenizer_find(f.t, SP "world", 8), 258};
    assert_int_equal(slv_detokenize(f.t, ids, 4, false, false, &out), 0);
    assert_string_equal(out.data, "hello world");
    slv_buf_clear(&out);
    assert_int_equal(slv_detokenize(f.t, ids, 4, true, false, &out), 0);
    assert_string_equal(out.data, "<s> hello world</s>");
    slv_buf_fini(&out);
    close_all(&f);
}

static void streamed_text_is_the_whole_text(void **state) {
    (void)state;
    struct fixture f;
    uint64_t seed = 99;
    for (int kind = 0; kind < TINY_KINDS; kind++) {
        open_kind(&f, (enum tiny_kind)kind);
        uint32_t size = (uint32_t)slv_tokenizer_size(f.t);
        for (int round = 0; round < 500; round++) {
            struct slv_buf whole, parts;
            struct slv_stream s;
            int32_t ids[32];
            size_t n = next(&seed) % 32;
            for (size_t i = 0; i < n; i++)
                ids[i] = (int32_t)(next(&seed) % (kind == TINY_BPE && round % 2 ? 256 : size));
            slv_buf_init(&whole, 1 << 16);
            slv_buf_init(&parts, 1 << 16);
            assert_int_equal(slv_detokenize(f.t, ids, n, round & 4, true, &whole), 0);
            char *fixed = slv_mem_alloc(3 * whole.len + 1);
            assert_non_null(fixed);
            size_t fixed_n = slv_utf8_repair(whole.data, whole.len, fixed, NULL);
            slv_stream_init(&s, f.t, round & 4, false);
            for (size_t i = 0; i < n; i++) {
                size_t before = parts.len;
                assert_int_equal(slv_stream_add(&s, ids[i], &parts), 0);
                assert_true(slv_utf8_valid(parts.data + before, parts.len - before, NULL));
            }
            assert_int_equal(slv_stream_end(&s, &parts), 0);
            assert_int_equal(parts.len, fixed_n);
            assert_memory_equal(parts.data, fixed, fixed_n);
            slv_mem_free(fixed);
            slv_buf_fini(&whole);
            slv_buf_fini(&parts);
        }
        close_all(&f);
    }
}

static void a_character_is_shown_when_it_is_whole(void **state) {
    (void)state;
    struct fixture f;
    struct slv_stream s;
    struct slv_buf out;
    open_kind(&f, TINY_BPE);
    slv_buf_init(&out, 64);
    slv_stream_init(&s, f.t, false, false);
    assert_int_equal(slv_stream_add(&s, 0xf0, &out), 0);
    assert_int_equal(slv_stream_add(&s, 0x9f, &out), 0);
    assert_int_equal(slv_stream_add(&s, 0x98, &out), 0);
    assert_int_equal(out.len, 0);
    assert_int_equal(slv_stream_add(&s, 0x80, &out), 0);
    assert_string_equal(out.data, "\xf0\x9f\x98\x80");
    assert_int_equal(slv_stream_add(&s, 0xe4, &out), 0);
    assert_int_equal(slv_stream_add(&s, 'x', &out), 0);
    assert_int_equal(slv_stream_add(&s, 0xe4, &out), 0);
    assert_int_equal(slv_stream_end(&s, &out), 0);
    assert_string_equal(out.data, "\xf0\x9f\x98\x80\xef\xbf\xbdx\xef\xbf\xbd");
    slv_buf_fini(&out);
    close_all(&f);
}

/* --- pre-tokenizers --------------------------------------------------------------------------- */

static int join_word(void *ctx, const char *s, size_t n) {
    struct slv_buf *b = ctx;
    if (b->len) slv_buf_addc(b, '|');
    return slv_buf_add(b, s, n);
}

static void each_pre_tokenizer_cuts_as_its_expression_says(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *want;
    } cases[] = {
        {"gpt-2", "I'll 12ab  x!\n", "I|'ll| 12|ab| | x|!|\n"},
        {"gpt-2", "I'LL", "I|'|LL"},
        {"smollm", "a 123", "a| |1|2|3"},
        {"llama-bpe", "I'LL 12345 (x)\n\n y  z", "I|'LL| |123|45| (|x|)\n\n| y| | z"},
        {"llama-bpe", "\t\tx\r\n \n  ", "\t|\tx|\r\n \n|  "},
        {"llama-bpe", "a'\xc5\xbf", "a|'\xc5\xbf"},
        {"qwen2", "12 \xc2\xa0x", "1|2| |\xc2\xa0x"},
        {"qwen35", "e\xcc\x81x", "e\xcc\x81x"},
        {"gpt-4o",
         "HTTPServer's \xc3\x89"
         "cole/\n/x",
         "HTTPServer's| \xc3\x89"
         "cole|/\n/|x"},
        {"gpt-4o", "aBC", "a|BC"},
        {"tekken", "it's 12", "it|'s| |1|2"},
        {"deepseek-v3", "a+b 1234 .net", "a|+b| |123|4| .|net"},
        {"deepseek-llm", "x  12\n ab  ", "x|  |1|2|\n| ab|  "},
        {"deepseek-coder", "x  12\n ab,", "x|  |1|2|\n| ab|,"},
        {"falcon", "a$ 1234", "a|$| |123|4"},
        {"default", "a` 1234", "a|`| |123|4"},
        {"bloom", "a,b (c d)", "a|,|b| (|c| d|)"},
        {"viking", "a12", "a|1|2"},
        {"tiny_aya", "1234567 1234a", "1|234|567| |123|4|a"},
        {"jais-2", "a       b", "a|    |  | b"},
        {"exaone-moe", "ab cd  ef", "ab cd| | ef"},
        {"kimi-k2",
         "ab\xe4\xbd\xa0\xe4\xbd\xa0"
         "cd",
         "ab|\xe4\xbd\xa0\xe4\xbd\xa0|cd"},
        {"gemma4", "a b\n\nc", "a b|\n\n|c"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct slv_pretok *p =
            slv_pretok_find((struct slv_str){cases[i].name, strlen(cases[i].name)});
        struct slv_buf b;
        assert_non_null(p);
        slv_buf_init(&b, 1024);
        assert_int_equal(slv_pretok_split(p, cases[i].text, strlen(cases[i].text), join_word, &b),
                         0);
        if (strcmp(b.data, cases[i].want)) print_message("%s\n", cases[i].name);
        assert_string_equal(b.data, cases[i].want);
        slv_buf_fini(&b);
    }
}

struct cover {
    const char *at;
    size_t words;
};

static int cover_word(void *ctx, const char *s, size_t n) {
    struct cover *c = ctx;
    if (s != c->at || !n) return SLV_E_INTERNAL;
    c->at += n;
    c->words++;
    return 0;
}

static void no_pre_tokenizer_loses_or_moves_a_byte(void **state) {
    (void)state;
    uint64_t seed = 5;
    char text[512];
    const struct slv_pretok *p;
    for (size_t i = 0; (p = slv_pretok_at(i)); i++) {
        assert_ptr_equal(slv_pretok_find((struct slv_str){p->name, strlen(p->name)}), p);
        for (int k = 0; k < 200; k++) {
            size_t n = random_text(&seed, text, sizeof text);
            struct cover c = {text, 0};
            assert_int_equal(slv_pretok_split(p, text, n, cover_word, &c), 0);
            assert_ptr_equal(c.at, text + n);
        }
    }
}

static int stop_at_once(void *ctx, const char *s, size_t n) {
    (void)ctx;
    (void)s;
    (void)n;
    return SLV_E_NOMEM;
}

static void a_failing_word_stops_the_cutting(void **state) {
    (void)state;
    const struct slv_pretok *p = slv_pretok_find((struct slv_str){"deepseek-llm", 12});
    assert_int_equal(slv_pretok_split(p, "a b c", 5, stop_at_once, NULL), SLV_E_NOMEM);
}

/* --- hostile files ---------------------------------------------------------------------------- */

/* One wrong thing each. `key` is left out and, unless GONE, written again as `how` says; the error
 * must name `named`, or key where that is NULL. */
enum how { GONE, STRING, NUMBER, STRINGS, WORDS, BYTES };
static const struct spoiled {
    enum tiny_kind kind;
    const char *key, *named;
    int code;
    enum how how;
    const char *a, *b;       /* STRING, STRINGS */
    enum slv_gguf_kind elem; /* WORDS: n times v */
    size_t n;
    uint32_t v; /* also NUMBER */
} spoiled[] = {
    {TINY_BPE, "tokenizer.ggml.model", NULL, SLV_E_FORMAT, GONE, .n = 0},
    {TINY_BPE, "tokenizer.ggml.model", "rwkv", SLV_E_UNSUPPORTED, STRING, "rwkv", .n = 0},
    {TINY_BPE, "tokenizer.ggml.pre", NULL, SLV_E_FORMAT, NUMBER, .v = 1},
    {TINY_BPE, "tokenizer.ggml.pre", "no-such", SLV_E_UNSUPPORTED, STRING, "no-such", .n = 0},
    {TINY_BPE, "tokenizer.ggml.tokens", NULL, SLV_E_FORMAT, GONE, .n = 0},
    {TINY_BPE, "tokenizer.ggml.tokens", NULL, SLV_E_FORMAT, STRINGS, .n = 0},
    {TINY_BPE, "tokenizer.ggml.tokens", NULL, SLV_E_FORMAT, WORDS, .elem = SLV_GGUF_U32, .n = 3},
    {TINY_BPE, "tokenizer.ggml.merges", NULL, SLV_E_FORMAT, GONE, .n = 0},
    {TINY_BPE, "tokenizer.ggml.merges", NULL, SLV_E_FORMAT, WORDS, .elem = SLV_GGUF_F32, .n = 3},
    {TINY_BPE, "tokenizer.ggml.merges", "merges[0]", SLV_E_FORMAT, STRINGS, "he", NULL, .n = 0},
    {TINY_BPE, "tokenizer.ggml.merges", "merges[1]", SLV_E_FORMAT, STRINGS, "h e", "h ", .n = 0},
    {TINY_BPE, "tokenizer.ggml.merges", "merges[1]", SLV_E_FORMAT, STRINGS, "h e", "h xyz", .n = 0},
    {TINY_BPE, "tokenizer.ggml.merges", "merges[0]", SLV_E_FORMAT, STRINGS, "z q", NULL, .n = 0},
    {TINY_BPE, "tokenizer.ggml.bos_token_id", NULL, SLV_E_FORMAT, NUMBER, .v = 100000},
    {TINY_BPE, "tokenizer.ggml.eos_token_id", NULL, SLV_E_FORMAT, NUMBER, .v = 0x80000000u},
    {TINY_BPE, "tokenizer.ggml.eot_token_id", NULL, SLV_E_FORMAT, NUMBER, .v = 100000},
    {TINY_BPE, "tokenizer.ggml.eom_token_id", NULL, SLV_E_FORMAT, STRING, "x", .n = 0},
    {TINY_BPE, "tokenizer.ggml.add_bos_token", NULL, SLV_E_FORMAT, STRING, "yes", .n = 0},
    {TINY_SPM, "tokenizer.ggml.scores", NULL, SLV_E_FORMAT, GONE, .n = 0},
    {TINY_SPM, "tokenizer.ggml.scores", NULL, SLV_E_FORMAT, WORDS, .elem = SLV_GGUF_F32, .n = 3},
    {TINY_SPM, "tokenizer.ggml.scores", "[0]", SLV_E_FORMAT, WORDS, .elem = SLV_GGUF_F32, .n = 1000,
     .v = 0x7fc00000},
    {TINY_SPM, "tokenizer.ggml.scores", NULL, SLV_E_FORMAT, STRINGS, "1.0", NULL, .n = 0},
    {TINY_SPM, "tokenizer.ggml.token_type", NULL, SLV_E_FORMAT, WORDS, .elem = SLV_GGUF_I32, .n = 3,
     .v = 1},
    {TINY_SPM, "tokenizer.ggml.token_type", "[0]", SLV_E_FORMAT, WORDS, .elem = SLV_GGUF_I32,
     .n = 1000, .v = 77},
    {TINY_SPM, "tokenizer.ggml.token_type", "tokens[256]", SLV_E_FORMAT, WORDS,
     .elem = SLV_GGUF_I32, .n = 1000, .v = 6},
    {TINY_UNIGRAM, "tokenizer.ggml.precompiled_charsmap", NULL, SLV_E_FORMAT, WORDS,
     .elem = SLV_GGUF_U32, .n = 1},
    {TINY_UNIGRAM, "tokenizer.ggml.precompiled_charsmap", NULL, SLV_E_FORMAT, BYTES, "\4\0\0", NULL,
     .n = 4},
    {TINY_UNIGRAM, "tokenizer.ggml.unknown_token_id", NULL, SLV_E_FORMAT, NUMBER, .v = UINT32_MAX},
    {TINY_WPM, "tokenizer.ggml.unknown_token_id", NULL, SLV_E_FORMAT, NUMBER, .v = UINT32_MAX},
};

static void write_spoiled(struct tiny *t, const struct spoiled *s) {
    tiny_vocab(t, s->kind, s->key);
    switch (s->how) {
    case GONE:
        break;
    case STRING:
        tiny_str(t, s->key, s->a);
        break;
    case NUMBER:
        tiny_u32(t, s->key, s->v);
        break;
    case STRINGS:
        tiny_array(t, s->key, SLV_GGUF_STR, (size_t)(s->a != NULL) + (s->b != NULL));
        if (s->a) tiny_item(t, s->a, strlen(s->a));
        if (s->b) tiny_item(t, s->b, strlen(s->b));
        break;
    case WORDS:
        tiny_array(t, s->key, s->elem, s->n);
        for (size_t i = 0; i < s->n; i++)
            slv_buf_add(&t->out, &s->v, 4);
        break;
    case BYTES:
        tiny_array(t, s->key, SLV_GGUF_U8, s->n);
        slv_buf_add(&t->out, s->a, s->n);
        break;
    }
}

static void vocabularies_that_contradict_themselves_are_refused_by_key(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof spoiled / sizeof spoiled[0]; i++) {
        const struct spoiled *s = spoiled + i;
        const char *named = s->named ? s->named : s->key;
        struct slv_err err = {0};
        struct fixture f;
        write_spoiled(&f.file, s);
        int rc = try_open(&f, &err);
        if (rc != s->code || !strstr(err.msg, named))
            fail_msg("case %zu: %d, '%s', not %s", i, rc, err.msg, named);
        close_all(&f);
    }
}

static void a_charsmap_that_points_outside_itself_changes_nothing(void **state) {
    (void)state;
    struct fixture f;
    struct slv_err err = {0};
    uint64_t seed = 3;
    for (int round = 0; round < 200; round++) {
        tiny_vocab(&f.file, TINY_UNIGRAM, "tokenizer.ggml.precompiled_charsmap");
        tiny_array(&f.file, "tokenizer.ggml.precompiled_charsmap", SLV_GGUF_U8, 4 + 1024 + 3);
        slv_buf_add(&f.file.out, "\0\4\0", 4);
        for (size_t i = 0; i < 1024 + 3; i++)
            slv_buf_addc(&f.file.out, (char)next(&seed));
        if (try_open(&f, &err)) fail_msg("%s", err.msg);
        char text[256];
        size_t n = random_text(&seed, text, sizeof text);
        struct slv_ids ids = {0};
        assert_int_equal(slv_tokenize(f.t, text, n, 0, &ids), 0);
        slv_ids_fini(&ids);
        close_all(&f);
    }
}

/* A unigram vocabulary whose charsmap maps "a" to `target` and, if `loop`, "a" after "a" without
 * end. */
static void open_charsmap(struct fixture *f, bool loop, const char *target) {
    enum { UNITS = 0x400 };
    static uint32_t unit[UNITS];
    struct slv_err err = {0};
    uint32_t next_children = loop ? 'a' : 0x200 ^ (0x100 ^ 'a');
    memset(unit, 0, sizeof unit);
    unit[0] = 0x100u << 10;
    unit[0x100 ^ 'a'] = next_children << 10 | (loop ? 0 : 1u << 8) | 'a';
    unit[0x200] = 1u << 31;
    tiny_vocab(&f->file, TINY_UNIGRAM, "tokenizer.ggml.precompiled_charsmap");
    tiny_array(&f->file, "tokenizer.ggml.precompiled_charsmap", SLV_GGUF_U8,
               4 + sizeof unit + strlen(target) + 1);
    uint32_t bytes = sizeof unit;
    slv_buf_add(&f->file.out, &bytes, sizeof bytes);
    slv_buf_add(&f->file.out, unit, sizeof unit);
    slv_buf_add(&f->file.out, target, strlen(target) + 1);
    if (try_open(f, &err)) fail_msg("%s", err.msg);
}

static void a_charsmap_neither_stalls_nor_bloats(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    char target[220], *text = slv_mem_alloc(N);
    struct fixture f;
    struct slv_ids ids = {0};
    assert_non_null(text);
    memset(text, 'a', N);
    open_charsmap(&f, true, "b");
    uint64_t t0 = slv_clock_mono(&slv_clock_system);
    assert_int_equal(slv_tokenize(f.t, text, N, 0, &ids), 0);
    uint64_t ms = (slv_clock_mono(&slv_clock_system) - t0) / 1000000;
    if (ms > 20000) fail_msg("%llu ms", (unsigned long long)ms);
    close_all(&f);
    memset(target, 'b', sizeof target - 1);
    target[sizeof target - 1] = '\0';
    open_charsmap(&f, false, target);
    assert_int_equal(slv_tokenize(f.t, text, N, 0, &ids), SLV_E_LIMIT);
    close_all(&f);
    open_charsmap(&f, false, "bbbb");
    ids.n = 0;
    assert_int_equal(slv_tokenize(f.t, text, 100, 0, &ids), 0);
    assert_true(ids.n >= 400);
    close_all(&f);
    slv_ids_fini(&ids);
    slv_mem_free(text);
}

/* What is searched for at each place of a text is short: else "aaa...b" in a vocabulary and a
 * megabyte of "a" in a text take hours. */
static void pieces_too_long_to_search_for_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *model;
        uint32_t kind;
    } sought[] = {{"gpt2", 3}, {"gpt2", 4}, {"llama", 3}, {"t5", 1}, {"bert", 1}};
    char piece[258];
    memset(piece, 'a', sizeof piece);
    for (size_t i = 0; i < 2 * sizeof sought / sizeof sought[0]; i++) {
        bool fits = i % 2;
        struct fixture f;
        struct slv_err err = {0};
        float score = 0;
        tiny_begin(&f.file);
        tiny_str(&f.file, "tokenizer.ggml.model", sought[i / 2].model);
        tiny_array(&f.file, "tokenizer.ggml.tokens", SLV_GGUF_STR, 1);
        tiny_item(&f.file, piece, fits ? 256 : 257);
        tiny_array(&f.file, "tokenizer.ggml.token_type", SLV_GGUF_U32, 1);
        slv_buf_add(&f.file.out, &sought[i / 2].kind, 4);
        tiny_array(&f.file, "tokenizer.ggml.scores", SLV_GGUF_F32, 1);
        slv_buf_add(&f.file.out, &score, 4);
        tiny_array(&f.file, "tokenizer.ggml.merges", SLV_GGUF_STR, 0);
        tiny_u32(&f.file, "tokenizer.ggml.unknown_token_id", 0);
        assert_int_equal(try_open(&f, &err), fits ? 0 : SLV_E_LIMIT);
        assert_true(fits || strstr(err.msg, "tokenizer.ggml.tokens[0] has 257 bytes"));
        close_all(&f);
    }
}

/* --- memory and time -------------------------------------------------------------------------- */

static int open_and_use(struct fixture *f, enum tiny_kind kind) {
    static const char text[] = "hello world <u><user> caf\xc3\xa9 \xff </s> aaaaaaaaaa ab a";
    struct slv_err err = {0};
    struct slv_ids ids = {0};
    struct slv_buf out;
    slv_buf_init(&out, 1 << 16);
    int rc = slv_gguf_parse(f->file.out.data, f->file.out.len, &f->g, &err);
    if (!rc) rc = slv_tokenizer_open(f->g, &f->t, &err);
    if (!rc) rc = slv_tokenize(f->t, text, sizeof text - 1, SLV_TOKENIZE_ADD, &ids);
    if (!rc) rc = slv_detokenize(f->t, ids.v, ids.n, true, false, &out);
    if (!rc && kind == TINY_BPE) {
        static const int32_t broken[] = {0xe4, 'a', 0xff};
        rc = slv_detokenize(f->t, broken, 3, true, false, &out);
    }
    if (rc && f->t) assert_int_equal(rc, SLV_E_NOMEM);
    slv_buf_fini(&out);
    slv_ids_fini(&ids);
    slv_tokenizer_close(f->t);
    slv_gguf_close(f->g);
    f->t = NULL;
    f->g = NULL;
    return rc;
}

static void any_failed_allocation_is_an_error_and_no_leak(void **state) {
    (void)state;
    for (int kind = 0; kind < TINY_KINDS; kind++) {
        struct fixture f = {0};
        uint64_t n = 1;
        int rc = SLV_E_NOMEM;
        tiny_vocab(&f.file, (enum tiny_kind)kind, NULL);
        tiny_end(&f.file);
        for (; rc == SLV_E_NOMEM; n++) {
            slv_mem_fail_at(n);
            rc = open_and_use(&f, (enum tiny_kind)kind);
            slv_mem_fail_at(0);
        }
        assert_int_equal(rc, 0);
        assert_true(n > 10);
        slv_buf_fini(&f.file.out);
    }
}

/* Not a benchmark: a megabyte takes well under a second, and minutes if the work were quadratic; so
 * would the eighth of it that does for the less likely texts. */
static void a_megabyte_of_anything_takes_no_more_than_seconds(void **state) {
    (void)state;
    static const char *const units[] = {"a",  " ",    "\n",  "7",           "'s",       "<user>",
                                        "<u", "aB",   " \n", "\xcc\x81",    "hello wo", "\xff",
                                        SP,   "</s>", "A",   "\xe3\x80\x80"};
    enum { MEGABYTE = 1 << 20 };
    char *text = slv_mem_alloc(MEGABYTE);
    assert_non_null(text);
    for (int kind = 0; kind < TINY_KINDS; kind++) {
        struct fixture f;
        open_kind(&f, (enum tiny_kind)kind);
        for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
            size_t len = strlen(units[u]), n = u < 3 ? MEGABYTE : MEGABYTE / 8;
            for (size_t i = 0; i < n; i++)
                text[i] = units[u][i % len];
            struct slv_ids ids = {0};
            uint64_t t0 = slv_clock_mono(&slv_clock_system);
            assert_int_equal(slv_tokenize(f.t, text, n, 0, &ids), 0);
            uint64_t ms = (slv_clock_mono(&slv_clock_system) - t0) / 1000000;
            if (ms > 20000) fail_msg("kind %d, unit %zu: %llu ms", kind, u, (unsigned long long)ms);
            slv_ids_fini(&ids);
        }
        close_all(&f);
    }
    slv_mem_free(text);
}

static void every_pre_tokenizer_is_linear(void **state) {
    (void)state;
    static const char *const units[] = {
        " ", "7", "A", "aB", "\n ", "'", "\xcc\x81", "\344\275\240A", "a "};
    enum { N = 1 << 17 };
    char *text = slv_mem_alloc(N);
    const struct slv_pretok *p;
    assert_non_null(text);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t len = strlen(units[u]), n = N / len * len;
        for (size_t i = 0; i < n; i++)
            text[i] = units[u][i % len];
        for (size_t i = 0; (p = slv_pretok_at(i)); i++) {
            struct cover c = {text, 0};
            uint64_t t0 = slv_clock_mono(&slv_clock_system);
            assert_int_equal(slv_pretok_split(p, text, n, cover_word, &c), 0);
            uint64_t ms = (slv_clock_mono(&slv_clock_system) - t0) / 1000000;
            if (ms > 5000) fail_msg("%s, unit %zu: %llu ms", p->name, u, (unsigned long long)ms);
        }
    }
    slv_mem_free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_become_the_pieces_their_merges_make),
        cmocka_unit_test(gemma_newlines_and_spaces_keep_their_pieces),
        cmocka_unit_test(sentencepiece_merges_by_score_and_falls_back_to_bytes),
        cmocka_unit_test(unigram_takes_the_likeliest_cut_of_normalized_text),
        cmocka_unit_test(wordpiece_covers_words_or_gives_them_up),
        cmocka_unit_test(users_cannot_type_control_tokens),
        cmocka_unit_test(short_control_tokens_cannot_be_typed_either),
        cmocka_unit_test(white_space_by_a_token_goes_where_its_model_wants_it),
        cmocka_unit_test(generation_ends_at_every_kind_of_end),
        cmocka_unit_test(every_byte_survives_the_round_trip),
        cmocka_unit_test(broken_text_is_repaired_before_it_is_cut),
        cmocka_unit_test(unknown_ids_are_refused),
        cmocka_unit_test(control_tokens_are_silent_unless_asked_for),
        cmocka_unit_test(streamed_text_is_the_whole_text),
        cmocka_unit_test(a_character_is_shown_when_it_is_whole),
        cmocka_unit_test(each_pre_tokenizer_cuts_as_its_expression_says),
        cmocka_unit_test(no_pre_tokenizer_loses_or_moves_a_byte),
        cmocka_unit_test(a_failing_word_stops_the_cutting),
        cmocka_unit_test(vocabularies_that_contradict_themselves_are_refused_by_key),
        cmocka_unit_test(a_charsmap_that_points_outside_itself_changes_nothing),
        cmocka_unit_test(a_charsmap_neither_stalls_nor_bloats),
        cmocka_unit_test(pieces_too_long_to_search_for_are_refused),
        cmocka_unit_test(any_failed_allocation_is_an_error_and_no_leak),
        cmocka_unit_test(a_megabyte_of_anything_takes_no_more_than_seconds),
        cmocka_unit_test(every_pre_tokenizer_is_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
