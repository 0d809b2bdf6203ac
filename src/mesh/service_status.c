/* service_status.c: see service.h. What a node says of itself: for people as JSON, for Prometheus
 * as metrics. */
#include "mesh/service_int.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    M_MEMBERS,
    M_CONNECTED,
    M_ENTRIES,
    M_SENT,
    M_RECEIVED,
    M_PUSHED,
    M_ROUNDS,
    M_DIFFERING,
    M_REFUSED,
    M_COMMITS,
    M_ISOLATED,
    M_TERM,
    M_LEADS,
    M_LEADER,
    M_APPLIED,
    M_LOG,
    M_SUSPICIONS,
    METRICS
};

static const struct slv_metric metrics[METRICS] = {
    [M_MEMBERS] = {"selvage_mesh_members", "members by state", SLV_METRIC_GAUGE, {"state"}, {0}},
    [M_CONNECTED] =
        {"selvage_mesh_connected", "peers with an association", SLV_METRIC_GAUGE, {0}, {0}},
    [M_ENTRIES] = {"selvage_mesh_entries", "entries of a space", SLV_METRIC_GAUGE, {"space"}, {0}},
    [M_SENT] = {"selvage_mesh_sent_bytes_total",
                "bytes to peers, before encryption",
                SLV_METRIC_COUNTER,
                {0},
                {0}},
    [M_RECEIVED] =
        {"selvage_mesh_received_bytes_total", "bytes of peers", SLV_METRIC_COUNTER, {0}, {0}},
    [M_PUSHED] =
        {"selvage_mesh_pushed_total", "batches pushed, times peers", SLV_METRIC_COUNTER, {0}, {0}},
    [M_ROUNDS] =
        {"selvage_mesh_rounds_total", "times that sums were told", SLV_METRIC_COUNTER, {0}, {0}},
    [M_DIFFERING] = {"selvage_mesh_differing_total",
                     "sums of peers that differed",
                     SLV_METRIC_COUNTER,
                     {0},
                     {0}},
    [M_REFUSED] = {"selvage_mesh_refused_total",
                   "datagrams and messages that were refused",
                   SLV_METRIC_COUNTER,
                   {0},
                   {0}},
    [M_COMMITS] =
        {"selvage_mesh_commits_total", "transactions of the store", SLV_METRIC_COUNTER, {0}, {0}},
    [M_ISOLATED] =
        {"selvage_mesh_local_only", "1: no other node answers", SLV_METRIC_GAUGE, {0}, {0}},
    [M_TERM] = {"selvage_mesh_strong_term", "term of the group", SLV_METRIC_GAUGE, {0}, {0}},
    [M_LEADS] = {"selvage_mesh_strong_leads", "1: this node leads it", SLV_METRIC_GAUGE, {0}, {0}},
    [M_LEADER] =
        {"selvage_mesh_strong_has_leader", "1: a leader is known", SLV_METRIC_GAUGE, {0}, {0}},
    [M_APPLIED] = {"selvage_mesh_strong_applied_total",
                   "entries of its log that are applied here",
                   SLV_METRIC_COUNTER,
                   {0},
                   {0}},
    [M_LOG] = {"selvage_mesh_strong_log_bytes", "its log here", SLV_METRIC_GAUGE, {0}, {0}},
    [M_SUSPICIONS] = {"selvage_mesh_suspicions_total",
                      "members that were suspected",
                      SLV_METRIC_COUNTER,
                      {0},
                      {0}},
};

/* --- the node --------------------------------------------------------------------------------- */

static const char *const states[] = {"alive", "suspect", "dead", "left", "removed"};

static void tell_members(const struct slv_node *n, struct slv_json *j) {
    struct slv_swim *swim = slv_node_swim(n);
    slv_json_array(j, "members");
    for (size_t i = 0; swim && i < slv_swim_count(swim); i++) {
        struct slv_swim_member m;
        char id[20];
        slv_swim_at(swim, i, &m);
        snprintf(id, sizeof id, "%016" PRIx64, m.id);
        slv_json_object(j, NULL);
        slv_json_str(j, "id", id);
        slv_json_str(j, "state", states[m.state]);
        slv_json_bool(j, "self", m.id == slv_node_id(n));
        slv_json_double(j, "rtt_ms", m.rtt_us / 1e3);
        slv_json_object_end(j);
    }
    slv_json_array_end(j);
}

void service_status(struct slv_service *s, struct slv_exchange *x) {
    const struct slv_node *n = s->conf.node;
    struct slv_node_stats c;
    struct slv_swim_counters swim = {0};
    struct slv_buf b;
    struct slv_json j;
    char id[20];
    snprintf(id, sizeof id, "%016" PRIx64, slv_node_id(n));
    slv_node_stats(n, &c);
    if (slv_node_swim(n)) slv_swim_count_all(slv_node_swim(n), &swim);
    service_begin(&b, &j);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "mesh", s->conf.mesh);
    slv_json_str(&j, "node", id);
    slv_json_bool(&j, "local_only", swim.isolated);
    slv_json_uint(&j, "connected", c.connected);
    tell_members(n, &j);
    slv_json_array(&j, "spaces");
    for (size_t i = 0; i < slv_node_spaces(n); i++)
        service_tell_space(n, i, &j);
    for (size_t i = 0; i < slv_node_agreed_count(n); i++)
        service_strong_tell_space(n, i, &j);
    slv_json_array_end(&j);
    service_strong_status(n, &j);
    slv_json_uint(&j, "bytes_sent", c.bytes_sent);
    slv_json_uint(&j, "bytes_received", c.bytes_received);
    slv_json_uint(&j, "pushed", c.pushed);
    slv_json_uint(&j, "rounds", c.rounds);
    slv_json_uint(&j, "differing", c.differing);
    slv_json_uint(&j, "refused", c.refused);
    slv_json_object_end(&j);
    service_reply(s, x, NULL, 200, &b);
}

/* Counters only grow here: those of a node that was opened anew begin again. */
static void count(struct slv_service *s, int i, const char *label, uint64_t now) {
    const uint64_t more = now > s->told[i] ? now - s->told[i] : 0;
    s->told[i] = now;
    slv_metrics_add(s->metrics, (size_t)i, label, NULL, (double)more);
}

static void tell_group(struct slv_service *s, const struct slv_strong *g) {
    struct slv_strong_stats c = {0};
    if (!g) return;
    slv_strong_stats(g, &c);
    slv_metrics_set(s->metrics, M_TERM, NULL, NULL, (double)slv_strong_term(g));
    slv_metrics_set(s->metrics, M_LEADS, NULL, NULL, slv_strong_leads(g));
    slv_metrics_set(s->metrics, M_LEADER, NULL, NULL, slv_strong_leader(g) != 0);
    slv_metrics_set(s->metrics, M_LOG, NULL, NULL, (double)c.log_bytes);
    count(s, M_APPLIED, NULL, slv_strong_applied(g));
}

int service_metrics_open(struct slv_service *s) {
    s->told = slv_mem_calloc(METRICS, sizeof *s->told);
    const int rc = s->told ? slv_metrics_open(metrics, METRICS, &s->metrics) : SLV_E_NOMEM;
    if (!rc) return 0;
    slv_mem_free(s->told);
    s->told = NULL;
    return rc;
}

void service_metrics(struct slv_service *s, struct slv_exchange *x) {
    const struct slv_reply r = {.status = 200, .type = "text/plain; version=0.0.4"};
    const struct slv_node *n = s->conf.node;
    struct slv_swim_counters swim = {0};
    struct slv_node_stats c;
    struct slv_buf b;
    slv_node_stats(n, &c);
    if (slv_node_swim(n)) slv_swim_count_all(slv_node_swim(n), &swim);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        slv_metrics_set(s->metrics, M_MEMBERS, states[i], NULL, swim.members[i]);
    slv_metrics_set(s->metrics, M_CONNECTED, NULL, NULL, (double)c.connected);
    slv_metrics_set(s->metrics, M_ISOLATED, NULL, NULL, swim.isolated);
    for (size_t i = 0; i < slv_node_spaces(n); i++)
        slv_metrics_set(s->metrics, M_ENTRIES, slv_node_space_conf(n, i)->name.p, NULL,
                        (double)slv_entries_count(slv_node_read(n, i)->entries));
    const struct {
        int i;
        uint64_t v;
    } counters[] = {{M_SENT, c.bytes_sent}, {M_RECEIVED, c.bytes_received}, {M_PUSHED, c.pushed},
                    {M_ROUNDS, c.rounds},   {M_DIFFERING, c.differing},     {M_REFUSED, c.refused},
                    {M_COMMITS, c.commits}, {M_SUSPICIONS, swim.suspected}};
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        count(s, counters[i].i, NULL, counters[i].v);
    tell_group(s, slv_node_strong(n));
    slv_buf_init(&b, BODY_MAX);
    if (!slv_metrics_write(s->metrics, &b)) slv_exchange_reply(x, &r, b.data, b.len);
    else service_refuse(x, 503, "out of memory");
    slv_buf_fini(&b);
}
