/* summary.h: what goes between a zone and the mesh above it: sums, counts, extremes and copies of a
 * zone's keys, each looked at before it is passed on. Values and times in, one thing to do at a
 * time out, so that it can be looked at by itself; sockets are the command's.
 *
 *     a zone's space      rule                 the upper mesh's space
 *     parts: counter      sum parts      ->    parts: doc       north/parts  {"value":41,"keys":3}
 *       line-1 20         max parts      ->                     north/parts:max
 *       line-2 21         copy state     ->    state: last      north/KEY    the same value
 *     settings: last   <- down settings        settings: last   KEY          the same value
 *
 * A wrong value has a blast radius: what is outside of min to max, is further than `step` from what
 * is above, is no number, or comes of more keys than `keys`, is not passed on. What was passed on
 * last stays above (in a doc it says "held" beside it), an alarm is said, once, and it goes on as
 * soon as it is within bounds again.
 *
 * Invariants: of a rule nothing goes out while its keys are being listed. What is above is read
 * before each write, and what is the same is not written; so there is nothing to remember across
 * restarts. Where the bridge has a token (a lock's), a value with a higher one is left alone. What
 * comes down does not go up again, and no two rules write one key.
 *
 *     begin, feed..., end                 a list of a rule's keys; feed alone: a key has changed
 *     next, (read), decide, (write), done    until next says that there is nothing
 *
 * Threads: one.
 */
#ifndef SLV_MESH_SUMMARY_H
#define SLV_MESH_SUMMARY_H

#include "base/err.h"
#include "base/json.h"
#include "base/jsonin.h"

#define SLV_SUMMARY_RULES_MAX 64u
#define SLV_SUMMARY_KEYS 10000u /* of a rule, where it does not say */
#define SLV_SUMMARY_KEYS_MAX ((size_t)1 << 20)
#define SLV_SUMMARY_BYTES_MAX ((size_t)64 << 20) /* of a rule's copies, at once */
#define SLV_SUMMARY_VALUE_MAX ((size_t)64 << 10) /* of one copy, as JSON */
#define SLV_SUMMARY_DEPTH_MAX 32u                /* of the same */
#define SLV_SUMMARY_ZONE_MAX 64u
#define SLV_SUMMARY_GAP_MAX 5000000000u /* ns */
#define SLV_SUMMARY_ALARMS_MAX 64u      /* that wait to be taken; more are counted only */

enum slv_summary_kind {
    SLV_SUMMARY_SUM,
    SLV_SUMMARY_COUNT,
    SLV_SUMMARY_MAX,
    SLV_SUMMARY_MIN,
    SLV_SUMMARY_COPY,
    SLV_SUMMARY_DOWN, /* a copy, from above */
    SLV_SUMMARY_KINDS
};
/* "sum", ...: never NULL. */
const char *slv_summary_kind_name(enum slv_summary_kind k);

/* Where a space is. */
enum slv_summary_side { SLV_SUMMARY_ZONE, SLV_SUMMARY_ABOVE };

struct slv_summary_rule {
    enum slv_summary_kind kind;
    const char *text; /* as it was said; borrowed, as are the next */
    struct slv_str space, prefix;
    struct slv_str to;     /* the space it goes to */
    double min, max, step; /* -INFINITY, INFINITY, INFINITY: none */
    uint64_t every_ns;     /* between two writes */
    size_t keys;           /* at most */
};

/* "SPACE[/PREFIX][:NAME=VALUE,...]", names: min, max, step (numbers), every (2s, 500ms, 1m; 10ms to
 * 1h, default 1s), keys (1 to SLV_SUMMARY_KEYS_MAX), to (a space). The list begins at the last
 * colon. SLV_E_USAGE. */
int slv_summary_read(enum slv_summary_kind kind, const char *text, struct slv_summary_rule *ret,
                     struct slv_err *err) SLV_MUST_USE;

enum slv_summary_side slv_summary_source(const struct slv_summary_rule *r);
enum slv_summary_side slv_summary_target(const struct slv_summary_rule *r);

/* How a space takes values. */
enum slv_summary_form {
    SLV_SUMMARY_TEXT,  /* `last`: a text */
    SLV_SUMMARY_DOC,   /* `doc`: JSON */
    SLV_SUMMARY_STRONG /* JSON, and only if nobody else was quicker */
};

/* A space as a node tells of it. */
struct slv_summary_space {
    struct slv_str type;
    bool is_strong;
};

/* Whether a rule can be, from a space of one type to one of another. SLV_E_USAGE with a line that
 * says why not. */
int slv_summary_fits(const struct slv_summary_rule *r, const struct slv_summary_space *from,
                     const struct slv_summary_space *to, enum slv_summary_form *ret,
                     struct slv_err *err) SLV_MUST_USE;

struct slv_summary;

/* The rules are copied, their texts borrowed. `zone`: 1 to SLV_SUMMARY_ZONE_MAX letters, digits,
 * '-', '_', '.'. SLV_E_USAGE: two rules write one key, or what comes down would go up again;
 * SLV_E_NOMEM. */
int slv_summary_open(const char *zone, const struct slv_summary_rule *rules, size_t n,
                     struct slv_summary **ret, struct slv_err *err) SLV_MUST_USE;
void slv_summary_close(struct slv_summary *s);

size_t slv_summary_rules(const struct slv_summary *s);
const struct slv_summary_rule *slv_summary_rule(const struct slv_summary *s, size_t rule);
/* Of its target; SLV_SUMMARY_DOC until it is said. */
void slv_summary_set_form(struct slv_summary *s, size_t rule, enum slv_summary_form form);
/* Written beside what is summed up; 0: none. All is looked at anew. */
void slv_summary_set_token(struct slv_summary *s, uint64_t token);

/* --- what the source has ---------------------------------------------------------------------- */

/* A list of all keys begins, and ends; between them (and after `lost`) nothing goes out. */
void slv_summary_begin(struct slv_summary *s, size_t rule);
void slv_summary_end(struct slv_summary *s, size_t rule);
/* In place of a list: it would be longer than the rule's `keys`. */
void slv_summary_too_many(struct slv_summary *s, size_t rule);
/* What the source has now is not known: it has to be listed again. */
void slv_summary_lost(struct slv_summary *s, size_t rule);
/* Whether it must be listed, for that reason or since there were too many keys. */
bool slv_summary_wants_list(const struct slv_summary *s, size_t rule);
/* A key's value; none (doc NULL): it has none. Keys without the rule's prefix, longer than
 * SLV_KEY_MAX, or with a NUL, are no keys of it. SLV_E_NOMEM: as if it was lost. */
int slv_summary_feed(struct slv_summary *s, size_t rule, struct slv_str key,
                     struct slv_json_val value);

/* --- what the target has ---------------------------------------------------------------------- */

/* Something may have changed at that side while nobody looked: all that goes there is compared
 * anew. */
void slv_summary_forget(struct slv_summary *s, enum slv_summary_side side);
/* Keys that were copied up by one who went before, and are no longer in the zone, go: whether they
 * are to be listed (those that begin with *ret_prefix, which is the summary's), each of them, and
 * the end of the list. */
bool slv_summary_wants_above(struct slv_summary *s, size_t rule, struct slv_str *ret_prefix);
int slv_summary_seen_above(struct slv_summary *s, size_t rule, struct slv_str key) SLV_MUST_USE;
void slv_summary_all_above(struct slv_summary *s, size_t rule);

/* --- what to do ------------------------------------------------------------------------------- */

enum slv_summary_todo { SLV_SUMMARY_NOTHING, SLV_SUMMARY_WRITE, SLV_SUMMARY_REMOVE };

/* A key to be looked at. Between next and done nothing may be fed. */
struct slv_summary_act {
    size_t rule;
    enum slv_summary_side side;
    struct slv_str space, key; /* the summary's, until the next call of next */
    struct slv_str body;       /* of a write: an operation (value.h); until then, too */
    size_t item;               /* internal */
};

/* The next key to be looked at, at a side that is up. False: nothing for now. What is out of bounds
 * is an alarm whether its target is up or not. */
bool slv_summary_next(struct slv_summary *s, const bool up[2], uint64_t now,
                      struct slv_summary_act *ret);
/* When there may be something: UINT64_MAX: not before something is fed. */
uint64_t slv_summary_when(const struct slv_summary *s, uint64_t now);
/* What is there: a value, or none; `version` of a strong space. */
enum slv_summary_todo slv_summary_decide(struct slv_summary *s, struct slv_summary_act *act,
                                         struct slv_json_val there, uint64_t version);
/* What came of it: 0: it is written. SLV_E_USAGE, SLV_E_LIMIT, SLV_E_TRUST, SLV_E_FORMAT: it is
 * refused, which is an alarm, and is tried again once the value changes. SLV_E_NET: the space does
 * not answer (a group without a majority), which is an alarm, and the rule is tried again with gaps
 * that grow to SLV_SUMMARY_GAP_MAX. Others: it is tried again. */
void slv_summary_done(struct slv_summary *s, const struct slv_summary_act *act, int rc,
                      uint64_t now);

/* --- what is wrong ---------------------------------------------------------------------------- */

struct slv_summary_alarm {
    size_t rule;
    const char
        *why; /* "min", "max", "step", "keys", "number", "size", "token", "refused", "unanswered";
                        NULL:
                        within bounds again */
    double value;       /* NAN where it is none */
    struct slv_str key; /* the target's; until the next call */
    char text[256];     /* for a person; printable */
};
/* Alarms that have begun or ended, each once. */
bool slv_summary_alarm(struct slv_summary *s, struct slv_summary_alarm *ret);

/* An array of rules: "kind", "rule", "to", "key" (the target's; of copies what they begin with),
 * "known", "keys", "held" (why, or null), "held_keys", "written", "alarms". Not between next and
 * done. */
void slv_summary_tell(struct slv_summary *s, struct slv_json *j, const char *name);

#endif
