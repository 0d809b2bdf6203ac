/* secret.h: memory and files for what nobody else may see.
 *
 * Memory: pages of their own, kept out of swap and of core dumps where the system allows it, wiped
 * before they go back. Files: of this user, and nobody else may read or write them; what is not so
 * is refused rather than repaired, since its content may have been read already. */
#ifndef SLV_TRUST_SECRET_H
#define SLV_TRUST_SECRET_H

#include "base/err.h"

#include <sys/stat.h>

/* Readies libsodium; every function that hands something out calls it. Threads: any. */
int slv_trust_init(struct slv_err *err) SLV_MUST_USE;

/* size zeroed bytes. NULL when memory is out. Given back by slv_secret_free with the same size. */
void *slv_secret_alloc(size_t size) SLV_MUST_USE;
void slv_secret_free(void *p, size_t size);

/* From here on this process leaves no core dump, and no other of its user can look into it. For
 * good: for whoever is about to decrypt what is to stay secret. What the system does not allow is
 * let be. */
void slv_secret_no_dumps(void);

/* A file in such memory. */
struct slv_secret {
    char *data; /* not terminated */
    size_t n;
    size_t room; /* of the memory */
};
/* SLV_E_TRUST: others may read or write it, or it is another user's; SLV_E_LIMIT: longer than max;
 * SLV_E_NOENT, SLV_E_IO, SLV_E_NOMEM. */
int slv_secret_read(const char *path, size_t max, struct slv_secret *ret,
                    struct slv_err *err) SLV_MUST_USE;
void slv_secret_fini(struct slv_secret *s);

/* Why an open file is not for this user's eyes only; NULL: it is. */
const char *slv_secret_exposed(const struct stat *st);

#endif
