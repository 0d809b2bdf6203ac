/* embed.c: /v1/embeddings: texts become vectors, some at a time between the steps of answers. */
#include "base/mem.h"
#include "serve/serve_int.h"

#include <string.h>

#define TEXTS_MAX 2048
#define AT_ONCE_BYTES 4096 /* of texts in one turn, and at least one text */
#define AT_ONCE 64

/* --- what is asked ---------------------------------------------------------------------------- */

static bool take_text(struct serve_call *c, const json_t *v, size_t i, struct serve_fail *f) {
    if (json_is_array(v) || json_is_integer(v))
        return serve_refuse(f, 400, "input", "unsupported_value",
                            "input: texts are wanted, not tokens: another vocabulary's mean "
                            "nothing to this model");
    if (!json_is_string(v) || !json_string_length(v))
        return serve_refuse(f, 400, "input", NULL,
                            "input: item %zu: a text that is not empty is wanted", i);
    c->texts[i] = (struct slv_embed_text){.p = json_string_value(v), .n = json_string_length(v)};
    slv_buf_add(&c->prompt_text, c->texts[i].p, c->texts[i].n);
    slv_buf_addc(&c->prompt_text, '\n');
    return true;
}

bool serve_embed_make(struct serve_call *c, struct serve_fail *f) {
    const json_t *v = c->ask.input;
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (!n || n > TEXTS_MAX)
        return serve_refuse(f, n ? 413 : 400, "input", NULL, "input: 1 to %d texts are wanted",
                            TEXTS_MAX);
    c->texts = slv_arena_calloc(&c->arena, n, sizeof *c->texts);
    c->text_tokens = slv_arena_calloc(&c->arena, n, sizeof *c->text_tokens);
    if (!c->texts || !c->text_tokens) return serve_refuse(f, 503, NULL, NULL, "out of memory");
    for (size_t i = 0; i < n; i++)
        if (!take_text(c, json_is_array(v) ? json_array_get(v, i) : v, i, f)) return false;
    c->n_texts = n;
    return true;
}

/* --- making them (the scheduler's thread) ----------------------------------------------------- */

static bool open_embedder(struct serve_call *c, struct serve_fail *f) {
    struct slv_err err = {0};
    const struct slv_embedder_opts o = {.threads = c->s->o.threads};
    struct slv_memory mem = {0};
    if (c->model->embedder) return true;
    /* an encoder's was counted when it was opened */
    int rc = c->model->info.encoder ? 0 : slv_embedder_memory(c->model->m, &o, &mem, &err);
    const uint64_t bytes = mem.kv + mem.arena;
    if (!rc && !serve_model_take(c->model, bytes))
        return serve_refuse(f, 503, "model", "out_of_memory", "no memory for embeddings of %s",
                            c->model->name);
    if (!rc) rc = slv_embedder_open(c->model->m, &o, &c->model->embedder, &err);
    if (rc) serve_model_give(c->model, bytes);
    if (rc == SLV_E_USAGE) /* its file says nothing of how */
        return serve_refuse(f, 400, "model", "wrong_model",
                            "%s makes text, and does not say how to make vectors: ask for a "
                            "model of embeddings",
                            c->model->name);
    return !rc || serve_refuse_err(f, 0, "model", &err);
}

static bool begin(struct serve_call *c, struct serve_fail *f) {
    if (!open_embedder(c, f)) return false;
    const size_t dim = slv_embedder_dimensions(c->model->embedder);
    if (slv_embedder_pooling(c->model->embedder) == SLV_POOL_RANK)
        return serve_refuse(f, 400, "model", "wrong_model", "%s makes scores, and no vectors",
                            c->model->name);
    if (c->ask.dimensions > dim)
        return serve_refuse(f, 400, "dimensions", NULL, "dimensions: the model has %zu", dim);
    c->dimensions = dim;
    size_t bytes;
    if (!slv_size_mul(c->n_texts, dim * sizeof *c->vectors, &bytes))
        return serve_refuse(f, 413, "input", NULL, "input: too many texts");
    c->vectors = slv_mem_alloc(bytes);
    return c->vectors || serve_refuse(f, 503, NULL, NULL, "out of memory");
}

bool serve_embed_step(struct serve_call *c, struct serve_fail *f) {
    struct slv_err err = {0};
    if (!c->vectors && !begin(c, f)) return false;
    size_t n = 0, bytes = 0, at = c->n_embedded;
    while (at + n < c->n_texts && n < AT_ONCE &&
           (!n || bytes + c->texts[at + n].n <= AT_ONCE_BYTES))
        bytes += c->texts[at + n++].n;
    int rc = slv_embed(c->model->embedder, c->texts + at, n, c->vectors + at * c->dimensions,
                       c->text_tokens + at, &err);
    if (rc) return serve_refuse_err(f, 0, "input", &err);
    for (size_t i = 0; i < n; i++)
        c->n_prompt += c->text_tokens[at + i];
    c->n_embedded += n;
    return true;
}

/* --- the reply -------------------------------------------------------------------------------- */

/* The first so many numbers, made length 1 again: by sums in double, as slv_embed does. */
static void shorten(float *v, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    if (!(sum > 0.0)) return;
    const double scale = 1.0 / __builtin_sqrt(sum);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)((double)v[i] * scale);
}

/* RFC 4648, section 4, of the numbers as little-endian floats. */
static void base64(struct slv_buf *out, const float *v, size_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)v;
    const size_t bytes = n * sizeof *v;
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        uint32_t w = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                     (left > 2 ? p[i + 2] : 0);
        char q[4] = {digits[w >> 18], digits[w >> 12 & 63], left > 1 ? digits[w >> 6 & 63] : '=',
                     left > 2 ? digits[w & 63] : '='};
        slv_buf_add(out, q, 4);
    }
}

void serve_embed_write(struct serve_call *c) {
    const size_t n = c->ask.dimensions ? c->ask.dimensions : c->dimensions;
    struct slv_json j;
    slv_json_init(&j, &c->out);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "object", "list");
    slv_json_array(&j, "data");
    for (size_t i = 0; i < c->n_texts; i++) {
        float *v = c->vectors + i * c->dimensions;
        if (n < c->dimensions) shorten(v, n);
        slv_json_object(&j, NULL);
        slv_json_str(&j, "object", "embedding");
        slv_json_uint(&j, "index", i);
        if (c->ask.base64) {
            slv_json_str(&j, "embedding", "");
            c->out.len--; /* the closing quote comes after what is between */
            base64(&c->out, v, n);
            slv_buf_addc(&c->out, '"');
        } else {
            slv_json_array(&j, "embedding");
            for (size_t k = 0; k < n; k++)
                slv_json_float(&j, NULL, v[k]);
            slv_json_array_end(&j);
        }
        slv_json_object_end(&j);
    }
    slv_json_array_end(&j);
    slv_json_str(&j, "model", c->model->name);
    slv_json_object(&j, "usage");
    slv_json_uint(&j, "prompt_tokens", c->n_prompt);
    slv_json_uint(&j, "total_tokens", c->n_prompt);
    slv_json_object_end(&j);
    slv_json_object_end(&j);
}
