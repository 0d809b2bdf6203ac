/* fuzz_schema.c: any bytes as a JSON Schema, and a walk along what it takes. What may happen is an
 * error. A text that was taken byte by byte as answers are written can be gone on with until the
 * value is whole, or a limit is met.
 *
 * The first byte chooses the way of the walk; the rest is the schema. */
#include "engine/constraint/matcher.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok) {
    if (!ok) abort();
}

/* The seed-th of the bytes that are taken; -1: none. */
static int next(struct slv_matcher *m, uint32_t seed) {
    int taken[256], n = 0;
    for (int c = 1; c < 256; c++) {
        const struct slv_mark mark = slv_matcher_mark(m);
        if (!slv_matcher_try(m, (unsigned char)c)) continue;
        slv_matcher_rewind(m, &mark);
        taken[n++] = c;
    }
    return n ? taken[seed % (uint32_t)n] : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct slv_schema_options how[] = {SLV_SCHEMA_WRITTEN, SLV_SCHEMA_READ};
    struct slv_schema *s;
    struct slv_matcher *m;
    struct slv_err err;
    char at[SLV_SCHEMA_POINTER_MAX];
    if (size < 1) return 0;
    uint32_t seed = data[0];
    if (slv_schema_open((const char *)data + 1, size - 1, &how[seed & 1], &s, at, &err)) {
        require(err.msg[0] && strlen(at) < sizeof at);
        return 0;
    }
    const bool read = seed & 2;
    require(slv_matcher_open(s, read ? SLV_MATCH_READ : 0, &m) == 0);
    for (int i = 0; i < 60 && slv_schema_has_values(s); i++) {
        seed = seed * 1664525u + 1013904223u;
        const int c = next(m, seed >> 16);
        if (slv_matcher_status(m)) break;
        require(c >= 0 || slv_matcher_done(m) || read); /* values of others may be what they are */
        if (c < 0) break;
        const char b = (char)c;
        require(slv_matcher_feed(m, &b, 1) == 1);
    }
    slv_matcher_close(m);
    slv_schema_close(s);
    return 0;
}
