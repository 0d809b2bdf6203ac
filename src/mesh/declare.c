/* declare.c: see declare.h. Inner functions say what is wrong; slv_declare_read of what. */
#include "mesh/declare.h"
#include "base/amount.h"
#include "mesh/names.h"
#include "trust/fields.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define BYTES ((uint64_t)1 << 30) /* that a space's entries may take, unless it is said */
#define BYTES_MIN ((uint64_t)64 << 10)
#define BYTES_MAX ((uint64_t)64 << 30)
#define KEY_HEX (2u * SLV_HOST_KEY_BYTES)

struct reading {
    const struct slv_declare *d;
    struct slv_declared *to;
    struct slv_host_conf *conf;
};

/* --- a space ---------------------------------------------------------------------------------- */

/* What may stand behind the type and its order: "ttl=30m", "history=7d", "max=64M". */
struct extra {
    const char *name;
    bool is_time;
    uint64_t most;
    const char *what;
};

enum { TTL, HISTORY, MAX, EXTRAS };

static const struct extra extras[EXTRAS] = {
    [TTL] = {"ttl=", true, SLV_TTL_MAX_MS,
             "1 s to 3650d: a number of seconds, or one with s, m, h "
             "or d behind it"},
    [HISTORY] = {"history=", true, SLV_HISTORY_MAX_MS,
                 "1 s to 366d: a number of seconds, or one "
                 "with s, m, h or d behind it"},
    [MAX] = {"max=", false, BYTES_MAX,
             "64K to 64G: bytes, or a number with K, M or G behind "
             "it"},
};

/* Which of them a part is, and its number: 0 where it is none that may be. */
static int read_extra(struct slv_str part, uint64_t *ret) {
    for (int i = 0; i < EXTRAS; i++) {
        const struct extra *e = &extras[i];
        const size_t n = strlen(e->name);
        if (part.n <= n || memcmp(part.p, e->name, n) != 0) continue;
        const struct slv_str value = {part.p + n, part.n - n};
        char text[32];
        snprintf(text, sizeof text, "%.*s", (int)(value.n < 31 ? value.n : 31), value.p);
        if (e->is_time) *ret = slv_amount_ms(value);
        else if (!slv_amount_size(text, ret) || *ret < BYTES_MIN) *ret = 0;
        if (*ret > e->most) *ret = 0;
        return i;
    }
    return EXTRAS;
}

/* ":causal" or ":strong", then extras, each at most once. */
static int read_order(struct reading *r, const char *order, bool *ret_strong, struct slv_err *err) {
    struct slv_space_conf *to = &r->to->space[r->conf->n_space];
    uint64_t given[EXTRAS] = {0}, v = 0;
    bool first = true;
    for (size_t n; *order; order += n, first = false) {
        n = 1 + strcspn(order + 1, ":");
        const struct slv_str part = {order + 1, n - 1};
        const int e = read_extra(part, &v);
        if (first && slv_str_is(part, "causal")) to->causal = true;
        else if (first && slv_str_is(part, "strong")) *ret_strong = true;
        else if (e == EXTRAS || given[e])
            return slv_err_set(err, SLV_E_USAGE, "not " SLV_DECLARE_SPACE);
        else if (!v)
            return slv_err_set(err, SLV_E_USAGE, "%.*s is %s", (int)strlen(extras[e].name) - 1,
                               extras[e].name, extras[e].what);
        else given[e] = v;
    }
    to->ttl_ms = given[TTL];
    to->history_ms = given[HISTORY];
    to->max = given[MAX] ? given[MAX] : BYTES;
    if (*ret_strong && (given[TTL] || given[HISTORY] || given[MAX]))
        return slv_err_set(err, SLV_E_USAGE, "%s",
                           given[TTL]       ? "what is strong has leases, no ttl"
                           : given[HISTORY] ? "what is strong has no history"
                                            : "what is strong has no size of its own");
    if (given[TTL] && given[HISTORY])
        return slv_err_set(err, SLV_E_USAGE, "what goes by itself has no history");
    return 0;
}

/* Names are parts of commands and of paths. */
static bool is_space_name(const char *p, size_t n) {
    size_t k = 0;
    while (k < n && (isalnum((unsigned char)p[k]) || strchr("-_.", p[k])))
        k++;
    return k == n;
}

static int no_type(struct slv_str type, struct slv_err *err) {
    struct slv_buf b;
    slv_buf_init(&b, 1024);
    for (int t = 0; t < SLV_MESH_TYPES; t++)
        slv_buf_addf(&b, "%s%s", t ? ", " : "", slv_mesh_type_name((enum slv_mesh_type)t));
    slv_err_set(err, SLV_E_USAGE, "no such type: '%.*s': there are %s", (int)type.n, type.p,
                b.status ? "others" : b.data);
    slv_buf_fini(&b);
    return SLV_E_USAGE;
}

/* "NAME:TYPE", "NAME:TYPE:causal", "NAME:last:strong", "NAME:TYPE:ttl=12h", ":history=24h" */
static int read_space(struct reading *r, const char *text, struct slv_err *err) {
    struct slv_space_conf *to = &r->to->space[r->conf->n_space];
    const char *type = strchr(text, ':');
    const size_t n = type ? (size_t)(type - text) : 0;
    bool strong = false;
    if (!n || n > SLV_NODE_SPACE_NAME_MAX)
        return slv_err_set(err, SLV_E_USAGE, "not " SLV_DECLARE_SPACE);
    if (!is_space_name(text, n))
        return slv_err_set(err, SLV_E_USAGE, "a name has letters, digits, '-', '_' and '.' only");
    type++;
    const struct slv_str t = {type, strcspn(type, ":")};
    *to = (struct slv_space_conf){.name = {text, n}};
    if (!slv_mesh_type_find(t, &to->type)) return no_type(t, err);
    const int rc = read_order(r, type + t.n, &strong, err);
    if (rc) return rc;
    if (strong && to->type != SLV_TYPE_LAST)
        return slv_err_set(err, SLV_E_USAGE, "what is strong is of type last");
    if (to->history_ms && !slv_mesh_type_reverts(to->type))
        return slv_err_set(err, SLV_E_USAGE,
                           "a %s cannot be put back: history is for last, "
                           "many, on-wins, off-wins, set, counter, list, text, doc",
                           slv_mesh_type_name(to->type));
    if (to->ttl_ms && !slv_mesh_type_expires(to->type))
        return slv_err_set(err, SLV_E_USAGE,
                           "a %s would fall apart: ttl is for last, many, "
                           "on-wins, off-wins, set, counter, growing, unique, top",
                           slv_mesh_type_name(to->type));
    if (strong) r->to->strong[r->conf->n_strong++] = to->name;
    else r->conf->n_space++;
    return 0;
}

/* --- who is there ----------------------------------------------------------------------------- */

static int read_key(const char *text, size_t n, uint8_t ret[SLV_HOST_KEY_BYTES],
                    struct slv_err *err) {
    if (n == KEY_HEX && slv_hex_read(text, ret, SLV_HOST_KEY_BYTES)) return 0;
    return slv_err_set(err, SLV_E_USAGE,
                       "a key is 64 hexadecimal digits, as `selvage key show` has them behind "
                       "\"public\"");
}

static int read_member(struct reading *r, const char *text, struct slv_err *err) {
    return read_key(text, strlen(text), r->to->member[r->conf->n_member++], err);
}

/* "KEY@HOST:PORT" */
static int read_peer(struct reading *r, const char *text, struct slv_err *err) {
    const char *at = strchr(text, '@');
    struct slv_host_peer *p = &r->to->peer[r->conf->n_peer];
    if (!at) return slv_err_set(err, SLV_E_USAGE, "not KEY@HOST:PORT");
    if (!slv_names_is_place(at + 1, false))
        return slv_err_set(err, SLV_E_USAGE, "%s: not HOST:PORT", at + 1);
    p->address = at + 1;
    r->conf->n_peer++;
    return read_key(text, (size_t)(at - text), p->key, err);
}

/* Others take it as it is, and would take nothing of a record with one that is none. */
static int check_advertised(struct reading *r, const char *text, struct slv_err *err) {
    (void)r;
    if (slv_names_is_place(text, true)) return 0;
    return slv_err_set(err, SLV_E_USAGE, "not ADDRESS:PORT, or [ADDRESS]:PORT, in numbers");
}

static int read_authority(struct reading *r, const char *text, struct slv_err *err) {
    r->conf->authority = r->to->authority;
    return read_key(text, strlen(text), r->to->authority, err);
}

/* It says whose mesh it is and where to find it. */
static int read_invitation(struct reading *r, const char *text, struct slv_err *err) {
    struct slv_invite *i = &r->to->invitation;
    const int rc = slv_invite_read((struct slv_str){text, strlen(text)}, i, err);
    if (rc) return rc;
    if (r->conf->n_peer + i->n_peer > SLV_DECLARE_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "more than %u peers", SLV_DECLARE_MAX);
    for (size_t k = 0; k < i->n_peer; k++) {
        struct slv_host_peer *p = &r->to->peer[r->conf->n_peer++];
        memcpy(p->key, i->peer[k].key, sizeof p->key);
        p->address = i->peer[k].address;
        if (!slv_names_is_place(p->address, false))
            return slv_err_set(err, SLV_E_FORMAT, "%s: not HOST:PORT", p->address);
    }
    r->conf->mesh = i->mesh;
    r->conf->authority = i->authority;
    r->conf->invitation = i;
    return 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

typedef int read_fn(struct reading *r, const char *text, struct slv_err *err);

/* (An invitation is a secret: it is not said again.) */
static int read_one(struct reading *r, const char *name, const char *text, read_fn *fn,
                    struct slv_err *err) {
    const int rc = text ? fn(r, text, err) : 0;
    if (rc && fn == read_invitation) return slv_err_prefix(err, rc, "%s%s", r->d->mark, name);
    return rc ? slv_err_prefix(err, rc, "%s%s %s", r->d->mark, name, text) : 0;
}

static int read_list(struct reading *r, const char *name, struct slv_declare_list l, read_fn *fn,
                     struct slv_err *err) {
    if (l.n > SLV_DECLARE_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "%s%s: more than %u", r->d->mark, name,
                           SLV_DECLARE_MAX);
    int rc = 0;
    for (size_t i = 0; i < l.n && !rc; i++)
        rc = read_one(r, name, l.v[i], fn, err);
    return rc;
}

static int check_name(const struct reading *r, struct slv_err *err) {
    const char *name = r->d->name, *of = r->conf->mesh;
    if (!name || !of || !strcmp(name, of)) return 0;
    return slv_err_set(err, SLV_E_USAGE,
                       "%sname %s: the invitation is to mesh '%s': leave the name out", r->d->mark,
                       name, of);
}

int slv_declare_read(const struct slv_declare *d, struct slv_declared *ret,
                     struct slv_host_conf *conf, struct slv_err *err) {
    struct reading r = {d, ret, conf};
    if (!d->space.n)
        return slv_err_set(err, SLV_E_USAGE, "%sspace: there is none: what is shared must be said",
                           d->mark);
    if (d->authority && d->invitation)
        return slv_err_set(err, SLV_E_USAGE,
                           "%sauthority: it does not go with an invitation, which names it",
                           d->mark);
    int rc = read_list(&r, "space", d->space, read_space, err);
    if (!rc) rc = read_list(&r, "member", d->member, read_member, err);
    if (!rc) rc = read_list(&r, "peer", d->peer, read_peer, err);
    if (!rc) rc = read_list(&r, "advertise", d->advertise, check_advertised, err);
    if (!rc) rc = read_one(&r, "authority", d->authority, read_authority, err);
    if (!rc) rc = read_one(&r, "invitation", d->invitation, read_invitation, err);
    if (!rc) rc = check_name(&r, err);
    if (!conf->mesh) conf->mesh = d->name ? d->name : "mesh";
    conf->peer = ret->peer;
    conf->member = (const uint8_t(*)[SLV_HOST_KEY_BYTES])ret->member;
    conf->space = ret->space;
    conf->strong = ret->strong;
    conf->advertise = d->advertise.v;
    conf->n_advertise = d->advertise.n;
    return rc;
}
