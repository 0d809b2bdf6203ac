/* adapters.c: see adapters.h. */
#include "cli/adapters.h"
#include "base/err.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 4096

static int open_one(struct slv_model *m, const char *word, struct slv_adapter_use *ret,
                    struct slv_err *err) {
    char path[PATH_BYTES], *end = NULL;
    struct slv_adapter *a = NULL;
    const char *colon = strrchr(word, ':');
    size_t n = strlen(word);
    float scale = 1.0f;
    if (colon && colon != word && colon[1]) {
        float x = strtof(colon + 1, &end);
        if (!*end && isfinite(x)) {
            scale = x;
            n = (size_t)(colon - word);
        }
    }
    if (!n || n >= sizeof path) return slv_err_set(err, SLV_E_USAGE, "--adapter: no file's name");
    memcpy(path, word, n);
    path[n] = '\0';
    int rc = slv_adapter_open(m, path, &a, err);
    if (!rc) *ret = (struct slv_adapter_use){a, scale};
    return rc;
}

int slv_cli_adapters_open(struct slv_model *m, const char *const *words, size_t n,
                          struct slv_cli_adapters *ret, struct slv_err *err) {
    struct slv_cli_adapters a = {.n = 0};
    if (n > SLV_ADAPTERS_MAX)
        return slv_err_set(err, SLV_E_USAGE, "--adapter: %zu of them, the limit is %u", n,
                           SLV_ADAPTERS_MAX);
    int rc = 0;
    for (; a.n < n && !rc; a.n += !rc)
        rc = open_one(m, words[a.n], &a.use[a.n], err);
    if (rc) slv_cli_adapters_close(&a);
    else *ret = a;
    return rc;
}

void slv_cli_adapters_close(struct slv_cli_adapters *a) {
    for (size_t i = 0; i < a->n; i++)
        slv_adapter_close((struct slv_adapter *)(uintptr_t)a->use[i].adapter);
    a->n = 0;
}
