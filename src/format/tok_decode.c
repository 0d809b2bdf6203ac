/* tok_decode.c: ids -> bytes, and GPT-2's printable alphabet for bytes.
 *
 * In a byte-level vocabulary each byte of a piece is written as one printable character: those of
 * ! to ~, U+00A1 to U+00AC and U+00AE to U+00FF stand for themselves; the other 68 bytes, in order,
 * are U+0100 to U+0143. */
#include "base/mem.h"
#include "base/utf8.h"
#include "format/stream.h"
#include "format/tok_int.h"

#include <string.h>

static bool stands_for_itself(uint32_t cp) {
    return (cp >= '!' && cp <= '~') || (cp >= 0xa1 && cp <= 0xff && cp != 0xad);
}

/* The bytes below b that do not stand for themselves: 0-32, 127-160 and 173. */
static uint32_t hidden_before(unsigned char b) {
    if (b <= 32) return b;
    if (b <= 127) return 33;
    if (b <= 161) return 33u + (b - 127u);
    return b <= 173 ? 67u : 68u;
}

uint32_t slv_tok_byte_char(unsigned char b) {
    return stands_for_itself(b) ? b : 0x100 + hidden_before(b);
}

/* The byte a character stands for, or -1. */
static int char_byte(uint32_t cp) {
    if (stands_for_itself(cp)) return (int)cp;
    if (cp < 0x100 || cp > 0x143) return -1;
    uint32_t k = cp - 0x100;
    return k < 33 ? (int)k : k < 67 ? (int)(127 + k - 33) : 173;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int slv_tok_byte_value(struct slv_str piece) {
    if (piece.n != 6 || memcmp(piece.p, "<0x", 3) != 0 || piece.p[5] != '>') return -1;
    int hi = hex_digit(piece.p[3]), lo = hex_digit(piece.p[4]);
    return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

/* A piece with a character outside the alphabet is not byte-level text; it stands as it is. */
static void add_byte_level(struct slv_buf *out, struct slv_str piece) {
    size_t before = out->len;
    for (size_t i = 0; i < piece.n && !out->status;) {
        uint32_t cp;
        i += slv_utf8_decode(piece.p + i, piece.n - i, &cp);
        int b = cp == SLV_UTF8_INVALID ? -1 : char_byte(cp);
        if (b < 0) {
            out->len = before;
            slv_buf_add(out, piece.p, piece.n);
            return;
        }
        slv_buf_addc(out, (char)b);
    }
}

static void add_unescaped(struct slv_buf *out, struct slv_str piece) {
    for (size_t i = 0; i < piece.n && !out->status;) {
        bool space = piece.n - i >= 3 && !memcmp(piece.p + i, SLV_TOK_SPACE, 3);
        slv_buf_addc(out, space ? ' ' : piece.p[i]);
        i += space ? 3 : 1;
    }
}

bool slv_tok_drops_space(const struct slv_tokenizer *t) {
    return t->add_space || t->model == SLV_TOK_WPM;
}

int slv_tok_bytes(const struct slv_tokenizer *t, int32_t id, bool special, struct slv_buf *out) {
    struct slv_str piece = t->piece[id];
    switch (slv_tok_kind(t, id)) {
    case SLV_TOKEN_CONTROL:
    case SLV_TOKEN_UNKNOWN:
        if (special) slv_buf_add(out, piece.p, piece.n);
        break;
    case SLV_TOKEN_USER:
        slv_buf_add(out, piece.p, piece.n);
        break;
    case SLV_TOKEN_BYTE:
        slv_buf_addc(out, (char)slv_tok_byte_value(piece));
        break;
    case SLV_TOKEN_UNUSED:
        break;
    case SLV_TOKEN_NORMAL:
        if (t->model == SLV_TOK_BPE && !t->raw) add_byte_level(out, piece);
        else add_unescaped(out, piece);
        break;
    }
    return out->status;
}

int slv_token_bytes(const struct slv_tokenizer *t, int32_t id, bool special, bool first,
                    struct slv_buf *out) {
    struct slv_stream s;
    slv_stream_init(&s, t, special, true);
    s.begun = !first;
    return slv_stream_add(&s, id, out);
}

int slv_detokenize(const struct slv_tokenizer *t, const int32_t *ids, size_t n, bool special,
                   bool raw, struct slv_buf *out) {
    struct slv_stream s;
    int rc = 0;
    slv_stream_init(&s, t, special, raw);
    for (size_t i = 0; !rc && i < n; i++)
        rc = slv_stream_add(&s, ids[i], out);
    return rc ? rc : slv_stream_end(&s, out);
}
