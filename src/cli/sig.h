/* sig.h: Ctrl-C and termination.
 *
 * Until a command says that it looks, SIGINT and SIGTERM end the program at once with status 130:
 * nothing is lost, since files are replaced whole. After slv_sig_watch the first signal only sets a
 * flag, which the command polls, and a second one ends the program. SIGPIPE and SIGXFSZ are
 * ignored: writing to a closed pipe, or past the largest size a file may have, is an error like
 * any other (see out.h). So is, for the program, a model file that is cut short under its mapping
 * (SIGBUS): one line and status 1. */
#ifndef SLV_CLI_SIG_H
#define SLV_CLI_SIG_H

#include <stdbool.h>

/* Called once, by main. */
void slv_sig_init(void);

/* From here on this command polls slv_sig_seen. Also forgets a signal that has come. */
void slv_sig_watch(void);

/* A signal ends the program again: while there is nothing to lose and something to wait for. */
void slv_sig_unwatch(void);

/* Whether SIGINT or SIGTERM has come since slv_sig_watch. Threads: any. */
bool slv_sig_seen(void);

/* Called from the handler at the first signal, besides setting the flag: async-signal-safe work
 * only. NULL: nothing. What arg points to must live until the hook is taken off. */
typedef void (*slv_sig_fn)(void *arg);
void slv_sig_hook(slv_sig_fn fn, void *arg);
/* The same for the second signal, which then does not end the program; a third one does. */
void slv_sig_hook_again(slv_sig_fn fn, void *arg);

#endif
