/* fuzz_mesh.c: any bytes as a set of dots and as a run of ops: refused, or read as what writing it
 * again gives; and whatever was applied can be read as a value of every type. */
#include "mesh/doc.h"
#include "mesh/invite.h"
#include "mesh/oplog.h"
#include "mesh/retired.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok) {
    if (!ok) abort();
}

static void dots(const uint8_t *data, size_t size) {
    struct slv_dots s = {0}, t = {0};
    struct slv_buf b;
    struct slv_reader r = slv_reader_of(data, size);
    const int rc = slv_dots_read(&r, &s);
    require(!rc || rc == SLV_E_FORMAT);
    slv_buf_init(&b, (size_t)1 << 24);
    if (!rc) {
        const size_t n = size - slv_reader_left(&r);
        slv_dots_write(&s, &b);
        require(b.len == n && !memcmp(b.data, data, n));
        require(!slv_dots_join(&t, &s) && slv_dots_equal(&s, &t) && slv_dots_cover(&s, &t));
    }
    slv_buf_fini(&b);
    slv_dots_fini(&s);
    slv_dots_fini(&t);
}

static bool touch(void *ctx, struct slv_str v) {
    size_t *sum = ctx;
    for (size_t i = 0; i < v.n; i++)
        *sum += (unsigned char)v.p[i];
    return true;
}

/* A sketch that is read is written as it was, and what its writer adds to it is one again. */
static void check_sketches(const struct slv_space *s, struct slv_str key) {
    struct slv_walk w = slv_walk_of(s, key, (struct slv_str){"", 0});
    const struct slv_entry *e;
    while ((e = slv_walk_next(&w)) != NULL) {
        const struct slv_str data = slv_entry_data(e);
        struct slv_unique u;
        struct slv_top t;
        struct slv_buf b, c;
        slv_buf_init(&b, SLV_DATA_MAX);
        slv_buf_init(&c, SLV_DATA_MAX);
        if (slv_unique_read(data, &u)) {
            slv_unique_write(&u, &b);
            require(b.len == data.n && !memcmp(b.data, data.p, data.n));
        }
        if (slv_top_read(data, &t)) {
            slv_top_write(&t, &c);
            require(c.len == data.n && !memcmp(c.data, data.p, data.n));
        }
        const int rc = slv_top_add(&t, slv_entry_path(e), 1 + e->dot.n);
        require(!rc || rc == SLV_E_LIMIT);
        slv_buf_clear(&c);
        slv_top_write(&t, &c);
        require(slv_top_read((struct slv_str){c.data, c.len}, &t));
        slv_buf_fini(&b);
        slv_buf_fini(&c);
    }
}

static void read_sketches(const struct slv_space *s, struct slv_str key, size_t *sum) {
    struct slv_top_item item[16];
    size_t n = 0;
    require(slv_read_unique(s, key) <= SLV_UNIQUE_MOST);
    require(!slv_read_top(s, key, item, 16, &n) && n <= 16);
    for (size_t i = 0; i < n; i++) {
        require(item[i].error < item[i].count && (!i || item[i].count <= item[i - 1].count));
        touch(sum, item[i].value);
    }
    check_sketches(s, key);
}

static void read_value(const struct slv_space *s, struct slv_str key) {
    size_t sum = 0;
    double v[4];
    for (int t = 0; t < SLV_MESH_TYPES; t++)
        slv_read_values(s, (enum slv_mesh_type)t, key, touch, &sum);
    (void)slv_read_flag(s, SLV_TYPE_ON_WINS, key);
    (void)slv_read_count(s, SLV_TYPE_COUNTER, key);
    (void)slv_read_count(s, SLV_TYPE_BUDGET, key);
    (void)slv_read_rights(s, key, 1);
    (void)slv_read_vector(s, key, 1, v, 4);
    read_sketches(s, key, &sum);
    for (int is_text = 0; is_text < 2; is_text++) {
        struct slv_seq q;
        if (slv_seq_open(s, key, (struct slv_str){"", 0}, is_text, &q)) continue;
        for (size_t i = 0; i < q.count && i < 64; i++)
            touch(&sum, slv_seq_at(&q, i));
        slv_seq_close(&q);
    }
    struct slv_buf b;
    slv_buf_init(&b, 1 << 20);
    const int rc = slv_doc_read(s, key, (struct slv_str){"", 0}, &b);
    require(!rc || rc == SLV_E_NOENT || rc == SLV_E_LIMIT);
    slv_buf_fini(&b);
}

/* Of bytes that are read as one another gives. */
static void check_bytes(const struct slv_op *op, const uint8_t *p, size_t n) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_OP_BYTES_MAX);
    slv_op_write(op, &b);
    require(b.len == n && !memcmp(b.data, p, n));
    slv_buf_fini(&b);
}

static void ops(const uint8_t *data, size_t size) {
    struct slv_space s;
    struct slv_oplog *log;
    struct slv_reader r = slv_reader_of(data, size);
    require(!slv_space_init(&s) && !slv_oplog_open(1 << 20, &log));
    for (int k = 0; k < 32 && slv_reader_left(&r); k++) {
        const uint64_t writer = slv_read_id(&r), n = slv_read_number(&r, SLV_DOT_MAX);
        const uint8_t *from = r.p;
        struct slv_op op = {0};
        bool fresh = false;
        if (slv_op_read(&r, (struct slv_dot){writer, n}, &op)) break;
        check_bytes(&op, from, (size_t)(r.p - from));
        const int rc = slv_space_apply(&s, &op, &fresh);
        require(!rc || rc == SLV_E_LIMIT);
        if (!rc) require(!slv_space_apply(&s, &op, &fresh) && !fresh);
        const int kept = slv_oplog_add(log, op.dot.writer, slv_op_range(&op),
                                       (struct slv_str){(const char *)from, (size_t)(r.p - from)});
        require(!kept || kept == SLV_E_LIMIT);
        read_value(&s, op.key);
        slv_op_fini(&op);
    }
    slv_oplog_close(log);
    slv_space_fini(&s);
}

static bool always(void *ctx, const uint8_t key[SLV_ROSTER_KEY], struct slv_str bytes,
                   const uint8_t sig[SLV_ROSTER_SIG]) {
    (void)ctx, (void)key, (void)bytes, (void)sig;
    return true;
}

static uint64_t id_of(void *ctx, const uint8_t key[SLV_ROSTER_KEY]) {
    (void)ctx;
    return key[0];
}

/* Statements, each behind its length, as if all were signed. */
static void statements(const uint8_t *data, size_t size) {
    const struct slv_roster_conf c = {
        .mesh = {"m", 1}, .has_authority = true, .verify = always, .id_of = id_of};
    struct slv_reader r = slv_reader_of(data, size);
    struct slv_roster *roster;
    require(!slv_roster_open(&c, &roster));
    while (slv_reader_left(&r)) {
        const struct slv_str bytes = slv_read_bytes(&r, SLV_STATEMENT_MAX);
        struct slv_statement s;
        const uint8_t *sig;
        struct slv_buf b;
        uint64_t id;
        if (slv_statement_read(bytes, &s, &sig)) continue;
        slv_buf_init(&b, SLV_STATEMENT_MAX);
        require(!slv_statement_write(&s, &b) && b.len + (sig ? SLV_ROSTER_SIG : 0) == bytes.n &&
                !memcmp(b.data, bytes.p, b.len));
        slv_buf_fini(&b);
        (void)slv_statement_covers(&s, s.name, s.name);
        if (slv_roster_add(roster, bytes, &id)) continue;
        require(slv_roster_about(roster, s.key) != NULL);
        require(!slv_roster_add(roster, bytes, &id) && !id);
    }
    slv_roster_close(roster);
}

static void invitation(const uint8_t *data, size_t size) {
    struct slv_invite i;
    struct slv_buf b;
    const struct slv_str line = {(const char *)data, size};
    if (slv_invite_read(line, &i, NULL)) return;
    slv_buf_init(&b, 65536);
    require(!slv_invite_write(&i, &b) && b.len == size && !memcmp(b.data, data, size));
    slv_buf_fini(&b);
}

/* One that is read is written as it was, and found again. */
static void retirement(const uint8_t *data, size_t size) {
    const struct slv_dot dot = {9, 1};
    struct slv_retired t = {0};
    struct slv_buf b;
    const int rc = slv_retired_add(&t, dot, (struct slv_str){(const char *)data, size}, NULL);
    require(rc == SLV_E_FORMAT || !rc);
    slv_buf_init(&b, (size_t)1 << 24);
    if (!rc) {
        const struct slv_retirement *r = t.v[0];
        slv_retirement_write(r, &b);
        require(b.len == size && !memcmp(b.data, data, size));
        require(slv_retired_find(&t, r->writer) == r && slv_retired_names(&t, &t.dots, r->writer));
        require(slv_dots_last(slv_retired_seen(&t, r->writer, r->space[0].id), r->writer) > 0);
    }
    slv_buf_fini(&b);
    slv_retired_fini(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    retirement(data, size);
    dots(data, size);
    ops(data, size);
    statements(data, size);
    invitation(data, size);
    return 0;
}
