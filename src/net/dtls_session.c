/* dtls_session.c: sessions that peers may resume; see dtls.h.
 *
 * They are found by their id, not sent to the peer in tickets: a ticket holds the peer's
 * certificate, and with it a hello would be longer than a datagram, which no cookie can answer.
 * What is not kept here need no key that must be rotated either.
 *
 * A table of fixed size without lists: an id, which OpenSSL drew at random, has SLV_DTLS_WAYS
 * places; the oldest there makes room. Who is pushed out has a full handshake. */
#include "base/mem.h"
#include "net/dtls_int.h"

#include <string.h>

int slv_dtls_kept_open(struct slv_dtls *d) {
    d->kept_n = SLV_DTLS_WAYS;
    while (d->kept_n < d->conf.sessions_max)
        d->kept_n *= 2;
    d->kept = slv_mem_calloc(d->kept_n, sizeof *d->kept);
    return d->kept ? 0 : SLV_E_NOMEM;
}

static void drop(struct slv_dtls *d, struct slv_dtls_kept *k) {
    if (!k->session) return;
    SSL_SESSION_free(k->session);
    k->session = NULL;
    d->counts.sessions--;
}

void slv_dtls_kept_drop(struct slv_dtls *d) {
    for (uint32_t i = 0; d->kept && i < d->kept_n; i++)
        drop(d, &d->kept[i]);
}

void slv_dtls_kept_close(struct slv_dtls *d) {
    slv_dtls_kept_drop(d);
    slv_mem_free(d->kept);
}

/* The SLV_DTLS_WAYS places of an id. */
static struct slv_dtls_kept *places(const struct slv_dtls *d, const uint8_t *id, size_t n) {
    uint32_t h = 0;
    memcpy(&h, id, n < sizeof h ? n : sizeof h);
    return d->kept + (h & (d->kept_n - 1) & ~(uint32_t)(SLV_DTLS_WAYS - 1));
}

static struct slv_dtls *context_of(const SSL *ssl) {
    const struct slv_dtls_assoc *a = SSL_get_app_data(ssl);
    return a->d;
}

/* OpenSSL has a new one: 1, it is ours now. */
static int keep(SSL *ssl, SSL_SESSION *s) {
    struct slv_dtls *d = context_of(ssl);
    unsigned n = 0;
    const uint8_t *id = SSL_SESSION_get_id(s, &n);
    struct slv_dtls_kept *k = places(d, id, n), *to = k;
    for (int i = 1; i < SLV_DTLS_WAYS && to->session; i++)
        if (!k[i].session || k[i].made < to->made) to = &k[i];
    drop(d, to);
    *to = (struct slv_dtls_kept){s, d->now};
    d->counts.sessions++;
    return 1;
}

static bool good(struct slv_dtls *d, const struct slv_dtls_kept *k) {
    uint8_t key[SLV_DTLS_KEY];
    return SSL_SESSION_is_resumable(k->session) && d->now - k->made < d->conf.session_ns &&
           slv_dtls_ident_check(&d->conf, SSL_SESSION_get0_peer(k->session), false, key) ==
               SLV_DTLS_WHY_NONE;
}

/* A peer asks for one. Whoever is not let in any more gets none, and must show who it is: so it is
 * refused as a stranger is. */
static SSL_SESSION *find(SSL *ssl, const unsigned char *id, int n, int *ret_copy) {
    struct slv_dtls *d = context_of(ssl);
    if (n <= 0) return NULL;
    struct slv_dtls_kept *k = places(d, id, (size_t)n);
    for (int i = 0; i < SLV_DTLS_WAYS; i++) {
        unsigned has = 0;
        const uint8_t *p = k[i].session ? SSL_SESSION_get_id(k[i].session, &has) : NULL;
        if (!p || has != (unsigned)n || memcmp(p, id, has)) continue;
        if (good(d, &k[i])) {
            *ret_copy = 1;
            return k[i].session;
        }
        d->counts.not_resumed++;
        drop(d, &k[i]);
    }
    return NULL;
}

void slv_dtls_kept_use(struct slv_dtls *d) {
    static const uint8_t name[] = "selvage";
    SSL_CTX_set_session_cache_mode(d->ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL |
                                               SSL_SESS_CACHE_NO_AUTO_CLEAR);
    SSL_CTX_set_session_id_context(d->ctx, name, sizeof name - 1);
    SSL_CTX_set_timeout(d->ctx, 365L * 86400); /* session_ns says how long */
    SSL_CTX_sess_set_new_cb(d->ctx, keep);
    SSL_CTX_sess_set_get_cb(d->ctx, find);
}
