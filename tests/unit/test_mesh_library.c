/* test_mesh_library.c: a node inside a program, by the library alone: what one writes another sees,
 * sessions and strong spaces hold, what is wrong is said, and nothing is printed. Two nodes of one
 * process, on loopback. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "scratch.h"
#include "selvage_mesh.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NODES 2
#define WAIT_S 60
#define WRITERS 4
#define WRITES 50

static const char *const spaces[] = {"parts:counter", "tags:set", "conf:last:strong"};
static const char *const any[] = {"127.0.0.1:0"};
static struct slv_mesh *node[NODES];
static struct slv_err err;

static struct slv_mesh_opts options(const char *folder, const char *key) {
    return (struct slv_mesh_opts){
        .folder = folder, .key = key, .space = {spaces, 3}, .listen = {any, 1}};
}

/* The second knows where the first is, which knows the second's key. */
static int open_two(void **state) {
    char key[NODES][SLV_MESH_KEY_TEXT], peer[200];
    const char *const peers[] = {peer}, *const members[] = {key[1]};
    if (scratch_make(state)) return -1;
    if (slv_mesh_key(scratch("a.key"), key[0], &err)) return -1;
    if (slv_mesh_key(scratch("b.key"), key[1], &err)) return -1;
    struct slv_mesh_opts o = options(scratch("a"), scratch("a.key"));
    o.member = (struct slv_mesh_list){members, 1};
    if (slv_mesh_open(&o, &node[0], &err)) return -1;
    snprintf(peer, sizeof peer, "%s@%s", key[0], slv_mesh_address(node[0], 0));
    o = options(scratch("b"), scratch("b.key"));
    o.peer = (struct slv_mesh_list){peers, 1};
    return slv_mesh_open(&o, &node[1], &err);
}

static int close_two(void **state) {
    for (int i = 0; i < NODES; i++) {
        slv_mesh_close(node[i]);
        node[i] = NULL;
    }
    return scratch_drop(state);
}

static bool reads(struct slv_mesh *m, const char *space, const char *key, const char *part) {
    char *json = NULL;
    if (slv_mesh_get(m, space, key, NULL, &json, NULL)) return false;
    const bool found = strstr(json, part) != NULL;
    slv_mesh_free(json);
    return found;
}

static void until_reads(struct slv_mesh *m, const char *space, const char *key, const char *part) {
    const time_t end = time(NULL) + WAIT_S;
    while (!reads(m, space, key, part)) {
        assert_true(time(NULL) < end);
        usleep(5000);
    }
}

static void put(struct slv_mesh *m, const char *space, const char *key, const char *op) {
    assert_int_equal(slv_mesh_put(m, space, key, op, NULL, NULL, &err), 0);
}

/* --- keys ------------------------------------------------------------------------------------- */

static void what_one_writes_another_reads(void **state) {
    (void)state;
    put(node[0], "parts", "line-1", "{\"value\":3}");
    put(node[1], "parts", "line-1", "{\"value\":4}");
    put(node[1], "tags", "a/b c", "{\"value\":\"\\u00e9\"}");
    until_reads(node[0], "parts", "line-1", "\"value\":7");
    until_reads(node[1], "parts", "line-1", "\"value\":7");
    until_reads(node[0], "tags", "a/b c", "\xc3\xa9");
    assert_int_equal(slv_mesh_del(node[0], "tags", "a/b c", NULL, &err), 0);
    char *json = NULL;
    assert_int_equal(slv_mesh_get(node[0], "tags", "a/b c", NULL, &json, &err), SLV_E_NOENT);
    assert_null(json);
    assert_int_equal(strlen(slv_mesh_id(node[0])), SLV_MESH_ID_TEXT - 1);
    assert_null(slv_mesh_address(node[0], 1));
    assert_int_equal(slv_mesh_request(node[0], "GET", "/v1/status", NULL, &json, &err), 0);
    assert_non_null(strstr(json, slv_mesh_id(node[1])));
    slv_mesh_free(json);
}

static void what_cannot_be_done_says_why(void **state) {
    static const struct {
        const char *space, *key, *op;
        int rc;
        const char *says;
    } cases[] = {
        {"none", "k", "{\"value\":1}", SLV_E_NOENT, "no such space: 'none'"},
        {"parts", "k", "{\"value\":\"x\"}", SLV_E_USAGE, "counter"},
        {"parts", "k", "{\"value\":", SLV_E_USAGE, ""},
        {"parts", "k", "", SLV_E_USAGE, ""},
        {"parts", "", "{\"value\":1}", SLV_E_USAGE, ""},
        {"conf", "k", "{\"op\":\"keepalive\"}", SLV_E_USAGE, "wants \"lease\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        err = (struct slv_err){0};
        const int rc =
            slv_mesh_put(node[0], cases[i].space, cases[i].key, cases[i].op, NULL, NULL, &err);
        if (*cases[i].key) assert_int_equal(rc, cases[i].rc);
        else assert_int_not_equal(rc, 0);
        assert_int_equal(err.code, rc);
        assert_true(err.msg[0] && !strchr(err.msg, '\n') && strstr(err.msg, cases[i].says));
    }
    assert_int_equal(slv_mesh_request(node[0], "GET", "/v1/none", NULL, NULL, &err), SLV_E_NOENT);
}

static int stops(void *ctx, const char *json) { return json || ctx ? 1 : 5; }

static void a_key_that_is_too_long_and_a_node_that_is_gone(void **state) {
    static char key[70000];
    (void)state;
    memset(key, 'k', 2000);
    assert_int_equal(slv_mesh_put(node[0], "parts", key, "{\"value\":1}", NULL, NULL, &err),
                     SLV_E_LIMIT);
    memset(key, 'k', sizeof key - 1);
    assert_int_not_equal(slv_mesh_put(node[0], "parts", key, "{\"value\":1}", NULL, NULL, &err), 0);
    assert_true(err.msg[0]);
    assert_int_equal(unlink(slv_mesh_socket(node[0])), 0);
    assert_int_equal(slv_mesh_put(node[0], "parts", "k", "{\"value\":1}", NULL, NULL, &err),
                     SLV_E_NET);
    assert_non_null(strstr(err.msg, "may have been done"));
    assert_int_equal(slv_mesh_watch(node[0], "parts", stops, NULL, &err), SLV_E_NET);
    assert_true(err.msg[0]);
}

static void a_strong_space_is_agreed_on(void **state) {
    const struct slv_mesh_ask leased = {.read = "leased"}, at_once = {.timeout_ms = 200};
    char *json = NULL;
    (void)state;
    assert_int_equal(slv_mesh_put(node[0], "conf", "k", "{\"value\":1}", &at_once, NULL, &err),
                     SLV_E_NET);
    assert_int_equal(slv_mesh_request(node[0], "POST", "/v1/found", NULL, NULL, &err), 0);
    put(node[0], "conf", "k", "{\"value\":1}");
    until_reads(node[1], "conf", "k", "\"value\":1");
    assert_int_equal(slv_mesh_put(node[1], "conf", "k",
                                  "{\"op\":\"swap\",\"value\":3,\"expect\":2}", NULL, NULL, &err),
                     SLV_E_BUSY);
    assert_int_equal(
        slv_mesh_put(node[1], "conf", "l", "{\"op\":\"lock\",\"ttl_ms\":60000}", NULL, &json, &err),
        0);
    assert_non_null(strstr(json, "\"token\":"));
    slv_mesh_free(json);
    assert_int_equal(
        slv_mesh_put(node[0], "conf", "l", "{\"op\":\"lock\",\"ttl_ms\":60000}", NULL, NULL, &err),
        SLV_E_BUSY);
    assert_int_equal(slv_mesh_get(node[0], "conf", "k", &leased, &json, &err), 0);
    assert_non_null(strstr(json, "\"version\":"));
    slv_mesh_free(json);
}

/* --- sessions --------------------------------------------------------------------------------- */

static void a_session_reads_its_own_writes(void **state) {
    struct slv_mesh_session *s = NULL, *same = NULL;
    struct slv_mesh_ask ask = {.timeout_ms = WAIT_S * 1000};
    char *text = NULL, *json = NULL;
    (void)state;
    put(node[0], "parts", "k", "{\"value\":1}");
    until_reads(node[1], "parts", "k", "1"); /* they are connected */
    assert_int_equal(slv_mesh_session_open(NULL, &s, &err), 0);
    assert_int_equal(slv_mesh_session_text(s, &text, &err), 0);
    assert_string_equal(text, "");
    slv_mesh_free(text);
    ask.session = s;
    for (int i = 2; i < 50; i++) {
        char value[32];
        snprintf(value, sizeof value, "\"value\":%d}", i);
        assert_int_equal(slv_mesh_put(node[i % 2], "parts", "k", "{\"value\":1}", &ask, NULL, &err),
                         0);
        assert_int_equal(slv_mesh_get(node[!(i % 2)], "parts", "k", &ask, &json, &err), 0);
        assert_non_null(strstr(json, value));
        slv_mesh_free(json);
    }
    assert_int_equal(slv_mesh_session_text(s, &text, &err), 0);
    assert_int_equal(slv_mesh_session_open(text, &same, &err), 0);
    slv_mesh_free(text);
    ask.session = same;
    assert_int_equal(slv_mesh_get(node[1], "parts", "k", &ask, &json, &err), 0);
    slv_mesh_free(json);
    slv_mesh_session_close(same);
    slv_mesh_session_close(s);
    assert_int_equal(slv_mesh_session_open("no token", &s, &err), SLV_E_FORMAT);
}

/* --- many at once ----------------------------------------------------------------------------- */

static void *write_many(void *m) {
    for (int i = 0; i < WRITES; i++)
        if (slv_mesh_put(m, "parts", "many", "{\"value\":1}", NULL, NULL, NULL)) return m;
    return NULL;
}

static void many_threads_may_ask(void **state) {
    pthread_t t[WRITERS];
    char want[40];
    void *failed = NULL;
    (void)state;
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, write_many, node[i % NODES]), 0);
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(t[i], &failed), 0);
        assert_null(failed);
    }
    snprintf(want, sizeof want, "\"value\":%d}", WRITERS * WRITES);
    for (int i = 0; i < NODES; i++)
        until_reads(node[i], "parts", "many", want);
}

/* --- watching --------------------------------------------------------------------------------- */

struct watcher {
    struct slv_mesh *m;
    const char *space, *until; /* NULL: for ever */
    atomic_int begun, told;
    int rc;
    struct slv_err err;
};

static int on_change(void *ctx, const char *json) {
    struct watcher *w = ctx;
    if (!json) {
        atomic_store(&w->begun, 1);
        return 0;
    }
    atomic_fetch_add(&w->told, 1);
    return w->until && strstr(json, w->until) ? 77 : 0;
}

static void *watch(void *ctx) {
    struct watcher *w = ctx;
    w->rc = slv_mesh_watch(w->m, w->space, on_change, w, &w->err);
    return NULL;
}

static void until_begun(struct watcher *w) {
    while (!atomic_load(&w->begun))
        usleep(1000);
}

static void changes_are_told(void **state) {
    struct watcher w = {.m = node[1], .space = "parts", .until = "\"value\":3}"};
    pthread_t t;
    (void)state;
    assert_int_equal(pthread_create(&t, NULL, watch, &w), 0);
    until_begun(&w);
    put(node[0], "parts", "seen", "{\"value\":1}");
    put(node[0], "parts", "seen", "{\"value\":2}");
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_int_equal(w.rc, 77);
    assert_true(atomic_load(&w.told) >= 1);
    struct watcher none = {.m = node[0], .space = "none"};
    watch(&none);
    assert_int_equal(none.rc, SLV_E_NOENT);
    assert_false(atomic_load(&none.begun));
}

static void closing_ends_who_watches(void **state) {
    struct watcher w = {.m = node[0], .space = "tags"};
    pthread_t t;
    (void)state;
    assert_int_equal(slv_mesh_watch(node[0], "tags", stops, NULL, &err), 5);
    assert_int_equal(pthread_create(&t, NULL, watch, &w), 0);
    until_begun(&w);
    slv_mesh_close(node[0]);
    node[0] = NULL;
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_int_equal(w.rc, SLV_E_CANCELLED);
    assert_true(w.err.msg[0]);
}

/* --- beginning and end ------------------------------------------------------------------------ */

static void what_was_written_is_there_again(void **state) {
    (void)state;
    put(node[1], "tags", "kept", "{\"value\":\"x\"}");
    slv_mesh_close(node[1]);
    const struct slv_mesh_opts o = options(scratch("b"), scratch("b.key"));
    assert_int_equal(slv_mesh_open(&o, &node[1], &err), 0);
    assert_true(reads(node[1], "tags", "kept", "\"x\""));
}

static void what_cannot_be_is_refused(void **state) {
    static const char *const bad_space[] = {"x:lost"}, *const bad_peer[] = {"zz@h:1"},
                             *const bad_listen[] = {"nowhere"};
    struct slv_mesh_opts o[9];
    static const char *const says[] = {"folder", "space",     "no such type", "peer",  "",
                                       "voters", "authority", "invitation",   "no key"};
    static const int codes[] = {SLV_E_USAGE, SLV_E_USAGE, SLV_E_USAGE,  SLV_E_USAGE, 0,
                                SLV_E_USAGE, SLV_E_USAGE, SLV_E_FORMAT, SLV_E_NOENT};
    char key[SLV_MESH_KEY_TEXT], again[SLV_MESH_KEY_TEXT];
    struct slv_mesh *m = NULL;
    assert_int_equal(scratch_make(state), 0);
    assert_int_equal(slv_mesh_key(scratch("c.key"), key, &err), 0);
    assert_int_equal(slv_mesh_key(scratch("c.key"), again, &err), 0);
    assert_string_equal(key, again);
    for (int i = 0; i < 9; i++)
        o[i] = options(scratch("c"), scratch("c.key"));
    o[0].folder = NULL;
    o[1].space.n = 0;
    o[2].space = (struct slv_mesh_list){bad_space, 1};
    o[3].peer = (struct slv_mesh_list){bad_peer, 1};
    o[4].listen = (struct slv_mesh_list){bad_listen, 1};
    o[5].voters = 8;
    o[6].authority = "1234";
    o[7].invitation = "hello";
    o[8].key = scratch("none.key");
    for (int i = 0; i < 9; i++) {
        err = (struct slv_err){0};
        const int rc = slv_mesh_open(&o[i], &m, &err);
        assert_true(rc < 0 && (!codes[i] || rc == codes[i]));
        assert_true(err.msg[0] && !strchr(err.msg, '\n') && strstr(err.msg, says[i]));
        assert_null(m);
    }
    const struct slv_mesh_opts good = options(scratch("c"), scratch("c.key"));
    struct slv_mesh *second = NULL;
    assert_int_equal(slv_mesh_open(&good, &m, &err), 0);
    assert_int_equal(slv_mesh_open(&good, &second, &err), SLV_E_BUSY);
    assert_null(second);
    put(m, "tags", "k", "{\"value\":\"x\"}");
    slv_mesh_close(m);
    slv_mesh_close(NULL);
    assert_int_equal(scratch_drop(state), 0);
}

static atomic_int lines;

static void on_log(void *ctx, int level, const char *line) {
    if (ctx == &lines && level >= 0 && level <= 2 && strstr(line, "is alive"))
        atomic_fetch_add(&lines, 1);
}

static void nothing_is_printed(void **state) {
    struct stat st;
    fflush(NULL);
    slv_mesh_log(on_log, &lines);
    const int out = dup(1), errs = dup(2), to = memfd_create("printed", 0);
    assert_true(out >= 0 && errs >= 0 && to >= 0);
    assert_true(dup2(to, 1) >= 0 && dup2(to, 2) >= 0);
    const int rc = open_two(state);
    put(node[0], "parts", "k", "{\"value\":1}");
    until_reads(node[1], "parts", "k", "1");
    close_two(state);
    assert_true(dup2(out, 1) >= 0 && dup2(errs, 2) >= 0);
    assert_int_equal(rc, 0);
    assert_int_equal(fstat(to, &st), 0);
    assert_int_equal(st.st_size, 0);
    close(out);
    close(errs);
    close(to);
    slv_mesh_log(NULL, NULL);
    assert_true(atomic_load(&lines) >= 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_one_writes_another_reads, open_two, close_two),
        cmocka_unit_test_setup_teardown(what_cannot_be_done_says_why, open_two, close_two),
        cmocka_unit_test_setup_teardown(a_key_that_is_too_long_and_a_node_that_is_gone, open_two,
                                        close_two),
        cmocka_unit_test_setup_teardown(a_strong_space_is_agreed_on, open_two, close_two),
        cmocka_unit_test_setup_teardown(a_session_reads_its_own_writes, open_two, close_two),
        cmocka_unit_test_setup_teardown(many_threads_may_ask, open_two, close_two),
        cmocka_unit_test_setup_teardown(changes_are_told, open_two, close_two),
        cmocka_unit_test_setup_teardown(closing_ends_who_watches, open_two, close_two),
        cmocka_unit_test_setup_teardown(what_was_written_is_there_again, open_two, close_two),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(nothing_is_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
