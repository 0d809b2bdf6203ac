/* ask.c: what a request's JSON says, by a table of fields for each interface.
 *
 * A field that is not in the table is refused by name: it might have changed the answer. Fields
 * that clients send and that cannot change it here are in the tables, as such. null is as good as
 * absent. */
#include "base/json_parse.h"
#include "serve/serve_int.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define MAX_TOKENS ((double)(1 << 24))
#define BIAS_MAX 1024

typedef bool (*read_fn)(struct serve_call *c, const char *name, const json_t *v,
                        struct serve_fail *f);

enum kind { IGNORED, FLAG, REAL, WHOLE, TEXT, VALUE, FUNCTION };

struct field {
    const char *name;
    enum kind kind;
    size_t offset; /* in struct serve_ask */
    double min, max;
    read_fn read;
};

#define AT(m) offsetof(struct serve_ask, m)
#define ASK(c, off) ((void *)((char *)&(c)->ask + (off)))

static bool wants(struct serve_fail *f, const char *name, const char *what) {
    return serve_refuse(f, 400, name, NULL, "%s: %s is wanted", name, what);
}

static bool read_plain(struct serve_call *c, const struct field *row, const json_t *v,
                       struct serve_fail *f) {
    void *at = ASK(c, row->offset);
    double x = json_is_number(v) ? json_number_value(v) : NAN;
    switch (row->kind) {
    case FLAG:
        if (!json_is_boolean(v)) return wants(f, row->name, "true or false");
        *(bool *)at = json_is_true(v);
        return true;
    case REAL:
    case WHOLE:
        if (!(x >= row->min && x <= row->max) || (row->kind == WHOLE && x != floor(x)))
            return serve_refuse(f, 400, row->name, NULL,
                                "%s: a %snumber from %g to %.15g is wanted", row->name,
                                row->kind == WHOLE ? "whole " : "", row->min, row->max);
        if (row->kind == WHOLE) *(uint32_t *)at = (uint32_t)x;
        else *(float *)at = (float)x;
        return true;
    case TEXT:
        if (!json_is_string(v)) return wants(f, row->name, "a string");
        *(const char **)at = json_string_value(v);
        return true;
    case VALUE:
        *(const json_t **)at = v;
        return true;
    case FUNCTION:
        return row->read(c, row->name, v, f);
    case IGNORED:
        break;
    }
    return true;
}

/* --- fields that are more than a value -------------------------------------------------------- */

static bool read_seed(struct serve_call *c, const char *name, const json_t *v,
                      struct serve_fail *f) {
    if (!json_is_integer(v)) return wants(f, name, "a whole number");
    c->ask.sampling.seed = (uint64_t)json_integer_value(v);
    c->ask.has_seed = true;
    return true;
}

static bool read_stop(struct serve_call *c, const char *name, const json_t *v,
                      struct serve_fail *f) {
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (n > SERVE_STOPS_MAX)
        return serve_refuse(f, 400, name, NULL, "%s: at most %d strings", name, SERVE_STOPS_MAX);
    for (size_t i = 0; i < n; i++) {
        const char *s = json_string_value(json_is_array(v) ? json_array_get(v, i) : v);
        if (!s || !*s) return wants(f, name, "a string that is not empty, or a list of them");
        c->ask.stop[i] = s;
    }
    c->ask.n_stop = n;
    return true;
}

static bool read_bias(struct serve_call *c, const char *name, const json_t *v,
                      struct serve_fail *f) {
    const char *key;
    json_t *x;
    size_t n = 0;
    if (!json_is_object(v) || json_object_size(v) > BIAS_MAX)
        return wants(f, name, "an object of at most 1024 token ids");
    c->ask.bias = slv_arena_calloc(&c->arena, json_object_size(v) + 1, sizeof *c->ask.bias);
    if (!c->ask.bias) return serve_refuse(f, 503, NULL, NULL, "out of memory");
    json_object_foreach((json_t *)(uintptr_t)v, key, x) {
        char *end = NULL;
        long id = strtol(key, &end, 10);
        double b = json_is_number(x) ? json_number_value(x) : NAN;
        if (!*key || strspn(key, "0123456789") != strlen(key) || *end || id < 0 || id > INT32_MAX ||
            !(b >= -100 && b <= 100))
            return serve_refuse(
                f, 400, name, NULL,
                "%s: \"%.30s\": a token id with a number from -100 to 100 is wanted", name, key);
        c->ask.bias[n++] = (struct slv_logit_bias){(int32_t)id, b <= -100 ? -INFINITY : (float)b};
    }
    c->ask.sampling.bias = c->ask.bias;
    c->ask.sampling.n_bias = n;
    return true;
}

static bool read_stream_options(struct serve_call *c, const char *name, const json_t *v,
                                struct serve_fail *f) {
    const char *key;
    json_t *x;
    if (!json_is_object(v)) return wants(f, name, "an object");
    json_object_foreach((json_t *)(uintptr_t)v, key, x) {
        bool usage = !strcmp(key, "include_usage");
        if (!usage && strcmp(key, "include_obfuscation") != 0)
            return serve_refuse(f, 400, name, "unknown_field", "%s: \"%.60s\" is not known", name,
                                key);
        if (!json_is_boolean(x)) return wants(f, name, "true or false in it");
        if (usage) c->ask.include_usage = json_is_true(x);
    }
    return true;
}

static bool take_schema(struct serve_call *c, const char *name, const json_t *v,
                        struct serve_fail *f) {
    const json_t *schema = json_object_get(v, "schema");
    if (!json_is_object(schema) && !json_is_boolean(schema))
        return serve_refuse(f, 400, name, NULL, "%s: \"schema\": a JSON Schema is wanted", name);
    c->ask.schema = schema;
    return true;
}

/* {"type": "text"}, "json_object", or "json_schema" with the schema inside. */
static bool read_response_format(struct serve_call *c, const char *name, const json_t *v,
                                 struct serve_fail *f) {
    const char *type = json_string_value(json_object_get(v, "type"));
    if (!type) return serve_refuse(f, 400, name, NULL, "%s: \"type\" is wanted", name);
    if (!strcmp(type, "text")) return true;
    if (!strcmp(type, "json_object")) {
        c->ask.json_object = true;
        return true;
    }
    if (strcmp(type, "json_schema") != 0)
        return serve_refuse(f, 400, name, "unsupported_value",
                            "%s: \"%.40s\": text, json_object or json_schema are known", name,
                            type);
    const json_t *inner = json_object_get(v, "json_schema");
    return take_schema(c, name, inner ? inner : v, f);
}

/* Of /v1/responses: {"format": {...}, "verbosity": ..}. */
static bool read_text(struct serve_call *c, const char *name, const json_t *v,
                      struct serve_fail *f) {
    const char *key;
    json_t *x;
    if (!json_is_object(v)) return wants(f, name, "an object");
    json_object_foreach((json_t *)(uintptr_t)v, key, x) {
        if (!strcmp(key, "format")) {
            if (!json_is_null(x) && !read_response_format(c, "text.format", x, f)) return false;
        } else if (strcmp(key, "verbosity") != 0) {
            return serve_refuse(f, 400, name, "unknown_field", "%s: \"%.60s\" is not known", name,
                                key);
        }
    }
    return true;
}

static bool read_grammar(struct serve_call *c, const char *name, const json_t *v,
                         struct serve_fail *f) {
    if (!json_is_string(v)) return wants(f, name, "a grammar's text");
    c->ask.grammar = json_string_value(v);
    return true;
}

static bool choose_tool(struct serve_call *c, const char *name, const char *word,
                        struct serve_fail *f) {
    static const struct {
        const char *word;
        enum serve_tool_choice choice;
    } rows[] = {{"auto", TOOLS_AUTO},
                {"none", TOOLS_NONE},
                {"required", TOOLS_REQUIRED},
                {"any", TOOLS_REQUIRED}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(word, rows[i].word)) {
            c->ask.tool_choice = rows[i].choice;
            return true;
        }
    return serve_refuse(f, 400, name, NULL, "%s: \"%.40s\" is not known", name, word);
}

/* "auto"; {"type":"function","function":{"name":..}}; {"type":"function"|"tool","name":..}. */
static bool read_tool_choice(struct serve_call *c, const char *name, const json_t *v,
                             struct serve_fail *f) {
    if (json_is_string(v)) return choose_tool(c, name, json_string_value(v), f);
    const char *type = json_string_value(json_object_get(v, "type"));
    const json_t *inner = json_object_get(v, "function");
    const char *tool = json_string_value(json_object_get(inner ? inner : v, "name"));
    const json_t *one = json_object_get(v, "disable_parallel_tool_use");
    if (!type) return wants(f, name, "a word or an object with a \"type\"");
    if (json_is_true(one)) c->ask.parallel_tools = false;
    if (!tool) return choose_tool(c, name, type, f);
    c->ask.tool_choice = TOOLS_NAMED;
    c->ask.tool_name = tool;
    return true;
}

/* Completions: how many alternatives; chat has two fields. */
static bool read_logprobs_count(struct serve_call *c, const char *name, const json_t *v,
                                struct serve_fail *f) {
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > SERVE_TOP_MAX)
        return wants(f, name, "a whole number from 0 to 20");
    c->ask.logprobs = true;
    c->ask.top_logprobs = (uint32_t)json_integer_value(v);
    return true;
}

static bool read_timeout(struct serve_call *c, const char *name, const json_t *v,
                         struct serve_fail *f) {
    if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > 86400000)
        return wants(f, name, "milliseconds from 1 to 86400000");
    c->ask.timeout_ms = (uint64_t)json_integer_value(v);
    return true;
}

static bool read_priority(struct serve_call *c, const char *name, const json_t *v,
                          struct serve_fail *f) {
    if (!json_is_integer(v) || json_integer_value(v) < -100 || json_integer_value(v) > 100)
        return wants(f, name, "a whole number from -100 to 100");
    c->ask.priority = json_integer_value(v);
    return true;
}

static bool read_encoding(struct serve_call *c, const char *name, const json_t *v,
                          struct serve_fail *f) {
    const char *s = json_string_value(v);
    if (!s || (strcmp(s, "float") != 0 && strcmp(s, "base64") != 0))
        return wants(f, name, "\"float\" or \"base64\"");
    c->ask.base64 = !strcmp(s, "base64");
    return true;
}

/* --- tables ----------------------------------------------------------------------------------- */

#define SAMPLING_FIELDS                                                                            \
    {"temperature", REAL, AT(sampling.temperature), 0, 100, NULL},                                 \
        {"top_p", REAL, AT(sampling.top_p), 0, 1, NULL},                                           \
        {"top_k", WHOLE, AT(sampling.top_k), 0, 1e9, NULL},                                        \
        {"min_p", REAL, AT(sampling.min_p), 0, 1, NULL},                                           \
        {"typical_p", REAL, AT(sampling.typical_p), 0, 1, NULL},                                   \
        {"repeat_penalty", REAL, AT(sampling.repeat_penalty), 0.01, 100, NULL},                    \
        {"presence_penalty", REAL, AT(sampling.presence_penalty), -100, 100, NULL},                \
        {"frequency_penalty", REAL, AT(sampling.frequency_penalty), -100, 100, NULL},              \
        {"repeat_last_n", WHOLE, AT(sampling.penalty_window), 0, 1 << 20, NULL},                   \
        {"dry_multiplier", REAL, AT(sampling.dry_multiplier), 0, 100, NULL},                       \
        {"dry_base", REAL, AT(sampling.dry_base), 1, 100, NULL},                                   \
        {"dry_allowed_length", WHOLE, AT(sampling.dry_allowed), 1, 1 << 20, NULL},                 \
        {"dry_last_n", WHOLE, AT(sampling.dry_window), 0, 1 << 20, NULL}, {                        \
        "seed", FUNCTION, 0, 0, 0, read_seed                                                       \
    }

#define ANSWER_FIELDS                                                                              \
    { "adapters", VALUE, AT(adapters), 0, 0, NULL }

#define COMMON_FIELDS                                                                              \
    {"model", TEXT, AT(model), 0, 0, NULL}, {"stream", FLAG, AT(stream), 0, 0, NULL},              \
        {"timeout_ms", FUNCTION, 0, 0, 0, read_timeout},                                           \
        {"priority", FUNCTION, 0, 0, 0, read_priority}, {"user", IGNORED, 0, 0, 0, NULL},          \
        {"metadata", IGNORED, 0, 0, 0, NULL}, {"service_tier", IGNORED, 0, 0, 0, NULL},            \
        {"safety_identifier", IGNORED, 0, 0, 0, NULL},                                             \
        {"prompt_cache_key", IGNORED, 0, 0, 0, NULL}, {                                            \
        "prompt_cache_retention", IGNORED, 0, 0, 0, NULL                                           \
    }

#define OPENAI_FIELDS                                                                              \
    {"n", WHOLE, AT(n), 1, SERVE_CHOICES_MAX, NULL}, {"stop", FUNCTION, 0, 0, 0, read_stop},       \
        {"logit_bias", FUNCTION, 0, 0, 0, read_bias},                                              \
        {"max_tokens", WHOLE, AT(max_tokens), 1, MAX_TOKENS, NULL},                                \
        {"stream_options", FUNCTION, 0, 0, 0, read_stream_options},                                \
        {"response_format", FUNCTION, 0, 0, 0, read_response_format},                              \
        {"grammar", FUNCTION, 0, 0, 0, read_grammar}, {                                            \
        "ignore_eos", FLAG, AT(ignore_end), 0, 0, NULL                                             \
    }

static const struct field chat_fields[] = {
    COMMON_FIELDS,
    ANSWER_FIELDS,
    SAMPLING_FIELDS,
    OPENAI_FIELDS,
    {"messages", VALUE, AT(messages), 0, 0, NULL},
    {"max_completion_tokens", WHOLE, AT(max_tokens), 1, MAX_TOKENS, NULL},
    {"logprobs", FLAG, AT(logprobs), 0, 0, NULL},
    {"top_logprobs", WHOLE, AT(top_logprobs), 0, SERVE_TOP_MAX, NULL},
    {"tools", VALUE, AT(tools), 0, 0, NULL},
    {"tool_choice", FUNCTION, 0, 0, 0, read_tool_choice},
    {"parallel_tool_calls", FLAG, AT(parallel_tools), 0, 0, NULL},
    {"chat_template_kwargs", VALUE, AT(template_args), 0, 0, NULL},
};

static const struct field completion_fields[] = {
    COMMON_FIELDS,
    ANSWER_FIELDS,
    SAMPLING_FIELDS,
    OPENAI_FIELDS,
    {"prompt", VALUE, AT(prompt), 0, 0, NULL},
    {"logprobs", FUNCTION, 0, 0, 0, read_logprobs_count},
    {"echo", FLAG, AT(echo), 0, 0, NULL},
};

static const struct field response_fields[] = {
    COMMON_FIELDS,
    ANSWER_FIELDS,
    SAMPLING_FIELDS,
    {"input", VALUE, AT(input), 0, 0, NULL},
    {"instructions", VALUE, AT(system), 0, 0, NULL},
    {"max_output_tokens", WHOLE, AT(max_tokens), 1, MAX_TOKENS, NULL},
    {"text", FUNCTION, 0, 0, 0, read_text},
    {"tools", VALUE, AT(tools), 0, 0, NULL},
    {"tool_choice", FUNCTION, 0, 0, 0, read_tool_choice},
    {"parallel_tool_calls", FLAG, AT(parallel_tools), 0, 0, NULL},
    {"stream_options", FUNCTION, 0, 0, 0, read_stream_options},
};

static const struct field message_fields[] = {
    COMMON_FIELDS,
    ANSWER_FIELDS,
    {"temperature", REAL, AT(sampling.temperature), 0, 100, NULL},
    {"top_p", REAL, AT(sampling.top_p), 0, 1, NULL},
    {"top_k", WHOLE, AT(sampling.top_k), 0, 1e9, NULL},
    {"seed", FUNCTION, 0, 0, 0, read_seed},
    {"messages", VALUE, AT(messages), 0, 0, NULL},
    {"system", VALUE, AT(system), 0, 0, NULL},
    {"max_tokens", WHOLE, AT(max_tokens), 1, MAX_TOKENS, NULL},
    {"stop_sequences", FUNCTION, 0, 0, 0, read_stop},
    {"tools", VALUE, AT(tools), 0, 0, NULL},
    {"tool_choice", FUNCTION, 0, 0, 0, read_tool_choice},
};

static const struct field count_fields[] = {
    {"model", TEXT, AT(model), 0, 0, NULL},
    {"messages", VALUE, AT(messages), 0, 0, NULL},
    {"system", VALUE, AT(system), 0, 0, NULL},
    {"tools", VALUE, AT(tools), 0, 0, NULL},
    {"tool_choice", FUNCTION, 0, 0, 0, read_tool_choice},
};

static const struct field embedding_fields[] = {
    COMMON_FIELDS,
    {"input", VALUE, AT(input), 0, 0, NULL},
    {"dimensions", WHOLE, AT(dimensions), 1, 65536, NULL},
    {"encoding_format", FUNCTION, 0, 0, 0, read_encoding},
};

static const struct field tokenize_fields[] = {
    {"model", TEXT, AT(model), 0, 0, NULL},
    {"content", TEXT, AT(content), 0, 0, NULL},
    {"messages", VALUE, AT(messages), 0, 0, NULL},
    {"tools", VALUE, AT(tools), 0, 0, NULL},
    {"chat_template_kwargs", VALUE, AT(template_args), 0, 0, NULL},
    {"add_special", FLAG, AT(add_special), 0, 0, NULL},
    {"parse_special", FLAG, AT(parse_special), 0, 0, NULL},
    {"with_pieces", FLAG, AT(with_pieces), 0, 0, NULL},
};

static const struct field detokenize_fields[] = {
    {"model", TEXT, AT(model), 0, 0, NULL},
    {"tokens", VALUE, AT(tokens), 0, 0, NULL},
};

#define ROWS(t)                                                                                    \
    { t, sizeof t / sizeof *(t) }
static const struct {
    const struct field *row;
    size_t n;
} tables[] = {[API_CHAT] = ROWS(chat_fields),
              [API_COMPLETIONS] = ROWS(completion_fields),
              [API_RESPONSES] = ROWS(response_fields),
              [API_MESSAGES] = ROWS(message_fields),
              [API_EMBEDDINGS] = ROWS(embedding_fields),
              [API_TOKENIZE] = ROWS(tokenize_fields),
              [API_DETOKENIZE] = ROWS(detokenize_fields),
              [API_COUNT_TOKENS] = ROWS(count_fields)};

static const struct field *find(enum serve_api api, const char *name) {
    for (size_t i = 0; i < tables[api].n; i++)
        if (!strcmp(tables[api].row[i].name, name)) return &tables[api].row[i];
    return NULL;
}

/* --- fields that may say one thing only ----------------------------------------------------- */

/* What is done here anyway, as JSON; NULL: nothing but null. */
static const struct only {
    enum serve_api api;
    const char *name, *value;
} only[] = {{API_CHAT, "modalities", "[\"text\"]"},
            {API_CHAT, "reasoning_effort", "\"none\""},
            {API_CHAT, "store", "false"},
            {API_COMPLETIONS, "best_of", "1"},
            {API_COMPLETIONS, "suffix", NULL},
            {API_RESPONSES, "background", "false"},
            {API_RESPONSES, "conversation", NULL},
            {API_RESPONSES, "include", "[]"},
            {API_RESPONSES, "max_tool_calls", NULL},
            {API_RESPONSES, "previous_response_id", NULL},
            {API_RESPONSES, "prompt", NULL},
            {API_RESPONSES, "reasoning", NULL},
            {API_RESPONSES, "store", "false"},
            {API_RESPONSES, "truncation", "\"disabled\""},
            {API_MESSAGES, "thinking", "{\"type\":\"disabled\"}"},
            {API_COUNT_TOKENS, "thinking", "{\"type\":\"disabled\"}"}};

static const struct only *find_only(enum serve_api api, const char *name) {
    for (size_t i = 0; i < sizeof only / sizeof only[0]; i++)
        if (only[i].api == api && !strcmp(only[i].name, name)) return &only[i];
    return NULL;
}

static bool read_only(const struct only *row, const json_t *v, struct serve_fail *f) {
    json_t *value = row->value ? json_loads(row->value, JSON_DECODE_ANY, NULL) : NULL;
    const bool same = json_is_null(v) || (value && json_equal(value, v));
    json_decref(value);
    return same || serve_refuse(f, 400, row->name, "unsupported_value", "%s: only %s is supported",
                                row->name, row->value ? row->value : "null");
}

/* --- the whole -------------------------------------------------------------------------------- */

/* What a request that says nothing of it gets: OpenAI's defaults. */
static void set_defaults(struct serve_ask *a) {
    slv_sampling_default(&a->sampling);
    a->sampling.temperature = 1.0f;
    a->n = 1;
    a->parallel_tools = true;
}

static bool check_whole(struct serve_call *c, struct serve_fail *f) {
    const struct serve_ask *a = &c->ask;
    const json_t *needs[] = {
        [API_CHAT] = a->messages,     [API_COMPLETIONS] = a->prompt,   [API_RESPONSES] = a->input,
        [API_MESSAGES] = a->messages, [API_EMBEDDINGS] = a->input,     [API_TOKENIZE] = a->messages,
        [API_DETOKENIZE] = a->tokens, [API_COUNT_TOKENS] = a->messages};
    static const char *const names[] = {"messages", "prompt",   "input",  "messages",
                                        "input",    "messages", "tokens", "messages"};
    if (c->api == API_TOKENIZE && !a->content == !a->messages)
        return serve_refuse(f, 400, "content", "missing_field",
                            "one of content and messages is wanted");
    if (!needs[c->api] && !a->content)
        return serve_refuse(f, 400, names[c->api], "missing_field", "%s is missing", names[c->api]);
    if (c->api == API_MESSAGES && !a->max_tokens)
        return serve_refuse(f, 400, "max_tokens", "missing_field", "max_tokens is missing");
    if (c->api == API_CHAT && a->top_logprobs && !a->logprobs)
        return serve_refuse(f, 400, "top_logprobs", NULL,
                            "top_logprobs goes with \"logprobs\": true");
    if ((a->schema || a->json_object) && a->grammar)
        return serve_refuse(f, 400, "grammar", NULL, "grammar goes without response_format");
    if (a->ignore_end && (a->schema || a->json_object || a->grammar || a->tools))
        return serve_refuse(f, 400, "ignore_eos", NULL,
                            "ignore_eos goes without response_format, grammar and tools");
    if (a->stream && c->api == API_EMBEDDINGS)
        return serve_refuse(f, 400, "stream", NULL, "embeddings are not streamed");
    return true;
}

bool serve_ask_read(struct serve_call *c, struct serve_fail *f) {
    struct slv_str body = slv_exchange_body(c->x);
    struct slv_err err = {0};
    const char *name;
    json_t *v;
    set_defaults(&c->ask);
    if (!body.n || body.p[strspn(body.p, " \t\r\n")] != '{') /* a NUL follows the body */
        return serve_refuse(f, 400, NULL, NULL, "the body is a JSON object");
    if (slv_json_parse(body.p, body.n, "body", &c->ask.doc, &err))
        return serve_refuse_err(f, 0, NULL, &err);
    slv_exchange_drop_body(c->x);
    if (!json_is_object(c->ask.doc))
        return serve_refuse(f, 400, NULL, NULL, "body: a JSON object is wanted");
    json_object_foreach(c->ask.doc, name, v) {
        const struct field *row = find(c->api, name);
        const struct only *one = row ? NULL : find_only(c->api, name);
        if (!row && !one)
            return serve_refuse(f, 400, name, "unknown_field", "\"%.60s\" is not known here", name);
        if (one ? !read_only(one, v, f) : !json_is_null(v) && !read_plain(c, row, v, f))
            return false;
    }
    return check_whole(c, f);
}
