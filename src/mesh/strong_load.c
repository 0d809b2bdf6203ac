/* strong_load.c: the records of a strong group's node at its start: put in order, and looked at
 * whether they can be what was written. See strong.h, strong_wire.h. */
#include "mesh/strong_int.h"

#include <stdlib.h>

static bool copy(struct slv_str from, struct slv_str *ret) {
    char *p = slv_mem_alloc(from.n ? from.n : 1);
    if (!p) return false;
    if (from.n) memcpy(p, from.p, from.n);
    *ret = (struct slv_str){p, from.n};
    return true;
}

static void free_str(struct slv_str s) {
    union {
        const char *c;
        char *p;
    } u = {s.p};
    slv_mem_free(u.p);
}

static int keep(struct loaded **v, size_t *n, size_t *room, uint64_t index, struct slv_str value) {
    void *p = *v;
    const int rc = slv_mem_grow(&p, *n, room, sizeof **v, SIZE_MAX / 64);
    *v = p;
    if (rc) return rc;
    struct loaded l = {.index = index};
    if (!copy(value, &l.bytes)) return SLV_E_NOMEM;
    (*v)[(*n)++] = l;
    return 0;
}

static int load_vote(struct slv_strong *s, struct slv_str value) {
    struct slv_reader r = slv_reader_of(value.p, value.n);
    const uint64_t term = slv_read_number(&r, STRONG_TERM_MAX), vote = slv_read_id(&r);
    if (!slv_reader_done(&r) || !term || s->term) return SLV_E_FORMAT;
    s->term = term;
    s->vote = vote;
    return 0;
}

static int load_fresh(struct slv_strong *s, struct slv_str value) {
    struct slv_reader r = slv_reader_of(value.p, value.n);
    const uint64_t state = slv_read_number(&r, 2);
    const uint64_t until = state == 2 ? slv_read_number(&r, STRONG_NUMBER_MAX) : 0;
    if (!slv_reader_done(&r) || !state || (state == 2 && !until)) return SLV_E_FORMAT;
    s->damaged = state == 1;
    s->fresh_until = until;
    return 0;
}

static int load_record(struct slv_strong *s, char kind, uint64_t number, struct slv_str value) {
    switch (kind) {
    case 'T':
        return load_vote(s, value);
    case 'Q':
        return load_fresh(s, value);
    case 'H':
        if (s->head.p) return SLV_E_FORMAT;
        return copy(value, &s->head) ? 0 : SLV_E_NOMEM;
    case 'L': {
        struct slv_reader r = slv_reader_of(value.p, value.n);
        struct strong_entry e;
        if (!strong_entry_read(&r, &e) || !slv_reader_done(&r) || !number) return SLV_E_FORMAT;
        return keep(&s->load, &s->n_load, &s->room_load, number, value);
    }
    case 'P':
        if (value.n > SLV_STRONG_PIECE_MAX || number > STRONG_SNAPSHOT_MAX / SLV_STRONG_PIECE_MAX)
            return SLV_E_FORMAT;
        return keep(&s->piece, &s->n_piece, &s->room_piece, number, value);
    default:
        return SLV_E_FORMAT;
    }
}

int slv_strong_load(struct slv_strong *s, struct slv_str key, struct slv_str value) {
    if (s->started) return SLV_E_USAGE;
    const char kind = key.n ? key.p[0] : 0;
    const bool numbered = kind == 'L' || kind == 'P';
    int rc = SLV_E_FORMAT;
    if (key.n == (numbered ? 9 : 1)) {
        struct slv_reader r = slv_reader_of(key.p + 1, key.n - 1);
        const uint64_t number = numbered ? slv_read_id(&r) : 0;
        if (number <= STRONG_NUMBER_MAX) rc = load_record(s, kind, number, value);
    }
    if (rc == SLV_E_FORMAT) s->load_bad = true;
    s->has_records = true;
    return rc;
}

/* --- whether they fit ------------------------------------------------------------------------- */

static int by_index(const void *a, const void *b) {
    const struct loaded *x = a, *y = b;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool in_order(struct loaded *v, size_t n) {
    if (n) qsort(v, n, sizeof *v, by_index);
    for (size_t i = 1; i < n; i++)
        if (v[i].index != v[0].index + i) return false;
    return true;
}

/* The bytes of the snapshot, of its pieces. */
static int join_pieces(struct slv_strong *s, struct blob *b) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_piece; i++)
        n += s->piece[i].bytes.n;
    if (n != b->n || (s->n_piece && s->piece[0].index)) return SLV_E_FORMAT;
    b->bytes = slv_mem_alloc(n ? n : 1);
    if (!b->bytes) return SLV_E_NOMEM;
    n = 0;
    for (size_t i = 0; i < s->n_piece; i++) {
        memcpy(b->bytes + n, s->piece[i].bytes.p, s->piece[i].bytes.n);
        n += s->piece[i].bytes.n;
    }
    return 0;
}

static int check_snapshot(struct slv_strong *s) {
    if (!s->head.p) return s->n_piece ? SLV_E_FORMAT : 0;
    struct blob *b = slv_mem_calloc(1, sizeof *b);
    if (!b) return SLV_E_NOMEM;
    struct slv_reader r = slv_reader_of(s->head.p, s->head.n);
    b->refs = 1;
    s->snap = b;
    b->index = slv_read_number(&r, STRONG_NUMBER_MAX);
    b->term = slv_read_number(&r, STRONG_TERM_MAX);
    b->conf_index = slv_read_number(&r, STRONG_NUMBER_MAX);
    const bool ok = strong_members_read(&r, &b->members);
    b->n = slv_read_number(&r, STRONG_SNAPSHOT_MAX);
    if (!ok || !slv_reader_done(&r) || !b->index || !b->term || !b->conf_index ||
        b->conf_index > b->index || b->term > s->term)
        return SLV_E_FORMAT;
    int rc = join_pieces(s, b);
    if (!rc) rc = strong_state_read((struct slv_str){b->bytes, b->n}, &s->next);
    if (!rc && s->next.index > b->index) rc = SLV_E_FORMAT;
    s->has_next = !rc;
    s->snap_pieces = s->n_piece;
    return rc;
}

/* A lease of a leader may have come just before this node went down. */
static void see_lease(struct slv_strong *s, const struct strong_entry *e) {
    struct slv_reader r = slv_reader_of(e->payload.p, e->payload.n);
    struct slv_strong_command c;
    if (e->type == STRONG_COMMAND && strong_command_read(&r, &c) && c.op == (int)STRONG_LEAD)
        strong_call_lease_seen(s, c.ttl_ms);
}

/* Entries follow on the snapshot, or begin with the first members. */
static int check_entries(struct slv_strong *s) {
    const uint64_t last = s->snap ? s->snap->index : 0;
    uint64_t term = 0;
    s->disk_first = s->n_load ? s->load[0].index : last + 1;
    if (s->disk_first > last + 1 || (s->n_load && s->disk_first + s->n_load - 1 < last))
        return SLV_E_FORMAT;
    for (size_t i = 0; i < s->n_load; i++) {
        struct strong_entry e;
        struct slv_reader r = slv_reader_of(s->load[i].bytes.p, s->load[i].bytes.n);
        if (!strong_entry_read(&r, &e) || e.term < term || e.term > s->term) return SLV_E_FORMAT;
        if (s->load[i].index == 1 && e.type != STRONG_MEMBERS) return SLV_E_FORMAT;
        if (s->snap && s->load[i].index == last && e.term != s->snap->term) return SLV_E_FORMAT;
        if (s->snap && s->load[i].index == last + 1 && e.term < s->snap->term) return SLV_E_FORMAT;
        term = e.term;
        see_lease(s, &e);
        const int rc = strong_size_push(s, s->load[i].bytes.n);
        if (rc) return rc;
    }
    return 0;
}

int strong_load_check(struct slv_strong *s) {
    if (s->load_bad) return SLV_E_FORMAT;
    if (!in_order(s->load, s->n_load) || !in_order(s->piece, s->n_piece)) return SLV_E_FORMAT;
    int rc = check_snapshot(s);
    if (!rc) rc = check_entries(s);
    if (rc) return rc;
    if (s->has_next && s->next.lead_ms) strong_call_lease_seen(s, s->next.lead_ms);
    /* Whoever has a log had a term. */
    return (s->snap || s->n_load) && !s->term ? SLV_E_FORMAT : 0;
}

void strong_load_free(struct slv_strong *s) {
    for (size_t i = 0; i < s->n_load; i++)
        free_str(s->load[i].bytes);
    for (size_t i = 0; i < s->n_piece; i++)
        free_str(s->piece[i].bytes);
    if (s->head.p) free_str(s->head);
    slv_mem_free(s->load);
    slv_mem_free(s->piece);
    s->load = s->piece = NULL;
    s->n_load = s->n_piece = s->room_load = s->room_piece = 0;
    s->head = (struct slv_str){NULL, 0};
}

/* --- for the core ----------------------------------------------------------------------------- */

/* As the core frees them: a snapshot without bytes (strong_snap.c has them). */
static struct raft_snapshot *core_snapshot(const struct blob *b) {
    struct raft_snapshot *r = raft_calloc(1, sizeof *r);
    if (!r) return NULL;
    r->bufs = raft_calloc(1, sizeof *r->bufs);
    if (!r->bufs || strong_members_to_raft(&b->members, &r->configuration)) {
        raft_free(r->bufs);
        raft_free(r);
        return NULL;
    }
    r->n_bufs = 1;
    r->index = b->index;
    r->term = b->term;
    r->configuration_index = b->conf_index;
    return r;
}

static int core_entry(struct slv_str bytes, struct raft_entry *ret) {
    struct slv_reader r = slv_reader_of(bytes.p, bytes.n);
    struct strong_entry e;
    if (!strong_entry_read(&r, &e)) return SLV_E_FORMAT;
    *ret = (struct raft_entry){.term = e.term, .type = (unsigned short)e.type};
    return strong_payload_to_raft(e.type, e.payload, &ret->buf);
}

int strong_load_all(struct slv_strong *s, struct raft_snapshot **ret_snapshot,
                    raft_index *ret_first, struct raft_entry **ret_entries, size_t *ret_n) {
    struct raft_entry *v = NULL;
    struct raft_snapshot *snap = NULL;
    size_t i = 0;
    int rc = 0;
    if (s->n_load && !(v = raft_calloc(s->n_load, sizeof *v))) return SLV_E_NOMEM;
    for (; i < s->n_load && !rc; i++)
        rc = core_entry(s->load[i].bytes, &v[i]);
    if (!rc && s->snap && !(snap = core_snapshot(s->snap))) rc = SLV_E_NOMEM;
    if (rc) {
        while (i-- > 0)
            raft_free(v[i].buf.base);
        raft_free(v);
        return rc;
    }
    *ret_snapshot = snap;
    *ret_first = s->disk_first;
    *ret_entries = v;
    *ret_n = s->n_load;
    return 0;
}
