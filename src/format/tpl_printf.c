/* tpl_printf.c: Python's two ways to put values into a text: the % operator and str.format, with
 * the parts of their mini-languages that concern strings and numbers. */
#include "base/utf8.h"
#include "format/template_impl.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define PRECISION_MAX 300
#define NUMBER_TEXT 800 /* holds any double with PRECISION_MAX digits behind its point */

struct spec {
    char fill[SLV_UTF8_MAX];
    size_t fill_n;
    char align; /* '<', '>', '^', '=', or 0 */
    char sign;  /* '+', ' ', or 0 */
    bool alt, zero;
    char group; /* ',', '_', or 0 */
    size_t width;
    int64_t precision; /* -1: none */
    char type;         /* 0: none */
};

/* --- what both share -------------------------------------------------------------------------- */

/* Text of `cps` characters in a field; sign_n bytes at its front stay before '=' padding. */
static bool add_padded(struct tpl_run *r, const struct spec *f, struct tpl_text s, size_t cps,
                       size_t sign_n) {
    size_t pad = f->width > cps ? f->width - cps : 0;
    size_t left = f->align == '>' || f->align == '=' ? pad : f->align == '^' ? pad / 2 : 0;
    size_t front = f->align == '=' ? sign_n : 0;
    return slv_tpl_add(r, s.p, front) && slv_tpl_add_fill(r, f->fill, f->fill_n, left) &&
           slv_tpl_add(r, s.p + front, s.n - front) &&
           slv_tpl_add_fill(r, f->fill, f->fill_n, pad - left);
}

static bool add_text(struct tpl_run *r, const struct spec *f, const struct slv_value *v) {
    size_t cps = v->cps;
    if (f->precision >= 0 && (uint64_t)f->precision < cps) cps = (size_t)f->precision;
    struct tpl_text s = {v->s.p, slv_tpl_offset(v, cps)};
    return add_padded(r, f, s, cps, 0);
}

/* Digits in a base, no sign; returns the length. */
static size_t digits(uint64_t v, unsigned base, bool upper, char out[64]) {
    char back[64];
    size_t n = 0;
    do {
        back[n++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[v % base];
        v /= base;
    } while (v);
    for (size_t i = 0; i < n; i++)
        out[i] = back[n - 1 - i];
    return n;
}

/* Puts the group sign between each `every` digits of the whole part. */
static size_t grouped(const char *s, size_t n, char group, size_t every, char *out) {
    size_t whole = 0, k = 0;
    while (whole < n && s[whole] != '.' && s[whole] != 'e' && s[whole] != 'E')
        whole++;
    for (size_t i = 0; i < n; i++) {
        if (i && i < whole && (whole - i) % every == 0) out[k++] = group;
        out[k++] = s[i];
    }
    return k;
}

static bool add_number(struct tpl_run *r, const struct spec *f, bool negative, const char *prefix,
                       const char *body, size_t n, size_t every) {
    char text[2 * NUMBER_TEXT];
    size_t k = 0;
    if (negative || f->sign) text[k++] = negative ? '-' : f->sign;
    for (; *prefix; prefix++)
        text[k++] = *prefix;
    size_t sign_n = k;
    if (f->group) k += grouped(body, n, f->group, every, text + k);
    else {
        memcpy(text + k, body, n);
        k += n;
    }
    return add_padded(r, f, (struct tpl_text){text, k}, k, sign_n);
}

static bool add_int(struct tpl_run *r, const struct spec *f, int64_t v) {
    char text[64];
    unsigned base = f->type == 'x' || f->type == 'X' ? 16
                    : f->type == 'o'                 ? 8
                    : f->type == 'b'                 ? 2
                                                     : 10;
    uint64_t size = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    size_t n = digits(size, base, f->type == 'X', text);
    const char *prefix = !f->alt || base == 10 ? ""
                         : f->type == 'x'      ? "0x"
                         : f->type == 'X'      ? "0X"
                         : f->type == 'o'      ? "0o"
                                               : "0b";
    char zeros[NUMBER_TEXT];
    if (f->precision > (int64_t)n && f->precision <= PRECISION_MAX) {
        size_t lead = (size_t)f->precision - n; /* of the % operator only */
        memset(zeros, '0', lead);
        memcpy(zeros + lead, text, n);
        return add_number(r, f, v < 0, prefix, zeros, n + lead, 3);
    }
    return add_number(r, f, v < 0, prefix, text, n, base == 10 ? 3 : 4);
}

static bool add_double(struct tpl_run *r, const struct spec *f, double v) {
    char text[NUMBER_TEXT], form[8] = "%.*", type = f->type;
    size_t n, k = 3;
    if (f->precision > PRECISION_MAX) {
        slv_tpl_fail_code(r, SLV_E_LIMIT, "a precision above %d", PRECISION_MAX);
        return false;
    }
    if (isnan(v) || isinf(v)) {
        bool upper = type == 'F' || type == 'E' || type == 'G';
        const char *word = isnan(v) ? upper ? "NAN" : "nan" : upper ? "INF" : "inf";
        n = (size_t)snprintf(text, sizeof text, "%s%s", word, type == '%' ? "%" : "");
        return add_number(r, f, v < 0, "", text, n, 3);
    }
    double size = fabs(v);
    bool negative = signbit(v), percent = type == '%';
    if (!type && f->precision < 0) {
        n = slv_tpl_float_text(size, text);
        return add_number(r, f, negative, "", text, n, 3);
    }
    if (percent) size *= 100;
    if (f->alt) form[1] = '#', form[2] = '.', form[3] = '*', k = 4;
    form[k] = percent ? 'f' : !type || type == 'n' ? 'g' : type;
    int precision = f->precision < 0 ? 6 : (int)f->precision;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    n = (size_t)snprintf(text, sizeof text - 4, form, precision, size);
#pragma GCC diagnostic pop
    char *comma = strchr(text, localeconv()->decimal_point[0]);
    if (comma) *comma = '.';
    if (!type && !strpbrk(text, ".e")) {
        memcpy(text + n, ".0", 3);
        n += 2;
    }
    if (percent) text[n++] = '%';
    return add_number(r, f, negative, "", text, n, 3);
}

/* --- the % operator --------------------------------------------------------------------------- */

struct percent {
    struct tpl_run *r;
    struct tpl_text s;
    size_t at;
    struct slv_value *args; /* a TUPLE, or what stands behind % */
    struct slv_value *map;  /* for %(name)s, or NULL */
    size_t used;
    bool markup;
};

static struct slv_value *next_arg(struct percent *p) {
    if (p->args->kind == TPL_TUPLE) {
        if (p->used < p->args->list->n) return p->args->list->v[p->used++];
    } else if (p->used == 0) {
        p->used = 1;
        return p->args;
    }
    return slv_tpl_fail(p->r, "not enough arguments for format string");
}

/* A width or precision: digits or '*'. */
static bool read_size(struct percent *p, int64_t *ret) {
    *ret = 0;
    if (p->at < p->s.n && p->s.p[p->at] == '*') {
        p->at++;
        struct slv_value *v = next_arg(p);
        if (!v) return false;
        if (slv_tpl_as_int(v, ret)) return true;
        slv_tpl_fail(p->r, "* wants int");
        return false;
    }
    for (; p->at < p->s.n && p->s.p[p->at] >= '0' && p->s.p[p->at] <= '9'; p->at++) {
        *ret = *ret * 10 + (p->s.p[p->at] - '0');
        if (*ret > (int64_t)TPL_STR_MAX) {
            slv_tpl_fail_code(p->r, SLV_E_LIMIT, "a text grows too long");
            return false;
        }
    }
    return true;
}

static bool read_flags(struct percent *p, struct spec *f) {
    *f = (struct spec){.fill = " ", .fill_n = 1, .align = '>', .precision = -1};
    for (; p->at < p->s.n; p->at++) {
        char c = p->s.p[p->at];
        if (c == '-') f->align = '<';
        else if (c == '+') f->sign = '+';
        else if (c == ' ') f->sign = f->sign ? f->sign : ' ';
        else if (c == '0') f->zero = true;
        else if (c == '#') f->alt = true;
        else break;
    }
    int64_t width;
    if (!read_size(p, &width)) return false;
    if (width < 0) f->align = '<';
    f->width = (size_t)(width < 0 ? -width : width);
    if (p->at < p->s.n && p->s.p[p->at] == '.') {
        p->at++;
        if (!read_size(p, &f->precision)) return false;
        if (f->precision < 0) f->precision = 0;
    }
    while (p->at < p->s.n && memchr("hlL", p->s.p[p->at], 3))
        p->at++;
    if (p->at == p->s.n) {
        slv_tpl_fail(p->r, "incomplete format");
        return false;
    }
    f->type = p->s.p[p->at++];
    return true;
}

/* %(name)...: the value of that key. */
static bool read_key(struct percent *p, struct slv_value **ret) {
    size_t from = ++p->at, deep = 1;
    for (; p->at < p->s.n; p->at++) {
        if (p->s.p[p->at] == '(') deep++;
        if (p->s.p[p->at] == ')' && --deep == 0) break;
    }
    if (deep) return slv_tpl_fail(p->r, "incomplete format key") != NULL;
    struct slv_value *key = slv_tpl_view(&p->r->mem, p->s.p + from, p->at++ - from);
    if (!p->map) return slv_tpl_fail(p->r, "format requires a mapping") != NULL;
    *ret = key ? slv_tpl_get(p->r, &p->r->mem, p->map->dict, key) : NULL;
    if (!*ret && key) slv_tpl_fail(p->r, "no value for a format key");
    return *ret != NULL;
}

static bool convert_char(struct percent *p, const struct spec *f, struct slv_value *v) {
    char text[SLV_UTF8_MAX];
    int64_t cp;
    if (v->kind == TPL_STR && v->cps == 1) return add_padded(p->r, f, v->s, 1, 0);
    if (v->kind != TPL_INT || !slv_tpl_as_int(v, &cp) || cp < 0 || cp > 0x10ffff ||
        (cp >= 0xd800 && cp < 0xe000)) {
        slv_tpl_fail(p->r, "%%c requires int or char");
        return false;
    }
    return add_padded(p->r, f, (struct tpl_text){text, slv_utf8_encode((uint32_t)cp, text)}, 1, 0);
}

static bool convert_text(struct percent *p, const struct spec *f, struct slv_value *v) {
    size_t mark = slv_tpl_begin(p->r);
    bool ok = f->type == 'r' ? slv_tpl_add_repr(p->r, v)
              : p->markup    ? slv_tpl_add_escaped(p->r, v)
                             : slv_tpl_add_value(p->r, v);
    struct slv_value *s = ok ? slv_tpl_end(p->r, mark) : NULL;
    return s && add_text(p->r, f, s);
}

static bool convert(struct percent *p, struct spec *f, struct slv_value *v) {
    int64_t i;
    double d;
    if (f->type == 's' || f->type == 'r') return convert_text(p, f, v);
    if (f->type == 'c') return convert_char(p, f, v);
    if (!memchr("diuoxXeEfFgG", f->type, 12)) {
        slv_tpl_fail(p->r, "unsupported format character");
        return false;
    }
    if (f->zero && f->align == '>') {
        f->align = '=';
        f->fill[0] = '0';
    }
    if (memchr("eEfFgG", f->type, 6)) {
        if (slv_tpl_as_double(v, &d)) return add_double(p->r, f, d);
    } else {
        bool whole = slv_tpl_as_int(v, &i);
        if (!whole && v->kind == TPL_FLOAT && memchr("diu", f->type, 3) && fabs(v->d) < 9e18) {
            i = (int64_t)v->d;
            whole = true;
        }
        if (memchr("iu", f->type, 2)) f->type = 'd';
        if (whole) return add_int(p->r, f, i);
        if (v->kind == TPL_BIGINT && f->type == 'd') return add_padded(p->r, f, v->s, v->s.n, 0);
    }
    if (slv_tpl_defined(p->r, v))
        slv_tpl_fail(p->r, "%%%c format: a number is required, not %s", f->type, slv_tpl_type(v));
    return false;
}

static bool percent_all(struct percent *p) {
    struct spec f;
    while (p->at < p->s.n) {
        const char *from = p->s.p + p->at, *sign = memchr(from, '%', p->s.n - p->at);
        size_t n = sign ? (size_t)(sign - from) : p->s.n - p->at;
        struct slv_value *v = NULL;
        if (!slv_tpl_pay(p->r, 1) || !slv_tpl_add(p->r, from, n)) return false;
        p->at += n + (sign != NULL);
        if (!sign) break;
        if (p->at < p->s.n && p->s.p[p->at] == '%') {
            if (!slv_tpl_add(p->r, p->s.p + p->at++, 1)) return false;
            continue;
        }
        if (p->at < p->s.n && p->s.p[p->at] == '(' && !read_key(p, &v)) return false;
        if (!read_flags(p, &f)) return false;
        if (!v) v = next_arg(p);
        if (!v || !convert(p, &f, v)) return false;
    }
    return true;
}

/* fmt % args; `map`, when given, is where %(name)s looks. */
struct slv_value *slv_tpl_percent(struct tpl_run *r, struct slv_value *fmt, struct slv_value *args,
                                  struct slv_value *map) {
    struct percent p = {.r = r, .s = fmt->s, .args = args, .map = map, .markup = fmt->markup};
    if (!map && args->kind == TPL_DICT) p.map = args;
    size_t mark = slv_tpl_begin(r);
    if (!percent_all(&p)) return NULL;
    size_t given = args->kind == TPL_TUPLE ? args->list->n : 1;
    bool mapping =
        p.map || args->kind == TPL_LIST || args->kind == TPL_UNDEF || args->kind == TPL_RANGE;
    if (p.used < given && !mapping)
        return slv_tpl_fail(r, "not all arguments converted during string formatting");
    struct slv_value *v = slv_tpl_end(r, mark);
    return v && fmt->markup ? slv_tpl_like(r, fmt, v->s.p, v->s.n) : v;
}

/* --- str.format ------------------------------------------------------------------------------- */

struct format {
    struct tpl_run *r;
    const struct tpl_args *a;
    int64_t next; /* automatic number of the next field; -1: fields are numbered by hand */
    bool numbered;
};

static bool read_spec(struct tpl_run *r, struct tpl_text s, struct spec *f) {
    *f = (struct spec){.fill = " ", .fill_n = 1, .precision = -1};
    size_t i = 0, first = 0;
    uint32_t cp;
    if (s.n) first = slv_utf8_decode(s.p, s.n, &cp);
    if (first && first < s.n && memchr("<>^=", s.p[first], 4)) {
        memcpy(f->fill, s.p, first);
        f->fill_n = first;
        f->align = s.p[first];
        i = first + 1;
    } else if (s.n && memchr("<>^=", s.p[0], 4)) {
        f->align = s.p[i++];
    }
    if (i < s.n && memchr("+- ", s.p[i], 3)) f->sign = s.p[i] == '-' ? 0 : s.p[i], i++;
    if (i < s.n && s.p[i] == '#') f->alt = true, i++;
    if (i < s.n && s.p[i] == '0') f->zero = true, i++;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) /* past the maximum: any will do */
        if (f->width <= TPL_STR_MAX) f->width = f->width * 10 + (size_t)(s.p[i] - '0');
    if (i < s.n && (s.p[i] == ',' || s.p[i] == '_')) f->group = s.p[i++];
    if (i < s.n && s.p[i] == '.') {
        size_t from = ++i;
        f->precision = 0;
        for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
            if (f->precision < 1 << 24) f->precision = f->precision * 10 + (s.p[i] - '0');
        if (i == from) return slv_tpl_fail(r, "Format specifier missing precision") != NULL;
    }
    if (i < s.n) f->type = s.p[i++];
    if (i == s.n) return true;
    slv_tpl_fail(r, "Invalid format specifier");
    return false;
}

static bool format_number(struct tpl_run *r, struct spec *f, const struct slv_value *v) {
    int64_t i;
    double d;
    if (!f->align) f->align = f->zero ? '=' : '>';
    if (f->zero && f->fill_n == 1 && f->fill[0] == ' ') f->fill[0] = '0';
    bool real = f->type && memchr("eEfFgG%", f->type, 7);
    if (v->kind == TPL_FLOAT || real) {
        if ((!real && f->type && f->type != 'n') || !slv_tpl_as_double(v, &d)) goto unknown;
        return add_double(r, f, d);
    }
    if (f->precision >= 0)
        return slv_tpl_fail(r, "Precision not allowed in integer format specifier") != NULL;
    if (f->type && !memchr("bdoxXnc", f->type, 7)) goto unknown;
    if (v->kind == TPL_BIGINT && (!f->type || f->type == 'd'))
        return add_padded(r, f, v->s, v->s.n, v->s.p[0] == '-');
    if (f->type == 'c' || !slv_tpl_as_int(v, &i)) goto unknown;
    return add_int(r, f, i);
unknown:
    slv_tpl_fail(r, "Unknown format code '%c' for object of type '%s'", f->type, slv_tpl_type(v));
    return false;
}

static bool format_value(struct tpl_run *r, struct slv_value *v, struct tpl_text spec) {
    struct spec f;
    if (spec.n == 0) return slv_tpl_add_value(r, v);
    if (!read_spec(r, spec, &f)) return false;
    if (v->kind == TPL_INT || v->kind == TPL_BOOL || v->kind == TPL_FLOAT || v->kind == TPL_BIGINT)
        return format_number(r, &f, v);
    if (v->kind != TPL_STR)
        return slv_tpl_fail(r, "unsupported format string passed to %s.__format__",
                            slv_tpl_type(v)) != NULL;
    if ((f.type && f.type != 's') || f.sign || f.group || f.align == '=')
        return slv_tpl_fail(r, "Invalid format specifier for a string") != NULL;
    if (!f.align) f.align = '<';
    if (f.zero && f.fill[0] == ' ') f.fill[0] = '0';
    return add_text(r, &f, v);
}

static struct slv_value *numbered(struct format *g, int64_t i) {
    if (i >= 0 && (size_t)i < g->a->n) return g->a->v[i];
    return slv_tpl_fail(g->r, "Replacement index %lld out of range", (long long)i);
}

/* The value that begins a field's name. */
static struct slv_value *first_value(struct format *g, struct tpl_text name) {
    int64_t i = 0;
    bool digit = name.n > 0;
    for (size_t k = 0; k < name.n && digit; k++) {
        digit = name.p[k] >= '0' && name.p[k] <= '9' && k < 9;
        i = i * 10 + (name.p[k] - '0');
    }
    if (name.n == 0) {
        if (g->next < 0) return slv_tpl_fail(g->r, "cannot mix manual and automatic numbering");
        g->numbered = true;
        return numbered(g, g->next++);
    }
    if (digit) {
        if (g->numbered) return slv_tpl_fail(g->r, "cannot mix manual and automatic numbering");
        g->next = -1;
        return numbered(g, i);
    }
    for (size_t k = 0; k < g->a->nkw; k++)
        if (g->a->names[k]->s.n == name.n && memcmp(g->a->names[k]->s.p, name.p, name.n) == 0)
            return g->a->kw[k];
    return slv_tpl_fail(g->r, "format() lacks a named argument");
}

static size_t span(struct tpl_text s, size_t at, const char *stop) {
    while (at < s.n && !memchr(stop, s.p[at], strlen(stop)))
        at++;
    return at;
}

/* name.attr[item]... */
static struct slv_value *field_value(struct format *g, struct tpl_text s) {
    size_t at = span(s, 0, ".[");
    struct slv_value *v = first_value(g, (struct tpl_text){s.p, at});
    while (v && at < s.n) {
        bool dot = s.p[at] == '.';
        size_t from = at + 1, to = span(s, from, dot ? ".[" : "]");
        if (to == from || (!dot && to == s.n))
            return slv_tpl_fail(g->r, "a malformed field in a format string");
        struct slv_value *key = slv_tpl_view(&g->r->mem, s.p + from, to - from);
        if (!key) return NULL;
        if (!dot && slv_tpl_all(key, IS_DECIMAL) && key->s.n < 10)
            key = slv_tpl_parse_int(&g->r->mem, key->s.p, key->s.n, 10);
        if (!key) return NULL;
        v = dot ? slv_tpl_getattr(g->r, v, key, NULL) : slv_tpl_getitem(g->r, v, key, NULL);
        at = dot ? to : to + 1;
    }
    return v;
}

static bool format_text(struct format *g, struct tpl_text s, unsigned depth);

/* What stands between braces: name, then "!r" or "!s", then ":" and a specification. */
static bool format_field(struct format *g, struct tpl_text s, unsigned depth) {
    struct tpl_run *r = g->r;
    size_t name_n = 0;
    for (bool in = false; name_n < s.n && (in || !memchr("!:", s.p[name_n], 2)); name_n++)
        in = s.p[name_n] == '[' || (in && s.p[name_n] != ']');
    struct slv_value *v = field_value(g, (struct tpl_text){s.p, name_n});
    size_t at = name_n;
    if (!v) return false;
    if (at < s.n && s.p[at] == '!') {
        char how = at + 1 < s.n ? s.p[at + 1] : 0;
        size_t mark = slv_tpl_begin(r);
        if ((how != 'r' && how != 's') || (at + 2 < s.n && s.p[at + 2] != ':'))
            return slv_tpl_fail(r, "a malformed conversion in a format string") != NULL;
        bool ok = how == 'r' ? slv_tpl_add_repr(r, v) : slv_tpl_add_value(r, v);
        v = ok ? slv_tpl_end(r, mark) : NULL;
        if (!v) return false;
        at += 2;
    }
    struct tpl_text spec = {"", 0};
    if (at < s.n) {
        size_t mark = slv_tpl_begin(r);
        struct tpl_text inner = {s.p + at + 1, s.n - at - 1};
        if (!format_text(g, inner, depth + 1)) return false;
        struct slv_value *text = slv_tpl_end(r, mark);
        if (!text) return false;
        spec = text->s;
    }
    return format_value(r, v, spec);
}

static bool format_text(struct format *g, struct tpl_text s, unsigned depth) {
    if (depth > 2) return slv_tpl_fail(g->r, "Max string recursion exceeded") != NULL;
    for (size_t i = 0; i < s.n;) {
        size_t to = span(s, i, "{}");
        if (!slv_tpl_pay(g->r, 1) || !slv_tpl_add(g->r, s.p + i, to - i)) return false;
        if (to == s.n) break;
        if (depth == 1 && to + 1 < s.n && s.p[to + 1] == s.p[to]) {
            if (!slv_tpl_add(g->r, s.p + to, 1)) return false;
            i = to + 2;
            continue;
        }
        size_t deep = 1, end = to + 1;
        for (; end < s.n && s.p[to] == '{'; end++) {
            if (s.p[end] == '{') deep++;
            if (s.p[end] == '}' && --deep == 0) break;
        }
        if (deep || s.p[to] == '}')
            return slv_tpl_fail(g->r, "Single '%c' encountered in format string", s.p[to]) != NULL;
        if (!format_field(g, (struct tpl_text){s.p + to + 1, end - to - 1}, depth)) return false;
        i = end + 1;
    }
    return true;
}

struct slv_value *slv_tpl_format(struct tpl_run *r, struct slv_value *fmt,
                                 const struct tpl_args *a) {
    struct format g = {.r = r, .a = a};
    size_t mark = slv_tpl_begin(r);
    if (fmt->markup)
        return slv_tpl_fail_code(r, SLV_E_UNSUPPORTED, "format on marked text is not supported");
    return format_text(&g, fmt->s, 1) ? slv_tpl_end(r, mark) : NULL;
}
