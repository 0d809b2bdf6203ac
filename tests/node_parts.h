/* node_parts.h: what tests of nodes without sockets share: a clock that a test moves, random
 * numbers, and an authority that signs statements. Each is a program of its own. */
#ifndef SLV_TESTS_NODE_PARTS_H
#define SLV_TESTS_NODE_PARTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/node_int.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static uint64_t now_ms, random_state;
static uint8_t authority[SLV_ROSTER_KEY], secret[crypto_sign_SECRETKEYBYTES];

static uint64_t clock_ns(void *ctx) {
    (void)ctx;
    return (now_ms + 1000000) * MS;
}

/* The clock on the wall may be wrong. */
static uint64_t ahead_ms;
static uint64_t wall_ns(void *ctx) { return clock_ns(ctx) + ahead_ms * MS; }
static const struct slv_clock clock_of_test = {clock_ns, wall_ns, NULL};

static uint64_t random_of(void *ctx) {
    (void)ctx;
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state ^ random_state >> 29;
}

static uint64_t id_of(void *ctx, const uint8_t key[SLV_ROSTER_KEY]) {
    uint64_t id;
    (void)ctx;
    memcpy(&id, key, sizeof id);
    return id;
}

static bool verify(void *ctx, const uint8_t key[SLV_ROSTER_KEY], struct slv_str bytes,
                   const uint8_t sig[SLV_ROSTER_SIG]) {
    (void)ctx;
    return !crypto_sign_verify_detached(sig, (const uint8_t *)bytes.p, bytes.n, key);
}

static struct slv_roster_conf roster = {
    .mesh = {"floor", 5}, .has_authority = true, .verify = verify, .id_of = id_of};

/* The keys of a node with this number; of the authority. */
static void make_key(uint8_t number, uint8_t key[SLV_ROSTER_KEY],
                     uint8_t own[crypto_sign_SECRETKEYBYTES]) {
    const uint8_t seed[crypto_sign_SEEDBYTES] = {number};
    crypto_sign_seed_keypair(key, own, seed);
}

static int make_authority(void **unused) {
    (void)unused;
    if (sodium_init() < 0) return -1;
    make_key(99, authority, secret);
    memcpy(roster.authority, authority, sizeof authority);
    return 0;
}

/* As the authority signs it; the caller ends the buffer. */
static void sign_statement(const struct slv_statement *s, struct slv_buf *b) {
    uint8_t sig[SLV_ROSTER_SIG];
    struct slv_buf m;
    slv_buf_init(b, 65536);
    slv_buf_init(&m, 65536);
    assert_int_equal(slv_statement_write(s, b), 0);
    slv_statement_signed(roster.mesh, (struct slv_str){b->data, b->len}, &m);
    crypto_sign_detached(sig, NULL, (const uint8_t *)m.data, m.len, secret);
    slv_buf_add(b, sig, sizeof sig);
    slv_buf_fini(&m);
}

#endif
