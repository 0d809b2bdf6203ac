/* dtls_record.c: see dtls_record.h. */
#include "net/dtls_record.h"

#include <string.h>

enum { RECORD = SLV_DTLS_RECORD_HEADER, MESSAGE = 12 }; /* bytes of the headers */
enum { CHANGE_CIPHER_SPEC = 20, ALERT, HANDSHAKE, DATA };
enum { CLIENT_HELLO = 1, HELLO_VERIFY_REQUEST = 3 };

_Static_assert(SLV_DTLS_REPLY == RECORD + MESSAGE + 3 + SLV_DTLS_COOKIE, "the only reply");

/* Bytes yet to be read; short: more was wanted than there was. */
struct cut {
    const uint8_t *p;
    size_t n;
    bool is_short;
};

static const uint8_t *take(struct cut *c, size_t n) {
    static const uint8_t none[SLV_DTLS_RANDOM];
    if (n > c->n) {
        *c = (struct cut){none, 0, true};
        return none;
    }
    const uint8_t *p = c->p;
    c->p += n;
    c->n -= n;
    return p;
}

static size_t take_number(struct cut *c, size_t bytes) {
    const uint8_t *p = take(c, bytes);
    size_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

/* Bytes behind their length, which has so many bytes. */
static struct cut take_vector(struct cut *c, size_t bytes) {
    const size_t n = take_number(c, bytes);
    const uint8_t *p = take(c, n);
    return (struct cut){p, c->is_short ? 0 : n, c->is_short};
}

struct record {
    size_t type, version, epoch;
    const uint8_t *number;
    struct cut body;
};

static struct record take_record(struct cut *c) {
    struct record r;
    r.type = take_number(c, 1);
    r.version = take_number(c, 2);
    r.epoch = take_number(c, 2);
    r.number = take(c, 6);
    r.body = take_vector(c, 2);
    return r;
}

struct message {
    size_t type, n, at;
    struct cut piece;
};

static struct message take_message(struct cut *c) {
    struct message m;
    m.type = take_number(c, 1);
    m.n = take_number(c, 3);
    take(c, 2);
    m.at = take_number(c, 3);
    m.piece = take_vector(c, 3);
    return m;
}

bool slv_dtls_hello_read(const uint8_t *p, size_t n, struct slv_dtls_hello *ret) {
    struct cut all = {p, n, false};
    struct slv_dtls_hello h;
    struct record r = take_record(&all);
    if (all.is_short || r.type != HANDSHAKE || r.version >> 8 != 0xfe || r.epoch) return false;
    memcpy(h.number, r.number, sizeof h.number);
    struct message m = take_message(&r.body);
    if (r.body.is_short || r.body.n || m.type != CLIENT_HELLO || m.at || m.piece.n != m.n)
        return false;
    struct cut *c = &m.piece;
    if (take_number(c, 2) != 0xfefd) return false;
    h.random = take(c, SLV_DTLS_RANDOM);
    const struct cut session = take_vector(c, 1), cookie = take_vector(c, 1);
    const struct cut suites = take_vector(c, 2), compressions = take_vector(c, 1);
    if (c->n) take_vector(c, 2); /* extensions */
    if (c->is_short || c->n || session.n > 32 || suites.n < 2 || suites.n % 2 || !compressions.n)
        return false;
    h.session = session.p;
    h.session_n = session.n;
    h.cookie = cookie.p;
    h.cookie_n = cookie.n;
    *ret = h;
    return true;
}

void slv_dtls_hello_reply(const struct slv_dtls_hello *h, const uint8_t cookie[SLV_DTLS_COOKIE],
                          uint8_t ret[SLV_DTLS_REPLY]) {
    enum { BODY = 3 + SLV_DTLS_COOKIE };
    /* Versions are that of DTLS 1.0, whatever is spoken later (RFC 6347, 4.2.1). */
    static const uint8_t record[] = {HANDSHAKE, 0xfe, 0xff, 0, 0};
    static const uint8_t rest[] = {0,
                                   MESSAGE + BODY,
                                   HELLO_VERIFY_REQUEST,
                                   0,
                                   0,
                                   BODY,
                                   0,
                                   0,
                                   0,
                                   0,
                                   0,
                                   0, /* the fragment is at 0 */
                                   0,
                                   BODY,
                                   0xfe,
                                   0xff,
                                   SLV_DTLS_COOKIE};
    _Static_assert(sizeof record + 6 + sizeof rest + SLV_DTLS_COOKIE == SLV_DTLS_REPLY, "length");
    memcpy(ret, record, sizeof record);
    memcpy(ret + sizeof record, h->number, 6);
    memcpy(ret + sizeof record + 6, rest, sizeof rest);
    memcpy(ret + SLV_DTLS_REPLY - SLV_DTLS_COOKIE, cookie, SLV_DTLS_COOKIE);
}

static bool messages_fit(struct cut c) {
    while (c.n) {
        const struct message m = take_message(&c);
        if (c.is_short || m.n > SLV_DTLS_MESSAGE_MAX || m.at > m.n || m.piece.n > m.n - m.at)
            return false;
    }
    return true;
}

bool slv_dtls_record_fits(const uint8_t *p, size_t n, uint32_t overhead, uint32_t *early) {
    struct cut c = {p, n, false};
    uint32_t encrypted = 0;
    while (c.n) {
        const struct record r = take_record(&c);
        if (c.is_short || r.type < CHANGE_CIPHER_SPEC || r.type > DATA) return false;
        if (r.epoch && r.body.n + RECORD < overhead) return false;
        if (early && r.type == DATA) return false;
        if (early && !r.epoch && r.type == HANDSHAKE && !messages_fit(r.body)) return false;
        encrypted += r.epoch != 0;
    }
    if (early && encrypted > SLV_DTLS_EARLY_MAX - *early) return false;
    if (early) *early += encrypted;
    return n > 0;
}
