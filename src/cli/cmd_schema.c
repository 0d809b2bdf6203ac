/* cmd_schema.c: what the constraint engine makes of a JSON Schema, without a model. */
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/lines.h"
#include "cli/out.h"
#include "engine/constraint/check.h"
#include "engine/constraint/values.h"

#include <string.h>

struct schema_opts {
    bool formats;
};

static const struct slv_opt schema_rows[] = {
    {"formats", 0, SLV_OPT_FLAG_AT(struct schema_opts, formats),
     .help = "\"format\" is asserted, as it is when answers are written; else it is an annotation, "
             "as validators take it"},
};

/* One schema and what was found. */
struct checked {
    bool supported;
    struct slv_err why;
    char pointer[SLV_SCHEMA_POINTER_MAX];
    bool *results;
    size_t n;
    double compile_us;
};

static double us_since(uint64_t t0) {
    return (double)(slv_clock_mono(&slv_clock_system) - t0) / 1e3;
}

/* The text of a schema, whose tests' data (NULL: none) are the instances. */
static int check(const struct schema_opts *o, const char *text, size_t n, const json_t *instances,
                 struct checked *c, struct slv_err *err) {
    const struct slv_schema_options so = {.formats = o->formats};
    struct slv_schema *s = NULL;
    struct slv_matcher *m = NULL;
    const uint64_t t0 = slv_clock_mono(&slv_clock_system);
    int rc = slv_schema_open(text, n, &so, &s, c->pointer, &c->why);
    c->compile_us = us_since(t0);
    c->supported = rc == 0;
    if (rc) return rc == SLV_E_NOMEM ? slv_err_set(err, rc, "out of memory") : 0;
    c->n = json_array_size(instances);
    c->results = slv_mem_calloc(c->n ? c->n : 1, sizeof *c->results);
    rc = c->results ? slv_matcher_open(s, SLV_MATCH_ANY_ORDER, &m) : SLV_E_NOMEM;
    if (rc) slv_err_set(err, rc, "out of memory");
    for (size_t i = 0; !rc && i < c->n; i++)
        rc = slv_schema_accepts(m, json_array_get(instances, i), &c->results[i], err);
    slv_matcher_close(m);
    slv_schema_close(s);
    return rc;
}

static int print_json(const struct checked *c, struct slv_err *err) {
    struct slv_buf out;
    struct slv_json j;
    slv_buf_init(&out, (size_t)1 << 30);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    slv_json_bool(&j, "supported", c->supported);
    if (!c->supported) {
        slv_json_str(&j, "why", c->why.msg);
        slv_json_str(&j, "pointer", c->pointer);
    }
    slv_json_array(&j, "results");
    for (size_t i = 0; i < c->n; i++)
        slv_json_bool(&j, NULL, c->results[i]);
    slv_json_array_end(&j);
    slv_json_double(&j, "compile_us", c->compile_us);
    slv_json_object_end(&j);
    const int rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

static void print_text(const struct checked *c) {
    if (!c->supported) {
        slv_out_printf("not supported: %s", c->why.msg);
        if (c->pointer[0]) slv_out_printf(" (at %s)", c->pointer);
        slv_out_puts("\n");
        return;
    }
    slv_out_printf("supported, compiled in %.0f us\n", c->compile_us);
    for (size_t i = 0; i < c->n; i++)
        slv_out_printf("instance %zu: %s\n", i + 1, c->results[i] ? "accepted" : "refused");
}

static int report(const struct slv_cli *cli, const struct checked *c, struct slv_err *err) {
    if (cli->json) return print_json(c, err);
    print_text(c);
    return 0;
}

/* {"schema":.., "tests":[{"data":..}]}: not a schema, but one with instances. */
static bool is_case(const json_t *j) {
    return json_object_get(j, "schema") && json_is_array(json_object_get(j, "tests"));
}

static int check_case(const struct slv_cli *cli, const struct schema_opts *o, const json_t *j,
                      struct slv_err *err) {
    const json_t *t;
    size_t i;
    struct slv_buf text;
    struct checked c = {0};
    json_t *instances = json_array();
    slv_buf_init(&text, SLV_SCHEMA_MAX_BYTES * 2);
    json_array_foreach(json_object_get(j, "tests"), i, t) {
        json_t *data = json_object_get(t, "data");
        if (data) json_array_append(instances, data);
    }
    int rc = slv_value_text(json_object_get(j, "schema"), &text);
    if (rc) slv_err_set(err, rc, "the schema: %s", slv_strerror(rc));
    if (!rc) rc = check(o, text.data, text.len, instances, &c, err);
    if (!rc) rc = report(cli, &c, err);
    slv_mem_free(c.results);
    json_decref(instances);
    slv_buf_fini(&text);
    return rc;
}

/* One line of JSON Lines. A line that is no JSON is a schema that is not supported. */
static int check_line(const struct slv_cli *cli, const struct schema_opts *o, const char *line,
                      size_t n, struct slv_err *err) {
    json_t *j = NULL;
    struct checked c = {0};
    int rc = slv_schema_json(line, n, &j, &c.why);
    if (rc) return report(cli, &c, err);
    if (is_case(j)) rc = check_case(cli, o, j, err);
    else {
        rc = check(o, line, n, NULL, &c, err);
        if (!rc) rc = report(cli, &c, err);
        slv_mem_free(c.results);
    }
    json_decref(j);
    return rc;
}

static int check_lines(const struct slv_cli *cli, const struct schema_opts *o, const char *path,
                       struct slv_err *err) {
    struct slv_lines l;
    enum slv_lines_got got = SLV_LINES_NONE;
    char *line;
    size_t n;
    int rc = slv_lines_open(path, SLV_SCHEMA_MAX_BYTES, &l, err);
    if (rc) return rc;
    while (!rc && got != SLV_LINES_END) {
        rc = slv_lines_next(&l, true, &got, &line, &n, err);
        if (!rc && got == SLV_LINES_LONG)
            rc = slv_err_set(err, SLV_E_LIMIT, "%s: line %llu is too long", path,
                             (unsigned long long)l.number);
        if (!rc && got == SLV_LINES_LINE && n) rc = check_line(cli, o, line, n, err);
        if (!rc) rc = slv_out_flush(err);
    }
    slv_lines_close(&l);
    return rc;
}

/* A schema in a file, the instances in others. */
static int check_files(const struct slv_cli *cli, const struct schema_opts *o, const char *text,
                       size_t n, struct slv_err *err) {
    json_t *instances = json_array();
    struct checked c = {0};
    int rc = 0;
    for (size_t i = 1; !rc && i < cli->nargs; i++) {
        struct slv_buf b;
        json_t *j = NULL;
        slv_buf_init(&b, SLV_SCHEMA_MAX_BYTES);
        rc = slv_file_read(cli->args[i], &b, err);
        if (!rc && (rc = slv_schema_json(b.data, b.len, &j, err)) != 0)
            slv_err_prefix(err, rc, "%s", cli->args[i]);
        if (!rc) json_array_append_new(instances, j);
        slv_buf_fini(&b);
    }
    if (!rc) rc = check(o, text, n, instances, &c, err);
    if (!rc) rc = report(cli, &c, err);
    slv_mem_free(c.results);
    json_decref(instances);
    return rc;
}

/* Whether text holds more than one JSON document. */
static bool several(const char *text, size_t n) {
    json_error_t e;
    json_t *first = json_loadb(
        text, n,
        JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &e);
    size_t at = first ? (size_t)e.position : n;
    json_decref(first);
    while (at < n && strchr(" \t\r\n", text[at]))
        at++;
    return at < n;
}

static int schema_check(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct schema_opts *o = opts;
    const char *path = slv_cli_arg(cli, 0);
    struct slv_buf b;
    json_t *j = NULL;
    const size_t ends = strlen(path) > 6 ? strlen(path) - 6 : 0;
    if (!strcmp(path, "-") || !strcmp(path + ends, ".jsonl")) return check_lines(cli, o, path, err);
    slv_buf_init(&b, (size_t)256 << 20);
    int rc = slv_file_read(path, &b, err);
    if (!rc && several(b.data, b.len)) {
        slv_buf_fini(&b);
        return check_lines(cli, o, path, err);
    }
    struct slv_err ignored;
    if (!rc && slv_schema_json(b.data, b.len, &j, &ignored) == 0 && is_case(j) && cli->nargs == 1)
        rc = check_case(cli, o, j, err);
    else if (!rc) rc = check_files(cli, o, b.data, b.len, err);
    json_decref(j);
    slv_buf_fini(&b);
    return rc;
}

const struct slv_cmd slv_cmd_schema_check = {
    .name = "schema check",
    .help = "what the constraint engine makes of a JSON Schema, without a model",
    .args = "FILE [INSTANCE...]",
    .more =
        "FILE is a JSON Schema (drafts 4 to 2020-12), or {\"schema\":..,\"tests\":[{\"data\":..}]} "
        "whose tests are the instances, or JSON Lines of either. INSTANCE is a file with a "
        "value.\nA schema is supported if every answer that is held to it is valid, or it is "
        "refused with the keyword and its JSON pointer: nothing is left unenforced in silence.",
    .min_args = 1,
    .max_args = SLV_CMD_ARGS_ANY,
    SLV_CMD_OPTS(schema_rows, struct schema_opts),
    .fn = schema_check,
};
