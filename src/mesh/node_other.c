/* node_other.c: spaces that a peer declares otherwise than this node, or that no peer has: all
 * would work, and nobody would see what is written in the other's.
 *
 * A space's id is a hash of how it is declared (node_space_id), and sums name ids. One that is not
 * known here is compared with those that a space of the same name would have here, of each type and
 * order, without a time to live or with the same. (With another time to live it is not found out.)
 * Strong spaces are not in sums: there it is the other who finds out. Each id is looked at once,
 * one a second at most, as a look costs up to some thousand hashes. */
#include "mesh/node_int.h"

#include <string.h>

#define OTHER_NS (1000 * MS)
#define ALONE_NS (20000 * MS) /* with peers, none of which has it */

static bool is_this(struct slv_str name, const char *type, char order, uint64_t ttl, uint64_t id) {
    return node_space_id(name, type, order, 0) == id ||
           (ttl && node_space_id(name, type, order, ttl) == id);
}

/* Whether `id` is a space of this name. */
static bool is_named(struct slv_str name, uint64_t ttl, uint64_t id, struct slv_node_other *ret) {
    static const char orders[] = "ec";
    ret->name = name;
    for (int t = 0; t < SLV_MESH_TYPES; t++)
        for (const char *order = orders; *order; order++) {
            ret->type = slv_mesh_type_name((enum slv_mesh_type)t);
            ret->causal = *order == 'c';
            if (is_this(name, ret->type, *order, ttl, id)) return true;
        }
    return false;
}

static bool find(const struct slv_node *n, uint64_t id, struct slv_node_other *ret) {
    for (size_t i = 0; i < n->n_space; i++) {
        struct space *s = n->space[i];
        if (!is_named(s->conf.name, s->conf.ttl_ms, id, ret)) continue;
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
