/* grammar_int.h: a grammar as it was written, for grammar.c and grammar_read.c. */
#ifndef SLV_ENGINE_CONSTRAINT_GRAMMAR_INT_H
#define SLV_ENGINE_CONSTRAINT_GRAMMAR_INT_H

#include "engine/constraint/grammar.h"

enum slv_gexpr_kind { E_LANG, E_REF, E_TOKEN, E_JSON, E_SEQ, E_ALT, E_REPEAT };

struct slv_gexpr {
    enum slv_gexpr_kind kind;
    uint32_t lo, hi; /* REPEAT */
    uint32_t what;   /* REF: the rule; JSON: the schema */
    union {
        slv_lang lang;
        int32_t token;
        struct {
            const char *name;
            size_t n;
        } ref;
    };
    struct slv_gexpr *first, *next; /* what is in it; what stands beside it */
    struct slv_gexpr *ref_next;     /* all references */
};

struct slv_gdef {
    const char *name; /* of the text */
    size_t n;
    bool terminal;
    struct slv_gexpr *body;
    uint8_t state; /* 0: not looked at, 1: being looked at, 2: known */
    uint32_t size; /* parts of the language; 0: it is none */
    uint32_t deep; /* expressions inside each other in it */
    slv_lang lang;
};

struct slv_gtext {
    struct slv_grammar *g;
    struct slv_arena mem; /* expressions */
    const struct slv_tokenizer *t;
    const char *s;
    size_t n, at;
    bool gbnf;
    unsigned depth;
    size_t n_exprs;
    struct slv_gdef *defs;
    size_t n_defs, cap_defs;
    struct slv_gexpr *refs;
    struct slv_word *schema_texts; /* by schema */
    size_t cap_schema_texts;
    size_t schema_bytes; /* of those that are compiled */
    int rc;
    struct slv_err *err;
};

/* Notes the first error; NULL. */
void *slv_gtext_fail(struct slv_gtext *x, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Reads all definitions. */
int slv_gtext_read(struct slv_gtext *x);

#endif
