/* invite.h: an invitation as a line of text, to be handed to who will join: "selvage-invite-" and
 * base64url (RFC 4648, 5) of
 *
 *     version (1), the mesh's name, the authority's key (32), the secret of the invitation's key
 *     (32), how many, of each: the key of a member (32), its address
 *
 * Whoever has the line may join, once: it is to be kept like a password until then. Threads: any.
 */
#ifndef SLV_MESH_INVITE_H
#define SLV_MESH_INVITE_H

#include "base/err.h"
#include "mesh/roster.h"

#define SLV_INVITE_MARK "selvage-invite-"
#define SLV_INVITE_SEED 32u
#define SLV_INVITE_PEERS_MAX 16u
#define SLV_INVITE_ADDRESS_MAX 128u

struct slv_invite_peer {
    uint8_t key[SLV_ROSTER_KEY];
    char address[SLV_INVITE_ADDRESS_MAX + 1];
};

struct slv_invite {
    char mesh[SLV_ROSTER_NAME_MAX + 1];
    uint8_t authority[SLV_ROSTER_KEY];
    uint8_t seed[SLV_INVITE_SEED]; /* secret */
    size_t n_peer;
    struct slv_invite_peer peer[SLV_INVITE_PEERS_MAX];
};

/* Draws the secret; *ret_key is the invitation's key, for the authority's statement. */
void slv_invite_draw(struct slv_invite *i, uint8_t ret_key[SLV_ROSTER_KEY]);
/* Of an invitation that was read. */
void slv_invite_key(const struct slv_invite *i, uint8_t ret_key[SLV_ROSTER_KEY]);
/* Appends the line. b's status. */
int slv_invite_write(const struct slv_invite *i, struct slv_buf *b) SLV_MUST_USE;
/* SLV_E_FORMAT with one line. */
int slv_invite_read(struct slv_str line, struct slv_invite *ret, struct slv_err *err) SLV_MUST_USE;
/* The signed statement that names a key as the member. SLV_E_LIMIT, SLV_E_NOMEM. */
int slv_invite_use(const struct slv_invite *i, const uint8_t key[SLV_ROSTER_KEY],
                   struct slv_str name, struct slv_buf *ret) SLV_MUST_USE;

#endif
