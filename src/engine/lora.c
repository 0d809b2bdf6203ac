/* lora.c: see lora.h. */
#include "engine/lora.h"
#include "base/mem.h"

#include <string.h>

#define ROWS SLV_TILE_ROWS
#define RUN_MAX 32u      /* tokens of a run: as many as share a reading of a tile */
#define BESIDE_MAX 2048u /* floats of B u that a thread holds at a time */

/* --- room ------------------------------------------------------------------------------------- */

static bool sizes(uint32_t n_batch, size_t width, size_t *ret_u, size_t *ret_runs) {
    return slv_size_mul(width, n_batch, ret_u) && slv_size_mul(*ret_u, sizeof(float), ret_u) &&
           slv_size_mul(n_batch, sizeof(struct slv_lora_run), ret_runs);
}

size_t slv_lora_bytes(uint32_t n_batch, size_t width) {
    size_t u, runs, all;
    if (!sizes(n_batch, width, &u, &runs) || !slv_size_mul(runs, 2, &runs)) return 0;
    return slv_size_add(u, runs, &all) ? all : 0;
}

int slv_lora_reserve(struct slv_lora *l, uint32_t n_batch, size_t width) {
    size_t u, runs;
    if (width <= l->ld) return 0;
    if (!sizes(n_batch, width, &u, &runs)) return SLV_E_NOMEM;
    float *more = slv_mem_alloc_aligned(64, u);
    if (!l->tokens.v) l->tokens.v = slv_mem_alloc(runs);
    if (!l->logits.v) l->logits.v = slv_mem_alloc(runs);
    if (!more || !l->tokens.v || !l->logits.v) {
        slv_mem_free(more);
        return SLV_E_NOMEM;
    }
    memset(more, 0, u);
    slv_mem_free(l->u);
    l->u = more;
    l->ld = width;
    return 0;
}

void slv_lora_fini(struct slv_lora *l) {
    slv_mem_free(l->u);
    slv_mem_free(l->tokens.v);
    slv_mem_free(l->logits.v);
    *l = (struct slv_lora){0};
}

/* --- runs ------------------------------------------------------------------------------------- */

/* Row i has these adapters. */
static void add_row(struct slv_lora_runs *r, uint32_t i, const struct slv_adapter_set *set) {
    struct slv_lora_run *last = r->n ? &r->v[r->n - 1] : NULL;
    if (!set) return;
    if (last && last->from + last->n == i && last->n < RUN_MAX &&
        slv_adapter_set_same(last->set, set))
        last->n++;
    else r->v[r->n++] = (struct slv_lora_run){.from = i, .n = 1, .set = set};
}

bool slv_lora_begin(struct slv_lora *l, const struct slv_step_token *tok, uint32_t n,
                    const uint32_t *out_row, uint32_t n_out) {
    l->tokens.n = l->logits.n = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (tok[i].adapters && tok[i].adapters->width > l->ld) return false;
        add_row(&l->tokens, i, tok[i].adapters);
    }
    for (uint32_t i = 0; i < n_out; i++)
        add_row(&l->logits, i, tok[out_row[i]].adapters);
    return true;
}

/* --- the two products ------------------------------------------------------------------------- */

static const struct slv_adapter_op *op_of(const struct slv_adapter_use *use, size_t op) {
    return &use->adapter->ops[op];
}

size_t slv_lora_units(const struct slv_lora_work *w) {
    size_t all = 0;
    for (size_t i = 0; i < w->runs->n; i++)
        for (size_t k = 0; k < w->runs->v[i].set->n; k++)
            all += op_of(&w->runs->v[i].set->use[k], w->op)->a.rows / ROWS;
    return all;
}

void slv_lora_run(const struct slv_lora_work *w, const float *x, size_t ldx, size_t from,
                  size_t to) {
    size_t first = 0; /* unit of the next A */
    for (size_t i = 0; i < w->runs->n && first < to; i++) {
        const struct slv_lora_run *run = &w->runs->v[i];
        float *u = w->u + run->from * w->ldu;
        for (size_t k = 0; k < run->set->n; k++) {
            const struct slv_mat *a = &op_of(&run->set->use[k], w->op)->a;
            const size_t n = a->rows / ROWS;
            size_t t0 = from > first ? from - first : 0, t1 = to > first ? to - first : 0;
            if (t1 > n) t1 = n;
            const struct slv_acts in = {.f = x + run->from * ldx, .ld = ldx};
            if (t0 < t1) w->kern->matmul[a->layout->form](a, &in, run->n, t0, t1, u, w->ldu);
            first += n;
            u += a->rows;
        }
    }
}

#define ASK_MAX 65536u /* bytes; more is read as it is multiplied */

/* Asks memory for n bytes: the kernel goes through so little at a time that it would wait each
 * time.
 */
static void ask(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n && n <= ASK_MAX; i += 64)
        __builtin_prefetch(p + i);
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* y += s * B u for the tiles [t0, t1) of n columns. */
static void add_product(const struct slv_kernels *kern, const struct slv_mat *b, const float *u,
                        size_t ldu, size_t n, float s, size_t t0, size_t t1, float *y, size_t ldy) {
    float t[BESIDE_MAX];
    const size_t most = BESIDE_MAX / ROWS / n; /* tiles */
    const struct slv_acts in = {.f = u, .ld = ldu};
    for (; t0 < t1; t0 += most) {
        const size_t end = least(t0 + most, t1), ld = (end - t0) * ROWS;
        const size_t rows = least(b->rows - t0 * ROWS, ld);
        struct slv_mat part = *b; /* so that its first row lands at t[0] */
        part.tiles += t0 * b->tile_bytes;
        part.rows = rows;
        ask(part.tiles, (end - t0) * b->tile_bytes);
        kern->matmul[b->layout->form](&part, &in, n, 0, end - t0, t, ld);
        for (size_t i = 0; i < n; i++) {
            float *out = y + i * ldy + t0 * ROWS;
            kern->axpy(out, t + i * ld, s, rows, out);
        }
    }
}

void slv_lora_add(const struct slv_lora_work *w, size_t part, size_t t0, size_t t1, float *y,
                  size_t ldy) {
    for (size_t i = 0; i < w->runs->n; i++) {
        const struct slv_lora_run *run = &w->runs->v[i];
        const float *u = w->u + run->from * w->ldu;
        for (size_t k = 0; k < run->set->n; k++) {
            const struct slv_adapter_op *o = op_of(&run->set->use[k], w->op);
            const struct slv_adapter_part *p = &o->part[part];
            if (p->b.layout)
                add_product(w->kern, &p->b, u + p->at, w->ldu, run->n,
                            slv_adapter_gain(&run->set->use[k], p->b.cols), t0, t1,
                            y + run->from * ldy, ldy);
            u += o->a.rows;
        }
    }
}

void slv_lora_embed(const struct slv_adapter_set *s, const struct slv_kernels *kern, int32_t id,
                    float *x) {
    float u[SLV_ADAPTER_RANK_MAX];
    for (size_t k = 0; k < s->n; k++) {
        const struct slv_adapter_embd *e = &s->use[k].adapter->embd;
        if (!e->type) continue;
        slv_dequant(e->type->id, e->rows + (size_t)id * e->row_bytes, u, e->b.cols);
        add_product(kern, &e->b, u, e->b.cols, 1, slv_adapter_gain(&s->use[k], e->b.cols), 0,
                    (e->b.rows + ROWS - 1) / ROWS, x, 0);
    }
}
