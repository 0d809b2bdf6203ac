/* scratch.h: a folder for one test's files, and files in it. For cmocka: what fails, asserts. */
#ifndef SLV_TESTS_SCRATCH_H
#define SLV_TESTS_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

/* As setup and teardown of a test. */
int scratch_make(void **state);
int scratch_drop(void **state);

/* The path of a name in it; good until 8 more calls. */
const char *scratch(const char *name);

/* A whole file: written (mode 0600) and read (NUL-terminated, from malloc; *ret_n may be NULL). */
void scratch_write(const char *path, const void *p, size_t n);
char *scratch_read(const char *path, size_t *ret_n);
bool scratch_there(const char *path);

/* n bytes that look like noise and are the same each time. */
void scratch_noise(void *p, size_t n, unsigned seed);

#endif
