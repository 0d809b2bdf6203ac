/* cmd_run.c: one answer to one prompt. */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/engine.h"
#include "cli/out.h"
#include "cli/over.h"
#include "cli/sig.h"

#include <math.h>
#include <string.h>

struct run_opts {
    int64_t n, logprobs;
    bool raw, echo_tokens;
    struct slv_cli_model_opts model;
    const char *system, *prompt_cache, *schema, *grammar;
    struct slv_opt_list stop, adapter, over;
    struct slv_cli_session_opts session;
    struct slv_cli_sampling_opts sampling;
    struct slv_cli_draft_opts draft;
};

static const struct slv_opt rows[] = {
    {"max-tokens", 'n', SLV_OPT_INT_AT(struct run_opts, n), .arg = "N", .def = "512", .imin = 1,
     .imax = 1 << 24, .help = "most tokens to write"},
    {"raw", 0, SLV_OPT_FLAG_AT(struct run_opts, raw),
     .help = "the prompt as it is, without the model's chat template; control tokens in it count"},
    {"system", 0, SLV_OPT_STR_AT(struct run_opts, system), .arg = "TEXT",
     .help = "the system message"},
    {"stop", 0, SLV_OPT_LIST_AT(struct run_opts, stop), .arg = "TEXT",
     .help = "end the answer before this text; may be repeated"},
    {"over", 0, SLV_OPT_LIST_AT(struct run_opts, over), .arg = "FILE",
     .help =
         "the prompt asks about this text; one that is longer than the context is read in parts, "
         "with notes on each; may be repeated"},
    {"schema", 0, SLV_OPT_STR_AT(struct run_opts, schema), .arg = "FILE",
     .help = "hold the answer to a JSON Schema: compact JSON, members in the schema's order"},
    {"grammar", 0, SLV_OPT_STR_AT(struct run_opts, grammar), .arg = "FILE",
     .help = "hold the answer to a grammar, Lark's or GBNF; tokens that it names are written out"},
    {"logprobs", 0, SLV_OPT_INT_AT(struct run_opts, logprobs), .arg = "K", .imin = 0,
     .imax = SLV_TOP_LOGPROBS_MAX,
     .help = "with --json: log-probabilities of each token and of the K best there"},
    {"echo-tokens", 0, SLV_OPT_FLAG_AT(struct run_opts, echo_tokens),
     .help = "with --json: log-probabilities of the prompt's tokens too"},
    SLV_CLI_ADAPTER_ROW(struct run_opts, adapter),
    SLV_CLI_SESSION_ROWS(struct run_opts, session),
    SLV_CLI_PROMPT_CACHE_ROW(struct run_opts, prompt_cache),
    SLV_CLI_MODEL_ROWS(struct run_opts, model),
    SLV_CLI_SAMPLING_ROWS(struct run_opts, sampling, "0"),
    SLV_CLI_DRAFT_ROWS(struct run_opts, draft),
};

/* Everything one run holds. */
struct run {
    const struct run_opts *o;
    const struct slv_cli *cli;
    struct slv_model *model;
    struct slv_session *session;
    struct slv_session_opts session_opts;
    struct slv_cli_draft draft;
    struct slv_over over;
    struct slv_cli_adapters adapters;
    struct slv_constraint *constraint; /* NULL: none */
    struct slv_buf prompt, text, logprobs, prompt_logprobs;
    struct slv_json logprobs_json, prompt_json;
    struct slv_tokens tokens;
    int32_t *ids; /* the answer's */
    size_t n_ids, cap_ids;
    bool want_logprobs;
    bool out_failed;          /* main says why */
    uint32_t n_vocab, reused; /* reused: tokens that were in --prompt-cache */
    uint64_t seed;
    uint64_t begun, loaded, fed, first, ended; /* monotonic ns */
    int status;                                /* of what the callbacks met */
};

static uint64_t now(void) { return slv_clock_mono(&slv_clock_system); }

/* {"id":..,"logprob":..,"top":[{"id":..,"logprob":..}]} */
static void logprob_json(struct slv_json *j, int32_t id, float lp, const struct slv_logprob *top,
                         size_t n) {
    slv_json_object(j, NULL);
    slv_json_int(j, "id", id);
    slv_json_float(j, "logprob", lp);
    slv_json_array(j, "top");
    for (size_t i = 0; i < n; i++) {
        slv_json_object(j, NULL);
        slv_json_int(j, "id", top[i].id);
        slv_json_float(j, "logprob", top[i].logprob);
        slv_json_object_end(j);
    }
    slv_json_array_end(j);
    slv_json_object_end(j);
}

static bool on_piece(const struct slv_piece *p, void *ctx) {
    struct run *r = ctx;
    if (!r->first) r->first = now();
    if (p->id >= 0) {
        r->status =
            slv_mem_grow((void **)&r->ids, r->n_ids, &r->cap_ids, sizeof *r->ids, SIZE_MAX / 8);
        if (r->status) return false;
        r->ids[r->n_ids++] = p->id;
        if (r->want_logprobs) logprob_json(&r->logprobs_json, p->id, p->logprob, p->top, p->n_top);
    }
    if (r->cli->json) {
        r->status = slv_buf_add(&r->text, p->text, p->n);
    } else if (p->n) {
        slv_out_write(p->text, p->n);
        struct slv_err e;
        r->out_failed = slv_out_flush(&e) != 0;
        if (r->out_failed) return false;
    }
    return !r->status && !slv_sig_seen();
}

/* Logits after prompt token i say how probable token i + 1 was. */
static void on_prompt_logits(size_t i, const float *logits, void *ctx) {
    struct run *r = ctx;
    struct slv_logprob top[SLV_TOP_LOGPROBS_MAX];
    float lp;
    if (i + 1 >= r->tokens.n) return;
    size_t k = (size_t)r->o->logprobs;
    slv_logprobs(logits, r->n_vocab, r->tokens.v[i + 1], &lp, top, k);
    logprob_json(&r->prompt_json, r->tokens.v[i + 1], lp, top, k);
}

/* The prompt becomes one that has what the files say about it. */
static int read_over(struct run *r, struct slv_err *err) {
    struct slv_logit_bias bias[SLV_OPT_LIST_MAX];
    struct slv_sampling sampling;
    struct slv_buf prompt;
    if (!r->o->over.n) return 0;
    slv_buf_init(&prompt, SLV_CLI_TEXT_MAX);
    int rc = slv_cli_sampling(&r->o->sampling, bias, &sampling, err);
    r->over = (struct slv_over){.cli = r->cli,
                                .m = r->model,
                                .s = r->session,
                                .system = r->o->system,
                                .files = r->o->over.v,
                                .n_files = r->o->over.n,
                                .sampling = &sampling,
                                .answer = (uint32_t)r->o->n};
    slv_sig_watch();
    if (!rc) rc = slv_over_prompt(&r->over, r->prompt.data, &prompt, err);
    slv_buf_fini(&r->prompt);
    r->prompt = prompt;
    return rc;
}

static int make_prompt(struct run *r, const char *arg, struct slv_err *err) {
    int rc = slv_cli_text(arg, &r->prompt, err);
    if (rc) return rc;
    bool typed = arg && strcmp(arg, "-") != 0;
    if (!typed && !r->o->raw && r->prompt.len && r->prompt.data[r->prompt.len - 1] == '\n')
        r->prompt.data[--r->prompt.len] = '\0';
    if (!r->prompt.len) return slv_err_set(err, SLV_E_USAGE, "the prompt is empty");
    rc = read_over(r, err);
    if (rc) return rc;
    if (r->o->raw) {
        rc = slv_model_tokenize(r->model, r->prompt.data, r->prompt.len, true, &r->tokens);
        return rc ? slv_err_set(err, rc, "prompt: %s", slv_strerror(rc)) : 0;
    }
    struct slv_message m[2];
    size_t n = 0;
    if (r->o->system) m[n++] = (struct slv_message){"system", r->o->system};
    m[n++] = (struct slv_message){"user", r->prompt.data};
    struct slv_text text;
    rc = slv_model_chat(r->model, m, n, &text, err);
    if (rc) return rc;
    rc = slv_model_tokenize(r->model, text.p, text.n, true, &r->tokens);
    slv_text_free(&text);
    return rc ? slv_err_set(err, rc, "prompt: %s", slv_strerror(rc)) : 0;
}

/* Reads the prompt in one piece or, where every token's log-probability is wanted, with logits
 * after each: the last token comes again alone, for its logits. */
static int feed_prompt(struct run *r, struct slv_err *err) {
    const struct slv_tokens *t = &r->tokens;
    if (!t->n) return slv_err_set(err, SLV_E_USAGE, "the prompt has no tokens");
    int rc = 0;
    if (!r->o->echo_tokens) {
        if (r->o->prompt_cache) {
            slv_cli_prompt_load(r->session, r->o->prompt_cache);
            rc = slv_session_resume(r->session, t->v, t->n, &r->reused, err);
        }
        if (rc) return rc;
        return slv_cli_feed(r->cli, r->session, t->v + r->reused, t->n - r->reused, err);
    }
    slv_json_null(&r->prompt_json, NULL);
    if (t->n > 1) rc = slv_session_feed_each(r->session, t->v, t->n - 1, on_prompt_logits, r, err);
    return rc ? rc : slv_session_feed(r->session, t->v + t->n - 1, 1, err);
}

static void ids_json(struct slv_json *j, const char *key, const int32_t *v, size_t n) {
    slv_json_array(j, key);
    for (size_t i = 0; i < n; i++)
        slv_json_int(j, NULL, v[i]);
    slv_json_array_end(j);
}

static void report_json(struct run *r, struct slv_json *j, enum slv_finish finish) {
    static const char *const finishes[] = {"stop", "length", "limit", "schema"};
    struct slv_memory mem = {0};
    struct slv_model_info info;
    struct slv_generate_stats stats;
    slv_model_info(r->model, &info);
    slv_session_stats(r->session, &stats);
    if (slv_model_memory(r->model, &r->session_opts, &mem, NULL)) mem = (struct slv_memory){0};
    double decode_s = (double)(r->ended - r->fed) * 1e-9,
           prompt_s = (double)(r->fed - r->loaded) * 1e-9;
    slv_json_object(j, NULL);
    slv_json_strn(j, "text", r->text.data, r->text.len);
    ids_json(j, "tokens", r->ids, r->n_ids);
    ids_json(j, "prompt_tokens", r->tokens.v, r->tokens.n);
    slv_json_str(j, "finish", finishes[finish]);
    if (r->o->sampling.temp > 0.0) slv_json_uint(j, "seed", r->seed);
    if (r->want_logprobs) {
        slv_json_array(j, "logprobs");
        slv_buf_add(j->out, r->logprobs.data, r->logprobs.len);
        slv_json_array_end(j);
    }
    if (r->o->echo_tokens) {
        slv_json_array(j, "prompt_logprobs");
        slv_buf_add(j->out, r->prompt_logprobs.data, r->prompt_logprobs.len);
        slv_json_array_end(j);
    }
    slv_json_object(j, "timing");
    slv_json_double(j, "load_ms", (double)(r->loaded - r->begun) * 1e-6);
    slv_json_double(j, "ttft_ms", (double)((r->first ? r->first : r->ended) - r->loaded) * 1e-6);
    slv_json_double(j, "prompt_tps", (double)(r->tokens.n - r->reused) / prompt_s);
    slv_json_uint(j, "reused", r->reused);
    slv_json_double(j, "decode_tps", r->n_ids ? (double)r->n_ids / decode_s : 0.0);
    slv_json_str(j, "packed", info.cached ? "cached" : "built");
    slv_json_uint(j, "steps", stats.steps);
    slv_json_uint(j, "drafted", stats.drafted);
    slv_json_uint(j, "accepted", stats.accepted);
    slv_json_object_end(j);
    if (r->o->over.n) {
        slv_json_object(j, "over");
        slv_json_uint(j, "bytes", r->over.bytes);
        slv_json_uint(j, "parts", r->over.parts);
        slv_json_uint(j, "levels", r->over.levels);
        slv_json_object_end(j);
    }
    slv_json_object(j, "memory");
    slv_json_uint(j, "weights", mem.weights);
    slv_json_uint(j, "kv", mem.kv);
    slv_json_uint(j, "arena", mem.arena);
    slv_json_uint(j, "peak_rss", slv_cli_peak_rss());
    slv_json_object_end(j);
    slv_json_object_end(j);
}

static int show(struct run *r, enum slv_finish finish, struct slv_err *err) {
    if (!r->cli->json) {
        slv_out_puts("\n");
        if (finish == SLV_FINISH_LENGTH)
            slv_log(SLV_LOG_INFO, "stopped after %zu tokens (-n)", r->n_ids);
        if (finish == SLV_FINISH_LIMIT)
            slv_log(SLV_LOG_INFO, "stopped: the context is full (--ctx)");
        return 0;
    }
    struct slv_buf out;
    struct slv_json j;
    slv_buf_init(&out, (size_t)1 << 30);
    slv_json_init(&j, &out);
    report_json(r, &j, finish);
    if (r->logprobs.status || r->prompt_logprobs.status) out.status = SLV_E_LIMIT;
    int rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

static int answer(struct run *r, struct slv_err *err) {
    struct slv_generate_opts g;
    struct slv_logit_bias bias[SLV_OPT_LIST_MAX];
    enum slv_finish finish = SLV_FINISH_STOP;
    slv_generate_default(&g);
    int rc = slv_cli_sampling(&r->o->sampling, bias, &g.sampling, err);
    if (rc) return rc;
    r->seed = g.sampling.seed;
    g.max_tokens = (uint32_t)r->o->n;
    g.stop = r->o->stop.v;
    g.n_stop = r->o->stop.n;
    g.draft = r->draft.s;
    g.constraint = r->constraint;
    g.special = r->o->grammar != NULL;
    g.want_logprobs = r->want_logprobs;
    g.logprobs = (uint32_t)r->o->logprobs;
    rc = feed_prompt(r, err);
    r->fed = now();
    if (!rc) rc = slv_session_generate(r->session, &g, on_piece, r, &finish, err);
    r->ended = now();
    if (!rc || rc == SLV_E_CANCELLED) slv_cli_prompt_save(r->session, r->o->prompt_cache);
    if (r->status) return slv_err_set(err, r->status, "%s", slv_strerror(r->status));
    if (r->out_failed) return 0;
    if (rc == SLV_E_CANCELLED && !r->cli->json) slv_out_puts("\n");
    return rc ? rc : show(r, finish, err);
}

static int open_schema(struct run *r, struct slv_err *err) {
    struct slv_buf b;
    char pointer[SLV_POINTER_MAX];
    if (!r->o->schema) return 0;
    slv_buf_init(&b, SLV_CLI_TEXT_MAX);
    int rc = slv_file_read(r->o->schema, &b, err);
    if (!rc) {
        rc = slv_constraint_open(r->model, b.data, b.len, &r->constraint, pointer, err);
        if (rc && pointer[0]) slv_err_prefix(err, rc, "%s", pointer);
        if (rc) slv_err_prefix(err, rc, "%s", r->o->schema);
    }
    slv_buf_fini(&b);
    return rc;
}

static int open_grammar(struct run *r, struct slv_err *err) {
    struct slv_buf b;
    if (!r->o->grammar) return 0;
    slv_buf_init(&b, SLV_CLI_TEXT_MAX);
    int rc = slv_file_read(r->o->grammar, &b, err);
    if (!rc && (rc = slv_grammar_open(r->model, b.data, b.len, &r->constraint, err)) != 0)
        slv_err_prefix(err, rc, "%s", r->o->grammar);
    slv_buf_fini(&b);
    return rc;
}

static int run_all(struct run *r, struct slv_err *err) {
    struct slv_session_opts *so = &r->session_opts;
    *so = slv_cli_session(&r->o->session);
    if (r->o->echo_tokens) so->n_logits = 16;
    int rc = slv_cli_draft_open(r->cli, &r->o->draft, so, &r->o->model, &r->draft, err);
    const struct slv_cli_opening how = {.tuned = !r->o->session.no_tuned,
                                        .model = &r->o->model,
                                        .n_back = r->o->prompt_cache ? (uint32_t)r->o->n : 0,
                                        .draft = &r->draft};
    if (!rc)
        rc = slv_cli_session_open(r->cli, slv_cli_arg(r->cli, 0), so, &how, &r->model, &r->session,
                                  err);
    if (!rc)
        rc = slv_cli_adapters_open(r->model, r->o->adapter.v, r->o->adapter.n, &r->adapters, err);
    if (!rc) rc = slv_session_set_adapters(r->session, r->adapters.use, r->adapters.n, err);
    if (!rc) rc = open_schema(r, err);
    if (!rc) rc = open_grammar(r, err);
    if (!rc) rc = make_prompt(r, slv_cli_arg(r->cli, 1), err);
    if (rc) return rc;
    struct slv_model_info info;
    slv_model_info(r->model, &info);
    r->n_vocab = info.n_vocab;
    r->loaded = now();
    slv_sig_watch();
    return answer(r, err);
}

/* Options that would be passed over in silence. */
static int check_options(const struct slv_cli *cli, const struct run_opts *o, bool logprobs,
                         struct slv_err *err) {
    if ((logprobs || o->echo_tokens) && !cli->json)
        return slv_err_set(err, SLV_E_USAGE, "run: --%s: goes with --json",
                           logprobs ? "logprobs" : "echo-tokens");
    if (o->system && o->raw)
        return slv_err_set(err, SLV_E_USAGE, "run: --system: a --raw prompt has no messages");
    if (o->over.n && (o->raw || o->prompt_cache || o->echo_tokens))
        return slv_err_set(err, SLV_E_USAGE,
                           "run: --over: goes without --raw, --prompt-cache and --echo-tokens");
    if (o->schema && o->grammar)
        return slv_err_set(err, SLV_E_USAGE, "run: --grammar: not together with --schema");
    return slv_cli_draft_check("run", &o->draft, err);
}

static int run(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct run r = {.o = opts, .cli = cli, .begun = now()};
    r.want_logprobs = slv_opt_given(rows, sizeof rows / sizeof *rows, cli->given, "logprobs");
    int rc = check_options(cli, opts, r.want_logprobs, err);
    if (rc) return rc;
    slv_buf_init(&r.prompt, SLV_CLI_TEXT_MAX);
    slv_buf_init(&r.text, SLV_CLI_TEXT_MAX);
    slv_buf_init(&r.logprobs, (size_t)512 << 20);
    slv_buf_init(&r.prompt_logprobs, (size_t)512 << 20);
    slv_json_init(&r.logprobs_json, &r.logprobs);
    slv_json_init(&r.prompt_json, &r.prompt_logprobs);
    rc = run_all(&r, err);
    slv_tokens_free(&r.tokens);
    slv_mem_free(r.ids);
    slv_constraint_close(r.constraint);
    slv_cli_session_close(r.model, r.session, r.session_opts.prefix, &r.adapters);
    slv_cli_draft_close(&r.draft);
    slv_buf_fini(&r.prompt);
    slv_buf_fini(&r.text);
    slv_buf_fini(&r.logprobs);
    slv_buf_fini(&r.prompt_logprobs);
    return rc;
}

const struct slv_cmd slv_cmd_run = {
    .name = "run",
    .help = "answer one prompt",
    .args = "[MODEL [PROMPT]]",
    .more =
        "Without PROMPT, or with '-', the prompt is read from standard input, less one newline at "
        "its end. With temperature 0, the default, the same prompt gives the same answer on "
        "every machine; with another, the same seed does.",
    .max_args = 2,
    SLV_CMD_OPTS(rows, struct run_opts),
    .fn = run,
};
