/* stream.c: see stream.h. */
#include "format/stream.h"
#include "base/utf8.h"
#include "format/tok_int.h"

#include <string.h>

void slv_stream_init(struct slv_stream *s, const struct slv_tokenizer *t, bool special, bool raw) {
    *s = (struct slv_stream){.t = t, .special = special, .raw = raw};
}

/* Appends b[0..n) with broken sequences replaced. */
static void add_repaired(struct slv_buf *out, const char *b, size_t n) {
    for (size_t i = 0; i < n && !out->status;) {
        uint32_t cp;
        size_t used = slv_utf8_decode(b + i, n - i, &cp);
        if (cp == SLV_UTF8_INVALID) slv_buf_adds(out, "\xef\xbf\xbd");
        else slv_buf_add(out, b + i, used);
        i += used;
    }
}

/* out[at..) has broken sequences: replaces them. */
static void repair_from(struct slv_buf *out, size_t at) {
    struct slv_buf copy;
    slv_buf_init(&copy, SIZE_MAX / 2);
    if (slv_buf_add(&copy, out->data + at, out->len - at)) out->status = copy.status;
    out->len = at;
    add_repaired(out, copy.data, copy.len);
    slv_buf_fini(&copy);
}

/* The bytes go straight to out behind what was held, and are put right there: most tokens are
 * whole characters and need nothing more. */
int slv_stream_add(struct slv_stream *s, int32_t id, struct slv_buf *out) {
    size_t before = out->len, from, tail = 0;
    if (id < 0 || (size_t)id >= slv_tokenizer_size(s->t)) return SLV_E_USAGE;
    slv_buf_add(out, s->held, s->n_held);
    from = out->len;
    slv_tok_bytes(s->t, id, s->special, out);
    bool any = out->len > from;
    if (any && !s->begun && slv_tok_drops_space(s->t) && out->data[from] == ' ') {
        out->len--;
        memmove(out->data + from, out->data + from + 1, out->len - from);
    }
    if (!out->status && !s->raw) {
        tail = slv_utf8_incomplete_tail(out->data + before, out->len - before);
        char held[sizeof s->held] = {0};
        memcpy(held, out->data + out->len - tail, tail);
        out->len -= tail;
        if (!slv_utf8_valid(out->data + before, out->len - before, NULL)) repair_from(out, before);
        if (!out->status) memcpy(s->held, held, sizeof held);
    }
    if (out->status) {
        out->len = before;
    } else {
        s->n_held = (unsigned char)tail;
        s->begun = s->begun || any;
    }
    if (out->cap) out->data[out->len] = '\0';
    return out->status;
}

int slv_stream_end(struct slv_stream *s, struct slv_buf *out) {
    add_repaired(out, s->held, s->n_held);
    slv_stream_init(s, s->t, s->special, s->raw);
    return out->status;
}
