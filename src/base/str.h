/* str.h: a stretch of bytes that belongs to somebody else. */
#ifndef SLV_BASE_STR_H
#define SLV_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Bytes of a file; not NUL-terminated; any content, also NULs and broken UTF-8. */
struct slv_str {
    const char *p;
    size_t n;
};

static inline bool slv_str_is(struct slv_str s, const char *text) {
    return strlen(text) == s.n && !memcmp(s.p, text, s.n);
}

/* Below, at or above 0, by bytes; one that the other begins with is below it. */
static inline int slv_str_compare(struct slv_str a, struct slv_str b) {
    const size_t n = a.n < b.n ? a.n : b.n;
    const int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

#endif
