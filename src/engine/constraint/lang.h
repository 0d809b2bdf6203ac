/* lang.h: sets of strings over Unicode code points, closed under union, intersection, complement
 * and concatenation, and the automata that recognize them.
 *
 * A language is the number of a node in a pool. Nodes are kept once each (equal structure, equal
 * number) in a normal form, so that there are finitely many derivatives and a node is at the same
 * time the state of a deterministic automaton: the one that has read a string u is in state { v :
 * uv in L }. States are made as they are first needed. No state that is reached through
 * slv_lang_next is dead: where emptiness cannot be seen from a node's form, a string is searched
 * for, once.
 *
 * Sources: Brzozowski, "Derivatives of regular expressions" (J. ACM 11, 1964); Owens, Reppy,
 * Turon, "Regular-expression derivatives re-examined" (JFP 19, 2009) for normal forms and
 * classes of characters. */
#ifndef SLV_ENGINE_CONSTRAINT_LANG_H
#define SLV_ENGINE_CONSTRAINT_LANG_H

#include "base/err.h"

struct slv_langs;
typedef uint32_t slv_lang;

enum {
    SLV_LANG_NONE = 0,  /* no string */
    SLV_LANG_EMPTY = 1, /* the empty string alone */
    SLV_LANG_ANY = 2,   /* every string */
    SLV_LANG_FAIL = 3   /* what functions return once a limit was passed; operations pass it on */
};

#define SLV_LANG_INF UINT32_MAX
#define SLV_LANG_MAX_NODES 65536u /* nodes of a pool */
#define SLV_LANG_MAX_BYTES ((size_t)32 << 20)
#define SLV_LANG_MAX_REPEAT 100000u
#define SLV_LANG_MAX_SIZE                                                                          \
    131072u /* of what a pattern or a terminal may be, as slv_lang_size tells */
#define SLV_CODE_POINT_MAX 0x10ffffu

/* An inclusive range of code points. Surrogates may lie in it: no string has them. */
struct slv_range {
    uint32_t lo, hi;
};

/* A pool, empty but for the constants. SLV_E_NOMEM. */
int slv_langs_open(struct slv_langs **ret) SLV_MUST_USE;
void slv_langs_close(struct slv_langs *p);
/* 0, or why SLV_LANG_FAIL was returned: SLV_E_LIMIT or SLV_E_NOMEM. Sticky, but for
 * slv_langs_allow. */
int slv_langs_status(const struct slv_langs *p);

/* What is asked of a pool is paid for in steps: about as many as nodes, ranges and words are looked
 * at. From here on it may take so many; then it fails with SLV_E_LIMIT, until it is allowed more. A
 * new pool has no bound. One that has no room left goes on, too, with what it has. */
#define SLV_LANG_NO_BOUND UINT64_MAX /* more than can be taken */
void slv_langs_allow(struct slv_langs *p, uint64_t steps);
/* How many it may still take. */
uint64_t slv_langs_left(const struct slv_langs *p);
/* Takes steps for work done elsewhere; false once a limit was passed. */
bool slv_langs_spend(struct slv_langs *p, uint64_t steps);
/* Whether it failed for want of steps. */
bool slv_langs_is_spent(const struct slv_langs *p);
/* What limit it was that it failed for, in words. */
const char *slv_langs_why(const struct slv_langs *p);
/* Bytes it takes. */
size_t slv_langs_bytes(const struct slv_langs *p);
/* Nodes it has, of SLV_LANG_MAX_NODES. States that are looked at for the first time make more. */
size_t slv_langs_nodes(const struct slv_langs *p);

/* One code point of the ranges, which may overlap and stand in any order. */
slv_lang slv_lang_set(struct slv_langs *p, const struct slv_range *r, size_t n);
/* One code point of none of them. */
slv_lang slv_lang_set_not(struct slv_langs *p, const struct slv_range *r, size_t n);
slv_lang slv_lang_concat(struct slv_langs *p, slv_lang a, slv_lang b);
slv_lang slv_lang_or(struct slv_langs *p, slv_lang a, slv_lang b);
slv_lang slv_lang_and(struct slv_langs *p, slv_lang a, slv_lang b);
slv_lang slv_lang_not(struct slv_langs *p, slv_lang a);
/* a, from lo to hi times (SLV_LANG_INF: without end). */
slv_lang slv_lang_repeat(struct slv_langs *p, slv_lang a, uint32_t lo, uint32_t hi);

/* A finite set of strings, valid UTF-8, in any order; copied. Costs a node however many they
 * are. */
struct slv_word {
    const char *s;
    size_t n;
};
slv_lang slv_lang_words(struct slv_langs *p, const struct slv_word *w, size_t n);

/* The state after code point c: SLV_LANG_NONE where no string goes on so. */
slv_lang slv_lang_next(struct slv_langs *p, slv_lang a, uint32_t c);
/* Whether some code point of [lo, hi], surrogates left out, leads to a state that has a string of a
 * length in [least, most] (as far as slv_lang_lengths tells). */
bool slv_lang_any_next(struct slv_langs *p, slv_lang a, uint32_t lo, uint32_t hi, uint32_t least,
                       uint32_t most);
/* Whether a has a string of such a length, as far as its bounds tell. Cheap. */
bool slv_lang_fits(const struct slv_langs *p, slv_lang a, uint32_t least, uint32_t most);
/* For each code point below 128 the state after it; borrowed until the pool is closed. NULL after a
 * limit. */
const slv_lang *slv_lang_ascii(struct slv_langs *p, slv_lang a);
/* Whether the empty string belongs to it. */
bool slv_lang_nullable(const struct slv_langs *p, slv_lang a);
/* Whether it has no string, also where that is not seen from its number. */
bool slv_lang_is_none(struct slv_langs *p, slv_lang a);
/* Whether s, valid UTF-8, belongs to it. */
bool slv_lang_has(struct slv_langs *p, slv_lang a, const char *s, size_t n);

/* Lengths in code points. min is exact; max is an upper bound, exact where `dense`. dense: every
 * length between them occurs (and none other), here and in every state that is reached from
 * here. */
struct slv_lengths {
    uint32_t min, max;
    bool dense;
};
struct slv_lengths slv_lang_lengths(struct slv_langs *p, slv_lang a);

/* Whether every state reached from here (of at most `states`) has infinitely many strings. */
bool slv_lang_boundless(struct slv_langs *p, slv_lang a, size_t states);

/* How many strings it has at least, counted up to `most`. */
size_t slv_lang_count(struct slv_langs *p, slv_lang a, size_t most);

/* Calls f with each of its strings, if it has at most `most`; false, and nothing was called,
 * where it has more. */
bool slv_lang_each(struct slv_langs *p, slv_lang a, size_t most,
                   void (*f)(void *ctx, const char *s, size_t n), void *ctx);

/* Places in it once its repetitions are written out, up to UINT32_MAX: a bound on what its states
 * are made of. One set repeated, and nothing else, counts once: that is a matter of length.
 * Cheap. */
uint32_t slv_lang_size(const struct slv_langs *p, slv_lang a);

/* Whether it is one set from lo to hi times; then *ret_set is that set's language. */
bool slv_lang_is_repeat(const struct slv_langs *p, slv_lang a, slv_lang *ret_set, uint32_t *ret_lo,
                        uint32_t *ret_hi);

#endif
