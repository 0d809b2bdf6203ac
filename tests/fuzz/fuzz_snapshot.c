/* fuzz_snapshot.c: a saved session to which any bytes have been done is refused with a line of text
 * and changes nothing, or is the one that was written. So that more than the checksums is met, they
 * are made right again in most cases.
 *
 * The input is a list of changes of 8 bytes: where (3 bytes, counted within the header's fields,
 * the tokens, or the whole file), how (1), and with what (4). */
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/sum.h"
#include "engine/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEADER 4096u
#define CHANGES_MAX 16
#define N_IDS 70

static void require(bool ok) {
    if (!ok) abort();
}

static struct slv_model *model;
static struct slv_session *session;
static char path[64];
static struct slv_buf whole;
static int32_t ids[N_IDS];

static void remove_file(void) {
    slv_session_close(session);
    slv_model_close(model);
    slv_buf_fini(&whole);
    unlink(path);
}

static struct slv_session *open_session(void) {
    struct slv_session_opts o = {.n_ctx = 100, .threads = 1};
    struct slv_session *s = NULL;
    require(!slv_session_open(model, &o, &s, NULL));
    return s;
}

/* Writes the file that is to be spoilt, once, and keeps a copy. */
static void set_up(void) {
    struct slv_model_opts o = {.threads = 1, .cpu = "scalar"};
    if (session) return;
    require(!slv_model_open(HOSTILE_DIR "/ok-llama.gguf", &o, &model, NULL));
    session = open_session();
    for (int32_t i = 0; i < N_IDS; i++)
        ids[i] = i % (int32_t)model->h.n_vocab;
    snprintf(path, sizeof path, "/tmp/selvage-fuzz-%ld.state", (long)getpid());
    atexit(remove_file);
    require(!slv_session_feed(session, ids, N_IDS, NULL));
    require(!slv_session_save(session, path, NULL));
    slv_buf_init(&whole, (size_t)1 << 28);
    require(!slv_file_read(path, &whole, NULL));
}

/* Applies one change; the length of the file after it. */
static size_t change(unsigned char *file, const uint8_t *c, size_t n) {
    size_t at = (size_t)c[0] | (size_t)c[1] << 8 | (size_t)c[2] << 16;
    if (c[3] & 4) at = 8 * (at % 16);
    else if (c[3] & 8) at = HEADER + at % 400;
    at %= whole.len;
    if (c[3] % 4 == 3) return at;
    size_t k = c[3] % 4 == 2 ? 1 : 4;
    if (at + k <= n) memcpy(file + at, c + 4, k);
    return n;
}

/* Checksums of the header and of what lies behind it, as whoever writes such a file would set. */
static void seal(unsigned char *file, size_t n, bool meta) {
    uint64_t n_tok, pages_at, sum;
    if (n < HEADER) return;
    memcpy(&n_tok, file + 88, sizeof n_tok);
    memcpy(&pages_at, file + 112, sizeof pages_at);
    if (meta && pages_at > HEADER && pages_at <= n) {
        sum = slv_sum64(file + HEADER, (size_t)pages_at - HEADER, n_tok);
        memcpy(file + 104, &sum, sizeof sum);
    }
    sum = slv_sum64(file, HEADER - sizeof sum, 2);
    memcpy(file + HEADER - sizeof sum, &sum, sizeof sum);
}

static void write_file(const unsigned char *file, size_t n) {
    FILE *f = fopen(path, "wb");
    require(f && fwrite(file, 1, n, f) == n && !fclose(f));
}

/* What the session then holds can be gone on with. */
static void check(int rc, const struct slv_err *e, const struct slv_session *s) {
    if (rc) {
        require(rc == SLV_E_FORMAT && e->code == rc && e->msg[0] && !strchr(e->msg, '\n'));
        require(slv_session_position(s) == 3 && slv_session_logits(s));
        require(!memcmp(s->history, ids + 5, 3 * sizeof *ids));
        return;
    }
    uint32_t n = slv_session_position(s);
    require(n > 0 && n <= slv_session_context(s));
    for (uint32_t i = 0; i < n; i++)
        require(s->history[i] >= 0 && (uint32_t)s->history[i] < model->h.n_vocab);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    set_up();
    struct slv_err e = {0};
    size_t n = whole.len, changes = size / 8 < CHANGES_MAX ? size / 8 : CHANGES_MAX;
    unsigned char *file = slv_mem_alloc(n);
    require(file != NULL);
    memcpy(file, whole.data, n);
    for (size_t i = 0; i < changes; i++)
        n = change(file, data + 8 * i, n);
    bool same = n == whole.len && !memcmp(file, whole.data, n);
    if (size % 4) seal(file, n, size % 4 > 1);
    write_file(file, n);
    slv_mem_free(file);
    struct slv_session *s = open_session();
    require(!slv_session_feed(s, ids + 5, 3, NULL));
    int rc = slv_session_load(s, path, &e);
    require(!same || !rc);
    check(rc, &e, s);
    if (!rc && same) require(!memcmp(s->history, ids, sizeof ids));
    slv_session_close(s);
    return 0;
}
