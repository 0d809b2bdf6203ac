/* number.c: see number.h. */
#include "engine/constraint/number.h"

#include <string.h>

#define INT_DIGITS 21
#define DOUBLE_DIGITS 15u  /* any decimal of so many reads back from a double */
#define FREE_INT 18u       /* digits before the point of a number of any kind: it fits 64 bits */
#define FREE_FRAC 20u      /* and behind it */
#define FREE_EXPONENT 250u /* exponents are smaller: no double overflows */
#define TRIES 1000         /* multiples of a step that may be multiples of forbidden ones */

const slv_decimal SLV_DECIMAL_ONE = (slv_decimal)10000000000000000;
const slv_decimal SLV_DECIMAL_MAX =
    (slv_decimal)10000000000000000 * (slv_decimal)1000000000000000 * 1000000;

static const struct slv_number_part all_part = {
    -(slv_decimal)10000000000000000 * (slv_decimal)1000000000000000 * 1000000,
    (slv_decimal)10000000000000000 * (slv_decimal)1000000000000000 * 1000000, 0, NULL, 0};
const struct slv_numbers slv_numbers_all = {&all_part, 1, true};
const struct slv_numbers slv_numbers_none = {NULL, 0, false};

/* --- decimals --------------------------------------------------------------------------------- */

static bool digit(char c) { return c >= '0' && c <= '9'; }

/* What of the text matters: sign, digits without the point, and the power of ten of the last
 * one. */
struct parsed {
    bool negative, cut; /* cut: digits past those that are kept are not all zero */
    unsigned __int128 digits;
    long power;
};

#define KEPT 37

static bool parse(const char *s, size_t n, struct parsed *ret) {
    size_t i = 0;
    long exponent = 0, sign = 1;
    unsigned kept = 0;
    bool any = false, point = false;
    *ret = (struct parsed){0};
    if (i < n && s[i] == '-') ret->negative = s[i++] == '-';
    for (; i < n && (digit(s[i]) || (s[i] == '.' && !point)); i++) {
        if (s[i] == '.') {
            point = true;
            continue;
        }
        any = true;
        if (kept < KEPT) {
            ret->digits = ret->digits * 10 + (unsigned)(s[i] - '0');
            kept += ret->digits != 0;
            ret->power -= point;
        } else {
            ret->cut = ret->cut || s[i] != '0';
            ret->power += !point;
        }
    }
    if (i < n && (s[i] | 32) == 'e') {
        i++;
        if (i < n && (s[i] == '-' || s[i] == '+')) sign = s[i++] == '-' ? -1 : 1;
        if (i == n) return false;
        for (; i < n && digit(s[i]); i++)
            if (exponent < 100000) exponent = exponent * 10 + (s[i] - '0');
    }
    ret->power += sign * exponent;
    return any && i == n;
}

bool slv_decimal_read(const char *s, size_t n, bool up, slv_decimal *ret, bool *ret_exact) {
    struct parsed x;
    if (!parse(s, n, &x)) return false;
    long shift = x.power + SLV_DECIMALS;
    const unsigned __int128 max = (unsigned __int128)SLV_DECIMAL_MAX;
    bool over = false;
    for (; shift > 0 && x.digits && !over; shift--) {
        over = x.digits > max / 10;
        if (!over) x.digits *= 10;
    }
    for (; shift < 0 && (x.digits || x.cut); shift++) {
        x.cut = x.cut || x.digits % 10 != 0;
        x.digits /= 10;
        if (!x.digits && x.cut) break;
    }
    if (x.cut && !over && up != x.negative) x.digits++;
    over = over || x.digits > max;
    *ret_exact = !over && !x.cut;
    *ret = (slv_decimal)(over ? max : x.digits);
    if (x.negative) *ret = -*ret;
    return true;
}

static slv_decimal gcd(slv_decimal a, slv_decimal b) {
    while (b) {
        const slv_decimal t = a % b;
        a = b;
        b = t;
    }
    return a;
}

/* The least common multiple; 0 if it is past all numbers. */
static slv_decimal lcm(slv_decimal a, slv_decimal b) {
    if (a == b || b == 1) return a;
    if (a % b == 0) return a;
    if (b % a == 0) return b;
    const slv_decimal q = a / gcd(a, b);
    return q > SLV_DECIMAL_MAX / b ? 0 : q * b;
}

/* --- sets ------------------------------------------------------------------------------------- */

static slv_decimal least(slv_decimal a, slv_decimal b) { return a < b ? a : b; }
static slv_decimal most_of(slv_decimal a, slv_decimal b) { return a > b ? a : b; }

static bool forbidden(const struct slv_number_part *p, slv_decimal v) {
    for (uint32_t i = 0; i < p->n_not; i++)
        if (v % p->not_steps[i] == 0) return true;
    return false;
}

/* The smallest number of the part in [a, b] that is a multiple of grain. */
static bool first_in(const struct slv_number_part *p, slv_decimal a, slv_decimal b,
                     slv_decimal grain, slv_decimal *ret) {
    slv_decimal step = p->step ? lcm(p->step, grain) : grain;
    if (!step) step = SLV_DECIMAL_MAX + 1; /* of which 0 alone is a multiple */
    a = most_of(a, p->lo);
    b = least(b, p->hi);
    slv_decimal v = a / step * step;
    if (v < a) v += step;
    for (int i = 0; i < TRIES && v <= b; i++, v += step) {
        if (!forbidden(p, v)) return *ret = v, true;
    }
    return false;
}

static bool any_in(const struct slv_numbers *x, slv_decimal a, slv_decimal b, slv_decimal grain) {
    slv_decimal v;
    if (a > b) return false;
    for (uint32_t i = 0; i < x->n; i++)
        if (first_in(&x->v[i], a, b, grain, &v)) return true;
    return false;
}

bool slv_numbers_has(const struct slv_numbers *x, slv_decimal v) { return any_in(x, v, v, 1); }

static bool same_part(const struct slv_number_part *a, const struct slv_number_part *b) {
    return a->lo == b->lo && a->hi == b->hi && a->step == b->step && a->n_not == b->n_not &&
           !memcmp(a->not_steps ? a->not_steps : &a->lo, b->not_steps ? b->not_steps : &a->lo,
                   a->n_not * sizeof(slv_decimal));
}

/* Puts p into v[0..*n) unless it is empty or there; false if there is no room. */
static bool put(struct slv_number_part *v, uint32_t *n, struct slv_number_part p) {
    slv_decimal at;
    if (!first_in(&p, p.lo, p.hi, 1, &at)) return true;
    for (uint32_t i = 0; i < *n; i++)
        if (same_part(&v[i], &p)) return true;
    if (*n == SLV_NUMBER_PARTS) return false;
    v[(*n)++] = p;
    return true;
}

static const struct slv_numbers *finish(struct slv_arena *a, const struct slv_number_part *v,
                                        uint32_t n) {
    struct slv_numbers *r = slv_arena_alloc(a, sizeof *r);
    struct slv_number_part *keep = slv_arena_calloc(a, n ? n : 1, sizeof *keep);
    if (!r || !keep) return NULL;
    if (n) memcpy(keep, v, n * sizeof *v);
    *r = (struct slv_numbers){keep, n, false};
    for (uint32_t i = 0; i < n; i++)
        r->free = r->free || same_part(&v[i], &all_part);
    return r;
}

const struct slv_numbers *slv_numbers_range(struct slv_arena *a, slv_decimal lo, slv_decimal hi) {
    const struct slv_number_part p = {lo, hi, 0, NULL, 0};
    return finish(a, &p, lo <= hi);
}

const struct slv_numbers *slv_numbers_multiples(struct slv_arena *a, slv_decimal step) {
    const struct slv_number_part p = {-SLV_DECIMAL_MAX, SLV_DECIMAL_MAX, step, NULL, 0};
    return finish(a, &p, 1);
}

/* The intersection of two parts; *ret_empty where it has none by form. False out of memory. */
static bool part_and(struct slv_arena *a, const struct slv_number_part *x,
                     const struct slv_number_part *y, struct slv_number_part *ret) {
    *ret = (struct slv_number_part){most_of(x->lo, y->lo), least(x->hi, y->hi),
                                    x->step ? x->step : y->step, NULL, x->n_not + y->n_not};
    if (x->step && y->step) {
        ret->step = lcm(x->step, y->step);
        if (!ret->step) { /* of which 0 alone is a multiple */
            ret->step = 1;
            ret->lo = most_of(ret->lo, 0);
            ret->hi = least(ret->hi, 0);
        }
    }
    if (!ret->n_not) return true;
    slv_decimal *v = slv_arena_calloc(a, ret->n_not, sizeof *v);
    if (!v) return false;
    uint32_t n = 0;
    const struct slv_number_part *both[] = {x, y};
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 0; i < both[k]->n_not; i++) {
            uint32_t j = 0;
            while (j < n && v[j] != both[k]->not_steps[i])
                j++;
            if (j == n) v[n++] = both[k]->not_steps[i];
        }
    ret->not_steps = v;
    ret->n_not = n;
    for (uint32_t i = 0; i < n; i++) /* every multiple of the one is one of the other */
        if (ret->step && ret->step % v[i] == 0) ret->hi = ret->lo - 1;
    return true;
}

const struct slv_numbers *slv_numbers_and(struct slv_arena *a, const struct slv_numbers *x,
                                          const struct slv_numbers *y) {
    struct slv_number_part v[SLV_NUMBER_PARTS], p;
    uint32_t n = 0;
    if (x->free || !y->n) return y;
    if (y->free || !x->n) return x;
    for (uint32_t i = 0; i < x->n; i++)
        for (uint32_t j = 0; j < y->n; j++)
            if (!part_and(a, &x->v[i], &y->v[j], &p) || !put(v, &n, p)) return NULL;
    return finish(a, v, n);
}

const struct slv_numbers *slv_numbers_or(struct slv_arena *a, const struct slv_numbers *x,
                                         const struct slv_numbers *y) {
    struct slv_number_part v[SLV_NUMBER_PARTS];
    uint32_t n = 0;
    if (x->free || !y->n) return x;
    if (y->free || !x->n) return y;
    for (uint32_t i = 0; i < x->n; i++)
        if (!put(v, &n, x->v[i])) return NULL;
    for (uint32_t i = 0; i < y->n; i++)
        if (!put(v, &n, y->v[i])) return NULL;
    return finish(a, v, n);
}

static const struct slv_numbers *part_not(struct slv_arena *a, const struct slv_number_part *p) {
    struct slv_number_part v[SLV_NUMBER_PARTS], all = all_part;
    uint32_t n = 0;
    bool ok = true;
    if (p->lo > -SLV_DECIMAL_MAX)
        ok = put(v, &n, (struct slv_number_part){-SLV_DECIMAL_MAX, p->lo - 1, 0, NULL, 0});
    if (p->hi < SLV_DECIMAL_MAX)
        ok = ok && put(v, &n, (struct slv_number_part){p->hi + 1, SLV_DECIMAL_MAX, 0, NULL, 0});
    if (p->step) {
        slv_decimal *s = slv_arena_alloc(a, sizeof *s);
        if (!s) return NULL;
        *s = p->step;
        all.not_steps = s;
        all.n_not = 1;
        ok = ok && put(v, &n, all);
    }
    for (uint32_t i = 0; i < p->n_not; i++)
        ok = ok && put(v, &n,
                       (struct slv_number_part){-SLV_DECIMAL_MAX, SLV_DECIMAL_MAX, p->not_steps[i],
                                                NULL, 0});
    return ok ? finish(a, v, n) : NULL;
}

const struct slv_numbers *slv_numbers_not(struct slv_arena *a, const struct slv_numbers *x) {
    const struct slv_numbers *r = &slv_numbers_all;
    if (x->free) return &slv_numbers_none;
    for (uint32_t i = 0; r && i < x->n; i++) {
        const struct slv_numbers *p = part_not(a, &x->v[i]);
        r = p ? slv_numbers_and(a, r, p) : NULL;
    }
    return r;
}

#define COUNTED 10000 /* of numbers some of which are forbidden: more are not looked for */

static size_t count_part(const struct slv_number_part *p, size_t most) {
    const slv_decimal step = p->step ? p->step : 1;
    slv_decimal first, v;
    size_t n = 0;
    if (!first_in(p, p->lo, p->hi, 1, &first)) return 0;
    if (!p->n_not) {
        const slv_decimal all = (p->hi - first) / step + 1;
        return all < (slv_decimal)most ? (size_t)all : most;
    }
    for (; n < most && n < COUNTED && first_in(p, first, p->hi, 1, &v); first = v + 1)
        n++;
    return n;
}

size_t slv_numbers_count(const struct slv_numbers *x, size_t most) {
    size_t best = 0, points = 0;
    for (uint32_t i = 0; i < x->n; i++) { /* parts may overlap: the largest counts */
        const size_t n = count_part(&x->v[i], most);
        points += x->v[i].lo == x->v[i].hi; /* single numbers are each there once */
        best = n > best ? n : best;
    }
    best = points > best ? points : best;
    return best < most ? best : most;
}

size_t slv_numbers_longest(const struct slv_numbers *x) {
    size_t best = 0;
    if (x->free) return 1 + FREE_INT + 1 + FREE_FRAC + 2 + 3;
    for (uint32_t i = 0; i < x->n; i++) {
        slv_decimal top = most_of(x->v[i].hi, -x->v[i].lo) / SLV_DECIMAL_ONE;
        size_t n = 1 + (x->v[i].lo < 0);
        for (; top >= 10; top /= 10)
            n++;
        if (!x->v[i].step || x->v[i].step % SLV_DECIMAL_ONE) n += 1 + SLV_DECIMALS;
        best = n > best ? n : best;
    }
    return best;
}

/* --- texts ------------------------------------------------------------------------------------ */

enum phase { P_START, P_MINUS, P_ZERO, P_INT, P_POINT, P_FRAC, P_E, P_SIGN, P_EXPONENT };

static bool signed_any(const struct slv_numbers *x, bool negative, slv_decimal a, slv_decimal b,
                       slv_decimal grain) {
    return negative ? any_in(x, -b, -a, grain) : any_in(x, a, b, grain);
}

static slv_decimal power10(unsigned n) {
    slv_decimal r = 1;
    while (n--)
        r *= 10;
    return r;
}

/* Decimals that may come behind so many digits; a 0 before the point is none. */
static unsigned decimals(unsigned n_int, enum slv_number_mode mode) {
    if (mode == SLV_NUMBER_READ) return SLV_DECIMALS;
    return n_int >= DOUBLE_DIGITS ? 0 : DOUBLE_DIGITS - n_int;
}

/* Numbers that are written so differ by that much. */
static slv_decimal grain(unsigned n_int, enum slv_number_mode mode) {
    return power10(SLV_DECIMALS - decimals(n_int, mode));
}

/* Whether the last digit after the point is there and not 0: no shorter text is the same number. */
static bool ends_so(const struct slv_number *s) {
    const slv_decimal last = power10(SLV_DECIMALS - s->n_frac);
    return s->n_frac > 0 && (slv_decimal)s->digits / last % 10 != 0;
}

static bool viable_int(const struct slv_numbers *x, const struct slv_number *s,
                       enum slv_number_mode mode) {
    const slv_decimal d = (slv_decimal)s->digits;
    const slv_decimal most =
        mode == SLV_NUMBER_READ ? SLV_DECIMAL_MAX : INT64_MAX * SLV_DECIMAL_ONE;
    for (unsigned j = 0; j + s->n_int <= INT_DIGITS; j++) {
        const slv_decimal unit = power10(j) * SLV_DECIMAL_ONE;
        const slv_decimal last = least((d + 1) * unit - 1, most);
        if (signed_any(x, s->negative, d * unit, last, grain(s->n_int + j, mode))) return true;
    }
    return false;
}

/* Whether a number of the set begins with what was read. */
static bool viable(const struct slv_numbers *x, const struct slv_number *s,
                   enum slv_number_mode mode) {
    const slv_decimal d = (slv_decimal)s->digits, one = SLV_DECIMAL_ONE;
    const slv_decimal none = s->negative; /* -0 is not written */
    const slv_decimal g =
        grain(s->phase >= P_POINT && s->digits < (unsigned __int128)one ? 0 : s->n_int, mode);
    struct slv_number first = {.phase = P_INT, .n_int = 1, .negative = true};
    switch ((enum phase)s->phase) {
    case P_START:
        return x->n > 0;
    case P_MINUS:
        if (signed_any(x, true, 1, one - 1, grain(0, mode))) return true;
        for (first.digits = 1; first.digits < 10; first.digits++)
            if (viable_int(x, &first, mode)) return true;
        return false;
    case P_ZERO:
        return signed_any(x, s->negative, none, one - 1, grain(0, mode));
    case P_INT:
        return viable_int(x, s, mode);
    case P_POINT: /* a point is there for the sake of what comes after it */
        return signed_any(x, s->negative, d + 1, d + one - 1, g);
    case P_FRAC: {
        const slv_decimal last = d + power10(SLV_DECIMALS - s->n_frac) - 1;
        if (mode == SLV_NUMBER_ONE_TEXT && !ends_so(s))
            return signed_any(x, s->negative, d + 1, last, g);
        return signed_any(x, s->negative, d ? d : none, last, g);
    }
    case P_E:
    case P_SIGN:
    case P_EXPONENT:
        break;
    }
    return false;
}

bool slv_numbers_writable(const struct slv_numbers *set) {
    if (set->free || !set->n) return set->free;
    for (const char *c = "-0123456789"; *c; c++) {
        struct slv_number s = {0};
        if (slv_number_step(set, &s, *c, SLV_NUMBER_WRITE)) return true;
    }
    return false;
}

/* The text alone: whether c goes on with a number of JSON (RFC 8259, section 6). */
static bool grammar(struct slv_number *s, char c) {
    const enum phase p = (enum phase)s->phase;
    if (c == '-' && p == P_START) s->phase = P_MINUS, s->negative = true;
    else if (c == '-' || c == '+') {
        if (p != P_E) return false;
        s->phase = P_SIGN;
    } else if (c == '.') {
        if (p != P_ZERO && p != P_INT) return false;
        s->phase = P_POINT;
    } else if (c == 'e' || c == 'E') {
        if (p != P_ZERO && p != P_INT && p != P_FRAC) return false;
        s->phase = P_E;
    } else if (!digit(c) || p == P_ZERO) return false;
    else if (p == P_START || p == P_MINUS) s->phase = c == '0' ? P_ZERO : P_INT;
    else if (p == P_POINT) s->phase = P_FRAC;
    else if (p == P_E || p == P_SIGN) s->phase = P_EXPONENT;
    return true;
}

static bool free_step(struct slv_number *s, char c, enum slv_number_mode mode) {
    if (!grammar(s, c) || c == 'E') return false;
    if (c == '.' || c == 'e') s->n_frac = 0; /* counts digits of what has begun */
    if (c == 'e') s->digits = 0;             /* the exponent */
    if (!digit(c) || s->phase == P_ZERO) return true;
    if (s->phase == P_EXPONENT) {
        s->digits = s->digits * 10 + (unsigned)(c - '0');
        return s->digits < FREE_EXPONENT && ++s->n_frac <= 3;
    }
    if (mode == SLV_NUMBER_READ) return true;
    return s->phase == P_INT ? ++s->n_int <= FREE_INT : ++s->n_frac <= FREE_FRAC;
}

bool slv_number_step(const struct slv_numbers *set, struct slv_number *s, char c,
                     enum slv_number_mode mode) {
    struct slv_number t = *s;
    if (set->free && mode != SLV_NUMBER_ONE_TEXT) {
        if (!free_step(&t, c, mode)) return false;
        *s = t;
        return true;
    }
    if (!grammar(&t, c) || t.phase >= P_E) return false;
    if (t.phase == P_POINT) t.digits *= (unsigned __int128)SLV_DECIMAL_ONE;
    if (digit(c) && t.phase == P_FRAC) {
        const unsigned n_int = t.digits < (unsigned __int128)SLV_DECIMAL_ONE ? 0 : t.n_int;
        if (t.n_frac == decimals(n_int, mode)) return false;
        t.digits +=
            (unsigned __int128)((slv_decimal)(c - '0') * power10(SLV_DECIMALS - 1u - t.n_frac));
        t.n_frac++;
    } else if (digit(c)) {
        if (t.n_int == INT_DIGITS) return false;
        t.digits = t.digits * 10 + (unsigned)(c - '0');
        t.n_int++;
    }
    if (!viable(set, &t, mode)) return false;
    *s = t;
    return true;
}

bool slv_number_done(const struct slv_numbers *set, const struct slv_number *s,
                     enum slv_number_mode mode) {
    const enum phase p = (enum phase)s->phase;
    if (p != P_ZERO && p != P_INT && p != P_FRAC && p != P_EXPONENT) return false;
    const bool one_text = mode == SLV_NUMBER_ONE_TEXT;
    if (one_text && p == P_FRAC && !ends_so(s)) return false;
    if (one_text && s->negative && !s->digits) return false;
    if (set->free) return true;
    const slv_decimal v = (slv_decimal)s->digits * (p == P_FRAC ? 1 : SLV_DECIMAL_ONE);
    return slv_numbers_has(set, s->negative ? -v : v);
}
