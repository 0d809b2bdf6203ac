/* console_files.h: the files of console/, which tools/embed.py puts into the program. */
#ifndef SLV_SERVE_CONSOLE_FILES_H
#define SLV_SERVE_CONSOLE_FILES_H

#include <stddef.h>

struct console_file {
    const char *path; /* behind "/console": "", "/console.js" */
    const char *type;
    const unsigned char *data;
    size_t n;
};
extern const struct console_file console_files[];
extern const size_t n_console_files;

#endif
