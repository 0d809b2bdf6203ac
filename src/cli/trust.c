/* trust.c: see trust.h. */
#include "cli/trust.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

const char *slv_cli_time(uint64_t seconds, char out[SLV_CLI_TIME_MAX]) {
    time_t t = (time_t)seconds;
    struct tm tm;
    snprintf(out, SLV_CLI_TIME_MAX, "-");
    if (seconds <= INT32_MAX * UINT64_C(64) && gmtime_r(&t, &tm))
        strftime(out, SLV_CLI_TIME_MAX, "%Y-%m-%d %H:%M:%S UTC", &tm);
    return out;
}

void slv_cli_pub_json(const struct slv_pub *p, struct slv_json *j) {
    char hex[SLV_HEX(SLV_PUB_BYTES)];
    slv_hex_write(p->key, sizeof p->key, hex);
    slv_json_str(j, "id", p->id);
    slv_json_str(j, "public", hex);
    slv_json_uint(j, "created", p->created);
}
