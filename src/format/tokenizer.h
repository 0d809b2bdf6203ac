/* tokenizer.h: text <-> token ids, exactly as the model's authors' own tokenizer does it.
 *
 * One object, three kinds inside: SentencePiece (BPE with byte fallback, "llama"; unigram, "t5"),
 * byte-level BPE ("gpt2", with the pre-tokenizer the file names; "gemma4" on UTF-8), WordPiece
 * ("bert"). Immutable after it is opened; threads: any number at once. Text that is generated token
 * by token is put together in stream.h.
 */
#ifndef SLV_FORMAT_TOKENIZER_H
#define SLV_FORMAT_TOKENIZER_H

#include "base/buf.h"
#include "base/err.h"
#include "format/gguf.h"

struct slv_tokenizer;

/* What a vocabulary says of a token (tokenizer.ggml.token_type). */
enum slv_token_kind {
    SLV_TOKEN_NORMAL = 1,
    SLV_TOKEN_UNKNOWN = 2,
    SLV_TOKEN_CONTROL = 3,
    SLV_TOKEN_USER = 4,
    SLV_TOKEN_UNUSED = 5,
    SLV_TOKEN_BYTE = 6
};

enum slv_tokenize_flags {
    SLV_TOKENIZE_SPECIAL = 1, /* control tokens written in the text become those tokens; without
                                 it they stay plain text. User-defined ones are always found */
    SLV_TOKENIZE_ADD = 2,     /* add BOS / EOS as the model asks */
    SLV_TOKENIZE_GUARDS = 4   /* drop SLV_TOKEN_GUARD from plain text */
};

/* A growing list of ids. */
struct slv_ids {
    int32_t *v;
    size_t n, cap;
};
void slv_ids_fini(struct slv_ids *ids);
int slv_ids_add(struct slv_ids *ids, int32_t id) SLV_MUST_USE;

/* Reads tokenizer.ggml.* . Borrows from g, which must stay open as long as the tokenizer.
 * SLV_E_UNSUPPORTED for a tokenizer model or pre-tokenizer that is not known (its name is in the
 * message; never guessed), SLV_E_FORMAT for one that contradicts itself. */
int slv_tokenizer_open(const struct slv_gguf *g, struct slv_tokenizer **ret,
                       struct slv_err *err) SLV_MUST_USE;
void slv_tokenizer_close(struct slv_tokenizer *t);

/* Appends the ids of text[0..n) to out. `flags`: SLV_TOKENIZE_*. Bytes that are not UTF-8 are
 * taken as U+FFFD, as the reference tokenizers do. Time is linear in n (n log n within a word,
 * which for SentencePiece's BPE is the whole text), also for hostile text; memory beside the ids is
 * at most some 100 bytes a byte of the longest word. SLV_E_NOMEM, SLV_E_LIMIT (n over 1 GiB, or a
 * normalizer makes the text many times longer); out is as it was then. */
int slv_tokenize(const struct slv_tokenizer *t, const char *text, size_t n, unsigned flags,
                 struct slv_ids *out) SLV_MUST_USE;

/* A character that no text means (U+FDD0, a noncharacter). Inside what would be a control token's
 * text, or right before it, it keeps that from being read as the token where SLV_TOKENIZE_GUARDS is
 * set, which drops it. */
#define SLV_TOKEN_GUARD "\xef\xb7\x90"

/* Appends text[0..n), valid UTF-8, to out with a guard in every control token it spells, so
 * that what a user wrote stays text when it is tokenized as part of a template's output. U+FDD0 of
 * the text's own becomes U+FFFD. Returns out's status. */
int slv_token_guard(const struct slv_tokenizer *t, const char *text, size_t n,
                    struct slv_buf *out) SLV_MUST_USE;

/* Appends the bytes of one token to out, as they stand in running text: a SentencePiece "_"
 * (U+2581) is a space, byte tokens are their byte. Control tokens give nothing unless `special`.
 * The bytes of one token need not be whole UTF-8. `first`: the token is the first of a text, where
 * SentencePiece models drop the space they had put in front, and WordPiece the one before a word.
 * An id outside the vocabulary is SLV_E_USAGE; else out's status. */
int slv_token_bytes(const struct slv_tokenizer *t, int32_t id, bool special, bool first,
                    struct slv_buf *out) SLV_MUST_USE;

/* All of ids[0..n), appended; the result is repaired to valid UTF-8 unless `raw`. */
int slv_detokenize(const struct slv_tokenizer *t, const int32_t *ids, size_t n, bool special,
                   bool raw, struct slv_buf *out) SLV_MUST_USE;

/* The vocabulary. Ids run from 0 to size - 1. -1: the model has no such token. */
size_t slv_tokenizer_size(const struct slv_tokenizer *t);

/* Heap memory it holds. */
size_t slv_tokenizer_bytes(const struct slv_tokenizer *t);
int32_t slv_tokenizer_bos(const struct slv_tokenizer *t);
int32_t slv_tokenizer_eos(const struct slv_tokenizer *t);
/* The token that SLV_TOKENIZE_ADD puts behind a text, or -1. */
int32_t slv_tokenizer_after(const struct slv_tokenizer *t);
/* How many of them stand between the two texts of a pair. */
uint32_t slv_tokenizer_between(const struct slv_tokenizer *t);
bool slv_tokenizer_adds_bos(const struct slv_tokenizer *t);
/* Whether a generation ends at id: EOS, EOT, EOM and their kin, found as llama.cpp finds them. */
bool slv_tokenizer_is_end(const struct slv_tokenizer *t, int32_t id);
/* The piece as the vocabulary stores it, borrowed; an empty string outside the vocabulary. */
struct slv_str slv_tokenizer_piece(const struct slv_tokenizer *t, int32_t id);
enum slv_token_kind slv_tokenizer_kind(const struct slv_tokenizer *t, int32_t id);
/* The id of a piece, or -1. */
int32_t slv_tokenizer_find(const struct slv_tokenizer *t, const char *piece, size_t n);
/* "gpt2/smollm", "llama", "bert": for show. Borrowed. */
const char *slv_tokenizer_name(const struct slv_tokenizer *t);

#endif
