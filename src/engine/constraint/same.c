/* same.c: see same.h. */
#include "engine/constraint/same.h"

#include <string.h>

static size_t past_string(const char *s, size_t i) {
    for (i++; s[i] != '"'; i++)
        if (s[i] == '\\') i++;
    return i + 1;
}

/* The end of the value, complete and compact, that begins at s[i]; n is the end of the text. */
static size_t past_value(const char *s, size_t i, size_t n) {
    size_t depth = 0;
    do {
        if (s[i] == '"') i = past_string(s, i);
        else {
            depth += s[i] == '{' || s[i] == '[';
            depth -= s[i] == '}' || s[i] == ']';
            i++;
        }
    } while (i < n && (depth || (s[i] != ',' && s[i] != '}' && s[i] != ']' && s[i] != ':')));
    return i;
}

struct span {
    const char *s;
    size_t n;
};

/* The number of members, and the value of one (NULL: none). */
static const char *member(struct span object, struct span key, size_t *ret_n, size_t *ret_members) {
    const char *found = NULL;
    size_t i = 1;
    *ret_members = 0;
    while (object.s[i] != '}') {
        const size_t k = past_string(object.s, i), end = past_value(object.s, k + 1, object.n);
        if (k - i == key.n && !memcmp(object.s + i, key.s, key.n)) {
            found = object.s + k + 1;
            *ret_n = end - k - 1;
        }
        ++*ret_members;
        i = end + (object.s[end] == ',');
    }
    return found;
}

/* Whether two compact texts are the same value; numbers have one text, members any order. */
static bool same_value(struct span a, struct span b) {
    if (a.n != b.n) return false;
    if (a.s[0] != b.s[0] || (a.s[0] != '{' && a.s[0] != '[')) return !memcmp(a.s, b.s, a.n);
    size_t i = 1, j = 1, members = 0, others;
    if (a.s[0] == '[') {
        while (a.s[i] != ']' && b.s[j] != ']') {
            const size_t x = past_value(a.s, i, a.n), y = past_value(b.s, j, b.n);
            if (!same_value((struct span){a.s + i, x - i}, (struct span){b.s + j, y - j}))
                return false;
            i = x + (a.s[x] == ',');
            j = y + (b.s[y] == ',');
        }
        return a.s[i] == b.s[j];
    }
    while (a.s[i] != '}') {
        size_t n;
        const size_t k = past_string(a.s, i), end = past_value(a.s, k + 1, a.n);
        const char *v = member(b, (struct span){a.s + i, k - i}, &n, &others);
        if (!v || !same_value((struct span){a.s + k + 1, end - k - 1}, (struct span){v, n}))
            return false;
        members++;
        i = end + (a.s[end] == ',');
    }
    (void)member(b, (struct span){"", 0}, &j, &others);
    return members == others;
}

bool slv_same_value(const char *a, size_t na, const char *b, size_t nb) {
    return same_value((struct span){a, na}, (struct span){b, nb});
}
