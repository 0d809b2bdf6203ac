/* mesh_lock.c: see mesh_lock.h. */
#include "cli/mesh_lock.h"
#include "base/clock.h"
#include "base/json.h"
#include "cli/mesh.h"
#include "mesh/client.h"

#define SLACK_MS 500u /* a node's own answer "not in time" comes before we hang up */

static uint64_t now_ns(void) { return slv_clock_mono(&slv_clock_system); }

static int ask(const struct slv_mesh_lock *l, const struct slv_buf *body, struct slv_cli_reply *ret,
               struct slv_err *err) {
    const double ms = l->ttl * 1e3 / 3 + 1;
    struct slv_buf path;
    slv_buf_init(&path, 65536);
    slv_client_target(&path, l->space, "keys", l->key);
    slv_buf_addf(&path, "?timeout_ms=%.0f", ms);
    const struct slv_cli_question q = {.socket = l->socket,
                                       .method = "PUT",
                                       .path = path.data,
                                       .body = {body->data, body->len},
                                       .ms = (uint32_t)ms + SLACK_MS};
    const int rc = path.status || body->status
                       ? slv_err_set(err, SLV_E_LIMIT, "mesh lock: the key is too long")
                       : slv_cli_mesh_ask_so(&q, ret, err);
    slv_buf_fini(&path);
    return rc;
}

static int do_op(struct slv_mesh_lock *l, const char *op, const char *name, int64_t n,
                 struct slv_err *err) {
    struct slv_cli_reply r;
    struct slv_buf b;
    struct slv_json j;
    slv_buf_init(&b, 65536);
    slv_json_init(&j, &b);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "op", op);
    slv_json_int(&j, name, n);
    if (!strcmp(op, "lock") && l->holder) slv_json_str(&j, "value", l->holder);
    slv_json_object_end(&j);
    const int rc = ask(l, &b, &r, err);
    slv_buf_fini(&b);
    if (rc) return rc;
    slv_json_get_i64(slv_json_get(slv_json_root(&r.doc), "token"), &l->token);
    slv_cli_reply_fini(&r);
    return 0;
}

/* What is ours from before it was asked for. */
static int do_timed(struct slv_mesh_lock *l, const char *op, const char *name, int64_t n,
                    struct slv_err *err) {
    const uint64_t asked = now_ns();
    const int rc = do_op(l, op, name, n, err);
    if (!rc) l->until_ns = asked + (uint64_t)(l->ttl * 1e9);
    return rc;
}

int slv_mesh_lock_take(struct slv_mesh_lock *l, struct slv_err *err) {
    return do_timed(l, "lock", "ttl_ms", (int64_t)(l->ttl * 1e3), err);
}

int slv_mesh_lock_keep(struct slv_mesh_lock *l, struct slv_err *err) {
    return do_timed(l, "keepalive", "lease", l->token, err);
}

int slv_mesh_lock_release(struct slv_mesh_lock *l, struct slv_err *err) {
    l->until_ns = 0;
    return do_op(l, "unlock", "token", l->token, err);
}

bool slv_mesh_lock_is_held(const struct slv_mesh_lock *l, uint64_t ns) {
    return now_ns() + ns < l->until_ns;
}
