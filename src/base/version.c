/* version.c: the one number that the build gives the library. */
#include "selvage.h"

#include "config.h"

const char *slv_version(void) { return SLV_VERSION; }
