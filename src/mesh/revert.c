/* revert.c: see revert.h. */
#include "mesh/revert.h"

#include <stdio.h>
#include <string.h>

#define STEPS_MAX 20000u /* each follows a pointer from the root */

bool slv_mesh_type_reverts(enum slv_mesh_type t) {
    return t <= SLV_TYPE_COUNTER || t == SLV_TYPE_LIST || t == SLV_TYPE_TEXT || t == SLV_TYPE_DOC;
}

/* A value as JSON. */
struct side {
    const struct slv_space *s;
    struct slv_buf text;
    struct slv_json_doc doc;
    struct slv_json_val v;
    bool is_there;
};

struct plan {
    struct side was, is;
    struct slv_str key;
    struct slv_buf *ops;
    size_t n;
    struct slv_buf pointer; /* of a document */
    uint64_t steps;         /* looks at places of it */
    int rc;
};

/* --- operations ------------------------------------------------------------------------------- */

struct making {
    struct slv_buf b;
    struct slv_json j;
};

static struct slv_json *begin(struct plan *p, struct making *m, const char *op) {
    slv_buf_init(&m->b, SLV_REVERT_BYTES_MAX);
    slv_json_init(&m->j, &m->b);
    slv_json_object(&m->j, NULL);
    if (op) slv_json_str(&m->j, "op", op);
    if (p->pointer.len) slv_json_strn(&m->j, "pointer", p->pointer.data, p->pointer.len);
    return &m->j;
}

static void end(struct plan *p, struct making *m) {
    slv_json_object_end(&m->j);
    slv_write_bytes(p->ops, m->b.data, m->b.len);
    if (!p->rc) p->rc = m->b.status ? m->b.status : p->ops->status;
    if (!p->rc && ++p->n > SLV_REVERT_OPS_MAX) p->rc = SLV_E_LIMIT;
    slv_buf_fini(&m->b);
}

static void emit(struct plan *p, const char *op) {
    struct making m;
    begin(p, &m, op);
    end(p, &m);
}

static void emit_value(struct plan *p, const char *op, struct slv_json_val v) {
    struct making m;
    slv_value_json(begin(p, &m, op), "value", v);
    end(p, &m);
}

static void emit_raw(struct plan *p, const char *op, const char *json) {
    struct making m;
    slv_json_raw(begin(p, &m, op), "value", json, strlen(json));
    end(p, &m);
}

static void emit_number(struct plan *p, const char *op, int64_t by) {
    struct making m;
    slv_json_int(begin(p, &m, op), "value", by);
    end(p, &m);
}

static void emit_difference(struct plan *p, const char *op, struct slv_json_val was,
                            struct slv_json_val is) {
    int64_t a = 0, b = 0, by;
    if (slv_json_get_i64(was, &a) && slv_json_get_i64(is, &b) && !__builtin_sub_overflow(a, b, &by))
        emit_number(p, op, by);
    else p->rc = SLV_E_LIMIT;
}

/* --- comparing -------------------------------------------------------------------------------- */

static bool is_same_text(struct slv_str a, struct slv_str b) {
    return a.n == b.n && (!a.n || !memcmp(a.p, b.p, a.n));
}

static struct slv_str digits(struct slv_json_val v) {
    const struct slv_json_node *n = &v.doc->v[v.i];
    return (struct slv_str){v.doc->text + n->at, n->n};
}

static bool is_same(struct slv_json_val a, struct slv_json_val b) {
    struct slv_json_iter i = {0}, k = {0};
    struct slv_str s, t;
    struct slv_json_val x, y;
    const enum slv_json_kind kind = slv_json_kind(a);
    if (kind != slv_json_kind(b)) return false;
    if (kind == SLV_JSON_NUMBER) return is_same_text(digits(a), digits(b));
    if (kind == SLV_JSON_STRING)
        return slv_json_get_str(a, &s) && slv_json_get_str(b, &t) && is_same_text(s, t);
    if (kind < SLV_JSON_ARRAY) return true;
    if (slv_json_count(a) != slv_json_count(b)) return false;
    while (slv_json_each(a, &i, &s, &x) && slv_json_each(b, &k, &t, &y))
        if (!is_same_text(s, t) || !is_same(x, y)) return false;
    return true;
}

/* What differs of two sequences: elements [from, was) of one, [from, is) of the other. */
struct middle {
    size_t from, was, is;
};

/* Bytes of the character at p. */
static size_t width(const char *p) {
    const unsigned char c = (unsigned char)*p;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

static size_t characters(struct slv_str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

/* In characters; *ret: the bytes that come. (Well-formed, as it was read so.) */
static struct middle differ_text(struct slv_str was, struct slv_str is, struct slv_str *ret) {
    size_t head = 0, tail = 0;
    while (head < was.n && head < is.n && width(was.p + head) == width(is.p + head) &&
           !memcmp(was.p + head, is.p + head, width(was.p + head)))
        head += width(was.p + head);
    while (tail < was.n - head && tail < is.n - head &&
           was.p[was.n - 1 - tail] == is.p[is.n - 1 - tail])
        tail++;
    while (tail && ((unsigned char)was.p[was.n - tail] & 0xc0) == 0x80)
        tail--; /* not within a character */
    const size_t from = characters((struct slv_str){was.p, head});
    *ret = (struct slv_str){was.p + head, was.n - tail - head};
    return (struct middle){from, from + characters(*ret),
                           from + characters((struct slv_str){is.p + head, is.n - tail - head})};
}

static struct slv_json_val element(struct slv_json_val v, size_t i) {
    struct slv_json_iter it = {0};
    struct slv_json_val x = {0};
    for (size_t k = 0; k <= i; k++)
        if (!slv_json_each(v, &it, NULL, &x)) return (struct slv_json_val){0};
    return x;
}

/* Linear: both are gone through from the front, and again as far as they are equal at the end. */
static struct middle differ_list(struct slv_json_val was, struct slv_json_val is) {
    struct slv_json_iter i = {0}, k = {0};
    struct slv_json_val x, y;
    struct middle m = {0, slv_json_count(was), slv_json_count(is)};
    const size_t least = m.was < m.is ? m.was : m.is;
    size_t tail = 0;
    while (m.from < least && slv_json_each(was, &i, NULL, &x) && slv_json_each(is, &k, NULL, &y) &&
           is_same(x, y))
        m.from++;
    i = k = (struct slv_json_iter){0};
    for (size_t at = 0; at < m.was - least; at++)
        (void)slv_json_each(was, &i, NULL, &x);
    for (size_t at = 0; at < m.is - least; at++)
        (void)slv_json_each(is, &k, NULL, &y);
    for (size_t at = 0;
         at < least && slv_json_each(was, &i, NULL, &x) && slv_json_each(is, &k, NULL, &y); at++)
        tail = is_same(x, y) ? tail + 1 : 0;
    if (tail > least - m.from) tail = least - m.from;
    m.was -= tail;
    m.is -= tail;
    return m;
}

/* --- values ----------------------------------------------------------------------------------- */

static void plan_many(struct plan *p) {
    emit_value(p, NULL, element(p->was.v, slv_json_count(p->was.v) - 1));
}

/* Both are in order. */
static void plan_set(struct plan *p) {
    struct slv_json_iter i = {0}, k = {0};
    struct slv_json_val x, y;
    bool was = slv_json_each(p->was.v, &i, NULL, &x), is = slv_json_each(p->is.v, &k, NULL, &y);
    while ((was || is) && !p->rc) {
        struct slv_str a = {"", 0}, b = {"", 0};
        if (was) (void)slv_json_get_str(x, &a);
        if (is) (void)slv_json_get_str(y, &b);
        const int d = !is ? -1 : !was ? 1 : slv_str_compare(a, b);
        if (d < 0) emit_value(p, "add", x);
        if (d > 0) emit_value(p, "remove", y);
        if (d <= 0) was = slv_json_each(p->was.v, &i, NULL, &x);
        if (d >= 0) is = slv_json_each(p->is.v, &k, NULL, &y);
    }
}

static void emit_at(struct plan *p, const char *op, size_t at, struct slv_json_val v, int64_t n) {
    struct making m;
    struct slv_json *j = begin(p, &m, op);
    if (v.doc) slv_value_json(j, "value", v);
    else slv_json_int(j, "value", n);
    slv_json_uint(j, "at", at);
    end(p, &m);
}

static void plan_list(struct plan *p) {
    const struct slv_json_val none = {0};
    const struct middle m = differ_list(p->was.v, p->is.v);
    struct slv_json_iter it = {0};
    struct slv_json_val x;
    if (m.is > m.from) emit_at(p, "remove", m.from, none, (int64_t)(m.is - m.from));
    for (size_t i = 0; i < m.was && slv_json_each(p->was.v, &it, NULL, &x) && !p->rc; i++)
        if (i >= m.from) emit_at(p, "insert", i, x, 0);
}

static void plan_text(struct plan *p) {
    const struct slv_json_val none = {0};
    struct slv_str was, is, come;
    struct making k;
    if (!slv_json_get_str(p->was.v, &was) || !slv_json_get_str(p->is.v, &is)) return;
    const struct middle m = differ_text(was, is, &come);
    if (m.is > m.from) emit_at(p, "remove", m.from, none, (int64_t)(m.is - m.from));
    if (!come.n) return;
    struct slv_json *j = begin(p, &k, "insert");
    slv_json_strn(j, "value", come.p, come.n);
    slv_json_uint(j, "at", m.from);
    end(p, &k);
}

/* --- documents -------------------------------------------------------------------------------- */

static void step(struct plan *p, struct slv_str name) {
    slv_buf_addc(&p->pointer, '/');
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '~') slv_buf_adds(&p->pointer, "~0");
        else if (name.p[i] == '/') slv_buf_adds(&p->pointer, "~1");
        else slv_buf_addc(&p->pointer, name.p[i]);
    }
    if (!p->rc) p->rc = p->pointer.status;
}

static void step_index(struct plan *p, size_t i) {
    char text[24];
    const int n = snprintf(text, sizeof text, "%zu", i);
    step(p, (struct slv_str){text, (size_t)n});
}

static void back(struct plan *p, size_t len) {
    p->pointer.len = len;
    if (p->pointer.data) p->pointer.data[len] = '\0';
}

static enum slv_doc_kind kind_in(struct plan *p, const struct side *s) {
    if (++p->steps > STEPS_MAX && !p->rc) p->rc = SLV_E_LIMIT;
    if (p->rc) return SLV_DOC_NOTHING;
    return slv_doc_kind(s->s, p->key, (struct slv_str){p->pointer.data, p->pointer.len});
}

/* No texts and counters are in it, which JSON would not tell from strings and numbers. */
static bool is_plain(struct plan *p, struct slv_json_val v) {
    const size_t len = p->pointer.len;
    const enum slv_doc_kind kind = kind_in(p, &p->was);
    struct slv_json_iter it = {0};
    struct slv_str name;
    struct slv_json_val x;
    bool is = kind != SLV_DOC_TEXT && kind != SLV_DOC_COUNTER;
    for (size_t i = 0; is && !p->rc && slv_json_each(v, &it, &name, &x); i++) {
        if (kind == SLV_DOC_LIST) step_index(p, i);
        else step(p, name);
        is = is_plain(p, x);
        back(p, len);
    }
    return is;
}

/* It comes where nothing is, or in the place of something else. */
static void restore(struct plan *p, struct slv_json_val v, bool is_there) {
    const size_t len = p->pointer.len;
    const enum slv_doc_kind kind = kind_in(p, &p->was);
    struct slv_json_iter it = {0};
    struct slv_str name;
    struct slv_json_val x;
    int64_t n = 0;
    if (is_plain(p, v)) {
        emit_value(p, "set", v);
        return;
    }
    if (kind == SLV_DOC_TEXT) emit_value(p, "text", v);
    if (kind == SLV_DOC_COUNTER && is_there) emit(p, "remove");
    if (kind == SLV_DOC_COUNTER && slv_json_get_i64(v, &n)) emit_number(p, "count", n);
    if (kind == SLV_DOC_TEXT || kind == SLV_DOC_COUNTER) return;
    emit_raw(p, "set", kind == SLV_DOC_LIST ? "[]" : "{}");
    for (size_t i = 0; slv_json_each(v, &it, &name, &x) && !p->rc; i++) {
        if (kind == SLV_DOC_LIST) step_index(p, i);
        else step(p, name);
        if (kind == SLV_DOC_LIST) emit_raw(p, "insert", "null");
        restore(p, x, kind == SLV_DOC_LIST);
        back(p, len);
    }
}

static void plan_place(struct plan *p, struct slv_json_val was, struct slv_json_val is);

static struct slv_json_val member(struct plan *p, struct slv_json_val v, struct slv_str name) {
    struct slv_json_iter it = {0};
    struct slv_json_val x;
    struct slv_str s;
    while (slv_json_each(v, &it, &s, &x) && !p->rc) {
        if (is_same_text(s, name)) return x;
        if (++p->steps > STEPS_MAX * 50) p->rc = SLV_E_LIMIT;
    }
    return (struct slv_json_val){0};
}

static void plan_members(struct plan *p, struct slv_json_val was, struct slv_json_val is) {
    const size_t len = p->pointer.len;
    struct slv_json_iter it = {0};
    struct slv_json_val x;
    struct slv_str name;
    while (slv_json_each(was, &it, &name, &x) && !p->rc) {
        const struct slv_json_val y = member(p, is, name);
        step(p, name);
        if (y.doc) plan_place(p, x, y);
        else restore(p, x, false);
        back(p, len);
    }
    it = (struct slv_json_iter){0};
    while (slv_json_each(is, &it, &name, &x) && !p->rc) {
        if (member(p, was, name).doc) continue;
        step(p, name);
        emit(p, "remove");
        back(p, len);
    }
}

static void plan_elements(struct plan *p, struct slv_json_val was, struct slv_json_val is) {
    const size_t len = p->pointer.len;
    const struct middle m = differ_list(was, is);
    struct slv_json_iter a = {0}, b = {0};
    struct slv_json_val x, y = {0};
    for (size_t i = m.from; i < m.is && m.was != m.is && !p->rc; i++) {
        step_index(p, m.from);
        emit(p, "remove");
        back(p, len);
    }
    for (size_t i = 0; i < m.was && !p->rc && slv_json_each(was, &a, NULL, &x); i++) {
        if (m.was == m.is) (void)slv_json_each(is, &b, NULL, &y);
        if (i < m.from) continue;
        step_index(p, i);
        if (m.was == m.is) {
            plan_place(p, x, y);
        } else {
            emit_raw(p, "insert", "null");
            restore(p, x, true);
        }
        back(p, len);
    }
}

static void edit(struct plan *p, struct slv_json_val was, struct slv_json_val is) {
    struct slv_str a, b, come;
    struct making k;
    if (!slv_json_get_str(was, &a) || !slv_json_get_str(is, &b)) return;
    const struct middle m = differ_text(a, b, &come);
    struct slv_json *j = begin(p, &k, "edit");
    slv_json_strn(j, "value", come.p, come.n);
    slv_json_uint(j, "at", m.from);
    slv_json_uint(j, "gone", m.is - m.from);
    end(p, &k);
}

static void plan_place(struct plan *p, struct slv_json_val was, struct slv_json_val is) {
    const enum slv_doc_kind a = kind_in(p, &p->was), b = kind_in(p, &p->is);
    if (p->rc || (a == b && is_same(was, is))) return;
    if (a != b) restore(p, was, true);
    else if (a == SLV_DOC_OBJECT) plan_members(p, was, is);
    else if (a == SLV_DOC_LIST) plan_elements(p, was, is);
    else if (a == SLV_DOC_TEXT) edit(p, was, is);
    else if (a == SLV_DOC_COUNTER) emit_difference(p, "count", was, is);
    else restore(p, was, true);
}

/* --- the plan --------------------------------------------------------------------------------- */

static int read_side(enum slv_mesh_type type, struct slv_str key, struct side *s) {
    struct slv_json j;
    struct slv_err err;
    slv_buf_init(&s->text, (size_t)16 << 20);
    slv_json_init(&j, &s->text);
    int rc = slv_value_read(s->s, type, key, 0, &j, NULL, &s->is_there);
    if (!rc) rc = slv_json_read(s->text.data, s->text.len, &s->doc, &err);
    s->v = slv_json_root(&s->doc);
    return rc;
}

static void plan(enum slv_mesh_type type, struct plan *p) {
    const bool same = p->was.is_there == p->is.is_there && is_same(p->was.v, p->is.v);
    if (same && type != SLV_TYPE_DOC) return;
    if (!p->was.is_there && !p->is.is_there) return;
    if (!p->was.is_there) emit(p, "delete");
    else if (type == SLV_TYPE_MANY) plan_many(p);
    else if (type == SLV_TYPE_SET) plan_set(p);
    else if (type == SLV_TYPE_COUNTER) emit_difference(p, "add", p->was.v, p->is.v);
    else if (type == SLV_TYPE_LIST) plan_list(p);
    else if (type == SLV_TYPE_TEXT) plan_text(p);
    else if (type != SLV_TYPE_DOC) emit_value(p, NULL, p->was.v);
    else if (p->is.is_there) plan_place(p, p->was.v, p->is.v);
    else restore(p, p->was.v, false);
}

static void end_side(struct side *s) {
    slv_json_doc_fini(&s->doc);
    slv_buf_fini(&s->text);
}

int slv_revert_plan(enum slv_mesh_type type, const struct slv_space *before,
                    const struct slv_space *now, struct slv_str key, struct slv_buf *ops,
                    size_t *ret_n) {
    struct plan p = {.was = {.s = before}, .is = {.s = now}, .key = key, .ops = ops};
    if (!slv_mesh_type_reverts(type)) return SLV_E_USAGE;
    slv_buf_init(&p.pointer, SLV_PATH_MAX);
    p.rc = read_side(type, key, &p.was);
    if (!p.rc) p.rc = read_side(type, key, &p.is);
    if (!p.rc) plan(type, &p);
    end_side(&p.was);
    end_side(&p.is);
    slv_buf_fini(&p.pointer);
    *ret_n = p.n;
    return p.rc;
}
