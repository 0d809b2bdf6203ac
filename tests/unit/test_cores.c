/* test_cores.c: what a user would lose: a number of threads that fits the machine, whatever it is
 * made of and however much of it a process may use. Machines here are folders. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cores.h"
#include "base/team.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/slv-cores-XXXXXX";

__attribute__((format(printf, 2, 3))) static void put(const char *text, const char *fmt, ...) {
    char path[400];
    int n = snprintf(path, sizeof path, "%s/", root);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(path + n, sizeof path - (size_t)n, fmt, ap);
    va_end(ap);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0700);
        *p = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

#define CPU "sys/devices/system/cpu"

static int remove_it(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static int make(void **state) {
    (void)state;
    strcpy(root + strlen(root) - 6, "XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int clean(void **state) {
    (void)state;
    return nftw(root, remove_it, 16, FTW_DEPTH | FTW_PHYS);
}

static struct slv_cores read_with(uint64_t allowed) {
    struct slv_cores c;
    const struct slv_cpuset set = {{allowed}};
    slv_cores_read(root, &set, &c);
    return c;
}

/* Four cores of two threads: processor i and i + 4. */
static void smt(void) {
    char text[40];
    put("0-7\n", CPU "/online");
    for (int i = 0; i < 8; i++) {
        snprintf(text, sizeof text, "%d,%d\n", i % 4, i % 4 + 4);
        put(text, CPU "/cpu%d/topology/thread_siblings_list", i);
    }
}

static void threads_of_one_core_count_once(void **state) {
    (void)state;
    smt();
    struct slv_cores c = read_with(0xff);
    assert_int_equal(c.online, 8);
    assert_int_equal(c.allowed, 8);
    assert_int_equal(c.cores, 4);
    assert_int_equal(c.threads, 4);
    assert_int_equal(read_with(0x11).threads, 1); /* both of one core */
    assert_int_equal(read_with(0x30).threads, 2); /* the second ones of two */
    assert_int_equal(read_with(0xf1).threads, 4);
    assert_int_equal(read_with(0).threads, 1);
}

static void cores_that_are_off_do_not_count(void **state) {
    (void)state;
    smt();
    put("0-1,4\n", CPU "/online");
    struct slv_cores c = read_with(0xff);
    assert_int_equal(c.online, 3);
    assert_int_equal(c.allowed, 3);
    assert_int_equal(c.threads, 2);
    assert_int_equal(read_with(0xe0).threads, 1); /* none that is on: one all the same */
}

static void nothing_known_means_every_processor_allowed(void **state) {
    (void)state;
    struct slv_cores c = read_with(0x3f);
    assert_int_equal(c.online, 0);
    assert_int_equal(c.threads, 6);
    assert_int_equal(c.n_classes, 1);
    assert_null(c.speed_from);
    static const char *const bad[] = {"",     "\n",   "x",   "0-", "3-1",
                                      "0-3,", "0,,2", "0 1", "-2", "0-7x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put(bad[i], CPU "/online");
        put(bad[i], CPU "/cpu0/topology/thread_siblings_list");
        put(bad[i], CPU "/cpu0/cpu_capacity");
        put(bad[i], "proc/self/cgroup");
        assert_int_equal(read_with(0x3f).threads, 6);
    }
    put("0-99999999999999999999\n",
        CPU "/online"); /* past all limits: all that there is room for */
    assert_int_equal(read_with(0x3f).online, SLV_CORES_MAX);
}

static void cores(const char *file, const char *const *speeds, int n) {
    for (int i = 0; i < n; i++)
        put(speeds[i], CPU "/cpu%d/%s", i, file);
}

static void slow_cores_count_where_they_are_worth_it(void **state) {
    (void)state;
    static const char *const half[] = {"512", "512", "512", "512", "1024", "1024", "1024", "1024"};
    static const char *const third[] = {"300", "300", "300", "300", "1024", "1024", "1024", "1024"};
    static const char *const one[] = {"1024", "400"};
    cores("cpu_capacity", half, 8);
    struct slv_cores c = read_with(0xff);
    assert_int_equal(c.n_classes, 2);
    assert_int_equal(c.classes[0].speed, 1024);
    assert_int_equal(c.classes[0].n, 4);
    assert_int_equal(c.classes[1].n, 4);
    assert_string_equal(c.speed_from, "cpu_capacity");
    assert_int_equal(c.threads, 8);
    cores("cpu_capacity", third, 8);
    assert_int_equal(read_with(0xff).threads, 4);
    assert_int_equal(read_with(0x0f).threads, 4); /* only slow ones: all of them */
    assert_int_equal(read_with(0x1f).threads, 5); /* one fast one is not enough */
    cores("cpu_capacity", one, 2);
    assert_int_equal(read_with(0x03).threads, 1);
}

static void clocks_tell_where_capacities_do_not(void **state) {
    (void)state;
    static const char *const mhz[] = {"3000000", "3000000", "3000000", "900000", "900000"};
    static const char *const favoured[] = {"5700000", "5600000", "5500000", "5400000"};
    cores("cpufreq/cpuinfo_max_freq", mhz, 5);
    put("1024\n", CPU "/cpu0/cpu_capacity"); /* of one alone: no use */
    struct slv_cores c = read_with(0x1f);
    assert_string_equal(c.speed_from, "cpuinfo_max_freq");
    assert_int_equal(c.n_classes, 2);
    assert_int_equal(c.threads, 3);
    cores("cpufreq/cpuinfo_max_freq", favoured, 4);
    assert_int_equal(read_with(0x0f).threads, 4);
}

static void a_quota_is_rounded_up(void **state) {
    (void)state;
    put("0::/\n", "proc/self/cgroup");
    put("150000 100000\n", "sys/fs/cgroup/cpu.max");
    struct slv_cores c = read_with(0xff);
    assert_int_equal(c.quota, 1500);
    assert_int_equal(c.worth, 8);
    assert_int_equal(c.threads, 2);
    put("max 100000\n", "sys/fs/cgroup/cpu.max");
    assert_int_equal(read_with(0xff).threads, 8);
    put("10000 100000\n", "sys/fs/cgroup/cpu.max");
    assert_int_equal(read_with(0xff).threads, 1);
    static const char *const bad[] = {
        "", "x", "150000", "150000 0", "0 100000", "-1 100000", "99999999999999999999 1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put(bad[i], "sys/fs/cgroup/cpu.max");
        assert_int_equal(read_with(0xff).threads, 8);
    }
}

static void groups_above_count_too(void **state) {
    (void)state;
    put("12:cpuset:/\n0::/a.slice/b.service\n", "proc/self/cgroup");
    put("max 100000\n", "sys/fs/cgroup/a.slice/b.service/cpu.max");
    put("300000 100000\n", "sys/fs/cgroup/a.slice/cpu.max");
    assert_int_equal(read_with(0xff).quota, 3000);
    put("250000 100000\n", "sys/fs/cgroup/a.slice/b.service/cpu.max");
    assert_int_equal(read_with(0xff).quota, 2500);
    put("50000 100000\n", "sys/fs/cgroup/cpu.max"); /* a container's own */
    assert_int_equal(read_with(0xff).quota, 500);
    put("0::/../../x\n", "proc/self/cgroup");
    assert_int_equal(read_with(0xff).quota, 500);
    put("0::/not/seen/from/here\n", "proc/self/cgroup");
    assert_int_equal(read_with(0xff).quota, 500);
}

static void the_older_cgroups_count(void **state) {
    (void)state;
    put("5:cpu,cpuacct:/docker/x\n4:cpuacct2,cpuset:/y\n0::/\n", "proc/self/cgroup");
    put("-1\n", "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us");
    put("100000\n", "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us");
    assert_int_equal(read_with(0xff).quota, 0);
    put("450000\n", "sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us");
    put("100000\n", "sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us");
    assert_int_equal(read_with(0xff).quota, 4500);
    assert_int_equal(read_with(0xff).threads, 5);
    put("200000\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us"); /* the other name of the mount */
    put("50000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us");
    assert_int_equal(read_with(0xff).quota, 4000);
    put("9:cpuset:/\n0::/\n", "proc/self/cgroup");
    assert_int_equal(read_with(0xff).quota, 0);
    put("250000 100000\n", "sys/fs/cgroup/unified/cpu.max"); /* both at once */
    assert_int_equal(read_with(0xff).quota, 2500);
}

static void this_machine_has_a_thread(void **state) {
    (void)state;
    struct slv_cores c;
    slv_cores_here(&c);
    assert_true(c.threads >= 1 && c.threads <= c.allowed && c.cores <= c.allowed);
    assert_true(c.allowed <= (size_t)sysconf(_SC_NPROCESSORS_CONF));
    assert_int_equal(slv_team_cpus(), c.threads);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make, clean)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(threads_of_one_core_count_once),
        CASE(cores_that_are_off_do_not_count),
        CASE(nothing_known_means_every_processor_allowed),
        CASE(slow_cores_count_where_they_are_worth_it),
        CASE(clocks_tell_where_capacities_do_not),
        CASE(a_quota_is_rounded_up),
        CASE(groups_above_count_too),
        CASE(the_older_cgroups_count),
        CASE(this_machine_has_a_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
