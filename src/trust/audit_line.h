/* audit_line.h: one record of an audit log as a line of JSON, and back.
 *
 * There is one way to write each record: members in the order of audit_line.c's table, no spaces,
 * numbers without leading zeros, strings with the escapes of base/json.h. A line that is not, to
 * the byte, what its own content would be written as is no record.
 *
 *     {"seq":0,"time":"2026-11-28T12:23:24.512Z","type":"open","version":1,"log":"..",..
 *
 * type        says
 * open        a segment begins: which log, which segment, which keys
 * start       the log was opened again; how many records before it are not signed
 * request     one answer, for whom, by what, how long; keyed hashes of prompt and answer
 * sign        a signature of all records so far; why now
 * key         the key that signs from here on, signed by the one before (pub.h)
 * torn        so many bytes of a record that was never finished were moved aside, to LOG.torn-SEQ
 * checkpoint  not of the log: a signed line that says what record stood where */
#ifndef SLV_TRUST_AUDIT_LINE_H
#define SLV_TRUST_AUDIT_LINE_H

#include "trust/pub.h"

#define SLV_AUDIT_LINE_MAX ((size_t)16384)
#define SLV_AUDIT_TEXT_MAX 200 /* bytes of a text that a record is given; what is longer is cut */
#define SLV_AUDIT_HASH 32
#define SLV_AUDIT_VERSION 1

enum slv_audit_type {
    SLV_AUDIT_OPEN = 1 << 0,
    SLV_AUDIT_START = 1 << 1,
    SLV_AUDIT_REQUEST = 1 << 2,
    SLV_AUDIT_SIGN = 1 << 3,
    SLV_AUDIT_KEY = 1 << 4,
    SLV_AUDIT_TORN = 1 << 5,
    SLV_AUDIT_CHECKPOINT = 1 << 6,
};

/* "2026-11-28T12:23:24.512Z" and a NUL. */
#define SLV_AUDIT_TIME 25
typedef char slv_audit_text[3 * SLV_AUDIT_TEXT_MAX + 1]; /* valid UTF-8 */

/* Members that a type does not have are zero. Digests, keys and signatures are hexadecimal. */
struct slv_audit_line {
    enum slv_audit_type type;
    uint64_t seq, version, segment, not_signed, created, bytes;
    uint64_t prompt_tokens, output_tokens, ms, status;
    char time[SLV_AUDIT_TIME];
    char log[SLV_KEYID_HEX], key[SLV_KEYID_HEX], hash_key[SLV_KEYID_HEX];
    char public[SLV_HEX(SLV_PUB_BYTES)], signed_by[SLV_HEX(SLV_SIG_BYTES)];
    char prompt_hash[SLV_HEX(SLV_AUDIT_HASH)], answer_hash[SLV_HEX(SLV_AUDIT_HASH)];
    char hash[SLV_HEX(SLV_AUDIT_HASH)], prev[SLV_HEX(SLV_AUDIT_HASH)], sig[SLV_HEX(SLV_SIG_BYTES)];
    slv_audit_text id, who, model, finish, why;
};

/* Appends the line, without a line feed. */
int slv_audit_line_write(const struct slv_audit_line *l, struct slv_buf *out) SLV_MUST_USE;
/* Whether s[0..n), without its line feed, is a record. */
bool slv_audit_line_read(const char *s, size_t n, struct slv_audit_line *ret) SLV_MUST_USE;

/* Appends what a line's signature is of: a name for that use, and all of the line before "sig". */
int slv_audit_line_signed(const struct slv_audit_line *l, struct slv_buf *out) SLV_MUST_USE;

/* BLAKE2b-256 of a line, without its line feed. */
void slv_audit_line_hash(const char *s, size_t n, char ret[SLV_HEX(SLV_AUDIT_HASH)]);

/* At most SLV_AUDIT_TEXT_MAX bytes of a text (NULL: none), repaired where it is no UTF-8. */
void slv_audit_line_text(slv_audit_text ret, const char *s);
/* Nanoseconds since 1970 as a record has them. */
void slv_audit_line_time(char ret[SLV_AUDIT_TIME], uint64_t ns);

/* "request". */
const char *slv_audit_type_name(enum slv_audit_type t);

#endif
