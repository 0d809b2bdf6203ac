/* transport_address.c: addresses of the transport; see transport_int.h. */
#include "mesh/transport_int.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#define HOST_MAX 256
#define TAG_VIA 0xff

/* Digits only: what the system's own reading takes modulo 65536 would be another port. */
static bool port_of(const char *text, uint16_t *ret) {
    const size_t n = strlen(text);
    if (n < 1 || n > 5 || strspn(text, "0123456789") != n) return false;
    const long v = strtol(text, NULL, 10);
    if (v > 65535) return false;
    *ret = (uint16_t)v;
    return true;
}

/* "HOST:PORT" or "[HOST]:PORT" */
static bool split(const char *text, char host[HOST_MAX], uint16_t *ret_port) {
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    } else if (n && memchr(text, ':', n)) {
        return false;
    }
    if (!n || n >= HOST_MAX || !port_of(colon + 1, ret_port)) return false;
    memcpy(host, text, n);
    host[n] = '\0';
    return true;
}

static bool take(const struct addrinfo *list, uint16_t port, struct address *ret) {
    struct address a = {.n = 0};
    if (!list || (list->ai_family != AF_INET && list->ai_family != AF_INET6) ||
        list->ai_addrlen > sizeof a.in6)
        return false;
    memcpy(&a.in6, list->ai_addr, list->ai_addrlen);
    a.n = list->ai_addrlen;
    transport_address_set_port(&a, port);
    *ret = a;
    return true;
}

int transport_address_parse(const char *text, bool listens, struct address *ret) {
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *list = NULL;
    char host[HOST_MAX];
    uint16_t port = 0;
    if (!split(text, host, &port) || (!port && !listens)) return SLV_E_USAGE;
    if (getaddrinfo(host, NULL, &hints, &list)) return SLV_E_USAGE;
    const bool ok = take(list, port, ret);
    freeaddrinfo(list);
    return ok ? 0 : SLV_E_USAGE;
}

int transport_address_resolve(const char *text, struct address *ret, struct slv_err *err) {
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    char host[HOST_MAX];
    uint16_t port = 0;
    if (!split(text, host, &port))
        return slv_err_set(err, SLV_E_USAGE, "%s: ADDRESS:PORT with a port of 0 to 65535 is wanted",
                           text);
    const int e = getaddrinfo(host, NULL, &hints, &list);
    if (e) return slv_err_set(err, SLV_E_USAGE, "%s: %s", text, gai_strerror(e));
    const bool ok = take(list, port, ret);
    freeaddrinfo(list);
    return ok ? 0 : slv_err_set(err, SLV_E_USAGE, "%s: neither IPv4 nor IPv6", text);
}

void transport_address_text(const struct address *a, char ret[SLV_TRANSPORT_ADDRESS_TEXT]) {
    char host[INET6_ADDRSTRLEN] = "", name[IF_NAMESIZE] = "";
    const unsigned port = transport_address_port(a);
    if (a->sa.sa_family == AF_INET) {
        inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof host);
        snprintf(ret, SLV_TRANSPORT_ADDRESS_TEXT, "%s:%u", host, port);
        return;
    }
    inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof host);
    const bool scoped = a->in6.sin6_scope_id && if_indextoname(a->in6.sin6_scope_id, name);
    snprintf(ret, SLV_TRANSPORT_ADDRESS_TEXT, "[%s%s%s]:%u", host, scoped ? "%" : "", name, port);
}

uint16_t transport_address_port(const struct address *a) {
    return ntohs(a->sa.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
}

void transport_address_set_port(struct address *a, uint16_t port) {
    if (a->sa.sa_family == AF_INET) a->in.sin_port = htons(port);
    else a->in6.sin6_port = htons(port);
}

bool transport_address_equal(const struct address *a, const struct address *b, bool ports) {
    if (a->sa.sa_family != b->sa.sa_family) return false;
    if (ports && transport_address_port(a) != transport_address_port(b)) return false;
    if (a->sa.sa_family == AF_INET) return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
    return !memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof a->in6.sin6_addr) &&
           a->in6.sin6_scope_id == b->in6.sin6_scope_id;
}

bool transport_address_loops(const struct address *a) {
    if (a->sa.sa_family == AF_INET) return ntohl(a->in.sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

bool transport_address_any(const struct address *a) {
    if (a->sa.sa_family == AF_INET) return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
    return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

/* --- as bytes --------------------------------------------------------------------------------- */

/*     IPv4    socket 1 | port 2 | address 4
 *     IPv6    socket 1 | port 2 | address 16 | scope 4
 *     relay   0xff | relay 8 | peer 8 */
struct slv_dtls_address transport_address_pack(const struct address *a, unsigned socket) {
    struct slv_dtls_address r = {.n = 0};
    r.p[0] = (uint8_t)socket;
    if (a->sa.sa_family == AF_INET) {
        memcpy(r.p + 1, &a->in.sin_port, 2);
        memcpy(r.p + 3, &a->in.sin_addr, 4);
        r.n = 7;
    } else {
        memcpy(r.p + 1, &a->in6.sin6_port, 2);
        memcpy(r.p + 3, &a->in6.sin6_addr, 16);
        memcpy(r.p + 19, &a->in6.sin6_scope_id, 4);
        r.n = 23;
    }
    return r;
}

void transport_address_unpack(const struct slv_dtls_address *p, struct address *ret,
                              unsigned *ret_socket) {
    struct address a = {.n = 0};
    *ret_socket = p->p[0];
    if (p->n == 7) {
        a.n = sizeof a.in;
        a.in.sin_family = AF_INET;
        memcpy(&a.in.sin_port, p->p + 1, 2);
        memcpy(&a.in.sin_addr, p->p + 3, 4);
    } else {
        a.n = sizeof a.in6;
        a.in6.sin6_family = AF_INET6;
        memcpy(&a.in6.sin6_port, p->p + 1, 2);
        memcpy(&a.in6.sin6_addr, p->p + 3, 16);
        memcpy(&a.in6.sin6_scope_id, p->p + 19, 4);
    }
    *ret = a;
}

struct slv_dtls_address transport_address_pack_via(uint64_t relay, uint64_t peer) {
    struct slv_dtls_address r = {.n = 17};
    r.p[0] = TAG_VIA;
    memcpy(r.p + 1, &relay, 8);
    memcpy(r.p + 9, &peer, 8);
    return r;
}

void transport_address_unpack_via(const struct slv_dtls_address *p, uint64_t *ret_relay,
                                  uint64_t *ret_peer) {
    memcpy(ret_relay, p->p + 1, 8);
    memcpy(ret_peer, p->p + 9, 8);
}

void transport_address_source(const struct address *a, uint8_t ret[9], size_t *ret_n) {
    ret[0] = a->sa.sa_family == AF_INET;
    *ret_n = ret[0] ? 5 : 9;
    if (ret[0]) memcpy(ret + 1, &a->in.sin_addr, 4);
    else memcpy(ret + 1, &a->in6.sin6_addr, 8);
}
