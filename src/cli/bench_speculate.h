/* bench_speculate.h: what guessing tokens ahead is worth on a text. */
#ifndef SLV_CLI_BENCH_SPECULATE_H
#define SLV_CLI_BENCH_SPECULATE_H

#include "cli/engine.h"

struct slv_bench_speculate {
    const char *file; /* the prompt; "-": standard input */
    bool raw;         /* without the model's chat template */
    const struct slv_cli_model_opts *model;
    const char *draft; /* a model that drafts, or NULL */
    uint32_t n, batch, repeat, threads;
    enum slv_kv_kind kv;
};

/* Rows of JSON go to j, or lines of text to standard output. SLV_E_INTERNAL: an answer was not the
 * plain one. */
int slv_cli_bench_speculate(const struct slv_cli *cli, struct slv_model *m,
                            const struct slv_bench_speculate *o, struct slv_json *j,
                            struct slv_err *err) SLV_MUST_USE;

#endif
