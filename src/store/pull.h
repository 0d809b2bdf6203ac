/* pull.h: from a name to a model in the store. */
#ifndef SLV_STORE_PULL_H
#define SLV_STORE_PULL_H

#include "store/http.h"
#include "store/store.h"

struct slv_pull {
    const char *name; /* an alias (slv_alias_find) or hf:OWNER/REPO[:FILE] */
    const char *as;   /* NULL: stored under `name` */
    struct slv_http_opts http;
};

struct slv_pull_result {
    uint64_t fetched; /* bytes that came over the wire */
    bool pinned;      /* every file's digest was known beforehand, and matched */
};

/* Downloads what is not there yet and points the name at it. Files that were fetched before a
 * failure stay in partial/ for the next run. */
int slv_pull(struct slv_store *st, const struct slv_pull *p, struct slv_pull_result *ret,
             struct slv_err *err) SLV_MUST_USE;

#endif
