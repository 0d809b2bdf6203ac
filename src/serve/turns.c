/* turns.c: see turns.h. */
#include "serve/turns.h"
#include "base/json_parse.h"
#include "base/mem.h"
#include "serve/tools.h"

#include <string.h>

#define DEPTH_MAX 64
#define TEXT_MAX ((size_t)32 << 20)
#define MESSAGES_MAX 4096

/* --- values ----------------------------------------------------------------------------------- */

static struct slv_value *text(const struct serve_turns *t, const char *s, size_t n) {
    return slv_chat_text(t->m, t->scope, s, n);
}

struct slv_value *serve_turns_value(const struct serve_turns *t, const json_t *v, unsigned depth) {
    struct slv_scope *s = t->scope;
    const char *key;
    json_t *x;
    size_t i;
    if (depth > DEPTH_MAX) return NULL;
    switch (json_typeof(v)) {
    case JSON_NULL:
        return slv_value_none(s);
    case JSON_TRUE:
        return slv_value_bool(s, true);
    case JSON_FALSE:
        return slv_value_bool(s, false);
    case JSON_INTEGER:
        return slv_value_int(s, json_integer_value(v));
    case JSON_REAL:
        return slv_value_double(s, json_real_value(v));
    case JSON_STRING:
        return text(t, json_string_value(v), json_string_length(v));
    case JSON_ARRAY: {
        struct slv_value *list = slv_value_list(s);
        json_array_foreach(v, i, x) list =
            slv_value_push(s, list, serve_turns_value(t, x, depth + 1));
        return list;
    }
    case JSON_OBJECT:
        break;
    }
    struct slv_value *dict = slv_value_dict(s);
    json_object_foreach((json_t *)(uintptr_t)v, key, x) dict =
        slv_value_put(s, dict, key, serve_turns_value(t, x, depth + 1));
    return dict;
}

static struct slv_value *word(const struct serve_turns *t, const char *s) {
    return slv_value_str(t->scope, s, strlen(s));
}

/* --- content ---------------------------------------------------------------------------------- */

/* Appends the text of a content: a string, null, or a list of parts of text. */
static bool content_text(const json_t *v, const char *where, struct slv_buf *out,
                         struct serve_fail *f) {
    size_t i;
    json_t *part;
    if (!v || json_is_null(v)) return true;
    if (json_is_string(v)) {
        slv_buf_add(out, json_string_value(v), json_string_length(v));
        return true;
    }
    if (!json_is_array(v))
        return serve_refuse(f, 400, where, NULL, "%s: a string or a list of parts is wanted",
                            where);
    json_array_foreach(v, i, part) {
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *s = json_object_get(part, "text");
        if (!type || !json_is_string(s) ||
            (strcmp(type, "text") != 0 && strcmp(type, "input_text") != 0 &&
             strcmp(type, "output_text") != 0))
            return serve_refuse(f, 400, where, "unsupported_content",
                                "%s: part %zu: only text is read, not \"%.40s\"", where, i,
                                type ? type : "");
        slv_buf_add(out, json_string_value(s), json_string_length(s));
    }
    return true;
}

/* --- turns ------------------------------------------------------------------------------------ */

static void add_dict(struct serve_turns *t, struct slv_value *dict) {
    t->list = slv_value_push(t->scope, t->list, dict);
    t->n++;
}

/* A new turn with a role and a content. The first that is the system's takes the note. */
static struct slv_value *turn(struct serve_turns *t, const char *role, struct slv_buf *b) {
    struct slv_value *d = slv_value_dict(t->scope);
    d = slv_value_put(t->scope, d, "role", word(t, role));
    if (t->note.len && !strcmp(role, "system")) {
        if (b->len) slv_buf_adds(b, "\n\n");
        slv_buf_add(b, t->note.data, t->note.len);
        slv_buf_clear(&t->note);
    }
    slv_buf_add(&t->plain, b->data, b->len);
    return slv_value_put(t->scope, d, "content", text(t, b->data, b->len));
}

/* Arguments of a call: templates want the object that clients send as a string. */
static struct slv_value *arguments(const struct serve_turns *t, const json_t *v) {
    if (!json_is_string(v)) return serve_turns_value(t, v, 0);
    json_t *o = NULL; /* (with the limits of what comes from a client) */
    if (slv_json_parse(json_string_value(v), json_string_length(v), "arguments", &o, NULL))
        o = NULL;
    struct slv_value *r = json_is_object(o) ? serve_turns_value(t, o, 0)
                                            : text(t, json_string_value(v), json_string_length(v));
    json_decref(o);
    return r;
}

/* A call as the text that it was. */
static void call_text(struct slv_buf *b, const char *name, const json_t *args) {
    char *s = json_is_string(args) ? NULL : json_dumps(args, JSON_COMPACT | JSON_ENCODE_ANY);
    const char *text = s ? s : json_is_string(args) ? json_string_value(args) : "{}";
    slv_buf_addf(b, "%s" SERVE_CALL_TEXT, b->len ? "\n" : "", name, text);
    slv_mem_free(s);
}

static struct slv_value *tool_call(const struct serve_turns *t, const char *id, const char *name,
                                   const json_t *args) {
    struct slv_value *fn = slv_value_dict(t->scope), *d = slv_value_dict(t->scope);
    fn = slv_value_put(t->scope, fn, "name", text(t, name, strlen(name)));
    fn = slv_value_put(t->scope, fn, "arguments", arguments(t, args));
    if (id) d = slv_value_put(t->scope, d, "id", text(t, id, strlen(id)));
    d = slv_value_put(t->scope, d, "type", word(t, "function"));
    return slv_value_put(t->scope, d, "function", fn);
}

static void tool_result(struct serve_turns *t, const char *id, const char *name,
                        struct slv_buf *b) {
    if (t->tools_as_text) {
        struct slv_buf r;
        slv_buf_init(&r, TEXT_MAX);
        slv_buf_adds(&r, SERVE_RESULT_BEGIN);
        slv_buf_add(&r, b->data, b->len);
        slv_buf_adds(&r, SERVE_RESULT_END);
        add_dict(t, turn(t, "user", &r));
        slv_buf_fini(&r);
        return;
    }
    struct slv_value *d = turn(t, "tool", b);
    if (id) d = slv_value_put(t->scope, d, "tool_call_id", text(t, id, strlen(id)));
    if (name) d = slv_value_put(t->scope, d, "name", text(t, name, strlen(name)));
    add_dict(t, d);
}

/* --- OpenAI's chat messages ------------------------------------------------------------------- */

static bool chat_calls(struct serve_turns *t, const json_t *calls, struct slv_value **ret,
                       struct slv_buf *b, struct serve_fail *f) {
    struct slv_value *list = slv_value_list(t->scope);
    size_t i;
    json_t *x;
    json_array_foreach(calls, i, x) {
        const json_t *fn = json_object_get(x, "function");
        const char *name = json_string_value(json_object_get(fn, "name"));
        const json_t *args = json_object_get(fn, "arguments");
        if (!name || !args)
            return serve_refuse(f, 400, "messages", NULL,
                                "messages: tool call %zu: a function with name and arguments is "
                                "wanted",
                                i);
        if (t->tools_as_text) call_text(b, name, args);
        else
            list = slv_value_push(
                t->scope, list,
                tool_call(t, json_string_value(json_object_get(x, "id")), name, args));
    }
    if (!t->tools_as_text) *ret = list;
    return true;
}

static bool chat_fields(const json_t *m, size_t i, struct serve_fail *f) {
    static const char *const known[] = {"role",       "content",      "name",
                                        "tool_calls", "tool_call_id", "reasoning_content"};
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)m, key, v) {
        bool is_known = json_is_null(v) || (json_is_array(v) && !json_array_size(v));
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            is_known = is_known || !strcmp(key, known[k]);
        if (!is_known)
            return serve_refuse(f, 400, "messages", "unknown_field",
                                "messages: message %zu: \"%.60s\" is not known", i, key);
    }
    return true;
}

static bool chat_message(struct serve_turns *t, const json_t *m, size_t i, struct slv_buf *b,
                         struct serve_fail *f) {
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    const char *role = json_string_value(json_object_get(m, "role"));
    const char *name = json_string_value(json_object_get(m, "name"));
    const json_t *calls = json_object_get(m, "tool_calls");
    bool known = false;
    for (size_t k = 0; role && k < sizeof roles / sizeof *roles; k++)
        known = known || !strcmp(role, roles[k]);
    if (!known)
        return serve_refuse(f, 400, "messages", NULL,
                            "messages: message %zu: role: system, user, assistant or tool is "
                            "wanted",
                            i);
    const json_t *content = json_object_get(m, "content");
    if (!chat_fields(m, i, f) || !content_text(content, "messages", b, f)) return false;
    if (strcmp(role, "assistant") != 0 && (!content || json_is_null(content)))
        return serve_refuse(f, 400, "messages", NULL, "messages: message %zu: no content", i);
    if (!strcmp(role, "tool")) {
        tool_result(t, json_string_value(json_object_get(m, "tool_call_id")), name, b);
        return true;
    }
    struct slv_value *list = NULL;
    if (json_is_array(calls) && json_array_size(calls) && !chat_calls(t, calls, &list, b, f))
        return false;
    struct slv_value *d = turn(t, !strcmp(role, "developer") ? "system" : role, b);
    if (list) d = slv_value_put(t->scope, d, "tool_calls", list);
    if (name) d = slv_value_put(t->scope, d, "name", text(t, name, strlen(name)));
    const json_t *thought = json_object_get(m, "reasoning_content");
    if (json_is_string(thought))
        d = slv_value_put(t->scope, d, "reasoning_content",
                          text(t, json_string_value(thought), json_string_length(thought)));
    add_dict(t, d);
    return true;
}

/* --- items of responses ----------------------------------------------------------------------- */

static bool response_item(struct serve_turns *t, const json_t *m, size_t i, struct slv_buf *b,
                          struct serve_fail *f) {
    const char *type = json_string_value(json_object_get(m, "type"));
    const char *id = json_string_value(json_object_get(m, "call_id"));
    const char *role = json_string_value(json_object_get(m, "role"));
    if (type && !strcmp(type, "function_call")) {
        const char *name = json_string_value(json_object_get(m, "name"));
        const json_t *args = json_object_get(m, "arguments");
        if (!name || !args)
            return serve_refuse(f, 400, "input", NULL, "input: item %zu: name and arguments", i);
        if (t->tools_as_text) call_text(b, name, args);
        struct slv_value *d = turn(t, "assistant", b), *list = slv_value_list(t->scope);
        if (!t->tools_as_text) {
            list = slv_value_push(t->scope, list, tool_call(t, id, name, args));
            d = slv_value_put(t->scope, d, "tool_calls", list);
        }
        add_dict(t, d);
        return true;
    }
    if (type && !strcmp(type, "function_call_output")) {
        if (!content_text(json_object_get(m, "output"), "input", b, f)) return false;
        tool_result(t, id, NULL, b);
        return true;
    }
    if (type && strcmp(type, "message") != 0)
        return serve_refuse(f, 400, "input", "unsupported_content",
                            "input: item %zu: \"%.40s\" is not known", i, type);
    if (!role) return serve_refuse(f, 400, "input", NULL, "input: item %zu: a role is wanted", i);
    if (!content_text(json_object_get(m, "content"), "input", b, f)) return false;
    add_dict(t, turn(t, !strcmp(role, "developer") ? "system" : role, b));
    return true;
}

/* --- Anthropic's messages --------------------------------------------------------------------- */

static bool block_of(struct serve_turns *t, const json_t *v, struct slv_buf *b,
                     struct slv_value **calls, struct serve_fail *f) {
    const char *type = json_string_value(json_object_get(v, "type"));
    const char *id = json_string_value(json_object_get(v, "id"));
    const char *name = json_string_value(json_object_get(v, "name"));
    const json_t *input = json_object_get(v, "input"), *s = json_object_get(v, "text");
    if (type && !strcmp(type, "text") && json_is_string(s)) {
        slv_buf_add(b, json_string_value(s), json_string_length(s));
        return true;
    }
    if (type && !strcmp(type, "tool_use") && name && input) {
        if (t->tools_as_text) {
            call_text(b, name, input);
            return true;
        }
        if (!*calls) *calls = slv_value_list(t->scope);
        *calls = slv_value_push(t->scope, *calls, tool_call(t, id, name, input));
        return true;
    }
    if (type && !strcmp(type, "tool_result")) {
        struct slv_buf r;
        slv_buf_init(&r, TEXT_MAX);
        bool ok = content_text(json_object_get(v, "content"), "messages", &r, f);
        if (ok) tool_result(t, json_string_value(json_object_get(v, "tool_use_id")), NULL, &r);
        slv_buf_fini(&r);
        return ok;
    }
    return serve_refuse(f, 400, "messages", "unsupported_content",
                        "messages: a block of type \"%.40s\" is not read", type ? type : "");
}

static bool anthropic_message(struct serve_turns *t, const json_t *m, size_t i, struct slv_buf *b,
                              struct serve_fail *f) {
    const char *role = json_string_value(json_object_get(m, "role"));
    const json_t *content = json_object_get(m, "content");
    struct slv_value *calls = NULL;
    size_t k, before = t->n;
    json_t *v;
    if (!role || (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0))
        return serve_refuse(f, 400, "messages", NULL,
                            "messages: message %zu: role: user or assistant is wanted", i);
    if (json_is_string(content)) {
        slv_buf_add(b, json_string_value(content), json_string_length(content));
    } else if (json_is_array(content)) {
        json_array_foreach(content, k, v) if (!block_of(t, v, b, &calls, f)) return false;
    } else {
        return serve_refuse(f, 400, "messages", NULL, "messages: message %zu: no content", i);
    }
    if (!b->len && !calls && t->n > before) return true; /* results of tools alone */
    struct slv_value *d = turn(t, role, b);
    if (calls) d = slv_value_put(t->scope, d, "tool_calls", calls);
    add_dict(t, d);
    return true;
}

/* --- all of them ------------------------------------------------------------------------------ */

typedef bool (*message_fn)(struct serve_turns *t, const json_t *m, size_t i, struct slv_buf *b,
                           struct serve_fail *f);

static bool read_system(struct serve_turns *t, struct slv_buf *b, struct serve_fail *f) {
    const json_t *v = t->c->ask.system;
    if (!v) return true;
    if (!content_text(v, serve_is_anthropic(t->c->api) ? "system" : "instructions", b, f))
        return false;
    if (b->len) add_dict(t, turn(t, "system", b));
    return true;
}

/* Whether the first message will take the note. */
static bool begins_with_system(const struct serve_ask *a, const json_t *list) {
    const char *role = json_string_value(json_object_get(json_array_get(list, 0), "role"));
    return a->system || (role && (!strcmp(role, "system") || !strcmp(role, "developer")));
}

bool serve_turns_read(struct serve_turns *t, struct serve_fail *f) {
    static const message_fn readers[] = {[API_CHAT] = chat_message,
                                         [API_RESPONSES] = response_item,
                                         [API_MESSAGES] = anthropic_message,
                                         [API_TOKENIZE] = chat_message,
                                         [API_COUNT_TOKENS] = anthropic_message};
    const struct serve_ask *a = &t->c->ask;
    const json_t *list = t->c->api == API_RESPONSES ? a->input : a->messages;
    const char *name = t->c->api == API_RESPONSES ? "input" : "messages";
    struct slv_buf b;
    size_t i;
    json_t *m;
    t->list = slv_value_list(t->scope);
    slv_buf_init(&b, TEXT_MAX);
    bool ok = read_system(t, &b, f);
    slv_buf_clear(&b);
    if (ok && t->note.len && !begins_with_system(a, list)) add_dict(t, turn(t, "system", &b));
    if (ok && json_is_string(list) && t->c->api == API_RESPONSES) {
        slv_buf_clear(&b);
        slv_buf_add(&b, json_string_value(list), json_string_length(list));
        add_dict(t, turn(t, "user", &b));
    } else if (ok && (!json_is_array(list) || !json_array_size(list))) {
        ok = serve_refuse(f, 400, name, NULL, "%s: a list that is not empty is wanted", name);
    } else if (ok && json_array_size(list) > MESSAGES_MAX) {
        ok = serve_refuse(f, 413, name, NULL, "%s: more than %d", name, MESSAGES_MAX);
    } else if (ok) {
        json_array_foreach(list, i, m) {
            slv_buf_clear(&b);
            if (!readers[t->c->api](t, m, i, &b, f)) {
                ok = false;
                break;
            }
        }
    }
    int status = b.status;
    slv_buf_fini(&b);
    if (ok && status) return serve_refuse(f, 413, name, NULL, "%s: too long", name);
    return ok;
}
