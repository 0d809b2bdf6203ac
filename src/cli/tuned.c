/* tuned.c: see tuned.h. */
#include "cli/tuned.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sum.h"
#include "base/team.h"
#include "engine/packfolder.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD "selvage tuned "
#define VERSION "1"
#define FILE_MAX 4096
#define CPUINFO_BYTES 16384 /* all processors are like the first */
#define PATH_BYTES 65536
#define SEED 1 /* of sums */

/* --- texts ------------------------------------------------------------------------------------ */

/* What stands behind "key   : " in /proc/cpuinfo's first such line; false if there is none. */
static bool cpuinfo(const char *text, const char *key, struct slv_buf *out) {
    size_t n = strlen(key);
    for (const char *s = text; s && *s; s = strchr(s, '\n'), s = s ? s + 1 : s) {
        if (strncmp(s, key, n) != 0) continue;
        const char *p = s + n + strspn(s + n, " \t");
        if (*p++ != ':') continue;
        p += strspn(p, " \t");
        size_t len = strcspn(p, "\n");
        if (!len) continue;
        slv_buf_add(out, p, len < 200 ? len : 200);
        return true;
    }
    return false;
}

int slv_tuned_machine(const char *root, size_t threads, const char *level, struct slv_buf *out) {
    static const char *const keys[] = {"model name", "CPU part", "cpu model", "uarch"};
    struct slv_buf path, text;
    bool found = false;
    slv_buf_init(&path, PATH_BYTES);
    slv_buf_init(&text, CPUINFO_BYTES);
    slv_buf_addf(&path, "%s/proc/cpuinfo", root);
    int rc = path.status ? path.status : slv_file_read(path.data, &text, NULL);
    for (size_t i = 0; i < sizeof keys / sizeof *keys && (!rc || rc == SLV_E_LIMIT) && !found; i++)
        found = cpuinfo(text.data, keys[i], out);
    if (!found) slv_buf_adds(out, "unknown");
    slv_buf_fini(&path);
    slv_buf_fini(&text);
    return slv_buf_addf(out, ", %zu threads, %s", threads, level);
}

int slv_tuned_text(const struct slv_tuned *t, const char *machine, uint64_t model,
                   struct slv_buf *out) {
    size_t begin = out->len;
    slv_buf_addf(out,
                 HEAD VERSION "\nmachine %s\nmodel %016" PRIx64 "\nprompt_threads %" PRIu32
                              "\ndecode_threads %" PRIu32 "\nprompt_batch %" PRIu32 "\n",
                 machine, model, t->prompt_threads, t->decode_threads, t->prompt_batch);
    if (out->status) return out->status;
    return slv_buf_addf(out, "sum %016" PRIx64 "\n",
                        slv_sum64(out->data + begin, out->len - begin, SEED));
}

/* The number of the line that begins with key; 0: there is none. */
static uint32_t line_number(const char *text, const char *key) {
    const char *at = strstr(text, key);
    unsigned long v = at ? strtoul(at + strlen(key), NULL, 10) : 0;
    return v > UINT32_MAX ? 0 : (uint32_t)v;
}

/* A file is right if it is, to the byte, what would be written for the numbers that it holds. */
const char *slv_tuned_read(const char *text, size_t n, const char *machine, uint64_t model,
                           struct slv_tuned *ret) {
    if (n < sizeof HEAD || strncmp(text, HEAD, sizeof HEAD - 1) != 0) return "is damaged";
    if (strncmp(text + sizeof HEAD - 1, VERSION "\n", sizeof VERSION) != 0)
        return "is of another version";
    struct slv_tuned t = {.prompt_threads = line_number(text, "\nprompt_threads "),
                          .decode_threads = line_number(text, "\ndecode_threads "),
                          .prompt_batch = line_number(text, "\nprompt_batch ")};
    struct slv_buf want;
    slv_buf_init(&want, FILE_MAX);
    bool same =
        !slv_tuned_text(&t, machine, model, &want) && want.len == n && !memcmp(want.data, text, n);
    slv_buf_fini(&want);
    if (!same) return "is damaged, or of another machine or model";
    if (t.decode_threads < 1 || t.decode_threads > t.prompt_threads ||
        t.prompt_threads > SLV_TEAM_MAX || t.prompt_batch < 1 ||
        t.prompt_batch > SLV_TUNED_BATCH_MAX)
        return "holds a number out of range";
    *ret = t;
    return NULL;
}

/* --- files ------------------------------------------------------------------------------------ */

/* Who model and machine are, and where their file is. */
struct place {
    struct slv_buf folder, path, machine;
    uint64_t model;
};

static void place_fini(struct place *p) {
    slv_buf_fini(&p->folder);
    slv_buf_fini(&p->path);
    slv_buf_fini(&p->machine);
}

static int model_key(struct slv_model *m, uint64_t *ret) {
    const struct slv_repack_model rm = slv_model_repack(m);
    struct slv_buf b;
    slv_buf_init(&b, PATH_BYTES);
    int rc = slv_repack_path(&rm, "", &b);
    if (!rc) *ret = strtoull(b.data + 1, NULL, 16); /* "/KEY.tiles" */
    slv_buf_fini(&b);
    return rc;
}

static int find_place(struct slv_model *m, struct place *ret, struct slv_err *err) {
    struct slv_store *st = NULL;
    struct place p;
    slv_buf_init(&p.folder, PATH_BYTES);
    slv_buf_init(&p.path, PATH_BYTES);
    slv_buf_init(&p.machine, FILE_MAX);
    int rc = slv_store_open(NULL, &st, err);
    if (!rc) {
        slv_buf_addf(&p.folder, "%s/tuned", slv_store_home(st));
        rc = model_key(m, &p.model);
        slv_tuned_machine("", slv_team_cpus(), slv_cpu_name(m->kern.level), &p.machine);
        slv_buf_addf(&p.path, "%s/%016" PRIx64 "-%016" PRIx64, p.folder.data, p.model,
                     slv_sum64(p.machine.data, p.machine.len, SEED));
        if (!rc) rc = p.path.status ? p.path.status : p.machine.status;
        if (rc) slv_err_set(err, rc, "tuned: %s", slv_strerror(rc));
    }
    slv_store_close(st);
    if (rc) place_fini(&p);
    else *ret = p;
    return rc;
}

/* Whether anything was ever found on this machine: if not, nothing need be read. */
static bool is_there(void) {
    struct slv_store *st = NULL;
    struct slv_buf folder;
    if (slv_store_open(NULL, &st, NULL)) return false;
    slv_buf_init(&folder, PATH_BYTES);
    slv_buf_addf(&folder, "%s/tuned", slv_store_home(st));
    bool there = !folder.status && !access(folder.data, F_OK);
    slv_buf_fini(&folder);
    slv_store_close(st);
    return there;
}

int slv_tuned_load(struct slv_model *m, struct slv_tuned *ret) {
    struct place p;
    struct slv_buf text;
    struct slv_err err = {0};
    if (!is_there() || find_place(m, &p, NULL)) return SLV_E_NOENT;
    slv_buf_init(&text, FILE_MAX);
    int rc = slv_file_read(p.path.data, &text, &err);
    if (!rc) {
        const char *why = slv_tuned_read(text.data, text.len, p.machine.data, p.model, ret);
        if (why) rc = slv_err_set(&err, SLV_E_FORMAT, "%s: %s", p.path.data, why);
    }
    if (rc && rc != SLV_E_NOENT)
        slv_log(SLV_LOG_WARN, "%s: passed over; 'selvage bench --tune' makes it anew", err.msg);
    slv_buf_fini(&text);
    place_fini(&p);
    return rc ? SLV_E_NOENT : 0;
}

int slv_tuned_save(struct slv_model *m, const struct slv_tuned *t, struct slv_buf *ret_path,
                   struct slv_err *err) {
    struct place p;
    struct slv_buf text;
    int rc = find_place(m, &p, err);
    if (rc) return rc;
    slv_buf_init(&text, FILE_MAX);
    rc = slv_packfolder_make(p.folder.data, err);
    if (!rc && slv_tuned_text(t, p.machine.data, p.model, &text))
        rc = slv_err_set(err, text.status, "tuned: %s", slv_strerror(text.status));
    if (!rc) rc = slv_file_write(p.path.data, text.data, text.len, 0600, err);
    if (!rc) slv_buf_add(ret_path, p.path.data, p.path.len);
    slv_buf_fini(&text);
    place_fini(&p);
    return rc;
}

bool slv_tuned_apply(struct slv_model *m, struct slv_session_opts *o) {
    struct slv_tuned t;
    const char *env = getenv("SLV_THREADS");
    bool threads = !o->threads && !(env && *env), batch = !o->n_batch && !o->memory;
    if ((!threads && !batch) || slv_tuned_load(m, &t)) return false;
    if (threads) {
        o->threads = t.prompt_threads;
        o->threads_few = t.decode_threads;
    }
    if (batch) o->n_batch = t.prompt_batch;
    return true;
}

int slv_tuned_path(struct slv_model *m, struct slv_buf *path) {
    struct place p;
    int rc = find_place(m, &p, NULL);
    if (rc) return rc;
    slv_buf_add(path, p.path.data, p.path.len);
    place_fini(&p);
    return path->status;
}
