/* tok_dump.c: the tokenizer on a pipe, for comparisons with other programs (tests/golden/).
 *
 *   tok_dump ids MODEL FLAGS         FLAGS: sum of 1 (special) and 2 (add); a folder is taken too
 *   tok_dump text MODEL.gguf SPECIAL the other way round: ids in, text out
 *   tok_dump ends MODEL.gguf         the ids that end a generation, no input
 *   tok_dump split PRETOKENIZER      where a pre-tokenizer cuts
 *
 * Input: records of a little-endian u32 length and that many bytes. Output, a line a record: ids;
 * or the text in hex; or the lengths of the words in bytes. `text` reads ids as decimal numbers. */
#include "base/file.h"
#include "base/mem.h"
#include "format/hf.h"
#include "format/pretok.h"
#include "format/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int fail(const char *what, const struct slv_err *err) {
    fprintf(stderr, "tok_dump: %s: %s\n", what, err ? err->msg : "failed");
    return 1;
}

static int print_word(void *ctx, const char *s, size_t n) {
    (void)ctx;
    (void)s;
    printf("%zu ", n);
    return 0;
}

static int do_ids(const struct slv_tokenizer *t, unsigned flags, const char *s, size_t n) {
    struct slv_ids ids = {0};
    int rc = slv_tokenize(t, s, n, flags, &ids);
    for (size_t i = 0; i < ids.n; i++)
        printf("%d ", ids.v[i]);
    slv_ids_fini(&ids);
    return rc;
}

static int do_text(const struct slv_tokenizer *t, bool special, const char *s, size_t n) {
    struct slv_ids ids = {0};
    struct slv_buf out;
    char *copy = slv_mem_strndup(s, n);
    int rc = copy ? 0 : SLV_E_NOMEM;
    slv_buf_init(&out, 1u << 30);
    for (char *p = copy, *end; !rc && p; p = end) {
        long v = strtol(p, &end, 10);
        if (end == p) break;
        rc = slv_ids_add(&ids, (int32_t)v);
    }
    if (!rc) rc = slv_detokenize(t, ids.v, ids.n, special, true, &out);
    for (size_t i = 0; i < out.len; i++)
        printf("%02x", (unsigned char)out.data[i]);
    slv_ids_fini(&ids);
    slv_buf_fini(&out);
    slv_mem_free(copy);
    return rc;
}

static int each_record(const char *mode, const struct slv_tokenizer *t, unsigned flags,
                       const struct slv_pretok *pre) {
    struct slv_buf in;
    struct slv_err err;
    slv_buf_init(&in, 1u << 30);
    if (slv_file_read("-", &in, &err)) return fail("input", &err);
    int rc = 0;
    for (size_t at = 0; !rc && in.len - at >= 4;) {
        const unsigned char *p = (const unsigned char *)in.data + at;
        size_t n = p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
        if (n > in.len - at - 4) n = in.len - at - 4;
        const char *s = in.data + at + 4;
        if (pre) rc = slv_pretok_split(pre, s, n, print_word, NULL);
        else if (!strcmp(mode, "text")) rc = do_text(t, flags != 0, s, n);
        else rc = do_ids(t, flags, s, n);
        putchar('\n');
        at += 4 + n;
    }
    slv_buf_fini(&in);
    return rc ? fail(slv_strerror(rc), NULL) : 0;
}

static int with_model(const char *mode, const char *path, unsigned flags) {
    struct slv_gguf *g = NULL;
    struct slv_tokenizer *t = NULL;
    struct slv_err err = {0};
    struct stat st;
    const bool folder = !stat(path, &st) && S_ISDIR(st.st_mode);
    int rc = (folder ? slv_hf_open : slv_gguf_open)(path, &g, &err);
    if (!rc) rc = slv_tokenizer_open(g, &t, &err);
    if (rc) {
        rc = fail(path, &err);
    } else if (!strcmp(mode, "ends")) {
        for (size_t i = 0; i < slv_tokenizer_size(t); i++)
            if (slv_tokenizer_is_end(t, (int32_t)i)) printf("%zu\n", i);
    } else {
        rc = each_record(mode, t, flags, NULL);
    }
    slv_tokenizer_close(t);
    slv_gguf_close(g);
    return rc;
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "split")) {
        const struct slv_pretok *pre = slv_pretok_find((struct slv_str){argv[2], strlen(argv[2])});
        if (!pre) return fail("no such pre-tokenizer", NULL);
        return each_record("split", NULL, 0, pre);
    }
    if (argc < 3) return fail("usage: ids|text|ends MODEL [FLAGS], split NAME", NULL);
    return with_model(argv[1], argv[2], argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0);
}
