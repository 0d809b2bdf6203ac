/* work.c: see work.h. */
#include "cli/work.h"
#include "cli/sig.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

static bool cancelled(void *ctx) {
    (void)ctx;
    return slv_sig_seen();
}

static void progress(void *ctx, const char *what, uint64_t done, uint64_t total) {
    struct slv_work *w = ctx;
    if (strncmp(w->what, what, sizeof w->what - 1)) {
        slv_progress_end(&w->bar);
        snprintf(w->what, sizeof w->what, "%s", what);
        slv_progress_init(&w->bar, w->what, w->quiet);
    }
    slv_progress_update(&w->bar, done, total);
}

static void note(void *ctx, const char *line) {
    struct slv_work *w = ctx;
    slv_progress_end(&w->bar);
    slv_log(SLV_LOG_WARN, "%s", line);
}

void slv_work_init(struct slv_work *w, const struct slv_cli *cli) {
    *w = (struct slv_work){.ui = {cancelled, progress, note, w}, .quiet = cli->quiet};
    slv_sig_watch();
}

void slv_work_end(struct slv_work *w) { slv_progress_end(&w->bar); }
