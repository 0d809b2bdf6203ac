/* transport_gate.c: how much a source may begin: see transport_int.h.
 *
 * A table of fixed size without lists: a source has the place that a keyed hash gives it, with
 * whoever else is there. So nothing grows with the number of sources, and who wants to share a
 * place with somebody cannot tell from which address. */
#include "mesh/transport_int.h"

#include <sodium.h>

#define TOKEN 1000u

void transport_gates_init(struct gates *g, uint32_t most, uint32_t rate) {
    randombytes_buf(g->key, sizeof g->key);
    g->most = most;
    g->rate = rate;
    for (size_t i = 0; i < GATES; i++)
        g->gate[i] = (struct gate){.tokens = 2 * rate * TOKEN};
}

struct gate *transport_gate_of(struct gates *g, const struct address *from) {
    uint8_t source[9], hash[crypto_shorthash_BYTES];
    size_t n;
    uint32_t h;
    transport_address_source(from, source, &n);
    crypto_shorthash(hash, source, n, g->key);
    memcpy(&h, hash, sizeof h);
    return &g->gate[h & (GATES - 1)];
}

static uint32_t tokens_at(const struct gates *g, const struct gate *x, uint64_t now) {
    const uint32_t most = 2 * g->rate * TOKEN;
    const uint64_t ms = (now - x->at) / MS;
    if (ms > 2 * TOKEN) return most;
    const uint64_t v = x->tokens + ms * g->rate;
    return v < most ? (uint32_t)v : most;
}

bool transport_gate_open(const struct gates *g, const struct gate *x, uint64_t now) {
    return x->half_open < g->most && tokens_at(g, x, now) >= TOKEN;
}

void transport_gate_enter(const struct gates *g, struct gate *x, uint64_t now) {
    x->tokens = tokens_at(g, x, now) - TOKEN;
    x->at = now;
    x->half_open++;
}

void transport_gate_leave(struct gate *x) { x->half_open--; }
