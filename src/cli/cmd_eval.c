/* cmd_eval.c: how well a model predicts a text: perplexity, and distance to another model.
 *
 * Perplexity as llama.cpp's tool counts it, so that figures compare: the text is cut into windows
 * of --ctx tokens, each window begins with BOS where the model adds one, and the second half of
 * every window is scored. KL divergence is taken over the same positions, against the other model
 * as the reference: sum p_ref (log p_ref - log p), in double. */
#include "base/mem.h"
#include "base/file.h"
#include "cli/cmd.h"
#include "cli/engine.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "kernel/fmath.h"

#include <stdlib.h>
#include <string.h>

struct eval_opts {
    const char *text, *against;
    int64_t ctx, chunks, threads;
    int kv;
    struct slv_cli_model_opts model;
};

static const struct slv_opt rows[] = {
    {"text", 0, SLV_OPT_STR_AT(struct eval_opts, text), .arg = "FILE",
     .help = "the text to predict"},
    {"against", 0, SLV_OPT_STR_AT(struct eval_opts, against), .arg = "MODEL",
     .help = "the reference that KL divergence is measured to; same vocabulary"},
    {"ctx", 'c', SLV_OPT_INT_AT(struct eval_opts, ctx), .arg = "N", .def = "512", .imin = 8,
     .imax = 1 << 20, .help = "tokens in a window"},
    {"chunks", 0, SLV_OPT_INT_AT(struct eval_opts, chunks), .arg = "N", .def = "0", .imin = 0,
     .imax = 1 << 30, .help = "score only the first N windows; 0: all"},
    {"threads", 't', SLV_OPT_INT_AT(struct eval_opts, threads), .arg = "N", .imin = 1, .imax = 256,
     .help = "threads; default: SLV_THREADS, or one for each core"},
    {"kv", 0, SLV_OPT_CHOICE_AT(struct eval_opts, kv), .arg = "TYPE", .choices = "f16|f32|q8",
     .def = "f16", .help = "element type of the KV cache"},
    SLV_CLI_MODEL_ROWS(struct eval_opts, model),
};

#define STEP 64 /* tokens a step, all with logits */

/* One model under evaluation. */
struct side {
    struct slv_model *m;
    struct slv_session *s;
    struct slv_model_info info;
};

struct eval {
    const struct eval_opts *o;
    struct side a, ref;
    struct slv_tokens tokens;
    size_t window;    /* tokens in a window */
    int32_t *ids;     /* [window]: the window being scored */
    float *ref_rows;  /* [window / 2][n_vocab]: the reference's logits */
    double nll, nll2; /* sums over scored tokens */
    double kld;
    double *klds; /* each position's */
    size_t n, n_klds, same_top;
};

static int open_side(const struct slv_cli *cli, struct side *s, const char *name,
                     const struct eval_opts *o, struct slv_err *err) {
    struct slv_model_opts mo = {.threads = (uint32_t)o->threads};
    struct slv_cli_model_opts how = o->model;
    if (name && name == o->against) how.sig = NULL; /* which is MODEL's */
    int rc = slv_cli_model_open(cli, name, &mo, &how, &s->m, err);
    if (rc) return rc;
    slv_model_info(s->m, &s->info);
    struct slv_session_opts so = {.n_ctx = (uint32_t)o->ctx,
                                  .n_batch = STEP,
                                  .n_logits = STEP,
                                  .threads = (uint32_t)o->threads,
                                  .kv = (enum slv_kv_kind)o->kv};
    return slv_session_open(s->m, &so, &s->s, err);
}

/* log of the sum of e^logit, and the best id. */
static double log_sum(const float *l, size_t n, size_t *ret_best) {
    size_t best = 0;
    double sum = 0.0;
    for (size_t i = 1; i < n; i++)
        if (l[i] > l[best]) best = i;
    for (size_t i = 0; i < n; i++)
        sum += slv_exp64((double)l[i] - (double)l[best]);
    *ret_best = best;
    return (double)l[best] + slv_log64(sum);
}

static void on_reference(size_t i, const float *logits, void *ctx) {
    struct eval *e = ctx;
    size_t half = e->window / 2, n = e->ref.info.n_vocab;
    if (i >= half && i + 1 < e->window)
        memcpy(e->ref_rows + (i - half) * n, logits, n * sizeof *logits);
}

static void compare(struct eval *e, size_t i, const float *logits, double lse, size_t best) {
    size_t n = e->a.info.n_vocab, ref_best;
    const float *ref = e->ref_rows + (i - e->window / 2) * n;
    double ref_lse = log_sum(ref, n, &ref_best), kld = 0.0;
    for (size_t k = 0; k < n; k++) {
        double lp = (double)ref[k] - ref_lse;
        kld += slv_exp64(lp) * (lp - ((double)logits[k] - lse));
    }
    e->kld += kld;
    e->klds[e->n_klds++] = kld;
    e->same_top += best == ref_best;
}

static void on_logits(size_t i, const float *logits, void *ctx) {
    struct eval *e = ctx;
    if (i < e->window / 2 || i + 1 >= e->window) return;
    size_t best;
    double lse = log_sum(logits, e->a.info.n_vocab, &best);
    double nll = lse - (double)logits[e->ids[i + 1]];
    e->nll += nll;
    e->nll2 += nll * nll;
    e->n++;
    if (e->ref.s) compare(e, i, logits, lse, best);
}

static int score_window(struct eval *e, size_t w, struct slv_err *err) {
    memcpy(e->ids, e->tokens.v + w * e->window, e->window * sizeof *e->ids);
    if (e->a.info.adds_bos) e->ids[0] = e->a.info.bos;
    int rc = 0;
    if (e->ref.s) {
        rc = slv_session_rewind(e->ref.s, 0);
        if (!rc) rc = slv_session_feed_each(e->ref.s, e->ids, e->window, on_reference, e, err);
    }
    if (!rc) rc = slv_session_rewind(e->a.s, 0);
    if (!rc) rc = slv_session_feed_each(e->a.s, e->ids, e->window, on_logits, e, err);
    if (!rc && slv_sig_seen()) rc = slv_err_set(err, SLV_E_CANCELLED, "interrupted");
    return rc;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double root(double x) { return x > 0.0 ? slv_exp64(0.5 * slv_log64(x)) : 0.0; }

static int report(struct eval *e, const struct slv_cli *cli, struct slv_err *err) {
    double n = (double)e->n, mean = e->nll / n, ppl = slv_exp64(mean);
    double var = e->nll2 / n - mean * mean, se = e->n > 1 ? ppl * root(var / (n - 1.0)) : 0.0;
    double p99 = 0.0, max = 0.0;
    if (e->n_klds) {
        qsort(e->klds, e->n_klds, sizeof *e->klds, by_value);
        p99 = e->klds[(size_t)((double)(e->n_klds - 1) * 0.99)];
        max = e->klds[e->n_klds - 1];
    }
    if (!cli->json) {
        slv_out_printf("perplexity %.4f +- %.4f over %zu tokens\n", ppl, se, e->n);
        if (e->n_klds)
            slv_out_printf(
                "KL divergence to the reference: mean %.6f, 99 %% below %.6f, largest %.6f; "
                "same first choice %.2f %%\n",
                e->kld / n, p99, max, 100.0 * (double)e->same_top / n);
        return 0;
    }
    struct slv_buf out;
    struct slv_json j;
    slv_buf_init(&out, 65536);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    slv_json_uint(&j, "tokens", e->n);
    slv_json_double(&j, "ppl", ppl);
    slv_json_double(&j, "ppl_stderr", se);
    if (e->n_klds) {
        slv_json_object(&j, "kld");
        slv_json_double(&j, "mean", e->kld / n);
        slv_json_double(&j, "p99", p99);
        slv_json_double(&j, "max", max);
        slv_json_object_end(&j);
        slv_json_double(&j, "top1_agree", (double)e->same_top / n);
    }
    slv_json_object_end(&j);
    int rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

static int prepare(struct eval *e, const struct slv_cli *cli, struct slv_err *err) {
    struct slv_buf text;
    slv_buf_init(&text, (size_t)1 << 30);
    int rc = open_side(cli, &e->a, slv_cli_arg(cli, 0), e->o, err);
    if (!rc && e->o->against) rc = open_side(cli, &e->ref, e->o->against, e->o, err);
    if (!rc && e->ref.s && e->ref.info.n_vocab != e->a.info.n_vocab)
        rc = slv_err_set(err, SLV_E_USAGE, "--against: %u tokens in its vocabulary, not %u",
                         e->ref.info.n_vocab, e->a.info.n_vocab);
    if (!rc) rc = slv_file_read(e->o->text, &text, err);
    if (!rc) {
        rc = slv_model_tokenize(e->a.m, text.data, text.len, true, &e->tokens);
        if (rc) slv_err_set(err, rc, "%s: %s", e->o->text, slv_strerror(rc));
    }
    slv_buf_fini(&text);
    if (rc) return rc;
    e->window = (size_t)e->o->ctx;
    if (e->tokens.n < e->window)
        return slv_err_set(err, SLV_E_USAGE, "%s: %zu tokens, one window (--ctx) has %zu",
                           e->o->text, e->tokens.n, e->window);
    e->ids = slv_mem_calloc(e->window, sizeof *e->ids);
    if (e->ref.s) {
        e->ref_rows = slv_mem_calloc(e->window / 2 * e->a.info.n_vocab, sizeof *e->ref_rows);
        e->klds = slv_mem_calloc(e->tokens.n, sizeof *e->klds);
    }
    if (!e->ids || (e->ref.s && (!e->ref_rows || !e->klds)))
        return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    return 0;
}

static int eval(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct eval e = {.o = opts};
    if (!e.o->text) return slv_err_set(err, SLV_E_USAGE, "eval: --text FILE is needed");
    int rc = prepare(&e, cli, err);
    slv_sig_watch();
    size_t windows = rc ? 0 : e.tokens.n / e.window;
    if (e.o->chunks && (size_t)e.o->chunks < windows) windows = (size_t)e.o->chunks;
    struct slv_progress bar;
    slv_progress_init(&bar, "windows", cli->quiet);
    bar.count = true;
    slv_progress_update(&bar, 0, windows);
    for (size_t w = 0; w < windows && !rc; w++) {
        rc = score_window(&e, w, err);
        slv_progress_update(&bar, w + 1, windows);
    }
    slv_progress_end(&bar);
    if (!rc) rc = report(&e, cli, err);
    slv_tokens_free(&e.tokens);
    slv_mem_free(e.ids);
    slv_mem_free(e.ref_rows);
    slv_mem_free(e.klds);
    slv_session_close(e.a.s);
    slv_session_close(e.ref.s);
    slv_model_close(e.a.m);
    slv_model_close(e.ref.m);
    return rc;
}

const struct slv_cmd slv_cmd_eval = {
    .name = "eval",
    .help = "perplexity of a model on a text, and its distance to another",
    .args = "[MODEL]",
    .max_args = 1,
    SLV_CMD_OPTS(rows, struct eval_opts),
    .fn = eval,
};
