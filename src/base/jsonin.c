/* jsonin.c: see jsonin.h. */
#include "base/jsonin.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 64u /* characters of a number; the shortest form of a double has 24 */

struct reader {
    struct slv_json_doc *d;
    size_t n, at;
    unsigned depth;
    struct slv_err *err;
};

static int bad(const struct reader *r, const char *why) {
    return slv_err_set(r->err, SLV_E_FORMAT, "JSON at byte %zu: %s", r->at, why);
}

static int out_of_memory(const struct reader *r) {
    return slv_err_set(r->err, SLV_E_NOMEM, "out of memory");
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static void skip_space(struct reader *r) {
    while (r->at < r->n && is_space(r->d->text[r->at]))
        r->at++;
}

static bool take(struct reader *r, char c) {
    if (r->at >= r->n || r->d->text[r->at] != c) return false;
    r->at++;
    return true;
}

/* A new value; its end is set when it is known. */
static int add(struct reader *r, enum slv_json_kind kind, size_t at, size_t n, uint32_t *ret) {
    struct slv_json_doc *d = r->d;
    int rc = slv_mem_grow((void **)&d->v, d->n, &d->cap, sizeof *d->v, SLV_JSON_MAX_VALUES);
    if (rc == SLV_E_LIMIT)
        return slv_err_set(r->err, rc, "JSON of more than %u values", SLV_JSON_MAX_VALUES);
    if (rc) return out_of_memory(r);
    *ret = (uint32_t)d->n;
    d->v[d->n++] = (struct slv_json_node){
        .at = (uint32_t)at, .n = (uint32_t)n, .end = *ret + 1, .kind = (uint8_t)kind};
    return 0;
}

/* --- strings ---------------------------------------------------------------------------------- */

static bool hex4(struct reader *r, uint32_t *ret) {
    uint32_t v = 0;
    if (r->n - r->at < 4) return false;
    for (size_t i = 0; i < 4; i++) {
        int c = r->d->text[r->at + i], low = c | 0x20;
        if (c >= '0' && c <= '9') v = v << 4 | (uint32_t)(c - '0');
        else if (low >= 'a' && low <= 'f') v = v << 4 | (uint32_t)(low - 'a' + 10);
        else return false;
    }
    r->at += 4;
    *ret = v;
    return true;
}

/* After "\u": one code point, a pair of surrogates as one, a lone one as U+FFFD. */
static int unicode_escape(struct reader *r) {
    char out[SLV_UTF8_MAX];
    uint32_t cp, low;
    if (!hex4(r, &cp)) return bad(r, "a broken \\u escape");
    if (cp >= 0xd800 && cp < 0xdc00 && r->n - r->at >= 6 && r->d->text[r->at] == '\\' &&
        r->d->text[r->at + 1] == 'u') {
        size_t back = r->at;
        r->at += 2;
        if (hex4(r, &low) && low >= 0xdc00 && low < 0xe000)
            cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
        else r->at = back;
    }
    if (cp >= 0xd800 && cp < 0xe000) cp = 0xfffd;
    slv_buf_add(&r->d->strings, out, slv_utf8_encode(cp, out));
    return 0;
}

/* What follows a backslash. */
static int escape(struct reader *r) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->n) return bad(r, "a string does not end");
    const char c = r->d->text[r->at++];
    if (c == 'u') return unicode_escape(r);
    const char *e = c ? strchr(from, c) : NULL;
    if (!e) return bad(r, "an unknown escape");
    slv_buf_addc(&r->d->strings, to[e - from]);
    return 0;
}

/* The rest of a string whose first escape is at r->at, and which began at `from`. */
static int decode(struct reader *r, size_t from, uint32_t i) {
    struct slv_buf *b = &r->d->strings;
    const size_t begin = b->len;
    slv_buf_add(b, r->d->text + from, r->at - from);
    while (r->at < r->n && r->d->text[r->at] != '"') {
        const char c = r->d->text[r->at++];
        if ((unsigned char)c < 0x20) return bad(r, "a control character in a string");
        if (c != '\\') {
            slv_buf_addc(b, c);
            continue;
        }
        int rc = escape(r);
        if (rc) return rc;
    }
    if (b->status) return out_of_memory(r);
    if (!take(r, '"')) return bad(r, "a string does not end");
    struct slv_json_node *v = &r->d->v[i];
    v->at = (uint32_t)begin;
    v->n = (uint32_t)(b->len - begin);
    v->decoded = true;
    return 0;
}

/* After its opening quote. */
static int read_string(struct reader *r) {
    const size_t from = r->at;
    uint32_t i = 0;
    int rc = add(r, SLV_JSON_STRING, from, 0, &i);
    if (rc) return rc;
    for (; r->at < r->n; r->at++) {
        const unsigned char c = (unsigned char)r->d->text[r->at];
        if (c == '\\') return decode(r, from, i);
        if (c < 0x20) return bad(r, "a control character in a string");
        if (c != '"') continue;
        r->d->v[i].n = (uint32_t)(r->at - from);
        r->at++;
        return 0;
    }
    return bad(r, "a string does not end");
}

/* --- values ----------------------------------------------------------------------------------- */

static size_t digits(struct reader *r) {
    const size_t from = r->at;
    while (r->at < r->n && r->d->text[r->at] >= '0' && r->d->text[r->at] <= '9')
        r->at++;
    return r->at - from;
}

static int read_number(struct reader *r) {
    const size_t from = r->at;
    uint32_t i = 0;
    take(r, '-');
    const bool zero = r->at < r->n && r->d->text[r->at] == '0';
    const size_t whole = digits(r);
    if (!whole || (zero && whole > 1)) return bad(r, "not a value");
    if (take(r, '.') && !digits(r)) return bad(r, "a number without digits after the point");
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '+')) take(r, '-');
        if (!digits(r)) return bad(r, "a number without digits in its exponent");
    }
    return add(r, SLV_JSON_NUMBER, from, r->at - from, &i);
}

static int read_word(struct reader *r) {
    static const struct {
        struct slv_str text;
        enum slv_json_kind kind;
    } words[] = {
        {{"null", 4}, SLV_JSON_NULL}, {{"true", 4}, SLV_JSON_TRUE}, {{"false", 5}, SLV_JSON_FALSE}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const struct slv_str w = words[i].text;
        uint32_t at = 0;
        if (r->n - r->at < w.n || memcmp(r->d->text + r->at, w.p, w.n)) continue;
        r->at += w.n;
        return add(r, words[i].kind, 0, 0, &at);
    }
    return read_number(r);
}

static int read_value(struct reader *r);

/* A name, its colon and what it names. */
static int read_member(struct reader *r) {
    skip_space(r);
    if (!take(r, '"')) return bad(r, "a name is missing");
    int rc = read_string(r);
    if (rc) return rc;
    skip_space(r);
    return take(r, ':') ? read_value(r) : bad(r, "a ':' is missing");
}

/* After its opening bracket. */
static int read_list(struct reader *r, enum slv_json_kind kind) {
    const char close = kind == SLV_JSON_ARRAY ? ']' : '}';
    uint32_t i = 0;
    int rc = add(r, kind, 0, 0, &i);
    if (rc) return rc;
    if (++r->depth > SLV_JSON_MAX_DEPTH)
        return slv_err_set(r->err, SLV_E_LIMIT, "JSON nested more than %u deep",
                           SLV_JSON_MAX_DEPTH);
    skip_space(r);
    if (!take(r, close)) {
        do {
            rc = kind == SLV_JSON_ARRAY ? read_value(r) : read_member(r);
            if (rc) return rc;
            skip_space(r);
        } while (take(r, ','));
        if (!take(r, close)) return bad(r, "a ',' or the end of a list is missing");
    }
    r->depth--;
    r->d->v[i].end = (uint32_t)r->d->n;
    return 0;
}

static int read_value(struct reader *r) {
    skip_space(r);
    if (take(r, '"')) return read_string(r);
    if (take(r, '[')) return read_list(r, SLV_JSON_ARRAY);
    if (take(r, '{')) return read_list(r, SLV_JSON_OBJECT);
    return read_word(r);
}

int slv_json_read(const char *text, size_t n, struct slv_json_doc *ret, struct slv_err *err) {
    struct slv_json_doc d = {.text = text};
    struct reader r = {.d = &d, .n = n, .err = err};
    if (n > SLV_JSON_MAX_TEXT)
        return slv_err_set(err, SLV_E_LIMIT, "JSON of %zu bytes; at most %zu are read", n,
                           SLV_JSON_MAX_TEXT);
    if (!slv_utf8_valid(text, n, &r.at)) return bad(&r, "not UTF-8");
    r.at = 0;
    slv_buf_init(&d.strings, SLV_JSON_MAX_TEXT);
    int rc = read_value(&r);
    skip_space(&r);
    if (!rc && r.at < n) rc = bad(&r, "something follows the value");
    if (rc) slv_json_doc_fini(&d);
    else *ret = d;
    return rc;
}

void slv_json_doc_fini(struct slv_json_doc *d) {
    if (!d) return;
    slv_mem_free(d->v);
    slv_buf_fini(&d->strings);
    *d = (struct slv_json_doc){0};
}

/* --- looking ---------------------------------------------------------------------------------- */

static const struct slv_json_node *node(struct slv_json_val v) {
    static const struct slv_json_node none = {.kind = SLV_JSON_NONE};
    return v.doc && v.i < v.doc->n ? &v.doc->v[v.i] : &none;
}

static struct slv_str bytes_of(struct slv_json_val v) {
    const struct slv_json_node *n = node(v);
    return (struct slv_str){(n->decoded ? v.doc->strings.data : v.doc->text) + n->at, n->n};
}

struct slv_json_val slv_json_root(const struct slv_json_doc *d) {
    return (struct slv_json_val){d, 0};
}

enum slv_json_kind slv_json_kind(struct slv_json_val v) {
    return (enum slv_json_kind)node(v)->kind;
}

bool slv_json_each(struct slv_json_val v, struct slv_json_iter *it, struct slv_str *ret_name,
                   struct slv_json_val *ret) {
    const struct slv_json_node *n = node(v);
    struct slv_str name = {"", 0};
    if (n->kind != SLV_JSON_ARRAY && n->kind != SLV_JSON_OBJECT) return false;
    if (!it->next) it->next = v.i + 1;
    if (it->next >= n->end) return false;
    struct slv_json_val at = {v.doc, it->next};
    if (n->kind == SLV_JSON_OBJECT) {
        name = bytes_of(at);
        at.i++;
    }
    it->next = node(at)->end;
    if (ret_name) *ret_name = name;
    *ret = at;
    return true;
}

struct slv_json_val slv_json_get(struct slv_json_val v, const char *name) {
    struct slv_json_val found = {NULL, 0}, at;
    struct slv_json_iter it = {0};
    struct slv_str key;
    if (slv_json_kind(v) != SLV_JSON_OBJECT) return found;
    while (slv_json_each(v, &it, &key, &at))
        if (slv_str_is(key, name)) found = at;
    return found;
}

size_t slv_json_count(struct slv_json_val v) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    size_t n = 0;
    while (slv_json_each(v, &it, NULL, &at))
        n++;
    return n;
}

bool slv_json_get_str(struct slv_json_val v, struct slv_str *ret) {
    if (slv_json_kind(v) != SLV_JSON_STRING) return false;
    *ret = bytes_of(v);
    return true;
}

bool slv_json_get_bool(struct slv_json_val v, bool *ret) {
    const enum slv_json_kind kind = slv_json_kind(v);
    if (kind != SLV_JSON_TRUE && kind != SLV_JSON_FALSE) return false;
    *ret = kind == SLV_JSON_TRUE;
    return true;
}

/* The number's text, ended by NUL. */
static bool number(struct slv_json_val v, char out[NUMBER_MAX + 1]) {
    if (slv_json_kind(v) != SLV_JSON_NUMBER) return false;
    const struct slv_str s = bytes_of(v);
    if (s.n > NUMBER_MAX) return false;
    memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return true;
}

bool slv_json_get_i64(struct slv_json_val v, int64_t *ret) {
    char text[NUMBER_MAX + 1];
    if (!number(v, text) || strpbrk(text, ".eE")) return false;
    errno = 0;
    long long x = strtoll(text, NULL, 10);
    if (errno) return false;
    *ret = x;
    return true;
}

bool slv_json_get_f64(struct slv_json_val v, double *ret) {
    char text[NUMBER_MAX + 1];
    if (!number(v, text)) return false;
    *ret = strtod(text, NULL);
    return true;
}
