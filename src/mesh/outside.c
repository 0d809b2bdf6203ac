/* outside.c: see outside.h. */
#include "mesh/outside.h"
#include "base/log.h"

#include <stdio.h>

#define SECOND ((uint64_t)1000000000)
#define FIRST_NS (10 * SECOND) /* joining takes some seconds */
#define GAP_LEAST (60 * SECOND)
#define GAP_MOST (3600 * SECOND)

static void begin(struct slv_outside *o, uint64_t now, const struct slv_outside_look *look) {
    o->say_at = now + FIRST_NS;
    o->gap = GAP_LEAST;
    o->refused = look->refused;
    o->met = o->said = false;
    o->why[0] = 0;
}

/* False: there is nothing that its own log does not say already. */
static bool find_why(struct slv_outside *o, const struct slv_outside_look *look) {
    const unsigned long long refused = look->refused - o->refused;
    const bool answers = look->connected; /* (now: of who has gone, a while is left) */
    const bool is_guest = look->has_invitation && !look->is_named;
    char *why = o->why;
    const size_t n = sizeof o->why;
    if (!look->is_seeking && !look->is_revoked) return false;
    if (look->is_revoked) snprintf(why, n, "its key %s is revoked", look->key);
    else if (answers && look->is_tested)
        snprintf(why, n,
                 "members want to see what it runs before they hear it (`mesh up --attest`)");
    else if (answers && is_guest)
        snprintf(why, n,
                 "members answer, and do not let it in: its invitation was used by another, is "
                 "over or revoked, or no group agrees on who uses it (`mesh found`)");
    else if (answers)
        snprintf(why, n, "members answer, and do not let its key %s in (`mesh admit`)", look->key);
    else if (refused && is_guest)
        snprintf(why, n,
                 "it was refused (%llu handshakes): its invitation was used by another, is over "
                 "or revoked",
                 refused);
    else if (refused)
        snprintf(why, n, "it was refused (%llu handshakes): its key %s is not let in", refused,
                 look->key);
    else if (!o->met && !o->was_in && !look->is_named)
        snprintf(why, n, "no member lets it in, or none can be reached");
    else return false;
    return true;
}

void slv_outside_tick(struct slv_outside *o, uint64_t now, const struct slv_outside_look *look) {
    const bool is_in = look->alive && !look->is_revoked;
    o->next = now + SECOND;
    if (is_in && o->said) slv_log(SLV_LOG_INFO, "mesh: this node is let in");
    if (is_in) o->was_in = true;
    if (is_in || !o->say_at) begin(o, now, look);
    if (is_in) return;
    if (look->connected) o->met = true;
    if (now < o->say_at || !find_why(o, look)) return;
    slv_log(SLV_LOG_WARN, "mesh: this node is not in the mesh: %s", o->why);
    o->said = true;
    o->say_at = now + o->gap;
    o->gap = 2 * o->gap < GAP_MOST ? 2 * o->gap : GAP_MOST;
    o->refused = look->refused;
    o->met = false;
}
