/* matcher.h: how far a text has come as a value of a schema, or a text of a grammar, byte by byte.
 *
 * The text is compact JSON: no space outside of strings, no escape that is not needed, members in
 * the schema's order (unless any order is asked for), free members last. A matcher holds all ways
 * in which the bytes so far begin a value (threads); each is a place in a terminal (a string, a
 * number, a key) and a stack of open objects and arrays, whose frames are shared and never changed.
 * A byte is taken only if it leaves a way that can be completed: a text that was taken can always
 * be finished (with SLV_MATCH_READ but for items that must differ, whose members may come in any
 * order).
 *
 * A text of a grammar is held the same way: its ways are places in a terminal, or in a value, and
 * a stack of rules. It may have tokens in it that are no text.
 *
 * What must differ from what came before is compared as it is written: free keys of an object,
 * items of an array with uniqueItems. A way whose every completion would repeat one of these is
 * dead, and found so by walking along what it may repeat.
 *
 * Threads: one at a time for all matchers of a schema (its languages grow while they are
 * walked). */
#ifndef SLV_ENGINE_CONSTRAINT_MATCHER_H
#define SLV_ENGINE_CONSTRAINT_MATCHER_H

#include "engine/constraint/shape.h"
#include "engine/constraint/string.h"

#define SLV_MAX_THREADS 512u
#define SLV_MATCHER_MAX_BYTES ((size_t)64 << 20)

enum slv_matcher_flags {
    SLV_MATCH_READ = 1 /* values of others: members in any order, numbers with more digits */
};

struct slv_matcher;

/* At the beginning of a value. Borrows the schema. SLV_E_NOMEM. */
int slv_matcher_open(struct slv_schema *s, unsigned flags, struct slv_matcher **ret) SLV_MUST_USE;
struct slv_grammar;
/* At the beginning of a text of the grammar, which is borrowed. SLV_E_NOMEM, SLV_E_LIMIT. */
int slv_matcher_open_grammar(struct slv_grammar *g, struct slv_matcher **ret) SLV_MUST_USE;
void slv_matcher_close(struct slv_matcher *m);
/* Back to the beginning. */
void slv_matcher_reset(struct slv_matcher *m);

/* Takes bytes as far as they fit; returns how many. */
size_t slv_matcher_feed(struct slv_matcher *m, const char *s, size_t n);
/* Takes a token that the grammar names; false: it cannot come here. */
bool slv_matcher_feed_token(struct slv_matcher *m, int32_t id);
/* Whether a whole value was read (more may follow only if it is a number), or a whole text. */
bool slv_matcher_done(const struct slv_matcher *m);
/* Whether, moreover, nothing may follow. */
bool slv_matcher_ended(const struct slv_matcher *m);
/* Why it takes nothing any more though it should: SLV_E_LIMIT, SLV_E_NOMEM; 0. */
int slv_matcher_status(const struct slv_matcher *m);

/* A place to come back to: feed, then rewind. Marks nest. */
struct slv_mark {
    size_t thread0, threads, bytes, chunk, used;
};
struct slv_mark slv_matcher_mark(struct slv_matcher *m);
void slv_matcher_rewind(struct slv_matcher *m, const struct slv_mark *to);
/* The current ways, numbered from 0. Whether one is inside a string (*ret_key: a free key), and
 * goes on by that string's language alone until it closes. */
size_t slv_matcher_ways(const struct slv_matcher *m);
bool slv_matcher_string(const struct slv_matcher *m, size_t way, struct slv_string_at *ret,
                        bool *ret_key);
/* For a way in a string: how that would have to go on, its closing quote included, to become a
 * key that is listed or there already, or to begin an item that is there already. */
void slv_matcher_taken(const struct slv_matcher *m, size_t way,
                       void (*f)(void *ctx, const char *rest, size_t n), void *ctx);
/* Whether an item that is there already passes: a caller that leaves such strings out
 * itself, by slv_matcher_taken, sets it for that time and takes it back. */
void slv_matcher_may_repeat(struct slv_matcher *m, bool may);
/* After a mark: only the ways are left that keep[] says; returns how many. */
size_t slv_matcher_focus(struct slv_matcher *m, const bool *keep);
/* After a mark, all ways being in strings: their closing quote, as if each might end here. */
bool slv_matcher_close_string(struct slv_matcher *m);

/* Before a member's value: where the member stands in the schema's order, counted from 1; free
 * ones come last. */
uint32_t slv_matcher_order(const struct slv_matcher *m);

/* Takes one byte after the last mark, which stays valid; false: nothing has changed. */
bool slv_matcher_try(struct slv_matcher *m, unsigned char c);
/* The same with a token that the grammar names. */
bool slv_matcher_try_token(struct slv_matcher *m, int32_t id);
/* Whether a way is in a terminal, and goes on by that one's language until it may end. */
bool slv_matcher_text(const struct slv_matcher *m, size_t way, struct slv_string_at *ret);
/* Whether a way waits for a token that is named. */
bool slv_matcher_token(const struct slv_matcher *m, size_t way, int32_t *ret);

#endif
