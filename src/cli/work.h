/* work.h: long work in a command: progress on the terminal, Ctrl-C, notes. */
#ifndef SLV_CLI_WORK_H
#define SLV_CLI_WORK_H

#include "cli/cmd.h"
#include "cli/out.h"
#include "store/store.h"

struct slv_work {
    struct slv_ui ui; /* hand this to the store */
    struct slv_progress bar;
    char what[64];
    bool quiet;
};

/* Begins to watch for signals. */
void slv_work_init(struct slv_work *w, const struct slv_cli *cli);
/* Wipes the progress bar; before any other output. */
void slv_work_end(struct slv_work *w);

#endif
