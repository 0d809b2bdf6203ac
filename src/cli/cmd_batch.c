/* cmd_batch.c: answers to many prompts, several at once.
 *
 * A ring of items, one a line of input, is read ahead of what is answered; an item waits for a free
 * session, answers in it, and is printed when all before it are. So the output is in the order of
 * the input, and the same whatever the number of sessions and threads. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/engine.h"
#include "cli/lines.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "cli/tuned.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX ((size_t)4 << 20)
#define AHEAD 4 /* items held for each session */
#define SESSIONS_MAX 256

struct batch_opts {
    int64_t n, sessions;
    bool raw, lines, no_prefix_cache;
    struct slv_cli_model_opts model;
    const char *system;
    struct slv_opt_list stop, adapter;
    struct slv_cli_session_opts session;
    struct slv_cli_sampling_opts sampling;
};

static const struct slv_opt rows[] = {
    {"sessions", 0, SLV_OPT_INT_AT(struct batch_opts, sessions), .arg = "N", .def = "8", .imin = 1,
     .imax = SESSIONS_MAX, .help = "prompts answered at the same time; each has a KV cache"},
    {"max-tokens", 'n', SLV_OPT_INT_AT(struct batch_opts, n), .arg = "N", .def = "512", .imin = 1,
     .imax = 1 << 24, .help = "most tokens of an answer"},
    {"lines", 0, SLV_OPT_FLAG_AT(struct batch_opts, lines),
     .help = "every line is a prompt as it is, and no JSON"},
    {"raw", 0, SLV_OPT_FLAG_AT(struct batch_opts, raw),
     .help = "prompts as they are, without the model's chat template; control tokens count"},
    {"system", 0, SLV_OPT_STR_AT(struct batch_opts, system), .arg = "TEXT",
     .help = "the system message, where a line has none"},
    {"stop", 0, SLV_OPT_LIST_AT(struct batch_opts, stop), .arg = "TEXT",
     .help = "end an answer before this text; may be repeated"},
    SLV_CLI_ADAPTER_ROW(struct batch_opts, adapter),
    SLV_CLI_SESSION_ROWS(struct batch_opts, session),
    {"no-prefix-cache", 0, SLV_OPT_FLAG_AT(struct batch_opts, no_prefix_cache),
     .help = "read every prompt from its beginning, also what others began with"},
    SLV_CLI_MODEL_ROWS(struct batch_opts, model),
    SLV_CLI_SAMPLING_ROWS(struct batch_opts, sampling, "0"),
};

enum state { FREE, WAITS, ANSWERS, DONE };

struct item {
    enum state state;
    uint64_t line;
    struct job *job;
    json_t *id; /* as the line had it, or NULL */
    struct slv_tokens tokens;
    struct slv_generate_opts gen;
    struct slv_session *s;
    struct slv_buf text;
    size_t n_tokens;
    enum slv_finish finish;
    struct slv_err err; /* code 0: it has an answer */
};

struct job {
    const struct batch_opts *o;
    const struct slv_cli *cli;
    struct slv_model *m;
    struct slv_batch *b;
    struct slv_prefix_cache *prefix;           /* or NULL */
    struct slv_cli_adapters adapters;          /* of every session */
    struct slv_session *session[SESSIONS_MAX]; /* those that are free */
    size_t n_free, n_sessions;
    struct slv_logit_bias bias[SLV_OPT_LIST_MAX];
    struct slv_sampling sampling;
    struct item *item; /* [n_items], a ring: [first, first + n) are taken */
    size_t n_items, first, n, n_waiting;
    struct slv_lines in;
    bool ended; /* the input */
    struct slv_buf out;
    uint64_t answers, failures, read, written;
};

/* --- one line -------------------------------------------------------------------------------- */

/* What a line asks for. Strings are the JSON value's, or the caller's. */
struct request {
    struct slv_message message[64];
    size_t n;
    const char *raw;
};

static int wrong(struct slv_err *err, const char *what) {
    return slv_err_set(err, SLV_E_USAGE, "%s", what);
}

static int read_number(const json_t *v, const char *key, double most, double *ret,
                       struct slv_err *err) {
    double x = json_is_number(v) ? json_number_value(v) : -1.0;
    if (!(x >= 0.0 && x <= most))
        return slv_err_set(err, SLV_E_USAGE, "\"%s\": a number from 0 to %.0f is wanted", key,
                           most);
    *ret = x;
    return 0;
}

static int read_messages(const json_t *v, struct request *q, struct slv_err *err) {
    const size_t room = sizeof q->message / sizeof q->message[0];
    if (!json_is_array(v) || !json_array_size(v))
        return wrong(err, "\"messages\": a list of messages is wanted");
    if (json_array_size(v) > room - q->n) return wrong(err, "\"messages\": too many");
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *m = json_array_get(v, i);
        const char *role = json_string_value(json_object_get(m, "role"));
        const char *content = json_string_value(json_object_get(m, "content"));
        if (!role || !content || json_object_size(m) != 2)
            return wrong(err, "\"messages\": each is {\"role\": TEXT, \"content\": TEXT}");
        q->message[q->n++] = (struct slv_message){role, content};
    }
    return 0;
}

static int read_whole(const json_t *v, const char *key, double least, double most, uint64_t *ret,
                      struct slv_err *err) {
    double x = 0.0;
    int rc = read_number(v, key, most, &x, err);
    if (!rc && (x < least || x != floor(x)))
        rc = slv_err_set(err, SLV_E_USAGE, "\"%s\": a whole number from %.0f on is wanted", key,
                         least);
    if (!rc) *ret = (uint64_t)x;
    return rc;
}

/* One member of a line's object. */
static int read_member(struct item *it, const char *key, json_t *v, struct slv_err *err) {
    uint64_t whole = 0;
    double x = 0.0;
    int rc = 0;
    if (!strcmp(key, "id")) {
        if (!json_is_string(v) && !json_is_integer(v))
            return wrong(err, "\"id\": a string or a whole number is wanted");
        it->id = json_incref(v);
    } else if (!strcmp(key, "max_tokens")) {
        rc = read_whole(v, key, 1, 1 << 24, &whole, err);
        if (!rc) it->gen.max_tokens = (uint32_t)whole;
    } else if (!strcmp(key, "seed")) {
        rc = read_whole(v, key, 0, 9007199254740991.0, &it->gen.sampling.seed, err);
    } else if (!strcmp(key, "temperature")) {
        rc = read_number(v, key, 100, &x, err);
        if (!rc) it->gen.sampling.temperature = (float)x;
    } else if (strcmp(key, "prompt") != 0 && strcmp(key, "system") != 0 &&
               strcmp(key, "messages") != 0) {
        rc = slv_err_set(err, SLV_E_USAGE, "\"%s\": is not known", key);
    } else if (strcmp(key, "messages") != 0 && !json_is_string(v)) {
        rc = slv_err_set(err, SLV_E_USAGE, "\"%s\": a string is wanted", key);
    }
    return rc;
}

/* Who speaks, and what. */
static int read_words(const struct job *b, const json_t *o, struct request *q,
                      struct slv_err *err) {
    const json_t *messages = json_object_get(o, "messages");
    const char *prompt = json_string_value(json_object_get(o, "prompt"));
    const char *system = json_string_value(json_object_get(o, "system"));
    if (!messages == !prompt) return wrong(err, "one of \"prompt\" and \"messages\" is wanted");
    if (b->o->raw && (messages || system))
        return wrong(err, "--raw: a line has \"prompt\" and no messages");
    if (b->o->raw) {
        q->raw = prompt;
        return 0;
    }
    if (messages && system)
        return wrong(err, "\"system\": goes with \"prompt\", or is one of the messages");
    if (!system && !messages) system = b->o->system;
    if (system) q->message[q->n++] = (struct slv_message){"system", system};
    if (messages) return read_messages(messages, q, err);
    q->message[q->n++] = (struct slv_message){"user", prompt};
    return 0;
}

static int make_tokens(const struct job *b, struct item *it, const struct request *q,
                       struct slv_err *err) {
    struct slv_text chat = {0};
    const char *text = q->raw;
    size_t n = text ? strlen(text) : 0;
    int rc = 0;
    if (!text) {
        rc = slv_model_chat(b->m, q->message, q->n, &chat, err);
        if (rc) return rc;
        text = chat.p;
        n = chat.n;
    }
    rc = slv_model_tokenize(b->m, text, n, true, &it->tokens);
    slv_text_free(&chat);
    if (rc) return slv_err_set(err, rc, "prompt: %s", slv_strerror(rc));
    return it->tokens.n ? 0 : wrong(err, "the prompt is empty");
}

static int read_json(const struct job *b, struct item *it, const char *line, size_t n,
                     struct slv_err *err) {
    struct request q = {.n = 0};
    json_error_t e;
    const char *key;
    json_t *v, *o = json_loadb(line, n, JSON_REJECT_DUPLICATES, &e);
    if (!o) return slv_err_set(err, SLV_E_FORMAT, "no JSON: %s", e.text);
    int rc = json_is_object(o) ? 0 : slv_err_set(err, SLV_E_FORMAT, "no JSON object");
    json_object_foreach(o, key, v) {
        if (!rc) rc = read_member(it, key, v, err);
    }
    if (!rc) rc = read_words(b, o, &q, err);
    if (!rc) rc = make_tokens(b, it, &q, err);
    json_decref(o);
    return rc;
}

static int read_plain(const struct job *b, struct item *it, const char *line, size_t n,
                      struct slv_err *err) {
    struct request q = {.n = 0};
    struct slv_buf text;
    char name[32];
    if (memchr(line, '\0', n)) return wrong(err, "a NUL byte");
    if (!n) return wrong(err, "the prompt is empty");
    snprintf(name, sizeof name, "line %llu", (unsigned long long)it->line);
    slv_buf_init(&text, 3 * LINE_MAX);
    int rc = slv_cli_clean_text(name, line, n, &text);
    if (rc) slv_err_set(err, rc, "%s", slv_strerror(rc));
    if (b->o->system) q.message[q.n++] = (struct slv_message){"system", b->o->system};
    q.message[q.n++] = (struct slv_message){"user", text.data};
    if (b->o->raw) q.raw = text.data;
    if (!rc) rc = make_tokens(b, it, &q, err);
    slv_buf_fini(&text);
    return rc;
}

static bool is_blank(const char *line, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (line[i] != ' ' && line[i] != '\t') return false;
    return true;
}

/* --- items ------------------------------------------------------------------------------------ */

static struct item *item_at(struct job *b, size_t i) {
    return &b->item[(b->first + i) % b->n_items];
}

static void add_item(struct job *b, enum slv_lines_got got, const char *line, size_t n) {
    struct item *it = item_at(b, b->n++);
    *it = (struct item){.state = WAITS, .line = b->in.number, .job = b};
    slv_generate_default(&it->gen);
    slv_buf_init(&it->text, SLV_CLI_TEXT_MAX);
    it->gen.sampling = b->sampling;
    it->gen.sampling.seed += it->line - 1;
    it->gen.max_tokens = (uint32_t)b->o->n;
    it->gen.stop = b->o->stop.v;
    it->gen.n_stop = b->o->stop.n;
    int rc = 0;
    if (got == SLV_LINES_LONG)
        rc = slv_err_set(&it->err, SLV_E_LIMIT, "the line is longer than %zu bytes", LINE_MAX);
    else if (b->o->lines) rc = read_plain(b, it, line, n, &it->err);
    else rc = read_json(b, it, line, n, &it->err);
    it->err.code = rc;
    if (rc) it->state = DONE;
    else b->n_waiting++;
}

/* Reads lines while there is room for them: waits only where there is nothing else to do. */
static int read_ahead(struct job *b, bool busy, struct slv_err *err) {
    while (!b->ended && b->n < b->n_items) {
        enum slv_lines_got got = SLV_LINES_NONE;
        char *line = NULL;
        size_t n = 0;
        int rc = slv_lines_next(&b->in, !busy && !b->n_waiting, &got, &line, &n, err);
        if (rc) return rc;
        if (got == SLV_LINES_NONE) return 0;
        b->ended = got == SLV_LINES_END;
        if (b->ended || (got == SLV_LINES_LINE && !b->o->lines && is_blank(line, n))) continue;
        add_item(b, got, line, n);
        busy = busy || item_at(b, 0)->state == DONE;
    }
    return 0;
}

static bool on_piece(const struct slv_piece *p, void *ctx) {
    struct item *it = ctx;
    it->n_tokens += p->id >= 0;
    return !slv_buf_add(&it->text, p->text, p->n);
}

static void on_done(struct slv_session *s, int rc, enum slv_finish finish, const char *msg,
                    void *ctx) {
    struct item *it = ctx;
    struct job *b = it->job;
    if (rc == SLV_E_CANCELLED && it->text.status)
        rc = slv_err_set(&it->err, it->text.status, "the answer's text is too long");
    else if (rc) slv_err_set(&it->err, rc, "%s", msg);
    it->err.code = rc;
    it->finish = finish;
    it->state = DONE;
    b->session[b->n_free++] = s;
}

/* Gives sessions to those who wait, in order. */
static int start(struct job *b, struct slv_err *err) {
    for (size_t i = 0; i < b->n && b->n_waiting && b->n_free; i++) {
        struct item *it = item_at(b, i);
        if (it->state != WAITS) continue;
        struct slv_session *s = b->session[--b->n_free];
        b->n_waiting--;
        int rc = slv_session_rewind(s, 0);
        if (rc) return slv_err_set(err, rc, "%s", slv_strerror(rc));
        rc = slv_batch_join(b->b, s, it->tokens.v, it->tokens.n, &it->gen, on_piece, on_done, it,
                            &it->err);
        it->err.code = rc;
        it->state = rc ? DONE : ANSWERS;
        it->s = s;
        if (rc) b->session[b->n_free++] = s;
    }
    return 0;
}

static void item_json(const struct item *it, struct slv_json *j) {
    static const char *const finishes[] = {"stop", "length", "limit", "schema"};
    slv_json_object(j, NULL);
    slv_json_uint(j, "line", it->line);
    if (json_is_integer(it->id)) slv_json_int(j, "id", json_integer_value(it->id));
    if (json_is_string(it->id))
        slv_json_strn(j, "id", json_string_value(it->id), json_string_length(it->id));
    if (it->err.code) {
        slv_json_str(j, "error", it->err.msg);
    } else {
        slv_json_strn(j, "text", it->text.data, it->text.len);
        slv_json_str(j, "finish", finishes[it->finish]);
        slv_json_uint(j, "prompt_tokens", it->tokens.n);
        slv_json_uint(j, "tokens", it->n_tokens);
    }
    slv_json_object_end(j);
}

static void drop(struct job *b, struct item *it) {
    json_decref(it->id);
    slv_tokens_free(&it->tokens);
    slv_buf_fini(&it->text);
    *it = (struct item){0};
    b->first = (b->first + 1) % b->n_items;
    b->n--;
}

/* Prints those that are done and have nobody before them. */
static int print_done(struct job *b, struct slv_err *err) {
    bool any = false;
    while (b->n && item_at(b, 0)->state == DONE) {
        struct item *it = item_at(b, 0);
        struct slv_json j;
        slv_buf_clear(&b->out);
        slv_json_init(&j, &b->out);
        item_json(it, &j);
        int rc = slv_out_line(&b->out, err);
        if (rc) return rc;
        if (it->err.code) b->failures++;
        else b->answers++, b->read += it->tokens.n, b->written += it->n_tokens;
        drop(b, it);
        any = true;
    }
    return any ? slv_out_flush(err) : 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

static int answer_all(struct job *b, struct slv_err *err) {
    uint32_t active = 0;
    for (;;) {
        int rc = read_ahead(b, active > 0, err);
        if (!rc) rc = start(b, err);
        if (!rc) rc = slv_batch_step(b->b, &active, err);
        if (!rc) rc = print_done(b, err);
        if (rc) return rc;
        if (slv_sig_seen()) return slv_err_set(err, SLV_E_CANCELLED, "interrupted");
        if (b->ended && !b->n) return 0;
    }
}

static void cancel(void *batch) { slv_batch_cancel(batch); }

/* One session more. */
static int open_session(struct job *b, const struct slv_session_opts *so, struct slv_err *err) {
    struct slv_session **s = &b->session[b->n_sessions];
    int rc = slv_session_open(b->m, so, s, err);
    if (rc) return rc;
    rc = slv_session_set_adapters(*s, b->adapters.use, b->adapters.n, err);
    if (rc) slv_session_close(*s);
    else b->n_sessions++;
    return rc;
}

/* A prefix cache for n sessions, and where there is no limit for what one holds besides, with the
 * first of them. SLV_E_FIT: they do not fit with it. */
static int open_shared(struct job *b, struct slv_session_opts *so, size_t n, struct slv_err *err) {
    struct slv_prefix_cache_opts po = {.kv = so->kv};
    so->prefix = NULL;
    int rc = slv_cli_prefix_bytes(b->m, so, n + !so->memory, 0, &po.bytes, err);
    if (!rc) rc = slv_prefix_cache_open(b->m, &po, &b->prefix, err);
    so->prefix = b->prefix;
    if (!rc) rc = open_session(b, so, err);
    if (!rc) return 0;
    slv_prefix_cache_close(b->prefix);
    b->prefix = so->prefix = NULL;
    return rc;
}

/* As many sessions as there is room for, n at most. */
static int open_sessions(struct job *b, struct slv_session_opts *so, size_t n,
                         struct slv_err *err) {
    const size_t want = n;
    int rc = SLV_E_FIT;
    if (!b->o->no_prefix_cache)
        for (; n && rc == SLV_E_FIT; n -= rc == SLV_E_FIT)
            rc = open_shared(b, so, n, err);
    if (rc == SLV_E_FIT) { /* without, or not with it */
        n = want;
        rc = 0;
    }
    while (!rc && b->n_sessions < n)
        rc = open_session(b, so, err);
    if (rc == SLV_E_FIT && b->n_sessions) rc = 0;
    if (!rc && b->n_sessions < want)
        slv_log(SLV_LOG_INFO, "--memory: %zu sessions instead of %zu", b->n_sessions, want);
    return rc;
}

static int open_all(struct job *b, struct slv_err *err) {
    struct slv_session_opts so = slv_cli_session(&b->o->session);
    struct slv_model_opts mo = {.threads = so.threads};
    struct slv_batch_opts bo = {.n_sessions = (uint32_t)b->o->sessions, .memory = so.memory};
    const char *file = slv_cli_arg(b->cli, 1);
    int rc = slv_cli_sampling(&b->o->sampling, b->bias, &b->sampling, err);
    if (!rc) rc = slv_lines_open(file ? file : "-", LINE_MAX, &b->in, err);
    if (!rc) rc = slv_cli_model_open(b->cli, slv_cli_arg(b->cli, 0), &mo, &b->o->model, &b->m, err);
    if (!rc && !b->o->session.no_tuned) slv_tuned_apply(b->m, &so);
    if (!rc) rc = slv_cli_adapters_open(b->m, b->o->adapter.v, b->o->adapter.n, &b->adapters, err);
    bo.n_batch = so.n_batch;
    bo.threads = so.threads;
    bo.threads_few = so.threads_few;
    if (!rc) rc = slv_batch_open(b->m, &bo, &b->b, err);
    so.batch = b->b;
    so.n_draft = 0;
    if (!rc) rc = open_sessions(b, &so, bo.n_sessions, err);
    b->n_free = b->n_sessions;
    b->n_items = AHEAD * b->n_sessions;
    if (!rc) b->item = slv_mem_calloc(b->n_items, sizeof *b->item);
    if (!rc && !b->item) rc = slv_err_set(err, SLV_E_NOMEM, "out of memory");
    return rc;
}

static void close_all(struct job *b) {
    slv_sig_hook(NULL, NULL);
    while (b->n) {
        struct item *it = item_at(b, 0);
        if (it->state == ANSWERS) b->session[b->n_free++] = it->s;
        drop(b, it);
    }
    for (size_t i = 0; i < b->n_free; i++)
        slv_session_close(b->session[i]);
    slv_batch_close(b->b);
    slv_prefix_cache_close(b->prefix);
    slv_cli_adapters_close(&b->adapters);
    slv_model_close(b->m);
    slv_lines_close(&b->in);
    slv_buf_fini(&b->out);
    slv_mem_free(b->item);
}

static int batch(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct job *b = slv_mem_calloc(1, sizeof *b);
    if (!b) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    b->o = opts;
    b->cli = cli;
    slv_buf_init(&b->out, 8 * SLV_CLI_TEXT_MAX);
    int rc = 0;
    if (b->o->system && b->o->raw)
        rc = slv_err_set(err, SLV_E_USAGE, "batch: --system: --raw prompts have no messages");
    if (!rc) rc = open_all(b, err);
    if (!rc) {
        slv_sig_hook(cancel, b->b);
        slv_sig_watch();
        uint64_t t0 = slv_clock_mono(&slv_clock_system);
        rc = answer_all(b, err);
        double s = (double)(slv_clock_mono(&slv_clock_system) - t0) * 1e-9;
        struct slv_prefix_stats st = {0};
        if (b->prefix) slv_prefix_cache_stats(b->prefix, &st);
        slv_log(SLV_LOG_INFO,
                "%llu answers, %llu lines without; %llu tokens read, %llu of them once for several "
                "prompts, and %llu written in %.1f s",
                (unsigned long long)b->answers, (unsigned long long)b->failures,
                (unsigned long long)b->read, (unsigned long long)st.reused,
                (unsigned long long)b->written, s);
        if (!rc && b->failures) rc = 1; /* each has said why */
    }
    close_all(b);
    slv_mem_free(b);
    return rc;
}

const struct slv_cmd slv_cmd_batch = {
    .name = "batch",
    .help = "answer many prompts, several at once",
    .args = "[MODEL [FILE]]",
    .more = "Each line of FILE, or of standard input, is a JSON object: \"prompt\" with or without "
            "\"system\", or \"messages\" [{\"role\", \"content\"}]; and \"id\", \"max_tokens\", "
            "\"seed\", \"temperature\" where wanted. Each gets a line of JSON, in the same order, "
            "with \"line\", \"id\", \"text\", \"finish\", \"prompt_tokens\", \"tokens\", or with "
            "\"error\"; the exit status is 1 if any has.\n"
            "Answers are those of 'run', whatever is answered at the same time. Line N draws with "
            "the seed plus N - 1.",
    .max_args = 2,
    SLV_CMD_OPTS(rows, struct batch_opts),
    .fn = batch,
};
