/* pace.c: see pace.h. */
#include "engine/pace.h"

#define GAIN 1.03      /* drafts must promise so much more than none */
#define SHARE 0.01     /* of all time may go into trying out */
#define STALE 256u     /* steps after which a figure is doubted */
#define KNOWN 2u       /* measurements of a plain step before anything is held against it */
#define ALLOWANCE 16.0 /* most plain steps' time that can be saved up */

/* What steps cost relative to each other before anything is known. */
static double assumed(uint32_t m) { return 1.0 + 0.2 * (double)(m - 1); }

/* Nearest measured number of tokens at or below m, and above it; 0: none. */
static uint32_t below(const struct slv_pace *p, uint32_t m) {
    while (m && p->ns[m] == 0.0)
        m--;
    return m;
}

static uint32_t above(const struct slv_pace *p, uint32_t m) {
    for (; m <= SLV_PACE_MAX; m++)
        if (p->ns[m] > 0.0) return m;
    return 0;
}

double slv_pace_cost(const struct slv_pace *p, uint32_t m) {
    uint32_t lo = below(p, m), hi = above(p, m);
    if (lo == m) return p->ns[m];
    if (!lo && !hi) return assumed(m);
    if (!lo) return p->ns[hi] * assumed(m) / assumed(hi);
    if (!hi) return p->ns[lo] * assumed(m) / assumed(lo);
    return p->ns[lo] + (p->ns[hi] - p->ns[lo]) * (double)(m - lo) / (double)(hi - lo);
}

void slv_pace_measured(struct slv_pace *p, uint32_t m, uint64_t ns) {
    double t = ns ? (double)ns : 1.0, old = slv_pace_cost(p, m);
    p->steps++;
    bool doubted = p->steps - p->at[m] > STALE;
    if (above(p, 1) && !(doubted && p->counted[m])) { /* one step that was held up says little */
        if (t > 2.0 * old) t = 2.0 * old;
        if (t < 0.5 * old) t = 0.5 * old;
    }
    double share = p->counted[m] < 4 || doubted ? 0.5 : 0.1;
    p->ns[m] = p->ns[m] > 0.0 ? p->ns[m] + share * (t - p->ns[m]) : t;
    p->at[m] = p->steps;
    p->counted[m]++;
    p->allowance += SHARE * (double)ns;
    double most = ALLOWANCE * slv_pace_cost(p, 1);
    if (p->allowance > most) p->allowance = most;
}

uint32_t slv_pace_choose(const struct slv_pace *p, const float *chance, uint32_t n, double extra_ns,
                         double *ret_rate) {
    double plain = 1.0 / slv_pace_cost(p, 1), best = plain, right = 1.0, tokens = 1.0;
    uint32_t k = 0;
    *ret_rate = plain;
    if (p->counted[1] < KNOWN || p->steps - p->at[1] > STALE)
        return 0; /* what all is held against */
    for (uint32_t i = 0; i < n && i + 2 <= SLV_PACE_MAX; i++) {
        right *= (double)chance[i];
        tokens += right;
        double rate = tokens / (slv_pace_cost(p, i + 2) + extra_ns * (double)(i + 1));
        if (rate > best && rate > GAIN * plain) {
            best = rate;
            k = i + 1;
        }
    }
    *ret_rate = best;
    return k;
}

uint32_t slv_pace_probe(struct slv_pace *p, const float *chance, uint32_t n, double extra_ns,
                        bool doubted) {
    double one = slv_pace_cost(p, 1), best = 0.0, loss = 0.0, right = 1.0, tokens = 1.0;
    uint32_t k = 0;
    if (p->counted[1] < KNOWN) return 0;
    for (uint32_t i = 0; i < n && i + 2 <= SLV_PACE_MAX; i++) {
        right *= (double)chance[i];
        tokens += right;
        double rate = tokens / (one * assumed(i + 2) + extra_ns * (double)(i + 1));
        if (rate <= best) continue;
        best = rate;
        k = i + 1;
        loss = slv_pace_cost(p, k + 1) + extra_ns * (double)k - one;
    }
    bool known = k && p->counted[k + 1] && p->steps - p->at[k + 1] <= STALE;
    if (!k || (known && !doubted) || best * one < GAIN || loss > p->allowance) return 0;
    if (loss > 0.0) p->allowance -= loss;
    return k;
}
