/* generate.c: see generate.h. Drawing tokens until one of the reasons to end.
 *
 * Every token is drawn from the logits of the tokens before it, by the sampler, with the random
 * number of its position; that is all that decides what is generated. What is guessed (draft.h) or
 * certain (opts->forced) is only fed early:
 *
 *     step:    drawn | certain ... | guessed ...      one forward pass, logits after each
 *     ahead:         ^ next                           fed already if they are what comes next
 *
 * A token that comes next and is the next one ahead costs no step: the position moves over it, and
 * the logits are the row after it. At the first that is another one the rest is dropped; their keys
 * and values lie beyond the session's position, where the next step writes. So at any moment
 * position, history and logits are those of plain decoding. */
#include "engine/generate.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "engine/guide.h"
#include "format/stream.h"

#include <string.h>

#define FORCED_MAX 64u /* certain tokens asked for at once */

void slv_generate_default(struct slv_generate_opts *ret) {
    *ret = (struct slv_generate_opts){0};
    slv_sampling_default(&ret->sampling);
}

/* DRY does not look back across a line's end or a control token. */
static bool breaks_sequence(const void *ctx, int32_t id) {
    const struct slv_tokenizer *t = ctx;
    if (slv_tokenizer_kind(t, id) == SLV_TOKEN_CONTROL) return true;
    struct slv_str p = slv_tokenizer_piece(t, id);
    for (size_t i = 0; i < p.n; i++)
        if (memchr("\n:\"*", p.p[i], 4)) return true;
    return p.n == 2 && !memcmp(p.p, "\xc4\x8a", 2); /* byte-level BPE writes a newline so */
}

struct slv_generation {
    struct slv_session *s;
    const struct slv_generate_opts *o;
    struct slv_sampler *sampler;
    struct slv_speculator *spec; /* NULL: nothing is guessed */
    struct slv_guide *guide;     /* NULL: held to nothing */
    struct slv_stream stream;
    struct slv_buf text; /* given out, and what is held back at its end */
    size_t given;
    uint32_t n; /* tokens generated */
    struct slv_logprob top[SLV_TOP_LOGPROBS_MAX];
    slv_piece_fn piece;
    void *ctx;
    int32_t ahead[1 + FORCED_MAX + SLV_DRAFT_MAX]; /* fed by the last step */
    uint32_t n_ahead, next, from;                  /* from: the first that has logits */
    uint32_t guessed;                              /* how many of them are */
    uint32_t row;                                  /* of the logits after ahead[from] */
    bool fed, ended;                               /* ahead: not only wanted; the answer */
    enum slv_finish finish;
    int32_t forced[FORCED_MAX]; /* certain tokens that are not generated yet */
    uint32_t n_forced, forced_at;
};

/* How many bytes at the end of text could be the beginning of a stop string. */
static size_t held_back(const struct slv_generation *g) {
    size_t most = 0;
    if (g->text.len < g->given) return 0; /* still in the head */
    for (size_t i = 0; i < g->o->n_stop; i++) {
        size_t n = strlen(g->o->stop[i]), left = g->text.len - g->given;
        for (size_t k = n - 1 < left ? n - 1 : left; k > most; k--)
            if (!memcmp(g->text.data + g->text.len - k, g->o->stop[i], k)) most = k;
    }
    return most;
}

/* The first stop string in what has not been given out; its offset, or SIZE_MAX. */
static size_t find_stop(const struct slv_generation *g, int32_t *ret_which) {
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < g->o->n_stop; i++) {
        size_t n = strlen(g->o->stop[i]);
        for (size_t at = g->given; at + n <= g->text.len && at < first; at++)
            if (!memcmp(g->text.data + at, g->o->stop[i], n)) {
                first = at;
                *ret_which = (int32_t)i;
            }
    }
    return first;
}

/* Gives out text up to `end`, with the token it came with. */
static bool give(struct slv_generation *g, size_t end, int32_t id, float logprob, size_t n_top) {
    const size_t from = end < g->given ? end : g->given; /* the head is not given out */
    struct slv_piece p = {.text = g->text.data + from,
                          .n = end - from,
                          .id = id,
                          .logprob = logprob,
                          .top = g->top,
                          .n_top = n_top};
    if (end > g->given) g->given = end;
    return !g->piece || g->piece(&p, g->ctx);
}

/* Tokens that may still follow n more: positions left, and what max_tokens leaves. */
static uint32_t room(const struct slv_generation *g, uint32_t n) {
    uint32_t left = g->s->o.n_ctx - g->s->kv.n_pos - n;
    if (!g->o->max_tokens) return left;
    uint32_t most = g->o->max_tokens - g->n - n;
    return left < most ? left : most;
}

/* A constraint that an answer has outgrown ends it like max_tokens does: what was written keeps to
 * it. */
static int unless_outgrown(struct slv_generation *g, int rc, struct slv_err *err) {
    if (rc != SLV_E_LIMIT) return rc;
    if (err) *err = (struct slv_err){0};
    g->ended = true;
    g->finish = SLV_FINISH_LENGTH;
    return 0;
}

/* Asks which tokens are certain to follow the history's first n. */
static int ask_forced(struct slv_generation *g, uint32_t n, struct slv_err *err) {
    size_t k = 0;
    if ((!g->o->forced && !g->guide) || g->n_forced || g->forced_at == n) return 0;
    if (g->guide) {
        const int rc = slv_guide_forced(g->guide, g->forced, FORCED_MAX, &k, err);
        if (rc) return unless_outgrown(g, rc, err);
    } else k = g->o->forced(g->o->forced_ctx, g->s->history, n, g->forced, FORCED_MAX);
    g->forced_at = n;
    g->n_forced = k < FORCED_MAX ? (uint32_t)k : FORCED_MAX;
    for (uint32_t i = 0; i < g->n_forced; i++)
        if (g->forced[i] < 0 || (uint32_t)g->forced[i] >= g->s->m->h.n_vocab)
            return slv_err_set(err, SLV_E_USAGE, "token %d is not in the vocabulary", g->forced[i]);
    return 0;
}

/* Puts `id`, what is certain to follow it, or else what is guessed to, into `ahead`. */
static int look_ahead(struct slv_generation *g, int32_t id, bool may_guess, struct slv_err *err) {
    struct slv_session *s = g->s;
    uint32_t pos = s->kv.n_pos, most = room(g, 1);
    s->history[pos] = id; /* kept when the step is done */
    g->ahead[0] = id;
    g->n_ahead = 1;
    g->from = g->guessed = g->next = 0;
    g->fed = false;
    int rc = ask_forced(g, pos + 1, err);
    if (rc) return rc;
    if (most > s->o.n_batch - 1) most = s->o.n_batch - 1;
    if (g->n_forced) {
        if (g->o->want_logprobs && most > s->o.n_logits - 1) most = s->o.n_logits - 1;
        uint32_t k = g->n_forced < most ? g->n_forced : most;
        memcpy(g->ahead + 1, g->forced, k * sizeof *g->forced);
        g->from = g->o->want_logprobs ? 0 : k;
        g->n_ahead = 1 + k;
    } else if (g->spec && may_guess) {
        if (most > s->o.n_draft) most = s->o.n_draft;
        const struct slv_guess *guess = slv_speculator_next(g->spec, s->history, pos + 1, most);
        memcpy(g->ahead + 1, guess->ids, guess->n * sizeof *guess->ids);
        g->guessed = guess->n;
        g->n_ahead = 1 + guess->n;
    }
    return 0;
}

/* Moves over the token ahead that comes next: its logits, if it has any, are the session's. */
static int take_next(struct slv_generation *g, struct slv_err *err) {
    struct slv_session *s = g->s;
    bool has_logits = g->next >= g->from;
    uint32_t row = has_logits ? g->row + g->next - g->from : 0;
    if (has_logits && !slv_runner_finite(s->runner, row))
        return slv_err_set(err, SLV_E_NUMERIC, "%s at position %u", slv_strerror(SLV_E_NUMERIC),
                           s->kv.n_pos);
    slv_session_keep(s, &g->ahead[g->next++], 1);
    slv_session_has_logits(s, has_logits, row);
    return 0;
}

/* Moves on over `id` if it lies ahead; or else what is to be fed begins with it. */
static int advance(struct slv_generation *g, int32_t id, bool may_guess, struct slv_err *err) {
    struct slv_session *s = g->s;
    if (slv_session_take_cancel(s)) return slv_err_set(err, SLV_E_CANCELLED, "interrupted");
    bool ahead = g->next < g->n_ahead && g->ahead[g->next] == id;
    if (g->spec) slv_speculator_told(g->spec, s->history, s->kv.n_pos, id);
    if (!ahead) return look_ahead(g, id, may_guess, err);
    if (g->next >= g->n_ahead - g->guessed) s->stats.accepted++;
    return take_next(g, err);
}

int slv_generation_fed(struct slv_generation *g, uint32_t row, uint64_t ns, struct slv_err *err) {
    g->fed = true;
    g->row = row;
    g->s->stats.steps++;
    g->s->stats.drafted += g->guessed;
    if (g->spec && ns != SLV_STEP_SHARED && g->n_ahead == 1 + g->guessed)
        slv_pace_measured(&g->spec->pace, g->n_ahead, ns);
    return take_next(g, err);
}

/* The token that comes next: certain or drawn; or the answer has ended. */
static int next_token(struct slv_generation *g, int32_t *ret, struct slv_err *err) {
    struct slv_session *s = g->s;
    uint32_t pos = s->kv.n_pos;
    int rc = ask_forced(g, pos, err);
    if (rc || g->ended) return rc;
    if (g->n_forced) {
        *ret = g->forced[0];
        memmove(g->forced, g->forced + 1, --g->n_forced * sizeof *g->forced);
        return 0;
    }
    const uint64_t *mask = NULL;
    const bool held = g->guide && slv_guide_holds(g->guide);
    if (held) rc = slv_guide_mask(g->guide, &mask, err);
    if (rc) return unless_outgrown(g, rc, err);
    if (held && !mask) {
        g->ended = true;
        return 0;
    }
    *ret = slv_sampler_draw(g->sampler, slv_session_logits(s), s->history, pos, pos, mask);
    return 0;
}

/* One token: found, shown, put ahead. */
static int generate_one(struct slv_generation *g, bool may_guess, struct slv_err *err) {
    struct slv_session *s = g->s;
    int32_t id = 0;
    int rc = next_token(g, &id, err);
    if (rc || g->ended) return rc;
    float logprob = 0.0f;
    size_t n_top = g->o->want_logprobs ? g->o->logprobs : 0;
    if (g->o->want_logprobs)
        slv_logprobs(slv_session_logits(s), s->m->h.n_vocab, id, &logprob, g->top, n_top);
    if (!g->o->ignore_end && slv_tokenizer_is_end(s->m->tokenizer, id)) {
        g->ended = true;
        return 0;
    }
    if (g->guide && (rc = slv_guide_take(g->guide, id, err)) != 0)
        return unless_outgrown(g, rc, err);
    rc = slv_stream_add(&g->stream, id, &g->text);
    if (rc) return slv_err_set(err, rc, "the answer's text: %s", slv_strerror(rc));
    s->stats.tokens++;
    size_t stop = find_stop(g, &s->stats.stop),
           end = stop < SIZE_MAX ? stop : g->text.len - held_back(g);
    if (!give(g, end, id, logprob, n_top)) return slv_err_set(err, SLV_E_CANCELLED, "interrupted");
    g->ended = stop < SIZE_MAX;
    if (g->ended) {
        g->text.len = g->given; /* nothing after a stop string is shown */
        return 0;
    }
    rc = advance(g, id, may_guess, err);
    g->n++;
    return rc;
}

/* Whether there is no room for another token. */
static bool is_full(struct slv_generation *g) {
    bool length = g->o->max_tokens && g->n == g->o->max_tokens;
    if (!length && g->s->kv.n_pos < g->s->o.n_ctx) return false;
    g->finish = length ? SLV_FINISH_LENGTH : SLV_FINISH_LIMIT;
    return true;
}

/* What was held back of the text. */
static int give_rest(struct slv_generation *g, struct slv_err *err) {
    if (g->given >= g->text.len && !g->stream.n_held) return 0;
    slv_stream_end(&g->stream, &g->text);
    if (g->text.status) return slv_err_set(err, g->text.status, "the answer's text is too long");
    give(g, g->text.len, -1, 0.0f, 0);
    return 0;
}

int slv_generation_go(struct slv_generation *g, bool may_guess, struct slv_feed *ret,
                      struct slv_err *err) {
    *ret = (struct slv_feed){0};
    while (!g->n_ahead || g->fed) {
        g->ended = g->ended || is_full(g);
        if (g->ended) return give_rest(g, err);
        int rc = generate_one(g, may_guess, err);
        if (rc) return rc;
    }
    *ret = (struct slv_feed){g->ahead, g->n_ahead, g->from};
    return 0;
}

enum slv_finish slv_generation_finish(const struct slv_generation *g) {
    const bool cut =
        g->finish != SLV_FINISH_STOP; /* text may be whole, and yet have more to come */
    if (!g->guide || !slv_guide_done(g->guide)) return g->finish;
    return cut && !slv_guide_ended(g->guide) ? g->finish : SLV_FINISH_SCHEMA;
}

#define ANSWER_MAX ((size_t)64 << 20)

int slv_generation_check(const struct slv_session *s, const struct slv_generate_opts *o,
                         struct slv_err *err) {
    if (o->logprobs > SLV_TOP_LOGPROBS_MAX || o->logprobs > s->m->h.n_vocab)
        return slv_err_set(err, SLV_E_USAGE, "logprobs: at most %d", SLV_TOP_LOGPROBS_MAX);
    if (o->constraint && (o->forced || o->ignore_end))
        return slv_err_set(err, SLV_E_USAGE,
                           "a constraint goes with neither `forced` nor `ignore_end`");
    if (o->n_head && o->forced)
        return slv_err_set(err, SLV_E_USAGE, "a head goes not with `forced`");
    if (o->n_head > SLV_GUIDE_HEAD_MAX || !slv_utf8_valid(o->head, o->n_head, NULL))
        return slv_err_set(err, SLV_E_USAGE, "a head has at most %u bytes of UTF-8",
                           SLV_GUIDE_HEAD_MAX);
    for (size_t i = 0; i < o->n_stop; i++)
        if (!*o->stop[i]) return slv_err_set(err, SLV_E_USAGE, "stop: an empty string");
    if (!o->draft || o->plain) return 0;
    if (!s->spec || o->draft == s)
        return slv_err_set(err, SLV_E_USAGE,
                           o->draft == s ? "a session cannot draft for itself"
                                         : "the session has no room for drafts: n_draft");
    return slv_same_vocabulary(s->m->tokenizer, o->draft->m->tokenizer, err);
}

int slv_generation_open(struct slv_session *s, const struct slv_generate_opts *opts,
                        slv_piece_fn piece, void *ctx, struct slv_generation **ret,
                        struct slv_err *err) {
    int rc = slv_generation_check(s, opts, err);
    if (rc) return rc;
    struct slv_generation *g = slv_mem_calloc(1, sizeof *g);
    if (!g) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    *g = (struct slv_generation){
        .s = s, .o = opts, .piece = piece, .ctx = ctx, .forced_at = UINT32_MAX};
    slv_stream_init(&g->stream, s->m->tokenizer, opts->special, false);
    slv_buf_init(&g->text, ANSWER_MAX);
    rc = slv_sampler_open(&opts->sampling, s->m->h.n_vocab, breaks_sequence, s->m->tokenizer,
                          &g->sampler, err);
    const bool held = opts->constraint || opts->n_head;
    g->given = opts->n_head;
    if (!rc && held &&
        (rc = slv_guide_open(opts->constraint, s->m, opts->head, opts->n_head, &g->guide)) != 0)
        slv_err_set(err, rc, "the constraint: %s", slv_strerror(rc));
    if (rc) {
        slv_generation_close(g);
        return rc;
    }
    s->stats = (struct slv_generate_stats){.reused = s->reused, .stop = -1};
    s->reused = 0;
    if (s->spec && !opts->plain) {
        g->spec = s->spec;
        slv_speculator_begin(g->spec, s, opts->draft, g->sampler);
    }
    *ret = g;
    return 0;
}

void slv_generation_close(struct slv_generation *g) {
    if (!g) return;
    slv_guide_close(g->guide);
    slv_sampler_close(g->sampler);
    slv_buf_fini(&g->text);
    slv_mem_free(g);
}

/* --- one session by itself -------------------------------------------------------------------- */

/* The step that the generation asked for. */
static int step_alone(struct slv_generation *g, const struct slv_feed *feed, struct slv_err *err) {
    struct slv_session *s = g->s;
    const struct slv_clock *clock = g->spec ? g->spec->clock : NULL;
    uint64_t t0 = clock ? slv_clock_mono(clock) : 0;
    int rc = slv_session_step(s, feed->ids, feed->n, feed->from);
    if (rc == SLV_E_CANCELLED && slv_session_take_cancel(s))
        return slv_err_set(err, rc, "interrupted");
    if (rc && rc != SLV_E_NUMERIC) /* which may be said of what was only guessed */
        return slv_err_set(err, rc, "%s at position %u", slv_strerror(rc), s->kv.n_pos);
    return slv_generation_fed(g, 0, clock ? slv_clock_mono(clock) - t0 : SLV_STEP_SHARED, err);
}

/* After certain tokens that were fed without logits an end leaves none: the last is fed again. */
static int restore_logits(struct slv_generation *g) {
    struct slv_session *s = g->s;
    if (s->has_logits || !g->next || g->next > g->from) return 0;
    int32_t last = s->history[s->kv.n_pos - 1];
    int rc = slv_session_back(s, s->kv.n_pos - 1);
    if (!rc) rc = slv_session_step(s, &last, 1, 0);
    if (rc) return rc;
    slv_session_keep(s, &last, 1);
    slv_session_has_logits(s, true, 0);
    return 0;
}

int slv_session_generate(struct slv_session *s, const struct slv_generate_opts *opts,
                         slv_piece_fn piece, void *ctx, enum slv_finish *ret_finish,
                         struct slv_err *err) {
    struct slv_generation *g;
    struct slv_feed feed;
    if (s->joined) return slv_err_set(err, SLV_E_USAGE, "the session is in its batch");
    if (!slv_session_logits(s))
        return slv_err_set(err, SLV_E_USAGE, "nothing was fed to the session");
    int rc = slv_generation_open(s, opts, piece, ctx, &g, err);
    if (rc) return rc;
    do {
        rc = slv_generation_go(g, true, &feed, err);
        if (!rc && feed.n) rc = step_alone(g, &feed, err);
    } while (!rc && feed.n);
    int restored = restore_logits(g);
    slv_session_give(s);
    if (!rc && restored) rc = slv_err_set(err, restored, "%s", slv_strerror(restored));
    if (!rc && ret_finish) *ret_finish = slv_generation_finish(g);
    slv_generation_close(g);
    return rc;
}

void slv_session_stats(const struct slv_session *s, struct slv_generate_stats *ret) {
    *ret = s->stats;
}
