/* adapter.c: see adapter.h: a file of low-rank matrices, checked against the model, into tiles. */
#include "engine/adapter.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/sum.h"
#include "kernel/fmath.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ROWS SLV_TILE_ROWS
#define HUGE_PAGE ((size_t)2 << 20)
#define NAME_MAX_BYTES 256u /* of general.name that are kept */

/* Types that keep all numbers of a tensor; f32 always does. */
enum { KEEPS_F16 = 1, KEEPS_BF16 = 2, KEEPS_ALL = 3 };

/* What the file has for one tensor of the model. */
struct pair {
    const struct slv_gguf_tensor *a, *b;
    uint32_t rank;
    unsigned keep_a, keep_b;
    bool is_known; /* of a matrix that an operator multiplies with, or the embeddings' table */
};

struct reader {
    struct slv_model *m;
    const struct slv_gguf *g;
    struct slv_adapter *to;
    struct slv_err *err;
    struct pair *pair;  /* [tensors of the model] */
    float *row, *again; /* rows of one tile; one row */
    uint16_t *half;     /* rows of one tile */
};

/* --- what the file says ----------------------------------------------------------------------- */

static int require_text(const struct reader *r, const char *key, const char *want) {
    struct slv_str s = {"", 0};
    slv_gguf_str(r->g, key, &s);
    if (s.n == strlen(want) && !memcmp(s.p, want, s.n)) return 0;
    return slv_err_set(r->err, s.n ? SLV_E_UNSUPPORTED : SLV_E_FORMAT, "%s is '%.*s', not '%s'",
                       key, s.n > 64 ? 64 : (int)s.n, s.p, want);
}

static int read_numbers(struct reader *r) {
    static const char alpha[] = "adapter.lora.alpha";
    struct slv_str name = {"", 0};
    int rc = require_text(r, "general.type", "adapter");
    if (!rc) rc = require_text(r, "adapter.type", "lora");
    if (!rc) rc = require_text(r, "general.architecture", r->m->arch);
    if (rc) return rc;
    if (slv_gguf_has(r->g, "adapter.alora.invocation_tokens"))
        return slv_err_set(r->err, SLV_E_UNSUPPORTED,
                           "an adapter that begins at certain tokens (aLoRA)");
    if (slv_gguf_has(r->g, alpha) &&
        (!slv_gguf_f32(r->g, alpha, &r->to->alpha) || !isfinite(r->to->alpha)))
        return slv_err_set(r->err, SLV_E_FORMAT, "%s is no number", alpha);
    slv_gguf_str(r->g, "general.name", &name);
    r->to->name = slv_mem_strndup(name.p, name.n < NAME_MAX_BYTES ? name.n : NAME_MAX_BYTES);
    return r->to->name ? 0 : slv_err_set(r->err, SLV_E_NOMEM, "out of memory");
}

static int bad(const struct reader *r, int code, const struct slv_gguf_tensor *t, const char *why) {
    return slv_err_set(r->err, code, "tensor '%.*s': %s", t->name.n > 96 ? 96 : (int)t->name.n,
                       t->name.p, why);
}

/* --- pairs ------------------------------------------------------------------------------------ */

static struct pair *pair_of(const struct reader *r, const struct slv_gguf_tensor *of_model) {
    return &r->pair[of_model - slv_gguf_tensor_at(r->m->gguf, 0)];
}

/* The pair of a part of an operator; NULL: the file has none. The table of embeddings that is the
 * output's matrix too is changed as the table only: its pair lies the other way. */
static struct pair *pair_of_part(const struct reader *r, const struct slv_linear *lin) {
    struct pair *p = lin->from == r->m->w.embd.from ? NULL : pair_of(r, lin->from);
    return p && p->a ? p : NULL;
}

static void mark_known(const struct reader *r) {
    const struct slv_plan *plan = &r->m->plan;
    for (size_t i = 0; i < plan->n_ops; i++)
        for (size_t k = 0; k < plan->ops[i].n_parts; k++)
            pair_of(r, plan->ops[i].part[k].lin->from)->is_known = true;
    pair_of(r, r->m->w.embd.from)->is_known = true;
}

/* "NAME.lora_a" or "NAME.lora_b" to its place. */
static int take_tensor(const struct reader *r, const struct slv_gguf_tensor *t) {
    static const char end[] = ".lora_";
    const size_t n_end = sizeof end; /* with one letter */
    char name[SLV_GGUF_MAX_NAME + 1];
    const size_t n = t->name.n;
    const char kind = n > n_end ? t->name.p[n - 1] : '\0';
    if ((kind != 'a' && kind != 'b') || memcmp(t->name.p + n - n_end, end, n_end - 1) != 0)
        return bad(r, SLV_E_UNSUPPORTED, t, "is no part of a LoRA pair");
    memcpy(name, t->name.p, n - n_end);
    name[n - n_end] = '\0';
    const struct slv_gguf_tensor *of =
        strlen(name) == n - n_end ? slv_gguf_tensor(r->m->gguf, name) : NULL;
    if (!of) return bad(r, SLV_E_FORMAT, t, "the model has no tensor of that name");
    struct pair *p = pair_of(r, of);
    if (!p->is_known)
        return bad(r, SLV_E_UNSUPPORTED, t, "is not for a matrix that is multiplied with");
    *(kind == 'a' ? &p->a : &p->b) = t;
    return 0;
}

static int check_shape(const struct reader *r, const struct slv_gguf_tensor *t, uint64_t cols,
                       uint64_t rows) {
    char why[128];
    if (t->ne[0] != cols || t->ne[1] != rows || t->ne[2] != 1 || t->ne[3] != 1) {
        snprintf(why, sizeof why, "is %llu x %llu, not %llu x %llu", (unsigned long long)t->ne[0],
                 (unsigned long long)t->ne[1], (unsigned long long)cols, (unsigned long long)rows);
        return bad(r, SLV_E_FORMAT, t, why);
    }
    if (slv_dequant(t->type->id, t->data, NULL, 0)) return 0;
    return bad(r, SLV_E_UNSUPPORTED, t, "has a type that holds no numbers");
}

static int check_pair(struct reader *r, const struct slv_gguf_tensor *of, struct pair *p) {
    char why[96];
    if (!p->a || !p->b)
        return bad(r, SLV_E_FORMAT, p->a ? p->a : p->b,
                   p->a ? "has no '.lora_b' beside it" : "has no '.lora_a' beside it");
    const uint64_t rank = p->b->ne[0];
    if (rank < 1 || rank > SLV_ADAPTER_RANK_MAX) {
        snprintf(why, sizeof why, "is of rank %llu, the limit is %u", (unsigned long long)rank,
                 SLV_ADAPTER_RANK_MAX);
        return bad(r, SLV_E_LIMIT, p->b, why);
    }
    const bool is_table = of == r->m->w.embd.from;
    p->rank = (uint32_t)rank;
    int rc =
        is_table ? check_shape(r, p->a, rank, of->ne[1]) : check_shape(r, p->a, of->ne[0], rank);
    if (!rc) rc = check_shape(r, p->b, rank, is_table ? of->ne[0] : of->ne[1]);
    if (rc) return rc;
    if (p->rank > r->to->rank) r->to->rank = p->rank;
    r->to->n_pairs++;
    return 0;
}

static int find_pairs(struct reader *r) {
    const size_t n_model = slv_gguf_n_tensors(r->m->gguf), n = slv_gguf_n_tensors(r->g);
    int rc = 0;
    r->pair = slv_mem_calloc(n_model, sizeof *r->pair);
    if (!r->pair) return slv_err_set(r->err, SLV_E_NOMEM, "out of memory");
    mark_known(r);
    for (size_t i = 0; i < n && !rc; i++)
        rc = take_tensor(r, slv_gguf_tensor_at(r->g, i));
    for (size_t i = 0; i < n_model && !rc; i++)
        if (r->pair[i].a || r->pair[i].b)
            rc = check_pair(r, slv_gguf_tensor_at(r->m->gguf, i), &r->pair[i]);
    if (!rc && !r->to->n_pairs) rc = slv_err_set(r->err, SLV_E_FORMAT, "holds no tensors");
    return rc;
}

/* --- numbers ---------------------------------------------------------------------------------- */

static void read_row(const struct slv_gguf_tensor *t, size_t i, float *ret) {
    const size_t row_bytes = (size_t)(t->bytes / t->ne[1]);
    slv_dequant(t->type->id, (const char *)t->data + i * row_bytes, ret, (size_t)t->ne[0]);
}

/* The smaller types that keep every number of a tensor as it is. */
static unsigned find_keeping(const struct reader *r, const struct slv_gguf_tensor *t) {
    const struct slv_kernels *k = &r->m->kern;
    const size_t n = (size_t)t->ne[0];
    unsigned keep = KEEPS_ALL;
    for (size_t i = 0; i < t->ne[1] && keep; i++) {
        uint32_t low = 0;
        read_row(t, i, r->row);
        for (size_t j = 0; j < n; j++)
            low |= slv_f32_bits(r->row[j]) & 0xffffu;
        if (low) keep &= ~(unsigned)KEEPS_BF16;
        if (!(keep & KEEPS_F16)) continue;
        k->f32_to_f16(r->row, n, r->half);
        k->f16_to_f32(r->half, n, r->again);
        if (memcmp(r->row, r->again, n * sizeof *r->row) != 0) keep &= ~(unsigned)KEEPS_F16;
    }
    return keep;
}

/* Room for the rows of one tile of any tensor, and what types they can have. */
static int look_at_numbers(struct reader *r) {
    const size_t n_model = slv_gguf_n_tensors(r->m->gguf);
    size_t cols = 0;
    for (size_t i = 0; i < slv_gguf_n_tensors(r->g); i++) {
        const size_t n = (size_t)slv_gguf_tensor_at(r->g, i)->ne[0];
        if (n > cols) cols = n;
    }
    r->row = slv_mem_calloc(cols, ROWS * sizeof *r->row);
    r->half = slv_mem_calloc(cols, ROWS * sizeof *r->half);
    r->again = slv_mem_calloc(cols, sizeof *r->again);
    if (!r->row || !r->half || !r->again) return slv_err_set(r->err, SLV_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n_model; i++) {
        struct pair *p = &r->pair[i];
        if (!p->a) continue;
        p->keep_a = find_keeping(r, p->a);
        p->keep_b = find_keeping(r, p->b);
    }
    return 0;
}

static const struct slv_layout *layout_for(unsigned keep) {
    return slv_layout_get(keep & KEEPS_F16 ? SLV_F16 : keep & KEEPS_BF16 ? SLV_BF16 : SLV_F32);
}

/* --- tiles ------------------------------------------------------------------------------------ */

static size_t padded(size_t rank) { return (rank + ROWS - 1) / ROWS * ROWS; }

/* A matrix at the next place of the block of tiles, whose address is not known yet where base is
 * NULL. False: too large. */
static bool place(struct slv_mat *mat, unsigned keep, size_t rows, size_t cols, unsigned char *base,
                  size_t *at) {
    const struct slv_layout *l = layout_for(keep);
    size_t bytes = slv_layout_bytes(l, rows, cols), next;
    if (!bytes || !slv_size_align(bytes, 64, &next) || !slv_size_add(*at, next, &next))
        return false;
    *mat = (struct slv_mat){.layout = l,
                            .tiles = base ? base + *at : NULL,
                            .rows = rows,
                            .cols = cols,
                            .tile_bytes = bytes / (padded(rows) / ROWS)};
    *at = next;
    return true;
}

/* In the order in which a step reads: A, then the B of each part. */
static bool lay_out_op(const struct reader *r, size_t i, unsigned char *base, size_t *at) {
    const struct slv_op *op = &r->m->plan.ops[i];
    struct slv_adapter_op *to = &r->to->ops[i];
    unsigned keep = KEEPS_ALL;
    size_t rows = 0;
    for (size_t k = 0; k < op->n_parts; k++) {
        const struct pair *p = pair_of_part(r, op->part[k].lin);
        if (!p) continue;
        to->part[k].at = rows;
        rows += padded(p->rank);
        keep &= p->keep_a;
    }
    if (!rows) return true;
    if (rows > r->to->width) r->to->width = rows;
    bool ok = place(&to->a, keep, rows, op->part[0].lin->mat.cols, base, at);
    for (size_t k = 0; k < op->n_parts && ok; k++) {
        const struct pair *p = pair_of_part(r, op->part[k].lin);
        const size_t n = op->part[k].lin->mat.rows;
        if (p) ok = place(&to->part[k].b, p->keep_b, n, p->rank, base, at);
    }
    return ok;
}

/* Finds every matrix its place; false: too large. */
static bool lay_out(const struct reader *r, unsigned char *base, size_t *ret_bytes) {
    const struct pair *table = pair_of(r, r->m->w.embd.from);
    size_t at = 0;
    for (size_t i = 0; i < r->m->plan.n_ops; i++)
        if (!lay_out_op(r, i, base, &at)) return false;
    if (table->a &&
        !place(&r->to->embd.b, table->keep_b, (size_t)r->m->h.n_embd, table->rank, base, &at))
        return false;
    *ret_bytes = at;
    return true;
}

/* The row of the file for row i of a part. llama.cpp's files have the halves of each head's query
 * and key interleaved, as its model files have; folders of Hugging Face have not. */
static size_t source_row(const struct reader *r, const struct slv_linear *lin, uint8_t out,
                         size_t i) {
    const struct slv_hparams *h = &r->m->h;
    const size_t head = h->head_k, half = head / 2, in_head = i % head;
    const bool turned = out == SLV_B_Q || out == SLV_B_K;
    if (!turned || h->rope_kind == h->family->rope) return lin->row0 + i;
    return lin->row0 + i - in_head + 2 * (in_head % half) + in_head / half;
}

/* Packs the n rows that are in r->row as one tile. */
static void pack(const struct reader *r, const struct slv_layout *l, size_t n, size_t cols,
                 void *dst) {
    const void *src = r->row;
    size_t row_bytes = cols * sizeof *r->row;
    if (l->form != SLV_FORM_F32) {
        src = r->half;
        row_bytes = cols * sizeof *r->half;
    }
    if (l->form == SLV_FORM_F16) r->m->kern.f32_to_f16(r->row, n * cols, r->half);
    for (size_t i = 0; l->form == SLV_FORM_BF16 && i < n * cols; i++)
        r->half[i] = (uint16_t)(slv_f32_bits(r->row[i]) >> 16);
    slv_layout_pack(l, src, row_bytes, n, cols, 0, dst);
}

static unsigned char *tile_of(const struct reader *r, const struct slv_mat *mat, size_t i) {
    return r->to->tiles + (mat->tiles - r->to->tiles) + i * mat->tile_bytes;
}

/* The rows of A, from tile `first` of an operator's on. */
static void pack_a(const struct reader *r, const struct slv_mat *mat, size_t first,
                   const struct slv_gguf_tensor *a) {
    for (size_t i = 0; i < a->ne[1]; i += ROWS) {
        size_t n = (size_t)a->ne[1] - i < ROWS ? (size_t)a->ne[1] - i : ROWS;
        for (size_t k = 0; k < n; k++)
            read_row(a, i + k, r->row + k * mat->cols);
        pack(r, mat->layout, n, mat->cols, tile_of(r, mat, first + i / ROWS));
    }
}

/* The rows of B that belong to a part, lin NULL: to the embeddings. */
static void pack_b(const struct reader *r, const struct slv_mat *mat, const struct slv_linear *lin,
                   uint8_t out, const struct slv_gguf_tensor *b) {
    for (size_t i = 0; i < mat->rows; i += ROWS) {
        size_t n = mat->rows - i < ROWS ? mat->rows - i : ROWS;
        for (size_t k = 0; k < n; k++)
            read_row(b, lin ? source_row(r, lin, out, i + k) : i + k, r->row + k * mat->cols);
        pack(r, mat->layout, n, mat->cols, tile_of(r, mat, i / ROWS));
    }
}

static void pack_ops(const struct reader *r) {
    const struct slv_plan *plan = &r->m->plan;
    for (size_t i = 0; i < plan->n_ops; i++)
        for (size_t k = 0; k < plan->ops[i].n_parts; k++) {
            const struct slv_linear *lin = plan->ops[i].part[k].lin;
            const struct slv_adapter_op *to = &r->to->ops[i];
            const struct pair *p = pair_of_part(r, lin);
            if (!p) continue;
            pack_a(r, &to->a, to->part[k].at / ROWS, p->a);
            pack_b(r, &to->part[k].b, lin, plan->ops[i].part[k].out, p->b);
        }
}

static int pack_table(const struct reader *r) {
    const struct pair *p = pair_of(r, r->m->w.embd.from);
    struct slv_adapter_embd *to = &r->to->embd;
    if (!p->a) return 0;
    pack_b(r, &to->b, NULL, 0, p->b);
    to->type = p->a->type;
    to->row_bytes = (size_t)(p->a->bytes / p->a->ne[1]);
    to->rows = slv_mem_alloc((size_t)p->a->bytes);
    if (!to->rows) return slv_err_set(r->err, SLV_E_NOMEM, "out of memory");
    memcpy(to->rows, p->a->data, (size_t)p->a->bytes);
    r->to->bytes += p->a->bytes;
    return 0;
}

static int make_tiles(struct reader *r) {
    struct slv_adapter *to = r->to;
    const size_t n_ops = r->m->plan.n_ops;
    to->ops = slv_mem_calloc(n_ops, sizeof *to->ops);
    if (!to->ops) return slv_err_set(r->err, SLV_E_NOMEM, "out of memory");
    if (!lay_out(r, NULL, &to->tile_bytes)) return slv_err_set(r->err, SLV_E_LIMIT, "is too large");
    to->tiles = slv_mem_map(HUGE_PAGE, to->tile_bytes);
    if (!to->tiles)
        return slv_err_set(r->err, SLV_E_NOMEM, "no memory for %zu bytes of an adapter",
                           to->tile_bytes);
    if (!lay_out(r, to->tiles, &to->tile_bytes)) return SLV_E_INTERNAL;
    pack_ops(r);
    to->bytes = sizeof *to + n_ops * sizeof *to->ops + to->tile_bytes + NAME_MAX_BYTES;
    return pack_table(r);
}

/* --- life ------------------------------------------------------------------------------------- */

int slv_adapter_read(struct slv_model *m, const struct slv_gguf *g, struct slv_adapter **ret,
                     struct slv_err *err) {
    struct reader r = {.m = m, .g = g, .err = err};
    int rc = slv_model_check_generates(m, err);
    if (rc) return rc;
    r.to = slv_mem_calloc(1, sizeof *r.to);
    if (!r.to) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    uint64_t fp = slv_fpenv_enter();
    rc = read_numbers(&r);
    if (!rc) rc = find_pairs(&r);
    if (!rc) rc = look_at_numbers(&r);
    if (!rc) rc = make_tiles(&r);
    slv_fpenv_leave(fp);
    slv_mem_free(r.pair);
    slv_mem_free(r.row);
    slv_mem_free(r.half);
    slv_mem_free(r.again);
    if (rc) {
        slv_adapter_close(r.to);
        return rc;
    }
    r.to->content = slv_gguf_sum(g);
    r.to->id = atomic_fetch_add_explicit(&m->adapter_ids, 1, memory_order_relaxed) + 1;
    r.to->m = m;
    atomic_fetch_add_explicit(&m->adapter_bytes, r.to->bytes, memory_order_relaxed);
    *ret = r.to;
    return 0;
}

int slv_adapter_open(struct slv_model *m, const char *path, struct slv_adapter **ret,
                     struct slv_err *err) {
    struct slv_gguf *g;
    int rc = slv_gguf_open(path, &g, err); /* says the path itself */
    if (rc) return rc;
    rc = slv_adapter_read(m, g, ret, err);
    slv_gguf_close(g);
    return rc ? slv_err_prefix(err, rc, "%s", path) : 0;
}

void slv_adapter_close(struct slv_adapter *a) {
    if (!a) return;
    if (a->m) atomic_fetch_sub_explicit(&a->m->adapter_bytes, a->bytes, memory_order_relaxed);
    slv_mem_free(a->embd.rows);
    if (a->tiles) slv_mem_unmap(a->tiles, a->tile_bytes);
    slv_mem_free(a->ops);
    slv_mem_free(a->name);
    slv_mem_free(a);
}

void slv_adapter_info(const struct slv_adapter *a, struct slv_adapter_info *ret) {
    *ret = (struct slv_adapter_info){.name = a->name,
                                     .rank = a->rank,
                                     .pairs = a->n_pairs,
                                     .alpha = a->alpha,
                                     .bytes = a->bytes};
}

/* --- several ---------------------------------------------------------------------------------- */

bool slv_adapter_set_same(const struct slv_adapter_set *a, const struct slv_adapter_set *b) {
    if (a == b) return true;
    if (!a || !b || a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->use[i].adapter != b->use[i].adapter ||
            slv_f32_bits(a->use[i].scale) != slv_f32_bits(b->use[i].scale))
            return false;
    return true;
}

uint64_t slv_adapter_set_content(const struct slv_adapter_set *s) {
    uint64_t sum = 0;
    for (size_t i = 0; i < s->n; i++) {
        const uint64_t one[2] = {s->use[i].adapter->content, slv_f32_bits(s->use[i].scale)};
        sum = slv_sum64(one, sizeof one, sum + i + 1);
    }
    return s->n && !sum ? 1 : sum;
}
