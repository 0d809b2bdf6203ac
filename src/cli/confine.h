/* confine.h: what `serve` gives up before it lets anybody in (trust/sandbox.h): files but those
 * that it was told of, and calls that it has no use for. */
#ifndef SLV_CLI_CONFINE_H
#define SLV_CLI_CONFINE_H

#include "base/arena.h"
#include "base/err.h"
#include "trust/sandbox.h"

#define SLV_CONFINE_MAX 1024

struct slv_confine {
    struct slv_arena arena;
    struct slv_sandbox_path path[SLV_CONFINE_MAX];
    size_t n;
    int rc; /* of adding; seen by slv_confine_files */
};

/* With what every program needs: the system's libraries and their settings, /proc, /sys, and the
 * store, of which only packed weights can be written. */
void slv_confine_init(struct slv_confine *c);
void slv_confine_fini(struct slv_confine *c);

/* A file or folder; NULL is nothing. */
void slv_confine_add(struct slv_confine *c, const char *path, enum slv_sandbox_may may);
/* The folder of a file that may be replaced by another one of its name; to be read, also the one
 * of the file that a link leads to. */
void slv_confine_add_beside(struct slv_confine *c, const char *path, enum slv_sandbox_may may);
/* A model as slv_store_resolve found it, with what belongs to it. */
void slv_confine_add_model(struct slv_confine *c, const char *path);

/* Before there are threads. What the kernel cannot do is said in a warning. */
int slv_confine_files(struct slv_confine *c, struct slv_err *err) SLV_MUST_USE;
/* When all sockets are open. */
int slv_confine_calls(struct slv_err *err) SLV_MUST_USE;

#endif
