/* keys.h: where a store keeps keys: the device's own, those that are trusted, API keys.
 *
 * Each function takes a file that the user named in place of the store's; NULL: the store's, of
 * $SELVAGE_HOME and so on (store.h). */
#ifndef SLV_STORE_KEYS_H
#define SLV_STORE_KEYS_H

#include "base/buf.h"
#include "trust/key.h"

/* Appends `given`, or the store's path of that name. */
#define SLV_STORE_DEVICE_KEY "keys/device.key"
#define SLV_STORE_TRUSTED "keys/trusted"
#define SLV_STORE_API_KEYS "keys/api.json"
int slv_store_keys_path(const char *given, const char *name, struct slv_buf *ret,
                        struct slv_err *err) SLV_MUST_USE;

/* The device key; show as for slv_key_open. */
int slv_store_key_open(const char *given, bool show, struct slv_key **ret,
                       struct slv_err *err) SLV_MUST_USE;

/* Adds to *s those whose signatures count: with `pub` the keys of that file, or the one key of that
 * id among those that are trusted; NULL: all that are trusted. The device's own keys are (`key` as
 * `given` above; none is no error). On failure *s is emptied. */
int slv_store_pubs(const char *pub, const char *key, struct slv_pubs *s,
                   struct slv_err *err) SLV_MUST_USE;

/* One key to seal for: the newest of a file, or the one of that id. */
int slv_store_pub(const char *pub, const char *key, struct slv_pub *ret,
                  struct slv_err *err) SLV_MUST_USE;

#endif
