/* cmd_show.c: what a model file is, and what it would take to run it. */
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/engine.h"
#include "cli/out.h"
#include "cli/tuned.h"

#include <stdio.h>
#include <string.h>

struct show_opts {
    bool tensors, template_text;
    struct slv_cli_session_opts session;
    struct slv_cli_model_opts model;
};

static const struct slv_opt rows[] = {
    {"tensors", 0, SLV_OPT_FLAG_AT(struct show_opts, tensors), .help = "list every tensor"},
    {"template", 0, SLV_OPT_FLAG_AT(struct show_opts, template_text),
     .help = "print the chat template and nothing else"},
    SLV_CLI_SESSION_ROWS(struct show_opts, session),
    SLV_CLI_TRUST_ROWS(struct show_opts, model),
};

struct type_sum {
    const char *type;
    uint64_t count, bytes;
};

struct sums {
    struct type_sum v[64];
    size_t n;
};

static void sum_types(const struct slv_model *m, struct sums *s) {
    struct slv_tensor_info t;
    for (size_t i = 0; slv_model_tensor(m, i, &t); i++) {
        size_t k = 0;
        while (k < s->n && strcmp(s->v[k].type, t.type) != 0)
            k++;
        if (k == s->n) {
            if (s->n == 64) continue;
            s->v[s->n++] = (struct type_sum){.type = t.type};
        }
        s->v[k].count++;
        s->v[k].bytes += t.bytes;
    }
}

static void tensors_json(const struct slv_model *m, struct slv_json *j) {
    struct slv_tensor_info t;
    slv_json_array(j, "tensors");
    for (size_t i = 0; slv_model_tensor(m, i, &t); i++) {
        slv_json_object(j, NULL);
        slv_json_strn(j, "name", t.name, t.name_n);
        slv_json_str(j, "type", t.type);
        slv_json_array(j, "shape");
        for (uint32_t d = 0; d < t.n_dims; d++)
            slv_json_uint(j, NULL, t.shape[d]);
        slv_json_array_end(j);
        slv_json_uint(j, "bytes", t.bytes);
        slv_json_object_end(j);
    }
    slv_json_array_end(j);
}

static int show_json(const struct slv_model *m, const struct show_opts *o,
                     const struct slv_memory *mem, uint32_t ctx, struct slv_err *err) {
    struct slv_model_info i;
    struct sums s = {.n = 0};
    struct slv_buf out;
    struct slv_json j;
    slv_model_info(m, &i);
    sum_types(m, &s);
    slv_buf_init(&out, (size_t)64 << 20);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "arch", i.arch);
    slv_json_str(&j, "name", i.name);
    slv_json_uint(&j, "params", i.params);
    slv_json_uint(&j, "bytes", i.file_bytes);
    slv_json_object(&j, "types");
    for (size_t k = 0; k < s.n; k++) {
        slv_json_object(&j, s.v[k].type);
        slv_json_uint(&j, "tensors", s.v[k].count);
        slv_json_uint(&j, "bytes", s.v[k].bytes);
        slv_json_object_end(&j);
    }
    slv_json_object_end(&j);
    slv_json_uint(&j, "context", i.n_ctx);
    slv_json_uint(&j, "vocab", i.n_vocab);
    slv_json_str(&j, "tokenizer", i.tokenizer);
    slv_json_uint(&j, "layers", i.n_layer);
    slv_json_uint(&j, "embedding", i.n_embd);
    slv_json_uint(&j, "heads", i.n_head);
    slv_json_uint(&j, "kv_heads", i.n_head_kv);
    slv_json_uint(&j, "window", i.window);
    if (i.pooling) slv_json_str(&j, "pooling", slv_cli_pooling_name(i.pooling));
    slv_json_bool(&j, "template", *i.chat_template != '\0');
    slv_json_str(&j, "license", i.license);
    slv_json_object(&j, "plan");
    slv_json_uint(&j, "context", ctx);
    slv_json_uint(&j, "weights", mem->weights);
    slv_json_uint(&j, "kv", mem->kv);
    slv_json_uint(&j, "arena", mem->arena);
    slv_json_uint(&j, "total", mem->total);
    slv_json_object_end(&j);
    if (o->tensors) tensors_json(m, &j);
    slv_json_object_end(&j);
    int rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

static void show_tensors(const struct slv_model *m) {
    struct slv_tensor_info t;
    for (size_t i = 0; slv_model_tensor(m, i, &t); i++) {
        char shape[100] = "", size[SLV_OUT_SIZE_MAX];
        for (uint32_t d = 0; d < t.n_dims; d++)
            snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%s%llu", d ? " x " : "",
                     (unsigned long long)t.shape[d]);
        slv_out_puts("  ");
        slv_out_name(t.name, t.name_n);
        slv_out_printf("%*s %-8s %-20s %s\n", t.name_n < 40 ? 40 - (int)t.name_n : 0, "", t.type,
                       shape, slv_out_size(t.bytes, size));
    }
}

static void show_name(const char *label, const char *name) {
    slv_out_puts(label);
    slv_out_name(name, strlen(name));
    slv_out_puts("\n");
}

static void show_text(const struct slv_model *m, const struct show_opts *o,
                      const struct slv_memory *mem, uint32_t ctx) {
    struct slv_model_info i;
    struct sums s = {.n = 0};
    char a[SLV_OUT_SIZE_MAX], b[SLV_OUT_SIZE_MAX], c[SLV_OUT_SIZE_MAX], d[SLV_OUT_SIZE_MAX];
    slv_model_info(m, &i);
    sum_types(m, &s);
    show_name("name          ", *i.name ? i.name : "(none)");
    slv_out_printf("architecture  %s, %u layers, %u wide, %u heads (%u for keys and values)\n",
                   i.arch, i.n_layer, i.n_embd, i.n_head, i.n_head_kv);
    slv_out_printf("parameters    %.1f M in %s\n", (double)i.params * 1e-6,
                   slv_out_size(i.file_bytes, a));
    for (size_t k = 0; k < s.n; k++)
        slv_out_printf("  %-10s  %llu tensors, %s\n", s.v[k].type, (unsigned long long)s.v[k].count,
                       slv_out_size(s.v[k].bytes, a));
    slv_out_printf("context       %u positions\n", i.n_ctx);
    if (i.window) slv_out_printf("window        %u positions in windowed layers\n", i.window);
    slv_out_printf("tokenizer     %s, %u tokens, BOS %d, EOS %d\n", i.tokenizer, i.n_vocab, i.bos,
                   i.eos);
    if (i.pooling)
        slv_out_printf("pooling       %s: see selvage embed\n", slv_cli_pooling_name(i.pooling));
    slv_out_printf("chat template %s\n", *i.chat_template ? "yes (--template prints it)" : "none");
    show_name("licence       ", *i.license ? i.license : "(not said)");
    slv_out_printf("memory        %s for a context of %u: weights %s, KV %s, arena %s\n",
                   slv_out_size(mem->total, a), ctx, slv_out_size(mem->weights, b),
                   slv_out_size(mem->kv, c), slv_out_size(mem->arena, d));
    if (o->tensors) show_tensors(m);
}

static int show_template(const struct slv_cli *cli, const char *text, struct slv_err *err) {
    struct slv_buf out;
    struct slv_json j;
    slv_buf_init(&out, (size_t)64 << 20);
    slv_json_init(&j, &out);
    if (cli->json) {
        slv_json_object(&j, NULL);
        slv_json_str(&j, "template", text);
        slv_json_object_end(&j);
    } else {
        slv_buf_adds(&out, text);
    }
    int rc = slv_out_line(&out, err);
    slv_buf_fini(&out);
    return rc;
}

static int show(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct show_opts *o = opts;
    struct slv_model_opts mo = {.inspect = true};
    struct slv_session_opts so = slv_cli_session(&o->session);
    struct slv_model *m = NULL;
    struct slv_memory mem = {0};
    struct slv_model_info i = {0};
    struct slv_session *none = NULL; /* what does not fit says how much would */
    int rc = slv_cli_model_open(cli, slv_cli_arg(cli, 0), &mo, &o->model, &m, err);
    if (!rc) {
        slv_model_info(m, &i);
        if (!o->session.no_tuned) slv_tuned_apply(m, &so);
        rc = slv_model_memory(m, &so, &mem, err);
    }
    uint32_t ctx = so.n_ctx ? so.n_ctx : i.n_ctx < 4096 ? i.n_ctx : 4096;
    if (!rc && o->template_text) rc = show_template(cli, i.chat_template, err);
    else if (!rc && cli->json) rc = show_json(m, o, &mem, ctx, err);
    else if (!rc) show_text(m, o, &mem, ctx);
    if (!rc && so.memory && mem.total > so.memory) rc = slv_session_open(m, &so, &none, err);
    slv_model_close(m);
    return rc;
}

const struct slv_cmd slv_cmd_show = {
    .name = "show",
    .help = "what a model is, and the memory it would take",
    .args = "[MODEL]",
    .max_args = 1,
    SLV_CMD_OPTS(rows, struct show_opts),
    .fn = show,
};
