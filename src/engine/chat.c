/* chat.c: see chat.h. */
#include "engine/chat.h"
#include "base/err.h"
#include "base/utf8.h"
#include "engine/model.h"

#include <string.h>

/* --- conversations ---------------------------------------------------------------------------- */

#define CHAT_TEXT_MAX ((size_t)64 << 20)

struct slv_value *slv_chat_text(const struct slv_model *m, struct slv_scope *s, const char *text,
                                size_t n) {
    struct slv_buf clean, b;
    slv_buf_init(&clean, CHAT_TEXT_MAX);
    slv_buf_init(&b, CHAT_TEXT_MAX);
    struct slv_value *v = NULL;
    if (n <= CHAT_TEXT_MAX / 3 && !slv_buf_reserve(&clean, 3 * n)) {
        n = slv_utf8_repair(text, n, clean.data, NULL);
        if (!slv_token_guard(m->tokenizer, clean.data, n, &b)) v = slv_value_str(s, b.data, b.len);
    }
    slv_buf_fini(&clean);
    slv_buf_fini(&b);
    return v;
}

static void set_token(const struct slv_model *m, struct slv_scope *s, const char *name, int32_t id,
                      int *rc) {
    struct slv_str piece = slv_tokenizer_piece(m->tokenizer, id);
    if (!*rc) *rc = slv_scope_set(s, name, slv_value_str(s, piece.p, piece.n));
}

/* A template that writes BOS and a tokenizer that adds it would make two. */
static void drop_bos(const struct slv_model *m, struct slv_buf *b) {
    if (!slv_tokenizer_adds_bos(m->tokenizer)) return;
    struct slv_str bos = slv_tokenizer_piece(m->tokenizer, slv_tokenizer_bos(m->tokenizer));
    if (!bos.n || b->len < bos.n || memcmp(b->data, bos.p, bos.n) != 0) return;
    memmove(b->data, b->data + bos.n, b->len - bos.n + 1);
    b->len -= bos.n;
}

int slv_chat_check(const struct slv_model *m, struct slv_err *err) {
    if (!m->chat_err.code) return 0;
    if (err) *err = m->chat_err;
    return slv_err_prefix(err, m->chat_err.code, "chat template");
}

int slv_chat_render(const struct slv_model *m, struct slv_scope *s, struct slv_buf *out,
                    struct slv_err *err) {
    int rc = slv_chat_check(m, err);
    if (rc) return rc;
    if (!m->chat) return slv_err_set(err, SLV_E_UNSUPPORTED, "chat template: the model has none");
    set_token(m, s, "bos_token", slv_tokenizer_bos(m->tokenizer), &rc);
    set_token(m, s, "eos_token", slv_tokenizer_eos(m->tokenizer), &rc);
    if (rc) return slv_err_set(err, rc, "chat template: out of memory");
    rc = slv_template_render(m->chat, s, out, err);
    if (rc) return slv_err_prefix(err, rc, "chat template");
    drop_bos(m, out);
    return 0;
}

static int fill_scope(const struct slv_model *m, struct slv_scope *s,
                      const struct slv_message *messages, size_t n) {
    struct slv_value *list = slv_value_list(s);
    for (size_t i = 0; i < n; i++) {
        const char *role = messages[i].role, *content = messages[i].content;
        struct slv_value *d = slv_value_dict(s);
        d = slv_value_put(s, d, "role", slv_value_str(s, role, strlen(role)));
        d = slv_value_put(s, d, "content", slv_chat_text(m, s, content, strlen(content)));
        list = slv_value_push(s, list, d);
    }
    int rc = slv_scope_set(s, "messages", list);
    return rc ? rc : slv_scope_set(s, "add_generation_prompt", slv_value_bool(s, true));
}

static int render(const struct slv_model *m, const struct slv_message *messages, size_t n,
                  struct slv_buf *out, struct slv_err *err) {
    struct slv_scope *s;
    int rc = slv_scope_open(SLV_CHAT_SCOPE_MAX, &slv_clock_system, &s);
    if (rc) return slv_err_set(err, rc, "chat template: out of memory");
    rc = fill_scope(m, s, messages, n);
    if (rc) slv_err_set(err, rc, "chat template: out of memory");
    else rc = slv_chat_render(m, s, out, err);
    slv_scope_close(s);
    return rc;
}

int slv_model_chat(const struct slv_model *m, const struct slv_message *messages, size_t n,
                   struct slv_text *ret, struct slv_err *err) {
    struct slv_buf b;
    struct slv_text t = {0};
    int rc = slv_chat_check(m, err);
    if (rc) return rc;
    slv_buf_init(&b, CHAT_TEXT_MAX);
    if (m->chat) rc = render(m, messages, n, &b, err);
    for (size_t i = 0; i < n && !m->chat; i++)
        slv_buf_adds(&b, messages[i].content);
    if (!m->chat) drop_bos(m, &b);
    if (!rc) t.p = slv_buf_take(&b, &t.n);
    if (!rc && !t.p) rc = slv_err_set(err, b.status ? b.status : SLV_E_NOMEM, "chat: too long");
    slv_buf_fini(&b);
    if (!rc) *ret = t;
    return rc;
}
