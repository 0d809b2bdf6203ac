/* test_guide.c: one constraint and many answers. What a user would lose: answers that differ when
 * a server gives several at once; a tool call's token that never comes, or comes in the middle of
 * an argument; tokens that are drawn where nothing is left to choose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/guide.h"
#include "engine/session.h"
#include "witness.h"

#include <pthread.h>
#include <string.h>

#define N_THREADS 4
#define N_WALKS 40
#define N_STEPS 60

static const char grammar[] =
    "start: %text(\"<call>\") (call %text(\"<call>\"))*\n"
    "call: <|im_start|> \"<call>\" NAME \"(\" (value (\",\" value)*)? \")\" <|pad|>\n"
    "value: %json {\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":"
    "\"^[a-z]+-[0-9]{1,3}$\"},\"b\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"},"
    "\"uniqueItems\":true}},\"required\":[\"a\"]} | \"[\" value \"]\" | WORDS\n"
    "NAME: /[a-z_]{1,20}/\n"
    "WORDS: \"'\" /([a-z]+ ?)*/ \"'\"\n";

static struct slv_constraint *open_grammar(struct slv_model *m, const char *text) {
    struct slv_constraint *c = NULL;
    struct slv_err e = {0};
    if (slv_grammar_open(m, text, strlen(text), &c, &e)) fail_msg("%s", e.msg);
    return c;
}

/* --- threads ---------------------------------------------------------------------------------- */

struct walker {
    const struct slv_constraint *c;
    struct slv_model *m;
    uint32_t n_vocab;
    uint64_t seed, seen; /* seen: of all masks and what was certain */
    int rc;
};

static uint32_t draw(uint64_t *state, uint32_t n) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % n;
}

static void see(struct walker *w, uint64_t x) {
    w->seen = (w->seen ^ x) * 0x9e3779b97f4a7c15u;
    w->seen ^= w->seen >> 29;
}

/* One token: certain, or drawn from the mask. False: the text has ended. */
static bool go_on(struct walker *w, struct slv_guide *g) {
    const uint64_t *mask = NULL;
    int32_t forced[8], id = -1;
    size_t n_forced = 0;
    uint32_t n = 0;
    w->rc = slv_guide_forced(g, forced, 8, &n_forced, NULL);
    if (!w->rc) w->rc = slv_guide_mask(g, &mask, NULL);
    if (w->rc || !mask) return false;
    for (uint32_t i = 0; i < w->n_vocab; i++) {
        if (!(mask[i / 64] >> (i % 64) & 1)) continue;
        see(w, i);
        if (draw(&w->seed, ++n) == 0) id = (int32_t)i;
    }
    if (n_forced) {
        if (!(mask[forced[0] / 64] >> (forced[0] % 64) & 1)) w->rc = SLV_E_INTERNAL;
        see(w, 1000000u + (uint64_t)forced[0]);
        id = forced[0];
    }
    if (w->rc || id < 0) return false;
    const int rc = slv_guide_take(g, id, NULL);
    if (rc != SLV_E_USAGE) w->rc = rc; /* else an end was drawn */
    return rc == 0;
}

static void *walk(void *ctx) {
    struct walker *w = ctx;
    for (int i = 0; i < N_WALKS && !w->rc; i++) {
        struct slv_guide *g;
        w->rc = slv_guide_open(w->c, w->m, NULL, 0, &g);
        if (w->rc) break;
        for (int k = 0; k < N_STEPS && go_on(w, g); k++)
            see(w, slv_guide_done(g));
        slv_guide_close(g);
    }
    return NULL;
}

static struct walker walker_of(const struct slv_constraint *c, struct slv_model *m, uint64_t seed) {
    struct slv_model_info info;
    slv_model_info(m, &info);
    return (struct walker){.c = c, .m = m, .n_vocab = info.n_vocab, .seed = seed};
}

static void walk_together(struct slv_model *m,
                          struct slv_constraint *(*open)(struct slv_model *m)) {
    struct walker alone[N_THREADS], together[N_THREADS];
    pthread_t threads[N_THREADS];
    for (unsigned i = 0; i < N_THREADS; i++) { /* a constraint of its own each */
        struct slv_constraint *c = open(m);
        alone[i] = walker_of(c, m, i + 1);
        (void)walk(&alone[i]);
        assert_int_equal(alone[i].rc, 0);
        slv_constraint_close(c);
    }
    struct slv_constraint *c = open(m);
    for (unsigned i = 0; i < N_THREADS; i++) {
        together[i] = walker_of(c, m, i + 1);
        assert_int_equal(pthread_create(&threads[i], NULL, walk, &together[i]), 0);
    }
    for (unsigned i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(together[i].rc, 0);
        assert_true(together[i].seen == alone[i].seen);
    }
    slv_constraint_close(c);
}

static struct slv_constraint *the_grammar(struct slv_model *m) { return open_grammar(m, grammar); }

static struct slv_constraint *a_schema(struct slv_model *m) {
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^(ab|[c-e]+)"
        "*$\"},"
        "\"b\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":9},\"uniqueItems\":"
        "true},"
        "\"c\":{\"anyOf\":[{\"type\":\"number\",\"multipleOf\":0.5},{\"format\":\"date\",\"type\":"
        "\"string\"}]}}}";
    struct slv_constraint *c = NULL;
    assert_int_equal(slv_constraint_open(m, schema, strlen(schema), &c, NULL, NULL), 0);
    return c;
}

static void test_threads(void **state) {
    static const char *const models[] = {"llama3"};
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        struct slv_model *m = witness_model(models[i]);
        walk_together(m, the_grammar);
        walk_together(m, a_schema);
        slv_model_close(m);
    }
}

/* --- answers ---------------------------------------------------------------------------------- */

#define MOST 256

struct answer {
    int32_t ids[MOST];
    uint32_t n;
    char text[4096];
    size_t n_text;
    enum slv_finish finish;
    uint64_t steps;
};

static bool on_piece(const struct slv_piece *p, void *ctx) {
    struct answer *a = ctx;
    if (p->id >= 0 && a->n < MOST) a->ids[a->n++] = p->id;
    assert_true(a->n_text + p->n < sizeof a->text);
    memcpy(a->text + a->n_text, p->text, p->n);
    a->n_text += p->n;
    a->text[a->n_text] = 0;
    return true;
}

static void answer_behind(struct slv_model *m, const struct slv_constraint *c, const char *head,
                          uint64_t seed, uint32_t n_draft, struct answer *ret) {
    const struct slv_session_opts so = {.n_ctx = 512, .threads = 1, .n_draft = n_draft};
    const int32_t prompt[] = {5, 6, 7, 8};
    struct slv_generate_opts o;
    struct slv_generate_stats st;
    struct slv_session *s;
    struct slv_err e = {0};
    slv_generate_default(&o);
    o.constraint = c;
    o.sampling.temperature = 1.5f;
    o.sampling.seed = seed;
    o.max_tokens = 200;
    o.special = true;
    o.head = head;
    o.n_head = strlen(head);
    memset(ret, 0, sizeof *ret);
    assert_int_equal(slv_session_open(m, &so, &s, &e), 0);
    assert_int_equal(slv_session_feed(s, prompt, 4, &e), 0);
    if (slv_session_generate(s, &o, on_piece, ret, &ret->finish, &e)) fail_msg("%s", e.msg);
    slv_session_stats(s, &st);
    ret->steps = st.steps;
    slv_session_close(s);
}

static void answer(struct slv_model *m, const struct slv_constraint *c, uint64_t seed,
                   uint32_t n_draft, struct answer *ret) {
    answer_behind(m, c, "", seed, n_draft, ret);
}

static void test_answers(void **state) {
    static struct answer a, b;
    struct slv_model *m = witness_model("llama3");
    struct slv_constraint *c = open_grammar(m, "start: <|im_start|> \"the call: \" (\"no\" | "
                                               "<|pad|> %json {\"type\":\"boolean\"} \"; end\")");
    int with_token = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        answer(m, c, seed, 0, &a);
        assert_int_equal(a.finish, SLV_FINISH_SCHEMA);
        const bool no = !strcmp(a.text, "<|im_start|>the call: no");
        const bool yes = !strcmp(a.text, "<|im_start|>the call: <|pad|>true; end") ||
                         !strcmp(a.text, "<|im_start|>the call: <|pad|>false; end");
        if (!no && !yes) fail_msg("%s", a.text);
        with_token += yes;
        assert_true(a.steps < a.n); /* what is certain is not drawn */
        answer(m, c, seed, 8, &b);
        assert_true(b.n == a.n && !memcmp(a.ids, b.ids, a.n * sizeof a.ids[0]));
    }
    assert_true(with_token > 0 && with_token < 12);
    slv_constraint_close(c);
    slv_model_close(m);
}

/* What an answer needs of a constraint depends on the answer: one that outgrows it is cut, as at
 * max_tokens, and is no error; one that begins too large is refused, not begun. */
static void test_outgrown(void **state) {
    static const char *const grammars[] = {
        "root ::= (([a-c]{3,30} \"b\"?){20,30} \"c\"?){20,30} \".\"",
        "root ::= (([a-c]{1,30} x?){20,30} x?){20,30} \".\"\nx ::= [ab] x | [bc] x | \"\"",
    };
    struct answer a;
    (void)state;
    struct slv_model *m = witness_model("llama3");
    for (size_t i = 0; i < sizeof grammars / sizeof grammars[0]; i++) {
        struct slv_constraint *c = open_grammar(m, grammars[i]);
        for (uint64_t seed = 0; seed < 4; seed++) {
            answer_behind(m, c, "", seed, 0, &a);
            assert_int_equal(a.finish, SLV_FINISH_LENGTH);
            assert_true(a.n > 0 && a.n < 200 && strspn(a.text, "abc") == a.n_text);
        }
        slv_constraint_close(c);
    }
    slv_model_close(m);
}

/* Text that may end at any place, and was cut by max_tokens, is not called whole. */
static void test_cut(void **state) {
    static struct answer a;
    struct slv_model *m = witness_model("llama3");
    struct slv_constraint *c = open_grammar(m, "start: /[a-z ]*/");
    (void)state;
    answer(m, c, 1, 0, &a);
    assert_true(a.n == 200 ? a.finish == SLV_FINISH_LENGTH : a.finish == SLV_FINISH_SCHEMA);
    slv_constraint_close(c);
    slv_model_close(m);
}

/* --- prompts that end inside a token ---------------------------------------------------------- */

/* The answer's tokens are the head and what was given out; a constraint holds the latter. */
static void check_head(struct slv_model *m, const struct slv_constraint *c, const char *head) {
    static struct answer a, b;
    for (uint64_t seed = 0; seed < 6; seed++) {
        struct slv_text all = {0};
        answer_behind(m, c, head, seed, 0, &a);
        assert_int_equal(slv_model_detokenize(m, a.ids, a.n, true, &all), 0);
        assert_true(all.n >= strlen(head) && !memcmp(all.p, head, strlen(head)));
        assert_string_equal(all.p + strlen(head), a.text);
        if (c && strncmp(a.text, "other", 5) != 0 && strncmp(a.text, "er and ", 7) != 0)
            fail_msg("%s", a.text);
        answer_behind(m, c, head, seed, 8, &b);
        assert_true(b.n == a.n && !memcmp(a.ids, b.ids, a.n * sizeof a.ids[0]));
        slv_text_free(&all);
    }
}

static void test_head(void **state) {
    struct slv_model *m = witness_model("llama3");
    struct slv_constraint *c = open_grammar(m, "start: \"other\" | \"er and \" /[a-z]{1,9}/");
    (void)state;
    check_head(m, c, "th");
    check_head(m, c, "in the h");
    check_head(m, c, "\xc3\xa9 ");
    check_head(m, NULL, "the");
    slv_constraint_close(c);
    const struct slv_session_opts so = {.n_ctx = 64, .threads = 1};
    const int32_t prompt[] = {5};
    struct slv_generate_opts o;
    struct slv_session *s;
    slv_generate_default(&o);
    o.head = "\xc3";
    o.n_head = 1;
    assert_int_equal(slv_session_open(m, &so, &s, NULL), 0);
    assert_int_equal(slv_session_feed(s, prompt, 1, NULL), 0);
    assert_int_equal(slv_session_generate(s, &o, NULL, NULL, NULL, NULL), SLV_E_USAGE);
    slv_session_close(s);
    slv_model_close(m);
}

static void test_heal(void **state) {
    static const struct {
        const char *prompt, *kept, *head;
    } rows[] = {{"in h", "in ", "h"}, {"ab z", "ab z", ""}, {"h", "h", ""}, {"ab ", "ab", " "}};
    struct slv_model *m = witness_model("llama3");
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slv_tokens t;
        struct slv_text head = {0}, kept = {0};
        size_t n = 0;
        assert_int_equal(slv_model_tokenize(m, rows[i].prompt, strlen(rows[i].prompt), false, &t),
                         0);
        assert_int_equal(slv_model_heal(m, t.v, t.n, &n, &head, NULL), 0);
        assert_int_equal(slv_model_detokenize(m, t.v, n, true, &kept), 0);
        assert_string_equal(kept.p, rows[i].kept);
        assert_string_equal(head.p, rows[i].head);
        slv_text_free(&head);
        slv_text_free(&kept);
        slv_tokens_free(&t);
    }
    slv_model_close(m);
}

/* --- memory ----------------------------------------------------------------------------------- */

static int all_of_it(struct slv_model *m, uint64_t *ret_seen) {
    struct slv_constraint *c = NULL;
    struct slv_err e = {0};
    int rc = slv_grammar_open(m, grammar, strlen(grammar), &c, &e);
    if (rc && !e.msg[0]) fail_msg("no message");
    if (!rc) {
        struct walker w = walker_of(c, m, 7);
        struct slv_guide *g = NULL;
        rc = slv_guide_open(c, m, "th", 2, &g);
        for (int i = 0; i < 3 && !rc && go_on(&w, g); i++)
            rc = w.rc;
        if (!rc) rc = w.rc;
        *ret_seen = w.seen;
        slv_guide_close(g);
    }
    slv_constraint_close(c);
    return rc;
}

static void test_no_memory(void **state) {
    struct slv_model *m = witness_model("llama3");
    uint64_t seen = 0, again = 0;
    (void)state;
    assert_int_equal(all_of_it(m, &seen), 0); /* and the vocabulary's part is there */
    const uint64_t before = slv_mem_count();
    assert_int_equal(all_of_it(m, &seen), 0);
    const uint64_t n = slv_mem_count() - before;
    for (uint64_t k = 1; k <= n; k++) {
        slv_mem_fail_at(k);
        const int rc = all_of_it(m, &again);
        slv_mem_fail_at(0);
        assert_true(rc ? rc == SLV_E_NOMEM || rc == SLV_E_LIMIT : seen == again);
    }
    slv_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_answers),
        cmocka_unit_test(test_outgrown),  cmocka_unit_test(test_cut),
        cmocka_unit_test(test_head),      cmocka_unit_test(test_heal),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
