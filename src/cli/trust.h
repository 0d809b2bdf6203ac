/* trust.h: keys as commands name them: the device's own, those that are trusted. */
#ifndef SLV_CLI_TRUST_H
#define SLV_CLI_TRUST_H

#include "base/buf.h"
#include "base/json.h"
#include "trust/key.h"

/* Appends `given`, or the store's path of that name: "keys/device.key", "keys/trusted". */
#define SLV_CLI_DEVICE_KEY "keys/device.key"
#define SLV_CLI_TRUSTED "keys/trusted"
#define SLV_CLI_API_KEYS "keys/api.json"
int slv_cli_trust_path(const char *given, const char *name, struct slv_buf *ret,
                       struct slv_err *err) SLV_MUST_USE;

/* The device key, from `given` or the store. */
int slv_cli_key_open(const char *given, bool show, struct slv_key **ret,
                     struct slv_err *err) SLV_MUST_USE;

/* Whose signatures count: with `pub` the keys of that file, or the one key of that id among those
 * that are trusted; NULL: all that are trusted. The device's own keys are (`key` as above; none is
 * no error). */
int slv_cli_pubs(const char *pub, const char *key, struct slv_pubs *ret,
                 struct slv_err *err) SLV_MUST_USE;

/* One key to seal for: the newest of a file, or the one of that id. */
int slv_cli_pub(const char *pub, const char *key, struct slv_pub *ret,
                struct slv_err *err) SLV_MUST_USE;

/* "2026-11-28 12:23:24 UTC", or "-" for a time that has no such form. */
#define SLV_CLI_TIME_MAX 32
const char *slv_cli_time(uint64_t seconds, char out[SLV_CLI_TIME_MAX]);

/* The members "id", "public" and "created" of an object that is open. */
void slv_cli_pub_json(const struct slv_pub *p, struct slv_json *j);

#define SLV_CLI_KEY_ROW(S)                                                                         \
    {                                                                                              \
        "key", 0, SLV_OPT_STR_AT(S, key),                                                          \
            .arg = "FILE", .help = "the device key; without it keys/device.key in the store"       \
    }

#endif
