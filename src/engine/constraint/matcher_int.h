/* matcher_int.h: threads and what they share, for matcher.c, matcher_differ.c and
 * matcher_grammar.c. */
#ifndef SLV_ENGINE_CONSTRAINT_MATCHER_INT_H
#define SLV_ENGINE_CONSTRAINT_MATCHER_INT_H

#include "engine/constraint/lang_int.h"
#include "engine/constraint/matcher.h"

enum state {
    S_VALUE,    /* before a value */
    S_ITEM,     /* before an item of an array */
    S_FIRST,    /* after [ */
    S_OPEN,     /* after { */
    S_MORE,     /* after a comma in an object */
    S_KEY,      /* in a listed key */
    S_FREE_KEY, /* in another key */
    S_COLON,    /* after another key */
    S_CONSTANT, /* in null, true or false */
    S_STRING,
    S_NUMBER,
    S_NEXT, /* after a value in an array or object */
    S_END,  /* after the whole value or text */
    S_TERM, /* in a terminal of a grammar */
    S_TOKEN /* before a token that a grammar names */
};

/* Something that was written: bytes [from, to) of the text. */
struct piece {
    const struct piece *up;
    size_t from, to;
};

struct frame;

/* What contains a value: each of them goes on when it ends. NULL: nothing, it is the whole. */
struct places {
    const struct places *next;
    const struct frame *f;
};

/* An object or array that is open; or a place of a grammar where a rule or a value was entered, to
 * go on from. Never changed once a byte is done. */
struct frame {
    const struct places *up;
    const struct slv_schema *s;        /* whose specs are meant */
    const struct slv_members *members; /* an object, or */
    const struct slv_items *items;     /* an array */
    uint32_t level;                    /* containers around it */
    uint32_t node;                     /* of a grammar: where it goes on; 0: it is none */
    struct slv_object_state at;        /* of an object; count also of an array's items */
    uint32_t met[SLV_MAX_CREDITS];
    const struct piece *past; /* free keys, or items of an array that is `unique` */
    union {
        size_t from;   /* where the current item begins */
        uint64_t born; /* of a grammar: the step that made it */
    };
    bool differs; /* this or one further out wants items to differ: numbers have one text */
};

struct thread {
    const struct frame *f;   /* of a state between values: where it is; else NULL */
    const struct places *up; /* of a state in or before a value: what contains it */
    uint32_t state;
    uint32_t family; /* FREE_KEY, COLON; TERM, TOKEN: the node */
    union {
        slv_spec spec;
        struct {
            uint32_t lo, hi, depth;
        } key;
        struct {
            const char *rest;
        } constant;
        struct slv_string_at string;
        struct {
            const struct slv_numbers *set;
            struct slv_number at;
        } number;
    };
    size_t from; /* where the key begins */
};

/* Chunks that frames are bumped off, the current one and how full it is. */
struct slv_room {
    char **v;
    size_t n, cap, chunk, used;
    size_t tidy; /* chunks that were needed when it was last seen to */
};

/* Where a node of a grammar was reached in this step. */
struct reached {
    uint64_t step;
    const struct places *up;
    struct frame *f; /* that was made there; NULL: none */
};

struct waiting { /* a node, and places it was reached from that it has not gone on with */
    uint32_t node;
    const struct places *up;
};

struct slv_matcher {
    const struct slv_schema *s;  /* a value of it, or */
    const struct slv_grammar *g; /* a text of it */
    struct slv_langs *p;
    unsigned flags;
    int status;
    struct thread *v; /* all sets; the current one is [first, n) */
    size_t first, n, cap;
    char *text;
    size_t n_text, cap_text;
    struct slv_room room;
    unsigned probing; /* > 0: ways that could only repeat are not looked for */
    bool may_repeat;  /* nor what does repeat */
    uint64_t n_steps;
    struct reached *reached; /* by node */
    struct waiting *queue;
    size_t n_queue, cap_queue;
};

/* Notes why; NULL. */
void *slv_way_fail(struct slv_matcher *m, int code);
/* Takes steps of the pool's (slv_langs_spend); false, and noted, where it has none left. */
static inline bool slv_way_spend(struct slv_matcher *m, uint64_t steps) {
    return slv_langs_pay(m->p, steps) || slv_way_fail(m, slv_langs_status(m->p)) != NULL;
}
/* matcher_room.c: some bytes, zeroed, until they are rewound. */
void *slv_way_bump(struct slv_matcher *m, size_t size);
/* Gives back what the current set, the only one there is, does not need. */
void slv_way_tidy(struct slv_matcher *m);
void slv_way_free(struct slv_matcher *m);
/* a with those of b that it does not have. */
const struct places *slv_way_join(struct slv_matcher *m, const struct places *a,
                                  const struct places *b);
/* f alone. */
const struct places *slv_way_in(struct slv_matcher *m, const struct frame *f);
/* Adds a thread to the set that is being made, or its containers to one that is like it. */
void slv_way_put(struct slv_matcher *m, const struct thread *t);

/* Puts the set after byte c behind the current one and makes it current; false: there is none, and
 * nothing has changed. */
bool slv_way_step(struct slv_matcher *m, unsigned char c,
                  void (*advance_one)(struct slv_matcher *m, const struct thread *t,
                                      unsigned char c));
void slv_way_advance(struct slv_matcher *m, const struct thread *t, unsigned char c);

static inline const struct frame *slv_way_frame(const struct thread *t) {
    return t->f ? t->f : t->up ? t->up->f : NULL;
}

/* matcher_differ.c: drops threads of the current set that could only repeat. */
void slv_way_drop_repeating(struct slv_matcher *m);

/* matcher_grammar.c. The beginning of the text. */
void slv_way_begin(struct slv_matcher *m);
/* A rule, or a value, was entered from there, and has ended: all that may come next. */
void slv_way_return(struct slv_matcher *m, const struct frame *f);
/* Inside a terminal. */
void slv_way_term(struct slv_matcher *m, const struct thread *t, unsigned char c);

#endif
