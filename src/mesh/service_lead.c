/* service_lead.c: see service.h. Who should lead the group: asked for, and waited for. */
#include "mesh/service_int.h"
#include "base/jsonin.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>

#define ID_DIGITS 16u

/* {"to": id}, or {}: this node. False: it says something else. */
static bool read_to(const struct slv_service *s, struct slv_str body, uint64_t *ret) {
    struct slv_json_doc doc = {0};
    struct slv_str name, id = {"", 0};
    struct slv_json_iter it = {0};
    struct slv_json_val v;
    char text[ID_DIGITS + 1] = "", end;
    bool ok = true;
    *ret = slv_node_id(s->conf.node);
    if (slv_json_read(body.p, body.n, &doc, NULL)) return false;
    while (slv_json_each(slv_json_root(&doc), &it, &name, &v))
        ok = ok && slv_str_is(name, "to") && slv_json_get_str(v, &id) && id.n == ID_DIGITS;
    if (ok && id.n) {
        memcpy(text, id.p, ID_DIGITS);
        ok = strspn(text, "0123456789abcdef") == ID_DIGITS &&
             sscanf(text, "%" SCNx64 "%c", ret, &end) == 1;
    }
    slv_json_doc_fini(&doc);
    return ok;
}

static void answer(struct slv_service *s, struct slv_exchange *x, uint64_t leader) {
    struct slv_buf b;
    struct slv_json j;
    char id[ID_DIGITS + 1];
    snprintf(id, sizeof id, "%016" PRIx64, leader);
    service_begin(&b, &j);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "leader", id);
    slv_json_object_end(&j);
    service_reply(s, x, NULL, 200, &b);
}

static int wait_for(struct slv_service *s, struct slv_exchange *x, uint64_t to, uint64_t ms) {
    struct leading *l = slv_mem_calloc(1, sizeof *l);
    if (!l) return SLV_E_NOMEM;
    *l = (struct leading){s->leading, x, to, s->conf.now() + ms * 1000000u};
    s->leading = l;
    slv_exchange_hold(x);
    s->conf.wake(s->conf.ctx);
    return 0;
}

void service_lead(struct slv_service *s, struct slv_exchange *x) {
    struct slv_node *n = s->conf.node;
    struct service_query q;
    uint64_t to;
    if (!service_read_query(slv_exchange_head(x)->query, &q) ||
        !read_to(s, slv_exchange_body(x), &to))
        service_refuse(x, 400, "a body is {\"to\": the 16 digits of a node}, or {}");
    else if (slv_node_lead(n, s->conf.now(), to, (uint32_t)q.timeout_ms))
        service_refuse(x, 409, "this node knows of no group, or that one does not vote in it");
    else if (wait_for(s, x, to, q.timeout_ms)) service_refuse(x, 503, "out of memory");
}

void service_lead_news(struct slv_service *s) {
    const struct slv_strong *g = slv_node_strong(s->conf.node);
    const uint64_t leader = g ? slv_strong_leader(g) : 0, now = s->conf.now();
    for (struct leading **at = &s->leading; *at;) {
        struct leading *l = *at;
        if (leader != l->to && now < l->deadline) {
            at = &l->next;
            continue;
        }
        if (leader == l->to) answer(s, l->x, leader);
        else service_refuse(l->x, 504, "it does not lead: it, or who leads, does not answer");
        *at = l->next;
        slv_exchange_put(l->x);
        slv_mem_free(l);
    }
}

uint64_t service_lead_next(const struct slv_service *s) {
    uint64_t next = UINT64_MAX;
    for (const struct leading *l = s->leading; l; l = l->next)
        if (l->deadline < next) next = l->deadline;
    return next;
}

void service_lead_drop(struct slv_service *s) {
    for (struct leading *l; (l = s->leading) != NULL;) {
        s->leading = l->next;
        service_refuse(l->x, 503, "the store failed; it is being opened again");
        slv_exchange_put(l->x);
        slv_mem_free(l);
    }
}
