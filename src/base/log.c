/* log.c: see log.h. A line is formatted whole, then written by one write(2): the system keeps lines
 * of concurrent threads apart. Lines longer than the buffer are cut and end in "...". */
#include "base/log.h"
#include "base/clock.h"
#include "base/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2000

static struct {
    enum slv_log_level level;
    bool json, stamp;
    void (*sink)(const char *line, size_t n, void *ctx);
    void *ctx;
    void (*tee)(enum slv_log_level level, const char *msg, void *ctx);
    void *tee_ctx;
} conf = {.level = SLV_LOG_INFO};

void slv_log_setup(enum slv_log_level level, bool json) {
    conf.level = level;
    conf.json = json;
}

void slv_log_stamp(bool on) { conf.stamp = on; }

void slv_log_sink(void (*sink)(const char *line, size_t n, void *ctx), void *ctx) {
    conf.sink = sink;
    conf.ctx = ctx;
}

void slv_log_tee(void (*tee)(enum slv_log_level level, const char *msg, void *ctx), void *ctx) {
    conf.tee_ctx = ctx;
    conf.tee = tee;
}

static const char *const names[] = {"error", "warn", "info", "debug"};

static void time_text(char ret[60]) {
    uint64_t ns = slv_clock_wall(&slv_clock_system);
    time_t sec = (time_t)(ns / 1000000000u);
    struct tm tm;
    char day[40] = "";
    if (gmtime_r(&sec, &tm)) strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ret, 60, "%s.%03uZ", day, (unsigned)(ns / 1000000u % 1000u));
}

static void json_line(struct slv_buf *out, enum slv_log_level level, const char *msg) {
    char stamp[60];
    time_text(stamp);
    struct slv_json j;
    slv_json_init(&j, out);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "ts", stamp);
    slv_json_str(&j, "level", names[level]);
    slv_json_str(&j, "msg", msg);
    slv_json_object_end(&j);
}

static void stamped_line(struct slv_buf *out, enum slv_log_level level, const char *msg) {
    char stamp[60];
    time_text(stamp);
    slv_buf_addf(out, "%s %s %s", stamp, names[level], msg);
}

void slv_log(enum slv_log_level level, const char *fmt, ...) {
    if (level > conf.level) return;
    char msg[LINE_MAX_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    if (n < 0) return;
    if ((size_t)n >= sizeof msg) memcpy(msg + sizeof msg - 4, "...", 4);

    if (conf.tee) conf.tee(level, msg, conf.tee_ctx);
    struct slv_buf line;
    slv_buf_init(&line, (size_t)8 * LINE_MAX_BYTES);
    if (conf.json) json_line(&line, level, msg);
    else if (conf.stamp) stamped_line(&line, level, msg);
    else slv_buf_addf(&line, "selvage: %s%s", level == SLV_LOG_WARN ? "warning: " : "", msg);
    slv_buf_addc(&line, '\n');
    if (conf.sink) conf.sink(line.data, line.len, conf.ctx);
    else if (write(STDERR_FILENO, line.data, line.len) < 0) { /* nowhere left to say it */ }
    slv_buf_fini(&line);
}
