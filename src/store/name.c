/* name.c: what may be called what, and what a MODEL argument means. Names end up in messages, in
 * records and (as digests) in paths, so they are checked at every door. */
#include "store/store_int.h"
#include "store/hub.h"
#include "trust/seal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORD_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* Letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 96. */
static bool is_word(const char *s, size_t n) {
    return n && n <= 96 && strspn(s, WORD_CHARS) >= 1 && strspn(s, WORD_CHARS "._-") >= n;
}

int slv_store_check_name(const char *s, struct slv_err *err) {
    struct slv_hub_ref ref;
    if (strlen(s) > SLV_STORE_NAME_MAX)
        return slv_err_set(err, SLV_E_USAGE, "name: longer than %d bytes", SLV_STORE_NAME_MAX);
    if (!strncmp(s, "hf:", 3)) return slv_hub_parse(s, &ref, err);
    size_t n = strcspn(s, ":");
    if (!is_word(s, n) || (s[n] && !is_word(s + n + 1, strlen(s + n + 1))))
        return slv_err_set(err, SLV_E_USAGE,
                           "'%s': not a name: NAME or NAME:TAG of letters, digits, '.', '_', '-'",
                           s);
    return 0;
}

bool slv__file_name_ok(const char *s) {
    size_t n = strlen(s);
    if (!n || n > SLV_STORE_FILE_MAX || s[0] == '.') return false;
    for (size_t i = 0; i < n; i++)
        if (s[i] == '/' || (unsigned char)s[i] < 0x20 || s[i] == 0x7f) return false;
    return true;
}

/* "-00002-of-00003.gguf": 20 bytes. */
bool slv__split_name(const char *s, size_t *ret_prefix, unsigned *ret_no, unsigned *ret_n) {
    static const char shape[] = "-ddddd-of-ddddd.gguf";
    size_t len = strlen(s), tail = sizeof shape - 1;
    if (len <= tail) return false;
    const char *t = s + len - tail;
    for (size_t i = 0; i < tail; i++) {
        bool digit = t[i] >= '0' && t[i] <= '9';
        if (shape[i] == 'd' ? !digit : t[i] != shape[i])
            return false; /* 'd' stands in the shape for a digit only */
    }
    unsigned no = (unsigned)strtoul(t + 1, NULL, 10), n = (unsigned)strtoul(t + 10, NULL, 10);
    if (!no || no > n) return false;
    *ret_prefix = len - tail;
    *ret_no = no;
    *ret_n = n;
    return true;
}

int slv__check_magic(int fd, const char *what, struct slv_err *err) {
    char magic[SLV_SEAL_MAGIC_BYTES];
    ssize_t n;
    do {
        n = pread(fd, magic, sizeof magic, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0) return slv_err_set(err, SLV_E_IO, "%s: %s", what, strerror(errno));
    bool sealed = n == sizeof magic && !memcmp(magic, SLV_SEAL_MAGIC, sizeof magic);
    if (!sealed && (n < 4 || memcmp(magic, "GGUF", 4) != 0))
        return slv_err_set(err, SLV_E_FORMAT, "%s: not a GGUF file: it does not begin with GGUF",
                           what);
    return 0;
}

/* --- MODEL arguments -------------------------------------------------------------------------- */

static bool looks_like_path(const char *s) {
    size_t n = strlen(s);
    if (!strncmp(s, "hf:", 3)) return false;
    return strchr(s, '/') || (n > 5 && !strcasecmp(s + n - 5, ".gguf")) || s[0] == '.';
}

static int give_path(const char *s, struct slv_buf *path, struct slv_err *err) {
    struct stat st;
    if (stat(s, &st))
        return slv_err_set(err, errno == ENOENT || errno == ENOTDIR ? SLV_E_NOENT : SLV_E_IO,
                           "%s: %s", s, strerror(errno));
    int rc = slv_buf_adds(path, s);
    return rc ? slv_err_set(err, rc, "%s: %s", s, slv_strerror(rc)) : 0;
}

static int find_stored(struct slv_store *st, const char *name, struct slv_buf *path,
                       struct slv_err *err) {
    struct slv_arena arena;
    struct slv_store_model m;
    if (!st) return slv_err_set(err, SLV_E_NOENT, "%s: there is no store", name);
    slv_arena_init(&arena, 4 * SLV_STORE_RECORD_MAX);
    int rc = slv_store_find(st, name, &arena, &m, err);
    if (!rc) rc = slv_store_path(st, &m, path, err);
    slv_arena_fini(&arena);
    return rc;
}

int slv_store_resolve(struct slv_store *st, const char *model, struct slv_buf *path,
                      struct slv_err *err) {
    struct slv_err own = {0};
    struct stat s;
    const char *name = model ? model : slv_alias_default()->name;
    if (model && looks_like_path(model)) return give_path(model, path, err);
    int rc = find_stored(st, name, path, &own);
    if (rc == SLV_E_NOENT || rc == SLV_E_USAGE) {
        if (model && !stat(model, &s)) return give_path(model, path, err);
        if (!model)
            return slv_err_set(err, SLV_E_NOENT,
                               "no model given, and the default, %s, is not in the store: "
                               "get it with 'selvage pull %s'",
                               name, name);
        if (rc == SLV_E_NOENT && (slv_alias_find(name) || !strncmp(name, "hf:", 3)))
            return slv_err_set(err, rc, "%s: not in the store: get it with 'selvage pull %s'", name,
                               name);
        if (rc == SLV_E_NOENT)
            return slv_err_set(err, rc,
                               "%s: no such file, and not in the store: 'selvage list' shows what "
                               "is there",
                               name);
    }
    return rc ? slv_err_set(err, rc, "%s", own.msg) : 0;
}
