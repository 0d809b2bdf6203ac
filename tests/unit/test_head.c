/* test_head.c: a request is read in one way only, or refused with a status: nobody smuggles one
 * past a proxy in front, and no cut of the bytes into pieces changes what is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/head.h"

#include <stdio.h>
#include <string.h>

#define H "Host: a\r\n"
#define GET "GET / HTTP/1.1\r\n"
#define POST "POST / HTTP/1.1\r\n" H

static char *kept; /* the bytes that the last head points into */

static int drop(void **state) {
    (void)state;
    free(kept);
    kept = NULL;
    return 0;
}

/* As a connection does it: the status, 0 where it is good, -1 where it has no end. */
static int take(const char *p, size_t n, struct slv_head *h, struct slv_err *err) {
    free(kept);
    kept = malloc(n + !n); /* a sanitizer sees what is read behind it */
    assert_non_null(kept);
    memcpy(kept, p, n);
    size_t end = slv_head_find(kept, n);
    int status = slv_head_check(kept, end ? end : n, 0, err);
    if (!status && !end) return -1;
    return status ? status : slv_head_read(kept, end, h, err);
}

static void good(const char *text, struct slv_head *h) {
    struct slv_err err = {0};
    int status = take(text, strlen(text), h, &err);
    if (status) fail_msg("%s: %d %s", text, status, err.msg);
}

static void refused(const char *p, size_t n, int want, const char *why) {
    struct slv_err err = {0};
    struct slv_head h;
    int status = take(p, n, &h, &err);
    if (status != want || !strstr(err.msg, why))
        fail_msg("%.*s: %d %s, and not %d %s", n < 200 ? (int)n : 200, p, status, err.msg, want,
                 why);
}

/* --- names in a path -------------------------------------------------------------------------- */

/* A name that is read in two ways is one that a proxy lets pass and we take for another. */
static void names_are_decoded_one_way(void **state) {
    static const char *const good[][2] = {{"", ""},
                                          {"abc", "abc"},
                                          {"a+b", "a+b"},
                                          {"hf%3Aa%2Fb", "hf:a/b"},
                                          {"%68%66%3a", "hf:"},
                                          {"%2541", "%41"},
                                          {"%C3%A9", "\xc3\xa9"},
                                          {"%0A", "\n"}};
    static const char *const bad[] = {"%",    "a%",   "%4",  "%4g",  "%g4",
                                      "%%41", "%-1",  "%+1", "% 41", "a%00b%",
                                      "%00",  "a%00", "%C3", "%ff",  "%c0%80"};
    char out[16];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct slv_str s = {good[i][0], strlen(good[i][0])};
        assert_true(slv_head_decode(s, out, sizeof out));
        assert_string_equal(out, good[i][1]);
        size_t n = strlen(good[i][1]);
        assert_true(slv_head_decode(s, out, n + 1));
        assert_false(slv_head_decode(s, out, n));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *copy = strdup(bad[i]); /* a sanitizer sees what is read behind it */
        struct slv_str s = {copy, strlen(copy)};
        if (slv_head_decode(s, out, sizeof out)) fail_msg("%s: %s", bad[i], out);
        free(copy);
    }
    assert_false(slv_head_decode((struct slv_str){"a\0b", 3}, out, sizeof out));
    assert_null(slv_method_name(SLV_METHOD_OTHER));
    assert_string_equal(slv_method_name(SLV_METHOD_DELETE), "DELETE");
}

/* --- what is refused -------------------------------------------------------------------------- */

struct bad {
    int status;
    const char *why, *text;
};

static const struct bad bad_lines[] = {
    {400, "line feed", "GET / HTTP/1.1\nHost: a\r\n\r\n"},
    {400, "line feed", GET "Host: a\n\r\n"},
    {400, "line feed", GET "Host: a\r\n\n"},
    {400, "line feed", GET H "X: 1\nContent-Length: 5\r\n\r\n"},
    {400, "line feed", "\nGET / HTTP/1.1\r\n" H "\r\n"},
    {400, "carriage return", "GET / HTTP/1.1\rHost: a\r\n\r\n"},
    {400, "carriage return", GET "Host: a\r\r\n\r\n"},
    {400, "carriage return", GET "X: a\rContent-Length: 5\r\n" H "\r\n"},
    {400, "folded", GET H "X: 1\r\n 2\r\n\r\n"},
    {400, "folded", GET " X: 1\r\n" H "\r\n"},
    {400, "folded", GET H "Transfer-Encoding:\r\n\tchunked\r\n\r\n"},
    {400, "name", GET H "X : 1\r\n\r\n"},
    {400, "name", GET H "Content-Length : 5\r\n\r\n"},
    {400, "name", GET H "Transfer-Encoding\t: chunked\r\n\r\n"},
    {400, "name", GET H ": 1\r\n\r\n"},
    {400, "name", GET H "nothing\r\n\r\n"},
    {400, "name", GET H "X(): 1\r\n\r\n"},
    {400, "name", GET H "Content\x80Length: 1\r\n\r\n"},
    {400, "control",
     GET H "X: a\x01"
           "b\r\n\r\n"},
    {400, "control", GET H "X: a\x7f\r\n\r\n"},
    {400, "control",
     GET H "Transfer-Encoding: \x0b"
           "chunked\r\n\r\n"},
};

static const struct bad bad_requests[] = {
    {400, "first line", "\r\n\r\n"},
    {400, "first line", "\r\n" GET H "\r\n"},
    {400, "first line", "GET\r\n" H "\r\n"},
    {400, "first line", "GET /\r\n" H "\r\n"},
    {400, "first line", "GET / HTTP/1.1 \r\n" H "\r\n"},
    {400, "first line", "GET  / HTTP/1.1\r\n" H "\r\n"},
    {400, "first line", "GET /a b HTTP/1.1\r\n" H "\r\n"},
    {400, "first line", "GET / http/1.1\r\n" H "\r\n"},
    {400, "first line", "GET\t/\tHTTP/1.1\r\n" H "\r\n"},
    {400, "no method", " / HTTP/1.1\r\n" H "\r\n"},
    {400, "method", "G(T / HTTP/1.1\r\n" H "\r\n"},
    {505, "HTTP/1.1", "GET / HTTP/2.0\r\n" H "\r\n"},
    {505, "HTTP/1.1", "GET / HTTP/1.2\r\n" H "\r\n"},
    {505, "HTTP/1.1", "GET / HTTP/1.10\r\n" H "\r\n"},
    {505, "HTTP/1.1", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
    {400, "begin", "GET * HTTP/1.1\r\n" H "\r\n"},
    {400, "begin", "OPTIONS ** HTTP/1.1\r\n" H "\r\n"},
    {400, "begin", "GET a HTTP/1.1\r\n" H "\r\n"},
    {400, "begin", "CONNECT a:443 HTTP/1.1\r\n" H "\r\n"},
    {400, "begin", "GET ftp://a/ HTTP/1.1\r\n" H "\r\n"},
    {400, "host", "GET http:///x HTTP/1.1\r\n" H "\r\n"},
    {400, "host", "GET http://?x HTTP/1.1\r\n" H "\r\n"},
    {400, "host", "GET http://u@a/x HTTP/1.1\r\n" H "\r\n"},
    {400, "encoded", "GET /\x80 HTTP/1.1\r\n" H "\r\n"},
    {400, "encoded", "GET /\x7f HTTP/1.1\r\n" H "\r\n"},
    {400, "encoded", "GET /\t HTTP/1.1\r\n" H "\r\n"},
};

static const struct bad bad_framing[] = {
    {400, "Host", GET "\r\n"},
    {400, "Host", GET H H "\r\n"},
    {400, "Host", GET H "X: 1\r\nhOST: b\r\n\r\n"},
    {400, "Host", "GET / HTTP/1.0\r\n" H H "\r\n"},
    {400, "Host", "GET http://b/ HTTP/1.1\r\n\r\n"},
    {400, "Host", GET "Host: a b\r\n\r\n"},
    {400, "Host", GET "Host: a,b\r\n\r\n"},
    {400, "Host", GET "Host: a/b\r\n\r\n"},
    {400, "Host", GET "Host: u@a\r\n\r\n"},
    {400, "more than one", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"},
    {400, "more than one", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"},
    {400, "not a number", POST "Content-Length: 5, 5\r\n\r\n"},
    {400, "not a number", POST "Content-Length: +5\r\n\r\n"},
    {400, "not a number", POST "Content-Length: -1\r\n\r\n"},
    {400, "not a number", POST "Content-Length: 0x10\r\n\r\n"},
    {400, "not a number", POST "Content-Length: 5 5\r\n\r\n"},
    {400, "not a number", POST "Content-Length: 5.0\r\n\r\n"},
    {400, "not a number", POST "Content-Length: 99999999999999999999x\r\n\r\n"},
    {400, "nothing", POST "Content-Length:\r\n\r\n"},
    {400, "nothing", POST "Content-Length: \t \r\n\r\n"},
    {413, "too large", POST "Content-Length: 9223372036854775808\r\n\r\n"},
    {413, "too large", POST "Content-Length: 18446744073709551616\r\n\r\n"},
    {413, "too large", POST "Content-Length: 18446744073709551621\r\n\r\n"},
    {400, "where the body ends", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {400, "where the body ends", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"},
    {400, "where the body ends", POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"},
    {400, "where the body ends",
     POST "Transfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n"},
    {400, "where the body ends", "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"},
    {501, "chunked", POST "Transfer-Encoding: chunked, chunked\r\n\r\n"},
    {501, "chunked", POST "Transfer-Encoding: gzip\r\n\r\n"},
    {501, "chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n"},
    {501, "chunked", POST "Transfer-Encoding: chunked, identity\r\n\r\n"},
    {501, "chunked", POST "Transfer-Encoding: xchunked\r\n\r\n"},
    {501, "chunked", POST "Transfer-Encoding: chunked;q=1\r\n\r\n"},
    {501, "chunked", POST "Transfer-Encoding:\r\n\r\n"},
    {501, "chunked", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n"},
    {417, "Expect", POST "Expect: 200-ok\r\n\r\n"},
};

static void run_table(const struct bad *row, size_t n) {
    for (size_t i = 0; i < n; i++)
        refused(row[i].text, strlen(row[i].text), row[i].status, row[i].why);
}
#define RUN(t) run_table(t, sizeof(t) / sizeof *(t))

static void lines_end_one_way(void **state) {
    static const char nul[] = GET "Host: a\0b\r\n\r\n", nul_name[] = GET H "X\0: 1\r\n\r\n";
    (void)state;
    RUN(bad_lines);
    refused(nul, sizeof nul - 1, 400, "NUL");
    refused(nul_name, sizeof nul_name - 1, 400, "NUL");
}

static void first_lines_are_whole(void **state) {
    (void)state;
    RUN(bad_requests);
}

static void bodies_end_in_one_place(void **state) {
    (void)state;
    RUN(bad_framing);
}

/* --- what is taken ---------------------------------------------------------------------------- */

static void is(struct slv_str s, const char *want) {
    if (!slv_str_is(s, want)) fail_msg("\"%.*s\" and not \"%s\"", (int)s.n, s.p, want);
}

static void heads_are_read(void **state) {
    struct slv_head h;
    (void)state;
    good("POST /v1/models?a=b?c HTTP/1.1\r\nhost:edge:80\r\nX-A: \t one two \t\r\n"
         "CONTENT-length: 17\r\nX-A: second\r\nEmpty:\r\n\r\nbody",
         &h);
    assert_int_equal(h.method, SLV_METHOD_POST);
    is(h.path, "/v1/models");
    is(h.query, "a=b?c");
    is(h.host, "edge:80");
    assert_int_equal(h.n_fields, 5);
    is(slv_head_field(&h, "x-a"), "one two");
    is(slv_head_field(&h, "empty"), "");
    assert_non_null(slv_head_field(&h, "empty").p);
    assert_null(slv_head_field(&h, "x").p);
    assert_int_equal(h.content_size, 17);
    assert_true(h.minor == 1 && h.keep_alive && !h.chunked && !h.expects_continue);

    good(POST "TRANSFER-Encoding: Chunked\r\nexpect: 100-Continue\r\nConnection: x, Close\r\n\r\n",
         &h);
    assert_true(h.chunked && h.expects_continue && !h.keep_alive);
    good(GET H "Connection: closed, keep-alive\r\n\r\n", &h);
    assert_true(h.keep_alive && h.content_size == 0);
    good("GET / HTTP/1.0\r\n\r\n", &h);
    assert_true(!h.minor && !h.keep_alive && !h.host.n);
    good("GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n", &h);
    assert_true(h.keep_alive && !h.expects_continue);
    good(POST "Content-Length: 000\r\n\r\n", &h);
    assert_int_equal(h.content_size, 0);
    good("BREW / HTTP/1.1\r\n" H "\r\n", &h);
    assert_int_equal(h.method, SLV_METHOD_OTHER);
    is(h.method_text, "BREW");
    good("get / HTTP/1.1\r\n" H "\r\n", &h);
    assert_int_equal(h.method, SLV_METHOD_OTHER);
}

static void the_target_says_whose_it_is(void **state) {
    struct slv_head h;
    (void)state;
    good("GET http://evil.example/x?y HTTP/1.1\r\n" H "\r\n", &h);
    is(h.host, "evil.example"); /* its word counts, and no Host can hide it */
    is(h.path, "/x");
    is(h.query, "y");
    good("GET https://[::1]:8080/ HTTP/1.1\r\nHost:\r\n\r\n", &h);
    is(h.host, "[::1]:8080");
    good("GET HTTP://a HTTP/1.1\r\n" H "\r\n", &h);
    is(h.path, "/");
    good("GET http://a?q HTTP/1.1\r\n" H "\r\n", &h);
    is(h.path, "/");
    is(h.query, "q");
    good("OPTIONS * HTTP/1.1\r\n" H "\r\n", &h);
    is(h.path, "*");
    good("GET //x/../y HTTP/1.1\r\n" H "\r\n", &h);
    is(h.path, "//x/../y");
}

static void limits_are_where_they_are_said_to_be(void **state) {
    static char text[SLV_HEAD_MAX + 100];
    struct slv_head h;
    (void)state;
    for (size_t more = 0; more < 2; more++) { /* the target */
        size_t n = SLV_HEAD_TARGET_MAX - 1 + more;
        memset(text, 'a', sizeof text);
        memcpy(text, "GET /", 5);
        snprintf(text + 4 + 1 + n, sizeof text - n - 5, " HTTP/1.1\r\n" H "\r\n");
        if (more) refused(text, strlen(text), 414, "4096");
        else good(text, &h);
    }
    for (size_t more = 0; more < 2; more++) { /* fields */
        int n = snprintf(text, sizeof text, GET H);
        for (size_t i = 1; i < SLV_HEAD_FIELDS_MAX + more; i++)
            n += snprintf(text + n, sizeof text - (size_t)n, "a: b\r\n");
        snprintf(text + n, sizeof text - (size_t)n, "\r\n");
        if (more) refused(text, strlen(text), 431, "64 fields");
        else good(text, &h);
    }
    for (size_t more = 0; more < 2; more++) { /* the whole */
        memset(text, 'a', sizeof text);
        int n = snprintf(text, sizeof text, GET H "X: ");
        text[n] = 'a';
        memcpy(text + SLV_HEAD_MAX + more - 4, "\r\n\r\n", 5);
        if (more) refused(text, strlen(text), 431, "16384");
        else good(text, &h);
    }
    memset(text, 'a', sizeof text); /* and one that never ends */
    refused(text, SLV_HEAD_MAX + 1, 431, "16384");
}

/* What is bad is told as soon as it is there: byte by byte, as by a slow client. */
static void bytes_are_looked_at_as_they_come(void **state) {
    static const char *const texts[] = {GET "Host: a\n", "GET / HTTP/1.1\rX", GET H "X: a\r\r"};
    struct slv_err err = {0};
    (void)state;
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        size_t n = strlen(texts[k]);
        for (size_t i = 1; i <= n; i++) {
            int status = slv_head_check(texts[k], i, i > 1 ? i - 2 : 0, &err);
            assert_int_equal(status, i == n ? 400 : 0);
        }
    }
    assert_int_equal(slv_head_find(NULL, 0), 0);
    assert_int_equal(slv_head_check(NULL, 0, 0, &err), 0);
    assert_int_equal(slv_head_find("a\r\n\r\nb\r\n\r\n", 10), 5);
}

/* --- bodies ----------------------------------------------------------------------------------- */

struct body_case {
    int status;        /* 0: it is whole; -1: more is wanted */
    const char *bytes; /* as they are sent */
    const char *body;
    size_t left;   /* bytes behind it that are not its own */
    uint64_t size; /* without chunks */
};

#define MAX_BODY 32

static const struct body_case bodies[] = {
    {0, "5\r\nhello\r\n0\r\n\r\n", "hello", 0, 0},
    {0, "5\r\nhello\r\n0\r\n\r\nGET /", "hello", 5, 0},
    {0, "0\r\n\r\n0\r\n\r\n", "", 5, 0},
    {0, "000\r\n\r\n", "", 0, 0},
    {0, "1\r\na\r\n00000002\r\n\r\n\r\n0A\r\n0123456789\r\na\r\nabcdefghij\r\n0\r\n\r\n",
     "a\r\n0123456789abcdefghij", 0, 0},
    {-1, "5\r\nhel", "hel", 0, 0},
    {-1, "5\r\nhello\r\n0\r\n\r", "hello", 0, 0},
    {400, "5\r\nhello0\r\n\r\n", "hello", 0, 0},
    {400, "5\r\nhelloX\r\n0\r\n\r\n", "hello", 0, 0},
    {400, "5\r\nhello\n0\r\n\r\n", "hello", 0, 0},
    {400, "5\nhello\r\n0\r\n\r\n", "", 0, 0},
    {400, "5\rhello\r\n0\r\n\r\n", "", 0, 0},
    {400, "+5\r\nhello\r\n0\r\n\r\n", "", 0, 0},
    {400, "-5\r\nhello\r\n0\r\n\r\n", "", 0, 0},
    {400, " 5\r\nhello\r\n0\r\n\r\n", "", 0, 0},
    {400, "5 \r\nhello\r\n0\r\n\r\n", "", 0, 0},
    {400, "0x5\r\nhello\r\n0\r\n\r\n", "", 0, 0},
    {400, "5;a=b\r\nhello\r\n0\r\n\r\n", "", 0, 0},
    {400, "5;\r\nhello\r\n0\r\n\r\n", "", 0, 0},
    {400, "g\r\n", "", 0, 0},
    {400, "\r\n0\r\n\r\n", "", 0, 0},
    {400, "5\r\nhello\r\n\r\n", "hello", 0, 0},
    {400, "0\r\nX: trailer\r\n\r\n", "", 0, 0},
    {400, "0\r\n\n", "", 0, 0},
    {413, "100000005\r\nhello\r\n0\r\n\r\n", "", 0, 0},
    {413, "000000005\r\nhello\r\n0\r\n\r\n", "", 0, 0},
    {413, "fffffffffffffffff\r\n", "", 0, 0},
    {-1, "ffffffff\r\nhello", "hello", 0, 0},
    {413, "20\r\n01234567890123456789012345678901\r\n1\r\na\r\n0\r\n\r\n",
     "01234567890123456789012345678901", 0, 0},
    {0, "helloGET /", "hello", 5, 5},
    {-1, "hell", "hell", 0, 5},
};

/* The bytes come in pieces that end at a and b. */
static int feed(const struct body_case *k, size_t n, size_t a, size_t b, struct slv_buf *out,
                size_t *ret_taken) {
    struct slv_head h = {.chunked = !k->size, .content_size = k->size};
    const size_t cut[] = {0, a, b, n};
    struct slv_err err = {0};
    struct slv_body body;
    int status = 0;
    slv_body_init(&body, &h);
    *ret_taken = 0;
    for (size_t i = 0; i < 3 && !status && !body.ended; i++) {
        size_t len = cut[i + 1] - cut[i], taken = 0;
        char *piece = malloc(len + !len);
        assert_non_null(piece);
        memcpy(piece, k->bytes + cut[i], len);
        status = slv_body_feed(&body, piece, len, out, &taken, &err);
        free(piece);
        *ret_taken += taken;
        assert_true(taken <= len);
        if (!status && !body.ended) assert_int_equal(taken, len);
        assert_int_equal(status != 0, err.msg[0] != 0);
    }
    return status ? status : body.ended ? 0 : -1;
}

static void no_cut_changes_a_body(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        const struct body_case *k = &bodies[i];
        const size_t n = strlen(k->bytes);
        for (size_t a = 0; a <= n; a++)
            for (size_t b = a; b <= n; b++) {
                struct slv_buf out;
                size_t taken;
                slv_buf_init(&out, MAX_BODY);
                int status = feed(k, n, a, b, &out, &taken);
                bool same =
                    out.len >= strlen(k->body) && !memcmp(out.data, k->body, strlen(k->body));
                /* (of what is refused for its length, less may have been kept) */
                if (status != k->status ||
                    (k->status != 413 && (!same || out.len != strlen(k->body))))
                    fail_msg("%s at %zu, %zu: %d, \"%s\"", k->bytes, a, b, status, out.data);
                if (!status) assert_int_equal(n - taken, k->left);
                slv_buf_fini(&out);
            }
    }
}

static void nothing_is_read_of_no_body(void **state) {
    struct slv_head h = {0};
    struct slv_body b;
    struct slv_buf out;
    struct slv_err err = {0};
    size_t taken = 1;
    (void)state;
    slv_buf_init(&out, MAX_BODY);
    slv_body_init(&b, &h);
    assert_true(b.ended);
    assert_int_equal(slv_body_feed(&b, "GET /", 5, &out, &taken, &err), 0);
    assert_int_equal(taken, 0);
    slv_buf_fini(&out);
}

static void memory_that_runs_out_is_told_of(void **state) {
    struct slv_head h = {.content_size = 5};
    struct slv_body b;
    struct slv_buf out;
    struct slv_err err = {0};
    size_t taken;
    (void)state;
    slv_buf_init(&out, MAX_BODY);
    slv_body_init(&b, &h);
    slv_mem_fail_at(1);
    assert_int_equal(slv_body_feed(&b, "hello", 5, &out, &taken, &err), 500);
    slv_mem_fail_at(0);
    assert_string_equal(err.msg, "out of memory");
    slv_buf_fini(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(lines_end_one_way, drop),
        cmocka_unit_test_teardown(first_lines_are_whole, drop),
        cmocka_unit_test_teardown(bodies_end_in_one_place, drop),
        cmocka_unit_test_teardown(heads_are_read, drop),
        cmocka_unit_test_teardown(the_target_says_whose_it_is, drop),
        cmocka_unit_test_teardown(limits_are_where_they_are_said_to_be, drop),
        cmocka_unit_test(names_are_decoded_one_way),
        cmocka_unit_test(bytes_are_looked_at_as_they_come),
        cmocka_unit_test(no_cut_changes_a_body),
        cmocka_unit_test(nothing_is_read_of_no_body),
        cmocka_unit_test(memory_that_runs_out_is_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
