/* store_int.h: what the files of the store room share. */
#ifndef SLV_STORE_STORE_INT_H
#define SLV_STORE_STORE_INT_H

#include "store/store.h"

#define SLV_STORE_RECORD_MAX ((size_t)1 << 20) /* bytes of a record on disk */
#define SLV_STORE_PATH_MAX 8192

struct slv_store {
    char *home;
};

/* A file that is complete and verified and waits in partial/ to become a blob. */
struct slv_store_staged {
    struct slv_store_file f;
    char *path; /* owned; NULL: the blob is there already */
    int fd;     /* open and locked with flock, so that nobody else takes it; -1 for none */
    bool seal;  /* ours alone: make it read-only once it is a blob */
};
void slv__store_staged_fini(struct slv_store_staged *s);

/* Makes the store's folders. */
int slv__store_make(struct slv_store *st, struct slv_err *err) SLV_MUST_USE;

/* The path HOME/FOLDER/NAME, owned by the caller (slv_mem_free); NULL when memory is out. */
char *slv__store_file(const struct slv_store *st, const char *folder,
                      const char *name) SLV_MUST_USE;
char *slv__store_blob(const struct slv_store *st, const char *sha256) SLV_MUST_USE;

/* Whether the blob is there with that size. */
bool slv__store_has(const struct slv_store *st, const char *sha256, uint64_t size);

/* Turns staged files into blobs and points the name at them, all under the store's lock. On
 * failure the staged files that have not become blobs stay in partial/. */
int slv__store_commit(struct slv_store *st, const char *name, const char *source,
                      struct slv_store_staged *files, size_t n, struct slv_err *err) SLV_MUST_USE;

/* The lock: exclusive, for changes to names and blobs. Held for moments, never while hashing. */
int slv__store_lock(struct slv_store *st, int *ret_fd, struct slv_err *err) SLV_MUST_USE;
void slv__store_unlock(int fd);

/* Records: JSON <-> struct. */
int slv__record_write(struct slv_store *st, const struct slv_store_model *m,
                      struct slv_err *err) SLV_MUST_USE;
int slv__record_read(const char *path, struct slv_arena *arena, struct slv_store_model *ret,
                     struct slv_err *err) SLV_MUST_USE;
/* The path of a name's record, owned by the caller; NULL when memory is out. */
char *slv__record_path(const struct slv_store *st, const char *name) SLV_MUST_USE;

/* A file's own name: 1 to SLV_STORE_FILE_MAX printable bytes, no '/', no leading '.'. */
bool slv__file_name_ok(const char *s);

/* "-00002-of-00003.gguf" at the end of s: fills in the numbers and the prefix's length. */
bool slv__split_name(const char *s, size_t *ret_prefix, unsigned *ret_no, unsigned *ret_n);

/* Whether fd begins as a GGUF file or a sealed one does; SLV_E_FORMAT "WHAT: not a GGUF file". */
int slv__check_magic(int fd, const char *what, struct slv_err *err) SLV_MUST_USE;

#endif
