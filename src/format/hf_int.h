/* hf_int.h: inside the reader of Hugging Face folders.
 *
 *   hf.c          the folder: its files, the numbers, the tensors
 *   hf_table.c    which name becomes which
 *   hf_tok.c      tokenizer.json or vocab.txt -> tokenizer.ggml.*
 *   hf_wpm.c  hf_bpe.c  hf_unigram.c    one kind of tokenizer each
 */
#ifndef SLV_FORMAT_HF_INT_H
#define SLV_FORMAT_HF_INT_H

#include "base/jsonin.h"
#include "format/gguf_meta.h"
#include "format/safetensors.h"

/* --- tables ----------------------------------------------------------------------------------- */

enum hf_kind {
    HF_U32,
    HF_F32,
    HF_STR,
    HF_BOOL,
    HF_PLACES, /* HF_U32, less the positions before the first token's, whose rows are cut off */
    HF_MUST    /* nothing is written: where it is there it must be `value` */
};

/* One number of config.json: absent, null and `value` NULL: the key is left out, and hparams.c says
 * whether that may be. */
struct hf_key {
    const char *json;
    const char *key; /* behind "<arch>." */
    uint8_t kind;    /* enum hf_kind */
    const char *value;
};

/* One tensor's name. '#' stands for a layer's number, '*' at the end for the rest. */
struct hf_name {
    const char *from;
    const char *to; /* NULL: it is passed over */
};

struct hf_family {
    const char *type; /* model_type */
    const char *arch; /* general.architecture */
    const struct hf_key *keys;
    const struct hf_name *names;
    const char *prefix; /* of names, where it is there */
    bool halves;        /* RoPE turns pairs (i, i + n / 2), which the architecture does not say */
};

const struct hf_family *hf_family_get(struct slv_str type);

/* The name of the pre-tokenizer (pretok.h) that a regular expression is; NULL: not known. */
const char *hf_pretok_name(struct slv_str regex);

/* Whether `name` is what `pattern` says: what stands for '#' and '*'. */
bool hf_match(const char *pattern, struct slv_str name, struct slv_str *ret_layer,
              struct slv_str *ret_rest);

/* --- the folder ------------------------------------------------------------------------------- */

enum hf_file {
    HF_CONFIG,
    HF_TOKENIZER,
    HF_TOKENIZER_CONFIG,
    HF_SPECIAL_TOKENS,
    HF_GENERATION,
    HF_MODULES,
    HF_POOLING,
    HF_PROMPTS,
    HF_SENTENCE,
    HF_FILES
};

struct hf {
    const char *folder;
    struct {
        struct slv_buf text;
        struct slv_json_doc doc; /* doc.n 0: there is no such file */
    } file[HF_FILES];
    const struct hf_family *family;
    struct slv_gguf_meta meta;
    uint32_t places; /* rows of the table of positions before the first token's */
    struct slv_err *err;
};

/* The value at the top of a file; none where there is no such file. */
struct slv_json_val hf_root(const struct hf *f, enum hf_file file);

/* Reads FOLDER/name into *text; *ret_there: whether it is there. */
int hf_read(const struct hf *f, const char *name, struct slv_buf *text,
            bool *ret_there) SLV_MUST_USE;

/* "FOLDER/FILE: REASON" */
int hf_fail(const struct hf *f, enum hf_file file, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Writes tokenizer.ggml.* for a vocabulary of n_vocab (0: as many as there are). */
int hf_tokenizer(struct hf *f, uint32_t n_vocab) SLV_MUST_USE;

/* --- vocabularies ----------------------------------------------------------------------------- */

#define HF_NO_TOKEN UINT32_MAX /* as GGUF files store it */

struct hf_piece {
    struct slv_str text; /* p NULL: no such piece */
    uint8_t kind;        /* enum slv_token_kind */
    uint8_t strip;       /* white space that belongs to it: 1, before; 2, behind */
};

struct hf_vocab {
    struct hf *f;
    struct slv_json_val root, model; /* of tokenizer.json */
    enum hf_file file;               /* that errors name */
    struct hf_piece *v;              /* [n] */
    uint32_t n;
    struct slv_buf text;    /* of vocab.txt */
    uint32_t before, after; /* tokens around a text, or HF_NO_TOKEN */
    uint32_t between;       /* tokens `after` between the two of a pair */
    bool strips;            /* a piece has some */
    bool mapped;            /* Unigram: the normalizer's table is written */
};

int hf_vocab_bad(const struct hf_vocab *w, int code, const char *what);
/* Room for the pieces: as many as the model says, or as the largest id says where it does not. */
int hf_vocab_room(struct hf_vocab *w, int64_t most, uint32_t n_vocab) SLV_MUST_USE;
int hf_vocab_set(struct hf_vocab *w, int64_t id, struct slv_str text, uint8_t kind) SLV_MUST_USE;
/* The id of a piece, or of what a file calls "eos_token" and the like; HF_NO_TOKEN: none. */
uint32_t hf_vocab_find(const struct hf_vocab *w, struct slv_str text);
uint32_t hf_vocab_role(const struct hf_vocab *w, const char *role);
/* Writes tokens and kinds. */
void hf_vocab_put(struct hf_vocab *w, bool word_piece);
/* Writes the tokens with a role of a model that may go without each of them. */
void hf_vocab_put_roles(struct hf_vocab *w);
void hf_put_text(struct hf_vocab *w, const char *key, const char *value);

bool hf_is_type(struct slv_json_val v, const char *type); /* {"type": type} */
bool hf_is_nothing(struct slv_json_val v);
/* A truth value; `missing` where there is none. */
bool hf_flag(struct slv_json_val v, const char *name, bool missing);

/* The rest of a tokenizer whose pieces are there. */
int hf_word_piece(struct hf_vocab *w) SLV_MUST_USE;
int hf_word_piece_lines(struct hf_vocab *w, uint32_t n_vocab) SLV_MUST_USE;
int hf_bpe(struct hf_vocab *w) SLV_MUST_USE;
int hf_unigram(struct hf_vocab *w) SLV_MUST_USE;

#endif
