/* tiny_vocab.h: small vocabularies as GGUF bytes, one of each kind, for tests and fuzzers. */
#ifndef TESTS_TINY_VOCAB_H
#define TESTS_TINY_VOCAB_H

#include "base/buf.h"
#include "format/gguf.h"

enum tiny_kind { TINY_BPE, TINY_SPM, TINY_UNIGRAM, TINY_WPM, TINY_GEMMA4, TINY_KINDS };

/* A GGUF file in the making. Errors stick to `out`. */
struct tiny {
    struct slv_buf out;
    uint64_t n_kv;
};

void tiny_begin(struct tiny *t);
void tiny_str(struct tiny *t, const char *key, const char *value);
void tiny_u32(struct tiny *t, const char *key, uint32_t value);
void tiny_bool(struct tiny *t, const char *key, bool value);
void tiny_array(struct tiny *t, const char *key, enum slv_gguf_kind kind, size_t n);
void tiny_item(struct tiny *t, const char *s, size_t n); /* of an array of strings */
/* Writes the count of keys; t->out.data[0..len) is the file. */
void tiny_end(struct tiny *t);

/* A whole vocabulary; a key in `without` (NULL: none) is left out, so that the caller can write it
 * anew before tiny_end. Ids worth knowing:
 *   BPE      0-255 the bytes; 256 "he", 257 "ll", 258 "llo", 259 "hello", 260 " w", ... ; see .c
 *   SPM, GEMMA4, UNIGRAM, WPM  by slv_tokenizer_find */
void tiny_vocab(struct tiny *t, enum tiny_kind kind, const char *without);

#endif
