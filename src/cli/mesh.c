/* mesh.c: see mesh.h. */
#include "cli/mesh.h"
#include "base/file.h"
#include "base/utf8.h"
#include "cli/out.h"
#include "mesh/client.h"
#include "mesh/token.h"
#include "store/local.h"
#include "store/store.h"
#include "trust/fields.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

#define PATH_MAX_BYTES ((size_t)64 << 10)

int slv_cli_mesh_utf8(const char *what, const char *text, struct slv_err *err) {
    if (!text || slv_utf8_valid(text, strlen(text), NULL)) return 0;
    return slv_err_set(err, SLV_E_USAGE, "mesh: %s is not UTF-8", what);
}

int slv_cli_mesh_key(const char *what, const char *text, struct slv_err *err) {
    if (text && !*text) return slv_err_set(err, SLV_E_USAGE, "mesh: %s is empty", what);
    return slv_cli_mesh_utf8(what, text, err);
}

int slv_cli_mesh_node(const char *what, const char *text, struct slv_err *err) {
    uint8_t id[8];
    if (!text || (strlen(text) == 2 * sizeof id && slv_hex_read(text, id, sizeof id))) return 0;
    return slv_err_set(err, SLV_E_USAGE,
                       "mesh: %s %s: a node is 16 hexadecimal digits, as `mesh status` has them",
                       what, text);
}

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

/* (The path comes last: it may be longer than a message.) */
int slv_cli_mesh_socket(const char *given, struct slv_buf *ret, struct slv_err *err) {
    const size_t most = sizeof((struct sockaddr_un *)0)->sun_path - 1;
    int rc = 0;
    if (given) slv_buf_adds(ret, given);
    else rc = slv_cli_mesh_path(NULL, "mesh.sock", ret, err);
    if (rc || (!ret->status && ret->len && ret->len <= most)) return rc;
    return slv_err_set(err, SLV_E_USAGE, "mesh: a socket's path has 1 to %zu bytes, not %zu: '%s'",
                       most, given ? strlen(given) : ret->len, given ? given : ret->data);
}

int slv_cli_mesh_no_node(const char *socket, int error, struct slv_err *err) {
    if (error == ENOENT || error == ECONNREFUSED)
        return slv_err_set(err, SLV_E_NET,
                           "mesh: no node is up at %s: start one with `selvage mesh up`", socket);
    return slv_err_set(err, SLV_E_NET, "mesh: %s: %s", socket,
                       error == EACCES ? "permission denied" : strerror(error));
}

void slv_cli_reply_fini(struct slv_cli_reply *r) {
    slv_json_doc_fini(&r->doc);
    slv_buf_fini(&r->text);
}

int slv_cli_reply_print(const struct slv_cli_reply *r, struct slv_err *err) {
    struct slv_buf b;
    slv_buf_init(&b, (size_t)256 << 20);
    slv_buf_add(&b, r->text.data,
                r->text.len - (r->text.len && r->text.data[r->text.len - 1] == '\n'));
    const int rc = slv_out_line(&b, err);
    slv_buf_fini(&b);
    return rc;
}

/* --- sessions --------------------------------------------------------------------------------- */

static struct slv_str str_of(const struct slv_buf *b) { return (struct slv_str){b->data, b->len}; }

/* *ret, {0} before, is what the file says; nothing, where there is none. */
static int read_session(const char *path, struct slv_token *ret, struct slv_err *err) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_TOKEN_MAX + 1);
    int rc = slv_file_read(path, &b, err);
    const bool none = rc == SLV_E_NOENT;
    const size_t n = b.len - (b.len && b.data[b.len - 1] == '\n');
    if (rc == SLV_E_LIMIT) rc = slv_err_set(err, SLV_E_FORMAT, "%s: not a session: too long", path);
    if (!rc) {
        rc = slv_token_read((struct slv_str){b.data, n}, ret, err);
        if (rc) slv_err_prefix(err, rc, "%s", path);
    }
    slv_buf_fini(&b);
    return none ? 0 : rc;
}

/* With what somebody has written there meanwhile. */
static int keep_session(const char *path, struct slv_str text, struct slv_err *err) {
    struct slv_token t = {0}, more = {0};
    struct slv_buf b;
    slv_buf_init(&b, SLV_TOKEN_MAX + 1);
    int rc = slv_token_read(text, &more, err);
    if (!rc) rc = read_session(path, &t, err);
    if (!rc && (rc = slv_token_join(&t, &more)) != 0) slv_err_set(err, rc, "mesh: out of memory");
    if (!rc && (rc = slv_token_write(&t, &b)) != 0)
        slv_err_set(err, rc, "%s: the session has seen more than a token names", path);
    slv_buf_addc(&b, '\n');
    if (!rc) rc = slv_file_write(path, b.data, b.len, 0600, err);
    slv_buf_fini(&b);
    slv_token_fini(&t);
    slv_token_fini(&more);
    return rc;
}

/* Before anything is asked: a write that is done and then called a failure would be done again. */
static int check_session(const char *path, struct slv_err *err) {
    struct slv_buf b;
    slv_buf_init(&b, 8192);
    slv_buf_addf(&b, "%s.%ld.tmp", path, (long)getpid()); /* as slv_file_write() does */
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
    errno = *path && !b.status ? 0 : EINVAL;
    const int fd = errno ? -1 : open(b.data, flags, 0600);
    const int why = errno;
    if (fd >= 0) {
        close(fd);
        unlink(b.data);
    }
    slv_buf_fini(&b);
    if (fd >= 0) return 0;
    return slv_err_set(err, SLV_E_IO, "mesh: nothing was done: --session %s cannot be written: %s",
                       path, strerror(why));
}

/* The field that says what was seen; empty: nothing. */
static int make_field(const char *path, struct slv_buf *ret, struct slv_err *err) {
    struct slv_token t = {0};
    int rc = read_session(path, &t, err);
    if (!rc && t.n_space + t.n_group) {
        slv_buf_adds(ret, SLV_TOKEN_FIELD ": ");
        rc = slv_token_write(&t, ret);
        if (rc) slv_err_set(err, rc, "mesh: out of memory");
    }
    slv_token_fini(&t);
    return rc;
}

static int end_session(const char *path, long status, const struct slv_buf *got,
                       struct slv_err *err) {
    struct slv_str token;
    const int rc = slv_client_token(status, got, &token, err);
    return rc || !token.n ? rc : keep_session(path, token, err);
}

/* --- asking ----------------------------------------------------------------------------------- */

static int no_answer(const struct slv_local_request *q, struct slv_err *err) {
    if (*q->error) return slv_cli_mesh_no_node(q->socket, *q->error, err);
    return slv_err_set(err, SLV_E_NET, "mesh: the node at %s has not answered%s", q->socket,
                       strcmp(q->method, "GET") != 0 ? ": it may have been done, or not" : "");
}

static int ask(const struct slv_local_request *q, const struct slv_cli_question *of,
               struct slv_cli_reply *r, struct slv_err *err) {
    long status = 0;
    int rc = slv_local_ask_within(q, of->ms, &status, &r->text, err);
    if (of->status) *of->status = rc ? 0 : status;
    if (rc == SLV_E_NET) rc = no_answer(q, err);
    if (!rc && of->session) rc = end_session(of->session, status, q->got, err);
    if (!rc && status != 200) rc = slv_client_refused(of->path, str_of(&r->text), status, err);
    return rc ? rc : slv_json_read(r->text.data, r->text.len, &r->doc, err);
}

int slv_cli_mesh_ask_so(const struct slv_cli_question *q, struct slv_cli_reply *ret,
                        struct slv_err *err) {
    struct slv_buf at, field, got;
    struct slv_cli_reply r = {0};
    slv_buf_init(&at, 4096);
    slv_buf_init(&field, SLV_TOKEN_MAX + 64);
    slv_buf_init(&got, SLV_TOKEN_MAX);
    slv_buf_init(&r.text, (size_t)256 << 20);
    int error = 0;
    if (q->status) *q->status = 0;
    int rc = slv_cli_mesh_socket(q->socket, &at, err);
    if (!rc && q->session) rc = make_field(q->session, &field, err);
    if (!rc && q->session) rc = check_session(q->session, err);
    const struct slv_local_request local = {.socket = at.data,
                                            .method = q->method,
                                            .path = q->path,
                                            .body = q->body,
                                            .field = field.len ? field.data : NULL,
                                            .wanted = q->session ? SLV_TOKEN_FIELD : NULL,
                                            .got = &got,
                                            .error = &error};
    if (!rc) rc = ask(&local, q, &r, err);
    slv_buf_fini(&at);
    slv_buf_fini(&field);
    slv_buf_fini(&got);
    if (rc) slv_cli_reply_fini(&r);
    else *ret = r;
    return rc;
}

int slv_cli_mesh_ask(const char *socket, const char *method, const char *path, struct slv_str body,
                     struct slv_cli_reply *ret, struct slv_err *err) {
    const struct slv_cli_question q = {
        .socket = socket, .method = method, .path = path, .body = body};
    return slv_cli_mesh_ask_so(&q, ret, err);
}

int slv_cli_mesh_ask_key(const struct slv_cli_key *k, const char *method, struct slv_str body,
                         struct slv_cli_reply *ret, struct slv_err *err) {
    struct slv_buf path;
    const struct slv_str space = {k->space, strlen(k->space)}, key = {k->key, strlen(k->key)};
    int rc = slv_cli_mesh_key("KEY", k->key, err);
    if (rc) return rc;
    slv_buf_init(&path, PATH_MAX_BYTES);
    slv_client_key(&path, space, key, (uint32_t)(k->timeout * 1e3), k->read);
    const struct slv_cli_question q = {.socket = k->socket,
                                       .method = method,
                                       .path = path.data,
                                       .body = body,
                                       .session = k->session};
    rc = path.status ? slv_err_set(err, path.status, "mesh: the key is too long")
                     : slv_cli_mesh_ask_so(&q, ret, err);
    slv_buf_fini(&path);
    return rc;
}
