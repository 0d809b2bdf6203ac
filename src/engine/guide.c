/* guide.c: see guide.h. */
#include "engine/guide.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "engine/constraint/mask.h"
#include "engine/model.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define FORCED_BYTES 512
/* Steps (lang.h) that an answer has for all its masks and for what is certain: half a second to
 * begin with, and ten milliseconds more with each token, where one is usual. */
#define STEPS_AT_FIRST ((uint64_t)32000000)
#define STEPS_A_TOKEN ((uint64_t)500000)

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
    size_t fixed, langs_at_first; /* bytes that do not grow; and of its languages when it was new */
    _Atomic size_t bytes;
    _Atomic bool worn;
    pthread_mutex_t lock; /* of their languages and of masks */
};

struct slv_guide {
    struct slv_model *m;
    struct shared *shared;
    struct slv_constraint *c; /* NULL: only the head is given */
    struct slv_matcher *at;   /* NULL with it */
    char head[SLV_GUIDE_HEAD_MAX];
    bool
        can[SLV_GUIDE_HEAD_MAX + 1]; /* by byte of the head: tokens can be found for what is left */
    size_t n_head, headed;           /* headed: bytes of it that were taken */
    uint64_t *bits;
    uint64_t steps; /* that are left to it */
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

static struct slv_langs *langs_of(const struct slv_constraint *c) {
    return c->grammar ? c->grammar->p : c->schema->c.p;
}

/* What is asked of it next is paid for from `steps`. */
static void begin(struct slv_constraint *c, const uint64_t *steps) {
    pthread_mutex_lock(&c->lock);
    slv_langs_allow(langs_of(c), *steps);
}

static void end(struct slv_constraint *c, uint64_t *steps) {
    const struct slv_langs *p = langs_of(c);
    const size_t bytes = slv_langs_bytes(p);
    const bool worn = slv_langs_nodes(p) > SLV_LANG_MAX_NODES / 2 ||
                      bytes > c->langs_at_first / 2 + SLV_LANG_MAX_BYTES / 2;
    atomic_store_explicit(&c->bytes, c->fixed + bytes + slv_masks_bytes(c->masks),
                          memory_order_relaxed);
    atomic_store_explicit(&c->worn, worn, memory_order_relaxed);
    *steps = slv_langs_left(p);
    pthread_mutex_unlock(&c->lock);
}

static int open_matcher(struct slv_constraint *c, uint64_t *steps, struct slv_matcher **ret) {
    begin(c, steps);
    const int rc = c->grammar ? slv_matcher_open_grammar(c->grammar, ret)
                              : slv_matcher_open(c->schema, 0, ret);
    end(c, steps);
    return rc;
}

/* Whether an answer can be begun, and its first token found. */
static int try_out(struct slv_constraint *c, struct slv_err *err) {
    struct slv_matcher *m = NULL;
    uint64_t *bits = slv_mem_calloc(slv_mask_words(c->shared->lexicon), sizeof *bits);
    uint64_t steps = STEPS_AT_FIRST;
    c->langs_at_first = slv_langs_bytes(langs_of(c));
    c->fixed = sizeof *c +
               (c->schema ? slv_schema_bytes(c->schema) : slv_grammar_bytes(c->grammar)) -
               c->langs_at_first;
    int rc = bits ? open_matcher(c, &steps, &m) : SLV_E_NOMEM;
    begin(c, &steps);
    if (!rc) rc = slv_mask_next(c->masks, m, bits);
    const char *why = slv_langs_status(langs_of(c)) ? slv_langs_why(langs_of(c)) : "too many ways";
    end(c, &steps);
    slv_matcher_close(m);
    slv_mem_free(bits);
    if (rc != SLV_E_LIMIT) return rc ? slv_err_set(err, rc, "%s", slv_strerror(rc)) : 0;
    return slv_err_set(err, rc, "an answer's first token: %s", why);
}

static int open_schema(struct slv_constraint *c, const char *schema, size_t n, char *ret_pointer,
                       struct slv_err *err) {
    const struct slv_schema_options o = SLV_SCHEMA_WRITTEN;
    int rc = slv_schema_open(schema, n, &o, &c->schema, ret_pointer, err);
    if (rc) return rc;
    if (!slv_schema_has_values(c->schema))
        return slv_err_set(err, SLV_E_UNSUPPORTED, "no value meets the schema");
    rc = slv_masks_open(c->shared->text, c->schema, &c->masks);
    return rc ? slv_err_set(err, rc, "%s", slv_strerror(rc)) : try_out(c, err);
}

static int open_grammar(struct slv_constraint *c, const char *text, size_t n, struct slv_err *err) {
    int rc = slv_grammar_read(c->m->tokenizer, text, n, &c->grammar, err);
    if (rc) return rc;
    rc = slv_masks_open_grammar(c->shared->text, c->grammar, &c->masks);
    return rc ? slv_err_set(err, rc, "%s", slv_strerror(rc)) : try_out(c, err);
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

/* As they were when it was last used: nobody waits for who uses it now. */
bool slv_constraint_is_worn(const struct slv_constraint *c) {
    return atomic_load_explicit(&c->worn, memory_order_relaxed);
}

size_t slv_constraint_bytes(const struct slv_constraint *c) {
    return atomic_load_explicit(&c->bytes, memory_order_relaxed);
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

/* From which bytes of the head on there are tokens up to its end. */
static void find_cuts(struct slv_guide *g) {
    const struct slv_lexicon *l = g->shared->lexicon;
    g->can[g->n_head] = true;
    for (size_t i = g->n_head; i-- > 0;)
        for (size_t n = 1; i + n <= g->n_head && !g->can[i]; n++) {
            const uint32_t at = slv_lexicon_find(l, g->head + i, n);
            if (!at) break;
            g->can[i] = g->can[i + n] && l->token[at] >= 0;
        }
}

static int open_on(struct slv_guide *g) {
    void *shared = NULL;
    int rc = slv_model_share(g->m, make_shared, close_shared, &shared, NULL);
    if (rc) return rc;
    g->shared = shared;
    find_cuts(g);
    const size_t words = slv_mask_words(g->shared->lexicon), logits = (g->m->h.n_vocab + 63) / 64;
    g->bits = slv_mem_calloc(words > logits ? words : logits, sizeof *g->bits);
    if (!g->bits) return SLV_E_NOMEM;
    return g->c ? open_matcher(g->c, &g->steps, &g->at) : 0;
}

int slv_guide_open(const struct slv_constraint *c, struct slv_model *m, const char *head,
                   size_t n_head, struct slv_guide **ret) {
    struct slv_guide *g = slv_mem_calloc(1, sizeof *g);
    if (!g) return SLV_E_NOMEM;
    g->c = (struct slv_constraint *)(uintptr_t)c;
    g->m = m;
    g->n_head = n_head;
    g->steps = STEPS_AT_FIRST;
    if (n_head) memcpy(g->head, head, n_head);
    slv_buf_init(&g->text, SLV_MATCHER_MAX_BYTES);
    const int rc = open_on(g);
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

bool slv_guide_holds(const struct slv_guide *g) { return g->c || g->headed < g->n_head; }

bool slv_guide_done(const struct slv_guide *g) {
    return g->c && g->headed == g->n_head && slv_matcher_done(g->at);
}

bool slv_guide_ended(const struct slv_guide *g) {
    return slv_guide_done(g) && slv_matcher_ended(g->at);
}

static int wrong(int rc, struct slv_err *err) {
    return slv_err_set(err, rc, "the constraint: %s", slv_strerror(rc));
}

/* --- the head --------------------------------------------------------------------------------- */

static void set_tokens(const struct slv_lexicon *l, uint32_t node, uint64_t *bits) {
    for (int32_t t = l->token[node]; t >= 0; t = l->same[t])
        bits[t / 64] |= (uint64_t)1 << (t % 64);
}

/* Tokens that are a part of what is left of the head, or that and a beginning of what follows. */
static int head_tokens(struct slv_guide *g) {
    const struct slv_lexicon *l = g->shared->lexicon;
    const char *rest = g->head + g->headed;
    const size_t n = g->n_head - g->headed;
    uint32_t at = 0;
    memset(g->bits, 0, slv_mask_words(l) * sizeof *g->bits);
    for (size_t i = 1; i <= n && (at = slv_lexicon_find(l, rest, i)) != 0; i++)
        if (g->can[g->headed + i]) set_tokens(l, at, g->bits);
    for (uint32_t i = at + 1; !g->c && at && i < l->end[at]; i++)
        set_tokens(l, i, g->bits);
    const int rc = g->c && at ? slv_mask_under(g->c->masks, g->at, at, g->bits) : 0;
    const struct slv_grammar *names = g->c ? g->c->grammar : NULL;
    for (size_t i = 0; names && i < names->n_tokens; i++)
        g->bits[names->tokens[i] / 64] &= ~((uint64_t)1 << (names->tokens[i] % 64));
    return rc;
}

static int head_mask(struct slv_guide *g, const uint64_t **ret, struct slv_err *err) {
    uint64_t any = 0;
    if (g->c) begin(g->c, &g->steps);
    const int rc = head_tokens(g);
    if (g->c) end(g->c, &g->steps);
    if (rc) return wrong(rc, err);
    for (size_t i = 0; i < slv_mask_words(g->shared->lexicon); i++)
        any |= g->bits[i];
    if (!any) return slv_err_set(err, SLV_E_UNSUPPORTED, "no token goes on with the answer's head");
    *ret = g->bits;
    return 0;
}

/* Takes what the token's text has of the head; *ret_n: its bytes. False: it has something else. */
static bool take_head(struct slv_guide *g, size_t *ret_n) {
    const size_t left = g->n_head - g->headed;
    const size_t n = g->text.len < left ? g->text.len : left;
    if (n && memcmp(g->text.data, g->head + g->headed, n) != 0) return false;
    g->headed += n;
    *ret_n = n;
    return true;
}

/* --- masks ------------------------------------------------------------------------------------ */

int slv_guide_mask(struct slv_guide *g, const uint64_t **ret, struct slv_err *err) {
    struct slv_constraint *c = g->c;
    uint64_t any = 0;
    if (g->headed < g->n_head) return head_mask(g, ret, err);
    begin(c, &g->steps);
    const int rc = slv_mask_next(c->masks, g->at, g->bits);
    end(c, &g->steps);
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
    const bool named = c && c->grammar && slv_grammar_names(c->grammar, id);
    const bool in_head = g->headed < g->n_head;
    size_t n = 0;
    slv_buf_clear(&g->text);
    if (!slv_guide_holds(g)) return 0;
    int rc = named ? 0 : slv_token_bytes(g->m->tokenizer, id, false, false, &g->text);
    if (rc) return wrong(rc, err);
    bool taken = named ? !in_head : g->text.len && take_head(g, &n);
    if (taken && c && (named || n < g->text.len)) {
        g->steps += STEPS_A_TOKEN;
        begin(c, &g->steps);
        taken = named
                    ? slv_matcher_feed_token(g->at, id)
                    : slv_matcher_feed(g->at, g->text.data + n, g->text.len - n) + n == g->text.len;
        rc = slv_matcher_status(g->at);
        end(c, &g->steps);
    }
    if (rc) return wrong(rc, err);
    if (taken) return 0;
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
    *ret_n = 0;
    if (!g->c || g->headed < g->n_head) return 0;
    begin(g->c, &g->steps);
    int rc = slv_mask_forced(g->at, s, sizeof s, &n);
    g->ids.n = 0;
    while (n && ((unsigned char)s[n - 1] & 0x80)) /* whole characters only */
        n--;
    if (!rc && n) rc = cut_forced(g, s, n, &k);
    const int32_t token = !rc && !n ? slv_mask_forced_token(g->at) : -1;
    if (token >= 0) rc = slv_ids_add(&g->ids, token);
    k += token >= 0 && !rc;
    end(g->c, &g->steps);
    if (rc) return wrong(rc, err);
    k = k < most ? k : most;
    if (k) memcpy(ids, g->ids.v, k * sizeof *ids);
    *ret_n = k;
    return 0;
}

/* --- prompts that end inside a token ---------------------------------------------------------- */

static bool is_text(const struct slv_tokenizer *t, int32_t id) {
    const enum slv_token_kind k = slv_tokenizer_kind(t, id);
    return (k == SLV_TOKEN_NORMAL || k == SLV_TOKEN_USER || k == SLV_TOKEN_BYTE) &&
           !slv_tokenizer_is_end(t, id);
}

#define HEALED_TOKENS 8u /* most that are left off */

/* The text of ids[0..n), appended to out, if a longer token begins with it. */
static int begins_token(const struct slv_model *m, const struct slv_lexicon *l, const int32_t *ids,
                        size_t n, struct slv_buf *out, bool *ret) {
    *ret = false;
    slv_buf_clear(out);
    for (size_t i = 0; i < n; i++) {
        const int rc = slv_token_bytes(m->tokenizer, ids[i], false, false, out);
        if (rc) return rc;
    }
    const uint32_t at =
        out->len <= SLV_GUIDE_HEAD_MAX ? slv_lexicon_find(l, out->data, out->len) : 0;
    *ret = at && l->end[at] > at + 1 && slv_utf8_valid(out->data, out->len, NULL);
    return 0;
}

int slv_model_heal(struct slv_model *m, const int32_t *ids, size_t n, size_t *ret_n,
                   struct slv_text *ret_head, struct slv_err *err) {
    struct slv_buf text, best;
    void *shared = NULL;
    size_t keep = n;
    int rc = slv_model_share(m, make_shared, close_shared, &shared, err);
    if (rc) return rc;
    const struct shared *s = shared;
    slv_buf_init(&text, SLV_MATCHER_MAX_BYTES);
    slv_buf_init(&best, SLV_MATCHER_MAX_BYTES);
    for (size_t k = 1; !rc && k <= HEALED_TOKENS && k < n && is_text(m->tokenizer, ids[n - k]);
         k++) {
        bool longer;
        rc = begins_token(m, s->lexicon, ids + n - k, k, &text, &longer);
        if (rc || !longer) continue;
        slv_buf_clear(&best);
        rc = slv_buf_add(&best, text.data, text.len);
        keep = n - k;
    }
    slv_buf_fini(&text);
    struct slv_text head = {0};
    if (!rc) head.p = slv_buf_take(&best, &head.n);
    if (!rc && !head.p) rc = SLV_E_NOMEM;
    slv_buf_fini(&best);
    if (rc) return slv_err_set(err, rc, "the prompt's end: %s", slv_strerror(rc));
    *ret_n = keep;
    *ret_head = head;
    return 0;
}
