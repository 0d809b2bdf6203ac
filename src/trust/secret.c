/* secret.c: see secret.h. */
#include "trust/secret.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

int slv_trust_init(struct slv_err *err) {
    if (sodium_init() >= 0) return 0;
    return slv_err_set(err, SLV_E_INTERNAL, "libsodium cannot be used here");
}

void *slv_secret_alloc(size_t size) {
    void *p = slv_mem_map(1, size);
    /* Past the limit of what may be locked it is as any other memory. */
    if (p && sodium_mlock(p, size)) return p;
    return p;
}

void slv_secret_free(void *p, size_t size) {
    if (!p) return;
    sodium_munlock(p, size); /* wipes first */
    slv_mem_unmap(p, size);
}

void slv_secret_no_dumps(void) {
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) || prctl(PR_SET_DUMPABLE, 0)) { /* only a wish */
    }
}

const char *slv_secret_exposed(const struct stat *st) {
    const char *why = slv_file_foreign(st);
    if (why) return why;
    return st->st_mode & 077 ? "others may read it" : NULL;
}

/* Reads what fstat has promised, into memory of that size. */
static int read_checked(int fd, const char *path, size_t max, struct slv_secret *s,
                        struct slv_err *err) {
    struct stat st;
    if (fstat(fd, &st)) return slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(errno));
    const char *why = slv_secret_exposed(&st);
    if (why)
        return slv_err_set(err, SLV_E_TRUST, "%s: %s: a secret is not kept like that", path, why);
    if (st.st_size < 0 || (uint64_t)st.st_size > max)
        return slv_err_set(err, SLV_E_LIMIT, "%s: longer than %zu bytes", path, max);
    s->room = (size_t)st.st_size + 1;
    s->data = slv_secret_alloc(s->room);
    if (!s->data) return slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", path);
    if (!slv_fd_read_at(fd, s->data, (size_t)st.st_size, 0, &s->n))
        return slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(errno));
    return 0;
}

int slv_secret_read(const char *path, size_t max, struct slv_secret *ret, struct slv_err *err) {
    struct slv_secret s = {0};
    int rc = slv_trust_init(err);
    if (rc) return rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return slv_err_set(err, errno == ENOENT || errno == ENOTDIR ? SLV_E_NOENT : SLV_E_IO,
                           "%s: %s", path, strerror(errno));
    rc = read_checked(fd, path, max, &s, err);
    close(fd);
    if (rc) slv_secret_fini(&s);
    else *ret = s;
    return rc;
}

void slv_secret_fini(struct slv_secret *s) {
    if (!s) return;
    slv_secret_free(s->data, s->room);
    *s = (struct slv_secret){0};
}
