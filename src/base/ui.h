/* ui.h: how long work (a download, a seal, a digest) speaks to whoever started it. */
#ifndef SLV_BASE_UI_H
#define SLV_BASE_UI_H

#include <stdbool.h>
#include <stdint.h>

/* Each function may be NULL, and so may a pointer to the whole. All are called on the caller's
 * thread. */
struct slv_ui {
    bool (*cancelled)(
        void *ctx); /* polled several times a second; true ends with SLV_E_CANCELLED */
    void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t total); /* 0: unknown */
    void (*note)(void *ctx, const char *line); /* "retrying in 2 s: WHY" */
    void *ctx;
};

static inline bool slv_ui_cancelled(const struct slv_ui *ui) {
    return ui && ui->cancelled && ui->cancelled(ui->ctx);
}

static inline void slv_ui_progress(const struct slv_ui *ui, const char *what, uint64_t done,
                                   uint64_t total) {
    if (ui && ui->progress) ui->progress(ui->ctx, what, done, total);
}

static inline void slv_ui_note(const struct slv_ui *ui, const char *line) {
    if (ui && ui->note) ui->note(ui->ctx, line);
}

#endif
