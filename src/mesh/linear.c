/* linear.c: see linear.h. */
#include "mesh/linear.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX ((uint64_t)1 << 20)
#define SETS_MIN ((size_t)1024)

/* Operations of a key, ascending by their begin; those that are placed are unlinked. */
struct item {
    const struct slv_linear_op *op;
    size_t index;      /* in the history */
    size_t next, prev; /* of those not placed yet, 1 more than their place; 0: the list's end */
    uint64_t hash[2];
    uint64_t end;
};

struct seen {
    uint64_t hash[2], state;
    bool used;
};

struct frame {
    size_t item;
    uint64_t state; /* before it */
};

struct search {
    struct item *item; /* [n + 1]: the first is the list's head */
    size_t n, left;    /* left: those that must be placed */
    struct seen *set;
    size_t n_set, room_set;
    struct frame *stack;
    size_t depth, best;
    uint64_t hash[2], state, steps, steps_max;
};

static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* --- what an operation does ------------------------------------------------------------------- */

/* The state behind it; false: it cannot be here. */
static bool step(const struct slv_linear_op *op, uint64_t state, uint64_t *ret) {
    const bool refused = op->outcome == SLV_LINEAR_REFUSED;
    bool fits = true;
    uint64_t next = op->value;
    switch (op->f) {
    case SLV_LINEAR_READ:
        *ret = state;
        return op->outcome == SLV_LINEAR_OK && state == op->result;
    case SLV_LINEAR_WRITE:
        break;
    case SLV_LINEAR_CAS:
        fits = state == op->expect;
        break;
    case SLV_LINEAR_ACQUIRE:
        fits = !state;
        break;
    case SLV_LINEAR_RELEASE:
        fits = state == op->value;
        next = 0;
        break;
    }
    *ret = refused ? state : next;
    return fits != refused;
}

/* --- sets that were tried --------------------------------------------------------------------- */

static size_t place_of(const struct seen *set, size_t room, const uint64_t hash[2],
                       uint64_t state) {
    size_t i = (size_t)mix(hash[0] ^ mix(state)) & (room - 1);
    while (set[i].used &&
           (set[i].hash[0] != hash[0] || set[i].hash[1] != hash[1] || set[i].state != state))
        i = (i + 1) & (room - 1);
    return i;
}

/* 1: it is new; 0: it was tried; SLV_E_NOMEM. */
static int add_set(struct search *s, const uint64_t hash[2], uint64_t state) {
    if (s->n_set * 2 >= s->room_set) {
        const size_t room = s->room_set ? s->room_set * 2 : SETS_MIN;
        struct seen *set = slv_mem_calloc(room, sizeof *set);
        if (!set) return SLV_E_NOMEM;
        for (size_t i = 0; i < s->room_set; i++)
            if (s->set[i].used)
                set[place_of(set, room, s->set[i].hash, s->set[i].state)] = s->set[i];
        slv_mem_free(s->set);
        s->set = set;
        s->room_set = room;
    }
    struct seen *e = &s->set[place_of(s->set, s->room_set, hash, state)];
    if (e->used) return 0;
    *e = (struct seen){{hash[0], hash[1]}, state, true};
    s->n_set++;
    return 1;
}

/* --- the search ------------------------------------------------------------------------------- */

static void unlink_item(struct search *s, size_t i) {
    struct item *v = s->item;
    v[v[i].prev].next = v[i].next;
    v[v[i].next].prev = v[i].prev;
    s->hash[0] ^= v[i].hash[0];
    s->hash[1] ^= v[i].hash[1];
    if (v[i].op->outcome != SLV_LINEAR_UNKNOWN) s->left--;
}

static void link_item(struct search *s, size_t i) {
    struct item *v = s->item;
    v[v[i].prev].next = i;
    v[v[i].next].prev = i;
    s->hash[0] ^= v[i].hash[0];
    s->hash[1] ^= v[i].hash[1];
    if (v[i].op->outcome != SLV_LINEAR_UNKNOWN) s->left++;
}

/* The next one from i on that may come first: it began before any of the rest ended. 0: none. */
static size_t candidate(struct search *s, size_t i, uint64_t first_end, uint64_t *ret_state) {
    for (; i && s->item[i].op->begin <= first_end; i = s->item[i].next) {
        s->steps++;
        if (!step(s->item[i].op, s->state, ret_state)) continue;
        /* (one of which nobody knows, and which changes nothing, may as well not be) */
        if (s->item[i].op->outcome == SLV_LINEAR_UNKNOWN && *ret_state == s->state) continue;
        return i;
    }
    return 0;
}

static uint64_t first_end(const struct search *s) {
    uint64_t end = UINT64_MAX;
    for (size_t i = s->item[0].next; i && s->item[i].op->begin <= end; i = s->item[i].next)
        if (s->item[i].end < end) end = s->item[i].end;
    return end;
}

static int search(struct search *s, enum slv_linear_verdict *ret) {
    size_t from = s->item[0].next;
    for (;;) {
        uint64_t state = 0;
        size_t i;
        if (!s->left) {
            *ret = SLV_LINEAR_YES;
            return 0;
        }
        if (s->steps > s->steps_max) {
            *ret = SLV_LINEAR_UNDECIDED;
            return 0;
        }
        i = candidate(s, from, first_end(s), &state);
        if (i) {
            const uint64_t old = s->state;
            unlink_item(s, i);
            const int fresh = add_set(s, s->hash, state);
            if (fresh < 0) return fresh;
            if (fresh) {
                s->stack[s->depth++] = (struct frame){i, old};
                s->state = state;
                from = s->item[0].next;
                if (s->depth > s->best) s->best = s->depth;
            } else {
                link_item(s, i);
                from = s->item[i].next;
            }
            continue;
        }
        if (!s->depth) {
            *ret = SLV_LINEAR_NO;
            return 0;
        }
        const struct frame f = s->stack[--s->depth];
        link_item(s, f.item);
        s->state = f.state;
        from = s->item[f.item].next;
    }
}

/* --- a key ------------------------------------------------------------------------------------ */

static int check_key(struct item *v, size_t n, uint64_t steps_max, struct slv_linear_result *r) {
    struct search s = {.n = n, .steps_max = steps_max};
    size_t unplaced = 0;
    s.item = slv_mem_calloc(n + 1, sizeof *s.item);
    s.stack = slv_mem_calloc(n + 1, sizeof *s.stack);
    int rc = s.item && s.stack ? 0 : SLV_E_NOMEM;
    for (size_t i = 1; i <= n && !rc; i++) {
        s.item[i] = v[i - 1];
        s.item[i].hash[0] = mix(2 * i);
        s.item[i].hash[1] = mix(mix(2 * i + 1));
        s.item[i].prev = i - 1;
        s.item[i].next = i < n ? i + 1 : 0;
        if (v[i - 1].op->outcome != SLV_LINEAR_UNKNOWN) s.left++;
    }
    if (!rc) {
        s.item[0].next = n ? 1 : 0;
        s.item[0].prev = n;
        rc = search(&s, &r->verdict);
    }
    if (!rc && r->verdict == SLV_LINEAR_NO) {
        /* The earliest end of those that stood in the way at last. */
        uint64_t end = UINT64_MAX;
        for (size_t i = s.item[0].next; i; i = s.item[i].next) {
            uint64_t state;
            if (s.item[i].end >= end || step(s.item[i].op, s.state, &state)) continue;
            end = s.item[i].end;
            unplaced = s.item[i].index;
        }
        r->at = unplaced;
    }
    r->steps += s.steps;
    slv_mem_free(s.item);
    slv_mem_free(s.stack);
    slv_mem_free(s.set);
    return rc;
}

static int by_key(const void *a, const void *b) {
    const struct item *x = a, *y = b;
    if (x->op->key != y->op->key) return x->op->key < y->op->key ? -1 : 1;
    if (x->op->begin != y->op->begin) return x->op->begin < y->op->begin ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

int slv_linear_check(const struct slv_linear_op *op, size_t n, uint64_t steps_max,
                     struct slv_linear_result *ret) {
    struct slv_linear_result r = {.verdict = SLV_LINEAR_YES};
    size_t kept = 0;
    int rc = 0;
    if (n > SLV_LINEAR_OPS_MAX) return SLV_E_LIMIT;
    struct item *v = slv_mem_calloc(n ? n : 1, sizeof *v);
    if (!v) return SLV_E_NOMEM;
    for (size_t i = 0; i < n && !rc; i++) {
        const bool known = op[i].outcome != SLV_LINEAR_UNKNOWN;
        if (known && op[i].end < op[i].begin) rc = SLV_E_USAGE;
        if (op[i].outcome == SLV_LINEAR_FAILED) continue;
        v[kept].op = &op[i];
        v[kept].end = known ? op[i].end : UINT64_MAX;
        v[kept++].index = i;
    }
    if (!rc && kept) qsort(v, kept, sizeof *v, by_key);
    for (size_t i = 0, k; i < kept && !rc && r.verdict == SLV_LINEAR_YES; i = k) {
        for (k = i + 1; k < kept && v[k].op->key == v[i].op->key;)
            k++;
        r.key = v[i].op->key;
        rc = check_key(v + i, k - i, steps_max ? steps_max : STEPS_MAX, &r);
    }
    slv_mem_free(v);
    if (!rc) *ret = r;
    return rc;
}

/* --- for others ------------------------------------------------------------------------------- */

struct event {
    const struct slv_linear_op *op;
    uint64_t time;
    size_t index;
    bool end;
};

/* Of one moment, calls come before answers: they overlap. */
static int by_time(const void *a, const void *b) {
    const struct event *x = a, *y = b;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    if (x->end != y->end) return x->end ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void write_value(const struct event *e, struct slv_buf *b) {
    const struct slv_linear_op *op = e->op;
    const bool none = op->f == SLV_LINEAR_READ && (!e->end || op->outcome != SLV_LINEAR_OK);
    if (op->f == SLV_LINEAR_CAS)
        slv_buf_addf(b, "[%" PRIu64 ",%" PRIu64 "]", op->expect, op->value);
    else if (none) slv_buf_adds(b, "null");
    else slv_buf_addf(b, "%" PRIu64, op->f == SLV_LINEAR_READ ? op->result : op->value);
}

int slv_linear_write(const struct slv_linear_op *op, size_t n, struct slv_buf *b) {
    static const char *const f[] = {"read", "write", "cas", "acquire", "release"};
    static const char *const type[] = {"ok", "fail", "fail", "info"};
    size_t k = 0;
    if (n > SLV_LINEAR_OPS_MAX) return SLV_E_LIMIT;
    struct event *e = slv_mem_calloc(2 * n + 1, sizeof *e);
    if (!e) return SLV_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const bool known = op[i].outcome != SLV_LINEAR_UNKNOWN;
        e[k++] = (struct event){&op[i], op[i].begin, i, false};
        e[k++] = (struct event){&op[i], known ? op[i].end : UINT64_MAX, i, true};
    }
    qsort(e, k, sizeof *e, by_time);
    uint64_t last = 0; /* what nobody knows ends when all is over */
    for (size_t i = 0; i < k; i++) {
        if (e[i].time != UINT64_MAX) last = e[i].time;
        slv_buf_addf(b,
                     "{\"process\":%" PRIu64 ",\"type\":\"%s\",\"f\":\"%s\",\"key\":%" PRIu64
                     ",\"value\":",
                     e[i].op->process, e[i].end ? type[e[i].op->outcome] : "invoke", f[e[i].op->f],
                     e[i].op->key);
        write_value(&e[i], b);
        slv_buf_addf(b, ",\"time\":%" PRIu64 ",\"index\":%zu}\n", last, i);
    }
    slv_mem_free(e);
    return b->status;
}
