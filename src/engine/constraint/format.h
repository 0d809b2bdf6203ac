/* format.h: the values of JSON Schema's "format" that are enforced. */
#ifndef SLV_ENGINE_CONSTRAINT_FORMAT_H
#define SLV_ENGINE_CONSTRAINT_FORMAT_H

#include "engine/constraint/lang.h"

/* The language of a format's strings; false where the name is not known (it is an annotation then).
 * Every string of it is valid; a few valid ones are left out (leap seconds, quoted local parts of
 * mail addresses, names of hosts of more than ten labels). */
bool slv_format_lang(struct slv_langs *p, const char *name, slv_lang *ret);

#endif
