/* fuzz_ask.c: any bytes as the JSON of a request to one of the server's interfaces (the first byte
 * says which): refused with a status and one printable line that fits in a reply, or understood,
 * and then each number is in its range and each list has its limit. */
#include "base/mem.h"
#include "base/utf8.h"
#include "net/httpd_int.h"
#include "serve/serve_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slv_httpd httpd = {.bodies_lock = PTHREAD_MUTEX_INITIALIZER};

static void require(bool ok) {
    if (!ok) abort();
}

static bool within(float x, double a, double b) { return (double)x >= a && (double)x <= b; }

static void check_refused(const struct serve_fail *f) {
    const size_t n = strlen(f->err.msg);
    require(f->status >= 400 && f->status < 600 && n && f->type);
    require(slv_utf8_valid(f->err.msg, n, NULL));
    for (size_t i = 0; i < n; i++)
        require((unsigned char)f->err.msg[i] >= ' ');
}

static void check_understood(const struct serve_call *c) {
    const struct serve_ask *a = &c->ask;
    const struct slv_sampling *s = &a->sampling;
    require(a->n >= 1 && a->n <= SERVE_CHOICES_MAX && a->max_tokens <= 1u << 24);
    require(within(s->temperature, 0, 100) && within(s->top_p, 0, 1) && within(s->min_p, 0, 1));
    require(within(s->presence_penalty, -100, 100) && within(s->repeat_penalty, 0.009, 100));
    require(a->n_stop <= SERVE_STOPS_MAX && a->top_logprobs <= SERVE_TOP_MAX && s->n_bias <= 1024);
    for (size_t i = 0; i < a->n_stop; i++)
        require(a->stop[i] && *a->stop[i]);
    for (size_t i = 0; i < s->n_bias; i++)
        require(a->bias[i].id >= 0 && !isnan(a->bias[i].bias) && a->bias[i].bias <= 100.0f);
    require(a->timeout_ms <= 86400000 && a->priority >= -100 && a->priority <= 100);
    require(a->messages || a->prompt || a->input || a->tokens || a->content);
    require(a->tool_choice != TOOLS_NAMED || a->tool_name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slv_exchange x = {.h = &httpd, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct serve_call c = {.x = &x};
    struct serve_fail f = {0};
    if (!size) return 0;
    c.api = (enum serve_api)(data[0] % API_COUNT);
    slv_buf_init(&x.body, (size_t)1 << 24);
    slv_buf_add(&x.body, data + 1, size - 1);
    slv_arena_init(&c.arena, SERVE_ARENA_MAX);
    bool ok = serve_ask_read(&c, &f);
    require(ok == !f.status);
    if (ok) check_understood(&c);
    else check_refused(&f);
    json_decref(c.ask.doc);
    slv_arena_fini(&c.arena);
    slv_buf_fini(&x.body);
    return 0;
}
