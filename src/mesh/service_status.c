/* service_status.c: see service.h. What a node says of itself: for people as JSON, for Prometheus
 * as metrics. */
#include "mesh/service_int.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>

#define ODD_NS (60 * (uint64_t)1000000000) /* for which status tells of it */
#define OVER_TOLD 64u                      /* writers that are over, of those that there are */

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
    M_HEALTH,
    M_TERM,
    M_LEADS,
    M_LEADER,
    M_APPLIED,
    M_LOG,
    M_SUSPICIONS,
    M_UNSENT,
    M_HELD,
    M_PLAIN,
    M_PACKED,
    M_CONFLICTS,
    M_LATE,
    M_DROPPED,
    M_STALENESS,
    M_CONVERGENCE,
    M_ROUND,
    M_COMMIT,
    M_UNATTESTED,
    M_WRITERS,
    M_RETIRED,
    M_OVER,
    M_OUTSIDE,
    M_ODD,
    METRICS
};

/* Seconds. */
#define SHORT                                                                                      \
    { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }
#define LONG                                                                                       \
    {                                                                                              \
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, \
            86400                                                                                  \
    }

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
    [M_HEALTH] = {"selvage_mesh_health_score",
                  "0: this node runs when it should; up to 8: it does not",
                  SLV_METRIC_GAUGE,
                  {0},
                  {0}},
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
    [M_UNSENT] = {"selvage_mesh_strong_unsent_total",
                  "messages of the group for which there was no way, or no room",
                  SLV_METRIC_COUNTER,
                  {0},
                  {0}},
    [M_HELD] = {"selvage_mesh_held_total",
                "times that a peer was held up, as it sent more than its rate",
                SLV_METRIC_COUNTER,
                {0},
                {0}},
    [M_PLAIN] = {"selvage_mesh_plain_bytes_total",
                 "bytes of messages that were packed, before",
                 SLV_METRIC_COUNTER,
                 {0},
                 {0}},
    [M_PACKED] = {"selvage_mesh_packed_bytes_total",
                  "bytes of the same messages, after",
                  SLV_METRIC_COUNTER,
                  {0},
                  {0}},
    [M_CONFLICTS] = {"selvage_mesh_conflicts_total",
                     "writes that came while another was there which their writer had not seen",
                     SLV_METRIC_COUNTER,
                     {"space"},
                     {0}},
    [M_LATE] = {"selvage_mesh_late_total",
                "batches that had to wait for what they depend on",
                SLV_METRIC_COUNTER,
                {"space"},
                {0}},
    [M_DROPPED] = {"selvage_mesh_dropped_total",
                   "batches that were not taken, by reason",
                   SLV_METRIC_COUNTER,
                   {"space", "reason"},
                   {0}},
    [M_STALENESS] = {"selvage_mesh_staleness_seconds",
                     "from a write at another node until it was applied here",
                     SLV_METRIC_HISTOGRAM,
                     {"space"},
                     LONG},
    [M_CONVERGENCE] = {"selvage_mesh_convergence_seconds",
                       "for which a peer's sums differed, until they were equal again",
                       SLV_METRIC_HISTOGRAM,
                       {0},
                       LONG},
    [M_ROUND] = {"selvage_mesh_round_bytes",
                 "bytes of a round of repair, both ways",
                 SLV_METRIC_HISTOGRAM,
                 {0},
                 {100, 300, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 1e8}},
    [M_COMMIT] = {"selvage_mesh_strong_commit_seconds",
                  "from proposing until applying of what this node asks as leader",
                  SLV_METRIC_HISTOGRAM,
                  {0},
                  SHORT},
    [M_UNATTESTED] = {"selvage_mesh_unattested_total",
                      "times that a member did not show what its statement wants",
                      SLV_METRIC_COUNTER,
                      {0},
                      {0}},
    [M_WRITERS] = {"selvage_mesh_writers",
                   "writers of which a space has numbers",
                   SLV_METRIC_GAUGE,
                   {"space"},
                   {0}},
    [M_RETIRED] = {"selvage_mesh_retired", "writers that are retired", SLV_METRIC_GAUGE, {0}, {0}},
    [M_OVER] = {"selvage_mesh_over",
                "writers that are over, and wait for members to be retired",
                SLV_METRIC_GAUGE,
                {0},
                {0}},
    [M_OUTSIDE] =
        {"selvage_mesh_outside", "1: no member lets this node in", SLV_METRIC_GAUGE, {0}, {0}},
    [M_ODD] = {"selvage_mesh_odd_total",
               "times that a peer was of another mesh, or had another key, or one that another "
               "machine has",
               SLV_METRIC_COUNTER,
               {"what"},
               {0}},
};

/* --- the node --------------------------------------------------------------------------------- */

static const char *const states[] = {"alive", "suspect", "dead", "left", "removed"};

/* Who must show what it runs, and whether it has: not all of them are members that are known. */
static void tell_attested(const struct slv_node *n, struct slv_json *j) {
    const struct slv_roster *r = slv_node_roster(n);
    slv_json_array(j, "attested");
    for (size_t i = 0; r && i < slv_roster_count(r); i++) {
        struct slv_statement s;
        struct slv_node_attest a;
        const uint8_t *sig;
        char id[20];
        if (slv_statement_read(slv_roster_at(r, i), &s, &sig) ||
            (!s.is_conditional && s.kind != SLV_JOINED) || s.kind == SLV_INVITE)
            continue;
        const uint64_t node = slv_node_id_of(n, s.key);
        slv_node_attest(n, node, &a);
        if (!a.is_wanted) continue;
        snprintf(id, sizeof id, "%016" PRIx64, node);
        slv_json_object(j, NULL);
        slv_json_str(j, "id", id);
        slv_json_strn(j, "name", s.name.p, s.name.n);
        slv_json_bool(j, "attested", a.is_shown);
        if (!a.is_shown) slv_json_str(j, "why", a.why);
        slv_json_object_end(j);
    }
    slv_json_array_end(j);
}

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
        slv_json_bool(j, "connected", slv_node_is_connected(n, m.id));
        slv_json_object_end(j);
    }
    slv_json_array_end(j);
}

/* Writers that are over and not retired yet, and for whom they wait. */
static void tell_over(const struct slv_node *n, struct slv_json *j) {
    struct slv_node_over over[OVER_TOLD];
    const size_t count = slv_node_overs(n, over, OVER_TOLD);
    slv_json_uint(j, "retired", slv_node_retired(n)->n);
    slv_json_array(j, "over");
    for (size_t i = 0; i < count; i++) {
        const struct slv_node_over *o = &over[i];
        char id[20];
        slv_json_object(j, NULL);
        snprintf(id, sizeof id, "%016" PRIx64, o->writer);
        slv_json_str(j, "writer", id);
        snprintf(id, sizeof id, "%016" PRIx64, o->node);
        slv_json_str(j, "node", id);
        slv_json_uint(j, "waits", o->waits);
        snprintf(id, sizeof id, "%016" PRIx64, o->waits_for);
        if (o->waits) slv_json_str(j, "waits_for", id);
        slv_json_bool(j, "differs", o->differs);
        slv_json_bool(j, "too_large", o->is_large);
        slv_json_object_end(j);
    }
    slv_json_array_end(j);
}

/* What is odd, and was not long ago. */
static void tell_odd(const struct slv_service *s, struct slv_json *j) {
    slv_json_array(j, "odd");
    for (size_t i = 0; i < SLV_TRANSPORT_ODDS; i++) {
        const struct slv_service_odd *o = &s->conf.host->odd[i];
        char id[20];
        if (!o->n || s->conf.now() - o->at > ODD_NS) continue;
        snprintf(id, sizeof id, "%016" PRIx64, o->peer);
        slv_json_object(j, NULL);
        slv_json_str(j, "what", slv_transport_odd_text[i].name);
        slv_json_str(j, "node", id);
        slv_json_str(j, "says", slv_transport_odd_text[i].says);
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
    slv_json_bool(&j, "local_only", slv_node_is_alone(n));
    if (s->conf.host->outside[0]) slv_json_str(&j, "outside", s->conf.host->outside);
    tell_odd(s, &j);
    slv_json_uint(&j, "health_score", swim.health);
    slv_json_uint(&j, "connected", c.connected);
    slv_json_uint(&j, "remembered", c.kept);
    tell_members(n, &j);
    tell_attested(n, &j);
    tell_over(n, &j);
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
static uint64_t grown(uint64_t *told, uint64_t now) {
    const uint64_t more = now > *told ? now - *told : 0;
    *told = now;
    return more;
}

static void count(struct slv_service *s, int i, const char *label, uint64_t now) {
    slv_metrics_add(s->metrics, (size_t)i, label, NULL, (double)grown(&s->told[i], now));
}

/* What a space's replica has counted. */
static void tell_space(struct slv_service *s, size_t i) {
    const struct slv_replica_count *c = slv_replica_count(slv_node_replica(s->conf.node, i));
    const struct {
        int metric;
        const char *reason;
        uint64_t v;
    } counts[SERVICE_SPACE_COUNTS] = {
        {M_CONFLICTS, NULL, c->conflicts},      {M_LATE, NULL, c->waited},
        {M_DROPPED, "malformed", c->malformed}, {M_DROPPED, "forged", c->forged},
        {M_DROPPED, "forbidden", c->forbidden}, {M_DROPPED, "in the future", c->in_future},
        {M_DROPPED, "no room", c->put_off},     {M_DROPPED, "full", c->full},
    };
    const char *name = slv_node_space_conf(s->conf.node, i)->name.p;
    for (size_t k = 0; k < SERVICE_SPACE_COUNTS; k++)
        slv_metrics_add(s->metrics, (size_t)counts[k].metric, name, counts[k].reason,
                        (double)grown(&s->told_space[i][k], counts[k].v));
    slv_metrics_set(s->metrics, M_ENTRIES, name, NULL,
                    (double)slv_entries_count(slv_node_read(s->conf.node, i)->entries));
    slv_metrics_set(s->metrics, M_WRITERS, name, NULL,
                    (double)slv_replica_writers(slv_node_replica(s->conf.node, i)));
}

void slv_service_measured(struct slv_service *s, enum slv_node_measure what, size_t space,
                          double value) {
    static const int metric[SLV_NODE_MEASURES] = {[SLV_NODE_STALENESS] = M_STALENESS,
                                                  [SLV_NODE_CONVERGENCE] = M_CONVERGENCE,
                                                  [SLV_NODE_ROUND] = M_ROUND,
                                                  [SLV_NODE_COMMIT] = M_COMMIT};
    const char *name = what == SLV_NODE_STALENESS && s->conf.node
                           ? slv_node_space_conf(s->conf.node, space)->name.p
                           : NULL;
    if (what == SLV_NODE_STALENESS && !name) return;
    slv_metrics_observe(s->metrics, (size_t)metric[what], name, NULL, value);
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
    slv_metrics_set(s->metrics, M_ISOLATED, NULL, NULL, slv_node_is_alone(n));
    slv_metrics_set(s->metrics, M_HEALTH, NULL, NULL, swim.health);
    slv_metrics_set(s->metrics, M_OUTSIDE, NULL, NULL, s->conf.host->outside[0] != 0);
    for (size_t i = 0; i < SLV_TRANSPORT_ODDS; i++)
        slv_metrics_add(s->metrics, M_ODD, slv_transport_odd_text[i].name, NULL,
                        (double)grown(&s->told_odd[i], s->conf.host->odd[i].n));
    for (size_t i = 0; i < slv_node_spaces(n); i++)
        tell_space(s, i);
    const struct {
        int i;
        uint64_t v;
    } counters[] = {{M_SENT, c.bytes_sent},     {M_RECEIVED, c.bytes_received},
                    {M_PUSHED, c.pushed},       {M_ROUNDS, c.rounds},
                    {M_DIFFERING, c.differing}, {M_REFUSED, c.refused},
                    {M_COMMITS, c.commits},     {M_SUSPICIONS, swim.suspected},
                    {M_UNSENT, c.unsent},       {M_UNATTESTED, c.unattested},
                    {M_HELD, c.held},           {M_PLAIN, c.plain_bytes},
                    {M_PACKED, c.packed_bytes}};
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        count(s, counters[i].i, NULL, counters[i].v);
    tell_group(s, slv_node_strong(n));
    slv_metrics_set(s->metrics, M_RETIRED, NULL, NULL, (double)slv_node_retired(n)->n);
    slv_metrics_set(s->metrics, M_OVER, NULL, NULL, (double)slv_node_count_over(n));
    slv_buf_init(&b, BODY_MAX);
    if (!slv_metrics_write(s->metrics, &b)) slv_exchange_reply(x, &r, b.data, b.len);
    else service_refuse(x, 503, "out of memory");
    slv_buf_fini(&b);
}
