/* pack.h: messages between nodes, made shorter with zstd and a dictionary that both have.
 *
 *     9 (one byte), then one frame of Zstandard up to the end, which says how long the message is
 *     and which dictionary it wants (SLV_PACK_DICT)
 *
 * Most of a small write is its signature, its hash and ids, which nothing makes shorter: what is
 * shorter than SLV_PACK_MIN goes as it is, and so does what an eighth less does not come of. What
 * is repaired has many writes or many entries in one message, and becomes half or a third.
 *
 * The dictionary, pack.dict, is a part of what is on the wire: another one has another id. It was
 * made of messages as bench/mesh/traffic.c writes them, by `bench_pack train`.
 *
 * What a peer can do. Its frame is looked at before anything is allocated for it, and no message is
 * longer than SLV_MESSAGE_MAX; a window does not cost memory, as a message is unpacked in one
 * piece. A packer takes some 500 kB, and where messages are longer than 64 KiB up to 600 kB and
 * SLV_MESSAGE_MAX each way.
 *
 * Invariants: what is unpacked is the whole message that was packed, or nothing; it is not packed
 * itself.
 *
 * Source: RFC 8878 (3.1.1: frames; 5: dictionaries). Threads: one at a time for a packer.
 */
#ifndef SLV_MESH_PACK_H
#define SLV_MESH_PACK_H

#include "base/str.h"
#include "selvage.h"

#include <stdint.h>

#define SLV_MSG_PACKED 9u    /* beside enum slv_mesh_kind (replica.h), in any lane */
#define SLV_PACK_DICT 40961u /* outside what RFC 8878 reserves */
#define SLV_PACK_MIN ((size_t)256)

struct slv_packer;

/* SLV_E_NOMEM. */
int slv_packer_open(struct slv_packer **ret) SLV_MUST_USE;
void slv_packer_close(struct slv_packer *p);

/* The message as it is to be sent: packed, and then the packer's until the next is packed; or
 * itself, where that is not worth it, or there is no memory. */
struct slv_str slv_pack(struct slv_packer *p, struct slv_str message);

static inline bool slv_is_packed(struct slv_str message) {
    return message.n && (uint8_t)message.p[0] == SLV_MSG_PACKED;
}

/* The message that was packed; the packer's until the next is unpacked. SLV_E_FORMAT: it is none
 * (another dictionary, too long, cut off, with something behind it, packed twice); SLV_E_NOMEM. */
int slv_unpack(struct slv_packer *p, struct slv_str packed, struct slv_str *ret) SLV_MUST_USE;

#endif
