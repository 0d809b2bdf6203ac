/* roster.h: who is a member of a mesh, and what each may write: statements that an authority has
 * signed, one about each key, of which the one with the highest number counts.
 *
 *     MEMBER   the key may join; what it may write; whether its repairs are taken, and it may vote
 *     REVOKED  it may not any more; what it could write, as that of its writes which members pass
 *              on is taken: they had it before they knew
 *     INVITE   whoever has the secret of this key may name one other key as a member, with these
 *              rights, until a time
 *     JOINED   by such a one: this key is the member, and REVOKED when that is
 *
 * The authority is a key whose secret need not be on any node. Statements are spread by whoever has
 * them, and each node judges by itself, so that a member is revoked where there is no majority of
 * anything. That an invitation is used once is agreed on by the group of the strong spaces; a node
 * keeps the first use that it hears of.
 *
 * MEMBER and INVITE may have a condition: what the member has to show of its machine to each node
 * it meets, before that hears it (node_attest.c). What it has written, and others pass on, is
 * taken without that, as who took it first was shown it: otherwise nodes that saw other evidence
 * would hold other things.
 *
 *     statement: version (1; 2: with a condition), kind, number, key (32), flags (1 all,
 *                2 repairs, 4 votes), until (of an INVITE, s since 1970; 0: for ever, and of
 *                others), name, how many scopes, of each space and key prefix, then of JOINED the
 *                invitation's key (32), of version 2 the condition; signature (64) over "selvage
 *                mesh statement 1", the mesh's name behind its length, and all before it
 *     condition: 1 if any attestation key will do, else 0; then of keys (none if any will do, else
 *                at least one), binaries and policies: how many, their digests (32), ascending,
 *                each once
 *
 * Equal statements have equal bytes. Of two with one number the one with the greater bytes counts,
 * everywhere. Invariants: statements in the table are signed as they must be; at most one JOINED
 * for an invitation. Threads: one.
 */
#ifndef SLV_MESH_ROSTER_H
#define SLV_MESH_ROSTER_H

#include "mesh/batch.h"
#include "mesh/wire.h"

#define SLV_ROSTER_KEY 32u
#define SLV_ROSTER_SIG 64u
#define SLV_ROSTER_MAX 4096u       /* statements */
#define SLV_ROSTER_NAME_MAX 64u    /* bytes of a member's */
#define SLV_ROSTER_SCOPES_MAX 16u  /* spaces, with prefixes, that a member may write */
#define SLV_ROSTER_PREFIX_MAX 256u /* bytes */
#define SLV_ROSTER_DIGEST 32u
#define SLV_ROSTER_DIGESTS_MAX 16u /* of each list of a condition */
#define SLV_STATEMENT_MAX ((size_t)8192)

enum slv_statement_kind { SLV_MEMBER = 1, SLV_REVOKED, SLV_INVITE, SLV_JOINED };
enum { SLV_MAY_WRITE_ALL = 1, SLV_MAY_REPAIR = 2, SLV_MAY_VOTE = 4, SLV_MAY_ALL = 7 };

struct slv_scope {
    struct slv_str space, prefix;
};

/* SHA-256, ascending, each once; borrowed. */
struct slv_digests {
    const uint8_t (*v)[SLV_ROSTER_DIGEST];
    size_t n;
};

/* What evidence must say (trust/attest.h): one of each list; of an empty one, any. */
struct slv_condition {
    bool any_ak; /* which shows nothing of a TPM: there is no list of keys then, and else one */
    struct slv_digests aks, binaries, policies;
};

struct slv_statement {
    enum slv_statement_kind kind;
    uint64_t number; /* from 1 on; of JOINED 0 */
    uint8_t key[SLV_ROSTER_KEY];
    unsigned flags;
    uint64_t until;
    struct slv_str name;
    size_t n_scope;
    struct slv_scope scope[SLV_ROSTER_SCOPES_MAX];
    uint8_t invitation[SLV_ROSTER_KEY];
    bool is_conditional;
    struct slv_condition condition;
};

/* Puts digests in order, and leaves out those that are there already. How many there are then. */
size_t slv_digests_sort(uint8_t (*v)[SLV_ROSTER_DIGEST], size_t n);

/* What is signed of a statement. b's status. */
int slv_statement_write(const struct slv_statement *s, struct slv_buf *b) SLV_MUST_USE;
/* `bytes`, with or without a signature behind: ret's strings are borrowed. SLV_E_FORMAT. */
int slv_statement_read(struct slv_str bytes, struct slv_statement *ret,
                       const uint8_t **ret_sig) SLV_MUST_USE;
/* What the signature is of: appended to b. */
void slv_statement_signed(struct slv_str mesh, struct slv_str statement, struct slv_buf *b);

struct slv_roster;

struct slv_roster_conf {
    struct slv_str mesh; /* its name; copied */
    bool has_authority;
    uint8_t authority[SLV_ROSTER_KEY];
    /* Whether this is a signature by that key. */
    bool (*verify)(void *ctx, const uint8_t key[SLV_ROSTER_KEY], struct slv_str bytes,
                   const uint8_t sig[SLV_ROSTER_SIG]);
    uint64_t (*id_of)(void *ctx, const uint8_t key[SLV_ROSTER_KEY]); /* the node's number */
    void *ctx;
};

int slv_roster_open(const struct slv_roster_conf *conf, struct slv_roster **ret) SLV_MUST_USE;
void slv_roster_close(struct slv_roster *r);

const uint8_t *slv_roster_authority(const struct slv_roster *r);

/* A signed statement. *ret_id: whom it is about, where it is new (0: nothing has changed).
 * SLV_E_FORMAT; SLV_E_TRUST: it is not signed as it must be; SLV_E_NOENT: its invitation is not
 * known (yet); SLV_E_BUSY: that was used by another; SLV_E_LIMIT; SLV_E_NOMEM. */
int slv_roster_add(struct slv_roster *r, struct slv_str bytes, uint64_t *ret_id) SLV_MUST_USE;

/* What that would say, without adding it. */
int slv_roster_check(const struct slv_roster *r, struct slv_str bytes) SLV_MUST_USE;

/* Statements in the order of their keys, as bytes; good until the next addition. */
size_t slv_roster_count(const struct slv_roster *r);
struct slv_str slv_roster_at(const struct slv_roster *r, size_t i);
/* Of all of them: equal rosters have equal ones. */
void slv_roster_print(const struct slv_roster *r, uint8_t ret[16]);

/* About a node; NULL: nothing is said about it. Borrowed until the next addition. */
const struct slv_statement *slv_roster_find(const struct slv_roster *r, uint64_t id);
/* About a key: an invitation's too. */
const struct slv_statement *slv_roster_about(const struct slv_roster *r,
                                             const uint8_t key[SLV_ROSTER_KEY]);
/* About the key that this invitation named; NULL: none yet. */
const struct slv_statement *slv_roster_use(const struct slv_roster *r,
                                           const uint8_t invitation[SLV_ROSTER_KEY]);
/* Whether there is an invitation that can be used at `now` (s since 1970). */
bool slv_roster_is_open(const struct slv_roster *r, uint64_t now);
/* Whether it covers a key of a space; an empty name: all that there is. */
bool slv_statement_covers(const struct slv_statement *s, struct slv_str space, struct slv_str key);

#endif
