/* mesh.c: see mesh.h. */
#include "cli/mesh.h"
#include "store/local.h"
#include "store/store.h"

int slv_cli_mesh_path(const char *folder, const char *name, struct slv_buf *ret,
                      struct slv_err *err) {
    struct slv_store *st = NULL;
    int rc = 0;
    if (folder) {
        slv_buf_addf(ret, "%s/%s", folder, name);
    } else {
        rc = slv_store_open(NULL, &st, err);
        if (!rc) slv_buf_addf(ret, "%s/mesh/%s", slv_store_home(st), name);
        slv_store_close(st);
    }
    return rc ? rc : ret->status ? slv_err_set(err, ret->status, "mesh: out of memory") : 0;
}

void slv_cli_reply_fini(struct slv_cli_reply *r) {
    slv_json_doc_fini(&r->doc);
    slv_buf_fini(&r->text);
}

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

int slv_cli_mesh_error(struct slv_str body, long status, struct slv_err *err) {
    struct slv_str why = {"it does not say why", 19};
    struct slv_json_doc doc = {0};
    if (!slv_json_read(body.p, body.n, &doc, NULL))
        slv_json_get_str(slv_json_get(slv_json_get(slv_json_root(&doc), "error"), "message"), &why);
    const int rc = slv_err_set(err, code_of(status), "mesh: %.*s", (int)why.n, why.p);
    slv_json_doc_fini(&doc);
    return rc;
}

void slv_cli_mesh_target(struct slv_buf *b, struct slv_str space, const char *what,
                         struct slv_str key) {
    slv_buf_adds(b, "/v1/spaces/");
    slv_local_encode(b, space);
    slv_buf_addf(b, "/%s", what);
    if (!key.p) return;
    slv_buf_addc(b, '/');
    slv_local_encode(b, key);
}

int slv_cli_mesh_ask(const char *socket, const char *method, const char *path, struct slv_str body,
                     struct slv_cli_reply *ret, struct slv_err *err) {
    return slv_cli_mesh_ask_within(socket, method, path, body, 0, ret, NULL, err);
}

int slv_cli_mesh_ask_within(const char *socket, const char *method, const char *path,
                            struct slv_str body, uint32_t ms, struct slv_cli_reply *ret,
                            long *ret_status, struct slv_err *err) {
    struct slv_buf at;
    struct slv_cli_reply r = {0};
    long status = 0;
    slv_buf_init(&at, 4096);
    slv_buf_init(&r.text, (size_t)256 << 20);
    int rc = 0;
    if (socket) slv_buf_adds(&at, socket);
    else rc = slv_cli_mesh_path(NULL, "mesh.sock", &at, err);
    const struct slv_local_request q = {at.data, method, path, body};
    if (!rc) rc = slv_local_ask_within(&q, ms, &status, &r.text, err);
    if (ret_status) *ret_status = rc ? 0 : status;
    if (rc == SLV_E_NET) slv_err_prefix(err, rc, "mesh: no node is up");
    if (!rc && status != 200)
        rc = slv_cli_mesh_error((struct slv_str){r.text.data, r.text.len}, status, err);
    if (!rc) rc = slv_json_read(r.text.data, r.text.len, &r.doc, err);
    slv_buf_fini(&at);
    if (rc) slv_cli_reply_fini(&r);
    else *ret = r;
    return rc;
}
