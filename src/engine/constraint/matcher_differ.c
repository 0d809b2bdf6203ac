/* matcher_differ.c: ways of a matcher that could only repeat what they must not. */
#include "engine/constraint/matcher_int.h"

#include <string.h>

#define PROBE_DEPTH 4096u

static bool step(struct slv_matcher *m, unsigned char c) {
    return slv_way_step(m, c, slv_way_advance);
}

/* Whether t is in an item of the array on `level`, which has not ended. */
static bool in_item(const struct thread *t, uint32_t level) {
    const struct frame *f = slv_way_frame(t);
    if (!f) return false;
    return f->level > level || (f->level == level && !t->f);
}

/* Whether the current set, inside an item, has a completion that is none of those pieces whose
 * first bytes, up to here, are the same. level: the array's. */
static bool can_differ(struct slv_matcher *m, const struct piece *const *same, size_t n, size_t at,
                       uint32_t level, unsigned depth) {
    if (!n) return true;
    if (depth == PROBE_DEPTH) return false;
    const struct piece **fewer = slv_way_bump(m, n * sizeof *fewer);
    if (!fewer) return false;
    /* Bytes that no piece goes on with come first: one that fits settles it. */
    for (int round = 0; round < 2; round++)
        for (unsigned c = 0x20; c < 0xf5; c++) {
            size_t k = 0;
            for (size_t i = 0; i < n; i++)
                if (same[i]->from + at < same[i]->to &&
                    (unsigned char)m->text[same[i]->from + at] == c)
                    fewer[k++] = same[i];
            if ((k > 0) != (round > 0)) continue;
            const struct slv_mark mark = slv_matcher_mark(m);
            bool r = false;
            if (step(m, (unsigned char)c)) {
                bool in = false;
                for (size_t i = m->first; i < m->n && !in; i++)
                    in = in_item(&m->v[i], level);
                r = !in || can_differ(m, fewer, k, at + 1, level, depth + 1);
            }
            slv_matcher_rewind(m, &mark);
            if (r) return true;
        }
    return false;
}

/* Whether thread t, the only one of the current set, has a way on in the item of frame f. */
static bool differs_in(struct slv_matcher *m, const struct frame *f) {
    size_t n = 0, k = 0;
    const size_t len = m->n_text - f->from;
    for (const struct piece *x = f->past; x; x = x->up)
        n++;
    const struct piece **same = slv_way_bump(m, n * sizeof *same);
    if (!same) return false;
    for (const struct piece *x = f->past; x; x = x->up)
        if (x->to - x->from >= len && !memcmp(m->text + x->from, m->text + f->from, len))
            same[k++] = x;
    return can_differ(m, same, k, len, f->level, 0);
}

/* Whether thread t can be completed without repeating what must differ. Frames of such arrays,
 * and of all in them, have one container. */
static bool can_go_on(struct slv_matcher *m, const struct thread *t) {
    const struct frame *f = slv_way_frame(t);
    bool ok = true;
    for (; f && f->differs && ok; f = f->up ? f->up->f : NULL) {
        struct frame here = *f;
        const bool begun = f != t->f || t->state == S_ITEM;
        if (!f->items || !f->items->unique || !f->past || !begun) continue;
        if (f == t->f) here.from = m->n_text;
        const struct slv_mark mark = slv_matcher_mark(m);
        m->first = m->n;
        slv_way_put(m, t);
        ok = differs_in(m, &here);
        slv_matcher_rewind(m, &mark);
    }
    return ok;
}

/* Drops threads of the current set that could only repeat. */
void slv_way_drop_repeating(struct slv_matcher *m) {
    const size_t first = m->first, n = m->n;
    size_t out = first;
    m->probing++;
    for (size_t i = first; i < n && !m->status; i++) {
        const struct thread t = m->v[i];
        if (can_go_on(m, &t)) m->v[out++] = t;
    }
    m->probing--;
    m->n = out;
}
