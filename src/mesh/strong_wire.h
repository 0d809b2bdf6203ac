/* strong_wire.h: what members of a group say to each other, and the records that they keep, as
 * bytes. All of it canonical (wire.h): one form, anything else is refused.
 *
 *     message: version (1), kind, then by kind
 *       VOTE          term, last index, last term, flags (1: before the vote, 2: by transfer)
 *       VOTE_RESULT   term, flags (1: granted, 2: before the vote)
 *       APPEND        term, previous index and term, commit index, how many, entries
 *       APPEND_RESULT term, last index, rejected index or 0
 *       TIMEOUT_NOW   term, last index, last term
 *       PIECE         term, index, its term, index of members, at, members, size in all, bytes
 *       PIECE_RESULT  index, its term, what is wanted: all before it is there
 *       CALL          flags (1: handed on), number, command
 *       ANSWER        number, status, index, version, hint, value
 *       DAMAGED       nonce                 READMIT term, index, nonce
 *     entry:   term, type (1 command, 3 members), length, payload
 *     members: how many, of each id (8) and role (1 spare, 2 learner, 3 voter)
 *     records: "T" term, vote (8)            "L" index (8) -> entry
 *              "H" index, its term, index of members, members, size
 *              "P" number (8) -> bytes of the snapshot
 *              "Q" 1: damaged | 2: fresh, and votes for nobody until it has applied this index
 */
#ifndef SLV_MESH_STRONG_WIRE_H
#define SLV_MESH_STRONG_WIRE_H

#include "mesh/strong_state.h"

#define STRONG_WIRE_VERSION 1u
#define STRONG_ENTRIES_MAX 1024u                 /* of a message */
#define STRONG_ENTRIES_BYTES ((size_t)512 << 10) /* behind which no other is added */
#define STRONG_COMMAND_MAX (2 * SLV_STRONG_VALUE_MAX + SLV_STRONG_KEY_MAX + 64)
#define STRONG_TERM_MAX (((uint64_t)1 << 48) - 1)

enum strong_kind_of_message {
    STRONG_VOTE = 1,
    STRONG_VOTE_RESULT,
    STRONG_APPEND,
    STRONG_APPEND_RESULT,
    STRONG_TIMEOUT_NOW,
    STRONG_PIECE,
    STRONG_PIECE_RESULT,
    STRONG_CALL,
    STRONG_ANSWER,
    STRONG_DAMAGED,
    STRONG_READMIT,
    STRONG_MESSAGES
};

enum { STRONG_COMMAND = 1, STRONG_MEMBERS = 3 }; /* as libraft's types of entries */

struct strong_members {
    uint32_t n;
    struct {
        uint64_t id;
        enum slv_strong_role role;
    } v[SLV_STRONG_MEMBERS_MAX];
};

struct strong_entry {
    uint64_t term;
    unsigned type;
    struct slv_str payload;
};

struct strong_msg {
    enum strong_kind_of_message kind;
    uint64_t term, index, index_term; /* of APPEND those before */
    uint64_t commit, size, at;
    unsigned flags, n;
    uint64_t number; /* nonce, number of a call */
    struct strong_members members;
    struct slv_str bytes; /* entries, a piece; borrowed */
    struct slv_strong_command command;
    struct slv_strong_result result;
};

void strong_members_write(const struct strong_members *m, struct slv_buf *b);
bool strong_members_read(struct slv_reader *r, struct strong_members *ret) SLV_MUST_USE;

/* A payload that says nothing wrong is one too: what it commands, or who is a member. */
void strong_entry_write(const struct strong_entry *e, struct slv_buf *b);
bool strong_entry_read(struct slv_reader *r, struct strong_entry *ret) SLV_MUST_USE;

void strong_msg_write(const struct strong_msg *m, struct slv_buf *b);
/* False: refused. Of entries each was read, their terms do not go back nor beyond the message's. */
bool strong_msg_read(struct slv_str bytes, struct strong_msg *ret) SLV_MUST_USE;

#endif
