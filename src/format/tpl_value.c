/* tpl_value.c: values of the template language, dicts, and the scopes that own them.
 *
 * A value is 32 bytes in its scope's arena and is never freed alone. Strings are views: a slice or
 * a stripped copy shares bytes. Dicts keep insertion order; the index over their entries is keyed
 * by a seed that differs between scopes and processes, so that a crafted set of keys does not make
 * it slow. */
#include "base/mem.h"
#include "base/utf8.h"
#include "format/template_impl.h"

#include <string.h>

#define INDEX_FROM 9 /* entries from which a dict has an index */
#define DICT_MAX ((size_t)1 << 24)
#define TEXT_MAX ((size_t)1 << 30) /* bytes of a string: their count fits 32 bits */

_Static_assert(sizeof(struct slv_value) == 32, "most of a rendering's memory is values");

struct slv_value slv_tpl_none = {.kind = TPL_NONE};
struct slv_value slv_tpl_true = {.kind = TPL_BOOL, .truth = true};
struct slv_value slv_tpl_false = {.kind = TPL_BOOL, .truth = false};
struct slv_value slv_tpl_undef = {.kind = TPL_UNDEF, .s = {"value", 5}};
struct slv_value slv_tpl_empty = {.kind = TPL_STR, .s = {"", 0}};

void slv_tpl_scope_init(struct slv_scope *s, size_t max) {
    *s = (struct slv_scope){0};
    slv_arena_init(&s->arena, max);
    /* Where the system puts a heap block and this program is a secret of the process. */
    s->seed = (uint64_t)(uintptr_t)s * 0x9e3779b97f4a7c15u ^ (uint64_t)(uintptr_t)&slv_tpl_none;
}

void *slv_tpl_alloc(struct slv_scope *s, size_t size) {
    if (!s) return NULL;
    void *p = slv_arena_alloc(&s->arena, size);
    /* The arena does not say which it was; within a chunk of its maximum it was the maximum. */
    if (!p) {
        s->failed = true;
        s->full = s->arena.max - s->arena.used < size + ((size_t)1 << 20) + 64;
    }
    return p;
}

int slv_scope_open(size_t max_bytes, const struct slv_clock *clock, struct slv_scope **ret) {
    struct slv_scope *s = slv_mem_alloc(sizeof *s);
    if (!s) return SLV_E_NOMEM;
    slv_tpl_scope_init(s, max_bytes);
    s->clock = clock;
    s->names = slv_value_dict(s);
    if (!s->names) {
        int rc = s->full ? SLV_E_LIMIT : SLV_E_NOMEM;
        slv_scope_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void slv_scope_close(struct slv_scope *s) {
    if (!s) return;
    slv_arena_fini(&s->arena);
    slv_mem_free(s);
}

struct slv_value *slv_tpl_new(struct slv_scope *s, enum tpl_kind kind) {
    struct slv_value *v = slv_tpl_alloc(s, sizeof *v);
    if (v) v->kind = (uint8_t)kind;
    return v;
}

struct slv_value *slv_value_none(struct slv_scope *s) {
    return s ? &slv_tpl_none : NULL;
}

struct slv_value *slv_value_bool(struct slv_scope *s, bool v) {
    return s ? slv_tpl_bool(v) : NULL;
}

struct slv_value *slv_value_int(struct slv_scope *s, int64_t v) {
    struct slv_value *r = slv_tpl_new(s, TPL_INT);
    if (r) r->i = v;
    return r;
}

struct slv_value *slv_value_double(struct slv_scope *s, double v) {
    struct slv_value *r = slv_tpl_new(s, TPL_FLOAT);
    if (r) r->d = v;
    return r;
}

/* --- strings ---------------------------------------------------------------------------------- */

static uint32_t count_cps(const char *p, size_t n) {
    uint32_t cps = 0;
    for (size_t i = 0; i < n; i++)
        cps += ((unsigned char)p[i] & 0xc0) != 0x80;
    return cps;
}

struct slv_value *slv_tpl_view(struct slv_scope *s, const char *p, size_t n) {
    if (n == 0) return &slv_tpl_empty;
    struct slv_value *v = slv_tpl_new(s, TPL_STR);
    if (!v) return NULL;
    v->s = (struct tpl_text){p, n};
    v->cps = count_cps(p, n);
    return v;
}

struct slv_value *slv_tpl_like(struct tpl_run *r, const struct slv_value *v, const char *p,
                               size_t n) {
    if (!slv_tpl_pay(r, n / 32)) return NULL;
    if (!v->markup) return slv_tpl_view(&r->mem, p, n);
    struct slv_value *made = slv_tpl_new(&r->mem, TPL_STR);
    if (!made) return NULL;
    made->markup = true;
    made->s = (struct tpl_text){p, n};
    made->cps = count_cps(p, n);
    return made;
}

struct slv_value *slv_tpl_cstr(struct slv_scope *s, const char *literal) {
    return slv_tpl_view(s, literal, strlen(literal));
}

struct slv_value *slv_value_str(struct slv_scope *s, const char *p, size_t n) {
    if (!s) return NULL;
    if (n == 0) return &slv_tpl_empty;
    if (n > TEXT_MAX) return NULL;
    size_t room = n;
    bool valid = slv_utf8_valid(p, n, NULL);
    if (!valid && !slv_size_mul(n, 3, &room)) return NULL;
    char *copy = slv_tpl_alloc(s, room);
    if (!copy) return NULL;
    if (valid) memcpy(copy, p, n);
    else n = slv_utf8_repair(p, n, copy, NULL);
    return slv_tpl_view(s, copy, n);
}

/* Stands before the bytes of a long concatenation, which have room behind them. */
struct growth {
    size_t used, room;
};

#define GROW_FROM 128 /* bytes from which a concatenation gets room to grow */

/* Where nothing was written behind text a yet, b is written there, and the two texts share bytes:
 * building a long text piece by piece stays linear. */
struct slv_value *slv_tpl_join2(struct tpl_run *r, const struct slv_value *a,
                                const struct slv_value *b) {
    size_t n = a->s.n + b->s.n; /* both are at most TPL_STR_MAX */
    if (n > TPL_STR_MAX) return slv_tpl_fail_code(r, SLV_E_LIMIT, "a text grows too long");
    struct slv_value *v = slv_tpl_new(&r->mem, TPL_STR);
    if (!v || !slv_tpl_pay(r, b->s.n / 32)) return NULL;
    struct growth *g = a->growth;
    if (g && g->used == a->s.n && g->room - g->used >= b->s.n) {
        memcpy((char *)(g + 1) + g->used, b->s.p, b->s.n);
    } else {
        size_t room = n < GROW_FROM ? n : n + n / 2;
        if (!slv_tpl_pay(r, a->s.n / 32)) return NULL;
        g = slv_tpl_alloc(&r->mem, sizeof *g + room);
        if (!g) return NULL;
        g->room = room;
        if (a->s.n) memcpy(g + 1, a->s.p, a->s.n);
        if (b->s.n) memcpy((char *)(g + 1) + a->s.n, b->s.p, b->s.n);
    }
    g->used = n;
    v->s = (struct tpl_text){(char *)(g + 1), n};
    v->growth = g;
    v->cps = a->cps + b->cps;
    return v;
}

bool slv_tpl_text_is(const struct slv_value *v, const char *literal) {
    size_t n = strlen(literal);
    return v->kind == TPL_STR && v->s.n == n && memcmp(v->s.p, literal, n) == 0;
}

/* --- lists ------------------------------------------------------------------------------------ */

struct slv_value *slv_tpl_list(struct slv_scope *s, enum tpl_kind kind, size_t cap) {
    struct slv_value *v = slv_tpl_new(s, kind);
    struct tpl_list *l = v ? slv_tpl_alloc(s, sizeof *l) : NULL;
    size_t bytes;
    if (!l) return NULL;
    if (cap) {
        if (!slv_size_mul(cap, sizeof *l->v, &bytes)) return NULL;
        l->v = slv_tpl_alloc(s, bytes);
        if (!l->v) return NULL;
        l->cap = cap;
    }
    v->list = l;
    return v;
}

struct slv_value *slv_value_list(struct slv_scope *s) {
    return slv_tpl_list(s, TPL_LIST, 0);
}

bool slv_tpl_push(struct slv_scope *s, struct slv_value *list, struct slv_value *v) {
    if (!list || !v) return false;
    struct tpl_list *l = list->list;
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4, bytes;
        if (!slv_size_mul(cap, sizeof *l->v, &bytes)) return false;
        struct slv_value **p = slv_tpl_alloc(s, bytes);
        if (!p) return false;
        if (l->n) memcpy(p, l->v, l->n * sizeof *p);
        l->v = p;
        l->cap = cap;
    }
    l->v[l->n++] = v;
    return true;
}

struct slv_value *slv_value_push(struct slv_scope *s, struct slv_value *list, struct slv_value *v) {
    if (!list || list->kind != TPL_LIST) return NULL;
    return slv_tpl_push(s, list, v) ? list : NULL;
}

struct slv_value *slv_tpl_pair(struct slv_scope *s, struct slv_value *a, struct slv_value *b) {
    struct slv_value *v = slv_tpl_list(s, TPL_TUPLE, 2);
    if (!v || !slv_tpl_push(s, v, a) || !slv_tpl_push(s, v, b)) return NULL;
    return v;
}

/* --- dicts ------------------------------------------------------------------------------------ */

struct slv_value *slv_value_dict(struct slv_scope *s) {
    struct slv_value *v = slv_tpl_new(s, TPL_DICT);
    if (!v) return NULL;
    v->dict = slv_tpl_alloc(s, sizeof *v->dict);
    return v->dict ? v : NULL;
}

/* Position of the key, or d->n; -1 on failure. */
static int64_t find(struct tpl_run *r, const struct tpl_dict *d, const struct slv_value *key,
                    uint64_t hash) {
    for (size_t i = d->index ? hash & d->mask : 0;; i = d->index ? (i + 1) & d->mask : i + 1) {
        size_t at = d->index ? d->index[i] : i < d->n ? i + 1 : 0;
        if (at == 0) return (int64_t)d->n;
        const struct tpl_entry *e = &d->e[at - 1];
        if (e->hash != hash) continue;
        if (e->key == key) return (int64_t)at - 1;
        int same = slv_tpl_equal(r, e->key, key);
        if (same < 0) return -1;
        if (same) return (int64_t)at - 1;
    }
}

static void index_put(struct tpl_dict *d, size_t at) {
    size_t i = d->e[at].hash & d->mask;
    while (d->index[i])
        i = (i + 1) & d->mask;
    d->index[i] = (uint32_t)at + 1;
}

static bool grow(struct slv_scope *s, struct tpl_dict *d) {
    size_t cap = d->cap ? d->cap * 2 : 4;
    if (cap > DICT_MAX) return false;
    struct tpl_entry *e = slv_tpl_alloc(s, cap * sizeof *e);
    if (!e) return false;
    if (d->n) memcpy(e, d->e, d->n * sizeof *e);
    d->e = e;
    d->cap = cap;
    if (cap < INDEX_FROM) return true;
    uint32_t *index = slv_tpl_alloc(s, 2 * cap * sizeof *index);
    if (!index) return false;
    d->index = index;
    d->mask = 2 * cap - 1;
    for (size_t i = 0; i < d->n; i++)
        index_put(d, i);
    return true;
}

bool slv_tpl_put(struct tpl_run *r, struct slv_scope *s, struct tpl_dict *d, struct slv_value *key,
                 struct slv_value *v) {
    uint64_t hash;
    if (!key || !v || !slv_tpl_hash(r, s, key, &hash)) return false;
    int64_t at = find(r, d, key, hash);
    if (at < 0) return false;
    if ((size_t)at < d->n) {
        d->e[at].value = v;
        return true;
    }
    if (d->n == d->cap && !grow(s, d)) return false;
    d->e[d->n] = (struct tpl_entry){key, v, hash};
    if (d->index) index_put(d, d->n);
    d->n++;
    return true;
}

struct slv_value *slv_value_put(struct slv_scope *s, struct slv_value *dict, const char *key,
                                struct slv_value *v) {
    if (!s || !dict || dict->kind != TPL_DICT || !v) return NULL;
    struct slv_value *k = slv_value_str(s, key, strlen(key));
    return k && slv_tpl_put(NULL, s, dict->dict, k, v) ? dict : NULL;
}

struct slv_value *slv_tpl_get(struct tpl_run *r, struct slv_scope *s, const struct tpl_dict *d,
                              const struct slv_value *key) {
    uint64_t hash;
    if (!slv_tpl_hash(r, s, key, &hash)) return NULL;
    int64_t at = find(r, d, key, hash);
    return at >= 0 && (size_t)at < d->n ? d->e[at].value : NULL;
}

struct slv_value *slv_tpl_get_str(struct slv_scope *s, const struct tpl_dict *d, const char *p,
                                  size_t n) {
    struct slv_value key = {.kind = TPL_STR, .s = {p, n}};
    return slv_tpl_get(NULL, s, d, &key);
}

int slv_scope_set(struct slv_scope *s, const char *name, struct slv_value *v) {
    return v && slv_value_put(s, s->names, name, v) ? 0 : SLV_E_NOMEM;
}

int slv_scope_set_all(struct slv_scope *s, struct slv_value *dict) {
    if (!dict) return SLV_E_NOMEM;
    if (dict->kind != TPL_DICT) return SLV_E_USAGE;
    for (size_t i = 0; i < dict->dict->n; i++) {
        const struct tpl_entry *e = &dict->dict->e[i];
        if (!slv_tpl_put(NULL, s, s->names->dict, e->key, e->value)) return SLV_E_NOMEM;
    }
    return 0;
}
