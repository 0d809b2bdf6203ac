/* conffile.c: see conffile.h. A value becomes the words that would have stood on the command line,
 * so that it is read and checked by the same code. */
#include "cli/conffile.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#define ARENA_MAX ((size_t)4 << 20)

struct reading {
    struct slv_config *c;
    yaml_document_t *doc;
    const struct slv_cmd *const *commands;
    const struct slv_cmd *cmd; /* that runs */
    uint64_t on_line;
    const struct slv_config_common *common;
    struct slv_err *err;
};

/* One table of options: a command's, or that of all. */
struct table {
    const struct slv_opt *rows;
    size_t n;
    uint64_t on_line;
    bool in_force;
};

static int fail_at(const struct reading *r, const yaml_node_t *at, const char *key,
                   const char *why) {
    return slv_err_set(r->err, SLV_E_USAGE, "%s:%zu: %s%s%s", r->c->path, at->start_mark.line + 1,
                       key ? key : "", key ? ": " : "", why);
}

static const char *scalar(const yaml_node_t *n) {
    if (!n || n->type != YAML_SCALAR_NODE) return NULL;
    const char *s = (const char *)n->data.scalar.value;
    return strlen(s) == n->data.scalar.length ? s : NULL; /* no NUL inside */
}

/* --- one option ------------------------------------------------------------------------------- */

static const struct slv_opt *find_row(const struct table *t, const char *name) {
    for (size_t i = 0; i < t->n; i++)
        if (t->rows[i].name && !strcmp(t->rows[i].name, name)) return &t->rows[i];
    return NULL;
}

static bool is_true(const char *s) { return !strcmp(s, "true") || !strcmp(s, "yes"); }
static bool is_false(const char *s) { return !strcmp(s, "false") || !strcmp(s, "no"); }

/* Whether the table takes the word. */
static int check_word(const struct reading *r, const struct table *t, const char *word,
                      const yaml_node_t *at, const char *key) {
    static alignas(max_align_t) unsigned char scratch[SLV_CMD_OPTS_MAX];
    struct slv_opt_set set = {t->rows, t->n, scratch, 0};
    struct slv_err why = {0};
    size_t n = 0;
    int rc = slv_opt_parse(&set, 1, &word, 1, &n, &why);
    return rc ? fail_at(r, at, key, why.msg) : 0;
}

static int add_word(struct reading *r, const struct table *t, const struct slv_opt *row,
                    const char *value, const yaml_node_t *at, bool in_force) {
    size_t n = strlen(row->name) + (value ? strlen(value) : 0) + 4;
    char *word = slv_arena_alloc(&r->c->arena, n);
    if (!word) return slv_err_set(r->err, SLV_E_NOMEM, "%s: out of memory", r->c->path);
    snprintf(word, n, value ? "--%s=%s" : "--%s", row->name, value);
    int rc = check_word(r, t, word, at, row->name);
    if (rc || !in_force) return rc;
    if (r->c->n == SLV_CONFIG_WORDS_MAX) return fail_at(r, at, row->name, "too many values");
    r->c->words[r->c->n++] = word;
    return 0;
}

static int read_value(struct reading *r, const struct table *t, const struct slv_opt *row,
                      const yaml_node_t *v) {
    bool in_force = t->in_force && !(t->on_line >> (row - t->rows) & 1);
    const char *s = scalar(v);
    if (row->kind == SLV_OPT_FLAG) {
        if (!s || (!is_true(s) && !is_false(s))) return fail_at(r, v, row->name, "true or false");
        return is_true(s) ? add_word(r, t, row, NULL, v, in_force) : 0;
    }
    if (s) return add_word(r, t, row, s, v, in_force);
    if (v->type != YAML_SEQUENCE_NODE || row->kind != SLV_OPT_LIST)
        return fail_at(r, v, row->name,
                       row->kind == SLV_OPT_LIST ? "a value or a list of them" : "one value");
    int rc = 0;
    for (yaml_node_item_t *i = v->data.sequence.items.start; !rc && i < v->data.sequence.items.top;
         i++) {
        const yaml_node_t *x = yaml_document_get_node(r->doc, *i);
        s = scalar(x);
        rc = s ? add_word(r, t, row, s, x, in_force) : fail_at(r, v, row->name, "a list of values");
    }
    return rc;
}

static int read_args(struct reading *r, const struct slv_cmd *cmd, const yaml_node_t *v,
                     const char *key) {
    if (v->type != YAML_SEQUENCE_NODE) return fail_at(r, v, key, "a list is wanted");
    for (yaml_node_item_t *i = v->data.sequence.items.start; i < v->data.sequence.items.top; i++) {
        const char *s = scalar(yaml_document_get_node(r->doc, *i));
        if (!s) return fail_at(r, v, key, "a list of texts is wanted");
        if (cmd != r->cmd) continue;
        if (r->c->n_args == SLV_CONFIG_WORDS_MAX) return fail_at(r, v, key, "too many");
        s = slv_arena_strndup(&r->c->arena, s, strlen(s));
        if (!s) return slv_err_set(r->err, SLV_E_NOMEM, "%s: out of memory", r->c->path);
        r->c->args[r->c->n_args++] = s;
    }
    return 0;
}

/* --- sections --------------------------------------------------------------------------------- */

static int unknown_option(const struct reading *r, const struct slv_cmd *cmd, const yaml_node_t *at,
                          const char *key) {
    struct slv_opt_nearest near = {.word = key};
    char why[300];
    for (size_t i = 0; i < cmd->nopts; i++)
        if (cmd->opts[i].name) slv_opt_offer(&near, cmd->opts[i].name);
    for (size_t i = 0; i < r->common->n; i++)
        slv_opt_offer(&near, r->common->rows[i].name);
    snprintf(why, sizeof why, "%s has no such option%s%s%s", cmd->name,
             near.best ? ": did you mean " : "", near.best ? near.best : "", near.best ? "?" : "");
    return fail_at(r, at, key, why);
}

/* Whether the key stands before in the mapping too. */
static bool is_repeated(const struct reading *r, const yaml_node_t *map,
                        const yaml_node_pair_t *pair, const char *key) {
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < pair; p++) {
        const char *s = scalar(yaml_document_get_node(r->doc, p->key));
        if (s && !strcmp(s, key)) return true;
    }
    return false;
}

static int read_section(struct reading *r, const struct slv_cmd *cmd, const yaml_node_t *map) {
    const bool runs = cmd == r->cmd;
    const struct table own = {cmd->opts, cmd->nopts, r->on_line, runs};
    const struct table all = {r->common->rows, r->common->n, r->common->on_line, runs};
    int rc = 0;
    if (map->type != YAML_MAPPING_NODE) return fail_at(r, map, cmd->name, "options are wanted");
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start;
         !rc && p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *k = yaml_document_get_node(r->doc, p->key);
        const yaml_node_t *v = yaml_document_get_node(r->doc, p->value);
        const char *key = scalar(k);
        if (!key) return fail_at(r, k, NULL, "the name of an option is wanted");
        if (is_repeated(r, map, p, key)) return fail_at(r, k, key, "stands there twice");
        const struct slv_opt *row = find_row(&own, key), *of_all = find_row(&all, key);
        if (row) rc = read_value(r, &own, row, v);
        else if (of_all) rc = read_value(r, &all, of_all, v);
        else if (!strcmp(key, "arguments") || !strcmp(key, "models"))
            rc = read_args(r, cmd, v, key);
        else rc = unknown_option(r, cmd, k, key);
    }
    return rc;
}

static int read_document(struct reading *r) {
    const yaml_node_t *root = yaml_document_get_root_node(r->doc);
    int rc = 0;
    if (!root) return 0; /* an empty file */
    if (root->type != YAML_MAPPING_NODE) return fail_at(r, root, NULL, "sections are wanted");
    for (yaml_node_pair_t *p = root->data.mapping.pairs.start;
         !rc && p < root->data.mapping.pairs.top; p++) {
        const yaml_node_t *k = yaml_document_get_node(r->doc, p->key);
        const char *name = scalar(k);
        const struct slv_cmd *const *c = r->commands;
        while (name && *c && strcmp((*c)->name, name) != 0)
            c++;
        if (!name || !*c) return fail_at(r, k, name, "there is no such command");
        if (is_repeated(r, root, p, name)) return fail_at(r, k, name, "stands there twice");
        rc = read_section(r, *c, yaml_document_get_node(r->doc, p->value));
    }
    return rc;
}

/* --- the file --------------------------------------------------------------------------------- */

static int parse(struct reading *r, const struct slv_buf *text) {
    yaml_parser_t parser;
    yaml_document_t doc;
    if (!yaml_parser_initialize(&parser))
        return slv_err_set(r->err, SLV_E_NOMEM, "%s: out of memory", r->c->path);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text->data, text->len);
    int rc = 0;
    if (!yaml_parser_load(&parser, &doc)) {
        rc =
            slv_err_set(r->err, SLV_E_USAGE, "%s:%zu: %s", r->c->path, parser.problem_mark.line + 1,
                        parser.problem ? parser.problem : "not YAML");
    } else {
        r->doc = &doc;
        rc = read_document(r);
        r->doc = NULL;
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
    return rc;
}

/* The file that is meant; NULL: there is none. */
static const char *find_file(struct slv_config *c, const char *given) {
    const char *home = getenv("XDG_CONFIG_HOME"), *user = getenv("HOME");
    char path[4096];
    if (given) return given;
    if (!access("selvage.yaml", F_OK)) return "selvage.yaml";
    if (home && *home) snprintf(path, sizeof path, "%s/selvage/selvage.yaml", home);
    else snprintf(path, sizeof path, "%s/.config/selvage/selvage.yaml", user ? user : "");
    return access(path, F_OK) ? NULL : slv_arena_strndup(&c->arena, path, strlen(path));
}

int slv_config_read(const char *given, const struct slv_cmd *const *commands,
                    const struct slv_cmd *cmd, uint64_t on_line,
                    const struct slv_config_common *common, struct slv_config *ret,
                    struct slv_err *err) {
    struct reading r = {.c = ret,
                        .commands = commands,
                        .cmd = cmd,
                        .on_line = on_line,
                        .common = common,
                        .err = err};
    struct slv_buf text;
    *ret = (struct slv_config){0};
    slv_arena_init(&ret->arena, ARENA_MAX);
    ret->path = find_file(ret, given);
    if (!ret->path) return 0;
    slv_buf_init(&text, SLV_CONFIG_FILE_MAX);
    int rc = slv_file_read(ret->path, &text, err);
    if (!rc) rc = parse(&r, &text);
    slv_buf_fini(&text);
    return rc;
}

void slv_config_fini(struct slv_config *c) { slv_arena_fini(&c->arena); }

/* --- what is in force ------------------------------------------------------------------------- */

/* A text that YAML reads as that text. */
static void print_text(struct slv_buf *out, const char *s) {
    slv_buf_addc(out, '"');
    slv_json_escape(out, s, strlen(s));
    slv_buf_addc(out, '"');
}

static void print_list(struct slv_buf *out, const char *const *v, size_t n) {
    slv_buf_addc(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i) slv_buf_adds(out, ", ");
        print_text(out, v[i]);
    }
    slv_buf_addc(out, ']');
}

static void print_choice(struct slv_buf *out, const char *choices, int at) {
    for (; at > 0; at--)
        choices = strchr(choices, '|') + 1;
    slv_buf_add(out, choices, strcspn(choices, "|"));
}

/* In the largest unit that says it exactly. */
static void print_size(struct slv_buf *out, uint64_t bytes) {
    static const char units[] = "KMGT";
    size_t n = 0;
    while (bytes && n < sizeof units - 1 && bytes % 1024 == 0) {
        bytes /= 1024;
        n++;
    }
    slv_buf_addf(out, "%llu%.*s", (unsigned long long)bytes, n ? 1 : 0, n ? &units[n - 1] : "");
}

/* False: there is no value to print. */
static bool print_value(const struct slv_opt *row, const void *at, struct slv_buf *out) {
    const struct slv_opt_ints *ints = at;
    const struct slv_opt_list *list = at;
    const char *s;
    switch (row->kind) {
    case SLV_OPT_FLAG:
        slv_buf_adds(out, *(const bool *)at ? "true" : "false");
        return true;
    case SLV_OPT_STR:
        s = *(const char *const *)at;
        if (s) print_text(out, s);
        return s != NULL;
    case SLV_OPT_INT:
        if (!row->def && !*(const int64_t *)at) return false;
        slv_buf_addf(out, "%lld", (long long)*(const int64_t *)at);
        return true;
    case SLV_OPT_SIZE:
        if (!row->def && !*(const uint64_t *)at) return false;
        print_size(out, *(const uint64_t *)at);
        return true;
    case SLV_OPT_REAL:
        slv_buf_addf(out, "%.9g", *(const double *)at);
        return true;
    case SLV_OPT_CHOICE:
        print_choice(out, row->choices, *(const int *)at);
        return true;
    case SLV_OPT_INTS:
        for (size_t i = 0; i < ints->n; i++)
            slv_buf_addf(out, "%s%lld", i ? "," : "\"", (long long)ints->v[i]);
        if (ints->n) slv_buf_addc(out, '"');
        return ints->n > 0;
    case SLV_OPT_LIST:
        print_list(out, list->v, list->n);
        return list->n > 0;
    }
    return false;
}

/* What stands for an option that is not set: its help says so behind "default: ". */
static void print_unset(struct slv_buf *out, const struct slv_opt *row) {
    static const char word[] = "default: ";
    const char *p = row->help ? strstr(row->help, word) : NULL;
    if (p) p += sizeof word - 1;
    slv_buf_addf(out, "  # %s: ", row->name);
    if (p) slv_buf_addf(out, "default: %.*s\n", (int)strcspn(p, ";"), p);
    else slv_buf_adds(out, "not set\n");
}

static void print_rows(struct slv_buf *out, const struct slv_opt *rows, size_t n,
                       const void *opts) {
    for (size_t i = 0; i < n; i++) {
        const struct slv_opt *row = &rows[i];
        const size_t before = out->len;
        if (!row->name) continue;
        slv_buf_addf(out, "  %s: ", row->name);
        if (print_value(row, (const char *)opts + row->offset, out)) {
            slv_buf_addc(out, '\n');
        } else if (!out->status) {
            out->len = before;
            print_unset(out, row);
        }
    }
}

void slv_config_print(const struct slv_cmd *cmd, const void *opts,
                      const struct slv_config_common *common, const void *common_opts,
                      const char *const *args, size_t n_args, struct slv_buf *out) {
    const char *name = strcmp(cmd->name, "serve") ? "arguments" : "models";
    slv_buf_addf(out, "%s:\n", cmd->name);
    if (n_args) {
        slv_buf_addf(out, "  %s: ", name);
        print_list(out, args, n_args);
        slv_buf_addc(out, '\n');
    } else if (cmd->no_args) {
        slv_buf_addf(out, "  # %s: default: %s\n", name, cmd->no_args);
    }
    print_rows(out, cmd->opts, cmd->nopts, opts);
    print_rows(out, common->rows, common->n, common_opts);
}
