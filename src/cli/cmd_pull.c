/* cmd_pull.c: selvage pull: a model into the local store, from the Hub or from a file. */
#include "cli/cmd.h"
#include "cli/work.h"
#include "base/json.h"
#include "base/log.h"
#include "store/hub.h"
#include "store/open.h"
#include "store/pull.h"

#include <string.h>

struct opts {
    const char *from, *source, *as;
    bool link;
    int64_t timeout, retries;
};

static int report(const struct slv_cli *cli, struct slv_store *st, const char *name,
                  const struct slv_pull_result *r, struct slv_err *err) {
    struct slv_arena arena;
    struct slv_store_model m;
    struct slv_buf path, out;
    struct slv_json j;
    char size[SLV_OUT_SIZE_MAX];
    slv_arena_init(&arena, (size_t)8 << 20);
    slv_buf_init(&path, 8192);
    slv_buf_init(&out, (size_t)1 << 20);
    int rc = slv_store_find(st, name, &arena, &m, err);
    if (!rc) rc = slv_store_path(st, &m, &path, err);
    if (!rc && cli->json) {
        slv_json_init(&j, &out);
        slv_json_object(&j, NULL);
        slv_json_str(&j, "name", m.name);
        slv_json_str(&j, "path", path.data);
        slv_json_str(&j, "sha256", m.files[0].sha256);
        slv_json_uint(&j, "size", m.size);
        slv_json_uint(&j, "fetched", r->fetched);
        slv_json_bool(&j, "pinned", r->pinned);
        slv_json_str(&j, "source", m.source);
        slv_json_object_end(&j);
        rc = slv_out_line(&out, err);
    } else if (!rc) {
        slv_log(SLV_LOG_INFO, "%s: ready, %s%s", m.name, slv_out_size(m.size, size),
                r->pinned ? ", digest as expected" : "; no digest was known to check it by");
    }
    slv_buf_fini(&out);
    slv_buf_fini(&path);
    slv_arena_fini(&arena);
    return rc;
}

/* A malformed file gets no name. One that this program cannot run yet may. */
static int check_model(const char *path, struct slv_err *err) {
    struct slv_model_opts look = {.inspect = true};
    struct slv_model *m = NULL;
    struct slv_err why = {0};
    int rc = slv_store_model_open(path, NULL, &look, &m, &why);
    slv_model_close(m);
    if (rc == SLV_E_UNSUPPORTED) {
        slv_log(SLV_LOG_WARN, "%s", why.msg);
        return 0;
    }
    return rc ? slv_err_set(err, rc, "%s", why.msg) : 0;
}

static int import(struct slv_store *st, const struct opts *o, const char *name,
                  const struct slv_ui *ui, struct slv_pull_result *r, struct slv_err *err) {
    const struct slv_alias *a = slv_alias_find(name);
    struct slv_store_import in = {.path = o->from,
                                  .want_sha256 = a ? a->sha256 : NULL,
                                  .source = o->source,
                                  .link = o->link,
                                  .ui = ui};
    int rc = a ? 0 : check_model(o->from, err); /* a digest says more */
    if (!rc) rc = slv_store_add_file(st, name, &in, err);
    if (!rc) r->pinned = a != NULL;
    return rc;
}

static int fetch(struct slv_store *st, const struct opts *o, const char *name,
                 const struct slv_ui *ui, struct slv_pull_result *r, struct slv_err *err) {
    struct slv_pull p = {
        .name = name,
        .as = o->as,
        .http = {.stall_s = o->timeout, .retries = o->retries, .ui = ui},
    };
    if (o->as && slv_alias_find(o->as) && strcmp(o->as, name))
        return slv_err_set(err, SLV_E_USAGE, "pull: --as %s: this name stands for one known file",
                           o->as);
    return slv_pull(st, &p, r, err);
}

static int run(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    const char *name = cli->nargs ? cli->args[0] : slv_alias_default()->name;
    struct slv_pull_result r = {0};
    struct slv_store *st = NULL;
    struct slv_work work;
    if (o->from && o->as)
        return slv_err_set(err, SLV_E_USAGE, "pull: --as: with --from the name is the argument");
    if (o->source && !o->from)
        return slv_err_set(err, SLV_E_USAGE, "pull: --source: goes with --from FILE");
    if (o->link && !o->from)
        return slv_err_set(err, SLV_E_USAGE, "pull: --link: goes with --from FILE");
    int rc = slv_store_open(NULL, &st, err);
    if (rc) return rc;
    slv_work_init(&work, cli);
    rc = o->from ? import(st, o, name, &work.ui, &r, err) : fetch(st, o, name, &work.ui, &r, err);
    slv_work_end(&work);
    if (rc) slv_err_prefix(err, rc, "pull");
    if (rc == SLV_E_CANCELLED && !o->from)
        slv_log(SLV_LOG_INFO, "what has come is kept: the same command goes on from there");
    if (!rc) rc = report(cli, st, o->as ? o->as : name, &r, err);
    slv_store_close(st);
    return rc;
}

static const struct slv_opt rows[] = {
    {"from", 0, SLV_OPT_STR_AT(struct opts, from), .arg = "FILE",
     .help = "take a local GGUF file, plain or sealed for this device, in place of the network"},
    {"source", 0, SLV_OPT_STR_AT(struct opts, source), .arg = "TEXT",
     .help = "with --from: what `list` says of where the file is from; default: its path"},
    {"link", 0, SLV_OPT_FLAG_AT(struct opts, link),
     .help = "with --from: share the file by hard link; it must not be edited in place afterwards"},
    {"as", 0, SLV_OPT_STR_AT(struct opts, as), .arg = "NAME", .help = "store it under this name"},
    {"timeout", 0, SLV_OPT_INT_AT(struct opts, timeout), .arg = "SECONDS", .def = "30", .imin = 1,
     .imax = 3600, .help = "give a connection up when nothing comes for so long"},
    {"retries", 0, SLV_OPT_INT_AT(struct opts, retries), .arg = "N", .def = "5", .imin = 0,
     .imax = 1000, .help = "tries in a row without progress before giving up"},
};

const struct slv_cmd slv_cmd_pull = {
    .name = "pull",
    .help = "get a model into the local store",
    .args = "[NAME]",
    .more =
        "NAME is smollm2:135m-instruct (also the default), or hf:OWNER/REPO[:FILE] on the Hugging "
        "Face Hub. FILE is a file of the repository or a part of its name such as Q4_K_M; without "
        "it the only GGUF file is taken, or the one of type Q4_K_M.\n"
        "An interrupted download goes on where it stopped. Sizes and SHA-256 digests are checked "
        "before the name is set: a wrong file is refused with exit status 5.\n"
        "Environment: HF_TOKEN is sent to the Hub, and to nobody else. SELVAGE_HF_ENDPOINT names "
        "another Hub. SELVAGE_CA_FILE holds the certificates to trust in place of the system's.",
    .max_args = 1,
    SLV_CMD_OPTS(rows, struct opts),
    .fn = run,
};
