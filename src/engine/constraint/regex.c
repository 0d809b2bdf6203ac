/* regex.c: see regex.h.
 *
 * First a tree. Then languages, from the end to the beginning: `tail` is what the rest of the
 * pattern matches, up to the end of the string, so that an assertion becomes an intersection
 * with it. Each list of terms is turned into a language for one kind of letter before it (the
 * start of the string, a word's letter, another, or any), because ^ and \b ask; where they do,
 * what may end in either is taken apart. */
#include "engine/constraint/regex.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <pthread.h>
#include <string.h>
#include <utf8proc.h>

enum op { R_SET, R_CAT, R_ALT, R_REPEAT, R_START, R_END, R_EDGE, R_LOOK };

/* What stands before a place. */
enum before { B_START, B_WORD, B_OTHER, B_ANY };

struct term {
    enum op op;
    bool negative; /* R_EDGE: \B; R_LOOK: (?! */
    bool asserts;  /* an assertion is in it somewhere */
    uint32_t lo, hi;
    slv_lang set;              /* R_SET */
    struct term *first, *next; /* what is in it; what stands beside it */
};

struct re {
    struct slv_langs *p;
    struct slv_arena mem;
    const char *s;
    size_t n, at;
    unsigned depth;
    enum slv_regex_classes classes;
    struct slv_err *err;
};

static struct term *alternatives(struct re *r);

static void *refuse(struct re *r, int code, const char *what) {
    slv_err_set(r->err, code, "%s at byte %zu of the pattern", what, r->at);
    return NULL;
}

static struct term *make(struct re *r, enum op op) {
    struct term *t = slv_arena_alloc(&r->mem, sizeof *t);
    if (!t) return refuse(r, SLV_E_LIMIT, "too many terms");
    t->op = op;
    t->asserts = op >= R_START;
    return t;
}

/* --- characters and classes ------------------------------------------------------------------- */

#define MAX_RANGES 65536

struct ranges {
    struct slv_range *v;
    size_t n, cap;
};

static bool add(struct re *r, struct ranges *to, uint32_t lo, uint32_t hi) {
    const int rc = slv_mem_grow((void **)&to->v, to->n, &to->cap, sizeof *to->v, MAX_RANGES);
    if (rc) return refuse(r, rc, "too many ranges in a class") != NULL;
    to->v[to->n++] = (struct slv_range){lo, hi};
    return true;
}

static bool add_all(struct re *r, struct ranges *to, const struct slv_range *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!add(r, to, v[i].lo, v[i].hi)) return false;
    return true;
}

/* All but v[0..n), which is sorted and apart. */
static bool add_others(struct re *r, struct ranges *to, const struct slv_range *v, size_t n) {
    uint32_t from = 0;
    for (size_t i = 0; i < n; i++) {
        if (v[i].lo > from && !add(r, to, from, v[i].lo - 1)) return false;
        from = v[i].hi + 1;
    }
    return from > SLV_CODE_POINT_MAX || add(r, to, from, SLV_CODE_POINT_MAX);
}

static const struct slv_range digits[] = {{'0', '9'}};
static const struct slv_range word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const struct slv_range space[] = {
    {9, 13},          {32, 32},         {0xa0, 0xa0},     {0x1680, 0x1680}, {0x2000, 0x200a},
    {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};
static const struct slv_range line_ends[] = {{10, 10}, {13, 13}, {0x2028, 0x2029}};

static const struct named_class {
    char name;
    const struct slv_range *v;
    size_t n;
} named_classes[] = {{'d', digits, 1}, {'w', word, 4}, {'s', space, 10}};

/* Names of general categories (Unicode 15, PropertyValueAliases), as prefixes of utf8proc's. */
static const struct category {
    const char *name, *as;
} categories[] = {{"Letter", "L"},
                  {"Uppercase_Letter", "Lu"},
                  {"Lowercase_Letter", "Ll"},
                  {"Titlecase_Letter", "Lt"},
                  {"Modifier_Letter", "Lm"},
                  {"Other_Letter", "Lo"},
                  {"Mark", "M"},
                  {"Nonspacing_Mark", "Mn"},
                  {"Spacing_Mark", "Mc"},
                  {"Enclosing_Mark", "Me"},
                  {"Number", "N"},
                  {"Decimal_Number", "Nd"},
                  {"digit", "Nd"},
                  {"Letter_Number", "Nl"},
                  {"Other_Number", "No"},
                  {"Punctuation", "P"},
                  {"punct", "P"},
                  {"Connector_Punctuation", "Pc"},
                  {"Dash_Punctuation", "Pd"},
                  {"Open_Punctuation", "Ps"},
                  {"Close_Punctuation", "Pe"},
                  {"Initial_Punctuation", "Pi"},
                  {"Final_Punctuation", "Pf"},
                  {"Other_Punctuation", "Po"},
                  {"Symbol", "S"},
                  {"Math_Symbol", "Sm"},
                  {"Currency_Symbol", "Sc"},
                  {"Modifier_Symbol", "Sk"},
                  {"Other_Symbol", "So"},
                  {"Separator", "Z"},
                  {"Space_Separator", "Zs"},
                  {"Line_Separator", "Zl"},
                  {"Paragraph_Separator", "Zp"},
                  {"Other", "C"},
                  {"Control", "Cc"},
                  {"cntrl", "Cc"},
                  {"Format", "Cf"}};

#define MAX_RUNS 16384 /* Unicode 15 has some 3300 */

/* Code points of one category beside each other; found once, read only then. */
static struct {
    struct slv_range v[MAX_RUNS];
    utf8proc_category_t category[MAX_RUNS];
    size_t n;
} runs;
static pthread_once_t runs_once = PTHREAD_ONCE_INIT;

static void find_runs(void) {
    for (uint32_t c = 0; c <= SLV_CODE_POINT_MAX; c++) {
        const utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
        if (!runs.n || (runs.category[runs.n - 1] != k && runs.n < MAX_RUNS)) {
            runs.category[runs.n] = k;
            runs.v[runs.n++].lo = c;
        }
        runs.v[runs.n - 1].hi = c;
    }
}

static bool in_category(const struct slv_range *run, const char *name) {
    const char *s = utf8proc_category_string((utf8proc_int32_t)run->lo);
    return !strncmp(s, name, strlen(name));
}

static bool add_category(struct re *r, struct ranges *to, const char *name, bool negative) {
    bool any = false;
    pthread_once(&runs_once, find_runs);
    for (size_t i = 0; i < runs.n; i++) {
        const bool has = in_category(&runs.v[i], name);
        any = any || has;
        if (has == negative) continue;
        if (to->n && to->v[to->n - 1].hi + 1 == runs.v[i].lo) to->v[to->n - 1].hi = runs.v[i].hi;
        else if (!add(r, to, runs.v[i].lo, runs.v[i].hi)) return false;
    }
    return any || refuse(r, SLV_E_UNSUPPORTED, "\\p{} with an unknown general category") != NULL;
}

/* --- \d and \w of all scripts ----------------------------------------------------------------- */

#define SCRIPT_RANGES 1024

/* Found once; read only then. */
static struct {
    struct slv_range digits[SCRIPT_RANGES], word[SCRIPT_RANGES];
    size_t n_digits, n_word;
} scripts;
static pthread_once_t scripts_once = PTHREAD_ONCE_INIT;

static void grow(struct slv_range *v, size_t *n, uint32_t c) {
    if (*n && v[*n - 1].hi + 1 == c) v[*n - 1].hi = c;
    else if (*n < SCRIPT_RANGES) v[(*n)++] = (struct slv_range){c, c};
}

static void find_scripts(void) {
    for (uint32_t c = 0; c <= SLV_CODE_POINT_MAX; c++) {
        const utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
        const bool digit = k == UTF8PROC_CATEGORY_ND;
        const bool number = digit || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
        const bool letter = k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
        if (digit) grow(scripts.digits, &scripts.n_digits, c);
        if (letter || number || c == '_') grow(scripts.word, &scripts.n_word, c);
    }
}

static bool named_class(struct re *r, struct ranges *to, const struct named_class *k,
                        bool negative) {
    struct named_class x = *k;
    if (r->classes == SLV_REGEX_UNICODE && k->name != 's') {
        pthread_once(&scripts_once, find_scripts);
        x = k->name == 'd' ? (struct named_class){'d', scripts.digits, scripts.n_digits}
                           : (struct named_class){'w', scripts.word, scripts.n_word};
    }
    return negative ? add_others(r, to, x.v, x.n) : add_all(r, to, x.v, x.n);
}

/* After "\p" or "\P". */
static bool property(struct re *r, struct ranges *to, bool negative) {
    static const char *const keys[] = {"General_Category=", "gc="};
    const char *end =
        r->at < r->n && r->s[r->at] == '{' ? memchr(r->s + r->at, '}', r->n - r->at) : NULL;
    char name[64];
    if (!end || (size_t)(end - r->s) - r->at - 1 >= sizeof name)
        return refuse(r, SLV_E_FORMAT, "\\p without {name}") != NULL;
    const char *from = r->s + r->at + 1;
    for (size_t i = 0; i < 2; i++)
        if ((size_t)(end - from) > strlen(keys[i]) && !memcmp(from, keys[i], strlen(keys[i])))
            from += strlen(keys[i]);
    memcpy(name, from, (size_t)(end - from));
    name[end - from] = 0;
    r->at = (size_t)(end - r->s) + 1;
    const char *as = name;
    for (size_t i = 0; i < sizeof categories / sizeof categories[0]; i++)
        if (!strcmp(name, categories[i].name)) as = categories[i].as;
    if (strlen(as) > 2) return refuse(r, SLV_E_UNSUPPORTED, "\\p{} with a property") != NULL;
    return add_category(r, to, as, negative);
}

static bool hex(struct re *r, size_t digits_wanted, uint32_t *ret) {
    uint32_t v = 0;
    if (r->n - r->at < digits_wanted) return refuse(r, SLV_E_FORMAT, "hexadecimal digits") != NULL;
    for (size_t i = 0; i < digits_wanted; i++) {
        const char c = r->s[r->at + i];
        const int d = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
        if (d < 0) return refuse(r, SLV_E_FORMAT, "hexadecimal digits") != NULL;
        v = v << 4 | (uint32_t)d;
    }
    r->at += digits_wanted;
    *ret = v;
    return true;
}

/* After "\u": four digits, a pair of surrogates, or {digits}. */
static bool unicode_escape(struct re *r, uint32_t *ret) {
    if (r->at < r->n && r->s[r->at] == '{') {
        const char *end = memchr(r->s + r->at, '}', r->n - r->at);
        const size_t digits_here = end ? (size_t)(end - r->s) - r->at - 1 : 0;
        if (digits_here < 1 || digits_here > 6) return refuse(r, SLV_E_FORMAT, "\\u{}") != NULL;
        r->at++;
        if (!hex(r, digits_here, ret)) return false;
        r->at++;
        return *ret <= SLV_CODE_POINT_MAX || refuse(r, SLV_E_FORMAT, "\\u{} past U+10FFFF") != NULL;
    }
    if (!hex(r, 4, ret)) return false;
    if (*ret >= 0xd800 && *ret < 0xdc00 && r->n - r->at >= 6 && r->s[r->at] == '\\' &&
        r->s[r->at + 1] == 'u') {
        const size_t back = r->at;
        uint32_t low;
        r->at += 2;
        if (!hex(r, 4, &low)) return false;
        if (low >= 0xdc00 && low < 0xe000)
            *ret = 0x10000 + ((*ret - 0xd800) << 10 | (low - 0xdc00));
        else r->at = back;
    }
    return true;
}

/* After a backslash: one character (*ret), or several, which are put into `to` (*ret_many). */
static bool escape(struct re *r, struct ranges *to, bool *ret_many, uint32_t *ret) {
    static const char letters[] = "tnvfr", values[] = "\t\n\v\f\r";
    *ret_many = false;
    if (r->at == r->n) return refuse(r, SLV_E_FORMAT, "a backslash ends it") != NULL;
    const char c = r->s[r->at++];
    for (size_t i = 0; i < 3; i++) {
        const struct named_class *k = &named_classes[i];
        if ((c | 32) != k->name || c == '_') continue;
        *ret_many = true;
        return named_class(r, to, k, c != k->name);
    }
    if (c == 'p' || c == 'P') {
        *ret_many = true;
        return property(r, to, c == 'P');
    }
    const char *at = c ? strchr(letters, c) : NULL;
    if (at) return *ret = (unsigned char)values[at - letters], true;
    if (c == 'x') return hex(r, 2, ret);
    if (c == 'u') return unicode_escape(r, ret);
    if (c == 'c' && r->at < r->n) return *ret = (unsigned char)r->s[r->at++] & 31u, true;
    if (c == '0') return *ret = 0, true;
    if (c >= '1' && c <= '9') return refuse(r, SLV_E_UNSUPPORTED, "a backreference") != NULL;
    if (c == 'k' || c == 'A' || c == 'Z' || c == 'z' || c == 'G' || c == 'K' || c == 'Q' ||
        c == 'R')
        return refuse(r, SLV_E_UNSUPPORTED, "an escape that ECMA-262 does not have") != NULL;
    r->at--;
    r->at += slv_utf8_decode(r->s + r->at, r->n - r->at, ret);
    return *ret != SLV_UTF8_INVALID || refuse(r, SLV_E_FORMAT, "not UTF-8") != NULL;
}

/* One character of a class, or several. */
static bool class_atom(struct re *r, struct ranges *to, bool *ret_many, uint32_t *ret) {
    *ret_many = false;
    if (r->s[r->at] == '\\') {
        if (r->n - r->at > 1 && r->s[r->at + 1] == 'b') {
            r->at += 2;
            *ret = 8;
            return true;
        }
        r->at++;
        return escape(r, to, ret_many, ret);
    }
    r->at += slv_utf8_decode(r->s + r->at, r->n - r->at, ret);
    return *ret != SLV_UTF8_INVALID || refuse(r, SLV_E_FORMAT, "not UTF-8") != NULL;
}

static bool class_body(struct re *r, struct ranges *to) {
    while (r->at < r->n && r->s[r->at] != ']') {
        bool many, many_to;
        uint32_t lo, hi;
        if (!class_atom(r, to, &many, &lo)) return false;
        const bool dash = r->n - r->at > 1 && r->s[r->at] == '-' && r->s[r->at + 1] != ']';
        if (!dash || many) {
            if (!many && !add(r, to, lo, lo)) return false;
            continue;
        }
        const size_t back = r->at++;
        if (!class_atom(r, to, &many_to, &hi)) return false;
        if (many_to) { /* "a-\d": the dash is a dash */
            if (!add(r, to, lo, lo) || !add(r, to, '-', '-')) return false;
            continue;
        }
        r->at = hi < lo ? back : r->at;
        if (hi < lo) return refuse(r, SLV_E_FORMAT, "a range that runs backwards") != NULL;
        if (!add(r, to, lo, hi)) return false;
    }
    if (r->at == r->n) return refuse(r, SLV_E_FORMAT, "[ without ]") != NULL;
    r->at++;
    return true;
}

/* One character of the ranges, or none of them. Frees them. */
static struct term *set_term(struct re *r, struct ranges *v, bool negative) {
    struct term *t = make(r, R_SET);
    if (t) t->set = negative ? slv_lang_set_not(r->p, v->v, v->n) : slv_lang_set(r->p, v->v, v->n);
    slv_mem_free(v->v);
    return t;
}

static struct term *class_term(struct re *r) {
    struct ranges v = {0};
    const bool negative = r->at < r->n && r->s[r->at] == '^';
    r->at += negative;
    if (class_body(r, &v)) return set_term(r, &v, negative);
    slv_mem_free(v.v);
    return NULL;
}

static struct term *one_character(struct re *r, uint32_t c) {
    struct term *t = make(r, R_SET);
    if (t) t->set = slv_lang_set(r->p, &(struct slv_range){c, c}, 1);
    return t;
}

static struct term *escape_term(struct re *r) {
    struct ranges v = {0};
    bool many;
    uint32_t c;
    if (r->at < r->n && (r->s[r->at] | 32) == 'b') {
        struct term *t = make(r, R_EDGE);
        if (t) t->negative = r->s[r->at] == 'B';
        r->at++;
        return t;
    }
    if (escape(r, &v, &many, &c)) return many ? set_term(r, &v, false) : one_character(r, c);
    slv_mem_free(v.v);
    return NULL;
}

/* --- terms ------------------------------------------------------------------------------------ */

static bool take(struct re *r, const char *s) {
    const size_t n = strlen(s);
    if (r->n - r->at < n || memcmp(r->s + r->at, s, n) != 0) return false;
    r->at += n;
    return true;
}

/* After "(". */
static struct term *group(struct re *r) {
    struct term *look = NULL;
    if (take(r, "?=") || take(r, "?!")) {
        look = make(r, R_LOOK);
        if (!look) return NULL;
        look->negative = r->s[r->at - 1] == '!';
    } else if (take(r, "?<=") || take(r, "?<!")) return refuse(r, SLV_E_UNSUPPORTED, "lookbehind");
    else if (take(r, "?<")) {
        const char *end = memchr(r->s + r->at, '>', r->n - r->at);
        if (!end) return refuse(r, SLV_E_FORMAT, "a group's name without >");
        r->at = (size_t)(end - r->s) + 1;
    } else if (take(r, "?") && !take(r, ":"))
        return refuse(r, SLV_E_UNSUPPORTED, "a group that ECMA-262 does not have");
    if (++r->depth > SLV_REGEX_DEPTH) return refuse(r, SLV_E_LIMIT, "groups too deep");
    struct term *in = alternatives(r);
    r->depth--;
    if (!in) return NULL;
    if (!take(r, ")")) return refuse(r, SLV_E_FORMAT, "( without )");
    if (!look) return in;
    look->first = in;
    return look;
}

static bool number(struct re *r, uint32_t *ret) {
    uint32_t v = 0;
    const size_t from = r->at;
    for (; r->at < r->n && r->s[r->at] >= '0' && r->s[r->at] <= '9'; r->at++)
        if (v <= SLV_LANG_MAX_REPEAT) v = v * 10 + (uint32_t)(r->s[r->at] - '0');
    *ret = v;
    return r->at > from;
}

/* {n}, {n,} or {n,m}; anything else after "{" is no quantifier. */
static bool braces(struct re *r, uint32_t *lo, uint32_t *hi) {
    const size_t from = r->at;
    if (take(r, "{") && number(r, lo)) {
        *hi = *lo;
        if (take(r, ",") && !number(r, hi)) *hi = SLV_LANG_INF;
        if (take(r, "}")) return true;
    }
    r->at = from;
    return false;
}

static struct term *quantified(struct re *r, struct term *t) {
    uint32_t lo, hi;
    if (take(r, "*")) lo = 0, hi = SLV_LANG_INF;
    else if (take(r, "+")) lo = 1, hi = SLV_LANG_INF;
    else if (take(r, "?")) lo = 0, hi = 1;
    else if (!braces(r, &lo, &hi)) return t;
    (void)take(r, "?"); /* lazy: which match, not whether */
    if (lo > hi) return refuse(r, SLV_E_FORMAT, "a quantifier that runs backwards");
    if (lo > SLV_LANG_MAX_REPEAT || (hi != SLV_LANG_INF && hi > SLV_LANG_MAX_REPEAT))
        return refuse(r, SLV_E_LIMIT, "a quantifier too large");
    struct term *q = make(r, R_REPEAT);
    if (!q) return NULL;
    q->lo = lo;
    q->hi = hi;
    q->first = t;
    q->asserts = t->asserts;
    return q;
}

static struct term *atom(struct re *r) {
    struct ranges v = {0};
    const char c = r->s[r->at];
    uint32_t code;
    switch (c) {
    case '^':
        r->at++;
        return make(r, R_START);
    case '$':
        r->at++;
        return make(r, R_END);
    case '(':
        r->at++;
        return group(r);
    case '[':
        r->at++;
        return class_term(r);
    case '\\':
        r->at++;
        return escape_term(r);
    case '.':
        r->at++;
        if (add_all(r, &v, line_ends, sizeof line_ends / sizeof line_ends[0]))
            return set_term(r, &v, true);
        return NULL;
    case '*':
    case '+':
    case '?':
        return refuse(r, SLV_E_FORMAT, "a quantifier with nothing before it");
    default:
        break;
    }
    r->at += slv_utf8_decode(r->s + r->at, r->n - r->at, &code);
    if (code == SLV_UTF8_INVALID) return refuse(r, SLV_E_FORMAT, "not UTF-8");
    return one_character(r, code);
}

static struct term *sequence(struct re *r) {
    struct term *cat = make(r, R_CAT), **end = cat ? &cat->first : NULL;
    while (cat && r->at < r->n && r->s[r->at] != '|' && r->s[r->at] != ')') {
        struct term *t = atom(r);
        if (t) t = quantified(r, t);
        if (!t) return NULL;
        cat->asserts = cat->asserts || t->asserts;
        *end = t;
        end = &t->next;
    }
    return cat;
}

static struct term *alternatives(struct re *r) {
    struct term *alt = make(r, R_ALT), **end = alt ? &alt->first : NULL;
    do {
        struct term *t = alt ? sequence(r) : NULL;
        if (!t) return NULL;
        alt->asserts = alt->asserts || t->asserts;
        *end = t;
        end = &t->next;
    } while (take(r, "|"));
    return alt;
}

/* --- languages -------------------------------------------------------------------------------- */

/* v, if its repetitions do not multiply past what a pool could hold: then nothing is tried. */
static slv_lang sized(struct re *r, slv_lang v) {
    if (v == SLV_LANG_FAIL || slv_lang_size(r->p, v) <= SLV_LANG_MAX_SIZE) return v;
    slv_err_set(r->err, SLV_E_LIMIT, "its repetitions multiply to more than %u places",
                SLV_LANG_MAX_SIZE);
    return SLV_LANG_FAIL;
}

/* What a term without assertions matches. */
static slv_lang plain(struct re *r, const struct term *t);

static slv_lang plain_list(struct re *r, const struct term *t) {
    return t ? slv_lang_concat(r->p, plain(r, t), plain_list(r, t->next)) : SLV_LANG_EMPTY;
}

static slv_lang plain(struct re *r, const struct term *t) {
    slv_lang v = SLV_LANG_NONE;
    switch (t->op) {
    case R_SET:
        return t->set;
    case R_REPEAT:
        return sized(r, slv_lang_repeat(r->p, plain(r, t->first), t->lo, t->hi));
    case R_CAT:
        return plain_list(r, t->first);
    case R_ALT:
        for (const struct term *x = t->first; x; x = x->next)
            v = slv_lang_or(r->p, v, plain(r, x));
        return v;
    case R_START:
    case R_END:
    case R_EDGE:
    case R_LOOK:
        break;
    }
    return SLV_LANG_FAIL;
}

/* What follows a list of terms: more terms, at last the end of the pattern. */
struct rest {
    const struct term *t;
    const struct rest *up;
};

struct walk {
    struct re *r;
    unsigned depth;
    size_t steps;
    bool edges; /* \b or \B is somewhere in it */
};

#define MAX_STEPS 20000 /* alternatives with assertions in them are multiplied out */
#define MAX_DEPTH 4000

static slv_lang tail(struct walk *w, const struct term *t, const struct rest *up, enum before b);

static slv_lang stop(struct walk *w, int code, const char *what) {
    slv_err_set(w->r->err, code, "%s", what);
    return SLV_LANG_FAIL;
}

/* \b or \B, then the rest. */
static slv_lang edge(struct walk *w, const struct term *t, const struct rest *up, enum before b) {
    struct slv_langs *p = w->r->p;
    const slv_lang begins = slv_lang_concat(p, slv_lang_set(p, word, 4), SLV_LANG_ANY);
    const bool wants_word = (b == B_WORD) == t->negative;
    return slv_lang_and(p, wants_word ? begins : slv_lang_not(p, begins), tail(w, t->next, up, b));
}

/* Strings that go on as a lookahead wants. */
static slv_lang ahead(struct walk *w, const struct term *look, enum before b) {
    const slv_lang in = tail(w, look->first, NULL, b);
    return look->negative ? slv_lang_not(w->r->p, in) : in;
}

/* (look... x)* before the end of the string, x one character: all characters are x's, and at
 * none of them is what lies ahead not as wanted. NULL where the repetition has another form. */
static const struct term *watched_set(const struct term *repeat) {
    const struct term *t = repeat->first;
    while ((t->op == R_ALT || t->op == R_CAT) && t->first && !t->first->next)
        t = t->first;
    if (t->op != R_CAT || repeat->lo != 0 || repeat->hi != SLV_LANG_INF) return NULL;
    for (t = t->first; t && t->op == R_LOOK;)
        t = t->next;
    return t && t->op == R_SET && !t->next ? t : NULL;
}

static slv_lang watched(struct walk *w, const struct term *repeat, const struct term *set) {
    struct slv_langs *p = w->r->p;
    const struct term *t = repeat->first;
    slv_lang wanted = slv_lang_concat(p, set->set, SLV_LANG_ANY);
    while ((t->op == R_ALT || t->op == R_CAT) && !t->first->next)
        t = t->first;
    for (t = t->first; t != set; t = t->next)
        wanted = slv_lang_and(p, wanted, ahead(w, t, B_ANY));
    const slv_lang all = slv_lang_repeat(p, set->set, 0, SLV_LANG_INF);
    const slv_lang bad = slv_lang_and(p, slv_lang_not(p, wanted), slv_lang_not(p, SLV_LANG_EMPTY));
    return slv_lang_and(p, all, slv_lang_not(p, slv_lang_concat(p, all, bad)));
}

#define MAX_COPIES 16

/* A repetition with assertions in it: its copies one after the other. */
static slv_lang repeated(struct walk *w, const struct term *t, const struct rest *up,
                         enum before b) {
    struct slv_langs *p = w->r->p;
    const struct term *set = watched_set(t);
    if (set && tail(w, t->next, up, B_ANY) == SLV_LANG_EMPTY) return watched(w, t, set);
    if (t->hi > MAX_COPIES)
        return stop(w, SLV_E_UNSUPPORTED, "an assertion in a repetition without end");
    struct term fewer = *t;
    fewer.lo -= t->lo > 0;
    fewer.hi--;
    slv_lang r = t->lo ? SLV_LANG_NONE : tail(w, t->next, up, b);
    if (t->hi == 0) return r;
    struct term one = *t->first;
    const struct rest then = {&fewer, up};
    one.next = NULL;
    return slv_lang_or(p, r, tail(w, &one, &then, b));
}

static bool asserts(const struct term *t, const struct rest *up) {
    for (;;) {
        for (; t; t = t->next)
            if (t->asserts) return true;
        if (!up) return false;
        t = up->t;
        up = up->up;
    }
}

/* Strings whose last letter is a word's, or is none. */
static slv_lang ends_in(struct re *r, bool in_word) {
    const slv_lang last = in_word ? slv_lang_set(r->p, word, 4) : slv_lang_set_not(r->p, word, 4);
    return slv_lang_concat(r->p, SLV_LANG_ANY, last);
}

/* A term without assertions, then the rest, which may ask what stood before it. */
static slv_lang consumed(struct walk *w, const struct term *t, const struct rest *up,
                         enum before b) {
    struct slv_langs *p = w->r->p;
    const slv_lang x = plain(w->r, t);
    if (slv_lang_is_none(p, x)) return SLV_LANG_NONE;
    if (!asserts(t->next, up)) return slv_lang_concat(p, x, tail(w, t->next, up, B_ANY));
    const slv_lang some =
        slv_lang_nullable(p, x) ? slv_lang_and(p, x, slv_lang_not(p, SLV_LANG_EMPTY)) : x;
    if (slv_lang_is_none(p, some)) return tail(w, t->next, up, b);
    slv_lang r = SLV_LANG_NONE;
    if (!w->edges) r = slv_lang_concat(p, some, tail(w, t->next, up, B_ANY));
    for (int i = 0; w->edges && i < 2; i++) {
        const slv_lang part = slv_lang_and(p, some, ends_in(w->r, i == 0));
        if (slv_lang_is_none(p, part)) continue;
        const slv_lang rest = tail(w, t->next, up, i == 0 ? B_WORD : B_OTHER);
        r = slv_lang_or(p, r, slv_lang_concat(p, part, rest));
    }
    return some == x ? r : slv_lang_or(p, r, tail(w, t->next, up, b));
}

static slv_lang step(struct walk *w, const struct term *t, const struct rest *up, enum before b) {
    struct slv_langs *p = w->r->p;
    const struct rest then = {t->next, up};
    slv_lang r = SLV_LANG_NONE;
    if (!t->asserts) return consumed(w, t, up, b);
    switch (t->op) {
    case R_START:
        return b == B_START ? tail(w, t->next, up, b) : SLV_LANG_NONE;
    case R_END:
        return slv_lang_and(p, SLV_LANG_EMPTY, tail(w, t->next, up, b));
    case R_EDGE:
        return edge(w, t, up, b);
    case R_LOOK:
        return slv_lang_and(p, ahead(w, t, b), tail(w, t->next, up, b));
    case R_REPEAT:
        return repeated(w, t, up, b);
    case R_CAT:
        return tail(w, t->first, &then, b);
    case R_ALT:
        for (const struct term *x = t->first; x; x = x->next)
            r = slv_lang_or(p, r, tail(w, x->first, &then, b));
        return r;
    case R_SET:
        break;
    }
    return SLV_LANG_FAIL;
}

/* What the rest of the pattern, from t on and then up, matches to the end of the string. */
static slv_lang tail(struct walk *w, const struct term *t, const struct rest *up, enum before b) {
    if (!t) return up ? tail(w, up->t, up->up, b) : SLV_LANG_ANY;
    if (++w->steps > MAX_STEPS || w->depth == MAX_DEPTH)
        return stop(w, SLV_E_LIMIT, "too many ways through a pattern with assertions");
    w->depth++;
    const slv_lang r = step(w, t, up, b);
    w->depth--;
    return r;
}

static bool has_edge(const struct term *t) {
    for (; t; t = t->next)
        if (t->op == R_EDGE || has_edge(t->first)) return true;
    return false;
}

/* The pattern at the start of the string, or after something. */
static slv_lang anywhere(struct walk *w, const struct term *t) {
    struct slv_langs *p = w->r->p;
    if (!t->asserts) return slv_lang_concat(p, SLV_LANG_ANY, tail(w, t, NULL, B_ANY));
    slv_lang v = tail(w, t, NULL, B_START);
    if (!w->edges) {
        const slv_lang some = slv_lang_concat(p, slv_lang_set_not(p, NULL, 0), SLV_LANG_ANY);
        return slv_lang_or(p, v, slv_lang_concat(p, some, tail(w, t, NULL, B_ANY)));
    }
    v = slv_lang_or(p, v, slv_lang_concat(p, ends_in(w->r, true), tail(w, t, NULL, B_WORD)));
    return slv_lang_or(p, v, slv_lang_concat(p, ends_in(w->r, false), tail(w, t, NULL, B_OTHER)));
}

/* The pattern between ^ and $. */
static struct term *anchored(struct re *r, struct term *t) {
    struct term *cat = make(r, R_CAT), *first = make(r, R_START), *last = make(r, R_END);
    if (!t || !cat || !first || !last) return NULL;
    cat->asserts = true;
    cat->first = first;
    first->next = t;
    t->next = last;
    return cat;
}

static int compile(struct slv_langs *p, const char *pattern, size_t n,
                   enum slv_regex_classes classes, bool whole, slv_lang *ret, struct slv_err *err) {
    struct re r = {.p = p, .s = pattern, .n = n, .classes = classes, .err = err};
    struct slv_err own = {0};
    if (!r.err) r.err = &own;
    r.err->code = 0;
    if (n > SLV_REGEX_MAX) return slv_err_set(err, SLV_E_LIMIT, "a pattern of %zu bytes", n);
    slv_arena_init(&r.mem, (size_t)16 << 20);
    struct term *t = alternatives(&r);
    if (t && r.at < n) t = refuse(&r, SLV_E_FORMAT, ") without (");
    if (whole) t = anchored(&r, t);
    slv_lang v = SLV_LANG_FAIL;
    if (t) {
        struct walk w = {.r = &r, .edges = has_edge(t)};
        v = whole ? tail(&w, t, NULL, B_START) : anywhere(&w, t);
    }
    slv_arena_fini(&r.mem);
    v = r.err->code ? SLV_LANG_FAIL : sized(&r, v);
    if (v == SLV_LANG_FAIL && r.err->code) return r.err->code;
    if (v != SLV_LANG_FAIL) *ret = slv_lang_is_none(p, v) ? SLV_LANG_NONE : v;
    if (slv_langs_status(p)) return slv_err_set(err, slv_langs_status(p), "%s", slv_langs_why(p));
    return 0;
}

int slv_regex_search(struct slv_langs *p, const char *pattern, size_t n,
                     enum slv_regex_classes classes, slv_lang *ret, struct slv_err *err) {
    return compile(p, pattern, n, classes, false, ret, err);
}

int slv_regex_whole(struct slv_langs *p, const char *pattern, size_t n,
                    enum slv_regex_classes classes, slv_lang *ret, struct slv_err *err) {
    return compile(p, pattern, n, classes, true, ret, err);
}
