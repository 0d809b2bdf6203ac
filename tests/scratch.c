/* scratch.c: see scratch.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/file.h"
#include "scratch.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char folder[64];

int scratch_make(void **state) {
    (void)state;
    strcpy(folder, "/tmp/selvage-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

int scratch_drop(void **state) {
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

const char *scratch(const char *name) {
    static char paths[8][200];
    static unsigned next;
    char *p = paths[next++ % 8];
    snprintf(p, sizeof paths[0], "%s/%s", folder, name);
    return p;
}

void scratch_write(const char *path, const void *p, size_t n) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600); /* no fsync: thousands */
    assert_true(fd >= 0 && slv_fd_write(fd, p, n) && !close(fd));
}

char *scratch_read(const char *path, size_t *ret_n) {
    struct slv_buf b;
    slv_buf_init(&b, (size_t)1 << 28);
    assert_int_equal(slv_file_read(path, &b, NULL), 0);
    char *p = malloc(b.len + 1);
    assert_non_null(p);
    memcpy(p, b.data, b.len + 1);
    if (ret_n) *ret_n = b.len;
    slv_buf_fini(&b);
    return p;
}

bool scratch_there(const char *path) { return !access(path, F_OK); }

void scratch_noise(void *p, size_t n, unsigned seed) {
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        ((unsigned char *)p)[i] = (unsigned char)x;
    }
}
