/* transport_node.c: a node of the mesh's transport, for test_transport.py:
 *
 *     transport_node NUMBER LISTEN [via] [relay=BYTES] [again=MS]
 *
 * Nodes 1 to 8 let each other in. It says where it listens and what happens, and does what standard
 * input says, until that ends: "connect NUMBER ADDRESS..", asked again each second until it is up;
 * "send NUMBER BYTES"; "tick NUMBER": a datagram each 20 ms, "count": how many came, and how many
 * were lost here. */
#include "mesh/transport.h"

#include <event2/event.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NODES 8

struct wish {
    bool on, up;
    char *address[SLV_TRANSPORT_ADDRESSES_MAX];
    size_t n;
};

static struct slv_transport *transport;
static struct event_base *base;
static uint8_t known[NODES + 1][32], secret[64];
static struct wish wish[NODES + 1];
static int ticks_to;
static size_t came;
static char line[512];
static size_t line_n;

static void die(const char *why) {
    fprintf(stderr, "transport_node: %s\n", why);
    exit(1);
}

static int node_sign(void *ctx, const void *p, size_t n, uint8_t ret[SLV_DTLS_SIGNATURE]) {
    (void)ctx;
    return crypto_sign_detached(ret, NULL, p, n, secret);
}

static uint64_t id_of(void *ctx, const uint8_t key[32]) {
    (void)ctx;
    for (uint64_t i = 1; i <= NODES; i++)
        if (!memcmp(known[i], key, 32)) return i;
    return 0;
}

static bool allow(void *ctx, const uint8_t key[32]) { return id_of(ctx, key) > 0; }

static int up(void *ctx, uint64_t peer) {
    static const char *const name[SLV_WAYS] = {"none", "relayed", "tcp", "udp"};
    (void)ctx;
    wish[peer].up = true;
    printf("up %d %s\n", (int)peer, name[slv_transport_way(transport, peer)]);
    return 0;
}

static void down(void *ctx, uint64_t peer) {
    (void)ctx;
    wish[peer].up = false;
    printf("down %d\n", (int)peer);
}

static void receive(void *ctx, uint64_t peer, struct slv_str datagram) {
    (void)ctx;
    came++;
    if (datagram.n > 1) printf("from %d: %d bytes\n", (int)peer, (int)datagram.n);
}

static void ask(int to) {
    struct slv_err err;
    const struct wish *w = &wish[to];
    if (slv_transport_connect(transport, (uint64_t)to, known[to],
                              (const char *const *)(const void *)w->address, w->n, &err))
        printf("cannot connect: %s\n", err.msg);
}

static void send_bytes(int to, size_t n) {
    static const char bytes[2048];
    slv_transport_send(transport, (uint64_t)to, (struct slv_str){bytes, n});
}

static void on_second(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    (void)arg;
    for (int i = 1; i <= NODES; i++)
        if (wish[i].on && !wish[i].up) ask(i);
}

static void on_tick(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    (void)arg;
    if (ticks_to) send_bytes(ticks_to, 1);
    fflush(stdout);
}

static void obey(char *text) {
    char *rest = NULL;
    const char *verb = strtok_r(text, " ", &rest), *number = strtok_r(NULL, " ", &rest);
    const int to = number ? atoi(number) : 0;
    struct slv_transport_stats s;
    if (!verb || to < 0 || to > NODES) return;
    if (!strcmp(verb, "connect")) {
        struct wish *w = &wish[to];
        for (const char *a; w->n < SLV_TRANSPORT_ADDRESSES_MAX && (a = strtok_r(NULL, " ", &rest));)
            w->address[w->n++] = strdup(a);
        w->on = true;
        ask(to);
    } else if (!strcmp(verb, "send")) {
        send_bytes(to, (size_t)atoi(strtok_r(NULL, " ", &rest)));
    } else if (!strcmp(verb, "tick")) {
        ticks_to = to;
    } else if (!strcmp(verb, "count")) {
        slv_transport_stats(transport, &s);
        printf("count %zu lost %d relayed %d moved %d\n", came, (int)s.lost,
               (int)s.relayed_datagrams, (int)s.moved);
    }
}

static void on_input(evutil_socket_t fd, short what, void *arg) {
    const ssize_t n = read(fd, line + line_n, sizeof line - 1 - line_n);
    (void)what;
    (void)arg;
    if (n <= 0) {
        event_base_loopbreak(base);
        return;
    }
    line_n += (size_t)n;
    for (char *end; (end = memchr(line, '\n', line_n));) {
        const size_t used = (size_t)(end - line) + 1;
        *end = '\0';
        obey(line);
        memmove(line, line + used, line_n -= used);
    }
    fflush(stdout);
}

int main(int argc, char **argv) {
    static const struct timeval second = {1, 0}, tick = {0, 20000};
    uint8_t seed[crypto_sign_SEEDBYTES], other[64];
    char address[SLV_TRANSPORT_ADDRESS_TEXT];
    struct slv_err err;
    if (argc < 3 || sodium_init() < 0) die("usage: transport_node NUMBER LISTEN [OPTIONS]");
    signal(SIGPIPE, SIG_IGN);
    base = event_base_new();
    const char *listen = argv[2];
    struct slv_transport_conf c = {.base = base,
                                   .listen = &listen,
                                   .n_listen = 1,
                                   .sign = node_sign,
                                   .allow = allow,
                                   .id_of = id_of,
                                   .up = up,
                                   .down = down,
                                   .receive = receive};
    for (int i = 1; i <= NODES; i++) {
        memset(seed, i, sizeof seed);
        crypto_sign_seed_keypair(known[i], i == atoi(argv[1]) ? secret : other, seed);
    }
    memcpy(c.key, known[atoi(argv[1])], sizeof c.key);
    for (int i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "via")) c.relay_use = true;
        else if (!strncmp(argv[i], "relay=", 6)) c.relay_rate = (uint64_t)atol(argv[i] + 6);
        else if (!strncmp(argv[i], "again=", 6)) c.again_ms = (uint32_t)atoi(argv[i] + 6);
    }
    if (slv_transport_open(&c, &transport, &err)) die(err.msg);
    if (slv_transport_listening(transport, 0, address)) die("not listening");
    printf("listening %s\n", address);
    fflush(stdout);
    struct event *events[] = {event_new(base, 0, EV_READ | EV_PERSIST, on_input, NULL),
                              event_new(base, -1, EV_PERSIST, on_second, NULL),
                              event_new(base, -1, EV_PERSIST, on_tick, NULL)};
    event_add(events[0], NULL);
    event_add(events[1], &second);
    event_add(events[2], &tick);
    event_base_dispatch(base);
    slv_transport_close(transport);
    for (int i = 0; i < 3; i++)
        event_free(events[i]);
    event_base_free(base);
    for (int i = 1; i <= NODES; i++)
        for (size_t k = 0; k < wish[i].n; k++)
            free(wish[i].address[k]);
    return 0;
}
