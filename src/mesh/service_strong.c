/* service_strong.c: see service.h. Spaces that a group agrees on: reading through it, writing,
 * locks, and what the group is. Their values are JSON. */
#include "mesh/service_int.h"
#include "base/mem.h"
#include "mesh/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- spaces ----------------------------------------------------------------------------------- */

bool service_strong_find(const struct slv_service *s, struct slv_str name, size_t *ret) {
    for (size_t i = 0; i < slv_node_agreed_count(s->conf.node); i++) {
        *ret = i;
        if (slv_str_is(name, slv_node_agreed_name(s->conf.node, i))) return true;
    }
    return false;
}

static size_t count_of(const struct slv_node *n, size_t i) {
    const struct slv_strong *g = slv_node_strong(n);
    return g ? slv_strong_count(g, slv_node_agreed_id(n, i)) : 0;
}

void service_strong_tell_space(const struct slv_node *n, size_t i, struct slv_json *j) {
    char id[20];
    snprintf(id, sizeof id, "%016" PRIx64, slv_node_agreed_id(n, i));
    slv_json_object(j, NULL);
    slv_json_str(j, "name", slv_node_agreed_name(n, i));
    slv_json_str(j, "type", "last");
    slv_json_str(j, "order", "strong");
    slv_json_str(j, "id", id);
    slv_json_uint(j, "entries", count_of(n, i));
    slv_json_object_end(j);
}

void service_strong_keys(struct slv_service *s, struct slv_exchange *x, size_t agreed,
                         const struct service_query *q) {
    const struct slv_strong *g = slv_node_strong(s->conf.node);
    const uint64_t space = slv_node_agreed_id(s->conf.node, agreed);
    struct slv_str key = {q->after, strlen(q->after)};
    const struct service_seen seen = {true, agreed, g ? slv_strong_applied(g) : 0};
    struct slv_buf b;
    struct slv_json j;
    service_begin(&b, &j);
    slv_json_object(&j, NULL);
    slv_json_array(&j, "keys");
    for (size_t k = 0; g && k < q->limit && k < KEYS_MOST; k++) {
        if (!slv_strong_next(g, space, key, &key)) break;
        slv_json_strn(&j, NULL, key.p, key.n);
    }
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    service_reply(s, x, &seen, 200, &b);
}

/* Programs that embed the library may have put bytes that are no JSON: they are a string. */
static void write_value(struct slv_json *j, struct slv_str v) {
    struct slv_json_doc doc = {0};
    if (!slv_json_read(v.p, v.n, &doc, NULL)) slv_value_json(j, "value", slv_json_root(&doc));
    else slv_json_strn(j, "value", v.p, v.n);
    slv_json_doc_fini(&doc);
}

void service_strong_value(const struct slv_service *s, size_t agreed, struct slv_str key,
                          struct slv_json *j) {
    const struct slv_strong *g = slv_node_strong(s->conf.node);
    struct slv_strong_result r = {0};
    if (g) slv_strong_get(g, slv_node_agreed_id(s->conf.node, agreed), key, &r);
    slv_json_uint(j, "version", r.version);
    if (r.version) write_value(j, r.value);
    else slv_json_null(j, "value");
}

/* --- what came of it -------------------------------------------------------------------------- */

/* What a result's version is, for each thing that can be done. */
static const char *const means[] = {
    [SLV_STRONG_PUT] = "version",  [SLV_STRONG_DELETE] = "version",
    [SLV_STRONG_CAS] = "version",  [SLV_STRONG_CAS_VALUE] = "version",
    [SLV_STRONG_LOCK] = "token",   [SLV_STRONG_UNLOCK] = "token",
    [SLV_STRONG_GRANT] = "lease",  [SLV_STRONG_KEEPALIVE] = "lease",
    [SLV_STRONG_REVOKE] = "lease", [SLV_STRONG_EPOCH] = "epoch",
    [SLV_STRONG_GET] = "version",
};

static struct service_seen seen_by(const struct asking *a, const struct slv_strong_result *r) {
    return (struct service_seen){true, a->agreed, r->index};
}

static void answer_value(struct slv_service *s, const struct asking *a,
                         const struct slv_strong_result *r) {
    const struct service_seen seen = seen_by(a, r);
    struct slv_buf b;
    struct slv_json j;
    if (!r->version) {
        service_tell_none(s, a->x, &seen, 404, "no such key");
        return;
    }
    service_begin(&b, &j);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "space", slv_node_agreed_name(s->conf.node, a->agreed));
    slv_json_str(&j, "key", a->key);
    slv_json_uint(&j, "version", r->version);
    write_value(&j, r->value);
    slv_json_object_end(&j);
    service_reply(s, a->x, &seen, 200, &b);
}

static void answer_done(struct slv_service *s, const struct asking *a,
                        const struct slv_strong_result *r) {
    const struct service_seen seen = seen_by(a, r);
    struct slv_buf b;
    struct slv_json j;
    service_begin(&b, &j);
    slv_json_object(&j, NULL);
    slv_json_bool(&j, "written", true);
    slv_json_uint(&j, means[a->op], r->version);
    slv_json_uint(&j, "index", r->index);
    slv_json_object_end(&j);
    service_reply(s, a->x, &seen, 200, &b);
}

static void answer_conflict(struct slv_service *s, const struct asking *a,
                            const struct slv_strong_result *r) {
    const struct service_seen seen = seen_by(a, r);
    struct slv_buf b;
    struct slv_json j;
    service_begin(&b, &j);
    slv_json_object(&j, NULL);
    slv_json_object(&j, "error");
    slv_json_str(&j, "message",
                 a->op == SLV_STRONG_LOCK ? "the lock is held, or the key has a value that is none"
                                          : "it is not what it should be: nothing was done");
    slv_json_uint(&j, "version", r->version);
    slv_json_object_end(&j);
    slv_json_object_end(&j);
    service_reply(s, a->x, &seen, 409, &b);
}

static void answer(struct slv_service *s, const struct asking *a,
                   const struct slv_strong_result *r) {
    switch (r->status) {
    case SLV_STRONG_OK:
        if (a->op == SLV_STRONG_GET) answer_value(s, a, r);
        else answer_done(s, a, r);
        return;
    case SLV_STRONG_CONFLICT:
        answer_conflict(s, a, r);
        return;
    case SLV_STRONG_LIMIT:
        service_refuse(a->x, 413, "the group holds as much as it may");
        return;
    case SLV_STRONG_DENIED:
        service_refuse(a->x, 403, "this node may not write that");
        return;
    case SLV_STRONG_TIMEOUT:
    case SLV_STRONG_EXPIRED:
        service_refuse(a->x, 504, "no answer in time: it may have been done, or not");
        return;
    case SLV_STRONG_NOT_LEADER:
    case SLV_STRONG_UNAVAILABLE:
    case SLV_STRONG_STATUSES:
        service_refuse(a->x, 503, "nobody leads the group, or too few answer: it was not done");
        return;
    }
}

static void drop(struct asking *a) {
    slv_exchange_put(a->x);
    slv_mem_free(a->key);
    slv_mem_free(a);
}

void slv_service_answered(struct slv_service *s, uint64_t ask, const struct slv_strong_result *r) {
    for (struct asking **at = &s->asking; *at; at = &(*at)->next) {
        struct asking *a = *at;
        if (a->ask != ask) continue;
        *at = a->next;
        answer(s, a, r);
        drop(a);
        return;
    }
}

void service_strong_drop(struct slv_service *s) {
    for (struct asking *a; (a = s->asking) != NULL;) {
        s->asking = a->next;
        service_refuse(a->x, 504, "the store failed: it may have been done, or not");
        drop(a);
    }
}

/* --- asking ----------------------------------------------------------------------------------- */

static int ask(struct slv_service *s, struct slv_exchange *x, size_t agreed, struct slv_str key,
               const struct slv_strong_command *c, const struct service_query *q) {
    struct asking *a = slv_mem_calloc(1, sizeof *a);
    if (!a) return SLV_E_NOMEM;
    *a = (struct asking){.x = x, .op = c->op, .agreed = agreed};
    a->key = slv_mem_strndup(key.p, key.n);
    const int rc =
        a->key ? slv_node_ask(s->conf.node, s->conf.now(), c, (uint32_t)q->timeout_ms, &a->ask)
               : SLV_E_NOMEM;
    if (rc) {
        slv_mem_free(a->key);
        slv_mem_free(a);
        return rc;
    }
    slv_exchange_hold(x);
    a->next = s->asking;
    s->asking = a;
    s->conf.wake(s->conf.ctx);
    return 0;
}

static void ask_or_refuse(struct slv_service *s, struct slv_exchange *x, size_t agreed,
                          struct slv_str key, const struct slv_strong_command *c,
                          const struct service_query *q) {
    switch (ask(s, x, agreed, key, c, q)) {
    case 0:
        return;
    case SLV_E_BUSY:
        service_refuse(x, 503, "too much is asked of the group at once");
        return;
    case SLV_E_TRUST:
        service_refuse(x, 403, "this node may not write that");
        return;
    case SLV_E_LIMIT:
        service_refuse(x, 413, "the key or the value is too long");
        return;
    default:
        service_refuse(x, 503, "out of memory");
        return;
    }
}

void service_strong_get(struct slv_service *s, struct slv_exchange *x, size_t agreed,
                        struct slv_str key, const struct service_query *q) {
    const struct slv_strong *g = slv_node_strong(s->conf.node);
    struct slv_strong_command c = {.op = SLV_STRONG_GET,
                                   .space = slv_node_agreed_id(s->conf.node, agreed),
                                   .key = key,
                                   .read = (enum slv_strong_read)q->read};
    if (q->read != READ_LOCAL) {
        ask_or_refuse(s, x, agreed, key, &c, q);
        return;
    }
    char text[SLV_STRONG_KEY_MAX + 1];
    if (key.n >= sizeof text || !g) { /* (so nothing was seen) */
        service_refuse(x, 404, "no such key");
        return;
    }
    memcpy(text, key.p, key.n);
    text[key.n] = '\0';
    const struct asking a = {.x = x, .op = c.op, .agreed = agreed, .key = text};
    struct slv_strong_result r;
    slv_strong_get(g, c.space, key, &r);
    r.index = slv_strong_applied(g);
    answer_value(s, &a, &r);
}

/* --- operations ------------------------------------------------------------------------------- */

/* The members of a body but "op": the first two are JSON, the others numbers. */
enum { VALUE, EXPECT, VERSION, LEASE, TOKEN, TTL, MEMBERS };
#define BIT(m) (1u << (m))

static const struct {
    const char *name;
    int64_t least, most;
} members[MEMBERS] = {
    [VALUE] = {"value", 0, 0},
    [EXPECT] = {"expect", 0, 0},
    [VERSION] = {"version", 0, INT64_MAX >> 1},
    [LEASE] = {"lease", 1, INT64_MAX >> 1},
    [TOKEN] = {"token", 1, INT64_MAX >> 1},
    [TTL] = {"ttl_ms", 1, INT32_MAX},
};

static const struct {
    const char *name;
    enum slv_strong_op op;
    unsigned needs, may; /* members */
} ops[] = {
    {"set", SLV_STRONG_PUT, BIT(VALUE), BIT(LEASE)},
    {"cas", SLV_STRONG_CAS, BIT(VALUE) | BIT(VERSION), BIT(LEASE)},
    {"swap", SLV_STRONG_CAS_VALUE, BIT(VALUE) | BIT(EXPECT), BIT(LEASE)},
    {"lock", SLV_STRONG_LOCK, BIT(TTL), BIT(VALUE)},
    {"unlock", SLV_STRONG_UNLOCK, BIT(TOKEN), 0},
    {"grant", SLV_STRONG_GRANT, BIT(TTL), 0},
    {"keepalive", SLV_STRONG_KEEPALIVE, BIT(LEASE), 0},
    {"revoke", SLV_STRONG_REVOKE, BIT(LEASE), 0},
    {"epoch", SLV_STRONG_EPOCH, 0, 0},
};

struct body {
    unsigned has; /* members */
    struct slv_str op;
    struct slv_buf json[EXPECT + 1];
    int64_t number[MEMBERS];
};

static int read_json(struct slv_json_val v, struct slv_buf *b) {
    struct slv_json j;
    slv_json_init(&j, b);
    slv_value_json(&j, NULL, v);
    return b->status;
}

static int read_member(struct slv_str name, struct slv_json_val v, struct body *b) {
    size_t i = 0;
    if (slv_str_is(name, "op")) return slv_json_get_str(v, &b->op) ? 0 : SLV_E_USAGE;
    while (i < MEMBERS && !slv_str_is(name, members[i].name))
        i++;
    if (i == MEMBERS) return SLV_E_USAGE;
    b->has |= BIT(i);
    if (i <= EXPECT) return read_json(v, &b->json[i]);
    return slv_json_get_i64(v, &b->number[i]) && b->number[i] >= members[i].least &&
                   b->number[i] <= members[i].most
               ? 0
               : SLV_E_USAGE;
}

/* The first of them. */
static const char *name_of(unsigned bits) {
    size_t i = 0;
    while (!(bits & BIT(i)))
        i++;
    return members[i].name;
}

static int make(struct body *b, struct slv_strong_command *c, struct slv_err *err) {
    size_t i = 0;
    while (i < sizeof ops / sizeof *ops && !slv_str_is(b->op, ops[i].name))
        i++;
    if (i == sizeof ops / sizeof *ops)
        return slv_err_set(err, SLV_E_USAGE, "a strong space has no op \"%.*s\"",
                           (int)(b->op.n < 40 ? b->op.n : 40), b->op.p);
    const unsigned lacks = ops[i].needs & ~b->has, over = b->has & ~(ops[i].needs | ops[i].may);
    if (lacks || over)
        return slv_err_set(err, SLV_E_USAGE, "op \"%s\" %s \"%s\"", ops[i].name,
                           lacks ? "wants" : "has no", name_of(lacks ? lacks : over));
    c->op = ops[i].op;
    c->value = (struct slv_str){b->json[VALUE].data, b->json[VALUE].len};
    c->expect = (struct slv_str){b->json[EXPECT].data, b->json[EXPECT].len};
    c->version = (uint64_t)b->number[b->has & BIT(TOKEN) ? TOKEN : VERSION];
    c->lease = (uint64_t)b->number[LEASE];
    c->ttl_ms = (uint32_t)b->number[TTL];
    return 0;
}

static int read_body(struct slv_str text, struct body *b, struct slv_json_doc *doc,
                     struct slv_strong_command *c, struct slv_err *err) {
    struct slv_json_iter it = {0};
    struct slv_json_val v;
    struct slv_str name;
    int rc = slv_json_read(text.p, text.n, doc, err);
    if (rc) return rc;
    while (slv_json_each(slv_json_root(doc), &it, &name, &v)) {
        rc = read_member(name, v, b);
        if (!rc) continue;
        const int n = (int)(name.n < 40 ? name.n : 40);
        if (rc == SLV_E_LIMIT)
            return slv_err_set(err, rc, "\"%.*s\": of a strong space it has at most %zu bytes", n,
                               name.p, SLV_STRONG_VALUE_MAX);
        return slv_err_set(err, rc, "\"%.*s\" is not known, or not so", n, name.p);
    }
    return make(b, c, err);
}

void service_strong_put(struct slv_service *s, struct slv_exchange *x, size_t agreed,
                        struct slv_str key, const struct service_query *q) {
    struct slv_strong_command c = {
        .op = SLV_STRONG_DELETE, .space = slv_node_agreed_id(s->conf.node, agreed), .key = key};
    struct body b = {.op = {"set", 3}};
    struct slv_json_doc doc = {0};
    struct slv_err err = {0};
    int rc = 0;
    for (size_t i = 0; i <= EXPECT; i++)
        slv_buf_init(&b.json[i], SLV_STRONG_VALUE_MAX);
    if (slv_exchange_head(x)->method != SLV_METHOD_DELETE)
        rc = read_body(slv_exchange_body(x), &b, &doc, &c, &err);
    if (rc) service_refuse(x, service_status_of(rc), err.msg);
    else ask_or_refuse(s, x, agreed, key, &c, q);
    slv_json_doc_fini(&doc);
    for (size_t i = 0; i <= EXPECT; i++)
        slv_buf_fini(&b.json[i]);
}

/* --- the group -------------------------------------------------------------------------------- */

void service_strong_found(struct slv_service *s, struct slv_exchange *x) {
    const struct slv_str query = slv_exchange_head(x)->query;
    const enum slv_node_founding how = slv_str_is(query, "anew=true")    ? SLV_FOUND_ANEW
                                       : slv_str_is(query, "copy=true")  ? SLV_FOUND_COPY
                                       : slv_str_is(query, "other=true") ? SLV_FOUND_OTHER
                                                                         : SLV_FOUND_FIRST;
    struct slv_buf b;
    struct slv_json j;
    char id[20];
    if (slv_node_found(s->conf.node, s->conf.now(), how)) {
        static const char *const why[] = {
            [SLV_FOUND_FIRST] = "this node is in a group already",
            [SLV_FOUND_ANEW] = "this node is in a group already, and has lost nothing of it",
            [SLV_FOUND_COPY] = "nothing is lost: its group has a leader; or this node has no copy",
            [SLV_FOUND_OTHER] = "no other group is heard of"};
        service_refuse(x, 409, why[how]);
        return;
    }
    s->conf.wake(s->conf.ctx);
    snprintf(id, sizeof id, "%016" PRIx64, slv_node_group(s->conf.node));
    service_begin(&b, &j);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "group", id);
    slv_json_object_end(&j);
    service_reply(s, x, NULL, 200, &b);
}

static void tell_id(struct slv_json *j, const char *name, uint64_t id) {
    char text[20];
    snprintf(text, sizeof text, "%016" PRIx64, id);
    if (id) slv_json_str(j, name, text);
    else slv_json_null(j, name);
}

void service_strong_status(const struct slv_node *n, struct slv_json *j) {
    static const char *const roles[] = {"none", "spare", "learner", "voter"};
    const struct slv_strong *g = slv_node_strong(n);
    uint64_t ids[SLV_STRONG_MEMBERS_MAX];
    struct slv_strong_stats c;
    if (!g) {
        slv_json_null(j, "strong");
        return;
    }
    slv_strong_stats(g, &c);
    slv_json_object(j, "strong");
    tell_id(j, "group", slv_node_group(n));
    tell_id(j, "leader", slv_strong_leader(g));
    if (slv_node_rival(n)) tell_id(j, "rival", slv_node_rival(n));
    slv_json_uint(j, "term", slv_strong_term(g));
    slv_json_str(j, "role", roles[slv_strong_role(g, slv_node_id(n))]);
    slv_json_bool(j, "damaged", slv_strong_is_lost(g));
    slv_json_uint(j, "applied", slv_strong_applied(g));
    slv_json_uint(j, "log_bytes", c.log_bytes);
    slv_json_uint(j, "state_bytes", c.state_bytes);
    slv_json_array(j, "members");
    const size_t k = slv_strong_members(g, ids);
    for (size_t i = 0; i < k; i++) {
        slv_json_object(j, NULL);
        tell_id(j, "id", ids[i]);
        slv_json_str(j, "role", roles[slv_strong_role(g, ids[i])]);
        slv_json_object_end(j);
    }
    slv_json_array_end(j);
    slv_json_object_end(j);
}

/* What was compacted away may have been of any key. */
void slv_service_agreed_changed(struct slv_service *s, size_t agreed, struct slv_str key) {
    const struct slv_strong *g = s->conf.node ? slv_node_strong(s->conf.node) : NULL;
    if (key.n || !g) {
        service_note(s, true, agreed, key);
        return;
    }
    const uint64_t space = slv_node_agreed_id(s->conf.node, agreed);
    while (slv_strong_next(g, space, key, &key))
        service_note(s, true, agreed, key);
}
