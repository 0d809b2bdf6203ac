/* metrics.c: see metrics.h. */
#include "net/metrics.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define VALUE_MAX 100 /* bytes of a label's value */

struct series {
    struct series *next;
    char label[SLV_METRIC_LABELS_MAX][VALUE_MAX + 1];
    double value; /* a histogram's sum */
    uint64_t count;
    uint64_t bucket[SLV_METRIC_BUCKETS_MAX];
};

struct slv_metrics {
    pthread_mutex_t lock;
    const struct slv_metric *rows;
    size_t n;
    struct family {
        struct series *first, *last;
        size_t n;
    } * family;
};

int slv_metrics_open(const struct slv_metric *rows, size_t n, struct slv_metrics **ret) {
    struct slv_metrics *m = slv_mem_calloc(1, sizeof *m);
    if (m) m->family = slv_mem_calloc(n, sizeof *m->family);
    if (!m || !m->family) {
        slv_mem_free(m);
        return SLV_E_NOMEM;
    }
    m->rows = rows;
    m->n = n;
    pthread_mutex_init(&m->lock, NULL);
    *ret = m;
    return 0;
}

void slv_metrics_close(struct slv_metrics *m) {
    if (!m) return;
    for (size_t i = 0; i < m->n; i++)
        for (struct series *s = m->family[i].first, *next; s; s = next) {
            next = s->next;
            slv_mem_free(s);
        }
    slv_mem_free(m->family);
    pthread_mutex_destroy(&m->lock);
    slv_mem_free(m);
}

typedef char labels[SLV_METRIC_LABELS_MAX][VALUE_MAX + 1];

/* A value as it is kept: whole characters of UTF-8, for one byte that is none would lose a reader
 * the whole page; '?' stands for what is no character. */
static void keep_label(const char *v, char ret[VALUE_MAX + 1]) {
    const size_t n = v ? strnlen(v, VALUE_MAX + SLV_UTF8_MAX) : 0;
    size_t at = 0, len = 0;
    while (at < n) {
        uint32_t cp;
        size_t used = slv_utf8_decode(v + at, n - at, &cp);
        bool bad = cp == SLV_UTF8_INVALID;
        if (len + (bad ? 1 : used) > VALUE_MAX) break;
        if (bad) ret[len++] = '?';
        else memcpy(ret + len, v + at, used);
        len += bad ? 0 : used;
        at += used;
    }
    ret[len] = '\0';
}

static struct series *find(const struct family *f, labels label) {
    for (struct series *s = f->first; s; s = s->next)
        if (!strcmp(s->label[0], label[0]) && !strcmp(s->label[1], label[1])) return s;
    return NULL;
}

static struct series *find_or_add(struct slv_metrics *m, size_t i, const char *a, const char *b) {
    struct family *f = &m->family[i];
    labels label;
    keep_label(a, label[0]);
    keep_label(b, label[1]);
    struct series *s = find(f, label);
    if (s) return s;
    if (f->n >= SLV_METRIC_SERIES_MAX - 1) {
        for (int k = 0; k < SLV_METRIC_LABELS_MAX; k++)
            keep_label(m->rows[i].label[k] ? "other" : "", label[k]);
        s = find(f, label);
        if (s) return s;
    }
    s = slv_mem_calloc(1, sizeof *s);
    if (!s) return NULL;
    memcpy(s->label, label, sizeof label);
    if (f->last) f->last->next = s;
    else f->first = s;
    f->last = s;
    f->n++;
    return s;
}

void slv_metrics_add(struct slv_metrics *m, size_t i, const char *a, const char *b, double v) {
    pthread_mutex_lock(&m->lock);
    struct series *s = find_or_add(m, i, a, b);
    if (s) s->value += v;
    pthread_mutex_unlock(&m->lock);
}

void slv_metrics_set(struct slv_metrics *m, size_t i, const char *a, const char *b, double v) {
    pthread_mutex_lock(&m->lock);
    struct series *s = find_or_add(m, i, a, b);
    if (s) s->value = v;
    pthread_mutex_unlock(&m->lock);
}

void slv_metrics_observe(struct slv_metrics *m, size_t i, const char *a, const char *b, double v) {
    const struct slv_metric *row = &m->rows[i];
    pthread_mutex_lock(&m->lock);
    struct series *s = find_or_add(m, i, a, b);
    for (int k = 0; s && k < SLV_METRIC_BUCKETS_MAX && row->bucket[k] > 0; k++)
        s->bucket[k] += v <= row->bucket[k];
    if (s) {
        s->count++;
        s->value += v;
    }
    pthread_mutex_unlock(&m->lock);
}

double slv_metrics_get(struct slv_metrics *m, size_t i, const char *a, const char *b) {
    labels label;
    keep_label(a, label[0]);
    keep_label(b, label[1]);
    pthread_mutex_lock(&m->lock);
    const struct series *s = find(&m->family[i], label);
    double v = s ? s->value : 0.0;
    pthread_mutex_unlock(&m->lock);
    return v;
}

/* --- text ------------------------------------------------------------------------------------- */

static void write_labels(struct slv_buf *out, const struct slv_metric *row, const struct series *s,
                         const char *le) {
    bool any = false;
    for (int k = 0; k < SLV_METRIC_LABELS_MAX; k++) {
        if (!row->label[k]) continue;
        slv_buf_addf(out, "%s%s=\"", any ? "," : "{", row->label[k]);
        for (const char *p = s->label[k]; *p; p++) {
            if (*p == '\\' || *p == '"') slv_buf_addc(out, '\\');
            if (*p == '\n') slv_buf_adds(out, "\\n");
            else slv_buf_addc(out, *p);
        }
        slv_buf_addc(out, '"');
        any = true;
    }
    if (le) slv_buf_addf(out, "%sle=\"%s\"", any ? "," : "{", le);
    if (any || le) slv_buf_addc(out, '}');
}

static void write_line(struct slv_buf *out, const struct slv_metric *row, const struct series *s,
                       const char *suffix, const char *le, double v) {
    slv_buf_addf(out, "%s%s", row->name, suffix);
    write_labels(out, row, s, le);
    if (v == floor(v) && fabs(v) < 1e15) slv_buf_addf(out, " %.0f\n", v);
    else slv_buf_addf(out, " %.9g\n", v);
}

static void write_series(struct slv_buf *out, const struct slv_metric *row,
                         const struct series *s) {
    if (row->kind != SLV_METRIC_HISTOGRAM) {
        write_line(out, row, s, "", NULL, s->value);
        return;
    }
    for (int k = 0; k < SLV_METRIC_BUCKETS_MAX && row->bucket[k] > 0; k++) {
        char le[32];
        snprintf(le, sizeof le, "%g", row->bucket[k]);
        write_line(out, row, s, "_bucket", le, (double)s->bucket[k]);
    }
    write_line(out, row, s, "_bucket", "+Inf", (double)s->count);
    write_line(out, row, s, "_sum", NULL, s->value);
    write_line(out, row, s, "_count", NULL, (double)s->count);
}

int slv_metrics_write(struct slv_metrics *m, struct slv_buf *out) {
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    static const struct series nothing;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n; i++) {
        const struct slv_metric *row = &m->rows[i];
        slv_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
                     kinds[row->kind]);
        for (const struct series *s = m->family[i].first; s; s = s->next)
            write_series(out, row, s);
        if (!m->family[i].first && !row->label[0]) write_series(out, row, &nothing);
    }
    pthread_mutex_unlock(&m->lock);
    return out->status;
}
