/* hf_int.h: inside the reader of Hugging Face folders.
 *
 *   hf.c          the folder: its files, the numbers, the tensors
 *   hf_tok.c      tokenizer.json or vocab.txt -> tokenizer.ggml.*
 *   hf_table.c    which name becomes which
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
    HF_MUST /* nothing is written: where it is there it must be `value` */
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

#endif
