/* links.h: hosts that speak DTLS with each other over a path in memory, in time that is not the
 * machine's: the program's gettimeofday(), by which OpenSSL's timers go, is the one of links.c.
 *
 * An address is a host and a link: what one sends on a link comes from its own number and the same
 * link. */
#ifndef LINKS_H
#define LINKS_H

#include "net/dtls.h"

#define HOSTS 4
#define LINKS 1100
#define PACKETS 20000

struct host {
    struct slv_dtls_conf conf;
    uint8_t secret[64];
    struct slv_dtls *d;
    struct slv_dtls_assoc *assoc[LINKS]; /* the newest of a link */
    struct slv_dtls_assoc *old[LINKS];   /* until that one is open */
    bool asleep;                         /* what is sent to it is lost */
    const uint8_t *denied;               /* this key is not let in */
    bool deny_all;
    uint64_t earliest, latest; /* what it knows of the time */
    uint64_t got_n;            /* datagrams of data */
    uint64_t changes;
    size_t last_n;
    uint8_t last[SLV_DTLS_DATAGRAM_MAX];
};

struct packet {
    uint8_t from, to;
    uint16_t link;
    uint16_t n;
    uint8_t p[SLV_DTLS_DATAGRAM_MAX];
};

extern struct host host[HOSTS];
extern uint64_t now;                   /* ns */
extern uint64_t links_set_back;        /* by how much the machine's clock was, ns */
extern struct packet *packet[PACKETS]; /* on their way, those from packet_first to packet_n */
extern size_t packet_first, packet_n;
/* Looks at each datagram that is sent, the n-th since links_begin; may change it and, in place of
 * the path, push it any number of times. NULL: links_push. */
extern void (*links_meddle)(size_t n, struct packet *p);
extern size_t links_sent;

/* Hosts 0 to n - 1 as `conf` (may be NULL) has it, each with a key of its own. */
void links_begin(int n, const struct slv_dtls_conf *conf);
void links_end(void);
/* Its functions and key set in `conf`; for hosts of another kind. */
void links_open(int h, const struct slv_dtls_conf *conf);

struct slv_dtls_assoc *links_connect(int from, int to, int link,
                                     const struct slv_dtls_session *session);
void links_push(const struct packet *p);
void links_deliver(const struct packet *p);
/* Delivers what is on its way, and what is sent in answer. */
void links_run(void);
/* The same, and time goes on to what is due next, until there is nothing to be waited for. */
void links_settle(void);
void links_close(int h, int link);
void links_send(int from, int link, const char *text);
bool links_is_open(int h, int link);
/* Data of each end reach the other, and each is who it is: ends the program otherwise. */
void links_must_work(int a, int b, int link);
struct slv_dtls_counts links_counts(int h);
/* Forgets what is on its way. */
void links_lose(void);

#endif
