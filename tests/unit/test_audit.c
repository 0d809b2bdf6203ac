/* test_audit.c: whatever was done to an audit log after it was written, the check says so and
 * where; whatever a killed process leaves, the log goes on and says that too; and no prompt is in
 * it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "scratch.h"
#include "trust/audit.h"
#include "trust/audit_check.h"
#include "trust/audit_tail.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* In the place of the C library's: a disk that fails. */
static bool sync_fails;
int fdatasync(int fd) {
    if (!sync_fails) return fsync(fd);
    errno = EIO;
    return -1;
}

static struct slv_err err;
static struct slv_key *key;
static struct slv_audit *audit;
static char path[200], key_path[200];

static int set_up(void **state) {
    if (scratch_make(state)) return -1;
    strcpy(path, scratch("audit.log"));
    strcpy(key_path, scratch("device.key"));
    return slv_key_new(&key, &err) ? -1 : slv_key_save(key, key_path, false, &err);
}

static int tear_down(void **state) {
    slv_key_close(key);
    return scratch_drop(state);
}

static void open_log(uint32_t sign_every, uint64_t segment) {
    struct slv_audit_opts o = {.sync = SLV_AUDIT_SYNC_NEVER,
                               .sign_every = sign_every,
                               .sign_s = 1000,
                               .segment_bytes = segment};
    assert_int_equal(slv_audit_open(path, key, &o, &audit, &err), 0);
}

static void append(unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        char prompt[40];
        snprintf(prompt, sizeof prompt, "my secret is %u", i);
        struct slv_audit_record r = {.id = "r",
                                     .who = "key-7",
                                     .model = "smollm2:135m-instruct",
                                     .prompt_tokens = i,
                                     .output_tokens = 2 * i,
                                     .ms = 5,
                                     .finish = "stop",
                                     .status = 200,
                                     .prompt = prompt,
                                     .prompt_n = strlen(prompt),
                                     .answer = "an answer",
                                     .answer_n = 9};
        assert_int_equal(slv_audit_append(audit, &r, NULL, &err), 0);
    }
}

/* A log of n requests, closed. */
static void write_log(unsigned n, uint32_t sign_every, uint64_t segment) {
    open_log(sign_every, segment);
    append(n);
    assert_int_equal(slv_audit_close(audit, &err), 0);
}

static struct slv_audit_check found;

static int check_with(const struct slv_pubs *trusted, const char *checkpoint, uint64_t from) {
    struct slv_audit_check c;
    slv_audit_check_init(&c, trusted);
    int rc = checkpoint ? slv_audit_check_add(&c, checkpoint, strlen(checkpoint), "c", &err) : 0;
    if (!rc) rc = slv_audit_check_files(&c, path, from, &err);
    found = c;
    slv_audit_check_fini(&c);
    return rc;
}

static int check(void) { return check_with(slv_key_pubs(key), NULL, 0); }

static void refused_at(uint64_t record, const char *why) {
    assert_int_equal(check(), SLV_E_TRUST);
    assert_int_equal(found.bad, record);
    if (!strstr(err.msg, why)) fail_msg("%s: not: %s", err.msg, why);
}

static char *checkpoint(void) {
    struct slv_buf b;
    slv_buf_init(&b, 1 << 16);
    assert_int_equal(slv_audit_checkpoint(path, 0, key, &b, &err), 0);
    char *s = strdup(b.data);
    slv_buf_fini(&b);
    assert_non_null(s);
    return s;
}

/* The log's lines, each with its line feed. */
struct lines {
    char *text;
    char *at[200];
    size_t n;
};

static struct lines read_lines(void) {
    struct lines l = {.text = scratch_read(path, NULL)};
    for (char *p = l.text; *p; p = strchr(p, '\n') + 1)
        l.at[l.n++] = p;
    l.at[l.n] = l.text + strlen(l.text);
    return l;
}

/* Writes these of them, in this order; ends with -1. */
static void put_lines(const struct lines *l, const int *order) {
    struct slv_buf b;
    slv_buf_init(&b, 1 << 24);
    for (; *order >= 0; order++)
        slv_buf_add(&b, l->at[*order], (size_t)(l->at[*order + 1] - l->at[*order]));
    scratch_write(path, b.data, b.len);
    slv_buf_fini(&b);
}

/* --- lines ------------------------------------------------------------------------------------ */

static bool reads(const char *s) {
    struct slv_audit_line l;
    return slv_audit_line_read(s, strlen(s), &l);
}

static void a_record_has_one_form(void **state) {
    (void)state;
    struct slv_audit_line l = {.type = SLV_AUDIT_REQUEST, .seq = UINT64_MAX, .status = 200}, back;
    struct slv_buf b;
    char hex[65], *s;
    memset(hex, 'a', 64);
    hex[64] = '\0';
    strcpy(l.prompt_hash, hex);
    strcpy(l.answer_hash, hex);
    strcpy(l.prev, hex);
    slv_audit_line_time(l.time, UINT64_C(1764332604512345678));
    assert_string_equal(l.time, "2025-11-28T12:23:24.512Z");
    slv_audit_line_text(l.id, "a\"\\\b\f\n\r\t\x01\x7f\xc3\xa4\xff\xe2\x82");
    slv_audit_line_text(l.who, NULL);
    memset(l.model, 'x', 300);
    slv_buf_init(&b, SLV_AUDIT_LINE_MAX);
    assert_int_equal(slv_audit_line_write(&l, &b), 0);
    assert_true(slv_audit_line_read(b.data, b.len, &back));
    assert_memory_equal(&l, &back, sizeof l);
    assert_string_equal(back.id, "a\"\\\b\f\n\r\t\x01\x7f\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd");
    for (size_t i = 0; i < b.len; i++) {
        assert_false(slv_audit_line_read(b.data, i, &back));
        char c = b.data[i];
        b.data[i] = ' ';
        bool text =
            c == 'x' || c == 'a' || c == '\\'; /* within a text another character is another text */
        assert_true(!slv_audit_line_read(b.data, b.len, &back) || text);
        b.data[i] = c;
    }
    s = strdup(b.data);
    assert_true(s && reads(s));
    s[strlen(s) - 1] = '\0';
    assert_false(reads(s));
    free(s);
    slv_buf_fini(&b);
    static const char *const bad[] = {
        "",
        "{}",
        "{\"seq\":0}",
        "[]",
        "{\"seq\":0,\"time\":\"2025-11-28T12:23:24.512Z\",\"type\":\"x\"}",
        "{\"seq\":00,\"time\":\"2025-11-28T12:23:24.512Z\",\"type\":\"key\"}",
        "{\"seq\":18446744073709551616,\"time\":\"2025-11-28T12:23:24.512Z\",\"type\":\"sign\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(reads(bad[i]));
}

static void texts_are_cut_and_repaired(void **state) {
    (void)state;
    char big[1000], *p = big;
    slv_audit_text t;
    memset(big, 0xff, sizeof big - 1);
    big[sizeof big - 1] = '\0';
    slv_audit_line_text(t, p);
    assert_int_equal(strlen(t), 600);
}

/* --- what goes right -------------------------------------------------------------------------- */

static void a_log_is_what_was_written(void **state) {
    (void)state;
    write_log(20, 8, 0);
    assert_int_equal(check(), 0);
    assert_int_equal(found.requests, 20);
    assert_int_equal(found.signatures, 4); /* open, two of eight, close */
    assert_int_equal(found.records, 25);
    assert_true(found.closed && !found.not_signed && !found.tail && !found.torn);
    char *text = scratch_read(path, NULL);
    assert_null(strstr(text, "secret"));
    assert_null(strstr(text, "an answer"));
    free(text);
}

static void prompts_can_be_found_again_with_the_key_only(void **state) {
    (void)state;
    char hash[65], other[65];
    write_log(1, 8, 0);
    struct lines l = read_lines();
    assert_int_equal(slv_audit_hash(path, false, "my secret is 0", 14, hash, &err), 0);
    assert_non_null(strstr(l.at[2], hash));
    assert_int_equal(slv_audit_hash(path, true, "my secret is 0", 14, other, &err), 0);
    assert_string_not_equal(hash, other);
    assert_int_equal(slv_audit_hash(path, true, "an answer", 9, other, &err), 0);
    assert_non_null(strstr(l.at[2], other));
    free(l.text);
    assert_int_equal(unlink(scratch("audit.log.hashkey")), 0);
    write_log(1, 8, 0); /* a new one is made, and the log says so */
    assert_int_equal(slv_audit_hash(path, false, "my secret is 0", 14, other, &err), 0);
    assert_string_not_equal(hash, other);
    assert_int_equal(check(), 0);
}

static void a_log_goes_on_where_it_ended(void **state) {
    (void)state;
    for (unsigned i = 1; i < 4; i++) {
        write_log(5, 8, 0);
        assert_int_equal(check(), 0);
        assert_int_equal(found.requests, 5 * i);
    }
    open_log(8, 0);
    append(3);
    assert_int_equal(check(), 0); /* while it is being written */
    assert_int_equal(found.not_signed, 3);
    assert_false(found.closed);
    struct slv_audit *second = NULL;
    assert_int_equal(slv_audit_open(path, key, NULL, &second, &err), SLV_E_BUSY);
    assert_int_equal(slv_audit_sign(audit, &err), 0);
    assert_int_equal(check(), 0);
    assert_int_equal(found.not_signed, 0);
    assert_int_equal(slv_audit_close(audit, &err), 0);
    assert_int_equal(slv_audit_close(NULL, &err), 0);
}

static void segments_are_one_log(void **state) {
    (void)state;
    write_log(40, 8, 3000);
    write_log(40, 8, 3000);
    assert_int_equal(check(), 0);
    assert_int_equal(found.requests, 80);
    assert_true(found.segment > 5);
    assert_int_equal(check_with(slv_key_pubs(key), NULL, 3), 0);
    assert_true(found.requests < 80 && found.first_segment == 3);
    char *c = checkpoint();
    assert_int_equal(check_with(slv_key_pubs(key), c, 3), 0);
    free(c);
    char middle[220];
    snprintf(middle, sizeof middle, "%s.000002", path);
    char *text = scratch_read(middle, NULL);
    assert_int_equal(unlink(middle), 0);
    assert_int_equal(check(), SLV_E_TRUST);
    assert_int_equal(check_with(slv_key_pubs(key), NULL, 3), 0);
    assert_int_equal(check_with(slv_key_pubs(key), NULL, 2), SLV_E_TRUST);
    scratch_write(middle, text, strlen(text) / 2);
    assert_int_equal(check(), SLV_E_TRUST);
    scratch_write(middle, text, strlen(text));
    assert_int_equal(check(), 0);
    free(text);
}

/* Lines as they came: a number each, and whether they went up by one. */
struct tail {
    uint64_t first, n;
    bool in_order;
};

static int on_line(void *ctx, const char *s, size_t n, struct slv_err *e) {
    struct tail *t = ctx;
    struct slv_audit_line l;
    (void)e;
    if (!slv_audit_line_read(s, n, &l)) return SLV_E_FORMAT;
    if (!t->n) t->first = l.seq;
    else if (l.seq != t->first + t->n) t->in_order = false;
    t->n++;
    return 0;
}

static struct tail tail(uint64_t n, int want) {
    struct tail t = {.in_order = true};
    assert_int_equal(slv_audit_tail(path, n, on_line, &t, &err), want);
    return t;
}

static void the_end_of_a_log_goes_back_over_segments(void **state) {
    (void)state;
    char old[220];
    write_log(40, 8, 3000);
    assert_int_equal(check(), 0);
    const uint64_t all = found.records;
    for (uint64_t n = 1; n <= all + 3; n++) {
        const uint64_t want = n < all ? n : all;
        struct tail t = tail(n, 0);
        assert_true(t.in_order && t.n == want && t.first == all - want);
    }
    size_t size;
    char *text = scratch_read(path, &size);
    char *torn = malloc(size + 20);
    assert_non_null(torn);
    memcpy(torn, text, size);
    memcpy(torn + size, "{\"seq\":9,\"ti", 13);
    scratch_write(path, torn, size + 13); /* a record that is being written is none yet */
    assert_true(tail(5, 0).in_order);
    assert_int_equal(tail(5, 0).n, 5);
    scratch_write(path, text, size);
    snprintf(old, sizeof old, "%s.000001", path);
    assert_int_equal(unlink(old), 0); /* put away */
    struct tail t = tail(UINT64_MAX, 0);
    assert_true(t.in_order && t.n < all && t.first + t.n == all);
    scratch_write(path, "hello\n", 6);
    tail(5, SLV_E_FORMAT);
    unlink(path);
    tail(5, SLV_E_NOENT);
    scratch_write(path, text, size);
    for (uint64_t n = 1, done = 0; !done; n++) {
        struct tail got = {.in_order = true};
        const uint64_t before = slv_mem_count();
        slv_mem_fail_at(n);
        int rc = slv_audit_tail(path, 30, on_line, &got, &err);
        slv_mem_fail_at(0);
        done = slv_mem_count() - before < n;
        assert_true(rc == 0 || rc == SLV_E_NOMEM || rc == SLV_E_FORMAT);
    }
    free(torn);
    free(text);
}

static uint64_t fake_ns;
static uint64_t fake_clock(void *ctx) {
    (void)ctx;
    return __atomic_load_n(&fake_ns, __ATOMIC_SEQ_CST);
}

static void signatures_come_in_time(void **state) {
    (void)state;
    struct slv_clock clock = {fake_clock, fake_clock, NULL};
    struct slv_audit_opts o = {.sync = SLV_AUDIT_SYNC_INTERVAL,
                               .sync_ms = 20,
                               .sign_every = 1000,
                               .sign_s = 10,
                               .clock = &clock};
    assert_int_equal(slv_audit_open(path, key, &o, &audit, &err), 0);
    append(3);
    assert_int_equal(check(), 0);
    assert_int_equal(found.not_signed, 3);
    __atomic_store_n(&fake_ns, UINT64_C(11000000000), __ATOMIC_SEQ_CST);
    for (int i = 0; i < 500 && !check() && found.not_signed; i++)
        usleep(10000); /* by its thread, without another record */
    assert_int_equal(found.not_signed, 0);
    assert_int_equal(slv_audit_close(audit, &err), 0);
}

static void *append_many(void *arg) {
    (void)arg;
    for (int i = 0; i < 100; i++) {
        struct slv_audit_record r = {.model = "m"};
        if (slv_audit_append(audit, &r, NULL, NULL)) return audit;
    }
    return NULL;
}

static void many_threads_write_one_log(void **state) {
    (void)state;
    pthread_t t[8];
    struct slv_audit_opts o = {.sign_every = 5, .segment_bytes = 20000};
    assert_int_equal(slv_audit_open(path, key, &o, &audit, &err), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&t[i], NULL, append_many, NULL), 0);
    for (int i = 0; i < 8; i++) {
        void *bad = NULL;
        pthread_join(t[i], &bad);
        assert_null(bad);
    }
    assert_int_equal(slv_audit_close(audit, &err), 0);
    assert_int_equal(check(), 0);
    assert_int_equal(found.requests, 800);
    assert_true(found.segment > 5);
}

/* --- what is refused -------------------------------------------------------------------------- */

static void no_byte_can_change(void **state) {
    (void)state;
    size_t n = 0;
    write_log(5, 3, 0);
    char *text = scratch_read(path, &n);
    size_t first = (size_t)(strchr(text, '\n') - text) + 1;
    for (size_t i = 0; i < n; i++) {
        text[i] ^= 1;
        scratch_write(path, text, n);
        int rc = check();
        if (i + 1 == n) assert_true(!rc && found.tail); /* the last line feed: a torn line */
        else if (i < first)
            assert_true(rc == SLV_E_TRUST || rc == SLV_E_FORMAT || rc == SLV_E_UNSUPPORTED);
        else assert_int_equal(rc, SLV_E_TRUST);
        text[i] ^= 1;
    }
    free(text);
}

static void an_edit_is_found_where_it_was_made(void **state) {
    (void)state;
    write_log(10, 4, 0);
    struct lines l = read_lines();
    char *tokens = strstr(l.at[5], "\"prompt_tokens\":");
    tokens[16] = '9';
    static const int all[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, -1};
    put_lines(&l, all);
    refused_at(5, "has been changed");
    free(l.text);
}

static void records_cannot_be_removed_moved_or_repeated(void **state) {
    (void)state;
    write_log(8, 100, 0); /* 0 open, 1 sign, 2 to 9 requests, 10 sign */
    struct lines l = read_lines();
    assert_int_equal(l.n, 11);
    static const int removed[] = {0, 1, 2, 3, 5, 6, 7, 8, 9, 10, -1};
    static const int moved[] = {0, 1, 2, 4, 3, 5, 6, 7, 8, 9, 10, -1};
    static const int twice[] = {0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10, -1};
    static const int again[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 4, -1};
    static const int unsigned_first[] = {0, 2, 3, 4, 5, 6, 7, 8, 9, 10, -1};
    static const int headless[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, -1};
    put_lines(&l, removed);
    refused_at(4, "is missing: record 5 stands in its place");
    put_lines(&l, moved);
    refused_at(4, "stands before record 3: they were put out of order");
    put_lines(&l, twice);
    refused_at(4, "stands here again");
    put_lines(&l, again);
    refused_at(4, "stands here again");
    put_lines(&l, unsigned_first);
    refused_at(1, "is missing");
    put_lines(&l, headless);
    assert_int_equal(check(), SLV_E_FORMAT);
    free(l.text);
}

/* Only what was cut off right after a signature, or after the last one, cannot be seen; and against
 * a checkpoint nothing can be cut. */
static void a_checkpoint_shows_what_was_cut_off(void **state) {
    (void)state;
    write_log(10, 4, 0);
    struct lines l = read_lines();
    char *c = checkpoint();
    assert_int_equal(check_with(slv_key_pubs(key), c, 0), 0);
    for (size_t n = 2; n < l.n; n++) {
        int order[200] = {0};
        for (size_t i = 0; i < n; i++)
            order[i] = (int)i;
        order[n] = -1;
        put_lines(&l, order);
        assert_int_equal(check(), 0);
        assert_false(found.closed);
        assert_int_equal(check_with(slv_key_pubs(key), c, 0), SLV_E_TRUST);
        assert_non_null(strstr(err.msg, "the log is cut off"));
        assert_int_equal(found.bad, n);
    }
    free(l.text);
    write_log(10, 4, 0); /* goes on from where it was cut: another record 13 */
    assert_int_equal(check(), 0);
    assert_int_equal(check_with(slv_key_pubs(key), c, 0), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "is not the record that was there at the checkpoint"));
    free(c);
}

static void a_checkpoint_is_of_one_log_and_one_key(void **state) {
    (void)state;
    struct slv_key *other = NULL;
    struct slv_buf b;
    write_log(3, 4, 0);
    char *c = checkpoint();
    assert_int_equal(slv_key_new(&other, &err), 0);
    slv_buf_init(&b, 1 << 16);
    assert_int_equal(slv_audit_checkpoint(path, 0, other, &b, &err), SLV_E_TRUST);
    for (size_t i = 0; c[i] && c[i + 1]; i++) {
        c[i] ^= 1;
        int rc = check_with(slv_key_pubs(key), c, 0);
        assert_true(rc == SLV_E_FORMAT || rc == SLV_E_TRUST);
        c[i] ^= 1;
    }
    assert_int_equal(check_with(slv_key_pubs(key), "", 0), SLV_E_FORMAT);
    strcpy(path, scratch("second.log"));
    write_log(30, 4, 0);
    assert_int_equal(check_with(slv_key_pubs(key), c, 0), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "is of another log"));
    free(c);
    slv_buf_fini(&b);
    slv_key_close(other);
}

static void another_key_is_found(void **state) {
    (void)state;
    struct slv_key *own = key, *other = NULL;
    assert_int_equal(slv_key_new(&other, &err), 0);
    key = other;
    write_log(6, 4, 0); /* forged from the beginning */
    key = own;
    refused_at(1, "which is not trusted");
    assert_int_equal(slv_audit_open(path, key, NULL, &audit, &err), SLV_E_TRUST);
    /* and with the own key's id put into it */
    char *text = scratch_read(path, NULL);
    for (char *p = text; (p = strstr(p, slv_key_pub(other)->id));)
        memcpy(p, slv_key_pub(own)->id, 32);
    scratch_write(path, text, strlen(text));
    assert_int_equal(check(), SLV_E_TRUST);
    free(text);
    slv_key_close(other);
}

static void a_key_that_follows_is_taken_over(void **state) {
    (void)state;
    struct slv_pubs first = {0}, last = {0};
    assert_int_equal(slv_pubs_add(&first, slv_key_pub(key)), 0);
    write_log(3, 4, 0);
    for (int i = 0; i < 2; i++) {
        slv_key_close(key);
        assert_int_equal(slv_key_rotate(key_path, false, NULL, &err), 0);
        assert_int_equal(slv_key_rotate(key_path, true, &key, &err), 0);
        write_log(3, 4, i ? 2000 : 0);
        assert_int_equal(check(), 0);
        assert_int_equal(check_with(&first, NULL, 0), 0); /* who knows the first one only */
    }
    assert_int_equal(found.requests, 9);
    assert_int_equal(slv_pubs_add(&last, slv_key_pub(key)), 0);
    assert_int_equal(check_with(&last, NULL, 0), SLV_E_TRUST); /* who has never seen the first */
    slv_pubs_fini(&first);
    slv_pubs_fini(&last);
}

static void other_files_are_no_logs(void **state) {
    (void)state;
    assert_int_equal(check(), SLV_E_NOENT);
    scratch_write(path, "", 0);
    assert_int_equal(check(), SLV_E_FORMAT);
    scratch_write(path, "hello\n", 6);
    assert_int_equal(check(), SLV_E_FORMAT);
    assert_int_equal(slv_audit_open(path, key, NULL, &audit, &err), SLV_E_FORMAT);
    scratch_write(path, "hello", 5);
    assert_int_equal(check(), SLV_E_FORMAT);
}

/* --- what goes wrong -------------------------------------------------------------------------- */

static void a_torn_record_is_moved_aside_and_recorded(void **state) {
    (void)state;
    size_t n = 0;
    write_log(3, 100, 0);
    struct lines l = read_lines();
    n = strlen(l.text);
    size_t last = (size_t)(l.at[l.n - 1] - l.text); /* the signature at its end */
    for (size_t cut = last - 5; cut < n; cut += 7) {
        char torn[240];
        snprintf(torn, sizeof torn, "%s.torn-%zu", path, cut < last ? l.n - 2 : l.n - 1);
        scratch_write(path, l.text, cut);
        assert_int_equal(check(), 0);
        assert_int_equal(found.tail, cut == last  ? 0
                                     : cut < last ? cut - (size_t)(l.at[l.n - 2] - l.text)
                                                  : cut - last);
        size_t tail = found.tail, got = 0;
        write_log(1, 100, 0);
        assert_int_equal(check(), 0);
        assert_int_equal(found.torn, tail ? 1 : 0);
        assert_int_equal(found.tail, 0);
        if (!tail) continue;
        char *kept = scratch_read(torn, &got);
        assert_int_equal(got, tail);
        assert_memory_equal(kept, l.text + cut - tail, tail);
        free(kept);
        unlink(torn);
    }
    free(l.text);
}

/* Pages that a power cut has lost are zeros, and lines may follow them. */
static void zeros_of_a_power_cut_are_torn(void **state) {
    (void)state;
    write_log(6, 100, 0);
    struct lines l = read_lines();
    size_t n = strlen(l.text);
    memset(l.at[5] + 10, 0, 50);
    scratch_write(path, l.text, n);
    assert_int_equal(check(), 0);
    assert_int_equal(found.records, 5);
    assert_int_equal(found.tail, n - (size_t)(l.at[5] - l.text));
    write_log(1, 100, 0);
    assert_int_equal(check(), 0);
    assert_int_equal(found.torn, 1);
    free(l.text);
}

static void killed_between_moving_aside_and_recording(void **state) {
    (void)state;
    write_log(3, 100, 0);
    char torn[240];
    snprintf(torn, sizeof torn, "%s.torn-6", path);
    scratch_write(torn, "{\"seq\":6,", 9);
    write_log(1, 100, 0);
    assert_int_equal(check(), 0);
    assert_int_equal(found.torn, 1);
}

static void killed_between_two_segments(void **state) {
    (void)state;
    write_log(40, 8, 3000);
    assert_int_equal(check(), 0);
    uint64_t segment = found.segment;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(check(), 0); /* the others are whole */
    slv_key_close(key);
    assert_int_equal(slv_key_rotate(key_path, true, &key, &err),
                     0); /* even with another key since */
    write_log(3, 8, 3000);
    assert_int_equal(check(), 0);
    assert_int_equal(found.segment, segment);
}

static void a_log_that_was_changed_is_not_gone_on_with(void **state) {
    (void)state;
    write_log(5, 100, 0);
    char *text = scratch_read(path, NULL);
    strstr(text, "\"ms\":5")[5] = '6';
    scratch_write(path, text, strlen(text));
    assert_int_equal(slv_audit_open(path, key, NULL, &audit, &err), SLV_E_TRUST);
    char *after = scratch_read(path, NULL);
    assert_string_equal(text, after);
    free(text);
    free(after);
}

/* A full disk: what is refused is not in the log, and the log goes on when there is room again. */
static void a_full_disk_loses_no_record_that_was_taken(void **state) {
    (void)state;
    struct rlimit old, tight;
    struct slv_audit_record r = {.model = "m"};
    unsigned taken = 0;
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    open_log(8, 0);
    tight = old;
    tight.rlim_cur = 5000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    while (taken < 100 && !slv_audit_append(audit, &r, NULL, &err))
        taken++;
    int again = slv_audit_append(audit, &r, NULL, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(taken > 3 && taken < 100 && again == SLV_E_IO);
    assert_non_null(strstr(err.msg, "File too large"));
    assert_int_equal(check(), 0);
    assert_int_equal(found.requests, taken);
    append(5);
    assert_int_equal(slv_audit_close(audit, &err), 0);
    assert_int_equal(check(), 0);
    assert_int_equal(found.requests, taken + 5);
}

/* What a failed sync has left on the disk is not known: nobody is told that a record is there. */
static void after_a_failed_sync_no_record_is_taken(void **state) {
    (void)state;
    struct slv_audit_record r = {.model = "m"};
    struct slv_audit_opts o = {.sign_every = 8};
    assert_int_equal(slv_audit_open(path, key, &o, &audit, &err), 0);
    append(2);
    sync_fails = true;
    assert_int_equal(slv_audit_append(audit, &r, NULL, &err), SLV_E_IO);
    sync_fails = false;
    assert_int_equal(slv_audit_append(audit, &r, NULL, &err), SLV_E_IO);
    assert_non_null(strstr(err.msg, "no more records are taken"));
    assert_int_equal(slv_audit_sign(audit, &err), SLV_E_IO);
    assert_int_equal(slv_audit_close(audit, &err), SLV_E_IO);
    assert_int_equal(check(), 0);
    assert_true(found.requests >= 2 && !found.closed);
    write_log(1, 8, 0);
    assert_int_equal(check(), 0);
}

/* The same at a segment's end, where the last signature is synced. */
static void after_a_failed_sync_no_segment_is_finished(void **state) {
    (void)state;
    struct slv_audit_record r = {.model = "m"};
    unsigned taken = 0;
    open_log(8, 3000);
    sync_fails = true;
    while (taken < 100 && !slv_audit_append(audit, &r, NULL, &err))
        taken++;
    sync_fails = false;
    assert_true(taken > 3 && taken < 100);
    assert_int_equal(slv_audit_close(audit, &err), SLV_E_IO);
    assert_int_equal(check(), 0);
    assert_int_equal(found.requests, taken);
    assert_int_equal(found.segment, 0);
    write_log(1, 8, 3000);
    assert_int_equal(check(), 0);
}

static void failed_allocations_lose_no_record_that_was_taken(void **state) {
    (void)state;
    size_t begun_n = 0;
    write_log(5, 2, 0);
    char *begun = scratch_read(path, &begun_n);
    for (uint64_t n = 1, done = 0; !done; n++) {
        unsigned taken = 5;
        struct slv_audit_opts o = {.sync = SLV_AUDIT_SYNC_NEVER, .sign_every = 2};
        struct slv_audit_record r = {.model = "m"};
        uint64_t before = slv_mem_count();
        audit = NULL;
        if (n % 2) unlink(path); /* a new log, or one that goes on */
        else scratch_write(path, begun, begun_n);
        if (n % 2) taken = 0;
        slv_mem_fail_at(n / 2 + 1);
        int rc = slv_audit_open(path, key, &o, &audit, &err);
        for (int i = 0; !rc && i < 5; i++)
            if (!(rc = slv_audit_append(audit, &r, NULL, &err))) taken++;
        int end = slv_audit_close(audit, NULL);
        slv_mem_fail_at(0);
        done = slv_mem_count() - before < n / 2 + 1 && n % 2 == 0;
        assert_true(rc == 0 || rc == SLV_E_NOMEM);
        assert_true(end == 0 || end == SLV_E_NOMEM);
        if (!scratch_there(path)) continue;
        assert_int_equal(check(), 0);
        assert_int_equal(found.requests, taken);
    }
    free(begun);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(a_record_has_one_form),
        T(texts_are_cut_and_repaired),
        T(a_log_is_what_was_written),
        T(prompts_can_be_found_again_with_the_key_only),
        T(a_log_goes_on_where_it_ended),
        T(segments_are_one_log),
        T(the_end_of_a_log_goes_back_over_segments),
        T(signatures_come_in_time),
        T(many_threads_write_one_log),
        T(no_byte_can_change),
        T(an_edit_is_found_where_it_was_made),
        T(records_cannot_be_removed_moved_or_repeated),
        T(a_checkpoint_shows_what_was_cut_off),
        T(a_checkpoint_is_of_one_log_and_one_key),
        T(another_key_is_found),
        T(a_key_that_follows_is_taken_over),
        T(other_files_are_no_logs),
        T(a_torn_record_is_moved_aside_and_recorded),
        T(zeros_of_a_power_cut_are_torn),
        T(killed_between_moving_aside_and_recording),
        T(killed_between_two_segments),
        T(a_log_that_was_changed_is_not_gone_on_with),
        T(a_full_disk_loses_no_record_that_was_taken),
        T(after_a_failed_sync_no_record_is_taken),
        T(after_a_failed_sync_no_segment_is_finished),
        T(failed_allocations_lose_no_record_that_was_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
