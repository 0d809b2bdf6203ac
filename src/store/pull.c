/* pull.c: see pull.h. Decides what to fetch (an alias's row, or the Hub's listing), fetches each
 * file into partial/ and keeps all of them locked there until the whole model is committed. */
#include "store/pull.h"
#include "store/download.h"
#include "store/hub.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

struct want {
    const char *repo;
    const struct slv_hub_file *files;
    size_t n;
    struct slv_hub_file one; /* an alias's */
    struct slv_hub_ref ref;
};

static int decide(struct slv_http *http, const char *name, struct slv_arena *arena, struct want *w,
                  struct slv_err *err) {
    const struct slv_alias *a = slv_alias_find(name);
    struct slv_hub_file *files;
    if (a) {
        w->one = (struct slv_hub_file){.path = a->file, .size = a->size};
        memcpy(w->one.sha256, a->sha256, sizeof w->one.sha256);
        w->repo = a->repo;
        w->files = &w->one;
        w->n = 1;
        return 0;
    }
    if (strncmp(name, "hf:", 3))
        return slv_err_set(err, SLV_E_NOENT,
                           "%s: not a name this program knows a source for: use "
                           "hf:OWNER/REPO[:FILE], or 'selvage pull --from FILE %s'",
                           name, name);
    int rc = slv_hub_parse(name, &w->ref, err);
    if (!rc) rc = slv_hub_files(http, &w->ref, arena, &files, &w->n, err);
    if (rc) return rc;
    w->repo = w->ref.repo;
    w->files = files;
    return 0;
}

static int fetch_one(struct slv_store *st, struct slv_http *http, const char *repo,
                     const struct slv_hub_file *f, struct slv_store_staged *ret,
                     uint64_t *ret_bytes, struct slv_err *err) {
    struct slv_buf url;
    const char *slash = strrchr(f->path, '/');
    struct slv_download d = {
        .file = slash ? slash + 1 : f->path, .sha256 = f->sha256, .size = f->size};
    slv_buf_init(&url, 4096);
    int rc = slv_hub_url(http, repo, f->path, &url);
    d.url = url.data;
    if (rc) slv_err_set(err, rc, "%s: URL: %s", f->path, slv_strerror(rc));
    else rc = slv_download(st, http, &d, ret, ret_bytes, err);
    slv_buf_fini(&url);
    return rc;
}

/* Two files of one digest would wait for each other's lock; no split set has two equal parts. */
static int check_distinct(const struct want *w, struct slv_err *err) {
    for (size_t i = 0; i < w->n; i++)
        for (size_t k = 0; k < i; k++)
            if (w->files[i].sha256[0] && !strcmp(w->files[i].sha256, w->files[k].sha256))
                return slv_err_set(err, SLV_E_FORMAT, "hf:%s: %s and %s are the same file", w->repo,
                                   w->files[k].path, w->files[i].path);
    return 0;
}

static int fetch_all(struct slv_store *st, struct slv_http *http, const struct slv_pull *p,
                     const struct want *w, struct slv_pull_result *ret, struct slv_err *err) {
    char source[SLV_STORE_NAME_MAX + 8];
    size_t done = 0;
    int rc = 0;
    struct slv_store_staged *staged = slv_mem_calloc(w->n, sizeof *staged);
    if (!staged) return slv_err_set(err, SLV_E_NOMEM, "%s: out of memory", p->name);
    while (!rc && done < w->n) {
        uint64_t bytes = 0;
        rc = fetch_one(st, http, w->repo, &w->files[done], &staged[done], &bytes, err);
        if (rc) break;
        ret->fetched += bytes;
        ret->pinned = ret->pinned && w->files[done].sha256[0];
        done++;
    }
    snprintf(source, sizeof source, "hf:%s:%s", w->repo, w->files[0].path);
    if (!rc) rc = slv__store_commit(st, p->as ? p->as : p->name, source, staged, done, err);
    for (size_t i = 0; i < done; i++)
        slv__store_staged_fini(&staged[i]);
    slv_mem_free(staged);
    return rc;
}

int slv_pull(struct slv_store *st, const struct slv_pull *p, struct slv_pull_result *ret,
             struct slv_err *err) {
    struct slv_arena arena;
    struct slv_http *http = NULL;
    struct want w = {0};
    struct slv_pull_result r = {.pinned = true};
    int rc = slv_store_check_name(p->as ? p->as : p->name, err);
    if (rc) return rc;
    slv_arena_init(&arena, (size_t)8 << 20);
    rc = slv_http_open(&p->http, &http, err);
    if (!rc) rc = decide(http, p->name, &arena, &w, err);
    if (!rc) rc = check_distinct(&w, err);
    if (!rc) rc = fetch_all(st, http, p, &w, &r, err);
    slv_http_close(http);
    slv_arena_fini(&arena);
    if (!rc) *ret = r;
    return rc;
}
