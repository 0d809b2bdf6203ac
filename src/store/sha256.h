/* sha256.h: SHA-256 (FIPS 180-4, from OpenSSL's libcrypto) of bytes and of files. */
#ifndef SLV_STORE_SHA256_H
#define SLV_STORE_SHA256_H

#include "base/err.h"
#include "base/ui.h"

#define SLV_SHA256_HEX 65 /* 64 lower-case hexadecimal digits and a NUL */

struct slv_sha256; /* a digest in progress */

/* NULL when memory is out. */
struct slv_sha256 *slv_sha256_open(void) SLV_MUST_USE;
void slv_sha256_close(struct slv_sha256 *h);
int slv_sha256_add(struct slv_sha256 *h, const void *p, size_t n) SLV_MUST_USE;
/* Ends the digest; only slv_sha256_close may follow. */
int slv_sha256_hex(struct slv_sha256 *h, char ret[SLV_SHA256_HEX]) SLV_MUST_USE;

int slv_sha256_bytes(const void *p, size_t n, char ret[SLV_SHA256_HEX]) SLV_MUST_USE;

/* Of the whole file behind fd, from offset 0; `what` names it to the progress function and in
 * messages. *ret_size (may be NULL) is the number of bytes read. SLV_E_IO, SLV_E_CANCELLED. */
int slv_sha256_fd(int fd, const char *what, const struct slv_ui *ui, char ret[SLV_SHA256_HEX],
                  uint64_t *ret_size, struct slv_err *err) SLV_MUST_USE;

/* Whether s[0..64] is 64 lower-case hexadecimal digits and a NUL. */
bool slv_sha256_valid(const char *s);

#endif
