/* test_hf_tokenizer.c: a tokenizer.json cuts texts as Hugging Face's tokenizers do with it.
 *
 * tiny_folders.py writes one of each kind; tokens.json has what tokenizers 0.23 makes of texts with
 * them (make_encoders.py). Control tokens in a text count, as they do there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "format/gguf_int.h"
#include "format/hf_int.h"
#include "format/tokenizer.h"

#include <stdio.h>
#include <string.h>

static struct slv_buf golden_text;
static struct slv_json_doc golden;

static void read_file(const char *path, struct slv_buf *text, struct slv_json_doc *doc) {
    struct slv_err e = {0};
    slv_buf_init(text, (size_t)1 << 24);
    if (slv_file_read(path, text, &e)) fail_msg("%s", e.msg);
    if (slv_json_read(text->data, text->len, doc, &e)) fail_msg("%s: %s", path, e.msg);
}

static int load(void **state) {
    (void)state;
    read_file(TEST_DATA "/encoders/tokens.json", &golden_text, &golden);
    return 0;
}

static int unload(void **state) {
    (void)state;
    slv_json_doc_fini(&golden);
    slv_buf_fini(&golden_text);
    return 0;
}

/* The tokenizer of a file; *ret_g is what it borrows from. */
static int open_tokenizer(const char *path, struct slv_gguf **ret_g, struct slv_tokenizer **ret,
                          struct slv_err *err) {
    struct hf f = {.folder = "folder", .err = err};
    struct gguf_made made = {0};
    struct slv_json_doc *doc = &f.file[HF_TOKENIZER].doc;
    *ret_g = NULL;
    slv_buf_init(&f.file[HF_TOKENIZER].text, (size_t)1 << 24);
    slv_gguf_meta_init(&f.meta, (size_t)1 << 24);
    int rc = slv_file_read(path, &f.file[HF_TOKENIZER].text, err);
    const struct slv_buf *text = &f.file[HF_TOKENIZER].text;
    if (!rc) rc = slv_json_read(text->data, text->len, doc, err);
    if (!rc) rc = hf_tokenizer(&f, 0);
    if (!rc) rc = slv_gguf_meta_end(&f.meta);
    if (!rc) {
        made.meta = (unsigned char *)slv_buf_take(&f.meta.buf, &made.meta_n);
        rc = made.meta ? gguf_adopt(&made, ret_g, err) : SLV_E_NOMEM;
    }
    if (!rc) rc = slv_tokenizer_open(*ret_g, ret, err);
    slv_gguf_meta_fini(&f.meta);
    slv_json_doc_fini(doc);
    slv_buf_fini(&f.file[HF_TOKENIZER].text);
    return rc;
}

static bool same_ids(const struct slv_ids *ids, struct slv_json_val want) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    size_t i = 0;
    if (slv_json_count(want) != ids->n) return false;
    for (int64_t id; slv_json_each(want, &it, NULL, &at); i++)
        if (!slv_json_get_i64(at, &id) || id != ids->v[i]) return false;
    return true;
}

static void print_ids(const struct slv_ids *ids, struct slv_json_val want) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    int64_t id = 0;
    printf("# want");
    while (slv_json_each(want, &it, NULL, &at))
        if (slv_json_get_i64(at, &id)) printf(" %d", (int)id);
    printf("\n# have");
    for (size_t i = 0; i < ids->n; i++)
        printf(" %d", ids->v[i]);
    printf("\n");
}

static size_t check_rows(const struct slv_tokenizer *t, struct slv_json_val rows,
                         struct slv_str name) {
    struct slv_json_iter it = {0};
    struct slv_json_val row;
    struct slv_str text;
    size_t n = 0;
    while (slv_json_each(rows, &it, NULL, &row)) {
        struct slv_ids ids = {0};
        const unsigned flags = SLV_TOKENIZE_SPECIAL | SLV_TOKENIZE_ADD;
        assert_true(slv_json_get_str(slv_json_get(row, "text"), &text));
        assert_int_equal(slv_tokenize(t, text.p, text.n, flags, &ids), 0);
        if (!same_ids(&ids, slv_json_get(row, "ids"))) {
            print_ids(&ids, slv_json_get(row, "ids"));
            fail_msg("%.*s: text %zu '%.*s'", (int)name.n, name.p, n, (int)text.n, text.p);
        }
        slv_ids_fini(&ids);
        n++;
    }
    return n;
}

static void tokens_are_those_of_hugging_face(void **state) {
    (void)state;
    struct slv_json_iter it = {0};
    struct slv_json_val rows;
    struct slv_str name;
    size_t kinds = 0;
    for (; slv_json_each(slv_json_root(&golden), &it, &name, &rows); kinds++) {
        char path[512];
        struct slv_gguf *g = NULL;
        struct slv_tokenizer *t = NULL;
        struct slv_err e = {0};
        snprintf(path, sizeof path, FOLDERS "/tokenizers/%.*s.json", (int)name.n, name.p);
        if (open_tokenizer(path, &g, &t, &e)) fail_msg("%s: %s", path, e.msg);
        const size_t n = check_rows(t, rows, name);
        printf("# %.*s: %zu texts\n", (int)name.n, name.p, n);
        assert_true(n > 10);
        slv_tokenizer_close(t);
        slv_gguf_close(g);
    }
    assert_int_equal(kinds, 8);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static const char *const names[] = {"unigram", "llama2", "llama3"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (uint64_t k = 1;; k++) {
            char path[512];
            struct slv_gguf *g = NULL;
            struct slv_tokenizer *t = NULL;
            const uint64_t before = slv_mem_count();
            snprintf(path, sizeof path, FOLDERS "/tokenizers/%s.json", names[i]);
            slv_mem_fail_at(k);
            int rc = open_tokenizer(path, &g, &t, NULL);
            slv_mem_fail_at(0);
            const bool done = slv_mem_count() - before < k;
            if (rc && rc != SLV_E_NOMEM && rc != SLV_E_LIMIT)
                fail_msg("%s, allocation %d: %d", names[i], (int)k, rc);
            assert_true(!done || !rc);
            slv_tokenizer_close(t);
            slv_gguf_close(g);
            if (done) break;
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_those_of_hugging_face),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
