/* service_int.h: what the files of a node's service share. See service.h.
 *
 *     service.c         routes, spaces that converge, who waits and who watches
 *     service_strong.c  spaces that are agreed on
 *     service_roster.c  who is a member
 *     service_status.c  what the node is: status, metrics
 */
#ifndef SLV_MESH_SERVICE_INT_H
#define SLV_MESH_SERVICE_INT_H

#include "base/json.h"
#include "mesh/service.h"
#include "net/metrics.h"

#define BODY_MAX ((size_t)64 << 20)
#define KEYS_MOST 1000u

/* A write that is not synced yet, and who waits for it. */
struct waiting {
    struct waiting *next;
    struct slv_exchange *x;
    uint64_t ticket;
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
    struct watcher *watcher;
    size_t n_waiting, n_watchers;
};

/* What a query says. `text` has room for a target. */
struct service_query {
    char after[SLV_HEAD_TARGET_MAX + 1];
    size_t limit;
    uint64_t timeout_ms;
    int read; /* enum slv_strong_read, or READ_LOCAL */
};
#define READ_LOCAL 2

/* --- service.c -------------------------------------------------------------------------------- */

/* Sends b as JSON, and frees it. */
void service_reply(struct slv_exchange *x, int status, struct slv_buf *b);
void service_refuse(struct slv_exchange *x, int status, const char *why);
int service_status_of(int rc);
void service_begin(struct slv_buf *b, struct slv_json *j);
/* False: it says something else. */
bool service_read_query(struct slv_str q, struct service_query *ret);
/* A space that converges, as an object. */
void service_tell_space(const struct slv_node *n, size_t i, struct slv_json *j);
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

/* --- service_roster.c ------------------------------------------------------------------------- */

void service_roster(struct slv_service *s, struct slv_exchange *x);
void service_roster_add(struct slv_service *s, struct slv_exchange *x);

/* --- service_status.c ------------------------------------------------------------------------- */

int service_metrics_open(struct slv_service *s);
void service_status(struct slv_service *s, struct slv_exchange *x);
void service_metrics(struct slv_service *s, struct slv_exchange *x);

#endif
