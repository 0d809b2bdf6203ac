/* value.c: see value.h. */
#include "mesh/value.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>

#define TOP_READ 16u /* that are shown */

static const struct slv_str nowhere = {"", 0};

/* --- reading ---------------------------------------------------------------------------------- */

struct reading {
    const struct slv_space *s;
    enum slv_mesh_type type;
    struct slv_str key;
    uint64_t writer;
    struct slv_json *j;
    const char *name;
    int rc;
};

static bool add_string(void *ctx, struct slv_str value) {
    struct reading *r = ctx;
    slv_json_strn(r->j, NULL, value.p, value.n);
    return true;
}

static bool one_string(void *ctx, struct slv_str value) {
    struct reading *r = ctx;
    slv_json_strn(r->j, r->name, value.p, value.n);
    r->name = NULL;
    return false;
}

static void read_last(struct reading *r) {
    const char *name = r->name;
    const size_t len = r->j->out->len;
    slv_read_values(r->s, r->type, r->key, one_string, r);
    if (r->j->out->len == len) slv_json_null(r->j, name);
}

static void read_strings(struct reading *r) {
    slv_json_array(r->j, r->name);
    slv_read_values(r->s, r->type, r->key, add_string, r);
    slv_json_array_end(r->j);
}

static void read_flag(struct reading *r) {
    slv_json_bool(r->j, r->name, slv_read_flag(r->s, r->type, r->key));
}

static void read_count(struct reading *r) {
    slv_json_int(r->j, r->name, slv_read_count(r->s, r->type, r->key));
}

static void read_budget(struct reading *r) {
    slv_json_object(r->j, r->name);
    slv_json_int(r->j, "left", slv_read_count(r->s, r->type, r->key));
    slv_json_uint(r->j, "mine", slv_read_rights(r->s, r->key, r->writer));
    slv_json_object_end(r->j);
}

/* The latest epoch there is, and how long its first part is. */
static bool latest_epoch(const struct reading *r, uint64_t *ret_epoch, size_t *ret_n) {
    struct slv_walk w = slv_walk_of(r->s, r->key, nowhere);
    const struct slv_entry *e;
    bool any = false;
    while ((e = slv_walk_next(&w)) != NULL) {
        struct slv_reader path = slv_reader_of(e->bytes, e->n_path);
        const uint64_t epoch = slv_read_id(&path);
        if (any && epoch == *ret_epoch) continue;
        *ret_epoch = epoch;
        *ret_n = e->n_data / 4;
        any = true;
    }
    return any;
}

static void read_vector(struct reading *r) {
    uint64_t epoch = 0;
    size_t n = 0;
    const bool any = latest_epoch(r, &epoch, &n);
    double *sum = slv_mem_calloc(n ? n : 1, sizeof *sum);
    if (!sum) {
        r->rc = SLV_E_NOMEM;
        return;
    }
    const size_t parts = any ? slv_read_vector(r->s, r->key, epoch, sum, n) : 0;
    slv_json_object(r->j, r->name);
    slv_json_uint(r->j, "epoch", epoch);
    slv_json_uint(r->j, "n", parts);
    slv_json_array(r->j, "sum");
    for (size_t i = 0; i < n; i++)
        slv_json_double(r->j, NULL, sum[i]);
    slv_json_array_end(r->j);
    slv_json_object_end(r->j);
    slv_mem_free(sum);
}

static void read_text(struct reading *r) {
    struct slv_seq q;
    struct slv_buf b;
    r->rc = slv_seq_open(r->s, r->key, nowhere, true, &q);
    if (r->rc) return;
    slv_buf_init(&b, (size_t)64 << 20);
    slv_seq_text(&q, &b);
    r->rc = b.status;
    if (!r->rc) slv_json_strn(r->j, r->name, b.data, b.len);
    slv_buf_fini(&b);
    slv_seq_close(&q);
}

static void read_list(struct reading *r) {
    struct slv_seq q;
    r->rc = slv_seq_open(r->s, r->key, nowhere, false, &q);
    if (r->rc) return;
    slv_json_array(r->j, r->name);
    for (size_t i = 0; i < q.count; i++) {
        const struct slv_str item = slv_seq_at(&q, i);
        slv_json_raw(r->j, NULL, item.p, item.n);
    }
    slv_json_array_end(r->j);
    slv_seq_close(&q);
}

static void read_doc(struct reading *r) {
    struct slv_buf b;
    slv_buf_init(&b, (size_t)64 << 20);
    const int rc = slv_doc_read(r->s, r->key, nowhere, &b);
    if (rc == SLV_E_NOENT) slv_json_null(r->j, r->name);
    else if (rc) r->rc = rc;
    else slv_json_raw(r->j, r->name, b.data, b.len);
    slv_buf_fini(&b);
}

static void read_unique(struct reading *r) {
    slv_json_uint(r->j, r->name, slv_read_unique(r->s, r->key));
}

static void read_top(struct reading *r) {
    struct slv_top_item item[TOP_READ];
    size_t n = 0;
    r->rc = slv_read_top(r->s, r->key, item, TOP_READ, &n);
    if (r->rc) return;
    slv_json_array(r->j, r->name);
    for (size_t i = 0; i < n; i++) {
        slv_json_object(r->j, NULL);
        slv_json_strn(r->j, "value", item[i].value.p, item[i].value.n);
        slv_json_uint(r->j, "count", item[i].count);
        slv_json_uint(r->j, "error", item[i].error);
        slv_json_object_end(r->j);
    }
    slv_json_array_end(r->j);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* An operation and its members. */
struct doing {
    struct slv_draft *d;
    struct slv_json_val value;
    struct slv_str text, pointer, to; /* text: value, where it is a string */
    int64_t number, at, gone, epoch, keep, times;
    bool has_text, has_number, has_at;
    const struct slv_seq *seq;
    const struct slv_value_writers *writers; /* NULL: whom is given to is a writer */
    char why[160];                           /* of what fails, where the code says too little */
};

/* (Its depth is bounded by its reader.) */
void slv_value_json(struct slv_json *j, const char *name, struct slv_json_val v) {
    struct slv_json_iter it = {0};
    struct slv_json_val x;
    struct slv_str s;
    bool on = false;
    const enum slv_json_kind kind = slv_json_kind(v);
    if (kind == SLV_JSON_STRING && slv_json_get_str(v, &s)) slv_json_strn(j, name, s.p, s.n);
    else if (slv_json_get_bool(v, &on)) slv_json_bool(j, name, on);
    else if (kind == SLV_JSON_NUMBER)
        slv_json_raw(j, name, v.doc->text + v.doc->v[v.i].at, v.doc->v[v.i].n);
    else if (kind == SLV_JSON_ARRAY) {
        slv_json_array(j, name);
        while (slv_json_each(v, &it, NULL, &x))
            slv_value_json(j, NULL, x);
        slv_json_array_end(j);
    } else if (kind == SLV_JSON_OBJECT) {
        slv_json_object(j, name);
        while (slv_json_each(v, &it, &s, &x)) {
            char *key = slv_mem_strndup(s.p, s.n);
            if (key) slv_value_json(j, key, x);
            else j->out->status = SLV_E_NOMEM;
            slv_mem_free(key);
        }
        slv_json_object_end(j);
    } else {
        slv_json_null(j, name);
    }
}

static int with_json(struct doing *w, int (*fn)(struct doing *w, struct slv_str json)) {
    struct slv_buf b;
    struct slv_json j;
    slv_buf_init(&b, (size_t)8 << 20);
    slv_json_init(&j, &b);
    slv_value_json(&j, NULL, w->value);
    const int rc = b.status ? b.status : fn(w, (struct slv_str){b.data, b.len});
    slv_buf_fini(&b);
    return rc;
}

static int set_value(struct doing *w) {
    return w->has_text ? slv_draft_assign(w->d, w->text) : SLV_E_FORMAT;
}
static int set_flag(struct doing *w) {
    bool on;
    return slv_json_get_bool(w->value, &on) ? slv_draft_switch(w->d, on) : SLV_E_FORMAT;
}
static int add_element(struct doing *w) {
    return w->has_text ? slv_draft_add(w->d, w->text) : SLV_E_FORMAT;
}
static int drop_element(struct doing *w) {
    return w->has_text ? slv_draft_drop(w->d, w->text) : SLV_E_FORMAT;
}
static int add_number(struct doing *w) {
    const bool good = w->has_number && (w->number >= 0 || w->d->type != SLV_TYPE_GROWING);
    return good ? slv_draft_count(w->d, w->number) : SLV_E_FORMAT;
}
static int mint(struct doing *w) {
    return w->has_number && w->number >= 0 ? slv_draft_mint(w->d, (uint64_t)w->number)
                                           : SLV_E_FORMAT;
}
/* (Others' rights are no part of it, which is what people wonder about.) */
static int tell_rights(struct doing *w, int rc) {
    const struct slv_draft *d = w->d;
    if (rc == SLV_E_BUSY)
        snprintf(w->why, sizeof w->why,
                 "this node may give out %" PRIu64 " of it; the rest is others', who can give",
                 slv_read_rights(d->space, d->op.key, d->op.dot.writer));
    return rc;
}

static int spend(struct doing *w) {
    if (!w->has_number || w->number < 0) return SLV_E_FORMAT;
    return tell_rights(w, slv_draft_spend(w->d, (uint64_t)w->number));
}

static bool read_id(struct slv_str hex, uint64_t *ret) {
    *ret = 0;
    for (size_t i = 0; i < hex.n; i++) {
        const char *digits = "0123456789abcdef", *c = strchr(digits, hex.p[i]);
        if (!c || !*c) return false;
        *ret = *ret << 4 | (uint64_t)(c - digits);
    }
    return hex.n == 16;
}

static int give(struct doing *w) {
    const struct slv_value_writers *all = w->writers;
    uint64_t to;
    if (!w->has_number || w->number <= 0 || !read_id(w->to, &to)) return SLV_E_FORMAT;
    if (all) to = all->of_node(all->ctx, to);
    if (!to || to == w->d->op.dot.writer) {
        snprintf(w->why, sizeof w->why,
                 to ? "that is this node itself"
                    : "%.*s is no node that has written anything yet, as far as is known here",
                 (int)w->to.n, w->to.p);
        return SLV_E_USAGE;
    }
    return tell_rights(w, slv_draft_give(w->d, to, (uint64_t)w->number));
}

static int contribute(struct doing *w) {
    const size_t n = slv_json_kind(w->value) == SLV_JSON_ARRAY ? slv_json_count(w->value) : 0;
    float *v = n && w->epoch >= 0 && w->keep >= 0 ? slv_mem_calloc(n, sizeof *v) : NULL;
    struct slv_json_iter it = {0};
    struct slv_json_val x;
    bool good = v != NULL;
    for (size_t i = 0; good && slv_json_each(w->value, &it, NULL, &x); i++) {
        double number;
        good = slv_json_get_f64(x, &number);
        if (good) v[i] = (float)number;
    }
    const int rc = good ? slv_draft_contribute(w->d, (uint64_t)w->epoch, (uint64_t)w->keep, v, n)
                        : SLV_E_FORMAT;
    slv_mem_free(v);
    if (rc == SLV_E_BUSY)
        snprintf(w->why, sizeof w->why,
                 w->epoch < w->keep ? "an epoch that is not to be kept"
                                    : "this node has contributed to that epoch already");
    return rc;
}

static int see(struct doing *w) {
    return w->has_text ? slv_draft_see(w->d, w->text) : SLV_E_FORMAT;
}
static int tally(struct doing *w) {
    return w->has_text && w->times > 0 ? slv_draft_tally(w->d, w->text, (uint64_t)w->times)
                                       : SLV_E_FORMAT;
}

static int with_seq(struct doing *w, bool is_text,
                    int (*fn)(struct doing *w, const struct slv_seq *q)) {
    struct slv_seq q;
    int rc = slv_seq_open(w->d->space, w->d->op.key, nowhere, is_text, &q);
    if (rc) return rc;
    rc = fn(w, &q);
    slv_seq_close(&q);
    return rc;
}

/* (Without a place: at the end.) */
static size_t place(const struct doing *w, const struct slv_seq *q) {
    return w->has_at && w->at >= 0 ? (size_t)w->at : q->count;
}

static int insert_into_text(struct doing *w, const struct slv_seq *q) {
    return w->has_text ? slv_seq_insert_text(q, w->d, place(w, q), w->text) : SLV_E_FORMAT;
}

static int replace_text(struct doing *w, const struct slv_seq *q) {
    if (!w->has_text) return SLV_E_FORMAT;
    const int rc = q->count ? slv_seq_erase(q, w->d, 0, q->count) : 0;
    return rc || !w->text.n ? rc : slv_seq_insert_text(q, w->d, q->count, w->text);
}

static int insert_item(struct doing *w, struct slv_str json) {
    return slv_seq_insert(w->seq, w->d, place(w, w->seq), &json, 1);
}

static int insert_into_list(struct doing *w, const struct slv_seq *q) {
    w->seq = q;
    return with_json(w, insert_item);
}

static int erase(struct doing *w, const struct slv_seq *q) {
    if (!w->has_number || w->number < 0 || !w->has_at || w->at < 0) return SLV_E_FORMAT;
    return slv_seq_erase(q, w->d, (size_t)w->at, (size_t)w->number);
}

static int text_set(struct doing *w) { return with_seq(w, true, replace_text); }
static int text_insert(struct doing *w) { return with_seq(w, true, insert_into_text); }
static int text_remove(struct doing *w) { return with_seq(w, true, erase); }
static int list_insert(struct doing *w) { return with_seq(w, false, insert_into_list); }
static int list_remove(struct doing *w) { return with_seq(w, false, erase); }

static int set_json(struct doing *w, struct slv_str json) {
    return slv_doc_set(w->d, w->pointer, json);
}
static int insert_json(struct doing *w, struct slv_str json) {
    return slv_doc_insert(w->d, w->pointer, json);
}
static int doc_set(struct doing *w) { return with_json(w, set_json); }
static int doc_insert(struct doing *w) { return with_json(w, insert_json); }
static int doc_remove(struct doing *w) { return slv_doc_remove(w->d, w->pointer); }
static int doc_text(struct doing *w) {
    return w->has_text ? slv_doc_set_text(w->d, w->pointer, w->text) : SLV_E_FORMAT;
}
static int doc_count(struct doing *w) {
    return w->has_number ? slv_doc_count(w->d, w->pointer, w->number) : SLV_E_FORMAT;
}
static int doc_edit(struct doing *w) {
    if (!w->has_text || w->at < 0 || w->gone < 0) return SLV_E_FORMAT;
    return slv_doc_edit(w->d, w->pointer, (size_t)w->at, (size_t)w->gone, w->text);
}

/* --- the table -------------------------------------------------------------------------------- */

#define OPS_MAX 6u

static const char text_form[] = "a text", item_form[] = "JSON", flag_form[] = "true or false",
                  number_form[] = "a whole number of 64 bits",
                  amount_form[] = "a whole number of 63 bits, 0 or more",
                  cut_form[] = "a whole number, 0 or more, and a place";

static const struct {
    void (*read)(struct reading *r);
    struct {
        const char *name;
        const char *members; /* that it knows beside op and value */
        int (*fn)(struct doing *w);
        const char *form; /* of its value */
    } op[OPS_MAX];        /* the first is meant where there is none */
} types[SLV_MESH_TYPES] = {
    [SLV_TYPE_LAST] = {read_last, {{"set", "", set_value, text_form}}},
    [SLV_TYPE_MANY] = {read_strings, {{"set", "", set_value, text_form}}},
    [SLV_TYPE_ON_WINS] = {read_flag, {{"set", "", set_flag, flag_form}}},
    [SLV_TYPE_OFF_WINS] = {read_flag, {{"set", "", set_flag, flag_form}}},
    [SLV_TYPE_SET] = {read_strings,
                      {{"add", "", add_element, text_form},
                       {"remove", "", drop_element, text_form}}},
    [SLV_TYPE_COUNTER] = {read_count, {{"add", "", add_number, number_form}}},
    [SLV_TYPE_GROWING] = {read_count, {{"add", "", add_number, amount_form}}},
    [SLV_TYPE_BUDGET] = {read_budget,
                         {{"spend", "", spend, amount_form},
                          {"mint", "", mint, amount_form},
                          {"give", "to", give, "a whole number, 1 or more, and a node"}}},
    [SLV_TYPE_VECTOR] = {read_vector,
                         {{"contribute", "epoch keep", contribute, "numbers, [1, 2.5]"}}},
    [SLV_TYPE_LIST] = {read_list,
                       {{"insert", "at", list_insert, item_form},
                        {"remove", "at", list_remove, cut_form}}},
    [SLV_TYPE_TEXT] = {read_text,
                       {{"set", "", text_set, text_form},
                        {"insert", "at", text_insert, text_form},
                        {"remove", "at", text_remove, cut_form}}},
    [SLV_TYPE_DOC] = {read_doc,
                      {{"set", "pointer", doc_set, item_form},
                       {"insert", "pointer", doc_insert, item_form},
                       {"remove", "pointer", doc_remove, "nothing"},
                       {"count", "pointer", doc_count, number_form},
                       {"text", "pointer", doc_text, text_form},
                       {"edit", "pointer at gone", doc_edit, text_form}}},
    [SLV_TYPE_UNIQUE] = {read_unique, {{"add", "", see, text_form}}},
    [SLV_TYPE_TOP] = {read_top, {{"add", "n", tally, "a text, and how often, 1 or more"}}},
};

int slv_value_read(const struct slv_space *s, enum slv_mesh_type type, struct slv_str key,
                   uint64_t writer, struct slv_json *j, const char *name, bool *ret_there) {
    struct reading r = {s, type, key, writer, j, name, 0};
    struct slv_walk w = slv_walk_of(s, key, nowhere);
    const bool there = slv_walk_next(&w) != NULL;
    types[type].read(&r);
    if (ret_there) *ret_there = there;
    return r.rc ? r.rc : j->out->status;
}

/* Whether a name is one of those in a list parted by blanks. */
static bool is_among(struct slv_str name, const char *list) {
    for (size_t n; *list; list += n + (list[n] == ' ')) {
        n = strcspn(list, " ");
        if (name.n == n && !memcmp(name.p, list, n)) return true;
    }
    return false;
}

static bool take_member(struct doing *w, struct slv_str name, struct slv_json_val v) {
    if (slv_str_is(name, "value")) {
        w->value = v;
        w->has_text = slv_json_get_str(v, &w->text);
        w->has_number = slv_json_get_i64(v, &w->number);
        return true;
    }
    if (slv_str_is(name, "pointer")) return slv_json_get_str(v, &w->pointer);
    if (slv_str_is(name, "to")) return slv_json_get_str(v, &w->to);
    if (slv_str_is(name, "at")) return w->has_at = slv_json_get_i64(v, &w->at);
    if (slv_str_is(name, "n")) return slv_json_get_i64(v, &w->times);
    if (slv_str_is(name, "gone")) return slv_json_get_i64(v, &w->gone);
    if (slv_str_is(name, "epoch")) return slv_json_get_i64(v, &w->epoch);
    return slv_str_is(name, "keep") && slv_json_get_i64(v, &w->keep);
}

static int find_op(enum slv_mesh_type type, struct slv_str name, size_t *ret, struct slv_err *err) {
    for (size_t i = 0; i < OPS_MAX && types[type].op[i].name; i++)
        if (!name.n || slv_str_is(name, types[type].op[i].name)) {
            *ret = i;
            return 0;
        }
    return slv_err_set(err, SLV_E_USAGE, "%s: it has no operation '%.*s'", slv_mesh_type_name(type),
                       (int)(name.n < 40 ? name.n : 40), name.p);
}

static int explain(int rc, const struct doing *w, const char *op, const char *form,
                   struct slv_err *err) {
    const char *type = slv_mesh_type_name(w->d->type);
    if (rc && *w->why) return slv_err_set(err, rc, "%s, '%s': %s", type, op, w->why);
    switch (rc) {
    case 0:
        return 0;
    case SLV_E_FORMAT:
        return slv_err_set(err, rc, "%s, '%s': its value is to be %s", type, op, form);
    case SLV_E_NOENT:
        return slv_err_set(err, rc, "%s, '%s': there is no such place", type, op);
    case SLV_E_USAGE:
        return slv_err_set(err, rc, "%s, '%s': not there", type, op);
    case SLV_E_BUSY:
        return slv_err_set(err, rc, "%s, '%s': not now", type, op);
    case SLV_E_LIMIT:
        return slv_err_set(err, rc,
                           "%s, '%s': too much at once: an operation has at most %u parts of %zu "
                           "bytes in all, and takes away %u",
                           type, op, SLV_OP_ENTRIES_MAX, SLV_OP_BYTES_MAX, SLV_OP_REMOVES_MAX);
    default:
        return slv_err_set(err, rc, "%s, '%s': out of memory", type, op);
    }
}

int slv_value_write(struct slv_draft *d, struct slv_json_val op,
                    const struct slv_value_writers *writers, struct slv_err *err) {
    struct doing w = {.d = d, .pointer = nowhere, .to = nowhere, .times = 1, .writers = writers};
    struct slv_str name = nowhere, member;
    struct slv_json_iter it = {0};
    struct slv_json_val v;
    size_t i = 0;
    if (slv_json_kind(op) != SLV_JSON_OBJECT)
        return slv_err_set(err, SLV_E_FORMAT, "an operation is an object");
    v = slv_json_get(op, "op");
    if (slv_json_kind(v) != SLV_JSON_NONE && (!slv_json_get_str(v, &name) || !name.n))
        return slv_err_set(err, SLV_E_FORMAT, "op: not a name");
    if (slv_str_is(name, "delete")) {
        if (slv_json_count(op) > 1) return slv_err_set(err, SLV_E_FORMAT, "delete has no members");
        return explain(slv_draft_delete(d), &w, "delete", "nothing", err);
    }
    const int rc = find_op(d->type, name, &i, err);
    if (rc) return rc;
    while (slv_json_each(op, &it, &member, &v)) {
        if (slv_str_is(member, "op")) continue;
        const bool known =
            slv_str_is(member, "value") || is_among(member, types[d->type].op[i].members);
        if (!known || !take_member(&w, member, v))
            return slv_err_set(err, SLV_E_FORMAT, "%.*s: %s", (int)(member.n < 40 ? member.n : 40),
                               member.p,
                               known ? "not such a value" : "not known to this operation");
    }
    return explain(types[d->type].op[i].fn(&w), &w, types[d->type].op[i].name,
                   types[d->type].op[i].form, err);
}
