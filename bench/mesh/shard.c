/* shard.c: what many nodes do together, in virtual time: the simulator's nodes, network and disks
 * (mesh/sim_int.h), with nothing that fails.
 *
 *     spread   one write, every datagram under way for 1 ms: after how many of those it is at all
 *              nodes, and what a node sends for it
 *     heal     two halves of 32 that were cut off from each other for ten minutes and wrote 10,000
 *              keys each, links of 100 Mbit/s: until all hold the same, and what they sent for it
 *     round    what a usual round of comparing takes, with DTLS, and what an idle node sends
 *
 * usage: shard spread NODES... | heal | round      prints a line each */
#include "mesh/sim_int.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOP MS
#define DTLS_BYTES 65u /* of IP, UDP, DTLS, a datagram */
#define SPACE 2u       /* "settings" of the simulator: registers */
#define KEYS 10000u
#define RATE 12500000u /* bytes a second: 100 Mbit/s */

static struct slv_sim_result result;

static void must(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "shard: %s\n", what);
    exit(1);
}

static void open_shard(struct sim *s, unsigned n, unsigned faults) {
    *s = (struct sim){.conf = {.nodes = n}, .result = &result, .random = 7, .now = 1};
    s->faults_end = UINT64_MAX;
    s->faults = faults;
    s->sync_ns = 2 * MS;
    s->log_max = (size_t)64 << 20;
    must(sim_open(s), "out of memory");
    s->net.hop = HOP;
}

static void run_until(struct sim *s, uint64_t at) {
    while (s->n_event && s->event[0].at < at)
        sim_step(s);
    s->now = at;
}

/* All members, as each of them sees it. */
static bool is_whole(const struct sim *s) {
    for (unsigned i = 0; i < s->n; i++) {
        struct slv_swim_counters c = {0};
        const struct slv_node *n = s->node[i].node;
        if (n) slv_swim_count_all(slv_node_swim(n), &c);
        if (c.members[SLV_SWIM_ALIVE] < s->n) return false;
    }
    return true;
}

static void make_whole(struct sim *s, uint64_t most) {
    while (!is_whole(s) && s->now < most)
        run_until(s, s->now + 500 * MS);
    must(is_whole(s), "the members do not all see each other");
}

static void write_key(struct sim_node *n, const char *key, const char *value) {
    struct slv_draft d;
    uint64_t ticket;
    must(!slv_node_draft(n->node, n->space[SPACE], (struct slv_str){key, strlen(key)}, &d),
         "draft");
    must(!slv_draft_assign(&d, (struct slv_str){value, strlen(value)}), "assign");
    must(!slv_node_write(n->node, n->space[SPACE], &d, &ticket), "write");
    slv_draft_close(&d);
}

static uint64_t sent(const struct sim *s) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < s->n; i++) {
        struct slv_node_stats c;
        slv_node_stats(s->node[i].node, &c);
        bytes += c.bytes_sent + DTLS_BYTES * c.datagrams_sent;
    }
    return bytes;
}

static uint64_t pushes(const struct sim *s) {
    uint64_t k = 0;
    for (unsigned i = 0; i < s->n; i++) {
        struct slv_node_stats c;
        slv_node_stats(s->node[i].node, &c);
        k += c.pushed + c.handed_on;
    }
    return k;
}

/* --- a write ---------------------------------------------------------------------------------- */

static bool has(const struct sim_node *n, struct slv_dot dot) {
    return slv_dots_has(&slv_node_read(n->node, n->space[SPACE])->context, dot);
}

static void spread(unsigned n) {
    struct sim s;
    open_shard(&s, n, 0);
    make_whole(&s, 240000 * MS);
    run_until(&s, s.now + 3000 * MS); /* what was told of the last that came has been told */
    struct sim_node *from = &s.node[n / 2];
    const struct slv_dot dot = {
        slv_node_writer(from->node),
        1 + slv_dots_last(&slv_node_read(from->node, from->space[SPACE])->context,
                          slv_node_writer(from->node))};
    const uint64_t durable = slv_node_durable(from->node), before = pushes(&s);
    write_key(from, "k", "a value of some sixteen");
    sim_schedule(from);
    while (slv_node_durable(from->node) == durable)
        sim_step(&s);
    const uint64_t since = s.now;
    unsigned left = n;
    bool *there = slv_mem_calloc(n, sizeof *there);
    must(there != NULL, "out of memory");
    while (left && s.now < since + 5000 * MS) {
        left = 0;
        sim_step(&s);
        for (unsigned i = 0; i < n; i++) {
            there[i] = there[i] || has(&s.node[i], dot);
            left += !there[i];
        }
    }
    must(!left, "it is not everywhere");
    const struct sim_batch *b = &s.batch[s.n_batch - 1];
    printf("spread  %u nodes: everywhere within %" PRIu64
           " round(s); a node sent %.1f of %zu bytes\n",
           n, (uint64_t)((s.now - since + HOP - 1) / HOP), (double)(pushes(&s) - before) / n,
           b->bytes.n + 9 + DTLS_BYTES);
    slv_mem_free(there);
    sim_close(&s);
}

/* --- halves ----------------------------------------------------------------------------------- */

static void write_half(struct sim *s, unsigned from, unsigned to, unsigned k) {
    char key[24];
    const unsigned i = from + k % (to - from);
    snprintf(key, sizeof key, "%c%05u", from ? 'b' : 'a', k);
    write_key(&s->node[i], key, "a value of some sixteen");
    sim_schedule(&s->node[i]);
}

static void heal(unsigned n) {
    struct sim s;
    open_shard(&s, n, SLV_SIM_NARROW);
    s.net.rate = RATE;
    make_whole(&s, 60000 * MS);
    s.net.is_split = true;
    for (unsigned i = 0; i < n; i++)
        s.node[i].group = i >= n / 2;
    const uint64_t step = 600000 * MS / KEYS;
    for (unsigned k = 0; k < KEYS; k++) {
        write_half(&s, 0, n / 2, k);
        write_half(&s, n / 2, n, k);
        run_until(&s, s.now + step);
    }
    s.net.is_split = false;
    for (unsigned i = 0; i < n; i++)
        s.node[i].is_core = true;
    const uint64_t since = s.now, before = sent(&s);
    while (!sim_check_agreed(&s) && s.now < since + 120000 * MS)
        run_until(&s, s.now + 10 * MS);
    must(sim_check_agreed(&s), "they do not agree");
    const double bytes = (double)(sent(&s) - before) / n;
    printf(
        "heal    %u nodes, %u keys on each side: %.2f s; a node sent %.2f MB, which take %.2f s\n",
        n, KEYS, (double)(s.now - since) / 1e9, bytes / 1e6, bytes / RATE);
    sim_close(&s);
}

/* --- rounds ----------------------------------------------------------------------------------- */

static void idle_round(unsigned n) {
    struct sim s;
    struct slv_node_stats c;
    uint64_t rounds = 0;
    open_shard(&s, n, 0);
    make_whole(&s, 60000 * MS);
    run_until(&s, s.now + 10000 * MS);
    for (unsigned i = 0; i < n; i++) {
        slv_node_stats(s.node[i].node, &c);
        rounds -= c.rounds;
    }
    const uint64_t before = sent(&s), since = s.now;
    run_until(&s, s.now + 60000 * MS);
    for (unsigned i = 0; i < n; i++) {
        slv_node_stats(s.node[i].node, &c);
        rounds += c.rounds;
    }
    const double seconds = (double)(s.now - since) / 1e9;
    const size_t sums = 1 + 16 + 1 + SIM_SPACES * (8 + SLV_SUM_BYTES);
    printf("round   %u nodes, %u spaces: %zu bytes of sums, %.2f a second and node; an idle node "
           "sends "
           "%.2f kB/s in all\n",
           n, SIM_SPACES, sums + 13 + DTLS_BYTES, (double)rounds / n / seconds,
           (double)(sent(&s) - before) / n / seconds / 1e3);
    sim_close(&s);
}

int main(int argc, char **argv) {
    if (argc > 2 && !strcmp(argv[1], "spread"))
        for (int i = 2; i < argc; i++)
            spread((unsigned)strtoul(argv[i], NULL, 10));
    else if (argc == 2 && !strcmp(argv[1], "heal")) heal(32);
    else if (argc == 2 && !strcmp(argv[1], "round")) idle_round(32);
    else return 2;
    return 0;
}
