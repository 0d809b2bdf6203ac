/* mesh_bridge_read.c: see mesh_bridge.h. What the spaces have that rules take from: keys listed a
 * page at a time, values read, changes as they are told. */
#include "base/log.h"
#include "cli/mesh_bridge.h"
#include "cli/sig.h"
#include "mesh/client.h"
#include "mesh/entries.h"
#include "store/local.h"

#include <stdio.h>
#include <string.h>

#define LIST_AGAIN (5000 * BRIDGE_MS) /* where there were too many keys */
#define PAGE 1000u
#define LIST_BYTES ((size_t)2 << 30)

/* --- what the sources have -------------------------------------------------------------------- */

/* The value of a key; *ret_there false: it has none. */
int bridge_read_key(struct bridge *br, enum slv_summary_side i, bool is_strong, const char *how,
                    struct slv_str space, struct slv_str key, struct slv_cli_reply *ret,
                    bool *ret_there, struct slv_err *err) {
    struct slv_buf path;
    slv_buf_init(&path, 65536);
    slv_client_target(&path, space, "keys", key);
    if (is_strong) slv_buf_addf(&path, "?read=%s&timeout_ms=%u", how, BRIDGE_ASK_MS / 2);
    int rc = path.status ? slv_err_set(err, path.status, "mesh bridge: a key is too long")
                         : bridge_get(br, i, path.data, ret, err);
    slv_buf_fini(&path);
    *ret_there = !rc;
    return rc == SLV_E_NOENT ? 0 : rc;
}

static int feed_key(struct bridge *br, size_t rule, struct slv_str key, struct slv_err *err) {
    const struct slv_summary_rule *r = slv_summary_rule(br->sum, rule);
    const enum slv_summary_side i = slv_summary_source(r);
    struct slv_cli_reply reply;
    bool there;
    int rc = bridge_read_key(br, i, br->side[i].space[rule].is_strong, "local", r->space, key,
                             &reply, &there, err);
    if (rc) return rc;
    rc = slv_summary_feed(br->sum, rule, key,
                          there ? slv_json_get(slv_json_root(&reply.doc), "value")
                                : (struct slv_json_val){0});
    if (there) slv_cli_reply_fini(&reply);
    return rc ? slv_err_set(err, rc, "mesh bridge: out of memory") : 0;
}

/* Keys of a space, in order, a page at a time. */
struct listing {
    struct bridge *br;
    enum slv_summary_side side;
    struct slv_str space, prefix;
    size_t most;
    struct slv_buf keys; /* each behind its length (4) */
    size_t n;
    bool too_many; /* or they do not come to an end */
};

static void add_key(struct listing *l, struct slv_str key) {
    const uint32_t n = (uint32_t)key.n;
    if (l->n == l->most) {
        l->too_many = true;
        return;
    }
    slv_buf_add(&l->keys, &n, 4);
    slv_buf_add(&l->keys, key.p, key.n);
    l->n++;
}

/* Keys with a NUL cannot be asked for: the next page begins behind all that begin so. */
static void set_after(struct slv_buf *after, struct slv_str key) {
    const char *nul = memchr(key.p, 0, key.n);
    slv_buf_clear(after);
    slv_buf_add(after, key.p, nul ? (size_t)(nul - key.p) : key.n);
    if (nul) slv_buf_addc(after, '\1');
}

/* Takes a page; whether there may be another. */
static bool take_page(struct listing *l, struct slv_json_val keys, struct slv_buf *after) {
    struct slv_json_iter it = {0};
    struct slv_json_val v;
    struct slv_buf last;
    bool more = false, behind = false;
    slv_buf_init(&last, 2 * SLV_KEY_MAX);
    while (!behind && !l->too_many && slv_json_each(keys, &it, NULL, &v)) {
        struct slv_str key;
        if (!slv_json_get_str(v, &key) || key.n > SLV_KEY_MAX) continue;
        behind = key.n < l->prefix.n || memcmp(key.p, l->prefix.p, l->prefix.n) != 0;
        if (!behind && !memchr(key.p, 0, key.n)) add_key(l, key);
        set_after(&last, key);
        more = true;
    }
    /* (bytes that are no UTF-8 come as others, and would come again) */
    const size_t n = last.len < after->len ? last.len : after->len;
    const int c = memcmp(last.data, after->data, n);
    if (more && !behind && (c < 0 || (!c && last.len <= after->len))) l->too_many = true;
    slv_buf_clear(after);
    slv_buf_add(after, last.data, last.len);
    slv_buf_fini(&last);
    return more && !behind && !l->too_many;
}

static int list_keys(struct listing *l, struct slv_err *err) {
    struct slv_buf path, after;
    struct slv_cli_reply r;
    bool more = true;
    int rc = 0;
    slv_buf_init(&l->keys, LIST_BYTES);
    slv_buf_init(&path, 65536);
    slv_buf_init(&after, 2 * SLV_KEY_MAX);
    slv_buf_add(&after, l->prefix.p, l->prefix.n);
    if (l->prefix.n) add_key(l, l->prefix); /* what comes after it is listed, not itself */
    while (!rc && more) {
        slv_buf_clear(&path);
        slv_client_target(&path, l->space, "keys", (struct slv_str){NULL, 0});
        slv_buf_addf(&path, "?limit=%u&after=", PAGE);
        slv_local_encode(&path, (struct slv_str){after.data, after.len});
        bridge_tend_lock(l->br);
        rc = path.status ? slv_err_set(err, path.status, "mesh bridge: a key is too long")
                         : bridge_get(l->br, l->side, path.data, &r, err);
        if (rc) break;
        more = take_page(l, slv_json_get(slv_json_root(&r.doc), "keys"), &after);
        slv_cli_reply_fini(&r);
    }
    if (!rc && l->keys.status) rc = slv_err_set(err, l->keys.status, "mesh bridge: out of memory");
    slv_buf_fini(&path);
    slv_buf_fini(&after);
    return rc;
}

static int each_key(struct listing *l, size_t rule,
                    int (*fn)(struct bridge *br, size_t rule, struct slv_str key,
                              struct slv_err *err),
                    struct slv_err *err) {
    uint32_t n;
    int rc = 0;
    for (size_t at = 0; at < l->keys.len && !rc && !slv_sig_seen(); at += 4 + n) {
        memcpy(&n, l->keys.data + at, 4);
        rc = fn(l->br, rule, (struct slv_str){l->keys.data + at + 4, n}, err);
        bridge_tend_lock(l->br);
    }
    return rc;
}

static int list_rule(struct bridge *br, size_t rule, struct slv_err *err) {
    const struct slv_summary_rule *r = slv_summary_rule(br->sum, rule);
    struct listing l = {.br = br,
                        .side = slv_summary_source(r),
                        .space = r->space,
                        .prefix = r->prefix,
                        .most = r->keys + (r->prefix.n > 0)};
    int rc = list_keys(&l, err);
    if (!rc && l.too_many) {
        slv_summary_too_many(br->sum, rule);
    } else if (!rc) {
        slv_summary_begin(br->sum, rule);
        rc = each_key(&l, rule, feed_key, err);
        if (!rc) slv_summary_end(br->sum, rule);
    }
    slv_buf_fini(&l.keys);
    br->list_at[rule] = bridge_now() + LIST_AGAIN;
    br->news = true;
    return rc;
}

static int seen_above(struct bridge *br, size_t rule, struct slv_str key, struct slv_err *err) {
    const int rc = slv_summary_seen_above(br->sum, rule, key);
    return rc ? slv_err_set(err, rc, "mesh bridge: out of memory") : 0;
}

static int list_above(struct bridge *br, size_t rule, struct slv_str prefix, struct slv_err *err) {
    const struct slv_summary_rule *r = slv_summary_rule(br->sum, rule);
    struct listing l = {
        .br = br, .side = SLV_SUMMARY_ABOVE, .space = r->to, .prefix = prefix, .most = 2 * r->keys};
    int rc = list_keys(&l, err);
    if (!rc) rc = each_key(&l, rule, seen_above, err);
    if (!rc) slv_summary_all_above(br->sum, rule);
    slv_buf_fini(&l.keys);
    return rc;
}

void bridge_tend_lists(struct bridge *br) {
    struct slv_str prefix;
    for (size_t i = 0; i < slv_summary_rules(br->sum) && br->settled; i++) {
        const enum slv_summary_side from = br->source[br->source_of[i]].side;
        struct slv_err err = {0};
        if (br->side[from].up && br->source[br->source_of[i]].is_followed &&
            slv_summary_wants_list(br->sum, i) && bridge_now() >= br->list_at[i]) {
            if (list_rule(br, i, &err)) bridge_is_down(br, from, err.msg);
            else bridge_is_well(br, from);
        }
        if (br->active && br->side[SLV_SUMMARY_ABOVE].up &&
            slv_summary_wants_above(br->sum, i, &prefix) && list_above(br, i, prefix, &err))
            bridge_is_down(br, SLV_SUMMARY_ABOVE, err.msg);
    }
}

/* --- what changes ----------------------------------------------------------------------------- */

/* What a key without a value is told as, too. */
static bool may_be_none(struct slv_json_val v) {
    struct slv_str s;
    double n;
    bool on;
    switch (slv_json_kind(v)) {
    case SLV_JSON_NUMBER:
        return slv_json_get_f64(v, &n) && !(n < 0 || n > 0);
    case SLV_JSON_STRING:
        return slv_json_get_str(v, &s) && !s.n;
    case SLV_JSON_TRUE:
    case SLV_JSON_FALSE:
        return slv_json_get_bool(v, &on); /* off wins: on where there is nothing */
    case SLV_JSON_ARRAY:
        return slv_json_count(v) == 0;
    case SLV_JSON_OBJECT:
        return slv_json_kind(slv_json_get(v, "left")) != SLV_JSON_NONE ||
               slv_json_kind(slv_json_get(v, "epoch")) != SLV_JSON_NONE || !slv_json_count(v);
    case SLV_JSON_NONE:
    case SLV_JSON_NULL:
        return true;
    }
    return true;
}

static int changed(struct bridge *br, size_t source, struct slv_json_val e, struct slv_err *err) {
    const struct slv_json_val value = slv_json_get(e, "value");
    struct slv_str key;
    int rc = 0;
    if (!slv_json_get_str(slv_json_get(e, "key"), &key)) return 0;
    for (size_t i = 0; i < slv_summary_rules(br->sum) && !rc; i++) {
        const struct slv_str prefix = slv_summary_rule(br->sum, i)->prefix;
        if (br->source_of[i] != source || slv_summary_wants_list(br->sum, i)) continue;
        if (key.n < prefix.n || memcmp(key.p, prefix.p, prefix.n) != 0 || memchr(key.p, 0, key.n))
            continue;
        if (may_be_none(value)) rc = feed_key(br, i, key, err);
        else if (slv_summary_feed(br->sum, i, key, value))
            rc = slv_err_set(err, SLV_E_NOMEM, "mesh bridge: out of memory");
    }
    return rc;
}

static void on_change(struct bridge *br, size_t source, struct slv_str text) {
    struct slv_json_doc doc = {0};
    struct slv_err err = {0};
    int rc = slv_json_read(text.p, text.n, &doc, &err);
    if (!rc) rc = changed(br, source, slv_json_root(&doc), &err);
    if (rc) { /* what is there now is read by a list */
        bridge_lose_rules(br, source);
        bridge_is_down(br, br->source[source].side, err.msg);
    }
    slv_json_doc_fini(&doc);
}

/* Where it was never followed (too many watch), the node may be well otherwise. */
static void on_end(struct bridge *br, struct bridge_source *s, struct slv_str text) {
    char why[256];
    snprintf(why, sizeof why, "%.*s", (int)text.n, text.p);
    if (s->is_followed && br->side[s->side].up) bridge_is_down(br, s->side, why);
    else if (br->side[s->side].up && !s->told)
        slv_log(SLV_LOG_WARN, "mesh bridge: '%.*s' of %s is not followed: %s: trying again",
                (int)s->space.n, s->space.p, br->side[s->side].name, why);
    s->told = br->side[s->side].up;
    s->is_followed = false;
}

void bridge_take_events(struct bridge *br) {
    struct slv_follow_event e;
    while (!slv_sig_seen() && slv_follow_next(br->follow, &e)) {
        struct bridge_source *s = &br->source[e.source];
        if (e.what == SLV_FOLLOW_CHANGED) on_change(br, e.source, e.text);
        else bridge_lose_rules(br, e.source);
        if (e.what == SLV_FOLLOW_ENDED) on_end(br, s, e.text);
        if (e.what == SLV_FOLLOW_BEGUN) {
            s->is_followed = true;
            s->told = false;
        }
        bridge_tend_lock(br);
    }
}
