/* service_roster.c: see service.h. Who is a member, for those who look and for the authority. */
#include "mesh/service_int.h"
#include "base/jsonin.h"
#include "trust/fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void tell_key(struct slv_json *j, const char *name, const void *key) {
    char hex[SLV_HEX(SLV_ROSTER_KEY)];
    slv_hex_write(key, SLV_ROSTER_KEY, hex);
    slv_json_str(j, name, hex);
}

static void tell_scopes(const struct slv_statement *s, struct slv_json *j) {
    slv_json_array(j, "writes");
    for (size_t i = 0; i < s->n_scope; i++) {
        slv_json_object(j, NULL);
        slv_json_strn(j, "space", s->scope[i].space.p, s->scope[i].space.n);
        slv_json_strn(j, "prefix", s->scope[i].prefix.p, s->scope[i].prefix.n);
        slv_json_object_end(j);
    }
    slv_json_array_end(j);
}

static void tell_digests(const char *name, const struct slv_digests *d, struct slv_json *j) {
    slv_json_array(j, name);
    for (size_t i = 0; i < d->n; i++)
        tell_key(j, NULL, d->v[i]);
    slv_json_array_end(j);
}

/* (A digest is as long as a key.) */
static void tell_condition(const struct slv_condition *c, struct slv_json *j) {
    slv_json_object(j, "attest");
    slv_json_bool(j, "any_ak", c->any_ak);
    tell_digests("aks", &c->aks, j);
    tell_digests("binaries", &c->binaries, j);
    tell_digests("policies", &c->policies, j);
    slv_json_object_end(j);
}

/* As it was signed, for who would check it, or carry it elsewhere. */
static void tell_signed(struct slv_str statement, struct slv_json *j) {
    char hex[SLV_HEX(SLV_STATEMENT_MAX)];
    slv_hex_write(statement.p, statement.n, hex);
    slv_json_str(j, "statement", hex);
}

static void tell_statement(const struct slv_roster *r, size_t i, struct slv_json *j) {
    static const char *const kinds[] = {"", "member", "revoked", "invitation", "joined"};
    struct slv_statement own;
    const uint8_t *sig;
    if (slv_statement_read(slv_roster_at(r, i), &own, &sig)) return;
    const struct slv_statement *s = slv_roster_about(r, own.key); /* with what it inherits */
    slv_json_object(j, NULL);
    tell_key(j, "key", s->key);
    slv_json_str(j, "kind", kinds[s->kind]);
    slv_json_strn(j, "name", s->name.p, s->name.n);
    slv_json_uint(j, "number", s->number);
    slv_json_bool(j, "all", s->flags & SLV_MAY_WRITE_ALL);
    slv_json_bool(j, "repairs", s->flags & SLV_MAY_REPAIR);
    slv_json_bool(j, "votes", s->flags & SLV_MAY_VOTE);
    if (s->until) slv_json_uint(j, "until", s->until);
    if (s->kind == SLV_INVITE) slv_json_bool(j, "used", slv_roster_use(r, s->key) != NULL);
    if (s->kind == SLV_JOINED) tell_key(j, "invitation", s->invitation);
    tell_signed(slv_roster_at(r, i), j);
    tell_scopes(s, j);
    if (s->is_conditional) tell_condition(&s->condition, j);
    slv_json_object_end(j);
}

static void tell_addresses(const struct slv_buf *record, struct slv_json *j) {
    struct slv_reader r = slv_reader_of(record->data, record->len);
    slv_read_raw(&r, SLV_ROSTER_KEY);
    slv_json_array(j, "addresses");
    while (slv_reader_left(&r)) {
        const struct slv_str a = slv_read_bytes(&r, record->len);
        slv_json_strn(j, NULL, a.p, a.n);
    }
    slv_json_array_end(j);
}

void service_roster(struct slv_service *s, struct slv_exchange *x) {
    const struct slv_roster *r = slv_node_roster(s->conf.node);
    struct slv_buf b;
    struct slv_json j;
    service_begin(&b, &j);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "mesh", s->conf.mesh);
    if (r) tell_key(&j, "authority", slv_roster_authority(r));
    else slv_json_null(&j, "authority");
    tell_key(&j, "key", s->conf.record->data);
    tell_addresses(s->conf.record, &j);
    slv_json_array(&j, "members");
    for (size_t i = 0; r && i < slv_roster_count(r); i++)
        tell_statement(r, i, &j);
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    service_reply(s, x, NULL, 200, &b);
}

/* The statement's bytes, out of {"statement": hex}. */
static int read_statement(struct slv_str body, uint8_t *ret, size_t *ret_n, struct slv_err *err) {
    struct slv_json_doc doc = {0};
    struct slv_str hex = {"", 0};
    char text[2 * SLV_STATEMENT_MAX + 1];
    int rc = slv_json_read(body.p, body.n, &doc, err);
    if (!rc && !slv_json_get_str(slv_json_get(slv_json_root(&doc), "statement"), &hex))
        rc = slv_err_set(err, SLV_E_USAGE, "no \"statement\"");
    if (!rc && (hex.n >= sizeof text || hex.n % 2))
        rc = slv_err_set(err, SLV_E_USAGE, "a statement is hexadecimal digits, at most %zu",
                         2 * SLV_STATEMENT_MAX);
    if (!rc) {
        memcpy(text, hex.p, hex.n);
        text[hex.n] = '\0';
        *ret_n = hex.n / 2;
        if (!slv_hex_read(text, ret, *ret_n))
            rc = slv_err_set(err, SLV_E_USAGE, "a statement is hexadecimal digits");
    }
    slv_json_doc_fini(&doc);
    return rc;
}

static const char *why_not(int rc) {
    switch (rc) {
    case SLV_E_FORMAT:
        return "that is no statement";
    case SLV_E_TRUST:
        return "it is not signed by this mesh's authority (`--key FILE` names its key)";
    case SLV_E_NOENT:
        return "its invitation is not known";
    case SLV_E_BUSY:
        return "its invitation was used by another";
    case SLV_E_USAGE:
        return "this node was started without --authority";
    case SLV_E_LIMIT:
        return "there are too many statements";
    default:
        return "the store has failed";
    }
}

void service_roster_add(struct slv_service *s, struct slv_exchange *x) {
    static const char body[] = "{\"stated\":true}\n";
    const struct slv_reply r = {.status = 200, .type = "application/json"};
    uint8_t bytes[SLV_STATEMENT_MAX];
    struct slv_err err = {0};
    size_t n = 0;
    int rc = read_statement(slv_exchange_body(x), bytes, &n, &err);
    if (rc) {
        service_refuse(x, service_status_of(rc), err.msg);
        return;
    }
    rc = slv_node_state(s->conf.node, s->conf.now(), (struct slv_str){(const char *)bytes, n});
    s->conf.wake(s->conf.ctx);
    if (rc) service_refuse(x, service_status_of(rc), why_not(rc));
    else slv_exchange_reply(x, &r, body, sizeof body - 1);
}
