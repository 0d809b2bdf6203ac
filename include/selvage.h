/* selvage.h: run small language models on the machine at hand.
 *
 * Two nouns carry the whole library:
 *
 *   struct slv_model     an immutable model file: weights, tokenizer, chat template. Any number of
 *                        threads may use one model at once.
 *   struct slv_session   one conversation with a model: its KV cache and position. One thread at a
 *                        time.
 *
 * An embedder (struct slv_embedder) makes vectors of texts with a model.
 *
 * Sessions may share the steps of a batch (struct slv_batch) and what they begin with (struct
 * slv_prefix_cache); what they answer does not change. Each may have adapters (struct slv_adapter),
 * which do change it.
 *
 * Rules that hold everywhere:
 *   - Functions return 0, or a negative SLV_E_* code. Where a person needs to know more, the last
 *     parameter is a struct slv_err that may be NULL.
 *   - Results come back through parameters named ret_*, written only on success.
 *   - The caller owns what it passes in; a callee borrows it for the call. What a function hands
 *     out belongs to the caller and is returned through the matching close function, which takes
 *     NULL.
 *   - The library never prints, never exits and never aborts on input.
 *   - The same model, tokens and options give the same bits: on any CPU, with any thread count.
 */
#ifndef SELVAGE_H
#define SELVAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SLV_API __attribute__((visibility("default")))
#define SLV_MUST_USE __attribute__((warn_unused_result))
#else
#define SLV_API
#define SLV_MUST_USE
#endif

/* name, value, exit status of the program, text */
#define SLV_ERRORS(X)                                                                              \
    X(NOMEM, -1, 4, "out of memory")                                                               \
    X(IO, -2, 1, "input or output failed")                                                         \
    X(NOENT, -3, 1, "not found")                                                                   \
    X(USAGE, -4, 2, "wrong usage")                                                                 \
    X(FORMAT, -5, 3, "malformed input file")                                                       \
    X(UNSUPPORTED, -6, 3, "not supported")                                                         \
    X(LIMIT, -7, 4, "a limit was exceeded")                                                        \
    X(FIT, -8, 4, "does not fit in the memory allowed")                                            \
    X(TRUST, -9, 5, "trust refused")                                                               \
    X(BAR, -10, 6, "a stated bar was missed")                                                      \
    X(NUMERIC, -11, 1, "the model produced values that are not numbers")                           \
    X(NET, -12, 1, "network failure")                                                              \
    X(BUSY, -13, 1, "busy")                                                                        \
    X(CANCELLED, -14, 130, "interrupted")                                                          \
    X(INTERNAL, -15, 1, "internal error")

enum slv_error {
    SLV_OK = 0,
#define SLV_ERROR_ENUM(name, value, status, text) SLV_E_##name = (value),
    SLV_ERRORS(SLV_ERROR_ENUM)
#undef SLV_ERROR_ENUM
};

/* What went wrong, for a person: one line without a final full stop. `code` is an SLV_E_*. */
struct slv_err {
    int code;
    char msg[500];
};

/* The fixed text of an error code; "unknown error" for any other number. Never NULL. */
SLV_API const char *slv_strerror(int code);

/* "0.1.0": major.minor.patch of the library that is linked. */
SLV_API const char *slv_version(void);

/* --- bytes that come from elsewhere ----------------------------------------------------------- */

/* Bytes that can be read anywhere, whatever they come from: a file, a sealed one, memory. A read
 * gives all the bytes asked for or an error, and never bytes that somebody has tampered with where
 * the source can tell. Threads: any number may read one at once. */
struct slv_blocks {
    uint64_t size; /* bytes in all */
    /* Bytes [at, at + n), which are within size, to p. SLV_E_IO; SLV_E_TRUST: they are not what was
     * written; SLV_E_NOMEM. On an error p holds nothing that may be used. */
    int (*read)(void *ctx, uint64_t at, size_t n, void *p, struct slv_err *err);
    void (*close)(void *ctx); /* may be NULL */
    void *ctx;
};

/* A file that is written from its first byte to its last, and appears when it is whole. */
struct slv_sink {
    int (*write)(void *ctx, const void *p, size_t n, struct slv_err *err);
    int (*commit)(void *ctx, struct slv_err *err); /* makes it appear */
    void (*close)(void *ctx);                      /* without a commit before, nothing stays */
    void *ctx;
};

/* How files are written and read that hold what was made of a model, where the model itself must
 * not be read by everybody: packed weights, sessions. What `open` gives was written through a
 * keeper of the same model's bytes, for the same use, and has not changed since: it is for the
 * keeper to see to that, by encryption for one. Threads: any. */
enum slv_kept { SLV_KEPT_WEIGHTS = 1, SLV_KEPT_SESSION = 2 };
struct slv_keeper {
    uint64_t id; /* of the model's bytes: names their file, and tells nothing of them */
    /* SLV_E_NOENT; SLV_E_TRUST: it is not what was written; SLV_E_FORMAT: it is no such file. */
    int (*open)(void *ctx, enum slv_kept use, const char *path, struct slv_blocks *ret,
                struct slv_err *err);
    /* SLV_E_BUSY: another process is writing it. */
    int (*create)(void *ctx, enum slv_kept use, const char *path, struct slv_sink *ret,
                  struct slv_err *err);
    void (*close)(void *ctx); /* may be NULL */
    void *ctx;
};

/* --- models ----------------------------------------------------------------------------------- */

struct slv_model;
struct slv_session;

/* How to open a model. All zeros is a good default. */
struct slv_model_opts {
    uint32_t threads; /* that read and pack weights; 0: as many as there are cores */
    bool inspect;     /* read metadata and tokenizer only: no sessions can be opened */
    const char *cpu;  /* instruction-set level as in SLV_CPU: "scalar", "avx2"; NULL: SLV_CPU, or
                         the best */
    /* Called now and then while weights are packed, from the calling thread; may be NULL. */
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t all_bytes);
    void *progress_ctx;
    /* A folder of this user's in which packed weights are kept, so that the next start need not
     * pack them; made if it is missing. NULL: they are not kept. What cannot be read or written
     * there costs time only. The answers are the same. */
    const char *packed;
    uint64_t packed_max; /* bytes that the folder may hold; 0: 16 GiB, or a third of what its disk
                            has free for it if that is less. Least recently used files go first */
    /* A line about a file there that was discarded, or could not be written; may be NULL. Called
     * when the model is opened or closed, as the next. */
    void (*note)(void *ctx, const char *line);
    /* Called now and then by slv_model_close while the rest of that file is written; false leaves
     * it unwritten. May be NULL. */
    bool (*keeping)(void *ctx, uint64_t done_bytes, uint64_t all_bytes);
    void *note_ctx;
    /* Where the bytes of a GGUF file come from in place of the path, which only names it; borrowed
     * for the call. All of them that make the model are read, weights into memory of this process,
     * and none again later: what the source refuses is refused before a token is made. NULL: the
     * path is read. */
    const struct slv_blocks *source;
    /* Of a source: keeps packed weights and sessions. It is the model's from here on, closed with
     * it, or by slv_model_open where that fails. NULL: of such a model nothing is kept. */
    const struct slv_keeper *keeper;
};

/* Opens a GGUF file, or a folder in Hugging Face layout. SLV_E_NOENT, SLV_E_IO, SLV_E_FORMAT
 * (malformed), SLV_E_UNSUPPORTED (an architecture, tokenizer or tensor type that is not known),
 * SLV_E_NOMEM, SLV_E_USAGE (opts); with a source also what it fails with. */
SLV_API int slv_model_open(const char *path, const struct slv_model_opts *opts,
                           struct slv_model **ret, struct slv_err *err) SLV_MUST_USE;

/* All sessions of the model must be closed first. */
SLV_API void slv_model_close(struct slv_model *m);

/* What a text's vector is made of. */
enum slv_pooling {
    SLV_POOL_MODEL = 0, /* what the model says; SLV_E_USAGE where it says nothing */
    SLV_POOL_MEAN = 1,  /* the mean of all tokens' states */
    SLV_POOL_CLS = 2,   /* the state of the first token */
    SLV_POOL_LAST = 3,  /* of the last one */
    SLV_POOL_RANK = 4   /* no vector but scores, of a model that was trained to give some */
};

/* Texts are borrowed from the model; "" where the file says nothing. */
struct slv_model_info {
    const char *arch, *name, *license, *tokenizer;
    const char *chat_template; /* Jinja text or "" */
    uint64_t params;           /* numbers in all tensors */
    uint64_t file_bytes;
    uint32_t n_layer, n_embd, n_head, n_head_kv, n_ff, n_vocab, n_ctx, window;
    bool adds_bos;            /* texts begin with BOS */
    int32_t bos, eos;         /* token ids or -1 */
    const char *cpu;          /* the level in use */
    bool cpu_lowered;         /* the level asked for is not to be had here */
    bool encoder;             /* makes vectors of texts, and no text: slv_embedder_open */
    enum slv_pooling pooling; /* how; SLV_POOL_MODEL: the file does not say */
    bool cached; /* the weights came packed, from the folder of struct slv_model_opts */
};
SLV_API void slv_model_info(const struct slv_model *m, struct slv_model_info *ret);

/* One tensor of the file. name is not NUL-terminated; shape[0] is the contiguous dimension. */
struct slv_tensor_info {
    const char *name;
    size_t name_n;
    const char *type; /* "q4_1" */
    uint32_t n_dims;
    uint64_t shape[4];
    uint64_t bytes;
};
/* Tensor i in the order of the file; false past the last. */
SLV_API bool slv_model_tensor(const struct slv_model *m, size_t i, struct slv_tensor_info *ret);

/* The element type of keys and values. */
enum slv_kv_kind { SLV_KV_KIND_F16 = 0, SLV_KV_KIND_F32 = 1, SLV_KV_KIND_Q8 = 2 };

/* Bytes that a session will take, known before anything is allocated. */
struct slv_memory {
    uint64_t weights; /* of the model and its open adapters, shared by its sessions */
    uint64_t kv;
    uint64_t arena; /* the buffers of a step, and what the process needs besides: tokenizer,
                       metadata, sampler, code and stacks */
    uint64_t total;
};

/* How to open a session. All zeros is a good default. */
struct slv_session_opts {
    uint32_t n_ctx;    /* positions; 0: the model's own, but at most 4096 */
    uint32_t n_batch;  /* prompt tokens in one step; 0: 256. Changes speed, never results */
    uint32_t n_logits; /* tokens of one step that may want logits; 0: 1 */
    uint32_t threads;  /* 0: SLV_THREADS, or as many as there are cores */
    /* Of them, those for steps of at most 16 tokens, which wait for memory more than they compute.
     * 0: all */
    uint32_t threads_few;
    enum slv_kv_kind kv;
    uint64_t memory; /* most bytes, weights included; 0: no limit */
    /* Most tokens of an answer that are guessed and checked in one step, at most 63 and below
     * n_batch: room for their logits, and an index of the conversation. Changes speed, never
     * results. 0: none; SLV_DRAFT_AUTO: 15, fewer for a large vocabulary */
    uint32_t n_draft;
    /* Where sessions share what they have in common of their beginnings (see below), NULL: nowhere.
     * Its keys and values are of the same kind. The session reserves as much of it as a session by
     * itself would take, and as one of 64 positions would take besides; kv of struct slv_memory is
     * then the whole cache, or 0 in a batch where other sessions have brought it already. */
    struct slv_prefix_cache *prefix;
    /* The batch that the session belongs to, NULL: none. Steps are the batch's then: n_batch,
     * n_logits, threads and memory are not looked at. */
    struct slv_batch *batch;
    /* Beginnings are shared only with sessions of the same space: one for each owner whose texts
     * others must not learn of, not even by how long an answer takes. Any number. */
    uint64_t space;
    /* Positions for which memory of the prefix cache is reserved at first, 0: all. The rest is
     * reserved as it is needed: so there may be more sessions than would fit if each used all of
     * its context. Where there is none left, feeding fails with SLV_E_FIT; in a batch somebody
     * waits (slv_batch_step). */
    uint32_t n_first;
    int32_t priority; /* in a batch: those of lower priority are the first to wait for memory */
};
#define SLV_DRAFT_AUTO UINT32_MAX

/* What a session with these options takes; in a batch, what it takes besides. SLV_E_USAGE: more
 * positions than the model has. */
SLV_API int slv_model_memory(const struct slv_model *m, const struct slv_session_opts *opts,
                             struct slv_memory *ret, struct slv_err *err) SLV_MUST_USE;

/* --- text and tokens -------------------------------------------------------------------------- */

/* Bytes that the library allocated; slv_text_free gives them back. Always followed by a NUL. */
struct slv_text {
    char *p;
    size_t n;
};
SLV_API void slv_text_free(struct slv_text *t);

struct slv_tokens {
    int32_t *v;
    size_t n;
};
SLV_API void slv_tokens_free(struct slv_tokens *t);

/* text[0..n) -> ids. `special`: control tokens written in the text become those tokens, and BOS and
 * EOS are added as the model asks; otherwise all text is only text. Broken UTF-8 counts as U+FFFD.
 */
SLV_API int slv_model_tokenize(const struct slv_model *m, const char *text, size_t n, bool special,
                               struct slv_tokens *ret) SLV_MUST_USE;

/* ids -> valid UTF-8. `special`: control tokens are written out. SLV_E_USAGE: an id that is not in
 * the vocabulary. */
SLV_API int slv_model_detokenize(const struct slv_model *m, const int32_t *ids, size_t n,
                                 bool special, struct slv_text *ret) SLV_MUST_USE;

/* What one token stands for, control tokens written out: its bytes, which need not be whole UTF-8.
 */
SLV_API int slv_model_token_text(const struct slv_model *m, int32_t id,
                                 struct slv_text *ret) SLV_MUST_USE;

/* One turn of a conversation. */
struct slv_message {
    const char *role;    /* "system", "user", "assistant" */
    const char *content; /* NUL-terminated UTF-8 */
};

/* The conversation in the model's own words, by its chat template, with the beginning of an
 * assistant's turn at the end. Tokenize the result with `special`: control tokens that a message
 * spells out are marked with U+FDD0 and stay text. A model without a template gets
 * the contents one after the other. SLV_E_USAGE: the template refuses the conversation. */
SLV_API int slv_model_chat(const struct slv_model *m, const struct slv_message *messages, size_t n,
                           struct slv_text *ret, struct slv_err *err) SLV_MUST_USE;

/* --- sessions --------------------------------------------------------------------------------- */

/* SLV_E_FIT: more than opts->memory; the message says what context would fit (also for a model
 * opened with `inspect`, which is SLV_E_USAGE otherwise). Or: the prefix cache has not so much. */
SLV_API int slv_session_open(struct slv_model *m, const struct slv_session_opts *opts,
                             struct slv_session **ret, struct slv_err *err) SLV_MUST_USE;
SLV_API void slv_session_close(struct slv_session *s);

/* Tokens the session holds, and can hold. */
SLV_API uint32_t slv_session_position(const struct slv_session *s);
SLV_API uint32_t slv_session_context(const struct slv_session *s);

/* Reads n tokens; afterwards slv_session_logits tells what may follow the last. What a prefix cache
 * knows of them, but the last, is not computed. SLV_E_LIMIT: they do not fit in the context, and
 * nothing was read. SLV_E_CANCELLED: slv_session_cancel was called; what was read before stays.
 * SLV_E_NOMEM: also where kept weights are damaged and cannot be packed again; may be retried. */
SLV_API int slv_session_feed(struct slv_session *s, const int32_t *ids, size_t n,
                             struct slv_err *err) SLV_MUST_USE;

/* Makes the session hold as much of ids[0..n) as can be had without computing, and nothing else,
 * but at most n - 1 tokens: what it holds already, or else what its prefix cache knows. *ret: how
 * many; ids from there on are to be fed. SLV_E_LIMIT: they do not fit in the context. */
SLV_API int slv_session_resume(struct slv_session *s, const int32_t *ids, size_t n, uint32_t *ret,
                               struct slv_err *err) SLV_MUST_USE;

/* Writes what the session holds to a file, which takes the place of an older one when it is whole,
 * so that a restart need not read it again. Readable by its owner only: the tokens are in it.
 * Of a model with a keeper it is the keeper's file. SLV_E_USAGE: it holds nothing, or the model has
 * a source and no keeper. SLV_E_BUSY: another process is writing that file. SLV_E_IO. */
SLV_API int slv_session_save(struct slv_session *s, const char *path,
                             struct slv_err *err) SLV_MUST_USE;

/* Makes the session hold what the file has, without logits: slv_session_resume with the tokens that
 * are wanted goes on from there. On failure the session stays as it was: SLV_E_NOENT, SLV_E_IO;
 * SLV_E_FORMAT: cut, damaged, of another version, model, kind of KV cache or other adapters than
 * the session has, or longer than the context. Checksums find damage, they do not keep out who may
 * write to the file; a keeper does: SLV_E_TRUST. */
SLV_API int slv_session_load(struct slv_session *s, const char *path,
                             struct slv_err *err) SLV_MUST_USE;

/* Called with the logits [n_vocab] after each token i of a feed; they are valid for the call. */
typedef void (*slv_logits_fn)(size_t i, const float *logits, void *ctx);

/* The same, with logits after every token. opts->n_logits tokens go in one step: the more, the
 * faster. slv_session_logits gives NULL afterwards. */
SLV_API int slv_session_feed_each(struct slv_session *s, const int32_t *ids, size_t n,
                                  slv_logits_fn each, void *ctx, struct slv_err *err) SLV_MUST_USE;

/* Goes back to the first n tokens. SLV_E_USAGE: more than there are. SLV_E_LIMIT: a sliding window
 * no longer holds what the model would look at there, nor does a prefix cache; n = 0 always works.
 */
SLV_API int slv_session_rewind(struct slv_session *s, uint32_t n) SLV_MUST_USE;

/* [n_vocab] logits after the last token fed, until the next call; NULL before the first. */
SLV_API const float *slv_session_logits(const struct slv_session *s);

/* May be called from another thread or a signal handler. stop: the running feed or generation, or
 * the next one if none is running, gives up its step and ends with SLV_E_CANCELLED; what was read
 * before that step stays. That takes the request back, and so does a call with stop false. */
SLV_API void slv_session_cancel(struct slv_session *s, bool stop);

/* --- adapters --------------------------------------------------------------------------------- */

/* A LoRA adapter: pairs of small matrices that a session's products get besides those of the
 * model's weights, which stay as they are: y = W x + sum of scale_i * B_i (A_i x). Immutable and
 * shared by any number of sessions; sessions with other adapters, or none, share a batch's steps.
 * One result holds for them too. Threads: any number may use one at once. */
struct slv_adapter;

/* Opens a GGUF file as llama.cpp's convert_lora_to_gguf.py writes it, made for this model: every
 * tensor belongs to a matrix of it and fits. SLV_E_NOENT, SLV_E_IO, SLV_E_FORMAT, SLV_E_UNSUPPORTED
 * (another kind of adapter, tensors that are no matrices), SLV_E_LIMIT (the rank), SLV_E_NOMEM. */
SLV_API int slv_adapter_open(struct slv_model *m, const char *path, struct slv_adapter **ret,
                             struct slv_err *err) SLV_MUST_USE;
/* Its sessions are closed or have other adapters before, the model is closed after. */
SLV_API void slv_adapter_close(struct slv_adapter *a);

struct slv_adapter_info {
    const char *name; /* borrowed; "" where the file says nothing */
    uint32_t rank;    /* the largest of its pairs */
    uint32_t pairs;   /* matrices that it changes */
    float alpha;      /* 0: the file gives none, and `scale` is taken as it is */
    uint64_t bytes;   /* that it takes in memory */
};
SLV_API void slv_adapter_info(const struct slv_adapter *a, struct slv_adapter_info *ret);

#define SLV_ADAPTERS_MAX 8u        /* of a session */
#define SLV_ADAPTER_RANK_MAX 1024u /* of a pair */

struct slv_adapter_use {
    const struct slv_adapter *adapter;
    float scale; /* 1: as it was trained */
};

/* From now on the session has these n adapters, applied in this order, and no others; v is not
 * kept, the adapters are used as long as the session has them. Only while it holds no tokens:
 * SLV_E_USAGE, as for more than SLV_ADAPTERS_MAX, an adapter of another model, or a scale that is
 * no number. SLV_E_FIT: more than the memory that was allowed. On failure nothing has changed. */
SLV_API int slv_session_set_adapters(struct slv_session *s, const struct slv_adapter_use *v,
                                     size_t n, struct slv_err *err) SLV_MUST_USE;

/* --- generation ------------------------------------------------------------------------------- */

struct slv_logit_bias {
    int32_t id;
    float bias; /* added to the logit; -INFINITY forbids */
};

/* How the next token is drawn. Filters apply in this order: bias, penalties, DRY, top_k, typical,
 * top_p, min_p, temperature. slv_sampling_default fills in values that switch everything but
 * greedy choice off. */
struct slv_sampling {
    float temperature;       /* 0: the most probable token, ties to the lowest id */
    uint32_t top_k;          /* 0: off */
    float top_p;             /* 1: off */
    float min_p;             /* 0: off */
    float typical_p;         /* 1: off */
    float repeat_penalty;    /* 1: off; > 1 makes tokens of the last `penalty_window` less likely */
    float presence_penalty;  /* 0: off */
    float frequency_penalty; /* 0: off */
    uint32_t penalty_window; /* tokens looked back at, default 64 */
    float dry_multiplier;    /* 0: off; penalty against repeating sequences */
    float dry_base;          /* 1.75 */
    uint32_t dry_allowed;    /* sequences up to this long are free, 2 */
    uint32_t dry_window;     /* tokens looked back at, default 1024 */
    uint64_t seed;
    const struct slv_logit_bias *bias; /* borrowed */
    size_t n_bias;
};
SLV_API void slv_sampling_default(struct slv_sampling *ret);

/* The natural logarithm of a token's probability, before all sampling options. */
struct slv_logprob {
    int32_t id;
    float logprob;
};

/* A piece of an answer. */
struct slv_piece {
    const char *text; /* whole UTF-8 characters, perhaps none; n bytes */
    size_t n;
    int32_t id; /* the token, -1 for text that was held back to the end */
    float logprob;
    const struct slv_logprob *top; /* the n_top most probable tokens, most probable first */
    size_t n_top;
};

enum slv_finish {
    SLV_FINISH_STOP,   /* the model ended, or a stop string came */
    SLV_FINISH_LENGTH, /* max_tokens */
    SLV_FINISH_LIMIT,  /* the context is full */
    SLV_FINISH_SCHEMA  /* the value, or text, that a constraint asks for is complete */
};

#define SLV_TOP_LOGPROBS_MAX 100

/* Tokens that are certain to follow history[0..n): writes at most `max` of them, returns how many;
 * 0: the next one is to be drawn. Must depend on the history alone. */
typedef size_t (*slv_forced_fn)(void *ctx, const int32_t *history, size_t n, int32_t *ids,
                                size_t max);

/* A JSON Schema (drafts 4 to 2020-12) that answers are held to: compact JSON, members in the
 * schema's order, "format" asserted. Whatever is drawn, a complete answer meets the schema. Uses
 * the model's vocabulary: the model must stay open. Threads: many answers may use one at once.
 *
 * schema[0..n) is its text. SLV_E_UNSUPPORTED, SLV_E_FORMAT or SLV_E_LIMIT with the keyword in
 * the message where it cannot be enforced in full, or no value meets it; then ret_pointer
 * (SLV_POINTER_MAX bytes, or NULL) gets the JSON pointer of the place. SLV_E_NOMEM. */
struct slv_constraint;
#define SLV_POINTER_MAX 1024
SLV_API int slv_constraint_open(struct slv_model *m, const char *schema, size_t n,
                                struct slv_constraint **ret, char *ret_pointer,
                                struct slv_err *err) SLV_MUST_USE;

/* A grammar that answers are held to, in Lark's form or llama.cpp's GBNF: text[0..n). It may have
 * tokens, free text and values of JSON Schemas in it; docs/schema.md says how it is written. Where
 * a token is named that the vocabulary does not have, or something cannot be enforced, the message
 * says which: SLV_E_FORMAT, SLV_E_UNSUPPORTED, SLV_E_LIMIT, SLV_E_NOMEM. */
SLV_API int slv_grammar_open(struct slv_model *m, const char *text, size_t n,
                             struct slv_constraint **ret, struct slv_err *err) SLV_MUST_USE;
SLV_API void slv_constraint_close(struct slv_constraint *c);

/* A prompt may end where the model would have gone on with a longer token ("http:", which wants
 * "://"). *ret_n: how many of ids[0..n) to feed, at least 1; *ret_head: the text of the others,
 * perhaps none, which is to be `head` of the answer's options. The same prompt gives the same. */
SLV_API int slv_model_heal(struct slv_model *m, const int32_t *ids, size_t n, size_t *ret_n,
                           struct slv_text *ret_head, struct slv_err *err) SLV_MUST_USE;

struct slv_generate_opts {
    struct slv_sampling sampling;
    uint32_t max_tokens;     /* 0: until the context is full */
    const char *const *stop; /* strings that end the answer and are not part of it */
    size_t n_stop;
    uint32_t logprobs; /* how many alternatives to report, 0 to 100; `logprob` itself is always
                          there when want_logprobs */
    bool want_logprobs;
    bool special;    /* control tokens are written out as text */
    bool ignore_end; /* go on after the model's end token */
    bool plain;      /* one step for each token, though the session has room for drafts */
    /* A session of another model with the same tokens (SLV_E_USAGE if they are not) that guesses
     * what comes next, beside what the conversation itself suggests; NULL: none. It is fed as
     * needed, and must not be used meanwhile. */
    struct slv_session *draft;
    /* Asked before a token is drawn; what it says is taken as if it had been drawn. May be NULL. */
    slv_forced_fn forced;
    void *forced_ctx;
    /* What the answer is held to, from its first token on; NULL: nothing. Tokens that it leaves
     * no choice about are not drawn. Not together with `forced`. Where the answer ends before
     * its value is complete (max_tokens, a full context, a stop string) it is a part of one. */
    const struct slv_constraint *constraint;
    /* Text of n_head <= 255 bytes, whole UTF-8, that the answer begins with however its tokens cut
     * it, and that is not given out: what slv_model_heal left off of the prompt. A constraint holds
     * what follows. Not together with `forced`. */
    const char *head;
    size_t n_head;
};
SLV_API void slv_generate_default(struct slv_generate_opts *ret);

/* Called for every token. Returning false ends the generation (SLV_E_CANCELLED). */
typedef bool (*slv_piece_fn)(const struct slv_piece *piece, void *ctx);

/* Draws tokens and feeds them until one of the reasons of slv_finish. The session must have been
 * fed. The same model, tokens, options and seed give the same answer on every machine, and the same
 * with and without drafts: a guessed token counts only if it is the one that is drawn. */
SLV_API int slv_session_generate(struct slv_session *s, const struct slv_generate_opts *opts,
                                 slv_piece_fn piece, void *ctx, enum slv_finish *ret_finish,
                                 struct slv_err *err) SLV_MUST_USE;

/* How the last generation went. */
struct slv_generate_stats {
    uint64_t tokens;   /* generated */
    uint64_t steps;    /* forward passes they took */
    uint64_t drafted;  /* tokens that were guessed and checked */
    uint64_t accepted; /* those of them that were right */
    uint64_t reused;   /* tokens before it that came from the prefix cache since the last one */
    int32_t stop;      /* which stop string ended it, or -1 */
};
SLV_API void slv_session_stats(const struct slv_session *s, struct slv_generate_stats *ret);

/* --- embeddings ------------------------------------------------------------------------------- */

/* Vectors that stand for texts: near each other where the texts mean the like. A model is one for
 * that (an encoder: BERT, MiniLM), or one that generates whose states are taken. */

/* How to make vectors. All zeros is a good default: length 1, as long as the model's states. */
struct slv_embedder_opts {
    enum slv_pooling pooling;
    uint32_t n_ctx;      /* most tokens of a text; 0: as many as the model takes, at most 2048 */
    uint32_t n_batch;    /* tokens in one step; 0: 512. An encoder's are at least n_ctx. Changes
                            speed, never results */
    uint32_t threads;    /* 0: SLV_THREADS, or as many as there are cores */
    uint32_t dimensions; /* the first so many numbers, made length 1 again; 0: all. For models that
                            were trained for it */
    bool raw;            /* vectors keep their length. Scores always do */
    bool truncate;       /* a text that is too long loses its end, and is no error */
    bool special;        /* control tokens written in a text become those tokens */
    uint64_t memory;     /* most bytes, weights included; 0: no limit */
};

/* Embeds with one model. One thread at a time; embedders of one model are independent. */
struct slv_embedder;

/* opts may be NULL. SLV_E_USAGE: the model cannot, or does not say how to pool. SLV_E_FIT: more
 * than opts->memory. */
SLV_API int slv_embedder_open(struct slv_model *m, const struct slv_embedder_opts *opts,
                              struct slv_embedder **ret, struct slv_err *err) SLV_MUST_USE;
SLV_API void slv_embedder_close(struct slv_embedder *e);

/* What an embedder with these options takes; kv is that of the texts of a step. */
SLV_API int slv_embedder_memory(const struct slv_model *m, const struct slv_embedder_opts *opts,
                                struct slv_memory *ret, struct slv_err *err) SLV_MUST_USE;

/* Numbers a text; and how they are made, never SLV_POOL_MODEL. */
SLV_API uint32_t slv_embedder_dimensions(const struct slv_embedder *e);
SLV_API enum slv_pooling slv_embedder_pooling(const struct slv_embedder *e);

/* Text of n bytes; broken UTF-8 counts as U+FFFD. `second`, NULL for none, is what the text is to
 * be compared with, for models that score pairs: a question first, then what may answer it. */
struct slv_embed_text {
    const char *p;
    size_t n;
    const char *second;
    size_t second_n;
};

/* Makes ret[n][dimensions] of n texts; ret_tokens[n], which may be NULL: tokens of each. A text's
 * vector does not depend on the others, on threads or on the machine. On failure ret has anything.
 * SLV_E_LIMIT: a text is longer than the context, and opts did not say to cut it. SLV_E_USAGE: a
 * text has no tokens. SLV_E_CANCELLED. Messages say which text, from 1. */
SLV_API int slv_embed(struct slv_embedder *e, const struct slv_embed_text *texts, size_t n,
                      float *ret, uint32_t *ret_tokens, struct slv_err *err) SLV_MUST_USE;

/* The running slv_embed, or the next one, ends. From any thread or a signal handler. */
SLV_API void slv_embedder_cancel(struct slv_embedder *e);

/* --- beginnings in common --------------------------------------------------------------------- */

/* Keys and values that sessions of one model share: whoever is fed tokens which another session, or
 * an earlier conversation, of the same space and with the same adapters began with as well, does
 * not compute them again. The results are the same to the bit. What nobody uses is kept as long as
 * there is room, and goes when a session needs it, least recently used first.
 * Threads: sessions of one cache may be used by different threads at the same time. */
struct slv_prefix_cache;

struct slv_prefix_cache_opts {
    enum slv_kv_kind kv;
    uint64_t bytes; /* of keys and values, those that sessions are using included; 0: as much as two
                       sessions with default options take */
};

/* opts may be NULL. SLV_E_FIT: less than 64 positions take. */
SLV_API int slv_prefix_cache_open(struct slv_model *m, const struct slv_prefix_cache_opts *opts,
                                  struct slv_prefix_cache **ret, struct slv_err *err) SLV_MUST_USE;
/* Its sessions are closed before, the model after. */
SLV_API void slv_prefix_cache_close(struct slv_prefix_cache *c);

/* on: what is known of ids[0..n), in whole blocks of 64, stays until the same is called with on
 * false; what it takes is no longer there for sessions. Of space 0 and without adapters.
 * SLV_E_NOENT: nothing of it is known, or pinned. SLV_E_FIT: the sessions that are open may need
 * it. */
SLV_API int slv_prefix_pin(struct slv_prefix_cache *c, const int32_t *ids, size_t n, bool on,
                           struct slv_err *err) SLV_MUST_USE;

struct slv_prefix_stats {
    uint64_t hits, misses;  /* feeds that found something, and first ones that found nothing */
    uint64_t reused;        /* tokens that were not computed */
    uint64_t evictions;     /* blocks that had to go */
    uint64_t bytes, budget; /* in use, and the most there may be */
};
SLV_API void slv_prefix_cache_stats(struct slv_prefix_cache *c, struct slv_prefix_stats *ret);

/* --- many sessions at once -------------------------------------------------------------------- */

/* Sessions of one model that share a team of threads and the buffers of a step. Each step takes one
 * token or more of all that have joined, whether they are still reading their prompt or answering:
 * weights are read once for all of them. What a session gets is the same to the bit as alone.
 * Threads: one at a time for a batch and its sessions. */
struct slv_batch;

/* Where a batch puts the keys and values of sessions that wait for memory: pages of bytes, by
 * numbers that the spill gives out, never UINT64_MAX. It is asked to keep what it has confidential,
 * and to notice what is not as it was. No function may be called in the wrong thread: all are
 * called by who makes the batch's steps. */
struct slv_spill {
    int (*put)(void *ctx, const void *page, size_t n, uint64_t *ret_at); /* may fail at any time */
    /* As it was put; or an error, and page is as it was. */
    int (*get)(void *ctx, uint64_t at, void *page, size_t n);
    void (*drop)(void *ctx, uint64_t at);
    void *ctx;
};

struct slv_batch_opts {
    uint32_t n_sessions; /* that have joined at the same time; 0: 8 */
    uint32_t n_at_once;  /* of them, those that are in a step; the others wait. 0: all */
    uint32_t n_batch;    /* tokens in one step; 0: 256 */
    uint32_t n_beside;   /* those of prompts while others answer; 0: 32. Fewer: steadier answers */
    uint32_t threads;    /* 0: SLV_THREADS, or as many as there are cores */
    /* As of a session. */
    uint32_t threads_few;
    uint64_t memory;               /* most bytes, weights and sessions included; 0: no limit */
    const struct slv_spill *spill; /* borrowed. NULL: what waits is computed again */
};

/* opts may be NULL. SLV_E_FIT: more than opts->memory before there is any session. */
SLV_API int slv_batch_open(struct slv_model *m, const struct slv_batch_opts *opts,
                           struct slv_batch **ret, struct slv_err *err) SLV_MUST_USE;
/* Its sessions are closed before. */
SLV_API void slv_batch_close(struct slv_batch *b);

/* An answer has ended: rc and msg as slv_session_generate would have said, and finish if rc is 0.
 * The session's logits are there until the next step. It may join again, or be closed. */
typedef void (*slv_done_fn)(struct slv_session *s, int rc, enum slv_finish finish, const char *msg,
                            void *ctx);

/* The session, opened for this batch, will read ids[0..n), n >= 1, and answer. ids and what opts
 * points to are borrowed until it is done. It must not be fed, rewound or made to generate
 * meanwhile; slv_session_cancel and slv_session_close end it. piece returns false to end. Tokens
 * are guessed ahead only while the session is alone. SLV_E_LIMIT: the batch is full, or the tokens
 * do not fit in the context. */
SLV_API int slv_batch_join(struct slv_batch *b, struct slv_session *s, const int32_t *ids, size_t n,
                           const struct slv_generate_opts *opts, slv_piece_fn piece,
                           slv_done_fn done, void *ctx, struct slv_err *err) SLV_MUST_USE;

/* Ends it without a word; what was fed stays in the session. False: it had not joined. Not from its
 * own slv_piece_fn. */
SLV_API bool slv_batch_leave(struct slv_batch *b, struct slv_session *s);

/* One step for all that have joined, with calls of their functions; *ret_active: how many there are
 * then. SLV_E_CANCELLED: slv_batch_cancel was called, and the step can be made again. An error of
 * one session is told to its slv_done_fn, and is none of the step.
 *
 * Where sessions share a prefix cache, and one has need of memory that is not there, the one of
 * lowest priority, and of these the last to have joined, waits: it gives up its keys and values,
 * into o.spill or else to be computed again, and goes on later where it was, with the same words.
 * If it ends meanwhile it has fewer tokens than it was fed, or none. So do those that are more than
 * o.n_at_once. A session that is alone and still has no memory ends with SLV_E_FIT. */
SLV_API int slv_batch_step(struct slv_batch *b, uint32_t *ret_active,
                           struct slv_err *err) SLV_MUST_USE;

/* Has a session of lower priority than that wait, unless one is about to already. True: it has
 * given up its memory; false: there is none, or it has not done so yet, which takes some steps. */
SLV_API bool slv_batch_yield(struct slv_batch *b, int32_t priority);

struct slv_batch_stats {
    uint32_t active;  /* sessions that have joined */
    uint32_t waiting; /* those of them that wait for memory, or give up theirs */
    int32_t priority; /* the highest of these */
    uint64_t waits;   /* how often one had to, since the batch was opened */
    uint64_t spilled; /* bytes put into the spill */
    uint64_t reread;  /* tokens that were computed again */
};
SLV_API void slv_batch_stats(const struct slv_batch *b, struct slv_batch_stats *ret);

/* The running step, or else the next one, is given up. From any thread or a signal handler. */
SLV_API void slv_batch_cancel(struct slv_batch *b);

/* SLV_E_USAGE unless both models have the same tokens, so that one can draft for the other. */
SLV_API int slv_model_same_vocabulary(const struct slv_model *a, const struct slv_model *b,
                                      struct slv_err *err) SLV_MUST_USE;

/* Log-probabilities from logits[n]: that of id in *ret, and of the n_top (<= n) most probable in
 * top[], most probable first, ties to the lowest id. Either may be NULL / 0. */
SLV_API void slv_logprobs(const float *logits, size_t n, int32_t id, float *ret,
                          struct slv_logprob *top, size_t n_top);

#ifdef __cplusplus
}
#endif
#endif
