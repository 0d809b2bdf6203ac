/* types.h: what the value of a key means: for each type a rule for what a write removes and puts
 * in, and one for reading.
 *
 * All types are sets of entries (space.h); joining is the same for all. What a write removes is
 * what its writer sees then; what others write at the same time stays beside it, and reading
 * decides:
 *
 *     type            path of an entry       a write removes            reading
 *     register, last  none                   what it sees               latest stamp, then writer
 *     register, many  none                   what it sees               all of them
 *     flag, on wins   none                   what it sees               on where there is one
 *     flag, off wins  none; it says "off"    what it sees               on where there is none
 *     set             the element            what it sees of that       paths
 *     counter         the writer             its own                    sums of ups less downs
 *     budget          the writer             its own row                what each may still spend
 *     vector          epoch, writer          nothing, or older epochs   sums of an epoch
 *     unique          the writer             its own sketch             join of them, estimated
 *     top             the writer             its own sketch             sums of them, the largest
 *
 * Lists and texts are in seq.h, documents in doc.h.
 *
 * A counter that only grows is one without downs. A budget (bounded counter, escrow: Balegas and
 * others, 2015) is never overspent, whoever is cut off from whom: a writer spends only what its own
 * row and the gifts to it that it has seen leave it, and only it can take from that.
 * A vector (a sum of gradients) has one contribution of each writer in an epoch, which nobody can
 * add twice.
 * The sketches are in sketch.h. A row that is not its writer's own, or no sketch, counts as none.
 *
 * In a space with a time to live (ttl.h) what is above lies behind the stamp of the write, and an
 * entry goes some time after it was written: a value, an element, an answer of a flag; of rows by
 * writer, the row of one who has not written for that long.
 *
 * A write becomes an op that is not applied yet; its bytes are the draft's until it is closed.
 * Threads: one.
 */
#ifndef SLV_MESH_TYPES_H
#define SLV_MESH_TYPES_H

#include "base/arena.h"
#include "mesh/sketch.h"
#include "mesh/space.h"

enum slv_mesh_type {
    SLV_TYPE_LAST,
    SLV_TYPE_MANY,
    SLV_TYPE_ON_WINS,
    SLV_TYPE_OFF_WINS,
    SLV_TYPE_SET,
    SLV_TYPE_COUNTER,
    SLV_TYPE_GROWING,
    SLV_TYPE_BUDGET,
    SLV_TYPE_VECTOR,
    SLV_TYPE_LIST, /* seq.h */
    SLV_TYPE_TEXT,
    SLV_TYPE_DOC, /* doc.h */
    SLV_TYPE_UNIQUE,
    SLV_TYPE_TOP,
    SLV_MESH_TYPES
};

/* Whether entries of this type may go by themselves (ttl.h): a part that goes must not be one on
 * which others rest (lists, texts, documents), nor be missed (budgets, sums of an epoch). */
bool slv_mesh_type_expires(enum slv_mesh_type t);

/* Whether what was written can be put back by another node (revert.h): a writer's own row cannot,
 * nor can what only grows shrink. */
bool slv_mesh_type_reverts(enum slv_mesh_type t);

/* "last", "set", ...: what a configuration says. Never NULL. */
const char *slv_mesh_type_name(enum slv_mesh_type t);
bool slv_mesh_type_find(struct slv_str name, enum slv_mesh_type *ret);

/* A write being made. */
struct slv_draft {
    const struct slv_space *space;
    enum slv_mesh_type type;
    uint64_t stamp;
    struct slv_arena arena; /* bytes of op's entries */
    struct slv_op op;
};

/* The op will have this dot and stamp. The key is copied; the space is borrowed. SLV_E_NOMEM,
 * SLV_E_LIMIT. */
int slv_draft_open(struct slv_draft *d, const struct slv_space *s, enum slv_mesh_type type,
                   struct slv_str key, struct slv_dot dot, uint64_t stamp) SLV_MUST_USE;
void slv_draft_close(struct slv_draft *d);

/* What all of the following are made of, for types that have their own rules (seq.h): the entries
 * with exactly this path, or also those whose path begins with it, go; an entry comes, of which
 * both parts are copied. SLV_E_NOMEM, SLV_E_LIMIT. */
int slv_draft_remove(struct slv_draft *d, struct slv_str path, bool below) SLV_MUST_USE;
int slv_draft_put(struct slv_draft *d, struct slv_str path, const void *data,
                  size_t n) SLV_MUST_USE;

/* A counter whose rows lie behind a prefix counts. SLV_E_LIMIT past 2^62 in all. */
int slv_draft_count_at(struct slv_draft *d, struct slv_str prefix, int64_t by) SLV_MUST_USE;

/* Each but slv_draft_delete is for its types only, else SLV_E_USAGE;
 * and SLV_E_NOMEM, SLV_E_LIMIT. */

/* The whole value goes, as far as it is seen. Not for BUDGET: what was spent would be forgotten. */
int slv_draft_delete(struct slv_draft *d) SLV_MUST_USE;
/* LAST, MANY */
int slv_draft_assign(struct slv_draft *d, struct slv_str value) SLV_MUST_USE;
/* ON_WINS, OFF_WINS */
int slv_draft_switch(struct slv_draft *d, bool on) SLV_MUST_USE;
/* SET */
int slv_draft_add(struct slv_draft *d, struct slv_str element) SLV_MUST_USE;
int slv_draft_drop(struct slv_draft *d, struct slv_str element) SLV_MUST_USE;
/* COUNTER; GROWING: by 0 or more. SLV_E_LIMIT past 2^62 in all. */
int slv_draft_count(struct slv_draft *d, int64_t by) SLV_MUST_USE;
/* BUDGET: new rights of this writer's own making; spending; giving to another. SLV_E_BUSY: this
 * writer has not so much left. */
int slv_draft_mint(struct slv_draft *d, uint64_t n) SLV_MUST_USE;
int slv_draft_spend(struct slv_draft *d, uint64_t n) SLV_MUST_USE;
int slv_draft_give(struct slv_draft *d, uint64_t to, uint64_t n) SLV_MUST_USE;
/* VECTOR: this writer's part of an epoch, n numbers. SLV_E_BUSY: it has one. Epochs before `keep`
 * go. */
int slv_draft_contribute(struct slv_draft *d, uint64_t epoch, uint64_t keep, const float *v,
                         size_t n) SLV_MUST_USE;
/* UNIQUE: this writer met a string, of any length. */
int slv_draft_see(struct slv_draft *d, struct slv_str value) SLV_MUST_USE;
/* TOP: n times a string of at most SLV_TOP_VALUE_MAX bytes, else SLV_E_LIMIT; also past
 * SLV_TOP_TOTAL_MAX of this writer's in all. SLV_E_USAGE: n is 0. */
int slv_draft_tally(struct slv_draft *d, struct slv_str value, uint64_t n) SLV_MUST_USE;

/* --- reading ---------------------------------------------------------------------------------- */

/* The entries of a key whose paths begin with a prefix, one after the other; NULL: there are no
 * more. The space must not change meanwhile. */
struct slv_walk {
    const struct slv_space *s;
    struct slv_str key, prefix; /* borrowed */
    uint64_t rank;
};
struct slv_walk slv_walk_of(const struct slv_space *s, struct slv_str key, struct slv_str prefix);
const struct slv_entry *slv_walk_next(struct slv_walk *w);

/* The same, but of each path only the entry with the largest dot: of rows that one writer writes,
 * one over the other, several may be here while writes between them have not come. */
const struct slv_entry *slv_walk_next_row(struct slv_walk *w);

/* Calls fn with each value of a LAST (one at most) or MANY register, in the order of their dots, or
 * each element of a SET in order; until it returns false. */
void slv_read_values(const struct slv_space *s, enum slv_mesh_type type, struct slv_str key,
                     bool (*fn)(void *ctx, struct slv_str value), void *ctx);

bool slv_read_flag(const struct slv_space *s, enum slv_mesh_type type, struct slv_str key);

bool slv_read_has(const struct slv_space *s, struct slv_str key, struct slv_str element);

/* A counter whose rows lie behind a prefix. */
int64_t slv_read_count_at(const struct slv_space *s, struct slv_str key, struct slv_str prefix);

/* COUNTER, GROWING: its value. BUDGET: what may still be spent by all. */
int64_t slv_read_count(const struct slv_space *s, enum slv_mesh_type type, struct slv_str key);

/* What a writer may still spend of a budget. */
uint64_t slv_read_rights(const struct slv_space *s, struct slv_str key, uint64_t writer);

/* The sum of an epoch in double, n numbers (contributions of another length are left out), in the
 * order of writers, so that equal contents have equal sums; how many contributed. */
size_t slv_read_vector(const struct slv_space *s, struct slv_str key, uint64_t epoch, double *ret,
                       size_t n);

/* UNIQUE: about how many different strings all writers together met (sketch.h: its error). */
uint64_t slv_read_unique(const struct slv_space *s, struct slv_str key);

/* TOP: the n strings with the largest counts, fewer where there are no more, the largest first, of
 * equal ones in the order of bytes. Each is borrowed from the space. SLV_E_NOMEM. */
int slv_read_top(const struct slv_space *s, struct slv_str key, struct slv_top_item *ret, size_t n,
                 size_t *ret_n) SLV_MUST_USE;

#endif
