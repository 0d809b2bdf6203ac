/* check.c: see check.h. */
#include "engine/constraint/check.h"
#include "engine/constraint/values.h"

int slv_schema_accepts(struct slv_matcher *m, const json_t *value, bool *ret, struct slv_err *err) {
    struct slv_buf text;
    slv_buf_init(&text, SLV_MATCHER_MAX_BYTES);
    int rc = slv_value_text(value, &text);
    if (!rc) {
        slv_matcher_reset(m);
        *ret = slv_matcher_feed(m, text.data, text.len) == text.len && slv_matcher_done(m);
        rc = slv_matcher_status(m);
    }
    slv_buf_fini(&text);
    return rc ? slv_err_set(err, rc, "the value: %s", slv_strerror(rc)) : 0;
}
