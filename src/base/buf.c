/* buf.c: see buf.h. */
#include "base/buf.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static char empty[1] = "";

void slv_buf_init(struct slv_buf *b, size_t max) {
    *b = (struct slv_buf){.data = empty, .max = max};
}

void slv_buf_fini(struct slv_buf *b) {
    if (!b) return;
    if (b->cap) slv_mem_free(b->data);
    *b = (struct slv_buf){.data = empty, .max = b->max};
}

void slv_buf_clear(struct slv_buf *b) {
    b->len = 0;
    b->status = 0;
    if (b->cap) b->data[0] = '\0';
}

int slv_buf_reserve(struct slv_buf *b, size_t n) {
    if (b->status) return b->status;
    if (b->len > b->max || n > b->max - b->len) return b->status = SLV_E_LIMIT;
    size_t need = b->len + n + 1; /* cannot overflow: max is below SIZE_MAX in every real buffer */
    if (need == 0) return b->status = SLV_E_LIMIT;
    if (need <= b->cap) return 0;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    char *p = slv_mem_realloc(b->cap ? b->data : NULL, cap);
    if (!p) return b->status = SLV_E_NOMEM;
    if (!b->cap) p[0] = '\0';
    b->data = p;
    b->cap = cap;
    return 0;
}

int slv_buf_add(struct slv_buf *b, const void *p, size_t n) {
    if (slv_buf_reserve(b, n)) return b->status;
    if (n) memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = '\0';
    return 0;
}

int slv_buf_adds(struct slv_buf *b, const char *s) { return slv_buf_add(b, s, strlen(s)); }

int slv_buf_addc(struct slv_buf *b, char c) { return slv_buf_add(b, &c, 1); }

int slv_buf_vaddf(struct slv_buf *b, const char *fmt, va_list ap) {
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0) {
        b->status = b->status ? b->status : SLV_E_INTERNAL;
    } else if (!slv_buf_reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return b->status;
}

int slv_buf_addf(struct slv_buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int rc = slv_buf_vaddf(b, fmt, ap);
    va_end(ap);
    return rc;
}

char *slv_buf_take(struct slv_buf *b, size_t *ret_len) {
    if (slv_buf_reserve(b, 0)) return NULL;
    char *p = b->data;
    if (ret_len) *ret_len = b->len;
    *b = (struct slv_buf){.data = empty, .max = b->max};
    return p;
}
