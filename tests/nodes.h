/* nodes.h: transports in one process, on real sockets of this machine's own addresses, for the
 * tests of transport.h. Node i has number i + 1. Time is the machine's; what is waited for has a
 * deadline, and nothing sleeps. */
#ifndef TESTS_NODES_H
#define TESTS_NODES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mesh/transport.h"

#define NODES 64
#define PATIENCE_S 30

struct node {
    struct slv_transport *t;
    uint8_t key[32], secret[64];
    char address[SLV_TRANSPORT_ADDRESS_TEXT];
    uint16_t port;
    bool open[NODES]; /* what the node was told */
    unsigned ups[NODES], downs[NODES];
    size_t got[NODES]; /* datagrams */
    char last[2048];   /* the last of them */
    size_t last_n;
    unsigned found[NODES];
    bool refuses; /* its up fails */
    void (*on_receive)(int self, int peer);
    void (*on_down)(int self, int peer);
};
extern struct node node[NODES];
extern struct event_base *nodes_base;
extern bool nodes_member[NODES];  /* whom all let in */
extern unsigned nodes_signatures; /* made */

/* cmocka's, of each test. */
int nodes_setup(void **state);
int nodes_teardown(void **state);

struct slv_transport_conf nodes_conf(int i);
/* Of 127.0.0.1; with conf NULL: nodes_conf. */
void nodes_open(int i, const struct slv_transport_conf *conf);
void nodes_close(int i);
void nodes_connect(int from, int to);
void nodes_send(int from, int to, const char *text);

/* Runs the loop until cond, or fails. */
#define nodes_until(cond)                                                                          \
    do {                                                                                           \
        nodes_begin_wait();                                                                        \
        while (!(cond))                                                                            \
            if (!nodes_step()) fail_msg("waited in vain: %s", #cond);                              \
    } while (0)
void nodes_begin_wait(void);
bool nodes_step(void);
/* Runs the loop for so long. */
void nodes_run_ms(unsigned ms);

bool nodes_both_open(int a, int b);
/* Both ways, one datagram each, comes. */
void nodes_must_exchange(int a, int b);
struct slv_transport_stats nodes_stats(int i);

/* The UDP socket of a node hears nothing from a port (0: nothing at all); -1: all again. */
void nodes_deafen(int i, int port);
#endif
