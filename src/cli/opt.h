/* opt.h: command-line options declared as rows of data: parsing, checking, defaults and the help
 * text all come from the row.
 *
 * A row names an option and the member of the command's options struct that it fills:
 *
 *     struct run_opts { int64_t n; double temp; bool raw; };
 *     static const struct slv_opt run_rows[] = {
 *         {"max-tokens", 'n', SLV_OPT_INT_AT(struct run_opts, n), .arg = "N", .def = "512",
 *          .imin = 1, .imax = 1 << 20, .help = "most tokens to write"},
 *         {"temp", 0, SLV_OPT_REAL_AT(struct run_opts, temp), .arg = "T", .def = "0.8",
 *          .rmin = 0, .rmax = 10, .help = "temperature; 0 takes the likeliest token"},
 *         {"raw", 0, SLV_OPT_FLAG_AT(struct run_opts, raw), .help = "no chat template"},
 *     };
 *
 * The SLV_OPT_*_AT macros set kind and offset and refuse, at compile time, a member of another
 * type. Syntax, as GNU getopt_long with permutation: --name value, --name=value, -n value, -nvalue,
 * flags combined as -ab; options and arguments in any order; "--" ends options; "-" is an argument,
 * and so is a negative number (-1, -.5), unless an option has that digit for its letter.
 * Names are never abbreviated, so that a script keeps its meaning when options are added.
 * Threads: any; nothing here is global. */
#ifndef SLV_CLI_OPT_H
#define SLV_CLI_OPT_H

#include "base/buf.h"
#include "base/err.h"

#define SLV_OPT_ROWS_MAX 64 /* rows in one table */
#define SLV_OPT_LIST_MAX 64 /* values of one list */

enum slv_opt_kind {
    SLV_OPT_FLAG,   /* bool */
    SLV_OPT_STR,    /* const char *, borrowed from argv or the row's default */
    SLV_OPT_INT,    /* int64_t, imin to imax */
    SLV_OPT_SIZE,   /* uint64_t bytes, imin to imax: 4096, 512M, 2G (powers of 1024) */
    SLV_OPT_REAL,   /* double, rmin to rmax */
    SLV_OPT_CHOICE, /* int: the place of the value in `choices`, "f32|f16|q8" */
    SLV_OPT_INTS,   /* struct slv_opt_ints: 1,4,8; each imin to imax */
    SLV_OPT_LIST,   /* struct slv_opt_list: the option may be repeated */
};

struct slv_opt_ints {
    size_t n;
    int64_t v[SLV_OPT_LIST_MAX];
};

struct slv_opt_list {
    size_t n;
    const char *v[SLV_OPT_LIST_MAX]; /* borrowed from argv */
};

/* imin == imax and rmin == rmax mean: no range. */
struct slv_opt {
    const char *name; /* long, without dashes; NULL: only the letter */
    char letter;      /* 0: only the name */
    enum slv_opt_kind kind;
    size_t offset;
    const char *arg; /* what the help calls the value: "N", "FILE"; NULL for flags */
    const char *def; /* the default, read as if given; NULL: the member stays zero */
    int64_t imin, imax;
    double rmin, rmax;
    const char *choices;
    const char *help; /* one or more lines' worth of text, no final full stop; wrapped when shown */
};

#define SLV_OPT_MEMBER(k, S, m, T) .kind = (k), .offset = _Generic(((S *)0)->m, T : offsetof(S, m))
#define SLV_OPT_FLAG_AT(S, m) SLV_OPT_MEMBER(SLV_OPT_FLAG, S, m, bool)
#define SLV_OPT_STR_AT(S, m) SLV_OPT_MEMBER(SLV_OPT_STR, S, m, const char *)
#define SLV_OPT_INT_AT(S, m) SLV_OPT_MEMBER(SLV_OPT_INT, S, m, int64_t)
#define SLV_OPT_SIZE_AT(S, m) SLV_OPT_MEMBER(SLV_OPT_SIZE, S, m, uint64_t)
#define SLV_OPT_REAL_AT(S, m) SLV_OPT_MEMBER(SLV_OPT_REAL, S, m, double)
#define SLV_OPT_CHOICE_AT(S, m) SLV_OPT_MEMBER(SLV_OPT_CHOICE, S, m, int)
#define SLV_OPT_INTS_AT(S, m) SLV_OPT_MEMBER(SLV_OPT_INTS, S, m, struct slv_opt_ints)
#define SLV_OPT_LIST_AT(S, m) SLV_OPT_MEMBER(SLV_OPT_LIST, S, m, struct slv_opt_list)

/* One table and the struct its rows fill. */
struct slv_opt_set {
    const struct slv_opt *rows;
    size_t n;
    void *base;
    uint64_t given; /* out: bit i is set when row i stood on the command line */
};

/* Fills every set's struct with the defaults, then reads argv[0..argc) (no program name). Arguments
 * that are no options are moved to the front of argv, in order; *ret_args is their number. Where
 * two sets have the same option the first wins. SLV_E_USAGE with "--name: WHY" or "unknown option
 * '--nmae': did you mean --name?". */
int slv_opt_parse(struct slv_opt_set *sets, size_t nsets, const char **argv, size_t argc,
                  size_t *ret_args, struct slv_err *err) SLV_MUST_USE;

/* Whether the option `name` of these rows stood on the command line; `given` is what slv_opt_parse
 * left. */
bool slv_opt_given(const struct slv_opt *rows, size_t n, uint64_t given, const char *name);

/* Appends the lines of help for n rows: names, value, text, range and default. */
void slv_opt_help(const struct slv_opt *rows, size_t n, struct slv_buf *out);

/* Appends words of text wrapped to 80 columns, `indent` spaces before each line but the first,
 * which starts at column `at`. Ends with a newline. */
void slv_opt_wrap(const char *text, size_t at, size_t indent, struct slv_buf *out);

/* The edit distance of a and b (insert, delete, replace, swap neighbours), at most `limit` + 1. */
size_t slv_opt_distance(const char *a, const char *b, size_t limit);

/* Keeps the nearest of the candidates it is shown. Zero it, set `word`, offer each; `best` is the
 * nearest one that could be a slip of the finger, or NULL. */
struct slv_opt_nearest {
    const char *word;
    const char *best;
    size_t distance;
};
void slv_opt_offer(struct slv_opt_nearest *n, const char *candidate);

#endif
