/* weights.c: see weights.h. Tensor names are those of ggml's docs/gguf.md. */
#include "engine/weights.h"
#include "base/mem.h"
#include "engine/packcheck.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

#define ARENA_MAX ((size_t)1 << 30)

struct finder {
    const struct slv_gguf *g;
    const struct slv_hparams *h;
    struct slv_weights *w;
    struct slv_err *err;
    int status;
    uint32_t layer;
    char name[96];
    size_t offset; /* of the next matrix in the block of tiles */
    bool *used;    /* by tensor of the file */
};

static int fail(struct finder *f, int code, const char *why) {
    if (!f->status) f->status = slv_err_set(f->err, code, "tensor '%s': %s", f->name, why);
    return f->status;
}

/* "blk.N.NAME" inside a layer, NAME for layer UINT32_MAX. */
static const struct slv_gguf_tensor *look(struct finder *f, const char *name) {
    if (f->layer == UINT32_MAX) snprintf(f->name, sizeof f->name, "%s", name);
    else snprintf(f->name, sizeof f->name, "blk.%u.%s", f->layer, name);
    const struct slv_gguf_tensor *t = f->status ? NULL : slv_gguf_tensor(f->g, f->name);
    if (t) f->used[t - slv_gguf_tensor_at(f->g, 0)] = true;
    return t;
}

/* A tensor that nothing reads belongs to a model of another make: its answers would be wrong. */
static void refuse_unused(struct finder *f) {
    for (size_t i = 0; i < slv_gguf_n_tensors(f->g) && !f->status; i++) {
        struct slv_str name = slv_gguf_tensor_at(f->g, i)->name;
        if (!f->used[i])
            f->status = slv_err_set(f->err, SLV_E_UNSUPPORTED,
                                    "tensor '%.*s' is not known to the family '%s'",
                                    name.n > 96 ? 96 : (int)name.n, name.p, f->h->family->arch);
    }
}

static bool holds_floats(const struct slv_gguf_tensor *t) {
    uint32_t id = t->type->id;
    return id == SLV_F32 || id == SLV_F16 || id == SLV_BF16 || id == SLV_F64;
}

/* A vector of a source: whose message says what is wrong with it. */
static void read_vector(struct finder *f, const struct slv_gguf_tensor *t, float *v, size_t n) {
    void *raw = slv_mem_alloc((size_t)t->bytes);
    if (!raw) fail(f, SLV_E_NOMEM, "out of memory");
    else f->status = slv_blocks_read(f->w->source, t->offset, (size_t)t->bytes, raw, f->err);
    if (!f->status) slv_dequant(t->type->id, raw, v, n);
    slv_mem_free(raw);
}

/* A vector of n elements as floats, padded with zeros to a multiple of 16. NULL if absent. */
static const float *vector(struct finder *f, const char *name, size_t n, bool required) {
    const struct slv_gguf_tensor *t = look(f, name);
    if (!t) {
        if (required) fail(f, SLV_E_FORMAT, "is missing");
        return NULL;
    }
    if (t->ne[0] * t->ne[1] != n || t->ne[2] != 1 || t->ne[3] != 1) {
        char why[96];
        snprintf(why, sizeof why, "has %llu elements, not %zu",
                 (unsigned long long)(t->ne[0] * t->ne[1]), n);
        fail(f, SLV_E_FORMAT, why);
        return NULL;
    }
    if (!holds_floats(t)) {
        fail(f, SLV_E_UNSUPPORTED, "is a vector of another type than floats");
        return NULL;
    }
    float *v = slv_arena_calloc(&f->w->arena, (n + 15) / 16 * 16, sizeof *v);
    if (!v) fail(f, SLV_E_NOMEM, "out of memory");
    else if (!t->data) read_vector(f, t, v, n);
    else slv_dequant(t->type->id, t->data, v, n);
    return v;
}

static bool shape_is(struct finder *f, const struct slv_gguf_tensor *t, size_t cols, size_t rows) {
    if (t->ne[0] == cols && t->ne[1] == rows && t->ne[2] == 1 && t->ne[3] == 1) return true;
    char why[128];
    snprintf(why, sizeof why, "is %llu x %llu, not %zu x %zu", (unsigned long long)t->ne[0],
             (unsigned long long)t->ne[1], cols, rows);
    fail(f, SLV_E_FORMAT, why);
    return false;
}

/* The number that a tensor's products are multiplied by, "NAME.scale"; 1 where the file has none.
 * "NAME.input_scale" is for engines that round inputs to four bits: there is nothing to do. */
static float whole_scale(struct finder *f, const char *base) {
    char name[64];
    snprintf(name, sizeof name, "%s.input_scale", base);
    vector(f, name, 1, false);
    snprintf(name, sizeof name, "%s.scale", base);
    const float *scale = vector(f, name, 1, false);
    return scale ? *scale : 1.0f;
}

/* Takes rows [row0, row0 + rows) of a tensor of `all` rows as a matrix, and reserves its tiles. */
static void matrix_part(struct finder *f, const struct slv_gguf_tensor *t, size_t cols, size_t all,
                        size_t row0, size_t rows, struct slv_linear *ret) {
    if (f->status || !shape_is(f, t, cols, all)) return;
    const struct slv_layout *l = slv_layout_get(t->type->id);
    if (!l) {
        fail(f, SLV_E_UNSUPPORTED, "has a type that cannot be multiplied with");
        return;
    }
    size_t bytes = slv_layout_bytes(l, rows, cols), room;
    size_t tiles = (rows + SLV_TILE_ROWS - 1) / SLV_TILE_ROWS;
    if (!bytes || !slv_size_align(bytes, 64, &room) || !slv_size_add(f->offset, room, &room)) {
        fail(f, SLV_E_LIMIT, "is too large");
        return;
    }
    *ret = (struct slv_linear){.scale = 1.0f, .from = t, .row0 = row0, .at = f->offset};
    ret->mat =
        (struct slv_mat){.layout = l, .rows = rows, .cols = cols, .tile_bytes = bytes / tiles};
    f->offset = room;
}

static void matrix(struct finder *f, const char *base, size_t cols, size_t rows, bool required,
                   struct slv_linear *ret) {
    char name[64];
    snprintf(name, sizeof name, "%s.weight", base);
    const struct slv_gguf_tensor *t = look(f, name);
    if (!t) {
        if (required) fail(f, SLV_E_FORMAT, "is missing");
        return;
    }
    matrix_part(f, t, cols, rows, 0, rows, ret);
    ret->scale = whole_scale(f, base);
    snprintf(name, sizeof name, "%s.bias", base);
    ret->bias = vector(f, name, rows, false);
}

/* Query, key and value: three tensors, or one that holds them end to end. */
static void find_qkv(struct finder *f, struct slv_layer *l) {
    const struct slv_hparams *h = f->h;
    size_t nq = (size_t)h->n_head * h->head_k, nk = (size_t)h->n_head_kv * h->head_k;
    size_t nv = (size_t)h->n_head_kv * h->head_v, all = nq + nk + nv;
    const struct slv_gguf_tensor *t = look(f, "attn_qkv.weight");
    if (!t) {
        matrix(f, "attn_q", h->n_embd, nq, true, &l->q);
        matrix(f, "attn_k", h->n_embd, nk, true, &l->k);
        matrix(f, "attn_v", h->n_embd, nv, true, &l->v);
        return;
    }
    matrix_part(f, t, h->n_embd, all, 0, nq, &l->q);
    matrix_part(f, t, h->n_embd, all, nq, nk, &l->k);
    matrix_part(f, t, h->n_embd, all, nq + nk, nv, &l->v);
    l->q.scale = l->k.scale = l->v.scale = whole_scale(f, "attn_qkv");
    const float *bias = vector(f, "attn_qkv.bias", all, false);
    l->q.bias = bias;
    l->k.bias = bias ? bias + nq : vector(f, "attn_k.bias", nk, false);
    l->v.bias = bias ? bias + nq + nk : vector(f, "attn_v.bias", nv, false);
    if (!bias) l->q.bias = vector(f, "attn_q.bias", nq, false);
}

static void find_ffn(struct finder *f, struct slv_layer *l) {
    const struct slv_hparams *h = f->h;
    if (h->family->ffn == SLV_FFN_FUSED) {
        const struct slv_gguf_tensor *t = look(f, "ffn_up.weight");
        if (!t) fail(f, SLV_E_FORMAT, "is missing");
        else {
            matrix_part(f, t, h->n_embd, 2 * (size_t)h->n_ff, 0, h->n_ff, &l->gate);
            matrix_part(f, t, h->n_embd, 2 * (size_t)h->n_ff, h->n_ff, h->n_ff, &l->up);
            l->gate.scale = l->up.scale = whole_scale(f, "ffn_up");
        }
    } else {
        if (h->family->ffn == SLV_FFN_GATED)
            matrix(f, "ffn_gate", h->n_embd, h->n_ff, true, &l->gate);
        matrix(f, "ffn_up", h->n_embd, h->n_ff, true, &l->up);
    }
    matrix(f, "ffn_down", h->n_ff, h->n_embd, true, &l->down);
}

static void find_qk_norm(struct finder *f, struct slv_layer *l) {
    const struct slv_hparams *h = f->h;
    size_t q = h->head_k, k = h->head_k;
    if (h->family->qk_norm == SLV_QKN_NONE) return;
    if (h->family->qk_norm != SLV_QKN_HEAD) {
        q *= h->n_head;
        k *= h->n_head_kv;
    }
    bool required = h->family->qk_norm != SLV_QKN_HEADS;
    l->q_norm = vector(f, "attn_q_norm.weight", q, required);
    l->k_norm = vector(f, "attn_k_norm.weight", k, required);
}

/* A norm that ends a layer is the one that begins the next, or the model's last. */
static void find_post_ln(struct finder *f, struct slv_layer *l) {
    const size_t n = f->h->n_embd;
    const float *w = vector(f, "layer_output_norm.weight", n, true);
    const float *b = vector(f, "layer_output_norm.bias", n, false);
    l->ffn_norm = vector(f, "attn_output_norm.weight", n, true);
    l->ffn_norm_b = vector(f, "attn_output_norm.bias", n, false);
    if (f->layer + 1 < f->h->n_layer) {
        l[1].attn_norm = w;
        l[1].attn_norm_b = b;
    } else {
        f->w->out_norm = w;
        f->w->out_norm_b = b;
    }
}

static void find_layer(struct finder *f, struct slv_layer *l) {
    const struct slv_hparams *h = f->h;
    const struct slv_family *fam = h->family;
    if (fam->pre_norm) {
        l->attn_norm = vector(f, "attn_norm.weight", h->n_embd, true);
        l->attn_norm_b = vector(f, "attn_norm.bias", h->n_embd, false);
        l->ffn_norm = vector(f, "ffn_norm.weight", h->n_embd, !fam->parallel);
        l->ffn_norm_b = vector(f, "ffn_norm.bias", h->n_embd, false);
    }
    if (fam->post_ln) find_post_ln(f, l);
    if (fam->post_norm) {
        l->attn_post = vector(f, "post_attention_norm.weight", h->n_embd, true);
        l->ffn_post = vector(f, "post_ffw_norm.weight", h->n_embd, true);
    }
    find_qk_norm(f, l);
    find_qkv(f, l);
    matrix(f, "attn_output", (size_t)h->n_head * h->head_v, h->n_embd, true, &l->o);
    find_ffn(f, l);
}

/* What each pair's angle is divided by: finite, and no smaller than the limit. */
static const float *rope_factors(struct finder *f, const char *name) {
    size_t n = f->h->n_rot / 2;
    const float *v = vector(f, name, n, false);
    for (size_t i = 0; v && i < n; i++)
        if (!(v[i] >= SLV_MIN_ROPE_FACTOR && v[i] <= FLT_MAX)) {
            fail(f, SLV_E_FORMAT, "has a factor that is out of range");
            return NULL;
        }
    return v;
}

/* A table of which rows are read as they are. rows 0: any number of them. */
static struct slv_table table(struct finder *f, const char *name, size_t rows, bool required) {
    const struct slv_gguf_tensor *t = look(f, name);
    if (!t) {
        if (required) fail(f, SLV_E_FORMAT, "is missing");
        return (struct slv_table){0};
    }
    if (shape_is(f, t, f->h->n_embd, rows ? rows : (size_t)t->ne[1]) &&
        !slv_dequant(t->type->id, t->data, NULL, 0))
        fail(f, SLV_E_UNSUPPORTED, "has a type that holds no numbers");
    return (struct slv_table){t, t->data};
}

/* Bytes of the source that are to be read for it. Of all tensors at most the file's. */
static size_t to_read(const struct slv_weights *w, const struct slv_table *t) {
    return t->from && !t->data && t->from != w->out.from ? (size_t)t->from->bytes : 0;
}

static void find_decoder(struct finder *f) {
    const struct slv_hparams *h = f->h;
    struct slv_weights *w = f->w;
    w->out_norm = vector(f, "output_norm.weight", h->n_embd, true);
    w->out_norm_b = vector(f, "output_norm.bias", h->n_embd, false);
    matrix(f, "output", h->n_embd, h->n_vocab, false, &w->out);
    if (!w->out.mat.layout && w->embd.from) {
        look(f, "token_embd.weight");
        matrix_part(f, w->embd.from, h->n_embd, h->n_vocab, 0, h->n_vocab, &w->out);
    }
}

/* The scores of a text: a matrix of few rows, perhaps with another one before it. What there is of
 * it in a file that has no scores is left over from training. */
static void find_encoder(struct finder *f) {
    const struct slv_hparams *h = f->h;
    struct slv_weights *w = f->w;
    w->layers[0].attn_norm = vector(f, "token_embd_norm.weight", h->n_embd, true);
    w->layers[0].attn_norm_b = vector(f, "token_embd_norm.bias", h->n_embd, false);
    const struct slv_gguf_tensor *t = look(f, "cls.output.weight");
    if (t && t->ne[1] >= 1 && t->ne[1] <= SLV_MAX_LABELS)
        matrix(f, "cls.output", h->n_embd, (size_t)t->ne[1], true, &w->out);
    else if (t) fail(f, SLV_E_LIMIT, "has too many rows");
    if (t) {
        matrix(f, "cls", h->n_embd, h->n_embd, false, &w->head);
    } else {
        look(f, "cls.weight");
        look(f, "cls.bias");
    }
}

static void find_global(struct finder *f) {
    const struct slv_hparams *h = f->h;
    struct slv_weights *w = f->w;
    w->embd = table(f, "token_embd.weight", h->n_vocab, true);
    if (h->family->rope == SLV_ROPE_NONE)
        w->pos_embd = table(f, "position_embd.weight", h->n_ctx, true);
    if (h->family->types) w->types = table(f, "token_types.weight", 0, false);
    if (h->family->encoder) find_encoder(f);
    else find_decoder(f);
    if (h->n_rot) {
        w->rope_factors = rope_factors(f, "rope_freqs.weight");
        w->rope_long = rope_factors(f, "rope_factors_long.weight");
        w->rope_short = rope_factors(f, "rope_factors_short.weight");
    }
}

int slv_weights_find(const struct slv_gguf *g, const struct slv_hparams *h,
                     const struct slv_blocks *source, struct slv_weights *ret,
                     struct slv_err *err) {
    *ret = (struct slv_weights){.source = source};
    slv_arena_init(&ret->arena, ARENA_MAX);
    struct finder f = {.g = g, .h = h, .w = ret, .err = err, .layer = UINT32_MAX};
    ret->layers = slv_arena_calloc(&ret->arena, h->n_layer, sizeof *ret->layers);
    f.used = slv_mem_calloc(slv_gguf_n_tensors(g) + 1, sizeof *f.used);
    if (!ret->layers || !f.used) f.status = slv_err_set(err, SLV_E_NOMEM, "out of memory");
    else find_global(&f);
    for (f.layer = 0; f.layer < h->n_layer && !f.status; f.layer++)
        find_layer(&f, &ret->layers[f.layer]);
    refuse_unused(&f);
    slv_mem_free(f.used);
    ret->tile_bytes = f.offset;
    ret->table_bytes =
        to_read(ret, &ret->embd) + to_read(ret, &ret->pos_embd) + to_read(ret, &ret->types);
    if (f.status) slv_weights_fini(ret);
    return f.status;
}

/* A model's matrices in one row: the seven of each layer, then the two of the output. */
#define LAYER_LINEARS 7

size_t slv_weights_count(const struct slv_hparams *h) {
    return (size_t)h->n_layer * LAYER_LINEARS + 2;
}

struct slv_linear *slv_weights_at(struct slv_weights *w, const struct slv_hparams *h, size_t i) {
    if (i / LAYER_LINEARS == h->n_layer) return i % LAYER_LINEARS ? &w->head : &w->out;
    struct slv_layer *l = &w->layers[i / LAYER_LINEARS];
    struct slv_linear *const all[LAYER_LINEARS] = {&l->q,    &l->k,  &l->v,   &l->o,
                                                   &l->gate, &l->up, &l->down};
    return all[i % LAYER_LINEARS];
}

void slv_weights_row(const struct slv_weights *w, const struct slv_table *t, size_t row, size_t n,
                     float *ret) {
    const size_t row_bytes = (size_t)(t->from->bytes / t->from->ne[1]);
    const struct slv_mat *m = &w->out.mat;
    if (t->data) slv_dequant(t->from->type->id, t->data + row * row_bytes, ret, n);
    else
        slv_layout_row(m->layout, (const char *)m->tiles + row / SLV_TILE_ROWS * m->tile_bytes,
                       row % SLV_TILE_ROWS, n, ret);
}

static void drop_table(struct slv_table *t) {
    if (t->from && !t->from->data)
        slv_mem_unmap((void *)(uintptr_t)t->data, (size_t)t->from->bytes);
}

void slv_weights_fini(struct slv_weights *w) {
    if (!w) return;
    slv_packcheck_free(w->check);
    slv_weights_drop(w);
    drop_table(&w->embd);
    drop_table(&w->pos_embd);
    drop_table(&w->types);
    slv_arena_fini(&w->arena);
    *w = (struct slv_weights){0};
}
