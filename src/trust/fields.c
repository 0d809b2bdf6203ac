/* fields.c: see fields.h. */
#include "trust/fields.h"

#include <sodium.h>
#include <string.h>

/* --- hexadecimal ------------------------------------------------------------------------------ */

void slv_hex_write(const void *p, size_t n, char *out) { sodium_bin2hex(out, 2 * n + 1, p, n); }

/* The value of a digit, or 16 and more; without a branch or a look into a table. */
static unsigned digit(unsigned char c) {
    unsigned num = c - 48u, low = c - 97u;
    unsigned is_num = ((num - 10) & ~num) >> 31, is_low = ((low - 6) & ~low) >> 31;
    return (num & (0u - is_num)) | ((low + 10) & (0u - is_low)) | ((is_num | is_low) ^ 1) << 4;
}

bool slv_hex_read(const char *s, void *ret, size_t n) {
    unsigned char *out = ret;
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned hi = digit((unsigned char)s[2 * i]), lo = digit((unsigned char)s[2 * i + 1]);
        bad |= (hi | lo) & 16;
        out[i] = (unsigned char)((hi & 15) << 4 | (lo & 15));
    }
    return !bad;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void miss(struct slv_fields *f, const char *name) {
    if (f->missed) return;
    f->missed = name;
    f->missed_line = f->line;
}

/* The value of the next line if it has that name, and goes past it; NULL if not. A line without a
 * value gives "". */
static const char *take(struct slv_fields *f, const char *name, size_t *ret_n) {
    size_t len = strlen(name);
    const char *lf =
        f->missed || f->p == f->end ? NULL : memchr(f->p, '\n', (size_t)(f->end - f->p));
    size_t n = lf ? (size_t)(lf - f->p) : 0;
    if (!lf || n < len || memcmp(f->p, name, len) || (n > len && f->p[len] != ' ')) {
        miss(f, name);
        return NULL;
    }
    const char *value = f->p + len + (n > len);
    *ret_n = (size_t)(lf - value);
    f->p = lf + 1;
    f->line++;
    return value;
}

/* What take() went past was not right after all. */
static void miss_taken(struct slv_fields *f, const char *name) {
    f->line--;
    miss(f, name);
}

void slv_fields_init(struct slv_fields *f, const char *s, size_t n, const char *title) {
    *f = (struct slv_fields){.p = s, .end = s + n, .line = 1};
    slv_fields_word(f, title);
}

bool slv_fields_at_end(const struct slv_fields *f) { return f->missed || f->p == f->end; }

bool slv_fields_next_is(const struct slv_fields *f, const char *name) {
    size_t len = strlen(name), left = (size_t)(f->end - f->p);
    return !f->missed && left > len && !memcmp(f->p, name, len) &&
           (f->p[len] == ' ' || f->p[len] == '\n');
}

void slv_fields_uint(struct slv_fields *f, const char *name, uint64_t *ret) {
    size_t n = 0;
    uint64_t v = 0;
    const char *s = take(f, name, &n);
    if (!s) return;
    bool ok = n > 0 && (s[0] != '0' || n == 1);
    for (size_t i = 0; ok && i < n; i++) {
        ok = s[i] >= '0' && s[i] <= '9' && !__builtin_mul_overflow(v, (uint64_t)10, &v) &&
             !__builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v);
    }
    if (ok) *ret = v;
    else miss_taken(f, name);
}

void slv_fields_blob(struct slv_fields *f, const char *name, void *ret, size_t max, size_t *ret_n) {
    size_t n = 0;
    const char *s = take(f, name, &n);
    if (!s) return;
    if (n && n % 2 == 0 && n / 2 <= max && slv_hex_read(s, ret, n / 2)) *ret_n = n / 2;
    else miss_taken(f, name);
}

void slv_fields_bytes(struct slv_fields *f, const char *name, void *ret, size_t n) {
    size_t got = 0;
    const char *s = take(f, name, &got);
    if (s && (got != 2 * n || !slv_hex_read(s, ret, n))) miss_taken(f, name);
}

void slv_fields_word(struct slv_fields *f, const char *name) {
    size_t n = 0;
    const char *s = take(f, name, &n);
    if (s && (n || s[-1] == ' ')) miss_taken(f, name);
}

int slv_fields_check(const struct slv_fields *f, const char *what, struct slv_err *err) {
    if (f->missed)
        return slv_err_set(err, SLV_E_FORMAT, "%s: line %zu: '%s' is missing or malformed", what,
                           f->missed_line, f->missed);
    if (f->p != f->end)
        return slv_err_set(err, SLV_E_FORMAT, "%s: line %zu: more follows than belongs there", what,
                           f->line);
    return 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

void slv_fields_put_bytes(struct slv_buf *b, const char *name, const void *p, size_t n) {
    size_t digits = 2 * n;
    slv_buf_addf(b, "%s ", name);
    if (slv_buf_reserve(b, digits + 1)) return;
    slv_hex_write(p, n, b->data + b->len);
    b->len += digits;
    slv_buf_addc(b, '\n');
}
