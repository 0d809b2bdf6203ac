/* service_session.c: see service.h and token.h. Requests that wait until this node has seen what
 * their session has, and the tokens of answers.
 *
 * Who waits is an exchange in a list, and no thread. The list is looked at when something was seen
 * here since the last time, and when a deadline has passed.
 */
#include "mesh/service_int.h"
#include "base/mem.h"

#include <string.h>

/* --- tokens ----------------------------------------------------------------------------------- */

/* The request's: in a field, or else in the query. */
static struct slv_str text_of(const struct slv_exchange *x, const struct service_query *q) {
    const struct slv_str field = slv_head_field(slv_exchange_head(x), "selvage-token");
    return field.p ? field : q->token;
}

static int add_seen(const struct slv_service *s, const struct service_seen *seen,
                    struct slv_token *t) {
    const struct slv_node *n = s->conf.node;
    if (seen->is_agreed) return slv_token_see_group(t, slv_node_group(n), seen->index);
    return slv_token_see(t, slv_replica_id(slv_node_replica(n, seen->space)),
                         &slv_node_read(n, seen->space)->context);
}

/* Appends the token of an answer. */
static int write_token(const struct slv_service *s, struct slv_str had,
                       const struct service_seen *seen, struct slv_buf *b) {
    struct slv_token t = {0};
    int rc = had.p ? slv_token_read(had, &t, NULL) : 0;
    if (!rc) rc = add_seen(s, seen, &t);
    if (!rc) rc = slv_token_write(&t, b);
    slv_token_fini(&t);
    return rc;
}

void service_session_field(struct slv_service *s, const struct slv_exchange *x,
                           const struct service_seen *seen, struct slv_buf *ret) {
    struct service_query q;
    if (!service_read_query(slv_exchange_head(x)->query, &q)) return;
    slv_buf_adds(ret, SLV_TOKEN_FIELD ": ");
    if (write_token(s, text_of(x, &q), seen, ret)) slv_buf_clear(ret);
    else slv_buf_adds(ret, "\r\n");
    if (ret->status) slv_buf_clear(ret);
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* (A token of other groups is of a mesh whose group this node does not know, or that was begun
 * anew: what was seen of it cannot be seen here. Asking the group gives a token of this one.) */
static bool is_covered(const struct slv_service *s, const struct session *w) {
    const struct slv_node *n = s->conf.node;
    const struct slv_token *t = &w->token;
    if (w->is_agreed) {
        const struct slv_strong *g = slv_node_strong(n);
        const uint64_t index = slv_token_index(t, slv_node_group(n));
        return !t->n_group || (g && index && slv_strong_applied(g) >= index);
    }
    const struct slv_dots *seen = slv_token_seen(t, slv_replica_id(slv_node_replica(n, w->space)));
    return !seen || slv_space_covers(slv_node_read(n, w->space), seen);
}

/* (What the group is asked, it knows.) */
static bool is_local(const struct slv_exchange *x, const struct service_asked *a) {
    const bool get = slv_exchange_head(x)->method == SLV_METHOD_GET;
    return !a->is_agreed || (get && (!a->is_key || a->query.read == READ_LOCAL));
}

/* Whether the answer's token has room for what is to be said, as far as that is known now. */
static int check_room(const struct slv_service *s, struct slv_str text,
                      const struct service_asked *a, struct slv_err *err) {
    const struct service_seen seen = {.is_agreed = a->is_agreed, .space = a->space, .index = 1};
    struct slv_buf b;
    slv_buf_init(&b, SLV_TOKEN_MAX + 1);
    const int rc = write_token(s, text, &seen, &b);
    slv_buf_fini(&b);
    if (rc == SLV_E_LIMIT)
        return slv_err_set(err, rc, "so many have written that no token names what was seen");
    return rc ? slv_err_set(err, rc, "out of memory") : 0;
}

static void free_session(struct session *w) {
    slv_token_fini(&w->token);
    slv_mem_free(w);
}

static int wait_for(struct slv_service *s, struct slv_exchange *x, const struct session *w) {
    struct session *copy =
        s->n_sessions < SLV_SERVICE_SESSIONS_MAX ? slv_mem_alloc(sizeof *w) : NULL;
    if (!copy) return SLV_E_LIMIT;
    *copy = *w;
    copy->x = x;
    copy->next = s->session;
    if (!s->session || w->deadline < s->session_next) s->session_next = w->deadline;
    s->session = copy;
    s->n_sessions++;
    slv_exchange_hold(x);
    s->conf.wake(s->conf.ctx); /* the deadline may be the next thing that is due */
    return 0;
}

bool service_session_waits(struct slv_service *s, struct slv_exchange *x,
                           const struct service_asked *a) {
    const struct slv_str text = text_of(x, &a->query);
    struct session w = {.is_agreed = a->is_agreed, .space = a->space};
    struct slv_err err = {0};
    if (!text.p) return false;
    int rc = slv_token_read(text, &w.token, &err);
    if (!rc) rc = check_room(s, text, a, &err);
    w.deadline = s->conf.now() + a->query.timeout_ms * 1000000u;
    const bool waits = !rc && is_local(x, a) && !is_covered(s, &w);
    if (waits && !wait_for(s, x, &w)) return true;
    slv_token_fini(&w.token);
    if (rc) service_refuse(x, service_status_of(rc), err.msg);
    else if (waits) service_refuse(x, 503, "too many wait for what they have seen elsewhere");
    return rc || waits;
}

/* --- the end of it ---------------------------------------------------------------------------- */

/* What is left of the time is the request's. */
static void go_on(struct slv_service *s, const struct session *w, uint64_t now) {
    struct service_asked a;
    if (!service_read_asked(s, w->x, &a)) return;
    a.query.timeout_ms = w->deadline > now ? (w->deadline - now) / 1000000u : 0;
    service_act(s, w->x, &a);
}

/* Whether this node knows none of those whose writes the session has seen in the space. */
static bool is_strange(const struct slv_service *s, const struct session *w) {
    const struct slv_space *space;
    const struct slv_dots *seen;
    if (w->is_agreed) return false;
    space = slv_node_read(s->conf.node, w->space);
    seen = slv_token_seen(&w->token, slv_replica_id(slv_node_replica(s->conf.node, w->space)));
    for (uint32_t i = 0; seen && i < seen->n; i++)
        if (slv_dots_last(&space->context, seen->writer[i].id) ||
            slv_space_let_go(space, seen->writer[i].id))
            return false;
    return true;
}

static void end(struct slv_service *s, struct session *w, bool covered, uint64_t now) {
    s->n_sessions--;
    if (covered && !slv_exchange_is_gone(w->x)) go_on(s, w, now);
    else
        service_refuse(w->x, 504,
                       is_strange(s, w) ? "this node has not seen what the session has, nor knows "
                                          "who wrote it: is the session of this mesh?"
                                        : "this node has not seen what the session has");
    slv_exchange_put(w->x);
    free_session(w);
}

/* Whether something was seen of a space since it was asked last. */
static bool has_news(uint64_t *looked, uint64_t there) {
    const bool news = *looked != there;
    *looked = there;
    return news;
}

void service_session_news(struct slv_service *s) {
    const struct slv_node *n = s->conf.node;
    const struct slv_strong *g = slv_node_strong(n);
    const uint64_t now = s->conf.now();
    bool news[SLV_NODE_SPACES_MAX];
    for (size_t i = 0; i < slv_node_spaces(n); i++)
        news[i] = has_news(&s->looked[i], slv_replica_news(slv_node_replica(n, i)));
    const bool group =
        has_news(&s->looked_group, g ? slv_strong_applied(g) ^ slv_node_group(n) : 0);
    struct session *due = NULL, **due_end = &due;
    s->session_next = UINT64_MAX;
    for (struct session **at = &s->session; *at;) {
        struct session *w = *at;
        const bool covered = (w->is_agreed ? group : news[w->space]) && is_covered(s, w);
        if (covered || now >= w->deadline || slv_exchange_is_gone(w->x)) {
            *at = w->next;
            w->next = NULL;
            *due_end = w;
            due_end = &w->next;
            continue;
        }
        if (w->deadline < s->session_next) s->session_next = w->deadline;
        at = &w->next;
    }
    while (due) { /* (What they ask for may change the list.) */
        struct session *w = due;
        due = w->next;
        end(s, w, is_covered(s, w), now);
    }
}

void service_session_drop(struct slv_service *s) {
    memset(s->looked, 0xff, sizeof s->looked); /* the next node may have seen less */
    s->looked_group = UINT64_MAX;
    for (struct session *w; (w = s->session) != NULL;) {
        s->session = w->next;
        s->n_sessions--;
        service_refuse(w->x, 503, "the store failed; it is being opened again");
        slv_exchange_put(w->x);
        free_session(w);
    }
}
