/* cmd_apikey.c: selvage key add, list, revoke: API keys of the server. */
#include "cli/cmd.h"
#include "cli/out.h"
#include "cli/trust.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "trust/apikeys.h"

#include <inttypes.h>
#include <string.h>

#define TEXT_MAX SLV_APIKEYS_FILE_MAX
#define DAY 86400

struct opts {
    const char *file;
    struct slv_opt_list models, adapters;
    bool admin;
    int64_t tokens, requests, context, sessions, days, priority;
};

static uint64_t now(void) { return slv_clock_wall(&slv_clock_system) / 1000000000; }

/* --- add -------------------------------------------------------------------------------------- */

static int report_new(const struct slv_cli *cli, const char *id, const char *token,
                      struct slv_err *err) {
    struct slv_buf out;
    struct slv_json j;
    if (!cli->json) {
        slv_out_printf("%s\n", token);
        slv_log(SLV_LOG_INFO, "key %s: this token is shown once and kept nowhere", id);
        return 0;
    }
    slv_buf_init(&out, TEXT_MAX);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "id", id);
    slv_json_str(&j, "name", cli->args[0]);
    slv_json_str(&j, "token", token);
    slv_json_object_end(&j);
    int rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

static int make_folder(const struct opts *o, const char *path, struct slv_err *err) {
    char folder[8192];
    size_t n = o->file ? 0 : (size_t)(strrchr(path, '/') - path); /* in the store there is one */
    if (!n || n >= sizeof folder) return 0;
    memcpy(folder, path, n);
    folder[n] = '\0';
    return slv_folder_make(folder, 0700, err);
}

static int add(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_apikey k = {
        .name = cli->args[0],
        .not_after = o->days ? now() + (uint64_t)o->days * DAY : 0,
        .admin = o->admin,
        .priority = o->priority,
        .models = {o->models.v, o->models.n},
        .adapters = {o->adapters.v, o->adapters.n},
        .tokens_per_minute = (uint64_t)o->tokens,
        .requests_per_minute = (uint64_t)o->requests,
        .context = (uint64_t)o->context,
        .sessions = (uint64_t)o->sessions,
    };
    char id[SLV_APIKEY_ID], token[SLV_APIKEY_TOKEN];
    struct slv_buf path;
    slv_buf_init(&path, 8192);
    int rc = slv_store_keys_path(o->file, SLV_STORE_API_KEYS, &path, err);
    if (!rc) rc = make_folder(o, path.data, err);
    if (!rc) rc = slv_apikeys_add(path.data, &k, id, token, err);
    if (!rc) rc = report_new(cli, id, token, err);
    slv_buf_fini(&path);
    return rc;
}

/* --- list ------------------------------------------------------------------------------------- */

static const char *state_of(const struct slv_apikey *k) {
    if (k->revoked) return "revoked";
    return k->not_after && now() > k->not_after ? "expired" : "good";
}

static void names_json(struct slv_json *j, const char *member,
                       const struct slv_apikey_names *names) {
    slv_json_array(j, member);
    for (size_t i = 0; i < names->n; i++)
        slv_json_str(j, NULL, names->v[i]);
    slv_json_array_end(j);
}

static void key_json(const struct slv_apikey *k, struct slv_json *j) {
    slv_json_object(j, NULL);
    slv_json_str(j, "id", k->id);
    slv_json_str(j, "name", k->name);
    slv_json_str(j, "state", state_of(k));
    slv_json_uint(j, "created", k->created);
    slv_json_uint(j, "not_after", k->not_after);
    slv_json_uint(j, "revoked", k->revoked);
    slv_json_bool(j, "admin", k->admin);
    slv_json_int(j, "priority", k->priority);
    names_json(j, "models", &k->models);
    names_json(j, "adapters", &k->adapters);
    slv_json_uint(j, "tokens_per_minute", k->tokens_per_minute);
    slv_json_uint(j, "requests_per_minute", k->requests_per_minute);
    slv_json_uint(j, "context", k->context);
    slv_json_uint(j, "sessions", k->sessions);
    slv_json_object_end(j);
}

static void limit_text(const char *what, uint64_t v) {
    if (v) slv_out_printf(", %" PRIu64 " %s", v, what);
}

static void key_text(const struct slv_apikey *k) {
    char when[SLV_CLI_TIME_MAX];
    slv_out_printf("%s  %-7s  ", k->id, state_of(k));
    slv_out_name(k->name, strlen(k->name));
    if (k->admin) slv_out_puts(", admin");
    for (size_t i = 0; i < k->models.n; i++) {
        slv_out_puts(i ? " " : ", models ");
        slv_out_name(k->models.v[i], strlen(k->models.v[i]));
    }
    limit_text("tokens a minute", k->tokens_per_minute);
    limit_text("requests a minute", k->requests_per_minute);
    limit_text("tokens of context", k->context);
    limit_text("sessions", k->sessions);
    if (k->not_after) slv_out_printf(", until %s", slv_cli_time(k->not_after, when));
    slv_out_puts("\n");
}

static int list_json(struct slv_apikeys *keys, struct slv_err *err) {
    const struct slv_apikey *k;
    struct slv_buf out;
    struct slv_json j;
    slv_buf_init(&out, TEXT_MAX);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    slv_json_array(&j, "keys");
    for (size_t i = 0; (k = slv_apikeys_get(keys, i)); i++) {
        key_json(k, &j);
        slv_apikey_put(k);
    }
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    int rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

static void list_text(struct slv_apikeys *keys) {
    const struct slv_apikey *k;
    for (size_t i = 0; (k = slv_apikeys_get(keys, i)); i++) {
        key_text(k);
        slv_apikey_put(k);
    }
}

static int list(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    struct slv_apikeys *keys = NULL;
    struct slv_buf path;
    slv_buf_init(&path, 8192);
    int rc = slv_store_keys_path(o->file, SLV_STORE_API_KEYS, &path, err);
    if (!rc) rc = slv_apikeys_open(path.data, &keys, err);
    if (!rc && cli->json) rc = list_json(keys, err);
    else if (!rc) list_text(keys);
    slv_apikeys_close(keys);
    slv_buf_fini(&path);
    return rc;
}

/* --- revoke ----------------------------------------------------------------------------------- */

static int revoke(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    char id[SLV_APIKEY_ID];
    struct slv_buf path;
    slv_buf_init(&path, 8192);
    int rc = slv_store_keys_path(o->file, SLV_STORE_API_KEYS, &path, err);
    if (!rc) rc = slv_apikeys_revoke(path.data, cli->args[0], id, err);
    if (!rc && cli->json) slv_out_printf("{\"id\":\"%s\",\"revoked\":true}\n", id);
    else if (!rc) slv_log(SLV_LOG_INFO, "%s: key %s is revoked", cli->args[0], id);
    slv_buf_fini(&path);
    return rc;
}

/* --- rows ------------------------------------------------------------------------------------- */

#define FILE_ROW                                                                                   \
    {                                                                                              \
        "file", 0, SLV_OPT_STR_AT(struct opts, file),                                              \
            .arg = "FILE", .help = "the file of API keys; without it keys/api.json in the store"   \
    }
#define LIMIT_ROW(name_, member, help_)                                                            \
    {                                                                                              \
        name_, 0, SLV_OPT_INT_AT(struct opts, member), .arg = "N", .imin = 0, .imax = INT64_MAX,   \
                                                       .help = help_                               \
    }

static const struct slv_opt add_rows[] = {
    FILE_ROW,
    {"model", 0, SLV_OPT_LIST_AT(struct opts, models), .arg = "NAME",
     .help = "a model it may use; may be repeated; without it, all"},
    {"adapter", 0, SLV_OPT_LIST_AT(struct opts, adapters), .arg = "NAME",
     .help = "an adapter it may use; may be repeated; without it, all"},
    {"admin", 0, SLV_OPT_FLAG_AT(struct opts, admin), .help = "may load and unload, too"},
    LIMIT_ROW("tokens-per-minute", tokens, "prompt and output tokens a minute; 0: no limit"),
    LIMIT_ROW("requests-per-minute", requests, "requests a minute; 0: no limit"),
    LIMIT_ROW("context", context, "tokens of context; 0: no limit"),
    LIMIT_ROW("sessions", sessions, "answers at a time; 0: no limit"),
    {"days", 0, SLV_OPT_INT_AT(struct opts, days), .arg = "N", .imin = 0, .imax = 36500,
     .help = "it expires after so many days; 0: never"},
    {"priority", 0, SLV_OPT_INT_AT(struct opts, priority), .arg = "N", .imin = -100, .imax = 100,
     .help = "higher is answered first"},
};

static const struct slv_opt file_rows[] = {FILE_ROW};

const struct slv_cmd slv_cmd_key_add = {
    .name = "key add",
    .help = "make an API key and show its token, once",
    .args = "NAME",
    .more = "The token goes to standard output. The file has its hash only.",
    .min_args = 1,
    .max_args = 1,
    SLV_CMD_OPTS(add_rows, struct opts),
    .fn = add,
};

const struct slv_cmd slv_cmd_key_list = {
    .name = "key list",
    .help = "show the API keys",
    .args = "",
    SLV_CMD_OPTS(file_rows, struct opts),
    .fn = list,
};

const struct slv_cmd slv_cmd_key_revoke = {
    .name = "key revoke",
    .help = "take an API key back",
    .args = "ID|NAME",
    .more = "It stays in the file, revoked, so that audit logs can still be read.",
    .min_args = 1,
    .max_args = 1,
    SLV_CMD_OPTS(file_rows, struct opts),
    .fn = revoke,
};
