/* dtls_node.c: a node with DTLS on a real UDP socket of 127.0.0.1, for test_dtls.py, and an example
 * of what a caller of dtls.h does: usage: dtls_node NUMBER [PORT]
 *
 * Nodes 1 to 8 let each other in. It says its port, connects to PORT if there is one, sends
 * "hello", answers data with the same in capitals, and tells what happens, until standard input
 * ends. */
#include "net/dtls.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINKS 8
#define NODES 8

struct link {
    struct slv_dtls_assoc *assoc, *old; /* the newest of an address, and the one before */
};

struct node {
    int fd;
    struct slv_dtls *d;
    struct link link[LINKS];
    uint8_t known[NODES + 1][SLV_DTLS_KEY], secret[64];
};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void die(const char *why) {
    fprintf(stderr, "dtls_node: %s\n", why);
    exit(1);
}

static int node_sign(void *ctx, const void *p, size_t n, uint8_t ret[SLV_DTLS_SIGNATURE]) {
    const struct node *x = ctx;
    return crypto_sign_detached(ret, NULL, p, n, x->secret);
}

static int number_of(const struct node *x, const uint8_t key[SLV_DTLS_KEY]) {
    for (int i = 1; i <= NODES; i++)
        if (!memcmp(x->known[i], key, SLV_DTLS_KEY)) return i;
    return 0;
}

static bool node_allow(void *ctx, const uint8_t key[SLV_DTLS_KEY]) {
    return number_of(ctx, key) > 0;
}

static void node_output(void *ctx, struct slv_dtls_assoc *a, const uint8_t *p, size_t n) {
    const struct node *x = ctx;
    const struct slv_dtls_address *to = slv_dtls_address(a);
    struct sockaddr_in in;
    memcpy(&in, to->p, sizeof in);
    if (sendto(x->fd, p, n, 0, (const struct sockaddr *)&in, sizeof in) < 0) { /* it is lost */
    }
}

static void node_data(void *ctx, struct slv_dtls_assoc *a, const uint8_t *p, size_t n) {
    char answer[SLV_DTLS_DATAGRAM_MAX];
    printf("data from %d: %.*s\n", number_of(ctx, slv_dtls_peer(a)), (int)n, (const char *)p);
    for (size_t i = 0; i < n; i++)
        answer[i] = (char)toupper(p[i]);
    if (memcmp(answer, p, n) && slv_dtls_send(a, answer, n)) printf("not sent\n");
}

static void node_changed(void *ctx, struct slv_dtls_assoc *a) {
    struct slv_err err;
    if (slv_dtls_state(a) == SLV_DTLS_OPEN) {
        printf("open with %d\n", number_of(ctx, slv_dtls_peer(a)));
        if (slv_dtls_is_client(a) && slv_dtls_send(a, "hello", 5)) printf("not sent\n");
    } else if (slv_dtls_explain(a, &err)) printf("failed: %s\n", err.msg);
    else printf("closed\n");
}

static void start(struct node *x, int number) {
    uint8_t seed[crypto_sign_SEEDBYTES], secret[64];
    for (int i = 1; i <= NODES; i++) {
        memset(seed, i, sizeof seed);
        crypto_sign_seed_keypair(x->known[i], secret, seed);
    }
    struct slv_dtls_conf conf = {.ctx = x,
                                 .sign = node_sign,
                                 .allow = node_allow,
                                 .output = node_output,
                                 .data = node_data,
                                 .changed = node_changed};
    memset(seed, number, sizeof seed);
    crypto_sign_seed_keypair(conf.key, x->secret, seed);
    struct slv_err err;
    if (slv_dtls_open(&conf, now_ns(), &x->d, &err)) die(err.msg);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof in;
    x->fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (x->fd < 0 || bind(x->fd, (struct sockaddr *)&in, n) ||
        getsockname(x->fd, (struct sockaddr *)&in, &n))
        die("no socket");
    printf("port %d\n", ntohs(in.sin_port));
}

static struct slv_dtls_address address_of(const struct sockaddr_in *in) {
    struct slv_dtls_address a = {.n = sizeof *in};
    memcpy(a.p, in, sizeof *in);
    return a;
}

/* The link of an address, or a free one. */
static struct link *find(struct node *x, const struct slv_dtls_address *from) {
    struct link *unused = NULL;
    for (int i = 0; i < LINKS; i++) {
        struct link *l = &x->link[i];
        if (!l->assoc) unused = l;
        else if (!memcmp(slv_dtls_address(l->assoc)->p, from->p, from->n)) return l;
    }
    return unused;
}

static void take_in(struct node *x) {
    uint8_t p[SLV_DTLS_DATAGRAM_MAX];
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t in_n = sizeof in;
    struct slv_dtls_accepted r = {.reply_n = 0};
    const ssize_t n = recvfrom(x->fd, p, sizeof p, 0, (struct sockaddr *)&in, &in_n);
    const struct slv_dtls_address from = address_of(&in);
    struct link *l = find(x, &from);
    if (n < 0 || !l) return;
    if (l->assoc && !slv_dtls_is_new(l->assoc, p, (size_t)n)) {
        (void)slv_dtls_feed(l->assoc, now_ns(), p, (size_t)n);
        if (slv_dtls_state(l->assoc) != SLV_DTLS_OPEN && l->old)
            (void)slv_dtls_feed(l->old, now_ns(), p, (size_t)n);
        return;
    }
    if (slv_dtls_accept(x->d, now_ns(), &from, l->assoc, p, (size_t)n, &r)) return;
    if (r.reply_n && sendto(x->fd, r.reply, r.reply_n, 0, (struct sockaddr *)&in, in_n) < 0)
        printf("not answered\n");
    if (!r.is_new) return;
    slv_dtls_assoc_close(l->old);
    l->old = l->assoc;
    l->assoc = r.assoc;
}

/* Ends what is over; milliseconds until something is due. */
static int tick(struct node *x) {
    uint64_t next = UINT64_MAX, now = now_ns();
    for (int i = 0; i < LINKS; i++) {
        struct link *l = &x->link[i];
        if (!l->assoc) continue;
        slv_dtls_tick(l->assoc, now);
        const uint64_t due = slv_dtls_timeout(l->assoc, now);
        if (due < next) next = due;
        if (slv_dtls_state(l->assoc) < SLV_DTLS_CLOSED) continue;
        slv_dtls_assoc_close(l->assoc);
        slv_dtls_assoc_close(l->old);
        *l = (struct link){NULL, NULL};
    }
    fflush(stdout);
    return next == UINT64_MAX ? -1 : next <= now ? 0 : (int)((next - now) / 1000000) + 1;
}

int main(int argc, char **argv) {
    static struct node x;
    if (argc < 2 || sodium_init() < 0) die("usage: dtls_node NUMBER [PORT]");
    start(&x, atoi(argv[1]));
    if (argc > 2) {
        const struct sockaddr_in in = {.sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                       .sin_port = htons((uint16_t)atoi(argv[2]))};
        const struct slv_dtls_address to = address_of(&in);
        if (slv_dtls_connect(x.d, now_ns(), &to, NULL, &x.link[0].assoc)) die("no association");
    }
    for (;;) {
        struct pollfd f[2] = {{.fd = 0, .events = POLLIN}, {.fd = x.fd, .events = POLLIN}};
        if (poll(f, 2, tick(&x)) < 0) die("poll");
        char byte;
        if (f[0].revents && read(0, &byte, 1) <= 0) break;
        if (f[1].revents) take_in(&x);
    }
    for (int i = 0; i < LINKS; i++) {
        slv_dtls_assoc_close(x.link[i].old);
        slv_dtls_assoc_close(x.link[i].assoc);
    }
    slv_dtls_close(x.d);
    close(x.fd);
    return 0;
}
