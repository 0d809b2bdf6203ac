/* check.c: see check.h. */
#include "mesh/check.h"
#include "mesh/history.h"

struct look {
    const struct slv_op *op;
    uint64_t stamp;
};

typedef bool check_fn(const struct look *l, struct slv_str path, struct slv_str data);

static bool free_form(const struct look *l, struct slv_str path, struct slv_str data) {
    (void)l, (void)path, (void)data;
    return true;
}

static bool no_path(const struct look *l, struct slv_str path, struct slv_str data) {
    (void)l, (void)data;
    return !path.n;
}

static bool stamped(const struct look *l, struct slv_str path, struct slv_str data) {
    struct slv_reader r = slv_reader_of(data.p, data.n);
    (void)path;
    return slv_read_id(&r) <= l->stamp && !r.bad;
}

static bool last(const struct look *l, struct slv_str path, struct slv_str data) {
    return no_path(l, path, data) && stamped(l, path, data);
}

static bool nothing_more(const struct look *l, struct slv_str path, struct slv_str data) {
    (void)l, (void)path;
    return !data.n;
}

/* What is left of the path is the writer's own id. */
static bool own_id(const struct look *l, struct slv_reader *path) {
    return slv_read_id(path) == l->op->dot.writer && slv_reader_done(path);
}

static bool own_row(const struct look *l, struct slv_str path, struct slv_str data) {
    struct slv_reader r = slv_reader_of(path.p, path.n);
    (void)data;
    return own_id(l, &r);
}

static bool own_part(const struct look *l, struct slv_str path, struct slv_str data) {
    struct slv_reader r = slv_reader_of(path.p, path.n);
    slv_read_id(&r); /* the epoch */
    return own_id(l, &r) && data.n % 4 == 0;
}

/* A member's name: up to two zeros, where a zero of its own has a one behind it. */
static void skip_name(struct slv_reader *r) {
    while (!r->bad) {
        if (*slv_read_raw(r, 1).p) continue;
        if (!*slv_read_raw(r, 1).p) return;
    }
}

static bool in_document(const struct look *l, struct slv_str path, struct slv_str data) {
    struct slv_reader r = slv_reader_of(path.p, path.n);
    while (slv_reader_left(&r)) {
        switch (*slv_read_raw(&r, 1).p) {
        case '.':
            skip_name(&r);
            break;
        case '@':
            slv_read_raw(&r, 20);
            break;
        case '=':
            return slv_reader_done(&r) && stamped(l, path, data);
        case '+':
            return own_id(l, &r);
        case '#':
            slv_read_raw(&r, 17);
            return !r.bad; /* a sequence's, as seq.h reads it */
        default:
            return false;
        }
    }
    return false;
}

static check_fn *const check[SLV_MESH_TYPES] = {
    [SLV_TYPE_LAST] = last,        [SLV_TYPE_MANY] = no_path,     [SLV_TYPE_ON_WINS] = no_path,
    [SLV_TYPE_OFF_WINS] = no_path, [SLV_TYPE_SET] = nothing_more, [SLV_TYPE_COUNTER] = own_row,
    [SLV_TYPE_GROWING] = own_row,  [SLV_TYPE_BUDGET] = own_row,   [SLV_TYPE_VECTOR] = own_part,
    [SLV_TYPE_LIST] = free_form,   [SLV_TYPE_TEXT] = free_form,   [SLV_TYPE_DOC] = in_document,
    [SLV_TYPE_UNIQUE] = own_row,   [SLV_TYPE_TOP] = own_row,
};

/* Rows of a budget go only where their own writer writes over them. */
static bool removes_only_own(const struct slv_op *op) {
    return !op->removes.n || (op->removes.n == 1 && op->removes.writer[0].id == op->dot.writer);
}

static bool check_entry(const struct look *l, enum slv_mesh_type type, bool ttl,
                        const struct slv_op_entry *e) {
    struct slv_str data = e->data;
    if (ttl) {
        if (!stamped(l, e->path, data)) return false;
        data = (struct slv_str){data.p + SLV_TTL_STAMP, data.n - SLV_TTL_STAMP};
    }
    return check[type](l, e->path, data);
}

/* Of a key that is no value (history.h): they come and stay, and tell of no time to come. */
static bool check_marks(const struct slv_op *op, uint64_t stamp) {
    struct slv_mark m;
    for (uint32_t i = 0; i < op->n; i++) {
        const struct slv_op_entry *e = &op->entry[i];
        if (e->path.n != SLV_MARK_PATH || e->data.n > SLV_MARK_BYTES_MAX ||
            !slv_mark_read(e->data, &m) || m.at_ms > stamp >> 16)
            return false;
    }
    return !op->removes.n;
}

bool slv_op_check(const struct slv_op *op, enum slv_mesh_type type, bool ttl, uint64_t stamp) {
    const struct look l = {op, stamp};
    if (slv_mark_is_key(op->key))
        return slv_mesh_type_reverts(type) && !ttl && check_marks(op, stamp);
    if (type == SLV_TYPE_BUDGET && !removes_only_own(op)) return false;
    for (uint32_t i = 0; i < op->n; i++)
        if (!check_entry(&l, type, ttl, &op->entry[i])) return false;
    return true;
}
