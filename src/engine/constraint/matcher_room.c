/* matcher_room.c: the memory of a matcher's frames.
 *
 * Frames are bumped off chunks, and what no thread leads to any more is not given back one by one:
 * now and then, when a long text has left much behind, what is still led to is copied to new
 * chunks, and the old ones go (Cheney, "A nonrecursive list compacting algorithm", Comm. ACM 13,
 * 1970; where things went is in a table beside). */
#include "engine/constraint/matcher_int.h"
#include "base/mem.h"

#include <string.h>

#define CHUNK ((size_t)32 << 10)
#define LEAST_CHUNKS 32u /* so much may lie about */

void *slv_way_fail(struct slv_matcher *m, int code) {
    if (!m->status) m->status = code;
    return NULL;
}

/* size <= CHUNK bytes, zeroed. */
void *slv_way_bump(struct slv_matcher *m, size_t size) {
    struct slv_room *r = &m->room;
    size = (size + 15) & ~(size_t)15;
    if (size > CHUNK) return slv_way_fail(m, SLV_E_LIMIT);
    if (r->n == 0 || r->used + size > CHUNK) {
        const size_t next = r->n ? r->chunk + 1 : 0;
        if (next == r->n) {
            const int rc = slv_mem_grow((void **)&r->v, r->n, &r->cap, sizeof *r->v,
                                        SLV_MATCHER_MAX_BYTES / CHUNK);
            if (rc) return slv_way_fail(m, rc);
            r->v[r->n] = slv_mem_alloc(CHUNK);
            if (!r->v[r->n]) return slv_way_fail(m, SLV_E_NOMEM);
            r->n++;
        }
        r->chunk = next;
        r->used = 0;
    }
    void *p = r->v[r->chunk] + r->used;
    r->used += size;
    return memset(p, 0, size);
}

static void room_fini(struct slv_room *r) {
    for (size_t i = 0; i < r->n; i++)
        slv_mem_free(r->v[i]);
    slv_mem_free(r->v);
    *r = (struct slv_room){0};
}

void slv_way_free(struct slv_matcher *m) { room_fini(&m->room); }

/* --- copying what is needed ------------------------------------------------------------------- */

enum kind { PLACES, FRAME, PIECE, BITS };

struct moved {
    const void *from;
    void *to;
    uint32_t kind;
};

struct copying {
    struct slv_matcher *m;
    struct moved *v; /* in the order they were moved */
    size_t n, cap;
    uint32_t *slots; /* index + 1, by hash */
    size_t n_slots;
};

static size_t slot_of(const struct copying *c, const void *from) {
    size_t at = ((uintptr_t)from >> 4) * 0x9e3779b97f4a7c15u >> 20 & (c->n_slots - 1);
    while (c->slots[at] && c->v[c->slots[at] - 1].from != from)
        at = (at + 1) & (c->n_slots - 1);
    return at;
}

static bool rehash(struct copying *c) {
    const size_t n = c->n_slots ? c->n_slots * 2 : 1024;
    uint32_t *s = slv_mem_calloc(n, sizeof *s);
    if (!s) return slv_way_fail(c->m, SLV_E_NOMEM) != NULL;
    slv_mem_free(c->slots);
    c->slots = s;
    c->n_slots = n;
    for (size_t i = 0; i < c->n; i++)
        c->slots[slot_of(c, c->v[i].from)] = (uint32_t)i + 1;
    return true;
}

/* Where what was at `from` is now; it is copied when it is first asked for. */
static void *move(struct copying *c, const void *from, size_t size, enum kind kind) {
    if (!from || c->m->status) return NULL;
    if (c->n * 2 >= c->n_slots && !rehash(c)) return NULL;
    const size_t at = slot_of(c, from);
    if (c->slots[at]) return c->v[c->slots[at] - 1].to;
    const int rc = slv_mem_grow((void **)&c->v, c->n, &c->cap, sizeof *c->v, UINT32_MAX / 2);
    if (rc) return slv_way_fail(c->m, rc);
    void *to = slv_way_bump(c->m, size);
    if (!to) return NULL;
    memcpy(to, from, size);
    c->v[c->n++] = (struct moved){from, to, kind};
    c->slots[at] = (uint32_t)c->n;
    return to;
}

static void *move_places(struct copying *c, const struct places *p) {
    return move(c, p, sizeof *p, PLACES);
}

static void *move_frame(struct copying *c, const struct frame *f) {
    return move(c, f, sizeof *f, FRAME);
}

static void *move_piece(struct copying *c, const struct piece *p) {
    return move(c, p, sizeof *p, PIECE);
}

/* What a copy points to is copied too. */
static void follow(struct copying *c, struct moved x) {
    struct places *places = x.to;
    struct piece *piece = x.to;
    struct frame *f = x.to;
    if (x.kind == PLACES) {
        places->next = move_places(c, places->next);
        places->f = move_frame(c, places->f);
    } else if (x.kind == PIECE) piece->up = move_piece(c, piece->up);
    else if (x.kind == FRAME) {
        const size_t words = f->members ? (f->members->n + 64) / 64 : 0;
        f->up = move_places(c, f->up);
        f->past = move_piece(c, f->past);
        f->at.there = move(c, f->at.there, words * sizeof *f->at.there, BITS);
    }
}

void slv_way_tidy(struct slv_matcher *m) {
    struct copying c = {.m = m};
    struct slv_room old = m->room;
    if (m->status || old.chunk < LEAST_CHUNKS || old.chunk < 2 * old.tidy) return;
    m->room = (struct slv_room){0};
    for (size_t i = m->first; i < m->n; i++) {
        (void)move_frame(&c, m->v[i].f);
        (void)move_places(&c, m->v[i].up);
    }
    for (size_t i = 0; i < c.n && !m->status; i++)
        follow(&c, c.v[i]);
    if (!m->status)
        for (size_t i = m->first; i < m->n; i++) {
            m->v[i].f = move_frame(&c, m->v[i].f);
            m->v[i].up = move_places(&c, m->v[i].up);
        }
    if (m->status) { /* then it stays as it was */
        m->status = 0;
        room_fini(&m->room);
        m->room = old;
    } else room_fini(&old);
    m->room.tidy = m->room.chunk;
    slv_mem_free(c.v);
    slv_mem_free(c.slots);
}
