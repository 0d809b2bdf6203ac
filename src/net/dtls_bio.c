/* dtls_bio.c: what stands between OpenSSL and datagrams; see dtls_int.h.
 *
 * OpenSSL reads and writes by BIOs. BIO_s_mem loses where a datagram ends, and the one in memory
 * that does not (BIO_s_dgram_mem) came with 3.2. This one holds no bytes: it reads the datagram
 * that the association was fed, and hands over what is written at once. */
#include "net/dtls_int.h"

#include <openssl/bio.h>
#include <string.h>

static int bio_write(BIO *b, const char *p, int n) {
    struct slv_dtls_assoc *a = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (n <= 0) return 0;
    a->d->conf.output(a->d->conf.ctx, a, (const uint8_t *)p, (size_t)n);
    return n;
}

/* Of a datagram that is longer than there is room the rest is lost, as with a socket. */
static int bio_read(BIO *b, char *p, int n) {
    struct slv_dtls_assoc *a = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (!a->in || n <= 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    const size_t got = a->in_n < (size_t)n ? a->in_n : (size_t)n;
    memcpy(p, a->in, got);
    a->in = NULL;
    return (int)got;
}

static long bio_ctrl(BIO *b, int what, long number, void *p) {
    const struct slv_dtls_assoc *a = BIO_get_data(b);
    (void)number;
    (void)p;
    switch (what) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DGRAM_SET_NEXT_TIMEOUT: /* nobody here waits */
        return 1;
    case BIO_CTRL_DGRAM_QUERY_MTU:
    case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
        return (long)a->mtu;
    default:
        return 0;
    }
}

static int bio_create(BIO *b) {
    BIO_set_init(b, 1);
    return 1;
}

BIO_METHOD *slv_dtls_bio_method(void) {
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "datagrams of an association");
    if (m && BIO_meth_set_write(m, bio_write) && BIO_meth_set_read(m, bio_read) &&
        BIO_meth_set_ctrl(m, bio_ctrl) && BIO_meth_set_create(m, bio_create))
        return m;
    BIO_meth_free(m);
    return NULL;
}

BIO *slv_dtls_bio(struct slv_dtls_assoc *a) {
    BIO *b = BIO_new(a->d->method);
    if (b) BIO_set_data(b, a);
    return b;
}
