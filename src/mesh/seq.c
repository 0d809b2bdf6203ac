/* seq.c: see seq.h.
 *
 * The tree is built of runs. On an element but the last of a run nothing hangs on the right but the
 * next one, since that was there as soon as the element was: so a run is walked from its beginning
 * to its end, in between what hangs on the left of its elements, and then what hangs on the right
 * of the last. Runs that hang on each other in a circle, which only a writer that lies makes, are
 * not reached.
 */
#define _GNU_SOURCE
#include "mesh/seq.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <stdlib.h>

/* An element: of which run, the how-manieth. */
struct place {
    struct slv_dot run;
    uint32_t i;
};

/* A run as it hangs in the tree. */
struct run {
    const struct slv_entry *e;
    struct slv_dot dot; /* its, where many are looked through */
    uint32_t n;         /* elements */
    bool is_left;
    struct place parent; /* run {0, 0}: the beginning */
    bool *gone;          /* [n] */
    bool changed;        /* some were marked as gone by the draft being made */
};

struct slv_seq_tree {
    const struct slv_space *space;
    struct slv_str prefix; /* of its paths, borrowed */
    bool is_text;
    struct run *run;               /* [n] by dot, heap */
    size_t n, room, all;           /* all: elements of all runs */
    size_t *child;                 /* [n]: runs by parent, element, left before right, dot; heap */
    bool *marks;                   /* [all] heap: which are gone */
    const struct slv_entry **mark; /* [n_mark] heap, by their runs' dots: what says so */
    size_t n_mark, room_mark;
};

/* --- runs as bytes ---------------------------------------------------------------------------- */

/* Behind the head: the elements. */
static struct slv_str read_head(const struct slv_entry *e, bool *ret_left, struct place *ret) {
    struct slv_reader r = slv_reader_of(e->bytes + e->n_path, e->n_data);
    *ret_left = !slv_read_number(&r, 1);
    ret->run.writer = slv_read_id(&r);
    ret->run.n = slv_read_number(&r, SLV_DOT_MAX);
    ret->i = (uint32_t)slv_read_number(&r, SLV_DATA_MAX);
    return slv_read_raw(&r, slv_reader_left(&r));
}

/* The element at the front of what is left; an empty one of a text: there is none. */
static struct slv_str take_element(struct slv_str *left, bool is_text) {
    struct slv_str e = {left->p, 0};
    if (is_text) {
        uint32_t cp;
        e.n = left->n ? slv_utf8_decode(left->p, left->n, &cp) : 0;
        left->p += e.n;
        left->n -= e.n;
        return e;
    }
    struct slv_reader r = slv_reader_of(left->p, left->n);
    e = slv_read_bytes(&r, SLV_DATA_MAX);
    *left = (struct slv_str){(const char *)r.p, (size_t)(r.end - r.p)};
    return e;
}

static uint32_t count_elements(struct slv_str left, bool is_text) {
    uint32_t n = 0;
    while (left.n) {
        const size_t before = left.n;
        take_element(&left, is_text);
        if (left.n == before) break;
        n++;
    }
    return n;
}

static struct slv_str element_of(const struct slv_entry *e, uint32_t i, bool is_text) {
    struct place parent;
    bool is_left;
    struct slv_str left = read_head(e, &is_left, &parent), at = {"", 0};
    for (uint32_t k = 0; k <= i; k++)
        at = take_element(&left, is_text);
    return at;
}

/* --- what there is ---------------------------------------------------------------------------- */

/* Entries of one path come in the order of their dots, so runs are found by halving; SIZE_MAX: not
 * here. Most often it is the one at `hint`, or the next. */
static size_t find_near(const struct slv_seq_tree *t, struct slv_dot dot, size_t hint) {
    size_t lo = 0, hi = t->n;
    for (size_t i = hint; i < t->n && i < hint + 2; i++)
        if (!slv_dot_compare(t->run[i].dot, dot)) return i;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (slv_dot_compare(t->run[mid].dot, dot) < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo < t->n && !slv_dot_compare(t->run[lo].dot, dot) ? lo : SIZE_MAX;
}

static size_t find_run(const struct slv_seq_tree *t, struct slv_dot dot) {
    return find_near(t, dot, t->n);
}

static int add_run(struct slv_seq_tree *t, const struct slv_entry *e) {
    struct run r = {.e = e, .dot = e->dot};
    const struct slv_str elements = read_head(e, &r.is_left, &r.parent);
    r.n = count_elements(elements, t->is_text);
    if (!r.n) return 0; /* damaged: what hangs on it hangs on the beginning */
    if (t->all + r.n > SLV_SEQ_MAX) return SLV_E_LIMIT;
    void *p = t->run;
    const int rc = slv_mem_grow(&p, t->n, &t->room, sizeof *t->run, SLV_SEQ_MAX);
    t->run = p;
    if (rc) return rc;
    t->all += r.n;
    t->run[t->n++] = r;
    return 0;
}

/* Whose parent is not here hangs on the beginning. (Who writes on hangs on what came before.) */
static void find_parents(struct slv_seq_tree *t) {
    for (size_t i = 0; i < t->n; i++) {
        struct run *r = &t->run[i];
        const size_t up = r->parent.run.n ? find_near(t, r->parent.run, i ? i - 1 : 0) : SIZE_MAX;
        if (up != SIZE_MAX && r->parent.i < t->run[up].n) continue;
        r->parent = (struct place){{0, 0}, 0};
        r->is_left = false;
    }
}

/* What stands behind the prefix. */
static struct slv_str own_path(const struct slv_seq_tree *t, const struct slv_entry *e) {
    return (struct slv_str){e->bytes + t->prefix.n, e->n_path - t->prefix.n};
}

/* Of a path "d" and a dot: which run that is. */
static size_t marked_run(const struct slv_seq_tree *t, const struct slv_entry *e, size_t hint) {
    const struct slv_str own = own_path(t, e);
    struct slv_reader path = slv_reader_of(own.p, own.n);
    slv_read_raw(&path, 1);
    const uint64_t writer = slv_read_id(&path), n = slv_read_id(&path);
    if (!slv_reader_done(&path)) return SIZE_MAX;
    return find_near(t, (struct slv_dot){writer, n}, hint);
}

static void mark_gone(struct run *run, const struct slv_entry *e) {
    struct slv_reader r = slv_reader_of(e->bytes + e->n_path, e->n_data);
    uint64_t at = 0;
    while (slv_reader_left(&r)) {
        at += slv_read_number(&r, SLV_DATA_MAX);
        const uint64_t end = at + slv_read_number(&r, SLV_DATA_MAX);
        for (; at < end && at < run->n; at++)
            run->gone[at] = true;
        at = end;
    }
}

static void mark_all(struct slv_seq_tree *t) {
    for (size_t k = 0, last = 0; k < t->n_mark; k++) {
        const size_t i = marked_run(t, t->mark[k], last);
        if (i == SIZE_MAX) continue;
        mark_gone(&t->run[i], t->mark[k]);
        last = i;
    }
}

static int add_mark(struct slv_seq_tree *t, const struct slv_entry *e) {
    void *p = t->mark;
    const int rc = slv_mem_grow(&p, t->n_mark, &t->room_mark, sizeof *t->mark, SLV_SEQ_MAX);
    t->mark = p;
    if (!rc) t->mark[t->n_mark++] = e;
    return rc;
}

/* Runs, and marks, which come before them. */
static int take_entries(struct slv_seq_tree *t, struct slv_str key) {
    struct slv_walk w = slv_walk_of(t->space, key, t->prefix);
    const struct slv_entry *e;
    int rc = 0;
    while (!rc && (e = slv_walk_next(&w)) != NULL) {
        const struct slv_str own = own_path(t, e);
        if (slv_str_is(own, "r")) rc = add_run(t, e);
        else if (own.n && *own.p == 'd') rc = add_mark(t, e);
    }
    return rc;
}

/* By where they hang; ctx: the tree. */
static int by_parent(const void *a, const void *b, void *ctx) {
    const struct slv_seq_tree *t = ctx;
    const struct run *x = &t->run[*(const size_t *)a], *y = &t->run[*(const size_t *)b];
    int c = slv_dot_compare(x->parent.run, y->parent.run);
    if (!c) c = (x->parent.i > y->parent.i) - (x->parent.i < y->parent.i);
    if (!c) c = (int)y->is_left - (int)x->is_left;
    return c ? c : slv_dot_compare(x->dot, y->dot);
}

static int build(struct slv_seq_tree *t, struct slv_str key) {
    const int rc = take_entries(t, key);
    if (rc) return rc;
    t->marks = slv_mem_calloc(t->all + 1, sizeof *t->marks);
    t->child = slv_mem_calloc(t->n + 1, sizeof *t->child);
    if (!t->marks || !t->child) return SLV_E_NOMEM;
    for (size_t i = 0, at = 0; i < t->n; at += t->run[i++].n) {
        t->run[i].gone = t->marks + at;
        t->child[i] = i;
    }
    find_parents(t);
    qsort_r(t->child, t->n, sizeof *t->child, by_parent, t);
    mark_all(t);
    return 0;
}

/* --- the walk --------------------------------------------------------------------------------- */

/* Where in `child` what hangs on element i of a run, or on one behind it, begins; with `right` what
 * hangs on the right of i. */
static size_t hanging(const struct slv_seq_tree *t, struct slv_dot run, uint32_t i, bool right) {
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const struct run *r = &t->run[t->child[mid]];
        int c = slv_dot_compare(r->parent.run, run);
        if (!c) c = (r->parent.i > i) - (r->parent.i < i);
        if (!c) c = r->is_left && right ? -1 : 0;
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

/* The end of those that hang at the same place and side as the first, which is there. */
static size_t hanging_end(const struct slv_seq_tree *t, size_t first) {
    const struct run *a = &t->run[t->child[first]];
    size_t end = first + 1;
    for (; end < t->n; end++) {
        const struct run *r = &t->run[t->child[end]];
        if (slv_dot_compare(r->parent.run, a->parent.run) != 0 || r->parent.i != a->parent.i ||
            r->is_left != a->is_left)
            break;
    }
    return end;
}

/* Whether child[k] is there and hangs on a run. */
static bool hangs_on(const struct slv_seq_tree *t, size_t k, struct slv_dot run) {
    return k < t->n && !slv_dot_compare(t->run[t->child[k]].parent.run, run);
}

static int emit(struct slv_seq *q, const struct run *r, uint32_t from, uint32_t to) {
    while (from < to) {
        uint32_t end = from + 1;
        while (end < to && r->gone[end] == r->gone[from])
            end++;
        void *p = q->piece;
        const int rc = slv_mem_grow(&p, q->n, &q->room, sizeof *q->piece, SLV_SEQ_MAX);
        q->piece = p;
        if (rc) return rc;
        q->piece[q->n++] = (struct slv_seq_piece){r->e, from, end, r->gone[from]};
        if (!r->gone[from]) q->count += end - from;
        from = end;
    }
    return 0;
}

/* What is being walked: siblings [at, end) of `child`, or, where run is not NULL, a run from
 * element i on; what hangs on the left of i was walked where `left` says so. */
struct frame {
    size_t at, end;
    const struct run *run;
    uint32_t i;
    bool left;
};

struct stack {
    struct frame *v;
    size_t n, room;
};

static int push(struct stack *s, struct frame f) {
    void *p = s->v;
    const int rc = slv_mem_grow(&p, s->n, &s->room, sizeof *s->v, 2 * SLV_SEQ_MAX);
    s->v = p;
    if (!rc) s->v[s->n++] = f;
    return rc;
}

/* Goes on with the run on top: up to the next element on whose left something hangs, or
 * to the end. */
static int walk_run(struct slv_seq *q, struct stack *s) {
    const struct slv_seq_tree *t = q->tree;
    struct frame *f = &s->v[s->n - 1];
    const struct run *r = f->run;
    const struct slv_dot dot = r->dot;
    const size_t next = hanging(t, dot, f->i, f->left);
    const struct run *c = hangs_on(t, next, dot) ? &t->run[t->child[next]] : NULL;
    const bool waits = c && c->is_left;
    const uint32_t to = waits ? c->parent.i : r->n;
    const int rc = emit(q, r, f->i, to);
    if (rc) return rc;
    f->i = to;
    f->left = true;
    if (!waits) s->n--;
    return c ? push(s, (struct frame){.at = next, .end = hanging_end(t, next)}) : 0;
}

static int walk(struct slv_seq *q) {
    const struct slv_seq_tree *t = q->tree;
    const struct slv_dot root = {0, 0};
    struct stack s = {0};
    int rc = 0;
    if (hangs_on(t, 0, root)) rc = push(&s, (struct frame){.end = hanging_end(t, 0)});
    while (!rc && s.n) {
        struct frame *f = &s.v[s.n - 1];
        if (f->run) rc = walk_run(q, &s);
        else if (f->at == f->end) s.n--;
        else rc = push(&s, (struct frame){.run = &t->run[t->child[f->at++]]});
    }
    slv_mem_free(s.v);
    return rc;
}

int slv_seq_open(const struct slv_space *s, struct slv_str key, struct slv_str prefix, bool is_text,
                 struct slv_seq *ret) {
    struct slv_seq q = {.is_text = is_text, .tree = slv_mem_calloc(1, sizeof *q.tree)};
    if (!q.tree) return SLV_E_NOMEM;
    q.tree->space = s;
    q.tree->prefix = prefix;
    q.tree->is_text = is_text;
    int rc = build(q.tree, key);
    if (!rc) rc = walk(&q);
    if (rc) slv_seq_close(&q);
    else *ret = q;
    return rc;
}

void slv_seq_close(struct slv_seq *q) {
    if (q->tree) {
        slv_mem_free(q->tree->run);
        slv_mem_free(q->tree->child);
        slv_mem_free(q->tree->marks);
        slv_mem_free(q->tree->mark);
    }
    slv_mem_free(q->tree);
    slv_mem_free(q->piece);
    *q = (struct slv_seq){0};
}

/* --- reading ---------------------------------------------------------------------------------- */

/* The piece and the element of it that element i is; i < count. */
static size_t locate(const struct slv_seq *q, size_t i, uint32_t *ret) {
    for (size_t k = 0;; k++) {
        const struct slv_seq_piece *p = &q->piece[k];
        const size_t n = p->gone ? 0 : p->to - p->from;
        if (i < n) {
            *ret = p->from + (uint32_t)i;
            return k;
        }
        i -= n;
    }
}

struct slv_str slv_seq_at(const struct slv_seq *q, size_t i) {
    uint32_t at;
    const size_t k = locate(q, i, &at);
    return element_of(q->piece[k].run, at, q->is_text);
}

struct slv_dot slv_seq_name(const struct slv_seq *q, size_t i, uint32_t *ret) {
    return q->piece[locate(q, i, ret)].run->dot;
}

void slv_seq_text(const struct slv_seq *q, struct slv_buf *ret) {
    for (size_t k = 0; k < q->n; k++) {
        const struct slv_seq_piece *p = &q->piece[k];
        if (p->gone) continue;
        const struct slv_str first = element_of(p->run, p->from, true);
        const struct slv_str last = element_of(p->run, p->to - 1, true);
        slv_buf_add(ret, first.p, (size_t)(last.p + last.n - first.p));
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Where what is put before element `at` hangs. */
static struct place parent_for(const struct slv_seq *q, size_t at, bool *ret_left) {
    struct place left = {{0, 0}, 0};
    size_t k = 0;
    uint32_t i = 0;
    bool has_right = q->n > 0;
    if (at) {
        k = locate(q, at - 1, &i);
        left = (struct place){q->piece[k].run->dot, i};
        const struct run *r = &q->tree->run[find_run(q->tree, left.run)];
        has_right =
            i + 1 < r->n || hangs_on(q->tree, hanging(q->tree, left.run, i, true), left.run);
        if (++i == q->piece[k].to) k++, i = k < q->n ? q->piece[k].from : 0;
    } else if (has_right) {
        i = q->piece[0].from;
    }
    *ret_left = has_right;
    return has_right ? (struct place){q->piece[k].run->dot, i} : left;
}

static void write_head(const struct slv_seq *q, size_t at, struct slv_buf *b) {
    bool is_left;
    const struct place p = parent_for(q, at, &is_left);
    slv_buf_init(b, SLV_DATA_MAX);
    slv_write_number(b, !is_left);
    slv_write_id(b, p.run.writer);
    slv_write_number(b, p.run.n);
    slv_write_number(b, p.i);
}

/* An entry at the prefix and what stands behind it; the bytes are given back. */
static int put(const struct slv_seq_tree *t, struct slv_draft *d, struct slv_str own,
               struct slv_buf *b) {
    struct slv_buf path;
    slv_buf_init(&path, SLV_PATH_MAX);
    slv_buf_add(&path, t->prefix.p, t->prefix.n);
    slv_buf_add(&path, own.p, own.n);
    int rc = path.status ? path.status : b->status;
    if (!rc) rc = slv_draft_put(d, (struct slv_str){path.data, path.len}, b->data, b->len);
    slv_buf_fini(&path);
    slv_buf_fini(b);
    return rc;
}

int slv_seq_insert_text(const struct slv_seq *q, struct slv_draft *d, size_t at,
                        struct slv_str text) {
    struct slv_buf b;
    size_t bad;
    if (at > q->count || !q->is_text) return SLV_E_USAGE;
    if (!slv_utf8_valid(text.p, text.n, &bad)) return SLV_E_FORMAT;
    if (!text.n) return 0;
    write_head(q, at, &b);
    slv_buf_add(&b, text.p, text.n);
    return put(q->tree, d, (struct slv_str){"r", 1}, &b);
}

int slv_seq_insert(const struct slv_seq *q, struct slv_draft *d, size_t at,
                   const struct slv_str *item, size_t n) {
    struct slv_buf b;
    if (at > q->count || q->is_text) return SLV_E_USAGE;
    if (!n) return 0;
    write_head(q, at, &b);
    for (size_t i = 0; i < n; i++)
        slv_write_bytes(&b, item[i].p, item[i].n);
    return put(q->tree, d, (struct slv_str){"r", 1}, &b);
}

/* What is said of a run so far goes. */
static int remove_marks(const struct slv_seq_tree *t, struct slv_draft *d, struct slv_str own) {
    struct slv_buf path;
    slv_buf_init(&path, SLV_PATH_MAX);
    slv_buf_add(&path, t->prefix.p, t->prefix.n);
    slv_buf_add(&path, own.p, own.n);
    int rc = path.status;
    if (!rc) rc = slv_draft_remove(d, (struct slv_str){path.data, path.len}, false);
    slv_buf_fini(&path);
    return rc;
}

static void write_marks(const struct run *r, struct slv_buf *b) {
    for (uint32_t i = 0, last = 0; i < r->n; i++) {
        uint32_t end = i;
        while (end < r->n && r->gone[end])
            end++;
        if (end == i) continue;
        slv_write_number(b, i - last);
        slv_write_number(b, end - i);
        last = i = end;
    }
}

/* Which of a run are gone, in the place of what is said of it so far. */
static int put_marks(const struct slv_seq_tree *t, struct slv_draft *d, const struct run *r) {
    struct slv_buf own, b;
    slv_buf_init(&own, 32);
    slv_buf_addc(&own, 'd');
    slv_write_id(&own, r->dot.writer);
    slv_write_id(&own, r->dot.n);
    int rc = own.status;
    if (!rc) rc = remove_marks(t, d, (struct slv_str){own.data, own.len});
    slv_buf_init(&b, SLV_DATA_MAX);
    write_marks(r, &b);
    if (rc) slv_buf_fini(&b);
    else rc = put(t, d, (struct slv_str){own.data, own.len}, &b);
    slv_buf_fini(&own);
    return rc;
}

/* (Marks are set in the tree, where they are written from; the pieces stay as they were opened.) */
int slv_seq_erase(const struct slv_seq *q, struct slv_draft *d, size_t at, size_t n) {
    const struct slv_seq_tree *t = q->tree;
    int rc = 0;
    if (at > q->count || n > q->count - at) return SLV_E_USAGE;
    uint32_t from = 0;
    for (size_t k = n ? locate(q, at, &from) : 0, left = n; left; k++) {
        const struct slv_seq_piece *p = &q->piece[k];
        const uint32_t begin = left == n ? from : p->from;
        if (p->gone) continue;
        struct run *r = &t->run[find_run(t, p->run->dot)];
        for (uint32_t i = begin; i < p->to && left; i++, left--)
            r->gone[i] = true;
        r->changed = true;
    }
    for (size_t k = 0; k < t->n && !rc; k++) {
        if (t->run[k].changed) rc = put_marks(t, d, &t->run[k]);
        t->run[k].changed = false;
    }
    return rc;
}
