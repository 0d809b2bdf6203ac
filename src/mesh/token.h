/* token.h: what a session has seen, to be shown to the node that is asked next.
 *
 * Whoever reads and writes by way of several nodes may ask one that has not heard yet of what
 * another one showed him. So an answer carries a token, and a question that comes with it waits
 * until the node has seen as much: he reads his writes, and nothing he read before is undone
 * (session guarantees: Terry and others, 1994). The token names
 *
 *     of spaces that converge   the dots that the node had seen (dots.h)
 *     of the group              up to where its log was applied
 *
 * and never less than was seen. What is too long so, as a space has many writers with gaps in what
 * was seen of them, is written with the gaps closed: that claims more, and a read waits for a
 * little that the session has not seen; a gap that nobody can fill makes it wait in vain. What is
 * too long even so has no token.
 *
 *     base64url (RFC 4648, 5; no padding) of
 *         version (1)
 *         number of spaces; each, ascending: id (8), dots
 *         number of groups; each, ascending: id (8), index from 1 on
 *         the first four bytes of BLAKE2b-128 of all above, against errors of typing
 *
 * Equal tokens are equal texts. It is no secret and permits nothing: a wrong one makes its own
 * reads wait. One that was read before a crash may name writes that were lost with the node, as
 * they were not synced: then it waits for those that take their numbers.
 *
 * Threads: one a token.
 */
#ifndef SLV_MESH_TOKEN_H
#define SLV_MESH_TOKEN_H

#include "base/err.h"
#include "mesh/dots.h"

#define SLV_TOKEN_MAX ((size_t)8192) /* characters */
#define SLV_TOKEN_SPACES_MAX 256u
#define SLV_TOKEN_GROUPS_MAX 16u
#define SLV_TOKEN_INDEX_MAX (UINT64_MAX >> 1)
#define SLV_TOKEN_FIELD "Selvage-Token" /* of HTTP, in questions and answers */

struct slv_token_space {
    uint64_t id;
    struct slv_dots seen;
};

struct slv_token_group {
    uint64_t id, index;
};

/* {0}: nothing was seen. Both ascend. */
struct slv_token {
    struct slv_token_space *space; /* heap */
    struct slv_token_group *group; /* heap */
    size_t n_space, room_space, n_group, room_group;
};

void slv_token_fini(struct slv_token *t);

/* *ret is {0} before and after a failure. SLV_E_FORMAT, with a line that says what; SLV_E_NOMEM. */
int slv_token_read(struct slv_str text, struct slv_token *ret, struct slv_err *err) SLV_MUST_USE;

/* Appends its text. SLV_E_LIMIT: it is longer than SLV_TOKEN_MAX, gaps closed; SLV_E_NOMEM. */
int slv_token_write(const struct slv_token *t, struct slv_buf *b) SLV_MUST_USE;

/* More was seen. What was taken before a failure stays. SLV_E_NOMEM, SLV_E_LIMIT. */
int slv_token_see(struct slv_token *t, uint64_t space, const struct slv_dots *seen) SLV_MUST_USE;
int slv_token_see_group(struct slv_token *t, uint64_t group, uint64_t index) SLV_MUST_USE;
int slv_token_join(struct slv_token *t, const struct slv_token *other) SLV_MUST_USE;

/* NULL: nothing of that space. */
const struct slv_dots *slv_token_seen(const struct slv_token *t, uint64_t space);
/* 0: nothing of that group. */
uint64_t slv_token_index(const struct slv_token *t, uint64_t group);

#endif
