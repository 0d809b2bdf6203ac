/* utf8.c: see utf8.h. */
#include "base/utf8.h"

#include <string.h>

/* The first continuation byte of some lead bytes has a narrower range (Unicode 15, table 3-7). */
static bool lead_range(unsigned char lead, size_t *ret_len, unsigned char *ret_lo,
                       unsigned char *ret_hi) {
    *ret_lo = 0x80;
    *ret_hi = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
        *ret_len = 2;
        return true;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        *ret_len = 3;
        if (lead == 0xe0) *ret_lo = 0xa0;
        if (lead == 0xed) *ret_hi = 0x9f;
        return true;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        *ret_len = 4;
        if (lead == 0xf0) *ret_lo = 0x90;
        if (lead == 0xf4) *ret_hi = 0x8f;
        return true;
    }
    return false;
}

/* The number of bytes of s that form a valid beginning of a sequence; *ret_len its full length. */
static size_t valid_prefix(const unsigned char *s, size_t n, size_t *ret_len) {
    unsigned char lo, hi;
    if (s[0] < 0x80) {
        *ret_len = 1;
        return 1;
    }
    if (!lead_range(s[0], ret_len, &lo, &hi)) {
        *ret_len = 0;
        return 0;
    }
    size_t i = 1;
    while (i < *ret_len && i < n && s[i] >= lo && s[i] <= hi) {
        lo = 0x80;
        hi = 0xbf;
        i++;
    }
    return i;
}

size_t slv_utf8_decode(const char *s, size_t n, uint32_t *ret_cp) {
    const unsigned char *u = (const unsigned char *)s;
    size_t len, have = valid_prefix(u, n, &len);
    if (len == 0 || have < len) {
        *ret_cp = SLV_UTF8_INVALID;
        return have ? have : 1;
    }
    static const unsigned char lead_mask[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t cp = u[0] & lead_mask[len];
    for (size_t i = 1; i < len; i++)
        cp = cp << 6 | (u[i] & 0x3fu);
    *ret_cp = cp;
    return len;
}

size_t slv_utf8_encode(uint32_t cp, char out[SLV_UTF8_MAX]) {
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (cp & 0x3f));
        cp >>= 6;
    }
    out[0] = (char)(lead[len] | cp);
    return len;
}

bool slv_utf8_valid(const char *s, size_t n, size_t *ret_at) {
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t used = slv_utf8_decode(s + i, n - i, &cp);
        if (cp == SLV_UTF8_INVALID) {
            if (ret_at) *ret_at = i;
            return false;
        }
        i += used;
    }
    return true;
}

size_t slv_utf8_incomplete_tail(const char *s, size_t n) {
    const unsigned char *u = (const unsigned char *)s;
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = u[n - back];
        if (c < 0x80) return 0;
        if (c < 0xc0) continue;
        size_t len, have = valid_prefix(u + n - back, back, &len);
        return have == back && have < len ? back : 0;
    }
    return 0;
}

size_t slv_utf8_repair(const char *src, size_t n, char *dst, size_t *ret_replaced) {
    size_t out = 0, replaced = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t used = slv_utf8_decode(src + i, n - i, &cp);
        if (cp == SLV_UTF8_INVALID) {
            memcpy(dst + out, "\xef\xbf\xbd", 3);
            out += 3;
            replaced++;
        } else {
            memcpy(dst + out, src + i, used);
            out += used;
        }
        i += used;
    }
    if (ret_replaced) *ret_replaced = replaced;
    return out;
}
