/* space.h: what one node has of a key space: entries, and the context of all that it has seen.
 *
 * The lattice. An entry lives where its op was seen and no op that was seen removed it. Seen are
 * the dots of the context; so two nodes that have applied the same ops, in any order and any number
 * of times, hold the same, and what was removed leaves nothing but its place in the context (delta
 * CRDTs as in dots.h; sets without tombstones: Bieniusa and others, 2012).
 *
 * Instead of ops a node may be sent what another holds of a range of places: its context, its
 * entries there that this one lacks, and the dots of all its entries there. What this node has
 * beyond these and the other has seen was removed. When all ranges were taken, and only then, the
 * other's context is this one's too.
 *
 * In a space with a time to live (ttl.h) an entry also goes when it is due, which leaves as little.
 * Writers that are retired (retired.h) are let go: the context names their retirement instead.
 *
 * Invariants: a dot of the context that names an entry which is not there was removed, or its entry
 * was due. An entry may be there before its dot is in the context (its op was cut short by lack of
 * memory, or it came with a range): its op, when it comes, finds it.
 *
 * Threads: one.
 */
#ifndef SLV_MESH_SPACE_H
#define SLV_MESH_SPACE_H

#include "mesh/op.h"
#include "mesh/retired.h"
#include "mesh/ttl.h"

/* Who is told of each entry that comes and, before it is gone, that goes. */
struct slv_space_watch {
    void (*put)(void *ctx, const struct slv_entry *e);
    void (*removed)(void *ctx, const struct slv_entry *e);
    void *ctx;
};

struct slv_space {
    struct slv_entries *entries;
    struct slv_dots context;
    const struct slv_space_watch *watch; /* may be NULL */
    struct slv_ttl ttl; /* slv_ttl_init, of an empty space: entries go by themselves */
    const struct slv_retired *retired; /* borrowed; NULL: nobody is */
};

/* What was seen here: the context, and all of writers whose retirements it names. */
static inline struct slv_seen slv_space_seen(const struct slv_space *s) {
    return (struct slv_seen){.context = &s->context, .retired = s->retired};
}
static inline bool slv_space_has(const struct slv_space *s, struct slv_dot dot) {
    const struct slv_seen seen = slv_space_seen(s);
    return slv_seen_has(&seen, dot);
}
/* Whether a writer's retirement was seen, so that nothing else of it is in the context. */
static inline bool slv_space_let_go(const struct slv_space *s, uint64_t writer) {
    return s->retired && s->retired->n && slv_retired_names(s->retired, &s->context, writer);
}
/* Whether all of them were seen here. */
bool slv_space_covers(const struct slv_space *s, const struct slv_dots *dots);

/* What an entry's type reads of its data. */
static inline struct slv_str slv_space_data(const struct slv_space *s, const struct slv_entry *e) {
    return slv_ttl_data(&s->ttl, slv_entry_data(e));
}

int slv_space_init(struct slv_space *s) SLV_MUST_USE;
void slv_space_fini(struct slv_space *s);

/* Applies an op; one that was applied changes nothing. *ret_new (may be NULL): it was not.
 * SLV_E_NOMEM, SLV_E_LIMIT: nothing is lost if the op is applied again. SLV_E_FORMAT:
 * it is none. */
int slv_space_apply(struct slv_space *s, const struct slv_op *op, bool *ret_new) SLV_MUST_USE;

/* Applies an op of this node's own, whose dots are new and which removes only what is seen here.
 * On failure (SLV_E_NOMEM, SLV_E_LIMIT) nothing has changed, so that its dots may be used again. */
int slv_space_write(struct slv_space *s, const struct slv_op *op) SLV_MUST_USE;

/* An entry out of the store. As slv_entries_put. */
int slv_space_load(struct slv_space *s, const struct slv_place *at,
                   struct slv_str data) SLV_MUST_USE;

/* What is due by the cut goes. How many. */
uint64_t slv_space_expire(struct slv_space *s);

/* Takes an entry away, as if it had never been here. */
void slv_space_drop(struct slv_space *s, struct slv_dot dot);

/* Places [from, to) of the order; `to` NULL: to the end. */
struct slv_space_range {
    const struct slv_place *from, *to;
};

/* The counted entries of a range. */
void slv_space_find(const struct slv_space *s, const struct slv_space_range *r, uint64_t *ret_from,
                    uint64_t *ret_to);

/* What another node holds of a range: the dots of all its entries there, and what it has seen.
 * Removes here what it has seen removed. How many. */
uint64_t slv_space_retain(struct slv_space *s, const struct slv_space_range *r,
                          const struct slv_dots *theirs, const struct slv_seen *seen);

/* One of its entries; it is put in where it was not seen here. *ret_new (may be NULL): so it was.
 * SLV_E_NOMEM, SLV_E_LIMIT. */
int slv_space_take(struct slv_space *s, const struct slv_place *at, struct slv_str data,
                   bool *ret_new) SLV_MUST_USE;

/* The same of an entry that may be here with other contents, as a writer that gives one dot twice
 * makes them: of the two that with the smaller fingerprint stays, at every node. */
int slv_space_settle(struct slv_space *s, const struct slv_place *at, struct slv_str data,
                     bool *ret_new) SLV_MUST_USE;

#endif
