/* sampler.c: see sampler.h. Filters work on a list of candidates kept in descending order of logit
 * (ties: ascending id) once one of them needs an order. Sources: Holtzman et al. 2020 (top-p),
 * Meister et al. 2022 (typical), Keskar et al. 2019 (repetition penalty), min-p: Nguyen et al.
 * 2024, DRY: "Don't Repeat Yourself" sampler as described by its author p-e-w, 2024. */
#include "engine/sampler.h"
#include "base/err.h"
#include "base/mem.h"
#include "kernel/fmath.h"

#include <stdlib.h>

struct candidate {
    int32_t id;
    float logit;
    double p; /* probability, or a filter's key */
};

struct slv_sampler {
    struct slv_sampling o;
    size_t n_vocab, n; /* n: candidates left */
    bool sorted;
    bool (*breaks)(const void *ctx, int32_t id);
    const void *ctx;
    struct candidate *c; /* [n_vocab] */
    uint32_t *count;     /* [n_vocab]: occurrences in the penalty window; all zero between calls */
    uint32_t *z;         /* [dry_window]: Z array of the reversed history */
    struct slv_logit_bias *bias;
};

static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double slv_uniform(uint64_t seed, uint64_t pos) {
    uint64_t key = mix(seed + 0x9e3779b97f4a7c15u);
    return (double)(mix(key + (pos + 1) * 0x9e3779b97f4a7c15u) >> 11) * 0x1p-53;
}

static int check(const struct slv_sampling *o, size_t n_vocab, struct slv_err *err) {
    const struct {
        const char *name;
        float v, lo, hi;
    } rows[] = {
        {"temperature", o->temperature, 0.0f, 100.0f},
        {"top_p", o->top_p, 0.0f, 1.0f},
        {"min_p", o->min_p, 0.0f, 1.0f},
        {"typical_p", o->typical_p, 0.0f, 1.0f},
        {"repeat_penalty", o->repeat_penalty, 0.01f, 100.0f},
        {"presence_penalty", o->presence_penalty, -100.0f, 100.0f},
        {"frequency_penalty", o->frequency_penalty, -100.0f, 100.0f},
        {"dry_multiplier", o->dry_multiplier, 0.0f, 100.0f},
        {"dry_base", o->dry_base, 1.0f, 100.0f},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!(rows[i].v >= rows[i].lo && rows[i].v <= rows[i].hi))
            return slv_err_set(err, SLV_E_USAGE, "%s: %g is not within %g to %g", rows[i].name,
                               (double)rows[i].v, (double)rows[i].lo, (double)rows[i].hi);
    for (size_t i = 0; i < o->n_bias; i++)
        if (o->bias[i].id < 0 || (size_t)o->bias[i].id >= n_vocab ||
            o->bias[i].bias != o->bias[i].bias)
            return slv_err_set(err, SLV_E_USAGE, "logit bias: token %d is not in the vocabulary",
                               o->bias[i].id);
    if (o->dry_window > 1u << 20 || o->penalty_window > 1u << 20)
        return slv_err_set(err, SLV_E_USAGE, "windows look back at most 1048576 tokens");
    return 0;
}

int slv_sampler_open(const struct slv_sampling *o, size_t n_vocab,
                     bool (*breaks)(const void *ctx, int32_t id), const void *ctx,
                     struct slv_sampler **ret, struct slv_err *err) {
    int rc = check(o, n_vocab, err);
    if (rc) return rc;
    struct slv_sampler *s = slv_mem_calloc(1, sizeof *s);
    if (!s) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    *s = (struct slv_sampler){.o = *o, .n_vocab = n_vocab, .breaks = breaks, .ctx = ctx};
    s->c = slv_mem_calloc(n_vocab, sizeof *s->c);
    s->count = slv_mem_calloc(n_vocab, sizeof *s->count);
    s->z = slv_mem_calloc((size_t)o->dry_window + 1, sizeof *s->z);
    s->bias = slv_mem_calloc(o->n_bias, sizeof *s->bias);
    if (!s->c || !s->count || !s->z || !s->bias) {
        slv_sampler_close(s);
        return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < o->n_bias; i++)
        s->bias[i] = o->bias[i];
    s->o.bias = s->bias;
    *ret = s;
    return 0;
}

size_t slv_sampler_bytes(size_t n_vocab) {
    const struct slv_sampler *s = NULL;
    return n_vocab * (sizeof *s->c + sizeof *s->count);
}

void slv_sampler_close(struct slv_sampler *s) {
    if (!s) return;
    slv_mem_free(s->c);
    slv_mem_free(s->count);
    slv_mem_free(s->z);
    slv_mem_free(s->bias);
    slv_mem_free(s);
}

/* --- penalties -------------------------------------------------------------------------------- */

static void penalize(struct slv_sampler *s, const int32_t *history, size_t n) {
    const struct slv_sampling *o = &s->o;
    if (o->repeat_penalty == 1.0f && o->presence_penalty == 0.0f && o->frequency_penalty == 0.0f)
        return;
    size_t from = n > o->penalty_window ? n - o->penalty_window : 0;
    for (size_t i = from; i < n; i++)
        s->count[history[i]]++;
    for (size_t i = from; i < n; i++) {
        uint32_t times = s->count[history[i]];
        if (!times) continue; /* done at an earlier occurrence */
        float *l = &s->c[history[i]].logit;
        *l = *l > 0.0f ? *l / o->repeat_penalty : *l * o->repeat_penalty;
        *l -= (float)times * o->frequency_penalty + o->presence_penalty;
        s->count[history[i]] = 0;
    }
}

/* Lowers every token that would continue an earlier occurrence of what the history ends with: by
 * multiplier * base^(length - allowed), for the longest such occurrence. The lengths of all of them
 * come from one pass: the Z array of the reversed history. */
static void dry(struct slv_sampler *s, const int32_t *history, size_t n) {
    const struct slv_sampling *o = &s->o;
    if (o->dry_multiplier == 0.0f) return;
    size_t len = n < o->dry_window ? n : o->dry_window;
    for (size_t i = 0; i < len; i++) /* sequences do not reach across a breaker */
        if (s->breaks && s->breaks(s->ctx, history[n - 1 - i])) {
            len = i;
            break;
        }
    /* z[i]: how many tokens before index i (reversed) equal those at the history's end. */
    size_t l = 0, r = 0, full = n < o->dry_window ? n : o->dry_window;
#define REV(i) history[n - 1 - (i)]
    for (size_t i = 1; i < full; i++) {
        size_t k = 0;
        if (i < r) k = s->z[i - l] < r - i ? s->z[i - l] : r - i;
        while (i + k < full && REV(k) == REV(i + k))
            k++;
        s->z[i] = (uint32_t)k;
        if (i + k > r) {
            l = i;
            r = i + k;
        }
    }
    for (size_t i = 1; i < full; i++) { /* the token after the occurrence that ends at i is i - 1 */
        uint32_t k = s->z[i] < len ? s->z[i] : (uint32_t)len;
        if (k > s->count[REV(i - 1)]) s->count[REV(i - 1)] = k;
    }
    for (size_t i = 1; i < full; i++) {
        int32_t id = REV(i - 1);
        uint32_t k = s->count[id];
        s->count[id] = 0;
        if (k < o->dry_allowed || !k) continue;
        double by = (double)o->dry_multiplier *
                    slv_pow64((double)o->dry_base, (double)(k - o->dry_allowed));
        s->c[id].logit -= by < 1e30 ? (float)by : 1e30f;
    }
#undef REV
}

/* --- filters ---------------------------------------------------------------------------------- */

static bool before(const struct candidate *a, const struct candidate *b) {
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static int by_logit(const void *a, const void *b) { return before(a, b) ? -1 : 1; }

static int by_key(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->p != y->p) return x->p < y->p ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void sift_down(struct candidate *heap, size_t n, size_t i) {
    for (;;) { /* the worst candidate is at the top */
        size_t worst = i, left = 2 * i + 1, right = left + 1;
        if (left < n && before(&heap[worst], &heap[left])) worst = left;
        if (right < n && before(&heap[worst], &heap[right])) worst = right;
        if (worst == i) return;
        struct candidate t = heap[i];
        heap[i] = heap[worst];
        heap[worst] = t;
        i = worst;
    }
}

/* Keeps the k best, in order: a heap of k over one pass, then a sort of k. */
static void keep_best(struct slv_sampler *s, size_t k) {
    if (k < s->n) {
        s->sorted = false;
        for (size_t i = k / 2; i-- > 0;)
            sift_down(s->c, k, i);
        for (size_t i = k; i < s->n; i++)
            if (before(&s->c[i], &s->c[0])) {
                s->c[0] = s->c[i];
                sift_down(s->c, k, 0);
            }
        s->n = k;
    }
    if (!s->sorted) qsort(s->c, s->n, sizeof *s->c, by_logit);
    s->sorted = true;
}

static float largest(const struct slv_sampler *s) {
    float max = s->c[0].logit;
    for (size_t i = 1; i < s->n; i++)
        if (s->c[i].logit > max) max = s->c[i].logit;
    return max;
}

/* p of every candidate, adding up to 1, of logits divided by `temperature`. */
static void softmax(struct slv_sampler *s, double temperature) {
    double max = (double)largest(s), sum = 0.0;
    for (size_t i = 0; i < s->n; i++) {
        s->c[i].p = slv_exp64(((double)s->c[i].logit - max) / temperature);
        sum += s->c[i].p;
    }
    for (size_t i = 0; i < s->n; i++)
        s->c[i].p /= sum;
}

static void filter_typical(struct slv_sampler *s) {
    if (s->o.typical_p >= 1.0f) return;
    softmax(s, 1.0);
    double entropy = 0.0, sum = 0.0;
    for (size_t i = 0; i < s->n; i++)
        if (s->c[i].p > 0.0) entropy -= s->c[i].p * slv_log64(s->c[i].p);
    for (size_t i = 0; i < s->n; i++) { /* key: distance of surprise from the expected one */
        double d = (s->c[i].p > 0.0 ? -slv_log64(s->c[i].p) : 1e300) - entropy;
        s->c[i].p = d < 0.0 ? -d : d;
    }
    qsort(s->c, s->n, sizeof *s->c, by_key);
    s->sorted = false;
    size_t all = s->n, keep = 0;
    double max = (double)largest(s), total = 0.0;
    for (size_t i = 0; i < all; i++)
        total += slv_exp64((double)s->c[i].logit - max);
    while (keep < all && sum < (double)s->o.typical_p)
        sum += slv_exp64((double)s->c[keep++].logit - max) / total;
    s->n = keep ? keep : 1;
}

static void filter_top_p(struct slv_sampler *s) {
    if (s->o.top_p >= 1.0f) return;
    keep_best(s, s->n);
    softmax(s, 1.0);
    double sum = 0.0;
    size_t keep = 0;
    while (keep < s->n && (keep == 0 || sum < (double)s->o.top_p))
        sum += s->c[keep++].p;
    s->n = keep;
}

static void filter_min_p(struct slv_sampler *s) {
    if (s->o.min_p <= 0.0f) return;
    double limit = (double)largest(s) + slv_log64((double)s->o.min_p);
    size_t keep = 0;
    for (size_t i = 0; i < s->n; i++)
        if ((double)s->c[i].logit >= limit) s->c[keep++] = s->c[i];
    s->n = keep;
}

static int32_t best(const struct slv_sampler *s) {
    size_t at = 0;
    for (size_t i = 1; i < s->n; i++)
        if (before(&s->c[i], &s->c[at])) at = i;
    return s->c[at].id;
}

/* Leaves those that have a bit in the mask. */
static void filter_mask(struct slv_sampler *s, const uint64_t *mask) {
    size_t keep = 0;
    for (size_t i = 0; mask && i < s->n; i++)
        if (mask[i / 64] >> (i % 64) & 1) s->c[keep++] = s->c[i];
    if (mask) s->n = keep;
}

#define LANES 16u
#define SPAN 256u /* logits of which the largest is kept at a time */

/* Whether the largest logit wins, whatever came before. */
static bool is_plain(const struct slv_sampling *o) {
    return o->temperature <= 0.0f && !o->n_bias && o->repeat_penalty == 1.0f &&
           o->presence_penalty == 0.0f && o->frequency_penalty == 0.0f && o->dry_multiplier == 0.0f;
}

/* The largest of v[0..SPAN): in lanes, which compilers make vectors of. */
static float span_max(const float *v) {
    float m[LANES];
    memcpy(m, v, sizeof m);
    for (size_t i = LANES; i < SPAN; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            m[k] = v[i + k] > m[k] ? v[i + k] : m[k];
    for (size_t k = 1; k < LANES; k++)
        m[0] = m[k] > m[0] ? m[k] : m[0];
    return m[0];
}

/* The first of the largest: as best() finds it among candidates, without making any. */
static int32_t first_largest(const float *logits, size_t n) {
    const size_t whole = n / SPAN * SPAN;
    float max = logits[0];
    size_t at = 0; /* of the span that it is in */
    for (size_t i = 0; i < whole; i += SPAN) {
        const float m = span_max(logits + i);
        if (m > max) max = m, at = i;
    }
    size_t best = at;
    while (logits[best] != max && best + 1 < n)
        best++;
    for (size_t i = whole; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

int32_t slv_sampler_draw(struct slv_sampler *s, const float *logits, const int32_t *history,
                         size_t n, uint64_t pos, const uint64_t *mask) {
    if (!mask && is_plain(&s->o)) return first_largest(logits, s->n_vocab);
    for (size_t i = 0; i < s->n_vocab; i++)
        s->c[i] = (struct candidate){.id = (int32_t)i, .logit = logits[i]};
    s->n = s->n_vocab;
    s->sorted = false;
    for (size_t i = 0; i < s->o.n_bias; i++)
        s->c[s->bias[i].id].logit += s->bias[i].bias;
    penalize(s, history, n);
    dry(s, history, n);
    filter_mask(s, mask);
    const size_t all = s->n;
    if (s->o.temperature <= 0.0f || all == 1) return best(s);
    if (s->o.top_k) keep_best(s, s->o.top_k);
    filter_typical(s);
    filter_top_p(s);
    filter_min_p(s);
    if (s->n < all) keep_best(s, s->n); /* all of them stand in the order of their ids */
    softmax(s, (double)s->o.temperature);
    double u = slv_uniform(s->o.seed, pos), sum = 0.0;
    for (size_t i = 0; i < s->n; i++) {
        sum += s->c[i].p;
        if (u < sum) return s->c[i].id;
    }
    return best(s);
}

/* --- log-probabilities ------------------------------------------------------------------------ */

void slv_logprobs(const float *logits, size_t n, int32_t id, float *ret, struct slv_logprob *top,
                  size_t n_top) {
    float max = logits[0];
    double sum = 0.0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > max) max = logits[i];
    for (size_t i = 0; i < n; i++)
        sum += slv_exp64((double)logits[i] - (double)max);
    double base = (double)max + slv_log64(sum);
    if (ret) *ret = (float)((double)logits[id] - base);
    size_t have = 0;
    for (size_t i = 0; i < n && n_top; i++) { /* insertion into a short sorted list */
        float lp = (float)((double)logits[i] - base);
        if (have == n_top && lp <= top[have - 1].logprob) continue;
        size_t at = have < n_top ? have++ : have - 1;
        for (; at > 0 && top[at - 1].logprob < lp; at--)
            top[at] = top[at - 1];
        top[at] = (struct slv_logprob){.id = (int32_t)i, .logprob = lp};
    }
}

void slv_sampling_default(struct slv_sampling *ret) {
    *ret = (struct slv_sampling){.top_p = 1.0f,
                                 .typical_p = 1.0f,
                                 .repeat_penalty = 1.0f,
                                 .penalty_window = 64,
                                 .dry_base = 1.75f,
                                 .dry_allowed = 2,
                                 .dry_window = 1024};
}
