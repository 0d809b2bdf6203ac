/* node_other.c: spaces that a peer declares otherwise than this node, or that no peer has: all
 * would work, and nobody would see what is written in the other's.
 *
 * A space's id is a hash of how it is declared (node_space_id), and sums name ids. One that is not
 * known here is compared with those that a space of the same name would have here: of each type and
 * order, without a time to live or with this one's; and of this one's type and order, with another
 * time to live that people would give. Strong spaces are not in sums: there it is the other who
 * finds out. Each id is looked at once, one a second at most, as a look costs up to some thousand
 * hashes a space. */
#include "mesh/node_int.h"

#include <string.h>

#define OTHER_NS (1000 * MS)
#define ALONE_NS (20000 * MS) /* with peers, none of which has it */

static bool is_this(const struct slv_node_other *o, uint64_t id) {
    return node_space_id(o->name, o->type, o->causal ? 'c' : 'e', o->ttl_ms) == id;
}

/* Whether `id` is a space of this name, of any type and order. */
static bool is_named(struct slv_str name, uint64_t ttl, uint64_t id, struct slv_node_other *ret) {
    const uint64_t ttls[] = {0, ttl};
    ret->name = name;
    for (int i = 0; i < SLV_MESH_TYPES * 2 * (ttl ? 2 : 1); i++) {
        ret->type = slv_mesh_type_name((enum slv_mesh_type)(i / 2 % SLV_MESH_TYPES));
        ret->causal = i % 2;
        ret->ttl_ms = ttls[i / 2 / SLV_MESH_TYPES];
        if (is_this(ret, id)) return true;
    }
    return false;
}

/* Whether it is this space but for a time to live: whole seconds, minutes, hours or days. */
static bool is_timed(const struct slv_space_conf *c, uint64_t id, struct slv_node_other *ret) {
    static const struct {
        uint64_t ms;
        unsigned most;
    } units[] = {{1000, 300}, {60000, 300}, {3600000, 96}, {86400000, 400}};
    if (!slv_mesh_type_expires(c->type)) return false;
    *ret = (struct slv_node_other){c->name, slv_mesh_type_name(c->type), c->causal, 0};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++)
        for (unsigned k = 1; k <= units[u].most; k++) {
            ret->ttl_ms = k * units[u].ms;
            if (is_this(ret, id)) return true;
        }
    return false;
}

static bool find(const struct slv_node *n, uint64_t id, struct slv_node_other *ret) {
    for (size_t i = 0; i < n->n_space; i++) {
        struct space *s = n->space[i];
        if (!is_named(s->conf.name, s->conf.ttl_ms, id, ret) && !is_timed(&s->conf, id, ret))
            continue;
        s->is_shared = true; /* or so somebody means; enough is said */
        return true;
    }
    for (size_t i = 0; i < n->n_agreed; i++) {
        const char *name = n->agreed[i].name;
        if (is_named((struct slv_str){name, strlen(name)}, 0, id, ret)) return true;
    }
    return false;
}

void node_other_heard(struct slv_node *n, uint64_t peer, uint64_t id) {
    struct node_other *o = &n->other;
    if (n->now < o->next) return;
    for (size_t i = 0; i < OTHERS_MAX; i++)
        if (o->seen[i] == id) return;
    o->next = n->now + OTHER_NS;
    o->seen[o->at++ % OTHERS_MAX] = id;
    if (find(n, id, &o->last)) node_event(n, SLV_NODE_OTHERWISE, peer, 0);
}

void node_other_tick(struct slv_node *n) {
    struct node_other *o = &n->other;
    if (!o->since) o->since = n->now;
    if (n->now - o->since < ALONE_NS) return;
    for (size_t i = 0; i < n->n_space; i++) {
        struct space *s = n->space[i];
        if (!s->is_shared) node_event(n, SLV_NODE_UNSHARED, 0, (int)i);
        s->is_shared = true;
    }
}

const struct slv_node_other *slv_node_other(const struct slv_node *n) { return &n->other.last; }
