/* sandbox.h: what a process that serves others gives up for good, so that who takes it over finds
 * little.
 *
 * Two halves, each by the kernel:
 *   files (Landlock): from here on only what is named can be read, and written where that is said.
 *     Holds for this thread and those it starts, so it comes before other threads.
 *   calls (seccomp): no program is started, no process made, no socket opened or connected, nothing
 *     of other processes, of the kernel, of namespaces or keys touched: EPERM. Holds for all
 *     threads, from now on; sockets that listen go on accepting.
 *
 * In a build with a sanitizer its search for leaks, at the end, may do what it must: share its
 * memory with a helper that stops the threads (clone with CLONE_VM, ptrace). All else is as ever.
 *
 * A kernel without one of them leaves that half undone and says so (SLV_E_UNSUPPORTED): whether
 * that matters is the caller's to decide.
 *
 * Sources: landlock(7) (ABI 1 to 6: what a kernel does not know is left out), seccomp(2). */
#ifndef SLV_TRUST_SANDBOX_H
#define SLV_TRUST_SANDBOX_H

#include "base/err.h"

enum slv_sandbox_may { SLV_SANDBOX_READ, SLV_SANDBOX_WRITE };

/* A file, or a folder with all below it. What does not exist is passed over. WRITE: also making,
 * renaming and removing files in it. */
struct slv_sandbox_path {
    const char *path;
    enum slv_sandbox_may may;
};

/* SLV_E_UNSUPPORTED: the kernel has no Landlock; SLV_E_IO. On failure nothing changed but that no
 * program this one starts gains privileges. */
int slv_sandbox_files(const struct slv_sandbox_path *v, size_t n, struct slv_err *err) SLV_MUST_USE;

/* SLV_E_UNSUPPORTED: the kernel has no seccomp filters, or the program was built without;
 * SLV_E_IO. */
int slv_sandbox_calls(struct slv_err *err) SLV_MUST_USE;

/* The same for who reaches programs of this machine for others: unix sockets, and no others, may be
 * opened and connected. To which of them is not for a filter to say, as it sees a path's address
 * and not the path: so nobody whom strangers speak to should have this one. */
int slv_sandbox_calls_but_unix(struct slv_err *err) SLV_MUST_USE;

/* The kernel's Landlock ABI, 0: none. */
int slv_sandbox_abi(void);

#endif
