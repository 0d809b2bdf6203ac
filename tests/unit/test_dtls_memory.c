/* test_dtls_memory.c: what a user would lose: a node that falls over, or a link that says it is
 * open and is not, when memory is out for a moment. OpenSSL's allocations fail, one after the
 * other, in full and in resumed handshakes and in the datagrams after them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "links.h"

#include <openssl/crypto.h>
#include <stdlib.h>

static long allocations, fail_at;

static void *take(size_t n, const char *file, int line) {
    (void)file;
    (void)line;
    return ++allocations == fail_at ? NULL : malloc(n);
}

static void *take_more(void *p, size_t n, const char *file, int line) {
    (void)file;
    (void)line;
    return ++allocations == fail_at ? NULL : realloc(p, n ? n : 1);
}

static void give_back(void *p, const char *file, int line) {
    (void)file;
    (void)line;
    free(p);
}

/* Whether there were as many allocations as that. */
static bool with_one_less(long n, const struct slv_dtls_session *s, int *opened) {
    const struct slv_dtls_address to = {{1, 0, 2}, 3};
    fail_at = n;
    allocations = 0;
    const int rc = slv_dtls_connect(host[0].d, now, &to, s, &host[0].assoc[2]);
    assert_true(!rc || rc == SLV_E_NOMEM);
    links_settle();
    if (links_is_open(0, 2) && !slv_dtls_send(host[0].assoc[2], "hey", 3)) links_run();
    const bool enough = allocations >= fail_at;
    fail_at = 0;
    if (links_is_open(0, 2) && links_is_open(1, 2)) {
        const uint64_t got = host[1].got_n;
        links_send(0, 2, "you");
        links_run();
        assert_int_equal(host[1].got_n, got + 1);
        (*opened)++;
    }
    links_close(0, 2);
    links_close(1, 2);
    links_lose();
    return enough;
}

static void run_over(bool resumed, long step) {
    int opened = 0;
    bool more = true;
    links_begin(2, NULL);
    for (long n = 1; more; n += step) {
        links_connect(0, 1, 1, NULL);
        links_run();
        struct slv_dtls_session *s = resumed ? slv_dtls_session(host[0].assoc[1]) : NULL;
        more = with_one_less(n, s, &opened);
        slv_dtls_session_close(s);
        links_close(0, 1);
        links_run();
        links_close(1, 1);
    }
    assert_true(opened > 0);
    links_end();
}

static void an_allocation_that_fails_in_a_handshake(void **state) {
    (void)state;
    run_over(false, 11);
}

static void an_allocation_that_fails_in_a_resumed_handshake(void **state) {
    (void)state;
    run_over(true, 1);
}

static void an_allocation_that_fails_in_opening_and_renewing(void **state) {
    (void)state;
    links_begin(2, NULL);
    struct slv_dtls *d = NULL;
    int rc = -1;
    for (long n = 1; rc; n += 7) {
        fail_at = n;
        allocations = 0;
        rc = slv_dtls_open(&host[0].conf, now, &d, NULL);
        if (!rc && allocations >= n) { /* OpenSSL did without */
            slv_dtls_close(d);
            rc = -1;
        }
    }
    fail_at = 0;
    slv_dtls_close(d);
    for (long n = 1; n < 400; n += 3) {
        fail_at = n;
        allocations = 0;
        rc = slv_dtls_renew(host[0].d, now, NULL);
        fail_at = 0;
    }
    assert_int_equal(slv_dtls_renew(host[0].d, now, NULL), 0);
    links_connect(0, 1, 1, NULL);
    links_run();
    assert_true(links_is_open(0, 1) && links_is_open(1, 1));
    links_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_allocation_that_fails_in_a_handshake),
        cmocka_unit_test(an_allocation_that_fails_in_a_resumed_handshake),
        cmocka_unit_test(an_allocation_that_fails_in_opening_and_renewing),
    };
    if (CRYPTO_set_mem_functions(take, take_more, give_back) != 1) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
