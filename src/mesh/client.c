/* client.c: see client.h. */
#include "mesh/client.h"
#include "base/jsonin.h"
#include "net/head.h"
#include "store/local.h"

#include <inttypes.h>
#include <string.h>

static int code_of(long status) {
    switch (status) {
    case 403:
        return SLV_E_TRUST;
    case 404:
        return SLV_E_NOENT;
    case 409:
        return SLV_E_BUSY;
    case 400:
    case 405:
        return SLV_E_USAGE;
    case 413:
        return SLV_E_LIMIT;
    case 503:
    case 504:
        return SLV_E_NET;
    default:
        return SLV_E_IO;
    }
}

/* The space's name of "/v1/spaces/NAME/...". */
static bool space_of(const char *path, char ret[SLV_HEAD_TARGET_MAX + 1]) {
    static const char root[] = "/v1/spaces/";
    if (!path || strncmp(path, root, sizeof root - 1) != 0) return false;
    path += sizeof root - 1;
    const struct slv_str name = {path, strcspn(path, "/?")};
    return slv_head_decode(name, ret, SLV_HEAD_TARGET_MAX + 1);
}

int slv_client_refused(const char *path, struct slv_str body, long status, struct slv_err *err) {
    char space[SLV_HEAD_TARGET_MAX + 1];
    struct slv_str why = {"it does not say why", 19};
    struct slv_json_doc doc = {0};
    if (!slv_json_read(body.p, body.n, &doc, NULL))
        slv_json_get_str(slv_json_get(slv_json_get(slv_json_root(&doc), "error"), "message"), &why);
    const bool names = slv_str_is(why, "no such space") && space_of(path, space);
    const int rc = names ? slv_err_set(err, code_of(status), "mesh: no such space: '%s'", space)
                         : slv_err_set(err, code_of(status), "mesh: %.*s", (int)why.n, why.p);
    slv_json_doc_fini(&doc);
    return rc;
}

void slv_client_target(struct slv_buf *b, struct slv_str space, const char *what,
                       struct slv_str key) {
    slv_buf_adds(b, "/v1/spaces/");
    slv_local_encode(b, space);
    slv_buf_addf(b, "/%s", what);
    if (!key.p) return;
    slv_buf_addc(b, '/');
    slv_local_encode(b, key);
}

int slv_client_token(long status, const struct slv_buf *field, struct slv_str *ret,
                     struct slv_err *err) {
    const bool shows = status == 200 || status == 404 || status == 409;
    *ret = (struct slv_str){field->data, shows ? field->len : 0};
    if (status != 200 || field->len) return 0;
    return slv_err_set(err, SLV_E_LIMIT,
                       "mesh: it is done, but so many have written that no session can tell it");
}

void slv_client_key(struct slv_buf *b, struct slv_str space, struct slv_str key,
                    uint32_t timeout_ms, const char *read) {
    slv_client_target(b, space, "keys", key);
    slv_buf_addf(b, "?timeout_ms=%" PRIu32, timeout_ms);
    if (!read) return;
    slv_buf_adds(b, "&read=");
    slv_local_encode(b, (struct slv_str){read, strlen(read)});
}

bool slv_client_event(struct slv_str line, struct slv_str *ret) {
    static const char mark[] = "data: ";
    const size_t n = sizeof mark - 1;
    if (line.n <= n || memcmp(line.p, mark, n) != 0) return false;
    *ret = (struct slv_str){line.p + n, line.n - n};
    return true;
}
