/* log.h: one line of talk to the operator. Goes to stderr (or a sink a test installs), never to
 * stdout. Library rooms log at debug level only. Threads: any; lines are never mixed. */
#ifndef SLV_BASE_LOG_H
#define SLV_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum slv_log_level { SLV_LOG_ERROR, SLV_LOG_WARN, SLV_LOG_INFO, SLV_LOG_DEBUG };

/* What is shown: `level` and above (default SLV_LOG_INFO); `json`: one JSON object a line with
 * "ts" (RFC 3339, UTC), "level", "msg" in place of "selvage: MSG". Call before threads start. */
void slv_log_setup(enum slv_log_level level, bool json);

/* Lines that are no JSON begin with their time (RFC 3339, UTC) and level in place of "selvage: ":
 * for files, which nobody watches while they grow. As slv_log_setup. */
void slv_log_stamp(bool on);

/* Sends whole lines, newline included, somewhere else; NULL restores stderr. */
void slv_log_sink(void (*sink)(const char *line, size_t n, void *ctx), void *ctx);

/* Shows what is logged to one more: the words alone, without "selvage: " and line feed. tee is
 * called by the thread that logs, and must not log; NULL ends it. As slv_log_setup. */
void slv_log_tee(void (*tee)(enum slv_log_level level, const char *msg, void *ctx), void *ctx);

void slv_log(enum slv_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
