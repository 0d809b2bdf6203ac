/* cmd_rm.c: selvage rm: remove models with their packed weights, or what interrupted downloads
 * left. */
#include "cli/cmd.h"
#include "cli/engine.h"
#include "cli/out.h"
#include "cli/tuned.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/model.h"
#include "engine/packfolder.h"
#include "store/open.h"
#include "store/store.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

struct opts {
    bool partial, packed;
};

/* Where a model's file is, its packed weights, and what was tuned for it here; "" for what cannot
 * be told: such a model is removed all the same. */
static void find_files(struct slv_store *st, const char *name, struct slv_buf *file,
                       struct slv_buf *packed, struct slv_buf *tuned) {
    struct slv_model_opts look = {.inspect = true};
    struct slv_store_model sm;
    struct slv_model *m = NULL;
    struct slv_arena arena;
    struct slv_buf folder;
    slv_arena_init(&arena, (size_t)1 << 24);
    slv_buf_init(&folder, 65536);
    bool ok = !slv_store_find(st, name, &arena, &sm, NULL) &&
              !slv_store_path(st, &sm, file, NULL) && !slv_cli_packed_folder(&folder, NULL) &&
              !slv_store_model_open(file->data, NULL, &look, &m, NULL);
    if (ok) {
        const struct slv_repack_model rm = slv_model_repack(m);
        if (slv_repack_path(&rm, folder.data, packed)) slv_buf_clear(packed);
        if (slv_tuned_path(m, tuned)) slv_buf_clear(tuned);
    }
    slv_model_close(m);
    slv_buf_fini(&folder);
    slv_arena_fini(&arena);
}

/* Drops what belongs to a model whose file has gone; another name may still stand for it. */
static uint64_t drop(const struct slv_buf *file, const struct slv_buf *own) {
    struct stat s;
    bool gone = file->len && access(file->data, F_OK) && errno == ENOENT;
    if (!gone || !own->len || lstat(own->data, &s) || unlink(own->data)) return 0;
    return (uint64_t)s.st_blocks * 512;
}

static int remove_one(struct slv_store *st, const char *name, uint64_t *ret_freed,
                      struct slv_err *err) {
    struct slv_buf file, packed, tuned;
    slv_buf_init(&file, 65536);
    slv_buf_init(&packed, 65536);
    slv_buf_init(&tuned, 65536);
    find_files(st, name, &file, &packed, &tuned);
    int rc = slv_store_remove(st, name, ret_freed, err);
    if (!rc) *ret_freed += drop(&file, &packed) + drop(&file, &tuned);
    slv_buf_fini(&file);
    slv_buf_fini(&packed);
    slv_buf_fini(&tuned);
    return rc;
}

static int remove_all(struct slv_store *st, const struct slv_cli *cli, struct slv_json *j,
                      uint64_t *freed, struct slv_err *err) {
    for (size_t i = 0; i < cli->nargs; i++) {
        uint64_t bytes = 0;
        char size[SLV_OUT_SIZE_MAX];
        int rc = remove_one(st, cli->args[i], &bytes, err);
        if (rc) return rc;
        *freed += bytes;
        slv_json_str(j, NULL, cli->args[i]);
        if (!cli->json)
            slv_log(SLV_LOG_INFO, "%s: removed, %s freed", cli->args[i], slv_out_size(bytes, size));
    }
    return 0;
}

static int clean(struct slv_store *st, const struct slv_cli *cli, uint64_t *freed,
                 struct slv_err *err) {
    struct slv_store_partials gone = {0};
    char size[SLV_OUT_SIZE_MAX];
    int rc = slv_store_clean(st, &gone, err);
    if (rc) return rc;
    *freed += gone.bytes;
    if (!cli->json)
        slv_log(SLV_LOG_INFO, "%zu unfinished downloads removed, %s freed", gone.n,
                slv_out_size(gone.bytes, size));
    return 0;
}

static int clear_packed(const struct slv_cli *cli, uint64_t *freed, struct slv_err *err) {
    struct slv_packfolder_sum gone = {0};
    struct slv_buf folder;
    char size[SLV_OUT_SIZE_MAX];
    slv_buf_init(&folder, 65536);
    int rc = slv_cli_packed_folder(&folder, err);
    if (!rc) rc = slv_packfolder_clear(folder.data, &gone, err);
    slv_buf_fini(&folder);
    if (rc) return rc;
    *freed += gone.bytes + gone.left_bytes;
    if (!cli->json)
        slv_log(SLV_LOG_INFO, "packed weights of %zu models removed, %s freed", gone.n,
                slv_out_size(gone.bytes + gone.left_bytes, size));
    return 0;
}

static int run(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_store *st = NULL;
    struct slv_buf out;
    struct slv_json j;
    uint64_t freed = 0;
    if (!cli->nargs && !o->partial && !o->packed)
        return slv_err_set(err, SLV_E_USAGE, "rm: nothing named: usage: selvage rm NAME...");
    int rc = slv_store_open(NULL, &st, err);
    if (rc) return rc;
    slv_buf_init(&out, (size_t)1 << 24);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    slv_json_array(&j, "removed");
    rc = remove_all(st, cli, &j, &freed, err);
    slv_json_array_end(&j);
    if (!rc && o->partial) rc = clean(st, cli, &freed, err);
    if (!rc && o->packed) rc = clear_packed(cli, &freed, err);
    slv_json_uint(&j, "freed", freed);
    slv_json_object_end(&j);
    if (!rc && cli->json) rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    slv_store_close(st);
    return rc;
}

static const struct slv_opt rows[] = {
    {"partial", 0, SLV_OPT_FLAG_AT(struct opts, partial),
     .help = "also remove what interrupted downloads left; those in progress stay"},
    {"packed", 0, SLV_OPT_FLAG_AT(struct opts, packed),
     .help = "also remove the packed weights of all models; the next start packs them again"},
};

const struct slv_cmd slv_cmd_rm = {
    .name = "rm",
    .help = "remove models from the local store",
    .args = "NAME...",
    .more = "A file that another name stands for too is kept. A model that is in use keeps "
            "working; its space is freed when it is closed. A model's packed weights go with it.",
    .max_args = SLV_CMD_ARGS_ANY,
    SLV_CMD_OPTS(rows, struct opts),
    .fn = run,
};
