/* tokens.c: /tokenize and /detokenize: what a model's tokenizer makes of a text or a conversation,
 * and back; and how many tokens that is, as Anthropic's clients ask. */
#include "engine/model.h"
#include "serve/prompt.h"

#include <string.h>

#define TEXT_MAX ((size_t)64 << 20)

static void write_tokens(const struct serve_call *c, const int32_t *ids, size_t n,
                         struct slv_json *j) {
    slv_json_object(j, NULL);
    if (c->api == API_COUNT_TOKENS) {
        slv_json_uint(j, "input_tokens", n);
        slv_json_object_end(j);
        return;
    }
    slv_json_array(j, "tokens");
    for (size_t i = 0; i < n; i++) {
        struct slv_text t = {0};
        if (!c->ask.with_pieces) {
            slv_json_int(j, NULL, ids[i]);
            continue;
        }
        slv_json_object(j, NULL);
        slv_json_int(j, "id", ids[i]);
        if (!slv_model_token_text(c->model->m, ids[i], &t)) slv_json_strn(j, "piece", t.p, t.n);
        slv_json_object_end(j);
        slv_text_free(&t);
    }
    slv_json_array_end(j);
    slv_json_uint(j, "count", n);
    slv_json_object_end(j);
}

static bool tokenize(struct serve_call *c, struct serve_fail *f) {
    const struct serve_ask *a = &c->ask;
    struct slv_ids ids = {0};
    struct slv_json j;
    unsigned flags = a->content ? 0 : SLV_TOKENIZE_SPECIAL | SLV_TOKENIZE_ADD | SLV_TOKENIZE_GUARDS;
    if (a->add_special) flags |= SLV_TOKENIZE_ADD;
    if (a->parse_special) flags |= SLV_TOKENIZE_SPECIAL;
    if (a->content) slv_buf_adds(&c->prompt_text, a->content);
    else if (!serve_prompt_render(c, &c->prompt_text, f)) return false;
    int rc =
        slv_tokenize(c->model->m->tokenizer, c->prompt_text.data, c->prompt_text.len, flags, &ids);
    slv_json_init(&j, &c->out);
    if (!rc) write_tokens(c, ids.v, ids.n, &j);
    c->n_prompt = ids.n;
    slv_ids_fini(&ids);
    return !rc || serve_refuse(f, rc == SLV_E_LIMIT ? 413 : 503, NULL, NULL, "the text: %s",
                               slv_strerror(rc));
}

static bool detokenize(struct serve_call *c, struct serve_fail *f) {
    struct slv_tokens ids = {0};
    struct slv_text t = {0};
    struct slv_json j;
    if (!json_is_array(c->ask.tokens))
        return serve_refuse(f, 400, "tokens", NULL, "tokens: a list of token ids is wanted");
    bool ok = serve_prompt_ids(c, c->ask.tokens, "tokens", &ids, f);
    int rc = ok ? slv_model_detokenize(c->model->m, ids.v, ids.n, true, &t) : 0;
    if (ok && !rc) {
        slv_json_init(&j, &c->out);
        slv_json_object(&j, NULL);
        slv_json_strn(&j, "content", t.p, t.n);
        slv_json_object_end(&j);
        slv_buf_add(&c->prompt_text, t.p, t.n);
        c->n_prompt = ids.n;
    }
    slv_text_free(&t);
    slv_tokens_free(&ids);
    return ok && (!rc || serve_refuse(f, 503, NULL, NULL, "the text: %s", slv_strerror(rc)));
}

bool serve_tokens_make(struct serve_call *c, struct serve_fail *f) {
    bool ok = c->api == API_DETOKENIZE ? detokenize(c, f) : tokenize(c, f);
    if (ok && c->out.status) ok = serve_refuse(f, 413, NULL, NULL, "the reply is too long");
    return ok;
}
