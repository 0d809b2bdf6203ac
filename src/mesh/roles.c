/* roles.c: see roles.h. */
#include "mesh/roles.h"

struct count {
    unsigned members, voters;
    unsigned good; /* voters that are not lost */
    unsigned able; /* members that could vote, or do */
};

static bool is_well(const struct slv_roles_member *m) {
    return !m->left && !m->removed && !m->hurt && !m->silent_ms;
}

static bool is_lost(const struct slv_roles_conf *c, const struct slv_roles_member *m) {
    return !is_well(m) && (m->left || m->removed || m->hurt || m->silent_ms >= c->dead_ms);
}

static struct count count(const struct slv_roles_conf *c, const struct slv_roles_member *m,
                          size_t n) {
    struct count k = {0};
    for (size_t i = 0; i < n; i++) {
        const bool votes = m[i].role == SLV_STRONG_VOTER, good = !is_lost(c, &m[i]);
        k.members += m[i].role != SLV_STRONG_GONE;
        k.voters += votes;
        k.good += votes && good;
        k.able += votes ? good : m[i].role != SLV_STRONG_GONE && is_well(&m[i]) && !m[i].mute;
    }
    return k;
}

static int slack(unsigned good, unsigned voters) { return (int)good - (int)(voters / 2 + 1); }

/* An odd number: one more is worth nothing. */
static unsigned wanted(const struct slv_roles_conf *c, const struct count *k) {
    const unsigned most = c->voters < k->able ? c->voters : k->able;
    return most ? most - (most % 2 == 0) : 1;
}

/* The one with the least of: how far it is, its id; of those that are what is asked. */
static const struct slv_roles_member *best(const struct slv_roles_member *m, size_t n,
                                           bool (*is)(const struct slv_roles_conf *,
                                                      const struct slv_roles_member *),
                                           const struct slv_roles_conf *c) {
    const struct slv_roles_member *b = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!is(c, &m[i])) continue;
        if (!b || m[i].rtt_us < b->rtt_us || (m[i].rtt_us == b->rtt_us && m[i].id < b->id))
            b = &m[i];
    }
    return b;
}

static bool can_vote(const struct slv_roles_conf *c, const struct slv_roles_member *m) {
    (void)c;
    return is_well(m) && !m->mute && (m->role == SLV_STRONG_LEARNER || m->role == SLV_STRONG_SPARE);
}

static bool is_removed(const struct slv_roles_conf *c, const struct slv_roles_member *m) {
    (void)c;
    return m->removed && m->role != SLV_STRONG_GONE;
}

static bool is_dead(const struct slv_roles_conf *c, const struct slv_roles_member *m) {
    return m->role == SLV_STRONG_VOTER && is_lost(c, m);
}

static bool is_gone(const struct slv_roles_conf *c, const struct slv_roles_member *m) {
    return m->role != SLV_STRONG_VOTER && m->role != SLV_STRONG_GONE && !is_well(m) &&
           m->silent_ms >= c->gone_ms;
}

static bool can_join(const struct slv_roles_conf *c, const struct slv_roles_member *m) {
    (void)c;
    return m->role == SLV_STRONG_GONE && m->ready && is_well(m);
}

static bool can_learn(const struct slv_roles_conf *c, const struct slv_roles_member *m) {
    (void)c;
    return m->role == SLV_STRONG_SPARE && is_well(m);
}

static bool change(const struct slv_roles_member *m, enum slv_strong_role role, uint64_t *ret_id,
                   enum slv_strong_role *ret_role) {
    if (!m) return false;
    *ret_id = m->id;
    *ret_role = role;
    return true;
}

/* The voter that is least worth having, and not `self`. */
static const struct slv_roles_member *worst(const struct slv_roles_member *m, size_t n,
                                            uint64_t self) {
    const struct slv_roles_member *w = NULL;
    for (size_t i = 0; i < n; i++) {
        if (m[i].role != SLV_STRONG_VOTER || m[i].id == self) continue;
        if (!w || is_well(w) > is_well(&m[i]) ||
            (is_well(w) == is_well(&m[i]) && m[i].rtt_us >= w->rtt_us))
            w = &m[i];
    }
    return w;
}

static bool any_hurt(const struct slv_roles_member *m, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (m[i].hurt && m[i].role != SLV_STRONG_GONE) return true;
    return false;
}

/* What there should be of voters. */
static bool next_voter(const struct slv_roles_conf *c, const struct slv_roles_member *m, size_t n,
                       uint64_t self, uint64_t *ret_id, enum slv_strong_role *ret_role) {
    const struct count k = count(c, m, n);
    /* (The second of two that are lost takes the slack up.) */
    const bool helps =
        slack(k.good, k.voters - 1) > slack(k.good, k.voters) || k.voters - k.good > 1;
    if (k.good < wanted(c, &k) &&
        change(best(m, n, can_vote, c), SLV_STRONG_VOTER, ret_id, ret_role))
        return true;
    if (helps && change(best(m, n, is_dead, c), SLV_STRONG_LEARNER, ret_id, ret_role)) return true;
    return k.voters > c->voters && change(worst(m, n, self), SLV_STRONG_LEARNER, ret_id, ret_role);
}

bool slv_roles_next(const struct slv_roles_conf *c, const struct slv_roles_member *m, size_t n,
                    uint64_t self, uint64_t *ret_id, enum slv_strong_role *ret_role) {
    const struct count k = count(c, m, n);
    if (any_hurt(m, n)) return false;
    if (change(best(m, n, is_removed, c), SLV_STRONG_GONE, ret_id, ret_role)) return true;
    if (next_voter(c, m, n, self, ret_id, ret_role)) return true;
    if (change(best(m, n, is_gone, c), SLV_STRONG_GONE, ret_id, ret_role)) return true;
    if (change(best(m, n, can_learn, c), SLV_STRONG_LEARNER, ret_id, ret_role)) return true;
    return k.members < c->most &&
           change(best(m, n, can_join, c), SLV_STRONG_LEARNER, ret_id, ret_role);
}

uint64_t slv_roles_heir(const struct slv_roles_member *m, size_t n, uint64_t self) {
    const struct slv_roles_member *h = NULL;
    for (size_t i = 0; i < n; i++) {
        if (m[i].role != SLV_STRONG_VOTER || m[i].id == self || !is_well(&m[i]) || m[i].mute)
            continue;
        if (!h || m[i].rtt_us < h->rtt_us) h = &m[i];
    }
    return h ? h->id : 0;
}
