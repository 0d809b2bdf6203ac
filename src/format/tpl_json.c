/* tpl_json.c: JSON text into values (RFC 8259), and values into JSON text as Python's json.dumps
 * writes it, which is what a model has seen in training: ", " and ": " between things, unless asked
 * otherwise, and no escapes beyond those JSON demands. */
#include "base/utf8.h"
#include "format/template_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- in --------------------------------------------------------------------------------------- */

struct reader {
    struct slv_scope *s;
    const char *p;
    size_t n, at;
    unsigned depth;
    struct slv_err *err;
    int rc;
};

static void *bad(struct reader *j, const char *why) {
    if (!j->rc) j->rc = slv_err_set(j->err, SLV_E_FORMAT, "JSON at byte %zu: %s", j->at, why);
    return NULL;
}

static void skip_space(struct reader *j) {
    while (j->at < j->n && memchr(" \t\n\r", j->p[j->at], 4))
        j->at++;
}

static bool take(struct reader *j, char c) {
    if (j->at >= j->n || j->p[j->at] != c) return false;
    j->at++;
    return true;
}

static bool hex4(struct reader *j, uint32_t *ret) {
    uint32_t v = 0;
    if (j->n - j->at < 4) return false;
    for (int i = 0; i < 4; i++) {
        int c = j->p[j->at + (size_t)i], low = c | 0x20;
        if (c >= '0' && c <= '9') v = v << 4 | (uint32_t)(c - '0');
        else if (low >= 'a' && low <= 'f') v = v << 4 | (uint32_t)(low - 'a' + 10);
        else return false;
    }
    j->at += 4;
    *ret = v;
    return true;
}

/* After "\u": writes the code point, a pair of surrogates as one, a lone one as U+FFFD. */
static size_t unicode_escape(struct reader *j, char *out) {
    uint32_t cp, low;
    if (!hex4(j, &cp)) return 0;
    if (cp >= 0xd800 && cp < 0xdc00 && j->n - j->at >= 6 && j->p[j->at] == '\\' &&
        j->p[j->at + 1] == 'u') {
        size_t back = j->at;
        j->at += 2;
        if (hex4(j, &low) && low >= 0xdc00 && low < 0xe000)
            return slv_utf8_encode(0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00), out);
        j->at = back;
    }
    return slv_utf8_encode(cp >= 0xd800 && cp < 0xe000 ? 0xfffd : cp, out);
}

/* The string's bytes; its opening quote is taken. An escape is never shorter than what it says. */
static struct slv_value *read_string(struct reader *j) {
    static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    const char *end = j->p + j->at;
    for (; end < j->p + j->n && *end != '"'; end++)
        if (*end == '\\' && end + 1 < j->p + j->n) end++;
    size_t room = (size_t)(end - (j->p + j->at)), k = 0;
    if (end >= j->p + j->n) return bad(j, "a string does not end");
    if (room == 0) {
        j->at++;
        return &slv_tpl_empty;
    }
    char *out = slv_tpl_alloc(j->s, room);
    if (!out) return NULL;
    while (!take(j, '"')) {
        unsigned char c = (unsigned char)j->p[j->at++];
        if (c < 0x20) return bad(j, "a control character in a string");
        if (c != '\\') {
            out[k++] = (char)c;
            continue;
        }
        c = (unsigned char)j->p[j->at++];
        if (c == 'u') {
            size_t used = unicode_escape(j, out + k);
            if (!used) return bad(j, "a broken \\u escape");
            k += used;
            continue;
        }
        const char *e = escapes;
        while (*e && *e != (char)c)
            e += 2;
        if (!*e) return bad(j, "an unknown escape");
        out[k++] = e[1];
    }
    if (slv_utf8_valid(out, k, NULL)) return slv_tpl_view(j->s, out, k);
    return slv_value_str(j->s, out, k);
}

static size_t digits(struct reader *j) {
    size_t from = j->at;
    while (j->at < j->n && j->p[j->at] >= '0' && j->p[j->at] <= '9')
        j->at++;
    return j->at - from;
}

static struct slv_value *read_number(struct reader *j) {
    size_t from = j->at;
    take(j, '-');
    bool zero = j->at < j->n && j->p[j->at] == '0', whole = true;
    size_t n = digits(j);
    if (n == 0 || (zero && n > 1)) return bad(j, "not a value");
    if (take(j, '.')) {
        whole = false;
        if (!digits(j)) return bad(j, "a number without digits after the point");
    }
    if (j->at < j->n && (j->p[j->at] | 0x20) == 'e') {
        whole = false;
        j->at++;
        if (!take(j, '+')) take(j, '-');
        if (!digits(j)) return bad(j, "a number without digits in its exponent");
    }
    if (whole) {
        struct slv_value *v = slv_tpl_parse_int(j->s, j->p + from, j->at - from, 10);
        return v || j->s->failed ? v : bad(j, "an integer of too many digits");
    }
    double v;
    if (!slv_tpl_parse_double(j->p + from, j->at - from, &v)) {
        j->rc = SLV_E_NOMEM; /* the text was checked above */
        return NULL;
    }
    return slv_value_double(j->s, v);
}

static struct slv_value *read_value(struct reader *j);

static struct slv_value *read_list(struct reader *j) {
    struct slv_value *list = slv_tpl_list(j->s, TPL_LIST, 0);
    skip_space(j);
    if (!list || take(j, ']')) return list;
    for (;;) {
        if (!slv_tpl_push(j->s, list, read_value(j))) return NULL;
        skip_space(j);
        if (take(j, ']')) return list;
        if (!take(j, ',')) return bad(j, "a list wants ',' or ']'");
    }
}

static struct slv_value *read_dict(struct reader *j) {
    struct slv_value *dict = slv_value_dict(j->s);
    skip_space(j);
    if (!dict || take(j, '}')) return dict;
    for (;;) {
        skip_space(j);
        if (!take(j, '"')) return bad(j, "an object wants a string as key");
        struct slv_value *key = read_string(j);
        if (!key) return NULL;
        skip_space(j);
        if (!take(j, ':')) return bad(j, "an object wants ':' after a key");
        if (!slv_tpl_put(NULL, j->s, dict->dict, key, read_value(j))) return NULL;
        skip_space(j);
        if (take(j, '}')) return dict;
        if (!take(j, ',')) return bad(j, "an object wants ',' or '}'");
    }
}

static struct slv_value *read_value(struct reader *j) {
    static const struct {
        const char *text;
        struct slv_value *v;
    } words[] = {{"null", &slv_tpl_none}, {"true", &slv_tpl_true}, {"false", &slv_tpl_false}};
    struct slv_value *v;
    skip_space(j);
    if (take(j, '"')) return read_string(j);
    if (j->at < j->n && (j->p[j->at] == '[' || j->p[j->at] == '{')) {
        if (j->depth++ == TPL_JSON_DEPTH) {
            j->rc =
                slv_err_set(j->err, SLV_E_LIMIT, "JSON is nested deeper than %d", TPL_JSON_DEPTH);
            return NULL;
        }
        v = j->p[j->at++] == '[' ? read_list(j) : read_dict(j);
        j->depth--;
        return v;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i].text);
        if (j->n - j->at < n || memcmp(j->p + j->at, words[i].text, n) != 0) continue;
        j->at += n;
        return words[i].v;
    }
    return read_number(j);
}

int slv_value_parse(struct slv_scope *s, const char *json, size_t n, struct slv_value **ret,
                    struct slv_err *err) {
    struct reader j = {.s = s, .p = json, .n = n, .err = err};
    s->failed = s->full = false;
    struct slv_value *v = read_value(&j);
    skip_space(&j);
    if (v && j.at != n) v = bad(&j, "something follows the value");
    if (v) {
        *ret = v;
        return 0;
    }
    if (j.rc && j.rc != SLV_E_NOMEM) return j.rc;
    return s->full ? slv_err_set(err, SLV_E_LIMIT, "JSON: the values take too much room")
                   : slv_err_set(err, SLV_E_NOMEM, "JSON: memory is out");
}

/* --- out -------------------------------------------------------------------------------------- */

struct writer {
    struct tpl_run *r;
    bool ascii, sort, pretty;
    struct tpl_text item, key; /* separators */
    struct tpl_text indent;
    size_t times, level; /* of indent at each level */
};

static bool put(struct writer *w, const char *s) { return slv_tpl_add(w->r, s, strlen(s)); }

static bool write_string(struct writer *w, struct tpl_text s) {
    static const char names[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    char text[16];
    if (!put(w, "\"")) return false;
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        size_t used = slv_utf8_decode(s.p + i, s.n - i, &cp);
        const char *name = names;
        while (*name && (uint32_t)*name != cp)
            name += 2;
        if (*name) {
            text[0] = '\\';
            text[1] = name[1];
            if (!slv_tpl_add(w->r, text, 2)) return false;
        } else if (cp < 0x20 || (w->ascii && cp > 0x7e)) {
            if (cp < 0x10000) snprintf(text, sizeof text, "\\u%04x", (unsigned)cp);
            else
                snprintf(text, sizeof text, "\\u%04x\\u%04x",
                         0xd800 + ((unsigned)(cp - 0x10000) >> 10),
                         0xdc00 + ((unsigned)cp & 0x3ff));
            if (!put(w, text)) return false;
        } else if (!slv_tpl_add(w->r, s.p + i, used)) return false;
        i += used;
    }
    return put(w, "\"");
}

static bool write_scalar(struct writer *w, const struct slv_value *v) {
    if (v->kind == TPL_NONE) return put(w, "null");
    if (v->kind == TPL_BOOL) return put(w, v->truth ? "true" : "false");
    if (v->kind == TPL_FLOAT && isnan(v->d)) return put(w, "NaN");
    if (v->kind == TPL_FLOAT && isinf(v->d)) return put(w, v->d < 0 ? "-Infinity" : "Infinity");
    return slv_tpl_add_repr(w->r, v);
}

static bool scalar(const struct slv_value *v) {
    return v->kind == TPL_NONE || v->kind == TPL_BOOL || v->kind == TPL_INT ||
           v->kind == TPL_BIGINT || v->kind == TPL_FLOAT;
}

static bool new_line(struct writer *w) {
    return !w->pretty ||
           (put(w, "\n") && slv_tpl_add_fill(w->r, w->indent.p, w->indent.n, w->times * w->level));
}

static bool write_value(struct writer *w, const struct slv_value *v);

static bool write_list(struct writer *w, const struct tpl_list *l) {
    if (l->n == 0) return put(w, "[]");
    if (!put(w, "[")) return false;
    w->level++;
    for (size_t i = 0; i < l->n; i++) {
        if (i && !slv_tpl_add(w->r, w->item.p, w->item.n)) return false;
        if (!new_line(w) || !write_value(w, l->v[i])) return false;
    }
    w->level--;
    return new_line(w) && put(w, "]");
}

static bool write_key(struct writer *w, const struct slv_value *key) {
    if (key->kind == TPL_STR) return write_string(w, key->s);
    if (scalar(key)) return put(w, "\"") && write_scalar(w, key) && put(w, "\"");
    slv_tpl_fail(w->r, "keys must be str, int, float, bool or None, not %s", slv_tpl_type(key));
    return false;
}

/* Positions of the entries in the order of their keys: a merge sort, so that a failing comparison
 * leaves nothing behind. */
static bool sort_keys(struct tpl_run *r, const struct tpl_dict *d, uint32_t *at, uint32_t *tmp,
                      size_t n) {
    if (n < 2) return true;
    size_t half = n / 2, i = 0, k = half, o = 0;
    if (!sort_keys(r, d, at, tmp, half) || !sort_keys(r, d, at + half, tmp, n - half)) return false;
    while (i < half || k < n) {
        int c = i == half ? 1 : -1;
        if (i < half && k < n &&
            (!slv_tpl_pay(r, 1) || !slv_tpl_order(r, d->e[at[i]].key, d->e[at[k]].key, &c)))
            return false;
        tmp[o++] = c <= 0 ? at[i++] : at[k++];
    }
    memcpy(at, tmp, n * sizeof *at);
    return true;
}

static bool write_dict(struct writer *w, const struct tpl_dict *d) {
    uint32_t *order = NULL;
    if (d->n == 0) return put(w, "{}");
    if (w->sort) {
        order = slv_tpl_alloc(&w->r->mem, 2 * d->n * sizeof *order);
        for (size_t i = 0; order && i < d->n; i++)
            order[i] = (uint32_t)i;
        if (!order || !sort_keys(w->r, d, order, order + d->n, d->n)) return false;
    }
    if (!put(w, "{")) return false;
    w->level++;
    for (size_t i = 0; i < d->n; i++) {
        const struct tpl_entry *e = &d->e[order ? order[i] : i];
        if (i && !slv_tpl_add(w->r, w->item.p, w->item.n)) return false;
        if (!new_line(w) || !write_key(w, e->key) || !slv_tpl_add(w->r, w->key.p, w->key.n) ||
            !write_value(w, e->value))
            return false;
    }
    w->level--;
    return new_line(w) && put(w, "}");
}

static bool write_value(struct writer *w, const struct slv_value *v) {
    bool ok = false;
    if (!slv_tpl_enter(w->r)) return false;
    if (v->kind == TPL_STR) ok = write_string(w, v->s);
    else if (slv_tpl_seq(v)) ok = write_list(w, v->list);
    else if (v->kind == TPL_DICT) ok = write_dict(w, v->dict);
    else if (scalar(v)) ok = write_scalar(w, v);
    else slv_tpl_fail(w->r, "object of type %s is not JSON serializable", slv_tpl_type(v));
    slv_tpl_leave(w->r);
    return ok;
}

static bool read_separators(struct writer *w, const struct slv_value *v) {
    if (!slv_tpl_seq(v) || v->list->n != 2 || v->list->v[0]->kind != TPL_STR ||
        v->list->v[1]->kind != TPL_STR) {
        slv_tpl_fail(w->r, "tojson: separators must be two strings");
        return false;
    }
    w->item = v->list->v[0]->s;
    w->key = v->list->v[1]->s;
    return true;
}

/* tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False), as transformers
 * defines it for chat templates: plain json.dumps, nothing escaped for HTML. */
struct slv_value *slv_tpl_tojson(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    struct writer w = {.r = r, .item = {", ", 2}, .key = {": ", 2}, .indent = {" ", 1}};
    int64_t n;
    w.ascii = a->v[0] && slv_tpl_truth(r, a->v[0]);
    w.sort = a->v[3] && slv_tpl_truth(r, a->v[3]);
    if (a->v[1] && a->v[1]->kind != TPL_NONE) {
        w.pretty = true;
        w.item.n = 1;
        if (a->v[1]->kind == TPL_STR) {
            w.indent = a->v[1]->s;
            w.times = 1;
        } else if (slv_tpl_as_int(a->v[1], &n)) {
            w.times = n > 0 ? (size_t)n : 0;
        } else {
            return slv_tpl_fail(r, "tojson: indent must be a number or a string");
        }
        if (w.times > TPL_STR_MAX)
            return slv_tpl_fail_code(r, SLV_E_LIMIT, "a text grows too long");
    }
    if (a->v[2] && a->v[2]->kind != TPL_NONE && !read_separators(&w, a->v[2])) return NULL;
    size_t mark = slv_tpl_begin(r);
    return write_value(&w, v) ? slv_tpl_end(r, mark) : NULL;
}
