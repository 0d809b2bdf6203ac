/* check.c: see check.h. */
#include "engine/constraint/check.h"
#include "engine/constraint/values.h"
#include "base/mem.h"

#include <string.h>

int slv_schema_accepts(struct slv_matcher *m, const json_t *value, bool *ret, struct slv_err *err) {
    struct slv_buf text;
    slv_buf_init(&text, SLV_MATCHER_MAX_BYTES);
    int rc = slv_value_text(value, true, &text);
    if (!rc) {
        slv_matcher_reset(m);
        *ret = slv_matcher_feed(m, text.data, text.len) == text.len && slv_matcher_done(m);
        rc = slv_matcher_status(m);
    }
    slv_buf_fini(&text);
    return rc ? slv_err_set(err, rc, "the value: %s", slv_strerror(rc)) : 0;
}

/* --- in the schema's order -------------------------------------------------------------------- */

struct arranging {
    struct slv_matcher *m;
    struct slv_buf *out;
};

static bool put(struct arranging *a, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!slv_matcher_try(a->m, (unsigned char)s[i])) return false;
    return slv_buf_add(a->out, s, n) == 0;
}

static bool put_key(struct arranging *a, const char *key) {
    struct slv_buf b;
    json_t *j = json_string(key);
    slv_buf_init(&b, SLV_SCHEMA_MAX_BYTES);
    bool ok = j && slv_value_text(j, false, &b) == 0 && slv_buf_addc(&b, ':') == 0;
    ok = ok && put(a, b.data, b.len);
    json_decref(j);
    slv_buf_fini(&b);
    return ok;
}

static bool arrange(struct arranging *a, const json_t *v);

/* Of the members not written yet the one that comes first. */
static const char *next_member(struct arranging *a, const json_t *v, const json_t *done) {
    const char *key, *best = NULL;
    json_t *x;
    uint32_t order = 0;
    const size_t len = a->out->len;
    json_object_foreach((json_t *)(uintptr_t)v, key, x) {
        const struct slv_mark mark = slv_matcher_mark(a->m);
        if (json_object_get(done, key)) continue;
        if (put_key(a, key) && (!best || slv_matcher_order(a->m) < order)) {
            best = key;
            order = slv_matcher_order(a->m);
        }
        slv_matcher_rewind(a->m, &mark);
        a->out->len = len;
    }
    return best;
}

static bool arrange_object(struct arranging *a, const json_t *v) {
    json_t *done = json_object();
    bool ok = done && put(a, "{", 1);
    for (size_t i = 0; ok && i < json_object_size(v); i++) {
        ok = i == 0 || put(a, ",", 1);
        const char *key = ok ? next_member(a, v, done) : NULL;
        ok = key && put_key(a, key) && arrange(a, json_object_get(v, key)) &&
             json_object_set_new(done, key, json_true()) == 0;
    }
    json_decref(done);
    return ok && put(a, "}", 1);
}

static bool arrange(struct arranging *a, const json_t *v) {
    struct slv_buf b;
    json_t *x;
    size_t i;
    if (json_is_object(v)) return arrange_object(a, v);
    if (json_is_array(v)) {
        bool ok = put(a, "[", 1);
        json_array_foreach((json_t *)(uintptr_t)v, i, x) ok =
            ok && (i == 0 || put(a, ",", 1)) && arrange(a, x);
        return ok && put(a, "]", 1);
    }
    slv_buf_init(&b, SLV_MATCHER_MAX_BYTES);
    const bool ok = slv_value_text(v, true, &b) == 0 && put(a, b.data, b.len);
    slv_buf_fini(&b);
    return ok;
}

int slv_schema_arrange(struct slv_matcher *m, const json_t *value, struct slv_buf *out, bool *ret,
                       struct slv_err *err) {
    struct arranging a = {m, out};
    slv_matcher_reset(m);
    *ret = arrange(&a, value) && slv_matcher_done(m);
    const int rc = slv_matcher_status(m) ? slv_matcher_status(m) : out->status;
    slv_matcher_reset(m);
    return rc ? slv_err_set(err, rc, "the value: %s", slv_strerror(rc)) : 0;
}
