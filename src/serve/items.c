/* items.c: an answer as a row of items, each a text or a call of a tool: what the newer interfaces
 * speak of, as events while it is made or whole at its end. How it is written is a format's
 * (serve_item_format); in which order, and what becomes of items that are done, is here. */
#include "serve/tools.h"

#include <stdio.h>
#include <string.h>

/* --- events ----------------------------------------------------------------------------------- */

void serve_event(struct serve_call *c, struct slv_json *j, const char *type) {
    slv_buf_addf(&c->out, "event: %s\ndata: ", type);
    slv_json_init(j, &c->out);
    slv_json_object(j, NULL);
    slv_json_str(j, "type", type);
    if (c->format->items->numbered) slv_json_uint(j, "sequence_number", c->n_events++);
}

void serve_event_end(struct serve_call *c, struct slv_json *j) {
    slv_json_object_end(j);
    slv_buf_adds(&c->out, "\n\n");
}

/* --- items ------------------------------------------------------------------------------------ */

static const struct serve_item_format *format_of(const struct serve_choice *ch) {
    return ch->call->format->items;
}

/* What is whole is kept for the reply, or for a stream's last event. */
static void close_item(struct serve_choice *ch) {
    struct serve_item *it = &ch->item;
    struct slv_json j;
    if (it->kind == ITEM_NONE) return;
    if (ch->call->ask.stream) format_of(ch)->close(ch);
    if (!ch->call->ask.stream || format_of(ch)->keeps) {
        if (it->done.len) slv_buf_addc(&it->done, ',');
        slv_json_init(&j, &it->done);
        format_of(ch)->json(ch, &j);
    }
    it->kind = ITEM_NONE;
    it->index++;
}

static void open_item(struct serve_choice *ch, enum serve_item_kind kind,
                      const struct serve_part *p) {
    struct serve_item *it = &ch->item;
    close_item(ch);
    it->kind = kind;
    it->cut = false;
    slv_buf_clear(&it->text);
    slv_buf_clear(&it->name);
    if (kind == ITEM_CALL) {
        snprintf(it->id, sizeof it->id, "%s", p->id);
        slv_buf_add(&it->name, p->p, p->n);
    }
    if (ch->call->ask.stream) format_of(ch)->open(ch);
}

static void part(struct serve_choice *ch, const struct serve_part *p) {
    struct serve_item *it = &ch->item;
    switch (p->kind) {
    case PART_CALL:
        open_item(ch, ITEM_CALL, p);
        return;
    case PART_TEXT:
        if (it->kind != ITEM_TEXT) open_item(ch, ITEM_TEXT, p);
        break;
    case PART_CALL_END:
        it->cut = ch->cut;
        close_item(ch);
        return;
    case PART_ARGUMENTS:
        break;
    }
    slv_buf_add(&it->text, p->p, p->n);
    if (ch->call->ask.stream) format_of(ch)->delta(ch, p->p, p->n);
}

/* --- replies ---------------------------------------------------------------------------------- */

void serve_items_piece(struct serve_choice *ch, const struct slv_piece *p) {
    (void)p;
    serve_parts_next(ch, false, part);
}

void serve_items_choice_end(struct serve_choice *ch) {
    serve_parts_next(ch, true, part);
    ch->item.cut = ch->finish && strcmp(ch->finish, "stop") != 0; /* a text that is open */
    close_item(ch);
}

void serve_items_end(struct serve_call *c) {
    const struct serve_item_format *f = c->format->items;
    struct slv_json j;
    if (c->ask.stream) {
        f->stream_end(c);
        return;
    }
    serve_items_choice_end(&c->choice[0]);
    slv_json_init(&j, &c->out);
    f->whole(c, &j);
}

void serve_items_fini(struct serve_item *it) {
    slv_buf_fini(&it->text);
    slv_buf_fini(&it->name);
    slv_buf_fini(&it->done);
}
