/* tuned.h: what bench --tune has found to be fastest for a model on a machine, kept in the store.
 *
 * A file for each model and machine, in the folder tuned/ beside packed/:
 *
 *     selvage tuned 1
 *     machine AMD EPYC 7B13, 8 threads, avx2
 *     model 0123456789abcdef
 *     prompt_threads 8
 *     decode_threads 6
 *     prompt_batch 256
 *     sum 0123456789abcdef
 *
 * The machine is its processor's name, the threads it would have by default (so a process that may
 * use fewer cores has another file) and the level of instructions; the model is the key of its
 * packed weights; the sum is of all lines before it. A file that is anything else is passed over
 * with one line. It changes speed, never results. Threads: one. */
#ifndef SLV_CLI_TUNED_H
#define SLV_CLI_TUNED_H

#include "cli/cmd.h"
#include "engine/model.h"

#define SLV_TUNED_BATCH_MAX 8192

struct slv_tuned {
    uint32_t prompt_threads; /* 1 to SLV_TEAM_MAX */
    uint32_t decode_threads; /* at most as many */
    uint32_t prompt_batch;   /* tokens of a prompt in one step, 1 to SLV_TUNED_BATCH_MAX */
};

/* --- texts ------------------------------------------------------------------------------------ */

/* The machine's line, whose processor is told by root + /proc/cpuinfo. Returns out->status. */
int slv_tuned_machine(const char *root, size_t threads, const char *level, struct slv_buf *out);

/* Appends the file's text. Returns out->status. */
int slv_tuned_text(const struct slv_tuned *t, const char *machine, uint64_t model,
                   struct slv_buf *out);

/* Reads it back; NULL, or why it is not that machine's and model's, with *ret untouched. */
const char *slv_tuned_read(const char *text, size_t n, const char *machine, uint64_t model,
                           struct slv_tuned *ret);

/* --- files ------------------------------------------------------------------------------------ */

/* What was found for the model on this machine. SLV_E_NOENT: nothing, or (said in a line of the
 * log) nothing that can be used. */
int slv_tuned_load(struct slv_model *m, struct slv_tuned *ret) SLV_MUST_USE;

/* Keeps it; *ret_path is the file's. */
int slv_tuned_save(struct slv_model *m, const struct slv_tuned *t, struct slv_buf *ret_path,
                   struct slv_err *err) SLV_MUST_USE;

/* Fills in what o leaves to chance, unless SLV_THREADS is set: threads where they are 0, and tokens
 * of a step where they are 0 and memory is not limited. Whether anything was filled in. */
bool slv_tuned_apply(struct slv_model *m, struct slv_session_opts *o);

/* Appends the path of this machine's file of a model, whether or not it is there. */
int slv_tuned_path(struct slv_model *m, struct slv_buf *path) SLV_MUST_USE;

#endif
