/* cmd_embed.c: vectors of texts, or scores, a line each.
 *
 * Texts are taken some at a time, so that lines from a pipe need not all be there, and vectors are
 * printed in the order of the texts. */
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/engine.h"
#include "cli/lines.h"
#include "cli/out.h"
#include "cli/sig.h"

#include <string.h>

#define LINE_MAX ((size_t)4 << 20)
#define TEXTS_MAX ((size_t)64 << 20) /* bytes of texts held at a time */
#define AT_ONCE 256                  /* texts */

struct embed_opts {
    int64_t ctx, threads, batch, dimensions;
    int pooling; /* place in "model|mean|cls|last|rank", which is enum slv_pooling */
    bool no_normalize, truncate, special;
    struct slv_cli_model_opts model;
    uint64_t memory;
    const char *query;
};

static const struct slv_opt rows[] = {
    {"pooling", 0, SLV_OPT_CHOICE_AT(struct embed_opts, pooling), .arg = "HOW",
     .choices = "model|mean|cls|last|rank", .def = "model",
     .help = "what a vector is made of: the mean of all tokens, the first or the last one; scores; "
             "or what the model says"},
    {"dimensions", 0, SLV_OPT_INT_AT(struct embed_opts, dimensions), .arg = "N", .imin = 1,
     .imax = 65536, .help = "the first N numbers only, made length 1 again"},
    {"no-normalize", 0, SLV_OPT_FLAG_AT(struct embed_opts, no_normalize),
     .help = "leave vectors as long as they are"},
    {"query", 0, SLV_OPT_STR_AT(struct embed_opts, query), .arg = "TEXT",
     .help = "pair every text with this one, which comes first: what models that score want"},
    {"truncate", 0, SLV_OPT_FLAG_AT(struct embed_opts, truncate),
     .help = "cut texts that are too long, which is an error otherwise"},
    {"special", 0, SLV_OPT_FLAG_AT(struct embed_opts, special),
     .help = "control tokens written in a text become those tokens"},
    {"ctx", 'c', SLV_OPT_INT_AT(struct embed_opts, ctx), .arg = "N", .imin = 1, .imax = 1 << 24,
     .help = "most tokens of a text; default: the model's own, at most 2048"},
    {"threads", 't', SLV_OPT_INT_AT(struct embed_opts, threads), .arg = "N", .imin = 1, .imax = 256,
     .help = "threads; default: SLV_THREADS, or one for each core"},
    {"batch", 'b', SLV_OPT_INT_AT(struct embed_opts, batch), .arg = "N", .imin = 1, .imax = 8192,
     .help = "tokens in one step, default 512: changes speed, never results"},
    {"memory", 0, SLV_OPT_SIZE_AT(struct embed_opts, memory), .arg = "SIZE", .imin = 1 << 20,
     .imax = INT64_MAX, .help = "refuse what would take more, weights included"},
    SLV_CLI_MODEL_ROWS(struct embed_opts, model),
};

struct embed {
    const struct slv_cli *cli;
    const struct embed_opts *o;
    struct slv_model *m;
    struct slv_embedder *e;
    uint32_t dim;
    struct slv_lines lines;
    bool piped;      /* texts come from `lines` */
    size_t next_arg; /* else: the argument that comes next */
    struct slv_buf text, query, out;
    size_t end[AT_ONCE]; /* of each text in `text` */
    struct slv_embed_text texts[AT_ONCE];
    uint32_t tokens[AT_ONCE];
    size_t n;       /* texts at hand */
    uint64_t n_all; /* those before */
    float *vectors; /* [AT_ONCE][dim] */
    struct slv_json json;
};

/* --- texts ------------------------------------------------------------------------------------ */

static int add_text(struct embed *r, const char *s, size_t n, struct slv_err *err) {
    int rc = slv_cli_clean_text("text", s, n, &r->text);
    if (rc) return slv_err_set(err, rc, "text: %s", slv_strerror(rc));
    r->end[r->n++] = r->text.len;
    return 0;
}

static int next_line(struct embed *r, bool *ret_more, struct slv_err *err) {
    enum slv_lines_got got = SLV_LINES_NONE;
    char *line = NULL;
    size_t n = 0;
    int rc = slv_lines_next(&r->lines, r->n == 0, &got, &line, &n, err);
    *ret_more = got == SLV_LINES_LINE;
    if (rc) return rc;
    if (got == SLV_LINES_LONG)
        return slv_err_set(err, SLV_E_LIMIT, "standard input: line %llu: more than %zu bytes",
                           (unsigned long long)r->lines.number, LINE_MAX);
    return *ret_more ? add_text(r, line, n, err) : 0;
}

/* Texts that can be had without waiting, one at least; r->n 0: there are no more. */
static int take_texts(struct embed *r, struct slv_err *err) {
    bool more = true;
    int rc = 0;
    r->n = 0;
    slv_buf_clear(&r->text);
    while (!rc && more && r->n < AT_ONCE && r->text.len < TEXTS_MAX / 2) {
        if (r->piped) rc = next_line(r, &more, err);
        else if (!(more = r->next_arg < r->cli->nargs)) break;
        else {
            const char *arg = r->cli->args[r->next_arg++];
            rc = add_text(r, arg, strlen(arg), err);
        }
    }
    for (size_t i = 0, from = 0; i < r->n; from = r->end[i++]) {
        const char *p = r->text.data + from;
        const size_t n = r->end[i] - from;
        r->texts[i] = (struct slv_embed_text){.p = p, .n = n};
        if (r->o->query)
            r->texts[i] = (struct slv_embed_text){
                .p = r->query.data, .n = r->query.len, .second = p, .second_n = n};
    }
    return rc;
}

/* --- what comes out --------------------------------------------------------------------------- */

static void print_vector(struct embed *r, size_t i) {
    const float *v = r->vectors + i * r->dim;
    if (r->cli->json) {
        slv_json_object(&r->json, NULL);
        slv_json_uint(&r->json, "index", r->n_all + i);
        slv_json_uint(&r->json, "tokens", r->tokens[i]);
        slv_json_array(&r->json,
                       slv_embedder_pooling(r->e) == SLV_POOL_RANK ? "scores" : "embedding");
        for (uint32_t k = 0; k < r->dim; k++)
            slv_json_float(&r->json, NULL, v[k]);
        slv_json_array_end(&r->json);
        slv_json_object_end(&r->json);
        return;
    }
    for (uint32_t k = 0; k < r->dim; k++)
        slv_buf_addf(&r->out, "%s%.9g", k ? " " : "", (double)v[k]);
    slv_buf_addc(&r->out, '\n');
}

static int flush(struct embed *r, struct slv_err *err) {
    if (r->out.status) return slv_err_set(err, r->out.status, "%s", slv_strerror(r->out.status));
    slv_out_write(r->out.data, r->out.len);
    slv_buf_clear(&r->out);
    return slv_out_flush(err);
}

static void begin_json(struct embed *r) {
    slv_json_object(&r->json, NULL);
    slv_json_uint(&r->json, "dimensions", r->dim);
    slv_json_str(&r->json, "pooling", slv_cli_pooling_name(slv_embedder_pooling(r->e)));
    slv_json_array(&r->json, "embeddings");
}

static void end_json(struct embed *r) {
    slv_json_array_end(&r->json);
    slv_json_object_end(&r->json);
    slv_buf_addc(&r->out, '\n');
}

/* --- all of it -------------------------------------------------------------------------------- */

static void cancel(void *e) { slv_embedder_cancel(e); }

/* Says what to do, and of which texts it is said. */
static int too_long(const struct embed *r, struct slv_err *err) {
    const struct slv_err why = *err;
    if (!r->o->truncate)
        slv_err_set(err, why.code, "%s: --truncate cuts texts that are too long", why.msg);
    if (!r->n_all) return why.code;
    return slv_err_prefix(err, why.code, "of the texts after the first %llu",
                          (unsigned long long)r->n_all);
}

static int embed_texts(struct embed *r, struct slv_err *err) {
    int rc = slv_embed(r->e, r->texts, r->n, r->vectors, r->tokens, err);
    if (rc == SLV_E_LIMIT) return too_long(r, err);
    for (size_t i = 0; i < r->n && !rc; i++)
        print_vector(r, i);
    r->n_all += r->n;
    return rc ? rc : flush(r, err);
}

static int open_all(struct embed *r, struct slv_err *err) {
    const struct embed_opts *o = r->o;
    const struct slv_model_opts mo = {.threads = (uint32_t)o->threads};
    const struct slv_embedder_opts eo = {.pooling = (enum slv_pooling)o->pooling,
                                         .n_ctx = (uint32_t)o->ctx,
                                         .n_batch = (uint32_t)o->batch,
                                         .threads = (uint32_t)o->threads,
                                         .dimensions = (uint32_t)o->dimensions,
                                         .raw = o->no_normalize,
                                         .truncate = o->truncate,
                                         .special = o->special,
                                         .memory = o->memory};
    int rc = slv_cli_model_open(r->cli, slv_cli_arg(r->cli, 0), &mo, &o->model, &r->m, err);
    if (!rc) rc = slv_embedder_open(r->m, &eo, &r->e, err);
    if (rc) return rc;
    r->dim = slv_embedder_dimensions(r->e);
    r->vectors = slv_mem_calloc((size_t)AT_ONCE * r->dim, sizeof *r->vectors);
    if (!r->vectors) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    if (o->query) rc = slv_cli_clean_text("--query", o->query, strlen(o->query), &r->query);
    if (rc) return slv_err_set(err, rc, "--query: %s", slv_strerror(rc));
    return r->piped ? slv_lines_open("-", LINE_MAX, &r->lines, err) : 0;
}

static int run(struct embed *r, struct slv_err *err) {
    int rc = open_all(r, err);
    if (rc) return rc;
    slv_sig_watch();
    slv_sig_hook(cancel, r->e);
    if (r->cli->json) begin_json(r);
    do {
        rc = take_texts(r, err);
        if (!rc && r->n) rc = embed_texts(r, err);
    } while (!rc && r->n);
    if (!rc && r->cli->json) end_json(r);
    if (!rc) rc = flush(r, err);
    slv_sig_hook(NULL, NULL);
    return rc;
}

static int embed(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const bool piped = cli->nargs < 2 || (cli->nargs == 2 && !strcmp(cli->args[1], "-"));
    struct embed *r = slv_mem_calloc(1, sizeof *r);
    if (!r) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    r->cli = cli;
    r->o = opts;
    r->piped = piped;
    r->next_arg = 1;
    r->lines.fd = -1;
    slv_buf_init(&r->text, TEXTS_MAX);
    slv_buf_init(&r->query, TEXTS_MAX);
    slv_buf_init(&r->out, (size_t)1 << 30);
    slv_json_init(&r->json, &r->out);
    int rc = run(r, err);
    if (piped && r->lines.fd >= 0) slv_lines_close(&r->lines);
    slv_embedder_close(r->e);
    slv_model_close(r->m);
    slv_buf_fini(&r->text);
    slv_buf_fini(&r->query);
    slv_buf_fini(&r->out);
    slv_mem_free(r->vectors);
    slv_mem_free(r);
    return rc;
}

const struct slv_cmd slv_cmd_embed = {
    .name = "embed",
    .help = "make vectors of texts, or score them",
    .args = "MODEL [TEXT...]",
    .more = "One vector a text, one text an argument or, without any, a line of standard input. "
            "The same text gives the same vector to the bit, whatever the machine, the threads and "
            "the other texts.",
    .min_args = 1,
    .max_args = SLV_CMD_ARGS_ANY,
    SLV_CMD_OPTS(rows, struct embed_opts),
    .fn = embed,
};
