/* pack.c: makes the dictionary of mesh/pack.h, and measures what packing saves.
 *
 *     train    of the messages of traffic.h, from one half of its words: the first 1,024 bytes of
 *              each, as a dictionary helps with those
 *     measure  the same of the other half, with other keys, nodes and signatures: for each type and
 *              way bytes before and after, and the time of a message
 *
 * usage: pack train BYTES FILE | measure      the second prints a table
 * src/mesh/pack.dict is what `train 4096` makes with libzstd 1.5.4; another may make another. */
#include "base/mem.h"
#include "mesh/pack.h"
#include "traffic.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zdict.h>

#define SAMPLE ((size_t)1024)
#define SAMPLES_MAX ((size_t)1 << 16)
#define DICT_MAX ((size_t)1 << 16)

static const enum slv_mesh_type types[] = {SLV_TYPE_LAST, SLV_TYPE_SET, SLV_TYPE_COUNTER,
                                           SLV_TYPE_TEXT, SLV_TYPE_DOC};
#define TYPES (sizeof types / sizeof *types)

static void must(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "pack: %s\n", what);
    exit(1);
}

/* Few writes and many, one by one and ten at once. */
static void make(enum slv_mesh_type type, unsigned words, unsigned turns,
                 void (*message)(void *ctx, enum traffic_way way, struct slv_str bytes),
                 void *ctx) {
    static const unsigned writes[] = {40, 150, 300}, at_once[] = {1, 1, 10};
    for (unsigned i = 0; i < turns; i++) {
        const struct traffic t = {.type = type,
                                  .seed = 1000 * words + 10 * (unsigned)type + i,
                                  .writes = writes[i % 3],
                                  .at_once = at_once[i % 3],
                                  .words = words,
                                  .message = message,
                                  .ctx = ctx};
        traffic_make(&t);
    }
}

/* --- the dictionary --------------------------------------------------------------------------- */

struct samples {
    struct slv_buf bytes;
    size_t size[SAMPLES_MAX], n, writes;
};

/* Pushed writes are many, and short: one of eight. */
static void take_sample(void *ctx, enum traffic_way way, struct slv_str m) {
    struct samples *s = ctx;
    if (way == TRAFFIC_WRITE && s->writes++ % 8) return;
    must(s->n < SAMPLES_MAX, "too many messages");
    s->size[s->n] = m.n < SAMPLE ? m.n : SAMPLE;
    slv_buf_add(&s->bytes, m.p, s->size[s->n++]);
}

/* Its id is behind its magic number, the lowest byte first. */
static void set_id(uint8_t *dict) {
    for (int i = 0; i < 4; i++)
        dict[4 + i] = (uint8_t)(SLV_PACK_DICT >> 8 * i);
}

static void train(size_t most, const char *path) {
    static struct samples s;
    static uint8_t dict[DICT_MAX];
    must(most <= DICT_MAX, "so large a dictionary is not made");
    slv_buf_init(&s.bytes, (size_t)256 << 20);
    for (size_t i = 0; i < TYPES; i++)
        make(types[i], 0, 6, take_sample, &s);
    must(!s.bytes.status, "out of memory");
    const size_t n = ZDICT_trainFromBuffer(dict, most, s.bytes.data, s.size, (unsigned)s.n);
    must(!ZDICT_isError(n), "the trainer fails");
    set_id(dict);
    FILE *f = fopen(path, "wb");
    must(f && fwrite(dict, 1, n, f) == n && !fclose(f), "cannot write");
    printf("%zu bytes of %zu messages\n", n, s.n);
    slv_buf_fini(&s.bytes);
}

/* --- what it saves ---------------------------------------------------------------------------- */

struct way {
    size_t n, n_packed, plain, packed;
    double pack_s, unpack_s;
};
struct measure {
    struct slv_packer *p;
    struct way way[TRAFFIC_WAYS];
};

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void measure_message(void *ctx, enum traffic_way way, struct slv_str m) {
    struct measure *all = ctx;
    struct way *w = &all->way[way];
    struct slv_str back = {"", 0};
    const double start = seconds();
    const struct slv_str packed = slv_pack(all->p, m);
    const double between = seconds();
    if (packed.p != m.p) must(!slv_unpack(all->p, packed, &back), "it does not come back");
    w->unpack_s += packed.p != m.p ? seconds() - between : 0;
    w->pack_s += between - start;
    w->n++;
    w->n_packed += packed.p != m.p;
    w->plain += m.n;
    w->packed += packed.n;
    must(packed.p == m.p || (back.n == m.n && !memcmp(back.p, m.p, m.n)), "it comes back bent");
}

static void measure(void) {
    static const char *const names[] = {"write", "log", "ranges", "few"};
    printf("%-8s %-7s %8s %7s %9s %9s %6s %9s %9s\n", "type", "by", "messages", "packed", "bytes",
           "after", "ratio", "us/pack", "us/unpack");
    for (size_t i = 0; i < TYPES; i++) {
        struct measure m = {0};
        must(!slv_packer_open(&m.p), "out of memory");
        make(types[i], 1, 3, measure_message, &m);
        for (size_t k = 0; k < TRAFFIC_WAYS; k++) {
            const struct way *w = &m.way[k];
            printf("%-8s %-7s %8zu %7zu %9zu %9zu %6.3f %9.1f %9.1f\n",
                   slv_mesh_type_name(types[i]), names[k], w->n, w->n_packed, w->plain, w->packed,
                   (double)w->packed / (double)w->plain, w->pack_s / (double)w->n * 1e6,
                   w->n_packed ? w->unpack_s / (double)w->n_packed * 1e6 : 0);
        }
        slv_packer_close(m.p);
    }
}

int main(int argc, char **argv) {
    if (sodium_init() < 0) return 1;
    if (argc == 4 && !strcmp(argv[1], "train")) train(strtoul(argv[2], NULL, 10), argv[3]);
    else if (argc == 2 && !strcmp(argv[1], "measure")) measure();
    else return 2;
    return 0;
}
