/* checker.h: a process that reads what the server has not read yet.
 *
 * A model file is hostile until it has been understood: header, words, template. Before the server
 * opens one, a process made for that alone does: it has the files that the server may read, starts
 * nothing, connects nowhere, has a limit of time and memory, and hands back a code and a sentence.
 * A file that makes its reader fail ends that process, and is refused; the server goes on.
 *
 *     server --path--> checker --fork--> reader: opens it, says what it found, ends
 *
 * What the reader found good is read once more by the server, under its own sandbox.
 * Threads: slv_checker_open before there are others; slv_checker_ask any. */
#ifndef SLV_CLI_CHECKER_H
#define SLV_CLI_CHECKER_H

#include "base/err.h"

struct slv_checker;

#define SLV_CHECKER_SECONDS 120               /* of processor time for one file */
#define SLV_CHECKER_BYTES ((uint64_t)4 << 30) /* of memory; but see base/sanitize.h */

/* check(ctx, path, err) is called in the reader. */
int slv_checker_open(int (*check)(void *ctx, const char *path, struct slv_err *err), void *ctx,
                     struct slv_checker **ret, struct slv_err *err) SLV_MUST_USE;
/* NULL is none. */
void slv_checker_close(struct slv_checker *k);

/* What the reader said; SLV_E_FORMAT: it failed. SLV_E_IO: the checker is gone. */
int slv_checker_ask(struct slv_checker *k, const char *path, struct slv_err *err) SLV_MUST_USE;

#endif
