/* test_metrics.c: what Prometheus reads is what was counted, in a form that it takes whatever
 * models are called, and nobody grows the server by inventing names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "net/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { REQUESTS, WAITING, TIMES, N };

static const struct slv_metric rows[N] = {
    [REQUESTS] = {"t_requests_total", "By model.", SLV_METRIC_COUNTER, {"model", "status"}, {0}},
    [WAITING] = {"t_waiting", "Now.", SLV_METRIC_GAUGE, {NULL, NULL}, {0}},
    [TIMES] = {"t_seconds", "Took.", SLV_METRIC_HISTOGRAM, {"model", NULL}, {0.01, 0.1, 1}},
};

static struct slv_metrics *m;
static struct slv_buf out;

static int set_up(void **state) {
    (void)state;
    slv_buf_init(&out, 1 << 20);
    return slv_metrics_open(rows, N, &m);
}

static int tear_down(void **state) {
    (void)state;
    slv_metrics_close(m);
    slv_buf_fini(&out);
    return 0;
}

static const char *text(void) {
    slv_buf_clear(&out);
    assert_int_equal(slv_metrics_write(m, &out), 0);
    assert_true(slv_utf8_valid(out.data, out.len, NULL));
    return out.data;
}

static void has(const char *line) {
    if (!strstr(text(), line)) fail_msg("not there: %s in\n%s", line, out.data);
}

static void what_was_never_used_is_said_once(void **state) {
    (void)state;
    assert_string_equal(text(), "# HELP t_requests_total By model.\n"
                                "# TYPE t_requests_total counter\n"
                                "# HELP t_waiting Now.\n"
                                "# TYPE t_waiting gauge\n"
                                "t_waiting 0\n"
                                "# HELP t_seconds Took.\n"
                                "# TYPE t_seconds histogram\n");
    assert_true(slv_metrics_get(m, REQUESTS, "a", "200") == 0.0);
    assert_null(strstr(text(), "\"a\"")); /* asking makes no series */
}

static void series_are_kept_apart(void **state) {
    (void)state;
    slv_metrics_add(m, REQUESTS, "a", "200", 1);
    slv_metrics_add(m, REQUESTS, "a", "200", 2);
    slv_metrics_add(m, REQUESTS, "a", "400", 1);
    slv_metrics_add(m, REQUESTS, "b", NULL, 0.25);
    slv_metrics_set(m, WAITING, NULL, NULL, 7);
    slv_metrics_set(m, WAITING, NULL, NULL, 5);
    has("t_requests_total{model=\"a\",status=\"200\"} 3\n");
    has("t_requests_total{model=\"a\",status=\"400\"} 1\n");
    has("t_requests_total{model=\"b\",status=\"\"} 0.25\n");
    has("t_waiting 5\n");
    assert_true(slv_metrics_get(m, REQUESTS, "a", "200") == 3.0);
}

static void names_cannot_break_the_form(void **state) {
    (void)state;
    slv_metrics_add(m, REQUESTS, "a\"} 1\nx{y=\"\\", "200", 1);
    has("{model=\"a\\\"} 1\\nx{y=\\\"\\\\\",status=\"200\"} 1\n");
    slv_metrics_add(m, REQUESTS, "\xff\xc3(\r", "200",
                    1); /* no UTF-8: a name of a file may be so */
    text();
}

/* Where a long name is cut it stays text: one byte of half a character loses the whole page. */
static void long_names_stay_text(void **state) {
    (void)state;
    for (size_t pad = 90; pad <= 100; pad++) {
        char name[400];
        size_t n = pad;
        memset(name, 'a', pad);
        for (; n < 300; n += 3)
            memcpy(name + n, "\xe2\x82\xac", 3);
        name[n] = '\0';
        slv_metrics_add(m, REQUESTS, name, "200", 1);
        slv_metrics_add(m, REQUESTS, name, "200", 1);
        assert_true(slv_metrics_get(m, REQUESTS, name, "200") >= 2.0);
        text();
    }
}

static void inventing_names_grows_nothing(void **state) {
    double sum = 0.0;
    size_t lines = 0;
    (void)state;
    for (int i = 0; i < 5000; i++) {
        char name[20];
        snprintf(name, sizeof name, "m%d", i);
        slv_metrics_add(m, REQUESTS, name, "200", 1);
    }
    for (const char *p = strstr(text(), "t_requests_total{"); p && *p == 't';
         p = strchr(p, '\n') + 1) {
        double v = 0.0;
        if (strncmp(p, "t_requests_total", 16) != 0) break;
        assert_int_equal(sscanf(strchr(p, '}'), "} %lf", &v), 1);
        sum += v;
        lines++;
    }
    assert_int_equal(lines, SLV_METRIC_SERIES_MAX);
    assert_true(sum == 5000.0); /* none is lost */
    has("{model=\"other\",status=\"other\"} 4745\n");
    slv_metrics_add(m, REQUESTS, "m3", "200", 1);
    has("{model=\"m3\",status=\"200\"} 2\n");
}

static void times_add_up(void **state) {
    static const double v[] = {0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 7.0};
    (void)state;
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        slv_metrics_observe(m, TIMES, "a", NULL, v[i]);
    has("t_seconds_bucket{model=\"a\",le=\"0.01\"} 2\n"
        "t_seconds_bucket{model=\"a\",le=\"0.1\"} 4\n"
        "t_seconds_bucket{model=\"a\",le=\"1\"} 6\n"
        "t_seconds_bucket{model=\"a\",le=\"+Inf\"} 7\n"
        "t_seconds_sum{model=\"a\"} 8.661\n"
        "t_seconds_count{model=\"a\"} 7\n");
}

static void numbers_keep_their_digits(void **state) {
    (void)state;
    slv_metrics_set(m, WAITING, NULL, NULL, 17179869184.0);
    has("t_waiting 17179869184\n");
    slv_metrics_set(m, WAITING, NULL, NULL, -1.5e-7);
    has("t_waiting -1.5e-07\n");
}

static void *count(void *arg) {
    (void)arg;
    for (int i = 0; i < 2000; i++) {
        slv_metrics_add(m, REQUESTS, i % 2 ? "a" : "b", "200", 1);
        slv_metrics_observe(m, TIMES, "a", NULL, 0.5);
    }
    return NULL;
}

static void threads_lose_nothing(void **state) {
    pthread_t t[4];
    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, count, NULL), 0);
    for (int i = 0; i < 20; i++)
        text();
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_true(slv_metrics_get(m, REQUESTS, "a", "200") == 4000.0);
    has("t_seconds_count{model=\"a\"} 8000\n");
}

static void memory_that_runs_out_loses_a_count(void **state) {
    struct slv_metrics *other = NULL;
    (void)state;
    for (uint64_t i = 1; i <= 2; i++) {
        slv_mem_fail_at(i);
        assert_int_equal(slv_metrics_open(rows, N, &other), SLV_E_NOMEM);
        slv_mem_fail_at(0);
    }
    slv_mem_fail_at(1);
    slv_metrics_observe(m, TIMES, "a", NULL, 1.0);
    slv_mem_fail_at(0);
    assert_null(strstr(text(), "t_seconds_count"));
    slv_metrics_observe(m, TIMES, "a", NULL, 1.0);
    has("t_seconds_count{model=\"a\"} 1\n");
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_was_never_used_is_said_once),   TEST(series_are_kept_apart),
        TEST(names_cannot_break_the_form),        TEST(long_names_stay_text),
        TEST(inventing_names_grows_nothing),      TEST(times_add_up),
        TEST(numbers_keep_their_digits),          TEST(threads_lose_nothing),
        TEST(memory_that_runs_out_loses_a_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
