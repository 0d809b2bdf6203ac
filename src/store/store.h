/* store.h: the models on this machine: names, and the files they stand for, kept by digest.
 *
 * A name is NAME or NAME:TAG ("smollm2:135m-instruct"), or a Hugging Face reference as it was
 * pulled ("hf:OWNER/REPO", "hf:OWNER/REPO:FILE"). It stands for one GGUF file or a split set. See
 * store.c for the layout on disk and what a killed process can leave behind. Any number of
 * processes may use a store at once. Threads: one a `struct slv_store`. */
#ifndef SLV_STORE_STORE_H
#define SLV_STORE_STORE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "store/sha256.h"
#include "base/ui.h"

#define SLV_STORE_NAME_MAX 400  /* bytes of a name */
#define SLV_STORE_FILE_MAX 200  /* bytes of a file's own name */
#define SLV_STORE_FILES_MAX 256 /* parts of a split set */
#define SLV_STORE_MODELS_MAX 100000
#define SLV_STORE_SIZE_UNKNOWN UINT64_MAX

/* One file of a model. */
struct slv_store_file {
    const char *file; /* its own name, "X-00001-of-00003.gguf": no '/' */
    char sha256[SLV_SHA256_HEX];
    uint64_t size;
};

/* What a name stands for. All pointers live in the arena it was read into. */
struct slv_store_model {
    const char *name;
    const char *source; /* where it came from: "hf:OWNER/REPO:FILE", or the path of an import */
    uint64_t added;     /* seconds since 1970 */
    struct slv_store_file *files;
    size_t n_files;
    uint64_t size; /* of all files */
};

struct slv_store;

/* home NULL: $SELVAGE_HOME, else $XDG_DATA_HOME/selvage, else ~/.local/share/selvage. Nothing is
 * created before something is stored. SLV_E_USAGE when there is no such folder to name. */
int slv_store_open(const char *home, struct slv_store **ret, struct slv_err *err) SLV_MUST_USE;
void slv_store_close(struct slv_store *st);
const char *slv_store_home(const struct slv_store *st);

/* SLV_E_USAGE with "NAME: WHY" unless s may be a name in the store. */
int slv_store_check_name(const char *s, struct slv_err *err) SLV_MUST_USE;

/* SLV_E_NOENT "NAME: not in the store", SLV_E_FORMAT for a damaged record. */
int slv_store_find(struct slv_store *st, const char *name, struct slv_arena *arena,
                   struct slv_store_model *ret, struct slv_err *err) SLV_MUST_USE;

/* Appends the path under which the model is opened: the blob, or the first part of a split set
 * beside its others. All files must be there with their sizes: SLV_E_IO says which is not. */
int slv_store_path(struct slv_store *st, const struct slv_store_model *m, struct slv_buf *path,
                   struct slv_err *err) SLV_MUST_USE;

/* All models, sorted by name, in the arena. Records that cannot be read are counted in
 * *ret_damaged (may be NULL) and left out. No store yet: none. */
int slv_store_list(struct slv_store *st, struct slv_arena *arena, struct slv_store_model **ret,
                   size_t *ret_n, size_t *ret_damaged, struct slv_err *err) SLV_MUST_USE;

/* The path of what a user calls MODEL: a file or folder, a name in the store, hf:OWNER/REPO[:FILE]
 * that has been pulled, or NULL for the default model. A string with a '/' that is not hf:, or
 * that ends in .gguf, is a path; else the store comes first. st may be NULL: there is none.
 * SLV_E_NOENT says what to do. */
int slv_store_resolve(struct slv_store *st, const char *model, struct slv_buf *path,
                      struct slv_err *err) SLV_MUST_USE;

/* Stores a local file (and, for part 1 of a split set, its other parts) under a name. want_sha256
 * may be NULL; another digest is SLV_E_TRUST and nothing is stored. `link` shares the file by hard
 * link where the file system allows it; otherwise it is cloned (FICLONE) or copied, because a file
 * somebody may still edit in place cannot be part of a store that goes by digest. */
struct slv_store_import {
    const char *path;
    const char *want_sha256;
    const char *source; /* where it is from, for who reads the list; NULL: its path */
    bool link;
    const struct slv_ui *ui;
};
int slv_store_add_file(struct slv_store *st, const char *name, const struct slv_store_import *in,
                       struct slv_err *err) SLV_MUST_USE;

/* Drops a name and every blob that no name refers to. *ret_freed (may be NULL): bytes. */
int slv_store_remove(struct slv_store *st, const char *name, uint64_t *ret_freed,
                     struct slv_err *err) SLV_MUST_USE;

/* Downloads that were begun and not finished: how many and how large. */
struct slv_store_partials {
    size_t n;
    uint64_t bytes;
};
int slv_store_partials(struct slv_store *st, struct slv_store_partials *ret,
                       struct slv_err *err) SLV_MUST_USE;
/* Removes those that no running process is working on; *ret is what was removed. */
int slv_store_clean(struct slv_store *st, struct slv_store_partials *ret,
                    struct slv_err *err) SLV_MUST_USE;

/* Compares a model's files with their digests: reads all of them. SLV_E_TRUST names the bad one. */
int slv_store_verify(struct slv_store *st, const struct slv_store_model *m, const struct slv_ui *ui,
                     struct slv_err *err) SLV_MUST_USE;

#endif
