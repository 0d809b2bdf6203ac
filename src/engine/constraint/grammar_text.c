/* grammar_text.c: see grammar_text.h. */
#include "engine/constraint/grammar_text.h"
#include "engine/constraint/regex.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <string.h>
#include <utf8proc.h>

#define MAX_LITERAL 65536u
#define MAX_RANGES 4096u

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int hex(const char *s, size_t n, size_t *at, size_t digits, uint32_t *ret,
               struct slv_err *err) {
    uint32_t v = 0;
    for (size_t i = 0; i < digits; i++) {
        const int d = *at < n ? hex_digit(s[*at]) : -1;
        if (d < 0) return slv_err_set(err, SLV_E_FORMAT, "%zu hexadecimal digits", digits);
        v = v << 4 | (uint32_t)d;
        ++*at;
    }
    if (v > SLV_CODE_POINT_MAX) return slv_err_set(err, SLV_E_FORMAT, "a code past U+10FFFF");
    *ret = v;
    return 0;
}

/* \u and four digits, or two of them that are one character. */
static int short_unicode(const char *s, size_t n, size_t *at, uint32_t *ret, struct slv_err *err) {
    const int rc = hex(s, n, at, 4, ret, err);
    if (rc || *ret < 0xd800 || *ret > 0xdfff) return rc;
    uint32_t low = 0;
    const bool pair = *ret < 0xdc00 && n - *at >= 6 && s[*at] == '\\' && s[*at + 1] == 'u';
    size_t next = *at + 2;
    if (!pair || hex(s, n, &next, 4, &low, NULL) || low < 0xdc00 || low > 0xdfff)
        return slv_err_set(err, SLV_E_FORMAT, "half of a surrogate pair");
    *at = next;
    *ret = 0x10000 + ((*ret - 0xd800) << 10 | (low - 0xdc00));
    return 0;
}

/* One character, perhaps escaped. */
static int character(const char *s, size_t n, size_t *at, uint32_t *ret, struct slv_err *err) {
    static const char letters[] = "nrtbfv0", values[] = "\n\r\t\b\f\v";
    if (s[*at] != '\\' || *at + 1 == n) {
        *at += slv_utf8_decode(s + *at, n - *at, ret);
        return 0;
    }
    const char c = s[*at + 1];
    *at += 2;
    const char *known = c ? strchr(letters, c) : NULL;
    if (c == 'x') return hex(s, n, at, 2, ret, err);
    if (c == 'u') return short_unicode(s, n, at, ret, err);
    if (c == 'U') {
        const int rc = hex(s, n, at, 8, ret, err);
        if (rc || *ret < 0xd800 || *ret > 0xdfff) return rc;
        return slv_err_set(err, SLV_E_FORMAT, "half of a surrogate pair");
    }
    *ret = known ? (unsigned char)values[known - letters] : (unsigned char)c;
    if (known || strchr("\\\"'/[]-^ .", c)) return 0;
    return slv_err_set(err, SLV_E_FORMAT, "an escape that is not known, \\%c", c);
}

int slv_gram_quoted(const char *s, size_t n, size_t *at, struct slv_buf *out, struct slv_err *err) {
    size_t i = *at + 1;
    while (i < n && s[i] != '"') {
        char utf8[SLV_UTF8_MAX];
        uint32_t c = 0;
        int rc = character(s, n, &i, &c, err);
        if (!rc && (rc = slv_buf_add(out, utf8, slv_utf8_encode(c, utf8))) != 0)
            slv_err_set(err, rc, "a literal: %s", slv_strerror(rc));
        if (rc) return rc;
    }
    if (i >= n) return slv_err_set(err, SLV_E_FORMAT, "a quote without its end");
    *at = i + 1;
    return 0;
}

/* One character, in either case. */
static slv_lang either_case(struct slv_langs *p, uint32_t c) {
    struct slv_range r[4] = {{c, c}};
    const utf8proc_int32_t forms[] = {utf8proc_tolower((utf8proc_int32_t)c),
                                      utf8proc_toupper((utf8proc_int32_t)c),
                                      utf8proc_totitle((utf8proc_int32_t)c)};
    for (size_t i = 0; i < 3; i++)
        r[i + 1] = (struct slv_range){(uint32_t)forms[i], (uint32_t)forms[i]};
    return slv_lang_set(p, r, 4);
}

static slv_lang any_case(struct slv_langs *p, const char *s, size_t n) {
    slv_lang r = SLV_LANG_EMPTY;
    while (n) { /* from the end: concatenations lean to the right */
        size_t at = n - 1;
        uint32_t c;
        while (at && ((unsigned char)s[at] & 0xc0) == 0x80)
            at--;
        (void)slv_utf8_decode(s + at, n - at, &c);
        r = slv_lang_concat(p, either_case(p, c), r);
        n = at;
    }
    return r;
}

static bool one_character(const struct slv_buf *b, uint32_t *ret) {
    return b->len && slv_utf8_decode(b->data, b->len, ret) == b->len;
}

/* "a".."z", whose dots stand at *at. */
static int range(struct slv_langs *p, const char *s, size_t n, size_t *at,
                 const struct slv_buf *from, slv_lang *ret, struct slv_err *err) {
    struct slv_buf to;
    uint32_t lo = 0, hi = 0;
    size_t i = *at + 2;
    slv_buf_init(&to, MAX_LITERAL);
    int rc = i < n && s[i] == '"' ? slv_gram_quoted(s, n, &i, &to, err)
                                  : slv_err_set(err, SLV_E_FORMAT, "a quote after ..");
    if (!rc && (!one_character(from, &lo) || !one_character(&to, &hi) || lo > hi))
        rc = slv_err_set(err, SLV_E_FORMAT, "a range goes from one character to a later one");
    slv_buf_fini(&to);
    if (rc) return rc;
    *ret = slv_lang_set(p, &(struct slv_range){lo, hi}, 1);
    *at = i;
    return 0;
}

int slv_gram_literal(struct slv_langs *p, const char *s, size_t n, size_t *at, bool lark,
                     slv_lang *ret, struct slv_err *err) {
    struct slv_buf b;
    slv_buf_init(&b, MAX_LITERAL);
    int rc = slv_gram_quoted(s, n, at, &b, err);
    if (!rc && lark && n - *at >= 2 && s[*at] == '.' && s[*at + 1] == '.')
        rc = range(p, s, n, at, &b, ret, err);
    else if (!rc && lark && *at < n && s[*at] == 'i') {
        *ret = any_case(p, b.data, b.len);
        ++*at;
    } else if (!rc)
        *ret = b.len ? slv_lang_words(p, &(struct slv_word){b.data, b.len}, 1) : SLV_LANG_EMPTY;
    slv_buf_fini(&b);
    return rc;
}

int slv_gram_regex(struct slv_langs *p, const char *s, size_t n, size_t *at, slv_lang *ret,
                   struct slv_err *err) {
    const size_t from = *at + 1;
    size_t i = from;
    while (i < n && s[i] != '/' && s[i] != '\n')
        i += s[i] == '\\' ? 2 : 1;
    if (i >= n || s[i] != '/') return slv_err_set(err, SLV_E_FORMAT, "/ without its end");
    const int rc = slv_regex_whole(p, s + from, i - from, SLV_REGEX_ECMA, ret, err);
    if (rc) return rc;
    *at = i + 1;
    if (*at == n || !s[*at] || !strchr("imslux", s[*at])) return 0;
    return slv_err_set(err, SLV_E_UNSUPPORTED, "the flag \"%c\" of a pattern is not supported",
                       s[*at]);
}

/* What lies between the brackets, to v. */
static int ranges(const char *s, size_t n, size_t *at, struct slv_range **v, size_t *ret_n,
                  struct slv_err *err) {
    size_t cap = 0;
    while (*at < n && s[*at] != ']') {
        uint32_t lo = 0, hi;
        int rc = character(s, n, at, &lo, err);
        hi = lo;
        if (!rc && n - *at >= 2 && s[*at] == '-' && s[*at + 1] != ']') {
            ++*at;
            rc = character(s, n, at, &hi, err);
        }
        if (!rc && lo > hi) rc = slv_err_set(err, SLV_E_FORMAT, "a range that runs backwards");
        if (rc) return rc;
        rc = slv_mem_grow((void **)v, *ret_n, &cap, sizeof **v, MAX_RANGES);
        if (rc) return slv_err_set(err, rc, "a class with too many ranges");
        (*v)[(*ret_n)++] = (struct slv_range){lo, hi};
    }
    if (*at >= n) return slv_err_set(err, SLV_E_FORMAT, "[ without ]");
    ++*at;
    return 0;
}

int slv_gram_class(struct slv_langs *p, const char *s, size_t n, size_t *at, slv_lang *ret,
                   struct slv_err *err) {
    struct slv_range *v = NULL;
    size_t k = 0;
    const bool negative = n - *at > 1 && s[*at + 1] == '^';
    *at += 1 + negative;
    const int rc = ranges(s, n, at, &v, &k, err);
    if (!rc) *ret = negative ? slv_lang_set_not(p, v, k) : slv_lang_set(p, v, k);
    slv_mem_free(v);
    return rc;
}
