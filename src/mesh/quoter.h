/* quoter.h: evidence (trust/attest.h) for a node of the mesh. Of this machine it is made by a
 * thread of its own: a TPM takes up to seconds, and the loop of a node must not wait for it. That
 * of others is judged at once: a signature, and digests to compare.
 *
 *     loop    slv_quoter_ask --> thread: the TPM signs --> slv_quoter_fd is readable
 *             slv_quoter_done <-------------------------'
 *
 * One thing is asked at a time; what is asked while another is under way takes the place of what
 * waits. Each that was begun comes out of slv_quoter_done.
 *
 * Threads: one calls; a second one asks the TPM.
 */
#ifndef SLV_MESH_QUOTER_H
#define SLV_MESH_QUOTER_H

#include "mesh/roster.h"
#include "trust/attest.h"

struct slv_quoter;

/* Measures this program and the policy, which asks the TPM and waits for it: before there is a
 * loop. `tpm` is borrowed; NULL: this machine's. node: the key in whose name it speaks. As
 * slv_attest_open. */
int slv_quoter_open(const struct slv_tpm_quoter *tpm, struct slv_str policy,
                    const uint8_t node[SLV_PUB_BYTES], struct slv_quoter **ret,
                    struct slv_err *err) SLV_MUST_USE;
/* Waits for what is under way. */
void slv_quoter_close(struct slv_quoter *q);

/* The digests that were measured, and the attestation key: as opened, and good until the close. */
const struct slv_attest_self *slv_quoter_self(const struct slv_quoter *q);

void slv_quoter_ask(struct slv_quoter *q, uint64_t peer, const uint8_t nonce[SLV_ATTEST_NONCE]);

/* Readable when slv_quoter_done has something. The quoter's. */
int slv_quoter_fd(const struct slv_quoter *q);

/* What came of one. `evidence` is borrowed until the next slv_quoter_done or close; it is empty,
 * and `why` a line, where the TPM has failed. */
struct slv_quoter_answer {
    uint64_t peer;
    uint8_t nonce[SLV_ATTEST_NONCE];
    struct slv_str evidence;
    const char *why;
};
/* False: nothing is done. */
bool slv_quoter_done(struct slv_quoter *q, struct slv_quoter_answer *ret);

/* Whether evidence is that of the node with this key, for this nonce, and as a condition wants it.
 * As slv_attest_verify. Threads: any. */
int slv_quoter_judge(const uint8_t key[SLV_PUB_BYTES], const uint8_t nonce[SLV_ATTEST_NONCE],
                     struct slv_str evidence, const struct slv_condition *c,
                     struct slv_err *err) SLV_MUST_USE;

#endif
