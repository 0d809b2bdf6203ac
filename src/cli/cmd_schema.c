/* cmd_schema.c: what the constraint engine makes of a JSON Schema, without a model. */
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/engine.h"
#include "cli/lines.h"
#include "cli/out.h"
#include "engine/constraint/check.h"
#include "engine/constraint/mask.h"
#include "engine/constraint/values.h"
#include "engine/model.h"

#include <string.h>

struct schema_opts {
    bool as_written;
    const char *model;
    bool times;
};

static const struct slv_opt schema_rows[] = {
    {"as-written", 0, SLV_OPT_FLAG_AT(struct schema_opts, as_written),
     .help =
         "as strictly as answers are held to it: \"format\" asserted, \\w and \\d ECMA-262's; else "
         "as validators judge by default: an annotation, letters of all scripts"},
    {"model", 0, SLV_OPT_STR_AT(struct schema_opts, model), .arg = "MODEL",
     .help =
         "time masks for this vocabulary along each accepted instance; with JSON Lines, for the "
         "default model's where it is in the store"},
    {"times", 0, SLV_OPT_FLAG_AT(struct schema_opts, times),
     .help = "with --json: the time of each mask, too"},
};

/* A vocabulary to make masks for. */
struct vocabulary {
    struct slv_model *model;
    struct slv_lexicon *lexicon;
    struct slv_free_text *text;
    uint64_t *bits;
};

/* Times of masks along one schema's accepted instances, in microseconds. */
struct mask_times {
    size_t n, refused; /* refused: a token of the instance that its mask did not have */
    double sum, max, first;
    float *all; /* NULL: not asked for */
    size_t cap;
};

/* One schema and what was found. */
struct checked {
    bool supported;
    struct slv_err why;
    char pointer[SLV_SCHEMA_POINTER_MAX];
    bool *results;
    size_t n;
    double compile_us;
    size_t longest; /* bytes of an answer; SIZE_MAX: no bound */
    struct mask_times masks;
};

struct run {
    const struct slv_cli *cli;
    const struct schema_opts *o;
    struct vocabulary v; /* bits NULL: none */
};

static double us_since(uint64_t t0) {
    return (double)(slv_clock_mono(&slv_clock_system) - t0) / 1e3;
}

static int note_time(struct mask_times *t, double us) {
    if (t->all) {
        const int rc = slv_mem_grow((void **)&t->all, t->n, &t->cap, sizeof *t->all, SIZE_MAX / 8);
        if (rc) return rc;
        t->all[t->n] = (float)us;
    }
    if (t->n == 0) t->first = us;
    t->sum += us;
    t->max = us > t->max ? us : t->max;
    t->n++;
    return 0;
}

/* Masks at each token of text. */
static int time_tokens(const struct vocabulary *v, struct slv_masks *z, struct slv_matcher *m,
                       const struct slv_buf *text, struct mask_times *t) {
    struct slv_ids ids = {0};
    struct slv_buf piece;
    slv_buf_init(&piece, SLV_MATCHER_MAX_BYTES);
    const struct slv_tokenizer *tok = v->model->tokenizer;
    int rc = slv_lexicon_cut(v->lexicon, tok, text->data, text->len, &ids);
    slv_matcher_reset(m);
    for (size_t i = 0; !rc && i < ids.n; i++) {
        const uint64_t t0 = slv_clock_mono(&slv_clock_system);
        rc = slv_mask_next(z, m, v->bits);
        if (!rc) rc = note_time(t, us_since(t0));
        if (rc) break;
        t->refused += !(v->bits[ids.v[i] / 64] >> (ids.v[i] % 64) & 1);
        slv_buf_clear(&piece);
        rc = slv_token_bytes(tok, ids.v[i], false, false, &piece);
        if (!rc && slv_matcher_feed(m, piece.data, piece.len) != piece.len) break;
    }
    slv_buf_fini(&piece);
    slv_ids_fini(&ids);
    return rc;
}

static int time_masks(const struct vocabulary *v, struct slv_schema *s, const json_t *instances,
                      struct checked *c, struct slv_err *err) {
    struct slv_matcher *m = NULL;
    struct slv_masks *z = NULL;
    int rc = slv_matcher_open(s, 0, &m);
    if (!rc) rc = slv_masks_open(v->text, s, &z);
    for (size_t i = 0; !rc && i < c->n; i++) {
        struct slv_buf text;
        bool found = false;
        slv_buf_init(&text, SLV_MATCHER_MAX_BYTES);
        if (c->results[i])
            rc = slv_schema_arrange(m, json_array_get(instances, i), &text, &found, err);
        if (!rc && found) rc = time_tokens(v, z, m, &text, &c->masks);
        slv_buf_fini(&text);
    }
    slv_masks_close(z);
    slv_matcher_close(m);
    return rc ? slv_err_set(err, rc, "masks: %s", slv_strerror(rc)) : 0;
}

/* The text of a schema, whose tests' data (NULL: none) are the instances. */
static int check(const struct run *r, const char *text, size_t n, const json_t *instances,
                 struct checked *c, struct slv_err *err) {
    const struct slv_schema_options so = r->o->as_written ? SLV_SCHEMA_WRITTEN : SLV_SCHEMA_READ;
    struct slv_schema *s = NULL;
    struct slv_matcher *m = NULL;
    const uint64_t t0 = slv_clock_mono(&slv_clock_system);
    int rc = slv_schema_open(text, n, &so, &s, c->pointer, &c->why);
    c->compile_us = us_since(t0);
    c->supported = rc == 0;
    if (rc) return rc == SLV_E_NOMEM ? slv_err_set(err, rc, "out of memory") : 0;
    c->longest = slv_schema_longest(s);
    c->n = json_array_size(instances);
    c->results = slv_mem_calloc(c->n ? c->n : 1, sizeof *c->results);
    rc = c->results ? slv_matcher_open(s, SLV_MATCH_READ, &m) : SLV_E_NOMEM;
    if (rc) slv_err_set(err, rc, "out of memory");
    for (size_t i = 0; !rc && i < c->n; i++)
        rc = slv_schema_accepts(m, json_array_get(instances, i), &c->results[i], err);
    if (r->o->times && r->v.bits) {
        c->masks.cap = 256;
        c->masks.all = slv_mem_calloc(c->masks.cap, sizeof *c->masks.all);
    }
    if (!rc && r->v.bits) rc = time_masks(&r->v, s, instances, c, err);
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
    if (c->supported && c->longest < SIZE_MAX) slv_json_uint(&j, "longest_bytes", c->longest);
    slv_json_double(&j, "compile_us", c->compile_us);
    if (c->masks.n) {
        slv_json_uint(&j, "masks", c->masks.n);
        slv_json_uint(&j, "masks_refused", c->masks.refused);
        slv_json_double(&j, "mask_us", c->masks.sum / (double)c->masks.n);
        slv_json_double(&j, "mask_max_us", c->masks.max);
        slv_json_double(&j, "mask_first_us", c->masks.first);
        if (c->masks.all) slv_json_array(&j, "mask_times_us");
        for (size_t i = 0; c->masks.all && i < c->masks.n; i++)
            slv_json_float(&j, NULL, c->masks.all[i]);
        if (c->masks.all) slv_json_array_end(&j);
    }
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
    slv_out_printf("supported, compiled in %.0f us", c->compile_us);
    if (c->longest == 0) slv_out_puts(", no value meets it");
    else if (c->longest < SIZE_MAX) slv_out_printf(", an answer has at most %zu bytes", c->longest);
    slv_out_puts("\n");
    for (size_t i = 0; i < c->n; i++)
        slv_out_printf("instance %zu: %s\n", i + 1, c->results[i] ? "accepted" : "refused");
    if (c->masks.n)
        slv_out_printf("%zu masks: %.1f us on average, at most %.1f, the first %.1f\n", c->masks.n,
                       c->masks.sum / (double)c->masks.n, c->masks.max, c->masks.first);
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

static int check_case(const struct run *r, const json_t *j, struct slv_err *err) {
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
    int rc = slv_value_text(json_object_get(j, "schema"), false, &text);
    if (rc) slv_err_set(err, rc, "the schema: %s", slv_strerror(rc));
    if (!rc) rc = check(r, text.data, text.len, instances, &c, err);
    if (!rc) rc = report(r->cli, &c, err);
    slv_mem_free(c.results);
    slv_mem_free(c.masks.all);
    json_decref(instances);
    slv_buf_fini(&text);
    return rc;
}

/* One line of JSON Lines. A line that is no JSON is a schema that is not supported. */
static int check_line(const struct run *r, const char *line, size_t n, struct slv_err *err) {
    json_t *j = NULL;
    struct checked c = {0};
    int rc = slv_schema_json(line, n, &j, &c.why);
    if (rc) return report(r->cli, &c, err);
    if (is_case(j)) rc = check_case(r, j, err);
    else {
        rc = check(r, line, n, NULL, &c, err);
        if (!rc) rc = report(r->cli, &c, err);
        slv_mem_free(c.results);
        slv_mem_free(c.masks.all);
    }
    json_decref(j);
    return rc;
}

static int check_lines(const struct run *r, const char *path, struct slv_err *err) {
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
        if (!rc && got == SLV_LINES_LINE && n) rc = check_line(r, line, n, err);
        if (!rc) rc = slv_out_flush(err);
    }
    slv_lines_close(&l);
    return rc;
}

/* A schema in a file, the instances in others. */
static int check_files(const struct run *r, const char *text, size_t n, struct slv_err *err) {
    json_t *instances = json_array();
    struct checked c = {0};
    int rc = 0;
    for (size_t i = 1; !rc && i < r->cli->nargs; i++) {
        struct slv_buf b;
        json_t *j = NULL;
        slv_buf_init(&b, SLV_SCHEMA_MAX_BYTES);
        rc = slv_file_read(r->cli->args[i], &b, err);
        if (!rc && (rc = slv_schema_json(b.data, b.len, &j, err)) != 0)
            slv_err_prefix(err, rc, "%s", r->cli->args[i]);
        if (!rc) json_array_append_new(instances, j);
        slv_buf_fini(&b);
    }
    if (!rc) rc = check(r, text, n, instances, &c, err);
    if (!rc) rc = report(r->cli, &c, err);
    slv_mem_free(c.results);
    slv_mem_free(c.masks.all);
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

static int open_vocabulary(struct run *r, const char *name, struct slv_err *err) {
    struct slv_model_opts mo = {.inspect = true};
    struct vocabulary *v = &r->v;
    int rc = slv_cli_model_open(r->cli, name, &mo, NULL, &v->model, err);
    if (!rc) rc = slv_lexicon_open(v->model->tokenizer, &v->lexicon, err);
    if (!rc && slv_free_text_open(v->lexicon, &v->text)) rc = SLV_E_NOMEM;
    if (!rc) v->bits = slv_mem_calloc(slv_mask_words(v->lexicon), sizeof *v->bits);
    return rc || v->bits ? rc : slv_err_set(err, SLV_E_NOMEM, "out of memory");
}

static void close_vocabulary(struct vocabulary *v) {
    slv_mem_free(v->bits);
    slv_free_text_close(v->text);
    slv_lexicon_close(v->lexicon);
    slv_model_close(v->model);
    *v = (struct vocabulary){0};
}

/* With JSON Lines: masks of the default model's vocabulary, if it is there. */
static void default_vocabulary(struct run *r) {
    struct slv_err ignored;
    if (!r->o->model && open_vocabulary(r, NULL, &ignored)) close_vocabulary(&r->v);
}

static int check_file(struct run *r, const char *path, struct slv_err *err) {
    struct slv_buf b;
    json_t *j = NULL;
    struct slv_err ignored;
    const size_t ends = strlen(path) > 6 ? strlen(path) - 6 : 0;
    bool lines = !strcmp(path, "-") || !strcmp(path + ends, ".jsonl");
    slv_buf_init(&b, (size_t)256 << 20);
    int rc = lines ? 0 : slv_file_read(path, &b, err);
    lines = lines || (!rc && several(b.data, b.len));
    if (!rc && lines) {
        default_vocabulary(r);
        rc = check_lines(r, path, err);
    } else if (!rc && r->cli->nargs == 1 && !slv_schema_json(b.data, b.len, &j, &ignored) &&
               is_case(j))
        rc = check_case(r, j, err);
    else if (!rc) rc = check_files(r, b.data, b.len, err);
    json_decref(j);
    slv_buf_fini(&b);
    return rc;
}

static int schema_check(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct run r = {.cli = cli, .o = opts};
    int rc = r.o->model ? open_vocabulary(&r, r.o->model, err) : 0;
    if (!rc) rc = check_file(&r, slv_cli_arg(cli, 0), err);
    close_vocabulary(&r.v);
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
