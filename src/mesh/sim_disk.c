/* sim_disk.c: see sim_int.h. */
#include "mesh/sim_int.h"
#include "base/mem.h"

#define UNDO_MAX 4096u

static uint64_t sum_of(struct slv_str key, struct slv_str value) {
    uint64_t h = 0xcbf29ce484222325u ^ key.n;
    for (size_t i = 0; i < key.n; i++)
        h = (h ^ (uint8_t)key.p[i]) * 0x100000001b3u;
    for (size_t i = 0; i < value.n; i++)
        h = (h ^ (uint8_t)value.p[i]) * 0x100000001b3u;
    return h;
}

static struct slv_str str(const struct sim_bytes *b) { return (struct slv_str){b->p, b->n}; }

static void free_record(struct sim_record *r) {
    slv_mem_free(r->key.p);
    slv_mem_free(r->value.p);
}

static size_t place_of(const struct sim_disk *d, struct slv_str key) {
    size_t lo = 0, hi = d->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (slv_str_compare(str(&d->record[mid].key), key) < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

/* --- putting ---------------------------------------------------------------------------------- */

static int put(struct sim_node *n, struct slv_str key, const struct slv_str *value) {
    struct sim_disk *d = &n->disk;
    struct sim *s = n->sim;
    if (d->full) return SLV_E_IO;
    void *p = d->pending;
    const bool room = sim_room(s, &p, d->n_pending, &d->room_pending, sizeof *d->pending);
    d->pending = p;
    if (!room) return SLV_E_NOMEM;
    struct sim_record r = {.key = sim_dup(s, key)};
    if (value) {
        r.value = sim_dup(s, *value);
        r.sum = sum_of(key, *value);
    }
    d->pending[d->n_pending++] = r;
    return 0;
}

int sim_disk_put(void *ctx, struct slv_str key, struct slv_str value) {
    return put(ctx, key, &value);
}

int sim_disk_del(void *ctx, struct slv_str key) { return put(ctx, key, NULL); }

int sim_disk_commit(void *ctx) {
    struct sim_node *n = ctx;
    struct sim *s = n->sim;
    if (n->disk.full) return SLV_E_IO;
    n->disk.n_committed = n->disk.n_pending;
    sim_push(s, (struct sim_pending){.at = s->now + s->sync_ns / 2 + sim_random(s, s->sync_ns),
                                     .what = SIM_SYNCED,
                                     .to = n->index,
                                     .tag = n->life});
    return 0;
}

/* Keeps what a record was put over. */
static void remember(struct sim *s, struct sim_disk *d, struct sim_record old) {
    void *p = d->undo;
    old.commit = d->commits;
    if (d->n_undo == UNDO_MAX) {
        free_record(&d->undo[0]);
        memmove(d->undo, d->undo + 1, --d->n_undo * sizeof *d->undo);
    }
    const bool room = sim_room(s, &p, d->n_undo, &d->room_undo, sizeof *d->undo);
    d->undo = p;
    if (room) d->undo[d->n_undo++] = old;
    else free_record(&old);
}

/* In the place of the record with its key, if there is one; what was there before, or a record
 * without a value. */
static struct sim_record set(struct sim *s, struct sim_disk *d, struct sim_record r) {
    const size_t i = place_of(d, str(&r.key));
    const bool there = i < d->n && !slv_str_compare(str(&d->record[i].key), str(&r.key));
    struct sim_record old = {0};
    if (there) old = d->record[i];
    else old.key = sim_dup(s, str(&r.key));
    if (there && r.value.p) {
        d->record[i] = r;
    } else if (there) {
        memmove(d->record + i, d->record + i + 1, (d->n - i - 1) * sizeof r);
        d->n--;
        free_record(&r);
    } else if (r.value.p) {
        void *p = d->record;
        const bool room = sim_room(s, &p, d->n, &d->room, sizeof r);
        d->record = p;
        if (!room) {
            free_record(&r);
            return old;
        }
        memmove(d->record + i + 1, d->record + i, (d->n - i) * sizeof r);
        d->record[i] = r;
        d->n++;
    } else {
        free_record(&r);
    }
    return old;
}

void sim_disk_synced(struct sim_node *n) {
    struct sim_disk *d = &n->disk;
    d->commits++;
    for (size_t i = 0; i < d->n_committed; i++)
        remember(n->sim, d, set(n->sim, d, d->pending[i]));
    d->n_pending -= d->n_committed;
    memmove(d->pending, d->pending + d->n_committed, d->n_pending * sizeof *d->pending);
    d->n_committed = 0;
}

/* --- losing ----------------------------------------------------------------------------------- */

void sim_disk_crash(struct sim_node *n) {
    struct sim_disk *d = &n->disk;
    for (size_t i = 0; i < d->n_pending; i++)
        free_record(&d->pending[i]);
    d->n_pending = d->n_committed = 0;
}

/* The last commits, each whole. */
void sim_disk_lie(struct sim_node *n) {
    struct sim_disk *d = &n->disk;
    const uint64_t gone = 1 + sim_random(n->sim, 6);
    while (d->n_undo && d->undo[d->n_undo - 1].commit + gone > d->commits) {
        struct sim_record old = set(n->sim, d, d->undo[--d->n_undo]);
        free_record(&old);
    }
    d->commits -= gone < d->commits ? gone : d->commits;
}

void sim_disk_flip(struct sim_node *n) {
    struct sim_disk *d = &n->disk;
    if (!d->n) return;
    struct sim_bytes *b = &d->record[sim_random(n->sim, d->n)].value;
    if (!b->n) return;
    const uint64_t bit = sim_random(n->sim, 8 * b->n);
    b->p[bit / 8] = (char)(b->p[bit / 8] ^ 1 << bit % 8);
}

void sim_disk_lose(struct sim_node *n) {
    struct sim_disk *d = &n->disk;
    while (d->n)
        free_record(&d->record[--d->n]);
    while (d->n_undo)
        free_record(&d->undo[--d->n_undo]);
}

/* (What is damaged goes with the first transaction, together with what the node makes of it: as
 * long as that can be lost, the damage is seen again.) */
int sim_disk_load(struct sim_node *n, bool *ret_damaged) {
    struct sim_disk *d = &n->disk;
    int rc = 0;
    *ret_damaged = false;
    for (size_t i = 0; i < d->n && !rc; i++) {
        const struct sim_record *r = &d->record[i];
        const struct slv_str key = str(&r->key), value = str(&r->value);
        if (sum_of(key, value) == r->sum) {
            rc = slv_node_load(n->node, key, value);
        } else {
            *ret_damaged = true;
            rc = sim_disk_del(n, key);
        }
    }
    return rc;
}

void sim_disk_close(struct sim_disk *d) {
    for (size_t i = 0; i < d->n_pending; i++)
        free_record(&d->pending[i]);
    for (size_t i = 0; i < d->n; i++)
        free_record(&d->record[i]);
    for (size_t i = 0; i < d->n_undo; i++)
        free_record(&d->undo[i]);
    slv_mem_free(d->pending);
    slv_mem_free(d->record);
    slv_mem_free(d->undo);
}
