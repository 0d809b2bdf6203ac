/* responses.c: replies of /v1/responses, whole and as numbered events. */
#include "base/mem.h"
#include "serve/tools.h"

#include <stdio.h>
#include <string.h>

/* --- pieces of JSON --------------------------------------------------------------------------- */

static void item_id(const struct serve_choice *ch, char ret[2 * SERVE_ID]) {
    snprintf(ret, 2 * SERVE_ID, "%s_%s_%u", ch->item.kind == ITEM_TEXT ? "msg" : "fc",
             ch->call->id + strlen("resp_"), ch->item.index);
}

static void text_part(struct slv_json *j, const char *key, const char *p, size_t n) {
    slv_json_object(j, key);
    slv_json_str(j, "type", "output_text");
    slv_json_strn(j, "text", p, n);
    slv_json_array(j, "annotations");
    slv_json_array_end(j);
    slv_json_object_end(j);
}

/* The open item; whole: with what it has. */
static void item_json(const struct serve_choice *ch, struct slv_json *j, const char *key,
                      bool whole) {
    const struct serve_item *it = &ch->item;
    char id[2 * SERVE_ID];
    item_id(ch, id);
    slv_json_object(j, key);
    slv_json_str(j, "id", id);
    slv_json_str(j, "type", it->kind == ITEM_TEXT ? "message" : "function_call");
    slv_json_str(j, "status", !whole ? "in_progress" : it->cut ? "incomplete" : "completed");
    if (it->kind == ITEM_TEXT) {
        slv_json_str(j, "role", "assistant");
        slv_json_array(j, "content");
        if (whole) text_part(j, NULL, it->text.data, it->text.len);
        slv_json_array_end(j);
    } else {
        slv_json_str(j, "call_id", it->id);
        slv_json_strn(j, "name", it->name.data, it->name.len);
        slv_json_strn(j, "arguments", whole ? it->text.data : "", whole ? it->text.len : 0);
    }
    slv_json_object_end(j);
}

static void usage(const struct serve_call *c, struct slv_json *j) {
    slv_json_object(j, "usage");
    slv_json_uint(j, "input_tokens", c->n_prompt);
    slv_json_object(j, "input_tokens_details");
    slv_json_uint(j, "cached_tokens", c->n_cached);
    slv_json_object_end(j);
    slv_json_uint(j, "output_tokens", c->n_output);
    slv_json_object(j, "output_tokens_details");
    slv_json_uint(j, "reasoning_tokens", 0);
    slv_json_object_end(j);
    slv_json_uint(j, "total_tokens", c->n_prompt + c->n_output);
    slv_json_object_end(j);
}

static bool is_cut(const struct serve_choice *ch) {
    return ch->finish && strcmp(ch->finish, "stop") != 0;
}

/* What was asked for, as it was. */
static void tools_json(const struct serve_call *c, struct slv_json *j) {
    static const char *const words[] = {
        [TOOLS_AUTO] = "auto", [TOOLS_NONE] = "none", [TOOLS_REQUIRED] = "required"};
    if (c->ask.tool_choice == TOOLS_NAMED) {
        slv_json_object(j, "tool_choice");
        slv_json_str(j, "type", "function");
        slv_json_str(j, "name", c->ask.tool_name);
        slv_json_object_end(j);
    } else {
        slv_json_str(j, "tool_choice", words[c->ask.tool_choice]);
    }
    slv_json_array(j, "tools");
    char *s = json_array_size(c->ask.tools) ? json_dumps(c->ask.tools, JSON_COMPACT) : NULL;
    if (s) slv_buf_add(j->out, s + 1, strlen(s) - 2); /* without the brackets */
    slv_mem_free(s);
    slv_json_array_end(j);
}

static void response(struct serve_call *c, struct slv_json *j, const char *key, bool ended) {
    const struct serve_choice *ch = &c->choice[0];
    const bool cut = ended && is_cut(ch);
    slv_json_object(j, key);
    slv_json_str(j, "id", c->id);
    slv_json_str(j, "object", "response");
    slv_json_uint(j, "created_at", c->created);
    slv_json_str(j, "status", !ended ? "in_progress" : cut ? "incomplete" : "completed");
    slv_json_null(j, "error");
    if (cut) {
        slv_json_object(j, "incomplete_details");
        slv_json_str(j, "reason", strcmp(ch->finish, "length") ? ch->finish : "max_output_tokens");
        slv_json_object_end(j);
    } else {
        slv_json_null(j, "incomplete_details");
    }
    slv_json_str(j, "model", c->model->name);
    slv_json_array(j, "output");
    if (ended) slv_buf_add(j->out, ch->item.done.data, ch->item.done.len);
    slv_json_array_end(j);
    slv_json_bool(j, "parallel_tool_calls", c->ask.parallel_tools);
    slv_json_float(j, "temperature", c->ask.sampling.temperature);
    slv_json_float(j, "top_p", c->ask.sampling.top_p);
    tools_json(c, j);
    if (ended) usage(c, j);
    slv_json_object_end(j);
}

/* --- events ----------------------------------------------------------------------------------- */

/* What is said of an item besides: which one. */
static void item_event(struct serve_choice *ch, struct slv_json *j, const char *type) {
    char id[2 * SERVE_ID];
    item_id(ch, id);
    serve_event(ch->call, j, type);
    slv_json_str(j, "item_id", id);
    slv_json_uint(j, "output_index", ch->item.index);
    if (ch->item.kind == ITEM_TEXT) slv_json_uint(j, "content_index", 0);
}

static void response_event(struct serve_call *c, const char *type, bool ended) {
    struct slv_json j;
    serve_event(c, &j, type);
    response(c, &j, "response", ended);
    serve_event_end(c, &j);
}

static void begin(struct serve_call *c) {
    response_event(c, "response.created", false);
    response_event(c, "response.in_progress", false);
}

static void item_state_event(struct serve_choice *ch, const char *type, bool whole) {
    struct slv_json j;
    serve_event(ch->call, &j, type);
    slv_json_uint(&j, "output_index", ch->item.index);
    item_json(ch, &j, "item", whole);
    serve_event_end(ch->call, &j);
}

static void on_open(struct serve_choice *ch) {
    struct slv_json j;
    item_state_event(ch, "response.output_item.added", false);
    if (ch->item.kind != ITEM_TEXT) return;
    item_event(ch, &j, "response.content_part.added");
    text_part(&j, "part", "", 0);
    serve_event_end(ch->call, &j);
}

static void on_delta(struct serve_choice *ch, const char *p, size_t n) {
    struct slv_json j;
    item_event(ch, &j,
               ch->item.kind == ITEM_TEXT ? "response.output_text.delta"
                                          : "response.function_call_arguments.delta");
    slv_json_strn(&j, "delta", p, n);
    if (ch->item.kind == ITEM_TEXT) {
        slv_json_array(&j, "logprobs");
        slv_json_array_end(&j);
    }
    serve_event_end(ch->call, &j);
}

static void on_close(struct serve_choice *ch) {
    const struct serve_item *it = &ch->item;
    struct slv_json j;
    if (it->kind == ITEM_CALL && it->cut) { /* its arguments never are done */
        item_state_event(ch, "response.output_item.done", true);
        return;
    }
    if (it->kind == ITEM_TEXT) {
        item_event(ch, &j, "response.output_text.done");
        slv_json_strn(&j, "text", it->text.data, it->text.len);
        slv_json_array(&j, "logprobs");
        slv_json_array_end(&j);
        serve_event_end(ch->call, &j);
        item_event(ch, &j, "response.content_part.done");
        text_part(&j, "part", it->text.data, it->text.len);
    } else {
        item_event(ch, &j, "response.function_call_arguments.done");
        slv_json_strn(&j, "name", it->name.data, it->name.len);
        slv_json_strn(&j, "arguments", it->text.data, it->text.len);
    }
    serve_event_end(ch->call, &j);
    item_state_event(ch, "response.output_item.done", true);
}

static void stream_end(struct serve_call *c) {
    response_event(c, is_cut(&c->choice[0]) ? "response.incomplete" : "response.completed", true);
}

static void whole_item(const struct serve_choice *ch, struct slv_json *j) {
    item_json(ch, j, NULL, true);
}

static void whole(struct serve_call *c, struct slv_json *j) { response(c, j, NULL, true); }

static void error_event(struct serve_call *c, const struct serve_fail *f) {
    struct slv_json j;
    serve_event(c, &j, "error");
    slv_json_str(&j, "code", f->code ? f->code : f->type);
    slv_json_str(&j, "message", f->err.msg);
    slv_json_null(&j, "param");
    serve_event_end(c, &j);
}

static const struct serve_item_format items = {.numbered = true,
                                               .keeps = true,
                                               .open = on_open,
                                               .delta = on_delta,
                                               .close = on_close,
                                               .json = whole_item,
                                               .stream_end = stream_end,
                                               .whole = whole};
const struct serve_format serve_format_responses = {.begin = begin,
                                                    .piece = serve_items_piece,
                                                    .choice_end = serve_items_choice_end,
                                                    .end = serve_items_end,
                                                    .error = error_event,
                                                    .items = &items};
