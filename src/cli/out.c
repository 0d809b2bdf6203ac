/* out.c: see out.h. */
#include "cli/out.h"
#include "base/clock.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define NS 1000000000u

static int failed_errno; /* of the first write that failed */

static void note(bool ok) {
    if (!ok && !failed_errno) failed_errno = errno ? errno : EIO;
}

static void write_all(const void *p, size_t n) {
    errno = 0;
    if (n) note(fwrite(p, 1, n, stdout) == n);
}

/* Each control character but line feeds and tabs as '?'. `line`: those too. */
static void write_text(const char *s, size_t n, bool line) {
    size_t from = 0, used;
    for (size_t at = 0; at < n; at += used) {
        uint32_t cp;
        used = slv_utf8_decode(s + at, n - at, &cp);
        if (!slv_utf8_is_control(cp) || (!line && (cp == '\n' || cp == '\t'))) continue;
        write_all(s + from, at - from);
        write_all("?", 1);
        from = at + used;
    }
    write_all(s + from, n - from);
}

void slv_out_write(const void *p, size_t n) {
    static int terminal = -1;
    if (failed_errno || !n) return;
    if (terminal < 0) terminal = isatty(STDOUT_FILENO);
    if (terminal) write_text(p, n, false);
    else write_all(p, n);
}

void slv_out_puts(const char *s) { slv_out_write(s, strlen(s)); }

void slv_out_name(const char *s, size_t n) {
    if (!failed_errno) write_text(s, n, true);
}

void slv_out_printf(const char *fmt, ...) {
    if (failed_errno) return;
    struct slv_buf b;
    va_list ap;
    slv_buf_init(&b, (size_t)64 << 20);
    va_start(ap, fmt);
    if (slv_buf_vaddf(&b, fmt, ap)) {
        errno = ENOMEM;
        note(false);
    }
    va_end(ap);
    slv_out_write(b.data, b.len);
    slv_buf_fini(&b);
}

int slv_out_line(const struct slv_buf *b, struct slv_err *err) {
    if (b->status) return slv_err_set(err, b->status, "output: %s", slv_strerror(b->status));
    slv_out_write(b->data, b->len);
    slv_out_write("\n", 1);
    return 0;
}

int slv_out_flush(struct slv_err *err) {
    errno = 0;
    if (!failed_errno) note(!fflush(stdout));
    if (!failed_errno) return 0;
    return slv_err_set(err, SLV_E_IO, "standard output: %s", strerror(failed_errno));
}

const char *slv_out_size(uint64_t bytes, char out[SLV_OUT_SIZE_MAX]) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)bytes / 1024;
    size_t u = 0;
    if (bytes < 1024) {
        snprintf(out, SLV_OUT_SIZE_MAX, "%" PRIu64 " B", bytes);
        return out;
    }
    while (v >= 1024 && u < 4) {
        v /= 1024;
        u++;
    }
    snprintf(out, SLV_OUT_SIZE_MAX, "%.1f %s", v, units[u]);
    return out;
}

/* --- progress --------------------------------------------------------------------------------- */

void slv_progress_init(struct slv_progress *p, const char *what, bool quiet) {
    *p = (struct slv_progress){.on = !quiet && isatty(STDERR_FILENO), .what = what};
}

static size_t columns(void) {
    struct winsize w;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) || !w.ws_col) return 80;
    return w.ws_col;
}

static const char *amount(const struct slv_progress *p, uint64_t n, char out[SLV_OUT_SIZE_MAX]) {
    if (!p->count) return slv_out_size(n, out);
    snprintf(out, SLV_OUT_SIZE_MAX, "%" PRIu64, n);
    return out;
}

static void draw(const struct slv_progress *p, uint64_t now, uint64_t done, uint64_t total) {
    char have[SLV_OUT_SIZE_MAX], all[SLV_OUT_SIZE_MAX], rate[SLV_OUT_SIZE_MAX], line[400];
    double s = (double)(now - p->begun_ns) / NS;
    double bps = s > 0.2 ? (double)(done - p->begun_at) / s : 0;
    int n = snprintf(line, sizeof line, "%.60s  %s", p->what, amount(p, done, have));
    size_t at = (size_t)n;
    if (total)
        at += (size_t)snprintf(line + at, sizeof line - at, " of %s  %3d%%", amount(p, total, all),
                               (int)(100.0 * (double)done / (double)total));
    if (bps >= 1 && !p->count)
        at += (size_t)snprintf(line + at, sizeof line - at, "  %s/s",
                               slv_out_size((uint64_t)bps, rate));
    if (bps > 0 && total > done) {
        uint64_t left = (uint64_t)((double)(total - done) / bps);
        if (left < 360000)
            at += (size_t)snprintf(line + at, sizeof line - at, "  %" PRIu64 ":%02u left",
                                   left / 60, (unsigned)(left % 60));
    }
    size_t room = columns() - 1;
    fprintf(stderr, "\r%.*s\033[K", (int)(at < room ? at : room), line);
    fflush(stderr);
}

void slv_progress_update(struct slv_progress *p, uint64_t done, uint64_t total) {
    if (!p->on) return;
    uint64_t now = slv_clock_mono(&slv_clock_system);
    if (!p->begun_ns) {
        p->begun_ns = now;
        p->begun_at = done;
    }
    if (now - p->begun_ns < p->after_ns) return;
    if (p->drawn && now - p->last_ns < NS / 10) return;
    if (done < p->begun_at) p->begun_at = done; /* the download began again */
    p->last_ns = now;
    p->drawn = true;
    draw(p, now, done, total);
}

void slv_progress_end(struct slv_progress *p) {
    if (p->drawn) fputs("\r\033[K", stderr);
    p->drawn = false;
}
