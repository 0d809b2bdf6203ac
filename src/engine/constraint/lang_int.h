/* lang_int.h: nodes of a pool, for lang.c and lang_states.c. */
#ifndef SLV_ENGINE_CONSTRAINT_LANG_INT_H
#define SLV_ENGINE_CONSTRAINT_LANG_INT_H

#include "base/arena.h"
#include "engine/constraint/lang.h"

enum slv_lang_kind {
    K_NONE,
    K_EMPTY,
    K_ANY,
    K_FAIL,
    K_SET,
    K_CONCAT,
    K_REPEAT,
    K_OR,
    K_AND,
    K_NOT,
    K_WORDS
};
enum slv_lang_life { L_UNKNOWN, L_ALIVE, L_DEAD };

struct slv_lang_span {
    uint32_t hi; /* last code point; the first is after the span before */
    slv_lang to;
};

struct slv_lang_table {
    const struct slv_word *w; /* sorted, each once */
    size_t n;
};

struct slv_lang_node {
    uint8_t kind, life;
    bool nullable;
    struct slv_lengths len; /* dense: of this node alone */
    uint32_t size;          /* see slv_lang_size */
    union {
        struct {
            slv_lang a, b;
        } concat;
        struct {
            slv_lang a;
            uint32_t lo, hi;
        } repeat;
        struct {
            const slv_lang *v;
            uint32_t n;
        } kids; /* OR, AND */
        struct {
            const struct slv_range *v;
            uint32_t n;
        } set;
        slv_lang inner; /* NOT */
        struct {
            const struct slv_lang_table *t;
            uint32_t lo, hi, depth; /* words [lo, hi) from byte `depth` on */
        } words;
    };
    const struct slv_lang_span *spans; /* NULL: not derived yet */
    uint32_t n_spans;
    const slv_lang *ascii;
    uint32_t seen; /* the search that queued it last */
};

struct slv_langs {
    struct slv_arena mem;
    struct slv_lang_node *v;
    size_t n, cap;
    uint32_t *slots; /* node + 1, by hash; 0: free */
    size_t n_slots;  /* a power of two */
    uint32_t n_searches;
    uint64_t left; /* steps */
    bool spent;    /* which is why it failed */
    int status;
};

/* Notes why; SLV_LANG_FAIL. */
slv_lang slv_lang_fail(struct slv_langs *p, int code);
/* slv_langs_spend, where it is asked at each byte. */
static inline bool slv_langs_pay(struct slv_langs *p, uint64_t steps) {
    if (p->status || steps > p->left) return slv_langs_spend(p, steps);
    p->left -= steps;
    return true;
}

/* Makes the spans of a; false after a limit. */
bool slv_lang_spread(struct slv_langs *p, slv_lang a);
/* Whether it has a string. */
bool slv_lang_alive(struct slv_langs *p, slv_lang a);

#endif
