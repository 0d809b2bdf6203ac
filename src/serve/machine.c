/* machine.c: what the machine and the process are at, from /proc and /sys. What is not there is not
 * told. */
#include "serve/serve_int.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define ZONES "/sys/class/thermal"
#define HOT_C 200.0 /* what is said to be hotter is no temperature */

static uint64_t resident(void) {
    unsigned long long pages = 0, all = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%llu %llu", &all, &pages) != 2) pages = 0;
    if (f) fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void measure_memory(struct slv_metrics *m) {
    unsigned long long kb = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "MemTotal: %llu kB", &kb) == 1)
            slv_metrics_set(m, M_MACHINE_MEMORY, NULL, NULL, (double)kb * 1024.0);
        if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1)
            slv_metrics_set(m, M_MACHINE_FREE, NULL, NULL, (double)kb * 1024.0);
    }
    if (f) fclose(f);
}

static void measure_cpu(struct slv_metrics *m) {
    static const char *const modes[] = {"user",   "nice", "system",  "idle",
                                        "iowait", "irq",  "softirq", "steal"};
    unsigned long long v[8] = {0};
    const double hz = (double)sysconf(_SC_CLK_TCK);
    FILE *f = fopen("/proc/stat", "r");
    int n = f ? fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3],
                       &v[4], &v[5], &v[6], &v[7])
              : 0;
    if (f) fclose(f);
    for (int i = 0; i < n && i < 8; i++)
        slv_metrics_set(m, M_MACHINE_CPU, modes[i], NULL, (double)v[i] / hz);
}

static void measure_zone(struct slv_metrics *m, const char *zone) {
    char path[320], name[64] = "";
    long milli = 0;
    snprintf(path, sizeof path, ZONES "/%s/type", zone);
    FILE *f = fopen(path, "r");
    if (!f || fscanf(f, "%63s", name) != 1) snprintf(name, sizeof name, "%.60s", zone);
    if (f) fclose(f);
    snprintf(path, sizeof path, ZONES "/%s/temp", zone);
    f = fopen(path, "r");
    if (f && fscanf(f, "%ld", &milli) == 1 && (double)milli / 1000.0 < HOT_C)
        slv_metrics_set(m, M_TEMPERATURE, name, NULL, (double)milli / 1000.0);
    if (f) fclose(f);
}

static void measure_heat(struct slv_metrics *m) {
    DIR *d = opendir(ZONES);
    const struct dirent *e;
    while (d && (e = readdir(d)))
        if (!strncmp(e->d_name, "thermal_zone", 12)) measure_zone(m, e->d_name);
    if (d) closedir(d);
}

void serve_machine_measure(struct slv_serve *s) {
    struct slv_metrics *m = s->metrics;
    struct rusage u = {0};
    getrusage(RUSAGE_SELF, &u);
    slv_metrics_set(m, M_CPU, NULL, NULL,
                    (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                        (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
    slv_metrics_set(m, M_RSS, NULL, NULL, (double)resident());
    slv_metrics_set(m, M_CORES, NULL, NULL, (double)sysconf(_SC_NPROCESSORS_ONLN));
    measure_memory(m);
    measure_cpu(m);
    measure_heat(m);
}
