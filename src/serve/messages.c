/* messages.c: replies as Anthropic's clients read them. */
#include "serve/tools.h"

#include <string.h>

/* --- pieces of JSON --------------------------------------------------------------------------- */

static const char *stop_reason(const struct serve_choice *ch) {
    if (ch->n_calls && !ch->cut) return "tool_use";
    if (ch->stop) return "stop_sequence";
    if (ch->finish && !strcmp(ch->finish, "length")) return "max_tokens";
    if (ch->finish && !strcmp(ch->finish, "timeout")) return "timeout";
    return "end_turn";
}

static void usage(const struct serve_call *c, uint64_t n_output, struct slv_json *j) {
    slv_json_object(j, "usage");
    slv_json_uint(j, "input_tokens", c->n_prompt - (c->n_cached < c->n_prompt ? c->n_cached : 0));
    slv_json_uint(j, "cache_read_input_tokens", c->n_cached);
    slv_json_uint(j, "cache_creation_input_tokens", 0);
    slv_json_uint(j, "output_tokens", n_output);
    slv_json_object_end(j);
}

/* The message, with its content as far as it is finished. */
static void message(struct serve_call *c, struct slv_json *j, const char *key, bool ended) {
    const struct serve_choice *ch = &c->choice[0];
    slv_json_object(j, key);
    slv_json_str(j, "id", c->id);
    slv_json_str(j, "type", "message");
    slv_json_str(j, "role", "assistant");
    slv_json_str(j, "model", c->model->name);
    slv_json_array(j, "content");
    if (ended) slv_buf_add(j->out, ch->item.done.data, ch->item.done.len);
    slv_json_array_end(j);
    slv_json_str_or_null(j, "stop_reason", ended ? stop_reason(ch) : NULL);
    slv_json_str_or_null(j, "stop_sequence", ended ? ch->stop : NULL);
    usage(c, ended ? c->n_output : 0, j);
    slv_json_object_end(j);
}

/* --- events ----------------------------------------------------------------------------------- */

static void begin(struct serve_call *c) {
    struct slv_json j;
    serve_event(c, &j, "message_start");
    message(c, &j, "message", false);
    serve_event_end(c, &j);
}

static void on_open(struct serve_choice *ch) {
    struct serve_item *it = &ch->item;
    struct slv_json j;
    serve_event(ch->call, &j, "content_block_start");
    slv_json_uint(&j, "index", it->index);
    slv_json_object(&j, "content_block");
    slv_json_str(&j, "type", it->kind == ITEM_TEXT ? "text" : "tool_use");
    if (it->kind == ITEM_TEXT) {
        slv_json_str(&j, "text", "");
    } else {
        slv_json_str(&j, "id", it->id);
        slv_json_strn(&j, "name", it->name.data, it->name.len);
        slv_json_object(&j, "input");
        slv_json_object_end(&j);
    }
    slv_json_object_end(&j);
    serve_event_end(ch->call, &j);
}

static void on_delta(struct serve_choice *ch, const char *p, size_t n) {
    const bool text = ch->item.kind == ITEM_TEXT;
    struct slv_json j;
    serve_event(ch->call, &j, "content_block_delta");
    slv_json_uint(&j, "index", ch->item.index);
    slv_json_object(&j, "delta");
    slv_json_str(&j, "type", text ? "text_delta" : "input_json_delta");
    slv_json_strn(&j, text ? "text" : "partial_json", p, n);
    slv_json_object_end(&j);
    serve_event_end(ch->call, &j);
}

static void on_close(struct serve_choice *ch) {
    struct slv_json j;
    serve_event(ch->call, &j, "content_block_stop");
    slv_json_uint(&j, "index", ch->item.index);
    serve_event_end(ch->call, &j);
}

static void stream_end(struct serve_call *c) {
    const struct serve_choice *ch = &c->choice[0];
    struct slv_json j;
    serve_event(c, &j, "message_delta");
    slv_json_object(&j, "delta");
    slv_json_str(&j, "stop_reason", stop_reason(ch));
    slv_json_str_or_null(&j, "stop_sequence", ch->stop);
    slv_json_object_end(&j);
    usage(c, c->n_output, &j);
    serve_event_end(c, &j);
    serve_event(c, &j, "message_stop");
    serve_event_end(c, &j);
}

/* --- a whole message -------------------------------------------------------------------------- */

static void block_json(const struct serve_choice *ch, struct slv_json *j) {
    const struct serve_item *it = &ch->item;
    slv_json_object(j, NULL);
    slv_json_str(j, "type", it->kind == ITEM_TEXT ? "text" : "tool_use");
    if (it->kind == ITEM_TEXT) {
        slv_json_strn(j, "text", it->text.data, it->text.len);
        slv_json_object_end(j);
        return;
    }
    slv_json_str(j, "id", it->id);
    slv_json_strn(j, "name", it->name.data, it->name.len);
    slv_json_object_end(j);
    j->out->len--; /* the arguments are JSON already */
    slv_buf_adds(j->out, ",\"input\":");
    slv_buf_add(j->out, it->text.len ? it->text.data : "{}", it->text.len ? it->text.len : 2);
    slv_buf_addc(j->out, '}');
}

static void whole(struct serve_call *c, struct slv_json *j) { message(c, j, NULL, true); }

static void error_event(struct serve_call *c, const struct serve_fail *f) {
    struct slv_json j;
    serve_event(c, &j, "error");
    slv_json_object(&j, "error");
    slv_json_str(&j, "type", f->type);
    slv_json_str(&j, "message", f->err.msg);
    slv_json_object_end(&j);
    serve_event_end(c, &j);
}

static const struct serve_item_format items = {.open = on_open,
                                               .delta = on_delta,
                                               .close = on_close,
                                               .json = block_json,
                                               .stream_end = stream_end,
                                               .whole = whole};
const struct serve_format serve_format_messages = {.begin = begin,
                                                   .piece = serve_items_piece,
                                                   .choice_end = serve_items_choice_end,
                                                   .end = serve_items_end,
                                                   .error = error_event,
                                                   .items = &items};
