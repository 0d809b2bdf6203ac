/* batch.c: see batch.h. */
#include "mesh/batch.h"

#include <sodium.h>

/* What is signed begins with this: no other message of the key's can be taken for a head. */
static const char purpose[] = "selvage mesh batch 1";

uint64_t slv_mesh_writer(uint64_t node, uint32_t store) {
    static const char what[] = "selvage mesh writer 1";
    uint8_t in[12], out[16];
    crypto_generichash_state h;
    for (size_t i = 0; i < 8; i++)
        in[i] = (uint8_t)(node >> (56 - 8 * i));
    for (size_t i = 0; i < 4; i++)
        in[8 + i] = (uint8_t)(store >> (24 - 8 * i));
    crypto_generichash_init(&h, NULL, 0, sizeof out);
    crypto_generichash_update(&h, (const uint8_t *)what, sizeof what);
    crypto_generichash_update(&h, in, sizeof in);
    crypto_generichash_final(&h, out, sizeof out);
    struct slv_reader r = slv_reader_of(out, sizeof out);
    return slv_read_id(&r);
}

/* --- heads ------------------------------------------------------------------------------------ */

void slv_batch_head_fini(struct slv_batch_head *h) {
    slv_dots_fini(&h->deps);
    *h = (struct slv_batch_head){0};
}

static size_t ranges_of(const struct slv_dots *s) {
    size_t n = 0;
    for (uint32_t i = 0; i < s->n; i++)
        n += s->writer[i].n;
    return n;
}

static int read_head(struct slv_reader *r, struct slv_batch_head *h) {
    const uint8_t *from = r->p;
    if (slv_read_number(r, SLV_BATCH_VERSION) != SLV_BATCH_VERSION) return SLV_E_FORMAT;
    h->space = slv_read_id(r);
    h->node = slv_read_id(r);
    h->store = (uint32_t)slv_read_number(r, UINT32_MAX);
    h->dots.first = slv_read_number(r, SLV_DOT_MAX);
    h->dots.last = h->dots.first + slv_read_number(r, SLV_BATCH_DOTS_MAX - 1);
    h->stamp = slv_read_id(r);
    if (r->bad || !h->dots.first || h->dots.last > SLV_DOT_MAX) return SLV_E_FORMAT;
    const int rc = slv_dots_read(r, &h->deps);
    if (rc) return rc;
    h->n_ops = (size_t)slv_read_number(r, SLV_BATCH_OPS_MAX);
    const struct slv_str hash = slv_read_raw(r, SLV_BATCH_HASH);
    slv_read_raw(r, SLV_BATCH_SIG);
    if (r->bad || !h->n_ops || ranges_of(&h->deps) > SLV_BATCH_DEPS_MAX) return SLV_E_FORMAT;
    memcpy(h->hash, hash.p, sizeof h->hash);
    h->bytes = (struct slv_str){(const char *)from, (size_t)(r->p - from)};
    h->writer = slv_mesh_writer(h->node, h->store);
    return 0;
}

int slv_batch_head_read(struct slv_reader *r, struct slv_batch_head *ret) {
    struct slv_batch_head h = {0};
    const int rc = read_head(r, &h);
    if (rc) slv_batch_head_fini(&h);
    else *ret = h;
    return rc;
}

/* Purpose and head behind each other. */
static int to_sign(struct slv_str head, struct slv_buf *ret) {
    slv_buf_init(ret, SLV_BATCH_MAX);
    slv_buf_add(ret, purpose, sizeof purpose);
    slv_buf_add(ret, head.p, head.n);
    return ret->status;
}

bool slv_batch_head_check(const struct slv_batch_head *h, const struct slv_mesh_trust *t) {
    struct slv_buf b;
    const size_t n = h->bytes.n - SLV_BATCH_SIG;
    const bool good =
        !to_sign((struct slv_str){h->bytes.p, n}, &b) &&
        t->check(t->ctx, h->node, (struct slv_str){b.data, b.len}, (const uint8_t *)h->bytes.p + n);
    slv_buf_fini(&b);
    return good;
}

/* --- batches ---------------------------------------------------------------------------------- */

static void hash_ops(struct slv_str ops, uint8_t ret[SLV_BATCH_HASH]) {
    crypto_generichash(ret, SLV_BATCH_HASH, (const uint8_t *)ops.p, ops.n, NULL, 0);
}

void slv_batch_fini(struct slv_batch *b) {
    slv_batch_head_fini(&b->head);
    *b = (struct slv_batch){0};
}

int slv_batch_read(struct slv_reader *r, struct slv_batch *ret) {
    const uint8_t *from = r->p;
    struct slv_batch b = {0};
    uint8_t hash[SLV_BATCH_HASH];
    int rc = slv_batch_head_read(r, &b.head);
    if (rc) return rc;
    b.ops = slv_read_raw(r, b.head.n_ops);
    hash_ops(b.ops, hash);
    if (r->bad || memcmp(hash, b.head.hash, sizeof hash) != 0) {
        slv_batch_fini(&b);
        return SLV_E_FORMAT;
    }
    b.bytes = (struct slv_str){(const char *)from, (size_t)(r->p - from)};
    *ret = b;
    return 0;
}

struct slv_batch_walk slv_batch_walk_of(const struct slv_batch *b) {
    return (struct slv_batch_walk){slv_reader_of(b->ops.p, b->ops.n), b->head.writer,
                                   b->head.dots.first, b->head.dots.last};
}

int slv_batch_next(struct slv_batch_walk *w, struct slv_op *ret_op) {
    if (w->next > w->last) return slv_reader_done(&w->r) ? 1 : SLV_E_FORMAT;
    const int rc = slv_op_read(&w->r, (struct slv_dot){w->writer, w->next}, ret_op);
    if (rc) return rc;
    const uint64_t last = slv_op_range(ret_op).last;
    if (last > w->last) {
        slv_op_fini(ret_op);
        return SLV_E_FORMAT;
    }
    w->next = last + 1;
    return 0;
}

static void write_head(const struct slv_batch_head *h, struct slv_str ops, struct slv_buf *b) {
    uint8_t hash[SLV_BATCH_HASH];
    hash_ops(ops, hash);
    slv_write_number(b, SLV_BATCH_VERSION);
    slv_write_id(b, h->space);
    slv_write_id(b, h->node);
    slv_write_number(b, h->store);
    slv_write_number(b, h->dots.first);
    slv_write_number(b, h->dots.last - h->dots.first);
    slv_write_id(b, h->stamp);
    slv_dots_write(&h->deps, b);
    slv_write_number(b, ops.n);
    slv_buf_add(b, hash, sizeof hash);
}

int slv_batch_write(const struct slv_batch_head *h, struct slv_str ops,
                    const struct slv_mesh_trust *t, struct slv_buf *b) {
    uint8_t sig[SLV_BATCH_SIG];
    struct slv_buf head, all;
    if (!ops.n || ops.n > SLV_BATCH_OPS_MAX || ranges_of(&h->deps) > SLV_BATCH_DEPS_MAX ||
        h->dots.last - h->dots.first >= SLV_BATCH_DOTS_MAX)
        return SLV_E_LIMIT;
    slv_buf_init(&head, SLV_BATCH_MAX);
    slv_buf_init(&all, SLV_BATCH_MAX);
    write_head(h, ops, &head);
    int rc = head.status ? head.status : to_sign((struct slv_str){head.data, head.len}, &all);
    if (!rc) rc = t->sign(t->ctx, (struct slv_str){all.data, all.len}, sig);
    if (!rc) rc = slv_buf_reserve(b, head.len + sizeof sig + ops.n);
    if (!rc) {
        slv_buf_add(b, head.data, head.len);
        slv_buf_add(b, sig, sizeof sig);
        slv_buf_add(b, ops.p, ops.n);
    }
    slv_buf_fini(&all);
    slv_buf_fini(&head);
    return rc;
}
