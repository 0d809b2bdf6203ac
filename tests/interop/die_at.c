/* die_at.c: preloaded into a program, ends it with SIGKILL just before its n-th change to the file
 * system, n from the environment variable DIE_AT. A test that goes through all n sees every state
 * a killed process can leave. Data that write(2) has taken survives, as it does a kill; what a
 * power cut loses is not modelled.
 *
 * glibc has each call under a second name for 64-bit offsets; programs use either. */
#define _GNU_SOURCE
#undef _FILE_OFFSET_BITS /* both names of a call are defined here */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void step(void) {
    static long left = -1; /* 0: never */
    if (left < 0) left = getenv("DIE_AT") ? strtol(getenv("DIE_AT"), NULL, 10) : 0;
    if (left && !--left) raise(SIGKILL);
}

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

#define WRAP1(ret, name, A)                                                                        \
    ret name(A a) {                                                                                \
        step();                                                                                    \
        return REAL(#name, ret(*)(A))(a);                                                          \
    }
#define WRAP2(ret, name, A, B)                                                                     \
    ret name(A a, B b) {                                                                           \
        step();                                                                                    \
        return REAL(#name, ret(*)(A, B))(a, b);                                                    \
    }
#define WRAP4(ret, name, A, B, C, D)                                                               \
    ret name(A a, B b, C c, D d) {                                                                 \
        step();                                                                                    \
        return REAL(#name, ret(*)(A, B, C, D))(a, b, c, d);                                        \
    }
#define WRAP5(ret, name, A, B, C, D, E)                                                            \
    ret name(A a, B b, C c, D d, E e) {                                                            \
        step();                                                                                    \
        return REAL(#name, ret(*)(A, B, C, D, E))(a, b, c, d, e);                                  \
    }

#pragma GCC diagnostic ignored "-Wmissing-prototypes"

WRAP1(int, unlink, const char *)
WRAP1(int, rmdir, const char *)
WRAP1(int, fsync, int)
WRAP1(int, fdatasync, int)
WRAP2(int, rename, const char *, const char *)
WRAP2(int, link, const char *, const char *)
WRAP2(int, symlink, const char *, const char *)
WRAP2(int, mkdir, const char *, mode_t)
WRAP2(int, fchmod, int, mode_t)
WRAP2(int, ftruncate64, int, off64_t)
WRAP4(ssize_t, pwrite64, int, const void *, size_t, off64_t)
WRAP5(int, renameat2, int, const char *, int, const char *, unsigned)

#define WRAP_OPEN(name)                                                                            \
    int name(const char *path, int flags, ...) {                                                   \
        mode_t mode = 0;                                                                           \
        if (flags & O_CREAT) {                                                                     \
            va_list ap;                                                                            \
            va_start(ap, flags);                                                                   \
            mode = va_arg(ap, mode_t);                                                             \
            va_end(ap);                                                                            \
            step();                                                                                \
        }                                                                                          \
        return REAL(#name, int (*)(const char *, int, ...))(path, flags, mode);                    \
    }
WRAP_OPEN(open)
WRAP_OPEN(open64)

/* Files only: not the terminal, pipes and sockets. */
ssize_t write(int fd, const void *p, size_t n) {
    struct stat s;
    if (fd > 2 && !fstat(fd, &s) && S_ISREG(s.st_mode)) step();
    return REAL("write", ssize_t(*)(int, const void *, size_t))(fd, p, n);
}
