/* one_result.c: what a user would lose: one answer to one prompt, whatever else is going on.
 *
 *     one_result MODEL                  (TAP)
 *     one_result MODEL --digest few|all
 *
 * A set of prompts is answered plainly, with one thread; then with other numbers of threads,
 * prompts cut otherwise, guessed tokens, alone in a batch and mixed with all the others, behind
 * prefixes that were kept: tokens, log-probabilities and the logits at the end are the same to the
 * bit. Half of the answers are drawn at a temperature.
 *
 * --digest prints the bits of the plain answers, for other instruction sets and machines to print
 * the same.
 */
#include "engine/batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROMPTS 8
#define TOKENS 14
#define FEW_PROMPTS 2 /* of ASCII: ARM programs have no tables of Unicode */
#define FEW_TOKENS 6
#define N_CTX 512

static const char *const texts[PROMPTS] = {
    "What is the capital of France? Answer in one sentence.",
    "Hi",
    "Name three uses of a small computer in a greenhouse, one a line.",
    "{\"sensors\": [{\"id\": 1, \"zone\": \"north\", \"limit\": 20}, {\"id\": 2, \"zone\": "
    "\"south\", "
    "\"limit\": 20}, {\"id\": 3, \"zone\": \"east\", \"limit\": 20}, {\"id\": 4, \"zone\": "
    "\"west\", "
    "\"limit\": 20}]}\nRepeat this with every limit 30.",
    "int add(int a, int b) { return a + b; }\nint sub(int a, int b) { return a - b; }\nWrite mul.",
    "Grüße aus München! Übersetze ins Englische: „Die Brücke ist gesperrt.“ 日本語も少し。 "
    "🙂",
    "a a a a a a a a b a a a a a a a a b a a a a a a a a b a a a a a a a a",
    "Once upon a time a pump in the basement of a clinic began to count the drops that it moved. "
    "It had been told to stop at a thousand, but nobody had told it what comes after. So it asked "
    "the valve, and the valve asked the meter on the wall, and the meter said that it only knew "
    "what had been, never what would be. In the night the lamp above the stairs joined them, and "
    "they talked about water, and about the river that none of them had ever seen. Tell how it "
    "went on, in the same tone, in a few sentences.",
};

struct answer {
    int rc;
    enum slv_finish finish;
    uint32_t n;
    int32_t ids[TOKENS];
    float logprob[TOKENS];
    struct slv_logprob top[TOKENS][3];
    uint64_t logits; /* those after the answer */
};

struct prompt {
    struct slv_tokens t;
    struct slv_generate_opts g;
    struct answer want;
};

static struct slv_model *m;
static struct prompt prompts[PROMPTS];
static uint32_t n_tests, n_failed;

static uint64_t hash(uint64_t h, const void *p, size_t n) {
    const unsigned char *b = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

static _Noreturn void die(const char *what, const char *why) {
    printf("Bail out! %s: %s\n", what, why);
    exit(1);
}

static void must(int rc, const struct slv_err *e, const char *what) {
    if (rc) die(what, e->msg);
}

static bool on_piece(const struct slv_piece *p, void *ctx) {
    struct answer *a = ctx;
    if (p->id < 0) return true;
    if (a->n == TOKENS) die("an answer", "more tokens than asked for");
    a->ids[a->n] = p->id;
    a->logprob[a->n] = p->logprob;
    memcpy(a->top[a->n++], p->top, p->n_top * sizeof *p->top);
    return true;
}

static void look(const struct slv_session *s, struct answer *a) {
    const float *l = slv_session_logits(s);
    if (l) a->logits = hash(0, l, m->h.n_vocab * sizeof *l);
}

/* Every step takes as long as any other, so that guessing always pays. */
static uint64_t still(void *ctx) {
    (void)ctx;
    return 0;
}

static const struct slv_clock still_clock = {.mono_ns = still, .wall_ns = still};

/* How an answer comes about. */
struct way {
    const char *name;
    uint32_t threads, n_batch;
    bool guess, batch, others;
    bool kept; /* a first time, which leaves its prefixes, and then again */
};

static struct slv_prefix_cache *prefixes; /* of the way that is tried, or NULL */

static struct slv_session_opts session_opts(const struct way *w) {
    return (struct slv_session_opts){.n_ctx = N_CTX,
                                     .prefix = prefixes,
                                     .n_batch = w->n_batch,
                                     .threads = w->threads,
                                     .n_draft = w->guess ? SLV_DRAFT_AUTO : 0};
}

static struct slv_session *open_session(const struct slv_session_opts *o) {
    struct slv_session *s;
    struct slv_err e = {0};
    must(slv_session_open(m, o, &s, &e), &e, "a session");
    if (s->spec) s->spec->clock = &still_clock;
    return s;
}

/* --- one after the other ---------------------------------------------------------------------- */

static void answer_alone(struct slv_session *s, const struct prompt *p, struct answer *ret) {
    struct slv_err e = {0};
    memset(ret, 0, sizeof *ret);
    must(slv_session_feed(s, p->t.v, p->t.n, &e), &e, "a prompt");
    ret->rc = slv_session_generate(s, &p->g, on_piece, ret, &ret->finish, &e);
    look(s, ret);
}

static uint64_t accepted;

static void one_by_one(const struct way *w, struct answer ret[PROMPTS]) {
    struct slv_session_opts o = session_opts(w);
    struct slv_session *s = open_session(&o);
    for (size_t i = 0; i < PROMPTS; i++) {
        struct slv_generate_stats st;
        if (slv_session_rewind(s, 0)) die("a session", "it does not go back");
        answer_alone(s, &prompts[i], &ret[i]);
        slv_session_stats(s, &st);
        accepted += st.accepted;
    }
    slv_session_close(s);
}

/* --- together --------------------------------------------------------------------------------- */

static void on_done(struct slv_session *s, int rc, enum slv_finish finish, const char *msg,
                    void *ctx) {
    struct answer *a = ctx;
    (void)msg;
    a->rc = rc;
    if (!rc) a->finish = finish;
    look(s, a);
}

/* Prompt `first` and those behind it join one step after the other. */
static void in_batch(const struct way *w, size_t first, size_t n, struct answer ret[PROMPTS]) {
    struct slv_batch_opts bo = {.threads = w->threads, .n_batch = w->n_batch};
    struct slv_session *s[PROMPTS];
    struct slv_batch *b;
    struct slv_err e = {0};
    uint32_t active = 1;
    must(slv_batch_open(m, &bo, &b, &e), &e, "a batch");
    for (size_t k = 0; k < n; k++) {
        size_t i = (first + k) % PROMPTS;
        const struct prompt *p = &prompts[i];
        struct slv_session_opts o = session_opts(w);
        o.batch = b;
        s[k] = open_session(&o);
        memset(&ret[i], 0, sizeof ret[i]);
        must(slv_batch_join(b, s[k], p->t.v, p->t.n, &p->g, on_piece, on_done, &ret[i], &e), &e,
             "joining");
        must(slv_batch_step(b, &active, &e), &e, "a step");
    }
    while (active)
        must(slv_batch_step(b, &active, &e), &e, "a step");
    for (size_t k = 0; k < n; k++)
        slv_session_close(s[k]);
    slv_batch_close(b);
}

/* --- all of it -------------------------------------------------------------------------------- */

static bool same(const struct way *w, size_t i, const struct answer *got) {
    const struct answer *want = &prompts[i].want;
    if (!memcmp(want, got, sizeof *want)) return true;
    printf("# %s: prompt %zu: ", w->name, i);
    for (uint32_t k = 0; k < TOKENS; k++) {
        if (want->ids[k] == got->ids[k] && want->logprob[k] == got->logprob[k]) continue;
        printf("token %u is %" PRId32 " (%a), not %" PRId32 " (%a)\n", k, got->ids[k],
               (double)got->logprob[k], want->ids[k], (double)want->logprob[k]);
        return false;
    }
    printf("something behind its tokens\n");
    return false;
}

static bool answers_are_same(const struct way *w) {
    static struct answer got[PROMPTS];
    bool ok = true;
    if (!w->batch) {
        one_by_one(w, got);
    } else if (w->others) {
        in_batch(w, w->threads, PROMPTS, got);
    } else {
        for (size_t i = 0; i < PROMPTS; i++)
            in_batch(w, i, 1, got);
    }
    for (size_t i = 0; i < PROMPTS; i++)
        ok = same(w, i, &got[i]) && ok;
    return ok;
}

/* Tokens that were not read because they were known. */
static uint64_t reused(void) {
    struct slv_prefix_stats st;
    slv_prefix_cache_stats(prefixes, &st);
    return st.reused;
}

static bool kept_answers_are_same(const struct way *w) {
    struct slv_prefix_cache_opts o = {.bytes = (uint64_t)1 << 28};
    struct slv_err e = {0};
    must(slv_prefix_cache_open(m, &o, &prefixes, &e), &e, "a prefix cache");
    bool ok = answers_are_same(w);
    uint64_t before = reused();
    ok = answers_are_same(w) && ok;
    if (reused() - before < PROMPTS) {
        printf("# prefixes were not used\n");
        ok = false;
    }
    slv_prefix_cache_close(prefixes);
    prefixes = NULL;
    return ok;
}

static void check(const struct way *w) {
    accepted = 0;
    bool ok = w->kept ? kept_answers_are_same(w) : answers_are_same(w);
    if (w->guess && !w->batch && !accepted) {
        printf("# no guess was right\n");
        ok = false;
    }
    n_failed += !ok;
    printf("%sok %u - %s\n", ok ? "" : "not ", ++n_tests, w->name);
    fflush(stdout);
}

static void read_prompts(size_t n, uint32_t n_tokens) {
    struct slv_err e = {0};
    for (size_t i = 0; i < n; i++) {
        struct prompt *p = &prompts[i];
        struct slv_message turn = {"user", texts[i]};
        struct slv_text chat;
        must(slv_model_chat(m, &turn, 1, &chat, &e), &e, "the template");
        if (slv_model_tokenize(m, chat.p, chat.n, true, &p->t)) die("a prompt", "no tokens");
        slv_text_free(&chat);
        slv_generate_default(&p->g);
        p->g.max_tokens = n_tokens;
        p->g.want_logprobs = true;
        p->g.logprobs = 3;
        p->g.sampling.seed = i;
        p->g.sampling.temperature = i % 2 ? 0.8f : 0.0f;
    }
}

static void answer_plainly(size_t n) {
    static const struct way plain = {.name = "plainly", .threads = 1};
    struct slv_session_opts o = session_opts(&plain);
    struct slv_session *s = open_session(&o);
    for (size_t i = 0; i < n; i++) {
        if (slv_session_rewind(s, 0)) die("a session", "it does not go back");
        answer_alone(s, &prompts[i], &prompts[i].want);
    }
    slv_session_close(s);
}

static void print_digest(size_t n) {
    struct slv_model_info info;
    slv_model_info(m, &info);
    printf("cpu %s\n", info.cpu);
    for (size_t i = 0; i < n; i++) {
        const struct answer *a = &prompts[i].want;
        printf("bits %zu:", i);
        for (uint32_t k = 0; k < a->n; k++)
            printf(" %" PRId32, a->ids[k]);
        printf(" %016" PRIx64 "\n", hash(hash(0, a->top, sizeof a->top), &a->logits, 8));
    }
}

static const struct way ways[] = {
    {.name = "again", .threads = 1},
    {.name = "2 threads", .threads = 2},
    {.name = "4 threads", .threads = 4},
    {.name = "pieces of 7", .threads = 1, .n_batch = 7},
    {.name = "pieces of 64, 4 threads", .threads = 4, .n_batch = 64},
    {.name = "guessed", .threads = 1, .guess = true},
    {.name = "guessed, 2 threads", .threads = 2, .guess = true},
    {.name = "guessed, 4 threads, pieces of 9", .threads = 4, .n_batch = 9, .guess = true},
    {.name = "behind kept prefixes", .threads = 1, .kept = true},
    {.name = "behind kept prefixes, guessed, 2 threads, pieces of 33",
     .threads = 2,
     .n_batch = 33,
     .guess = true,
     .kept = true},
    {.name = "alone in a batch", .threads = 1, .batch = true},
    {.name = "alone in a batch, guessed, 2 threads", .threads = 2, .batch = true, .guess = true},
    {.name = "with 7 others", .threads = 1, .batch = true, .others = true},
    {.name = "with 7 others, 2 threads", .threads = 2, .batch = true, .others = true},
    {.name = "with 7 others, 4 threads, guessed, steps of 24",
     .threads = 4,
     .n_batch = 24,
     .batch = true,
     .others = true,
     .guess = true},
    {.name = "with 7 others, 2 threads, behind kept prefixes",
     .threads = 2,
     .batch = true,
     .others = true,
     .kept = true},
};

int main(int argc, char **argv) {
    struct slv_model_opts mo = {.threads = 2};
    struct slv_err e = {0};
    bool digest = argc == 4 && !strcmp(argv[2], "--digest"),
         few = digest && !strcmp(argv[3], "few");
    if (argc != 2 && !digest) {
        fprintf(stderr, "usage: one_result MODEL [--digest few|all]\n");
        return 2;
    }
    must(slv_model_open(argv[1], &mo, &m, &e), &e, argv[1]);
    const size_t n = few ? FEW_PROMPTS : PROMPTS;
    read_prompts(n, few ? FEW_TOKENS : TOKENS);
    answer_plainly(n);
    if (digest) print_digest(n);
    for (size_t i = 0; !digest && i < sizeof ways / sizeof ways[0]; i++)
        check(&ways[i]);
    if (!digest) printf("1..%u\n", n_tests);
    for (size_t i = 0; i < n; i++)
        slv_tokens_free(&prompts[i].t);
    slv_model_close(m);
    return n_failed != 0;
}
