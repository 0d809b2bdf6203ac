/* draft.c: see draft.h. */
#include "engine/draft.h"
#include "base/mem.h"
#include "engine/session.h"

#include <string.h>

#define KINDS 8

/* --- the lookup as a drafter ------------------------------------------------------------------ */

static void lookup_propose(void *self, const int32_t *history, uint32_t n, uint32_t most,
                           double floor, struct slv_guess *ret) {
    (void)history, (void)n, (void)floor; /* it has them, and costs nothing */
    ret->n = slv_lookup_propose(self, most, ret->ids, ret->chance);
}

static void lookup_told(void *self, const int32_t *history, uint32_t n, int32_t id) {
    (void)history, (void)n;
    slv_lookup_add(self, id);
}

/* --- a model as a drafter --------------------------------------------------------------------- */

/* How far the logit of id is above all others: a drafter that is sure is more often right. */
static size_t sureness(const float *logits, size_t n_vocab, int32_t id) {
    static const float steps[KINDS - 1] = {-0.5f, 0.25f, 0.75f, 1.5f, 2.5f, 4.0f, 6.0f};
    float other = -3e38f;
    size_t kind = 0;
    for (size_t i = 0; i < (size_t)id; i++)
        other = logits[i] > other ? logits[i] : other;
    for (size_t i = (size_t)id + 1; i < n_vocab; i++)
        other = logits[i] > other ? logits[i] : other;
    while (kind < KINDS - 1 && logits[id] - other > steps[kind])
        kind++;
    return kind;
}

#define TRY 4u               /* tokens drafted to try a drafter out */
#define PATIENCE 32u         /* steps between two tries */
#define HOPE 0.7f            /* chance of a token before there is experience */
#define FADE (95.0f / 96.0f) /* of older experience, once there is as much */

/* Makes the draft's session hold history[0..n), the last token read anew if need be for its
 * logits. False: it cannot. */
static bool catch_up(struct slv_session *s, const int32_t *history, uint32_t n) {
    uint32_t same = 0, both = s->kv.n_pos < n ? s->kv.n_pos : n;
    while (same < both && s->history[same] == history[same])
        same++;
    if (same == n && s->kv.n_pos == n && s->has_logits) return true;
    if (same == n) same--;
    if (slv_session_rewind(s, same)) {
        same = 0;
        if (slv_session_rewind(s, 0)) return false;
    }
    return !slv_session_feed(s, history + same, n - same, NULL);
}

static void model_propose(void *self, const int32_t *history, uint32_t n, uint32_t most,
                          double floor, struct slv_guess *ret) {
    struct slv_draft_model *d = self;
    struct slv_session *s = d->s;
    double all = 1.0;
    ret->n = 0;
    d->last_at = n;
    d->last.n = 0;
    if (n >= s->o.n_ctx || !catch_up(s, history, n)) return;
    uint64_t t0 = slv_clock_mono(d->clock);
    for (uint32_t i = 0; i < most; i++) {
        const float *logits = slv_session_logits(s);
        uint32_t pos = s->kv.n_pos;
        int32_t id = slv_sampler_draw(d->sampler, logits, s->history, pos, pos, NULL);
        size_t kind = sureness(logits, s->m->h.n_vocab, id);
        d->kind[i] = kind;
        ret->ids[i] = id;
        ret->chance[i] = d->right[kind] / d->all[kind];
        ret->n = i + 1;
        all *= (double)ret->chance[i];
        if (all < floor || i + 1 == most || pos == s->o.n_ctx) break;
        if (slv_session_feed(s, &id, 1, NULL)) break;
    }
    double ns = (double)(slv_clock_mono(d->clock) - t0) / (double)ret->n;
    d->ns = d->ns < 0.0 ? ns : d->ns + 0.2 * (ns - d->ns);
    d->last = *ret;
}

static void model_told(void *self, const int32_t *history, uint32_t n, int32_t id) {
    struct slv_draft_model *d = self;
    (void)history;
    if (n < d->last_at || n - d->last_at >= d->last.n) return;
    uint32_t i = n - d->last_at;
    bool is_right = d->last.ids[i] == id;
    float *right = &d->right[d->kind[i]], *all = &d->all[d->kind[i]], one = is_right ? 1.0f : 0.0f;
    if (*all > 96.0f) {
        *right *= FADE;
        *all *= FADE;
    }
    *right += one;
    *all += 1.0f;
    d->mean += 0.03f * (one - d->mean);
    if (!is_right) d->last.n = 0; /* what was proposed behind it was for another text */
}

static void model_forecast(void *self, double *ret_ns, float *ret_chance) {
    const struct slv_draft_model *d = self;
    *ret_ns = d->ns;
    *ret_chance = d->mean;
}

static const struct slv_drafter by_lookup = {lookup_propose, lookup_told, NULL},
                                by_model = {model_propose, model_told, model_forecast};

int slv_same_vocabulary(const struct slv_tokenizer *a, const struct slv_tokenizer *b,
                        struct slv_err *err) {
    size_t n = slv_tokenizer_size(a);
    if (n != slv_tokenizer_size(b))
        return slv_err_set(err, SLV_E_USAGE,
                           "the draft model has another vocabulary: %zu tokens instead of %zu",
                           slv_tokenizer_size(b), n);
    for (size_t i = 0; i < n; i++) {
        int32_t id = (int32_t)i;
        struct slv_str x = slv_tokenizer_piece(a, id), y = slv_tokenizer_piece(b, id);
        if (x.n != y.n || memcmp(x.p, y.p, x.n) != 0)
            return slv_err_set(err, SLV_E_USAGE,
                               "the draft model has another vocabulary: token %d differs", id);
    }
    return 0;
}

/* --- the speculator --------------------------------------------------------------------------- */

size_t slv_speculator_bytes(uint32_t n_ctx) {
    size_t n = slv_lookup_bytes(n_ctx);
    return n ? n + sizeof(struct slv_speculator) : 0;
}

int slv_speculator_open(uint32_t n_ctx, uint32_t most, struct slv_speculator **ret) {
    struct slv_speculator *sp = slv_mem_calloc(1, sizeof *sp);
    if (!sp) return SLV_E_NOMEM;
    sp->most = most;
    sp->clock = &slv_clock_system;
    int rc = slv_lookup_open(n_ctx, &sp->lookup);
    if (rc) slv_speculator_close(sp);
    else *ret = sp;
    return rc;
}

void slv_speculator_close(struct slv_speculator *sp) {
    if (!sp) return;
    slv_lookup_close(sp->lookup);
    slv_mem_free(sp);
}

bool slv_speculator_add(struct slv_speculator *sp, const struct slv_drafter *how, void *self) {
    if (sp->n_drafters == SLV_DRAFTERS_MAX) return false;
    sp->drafter[sp->n_drafters].how = how;
    sp->drafter[sp->n_drafters].self = self;
    sp->drafter[sp->n_drafters++].asked = 0;
    return true;
}

void slv_speculator_begin(struct slv_speculator *sp, const struct slv_session *s,
                          struct slv_session *draft, struct slv_sampler *sampler) {
    struct slv_draft_model *d = &sp->model;
    sp->n_drafters = 0;
    slv_lookup_sync(sp->lookup, s->history, s->kv.n_pos);
    slv_speculator_add(sp, &by_lookup, sp->lookup);
    if (!draft) return;
    if (d->s != draft) { /* experience with another one is worth nothing */
        *d = (struct slv_draft_model){.s = draft, .mean = HOPE, .ns = -1.0};
        for (size_t i = 0; i < KINDS; i++) {
            d->all[i] = 4.0f;
            d->right[i] = 0.4f + 0.5f * (float)i;
        }
    }
    d->clock = sp->clock;
    d->sampler = sampler;
    d->last.n = 0;
    slv_speculator_add(sp, &by_model, d);
}

void slv_speculator_told(struct slv_speculator *sp, const int32_t *history, uint32_t n,
                         int32_t id) {
    for (uint32_t i = 0; i < sp->n_drafters; i++)
        sp->drafter[i].how->told(sp->drafter[i].self, history, n, id);
}

static uint32_t at_most(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* What drafter i has to offer, cut to what pays, into *g; 0 and nothing if that is less than
 * `rate`. Returns the tokens a ns that it promises. */
static double offer(struct slv_speculator *sp, uint32_t i, const int32_t *history, uint32_t n,
                    uint32_t most, double rate, struct slv_guess *g) {
    const struct slv_drafter *how = sp->drafter[i].how;
    float chance[SLV_DRAFT_MAX], hope;
    double ns, promised = 0.0, floor = 0.0;
    g->n = 0;
    if (how->forecast) {
        how->forecast(sp->drafter[i].self, &ns, &hope);
        for (uint32_t k = 0; k < most; k++)
            chance[k] = hope;
        if (ns >= 0.0) most = slv_pace_choose(&sp->pace, chance, most, ns, &promised);
        else most = sp->pace.steps ? at_most(most, TRY) : 0; /* once, to know it */
        if (!most || (ns >= 0.0 && promised <= rate)) return 0.0;
        double more = slv_pace_cost(&sp->pace, most + 1) - slv_pace_cost(&sp->pace, 1);
        if (ns >= 0.0) floor = promised * (more / (double)most + ns);
    }
    how->propose(sp->drafter[i].self, history, n, most, floor, g);
    if (how->forecast) sp->drafter[i].asked = sp->pace.steps;
    g->n = slv_pace_choose(&sp->pace, g->chance, g->n, 0.0, &promised);
    return promised;
}

/* Where nothing pays: now and then, the figures that say so are looked at again. */
static void try_out(struct slv_speculator *sp, uint32_t i, const int32_t *history, uint32_t n,
                    uint32_t most, struct slv_guess *g) {
    const struct slv_drafter *how = sp->drafter[i].how;
    float chance[SLV_DRAFT_MAX], hope;
    double ns;
    g->n = 0;
    if (!how->forecast) {
        how->propose(sp->drafter[i].self, history, n, most, 0.0, g);
        g->n = slv_pace_probe(&sp->pace, g->chance, g->n, 0.0, false);
        return;
    }
    how->forecast(sp->drafter[i].self, &ns, &hope);
    if (ns < 0.0 || sp->pace.steps - sp->drafter[i].asked < PATIENCE) return;
    most = at_most(most, TRY);
    for (uint32_t k = 0; k < most; k++)
        chance[k] = HOPE;
    most = slv_pace_probe(&sp->pace, chance, most, ns, true);
    if (!most) return;
    how->propose(sp->drafter[i].self, history, n, most, 0.0, g);
    sp->drafter[i].asked = sp->pace.steps;
}

const struct slv_guess *slv_speculator_next(struct slv_speculator *sp, const int32_t *history,
                                            uint32_t n, uint32_t most) {
    struct slv_guess *best = &sp->guess[0], *other = &sp->guess[1];
    double rate = 0.0;
    best->n = 0;
    most = at_most(most, sp->most);
    for (uint32_t i = 0; most && i < sp->n_drafters; i++) {
        double r = offer(sp, i, history, n, most, rate, other);
        if (!other->n || r <= rate) continue;
        struct slv_guess *t = best;
        best = other;
        other = t;
        rate = r;
    }
    for (uint32_t i = 0; most && !best->n && i < sp->n_drafters; i++)
        try_out(sp, i, history, n, most, best);
    return best;
}
