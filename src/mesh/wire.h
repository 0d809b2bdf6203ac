/* wire.h: numbers and bytes of a message, read without trust and written in one way only.
 *
 * A number is written in groups of seven bits, the lowest first, the top bit of a byte saying that
 * another follows (LEB128), in as few bytes as it needs: one that is longer is refused, so that
 * equal values have equal bytes. A reader never passes its end; its first failure stays, and what
 * is read after it is zero and empty, so that a run of reads needs one check. Threads: one.
 */
#ifndef SLV_MESH_WIRE_H
#define SLV_MESH_WIRE_H

#include "base/buf.h"
#include "base/str.h"

#include <stdint.h>

struct slv_reader {
    const uint8_t *p, *end;
    bool bad;
};

static inline struct slv_reader slv_reader_of(const void *p, size_t n) {
    return (struct slv_reader){p, (const uint8_t *)p + n, false};
}

static inline size_t slv_reader_left(const struct slv_reader *r) {
    return r->bad ? 0 : (size_t)(r->end - r->p);
}

/* Whether all was read, and nothing was wrong. */
static inline bool slv_reader_done(const struct slv_reader *r) { return !r->bad && r->p == r->end; }

/* A number of at most `most`. */
uint64_t slv_read_number(struct slv_reader *r, uint64_t most);

/* n bytes, borrowed from the message. */
struct slv_str slv_read_raw(struct slv_reader *r, size_t n);

/* Bytes behind their length, of at most `most`. */
struct slv_str slv_read_bytes(struct slv_reader *r, size_t most);

/* Eight bytes, the highest first: their order is that of the numbers. */
uint64_t slv_read_id(struct slv_reader *r);

/* Each appends to b; its status says whether there was room. */
void slv_write_number(struct slv_buf *b, uint64_t v);
void slv_write_bytes(struct slv_buf *b, const void *p, size_t n);
void slv_write_id(struct slv_buf *b, uint64_t v);

/* Bytes that slv_write_number takes: 1 to 10. */
size_t slv_number_bytes(uint64_t v);

/* base64url (RFC 4648, 5) without padding, as people carry it from node to node; one text for each
 * content. to[0..*ret_n), of at most `most` bytes. False: it is none, or longer. */
bool slv_base64_read(struct slv_str text, void *to, size_t most, size_t *ret_n);

#endif
