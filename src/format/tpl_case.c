/* tpl_case.c: upper and lower case, classes of characters, white space: as Python's str has them.
 *
 * Simple mappings and categories come from utf8proc. The table below holds the characters whose
 * upper or title case is more than one character (Unicode's SpecialCasing.txt, the unconditional
 * part). The one conditional rule Python knows, a capital sigma at a word's end, is in code. */
#define _GNU_SOURCE /* memmem */
#include "base/utf8.h"
#include "format/template_impl.h"

#include <string.h>
#include <utf8proc.h>

static const struct special {
    uint16_t cp, upper[3], title[3];
} specials[] = {
    {0x00df, {0x0053, 0x0053}, {0x0053, 0x0073}},
    {0x0149, {0x02bc, 0x004e}, {0x02bc, 0x004e}},
    {0x01f0, {0x004a, 0x030c}, {0x004a, 0x030c}},
    {0x0390, {0x0399, 0x0308, 0x0301}, {0x0399, 0x0308, 0x0301}},
    {0x03b0, {0x03a5, 0x0308, 0x0301}, {0x03a5, 0x0308, 0x0301}},
    {0x0587, {0x0535, 0x0552}, {0x0535, 0x0582}},
    {0x1e96, {0x0048, 0x0331}, {0x0048, 0x0331}},
    {0x1e97, {0x0054, 0x0308}, {0x0054, 0x0308}},
    {0x1e98, {0x0057, 0x030a}, {0x0057, 0x030a}},
    {0x1e99, {0x0059, 0x030a}, {0x0059, 0x030a}},
    {0x1e9a, {0x0041, 0x02be}, {0x0041, 0x02be}},
    {0x1f50, {0x03a5, 0x0313}, {0x03a5, 0x0313}},
    {0x1f52, {0x03a5, 0x0313, 0x0300}, {0x03a5, 0x0313, 0x0300}},
    {0x1f54, {0x03a5, 0x0313, 0x0301}, {0x03a5, 0x0313, 0x0301}},
    {0x1f56, {0x03a5, 0x0313, 0x0342}, {0x03a5, 0x0313, 0x0342}},
    {0x1f80, {0x1f08, 0x0399}, {0x1f88}},
    {0x1f81, {0x1f09, 0x0399}, {0x1f89}},
    {0x1f82, {0x1f0a, 0x0399}, {0x1f8a}},
    {0x1f83, {0x1f0b, 0x0399}, {0x1f8b}},
    {0x1f84, {0x1f0c, 0x0399}, {0x1f8c}},
    {0x1f85, {0x1f0d, 0x0399}, {0x1f8d}},
    {0x1f86, {0x1f0e, 0x0399}, {0x1f8e}},
    {0x1f87, {0x1f0f, 0x0399}, {0x1f8f}},
    {0x1f88, {0x1f08, 0x0399}, {0x1f88}},
    {0x1f89, {0x1f09, 0x0399}, {0x1f89}},
    {0x1f8a, {0x1f0a, 0x0399}, {0x1f8a}},
    {0x1f8b, {0x1f0b, 0x0399}, {0x1f8b}},
    {0x1f8c, {0x1f0c, 0x0399}, {0x1f8c}},
    {0x1f8d, {0x1f0d, 0x0399}, {0x1f8d}},
    {0x1f8e, {0x1f0e, 0x0399}, {0x1f8e}},
    {0x1f8f, {0x1f0f, 0x0399}, {0x1f8f}},
    {0x1f90, {0x1f28, 0x0399}, {0x1f98}},
    {0x1f91, {0x1f29, 0x0399}, {0x1f99}},
    {0x1f92, {0x1f2a, 0x0399}, {0x1f9a}},
    {0x1f93, {0x1f2b, 0x0399}, {0x1f9b}},
    {0x1f94, {0x1f2c, 0x0399}, {0x1f9c}},
    {0x1f95, {0x1f2d, 0x0399}, {0x1f9d}},
    {0x1f96, {0x1f2e, 0x0399}, {0x1f9e}},
    {0x1f97, {0x1f2f, 0x0399}, {0x1f9f}},
    {0x1f98, {0x1f28, 0x0399}, {0x1f98}},
    {0x1f99, {0x1f29, 0x0399}, {0x1f99}},
    {0x1f9a, {0x1f2a, 0x0399}, {0x1f9a}},
    {0x1f9b, {0x1f2b, 0x0399}, {0x1f9b}},
    {0x1f9c, {0x1f2c, 0x0399}, {0x1f9c}},
    {0x1f9d, {0x1f2d, 0x0399}, {0x1f9d}},
    {0x1f9e, {0x1f2e, 0x0399}, {0x1f9e}},
    {0x1f9f, {0x1f2f, 0x0399}, {0x1f9f}},
    {0x1fa0, {0x1f68, 0x0399}, {0x1fa8}},
    {0x1fa1, {0x1f69, 0x0399}, {0x1fa9}},
    {0x1fa2, {0x1f6a, 0x0399}, {0x1faa}},
    {0x1fa3, {0x1f6b, 0x0399}, {0x1fab}},
    {0x1fa4, {0x1f6c, 0x0399}, {0x1fac}},
    {0x1fa5, {0x1f6d, 0x0399}, {0x1fad}},
    {0x1fa6, {0x1f6e, 0x0399}, {0x1fae}},
    {0x1fa7, {0x1f6f, 0x0399}, {0x1faf}},
    {0x1fa8, {0x1f68, 0x0399}, {0x1fa8}},
    {0x1fa9, {0x1f69, 0x0399}, {0x1fa9}},
    {0x1faa, {0x1f6a, 0x0399}, {0x1faa}},
    {0x1fab, {0x1f6b, 0x0399}, {0x1fab}},
    {0x1fac, {0x1f6c, 0x0399}, {0x1fac}},
    {0x1fad, {0x1f6d, 0x0399}, {0x1fad}},
    {0x1fae, {0x1f6e, 0x0399}, {0x1fae}},
    {0x1faf, {0x1f6f, 0x0399}, {0x1faf}},
    {0x1fb2, {0x1fba, 0x0399}, {0x1fba, 0x0345}},
    {0x1fb3, {0x0391, 0x0399}, {0x1fbc}},
    {0x1fb4, {0x0386, 0x0399}, {0x0386, 0x0345}},
    {0x1fb6, {0x0391, 0x0342}, {0x0391, 0x0342}},
    {0x1fb7, {0x0391, 0x0342, 0x0399}, {0x0391, 0x0342, 0x0345}},
    {0x1fbc, {0x0391, 0x0399}, {0x1fbc}},
    {0x1fc2, {0x1fca, 0x0399}, {0x1fca, 0x0345}},
    {0x1fc3, {0x0397, 0x0399}, {0x1fcc}},
    {0x1fc4, {0x0389, 0x0399}, {0x0389, 0x0345}},
    {0x1fc6, {0x0397, 0x0342}, {0x0397, 0x0342}},
    {0x1fc7, {0x0397, 0x0342, 0x0399}, {0x0397, 0x0342, 0x0345}},
    {0x1fcc, {0x0397, 0x0399}, {0x1fcc}},
    {0x1fd2, {0x0399, 0x0308, 0x0300}, {0x0399, 0x0308, 0x0300}},
    {0x1fd3, {0x0399, 0x0308, 0x0301}, {0x0399, 0x0308, 0x0301}},
    {0x1fd6, {0x0399, 0x0342}, {0x0399, 0x0342}},
    {0x1fd7, {0x0399, 0x0308, 0x0342}, {0x0399, 0x0308, 0x0342}},
    {0x1fe2, {0x03a5, 0x0308, 0x0300}, {0x03a5, 0x0308, 0x0300}},
    {0x1fe3, {0x03a5, 0x0308, 0x0301}, {0x03a5, 0x0308, 0x0301}},
    {0x1fe4, {0x03a1, 0x0313}, {0x03a1, 0x0313}},
    {0x1fe6, {0x03a5, 0x0342}, {0x03a5, 0x0342}},
    {0x1fe7, {0x03a5, 0x0308, 0x0342}, {0x03a5, 0x0308, 0x0342}},
    {0x1ff2, {0x1ffa, 0x0399}, {0x1ffa, 0x0345}},
    {0x1ff3, {0x03a9, 0x0399}, {0x1ffc}},
    {0x1ff4, {0x038f, 0x0399}, {0x038f, 0x0345}},
    {0x1ff6, {0x03a9, 0x0342}, {0x03a9, 0x0342}},
    {0x1ff7, {0x03a9, 0x0342, 0x0399}, {0x03a9, 0x0342, 0x0345}},
    {0x1ffc, {0x03a9, 0x0399}, {0x1ffc}},
    {0xfb00, {0x0046, 0x0046}, {0x0046, 0x0066}},
    {0xfb01, {0x0046, 0x0049}, {0x0046, 0x0069}},
    {0xfb02, {0x0046, 0x004c}, {0x0046, 0x006c}},
    {0xfb03, {0x0046, 0x0046, 0x0049}, {0x0046, 0x0066, 0x0069}},
    {0xfb04, {0x0046, 0x0046, 0x004c}, {0x0046, 0x0066, 0x006c}},
    {0xfb05, {0x0053, 0x0054}, {0x0053, 0x0074}},
    {0xfb06, {0x0053, 0x0054}, {0x0053, 0x0074}},
    {0xfb13, {0x0544, 0x0546}, {0x0544, 0x0576}},
    {0xfb14, {0x0544, 0x0535}, {0x0544, 0x0565}},
    {0xfb15, {0x0544, 0x053b}, {0x0544, 0x056b}},
    {0xfb16, {0x054e, 0x0546}, {0x054e, 0x0576}},
    {0xfb17, {0x0544, 0x053d}, {0x0544, 0x056d}},
};

static const uint16_t *special(uint32_t cp, bool title) {
    size_t low = 0, high = sizeof specials / sizeof *specials;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (specials[mid].cp == cp) return title ? specials[mid].title : specials[mid].upper;
        if (specials[mid].cp < cp) low = mid + 1;
        else high = mid;
    }
    return NULL;
}

static utf8proc_category_t category(uint32_t cp) { return utf8proc_category((utf8proc_int32_t)cp); }

static bool letter(uint32_t cp) {
    utf8proc_category_t c = category(cp);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

static bool is_lower(uint32_t cp) {
    return category(cp) == UTF8PROC_CATEGORY_LL || cp == 0xaa || cp == 0xba;
}

static bool is_upper(uint32_t cp) { return category(cp) == UTF8PROC_CATEGORY_LU; }

static bool cased(uint32_t cp) {
    return is_lower(cp) || is_upper(cp) || category(cp) == UTF8PROC_CATEGORY_LT;
}

/* Characters of type "digit" that are not decimal digits. */
static bool odd_digit(uint32_t cp) {
    static const uint32_t ranges[][2] = {
        {0xb2, 0xb3},       {0xb9, 0xb9},       {0x1369, 0x1371},   {0x19da, 0x19da},
        {0x2070, 0x2070},   {0x2074, 0x2079},   {0x2080, 0x2089},   {0x2460, 0x2468},
        {0x2474, 0x247c},   {0x2488, 0x2490},   {0x24ea, 0x24ea},   {0x24f5, 0x24fd},
        {0x24ff, 0x24ff},   {0x2776, 0x277e},   {0x2780, 0x2788},   {0x278a, 0x2792},
        {0x10a40, 0x10a43}, {0x10e60, 0x10e68}, {0x11052, 0x1105a}, {0x1f100, 0x1f10a},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (cp >= ranges[i][0] && cp <= ranges[i][1]) return true;
    return false;
}

static bool numeric(uint32_t cp) {
    utf8proc_category_t c = category(cp);
    return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

bool slv_tpl_space(uint32_t cp) {
    if (cp < 0x80) return cp == ' ' || (cp >= 9 && cp <= 13) || (cp >= 0x1c && cp <= 0x1f);
    return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

bool slv_tpl_word_char(uint32_t cp) {
    if (cp == SLV_UTF8_INVALID) return false;
    return cp == '_' || letter(cp) || numeric(cp) || odd_digit(cp);
}

bool slv_tpl_printable(uint32_t cp) {
    if (cp < 0x80) return cp >= 0x20 && cp < 0x7f;
    utf8proc_category_t c = category(cp);
    return c != UTF8PROC_CATEGORY_CN && c < UTF8PROC_CATEGORY_ZS;
}

/* --- classes ---------------------------------------------------------------------------------- */

/* islower, isupper and istitle want one cased character and look at how it follows others. */
static bool all_cased(struct tpl_text s, enum tpl_class what) {
    bool any = false, after = false;
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        i += slv_utf8_decode(s.p + i, s.n - i, &cp);
        bool low = is_lower(cp), up = cased(cp) && !low;
        if (what == IS_LOWER && up) return false;
        if (what == IS_UPPER && (low || (up && !is_upper(cp)))) return false;
        if (what == IS_TITLE && ((up && after) || (low && !after))) return false;
        after = low || up;
        any = any || after;
    }
    return any;
}

static bool in_class(uint32_t cp, enum tpl_class what, bool first) {
    utf8proc_category_t c = category(cp);
    switch (what) {
    case IS_ALPHA:
        return letter(cp);
    case IS_DIGIT:
        return c == UTF8PROC_CATEGORY_ND || odd_digit(cp);
    case IS_DECIMAL:
        return c == UTF8PROC_CATEGORY_ND;
    case IS_NUMERIC:
        return numeric(cp);
    case IS_ALNUM:
        return letter(cp) || numeric(cp) || odd_digit(cp);
    case IS_SPACE:
        return slv_tpl_space(cp);
    case IS_PRINTABLE:
        return slv_tpl_printable(cp);
    case IS_ASCII:
        return cp < 0x80;
    case IS_IDENTIFIER:
        if (letter(cp) || cp == '_' || c == UTF8PROC_CATEGORY_NL) return true;
        return !first && (c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_MN ||
                          c == UTF8PROC_CATEGORY_MC || c == UTF8PROC_CATEGORY_PC);
    case IS_LOWER:
    case IS_UPPER:
    case IS_TITLE:
        break;
    }
    return false;
}

bool slv_tpl_all(const struct slv_value *v, enum tpl_class what) {
    const struct tpl_text s = v->s;
    if (what == IS_LOWER || what == IS_UPPER || what == IS_TITLE) return all_cased(s, what);
    if (s.n == 0) return what == IS_PRINTABLE || what == IS_ASCII;
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        size_t used = slv_utf8_decode(s.p + i, s.n - i, &cp);
        if (!in_class(cp, what, i == 0)) return false;
        i += used;
    }
    return true;
}

struct tpl_text slv_tpl_strip(struct tpl_text s, const struct slv_value *chars, bool left,
                              bool right) {
    uint32_t cp, other;
    while (left && s.n) {
        size_t used = slv_utf8_decode(s.p, s.n, &cp);
        bool drop = chars ? memmem(chars->s.p, chars->s.n, s.p, used) != NULL : slv_tpl_space(cp);
        if (!drop) break;
        s.p += used;
        s.n -= used;
    }
    while (right && s.n) {
        size_t used = 1;
        while (used < s.n && ((unsigned char)s.p[s.n - used] & 0xc0) == 0x80)
            used++;
        slv_utf8_decode(s.p + s.n - used, used, &other);
        bool drop = chars ? memmem(chars->s.p, chars->s.n, s.p + s.n - used, used) != NULL
                          : slv_tpl_space(other);
        if (!drop) break;
        s.n -= used;
    }
    return s;
}

/* --- changing case ---------------------------------------------------------------------------- */

static bool add_cp(struct tpl_run *r, uint32_t cp) {
    char text[SLV_UTF8_MAX];
    return slv_tpl_add(r, text, slv_utf8_encode(cp, text));
}

static bool ignorable(uint32_t cp) {
    utf8proc_category_t c = category(cp);
    return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_ME || c == UTF8PROC_CATEGORY_CF ||
           c == UTF8PROC_CATEGORY_LM || c == UTF8PROC_CATEGORY_SK || cp == '\'' || cp == '.' ||
           cp == ':' || cp == 0xb7 || cp == 0x2019;
}

/* Whether the sigma at s.p[at] ends a word: a cased letter before it, none behind. */
static bool final_sigma(struct tpl_text s, size_t at) {
    uint32_t cp = 0;
    size_t i = at;
    bool before = false;
    while (i > 0) {
        i--;
        while (i > 0 && ((unsigned char)s.p[i] & 0xc0) == 0x80)
            i--;
        slv_utf8_decode(s.p + i, s.n - i, &cp);
        if (ignorable(cp)) continue;
        before = cased(cp);
        break;
    }
    if (!before) return false;
    for (i = at + 2; i < s.n;) {
        i += slv_utf8_decode(s.p + i, s.n - i, &cp);
        if (!ignorable(cp)) return !cased(cp);
    }
    return true;
}

static bool add_lower(struct tpl_run *r, struct tpl_text s, size_t at, uint32_t cp) {
    if (cp == 0x3a3) {
        if (!slv_tpl_pay(r, 16)) return false;
        return add_cp(r, final_sigma(s, at) ? 0x3c2 : 0x3c3);
    }
    if (cp == 0x130) return add_cp(r, 'i') && add_cp(r, 0x307);
    return add_cp(r, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
}

static bool add_upper(struct tpl_run *r, uint32_t cp, bool title) {
    const uint16_t *many = special(cp, title);
    if (!many)
        return add_cp(r, (uint32_t)(title ? utf8proc_totitle((utf8proc_int32_t)cp)
                                          : utf8proc_toupper((utf8proc_int32_t)cp)));
    for (int i = 0; i < 3 && many[i]; i++)
        if (!add_cp(r, many[i])) return false;
    return true;
}

static bool add_folded(struct tpl_run *r, uint32_t cp) {
    utf8proc_int32_t out[8];
    int last = 0;
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)cp, out, 8, UTF8PROC_CASEFOLD, &last);
    for (utf8proc_ssize_t i = 0; i < n; i++)
        if (!add_cp(r, (uint32_t)out[i])) return false;
    return n >= 0;
}

static bool add_recased(struct tpl_run *r, struct tpl_text s, enum tpl_case how) {
    bool after = false; /* a cased character stands before */
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        size_t used = slv_utf8_decode(s.p + i, s.n - i, &cp);
        bool up = how == CASE_UPPER || (how == CASE_SWAP && is_lower(cp)), ok;
        bool down = how == CASE_LOWER || (how == CASE_SWAP && is_upper(cp));
        bool title = (how == CASE_TITLE && !after) || (how == CASE_CAPITAL && i == 0);
        if (how == CASE_TITLE || how == CASE_CAPITAL) down = !title;
        if (how == CASE_FOLD) ok = add_folded(r, cp);
        else if (up || title) ok = add_upper(r, cp, title);
        else if (down) ok = add_lower(r, s, i, cp);
        else ok = slv_tpl_add(r, s.p + i, used);
        if (!ok) return false;
        after = cased(cp);
        i += used;
    }
    return true;
}

/* The same for ASCII, where a character stays one byte. */
static struct slv_value *recase_ascii(struct tpl_run *r, struct slv_value *v, enum tpl_case how) {
    char *out = slv_tpl_alloc(&r->mem, v->s.n);
    bool after = false;
    if (!out || !slv_tpl_pay(r, v->s.n / 8)) return NULL;
    for (size_t i = 0; i < v->s.n; i++) {
        char c = v->s.p[i], low = (char)(c | 0x20);
        bool is_letter = low >= 'a' && low <= 'z';
        bool up = how == CASE_UPPER || (how == CASE_SWAP && c == low) ||
                  (how == CASE_TITLE && !after) || (how == CASE_CAPITAL && i == 0);
        out[i] = !is_letter ? c : up ? (char)(low - 0x20) : low;
        after = is_letter;
    }
    return slv_tpl_like(r, v, out, v->s.n);
}

struct slv_value *slv_tpl_recase(struct tpl_run *r, struct slv_value *v, enum tpl_case how) {
    if (v->s.n && v->cps == v->s.n) return recase_ascii(r, v, how);
    size_t mark = slv_tpl_begin(r);
    if (!slv_tpl_pay(r, v->s.n) || !add_recased(r, v->s, how)) return NULL;
    struct slv_value *made = slv_tpl_end(r, mark);
    return made && v->markup ? slv_tpl_like(r, v, made->s.p, made->s.n) : made;
}
