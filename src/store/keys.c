/* keys.c: see keys.h. */
#include "store/keys.h"
#include "store/store.h"

#include <unistd.h>

#define PATH_MAX_BYTES 8192

int slv_store_keys_path(const char *given, const char *name, struct slv_buf *ret,
                        struct slv_err *err) {
    struct slv_store *st = NULL;
    int rc = given ? 0 : slv_store_open(NULL, &st, err);
    if (rc) return rc;
    if (given) slv_buf_adds(ret, given);
    else slv_buf_addf(ret, "%s/%s", slv_store_home(st), name);
    slv_store_close(st);
    return ret->status
               ? slv_err_set(err, ret->status, "%s: path: %s", name, slv_strerror(ret->status))
               : 0;
}

int slv_store_key_open(const char *given, bool show, struct slv_key **ret, struct slv_err *err) {
    struct slv_buf path;
    slv_buf_init(&path, PATH_MAX_BYTES);
    int rc = slv_store_keys_path(given, SLV_STORE_DEVICE_KEY, &path, err);
    if (!rc) rc = slv_key_open(path.data, show, ret, err);
    slv_buf_fini(&path);
    return rc;
}

/* The device's own keys, where it has any. */
static int add_own(const char *key, struct slv_pubs *s, struct slv_err *err) {
    struct slv_key *k = NULL;
    struct slv_err why = {0};
    int rc = slv_store_key_open(key, true, &k, &why);
    if (rc == SLV_E_NOENT && !key) return 0;
    for (size_t i = 0; !rc && i < slv_key_pubs(k)->n; i++)
        if ((rc = slv_pubs_add(s, &slv_key_pubs(k)->v[i])))
            slv_err_set(&why, rc, "%s", slv_strerror(rc));
    slv_key_close(k);
    return rc ? slv_err_set(err, rc, "%s", why.msg) : 0;
}

static int add_trusted(const char *key, struct slv_pubs *s, struct slv_err *err) {
    struct slv_buf folder;
    slv_buf_init(&folder, PATH_MAX_BYTES);
    int rc = slv_store_keys_path(NULL, SLV_STORE_TRUSTED, &folder, err);
    if (!rc) rc = slv_pubs_read_folder(s, folder.data, err);
    if (!rc) rc = add_own(key, s, err);
    slv_buf_fini(&folder);
    return rc;
}

static int one_of_trusted(const char *id, const char *key, struct slv_pub *ret,
                          struct slv_err *err) {
    struct slv_pubs all = {0};
    int rc = add_trusted(key, &all, err);
    const struct slv_pub *p = rc ? NULL : slv_pubs_find(&all, id);
    if (p) *ret = *p;
    else if (!rc)
        rc = slv_err_set(err, SLV_E_TRUST,
                         "%s: no trusted key has this id: 'selvage key trust FILE' adds one", id);
    slv_pubs_fini(&all);
    return rc;
}

static bool is_id(const char *pub) { return slv_keyid_valid(pub) && access(pub, F_OK); }

int slv_store_pubs(const char *pub, const char *key, struct slv_pubs *s, struct slv_err *err) {
    struct slv_pub p;
    int rc;
    if (!pub) rc = add_trusted(key, s, err);
    else if (!is_id(pub)) rc = slv_pubs_read_file(s, pub, err);
    else {
        rc = one_of_trusted(pub, key, &p, err);
        if (!rc && (rc = slv_pubs_add(s, &p))) slv_err_set(err, rc, "%s", slv_strerror(rc));
    }
    if (rc) slv_pubs_fini(s);
    return rc;
}

int slv_store_pub(const char *pub, const char *key, struct slv_pub *ret, struct slv_err *err) {
    struct slv_pubs s = {0};
    if (is_id(pub)) return one_of_trusted(pub, key, ret, err);
    int rc = slv_pubs_read_file(&s, pub, err);
    if (!rc) *ret = s.v[s.n - 1];
    slv_pubs_fini(&s);
    return rc;
}
