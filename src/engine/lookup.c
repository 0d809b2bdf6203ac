/* lookup.c: see lookup.h.
 *
 * For each level L a hash table maps the L tokens that end at a position to the last such position,
 * and `prev` leads from there to the one before with the same tokens:
 *
 *     table[L]: slot -> position + 1, 0 empty          prev[L][position] -> earlier position
 *
 * A query needs no hash: the token added last has left its predecessor in prev. Taking the last
 * token back undoes exactly what adding it did, in reverse order, so that linear probing needs no
 * tombstones: whatever was placed behind it is gone already. */
#include "engine/lookup.h"
#include "base/mem.h"

#include <string.h>

#define LEVELS SLV_LOOKUP_LEVELS
#define NONE UINT32_MAX
#define NOT_PLACED (UINT32_MAX - 1) /* the table was too crowded there */
#define PROBES 64
#define BASE 0x9e3779b97f4a7c15u /* odd */
#define LONGEST 32               /* tokens that are compared to tell a match's length */

const uint8_t slv_lookup_level[LEVELS] = {2, 3, 4, 6, 8, 12, 16, 24};

/* Kinds of prediction, each with its own experience: how much before it is the same (or, where a
 * copy has departed, for how many tokens it has been right since), and what followed the same few
 * tokens (AGREE_LEVEL) at other places, most recently. Where a table goes on, the same few tokens
 * are followed by other values each time: there a long match says little. */
enum { ELSEWHERE_OTHER, ELSEWHERE_MIXED, ELSEWHERE_SAME, ELSEWHERE_FEW, ELSEWHERE };
#define DEPARTED LEVELS
#define RUNS (LEVELS + 4)
#define KINDS (RUNS * ELSEWHERE)
#define AGREE_LEVEL 1 /* place in slv_lookup_level */

/* What is assumed before there is experience; weighs as much as PRIOR predictions. */
#define PRIOR 3.0f
static const float assumed[RUNS] = {0.25f, 0.35f, 0.45f, 0.6f, 0.7f, 0.8f,
                                    0.85f, 0.9f,  0.3f,  0.4f, 0.5f, 0.6f /* departed */};
static const float assumed_elsewhere[ELSEWHERE] = {0.4f, 0.8f, 1.0f, 1.0f};
#define MEMORY 96.0f /* predictions after which older ones begin to fade */

struct experience {
    float right, all;
};

/* A copy in progress: `next` is what would follow in its source. */
struct copy {
    bool on, departed;
    uint32_t next, since; /* since: right ones since it departed */
    uint32_t credit;      /* how far it is believed: grows with right tokens, shrinks with wrong */
};

struct slv_lookup {
    uint32_t n, n_ctx, mask;
    int32_t *ids;     /* [n_ctx] */
    uint64_t *prefix; /* [n_ctx + 1]: polynomial of ids[0..i) */
    uint32_t *table[LEVELS], *prev[LEVELS];
    uint64_t power[LEVELS]; /* BASE^level */
    struct copy copy;
    struct experience seen[KINDS];
};

/* --- memory ----------------------------------------------------------------------------------- */

static bool slots_for(uint32_t n_ctx, size_t *ret) {
    size_t want = (size_t)n_ctx + n_ctx / 2, n = 16;
    while (n < want)
        n *= 2;
    *ret = n;
    return n <= (size_t)1 << 31;
}

/* Bytes of all arrays of n_ctx positions. */
static bool array_bytes(uint32_t n_ctx, size_t slots, size_t *ret) {
    size_t a, b;
    size_t position = sizeof(int32_t) + sizeof(uint64_t) + LEVELS * sizeof(uint32_t);
    return slv_size_mul((size_t)n_ctx + 1, position, &a) &&
           slv_size_mul(slots, LEVELS * sizeof(uint32_t), &b) && slv_size_add(a, b, ret);
}

size_t slv_lookup_bytes(uint32_t n_ctx) {
    size_t slots, n;
    if (!slots_for(n_ctx, &slots) || !array_bytes(n_ctx, slots, &n)) return 0;
    return n + sizeof(struct slv_lookup);
}

int slv_lookup_open(uint32_t n_ctx, struct slv_lookup **ret) {
    size_t slots;
    if (!slots_for(n_ctx, &slots)) return SLV_E_NOMEM;
    struct slv_lookup *l = slv_mem_calloc(1, sizeof *l);
    if (!l) return SLV_E_NOMEM;
    l->n_ctx = n_ctx;
    l->mask = (uint32_t)(slots - 1);
    l->ids = slv_mem_calloc(n_ctx, sizeof *l->ids);
    l->prefix = slv_mem_calloc((size_t)n_ctx + 1, sizeof *l->prefix);
    bool whole = l->ids && l->prefix;
    for (size_t i = 0; i < LEVELS; i++) {
        l->table[i] = slv_mem_calloc(slots, sizeof *l->table[i]);
        l->prev[i] = slv_mem_calloc(n_ctx, sizeof *l->prev[i]);
        whole = whole && l->table[i] && l->prev[i];
        l->power[i] = 1;
        for (size_t k = 0; k < slv_lookup_level[i]; k++)
            l->power[i] *= BASE;
    }
    if (!whole) {
        slv_lookup_close(l);
        return SLV_E_NOMEM;
    }
    for (size_t i = 0; i < KINDS; i++)
        l->seen[i] = (struct experience){.right = PRIOR * assumed[i / ELSEWHERE] *
                                                  assumed_elsewhere[i % ELSEWHERE],
                                         .all = PRIOR};
    *ret = l;
    return 0;
}

void slv_lookup_close(struct slv_lookup *l) {
    if (!l) return;
    for (size_t i = 0; i < LEVELS; i++) {
        slv_mem_free(l->table[i]);
        slv_mem_free(l->prev[i]);
    }
    slv_mem_free(l->ids);
    slv_mem_free(l->prefix);
    slv_mem_free(l);
}

uint32_t slv_lookup_size(const struct slv_lookup *l) { return l->n; }

/* --- the index -------------------------------------------------------------------------------- */

/* First slot to look at for the tokens of a level that end at `at`. */
static uint32_t slot_of(const struct slv_lookup *l, size_t level, uint32_t at) {
    uint64_t h = l->prefix[at + 1] - l->prefix[at + 1 - slv_lookup_level[level]] * l->power[level];
    h = (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9u;
    return (uint32_t)(h >> 32) & l->mask;
}

static bool same(const struct slv_lookup *l, size_t level, uint32_t a, uint32_t b) {
    size_t n = slv_lookup_level[level];
    return !memcmp(l->ids + (a + 1 - n), l->ids + (b + 1 - n), n * sizeof *l->ids);
}

static void place(struct slv_lookup *l, size_t level, uint32_t at) {
    uint32_t slot = slot_of(l, level, at), *t = l->table[level];
    for (size_t i = 0; i < PROBES; i++, slot = (slot + 1) & l->mask) {
        if (t[slot] && !same(l, level, t[slot] - 1, at)) continue;
        l->prev[level][at] = t[slot] ? t[slot] - 1 : NONE;
        t[slot] = at + 1;
        return;
    }
    l->prev[level][at] = NOT_PLACED;
}

static void unplace(struct slv_lookup *l, size_t level, uint32_t at) {
    uint32_t slot = slot_of(l, level, at), *t = l->table[level], before = l->prev[level][at];
    if (before == NOT_PLACED) return;
    while (t[slot] != at + 1)
        slot = (slot + 1) & l->mask;
    t[slot] = before == NONE ? 0 : before + 1;
}

static void append(struct slv_lookup *l, int32_t id) {
    uint32_t at = l->n++;
    l->ids[at] = id;
    l->prefix[at + 1] = l->prefix[at] * BASE + (uint32_t)id + 1;
    for (size_t i = 0; i < LEVELS; i++)
        if (l->n >= slv_lookup_level[i]) place(l, i, at);
        else l->prev[i][at] = NONE;
}

void slv_lookup_rewind(struct slv_lookup *l, uint32_t n) {
    while (l->n > n) {
        uint32_t at = l->n - 1;
        for (size_t i = 0; i < LEVELS; i++)
            if (l->n >= slv_lookup_level[i]) unplace(l, i, at);
        l->n--;
        l->copy.on = false;
    }
}

/* The last occurrence of the tokens of a level that end at `at`, or NONE. */
static uint32_t latest(const struct slv_lookup *l, size_t level, uint32_t at) {
    uint32_t slot = slot_of(l, level, at);
    const uint32_t *t = l->table[level];
    for (size_t i = 0; i < PROBES && t[slot]; i++, slot = (slot + 1) & l->mask)
        if (same(l, level, t[slot] - 1, at)) return t[slot] - 1;
    return NONE;
}

/* The last of the occurrences from `at` on backwards that went on with what most did. */
static uint32_t vote(const struct slv_lookup *l, size_t level, uint32_t at) {
    uint32_t next[SLV_LOOKUP_VOTES], votes[SLV_LOOKUP_VOTES] = {0}, n = 0, best = 0, asked = 0;
    for (; at < NOT_PLACED && asked < SLV_LOOKUP_VOTES; at = l->prev[level][at], asked++) {
        uint32_t i = 0;
        while (i < n && l->ids[next[i]] != l->ids[at + 1])
            i++;
        if (i == n) next[n++] = at + 1;
        votes[i]++;
    }
    for (uint32_t i = 1; i < n; i++)
        if (votes[i] > votes[best]) best = i;
    return next[best];
}

bool slv_lookup_find(const struct slv_lookup *l, struct slv_lookup_match *ret) {
    for (size_t i = LEVELS; l->n && i-- > 0;) {
        uint32_t at = l->prev[i][l->n - 1];
        if (at >= NOT_PLACED) continue;
        *ret = (struct slv_lookup_match){.level = (uint32_t)i, .next = vote(l, i, at)};
        return true;
    }
    return false;
}

/* --- predictions and experience --------------------------------------------------------------- */

static float chance_of(const struct slv_lookup *l, size_t kind) {
    return l->seen[kind].right / l->seen[kind].all;
}

static void learn(struct slv_lookup *l, size_t kind, bool right) {
    struct experience *e = &l->seen[kind];
    if (e->all >= MEMORY) {
        e->right *= 1.0f - 1.0f / MEMORY;
        e->all *= 1.0f - 1.0f / MEMORY;
    }
    e->right += right ? 1.0f : 0.0f;
    e->all += 1.0f;
}

/* What followed the tokens before `next` elsewhere, against the token there. */
static size_t elsewhere(const struct slv_lookup *l, uint32_t next) {
    uint32_t asked = 0, same_token = 0;
    if (next < slv_lookup_level[AGREE_LEVEL]) return ELSEWHERE_FEW;
    uint32_t at = latest(l, AGREE_LEVEL, next - 1);
    for (; at < NOT_PLACED && asked < SLV_LOOKUP_VOTES; at = l->prev[AGREE_LEVEL][at]) {
        if (at + 1 >= l->n) continue;
        asked++;
        same_token += l->ids[at + 1] == l->ids[next];
    }
    if (asked == same_token) return asked < 3 ? ELSEWHERE_FEW : ELSEWHERE_SAME;
    return same_token * 2 < asked ? ELSEWHERE_OTHER : ELSEWHERE_MIXED;
}

static size_t departed_run(uint32_t since) { return DEPARTED + (since < 3 ? since : 3); }

/* The run of a prediction after so many equal tokens. */
static size_t agreed_run(uint32_t len) {
    size_t level = 0;
    while (level + 1 < LEVELS && slv_lookup_level[level + 1] <= len)
        level++;
    return level;
}

static size_t kind_of(const struct slv_lookup *l, size_t run, uint32_t next) {
    return run * ELSEWHERE + elsewhere(l, next);
}

/* How many tokens before `next` equal those at the end, up to LONGEST. */
static uint32_t length(const struct slv_lookup *l, uint32_t next) {
    uint32_t k = 0;
    while (k < LONGEST && k < next && l->ids[next - 1 - k] == l->ids[l->n - 1 - k])
        k++;
    return k;
}

/* The copy goes on, or survives a departure if it has been right for long. */
static void follow(struct copy *c, bool right) {
    c->next++;
    if (right) {
        c->since++;
        if (c->credit < LONGEST) c->credit++;
        return;
    }
    c->departed = true;
    c->since = 0;
    c->credit /= 2;
    c->on = c->credit >= 2;
}

/* The copy after `id`: that of the prediction if it was right, or else the one in progress, or the
 * one that has just failed, which may yet go on behind the difference. */
static void update_copy(struct slv_lookup *l, int32_t id, const struct slv_lookup_match *m) {
    struct copy *c = &l->copy;
    uint32_t len = m ? length(l, m->next) : 0;
    bool right = c->on && l->ids[c->next] == id, found = m && l->ids[m->next] == id;
    if (found && !(right && c->credit > len)) {
        *c = (struct copy){.on = true, .next = m->next + 1, .since = len + 1, .credit = len + 1};
        if (c->credit > LONGEST) c->credit = LONGEST;
        return;
    }
    if (!c->on && m) *c = (struct copy){.on = true, .next = m->next, .since = len, .credit = len};
    if (c->on) follow(c, right);
}

void slv_lookup_add(struct slv_lookup *l, int32_t id) {
    struct slv_lookup_match m;
    const struct copy *c = &l->copy;
    bool found = slv_lookup_find(l, &m);
    if (found) learn(l, kind_of(l, m.level, m.next), l->ids[m.next] == id);
    if (c->on && c->departed)
        learn(l, kind_of(l, departed_run(c->since), c->next), l->ids[c->next] == id);
    update_copy(l, id, found ? &m : NULL);
    append(l, id);
}

void slv_lookup_sync(struct slv_lookup *l, const int32_t *history, uint32_t n) {
    uint32_t k = 0, both = n < l->n ? n : l->n;
    while (k < both && l->ids[k] == history[k])
        k++;
    slv_lookup_rewind(l, k);
    if (k < n) l->copy.on = false;
    while (l->n < n)
        append(l, history[l->n]);
}

uint32_t slv_lookup_propose(const struct slv_lookup *l, uint32_t most, int32_t *ids,
                            float *chance) {
    struct slv_lookup_match m = {0};
    const struct copy *c = &l->copy;
    bool found = slv_lookup_find(l, &m), departed = false;
    float best = found ? chance_of(l, kind_of(l, m.level, m.next)) : 0.0f;
    if (c->on && c->departed)
        departed = chance_of(l, kind_of(l, departed_run(c->since), c->next)) > best;
    if (!found && !departed) return 0;
    uint32_t from = departed ? c->next : m.next;
    uint32_t len = departed ? c->since : length(l, from);
    for (uint32_t i = 0; i < most; i++) {
        uint32_t next = from + i;
        while (next >= l->n) /* a source that reaches the end goes on in the copy */
            next -= l->n - from;
        size_t run = departed && len + i < 3 ? departed_run(len + i) : agreed_run(len + i);
        ids[i] = l->ids[next];
        chance[i] = chance_of(l, kind_of(l, run, next));
    }
    if (!departed && most) chance[0] = best;
    return most;
}
