/* audit.h: the audit log: who asked which model, when, and how much; never what.
 *
 *     LOG             the newest segment: a record a line (audit_line.h), only ever appended to
 *     LOG.000000 ..   segments that are finished; the numbers of records go on through all of them
 *     LOG.hashkey     what prompts and answers are hashed with (BLAKE2b-256, keyed); owner only;
 *                     locked by the process that writes the log
 *     LOG.torn-17     bytes of a record that was never finished; record 17 says so
 *
 * Invariants:
 *   1. Each record has the BLAKE2b-256 of the line before it, across segments: one that is changed,
 *      missing, moved or repeated breaks the chain (audit_check.h).
 *   2. A segment begins with an "open" record and a signature and ends, when it is finished, in a
 *      signature; it appears by rename when the first two are there. A signature follows after
 *      sign_every records or sign_s seconds, and when the log is closed.
 *   3. Bytes are appended with their line feed by one write. What a killed process leaves is whole
 *      records and at most a piece of one, which the next opening moves aside and records.
 *   4. After a write or a sync that failed no record is taken any more: the error stays.
 *
 * When slv_audit_append returns, the record is on the disk (SLV_AUDIT_SYNC_RECORD: threads that
 * append at once share a sync), or will be within sync_ms (.._INTERVAL), or when the system likes
 * (.._NEVER). A killed process loses nothing in any case; a power cut may.
 *
 * The prompt's and the answer's hash are keyed, and differently: without the key nobody can try
 * prompts against them, with it one can show that a prompt was, or was not, the one asked. */
#ifndef SLV_TRUST_AUDIT_H
#define SLV_TRUST_AUDIT_H

#include "base/clock.h"
#include "trust/key.h"

#define SLV_AUDIT_HASHKEY_SUFFIX ".hashkey"

enum slv_audit_sync { SLV_AUDIT_SYNC_RECORD, SLV_AUDIT_SYNC_INTERVAL, SLV_AUDIT_SYNC_NEVER };

/* All zeros is a good default. */
struct slv_audit_opts {
    enum slv_audit_sync sync;
    uint32_t sync_ms;              /* of SYNC_INTERVAL; 0: 1000 */
    uint32_t sign_every;           /* records; 0: 64 */
    uint32_t sign_s;               /* seconds; 0: 10 */
    uint64_t segment_bytes;        /* a segment that has become so long is finished; 0: 64 MiB */
    const struct slv_clock *clock; /* NULL: the machine's */
};

/* One answer. Texts may be NULL; of what is longer than 200 bytes the rest is left out. */
struct slv_audit_record {
    const char *id;    /* of the request */
    const char *who;   /* id of the API key */
    const char *model; /* as it was asked for */
    uint64_t prompt_tokens, output_tokens;
    uint64_t ms;
    const char *finish; /* "stop", "length", .. */
    uint32_t status;    /* as of HTTP */
    const void *prompt; /* hashed, not kept */
    size_t prompt_n;
    const void *answer;
    size_t answer_n;
};

struct slv_audit;

/* Opens a log for appending, or makes one; key is borrowed until it is closed. The newest segment
 * is checked first: SLV_E_TRUST: it is not what was written, or was signed by a key that this one
 * does not follow. SLV_E_BUSY: another process has it open. SLV_E_IO, SLV_E_NOMEM, SLV_E_FORMAT
 * (another file is there). */
int slv_audit_open(const char *log, const struct slv_key *key, const struct slv_audit_opts *opts,
                   struct slv_audit **ret, struct slv_err *err) SLV_MUST_USE;

/* *ret_seq (may be NULL): the record's number. SLV_E_IO: it is not in the log, and no more will be;
 * SLV_E_NOMEM: it is not in the log. Threads: any. */
int slv_audit_append(struct slv_audit *a, const struct slv_audit_record *r, uint64_t *ret_seq,
                     struct slv_err *err) SLV_MUST_USE;

/* Signs and syncs what there is now, as at any time it may. Threads: any. */
int slv_audit_sign(struct slv_audit *a, struct slv_err *err) SLV_MUST_USE;

/* Where it is, as it was opened. */
const char *slv_audit_path(const struct slv_audit *a);

/* Signs, syncs and closes, also after an error, which is then returned once more. NULL is no error.
 * No other thread may use the log any more. */
int slv_audit_close(struct slv_audit *a, struct slv_err *err);

/* The hash of a prompt (or an answer) under a log's key, as records have it. SLV_E_TRUST and as
 * slv_secret_read. */
int slv_audit_hash(const char *log, bool answer, const void *p, size_t n, char ret[65],
                   struct slv_err *err) SLV_MUST_USE;

/* Appends a checkpoint and a line feed: a signed line which says what a log's last record is, to be
 * kept where whoever can write the log cannot. The log is checked first, from segment `from` on. */
int slv_audit_checkpoint(const char *log, uint64_t from, const struct slv_key *key,
                         struct slv_buf *ret, struct slv_err *err) SLV_MUST_USE;

#endif
