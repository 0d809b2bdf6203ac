/* logfile.h: the log in a file that does not grow for ever.
 *
 *     FILE, FILE.1 (older), ... FILE.keep      each at most `bytes`, and the last line
 *
 * Lines go to the file and no longer to standard error. Where the file cannot be written they go
 * there again, once with the reason. Threads: any. */
#ifndef SLV_CLI_LOGFILE_H
#define SLV_CLI_LOGFILE_H

#include "base/err.h"

struct slv_logfile;

/* Appends to the file, made if it is missing, for its owner only. keep >= 1. */
int slv_logfile_open(const char *path, uint64_t bytes, unsigned keep, struct slv_logfile **ret,
                     struct slv_err *err) SLV_MUST_USE;
/* NULL is none. */
void slv_logfile_close(struct slv_logfile *f);

#endif
