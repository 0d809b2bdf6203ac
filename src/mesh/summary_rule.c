/* summary_rule.c: see summary.h. Rules: reading them, whether spaces have the types for them and
 * whether they can be together; and values as they see them. */
#include "mesh/summary_int.h"
#include "mesh/node.h"

#include <math.h>
#include <stdlib.h>

static const struct {
    const char *name;
    bool numbers; /* of values that are numbers */
} kinds[SLV_SUMMARY_KINDS] = {
    [SLV_SUMMARY_SUM] = {"sum", true},    [SLV_SUMMARY_COUNT] = {"count", false},
    [SLV_SUMMARY_MAX] = {"max", true},    [SLV_SUMMARY_MIN] = {"min", true},
    [SLV_SUMMARY_COPY] = {"copy", false}, [SLV_SUMMARY_DOWN] = {"down", false},
};

const char *slv_summary_kind_name(enum slv_summary_kind k) {
    return (unsigned)k < SLV_SUMMARY_KINDS ? kinds[k].name : "none";
}

enum slv_summary_side slv_summary_source(const struct slv_summary_rule *r) {
    return r->kind == SLV_SUMMARY_DOWN ? SLV_SUMMARY_ABOVE : SLV_SUMMARY_ZONE;
}

enum slv_summary_side slv_summary_target(const struct slv_summary_rule *r) {
    return r->kind == SLV_SUMMARY_DOWN ? SLV_SUMMARY_ZONE : SLV_SUMMARY_ABOVE;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* A decimal number, and nothing else (strtod takes more). */
static bool read_number(struct slv_str v, double *ret) {
    struct slv_json_doc doc = {0};
    const bool ok = !slv_json_read(v.p, v.n, &doc, NULL) &&
                    slv_json_get_f64(slv_json_root(&doc), ret) && isfinite(*ret);
    slv_json_doc_fini(&doc);
    return ok;
}

static bool read_every(struct slv_str v, uint64_t *ret) {
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"", 1}};
    double n;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const size_t k = strlen(units[i].unit);
        if (v.n <= k || memcmp(v.p + v.n - k, units[i].unit, k) != 0) continue;
        if (!read_number((struct slv_str){v.p, v.n - k}, &n)) return false;
        n *= units[i].seconds;
        *ret = n >= 0.01 && n <= 3600 ? (uint64_t)(n * 1e9) : 0;
        return *ret != 0;
    }
    return false;
}

/* NULL, or what is wrong with it. */
static const char *read_bound(struct slv_str name, struct slv_str v, struct slv_summary_rule *r) {
    const struct {
        const char *name;
        double *to;
        double least;
    } numbers[] = {{"min", &r->min, -INFINITY}, {"max", &r->max, -INFINITY}, {"step", &r->step, 0}};
    double n;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (slv_str_is(name, numbers[i].name)) {
            if (!read_number(v, numbers[i].to)) return "that is no number";
            return *numbers[i].to >= numbers[i].least ? NULL : "it must be 0 or more";
        }
    if (slv_str_is(name, "every"))
        return read_every(v, &r->every_ns) ? NULL : "a time of 10ms to 1h is wanted (s, m, h)";
    if (slv_str_is(name, "to")) {
        r->to = v;
        return v.n && v.n <= SLV_NODE_SPACE_NAME_MAX ? NULL : "a space's name is wanted";
    }
    if (!slv_str_is(name, "keys")) return "bounds are min=, max=, step=, every=, keys=, to=";
    if (!read_number(v, &n) || !(n >= 1 && n <= (double)SLV_SUMMARY_KEYS_MAX) || n != floor(n))
        return "a whole number of keys is wanted, and not so many";
    r->keys = (size_t)n;
    return NULL;
}

/* "NAME=VALUE,NAME=VALUE": NULL, or what is wrong with *ret_bad. */
static const char *read_bounds(const char *p, struct slv_summary_rule *r, struct slv_str *ret_bad) {
    const char *why = NULL;
    while (*p && !why) {
        const size_t n = strcspn(p, ","), k = strcspn(p, "="), name = k < n ? k : n;
        *ret_bad = (struct slv_str){p, n};
        why = read_bound((struct slv_str){p, name},
                         (struct slv_str){p + name + (k < n), n - name - (k < n)}, r);
        p += n + (p[n] == ',');
    }
    return why;
}

int slv_summary_read(enum slv_summary_kind kind, const char *text, struct slv_summary_rule *ret,
                     struct slv_err *err) {
    const char *colon = strrchr(text, ':'), *slash = strchr(text, '/');
    const size_t n = colon ? (size_t)(colon - text) : strlen(text);
    const size_t space = slash && slash < text + n ? (size_t)(slash - text) : n;
    struct slv_str bad = {"", 0};
    struct slv_summary_rule r = {.kind = kind,
                                 .text = text,
                                 .space = {text, space},
                                 .prefix = {text + n, 0},
                                 .to = {text, space},
                                 .min = -INFINITY,
                                 .max = INFINITY,
                                 .step = INFINITY,
                                 .every_ns = 1000000000u,
                                 .keys = SLV_SUMMARY_KEYS};
    const char *name = slv_summary_kind_name(kind);
    if (space < n) r.prefix = (struct slv_str){text + space + 1, n - space - 1};
    if (!space || space > SLV_NODE_SPACE_NAME_MAX || r.prefix.n > SLV_KEY_MAX)
        return slv_err_set(err, SLV_E_USAGE, "--%s %s: not SPACE[/PREFIX][:BOUNDS]", name, text);
    const char *why = colon ? read_bounds(colon + 1, &r, &bad) : NULL;
    if (why)
        return slv_err_set(err, SLV_E_USAGE, "--%s %s: '%.*s': %s", name, text, (int)bad.n, bad.p,
                           why);
    if (r.min > r.max)
        return slv_err_set(err, SLV_E_USAGE, "--%s %s: min is above max", name, text);
    *ret = r;
    return 0;
}

/* --- types ------------------------------------------------------------------------------------ */

static bool is_any(struct slv_str type, const char *const *of) {
    while (*of && !slv_str_is(type, *of))
        of++;
    return *of != NULL;
}

int slv_summary_fits(const struct slv_summary_rule *r, const struct slv_summary_space *from,
                     const struct slv_summary_space *to, enum slv_summary_form *ret,
                     struct slv_err *err) {
    static const char *const numbers[] = {"last",   "doc",    "counter", "growing",
                                          "budget", "unique", NULL};
    const char *name = slv_summary_kind_name(r->kind);
    if (kinds[r->kind].numbers && !is_any(from->type, numbers))
        return slv_err_set(err, SLV_E_USAGE, "--%s %s: values of type %.*s are no numbers", name,
                           r->text, (int)from->type.n, from->type.p);
    if (to->is_strong) *ret = SLV_SUMMARY_STRONG;
    else if (slv_str_is(to->type, "doc")) *ret = SLV_SUMMARY_DOC;
    else if (slv_str_is(to->type, "last")) *ret = SLV_SUMMARY_TEXT;
    else
        return slv_err_set(err, SLV_E_USAGE,
                           "--%s %s: it goes to '%.*s' of type %.*s: that must be doc or last",
                           name, r->text, (int)r->to.n, r->to.p, (int)to->type.n, to->type.p);
    return 0;
}

/* --- together --------------------------------------------------------------------------------- */

void summary_key_head(const char *zone, const struct slv_summary_rule *r, struct slv_buf *b) {
    if (r->kind == SLV_SUMMARY_DOWN) return;
    slv_buf_addf(b, "%s/", zone);
    if (r->kind == SLV_SUMMARY_COPY) return;
    slv_buf_add(b, r->space.p, r->space.n);
    if (r->prefix.n) slv_buf_addc(b, '/');
    slv_buf_add(b, r->prefix.p, r->prefix.n);
    if (r->kind != SLV_SUMMARY_SUM) slv_buf_addf(b, ":%s", slv_summary_kind_name(r->kind));
}

static bool is_same(struct slv_str a, struct slv_str b) {
    return a.n == b.n && !memcmp(a.p, b.p, a.n);
}

static bool begins(struct slv_str a, struct slv_str with) {
    return a.n >= with.n && !memcmp(a.p, with.p, with.n);
}

/* Whether both may write one key: those of copies begin with it, others are it. */
static bool meet(const char *zone, const struct slv_summary_rule *a,
                 const struct slv_summary_rule *b) {
    struct slv_buf x, y;
    if (slv_summary_target(a) != slv_summary_target(b) || !is_same(a->to, b->to)) return false;
    slv_buf_init(&x, 4096);
    slv_buf_init(&y, 4096);
    summary_key_head(zone, a, &x);
    summary_key_head(zone, b, &y);
    if (summary_is_copy(a)) slv_buf_add(&x, a->prefix.p, a->prefix.n);
    if (summary_is_copy(b)) slv_buf_add(&y, b->prefix.p, b->prefix.n);
    const struct slv_str p = {x.data, x.len}, q = {y.data, y.len};
    const bool ret = x.status || y.status || is_same(p, q) ||
                     (summary_is_copy(a) && begins(q, p)) || (summary_is_copy(b) && begins(p, q));
    slv_buf_fini(&x);
    slv_buf_fini(&y);
    return ret;
}

/* Whether what `down` brings would go up by `up`. */
static bool circles(const struct slv_summary_rule *down, const struct slv_summary_rule *up) {
    return down->kind == SLV_SUMMARY_DOWN && up->kind != SLV_SUMMARY_DOWN &&
           is_same(down->to, up->space) &&
           (begins(down->prefix, up->prefix) || begins(up->prefix, down->prefix));
}

static bool is_name(const char *zone) {
    static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const size_t n = strlen(zone);
    return n && n <= SLV_SUMMARY_ZONE_MAX && strspn(zone, ok) == n;
}

int summary_check(const char *zone, const struct slv_summary_rule *r, size_t n,
                  struct slv_err *err) {
    if (!is_name(zone))
        return slv_err_set(err, SLV_E_USAGE,
                           "a zone's name is %u letters, digits, '-', '_', '.' at most",
                           SLV_SUMMARY_ZONE_MAX);
    if (!n || n > SLV_SUMMARY_RULES_MAX)
        return slv_err_set(err, SLV_E_USAGE, "1 to %u rules say what goes between a zone and above",
                           SLV_SUMMARY_RULES_MAX);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++) {
            if (circles(&r[i], &r[k]))
                return slv_err_set(err, SLV_E_USAGE,
                                   "--down %s and --%s %s: what comes down would go up again",
                                   r[i].text, slv_summary_kind_name(r[k].kind), r[k].text);
            if (k < i && meet(zone, &r[i], &r[k]))
                return slv_err_set(
                    err, SLV_E_USAGE, "--%s %s and --%s %s would write the same keys of '%.*s'",
                    slv_summary_kind_name(r[k].kind), r[k].text, slv_summary_kind_name(r[i].kind),
                    r[i].text, (int)r[i].to.n, r[i].to.p);
        }
    return 0;
}

/* --- values ----------------------------------------------------------------------------------- */

bool summary_number(struct slv_json_val v, double *ret) {
    struct slv_str text;
    double n;
    bool ok = slv_json_get_f64(v, &n) || slv_json_get_f64(slv_json_get(v, "value"), &n) ||
              slv_json_get_f64(slv_json_get(v, "left"), &n);
    if (!ok && slv_json_get_str(v, &text)) ok = read_number(text, &n);
    if (!ok || !isfinite(n)) return false;
    *ret = n;
    return true;
}

static bool same_members(struct slv_json_val a, struct slv_json_val b) {
    struct slv_json_iter it = {0};
    struct slv_json_val v;
    struct slv_str name;
    bool same = slv_json_count(a) == slv_json_count(b);
    while (same && slv_json_each(a, &it, &name, &v)) {
        struct slv_json_iter at = {0};
        struct slv_str other;
        struct slv_json_val x;
        bool found = false;
        while (!found && slv_json_each(b, &at, &other, &x))
            found = is_same(name, other);
        same = found && summary_same(v, x);
    }
    return same;
}

static bool same_elements(struct slv_json_val a, struct slv_json_val b) {
    struct slv_json_iter i = {0}, k = {0};
    struct slv_json_val x, y;
    bool same = slv_json_count(a) == slv_json_count(b);
    while (same && slv_json_each(a, &i, NULL, &x) && slv_json_each(b, &k, NULL, &y))
        same = summary_same(x, y);
    return same;
}

/* The digits count where a double has not enough of them. */
static bool same_numbers(struct slv_json_val a, struct slv_json_val b) {
    const struct slv_json_node *m = &a.doc->v[a.i], *n = &b.doc->v[b.i];
    double x, y;
    if (is_same((struct slv_str){a.doc->text + m->at, m->n},
                (struct slv_str){b.doc->text + n->at, n->n}))
        return true;
    return slv_json_get_f64(a, &x) && slv_json_get_f64(b, &y) && x == y && fabs(x) < 0x1p53;
}

bool summary_same(struct slv_json_val a, struct slv_json_val b) {
    struct slv_str s, t;
    if (slv_json_kind(a) != slv_json_kind(b)) return false;
    switch (slv_json_kind(a)) {
    case SLV_JSON_NUMBER:
        return same_numbers(a, b);
    case SLV_JSON_STRING:
        return slv_json_get_str(a, &s) && slv_json_get_str(b, &t) && is_same(s, t);
    case SLV_JSON_ARRAY:
        return same_elements(a, b);
    case SLV_JSON_OBJECT:
        return same_members(a, b);
    case SLV_JSON_NONE:
    case SLV_JSON_NULL:
    case SLV_JSON_FALSE:
    case SLV_JSON_TRUE:
        return true;
    }
    return false;
}

unsigned summary_depth(struct slv_json_val v) {
    struct slv_json_iter it = {0};
    struct slv_json_val x;
    unsigned most = 0;
    const enum slv_json_kind kind = slv_json_kind(v);
    if (kind != SLV_JSON_ARRAY && kind != SLV_JSON_OBJECT) return 0;
    while (slv_json_each(v, &it, NULL, &x)) {
        const unsigned d = summary_depth(x);
        if (d > most) most = d;
    }
    return most + 1;
}
