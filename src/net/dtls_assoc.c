/* dtls_assoc.c: associations; see dtls.h and dtls_int.h. */
#include "base/mem.h"
#include "base/str.h"
#include "net/dtls.h"
#include "net/dtls_int.h"

#include <openssl/err.h>
#include <sodium.h>
#include <string.h>
#include <sys/time.h>

#define OVERHEAD_MAX 37 /* header 13, explicit nonce 8, tag 16 */
#define MICRO 1000u     /* ns */

/* --- what is waited for ----------------------------------------------------------------------- */

static void wait_for(struct slv_dtls_assoc *a) {
    struct slv_dtls_links *w = &a->d->waiting; /* prev: the last, next: the first */
    a->links.prev = w->prev;
    *(w->prev ? &w->prev->links.next : &w->next) = a;
    w->prev = a;
    a->d->counts.handshakes++;
}

static void wait_no_more(struct slv_dtls_assoc *a) {
    struct slv_dtls_links *w = &a->d->waiting;
    if (a->client || a->state != SLV_DTLS_HANDSHAKE) return;
    *(a->links.prev ? &a->links.prev->links.next : &w->next) = a->links.next;
    *(a->links.next ? &a->links.next->links.prev : &w->prev) = a->links.prev;
    a->links = (struct slv_dtls_links){NULL, NULL};
    a->d->counts.handshakes--;
}

/* --- states ----------------------------------------------------------------------------------- */

static void become(struct slv_dtls_assoc *a, enum slv_dtls_state state) {
    wait_no_more(a);
    a->state = state;
    if (state != SLV_DTLS_OPEN) {
        /* (Without this OpenSSL takes it for cut off, and its session for useless.) */
        if (state == SLV_DTLS_CLOSED) SSL_set_shutdown(a->ssl, SSL_SENT_SHUTDOWN);
        SSL_free(a->ssl);
        a->ssl = NULL;
    }
    if (a->d->conf.changed) a->d->conf.changed(a->d->conf.ctx, a);
}

static void fail(struct slv_dtls_assoc *a, enum slv_dtls_reason reason) {
    a->reason = reason;
    a->d->counts.failed[reason]++;
    become(a, SLV_DTLS_FAILED);
}

/* Of OpenSSL's errors, oldest first, what the first says. */
static void fail_by_error(struct slv_dtls_assoc *a) {
    const unsigned long e = ERR_peek_error();
    const int lib = ERR_GET_LIB(e), why = ERR_GET_REASON(e);
    enum slv_dtls_reason reason = SLV_DTLS_WHY_PROTOCOL;
    if (a->refused != SLV_DTLS_WHY_NONE) reason = a->refused;
    else if (why == ERR_R_MALLOC_FAILURE) reason = SLV_DTLS_WHY_MEMORY;
    else if (lib == ERR_LIB_SSL && why > SSL_AD_REASON_OFFSET) {
        a->alert = why - SSL_AD_REASON_OFFSET;
        reason = SLV_DTLS_WHY_REFUSED;
    } else if (lib == ERR_LIB_SSL && why == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        reason = SLV_DTLS_WHY_NO_CERTIFICATE;
    else if (lib == ERR_LIB_SSL && why == SSL_R_READ_TIMEOUT_EXPIRED) reason = SLV_DTLS_WHY_TIMEOUT;
    ERR_clear_error();
    fail(a, reason);
}

/* OpenSSL is through. A session that was resumed has shown no certificate: its first handshake's is
 * looked at again, whose signature was good then. */
static enum slv_dtls_reason check_open(struct slv_dtls_assoc *a) {
    a->resumed = SSL_session_reused(a->ssl);
    if (SSL_get_extms_support(a->ssl) != 1) return SLV_DTLS_WHY_MASTER_SECRET;
    return slv_dtls_ident_check(&a->d->conf, SSL_get0_peer_certificate(a->ssl), false, a->peer);
}

static void finish(struct slv_dtls_assoc *a) {
    const enum slv_dtls_reason reason = check_open(a);
    if (reason != SLV_DTLS_WHY_NONE) {
        SSL_shutdown(a->ssl);
        ERR_clear_error();
        fail(a, reason);
        return;
    }
    const size_t room = DTLS_get_data_mtu(a->ssl);
    if (room && room < a->mtu) a->overhead = a->mtu - (uint32_t)room;
    a->has_peer = true;
    a->d->counts.opened++;
    a->d->counts.resumed += a->resumed;
    become(a, SLV_DTLS_OPEN);
}

/* --- OpenSSL at work -------------------------------------------------------------------------- */

/* Where there is no memory for buffers OpenSSL takes the association for lost, and so it is. */
static bool begin(struct slv_dtls_assoc *a, uint64_t now) {
    a->d->now = now;
    ERR_clear_error();
    if (SSL_alloc_buffers(a->ssl) == 1) return true;
    ERR_clear_error();
    fail(a, SLV_DTLS_WHY_MEMORY);
    return false;
}

static void end(struct slv_dtls_assoc *a) {
    a->in = NULL;
    if (a->ssl && !SSL_has_pending(a->ssl)) SSL_free_buffers(a->ssl);
}

static bool wants_more(const struct slv_dtls_assoc *a, int rc) {
    const int e = SSL_get_error(a->ssl, rc);
    return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE;
}

static void shake(struct slv_dtls_assoc *a) {
    const int rc = SSL_do_handshake(a->ssl);
    if (rc == 1) finish(a);
    else if (!wants_more(a, rc)) fail_by_error(a);
}

/* What came may be several records, though nodes send one. */
static void take_in(struct slv_dtls_assoc *a) {
    uint8_t plain[SLV_DTLS_DATAGRAM_MAX];
    while (a->state == SLV_DTLS_OPEN) {
        const int n = SSL_read(a->ssl, plain, sizeof plain);
        if (n > 0) {
            const bool is_last = !a->in && !SSL_has_pending(a->ssl);
            a->d->conf.data(a->d->conf.ctx, a, plain, (size_t)n);
            if (is_last) return;
            continue;
        }
        if (wants_more(a, n)) return;
        if (SSL_get_error(a->ssl, n) == SSL_ERROR_ZERO_RETURN) become(a, SLV_DTLS_CLOSED);
        else fail_by_error(a);
    }
}

int slv_dtls_feed(struct slv_dtls_assoc *a, uint64_t now, const uint8_t *p, size_t n) {
    if (!a->ssl) return SLV_E_NET;
    uint32_t *early = a->state == SLV_DTLS_HANDSHAKE ? &a->early : NULL;
    if (n > SLV_DTLS_DATAGRAM_MAX || !slv_dtls_record_fits(p, n, a->overhead, early)) {
        a->d->counts.kept_out++;
        return 0;
    }
    if (!begin(a, now)) return SLV_E_NOMEM;
    a->in = p;
    a->in_n = n;
    a->is_feeding = true;
    if (a->state == SLV_DTLS_HANDSHAKE) shake(a);
    if (a->state == SLV_DTLS_OPEN) take_in(a);
    a->is_feeding = false;
    end(a);
    return 0;
}

int slv_dtls_send(struct slv_dtls_assoc *a, const void *p, size_t n) {
    if (a->state == SLV_DTLS_HANDSHAKE) return SLV_E_BUSY;
    if (!a->ssl) return SLV_E_NET;
    if (n > slv_dtls_room(a)) return SLV_E_LIMIT;
    if (!n) return 0;
    /* (Also called while a datagram is being taken in, whose buffers stay.) */
    if (!begin(a, a->d->now)) return SLV_E_NOMEM;
    const int rc = SSL_write(a->ssl, p, (int)n);
    if (rc != (int)n) fail_by_error(a); /* of no use any more: a record takes memory, too */
    if (!a->is_feeding) end(a);
    return rc == (int)n ? 0 : a->reason == SLV_DTLS_WHY_MEMORY ? SLV_E_NOMEM : SLV_E_NET;
}

/* --- time ------------------------------------------------------------------------------------- */

/* Microseconds until a flight is sent again; before: how long it was, 0: it is the first time. */
static unsigned retransmit_after(SSL *ssl, unsigned before) {
    const struct slv_dtls_assoc *a = SSL_get_app_data(ssl);
    const unsigned most = (unsigned)(SLV_DTLS_RETRANSMIT_MAX / MICRO);
    if (!before) return (unsigned)(a->d->conf.retransmit_ns / MICRO);
    return before < most / 2 ? 2 * before : most;
}

uint64_t slv_dtls_timeout(const struct slv_dtls_assoc *a, uint64_t now) {
    struct timeval left;
    if (a->state != SLV_DTLS_HANDSHAKE) return UINT64_MAX;
    if (DTLSv1_get_timeout(a->ssl, &left) != 1) return a->deadline;
    const uint64_t ns = ((uint64_t)left.tv_sec * 1000000 + (uint64_t)left.tv_usec) * MICRO;
    return now < a->deadline && ns < a->deadline - now ? now + ns : a->deadline;
}

void slv_dtls_tick(struct slv_dtls_assoc *a, uint64_t now) {
    if (a->state != SLV_DTLS_HANDSHAKE) return;
    if (now >= a->deadline) {
        fail(a, SLV_DTLS_WHY_TIMEOUT);
        return;
    }
    if (!begin(a, now)) return;
    if (DTLSv1_handle_timeout(a->ssl) < 0) fail_by_error(a);
    end(a);
}

/* --- beginning and end ------------------------------------------------------------------------ */

static void free_assoc(struct slv_dtls_assoc *a) {
    SSL_free(a->ssl);
    slv_mem_free(a);
}

/* An association that nobody knows of yet. */
static int new_assoc(struct slv_dtls *d, uint64_t now, const struct slv_dtls_address *address,
                     bool client, struct slv_dtls_assoc **ret) {
    if (address->n > SLV_DTLS_ADDRESS_MAX) return SLV_E_USAGE;
    if (d->counts.assocs >= d->conf.max) return SLV_E_LIMIT;
    struct slv_dtls_assoc *a = slv_mem_calloc(1, sizeof *a);
    if (!a) return SLV_E_NOMEM;
    a->d = d;
    a->client = client;
    a->alert = -1;
    a->address = *address;
    a->mtu = d->conf.mtu;
    a->overhead = OVERHEAD_MAX;
    if (__builtin_add_overflow(now, d->conf.handshake_ns, &a->deadline)) a->deadline = UINT64_MAX;
    d->now = now;
    ERR_clear_error();
    a->ssl = SSL_new(d->ctx);
    BIO *bio = a->ssl ? slv_dtls_bio(a) : NULL;
    if (!bio || SSL_set_app_data(a->ssl, a) != 1) {
        BIO_free(bio);
        free_assoc(a);
        return SLV_E_NOMEM;
    }
    SSL_set_bio(a->ssl, bio, bio);
    DTLS_set_timer_cb(a->ssl, retransmit_after);
    SSL_set_mtu(a->ssl, (long)a->mtu);
    if (client) SSL_set_connect_state(a->ssl);
    else SSL_set_accept_state(a->ssl);
    *ret = a;
    return 0;
}

int slv_dtls_connect(struct slv_dtls *d, uint64_t now, const struct slv_dtls_address *to,
                     const struct slv_dtls_session *session, struct slv_dtls_assoc **ret) {
    struct slv_dtls_assoc *a = NULL;
    int rc = new_assoc(d, now, to, true, &a);
    if (rc) return rc;
    /* (The session is not changed, but counted; one that cannot be used is not offered.) */
    SSL_SESSION *s = (SSL_SESSION *)(uintptr_t)session;
    uint8_t key[SLV_DTLS_KEY];
    if (s &&
        slv_dtls_ident_check(&d->conf, SSL_SESSION_get0_peer(s), false, key) == SLV_DTLS_WHY_NONE)
        SSL_set_session(a->ssl, s);
    d->counts.assocs++;
    d->counts.connected++;
    *ret = a;
    shake(a);
    end(a);
    return 0;
}

void slv_dtls_assoc_close(struct slv_dtls_assoc *a) {
    if (!a) return;
    if (a->state == SLV_DTLS_OPEN) {
        ERR_clear_error();
        if (SSL_alloc_buffers(a->ssl) == 1) SSL_shutdown(a->ssl);
        ERR_clear_error();
    }
    wait_no_more(a);
    a->d->counts.assocs--;
    free_assoc(a);
}

/* --- hellos ----------------------------------------------------------------------------------- */

static bool is_crossed(const struct slv_dtls_assoc *a) {
    return a && a->client && a->state == SLV_DTLS_HANDSHAKE;
}

/* The one that this very hello began, which is not open yet. */
static struct slv_dtls_assoc *begun_by(const struct slv_dtls *d, const struct slv_dtls_hello *h) {
    struct slv_dtls_assoc *a = d->waiting.next;
    while (a && memcmp(a->cookie, h->cookie, SLV_DTLS_COOKIE))
        a = a->links.next;
    return a;
}

static bool cookie_good(const struct slv_dtls *d, const struct slv_dtls_address *from,
                        const struct slv_dtls_hello *h) {
    uint8_t right[SLV_DTLS_COOKIE];
    if (h->cookie_n != SLV_DTLS_COOKIE) return false;
    for (int key = 0; key < 2; key++) {
        slv_dtls_cookie(d, key, from, h, right);
        if (!sodium_memcmp(right, h->cookie, sizeof right)) return true;
    }
    return false;
}

/* OpenSSL reads the hello again and goes on as if it had asked for the cookie. */
static bool listen_once(struct slv_dtls_assoc *a, const uint8_t *p, size_t n) {
    BIO_ADDR *nobody = BIO_ADDR_new();
    a->in = p;
    a->in_n = n;
    const bool ok = nobody && DTLSv1_listen(a->ssl, nobody) == 1;
    BIO_ADDR_free(nobody);
    ERR_clear_error();
    return ok;
}

static int begin_assoc(struct slv_dtls *d, uint64_t now, const struct slv_dtls_address *from,
                       const struct slv_dtls_hello *h, struct slv_str whole,
                       struct slv_dtls_assoc **ret) {
    struct slv_dtls_assoc *a = NULL;
    const int rc = new_assoc(d, now, from, false, &a);
    if (rc) return rc;
    memcpy(a->random, h->random, sizeof a->random);
    memcpy(a->cookie, h->cookie, sizeof a->cookie);
    if (!listen_once(a, (const uint8_t *)whole.p, whole.n)) {
        free_assoc(a);
        return SLV_E_FORMAT;
    }
    if (d->counts.handshakes >= d->conf.handshakes_max) fail(d->waiting.next, SLV_DTLS_WHY_DROPPED);
    d->counts.assocs++;
    d->counts.accepted++;
    wait_for(a);
    *ret = a;
    shake(a);
    end(a);
    return 0;
}

/* Whether this node's own hello, which has crossed the peer's, is the one that counts. */
static bool is_first(const struct slv_dtls_assoc *a, const struct slv_dtls_hello *theirs) {
    uint8_t own[SLV_DTLS_RANDOM];
    if (!is_crossed(a)) return false;
    SSL_get_client_random(a->ssl, own, sizeof own);
    return memcmp(own, theirs->random, sizeof own) <= 0;
}

int slv_dtls_accept(struct slv_dtls *d, uint64_t now, const struct slv_dtls_address *from,
                    struct slv_dtls_assoc *there, const uint8_t *p, size_t n,
                    struct slv_dtls_accepted *ret) {
    struct slv_dtls_accepted r = {.reply_n = 0};
    struct slv_dtls_hello h;
    uint8_t cookie[SLV_DTLS_COOKIE];
    if (from->n > SLV_DTLS_ADDRESS_MAX || n > SLV_DTLS_DATAGRAM_MAX ||
        !slv_dtls_hello_read(p, n, &h)) {
        d->counts.garbage++;
        return SLV_E_FORMAT;
    }
    slv_dtls_cookie_turn(d, now);
    int rc = 0;
    if (is_first(there, &h)) {
        d->counts.crossed++;
    } else if (!cookie_good(d, from, &h)) {
        (*(h.cookie_n ? &d->counts.cookies_bad : &d->counts.hellos))++;
        slv_dtls_cookie(d, 0, from, &h, cookie);
        slv_dtls_hello_reply(&h, cookie, r.reply);
        r.reply_n = SLV_DTLS_REPLY;
    } else if ((r.assoc = begun_by(d, &h)) != NULL) {
        rc = slv_dtls_feed(r.assoc, now, p, n);
    } else {
        rc = begin_assoc(d, now, from, &h, (struct slv_str){(const char *)p, n}, &r.assoc);
        r.is_new = !rc;
        if (!rc && is_crossed(there)) fail(there, SLV_DTLS_WHY_CROSSED);
    }
    if (!rc) *ret = r;
    return rc;
}

bool slv_dtls_is_new(const struct slv_dtls_assoc *a, const uint8_t *p, size_t n) {
    struct slv_dtls_hello h;
    return slv_dtls_hello_read(p, n, &h) &&
           (a->client || memcmp(h.random, a->random, SLV_DTLS_RANDOM));
}

/* --- what is known of one --------------------------------------------------------------------- */

enum slv_dtls_state slv_dtls_state(const struct slv_dtls_assoc *a) { return a->state; }
enum slv_dtls_reason slv_dtls_reason(const struct slv_dtls_assoc *a) { return a->reason; }
bool slv_dtls_is_client(const struct slv_dtls_assoc *a) { return a->client; }
bool slv_dtls_is_resumed(const struct slv_dtls_assoc *a) { return a->resumed; }
void slv_dtls_set_user(struct slv_dtls_assoc *a, void *user) { a->user = user; }
void *slv_dtls_user(const struct slv_dtls_assoc *a) { return a->user; }
uint32_t slv_dtls_overhead(const struct slv_dtls_assoc *a) { return a->overhead; }
uint32_t slv_dtls_mtu(const struct slv_dtls_assoc *a) { return a->mtu; }
uint32_t slv_dtls_room(const struct slv_dtls_assoc *a) { return a->mtu - a->overhead; }

const uint8_t *slv_dtls_peer(const struct slv_dtls_assoc *a) {
    return a->has_peer ? a->peer : NULL;
}

uint64_t slv_dtls_which(const struct slv_dtls_assoc *a) {
    return a->has_peer ? slv_dtls_ident_which(SSL_get0_peer_certificate(a->ssl)) : 0;
}

const struct slv_dtls_address *slv_dtls_address(const struct slv_dtls_assoc *a) {
    return &a->address;
}

const char *slv_dtls_reason_text(enum slv_dtls_reason reason) {
    static const char *const text[SLV_DTLS_REASONS] = {
#define REASON_TEXT(name, text) text,
        SLV_DTLS_REASONS_LIST(REASON_TEXT)
#undef REASON_TEXT
    };
    return reason < SLV_DTLS_REASONS ? text[reason] : "unknown";
}

int slv_dtls_explain(const struct slv_dtls_assoc *a, struct slv_err *err) {
    if (a->state != SLV_DTLS_FAILED) return 0;
    const bool who = a->reason >= SLV_DTLS_WHY_NO_CERTIFICATE && a->reason <= SLV_DTLS_WHY_REFUSED;
    const int code = who ? SLV_E_TRUST : SLV_E_NET;
    if (a->alert < 0) return slv_err_set(err, code, "DTLS: %s", slv_dtls_reason_text(a->reason));
    return slv_err_set(err, code, "DTLS: %s: %s", slv_dtls_reason_text(a->reason),
                       SSL_alert_desc_string_long(a->alert));
}

bool slv_dtls_prefer(const struct slv_dtls_assoc *a) {
    return a->has_peer && (memcmp(a->d->conf.key, a->peer, SLV_DTLS_KEY) < 0) == a->client;
}

int slv_dtls_set_mtu(struct slv_dtls_assoc *a, uint32_t mtu) {
    if (mtu < SLV_DTLS_MTU_MIN || mtu > SLV_DTLS_MTU_MAX) return SLV_E_USAGE;
    a->mtu = mtu;
    if (a->ssl) SSL_set_mtu(a->ssl, (long)mtu);
    return 0;
}

struct slv_dtls_session *slv_dtls_session(const struct slv_dtls_assoc *a) {
    if (!a->client || a->state != SLV_DTLS_OPEN) return NULL;
    return (struct slv_dtls_session *)SSL_get1_session(a->ssl);
}

void slv_dtls_session_close(struct slv_dtls_session *s) { SSL_SESSION_free((SSL_SESSION *)s); }
