/* swim_int.h: what the files of swim share; see swim.h.
 *
 * swim.c has the calls and the clockwork, swim_member.c the table and what becomes of a member,
 * swim_gossip.c updates and their queue, swim_probe.c probes and local health, swim_sync.c
 * anti-entropy.
 *
 * Invariants: `member` ascends by id and holds us; `order` holds all others, in the order of
 * probes; `queue` holds those with news, by sends, then the newest first. sum[] is the digest of
 * all that are not removed. count[] counts by state. All three arrays have room for `room` members,
 * so that nothing but a new member allocates.
 */
#ifndef SLV_MESH_SWIM_INT_H
#define SLV_MESH_SWIM_INT_H

#include "mesh/swim.h"
#include "mesh/wire.h"

#define MS ((uint64_t)1000000)
#define ACCUSERS 4u
#define BUCKETS 64u
#define HELPERS_MAX 8u
#define PROBES 6u  /* at a time: one in turn, and those of suspects heard of */
#define RELAYS 16u /* probes for others */
#define REQ_MS_MAX 10000u
#define WANTS 24u /* ids asked for at a time */

enum type { PING, ACK, NACK, REQ, GOSSIP, RECORDS, SUMS, PAGE, WANT, TYPES };
#define VERSION 1u

enum kind { SAY_ALIVE, SAY_LEFT, SAY_DEAD_RECORD, SAY_SUSPECT, SAY_DEAD, KINDS };

/* Of a state, as digests and pages have it. */
enum swim_class { CLASS_ALIVE, CLASS_DEAD, CLASS_LEFT, CLASSES };

struct member {
    uint64_t id, incarnation;
    uint8_t *record;   /* signature, then record; heap; NULL: none, it is removed */
    uint16_t record_n; /* bytes of the record */
    uint8_t state;     /* enum slv_swim_state */
    uint8_t sends;     /* of its news */
    bool is_queued;
    uint8_t accusers;
    uint8_t asked;              /* pings before its suspicion ends */
    uint64_t accuser[ACCUSERS]; /* ascending */
    uint64_t stamp;             /* of its news: larger is newer */
    uint64_t since;             /* of its state; moved when we were late */
    uint64_t down;              /* when it was last found alive no more */
    uint64_t heard;
    uint64_t asked_at;
    uint64_t ping_at; /* the last ping of ours, and its number */
    uint32_t ping_seq;
    uint32_t rtt_us, rttvar_us; /* 0: not measured */
    uint32_t far_gap_ms;
    uint64_t far_at; /* not before this */
    /* When a limit lets the next through (a virtual schedule: GCRA, ITU-T I.371). */
    uint64_t claims_at, replies_at, forged_at;
};

struct probe {
    uint64_t target, sent, ask_at, end_at;
    uint64_t helper[HELPERS_MAX];
    uint32_t seq, ack_ms, helpers;
    uint8_t nacked; /* bits of helpers */
    bool is_used, is_turn, was_asked;
};

struct relay {
    uint64_t asker, target, nack_at, end_at;
    uint32_t asker_seq, seq;
    bool is_used, was_nacked;
};

struct seed {
    uint64_t id, far_at;
    uint32_t far_gap_ms;
};

struct slv_swim {
    struct slv_swim_conf conf;
    struct member *self;
    struct member **member, **order, **queue;
    size_t n, n_order, n_queue, room, order_at;
    struct seed seed[SLV_SWIM_SEEDS_MAX];
    size_t n_seeds;
    struct probe probe[PROBES];
    struct relay relay[RELAYS];
    uint64_t want[WANTS];
    size_t n_wants;
    uint32_t sum[BUCKETS];
    uint64_t digest; /* of all buckets */
    uint64_t stamp, due, next_turn, next_far, hot_until, heated_until, next_gossip, changed;
    uint64_t acked, blame_at, late_at, refute_at, strangers_at, forged_at, last_sync;
    uint32_t sync_gap_ms, unanswered, seq, health, rtt_us, rttvar_us;
    uint64_t next_check;
    bool isolated, must_refute, is_learning;
    struct slv_swim_counters c;
    struct slv_buf out;
    int status; /* of the call: the first that went wrong */
};

static inline bool is_off(const struct slv_swim *s, enum slv_swim_switch what) {
    return (s->conf.off & (uint32_t)what) != 0;
}

static inline bool is_up(const struct member *m) {
    return m->state == SLV_SWIM_ALIVE || m->state == SLV_SWIM_SUSPECT;
}

static inline uint64_t below(struct slv_swim *s, uint64_t n) {
    return s->conf.random(s->conf.ctx) % n;
}

/* --- swim_member.c ---------------------------------------------------------------------------- */

uint64_t swim_mix(uint64_t v);
/* log2(v) * 1024, v > 0. */
uint64_t swim_log2(uint64_t v);
/* Whether a limit of `each` ns, `burst` at once, lets one more through; takes it if so. */
bool swim_pass(uint64_t *at, uint64_t now, uint64_t each, uint64_t burst);

struct member *swim_find(const struct slv_swim *s, uint64_t id);
unsigned swim_bucket(uint64_t id);
enum swim_class swim_class_of(const struct member *m);
/* Members up, us too. */
size_t swim_live(const struct slv_swim *s);
/* Without a record, removed, not in the digest. SLV_E_NOMEM, SLV_E_LIMIT. */
int swim_insert(struct slv_swim *s, uint64_t id, struct member **ret);
void swim_erase(struct slv_swim *s, struct member *m);
/* A state and an incarnation, and their events. */
void swim_become(struct slv_swim *s, uint64_t now, struct member *m, enum slv_swim_state state,
                 uint64_t incarnation);
/* A verified record is kept. SLV_E_NOMEM, nothing has changed. */
int swim_keep(struct member *m, const struct slv_swim_record *r);
/* Signs our record for an incarnation and makes it known. */
int swim_announce(struct slv_swim *s, uint64_t now, uint64_t incarnation, struct slv_str record,
                  bool left);
void swim_refute(struct slv_swim *s, uint64_t now);
/* Accusers of what is up, each of whom may be known or not. */
void swim_accuse(struct slv_swim *s, uint64_t now, struct member *m, const uint64_t *accuser,
                 size_t n);
/* Ends suspicions that are due; returns when the next is. */
uint64_t swim_suspicions(struct slv_swim *s, uint64_t now);
void swim_sign_of_life(struct slv_swim *s, uint64_t now, struct member *m);
void swim_check_isolated(struct slv_swim *s, uint64_t now);

/* --- swim_gossip.c ---------------------------------------------------------------------------- */

void swim_enqueue(struct slv_swim *s, struct member *m);
void swim_dequeue(struct slv_swim *s, struct member *m);
/* Begins a message in s->out. */
void swim_begin(struct slv_swim *s, enum type type);
/* Appends what we hold of m; false, and nothing is: it does not fit. */
bool swim_say(struct slv_swim *s, const struct member *m);
bool swim_say_record(struct slv_swim *s, const struct member *m);
/* Sends it, with news as they fit, or without; whether it goes at once. */
bool swim_fill_and_send(struct slv_swim *s, uint64_t to);
bool swim_send(struct slv_swim *s, uint64_t to);
/* Sends a burst to some; returns when the next is due. */
uint64_t swim_gossip(struct slv_swim *s, uint64_t now);
/* Whether a datagram more may go to a member that asked (NULL: strangers); counts it if so. */
bool swim_may_answer(struct slv_swim *s, uint64_t now, struct member *to);
/* The record of m, to a member, within the limit of answers. */
void swim_tell(struct slv_swim *s, uint64_t now, struct member *to, const struct member *m);
/* Whether the rest of r is updates. Reads all. */
bool swim_check_updates(struct slv_reader *r);
void swim_take_updates(struct slv_swim *s, uint64_t now, uint64_t from, struct slv_reader r,
                       bool pass_on);
/* `from` has id as dead. */
void swim_take_claim(struct slv_swim *s, uint64_t now, struct member *from, uint64_t id,
                     uint64_t incarnation);

/* --- swim_probe.c ----------------------------------------------------------------------------- */

uint64_t swim_period(const struct slv_swim *s); /* ns, when well */
uint64_t swim_ack_time(const struct slv_swim *s, const struct member *m);
void swim_worse(struct slv_swim *s, uint32_t by);
/* A probe of a suspect heard of, beside those in turn. */
void swim_verify(struct slv_swim *s, uint64_t now, struct member *m);
void swim_ping(struct slv_swim *s, uint64_t now, uint64_t to, uint32_t seq);
void swim_on_ping(struct slv_swim *s, uint64_t now, uint64_t from, uint32_t seq, unsigned flags);
void swim_on_ack(struct slv_swim *s, uint64_t now, uint64_t from, uint32_t seq, unsigned flags);
void swim_on_nack(struct slv_swim *s, uint64_t now, uint64_t from, uint32_t seq);
void swim_on_req(struct slv_swim *s, uint64_t now, uint64_t from, uint32_t seq, uint64_t target,
                 uint64_t ms);
/* Does what is due; returns when something is again. */
uint64_t swim_probes(struct slv_swim *s, uint64_t now);
uint64_t swim_relays(struct slv_swim *s, uint64_t now);
uint64_t swim_far(struct slv_swim *s, uint64_t now);
/* All that are far are tried at once. */
void swim_heat(struct slv_swim *s, uint64_t now);
/* A member is dead: it is tried soon, and then less and less. */
void swim_died(struct slv_swim *s, uint64_t now, struct member *m);

/* --- swim_sync.c ------------------------------------------------------------------------------ */

void swim_on_digest(struct slv_swim *s, uint64_t now, struct member *from, uint64_t digest);
bool swim_check_page(struct slv_reader r);
void swim_on_sums(struct slv_swim *s, uint64_t now, struct member *from, struct slv_reader r);
void swim_on_page(struct slv_swim *s, uint64_t now, struct member *from, struct slv_reader r);
bool swim_check_want(struct slv_reader r);
void swim_on_want(struct slv_swim *s, uint64_t now, struct member *from, struct slv_reader r);
/* Asks for the record of an id when the call ends. */
void swim_want(struct slv_swim *s, uint64_t id);
void swim_send_wants(struct slv_swim *s, uint64_t now, uint64_t to);

#endif
