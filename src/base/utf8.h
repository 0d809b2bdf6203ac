/* utf8.h: decoding, checking, repairing and streaming UTF-8 (RFC 3629; Unicode 15, section 3.9,
 * "maximal subpart" replacement). No Unicode properties here: those come from utf8proc in format.
 */
#ifndef SLV_BASE_UTF8_H
#define SLV_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLV_UTF8_INVALID 0xffffffffu
#define SLV_UTF8_MAX 4

/* Decodes one code point from s[0..n), n >= 1. Returns the bytes used, 1 to 4. For a broken or
 * overlong sequence, a surrogate or a code point past U+10FFFF, *ret_cp is SLV_UTF8_INVALID and
 * the bytes used are those of the maximal subpart, which one U+FFFD should replace. */
size_t slv_utf8_decode(const char *s, size_t n, uint32_t *ret_cp);

/* Whether a terminal takes cp for a command and not for text: C0, DEL, C1, or no character. */
static inline bool slv_utf8_is_control(uint32_t cp) {
    return cp == SLV_UTF8_INVALID || cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
}

/* Writes cp (a valid scalar value) as 1 to 4 bytes and returns how many. */
size_t slv_utf8_encode(uint32_t cp, char out[SLV_UTF8_MAX]);

/* Whether all of s[0..n) is valid UTF-8; *ret_at (may be NULL) is the offset of the first fault. */
bool slv_utf8_valid(const char *s, size_t n, size_t *ret_at);

/* How many bytes at the end of s[0..n) are a sequence that has begun validly and is not complete:
 * 0 to 3. A stream holds these back until more arrives. */
size_t slv_utf8_incomplete_tail(const char *s, size_t n);

/* Copies src to dst with each maximal broken subpart replaced by U+FFFD. dst may hold up to 3 * n
 * bytes (its bound). Returns the length written; *ret_replaced (may be NULL) counts replacements.
 */
size_t slv_utf8_repair(const char *src, size_t n, char *dst, size_t *ret_replaced);

#endif
