/* doc.c: see doc.h. */
#include "mesh/doc.h"
#include "base/json.h"
#include "base/jsonin.h"

/* --- paths ------------------------------------------------------------------------------------ */

/* A place's path, to which steps are added and taken off again. */
struct path {
    struct slv_buf b;
    unsigned depth;
};

static void open_path(struct path *p) {
    *p = (struct path){.depth = 0};
    slv_buf_init(&p->b, SLV_PATH_MAX);
}

static struct slv_str path_str(const struct path *p) {
    return (struct slv_str){p->b.data, p->b.len};
}

static void cut_path(struct path *p, size_t len) {
    if (p->b.len > len) p->b.data[p->b.len = len] = '\0';
}

static void step_member(struct path *p, struct slv_str name) {
    p->depth++;
    slv_buf_addc(&p->b, '.');
    for (size_t i = 0; i < name.n; i++) {
        slv_buf_addc(&p->b, name.p[i]);
        if (!name.p[i]) slv_buf_addc(&p->b, 1);
    }
    slv_buf_add(&p->b, "\0", 2);
}

static void step_name(struct path *p, struct slv_dot run, uint32_t i) {
    const char at[4] = {(char)(i >> 24), (char)(i >> 16), (char)(i >> 8), (char)i};
    p->depth++;
    slv_buf_addc(&p->b, '@');
    slv_write_id(&p->b, run.writer);
    slv_write_id(&p->b, run.n);
    slv_buf_add(&p->b, at, sizeof at);
}

/* Element i of a list. */
static void step_element(struct path *p, const struct slv_seq *q, size_t i) {
    uint32_t at;
    const struct slv_dot run = slv_seq_name(q, i, &at);
    step_name(p, run, at);
}

/* Where the sequence of a list or text begins. */
static void step_sequence(struct path *p, struct slv_dot name) {
    slv_buf_addc(&p->b, '#');
    slv_write_id(&p->b, name.writer);
    slv_write_id(&p->b, name.n);
}

static int path_status(const struct path *p) {
    return p->b.status ? p->b.status : p->depth > SLV_DOC_DEPTH ? SLV_E_LIMIT : 0;
}

/* --- what is at a place ----------------------------------------------------------------------- */

enum kind { NOTHING = 0, SCALAR = 'v', OBJECT = '{', LIST = '[', TEXT = 't', COUNTER = '+' };

struct here {
    enum kind kind;
    uint64_t stamp;
    struct slv_dot name;   /* of a list or text */
    struct slv_str scalar; /* as JSON */
};

struct view {
    const struct slv_space *s;
    struct slv_str key;
};

/* False: the entry is none. */
static bool read_here(const struct slv_entry *e, struct here *ret) {
    struct slv_reader r = slv_reader_of(e->bytes + e->n_path, e->n_data);
    *ret = (struct here){.stamp = slv_read_id(&r)};
    const struct slv_str kind = slv_read_raw(&r, 1);
    if (r.bad) return false;
    ret->kind = (enum kind)kind.p[0];
    if (ret->kind == LIST || ret->kind == TEXT) {
        ret->name.writer = slv_read_id(&r);
        ret->name.n = slv_read_number(&r, SLV_DOT_MAX);
    }
    if (ret->kind == SCALAR) ret->scalar = slv_read_raw(&r, slv_reader_left(&r));
    return slv_reader_done(&r) && kind.p[0] && strchr("v{[t+", kind.p[0]);
}

/* The latest stamp of what is below a prefix; false: there is nothing. */
static bool latest_below(const struct view *v, struct slv_str prefix, uint64_t *ret) {
    struct slv_walk w = slv_walk_of(v->s, v->key, prefix);
    const struct slv_entry *e;
    bool any = false;
    *ret = 0;
    while ((e = slv_walk_next(&w)) != NULL) {
        struct here h;
        if (e->bytes[e->n_path - 1] != '=' || !read_here(e, &h)) continue;
        if (h.stamp > *ret) *ret = h.stamp;
        any = true;
    }
    return any;
}

/* The path is as before when it returns. */
static struct here find_here(const struct view *v, struct path *p) {
    const size_t len = p->b.len;
    struct here best = {.kind = NOTHING}, h;
    const struct slv_entry *e;
    uint64_t below;
    slv_buf_addc(&p->b, '=');
    struct slv_walk w = slv_walk_of(v->s, v->key, path_str(p));
    while ((e = slv_walk_next(&w)) != NULL)
        if (e->n_path == len + 1 && read_here(e, &h) &&
            (best.kind == NOTHING || h.stamp >= best.stamp))
            best = h;
    cut_path(p, len);
    slv_buf_addc(&p->b, '.');
    const bool members = latest_below(v, path_str(p), &below);
    cut_path(p, len);
    if (members && best.kind != OBJECT && (best.kind == NOTHING || below > best.stamp))
        best = (struct here){.kind = OBJECT, .stamp = below};
    return best;
}

/* --- reading ---------------------------------------------------------------------------------- */

static int read_place(const struct view *v, struct path *p, struct slv_buf *out);

/* The name at the front of a path behind a "."; how many bytes it took, 0: none. */
static size_t take_name(struct slv_str path, struct slv_buf *ret) {
    slv_buf_clear(ret);
    for (size_t i = 0; i + 1 < path.n; i++) {
        if (path.p[i]) {
            slv_buf_addc(ret, path.p[i]);
        } else if (path.p[i + 1] == 1) {
            slv_buf_addc(ret, '\0');
            i++;
        } else {
            return path.p[i + 1] ? 0 : i + 2;
        }
    }
    return 0;
}

/* Writes a comma before what is not the first. */
static size_t begin_item(struct slv_buf *out, bool first) {
    const size_t len = out->len;
    if (!first) slv_buf_addc(out, ',');
    return len;
}

/* Takes back what was begun for something that is not there. */
static void drop_item(struct slv_buf *out, size_t len) {
    if (out->len > len) out->data[out->len = len] = '\0';
}

/* The first entry behind all of those below a member's path, which ends with a zero. */
static uint64_t rank_behind(const struct view *v, struct slv_buf *member) {
    member->data[member->len - 1] = 1;
    const struct slv_place at = {.key = v->key, .path = {member->data, member->len}};
    const uint64_t rank = slv_entries_rank(v->s->entries, &at);
    member->data[member->len - 1] = '\0';
    return rank;
}

static int read_object(const struct view *v, struct path *p, struct slv_buf *out) {
    const size_t len = p->b.len;
    struct slv_buf name;
    const struct slv_entry *e;
    bool first = true;
    int rc = 0;
    slv_buf_init(&name, SLV_PATH_MAX);
    slv_buf_addc(&p->b, '.');
    struct slv_walk w = slv_walk_of(v->s, v->key, path_str(p));
    slv_buf_addc(out, '{');
    while (!rc && !p->b.status && (w.prefix = path_str(p), e = slv_walk_next(&w)) != NULL) {
        const struct slv_str left = {e->bytes + len + 1, e->n_path - len - 1};
        if (!take_name(left, &name)) continue;
        cut_path(p, len);
        step_member(p, (struct slv_str){name.data, name.len});
        const size_t item = begin_item(out, first);
        slv_buf_addc(out, '"');
        slv_json_escape(out, name.data, name.len);
        slv_buf_adds(out, "\":");
        rc = p->b.status ? p->b.status : read_place(v, p, out);
        if (rc == SLV_E_NOENT) drop_item(out, item);
        else first = false;
        if (rc == SLV_E_NOENT) rc = 0;
        if (!rc) w.rank = rank_behind(v, &p->b);
        p->depth--;
        cut_path(p, len + 1);
    }
    slv_buf_addc(out, '}');
    cut_path(p, len);
    slv_buf_fini(&name);
    return rc ? rc : p->b.status;
}

/* The sequence of a list or text. Its prefix is in *prefix, which is the caller's to give back. */
static int open_sequence(const struct view *v, const struct path *p, const struct here *h,
                         struct path *prefix, struct slv_seq *ret) {
    open_path(prefix);
    slv_buf_add(&prefix->b, p->b.data, p->b.len);
    step_sequence(prefix, h->name);
    const int rc = prefix->b.status
                       ? prefix->b.status
                       : slv_seq_open(v->s, v->key, path_str(prefix), h->kind == TEXT, ret);
    if (rc) slv_buf_fini(&prefix->b);
    return rc;
}

static int read_list(const struct view *v, struct path *p, const struct here *h,
                     struct slv_buf *out) {
    const size_t len = p->b.len;
    struct path prefix;
    struct slv_seq q;
    int rc = open_sequence(v, p, h, &prefix, &q);
    if (rc) return rc;
    bool first = true;
    slv_buf_addc(out, '[');
    for (size_t i = 0; i < q.count && !rc; i++) {
        const size_t item = begin_item(out, first);
        step_element(p, &q, i);
        rc = p->b.status ? p->b.status : read_place(v, p, out);
        if (rc == SLV_E_NOENT) slv_buf_adds(out, "null"); /* its value has not come yet */
        if (rc == SLV_E_NOENT) rc = 0;
        if (rc) drop_item(out, item);
        first = false;
        p->depth--;
        cut_path(p, len);
    }
    slv_buf_addc(out, ']');
    slv_seq_close(&q);
    slv_buf_fini(&prefix.b);
    return rc;
}

static int read_text(const struct view *v, const struct path *p, const struct here *h,
                     struct slv_buf *out) {
    struct path prefix;
    struct slv_seq q;
    struct slv_buf text;
    const int rc = open_sequence(v, p, h, &prefix, &q);
    if (rc) return rc;
    slv_buf_init(&text, SLV_SEQ_MAX * 4);
    slv_seq_text(&q, &text);
    slv_buf_addc(out, '"');
    slv_json_escape(out, text.data, text.len);
    slv_buf_addc(out, '"');
    const int status = text.status;
    slv_buf_fini(&text);
    slv_seq_close(&q);
    slv_buf_fini(&prefix.b);
    return status;
}

static void read_counter(const struct view *v, struct path *p, struct slv_buf *out) {
    const size_t len = p->b.len;
    slv_buf_addc(&p->b, '+');
    slv_buf_addf(out, "%lld", (long long)slv_read_count_at(v->s, v->key, path_str(p)));
    cut_path(p, len);
}

static int read_place(const struct view *v, struct path *p, struct slv_buf *out) {
    const struct here h = find_here(v, p);
    int rc = path_status(p);
    if (rc) return rc;
    switch (h.kind) {
    case NOTHING:
        return SLV_E_NOENT;
    case SCALAR:
        slv_buf_add(out, h.scalar.p, h.scalar.n);
        break;
    case OBJECT:
        rc = read_object(v, p, out);
        break;
    case LIST:
        rc = read_list(v, p, &h, out);
        break;
    case TEXT:
        rc = read_text(v, p, &h, out);
        break;
    case COUNTER:
        read_counter(v, p, out);
        break;
    }
    return rc ? rc : out->status;
}

/* --- pointers --------------------------------------------------------------------------------- */

/* The next step of a pointer, without "/" and "~"; false: there is none. */
static bool take_token(struct slv_str *left, struct slv_buf *ret, int *rc) {
    slv_buf_clear(ret);
    if (!left->n || *rc) return false;
    if (left->p[0] != '/') *rc = SLV_E_FORMAT;
    size_t i = 1;
    for (; i < left->n && left->p[i] != '/' && !*rc; i++) {
        const char c = left->p[i];
        const char next = i + 1 < left->n ? left->p[i + 1] : '\0';
        if (c != '~') slv_buf_addc(ret, c);
        else if (next == '0' || next == '1') slv_buf_addc(ret, next == '0' ? '~' : '/'), i++;
        else *rc = SLV_E_FORMAT;
    }
    *left = (struct slv_str){left->p + i, left->n - i};
    if (!*rc) *rc = ret->status;
    return !*rc;
}

/* A number without leading zeros; "-": count. */
static bool read_index(const struct slv_buf *token, size_t count, size_t *ret) {
    size_t n = 0;
    if (token->len == 1 && token->data[0] == '-') {
        *ret = count;
        return true;
    }
    if (!token->len || token->len > 9 || (token->data[0] == '0' && token->len > 1)) return false;
    for (size_t i = 0; i < token->len; i++) {
        if (token->data[i] < '0' || token->data[i] > '9') return false;
        n = n * 10 + (size_t)(token->data[i] - '0');
    }
    *ret = n;
    return true;
}

/* One step down: into a member, which need not be there, or an element. */
static int step(const struct view *v, struct path *p, const struct slv_buf *token) {
    const struct here h = find_here(v, p);
    if (h.kind == OBJECT || (h.kind == NOTHING && !p->b.len)) {
        step_member(p, (struct slv_str){token->data, token->len});
        return path_status(p);
    }
    if (h.kind != LIST) return SLV_E_NOENT;
    struct path prefix;
    struct slv_seq q;
    size_t i;
    int rc = open_sequence(v, p, &h, &prefix, &q);
    if (rc) return rc;
    if (!read_index(token, q.count, &i) || i >= q.count) rc = SLV_E_NOENT;
    else step_element(p, &q, i);
    slv_seq_close(&q);
    slv_buf_fini(&prefix.b);
    return rc ? rc : path_status(p);
}

/* What is written to say that a place is there. */
static int put_here(struct slv_draft *d, struct path *p, const struct here *h);

/* Follows a pointer. What follows the last "/" is left in *last, where that is wanted, and the path
 * ends before it. Lists on the way are told that something in them was written, where
 * a draft is. */
static int follow(const struct view *v, struct slv_str pointer, struct path *p, struct slv_draft *d,
                  struct slv_buf *last) {
    struct slv_buf token;
    int rc = 0;
    slv_buf_init(&token, SLV_PATH_MAX);
    while (take_token(&pointer, &token, &rc)) {
        if (last && !pointer.n) {
            slv_buf_clear(last);
            slv_buf_add(last, token.data, token.len);
            break;
        }
        const struct here h = find_here(v, p);
        if (d && h.kind == LIST) rc = put_here(d, p, &h);
        if (!rc) rc = step(v, p, &token);
    }
    slv_buf_fini(&token);
    return rc;
}

int slv_doc_read(const struct slv_space *s, struct slv_str key, struct slv_str pointer,
                 struct slv_buf *ret) {
    const struct view v = {s, key};
    struct path p;
    open_path(&p);
    int rc = follow(&v, pointer, &p, NULL, NULL);
    if (!rc) rc = read_place(&v, &p, ret);
    slv_buf_fini(&p.b);
    return rc;
}

enum slv_doc_kind slv_doc_kind(const struct slv_space *s, struct slv_str key,
                               struct slv_str pointer) {
    const struct view v = {s, key};
    struct here h = {.kind = NOTHING};
    struct path p;
    open_path(&p);
    if (!follow(&v, pointer, &p, NULL, NULL)) h = find_here(&v, &p);
    slv_buf_fini(&p.b);
    switch (h.kind) {
    case NOTHING:
        return SLV_DOC_NOTHING;
    case SCALAR:
        return SLV_DOC_SCALAR;
    case OBJECT:
        return SLV_DOC_OBJECT;
    case LIST:
        return SLV_DOC_LIST;
    case TEXT:
        return SLV_DOC_TEXT;
    case COUNTER:
        return SLV_DOC_COUNTER;
    }
    return SLV_DOC_NOTHING;
}

/* --- writing ---------------------------------------------------------------------------------- */

static int put_here(struct slv_draft *d, struct path *p, const struct here *h) {
    const size_t len = p->b.len;
    struct slv_buf data;
    slv_buf_init(&data, SLV_DATA_MAX);
    slv_write_id(&data, d->stamp);
    slv_buf_addc(&data, (char)h->kind);
    if (h->kind == LIST || h->kind == TEXT) {
        slv_write_id(&data, h->name.writer);
        slv_write_number(&data, h->name.n);
    }
    slv_buf_add(&data, h->scalar.p, h->scalar.n);
    slv_buf_addc(&p->b, '=');
    int rc = p->b.status ? p->b.status : data.status;
    if (!rc) rc = slv_draft_remove(d, path_str(p), false);
    if (!rc) rc = slv_draft_put(d, path_str(p), data.data, data.len);
    cut_path(p, len);
    slv_buf_fini(&data);
    return rc;
}

/* The dot of the entry that is put in next: a name that is nobody else's. */
static struct slv_dot next_dot(const struct slv_draft *d) {
    return slv_op_entry_dot(&d->op, d->op.n);
}

static int put_value(struct slv_draft *d, struct path *p, struct slv_json_val v);

static int put_members(struct slv_draft *d, struct path *p, struct slv_json_val v) {
    const size_t len = p->b.len;
    struct slv_json_iter it = {0};
    struct slv_str name;
    struct slv_json_val member;
    int rc = put_here(d, p, &(struct here){.kind = OBJECT});
    while (!rc && slv_json_each(v, &it, &name, &member)) {
        step_member(p, name);
        rc = path_status(p);
        if (!rc) rc = put_value(d, p, member);
        p->depth--;
        cut_path(p, len);
    }
    return rc;
}

/* So many elements without bytes of their own, before element `at` of a sequence.
 * Their run's dot. */
static int put_elements(const struct slv_seq *q, struct slv_draft *d, size_t at, size_t n,
                        struct slv_dot *ret) {
    struct slv_str *none = slv_arena_calloc(&d->arena, n + 1, sizeof *none);
    if (!none) return SLV_E_NOMEM;
    *ret = next_dot(d);
    return slv_seq_insert(q, d, at, none, n);
}

/* The list's name is the dot of the entry that says that it is there. */
static int put_list(struct slv_draft *d, struct path *p, struct slv_json_val v) {
    const size_t len = p->b.len;
    const struct view nothing = {d->space, d->op.key};
    const struct here h = {.kind = LIST, .name = next_dot(d)};
    struct slv_json_iter it = {0};
    struct slv_json_val item;
    struct slv_seq q;
    struct slv_dot run = {0, 0};
    struct path prefix;
    int rc = put_here(d, p, &h);
    if (!rc) rc = open_sequence(&nothing, p, &h, &prefix, &q);
    if (rc) return rc;
    rc = put_elements(&q, d, 0, slv_json_count(v), &run);
    for (uint32_t i = 0; !rc && slv_json_each(v, &it, NULL, &item); i++) {
        step_name(p, run, i);
        rc = path_status(p);
        if (!rc) rc = put_value(d, p, item);
        p->depth--;
        cut_path(p, len);
    }
    slv_seq_close(&q);
    slv_buf_fini(&prefix.b);
    return rc;
}

/* A scalar as JSON writes it again: numbers as they were, strings with this writer's escapes. */
static int put_scalar(struct slv_draft *d, struct path *p, struct slv_json_val v) {
    static const char *const words[] = {
        [SLV_JSON_NULL] = "null", [SLV_JSON_FALSE] = "false", [SLV_JSON_TRUE] = "true"};
    const enum slv_json_kind kind = slv_json_kind(v);
    const struct slv_json_node *node = &v.doc->v[v.i];
    struct slv_buf b;
    slv_buf_init(&b, SLV_DATA_MAX);
    if (kind == SLV_JSON_STRING) {
        struct slv_str s = {"", 0};
        if (!slv_json_get_str(v, &s)) s = (struct slv_str){"", 0};
        slv_buf_addc(&b, '"');
        slv_json_escape(&b, s.p, s.n);
        slv_buf_addc(&b, '"');
    } else if (kind == SLV_JSON_NUMBER) {
        slv_buf_add(&b, v.doc->text + node->at, node->n);
    } else {
        slv_buf_adds(&b, words[kind]);
    }
    const struct here h = {.kind = SCALAR, .scalar = {b.data, b.len}};
    const int rc = b.status ? b.status : put_here(d, p, &h);
    slv_buf_fini(&b);
    return rc;
}

static int put_value(struct slv_draft *d, struct path *p, struct slv_json_val v) {
    const enum slv_json_kind kind = slv_json_kind(v);
    return kind == SLV_JSON_OBJECT  ? put_members(d, p, v)
           : kind == SLV_JSON_ARRAY ? put_list(d, p, v)
                                    : put_scalar(d, p, v);
}

/* Reads a value and puts it where the path ends, in the place of all that is there. */
static int put_json(struct slv_draft *d, struct path *p, struct slv_str json) {
    struct slv_json_doc doc;
    int rc = slv_draft_remove(d, path_str(p), true);
    if (!rc) rc = slv_json_read(json.p, json.n, &doc, NULL);
    if (rc) return rc;
    rc = put_value(d, p, slv_json_root(&doc));
    slv_json_doc_fini(&doc);
    return rc;
}

/* Follows the pointer; what is done at its end is the caller's. */
static int open_place(struct slv_draft *d, struct slv_str pointer, struct path *p,
                      struct slv_buf *last, struct view *ret) {
    *ret = (struct view){d->space, d->op.key};
    open_path(p);
    return d->type == SLV_TYPE_DOC ? follow(ret, pointer, p, d, last) : SLV_E_USAGE;
}

int slv_doc_set(struct slv_draft *d, struct slv_str pointer, struct slv_str json) {
    struct path p;
    struct view v;
    int rc = open_place(d, pointer, &p, NULL, &v);
    if (!rc) rc = put_json(d, &p, json);
    slv_buf_fini(&p.b);
    return rc;
}

/* Of a sequence that is there or just begins: characters go and come. */
static int edit_text(const struct view *v, struct slv_draft *d, struct path *p,
                     const struct here *h, size_t at, size_t gone, struct slv_str text) {
    struct path prefix;
    struct slv_seq q;
    int rc = open_sequence(v, p, h, &prefix, &q);
    if (rc) return rc;
    if (at > q.count || gone > q.count - at) rc = SLV_E_NOENT;
    if (!rc) rc = slv_seq_insert_text(&q, d, at, text);
    if (!rc) rc = slv_seq_erase(&q, d, at, gone);
    slv_seq_close(&q);
    slv_buf_fini(&prefix.b);
    return rc;
}

int slv_doc_set_text(struct slv_draft *d, struct slv_str pointer, struct slv_str text) {
    struct path p;
    struct view v;
    int rc = open_place(d, pointer, &p, NULL, &v);
    if (!rc) rc = slv_draft_remove(d, path_str(&p), true);
    const struct here h = {.kind = TEXT, .name = next_dot(d)};
    if (!rc) rc = put_here(d, &p, &h);
    if (!rc) rc = edit_text(&v, d, &p, &h, 0, 0, text);
    slv_buf_fini(&p.b);
    return rc;
}

int slv_doc_edit(struct slv_draft *d, struct slv_str pointer, size_t at, size_t gone,
                 struct slv_str text) {
    struct path p;
    struct view v;
    int rc = open_place(d, pointer, &p, NULL, &v);
    const struct here h = rc ? (struct here){.kind = NOTHING} : find_here(&v, &p);
    if (!rc && h.kind != TEXT) rc = h.kind == NOTHING ? SLV_E_NOENT : SLV_E_USAGE;
    if (!rc) rc = put_here(d, &p, &h);
    if (!rc) rc = edit_text(&v, d, &p, &h, at, gone, text);
    slv_buf_fini(&p.b);
    return rc;
}

/* In a list the element itself goes too. */
static int erase_element(const struct view *v, struct slv_draft *d, struct path *p,
                         const struct here *h, const struct slv_buf *token) {
    struct path prefix;
    struct slv_seq q;
    size_t i;
    int rc = open_sequence(v, p, h, &prefix, &q);
    if (rc) return rc;
    if (!read_index(token, q.count, &i) || i >= q.count) rc = SLV_E_NOENT;
    if (!rc) rc = put_here(d, p, h);
    if (!rc) rc = slv_seq_erase(&q, d, i, 1);
    if (!rc) {
        step_element(p, &q, i);
        rc = path_status(p);
    }
    if (!rc) rc = slv_draft_remove(d, path_str(p), true);
    slv_seq_close(&q);
    slv_buf_fini(&prefix.b);
    return rc;
}

int slv_doc_remove(struct slv_draft *d, struct slv_str pointer) {
    struct path p;
    struct view v;
    struct slv_buf last;
    slv_buf_init(&last, SLV_PATH_MAX);
    int rc = open_place(d, pointer, &p, &last, &v);
    const struct here h = rc || !pointer.n ? (struct here){.kind = NOTHING} : find_here(&v, &p);
    if (!rc && h.kind == LIST) {
        rc = erase_element(&v, d, &p, &h, &last);
    } else if (!rc) {
        if (pointer.n) rc = step(&v, &p, &last);
        if (!rc && find_here(&v, &p).kind == NOTHING) rc = SLV_E_NOENT;
        if (!rc) rc = slv_draft_remove(d, path_str(&p), true);
    }
    slv_buf_fini(&last);
    slv_buf_fini(&p.b);
    return rc;
}

int slv_doc_insert(struct slv_draft *d, struct slv_str pointer, struct slv_str json) {
    struct path p, prefix;
    struct view v;
    struct slv_buf last;
    struct slv_seq q;
    struct slv_dot run;
    size_t i;
    slv_buf_init(&last, SLV_PATH_MAX);
    int rc = pointer.n ? open_place(d, pointer, &p, &last, &v) : SLV_E_USAGE;
    if (!pointer.n) open_path(&p);
    const struct here h = rc ? (struct here){.kind = NOTHING} : find_here(&v, &p);
    if (!rc && h.kind != LIST) rc = h.kind == NOTHING ? SLV_E_NOENT : SLV_E_USAGE;
    if (!rc) rc = open_sequence(&v, &p, &h, &prefix, &q);
    if (!rc) {
        if (!read_index(&last, q.count, &i) || i > q.count) rc = SLV_E_NOENT;
        if (!rc) rc = put_here(d, &p, &h);
        if (!rc) rc = put_elements(&q, d, i, 1, &run);
        if (!rc) step_name(&p, run, 0);
        if (!rc) rc = path_status(&p);
        if (!rc) rc = put_json(d, &p, json);
        slv_seq_close(&q);
        slv_buf_fini(&prefix.b);
    }
    slv_buf_fini(&last);
    slv_buf_fini(&p.b);
    return rc;
}

int slv_doc_count(struct slv_draft *d, struct slv_str pointer, int64_t by) {
    struct path p;
    struct view v;
    int rc = open_place(d, pointer, &p, NULL, &v);
    const struct here h = rc ? (struct here){.kind = NOTHING} : find_here(&v, &p);
    if (!rc && h.kind != COUNTER && h.kind != NOTHING) rc = SLV_E_USAGE;
    if (!rc) rc = put_here(d, &p, &(struct here){.kind = COUNTER});
    slv_buf_addc(&p.b, '+');
    if (!rc) rc = p.b.status ? p.b.status : slv_draft_count_at(d, path_str(&p), by);
    slv_buf_fini(&p.b);
    return rc;
}
