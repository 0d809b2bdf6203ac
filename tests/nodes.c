/* nodes.c: see nodes.h. */
#include "nodes.h"

#include <event2/event.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define FDS 1024

struct node node[NODES];
struct event_base *nodes_base;
bool nodes_member[NODES];
unsigned nodes_signatures;

static struct event *pulse;
static time_t waiting_since;

static int of(uint64_t id) { return (int)id - 1; }

/* --- functions of conf ------------------------------------------------------------------------ */

static int node_sign(void *ctx, const void *p, size_t n, uint8_t ret[SLV_DTLS_SIGNATURE]) {
    const struct node *x = ctx;
    nodes_signatures++;
    return crypto_sign_detached(ret, NULL, p, n, x->secret);
}

static int number_of(const uint8_t key[32]) {
    for (int i = 0; i < NODES; i++)
        if (!memcmp(node[i].key, key, 32)) return i;
    return -1;
}

static bool node_allow(void *ctx, const uint8_t key[32]) {
    const int i = number_of(key);
    (void)ctx;
    return i >= 0 && nodes_member[i];
}

static uint64_t node_id(void *ctx, const uint8_t key[32]) {
    (void)ctx;
    return (uint64_t)number_of(key) + 1;
}

static int node_up(void *ctx, uint64_t peer) {
    struct node *x = ctx;
    if (x->refuses) return SLV_E_NOMEM;
    x->open[of(peer)] = true;
    x->ups[of(peer)]++;
    return 0;
}

static void node_down(void *ctx, uint64_t peer) {
    struct node *x = ctx;
    assert_true(x->open[of(peer)]); /* never twice, never before up */
    x->open[of(peer)] = false;
    x->downs[of(peer)]++;
    if (x->on_down) x->on_down((int)(x - node), of(peer));
}

static void node_receive(void *ctx, uint64_t peer, struct slv_str datagram) {
    struct node *x = ctx;
    assert_true(x->open[of(peer)]); /* nothing of whom is not up */
    x->got[of(peer)]++;
    assert_true(datagram.n <= sizeof x->last);
    memcpy(x->last, datagram.p, datagram.n);
    x->last_n = datagram.n;
    if (x->on_receive) x->on_receive((int)(x - node), of(peer));
}

static void node_found(void *ctx, uint64_t peer, const char *address) {
    struct node *x = ctx;
    x->found[of(peer)]++;
    if (!slv_transport_connect(x->t, peer, NULL, &address, 1, NULL)) return;
    fail_msg("found %s", address);
}

/* --- the world -------------------------------------------------------------------------------- */

static void on_pulse(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    (void)arg;
}

int nodes_setup(void **state) {
    static const struct timeval often = {0, 5000};
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    memset(node, 0, sizeof node);
    nodes_base = event_base_new();
    pulse = event_new(nodes_base, -1, EV_PERSIST, on_pulse, NULL);
    for (int i = 0; i < NODES; i++) {
        uint8_t seed[32];
        memset(seed, i + 1, sizeof seed);
        crypto_sign_seed_keypair(node[i].key, node[i].secret, seed);
        nodes_member[i] = true;
    }
    return !pulse || event_add(pulse, &often);
}

int nodes_teardown(void **state) {
    (void)state;
    for (int i = 0; i < NODES; i++)
        nodes_close(i);
    event_free(pulse);
    event_base_free(nodes_base);
    return 0;
}

struct slv_transport_conf nodes_conf(int i) {
    static const char *const loopback[] = {"127.0.0.1:0"};
    struct slv_transport_conf c = {.base = nodes_base,
                                   .ctx = &node[i],
                                   .listen = loopback,
                                   .n_listen = 1,
                                   .sign = node_sign,
                                   .allow = node_allow,
                                   .id_of = node_id,
                                   .up = node_up,
                                   .down = node_down,
                                   .receive = node_receive,
                                   .found = node_found,
                                   .stagger_ms = 20,
                                   .tcp_after_ms = 150,
                                   .relay_after_ms = 300,
                                   .retransmit_ms = 100,
                                   .handshake_ms = 1500};
    memcpy(c.key, node[i].key, sizeof c.key);
    return c;
}

void nodes_open(int i, const struct slv_transport_conf *conf) {
    const struct slv_transport_conf plain = nodes_conf(i);
    struct slv_err err = {.msg = ""};
    if (slv_transport_open(conf ? conf : &plain, &node[i].t, &err)) fail_msg("%s", err.msg);
    assert_int_equal(slv_transport_listening(node[i].t, 0, node[i].address), 0);
    node[i].port = (uint16_t)atoi(strrchr(node[i].address, ':') + 1);
}

void nodes_close(int i) {
    slv_transport_close(node[i].t);
    node[i].t = NULL;
    memset(node[i].open, 0, sizeof node[i].open);
}

void nodes_connect(int from, int to) {
    const char *address = node[to].address;
    struct slv_err err = {.msg = ""};
    if (slv_transport_connect(node[from].t, (uint64_t)to + 1, node[to].key, &address, 1, &err))
        fail_msg("%s", err.msg);
}

void nodes_send(int from, int to, const char *text) {
    slv_transport_send(node[from].t, (uint64_t)to + 1, (struct slv_str){text, strlen(text)});
}

void nodes_begin_wait(void) { waiting_since = time(NULL); }

bool nodes_step(void) {
    event_base_loop(nodes_base, EVLOOP_ONCE);
    return time(NULL) - waiting_since < PATIENCE_S;
}

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void nodes_run_ms(unsigned ms) {
    for (const uint64_t end = now_ms() + ms; now_ms() < end;)
        event_base_loop(nodes_base, EVLOOP_ONCE);
}

bool nodes_both_open(int a, int b) { return node[a].open[b] && node[b].open[a]; }

/* What is sent while the two change from one association to another may be lost. */
void nodes_must_exchange(int a, int b) {
    const size_t at_a = node[a].got[b], at_b = node[b].got[a];
    nodes_begin_wait();
    while (node[a].got[b] == at_a || node[b].got[a] == at_b) {
        if (node[b].got[a] == at_b) nodes_send(a, b, "there");
        if (node[a].got[b] == at_a) nodes_send(b, a, "and back");
        if (!nodes_step()) fail_msg("%d and %d do not hear each other", a, b);
    }
}

struct slv_transport_stats nodes_stats(int i) {
    struct slv_transport_stats s;
    slv_transport_stats(node[i].t, &s);
    return s;
}

/* A filter sees the datagram from its UDP header on. */
void nodes_deafen(int i, int port) {
    struct sock_filter some[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)port, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog program = {(unsigned short)(port ? 4 : 1), port ? some : all};
    int found = 0;
    for (int fd = 3; fd < FDS; fd++) {
        struct sockaddr_in in = {.sin_family = 0};
        socklen_t n = sizeof in;
        int type = 0;
        if (getsockname(fd, (struct sockaddr *)&in, &n) || ntohs(in.sin_port) != node[i].port)
            continue;
        n = sizeof type;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) || type != SOCK_DGRAM) continue;
        found++;
        if (port >= 0)
            assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program),
                             0);
        else assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &type, sizeof type), 0);
    }
    assert_int_equal(found, 1);
}
