/* adapters.h: LoRA adapters on the command line: --adapter FILE[:SCALE]. */
#ifndef SLV_CLI_ADAPTERS_H
#define SLV_CLI_ADAPTERS_H

#include "cli/opt.h"
#include "selvage.h"

#define SLV_CLI_ADAPTER_ROW(S, m)                                                                  \
    {                                                                                              \
        "adapter", 0, SLV_OPT_LIST_AT(S, m),                                                       \
            .arg = "FILE[:SCALE]",                                                                 \
            .help = "add a LoRA adapter (GGUF) made for this model, SCALE times, default 1; may "  \
                    "be repeated"                                                                  \
    }

/* Those that are open, in order. */
struct slv_cli_adapters {
    struct slv_adapter_use use[SLV_ADAPTERS_MAX];
    size_t n;
};

/* Opens what n words name, "FILE" or "FILE:SCALE"; what stands behind the last colon is part of the
 * file's name where it is no number. On failure none is open. */
int slv_cli_adapters_open(struct slv_model *m, const char *const *words, size_t n,
                          struct slv_cli_adapters *ret, struct slv_err *err) SLV_MUST_USE;
void slv_cli_adapters_close(struct slv_cli_adapters *a);

#endif
