/* lines.h: a stream of lines, read as they come and without holding up who has other work. */
#ifndef SLV_CLI_LINES_H
#define SLV_CLI_LINES_H

#include "base/buf.h"
#include "base/err.h"

struct slv_lines {
    int fd;
    const char *name; /* borrowed; for messages */
    struct slv_buf buf;
    size_t at, looked; /* where the next line begins; how far its end has been looked for */
    uint64_t number;   /* of the line last given */
    bool eof, skip;    /* skip: the rest of a line that is too long */
};

enum slv_lines_got {
    SLV_LINES_NONE, /* nothing is there yet */
    SLV_LINES_LINE,
    SLV_LINES_LONG, /* a line longer than the limit, left out */
    SLV_LINES_END,
};

/* path "-": standard input. max: the longest line, in bytes. SLV_E_IO and the like. */
int slv_lines_open(const char *path, size_t max, struct slv_lines *ret,
                   struct slv_err *err) SLV_MUST_USE;
void slv_lines_close(struct slv_lines *l);

/* The next line, without its end, valid until the next call, which may change it. wait: until there
 * is one, or a signal has come (SLV_E_CANCELLED). */
int slv_lines_next(struct slv_lines *l, bool wait, enum slv_lines_got *ret, char **ret_line,
                   size_t *ret_n, struct slv_err *err) SLV_MUST_USE;

#endif
