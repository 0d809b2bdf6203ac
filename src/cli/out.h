/* out.h: what a command writes: results to stdout, every write checked; progress to stderr.
 *
 * Errors of stdout are sticky. main flushes and asks at the end, so a command that prints little
 * need not look; one that streams looks at slv_out_flush's result and stops. A full disk, a closed
 * descriptor, a pipe whose reader has gone: an error line and status 1. Threads: one. */
#ifndef SLV_CLI_OUT_H
#define SLV_CLI_OUT_H

#include "base/buf.h"
#include "base/err.h"

/* To a terminal control characters but line feeds and tabs come as '?': what a model or its file
 * says must not move the cursor, set titles or reach the clipboard. Elsewhere every byte is kept.
 */
void slv_out_write(const void *p, size_t n);
void slv_out_puts(const char *s); /* no newline is added */
/* A name from a file, within a line: no control characters, no line feeds, wherever it goes. */
void slv_out_name(const char *s, size_t n);
void slv_out_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The buffer's content and a newline: the way to print a JSON document. A buffer whose status is
 * not 0 prints nothing and returns that status with a message. */
int slv_out_line(const struct slv_buf *b, struct slv_err *err) SLV_MUST_USE;

/* Pushes everything to the descriptor. SLV_E_IO with "standard output: WHY" once any write has
 * failed. */
int slv_out_flush(struct slv_err *err) SLV_MUST_USE;

/* "93.8 MiB", "512 B". */
#define SLV_OUT_SIZE_MAX 24
const char *slv_out_size(uint64_t bytes, char out[SLV_OUT_SIZE_MAX]);

/* A progress bar, on stderr, only where that is a terminal and the command is not --quiet. */
struct slv_progress {
    bool on;
    bool drawn;
    bool count;                 /* things, not bytes */
    const char *what;           /* borrowed */
    uint64_t after_ns;          /* what is done sooner draws nothing */
    uint64_t begun_ns, last_ns; /* monotonic */
    uint64_t begun_at;          /* `done` at the first update: a resumed download's rate */
};
void slv_progress_init(struct slv_progress *p, const char *what, bool quiet);
/* Draws at most ten times a second. total 0: unknown. */
void slv_progress_update(struct slv_progress *p, uint64_t done, uint64_t total);
/* Wipes the bar's line. */
void slv_progress_end(struct slv_progress *p);

#endif
