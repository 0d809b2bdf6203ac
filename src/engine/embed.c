/* embed.c: see embed.h. Pooling as Reimers and Gurevych, "Sentence-BERT" (2019), have it, and as
 * the published models name it. Lengths are found in double, in order, and rounded once. */
#include "engine/embed.h"
#include "base/err.h"
#include "base/mem.h"
#include "kernel/fmath.h"

#include <string.h>

#define DEFAULT_CTX 2048u
#define DEFAULT_BATCH 512u
#define MAX_BATCH 8192u

/* --- options ---------------------------------------------------------------------------------- */

static int fill_pooling(const struct slv_model *m, struct slv_embedder_opts *o,
                        struct slv_err *err) {
    if ((unsigned)o->pooling >= SLV_POOLING_END)
        return slv_err_set(err, SLV_E_USAGE, "unknown kind of pooling");
    if (o->pooling == SLV_POOL_MODEL) o->pooling = (enum slv_pooling)m->h.pooling;
    if (o->pooling == SLV_POOL_MODEL)
        return slv_err_set(err, SLV_E_USAGE,
                           "the model does not say how its states are pooled: "
                           "choose mean, cls or last");
    if (o->pooling == SLV_POOL_RANK && (!m->h.family->encoder || !m->w.out.mat.layout))
        return slv_err_set(err, SLV_E_USAGE, "the model has no scores to give");
    return 0;
}

static int fill(const struct slv_model *m, const struct slv_embedder_opts *in,
                struct slv_embedder_opts *ret, struct slv_err *err) {
    struct slv_embedder_opts o = in ? *in : (struct slv_embedder_opts){0};
    const struct slv_session_opts ask = {.threads = o.threads};
    struct slv_session_opts filled = {0};
    int rc = slv_session_opts_fill(m, &ask, &filled, err);
    if (!rc) rc = fill_pooling(m, &o, err);
    if (rc) return rc;
    o.threads = filled.threads;
    if (!o.n_ctx) o.n_ctx = m->h.n_ctx < DEFAULT_CTX ? m->h.n_ctx : DEFAULT_CTX;
    if (o.n_ctx > m->h.n_ctx)
        return slv_err_set(err, SLV_E_USAGE, "context: %u positions, the model has %u", o.n_ctx,
                           m->h.n_ctx);
    if (!o.n_batch) o.n_batch = DEFAULT_BATCH;
    if (m->h.sees_all && o.n_batch < o.n_ctx) o.n_batch = o.n_ctx;
    if (o.n_batch > MAX_BATCH)
        return slv_err_set(err, SLV_E_USAGE, "batch: %u tokens, the limit is %u", o.n_batch,
                           MAX_BATCH);
    if (o.dimensions > m->h.n_embd)
        return slv_err_set(err, SLV_E_USAGE, "dimensions: %u, the model has %u", o.dimensions,
                           m->h.n_embd);
    if (o.pooling == SLV_POOL_RANK) o.raw = true;
    *ret = o;
    return 0;
}

/* Texts in one step. Each takes a page of all layers, of which an encoder has but one. */
static uint32_t slots(const struct slv_model *m) { return m->h.sees_all ? 64 : 16; }

/* Rows of logits in a step: none, or a score for each text. */
static uint32_t out_rows(const struct slv_model *m, const struct slv_embedder_opts *o) {
    return o->pooling == SLV_POOL_RANK ? slots(m) : 0;
}

/* Pages of the text that goes on and of those of one step. */
static uint32_t pool_pages(const struct slv_model *m, const struct slv_embedder_opts *o) {
    return o->n_ctx / SLV_KV_BLOCK + o->n_batch / SLV_KV_BLOCK + slots(m) + 2;
}

/* What the pool is to have: False: too large. */
static bool pool_sizes(const struct slv_model *m, const struct slv_embedder_opts *o,
                       size_t page_bytes[SLV_PAGE_CLASSES], uint32_t n[SLV_PAGE_CLASSES],
                       size_t *ret_bytes) {
    *ret_bytes = 0;
    if (!slv_kv_page_bytes(&m->h, SLV_KV_F32, page_bytes)) return false;
    for (int c = 0; c < SLV_PAGE_CLASSES; c++) {
        size_t bytes;
        n[c] = page_bytes[c] ? pool_pages(m, o) : 0;
        if (!slv_size_mul(n[c], page_bytes[c], &bytes) ||
            !slv_size_add(*ret_bytes, bytes, ret_bytes))
            return false;
    }
    return true;
}

int slv_embedder_memory(const struct slv_model *m, const struct slv_embedder_opts *opts,
                        struct slv_memory *ret, struct slv_err *err) {
    struct slv_embedder_opts o = {0};
    size_t page_bytes[SLV_PAGE_CLASSES], kv = 0;
    uint32_t n[SLV_PAGE_CLASSES];
    int rc = fill(m, opts, &o, err);
    if (rc) return rc;
    const struct slv_session_opts so = {.n_batch = o.n_batch, .n_logits = out_rows(m, &o)};
    struct slv_memory mem = {.weights = m->w.tile_bytes + m->w.arena.used};
    const uint64_t shared = slv_model_shared_bytes(m, &so);
    if (shared <= mem.weights || !pool_sizes(m, &o, page_bytes, n, &kv))
        return slv_err_set(err, SLV_E_FIT, "the embedder is too large");
    mem.kv = kv;
    mem.arena = shared - mem.weights;
    mem.arena += slots(m) * (sizeof(struct slv_embed_slot) + m->h.n_embd * sizeof(float));
    mem.total = mem.weights + mem.kv + mem.arena;
    *ret = mem;
    return 0;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int open_slots(struct slv_embedder *e) {
    size_t page_bytes[SLV_PAGE_CLASSES], bytes;
    uint32_t n[SLV_PAGE_CLASSES];
    const uint32_t n_embd = e->m->h.n_embd, n_slots = slots(e->m);
    if (!pool_sizes(e->m, &e->o, page_bytes, n, &bytes)) return SLV_E_NOMEM;
    int rc = slv_pool_open(page_bytes, n, bytes, &e->pool);
    e->slot = slv_mem_calloc(n_slots, sizeof *e->slot);
    e->sums = slv_mem_calloc((size_t)n_slots * n_embd, sizeof *e->sums);
    if (!e->slot || !e->sums) return rc ? rc : SLV_E_NOMEM;
    for (uint32_t i = 0; i < n_slots && !rc; i++) {
        e->slot[i].sum = e->sums + (size_t)i * n_embd;
        rc = slv_kv_borrow(&e->slot[i].kv, &e->m->h, SLV_KV_F32, e->o.n_ctx, e->o.n_batch, e->pool);
        if (!rc) e->n_slots = i + 1;
    }
    return rc;
}

static int open_parts(struct slv_embedder *e) {
    const struct slv_runner_model parts = {&e->m->h, &e->m->w, &e->m->plan, &e->m->kern};
    e->tok = slv_mem_calloc(e->o.n_batch, sizeof *e->tok);
    int rc = e->tok ? slv_team_open(e->o.threads, &e->team) : SLV_E_NOMEM;
    if (!rc) rc = slv_runner_open(&parts, e->o.n_batch, out_rows(e->m, &e->o), e->team, &e->runner);
    if (!rc) slv_runner_watch(e->runner, &e->cancelled);
    return rc ? rc : open_slots(e);
}

int slv_embedder_open(struct slv_model *m, const struct slv_embedder_opts *opts,
                      struct slv_embedder **ret, struct slv_err *err) {
    struct slv_embedder_opts o = {0};
    struct slv_memory mem = {0};
    int rc = fill(m, opts, &o, err);
    if (!rc) rc = slv_embedder_memory(m, &o, &mem, err);
    if (rc) return rc;
    if (o.memory && mem.total > o.memory)
        return slv_err_set(err, SLV_E_FIT,
                           "needs %.1f MiB for texts of %u tokens, %.1f are allowed",
                           (double)mem.total / 0x1p20, o.n_ctx, (double)o.memory / 0x1p20);
    if (m->inspect)
        return slv_err_set(err, SLV_E_USAGE, "the model was opened for inspection only");
    struct slv_embedder *e = slv_mem_calloc(1, sizeof *e);
    if (!e) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    e->m = m;
    e->o = o;
    e->width = o.pooling == SLV_POOL_RANK ? (uint32_t)m->w.out.mat.rows : m->h.n_embd;
    rc = open_parts(e);
    if (rc) {
        slv_embedder_close(e);
        return slv_err_set(err, rc, "no memory for texts of %u tokens", o.n_ctx);
    }
    *ret = e;
    return 0;
}

void slv_embedder_close(struct slv_embedder *e) {
    if (!e) return;
    for (uint32_t i = 0; i < e->n_slots; i++)
        slv_kv_fini(&e->slot[i].kv);
    slv_pool_close(e->pool);
    slv_runner_close(e->runner);
    slv_team_close(e->team);
    slv_ids_fini(&e->ids);
    slv_mem_free(e->slot);
    slv_mem_free(e->sums);
    slv_mem_free(e->tok);
    slv_mem_free(e);
}

uint32_t slv_embedder_dimensions(const struct slv_embedder *e) {
    const bool cut = e->o.dimensions && e->o.pooling != SLV_POOL_RANK;
    return cut ? e->o.dimensions : e->width;
}

enum slv_pooling slv_embedder_pooling(const struct slv_embedder *e) { return e->o.pooling; }

void slv_embedder_cancel(struct slv_embedder *e) {
    atomic_store_explicit(&e->cancelled, true, memory_order_relaxed);
}

/* --- tokens ----------------------------------------------------------------------------------- */

/* The second part of a pair, with the tokens that part the two and the one that ends it. */
static int add_second(struct slv_embedder *e, const struct slv_embed_text *t, unsigned flags,
                      struct slv_err *err) {
    const int32_t after = slv_tokenizer_after(e->m->tokenizer);
    if (after < 0) return slv_err_set(err, SLV_E_USAGE, "the model takes no pairs");
    int rc = 0;
    for (uint32_t i = 1; i < slv_tokenizer_between(e->m->tokenizer) && !rc; i++)
        rc = slv_ids_add(&e->ids, after);
    if (!rc) rc = slv_tokenize(e->m->tokenizer, t->second, t->second_n, flags, &e->ids);
    if (!rc) rc = slv_ids_add(&e->ids, after);
    return rc ? slv_err_set(err, rc, "%s", slv_strerror(rc)) : 0;
}

/* Cuts the end off, but for the token that ends every text. */
static int cut(struct slv_embedder *e, struct slv_err *err) {
    const int32_t after = slv_tokenizer_after(e->m->tokenizer);
    const size_t n = e->ids.n;
    if (n <= e->o.n_ctx) return 0;
    if (!e->o.truncate)
        return slv_err_set(err, SLV_E_LIMIT, "%zu tokens do not fit in a context of %u", n,
                           e->o.n_ctx);
    if (e->second_at >= e->o.n_ctx)
        return slv_err_set(err, SLV_E_LIMIT,
                           "the first of the pair, of %u tokens, leaves no room "
                           "in a context of %u",
                           e->second_at, e->o.n_ctx);
    e->ids.n = e->o.n_ctx;
    if (after >= 0) e->ids.v[e->ids.n - 1] = after;
    return 0;
}

static int tokenize(struct slv_embedder *e, const struct slv_embed_text *t, struct slv_err *err) {
    const unsigned flags = e->o.special ? SLV_TOKENIZE_SPECIAL : 0;
    e->ids.n = e->second_at = 0;
    int rc = slv_tokenize(e->m->tokenizer, t->p, t->n, flags | SLV_TOKENIZE_ADD, &e->ids);
    if (rc) return slv_err_set(err, rc, "%s", slv_strerror(rc));
    if (t->second && e->ids.n <= UINT32_MAX) {
        e->second_at = (uint32_t)e->ids.n;
        rc = add_second(e, t, flags, err);
    }
    if (!rc) rc = cut(e, err);
    if (!rc && !e->ids.n) rc = slv_err_set(err, SLV_E_USAGE, "there are no tokens in it");
    return rc;
}

/* --- one step --------------------------------------------------------------------------------- */

/* What slv_embed is at. */
struct run {
    struct slv_embedder *e;
    const struct slv_embed_text *texts;
    size_t n_texts, next; /* next: text whose tokens come next */
    float *ret;
    uint32_t *ret_tokens;
    uint32_t n_tok, n_used; /* of the step: tokens, and slots from 0 on */
    struct slv_err *err;
};

static bool wanted(const struct slv_embedder *e, uint32_t at, uint32_t n) {
    if (e->o.pooling == SLV_POOL_MEAN) return true;
    return e->o.pooling == SLV_POOL_LAST ? at + 1 == n : at == 0;
}

/* As many of the next text's tokens as there is room for, into a slot. */
static int put_tokens(struct run *r, struct slv_embed_slot *s) {
    struct slv_embedder *e = r->e;
    const uint32_t room = e->o.n_batch - r->n_tok, left = s->n - s->begun;
    const uint32_t n = left < room ? left : room;
    int rc = slv_kv_ready(&s->kv, n);
    if (rc) return slv_err_set(r->err, rc, "%s", slv_strerror(rc));
    for (uint32_t i = 0; i < n; i++, s->begun++)
        e->tok[r->n_tok++] =
            (struct slv_step_token){.kv = &s->kv,
                                    .id = e->ids.v[s->begun],
                                    .pos = s->begun,
                                    .end = e->m->h.sees_all ? s->n : 0,
                                    .type = e->second_at && s->begun >= e->second_at &&
                                            e->m->w.types.from && e->m->w.types.from->ne[1] > 1,
                                    .logits = wanted(e, s->begun, s->n)};
    if (s->begun == s->n) e->has_ids = false;
    return 0;
}

/* Gets the next text's tokens, if they are not there; *ret: whether the step has room for it. */
static int has_room(struct run *r, bool *ret) {
    struct slv_embedder *e = r->e;
    if (!e->has_ids) {
        int rc = tokenize(e, &r->texts[r->next], r->err);
        if (rc) return slv_err_prefix(r->err, rc, "text %zu", r->next + 1);
        e->has_ids = true;
        if (r->ret_tokens) r->ret_tokens[r->next] = (uint32_t)e->ids.n;
    }
    const size_t room = e->o.n_batch - r->n_tok;
    *ret = r->n_used < e->n_slots && room && (!e->m->h.sees_all || e->ids.n <= room);
    return 0;
}

/* Fills a step. The text that goes on is in slot 0. */
static int fill_step(struct run *r) {
    struct slv_embedder *e = r->e;
    bool room = true;
    int rc = r->n_used ? put_tokens(r, &e->slot[0]) : 0;
    while (!rc && r->next < r->n_texts) {
        const struct slv_embed_slot *last = r->n_used ? &e->slot[r->n_used - 1] : NULL;
        if (last && last->begun < last->n) break;
        rc = has_room(r, &room);
        if (rc || !room) break;
        struct slv_embed_slot *s = &e->slot[r->n_used++];
        s->text = r->next++;
        s->n = (uint32_t)e->ids.n;
        s->begun = 0;
        memset(s->sum, 0, e->m->h.n_embd * sizeof *s->sum);
        rc = put_tokens(r, s);
    }
    return rc;
}

/* --- vectors ---------------------------------------------------------------------------------- */

/* x[n] * by, rounded once. */
static void scale(float *x, size_t n, double by) {
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((double)x[i] * by);
}

static int give(const struct run *r, const struct slv_embed_slot *s) {
    const struct slv_embedder *e = r->e;
    const uint32_t n = slv_embedder_dimensions(e);
    float *out = r->ret + s->text * n;
    double length = 0.0;
    memcpy(out, s->sum, n * sizeof *out);
    if (e->o.pooling == SLV_POOL_MEAN) scale(out, n, 1.0 / (double)s->n);
    for (uint32_t i = 0; i < n; i++)
        length += (double)out[i] * (double)out[i];
    if (!(length <= 1e300))
        return slv_err_set(r->err, SLV_E_NUMERIC, "text %zu: %s", s->text + 1,
                           slv_strerror(SLV_E_NUMERIC));
    if (!e->o.raw && length > 0.0) scale(out, n, slv_exp64(-0.5 * slv_log64(length)));
    return 0;
}

/* The rows that the step left go to their texts, in order. */
static void gather(struct run *r) {
    const struct slv_embedder *e = r->e;
    const bool rank = e->o.pooling == SLV_POOL_RANK;
    const size_t n = e->m->h.n_embd;
    for (uint32_t i = 0, row = 0, s = 0; i < r->n_tok; i++) {
        while (&e->slot[s].kv != e->tok[i].kv)
            s++;
        if (!e->tok[i].logits) continue;
        const uint32_t at = row++;
        float *sum = e->slot[s].sum;
        if (rank)
            memcpy(r->ret + e->slot[s].text * e->width, slv_runner_logits(e->runner, at),
                   e->width * sizeof *sum);
        else e->m->kern.add(sum, slv_runner_state(e->runner, at), n, sum);
    }
}

static void swap_slots(struct slv_embed_slot *a, struct slv_embed_slot *b) {
    const struct slv_embed_slot t = *a;
    *a = *b;
    *b = t;
}

/* Texts that are done give their vectors and pages; the one that is not goes to slot 0. */
static int end_step(struct run *r) {
    struct slv_embedder *e = r->e;
    uint32_t open = 0;
    int rc = 0;
    gather(r);
    for (uint32_t i = 0; i < r->n_used && !rc; i++) {
        struct slv_embed_slot *s = &e->slot[i];
        s->kv.n_pos = s->begun;
        if (s->begun < s->n) {
            if (i) swap_slots(&e->slot[0], s);
            open = 1;
            continue;
        }
        if (e->o.pooling != SLV_POOL_RANK) rc = give(r, s);
        slv_kv_rewind(&s->kv, 0);
    }
    r->n_used = open;
    r->n_tok = 0;
    return rc;
}

static int one_step(struct run *r) {
    struct slv_embedder *e = r->e;
    if (atomic_load_explicit(&e->cancelled, memory_order_relaxed))
        return slv_err_set(r->err, SLV_E_CANCELLED, "interrupted");
    int rc = fill_step(r);
    if (rc) return rc;
    rc = slv_step(e->runner, e->tok, r->n_tok);
    if (rc == SLV_E_CANCELLED) return slv_err_set(r->err, rc, "interrupted");
    return rc ? slv_err_set(r->err, rc, "%s", slv_strerror(rc)) : end_step(r);
}

int slv_embed(struct slv_embedder *e, const struct slv_embed_text *texts, size_t n, float *ret,
              uint32_t *ret_tokens, struct slv_err *err) {
    struct run r = {
        .e = e, .texts = texts, .n_texts = n, .ret = ret, .ret_tokens = ret_tokens, .err = err};
    int rc = 0;
    e->has_ids = false;
    while (!rc && (r.next < n || r.n_used))
        rc = one_step(&r);
    for (uint32_t i = 0; i < e->n_slots && rc; i++) {
        e->slot[i].kv.n_pos = 0;
        slv_kv_rewind(&e->slot[i].kv, 0);
    }
    if (rc == SLV_E_CANCELLED) atomic_store_explicit(&e->cancelled, false, memory_order_relaxed);
    return rc;
}
