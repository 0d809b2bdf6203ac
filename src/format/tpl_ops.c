/* tpl_ops.c: the operators of the template language on Python's values: truth, equality, order,
 * arithmetic, attributes, items and slices.
 *
 * Integers are 64 bits wide; a result that does not fit is an error, never wrapped. Attribute and
 * item access follow Jinja's environment: x.name asks for a method first and an item second, x[key]
 * the other way round; what would change a list or a dict is hidden. */
#include "base/mem.h"
#include "base/utf8.h"
#include "format/template_impl.h"

#include <math.h>
#include <string.h>

bool slv_tpl_as_int(const struct slv_value *v, int64_t *ret) {
    if (v->kind == TPL_INT) *ret = v->i;
    else if (v->kind == TPL_BOOL) *ret = v->truth;
    else return false;
    return true;
}

bool slv_tpl_as_double(const struct slv_value *v, double *ret) {
    int64_t i;
    if (v->kind == TPL_FLOAT) *ret = v->d;
    else if (v->kind == TPL_BIGINT) return slv_tpl_parse_double(v->s.p, v->s.n, ret);
    else if (slv_tpl_as_int(v, &i)) *ret = (double)i;
    else return false;
    return true;
}

static bool number(const struct slv_value *v) {
    return v->kind == TPL_INT || v->kind == TPL_BOOL || v->kind == TPL_FLOAT ||
           v->kind == TPL_BIGINT;
}

struct slv_value *slv_tpl_int(struct tpl_run *r, int64_t v) {
    static struct slv_value small[] = {
        {.kind = TPL_INT, .i = 0}, {.kind = TPL_INT, .i = 1}, {.kind = TPL_INT, .i = 2},
        {.kind = TPL_INT, .i = 3}, {.kind = TPL_INT, .i = 4}, {.kind = TPL_INT, .i = 5},
    };
    if (v >= 0 && v < (int64_t)(sizeof small / sizeof *small)) return &small[v];
    return slv_value_int(&r->mem, v);
}

struct slv_value *slv_tpl_double(struct tpl_run *r, double v) {
    return slv_value_double(&r->mem, v);
}

struct slv_value *slv_tpl_undefined(struct tpl_run *r, struct slv_value *name) {
    if (name->kind != TPL_STR) return &slv_tpl_undef;
    struct slv_value *v = slv_tpl_new(&r->mem, TPL_UNDEF);
    if (v) v->s = name->s;
    return v;
}

bool slv_tpl_defined(struct tpl_run *r, const struct slv_value *v) {
    if (v->kind != TPL_UNDEF) return true;
    int n = v->s.n < 200 ? (int)v->s.n : 200;
    slv_tpl_fail(r, "'%.*s' is undefined", n, v->s.p);
    return false;
}

/* --- truth, equality, order ------------------------------------------------------------------- */

bool slv_tpl_truth(struct tpl_run *r, struct slv_value *v) {
    size_t n;
    switch ((enum tpl_kind)v->kind) {
    case TPL_UNDEF:
    case TPL_NONE:
        return false;
    case TPL_BOOL:
        return v->truth;
    case TPL_INT:
        return v->i != 0;
    case TPL_FLOAT:
        return v->d != 0; /* NaN is true */
    case TPL_STR:
    case TPL_LIST:
    case TPL_TUPLE:
    case TPL_DICT:
    case TPL_VIEW:
    case TPL_RANGE:
    case TPL_LOOP:
        return slv_tpl_len(r, v, &n) && n != 0;
    case TPL_BIGINT:
    case TPL_ITER:
    case TPL_NS:
    case TPL_MACRO:
    case TPL_METHOD:
    case TPL_FUNC:
    case TPL_CYCLER:
    case TPL_JOINER:
        break;
    }
    return true;
}

static int equal_lists(struct tpl_run *r, const struct slv_value *a, const struct slv_value *b) {
    if (a->list->n != b->list->n) return 0;
    if (!slv_tpl_pay(r, a->list->n)) return -1;
    for (size_t i = 0; i < a->list->n; i++) {
        int same = slv_tpl_equal(r, a->list->v[i], b->list->v[i]);
        if (same != 1) return same;
    }
    return 1;
}

static int equal_dicts(struct tpl_run *r, const struct tpl_dict *a, const struct tpl_dict *b) {
    if (a->n != b->n) return 0;
    if (!slv_tpl_pay(r, a->n)) return -1;
    for (size_t i = 0; i < a->n; i++) {
        struct slv_value *v = slv_tpl_get(r, &r->mem, b, a->e[i].key);
        if (!v) return r->rc ? -1 : 0;
        int same = slv_tpl_equal(r, a->e[i].value, v);
        if (same != 1) return same;
    }
    return 1;
}

static int equal_numbers(const struct slv_value *a, const struct slv_value *b) {
    int64_t i, k;
    double x, y;
    if (slv_tpl_as_int(a, &i) && slv_tpl_as_int(b, &k)) return i == k;
    if (a->kind == TPL_BIGINT && b->kind == TPL_BIGINT)
        return a->s.n == b->s.n && memcmp(a->s.p, b->s.p, a->s.n) == 0;
    if (a->kind != TPL_FLOAT && b->kind != TPL_FLOAT) return 0;
    /* An integer past 2^53 equals a float only if it is exactly that. */
    const struct slv_value *whole = a->kind == TPL_FLOAT ? b : a;
    if (!slv_tpl_as_double(a, &x) || !slv_tpl_as_double(b, &y) || x != y) return 0;
    return !slv_tpl_as_int(whole, &i) || (x < 9223372036854775808.0 && (int64_t)x == i);
}

/* 1, 0, or -1 with a reason. `r` may be NULL for strings. */
int slv_tpl_equal(struct tpl_run *r, const struct slv_value *a, const struct slv_value *b) {
    if (a->kind == TPL_STR || b->kind == TPL_STR) {
        if (a->kind != b->kind || a->s.n != b->s.n) return 0;
        if (r && !slv_tpl_pay(r, a->s.n / 64)) return -1;
        return memcmp(a->s.p, b->s.p, a->s.n) == 0;
    }
    if (number(a) && number(b)) return equal_numbers(a, b);
    if (a->kind != b->kind) return 0;
    if (a == b) return 1;
    if (!slv_tpl_enter(r)) return -1;
    int same;
    if (slv_tpl_seq(a)) same = equal_lists(r, a, b);
    else if (a->kind == TPL_DICT) same = equal_dicts(r, a->dict, b->dict);
    else same = a->kind == TPL_UNDEF || a->kind == TPL_NONE;
    if (a->kind == TPL_RANGE)
        same = a->range->n == b->range->n &&
               (a->range->n == 0 || (a->range->start == b->range->start &&
                                     (a->range->n == 1 || a->range->step == b->range->step)));
    slv_tpl_leave(r);
    return same;
}

static bool order_lists(struct tpl_run *r, const struct slv_value *a, const struct slv_value *b,
                        int *ret) {
    size_t n = a->list->n < b->list->n ? a->list->n : b->list->n;
    if (!slv_tpl_pay(r, n)) return false;
    for (size_t i = 0; i < n; i++) {
        int same = slv_tpl_equal(r, a->list->v[i], b->list->v[i]);
        if (same < 0) return false;
        if (!same) return slv_tpl_order(r, a->list->v[i], b->list->v[i], ret);
    }
    *ret = (a->list->n > b->list->n) - (a->list->n < b->list->n);
    return true;
}

bool slv_tpl_order(struct tpl_run *r, const struct slv_value *a, const struct slv_value *b,
                   int *ret) {
    int64_t i, k;
    double x, y;
    if (!slv_tpl_defined(r, a) || !slv_tpl_defined(r, b)) return false;
    if (a->kind == TPL_STR && b->kind == TPL_STR) {
        /* The order of UTF-8 bytes is that of code points. */
        size_t n = a->s.n < b->s.n ? a->s.n : b->s.n;
        if (!slv_tpl_pay(r, n / 64)) return false;
        int c = memcmp(a->s.p, b->s.p, n);
        *ret = c ? (c > 0) - (c < 0) : (a->s.n > b->s.n) - (a->s.n < b->s.n);
        return true;
    }
    if (slv_tpl_as_int(a, &i) && slv_tpl_as_int(b, &k)) {
        *ret = (i > k) - (i < k);
        return true;
    }
    if (number(a) && number(b) && slv_tpl_as_double(a, &x) && slv_tpl_as_double(b, &y)) {
        *ret = isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
        return true;
    }
    if (slv_tpl_seq(a) && a->kind == b->kind) {
        if (!slv_tpl_enter(r)) return false;
        bool ok = order_lists(r, a, b, ret);
        slv_tpl_leave(r);
        return ok;
    }
    slv_tpl_fail(r, "'%s' and '%s' have no order", slv_tpl_type(a), slv_tpl_type(b));
    return false;
}

static uint64_t mix(uint64_t a, uint64_t b) {
    unsigned __int128 m = (unsigned __int128)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xe7037ed1a0b428dbu);
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t hash_text(uint64_t seed, struct tpl_text s) {
    uint64_t h = mix(seed, s.n), w;
    size_t i = 0;
    for (; s.n - i >= 8; i += 8) {
        memcpy(&w, s.p + i, 8);
        h = mix(h, w);
    }
    w = 0;
    if (s.n - i) memcpy(&w, s.p + i, s.n - i);
    return mix(h, w);
}

bool slv_tpl_hash(struct tpl_run *r, const struct slv_scope *s, const struct slv_value *v,
                  uint64_t *ret) {
    int64_t i;
    double d;
    if (v->kind == TPL_STR) {
        if (r && !slv_tpl_pay(r, v->s.n / 32)) return false;
        *ret = hash_text(s->seed, v->s);
    } else if (number(v)) {
        if (v->kind == TPL_FLOAT && v->d == floor(v->d) && fabs(v->d) < 9.2e18) i = (int64_t)v->d;
        else if (!slv_tpl_as_int(v, &i)) {
            if (!slv_tpl_as_double(v, &d)) return false;
            memcpy(&i, &d, sizeof i);
        }
        *ret = mix(s->seed, (uint64_t)i);
    } else if (v->kind == TPL_TUPLE) {
        if (!slv_tpl_enter(r) || !slv_tpl_pay(r, v->list->n)) return false;
        uint64_t h = s->seed, one;
        for (size_t k = 0; k < v->list->n; k++) {
            if (!slv_tpl_hash(r, s, v->list->v[k], &one)) return false;
            h = mix(h, one);
        }
        slv_tpl_leave(r);
        *ret = h;
    } else if (v->kind == TPL_LIST || v->kind == TPL_DICT) {
        slv_tpl_fail(r, "unhashable type: '%s'", slv_tpl_type(v));
        return false;
    } else if (v->kind == TPL_UNDEF || v->kind == TPL_NONE) {
        *ret = mix(s->seed, v->kind);
    } else {
        *ret = mix(s->seed, (uint64_t)(uintptr_t)v);
    }
    return true;
}

static int contains(struct tpl_run *r, struct slv_value *v, struct slv_value *in) {
    struct slv_value *item;
    size_t at;
    if (in->kind == TPL_STR) {
        if (v->kind != TPL_STR) {
            slv_tpl_fail(r, "'in <string>' requires string as left operand, not %s",
                         slv_tpl_type(v));
            return -1;
        }
        if (!slv_tpl_search(r, in->s, v->s, false, &at)) return -1;
        return at != SIZE_MAX;
    }
    if (in->kind == TPL_DICT || (in->kind == TPL_VIEW && in->view == TPL_KEYS)) {
        struct slv_value *found = slv_tpl_get(r, &r->mem, in->dict, v);
        return found ? 1 : r->rc ? -1 : 0;
    }
    struct tpl_iter *it = slv_tpl_iter(r, in);
    if (!it) return -1;
    for (;;) {
        int got = slv_tpl_next(r, it, &item);
        if (got != 1) return got;
        int same = item == v ? 1 : slv_tpl_equal(r, item, v);
        if (same) return same;
    }
}

struct slv_value *slv_tpl_compare(struct tpl_run *r, enum tpl_op op, struct slv_value *a,
                                  struct slv_value *b) {
    int c;
    if (op == OP_EQ || op == OP_NE) {
        c = slv_tpl_equal(r, a, b);
        return c < 0 ? NULL : slv_tpl_bool(c == (op == OP_EQ));
    }
    if (op == OP_IN || op == OP_NOTIN) {
        c = contains(r, a, b);
        return c < 0 ? NULL : slv_tpl_bool(c == (op == OP_IN));
    }
    if (!slv_tpl_order(r, a, b, &c)) return NULL;
    if (c == 2) return &slv_tpl_false;
    return slv_tpl_bool(op == OP_LT ? c < 0 : op == OP_LE ? c <= 0 : op == OP_GT ? c > 0 : c >= 0);
}

/* --- arithmetic ------------------------------------------------------------------------------- */

static void *overflow(struct tpl_run *r) { return slv_tpl_fail(r, "integer out of range"); }

static struct slv_value *floor_divide(struct tpl_run *r, enum tpl_op op, int64_t a, int64_t b) {
    if (b == 0) return slv_tpl_fail(r, "integer division or modulo by zero");
    if (b == -1) {
        if (op == OP_MOD) return slv_tpl_int(r, 0);
        return a == INT64_MIN ? overflow(r) : slv_tpl_int(r, -a);
    }
    int64_t q = a / b, m = a % b;
    if (m && (m < 0) != (b < 0)) {
        q--;
        m += b;
    }
    return slv_tpl_int(r, op == OP_MOD ? m : q);
}

static struct slv_value *power(struct tpl_run *r, int64_t a, int64_t b) {
    if (b < 0) {
        if (a == 0) return slv_tpl_fail(r, "0.0 cannot be raised to a negative power");
        return slv_tpl_double(r, pow((double)a, (double)b));
    }
    int64_t v = 1;
    for (; b; b >>= 1) {
        if ((b & 1) && __builtin_mul_overflow(v, a, &v)) return overflow(r);
        if (b > 1 && __builtin_mul_overflow(a, a, &a)) return overflow(r);
    }
    return slv_tpl_int(r, v);
}

static struct slv_value *int_arith(struct tpl_run *r, enum tpl_op op, int64_t a, int64_t b) {
    int64_t v = 0;
    bool over = false;
    if (op == OP_ADD) over = __builtin_add_overflow(a, b, &v);
    else if (op == OP_SUB) over = __builtin_sub_overflow(a, b, &v);
    else if (op == OP_MUL) over = __builtin_mul_overflow(a, b, &v);
    else if (op == OP_POW) return power(r, a, b);
    else if (op != OP_DIV) return floor_divide(r, op, a, b);
    else if (b == 0) return slv_tpl_fail(r, "division by zero");
    else return slv_tpl_double(r, (double)a / (double)b);
    return over ? overflow(r) : slv_tpl_int(r, v);
}

static struct slv_value *float_arith(struct tpl_run *r, enum tpl_op op, double a, double b) {
    if (op == OP_ADD) return slv_tpl_double(r, a + b);
    if (op == OP_SUB) return slv_tpl_double(r, a - b);
    if (op == OP_MUL) return slv_tpl_double(r, a * b);
    if (op == OP_POW) {
        if (a == 0 && b < 0) return slv_tpl_fail(r, "0.0 cannot be raised to a negative power");
        double v = pow(a, b);
        if (a < 0 && b != floor(b)) return slv_tpl_fail(r, "the result is a complex number");
        if (isinf(v) && isfinite(a) && isfinite(b)) return slv_tpl_fail(r, "result too large");
        return slv_tpl_double(r, v);
    }
    if (b == 0) return slv_tpl_fail(r, "float division by zero");
    if (op == OP_DIV) return slv_tpl_double(r, a / b);
    double m = fmod(a, b);
    if (m != 0 && (m < 0) != (b < 0)) m += b;
    else if (m == 0) m = copysign(0.0, b);
    if (op == OP_MOD) return slv_tpl_double(r, m);
    double q = (a - m) / b, whole = floor(q);
    if (q - whole > 0.5) whole += 1.0;
    return slv_tpl_double(r, q != 0 ? whole : copysign(0.0, a / b));
}

static struct slv_value *repeat(struct tpl_run *r, struct slv_value *v, int64_t times) {
    size_t n = times > 0 ? (size_t)times : 0;
    if (v->kind == TPL_STR) {
        size_t mark = slv_tpl_begin(r);
        if (!slv_tpl_add_fill(r, v->s.p, v->s.n, n)) return NULL;
        struct slv_value *made = slv_tpl_end(r, mark);
        return made && v->markup ? slv_tpl_like(r, v, made->s.p, made->s.n) : made;
    }
    size_t total;
    if (v->list->n == 0) n = 0;
    if (!slv_size_mul(v->list->n, n, &total) || total > TPL_STEPS_MAX) {
        return slv_tpl_fail_code(r, SLV_E_LIMIT, "a list grows too long");
    }
    struct slv_value *made = slv_tpl_pay(r, total) ? slv_tpl_list(&r->mem, v->kind, total) : NULL;
    for (size_t i = 0; made && i < total; i++)
        made->list->v[made->list->n++] = v->list->v[i % v->list->n];
    return made;
}

static struct slv_value *add_lists(struct tpl_run *r, struct slv_value *a, struct slv_value *b) {
    size_t n = a->list->n + b->list->n;
    struct slv_value *v = slv_tpl_pay(r, n) ? slv_tpl_list(&r->mem, a->kind, n) : NULL;
    if (!v) return NULL;
    if (a->list->n) memcpy(v->list->v, a->list->v, a->list->n * sizeof *v->list->v);
    if (b->list->n) memcpy(v->list->v + a->list->n, b->list->v, b->list->n * sizeof *v->list->v);
    v->list->n = n;
    return v;
}

/* Marked text takes the other side in escaped, and the result is marked. */
static struct slv_value *add_texts(struct tpl_run *r, struct slv_value *a, struct slv_value *b) {
    if (!a->markup && !b->markup) return slv_tpl_join2(r, a, b);
    size_t mark = slv_tpl_begin(r);
    if (!slv_tpl_add_escaped(r, a) || !slv_tpl_add_escaped(r, b)) return NULL;
    struct slv_value *v = slv_tpl_end(r, mark);
    return v ? slv_tpl_like(r, a->markup ? a : b, v->s.p, v->s.n) : NULL;
}

struct slv_value *slv_tpl_arith(struct tpl_run *r, enum tpl_op op, struct slv_value *a,
                                struct slv_value *b) {
    static const char names[][3] = {"+", "-", "*", "/", "//", "%", "**"};
    int64_t i = 0, k = 0;
    double x, y;
    if (op == OP_MOD && a->kind == TPL_STR) return slv_tpl_percent(r, a, b, NULL);
    if (!slv_tpl_defined(r, a) || !slv_tpl_defined(r, b)) return NULL;
    bool ai = slv_tpl_as_int(a, &i), bi = slv_tpl_as_int(b, &k);
    if (ai && bi) return int_arith(r, op, i, k);
    if (number(a) && number(b)) {
        bool whole = a->kind != TPL_FLOAT && b->kind != TPL_FLOAT;
        if (whole && op != OP_DIV) return overflow(r);
        if (!slv_tpl_as_double(a, &x) || !slv_tpl_as_double(b, &y)) return overflow(r);
        return float_arith(r, op, x, y);
    }
    if (op == OP_ADD && a->kind == TPL_STR && b->kind == TPL_STR) return add_texts(r, a, b);
    if (op == OP_ADD && slv_tpl_seq(a) && a->kind == b->kind) return add_lists(r, a, b);
    if (op == OP_MUL && bi && (a->kind == TPL_STR || slv_tpl_seq(a))) return repeat(r, a, k);
    if (op == OP_MUL && ai && (b->kind == TPL_STR || slv_tpl_seq(b))) return repeat(r, b, i);
    return slv_tpl_fail(r, "unsupported operand types for %s: '%s' and '%s'", names[op - OP_ADD],
                        slv_tpl_type(a), slv_tpl_type(b));
}

struct slv_value *slv_tpl_unary(struct tpl_run *r, enum tpl_op op, struct slv_value *a) {
    int64_t i;
    if (!slv_tpl_defined(r, a)) return NULL;
    if (slv_tpl_as_int(a, &i)) {
        if (op == OP_NEG && i == INT64_MIN) return overflow(r);
        return slv_tpl_int(r, op == OP_NEG ? -i : i);
    }
    if (a->kind == TPL_FLOAT) return slv_tpl_double(r, op == OP_NEG ? -a->d : a->d);
    if (a->kind == TPL_BIGINT && op == OP_NEG) {
        char *text = slv_tpl_alloc(&r->mem, a->s.n + 1);
        if (!text) return NULL;
        text[0] = '-';
        memcpy(text + 1, a->s.p, a->s.n);
        bool negative = a->s.p[0] == '-';
        return slv_tpl_parse_int(&r->mem, text + 2 * negative, a->s.n + 1 - 2 * (size_t)negative,
                                 10);
    }
    if (a->kind == TPL_BIGINT) return a;
    return slv_tpl_fail(r, "bad operand type for unary %c: '%s'", op == OP_NEG ? '-' : '+',
                        slv_tpl_type(a));
}

/* --- attributes, items, slices ---------------------------------------------------------------- */

bool slv_tpl_len(struct tpl_run *r, struct slv_value *v, size_t *ret) {
    static const struct slv_value length = {.kind = TPL_STR, .s = {"length", 6}, .cps = 6};
    switch ((enum tpl_kind)v->kind) {
    case TPL_UNDEF:
        *ret = 0;
        return true;
    case TPL_STR:
        *ret = v->cps;
        return true;
    case TPL_LIST:
    case TPL_TUPLE:
        *ret = v->list->n;
        return true;
    case TPL_DICT:
    case TPL_VIEW:
        *ret = v->dict->n;
        return true;
    case TPL_RANGE:
        *ret = v->range->n;
        return true;
    case TPL_LOOP:
        v = slv_tpl_field(r, v, &length);
        if (v) *ret = (size_t)v->i;
        return v != NULL;
    case TPL_NONE:
    case TPL_BOOL:
    case TPL_INT:
    case TPL_BIGINT:
    case TPL_FLOAT:
    case TPL_ITER:
    case TPL_NS:
    case TPL_MACRO:
    case TPL_METHOD:
    case TPL_FUNC:
    case TPL_CYCLER:
    case TPL_JOINER:
        break;
    }
    slv_tpl_fail(r, "object of type '%s' has no len()", slv_tpl_type(v));
    return false;
}

/* The method or field of that name; NULL without a reason when there is none. *ret_hidden: Python
 * has it and the sandbox hides it. */
static struct slv_value *attribute(struct tpl_run *r, struct slv_value *v,
                                   const struct slv_value *name, bool *ret_hidden) {
    size_t n = name->s.n;
    const char *p = name->s.p;
    *ret_hidden = n > 4 && p[0] == '_' && p[1] == '_' && p[n - 1] == '_' && p[n - 2] == '_';
    if (*ret_hidden) return NULL;
    if (v->kind == TPL_NS) return slv_tpl_get(r, &r->mem, v->dict, name);
    struct slv_value *field = slv_tpl_field(r, v, name);
    if (field || r->rc || r->mem.failed) return field;
    const struct tpl_def *def = slv_tpl_method(v, p, n);
    if (!def) {
        *ret_hidden = slv_tpl_method_unsafe(v, p, n);
        return NULL;
    }
    struct slv_value *made = slv_tpl_new(&r->mem, TPL_METHOD);
    struct tpl_method *m = made ? slv_tpl_alloc(&r->mem, sizeof *m) : NULL;
    if (!m) return NULL;
    *m = (struct tpl_method){v, def};
    made->method = m;
    return made;
}

static struct slv_value *element(struct tpl_run *r, struct slv_value *v, int64_t i) {
    size_t n;
    if (!slv_tpl_len(r, v, &n)) return NULL;
    if (i < 0) i += (int64_t)n;
    if (i < 0 || i >= (int64_t)n) return NULL;
    if (slv_tpl_seq(v)) return v->list->v[i];
    if (v->kind == TPL_RANGE) return slv_tpl_int(r, v->range->start + i * v->range->step);
    size_t from = slv_tpl_offset(v, (size_t)i), to = from + 1;
    if (!slv_tpl_pay(r, v->cps == v->s.n ? 0 : from / 4)) return NULL;
    while (to < v->s.n && ((unsigned char)v->s.p[to] & 0xc0) == 0x80)
        to++;
    return slv_tpl_like(r, v, v->s.p + from, to - from);
}

/* The item; NULL without a reason when there is none. */
static struct slv_value *item(struct tpl_run *r, struct slv_value *v, struct slv_value *key) {
    int64_t i;
    if (v->kind == TPL_DICT) {
        if (key->kind == TPL_LIST || key->kind == TPL_DICT) return NULL; /* TypeError: no item */
        return slv_tpl_get(r, &r->mem, v->dict, key);
    }
    bool indexed = v->kind == TPL_STR || v->kind == TPL_RANGE || slv_tpl_seq(v);
    return indexed && slv_tpl_as_int(key, &i) ? element(r, v, i) : NULL;
}

struct slv_value *slv_tpl_getattr(struct tpl_run *r, struct slv_value *v, struct slv_value *name,
                                  struct slv_value *undef) {
    bool hidden;
    if (!slv_tpl_defined(r, v)) return NULL;
    struct slv_value *got = attribute(r, v, name, &hidden);
    if (!got && !r->rc && !hidden) got = item(r, v, name);
    if (got || r->rc || r->mem.failed) return got;
    return undef ? undef : slv_tpl_undefined(r, name);
}

struct slv_value *slv_tpl_getitem(struct tpl_run *r, struct slv_value *v, struct slv_value *key,
                                  struct slv_value *undef) {
    bool hidden;
    if (!slv_tpl_defined(r, v)) return NULL;
    struct slv_value *got = item(r, v, key);
    if (!got && !r->rc && key->kind == TPL_STR) got = attribute(r, v, key, &hidden);
    if (got || r->rc || r->mem.failed) return got;
    return undef ? undef : slv_tpl_undefined(r, key);
}

/* One bound of a slice: *given false for none. */
static bool bound(struct tpl_run *r, const struct slv_value *v, int64_t *ret, bool *given) {
    *given = v && v->kind != TPL_NONE;
    if (!*given || slv_tpl_as_int(v, ret)) return true;
    if (slv_tpl_defined(r, v))
        slv_tpl_fail(r, "slice indices must be integers or None, not %s", slv_tpl_type(v));
    return false;
}

static int64_t clamp(int64_t i, int64_t n, int64_t low, int64_t high) {
    if (i < 0) i += n;
    return i < low ? low : i > high ? high : i;
}

static struct slv_value *slice_text(struct tpl_run *r, struct slv_value *v, int64_t from,
                                    int64_t step, size_t count) {
    if (count == 0) return slv_tpl_like(r, v, "", 0);
    if (step == 1) {
        size_t a = slv_tpl_offset(v, (size_t)from);
        size_t b = slv_tpl_offset(v, (size_t)from + count);
        if (v->cps != v->s.n && !slv_tpl_pay(r, b / 4)) return NULL;
        return slv_tpl_like(r, v, v->s.p + a, b - a);
    }
    size_t mark = slv_tpl_begin(r);
    const char *p = v->s.p;
    /* Walks from one character to the next; text is valid, so a step is to the next lead byte. */
    size_t at = slv_tpl_offset(v, (size_t)from), end;
    for (size_t i = 0; i < count; i++) {
        for (end = at + 1; end < v->s.n && ((unsigned char)p[end] & 0xc0) == 0x80;)
            end++;
        if (!slv_tpl_pay(r, 1) || !slv_tpl_add(r, p + at, end - at)) return NULL;
        if (i + 1 == count) break;
        uint64_t steps = step < 0 ? 0 - (uint64_t)step : (uint64_t)step;
        if (v->cps == v->s.n) {
            at = (size_t)((int64_t)at + step);
            continue;
        }
        if (!slv_tpl_pay(r, (size_t)steps)) return NULL;
        for (; steps; steps--)
            do
                at = step < 0 ? at - 1 : at + 1;
            while (((unsigned char)p[at] & 0xc0) == 0x80);
    }
    struct slv_value *made = slv_tpl_end(r, mark);
    return made ? slv_tpl_like(r, v, made->s.p, made->s.n) : NULL;
}

struct slv_value *slv_tpl_slice(struct tpl_run *r, struct slv_value *v,
                                struct slv_value *const part[3]) {
    int64_t from = 0, to = 0, step = 1;
    bool has_from, has_to, has_step;
    size_t len;
    if (!slv_tpl_defined(r, v)) return NULL;
    if (v->kind != TPL_STR && v->kind != TPL_RANGE && !slv_tpl_seq(v))
        return slv_tpl_fail(r, "'%s' object cannot be sliced", slv_tpl_type(v));
    if (!bound(r, part[0], &from, &has_from) || !bound(r, part[1], &to, &has_to) ||
        !bound(r, part[2], &step, &has_step) || !slv_tpl_len(r, v, &len))
        return NULL;
    if (step == 0) return slv_tpl_fail(r, "slice step cannot be zero");
    if (step == INT64_MIN) step++;
    int64_t n = (int64_t)len, low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    from = has_from ? clamp(from, n, low, high) : step < 0 ? high : low;
    to = has_to ? clamp(to, n, low, high) : step < 0 ? low : high;
    size_t count = 0;
    if (step > 0 && from < to) count = (size_t)((to - from - 1) / step + 1);
    if (step < 0 && from > to) count = (size_t)((from - to - 1) / -step + 1);
    if (v->kind == TPL_STR) return slice_text(r, v, from, step, count);
    struct slv_value *made = slv_tpl_new(&r->mem, TPL_RANGE);
    if (v->kind == TPL_RANGE) {
        struct tpl_range *g = made ? slv_tpl_alloc(&r->mem, sizeof *g) : NULL;
        if (!g) return NULL;
        /* Places lie within the range, whose length is bounded; only the step can overflow. */
        const struct tpl_range *of = v->range;
        *g = (struct tpl_range){.n = count};
        if (__builtin_mul_overflow(of->step, step, &g->step) ||
            __builtin_mul_overflow(of->step, from, &g->start) ||
            __builtin_add_overflow(of->start, g->start, &g->start) ||
            __builtin_mul_overflow(of->step, to, &g->stop) ||
            __builtin_add_overflow(of->start, g->stop, &g->stop))
            return overflow(r);
        made->range = g;
        return made;
    }
    made = slv_tpl_pay(r, count) ? slv_tpl_list(&r->mem, v->kind, count) : NULL;
    for (size_t i = 0; made && i < count; i++)
        made->list->v[made->list->n++] = v->list->v[from + (int64_t)i * step];
    return made;
}
