/* audit_writer.c: appends records to an audit log, for tests that kill it.
 * usage: audit_writer KEY LOG RECORDS THREADS record|interval|never SEGMENT_BYTES SIGN_EVERY
 * Writes the number of each record to standard output, one a line, once it is in the log. */
#include "trust/audit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct slv_audit *log_;
static long each;

static void *append(void *arg) {
    const char *name = arg;
    for (long i = 0; i < each; i++) {
        char id[40], line[32];
        uint64_t seq = 0;
        struct slv_err err = {0};
        snprintf(id, sizeof id, "%s-%ld", name, i);
        struct slv_audit_record r = {.id = id,
                                     .who = name,
                                     .model = "tiny",
                                     .prompt_tokens = 3,
                                     .output_tokens = (uint64_t)i,
                                     .ms = 1,
                                     .finish = "stop",
                                     .status = 200,
                                     .prompt = id,
                                     .prompt_n = strlen(id)};
        if (slv_audit_append(log_, &r, &seq, &err)) {
            fprintf(stderr, "%s\n", err.msg);
            return arg;
        }
        int n = snprintf(line, sizeof line, "%llu\n", (unsigned long long)seq);
        if (write(1, line, (size_t)n) != n) return arg;
    }
    return NULL;
}

int main(int argc, char **argv) {
    struct slv_key *key = NULL;
    struct slv_err err = {0};
    struct slv_audit_opts o = {0};
    pthread_t threads[64];
    char names[64][8];
    void *bad = NULL;
    if (argc != 8) return 2;
    long n = strtol(argv[4], NULL, 10);
    if (n < 1 || n > 64) return 2;
    each = strtol(argv[3], NULL, 10) / n;
    o.sync = !strcmp(argv[5], "record")     ? SLV_AUDIT_SYNC_RECORD
             : !strcmp(argv[5], "interval") ? SLV_AUDIT_SYNC_INTERVAL
                                            : SLV_AUDIT_SYNC_NEVER;
    o.segment_bytes = strtoull(argv[6], NULL, 10);
    o.sign_every = (uint32_t)strtoul(argv[7], NULL, 10);
    int rc = slv_key_open(argv[1], false, &key, &err);
    if (!rc) rc = slv_audit_open(argv[2], key, &o, &log_, &err);
    for (long i = 0; !rc && i < n; i++) {
        snprintf(names[i], sizeof names[i], "t%ld", i);
        if (pthread_create(&threads[i], NULL, append, names[i])) return 1;
    }
    for (long i = 0; !rc && i < n; i++) {
        void *why = NULL;
        pthread_join(threads[i], &why);
        bad = bad ? bad : why;
    }
    if (!rc) rc = slv_audit_close(log_, &err);
    if (rc) fprintf(stderr, "%s\n", err.msg);
    slv_key_close(key);
    return rc ? -rc : bad ? 1 : 0;
}
