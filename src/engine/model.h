/* model.h: an opened model, as the engine's own files see it. The public half is selvage.h. */
#ifndef SLV_ENGINE_MODEL_H
#define SLV_ENGINE_MODEL_H

#include "engine/plan.h"
#include "engine/repack.h"
#include "engine/weights.h"
#include "format/template.h"
#include "format/tokenizer.h"

#include <pthread.h>
#include <stdatomic.h>

struct slv_model {
    struct slv_gguf *gguf;
    struct slv_tokenizer *tokenizer;
    struct slv_template *chat; /* NULL: the file has none */
    struct slv_err chat_err;   /* why it could not be compiled; code 0: it was */
    struct slv_hparams h;
    struct slv_weights w;
    struct slv_plan plan;
    struct slv_kernels kern;
    bool cpu_lowered, inspect, cached;
    bool has_source;            /* its bytes came from elsewhere: nothing of it is kept but by */
    struct slv_keeper keeper;   /* all zeros: none */
    struct slv_keptread *early; /* packed weights that are being read already, while it is opened */
    struct slv_repack *repack;  /* packed weights that are being written, or NULL */
    uint64_t params;
    _Atomic uint64_t content;                    /* 0: not known yet */
    _Atomic uint64_t adapter_ids, adapter_bytes; /* given out; of those that are open */
    pthread_mutex_t share_lock;
    void *shared; /* slv_model_share: made once; NULL: not yet */
    void (*close_shared)(void *p);
    struct slv_arena texts; /* NUL-terminated copies for slv_model_info */
    const char *arch, *name, *license, *template_text;
};

/* slv_model_open for a file that is indexed already. Takes g, and opts' keeper, over, also when it
 * fails. */
int slv_model_adopt(struct slv_gguf *g, const struct slv_model_opts *opts, struct slv_model **ret,
                    struct slv_err *err) SLV_MUST_USE;

/* SLV_E_USAGE for a model that makes no text. */
int slv_model_check_generates(const struct slv_model *m, struct slv_err *err) SLV_MUST_USE;

/* Bytes that sessions with the same steps share, weights first of all; o is filled in. */
uint64_t slv_model_shared_bytes(const struct slv_model *m, const struct slv_session_opts *o);

/* Options with every default filled in. SLV_E_USAGE where one is out of range. */
int slv_session_opts_fill(const struct slv_model *m, const struct slv_session_opts *in,
                          struct slv_session_opts *ret, struct slv_err *err) SLV_MUST_USE;

/* Whether a session of n_ctx positions takes the angles for long contexts: its keys are others. */
bool slv_model_is_long(const struct slv_model *m, uint32_t n_ctx);

/* A checksum of all that the model is made of, or its keeper's id. Reads the whole file the first
 * time. Threads: any. */
uint64_t slv_model_content(struct slv_model *m);

/* What is made of a model's vocabulary once, for all that need it: by make() the first time,
 * closed with the model. There is one such thing. Threads: any. */
int slv_model_share(struct slv_model *m,
                    int (*make)(struct slv_model *m, void **ret, struct slv_err *err),
                    void (*close)(void *p), void **ret, struct slv_err *err) SLV_MUST_USE;

/* What the model's packed weights are found by (repack.h). */
struct slv_repack_model slv_model_repack(struct slv_model *m);

/* The KV type of a public kind. */
enum slv_kv_type slv_kv_type_of(enum slv_kv_kind kind);

#endif
