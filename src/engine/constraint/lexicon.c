/* lexicon.c: see lexicon.h. */
#include "engine/constraint/lexicon.h"
#include "base/buf.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    const unsigned char *s;
    size_t at; /* in the buffer, while that grows */
    uint32_t n;
    int32_t id;
};

static int by_bytes(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    const int c = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);
    if (c) return c;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static bool is_text(const struct slv_tokenizer *t, int32_t id) {
    const enum slv_token_kind k = slv_tokenizer_kind(t, id);
    return (k == SLV_TOKEN_NORMAL || k == SLV_TOKEN_USER || k == SLV_TOKEN_BYTE) &&
           !slv_tokenizer_is_end(t, id);
}

/* The tokens that are text, with their bytes, sorted. */
static int collect(const struct slv_tokenizer *t, struct slv_buf *bytes, struct entry *v,
                   size_t *ret_n) {
    const size_t n_tokens = slv_tokenizer_size(t);
    size_t n = 0;
    for (size_t i = 0; i < n_tokens; i++) {
        const size_t at = bytes->len;
        if (!is_text(t, (int32_t)i)) continue;
        const int rc = slv_token_bytes(t, (int32_t)i, false, false, bytes);
        if (rc) return rc;
        const size_t len = bytes->len - at;
        if (len == 0 || len > SLV_LEXICON_DEPTH) bytes->len = at;
        else v[n++] = (struct entry){NULL, at, (uint32_t)len, (int32_t)i};
    }
    for (size_t i = 0; i < n; i++)
        v[i].s = (const unsigned char *)bytes->data + v[i].at;
    qsort(v, n, sizeof *v, by_bytes);
    *ret_n = n;
    return 0;
}

static size_t common(const struct entry *a, const struct entry *b) {
    size_t n = 0;
    while (n < a->n && n < b->n && a->s[n] == b->s[n])
        n++;
    return n;
}

static size_t count_nodes(const struct entry *v, size_t n) {
    size_t nodes = 1;
    for (size_t i = 0; i < n; i++)
        nodes += v[i].n - (i ? common(&v[i - 1], &v[i]) : 0);
    return nodes;
}

static bool alloc(struct slv_lexicon *l) {
    l->byte = slv_mem_calloc(l->n, 1);
    l->depth = slv_mem_calloc(l->n, 1);
    l->end = slv_mem_calloc(l->n, sizeof *l->end);
    l->token = slv_mem_calloc(l->n, sizeof *l->token);
    l->same = slv_mem_calloc(l->n_tokens, sizeof *l->same);
    return l->byte && l->depth && l->end && l->token && l->same;
}

static void fill(struct slv_lexicon *l, const struct entry *v, size_t n) {
    uint32_t path[SLV_LEXICON_DEPTH + 1] = {0};
    size_t at = 1, deep = 0;
    memset(l->token, 0xff, l->n * sizeof *l->token);
    memset(l->same, 0xff, l->n_tokens * sizeof *l->same);
    for (size_t i = 0; i < n; i++) {
        const size_t keep = i ? common(&v[i - 1], &v[i]) : 0;
        for (; deep > keep; deep--)
            l->end[path[deep]] = (uint32_t)at;
        for (; deep < v[i].n; at++) {
            l->byte[at] = v[i].s[deep];
            path[++deep] = (uint32_t)at;
            l->depth[at] = (uint8_t)deep;
        }
        l->same[v[i].id] = l->token[path[deep]];
        l->token[path[deep]] = v[i].id;
        if (deep > l->deepest) l->deepest = (unsigned)deep;
    }
    for (; deep > 0; deep--)
        l->end[path[deep]] = (uint32_t)at;
    l->end[0] = (uint32_t)at;
}

int slv_lexicon_open(const struct slv_tokenizer *t, struct slv_lexicon **ret, struct slv_err *err) {
    struct slv_lexicon *l = slv_mem_calloc(1, sizeof *l);
    struct slv_buf bytes;
    size_t n = 0;
    if (!l) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    l->n_tokens = slv_tokenizer_size(t);
    slv_buf_init(&bytes, (size_t)1 << 28);
    struct entry *v = slv_mem_calloc(l->n_tokens ? l->n_tokens : 1, sizeof *v);
    int rc = v ? collect(t, &bytes, v, &n) : SLV_E_NOMEM;
    if (!rc) {
        l->n = count_nodes(v, n);
        if (l->n >= UINT32_MAX / 2) rc = SLV_E_LIMIT;
        else if (alloc(l)) fill(l, v, n);
        else rc = SLV_E_NOMEM;
    }
    slv_mem_free(v);
    slv_buf_fini(&bytes);
    if (rc) {
        slv_lexicon_close(l);
        return slv_err_set(err, rc, "the vocabulary's trie: %s", slv_strerror(rc));
    }
    *ret = l;
    return 0;
}

void slv_lexicon_close(struct slv_lexicon *l) {
    if (!l) return;
    slv_mem_free(l->byte);
    slv_mem_free(l->depth);
    slv_mem_free(l->end);
    slv_mem_free(l->token);
    slv_mem_free(l->same);
    slv_mem_free(l);
}

static uint32_t child(const struct slv_lexicon *l, uint32_t at, unsigned char c) {
    uint32_t x = at + 1;
    while (x < l->end[at] && l->byte[x] != c)
        x = l->end[x];
    return x < l->end[at] ? x : 0;
}

uint32_t slv_lexicon_find(const struct slv_lexicon *l, const char *s, size_t n) {
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++)
        if (!(at = child(l, at, (unsigned char)s[i]))) return 0;
    return at;
}

/* The longest token that s[0..n) begins with, -1 for none, and its bytes. */
static int32_t longest(const struct slv_lexicon *l, const char *s, size_t n, size_t *ret_n) {
    int32_t best = -1;
    uint32_t at = 0;
    for (size_t i = 0; i < n && (at = child(l, at, (unsigned char)s[i])) != 0; i++)
        if (l->token[at] >= 0) {
            best = l->token[at];
            *ret_n = i + 1;
        }
    return best;
}

static int cut_longest(const struct slv_lexicon *l, const char *s, size_t n, struct slv_ids *out) {
    size_t k = 0;
    for (size_t at = 0; at < n; at += k) {
        const int32_t id = longest(l, s + at, n - at, &k);
        if (id < 0) return 0;
        const int rc = slv_ids_add(out, id);
        if (rc) return rc;
    }
    return 0;
}

int slv_lexicon_cut(const struct slv_lexicon *l, const struct slv_tokenizer *t, const char *s,
                    size_t n, struct slv_ids *out) {
    const size_t before = out->n;
    struct slv_buf text;
    slv_buf_init(&text, SIZE_MAX / 2);
    int rc = slv_tokenize(t, s, n, 0, out);
    for (size_t i = before; !rc && i < out->n; i++)
        rc = slv_token_bytes(t, out->v[i], false, false, &text);
    const bool same = !rc && text.len == n && !memcmp(text.data, s, n);
    slv_buf_fini(&text);
    if (rc || same) return rc;
    out->n = before;
    return cut_longest(l, s, n, out);
}
