/* tok_int.h: inside the tokenizer: the vocabulary, and the state of one call. Not for other rooms.
 *
 *   tokenizer.c    open and close, splitting at control tokens, the accessors
 *   tok_vocab.c    pieces, kinds, scores, special ids, ends of generation: from the file's keys
 *   tok_index.c    pieces and merges by hash
 *   tok_merge.c    the merge loop that byte-level BPE and SentencePiece BPE share
 *   tok_bpe.c  tok_spm.c  tok_unigram.c  tok_wpm.c    one kind of model each
 *   tok_decode.c   ids -> bytes
 */
#ifndef SLV_FORMAT_TOK_INT_H
#define SLV_FORMAT_TOK_INT_H

#include "format/pretok.h"
#include "format/tok_trie.h"
#include "format/tokenizer.h"

#define SLV_TOK_MAX_PIECES (1u << 24)
#define SLV_TOK_MAX_PIECE 65535u /* bytes in one piece */
#define SLV_TOK_MAX_SOUGHT 256u  /* bytes in one that is looked for at every place of a text */
#define SLV_TOK_MAX_TEXT ((size_t)1 << 30)

#define SLV_TOK_SPACE "\xe2\x96\x81" /* U+2581, SentencePiece's visible space */

enum slv_tok_model { SLV_TOK_BPE, SLV_TOK_SPM, SLV_TOK_UNIGRAM, SLV_TOK_WPM };

/* What is kept of a token in a byte: its kind, and marks. */
enum slv_tok_attr {
    SLV_TOK_KIND = 7,
    SLV_TOK_END = 8,     /* a generation ends here */
    SLV_TOK_LSTRIP = 16, /* white space before it in the text belongs to it */
    SLV_TOK_RSTRIP = 32, /* white space after it */
    SLV_TOK_TEXT = 64    /* plain text may become this token (as the file has it) */
};

/* Pieces by their bytes. Slots hold id + 1; 0 is free. */
struct slv_tok_slot {
    uint32_t id1, tag;
};

/* What two neighbours merge into; key is (left << 32 | right) + 1, 0 is free. */
struct slv_tok_merge_row {
    uint64_t key;
    uint32_t rank;
    int32_t id;
};

struct slv_tokenizer {
    enum slv_tok_model model;
    const struct slv_pretok *pretok; /* BPE */
    bool raw;                        /* pieces are UTF-8 with U+2581, not byte-level text */
    char name[64];

    uint32_t n;
    struct slv_str *piece;
    uint8_t *attr;
    float *score; /* NULL for BPE and WordPiece */
    size_t max_piece;

    struct slv_tok_slot *slot;
    size_t slot_cap;
    struct slv_tok_merge_row *merge;
    size_t merge_cap;
    int32_t byte_id[256]; /* -1: the vocabulary has no such byte */

    int32_t bos, eos, unk, sep;
    uint32_t between; /* tokens behind a text that stand between the two of a pair */
    bool add_bos, add_eos;
    bool add_space;       /* SentencePiece: a space goes before the text */
    bool merge_spaces;    /* unigram: runs of spaces are one */
    bool any_space;       /* unigram: so is all white space */
    bool keep_last_space; /* unigram: one run of spaces at the end stays */
    bool lowercase, strip_accents;
    bool nfc; /* BPE: text is composed first (Unicode's form C) */

    struct slv_trie special; /* control, unknown and user-defined tokens, as they are written */
    struct slv_trie user;    /* the user-defined ones alone */
    struct slv_trie words;   /* unigram and WordPiece: what text may become */

    float unk_score;         /* unigram */
    unsigned char *charsmap; /* unigram: the normalizer's blob, owned; NULL: none */
    size_t charsmap_units;   /* 32-bit units of its double array */
    const unsigned char *charsmap_text;
    size_t charsmap_text_n;
};

static inline enum slv_token_kind slv_tok_kind(const struct slv_tokenizer *t, int32_t id) {
    return (enum slv_token_kind)(t->attr[id] & SLV_TOK_KIND);
}

/* --- the state of one call -------------------------------------------------------------------- */

/* A stretch of the text that is, so far, one piece. Stretches are linked in order. */
struct slv_sym {
    uint32_t at, len; /* bytes; len 0: merged away */
    int32_t prev, next;
    int32_t id; /* -1: no piece of the vocabulary */
};

/* A merge that may be done: best key first. */
struct slv_tok_pair {
    uint64_t key; /* priority << 32 | index of the left stretch */
    uint32_t len; /* of both together: tells a stale entry */
    int32_t id;   /* what they become */
};

/* The best way to cover the text up to a byte. */
struct slv_tok_best {
    double score;
    uint32_t from;
    int32_t id;
};

struct slv_tok_work {
    const struct slv_tokenizer *t;
    struct slv_ids *out;
    struct slv_sym *sym;
    size_t n_sym, sym_cap;
    struct slv_tok_pair *heap;
    size_t n_heap, heap_cap;
    struct slv_tok_best *best;
    size_t best_cap;
    struct slv_buf text; /* normalized text */
    struct slv_buf word; /* one word in byte-level text */
};

/* Whether two neighbours merge: *ret_rank (smaller is sooner) and *ret_id. */
typedef bool (*slv_tok_pair_fn)(const struct slv_tokenizer *t, const char *s,
                                const struct slv_sym *left, const struct slv_sym *right,
                                uint32_t *ret_rank, int32_t *ret_id);

/* Appends a stretch after the ones there are. */
int slv_tok_sym_add(struct slv_tok_work *w, size_t at, size_t len, int32_t id) SLV_MUST_USE;
/* Merges the stretches of s until nothing merges: O(n log n) for n stretches. */
int slv_tok_merge_all(struct slv_tok_work *w, const char *s, slv_tok_pair_fn pair) SLV_MUST_USE;

/* The tokens of plain text s[0..n), n >= 1, valid UTF-8, appended. Before it is nothing or a token
 * that was spelled out. */
int slv_tok_bpe(struct slv_tok_work *w, const char *s, size_t n) SLV_MUST_USE;
int slv_tok_spm(struct slv_tok_work *w, const char *s, size_t n) SLV_MUST_USE;
int slv_tok_unigram(struct slv_tok_work *w, const char *s, size_t n) SLV_MUST_USE;
int slv_tok_wpm(struct slv_tok_work *w, const char *s, size_t n) SLV_MUST_USE;

/* Appends s with each ' ' turned into U+2581. */
int slv_tok_escape_spaces(struct slv_buf *b, const char *s, size_t n) SLV_MUST_USE;
/* Appends byte tokens for s[0..n), or one unknown token where the vocabulary lacks a byte. */
int slv_tok_fall_back(struct slv_tok_work *w, const char *s, size_t n) SLV_MUST_USE;

/* --- opening ---------------------------------------------------------------------------------- */

int slv_tok_index_build(struct slv_tokenizer *t, struct slv_err *err) SLV_MUST_USE;
int slv_tok_merges_load(struct slv_tokenizer *t, const struct slv_gguf *g,
                        struct slv_err *err) SLV_MUST_USE;
/* NULL if the two do not merge. */
const struct slv_tok_merge_row *slv_tok_merge_find(const struct slv_tokenizer *t, int32_t left,
                                                   int32_t right);
int slv_tok_vocab_load(struct slv_tokenizer *t, const struct slv_gguf *g,
                       struct slv_err *err) SLV_MUST_USE;
/* Adds piece id to a trie that texts are searched with. SLV_E_LIMIT: it is too long for that. */
int slv_tok_seek(const struct slv_tokenizer *t, struct slv_trie *trie, uint32_t id,
                 struct slv_err *err) SLV_MUST_USE;
int slv_tok_specials_load(struct slv_tokenizer *t, const struct slv_gguf *g,
                          struct slv_err *err) SLV_MUST_USE;
int slv_tok_unigram_load(struct slv_tokenizer *t, const struct slv_gguf *g,
                         struct slv_err *err) SLV_MUST_USE;

/* --- byte-level text (tok_decode.c) ----------------------------------------------------------- */

/* GPT-2's printable stand-in for a byte: a code point below 0x144. */
uint32_t slv_tok_byte_char(unsigned char b);
/* The byte of "<0xHH>", or -1. */
int slv_tok_byte_value(struct slv_str piece);
/* slv_token_bytes for an id of the vocabulary, with the first space left where it is; and whether
 * a text of this model loses that space. */
int slv_tok_bytes(const struct slv_tokenizer *t, int32_t id, bool special, struct slv_buf *out);
bool slv_tok_drops_space(const struct slv_tokenizer *t);

#endif
