/* confine.c: see confine.h. */
#include "cli/confine.h"
#include "base/file.h"
#include "base/log.h"
#include "store/store.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ARENA_MAX ((size_t)16 << 20)

void slv_confine_add(struct slv_confine *c, const char *path, enum slv_sandbox_may may) {
    if (!path || c->rc) return;
    char *copy = slv_arena_strndup(&c->arena, path, strlen(path));
    if (!copy || c->n == SLV_CONFINE_MAX) {
        c->rc = copy ? SLV_E_LIMIT : SLV_E_NOMEM;
        return;
    }
    c->path[c->n++] = (struct slv_sandbox_path){copy, may};
}

static void add_folder_of(struct slv_confine *c, const char *path, enum slv_sandbox_may may) {
    const char *slash = strrchr(path, '/');
    if (c->rc) return;
    char *copy = slash ? slv_arena_strndup(&c->arena, path, (size_t)(slash - path)) : NULL;
    slv_confine_add(c, !slash ? "." : copy && *copy ? copy : "/", may);
}

/* What a link leads to is read too, where it was given by who started the server: certificates are
 * often links into a folder of older ones. */
void slv_confine_add_beside(struct slv_confine *c, const char *path, enum slv_sandbox_may may) {
    char real[PATH_MAX];
    struct stat st;
    if (!path) return;
    add_folder_of(c, path, may);
    if (may == SLV_SANDBOX_READ && !lstat(path, &st) && S_ISLNK(st.st_mode) && realpath(path, real))
        add_folder_of(c, real, may);
}

void slv_confine_add_model(struct slv_confine *c, const char *path) {
    if (strstr(path, "-of-")) slv_confine_add_beside(c, path, SLV_SANDBOX_READ); /* its parts */
    slv_confine_add(c, path, SLV_SANDBOX_READ);
    char *sig = slv_arena_alloc(&c->arena, strlen(path) + sizeof ".sig");
    if (!sig) {
        c->rc = SLV_E_NOMEM;
        return;
    }
    sprintf(sig, "%s.sig", path);
    slv_confine_add(c, sig, SLV_SANDBOX_READ);
}

static void add_store(struct slv_confine *c) {
    struct slv_store *st = NULL;
    struct slv_err err = {0};
    struct slv_buf packed;
    if (slv_store_open(NULL, &st, &err)) return;
    slv_buf_init(&packed, 65536);
    slv_buf_addf(&packed, "%s/packed", slv_store_home(st));
    slv_confine_add(c, slv_store_home(st), SLV_SANDBOX_READ);
    /* made now: later it could not be */
    if (!packed.status && !slv_folder_make(packed.data, 0700, &err))
        slv_confine_add(c, packed.data, SLV_SANDBOX_WRITE);
    slv_buf_fini(&packed);
    slv_store_close(st);
}

void slv_confine_init(struct slv_confine *c) {
    /* Of /etc only what libraries read: names of addresses to listen at, where libraries are, what
     * OpenSSL and the TPM's library are set to. (/proc is whole: rules of Landlock are kept by
     * inode, and /proc makes its own anew.) */
    static const char *const system[] = {"/proc",
                                         "/sys",
                                         "/usr",
                                         "/lib",
                                         "/lib64",
                                         "/dev/null",
                                         "/dev/urandom",
                                         "/etc/ld.so.cache",
                                         "/etc/localtime",
                                         "/etc/hosts",
                                         "/etc/host.conf",
                                         "/etc/nsswitch.conf",
                                         "/etc/resolv.conf",
                                         "/etc/gai.conf",
                                         "/etc/ssl/openssl.cnf",
                                         "/etc/pki/tls/openssl.cnf",
                                         "/etc/crypto-policies",
                                         "/etc/tpm2-tss"};
    *c = (struct slv_confine){0};
    slv_arena_init(&c->arena, ARENA_MAX);
    for (size_t i = 0; i < sizeof system / sizeof *system; i++)
        slv_confine_add(c, system[i], SLV_SANDBOX_READ);
    slv_confine_add(c, "/dev/tpmrm0", SLV_SANDBOX_WRITE);
    add_store(c);
}

void slv_confine_fini(struct slv_confine *c) { slv_arena_fini(&c->arena); }

/* What the kernel cannot do is no reason not to serve, but one to say so. */
static int unless_unsupported(int rc, struct slv_err *err, const struct slv_err *why) {
    if (rc == SLV_E_UNSUPPORTED) {
        slv_log(SLV_LOG_WARN, "sandbox: %s", why->msg);
        return 0;
    }
    return rc ? slv_err_set(err, rc, "%s", why->msg) : 0;
}

int slv_confine_files(struct slv_confine *c, struct slv_err *err) {
    struct slv_err why = {0};
    if (c->rc) return slv_err_set(err, c->rc, "sandbox: %s", slv_strerror(c->rc));
    return unless_unsupported(slv_sandbox_files(c->path, c->n, &why), err, &why);
}

int slv_confine_calls(struct slv_err *err) {
    struct slv_err why = {0};
    return unless_unsupported(slv_sandbox_calls(&why), err, &why);
}
