/* sha256.c: see sha256.h. */
#include "store/sha256.h"
#include "base/mem.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 20)

struct slv_sha256 {
    EVP_MD_CTX *ctx;
};

struct slv_sha256 *slv_sha256_open(void) {
    struct slv_sha256 *h = slv_mem_calloc(1, sizeof *h);
    if (!h) return NULL;
    h->ctx = EVP_MD_CTX_new();
    if (h->ctx && EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) == 1) return h;
    slv_sha256_close(h);
    return NULL;
}

void slv_sha256_close(struct slv_sha256 *h) {
    if (!h) return;
    EVP_MD_CTX_free(h->ctx);
    slv_mem_free(h);
}

int slv_sha256_add(struct slv_sha256 *h, const void *p, size_t n) {
    return EVP_DigestUpdate(h->ctx, p, n) == 1 ? 0 : SLV_E_INTERNAL;
}

int slv_sha256_hex(struct slv_sha256 *h, char ret[SLV_SHA256_HEX]) {
    static const char digits[] = "0123456789abcdef";
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (EVP_DigestFinal_ex(h->ctx, md, &n) != 1 || n != 32) return SLV_E_INTERNAL;
    for (unsigned i = 0; i < n; i++) {
        ret[2 * i] = digits[md[i] >> 4];
        ret[2 * i + 1] = digits[md[i] & 15];
    }
    ret[64] = '\0';
    return 0;
}

int slv_sha256_bytes(const void *p, size_t n, char ret[SLV_SHA256_HEX]) {
    struct slv_sha256 *h = slv_sha256_open();
    if (!h) return SLV_E_NOMEM;
    int rc = slv_sha256_add(h, p, n);
    if (!rc) rc = slv_sha256_hex(h, ret);
    slv_sha256_close(h);
    return rc;
}

static int add_all(struct slv_sha256 *h, int fd, unsigned char *piece, const char *what,
                   const struct slv_ui *ui, uint64_t *ret_size, struct slv_err *err) {
    struct stat st;
    uint64_t at = 0, total = fstat(fd, &st) ? 0 : (uint64_t)st.st_size;
    for (;;) {
        if (slv_ui_cancelled(ui)) return slv_err_set(err, SLV_E_CANCELLED, "%s: interrupted", what);
        ssize_t n = pread(fd, piece, PIECE, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return slv_err_set(err, SLV_E_IO, "%s: %s", what, strerror(errno));
        if (n == 0) break;
        int rc = slv_sha256_add(h, piece, (size_t)n);
        if (rc) return slv_err_set(err, rc, "%s: SHA-256 failed", what);
        at += (uint64_t)n;
        slv_ui_progress(ui, what, at, total);
    }
    *ret_size = at;
    return 0;
}

int slv_sha256_fd(int fd, const char *what, const struct slv_ui *ui, char ret[SLV_SHA256_HEX],
                  uint64_t *ret_size, struct slv_err *err) {
    uint64_t size = 0;
    char hex[SLV_SHA256_HEX];
    struct slv_sha256 *h = slv_sha256_open();
    unsigned char *piece = slv_mem_alloc(PIECE);
    int rc = h && piece ? 0 : slv_err_set(err, SLV_E_NOMEM, "%s: out of memory", what);
    if (!rc) rc = add_all(h, fd, piece, what, ui, &size, err);
    if (!rc && (rc = slv_sha256_hex(h, hex))) slv_err_set(err, rc, "%s: SHA-256 failed", what);
    slv_mem_free(piece);
    slv_sha256_close(h);
    if (rc) return rc;
    memcpy(ret, hex, sizeof hex);
    if (ret_size) *ret_size = size;
    return 0;
}

bool slv_sha256_valid(const char *s) {
    return strspn(s, "0123456789abcdef") == 64 && s[64] == '\0';
}
