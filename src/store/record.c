/* record.c: one JSON file a name, names/<sha256 of the name>.json:
 *
 *     {"version":1, "name":"smollm2:135m-instruct", "source":"hf:OWNER/REPO:FILE",
 *      "added":1760000000, "files":[{"file":"X.gguf", "sha256":"...", "size":98362432}]}
 *
 * The file's own name is a digest so that no name, however odd, can lead outside the folder or
 * clash on a file system that folds case. Records are replaced whole (slv_file_write) and checked
 * like any input when read: somebody may have edited them. */
#include "store/store_int.h"
#include "base/file.h"
#include "base/json.h"
#include "base/json_parse.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

char *slv__record_path(const struct slv_store *st, const char *name) {
    char file[SLV_SHA256_HEX + 8], hex[SLV_SHA256_HEX];
    if (slv_sha256_bytes(name, strlen(name), hex)) return NULL;
    snprintf(file, sizeof file, "%s.json", hex);
    return slv__store_file(st, "names", file);
}

int slv__record_write(struct slv_store *st, const struct slv_store_model *m, struct slv_err *err) {
    struct slv_buf doc;
    struct slv_json j;
    slv_buf_init(&doc, SLV_STORE_RECORD_MAX);
    slv_json_init(&j, &doc);
    slv_json_object(&j, NULL);
    slv_json_int(&j, "version", 1);
    slv_json_str(&j, "name", m->name);
    slv_json_str(&j, "source", m->source);
    slv_json_uint(&j, "added", m->added);
    slv_json_array(&j, "files");
    for (size_t i = 0; i < m->n_files; i++) {
        slv_json_object(&j, NULL);
        slv_json_str(&j, "file", m->files[i].file);
        slv_json_str(&j, "sha256", m->files[i].sha256);
        slv_json_uint(&j, "size", m->files[i].size);
        slv_json_object_end(&j);
    }
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    slv_buf_addc(&doc, '\n');
    char *path = slv__record_path(st, m->name);
    int rc = doc.status ? doc.status : path ? 0 : SLV_E_NOMEM;
    if (rc) slv_err_set(err, rc, "%s: %s", m->name, slv_strerror(rc));
    else rc = slv_file_write(path, doc.data, doc.len, 0644, err);
    slv_mem_free(path);
    slv_buf_fini(&doc);
    return rc;
}

static bool get_uint(const json_t *o, const char *key, uint64_t *ret) {
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0) return false;
    *ret = (uint64_t)json_integer_value(v);
    return true;
}

/* A string without NUL inside, copied into the arena. */
static int get_str(const json_t *o, const char *key, struct slv_arena *arena, const char **ret) {
    const json_t *v = json_object_get(o, key);
    if (!json_is_string(v)) return SLV_E_FORMAT;
    size_t n = json_string_length(v);
    if (strlen(json_string_value(v)) != n) return SLV_E_FORMAT;
    char *s = slv_arena_strndup(arena, json_string_value(v), n);
    if (!s) return SLV_E_NOMEM;
    *ret = s;
    return 0;
}

static int read_file_row(const json_t *row, struct slv_arena *arena, struct slv_store_file *ret) {
    const char *sha = NULL;
    int rc = get_str(row, "file", arena, &ret->file);
    if (!rc) rc = get_str(row, "sha256", arena, &sha);
    if (rc) return rc;
    if (!slv__file_name_ok(ret->file) || !slv_sha256_valid(sha) ||
        !get_uint(row, "size", &ret->size))
        return SLV_E_FORMAT;
    memcpy(ret->sha256, sha, sizeof ret->sha256);
    return 0;
}

static int read_record(const json_t *doc, struct slv_arena *arena, struct slv_store_model *ret) {
    struct slv_store_model m = {0};
    uint64_t version = 0;
    const json_t *files = json_object_get(doc, "files");
    if (!get_uint(doc, "version", &version) || version != 1) return SLV_E_FORMAT;
    int rc = get_str(doc, "name", arena, &m.name);
    if (!rc) rc = get_str(doc, "source", arena, &m.source);
    if (rc) return rc;
    m.n_files = json_array_size(files);
    if (slv_store_check_name(m.name, NULL) || !get_uint(doc, "added", &m.added) || !m.n_files ||
        m.n_files > SLV_STORE_FILES_MAX)
        return SLV_E_FORMAT;
    m.files = slv_arena_calloc(arena, m.n_files, sizeof *m.files);
    if (!m.files) return SLV_E_NOMEM;
    for (size_t i = 0; i < m.n_files; i++) {
        rc = read_file_row(json_array_get(files, i), arena, &m.files[i]);
        if (rc) return rc;
        if (__builtin_add_overflow(m.size, m.files[i].size, &m.size)) return SLV_E_FORMAT;
    }
    *ret = m;
    return 0;
}

int slv__record_read(const char *path, struct slv_arena *arena, struct slv_store_model *ret,
                     struct slv_err *err) {
    struct slv_buf text;
    slv_buf_init(&text, SLV_STORE_RECORD_MAX);
    json_t *doc = NULL;
    int rc = slv_file_read(path, &text, err);
    if (!rc) rc = slv_json_parse(text.data, text.len, path, &doc, err);
    if (!rc) {
        if ((rc = read_record(doc, arena, ret)))
            slv_err_set(err, rc, "%s: %s", path,
                        rc == SLV_E_NOMEM ? "out of memory" : "not a record of the store");
        json_decref(doc);
    }
    slv_buf_fini(&text);
    return rc;
}
