/* porter.h: the way out of a confined server to one program of this machine.
 *
 *     server --a byte--> porter --connect--> the unix socket at PATH
 *            <--the connected descriptor, or why there is none--
 *
 * The server itself may open and connect nothing (trust/sandbox.h), and no filter of the kernel's
 * could let it connect to one path only. So a process of its own does it, which is told the path
 * before anybody is let in, and nothing afterwards: whoever takes the server over can make it
 * connect to that socket once more, and do no more than that. It has no files, starts nothing and
 * opens unix sockets only.
 *
 * Descriptors do not block. Threads: one. Source: unix(7), SCM_RIGHTS. */
#ifndef SLV_SERVE_PORTER_H
#define SLV_SERVE_PORTER_H

#include "base/err.h"

struct slv_porter;

/* Before there are threads and before files are given up. Nobody needs to listen there yet; a path
 * that is not absolute begins at the folder that the program is in now. SLV_E_USAGE: longer than a
 * unix socket's may be; SLV_E_IO, SLV_E_NOMEM. */
int slv_porter_open(const char *path, struct slv_porter **ret, struct slv_err *err) SLV_MUST_USE;
/* It ends. NULL is none. */
void slv_porter_close(struct slv_porter *p);

/* Readable when there is something to take. */
int slv_porter_fd(const struct slv_porter *p);

/* One more connection is wanted. Never waits. SLV_E_BUSY: so many are that no more can be asked
 * for; SLV_E_IO: it has ended. */
int slv_porter_ask(struct slv_porter *p, struct slv_err *err) SLV_MUST_USE;

/* What has become of the one that was asked for first: *ret is a descriptor of the caller's.
 * SLV_E_BUSY: nothing yet; SLV_E_NET "WHY": nobody answers there, and the next one can be taken;
 * SLV_E_IO: the porter has ended. Never waits. */
int slv_porter_take(struct slv_porter *p, int *ret, struct slv_err *err) SLV_MUST_USE;

#endif
