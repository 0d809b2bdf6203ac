/* sig.c: see sig.h. The handlers use only what POSIX calls async-signal-safe: lock-free atomics
 * and _exit. No SA_RESTART: a blocking read of the terminal returns so that its caller can look. */
#include "cli/sig.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define STATUS_INTERRUPTED 130
#define STATUS_IO 1

static atomic_int watching;
static atomic_int seen;
static atomic_int cut_short;

static _Atomic(slv_sig_fn) hook[2]; /* of the first signal and of the second */
static _Atomic(void *) hook_arg[2];

static void on_signal(int sig) {
    static const char line[] = "selvage: interrupted\n";
    (void)sig;
    const int n = atomic_load(&watching) ? atomic_fetch_add(&seen, 1) : 2; /* came before it */
    slv_sig_fn fn = n < 2 ? atomic_load(&hook[n]) : NULL;
    if (n && !fn) {
        if (write(STDERR_FILENO, line, sizeof line - 1) < 0) { /* nobody left to tell */
        }
        _exit(STATUS_INTERRUPTED);
    }
    if (fn) fn(atomic_load(&hook_arg[n]));
}

/* A mapped file that ends before the byte that was read. Whatever else a SIGBUS means is a fault of
 * ours or of the machine, and ends the program the usual way. */
static void on_bus(int sig, siginfo_t *info, void *ctx) {
    static const char line[] = "selvage: a file was cut short while it was in use\n";
    (void)ctx;
    if (info->si_code == BUS_ADRERR) {
        while (atomic_exchange(&cut_short, 1)) /* several threads read it: one says so */
            pause();
        if (write(STDERR_FILENO, line, sizeof line - 1) < 0) { /* nobody left to tell */
        }
        _exit(STATUS_IO);
    }
    signal(sig, SIG_DFL);
    raise(sig);
}

static void set_hook(int n, slv_sig_fn fn, void *arg) {
    atomic_store(&hook[n], (slv_sig_fn)0); /* never the new function with the old argument */
    atomic_store(&hook_arg[n], arg);
    atomic_store(&hook[n], fn);
}

void slv_sig_hook(slv_sig_fn fn, void *arg) { set_hook(0, fn, arg); }

void slv_sig_hook_again(slv_sig_fn fn, void *arg) { set_hook(1, fn, arg); }

void slv_sig_init(void) {
    struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN}, old;
    struct sigaction bus = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    sigemptyset(&stop.sa_mask);
    sigemptyset(&bus.sa_mask);
    sigemptyset(&ignore.sa_mask);
    /* nohup and shells' background jobs start a program with SIGINT ignored: keep it so */
    if (!sigaction(SIGINT, NULL, &old) && old.sa_handler != SIG_IGN) sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
    sigaction(SIGBUS, &bus, NULL);
}

void slv_sig_watch(void) {
    atomic_store(&seen, 0);
    atomic_store(&watching, 1);
}

void slv_sig_unwatch(void) { atomic_store(&watching, 0); }

bool slv_sig_seen(void) { return atomic_load(&seen) != 0; }
