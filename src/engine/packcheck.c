/* packcheck.c: see packcheck.h. */
#include "engine/packcheck.h"
#include "base/mem.h"
#include "base/thread.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

enum state { UNKNOWN, BUSY, RIGHT };

struct slv_packcheck {
    struct slv_packfile file;
    slv_packcheck_mend mend;
    void *ctx;
    pthread_mutex_t mending;
    pthread_t ahead;
    bool threaded;       /* `ahead` is to be joined */
    _Atomic bool needed; /* it has to end */
    _Atomic bool bad;
    _Atomic size_t left;     /* pieces that are not RIGHT yet */
    _Atomic uint8_t state[]; /* of each piece */
};

int slv_packcheck_new(struct slv_packfile *file, slv_packcheck_mend mend, void *ctx,
                      struct slv_packcheck **ret) {
    const size_t n = file->n_pieces;
    struct slv_packcheck *c = slv_mem_calloc(1, sizeof *c + n * sizeof c->state[0]);
    if (!c) {
        slv_packfile_close(file);
        return SLV_E_NOMEM;
    }
    c->file = *file;
    c->mend = mend;
    c->ctx = ctx;
    pthread_mutex_init(&c->mending, NULL);
    atomic_store(&c->left, n);
    c->file.id = NULL; /* a check needs none */
    *file = (struct slv_packfile){.fd = -1};
    *ret = c;
    return 0;
}

void slv_packcheck_free(struct slv_packcheck *c) {
    if (!c) return;
    atomic_store(&c->needed, true);
    if (c->threaded) pthread_join(c->ahead, NULL);
    slv_packfile_close(&c->file);
    pthread_mutex_destroy(&c->mending);
    slv_mem_free(c);
}

/* The mapping is private: what is written to it stays here. */
static bool mend(struct slv_packcheck *c, size_t from, size_t to) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), first = from / page * page;
    pthread_mutex_lock(&c->mending);
    atomic_store(&c->bad, true);
    bool ok = !mprotect(c->file.tiles + first, to - first, PROT_READ | PROT_WRITE);
    if (ok) c->mend(c->ctx, from, to);
    pthread_mutex_unlock(&c->mending);
    return ok;
}

/* The piece is BUSY and this thread's. Bad and not mended it is UNKNOWN again: there may be memory
 * another time. */
static bool check(struct slv_packcheck *c, size_t i, bool may_mend) {
    const size_t from = i * SLV_PACK_PIECE, left = c->file.tile_bytes - from;
    const size_t to = from + (left < SLV_PACK_PIECE ? left : SLV_PACK_PIECE);
    bool right = slv_packfile_check(&c->file, i, i + 1) || (may_mend && mend(c, from, to));
    atomic_store_explicit(&c->state[i], right ? RIGHT : UNKNOWN, memory_order_release);
    if (right) atomic_fetch_sub_explicit(&c->left, 1, memory_order_release);
    return right;
}

/* Makes the piece this thread's if it is UNKNOWN; returns what it was. */
static enum state claim(struct slv_packcheck *c, size_t i) {
    uint8_t state = UNKNOWN;
    atomic_compare_exchange_strong_explicit(&c->state[i], &state, BUSY, memory_order_acquire,
                                            memory_order_acquire);
    return (enum state)state;
}

static bool need_piece(struct slv_packcheck *c, size_t i) {
    for (;;) {
        enum state was = claim(c, i);
        if (was == UNKNOWN) return check(c, i, true);
        if (was == RIGHT) return true;
        sched_yield();
    }
}

/* Bad pieces are left to those who need them. */
static void *go_ahead(void *arg) {
    struct slv_packcheck *c = arg;
    for (size_t i = 0; i < c->file.n_pieces && !atomic_load(&c->needed); i++)
        if (claim(c, i) == UNKNOWN) check(c, i, false);
    return NULL;
}

void slv_packcheck_ahead(struct slv_packcheck *c) {
    c->threaded = !slv_thread_start(&c->ahead, go_ahead, c);
}

size_t slv_packcheck_left(const struct slv_packcheck *c) {
    return atomic_load_explicit(&c->left, memory_order_acquire);
}

bool slv_packcheck_need(struct slv_packcheck *c, size_t from, size_t to) {
    bool right = true;
    if (!slv_packcheck_left(c)) return true;
    if (!atomic_load_explicit(&c->needed, memory_order_relaxed)) atomic_store(&c->needed, true);
    for (size_t i = from / SLV_PACK_PIECE; i * SLV_PACK_PIECE < to; i++)
        right &= need_piece(c, i);
    return right;
}

bool slv_packcheck_bad(const struct slv_packcheck *c) { return atomic_load(&c->bad); }
