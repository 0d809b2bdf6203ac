/* embed.h: vectors of texts: the public half is selvage.h.
 *
 * An embedder owns a team, a runner of states (step.h) or of scores, and some caches. Texts are put
 * into a step one after the other, as many as it has room for. An encoder's text is in one step as
 * a whole; another model's may go on in the next. A text's caches are its own, its tokens' states
 * are added up in their order, and so its vector is the same whatever is in the step besides:
 *
 *     step    | text 1 | text 2 | te..|        |..xt 3 | text 4 |
 *     cache   |   0    |   1    |  2  |        |   2   |   0    |
 *
 * Invariant: at most one text is in its cache without being done, the one that goes on; all others
 * have given their pages back. So a pool of the context's pages and one step's is enough.
 */
#ifndef SLV_ENGINE_EMBED_H
#define SLV_ENGINE_EMBED_H

#include "engine/model.h"
#include "engine/step.h"

/* A text on its way. */
struct slv_embed_slot {
    struct slv_kv kv;
    size_t text;    /* number of the text */
    uint32_t n;     /* its tokens */
    uint32_t begun; /* those in steps so far */
    float *sum;     /* [n_embd] */
};

struct slv_embedder {
    struct slv_model *m;
    struct slv_embedder_opts o; /* filled in */
    uint32_t n_slots, width;    /* width: of what pooling gives */
    struct slv_team *team;
    struct slv_runner *runner;
    struct slv_pool *pool;
    struct slv_step_token *tok;  /* [n_batch] */
    struct slv_embed_slot *slot; /* [n_slots] */
    float *sums;                 /* of all slots */
    struct slv_ids ids;          /* of the text that comes next */
    uint32_t second_at;          /* where its second part begins in them */
    bool has_ids;
    _Atomic bool cancelled;
};

#endif
