/* session.h: a session, as the engine's own files see it: session.c opens, feeds and rewinds,
 * generate.c draws. The public half is selvage.h. */
#ifndef SLV_ENGINE_SESSION_H
#define SLV_ENGINE_SESSION_H

#include "engine/adapter.h"
#include "engine/draft.h"
#include "engine/model.h"
#include "engine/prefix.h"
#include "engine/step.h"

#include <stdatomic.h>

struct slv_session {
    struct slv_model *m;
    struct slv_session_opts o;
    struct slv_team *team;
    struct slv_runner *runner;
    struct slv_kv kv;
    struct slv_prefix_user prefix;
    struct slv_adapter_set adapters;
    uint64_t reused;            /* tokens taken from there since the last generation began */
    int32_t *history;           /* [n_ctx], kv.n_pos of them */
    struct slv_step_token *tok; /* [n_batch] */
    struct slv_batch *batch;    /* whose team, runner and tok it uses; NULL: its own */
    uint64_t takes;             /* bytes of the batch's limit */
    bool joined;                /* in the batch: nobody else makes its steps */
    bool has_logits;            /* unless the runner has made other steps since */
    uint32_t row;               /* of the last step's logits: that of the last token */
    uint64_t logits_of;         /* the step, by the runner's count */
    _Atomic bool cancelled;
    struct slv_speculator *spec; /* NULL where o.n_draft is 0 */
    struct slv_generate_stats stats;
};

/* One step over ids[0..n) at the session's position, 1 <= n <= n_batch, with logits after the
 * tokens from ids[from] on, at most n_logits of them, as rows 0, 1, ... The position stays: the
 * caller moves it over those tokens that it wants (slv_session_keep). The session has no logits
 * until then. */
int slv_session_step(struct slv_session *s, const int32_t *ids, uint32_t n,
                     uint32_t from) SLV_MUST_USE;

/* Reserves memory for the first n positions, n_pos <= n <= n_ctx, if it has less; SLV_E_FIT: there
 * is not so much at the moment. */
int slv_session_room(struct slv_session *s, uint32_t n) SLV_MUST_USE;

/* Gives up all keys and values, with their memory, and has no positions; the history's tokens stay
 * where they are. Of a session in its batch too. */
void slv_session_drop(struct slv_session *s);

/* The same n tokens into tok[0..n), for a step that may have others besides. SLV_E_FIT: there is no
 * memory for them at the moment. SLV_E_NOMEM: there are no pages, which would be a fault of the
 * pool. */
int slv_session_put(struct slv_session *s, const int32_t *ids, uint32_t n, uint32_t from,
                    struct slv_step_token *tok) SLV_MUST_USE;

/* Whether ids[0..n) can be fed: SLV_E_USAGE, SLV_E_LIMIT. */
int slv_session_check_feed(const struct slv_session *s, const int32_t *ids, size_t n,
                           struct slv_err *err) SLV_MUST_USE;

/* The next n of the last step's tokens belong to the conversation; ids may be the history's own. */
void slv_session_keep(struct slv_session *s, const int32_t *ids, uint32_t n);

/* Takes what the prefix cache knows of ids[0..n), which are to be fed, but the last, as far as
 * there is memory; how many. ids may be the history's own. */
uint32_t slv_session_take(struct slv_session *s, const int32_t *ids, size_t n);

/* Lets others have what it holds. */
void slv_session_give(struct slv_session *s);

/* slv_session_rewind to tokens that it will feed again at once. */
int slv_session_back(struct slv_session *s, uint32_t n) SLV_MUST_USE;

/* From now on its logits are that row of the step just made, or there are none. */
void slv_session_has_logits(struct slv_session *s, bool has, uint32_t row);

/* Whether it was asked to stop; takes the request back. */
bool slv_session_take_cancel(struct slv_session *s);

#endif
