/* cores.c: see cores.h. */
#define _GNU_SOURCE
#include "base/cores.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/team.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX 65536
#define PATH_BYTES 8192
#define CPUS "/sys/devices/system/cpu"

/* The text of root + a path; "" if there is none. out is empty. */
__attribute__((format(printf, 3, 4))) static const char *
text_of(const char *root, struct slv_buf *out, const char *fmt, ...) {
    struct slv_buf path;
    va_list ap;
    slv_buf_init(&path, PATH_BYTES);
    slv_buf_clear(out);
    slv_buf_adds(&path, root);
    va_start(ap, fmt);
    slv_buf_vaddf(&path, fmt, ap);
    va_end(ap);
    if (path.status || slv_file_read(path.data, out, NULL)) slv_buf_clear(out);
    slv_buf_fini(&path);
    return out->data;
}

/* --- sets of processors ----------------------------------------------------------------------- */

static bool has(const struct slv_cpuset *s, size_t i) { return s->bits[i / 64] >> (i % 64) & 1; }

static size_t count(const struct slv_cpuset *s) {
    size_t n = 0;
    for (size_t i = 0; i < SLV_CORES_MAX / 64; i++)
        n += (size_t)__builtin_popcountll(s->bits[i]);
    return n;
}

/* "0-3,8,10-11"; false where it is anything else. Numbers past the limit are left out. */
static bool read_list(const char *s, struct slv_cpuset *ret) {
    struct slv_cpuset set = {0};
    do {
        char *end;
        if (*s < '0' || *s > '9') return false;
        unsigned long first = strtoul(s, &end, 10), last = first;
        if (*end == '-' && end[1] >= '0' && end[1] <= '9') last = strtoul(end + 1, &end, 10);
        if (last < first) return false;
        for (unsigned long i = first; i <= last && i < SLV_CORES_MAX; i++)
            set.bits[i / 64] |= UINT64_C(1) << (i % 64);
        s = end;
    } while (*s++ == ',');
    if (s[-1] && s[-1] != '\n') return false;
    *ret = set;
    return true;
}

/* One processor of each core: the lowest that may be used. */
static void drop_siblings(const char *root, const struct slv_cpuset *allowed,
                          struct slv_cpuset *ret) {
    struct slv_cpuset siblings, seen = {0};
    struct slv_buf text;
    slv_buf_init(&text, FILE_MAX);
    *ret = (struct slv_cpuset){0};
    for (size_t i = 0; i < SLV_CORES_MAX; i++) {
        if (!has(allowed, i) || has(&seen, i)) continue;
        ret->bits[i / 64] |= UINT64_C(1) << (i % 64);
        if (!read_list(text_of(root, &text, CPUS "/cpu%zu/topology/thread_siblings_list", i),
                       &siblings))
            continue;
        for (size_t k = 0; k < SLV_CORES_MAX / 64; k++)
            seen.bits[k] |= siblings.bits[k];
    }
    slv_buf_fini(&text);
}

/* --- classes of cores ------------------------------------------------------------------------- */

static int by_speed(const void *a, const void *b) {
    const struct slv_core_class *x = a, *y = b;
    return x->speed > y->speed ? -1 : x->speed < y->speed;
}

static bool add_core(struct slv_cores *c, uint64_t speed) {
    size_t k = 0;
    while (k < c->n_classes && c->classes[k].speed != speed)
        k++;
    if (k == SLV_CORE_CLASSES_MAX) return false;
    if (k == c->n_classes) c->classes[c->n_classes++] = (struct slv_core_class){.speed = speed};
    c->classes[k].n++;
    return true;
}

/* By a file that each core has; false where one has not, or there are too many classes. */
static bool classes_by(const char *root, const struct slv_cpuset *cores, const char *file,
                       struct slv_cores *c) {
    struct slv_buf text;
    bool ok = true;
    slv_buf_init(&text, FILE_MAX);
    c->n_classes = 0;
    for (size_t i = 0; i < SLV_CORES_MAX && ok; i++) {
        if (!has(cores, i)) continue;
        uint64_t speed = strtoull(text_of(root, &text, CPUS "/cpu%zu/%s", i, file), NULL, 10);
        ok = speed > 0 && speed < UINT32_MAX && add_core(c, speed);
    }
    slv_buf_fini(&text);
    return ok && c->n_classes;
}

static void find_classes(const char *root, const struct slv_cpuset *cores, struct slv_cores *c) {
    c->speed_from = "cpu_capacity";
    if (!classes_by(root, cores, "cpu_capacity", c)) {
        c->speed_from = "cpuinfo_max_freq";
        if (!classes_by(root, cores, "cpufreq/cpuinfo_max_freq", c)) {
            c->speed_from = NULL;
            c->n_classes = 1;
            c->classes[0] = (struct slv_core_class){.n = c->cores, .speed = 1};
        }
    }
    qsort(c->classes, c->n_classes, sizeof *c->classes, by_speed);
}

size_t slv_cores_best(const struct slv_core_class *classes, size_t n) {
    double speeds = 0.0, least = 0.0;
    size_t k = 0, best = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < classes[i].n; j++) {
            double speed = (double)classes[i].speed / (double)classes[0].speed;
            speeds += speed;
            k++;
            double time = 1.0 / speeds + (i ? 1.0 / (SLV_TEAM_PIECES * (double)k * speed) : 0.0);
            if (best && time >= least) continue;
            best = k;
            least = time;
        }
    return best;
}

/* --- quotas ----------------------------------------------------------------------------------- */

static void limit(uint64_t quota, uint64_t period, uint64_t *milli) {
    if (!quota || !period || quota > UINT64_MAX / 2000 || period > UINT32_MAX) return;
    uint64_t n = (quota * 1000 + period - 1) / period;
    if (!*milli || n < *milli) *milli = n;
}

/* Version 2: "max 100000" or "150000 100000". */
static void limit_v2(const char *root, const char *folder, size_t n, struct slv_buf *text,
                     uint64_t *milli) {
    const char *s = text_of(root, text, "%.*s/cpu.max", (int)n, folder);
    char *end;
    uint64_t quota = strtoull(s, &end, 10);
    if (*s >= '0' && *s <= '9' && *end == ' ') limit(quota, strtoull(end + 1, NULL, 10), milli);
}

/* Version 1: -1 for no limit. */
static void limit_v1(const char *root, const char *folder, size_t n, struct slv_buf *text,
                     uint64_t *milli) {
    const char *s = text_of(root, text, "%.*s/cpu.cfs_quota_us", (int)n, folder);
    if (*s < '0' || *s > '9') return;
    uint64_t quota = strtoull(s, NULL, 10);
    s = text_of(root, text, "%.*s/cpu.cfs_period_us", (int)n, folder);
    limit(quota, strtoull(s, NULL, 10), milli);
}

/* A group's limit and those of all above it, to the folder that the hierarchy is mounted on: in a
 * container that is the container's own group, whatever the path to it outside. */
static void limit_path(const char *root, const char *mount, const char *path, size_t n, bool v2,
                       uint64_t *milli) {
    struct slv_buf folder, text;
    slv_buf_init(&folder, PATH_BYTES);
    slv_buf_init(&text, FILE_MAX);
    slv_buf_addf(&folder, "%s%.*s", mount, (int)n, path);
    size_t end = folder.status ? 0 : folder.len, least = strlen(mount);
    if (end && folder.data[end - 1] == '/') end--;
    while (end >= least) {
        (v2 ? limit_v2 : limit_v1)(root, folder.data, end, &text, milli);
        if (end == least) break;
        while (end > least && folder.data[end - 1] != '/')
            end--;
        if (end > least) end--;
    }
    slv_buf_fini(&folder);
    slv_buf_fini(&text);
}

/* Whether a list of controllers, "cpu,cpuacct", has the processor's. */
static bool names_cpu(const char *s, size_t n) {
    for (size_t i = 0, len; i < n; i += len + 1) {
        for (len = 0; i + len < n && s[i + len] != ',';)
            len++;
        if (len == 3 && !memcmp(s + i, "cpu", 3)) return true;
    }
    return false;
}

/* A line of /proc/self/cgroup: number, controllers (version 2: none), path. */
static void limit_line(const char *root, const char *line, size_t n, uint64_t *milli) {
    static const char *const v1[] = {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"};
    static const char *const v2[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    const char *names = memchr(line, ':', n), *end = line + n;
    const char *path = names ? memchr(names + 1, ':', (size_t)(end - names - 1)) : NULL;
    if (!path || path + 1 == end || path[1] != '/') return;
    size_t n_names = (size_t)(path - names - 1), n_path = (size_t)(end - path - 1);
    if (n_names && !names_cpu(names + 1, n_names)) return;
    if (memmem(path, n_path + 1, "/..", 3)) n_path = 0; /* outside of what is mounted here */
    for (size_t i = 0; i < 2; i++)
        limit_path(root, n_names ? v1[i] : v2[i], path + 1, n_path, !n_names, milli);
}

static uint64_t quota(const char *root) {
    struct slv_buf text;
    uint64_t milli = 0;
    slv_buf_init(&text, FILE_MAX);
    for (const char *s = text_of(root, &text, "/proc/self/cgroup"); *s;) {
        size_t n = strcspn(s, "\n");
        limit_line(root, s, n, &milli);
        s += n + (s[n] == '\n');
    }
    slv_buf_fini(&text);
    return milli;
}

/* --- the whole -------------------------------------------------------------------------------- */

void slv_cores_read(const char *root, const struct slv_cpuset *allowed, struct slv_cores *ret) {
    struct slv_cores c = {0};
    struct slv_cpuset online, usable = *allowed, cores;
    struct slv_buf text;
    slv_buf_init(&text, FILE_MAX);
    if (read_list(text_of(root, &text, CPUS "/online"), &online)) {
        c.online = count(&online);
        for (size_t i = 0; i < SLV_CORES_MAX / 64; i++)
            usable.bits[i] &= online.bits[i];
    }
    slv_buf_fini(&text);
    c.allowed = count(&usable);
    drop_siblings(root, &usable, &cores);
    c.cores = count(&cores);
    find_classes(root, &cores, &c);
    c.worth = slv_cores_best(c.classes, c.n_classes);
    c.quota = quota(root);
    uint64_t most = (c.quota + 999) / 1000;
    c.threads = c.quota && most < c.worth ? (size_t)most : c.worth;
    if (!c.threads) c.threads = 1;
    *ret = c;
}

void slv_cores_here(struct slv_cores *ret) {
    struct slv_cpuset all;
    /* Fails where the machine may have more processors than the set has room for. */
    if (sched_getaffinity(0, sizeof all, (cpu_set_t *)(void *)&all) < 0)
        all = (struct slv_cpuset){0};
    slv_cores_read("", &all, ret);
}
