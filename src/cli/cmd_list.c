/* cmd_list.c: selvage list: what is in the local store. */
#include "cli/cmd.h"
#include "cli/engine.h"
#include "cli/out.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/packfolder.h"
#include "store/store.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define LIST_MAX ((size_t)1 << 28) /* bytes of the listing in memory and as text */

static void write_model(struct slv_json *j, struct slv_store *st, const struct slv_store_model *m) {
    struct slv_buf path;
    slv_buf_init(&path, 8192);
    bool whole = !slv_store_path(st, m, &path, NULL);
    slv_json_object(j, NULL);
    slv_json_str(j, "name", m->name);
    slv_json_uint(j, "size", m->size);
    slv_json_str(j, "sha256", m->files[0].sha256);
    slv_json_str(j, "source", m->source);
    slv_json_uint(j, "added", m->added);
    if (whole) slv_json_str(j, "path", path.data);
    else slv_json_null(j, "path");
    slv_json_array(j, "files");
    for (size_t i = 0; i < m->n_files; i++) {
        slv_json_object(j, NULL);
        slv_json_str(j, "file", m->files[i].file);
        slv_json_str(j, "sha256", m->files[i].sha256);
        slv_json_uint(j, "size", m->files[i].size);
        slv_json_object_end(j);
    }
    slv_json_array_end(j);
    slv_json_object_end(j);
    slv_buf_fini(&path);
}

/* Packed weights are of models, in the store or not: they are counted together. */
static void write_packed(struct slv_json *j) {
    struct slv_packfolder_sum sum = {0};
    struct slv_buf folder;
    slv_buf_init(&folder, 65536);
    if (slv_cli_packed_folder(&folder, NULL) || slv_packfolder_sum(folder.data, &sum, NULL))
        sum = (struct slv_packfolder_sum){0};
    slv_json_object(j, "packed");
    slv_json_uint(j, "models", sum.n);
    slv_json_uint(j, "bytes", sum.bytes);
    slv_json_object_end(j);
    slv_buf_fini(&folder);
}

static int list_json(struct slv_store *st, const struct slv_store_model *v, size_t n,
                     struct slv_err *err) {
    struct slv_buf out;
    struct slv_json j;
    slv_buf_init(&out, LIST_MAX);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "store", slv_store_home(st));
    slv_json_array(&j, "models");
    for (size_t i = 0; i < n; i++)
        write_model(&j, st, &v[i]);
    slv_json_array_end(&j);
    write_packed(&j);
    slv_json_object_end(&j);
    int rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

static void list_text(const struct slv_store_model *v, size_t n) {
    int width = 4;
    for (size_t i = 0; i < n; i++)
        if ((int)strlen(v[i].name) > width) width = (int)strlen(v[i].name);
    if (width > 60) width = 60;
    slv_out_printf("%-*s  %10s  %-10s  %s\n", width, "NAME", "SIZE", "ADDED", "SOURCE");
    for (size_t i = 0; i < n; i++) {
        char size[SLV_OUT_SIZE_MAX], day[16] = "-";
        time_t t = (time_t)v[i].added;
        struct tm tm;
        if (localtime_r(&t, &tm)) strftime(day, sizeof day, "%Y-%m-%d", &tm);
        slv_out_printf("%-*s  %10s  %-10s  %s\n", width, v[i].name, slv_out_size(v[i].size, size),
                       day, v[i].source);
    }
}

static int run(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct slv_arena arena;
    struct slv_store *st = NULL;
    struct slv_store_model *v = NULL;
    size_t n = 0, damaged = 0;
    (void)opts;
    slv_arena_init(&arena, LIST_MAX);
    int rc = slv_store_open(NULL, &st, err);
    if (!rc) rc = slv_store_list(st, &arena, &v, &n, &damaged, err);
    if (!rc && damaged)
        slv_log(SLV_LOG_WARN, "%zu records in %s/names cannot be read", damaged,
                slv_store_home(st));
    if (!rc && cli->json) rc = list_json(st, v, n, err);
    else if (!rc && n) list_text(v, n);
    else if (!rc && !damaged)
        slv_log(SLV_LOG_INFO, "the store is empty: 'selvage pull' gets the default model");
    slv_store_close(st);
    slv_arena_fini(&arena);
    return rc;
}

const struct slv_cmd slv_cmd_list = {
    .name = "list",
    .help = "show the models in the local store",
    .args = "",
    .more = "The store is the folder $SELVAGE_HOME; without it, selvage/ in $XDG_DATA_HOME or "
            "~/.local/share.",
    .fn = run,
};
