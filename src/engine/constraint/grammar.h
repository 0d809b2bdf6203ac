/* grammar.h: a grammar's text to a network of terminals, and what can be said of it.
 *
 * Two ways to write one, told apart by the first definition:
 *
 *   Lark's      start: TEXT (call)*            GBNF    root ::= "a" item+
 *               TEXT: /[^<]+/                          item ::= [0-9]{1,3} "\n"
 *
 * What both have: "literals", sequences, | ( ) * + ? {m,n}, names of rules, comments; and beside
 * text: %json {schema}, one value of a JSON Schema as answers are written (compact);
 * %text, any text, also none; %text("a", /b/), any text in which none of these occurs; and <name>,
 * <"name">, <[id]>, one token of the vocabulary, by what it is there or by number. A token that
 * is named anywhere is no text in that grammar. Docs: docs/schema.md, "Grammars".
 *
 * A rule is a piece of a *network*: nodes that are passed by reading a terminal, a token or a
 * value, or by going through another rule's nodes. Expressions without recursion, tokens and
 * values are *languages* (lang.h), whole, so that an automaton reads them; a rule that is a
 * sequence stays one, so that its parts are the same languages wherever it is used.
 *
 * Every rule and terminal has a string, so whatever was read can be completed. No rule is left
 * recursive: nothing is entered twice without a byte between.
 *
 * Sources: Lark's grammar reference (lark-parser.readthedocs.io, 1.2) and llguidance's
 * docs/syntax.md for the first form; llama.cpp's grammars/README.md for the second. */
#ifndef SLV_ENGINE_CONSTRAINT_GRAMMAR_H
#define SLV_ENGINE_CONSTRAINT_GRAMMAR_H

#include "engine/constraint/shape.h"
#include "format/tokenizer.h"

#define SLV_GRAMMAR_MAX_BYTES ((size_t)1 << 20)
#define SLV_GRAMMAR_MAX_RULES 4096u
#define SLV_GRAMMAR_MAX_ITEMS 65536u /* expressions, as they stand */
#define SLV_GRAMMAR_MAX_NODES 65536u /* once repetitions are written out */
#define SLV_GRAMMAR_MAX_DEPTH 100u   /* of parentheses */
#define SLV_GRAMMAR_MAX_NESTING 300u /* of expressions in languages, rules they refer to included */
#define SLV_GRAMMAR_MAX_WALK 3000u   /* the same of all rules, up to one that comes again */
#define SLV_GRAMMAR_MAX_MEMORY ((size_t)16 << 20) /* its schemas and languages apart */
#define SLV_GRAMMAR_MAX_SCHEMAS 1024u             /* different ones */
#define SLV_GRAMMAR_MAX_TOKENS 1024u              /* different ones that are named */
#define SLV_GRAMMAR_MAX_LANGUAGE 2048u            /* parts of one terminal */

enum slv_gnode_kind {
    SLV_G_NONE,
    SLV_G_ACCEPT, /* the rule ends */
    SLV_G_END,    /* the whole text ends */
    SLV_G_SPLIT,  /* on to next, and to other */
    SLV_G_TERM,   /* a string of lang */
    SLV_G_TOKEN,
    SLV_G_JSON, /* a value of schema `other` */
    SLV_G_CALL  /* rule `other` */
};

#define SLV_G_ACCEPT_NODE 1u
#define SLV_G_END_NODE 2u

struct slv_gnode {
    uint8_t kind;
    uint32_t next, other;
    union {
        slv_lang lang;
        int32_t token;
    };
};

struct slv_grule {
    const char *name;
    uint32_t start;
    bool nullable; /* derives the empty string */
};

struct slv_grammar {
    struct slv_langs *p; /* of all terminals and schemas */
    struct slv_arena mem;
    struct slv_gnode *nodes;
    struct slv_grule *rules;
    struct slv_schema **schemas;
    int32_t *tokens; /* those that are named */
    size_t n_nodes, n_rules, n_schemas, n_tokens;
    size_t cap_nodes, cap_schemas, cap_tokens;
    uint32_t start;
};

/* text[0..n). t: where tokens are looked up, not kept; NULL: there are none. Fails with the line or
 * the rule's name: SLV_E_FORMAT, SLV_E_UNSUPPORTED, SLV_E_LIMIT, SLV_E_NOMEM. */
int slv_grammar_read(const struct slv_tokenizer *t, const char *text, size_t n,
                     struct slv_grammar **ret, struct slv_err *err) SLV_MUST_USE;
void slv_grammar_free(struct slv_grammar *g);
/* Bytes it takes with its schemas and languages. */
size_t slv_grammar_bytes(const struct slv_grammar *g);
/* Whether the token is named somewhere. */
bool slv_grammar_names(const struct slv_grammar *g, int32_t id);

#endif
