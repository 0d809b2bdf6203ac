/* download.h: one file from a URL into the store's partial/ folder: resumable, checked. */
#ifndef SLV_STORE_DOWNLOAD_H
#define SLV_STORE_DOWNLOAD_H

#include "store/http.h"
#include "store/store_int.h"

struct slv_download {
    const char *url;
    const char *file;   /* the file's own name: what messages and the blob's record call it */
    const char *sha256; /* NULL or "": not known beforehand */
    uint64_t size;      /* SLV_STORE_SIZE_UNKNOWN: not known beforehand */
};

/* Fetches the file, or takes up what an earlier run left, and checks size and digest. Without a
 * digest an earlier run's bytes cannot be checked and are not used. *ret is staged for
 * slv__store_commit, with path NULL if the blob was in the store already. *ret_bytes: what came
 * over the wire, kept. A file with another size or digest than promised is SLV_E_TRUST and its
 * partial is removed; after any other failure the partial stays for the next run. */
int slv_download(struct slv_store *st, struct slv_http *http, const struct slv_download *d,
                 struct slv_store_staged *ret, uint64_t *ret_bytes,
                 struct slv_err *err) SLV_MUST_USE;

#endif
