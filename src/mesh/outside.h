/* outside.h: a node that is not let in, and what it says of that: others who refuse it do so
 * without a word, and so all would look well.
 *
 * What there is to go by: members it knows to be alive; associations, as who has no place in the
 * mesh may have one, of a guest; handshakes that were refused; and statements about itself. Looked
 * at once a second; after 10 s outside a line is logged, and again after 1, 2, 4 .. 60 minutes.
 *
 * Peers that are down and peers that answer nothing to a stranger look the same.
 * Threads: one.
 */
#ifndef SLV_MESH_OUTSIDE_H
#define SLV_MESH_OUTSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slv_outside {
    uint64_t next;    /* when it is looked at again */
    uint64_t say_at;  /* when a line is due */
    uint64_t gap;     /* to the one after that */
    uint64_t refused; /* handshakes, up to the last line */
    bool met;         /* there was an association since then */
    bool was_in, said;
    char why[256]; /* what the last line said of it; empty: it is in, or there was none yet */
};

/* As it is now. */
struct slv_outside_look {
    size_t alive;     /* other members */
    size_t connected; /* associations */
    uint64_t refused; /* handshakes, in all */
    bool is_seeking;  /* it was told whom to find */
    bool has_invitation;
    bool is_named, is_revoked, is_tested; /* by statements: is_tested: it must show what it runs */
    const char *key;                      /* its own, in hexadecimal */
};

/* Zero is the beginning. now: ns, monotonic. */
void slv_outside_tick(struct slv_outside *o, uint64_t now, const struct slv_outside_look *look);

#endif
