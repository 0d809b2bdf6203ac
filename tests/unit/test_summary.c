/* test_summary.c: what a user would lose: a wrong value that goes up, a good one that does not, an
 * alarm that is not said, or is said for ever, a bridge that writes what is there already, or over
 * one that came after it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/entries.h"
#include "mesh/summary.h"

#include <stdio.h>
#include <string.h>

#define S ((uint64_t)1000000000)
#define MOST 64

/* A summary, and what is above: a map that does as it is told. */
struct rig {
    struct slv_summary *s;
    struct slv_summary_rule rule[8];
    size_t n;
    struct {
        char key[1100], value[512];
        uint64_t version;
    } above[MOST];
    size_t n_above;
    bool up;
    uint64_t now;
    unsigned looked, written, removed;
    int refuse;
    char body[70000]; /* of the last write */
};

static void add_rule(struct rig *r, enum slv_summary_kind kind, const char *text) {
    struct slv_err err = {0};
    assert_int_equal(slv_summary_read(kind, text, &r->rule[r->n++], &err), 0);
}

static void begin(struct rig *r) {
    assert_int_equal(slv_summary_open("north", r->rule, r->n, &r->s, NULL), 0);
    r->up = true;
    r->now = 100 * S;
}

static void one(struct rig *r, enum slv_summary_kind kind, const char *text) {
    memset(r, 0, sizeof *r);
    add_rule(r, kind, text);
    begin(r);
}

static int feed_bytes(struct rig *r, size_t rule, struct slv_str key, const char *json) {
    struct slv_json_doc doc = {0};
    if (json) assert_int_equal(slv_json_read(json, strlen(json), &doc, NULL), 0);
    const int rc = slv_summary_feed(r->s, rule, key, slv_json_root(&doc));
    slv_json_doc_fini(&doc);
    return rc;
}

static void feed(struct rig *r, const char *key, const char *json) {
    assert_int_equal(feed_bytes(r, 0, (struct slv_str){key, strlen(key)}, json), 0);
}

/* Keys and values, in turn, are all there is. */
static void list(struct rig *r, size_t rule, const char *const *kv) {
    slv_summary_begin(r->s, rule);
    for (; *kv; kv += 2)
        assert_int_equal(feed_bytes(r, rule, (struct slv_str){kv[0], strlen(kv[0])}, kv[1]), 0);
    slv_summary_end(r->s, rule);
}
#define LIST(r, ...) list(r, 0, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static size_t find_above(struct rig *r, const char *key) {
    size_t i = 0;
    while (i < r->n_above && strcmp(r->above[i].key, key) != 0)
        i++;
    return i;
}

static const char *above(struct rig *r, const char *key) {
    const size_t i = find_above(r, key);
    return i < r->n_above && r->above[i].value[0] ? r->above[i].value : NULL;
}

static void set_above(struct rig *r, const char *key, const char *json) {
    const size_t i = find_above(r, key);
    assert_true(i < MOST && strlen(key) < sizeof r->above[i].key);
    if (i == r->n_above) r->n_above++;
    strcpy(r->above[i].key, key);
    snprintf(r->above[i].value, sizeof r->above[i].value, "%s", json ? json : "");
    r->above[i].version++;
}

/* The value of {"value": V, ...}. */
static void apply(struct rig *r, const char *key, struct slv_str body) {
    struct slv_json_doc doc = {0};
    struct slv_str text;
    struct slv_buf b;
    struct slv_json j;
    slv_buf_init(&b, 100000);
    assert_true(body.n < sizeof r->body);
    memcpy(r->body, body.p, body.n);
    r->body[body.n] = '\0';
    assert_int_equal(slv_json_read(body.p, body.n, &doc, NULL), 0);
    const struct slv_json_val v = slv_json_get(slv_json_root(&doc), "value");
    if (slv_json_get_str(v, &text)) {
        slv_json_init(&j, &b);
        slv_json_strn(&j, NULL, text.p, text.n);
    } else {
        const char *at = strchr(r->body, ':') + 1, *end = strstr(at, ",\"op\"");
        slv_buf_add(&b, at, end ? (size_t)(end - at) : strlen(at) - 1);
    }
    set_above(r, key, b.data);
    slv_buf_fini(&b);
    slv_json_doc_fini(&doc);
}

static void look(struct rig *r, struct slv_summary_act *act) {
    char key[1200];
    struct slv_json_doc doc = {0};
    assert_true(act->key.n < sizeof key);
    memcpy(key, act->key.p, act->key.n);
    key[act->key.n] = '\0';
    const char *there = above(r, key);
    if (there) assert_int_equal(slv_json_read(there, strlen(there), &doc, NULL), 0);
    r->looked++;
    const uint64_t version = there ? r->above[find_above(r, key)].version : 0;
    const enum slv_summary_todo todo = slv_summary_decide(r->s, act, slv_json_root(&doc), version);
    slv_json_doc_fini(&doc);
    if (todo == SLV_SUMMARY_NOTHING) return;
    if (!r->refuse && todo == SLV_SUMMARY_WRITE) apply(r, key, act->body);
    else if (!r->refuse) set_above(r, key, NULL);
    if (!r->refuse && todo == SLV_SUMMARY_WRITE) r->written++;
    else if (!r->refuse) r->removed++;
    slv_summary_done(r->s, act, r->refuse, r->now);
}

/* All that there is to do now; what was written. */
static unsigned turn(struct rig *r) {
    const bool up[2] = {r->up, r->up};
    const unsigned before = r->written;
    struct slv_summary_act act;
    for (unsigned k = 0; slv_summary_next(r->s, up, r->now, &act); k++) {
        assert_true(k < 100000);
        look(r, &act);
    }
    return r->written - before;
}

static unsigned later(struct rig *r) {
    r->now += S;
    return turn(r);
}

/* The next alarm's reason: "" its end, NULL none. */
static const char *alarm_of(struct rig *r) {
    struct slv_summary_alarm a;
    if (!slv_summary_alarm(r->s, &a)) return NULL;
    assert_true(strlen(a.text) > 0);
    return a.why ? a.why : "";
}
#define NO_ALARM(r) assert_null(alarm_of(r))
#define ALARM(r, why)                                                                              \
    do {                                                                                           \
        const char *is = alarm_of(r);                                                              \
        assert_non_null(is);                                                                       \
        assert_string_equal(is, why);                                                              \
    } while (0)
#define ABOVE(r, key, want)                                                                        \
    do {                                                                                           \
        assert_non_null(above(r, key));                                                            \
        assert_string_equal(above(r, key), want);                                                  \
    } while (0)

static void end(struct rig *r) {
    slv_summary_close(r->s);
    r->s = NULL;
}

/* --- what goes up ----------------------------------------------------------------------------- */

static void sums_and_extremes(void **state) {
    struct rig r;
    (void)state;
    memset(&r, 0, sizeof r);
    add_rule(&r, SLV_SUMMARY_SUM, "parts");
    add_rule(&r, SLV_SUMMARY_COUNT, "parts");
    add_rule(&r, SLV_SUMMARY_MAX, "parts");
    add_rule(&r, SLV_SUMMARY_MIN, "parts/line-:to=lows");
    begin(&r);
    for (size_t i = 0; i < 4; i++)
        list(&r, i,
             (const char *const[]){"line-1", "20", "line-2", "-3.5", "other", "\"7\"", NULL});
    turn(&r);
    ABOVE(&r, "north/parts", "{\"value\":23.5,\"keys\":3}");
    ABOVE(&r, "north/parts:count", "{\"value\":3,\"keys\":3}");
    ABOVE(&r, "north/parts:max", "{\"value\":20,\"keys\":3}");
    ABOVE(&r, "north/parts/line-:min", "{\"value\":-3.5,\"keys\":2}");
    for (size_t i = 0; i < 4; i++)
        for (const char *const *k = (const char *const[]){"line-1", "line-2", "other", NULL}; *k;
             k++)
            assert_int_equal(feed_bytes(&r, i, (struct slv_str){*k, strlen(*k)}, NULL), 0);
    later(&r);
    ABOVE(&r, "north/parts", "{\"value\":0,\"keys\":0}");
    assert_null(above(&r, "north/parts:max")); /* there is no largest of none */
    assert_int_equal(r.removed, 2);
    NO_ALARM(&r);
    end(&r);
}

static void other_summaries_and_budgets_are_numbers(void **state) {
    struct rig r;
    (void)state;
    one(&r, SLV_SUMMARY_SUM, "parts");
    LIST(&r, "a", "{\"value\":5,\"keys\":9,\"held\":\"max\"}", "b", "{\"left\":7,\"mine\":1}", "c",
         "1e2");
    turn(&r);
    ABOVE(&r, "north/parts", "{\"value\":112,\"keys\":3}");
    end(&r);
}

static void nothing_goes_out_before_all_is_known(void **state) {
    struct rig r;
    (void)state;
    one(&r, SLV_SUMMARY_SUM, "parts");
    assert_true(slv_summary_wants_list(r.s, 0));
    feed(&r, "a", "1");
    assert_int_equal(turn(&r) + r.looked, 0);
    assert_true(slv_summary_when(r.s, r.now) == UINT64_MAX);
    LIST(&r, "a", "1", "b", "2");
    turn(&r);
    ABOVE(&r, "north/parts", "{\"value\":3,\"keys\":2}");
    slv_summary_lost(r.s, 0);
    feed(&r, "a", "5");
    assert_int_equal(later(&r), 0);
    slv_summary_begin(r.s, 0); /* b went meanwhile */
    feed(&r, "a", "5");
    assert_int_equal(later(&r), 0);
    slv_summary_end(r.s, 0);
    turn(&r);
    ABOVE(&r, "north/parts", "{\"value\":5,\"keys\":1}");
    end(&r);
}

static void only_what_has_changed_and_not_too_often(void **state) {
    struct rig r;
    (void)state;
    one(&r, SLV_SUMMARY_SUM, "parts:every=2s");
    LIST(&r, "a", "1");
    assert_int_equal(turn(&r), 1);
    for (int i = 2; i < 40; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        feed(&r, "a", text);
        r.now += S / 10;
        turn(&r);
    }
    assert_int_equal(r.written, 2); /* 3.8 s */
    assert_true(slv_summary_when(r.s, r.now) == 104 * S);
    r.now = 104 * S;
    assert_int_equal(turn(&r), 1);
    ABOVE(&r, "north/parts", "{\"value\":39,\"keys\":1}");
    const unsigned looked = r.looked;
    feed(&r, "a", "39");
    later(&r);
    later(&r);
    assert_int_equal(r.looked, looked);
    feed(&r, "a", "40");
    feed(&r, "a", "39"); /* there and back */
    later(&r);
    later(&r);
    assert_int_equal(r.written, 3);
    end(&r);
}

static void one_that_starts_again_writes_nothing_that_is_there(void **state) {
    struct rig r;
    (void)state;
    one(&r, SLV_SUMMARY_SUM, "parts:step=5");
    set_above(&r, "north/parts", "{\"keys\":1,\"token\":3,\"value\":10}");
    slv_summary_set_token(r.s, 4);
    LIST(&r, "a", "10.0");
    assert_int_equal(turn(&r), 0);
    assert_int_equal(r.looked, 1);
    feed(&r, "a", "16"); /* what is above is what a step is measured from */
    later(&r);
    ALARM(&r, "step");
    ABOVE(&r, "north/parts", "{\"value\":10,\"keys\":1,\"held\":\"step\",\"token\":4}");
    feed(&r, "a", "15");
    later(&r);
    ALARM(&r, "");
    ABOVE(&r, "north/parts", "{\"value\":15,\"keys\":1,\"token\":4}");
    end(&r);
}

/* --- what does not ---------------------------------------------------------------------------- */

static void what_is_out_of_bounds_stays_below(void **state) {
    static const struct {
        const char *value, *why;
    } bad[] = {{"1000000000000", "max"}, {"-1", "min"},           {"\"x\"", "number"},
               {"\"nan\"", "number"},    {"\"0x10\"", "number"},  {"\"\"", "number"},
               {"null", "number"},       {"[1]", "number"},       {"true", "number"},
               {"1e400", "number"},      {"\"1e999\"", "number"}, {"{\"value\":\"9\"}", "number"}};
    struct rig r;
    char want[128];
    (void)state;
    one(&r, SLV_SUMMARY_SUM, "parts:min=0,max=100");
    LIST(&r, "a", "41");
    turn(&r);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        feed(&r, "b", bad[i].value[0] == '-' ? "-42" : bad[i].value);
        later(&r);
        ALARM(&r, bad[i].why);
        snprintf(want, sizeof want, "{\"value\":41,\"keys\":1,\"held\":\"%s\"}", bad[i].why);
        ABOVE(&r, "north/parts", want);
        const unsigned written = r.written;
        feed(&r, "a", i % 2 ? "41.5" : "41.25"); /* it is still so: said once */
        later(&r);
        NO_ALARM(&r);
        assert_int_equal(r.written, written);
        feed(&r, "a", "41");
        feed(&r, "b", NULL);
        later(&r);
        ALARM(&r, "");
        ABOVE(&r, "north/parts", "{\"value\":41,\"keys\":1}");
    }
    end(&r);
}

static void sums_that_are_no_number_stay_below(void **state) {
    struct rig r;
    (void)state;
    one(&r, SLV_SUMMARY_SUM, "parts");
    LIST(&r, "a", "1e308", "b", "1e308");
    turn(&r);
    ALARM(&r, "number");
    assert_null(above(&r, "north/parts")); /* there was no good one */
    feed(&r, "b", "-1e308");
    later(&r);
    ALARM(&r, "");
    ABOVE(&r, "north/parts", "{\"value\":0,\"keys\":2}");
    end(&r);
}

static void an_alarm_needs_nobody_above(void **state) {
    struct rig r;
    (void)state;
    one(&r, SLV_SUMMARY_SUM, "parts:max=10");
    r.up = false;
    LIST(&r, "a", "11");
    turn(&r);
    ALARM(&r, "max");
    assert_int_equal(r.looked, 0);
    assert_true(slv_summary_when(r.s, r.now) == r.now + S); /* it does not spin */
    feed(&r, "a", "9");
    r.up = true;
    assert_int_equal(later(&r), 1);
    ALARM(&r, "");
    end(&r);
}

static void too_many_keys_stay_below(void **state) {
    struct rig r;
    (void)state;
    one(&r, SLV_SUMMARY_SUM, "parts:keys=2");
    LIST(&r, "a", "1", "b", "2");
    turn(&r);
    feed(&r, "c", "3");
    later(&r);
    ALARM(&r, "keys");
    ABOVE(&r, "north/parts", "{\"value\":3,\"keys\":2,\"held\":\"keys\"}");
    assert_true(slv_summary_wants_list(r.s, 0));
    feed(&r, "a", NULL); /* (who else there was is not known: only a list says) */
    later(&r);
    NO_ALARM(&r);
    slv_summary_too_many(r.s, 0);
    later(&r);
    NO_ALARM(&r);
    LIST(&r, "x", "5", "y", "6"); /* others than before, and as many as may be */
    assert_false(slv_summary_wants_list(r.s, 0));
    later(&r);
    ALARM(&r, "");
    ABOVE(&r, "north/parts", "{\"value\":11,\"keys\":2}");
    end(&r);
}

static void a_later_token_is_left_alone(void **state) {
    struct rig r;
    (void)state;
    one(&r, SLV_SUMMARY_SUM, "parts");
    slv_summary_set_token(r.s, 7);
    LIST(&r, "a", "1");
    turn(&r);
    ABOVE(&r, "north/parts", "{\"value\":1,\"keys\":1,\"token\":7}");
    set_above(&r, "north/parts", "{\"value\":50,\"keys\":1,\"token\":8}");
    feed(&r, "a", "2");
    later(&r);
    ALARM(&r, "token");
    ABOVE(&r, "north/parts", "{\"value\":50,\"keys\":1,\"token\":8}");
    feed(&r, "a", "\"x\""); /* nor is it said of it that it is held */
    later(&r);
    ABOVE(&r, "north/parts", "{\"value\":50,\"keys\":1,\"token\":8}");
    feed(&r, "a", "2");
    slv_summary_set_token(r.s, 9);
    later(&r);
    ABOVE(&r, "north/parts", "{\"value\":2,\"keys\":1,\"token\":9}");
    end(&r);
}

static void what_is_above_may_be_anything(void **state) {
    static const char *const things[] = {"null",
                                         "[]",
                                         "{}",
                                         "\"x\"",
                                         "7",
                                         "{\"value\":\"x\"}",
                                         "{\"value\":1e999,\"keys\":[],\"held\":3,\"token\":-1}"};
    struct rig r;
    (void)state;
    for (size_t i = 0; i < sizeof things / sizeof *things; i++) {
        one(&r, SLV_SUMMARY_SUM, "parts:step=1,max=9");
        set_above(&r, "north/parts", things[i]);
        LIST(&r, "a", "10");
        turn(&r);
        ABOVE(&r, "north/parts", things[i]);
        feed(&r, "a", "5");
        later(&r);
        ABOVE(&r, "north/parts", "{\"value\":5,\"keys\":1}");
        end(&r);
    }
}

static void a_refusal_is_an_alarm_and_is_not_repeated(void **state) {
    struct rig r;
    (void)state;
    one(&r, SLV_SUMMARY_SUM, "parts");
    r.refuse = SLV_E_TRUST;
    LIST(&r, "a", "1");
    turn(&r);
    ALARM(&r, "refused");
    const unsigned looked = r.looked;
    later(&r);
    assert_int_equal(r.looked, looked);
    r.refuse = SLV_E_BUSY; /* somebody was quicker: it is tried again */
    feed(&r, "a", "2");
    later(&r);
    later(&r);
    assert_int_equal(r.looked, looked + 2);
    NO_ALARM(&r);
    r.refuse = 0;
    later(&r);
    ALARM(&r, "");
    ABOVE(&r, "north/parts", "{\"value\":2,\"keys\":1}");
    end(&r);
}

static void a_group_that_does_not_answer_is_asked_less_often(void **state) {
    struct rig r;
    (void)state;
    one(&r, SLV_SUMMARY_COPY, "state");
    r.refuse = SLV_E_NET;
    LIST(&r, "a", "1", "b", "2");
    for (int i = 0; i < 60; i++)
        later(&r);
    assert_in_range(r.looked, 10, 16); /* after 1, 2, 4, then every 5 s, and one key each time */
    ALARM(&r, "unanswered");
    NO_ALARM(&r);
    r.refuse = 0;
    for (int i = 0; i < 6; i++)
        later(&r);
    ALARM(&r, "");
    ABOVE(&r, "north/b", "2");
    feed(&r, "a", "3");
    assert_int_equal(later(&r), 1); /* as often as before */
    const unsigned looked = r.looked;
    r.refuse = SLV_E_NET;
    feed(&r, "a", "4");
    later(&r);
    later(&r);
    assert_int_equal(r.looked, looked + 2); /* and from the start again */
    end(&r);
}

static void texts_and_strong_spaces(void **state) {
    struct rig r;
    (void)state;
    one(&r, SLV_SUMMARY_SUM, "parts:max=9");
    slv_summary_set_form(r.s, 0, SLV_SUMMARY_TEXT);
    LIST(&r, "a", "1.5");
    turn(&r);
    ABOVE(&r, "north/parts", "\"1.5\"");
    assert_string_equal(r.body, "{\"value\":\"1.5\"}");
    feed(&r, "a", "10");
    later(&r);
    ABOVE(&r, "north/parts", "\"1.5\"");
    ALARM(&r, "max");
    end(&r);
    one(&r, SLV_SUMMARY_SUM, "parts");
    slv_summary_set_form(r.s, 0, SLV_SUMMARY_STRONG);
    LIST(&r, "a", "1");
    turn(&r);
    assert_string_equal(r.body,
                        "{\"value\":{\"value\":1,\"keys\":1},\"op\":\"cas\",\"version\":0}");
    feed(&r, "a", "2");
    later(&r);
    assert_string_equal(r.body,
                        "{\"value\":{\"value\":2,\"keys\":1},\"op\":\"cas\",\"version\":1}");
    end(&r);
}

/* --- copies ----------------------------------------------------------------------------------- */

static void copies_are_as_they_are(void **state) {
    struct rig r;
    (void)state;
    one(&r, SLV_SUMMARY_COPY, "state/p");
    set_above(&r, "north/pump", "{\"b\":[1,2.0],\"a\":\"x\"}");
    LIST(&r, "other", "1", "pump", "{\"a\":\"x\",\"b\":[1.0,2]}", "p-2", "\"on\"", "p-3",
         "9007199254740993");
    assert_int_equal(turn(&r), 2); /* the first is the same */
    ABOVE(&r, "north/p-2", "\"on\"");
    ABOVE(&r, "north/p-3", "9007199254740993");
    assert_null(above(&r, "north/other"));
    set_above(&r, "north/pump", "{\"b\":[1,2],\"a\":\"y\"}"); /* somebody wrote it meanwhile */
    slv_summary_forget(r.s, SLV_SUMMARY_ABOVE);
    assert_int_equal(later(&r), 1);
    ABOVE(&r, "north/pump", "{\"a\":\"x\",\"b\":[1.0,2]}");
    feed(&r, "p-3", "9007199254740992"); /* the digits count */
    feed(&r, "p-2", NULL);
    assert_int_equal(later(&r), 1);
    assert_null(above(&r, "north/p-2"));
    ABOVE(&r, "north/p-3", "9007199254740992");
    feed(&r, "p-2", "\"on\"");
    feed(&r, "p-2", NULL); /* it came and went between two turns */
    later(&r);
    assert_null(above(&r, "north/p-2"));
    NO_ALARM(&r);
    end(&r);
}

static void copies_of_another_time_go(void **state) {
    struct rig r;
    struct slv_str prefix;
    static const char *const there[] = {"north/state-1", "north/state-2", "south/state-1",
                                        "north/x"};
    (void)state;
    one(&r, SLV_SUMMARY_COPY, "state/state-");
    assert_false(slv_summary_wants_above(r.s, 0, &prefix)); /* not before the zone is known */
    LIST(&r, "state-1", "1");
    assert_true(slv_summary_wants_above(r.s, 0, &prefix));
    assert_true(slv_str_is(prefix, "north/state-"));
    for (size_t i = 0; i < 4; i++) {
        set_above(&r, there[i], "1");
        assert_int_equal(
            slv_summary_seen_above(r.s, 0, (struct slv_str){there[i], strlen(there[i])}), 0);
    }
    slv_summary_all_above(r.s, 0);
    assert_false(slv_summary_wants_above(r.s, 0, &prefix));
    assert_int_equal(turn(&r), 0);
    assert_null(above(&r, "north/state-2"));
    ABOVE(&r, "north/state-1", "1");
    ABOVE(&r, "south/state-1", "1");
    ABOVE(&r, "north/x", "1");
    slv_summary_forget(r.s, SLV_SUMMARY_ABOVE);
    assert_true(slv_summary_wants_above(r.s, 0, &prefix));
    end(&r);
}

static void one_bad_copy_holds_up_no_other(void **state) {
    struct rig r;
    char deep[96] = "", wide[70000];
    (void)state;
    for (int i = 0; i < 33; i++) {
        deep[i] = '[';
        deep[33 + i] = ']';
    }
    memset(wide, 'x', sizeof wide);
    wide[0] = wide[66000] = '"';
    wide[66001] = '\0';
    one(&r, SLV_SUMMARY_COPY, "state:max=9,step=5");
    LIST(&r, "a", "5", "b", "10", "c", "\"x\"", "d", deep, "e", wide, "f", "{\"value\":1}");
    assert_int_equal(turn(&r), 2);
    ABOVE(&r, "north/a", "5");
    ABOVE(&r, "north/f", "{\"value\":1}");
    ALARM(&r, "max");
    ALARM(&r, "number");
    ALARM(&r, "size");
    ALARM(&r, "size");
    NO_ALARM(&r);
    feed(&r, "a", "-1");
    feed(&r, "b", "9");
    later(&r);
    ALARM(&r, "step");
    ALARM(&r, "");
    ABOVE(&r, "north/a", "5");
    ABOVE(&r, "north/b", "9");
    end(&r);
}

static void keys_may_be_anything(void **state) {
    struct rig r;
    char longest[SLV_KEY_MAX + 2];
    (void)state;
    memset(longest, 'k', sizeof longest);
    one(&r, SLV_SUMMARY_COPY, "state");
    LIST(&r, "a/b:c%20 \xc3\xbc", "1");
    assert_int_equal(feed_bytes(&r, 0, (struct slv_str){"n\0l", 3}, "1"), 0);
    assert_int_equal(feed_bytes(&r, 0, (struct slv_str){"", 0}, "1"), 0);
    assert_int_equal(feed_bytes(&r, 0, (struct slv_str){longest, SLV_KEY_MAX}, "1"), 0);
    assert_int_equal(feed_bytes(&r, 0, (struct slv_str){longest, SLV_KEY_MAX + 1}, "1"), 0);
    assert_int_equal(turn(&r), 1);
    ABOVE(&r, "north/a/b:c%20 \xc3\xbc", "1");
    ALARM(&r, "size"); /* "north/" does not fit before it */
    NO_ALARM(&r);
    end(&r);
}

static void down_is_the_other_way(void **state) {
    struct rig r;
    const bool up[2] = {true, false}; /* it is the zone that is written */
    struct slv_summary_act act;
    struct slv_str prefix;
    (void)state;
    one(&r, SLV_SUMMARY_DOWN, "settings/line:to=local");
    assert_int_equal(slv_summary_source(&r.rule[0]), SLV_SUMMARY_ABOVE);
    LIST(&r, "line/speed", "\"80 %\"", "else", "\"x\"");
    assert_false(slv_summary_wants_above(r.s, 0, &prefix)); /* what the zone has of its own stays */
    assert_true(slv_summary_next(r.s, up, r.now, &act));
    assert_int_equal(act.side, SLV_SUMMARY_ZONE);
    assert_true(slv_str_is(act.space, "local") && slv_str_is(act.key, "line/speed"));
    look(&r, &act);
    assert_false(slv_summary_next(r.s, up, r.now, &act));
    ABOVE(&r, "line/speed", "\"80 %\"");
    end(&r);
}

static void more_alarms_than_anybody_hears(void **state) {
    struct rig r;
    struct slv_buf b;
    struct slv_json j;
    unsigned n = 0;
    (void)state;
    one(&r, SLV_SUMMARY_COPY, "state:max=1");
    slv_summary_begin(r.s, 0);
    for (int i = 0; i < 500; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        feed(&r, key, "2");
    }
    slv_summary_end(r.s, 0);
    assert_int_equal(turn(&r), 0);
    while (alarm_of(&r))
        n++;
    assert_int_equal(n, SLV_SUMMARY_ALARMS_MAX);
    slv_buf_init(&b, 100000);
    slv_json_init(&j, &b);
    slv_summary_tell(r.s, &j, NULL);
    assert_non_null(
        strstr(b.data, "\"held\":\"max\",\"held_keys\":500,\"written\":0,\"alarms\":500"));
    slv_buf_fini(&b);
    end(&r);
}

/* --- rules ------------------------------------------------------------------------------------ */

static void rules_are_read(void **state) {
    static const char *const bad[] = {"",
                                      "/x",
                                      ":max=1",
                                      "a:max",
                                      "a:max=",
                                      "a:max=x",
                                      "a:max=1x",
                                      "a:max=inf",
                                      "a:max=0x1",
                                      "a:step=-1",
                                      "a:every=0",
                                      "a:step=.5",
                                      "a:every=3601",
                                      "a:every=2h",
                                      "a:every=s",
                                      "a:keys=0",
                                      "a:keys=1.5",
                                      "a:keys=1e9",
                                      "a:to=",
                                      "a:what=1",
                                      "a:min=2,max=1",
                                      "a:max=1,,min=0"};
    struct slv_summary_rule r;
    (void)state;
    assert_int_equal(slv_summary_read(SLV_SUMMARY_SUM,
                                      "a/b/c:d:min=-1,max=1e3,step=0.5,every=500ms,keys=7,to=x", &r,
                                      NULL),
                     0);
    assert_true(slv_str_is(r.space, "a") && slv_str_is(r.prefix, "b/c:d") && slv_str_is(r.to, "x"));
    assert_true(r.min == -1 && r.max == 1000 && r.step == 0.5 && r.keys == 7);
    assert_true(r.every_ns == S / 2);
    assert_int_equal(slv_summary_read(SLV_SUMMARY_SUM, "a/b:c:", &r, NULL), 0);
    assert_true(slv_str_is(r.prefix, "b:c") && slv_str_is(r.to, "a") && r.every_ns == S);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(slv_summary_read(SLV_SUMMARY_SUM, bad[i], &r, NULL), SLV_E_USAGE);
    }
}

static int together(const char *zone, enum slv_summary_kind a, const char *x,
                    enum slv_summary_kind b, const char *y) {
    struct slv_summary_rule r[2];
    struct slv_summary *s = NULL;
    assert_int_equal(slv_summary_read(a, x, &r[0], NULL), 0);
    assert_int_equal(slv_summary_read(b, y, &r[1], NULL), 0);
    const int rc = slv_summary_open(zone, r, 2, &s, NULL);
    slv_summary_close(s);
    return rc;
}

static void rules_that_cannot_be_together(void **state) {
    const enum slv_summary_kind sum = SLV_SUMMARY_SUM, copy = SLV_SUMMARY_COPY,
                                down = SLV_SUMMARY_DOWN, most = SLV_SUMMARY_MAX;
    (void)state;
    assert_int_equal(together("n", sum, "a", most, "a"), 0);
    assert_int_equal(together("n", sum, "a", sum, "a/x"), 0);
    assert_int_equal(together("n", copy, "a/x", copy, "a/y"), 0);
    assert_int_equal(together("n", copy, "a", down, "b"), 0);
    assert_int_equal(together("n", copy, "a/x", down, "a/y"), 0);
    assert_int_equal(together("n", sum, "a:max=1", sum, "a:max=2"), SLV_E_USAGE);
    assert_int_equal(together("n", sum, "a/b:to=x", sum, "a/b:to=x"), SLV_E_USAGE);
    assert_int_equal(together("n", copy, "a/x", copy, "a/xy"), SLV_E_USAGE);
    assert_int_equal(together("n", sum, "a:to=b", copy, "b"), SLV_E_USAGE); /* "n/a" is of both */
    assert_int_equal(together("n", copy, "b", sum, "a:to=b"), SLV_E_USAGE);
    assert_int_equal(together("n", copy, "a", down, "a/x"), SLV_E_USAGE);
    assert_int_equal(together("n", down, "b:to=a", sum, "a"), SLV_E_USAGE);
    assert_int_equal(together("n", down, "a", down, "b:to=a"), SLV_E_USAGE);
    assert_int_equal(together("", sum, "a", sum, "b"), SLV_E_USAGE);
    assert_int_equal(together("a/b", sum, "a", sum, "b"), SLV_E_USAGE);
    assert_int_equal(together("n", sum, "a", sum, "b"), 0);
}

static int fits(enum slv_summary_kind kind, const char *from, bool from_strong, const char *to,
                bool to_strong, enum slv_summary_form *ret) {
    struct slv_summary_rule r;
    const struct slv_summary_space x = {{from, strlen(from)}, from_strong},
                                   y = {{to, strlen(to)}, to_strong};
    assert_int_equal(slv_summary_read(kind, "a", &r, NULL), 0);
    return slv_summary_fits(&r, &x, &y, ret, NULL);
}

static void types_that_cannot_be(void **state) {
    enum slv_summary_form f;
    (void)state;
    assert_int_equal(fits(SLV_SUMMARY_SUM, "counter", false, "doc", false, &f), 0);
    assert_int_equal(f, SLV_SUMMARY_DOC);
    assert_int_equal(fits(SLV_SUMMARY_MAX, "last", true, "last", false, &f), 0);
    assert_int_equal(f, SLV_SUMMARY_TEXT);
    assert_int_equal(fits(SLV_SUMMARY_COUNT, "set", false, "last", true, &f), 0);
    assert_int_equal(f, SLV_SUMMARY_STRONG);
    assert_int_equal(fits(SLV_SUMMARY_COPY, "set", false, "doc", false, &f), 0);
    assert_int_equal(fits(SLV_SUMMARY_SUM, "set", false, "doc", false, &f), SLV_E_USAGE);
    assert_int_equal(fits(SLV_SUMMARY_SUM, "counter", false, "counter", false, &f), SLV_E_USAGE);
    assert_int_equal(fits(SLV_SUMMARY_COPY, "text", false, "text", false, &f), SLV_E_USAGE);
}

/* Whichever allocation fails, nothing wrong goes up, and a list puts it right. */
static void memory_that_runs_out(void **state) {
    (void)state;
    for (uint64_t n = 1; n < 40; n++) {
        struct rig r;
        memset(&r, 0, sizeof r);
        add_rule(&r, SLV_SUMMARY_COPY, "state");
        add_rule(&r, SLV_SUMMARY_SUM, "parts");
        begin(&r);
        int rc = 0;
        slv_mem_fail_at(n);
        for (size_t rule = 0; rule < 2; rule++) {
            slv_summary_begin(r.s, rule);
            for (int i = 0; i < 4; i++) {
                const struct slv_json_node node = {
                    .at = 0, .n = 1, .end = 1, .kind = SLV_JSON_NUMBER};
                struct slv_json_doc doc = {.text = "3", .n = 1};
                struct slv_json_node at[1] = {node};
                doc.v = at;
                const char key[] = {'k', (char)('0' + i)};
                rc |= slv_summary_feed(r.s, rule, (struct slv_str){key, 2},
                                       (struct slv_json_val){&doc, 0});
            }
            slv_summary_end(r.s, rule);
        }
        slv_mem_fail_at(0);
        turn(&r);
        if (above(&r, "north/parts")) ABOVE(&r, "north/parts", "{\"value\":12,\"keys\":4}");
        assert_true(!rc || slv_summary_wants_list(r.s, 0) || slv_summary_wants_list(r.s, 1));
        static const char *const all[] = {"k0", "3", "k1", "3", "k2", "3", "k3", "3", NULL};
        list(&r, 0, all);
        list(&r, 1, all);
        later(&r);
        ABOVE(&r, "north/parts", "{\"value\":12,\"keys\":4}");
        ABOVE(&r, "north/k3", "3");
        end(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_extremes),
        cmocka_unit_test(other_summaries_and_budgets_are_numbers),
        cmocka_unit_test(nothing_goes_out_before_all_is_known),
        cmocka_unit_test(only_what_has_changed_and_not_too_often),
        cmocka_unit_test(one_that_starts_again_writes_nothing_that_is_there),
        cmocka_unit_test(what_is_out_of_bounds_stays_below),
        cmocka_unit_test(sums_that_are_no_number_stay_below),
        cmocka_unit_test(an_alarm_needs_nobody_above),
        cmocka_unit_test(too_many_keys_stay_below),
        cmocka_unit_test(a_later_token_is_left_alone),
        cmocka_unit_test(what_is_above_may_be_anything),
        cmocka_unit_test(a_refusal_is_an_alarm_and_is_not_repeated),
        cmocka_unit_test(a_group_that_does_not_answer_is_asked_less_often),
        cmocka_unit_test(texts_and_strong_spaces),
        cmocka_unit_test(copies_are_as_they_are),
        cmocka_unit_test(copies_of_another_time_go),
        cmocka_unit_test(one_bad_copy_holds_up_no_other),
        cmocka_unit_test(keys_may_be_anything),
        cmocka_unit_test(down_is_the_other_way),
        cmocka_unit_test(more_alarms_than_anybody_hears),
        cmocka_unit_test(rules_are_read),
        cmocka_unit_test(rules_that_cannot_be_together),
        cmocka_unit_test(types_that_cannot_be),
        cmocka_unit_test(memory_that_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
