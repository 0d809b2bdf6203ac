/* apikeys.c: see apikeys.h. A table is read once and never changed; those who hold a key of it keep
 * it alive, and reloading puts another in its place. */
#include "trust/apikeys.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/json_parse.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "trust/fields.h"
#include "trust/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "slv_"
#define VERSION 1
#define MEMBER_MAX 1000 /* bytes of the name of a model or adapter */

struct table;

/* A key and the table it lies in. */
struct entry {
    struct slv_apikey key; /* first: what is handed out */
    struct table *table;
};

struct table {
    atomic_size_t held; /* by the keys' owner, and once for each key that was handed out */
    struct slv_arena arena;
    struct entry *v;
    size_t n;
    uint32_t *slots; /* place in v and 1; 0: empty. A power of two, at least 2 n */
    size_t n_slots;
};

struct slv_apikeys {
    char *path;
    pthread_mutex_t lock; /* of the two below */
    struct table *now;
    struct stat seen; /* of the file that is in it */
};

static void release(struct table *t) {
    if (!t || atomic_fetch_sub(&t->held, 1) != 1) return;
    slv_arena_fini(&t->arena);
    slv_mem_free(t);
}

static int no_memory(struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOMEM, "API keys: out of memory");
}

/* --- reading one key -------------------------------------------------------------------------- */

static bool get_uint(const json_t *o, const char *name, uint64_t *ret) {
    const json_t *v = json_object_get(o, name);
    if (!v) return true;
    if (!json_is_integer(v) || json_integer_value(v) < 0) return false;
    *ret = (uint64_t)json_integer_value(v);
    return true;
}

/* Text without NUL or characters that drive a terminal. */
static bool plain(const char *s, size_t n, size_t max) {
    uint32_t cp;
    if (!s || !n || n > max) return false;
    for (size_t i = 0; i < n;) {
        i += slv_utf8_decode(s + i, n - i, &cp);
        if (slv_utf8_is_control(cp)) return false;
    }
    return true;
}

/* false: it is not there as it must be; *ret stays NULL when memory is out. */
static bool get_name(const json_t *v, size_t max, struct slv_arena *a, const char **ret) {
    if (!plain(json_string_value(v), json_string_length(v), max)) return false;
    *ret = slv_arena_strndup(a, json_string_value(v), json_string_length(v));
    return true;
}

static const char *get_names(const json_t *o, const char *name, struct slv_arena *a,
                             struct slv_apikey_names *ret) {
    const json_t *v = json_object_get(o, name);
    size_t n = json_array_size(v);
    if (!v) return NULL;
    if (!json_is_array(v) || n > SLV_APIKEY_NAMES_MAX) return name;
    const char **names = slv_arena_calloc(a, n ? n : 1, sizeof *names);
    if (!names) return "";
    for (size_t i = 0; i < n; i++) {
        if (!get_name(json_array_get(v, i), MEMBER_MAX, a, &names[i])) return name;
        if (!names[i]) return "";
    }
    *ret = (struct slv_apikey_names){names, n};
    return NULL;
}

static bool get_hex(const json_t *o, const char *name, void *ret, size_t n) {
    const json_t *v = json_object_get(o, name);
    return json_is_string(v) && json_string_length(v) == 2 * n &&
           slv_hex_read(json_string_value(v), ret, n);
}

static bool get_bool(const json_t *o, const char *name, bool *ret) {
    const json_t *v = json_object_get(o, name);
    if (v && !json_is_boolean(v)) return false;
    *ret = json_is_true(v);
    return true;
}

static bool get_priority(const json_t *o, int64_t *ret) {
    const json_t *v = json_object_get(o, "priority");
    if (!v) return true;
    *ret = json_integer_value(v);
    return json_is_integer(v) && *ret >= -100 && *ret <= 100;
}

/* A limit that is misspelt would be no limit: nothing unknown is let pass. */
static const char *unknown_member(const json_t *o, const char *const *known) {
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, name, v) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], name) != 0)
            i++;
        if (!known[i]) return name;
    }
    return NULL;
}

static const char *read_limits(const json_t *o, struct slv_apikey *k) {
    static const char *const known[] = {"tokens_per_minute", "requests_per_minute", "context",
                                        "sessions", NULL};
    const json_t *l = json_object_get(o, "limits");
    if (!l) return NULL;
    if (!json_is_object(l)) return "limits";
    const char *bad = unknown_member(l, known);
    if (bad) return bad;
    if (!get_uint(l, known[0], &k->tokens_per_minute)) return known[0];
    if (!get_uint(l, known[1], &k->requests_per_minute)) return known[1];
    if (!get_uint(l, known[2], &k->context)) return known[2];
    if (!get_uint(l, known[3], &k->sessions)) return known[3];
    return NULL;
}

/* NULL, or the member that is wrong; "": memory is out. */
static const char *read_key(const json_t *o, struct slv_arena *a, struct slv_apikey *k) {
    static const char *const known[] = {"id",        "name",     "hash",   "created",
                                        "not_after", "revoked",  "admin",  "priority",
                                        "models",    "adapters", "limits", NULL};
    uint8_t id[(SLV_APIKEY_ID - 1) / 2];
    if (!json_is_object(o)) return "object";
    const char *bad = unknown_member(o, known);
    if (bad) return bad;
    if (!get_hex(o, "id", id, sizeof id)) return "id";
    slv_hex_write(id, sizeof id, k->id);
    if (!get_name(json_object_get(o, "name"), SLV_APIKEY_NAME_MAX, a, &k->name)) return "name";
    if (!k->name) return "";
    if (!get_hex(o, "hash", k->hash, sizeof k->hash)) return "hash";
    if (!get_uint(o, "created", &k->created)) return "created";
    if (!get_uint(o, "not_after", &k->not_after)) return "not_after";
    if (!get_uint(o, "revoked", &k->revoked)) return "revoked";
    if (!get_bool(o, "admin", &k->admin)) return "admin";
    if (!get_priority(o, &k->priority)) return "priority";
    bad = get_names(o, "models", a, &k->models);
    if (!bad) bad = get_names(o, "adapters", a, &k->adapters);
    return bad ? bad : read_limits(o, k);
}

/* --- the table -------------------------------------------------------------------------------- */

/* A hash is as good as random. */
static size_t slot_of(const struct table *t, const uint8_t hash[SLV_APIKEY_HASH]) {
    uint64_t x;
    memcpy(&x, hash, sizeof x);
    return (size_t)x & (t->n_slots - 1);
}

/* The key of that hash; NULL. */
static struct entry *look_up(const struct table *t, const uint8_t hash[SLV_APIKEY_HASH]) {
    if (!t->n_slots) return NULL;
    for (size_t i = slot_of(t, hash); t->slots[i]; i = (i + 1) & (t->n_slots - 1)) {
        struct entry *e = &t->v[t->slots[i] - 1];
        if (!sodium_memcmp(e->key.hash, hash, SLV_APIKEY_HASH)) return e;
    }
    return NULL;
}

static int insert(struct table *t, size_t i, struct slv_err *err) {
    const uint8_t *hash = t->v[i].key.hash;
    if (look_up(t, hash))
        return slv_err_set(err, SLV_E_FORMAT, "key %zu: has the hash of another one", i + 1);
    size_t s = slot_of(t, hash);
    while (t->slots[s])
        s = (s + 1) & (t->n_slots - 1);
    t->slots[s] = (uint32_t)i + 1;
    return 0;
}

static int read_keys(struct table *t, const json_t *keys, struct slv_err *err) {
    size_t n = json_array_size(keys);
    t->n_slots = 16;
    while (t->n_slots < 2 * n)
        t->n_slots *= 2;
    t->v = slv_arena_calloc(&t->arena, n ? n : 1, sizeof *t->v);
    t->slots = slv_arena_calloc(&t->arena, t->n_slots, sizeof *t->slots);
    if (!t->v || !t->slots) return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const char *bad = read_key(json_array_get(keys, i), &t->arena, &t->v[i].key);
        if (bad && !*bad) return no_memory(err);
        if (bad)
            return slv_err_set(err, SLV_E_FORMAT, "key %zu: '%s': is missing, wrong or unknown",
                               i + 1, bad);
        t->v[i].table = t;
        t->n = i + 1;
        int rc = insert(t, i, err);
        if (rc) return rc;
    }
    return 0;
}

static int by_id(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* An audit log's ids must each be one key's. */
static int check_ids(struct table *t, struct slv_err *err) {
    const char **ids = slv_mem_calloc(t->n, sizeof *ids);
    if (!ids) return no_memory(err);
    for (size_t i = 0; i < t->n; i++)
        ids[i] = t->v[i].key.id;
    qsort(ids, t->n, sizeof *ids, by_id);
    int rc = 0;
    for (size_t i = 1; !rc && i < t->n; i++)
        if (!strcmp(ids[i - 1], ids[i]))
            rc = slv_err_set(err, SLV_E_FORMAT, "two keys have the id %s", ids[i]);
    slv_mem_free(ids);
    return rc;
}

static int read_doc(struct table *t, const json_t *doc, struct slv_err *err) {
    static const char *const known[] = {"version", "keys", NULL};
    const json_t *keys = json_object_get(doc, "keys");
    uint64_t version = 0;
    if (!json_is_object(doc) || unknown_member(doc, known) || !json_is_array(keys))
        return slv_err_set(err, SLV_E_FORMAT, "is not a file of API keys");
    if (!get_uint(doc, "version", &version) || version != VERSION)
        return slv_err_set(err, SLV_E_FORMAT, "'version': is not %d", VERSION);
    if (json_array_size(keys) > SLV_APIKEYS_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "more than %d keys", SLV_APIKEYS_MAX);
    int rc = read_keys(t, keys, err);
    return rc ? rc : check_ids(t, err);
}

static int parse(const char *text, size_t n, const char *what, struct table **ret,
                 struct slv_err *err) {
    json_t *doc = NULL;
    struct table *t = slv_mem_calloc(1, sizeof *t);
    if (!t) return no_memory(err);
    atomic_init(&t->held, 1);
    slv_arena_init(&t->arena, (size_t)1 << 30);
    int rc = slv_trust_init(err);
    if (!rc) rc = slv_json_parse(text, n, what, &doc, err);
    if (!rc && (rc = read_doc(t, doc, err))) slv_err_prefix(err, rc, "%s", what);
    json_decref(doc);
    if (rc) release(t);
    else *ret = t;
    return rc;
}

int slv_apikeys_check(const char *text, size_t n, struct slv_err *err) {
    struct table *t = NULL;
    int rc = parse(text, n, "API keys", &t, err);
    if (!rc) release(t);
    return rc;
}

/* --- the file --------------------------------------------------------------------------------- */

/* Whoever can write to the file can let himself in. */
static int read_text(const char *path, struct slv_buf *text, struct stat *ret,
                     struct slv_err *err) {
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return slv_err_set(err, errno == ENOENT || errno == ENOTDIR ? SLV_E_NOENT : SLV_E_IO,
                           "%s: %s", path, strerror(errno));
    int rc = fstat(fd, ret) ? slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(errno)) : 0;
    const char *why = rc ? NULL : slv_file_foreign(ret);
    if (why) rc = slv_err_set(err, SLV_E_TRUST, "%s: %s", path, why);
    if (!rc && (uint64_t)ret->st_size > SLV_APIKEYS_FILE_MAX)
        rc = slv_err_set(err, SLV_E_LIMIT, "%s: longer than %zu bytes", path, SLV_APIKEYS_FILE_MAX);
    if (!rc && slv_buf_reserve(text, (size_t)ret->st_size)) rc = no_memory(err);
    if (!rc && !slv_fd_read_at(fd, text->data, (size_t)ret->st_size, 0, &n))
        rc = slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(errno));
    text->len = n;
    close(fd);
    return rc;
}

static int read_table(const char *path, struct table **ret, struct stat *ret_seen,
                      struct slv_err *err) {
    struct slv_buf text;
    slv_buf_init(&text, SLV_APIKEYS_FILE_MAX);
    int rc = read_text(path, &text, ret_seen, err);
    if (!rc) rc = parse(text.data, text.len, path, ret, err);
    slv_buf_fini(&text);
    return rc;
}

int slv_apikeys_open(const char *path, struct slv_apikeys **ret, struct slv_err *err) {
    struct slv_apikeys *k = slv_mem_calloc(1, sizeof *k);
    if (!k) return no_memory(err);
    pthread_mutex_init(&k->lock, NULL);
    k->path = slv_mem_strndup(path, strlen(path));
    int rc = k->path ? read_table(path, &k->now, &k->seen, err) : no_memory(err);
    if (rc) slv_apikeys_close(k);
    else *ret = k;
    return rc;
}

void slv_apikeys_close(struct slv_apikeys *k) {
    if (!k) return;
    release(k->now);
    pthread_mutex_destroy(&k->lock);
    slv_mem_free(k->path);
    slv_mem_free(k);
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

int slv_apikeys_reload(struct slv_apikeys *k, bool *ret_changed, struct slv_err *err) {
    struct table *t = NULL, *old;
    struct stat st;
    pthread_mutex_lock(&k->lock);
    bool same = !stat(k->path, &st) && same_file(&st, &k->seen);
    pthread_mutex_unlock(&k->lock);
    int rc = same ? 0 : read_table(k->path, &t, &st, err);
    if (rc) return rc;
    if (!same) {
        pthread_mutex_lock(&k->lock);
        old = k->now;
        k->now = t;
        k->seen = st;
        pthread_mutex_unlock(&k->lock);
        release(old);
    }
    if (ret_changed) *ret_changed = !same;
    return 0;
}

/* --- finding ---------------------------------------------------------------------------------- */

static struct table *hold(struct slv_apikeys *k) {
    pthread_mutex_lock(&k->lock);
    struct table *t = k->now;
    atomic_fetch_add(&t->held, 1);
    pthread_mutex_unlock(&k->lock);
    return t;
}

static void hash_token(const char *token, size_t n, uint8_t ret[SLV_APIKEY_HASH]) {
    crypto_generichash(ret, SLV_APIKEY_HASH, (const unsigned char *)token, n, NULL, 0);
}

int slv_apikeys_find(struct slv_apikeys *k, const char *token, size_t n, uint64_t now,
                     const struct slv_apikey **ret, struct slv_err *err) {
    uint8_t hash[SLV_APIKEY_HASH];
    hash_token(token, n < SLV_APIKEY_TOKEN ? n : SLV_APIKEY_TOKEN, hash);
    struct table *t = hold(k);
    const struct entry *e = n == SLV_APIKEY_TOKEN - 1 ? look_up(t, hash) : NULL;
    int rc = 0;
    if (!e) rc = slv_err_set(err, SLV_E_TRUST, "no such API key");
    else if (e->key.revoked)
        rc = slv_err_set(err, SLV_E_TRUST, "API key %s (%s) was revoked", e->key.id, e->key.name);
    else if (e->key.not_after && now > e->key.not_after)
        rc = slv_err_set(err, SLV_E_TRUST, "API key %s (%s) has expired", e->key.id, e->key.name);
    if (rc) release(t);
    else *ret = &e->key;
    return rc;
}

void slv_apikey_put(const struct slv_apikey *key) {
    if (key) release(((const struct entry *)(const void *)key)->table);
}

const struct slv_apikey *slv_apikeys_get(struct slv_apikeys *k, size_t i) {
    struct table *t = hold(k);
    if (i < t->n) return &t->v[i].key;
    release(t);
    return NULL;
}

bool slv_apikey_names_allow(const struct slv_apikey_names *names, const char *name) {
    if (!names->n) return true;
    for (size_t i = 0; i < names->n; i++)
        if (!strcmp(names->v[i], name)) return true;
    return false;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void put_names(struct slv_json *j, const char *member,
                      const struct slv_apikey_names *names) {
    slv_json_array(j, member);
    for (size_t i = 0; i < names->n; i++)
        slv_json_str(j, NULL, names->v[i]);
    slv_json_array_end(j);
}

static void put_key(struct slv_json *j, const struct slv_apikey *k) {
    char hash[SLV_HEX(SLV_APIKEY_HASH)];
    slv_hex_write(k->hash, sizeof k->hash, hash);
    slv_json_object(j, NULL);
    slv_json_str(j, "id", k->id);
    slv_json_str(j, "name", k->name);
    slv_json_str(j, "hash", hash);
    slv_json_uint(j, "created", k->created);
    slv_json_uint(j, "not_after", k->not_after);
    slv_json_uint(j, "revoked", k->revoked);
    slv_json_bool(j, "admin", k->admin);
    slv_json_int(j, "priority", k->priority);
    put_names(j, "models", &k->models);
    put_names(j, "adapters", &k->adapters);
    slv_json_object(j, "limits");
    slv_json_uint(j, "tokens_per_minute", k->tokens_per_minute);
    slv_json_uint(j, "requests_per_minute", k->requests_per_minute);
    slv_json_uint(j, "context", k->context);
    slv_json_uint(j, "sessions", k->sessions);
    slv_json_object_end(j);
    slv_json_object_end(j);
}

/* The keys of a table, a line each, and one more if there is one. */
static void put_file(const struct table *t, const struct slv_apikey *more, struct slv_buf *out) {
    struct slv_json j;
    slv_json_init(&j, out);
    slv_json_object(&j, NULL);
    slv_json_uint(&j, "version", VERSION);
    slv_json_array(&j, "keys");
    for (size_t i = 0; i < t->n + (more ? 1 : 0); i++) {
        if (i) slv_buf_addc(out, ',');
        slv_buf_addc(out, '\n');
        j.comma = false;
        put_key(&j, i < t->n ? &t->v[i].key : more);
    }
    slv_buf_addc(out, '\n');
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    slv_buf_addc(out, '\n');
}

/* A file that is being changed: locked from before it was read. */
struct change {
    struct slv_newfile f;
    struct table *t;
};

static int begin_change(const char *path, bool make, struct change *c, struct slv_err *err) {
    struct stat st;
    int rc = slv_newfile_open(path, &c->f, err);
    if (rc) return rc;
    rc = read_table(path, &c->t, &st, err);
    if (rc == SLV_E_NOENT && make) {
        static const char empty[] = "{\"version\":1,\"keys\":[]}";
        rc = parse(empty, sizeof empty - 1, path, &c->t, err);
    }
    return rc;
}

static int end_change(struct change *c, const struct slv_apikey *more, struct slv_err *err) {
    struct slv_buf out;
    slv_buf_init(&out, SLV_APIKEYS_FILE_MAX);
    put_file(c->t, more, &out);
    int rc =
        out.status ? slv_err_set(err, out.status, "API keys: %s", slv_strerror(out.status)) : 0;
    if (!rc) rc = slv_newfile_write(&c->f, out.data, out.len, 0, err);
    if (!rc) rc = slv_newfile_commit(&c->f, err);
    slv_buf_fini(&out);
    return rc;
}

static void drop_change(struct change *c) {
    slv_newfile_close(&c->f);
    release(c->t);
}

/* The one of that name which is not revoked. */
static struct entry *by_name(const struct table *t, const char *name) {
    for (size_t i = 0; i < t->n; i++)
        if (!t->v[i].key.revoked && !strcmp(t->v[i].key.name, name)) return &t->v[i];
    return NULL;
}

static void make_token(char token[SLV_APIKEY_TOKEN], struct slv_apikey *k) {
    uint8_t secret[32], id[(SLV_APIKEY_ID - 1) / 2];
    randombytes_buf(secret, sizeof secret);
    randombytes_buf(id, sizeof id);
    slv_hex_write(id, sizeof id, k->id);
    memcpy(token, PREFIX, sizeof PREFIX - 1);
    sodium_bin2base64(token + 4, SLV_APIKEY_TOKEN - 4, secret, sizeof secret,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(secret, sizeof secret);
    hash_token(token, SLV_APIKEY_TOKEN - 1, k->hash);
}

static bool plain_names(const struct slv_apikey_names *names) {
    for (size_t i = 0; i < names->n; i++)
        if (!plain(names->v[i], strlen(names->v[i]), MEMBER_MAX)) return false;
    return names->n <= SLV_APIKEY_NAMES_MAX;
}

static int check_new(const struct table *t, const struct slv_apikey *k, struct slv_err *err) {
    if (!plain(k->name, strlen(k->name), SLV_APIKEY_NAME_MAX))
        return slv_err_set(err, SLV_E_USAGE, "'%.100s': a name has 1 to %d bytes, all printable",
                           k->name, SLV_APIKEY_NAME_MAX);
    if (!plain_names(&k->models) || !plain_names(&k->adapters))
        return slv_err_set(err, SLV_E_USAGE, "%s: models and adapters have printable names",
                           k->name);
    if (by_name(t, k->name))
        return slv_err_set(err, SLV_E_USAGE, "%s: there is a key of this name already", k->name);
    if (t->n >= SLV_APIKEYS_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "there are %zu keys already", t->n);
    return 0;
}

int slv_apikeys_add(const char *path, const struct slv_apikey *key, char ret_id[SLV_APIKEY_ID],
                    char ret_token[SLV_APIKEY_TOKEN], struct slv_err *err) {
    struct change c = {.f.fd = -1};
    struct slv_apikey k = *key;
    char token[SLV_APIKEY_TOKEN];
    int rc = slv_trust_init(err);
    if (!rc) rc = begin_change(path, true, &c, err);
    if (!rc) rc = check_new(c.t, &k, err);
    if (!rc) {
        k.created = slv_clock_wall(&slv_clock_system) / 1000000000;
        k.revoked = 0;
        make_token(token, &k);
        rc = end_change(&c, &k, err);
    }
    drop_change(&c);
    if (rc) return rc;
    memcpy(ret_id, k.id, sizeof k.id);
    memcpy(ret_token, token, sizeof token);
    sodium_memzero(token, sizeof token);
    return 0;
}

int slv_apikeys_revoke(const char *path, const char *id_or_name, char ret_id[SLV_APIKEY_ID],
                       struct slv_err *err) {
    struct change c = {.f.fd = -1};
    struct entry *e = NULL;
    int rc = slv_trust_init(err);
    if (!rc) rc = begin_change(path, false, &c, err);
    for (size_t i = 0; !rc && !e && i < c.t->n; i++)
        if (!strcmp(c.t->v[i].key.id, id_or_name)) e = &c.t->v[i];
    if (!rc && !e) e = by_name(c.t, id_or_name);
    if (!rc && !e) rc = slv_err_set(err, SLV_E_NOENT, "%s: no key has this id or name", id_or_name);
    if (!rc && !e->key.revoked) {
        e->key.revoked = slv_clock_wall(&slv_clock_system) / 1000000000;
        rc = end_change(&c, NULL, err);
    }
    if (!rc) memcpy(ret_id, e->key.id, SLV_APIKEY_ID);
    drop_change(&c);
    return rc;
}
