/* audit_int.h: an open audit log, for what appends to it (audit.c) and what opens it
 * (audit_open.c). */
#ifndef SLV_TRUST_AUDIT_INT_H
#define SLV_TRUST_AUDIT_INT_H

#include "trust/audit.h"
#include "trust/audit_check.h"

#include <pthread.h>

struct slv_audit {
    char *log;                 /* its path */
    const struct slv_key *key; /* borrowed */
    struct slv_audit_opts o;   /* without zeros */
    uint8_t *hash_key;         /* slv_secret_alloc */
    char hash_key_id[SLV_KEYID_HEX], log_id[SLV_KEYID_HEX];
    int lock_fd; /* of LOG.hashkey */

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t synced_more, wake;
    int fd;
    uint64_t next; /* the next record's number */
    char prev[SLV_HEX(SLV_AUDIT_HASH)];
    uint64_t segment, bytes; /* of the newest segment */
    uint64_t not_signed;     /* records after the last signature */
    uint64_t signed_ns;      /* monotonic: when that was */
    uint64_t synced;         /* records before this one are on the disk */
    bool syncing;            /* a thread is at it, without the lock */
    struct slv_buf text;     /* lines to be written */
    struct slv_err broken;   /* code 0: not */
    bool stop;
    pthread_t thread;
};

/* With the lock held (or no other thread yet). Fills in number, time and prev, and adds the line to
 * a->text; a signature's sig too. */
int slv__audit_add(struct slv_audit *a, struct slv_audit_line *l, struct slv_err *err) SLV_MUST_USE;
int slv__audit_add_sign(struct slv_audit *a, const char *why, struct slv_err *err) SLV_MUST_USE;
/* Adds "open", with the key that signed last. */
int slv__audit_add_open(struct slv_audit *a, const char *key, struct slv_err *err) SLV_MUST_USE;
/* Writes a->text to the segment. */
int slv__audit_put(struct slv_audit *a, struct slv_err *err) SLV_MUST_USE;
/* Makes the newest segment's file from a->text. */
int slv__audit_make_segment(struct slv_audit *a, struct slv_err *err) SLV_MUST_USE;
/* The keyed hash of a prompt or an answer. */
void slv__audit_hash_text(const uint8_t key[32], bool answer, const void *p, size_t n,
                          char ret[SLV_HEX(SLV_AUDIT_HASH)]);
/* Reads LOG.hashkey, or makes it, and takes its lock: SLV_E_BUSY. */
int slv__audit_hash_key(struct slv_audit *a, struct slv_err *err) SLV_MUST_USE;
/* Finds where the log stands, puts right what a killed process left, and opens it. */
int slv__audit_resume(struct slv_audit *a, struct slv_err *err) SLV_MUST_USE;

#endif
