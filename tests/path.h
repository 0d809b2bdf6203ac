/* path.h: links of the mesh over paths of the imagination, in virtual time, for tests.
 *
 * A way has a rate, a queue before it that drops what does not fit, a delay, and chances; what two
 * ends are given to share is a bottleneck. Everything is drawn from one seed.
 *
 * Everything fails the test that calls it by cmocka's own means. */
#ifndef SLV_TESTS_PATH_H
#define SLV_TESTS_PATH_H

#include "mesh/link.h"

#define PATH_MS ((uint64_t)1000000)
#define PATH_SECOND (1000 * PATH_MS)
#define PATH_ENDS 4

uint32_t path_rnd(uint32_t n); /* below n */

/* One direction. Zeros: at once, everything. */
struct path_way {
    uint64_t rate; /* bytes a second */
    uint64_t delay, jitter;
    uint32_t loss, doubled, late; /* of a thousand; late: comes after some that were sent later */
    size_t queue, mtu;            /* bytes; larger datagrams vanish */
    bool cut;
    /* What happened: */
    uint64_t free_at, n, bytes, dropped, too_large;
};

struct path_end {
    struct slv_link *l;
    struct path_way way;  /* from here */
    struct path_way *via; /* that, or another's */
    struct path_end *peer;
    uint64_t given[SLV_LANES], came[SLV_LANES], came_bytes[SLV_LANES]; /* messages */
    uint64_t came_at[SLV_LANES];                                       /* the last */
    uint64_t datagrams;
    uint32_t size[SLV_LANES]; /* of messages: below this, drawn */
    bool loose;               /* what comes is not compared */
};

extern uint64_t path_now;
extern struct path_end path_end[PATH_ENDS];

/* Ends 0 and 1, 2 and 3 have links of this kind to each other; n is 2 or 4. */
void path_open(uint64_t seed, size_t n, const struct slv_link_conf *conf,
               const struct path_way *way);
void path_close(void);

/* The n-th message of a lane, always the same; SLV_E_BUSY passes through. */
int path_give(struct path_end *e, enum slv_lane lane);

/* Keeps a lane's queue full. */
void path_fill(struct path_end *e, enum slv_lane lane);

/* Gives n messages of a lane as there is room, and sees all through. */
void path_give_all(struct path_end *e, enum slv_lane lane, uint64_t n);

struct slv_link_stats path_stats(size_t end);

/* One poll of an end, without its way: bytes in buf[SLV_LINK_MTU_MAX]. */
size_t path_poll(struct path_end *e, char *buf);

/* Polls all ends, then goes to the next event or `until`, if that is earlier; false: it was, or
 * nothing is left to happen. */
bool path_step(uint64_t until);
void path_run(uint64_t until);

/* All that was given came, and the links are as small as new ones and ask for nothing. */
void path_settled(void);

#endif
