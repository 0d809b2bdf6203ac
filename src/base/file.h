/* file.h: whole files: mapped for reading, read into memory, replaced atomically. */
#ifndef SLV_BASE_FILE_H
#define SLV_BASE_FILE_H

#include "base/buf.h"
#include "base/err.h"

/* A file mapped read-only. The bytes are valid until slv_map_close. If another process truncates
 * the file meanwhile, reading past its new end is a SIGBUS: model files are replaced by rename,
 * never edited in place. Threads: any number may read. */
struct slv_map {
    const unsigned char *data; /* NULL for an empty file */
    size_t size;
    /* Of device, inode, size and times as they were when the file was opened: whoever finds the
     * same stamp again finds the same bytes. 0: changed so short a time before that a change after
     * it might leave the same times. */
    uint64_t stamp;
};

/* SLV_E_NOENT, SLV_E_IO (also: a folder or a device), with "PATH: WHY". */
int slv_map_open(const char *path, struct slv_map *ret_map, struct slv_err *err) SLV_MUST_USE;
void slv_map_close(struct slv_map *map);

/* Appends the whole file to buf; the buffer's maximum bounds it (SLV_E_LIMIT). "-" is stdin. */
int slv_file_read(const char *path, struct slv_buf *buf, struct slv_err *err) SLV_MUST_USE;

/* Replaces path by n bytes: a temporary file beside it, fsync, rename, fsync of the folder. After a
 * crash at any point the old or the new content is there, whole. mode as for open(2). */
int slv_file_write(const char *path, const void *p, size_t n, unsigned mode,
                   struct slv_err *err) SLV_MUST_USE;

/* Why a file is not this user's alone to write, "others may write to it"; NULL: it is. */
struct stat;
const char *slv_file_foreign(const struct stat *st);

/* A file that takes the place of another one when it is whole, written piece by piece; only its
 * owner may read it. It is PATH.tmp until then, locked: what somebody left there who was killed is
 * begun anew. */
#define SLV_NEWFILE_SUFFIX ".tmp"
struct slv_newfile {
    int fd;
    char *path, *tmp;
};

/* SLV_E_BUSY: another process is writing it. *ret is the caller's, for slv_newfile_close. */
int slv_newfile_open(const char *path, struct slv_newfile *ret, struct slv_err *err) SLV_MUST_USE;
/* n bytes at a place. SLV_E_IO. */
int slv_newfile_write(struct slv_newfile *f, const void *p, size_t n, uint64_t at,
                      struct slv_err *err) SLV_MUST_USE;
/* Makes it appear: fsync, rename, fsync of the folder. */
int slv_newfile_commit(struct slv_newfile *f, struct slv_err *err) SLV_MUST_USE;
/* The same, where nothing has the name yet: SLV_E_USAGE if something has, and it stays. */
int slv_newfile_commit_new(struct slv_newfile *f, struct slv_err *err) SLV_MUST_USE;
/* Without a commit before, nothing stays. */
void slv_newfile_close(struct slv_newfile *f);

/* Makes a folder, and those above it that are missing; mode as for mkdir(2), of those that are
 * made. One that is there is let be. */
int slv_folder_make(const char *path, unsigned mode, struct slv_err *err) SLV_MUST_USE;

/* n bytes at a place of a descriptor, or those there are: *ret_n says how many. false with errno
 * set. */
bool slv_fd_read_at(int fd, void *p, size_t n, uint64_t at, size_t *ret_n) SLV_MUST_USE;

/* All n bytes to a descriptor, however many calls that takes; false with errno set. */
bool slv_fd_write(int fd, const void *p, size_t n) SLV_MUST_USE;

#endif
