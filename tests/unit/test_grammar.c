/* test_grammar.c: what holds answers to a grammar. What a user would lose: an answer that is none
 * of the grammar's, a text of it that is refused, a model that is led to where no token goes on, a
 * tool call that begins in the middle of free text and is not noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/constraint/grammar.h"
#include "engine/constraint/mask.h"
#include "format/tokenizer.h"
#include "tiny_vocab.h"

#include <stdio.h>
#include <string.h>

static uint64_t random_state = 1;

static uint32_t draw(uint32_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % n;
}

/* --- a vocabulary ----------------------------------------------------------------------------- */

static struct slv_gguf *vocab_file;
static struct tiny vocab;
static struct slv_tokenizer *tokenizer;
static struct slv_lexicon *lexicon;
static struct slv_free_text *free_text;

/* Behind the bytes. Kinds: 2 unknown, 3 control, 4 user-defined, 1 text. */
static const struct {
    const char *text;
    uint32_t kind;
} pieces[] = {{"<unk>", 2},
              {"<s>", 3},
              {"</s>", 3},
              {"<tool_call>", 4},
              {"</tool_call>", 3},
              {"<think>", 4},
              {"<|python_tag|>", 3},
              {"[TOOL_CALLS]", 3},
              {"<tool", 1},
              {"_call>", 1},
              {"<", 1},
              {"</", 1},
              {"</think>", 1},
              {"tool_call", 1},
              {">\n", 1},
              {">\n{\"", 1},
              {"\n", 1},
              {"\n\n", 1},
              {"{\"name\":", 1},
              {"{\"name\"", 1},
              {"\": ", 1},
              {"\":", 1},
              {"\",\"", 1},
              {"\"}", 1},
              {"},", 1},
              {"}}", 1},
              {"]", 1},
              {"[", 1},
              {"abc", 1},
              {"ab", 1},
              {"bc", 1},
              {"the", 1},
              {"\xe2\x96\x81the", 1},
              {"\xe2\x96\x81", 1},
              {".", 1},
              {"yes", 1},
              {"no", 1},
              {"not", 1},
              {"12", 1},
              {"123", 1},
              {"00", 1},
              {"0.5", 1},
              {"-1", 1},
              {"1,", 1},
              {"),", 1},
              {"((", 1},
              {"))", 1},
              {"**", 1},
              {"+(", 1},
              {"true", 1},
              {"null", 1},
              {"nullx", 1},
              {"\xc3\xa9", 1},
              {"\xc3\xbc\xc3\xb6", 1},
              {"a\xc3", 1},
              {"dog", 1},
              {"dog\",cat", 1},
              {"aaaa", 1},
              {"aaaaaaaaaaaaaaaa", 1},
              {"bbbb", 1},
              {"xx", 1},
              {"i<", 1},
              {"<i>", 1},
              {"the.", 1},
              {"\\n", 1},
              {"\\\"", 1},
              {"\"a", 1},
              {"k1\":", 1},
              {"end", 1}};
#define N_PIECES (sizeof pieces / sizeof pieces[0])
#define N_TOKENS (256 + N_PIECES)
enum { TOOL = 259, TOOL_END = 260, THINK = 261, PYTHON = 262, CALLS = 263 };

static int open_vocabulary(void **state) {
    char c[8];
    struct slv_err e;
    (void)state;
    tiny_begin(&vocab);
    tiny_str(&vocab, "tokenizer.ggml.model", "llama");
    tiny_array(&vocab, "tokenizer.ggml.tokens", SLV_GGUF_STR, N_TOKENS);
    for (unsigned b = 0; b < 256; b++)
        tiny_item(&vocab, c, (size_t)snprintf(c, sizeof c, "<0x%02X>", b));
    for (size_t i = 0; i < N_PIECES; i++)
        tiny_item(&vocab, pieces[i].text, strlen(pieces[i].text));
    tiny_array(&vocab, "tokenizer.ggml.token_type", SLV_GGUF_I32, N_TOKENS);
    for (uint32_t i = 0; i < N_TOKENS; i++) {
        const uint32_t type = i < 256 ? 6 : pieces[i - 256].kind;
        (void)slv_buf_add(&vocab.out, &type, sizeof type);
    }
    tiny_array(&vocab, "tokenizer.ggml.scores", SLV_GGUF_F32, N_TOKENS);
    for (uint32_t i = 0; i < N_TOKENS; i++) {
        const float score = -(float)i;
        (void)slv_buf_add(&vocab.out, &score, sizeof score);
    }
    tiny_u32(&vocab, "tokenizer.ggml.unknown_token_id", 256);
    tiny_u32(&vocab, "tokenizer.ggml.bos_token_id", 257);
    tiny_u32(&vocab, "tokenizer.ggml.eos_token_id", 258);
    tiny_end(&vocab);
    if (slv_gguf_parse(vocab.out.data, vocab.out.len, &vocab_file, &e)) return -1;
    if (slv_tokenizer_open(vocab_file, &tokenizer, &e)) return -1;
    return slv_lexicon_open(tokenizer, &lexicon, &e) || slv_free_text_open(lexicon, &free_text);
}

static int close_vocabulary(void **state) {
    (void)state;
    slv_free_text_close(free_text);
    slv_lexicon_close(lexicon);
    slv_tokenizer_close(tokenizer);
    slv_gguf_close(vocab_file);
    slv_buf_fini(&vocab.out);
    return 0;
}

static struct slv_grammar *grammar_of(const char *text) {
    struct slv_err e = {0};
    struct slv_grammar *g = NULL;
    if (slv_grammar_read(tokenizer, text, strlen(text), &g, &e)) fail_msg("%s: %s", text, e.msg);
    return g;
}

/* --- texts ------------------------------------------------------------------------------------ */

/* \1 to \5 stand for the tokens from TOOL on. */
static bool is_text(const char *grammar, const char *s) {
    struct slv_grammar *g = grammar_of(grammar);
    struct slv_matcher *m;
    bool ok = true;
    assert_int_equal(slv_matcher_open_grammar(g, &m), 0);
    for (; *s && ok; s++)
        ok = (unsigned char)*s <= 5 ? slv_matcher_feed_token(m, TOOL + *s - 1)
                                    : slv_matcher_feed(m, s, 1) == 1;
    ok = ok && slv_matcher_done(m);
    assert_int_equal(slv_matcher_status(m), 0);
    slv_matcher_close(m);
    slv_grammar_free(g);
    return ok;
}

static void test_texts(void **state) {
    static const struct {
        const char *grammar, *in[7], *out[7];
    } rows[] = {
        {"start: \"a\" B* c\nB: /b./\nc: \"c\"?", {"a", "abxby", "abxc"}, {"", "ab", "acc", "b"}},
        {"root ::= \"a\" [^b-d\\n]{2} . # no\n  | x\nx ::= \"\\x41\\u00e9\"",
         {"aeee", "azzb", "A\xc3\xa9"},
         {"abee", "a\n\nx", "aee", "A"}},
        {"start: s\ns: \"(\" s \")\" s |", {"", "()", "(()())()"}, {"(", ")(", "(()"}},
        {"start: %text(\"<t>\") (\"<t>\" %json {\"type\":\"integer\"} \"</t>\" %text(\"<t>\"))*",
         {"", "hello", "a < t> b", "x<t>12</t>y<t>-3</t>", "<t", "<t>1</t>"},
         {"<t>", "<t>x</t>", "<t>1", "a<t>1</t><t>"}},
        {"start: <tool_call> \"x\" </tool_call> | %text",
         {"\1x\2", "free <tool_call> text", ""},
         {"\1x", "\2", "free\1x\2", "\1\1"}},
        {"start: %text(<tool_call>) (<tool_call> \"!\" %text)?",
         {"abc", "abc\1!", "\1!x", "<tool_call>"},
         {"abc\1", "\1!x\1"}},
        {"start: <\"[TOOL_CALLS]\"> %json {\"type\":\"array\"} | <[262]> %text",
         {"\5[1,{\"a\":null}]", "\4print(1)", "\4"},
         {"", "\5", "\5[", "[]"}},
        {"start: \"Straße\"i \"a\"..\"c\"",
         {"STRA\xc3\x9f"
          "Ea",
          "stra\xc3\x9f"
          "ec"},
         {"strassea", "stra\xc3\x9f"
                      "eC"}},
        {"start: (\"a\" | x){2,3}\nx: \"(\" x \")\" | \"b\"",
         {"aa", "ab", "(b)a((b))"},
         {"a", "aaaa", "(a)a"}},
        {"start: %json {\"const\":12} \"3\" | %json {\"type\":\"integer\"}",
         {"12", "123", "1234", "-7"},
         {"", "12.5", "007"}},
        {"start: [\"a\"] \"b\" ~ 2 \"c\" ~ 1..2",
         {"bbc", "abbcc"},
         {"ac", "bc", "abbccc", "aabbc"}},
        {"start: /a|bc/ /^x$/", {"ax", "bcx"}, {"a", "abcx", "axx"}},
        {"start: %text(\"ab\", /x[0-9]/) \"ab\"", {"ab", "aab", "xxab", "x ab"}, {"x1ab", "abab"}},
        /* tool calls: docs/schema.md */
        {"start: %text(\"<tool_call>\") (call %text(\"<tool_call>\"))*\n"
         "call: <tool_call> \"\\n{\\\"name\\\": \" (f | g) \"}\\n\" </tool_call>\n"
         "f: \"\\\"get_weather\\\", \\\"arguments\\\": \" %json {\"type\": \"object\", "
         "\"properties\": {\"city\": "
         "{\"type\": \"string\"}}, \"required\": [\"city\"]}\n"
         "g: \"\\\"get_time\\\", \\\"arguments\\\": \" %json {\"type\": \"object\", "
         "\"additionalProperties\": false}",
         {"", "Paris",
          "Let me see.\1\n{\"name\": \"get_weather\", \"arguments\": {\"city\":\"Paris\"}}\n\2",
          "\1\n{\"name\": \"get_time\", \"arguments\": {}}\n\2\n\1\n{\"name\": \"get_time\", "
          "\"arguments\": {}}\n\2 done"},
         {"\1", "\1\n{\"name\": \"get_time\", \"arguments\": {}}\n", "x\2",
          "\1\n{\"name\": \"other\", \"arguments\": {}}\n\2",
          "\1\n{\"name\": \"get_weather\", \"arguments\": {}}\n\2"}},
        {"start: call | (/[^{]/ %text)?\n"
         "call: \"{\\\"name\\\": \\\"get_weather\\\", \\\"parameters\\\": \" %json {\"type\": "
         "\"object\", "
         "\"properties\": {\"city\": {\"type\": \"string\"}}} \"}\"",
         {"", "Paris {is} a city",
          "{\"name\": \"get_weather\", \"parameters\": {\"city\":\"Paris\"}}"},
         {"{", "{\"name\": \"f\"", "{\"name\": \"get_weather\", \"parameters\": {\"city\":1}}",
          "{\"name\": \"get_weather\", \"parameters\": {}} and more"}},
        {"start: %text (<\"[TOOL_CALLS]\"> \"[\" call (\", \" call)* \"]\")?\n"
         "call: \"{\\\"name\\\": \\\"get_weather\\\", \\\"arguments\\\": \" %json {\"type\": "
         "\"object\", "
         "\"properties\": {\"city\": {\"type\": \"string\"}}} \"}\"",
         {"", "[]", "\5[{\"name\": \"get_weather\", \"arguments\": {}}]",
          "so:\5[{\"name\": \"get_weather\", \"arguments\": {}}, {\"name\": \"get_weather\", "
          "\"arguments\": "
          "{\"city\":\"\"}}]"},
         {"\5", "\5[]", "\5[{\"name\": \"get_weather\", \"arguments\": {}}] "}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t k = 0; k < 7 && rows[i].in[k]; k++)
            if (!is_text(rows[i].grammar, rows[i].in[k]))
                fail_msg("%s: %s", rows[i].grammar, rows[i].in[k]);
        for (size_t k = 0; k < 7 && rows[i].out[k]; k++)
            if (is_text(rows[i].grammar, rows[i].out[k]))
                fail_msg("%s: not %s", rows[i].grammar, rows[i].out[k]);
    }
}

/* What cannot be held is refused, and the message says what and where. */
static void test_refused(void **state) {
    static const struct {
        const char *grammar;
        int code;
        const char *says;
    } rows[] = {
        {"", SLV_E_FORMAT, "no rules"},
        {"x: \"a\"", SLV_E_FORMAT, "no rule start"},
        {"x ::= \"a\"", SLV_E_FORMAT, "no rule root"},
        {"start: y", SLV_E_FORMAT, "no rule y"},
        {"start: \"a\"\nstart: \"b\"", SLV_E_FORMAT, "start is defined twice"},
        {"start: \"a", SLV_E_FORMAT, "line 1 of the grammar: a quote"},
        {"start: \"a\"\n\nb: /a", SLV_E_FORMAT, "line 3"},
        {"start: (\"a\"", SLV_E_FORMAT, "without its end"},
        {"start: \"a\")", SLV_E_FORMAT, "an end without"},
        {"start: \"\\q\"", SLV_E_FORMAT, "\\q"},
        {"start: \"\\ud800\"", SLV_E_FORMAT, "surrogate"},
        {"start: /[/", SLV_E_FORMAT, "[ without ]"},
        {"start: /(a)\\1/", SLV_E_UNSUPPORTED, "backreference"},
        {"start: /a/i", SLV_E_UNSUPPORTED, "flag \"i\""},
        {"start: /a$b/", SLV_E_UNSUPPORTED, "no string"},
        {"root ::= []", SLV_E_UNSUPPORTED, "no string"},
        {"start: \"a\"\n%ignore \" \"", SLV_E_UNSUPPORTED, "%ignore is not supported"},
        {"%import common.WS\nstart: WS", SLV_E_UNSUPPORTED, "%import is not supported"},
        {"start.2: \"a\"", SLV_E_UNSUPPORTED, "priority"},
        {"start: X\nX[lazy]: \"a\"", SLV_E_UNSUPPORTED, "attribute"},
        {"start: x{\"a\"}\nx{y}: y", SLV_E_FORMAT, "number"},
        {"start: ~\"a\"", SLV_E_UNSUPPORTED, "~"},
        {"start: @other", SLV_E_UNSUPPORTED, "@"},
        {"start: start \"a\" | \"b\"", SLV_E_UNSUPPORTED, "rule start is left recursive"},
        {"start: x\nx: e y\ny: x | \"y\"\ne: \"e\"?", SLV_E_UNSUPPORTED, "left recursive"},
        {"start: \"a\" | x\nx: \"(\" x \")\"", SLV_E_UNSUPPORTED, "rule x has no string"},
        {"start: A\nA: \"a\" B\nB: \"b\" A?", SLV_E_UNSUPPORTED, "terminal A"},
        {"start: A\nA: \"a\" b\nb: \"(\" b \")\" | \"x\"", SLV_E_UNSUPPORTED, "terminal A"},
        {"start: A\nA: \"a\" <think>", SLV_E_UNSUPPORTED, "terminal A"},
        {"start: <nothing>", SLV_E_FORMAT, "no token \"<nothing>\""},
        {"start: <\"[NOTHING]\">", SLV_E_FORMAT, "no token \"[NOTHING]\""},
        {"start: <[99999]>", SLV_E_FORMAT, "no token 99999"},
        {"start: <[x]>", SLV_E_FORMAT, "<[123]>"},
        {"start: <think", SLV_E_FORMAT, "< without >"},
        {"start: </s>", SLV_E_UNSUPPORTED, "ends every answer"},
        {"start: %json 3", SLV_E_FORMAT, "schema in braces"},
        {"start: %json {\"a\":", SLV_E_FORMAT, "schema in braces"},
        {"start: %json {\"items\":{\"type\":\"strnig\"}}", SLV_E_FORMAT, "/items/type"},
        {"start: %json {\"not\":{}}", SLV_E_UNSUPPORTED, "no value"},
        {"start: %text(\"\")", SLV_E_FORMAT, "empty"},
        {"start: %text(\"a\"", SLV_E_FORMAT, "%text( without )"},
        {"start: \"a\"{3,2}", SLV_E_FORMAT, "backwards"},
        {"start: \"a\"{1000000}", SLV_E_LIMIT, "too large"},
        {"start: ((x{1000}){1000}){1000}\nx: \"a\" x \"b\" | \"c\"", SLV_E_LIMIT,
         "too many places"},
        {"start: \"a\" \xff", SLV_E_FORMAT, "UTF-8"},
        {"start: \"b\"..\"a\"", SLV_E_FORMAT, "range"},
        {"start: \"ab\"..\"c\"", SLV_E_FORMAT, "range"},
        {"hello, world", SLV_E_FORMAT, "a definition is wanted"},
        {"start: \"a\" ;", SLV_E_FORMAT, "what is this"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slv_err e = {0};
        struct slv_grammar *g = NULL;
        const int rc =
            slv_grammar_read(tokenizer, rows[i].grammar, strlen(rows[i].grammar), &g, &e);
        if (rc != rows[i].code || !strstr(e.msg, rows[i].says))
            fail_msg("%s: %d %s", rows[i].grammar, rc, e.msg);
    }
    struct slv_grammar *g;
    assert_int_equal(slv_grammar_read(NULL, "start: <think>", 14, &g, NULL), SLV_E_USAGE);
    assert_int_equal(slv_grammar_read(NULL, "start: \"a\"\0 x", 13, &g, NULL), SLV_E_FORMAT);
}

/* Sizes that a text can ask for, and times it could take. */
static void test_hostile(void **state) {
    struct slv_buf b;
    struct slv_err e;
    struct slv_grammar *g;
    (void)state;
    slv_buf_init(&b, (size_t)1 << 24);
    assert_int_equal(slv_buf_add(&b, "start: ", 7), 0);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(slv_buf_add(&b, "(", 1), 0);
    assert_int_equal(slv_grammar_read(tokenizer, b.data, b.len, &g, &e), SLV_E_LIMIT);
    for (int way = 0; way < 3; way++) { /* rules that refer to the next, or the one before */
        slv_buf_clear(&b);
        assert_int_equal(slv_buf_add(&b, "start: r0 (r3999)*\n", 19), 0);
        for (int i = 0; i < 4000; i++) {
            char line[64];
            const int n = snprintf(line, sizeof line, "r%d: \"a\" r%d \"b\" %s\n", i,
                                   way == 0 ? (i + 1) % 4000
                                   : i      ? i - 1
                                            : 0,
                                   way == 2 ? "" : "| \"x\"");
            assert_int_equal(slv_buf_add(&b, line, (size_t)n), 0);
        }
        const int rc = slv_grammar_read(tokenizer, b.data, b.len, &g, &e);
        if (!rc) slv_grammar_free(g);
        assert_int_equal(rc, way == 0 ? SLV_E_LIMIT : way == 1 ? 0 : SLV_E_UNSUPPORTED);
    }
    slv_buf_clear(&b);
    assert_int_equal(slv_buf_add(&b, "start: \"a\"", 10), 0);
    for (int i = 0; i < 30000; i++) {
        char word[32];
        assert_int_equal(slv_buf_add(&b, word, (size_t)snprintf(word, sizeof word, "|\"w%d\"", i)),
                         0);
    }
    const int rc = slv_grammar_read(tokenizer, b.data, b.len, &g, &e);
    if (rc) fail_msg("%s", e.msg);
    slv_grammar_free(g);
    slv_buf_fini(&b);
    /* Repetitions multiply: known before anything is tried, and the rule is named. */
    static const char nested[] = "root ::= x\nx ::= (((\"a\"{1,1000}){1,1000}){1,1000}){1,1000}";
    assert_int_equal(slv_grammar_read(tokenizer, nested, sizeof nested - 1, &g, &e), SLV_E_LIMIT);
    assert_non_null(strstr(e.msg, "its repetitions multiply"));
}

/* --- masks ------------------------------------------------------------------------------------ */

struct held {
    struct slv_grammar *g;
    struct slv_masks *z;
    struct slv_matcher *m;
    uint64_t bits[(N_TOKENS + 63) / 64];
};

static void hold(struct held *h, const char *text) {
    h->g = grammar_of(text);
    assert_int_equal(slv_masks_open_grammar(free_text, h->g, &h->z), 0);
    assert_int_equal(slv_matcher_open_grammar(h->g, &h->m), 0);
}

static void let_go(struct held *h) {
    slv_matcher_close(h->m);
    slv_masks_close(h->z);
    slv_grammar_free(h->g);
}

static size_t bytes_of(int32_t id, struct slv_buf *b) {
    slv_buf_clear(b);
    assert_int_equal(slv_token_bytes(tokenizer, id, false, false, b), 0);
    return b->len;
}

/* Whether the token may come, by its bytes one after the other. */
static bool may_come(struct held *h, int32_t id, struct slv_buf *b) {
    const struct slv_mark mark = slv_matcher_mark(h->m);
    bool ok;
    if (slv_grammar_names(h->g, id)) ok = slv_matcher_try_token(h->m, id);
    else {
        size_t n = 0;
        ok = bytes_of(id, b) > 0 && !slv_tokenizer_is_end(tokenizer, id);
        while (ok && n < b->len)
            ok = slv_matcher_try(h->m, (unsigned char)b->data[n++]);
    }
    slv_matcher_rewind(h->m, &mark);
    return ok;
}

/* The mask is what it should be; one of its tokens. */
static int32_t check_mask(struct held *h, const char *text) {
    struct slv_buf b;
    int32_t chosen = -1;
    uint32_t n = 0;
    slv_buf_init(&b, 256);
    assert_int_equal(slv_mask_next(h->z, h->m, h->bits), 0);
    for (int32_t id = 0; id < (int32_t)N_TOKENS; id++) {
        const bool is = may_come(h, id, &b);
        if (is != (h->bits[id / 64] >> (id % 64) & 1))
            fail_msg("%s: token %d '%s' is %s the mask", text, id, b.data, is ? "not in" : "in");
        const uint32_t weight = id >= 256 ? 6 : 1;
        n += is ? weight : 0;
        if (is && draw(n) < weight) chosen = id;
    }
    slv_buf_fini(&b);
    return chosen;
}

static void take(struct held *h, int32_t id) {
    struct slv_buf b;
    slv_buf_init(&b, 256);
    if (slv_grammar_names(h->g, id)) assert_true(slv_matcher_feed_token(h->m, id));
    else {
        const size_t n = bytes_of(id, &b);
        assert_int_equal(slv_matcher_feed(h->m, b.data, n), n);
    }
    slv_buf_fini(&b);
}

/* Walks along random tokens: masks are exact, no way is without an end, and a grammar that is the
 * same in the other form (NULL: there is none) has the same. */
static void walk(const char *text, const char *same) {
    struct held a, b;
    hold(&a, text);
    if (same) hold(&b, same);
    for (int round = 0; round < 12; round++) {
        slv_matcher_reset(a.m);
        if (same) slv_matcher_reset(b.m);
        for (int i = 0; i < 60; i++) {
            const int32_t id = check_mask(&a, text);
            if (id < 0 && !slv_matcher_done(a.m)) fail_msg("%s: no token goes on", text);
            if (same) {
                (void)check_mask(&b, same);
                if (memcmp(a.bits, b.bits, sizeof a.bits) != 0 ||
                    slv_matcher_done(a.m) != slv_matcher_done(b.m))
                    fail_msg("%s\nis not the same as\n%s", text, same);
            }
            if (id < 0) break;
            take(&a, id);
            if (same) take(&b, id);
        }
    }
    let_go(&a);
    if (same) let_go(&b);
}

/* Calls f with each grammar of the file, and the one before where it is marked as the same. */
static void each_grammar(void (*f)(const char *text, const char *same)) {
    char *line = NULL;
    size_t cap = 0;
    struct slv_buf b[2];
    bool same = false, other = false;
    FILE *in = fopen(GRAMMARS, "r");
    assert_non_null(in);
    slv_buf_init(&b[0], 1 << 20);
    slv_buf_init(&b[1], 1 << 20);
    for (;;) {
        const ssize_t n = getline(&line, &cap, in);
        if (n > 0 && memcmp(line, "---", 3) != 0) {
            assert_int_equal(slv_buf_add(&b[other], line, (size_t)n), 0);
            continue;
        }
        f(b[other].data, same ? b[!other].data : NULL);
        if (n <= 0) break;
        same = strstr(line, "same") != NULL;
        other = !other;
        slv_buf_clear(&b[other]);
    }
    slv_buf_fini(&b[0]);
    slv_buf_fini(&b[1]);
    free(line);
    fclose(in);
}

static void test_masks(void **state) {
    (void)state;
    each_grammar(walk);
}

static void test_forced(void **state) {
    struct held h;
    char out[64];
    size_t n;
    (void)state;
    hold(&h, "start: \"ab\\n\" (\"x\" | \"xy\") </tool_call> \"end\" | \"ab\\nz\"");
    assert_int_equal(slv_mask_forced(h.m, out, sizeof out, &n), 0);
    assert_int_equal(n, 3);
    assert_memory_equal(out, "ab\n", 3);
    assert_int_equal(slv_mask_forced_token(h.m), -1);
    assert_int_equal(slv_matcher_feed(h.m, "ab\nx", 4), 4);
    assert_int_equal(slv_mask_forced(h.m, out, sizeof out, &n), 0);
    assert_int_equal(n, 0); /* "y", or the token */
    assert_int_equal(slv_mask_forced_token(h.m), -1);
    assert_int_equal(slv_matcher_feed(h.m, "y", 1), 1);
    assert_int_equal(slv_mask_forced(h.m, out, sizeof out, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(slv_mask_forced_token(h.m), TOOL_END);
    assert_true(slv_matcher_feed_token(h.m, TOOL_END));
    assert_int_equal(slv_mask_forced(h.m, out, sizeof out, &n), 0);
    assert_int_equal(n, 3);
    assert_false(slv_matcher_ended(h.m));
    assert_int_equal(slv_matcher_feed(h.m, "end", 3), 3);
    assert_true(slv_matcher_done(h.m) && slv_matcher_ended(h.m));
    let_go(&h);
}

/* A long answer: lists that recur on their right take no depth, and what is read costs the same
 * at its end as at its beginning. */
static void test_long(void **state) {
    struct held h;
    (void)state;
    hold(&h, "start: list\nlist: item list |\nitem: \"a\" | \"(\" item \")\"");
    for (int i = 0; i < 200000; i++)
        assert_int_equal(slv_matcher_feed(h.m, "((a))", 5), 5);
    assert_true(slv_matcher_done(h.m));
    (void)check_mask(&h, "a list");
    let_go(&h);
    hold(&h, "start: s\ns: a s \"t\" | b s \"t\" | \"x\"\na: \"ab\"\nb: \"a\" \"b\"");
    for (int i = 0; i < 5000; i++) /* two ways to read each */
        assert_int_equal(slv_matcher_feed(h.m, "ab", 2), 2);
    assert_true(slv_matcher_ways(h.m) < 10);
    assert_int_equal(slv_matcher_feed(h.m, "x", 1), 1);
    for (int i = 0; i < 5000; i++) {
        assert_false(slv_matcher_done(h.m));
        assert_int_equal(slv_matcher_feed(h.m, "t", 1), 1);
    }
    assert_true(slv_matcher_ended(h.m));
    assert_int_equal(slv_matcher_feed(h.m, "t", 1), 0);
    let_go(&h);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Fails as if memory were out, or gives what it gives otherwise. */
static bool all_of_it(const char *text, uint64_t *bits, size_t words) {
    struct slv_grammar *g = NULL;
    struct slv_matcher *m = NULL;
    struct slv_masks *z = NULL;
    struct slv_err e = {0};
    memset(bits, 0, words * sizeof *bits);
    int rc = slv_grammar_read(tokenizer, text, strlen(text), &g, &e);
    if (rc && !e.msg[0]) fail_msg("%s: no message", text);
    if (!rc) rc = slv_matcher_open_grammar(g, &m);
    if (!rc) rc = slv_masks_open_grammar(free_text, g, &z);
    if (!rc) rc = slv_mask_next(z, m, bits);
    for (int32_t id = 0; !rc && id < (int32_t)N_TOKENS; id++) {
        if (!(bits[id / 64] >> (id % 64) & 1) || slv_grammar_names(g, id)) continue;
        struct slv_buf b;
        slv_buf_init(&b, 256);
        rc = slv_token_bytes(tokenizer, id, false, false, &b);
        if (!rc) (void)slv_matcher_feed(m, b.data, b.len);
        if (!rc) rc = slv_matcher_status(m);
        slv_buf_fini(&b);
        if (!rc) rc = slv_mask_next(z, m, bits);
        break;
    }
    slv_masks_close(z);
    slv_matcher_close(m);
    slv_grammar_free(g);
    if (rc && rc != SLV_E_NOMEM && rc != SLV_E_LIMIT) fail_msg("%s: %d %s", text, rc, e.msg);
    return rc == 0;
}

static void fail_each(const char *text, const char *same) {
    uint64_t is[(N_TOKENS + 63) / 64], was[(N_TOKENS + 63) / 64];
    const size_t words = (N_TOKENS + 63) / 64;
    (void)same;
    const uint64_t before = slv_mem_count();
    assert_true(all_of_it(text, was, words));
    const uint64_t n = slv_mem_count() - before;
    for (uint64_t k = 1; k <= n; k++) {
        slv_mem_fail_at(k);
        const bool ok = all_of_it(text, is, words);
        slv_mem_fail_at(0);
        if (ok && memcmp(is, was, sizeof is) != 0)
            fail_msg("%s: another mask after allocation %llu", text, (unsigned long long)k);
    }
}

static void test_no_memory(void **state) {
    (void)state;
    each_grammar(fail_each);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_hostile),   cmocka_unit_test(test_masks),
        cmocka_unit_test(test_forced),    cmocka_unit_test(test_long),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, open_vocabulary, close_vocabulary);
}
