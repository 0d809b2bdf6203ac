/* names.h: where a node's peers are, whom it was told of as HOST:PORT. A name is looked up by a
 * thread of its own, as the system's resolver waits for seconds and the loop of a node must not:
 *
 *     loop    is it wanted? --> thread: getaddrinfo --> conf.told, on the loop
 *                ^                                        |
 *                '--------- after 5 s, 10 s .. 60 s ------'
 *
 * for as long as conf.is_wanted says so: a machine may start before its DNS, and a name may be
 * another address later. What a name was last found to be stays while it is not found. Numbers are
 * what they are, and need no thread.
 *
 * Threads: one calls, the loop's; a second one looks up. It may still wait for the resolver when
 * slv_names_close returns, holds nothing but its own memory then, and ends by itself.
 */
#ifndef SLV_MESH_NAMES_H
#define SLV_MESH_NAMES_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define SLV_NAMES_MAX 64u
#define SLV_NAMES_ADDRESSES_MAX 4u /* of a name */

struct event_base;
struct slv_names;

struct slv_names_conf {
    struct event_base *base;
    /* Whether the i-th is to be looked up now. */
    bool (*is_wanted)(void *ctx, size_t i);
    /* The i-th has other addresses than before (why: NULL), or is not found: said once, until it
     * is. */
    void (*told)(void *ctx, size_t i, const char *why);
    void *ctx;
};

/* Whether a text is HOST:PORT or [HOST]:PORT, with a port of 1 to 65535. is_number: and HOST an
 * address. Threads: any. */
bool slv_names_is_place(const char *text, bool is_number);

/* SLV_E_NOMEM. */
int slv_names_open(const struct slv_names_conf *conf, struct slv_names **ret,
                   struct slv_err *err) SLV_MUST_USE;
void slv_names_close(struct slv_names *n);

/* The next, from 0 on: borrowed until the close. SLV_E_USAGE: it is no place; SLV_E_LIMIT,
 * SLV_E_NOMEM. */
int slv_names_add(struct slv_names *n, const char *text, struct slv_err *err) SLV_MUST_USE;

/* "ADDRESS:PORT", in numbers, at most `most`; how many. Borrowed until conf.told is called. */
size_t slv_names_get(const struct slv_names *n, size_t i, const char **ret, size_t most);

#endif
