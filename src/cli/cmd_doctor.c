/* cmd_doctor.c: selvage doctor: what this machine is to this program, and what is wrong.
 *
 * Each check appends findings: facts, warnings and problems. Problems, things that will make a
 * command fail, set exit status 1; warnings do not. Sources of facts: CPUID through kernel/cpu.h,
 * base/cores.h, /proc/meminfo, cgroup v2's memory.max, /sys/kernel/mm/transparent_hugepage. */
#include "cli/cmd.h"
#include "cli/engine.h"
#include "cli/work.h"
#include "base/cores.h"
#include "base/json.h"
#include "base/team.h"
#include "engine/packfolder.h"
#include "kernel/cpu.h"
#include "store/hub.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct opts {
    bool verify;
};

struct report {
    const struct slv_cli *cli;
    struct slv_json j;
    struct slv_buf json, findings; /* findings: the elements of a JSON array */
    struct slv_json fj;
    struct slv_buf text; /* the findings as lines */
    size_t problems, warnings;
};

__attribute__((format(printf, 4, 5))) static void finding(struct report *r, const char *level,
                                                          const char *what, const char *fmt, ...) {
    char msg[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    if (!strcmp(level, "problem")) r->problems++;
    else r->warnings++;
    slv_json_object(&r->fj, NULL);
    slv_json_str(&r->fj, "level", level);
    slv_json_str(&r->fj, "what", what);
    slv_json_str(&r->fj, "message", msg);
    slv_json_object_end(&r->fj);
    slv_buf_addf(&r->text, "%s: %s: %s\n", level, what, msg);
}

__attribute__((format(printf, 3, 4))) static void line(struct report *r, const char *what,
                                                       const char *fmt, ...) {
    char msg[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    if (!r->cli->json) slv_out_printf("%-12s %s\n", what, msg);
}

/* --- processor -------------------------------------------------------------------------------- */

static void check_cpu(struct report *r) {
    enum slv_cpu_level best = SLV_CPU_SCALAR, used = SLV_CPU_SCALAR;
    bool lowered = false;
    const char *cap = getenv("SLV_CPU");
    struct slv_buf names;
    slv_buf_init(&names, 1000);
    if (cap && !*cap) cap = NULL;
    if (slv_cpu_choose(NULL, &best, &lowered)) best = SLV_CPU_SCALAR;
    used = best;
    if (cap && slv_cpu_choose(cap, &used, &lowered))
        finding(r, "problem", "SLV_CPU", "'%s' is no instruction set this program knows", cap);
    else if (cap && lowered)
        finding(r, "warning", "SLV_CPU", "%s is not there: %s is used", cap, slv_cpu_name(used));
    slv_json_object(&r->j, "cpu");
    slv_json_str(&r->j, "level", slv_cpu_name(used));
    slv_json_str(&r->j, "best", slv_cpu_name(best));
    if (cap) slv_json_str(&r->j, "cap", cap);
    else slv_json_null(&r->j, "cap");
    slv_json_array(&r->j, "has");
    for (int l = 0; l < SLV_CPU_LEVELS; l++) {
        if (!slv_cpu_has((enum slv_cpu_level)l)) continue;
        slv_json_str(&r->j, NULL, slv_cpu_name((enum slv_cpu_level)l));
        slv_buf_addf(&names, "%s%s", names.len ? ", " : "", slv_cpu_name((enum slv_cpu_level)l));
    }
    slv_json_array_end(&r->j);
    slv_json_object_end(&r->j);
    line(r, "cpu", "%s%s%s (has %s)", slv_cpu_name(used), cap ? ", SLV_CPU=" : "", cap ? cap : "",
         names.data);
    slv_buf_fini(&names);
}

static void cores_json(struct slv_json *j, const struct slv_cores *c) {
    slv_json_uint(j, "usable", slv_team_cpus());
    slv_json_uint(j, "online", c->online);
    slv_json_uint(j, "allowed", c->allowed);
    slv_json_uint(j, "physical", c->cores);
    slv_json_array(j, "classes");
    for (size_t i = 0; i < c->n_classes && c->speed_from; i++) {
        slv_json_object(j, NULL);
        slv_json_uint(j, "cores", c->classes[i].n);
        slv_json_uint(j, c->speed_from, c->classes[i].speed);
        slv_json_object_end(j);
    }
    slv_json_array_end(j);
    if (c->quota) slv_json_double(j, "quota", (double)c->quota / 1000.0);
    else slv_json_null(j, "quota");
}

/* Each reason for which there are fewer threads than processors. */
static void cores_lines(struct report *r, const struct slv_cores *c) {
    size_t n = slv_team_cpus();
    line(r, "cores", "%zu thread%s by default: %zu processors of %zu may be used", n,
         n == 1 ? "" : "s", c->allowed, c->online);
    if (c->cores < c->allowed)
        line(r, "", "they are %zu cores: of those that share one, one counts", c->cores);
    for (size_t i = 0; i < c->n_classes && c->n_classes > 1; i++)
        line(r, "", "%zu cores of %s %" PRIu64, c->classes[i].n, c->speed_from,
             c->classes[i].speed);
    if (c->worth < c->cores)
        line(r, "", "the fastest %zu: more would wait for the slowest", c->worth);
    if (c->quota)
        line(r, "", "the cgroup grants the time of %.2f processors", (double)c->quota / 1000.0);
}

static void check_threads(struct report *r) {
    struct slv_cores c;
    slv_cores_here(&c);
    size_t usable = slv_team_cpus();
    const char *set = getenv("SLV_THREADS");
    char *end = NULL;
    unsigned long n = set && *set ? strtoul(set, &end, 10) : 0;
    bool bad = set && *set && (*end || n < 1 || n > SLV_TEAM_MAX || set[0] == '-');
    if (bad)
        finding(r, "problem", "SLV_THREADS", "'%s' is not a number from 1 to %d", set,
                SLV_TEAM_MAX);
    else if (n > usable)
        finding(r, "warning", "SLV_THREADS", "%lu threads on %zu usable cores: slower than %zu", n,
                usable, usable);
    slv_json_object(&r->j, "cores");
    cores_json(&r->j, &c);
    if (n && !bad) slv_json_uint(&r->j, "threads", n);
    else slv_json_null(&r->j, "threads");
    slv_json_object_end(&r->j);
    cores_lines(r, &c);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* "MemTotal:  123 kB" of /proc/meminfo, in bytes; 0 if it is not there. */
static uint64_t meminfo(const char *key) {
    char text[200];
    uint64_t kib = 0;
    size_t n = strlen(key);
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(text, sizeof text, f))
        if (!strncmp(text, key, n) && text[n] == ':') {
            if (sscanf(text + n + 1, "%" SCNu64, &kib) != 1) kib = 0;
            break;
        }
    if (f) fclose(f);
    return kib * 1024;
}

/* First line of a small file, without its newline; false if there is none. */
static bool first_line(const char *path, char *out, int size) {
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(out, size, f);
    if (f) fclose(f);
    if (ok) out[strcspn(out, "\n")] = '\0';
    return ok;
}

static void check_memory(struct report *r) {
    char total_s[SLV_OUT_SIZE_MAX], free_s[SLV_OUT_SIZE_MAX], text[200];
    uint64_t total = meminfo("MemTotal"), available = meminfo("MemAvailable"), limit = 0;
    if (first_line("/sys/fs/cgroup/memory.max", text, sizeof text))
        limit = strtoull(text, NULL, 10);
    slv_json_object(&r->j, "memory");
    slv_json_uint(&r->j, "total", total);
    slv_json_uint(&r->j, "available", available);
    if (limit) slv_json_uint(&r->j, "limit", limit);
    else slv_json_null(&r->j, "limit");
    slv_json_object_end(&r->j);
    line(r, "memory", "%s available of %s", slv_out_size(available, free_s),
         slv_out_size(total, total_s));
    if (limit && limit < total)
        line(r, "", "limited to %s by the cgroup", slv_out_size(limit, free_s));
    if (available && available < slv_alias_default()->size * 2)
        finding(r, "warning", "memory", "%s available: little even for the default model",
                slv_out_size(available, free_s));
}

static void check_huge_pages(struct report *r) {
    char text[200], *open, *shut;
    const char *mode = "unknown";
    if (first_line("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text) &&
        (open = strchr(text, '[')) && (shut = strchr(open, ']'))) {
        *shut = '\0';
        mode = open + 1;
    }
    slv_json_str(&r->j, "huge_pages", mode);
    line(r, "huge pages", "%s", mode);
    if (!strcmp(mode, "never"))
        finding(r, "warning", "huge pages",
                "off: as root, 'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled' makes "
                "large models faster");
}

/* --- store ------------------------------------------------------------------------------------ */

/* The store's folder, or the nearest one above it that is there. */
static void nearest_folder(const char *home, char out[4096]) {
    snprintf(out, 4096, "%s", home);
    while (access(out, F_OK) && errno == ENOENT) {
        char *slash = strrchr(out, '/');
        if (!slash) {
            snprintf(out, 4096, ".");
            return;
        }
        slash[slash == out] = '\0';
    }
}

static void check_models(struct report *r, struct slv_store *st, const struct slv_store_model *v,
                         size_t n, const struct slv_ui *ui) {
    for (size_t i = 0; i < n; i++) {
        struct slv_err e = {0};
        struct slv_buf path;
        slv_buf_init(&path, 8192);
        int rc = slv_store_path(st, &v[i], &path, &e);
        if (!rc && ui) rc = slv_store_verify(st, &v[i], ui, &e);
        if (rc) finding(r, "problem", "store", "%s", e.msg);
        slv_buf_fini(&path);
        if (rc == SLV_E_CANCELLED) return;
    }
}

static void check_disk(struct report *r, struct slv_store *st) {
    char folder[4096], size[SLV_OUT_SIZE_MAX];
    struct statvfs fs;
    uint64_t space = 0;
    nearest_folder(slv_store_home(st), folder);
    if (!statvfs(folder, &fs)) space = (uint64_t)fs.f_bavail * fs.f_frsize;
    slv_json_uint(&r->j, "free", space);
    line(r, "", "%s free on its disk", slv_out_size(space, size));
    if (access(folder, W_OK)) finding(r, "problem", "store", "%s: %s", folder, strerror(errno));
    else if (space < slv_alias_default()->size + ((uint64_t)16 << 20))
        finding(r, "warning", "store", "%s free: not enough for another small model",
                slv_out_size(space, size));
}

static void check_packed(struct report *r) {
    struct slv_packfolder_sum sum = {0};
    struct slv_err e = {0};
    struct slv_buf folder;
    char size[SLV_OUT_SIZE_MAX];
    slv_buf_init(&folder, 65536);
    int rc = slv_cli_packed_folder(&folder, &e);
    if (!rc) rc = slv_packfolder_judge(folder.data, &e);
    if (!rc) rc = slv_packfolder_sum(folder.data, &sum, &e);
    if (rc && rc != SLV_E_NOENT)
        finding(r, "warning", "packed", "%s: every start packs weights anew", e.msg);
    if (sum.n_left)
        finding(r, "warning", "packed", "%zu half-written files, %s: 'selvage rm --packed'",
                sum.n_left, slv_out_size(sum.left_bytes, size));
    slv_json_object(&r->j, "packed");
    slv_json_uint(&r->j, "models", sum.n);
    slv_json_uint(&r->j, "bytes", sum.bytes);
    slv_json_object_end(&r->j);
    line(r, "", "packed weights of %zu models, %s", sum.n, slv_out_size(sum.bytes, size));
    slv_buf_fini(&folder);
}

static int check_store(struct report *r, const struct slv_ui *ui, struct slv_err *err) {
    struct slv_arena arena;
    struct slv_store *st = NULL;
    struct slv_store_model *v = NULL;
    struct slv_store_partials partial = {0};
    struct slv_err e = {0};
    char size[SLV_OUT_SIZE_MAX];
    size_t n = 0, damaged = 0;
    uint64_t bytes = 0;
    slv_arena_init(&arena, (size_t)1 << 28);
    int rc = slv_store_open(NULL, &st, err);
    if (rc) goto out;
    if (slv_store_list(st, &arena, &v, &n, &damaged, &e) || slv_store_partials(st, &partial, &e))
        finding(r, "problem", "store", "%s", e.msg);
    if (damaged)
        finding(r, "problem", "store", "%zu records in %s/names cannot be read", damaged,
                slv_store_home(st));
    for (size_t i = 0; i < n; i++)
        bytes += v[i].size;
    slv_json_object(&r->j, "store");
    slv_json_str(&r->j, "path", slv_store_home(st));
    slv_json_uint(&r->j, "models", n);
    slv_json_uint(&r->j, "bytes", bytes);
    slv_json_uint(&r->j, "partial", partial.n);
    slv_json_uint(&r->j, "partial_bytes", partial.bytes);
    line(r, "store", "%s", slv_store_home(st));
    line(r, "", "%zu models, %s", n, slv_out_size(bytes, size));
    check_disk(r, st);
    check_packed(r);
    slv_json_object_end(&r->j);
    if (partial.n)
        finding(r, "warning", "store",
                "%zu unfinished downloads, %s: pull again to finish them, or 'selvage rm "
                "--partial'",
                partial.n, slv_out_size(partial.bytes, size));
    check_models(r, st, v, n, ui);
    if (ui && slv_ui_cancelled(ui)) rc = slv_err_set(err, SLV_E_CANCELLED, "doctor: interrupted");
out:
    slv_store_close(st);
    slv_arena_fini(&arena);
    return rc;
}

/* --- the whole -------------------------------------------------------------------------------- */

static int conclude(struct report *r, struct slv_err *err) {
    slv_json_bool(&r->j, "ok", !r->problems);
    slv_json_array(&r->j, "findings");
    r->json.status = r->json.status ? r->json.status : r->findings.status;
    slv_buf_add(&r->json, r->findings.data, r->findings.len);
    slv_json_array_end(&r->j);
    slv_json_object_end(&r->j);
    if (r->cli->json) return slv_out_line(&r->json, err);
    slv_out_puts(r->text.data);
    if (!r->problems) slv_out_puts(r->warnings ? "no problems\n" : "all is well\n");
    return 0;
}

static int run(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct report r = {.cli = cli};
    struct slv_work work;
    slv_buf_init(&r.json, (size_t)1 << 24);
    slv_buf_init(&r.findings, (size_t)1 << 23);
    slv_buf_init(&r.text, (size_t)1 << 23);
    slv_json_init(&r.j, &r.json);
    slv_json_init(&r.fj, &r.findings);
    if (o->verify) slv_work_init(&work, cli);
    slv_json_object(&r.j, NULL);
    slv_json_str(&r.j, "version", slv_version());
    line(&r, "selvage", "%s", slv_version());
    check_cpu(&r);
    check_threads(&r);
    check_memory(&r);
    check_huge_pages(&r);
    int rc = check_store(&r, o->verify ? &work.ui : NULL, err);
    if (o->verify) slv_work_end(&work);
    if (!rc) rc = conclude(&r, err);
    if (!rc && r.problems) rc = 1; /* already said */
    slv_buf_fini(&r.json);
    slv_buf_fini(&r.findings);
    slv_buf_fini(&r.text);
    return rc;
}

static const struct slv_opt rows[] = {
    {"verify", 0, SLV_OPT_FLAG_AT(struct opts, verify),
     .help = "read every model in the store and compare it with its digest"},
};

const struct slv_cmd slv_cmd_doctor = {
    .name = "doctor",
    .help = "say what this machine is, and what is missing or misconfigured",
    .args = "",
    .more = "Exit status 1 if something will make a command fail; warnings alone leave it at 0.",
    SLV_CMD_OPTS(rows, struct opts),
    .fn = run,
};
