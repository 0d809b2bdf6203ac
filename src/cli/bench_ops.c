/* bench_ops.c: bench --ops and --trace: where the time of a token goes, by operator: see bench.h.
 *
 * Times are those of a mean member: work of all members divided by their number, so that operators,
 * waiting and the rest add up to the time of a step; GB/s and TOP/s are of the time in which
 * members work, to be held against the ceilings, which are measured in the same run with as many
 * threads.
 *
 * The trace is the Trace Event Format's array of complete events ("ph":"X", times in us), which
 * chrome://tracing and Perfetto open: a process for each setting, a thread for each member, on the
 * first one each step around its operators. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/bench.h"
#include "cli/out.h"

#include <stdio.h>
#include <string.h>

#define TRACE_EVENTS_MAX 200000 /* of all settings together */
#define TRACE_BYTES_MAX ((size_t)256 << 20)
#define WARM_TOKENS 16
#define NAMES_MAX 32 /* operators that a table tells apart */

/* What is measured now. */
struct setting {
    size_t threads;
    int64_t depth, n;
    bool prompt;
    char test[32];
};

struct ops {
    struct slv_bench *b;
    struct slv_buf text; /* the trace */
    struct slv_json trace;
    uint64_t begun; /* of its first step; 0: there was none */
    size_t pid, events;
    uint64_t lost_steps;
};

/* Operators of one name together. */
struct row {
    const char *name;
    struct slv_profile_row sum;
};

static size_t rows_by_name(const struct slv_plan *plan, const struct slv_profile *p,
                           struct row rows[NAMES_MAX]) {
    size_t n = 0;
    for (size_t i = 0; i < plan->n_ops; i++) {
        const struct slv_profile_row *r = slv_profile_row(p, i);
        const char *name = slv_op_name(&plan->ops[i]);
        size_t k = 0;
        while (k < n && strcmp(rows[k].name, name) != 0)
            k++;
        if (k == NAMES_MAX) continue; /* there are not so many names */
        if (k == n) rows[n++] = (struct row){.name = name};
        struct slv_profile_row *sum = &rows[k].sum;
        sum->calls += r->calls;
        sum->busy_ns += r->busy_ns;
        sum->wait_ns += r->wait_ns;
        sum->weight_bytes += r->weight_bytes;
        sum->kv_bytes += r->kv_bytes;
        sum->macs += r->macs;
    }
    return n;
}

/* --- the table -------------------------------------------------------------------------------- */

/* Numbers of a row; a rate is negative where there is nothing to tell. */
struct figures {
    double calls, us, share, bytes, gbps, tops;
};

static struct figures figures(const struct row *r, const struct slv_profile_sum *all,
                              size_t threads) {
    double ns = (double)r->sum.busy_ns / (double)threads, tokens = (double)all->tokens;
    double bytes = (double)(r->sum.weight_bytes + r->sum.kv_bytes), macs = (double)r->sum.macs;
    return (struct figures){.calls = (double)r->sum.calls / (double)all->steps,
                            .us = ns * 1e-3 / tokens,
                            .share = ns / (double)all->step_ns,
                            .bytes = bytes / tokens,
                            .gbps = bytes > 0.0 && ns > 0.0 ? bytes / ns : -1.0,
                            .tops = macs > 0.0 && ns > 0.0 ? macs * 2e-3 / ns : -1.0};
}

/* "" for a negative one. */
static const char *number(double v, int digits, char out[24]) {
    if (v < 0.0) return "";
    snprintf(out, 24, "%.*f", digits, v);
    return out;
}

static void print_row(const struct row *r, const struct figures *f) {
    char tops[24];
    slv_out_printf("%-17s %6.0f %10.1f %7.1f %%", r->name, f->calls, f->us, f->share * 100.0);
    if (f->gbps >= 0.0)
        slv_out_printf(" %10.2f %8.2f %8s", f->bytes * 1e-6, f->gbps, number(f->tops, 3, tops));
    slv_out_puts("\n");
}

static void print_rest(const char *name, uint64_t ns, const struct slv_profile_sum *all,
                       size_t threads) {
    double mean = (double)ns / (double)threads;
    slv_out_printf("%-17s %6s %10.1f %7.1f %%\n", name, "", mean * 1e-3 / (double)all->tokens,
                   mean / (double)all->step_ns * 100.0);
}

struct ceilings {
    double bus; /* GB/s; 0: the model is too small to tell */
    struct slv_bench_product product;
};

static void print_table(const struct setting *s, const struct slv_profile_sum *all,
                        const struct row *rows, size_t n, const struct ceilings *c) {
    double ns = (double)all->step_ns;
    slv_out_printf("\n%s, %zu thread%s, depth %lld: %.2f tokens/s\n", s->test, s->threads,
                   s->threads == 1 ? "" : "s", (long long)s->depth, (double)all->tokens * 1e9 / ns);
    slv_out_printf("%-17s %6s %10s %9s %10s %8s %8s\n", "operator", "calls", "us/token", "share",
                   "MB/token", "GB/s", "TOP/s");
    for (size_t i = 0; i < n; i++) {
        struct figures f = figures(&rows[i], all, s->threads);
        if (rows[i].sum.calls) print_row(&rows[i], &f);
    }
    print_rest("waiting", all->wait_ns, all, s->threads);
    print_rest("between steps", all->idle_ns, all, s->threads);
    print_rest("all", all->step_ns * s->threads, all, s->threads);
    char bus[24];
    slv_out_printf(
        "ceilings: memory %s GB/s; %s products of %zu column%s from the cache %.2f GB/s, "
        "%.3f TOP/s\n",
        c->bus > 0.0 ? number(c->bus, 2, bus) : "-", c->product.type, c->product.columns,
        c->product.columns == 1 ? "" : "s", c->product.gbps, c->product.tops);
}

static void rate_json(struct slv_json *j, const char *key, double v) {
    if (v < 0.0) slv_json_null(j, key);
    else slv_json_double(j, key, v);
}

static void row_json(struct slv_json *j, const struct row *r, const struct figures *f) {
    slv_json_object(j, NULL);
    slv_json_str(j, "operator", r->name);
    slv_json_double(j, "calls", f->calls);
    slv_json_double(j, "us", f->us);
    slv_json_double(j, "share", f->share);
    slv_json_double(j, "bytes", f->bytes);
    rate_json(j, "gbps", f->gbps);
    rate_json(j, "tops", f->tops);
    slv_json_object_end(j);
}

static void table_json(struct slv_json *j, const struct setting *s,
                       const struct slv_profile_sum *all, const struct row *rows, size_t n,
                       const struct ceilings *c) {
    double members = (double)all->step_ns * (double)s->threads;
    slv_json_object(j, NULL);
    slv_json_str(j, "test", s->test);
    slv_json_uint(j, "threads", s->threads);
    slv_json_int(j, "depth", s->depth);
    slv_json_uint(j, "steps", all->steps);
    slv_json_uint(j, "tokens", all->tokens);
    slv_json_double(j, "tps", (double)all->tokens * 1e9 / (double)all->step_ns);
    slv_json_double(j, "us", (double)all->step_ns * 1e-3 / (double)all->tokens);
    slv_json_array(j, "operators");
    for (size_t i = 0; i < n; i++) {
        struct figures f = figures(&rows[i], all, s->threads);
        if (rows[i].sum.calls) row_json(j, &rows[i], &f);
    }
    slv_json_array_end(j);
    slv_json_double(j, "waiting", (double)all->wait_ns / members);
    slv_json_double(j, "between", (double)all->idle_ns / members);
    slv_json_object(j, "ceilings");
    rate_json(j, "memory_gbps", c->bus > 0.0 ? c->bus : -1.0);
    slv_json_str(j, "type", c->product.type);
    slv_json_uint(j, "columns", c->product.columns);
    slv_json_double(j, "product_gbps", c->product.gbps);
    slv_json_double(j, "product_tops", c->product.tops);
    slv_json_object_end(j);
    slv_json_object_end(j);
}

static int show(struct ops *o, const struct setting *s, const struct slv_profile *p,
                struct slv_err *err) {
    struct row rows[NAMES_MAX];
    struct slv_profile_sum all;
    struct ceilings c = {0};
    struct slv_bench *b = o->b;
    size_t n = rows_by_name(&b->m->plan, p, rows);
    int64_t step = s->n < b->batch_size ? s->n : b->batch_size;
    size_t columns = !s->prompt ? 1 : step < 64 ? (size_t)step : 64;
    slv_profile_sum(p, &all);
    int rc = slv_bench_bus(s->threads, b->m->w.tiles, b->m->w.tile_bytes, &c.bus);
    if (rc == SLV_E_USAGE) rc = 0;
    if (!rc) rc = slv_bench_product(b->m, s->threads, columns, &c.product);
    if (rc) return slv_err_set(err, rc, "ceilings: %s", slv_strerror(rc));
    if (b->cli->json) table_json(&b->j, s, &all, rows, n, &c);
    else print_table(s, &all, rows, n, &c);
    return slv_out_flush(err);
}

/* --- the trace -------------------------------------------------------------------------------- */

static double us(const struct ops *o, uint64_t ns) { return (double)(ns - o->begun) / 1000.0; }

static void event_head(struct ops *o, const char *name, size_t member, uint64_t begin,
                       uint64_t end) {
    struct slv_json *j = &o->trace;
    slv_json_object(j, NULL);
    slv_json_str(j, "name", name);
    slv_json_str(j, "ph", "X");
    slv_json_uint(j, "pid", o->pid);
    slv_json_uint(j, "tid", member);
    slv_json_double(j, "ts", us(o, begin));
    slv_json_double(j, "dur", (double)(end - begin) / 1000.0);
    slv_json_object(j, "args");
}

static void event_end(struct ops *o) {
    slv_json_object_end(&o->trace);
    slv_json_object_end(&o->trace);
    slv_buf_addc(&o->text, '\n');
}

/* The name of a process or thread, which viewers show in place of its number. */
static void name_event(struct ops *o, const char *what, size_t member, const char *name) {
    struct slv_json *j = &o->trace;
    slv_json_object(j, NULL);
    slv_json_str(j, "name", what);
    slv_json_str(j, "ph", "M");
    slv_json_uint(j, "pid", o->pid);
    slv_json_uint(j, "tid", member);
    slv_json_object(j, "args");
    slv_json_str(j, "name", name);
    event_end(o);
}

static void op_event(struct ops *o, const struct slv_profile *p, size_t member,
                     const struct slv_profile_event *e) {
    const struct slv_op *op = &o->b->m->plan.ops[e->op];
    const struct slv_profile_row *row = slv_profile_row(p, e->op);
    event_head(o, slv_op_name(op), member, e->begin, e->end);
    slv_json_uint(&o->trace, "layer", op->layer);
    slv_json_uint(&o->trace, "step", e->step);
    if (row->calls) /* of the operator in a mean step, by all members */
        slv_json_uint(&o->trace, "bytes", (row->weight_bytes + row->kv_bytes) / row->calls);
    event_end(o);
}

/* Each step, and within it member 0's work; then the others'. */
static void trace(struct ops *o, const struct setting *s, const struct slv_profile *p) {
    char name[96];
    size_t n_steps = 0, n = 0, at = 0;
    struct slv_profile_sum sum;
    const struct slv_profile_step *step = slv_profile_steps(p, &n_steps);
    const struct slv_profile_event *e = slv_profile_events(p, 0, &n);
    slv_profile_sum(p, &sum);
    o->lost_steps += sum.lost_steps;
    if (!n_steps) return;
    if (!o->begun) o->begun = step[0].begin;
    o->events += sum.events + n_steps;
    o->pid++;
    snprintf(name, sizeof name, "%s, %zu threads, depth %lld", s->test, s->threads,
             (long long)s->depth);
    name_event(o, "process_name", 0, name);
    for (size_t m = 0; m < s->threads; m++) {
        snprintf(name, sizeof name, "member %zu", m);
        name_event(o, "thread_name", m, name);
    }
    for (size_t i = 0; i < n_steps; i++) {
        event_head(o, s->prompt ? "prompt step" : "token", 0, step[i].begin, step[i].end);
        slv_json_uint(&o->trace, "step", i);
        slv_json_uint(&o->trace, "tokens", step[i].tokens);
        event_end(o);
        for (; at < n && e[at].step == i; at++)
            op_event(o, p, 0, &e[at]);
    }
    for (size_t m = 1; m < s->threads; m++) {
        e = slv_profile_events(p, m, &n);
        for (size_t i = 0; i < n; i++)
            op_event(o, p, m, &e[i]);
    }
}

static int write_trace(struct ops *o, struct slv_err *err) {
    const char *path = o->b->o->trace;
    slv_json_array_end(&o->trace);
    slv_buf_addc(&o->text, '\n');
    if (o->text.status)
        return slv_err_set(err, o->text.status, "%s: %s", path, slv_strerror(o->text.status));
    if (o->lost_steps)
        slv_log(SLV_LOG_WARN, "%s: full after %zu events: %llu steps are not in it, or not whole",
                path, o->events, (unsigned long long)o->lost_steps);
    return slv_file_write(path, o->text.data, o->text.len, 0666, err);
}

/* --- measuring -------------------------------------------------------------------------------- */

static int run_rounds(struct ops *o, const struct setting *s, struct slv_bench_rig *r,
                      struct slv_profile *p, struct slv_err *err) {
    struct slv_bench *b = o->b;
    int64_t rounds = b->o->ops ? b->o->repeat : 1;
    int rc = s->depth ? slv_bench_read(b, r, s->depth, err) : 0;
    for (int64_t i = -1; i < rounds && !rc; i++) {
        int64_t n = i < 0 && s->n > WARM_TOKENS ? WARM_TOKENS : s->n;
        rc = slv_bench_rewind(b, r, s->depth, err);
        if (rc) break;
        if (i == 0) slv_runner_profile(r->runner, p);
        rc = s->prompt ? slv_bench_read(b, r, n, err) : slv_bench_draw(b, r, n, err);
    }
    return rc;
}

static int one_setting(struct ops *o, const struct setting *s, struct slv_err *err) {
    struct slv_bench *b = o->b;
    struct slv_bench_rig r;
    struct slv_profile *p = NULL;
    size_t events = !b->o->trace                   ? 0
                    : o->events < TRACE_EVENTS_MAX ? TRACE_EVENTS_MAX - o->events
                                                   : 1;
    int rc = slv_bench_rig_open(b, s->threads, (uint32_t)(s->depth + s->n), &r, err);
    if (rc) return rc;
    rc = slv_profile_open(&b->m->plan, s->threads, events, &p);
    if (rc) slv_err_set(err, rc, "no memory for a profile");
    else rc = run_rounds(o, s, &r, p, err);
    slv_bench_rig_close(&r);
    if (!rc && b->o->trace) trace(o, s, p);
    if (!rc && b->o->ops) rc = show(o, s, p, err);
    slv_profile_close(p);
    return rc;
}

static int both_tests(struct ops *o, size_t threads, int64_t depth, struct slv_err *err) {
    const struct slv_bench_opts *opts = o->b->o;
    struct setting s = {.threads = threads, .depth = depth, .n = opts->prompt, .prompt = true};
    snprintf(s.test, sizeof s.test, "pp%lld", (long long)s.n);
    int rc = s.n ? one_setting(o, &s, err) : 0;
    s.n = opts->gen;
    s.prompt = false;
    s.threads = slv_bench_drawing(o->b, threads, 1);
    snprintf(s.test, sizeof s.test, "tg%lld", (long long)s.n);
    return !rc && s.n ? one_setting(o, &s, err) : rc;
}

int slv_bench_ops(struct slv_bench *b, const size_t *threads, size_t n, struct slv_err *err) {
    struct ops o = {.b = b};
    int rc = 0;
    slv_buf_init(&o.text, TRACE_BYTES_MAX);
    slv_json_init(&o.trace, &o.text);
    slv_json_array(&o.trace, NULL);
    int64_t most = b->o->prompt > b->o->gen ? b->o->prompt : b->o->gen;
    for (size_t d = 0; d < b->o->depth.n && !rc; d++)
        rc = slv_bench_check_room(b, b->o->depth.v[d], most, err);
    if (!rc && b->o->ops) slv_bench_warn_busy();
    if (b->cli->json && b->o->ops) slv_json_array(&b->j, "ops");
    for (size_t i = 0; i < n && !rc; i++)
        for (size_t d = 0; d < b->o->depth.n && !rc; d++)
            rc = both_tests(&o, threads[i], b->o->depth.v[d], err);
    if (b->cli->json && b->o->ops) slv_json_array_end(&b->j);
    if (!rc && b->o->trace) rc = write_trace(&o, err);
    slv_buf_fini(&o.text);
    return rc;
}
