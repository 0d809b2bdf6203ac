/* tpl_text.c: str() and repr() of values, numbers as text and back, places in texts.
 *
 * Text is built in one scratch buffer used as a stack, so that nested builders and captured blocks
 * share one bound. Python's rules for repr: strings prefer single quotes, floats have the fewest
 * digits that read back, with an exponent below 1e-4 and from 1e16. */
#define _GNU_SOURCE /* memmem, memrchr */
#include "base/mem.h"
#include "base/utf8.h"
#include "format/template_impl.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIGINT_MAX 4300 /* digits, as in Python */

bool slv_tpl_add(struct tpl_run *r, const char *p, size_t n) {
    if (!slv_tpl_pay(r, n / 32)) return false;
    int rc = slv_buf_add(&r->scratch, p, n);
    if (rc == SLV_E_LIMIT) slv_tpl_fail_code(r, rc, "a text grows too long");
    return rc == 0;
}

static bool adds(struct tpl_run *r, const char *s) { return slv_tpl_add(r, s, strlen(s)); }

struct slv_value *slv_tpl_end(struct tpl_run *r, size_t mark) {
    size_t n = r->scratch.len - mark;
    if (n == 0) return &slv_tpl_empty;
    char *p = slv_tpl_alloc(&r->mem, n);
    if (!p || !slv_tpl_pay(r, n / 32)) return NULL;
    memcpy(p, r->scratch.data + mark, n);
    r->scratch.len = mark;
    r->scratch.data[mark] = '\0';
    return slv_tpl_view(&r->mem, p, n);
}

bool slv_tpl_add_fill(struct tpl_run *r, const char *p, size_t n, size_t times) {
    size_t bytes;
    if (n == 0 || times == 0) return true;
    if (!slv_size_mul(n, times, &bytes) || bytes > TPL_STR_MAX) {
        slv_tpl_fail_code(r, SLV_E_LIMIT, "a text grows too long");
        return false;
    }
    if (!slv_tpl_pay(r, times / 8)) return false;
    for (size_t i = 0; i < times; i++)
        if (!slv_tpl_add(r, p, n)) return false;
    return true;
}

const char *slv_tpl_type(const struct slv_value *v) {
    static const char *const names[] = {
        "Undefined", "NoneType", "bool",     "int",         "int",    "float",     "str",
        "list",      "tuple",    "dict",     "dict view",   "range",  "generator", "Namespace",
        "Macro",     "method",   "function", "LoopContext", "Cycler", "Joiner",
    };
    return names[v->kind];
}

/* --- numbers ---------------------------------------------------------------------------------- */

static bool reads_back(const char *text, double v) { return strtod(text, NULL) == v; }

size_t slv_tpl_float_text(double v, char out[TPL_FLOAT_TEXT]) {
    if (isnan(v)) return (size_t)snprintf(out, TPL_FLOAT_TEXT, "nan");
    if (isinf(v)) return (size_t)snprintf(out, TPL_FLOAT_TEXT, v < 0 ? "-inf" : "inf");
    char text[TPL_FLOAT_TEXT], digits[TPL_FLOAT_TEXT] = "0";
    for (int precision = 0; precision <= 16; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, v);
        if (reads_back(text, v)) break;
    }
    size_t n = 0, k = 0;
    const char *p = text;
    if (*p == '-') out[n++] = *p++;
    for (; *p && *p != 'e'; p++)
        if (*p >= '0' && *p <= '9') digits[k++] = *p;
    int exponent = atoi(p + 1);
    if (exponent < -4 || exponent >= 16) {
        out[n++] = digits[0];
        if (k > 1) out[n++] = '.';
        for (size_t i = 1; i < k; i++)
            out[n++] = digits[i];
        return n + (size_t)snprintf(out + n, TPL_FLOAT_TEXT - n, "e%c%02d",
                                    exponent < 0 ? '-' : '+', abs(exponent));
    }
    if (exponent < 0) {
        out[n++] = '0';
        out[n++] = '.';
        for (int i = -1; i > exponent; i--)
            out[n++] = '0';
        memcpy(out + n, digits, k);
        n += k;
    } else {
        for (int i = 0; i <= exponent; i++)
            out[n++] = (size_t)i < k ? digits[i] : '0';
        out[n++] = '.';
        if (k <= (size_t)exponent + 1) out[n++] = '0';
        for (size_t i = (size_t)exponent + 1; i < k; i++)
            out[n++] = digits[i];
    }
    out[n] = '\0';
    return n;
}

bool slv_tpl_parse_double(const char *p, size_t n, double *ret) {
    /* An embedding program may have set a locale whose decimal point is not a point. */
    const char *point = localeconv()->decimal_point;
    char small[64], *text = small, *end;
    size_t k = 0, point_n = strlen(point), room;
    if (!slv_size_add(n, point_n + 1, &room)) return false;
    if (room > sizeof small) text = slv_mem_alloc(room);
    if (!text) return false;
    bool plain = n > 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '.') {
            if (memchr(p + i + 1, '.', n - i - 1)) plain = false;
            memcpy(text + k, point, point_n);
            k += point_n;
        } else {
            if (!memchr("0123456789+-eE", p[i], 14)) plain = false;
            text[k++] = p[i];
        }
        if (!plain) break;
    }
    text[k] = '\0';
    double v = plain ? strtod(text, &end) : 0;
    plain = plain && end == text + k;
    if (text != small) slv_mem_free(text);
    if (plain) *ret = v;
    return plain;
}

struct slv_value *slv_tpl_parse_int(struct slv_scope *s, const char *p, size_t n, int base) {
    bool negative = n && *p == '-';
    if (negative) p++, n--;
    while (n > 1 && *p == '0')
        p++, n--;
    uint64_t v = 0, limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    size_t i = 0;
    for (; i < n; i++) {
        int c = p[i] | 0x20;
        uint64_t digit = (uint64_t)(c >= 'a' ? c - 'a' + 10 : p[i] - '0');
        if (v > (limit - digit) / (uint64_t)base) break;
        v = v * (uint64_t)base + digit;
    }
    if (i == n) {
        struct slv_value *r = slv_tpl_new(s, TPL_INT);
        if (r) r->i = negative ? (int64_t)(0 - v) : (int64_t)v;
        return r;
    }
    if (base != 10 || n > BIGINT_MAX) return NULL;
    struct slv_value *r = slv_tpl_new(s, TPL_BIGINT);
    char *text = r ? slv_tpl_alloc(s, n + 1) : NULL;
    if (!text) return NULL;
    if (negative) text[0] = '-';
    memcpy(text + negative, p, n);
    r->s = (struct tpl_text){text, n + negative};
    return r;
}

/* --- str and repr ----------------------------------------------------------------------------- */

static bool add_str_repr(struct tpl_run *r, const struct slv_value *v) {
    const char *s = v->s.p;
    size_t n = v->s.n;
    char quote = memchr(s, '\'', n) && !memchr(s, '"', n) ? '"' : '\'';
    if (!slv_tpl_add(r, &quote, 1)) return false;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t used = slv_utf8_decode(s + i, n - i, &cp);
        char text[16];
        bool ok;
        if (cp == (unsigned char)quote || cp == '\\')
            ok = slv_tpl_add(r, "\\", 1) && slv_tpl_add(r, s + i, 1);
        else if (cp == '\n') ok = adds(r, "\\n");
        else if (cp == '\r') ok = adds(r, "\\r");
        else if (cp == '\t') ok = adds(r, "\\t");
        else if (slv_tpl_printable(cp)) ok = slv_tpl_add(r, s + i, used);
        else {
            char kind = cp < 0x100 ? 'x' : cp < 0x10000 ? 'u' : 'U';
            snprintf(text, sizeof text, "\\%c%0*x", kind,
                     kind == 'x'   ? 2
                     : kind == 'u' ? 4
                                   : 8,
                     (unsigned)cp);
            ok = adds(r, text);
        }
        if (!ok) return false;
        i += used;
    }
    return slv_tpl_add(r, &quote, 1);
}

static bool add_list(struct tpl_run *r, const struct slv_value *v) {
    bool tuple = v->kind == TPL_TUPLE;
    if (!slv_tpl_enter(r) || !adds(r, tuple ? "(" : "[")) return false;
    for (size_t i = 0; i < v->list->n; i++) {
        if (i && !adds(r, ", ")) return false;
        if (!slv_tpl_add_repr(r, v->list->v[i])) return false;
    }
    slv_tpl_leave(r);
    return adds(r, !tuple ? "]" : v->list->n == 1 ? ",)" : ")");
}

static bool add_entries(struct tpl_run *r, const struct tpl_dict *d, bool keys, bool values,
                        const char *between) {
    if (!slv_tpl_enter(r)) return false;
    for (size_t i = 0; i < d->n; i++) {
        bool pair = keys && values && *between == ',';
        if (i && !adds(r, ", ")) return false;
        if (pair && !adds(r, "(")) return false;
        if (keys && !slv_tpl_add_repr(r, d->e[i].key)) return false;
        if (keys && values && !adds(r, between)) return false;
        if (values && !slv_tpl_add_repr(r, d->e[i].value)) return false;
        if (pair && !adds(r, ")")) return false;
    }
    slv_tpl_leave(r);
    return true;
}

static bool add_view(struct tpl_run *r, const struct slv_value *v) {
    static const char *const open[] = {"dict_keys([", "dict_values([", "dict_items(["};
    return adds(r, open[v->view]) &&
           add_entries(r, v->dict, v->view != TPL_VALUES, v->view != TPL_KEYS, ", ") &&
           adds(r, "])");
}

static bool add_range(struct tpl_run *r, const struct tpl_range *g) {
    char text[100];
    long long start = (long long)g->start, stop = (long long)g->stop, step = (long long)g->step;
    if (step == 1) snprintf(text, sizeof text, "range(%lld, %lld)", start, stop);
    else snprintf(text, sizeof text, "range(%lld, %lld, %lld)", start, stop, step);
    return adds(r, text);
}

static bool add_macro(struct tpl_run *r, const char *name) {
    if (!name) return adds(r, "<Macro anonymous>");
    const struct slv_value quoted = {.kind = TPL_STR, .s = {name, strlen(name)}};
    return adds(r, "<Macro ") && add_str_repr(r, &quoted) && adds(r, ">");
}

bool slv_tpl_add_repr(struct tpl_run *r, const struct slv_value *v) {
    char text[TPL_FLOAT_TEXT];
    switch ((enum tpl_kind)v->kind) {
    case TPL_UNDEF:
        return adds(r, "Undefined");
    case TPL_NONE:
        return adds(r, "None");
    case TPL_BOOL:
        return adds(r, v->truth ? "True" : "False");
    case TPL_INT:
        snprintf(text, sizeof text, "%lld", (long long)v->i);
        return adds(r, text);
    case TPL_BIGINT:
        return slv_tpl_add(r, v->s.p, v->s.n);
    case TPL_FLOAT:
        return slv_tpl_add(r, text, slv_tpl_float_text(v->d, text));
    case TPL_STR:
        if (!v->markup) return add_str_repr(r, v);
        return adds(r, "Markup(") && add_str_repr(r, v) && adds(r, ")");
    case TPL_LIST:
    case TPL_TUPLE:
        return add_list(r, v);
    case TPL_DICT:
        return adds(r, "{") && add_entries(r, v->dict, true, true, ": ") && adds(r, "}");
    case TPL_VIEW:
        return add_view(r, v);
    case TPL_RANGE:
        return add_range(r, v->range);
    case TPL_NS:
        return adds(r, "<Namespace {") && add_entries(r, v->dict, true, true, ": ") &&
               adds(r, "}>");
    case TPL_MACRO:
        return add_macro(r, v->macro->sig->name);
    case TPL_METHOD:
    case TPL_FUNC:
    case TPL_LOOP:
    case TPL_CYCLER:
    case TPL_JOINER:
    case TPL_ITER:
        break; /* Python prints an address */
    }
    return adds(r, "<") && adds(r, slv_tpl_type(v)) && adds(r, " object>");
}

bool slv_tpl_add_value(struct tpl_run *r, const struct slv_value *v) {
    if (v->kind == TPL_STR) return slv_tpl_add(r, v->s.p, v->s.n);
    return v->kind == TPL_UNDEF || slv_tpl_add_repr(r, v);
}

bool slv_tpl_add_escaped(struct tpl_run *r, const struct slv_value *v) {
    static const struct {
        char c;
        const char *as;
    } rows[] = {{'&', "&amp;"}, {'>', "&gt;"}, {'<', "&lt;"}, {'\'', "&#39;"}, {'"', "&#34;"}};
    size_t mark = slv_tpl_begin(r);
    struct slv_value *s = NULL;
    if (v->kind != TPL_STR) {
        if (!slv_tpl_add_value(r, v)) return false;
        s = slv_tpl_end(r, mark);
        if (!s) return false;
        v = s;
    }
    if (v->markup) return slv_tpl_add(r, v->s.p, v->s.n);
    size_t from = 0;
    for (size_t i = 0; i < v->s.n; i++)
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
            if (v->s.p[i] != rows[k].c) continue;
            if (!slv_tpl_add(r, v->s.p + from, i - from) || !adds(r, rows[k].as)) return false;
            from = i + 1;
        }
    return slv_tpl_add(r, v->s.p + from, v->s.n - from);
}

struct slv_value *slv_tpl_str(struct tpl_run *r, struct slv_value *v) {
    if (v->kind == TPL_STR) return v;
    size_t mark = slv_tpl_begin(r);
    return slv_tpl_add_value(r, v) ? slv_tpl_end(r, mark) : NULL;
}

/* --- places ----------------------------------------------------------------------------------- */

size_t slv_tpl_offset(const struct slv_value *v, size_t index) {
    if (v->cps == v->s.n) return index;
    size_t i = 0;
    for (; index && i < v->s.n; index--) {
        i++;
        while (i < v->s.n && ((unsigned char)v->s.p[i] & 0xc0) == 0x80)
            i++;
    }
    return i;
}

size_t slv_tpl_index_of(const struct slv_value *v, size_t offset) {
    if (v->cps == v->s.n) return offset;
    size_t index = 0;
    for (size_t i = 0; i < offset; i++)
        index += ((unsigned char)v->s.p[i] & 0xc0) != 0x80;
    return index;
}

char *slv_tpl_reverse(struct tpl_run *r, struct tpl_text s) {
    char *p = slv_tpl_alloc(&r->mem, s.n);
    for (size_t i = 0; p && i < s.n; i++)
        p[i] = s.p[s.n - 1 - i];
    return p;
}

/* memmem matches in linear time whatever the needle; the last match is the first one backwards. */
bool slv_tpl_search(struct tpl_run *r, struct tpl_text s, struct tpl_text needle, bool last,
                    size_t *ret) {
    *ret = SIZE_MAX;
    if (needle.n > s.n) return true;
    if (!slv_tpl_pay(r, s.n / 32)) return false;
    if (needle.n == 0) {
        *ret = last ? s.n : 0;
        return true;
    }
    if (!last) {
        const char *at = memmem(s.p, s.n, needle.p, needle.n);
        if (at) *ret = (size_t)(at - s.p);
        return true;
    }
    if (needle.n == 1) {
        const char *at = memrchr(s.p, needle.p[0], s.n);
        if (at) *ret = (size_t)(at - s.p);
        return true;
    }
    char *back = slv_tpl_reverse(r, s), *what = back ? slv_tpl_reverse(r, needle) : NULL;
    if (!what) return false;
    const char *at = memmem(back, s.n, what, needle.n);
    if (at) *ret = s.n - (size_t)(at - back) - needle.n;
    return true;
}
