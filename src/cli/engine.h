/* engine.h: what the commands that run a model share: options, opening, sampling, JSON pieces. */
#ifndef SLV_CLI_ENGINE_H
#define SLV_CLI_ENGINE_H

#include "base/json.h"
#include "cli/adapters.h"
#include "cli/cmd.h"
#include "cli/opt.h"
#include "selvage.h"

/* Options of every command that opens a session. */
struct slv_cli_session_opts {
    int64_t ctx, threads, batch;
    int kv; /* place in "f16|f32|q8", which is enum slv_kv_kind */
    uint64_t memory;
    bool no_tuned;
};
/* How a model is opened, by every command that opens one. */
struct slv_cli_model_opts {
    bool no_repack_cache;
    const char *key, *sig;
    bool require_signed;
    struct slv_opt_list signer;
};
#define SLV_CLI_TRUST_ROWS(S, m)                                                                   \
    {"key", 0, SLV_OPT_STR_AT(S, m.key), .arg = "FILE",                                            \
     .help = "the device key, for a sealed model; without it keys/device.key in the store"},       \
        {"require-signed", 0, SLV_OPT_FLAG_AT(S, m.require_signed),                                \
         .help = "refuse a model without a signature, MODEL.sig, by a trusted key"},               \
        {"sig", 0, SLV_OPT_STR_AT(S, m.sig), .arg = "FILE",                                        \
         .help = "with --require-signed: MODEL's signature, in place of MODEL.sig"},               \
    {                                                                                              \
        "signer", 0, SLV_OPT_LIST_AT(S, m.signer),                                                 \
            .arg = "FILE|KEYID",                                                                   \
            .help = "with --require-signed: trust the keys of this public key file, or this one "  \
                    "of the trusted, and no other; may be repeated"                                \
    }
/* Of those that read its weights: these and more. */
#define SLV_CLI_MODEL_ROWS(S, m)                                                                   \
    SLV_CLI_TRUST_ROWS(S, m), {                                                                    \
        "no-repack-cache", 0, SLV_OPT_FLAG_AT(S, m.no_repack_cache),                               \
            .help = "neither use nor keep packed weights (SELVAGE_HOME's folder packed/)"          \
    }
/* Of every command that uses what bench --tune has found (tuned.h). */
#define SLV_CLI_TUNED_ROW(S, m)                                                                    \
    {                                                                                              \
        "no-tuned", 0, SLV_OPT_FLAG_AT(S, m),                                                      \
            .help = "pass over what bench --tune has found for this model here"                    \
    }
#define SLV_CLI_SESSION_ROWS(S, m)                                                                 \
    {"ctx",                                                                                        \
     'c',                                                                                          \
     SLV_OPT_INT_AT(S, m.ctx),                                                                     \
     .arg = "N",                                                                                   \
     .imin = 1,                                                                                    \
     .imax = 1 << 24,                                                                              \
     .help = "positions the session can hold; default: the model's own, at most 4096"},            \
        {"threads",                                                                                \
         't',                                                                                      \
         SLV_OPT_INT_AT(S, m.threads),                                                             \
         .arg = "N",                                                                               \
         .imin = 1,                                                                                \
         .imax = 256,                                                                              \
         .help = "threads; default: SLV_THREADS, or one for each core"},                           \
        {"batch",                                                                                  \
         'b',                                                                                      \
         SLV_OPT_INT_AT(S, m.batch),                                                               \
         .arg = "N",                                                                               \
         .imin = 1,                                                                                \
         .imax = 8192,                                                                             \
         .help = "prompt tokens read in one step, default 256: changes speed, never results"},     \
        {"kv",                                                                                     \
         0,                                                                                        \
         SLV_OPT_CHOICE_AT(S, m.kv),                                                               \
         .arg = "TYPE",                                                                            \
         .choices = "f16|f32|q8",                                                                  \
         .def = "f16",                                                                             \
         .help = "element type of the KV cache"},                                                  \
        SLV_CLI_TUNED_ROW(S, m.no_tuned), {                                                        \
        "memory", 0, SLV_OPT_SIZE_AT(S, m.memory),                                                 \
            .arg = "SIZE", .imin = 1 << 20, .imax = INT64_MAX,                                     \
            .help = "refuse what would take more, weights included"                                \
    }

/* Of commands with one conversation. */
#define SLV_CLI_PROMPT_CACHE_ROW(S, m)                                                             \
    {                                                                                              \
        "prompt-cache", 0, SLV_OPT_STR_AT(S, m),                                                   \
            .arg = "FILE",                                                                         \
            .help =                                                                                \
                "go on from what is in FILE of these tokens, and keep there what was read and "    \
                "written"                                                                          \
    }

/* Options of every command that may guess tokens ahead. */
struct slv_cli_draft_opts {
    int speculate; /* place in "lookup|off" */
    const char *model;
    int64_t most;
};
#define SLV_CLI_DRAFT_ROWS(S, m)                                                                   \
    {"speculate",                                                                                  \
     0,                                                                                            \
     SLV_OPT_CHOICE_AT(S, m.speculate),                                                            \
     .arg = "HOW",                                                                                 \
     .choices = "lookup|off",                                                                      \
     .def = "lookup",                                                                              \
     .help = "guess tokens from what was said before, where that is faster: the answer stays the " \
             "same"},                                                                              \
        {"draft", 0, SLV_OPT_STR_AT(S, m.model), .arg = "MODEL",                                   \
         .help = "a smaller model with the same vocabulary that guesses too"},                     \
    {                                                                                              \
        "draft-max", 0, SLV_OPT_INT_AT(S, m.most),                                                 \
            .arg = "N", .imin = 1, .imax = 63,                                                     \
            .help = "most tokens guessed at once; default: 15, fewer for a large vocabulary"       \
    }

/* Options of every command that draws tokens. */
struct slv_cli_sampling_opts {
    double temp, top_p, min_p, typical, repeat, presence, frequency, dry, dry_base;
    int64_t top_k, repeat_last, dry_allowed, dry_last, seed;
    struct slv_opt_list bias;
};
#define SLV_CLI_SAMPLING_ROWS(S, m, temp_default)                                                  \
    {"temp",                                                                                       \
     0,                                                                                            \
     SLV_OPT_REAL_AT(S, m.temp),                                                                   \
     .arg = "T",                                                                                   \
     .def = temp_default,                                                                          \
     .rmin = 0,                                                                                    \
     .rmax = 100,                                                                                  \
     .help = "temperature; 0 always takes the most probable token"},                               \
        {"top-k",                                                                                  \
         0,                                                                                        \
         SLV_OPT_INT_AT(S, m.top_k),                                                               \
         .arg = "K",                                                                               \
         .def = "40",                                                                              \
         .imin = 0,                                                                                \
         .imax = 1 << 24,                                                                          \
         .help = "draw among the K most probable; 0: off"},                                        \
        {"top-p",                                                                                  \
         0,                                                                                        \
         SLV_OPT_REAL_AT(S, m.top_p),                                                              \
         .arg = "P",                                                                               \
         .def = "0.95",                                                                            \
         .rmin = 0,                                                                                \
         .rmax = 1,                                                                                \
         .help = "draw among the fewest tokens that make up P; 1: off"},                           \
        {"min-p",                                                                                  \
         0,                                                                                        \
         SLV_OPT_REAL_AT(S, m.min_p),                                                              \
         .arg = "P",                                                                               \
         .def = "0.05",                                                                            \
         .rmin = 0,                                                                                \
         .rmax = 1,                                                                                \
         .help = "leave out tokens less probable than P times the best; 0: off"},                  \
        {"typical",                                                                                \
         0,                                                                                        \
         SLV_OPT_REAL_AT(S, m.typical),                                                            \
         .arg = "P",                                                                               \
         .def = "1",                                                                               \
         .rmin = 0,                                                                                \
         .rmax = 1,                                                                                \
         .help = "locally typical sampling; 1: off"},                                              \
        {"repeat-penalty",                                                                         \
         0,                                                                                        \
         SLV_OPT_REAL_AT(S, m.repeat),                                                             \
         .arg = "X",                                                                               \
         .def = "1",                                                                               \
         .rmin = 0.01,                                                                             \
         .rmax = 100,                                                                              \
         .help = "make repeated tokens less likely; 1: off"},                                      \
        {"presence-penalty",                                                                       \
         0,                                                                                        \
         SLV_OPT_REAL_AT(S, m.presence),                                                           \
         .arg = "X",                                                                               \
         .def = "0",                                                                               \
         .rmin = -100,                                                                             \
         .rmax = 100,                                                                              \
         .help = "taken off the logit of every token seen; 0: off"},                               \
        {"frequency-penalty",                                                                      \
         0,                                                                                        \
         SLV_OPT_REAL_AT(S, m.frequency),                                                          \
         .arg = "X",                                                                               \
         .def = "0",                                                                               \
         .rmin = -100,                                                                             \
         .rmax = 100,                                                                              \
         .help = "the same for each time it was seen; 0: off"},                                    \
        {"repeat-last-n",                                                                          \
         0,                                                                                        \
         SLV_OPT_INT_AT(S, m.repeat_last),                                                         \
         .arg = "N",                                                                               \
         .def = "64",                                                                              \
         .imin = 0,                                                                                \
         .imax = 1 << 20,                                                                          \
         .help = "tokens the penalties look back at"},                                             \
        {"dry-multiplier",                                                                         \
         0,                                                                                        \
         SLV_OPT_REAL_AT(S, m.dry),                                                                \
         .arg = "X",                                                                               \
         .def = "0",                                                                               \
         .rmin = 0,                                                                                \
         .rmax = 100,                                                                              \
         .help = "penalty against repeating sequences (DRY); 0: off"},                             \
        {"dry-base",                                                                               \
         0,                                                                                        \
         SLV_OPT_REAL_AT(S, m.dry_base),                                                           \
         .arg = "X",                                                                               \
         .def = "1.75",                                                                            \
         .rmin = 1,                                                                                \
         .rmax = 100,                                                                              \
         .help = "growth of the DRY penalty with length"},                                         \
        {"dry-allowed-length",                                                                     \
         0,                                                                                        \
         SLV_OPT_INT_AT(S, m.dry_allowed),                                                         \
         .arg = "N",                                                                               \
         .def = "2",                                                                               \
         .imin = 1,                                                                                \
         .imax = 1 << 20,                                                                          \
         .help = "sequences up to this long are free"},                                            \
        {"dry-last-n",                                                                             \
         0,                                                                                        \
         SLV_OPT_INT_AT(S, m.dry_last),                                                            \
         .arg = "N",                                                                               \
         .def = "1024",                                                                            \
         .imin = 0,                                                                                \
         .imax = 1 << 20,                                                                          \
         .help = "tokens DRY looks back at"},                                                      \
        {"logit-bias", 0, SLV_OPT_LIST_AT(S, m.bias), .arg = "ID:X",                               \
         .help = "add X to the logit of a token; may be repeated; -inf forbids it"},               \
    {                                                                                              \
        "seed", 0, SLV_OPT_INT_AT(S, m.seed),                                                      \
            .arg = "S", .def = "-1", .imin = -1, .imax = INT64_MAX,                                \
            .help = "the same seed draws the same tokens; -1: a new one each time"                 \
    }

/* Appends the path of what a user calls MODEL; NULL: the default model. */
int slv_cli_model_path(const char *name, struct slv_buf *path, struct slv_err *err) SLV_MUST_USE;

/* Opens a model by path or name, plain or sealed (store/open.h), with progress, warning about a
 * lowered SLV_CPU. Packed weights are kept in the store's folder where they are read and how does
 * not say otherwise; NULL: all defaults. SLV_E_USAGE: also options that contradict each other. */
int slv_cli_model_open(const struct slv_cli *cli, const char *name, const struct slv_model_opts *o,
                       const struct slv_cli_model_opts *how, struct slv_model **ret,
                       struct slv_err *err) SLV_MUST_USE;

/* Appends the folder of packed weights. SLV_E_USAGE: there is no store's folder. */
int slv_cli_packed_folder(struct slv_buf *path, struct slv_err *err) SLV_MUST_USE;

/* The model of --draft and its session; NULL without. */
struct slv_cli_draft {
    struct slv_model *m;
    struct slv_session *s;
};

/* SLV_E_USAGE: options that contradict each other. `command` begins the message. */
int slv_cli_draft_check(const char *command, const struct slv_cli_draft_opts *o,
                        struct slv_err *err) SLV_MUST_USE;

/* Opens the drafting model if there is one, with a session like that of *o, and takes the memory
 * that both need off o->memory. Fills in o->n_draft. */
int slv_cli_draft_open(const struct slv_cli *cli, const struct slv_cli_draft_opts *d,
                       struct slv_session_opts *o, const struct slv_cli_model_opts *how,
                       struct slv_cli_draft *ret, struct slv_err *err) SLV_MUST_USE;
void slv_cli_draft_close(struct slv_cli_draft *d);

/* How a model and a session are opened, beside the session's own options. */
struct slv_cli_opening {
    bool tuned;      /* open options become what was found to be fastest: tuned.h */
    uint32_t n_back; /* tokens that the session will want to go back */
    const struct slv_cli_model_opts *model;
    const struct slv_cli_draft *draft;
};

/* Opens a model and a session. With a limit of memory nothing large is read before it is known that
 * both fit. A draft is refused if it has other tokens. From here on a signal that is watched for
 * stops the session and the draft's; slv_cli_session_close ends that. Where windows would lose what
 * is seen n_back tokens ago, o->prefix becomes a cache of its own that has room for them, which is
 * the caller's, if the memory allowed is enough. On failure nothing is left open. */
int slv_cli_session_open(const struct slv_cli *cli, const char *name, struct slv_session_opts *o,
                         const struct slv_cli_opening *how, struct slv_model **ret,
                         struct slv_session **ret_session, struct slv_err *err) SLV_MUST_USE;

/* Bytes of a prefix cache for so many sessions like *o, and room for `more` tokens besides. */
int slv_cli_prefix_bytes(const struct slv_model *m, const struct slv_session_opts *o,
                         uint64_t sessions, uint64_t more, uint64_t *ret,
                         struct slv_err *err) SLV_MUST_USE;

/* What a session holds comes from a file (--prompt-cache), and goes there. A file that is not there
 * is no matter; whatever else is wrong is said in one line, and costs time only. NULL: no file. */
void slv_cli_prompt_load(struct slv_session *s, const char *path);
void slv_cli_prompt_save(struct slv_session *s, const char *path);

/* Reads a prompt, with progress where that takes time. */
int slv_cli_feed(const struct slv_cli *cli, struct slv_session *s, const int32_t *ids, size_t n,
                 struct slv_err *err) SLV_MUST_USE;
void slv_cli_session_close(struct slv_model *m, struct slv_session *s,
                           struct slv_prefix_cache *prefix, struct slv_cli_adapters *adapters);

struct slv_session_opts slv_cli_session(const struct slv_cli_session_opts *o);

/* bias[SLV_OPT_LIST_MAX] is filled from the option's words and borrowed by *ret. */
int slv_cli_sampling(const struct slv_cli_sampling_opts *o, struct slv_logit_bias *bias,
                     struct slv_sampling *ret, struct slv_err *err) SLV_MUST_USE;

/* A text argument with broken UTF-8 replaced by U+FFFD, which is said in a warning. */
int slv_cli_clean_text(const char *what, const char *s, size_t n, struct slv_buf *out) SLV_MUST_USE;

/* The text of `arg`, or of standard input where arg is NULL or "-"; cleaned. */
int slv_cli_text(const char *arg, struct slv_buf *out, struct slv_err *err) SLV_MUST_USE;

/* The text of a file, or of standard input where path is "-"; cleaned. */
int slv_cli_file_text(const char *path, struct slv_buf *out, struct slv_err *err) SLV_MUST_USE;

/* "mean"; as --pooling has it. */
const char *slv_cli_pooling_name(enum slv_pooling pooling);

/* Most bytes this process has held, in bytes. */
uint64_t slv_cli_peak_rss(void);

#define SLV_CLI_TEXT_MAX ((size_t)64 << 20)

#endif
