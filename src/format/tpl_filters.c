/* tpl_filters.c: filters on texts and numbers, and the table of all filters that gives their
 * parameters. Behaviour: Jinja2's list of builtin filters; tojson as transformers replaces it. */
#define _GNU_SOURCE /* memmem, memrchr */
#include "base/utf8.h"
#include "format/template_impl.h"

#include <math.h>
#include <string.h>

static struct slv_value *method(struct tpl_run *r, struct slv_value *v, const char *name,
                                const struct tpl_args *a) {
    const struct tpl_def *def = slv_tpl_method(v, name, strlen(name));
    return slv_tpl_invoke(r, def, v, a);
}

/* The same method on str(v). */
static struct slv_value *text_method(struct tpl_run *r, struct slv_value *v, const char *name,
                                     const struct tpl_args *a) {
    struct slv_value *s = slv_tpl_str(r, v);
    struct tpl_args given = *a;
    while (given.n && !given.v[given.n - 1])
        given.n--;
    return s ? method(r, s, name, &given) : NULL;
}

static bool int_arg(struct tpl_run *r, const struct slv_value *v, int64_t fallback, int64_t *ret) {
    *ret = fallback;
    return !v || slv_tpl_want_int(r, v, ret);
}

static bool flag(struct tpl_run *r, struct slv_value *v) { return v && slv_tpl_truth(r, v); }

/* --- texts ------------------------------------------------------------------------------------ */

static struct slv_value *f_upper(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    return text_method(r, v, "upper", a);
}

static struct slv_value *f_lower(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    return text_method(r, v, "lower", a);
}

static struct slv_value *f_capitalize(struct tpl_run *r, struct slv_value *v,
                                      const struct tpl_args *a) {
    return text_method(r, v, "capitalize", a);
}

static struct slv_value *f_center(struct tpl_run *r, struct slv_value *v,
                                  const struct tpl_args *a) {
    struct slv_value *width = a->v[0] ? a->v[0] : slv_value_int(&r->mem, 80);
    const struct tpl_args given = {.v = &width, .n = 1};
    return width ? text_method(r, v, "center", &given) : NULL;
}

static struct slv_value *f_trim(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    struct tpl_args given = *a;
    given.n = a->v[0] ? 1 : 0;
    return text_method(r, v, "strip", &given);
}

static struct slv_value *f_string(struct tpl_run *r, struct slv_value *v,
                                  const struct tpl_args *a) {
    (void)a;
    return slv_tpl_str(r, v);
}

/* The text without the mark. */
static struct slv_value *plain(struct tpl_run *r, struct slv_value *v) {
    v = slv_tpl_str(r, v);
    return v && v->markup ? slv_tpl_view(&r->mem, v->s.p, v->s.n) : v;
}

static struct slv_value *marked(struct tpl_run *r, struct slv_value *v) {
    struct slv_value *m = v ? slv_tpl_new(&r->mem, TPL_STR) : NULL;
    if (!m) return NULL;
    *m = *v;
    m->markup = true;
    return m;
}

static struct slv_value *f_safe(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    (void)a;
    return marked(r, slv_tpl_str(r, v));
}

static struct slv_value *f_escape(struct tpl_run *r, struct slv_value *v,
                                  const struct tpl_args *a) {
    size_t mark = slv_tpl_begin(r);
    (void)a;
    return slv_tpl_add_escaped(r, v) ? marked(r, slv_tpl_end(r, mark)) : NULL;
}

static struct slv_value *f_forceescape(struct tpl_run *r, struct slv_value *v,
                                       const struct tpl_args *a) {
    v = plain(r, v);
    return v ? f_escape(r, v, a) : NULL;
}

static struct slv_value *f_replace(struct tpl_run *r, struct slv_value *v,
                                   const struct tpl_args *a) {
    struct slv_value *s = plain(r, v), *old = s ? plain(r, a->v[0]) : NULL;
    struct slv_value *by = old ? plain(r, a->v[1]) : NULL, *all[3] = {old, by, a->v[2]};
    const struct tpl_args given = {.v = all, .n = a->v[2] && a->v[2]->kind != TPL_NONE ? 3 : 2};
    return by ? method(r, s, "replace", &given) : NULL;
}

/* Words begin behind white space, '-' and opening brackets. */
static struct slv_value *f_title(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    struct slv_value *s = slv_tpl_str(r, v);
    size_t mark = slv_tpl_begin(r);
    (void)a;
    if (!s || !slv_tpl_pay(r, s->s.n / 2)) return NULL;
    for (size_t i = 0; i < s->s.n;) {
        size_t from = i, first = 0;
        uint32_t cp;
        bool word = false;
        for (; i < s->s.n; word = true) {
            size_t used = slv_utf8_decode(s->s.p + i, s->s.n - i, &cp);
            bool apart = slv_tpl_space(cp) || (cp < 0x80 && cp && strchr("-({[<", (int)cp));
            if (apart) {
                if (!word) i += used;
                break;
            }
            if (!word) first = used;
            i += used;
        }
        struct slv_value *head = slv_tpl_view(&r->mem, s->s.p + from, word ? first : i - from);
        struct slv_value *tail =
            word ? slv_tpl_view(&r->mem, s->s.p + from + first, i - from - first) : &slv_tpl_empty;
        head = head ? slv_tpl_recase(r, head, CASE_UPPER) : NULL;
        tail = head && tail ? slv_tpl_recase(r, tail, CASE_LOWER) : NULL;
        if (!tail || !slv_tpl_add(r, head->s.p, head->s.n) || !slv_tpl_add(r, tail->s.p, tail->s.n))
            return NULL;
    }
    return slv_tpl_end(r, mark);
}

static struct slv_value *f_format(struct tpl_run *r, struct slv_value *v,
                                  const struct tpl_args *a) {
    struct slv_value *s = slv_tpl_str(r, v),
                     *list = s ? slv_tpl_list(&r->mem, TPL_TUPLE, a->n) : NULL;
    struct slv_value *map = list && a->nkw ? slv_value_dict(&r->mem) : NULL;
    if (!list || (a->nkw && !map)) return NULL;
    if (a->n && a->nkw)
        return slv_tpl_fail(r, "can't handle positional and keyword arguments at the same time");
    for (size_t i = 0; i < a->n; i++)
        list->list->v[list->list->n++] = a->v[i];
    for (size_t i = 0; i < a->nkw; i++)
        if (!slv_tpl_put(r, &r->mem, map->dict, a->names[i], a->kw[i])) return NULL;
    return slv_tpl_percent(r, s, list, map);
}

/* indent(width=4, first=False, blank=False) */
static struct slv_value *f_indent(struct tpl_run *r, struct slv_value *v,
                                  const struct tpl_args *a) {
    int64_t width = 4;
    struct tpl_text fill = {" ", 1};
    bool first = flag(r, a->v[1]), blank = flag(r, a->v[2]);
    const struct tpl_args none = {.v = (struct slv_value *[1]){NULL}};
    if (v->kind != TPL_STR)
        return slv_tpl_defined(r, v) ? slv_tpl_fail(r, "indent wants a str") : NULL;
    if (a->v[0] && a->v[0]->kind == TPL_STR) {
        fill = a->v[0]->s;
        width = 1;
    } else if (!int_arg(r, a->v[0], 4, &width)) return NULL;
    size_t times = width > 0 ? (size_t)width : 0, mark = slv_tpl_begin(r);
    if (!slv_tpl_add(r, v->s.p, v->s.n) || !slv_tpl_add(r, "\n", 1)) return NULL;
    struct slv_value *text = slv_tpl_end(r, mark);
    struct slv_value *lines = text ? method(r, text, "splitlines", &none) : NULL;
    if (!lines) return NULL;
    mark = slv_tpl_begin(r);
    for (size_t i = 0; i < lines->list->n; i++) {
        const struct tpl_text line = lines->list->v[i]->s;
        bool indented = i == 0 ? first : blank || line.n;
        if ((i && !slv_tpl_add(r, "\n", 1)) ||
            (indented && !slv_tpl_add_fill(r, fill.p, fill.n, times)) ||
            !slv_tpl_add(r, line.p, line.n))
            return NULL;
    }
    text = slv_tpl_end(r, mark);
    return text && v->markup ? marked(r, text) : text;
}

static struct slv_value *f_truncate(struct tpl_run *r, struct slv_value *v,
                                    const struct tpl_args *a) {
    int64_t length, leeway;
    size_t n;
    struct slv_value *end = a->v[2] ? a->v[2] : slv_tpl_cstr(&r->mem, "...");
    bool kill = flag(r, a->v[1]), given = a->v[3] && a->v[3]->kind != TPL_NONE;
    if (!end || !int_arg(r, a->v[0], 255, &length) ||
        !int_arg(r, given ? a->v[3] : NULL, 5, &leeway))
        return NULL;
    if (end->kind != TPL_STR || length < (int64_t)end->cps || leeway < 0)
        return slv_tpl_fail(r, "truncate: expected length >= the end's and leeway >= 0");
    if (!slv_tpl_len(r, v, &n)) return NULL;
    if ((int64_t)n <= length || (int64_t)n - length <= leeway) return v;
    if (v->kind != TPL_STR) return slv_tpl_fail(r, "truncate wants a str");
    struct tpl_text s = {v->s.p, slv_tpl_offset(v, (size_t)length - end->cps)};
    const char *space = kill || !s.n ? NULL : memrchr(s.p, ' ', s.n);
    if (space) s.n = (size_t)(space - s.p);
    struct slv_value *head = slv_tpl_like(r, v, s.p, s.n);
    return head ? slv_tpl_arith(r, OP_ADD, head, end) : NULL;
}

static struct slv_value *f_wordcount(struct tpl_run *r, struct slv_value *v,
                                     const struct tpl_args *a) {
    struct slv_value *s = slv_tpl_str(r, v);
    int64_t n = 0;
    bool in = false;
    (void)a;
    if (!s || !slv_tpl_pay(r, s->s.n / 2)) return NULL;
    for (size_t i = 0; i < s->s.n;) {
        uint32_t cp;
        i += slv_utf8_decode(s->s.p + i, s->s.n - i, &cp);
        bool word = slv_tpl_word_char(cp);
        n += word && !in;
        in = word;
    }
    return slv_tpl_int(r, n);
}

/* What an entity such as "&lt;" stands for: the ones that escaping writes, and numbers. */
static size_t entity(const char *p, size_t n, uint32_t *ret) {
    static const struct {
        const char *name;
        uint32_t cp;
    } rows[] = {{"&amp;", '&'},  {"&lt;", '<'},    {"&gt;", '>'},
                {"&quot;", '"'}, {"&apos;", '\''}, {"&nbsp;", 0xa0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t k = strlen(rows[i].name);
        *ret = rows[i].cp;
        if (n >= k && memcmp(p, rows[i].name, k) == 0) return k;
    }
    bool hex = n > 2 && (p[2] == 'x' || p[2] == 'X');
    size_t i = hex ? 3 : 2;
    uint32_t v = 0;
    if (n < 4 || p[1] != '#') return 0;
    for (; i < n && i < 12 && p[i] != ';'; i++) {
        int c = p[i], low = c | 0x20;
        if (c >= '0' && c <= '9') v = v * (hex ? 16 : 10) + (uint32_t)(c - '0');
        else if (hex && low >= 'a' && low <= 'f') v = v * 16 + (uint32_t)(low - 'a' + 10);
        else return 0;
    }
    *ret = v;
    bool ok = i < n && p[i] == ';' && v && v < 0x110000 && !(v >= 0xd800 && v < 0xe000);
    return ok ? i + 1 : 0;
}

/* Text without <!-- comments --> and <tags>, runs of white space as one blank, entities decoded. */
static struct slv_value *f_striptags(struct tpl_run *r, struct slv_value *v,
                                     const struct tpl_args *a) {
    static const struct tpl_text marks[2][2] = {{{"<!--", 4}, {"-->", 3}}, {{"<", 1}, {">", 1}}};
    struct slv_value *s = slv_tpl_str(r, v);
    (void)a;
    for (int kind = 0; s && kind < 2; kind++) {
        size_t mark = slv_tpl_begin(r);
        const char *p = s->s.p, *end = p + s->s.n, *from, *to;
        while ((from = memmem(p, (size_t)(end - p), marks[kind][0].p, marks[kind][0].n))) {
            to = memmem(from, (size_t)(end - from), marks[kind][1].p, marks[kind][1].n);
            if (!to) break;
            if (!slv_tpl_pay(r, 1) || !slv_tpl_add(r, p, (size_t)(from - p))) return NULL;
            p = to + marks[kind][1].n;
        }
        if (!slv_tpl_add(r, p, (size_t)(end - p))) return NULL;
        s = slv_tpl_end(r, mark);
    }
    if (!s || !slv_tpl_pay(r, s->s.n / 8)) return NULL;
    struct tpl_text t = slv_tpl_strip(s->s, NULL, true, true);
    size_t mark = slv_tpl_begin(r);
    for (size_t i = 0; i < t.n;) {
        uint32_t cp;
        char text[SLV_UTF8_MAX];
        size_t used = slv_utf8_decode(t.p + i, t.n - i, &cp), as;
        if (slv_tpl_space(cp)) {
            i = t.n - slv_tpl_strip((struct tpl_text){t.p + i, t.n - i}, NULL, true, false).n;
            if (!slv_tpl_add(r, " ", 1)) return NULL;
            continue;
        }
        if (cp == '&' && (as = entity(t.p + i, t.n - i, &cp))) {
            if (!slv_tpl_add(r, text, slv_utf8_encode(cp, text))) return NULL;
            i += as;
            continue;
        }
        if (!slv_tpl_add(r, t.p + i, used)) return NULL;
        i += used;
    }
    return slv_tpl_end(r, mark);
}

static bool add_quoted(struct tpl_run *r, struct slv_value *v, bool in_query) {
    static const char hex[] = "0123456789ABCDEF";
    struct slv_value *s = slv_tpl_str(r, v);
    if (!s || !slv_tpl_pay(r, s->s.n / 4)) return false;
    for (size_t i = 0; i < s->s.n; i++) {
        unsigned char c = (unsigned char)s->s.p[i];
        bool keep = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                    c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !in_query);
        char text[3] = {'%', hex[c >> 4], hex[c & 15]};
        if (in_query && c == ' ') keep = true, text[0] = '+';
        else if (keep) text[0] = (char)c;
        if (!slv_tpl_add(r, text, keep ? 1 : 3)) return false;
    }
    return true;
}

static struct slv_value *f_urlencode(struct tpl_run *r, struct slv_value *v,
                                     const struct tpl_args *a) {
    size_t mark = slv_tpl_begin(r);
    (void)a;
    if (v->kind == TPL_STR || !slv_tpl_iterable(v))
        return add_quoted(r, v, false) ? slv_tpl_end(r, mark) : NULL;
    struct slv_value view = {.kind = TPL_VIEW, .view = TPL_ITEMS, .dict = v->dict}, *pair;
    struct tpl_iter *it = slv_tpl_iter(r, v->kind == TPL_DICT ? &view : v);
    int got = -1;
    for (bool first = true; it && (got = slv_tpl_next(r, it, &pair)) == 1; first = false) {
        pair = slv_tpl_collect(r, pair, TPL_LIST);
        if (!pair) return NULL;
        if (pair->list->n != 2) return slv_tpl_fail(r, "urlencode wants pairs");
        if ((!first && !slv_tpl_add(r, "&", 1)) || !add_quoted(r, pair->list->v[0], true) ||
            !slv_tpl_add(r, "=", 1) || !add_quoted(r, pair->list->v[1], true))
            return NULL;
    }
    return got < 0 ? NULL : slv_tpl_end(r, mark);
}

/* --- numbers ---------------------------------------------------------------------------------- */

static struct slv_value *f_abs(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    int64_t i;
    (void)a;
    if (v->kind == TPL_FLOAT) return slv_tpl_double(r, fabs(v->d));
    if (slv_tpl_as_int(v, &i)) {
        if (i == INT64_MIN) return slv_tpl_fail(r, "integer out of range");
        return slv_tpl_int(r, i < 0 ? -i : i);
    }
    if (!slv_tpl_defined(r, v)) return NULL;
    return slv_tpl_fail(r, "bad operand type for abs(): '%s'", slv_tpl_type(v));
}

/* Digits of an integer text in `base` with single underscores between them, sign and prefix taken:
 * false if it is none. */
static bool int_digits(struct tpl_text s, int64_t base, char *out, size_t *n) {
    size_t k = 0;
    bool was_digit = false;
    for (size_t i = 0; i < s.n; i++) {
        int c = s.p[i], low = c | 0x20, v = 99;
        if (c == '_' && was_digit && i + 1 < s.n) {
            was_digit = false;
            continue;
        }
        if (c >= '0' && c <= '9') v = c - '0';
        else if (low >= 'a' && low <= 'z') v = low - 'a' + 10;
        if (v >= base) return false;
        out[k++] = s.p[i];
        was_digit = true;
    }
    *n = k;
    return k && was_digit;
}

/* int(text, base), or NULL where Python raises ValueError. */
static struct slv_value *text_to_int(struct tpl_run *r, struct tpl_text s, int64_t base) {
    s = slv_tpl_strip(s, NULL, true, true);
    bool negative = s.n && s.p[0] == '-';
    if (s.n && (negative || s.p[0] == '+')) s.p++, s.n--;
    if (s.n > 2 && s.p[0] == '0') {
        int low = s.p[1] | 0x20;
        int64_t other = low == 'x' ? 16 : low == 'o' ? 8 : low == 'b' ? 2 : 0;
        if (other && (base == other || base == 0)) {
            base = other;
            s.p += 2, s.n -= 2;
            if (s.n > 1 && s.p[0] == '_') s.p++, s.n--;
        }
    }
    if (base == 0) base = 10;
    char *text = slv_tpl_alloc(&r->mem, s.n + 1);
    size_t n;
    if (!text || !int_digits(s, base, text + 1, &n)) return NULL;
    if (negative) text[0] = '-';
    struct slv_value *v =
        slv_tpl_parse_int(&r->mem, negative ? text : text + 1, n + negative, (int)base);
    return v || r->mem.failed ? v : slv_tpl_fail(r, "integer out of range");
}

/* float(text): *ok false where Python raises ValueError. */
static double text_to_double(struct tpl_run *r, struct tpl_text s, bool *ok) {
    static const struct {
        const char *word;
        double v;
    } words[] = {{"inf", INFINITY}, {"infinity", INFINITY}, {"nan", NAN}};
    s = slv_tpl_strip(s, NULL, true, true);
    bool negative = s.n && s.p[0] == '-', was_digit = false;
    if (s.n && (negative || s.p[0] == '+')) s.p++, s.n--;
    double v = 0;
    *ok = true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t k = 0, n = strlen(words[i].word);
        while (k < n && k < s.n && (s.p[k] | 0x20) == words[i].word[k])
            k++;
        if (k == n && s.n == n) return negative ? -words[i].v : words[i].v;
    }
    char *text = slv_tpl_alloc(&r->mem, s.n + 1);
    size_t k = 0;
    *ok = text && s.n && s.p[0] != '+' && s.p[0] != '-';
    for (size_t i = 0; *ok && i < s.n; i++) {
        bool digit = s.p[i] >= '0' && s.p[i] <= '9';
        if (s.p[i] == '_') {
            *ok = was_digit && i + 1 < s.n && s.p[i + 1] >= '0' && s.p[i + 1] <= '9';
            continue;
        }
        was_digit = digit;
        text[k++] = s.p[i];
    }
    *ok = *ok && slv_tpl_parse_double(text, k, &v);
    return negative ? -v : v;
}

static struct slv_value *double_to_int(struct tpl_run *r, double v, struct slv_value *fallback) {
    if (isnan(v) || isinf(v)) return fallback;
    if (fabs(v) >= 9223372036854775808.0) return slv_tpl_fail(r, "integer out of range");
    return slv_tpl_int(r, (int64_t)v);
}

/* int(default=0, base=10): what cannot be converted is the default. */
static struct slv_value *f_int(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    int64_t base, i;
    bool ok;
    struct slv_value *fallback = a->v[0] ? a->v[0] : slv_tpl_int(r, 0);
    if (!fallback || !int_arg(r, a->v[1], 10, &base) || !slv_tpl_defined(r, v)) return NULL;
    if (slv_tpl_as_int(v, &i)) return slv_tpl_int(r, i);
    if (v->kind == TPL_BIGINT) return v;
    if (v->kind == TPL_FLOAT) {
        if (isinf(v->d)) return slv_tpl_fail(r, "cannot convert float infinity to integer");
        return double_to_int(r, v->d, fallback);
    }
    if (v->kind != TPL_STR) return fallback;
    if (base < 0 || base == 1 || base > 36) return fallback;
    struct slv_value *made = text_to_int(r, v->s, base);
    if (made || r->rc || r->mem.failed) return made;
    double d = text_to_double(r, v->s, &ok);
    return r->mem.failed ? NULL : ok ? double_to_int(r, d, fallback) : fallback;
}

static struct slv_value *f_float(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    double d;
    bool ok = true;
    if (!slv_tpl_defined(r, v)) return NULL;
    if (slv_tpl_as_double(v, &d)) return slv_tpl_double(r, d);
    if (v->kind == TPL_STR) d = text_to_double(r, v->s, &ok);
    if (r->mem.failed) return NULL;
    if (v->kind == TPL_STR && ok) return slv_tpl_double(r, d);
    return a->v[0] ? a->v[0] : slv_tpl_double(r, 0.0);
}

/* Rounds half to even on the decimal that stands for v, as Python's round() does. */
static double round_decimal(struct tpl_run *r, double v, int64_t digits, bool *ok) {
    *ok = true;
    if (!isfinite(v) || digits > 308) return v;
    if (digits < -308) return copysign(0.0, v);
    if (digits < 0) {
        double power = pow(10.0, (double)-digits), q = v / power, n = nearbyint(q);
        return n * power;
    }
    struct slv_value number = {.kind = TPL_FLOAT, .d = v}, *one = &number;
    static struct slv_value form = {.kind = TPL_STR, .s = {"%.*f", 4}, .cps = 4};
    struct slv_value *precision = slv_tpl_int(r, digits > 300 ? 300 : digits);
    struct slv_value *pair = precision ? slv_tpl_pair(&r->mem, precision, one) : NULL;
    struct slv_value *text = pair ? slv_tpl_percent(r, &form, pair, NULL) : NULL;
    *ok = text && slv_tpl_parse_double(text->s.p, text->s.n, &v);
    return v;
}

static struct slv_value *f_round(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    int64_t digits, i;
    double d;
    bool ok;
    bool common = !a->v[1] || slv_tpl_text_is(a->v[1], "common");
    bool up = !common && slv_tpl_text_is(a->v[1], "ceil");
    if (!common && !up && !slv_tpl_text_is(a->v[1], "floor"))
        return slv_tpl_fail(r, "method must be common, ceil or floor");
    if (!int_arg(r, a->v[0], 0, &digits) || !slv_tpl_defined(r, v)) return NULL;
    if (common && slv_tpl_as_int(v, &i) && digits >= 0) return slv_tpl_int(r, i);
    if (!slv_tpl_as_double(v, &d)) return slv_tpl_fail(r, "round wants a number");
    if (common) {
        double to = round_decimal(r, d, digits, &ok);
        if (!ok) return NULL;
        return v->kind == TPL_FLOAT ? slv_tpl_double(r, to) : double_to_int(r, to, NULL);
    }
    double power = pow(10.0, (double)digits), whole = d * power;
    if (!isfinite(whole)) return slv_tpl_fail(r, "cannot round this number");
    return slv_tpl_double(r, (up ? ceil(whole) : floor(whole)) / power);
}

static struct slv_value *f_filesizeformat(struct tpl_run *r, struct slv_value *v,
                                          const struct tpl_args *a) {
    static const char units[] = "kMGTPEZY";
    bool binary = flag(r, a->v[0]), ok;
    const struct tpl_args none = {.v = (struct slv_value *[1]){NULL}};
    double base = binary ? 1024 : 1000, size, unit;
    struct slv_value *number = f_float(r, v, &none), *one;
    if (!number) return NULL;
    size = number->d;
    if (size == 1) return slv_tpl_cstr(&r->mem, "1 Byte");
    size_t mark = slv_tpl_begin(r), i = 0;
    if (size < base) {
        one = double_to_int(r, size, NULL);
        ok = one && slv_tpl_add_value(r, one) && slv_tpl_add(r, " Bytes", 6);
        return ok ? slv_tpl_end(r, mark) : NULL;
    }
    unit = base * base;
    for (; i < 7 && size >= unit; i++)
        unit *= base;
    static struct slv_value form = {.kind = TPL_STR, .s = {"%.1f ", 5}, .cps = 5};
    one = slv_tpl_double(r, base * size / unit);
    one = one ? slv_tpl_percent(r, &form, one, NULL) : NULL;
    char letter = binary && i == 0 ? 'K' : units[i];
    ok = one && slv_tpl_add(r, one->s.p, one->s.n) && slv_tpl_add(r, &letter, 1) &&
         slv_tpl_add(r, binary ? "iB" : "B", binary ? 2 : 1);
    return ok ? slv_tpl_end(r, mark) : NULL;
}

/* --- any value -------------------------------------------------------------------------------- */

static struct slv_value *f_default(struct tpl_run *r, struct slv_value *v,
                                   const struct tpl_args *a) {
    bool absent = v->kind == TPL_UNDEF || (flag(r, a->v[1]) && !slv_tpl_truth(r, v));
    if (r->rc) return NULL;
    if (!absent) return v;
    return a->v[0] ? a->v[0] : &slv_tpl_empty;
}

static struct slv_value *f_length(struct tpl_run *r, struct slv_value *v,
                                  const struct tpl_args *a) {
    size_t n;
    (void)a;
    return slv_tpl_len(r, v, &n) ? slv_tpl_int(r, (int64_t)n) : NULL;
}

/* An attribute only: dict["x"] is not looked at. */
static struct slv_value *f_attr(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    if (a->v[0]->kind != TPL_STR) return slv_tpl_fail(r, "attribute name must be string");
    if (!slv_tpl_defined(r, v)) return NULL;
    const struct tpl_text name = a->v[0]->s;
    if (v->kind == TPL_DICT && !slv_tpl_method(v, name.p, name.n))
        return slv_tpl_undefined(r, a->v[0]);
    return slv_tpl_getattr(r, v, a->v[0], NULL);
}

/* --- table ------------------------------------------------------------------------------------ */

static const struct tpl_def filters[] = {
    {"abs", f_abs, 0, 0, "", true},
    {"attr", f_attr, 1, 1, "name", false},
    {"capitalize", f_capitalize, 0, 0, "", false},
    {"center", f_center, 0, 1, "width", false},
    {"count", f_length, 0, 0, "", true},
    {"d", f_default, 0, 2, "default_value,boolean", false},
    {"default", f_default, 0, 2, "default_value,boolean", false},
    {"e", f_escape, 0, 0, "", true},
    {"escape", f_escape, 0, 0, "", true},
    {"filesizeformat", f_filesizeformat, 0, 1, "binary", false},
    {"float", f_float, 0, 1, "default", false},
    {"forceescape", f_forceescape, 0, 0, "", false},
    {"format", f_format, 0, 0, "*", false},
    {"indent", f_indent, 0, 3, "width,first,blank", false},
    {"int", f_int, 0, 2, "default,base", false},
    {"length", f_length, 0, 0, "", true},
    {"lower", f_lower, 0, 0, "", false},
    {"replace", f_replace, 2, 3, "old,new,count", false},
    {"round", f_round, 0, 2, "precision,method", false},
    {"safe", f_safe, 0, 0, "", false},
    {"string", f_string, 0, 0, "", false},
    {"striptags", f_striptags, 0, 0, "", false},
    {"title", f_title, 0, 0, "", false},
    {"tojson", slv_tpl_tojson, 0, 4, "ensure_ascii,indent,separators,sort_keys", false},
    {"trim", f_trim, 0, 1, "chars", false},
    {"truncate", f_truncate, 0, 4, "length,killwords,end,leeway", false},
    {"upper", f_upper, 0, 0, "", false},
    {"urlencode", f_urlencode, 0, 0, "", false},
    {"wordcount", f_wordcount, 0, 0, "", false},
    {NULL, NULL, 0, 0, "", false},
};

const struct tpl_def *slv_tpl_filter(const char *name, size_t n) {
    const struct tpl_def *found = slv_tpl_find(filters, name, n);
    return found ? found : slv_tpl_find(slv_tpl_seq_filters, name, n);
}
