/* thread.c: see thread.h. */
#include "base/thread.h"
#include "selvage.h"

#include <signal.h>

int slv_thread_start(pthread_t *ret, void *(*run)(void *), void *arg) {
    static const int own[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP};
    sigset_t all, old;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(ret, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc ? SLV_E_NOMEM : 0;
}
