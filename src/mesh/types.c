/* types.c: see types.h. */
#include "mesh/types.h"

#define DRAFT_MAX ((size_t)8 << 20)
#define COUNT_MAX ((uint64_t)1 << 62)
#define GIFTS_MAX SLV_WRITERS_MAX

static const char *const names[SLV_MESH_TYPES] = {
    [SLV_TYPE_LAST] = "last",         [SLV_TYPE_MANY] = "many",     [SLV_TYPE_ON_WINS] = "on-wins",
    [SLV_TYPE_OFF_WINS] = "off-wins", [SLV_TYPE_SET] = "set",       [SLV_TYPE_COUNTER] = "counter",
    [SLV_TYPE_GROWING] = "growing",   [SLV_TYPE_BUDGET] = "budget", [SLV_TYPE_VECTOR] = "vector",
    [SLV_TYPE_LIST] = "list",         [SLV_TYPE_TEXT] = "text",     [SLV_TYPE_DOC] = "doc",
    [SLV_TYPE_UNIQUE] = "unique",     [SLV_TYPE_TOP] = "top",
};

const char *slv_mesh_type_name(enum slv_mesh_type t) { return names[t]; }

bool slv_mesh_type_expires(enum slv_mesh_type t) {
    return t != SLV_TYPE_BUDGET && t != SLV_TYPE_VECTOR && t != SLV_TYPE_LIST &&
           t != SLV_TYPE_TEXT && t != SLV_TYPE_DOC;
}

bool slv_mesh_type_find(struct slv_str name, enum slv_mesh_type *ret) {
    for (int t = 0; t < SLV_MESH_TYPES; t++)
        if (slv_str_is(name, names[t])) {
            *ret = (enum slv_mesh_type)t;
            return true;
        }
    return false;
}

/* --- entries of a key ------------------------------------------------------------------------- */

struct slv_walk slv_walk_of(const struct slv_space *s, struct slv_str key, struct slv_str prefix) {
    const struct slv_place at = {.key = key, .path = prefix};
    return (struct slv_walk){s, key, prefix, slv_entries_rank(s->entries, &at)};
}

static bool same(struct slv_str a, struct slv_str b) {
    return a.n == b.n && (!a.n || !memcmp(a.p, b.p, a.n));
}

const struct slv_entry *slv_walk_next(struct slv_walk *w) {
    const struct slv_entry *e = slv_entries_at(w->s->entries, w->rank++);
    if (!e || !same(slv_entry_key(e), w->key)) return NULL;
    const struct slv_str path = slv_entry_path(e);
    return path.n >= w->prefix.n && same((struct slv_str){path.p, w->prefix.n}, w->prefix) ? e
                                                                                           : NULL;
}

const struct slv_entry *slv_walk_next_row(struct slv_walk *w) {
    const struct slv_entry *e = slv_walk_next(w), *behind;
    while (e && (behind = slv_entries_at(w->s->entries, w->rank)) != NULL &&
           same(slv_entry_key(behind), w->key) && same(slv_entry_path(behind), slv_entry_path(e)))
        e = slv_walk_next(w);
    return e;
}

static const struct slv_str none = {"", 0};

/* --- a write ---------------------------------------------------------------------------------- */

int slv_draft_open(struct slv_draft *d, const struct slv_space *s, enum slv_mesh_type type,
                   struct slv_str key, struct slv_dot dot, uint64_t stamp) {
    *d = (struct slv_draft){.space = s, .type = type, .stamp = stamp, .op = {.dot = dot}};
    if (key.n > SLV_KEY_MAX) return SLV_E_LIMIT;
    slv_arena_init(&d->arena, DRAFT_MAX);
    char *copy = slv_arena_strndup(&d->arena, key.p, key.n);
    if (!copy) {
        slv_arena_fini(&d->arena);
        return SLV_E_NOMEM;
    }
    d->op.key = (struct slv_str){copy, key.n};
    return 0;
}

void slv_draft_close(struct slv_draft *d) {
    slv_op_fini(&d->op);
    slv_arena_fini(&d->arena);
}

int slv_draft_remove(struct slv_draft *d, struct slv_str path, bool below) {
    struct slv_walk w = slv_walk_of(d->space, d->op.key, path);
    const struct slv_entry *e;
    int rc = 0;
    while (!rc && (e = slv_walk_next(&w)) != NULL) {
        if (!below && e->n_path != path.n) break; /* longer ones come behind */
        rc = slv_dots_add_dot(&d->op.removes, e->dot);
    }
    if (!rc && slv_dots_count(&d->op.removes) > SLV_OP_REMOVES_MAX) rc = SLV_E_LIMIT;
    return rc;
}

/* Behind the write's stamp, where entries go by themselves. */
static int put_stamped(struct slv_draft *d, struct slv_str path, const void *data, size_t n) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_DATA_MAX);
    slv_write_id(&b, d->stamp);
    slv_buf_add(&b, data, n);
    char *q = b.status ? NULL : slv_arena_strndup(&d->arena, b.data, b.len);
    const struct slv_str bytes = {q, b.len};
    const int rc = b.status ? b.status : q ? slv_op_add(&d->op, path, bytes) : SLV_E_NOMEM;
    slv_buf_fini(&b);
    return rc;
}

int slv_draft_put(struct slv_draft *d, struct slv_str path, const void *data, size_t n) {
    char *p = slv_arena_strndup(&d->arena, path.p, path.n);
    if (!p) return SLV_E_NOMEM;
    if (d->space->ttl.ms) return put_stamped(d, (struct slv_str){p, path.n}, data, n);
    char *q = slv_arena_strndup(&d->arena, data, n);
    if (!q) return SLV_E_NOMEM;
    return slv_op_add(&d->op, (struct slv_str){p, path.n}, (struct slv_str){q, n});
}

/* In the place of what is at this path. */
static int replace(struct slv_draft *d, struct slv_str path, const void *data, size_t n) {
    const int rc = slv_draft_remove(d, path, false);
    return rc ? rc : slv_draft_put(d, path, data, n);
}

static int put_buf(struct slv_draft *d, struct slv_str path, struct slv_buf *b) {
    const int rc = b->status ? b->status : replace(d, path, b->data, b->len);
    slv_buf_fini(b);
    return rc;
}

int slv_draft_delete(struct slv_draft *d) {
    return d->type == SLV_TYPE_BUDGET ? SLV_E_USAGE : slv_draft_remove(d, none, true);
}

int slv_draft_assign(struct slv_draft *d, struct slv_str value) {
    struct slv_buf b;
    if (d->type != SLV_TYPE_LAST && d->type != SLV_TYPE_MANY) return SLV_E_USAGE;
    slv_buf_init(&b, SLV_DATA_MAX);
    if (d->type == SLV_TYPE_LAST) slv_write_id(&b, d->stamp);
    slv_buf_add(&b, value.p, value.n);
    return put_buf(d, none, &b);
}

int slv_draft_switch(struct slv_draft *d, bool on) {
    if (d->type != SLV_TYPE_ON_WINS && d->type != SLV_TYPE_OFF_WINS) return SLV_E_USAGE;
    const bool says = on == (d->type == SLV_TYPE_ON_WINS);
    return says ? replace(d, none, "", 0) : slv_draft_remove(d, none, false);
}

int slv_draft_add(struct slv_draft *d, struct slv_str element) {
    return d->type == SLV_TYPE_SET ? replace(d, element, "", 0) : SLV_E_USAGE;
}

int slv_draft_drop(struct slv_draft *d, struct slv_str element) {
    return d->type == SLV_TYPE_SET ? slv_draft_remove(d, element, false) : SLV_E_USAGE;
}

/* --- rows by writer --------------------------------------------------------------------------- */

/* The path of a writer's row, behind what stands before it. */
struct row_path {
    char bytes[16];
    size_t n;
};

static void add_id(struct row_path *p, uint64_t v) {
    for (size_t i = 0; i < 8; i++)
        p->bytes[p->n++] = (char)(v >> (56 - 8 * i));
}

static struct slv_str path_str(const struct row_path *p) {
    return (struct slv_str){p->bytes, p->n};
}

static struct row_path row_of(uint64_t writer) {
    struct row_path p = {.n = 0};
    add_id(&p, writer);
    return p;
}

/* What is at a path, of several the last. NULL: nothing. */
static const struct slv_entry *entry_at(const struct slv_space *s, struct slv_str key,
                                        struct slv_str path) {
    struct slv_walk w = slv_walk_of(s, key, path);
    const struct slv_entry *e = slv_walk_next_row(&w);
    return e && e->n_path == path.n ? e : NULL;
}

struct ups_downs {
    uint64_t ups, downs;
};

/* A row that is damaged counts as none. */
static struct ups_downs read_count(const struct slv_space *s, const struct slv_entry *e) {
    const struct slv_str data = slv_space_data(s, e);
    struct slv_reader r = slv_reader_of(data.p, data.n);
    const uint64_t ups = slv_read_number(&r, COUNT_MAX), downs = slv_read_number(&r, COUNT_MAX);
    return slv_reader_done(&r) ? (struct ups_downs){ups, downs} : (struct ups_downs){0, 0};
}

int slv_draft_count_at(struct slv_draft *d, struct slv_str prefix, int64_t by) {
    struct slv_buf path, b;
    slv_buf_init(&path, SLV_PATH_MAX);
    slv_buf_add(&path, prefix.p, prefix.n);
    slv_write_id(&path, d->op.dot.writer);
    const struct slv_str own = {path.data, path.len};
    const struct slv_entry *e = entry_at(d->space, d->op.key, own);
    struct ups_downs c = e ? read_count(d->space, e) : (struct ups_downs){0, 0};
    const uint64_t n = by < 0 ? -(uint64_t)by : (uint64_t)by;
    uint64_t *to = by < 0 ? &c.downs : &c.ups;
    int rc = path.status ? path.status : n > COUNT_MAX - *to ? SLV_E_LIMIT : 0;
    *to += n;
    slv_buf_init(&b, 64);
    slv_write_number(&b, c.ups);
    slv_write_number(&b, c.downs);
    if (rc) slv_buf_fini(&b);
    else rc = put_buf(d, own, &b);
    slv_buf_fini(&path);
    return rc;
}

int slv_draft_count(struct slv_draft *d, int64_t by) {
    if (d->type != SLV_TYPE_COUNTER && d->type != SLV_TYPE_GROWING) return SLV_E_USAGE;
    return d->type == SLV_TYPE_GROWING && by < 0 ? SLV_E_USAGE : slv_draft_count_at(d, none, by);
}

/* --- budgets ---------------------------------------------------------------------------------- */

/* A row: made, spent, number of gifts, each: to whom (ascending), how much in all. */
struct budget_row {
    uint64_t made, spent, given; /* given: all gifts */
    uint64_t to_one;             /* of them, to the writer that was asked for */
};

/* Gifts that are being written: the list with `more` added to what `to` was given. */
struct gifts {
    uint64_t to, more; /* more 0: nothing to add, or it is there */
    struct slv_buf list;
    uint64_t n;
};

static void put_gift(struct gifts *g, uint64_t id, uint64_t much) {
    slv_write_id(&g->list, id);
    slv_write_number(&g->list, much);
    g->n++;
}

/* The next of the list as it was, in the order of ids; UINT64_MAX and 0: its end. */
static void copy_gift(struct gifts *g, uint64_t id, uint64_t much) {
    if (g->more && g->to < id) {
        put_gift(g, g->to, g->more);
        g->more = 0;
    }
    if (g->more && g->to == id) {
        much += g->more;
        g->more = 0;
    }
    if (much) put_gift(g, id, much);
}

/* The row of e; NULL, or one that is damaged: nothing. `to`: who is asked for. Its gifts are copied
 * to g, which may be NULL. */
static struct budget_row read_row(const struct slv_entry *e, uint64_t to, struct gifts *g) {
    struct budget_row row = {0};
    uint64_t last = 0;
    if (!e) return row;
    struct slv_reader r = slv_reader_of(e->bytes + e->n_path, e->n_data);
    row.made = slv_read_number(&r, COUNT_MAX);
    row.spent = slv_read_number(&r, COUNT_MAX);
    for (uint64_t k = slv_read_number(&r, GIFTS_MAX); k > 0 && !r.bad; k--) {
        const uint64_t id = slv_read_id(&r), much = slv_read_number(&r, COUNT_MAX);
        if (last && id <= last) r.bad = true;
        last = id;
        if (id == to) row.to_one = much;
        row.given += much;
        if (g) copy_gift(g, id, much);
    }
    return slv_reader_done(&r) ? row : (struct budget_row){0};
}

uint64_t slv_read_rights(const struct slv_space *s, struct slv_str key, uint64_t writer) {
    const struct row_path own = row_of(writer);
    const struct slv_entry *mine = entry_at(s, key, path_str(&own)), *e;
    const struct budget_row row = read_row(mine, 0, NULL);
    uint64_t in = row.made;
    struct slv_walk w = slv_walk_of(s, key, none);
    while ((e = slv_walk_next_row(&w)) != NULL)
        if (e != mine) in += read_row(e, writer, NULL).to_one;
    const uint64_t out = row.spent + row.given;
    return in > out ? in - out : 0;
}

/* This writer's row with more of one of the three. */
static int change_row(struct slv_draft *d, uint64_t made, uint64_t spent, uint64_t to,
                      uint64_t given) {
    const struct row_path own = row_of(d->op.dot.writer);
    const struct slv_entry *e = entry_at(d->space, d->op.key, path_str(&own));
    struct gifts g = {.to = to, .more = given};
    struct slv_buf b;
    if (d->type != SLV_TYPE_BUDGET) return SLV_E_USAGE;
    if (spent + given > slv_read_rights(d->space, d->op.key, d->op.dot.writer)) return SLV_E_BUSY;
    slv_buf_init(&g.list, SLV_DATA_MAX);
    const struct budget_row row = read_row(e, 0, &g);
    copy_gift(&g, UINT64_MAX, 0);
    slv_buf_init(&b, SLV_DATA_MAX);
    slv_write_number(&b, row.made + made);
    slv_write_number(&b, row.spent + spent);
    slv_write_number(&b, g.n);
    slv_buf_add(&b, g.list.data, g.list.len);
    const int rc = g.list.status ? g.list.status : row.made + made > COUNT_MAX ? SLV_E_LIMIT : 0;
    slv_buf_fini(&g.list);
    if (!rc) return put_buf(d, path_str(&own), &b);
    slv_buf_fini(&b);
    return rc;
}

int slv_draft_mint(struct slv_draft *d, uint64_t n) {
    return n > COUNT_MAX ? SLV_E_LIMIT : change_row(d, n, 0, 0, 0);
}

int slv_draft_spend(struct slv_draft *d, uint64_t n) {
    return n > COUNT_MAX ? SLV_E_BUSY : change_row(d, 0, n, 0, 0);
}

int slv_draft_give(struct slv_draft *d, uint64_t to, uint64_t n) {
    if (to == d->op.dot.writer || !n) return SLV_E_USAGE;
    return n > COUNT_MAX ? SLV_E_BUSY : change_row(d, 0, 0, to, n);
}

/* --- vectors ---------------------------------------------------------------------------------- */

static void write_floats(struct slv_buf *b, const float *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, &v[i], sizeof u);
        const char le[4] = {(char)u, (char)(u >> 8), (char)(u >> 16), (char)(u >> 24)};
        slv_buf_add(b, le, sizeof le);
    }
}

static float read_float(const char *p) {
    const unsigned char *b = (const unsigned char *)p;
    const uint32_t u =
        (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint64_t epoch_of(const struct slv_entry *e) {
    struct slv_reader r = slv_reader_of(e->bytes, e->n_path);
    return slv_read_id(&r);
}

/* All parts of epochs before `keep`. */
static int remove_before(struct slv_draft *d, uint64_t keep) {
    struct slv_walk w = slv_walk_of(d->space, d->op.key, none);
    const struct slv_entry *e;
    int rc = 0;
    while (!rc && (e = slv_walk_next(&w)) != NULL && epoch_of(e) < keep)
        rc = slv_dots_add_dot(&d->op.removes, e->dot);
    return rc;
}

int slv_draft_contribute(struct slv_draft *d, uint64_t epoch, uint64_t keep, const float *v,
                         size_t n) {
    struct row_path p = {.n = 0};
    struct slv_buf b;
    if (d->type != SLV_TYPE_VECTOR) return SLV_E_USAGE;
    add_id(&p, epoch);
    add_id(&p, d->op.dot.writer);
    if (epoch < keep || entry_at(d->space, d->op.key, path_str(&p))) return SLV_E_BUSY;
    if (n > SLV_DATA_MAX / 4) return SLV_E_LIMIT;
    const int rc = remove_before(d, keep);
    if (rc) return rc;
    slv_buf_init(&b, SLV_DATA_MAX);
    write_floats(&b, v, n);
    return put_buf(d, path_str(&p), &b);
}

size_t slv_read_vector(const struct slv_space *s, struct slv_str key, uint64_t epoch, double *ret,
                       size_t n) {
    struct row_path p = {.n = 0};
    const struct slv_entry *e;
    size_t k = 0;
    add_id(&p, epoch);
    struct slv_walk w = slv_walk_of(s, key, path_str(&p));
    for (size_t i = 0; i < n; i++)
        ret[i] = 0.0;
    while ((e = slv_walk_next(&w)) != NULL) {
        const struct slv_str data = slv_entry_data(e);
        if (data.n != 4 * n) continue;
        for (size_t i = 0; i < n; i++)
            ret[i] += (double)read_float(data.p + 4 * i);
        k++;
    }
    return k;
}

/* --- sketches --------------------------------------------------------------------------------- */

/* A row that another put, who is no honest writer, is none. */
static bool is_own(const struct slv_entry *e) {
    const struct row_path own = row_of(e->dot.writer);
    return same(slv_entry_path(e), path_str(&own));
}

/* The next row that is its writer's own, of several the last. (They are next to each other.) */
static const struct slv_entry *next_own(struct slv_walk *w) {
    const struct slv_entry *e, *behind;
    while ((e = slv_walk_next(w)) != NULL) {
        if (!is_own(e)) continue;
        behind = slv_entries_at(w->s->entries, w->rank);
        if (!behind || !same(slv_entry_key(behind), w->key) ||
            behind->dot.writer != e->dot.writer || !is_own(behind))
            break;
    }
    return e;
}

/* The data of this writer's row; nothing, which is read as a sketch of nothing: it has none. */
static struct slv_str own_row(const struct slv_draft *d, const struct row_path *own) {
    struct slv_walk w = slv_walk_of(d->space, d->op.key, path_str(own));
    const struct slv_entry *e = next_own(&w);
    return e ? slv_space_data(d->space, e) : none;
}

int slv_draft_see(struct slv_draft *d, struct slv_str value) {
    const struct row_path own = row_of(d->op.dot.writer);
    struct slv_unique u;
    struct slv_buf b;
    if (d->type != SLV_TYPE_UNIQUE) return SLV_E_USAGE;
    slv_unique_read(own_row(d, &own), &u);
    slv_unique_add(&u, value);
    slv_buf_init(&b, SLV_DATA_MAX);
    slv_unique_write(&u, &b);
    return put_buf(d, path_str(&own), &b);
}

int slv_draft_tally(struct slv_draft *d, struct slv_str value, uint64_t n) {
    const struct row_path own = row_of(d->op.dot.writer);
    struct slv_top t;
    struct slv_buf b;
    if (d->type != SLV_TYPE_TOP) return SLV_E_USAGE;
    slv_top_read(own_row(d, &own), &t);
    const int rc = slv_top_add(&t, value, n);
    if (rc) return rc;
    slv_buf_init(&b, SLV_DATA_MAX);
    slv_top_write(&t, &b);
    return put_buf(d, path_str(&own), &b);
}

uint64_t slv_read_unique(const struct slv_space *s, struct slv_str key) {
    struct slv_walk w = slv_walk_of(s, key, none);
    const struct slv_entry *e;
    struct slv_unique all = {{0}}, u;
    while ((e = next_own(&w)) != NULL)
        if (slv_unique_read(slv_space_data(s, e), &u)) slv_unique_join(&all, &u);
    return slv_unique_count(&all);
}

int slv_read_top(const struct slv_space *s, struct slv_str key, struct slv_top_item *ret, size_t n,
                 size_t *ret_n) {
    struct slv_walk w = slv_walk_of(s, key, none);
    const struct slv_entry *e;
    struct slv_top_sum sum = {0};
    struct slv_top t;
    int rc = 0;
    while (!rc && (e = next_own(&w)) != NULL)
        if (slv_top_read(slv_space_data(s, e), &t)) rc = slv_top_sum_add(&sum, &t);
    if (!rc) {
        slv_top_sum_end(&sum);
        *ret_n = sum.n < n ? sum.n : n;
        if (*ret_n) memcpy(ret, sum.item, *ret_n * sizeof *ret);
    }
    slv_top_sum_fini(&sum);
    return rc;
}

/* --- reading ---------------------------------------------------------------------------------- */

static uint64_t stamp_of(struct slv_str data) {
    struct slv_reader r = slv_reader_of(data.p, data.n);
    return slv_read_id(&r);
}

/* The latest of those written at the same time; entries of a place come in the order of writers. */
static const struct slv_entry *latest(const struct slv_space *s, struct slv_str key) {
    struct slv_walk w = slv_walk_of(s, key, none);
    const struct slv_entry *best = NULL, *e;
    uint64_t most = 0;
    while ((e = slv_walk_next(&w)) != NULL) {
        const struct slv_str data = slv_space_data(s, e);
        const uint64_t stamp = stamp_of(data);
        if (data.n < 8 || (best && stamp < most)) continue;
        best = e;
        most = stamp;
    }
    return best;
}

void slv_read_values(const struct slv_space *s, enum slv_mesh_type type, struct slv_str key,
                     bool (*fn)(void *ctx, struct slv_str value), void *ctx) {
    const struct slv_entry *e, *before = NULL;
    if (type == SLV_TYPE_LAST) {
        e = latest(s, key);
        if (!e) return;
        const struct slv_str data = slv_space_data(s, e);
        fn(ctx, (struct slv_str){data.p + 8, data.n - 8});
        return;
    }
    struct slv_walk w = slv_walk_of(s, key, none);
    for (bool more = true; more && (e = slv_walk_next(&w)) != NULL; before = e) {
        const bool again = before && same(slv_entry_path(before), slv_entry_path(e));
        if (type == SLV_TYPE_SET) more = again || fn(ctx, slv_entry_path(e));
        else more = fn(ctx, slv_space_data(s, e));
    }
}

bool slv_read_flag(const struct slv_space *s, enum slv_mesh_type type, struct slv_str key) {
    struct slv_walk w = slv_walk_of(s, key, none);
    return (slv_walk_next(&w) != NULL) == (type == SLV_TYPE_ON_WINS);
}

bool slv_read_has(const struct slv_space *s, struct slv_str key, struct slv_str element) {
    return entry_at(s, key, element) != NULL;
}

int64_t slv_read_count_at(const struct slv_space *s, struct slv_str key, struct slv_str prefix) {
    struct slv_walk w = slv_walk_of(s, key, prefix);
    const struct slv_entry *e;
    uint64_t sum = 0;
    while ((e = slv_walk_next_row(&w)) != NULL) {
        const struct ups_downs c = read_count(s, e);
        sum += c.ups - c.downs;
    }
    return (int64_t)sum;
}

int64_t slv_read_count(const struct slv_space *s, enum slv_mesh_type type, struct slv_str key) {
    struct slv_walk w = slv_walk_of(s, key, none);
    const struct slv_entry *e;
    uint64_t sum = 0;
    if (type != SLV_TYPE_BUDGET) return slv_read_count_at(s, key, none);
    while ((e = slv_walk_next_row(&w)) != NULL) {
        const struct budget_row row = read_row(e, 0, NULL);
        sum += row.made - row.spent;
    }
    return (int64_t)sum;
}
