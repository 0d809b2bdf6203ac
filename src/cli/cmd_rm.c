/* cmd_rm.c: selvage rm: remove models, or what interrupted downloads left. */
#include "cli/cmd.h"
#include "cli/out.h"
#include "base/json.h"
#include "base/log.h"
#include "store/store.h"

struct opts {
    bool partial;
};

static int remove_all(struct slv_store *st, const struct slv_cli *cli, struct slv_json *j,
                      uint64_t *freed, struct slv_err *err) {
    for (size_t i = 0; i < cli->nargs; i++) {
        uint64_t bytes = 0;
        char size[SLV_OUT_SIZE_MAX];
        int rc = slv_store_remove(st, cli->args[i], &bytes, err);
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

static int run(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_store *st = NULL;
    struct slv_buf out;
    struct slv_json j;
    uint64_t freed = 0;
    if (!cli->nargs && !o->partial)
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
};

const struct slv_cmd slv_cmd_rm = {
    .name = "rm",
    .help = "remove models from the local store",
    .args = "NAME...",
    .more = "A file that another name stands for too is kept. A model that is in use keeps "
            "working; its space is freed when it is closed.",
    .max_args = SLV_CMD_ARGS_ANY,
    SLV_CMD_OPTS(rows, struct opts),
    .fn = run,
};
