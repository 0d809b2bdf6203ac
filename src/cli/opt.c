/* opt.c: see opt.h. Syntax after POSIX utility conventions and GNU getopt_long; distance after
 * Damerau (1964), restricted to one swap of neighbours, in three rows of the usual table. */
#include "cli/opt.h"
#include "base/amount.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 80
#define HELP_COLUMN 26
#define WORD_MAX 63 /* longer words are never near a name */

/* --- nearest names ---------------------------------------------------------------------------- */

static size_t min3(size_t a, size_t b, size_t c) {
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

size_t slv_opt_distance(const char *a, const char *b, size_t limit) {
    size_t n = strlen(a), m = strlen(b);
    size_t rows[3][WORD_MAX + 1];
    if (n > WORD_MAX || m > WORD_MAX) return limit + 1;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *cur = rows[i % 3], *up = rows[(i - 1) % 3], *up2 = rows[(i + 1) % 3];
        cur[0] = i;
        for (size_t j = 1; j <= m; j++) {
            cur[j] = min3(up[j] + 1, cur[j - 1] + 1, up[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                up2[j - 2] + 1 < cur[j])
                cur[j] = up2[j - 2] + 1;
        }
    }
    size_t d = rows[n % 3][m];
    return d > limit ? limit + 1 : d;
}

void slv_opt_offer(struct slv_opt_nearest *n, const char *candidate) {
    size_t len = strlen(n->word);
    size_t limit = len <= 3 ? 1 : len <= 6 ? 2 : 3;
    size_t d = slv_opt_distance(n->word, candidate, limit);
    /* what was typed may also be the beginning of the name */
    if (d > limit && len >= 3 && !strncmp(n->word, candidate, len)) d = limit;
    if (d > limit || d >= strlen(candidate)) return;
    if (n->best && d >= n->distance) return;
    n->best = candidate;
    n->distance = d;
}

/* --- values ----------------------------------------------------------------------------------- */

/* "--name" or "-n", for messages. */
struct label {
    char s[80];
};

static struct label label_of(const struct slv_opt *o) {
    struct label l;
    if (o->name) snprintf(l.s, sizeof l.s, "--%s", o->name);
    else snprintf(l.s, sizeof l.s, "-%c", o->letter);
    return l;
}

static bool read_int(const char *s, int64_t *ret) {
    char *end;
    if (!isdigit((unsigned char)s[*s == '-' || *s == '+'])) return false;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (*end || errno) return false;
    *ret = v;
    return true;
}

static void show_size(uint64_t v, char out[32]) {
    static const char *const units[] = {"", "K", "M", "G", "T"};
    size_t u = 0;
    while (u < 4 && v && v % 1024 == 0) {
        v /= 1024;
        u++;
    }
    snprintf(out, 32, "%" PRIu64 "%s", v, units[u]);
}

/* "1 to 64", "at least 1" or "" where the row has no range. */
static void show_range(const struct slv_opt *o, char out[80]) {
    char lo[32], hi[32];
    bool open_end = false;
    out[0] = '\0';
    if (o->kind == SLV_OPT_REAL) {
        if (o->rmin == o->rmax) return;
        open_end = isinf(o->rmax);
        snprintf(lo, sizeof lo, "%.15g", o->rmin); /* 2000000, not 2e+06 */
        snprintf(hi, sizeof hi, "%.15g", o->rmax);
    } else {
        if (o->imin == o->imax) return;
        open_end = o->imax == INT64_MAX;
        if (o->kind == SLV_OPT_SIZE) {
            show_size((uint64_t)o->imin, lo);
            show_size((uint64_t)o->imax, hi);
        } else {
            snprintf(lo, sizeof lo, "%" PRId64, o->imin);
            snprintf(hi, sizeof hi, "%" PRId64, o->imax);
        }
    }
    if (open_end) snprintf(out, 80, "at least %s", lo);
    else snprintf(out, 80, "%s to %s", lo, hi);
}

static int not_in_range(const struct slv_opt *o, const char *text, struct slv_err *err) {
    char range[80];
    show_range(o, range);
    return slv_err_set(err, SLV_E_USAGE, "%s: %s is out of range: %s", label_of(o).s, text, range);
}

static bool int_in_range(const struct slv_opt *o, int64_t v) {
    return o->imin == o->imax || (v >= o->imin && v <= o->imax);
}

static int set_int(const struct slv_opt *o, int64_t *to, const char *text, struct slv_err *err) {
    int64_t v;
    if (!read_int(text, &v))
        return slv_err_set(err, SLV_E_USAGE, "%s: '%s' is not a whole number", label_of(o).s, text);
    if (!int_in_range(o, v)) return not_in_range(o, text, err);
    *to = v;
    return 0;
}

static int set_size(const struct slv_opt *o, uint64_t *to, const char *text, struct slv_err *err) {
    uint64_t v;
    if (!slv_amount_size(text, &v))
        return slv_err_set(err, SLV_E_USAGE, "%s: '%s' is not a size such as 512M or 2G",
                           label_of(o).s, text);
    if (!int_in_range(o, (int64_t)v)) return not_in_range(o, text, err);
    *to = v;
    return 0;
}

static int set_real(const struct slv_opt *o, double *to, const char *text, struct slv_err *err) {
    char *end;
    double v = strtod(text, &end);
    if (!*text || isspace((unsigned char)*text) || *end || !isfinite(v))
        return slv_err_set(err, SLV_E_USAGE, "%s: '%s' is not a number", label_of(o).s, text);
    if (o->rmin != o->rmax && (v < o->rmin || v > o->rmax)) return not_in_range(o, text, err);
    *to = v;
    return 0;
}

static int set_choice(const struct slv_opt *o, int *to, const char *text, struct slv_err *err) {
    size_t len = strlen(text);
    const char *c = o->choices;
    for (int i = 0; c; i++) {
        const char *end = c + strcspn(c, "|");
        if ((size_t)(end - c) == len && !memcmp(c, text, len)) {
            *to = i;
            return 0;
        }
        c = *end ? end + 1 : NULL;
    }
    return slv_err_set(err, SLV_E_USAGE, "%s: '%s' is none of %s", label_of(o).s, text, o->choices);
}

static int set_ints(const struct slv_opt *o, struct slv_opt_ints *to, const char *text,
                    struct slv_err *err) {
    struct slv_opt_ints list = {0};
    for (const char *p = text;; p++) {
        char one[32];
        size_t len = strcspn(p, ",");
        if (list.n == SLV_OPT_LIST_MAX)
            return slv_err_set(err, SLV_E_USAGE, "%s: more than %d values", label_of(o).s,
                               SLV_OPT_LIST_MAX);
        snprintf(one, sizeof one, "%.*s", (int)(len < sizeof one ? len : sizeof one - 1), p);
        int rc = set_int(o, &list.v[list.n++], one, err);
        if (rc) return rc;
        p += len;
        if (!*p) break;
    }
    *to = list;
    return 0;
}

static int add_to_list(const struct slv_opt *o, struct slv_opt_list *to, const char *text,
                       struct slv_err *err) {
    if (to->n == SLV_OPT_LIST_MAX)
        return slv_err_set(err, SLV_E_USAGE, "%s: given more than %d times", label_of(o).s,
                           SLV_OPT_LIST_MAX);
    to->v[to->n++] = text;
    return 0;
}

/* text is NULL for flags. */
static int set_value(const struct slv_opt *o, void *base, const char *text, struct slv_err *err) {
    void *at = (char *)base + o->offset;
    switch (o->kind) {
    case SLV_OPT_FLAG:
        *(bool *)at = true;
        return 0;
    case SLV_OPT_STR:
        *(const char **)at = text;
        return 0;
    case SLV_OPT_INT:
        return set_int(o, at, text, err);
    case SLV_OPT_SIZE:
        return set_size(o, at, text, err);
    case SLV_OPT_REAL:
        return set_real(o, at, text, err);
    case SLV_OPT_CHOICE:
        return set_choice(o, at, text, err);
    case SLV_OPT_INTS:
        return set_ints(o, at, text, err);
    case SLV_OPT_LIST:
        return add_to_list(o, at, text, err);
    }
    return SLV_E_INTERNAL;
}

/* --- parsing ---------------------------------------------------------------------------------- */

struct parser {
    struct slv_opt_set *sets;
    size_t nsets;
    const char **argv;
    size_t argc, at;
};

static const struct slv_opt *find(struct parser *p, const char *name, size_t len, char letter,
                                  struct slv_opt_set **ret_set) {
    for (size_t s = 0; s < p->nsets; s++)
        for (size_t i = 0; i < p->sets[s].n; i++) {
            const struct slv_opt *o = &p->sets[s].rows[i];
            bool hit = letter ? o->letter == letter
                              : o->name && strlen(o->name) == len && !memcmp(o->name, name, len);
            if (!hit) continue;
            *ret_set = &p->sets[s];
            return o;
        }
    return NULL;
}

static int unknown_name(struct parser *p, const char *name, size_t len, struct slv_err *err) {
    char word[WORD_MAX + 1];
    snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word - 1), name);
    struct slv_opt_nearest near = {.word = word};
    for (size_t s = 0; s < p->nsets; s++)
        for (size_t i = 0; i < p->sets[s].n; i++)
            if (p->sets[s].rows[i].name) slv_opt_offer(&near, p->sets[s].rows[i].name);
    if (near.best)
        return slv_err_set(err, SLV_E_USAGE, "unknown option '--%s': did you mean --%s?", word,
                           near.best);
    return slv_err_set(err, SLV_E_USAGE, "unknown option '--%s': see --help", word);
}

static int take(struct slv_opt_set *set, const struct slv_opt *o, const char *value,
                struct slv_err *err) {
    uint64_t bit = UINT64_C(1) << (o - set->rows);
    set->given |= bit;
    return set_value(o, set->base, value, err);
}

static int next_value(struct parser *p, const struct slv_opt *o, const char **ret,
                      struct slv_err *err) {
    if (p->at == p->argc)
        return slv_err_set(err, SLV_E_USAGE, "%s: wants a value: %s", label_of(o).s,
                           o->arg ? o->arg : "VALUE");
    *ret = p->argv[p->at++];
    return 0;
}

static int parse_long(struct parser *p, const char *word, struct slv_err *err) {
    const char *eq = word + strcspn(word, "=");
    size_t len = (size_t)(eq - word);
    struct slv_opt_set *set;
    const struct slv_opt *o = find(p, word, len, 0, &set);
    if (!o) return unknown_name(p, word, len, err);
    const char *value = *eq ? eq + 1 : NULL;
    if (o->kind == SLV_OPT_FLAG && value)
        return slv_err_set(err, SLV_E_USAGE, "--%s: takes no value", o->name);
    if (o->kind != SLV_OPT_FLAG && !value) {
        int rc = next_value(p, o, &value, err);
        if (rc) return rc;
    }
    return take(set, o, value, err);
}

static int parse_letters(struct parser *p, const char *word, struct slv_err *err) {
    while (*word) {
        struct slv_opt_set *set;
        const struct slv_opt *o = find(p, NULL, 0, *word, &set);
        const char *value = NULL;
        if (!o) return slv_err_set(err, SLV_E_USAGE, "unknown option '-%c': see --help", *word);
        word++;
        if (o->kind != SLV_OPT_FLAG) {
            value = word;
            if (!*word) {
                int rc = next_value(p, o, &value, err);
                if (rc) return rc;
            }
            word = "";
        }
        int rc = take(set, o, value, err);
        if (rc) return rc;
    }
    return 0;
}

static int set_defaults(struct slv_opt_set *set, struct slv_err *err) {
    set->given = 0;
    for (size_t i = 0; i < set->n; i++) {
        const struct slv_opt *o = &set->rows[i];
        int rc = o->def ? set_value(o, set->base, o->def, err) : 0;
        if (rc) return slv_err_prefix(err, rc, "default");
    }
    return 0;
}

/* "-1", "-.5": a number is an argument, where no option has the digit for its letter. */
static bool is_negative(struct parser *p, const char *word) {
    struct slv_opt_set *set;
    const char *digit = word + 1 + (word[1] == '.');
    return isdigit((unsigned char)*digit) && !find(p, NULL, 0, word[1], &set);
}

int slv_opt_parse(struct slv_opt_set *sets, size_t nsets, const char **argv, size_t argc,
                  size_t *ret_args, struct slv_err *err) {
    struct parser p = {sets, nsets, argv, argc, 0};
    size_t nargs = 0;
    bool options = true;
    for (size_t s = 0; s < nsets; s++) {
        int rc = set_defaults(&sets[s], err);
        if (rc) return rc;
    }
    while (p.at < argc) {
        const char *word = argv[p.at++];
        int rc = 0;
        if (!options || word[0] != '-' || !word[1] || is_negative(&p, word)) argv[nargs++] = word;
        else if (word[1] != '-') rc = parse_letters(&p, word + 1, err);
        else if (word[2]) rc = parse_long(&p, word + 2, err);
        else options = false;
        if (rc) return rc;
    }
    *ret_args = nargs;
    return 0;
}

/* --- help ------------------------------------------------------------------------------------- */

void slv_opt_wrap(const char *text, size_t at, size_t indent, struct slv_buf *out) {
    bool first = true;
    while (*text) {
        size_t len = strcspn(text, " ");
        if (!first && at + 1 + len > COLUMNS) {
            slv_buf_addf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (!first) {
            slv_buf_addc(out, ' ');
            at++;
        }
        slv_buf_add(out, text, len);
        at += len;
        text += len;
        while (*text == ' ')
            text++;
        first = false;
    }
    slv_buf_addc(out, '\n');
}

static void help_row(const struct slv_opt *o, struct slv_buf *out) {
    char range[80], text[1000];
    size_t start = out->len;
    if (o->letter && o->name) slv_buf_addf(out, "  -%c, --%s", o->letter, o->name);
    else if (o->letter) slv_buf_addf(out, "  -%c", o->letter);
    else slv_buf_addf(out, "      --%s", o->name);
    if (o->kind == SLV_OPT_CHOICE) slv_buf_addf(out, " %s", o->choices);
    else if (o->kind != SLV_OPT_FLAG) slv_buf_addf(out, " %s", o->arg ? o->arg : "VALUE");
    size_t width = out->len - start;
    if (width + 2 > HELP_COLUMN) slv_buf_addf(out, "\n%*s", HELP_COLUMN, "");
    else slv_buf_addf(out, "%*s", (int)(HELP_COLUMN - width), "");

    show_range(o, range);
    const char *open = range[0] || o->def ? " (" : "", *close = *open ? ")" : "";
    snprintf(text, sizeof text, "%s%s%s%s%s%s%s", o->help, open, range,
             range[0] && o->def ? "; " : "", o->def ? "default " : "", o->def ? o->def : "", close);
    slv_opt_wrap(text, HELP_COLUMN, HELP_COLUMN, out);
}

void slv_opt_help(const struct slv_opt *rows, size_t n, struct slv_buf *out) {
    for (size_t i = 0; i < n; i++)
        help_row(&rows[i], out);
}

bool slv_opt_given(const struct slv_opt *rows, size_t n, uint64_t given, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (rows[i].name && !strcmp(rows[i].name, name)) return given >> i & 1;
    return false;
}
