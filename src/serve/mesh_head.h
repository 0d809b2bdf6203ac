/* mesh_head.h: the head of a reply of the mesh's node, as far as it matters to who passes it on:
 *
 *     HTTP/1.1 200 OK\r\n
 *     Content-Length: 42\r\n
 *     \r\n
 *
 * and "Selvage-Token: TOKEN", of the letters of base64url.
 *
 * A request in HTTP/1.0 is answered without chunks (RFC 9112, 7.1), so a body has the length that
 * its head says, or ends with the connection. What is not so is no reply. Threads: any. */
#ifndef SLV_SERVE_MESH_HEAD_H
#define SLV_SERVE_MESH_HEAD_H

#include "base/str.h"

#include <stdint.h>

#define SERVE_MESH_HEAD_MAX ((size_t)16384) /* a session's token may be half of it */
#define SERVE_MESH_TOKEN "Selvage-Token"    /* the field it comes in, both ways */

struct serve_mesh_head {
    size_t n;   /* its bytes, with the empty line */
    int status; /* 200 to 599 */
    bool has_size;
    uint64_t size;        /* of the body */
    struct slv_str token; /* of what the answer shows (mesh/token.h); p NULL: none. Borrowed */
};

/* Reads the head at the beginning of p[0..n). 0: it is there; SLV_E_BUSY: not all of it yet;
 * SLV_E_FORMAT: it is none. */
int serve_mesh_head_read(const char *p, size_t n, struct serve_mesh_head *ret);

#endif
