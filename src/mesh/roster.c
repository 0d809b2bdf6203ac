/* roster.c: see roster.h. */
#include "mesh/roster.h"
#include "base/mem.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1u
#define VERSION_CONDITION 2u

struct entry {
    struct slv_statement s; /* its strings are the block's */
    uint64_t id;
    char *bytes; /* heap: with the signature */
    size_t n;
};

struct slv_roster {
    struct slv_roster_conf conf;
    char *mesh;           /* heap: conf's */
    struct entry **entry; /* heap, ascending by key */
    size_t n, room;
};

/* --- conditions ------------------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b) { return memcmp(a, b, SLV_ROSTER_DIGEST); }

size_t slv_digests_sort(uint8_t (*v)[SLV_ROSTER_DIGEST], size_t n) {
    size_t k = 0;
    if (n) qsort(v, n, sizeof *v, by_bytes);
    for (size_t i = 0; i < n; i++)
        if (!k || memcmp(v[k - 1], v[i], sizeof *v) != 0) memmove(v[k++], v[i], sizeof *v);
    return k;
}

static void write_digests(const struct slv_digests *d, struct slv_buf *b) {
    slv_write_number(b, d->n);
    if (d->n) slv_buf_add(b, (const char *)d->v, d->n * sizeof *d->v);
}

static void read_digests(struct slv_reader *r, struct slv_digests *ret) {
    const size_t n = (size_t)slv_read_number(r, SLV_ROSTER_DIGESTS_MAX);
    const struct slv_str raw = slv_read_raw(r, n * SLV_ROSTER_DIGEST);
    if (r->bad) return;
    const void *v = raw.p;
    *ret = (struct slv_digests){v, n};
    for (size_t i = 1; i < n; i++)
        if (memcmp(ret->v[i - 1], ret->v[i], SLV_ROSTER_DIGEST) >= 0) r->bad = true;
}

static void write_condition(const struct slv_condition *c, struct slv_buf *b) {
    slv_write_number(b, c->any_ak);
    write_digests(&c->aks, b);
    write_digests(&c->binaries, b);
    write_digests(&c->policies, b);
}

static void read_condition(struct slv_reader *r, struct slv_condition *ret) {
    ret->any_ak = slv_read_number(r, 1);
    read_digests(r, &ret->aks);
    read_digests(r, &ret->binaries);
    read_digests(r, &ret->policies);
    if (ret->any_ak != !ret->aks.n) r->bad = true;
}

/* --- statements ------------------------------------------------------------------------------- */

int slv_statement_write(const struct slv_statement *s, struct slv_buf *b) {
    slv_write_number(b, s->is_conditional ? VERSION_CONDITION : VERSION);
    slv_write_number(b, (uint64_t)s->kind);
    slv_write_number(b, s->number);
    slv_buf_add(b, (const char *)s->key, sizeof s->key);
    slv_write_number(b, s->flags);
    slv_write_number(b, s->until);
    slv_write_bytes(b, s->name.p, s->name.n);
    slv_write_number(b, s->n_scope);
    for (size_t i = 0; i < s->n_scope; i++) {
        slv_write_bytes(b, s->scope[i].space.p, s->scope[i].space.n);
        slv_write_bytes(b, s->scope[i].prefix.p, s->scope[i].prefix.n);
    }
    if (s->kind == SLV_JOINED) slv_buf_add(b, (const char *)s->invitation, sizeof s->invitation);
    if (s->is_conditional) write_condition(&s->condition, b);
    return b->status;
}

static void read_key(struct slv_reader *r, uint8_t ret[SLV_ROSTER_KEY]) {
    const struct slv_str k = slv_read_raw(r, SLV_ROSTER_KEY);
    if (k.n == SLV_ROSTER_KEY) memcpy(ret, k.p, k.n);
}

/* A number from 1 on, but of JOINED, whose rights and condition are its invitation's. */
static bool is_sound(const struct slv_statement *s) {
    const bool joined = s->kind == SLV_JOINED;
    if (joined != !s->number) return false;
    if (s->is_conditional && s->kind != SLV_MEMBER && s->kind != SLV_INVITE) return false;
    if (s->until && s->kind != SLV_INVITE) return false; /* nobody would look at it */
    return !joined || (!s->flags && !s->n_scope);
}

int slv_statement_read(struct slv_str bytes, struct slv_statement *ret, const uint8_t **ret_sig) {
    struct slv_reader r = slv_reader_of(bytes.p, bytes.n);
    struct slv_statement s = {0};
    if (bytes.n > SLV_STATEMENT_MAX) return SLV_E_FORMAT;
    const uint64_t version = slv_read_number(&r, VERSION_CONDITION);
    if (version < VERSION) return SLV_E_FORMAT;
    s.is_conditional = version == VERSION_CONDITION;
    s.kind = (enum slv_statement_kind)slv_read_number(&r, SLV_JOINED);
    s.number = slv_read_number(&r, UINT64_MAX >> 1);
    read_key(&r, s.key);
    s.flags = (unsigned)slv_read_number(&r, SLV_MAY_ALL);
    s.until = slv_read_number(&r, UINT64_MAX >> 1);
    s.name = slv_read_bytes(&r, SLV_ROSTER_NAME_MAX);
    s.n_scope = (size_t)slv_read_number(&r, SLV_ROSTER_SCOPES_MAX);
    for (size_t i = 0; i < s.n_scope && !r.bad; i++) {
        s.scope[i].space = slv_read_bytes(&r, 64);
        s.scope[i].prefix = slv_read_bytes(&r, SLV_ROSTER_PREFIX_MAX);
    }
    if (s.kind == SLV_JOINED) read_key(&r, s.invitation);
    if (s.is_conditional) read_condition(&r, &s.condition);
    *ret_sig = NULL;
    if (slv_reader_left(&r)) *ret_sig = (const uint8_t *)slv_read_raw(&r, SLV_ROSTER_SIG).p;
    if (!slv_reader_done(&r) || !s.kind || !is_sound(&s)) return SLV_E_FORMAT;
    *ret = s;
    return 0;
}

void slv_statement_signed(struct slv_str mesh, struct slv_str statement, struct slv_buf *b) {
    slv_buf_adds(b, "selvage mesh statement 1");
    slv_write_bytes(b, mesh.p, mesh.n);
    slv_buf_add(b, statement.p, statement.n);
}

bool slv_statement_covers(const struct slv_statement *s, struct slv_str space, struct slv_str key) {
    if (s->flags & SLV_MAY_WRITE_ALL) return true;
    for (size_t i = 0; i < s->n_scope; i++) {
        const struct slv_str p = s->scope[i].prefix, n = s->scope[i].space;
        if (n.n == space.n && !memcmp(n.p, space.p, n.n) && p.n <= key.n &&
            !memcmp(p.p, key.p, p.n))
            return true;
    }
    return false;
}

/* --- the table -------------------------------------------------------------------------------- */

int slv_roster_open(const struct slv_roster_conf *conf, struct slv_roster **ret) {
    struct slv_roster *r = slv_mem_calloc(1, sizeof *r);
    if (!r) return SLV_E_NOMEM;
    r->conf = *conf;
    r->mesh = slv_mem_strndup(conf->mesh.p, conf->mesh.n);
    if (!r->mesh) {
        slv_mem_free(r);
        return SLV_E_NOMEM;
    }
    r->conf.mesh.p = r->mesh;
    *ret = r;
    return 0;
}

const uint8_t *slv_roster_authority(const struct slv_roster *r) { return r->conf.authority; }

static void free_entry(struct entry *e) {
    if (e) slv_mem_free(e->bytes);
    slv_mem_free(e);
}

void slv_roster_close(struct slv_roster *r) {
    if (!r) return;
    for (size_t i = 0; i < r->n; i++)
        free_entry(r->entry[i]);
    slv_mem_free(r->entry);
    slv_mem_free(r->mesh);
    slv_mem_free(r);
}

static size_t place(const struct slv_roster *r, const uint8_t *key) {
    size_t lo = 0, hi = r->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (memcmp(r->entry[mid]->s.key, key, SLV_ROSTER_KEY) < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static struct entry *find(const struct slv_roster *r, const uint8_t *key) {
    const size_t i = place(r, key);
    return i < r->n && !memcmp(r->entry[i]->s.key, key, SLV_ROSTER_KEY) ? r->entry[i] : NULL;
}

size_t slv_roster_count(const struct slv_roster *r) { return r->n; }

struct slv_str slv_roster_at(const struct slv_roster *r, size_t i) {
    return (struct slv_str){r->entry[i]->bytes, r->entry[i]->n};
}

void slv_roster_print(const struct slv_roster *r, uint8_t ret[16]) {
    crypto_generichash_state s;
    crypto_generichash_init(&s, NULL, 0, 16);
    for (size_t i = 0; i < r->n; i++)
        crypto_generichash_update(&s, (const uint8_t *)r->entry[i]->bytes, r->entry[i]->n);
    crypto_generichash_final(&s, ret, 16);
}

/* --- looking ---------------------------------------------------------------------------------- */

const struct slv_statement *slv_roster_about(const struct slv_roster *r,
                                             const uint8_t key[SLV_ROSTER_KEY]) {
    const struct entry *e = find(r, key);
    return e ? &e->s : NULL;
}

const struct slv_statement *slv_roster_find(const struct slv_roster *r, uint64_t id) {
    for (size_t i = 0; i < r->n; i++)
        if (r->entry[i]->id == id && r->entry[i]->s.kind != SLV_INVITE) return &r->entry[i]->s;
    return NULL;
}

/* Also where its invitation was revoked, and it with that. */
static bool joined(const struct slv_statement *s) { return !s->number; }

static const struct entry *use_of(const struct slv_roster *r, const uint8_t *invitation) {
    for (size_t i = 0; i < r->n; i++)
        if (joined(&r->entry[i]->s) &&
            !memcmp(r->entry[i]->s.invitation, invitation, SLV_ROSTER_KEY))
            return r->entry[i];
    return NULL;
}

const struct slv_statement *slv_roster_use(const struct slv_roster *r,
                                           const uint8_t invitation[SLV_ROSTER_KEY]) {
    const struct entry *e = use_of(r, invitation);
    return e ? &e->s : NULL;
}

bool slv_roster_is_open(const struct slv_roster *r, uint64_t now) {
    for (size_t i = 0; i < r->n; i++) {
        const struct slv_statement *s = &r->entry[i]->s;
        if (s->kind == SLV_INVITE && (!s->until || now < s->until) && !use_of(r, s->key))
            return true;
    }
    return false;
}

/* --- adding ----------------------------------------------------------------------------------- */

/* Whether it is signed by whom it must be. */
static int check(const struct slv_roster *r, const struct slv_statement *s, struct slv_str bytes,
                 const uint8_t *sig) {
    const struct slv_statement *invite = NULL;
    const uint8_t *by = r->conf.authority;
    struct slv_buf b;
    if (s->kind == SLV_JOINED) {
        invite = slv_roster_about(r, s->invitation);
        if (!invite || (invite->kind != SLV_INVITE && invite->kind != SLV_REVOKED))
            return SLV_E_NOENT;
        by = s->invitation;
    }
    if (!sig || !r->conf.has_authority) return SLV_E_TRUST;
    slv_buf_init(&b, 2 * SLV_STATEMENT_MAX);
    slv_statement_signed(r->conf.mesh, (struct slv_str){bytes.p, bytes.n - SLV_ROSTER_SIG}, &b);
    int rc = b.status;
    if (!rc && !r->conf.verify(r->conf.ctx, by, (struct slv_str){b.data, b.len}, sig))
        rc = SLV_E_TRUST;
    slv_buf_fini(&b);
    return rc;
}

/* Whether it counts more than what is there; that is so everywhere, in whatever order they come. */
static bool counts_more(const struct slv_statement *s, struct slv_str bytes,
                        const struct entry *old) {
    if (s->number != old->s.number) return s->number > old->s.number;
    const size_t n = bytes.n < old->n ? bytes.n : old->n;
    const int c = memcmp(bytes.p, old->bytes, n);
    return c ? c > 0 : bytes.n > old->n;
}

/* Its invitation's rights and condition, or that there are none any more. */
static void inherit(const struct slv_roster *r, struct slv_statement *s) {
    const struct slv_statement *invite = slv_roster_about(r, s->invitation);
    if (!joined(s) || !invite) return;
    s->kind = invite->kind == SLV_INVITE ? SLV_JOINED : SLV_REVOKED;
    s->flags = invite->flags;
    s->n_scope = invite->n_scope;
    memcpy(s->scope, invite->scope, sizeof s->scope);
    s->is_conditional = invite->is_conditional;
    s->condition = invite->condition;
}

static int make(const struct slv_roster *r, struct slv_str bytes, struct entry **ret) {
    const uint8_t *sig;
    struct entry *e = slv_mem_calloc(1, sizeof *e);
    if (!e) return SLV_E_NOMEM;
    e->bytes = slv_mem_strndup(bytes.p, bytes.n);
    e->n = bytes.n;
    if (!e->bytes || slv_statement_read((struct slv_str){e->bytes, e->n}, &e->s, &sig)) {
        free_entry(e);
        return SLV_E_NOMEM;
    }
    e->id = r->conf.id_of(r->conf.ctx, e->s.key);
    inherit(r, &e->s);
    *ret = e;
    return 0;
}

/* Those that joined by it have what it says now; its strings are the entry's. */
static void pass_on(struct slv_roster *r, const struct slv_statement *invite) {
    for (size_t i = 0; i < r->n; i++)
        if (!memcmp(r->entry[i]->s.invitation, invite->key, SLV_ROSTER_KEY))
            inherit(r, &r->entry[i]->s);
}

static int put(struct slv_roster *r, struct slv_str bytes, const uint8_t *key, uint64_t *ret_id) {
    const size_t i = place(r, key);
    const bool there = find(r, key) != NULL;
    void *p = r->entry;
    struct entry *e, *old = there ? r->entry[i] : NULL;
    int rc = there ? 0 : slv_mem_grow(&p, r->n, &r->room, sizeof *r->entry, SLV_ROSTER_MAX);
    r->entry = p;
    if (!rc) rc = make(r, bytes, &e);
    if (rc) return rc;
    if (!there) {
        memmove(r->entry + i + 1, r->entry + i, (r->n - i) * sizeof *r->entry);
        r->n++;
    }
    r->entry[i] = e;
    pass_on(r, &e->s);
    free_entry(old);
    *ret_id = e->id;
    return 0;
}

/* 0: it may be added, if *ret_new. */
static int judge(const struct slv_roster *r, struct slv_str bytes, struct slv_statement *s,
                 bool *ret_new) {
    const uint8_t *sig;
    int rc = slv_statement_read(bytes, s, &sig);
    if (rc) return rc;
    const struct entry *old = find(r, s->key);
    *ret_new = !old || counts_more(s, bytes, old);
    if (!*ret_new) return 0;
    if (old && (old->s.kind == SLV_INVITE) != (s->kind == SLV_INVITE) && s->kind != SLV_REVOKED)
        return SLV_E_TRUST; /* a key is a node's or an invitation's */
    rc = check(r, s, bytes, sig);
    const struct entry *use = !rc && s->kind == SLV_JOINED ? use_of(r, s->invitation) : NULL;
    return use && memcmp(use->s.key, s->key, SLV_ROSTER_KEY) != 0 ? SLV_E_BUSY : rc;
}

int slv_roster_check(const struct slv_roster *r, struct slv_str bytes) {
    struct slv_statement s;
    bool is_new;
    return judge(r, bytes, &s, &is_new);
}

int slv_roster_add(struct slv_roster *r, struct slv_str bytes, uint64_t *ret_id) {
    struct slv_statement s;
    bool is_new;
    *ret_id = 0;
    const int rc = judge(r, bytes, &s, &is_new);
    return rc || !is_new ? rc : put(r, bytes, s.key, ret_id);
}
