/* sandbox.c: see sandbox.h. */
#define _GNU_SOURCE /* O_PATH */
#include "trust/sandbox.h"
#include "base/sanitize.h"
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Later than the system's header may be. */
#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif

/* --- files ------------------------------------------------------------------------------------ */

#define FILE_READ LANDLOCK_ACCESS_FS_READ_FILE
#define FILE_WRITE (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)
#define FOLDER_READ LANDLOCK_ACCESS_FS_READ_DIR
#define FOLDER_WRITE                                                                               \
    (LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |  \
     LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REFER)
#define NEVER                                                                                      \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_FIFO |    \
     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)

/* The whole of the structure as of ABI 6; a kernel that knows less is given less. */
struct ruleset {
    uint64_t fs, net, scoped;
};
#define SCOPED 3u /* ABI 6: abstract sockets and signals of others */

int slv_sandbox_abi(void) {
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi > 0 ? (int)abi : 0;
}

static uint64_t known_to(int abi, uint64_t rights) {
    if (abi < 2) rights &= ~(uint64_t)LANDLOCK_ACCESS_FS_REFER;
    if (abi < 3) rights &= ~(uint64_t)LANDLOCK_ACCESS_FS_TRUNCATE;
    if (abi < 5) rights &= ~(uint64_t)LANDLOCK_ACCESS_FS_IOCTL_DEV;
    return rights;
}

static int add_path(int ruleset, int abi, const struct slv_sandbox_path *p, struct slv_err *err) {
    struct stat st;
    int fd = open(p->path, O_PATH | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return 0;
    if (fd < 0 || fstat(fd, &st)) {
        int e = errno;
        if (fd >= 0) close(fd);
        return slv_err_set(err, SLV_E_IO, "sandbox: %s: %s", p->path, strerror(e));
    }
    uint64_t rights = FILE_READ;
    if (p->may == SLV_SANDBOX_WRITE) rights |= FILE_WRITE;
    if (S_ISDIR(st.st_mode)) rights |= FOLDER_READ;
    if (S_ISDIR(st.st_mode) && p->may == SLV_SANDBOX_WRITE) rights |= FOLDER_WRITE;
    const struct landlock_path_beneath_attr rule = {.allowed_access = known_to(abi, rights),
                                                    .parent_fd = fd};
    long rc = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int e = errno;
    close(fd);
    return rc ? slv_err_set(err, SLV_E_IO, "sandbox: %s: %s", p->path, strerror(e)) : 0;
}

int slv_sandbox_files(const struct slv_sandbox_path *v, size_t n, struct slv_err *err) {
    const int abi = slv_sandbox_abi();
    const uint64_t all = FILE_READ | FILE_WRITE | FOLDER_READ | FOLDER_WRITE | NEVER;
    const struct ruleset attr = {.fs = known_to(abi, all), .scoped = SCOPED};
    if (!abi)
        return slv_err_set(err, SLV_E_UNSUPPORTED, "the kernel has no Landlock: files are open");
    size_t size = abi >= 6 ? sizeof attr : sizeof attr.fs;
    int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (fd < 0) return slv_err_set(err, SLV_E_IO, "sandbox: %s", strerror(errno));
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++)
        rc = add_path(fd, abi, &v[i], err);
    if (!rc && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        rc = slv_err_set(err, SLV_E_IO, "sandbox: %s", strerror(errno));
    if (!rc && syscall(SYS_landlock_restrict_self, fd, 0))
        rc = slv_err_set(err, SLV_E_IO, "sandbox: %s", strerror(errno));
    close(fd);
    return rc;
}

/* --- calls ------------------------------------------------------------------------------------ */

#ifdef SLV_SECCOMP
#include <seccomp.h>

static const int forbidden[] = {SCMP_SYS(execve),
                                SCMP_SYS(execveat),
                                SCMP_SYS(fork),
                                SCMP_SYS(vfork),
                                SCMP_SYS(socketpair),
                                SCMP_SYS(bind),
                                SCMP_SYS(listen),
                                SCMP_SYS(process_vm_readv),
                                SCMP_SYS(process_vm_writev),
                                SCMP_SYS(process_madvise),
                                SCMP_SYS(pidfd_open),
                                SCMP_SYS(pidfd_getfd),
                                SCMP_SYS(kcmp),
                                SCMP_SYS(mount),
                                SCMP_SYS(umount2),
                                SCMP_SYS(pivot_root),
                                SCMP_SYS(chroot),
                                SCMP_SYS(setns),
                                SCMP_SYS(unshare),
                                SCMP_SYS(fsopen),
                                SCMP_SYS(fsmount),
                                SCMP_SYS(move_mount),
                                SCMP_SYS(open_tree),
                                SCMP_SYS(open_by_handle_at),
                                SCMP_SYS(name_to_handle_at),
                                SCMP_SYS(bpf),
                                SCMP_SYS(perf_event_open),
                                SCMP_SYS(userfaultfd),
                                SCMP_SYS(io_uring_setup),
                                SCMP_SYS(io_uring_enter),
                                SCMP_SYS(io_uring_register),
                                SCMP_SYS(keyctl),
                                SCMP_SYS(add_key),
                                SCMP_SYS(request_key),
                                SCMP_SYS(init_module),
                                SCMP_SYS(finit_module),
                                SCMP_SYS(delete_module),
                                SCMP_SYS(kexec_load),
                                SCMP_SYS(kexec_file_load),
                                SCMP_SYS(reboot),
                                SCMP_SYS(swapon),
                                SCMP_SYS(swapoff),
                                SCMP_SYS(acct),
                                SCMP_SYS(quotactl),
                                SCMP_SYS(sethostname),
                                SCMP_SYS(setdomainname),
                                SCMP_SYS(settimeofday),
                                SCMP_SYS(clock_settime),
                                SCMP_SYS(adjtimex),
                                SCMP_SYS(clock_adjtime),
                                SCMP_SYS(personality),
                                SCMP_SYS(setuid),
                                SCMP_SYS(setgid),
                                SCMP_SYS(setreuid),
                                SCMP_SYS(setregid),
                                SCMP_SYS(setresuid),
                                SCMP_SYS(setresgid),
                                SCMP_SYS(setgroups),
                                SCMP_SYS(capset),
                                SCMP_SYS(mknod),
                                SCMP_SYS(mknodat),
                                SCMP_SYS(iopl),
                                SCMP_SYS(ioperm),
                                SCMP_SYS(modify_ldt),
                                SCMP_SYS(lookup_dcookie),
                                SCMP_SYS(vmsplice)};

/* (connect is told a socket, and not of which kind: what can be opened is what can be connected) */
static int add_socket_rules(scmp_filter_ctx ctx, bool may_unix) {
    const uint32_t no = SCMP_ACT_ERRNO(EPERM);
    if (may_unix)
        return seccomp_rule_add(ctx, no, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX));
    int rc = seccomp_rule_add(ctx, no, SCMP_SYS(socket), 0);
    return rc ? rc : seccomp_rule_add(ctx, no, SCMP_SYS(connect), 0);
}

static int add_rules(scmp_filter_ctx ctx, bool may_unix) {
    int rc = add_socket_rules(ctx, may_unix);
    for (size_t i = 0; !rc && i < sizeof forbidden / sizeof *forbidden; i++) {
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), forbidden[i], 0);
        if (rc == -EDOM || rc == -EINVAL) rc = 0; /* this machine has no such call */
    }
    if (!rc && !SLV_SANITIZED)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ptrace), 0);
    /* threads, but no processes; clone3 hides its flags in memory, and libc can do without */
    const scmp_datum_t thread = CLONE_THREAD | (SLV_SANITIZED ? CLONE_VM : 0);
    if (!rc)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, thread, 0));
    if (!rc) rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return rc;
}

static int filter(bool may_unix, struct slv_err *err) {
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (!ctx) return slv_err_set(err, SLV_E_NOMEM, "sandbox: out of memory");
    int rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!rc) rc = add_rules(ctx, may_unix);
    if (!rc) rc = seccomp_load(ctx);
    seccomp_release(ctx);
    if (rc == -ENOSYS || rc == -EINVAL || rc == -EOPNOTSUPP)
        return slv_err_set(err, SLV_E_UNSUPPORTED, "the kernel has no seccomp: calls are open");
    return rc ? slv_err_set(err, SLV_E_IO, "sandbox: %s", strerror(-rc)) : 0;
}
#else
static int filter(bool may_unix, struct slv_err *err) {
    (void)may_unix;
    return slv_err_set(err, SLV_E_UNSUPPORTED, "built without libseccomp: calls are open");
}
#endif

int slv_sandbox_calls(struct slv_err *err) { return filter(false, err); }

int slv_sandbox_calls_but_unix(struct slv_err *err) { return filter(true, err); }
