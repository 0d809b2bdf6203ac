/* messages.c: replies as Anthropic's clients read them. */
#include "serve/tools.h"

#include <string.h>

/* --- pieces of JSON --------------------------------------------------------------------------- */

static const char *stop_reason(const struct serve_choice *ch) {
    const char *word = serve_finish_word(ch);
    if (word && !strcmp(word, "tool_calls")) return "tool_use";
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

/* How far p[0..n), the beginning of an object, is whole: values that are complete, in brackets of
 * which `open` gets the closing ones that are missing. A string or a number that might go on is
 * left out, and its name with it. */
static size_t whole_part(const char *p, size_t n, struct slv_buf *open) {
    bool is_value = true; /* not a member's name */
    size_t whole = 0;
    for (size_t i = 0; i < n;) {
        const char c = p[i];
        const size_t from = i++;
        if (c == '{' || c == '[') {
            slv_buf_addc(open, c == '{' ? '}' : ']');
            is_value = c == '[';
            whole = i;
        } else if (c == '}' || c == ']') {
            if (open->len) open->len--;
            whole = i;
        } else if (c == ',') {
            is_value = open->len && open->data[open->len - 1] == ']';
        } else if (c == ':') {
            is_value = true;
        } else if (c == '"') {
            while (i < n && p[i] != '"')
                i += p[i] == '\\' ? 2 : 1;
            if (i >= n) break;
            i++;
            if (is_value) whole = i;
        } else if (!strchr(" \t\r\n", c)) {
            while (i < n && !strchr(",]} \t\r\n", p[i]))
                i++;
            const size_t k = i - from;
            if (i < n || (k == 4 && !memcmp(p + from, "true", 4)) ||
                (k == 4 && !memcmp(p + from, "null", 4)) ||
                (k == 5 && !memcmp(p + from, "false", 5)))
                whole = i;
        }
    }
    return whole;
}

static void whole_object(struct slv_buf *out, const char *p, size_t n) {
    struct slv_buf open;
    slv_buf_init(&open, SERVE_ANSWER_MAX);
    const size_t whole = whole_part(p, n, &open);
    slv_buf_add(out, p, whole);
    if (!whole) slv_buf_adds(out, "{}");
    if (open.status) out->status = open.status;
    while (open.len)
        slv_buf_addc(out, open.data[--open.len]);
    slv_buf_fini(&open);
}

/* A call that was cut stays in the message, for its last block and "max_tokens" together are how
 * clients see that one was cut, as Anthropic's guide to tools has them look. Its input is the
 * object that what was written is sure to say: what their own library makes of the pieces of a
 * stream. Nothing else would be JSON. */
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
    whole_object(j->out, it->text.data, it->text.len);
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
