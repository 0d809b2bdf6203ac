/* hub.h: models on the Hugging Face Hub: references, which file of a repository is meant, and the
 * short names this program knows. Source: the Hub's public HTTP API (tree and resolve). */
#ifndef SLV_STORE_HUB_H
#define SLV_STORE_HUB_H

#include "base/arena.h"
#include "base/err.h"
#include "store/http.h"
#include "store/sha256.h"

/* A short name for one known file. Where its bytes come from does not matter: the digest decides.
 */
struct slv_alias {
    const char *name;
    const char *repo; /* OWNER/REPO */
    const char *file;
    const char *sha256;
    uint64_t size;
    const char *license; /* SPDX */
};

/* NULL if there is none of that name. */
const struct slv_alias *slv_alias_find(const char *name);
/* The model that is meant where none is given. */
const struct slv_alias *slv_alias_default(void);
/* All of them. */
const struct slv_alias *slv_alias_all(size_t *ret_n);

/* hf:OWNER/REPO[:FILE]. FILE is a path in the repository, or a fragment of its name such as
 * Q4_K_M; "" if left out. */
struct slv_hub_ref {
    char repo[200];
    char file[201];
};

/* SLV_E_USAGE "'hf:..': WHY". */
int slv_hub_parse(const char *s, struct slv_hub_ref *ret, struct slv_err *err) SLV_MUST_USE;

/* One file to fetch. */
struct slv_hub_file {
    const char *path;            /* in the repository */
    char sha256[SLV_SHA256_HEX]; /* "" where the Hub does not say (files outside LFS) */
    uint64_t size;
};

/* Asks the Hub for the repository's files and chooses: FILE, if given; else the only GGUF model;
 * else the only one of type Q4_K_M. The parts of a split set are one model, given in order. Several
 * candidates are SLV_E_USAGE with their names. The rows live in the arena. */
int slv_hub_files(struct slv_http *http, const struct slv_hub_ref *ref, struct slv_arena *arena,
                  struct slv_hub_file **ret, size_t *ret_n, struct slv_err *err) SLV_MUST_USE;

/* Appends the URL a file is fetched from. */
int slv_hub_url(const struct slv_http *http, const char *repo, const char *path,
                struct slv_buf *url) SLV_MUST_USE;

#endif
