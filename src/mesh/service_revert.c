/* service_revert.c: see service.h. Putting back what ops have done: POST /v1/spaces/NAME/revert
 *
 *     {"since_ms", "until_ms", "by", "key" or "prefix", "after", "again", "dry_run"}
 *     {"since_ms", "until_ms", "keys": [{"key","ops":[..]}], "left": [{"key","why"}], "after"}
 *
 * "again": also what was put back before. It is done in pages, each one transaction: while "after"
 * is in the answer there are more keys, and who asks goes on with that and the same "until_ms",
 * which lies before all that the first page wrote. So nothing that is put back is taken for
 * something to be undone. A page ends with a mark (history.h) of the keys that it was about, so
 * that no node undoes the same ops again. */
#include "base/jsonin.h"
#include "base/utf8.h"
#include "mesh/revert.h"
#include "mesh/service_int.h"

#include <string.h>
#include <time.h>

#define PAGE_KEYS 1000u
#define PAGE_BYTES ((size_t)64 << 10) /* of own ops that wait, at which a page ends */

struct wanted {
    struct slv_undo undo;
    struct slv_str key, prefix, after;
    bool has_key, has_until, is_dry, again;
};

struct page {
    struct slv_service *s;
    size_t space;
    const struct wanted *w;
    struct slv_json *j;
    struct slv_buf left;        /* JSON objects with commas between */
    struct slv_str first, last; /* that are put back and not marked; NULL: none */
    struct slv_str after;       /* the last that was looked at */
    uint64_t ticket;            /* of the last write; 0: nothing was written */
    size_t keys;
};

/* --- what is asked ---------------------------------------------------------------------------- */

static bool read_id(struct slv_str hex, uint64_t *ret) {
    *ret = 0;
    for (size_t i = 0; i < hex.n; i++) {
        const char c = hex.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
        *ret = *ret << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return hex.n == 16 && *ret;
}

static bool read_ms(struct slv_json_val v, uint64_t *ret) {
    int64_t n;
    if (!slv_json_get_i64(v, &n) || n < 0) return false;
    *ret = (uint64_t)n;
    return true;
}

static bool read_member(struct slv_str name, struct slv_json_val v, struct wanted *w) {
    struct slv_str s;
    if (slv_str_is(name, "since_ms")) return read_ms(v, &w->undo.from_ms);
    if (slv_str_is(name, "until_ms")) return w->has_until = read_ms(v, &w->undo.to_ms);
    if (slv_str_is(name, "by")) return slv_json_get_str(v, &s) && read_id(s, &w->undo.node);
    if (slv_str_is(name, "key")) return w->has_key = slv_json_get_str(v, &w->key);
    if (slv_str_is(name, "prefix")) return slv_json_get_str(v, &w->prefix);
    if (slv_str_is(name, "after")) return slv_json_get_str(v, &w->after);
    if (slv_str_is(name, "again")) return slv_json_get_bool(v, &w->again);
    return slv_str_is(name, "dry_run") && slv_json_get_bool(v, &w->is_dry);
}

static int read_wanted(struct slv_json_val v, struct wanted *w, struct slv_err *err) {
    struct slv_json_iter it = {0};
    struct slv_str name;
    struct slv_json_val x;
    if (slv_json_kind(v) != SLV_JSON_OBJECT || slv_json_kind(slv_json_get(v, "since_ms")) == 0)
        return slv_err_set(err, SLV_E_FORMAT, "an object with \"since_ms\" is wanted");
    while (slv_json_each(v, &it, &name, &x))
        if (!read_member(name, x, w))
            return slv_err_set(err, SLV_E_FORMAT, "%.*s: not known, or not such a value",
                               (int)(name.n < 40 ? name.n : 40), name.p);
    return 0;
}

/* Others cannot be named in a page, nor by anybody who asks a service. */
static bool is_text(struct slv_str key) {
    return !memchr(key.p, '\0', key.n) && slv_utf8_valid(key.p, key.n, NULL);
}

static bool is_meant(const struct wanted *w, struct slv_str key) {
    const struct slv_str begin = {key.p, key.n < w->prefix.n ? key.n : w->prefix.n};
    if (w->has_key) return !slv_str_compare(key, w->key);
    return !slv_str_compare(begin, w->prefix) &&
           (!w->after.n || slv_str_compare(key, w->after) > 0);
}

/* --- a key ------------------------------------------------------------------------------------ */

static int do_op(struct page *p, struct slv_str key, struct slv_str op, struct slv_err *err) {
    struct slv_json_doc doc = {0};
    struct slv_draft d;
    uint64_t ticket;
    int rc = slv_json_read(op.p, op.n, &doc, err);
    if (rc) return rc;
    rc = slv_node_draft(p->s->conf.node, p->space, key, &d);
    if (!rc) {
        rc = slv_value_write(&d, slv_json_root(&doc), NULL, err);
        if (!rc) rc = slv_node_write(p->s->conf.node, p->space, &d, &ticket);
        if (!rc) p->ticket = ticket;
        slv_draft_close(&d);
    }
    slv_json_doc_fini(&doc);
    return rc;
}

/* (Where there is no memory for it, what was put back would be so once more if asked for again.) */
static void mark(struct page *p) {
    struct slv_node *n = p->s->conf.node;
    struct slv_mark m = {
        .undo = p->w->undo, .by = slv_node_id(n), .first = p->first, .last = p->last};
    struct slv_draft d;
    struct slv_buf path, data;
    uint64_t ticket;
    if (!p->first.p) return;
    p->first.p = NULL;
    if (slv_node_draft(n, p->space, slv_mark_key(), &d)) return;
    m.at_ms = slv_stamp_ms(d.stamp);
    slv_buf_init(&path, 64);
    slv_write_id(&path, m.by);
    slv_write_id(&path, d.stamp);
    slv_buf_init(&data, SLV_MARK_BYTES_MAX);
    slv_mark_write(&m, &data);
    int rc = path.status ? path.status : data.status;
    if (!rc) rc = slv_draft_put(&d, (struct slv_str){path.data, path.len}, data.data, data.len);
    if (!rc) rc = slv_node_write(n, p->space, &d, &ticket);
    if (!rc) p->ticket = ticket;
    slv_draft_close(&d);
    slv_buf_fini(&path);
    slv_buf_fini(&data);
}

static void tell_key(struct page *p, struct slv_str key, const struct slv_buf *ops) {
    struct slv_reader r = slv_reader_of(ops->data, ops->len);
    slv_json_object(p->j, NULL);
    slv_json_strn(p->j, "key", key.p, key.n);
    slv_json_array(p->j, "ops");
    while (slv_reader_left(&r)) {
        const struct slv_str op = slv_read_bytes(&r, SLV_REVERT_BYTES_MAX);
        slv_json_raw(p->j, NULL, op.p, op.n);
    }
    slv_json_array_end(p->j);
    slv_json_object_end(p->j);
}

/* done: how many of its operations. */
static const char *why_left(int rc, bool full, size_t done) {
    if (done)
        return "it is put back in part: what is left of it did not fit, or could not be written";
    if (full) return "the space is full";
    switch (rc) {
    case SLV_E_USAGE:
        return "this node may not write it";
    case SLV_E_LIMIT:
    case SLV_E_BUSY:
        return "too much has changed in it";
    case SLV_E_NOMEM:
        return "out of memory";
    default:
        return "it cannot be written";
    }
}

static void tell_left(struct page *p, struct slv_str key, int rc, size_t done) {
    const bool full = slv_replica_is_full(slv_node_replica(p->s->conf.node, p->space));
    struct slv_json j;
    slv_buf_addc(&p->left, p->left.len ? ',' : '[');
    slv_json_init(&j, &p->left);
    slv_json_object(&j, NULL);
    slv_json_strn(&j, "key", key.p, key.n);
    slv_json_str(&j, "why", why_left(rc, full && rc == SLV_E_LIMIT, done));
    slv_json_object_end(&j);
}

static int plan(const struct page *p, struct slv_undone *u, struct slv_str key, struct slv_buf *ops,
                size_t *ret_n) {
    const struct slv_space *now = slv_node_read(p->s->conf.node, p->space);
    const enum slv_mesh_type type = slv_node_space_conf(p->s->conf.node, p->space)->type;
    struct slv_space before;
    int rc = slv_undone_before(u, now, key, &before);
    if (rc) return rc;
    rc = slv_revert_plan(type, &before, now, key, ops, ret_n);
    slv_space_fini(&before);
    return rc;
}

static void put_back(struct page *p, struct slv_undone *u, struct slv_str key) {
    struct slv_buf ops;
    struct slv_err err = {0};
    size_t n = 0, done = 0;
    slv_buf_init(&ops, SLV_REVERT_BYTES_MAX);
    int rc = plan(p, u, key, &ops, &n);
    struct slv_reader r = slv_reader_of(ops.data, ops.len);
    for (; !rc && !p->w->is_dry && slv_reader_left(&r); done += !rc)
        rc = do_op(p, key, slv_read_bytes(&r, SLV_REVERT_BYTES_MAX), &err);
    if (rc) {
        mark(p);
        tell_left(p, key, rc, done);
    } else if (!p->w->is_dry) {
        if (!p->first.p) p->first = key;
        p->last = key;
    }
    if (!rc && n) tell_key(p, key, &ops);
    slv_buf_fini(&ops);
    p->after = key;
    p->keys++;
}

/* --- a page ----------------------------------------------------------------------------------- */

static bool is_full(const struct page *p) {
    const struct slv_replica *r = slv_node_replica(p->s->conf.node, p->space);
    return p->keys >= PAGE_KEYS || slv_replica_waiting(r) > PAGE_BYTES ||
           p->j->out->len > BODY_MAX / 4;
}

static void fill(struct page *p, struct slv_undone *u) {
    bool more = false;
    slv_json_array(p->j, "keys");
    for (size_t i = 0; i < u->n_key && !more; i++) {
        if (!is_meant(p->w, u->key[i]) || !is_text(u->key[i])) continue;
        more = is_full(p);
        if (!more) put_back(p, u, u->key[i]);
    }
    mark(p);
    slv_json_array_end(p->j);
    if (p->left.len) {
        slv_buf_addc(&p->left, ']');
        slv_json_raw(p->j, "left", p->left.data, p->left.len);
    }
    if (u->excused) slv_json_uint(p->j, "excused", u->excused);
    if (more) slv_json_strn(p->j, "after", p->after.p, p->after.n);
}

static void make_page(struct page *p, struct slv_undone *u) {
    slv_json_object(p->j, NULL);
    slv_json_uint(p->j, "since_ms", p->w->undo.from_ms);
    slv_json_uint(p->j, "until_ms", p->w->undo.to_ms);
    fill(p, u);
    slv_json_object_end(p->j);
}

static int tell_reach(uint64_t ms, struct slv_err *err) {
    const time_t s = (time_t)(ms / 1000);
    struct tm tm;
    char text[32] = "";
    if (gmtime_r(&s, &tm)) strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    return slv_err_set(err, SLV_E_USAGE, "history reaches back to %s.%03uZ, not further", text,
                       (unsigned)(ms % 1000));
}

/* (Of one that was given up, what it wrote is all that is known.) */
static bool has_written(const struct slv_replica *r, uint64_t node) {
    struct slv_replica_writer w;
    for (size_t i = 0; i < slv_replica_writers(r); i++) {
        slv_replica_writer(r, i, &w);
        if (w.node == node) return true;
    }
    return false;
}

static int find(struct slv_service *s, size_t space, struct wanted *w, struct slv_undone *ret,
                struct slv_err *err) {
    const struct slv_replica *r = slv_node_replica(s->conf.node, space);
    const struct slv_history *h = slv_replica_history(r);
    if (!h)
        return slv_err_set(err, SLV_E_USAGE,
                           "this node keeps no history of that space: NAME:TYPE:history=TIME");
    if (!w->is_dry && !slv_node_may(s->conf.node, space, slv_mark_key()))
        return slv_err_set(err, SLV_E_TRUST,
                           "who may write only a part of a space cannot note what was put back");
    if (!w->has_until) w->undo.to_ms = slv_node_mark(s->conf.node);
    const int rc = slv_replica_undone(r, &w->undo, w->again, ret);
    if (rc == SLV_E_NOENT) return tell_reach(slv_history_reach(h), err);
    if (!rc && w->undo.node && !ret->n_op && !ret->excused && !has_written(r, w->undo.node))
        return slv_err_set(err, SLV_E_NOENT, "by: no such node has written to that space");
    return rc ? slv_err_set(err, rc, "too much has changed to be undone at once") : 0;
}

static void answer(struct slv_service *s, struct slv_exchange *x, size_t space,
                   const struct wanted *w, struct slv_undone *u) {
    struct slv_buf b;
    struct slv_json j;
    struct page p = {.s = s, .space = space, .w = w, .j = &j};
    service_begin(&b, &j);
    slv_buf_init(&p.left, BODY_MAX / 4);
    make_page(&p, u);
    slv_buf_fini(&p.left);
    if (!p.ticket) {
        service_reply(s, x, NULL, 200, &b);
        return;
    }
    s->conf.wake(s->conf.ctx);
    if (service_wait(s, x, space, p.ticket, &b)) service_refuse(x, 503, "out of memory");
}

void service_revert(struct slv_service *s, struct slv_exchange *x, const struct service_asked *a) {
    const struct slv_str body = slv_exchange_body(x);
    struct slv_json_doc doc = {0};
    struct slv_err err = {0};
    struct wanted w = {.key = {"", 0}, .prefix = {"", 0}, .after = {"", 0}};
    struct slv_undone u = {0};
    if (a->is_agreed) {
        service_refuse(x, 400, "a strong space keeps no history");
        return;
    }
    if (s->n_waiting >= SLV_SERVICE_WAITING_MAX) {
        service_refuse(x, 503, "too many writes wait for the disk");
        return;
    }
    int rc = slv_json_read(body.p, body.n, &doc, &err);
    if (!rc) rc = read_wanted(slv_json_root(&doc), &w, &err);
    struct slv_replica *r = slv_node_replica(s->conf.node, a->space);
    const bool held = !rc && slv_replica_history(r);
    if (held) slv_replica_hold_history(r, true);
    if (!rc) rc = find(s, a->space, &w, &u, &err);
    if (rc) service_refuse(x, service_status_of(rc), err.msg);
    else answer(s, x, a->space, &w, &u);
    slv_undone_fini(&u);
    if (held) slv_replica_hold_history(r, false);
    slv_json_doc_fini(&doc);
}
