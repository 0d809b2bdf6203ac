/* same.h: whether two compact JSON texts are the same value. */
#ifndef SLV_ENGINE_CONSTRAINT_SAME_H
#define SLV_ENGINE_CONSTRAINT_SAME_H

#include <stdbool.h>
#include <stddef.h>

/* Both are whole values as a matcher takes them where items must differ: no spaces, each string
 * and each number in its one form; members in any order, none twice. */
bool slv_same_value(const char *a, size_t na, const char *b, size_t nb);

#endif
