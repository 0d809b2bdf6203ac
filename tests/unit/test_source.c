/* test_source.c: models whose bytes come from elsewhere: what a user would lose: the same answers
 * from a sealed model as from the plain one, an error in place of an answer where a byte of it
 * could not be had or was not what was sealed, and files of it that others cannot read.
 *
 * The source is memory that can fail at its n-th reading; the keeper's files are those of others
 * with every bit turned over, so that a plain byte in one would be seen. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/blocks.h"
#include "base/mem.h"
#include "scratch.h"
#include "witness.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define N_IDS 40

static struct slv_err err;

/* --- a source --------------------------------------------------------------------------------- */

struct source {
    char *data;
    size_t n;
    _Atomic int left; /* readings that go well; negative: all */
};

static int source_read(void *ctx, uint64_t at, size_t n, void *p, struct slv_err *e) {
    struct source *s = ctx;
    if (atomic_load(&s->left) >= 0 && atomic_fetch_sub(&s->left, 1) <= 0) {
        atomic_store(&s->left, 0);
        return slv_err_set(e, SLV_E_TRUST, "block 17 is not what was sealed");
    }
    memcpy(p, s->data + at, n);
    return 0;
}

static const char *path_of(const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s.gguf", MODEL_DIR, name);
    return path;
}

static struct source source_of(const char *name) {
    struct source s = {.left = -1};
    s.data = scratch_read(path_of(name), &s.n);
    return s;
}

/* --- a keeper --------------------------------------------------------------------------------- */

struct keep {
    int opened, created, closed;
    int fail_open, fail_create; /* codes */
    _Atomic int reads, writes;  /* that go well; negative: all */
    bool fail_commit;
};

struct turned {
    struct keep *k;
    struct slv_blocks from;
    struct slv_sink to;
};

static bool well(_Atomic int *left) {
    return atomic_load(left) < 0 || atomic_fetch_sub(left, 1) > 0 || (atomic_store(left, 0), false);
}

static int turned_read(void *ctx, uint64_t at, size_t n, void *p, struct slv_err *e) {
    struct turned *t = ctx;
    if (!well(&t->k->reads)) return slv_err_set(e, SLV_E_TRUST, "block 3 is not what was sealed");
    int rc = slv_blocks_read(&t->from, at, n, p, e);
    for (size_t i = 0; i < n && !rc; i++)
        ((unsigned char *)p)[i] = (unsigned char)~((unsigned char *)p)[i];
    return rc;
}

static int turned_write(void *ctx, const void *p, size_t n, struct slv_err *e) {
    struct turned *t = ctx;
    unsigned char *copy = malloc(n + 1);
    assert_non_null(copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = (unsigned char)~((const unsigned char *)p)[i];
    int rc = well(&t->k->writes) ? t->to.write(t->to.ctx, copy, n, e)
                                 : slv_err_set(e, SLV_E_IO, "the disk is full");
    free(copy);
    return rc;
}

static int turned_commit(void *ctx, struct slv_err *e) {
    struct turned *t = ctx;
    if (t->k->fail_commit) return slv_err_set(e, SLV_E_IO, "the disk is full");
    return t->to.commit(t->to.ctx, e);
}

static void turned_close(void *ctx) {
    struct turned *t = ctx;
    slv_blocks_close(&t->from);
    slv_sink_close(&t->to);
    free(t);
}

static int keep_open(void *ctx, enum slv_kept use, const char *path, struct slv_blocks *ret,
                     struct slv_err *e) {
    struct keep *k = ctx;
    (void)use;
    if (k->fail_open) return slv_err_set(e, k->fail_open, "no");
    struct turned *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->k = k;
    int rc = slv_blocks_open_file(path, &t->from, e);
    if (rc) {
        free(t);
        return rc;
    }
    k->opened++;
    *ret = (struct slv_blocks){t->from.size, turned_read, turned_close, t};
    return 0;
}

static int keep_create(void *ctx, enum slv_kept use, const char *path, struct slv_sink *ret,
                       struct slv_err *e) {
    struct keep *k = ctx;
    (void)use;
    if (k->fail_create) return slv_err_set(e, k->fail_create, "no");
    struct turned *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->k = k;
    int rc = slv_sink_open_file(path, &t->to, e);
    if (rc) {
        free(t);
        return rc;
    }
    k->created++;
    *ret = (struct slv_sink){turned_write, turned_commit, turned_close, t};
    return 0;
}

static void keep_close(void *ctx) { ((struct keep *)ctx)->closed++; }

#define KEEPER_ID 0x1122334455667788u
static struct keep keep_well(void) { return (struct keep){.reads = -1, .writes = -1}; }

/* --- opening ---------------------------------------------------------------------------------- */

static char notes[1000];

static void on_note(void *ctx, const char *line) {
    (void)ctx;
    size_t n = strlen(notes);
    snprintf(notes + n, sizeof notes - n, "%s\n", line);
}

/* k NULL: without a keeper. */
static int open_it(struct source *s, struct keep *k, const char *folder, uint32_t threads,
                   struct slv_model **ret) {
    const struct slv_blocks from = {s->n, source_read, NULL, s};
    const struct slv_keeper keeper = {KEEPER_ID, keep_open, keep_create, keep_close, k};
    const struct slv_model_opts o = {.threads = threads,
                                     .packed = folder,
                                     .note = on_note,
                                     .source = &from,
                                     .keeper = k ? &keeper : NULL};
    notes[0] = '\0';
    return slv_model_open("a name", &o, ret, &err);
}

static void some_ids(const struct slv_model *m, int32_t ids[N_IDS]) {
    for (uint32_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)((i * 7919u + 3) % m->h.n_vocab);
}

static void want_of(const char *name, float *want) {
    struct slv_model *m = witness_model(name);
    int32_t ids[N_IDS];
    some_ids(m, ids);
    memset(want, 0, VOCAB_MAX * sizeof *want);
    witness_logits(m, SLV_KV_KIND_F16, ids, N_IDS, want);
    slv_model_close(m);
}

static void check(struct slv_model *m, const float *want) {
    float got[VOCAB_MAX] = {0};
    int32_t ids[N_IDS];
    some_ids(m, ids);
    witness_logits(m, SLV_KV_KIND_F16, ids, N_IDS, got);
    assert_memory_equal(got, want, sizeof got);
}

/* The one file of a folder that is not being written; NULL: none. */
static const char *only_file(const char *folder) {
    static char path[600];
    int n = 0;
    DIR *d = opendir(folder);
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (e->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
            n++;
        }
    if (d) closedir(d);
    assert_true(n < 2);
    return n ? path : NULL;
}

/* --- answers ---------------------------------------------------------------------------------- */

static const char *const names[] = {"llama3", "gemma3",    "gpt2", "gpt2-f16",
                                    "qwen2",  "all-types", "phi3", "qwen2-untied"};

static void a_source_gives_the_bits_that_the_file_gives(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        float want[VOCAB_MAX];
        if (access(path_of(names[i]), F_OK)) continue;
        want_of(names[i], want);
        for (uint32_t threads = 1; threads < 4; threads++) {
            struct source s = source_of(names[i]);
            struct slv_model *m = NULL;
            if (open_it(&s, NULL, scratch("packed"), threads, &m)) fail_msg("%s", err.msg);
            memset(s.data, 0xa5, s.n); /* nothing of it is needed any longer */
            check(m, want);
            slv_model_close(m);
            free(s.data);
        }
    }
    assert_false(scratch_there(scratch("packed"))); /* nothing is kept without a keeper */
}

/* Tables lie in memory, but one that is the output's matrix too, which is there already. */
static void memory_is_what_is_told(void **state) {
    static const char *const of[] = {"llama3", "qwen2-untied", "gpt2"};
    (void)state;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        struct source s = source_of(of[i]);
        struct slv_model *m = NULL, *plain = witness_model(of[i]);
        const struct slv_weights *w = &plain->w;
        const bool tied = w->out.from == w->embd.from;
        struct slv_memory mem, of_plain;
        assert_int_equal(tied, i != 1);
        assert_int_equal(open_it(&s, NULL, NULL, 1, &m), 0);
        assert_int_equal(slv_model_memory(m, NULL, &mem, NULL), 0);
        assert_int_equal(slv_model_memory(plain, NULL, &of_plain, NULL), 0);
        assert_int_equal(mem.weights - of_plain.weights,
                         (tied ? 0 : w->embd.from->bytes) +
                             (w->pos_embd.from ? w->pos_embd.from->bytes : 0));
        slv_model_close(m);
        slv_model_close(plain);
        free(s.data);
    }
}

static void each_reading_that_fails_is_an_error_before_a_token(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++)
        for (uint32_t threads = 1; threads < 3; threads++) {
            struct source s = source_of(names[i]);
            int n = 0, rc;
            do {
                struct keep k = keep_well();
                struct slv_model *m = NULL;
                atomic_store(&s.left, n++);
                rc = open_it(&s, &k, NULL, threads, &m);
                if (rc) {
                    assert_int_equal(rc, SLV_E_TRUST);
                    assert_non_null(strstr(err.msg, "block 17 is not what was sealed"));
                    assert_null(m);
                }
                slv_model_close(m);
                assert_int_equal(k.closed, 1);
            } while (rc);
            assert_true(n > 10);
            free(s.data);
        }
}

static void every_length_but_its_own_is_refused(void **state) {
    (void)state;
    struct source s = source_of("llama3");
    const size_t all = s.n;
    for (int i = 0; i < 300; i++) {
        struct slv_model *m = NULL;
        s.n = i < 100 ? (size_t)i : i == 100 ? all - 1 : rnd((uint32_t)all);
        int rc = open_it(&s, NULL, NULL, 1, &m);
        assert_true(rc == SLV_E_FORMAT);
        assert_non_null(strstr(err.msg, "a name"));
    }
    free(s.data);
}

/* --- what is kept ----------------------------------------------------------------------------- */

/* Opens with a keeper: the right answer, cached or not; what it said. */
static void answer(const char *name, struct keep *k, const char *folder, bool cached,
                   const char *says, const float *want) {
    struct source s = source_of(name);
    struct slv_model *m = NULL;
    struct slv_model_info info;
    if (open_it(&s, k, folder, 2, &m)) fail_msg("%s", err.msg);
    slv_model_info(m, &info);
    if (info.cached != cached) fail_msg("cached: %d; %s", info.cached, notes);
    check(m, want);
    slv_model_close(m);
    if (says ? !strstr(notes, says) : notes[0]) fail_msg("said: %s", notes);
    free(s.data);
}

static void a_second_start_reads_what_the_first_has_kept(void **state) {
    (void)state;
    char folder[200];
    float want[VOCAB_MAX];
    snprintf(folder, sizeof folder, "%s", scratch("packed"));
    for (size_t i = 0; i < 2; i++) {
        struct keep k = keep_well();
        want_of(names[i], want);
        answer(names[i], &k, folder, false, NULL, want);
        const char *file = only_file(folder);
        assert_non_null(file);
        assert_non_null(strstr(file, "/1122334455667788.tiles")); /* says nothing of the model */
        answer(names[i], &k, folder, true, NULL, want);
        assert_true(k.opened == 1 && k.created == 1 && k.closed == 2);
        unlink(file);
    }
}

static void flip(const char *path, size_t at) {
    size_t n = 0;
    char *p = scratch_read(path, &n);
    p[at % n] = (char)(p[at % n] ^ 4);
    scratch_write(path, p, n);
    free(p);
}

static void what_cannot_be_read_is_packed_again(void **state) {
    (void)state;
    char folder[200];
    float want[VOCAB_MAX];
    struct keep k = keep_well();
    snprintf(folder, sizeof folder, "%s", scratch("packed"));
    want_of("llama3", want);
    answer("llama3", &k, folder, false, NULL, want);
    for (int n = 0; n < 2; n++) {
        k.reads = n;
        bool last = n == 1; /* this model's file is one piece */
        answer("llama3", &k, folder, last, last ? NULL : "is not what was sealed: packed again",
               want);
        k.reads = -1;
    }
    flip(only_file(folder), 9);
    answer("llama3", &k, folder, false, "of another version or layout: packed again", want);
    k.fail_open = SLV_E_TRUST;
    answer("llama3", &k, folder, false, "no: packed again", want);
    k.fail_open = 0;
    assert_int_equal(truncate(only_file(folder), 100), 0);
    answer("llama3", &k, folder, false, "is cut short: packed again", want);
    answer("llama3", &k, folder, true, NULL, want);
}

/* What was kept is read while the model's head is: which may be bad. */
static void what_was_kept_is_let_go_of_with_a_bad_model(void **state) {
    (void)state;
    char folder[200];
    float want[VOCAB_MAX];
    struct keep k = keep_well();
    snprintf(folder, sizeof folder, "%s", scratch("packed"));
    want_of("llama3", want);
    answer("llama3", &k, folder, false, NULL, want);
    for (int n = 0, rc = 1; rc; n++) {
        struct source s = source_of("llama3");
        struct slv_model *m = NULL;
        k.closed = 0;
        atomic_store(&s.left, n);
        rc = open_it(&s, &k, folder, 2, &m);
        assert_true(!rc || (rc == SLV_E_TRUST && n < 100));
        assert_string_equal(notes, "");
        slv_model_close(m);
        assert_int_equal(k.closed, 1);
        free(s.data);
    }
    answer("llama3", &k, folder, true, NULL, want);
}

static void what_cannot_be_kept_costs_a_line(void **state) {
    (void)state;
    char folder[200];
    float want[VOCAB_MAX];
    struct keep k = keep_well();
    snprintf(folder, sizeof folder, "%s", scratch("packed"));
    want_of("llama3", want);
    k.fail_create = SLV_E_IO;
    answer("llama3", &k, folder, false, "no: the packed weights are not kept", want);
    k.fail_create = 0;
    for (k.writes = 0; k.writes < 2; k.writes = 1) {
        bool second = k.writes;
        answer("llama3", &k, folder, false, "the disk is full: the packed weights are not kept",
               want);
        if (second) break;
    }
    k.writes = -1;
    k.fail_commit = true;
    answer("llama3", &k, folder, false, "the disk is full: the packed weights are not kept", want);
    assert_null(only_file(folder));
    k.fail_commit = false;
    answer("llama3", &k, folder, false, NULL, want);
    answer("llama3", &k, folder, true, NULL, want);
}

static void a_session_goes_through_the_keeper_or_nowhere(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct source s = source_of(names[i]);
        struct keep k = keep_well();
        struct slv_model *m = NULL, *bare = NULL;
        char path[200];
        int32_t ids[N_IDS];
        snprintf(path, sizeof path, "%s", scratch("session"));
        assert_int_equal(open_it(&s, &k, NULL, 1, &m), 0);
        assert_int_equal(open_it(&s, NULL, NULL, 1, &bare), 0);
        some_ids(m, ids);
        struct slv_session *a = witness_session(m, NULL, SLV_KV_KIND_F16, 256, 0);
        assert_int_equal(slv_session_feed(a, ids, N_IDS, NULL), 0);
        assert_int_equal(slv_session_save(a, path, &err), 0);
        size_t n = 0;
        char *file = scratch_read(path, &n);
        assert_null(memmem(file, n, ids, sizeof ids));
        assert_null(memmem(file, n, "SLVSTATE", 8));
        free(file);
        struct slv_session *b = witness_session(m, NULL, SLV_KV_KIND_F16, 256, 0);
        uint32_t held = 0;
        if (slv_session_load(b, path, &err)) fail_msg("%s", err.msg);
        assert_int_equal(slv_session_resume(b, ids, N_IDS, &held, NULL), 0);
        assert_int_equal(held, N_IDS - 1);
        assert_int_equal(slv_session_feed(b, ids + held, 1, NULL), 0);
        assert_memory_equal(slv_session_logits(a), slv_session_logits(b),
                            m->h.n_vocab * sizeof(float));
        for (k.reads = 0; k.reads < 2; k.reads++) {
            int was = k.reads;
            assert_int_equal(slv_session_load(b, path, &err), SLV_E_TRUST);
            k.reads = was;
        }
        k.reads = -1;
        flip(path, n - 1); /* its own checks are not left out */
        assert_int_equal(slv_session_load(b, path, &err), SLV_E_FORMAT);
        assert_int_equal(slv_session_position(b), N_IDS);
        struct slv_session *c = witness_session(bare, NULL, SLV_KV_KIND_F16, 256, 0);
        assert_int_equal(slv_session_feed(c, ids, N_IDS, NULL), 0);
        assert_int_equal(slv_session_save(c, path, &err), SLV_E_USAGE);
        assert_int_equal(slv_session_load(c, path, &err), SLV_E_USAGE);
        slv_session_close(a);
        slv_session_close(b);
        slv_session_close(c);
        slv_model_close(m);
        slv_model_close(bare);
        unlink(path);
        free(s.data);
    }
}

static void failed_allocations_are_errors_or_cost_time(void **state) {
    (void)state;
    char folder[200];
    float want[VOCAB_MAX];
    snprintf(folder, sizeof folder, "%s", scratch("packed"));
    want_of("llama3", want);
    for (int cached = 0; cached < 2; cached++)
        for (uint64_t n = 1;; n++) {
            struct source s = source_of("llama3");
            struct keep k = keep_well();
            struct slv_model *m = NULL;
            if (!cached && only_file(folder)) unlink(only_file(folder));
            uint64_t before = slv_mem_count();
            slv_mem_fail_at(n);
            int rc = open_it(&s, &k, folder, 1 + n % 2, &m);
            slv_mem_fail_at(0);
            bool over = slv_mem_count() - before < n;
            if (rc && rc != SLV_E_NOMEM && rc != SLV_E_LIMIT) fail_msg("%d: %d", (int)n, rc);
            if (!rc) check(m, want);
            slv_model_close(m);
            assert_int_equal(k.closed, 1);
            free(s.data);
            if (over) break;
        }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_make, scratch_drop)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_source_gives_the_bits_that_the_file_gives),
        TEST(memory_is_what_is_told),
        TEST(each_reading_that_fails_is_an_error_before_a_token),
        TEST(every_length_but_its_own_is_refused),
        TEST(a_second_start_reads_what_the_first_has_kept),
        TEST(what_cannot_be_read_is_packed_again),
        TEST(what_was_kept_is_let_go_of_with_a_bad_model),
        TEST(what_cannot_be_kept_costs_a_line),
        TEST(a_session_goes_through_the_keeper_or_nowhere),
        TEST(failed_allocations_are_errors_or_cost_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
