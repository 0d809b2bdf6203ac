/* spill.c: see spill.h. */
#define _GNU_SOURCE /* O_TMPFILE */
#include "trust/spill.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "trust/aead.h"
#include "trust/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK ((uint64_t)65536)
#define CHUNKS_MAX ((uint64_t)1 << 26) /* 4 TiB */
#define RECORDS_MAX ((size_t)1 << 24)
#define RECORD_MAX ((size_t)1 << 30)

struct record {
    uint64_t nonce;
    uint32_t chunk, n_chunks; /* n_chunks 0: not in use */
    uint32_t next;            /* of those not in use */
    uint32_t n;               /* bytes, without the tag */
};

struct slv_spill_file {
    pthread_mutex_t lock;
    int fd;
    struct slv_aead *aead;            /* NULL: nothing was put yet */
    uint64_t n_sealed;                /* records so far: the next nonce */
    uint8_t *taken;                   /* [n_chunks / 8]: a bit for each chunk */
    uint32_t n_chunks, n_taken, from; /* from: where the search for free ones goes on */
    struct record *record;            /* [n_records] */
    size_t n_records, room;
    uint32_t free;  /* the first record not in use, n_records: none */
    uint8_t *bytes; /* [n_bytes]: a record with its tag */
    size_t n_bytes;
    bool told[2]; /* of writing, of reading */
};

/* --- opening ---------------------------------------------------------------------------------- */

/* A file without a name; some file systems make one only by taking it away. */
static int open_nameless(const char *folder, struct slv_err *err) {
    char path[4096];
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, S_IRUSR | S_IWUSR);
    if (fd >= 0) return fd;
    const int why = errno;
    int n = snprintf(path, sizeof path, "%s/.spill-XXXXXX", folder);
    if ((why == EOPNOTSUPP || why == EISDIR || why == EINVAL) && n < (int)sizeof path)
        fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) unlink(path);
    if (fd < 0)
        slv_err_set(err, why == ENOENT ? SLV_E_NOENT : SLV_E_IO, "%s: %s", folder, strerror(why));
    return fd;
}

/* A key of its own, which nothing else has: not even a process that was forked before. */
static int open_key(struct slv_spill_file *f) {
    if (f->aead) return 0;
    uint8_t *key = slv_secret_alloc(SLV_AEAD_KEY);
    if (!key) return SLV_E_NOMEM;
    randombytes_buf(key, SLV_AEAD_KEY);
    int rc = slv_aead_open(key, &f->aead, NULL);
    slv_secret_free(key, SLV_AEAD_KEY);
    return rc;
}

int slv_spill_open(const char *folder, uint64_t most, struct slv_spill_file **ret,
                   struct slv_err *err) {
    int rc = slv_trust_init(err);
    const uint64_t chunks = most / CHUNK;
    if (rc) return rc;
    if (!chunks || chunks > CHUNKS_MAX)
        return slv_err_set(err, SLV_E_USAGE, "a spill has %llu KiB to %llu GiB",
                           (unsigned long long)(CHUNK >> 10),
                           (unsigned long long)(CHUNKS_MAX * CHUNK >> 30));
    struct slv_spill_file *f = slv_mem_calloc(1, sizeof *f);
    if (!f) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    pthread_mutex_init(&f->lock, NULL);
    f->n_chunks = (uint32_t)chunks;
    f->fd = open_nameless(folder, err);
    if (f->fd < 0) rc = err ? err->code : SLV_E_IO;
    f->taken = slv_mem_calloc((chunks + 7) / 8, 1);
    if (!rc && !f->taken) rc = slv_err_set(err, SLV_E_NOMEM, "out of memory");
    if (!rc) *ret = f;
    else slv_spill_close(f);
    return rc;
}

void slv_spill_close(struct slv_spill_file *f) {
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    slv_aead_close(f->aead);
    if (f->bytes) sodium_memzero(f->bytes, f->n_bytes);
    slv_mem_free(f->bytes);
    slv_mem_free(f->record);
    slv_mem_free(f->taken);
    pthread_mutex_destroy(&f->lock);
    slv_mem_free(f);
}

void slv_spill_usage(struct slv_spill_file *f, uint64_t *ret_used, uint64_t *ret_most) {
    pthread_mutex_lock(&f->lock);
    *ret_used = f->n_taken * CHUNK;
    *ret_most = f->n_chunks * CHUNK;
    pthread_mutex_unlock(&f->lock);
}

/* --- chunks and records; the lock is held ----------------------------------------------------- */

static bool is_taken(const struct slv_spill_file *f, uint32_t i) {
    return f->taken[i / 8] >> i % 8 & 1;
}

static void mark(struct slv_spill_file *f, uint32_t first, uint32_t n, bool taken) {
    for (uint32_t i = first; i < first + n; i++) {
        const uint8_t bit = (uint8_t)(1 << i % 8);
        f->taken[i / 8] = (uint8_t)(taken ? f->taken[i / 8] | bit : f->taken[i / 8] & ~bit);
    }
    f->n_taken += taken ? n : (uint32_t)-n;
}

/* The first run of n free chunks from `from` on, up to `end`; end: there is none. */
static uint32_t find_run(const struct slv_spill_file *f, uint32_t from, uint32_t end, uint32_t n) {
    uint32_t run = 0;
    for (uint32_t i = from; i < end; i++) {
        run = is_taken(f, i) ? 0 : run + 1;
        if (run == n) return i + 1 - n;
    }
    return end;
}

static int take_chunks(struct slv_spill_file *f, uint32_t n, uint32_t *ret) {
    if (n > f->n_chunks - f->n_taken) return SLV_E_LIMIT;
    uint32_t at = find_run(f, f->from, f->n_chunks, n);
    if (at == f->n_chunks) at = find_run(f, 0, f->n_chunks, n);
    if (at == f->n_chunks) return SLV_E_LIMIT;
    mark(f, at, n, true);
    f->from = at + n;
    *ret = at;
    return 0;
}

static int take_record(struct slv_spill_file *f, uint32_t *ret) {
    void *p = f->record;
    if (f->free == f->n_records) {
        int rc = slv_mem_grow(&p, f->n_records, &f->room, sizeof *f->record, RECORDS_MAX);
        if (rc) return rc;
        f->record = p;
        f->record[f->n_records++] = (struct record){.next = f->free + 1};
    }
    *ret = f->free;
    f->free = f->record[*ret].next;
    return 0;
}

static void give_back(struct slv_spill_file *f, uint32_t at) {
    struct record *r = &f->record[at];
    mark(f, r->chunk, r->n_chunks, false);
    *r = (struct record){.next = f->free};
    f->free = at;
    if (f->n_taken) return;
    f->from = 0;
    if (ftruncate(f->fd, 0)) return; /* it stays as large as it was: the disk has it already */
}

static int room_for(struct slv_spill_file *f, size_t n) {
    if (n <= f->n_bytes) return 0;
    uint8_t *p = slv_mem_alloc(n);
    if (!p) return SLV_E_NOMEM;
    if (f->bytes) sodium_memzero(f->bytes, f->n_bytes);
    slv_mem_free(f->bytes);
    f->bytes = p;
    f->n_bytes = n;
    return 0;
}

static int tell(struct slv_spill_file *f, int rc, bool reads, const char *why) {
    if (!f->told[reads])
        slv_log(SLV_LOG_WARN, "spill: cannot %s: %s; what waits is computed again",
                reads ? "read" : "write", why);
    f->told[reads] = true;
    return rc;
}

static bool write_at(int fd, const uint8_t *p, size_t n, uint64_t at) {
    while (n) {
        ssize_t k = pwrite(fd, p, n, (off_t)at);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return false;
        p += k;
        n -= (size_t)k;
        at += (uint64_t)k;
    }
    return true;
}

/* --- what batches call ------------------------------------------------------------------------ */

static int put(struct slv_spill_file *f, const void *page, size_t n, uint32_t *ret) {
    uint32_t at = 0;
    int rc = n && n <= RECORD_MAX ? room_for(f, n + SLV_AEAD_TAG) : SLV_E_LIMIT;
    if (!rc) rc = open_key(f);
    if (!rc) rc = take_record(f, &at);
    if (rc) return rc;
    struct record *r = &f->record[at];
    const uint32_t n_chunks = (uint32_t)((n + SLV_AEAD_TAG + CHUNK - 1) / CHUNK);
    rc = take_chunks(f, n_chunks, &r->chunk);
    if (rc) {
        r->next = f->free;
        f->free = at;
        return rc;
    }
    r->n_chunks = n_chunks;
    r->n = (uint32_t)n;
    r->nonce = f->n_sealed++;
    memcpy(f->bytes, page, n);
    rc = slv_aead_seal(f->aead, r->nonce, true, f->bytes, n);
    if (!rc && !write_at(f->fd, f->bytes, n + SLV_AEAD_TAG, r->chunk * CHUNK))
        rc = tell(f, SLV_E_IO, false, strerror(errno));
    if (rc) give_back(f, at);
    else *ret = at;
    return rc;
}

static int get(struct slv_spill_file *f, uint64_t at, void *page, size_t n) {
    const struct record *r = at < f->n_records ? &f->record[at] : NULL;
    size_t got = 0;
    if (!r || !r->n_chunks || r->n != n) return SLV_E_USAGE;
    if (!slv_fd_read_at(f->fd, f->bytes, n + SLV_AEAD_TAG, r->chunk * CHUNK, &got))
        return tell(f, SLV_E_IO, true, strerror(errno));
    int rc = got < n + SLV_AEAD_TAG ? SLV_E_TRUST
                                    : slv_aead_unseal(f->aead, r->nonce, true, f->bytes, n);
    if (rc == SLV_E_TRUST) return tell(f, rc, true, "the file is not as it was written");
    if (!rc) memcpy(page, f->bytes, n);
    return rc;
}

static int spill_put(void *ctx, const void *page, size_t n, uint64_t *ret_at) {
    struct slv_spill_file *f = ctx;
    uint32_t at = 0;
    pthread_mutex_lock(&f->lock);
    int rc = put(f, page, n, &at);
    pthread_mutex_unlock(&f->lock);
    if (!rc) *ret_at = at;
    return rc;
}

static int spill_get(void *ctx, uint64_t at, void *page, size_t n) {
    struct slv_spill_file *f = ctx;
    pthread_mutex_lock(&f->lock);
    int rc = get(f, at, page, n);
    pthread_mutex_unlock(&f->lock);
    return rc;
}

static void spill_drop(void *ctx, uint64_t at) {
    struct slv_spill_file *f = ctx;
    pthread_mutex_lock(&f->lock);
    if (at < f->n_records && f->record[at].n_chunks) give_back(f, (uint32_t)at);
    pthread_mutex_unlock(&f->lock);
}

struct slv_spill slv_spill_of(struct slv_spill_file *f) {
    return (struct slv_spill){.put = spill_put, .get = spill_get, .drop = spill_drop, .ctx = f};
}
