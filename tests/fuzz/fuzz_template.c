/* fuzz_template.c: any bytes as a chat template, over a conversation with tools. What may happen is
 * an error; what comes out on success is valid UTF-8 within the buffer's maximum, and comes out
 * again the second time. */
#include "base/utf8.h"
#include "format/template.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char names[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, {\"role\": \"user\","
    " \"content\": \"Gr\\u00fc\\u00dfe \\ud83d\\ude42\"}, {\"role\": \"assistant\", \"content\": "
    "null,"
    " \"tool_calls\": [{\"id\": \"c1\", \"type\": \"function\", \"function\": {\"name\": \"f\","
    " \"arguments\": {\"x\": [1, 2.5, null, true]}}}]}, {\"role\": \"tool\", \"content\": "
    "\"<ok>\"}],"
    " \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": "
    "{\"type\":"
    " \"object\", \"properties\": {\"x\": {\"type\": \"array\"}}}}}], \"add_generation_prompt\": "
    "true,"
    " \"s\": \"Hello, World\", \"n\": 42, \"f\": 3.14, \"l\": [3, 1, 2], \"d\": {\"b\": 1, \"a\": "
    "2},"
    " \"bos_token\": \"<s>\", \"big\": 18446744073709551616}";

static uint64_t fixed(void *ctx) {
    (void)ctx;
    return UINT64_C(1753536896000000000);
}

static void require(bool ok) {
    if (!ok) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct slv_clock clock = {.mono_ns = fixed, .wall_ns = fixed};
    struct slv_template *t;
    struct slv_scope *s;
    struct slv_value *all;
    struct slv_buf out[2];
    struct slv_err err[2];
    int rc[2];
    if (slv_template_compile((const char *)data, size, &t, &err[0])) return 0;
    require(slv_scope_open((size_t)1 << 20, &clock, &s) == 0);
    require(slv_value_parse(s, names, sizeof names - 1, &all, NULL) == 0);
    require(slv_scope_set_all(s, all) == 0);
    for (int i = 0; i < 2; i++) {
        slv_buf_init(&out[i], (size_t)1 << 20);
        rc[i] = slv_template_render(t, s, &out[i], &err[i]);
        require(slv_utf8_valid(out[i].data, out[i].len, NULL));
    }
    require(rc[0] == rc[1] && out[0].len == out[1].len);
    require(memcmp(out[0].data, out[1].data, out[0].len) == 0);
    require(rc[0] == 0 || strcmp(err[0].msg, err[1].msg) == 0);
    for (int i = 0; i < 2; i++)
        slv_buf_fini(&out[i]);
    slv_scope_close(s);
    slv_template_free(t);
    return 0;
}
