/* generate.c: drawing tokens until one of the reasons to end.
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
#include "engine/session.h"
#include "base/err.h"
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

struct generation {
    struct slv_session *s;
    const struct slv_generate_opts *o;
    struct slv_sampler *sampler;
    struct slv_speculator *spec; /* NULL: nothing is guessed */
    struct slv_stream stream;
    struct slv_buf text; /* given out, and what is held back at its end */
    size_t given;
    uint32_t n; /* tokens generated */
    struct slv_logprob top[SLV_TOP_LOGPROBS_MAX];
    slv_piece_fn piece;
    void *ctx;
    int32_t ahead[1 + FORCED_MAX + SLV_DRAFT_MAX]; /* fed by the last step */
    uint32_t n_ahead, next, from; /* from: the first that has logits; guessed: how many are */
    uint32_t guessed;
    int32_t forced[FORCED_MAX]; /* certain tokens that are not generated yet */
    uint32_t n_forced, forced_at;
};

/* How many bytes at the end of text could be the beginning of a stop string. */
static size_t held_back(const struct generation *g) {
    size_t most = 0;
    for (size_t i = 0; i < g->o->n_stop; i++) {
        size_t n = strlen(g->o->stop[i]), left = g->text.len - g->given;
        for (size_t k = n - 1 < left ? n - 1 : left; k > most; k--)
            if (!memcmp(g->text.data + g->text.len - k, g->o->stop[i], k)) most = k;
    }
    return most;
}

/* The first stop string in what has not been given out; its offset, or SIZE_MAX. */
static size_t find_stop(const struct generation *g) {
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < g->o->n_stop; i++) {
        size_t n = strlen(g->o->stop[i]);
        for (size_t at = g->given; at + n <= g->text.len && at < first; at++)
            if (!memcmp(g->text.data + at, g->o->stop[i], n)) first = at;
    }
    return first;
}

/* Gives out text up to `end`, with the token it came with. */
static bool give(struct generation *g, size_t end, int32_t id, float logprob, size_t n_top) {
    struct slv_piece p = {.text = g->text.data + g->given,
                          .n = end - g->given,
                          .id = id,
                          .logprob = logprob,
                          .top = g->top,
                          .n_top = n_top};
    g->given = end;
    return !g->piece || g->piece(&p, g->ctx);
}

/* Tokens that may still follow n more: positions left, and what max_tokens leaves. */
static uint32_t room(const struct generation *g, uint32_t n) {
    uint32_t left = g->s->o.n_ctx - g->s->kv.n_pos - n;
    if (!g->o->max_tokens) return left;
    uint32_t most = g->o->max_tokens - g->n - n;
    return left < most ? left : most;
}

/* Asks which tokens are certain to follow the history's first n. */
static int ask_forced(struct generation *g, uint32_t n, struct slv_err *err) {
    if (!g->o->forced || g->n_forced || g->forced_at == n) return 0;
    size_t k = g->o->forced(g->o->forced_ctx, g->s->history, n, g->forced, FORCED_MAX);
    g->forced_at = n;
    g->n_forced = k < FORCED_MAX ? (uint32_t)k : FORCED_MAX;
    for (uint32_t i = 0; i < g->n_forced; i++)
        if (g->forced[i] < 0 || (uint32_t)g->forced[i] >= g->s->m->h.n_vocab)
            return slv_err_set(err, SLV_E_USAGE, "token %d is not in the vocabulary", g->forced[i]);
    return 0;
}

/* Puts `id`, what is certain to follow it, or else what is guessed to, into `ahead`. */
static int look_ahead(struct generation *g, int32_t id, struct slv_err *err) {
    struct slv_session *s = g->s;
    uint32_t pos = s->kv.n_pos, most = room(g, 1);
    s->history[pos] = id; /* kept when the step is done */
    g->ahead[0] = id;
    g->n_ahead = 1;
    g->from = g->guessed = g->next = 0;
    int rc = ask_forced(g, pos + 1, err);
    if (rc) return rc;
    if (most > s->o.n_batch - 1) most = s->o.n_batch - 1;
    if (g->n_forced) {
        if (g->o->want_logprobs && most > s->o.n_logits - 1) most = s->o.n_logits - 1;
        uint32_t k = g->n_forced < most ? g->n_forced : most;
        memcpy(g->ahead + 1, g->forced, k * sizeof *g->forced);
        g->from = g->o->want_logprobs ? 0 : k;
        g->n_ahead = 1 + k;
    } else if (g->spec) {
        if (most > s->o.n_draft) most = s->o.n_draft;
        const struct slv_guess *guess = slv_speculator_next(g->spec, s->history, pos + 1, most);
        memcpy(g->ahead + 1, guess->ids, guess->n * sizeof *guess->ids);
        g->guessed = guess->n;
        g->n_ahead = 1 + guess->n;
    }
    return 0;
}

/* The step over what lies ahead. */
static int step_ahead(struct generation *g, struct slv_err *err) {
    struct slv_session *s = g->s;
    const struct slv_clock *clock = g->spec ? g->spec->clock : NULL;
    uint64_t t0 = clock ? slv_clock_mono(clock) : 0;
    int rc = slv_session_step(s, g->ahead, g->n_ahead, g->from);
    if (rc == SLV_E_NUMERIC && g->n_ahead > 1) { /* perhaps only after what is not said */
        g->n_ahead = 1;
        g->from = g->guessed = 0;
        rc = slv_session_step(s, g->ahead, 1, 0);
    } else if (!rc && clock && g->n_ahead == 1 + g->guessed) {
        slv_pace_measured(&g->spec->pace, g->n_ahead, slv_clock_mono(clock) - t0);
    }
    if (rc == SLV_E_CANCELLED && slv_session_take_cancel(s))
        return slv_err_set(err, rc, "interrupted");
    if (rc) return slv_err_set(err, rc, "%s at position %u", slv_strerror(rc), s->kv.n_pos);
    s->stats.steps++;
    s->stats.drafted += g->guessed;
    return 0;
}

/* Moves on over `id`, with a step unless it lies ahead. */
static int advance(struct generation *g, int32_t id, struct slv_err *err) {
    struct slv_session *s = g->s;
    if (slv_session_take_cancel(s)) return slv_err_set(err, SLV_E_CANCELLED, "interrupted");
    bool ahead = g->next < g->n_ahead && g->ahead[g->next] == id;
    if (g->spec) slv_speculator_told(g->spec, s->history, s->kv.n_pos, id);
    if (!ahead) {
        int rc = look_ahead(g, id, err);
        if (!rc) rc = step_ahead(g, err);
        if (rc) return rc;
    } else if (g->next >= g->n_ahead - g->guessed) {
        s->stats.accepted++;
    }
    slv_session_keep(s, &id, 1);
    s->has_logits = g->next >= g->from;
    s->row = s->has_logits ? g->next - g->from : 0;
    g->next++;
    return 0;
}

/* The token that comes next: certain or drawn. */
static int next_token(struct generation *g, int32_t *ret, struct slv_err *err) {
    struct slv_session *s = g->s;
    uint32_t pos = s->kv.n_pos;
    int rc = ask_forced(g, pos, err);
    if (rc) return rc;
    if (g->n_forced) {
        *ret = g->forced[0];
        memmove(g->forced, g->forced + 1, --g->n_forced * sizeof *g->forced);
        return 0;
    }
    *ret = slv_sampler_draw(g->sampler, slv_session_logits(s), s->history, pos, pos);
    return 0;
}

/* One token: found, shown, fed. *ret_done when the answer ended. */
static int generate_one(struct generation *g, bool *ret_done, struct slv_err *err) {
    struct slv_session *s = g->s;
    int32_t id = 0;
    int rc = next_token(g, &id, err);
    if (rc) return rc;
    float logprob = 0.0f;
    size_t n_top = g->o->want_logprobs ? g->o->logprobs : 0;
    if (g->o->want_logprobs)
        slv_logprobs(slv_session_logits(s), s->m->h.n_vocab, id, &logprob, g->top, n_top);
    if (!g->o->ignore_end && slv_tokenizer_is_end(s->m->tokenizer, id)) {
        *ret_done = true;
        return 0;
    }
    rc = slv_stream_add(&g->stream, id, &g->text);
    if (rc) return slv_err_set(err, rc, "the answer's text: %s", slv_strerror(rc));
    s->stats.tokens++;
    size_t stop = find_stop(g), end = stop < SIZE_MAX ? stop : g->text.len - held_back(g);
    if (!give(g, end, id, logprob, n_top)) return slv_err_set(err, SLV_E_CANCELLED, "interrupted");
    *ret_done = stop < SIZE_MAX;
    if (*ret_done) g->text.len = g->given; /* nothing after a stop string is shown */
    return *ret_done ? 0 : advance(g, id, err);
}

/* After certain tokens that were fed without logits an end leaves none: the last is fed again. */
static int restore_logits(struct generation *g) {
    struct slv_session *s = g->s;
    if (s->has_logits || !g->next || g->next > g->from) return 0;
    int32_t last = s->history[s->kv.n_pos - 1];
    int rc = slv_session_rewind(s, s->kv.n_pos - 1);
    if (!rc) rc = slv_session_step(s, &last, 1, 0);
    if (rc) return rc;
    slv_session_keep(s, &last, 1);
    s->row = 0;
    s->has_logits = true;
    return 0;
}

static int generate_all(struct generation *g, enum slv_finish *ret_finish, struct slv_err *err) {
    for (;; g->n++) {
        bool done = false;
        if (g->o->max_tokens && g->n == g->o->max_tokens) {
            *ret_finish = SLV_FINISH_LENGTH;
            break;
        }
        if (g->s->kv.n_pos == g->s->o.n_ctx) {
            *ret_finish = SLV_FINISH_LIMIT;
            break;
        }
        int rc = generate_one(g, &done, err);
        if (rc) return rc;
        if (done) {
            *ret_finish = SLV_FINISH_STOP;
            break;
        }
    }
    if (g->given == g->text.len && !g->stream.n_held) return 0;
    slv_stream_end(&g->stream, &g->text);
    if (g->text.status) return slv_err_set(err, g->text.status, "the answer's text is too long");
    give(g, g->text.len, -1, 0.0f, 0);
    return 0;
}

#define ANSWER_MAX ((size_t)64 << 20)

static int check_opts(const struct slv_session *s, const struct slv_generate_opts *o,
                      struct slv_err *err) {
    if (!s->has_logits) return slv_err_set(err, SLV_E_USAGE, "nothing was fed to the session");
    if (o->logprobs > SLV_TOP_LOGPROBS_MAX || o->logprobs > s->m->h.n_vocab)
        return slv_err_set(err, SLV_E_USAGE, "logprobs: at most %d", SLV_TOP_LOGPROBS_MAX);
    for (size_t i = 0; i < o->n_stop; i++)
        if (!*o->stop[i]) return slv_err_set(err, SLV_E_USAGE, "stop: an empty string");
    if (!o->draft || o->plain) return 0;
    if (!s->spec || o->draft == s)
        return slv_err_set(err, SLV_E_USAGE,
                           o->draft == s ? "a session cannot draft for itself"
                                         : "the session has no room for drafts: n_draft");
    return slv_same_vocabulary(s->m->tokenizer, o->draft->m->tokenizer, err);
}

int slv_session_generate(struct slv_session *s, const struct slv_generate_opts *opts,
                         slv_piece_fn piece, void *ctx, enum slv_finish *ret_finish,
                         struct slv_err *err) {
    int rc = check_opts(s, opts, err);
    if (rc) return rc;
    struct generation g = {.s = s, .o = opts, .piece = piece, .ctx = ctx, .forced_at = UINT32_MAX};
    rc = slv_sampler_open(&opts->sampling, s->m->h.n_vocab, breaks_sequence, s->m->tokenizer,
                          &g.sampler, err);
    if (rc) return rc;
    s->stats = (struct slv_generate_stats){0};
    if (s->spec && !opts->plain) {
        g.spec = s->spec;
        slv_speculator_begin(g.spec, s, opts->draft, g.sampler);
    }
    slv_stream_init(&g.stream, s->m->tokenizer, opts->special, false);
    slv_buf_init(&g.text, ANSWER_MAX);
    enum slv_finish finish = SLV_FINISH_STOP;
    rc = generate_all(&g, &finish, err);
    int restored = restore_logits(&g);
    if (!rc && restored) rc = slv_err_set(err, restored, "%s", slv_strerror(restored));
    slv_sampler_close(g.sampler);
    slv_buf_fini(&g.text);
    if (!rc && ret_finish) *ret_finish = finish;
    return rc;
}

void slv_session_stats(const struct slv_session *s, struct slv_generate_stats *ret) {
    *ret = s->stats;
}
