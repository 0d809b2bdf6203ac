/* bench_speculate.c: see bench_speculate.h. Each round opens a session, reads the prompt, answers
 * it with one step a token, goes back, and answers it again with drafts: so every round begins
 * without experience, as `run` does, and a busy machine slows both. */
#include "cli/bench_speculate.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/out.h"
#include "cli/sig.h"

#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX 100

struct answer {
    int32_t *ids;
    uint32_t n, cap;
    double seconds;
    struct slv_generate_stats stats;
};

struct rounds {
    const struct slv_bench_speculate *o;
    struct slv_model *m;
    struct slv_cli_draft draft;
    struct slv_tokens prompt;
    struct answer plain, guessed;
    double plain_tps[ROUNDS_MAX], tps[ROUNDS_MAX], ratio[ROUNDS_MAX];
};

static bool on_piece(const struct slv_piece *p, void *ctx) {
    struct answer *a = ctx;
    if (p->id >= 0 && a->n < a->cap) a->ids[a->n++] = p->id;
    return !slv_sig_seen();
}

static int generate(const struct rounds *r, struct slv_session *s, bool plain, struct answer *a,
                    struct slv_err *err) {
    struct slv_generate_opts g;
    slv_generate_default(&g);
    g.max_tokens = r->o->n;
    g.plain = plain;
    g.draft = r->draft.s;
    a->n = 0;
    uint64_t t0 = slv_clock_mono(&slv_clock_system);
    int rc = slv_session_generate(s, &g, on_piece, a, NULL, err);
    a->seconds = (double)(slv_clock_mono(&slv_clock_system) - t0) * 1e-9;
    slv_session_stats(s, &a->stats);
    return rc;
}

/* Back to the end of the prompt. */
static int go_back(const struct rounds *r, struct slv_session *s, struct slv_err *err) {
    uint32_t n = (uint32_t)r->prompt.n - 1;
    if (slv_session_rewind(s, n)) { /* a window has moved on */
        n = 0;
        int rc = slv_session_rewind(s, n);
        if (rc) return slv_err_set(err, rc, "%s", slv_strerror(rc));
    }
    return slv_session_feed(s, r->prompt.v + n, r->prompt.n - n, err);
}

static int one_round(struct rounds *r, const struct slv_session_opts *so, uint32_t i,
                     struct slv_err *err) {
    struct slv_session *s;
    int rc = slv_session_open(r->m, so, &s, err);
    if (rc) return rc;
    rc = slv_session_feed(s, r->prompt.v, r->prompt.n, err);
    if (!rc) rc = generate(r, s, true, &r->plain, err);
    if (!rc) rc = go_back(r, s, err);
    if (!rc) rc = generate(r, s, false, &r->guessed, err);
    slv_session_close(s);
    if (rc) return rc;
    if (!r->plain.n) return slv_err_set(err, SLV_E_USAGE, "the answer is empty");
    if (r->plain.n != r->guessed.n ||
        memcmp(r->plain.ids, r->guessed.ids, r->plain.n * sizeof *r->plain.ids) != 0)
        return slv_err_set(err, SLV_E_INTERNAL, "drafts changed the answer");
    r->plain_tps[i] = (double)r->plain.n / r->plain.seconds;
    r->tps[i] = (double)r->guessed.n / r->guessed.seconds;
    r->ratio[i] = r->tps[i] / r->plain_tps[i];
    return 0;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, size_t n) {
    qsort(v, n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void report(struct rounds *r, const struct slv_cli *cli, struct slv_json *j) {
    size_t n = r->o->repeat;
    const struct slv_generate_stats *st = &r->guessed.stats;
    double plain = median(r->plain_tps, n), tps = median(r->tps, n), ratio = median(r->ratio, n);
    if (!cli->json) {
        slv_out_printf("%-10s %7s %7s  %10s  %10s  %6s  %13s  %9s %9s  %7s\n", "test", "threads",
                       "tokens", "plain t/s", "tokens/s", "ratio", "lowest..best", "drafted",
                       "accepted", "t/step");
        slv_out_printf("%-10s %7u %7u  %10.2f  %10.2f  %6.3f  %5.3f..%6.3f  %9llu %9llu  %7.2f\n",
                       "speculate", r->o->threads, r->guessed.n, plain, tps, ratio, r->ratio[0],
                       r->ratio[n - 1], (unsigned long long)st->drafted,
                       (unsigned long long)st->accepted,
                       st->steps ? (double)st->tokens / (double)st->steps : 0.0);
        return;
    }
    slv_json_object(j, NULL);
    slv_json_str(j, "test", "speculate");
    slv_json_uint(j, "threads", r->o->threads);
    slv_json_uint(j, "tokens", r->guessed.n);
    slv_json_double(j, "plain_tps", plain);
    slv_json_double(j, "tps_median", tps);
    slv_json_double(j, "ratio", ratio);
    slv_json_double(j, "ratio_min", r->ratio[0]);
    slv_json_double(j, "ratio_max", r->ratio[n - 1]);
    slv_json_uint(j, "steps", st->steps);
    slv_json_uint(j, "drafted", st->drafted);
    slv_json_uint(j, "accepted", st->accepted);
    slv_json_object_end(j);
}

static int read_prompt(struct rounds *r, struct slv_err *err) {
    struct slv_buf text;
    slv_buf_init(&text, SLV_CLI_TEXT_MAX);
    int rc = slv_cli_file_text(r->o->file, &text, err);
    if (!rc && r->o->raw) {
        rc = slv_model_tokenize(r->m, text.data, text.len, true, &r->prompt);
        if (rc) slv_err_set(err, rc, "%s: %s", r->o->file, slv_strerror(rc));
    } else if (!rc) {
        struct slv_message turn = {"user", text.data};
        struct slv_text chat = {0};
        rc = slv_model_chat(r->m, &turn, 1, &chat, err);
        if (!rc) rc = slv_model_tokenize(r->m, chat.p, chat.n, true, &r->prompt);
        slv_text_free(&chat);
    }
    slv_buf_fini(&text);
    if (!rc && !r->prompt.n)
        rc = slv_err_set(err, SLV_E_USAGE, "%s: no text to go on from", r->o->file);
    return rc;
}

/* A session for prompt and answer, and the drafting one. */
static int open_all(struct rounds *r, const struct slv_cli *cli, struct slv_session_opts *so,
                    struct slv_err *err) {
    const struct slv_bench_speculate *o = r->o;
    struct slv_cli_draft_opts d = {.model = o->draft};
    *so = (struct slv_session_opts){.n_batch = o->batch,
                                    .threads = o->threads,
                                    .kv = o->kv,
                                    .n_ctx = (uint32_t)r->prompt.n + o->n};
    r->plain.cap = r->guessed.cap = o->n;
    r->plain.ids = slv_mem_calloc(o->n, sizeof *r->plain.ids);
    r->guessed.ids = slv_mem_calloc(o->n, sizeof *r->guessed.ids);
    if (!r->plain.ids || !r->guessed.ids) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    return slv_cli_draft_open(cli, &d, so, o->model, &r->draft, err);
}

int slv_cli_bench_speculate(const struct slv_cli *cli, struct slv_model *m,
                            const struct slv_bench_speculate *o, struct slv_json *j,
                            struct slv_err *err) {
    struct rounds r = {.o = o, .m = m};
    struct slv_session_opts so;
    int rc = read_prompt(&r, err);
    if (!rc) rc = open_all(&r, cli, &so, err);
    for (uint32_t i = 0; i < o->repeat && !rc; i++) {
        rc = one_round(&r, &so, i, err);
        if (!rc && slv_sig_seen()) rc = slv_err_set(err, SLV_E_CANCELLED, "interrupted");
    }
    if (!rc) report(&r, cli, j);
    slv_cli_draft_close(&r.draft);
    slv_mem_free(r.plain.ids);
    slv_mem_free(r.guessed.ids);
    slv_tokens_free(&r.prompt);
    return rc;
}
