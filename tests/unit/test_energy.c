/* test_energy.c: what a user would lose: joules that were used, each once, and none made up. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/energy.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/slv-energy-XXXXXX";

static void put(const char *zone, const char *file, const char *text) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, zone);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/%s", folder, zone, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void zone(const char *dir, const char *name, const char *uj, const char *range) {
    put(dir, "name", name);
    put(dir, "energy_uj", uj);
    put(dir, "max_energy_range_uj", range);
}

static int remove_it(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static int make(void **state) {
    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int clean(void **state) {
    (void)state;
    return nftw(folder, remove_it, 8, FTW_DEPTH | FTW_PHYS);
}

static void packages_and_memory_count_once(void **state) {
    (void)state;
    static struct slv_energy e;
    uint64_t uj = 1;
    zone("intel-rapl:0", "package-0\n", "1000\n", "262143328850\n");
    zone("intel-rapl:1", "package-1\n", "5\n", "262143328850\n");
    zone("intel-rapl:0:0", "core\n", "10\n", "262143328850\n");
    zone("intel-rapl:0:2", "dram\n", "100\n", "65712999613\n");
    zone("intel-rapl:2", "psys\n", "7\n", "262143328850\n");
    zone("intel-rapl-mmio:0", "package-0\n", "1000\n", "262143328850\n");
    put("intel-rapl", "enabled", "1\n"); /* the control type, no zone */
    assert_int_equal(slv_energy_begin(&e, folder), 0);
    assert_int_equal(e.n, 3);
    assert_int_equal(slv_energy_read(&e, &uj), 0);
    assert_int_equal(uj, 0);
    put("intel-rapl:0", "energy_uj", "1500\n");
    put("intel-rapl:1", "energy_uj", "6\n");
    put("intel-rapl:0:0", "energy_uj", "9999\n");
    put("intel-rapl:0:2", "energy_uj", "140\n");
    put("intel-rapl:2", "energy_uj", "9999\n");
    put("intel-rapl-mmio:0", "energy_uj", "1500\n");
    assert_int_equal(slv_energy_read(&e, &uj), 0);
    assert_int_equal(uj, 500 + 1 + 40);
}

static void counters_wrap(void **state) {
    (void)state;
    static struct slv_energy e;
    uint64_t uj = 0;
    zone("intel-rapl:0", "package-0\n", "990\n", "999\n");
    assert_int_equal(slv_energy_begin(&e, folder), 0);
    put("intel-rapl:0", "energy_uj", "999\n");
    assert_int_equal(slv_energy_read(&e, &uj), 0);
    assert_int_equal(uj, 9);
    put("intel-rapl:0", "energy_uj", "4\n"); /* 0 follows 999 */
    assert_int_equal(slv_energy_read(&e, &uj), 0);
    assert_int_equal(uj, 14);
    put("intel-rapl:0", "energy_uj", "3\n");
    assert_int_equal(slv_energy_read(&e, &uj), 0);
    assert_int_equal(uj, 14 + 999);
}

static void what_cannot_be_read_is_no_number(void **state) {
    (void)state;
    static struct slv_energy e;
    uint64_t uj = 77;
    assert_int_equal(slv_energy_begin(&e, "/nonexistent"), SLV_E_NOENT);
    assert_int_equal(slv_energy_begin(&e, folder), SLV_E_NOENT);
    zone("intel-rapl:0", "package-0\n", "", "999\n");
    assert_int_equal(slv_energy_begin(&e, folder), SLV_E_NOENT);
    zone("intel-rapl:0", "package-0\n", "-5\n", "999\n");
    assert_int_equal(slv_energy_begin(&e, folder), SLV_E_NOENT);
    zone("intel-rapl:0", "package-0\n", "12x\n", "999\n");
    assert_int_equal(slv_energy_begin(&e, folder), SLV_E_NOENT);
    zone("intel-rapl:0", "package-0\n", "1000\n", "999\n"); /* past its own end */
    assert_int_equal(slv_energy_begin(&e, folder), SLV_E_NOENT);
    zone("intel-rapl:0", "package-0\n", "12\n", "999\n");
    assert_int_equal(slv_energy_begin(&e, folder), 0);
    put("intel-rapl:0", "energy_uj", "\n");
    assert_int_equal(slv_energy_read(&e, &uj), SLV_E_IO);
    assert_int_equal(uj, 77);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(packages_and_memory_count_once, make, clean),
        cmocka_unit_test_setup_teardown(counters_wrap, make, clean),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_is_no_number, make, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
