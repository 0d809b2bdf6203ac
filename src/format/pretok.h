/* pretok.h: cutting text into the words that byte-level BPE merges within.
 *
 * Model authors publish these cuts as regular expressions. Here each expression is a pass: a list
 * of rules tried in order at each place, every rule one hand-written matcher over code point
 * classes (uclass.h). A pre-tokenizer is a list of passes, each cutting the pieces of the one
 * before it further; what no rule matches between two matches is a piece too ("isolated" in the
 * terms of Hugging Face tokenizers). Nothing is stored: a piece of the last pass goes straight to
 * the caller, in order, and the pieces join to the input.
 *
 * Linear: a rule looks at each code point of what it matches a bounded number of times, and a rule
 * that fails after a long look says how far nothing can begin.
 *
 * The rows are in pretok_table.c. Threads: any. */
#ifndef SLV_FORMAT_PRETOK_H
#define SLV_FORMAT_PRETOK_H

#include "format/gguf.h"

/* --- sets of code points: flags, plus and minus ranges, perhaps turned round ------------------ */

struct slv_range {
    uint32_t lo, hi;
};

struct slv_set {
    uint32_t mask;                  /* slv_uclass flags, any of them */
    bool negate;                    /* the set is everything else */
    const struct slv_range *ranges; /* also in the set (before negation); ends with {0, 0} */
    const struct slv_range *except; /* not in the set (before negation) */
};

/* --- rules ------------------------------------------------------------------------------------ */

enum slv_rule_kind {
    SLV_RULE_END = 0,        /* of the list */
    SLV_RULE_RUN,            /* LEAD? BODY{min,max} TAIL{0,tail_max} */
    SLV_RULE_CONTRACTION,    /* 's 't 're 've 'm 'll 'd as written */
    SLV_RULE_CONTRACTION_I,  /* the same in any case */
    SLV_RULE_CAMEL,          /* LEAD? LEAD* BODY+ or LEAD? LEAD+ BODY*: see camel() */
    SLV_RULE_CAMEL_SUFFIX,   /* the same, then perhaps a contraction in any case */
    SLV_RULE_NEWLINES,       /* \s*[\r\n]+ */
    SLV_RULE_SPACES_BEFORE,  /* \s+(?!\S) */
    SLV_RULE_SPACES_AT_END,  /* \s+$ ; alone in its pass */
    SLV_RULE_SPACES_HALVING, /* \s{512}(?!\S)|\s{256}(?!\S)| ... |\s{1,2}(?!\S)|\s{1} */
    SLV_RULE_THREES,         /* \d{1,3}(?=(?:\d{3})*\b): threes from the right; alone in its pass */
    SLV_RULE_PHRASE          /* LEAD? then letters with their marks, single spaces between them */
};

/* Ids of the sets in pretok_table.c. */
enum slv_set_id {
    SLV_SET_NONE = 0,
    SLV_SET_SPACE,
    SLV_SET_WS,
    SLV_SET_NOT_WS_LETTER_NUMBER,
    SLV_SET_NOT_WS_LETTER_MARK_NUMBER,
    SLV_SET_NOT_CRLF_LETTER_NUMBER,
    SLV_SET_NOT_CRLF_LETTER_PUNCT_SYMBOL,
    SLV_SET_LETTER,
    SLV_SET_LETTER_MARK,
    SLV_SET_MARK,
    SLV_SET_NUMBER,
    SLV_SET_DECIMAL,
    SLV_SET_DIGIT,
    SLV_SET_PUNCT,
    SLV_SET_PUNCT_SYMBOL,
    SLV_SET_PUNCT_ASCII,
    SLV_SET_PUNCT_DEFAULT,
    SLV_SET_ASCII_PUNCT,
    SLV_SET_ASCII_LETTER,
    SLV_SET_CRLF,
    SLV_SET_CRLF_SLASH,
    SLV_SET_NEWLINE,
    SLV_SET_NOT_NEWLINE,
    SLV_SET_UPPER,
    SLV_SET_LOWER,
    SLV_SET_UPPER_NOT_HAN,
    SLV_SET_LOWER_NOT_HAN,
    SLV_SET_HAN,
    SLV_SET_CJK_KANA,
    SLV_SET_CJK_WIDE,
    SLV_SET_HANGUL,
    SLV_SET_CJK_PUNCT,
    SLV_SET_BOPOMOFO,
    SLV_SET_DEEPSEEK_LETTER,
    SLV_SET_DEEPSEEK_PUNCT,
    SLV_SET_NOT_BLOOM_BREAK,
    SLV_SET_WORD,
    SLV_SET_COUNT
};

struct slv_rule {
    uint8_t kind;
    uint8_t lead, body, tail; /* enum slv_set_id */
    bool must_lead;           /* LEAD is not optional */
    uint16_t min, max;        /* of BODY; 0: 1 and no limit */
    uint16_t tail_max;        /* 0: no limit */
};

enum slv_pretok_flags {
    SLV_PRETOK_WHOLE = 1, /* a word that is a piece of the vocabulary is not merged but taken */
    SLV_PRETOK_BOS = 2,   /* a BOS is added where the file does not say */
    SLV_PRETOK_RAW = 4,   /* pieces are UTF-8 with U+2581 for a space, not byte-level text */
    SLV_PRETOK_NO_BOS = 8 /* there is no BOS where the file does not name one */
};

#define SLV_PRETOK_PASSES 6

struct slv_pretok {
    const char *name;                               /* in tokenizer.ggml.pre */
    unsigned flags;                                 /* enum slv_pretok_flags */
    const struct slv_rule *pass[SLV_PRETOK_PASSES]; /* ends with NULL */
};

extern const struct slv_set slv_pretok_sets[SLV_SET_COUNT];

/* The row of a name, or NULL. */
const struct slv_pretok *slv_pretok_find(struct slv_str name);

/* Row by position, NULL past the end: for tests that go through all. */
const struct slv_pretok *slv_pretok_at(size_t i);

/* Takes one word; nonzero stops the cutting and is passed on. */
typedef int (*slv_word_fn)(void *ctx, const char *s, size_t n);

/* Cuts s[0..n), valid UTF-8, and hands each word to fn. */
int slv_pretok_split(const struct slv_pretok *p, const char *s, size_t n, slv_word_fn fn,
                     void *ctx);

#endif
