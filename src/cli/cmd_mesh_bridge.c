/* cmd_mesh_bridge.c: selvage mesh bridge: between a zone and the mesh above it. Its nodes, its
 * lock, what it writes and what it says; see mesh_bridge.h. */
#include "base/json.h"
#include "base/log.h"
#include "cli/mesh_bridge.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "mesh/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define GAP_LEAST (100 * BRIDGE_MS)
#define GAP_MOST (5000 * BRIDGE_MS)
#define TURN 256u /* writes until what has come is looked at */

/* --- what is said ----------------------------------------------------------------------------- */

static void begin_event(struct slv_buf *b, struct slv_json *j, const char *event) {
    slv_buf_init(b, (size_t)1 << 20);
    slv_json_init(j, b);
    slv_json_object(j, NULL);
    slv_json_str(j, "event", event);
}

static void end_event(const struct bridge *br, struct slv_buf *b, struct slv_json *j) {
    slv_json_object_end(j);
    if (br->cli->json && slv_out_line(b, NULL))
        slv_log(SLV_LOG_ERROR, "mesh bridge: out of memory");
    slv_buf_fini(b);
}

static void say_side(struct bridge *br, enum slv_summary_side i, const char *event,
                     const char *why) {
    struct slv_buf b;
    struct slv_json j;
    begin_event(&b, &j, event);
    slv_json_str(&j, "side", i == SLV_SUMMARY_ZONE ? "from" : "to");
    if (why) slv_json_str(&j, "error", why);
    end_event(br, &b, &j);
    br->news = true;
}

static void say_alarms(struct bridge *br) {
    struct slv_summary_alarm a;
    struct slv_buf b;
    struct slv_json j;
    while (slv_summary_alarm(br->sum, &a)) {
        const struct slv_summary_rule *r = slv_summary_rule(br->sum, a.rule);
        slv_log(a.why ? SLV_LOG_WARN : SLV_LOG_INFO, "mesh bridge: %s", a.text);
        begin_event(&b, &j, a.why ? "alarm" : "clear");
        slv_json_str(&j, "kind", slv_summary_kind_name(r->kind));
        slv_json_str(&j, "rule", r->text);
        slv_json_strn(&j, "to", r->to.p, r->to.n);
        slv_json_strn(&j, "key", a.key.p, a.key.n);
        if (a.why) slv_json_str(&j, "why", a.why);
        slv_json_double(&j, "value", a.value);
        end_event(br, &b, &j);
        br->news = true;
    }
}

static void say_written(const struct bridge *br, const struct slv_summary_act *act, bool gone) {
    struct slv_buf b;
    struct slv_json j;
    begin_event(&b, &j, gone ? "removed" : "written");
    slv_json_str(&j, "side", act->side == SLV_SUMMARY_ZONE ? "from" : "to");
    slv_json_strn(&j, "space", act->space.p, act->space.n);
    slv_json_strn(&j, "key", act->key.p, act->key.n);
    end_event(br, &b, &j);
}

static void say_status(struct bridge *br) {
    static const char *const names[] = {"from", "to"};
    struct slv_buf b;
    struct slv_json j;
    if (!br->news) return;
    br->news = false;
    begin_event(&b, &j, "status");
    slv_json_str(&j, "zone", br->o->as);
    slv_json_bool(&j, "active", br->active);
    slv_json_int(&j, "token", br->active ? br->lock.token : 0);
    for (int i = 0; i < 2; i++) {
        slv_json_object(&j, names[i]);
        slv_json_str(&j, "mesh", br->side[i].mesh);
        slv_json_bool(&j, "up", br->side[i].up);
        slv_json_object_end(&j);
    }
    slv_summary_tell(br->sum, &j, "rules");
    end_event(br, &b, &j);
}

/* --- nodes ------------------------------------------------------------------------------------ */

void bridge_lose_rules(struct bridge *br, size_t source) {
    for (size_t i = 0; i < slv_summary_rules(br->sum); i++) {
        if (br->source_of[i] != source) continue;
        slv_summary_lost(br->sum, i);
        br->list_at[i] = 0;
    }
}

/* Said once, until it answers again. */
void bridge_is_down(struct bridge *br, enum slv_summary_side i, const char *why) {
    struct bridge_side *s = &br->side[i];
    s->up = false;
    s->again = bridge_now() + s->gap;
    s->gap = s->gap * 2 < GAP_MOST ? s->gap * 2 : GAP_MOST;
    if (s->told) return;
    s->told = true;
    slv_log(SLV_LOG_WARN, "mesh bridge: %s is away: %s: trying again", s->name, why);
    say_side(br, i, "down", why);
}

/* It has done what it was asked to. */
void bridge_is_well(struct bridge *br, enum slv_summary_side i) {
    struct bridge_side *s = &br->side[i];
    s->gap = GAP_LEAST;
    if (!s->told) return;
    s->told = false;
    slv_log(SLV_LOG_INFO, "mesh bridge: %s is back", s->name);
    say_side(br, i, "up", NULL);
}

static int ask(struct bridge *br, enum slv_summary_side i, const char *method, const char *path,
               struct slv_str body, struct slv_cli_reply *ret, struct slv_err *err) {
    const struct slv_cli_question q = {.socket = br->side[i].socket,
                                       .method = method,
                                       .path = path,
                                       .body = body,
                                       .ms = BRIDGE_ASK_MS,
                                       .status = &br->status};
    return slv_cli_mesh_ask_so(&q, ret, err);
}

int bridge_get(struct bridge *br, enum slv_summary_side i, const char *path,
               struct slv_cli_reply *ret, struct slv_err *err) {
    return ask(br, i, "GET", path, (struct slv_str){"", 0}, ret, err);
}

/* The space that a rule has at a side. */
static struct slv_str space_at(const struct slv_summary_rule *r, enum slv_summary_side i) {
    return slv_summary_source(r) == i ? r->space : r->to;
}

static int read_space(struct bridge *br, enum slv_summary_side i, size_t rule,
                      struct slv_json_val spaces, struct slv_err *err) {
    const struct slv_summary_rule *r = slv_summary_rule(br->sum, rule);
    const struct slv_str want = space_at(r, i);
    struct bridge_side *s = &br->side[i];
    struct slv_json_iter it = {0};
    struct slv_json_val v;
    while (slv_json_each(spaces, &it, NULL, &v)) {
        struct slv_str name, type, order;
        if (!slv_json_get_str(slv_json_get(v, "name"), &name) ||
            !slv_json_get_str(slv_json_get(v, "type"), &type) ||
            !slv_json_get_str(slv_json_get(v, "order"), &order))
            continue;
        if (name.n != want.n || memcmp(name.p, want.p, want.n) != 0) continue;
        snprintf(s->space[rule].type, sizeof s->space[rule].type, "%.*s", (int)type.n, type.p);
        s->space[rule].is_strong = slv_str_is(order, "strong");
        return 0;
    }
    return slv_err_set(err, SLV_E_USAGE, "mesh bridge: --%s %s: %s has no space '%.*s'",
                       slv_summary_kind_name(r->kind), r->text, s->name, (int)want.n, want.p);
}

/* What is no strong space has no locks. */
static int check_lock(const struct bridge *br, struct slv_json_val spaces, struct slv_err *err) {
    const struct slv_str want = br->lock.space;
    struct slv_json_iter it = {0};
    struct slv_json_val v;
    struct slv_str name, order;
    while (slv_json_each(spaces, &it, NULL, &v)) {
        if (!slv_json_get_str(slv_json_get(v, "name"), &name) || name.n != want.n ||
            memcmp(name.p, want.p, want.n) != 0)
            continue;
        if (slv_json_get_str(slv_json_get(v, "order"), &order) && slv_str_is(order, "strong"))
            return 0;
        return slv_err_set(err, SLV_E_USAGE,
                           "mesh bridge: --lock %s: '%.*s' is no strong space of %s", br->o->lock,
                           (int)want.n, want.p, br->side[SLV_SUMMARY_ZONE].name);
    }
    return slv_err_set(err, SLV_E_USAGE, "mesh bridge: --lock %s: %s has no space '%.*s'",
                       br->o->lock, br->side[SLV_SUMMARY_ZONE].name, (int)want.n, want.p);
}

/* Whether the rules can be, once both sides are known. */
static int fit(struct bridge *br, struct slv_err *err) {
    const struct bridge_side *a = br->side, *b = br->side + 1;
    if (!a->mesh[0] || !b->mesh[0]) return 0;
    if (!strcmp(a->mesh, b->mesh))
        return slv_err_set(err, SLV_E_USAGE,
                           "mesh bridge: both nodes are of mesh '%s': a zone has a name of its own "
                           "(`mesh up --name`)",
                           a->mesh);
    for (size_t i = 0; i < slv_summary_rules(br->sum); i++) {
        const struct slv_summary_rule *r = slv_summary_rule(br->sum, i);
        struct slv_summary_space at[2];
        enum slv_summary_form form;
        for (int k = 0; k < 2; k++) {
            const char *type = br->side[k].space[i].type;
            at[k] =
                (struct slv_summary_space){{type, strlen(type)}, br->side[k].space[i].is_strong};
        }
        const int rc =
            slv_summary_fits(r, &at[slv_summary_source(r)], &at[slv_summary_target(r)], &form, err);
        if (rc) return slv_err_prefix(err, rc, "mesh bridge");
        slv_summary_set_form(br->sum, i, form);
    }
    if (!br->settled)
        slv_log(SLV_LOG_INFO, "mesh bridge: '%s', of mesh '%s', and mesh '%s' above it", br->o->as,
                a->mesh, b->mesh);
    br->settled = true;
    return 0;
}

static int read_status(struct bridge *br, enum slv_summary_side i, struct slv_err *err) {
    struct slv_cli_reply r;
    struct slv_str mesh = {"", 0};
    const int rc = bridge_get(br, i, "/v1/status", &r, err);
    if (rc) return rc;
    slv_json_get_str(slv_json_get(slv_json_root(&r.doc), "mesh"), &mesh);
    snprintf(br->side[i].mesh, sizeof br->side[i].mesh, "%.*s", (int)mesh.n, mesh.p);
    slv_cli_reply_fini(&r);
    return 0;
}

static int meet(struct bridge *br, enum slv_summary_side i, struct slv_err *err) {
    struct slv_cli_reply r;
    int rc = read_status(br, i, err);
    if (!rc) rc = bridge_get(br, i, "/v1/spaces", &r, err);
    if (rc) return rc;
    for (size_t k = 0; k < slv_summary_rules(br->sum) && !rc; k++)
        rc = read_space(br, i, k, slv_json_root(&r.doc), err);
    if (!rc && br->o->lock && i == SLV_SUMMARY_ZONE)
        rc = check_lock(br, slv_json_root(&r.doc), err);
    slv_cli_reply_fini(&r);
    return rc ? rc : fit(br, err);
}

/* What cannot be ends the command at the start; later (a node was started otherwise) it waits. */
static int tend_side(struct bridge *br, enum slv_summary_side i, struct slv_err *err) {
    struct bridge_side *s = &br->side[i];
    struct slv_err why = {0};
    if (s->up || bridge_now() < s->again) return 0;
    const int rc = meet(br, i, &why);
    if (rc == SLV_E_USAGE && !br->settled) return slv_err_set(err, rc, "%s", why.msg);
    if (rc) {
        bridge_is_down(br, i, why.msg);
        return 0;
    }
    s->up = true;
    slv_summary_forget(br->sum, i);
    if (!br->active) bridge_is_well(br, i);
    br->news = true;
    return 0;
}

/* --- the lock --------------------------------------------------------------------------------- */

static void set_active(struct bridge *br, bool active, const char *why) {
    struct slv_buf b;
    struct slv_json j;
    if (br->active == active) return;
    br->active = active;
    br->news = true;
    if (active) slv_summary_set_token(br->sum, (uint64_t)br->lock.token);
    slv_log(SLV_LOG_INFO, "mesh bridge: %s: %s", active ? "active" : "stands by", why);
    begin_event(&b, &j, active ? "active" : "standby");
    if (active && br->o->lock) slv_json_int(&j, "token", br->lock.token);
    end_event(br, &b, &j);
}

/* Said once, until it has it or waits for something else. */
static void waits(struct bridge *br, enum bridge_waits what, const char *why) {
    if (br->waits == what) return;
    br->waits = what;
    slv_log(SLV_LOG_INFO, "mesh bridge: waits for the lock %s: %s", br->o->lock, why);
}

static void waits_for(struct bridge *br, const struct slv_cli_reply *r) {
    struct slv_str who = {"another", 7};
    char why[128];
    slv_json_get_str(slv_json_get(slv_json_root(&r->doc), "value"), &who);
    snprintf(why, sizeof why, "%.*s has it", (int)(who.n < 100 ? who.n : 100), who.p);
    for (char *c = why; *c; c++) /* (anybody may have written it) */
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    waits(br, BRIDGE_WAITS_HELD, why);
}

/* This node does not know yet who was quicker. */
static void who_has_lock(struct bridge *br) {
    struct slv_cli_reply r;
    bool there;
    if (br->waits == BRIDGE_WAITS_HELD ||
        bridge_read_key(br, SLV_SUMMARY_ZONE, true, "barrier", br->lock.space, br->lock.key, &r,
                        &there, NULL) ||
        !there)
        return;
    waits_for(br, &r);
    slv_cli_reply_fini(&r);
}

/* Taken where this node sees nobody who has it: to ask for it is an entry of the group's log. */
static void take_lock(struct bridge *br) {
    struct slv_cli_reply r;
    struct slv_err err = {0};
    int rc = bridge_get(br, SLV_SUMMARY_ZONE, br->lock_path.data, &r, &err);
    br->lock_at = bridge_now() + (uint64_t)(br->o->ttl * 1e8);
    if (!rc) {
        waits_for(br, &r);
        slv_cli_reply_fini(&r);
    }
    if (rc != SLV_E_NOENT) return;
    rc = slv_mesh_lock_take(&br->lock, &err);
    if (!rc) {
        br->waits = BRIDGE_WAITS_NOT;
        set_active(br, true, "it has the zone's lock");
    } else if (rc == SLV_E_BUSY) {
        who_has_lock(br);
    } else {
        waits(br, BRIDGE_WAITS_GROUP, err.msg);
    }
    br->lock_at = bridge_now() + (uint64_t)(br->o->ttl * 1e8) * (br->active ? 3 : 1);
}

static void keep_lock(struct bridge *br) {
    struct slv_err err = {0};
    br->lock_at = bridge_now() + (uint64_t)(br->o->ttl * 1e8) * 3;
    const int rc = slv_mesh_lock_keep(&br->lock, &err);
    if (rc == SLV_E_BUSY) set_active(br, false, "the lock was lost");
    else if (rc) br->lock_at = bridge_now() + (uint64_t)(br->o->ttl * 1e8);
}

/* Between any two questions. */
void bridge_tend_lock(struct bridge *br) {
    if (!br->o->lock) return;
    if (br->active && !slv_mesh_lock_is_held(&br->lock, 0))
        set_active(br, false, "nobody has answered for as long as the lock lasts");
    if (bridge_now() < br->lock_at) return;
    if (br->active) keep_lock(br);
    else if (br->side[SLV_SUMMARY_ZONE].up) take_lock(br);
}

/* A write that begins now ends before somebody else may begin one. */
static bool may_write(const struct bridge *br) {
    return br->active &&
           (!br->o->lock || slv_mesh_lock_is_held(&br->lock, BRIDGE_ASK_MS * BRIDGE_MS));
}

/* --- what is written -------------------------------------------------------------------------- */

static int write_key(struct bridge *br, const struct slv_summary_act *act, bool gone,
                     struct slv_err *err) {
    struct slv_buf path;
    struct slv_cli_reply r;
    slv_buf_init(&path, 65536);
    slv_client_target(&path, act->space, "keys", act->key);
    if (br->side[act->side].space[act->rule].is_strong)
        slv_buf_addf(&path, "?timeout_ms=%u", BRIDGE_ASK_MS / 2);
    const int rc = path.status ? slv_err_set(err, path.status, "mesh bridge: a key is too long")
                               : ask(br, act->side, gone ? "DELETE" : "PUT", path.data,
                                     gone ? (struct slv_str){"", 0} : act->body, &r, err);
    slv_buf_fini(&path);
    if (!rc) slv_cli_reply_fini(&r);
    return rc;
}

/* One key is looked at, and written where it is another than it should be. */
static int do_act(struct bridge *br, struct slv_summary_act *act, struct slv_err *err) {
    const struct bridge_side *side = &br->side[act->side];
    struct slv_cli_reply r;
    bool there;
    int64_t version = 0;
    int rc = bridge_read_key(br, act->side, side->space[act->rule].is_strong, "barrier", act->space,
                             act->key, &r, &there, err);
    if (rc) return rc;
    if (there) slv_json_get_i64(slv_json_get(slv_json_root(&r.doc), "version"), &version);
    const struct slv_json_val none = {0};
    const enum slv_summary_todo todo = slv_summary_decide(
        br->sum, act, there ? slv_json_get(slv_json_root(&r.doc), "value") : none,
        (uint64_t)version);
    if (there) slv_cli_reply_fini(&r);
    if (todo == SLV_SUMMARY_NOTHING) return 0;
    if (!may_write(br)) return slv_err_set(err, SLV_E_BUSY, "the lock may be lost");
    rc = write_key(br, act, todo == SLV_SUMMARY_REMOVE, err);
    if (rc) return rc;
    say_written(br, act, todo == SLV_SUMMARY_REMOVE);
    slv_summary_done(br->sum, act, 0, bridge_now());
    return 0;
}

/* A node that answers is not away, even if its group does not. */
static void act_failed(struct bridge *br, const struct slv_summary_act *act, int rc,
                       const char *why) {
    const bool is_away = !br->status && (rc == SLV_E_NET || rc == SLV_E_IO);
    slv_summary_done(br->sum, act, is_away ? SLV_E_BUSY : rc, bridge_now());
    if (is_away) bridge_is_down(br, act->side, why);
}

static void tend_writes(struct bridge *br) {
    struct slv_summary_act act;
    for (unsigned k = 0; k < TURN && may_write(br) && br->settled && !slv_sig_seen(); k++) {
        const bool up[2] = {br->side[0].up, br->side[1].up};
        struct slv_err err = {0};
        if (!slv_summary_next(br->sum, up, bridge_now(), &act)) break;
        const int rc = do_act(br, &act, &err);
        if (rc) act_failed(br, &act, rc, err.msg);
        else bridge_is_well(br, act.side);
        bridge_tend_lock(br);
    }
    say_alarms(br);
}

/* --- the bridge ------------------------------------------------------------------------------- */

static int poll_ms(const struct bridge *br) {
    const uint64_t now = bridge_now();
    uint64_t at = now + 1000 * BRIDGE_MS;
    for (int i = 0; i < 2; i++)
        if (!br->side[i].up && br->side[i].again < at) at = br->side[i].again;
    if (br->o->lock && br->lock_at < at) at = br->lock_at;
    for (size_t i = 0; i < slv_summary_rules(br->sum); i++)
        if (slv_summary_wants_list(br->sum, i) && br->side[br->source[br->source_of[i]].side].up &&
            br->source[br->source_of[i]].is_followed && br->list_at[i] < at)
            at = br->list_at[i];
    const uint64_t when = may_write(br) ? slv_summary_when(br->sum, now) : UINT64_MAX;
    if (when < at) at = when;
    return at <= now ? 0 : (int)((at - now) / BRIDGE_MS) + 1;
}

static int run_bridge(struct bridge *br, struct slv_err *err) {
    int rc = 0;
    br->news = true;
    while (!slv_sig_seen() && !rc) {
        struct pollfd p = {.fd = slv_follow_fd(br->follow), .events = POLLIN};
        for (int i = 0; i < 2 && !rc; i++)
            rc = tend_side(br, (enum slv_summary_side)i, err);
        if (rc) break;
        bridge_tend_lock(br);
        bridge_take_events(br);
        bridge_tend_lists(br);
        tend_writes(br);
        say_status(br);
        rc = slv_out_flush(err);
        if (!rc && poll(&p, 1, poll_ms(br)) < 0 && errno != EINTR)
            rc = slv_err_set(err, SLV_E_IO, "mesh bridge: poll: %s", strerror(errno));
    }
    if (br->o->lock && br->active && slv_mesh_lock_release(&br->lock, NULL))
        slv_log(SLV_LOG_INFO, "mesh bridge: the lock ends by itself");
    return rc;
}

static int add_sources(struct bridge *br, struct slv_err *err) {
    int rc = 0;
    for (size_t i = 0; i < slv_summary_rules(br->sum) && !rc; i++) {
        const struct slv_summary_rule *r = slv_summary_rule(br->sum, i);
        size_t k = 0;
        while (k < br->n_source && (br->source[k].side != slv_summary_source(r) ||
                                    br->source[k].space.n != r->space.n ||
                                    memcmp(br->source[k].space.p, r->space.p, r->space.n) != 0))
            k++;
        br->source_of[i] = k;
        if (k < br->n_source) continue;
        br->source[br->n_source++] =
            (struct bridge_source){slv_summary_source(r), r->space, false, false};
        rc = slv_follow_add(br->follow, br->side[slv_summary_source(r)].socket, r->space, err);
    }
    return rc;
}

static int read_rules(struct bridge *br, struct slv_err *err) {
    struct slv_summary_rule rules[SLV_SUMMARY_RULES_MAX];
    size_t n = 0;
    int rc = 0;
    for (int k = 0; k < SLV_SUMMARY_KINDS; k++)
        for (size_t i = 0; i < br->o->rule[k].n && !rc; i++) {
            if (n == SLV_SUMMARY_RULES_MAX)
                return slv_err_set(err, SLV_E_LIMIT, "mesh bridge: more than %u rules",
                                   SLV_SUMMARY_RULES_MAX);
            rc = slv_summary_read((enum slv_summary_kind)k, br->o->rule[k].v[i], &rules[n++], err);
        }
    if (!rc) rc = slv_summary_open(br->o->as, rules, n, &br->sum, err);
    return rc ? slv_err_prefix(err, rc, "mesh bridge") : 0;
}

/* "SPACE/KEY" */
static int set_lock(struct bridge *br, struct slv_err *err) {
    const char *text = br->o->lock, *slash = text ? strchr(text, '/') : NULL;
    br->active = !text;
    if (!text) return 0;
    if (!slash || slash == text || !slash[1])
        return slv_err_set(err, SLV_E_USAGE, "mesh bridge: --lock %s: not SPACE/KEY", text);
    snprintf(br->holder, sizeof br->holder, "bridge %s", br->o->as);
    br->lock = (struct slv_mesh_lock){.socket = br->side[SLV_SUMMARY_ZONE].socket,
                                      .space = {text, (size_t)(slash - text)},
                                      .key = {slash + 1, strlen(slash + 1)},
                                      .holder = br->holder,
                                      .ttl = br->o->ttl};
    slv_client_target(&br->lock_path, br->lock.space, "keys", br->lock.key);
    slv_buf_adds(&br->lock_path, "?read=local");
    return br->lock_path.status
               ? slv_err_set(err, SLV_E_USAGE, "mesh bridge: --lock: the key is too long")
               : 0;
}

static int set_up(struct bridge *br, struct slv_err *err) {
    int rc = 0;
    if (!br->o->as || !br->o->to)
        return slv_err_set(err, SLV_E_USAGE, "mesh bridge: --as and --to must be said");
    if (br->o->from) slv_buf_adds(&br->zone_socket, br->o->from);
    else rc = slv_cli_mesh_path(NULL, "mesh.sock", &br->zone_socket, err);
    if (rc) return rc;
    br->side[SLV_SUMMARY_ZONE] = (struct bridge_side){
        .socket = br->zone_socket.data, .name = "the zone's node", .gap = GAP_LEAST};
    br->side[SLV_SUMMARY_ABOVE] =
        (struct bridge_side){.socket = br->o->to, .name = "the upper node", .gap = GAP_LEAST};
    rc = read_rules(br, err);
    if (!rc) rc = set_lock(br, err);
    if (!rc) rc = slv_follow_open(&br->follow, err);
    return rc ? rc : add_sources(br, err);
}

static int run(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    struct bridge br = {.cli = cli, .o = opts};
    slv_buf_init(&br.zone_socket, 4096);
    slv_buf_init(&br.lock_path, 65536);
    slv_sig_watch();
    int rc = set_up(&br, err);
    if (!rc) rc = run_bridge(&br, err);
    slv_follow_close(br.follow);
    slv_summary_close(br.sum);
    slv_buf_fini(&br.zone_socket);
    slv_buf_fini(&br.lock_path);
    slv_sig_unwatch();
    return rc;
}

#define RULE_ROW(name, kind, text)                                                                 \
    {                                                                                              \
        name, 0, SLV_OPT_LIST_AT(struct bridge_opts, rule[kind]),                                  \
            .arg = "SPACE[/PREFIX][:BOUNDS]", .help = text                                         \
    }

static const struct slv_opt rows[] = {
    {"from", 0, SLV_OPT_STR_AT(struct bridge_opts, from), .arg = "PATH",
     .help = "the socket of the zone's node; default: where `mesh up` puts it"},
    {"to", 0, SLV_OPT_STR_AT(struct bridge_opts, to), .arg = "PATH",
     .help = "the socket of the upper mesh's node"},
    {"as", 0, SLV_OPT_STR_AT(struct bridge_opts, as), .arg = "NAME",
     .help = "what the zone is called above"},
    RULE_ROW("sum", SLV_SUMMARY_SUM,
             "the sum of all values goes up; may be repeated, as all of these"),
    RULE_ROW("count", SLV_SUMMARY_COUNT, "how many keys there are"),
    RULE_ROW("max", SLV_SUMMARY_MAX, "the largest value"),
    RULE_ROW("min", SLV_SUMMARY_MIN, "the smallest"),
    RULE_ROW("copy", SLV_SUMMARY_COPY, "values as they are, each under NAME/KEY"),
    RULE_ROW("down", SLV_SUMMARY_DOWN, "the other way: from the upper mesh into the zone"),
    {"lock", 0, SLV_OPT_STR_AT(struct bridge_opts, lock), .arg = "SPACE/KEY",
     .help =
         "of a strong space of the zone: of all bridges that ask for it one is active; default: "
         "this one is"},
    {"ttl", 0, SLV_OPT_REAL_AT(struct bridge_opts, ttl), .arg = "SECONDS", .def = "5", .rmin = 2,
     .rmax = 3600, .help = "how long the lock outlives the bridge that has it"},
};

const struct slv_cmd slv_cmd_mesh_bridge = {
    .name = "mesh bridge",
    .help = "pass summaries of a zone on to the mesh above it",
    .args = "",
    .more =
        "A zone is a mesh of its own; the bridge talks with a node of it and with one of the upper "
        "mesh, both on this machine.\n"
        "BOUNDS: min=N,max=N,step=N,every=2s,keys=N,to=SPACE. What is outside of min to max, is "
        "further than step from what is above, or comes of more than so many keys, is not passed "
        "on: the last good value stays above, and an alarm is said.\n"
        "--json: a line for each thing that happens.",
    SLV_CMD_OPTS(rows, struct bridge_opts),
    .fn = run,
};
