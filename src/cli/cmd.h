/* cmd.h: what a command is.
 *
 * A command is one file, cmd_<name>.c, that ends in its row, `const struct slv_cmd slv_cmd_<name>`,
 * and one line for that row below and in main.c's table. The row carries everything that help,
 * argument checks and option parsing need; the function gets options parsed and arguments counted.
 */
#ifndef SLV_CLI_CMD_H
#define SLV_CLI_CMD_H

#include "base/err.h"
#include "cli/opt.h"

#define SLV_CMD_OPTS_MAX 8192 /* bytes of a command's options struct */
#define SLV_CMD_ARGS_ANY SIZE_MAX

/* What the command line said, besides the command's own options. */
struct slv_cli {
    const char *const *args; /* arguments that are no options; borrowed from argv */
    size_t nargs;
    bool json;      /* --json: exactly one document on stdout (or JSON Lines) */
    bool quiet;     /* --quiet: errors only */
    bool log_json;  /* --log-json */
    uint64_t given; /* bit i: row i of the command's options was given */
};

/* Argument i, or NULL where there are not so many. */
static inline const char *slv_cli_arg(const struct slv_cli *cli, size_t i) {
    return i < cli->nargs ? cli->args[i] : NULL;
}

struct slv_cmd {
    const char *name;    /* "pull"; two words for a command of a family: "schema check" */
    const char *help;    /* one line, no full stop */
    const char *args;    /* "NAME [FILE]"; "" if it takes none */
    const char *no_args; /* what stands for arguments where none are given; may be NULL */
    const char *more;    /* paragraphs for `help NAME`, parted by '\n'; may be NULL */
    size_t min_args, max_args;
    const struct slv_opt *opts;
    size_t nopts;
    size_t opts_size; /* of the struct the rows fill; zeroed before defaults */

    /* 0; or a negative SLV_E_* with *err set, which main prints and turns into the exit status; or
     * a positive exit status when what is wrong is already part of the output. `opts` is the
     * options struct. Nothing but results goes to stdout, through out.h. */
    int (*fn)(const struct slv_cli *cli, const void *opts, struct slv_err *err);
};

#define SLV_CMD_OPTS(rows, S)                                                                      \
    .opts = (rows), .nopts = sizeof(rows) / sizeof *(rows), .opts_size = sizeof(S)

/* The rows, one a line, by name. */
extern const struct slv_cmd slv_cmd_attest_quote;
extern const struct slv_cmd slv_cmd_attest_show;
extern const struct slv_cmd slv_cmd_attest_verify;
extern const struct slv_cmd slv_cmd_audit_checkpoint;
extern const struct slv_cmd slv_cmd_audit_show;
extern const struct slv_cmd slv_cmd_audit_verify;
extern const struct slv_cmd slv_cmd_batch;
extern const struct slv_cmd slv_cmd_bench;
extern const struct slv_cmd slv_cmd_chat;
extern const struct slv_cmd slv_cmd_detokenize;
extern const struct slv_cmd slv_cmd_doctor;
extern const struct slv_cmd slv_cmd_embed;
extern const struct slv_cmd slv_cmd_eval;
extern const struct slv_cmd slv_cmd_key_add;
extern const struct slv_cmd slv_cmd_key_list;
extern const struct slv_cmd slv_cmd_key_new;
extern const struct slv_cmd slv_cmd_key_revoke;
extern const struct slv_cmd slv_cmd_key_rotate;
extern const struct slv_cmd slv_cmd_key_show;
extern const struct slv_cmd slv_cmd_key_trust;
extern const struct slv_cmd slv_cmd_list;
extern const struct slv_cmd slv_cmd_mesh_bridge;
extern const struct slv_cmd slv_cmd_mesh_del;
extern const struct slv_cmd slv_cmd_mesh_admit;
extern const struct slv_cmd slv_cmd_mesh_found;
extern const struct slv_cmd slv_cmd_mesh_get;
extern const struct slv_cmd slv_cmd_mesh_invite;
extern const struct slv_cmd slv_cmd_mesh_lead;
extern const struct slv_cmd slv_cmd_mesh_lock;
extern const struct slv_cmd slv_cmd_mesh_put;
extern const struct slv_cmd slv_cmd_mesh_revert;
extern const struct slv_cmd slv_cmd_mesh_revoke;
extern const struct slv_cmd slv_cmd_mesh_roster;
extern const struct slv_cmd slv_cmd_mesh_sim;
extern const struct slv_cmd slv_cmd_mesh_status;
extern const struct slv_cmd slv_cmd_mesh_up;
extern const struct slv_cmd slv_cmd_mesh_watch;
extern const struct slv_cmd slv_cmd_pull;
extern const struct slv_cmd slv_cmd_rm;
extern const struct slv_cmd slv_cmd_run;
extern const struct slv_cmd slv_cmd_schema_check;
extern const struct slv_cmd slv_cmd_seal;
extern const struct slv_cmd slv_cmd_serve;
extern const struct slv_cmd slv_cmd_show;
extern const struct slv_cmd slv_cmd_sign;
extern const struct slv_cmd slv_cmd_tokenize;
extern const struct slv_cmd slv_cmd_unseal;
extern const struct slv_cmd slv_cmd_verify;

#endif
