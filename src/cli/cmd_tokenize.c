/* cmd_tokenize.c: text to token ids, and back. */
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/engine.h"
#include "cli/out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct tok_opts {
    bool special;
    struct slv_cli_model_opts model;
};

static const struct slv_opt tokenize_rows[] = {
    {"special", 0, SLV_OPT_FLAG_AT(struct tok_opts, special),
     .help = "control tokens written in the text become those tokens, and BOS and EOS are added as "
             "the model asks"},
    SLV_CLI_TRUST_ROWS(struct tok_opts, model),
};

static const struct slv_opt detokenize_rows[] = {
    {"special", 0, SLV_OPT_FLAG_AT(struct tok_opts, special), .help = "write control tokens out"},
    SLV_CLI_TRUST_ROWS(struct tok_opts, model),
};

static int open_vocabulary(const struct slv_cli *cli, const struct tok_opts *how,
                           struct slv_model **ret, struct slv_err *err) {
    struct slv_model_opts o = {.inspect = true};
    return slv_cli_model_open(cli, slv_cli_arg(cli, 0), &o, &how->model, ret, err);
}

static int print_tokens(const struct slv_cli *cli, struct slv_model *m, const struct slv_tokens *t,
                        struct slv_err *err) {
    struct slv_buf out;
    struct slv_json j;
    int rc = 0;
    slv_buf_init(&out, (size_t)1 << 30);
    slv_json_init(&j, &out);
    if (cli->json) {
        slv_json_object(&j, NULL);
        slv_json_array(&j, "tokens");
    }
    for (size_t i = 0; i < t->n && !rc; i++) {
        struct slv_text text = {0};
        if (!cli->json) {
            slv_buf_addf(&out, "%s%d", i ? " " : "", t->v[i]);
            continue;
        }
        rc = slv_model_token_text(m, t->v[i], &text);
        if (rc) break;
        slv_json_object(&j, NULL);
        slv_json_int(&j, "id", t->v[i]);
        slv_json_strn(&j, "text", text.p, text.n);
        slv_json_object_end(&j);
        slv_text_free(&text);
    }
    if (cli->json) {
        slv_json_array_end(&j);
        slv_json_object_end(&j);
    }
    rc = rc ? slv_err_set(err, rc, "%s", slv_strerror(rc)) : slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

static int tokenize(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct tok_opts *o = opts;
    struct slv_model *m = NULL;
    struct slv_buf text;
    struct slv_tokens t = {0};
    slv_buf_init(&text, SLV_CLI_TEXT_MAX);
    int rc = open_vocabulary(cli, o, &m, err);
    if (!rc) rc = slv_cli_text(slv_cli_arg(cli, 1), &text, err);
    if (!rc) {
        rc = slv_model_tokenize(m, text.data, text.len, o->special, &t);
        if (rc) slv_err_set(err, rc, "%s", slv_strerror(rc));
    }
    if (!rc) rc = print_tokens(cli, m, &t, err);
    slv_tokens_free(&t);
    slv_buf_fini(&text);
    slv_model_close(m);
    return rc;
}

/* Ids from the arguments, or from standard input, parted by spaces, commas or lines. */
static int read_ids(const char *s, struct slv_tokens *t, size_t *cap, struct slv_err *err) {
    while (*(s += strspn(s, " ,\t\r\n[]"))) {
        char *end;
        errno = 0;
        long v = strtol(s, &end, 10);
        if (end == s || errno || v < INT32_MIN || v > INT32_MAX)
            return slv_err_set(err, SLV_E_USAGE, "'%.20s' is not a token id", s);
        int rc = slv_mem_grow((void **)&t->v, t->n, cap, sizeof *t->v, SIZE_MAX / 8);
        if (rc) return slv_err_set(err, rc, "too many ids");
        t->v[t->n++] = (int32_t)v;
        s = end;
    }
    return 0;
}

static int name_bad_id(const struct slv_model *m, const struct slv_tokens *t, struct slv_err *err) {
    struct slv_model_info info;
    size_t i = 0;
    slv_model_info(m, &info);
    while (i + 1 < t->n && t->v[i] >= 0 && (uint32_t)t->v[i] < info.n_vocab)
        i++;
    return slv_err_set(err, SLV_E_USAGE, "%d: not in the vocabulary of %u", t->v[i], info.n_vocab);
}

static int detokenize(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct tok_opts *o = opts;
    struct slv_model *m = NULL;
    struct slv_tokens t = {0};
    struct slv_text text = {0};
    struct slv_buf in;
    size_t cap = 0;
    slv_buf_init(&in, SLV_CLI_TEXT_MAX);
    int rc = open_vocabulary(cli, o, &m, err);
    if (!rc && cli->nargs < 2) rc = slv_cli_text(NULL, &in, err);
    if (!rc && cli->nargs < 2) rc = read_ids(in.data, &t, &cap, err);
    for (size_t i = 1; i < cli->nargs && !rc; i++)
        rc = read_ids(cli->args[i], &t, &cap, err);
    if (!rc) {
        rc = slv_model_detokenize(m, t.v, t.n, o->special, &text);
        if (rc == SLV_E_USAGE) rc = name_bad_id(m, &t, err);
        else if (rc) slv_err_set(err, rc, "%s", slv_strerror(rc));
    }
    if (!rc && cli->json) {
        struct slv_buf out;
        struct slv_json j;
        slv_buf_init(&out, (size_t)1 << 30);
        slv_json_init(&j, &out);
        slv_json_object(&j, NULL);
        slv_json_strn(&j, "text", text.p, text.n);
        slv_json_object_end(&j);
        rc = slv_out_line(&out, err);
        slv_buf_fini(&out);
    } else if (!rc) {
        slv_out_write(text.p, text.n);
        slv_out_puts("\n");
    }
    slv_text_free(&text);
    slv_tokens_free(&t);
    slv_buf_fini(&in);
    slv_model_close(m);
    return rc;
}

const struct slv_cmd slv_cmd_tokenize = {
    .name = "tokenize",
    .help = "show the token ids of a text",
    .args = "[MODEL [TEXT]]",
    .more = "Without TEXT, or with '-', the text is read from standard input.",
    .max_args = 2,
    SLV_CMD_OPTS(tokenize_rows, struct tok_opts),
    .fn = tokenize,
};

const struct slv_cmd slv_cmd_detokenize = {
    .name = "detokenize",
    .help = "show the text of token ids",
    .args = "[MODEL [ID...]]",
    .more = "Without ids they are read from standard input, parted by spaces, commas or lines.",
    .max_args = SLV_CMD_ARGS_ANY,
    SLV_CMD_OPTS(detokenize_rows, struct tok_opts),
    .fn = detokenize,
};
