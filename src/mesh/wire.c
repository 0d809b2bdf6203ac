/* wire.c: see wire.h. */
#include "mesh/wire.h"

#include <sodium.h>

static uint64_t fail(struct slv_reader *r) {
    r->bad = true;
    r->p = r->end;
    return 0;
}

uint64_t slv_read_number(struct slv_reader *r, uint64_t most) {
    uint64_t v = 0;
    for (unsigned at = 0; at < 64; at += 7) {
        if (r->p == r->end) return fail(r);
        const uint8_t byte = *r->p++;
        if (at == 63 && byte > 1) return fail(r);
        v |= (uint64_t)(byte & 0x7f) << at;
        if (byte & 0x80) continue;
        if ((!byte && at) || v > most) return fail(r);
        return v;
    }
    return fail(r);
}

struct slv_str slv_read_raw(struct slv_reader *r, size_t n) {
    if (slv_reader_left(r) < n) {
        fail(r);
        return (struct slv_str){"", 0};
    }
    const struct slv_str s = {(const char *)r->p, n};
    r->p += n;
    return s;
}

struct slv_str slv_read_bytes(struct slv_reader *r, size_t most) {
    const uint64_t n = slv_read_number(r, most);
    return slv_read_raw(r, (size_t)n);
}

uint64_t slv_read_id(struct slv_reader *r) {
    const struct slv_str s = slv_read_raw(r, 8);
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++)
        v = v << 8 | (uint8_t)s.p[i];
    return v;
}

void slv_write_number(struct slv_buf *b, uint64_t v) {
    char bytes[10];
    size_t n = 0;
    for (; v > 0x7f; v >>= 7)
        bytes[n++] = (char)(v | 0x80);
    bytes[n++] = (char)v;
    slv_buf_add(b, bytes, n);
}

void slv_write_bytes(struct slv_buf *b, const void *p, size_t n) {
    slv_write_number(b, n);
    slv_buf_add(b, p, n);
}

void slv_write_id(struct slv_buf *b, uint64_t v) {
    char bytes[8];
    for (size_t i = 8; i-- > 0; v >>= 8)
        bytes[i] = (char)v;
    slv_buf_add(b, bytes, sizeof bytes);
}

size_t slv_number_bytes(uint64_t v) {
    size_t n = 1;
    for (; v > 0x7f; v >>= 7)
        n++;
    return n;
}

/* (libsodium 1.0.18 takes bytes from 0x80 on for some of the 64 characters.) */
bool slv_base64_read(struct slv_str text, void *to, size_t most, size_t *ret_n) {
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] & 0x80) return false;
    return !sodium_base642bin(to, most, text.p, text.n, NULL, ret_n, NULL,
                              sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}
