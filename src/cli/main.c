/* main.c: the program: one table of commands; help, errors and exit statuses in one place.
 *
 * Everything a command fails with is printed here, once, as `selvage: WHAT: WHY`, and becomes an
 * exit status here. Results go to stdout, all else to stderr. */
#include "cli/cmd.h"
#include "cli/conffile.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "base/log.h"
#include "base/mem.h"
#include "config.h"

#include <fcntl.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In the order `selvage help` shows them. */
/* (one a line) */
/* clang-format off */
static const struct slv_cmd *const commands[] = {
    &slv_cmd_run,          &slv_cmd_chat,
    &slv_cmd_batch,        &slv_cmd_tokenize,
    &slv_cmd_detokenize,   &slv_cmd_embed,
#ifdef SLV_SCHEMA
    &slv_cmd_schema_check,
#endif
    &slv_cmd_serve,        &slv_cmd_show,
    &slv_cmd_bench,        &slv_cmd_eval,
    &slv_cmd_pull,         &slv_cmd_list,
    &slv_cmd_rm,           &slv_cmd_doctor,
    &slv_cmd_key_new,      &slv_cmd_key_show,
    &slv_cmd_key_rotate,   &slv_cmd_key_trust,
    &slv_cmd_key_add,      &slv_cmd_key_list,
    &slv_cmd_key_revoke,   &slv_cmd_sign,
    &slv_cmd_verify,       &slv_cmd_seal,
    &slv_cmd_unseal,       &slv_cmd_audit_verify,
    &slv_cmd_audit_show,   &slv_cmd_audit_checkpoint,
#ifdef SLV_TPM
    &slv_cmd_attest_quote,
#endif
    &slv_cmd_attest_verify, &slv_cmd_attest_show,
    &slv_cmd_mesh_up,      &slv_cmd_mesh_get,
    &slv_cmd_mesh_put,     &slv_cmd_mesh_del,
    &slv_cmd_mesh_watch,   &slv_cmd_mesh_status,
    &slv_cmd_mesh_found,   &slv_cmd_mesh_lead,    &slv_cmd_mesh_lock,
    &slv_cmd_mesh_revert,  &slv_cmd_mesh_admit,   &slv_cmd_mesh_revoke,
    &slv_cmd_mesh_invite,  &slv_cmd_mesh_roster,
    &slv_cmd_mesh_bridge,  &slv_cmd_mesh_sim,
    NULL,
};
/* clang-format on */

#define HELP_MAX 65536

/* --- the table -------------------------------------------------------------------------------- */

static const struct slv_cmd *find_command(const char *const *words, size_t n, size_t *ret_used) {
    const struct slv_cmd *best = NULL;
    for (const struct slv_cmd *const *c = commands; *c; c++) {
        const char *name = (*c)->name;
        size_t first = strcspn(name, " ");
        const char *space = name + first;
        if (!n || strlen(words[0]) != first || memcmp(words[0], name, first)) continue;
        if (!*space && !best) {
            best = *c;
            *ret_used = 1;
        } else if (*space && n > 1 && !strcmp(words[1], space + 1)) {
            best = *c;
            *ret_used = 2;
        }
    }
    return best;
}

/* "schema" alone, or "schema verify": the family's names. */
static bool list_family(const char *word, struct slv_buf *out) {
    size_t len = strlen(word);
    bool any = false;
    for (const struct slv_cmd *const *c = commands; *c; c++) {
        if (strncmp((*c)->name, word, len) || (*c)->name[len] != ' ') continue;
        slv_buf_addf(out, "%s%s", any ? ", " : "", (*c)->name + len + 1);
        any = true;
    }
    return any;
}

static int unknown_command(const char *const *words, size_t n, struct slv_err *err) {
    struct slv_buf family;
    slv_buf_init(&family, 1000);
    struct slv_opt_nearest near = {.word = words[0]};
    int rc;
    if (list_family(words[0], &family)) {
        rc = slv_err_set(err, SLV_E_USAGE, "%s%s%s: no such command: the ones there are: %s",
                         words[0], n > 1 ? " " : "", n > 1 ? words[1] : "", family.data);
    } else {
        for (const struct slv_cmd *const *c = commands; *c; c++)
            slv_opt_offer(&near, (*c)->name);
        slv_opt_offer(&near, "help");
        if (near.best)
            rc = slv_err_set(err, SLV_E_USAGE, "%s: no such command: did you mean '%s'?", words[0],
                             near.best);
        else
            rc = slv_err_set(err, SLV_E_USAGE, "%s: no such command: see 'selvage help'", words[0]);
    }
    slv_buf_fini(&family);
    return rc;
}

/* --- help ------------------------------------------------------------------------------------- */

struct common {
    bool json, quiet, log_json, help, print_config;
    const char *config;
};

static const struct slv_opt common_rows[] = {
    {"json", 0, SLV_OPT_FLAG_AT(struct common, json), .help = "write JSON to standard output"},
    {"quiet", 'q', SLV_OPT_FLAG_AT(struct common, quiet), .help = "no progress, errors only"},
    {"log-json", 0, SLV_OPT_FLAG_AT(struct common, log_json),
     .help = "messages on standard error as JSON, one object a line"},
    {"config", 0, SLV_OPT_STR_AT(struct common, config), .arg = "FILE",
     .help =
         "options from a YAML file; default: selvage.yaml here, or in the user's configuration"},
    {"print-config", 0, SLV_OPT_FLAG_AT(struct common, print_config),
     .help = "print what is in force, as such a file, and do nothing"},
    {"help", 'h', SLV_OPT_FLAG_AT(struct common, help), .help = "show this help"},
};
#define COMMON_ROWS (sizeof common_rows / sizeof common_rows[0])
#define FILE_ROWS 3u /* the first of them may stand in a file too */

static void program_help(struct slv_buf *out) {
    slv_buf_addf(out,
                 "selvage %s: small language models on the machine at hand\n\n"
                 "usage: selvage COMMAND [options] [arguments]\n\ncommands:\n",
                 slv_version());
    for (const struct slv_cmd *const *c = commands; *c; c++) {
        slv_buf_addf(out, "  %-17s ", (*c)->name);
        slv_opt_wrap((*c)->help, 20, 20, out);
    }
    slv_buf_adds(out, "\n'selvage help COMMAND' or 'selvage COMMAND --help' says more; "
                      "'selvage --version'\nsays which version this is.\n");
}

static void command_help(const struct slv_cmd *cmd, struct slv_buf *out) {
    slv_buf_addf(out, "usage: selvage %s [options]%s%s\n\n", cmd->name, *cmd->args ? " " : "",
                 cmd->args);
    slv_opt_wrap(cmd->help, 0, 0, out);
    for (const char *p = cmd->more; p && *p;) {
        char line[2000];
        size_t len = strcspn(p, "\n");
        snprintf(line, sizeof line, "%.*s", (int)len, p);
        slv_buf_addc(out, '\n');
        slv_opt_wrap(line, 0, 0, out);
        p += len + (p[len] == '\n');
    }
    slv_buf_adds(out, "\noptions:\n");
    slv_opt_help(cmd->opts, cmd->nopts, out);
    slv_opt_help(common_rows, COMMON_ROWS, out);
}

static int show_help(const struct slv_cmd *cmd, struct slv_err *err) {
    struct slv_buf text;
    slv_buf_init(&text, HELP_MAX);
    if (cmd) command_help(cmd, &text);
    else program_help(&text);
    int rc = text.status ? slv_err_set(err, text.status, "help: %s", slv_strerror(text.status)) : 0;
    if (!rc) slv_out_write(text.data, text.len);
    slv_buf_fini(&text);
    return rc;
}

/* "key": the commands that begin so, if there are any. */
static bool family_help(const char *word, struct slv_buf *out) {
    const size_t len = strlen(word);
    bool any = false;
    for (const struct slv_cmd *const *c = commands; *c; c++) {
        if (strncmp((*c)->name, word, len) || (*c)->name[len] != ' ') continue;
        if (!any)
            slv_buf_addf(out, "usage: selvage %s COMMAND [options] [arguments]\n\ncommands:\n",
                         word);
        any = true;
        slv_buf_addf(out, "  %-17s ", (*c)->name);
        slv_opt_wrap((*c)->help, 20, 20, out);
    }
    if (any) slv_buf_addf(out, "\n'selvage help %s COMMAND' says more.\n", word);
    return any;
}

/* False: the word is no family. */
static bool show_family(const char *word, struct slv_err *err, int *ret_rc) {
    struct slv_buf text;
    slv_buf_init(&text, HELP_MAX);
    bool any = family_help(word, &text);
    *ret_rc = 0;
    if (text.status) *ret_rc = slv_err_set(err, text.status, "help: %s", slv_strerror(text.status));
    else if (any) slv_out_write(text.data, text.len);
    slv_buf_fini(&text);
    return any;
}

static int help_command(const char *const *words, size_t n, struct slv_err *err) {
    size_t used = 0;
    if (!n || words[0][0] == '-') return show_help(NULL, err);
    const struct slv_cmd *cmd = find_command(words, n, &used);
    int rc;
    if (!cmd && n == 1 && show_family(words[0], err, &rc)) return rc;
    if (!cmd) return unknown_command(words, n, err);
    if (used < n) return slv_err_set(err, SLV_E_USAGE, "help: one command at a time");
    return show_help(cmd, err);
}

/* --- running ---------------------------------------------------------------------------------- */

static int check_args(const struct slv_cmd *cmd, const char *const *args, size_t n,
                      struct slv_err *err) {
    if (n < cmd->min_args)
        return slv_err_set(err, SLV_E_USAGE, "%s: too few arguments: usage: selvage %s %s",
                           cmd->name, cmd->name, cmd->args);
    if (n > cmd->max_args)
        return slv_err_set(err, SLV_E_USAGE, "%s: unexpected argument '%s': usage: selvage %s%s%s",
                           cmd->name, args[cmd->max_args], cmd->name, *cmd->args ? " " : "",
                           cmd->args);
    return 0;
}

/* Options and arguments, of a command and of all. */
struct line {
    struct common common;
    const char **words; /* arguments come to its beginning */
    size_t n, n_args;
    uint64_t given, given_common;
};

static struct slv_config_common file_rows(const struct line *l) {
    return (struct slv_config_common){common_rows, FILE_ROWS, l->given_common};
}

static int parse_line(const struct slv_cmd *cmd, void *opts, struct line *l, struct slv_err *err) {
    struct slv_opt_set sets[] = {{cmd->opts, cmd->nopts, opts, 0},
                                 {common_rows, COMMON_ROWS, &l->common, 0}};
    memset(opts, 0, SLV_CMD_OPTS_MAX);
    l->common = (struct common){0};
    int rc = slv_opt_parse(sets, 2, l->words, l->n, &l->n_args, err);
    l->given = sets[0].given;
    l->given_common = sets[1].given;
    return rc ? slv_err_prefix(err, rc, "%s", cmd->name) : 0;
}

/* The line once more, behind what a file says that it does not. */
static int add_config(const struct slv_cmd *cmd, void *opts, const struct slv_config *c,
                      const char *const *argv, size_t argc, struct line *l, struct slv_err *err) {
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        l->words[n++] = c->words[i];
    for (size_t i = 0; !l->n_args && i < c->n_args; i++)
        l->words[n++] = c->args[i];
    for (size_t i = 0; i < argc; i++)
        l->words[n++] = argv[i];
    l->n = n;
    return parse_line(cmd, opts, l, err);
}

static int print_config(const struct slv_cmd *cmd, const void *opts, const struct line *l,
                        struct slv_err *err) {
    struct slv_buf out;
    slv_buf_init(&out, (size_t)1 << 20);
    const struct slv_config_common common = file_rows(l);
    slv_config_print(cmd, opts, &common, &l->common, l->words, l->n_args, &out);
    int rc = out.status ? slv_err_set(err, out.status, "%s", slv_strerror(out.status)) : 0;
    if (!rc) slv_out_write(out.data, out.len);
    slv_buf_fini(&out);
    return rc;
}

static int run_line(const struct slv_cmd *cmd, const void *opts, const struct line *l,
                    struct slv_err *err) {
    slv_log_setup(l->common.quiet ? SLV_LOG_ERROR : SLV_LOG_INFO, l->common.log_json);
    if (l->common.print_config) return print_config(cmd, opts, l, err);
    int rc = check_args(cmd, l->words, l->n_args, err);
    if (rc) return rc;
    struct slv_cli cli = {l->words,        l->n_args,          l->common.json,
                          l->common.quiet, l->common.log_json, l->given};
    return cmd->fn(&cli, opts, err);
}

static int run_command(const struct slv_cmd *cmd, const char **argv, size_t argc,
                       struct slv_err *err) {
    static alignas(max_align_t) unsigned char opts[SLV_CMD_OPTS_MAX];
    struct slv_config config = {0};
    struct line l = {.n = argc};
    if (cmd->opts_size > sizeof opts || cmd->nopts > SLV_OPT_ROWS_MAX)
        return slv_err_set(err, SLV_E_INTERNAL, "%s: options struct too large", cmd->name);
    l.words = slv_mem_calloc(argc + 2 * SLV_CONFIG_WORDS_MAX, sizeof *l.words);
    if (!l.words) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    if (argc) memcpy(l.words, argv, argc * sizeof *argv);
    int rc = parse_line(cmd, opts, &l, err);
    if (!rc && l.common.help) {
        rc = show_help(cmd, err);
    } else if (!rc) {
        const struct slv_config_common common = file_rows(&l);
        rc = slv_config_read(l.common.config, commands, cmd, l.given, &common, &config, err);
        if (!rc && config.path) rc = add_config(cmd, opts, &config, argv, argc, &l, err);
        if (!rc) rc = run_line(cmd, opts, &l, err);
        slv_config_fini(&config);
    }
    slv_mem_free(l.words);
    return rc;
}

static int run(const char **argv, size_t argc, struct slv_err *err) {
    size_t used = 0;
    if (!argc) {
        int rc = show_help(NULL, err);
        return rc ? rc : slv_err_set(err, SLV_E_USAGE, "no command given");
    }
    if (!strcmp(argv[0], "--version") || !strcmp(argv[0], "-V")) {
        slv_out_printf("selvage %s\n", slv_version());
        return 0;
    }
    if (!strcmp(argv[0], "help")) return help_command(argv + 1, argc - 1, err);
    if (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"))
        return help_command(argv + 1, argc - 1, err);
    if (argv[0][0] == '-')
        return slv_err_set(err, SLV_E_USAGE, "%s: options follow the command: see 'selvage help'",
                           argv[0]);
    const struct slv_cmd *cmd = find_command(argv, argc, &used);
    const bool asks = argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"));
    int rc;
    if (!cmd && asks && show_family(argv[0], err, &rc)) return rc;
    if (!cmd) return unknown_command(argv, argc, err);
    return run_command(cmd, argv + used, argc - used, err);
}

/* A descriptor 0, 1 or 2 that the caller has closed would be given to the next file opened, and
 * output would be written into that file. Opened for reading only, so that writing still fails; the
 * root folder stands in where there is no /dev. */
static bool keep_descriptors(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) continue;
        if (open("/dev/null", O_RDONLY) != fd && open("/", O_RDONLY | O_DIRECTORY) != fd)
            return false;
    }
    return true;
}

int main(int argc, char **argv) {
    struct slv_err err = {0}, out_err = {0};
    size_t n = argc > 0 ? (size_t)argc - 1 : 0;
    if (!keep_descriptors()) return 1;
    slv_sig_init();
    setenv("TSS2_LOG", "all+NONE", 0); /* libtss2 would talk to standard error by itself */
    const char **words = slv_mem_calloc(n + 1, sizeof *words); /* options are moved out of it */
    for (size_t i = 0; words && i < n; i++)
        words[i] = argv[i + 1];
    int rc = words ? run(words, n, &err) : SLV_E_NOMEM;
    slv_mem_free(words);
    int out_rc = slv_out_flush(&out_err);
    if (out_rc) { /* the cause of whatever else went wrong */
        rc = out_rc;
        err = out_err;
    }
    if (rc < 0) slv_log(SLV_LOG_ERROR, "%s", err.msg[0] ? err.msg : slv_strerror(rc));
    return rc > 0 ? rc : slv_err_exit_status(rc);
}
