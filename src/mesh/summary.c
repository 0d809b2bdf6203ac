/* summary.c: see summary.h. What is made of a rule's keys, whether it is passed on, and what is
 * said of it. */
#include "mesh/summary_int.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>

#define KEY_BYTES                                                                                  \
    (SLV_KEY_MAX + 256u) /* of a target: a zone's name, and a space's, may come first */
#define BODY_BYTES ((size_t)1 << 20)

static const char *const whys[SUMMARY_WHYS] = {
    [SUMMARY_KEYS] = "keys",   [SUMMARY_NUMBER] = "number",   [SUMMARY_SIZE] = "size",
    [SUMMARY_MIN] = "min",     [SUMMARY_MAX] = "max",         [SUMMARY_STEP] = "step",
    [SUMMARY_TOKEN] = "token", [SUMMARY_REFUSED] = "refused", [SUMMARY_UNANSWERED] = "unanswered",
};

/* --- alarms ----------------------------------------------------------------------------------- */

static void explain(const struct slv_summary_rule *r, enum summary_why why, double value, char *to,
                    size_t n) {
    switch (why) {
    case SUMMARY_KEYS:
        snprintf(to, n, "more than %zu keys", r->keys);
        return;
    case SUMMARY_NUMBER:
        snprintf(to, n, "a value is no number");
        return;
    case SUMMARY_SIZE:
        snprintf(to, n, "the value, or its key, is too long or too deep");
        return;
    case SUMMARY_MIN:
        snprintf(to, n, "%.15g is below %.15g", value, r->min);
        return;
    case SUMMARY_MAX:
        snprintf(to, n, "%.15g is above %.15g", value, r->max);
        return;
    case SUMMARY_STEP:
        snprintf(to, n, "%.15g is more than %.15g from what was passed on last", value, r->step);
        return;
    case SUMMARY_TOKEN:
        snprintf(to, n, "a bridge with a later token has written it");
        return;
    case SUMMARY_REFUSED:
        snprintf(to, n, "the node refuses it");
        return;
    case SUMMARY_UNANSWERED:
        snprintf(to, n, "the space it goes to does not answer");
        return;
    case SUMMARY_GOOD:
    case SUMMARY_WHYS:
        snprintf(to, n, "within bounds again");
        return;
    }
}

/* What cannot be kept is counted. */
static void push_alarm(struct slv_summary *s, size_t rule, enum summary_why why, double value,
                       struct slv_str key) {
    const struct slv_summary_rule *r = &s->rule[rule].rule;
    struct summary_alarm *a = &s->alarm[(s->at_alarm + s->n_alarm) % SLV_SUMMARY_ALARMS_MAX];
    struct slv_err line = {0};
    char reason[128];
    if (s->n_alarm == SLV_SUMMARY_ALARMS_MAX) return;
    explain(r, why, value, reason, sizeof reason);
    *a = (struct summary_alarm){.told = {.rule = rule, .why = whys[why], .value = value}};
    a->n_key = key.n < sizeof a->key ? key.n : sizeof a->key;
    memcpy(a->key, key.p, a->n_key);
    slv_err_set(&line, 0, "%.*s (%s %s): %s", (int)(a->n_key < 80 ? a->n_key : 80), a->key,
                slv_summary_kind_name(r->kind), r->text, reason);
    snprintf(a->told.text, sizeof a->told.text, "%.*s", (int)sizeof a->told.text - 1, line.msg);
    s->n_alarm++;
}

/* Whether something is passed on: said where it is otherwise than before. */
static void judge(struct slv_summary *s, size_t rule, struct summary_out *o, enum summary_why why,
                  double value, struct slv_str key) {
    struct summary_rule *r = &s->rule[rule];
    if (o->why == why) return;
    r->held += (o->why == SUMMARY_GOOD);
    r->held -= (why == SUMMARY_GOOD);
    r->alarms += (why != SUMMARY_GOOD);
    o->why = why;
    push_alarm(s, rule, why, value, key);
}

bool slv_summary_alarm(struct slv_summary *s, struct slv_summary_alarm *ret) {
    if (!s->n_alarm) return false;
    const struct summary_alarm *a = &s->alarm[s->at_alarm];
    *ret = a->told;
    ret->key = (struct slv_str){a->key, a->n_key};
    s->at_alarm = (s->at_alarm + 1) % SLV_SUMMARY_ALARMS_MAX;
    s->n_alarm--;
    return true;
}

/* --- what is passed on ------------------------------------------------------------------------ */

static enum summary_why within(const struct slv_summary_rule *r, double n) {
    if (!isfinite(n)) return SUMMARY_NUMBER;
    return n < r->min ? SUMMARY_MIN : n > r->max ? SUMMARY_MAX : SUMMARY_GOOD;
}

/* The number of a rule; NAN: the largest of none. In the order of keys: the same at all nodes. */
static enum summary_why weigh(const struct summary_rule *r, double *ret) {
    const enum slv_summary_kind k = r->rule.kind;
    double n = k == SLV_SUMMARY_SUM ? 0 : NAN;
    *ret = NAN;
    if (r->too_many) return SUMMARY_KEYS;
    for (size_t i = 0; i < r->n && k != SLV_SUMMARY_COUNT; i++) {
        const struct summary_item *x = r->item[i];
        if (!x->is_number) return SUMMARY_NUMBER;
        if (k == SLV_SUMMARY_SUM) n += x->number;
        else if (isnan(n) || (k == SLV_SUMMARY_MAX ? x->number > n : x->number < n)) n = x->number;
    }
    if (k == SLV_SUMMARY_COUNT) n = (double)r->live;
    *ret = n;
    return isnan(n) ? SUMMARY_GOOD : within(&r->rule, n);
}

/* Of a copy, where nothing of the target is known. Values need to be numbers only if they are
 * measured. */
static enum summary_why weigh_copy(const struct slv_summary *s, const struct summary_rule *r,
                                   const struct summary_item *x) {
    const bool measured = isfinite(r->rule.min) || isfinite(r->rule.max) || isfinite(r->rule.step);
    const size_t head = r->rule.kind == SLV_SUMMARY_COPY ? strlen(s->zone) + 1 : 0;
    if (x->gone) return SUMMARY_GOOD;
    if (x->bad || head + x->n_key > SLV_KEY_MAX) return SUMMARY_SIZE;
    if (!measured) return SUMMARY_GOOD;
    return x->is_number ? within(&r->rule, x->number) : SUMMARY_NUMBER;
}

static bool is_far(const struct slv_summary_rule *r, double n, double last) {
    return isfinite(r->step) && fabs(n - last) > r->step;
}

static void begin_body(struct slv_summary *s, struct slv_json *j) {
    slv_buf_clear(&s->body);
    slv_json_init(j, &s->body);
    slv_json_object(j, NULL);
}

static enum slv_summary_todo end_body(struct slv_summary *s, struct slv_json *j,
                                      const struct summary_rule *r, uint64_t version,
                                      struct slv_summary_act *act) {
    if (r->form == SLV_SUMMARY_STRONG) {
        slv_json_str(j, "op", "cas");
        slv_json_uint(j, "version", version);
    }
    slv_json_object_end(j);
    act->body = (struct slv_str){s->body.data, s->body.len};
    return s->body.status ? SLV_SUMMARY_NOTHING : SLV_SUMMARY_WRITE;
}

/* A number as a text; the summary's until the next. */
static struct slv_str number_text(struct slv_summary *s, double n) {
    struct slv_json j;
    slv_buf_clear(&s->text);
    slv_json_init(&j, &s->text);
    slv_json_double(&j, NULL, n);
    return (struct slv_str){s->text.data, s->text.len};
}

static enum slv_summary_todo write_number(struct slv_summary *s, struct slv_summary_act *act,
                                          double n, double keys, const char *held,
                                          uint64_t version) {
    const struct summary_rule *r = &s->rule[act->rule];
    struct slv_json j;
    begin_body(s, &j);
    if (r->form == SLV_SUMMARY_TEXT) {
        const struct slv_str t = number_text(s, n);
        slv_json_strn(&j, "value", t.p, t.n);
        return end_body(s, &j, r, version, act);
    }
    slv_json_object(&j, "value");
    slv_json_double(&j, "value", n);
    slv_json_double(&j, "keys", keys);
    if (held) slv_json_str(&j, "held", held);
    if (s->token) slv_json_uint(&j, "token", s->token);
    slv_json_object_end(&j);
    return end_body(s, &j, r, version, act);
}

/* What a summary above says. */
struct said {
    bool is, has_held;
    double value, keys;
    struct slv_str held;
    int64_t token;
};

static struct said said_of(const struct summary_rule *r, struct slv_json_val there) {
    struct said a = {.held = {"", 0}};
    if (r->form == SLV_SUMMARY_TEXT) {
        a.is = slv_json_kind(there) == SLV_JSON_STRING && summary_number(there, &a.value);
        return a;
    }
    a.is = slv_json_get_f64(slv_json_get(there, "value"), &a.value) && isfinite(a.value);
    if (!slv_json_get_f64(slv_json_get(there, "keys"), &a.keys)) a.keys = -1;
    a.has_held = slv_json_get_str(slv_json_get(there, "held"), &a.held);
    slv_json_get_i64(slv_json_get(there, "token"), &a.token);
    return a;
}

/* What only a write that succeeds puts an end to. */
static bool is_tried(enum summary_why why) {
    return why == SUMMARY_REFUSED || why == SUMMARY_UNANSWERED;
}

/* The last good one stays, and says that it is that. */
static enum slv_summary_todo hold(struct slv_summary *s, struct slv_summary_act *act,
                                  const struct said *a, enum summary_why why, uint64_t version) {
    const struct summary_rule *r = &s->rule[act->rule];
    if (why == SUMMARY_TOKEN || r->form == SLV_SUMMARY_TEXT || !a->is ||
        (a->has_held && slv_str_is(a->held, whys[why])))
        return SLV_SUMMARY_NOTHING;
    return write_number(s, act, a->value, a->keys >= 0 ? a->keys : 0, whys[why], version);
}

static enum slv_summary_todo decide_number(struct slv_summary *s, struct slv_summary_act *act,
                                           struct slv_json_val there, uint64_t version) {
    struct summary_rule *r = &s->rule[act->rule];
    const struct said a = said_of(r, there);
    const bool none = slv_json_kind(there) == SLV_JSON_NONE;
    double n;
    enum summary_why why = weigh(r, &n);
    if (s->token && a.token > 0 && (uint64_t)a.token > s->token) why = SUMMARY_TOKEN;
    else if (!why && a.is && is_far(&r->rule, n, a.value)) why = SUMMARY_STEP;
    if (why) {
        judge(s, act->rule, &r->out, why, n, act->key);
        return hold(s, act, &a, why, version);
    }
    const bool same = isnan(n) ? none
                               : a.is && !(n < a.value || n > a.value) && !a.has_held &&
                                     (r->form == SLV_SUMMARY_TEXT || a.keys == (double)r->live);
    if (same || !is_tried(r->out.why)) judge(s, act->rule, &r->out, SUMMARY_GOOD, n, act->key);
    if (same) return SLV_SUMMARY_NOTHING;
    return isnan(n) ? SLV_SUMMARY_REMOVE : write_number(s, act, n, (double)r->live, NULL, version);
}

/* Whether a copy is at the target already, and if not, the operation. */
static enum slv_summary_todo write_copy(struct slv_summary *s, struct slv_summary_act *act,
                                        const struct summary_item *x, struct slv_json_val there,
                                        uint64_t version) {
    const struct summary_rule *r = &s->rule[act->rule];
    struct slv_json_doc doc = {0};
    struct slv_json j;
    struct slv_str text = {x->value, x->n_value}, other;
    enum slv_summary_todo todo = SLV_SUMMARY_NOTHING;
    if (slv_json_read(x->value, x->n_value, &doc, NULL)) return SLV_SUMMARY_NOTHING;
    const bool is_text = r->form == SLV_SUMMARY_TEXT;
    slv_json_get_str(slv_json_root(&doc), &text);
    const bool same = is_text ? slv_json_get_str(there, &other) && other.n == text.n &&
                                    !memcmp(other.p, text.p, text.n)
                              : summary_same(slv_json_root(&doc), there);
    if (!same) {
        begin_body(s, &j);
        if (is_text) slv_json_strn(&j, "value", text.p, text.n);
        else slv_json_raw(&j, "value", x->value, x->n_value);
        todo = end_body(s, &j, r, version, act);
    }
    slv_json_doc_fini(&doc);
    return todo;
}

static enum slv_summary_todo decide_copy(struct slv_summary *s, struct slv_summary_act *act,
                                         struct slv_json_val there, uint64_t version) {
    struct summary_rule *r = &s->rule[act->rule];
    struct summary_item *x = r->item[act->item];
    double last = NAN;
    if (x->gone)
        return slv_json_kind(there) == SLV_JSON_NONE ? SLV_SUMMARY_NOTHING : SLV_SUMMARY_REMOVE;
    summary_number(there, &last);
    if (is_far(&r->rule, x->number, last)) {
        judge(s, act->rule, &x->out, SUMMARY_STEP, x->number, act->key);
        return SLV_SUMMARY_NOTHING;
    }
    const enum slv_summary_todo todo = write_copy(s, act, x, there, version);
    if (todo == SLV_SUMMARY_NOTHING || !is_tried(x->out.why))
        judge(s, act->rule, &x->out, SUMMARY_GOOD, x->is_number ? x->number : NAN, act->key);
    return todo;
}

/* --- one at a time ---------------------------------------------------------------------------- */

/* `x` NULL: of a copy, what its keys begin with. */
static struct slv_str make_key(struct slv_summary *s, const struct summary_rule *r,
                               const struct summary_item *x) {
    slv_buf_clear(&s->key);
    summary_key_head(s->zone, &r->rule, &s->key);
    if (x) slv_buf_add(&s->key, x->key, x->n_key);
    else if (summary_is_copy(&r->rule)) slv_buf_add(&s->key, r->rule.prefix.p, r->rule.prefix.n);
    return (struct slv_str){s->key.data, s->key.len};
}

static bool next_number(struct slv_summary *s, size_t rule, bool is_up, uint64_t now,
                        struct slv_summary_act *ret) {
    struct summary_rule *r = &s->rule[rule];
    double n;
    if (!r->out.dirty || now < r->due) return false;
    r->due = now + r->rule.every_ns;
    ret->key = make_key(s, r, NULL);
    const enum summary_why why = weigh(r, &n);
    if (why) judge(s, rule, &r->out, why, n, ret->key);
    return is_up;
}

/* Whether a copy that has changed is to be compared with what is above. */
static bool is_due(struct slv_summary *s, size_t rule, size_t i, bool is_up,
                   struct slv_summary_act *ret) {
    struct summary_rule *r = &s->rule[rule];
    struct summary_item *x = r->item[i];
    const enum summary_why why = weigh_copy(s, r, x);
    ret->key = make_key(s, r, x);
    ret->item = i;
    if (!why) return is_up;
    judge(s, rule, &x->out, why, x->is_number ? x->number : NAN, ret->key);
    summary_set_dirty(r, &x->out, false);
    return false;
}

/* A pass over those that have changed: each at most once in it. */
static bool next_copy(struct slv_summary *s, size_t rule, bool is_up, uint64_t now,
                      struct slv_summary_act *ret) {
    struct summary_rule *r = &s->rule[rule];
    summary_set_dirty(r, &r->out, false);
    judge(s, rule, &r->out, r->too_many ? SUMMARY_KEYS : SUMMARY_GOOD, NAN, make_key(s, r, NULL));
    if (r->too_many) return false;
    if (!r->in_pass) {
        if (!r->n_dirty || now < r->due) return false;
        r->in_pass = true;
        r->cursor = 0;
        r->due = now + r->rule.every_ns;
    }
    while (r->n_dirty && r->cursor < r->n) {
        const size_t i = r->cursor++;
        if (r->item[i]->out.dirty && is_due(s, rule, i, is_up, ret)) return true;
    }
    r->in_pass = false;
    return false;
}

bool slv_summary_next(struct slv_summary *s, const bool up[2], uint64_t now,
                      struct slv_summary_act *ret) {
    for (size_t k = 0; k < s->n; k++) {
        const size_t i = (s->at + k) % s->n;
        const struct slv_summary_rule *r = &s->rule[i].rule;
        *ret = (struct slv_summary_act){
            .rule = i, .side = slv_summary_target(r), .space = r->to, .body = {"", 0}};
        if (!s->rule[i].known) continue;
        if (!(summary_is_copy(r) ? next_copy : next_number)(s, i, up[ret->side], now, ret))
            continue;
        s->at = (i + 1) % s->n;
        return true;
    }
    return false;
}

uint64_t slv_summary_when(const struct slv_summary *s, uint64_t now) {
    uint64_t when = UINT64_MAX;
    for (size_t i = 0; i < s->n; i++) {
        const struct summary_rule *r = &s->rule[i];
        const bool copy = summary_is_copy(&r->rule);
        if (!r->known || !(r->out.dirty || (copy && !r->too_many && r->n_dirty))) continue;
        const uint64_t at = r->in_pass || (copy && r->out.dirty) || r->due < now ? now : r->due;
        if (at < when) when = at;
    }
    return when;
}

static struct summary_out *out_of(struct slv_summary *s, const struct slv_summary_act *act) {
    struct summary_rule *r = &s->rule[act->rule];
    return summary_is_copy(&r->rule) ? &r->item[act->item]->out : &r->out;
}

/* It is done with, until it changes. */
static void settle(struct slv_summary *s, const struct slv_summary_act *act) {
    struct summary_rule *r = &s->rule[act->rule];
    summary_set_dirty(r, out_of(s, act), false);
    if (!summary_is_copy(&r->rule) || !r->item[act->item]->gone) return;
    judge(s, act->rule, &r->item[act->item]->out, SUMMARY_GOOD, NAN, act->key);
    summary_drop(r, act->item);
}

enum slv_summary_todo slv_summary_decide(struct slv_summary *s, struct slv_summary_act *act,
                                         struct slv_json_val there, uint64_t version) {
    const bool copy = summary_is_copy(&s->rule[act->rule].rule);
    const enum slv_summary_todo todo = (copy ? decide_copy : decide_number)(s, act, there, version);
    if (todo == SLV_SUMMARY_NOTHING) settle(s, act);
    return todo;
}

/* Nor do the rest of its keys go out for now. */
static void wait_longer(struct summary_rule *r, uint64_t now) {
    const uint64_t least = r->rule.every_ns;
    r->gap = r->gap * 2 < SLV_SUMMARY_GAP_MAX ? r->gap * 2 : SLV_SUMMARY_GAP_MAX;
    if (r->gap < least) r->gap = least;
    r->due = now + r->gap;
    r->in_pass = false;
}

void slv_summary_done(struct slv_summary *s, const struct slv_summary_act *act, int rc,
                      uint64_t now) {
    struct summary_rule *r = &s->rule[act->rule];
    struct summary_out *o = out_of(s, act);
    switch (rc) {
    case 0:
        r->written++;
        r->gap = 0;
        if (is_tried(o->why)) judge(s, act->rule, o, SUMMARY_GOOD, NAN, act->key);
        settle(s, act);
        return;
    case SLV_E_USAGE:
    case SLV_E_LIMIT:
    case SLV_E_TRUST:
    case SLV_E_FORMAT:
        judge(s, act->rule, o, SUMMARY_REFUSED, NAN, act->key);
        summary_set_dirty(r, o, false);
        return;
    case SLV_E_NET:
        judge(s, act->rule, o, SUMMARY_UNANSWERED, NAN, act->key);
        wait_longer(r, now);
        return;
    default: /* it stays to be done */
        return;
    }
}

/* --- the summary ------------------------------------------------------------------------------ */

int slv_summary_open(const char *zone, const struct slv_summary_rule *rules, size_t n,
                     struct slv_summary **ret, struct slv_err *err) {
    int rc = summary_check(zone, rules, n, err);
    if (rc) return rc;
    struct slv_summary *s = slv_mem_calloc(1, sizeof *s);
    if (s) s->rule = slv_mem_calloc(n, sizeof *s->rule);
    if (!s || !s->rule) {
        slv_mem_free(s);
        return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    }
    snprintf(s->zone, sizeof s->zone, "%s", zone);
    s->n = n;
    for (size_t i = 0; i < n; i++) {
        s->rule[i].rule = rules[i];
        s->rule[i].form = SLV_SUMMARY_DOC;
    }
    slv_buf_init(&s->key, 2 * SUMMARY_KEY_BYTES);
    slv_buf_init(&s->head, 2 * SUMMARY_KEY_BYTES);
    slv_buf_init(&s->body, BODY_BYTES);
    slv_buf_init(&s->text, 64);
    *ret = s;
    return 0;
}

void slv_summary_close(struct slv_summary *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) {
        while (s->rule[i].n)
            summary_drop(&s->rule[i], s->rule[i].n - 1);
        slv_mem_free(s->rule[i].item);
    }
    slv_buf_fini(&s->key);
    slv_buf_fini(&s->head);
    slv_buf_fini(&s->body);
    slv_buf_fini(&s->text);
    slv_mem_free(s->rule);
    slv_mem_free(s);
}

size_t slv_summary_rules(const struct slv_summary *s) { return s->n; }

const struct slv_summary_rule *slv_summary_rule(const struct slv_summary *s, size_t rule) {
    return &s->rule[rule].rule;
}

void slv_summary_set_form(struct slv_summary *s, size_t rule, enum slv_summary_form form) {
    s->rule[rule].form = form;
}

/* One key that is held says why. */
static const char *why_of(const struct summary_rule *r) {
    if (r->out.why) return whys[r->out.why];
    for (size_t i = 0; i < r->n && r->held; i++)
        if (r->item[i]->out.why) return whys[r->item[i]->out.why];
    return NULL;
}

void slv_summary_tell(struct slv_summary *s, struct slv_json *j, const char *name) {
    slv_json_array(j, name);
    for (size_t i = 0; i < s->n; i++) {
        const struct summary_rule *r = &s->rule[i];
        const struct slv_str key = make_key(s, r, NULL);
        slv_json_object(j, NULL);
        slv_json_str(j, "kind", slv_summary_kind_name(r->rule.kind));
        slv_json_str(j, "rule", r->rule.text);
        slv_json_strn(j, "to", r->rule.to.p, r->rule.to.n);
        slv_json_strn(j, "key", key.p, key.n);
        slv_json_bool(j, "known", r->known);
        slv_json_uint(j, "keys", r->live);
        slv_json_str_or_null(j, "held", why_of(r));
        slv_json_uint(j, "held_keys", r->held);
        slv_json_uint(j, "written", r->written);
        slv_json_uint(j, "alarms", r->alarms);
        slv_json_object_end(j);
    }
    slv_json_array_end(j);
}
