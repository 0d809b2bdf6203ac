/* conffile.h: options from a file, for those that are not on the command line.
 *
 *     serve:                          one section for each command, "key add" included
 *       models: [smollm2:135m-instruct]
 *       listen: [127.0.0.1:8080]      a list may be repeated on the command line
 *       slots: 8
 *       lazy: true
 *
 * YAML 1.1 (JSON is YAML). Every section is checked, whatever command runs: an unknown command or
 * option, a value that the option does not take, a key that stands twice, is an error with the
 * file, line and key. An option on the command line takes the place of the file's, and arguments
 * that of `arguments` (which may be written `models`). Of the options that all commands have, a
 * section may hold those that do not choose the file or what is done. Threads: one. */
#ifndef SLV_CLI_CONFFILE_H
#define SLV_CLI_CONFFILE_H

#include "base/arena.h"
#include "cli/cmd.h"

#define SLV_CONFIG_FILE_MAX ((size_t)1 << 20)
#define SLV_CONFIG_WORDS_MAX 512

struct slv_config {
    struct slv_arena arena;
    const char *words[SLV_CONFIG_WORDS_MAX]; /* "--slots=8": what is not on the command line */
    size_t n;
    const char *args[SLV_CONFIG_WORDS_MAX];
    size_t n_args;
    const char *path; /* NULL: there is no file */
};

/* Options of all commands that a section may hold too. */
struct slv_config_common {
    const struct slv_opt *rows;
    size_t n;
    uint64_t on_line; /* slv_opt_set.given of them */
};

/* Reads the file: `given`, or selvage.yaml here, or that of $XDG_CONFIG_HOME/selvage, or none. What
 * it says of cmd, whose options in `on_line` (slv_opt_set.given) stand on the command line. */
int slv_config_read(const char *given, const struct slv_cmd *const *commands,
                    const struct slv_cmd *cmd, uint64_t on_line,
                    const struct slv_config_common *common, struct slv_config *ret,
                    struct slv_err *err) SLV_MUST_USE;
void slv_config_fini(struct slv_config *c);

/* What is in force for a command, as such a file; of what is not set, a comment with its default.
 * common_opts: what common->rows fill. */
void slv_config_print(const struct slv_cmd *cmd, const void *opts,
                      const struct slv_config_common *common, const void *common_opts,
                      const char *const *args, size_t n_args, struct slv_buf *out);

#endif
