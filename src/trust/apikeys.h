/* apikeys.h: API keys: who may use the server, and how much.
 *
 * The file is JSON, for people to read and to edit:
 *
 *     {"version":1,"keys":[
 *       {"id":"5f0c3a9e12b4d687","name":"alice","hash":"(64 digits)","created":1764332628,
 *        "not_after":1795868628,"revoked":0,"admin":false,"priority":0,
 *        "models":["smollm2:135m-instruct"],"adapters":[],
 *        "limits":{"tokens_per_minute":0,"requests_per_minute":60,"context":4096,"sessions":2}}]}
 *
 * The token itself, "slv_" and 32 random bytes in base64url, is shown once and kept nowhere: the
 * hash is BLAKE2b-256 of it. A token has 256 random bits, so its hash needs no salt and no
 * slowness. Tokens are found by their hash in a table, whose slots say nothing of a token to who
 * measures time, and the whole hashes are compared in constant time.
 *
 * A key that is revoked stays in the file, so that an audit log's ids can still be told. */
#ifndef SLV_TRUST_APIKEYS_H
#define SLV_TRUST_APIKEYS_H

#include "base/buf.h"
#include "base/err.h"

#define SLV_APIKEY_ID 17    /* 16 digits and a NUL */
#define SLV_APIKEY_TOKEN 48 /* "slv_", 43 characters and a NUL */
#define SLV_APIKEY_HASH 32
#define SLV_APIKEY_NAME_MAX 100
#define SLV_APIKEYS_MAX 10000
#define SLV_APIKEY_NAMES_MAX 1000 /* models or adapters of one key */
#define SLV_APIKEYS_FILE_MAX ((size_t)64 << 20)

struct slv_apikey_names {
    const char *const *v;
    size_t n;
};

/* Zero is no limit, everywhere. */
struct slv_apikey {
    char id[SLV_APIKEY_ID];
    const char *name;
    uint8_t hash[SLV_APIKEY_HASH];
    uint64_t created;   /* seconds since 1970 */
    uint64_t not_after; /* its last second */
    uint64_t revoked;   /* when; 0: it is not */
    bool admin;
    int64_t priority;                         /* higher goes first; -100 to 100 */
    struct slv_apikey_names models, adapters; /* that it may use; none: all */
    uint64_t tokens_per_minute, requests_per_minute, context, sessions;
};

/* The keys of one file, in memory. Threads: any. */
struct slv_apikeys;

/* SLV_E_NOENT, SLV_E_FORMAT "PATH: key 3: WHY", SLV_E_TRUST: others may write to the file;
 * SLV_E_LIMIT, SLV_E_IO, SLV_E_NOMEM. */
int slv_apikeys_open(const char *path, struct slv_apikeys **ret, struct slv_err *err) SLV_MUST_USE;
/* All keys that were found must have been put back. */
void slv_apikeys_close(struct slv_apikeys *k);

/* Reads the file again if it is another one than before; *ret_changed (may be NULL) says so. After
 * an error the keys are those of before. As slv_apikeys_open. */
int slv_apikeys_reload(struct slv_apikeys *k, bool *ret_changed, struct slv_err *err) SLV_MUST_USE;

/* The key of a token of n bytes, at the time `now` (seconds since 1970). It stays as it is until
 * slv_apikey_put, whatever is reloaded. SLV_E_TRUST without a key: no such token, revoked, expired;
 * the message says which, for the log and not for who asked. Costs a hash and a look, however many
 * keys there are. */
int slv_apikeys_find(struct slv_apikeys *k, const char *token, size_t n, uint64_t now,
                     const struct slv_apikey **ret, struct slv_err *err) SLV_MUST_USE;
/* NULL is none. */
void slv_apikey_put(const struct slv_apikey *key);

/* The i-th key of the file as it is now, for slv_apikey_put; NULL: there are not so many. */
const struct slv_apikey *slv_apikeys_get(struct slv_apikeys *k, size_t i);

/* Whether a name is among them, or all are allowed. */
bool slv_apikey_names_allow(const struct slv_apikey_names *names, const char *name);

/* --- changing the file ------------------------------------------------------------------------ */

/* Adds a key; the file is made if it is missing, and replaced whole. name, models, adapters,
 * limits, not_after, priority and admin are taken from `key`, the rest is made. SLV_E_USAGE: the
 * name is taken by a key that is not revoked, or is none; SLV_E_BUSY: another process is changing
 * the file. */
int slv_apikeys_add(const char *path, const struct slv_apikey *key, char ret_id[SLV_APIKEY_ID],
                    char ret_token[SLV_APIKEY_TOKEN], struct slv_err *err) SLV_MUST_USE;

/* Revokes the key of that id, or the one of that name that is not revoked. SLV_E_NOENT. */
int slv_apikeys_revoke(const char *path, const char *id_or_name, char ret_id[SLV_APIKEY_ID],
                       struct slv_err *err) SLV_MUST_USE;

/* Reads the text of such a file; for tests. */
int slv_apikeys_check(const char *text, size_t n, struct slv_err *err) SLV_MUST_USE;

#endif
