/* batch.h: many sessions, one step: the public half is selvage.h.
 *
 * A batch owns the team of threads, the arena and the tokens of a step; its sessions own their
 * caches and histories. Who has joined is in a slot: first its prompt is read, in pieces, then it
 * generates. A step takes what every generation asks for, and fills up with prompts, an equal share
 * each; where prompts are read beside answers they get no more than o.n_beside tokens, so that the
 * answers keep coming. Of prompts that begin alike one is read, and the others take it block by
 * block where they share a prefix cache. What a session gets does not depend on the others
 * (step.h). Who has no memory for the next step waits (park.h).
 *
 * Threads: one at a time; slv_session_cancel from any.
 */
#ifndef SLV_ENGINE_BATCH_H
#define SLV_ENGINE_BATCH_H

#include "engine/generate.h"

/* Where the keys and values of a slot's session are: park.h. */
enum slv_place { SLV_PLACE_IN, SLV_PLACE_LEAVING, SLV_PLACE_OUT, SLV_PLACE_COMING };

struct slv_batch_slot {
    struct slv_session *s; /* NULL: free */
    uint64_t joined;       /* the batch's count */
    enum slv_place place;
    bool starved;    /* has no memory for the step being made */
    uint32_t n_back; /* positions that were given up: until it has so many again it reads */
    struct slv_parked *parked; /* where they are; NULL: nowhere */
    struct slv_generate_opts opts;
    slv_piece_fn piece;
    slv_done_fn done;
    void *ctx;
    const int32_t *ids; /* the prompt; n_read of them are in the session */
    size_t n_ids, n_read;
    bool is_reading;          /* in the step being made, as nobody else is about to read the same */
    bool was_reading;         /* what was fed in the step being made was read */
    struct slv_generation *g; /* once it is read */
    struct slv_feed feed;     /* of the generation's next step */
    uint32_t n_fed, row;      /* tokens and first row of logits in the step being made */
};

struct slv_batch {
    struct slv_model *m;
    struct slv_batch_opts o; /* filled in */
    struct slv_team *team;
    struct slv_runner *runner;
    struct slv_step_token *tok;          /* [o.n_batch] */
    uint32_t n_logits;                   /* rows of a step */
    uint32_t n_active;                   /* slots taken */
    uint32_t first_answer, first_prompt; /* who is asked first, in turn */
    uint64_t used;                       /* bytes, sessions' too */
    uint64_t adapters;                   /* of them, the model's adapters */
    uint64_t n_joined;                   /* since it was opened */
    struct slv_batch_stats stats;        /* waits, spilled, reread */
    _Atomic bool cancelled;
    struct slv_batch_slot *slot; /* [o.n_sessions] */
};

/* What a slot's session has to read before it can go on answering. */
struct slv_reading {
    const int32_t *ids;
    size_t n;   /* 0: nothing */
    bool again; /* it had read it before */
};
struct slv_reading slv_batch_reading(const struct slv_batch_slot *t);

/* The session leaves its slot, and is told how it ended. */
void slv_batch_end(struct slv_batch *b, struct slv_batch_slot *t, int rc,
                   const struct slv_err *err);

/* A session that was opened for the batch gets what it shares, and gives it back. */
void slv_batch_lend(struct slv_batch *b, struct slv_session *s);
void slv_batch_take_back(struct slv_batch *b, struct slv_session *s);

/* Makes room for sets of adapters of that width. SLV_E_FIT, SLV_E_NOMEM. */
int slv_batch_adapt(struct slv_batch *b, size_t width, struct slv_err *err) SLV_MUST_USE;

#endif
