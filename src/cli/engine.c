/* engine.c: see engine.h. */
#include "cli/engine.h"
#include "base/amount.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/utf8.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "cli/tuned.h"
#include "cli/work.h"
#include "store/keys.h"
#include "store/open.h"
#include "store/store.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

int slv_cli_model_path(const char *name, struct slv_buf *path, struct slv_err *err) {
    struct slv_store *st = NULL;
    struct slv_err no_store = {0};
    if (slv_store_open(NULL, &st, &no_store)) st = NULL; /* a file can be run without one */
    int rc = slv_store_resolve(st, name, path, err);
    if (rc && !st) rc = slv_err_set(err, no_store.code, "%s", no_store.msg);
    slv_store_close(st);
    return rc;
}

#define SOON_NS 500000000u /* what takes less long shows no progress */

static void show_loading(void *bar, uint64_t done, uint64_t all) {
    slv_progress_update(bar, done, all);
}

/* --- packed weights --------------------------------------------------------------------------- */

int slv_cli_packed_folder(struct slv_buf *path, struct slv_err *err) {
    struct slv_store *st = NULL;
    int rc = slv_store_open(NULL, &st, err);
    if (rc) return rc;
    slv_buf_addf(path, "%s/packed", slv_store_home(st));
    slv_store_close(st);
    return path->status ? slv_err_set(err, path->status, "packed weights: path: %s",
                                      slv_strerror(path->status))
                        : 0;
}

static void on_note(void *ctx, const char *line) {
    (void)ctx;
    slv_log(SLV_LOG_WARN, "%s", line);
}

/* The one bar of the end: models are closed one after the other. */
static struct slv_progress keep_bar;

static bool on_keeping(void *ctx, uint64_t done, uint64_t all) {
    (void)ctx;
    slv_progress_update(&keep_bar, done, all);
    bool go_on = !slv_sig_seen();
    if (!go_on || done == all) slv_progress_end(&keep_bar);
    return go_on;
}

/* Fills in what keeps packed weights; the folder's name is in *folder. Without a store there is no
 * such folder, and nothing is lost but time. */
static int keep_packed(const struct slv_cli *cli, struct slv_buf *folder, struct slv_model_opts *o,
                       struct slv_err *err) {
    const char *max = getenv("SELVAGE_PACKED_MAX");
    if (max && *max && !slv_amount_size(max, &o->packed_max))
        return slv_err_set(err, SLV_E_USAGE, "SELVAGE_PACKED_MAX: '%s' is not a size", max);
    if (max && *max && !o->packed_max) return 0;
    if (slv_cli_packed_folder(folder, NULL)) return 0;
    slv_progress_init(&keep_bar, "keeping packed weights", cli->quiet);
    keep_bar.after_ns = SOON_NS;
    o->packed = folder->data;
    o->note = on_note;
    o->keeping = on_keeping;
    return 0;
}

/* Whose signatures count, of --signer. */
static int read_signers(const struct slv_cli_model_opts *how, struct slv_pubs *ret,
                        struct slv_err *err) {
    if ((how->signer.n || how->sig) && !how->require_signed)
        return slv_err_set(err, SLV_E_USAGE, "--%s: goes with --require-signed",
                           how->sig ? "sig" : "signer");
    for (size_t i = 0; i < how->signer.n; i++) {
        int rc = slv_store_pubs(how->signer.v[i], how->key, ret, err);
        if (rc) return rc;
    }
    return 0;
}

static int open_file(const struct slv_cli *cli, const char *path,
                     const struct slv_cli_model_opts *how, const struct slv_model_opts *opts,
                     struct slv_model **ret, struct slv_err *err) {
    struct slv_pubs signers = {0};
    struct slv_work work;
    struct slv_store_open so = {
        .key = how->key, .require_signed = how->require_signed, .signature = how->sig};
    int rc = read_signers(how, &signers, err);
    if (how->signer.n) so.signers = &signers;
    if (!rc && how->require_signed) {
        slv_work_init(&work, cli);
        so.ui = &work.ui;
    }
    if (!rc) rc = slv_store_model_open(path, &so, opts, ret, err);
    if (so.ui) {
        slv_work_end(&work);
        slv_sig_unwatch();
    }
    slv_pubs_fini(&signers);
    return rc;
}

int slv_cli_model_open(const struct slv_cli *cli, const char *name, const struct slv_model_opts *o,
                       const struct slv_cli_model_opts *how, struct slv_model **ret,
                       struct slv_err *err) {
    static const struct slv_cli_model_opts none;
    struct slv_buf path, folder;
    struct slv_progress bar;
    struct slv_model_opts opts = *o;
    if (!how) how = &none;
    slv_progress_init(&bar, "loading", cli->quiet);
    bar.after_ns = SOON_NS;
    opts.progress = show_loading;
    opts.progress_ctx = &bar;
    slv_buf_init(&path, 65536);
    slv_buf_init(&folder, 65536);
    bool keeps = !o->inspect && !how->no_repack_cache;
    int rc = keeps ? keep_packed(cli, &folder, &opts, err) : 0;
    if (!rc) rc = slv_cli_model_path(name, &path, err);
    if (!rc) rc = open_file(cli, path.data, how, &opts, ret, err);
    slv_progress_end(&bar);
    slv_buf_fini(&path);
    slv_buf_fini(&folder);
    if (rc) return rc;
    struct slv_model_info info;
    slv_model_info(*ret, &info);
    if (info.cpu_lowered)
        slv_log(SLV_LOG_WARN, "SLV_CPU: this machine has no %s; using %s", getenv("SLV_CPU"),
                info.cpu);
    return 0;
}

/* What a signal stops; written while none is watched for. */
static struct { struct slv_session *s, *draft; } running;

static void cancel(void *ctx) {
    (void)ctx;
    slv_session_cancel(running.s, true);
    if (running.draft) slv_session_cancel(running.draft, true);
}

#define BLOCK 64u /* tokens of a page */

int slv_cli_prefix_bytes(const struct slv_model *m, const struct slv_session_opts *o,
                         uint64_t sessions, uint64_t more, uint64_t *ret, struct slv_err *err) {
    struct slv_session_opts so = *o;
    struct slv_memory mem = {0}, page = {0};
    struct slv_model_info info;
    slv_model_info(m, &info);
    so.prefix = NULL;
    int rc = slv_model_memory(m, &so, &mem, err);
    so.n_ctx = info.n_ctx < BLOCK ? info.n_ctx : BLOCK;
    if (!rc) rc = slv_model_memory(m, &so, &page, NULL);
    if (rc) return rc;
    *ret = sessions * (mem.kv + page.kv) + (more + BLOCK - 1) / BLOCK * page.kv;
    return 0;
}

/* A prefix cache for one session, where there are windows. */
static int open_prefix(struct slv_model *m, struct slv_session_opts *o, uint32_t n_back,
                       struct slv_err *err) {
    struct slv_prefix_cache_opts po = {.kv = o->kv};
    struct slv_model_info info;
    slv_model_info(m, &info);
    if (!n_back || !info.window) return 0;
    int rc = slv_cli_prefix_bytes(m, o, 1, n_back, &po.bytes, err);
    return rc ? rc : slv_prefix_cache_open(m, &po, &o->prefix, err);
}

/* Whether a session would fit, before weights are read. */
static int check_memory(const struct slv_cli *cli, const char *name,
                        const struct slv_cli_model_opts *how, const struct slv_session_opts *o,
                        struct slv_err *err) {
    struct slv_model_opts look = {.inspect = true};
    struct slv_model *m = NULL;
    struct slv_session *s = NULL;
    int rc = slv_cli_model_open(cli, name, &look, how, &m, err);
    if (rc) return rc;
    rc = slv_session_open(m, o, &s, err);
    slv_model_close(m);
    return rc == SLV_E_FIT ? rc : 0; /* anything else is met again when it is opened in earnest */
}

int slv_cli_session_open(const struct slv_cli *cli, const char *name, struct slv_session_opts *o,
                         const struct slv_cli_opening *how, struct slv_model **ret,
                         struct slv_session **ret_session, struct slv_err *err) {
    struct slv_model_opts mo = {.threads = o->threads};
    int rc = o->memory ? check_memory(cli, name, how->model, o, err) : 0;
    if (!rc) rc = slv_cli_model_open(cli, name, &mo, how->model, ret, err);
    if (!rc && how->draft->m) {
        rc = slv_model_same_vocabulary(*ret, how->draft->m, err);
        if (rc) slv_err_prefix(err, rc, "--draft");
    }
    if (!rc && how->tuned) slv_tuned_apply(*ret, o);
    if (!rc) rc = open_prefix(*ret, o, how->n_back, err);
    if (!rc) rc = slv_session_open(*ret, o, ret_session, err);
    if (rc == SLV_E_FIT && o->prefix) { /* it saves time only */
        slv_prefix_cache_close(o->prefix);
        o->prefix = NULL;
        rc = slv_session_open(*ret, o, ret_session, err);
    }
    if (rc) {
        slv_prefix_cache_close(o->prefix);
        slv_model_close(*ret);
        o->prefix = NULL;
        *ret = NULL;
        return rc;
    }
    running.s = *ret_session;
    running.draft = how->draft->s;
    slv_sig_hook(cancel, NULL);
    return 0;
}

int slv_cli_draft_check(const char *command, const struct slv_cli_draft_opts *o,
                        struct slv_err *err) {
    if (o->speculate == 0 || (!o->model && !o->most)) return 0;
    return slv_err_set(err, SLV_E_USAGE, "%s: --%s: nothing is guessed with --speculate off",
                       command, o->model ? "draft" : "draft-max");
}

/* The model itself; *o: the session that it drafts for. */
static int open_draft(const struct slv_cli *cli, const char *name, struct slv_session_opts *o,
                      const struct slv_cli_model_opts *how, struct slv_cli_draft *ret,
                      struct slv_err *err) {
    struct slv_model_opts mo = {.threads = o->threads};
    struct slv_session_opts so = *o;
    struct slv_model_info info;
    struct slv_cli_model_opts own = *how;
    struct slv_memory mem;
    so.n_draft = 0;
    own.sig = NULL;
    int rc = slv_cli_model_open(cli, name, &mo, &own, &ret->m, err);
    if (rc) return rc;
    slv_model_info(ret->m, &info);
    if (so.n_ctx > info.n_ctx) so.n_ctx = info.n_ctx; /* beyond it there are no drafts */
    rc = slv_session_open(ret->m, &so, &ret->s, err);
    if (!rc) rc = slv_model_memory(ret->m, &so, &mem, err);
    if (!rc && o->memory) o->memory -= mem.total < o->memory ? mem.total : o->memory - 1;
    return rc;
}

int slv_cli_draft_open(const struct slv_cli *cli, const struct slv_cli_draft_opts *d,
                       struct slv_session_opts *o, const struct slv_cli_model_opts *how,
                       struct slv_cli_draft *ret, struct slv_err *err) {
    *ret = (struct slv_cli_draft){0};
    o->n_draft = d->speculate ? 0 : d->most ? (uint32_t)d->most : SLV_DRAFT_AUTO;
    if (!d->model) return 0;
    int rc = open_draft(cli, d->model, o, how, ret, err);
    if (!rc) return 0;
    slv_cli_draft_close(ret);
    return slv_err_prefix(err, rc, "--draft");
}

void slv_cli_draft_close(struct slv_cli_draft *d) {
    slv_session_close(d->s);
    slv_model_close(d->m);
    *d = (struct slv_cli_draft){0};
}

#define FEED_STEP 256 /* tokens between two looks at the clock */

int slv_cli_feed(const struct slv_cli *cli, struct slv_session *s, const int32_t *ids, size_t n,
                 struct slv_err *err) {
    struct slv_progress bar;
    slv_progress_init(&bar, "reading the prompt, tokens", cli->quiet);
    bar.count = true;
    bar.after_ns = SOON_NS;
    int rc = 0;
    size_t room = slv_session_context(s) - slv_session_position(s);
    if (n > room) return slv_session_feed(s, ids, n, err); /* which says so */
    for (size_t done = 0; done < n && !rc;) {
        size_t k = n - done < FEED_STEP || !bar.on ? n - done : FEED_STEP;
        slv_progress_update(&bar, done, n);
        rc = slv_session_feed(s, ids + done, k, err);
        done += k;
    }
    slv_progress_end(&bar);
    return rc;
}

void slv_cli_prompt_load(struct slv_session *s, const char *path) {
    struct slv_err err = {0};
    int rc = path ? slv_session_load(s, path, &err) : 0;
    if (rc && rc != SLV_E_NOENT) slv_log(SLV_LOG_WARN, "%s: not used", err.msg);
}

void slv_cli_prompt_save(struct slv_session *s, const char *path) {
    struct slv_err err = {0};
    if (!path || !s || !slv_session_position(s)) return;
    if (slv_session_save(s, path, &err)) slv_log(SLV_LOG_WARN, "%s: not kept", err.msg);
}

void slv_cli_session_close(struct slv_model *m, struct slv_session *s,
                           struct slv_prefix_cache *prefix, struct slv_cli_adapters *adapters) {
    slv_sig_hook(NULL, NULL);
    slv_session_close(s);
    slv_cli_adapters_close(adapters);
    slv_prefix_cache_close(prefix);
    slv_model_close(m);
}

struct slv_session_opts slv_cli_session(const struct slv_cli_session_opts *o) {
    return (struct slv_session_opts){.n_ctx = (uint32_t)o->ctx,
                                     .n_batch = (uint32_t)o->batch,
                                     .threads = (uint32_t)o->threads,
                                     .kv = (enum slv_kv_kind)o->kv,
                                     .n_draft = SLV_DRAFT_AUTO,
                                     .memory = o->memory};
}

/* "ID:X" */
static int read_bias(const char *word, struct slv_logit_bias *ret, struct slv_err *err) {
    char *end;
    errno = 0;
    long id = strtol(word, &end, 10);
    bool ok = end != word && *end == ':' && !errno && id >= 0 && id <= INT32_MAX;
    const char *number = end + 1;
    float x = ok ? strtof(number, &end) : 0.0f;
    if (!ok || end == number || *end || x != x)
        return slv_err_set(err, SLV_E_USAGE, "--logit-bias: '%s' is not ID:NUMBER", word);
    *ret = (struct slv_logit_bias){.id = (int32_t)id, .bias = x};
    return 0;
}

/* Small enough to be read back from JSON and given to --seed. */
static uint64_t new_seed(void) {
    uint32_t v = 0;
    if (getrandom(&v, sizeof v, GRND_NONBLOCK) != sizeof v)
        v = (uint32_t)slv_clock_mono(&slv_clock_system);
    return v;
}

int slv_cli_sampling(const struct slv_cli_sampling_opts *o, struct slv_logit_bias *bias,
                     struct slv_sampling *ret, struct slv_err *err) {
    for (size_t i = 0; i < o->bias.n; i++) {
        int rc = read_bias(o->bias.v[i], &bias[i], err);
        if (rc) return rc;
    }
    *ret = (struct slv_sampling){
        .temperature = (float)o->temp,
        .top_k = (uint32_t)o->top_k,
        .top_p = (float)o->top_p,
        .min_p = (float)o->min_p,
        .typical_p = (float)o->typical,
        .repeat_penalty = (float)o->repeat,
        .presence_penalty = (float)o->presence,
        .frequency_penalty = (float)o->frequency,
        .penalty_window = (uint32_t)o->repeat_last,
        .dry_multiplier = (float)o->dry,
        .dry_base = (float)o->dry_base,
        .dry_allowed = (uint32_t)o->dry_allowed,
        .dry_window = (uint32_t)o->dry_last,
        .seed = o->seed < 0 ? new_seed() : (uint64_t)o->seed,
        .bias = bias,
        .n_bias = o->bias.n,
    };
    return 0;
}

int slv_cli_clean_text(const char *what, const char *s, size_t n, struct slv_buf *out) {
    size_t replaced, at;
    if (slv_utf8_valid(s, n, &at)) return slv_buf_add(out, s, n);
    if (slv_buf_reserve(out, 3 * n)) return out->status;
    out->len += slv_utf8_repair(s, n, out->data + out->len, &replaced);
    out->data[out->len] = '\0';
    slv_log(SLV_LOG_WARN, "%s: not UTF-8 at byte %zu: %zu place%s replaced by U+FFFD", what, at,
            replaced, replaced == 1 ? "" : "s");
    return 0;
}

int slv_cli_file_text(const char *path, struct slv_buf *out, struct slv_err *err) {
    struct slv_buf in;
    slv_buf_init(&in, SLV_CLI_TEXT_MAX / 3);
    int rc = slv_file_read(path, &in, err);
    if (!rc) {
        rc = slv_cli_clean_text(path, in.data, in.len, out);
        if (rc) slv_err_set(err, rc, "%s: %s", path, slv_strerror(rc));
    }
    slv_buf_fini(&in);
    return rc;
}

int slv_cli_text(const char *arg, struct slv_buf *out, struct slv_err *err) {
    int rc;
    if (arg && strcmp(arg, "-") != 0) {
        rc = slv_cli_clean_text("prompt", arg, strlen(arg), out);
    } else {
        struct slv_buf in;
        slv_buf_init(&in, SLV_CLI_TEXT_MAX / 3);
        slv_sig_unwatch(); /* nothing is lost, and it may never end */
        rc = slv_file_read("-", &in, err);
        if (!rc) rc = slv_cli_clean_text("standard input", in.data, in.len, out);
        slv_buf_fini(&in);
        if (rc && err && err->code == rc) return rc;
    }
    return rc ? slv_err_set(err, rc, "prompt: %s", slv_strerror(rc)) : 0;
}

const char *slv_cli_pooling_name(enum slv_pooling pooling) {
    static const char *const names[] = {"model", "mean", "cls", "last", "rank"};
    return names[pooling];
}

uint64_t slv_cli_peak_rss(void) {
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) ? 0 : (uint64_t)u.ru_maxrss * 1024;
}
