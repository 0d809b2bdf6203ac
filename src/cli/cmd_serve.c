/* cmd_serve.c: selvage serve: models behind the interface that everybody's clients speak. */
#define _GNU_SOURCE /* memrchr */
#include "base/log.h"
#include "base/mem.h"
#include "cli/checker.h"
#include "cli/cmd.h"
#include "cli/confine.h"
#include "cli/engine.h"
#include "cli/logfile.h"
#include "cli/otlp.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "cli/trust.h"
#include "net/httpd.h"
#include "net/tls.h"
#include "serve/porter.h"
#include "serve/serve.h"
#include "store/keys.h"
#include "trust/apikeys.h"
#include "trust/audit.h"
#include "trust/spill.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 200

struct serve_opts {
    struct slv_opt_list listen, alias, origin, host;
    const char *cert, *tls_key, *client_ca, *keys, *audit, *adapters, *log, *otlp, *spill, *mesh;
    int audit_sync;
    int64_t log_keep, ctx, slots, threads, queue, timeout_ms, connections, drain_s;
    uint64_t memory, kv_bytes, body, log_bytes, spill_bytes;
    int kv;
    bool lazy, share, no_sandbox;
    struct slv_cli_model_opts model;
};

static const struct slv_opt rows[] = {
    {"listen", 0, SLV_OPT_LIST_AT(struct serve_opts, listen), .arg = "ADDRESS",
     .help = "[::1]:8080, unix:PATH; default: 127.0.0.1:8080; may be repeated; port 0: any. "
             "Other machines are let in with TLS and keys only"},
    {"alias", 0, SLV_OPT_LIST_AT(struct serve_opts, alias), .arg = "NAME=MODEL",
     .help = "serve a model under another name; may be repeated"},
    {"tls-cert", 0, SLV_OPT_STR_AT(struct serve_opts, cert), .arg = "FILE",
     .help = "certificate chain, PEM"},
    {"tls-key", 0, SLV_OPT_STR_AT(struct serve_opts, tls_key), .arg = "FILE",
     .help = "its key, PEM; read by its owner only"},
    {"client-ca", 0, SLV_OPT_STR_AT(struct serve_opts, client_ca), .arg = "FILE",
     .help = "let in only clients with a certificate of these authorities, PEM"},
    {"keys", 0, SLV_OPT_STR_AT(struct serve_opts, keys), .arg = "FILE",
     .help = "API keys that are let in, as `selvage key add` makes them"},
    {"audit", 0, SLV_OPT_STR_AT(struct serve_opts, audit), .arg = "LOG",
     .help = "keep a signed log of who asked which model, and how much; never what"},
    {"audit-sync", 0, SLV_OPT_CHOICE_AT(struct serve_opts, audit_sync), .arg = "WHEN",
     .choices = "record|interval|never", .def = "interval",
     .help = "a record is on the disk before its answer ends, within a second, or when the system "
             "likes; only a power cut makes a difference"},
    {"memory", 0, SLV_OPT_SIZE_AT(struct serve_opts, memory), .arg = "SIZE", .imin = 1 << 20,
     .imax = INT64_MAX,
     .help = "of all models with their caches; default: four fifths of what is free"},
    {"ctx", 'c', SLV_OPT_INT_AT(struct serve_opts, ctx), .arg = "N", .imin = 64, .imax = 1 << 24,
     .help = "most tokens of one request with its answer; default: the model's, at most 8192"},
    {"slots", 0, SLV_OPT_INT_AT(struct serve_opts, slots), .arg = "N", .def = "16", .imin = 1,
     .imax = 256, .help = "answers of one model made at the same time"},
    {"kv", 0, SLV_OPT_CHOICE_AT(struct serve_opts, kv), .arg = "TYPE", .choices = "f16|f32|q8",
     .def = "f16", .help = "type of the KV cache"},
    {"kv-memory", 0, SLV_OPT_SIZE_AT(struct serve_opts, kv_bytes), .arg = "SIZE", .imin = 1 << 20,
     .imax = INT64_MAX,
     .help = "of one model's KV cache, for all its requests; default: what --slots of --ctx tokens "
             "want, or as much as there is"},
    {"spill", 0, SLV_OPT_STR_AT(struct serve_opts, spill), .arg = "FOLDER",
     .help = "where the KV cache is full, what an answer that waits has computed goes to a file "
             "there that nobody else can read; default: it is computed again"},
    {"spill-size", 0, SLV_OPT_SIZE_AT(struct serve_opts, spill_bytes), .arg = "SIZE", .def = "4G",
     .imin = 1 << 20, .imax = (int64_t)1 << 42, .help = "of that file"},
    {"threads", 't', SLV_OPT_INT_AT(struct serve_opts, threads), .arg = "N", .imin = 1, .imax = 256,
     .help = "threads; default: SLV_THREADS, or one for each core"},
    {"queue", 0, SLV_OPT_INT_AT(struct serve_opts, queue), .arg = "N", .def = "256", .imin = 1,
     .imax = 65536, .help = "answers that may wait for a place; more get status 429"},
    {"timeout-ms", 0, SLV_OPT_INT_AT(struct serve_opts, timeout_ms), .arg = "MS", .imin = 1,
     .imax = 86400000, .help = "a request ends with what it has after this time"},
    {"adapters", 0, SLV_OPT_STR_AT(struct serve_opts, adapters), .arg = "FOLDER",
     .help = "adapters that may be loaded, NAME.gguf each, by POST /v1/adapters"},
    {"lazy", 0, SLV_OPT_FLAG_AT(struct serve_opts, lazy),
     .help = "open a model when it is first asked for"},
    {"share-prefixes", 0, SLV_OPT_FLAG_AT(struct serve_opts, share),
     .help = "keys share what is known of the beginnings of prompts: faster, and who measures time "
             "can tell what others have asked"},
    {"origin", 0, SLV_OPT_LIST_AT(struct serve_opts, origin), .arg = "URL",
     .help = "pages of this origin may ask from a browser; may be repeated"},
    {"host", 0, SLV_OPT_LIST_AT(struct serve_opts, host), .arg = "NAME",
     .help = "a name the server is called by; may be repeated. Without keys only addresses and "
             "localhost are answered to"},
    {"max-connections", 0, SLV_OPT_INT_AT(struct serve_opts, connections), .arg = "N",
     .def = "1024", .imin = 1, .imax = 100000, .help = "open connections"},
    {"max-body", 0, SLV_OPT_SIZE_AT(struct serve_opts, body), .arg = "SIZE", .def = "32M",
     .imin = 1024, .imax = 1 << 30, .help = "bytes of one request"},
    {"drain", 0, SLV_OPT_INT_AT(struct serve_opts, drain_s), .arg = "S", .def = "30", .imin = 1,
     .imax = 3600,
     .help =
         "seconds that answers may still take when the server is stopped; then they are cut short"},
    {"log", 0, SLV_OPT_STR_AT(struct serve_opts, log), .arg = "FILE",
     .help =
         "messages go to this file, with their time, JSON with --log-json; no prompt is in them"},
    {"log-size", 0, SLV_OPT_SIZE_AT(struct serve_opts, log_bytes), .arg = "SIZE", .def = "16M",
     .imin = 4096, .imax = INT64_MAX, .help = "then the file becomes FILE.1"},
    {"log-keep", 0, SLV_OPT_INT_AT(struct serve_opts, log_keep), .arg = "N", .def = "4", .imin = 1,
     .imax = 100, .help = "older files that are kept"},
    {"otlp", 0, SLV_OPT_STR_AT(struct serve_opts, otlp), .arg = "URL",
     .help = "send traces of requests, without their texts, to an OpenTelemetry collector"},
    {"mesh", 0, SLV_OPT_STR_AT(struct serve_opts, mesh), .arg = "SOCKET",
     .help = "let admins see and change what a node of the mesh shares (`selvage mesh up`), at "
             "/mesh and in the console; SOCKET: the node's mesh.sock"},
    {"no-sandbox", 0, SLV_OPT_FLAG_AT(struct serve_opts, no_sandbox),
     .help = "keep the right to read and write all files, to start programs and to connect"},
    SLV_CLI_MODEL_ROWS(struct serve_opts, model),
};

/* All that a server borrows. */
struct serving {
    const struct slv_cli *cli;
    const struct serve_opts *o;
    struct slv_serve_model model[SLV_SERVE_MODELS_MAX];
    char name[SLV_SERVE_MODELS_MAX][NAME_MAX_BYTES + 1];
    size_t n;
    struct slv_tls *tls;
    struct slv_apikeys *keys;
    struct slv_key *key;
    struct slv_audit *audit;
    struct slv_spill_file *spill_file;
    struct slv_spill spill;
    struct slv_serve *server;
    struct slv_confine confine;
    struct slv_logfile *log;
    struct slv_otlp *otlp;
    struct slv_porter *porter;   /* to a node of the mesh */
    struct slv_checker *checker; /* NULL: files are read by the server alone */
};

/* --- models ----------------------------------------------------------------------------------- */

/* What clients call a model: the store's name, or a file's without folder and ".gguf". */
static void name_of(const char *path, size_t n, char ret[NAME_MAX_BYTES + 1]) {
    bool is_path = strncmp(path, "hf:", 3) != 0 &&
                   (memchr(path, '/', n) || (n > 5 && !memcmp(path + n - 5, ".gguf", 5)));
    while (n > 1 && path[n - 1] == '/')
        n--;
    const char *slash = is_path ? memrchr(path, '/', n) : NULL;
    if (slash) {
        n -= (size_t)(slash + 1 - path);
        path = slash + 1;
    }
    if (is_path && n > 5 && !memcmp(path + n - 5, ".gguf", 5)) n -= 5;
    if (n > NAME_MAX_BYTES) n = NAME_MAX_BYTES;
    memcpy(ret, path, n);
    ret[n] = '\0';
}

static int add_model(struct serving *v, const char *name, size_t name_n, const char *path,
                     struct slv_err *err) {
    if (v->n == SLV_SERVE_MODELS_MAX)
        return slv_err_set(err, SLV_E_USAGE, "more than %d models", SLV_SERVE_MODELS_MAX);
    if (name) {
        if (!name_n || name_n > NAME_MAX_BYTES)
            return slv_err_set(err, SLV_E_USAGE, "--alias: a name of 1 to %d bytes",
                               NAME_MAX_BYTES);
        memcpy(v->name[v->n], name, name_n);
        v->name[v->n][name_n] = '\0';
    } else {
        name_of(path, strlen(path), v->name[v->n]);
    }
    for (size_t i = 0; i < v->n; i++)
        if (!strcmp(v->name[i], v->name[v->n]))
            return slv_err_set(err, SLV_E_USAGE, "two models are called \"%s\": --alias NAME=%s",
                               v->name[i], path);
    v->model[v->n] = (struct slv_serve_model){.name = v->name[v->n], .path = path};
    v->n++;
    return 0;
}

static int add_models(struct serving *v, struct slv_err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < v->cli->nargs; i++)
        rc = add_model(v, NULL, 0, v->cli->args[i], err);
    for (size_t i = 0; !rc && i < v->o->alias.n; i++) {
        const char *word = v->o->alias.v[i], *eq = strchr(word, '=');
        if (!eq || !eq[1])
            return slv_err_set(err, SLV_E_USAGE, "--alias %s: NAME=MODEL is wanted", word);
        rc = add_model(v, word, (size_t)(eq - word), eq + 1, err);
    }
    if (!rc && !v->n) rc = add_model(v, "default", 7, "", err);
    return rc;
}

/* In the checker's reader. */
static int check_model(void *ctx, const char *path, struct slv_err *err) {
    struct serving *v = ctx;
    const struct slv_cli quiet = {.quiet = true};
    const struct slv_model_opts look = {.inspect = true};
    struct slv_model *m = NULL;
    return slv_cli_model_open(&quiet, path, &look, &v->o->model, &m, err);
}

static int open_model(void *ctx, const char *path, const struct slv_model_opts *opts,
                      struct slv_model **ret, struct slv_err *err) {
    struct serving *v = ctx;
    const struct slv_cli quiet = {.quiet = true};
    if (opts->inspect && v->checker) {
        int rc = slv_checker_ask(v->checker, path, err);
        if (rc) return rc;
    }
    return slv_cli_model_open(&quiet, path, opts, &v->o->model, ret, err);
}

/* Every name stands for something, before anything is listened at. A path that is "" is the default
 * model's. */
static int check_models(struct serving *v, struct slv_err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < v->n; i++) {
        struct slv_buf path;
        slv_buf_init(&path, 65536);
        rc = slv_cli_model_path(*v->model[i].path ? v->model[i].path : NULL, &path, err);
        if (!rc) slv_confine_add_model(&v->confine, path.data);
        if (!rc && !*v->model[i].path) {
            v->model[i].path = slv_arena_strndup(&v->confine.arena, path.data, path.len);
            if (!v->model[i].path) rc = slv_err_set(err, SLV_E_NOMEM, "out of memory");
        }
        slv_buf_fini(&path);
    }
    return rc;
}

/* --- who is let in ---------------------------------------------------------------------------- */

static int check_access(const struct serve_opts *o, struct slv_err *err) {
    if (!o->cert != !o->tls_key)
        return slv_err_set(err, SLV_E_USAGE, "--tls-cert and --tls-key go together");
    if (o->client_ca && !o->cert)
        return slv_err_set(err, SLV_E_USAGE, "--client-ca goes with --tls-cert and --tls-key");
    for (size_t i = 0; i < o->listen.n; i++) {
        const char *address = o->listen.v[i];
        bool local = false;
        int rc = slv_httpd_check(address, &local, err);
        if (rc) return slv_err_prefix(err, rc, "--listen");
        if (local || (o->cert && (o->keys || o->client_ca))) continue;
        return slv_err_set(err, SLV_E_USAGE,
                           "--listen %s: other machines are let in with --tls-cert and --keys only",
                           address);
    }
    return 0;
}

static int open_access(struct serving *v, struct slv_err *err) {
    const struct serve_opts *o = v->o;
    const struct slv_tls_files files = {o->cert, o->tls_key, o->client_ca};
    const struct slv_audit_opts ao = {.sync = (enum slv_audit_sync)o->audit_sync};
    int rc = o->cert ? slv_tls_open(&files, &v->tls, err) : 0;
    if (!rc && o->keys) rc = slv_apikeys_open(o->keys, &v->keys, err);
    if (!rc && o->audit) rc = slv_store_key_open(o->model.key, false, &v->key, err);
    if (rc || !o->audit) return rc;
    rc = slv_audit_open(o->audit, v->key, &ao, &v->audit, err);
    return rc ? slv_err_prefix(err, rc, "--audit") : 0;
}

/* Files that it may need later on, when it reads them again. */
static int confine_files(struct serving *v, struct slv_err *err) {
    const struct serve_opts *o = v->o;
    struct slv_confine *c = &v->confine;
    const char *const read[] = {o->cert, o->tls_key,   o->client_ca,
                                o->keys, o->model.key, o->model.sig};
    if (o->no_sandbox) return 0;
    for (size_t i = 0; i < sizeof read / sizeof *read; i++)
        slv_confine_add_beside(c, read[i], SLV_SANDBOX_READ);
    slv_confine_add(c, o->adapters, SLV_SANDBOX_READ);
    slv_confine_add_beside(c, o->log, SLV_SANDBOX_WRITE);
    for (size_t i = 0; i < o->model.signer.n; i++)
        slv_confine_add(c, o->model.signer.v[i], SLV_SANDBOX_READ);
    slv_confine_add_beside(c, o->audit, SLV_SANDBOX_WRITE);
    for (size_t i = 0; i < o->listen.n; i++)
        if (!strncmp(o->listen.v[i], "unix:", 5))
            slv_confine_add_beside(c, o->listen.v[i] + 5, SLV_SANDBOX_WRITE);
    return slv_confine_files(c, err);
}

/* --- running ---------------------------------------------------------------------------------- */

static struct slv_serve *_Atomic reloaded;

static void on_hup(int sig) {
    struct slv_serve *s = reloaded;
    (void)sig;
    if (s) slv_serve_reload(s);
}

static void on_stop(void *server) { slv_serve_stop(server); }
static void on_stop_again(void *server) { slv_serve_hurry(server); }

static int listen_all(struct serving *v, struct slv_err *err) {
    static const char *const local[] = {"127.0.0.1:8080"};
    const char *const *list = v->o->listen.n ? v->o->listen.v : local;
    const size_t n = v->o->listen.n ? v->o->listen.n : 1;
    struct slv_buf out;
    struct slv_json j;
    int rc = 0;
    slv_buf_init(&out, 65536);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    slv_json_array(&j, "listening");
    for (size_t i = 0; !rc && i < n; i++) {
        uint16_t port = 0;
        char url[300];
        rc = slv_serve_listen(v->server, list[i], &port, err);
        if (rc) break;
        const char *colon = strrchr(list[i], ':');
        if (!strncmp(list[i], "unix:", 5)) snprintf(url, sizeof url, "%s", list[i]);
        else
            snprintf(url, sizeof url, "%s://%.*s:%u", v->tls ? "https" : "http",
                     (int)(colon - list[i]), list[i], port);
        slv_log(SLV_LOG_INFO, "listening at %s", url);
        slv_json_str(&j, NULL, url);
    }
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    if (!rc && v->cli->json) rc = slv_out_line(&out, err);
    if (!rc) rc = slv_out_flush(err);
    slv_buf_fini(&out);
    return rc;
}

static int open_server(struct serving *v, struct slv_err *err) {
    const struct serve_opts *o = v->o;
    const struct slv_serve_opts so = {.models = v->model,
                                      .n_models = v->n,
                                      .open = open_model,
                                      .open_ctx = v,
                                      .load_all = !o->lazy,
                                      .keys = v->keys,
                                      .audit = v->audit,
                                      .tls = v->tls,
                                      .mesh = v->porter,
                                      .span = v->otlp ? slv_otlp_span : NULL,
                                      .span_ctx = v->otlp,
                                      .memory = o->memory,
                                      .ctx = (uint32_t)o->ctx,
                                      .slots = (uint32_t)o->slots,
                                      .threads = (uint32_t)o->threads,
                                      .kv = (enum slv_kv_kind)o->kv,
                                      .kv_bytes = o->kv_bytes,
                                      .spill = v->spill_file ? &v->spill : NULL,
                                      .queue_max = (uint32_t)o->queue,
                                      .timeout_ms = (uint32_t)o->timeout_ms,
                                      .connections_max = (uint32_t)o->connections,
                                      .body_max = o->body,
                                      .drain_ms = (uint32_t)o->drain_s * 1000u,
                                      .share_prefixes = o->share,
                                      .adapters = o->adapters,
                                      .origins = o->origin.v,
                                      .n_origins = o->origin.n,
                                      .hosts = o->host.v,
                                      .n_hosts = o->host.n};
    return slv_serve_open(&so, &v->server, err);
}

static int serve(struct serving *v, struct slv_err *err) {
    const struct sigaction hup = {.sa_handler = on_hup, .sa_flags = SA_RESTART};
    int rc = open_server(v, err);
    if (rc) return rc;
    reloaded = v->server;
    sigaction(SIGHUP, &hup, NULL);
    slv_sig_hook(on_stop, v->server);
    slv_sig_hook_again(on_stop_again, v->server);
    slv_sig_watch();
    rc = listen_all(v, err);
    if (!rc && !v->o->no_sandbox) rc = slv_confine_calls(err);
    if (!rc && slv_sig_seen()) slv_serve_stop(v->server); /* before there was a hook */
    if (!rc) rc = slv_serve_run(v->server, err);
    slv_sig_hook(NULL, NULL);
    slv_sig_hook_again(NULL, NULL);
    signal(SIGHUP, SIG_IGN);
    reloaded = NULL;
    slv_log(SLV_LOG_INFO, "stopped");
    return rc;
}

static int run(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct serving *v = slv_mem_calloc(1, sizeof *v);
    struct slv_err closing = {0};
    if (!v) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    v->cli = cli;
    v->o = opts;
    int rc = check_access(v->o, err);
    if (!rc) rc = add_models(v, err);
    slv_confine_init(&v->confine);
    if (!rc) rc = check_models(v, err);
    if (!rc && v->o->otlp) rc = slv_otlp_open(v->o->otlp, &v->otlp, err);
    if (!rc && v->o->mesh) rc = slv_porter_open(v->o->mesh, &v->porter, err);
    if (!rc && v->o->spill) /* its folder is not to be had later */
        rc = slv_spill_open(v->o->spill, v->o->spill_bytes, &v->spill_file, err);
    if (v->spill_file) v->spill = slv_spill_of(v->spill_file);
    if (!rc) rc = confine_files(v, err);
    if (!rc && !v->o->no_sandbox) rc = slv_checker_open(check_model, v, &v->checker, err);
    if (!rc) rc = open_access(v, err);
    if (!rc && v->o->log)
        rc = slv_logfile_open(v->o->log, v->o->log_bytes, (unsigned)v->o->log_keep, &v->log, err);
    if (!rc) rc = serve(v, err);
    slv_serve_close(v->server);
    slv_spill_close(v->spill_file);
    slv_checker_close(v->checker);
    slv_porter_close(v->porter);
    slv_otlp_close(v->otlp);
    slv_logfile_close(v->log);
    if (slv_audit_close(v->audit, &closing) && !rc)
        rc = slv_err_set(err, closing.code, "%s", closing.msg);
    slv_key_close(v->key);
    slv_apikeys_close(v->keys);
    slv_tls_close(v->tls);
    slv_confine_fini(&v->confine);
    slv_mem_free(v);
    return rc;
}

const struct slv_cmd slv_cmd_serve = {
    .name = "serve",
    .help = "serve models to OpenAI's and Anthropic's clients",
    .args = "[MODEL...]",
    .no_args = "the one that `selvage pull` gets",
    .more =
        "Paths: /v1/chat/completions, /v1/completions, /v1/responses, /v1/embeddings, "
        "/v1/messages, /v1/models, /tokenize, /detokenize, /health, /metrics; /console for a "
        "browser; /mesh/... with --mesh.\n"
        "SIGTERM or Ctrl-C: no new requests, those that are being answered are finished, for "
        "--drain seconds; a second one cuts them short, and says so to who waits; a third one ends "
        "at once. SIGHUP: keys and certificates are read again.",
    .max_args = SLV_CMD_ARGS_ANY,
    SLV_CMD_OPTS(rows, struct serve_opts),
    .fn = run,
};
