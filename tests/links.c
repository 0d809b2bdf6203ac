/* links.c: see links.h. */
#include "links.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define START ((uint64_t)1000000 * 1000000000)

struct host host[HOSTS];
uint64_t now = START, links_set_back;
struct packet *packet[PACKETS];
size_t packet_first, packet_n, links_sent;
void (*links_meddle)(size_t n, struct packet *p);

static int used; /* links below it may have associations */

static void require_at(bool ok, int line) {
    if (ok) return;
    fprintf(stderr, "links.c:%d: what must be is not\n", line);
    abort();
}
#define require(ok) require_at(ok, __LINE__)

int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
    (void)zone;
    const uint64_t shown = now - links_set_back;
    tv->tv_sec = (time_t)(shown / 1000000000);
    tv->tv_usec = (suseconds_t)(shown / 1000 % 1000000);
    return 0;
}

/* --- the path --------------------------------------------------------------------------------- */

void links_push(const struct packet *p) {
    if (packet_first == packet_n) packet_first = packet_n = 0;
    require(packet_n < PACKETS);
    struct packet *copy = malloc(sizeof *copy);
    require(copy != NULL);
    *copy = *p;
    packet[packet_n++] = copy;
}

void links_lose(void) {
    while (packet_first < packet_n)
        free(packet[packet_first++]);
}

static struct slv_dtls_address address_of(int h, int link) {
    return (struct slv_dtls_address){{(uint8_t)h, (uint8_t)(link >> 8), (uint8_t)link}, 3};
}

static void send_packet(int from, const struct slv_dtls_address *to, const uint8_t *p, size_t n) {
    struct packet k = {.from = (uint8_t)from, .to = to->p[0], .n = (uint16_t)n};
    k.link = (uint16_t)(to->p[1] << 8 | to->p[2]);
    require(n <= sizeof k.p && k.to < HOSTS);
    memcpy(k.p, p, n);
    if (links_meddle) links_meddle(links_sent, &k);
    else links_push(&k);
    links_sent++;
}

void links_deliver(const struct packet *p) {
    struct host *h = &host[p->to];
    struct slv_dtls_assoc **a = &h->assoc[p->link];
    if (used <= p->link) used = p->link + 1;
    if (h->asleep || !h->d) return;
    uint8_t *exact = malloc(p->n ? p->n : 1); /* of its size, for sanitizers */
    require(exact != NULL);
    memcpy(exact, p->p, p->n);
    if (*a && !slv_dtls_is_new(*a, exact, p->n)) {
        (void)slv_dtls_feed(*a, now, exact, p->n);
        if (slv_dtls_state(*a) != SLV_DTLS_OPEN && h->old[p->link])
            (void)slv_dtls_feed(h->old[p->link], now, exact, p->n);
    } else {
        const struct slv_dtls_address from = address_of(p->from, p->link);
        struct slv_dtls_accepted r = {.reply_n = 0};
        const int rc = slv_dtls_accept(h->d, now, &from, *a, exact, p->n, &r);
        require(!rc || rc == SLV_E_FORMAT || rc == SLV_E_LIMIT || rc == SLV_E_NOMEM);
        require(r.reply_n <= p->n);
        if (r.reply_n) send_packet(p->to, &from, r.reply, r.reply_n);
        if (r.is_new) {
            slv_dtls_assoc_close(h->old[p->link]);
            h->old[p->link] = *a;
            *a = r.assoc;
        }
    }
    free(exact);
}

void links_run(void) {
    while (packet_first < packet_n) {
        struct packet *p = packet[packet_first++];
        links_deliver(p);
        free(p);
    }
}

static uint64_t next_tick(void) {
    uint64_t next = UINT64_MAX;
    for (int h = 0; h < HOSTS; h++)
        for (int l = 0; l < used; l++) {
            const struct slv_dtls_assoc *a = host[h].assoc[l];
            const uint64_t t = a ? slv_dtls_timeout(a, now) : UINT64_MAX;
            if (t < next) next = t;
        }
    return next;
}

void links_settle(void) {
    uint64_t next;
    links_run();
    while ((next = next_tick()) != UINT64_MAX) {
        require(next >= now);
        now = next;
        for (int h = 0; h < HOSTS; h++)
            for (int l = 0; l < used; l++)
                if (host[h].assoc[l]) slv_dtls_tick(host[h].assoc[l], now);
        links_run();
    }
}

/* --- hosts ------------------------------------------------------------------------------------ */

static int host_sign(void *ctx, const void *p, size_t n, uint8_t ret[SLV_DTLS_SIGNATURE]) {
    const struct host *h = ctx;
    return crypto_sign_detached(ret, NULL, p, n, h->secret);
}

static bool host_allow(void *ctx, const uint8_t peer[SLV_DTLS_KEY]) {
    const struct host *h = ctx;
    return !h->deny_all && !(h->denied && !memcmp(h->denied, peer, SLV_DTLS_KEY));
}

static void host_time(void *ctx, uint64_t *ret_earliest, uint64_t *ret_latest) {
    const struct host *h = ctx;
    *ret_earliest = h->earliest;
    *ret_latest = h->latest;
}

static void host_output(void *ctx, struct slv_dtls_assoc *a, const uint8_t *p, size_t n) {
    const struct host *h = ctx;
    require(n <= slv_dtls_mtu(a));
    send_packet((int)(h - host), slv_dtls_address(a), p, n);
}

static void host_data(void *ctx, struct slv_dtls_assoc *a, const uint8_t *p, size_t n) {
    struct host *h = ctx;
    require(slv_dtls_state(a) == SLV_DTLS_OPEN && slv_dtls_peer(a));
    h->got_n++;
    memcpy(h->last, p, n);
    h->last_n = n;
}

static void host_changed(void *ctx, struct slv_dtls_assoc *a) {
    struct host *h = ctx;
    struct slv_err err;
    h->changes++;
    require(slv_dtls_state(a) != SLV_DTLS_HANDSHAKE);
    require((slv_dtls_state(a) == SLV_DTLS_FAILED) == (slv_dtls_explain(a, &err) != 0));
}

void links_open(int h, const struct slv_dtls_conf *conf) {
    struct host *x = &host[h];
    *x = (struct host){.latest = UINT64_MAX};
    if (conf) x->conf = *conf;
    x->conf.ctx = x;
    x->conf.sign = host_sign;
    x->conf.allow = host_allow;
    x->conf.time = host_time;
    x->conf.output = host_output;
    x->conf.data = host_data;
    x->conf.changed = host_changed;
    crypto_sign_keypair(x->conf.key, x->secret);
    require(!slv_dtls_open(&x->conf, now, &x->d, NULL));
}

void links_begin(int n, const struct slv_dtls_conf *conf) {
    require(sodium_init() >= 0);
    links_meddle = NULL;
    links_sent = links_set_back = 0;
    for (int h = 0; h < n; h++)
        links_open(h, conf);
}

void links_close(int h, int link) {
    slv_dtls_assoc_close(host[h].old[link]);
    slv_dtls_assoc_close(host[h].assoc[link]);
    host[h].old[link] = host[h].assoc[link] = NULL;
}

void links_end(void) {
    links_meddle = NULL;
    for (int h = 0; h < HOSTS; h++) {
        for (int l = 0; l < LINKS; l++)
            links_close(h, l);
        slv_dtls_close(host[h].d);
        host[h].d = NULL;
    }
    links_lose();
}

struct slv_dtls_assoc *links_connect(int from, int to, int link,
                                     const struct slv_dtls_session *session) {
    struct host *h = &host[from];
    const struct slv_dtls_address address = address_of(to, link);
    if (used <= link) used = link + 1;
    slv_dtls_assoc_close(h->old[link]);
    h->old[link] = h->assoc[link];
    h->assoc[link] = NULL;
    require(!slv_dtls_connect(h->d, now, &address, session, &h->assoc[link]));
    return h->assoc[link];
}

void links_send(int from, int link, const char *text) {
    require(!slv_dtls_send(host[from].assoc[link], text, strlen(text)));
}

bool links_is_open(int h, int link) {
    return host[h].assoc[link] && slv_dtls_state(host[h].assoc[link]) == SLV_DTLS_OPEN;
}

static void must_be(int h, int link, int peer) {
    const uint8_t *key = slv_dtls_peer(host[h].assoc[link]);
    require(links_is_open(h, link) && key && !memcmp(key, host[peer].conf.key, SLV_DTLS_KEY));
}

void links_must_work(int a, int b, int link) {
    const uint64_t at_a = host[a].got_n, at_b = host[b].got_n;
    require(host[a].assoc[link] && host[b].assoc[link]);
    must_be(a, link, b);
    must_be(b, link, a);
    links_send(a, link, "to b");
    links_send(b, link, "to all of a");
    links_run();
    require(host[a].got_n == at_a + 1 && host[b].got_n == at_b + 1);
    require(host[b].last_n == 4 && !memcmp(host[a].last, "to all of a", 11));
}

struct slv_dtls_counts links_counts(int h) {
    struct slv_dtls_counts c;
    slv_dtls_counts(host[h].d, &c);
    return c;
}
