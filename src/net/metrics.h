/* metrics.h: what Prometheus reads: counters, gauges and histograms, each in one text format.
 *
 * A metric is a row of a table that whoever has it keeps: a name, a line of help, a kind and up to
 * two labels. Series come to be as label values are first used; a metric has at most
 * SLV_METRIC_SERIES_MAX of them, and what comes then is counted under the values "other", so that
 * nobody can grow the server by inventing names. Values are cut after 100 bytes.
 *
 * Threads: any. Source: the Prometheus text format 0.0.4. */
#ifndef SLV_NET_METRICS_H
#define SLV_NET_METRICS_H

#include "base/buf.h"
#include "base/err.h"

#define SLV_METRIC_SERIES_MAX 256
#define SLV_METRIC_BUCKETS_MAX 24
#define SLV_METRIC_LABELS_MAX 2

enum slv_metric_kind { SLV_METRIC_COUNTER, SLV_METRIC_GAUGE, SLV_METRIC_HISTOGRAM };

struct slv_metric {
    const char *name; /* a counter's ends in "_total", a time's in "_seconds" */
    const char *help;
    enum slv_metric_kind kind;
    const char *label[SLV_METRIC_LABELS_MAX]; /* NULL: none */
    double bucket[SLV_METRIC_BUCKETS_MAX];    /* upper bounds, ascending; 0 ends them */
};

struct slv_metrics;

/* rows[n] are borrowed. SLV_E_NOMEM. */
int slv_metrics_open(const struct slv_metric *rows, size_t n,
                     struct slv_metrics **ret) SLV_MUST_USE;
void slv_metrics_close(struct slv_metrics *m);

/* Metric i, of the series with these label values (NULL where it has no such label). What cannot
 * be kept for lack of memory is lost. */
void slv_metrics_add(struct slv_metrics *m, size_t i, const char *a, const char *b, double v);
void slv_metrics_set(struct slv_metrics *m, size_t i, const char *a, const char *b, double v);
void slv_metrics_observe(struct slv_metrics *m, size_t i, const char *a, const char *b, double v);

/* What a counter or gauge is; 0 where it was never used. */
double slv_metrics_get(struct slv_metrics *m, size_t i, const char *a, const char *b);

/* Appends all of them. Returns out's status. */
int slv_metrics_write(struct slv_metrics *m, struct slv_buf *out);

#endif
