/* fuzz_engine.c: any bytes are a model that is refused with a line of text, or one that can be
 * inspected, planned, talked to and asked for tokens: through all of the engine, within bounds.
 *
 * The file is read from a heap block of its size, kernels are the scalar ones, so that the address
 * sanitizer sees every byte. */
#include "base/mem.h"
#include "base/utf8.h"
#include "engine/model.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY_MAX ((uint64_t)32 << 20)
#define VOCAB_MAX 4096u

static void require(bool ok) {
    if (!ok) abort();
}

/* Every failure says why, in one line. */
static int told(int rc, const struct slv_err *e) {
    if (!rc) return 0;
    require(e->code == rc && e->msg[0] && !strchr(e->msg, '\n'));
    require(rc != SLV_E_INTERNAL && rc != SLV_E_IO);
    return rc;
}

static struct slv_model *open_model(const uint8_t *data, size_t size, bool inspect) {
    struct slv_model_opts o = {.threads = 1, .inspect = inspect, .cpu = "scalar"};
    struct slv_gguf *g;
    struct slv_model *m;
    struct slv_err e = {0};
    if (told(slv_gguf_parse(data, size, &g, &e), &e)) return NULL;
    return told(slv_model_adopt(g, &o, &m, &e), &e) ? NULL : m;
}

/* Text there and back, by itself and as a conversation. */
static void talk(const struct slv_model *m) {
    static const char hi[] = "Hello, world! \xc3\xa9\xe4\xbd\xa0  12345\n</s><|im_end|>aaaaaaaa";
    const struct slv_message chat[] = {{"system", "Be brief."}, {"user", hi}, {"assistant", "a"}};
    struct slv_err e = {0};
    for (int special = 0; special < 2; special++) {
        struct slv_tokens ids = {0};
        struct slv_text text = {0};
        int rc = slv_model_tokenize(m, hi, sizeof hi - 1, special, &ids);
        require(!rc || rc == SLV_E_LIMIT); /* the file's normalizer bloats the text */
        for (size_t i = 0; i < ids.n; i++)
            require(ids.v[i] >= 0 && (uint32_t)ids.v[i] < m->h.n_vocab);
        require(!slv_model_detokenize(m, ids.v, ids.n, special, &text));
        require(slv_utf8_valid(text.p, text.n, NULL));
        slv_text_free(&text);
        slv_tokens_free(&ids);
    }
    struct slv_text text = {0};
    if (told(slv_model_chat(m, chat, 3, &text, &e), &e)) return;
    require(slv_utf8_valid(text.p, text.n, NULL));
    slv_text_free(&text);
}

static void run(struct slv_model *m, const struct slv_session_opts *o) {
    struct slv_generate_opts g;
    struct slv_session *s;
    struct slv_err e = {0};
    enum slv_finish why;
    int32_t ids[6];
    if (told(slv_session_open(m, o, &s, &e), &e)) return;
    for (size_t i = 0; i < 6; i++)
        ids[i] = (int32_t)((uint64_t)i * 2654435761u % m->h.n_vocab);
    size_t n = o->n_ctx && o->n_ctx < 6 ? o->n_ctx : 6;
    if (n > slv_session_context(s)) n = slv_session_context(s);
    if (!told(slv_session_feed(s, ids, n, &e), &e)) {
        const float *l = slv_session_logits(s);
        for (size_t i = 0; i < m->h.n_vocab; i++)
            require(l[i] - l[i] == 0.0f);
        slv_generate_default(&g);
        g.max_tokens = 4;
        told(slv_session_generate(s, &g, NULL, NULL, &why, &e), &e);
    }
    slv_session_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slv_session_opts o = {.threads = 1, .n_batch = 4, .n_ctx = 70, .n_draft = 3};
    struct slv_memory mem;
    struct slv_model *m = open_model(data, size, true);
    if (!m) return 0;
    o.kv = (enum slv_kv_kind)(size % 3);
    if (o.n_ctx > m->h.n_ctx) o.n_ctx = m->h.n_ctx;
    bool fits = !slv_model_memory(m, &o, &mem, NULL) && mem.total <= MEMORY_MAX;
    fits = fits && m->h.n_vocab <= VOCAB_MAX;
    talk(m);
    slv_model_close(m);
    if (!fits) return 0;
    /* Packing gives the file's pages back to the system, which a heap block must not suffer while
     * others look at it. */
    uint8_t *own = slv_mem_alloc(size);
    require(own != NULL);
    memcpy(own, data, size);
    m = open_model(own, size, false);
    require(m != NULL);
    run(m, &o);
    slv_model_close(m);
    slv_mem_free(own);
    return 0;
}
