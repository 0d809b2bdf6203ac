/* summary_int.h: what the files of summary.h share. */
#ifndef SLV_MESH_SUMMARY_INT_H
#define SLV_MESH_SUMMARY_INT_H

#include "mesh/entries.h"
#include "mesh/summary.h"

/* of a target's key: a zone's name, and a space's, may come before the source's */
#define SUMMARY_KEY_BYTES (SLV_KEY_MAX + 256u)

/* Why something is not passed on; in the order in which it is looked for. */
enum summary_why {
    SUMMARY_GOOD,
    SUMMARY_KEYS,
    SUMMARY_NUMBER,
    SUMMARY_SIZE,
    SUMMARY_MIN,
    SUMMARY_MAX,
    SUMMARY_STEP,
    SUMMARY_TOKEN,
    SUMMARY_REFUSED,
    SUMMARY_UNANSWERED,
    SUMMARY_WHYS
};

/* Of one key of the target. */
struct summary_out {
    bool dirty; /* it is to be looked at */
    enum summary_why why;
};

struct summary_item {
    bool gone; /* a copy whose key has no value any more: it goes at the target, too */
    bool bad;  /* too large, or too deep, to be a copy */
    bool is_number;
    struct summary_out out; /* of copies */
    uint32_t list;          /* the last list it was in */
    double number;
    char *value; /* of copies: JSON */
    size_t n_value, n_key;
    char key[];
};

struct summary_rule {
    struct slv_summary_rule rule;
    enum slv_summary_form form;
    struct summary_item **item; /* ascending by key */
    size_t n, room;
    size_t live;  /* that have a value, and are in the list that is made */
    size_t bytes; /* of values */
    uint32_t list;
    bool known;             /* a list was made, and nothing was missed since */
    bool too_many;          /* more than `keys` */
    bool failed;            /* memory ran out */
    bool is_pruned;         /* nothing above but what is known here */
    struct summary_out out; /* of what is no copy */
    size_t n_dirty;         /* of copies */
    bool in_pass;           /* copies are being looked at, from `cursor` on */
    size_t cursor;
    uint64_t due, gap; /* gap: since nobody answers; 0: they do */
    uint64_t written, alarms, held;
};

struct summary_alarm {
    struct slv_summary_alarm told;
    size_t n_key;
    char key[SUMMARY_KEY_BYTES];
};

struct slv_summary {
    char zone[SLV_SUMMARY_ZONE_MAX + 1];
    struct summary_rule *rule;
    size_t n, at; /* at: whose turn it is */
    uint64_t token;
    struct slv_buf key, body, text, head; /* of the act that was last given; head: of a list */
    struct summary_alarm alarm[SLV_SUMMARY_ALARMS_MAX];
    size_t n_alarm, at_alarm;
};

static inline bool summary_is_copy(const struct slv_summary_rule *r) {
    return r->kind == SLV_SUMMARY_COPY || r->kind == SLV_SUMMARY_DOWN;
}

/* Whether a key of the target, of a copy or of all, is to be looked at. */
void summary_set_dirty(struct summary_rule *r, struct summary_out *o, bool dirty);
/* Item i goes. */
void summary_drop(struct summary_rule *r, size_t i);

/* "ZONE/SPACE/PREFIX:KIND", "ZONE/", or "" (down): the key at the target, or, of copies, what comes
 * before the source's. */
void summary_key_head(const char *zone, const struct slv_summary_rule *r, struct slv_buf *b);

/* Whether rules can be together. */
int summary_check(const char *zone, const struct slv_summary_rule *r, size_t n,
                  struct slv_err *err);

/* A value as a number: a number, a text of one, or an object with one under "value" (another
 * summary) or "left" (a budget). False: it is none, or not finite. */
bool summary_number(struct slv_json_val v, double *ret);
/* Whether two values are the same, whatever the order of members. */
bool summary_same(struct slv_json_val a, struct slv_json_val b);
/* How deep a value is: 0 for a scalar. */
unsigned summary_depth(struct slv_json_val v);

#endif
