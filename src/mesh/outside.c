/* outside.c: see outside.h. */
#include "mesh/outside.h"
#include "base/log.h"

#define SECOND ((uint64_t)1000000000)
#define FIRST_NS (10 * SECOND) /* joining takes some seconds */
#define GAP_LEAST (60 * SECOND)
#define GAP_MOST (3600 * SECOND)

static void begin(struct slv_outside *o, uint64_t now, const struct slv_outside_look *look) {
    o->say_at = now + FIRST_NS;
    o->gap = GAP_LEAST;
    o->refused = look->refused;
    o->met = o->said = false;
}

/* False: there is nothing that its own log does not say already. */
static bool say(const struct slv_outside *o, const struct slv_outside_look *look) {
    const char *const not_in = "mesh: this node is not in the mesh";
    const uint64_t refused = look->refused - o->refused;
    const bool answers = look->connected; /* (now: of who has gone, a while is left) */
    if (!look->is_seeking && !look->is_revoked) return false;
    if (look->is_revoked) slv_log(SLV_LOG_WARN, "%s: its key %s is revoked", not_in, look->key);
    else if (answers && look->is_tested)
        slv_log(SLV_LOG_WARN,
                "%s: members want to see what it runs before they hear it (`mesh up --attest`)",
                not_in);
    else if (answers && look->has_invitation && !look->is_named)
        slv_log(SLV_LOG_WARN,
                "%s: members answer, and do not let it in: its invitation was used by another, is "
                "over or revoked, or no group agrees on who uses it (`mesh found`)",
                not_in);
    else if (answers)
        slv_log(SLV_LOG_WARN, "%s: members answer, and do not let its key %s in (`mesh admit`)",
                not_in, look->key);
    else if (refused && look->has_invitation && !look->is_named)
        slv_log(SLV_LOG_WARN,
                "%s: it was refused (%llu handshakes): its invitation was used by another, is over "
                "or revoked",
                not_in, (unsigned long long)refused);
    else if (refused)
        slv_log(SLV_LOG_WARN, "%s: it was refused (%llu handshakes): its key %s is not let in",
                not_in, (unsigned long long)refused, look->key);
    else if (!o->met && !o->was_in && !look->is_named)
        slv_log(SLV_LOG_WARN, "%s: no member lets it in, or none can be reached", not_in);
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
    if (now < o->say_at || !say(o, look)) return;
    o->said = true;
    o->say_at = now + o->gap;
    o->gap = 2 * o->gap < GAP_MOST ? 2 * o->gap : GAP_MOST;
    o->refused = look->refused;
    o->met = false;
}
