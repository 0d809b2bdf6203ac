/* strong_watch.c: the changes that a strong group's node has seen last, and who is told of them.
 * The history is this node's: one that starts, or installs a snapshot, has none of before. */
#include "mesh/strong_int.h"

#define HISTORY_MAX ((size_t)65536)

static struct change *at(const struct slv_strong *s, size_t i) {
    return &s->history[(s->at_history + i) % s->room_history];
}

static void drop_oldest(struct slv_strong *s) {
    struct change *c = at(s, 0);
    s->history_from = c->index + 1;
    s->history_bytes -= sizeof *c + c->n_key + c->n_value;
    slv_mem_free(c->bytes);
    s->at_history = (s->at_history + 1) % s->room_history;
    s->n_history--;
}

/* A larger ring. */
static int grow(struct slv_strong *s) {
    const size_t room = s->room_history ? s->room_history * 2 : 64;
    if (room > HISTORY_MAX) return SLV_E_LIMIT;
    struct change *v = slv_mem_calloc(room, sizeof *v);
    if (!v) return SLV_E_NOMEM;
    for (size_t i = 0; i < s->n_history; i++)
        v[i] = *at(s, i);
    slv_mem_free(s->history);
    s->history = v;
    s->room_history = room;
    s->at_history = 0;
    return 0;
}

/* What cannot be kept is compacted. */
static void keep(struct slv_strong *s, const struct slv_strong_change *c) {
    const size_t n = c->key.n + c->value.n;
    while (s->n_history && s->history_bytes + sizeof(struct change) + n > s->conf.history_max)
        drop_oldest(s);
    if (s->n_history == s->room_history && grow(s) && s->n_history) drop_oldest(s);
    char *bytes = sizeof(struct change) + n > s->conf.history_max ? NULL : slv_mem_alloc(n + 1);
    if (!bytes || s->n_history == s->room_history) {
        slv_mem_free(bytes);
        while (s->n_history)
            drop_oldest(s);
        s->history_from = c->index + 1;
        return;
    }
    if (c->key.n) memcpy(bytes, c->key.p, c->key.n);
    if (c->value.n) memcpy(bytes + c->key.n, c->value.p, c->value.n);
    *at(s, s->n_history++) =
        (struct change){c->index, c->space, c->version, c->key.n, c->value.n, c->gone, bytes};
    s->history_bytes += sizeof(struct change) + n;
}

static void tell(const struct watch *w, const struct slv_strong_change *c) {
    if (c->index < w->next || c->space != w->space || c->key.n < w->n_prefix) return;
    if (w->n_prefix && memcmp(c->key.p, w->prefix, w->n_prefix)) return;
    w->fn(w->ctx, c);
}

void strong_watch_changed(void *ctx, const struct strong_key *k, uint64_t index, bool gone) {
    struct slv_strong *s = ctx;
    const struct slv_strong_change c = {.index = index,
                                        .space = k->space,
                                        .version = k->version,
                                        .key = k->key,
                                        .value = gone ? (struct slv_str){"", 0} : k->value,
                                        .gone = gone};
    keep(s, &c);
    for (size_t i = 0; i < s->n_watch; i++)
        tell(&s->watch[i], &c);
}

/* All up to index is in a snapshot. */
void strong_watch_compact(struct slv_strong *s, uint64_t index) {
    const struct slv_strong_change c = {
        .index = index, .key = {"", 0}, .value = {"", 0}, .compacted = true};
    while (s->n_history)
        drop_oldest(s);
    s->history_from = index + 1;
    for (size_t i = 0; i < s->n_watch; i++) {
        if (s->watch[i].next <= index) s->watch[i].fn(s->watch[i].ctx, &c);
    }
}

int slv_strong_watch(struct slv_strong *s, uint64_t space, struct slv_str prefix, uint64_t from,
                     void (*fn)(void *ctx, const struct slv_strong_change *c), void *ctx,
                     uint64_t *ret_watch) {
    if (!s->started || s->damaged) return SLV_E_NOENT;
    if (prefix.n > SLV_STRONG_KEY_MAX) return SLV_E_USAGE;
    if (!from) from = slv_strong_applied(s) + 1;
    if (from < s->history_from) return SLV_E_NOENT;
    void *p = s->watch;
    const int rc =
        slv_mem_grow(&p, s->n_watch, &s->room_watch, sizeof *s->watch, SLV_STRONG_WATCHES_MAX);
    s->watch = p;
    if (rc) return rc;
    char *copy = slv_mem_alloc(prefix.n + 1);
    if (!copy) return SLV_E_NOMEM;
    if (prefix.n) memcpy(copy, prefix.p, prefix.n);
    struct watch *w = &s->watch[s->n_watch++];
    *w = (struct watch){++s->watches, space, from, copy, prefix.n, fn, ctx};
    *ret_watch = w->id;
    for (size_t i = 0; i < s->n_history; i++) {
        const struct change *h = at(s, i);
        const struct slv_strong_change c = {.index = h->index,
                                            .space = h->space,
                                            .version = h->version,
                                            .key = {h->bytes, h->n_key},
                                            .value = {h->bytes + h->n_key, h->n_value},
                                            .gone = h->gone};
        tell(w, &c);
    }
    return 0;
}

void slv_strong_unwatch(struct slv_strong *s, uint64_t watch) {
    for (size_t i = 0; i < s->n_watch; i++) {
        if (s->watch[i].id != watch) continue;
        slv_mem_free(s->watch[i].prefix);
        memmove(s->watch + i, s->watch + i + 1, (s->n_watch - i - 1) * sizeof *s->watch);
        s->n_watch--;
        return;
    }
}

void strong_watch_free(struct slv_strong *s) {
    while (s->n_history)
        drop_oldest(s);
    slv_mem_free(s->history);
    while (s->n_watch)
        slv_strong_unwatch(s, s->watch[0].id);
    slv_mem_free(s->watch);
}
