/* strongs.h: some nodes of a strong group in one process, in virtual time, over a network that
 * delays, loses, doubles and reorders, and disks that forget at a crash what was not synced.
 *
 * Everything fails the test that calls it by cmocka's own means. */
#ifndef SLV_TESTS_STRONGS_H
#define SLV_TESTS_STRONGS_H

#include "mesh/strong.h"

#define STRONGS 8
#define SMS ((uint64_t)1000000)

struct strong_record {
    uint8_t n_key;
    char key[9];
    size_t n;
    char *value; /* NULL: it is removed */
};

/* A transaction on its way to the disk. */
struct strong_commit {
    uint64_t ticket, at;
    size_t n;
    struct strong_record *v;
};

struct strongs_node {
    uint64_t id;
    struct slv_strong *s; /* NULL: it is down */
    uint64_t next;        /* when it wants to be ticked, true time */
    int64_t ppm;          /* of its clock */
    uint64_t born, base;  /* true time of its start, its clock then */
    struct strong_record *disk;
    size_t n_disk, room_disk;
    struct strong_commit *commit; /* in order; the last one is not ended yet */
    size_t n_commit, room_commit;
    unsigned events[5];
};

struct strongs_conf {
    uint64_t seed;
    unsigned n;           /* voters at first: nodes 1 to n */
    uint32_t delay_us;    /* of a message: this to twice this */
    uint32_t jitter_us;   /* and up to this */
    uint32_t loss, twice; /* of a thousand */
    uint32_t sync_us;     /* of a disk: up to this */
    struct slv_strong_conf node;
};

extern struct strongs_node strongs_node[STRONGS + 1]; /* by id */
extern uint64_t strongs_now;
extern bool strongs_cut[STRONGS + 1][STRONGS + 1]; /* from, to */
extern uint32_t strongs_loss;
extern uint32_t strongs_sync_us; /* as of conf, until it is set */
extern uint64_t strongs_sent;
/* The answer to a call. */
extern void (*strongs_answer)(uint64_t node, uint64_t call, const struct slv_strong_result *r);
/* Of which node a ready leader is, once more is known: called after each step. May be NULL. */
extern void (*strongs_step)(void);

uint64_t strongs_rnd(uint64_t n); /* below n */
void strongs_open(const struct strongs_conf *c);
void strongs_close(void);
uint64_t strongs_clock(uint64_t id);
/* Until true time is `until`. */
void strongs_run(uint64_t until);
/* The power is cut: some of what was put last, and not synced, may be on the disk. */
void strongs_crash(uint64_t id);
/* damaged: as slv_strong_start. first: bootstraps. */
void strongs_start(uint64_t id, bool damaged, bool first);
void strongs_partition(unsigned mask);   /* nodes of mask (1 << id) from the others; 0: heals */
uint64_t strongs_leader(void);           /* the ready one with the highest term, or 0 */
uint64_t strongs_elect(uint64_t within); /* runs until there is one; fails the test else */
void strongs_wipe(uint64_t id);          /* its disk is empty */
/* A call, and the answer; true time runs on, at most a minute. */
struct slv_strong_result strongs_call(uint64_t id, const struct slv_strong_command *c);
struct slv_strong_result strongs_member(uint64_t id, uint64_t who, enum slv_strong_role role);
extern char strongs_value[1 << 18]; /* of the last answer to strongs_call */
struct slv_str strongs_str(const char *s);

#endif
