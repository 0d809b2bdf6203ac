/* amount.h: bytes and times as people write them. Threads: any. */
#ifndef SLV_BASE_AMOUNT_H
#define SLV_BASE_AMOUNT_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Reads a size such as 4096, 64K, 512M, 1.5G, 1T (an "iB" or "B" may follow the letter). false if
 * it is not one or is past INT64_MAX. */
bool slv_amount_size(const char *s, uint64_t *ret);

/* "90", "90s", "30m", "12h", "7d", at most 3650d: in ms; 0: it is none. */
uint64_t slv_amount_ms(struct slv_str t);
/* The same the other way: in the largest of those units that it is a whole number of; parts of a
 * second are dropped. */
#define SLV_AMOUNT_MS_TEXT 24
const char *slv_amount_ms_text(uint64_t ms, char ret[SLV_AMOUNT_MS_TEXT]);

#endif
