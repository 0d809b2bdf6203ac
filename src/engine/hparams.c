/* hparams.c: see hparams.h. Keys are those of ggml's docs/gguf.md: "<arch>.block_count" and so on.
 */
#include "engine/hparams.h"
#include "kernel/fmath.h"

#include <stdio.h>
#include <string.h>

struct reader {
    const struct slv_gguf *g;
    const char *arch;
    char key[160];
    struct slv_err *err;
    int status;
};

static const char *full_key(struct reader *r, const char *name) {
    snprintf(r->key, sizeof r->key, "%s.%s", r->arch, name);
    return r->key;
}

static void fail(struct reader *r, const char *name, const char *why) {
    if (!r->status)
        r->status = slv_err_set(r->err, SLV_E_FORMAT, "key '%s': %s", full_key(r, name), why);
}

/* A number in [lo, hi]; lo..hi is also demanded of the default. An array is taken where all its
 * elements are equal: layers of unlike shape are not supported. */
static uint32_t get_u32(struct reader *r, const char *name, int64_t missing, uint32_t lo,
                        uint32_t hi) {
    int64_t v = missing;
    const char *key = full_key(r, name);
    struct slv_gguf_array a;
    if (slv_gguf_arr(r->g, key, &a)) {
        if (!a.n || a.n > SLV_MAX_LAYERS) {
            fail(r, name, "is not an array of one number a layer");
            return lo;
        }
        for (size_t i = 0; i < a.n; i++) {
            int64_t e;
            if (!slv_gguf_arr_i64(&a, i, &e)) fail(r, name, "is not an array of numbers");
            else if (i && e != v && !r->status)
                r->status = slv_err_set(r->err, SLV_E_UNSUPPORTED, "key '%s': layers differ", key);
            else v = e;
            if (r->status) return lo;
        }
    } else if (slv_gguf_has(r->g, key) && !slv_gguf_i64(r->g, key, &v)) {
        fail(r, name, "is not a whole number");
        return lo;
    }
    if (v == -1) fail(r, name, "is missing");
    else if (v < lo || v > hi) {
        char why[96];
        snprintf(why, sizeof why, "%lld is not within %u to %u", (long long)v, lo, hi);
        fail(r, name, why);
    }
    return r->status ? lo : (uint32_t)v;
}

static float get_f32(struct reader *r, const char *name, float missing, float lo, float hi) {
    float v = missing;
    const char *key = full_key(r, name);
    if (slv_gguf_has(r->g, key) && !slv_gguf_f32(r->g, key, &v)) fail(r, name, "is not a number");
    else if (!(v >= lo && v <= hi))
        fail(r, name, slv_gguf_has(r->g, key) ? "is out of range" : "is missing");
    return r->status ? lo : v;
}

static bool get_bool(struct reader *r, const char *name, bool missing) {
    bool v = missing;
    slv_gguf_bool(r->g, full_key(r, name), &v);
    return v;
}

static double ln(double x) { return slv_log64(x); }

static float sqrt32(double x) { return (float)slv_exp64(0.5 * ln(x)); }

static void read_shape(struct reader *r, struct slv_hparams *h) {
    struct slv_gguf_array tokens;
    h->n_layer = get_u32(r, "block_count", -1, 1, SLV_MAX_LAYERS);
    h->n_embd = get_u32(r, "embedding_length", -1, 1, SLV_MAX_EMBD);
    h->n_head = get_u32(r, "attention.head_count", -1, 1, SLV_MAX_HEADS);
    h->n_head_kv = get_u32(r, "attention.head_count_kv", h->n_head, 1, SLV_MAX_HEADS);
    h->n_ff = get_u32(r, "feed_forward_length", -1, 1, SLV_MAX_FF);
    h->n_ctx = get_u32(r, "context_length", -1, 1, SLV_MAX_CTX);
    if (r->status) return;
    if (h->n_head_kv > h->n_head || h->n_head % h->n_head_kv)
        fail(r, "attention.head_count_kv", "does not divide the number of heads");
    if (!slv_gguf_has(r->g, full_key(r, "attention.key_length")) && h->n_embd % h->n_head)
        fail(r, "attention.head_count", "does not divide the embedding length");
    h->head_k = get_u32(r, "attention.key_length", h->n_embd / h->n_head, 1, SLV_MAX_HEAD_DIM);
    h->head_v = get_u32(r, "attention.value_length", h->n_embd / h->n_head, 1, SLV_MAX_HEAD_DIM);
    h->n_rot = h->family->rope == SLV_ROPE_NONE
                   ? 0
                   : get_u32(r, "rope.dimension_count", h->head_k, 2, h->head_k);
    if (h->n_rot % 2) fail(r, "rope.dimension_count", "is odd");
    if (slv_gguf_arr(r->g, "tokenizer.ggml.tokens", &tokens) && tokens.n) {
        if (tokens.n > SLV_MAX_VOCAB) fail(r, "vocab_size", "the vocabulary is too large");
        h->n_vocab = (uint32_t)tokens.n;
        if (get_u32(r, "vocab_size", h->n_vocab, 1, SLV_MAX_VOCAB) != h->n_vocab)
            fail(r, "vocab_size", "is not the number of tokens");
    } else {
        h->n_vocab = get_u32(r, "vocab_size", -1, 1, SLV_MAX_VOCAB);
    }
}

static void read_windows(struct reader *r, struct slv_hparams *h) {
    const struct slv_family *f = h->family;
    if (f->window == SLV_WINDOW_NONE) return;
    h->window = get_u32(r, "attention.sliding_window", f->window_default, 0, UINT32_MAX);
    if (!h->window) return;
    const char *key = full_key(r, "attention.sliding_window_pattern");
    struct slv_gguf_array a;
    if (slv_gguf_arr(r->g, key, &a)) {
        for (size_t i = 0; i < h->n_layer && !r->status; i++)
            if (!slv_gguf_arr_bool(&a, i, &h->windowed[i]))
                fail(r, "attention.sliding_window_pattern", "is not one flag a layer");
        return;
    }
    uint32_t every = 0; /* every: layer i is not windowed if (i + 1) % every == 0 */
    if (f->window == SLV_WINDOW_PATTERN)
        every = get_u32(r, "attention.sliding_window_pattern", f->pattern, 1, SLV_MAX_LAYERS);
    for (uint32_t i = 0; i < h->n_layer; i++)
        h->windowed[i] = !every || (i + 1) % every;
}

/* What angles are multiplied with is kept where they stay far below 2^51, at every position and
 * with every factor a file gives (weights.c): beyond that no place on the circle is left. */
static float get_factor(struct reader *r, const char *name, float missing) {
    float v = get_f32(r, name, missing, 0.0f, 1e6f);
    if (v != 0.0f && v < SLV_MIN_ROPE_FACTOR) fail(r, name, "is out of range");
    return r->status ? 0.0f : v;
}

/* YaRN's magnitude correction (Peng et al. 2023, section 3.4). */
static double yarn_mscale(double factor, double by) {
    return factor <= 1.0 ? 1.0 : 0.1 * by * ln(factor) + 1.0;
}

static void read_rope(struct reader *r, struct slv_hparams *h) {
    struct slv_rope_conf *c = &h->rope;
    struct slv_str type = {"linear", 6};
    h->rope_kind = h->family->rope;
    if (h->rope_kind == SLV_ROPE_NORM && get_bool(r, "rope.halves", false))
        h->rope_kind = SLV_ROPE_NEOX;
    *c = (struct slv_rope_conf){.freq_scale = 1.0f, .mscale = 1.0f, .ctx_orig = h->n_ctx};
    c->base = get_f32(r, "rope.freq_base", 10000.0f, 1.0f, 1e12f);
    c->ctx_orig = get_u32(r, "rope.scaling.original_context_length", h->n_ctx, 1, SLV_MAX_CTX);
    slv_gguf_str(r->g, full_key(r, "rope.scaling.type"), &type);
    bool none = type.n == 4 && !memcmp(type.p, "none", 4);
    c->yarn = type.n == 4 && !memcmp(type.p, "yarn", 4);
    bool known = none || c->yarn || (type.n == 6 && !memcmp(type.p, "linear", 6)) ||
                 (type.n == 8 && !memcmp(type.p, "longrope", 8));
    if (slv_str_is(type, "llama3")) {
        known = true;
        c->low = get_f32(r, "rope.scaling.low_freq_factor", -1.0f, 1e-6f, 1e6f);
        c->high = get_f32(r, "rope.scaling.high_freq_factor", -1.0f, 1e-6f, 1e6f);
        if (!(c->high > c->low))
            fail(r, "rope.scaling.high_freq_factor", "is not above the low one");
    }
    if (!known && !r->status)
        r->status =
            slv_err_set(r->err, SLV_E_UNSUPPORTED, "rope scaling '%.*s'", (int)type.n, type.p);
    float factor = get_factor(r, "rope.scale_linear", 0.0f);
    factor = get_factor(r, "rope.scaling.factor", factor);
    if (factor > 0.0f && !none) c->freq_scale = 1.0f / factor;
    double mscale = (double)get_f32(r, "rope.scaling.attn_factor", 1.0f, 1e-6f, 1e6f);
    c->beta_fast = get_f32(r, "rope.scaling.yarn_beta_fast", 32.0f, 1e-6f, 1e6f);
    c->beta_slow = get_f32(r, "rope.scaling.yarn_beta_slow", 1.0f, 1e-6f, 1e6f);
    if (c->yarn) {
        double f = 1.0 / (double)c->freq_scale;
        double all = (double)get_f32(r, "rope.scaling.yarn_log_multiplier", 0.0f, -1e6f, 1e6f);
        mscale *= yarn_mscale(f, 1.0);
        if (all != 0.0) mscale /= yarn_mscale(f, all);
        if (!(mscale >= 1e-6 && mscale <= 1e6))
            fail(r, "rope.scaling.yarn_log_multiplier", "is out of range");
        if (c->base <= 1.0f) fail(r, "rope.freq_base", "is too small for YaRN");
    }
    c->mscale = (float)mscale;
    h->rope_swa = *c;
    if (h->family->swa_plain)
        h->rope_swa =
            (struct slv_rope_conf){.freq_scale = 1.0f, .mscale = 1.0f, .ctx_orig = c->ctx_orig};
    float base = h->family->swa_base ? (float)h->family->swa_base : c->base;
    h->rope_swa.base = get_f32(r, "rope.freq_base_swa", base, 1.0f, 1e12f);
    if (h->rope_swa.yarn && h->rope_swa.base <= 1.0f)
        fail(r, "rope.freq_base_swa", "is too small for YaRN");
    for (uint32_t i = 0; i < h->n_layer; i++)
        h->rope_off[i] = h->family->nope_step && (i + 1) % h->family->nope_step == 0;
}

static void read_scales(struct reader *r, struct slv_hparams *h) {
    const struct slv_family *f = h->family;
    const char *eps = f->norm == SLV_NORM_RMS ? "attention.layer_norm_rms_epsilon"
                                              : "attention.layer_norm_epsilon";
    h->norm_eps = get_f32(r, eps, -1.0f, 0.0f, 1.0f);
    h->embd_scale = f->embd_sqrt ? sqrt32((double)h->n_embd) : 1.0f;
    h->residual_scale = h->logit_scale = 1.0f;
    double dim = f->big_layers && h->n_layer == f->big_layers ? (double)h->n_embd / h->n_head
                                                              : (double)h->head_k;
    h->attn_scale = (float)slv_exp64(-0.5 * ln(dim));
    if (f->scales) {
        h->embd_scale = get_f32(r, "embedding_scale", 1.0f, -1e9f, 1e9f);
        h->residual_scale = get_f32(r, "residual_scale", 1.0f, -1e9f, 1e9f);
        float by = get_f32(r, "logit_scale", 1.0f, -1e9f, 1e9f);
        if (by == 0.0f) fail(r, "logit_scale", "is zero");
        else h->logit_scale = 1.0f / by;
        bool rope = get_bool(r, "rope.scaling.finetuned", true);
        for (uint32_t i = 0; i < h->n_layer && !rope; i++)
            h->rope_off[i] = true;
    }
    float scale = get_f32(r, "attention.scale", 0.0f, -1e9f, 1e9f);
    if (scale != 0.0f) h->attn_scale = scale;
    h->temperature = get_f32(r, "attention.temperature_scale", 0.0f, -1e6f, 1e6f);
    h->attn_cap = get_f32(r, "attn_logit_softcapping", f->caps ? 50.0f : 0.0f, 0.0f, 1e9f);
    h->logit_cap = get_f32(r, "final_logit_softcapping", f->caps ? 30.0f : 0.0f, 0.0f, 1e9f);
}

/* What would change the result and is not understood must not be passed over. */
static void refuse_unknown(struct reader *r) {
    static const char *const keys[] = {"expert_count", "attention.max_alibi_bias",
                                       "attention.clamp_kqv", "attention.key_length_mla"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        float v = 0.0f;
        if (slv_gguf_f32(r->g, full_key(r, keys[i]), &v) && v != 0.0f && !r->status)
            r->status = slv_err_set(r->err, SLV_E_UNSUPPORTED, "key '%s' is not supported", r->key);
    }
}

static const struct {
    const char *name; /* as configurations have it */
    enum slv_act_kind act;
} activations[] = {
    {"gelu", SLV_ACT_GELU_ERF},  {"gelu_new", SLV_ACT_GELU}, {"gelu_pytorch_tanh", SLV_ACT_GELU},
    {"gelu_fast", SLV_ACT_GELU}, {"silu", SLV_ACT_SILU},     {"swish", SLV_ACT_SILU},
};

static void read_activation(struct reader *r, struct slv_hparams *h) {
    struct slv_str name;
    h->act = h->family->act;
    if (!slv_gguf_str(r->g, full_key(r, "activation"), &name)) return;
    for (size_t i = 0; i < sizeof activations / sizeof activations[0]; i++)
        if (slv_str_is(name, activations[i].name)) {
            h->act = (uint8_t)activations[i].act;
            return;
        }
    if (!r->status)
        r->status = slv_err_set(r->err, SLV_E_UNSUPPORTED, "activation '%.*s'",
                                name.n > 32 ? 32 : (int)name.n, name.p);
}

/* What makes a model one of texts rather than of next tokens. */
static void read_encoder(struct reader *r, struct slv_hparams *h) {
    h->sees_all = !get_bool(r, "attention.causal", !h->family->encoder);
    h->pooling = (uint8_t)get_u32(r, "pooling_type", 0, 0, SLV_POOLING_END - 1);
    if (h->sees_all != h->family->encoder && !r->status)
        r->status = slv_err_set(r->err, SLV_E_UNSUPPORTED, "the model looks at %s tokens",
                                h->sees_all ? "later" : "no later");
}

int slv_hparams_read(const struct slv_gguf *g, struct slv_hparams *ret, struct slv_err *err) {
    struct slv_str arch;
    if (!slv_gguf_str(g, "general.architecture", &arch))
        return slv_err_set(err, SLV_E_FORMAT, "key 'general.architecture' is missing");
    const struct slv_family *f = slv_family_get(arch);
    if (!f)
        return slv_err_set(err, SLV_E_UNSUPPORTED, "architecture '%.*s'",
                           arch.n > 64 ? 64 : (int)arch.n, arch.p);
    struct slv_hparams h = {.family = f};
    struct reader r = {.g = g, .arch = f->arch, .err = err};
    read_shape(&r, &h);
    if (!r.status) read_windows(&r, &h);
    if (!r.status) read_rope(&r, &h);
    if (!r.status) read_scales(&r, &h);
    if (!r.status) read_activation(&r, &h);
    if (!r.status) read_encoder(&r, &h);
    refuse_unknown(&r);
    if (r.status) return r.status;
    *ret = h;
    return 0;
}
