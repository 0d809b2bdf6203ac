/* strong_state.c: see strong_state.h. */
#include "mesh/strong_state.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>

#define SNAPSHOT_VERSION 1u
/* Of a key, beside its bytes and its value's: the same on every machine, as all must agree on what
 * still fits. */
#define KEY_COST ((size_t)72)

void strong_state_fini(struct strong_state *st) {
    for (size_t i = 0; i < st->n_key; i++)
        slv_mem_free(st->key[i]);
    slv_mem_free(st->key);
    slv_mem_free(st->lease);
    slv_mem_free(st->client);
    *st = (struct strong_state){0};
}

/* --- commands --------------------------------------------------------------------------------- */

enum {
    HAS_CLIENT = 1,
    HAS_KEY = 2,
    HAS_VALUE = 4,
    HAS_EXPECT = 8,
    HAS_VERSION = 16,
    HAS_LEASE = 32,
    HAS_TTL = 64,
    HAS_READ = 128
};

static const uint8_t has[STRONG_OPS] = {
    [SLV_STRONG_PUT] = HAS_CLIENT | HAS_KEY | HAS_VALUE | HAS_LEASE,
    [SLV_STRONG_DELETE] = HAS_CLIENT | HAS_KEY,
    [SLV_STRONG_CAS] = HAS_CLIENT | HAS_KEY | HAS_VALUE | HAS_VERSION | HAS_LEASE,
    [SLV_STRONG_CAS_VALUE] = HAS_CLIENT | HAS_KEY | HAS_VALUE | HAS_EXPECT | HAS_LEASE,
    [SLV_STRONG_LOCK] = HAS_CLIENT | HAS_KEY | HAS_VALUE | HAS_TTL,
    [SLV_STRONG_UNLOCK] = HAS_CLIENT | HAS_KEY | HAS_VERSION,
    [SLV_STRONG_GRANT] = HAS_CLIENT | HAS_TTL,
    [SLV_STRONG_KEEPALIVE] = HAS_CLIENT | HAS_LEASE,
    [SLV_STRONG_REVOKE] = HAS_CLIENT | HAS_LEASE,
    [SLV_STRONG_EPOCH] = HAS_CLIENT | HAS_KEY,
    [SLV_STRONG_GET] = HAS_KEY | HAS_READ,
    [STRONG_NOP] = 0,
    [STRONG_LEAD] = HAS_TTL,
    [STRONG_EXPIRE] = HAS_LEASE | HAS_VERSION,
};

void strong_command_write(const struct slv_strong_command *c, struct slv_buf *b) {
    const unsigned f = has[c->op];
    slv_write_number(b, (uint64_t)c->op);
    if (f & HAS_CLIENT) {
        slv_write_id(b, c->client);
        slv_write_number(b, c->seq);
    }
    if (f & HAS_KEY) {
        slv_write_id(b, c->space);
        slv_write_bytes(b, c->key.p, c->key.n);
    }
    if (f & HAS_VALUE) slv_write_bytes(b, c->value.p, c->value.n);
    if (f & HAS_EXPECT) slv_write_bytes(b, c->expect.p, c->expect.n);
    if (f & HAS_VERSION) slv_write_number(b, c->version);
    if (f & HAS_LEASE) slv_write_number(b, c->lease);
    if (f & HAS_TTL) slv_write_number(b, c->ttl_ms);
    if (f & HAS_READ) slv_write_number(b, (uint64_t)c->read);
}

bool strong_command_read(struct slv_reader *r, struct slv_strong_command *ret) {
    struct slv_strong_command c = {.key = {"", 0}, .value = {"", 0}, .expect = {"", 0}};
    c.op = (enum slv_strong_op)slv_read_number(r, STRONG_OPS - 1);
    if (r->bad || !c.op) return false;
    const unsigned f = has[c.op];
    if (f & HAS_CLIENT) {
        c.client = slv_read_id(r);
        c.seq = slv_read_number(r, STRONG_NUMBER_MAX);
    }
    if (f & HAS_KEY) {
        c.space = slv_read_id(r);
        c.key = slv_read_bytes(r, SLV_STRONG_KEY_MAX);
    }
    if (f & HAS_VALUE) c.value = slv_read_bytes(r, SLV_STRONG_VALUE_MAX);
    if (f & HAS_EXPECT) c.expect = slv_read_bytes(r, SLV_STRONG_VALUE_MAX);
    if (f & HAS_VERSION) c.version = slv_read_number(r, STRONG_NUMBER_MAX);
    if (f & HAS_LEASE) c.lease = slv_read_number(r, STRONG_NUMBER_MAX);
    if (f & HAS_TTL) c.ttl_ms = (uint32_t)slv_read_number(r, STRONG_TTL_MAX);
    if (f & HAS_READ) c.read = (enum slv_strong_read)slv_read_number(r, SLV_STRONG_LEASED);
    if (!slv_reader_done(r)) return false;
    if ((f & HAS_CLIENT) && (!c.client || !c.seq)) return false;
    if ((f & HAS_TTL) && !c.ttl_ms) return false;
    *ret = c;
    return true;
}

bool strong_command_ok(const struct slv_strong_command *c) {
    if (c->op < SLV_STRONG_PUT || c->op > SLV_STRONG_GET) return false;
    const unsigned f = has[c->op];
    if ((f & HAS_CLIENT) && (!c->client || !c->seq || c->seq > STRONG_NUMBER_MAX)) return false;
    if ((f & HAS_KEY) && c->key.n > SLV_STRONG_KEY_MAX) return false;
    if ((f & HAS_VALUE) && c->value.n > SLV_STRONG_VALUE_MAX) return false;
    if ((f & HAS_EXPECT) && c->expect.n > SLV_STRONG_VALUE_MAX) return false;
    if ((f & HAS_VERSION) && c->version > STRONG_NUMBER_MAX) return false;
    if ((f & HAS_LEASE) && c->lease > STRONG_NUMBER_MAX) return false;
    if ((f & HAS_TTL) && (!c->ttl_ms || c->ttl_ms > STRONG_TTL_MAX)) return false;
    return !(f & HAS_READ) || c->read <= SLV_STRONG_LEASED;
}

/* --- places ----------------------------------------------------------------------------------- */

static int compare(const struct strong_key *k, uint64_t space, struct slv_str key) {
    if (k->space != space) return k->space < space ? -1 : 1;
    return slv_str_compare(k->key, key);
}

static size_t key_at(const struct strong_state *st, uint64_t space, struct slv_str key) {
    size_t lo = 0, hi = st->n_key;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (compare(st->key[mid], space, key) < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

const struct strong_key *strong_state_get(const struct strong_state *st, uint64_t space,
                                          struct slv_str key) {
    const size_t i = key_at(st, space, key);
    return i < st->n_key && !compare(st->key[i], space, key) ? st->key[i] : NULL;
}

const struct strong_key *strong_state_behind(const struct strong_state *st, uint64_t space,
                                             struct slv_str key) {
    size_t i = key_at(st, space, key);
    if (i < st->n_key && !compare(st->key[i], space, key)) i++;
    return i < st->n_key && st->key[i]->space == space ? st->key[i] : NULL;
}

size_t strong_state_count(const struct strong_state *st, uint64_t space) {
    const struct slv_str first = {"", 0};
    const size_t end = space == UINT64_MAX ? st->n_key : key_at(st, space + 1, first);
    return end - key_at(st, space, first);
}

static struct strong_lease *find_lease(const struct strong_state *st, uint64_t id) {
    size_t lo = 0, hi = st->n_lease;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (st->lease[mid].id < id) lo = mid + 1;
        else hi = mid;
    }
    return lo < st->n_lease && st->lease[lo].id == id ? &st->lease[lo] : NULL;
}

static size_t client_at(const struct strong_state *st, uint64_t id) {
    size_t lo = 0, hi = st->n_client;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (st->client[mid].id < id) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static size_t cost(const struct strong_key *k) { return KEY_COST + k->key.n + k->value.n; }

static struct strong_key *make_key(uint64_t space, struct slv_str key, struct slv_str value) {
    struct strong_key *k = slv_mem_alloc(sizeof *k + key.n + value.n);
    if (!k) return NULL;
    *k = (struct strong_key){
        .space = space, .key = {k->bytes, key.n}, .value = {k->bytes + key.n, value.n}};
    if (key.n) memcpy(k->bytes, key.p, key.n);
    if (value.n) memcpy(k->bytes + key.n, value.p, value.n);
    return k;
}

/* Puts k at its place, for which there is room, and frees what was there. */
static void place(struct strong_state *st, struct strong_key *k) {
    const size_t i = key_at(st, k->space, k->key);
    if (i < st->n_key && !compare(st->key[i], k->space, k->key)) {
        st->bytes -= cost(st->key[i]);
        slv_mem_free(st->key[i]);
    } else {
        memmove(st->key + i + 1, st->key + i, (st->n_key - i) * sizeof *st->key);
        st->n_key++;
    }
    st->key[i] = k;
    st->bytes += cost(k);
    if (st->changed) st->changed(st->ctx, k, k->version, false);
}

static void remove_at(struct strong_state *st, size_t i, uint64_t index) {
    struct strong_key *k = st->key[i];
    if (st->changed) st->changed(st->ctx, k, index, true);
    st->bytes -= cost(k);
    slv_mem_free(k);
    memmove(st->key + i, st->key + i + 1, (st->n_key - i - 1) * sizeof *st->key);
    st->n_key--;
}

/* A lease ends, and its keys go, in their order. */
static void end_lease(struct strong_state *st, struct strong_lease *l, uint64_t index) {
    const uint64_t id = l->id;
    const size_t at = (size_t)(l - st->lease);
    memmove(l, l + 1, (st->n_lease - at - 1) * sizeof *l);
    st->n_lease--;
    for (size_t i = 0; i < st->n_key;) {
        if (st->key[i]->lease == id) remove_at(st, i, index);
        else i++;
    }
}

/* --- applying --------------------------------------------------------------------------------- */

/* Room for one more of each, so that nothing fails once something has changed. */
static int ready(struct strong_state *st) {
    void *p = st->key;
    int rc = slv_mem_grow(&p, st->n_key, &st->room_key, sizeof *st->key, 2 * STRONG_KEYS_MAX);
    st->key = p;
    if (rc) return rc;
    p = st->lease;
    rc = slv_mem_grow(&p, st->n_lease, &st->room_lease, sizeof *st->lease,
                      2 * SLV_STRONG_LEASES_MAX);
    st->lease = p;
    if (rc) return rc;
    p = st->client;
    rc = slv_mem_grow(&p, st->n_client, &st->room_client, sizeof *st->client,
                      2 * SLV_STRONG_CLIENTS);
    st->client = p;
    return rc;
}

struct step {
    struct strong_state *st;
    const struct slv_strong_command *c;
    struct slv_strong_result *r;
    const struct strong_key *old; /* the key that is there, or NULL */
    uint64_t index, now;
};

static int set(struct step *s, struct slv_str value, enum strong_kind kind, uint64_t lease) {
    struct strong_state *st = s->st;
    const size_t had = s->old ? cost(s->old) : 0;
    const size_t more = KEY_COST + s->c->key.n + value.n;
    if (st->bytes - had + more > SLV_STRONG_STATE_MAX ||
        (!s->old && st->n_key == STRONG_KEYS_MAX)) {
        s->r->status = SLV_STRONG_LIMIT;
        return 0;
    }
    struct strong_key *k = make_key(s->c->space, s->c->key, value);
    if (!k) return SLV_E_NOMEM;
    k->version = s->index;
    k->lease = lease;
    k->kind = kind;
    place(st, k);
    s->r->version = s->index;
    return 0;
}

static int refuse(struct step *s) {
    s->r->status = SLV_STRONG_CONFLICT;
    s->r->version = s->old ? s->old->version : 0;
    return 0;
}

static int put(struct step *s) {
    const struct slv_strong_command *c = s->c;
    if (s->old && s->old->kind != STRONG_VALUE) return refuse(s);
    if (c->lease && !find_lease(s->st, c->lease)) return refuse(s);
    return set(s, c->value, STRONG_VALUE, c->lease);
}

static int cas(struct step *s) {
    return (s->old ? s->old->version : 0) == s->c->version ? put(s) : refuse(s);
}

static int cas_value(struct step *s) {
    const struct slv_str want = s->c->expect;
    if (!s->old || s->old->value.n != want.n || memcmp(s->old->value.p, want.p, want.n))
        return refuse(s);
    return put(s);
}

static int delete_key(struct step *s) {
    if (!s->old) return 0;
    if (s->old->kind == STRONG_LOCKED) return refuse(s);
    s->r->version = s->old->version;
    remove_at(s->st, key_at(s->st, s->c->space, s->c->key), s->index);
    return 0;
}

static int grant(struct step *s) {
    struct strong_state *st = s->st;
    if (st->n_lease == SLV_STRONG_LEASES_MAX) {
        s->r->status = SLV_STRONG_LIMIT;
        return 0;
    }
    /* (indices grow: the last place is its own) */
    st->lease[st->n_lease++] = (struct strong_lease){s->index, s->c->ttl_ms, s->index, s->now};
    s->r->version = s->index;
    return 0;
}

static int lock(struct step *s) {
    if (s->old) return refuse(s);
    if (s->st->n_lease == SLV_STRONG_LEASES_MAX) return grant(s);
    const int rc = set(s, s->c->value, STRONG_LOCKED, s->index);
    if (!rc && !s->r->status) return grant(s);
    return rc;
}

static int unlock(struct step *s) {
    if (!s->old || s->old->kind != STRONG_LOCKED || s->old->version != s->c->version)
        return refuse(s);
    s->r->version = s->c->version;
    end_lease(s->st, find_lease(s->st, s->old->lease), s->index);
    return 0;
}

static int keepalive(struct step *s) {
    struct strong_lease *l = find_lease(s->st, s->c->lease);
    if (!l) return refuse(s);
    l->renewed = s->index;
    l->since = s->now;
    s->r->version = l->id;
    return 0;
}

static int revoke(struct step *s) {
    struct strong_lease *l = find_lease(s->st, s->c->lease);
    if (!l) return refuse(s);
    s->r->version = l->id;
    end_lease(s->st, l, s->index);
    return 0;
}

/* One that was renewed since it was proposed to end it stays. */
static int expire(struct step *s) {
    struct strong_lease *l = find_lease(s->st, s->c->lease);
    if (l && l->renewed == s->c->version) end_lease(s->st, l, s->index);
    return 0;
}

/* A number in digits, the only ones that it has; 0: it is none. */
static uint64_t epoch_of(struct slv_str s) {
    uint64_t n = 0;
    if (!s.n || s.n > 19 || s.p[0] == '0') return 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return 0;
        n = 10 * n + (uint64_t)(s.p[i] - '0');
    }
    return n;
}

static int epoch(struct step *s) {
    char digits[24];
    if (s->old && s->old->kind != STRONG_EPOCH) return refuse(s);
    const uint64_t n = s->old ? epoch_of(s->old->value) + 1 : 1;
    const int len = snprintf(digits, sizeof digits, "%" PRIu64, n);
    const int rc = set(s, (struct slv_str){digits, (size_t)len}, STRONG_EPOCH, 0);
    if (!rc && !s->r->status) s->r->version = n;
    return rc;
}

static int nop(struct step *s) {
    (void)s;
    return 0;
}

static int lead(struct step *s) {
    if (s->c->ttl_ms > s->st->lead_ms) s->st->lead_ms = s->c->ttl_ms;
    return 0;
}

static int (*const apply[STRONG_OPS])(struct step *s) = {
    [SLV_STRONG_PUT] = put,       [SLV_STRONG_DELETE] = delete_key,
    [SLV_STRONG_CAS] = cas,       [SLV_STRONG_CAS_VALUE] = cas_value,
    [SLV_STRONG_LOCK] = lock,     [SLV_STRONG_UNLOCK] = unlock,
    [SLV_STRONG_GRANT] = grant,   [SLV_STRONG_KEEPALIVE] = keepalive,
    [SLV_STRONG_REVOKE] = revoke, [SLV_STRONG_EPOCH] = epoch,
    [SLV_STRONG_GET] = nop,       [STRONG_NOP] = nop,
    [STRONG_LEAD] = lead,         [STRONG_EXPIRE] = expire,
};

/* Whether a client's command was done before, or cannot be told from one that was; *r says so. */
static bool was_done(const struct strong_state *st, const struct slv_strong_command *c,
                     struct slv_strong_result *r) {
    const size_t i = client_at(st, c->client);
    const struct strong_client *k =
        i < st->n_client && st->client[i].id == c->client ? &st->client[i] : NULL;
    if (k ? c->seq > k->seq : c->seq == 1) return false;
    if (k && c->seq == k->seq) {
        r->status = k->status;
        r->version = k->version;
        r->index = k->index;
    } else {
        r->status = SLV_STRONG_EXPIRED;
    }
    return true;
}

/* The client's number and what came of it; of too many, the one that was silent longest goes. */
static void remember(struct strong_state *st, const struct slv_strong_command *c,
                     const struct slv_strong_result *r) {
    size_t i = client_at(st, c->client);
    if (i == st->n_client || st->client[i].id != c->client) {
        if (st->n_client == SLV_STRONG_CLIENTS) {
            size_t old = 0;
            for (size_t k = 1; k < st->n_client; k++)
                if (st->client[k].index < st->client[old].index) old = k;
            memmove(st->client + old, st->client + old + 1,
                    (st->n_client - old - 1) * sizeof *st->client);
            st->n_client--;
            i = client_at(st, c->client);
        }
        memmove(st->client + i + 1, st->client + i, (st->n_client - i) * sizeof *st->client);
        st->n_client++;
    }
    st->client[i] = (struct strong_client){c->client, c->seq, r->index, r->version, r->status};
}

int strong_state_apply(struct strong_state *st, uint64_t index, uint64_t now,
                       const struct slv_strong_command *c, struct slv_strong_result *ret) {
    struct slv_strong_result r = {.index = index, .value = {"", 0}};
    struct step s = {st, c, &r, NULL, index, now};
    const bool client = has[c->op] & HAS_CLIENT;
    int rc = ready(st);
    if (rc) return rc;
    if (!client || !was_done(st, c, &r)) {
        if (has[c->op] & HAS_KEY) s.old = strong_state_get(st, c->space, c->key);
        rc = apply[c->op](&s);
        if (rc) return rc;
        if (client) remember(st, c, &r);
    }
    st->index = index;
    *ret = r;
    return 0;
}

/* --- the snapshot ----------------------------------------------------------------------------- */

void strong_state_write(const struct strong_state *st, struct slv_buf *b) {
    slv_write_number(b, SNAPSHOT_VERSION);
    slv_write_number(b, st->index);
    slv_write_number(b, st->lead_ms);
    slv_write_number(b, st->n_client);
    for (size_t i = 0; i < st->n_client; i++) {
        const struct strong_client *c = &st->client[i];
        slv_write_id(b, c->id);
        slv_write_number(b, c->seq);
        slv_write_number(b, c->index);
        slv_write_number(b, (uint64_t)c->status);
        slv_write_number(b, c->version);
    }
    slv_write_number(b, st->n_lease);
    for (size_t i = 0; i < st->n_lease; i++) {
        slv_write_number(b, st->lease[i].id);
        slv_write_number(b, st->lease[i].ttl_ms);
        slv_write_number(b, st->lease[i].renewed);
    }
    slv_write_number(b, st->n_key);
    for (size_t i = 0; i < st->n_key; i++) {
        const struct strong_key *k = st->key[i];
        slv_write_id(b, k->space);
        slv_write_bytes(b, k->key.p, k->key.n);
        slv_write_number(b, (uint64_t)k->kind);
        slv_write_number(b, k->version);
        slv_write_number(b, k->lease);
        slv_write_bytes(b, k->value.p, k->value.n);
    }
}

/* Each returns 0, SLV_E_FORMAT or SLV_E_NOMEM. */
static int read_client(struct slv_reader *r, struct strong_state *st) {
    void *p = st->client;
    const int rc = slv_mem_grow(&p, st->n_client, &st->room_client, sizeof *st->client,
                                2 * SLV_STRONG_CLIENTS);
    st->client = p;
    if (rc) return rc;
    struct strong_client c = {.id = slv_read_id(r), .seq = slv_read_number(r, STRONG_NUMBER_MAX)};
    c.index = slv_read_number(r, st->index);
    c.status = (enum slv_strong_status)slv_read_number(r, SLV_STRONG_STATUSES - 1);
    c.version = slv_read_number(r, STRONG_NUMBER_MAX);
    if (r->bad || !c.id || !c.seq || (st->n_client && st->client[st->n_client - 1].id >= c.id))
        return SLV_E_FORMAT;
    st->client[st->n_client++] = c;
    return 0;
}

static int read_lease(struct slv_reader *r, struct strong_state *st) {
    void *p = st->lease;
    const int rc = slv_mem_grow(&p, st->n_lease, &st->room_lease, sizeof *st->lease,
                                2 * SLV_STRONG_LEASES_MAX);
    st->lease = p;
    if (rc) return rc;
    struct strong_lease l = {.id = slv_read_number(r, st->index)};
    l.ttl_ms = slv_read_number(r, STRONG_TTL_MAX);
    l.renewed = slv_read_number(r, st->index);
    if (r->bad || !l.id || !l.ttl_ms || l.renewed < l.id ||
        (st->n_lease && st->lease[st->n_lease - 1].id >= l.id))
        return SLV_E_FORMAT;
    st->lease[st->n_lease++] = l;
    return 0;
}

static int read_key(struct slv_reader *r, struct strong_state *st) {
    void *p = st->key;
    const int rc = slv_mem_grow(&p, st->n_key, &st->room_key, sizeof *st->key, 2 * STRONG_KEYS_MAX);
    st->key = p;
    if (rc) return rc;
    const uint64_t space = slv_read_id(r);
    const struct slv_str key = slv_read_bytes(r, SLV_STRONG_KEY_MAX);
    const enum strong_kind kind = (enum strong_kind)slv_read_number(r, STRONG_EPOCH);
    const uint64_t version = slv_read_number(r, st->index);
    const uint64_t lease = slv_read_number(r, st->index);
    const struct slv_str value = slv_read_bytes(r, SLV_STRONG_VALUE_MAX);
    if (r->bad || !version || (lease && !find_lease(st, lease))) return SLV_E_FORMAT;
    if (kind == STRONG_EPOCH && !epoch_of(value)) return SLV_E_FORMAT;
    if ((kind == STRONG_LOCKED && lease != version) || (kind == STRONG_EPOCH && lease))
        return SLV_E_FORMAT;
    if (st->n_key && compare(st->key[st->n_key - 1], space, key) >= 0) return SLV_E_FORMAT;
    struct strong_key *k = make_key(space, key, value);
    if (!k) return SLV_E_NOMEM;
    k->kind = kind;
    k->version = version;
    k->lease = lease;
    st->key[st->n_key++] = k;
    st->bytes += cost(k);
    return st->bytes > SLV_STRONG_STATE_MAX ? SLV_E_FORMAT : 0;
}

int strong_state_read(struct slv_str bytes, struct strong_state *ret) {
    static const struct {
        uint64_t most;
        int (*fn)(struct slv_reader *r, struct strong_state *st);
    } part[] = {{SLV_STRONG_CLIENTS, read_client},
                {SLV_STRONG_LEASES_MAX, read_lease},
                {STRONG_KEYS_MAX, read_key}};
    struct slv_reader r = slv_reader_of(bytes.p, bytes.n);
    int rc = slv_read_number(&r, SNAPSHOT_VERSION) == SNAPSHOT_VERSION ? 0 : SLV_E_FORMAT;
    ret->index = slv_read_number(&r, STRONG_NUMBER_MAX);
    ret->lead_ms = slv_read_number(&r, STRONG_TTL_MAX);
    for (size_t i = 0; i < sizeof part / sizeof *part && !rc; i++)
        for (uint64_t n = slv_read_number(&r, part[i].most); n && !rc; n--)
            rc = part[i].fn(&r, ret);
    if (!rc && !slv_reader_done(&r)) rc = SLV_E_FORMAT;
    if (rc) strong_state_fini(ret);
    return rc;
}
