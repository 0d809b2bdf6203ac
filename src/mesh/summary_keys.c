/* summary_keys.c: see summary.h. The keys of each rule and what the source has of them, ascending;
 * what is to be looked at, as it changes. */
#include "mesh/summary_int.h"
#include "base/mem.h"
#include "mesh/value.h"

/* --- keys ------------------------------------------------------------------------------------- */

static int compare(const struct summary_item *x, struct slv_str key) {
    return slv_str_compare((struct slv_str){x->key, x->n_key}, key);
}

/* The first that is not below. */
static size_t place(const struct summary_rule *r, struct slv_str key) {
    size_t from = 0, to = r->n;
    while (from < to) {
        const size_t mid = from + (to - from) / 2;
        if (compare(r->item[mid], key) < 0) from = mid + 1;
        else to = mid;
    }
    return from;
}

static struct summary_item *find(const struct summary_rule *r, struct slv_str key) {
    const size_t i = place(r, key);
    return i < r->n && !compare(r->item[i], key) ? r->item[i] : NULL;
}

/* A new one, gone until it has a value. */
static struct summary_item *add(struct summary_rule *r, struct slv_str key) {
    const size_t i = place(r, key);
    void *p = r->item;
    /* (as many keys can be known here and gone at the target as there may be) */
    const int rc =
        slv_mem_grow(&p, r->n, &r->room, sizeof(struct summary_item *), 4 * SLV_SUMMARY_KEYS_MAX);
    r->item = p;
    struct summary_item *x = rc ? NULL : slv_mem_calloc(1, sizeof *x + key.n);
    if (!x) return NULL;
    *x = (struct summary_item){.gone = true, .n_key = key.n};
    memcpy(x->key, key.p, key.n);
    memmove(&r->item[i + 1], &r->item[i], (r->n - i) * sizeof(struct summary_item *));
    r->item[i] = x;
    r->n++;
    r->cursor += i < r->cursor;
    return x;
}

void summary_set_dirty(struct summary_rule *r, struct summary_out *o, bool dirty) {
    if (o != &r->out) r->n_dirty = r->n_dirty + dirty - o->dirty;
    o->dirty = dirty;
}

void summary_drop(struct summary_rule *r, size_t i) {
    struct summary_item *x = r->item[i];
    summary_set_dirty(r, &x->out, false);
    r->held -= x->out.why != SUMMARY_GOOD;
    r->bytes -= x->n_value;
    slv_mem_free(x->value);
    slv_mem_free(x);
    memmove(&r->item[i], &r->item[i + 1], (r->n - i - 1) * sizeof(struct summary_item *));
    r->n--;
    r->cursor -= i < r->cursor;
}

static void all_dirty(struct summary_rule *r) {
    summary_set_dirty(r, &r->out, true);
    for (size_t i = 0; i < r->n && summary_is_copy(&r->rule); i++)
        summary_set_dirty(r, &r->item[i]->out, true);
}

/* --- what the source has ---------------------------------------------------------------------- */

void slv_summary_begin(struct slv_summary *s, size_t rule) {
    struct summary_rule *r = &s->rule[rule];
    r->known = r->too_many = r->failed = false;
    r->list++;
    r->live = 0;
}

/* A key that has no value any more. */
static void let_go(struct summary_rule *r, size_t i) {
    struct summary_item *x = r->item[i];
    if (!summary_is_copy(&r->rule)) {
        summary_drop(r, i);
        return;
    }
    if (!x->gone) summary_set_dirty(r, &x->out, true);
    x->gone = true;
}

void slv_summary_end(struct slv_summary *s, size_t rule) {
    struct summary_rule *r = &s->rule[rule];
    for (size_t i = r->n; i-- > 0 && !r->failed;)
        if (r->item[i]->list != r->list) let_go(r, i);
    r->known = !r->failed;
    summary_set_dirty(r, &r->out, true);
}

void slv_summary_too_many(struct slv_summary *s, size_t rule) {
    struct summary_rule *r = &s->rule[rule];
    r->known = r->too_many = true;
    summary_set_dirty(r, &r->out, true);
}

void slv_summary_lost(struct slv_summary *s, size_t rule) { s->rule[rule].known = false; }

bool slv_summary_wants_list(const struct slv_summary *s, size_t rule) {
    return !s->rule[rule].known || s->rule[rule].too_many;
}

/* A copy's value; whether it is another one. SLV_E_NOMEM. */
static int keep_value(struct summary_rule *r, struct summary_item *x, struct slv_json_val v,
                      bool *ret_changed) {
    struct slv_buf b;
    struct slv_json j;
    slv_buf_init(&b, SLV_SUMMARY_VALUE_MAX);
    slv_json_init(&j, &b);
    bool bad = summary_depth(v) > SLV_SUMMARY_DEPTH_MAX;
    if (!bad) slv_value_json(&j, NULL, v);
    const int rc = b.status == SLV_E_LIMIT ? 0 : b.status;
    bad = bad || b.status == SLV_E_LIMIT;
    if (bad) slv_buf_clear(&b);
    *ret_changed =
        bad != x->bad || b.len != x->n_value || (b.len && memcmp(b.data, x->value, b.len) != 0);
    char *text = rc || !*ret_changed ? NULL : slv_mem_strndup(b.data, b.len);
    const int failed = rc || (*ret_changed && !text) ? SLV_E_NOMEM : 0;
    if (text) {
        slv_mem_free(x->value);
        x->value = text;
        r->bytes = r->bytes - x->n_value + b.len;
        x->n_value = b.len;
        x->bad = bad;
    }
    slv_buf_fini(&b);
    return failed;
}

static int set_value(struct summary_rule *r, struct summary_item *x, struct slv_json_val v) {
    double number = 0;
    bool changed = x->gone;
    const bool is_number = summary_number(v, &number);
    int rc = 0;
    if (summary_is_copy(&r->rule)) {
        bool other = false;
        rc = keep_value(r, x, v, &other);
        changed |= other;
    } else if (r->rule.kind != SLV_SUMMARY_COUNT) {
        changed |= is_number != x->is_number || number < x->number || number > x->number;
    }
    if (rc) return rc;
    if (x->gone || x->list != r->list) r->live++;
    x->gone = false;
    x->list = r->list;
    x->is_number = is_number;
    x->number = number;
    if (changed) summary_set_dirty(r, summary_is_copy(&r->rule) ? &x->out : &r->out, true);
    if (r->bytes > SLV_SUMMARY_BYTES_MAX) r->too_many = true;
    return 0;
}

static int feed_value(struct summary_rule *r, struct slv_str key, struct slv_json_val v) {
    struct summary_item *x = find(r, key);
    const bool counted = x && !x->gone && x->list == r->list;
    if (!counted && r->live >= r->rule.keys) {
        r->too_many = true;
        summary_set_dirty(r, &r->out, true);
        return 0;
    }
    if (!x) x = add(r, key);
    return x ? set_value(r, x, v) : SLV_E_NOMEM;
}

static void feed_none(struct summary_rule *r, struct slv_str key) {
    const size_t i = place(r, key);
    if (i == r->n || compare(r->item[i], key) != 0 || r->item[i]->gone) return;
    r->live -= r->item[i]->list == r->list;
    let_go(r, i);
    summary_set_dirty(r, &r->out, true);
}

static bool is_key(const struct summary_rule *r, struct slv_str key) {
    const struct slv_str p = r->rule.prefix;
    return key.n && key.n <= SLV_KEY_MAX && !memchr(key.p, 0, key.n) && key.n >= p.n &&
           !memcmp(key.p, p.p, p.n);
}

int slv_summary_feed(struct slv_summary *s, size_t rule, struct slv_str key,
                     struct slv_json_val value) {
    struct summary_rule *r = &s->rule[rule];
    int rc = 0;
    if (!is_key(r, key)) return 0;
    if (slv_json_kind(value) == SLV_JSON_NONE) feed_none(r, key);
    else rc = feed_value(r, key, value);
    if (rc) {
        r->failed = true;
        r->known = false;
    }
    return rc;
}

/* --- what the target has ---------------------------------------------------------------------- */

void slv_summary_forget(struct slv_summary *s, enum slv_summary_side side) {
    for (size_t i = 0; i < s->n; i++) {
        if (slv_summary_target(&s->rule[i].rule) != side) continue;
        s->rule[i].is_pruned = false;
        s->rule[i].due = s->rule[i].gap = 0;
        all_dirty(&s->rule[i]);
    }
}

void slv_summary_set_token(struct slv_summary *s, uint64_t token) {
    s->token = token;
    slv_summary_forget(s, SLV_SUMMARY_ZONE);
    slv_summary_forget(s, SLV_SUMMARY_ABOVE);
}

bool slv_summary_wants_above(struct slv_summary *s, size_t rule, struct slv_str *ret_prefix) {
    const struct summary_rule *r = &s->rule[rule];
    if (r->rule.kind != SLV_SUMMARY_COPY || r->is_pruned || !r->known || r->too_many) return false;
    slv_buf_clear(&s->head);
    summary_key_head(s->zone, &r->rule, &s->head);
    slv_buf_add(&s->head, r->rule.prefix.p, r->rule.prefix.n);
    *ret_prefix = (struct slv_str){s->head.data, s->head.len};
    return !s->head.status;
}

int slv_summary_seen_above(struct slv_summary *s, size_t rule, struct slv_str key) {
    struct summary_rule *r = &s->rule[rule];
    const size_t n = strlen(s->zone) + 1;
    if (key.n <= n || memcmp(key.p, s->zone, n - 1) != 0 || key.p[n - 1] != '/') return 0;
    const struct slv_str own = {key.p + n, key.n - n};
    if (!is_key(r, own) || find(r, own) || r->n >= 2 * SLV_SUMMARY_KEYS_MAX) return 0;
    struct summary_item *x = add(r, own);
    if (x) summary_set_dirty(r, &x->out, true);
    return x ? 0 : SLV_E_NOMEM;
}

void slv_summary_all_above(struct slv_summary *s, size_t rule) { s->rule[rule].is_pruned = true; }
