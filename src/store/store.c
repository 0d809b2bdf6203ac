/* store.c: the local store's layout on disk, its lock, and what may be trusted when.
 *
 *     HOME/lock                  flock'd exclusively while names or blobs change
 *     HOME/names/<digest>.json   one record a name (record.c)
 *     HOME/blobs/sha256-<hex>    files, complete, verified, read-only; the name is the digest
 *     HOME/sets/<digest>/        split sets: links to blobs under the parts' own names
 *     HOME/partial/              downloads and imports in progress (download.c, import.c)
 *
 * Invariants:
 *   1. A blob's content has the digest it is named by. It gets there only by rename of a file in
 *      partial/ that has been written, synced and hashed.
 *   2. A record is written after the blobs it names, and blobs that a record names are removed
 *      after the record; both under the lock. So whatever process is killed, and when, every record
 *      is whole and its blobs are there. What may be left over: a blob or a set without a record,
 *      a side file without its download (dropped by collect(), at the end of every change), and
 *      files in partial/ (resumed, or removed by slv_store_clean).
 *   3. A file in partial/ is flock'd by the process that works on it, so that two pulls of one file
 *      make one download, and cleaning touches nothing that is alive.
 *   4. Temporary files of slv_file_write in names/ are made under the lock only: one that is seen
 *      under the lock belongs to a process that was killed, and is removed.
 *
 * Readers take no lock: records are replaced by rename, and an open or mapped blob outlives its
 * removal. */
#include "store/store_int.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const folders[] = {"names", "blobs", "sets", "partial"};

/* --- paths ------------------------------------------------------------------------------------ */

static int default_home(struct slv_buf *home, struct slv_err *err) {
    const char *own = getenv("SELVAGE_HOME"), *data = getenv("XDG_DATA_HOME"),
               *user = getenv("HOME");
    if (own && *own) slv_buf_adds(home, own);
    else if (data && *data == '/') slv_buf_addf(home, "%s/selvage", data);
    else if (user && *user == '/') slv_buf_addf(home, "%s/.local/share/selvage", user);
    else
        return slv_err_set(err, SLV_E_USAGE,
                           "store: no folder: neither SELVAGE_HOME nor HOME is set");
    return 0;
}

int slv_store_open(const char *home, struct slv_store **ret, struct slv_err *err) {
    struct slv_buf path;
    slv_buf_init(&path, SLV_STORE_PATH_MAX - 512);
    int rc = 0;
    if (home) slv_buf_adds(&path, home);
    else rc = default_home(&path, err);
    while (path.len > 1 && path.data[path.len - 1] == '/')
        path.data[--path.len] = '\0';
    if (!rc && path.status)
        rc = slv_err_set(err, path.status, "store: path: %s", slv_strerror(path.status));
    struct slv_store *st = rc ? NULL : slv_mem_calloc(1, sizeof *st);
    if (st) st->home = slv_buf_take(&path, NULL);
    if (!rc && (!st || !st->home)) rc = slv_err_set(err, SLV_E_NOMEM, "store: out of memory");
    slv_buf_fini(&path);
    if (rc) slv_store_close(st);
    else *ret = st;
    return rc;
}

void slv_store_close(struct slv_store *st) {
    if (!st) return;
    slv_mem_free(st->home);
    slv_mem_free(st);
}

const char *slv_store_home(const struct slv_store *st) { return st->home; }

char *slv__store_file(const struct slv_store *st, const char *folder, const char *name) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_STORE_PATH_MAX);
    slv_buf_addf(&b, "%s/%s%s%s", st->home, folder, *name ? "/" : "", name);
    char *path = slv_buf_take(&b, NULL);
    slv_buf_fini(&b);
    return path;
}

char *slv__store_blob(const struct slv_store *st, const char *sha256) {
    char name[SLV_SHA256_HEX + 8];
    snprintf(name, sizeof name, "sha256-%s", sha256);
    return slv__store_file(st, "blobs", name);
}

static int nomem(struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOMEM, "store: out of memory");
}

static int os_error(const char *path, struct slv_err *err) {
    return slv_err_set(err, errno == ENOENT ? SLV_E_NOENT : SLV_E_IO, "%s: %s", path,
                       strerror(errno));
}

bool slv__store_has(const struct slv_store *st, const char *sha256, uint64_t size) {
    struct stat s;
    char *path = slv__store_blob(st, sha256);
    bool has = path && !stat(path, &s) && S_ISREG(s.st_mode) && (uint64_t)s.st_size == size;
    slv_mem_free(path);
    return has;
}

int slv__store_make(struct slv_store *st, struct slv_err *err) {
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char *path = slv__store_file(st, folders[i], "");
        int rc = path ? slv_folder_make(path, 0755, err) : nomem(err);
        slv_mem_free(path);
        if (rc) return rc;
    }
    return 0;
}

static void sync_folder(const struct slv_store *st, const char *folder) {
    char *path = slv__store_file(st, folder, "");
    int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)fsync(fd); /* some file systems cannot; the renames themselves have happened */
        close(fd);
    }
    slv_mem_free(path);
}

/* --- the lock --------------------------------------------------------------------------------- */

int slv__store_lock(struct slv_store *st, int *ret_fd, struct slv_err *err) {
    int rc = slv__store_make(st, err);
    if (rc) return rc;
    char *path = slv__store_file(st, "lock", "");
    if (!path) return nomem(err);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) rc = os_error(path, err);
    while (!rc && flock(fd, LOCK_EX))
        if (errno != EINTR) rc = os_error(path, err);
    slv_mem_free(path);
    if (!rc) *ret_fd = fd;
    else if (fd >= 0) close(fd);
    return rc;
}

void slv__store_unlock(int fd) {
    if (fd >= 0) close(fd);
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool is_record_name(const char *s) {
    char hex[SLV_SHA256_HEX];
    if (strlen(s) != 64 + 5 || strcmp(s + 64, ".json")) return false;
    memcpy(hex, s, 64);
    hex[64] = '\0';
    return slv_sha256_valid(hex);
}

int slv_store_find(struct slv_store *st, const char *name, struct slv_arena *arena,
                   struct slv_store_model *ret, struct slv_err *err) {
    struct slv_store_model m;
    struct slv_err own = {0};
    int rc = slv_store_check_name(name, err);
    if (rc) return rc;
    char *path = slv__record_path(st, name);
    if (!path) return nomem(err);
    rc = slv__record_read(path, arena, &m, &own);
    if (rc == SLV_E_NOENT) slv_err_set(err, rc, "%s: not in the store", name);
    else if (rc) slv_err_set(err, rc, "%s", own.msg);
    else if (strcmp(m.name, name))
        rc = slv_err_set(err, SLV_E_FORMAT, "%s: is the record of another name", path);
    slv_mem_free(path);
    if (!rc) *ret = m;
    return rc;
}

static int by_name(const void *a, const void *b) {
    const struct slv_store_model *x = a, *y = b;
    return strcmp(x->name, y->name);
}

struct listing {
    struct slv_store *st;
    struct slv_arena *arena;
    struct slv_store_model *v; /* heap */
    size_t n, cap, damaged;
};

static int list_entry(struct listing *l, const char *file, struct slv_err *err) {
    struct slv_store_model m;
    char want[SLV_SHA256_HEX];
    if (!is_record_name(file)) return 0;
    char *path = slv__store_file(l->st, "names", file);
    if (!path) return nomem(err);
    int rc = slv__record_read(path, l->arena, &m, err);
    slv_mem_free(path);
    if (rc == SLV_E_NOENT) return 0; /* removed meanwhile */
    if (!rc) rc = slv_sha256_bytes(m.name, strlen(m.name), want);
    if (!rc && strncmp(want, file, 64)) rc = SLV_E_FORMAT;
    if (rc == SLV_E_NOMEM) return rc;
    if (rc) {
        l->damaged++;
        return 0;
    }
    rc = slv_mem_grow((void **)&l->v, l->n, &l->cap, sizeof *l->v, SLV_STORE_MODELS_MAX);
    if (rc) return slv_err_set(err, rc, "store: %s", slv_strerror(rc));
    l->v[l->n++] = m;
    return 0;
}

int slv_store_list(struct slv_store *st, struct slv_arena *arena, struct slv_store_model **ret,
                   size_t *ret_n, size_t *ret_damaged, struct slv_err *err) {
    struct listing l = {.st = st, .arena = arena};
    struct slv_store_model *out = NULL;
    char *path = slv__store_file(st, "names", "");
    if (!path) return nomem(err);
    DIR *d = opendir(path);
    int rc = d || errno == ENOENT ? 0 : os_error(path, err);
    struct dirent *e;
    while (!rc && d && (e = readdir(d)))
        rc = list_entry(&l, e->d_name, err);
    if (d) closedir(d);
    slv_mem_free(path);
    if (!rc && l.n) {
        qsort(l.v, l.n, sizeof *l.v, by_name);
        out = slv_arena_calloc(arena, l.n, sizeof *out);
        if (out) memcpy(out, l.v, l.n * sizeof *out);
        else rc = nomem(err);
    }
    slv_mem_free(l.v);
    if (rc) return rc;
    *ret = out;
    *ret_n = l.n;
    if (ret_damaged) *ret_damaged = l.damaged;
    return 0;
}

/* --- split sets ------------------------------------------------------------------------------- */

/* The set's folder is named by what is in it, so that it is made once and never changed. */
static int set_key(const struct slv_store_model *m, char ret[SLV_SHA256_HEX]) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_STORE_RECORD_MAX);
    for (size_t i = 0; i < m->n_files; i++)
        slv_buf_addf(&b, "%s %s\n", m->files[i].sha256, m->files[i].file);
    int rc = b.status ? b.status : slv_sha256_bytes(b.data, b.len, ret);
    slv_buf_fini(&b);
    return rc;
}

static int make_set(struct slv_store *st, const struct slv_store_model *m, struct slv_err *err) {
    char key[SLV_SHA256_HEX], link[SLV_STORE_FILE_MAX + SLV_SHA256_HEX + 2],
        target[SLV_SHA256_HEX + 24];
    int rc = set_key(m, key);
    char *dir = rc ? NULL : slv__store_file(st, "sets", key);
    if (!dir) return nomem(err);
    if (mkdir(dir, 0755) && errno != EEXIST) rc = os_error(dir, err);
    for (size_t i = 0; !rc && i < m->n_files; i++) {
        snprintf(link, sizeof link, "%s/%s", key, m->files[i].file);
        snprintf(target, sizeof target, "../../blobs/sha256-%s", m->files[i].sha256);
        char *path = slv__store_file(st, "sets", link);
        if (!path) rc = nomem(err);
        else if (symlink(target, path) && errno != EEXIST) rc = os_error(path, err);
        slv_mem_free(path);
    }
    slv_mem_free(dir);
    return rc;
}

int slv_store_path(struct slv_store *st, const struct slv_store_model *m, struct slv_buf *path,
                   struct slv_err *err) {
    char key[SLV_SHA256_HEX];
    for (size_t i = 0; i < m->n_files; i++)
        if (!slv__store_has(st, m->files[i].sha256, m->files[i].size))
            return slv_err_set(err, SLV_E_IO,
                               "%s: %s is missing from the store or has another size: remove and "
                               "pull it again",
                               m->name, m->files[i].file);
    if (m->n_files == 1) {
        slv_buf_addf(path, "%s/blobs/sha256-%s", st->home, m->files[0].sha256);
    } else {
        int rc = set_key(m, key);
        if (rc) return nomem(err);
        slv_buf_addf(path, "%s/sets/%s/%s", st->home, key, m->files[0].file);
    }
    return path->status
               ? slv_err_set(err, path->status, "%s: path: %s", m->name, slv_strerror(path->status))
               : 0;
}

/* --- collecting what nothing names ------------------------------------------------------------ */

/* The digests that records name, of blobs and of sets, sorted. */
struct keep {
    struct slv_store *st;
    char (*v)[SLV_SHA256_HEX];
    size_t n, cap;
    uint64_t freed;
};

static int by_digest(const void *a, const void *b) { return strcmp(a, b); }

static bool is_named(const struct keep *k, const char *digest) {
    return k->n && bsearch(digest, k->v, k->n, sizeof *k->v, by_digest);
}

static int keep_digest(struct keep *k, const char *digest) {
    int rc = slv_mem_grow((void **)&k->v, k->n, &k->cap, sizeof *k->v,
                          (size_t)SLV_STORE_MODELS_MAX * SLV_STORE_FILES_MAX);
    if (!rc) memcpy(k->v[k->n++], digest, SLV_SHA256_HEX);
    return rc;
}

static int keep_model(struct keep *k, const struct slv_store_model *m) {
    char key[SLV_SHA256_HEX];
    int rc = 0;
    for (size_t f = 0; !rc && f < m->n_files; f++)
        rc = keep_digest(k, m->files[f].sha256);
    if (!rc && m->n_files > 1) rc = set_key(m, key);
    if (!rc && m->n_files > 1) rc = keep_digest(k, key);
    return rc;
}

static void remove_file(struct keep *k, const char *folder, const char *name) {
    struct stat s;
    char *path = slv__store_file(k->st, folder, name);
    if (path && !lstat(path, &s) && !unlink(path) && S_ISREG(s.st_mode))
        k->freed += (uint64_t)s.st_size;
    slv_mem_free(path);
}

static void each_entry(struct keep *k, const char *folder,
                       void (*fn)(struct keep *, const char *folder, const char *name)) {
    char *path = slv__store_file(k->st, folder, "");
    DIR *d = path ? opendir(path) : NULL;
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) fn(k, folder, e->d_name);
    if (d) closedir(d);
    slv_mem_free(path);
}

static void collect_blob(struct keep *k, const char *folder, const char *name) {
    if (!strncmp(name, "sha256-", 7) && !is_named(k, name + 7)) remove_file(k, folder, name);
}

static void collect_set(struct keep *k, const char *folder, const char *name) {
    char sub[300];
    (void)folder;
    if (!slv_sha256_valid(name) || is_named(k, name)) return;
    snprintf(sub, sizeof sub, "sets/%s", name);
    each_entry(k, sub, remove_file);
    char *path = slv__store_file(k->st, "sets", name);
    if (path) (void)rmdir(path); /* a file we did not put there stays, and its folder */
    slv_mem_free(path);
}

static void collect_temporary(struct keep *k, const char *folder, const char *name) {
    size_t n = strlen(name);
    if (n > 69 && !strcmp(name + n - 4, ".tmp")) remove_file(k, folder, name);
}

static bool is_meta(const char *name) {
    size_t n = strlen(name);
    return n > 5 && !strcmp(name + n - 5, ".meta");
}

/* A side file whose download became a blob just before the process was killed. */
static void drop_orphan_meta(const char *meta) {
    char *data = slv_mem_strndup(meta, strlen(meta) - 5);
    if (data && access(data, F_OK) && errno == ENOENT) unlink(meta);
    slv_mem_free(data);
}

static void collect_meta(struct keep *k, const char *folder, const char *name) {
    char *path = is_meta(name) ? slv__store_file(k->st, folder, name) : NULL;
    if (path) drop_orphan_meta(path);
    slv_mem_free(path);
}

/* Under the lock. Nothing is removed while a record cannot be read: it may name any blob. */
static int collect(struct slv_store *st, uint64_t *ret_freed, struct slv_err *err) {
    struct slv_arena arena;
    struct slv_store_model *models = NULL;
    struct keep k = {.st = st};
    size_t n = 0, damaged = 0;
    slv_arena_init(&arena, (size_t)1 << 30);
    int rc = slv_store_list(st, &arena, &models, &n, &damaged, err);
    for (size_t i = 0; !rc && i < n; i++)
        if ((rc = keep_model(&k, &models[i]))) slv_err_set(err, rc, "store: %s", slv_strerror(rc));
    if (k.n) qsort(k.v, k.n, sizeof *k.v, by_digest);
    if (!rc && !damaged) {
        each_entry(&k, "blobs", collect_blob);
        each_entry(&k, "sets", collect_set);
        each_entry(&k, "names", collect_temporary);
        each_entry(&k, "partial", collect_meta);
    }
    slv_mem_free(k.v);
    slv_arena_fini(&arena);
    *ret_freed = k.freed;
    return rc;
}

/* --- changing --------------------------------------------------------------------------------- */

void slv__store_staged_fini(struct slv_store_staged *s) {
    if (s->fd >= 0) close(s->fd);
    slv_mem_free(s->path);
    s->fd = -1;
    s->path = NULL;
}

/* The side file of a download, PATH.meta, is of no use once its data is a blob. */
static void drop_meta(const char *staged) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_STORE_PATH_MAX);
    if (!slv_buf_addf(&b, "%s.meta", staged)) unlink(b.data);
    slv_buf_fini(&b);
}

static int make_blob(struct slv_store *st, struct slv_store_staged *s, struct slv_err *err) {
    bool has = slv__store_has(st, s->f.sha256, s->f.size);
    int rc = 0;
    if (!s->path)
        return has ? 0
                   : slv_err_set(err, SLV_E_BUSY,
                                 "%s: was removed from the store meanwhile: try again", s->f.file);
    char *blob = slv__store_blob(st, s->f.sha256);
    if (!blob) return nomem(err);
    if (has ? unlink(s->path) : rename(s->path, blob)) rc = os_error(s->path, err);
    if (!rc && !has && s->seal) (void)fchmod(s->fd, 0444); /* a guard against accidents only */
    if (!rc) drop_meta(s->path);
    slv_mem_free(blob);
    return rc;
}

int slv__store_commit(struct slv_store *st, const char *name, const char *source,
                      struct slv_store_staged *files, size_t n, struct slv_err *err) {
    uint64_t freed;
    int lock = -1;
    struct slv_store_model m = {.name = name,
                                .source = source,
                                .added = slv_clock_wall(&slv_clock_system) / 1000000000u,
                                .n_files = n};
    m.files = slv_mem_calloc(n, sizeof *m.files);
    if (!m.files) return nomem(err);
    int rc = slv__store_lock(st, &lock, err);
    for (size_t i = 0; !rc && i < n; i++) {
        m.files[i] = files[i].f;
        rc = make_blob(st, &files[i], err);
    }
    if (!rc) sync_folder(st, "blobs");
    if (!rc && n > 1) rc = make_set(st, &m, err);
    if (!rc) rc = slv__record_write(st, &m, err);
    if (!rc)
        (void)collect(st, &freed, NULL); /* what the name meant before; another change's turn
                                          * comes if this fails */
    slv__store_unlock(lock);
    slv_mem_free(m.files);
    return rc;
}

int slv_store_remove(struct slv_store *st, const char *name, uint64_t *ret_freed,
                     struct slv_err *err) {
    struct stat s;
    uint64_t freed = 0;
    int lock = -1, rc = slv_store_check_name(name, err);
    if (rc) return rc;
    char *path = slv__record_path(st, name);
    if (!path) return nomem(err);
    if (lstat(path, &s)) rc = slv_err_set(err, SLV_E_NOENT, "%s: not in the store", name);
    if (!rc) rc = slv__store_lock(st, &lock, err);
    if (!rc && unlink(path))
        rc = errno == ENOENT ? slv_err_set(err, SLV_E_NOENT, "%s: not in the store", name)
                             : os_error(path, err);
    if (!rc) {
        sync_folder(st, "names");
        rc = collect(st, &freed, err);
    }
    slv__store_unlock(lock);
    slv_mem_free(path);
    if (!rc && ret_freed) *ret_freed = freed;
    return rc;
}

/* --- partial/ --------------------------------------------------------------------------------- */

/* Removes one file of partial/ unless a process holds its lock. */
static bool drop_partial(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return false;
    bool gone = !flock(fd, LOCK_EX | LOCK_NB) && !unlink(path);
    if (gone) drop_meta(path);
    close(fd);
    return gone;
}

static int walk_partials(struct slv_store *st, bool drop, struct slv_store_partials *ret,
                         struct slv_err *err) {
    struct slv_store_partials sum = {0};
    struct dirent *e;
    char *dir = slv__store_file(st, "partial", "");
    if (!dir) return nomem(err);
    DIR *d = opendir(dir);
    int rc = d || errno == ENOENT ? 0 : os_error(dir, err);
    while (!rc && d && (e = readdir(d))) {
        struct stat s;
        if (e->d_name[0] == '.' || is_meta(e->d_name)) continue;
        char *path = slv__store_file(st, "partial", e->d_name);
        if (!path) rc = nomem(err);
        else if (!lstat(path, &s) && S_ISREG(s.st_mode) && (!drop || drop_partial(path))) {
            sum.n++;
            sum.bytes += (uint64_t)s.st_size;
        }
        slv_mem_free(path);
    }
    if (d) closedir(d);
    slv_mem_free(dir);
    if (!rc) *ret = sum;
    return rc;
}

int slv_store_partials(struct slv_store *st, struct slv_store_partials *ret, struct slv_err *err) {
    return walk_partials(st, false, ret, err);
}

int slv_store_clean(struct slv_store *st, struct slv_store_partials *ret, struct slv_err *err) {
    return walk_partials(st, true, ret, err);
}

/* --- verifying -------------------------------------------------------------------------------- */

int slv_store_verify(struct slv_store *st, const struct slv_store_model *m, const struct slv_ui *ui,
                     struct slv_err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < m->n_files; i++) {
        const struct slv_store_file *f = &m->files[i];
        char have[SLV_SHA256_HEX];
        char *path = slv__store_blob(st, f->sha256);
        if (!path) return nomem(err);
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0) rc = os_error(path, err);
        else rc = slv_sha256_fd(fd, f->file, ui, have, NULL, err);
        if (fd >= 0) close(fd);
        slv_mem_free(path);
        if (!rc && strcmp(have, f->sha256))
            rc = slv_err_set(err, SLV_E_TRUST,
                             "%s: %s is damaged, its digest is %s: remove and pull it again",
                             m->name, f->file, have);
    }
    return rc;
}
