/* service_int.h: what the files of a node's service share. See service.h.
 *
 *     service.c         routes, spaces that converge, who waits and who watches
 *     service_strong.c  spaces that are agreed on
 *     service_lead.c    who leads the group that agrees
 *     service_revert.c  putting back what was written
 *     service_session.c what sessions have seen: who waits until this node has, and tokens
 *     service_roster.c  who is a member
 *     service_status.c  what the node is: status, metrics
 */
#ifndef SLV_MESH_SERVICE_INT_H
#define SLV_MESH_SERVICE_INT_H

#include "base/json.h"
#include "mesh/service.h"
#include "mesh/token.h"
#include "net/metrics.h"

#define BODY_MAX ((size_t)64 << 20)
#define SERVICE_SPACE_COUNTS 8 /* counters of each space */
#define KEYS_MOST 1000u

/* A write that is not synced yet, and who waits for it; what it is answered with. */
struct waiting {
    struct waiting *next;
    struct slv_exchange *x;
    uint64_t ticket;
    size_t space;
    struct slv_buf answer;
};

/* A question to the group, and who waits for the answer. */
struct asking {
    struct asking *next;
    struct slv_exchange *x;
    uint64_t ask;
    enum slv_strong_op op;
    size_t agreed;
    char *key; /* heap */
};

/* A request that waits until this node has seen what its session has. */
struct session {
    struct session *next;
    struct slv_exchange *x;
    bool is_agreed; /* `space` is the number of a strong one */
    size_t space;
    uint64_t deadline; /* the node's time */
    struct slv_token token;
};

/* Who waits until a node leads. */
struct leading {
    struct leading *next;
    struct slv_exchange *x;
    uint64_t to, deadline; /* the node's time */
};

/* Keys that have changed since the watcher was told. */
struct watcher {
    struct watcher *next;
    struct slv_exchange *x;
    bool is_agreed; /* `space` is the number of a strong one */
    size_t space;
    struct slv_buf keys; /* each behind its length */
    size_t last_n;       /* bytes of the last */
};

struct slv_service {
    struct slv_service_conf conf;
    struct slv_metrics *metrics;
    uint64_t *told; /* heap: counters, as they were last told */
    struct waiting *waiting, **waiting_end;
    struct asking *asking;
    struct leading *leading;
    struct watcher *watcher;
    struct session *session;
    size_t n_waiting, n_watchers, n_sessions;
    uint64_t session_next; /* the first of their deadlines */
    /* What there was to be seen when sessions were last looked at: dots of spaces; of the group. */
    uint64_t looked[SLV_NODE_SPACES_MAX], looked_group;
    uint64_t told_space[SLV_NODE_SPACES_MAX][SERVICE_SPACE_COUNTS]; /* as `told`, of each space */
    uint64_t told_odd[SLV_TRANSPORT_ODDS];
};

/* What a query says. `text` has room for a target. */
struct service_query {
    char after[SLV_HEAD_TARGET_MAX + 1];
    size_t limit;
    uint64_t timeout_ms;
    int read;             /* enum slv_strong_read, or READ_LOCAL */
    struct slv_str token; /* of the head */
};
#define READ_LOCAL 2

/* What is asked of a space. */
struct service_asked {
    size_t space;
    bool is_agreed;
    struct slv_str rest; /* of the path, behind the space's name */
    bool is_key;
    size_t n_key;
    char key[SLV_HEAD_TARGET_MAX + 1]; /* where is_key */
    struct service_query query;
};

/* Of what an answer speaks, for its token. */
struct service_seen {
    bool is_agreed;
    size_t space;
    uint64_t index; /* of the group's log; not of spaces that converge */
};

/* --- service.c -------------------------------------------------------------------------------- */

/* Sends b as JSON, and frees it. `seen` is what it shows, and said in a token; NULL: nothing. */
void service_reply(struct slv_service *s, struct slv_exchange *x, const struct service_seen *seen,
                   int status, struct slv_buf *b);
/* The same of an error. */
void service_tell_none(struct slv_service *s, struct slv_exchange *x,
                       const struct service_seen *seen, int status, const char *why);
void service_refuse(struct slv_exchange *x, int status, const char *why);
int service_status_of(int rc);
void service_begin(struct slv_buf *b, struct slv_json *j);
/* False: it says something else. */
bool service_read_query(struct slv_str q, struct service_query *ret);
/* A space that converges, as an object. */
void service_tell_space(const struct slv_node *n, size_t i, struct slv_json *j);
/* Reads a request again, which service_act is then done with. False: it is refused. */
bool service_read_asked(struct slv_service *s, struct slv_exchange *x, struct service_asked *ret);
void service_act(struct slv_service *s, struct slv_exchange *x, const struct service_asked *a);
/* Answers when that is durable, and takes the answer, which is empty after. SLV_E_NOMEM: it is
 * written, but nobody waits. */
int service_wait(struct slv_service *s, struct slv_exchange *x, size_t space, uint64_t ticket,
                 struct slv_buf *answer);
void service_watch(struct slv_service *s, struct slv_exchange *x, bool is_agreed, size_t space);
void service_note(struct slv_service *s, bool is_agreed, size_t space, struct slv_str key);

/* --- service_strong.c ------------------------------------------------------------------------- */

bool service_strong_find(const struct slv_service *s, struct slv_str name, size_t *ret);
void service_strong_tell_space(const struct slv_node *n, size_t i, struct slv_json *j);
/* A value as this node has it, behind "value", with its version. */
void service_strong_value(const struct slv_service *s, size_t agreed, struct slv_str key,
                          struct slv_json *j);
void service_strong_keys(struct slv_service *s, struct slv_exchange *x, size_t agreed,
                         const struct service_query *q);
void service_strong_get(struct slv_service *s, struct slv_exchange *x, size_t agreed,
                        struct slv_str key, const struct service_query *q);
void service_strong_put(struct slv_service *s, struct slv_exchange *x, size_t agreed,
                        struct slv_str key, const struct service_query *q);
void service_strong_found(struct slv_service *s, struct slv_exchange *x);
/* Who waits is refused: what they asked for may be done or not. */
void service_strong_drop(struct slv_service *s);
void service_strong_status(const struct slv_node *n, struct slv_json *j);

/* --- service_lead.c --------------------------------------------------------------------------- */

void service_lead(struct slv_service *s, struct slv_exchange *x);
/* Those whose node leads, or whose time is up, are answered. */
void service_lead_news(struct slv_service *s);
/* The first of their deadlines; UINT64_MAX: nobody waits. */
uint64_t service_lead_next(const struct slv_service *s);
void service_lead_drop(struct slv_service *s);

/* --- service_session.c ------------------------------------------------------------------------ */

/* True: it waits until this node has seen what its token says, or is refused. */
bool service_session_waits(struct slv_service *s, struct slv_exchange *x,
                           const struct service_asked *a);
/* Those whose wait is over: done, or refused. */
void service_session_news(struct slv_service *s);
void service_session_drop(struct slv_service *s);
/* A field with the token of an answer: what the request's says, and what is shown. Nothing, where
 * that is too long. */
void service_session_field(struct slv_service *s, const struct slv_exchange *x,
                           const struct service_seen *seen, struct slv_buf *ret);

/* --- service_revert.c ------------------------------------------------------------------------- */

void service_revert(struct slv_service *s, struct slv_exchange *x, const struct service_asked *a);

/* --- service_roster.c ------------------------------------------------------------------------- */

void service_roster(struct slv_service *s, struct slv_exchange *x);
void service_roster_add(struct slv_service *s, struct slv_exchange *x);

/* --- service_status.c ------------------------------------------------------------------------- */

int service_metrics_open(struct slv_service *s);
void service_status(struct slv_service *s, struct slv_exchange *x);
void service_metrics(struct slv_service *s, struct slv_exchange *x);

#endif
