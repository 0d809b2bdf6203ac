/* string.c: see string.h. */
#include "engine/constraint/string.h"

enum { PART_NONE, PART_ESCAPE, PART_U, PART_U0, PART_U00, PART_U000, PART_U001 };
#define PART_UTF8 0x80000000u /* | left << 28 | length << 24 | bits so far */

static bool fits(struct slv_langs *p, const struct slv_string_at *s, slv_lang to) {
    if (!s->set) return to != SLV_LANG_NONE;
    const uint32_t n = s->count + 1, min = s->set->min, max = s->set->max;
    return n <= max && slv_lang_fits(p, to, min > n ? min - n : 0, max - n);
}

static bool any_of(struct slv_langs *p, const struct slv_string_at *s, uint32_t lo, uint32_t hi) {
    uint32_t least = 0, most = SLV_LANG_INF;
    if (s->set) {
        const uint32_t n = s->count + 1;
        if (n > s->set->max) return false;
        least = s->set->min > n ? s->set->min - n : 0;
        most = s->set->max - n;
    }
    return slv_lang_any_next(p, s->lang, lo, hi, least, most);
}

/* One character more. */
static bool character(struct slv_langs *p, struct slv_string_at *s, uint32_t c) {
    const slv_lang to = slv_lang_next(p, s->lang, c);
    if (to == SLV_LANG_FAIL || !fits(p, s, to)) return false;
    s->lang = to;
    s->count += s->set != NULL;
    s->part = PART_NONE;
    return true;
}

/* The second letter of an escape that is needed; -1: it is not, or has another form. */
static int32_t short_escape(unsigned char c) {
    switch (c) {
    case 'b':
        return 8;
    case 't':
        return 9;
    case 'n':
        return 10;
    case 'f':
        return 12;
    case 'r':
        return 13;
    case '"':
    case '\\':
        return c;
    default:
        return -1;
    }
}

static bool any_long_escape(struct slv_langs *p, const struct slv_string_at *s, uint32_t lo,
                            uint32_t hi) {
    for (uint32_t c = lo; c <= hi; c++) {
        const bool has_short = c == 8 || c == 9 || c == 10 || c == 12 || c == 13;
        if (!has_short && any_of(p, s, c, c)) return true;
    }
    return false;
}

static int hex(unsigned char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool in_escape(struct slv_langs *p, struct slv_string_at *s, unsigned char c) {
    const int32_t code = short_escape(c);
    const uint32_t part = s->part;
    if (part == PART_ESCAPE) {
        if (code >= 0) return character(p, s, (uint32_t)code);
        s->part = PART_U;
        return c == 'u' && any_long_escape(p, s, 0, 31);
    }
    if (part == PART_U || part == PART_U0) {
        s->part = part + 1;
        return c == '0';
    }
    if (part == PART_U00) {
        s->part = c == '0' ? PART_U000 : PART_U001;
        return c == '0' ? any_long_escape(p, s, 0, 15) : c == '1' && any_long_escape(p, s, 16, 31);
    }
    const uint32_t value = (part == PART_U001 ? 16u : 0u) + (uint32_t)(hex(c) & 15);
    return hex(c) >= 0 && any_long_escape(p, s, value, value) && character(p, s, value);
}

/* Code points that a lead byte, or what follows it, can still become. */
static bool utf8_part(struct slv_langs *p, struct slv_string_at *s, uint32_t left, uint32_t length,
                      uint32_t bits) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t lo = bits << (6 * left), hi = lo | ((1u << (6 * left)) - 1);
    if (lo < least[length]) lo = least[length];
    if (hi > SLV_CODE_POINT_MAX) hi = SLV_CODE_POINT_MAX;
    if (lo > hi || (lo >= 0xd800 && hi <= 0xdfff)) return false;
    if (left == 0) return character(p, s, bits);
    s->part = PART_UTF8 | left << 28 | length << 24 | bits;
    return any_of(p, s, lo, hi);
}

static bool in_utf8(struct slv_langs *p, struct slv_string_at *s, unsigned char c) {
    const uint32_t left = s->part >> 28 & 7, length = s->part >> 24 & 15;
    if ((c & 0xc0) != 0x80) return false;
    return utf8_part(p, s, left - 1, length, (s->part & 0xffffffu) << 6 | (c & 0x3fu));
}

static bool utf8_lead(struct slv_langs *p, struct slv_string_at *s, unsigned char c) {
    if (c >= 0xc2 && c < 0xe0) return utf8_part(p, s, 1, 2, c & 0x1fu);
    if (c >= 0xe0 && c < 0xf0) return utf8_part(p, s, 2, 3, c & 0x0fu);
    if (c >= 0xf0 && c < 0xf5) return utf8_part(p, s, 3, 4, c & 0x07u);
    return false;
}

static bool ascii_letter(struct slv_langs *p, struct slv_string_at *s, unsigned char c) {
    const slv_lang *t = slv_lang_ascii(p, s->lang);
    if (!t || !fits(p, s, t[c])) return false;
    s->lang = t[c];
    s->count += s->set != NULL;
    return true;
}

/* One byte inside a string that does not close it. */
bool slv_string_byte(struct slv_langs *p, struct slv_string_at *s, unsigned char c) {
    if (s->part & PART_UTF8) return in_utf8(p, s, c);
    if (s->part) return in_escape(p, s, c);
    if (c < 0x20) return false;
    if (c == '\\') {
        s->part = PART_ESCAPE;
        return any_of(p, s, 0, 31) || any_of(p, s, '"', '"') || any_of(p, s, '\\', '\\');
    }
    return c < 0x80 ? ascii_letter(p, s, c) : utf8_lead(p, s, c);
}

bool slv_text_byte(struct slv_langs *p, struct slv_string_at *s, unsigned char c) {
    if (s->part & PART_UTF8) return in_utf8(p, s, c);
    return c < 0x80 ? ascii_letter(p, s, c) : utf8_lead(p, s, c);
}

bool slv_string_may_close(const struct slv_langs *p, const struct slv_string_at *s) {
    if (s->part || !slv_lang_nullable(p, s->lang)) return false;
    return !s->set || (s->count >= s->set->min && s->count <= s->set->max);
}
