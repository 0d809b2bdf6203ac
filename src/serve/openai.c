/* openai.c: replies as OpenAI's clients read them: chat and completions. */
#include "serve/serve_int.h"
#include "serve/tools.h"

#include <string.h>

/* --- pieces of JSON --------------------------------------------------------------------------- */

static void head(struct serve_call *c, struct slv_json *j, const char *object) {
    slv_json_init(j, &c->out);
    slv_json_object(j, NULL);
    slv_json_str(j, "id", c->id);
    slv_json_str(j, "object", object);
    slv_json_uint(j, "created", c->created);
    slv_json_str(j, "model", c->model->name);
}

static void usage(const struct serve_call *c, struct slv_json *j) {
    slv_json_object(j, "usage");
    slv_json_uint(j, "prompt_tokens", c->n_prompt);
    slv_json_uint(j, "completion_tokens", c->n_output);
    slv_json_uint(j, "total_tokens", c->n_prompt + c->n_output);
    slv_json_object(j, "prompt_tokens_details");
    slv_json_uint(j, "cached_tokens", c->n_cached);
    slv_json_object_end(j);
    slv_json_object_end(j);
}

static void event(struct serve_call *c) { slv_buf_adds(&c->out, "data: "); }
static void event_end(struct serve_call *c) { slv_buf_adds(&c->out, "\n\n"); }

/* [elements], as they were collected. */
static void raw_array(struct slv_json *j, const char *key, const char *p, size_t n) {
    slv_json_array(j, key);
    slv_buf_add(j->out, p, n);
    slv_json_array_end(j);
}

static void error_event(struct serve_call *c, const struct serve_fail *f) {
    struct slv_json j;
    event(c);
    slv_json_init(&j, &c->out);
    slv_json_object(&j, NULL);
    slv_json_object(&j, "error");
    slv_json_str(&j, "message", f->err.msg);
    slv_json_str(&j, "type", f->type);
    slv_json_str_or_null(&j, "code", f->code);
    slv_json_object_end(&j);
    slv_json_object_end(&j);
    event_end(c);
}

/* The last event but "[DONE]": usage, where it was asked for, without choices. */
static void stream_end(struct serve_call *c, const char *object) {
    struct slv_json j;
    if (c->ask.include_usage) {
        event(c);
        head(c, &j, object);
        slv_json_array(&j, "choices");
        slv_json_array_end(&j);
        usage(c, &j);
        slv_json_object_end(&j);
        event_end(c);
    }
    slv_buf_adds(&c->out, "data: [DONE]\n\n");
}

/* --- chat ------------------------------------------------------------------------------------- */

#define CHUNK "chat.completion.chunk"

static void chunk_begin(struct serve_choice *ch, struct slv_json *j) {
    event(ch->call);
    head(ch->call, j, CHUNK);
    slv_json_array(j, "choices");
    slv_json_object(j, NULL);
    slv_json_uint(j, "index", ch->index);
    slv_json_object(j, "delta");
}

static void chunk_end(struct serve_choice *ch, struct slv_json *j, const char *finish) {
    struct serve_call *c = ch->call;
    slv_json_object_end(j);
    if (c->ask.logprobs && ch->logprobs.len) {
        slv_json_object(j, "logprobs");
        raw_array(j, "content", ch->logprobs.data, ch->logprobs.len);
        slv_json_null(j, "refusal");
        slv_json_object_end(j);
        slv_buf_clear(&ch->logprobs); /* each stands in one chunk */
    }
    slv_json_str_or_null(j, "finish_reason", finish);
    slv_json_object_end(j);
    slv_json_array_end(j);
    if (c->ask.include_usage) slv_json_null(j, "usage");
    slv_json_object_end(j);
    event_end(c);
}

static void chat_begin(struct serve_call *c) {
    for (uint32_t i = 0; i < c->n_choices; i++) {
        struct slv_json j;
        chunk_begin(&c->choice[i], &j);
        slv_json_str(&j, "role", "assistant");
        slv_json_str(&j, "content", "");
        chunk_end(&c->choice[i], &j, NULL);
    }
}

/* What the answer's text means, as deltas. */
static void chat_part(struct serve_choice *ch, const struct serve_part *p) {
    struct slv_json j;
    chunk_begin(ch, &j);
    if (p->kind == PART_TEXT) {
        slv_json_strn(&j, "content", p->p, p->n);
    } else {
        slv_json_array(&j, "tool_calls");
        slv_json_object(&j, NULL);
        slv_json_uint(&j, "index", p->call);
        if (p->kind == PART_CALL) {
            slv_json_str(&j, "id", p->id);
            slv_json_str(&j, "type", "function");
        }
        slv_json_object(&j, "function");
        if (p->kind == PART_CALL) slv_json_strn(&j, "name", p->p, p->n);
        if (p->kind == PART_CALL) slv_json_str(&j, "arguments", "");
        else slv_json_strn(&j, "arguments", p->p, p->n);
        slv_json_object_end(&j);
        slv_json_object_end(&j);
        slv_json_array_end(&j);
    }
    chunk_end(ch, &j, NULL);
}

static void chat_piece(struct serve_choice *ch, const struct slv_piece *p) {
    (void)p;
    serve_parts_next(ch, false, chat_part);
}

static void chat_choice_end(struct serve_choice *ch) {
    struct slv_json j;
    serve_parts_next(ch, true, chat_part);
    chunk_begin(ch, &j);
    chunk_end(ch, &j, serve_finish_word(ch));
}

/* Parts of a whole answer. */
struct whole {
    struct slv_buf text, calls;
};

static _Thread_local struct whole *collecting;

static void collect_part(struct serve_choice *ch, const struct serve_part *p) {
    struct whole *w = collecting;
    (void)ch;
    if (p->kind == PART_TEXT) {
        slv_buf_add(&w->text, p->p, p->n);
    } else if (p->kind == PART_CALL) {
        slv_buf_addf(&w->calls, "%s{\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":\"",
                     w->calls.len ? "," : "", p->id);
        slv_json_escape(&w->calls, p->p, p->n);
        slv_buf_adds(&w->calls, "\",\"arguments\":\"");
    } else if (p->kind == PART_ARGUMENTS) {
        slv_json_escape(&w->calls, p->p, p->n);
    }
    if (p->kind == PART_CALL_END) slv_buf_adds(&w->calls, "\"}}");
}

static void chat_choice(struct serve_choice *ch, struct slv_json *j) {
    struct whole w;
    slv_buf_init(&w.text, SERVE_ANSWER_MAX);
    slv_buf_init(&w.calls, SERVE_ANSWER_MAX);
    collecting = &w;
    serve_parts_next(ch, true, collect_part);
    slv_json_object(j, NULL);
    slv_json_uint(j, "index", ch->index);
    slv_json_object(j, "message");
    slv_json_str(j, "role", "assistant");
    if (ch->n_calls && !w.text.len) slv_json_null(j, "content");
    else slv_json_strn(j, "content", w.text.data, w.text.len);
    slv_json_null(j, "refusal");
    if (ch->n_calls) raw_array(j, "tool_calls", w.calls.data, w.calls.len);
    slv_json_object_end(j);
    if (ch->call->ask.logprobs) {
        slv_json_object(j, "logprobs");
        raw_array(j, "content", ch->logprobs.data, ch->logprobs.len);
        slv_json_null(j, "refusal");
        slv_json_object_end(j);
    } else {
        slv_json_null(j, "logprobs");
    }
    slv_json_str_or_null(j, "finish_reason", serve_finish_word(ch));
    slv_json_object_end(j);
    slv_buf_fini(&w.text);
    slv_buf_fini(&w.calls);
}

static void chat_end(struct serve_call *c) {
    struct slv_json j;
    if (c->ask.stream) {
        stream_end(c, CHUNK);
        return;
    }
    head(c, &j, "chat.completion");
    slv_json_array(&j, "choices");
    for (uint32_t i = 0; i < c->n_choices; i++)
        chat_choice(&c->choice[i], &j);
    slv_json_array_end(&j);
    usage(c, &j);
    slv_json_object_end(&j);
}

const struct serve_format serve_format_chat = {.begin = chat_begin,
                                               .piece = chat_piece,
                                               .choice_end = chat_choice_end,
                                               .end = chat_end,
                                               .error = error_event};

/* --- completions ------------------------------------------------------------------------------ */

/* The older form of log-probabilities, from the elements of the newer one. */
static void old_logprobs(struct serve_choice *ch, struct slv_json *j) {
    struct slv_buf b;
    size_t i, k;
    json_t *x, *top;
    slv_buf_init(&b, SERVE_ANSWER_MAX);
    slv_buf_addc(&b, '[');
    slv_buf_add(&b, ch->logprobs.data, ch->logprobs.len);
    slv_buf_addc(&b, ']');
    json_t *list = b.status ? NULL : json_loadb(b.data, b.len, 0, NULL);
    slv_json_object(j, "logprobs");
    slv_json_array(j, "tokens");
    json_array_foreach(list, i, x)
        slv_json_str(j, NULL, json_string_value(json_object_get(x, "token")));
    slv_json_array_end(j);
    slv_json_array(j, "token_logprobs");
    json_array_foreach(list, i, x)
        slv_json_double(j, NULL, json_number_value(json_object_get(x, "logprob")));
    slv_json_array_end(j);
    slv_json_array(j, "top_logprobs");
    json_array_foreach(list, i, x) {
        slv_json_object(j, NULL);
        json_array_foreach(json_object_get(x, "top_logprobs"), k, top)
            slv_json_double(j, json_string_value(json_object_get(top, "token")),
                            json_number_value(json_object_get(top, "logprob")));
        slv_json_object_end(j);
    }
    slv_json_array_end(j);
    slv_json_object_end(j);
    json_decref(list);
    slv_buf_fini(&b);
}

static void text_choice(struct serve_choice *ch, struct slv_json *j, const char *p, size_t n,
                        const char *finish) {
    slv_json_object(j, NULL);
    slv_json_uint(j, "index", ch->index);
    slv_json_strn(j, "text", p, n);
    if (ch->call->ask.logprobs) old_logprobs(ch, j);
    else slv_json_null(j, "logprobs");
    slv_json_str_or_null(j, "finish_reason", finish);
    slv_json_object_end(j);
}

static void text_chunk(struct serve_choice *ch, const char *p, size_t n, const char *finish) {
    struct serve_call *c = ch->call;
    struct slv_json j;
    event(c);
    head(c, &j, "text_completion");
    slv_json_array(&j, "choices");
    text_choice(ch, &j, p, n, finish);
    slv_json_array_end(&j);
    if (c->ask.include_usage) slv_json_null(&j, "usage");
    slv_json_object_end(&j);
    event_end(c);
    slv_buf_clear(&ch->logprobs);
}

static void text_begin(struct serve_call *c) {
    for (uint32_t i = 0; c->ask.echo && i < c->n_choices; i++)
        text_chunk(&c->choice[i], c->prompt_text.data, c->prompt_text.len, NULL);
}

static void text_piece(struct serve_choice *ch, const struct slv_piece *p) {
    if (p->n || ch->logprobs.len) text_chunk(ch, p->text, p->n, NULL);
}

static void text_choice_end(struct serve_choice *ch) { text_chunk(ch, "", 0, ch->finish); }

static void text_end(struct serve_call *c) {
    struct slv_json j;
    if (c->ask.stream) {
        stream_end(c, "text_completion");
        return;
    }
    head(c, &j, "text_completion");
    slv_json_array(&j, "choices");
    for (uint32_t i = 0; i < c->n_choices; i++) {
        struct serve_choice *ch = &c->choice[i];
        struct slv_buf b;
        slv_buf_init(&b, SERVE_ANSWER_MAX);
        if (c->ask.echo) slv_buf_add(&b, c->prompt_text.data, c->prompt_text.len);
        slv_buf_add(&b, ch->text.data, ch->text.len);
        text_choice(ch, &j, b.data, b.len, ch->finish);
        slv_buf_fini(&b);
    }
    slv_json_array_end(&j);
    usage(c, &j);
    slv_json_object_end(&j);
}

const struct serve_format serve_format_completions = {.begin = text_begin,
                                                      .piece = text_piece,
                                                      .choice_end = text_choice_end,
                                                      .end = text_end,
                                                      .error = error_event};
