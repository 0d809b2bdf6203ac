/* fuzz_adapter.c: any bytes are an adapter that is refused with a line of text, or one that a
 * session can have: it answers with numbers, or says that they are none.
 *
 * The file is read from a heap block of its size, kernels are the scalar ones, so that the address
 * sanitizer sees every byte. */
#include "base/mem.h"
#include "engine/session.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define VOCAB_MAX 512u

static void require(bool ok) {
    if (!ok) abort();
}

static struct slv_model *model;
static struct slv_session *session;

static void close_all(void) {
    slv_session_close(session);
    slv_model_close(model);
}

static void set_up(void) {
    struct slv_model_opts mo = {.threads = 1, .cpu = "scalar"};
    struct slv_session_opts so = {.n_ctx = 70, .n_batch = 4, .threads = 1};
    if (session) return;
    require(!slv_model_open(MODEL_DIR "/llama2.gguf", &mo, &model, NULL));
    require(!slv_session_open(model, &so, &session, NULL));
    require(model->h.n_vocab <= VOCAB_MAX);
    atexit(close_all);
}

/* The logits after some tokens, fed so many at a time. False: they are no numbers. */
static bool answer(uint32_t piece, float *ret) {
    static const int32_t ids[6] = {260, 5, 7, 11, 13, 270};
    int rc = 0;
    require(!slv_session_rewind(session, 0));
    for (uint32_t at = 0; at < 6 && !rc; at += piece)
        rc = slv_session_feed(session, ids + at, piece, NULL);
    require(!rc || rc == SLV_E_NUMERIC);
    if (!rc) memcpy(ret, slv_session_logits(session), model->h.n_vocab * sizeof *ret);
    return !rc;
}

static void use(const struct slv_adapter *a) {
    const struct slv_adapter_use v[2] = {{a, 1.0f}, {a, -0.5f}};
    float whole[VOCAB_MAX], single[VOCAB_MAX];
    require(!slv_session_rewind(session, 0));
    require(!slv_session_set_adapters(session, v, 2, NULL));
    if (answer(6, whole) && answer(1, single))
        require(!memcmp(whole, single, model->h.n_vocab * sizeof *whole));
    require(!slv_session_rewind(session, 0));
    require(!slv_session_set_adapters(session, NULL, 0, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slv_gguf *g;
    struct slv_adapter *a = NULL;
    struct slv_err e = {0};
    set_up();
    int rc = slv_gguf_parse(data, size, &g, &e);
    if (!rc) {
        rc = slv_adapter_read(model, g, &a, &e);
        slv_gguf_close(g);
    }
    if (rc) {
        require(e.code == rc && e.msg[0] && !strchr(e.msg, '\n') && !a);
        require(rc == SLV_E_FORMAT || rc == SLV_E_UNSUPPORTED || rc == SLV_E_LIMIT ||
                rc == SLV_E_NOMEM);
        return 0;
    }
    use(a);
    slv_adapter_close(a);
    return 0;
}
