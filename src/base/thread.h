/* thread.h: threads that the library starts for itself.
 *
 * Signals belong to the program's own threads, so such a thread takes none; but for those that its
 * own instruction raises (a page that the file no longer has): blocked, they would end the process
 * past any handler.
 */
#ifndef SLV_BASE_THREAD_H
#define SLV_BASE_THREAD_H

#include <pthread.h>

/* Starts run(arg), to be joined. SLV_E_NOMEM: there is no other thread to be had. Threads: any. */
int slv_thread_start(pthread_t *ret, void *(*run)(void *), void *arg);

#endif
