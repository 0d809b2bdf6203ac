/* sig.c: see sig.h. The handlers use only what POSIX calls async-signal-safe: lock-free atomics
 * and _exit. No SA_RESTART: a blocking read of the terminal returns so that its caller can look. */
#include "cli/sig.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define STATUS_INTERRUPTED 130

static atomic_int watching;
static atomic_int seen;

static void on_signal(int sig) {
    (void)sig;
    if (!atomic_load(&watching) || atomic_exchange(&seen, 1)) _exit(STATUS_INTERRUPTED);
}

void slv_sig_init(void) {
    struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN}, old;
    sigemptyset(&stop.sa_mask);
    sigemptyset(&ignore.sa_mask);
    /* nohup and shells' background jobs start a program with SIGINT ignored: keep it so */
    if (!sigaction(SIGINT, NULL, &old) && old.sa_handler != SIG_IGN) sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
}

void slv_sig_watch(void) {
    atomic_store(&seen, 0);
    atomic_store(&watching, 1);
}

bool slv_sig_seen(void) { return atomic_load(&seen) != 0; }
