/* swim_member.c: the table of members, its digest, and what becomes of a member; see swim_int.h. */
#include "base/mem.h"
#include "mesh/swim_int.h"

#define LAST_PINGS 3u /* of a suspect, before the least time of its suspicion ends */
#define UNANSWERED 6u /* pings and the like before silence means anything */

/* --- numbers ---------------------------------------------------------------------------------- */

/* (The finalizer of SplitMix64: Steele, Lea, Flood, 2014.) */
uint64_t swim_mix(uint64_t v) {
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
    v = (v ^ v >> 27) * 0x94d049bb133111ebu;
    return v ^ v >> 31;
}

/* The bits behind the point come one by one: squaring doubles a logarithm. */
uint64_t swim_log2(uint64_t v) {
    const unsigned whole = 63u - (unsigned)__builtin_clzll(v);
    uint64_t x = whole > 30 ? v >> (whole - 30) : v << (30 - whole); /* 1 to 2, 30 bits behind */
    uint64_t bits = whole;
    for (int i = 0; i < 10; i++) {
        x = x * x >> 30;
        bits = bits << 1 | x >> 31;
        if (x >> 31) x >>= 1;
    }
    return bits;
}

bool swim_pass(uint64_t *at, uint64_t now, uint64_t each, uint64_t burst) {
    if (*at > now + each * (burst - 1)) return false;
    *at = (*at > now ? *at : now) + each;
    return true;
}

/* --- the table -------------------------------------------------------------------------------- */

static size_t place(const struct slv_swim *s, uint64_t id) {
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (s->member[mid]->id < id) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

struct member *swim_find(const struct slv_swim *s, uint64_t id) {
    const size_t i = place(s, id);
    return i < s->n && s->member[i]->id == id ? s->member[i] : NULL;
}

size_t swim_live(const struct slv_swim *s) {
    return (size_t)s->c.members[SLV_SWIM_ALIVE] + s->c.members[SLV_SWIM_SUSPECT];
}

unsigned swim_bucket(uint64_t id) { return (unsigned)(swim_mix(id) >> 58); }

enum swim_class swim_class_of(const struct member *m) {
    if (m->state == SLV_SWIM_LEFT) return CLASS_LEFT;
    return m->state == SLV_SWIM_DEAD ? CLASS_DEAD : CLASS_ALIVE;
}

/* Into the digest, or out of it. */
static void toggle(struct slv_swim *s, const struct member *m) {
    if (m->state == SLV_SWIM_REMOVED) return;
    const uint64_t v = swim_mix(m->id ^ swim_mix(m->incarnation << 2 | swim_class_of(m)));
    s->sum[swim_bucket(m->id)] ^= (uint32_t)v;
    s->digest ^= v;
}

static int grow(struct slv_swim *s) {
    struct member ***const array[] = {&s->member, &s->order, &s->queue};
    size_t room = s->room;
    for (int i = 0; i < 3; i++) {
        void *p = *array[i];
        room = s->room;
        const int rc = slv_mem_grow(&p, s->n, &room, sizeof(struct member *), s->conf.max);
        *array[i] = p;
        if (rc) return rc;
    }
    s->room = room;
    return 0;
}

/* Who goes when there is no more room: who left longest ago, or else has been dead the longest. */
static bool evict(struct slv_swim *s) {
    struct member *oldest = NULL;
    for (size_t i = 0; i < s->n; i++) {
        struct member *m = s->member[i];
        if (m == s->self || (m->state != SLV_SWIM_LEFT && m->state != SLV_SWIM_DEAD)) continue;
        if (!oldest || m->state > oldest->state ||
            (m->state == oldest->state && m->since < oldest->since))
            oldest = m;
    }
    if (oldest) swim_erase(s, oldest);
    return oldest != NULL;
}

int swim_insert(struct slv_swim *s, uint64_t id, struct member **ret) {
    if (s->n == s->conf.max && !evict(s)) return SLV_E_LIMIT;
    const int rc = grow(s);
    if (rc) return rc;
    struct member *m = slv_mem_calloc(1, sizeof *m);
    if (!m) return SLV_E_NOMEM;
    const size_t at = place(s, id);
    m->id = id;
    m->state = SLV_SWIM_REMOVED;
    s->c.members[SLV_SWIM_REMOVED]++;
    memmove(s->member + at + 1, s->member + at, (s->n - at) * sizeof m);
    s->member[at] = m;
    s->n++;
    if (id != s->conf.id) { /* at a random place of the round */
        const size_t k = (size_t)below(s, s->n_order + 1);
        s->order[s->n_order++] = s->order[k];
        s->order[k] = m;
    }
    *ret = m;
    return 0;
}

void swim_erase(struct slv_swim *s, struct member *m) {
    const size_t at = place(s, m->id);
    size_t k = 0;
    swim_dequeue(s, m);
    toggle(s, m);
    s->c.members[m->state]--;
    memmove(s->member + at, s->member + at + 1, (s->n - at - 1) * sizeof m);
    s->n--;
    while (s->order[k] != m)
        k++;
    memmove(s->order + k, s->order + k + 1, (s->n_order - k - 1) * sizeof m);
    s->n_order--;
    if (k < s->order_at) s->order_at--;
    slv_mem_free(m->record);
    slv_mem_free(m);
}

/* --- states ----------------------------------------------------------------------------------- */

void swim_become(struct slv_swim *s, uint64_t now, struct member *m, enum slv_swim_state state,
                 uint64_t incarnation) {
    const enum slv_swim_state old = (enum slv_swim_state)m->state;
    if (old == state && m->incarnation == incarnation) return;
    const enum swim_class was = swim_class_of(m);
    const bool is_known = old != SLV_SWIM_REMOVED && m->incarnation == incarnation;
    toggle(s, m);
    s->c.members[old]--;
    s->c.members[state]++;
    if (old == SLV_SWIM_ALIVE) m->down = now;
    m->state = (uint8_t)state;
    m->incarnation = incarnation;
    m->since = now;
    toggle(s, m);
    if (!is_known || was != swim_class_of(m)) s->changed = now;
    if (state != SLV_SWIM_SUSPECT && state != SLV_SWIM_DEAD) m->accusers = 0;
    m->asked = 0;
    if (state == SLV_SWIM_DEAD) swim_died(s, now, m);
    if (old == SLV_SWIM_DEAD && state == SLV_SWIM_ALIVE) swim_heat(s, now);
    if (m != s->self && s->conf.on_change)
        s->conf.on_change(s->conf.ctx, m->id, state, incarnation);
}

int swim_keep(struct member *m, const struct slv_swim_record *r) {
    uint8_t *p = slv_mem_alloc(SLV_SWIM_SIGNATURE + r->data.n);
    if (!p) return SLV_E_NOMEM;
    memcpy(p, r->signature, SLV_SWIM_SIGNATURE);
    if (r->data.n) memcpy(p + SLV_SWIM_SIGNATURE, r->data.p, r->data.n);
    slv_mem_free(m->record);
    m->record = p;
    m->record_n = (uint16_t)r->data.n;
    return 0;
}

int swim_announce(struct slv_swim *s, uint64_t now, uint64_t incarnation, struct slv_str record,
                  bool left) {
    uint8_t signature[SLV_SWIM_SIGNATURE];
    struct slv_swim_record r = {s->conf.id, incarnation, left, record, NULL};
    if (incarnation > SLV_SWIM_INCARNATION_MAX) return SLV_E_LIMIT;
    int rc = s->conf.sign(s->conf.ctx, &r, signature);
    r.signature = signature;
    if (!rc) rc = swim_keep(s->self, &r);
    if (rc) return rc;
    swim_become(s, now, s->self, left ? SLV_SWIM_LEFT : SLV_SWIM_ALIVE, incarnation);
    swim_enqueue(s, s->self);
    return 0;
}

/* Limited, as whoever lies about us makes us sign: what is left out is done by a tick, well within
 * the least suspicion. Local health pays for few of them, so that lies do not make us slow. */
void swim_refute(struct slv_swim *s, uint64_t now) {
    const struct member *m = s->self;
    const struct slv_str record = {(const char *)m->record + SLV_SWIM_SIGNATURE, m->record_n};
    s->must_refute = true;
    if (!swim_pass(&s->refute_at, now, s->conf.period_ms * MS / 4, 2)) return;
    const int rc = swim_announce(s, now, m->incarnation + 1, record, false);
    if (rc) {
        if (!s->status) s->status = rc;
        return;
    }
    s->must_refute = false;
    s->c.refutations++;
    if (swim_pass(&s->blame_at, now, 10 * s->conf.period_ms * MS, 1)) swim_worse(s, 1);
}

/* --- suspicion -------------------------------------------------------------------------------- */

static bool add_accuser(const struct slv_swim *s, struct member *m, uint64_t id) {
    const struct member *a = swim_find(s, id);
    size_t at = 0;
    if (!a || a == m || !is_up(a) || m->accusers == ACCUSERS) return false;
    while (at < m->accusers && m->accuser[at] < id)
        at++;
    if (at < m->accusers && m->accuser[at] == id) return false;
    memmove(m->accuser + at + 1, m->accuser + at, (m->accusers - at) * sizeof id);
    m->accuser[at] = id;
    m->accusers++;
    return true;
}

void swim_accuse(struct slv_swim *s, uint64_t now, struct member *m, const uint64_t *accuser,
                 size_t n) {
    bool is_new = false;
    for (size_t i = 0; i < n; i++)
        if (add_accuser(s, m, accuser[i])) is_new = true;
    if (!is_new) return;
    if (m->state == SLV_SWIM_ALIVE) {
        s->c.suspected++;
        swim_become(s, now, m, SLV_SWIM_SUSPECT, m->incarnation);
    }
    swim_enqueue(s, m);
}

/* max - (max - min) * log(c + 1) / log(k + 1), for c of k confirmations, and the least it can be */
static uint64_t deadline(const struct slv_swim *s, const struct member *m, uint64_t *ret_least) {
    const uint64_t live = swim_live(s), log10 = swim_log2(live) * 308 / 1024;
    const uint64_t least = swim_period(s) * s->conf.alpha_pct / 100 *
                           (log10 > 1024 ? log10 : 1024) / 1024 *
                           (s->isolated ? s->conf.isolated_by : 1);
    const uint64_t most = least * s->conf.beta, c = m->accusers ? m->accusers - 1u : 0;
    uint64_t k = s->conf.confirms, last = least;
    if (k + 2 > live) k = live > 2 ? live - 2 : 0;
    if (c < k && !is_off(s, SLV_SWIM_NO_DYNAMIC))
        last = most - (most - least) * swim_log2(c + 1) / swim_log2(k + 1);
    *ret_least = m->since + least;
    return m->since + last;
}

static void die(struct slv_swim *s, uint64_t now, struct member *m) {
    s->c.deaths++;
    if (!add_accuser(s, m, s->conf.id) && m->accusers == ACCUSERS) {
        bool is_ours = false;
        for (size_t i = 0; i < ACCUSERS; i++)
            is_ours = is_ours || m->accuser[i] == s->conf.id;
        if (!is_ours) {
            m->accusers--;
            (void)add_accuser(s, m, s->conf.id);
        }
    }
    swim_become(s, now, m, SLV_SWIM_DEAD, m->incarnation);
    swim_enqueue(s, m);
}

/* Nobody is dead who was not asked by ourselves, at the last and in vain: what others say, and the
 * loss of a datagram, are not enough. It is asked before the least time is over, so that nothing is
 * lost when the suspicion is confirmed, and once more where it lasts longer. Returns when to look
 * again; that is now: it is over. */
static uint64_t ask_last(struct slv_swim *s, uint64_t now, struct member *m, uint64_t least,
                         uint64_t end) {
    const uint64_t ack = swim_ack_time(s, m);
    for (;;) {
        const uint64_t left = m->asked < LAST_PINGS ? ack * (LAST_PINGS - m->asked) : ack;
        const uint64_t by = m->asked < LAST_PINGS ? least : end, at = by > left ? by - left : 0;
        const uint64_t may = m->asked ? m->asked_at + ack : 0, when = at > may ? at : may;
        if (m->asked >= LAST_PINGS && when < m->asked_at + LAST_PINGS * ack)
            return end > may ? end : may;
        if (when > now) return when;
        m->asked = m->asked < LAST_PINGS ? (uint8_t)(m->asked + 1) : LAST_PINGS;
        m->asked_at = now;
        swim_ping(s, now, m->id, ++s->seq);
    }
}

uint64_t swim_suspicions(struct slv_swim *s, uint64_t now) {
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; s->c.members[SLV_SWIM_SUSPECT] && i < s->n; i++) {
        struct member *m = s->member[i];
        if (m->state != SLV_SWIM_SUSPECT) continue;
        uint64_t least, end = deadline(s, m, &least);
        if (!is_off(s, SLV_SWIM_NO_BUDDY)) end = ask_last(s, now, m, least, end);
        if (end <= now) die(s, now, m);
        else if (end < next) next = end;
    }
    return next;
}

void swim_sign_of_life(struct slv_swim *s, uint64_t now, struct member *m) {
    m->heard = now;
    if (m->state != SLV_SWIM_SUSPECT || is_off(s, SLV_SWIM_NO_BUDDY)) return;
    s->c.cleared++;
    swim_dequeue(s, m);
    swim_become(s, now, m, SLV_SWIM_ALIVE, m->incarnation);
}

/* --- are we cut off? -------------------------------------------------------------------------- */

void swim_check_isolated(struct slv_swim *s, uint64_t now) {
    size_t known = 0, down = 0;
    if (is_off(s, SLV_SWIM_NO_HEALTH)) return;
    for (size_t i = 0; i < s->n; i++) {
        const struct member *m = s->member[i];
        const bool lost = m->state == SLV_SWIM_SUSPECT || m->state == SLV_SWIM_DEAD;
        const bool lately = lost && m->down && now - m->down < s->conf.window_ms * MS;
        if (m == s->self) continue;
        down += lately;
        known += m->state == SLV_SWIM_ALIVE || lately;
    }
    const bool others = swim_live(s) > 1 || s->c.members[SLV_SWIM_DEAD];
    const uint64_t silence = s->conf.silence_ms * MS, three = 3 * swim_period(s);
    const bool silent = others && s->unanswered >= UNANSWERED &&
                        now - s->acked > (silence > three ? silence : three);
    const bool is = silent || (down > 1 && down * 2 > known);
    if (is == s->isolated) return;
    s->isolated = is;
    if (s->conf.on_isolated) s->conf.on_isolated(s->conf.ctx, is);
}
