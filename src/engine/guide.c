/* guide.c: see guide.h. */
#include "engine/guide.h"
#include "base/err.h"
#include "base/mem.h"
#include "engine/constraint/mask.h"
#include "engine/model.h"

#include <pthread.h>
#include <string.h>

#define FORCED_BYTES 512

/* A model's vocabulary as constraints need it, shared by all of them. */
struct shared {
    struct slv_lexicon *lexicon;
    struct slv_free_text *text;
    int32_t *ends;
    size_t n_ends;
};

struct slv_constraint {
    struct slv_model *m;
    struct shared *shared;
    struct slv_schema *schema;   /* or */
    struct slv_grammar *grammar; /* one of them is NULL */
    struct slv_masks *masks;
    pthread_mutex_t lock; /* of their languages and of masks */
};

struct slv_guide {
    struct slv_constraint *c;
    struct slv_matcher *at;
    uint64_t *bits;
    struct slv_buf text;
    struct slv_ids ids;
};

/* --- the vocabulary --------------------------------------------------------------------------- */

static void close_shared(void *p) {
    struct shared *s = p;
    if (!s) return;
    slv_free_text_close(s->text);
    slv_lexicon_close(s->lexicon);
    slv_mem_free(s->ends);
    slv_mem_free(s);
}

static int find_ends(const struct slv_tokenizer *t, struct shared *s) {
    size_t cap = 0;
    for (size_t i = 0; i < slv_tokenizer_size(t); i++) {
        if (!slv_tokenizer_is_end(t, (int32_t)i)) continue;
        const int rc =
            slv_mem_grow((void **)&s->ends, s->n_ends, &cap, sizeof *s->ends, SIZE_MAX / 8);
        if (rc) return rc;
        s->ends[s->n_ends++] = (int32_t)i;
    }
    return 0;
}

static int make_shared(struct slv_model *m, void **ret, struct slv_err *err) {
    struct shared *s = slv_mem_calloc(1, sizeof *s);
    int rc = s ? slv_lexicon_open(m->tokenizer, &s->lexicon, err) : SLV_E_NOMEM;
    if (!rc) rc = slv_free_text_open(s->lexicon, &s->text);
    if (!rc) rc = find_ends(m->tokenizer, s);
    if (!rc) {
        *ret = s;
        return 0;
    }
    close_shared(s);
    return slv_err_set(err, rc, "the vocabulary: %s", slv_strerror(rc));
}

/* --- constraints ------------------------------------------------------------------------------ */

static int open_schema(struct slv_constraint *c, const char *schema, size_t n, char *ret_pointer,
                       struct slv_err *err) {
    const struct slv_schema_options o = SLV_SCHEMA_WRITTEN;
    int rc = slv_schema_open(schema, n, &o, &c->schema, ret_pointer, err);
    if (rc) return rc;
    if (!slv_schema_has_values(c->schema))
        return slv_err_set(err, SLV_E_UNSUPPORTED, "no value meets the schema");
    rc = slv_masks_open(c->shared->text, c->schema, &c->masks);
    return rc ? slv_err_set(err, rc, "%s", slv_strerror(rc)) : 0;
}

static int open_grammar(struct slv_constraint *c, const char *text, size_t n, struct slv_err *err) {
    int rc = slv_grammar_read(c->m->tokenizer, text, n, &c->grammar, err);
    if (rc) return rc;
    rc = slv_masks_open_grammar(c->shared->text, c->grammar, &c->masks);
    return rc ? slv_err_set(err, rc, "%s", slv_strerror(rc)) : 0;
}

static int open_empty(struct slv_model *m, struct slv_constraint **ret, struct slv_err *err) {
    void *shared = NULL;
    struct slv_constraint *c = slv_mem_calloc(1, sizeof *c);
    if (!c) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    if (pthread_mutex_init(&c->lock, NULL)) {
        slv_mem_free(c);
        return slv_err_set(err, SLV_E_NOMEM, "no lock");
    }
    c->m = m;
    const int rc = slv_model_share(m, make_shared, close_shared, &shared, err);
    c->shared = shared;
    if (rc) slv_constraint_close(c);
    else *ret = c;
    return rc;
}

int slv_constraint_open(struct slv_model *m, const char *schema, size_t n,
                        struct slv_constraint **ret, char *ret_pointer, struct slv_err *err) {
    struct slv_constraint *c = NULL;
    if (ret_pointer) ret_pointer[0] = 0;
    int rc = open_empty(m, &c, err);
    if (rc) return rc;
    rc = open_schema(c, schema, n, ret_pointer, err);
    if (rc) slv_constraint_close(c);
    else *ret = c;
    return rc;
}

int slv_grammar_open(struct slv_model *m, const char *text, size_t n, struct slv_constraint **ret,
                     struct slv_err *err) {
    struct slv_constraint *c = NULL;
    int rc = open_empty(m, &c, err);
    if (rc) return rc;
    rc = open_grammar(c, text, n, err);
    if (rc) slv_constraint_close(c);
    else *ret = c;
    return rc;
}

void slv_constraint_close(struct slv_constraint *c) {
    if (!c) return;
    slv_masks_close(c->masks);
    slv_schema_close(c->schema);
    slv_grammar_free(c->grammar);
    pthread_mutex_destroy(&c->lock);
    slv_mem_free(c);
}

/* --- guides ----------------------------------------------------------------------------------- */

static int open_matcher(struct slv_constraint *c, struct slv_matcher **ret) {
    pthread_mutex_lock(&c->lock);
    const int rc = c->grammar ? slv_matcher_open_grammar(c->grammar, ret)
                              : slv_matcher_open(c->schema, 0, ret);
    pthread_mutex_unlock(&c->lock);
    return rc;
}

int slv_guide_open(const struct slv_constraint *c, struct slv_guide **ret) {
    struct slv_guide *g = slv_mem_calloc(1, sizeof *g);
    if (!g) return SLV_E_NOMEM;
    g->c = (struct slv_constraint *)(uintptr_t)c;
    slv_buf_init(&g->text, SLV_MATCHER_MAX_BYTES);
    const size_t words = slv_mask_words(c->shared->lexicon), logits = (c->m->h.n_vocab + 63) / 64;
    g->bits = slv_mem_calloc(words > logits ? words : logits, sizeof *g->bits);
    const int rc = g->bits ? open_matcher(g->c, &g->at) : SLV_E_NOMEM;
    if (rc) slv_guide_close(g);
    else *ret = g;
    return rc;
}

void slv_guide_close(struct slv_guide *g) {
    if (!g) return;
    slv_matcher_close(g->at);
    slv_mem_free(g->bits);
    slv_buf_fini(&g->text);
    slv_ids_fini(&g->ids);
    slv_mem_free(g);
}

bool slv_guide_done(const struct slv_guide *g) { return slv_matcher_done(g->at); }
bool slv_guide_ended(const struct slv_guide *g) { return slv_matcher_ended(g->at); }

static int wrong(int rc, struct slv_err *err) {
    return slv_err_set(err, rc, "the constraint: %s", slv_strerror(rc));
}

int slv_guide_mask(struct slv_guide *g, const uint64_t **ret, struct slv_err *err) {
    struct slv_constraint *c = g->c;
    uint64_t any = 0;
    pthread_mutex_lock(&c->lock);
    const int rc = slv_mask_next(c->masks, g->at, g->bits);
    pthread_mutex_unlock(&c->lock);
    if (rc) return wrong(rc, err);
    for (size_t i = 0; i < slv_mask_words(c->shared->lexicon); i++)
        any |= g->bits[i];
    *ret = any ? g->bits : NULL;
    if (!slv_matcher_done(g->at)) /* else it could not be finished with this vocabulary */
        return any ? 0
                   : slv_err_set(err, SLV_E_UNSUPPORTED,
                                 "no token of the vocabulary goes on with what was written");
    for (size_t i = 0; any && i < c->shared->n_ends; i++)
        g->bits[c->shared->ends[i] / 64] |= (uint64_t)1 << (c->shared->ends[i] % 64);
    return 0;
}

int slv_guide_take(struct slv_guide *g, int32_t id, struct slv_err *err) {
    struct slv_constraint *c = g->c;
    const bool named = c->grammar && slv_grammar_names(c->grammar, id);
    slv_buf_clear(&g->text);
    int rc = named ? 0 : slv_token_bytes(c->m->tokenizer, id, false, false, &g->text);
    if (rc) return wrong(rc, err);
    pthread_mutex_lock(&c->lock);
    const bool taken = named ? slv_matcher_feed_token(g->at, id)
                             : slv_matcher_feed(g->at, g->text.data, g->text.len) == g->text.len;
    rc = slv_matcher_status(g->at);
    pthread_mutex_unlock(&c->lock);
    if (rc) return wrong(rc, err);
    if (taken && (named || g->text.len)) return 0;
    return slv_err_set(err, SLV_E_USAGE, "token %d does not go on with what was written", id);
}

/* Whether a token that begins with s[0..n) and is longer may come: the matcher has taken that. */
static bool may_be_longer(const struct slv_lexicon *l, struct slv_matcher *m, const char *s,
                          size_t n) {
    const uint32_t at = slv_lexicon_find(l, s, n);
    for (uint32_t x = at + 1; at && x < l->end[at]; x = l->end[x]) {
        const struct slv_mark mark = slv_matcher_mark(m);
        const bool r = slv_matcher_try(m, l->byte[x]);
        slv_matcher_rewind(m, &mark);
        if (r) return true;
    }
    return false;
}

/* How many of the ids, whose bytes are s[0..n), are sure: the last is not if what comes behind it
 * might belong to it. */
static int sure(struct slv_guide *g, const char *s, size_t n, size_t *ret_n) {
    const struct slv_mark mark = slv_matcher_mark(g->at);
    size_t k = g->ids.n;
    slv_buf_clear(&g->text);
    for (size_t i = 0; i + 1 < k; i++) {
        const int rc = slv_token_bytes(g->c->m->tokenizer, g->ids.v[i], false, false, &g->text);
        if (rc) return rc;
    }
    const size_t from = g->text.len;
    for (size_t i = 0; i < n; i++)
        if (!slv_matcher_try(g->at, (unsigned char)s[i])) break;
    if (k && may_be_longer(g->c->shared->lexicon, g->at, s + from, n - from)) k--;
    slv_matcher_rewind(g->at, &mark);
    *ret_n = k;
    return slv_matcher_status(g->at);
}

/* The tokens of s[0..n), which must come next, that are sure. */
static int cut_forced(struct slv_guide *g, const char *s, size_t n, size_t *ret_n) {
    const struct slv_constraint *c = g->c;
    int rc = slv_lexicon_cut(c->shared->lexicon, c->m->tokenizer, s, n, &g->ids);
    for (size_t i = 0; c->grammar && i < g->ids.n; i++) /* a token that is named is no text */
        if (slv_grammar_names(c->grammar, g->ids.v[i])) g->ids.n = i;
    return rc ? rc : sure(g, s, n, ret_n);
}

int slv_guide_forced(struct slv_guide *g, int32_t *ids, size_t most, size_t *ret_n,
                     struct slv_err *err) {
    char s[FORCED_BYTES];
    size_t n = 0, k = 0;
    pthread_mutex_lock(&g->c->lock);
    int rc = slv_mask_forced(g->at, s, sizeof s, &n);
    g->ids.n = 0;
    while (n && ((unsigned char)s[n - 1] & 0x80)) /* whole characters only */
        n--;
    if (!rc && n) rc = cut_forced(g, s, n, &k);
    const int32_t token = !rc && !n ? slv_mask_forced_token(g->at) : -1;
    if (token >= 0) rc = slv_ids_add(&g->ids, token);
    k += token >= 0 && !rc;
    pthread_mutex_unlock(&g->c->lock);
    if (rc) return wrong(rc, err);
    k = k < most ? k : most;
    if (k) memcpy(ids, g->ids.v, k * sizeof *ids);
    *ret_n = k;
    return 0;
}
