/* tools.c: see tools.h.
 *
 *     text ... BEGIN {"name": "f", "arguments": {...}} END text ...
 *                                                ^ BETWEEN, where one bracket holds several
 *
 * Whatever family, a call is that object between its family's marks, so one reader serves all. The
 * answer is held to it (serve_tools_constrain): names are those of the request, arguments are
 * objects that meet their schemas, and nothing comes after the last call. The model brings to its
 * end what it began; a limit, the time or a stop string may cut it anywhere. */
#include "serve/tools.h"
#include "base/mem.h"
#include "engine/model.h"

#include <stdio.h>
#include <string.h>

#define TOOLS_MAX 128
#define NAME_MAX_ 64
#define GRAMMAR_MAX ((size_t)4 << 20)
#define HEAD "{\"name\": \""

struct serve_tool_syntax {
    const char *known_by; /* stands in the chat template; NULL: any */
    const char *begin, *between, *end;
    const char *arguments; /* what its object calls them */
    bool at_start;         /* a call is the whole answer, and begins it */
};

/* The first that fits. */
static const struct serve_tool_syntax syntaxes[] = {
    {"[TOOL_CALLS]", "[TOOL_CALLS][", ", ", "]", "arguments", false},
    {"<|tool_call|>", "<|tool_call|>[", ", ", "]", "arguments", false},
    {"<tool_call>", SERVE_CALL_BEGIN, SERVE_CALL_END "\n" SERVE_CALL_BEGIN, SERVE_CALL_END,
     "arguments", false},
    {"\"parameters\":", "", NULL, "", "parameters", true},
};
static const struct serve_tool_syntax by_note = {
    NULL,           SERVE_CALL_BEGIN, SERVE_CALL_END "\n" SERVE_CALL_BEGIN,
    SERVE_CALL_END, "arguments",      false};

static const struct serve_tool_syntax *syntax_of(const char *chat_template) {
    if (!strstr(chat_template, "tools")) return &by_note;
    for (size_t i = 0; i < sizeof syntaxes / sizeof *syntaxes; i++)
        if (strstr(chat_template, syntaxes[i].known_by)) return &syntaxes[i];
    return &by_note;
}

/* Whether a call comes first or not at all: where text and calls do not go together. */
static bool calls_at_start(const struct serve_call *c) {
    return c->tool_syntax->at_start || c->ask.schema || c->ask.json_object;
}

/* --- reading an answer ------------------------------------------------------------------------ */

enum { IN_TEXT, IN_NAME, IN_ARGUMENTS, AFTER_CALL };

static void tell(struct serve_choice *ch, serve_part_fn fn, enum serve_part_kind kind, size_t n) {
    const struct serve_part p = {
        .kind = kind, .call = ch->n_calls, .p = ch->text.data + ch->n_told, .n = n};
    if (n || kind == PART_CALL_END) fn(ch, &p);
    ch->n_told += n;
}

/* Whether the text goes on with s from `at` on: yes, no, or perhaps when there is more. */
enum fits { NO, PERHAPS, YES };
static enum fits fits(const struct serve_choice *ch, size_t at, const char *s) {
    size_t n = strlen(s), left = ch->text.len - at;
    if (memcmp(ch->text.data + at, s, n < left ? n : left) != 0) return NO;
    return left < n ? PERHAPS : YES;
}

/* Nothing more is told of the answer: what is left was the beginning of a call. */
static bool drop_rest(struct serve_choice *ch) {
    ch->n_told = ch->text.len;
    ch->cut = true;
    return false;
}

static bool was_stopped(const struct serve_choice *ch) {
    return ch->finish && !strcmp(ch->finish, "stop");
}

/* Whether the last n bytes, which might become a call's mark, are one: in text that the model
 * ended, or a stop string, they are not, unless no text may have them. */
static bool is_mark(const struct serve_choice *ch, size_t n) {
    const struct serve_call *c = ch->call;
    size_t line = strcspn(c->tool_syntax->begin, "\n"); /* that free text does not spell */
    return !was_stopped(ch) || c->ask.tool_choice >= TOOLS_REQUIRED || (line && n >= line);
}

/* Text up to where a call begins, or might. Whether there is more to tell. */
static bool read_text(struct serve_choice *ch, bool ended, serve_part_fn fn) {
    const struct serve_tool_syntax *x = ch->call->tool_syntax;
    const bool at_start = calls_at_start(ch->call);
    char open[80];
    snprintf(open, sizeof open, "%s" HEAD, x->begin);
    size_t at = ch->n_told;
    enum fits f = NO;
    for (; at < ch->text.len; at++) {
        f = at_start && at ? NO : fits(ch, at, open);
        if (f != NO) break;
    }
    const bool drop = f == PERHAPS && ended && is_mark(ch, ch->text.len - at);
    if (f == PERHAPS && ended && !drop) at = ch->text.len;
    tell(ch, fn, PART_TEXT, at - ch->n_told);
    if (drop) return drop_rest(ch);
    if (f != YES) return false;
    ch->n_told += strlen(open);
    ch->parse_state = IN_NAME;
    return true;
}

static bool read_name(struct serve_choice *ch, bool ended, serve_part_fn fn) {
    char middle[40], id[2 * SERVE_ID];
    const char *p = ch->text.data + ch->n_told;
    const char *quote = memchr(p, '"', ch->text.len - ch->n_told);
    snprintf(middle, sizeof middle, "\", \"%s\": ", ch->call->tool_syntax->arguments);
    if (!quote || fits(ch, (size_t)(quote - ch->text.data), middle) != YES)
        return ended && drop_rest(ch);
    snprintf(id, sizeof id, "call_%s_%u_%u",
             strchr(ch->call->id, '-') ? strchr(ch->call->id, '-') + 1 : ch->call->id, ch->index,
             ch->n_calls);
    const struct serve_part part = {
        .kind = PART_CALL, .call = ch->n_calls, .id = id, .p = p, .n = (size_t)(quote - p)};
    fn(ch, &part);
    ch->n_told += part.n + strlen(middle);
    ch->parse_state = IN_ARGUMENTS;
    ch->depth = 0;
    ch->in_string = ch->escaped = false;
    return true;
}

/* Whether the arguments, an object, end with this byte. */
static bool ends_value(struct serve_choice *ch, char c) {
    if (ch->in_string) {
        if (ch->escaped) ch->escaped = false;
        else if (c == '\\') ch->escaped = true;
        else if (c == '"') ch->in_string = false;
        return false;
    }
    if (c == '"') ch->in_string = true;
    if (c == '{' || c == '[') ch->depth++;
    if (c == '}' || c == ']') return --ch->depth == 0;
    return false;
}

static bool read_arguments(struct serve_choice *ch, bool ended, serve_part_fn fn) {
    size_t at = ch->n_told;
    bool end = false;
    while (at < ch->text.len && !end)
        end = ends_value(ch, ch->text.data[at++]);
    tell(ch, fn, PART_ARGUMENTS, at - ch->n_told);
    if (!end && !ended) return false;
    ch->cut = !end;
    tell(ch, fn, PART_CALL_END, 0);
    ch->n_calls++;
    ch->parse_state = AFTER_CALL;
    return end;
}

/* One more call, or the end of all. What is left of an answer that ended here is marks. */
static bool read_after(struct serve_choice *ch, bool ended) {
    const struct serve_tool_syntax *x = ch->call->tool_syntax;
    const size_t left = ch->text.len - ch->n_told;
    char next[160], last[80];
    snprintf(next, sizeof next, "}%s" HEAD, x->between ? x->between : "");
    snprintf(last, sizeof last, "}%s", x->end);
    enum fits more = x->between ? fits(ch, ch->n_told, next) : NO, end = fits(ch, ch->n_told, last);
    if (more == YES) {
        ch->n_told += strlen(next);
        ch->parse_state = IN_NAME;
        return true;
    }
    if (!ended) return false;
    if (end == NO || left > strlen(last)) return drop_rest(ch); /* one more had begun */
    ch->n_told = ch->text.len;
    return false;
}

const char *serve_finish_word(const struct serve_choice *ch) {
    return ch->n_calls && !ch->cut && was_stopped(ch) ? "tool_calls" : ch->finish;
}

void serve_parts_next(struct serve_choice *ch, bool ended, serve_part_fn fn) {
    bool more = true;
    if (!ch->call->tool_syntax) {
        tell(ch, fn, PART_TEXT, ch->text.len - ch->n_told);
        return;
    }
    while (more) {
        switch (ch->parse_state) {
        case IN_TEXT:
            more = read_text(ch, ended, fn);
            break;
        case IN_NAME:
            more = read_name(ch, ended, fn);
            break;
        case IN_ARGUMENTS:
            more = read_arguments(ch, ended, fn);
            break;
        default:
            more = read_after(ch, ended);
            break;
        }
    }
}

/* --- a request's tools ------------------------------------------------------------------------ */

/* One of them, from the three ways to write it. */
struct tool {
    const char *name, *description;
    const json_t *parameters; /* NULL: none */
};

static bool is_name(const char *s) {
    size_t n = strlen(s);
    return n && n <= NAME_MAX_ &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == n;
}

/* Whether a schema's "type" lets a value be an object. */
static bool may_be_object(const json_t *schema) {
    const json_t *type = json_object_get(schema, "type");
    bool may = !type || (!json_is_string(type) && !json_is_array(type)); /* (refused elsewhere) */
    size_t i;
    json_t *v;
    if (json_is_string(type)) may = !strcmp(json_string_value(type), "object");
    json_array_foreach(type, i, v) may =
        may || (json_is_string(v) && !strcmp(json_string_value(v), "object"));
    return may;
}

static bool read_tool(const json_t *v, size_t i, struct tool *ret, struct serve_fail *f) {
    const char *type = json_string_value(json_object_get(v, "type"));
    const json_t *fn = json_object_get(v, "function");
    if (!fn) fn = v;
    if (type && strcmp(type, "function") != 0 && strcmp(type, "custom") != 0)
        return serve_refuse(f, 400, "tools", "unsupported_tool",
                            "tools: tool %zu: \"%.40s\" is not one that this server has", i, type);
    ret->name = json_string_value(json_object_get(fn, "name"));
    ret->description = json_string_value(json_object_get(fn, "description"));
    ret->parameters = json_object_get(fn, "parameters");
    if (!ret->parameters) ret->parameters = json_object_get(fn, "input_schema");
    if (!ret->name || !is_name(ret->name))
        return serve_refuse(f, 400, "tools", NULL,
                            "tools: tool %zu: a name of 1 to 64 letters, digits, '_', '-' and '.' "
                            "is wanted",
                            i);
    if (ret->parameters && !json_is_object(ret->parameters))
        return serve_refuse(f, 400, "tools", NULL, "tools: %s: parameters: a JSON Schema",
                            ret->name);
    if (!may_be_object(ret->parameters))
        return serve_refuse(f, 400, "tools", "unsupported_schema",
                            "tools: %s: parameters: \"type\": arguments are an \"object\"",
                            ret->name);
    return true;
}

/* As templates of Hugging Face models have it. */
static json_t *tool_json(const struct tool *x) {
    return json_pack("{s:s, s:{s:s, s:s, s:o}}", "type", "function", "function", "name", x->name,
                     "description", x->description ? x->description : "", "parameters",
                     x->parameters ? json_incref((json_t *)(uintptr_t)x->parameters)
                                   : json_pack("{s:s, s:{}}", "type", "object", "properties"));
}

static bool add_note(struct serve_turns *t, json_t *list) {
    size_t i;
    json_t *v;
    slv_buf_adds(&t->note, "You may call functions. To call one, answer with\n");
    slv_buf_addf(&t->note, SERVE_CALL_TEXT, "NAME", "{...}");
    slv_buf_adds(&t->note, "\nwith the function's name and its arguments as JSON. What it returns "
                           "comes in <tool_response>. The functions:");
    json_array_foreach(list, i, v) {
        char *s = json_dumps(v, JSON_COMPACT);
        slv_buf_addf(&t->note, "\n%s", s ? s : "");
        slv_mem_free(s);
    }
    return !t->note.status;
}

static bool wants_tools(const struct serve_call *c) {
    return c->ask.tools && json_array_size(c->ask.tools) && c->ask.tool_choice != TOOLS_NONE;
}

static bool check_choice(struct serve_call *c, struct serve_fail *f) {
    const struct serve_ask *a = &c->ask;
    if (a->tools && !json_is_array(a->tools))
        return serve_refuse(f, 400, "tools", NULL, "tools: a list is wanted");
    if (json_array_size(a->tools) > TOOLS_MAX)
        return serve_refuse(f, 400, "tools", NULL, "tools: more than %d", TOOLS_MAX);
    if (!json_array_size(a->tools) && a->tool_choice >= TOOLS_REQUIRED)
        return serve_refuse(f, 400, "tool_choice", NULL, "tool_choice: there are no tools");
    return true;
}

/* All of them, as templates have them; NULL: refused. */
static json_t *read_tools(const struct serve_ask *a, struct serve_fail *f) {
    json_t *names = json_object(), *list = json_array(), *v;
    struct tool x = {0};
    size_t i;
    bool ok = names && list;
    if (!ok) serve_refuse(f, 503, NULL, NULL, "out of memory");
    json_array_foreach(a->tools, i, v) {
        if (!ok || !(ok = read_tool(v, i, &x, f))) break;
        if (json_object_get(names, x.name))
            ok = serve_refuse(f, 400, "tools", NULL,
                              "tools: two of them have the name \"%s\": a call could be of either",
                              x.name);
        else if (json_object_set_new(names, x.name, json_true()) ||
                 json_array_append_new(list, tool_json(&x)))
            ok = serve_refuse(f, 503, NULL, NULL, "out of memory");
    }
    if (ok && a->tool_choice == TOOLS_NAMED && !json_object_get(names, a->tool_name))
        ok = serve_refuse(f, 400, "tool_choice", NULL, "tool_choice: there is no tool \"%.64s\"",
                          a->tool_name);
    json_decref(names);
    if (ok) return list;
    json_decref(list);
    return NULL;
}

bool serve_tools_set(struct serve_turns *t, struct serve_fail *f) {
    struct serve_call *c = t->c;
    struct slv_model_info info;
    bool ok = true;
    if (!check_choice(c, f)) return false;
    slv_model_info(t->m, &info);
    c->tool_syntax = wants_tools(c) ? syntax_of(info.chat_template) : NULL;
    t->tools_as_text = !strstr(info.chat_template, "tools");
    if (!json_array_size(c->ask.tools)) return true;
    json_t *list = read_tools(&c->ask, f);
    if (!list) return false;
    if (c->tool_syntax && t->tools_as_text)
        ok = add_note(t, list) || serve_refuse(f, 413, "tools", NULL, "tools: too long");
    else if (c->tool_syntax && slv_scope_set(t->scope, "tools", serve_turns_value(t, list, 0)))
        ok = serve_refuse(f, 413, "tools", NULL, "tools: too deep or too large");
    json_decref(list);
    return ok;
}

/* --- what an answer is held to ---------------------------------------------------------------- */

/* "text" as a grammar writes it. */
static void quoted(struct slv_buf *g, const char *s, size_t n) {
    slv_buf_addc(g, '"');
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\n') slv_buf_adds(g, "\\n");
        else if (s[i] == '"' || s[i] == '\\') slv_buf_addf(g, "\\%c", s[i]);
        else slv_buf_addc(g, s[i]);
    }
    slv_buf_adds(g, "\" ");
}

/* The token that the mark at s is, where the vocabulary has it as one that text does not make; -1.
 */
static int32_t token_at(const struct slv_model *m, const char *s, size_t *ret_n) {
    const char *end = *s == '<' ? strchr(s, '>') : *s == '[' ? strchr(s, ']') : NULL;
    if (!end) return -1;
    *ret_n = (size_t)(end - s) + 1;
    int32_t id = slv_tokenizer_find(m->tokenizer, s, *ret_n);
    if (id < 0) return -1;
    enum slv_token_kind kind = slv_tokenizer_kind(m->tokenizer, id);
    return kind == SLV_TOKEN_CONTROL || kind == SLV_TOKEN_USER ? id : -1;
}

/* A mark: tokens where it has some, and text. */
static void mark(struct slv_buf *g, const struct slv_model *m, const char *s) {
    const char *from = s;
    while (*s) {
        size_t n = 0;
        int32_t id = token_at(m, s, &n);
        if (id < 0) {
            s++;
            continue;
        }
        if (s > from) quoted(g, from, (size_t)(s - from));
        slv_buf_addf(g, "<[%d]> ", (int)id);
        from = s += n;
    }
    if (s > from) quoted(g, from, (size_t)(s - from));
}

/* What its arguments are held to: an object, whatever else its schema says. The caller's; NULL: no
 * memory. */
static json_t *arguments_schema(const struct tool *x) {
    json_t *r = x->parameters ? json_copy((json_t *)(uintptr_t)x->parameters) : json_object();
    const json_t *type = json_object_get(r, "type");
    const char *dialect = json_string_value(json_object_get(r, "$schema"));
    json_t *ref = json_object_get(r, "$ref");
    bool ok = r != NULL;
    if (ok && ref && dialect && strstr(dialect, "draft-0")) {
        /* before 2019-09 nothing counts beside a reference */
        ok = !json_object_set_new(r, "allOf", json_pack("[{s:O}]", "$ref", ref)) &&
             !json_object_del(r, "$ref");
    }
    if (ok && (!type || json_is_array(type)))
        ok = !json_object_set_new(r, "type", json_string("object"));
    if (ok) return r;
    json_decref(r);
    return NULL;
}

/* The next tool that may be called, from *at on: itself, and its arguments' schema as text, the
 * caller's, NULL without memory. false: there is none. */
static bool next_callable(const struct serve_call *c, size_t *at, struct tool *x,
                          char **ret_schema) {
    *ret_schema = NULL;
    while (*at < json_array_size(c->ask.tools)) {
        struct serve_fail ignored = {0}; /* they were read before */
        const size_t i = (*at)++;
        *x = (struct tool){0};
        if (!read_tool(json_array_get(c->ask.tools, i), i, x, &ignored)) continue;
        if (c->ask.tool_choice == TOOLS_NAMED && strcmp(x->name, c->ask.tool_name) != 0) continue;
        json_t *schema = arguments_schema(x);
        *ret_schema = schema ? json_dumps(schema, JSON_COMPACT) : NULL;
        json_decref(schema);
        return true;
    }
    return false;
}

/* call: one of the tools that may be called. */
static void call_rules(struct serve_call *c, struct slv_buf *g) {
    size_t at = 0, n = 0;
    struct tool x;
    char *schema;
    while (next_callable(c, &at, &x, &schema)) {
        char head[160];
        if (!schema) {
            g->status = SLV_E_NOMEM;
            return;
        }
        snprintf(head, sizeof head, HEAD "%s\", \"%s\": ", x.name, c->tool_syntax->arguments);
        slv_buf_adds(g, n++ ? "  | " : "call: ");
        quoted(g, head, strlen(head));
        slv_buf_addf(g, "%%json %s \"}\"\n", schema);
        slv_mem_free(schema);
    }
}

/* calls: one, or several, between their marks. */
static void calls_rule(struct serve_call *c, struct slv_buf *g) {
    const struct serve_tool_syntax *x = c->tool_syntax;
    const struct slv_model *m = c->model->m;
    slv_buf_adds(g, "calls: ");
    mark(g, m, x->begin);
    slv_buf_adds(g, "call ");
    if (x->between && c->ask.parallel_tools && c->ask.tool_choice != TOOLS_NAMED) {
        slv_buf_adds(g, "( ");
        mark(g, m, x->between);
        slv_buf_adds(g, "call )* ");
    }
    mark(g, m, x->end);
    slv_buf_adds(g, "\n");
}

/* free: what may stand in place of calls, or before them. */
static void free_rule(struct serve_call *c, const char *schema, struct slv_buf *g) {
    const struct serve_tool_syntax *x = c->tool_syntax;
    if (schema) {
        slv_buf_addf(g, "free: %%json %s\n", schema);
        return;
    }
    if (x->at_start) {
        slv_buf_adds(g, "free: /(?!\\{\"name\": \")[\\s\\S]*/\n");
        return;
    }
    slv_buf_adds(g, "free: %text(");
    quoted(g, x->begin, strcspn(x->begin, "\n"));
    slv_buf_adds(g, ")\n");
}

static const char *format_param(const struct serve_call *c) {
    return c->api == API_RESPONSES ? "text.format" : "response_format";
}

/* The grammar was refused, in words of a text that nobody but this file has seen: says which schema
 * of the request it was instead. */
static bool blame(struct serve_call *c, const char *schema, struct serve_fail *f) {
    size_t at = 0;
    struct tool x;
    char *text, what[NAME_MAX_ + 32];
    bool ok = !schema || serve_constraint_check(c, format_param(c), "", schema, strlen(schema), f);
    while (ok && next_callable(c, &at, &x, &text)) {
        snprintf(what, sizeof what, "tools: %s: parameters: ", x.name);
        ok = text ? serve_constraint_check(c, "tools", what, text, strlen(text), f)
                  : serve_refuse(f, 503, NULL, NULL, "out of memory");
        slv_mem_free(text);
    }
    return ok && serve_refuse(f, 400, "tools", "unsupported_schema",
                              "tools: each can be honoured, but they are too much together");
}

static bool constrain_calls(struct serve_call *c, const char *schema, struct serve_fail *f) {
    struct slv_buf g;
    const bool must = c->ask.tool_choice >= TOOLS_REQUIRED;
    if (must && schema)
        return serve_refuse(f, 400, format_param(c), NULL,
                            "%s goes with tool_choice \"auto\" or \"none\": an answer that must "
                            "be a call has no text that could keep to it",
                            format_param(c));
    slv_buf_init(&g, GRAMMAR_MAX);
    if (must) slv_buf_adds(&g, "start: calls\n");
    else if (calls_at_start(c)) slv_buf_adds(&g, "start: free | calls\n");
    else slv_buf_adds(&g, "start: free calls?\n");
    if (!must) free_rule(c, schema, &g);
    calls_rule(c, &g);
    call_rules(c, &g);
    bool ok = g.status == SLV_E_NOMEM ? serve_refuse(f, 503, NULL, NULL, "out of memory")
              : g.status              ? serve_refuse(f, 413, "tools", NULL, "tools: too long")
                                      : serve_constraint_get(c, "tools", true, g.data, g.len, f) ||
                               (f->status == 400 && blame(c, schema, f));
    slv_buf_fini(&g);
    return ok;
}

bool serve_tools_constrain(struct serve_call *c, struct serve_fail *f) {
    static const char object[] = "{\"type\":\"object\"}";
    const struct serve_ask *a = &c->ask;
    char *s = NULL;
    bool ok = true;
    if (a->json_object) s = slv_mem_strndup(object, sizeof object - 1);
    else if (a->schema) s = json_dumps(a->schema, JSON_COMPACT | JSON_ENCODE_ANY);
    if ((a->json_object || a->schema) && !s)
        return serve_refuse(f, 503, NULL, NULL, "out of memory");
    if (c->tool_syntax && a->grammar)
        ok = serve_refuse(f, 400, "grammar", NULL, "grammar goes without tools");
    else if (c->tool_syntax) ok = constrain_calls(c, s, f);
    else if (s) ok = serve_constraint_get(c, format_param(c), false, s, strlen(s), f);
    else if (a->grammar)
        ok = serve_constraint_get(c, "grammar", true, a->grammar, strlen(a->grammar), f);
    slv_mem_free(s);
    return ok;
}
