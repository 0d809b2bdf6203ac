/* test_snapshot.c: what a user would lose: a conversation that goes on after a restart as if there
 * had been none, and a file that is damaged, cut, or somebody else's being refused with a line.
 *
 * Sessions that were saved and loaded against plain ones, in the bits of their logits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "witness.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_MAX 300

static char path[64];

static struct slv_prefix_cache *open_cache(struct slv_model *m, enum slv_kv_kind kv) {
    struct slv_prefix_cache *c = NULL;
    struct slv_prefix_cache_opts o = {.kv = kv, .bytes = (uint64_t)8 << 20};
    assert_int_equal(slv_prefix_cache_open(m, &o, &c, NULL), 0);
    return c;
}

static void some_ids(int32_t *ids, size_t n, uint32_t n_vocab) {
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)rnd(n_vocab);
}

static void check(struct slv_session *s, enum slv_kv_kind kv, const int32_t *ids, size_t n) {
    float want[VOCAB_MAX];
    witness_logits(s->m, kv, ids, n, want);
    assert_int_equal(slv_session_position(s), n);
    assert_non_null(slv_session_logits(s));
    assert_memory_equal(slv_session_logits(s), want, s->m->h.n_vocab * sizeof *want);
}

/* A session that holds ids[0..n), in a file. */
static void save(struct slv_model *m, struct slv_prefix_cache *c, enum slv_kv_kind kv,
                 const int32_t *ids, uint32_t n) {
    struct slv_session *s = witness_session(m, c, kv, 512, 1 + rnd(100));
    struct slv_err e = {0};
    assert_int_equal(slv_session_feed(s, ids, n, NULL), 0);
    if (slv_session_save(s, path, &e)) fail_msg("%s", e.msg);
    check(s, kv, ids, n); /* it has lost nothing */
    slv_session_close(s);
}

static const struct {
    const char *name;
    uint32_t window;
} models[] = {{"llama3", 0},       {"gemma3", 0},         {"gemma3", 100},
              {"llama-window", 1}, {"llama-window", 130}, {"gpt2", 0}};
#define MODELS (sizeof models / sizeof models[0])

static struct slv_model *model(size_t i) {
    struct slv_model *m = witness_model(models[i].name);
    if (models[i].window) m->h.window = models[i].window;
    return m;
}

/* Loads it, and goes on with what it holds and with a text of which it holds a part. */
static void go_on(struct slv_model *m, struct slv_prefix_cache *c, enum slv_kv_kind kv,
                  const int32_t *ids, uint32_t n) {
    struct slv_session *s = witness_session(m, c, kv, 512, 1 + rnd(100));
    struct slv_err e = {0};
    int32_t other[N_MAX];
    uint32_t held;
    if (rnd(2)) assert_int_equal(slv_session_feed(s, ids + 3, 80, NULL), 0); /* which it forgets */
    if (slv_session_load(s, path, &e)) fail_msg("%s", e.msg);
    assert_int_equal(slv_session_position(s), n);
    assert_null(slv_session_logits(s));
    assert_int_equal(slv_session_feed(s, ids + n, 5, NULL), 0);
    check(s, kv, ids, n + 5);
    memcpy(other, ids, sizeof other);
    uint32_t at = n > 20 ? n - rnd(20) : n;
    other[at] = (int32_t)((uint32_t)(other[at] + 1) % m->h.n_vocab);
    assert_int_equal(slv_session_resume(s, other, n + 7, &held, NULL), 0);
    if (!m->h.window || c) assert_true(held >= at); /* the cache may know more by now */
    assert_int_equal(slv_session_feed(s, other + held, n + 7 - held, NULL), 0);
    check(s, kv, other, n + 7);
    slv_session_close(s);
}

static void a_restart_changes_no_bit(void **state) {
    static const uint32_t at[] = {1, 2, 63, 64, 65, 127, 128, 129, 200, 256};
    (void)state;
    for (size_t i = 0; i < MODELS; i++)
        for (size_t k = 0; k < sizeof at / sizeof at[0]; k++) {
            struct slv_model *m = model(i);
            enum slv_kv_kind kv = (enum slv_kv_kind)rnd(3);
            struct slv_prefix_cache *c = rnd(2) ? open_cache(m, kv) : NULL;
            int32_t ids[N_MAX];
            some_ids(ids, N_MAX, m->h.n_vocab);
            save(m, c, kv, ids, at[k]);
            slv_prefix_cache_close(c);
            slv_model_close(m);
            m = model(i); /* as another process would */
            c = rnd(2) ? open_cache(m, kv) : NULL;
            go_on(m, c, kv, ids, at[k]);
            go_on(m, c, kv, ids, at[k]);
            slv_prefix_cache_close(c);
            slv_model_close(m);
        }
}

/* With a prefix cache the file has all pages of windows that are known, so that a conversation may
 * go on at its last question. */
static void a_window_goes_back_after_a_restart(void **state) {
    (void)state;
    struct slv_model *m = witness_model("gemma3");
    struct slv_prefix_cache *c = open_cache(m, 0);
    struct slv_session *s;
    int32_t ids[N_MAX];
    uint32_t held;
    some_ids(ids, N_MAX, m->h.n_vocab);
    save(m, c, 0, ids, 290);
    slv_prefix_cache_close(c);
    c = open_cache(m, 0);
    s = witness_session(m, c, 0, 512, 8);
    assert_int_equal(slv_session_load(s, path, NULL), 0);
    ids[40] ^= 1;
    assert_int_equal(slv_session_resume(s, ids, 100, &held, NULL), 0);
    assert_int_equal(held, 40);
    assert_int_equal(slv_session_feed(s, ids + 40, 60, NULL), 0);
    check(s, 0, ids, 100);
    slv_session_close(s);
    slv_prefix_cache_close(c);
    slv_model_close(m);
}

static void read_file(struct slv_buf *b) {
    slv_buf_init(b, (size_t)1 << 28);
    assert_int_equal(slv_file_read(path, b, NULL), 0);
}

/* The same tokens are the same bytes: nothing of what was there before gets out. */
static void the_file_has_the_tokens_and_nothing_else(void **state) {
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        struct slv_model *m = model(i);
        enum slv_kv_kind kv = (enum slv_kv_kind)(i % 3);
        struct slv_session *s = witness_session(m, NULL, kv, 512, 64);
        struct slv_buf a, b;
        struct stat st;
        int32_t ids[N_MAX];
        some_ids(ids, N_MAX, m->h.n_vocab);
        save(m, NULL, kv, ids, 20);
        read_file(&a);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(slv_session_feed(s, ids + 30, 60, NULL), 0);
        assert_int_equal(slv_session_back(s, 1), 0); /* its page stays */
        assert_int_equal(slv_session_rewind(s, 0), 0);
        assert_int_equal(slv_session_feed(s, ids, 20, NULL), 0);
        assert_int_equal(slv_session_save(s, path, NULL), 0);
        read_file(&b);
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.data, b.data, a.len);
        slv_buf_fini(&a);
        slv_buf_fini(&b);
        slv_session_close(s);
        slv_model_close(m);
    }
}

/* --- what is refused -------------------------------------------------------------------------- */

/* The session is as it was. */
static void refused(struct slv_session *s, const int32_t *ids, uint32_t n, const char *why) {
    struct slv_err e = {0};
    assert_int_equal(slv_session_load(s, path, &e), SLV_E_FORMAT);
    assert_int_equal(e.code, SLV_E_FORMAT);
    if (!strstr(e.msg, why)) fail_msg("'%s' instead of '%s'", e.msg, why);
    check(s, 0, ids, n);
}

static void write_file(const struct slv_buf *b, size_t n) {
    assert_int_equal(slv_file_write(path, b->data, n, 0600, NULL), 0);
}

static void damage_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct slv_model *m = model(i);
        struct slv_session *s = witness_session(m, NULL, 0, 512, 0);
        struct slv_buf b;
        int32_t ids[N_MAX];
        some_ids(ids, N_MAX, m->h.n_vocab);
        save(m, NULL, 0, ids, 150);
        read_file(&b);
        assert_int_equal(slv_session_feed(s, ids, 9, NULL), 0);
        for (int k = 0; k < 60; k++) {
            size_t at = k < 20 ? rnd(140) : k < 40 ? 4096 + rnd(700) : rnd((uint32_t)b.len);
            char bit = (char)(1 << rnd(8));
            b.data[at] ^= bit;
            write_file(&b, b.len);
            refused(s, ids, 9, at < 8 ? "is not a saved session" : "is ");
            b.data[at] ^= bit;
        }
        const size_t cut[] = {0, 1, 4095, 4096, 5000, b.len / 2, b.len - 1};
        for (size_t k = 0; k < sizeof cut / sizeof cut[0]; k++) {
            write_file(&b, cut[k]);
            refused(s, ids, 9, "is cut short");
        }
        slv_buf_addc(&b, '\0');
        write_file(&b, b.len);
        refused(s, ids, 9, "is cut short or too long");
        slv_buf_fini(&b);
        slv_session_close(s);
        slv_model_close(m);
    }
}

static struct slv_model *copy_of(const char *name, bool changed) {
    struct slv_model *m = NULL;
    struct slv_buf b;
    char from[4096], to[96];
    slv_buf_init(&b, (size_t)1 << 28);
    snprintf(from, sizeof from, "%s/%s.gguf", MODEL_DIR, name);
    snprintf(to, sizeof to, "%s.gguf", path);
    assert_int_equal(slv_file_read(from, &b, NULL), 0);
    if (changed) b.data[b.len - 40] ^= 1;
    assert_int_equal(slv_file_write(to, b.data, b.len, 0600, NULL), 0);
    slv_buf_fini(&b);
    assert_int_equal(slv_model_open(to, NULL, &m, NULL), 0);
    unlink(to);
    return m;
}

static void another_model_is_refused(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama3"), *same = copy_of("llama3", false),
                     *changed = copy_of("llama3", true), *other = witness_model("gpt2");
    int32_t ids[N_MAX];
    struct slv_session *s;
    some_ids(ids, N_MAX, m->h.n_vocab);
    save(m, NULL, 0, ids, 100);
    s = witness_session(same, NULL, 0, 512, 0); /* the same bytes elsewhere are the same model */
    assert_int_equal(slv_session_load(s, path, NULL), 0);
    slv_session_close(s);
    struct slv_model *const others[] = {changed, other};
    for (int i = 0; i < 2; i++) {
        s = witness_session(others[i], NULL, 0, 512, 0);
        assert_int_equal(slv_session_feed(s, ids, 9, NULL), 0);
        refused(s, ids, 9, "is of another model");
        slv_session_close(s);
    }
    s = witness_session(m, NULL, 0, 99, 0);
    assert_int_equal(slv_session_feed(s, ids, 9, NULL), 0);
    refused(s, ids, 9, "has more tokens than the context");
    slv_session_close(s);
    save(m, NULL, SLV_KV_KIND_Q8, ids, 100);
    s = witness_session(m, NULL, 0, 512, 0);
    assert_int_equal(slv_session_feed(s, ids, 9, NULL), 0);
    refused(s, ids, 9, "is of another kind of KV cache");
    unlink(path);
    assert_int_equal(slv_session_load(s, path, NULL), SLV_E_NOENT);
    slv_session_close(s);
    struct slv_model *all[] = {m, same, changed, other};
    for (int i = 0; i < 4; i++)
        slv_model_close(all[i]);
}

static void what_cannot_be_written_is_said(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama3");
    struct slv_session *s = witness_session(m, NULL, 0, 512, 0);
    struct slv_err e = {0};
    struct slv_buf a, b;
    int32_t ids[N_MAX];
    char tmp[80];
    some_ids(ids, N_MAX, m->h.n_vocab);
    assert_int_equal(slv_session_save(s, path, &e), SLV_E_USAGE);
    save(m, NULL, 0, ids, 100);
    read_file(&a);
    assert_int_equal(slv_session_feed(s, ids, 50, NULL), 0);
    assert_int_equal(slv_session_save(s, "/proc/no/such/folder", &e), SLV_E_NOENT);
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    int fd = open(tmp, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0 && !flock(fd, LOCK_EX));
    assert_int_equal(slv_session_save(s, path, &e), SLV_E_BUSY);
    read_file(&b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    close(fd); /* who wrote it was killed */
    assert_int_equal(slv_session_save(s, path, &e), 0);
    assert_int_equal(access(tmp, F_OK), -1);
    check(s, 0, ids, 50);
    slv_buf_fini(&a);
    slv_buf_fini(&b);
    slv_session_close(s);
    slv_model_close(m);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    struct slv_model *m = witness_model("gemma3");
    struct slv_session *s = witness_session(m, NULL, 0, 512, 0);
    int32_t ids[N_MAX];
    some_ids(ids, N_MAX, m->h.n_vocab);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(slv_session_rewind(s, 0), 0);
        assert_int_equal(slv_session_feed(s, ids, 100, NULL), 0);
        int rc = SLV_E_NOMEM, n = 1;
        for (; rc; n++) {
            slv_mem_fail_at((uint64_t)n);
            rc = k ? slv_session_load(s, path, NULL) : slv_session_save(s, path, NULL);
            slv_mem_fail_at(0);
            assert_true(!rc || rc == SLV_E_NOMEM);
            if (rc || !k) check(s, 0, ids, 100);
        }
        assert_true(k || n > 4);
    }
    slv_session_close(s);
    slv_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restart_changes_no_bit),
        cmocka_unit_test(a_window_goes_back_after_a_restart),
        cmocka_unit_test(the_file_has_the_tokens_and_nothing_else),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(another_model_is_refused),
        cmocka_unit_test(what_cannot_be_written_is_said),
        cmocka_unit_test(every_allocation_may_fail),
    };
    snprintf(path, sizeof path, "/tmp/selvage-snapshot-%ld", (long)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
