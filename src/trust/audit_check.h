/* audit_check.h: whether an audit log is what was written (audit.h says how it is kept).
 *
 * The checker goes over records one by one and stops at the first that is wrong, with its number
 * and why: not a record; missing, out of order or twice (sequence numbers); changed (the next
 * record's hash of it); signed by a key that is not trusted, or not signed by it; of another log or
 * segment; and, with checkpoints, cut off or replaced as a whole.
 *
 * What nothing vouches for yet: records after the last signature. They are counted (`not_signed`);
 * whoever can write the file can change those, but not the ones before. A log that was closed ends
 * in a signature. A log that was cut right after a signature looks whole: only a checkpoint that
 * was kept elsewhere shows that it went on. */
#ifndef SLV_TRUST_AUDIT_CHECK_H
#define SLV_TRUST_AUDIT_CHECK_H

#include "trust/audit_line.h"

#define SLV_AUDIT_CHECKPOINTS_MAX 10000

struct slv_audit_check {
    /* In: keys whose signatures count (borrowed). Records of keys that follow them add theirs. */
    const struct slv_pubs *trusted;
    bool from_any; /* it may begin at any segment: what was before is not there */

    /* Out: where it stands. */
    uint64_t next;                      /* the next record's number */
    char hash[SLV_HEX(SLV_AUDIT_HASH)]; /* of the last record */
    char log[SLV_KEYID_HEX];
    char key[SLV_KEYID_HEX];      /* that signs */
    char hash_key[SLV_KEYID_HEX]; /* of the prompts' hashes */
    uint64_t first_segment, segment;
    uint64_t first, records, requests, signatures, not_signed, torn;
    uint64_t tail; /* bytes at the end that are no whole record */
    char begun[SLV_AUDIT_TIME], ended[SLV_AUDIT_TIME]; /* of the first and the last record */
    bool closed;  /* the last record is the signature of a closed log */
    uint64_t bad; /* the number of the record that is wrong */

    /* Its own. */
    enum slv_audit_type last;
    bool opening; /* a segment has begun, and its first signature has not come yet */
    struct slv_pubs followed;
    struct slv_audit_line *checkpoints;
    size_t n_checkpoints, checkpoints_cap;
};

void slv_audit_check_init(struct slv_audit_check *c, const struct slv_pubs *trusted);
void slv_audit_check_fini(struct slv_audit_check *c);

/* Adds lines of `audit checkpoint`, which must be signed by a trusted key, before the log is gone
 * over. SLV_E_FORMAT, SLV_E_TRUST, SLV_E_LIMIT. `what` names them in messages. */
int slv_audit_check_add(struct slv_audit_check *c, const char *text, size_t n, const char *what,
                        struct slv_err *err) SLV_MUST_USE;

/* Goes over one segment's bytes. The log's newest segment may end in a piece of a record (`tail`);
 * an older one may not. SLV_E_TRUST "record 17: WHY"; SLV_E_FORMAT: the first line is no audit
 * log's; SLV_E_NOMEM. */
int slv_audit_check_segment(struct slv_audit_check *c, const char *p, size_t n, bool newest,
                            struct slv_err *err) SLV_MUST_USE;

/* After the last: whether all checkpoints were met. */
int slv_audit_check_end(struct slv_audit_check *c, struct slv_err *err) SLV_MUST_USE;

/* How many of the n bytes of a newest segment are whole lines: what a process that was killed, or a
 * machine that lost power, has left after them has no line feed, or bytes of zero. */
size_t slv_audit_whole(const char *p, size_t n);

/* --- files ------------------------------------------------------------------------------------ */

#define SLV_AUDIT_SEGMENTS_MAX 1000000

/* The path of a finished segment: LOG.000017. */
int slv_audit_segment_path(const char *log, uint64_t segment, struct slv_buf *ret) SLV_MUST_USE;

/* All segments of a log from `from` on, and the newest. SLV_E_NOENT: there is none. */
int slv_audit_check_files(struct slv_audit_check *c, const char *log, uint64_t from,
                          struct slv_err *err) SLV_MUST_USE;

#endif
