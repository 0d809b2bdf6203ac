/* cmd_chat.c: a conversation in the terminal.
 *
 * The conversation is a list of messages. Before each answer the whole list is rendered by the
 * model's template and tokenized; what the session already holds of it stays, only what is new is
 * read, also where a window has moved on (a prefix cache keeps what an answer may have to go back
 * to). When it no longer fits in the context the oldest turns are forgotten, which is said. Ctrl-C
 * stops an answer and keeps what was said; at the prompt it clears the line. */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cli/cmd.h"
#include "cli/engine.h"
#include "cli/out.h"
#include "cli/sig.h"

#include <histedit.h>
#include <jansson.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TURNS_MAX 4096
#define SAVED_MAX ((size_t)64 << 20)
#define BLOCK_MARK "\"\"\"" /* begins and ends a turn of several lines */

struct chat_opts {
    struct slv_cli_model_opts model;
    const char *system, *prompt_cache;
    int64_t n;
    struct slv_cli_session_opts session;
    struct slv_cli_sampling_opts sampling;
    struct slv_cli_draft_opts draft;
    struct slv_opt_list adapter;
};

static const struct slv_opt rows[] = {
    {"system", 0, SLV_OPT_STR_AT(struct chat_opts, system), .arg = "TEXT",
     .help = "the system message"},
    {"max-tokens", 'n', SLV_OPT_INT_AT(struct chat_opts, n), .arg = "N", .def = "1024", .imin = 1,
     .imax = 1 << 24, .help = "most tokens in one answer"},
    SLV_CLI_ADAPTER_ROW(struct chat_opts, adapter),
    SLV_CLI_SESSION_ROWS(struct chat_opts, session),
    SLV_CLI_PROMPT_CACHE_ROW(struct chat_opts, prompt_cache),
    SLV_CLI_MODEL_ROWS(struct chat_opts, model),
    SLV_CLI_SAMPLING_ROWS(struct chat_opts, sampling, "0.7"),
    SLV_CLI_DRAFT_ROWS(struct chat_opts, draft),
};

struct chat {
    const struct chat_opts *o;
    const struct slv_cli *cli;
    struct slv_model *m;
    struct slv_session *s;
    struct slv_cli_draft draft;
    struct slv_cli_adapters adapters;
    struct slv_generate_opts gen;
    struct slv_logit_bias bias[SLV_OPT_LIST_MAX];
    struct slv_message *turns; /* texts are owned */
    size_t n, cap;
    struct slv_prefix_cache *prefix; /* for windows; or NULL */
    uint32_t n_read;                 /* tokens of the last question that were computed */
    struct slv_buf answer;
    bool quit;
    int failed; /* the first turn's failure; what it was has been said */
};

/* --- the list of messages --------------------------------------------------------------------- */

static int add_turn(struct chat *c, const char *role, const char *text, size_t n,
                    struct slv_err *err) {
    int rc = slv_mem_grow((void **)&c->turns, c->n, &c->cap, sizeof *c->turns, TURNS_MAX);
    char *copy = rc ? NULL : slv_mem_strndup(text, n);
    if (!copy) return slv_err_set(err, rc ? rc : SLV_E_NOMEM, "the conversation is too long");
    c->turns[c->n++] = (struct slv_message){.role = role, .content = copy};
    return 0;
}

static void drop_turns(struct chat *c, size_t keep) {
    while (c->n > keep)
        slv_mem_free((char *)(uintptr_t)c->turns[--c->n].content);
}

static bool has_system(const struct chat *c) { return c->n && !strcmp(c->turns[0].role, "system"); }

/* --- answering -------------------------------------------------------------------------------- */

static bool on_piece(const struct slv_piece *p, void *ctx) {
    struct chat *c = ctx;
    struct slv_err e;
    slv_buf_add(&c->answer, p->text, p->n);
    if (!c->cli->json) slv_out_write(p->text, p->n);
    return !slv_out_flush(&e) && !c->answer.status && !slv_sig_seen();
}

/* Makes the session hold exactly `want`, keeping what it already has of it. At least the last token
 * is read anew, for its logits. */
static int hold(struct chat *c, const struct slv_tokens *want, struct slv_err *err) {
    uint32_t held = 0;
    int rc = slv_session_resume(c->s, want->v, want->n, &held, err);
    if (rc) return rc;
    c->n_read = (uint32_t)want->n - held;
    return slv_cli_feed(c->cli, c->s, want->v + held, want->n - held, err);
}

static int render(struct chat *c, struct slv_tokens *ret, struct slv_err *err) {
    struct slv_text text;
    int rc = slv_model_chat(c->m, c->turns, c->n, &text, err);
    if (rc) return rc;
    rc = slv_model_tokenize(c->m, text.p, text.n, true, ret);
    slv_text_free(&text);
    return rc ? slv_err_set(err, rc, "%s", slv_strerror(rc)) : 0;
}

/* Tokens that are left free for the answer. */
static size_t answer_room(const struct chat *c) {
    size_t quarter = slv_session_context(c->s) / 4, most = (size_t)c->o->n;
    return most < quarter ? most : quarter;
}

/* Forgets the oldest question and its answer. False: only the last question is left. */
static bool forget_oldest(struct chat *c) {
    size_t from = has_system(c), n = 0;
    while (from + n + 1 < c->n && (n == 0 || strcmp(c->turns[from + n].role, "user") != 0))
        n++;
    for (size_t i = 0; i < n; i++)
        slv_mem_free((char *)(uintptr_t)c->turns[from + i].content);
    memmove(c->turns + from, c->turns + from + n, (c->n - from - n) * sizeof *c->turns);
    c->n -= n;
    return n != 0;
}

/* The conversation's tokens, so many of them that an answer fits behind. */
static int render_fitting(struct chat *c, struct slv_tokens *ret, struct slv_err *err) {
    uint32_t context = slv_session_context(c->s);
    bool forgot = false;
    for (;;) {
        int rc = render(c, ret, err);
        if (rc) return rc;
        if (ret->n + answer_room(c) <= context || !forget_oldest(c)) break;
        forgot = true;
        slv_tokens_free(ret);
    }
    if (ret->n >= context) {
        int rc = slv_err_set(err, SLV_E_FIT, "%zu tokens do not fit in a context of %u: --ctx",
                             ret->n, context);
        slv_tokens_free(ret);
        return rc;
    }
    if (forgot)
        slv_log(SLV_LOG_WARN,
                "the context of %u tokens is full: the oldest turns are forgotten (--ctx)",
                context);
    return 0;
}

/* {"role":"assistant","content":..,"finish":..,"prompt_tokens":N,"tokens":N,"read":N} */
static int answer_json(struct chat *c, enum slv_finish finish, size_t prompt, size_t n,
                       struct slv_err *err) {
    static const char *const finishes[] = {"stop", "length", "limit", "schema"};
    struct slv_buf out;
    struct slv_json j;
    slv_buf_init(&out, SAVED_MAX);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "role", "assistant");
    slv_json_strn(&j, "content", c->answer.data, c->answer.len);
    slv_json_str(&j, "finish", finishes[finish]);
    slv_json_uint(&j, "prompt_tokens", prompt);
    slv_json_uint(&j, "tokens", n);
    slv_json_uint(&j, "read", c->n_read);
    slv_json_object_end(&j);
    int rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

static void say_why_it_ended(const struct chat *c, enum slv_finish finish) {
    if (finish == SLV_FINISH_LENGTH)
        slv_log(SLV_LOG_INFO, "stopped after %lld tokens (-n)", (long long)c->o->n);
    if (finish == SLV_FINISH_LIMIT)
        slv_log(SLV_LOG_WARN,
                "the context of %u tokens is full: /clear begins anew, --ctx gives more",
                slv_session_context(c->s));
}

static int answer(struct chat *c, struct slv_err *err) {
    struct slv_tokens t;
    struct slv_err ignore;
    enum slv_finish finish = SLV_FINISH_STOP;
    int rc = render_fitting(c, &t, err);
    if (rc) return rc;
    slv_buf_clear(&c->answer);
    slv_sig_watch();
    slv_session_cancel(c->s, false); /* a Ctrl-C at the prompt was for the line */
    rc = hold(c, &t, err);
    size_t prompt = t.n;
    slv_tokens_free(&t);
    if (!rc) rc = slv_session_generate(c->s, &c->gen, on_piece, c, &finish, err);
    size_t held = slv_session_position(c->s); /* a token that ended the answer was not read */
    if (!c->cli->json) slv_out_puts("\n");
    if (slv_out_flush(&ignore)) return 0; /* main says why */
    if (rc == SLV_E_CANCELLED && slv_sig_seen())
        rc = 0; /* the answer stops, the program does not */
    if (!rc && c->cli->json)
        rc = answer_json(c, finish, prompt, held > prompt ? held - prompt : 0, err);
    if (!rc) say_why_it_ended(c, finish);
    return rc ? rc : add_turn(c, "assistant", c->answer.data, c->answer.len, err);
}

/* --- commands --------------------------------------------------------------------------------- */

static int do_help(struct chat *c, const char *arg, struct slv_err *err);

static int do_quit(struct chat *c, const char *arg, struct slv_err *err) {
    (void)arg, (void)err;
    c->quit = true;
    return 0;
}

static int do_clear(struct chat *c, const char *arg, struct slv_err *err) {
    (void)arg, (void)err;
    drop_turns(c, has_system(c));
    return 0;
}

static int do_system(struct chat *c, const char *arg, struct slv_err *err) {
    drop_turns(c, 0);
    return *arg ? add_turn(c, "system", arg, strlen(arg), err) : 0;
}

/* What was read under other adapters is read again with the next turn. */
static int do_adapter(struct chat *c, const char *arg, struct slv_err *err) {
    struct slv_cli_adapters a = {.n = 0};
    int rc = *arg ? slv_cli_adapters_open(c->m, &arg, 1, &a, err) : 0;
    if (rc) return rc;
    rc = slv_session_rewind(c->s, 0);
    if (rc) slv_err_set(err, rc, "%s", slv_strerror(rc));
    else rc = slv_session_set_adapters(c->s, a.use, a.n, err);
    slv_cli_adapters_close(rc ? &a : &c->adapters);
    if (!rc) c->adapters = a;
    return rc;
}

static int do_save(struct chat *c, const char *arg, struct slv_err *err) {
    struct slv_buf b;
    struct slv_json j;
    if (!*arg) return slv_err_set(err, SLV_E_USAGE, "/save: a file name is needed");
    slv_buf_init(&b, SAVED_MAX);
    slv_json_init(&j, &b);
    slv_json_object(&j, NULL);
    slv_json_array(&j, "messages");
    for (size_t i = 0; i < c->n; i++) {
        slv_json_object(&j, NULL);
        slv_json_str(&j, "role", c->turns[i].role);
        slv_json_str(&j, "content", c->turns[i].content);
        slv_json_object_end(&j);
    }
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    slv_buf_addc(&b, '\n');
    int rc = b.status ? slv_err_set(err, b.status, "/save: %s", slv_strerror(b.status))
                      : slv_file_write(arg, b.data, b.len, 0600, err);
    slv_buf_fini(&b);
    if (!rc) slv_cli_prompt_save(c->s, c->o->prompt_cache);
    return rc;
}

/* One saved message; the roles are ours, so that they need no owner. */
static int load_turn(struct chat *c, const json_t *v, struct slv_err *err) {
    static const char *const roles[] = {"system", "user", "assistant"};
    const char *role = json_string_value(json_object_get(v, "role"));
    const json_t *content = json_object_get(v, "content");
    if (!role || !json_is_string(content))
        return slv_err_set(err, SLV_E_FORMAT, "a message has no role or no content");
    for (size_t i = 0; i < 3; i++)
        if (!strcmp(role, roles[i]))
            return add_turn(c, roles[i], json_string_value(content), json_string_length(content),
                            err);
    return slv_err_set(err, SLV_E_FORMAT, "unknown role '%.20s'", role);
}

/* The loaded conversation takes the place of the old one, or nothing changes. */
static int load_turns(struct chat *c, const json_t *list, struct slv_err *err) {
    if (!json_is_array(list)) return slv_err_set(err, SLV_E_FORMAT, "no list \"messages\"");
    size_t before = c->n;
    int rc = 0;
    for (size_t i = 0; i < json_array_size(list) && !rc; i++)
        rc = load_turn(c, json_array_get(list, i), err);
    if (rc) {
        drop_turns(c, before);
        return rc;
    }
    for (size_t i = 0; i < before; i++)
        slv_mem_free((char *)(uintptr_t)c->turns[i].content);
    if (before) memmove(c->turns, c->turns + before, (c->n - before) * sizeof *c->turns);
    c->n -= before;
    return 0;
}

static int do_load(struct chat *c, const char *arg, struct slv_err *err) {
    struct slv_buf text;
    json_error_t why;
    if (!*arg) return slv_err_set(err, SLV_E_USAGE, "/load: a file name is needed");
    slv_buf_init(&text, SAVED_MAX);
    int rc = slv_file_read(arg, &text, err);
    json_t *root = rc ? NULL : json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &why);
    if (!rc && !root)
        rc = slv_err_set(err, SLV_E_FORMAT, "%s: line %d: %s", arg, why.line, why.text);
    else if (!rc) {
        rc = load_turns(c, json_object_get(root, "messages"), err);
        if (rc) slv_err_prefix(err, rc, "%s", arg);
    }
    json_decref(root);
    slv_buf_fini(&text);
    return rc;
}

static const struct {
    const char *name, *help;
    int (*fn)(struct chat *c, const char *arg, struct slv_err *err);
} commands[] = {
    {"/help", "this list", do_help},
    {"/system", "TEXT: begin anew with this system message", do_system},
    {"/clear", "forget the conversation, keep the system message", do_clear},
    {"/adapter", "FILE[:SCALE]: go on with this LoRA adapter alone; without: with none",
     do_adapter},
    {"/save", "FILE: write the conversation as JSON", do_save},
    {"/load", "FILE: go on with a saved conversation", do_load},
    {"/quit", "end (also Ctrl-D)", do_quit},
};

static int do_help(struct chat *c, const char *arg, struct slv_err *err) {
    (void)arg, (void)err;
    if (c->cli->json) return 0;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        slv_out_printf("%-9s %s\n", commands[i].name, commands[i].help);
    slv_out_puts(BLOCK_MARK "       begins a turn of several lines, and ends it\n");
    return 0;
}

static int run_command(struct chat *c, const char *line, struct slv_err *err) {
    size_t n = strcspn(line, " \t");
    const char *arg = line + n + strspn(line + n, " \t");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strlen(commands[i].name) == n && !memcmp(commands[i].name, line, n))
            return commands[i].fn(c, arg, err);
    return slv_err_set(err, SLV_E_USAGE, "%.*s: no such command: /help lists them", (int)n, line);
}

/* --- the terminal ----------------------------------------------------------------------------- */

static char *prompt_text(EditLine *el) {
    (void)el;
    static char text[] = "> ";
    return text;
}

struct terminal {
    EditLine *el;
    History *history;
    struct slv_buf line;
};

static void terminal_open(struct terminal *t) {
    HistEvent ev;
    *t = (struct terminal){0};
    slv_buf_init(&t->line, SLV_CLI_TEXT_MAX);
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) return;
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8"); /* or what is typed would lose its umlauts */
    t->el = el_init("selvage", stdin, stdout, stderr);
    t->history = history_init();
    if (!t->el || !t->history) return;
    history(t->history, &ev, H_SETSIZE, 1000);
    el_set(t->el, EL_HIST, history, t->history);
    el_set(t->el, EL_EDITOR, "emacs");
    el_set(t->el, EL_PROMPT, prompt_text);
    el_set(t->el, EL_SIGNAL, 1);
}

static void terminal_close(struct terminal *t) {
    if (t->history) history_end(t->history);
    if (t->el) el_end(t->el);
    slv_buf_fini(&t->line);
}

/* Appends the next line without its newline; false at the end. */
static bool add_line(struct terminal *t) {
    if (t->el) {
        int n = 0;
        HistEvent ev;
        slv_sig_watch();
        const char *s = el_gets(t->el, &n);
        if (slv_sig_seen()) { /* Ctrl-C clears the line */
            putchar('\n');
            slv_buf_clear(&t->line);
            return true;
        }
        if (!s || n <= 0) return false;
        slv_buf_add(&t->line, s, (size_t)n);
        if (n > 1) history(t->history, &ev, H_ENTER, s);
    } else {
        int ch;
        size_t before = t->line.len;
        slv_sig_unwatch();
        while ((ch = getchar()) != EOF && ch != '\n')
            slv_buf_addc(&t->line, (char)ch);
        if (ch == EOF && t->line.len == before) return false;
    }
    while (t->line.len && strchr("\r\n", t->line.data[t->line.len - 1]))
        t->line.data[--t->line.len] = '\0';
    return !t->line.status;
}

static bool ends_block(const struct slv_buf *line) {
    const size_t mark = sizeof BLOCK_MARK - 1;
    return line->len >= 2 * mark && !memcmp(line->data + line->len - mark, BLOCK_MARK, mark);
}

/* The next turn: a line, or what stands between two marks. */
static bool read_turn(struct terminal *t) {
    const size_t mark = sizeof BLOCK_MARK - 1;
    slv_buf_clear(&t->line);
    if (!add_line(t)) return false;
    if (strncmp(t->line.data, BLOCK_MARK, mark) != 0) return true;
    while (!ends_block(&t->line)) {
        slv_buf_addc(&t->line, '\n');
        if (!add_line(t)) return false;
        if (t->line.len < mark) return true; /* Ctrl-C */
    }
    t->line.len -= mark;
    memmove(t->line.data, t->line.data + mark, t->line.len -= mark);
    t->line.data[t->line.len] = '\0';
    return true;
}

/* What is wrong with one turn is said and the conversation goes on. */
static void one_turn(struct chat *c, const char *line) {
    struct slv_err err = {0};
    size_t before = c->n;
    int rc;
    if (*line == '/') {
        rc = run_command(c, line, &err);
    } else {
        struct slv_buf text;
        slv_buf_init(&text, SLV_CLI_TEXT_MAX);
        rc = slv_cli_clean_text("input", line, strlen(line), &text);
        if (!rc) rc = add_turn(c, "user", text.data, text.len, &err);
        if (!rc) rc = answer(c, &err);
        slv_buf_fini(&text);
        if (rc) drop_turns(c, before);
    }
    if (!rc) return;
    slv_log(SLV_LOG_ERROR, "%s", err.msg[0] ? err.msg : slv_strerror(rc));
    if (!c->failed) c->failed = rc;
}

static int open_all(struct chat *c, struct slv_err *err) {
    const char *name = c->cli->nargs ? c->cli->args[0] : NULL;
    struct slv_session_opts so = slv_cli_session(&c->o->session);
    slv_generate_default(&c->gen);
    c->gen.max_tokens = (uint32_t)c->o->n;
    int rc = slv_cli_sampling(&c->o->sampling, c->bias, &c->gen.sampling, err);
    if (!rc) rc = slv_cli_draft_check("chat", &c->o->draft, err);
    if (!rc) rc = slv_cli_draft_open(c->cli, &c->o->draft, &so, &c->o->model, &c->draft, err);
    const struct slv_cli_opening how = {.tuned = !c->o->session.no_tuned,
                                        .model = &c->o->model,
                                        .n_back = (uint32_t)c->o->n,
                                        .draft = &c->draft};
    if (!rc) rc = slv_cli_session_open(c->cli, name, &so, &how, &c->m, &c->s, err);
    if (rc) return rc;
    c->prefix = so.prefix;
    rc = slv_cli_adapters_open(c->m, c->o->adapter.v, c->o->adapter.n, &c->adapters, err);
    if (!rc) rc = slv_session_set_adapters(c->s, c->adapters.use, c->adapters.n, err);
    if (rc) return rc;
    c->gen.draft = c->draft.s;
    slv_cli_prompt_load(c->s, c->o->prompt_cache);
    return c->o->system ? add_turn(c, "system", c->o->system, strlen(c->o->system), err) : 0;
}

static int chat(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct chat c = {.o = opts, .cli = cli};
    struct terminal t;
    slv_buf_init(&c.answer, SLV_CLI_TEXT_MAX);
    int rc = open_all(&c, err);
    if (!rc) {
        terminal_open(&t);
        if (t.el) slv_out_puts("/help lists the commands.\n");
        struct slv_err out_err;
        rc = slv_out_flush(&out_err);
        while (!rc && !c.quit && read_turn(&t)) {
            if (t.line.len) one_turn(&c, t.line.data);
            rc = slv_out_flush(err);
        }
        if (!rc && !t.el && c.failed) rc = slv_err_exit_status(c.failed); /* a script should know */
        terminal_close(&t);
    }
    slv_cli_prompt_save(c.s, c.o->prompt_cache);
    drop_turns(&c, 0);
    slv_mem_free(c.turns);
    slv_buf_fini(&c.answer);
    slv_cli_session_close(c.m, c.s, c.prefix, &c.adapters);
    slv_cli_draft_close(&c.draft);
    return rc;
}

const struct slv_cmd slv_cmd_chat = {
    .name = "chat",
    .help = "talk with a model in the terminal",
    .args = "[MODEL]",
    .more = "Lines that begin with '/' are commands: /help lists them. Ctrl-C stops an answer, "
            "Ctrl-D ends the conversation. Without a terminal, each line of standard input is a "
            "turn, and the exit status is that of the first turn that failed. A line that begins "
            "with \"\"\" begins a turn of several lines, which ends with \"\"\". With --json "
            "each answer is one line of JSON.",
    .max_args = 1,
    SLV_CMD_OPTS(rows, struct chat_opts),
    .fn = chat,
};
