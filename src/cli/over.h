/* over.h: a question over texts longer than the context.
 *
 *     text -> parts that fit -> notes on each -> notes on those, if they do not fit either ->
 * prompt
 *
 * Each part is read by itself with the question, and what the model notes about it takes its place;
 * so the memory of one context is enough for any length. A text that fits is read as it is. Parts
 * end where a paragraph does, or else a line, a sentence, a word. Nothing is left out: what the
 * parts are is the whole text. */
#ifndef SLV_CLI_OVER_H
#define SLV_CLI_OVER_H

#include "base/buf.h"
#include "cli/cmd.h"
#include "selvage.h"

struct slv_over {
    const struct slv_cli *cli;
    const struct slv_model *m;
    struct slv_session *s;
    const char *system;       /* or NULL */
    const char *const *files; /* "-": standard input */
    size_t n_files;
    const struct slv_sampling *sampling;
    uint32_t answer; /* tokens that the last answer may take */
    /* out */
    uint64_t bytes, parts, levels; /* read; answered; times that notes were made */
};

#define SLV_OVER_BYTES_MAX ((size_t)1 << 30)

/* Appends the prompt with which the question is answered in the end. SLV_E_LIMIT: the context has
 * no room for any part of the text beside the question. SLV_E_CANCELLED: a signal came. */
int slv_over_prompt(struct slv_over *o, const char *question, struct slv_buf *ret,
                    struct slv_err *err) SLV_MUST_USE;

#endif
