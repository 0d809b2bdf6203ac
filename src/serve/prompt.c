/* prompt.c: a request's prompt: conversation or text -> the model's own words -> tokens. */
#include "serve/prompt.h"
#include "base/mem.h"
#include "serve/tools.h"
#include "serve/turns.h"

#include <string.h>

#define PROMPT_MAX ((size_t)64 << 20)

/* --- conversations ---------------------------------------------------------------------------- */

/* A template's own switches ("enable_thinking"); not those that are the server's. */
static bool set_arguments(struct serve_turns *t, struct serve_fail *f) {
    static const char *const ours[] = {"messages", "tools", "bos_token", "eos_token"};
    const char *key;
    json_t *v;
    const json_t *args = t->c->ask.template_args;
    if (!args) return true;
    if (!json_is_object(args))
        return serve_refuse(f, 400, "chat_template_kwargs", NULL,
                            "chat_template_kwargs: an object is wanted");
    json_object_foreach((json_t *)(uintptr_t)args, key, v) {
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            if (!strcmp(key, ours[i]))
                return serve_refuse(f, 400, "chat_template_kwargs", NULL,
                                    "chat_template_kwargs: \"%s\" is the server's to set", key);
        if (slv_scope_set(t->scope, key, serve_turns_value(t, v, 0)))
            return serve_refuse(f, 413, "chat_template_kwargs", NULL,
                                "chat_template_kwargs: too deep or too large");
    }
    return true;
}

static bool render_turns(struct serve_turns *t, struct slv_buf *out, struct serve_fail *f) {
    struct slv_err err = {0};
    struct slv_model_info info;
    if (!serve_tools_set(t, f) || !serve_turns_read(t, f) || !set_arguments(t, f)) return false;
    int rc = slv_scope_set(t->scope, "messages", t->list);
    if (!rc) rc = slv_scope_set(t->scope, "add_generation_prompt", slv_value_bool(t->scope, true));
    if (rc) return serve_refuse(f, 413, "messages", NULL, "messages: too large");
    slv_model_info(t->m, &info);
    if (!*info.chat_template) {
        slv_buf_add(out, t->plain.data, t->plain.len);
        return true;
    }
    rc = slv_chat_render(t->m, t->scope, out, &err);
    return !rc || serve_refuse_err(f, rc == SLV_E_USAGE ? 400 : 0, "messages", &err);
}

bool serve_prompt_render(struct serve_call *c, struct slv_buf *out, struct serve_fail *f) {
    struct serve_turns t = {.c = c, .m = c->model->m};
    if (slv_scope_open(SLV_CHAT_SCOPE_MAX, &slv_clock_system, &t.scope))
        return serve_refuse(f, 503, NULL, NULL, "out of memory");
    slv_buf_init(&t.plain, PROMPT_MAX);
    slv_buf_init(&t.note, PROMPT_MAX);
    bool ok = render_turns(&t, out, f);
    slv_buf_fini(&t.plain);
    slv_buf_fini(&t.note);
    slv_scope_close(t.scope);
    return ok;
}

/* --- texts and tokens ------------------------------------------------------------------------- */

bool serve_prompt_ids(const struct serve_call *c, const json_t *list, const char *name,
                      struct slv_tokens *ret, struct serve_fail *f) {
    size_t n = json_array_size(list), i;
    json_t *v;
    ret->v = slv_mem_alloc(n * sizeof *ret->v + 1);
    if (!ret->v) return serve_refuse(f, 503, NULL, NULL, "out of memory");
    json_array_foreach(list, i, v) {
        json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id >= (json_int_t)c->model->info.n_vocab)
            return serve_refuse(f, 400, name, NULL, "%s: item %zu is no token of this model", name,
                                i);
        ret->v[ret->n++] = (int32_t)id;
    }
    return true;
}

static bool tokenize(struct serve_call *c, const char *p, size_t n, struct serve_fail *f) {
    struct slv_err err = {0};
    int rc = slv_model_tokenize(c->model->m, p, n, true, &c->prompt);
    if (!rc) return true;
    slv_err_set(&err, rc, "the prompt: %s", slv_strerror(rc));
    return serve_refuse_err(f, 0, NULL, &err);
}

/* A string, a list of one, or token ids. */
static bool completion_prompt(struct serve_call *c, struct serve_fail *f) {
    const json_t *v = c->ask.prompt;
    if (json_is_array(v) && json_array_size(v) == 1 && !json_is_integer(json_array_get(v, 0)))
        v = json_array_get(v, 0);
    if (json_is_array(v) && json_is_integer(json_array_get(v, 0))) {
        struct slv_text t = {0};
        if (!serve_prompt_ids(c, v, "prompt", &c->prompt, f)) return false;
        if (!slv_model_detokenize(c->model->m, c->prompt.v, c->prompt.n, true, &t))
            slv_buf_add(&c->prompt_text, t.p, t.n);
        slv_text_free(&t);
        return true;
    }
    if (!json_is_string(v))
        return serve_refuse(f, 400, "prompt", NULL,
                            "prompt: one text, or one list of token ids, is wanted");
    slv_buf_add(&c->prompt_text, json_string_value(v), json_string_length(v));
    return tokenize(c, c->prompt_text.data, c->prompt_text.len, f);
}

/* --- how much of it there may be -------------------------------------------------------------- */

static bool check_length(struct serve_call *c, struct serve_fail *f) {
    uint64_t most = c->model->ctx;
    if (c->key && c->key->context && c->key->context < most) most = c->key->context;
    c->n_prompt = c->prompt.n;
    if (!c->prompt.n) return serve_refuse(f, 400, NULL, NULL, "the prompt is empty");
    if (c->prompt.n >= most)
        return serve_refuse(f, 413, c->api == API_COMPLETIONS ? "prompt" : "messages",
                            "context_length_exceeded",
                            "the prompt has %zu tokens, and there is room for %llu with the answer",
                            c->prompt.n, (unsigned long long)most);
    const uint64_t left = most - c->prompt.n;
    if (!c->ask.max_tokens || c->ask.max_tokens > left) c->ask.max_tokens = (uint32_t)left;
    for (size_t i = 0; i < c->ask.sampling.n_bias; i++)
        if ((uint32_t)c->ask.bias[i].id >= c->model->info.n_vocab)
            return serve_refuse(f, 400, "logit_bias", NULL,
                                "logit_bias: token %d is not in the vocabulary",
                                (int)c->ask.bias[i].id);
    return true;
}

bool serve_prompt_make(struct serve_call *c, struct serve_fail *f) {
    bool ok;
    if (c->model->info.encoder)
        return serve_refuse(f, 400, "model", "wrong_model",
                            "%s makes vectors of texts, and no text", c->model->name);
    if (c->api == API_COMPLETIONS) {
        ok = completion_prompt(c, f);
    } else {
        ok = serve_prompt_render(c, &c->prompt_text, f);
        if (ok && c->prompt_text.status)
            ok = serve_refuse(f, 413, NULL, NULL, "the prompt is too long");
        if (ok) ok = tokenize(c, c->prompt_text.data, c->prompt_text.len, f);
    }
    return ok && check_length(c, f) && serve_auth_tokens(c, c->prompt.n, true, f);
}
