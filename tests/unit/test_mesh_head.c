/* test_mesh_head.c: what a node says before its answer is understood in one way only or refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "serve/mesh_head.h"

#define OK "HTTP/1.1 200 OK\r\n"
#define NO UINT64_MAX /* no length */

static void test_heads(void **state) {
    static const struct {
        const char *text;
        int status; /* 0: refused */
        uint64_t size;
    } rows[] = {
        {OK "Content-Length: 42\r\n\r\n", 200, 42},
        {OK "content-length:0\r\n\r\n", 200, 0},
        {OK "Content-Type: text/event-stream\r\nConnection: close\r\n\r\n", 200, NO},
        {"HTTP/1.0 404\r\n\r\n", 404, NO},
        {"HTTP/1.1 503 Not now, not here\r\nX: y\r\nContent-Length: 999999999999999\r\n\r\n", 503,
         999999999999999},
        {OK "X-Content-Length: 3\r\n\r\n", 200, NO},
        {OK "Selvage-Token: AQ-_z09\r\nContent-Length: 2\r\n\r\n", 200, 2},
        {"\r\n\r\n", 0, 0},
        {OK "Selvage-Token: \r\n\r\n", 0, 0},
        {OK "Selvage-Token: a b\r\n\r\n", 0, 0},
        {OK "Selvage-Token: a\r\nselvage-token: b\r\n\r\n", 0, 0},
        {"HTTP/1.1 200OK\r\n\r\n", 0, 0},
        {"HTTP/1.1 20 OK\r\n\r\n", 0, 0},
        {"HTTP/1.1 2000\r\n\r\n", 0, 0},
        {"HTTP/1.1 199 Go on\r\n\r\n", 0, 0},
        {"HTTP/1.1 600 ?\r\n\r\n", 0, 0},
        {"HTTP/2 200\r\n\r\n", 0, 0},
        {"http/1.1 200 OK\r\n\r\n", 0, 0},
        {"X: y\r\n" OK "\r\n", 0, 0},
        {OK "Content-Length: \r\n\r\n", 0, 0},
        {OK "Content-Length: +1\r\n\r\n", 0, 0},
        {OK "Content-Length: 1 \r\n\r\n", 0, 0},
        {OK "Content-Length: 1000000000000000\r\n\r\n", 0, 0},
        {OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 0, 0},
        {OK "Transfer-Encoding: chunked\r\n\r\n", 0, 0},
        {OK "a: b\nc: d\r\n\r\n", 0, 0}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct serve_mesh_head h = {0};
        const size_t n = strlen(rows[i].text);
        /* (a copy of just these bytes, so that reading on is noticed, and one with a body) */
        char *exact = malloc(n), *more = malloc(n + 9);
        memcpy(exact, rows[i].text, n);
        memcpy(more, rows[i].text, n);
        memcpy(more + n, "\r\n\r\nbody!", 9);
        for (size_t k = 0; k < n; k++)
            if (rows[i].status) assert_int_equal(serve_mesh_head_read(exact, k, &h), SLV_E_BUSY);
        const int want = rows[i].status ? 0 : SLV_E_FORMAT;
        for (int k = 0; k < 2; k++) {
            const int rc = serve_mesh_head_read(k ? more : exact, k ? n + 9 : n, &h);
            if (rc != want) fail_msg("%s: %d", rows[i].text, rc);
            if (rc) continue;
            assert_int_equal(h.n, n);
            assert_int_equal(h.status, rows[i].status);
            assert_int_equal(h.has_size, rows[i].size != NO);
            if (h.has_size) assert_int_equal(h.size, rows[i].size);
            const char *token = strstr(rows[i].text, "AQ-_z09\r");
            assert_int_equal(h.token.n, token ? 7 : 0);
            if (token) assert_memory_equal(h.token.p, token, 7);
        }
        free(exact);
        free(more);
    }
}

static void test_too_long(void **state) {
    struct serve_mesh_head h;
    char *p = malloc(SERVE_MESH_HEAD_MAX + 1);
    (void)state;
    memset(p, 'a', SERVE_MESH_HEAD_MAX + 1);
    memcpy(p, OK "x: ", strlen(OK) + 3);
    assert_int_equal(serve_mesh_head_read(p, SERVE_MESH_HEAD_MAX, &h), SLV_E_BUSY);
    assert_int_equal(serve_mesh_head_read(p, SERVE_MESH_HEAD_MAX + 1, &h), SLV_E_FORMAT);
    memcpy(p + SERVE_MESH_HEAD_MAX - 4, "\r\n\r\n", 4);
    assert_int_equal(serve_mesh_head_read(p, SERVE_MESH_HEAD_MAX + 1, &h), 0);
    assert_int_equal(h.n, SERVE_MESH_HEAD_MAX);
    memset(p + SERVE_MESH_HEAD_MAX - 4, 'a', 2);
    memcpy(p + SERVE_MESH_HEAD_MAX - 3, "\r\n\r\n", 4);
    assert_int_equal(serve_mesh_head_read(p, SERVE_MESH_HEAD_MAX + 1, &h), SLV_E_FORMAT);
    free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_heads),
                                       cmocka_unit_test(test_too_long)};
    return cmocka_run_group_tests_name("mesh_head", tests, NULL, NULL);
}
