/* items.c: an answer as a row of items, each a text or a call of a tool: what the newer interfaces
 * speak of. */
#include "serve/tools.h"

#include <stdio.h>
#include <string.h>

static _Thread_local const struct serve_item_events *events;

static void close_item(struct serve_choice *ch) {
    struct serve_item *it = &ch->item;
    if (it->kind == ITEM_NONE) return;
    if (events->close) events->close(ch);
    it->kind = ITEM_NONE;
    it->index++;
}

static void open_item(struct serve_choice *ch, enum serve_item_kind kind) {
    struct serve_item *it = &ch->item;
    close_item(ch);
    it->kind = kind;
    slv_buf_clear(&it->text);
    slv_buf_clear(&it->name);
}

static void part(struct serve_choice *ch, const struct serve_part *p) {
    struct serve_item *it = &ch->item;
    switch (p->kind) {
    case PART_CALL:
        open_item(ch, ITEM_CALL);
        snprintf(it->id, sizeof it->id, "%s", p->id);
        slv_buf_add(&it->name, p->p, p->n);
        if (events->open) events->open(ch);
        return;
    case PART_TEXT:
        if (it->kind != ITEM_TEXT) {
            open_item(ch, ITEM_TEXT);
            if (events->open) events->open(ch);
        }
        break;
    case PART_CALL_END:
        close_item(ch);
        return;
    case PART_ARGUMENTS:
        break;
    }
    slv_buf_add(&it->text, p->p, p->n);
    if (events->delta) events->delta(ch, p->p, p->n);
}

void serve_items_next(struct serve_choice *ch, bool ended, const struct serve_item_events *e) {
    events = e;
    serve_parts_next(ch, ended, part);
    if (ended) close_item(ch);
}

void serve_items_fini(struct serve_item *it) {
    slv_buf_fini(&it->text);
    slv_buf_fini(&it->name);
    slv_buf_fini(&it->done);
}
