/* swim_sync.c: anti-entropy: what one member's list has that another's has not; see swim.h. */
#include "mesh/swim_int.h"

#define PAGES_MAX 8u /* sent for one message of sums */

/* --- when ------------------------------------------------------------------------------------- */

/* While there is news, lists differ for no other reason. Whoever finds nothing by it asks less and
 * less, so that no member can make us ask for ever; whoever learns goes on at once. */
void swim_on_digest(struct slv_swim *s, uint64_t now, struct member *from, uint64_t digest) {
    const uint32_t period = s->conf.period_ms;
    if (digest == s->digest) return;
    if (s->is_learning) s->sync_gap_ms = period;
    else if (s->changed > s->last_sync && s->sync_gap_ms > 5 * period) s->sync_gap_ms = 5 * period;
    if (now - s->last_sync < s->sync_gap_ms * MS) return;
    if (s->sync_gap_ms > period && (s->n_queue || now - s->changed < 5 * period * MS)) return;
    s->is_learning = false;
    s->last_sync = now;
    s->sync_gap_ms = s->sync_gap_ms < 30000 ? s->sync_gap_ms * 2 : 60000;
    swim_begin(s, SUMS);
    for (size_t b = 0; b < BUCKETS; b++) {
        const uint32_t v = s->sum[b];
        const char bytes[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};
        slv_buf_add(&s->out, bytes, 4);
    }
    swim_send(s, from->id);
}

/* --- pages ------------------------------------------------------------------------------------ */

struct pages {
    struct slv_swim *s;
    struct member *to;
    uint64_t now;
    unsigned sent;
    bool is_open, is_over;
};

static void flush(struct pages *p) {
    if (!p->is_open) return;
    swim_send(p->s, p->to->id);
    p->is_open = false;
    p->sent++;
}

/* A page to write in, if one more may be sent. */
static bool open_page(struct pages *p) {
    if (p->is_open) return true;
    if (p->sent == PAGES_MAX || !swim_may_answer(p->s, p->now, p->to)) p->is_over = true;
    else swim_begin(p->s, PAGE);
    p->is_open = !p->is_over;
    return p->is_open;
}

static uint64_t entry_of(const struct member *m) {
    return m->incarnation << 2 | (uint64_t)swim_class_of(m);
}

/* Members of a bucket: how many, and the bytes of their entries. */
static size_t weigh(const struct slv_swim *s, unsigned b, size_t *ret_n) {
    size_t bytes = 0, n = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct member *m = s->member[i];
        if (m->state == SLV_SWIM_REMOVED || swim_bucket(m->id) != b) continue;
        bytes += 8 + slv_number_bytes(entry_of(m));
        n++;
    }
    *ret_n = n;
    return bytes;
}

/* A bucket that fits in no message is sent from a place that changes. */
static void write_bucket(struct pages *p, unsigned b) {
    struct slv_swim *s = p->s;
    size_t n, skip = 0;
    const size_t head = 1 + 1 + 2, bytes = weigh(s, b, &n), most = s->conf.mtu - 1;
    const bool is_whole = head + bytes <= most;
    if (p->is_open && s->out.len + head + bytes > s->conf.mtu) flush(p);
    if (!open_page(p)) return;
    if (!is_whole) {
        const size_t fit = (most - head) / 18;
        skip = (size_t)below(s, n - fit + 1);
        n = fit;
    }
    slv_write_number(&s->out, b);
    slv_write_number(&s->out, !is_whole);
    slv_write_number(&s->out, n);
    for (size_t i = 0; i < s->n && n; i++) {
        const struct member *m = s->member[i];
        if (m->state == SLV_SWIM_REMOVED || swim_bucket(m->id) != b) continue;
        if (skip) {
            skip--;
            continue;
        }
        slv_write_id(&s->out, m->id);
        slv_write_number(&s->out, entry_of(m));
        n--;
    }
}

void swim_on_sums(struct slv_swim *s, uint64_t now, struct member *from, struct slv_reader r) {
    struct pages p = {.s = s, .to = from, .now = now};
    const struct slv_str sums = slv_read_raw(&r, (size_t)4 * BUCKETS);
    const unsigned first = (unsigned)below(s, BUCKETS);
    for (unsigned k = 0; k < BUCKETS && !p.is_over; k++) {
        const unsigned b = (first + k) % BUCKETS;
        const uint8_t *v = (const uint8_t *)sums.p + (size_t)4 * b;
        const uint32_t sum =
            (uint32_t)v[0] << 24 | (uint32_t)v[1] << 16 | (uint32_t)v[2] << 8 | v[3];
        if (!b) flush(&p); /* they ascend in a message */
        if (sum != s->sum[b]) write_bucket(&p, b);
    }
    flush(&p);
}

/* --- what a page shows ------------------------------------------------------------------------ */

struct entry {
    uint64_t id, incarnation;
    enum swim_class is;
};

struct bucket {
    uint64_t b;
    bool is_partial;
    size_t n;
};

static bool read_bucket(struct slv_reader *r, struct bucket *ret) {
    ret->b = slv_read_number(r, BUCKETS - 1);
    ret->is_partial = slv_read_number(r, 1) != 0;
    ret->n = (size_t)slv_read_number(r, SLV_SWIM_MESSAGE_MAX / 9);
    return !r->bad;
}

static bool read_entry(struct slv_reader *r, struct entry *ret) {
    ret->id = slv_read_id(r);
    const uint64_t v = slv_read_number(r, SLV_SWIM_INCARNATION_MAX << 2 | 3);
    ret->incarnation = v >> 2;
    ret->is = (enum swim_class)(v & 3);
    return !r->bad && ret->is < CLASSES;
}

bool swim_check_page(struct slv_reader r) {
    uint64_t following = 0;
    while (slv_reader_left(&r)) {
        struct bucket b;
        struct entry e, last = {0};
        if (!read_bucket(&r, &b) || b.b < following) return false;
        following = b.b + 1;
        for (size_t i = 0; i < b.n; i++, last = e) {
            if (!read_entry(&r, &e) || swim_bucket(e.id) != b.b) return false;
            if (i && e.id <= last.id) return false;
        }
    }
    return slv_reader_done(&r);
}

/* Records into as few messages as they fit in. */
static void push(struct pages *p, const struct member *m) {
    struct slv_swim *s = p->s;
    if (!m->record) return;
    for (int again = 0; again < 2 && !p->is_over; again++) {
        if (!p->is_open) {
            if (p->sent == PAGES_MAX || !swim_may_answer(s, p->now, p->to)) {
                p->is_over = true;
                return;
            }
            swim_begin(s, RECORDS);
            p->is_open = true;
        }
        if (swim_say_record(s, m)) return;
        if (s->out.len == 1) return; /* never fits */
        flush(p);
    }
}

static void take_entry(struct pages *p, const struct entry *e) {
    struct slv_swim *s = p->s;
    struct member *m = swim_find(s, e->id);
    if (!m || (m->state != SLV_SWIM_REMOVED && e->incarnation > m->incarnation)) {
        swim_want(s, e->id);
    } else if (m->state == SLV_SWIM_REMOVED) {
        return;
    } else if (e->incarnation < m->incarnation ||
               (m->state == SLV_SWIM_DEAD && e->is == CLASS_ALIVE)) {
        push(p, m);
    }
}

/* What they have as dead may be: taken behind all that is pushed, as it may send, too. */
static void take_dead(struct slv_swim *s, uint64_t now, struct member *from, struct slv_reader r) {
    struct bucket b;
    struct entry e;
    while (slv_reader_left(&r) && read_bucket(&r, &b))
        for (size_t i = 0; i < b.n && read_entry(&r, &e); i++) {
            const struct member *m = swim_find(s, e.id);
            if (e.is == CLASS_DEAD && m && m->incarnation == e.incarnation && is_up(m))
                swim_take_claim(s, now, from, e.id, e.incarnation);
        }
}

void swim_on_page(struct slv_swim *s, uint64_t now, struct member *from, struct slv_reader r) {
    struct pages p = {.s = s, .to = from, .now = now};
    const struct slv_reader all = r;
    struct bucket b;
    while (slv_reader_left(&r) && read_bucket(&r, &b)) {
        size_t at = 0;
        struct entry e;
        for (size_t i = 0; i < b.n && read_entry(&r, &e); i++) {
            for (; !b.is_partial && at < s->n && s->member[at]->id < e.id; at++)
                if (swim_bucket(s->member[at]->id) == b.b) push(&p, s->member[at]);
            at += at < s->n && s->member[at]->id == e.id;
            take_entry(&p, &e);
        }
        for (; !b.is_partial && at < s->n; at++)
            if (swim_bucket(s->member[at]->id) == b.b) push(&p, s->member[at]);
    }
    flush(&p);
    take_dead(s, now, from, all);
}

/* --- records asked for ------------------------------------------------------------------------ */

void swim_want(struct slv_swim *s, uint64_t id) {
    size_t at = 0;
    while (at < s->n_wants && s->want[at] < id)
        at++;
    if (s->n_wants == WANTS || (at < s->n_wants && s->want[at] == id)) return;
    memmove(s->want + at + 1, s->want + at, (s->n_wants - at) * sizeof id);
    s->want[at] = id;
    s->n_wants++;
}

void swim_send_wants(struct slv_swim *s, uint64_t now, uint64_t to) {
    const size_t n = s->n_wants;
    s->n_wants = 0;
    if (!n || !swim_may_answer(s, now, swim_find(s, to))) return;
    swim_begin(s, WANT);
    for (size_t i = 0; i < n; i++)
        slv_write_id(&s->out, s->want[i]);
    swim_send(s, to);
}

bool swim_check_want(struct slv_reader r) {
    uint64_t last = 0;
    for (size_t i = 0; slv_reader_left(&r); i++) {
        const uint64_t id = slv_read_id(&r);
        if (r.bad || i == WANTS || (i && id <= last)) return false;
        last = id;
    }
    return slv_reader_done(&r);
}

void swim_on_want(struct slv_swim *s, uint64_t now, struct member *from, struct slv_reader r) {
    struct pages p = {.s = s, .to = from, .now = now};
    while (slv_reader_left(&r)) {
        const struct member *m = swim_find(s, slv_read_id(&r));
        if (m && m->state != SLV_SWIM_REMOVED) push(&p, m);
    }
    flush(&p);
}
