/* trust.h: keys as commands name and show them. */
#ifndef SLV_CLI_TRUST_H
#define SLV_CLI_TRUST_H

#include "base/json.h"
#include "store/keys.h"

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
