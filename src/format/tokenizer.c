/* tokenizer.c: see tokenizer.h. Owns a tokenizer's life and the first cut of every text: at tokens
 * that are written out in it.
 *
 * User-defined tokens are found in any text, control and unknown ones only on request. At each
 * place the longest is taken, from the left, as Hugging Face tokenizers and SentencePiece do; the
 * stretches between are plain text for the model's own method. */
#define _GNU_SOURCE /* memmem */
#include "format/tokenizer.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "format/tok_int.h"
#include "format/uclass.h"

#include <stdio.h>
#include <string.h>

/* --- ids -------------------------------------------------------------------------------------- */

void slv_ids_fini(struct slv_ids *ids) {
    if (!ids) return;
    slv_mem_free(ids->v);
    *ids = (struct slv_ids){0};
}

int slv_ids_add(struct slv_ids *ids, int32_t id) {
    int rc = slv_mem_grow((void **)&ids->v, ids->n, &ids->cap, sizeof *ids->v, SIZE_MAX / 8);
    if (!rc) ids->v[ids->n++] = id;
    return rc;
}

/* --- opening and closing ---------------------------------------------------------------------- */

static const struct {
    const char *name; /* in tokenizer.ggml.model */
    enum slv_tok_model model;
    const char *pre; /* the pre-tokenizer, where the model alone says it */
    bool raw;
} models[] = {
    {"gpt2", SLV_TOK_BPE, NULL, false}, {"gemma4", SLV_TOK_BPE, "gemma4", true},
    {"llama", SLV_TOK_SPM, NULL, true}, {"t5", SLV_TOK_UNIGRAM, NULL, true},
    {"bert", SLV_TOK_WPM, NULL, true},
};

static int printable(struct slv_str s) { return s.n < 64 ? (int)s.n : 64; }

static int choose_pretok(struct slv_tokenizer *t, const struct slv_gguf *g, const char *fixed,
                         struct slv_err *err) {
    struct slv_str pre = {"default", 7};
    if (fixed) {
        pre = (struct slv_str){fixed, strlen(fixed)};
    } else if (slv_gguf_has(g, "tokenizer.ggml.pre") &&
               !slv_gguf_str(g, "tokenizer.ggml.pre", &pre)) {
        return slv_err_set(err, SLV_E_FORMAT, "tokenizer.ggml.pre is not a string");
    }
    if (!pre.n) pre = (struct slv_str){"default", 7};
    t->pretok = slv_pretok_find(pre);
    if (!t->pretok)
        return slv_err_set(err, SLV_E_UNSUPPORTED, "pre-tokenizer '%.*s' is not known",
                           printable(pre), pre.p);
    if (t->pretok->flags & SLV_PRETOK_RAW) t->raw = true;
    return 0;
}

static int choose_model(struct slv_tokenizer *t, const struct slv_gguf *g, struct slv_err *err) {
    struct slv_str name;
    size_t i = 0;
    if (!slv_gguf_str(g, "tokenizer.ggml.model", &name))
        return slv_err_set(err, SLV_E_FORMAT, "tokenizer.ggml.model is missing or not a string");
    while (i < sizeof models / sizeof models[0] &&
           (strlen(models[i].name) != name.n || memcmp(models[i].name, name.p, name.n)))
        i++;
    if (i == sizeof models / sizeof models[0])
        return slv_err_set(err, SLV_E_UNSUPPORTED, "tokenizer model '%.*s' is not known",
                           printable(name), name.p);
    t->model = models[i].model;
    t->raw = models[i].raw;
    int rc = t->model == SLV_TOK_BPE ? choose_pretok(t, g, models[i].pre, err) : 0;
    bool two = t->pretok && !models[i].pre;
    snprintf(t->name, sizeof t->name, "%s%s%s", models[i].name, two ? "/" : "",
             two ? t->pretok->name : "");
    return rc;
}

static int load_words(struct slv_tokenizer *t, struct slv_err *err) {
    int rc = 0;
    for (uint32_t id = 0; !rc && id < t->n; id++) {
        if (!(t->attr[id] & SLV_TOK_TEXT) || !t->piece[id].n) continue;
        rc = slv_tok_seek(t, &t->words, id, err);
    }
    return rc;
}

int slv_tokenizer_open(const struct slv_gguf *g, struct slv_tokenizer **ret, struct slv_err *err) {
    struct slv_tokenizer *t = slv_mem_calloc(1, sizeof *t);
    if (!t) return slv_err_set(err, SLV_E_NOMEM, "out of memory for the tokenizer");
    int rc = choose_model(t, g, err);
    if (!rc) rc = slv_tok_vocab_load(t, g, err);
    if (!rc) rc = slv_tok_specials_load(t, g, err);
    if (!rc && t->model == SLV_TOK_BPE) rc = slv_tok_merges_load(t, g, err);
    if (!rc && t->model == SLV_TOK_UNIGRAM) rc = slv_tok_unigram_load(t, g, err);
    if (!rc && (t->model == SLV_TOK_UNIGRAM || t->model == SLV_TOK_WPM)) rc = load_words(t, err);
    if (rc) {
        slv_tokenizer_close(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void slv_tokenizer_close(struct slv_tokenizer *t) {
    if (!t) return;
    slv_mem_free(t->piece);
    slv_mem_free(t->attr);
    slv_mem_free(t->score);
    slv_mem_free(t->slot);
    slv_mem_free(t->merge);
    slv_mem_free(t->charsmap);
    slv_trie_fini(&t->special);
    slv_trie_fini(&t->user);
    slv_trie_fini(&t->words);
    slv_mem_free(t);
}

/* --- text -> ids ------------------------------------------------------------------------------ */

static void work_fini(struct slv_tok_work *w) {
    slv_mem_free(w->sym);
    slv_mem_free(w->heap);
    slv_mem_free(w->best);
    slv_buf_fini(&w->text);
    slv_buf_fini(&w->word);
}

static int plain(struct slv_tok_work *w, const char *s, size_t n) {
    switch (w->t->model) {
    case SLV_TOK_BPE:
        return slv_tok_bpe(w, s, n);
    case SLV_TOK_SPM:
        return slv_tok_spm(w, s, n);
    case SLV_TOK_UNIGRAM:
        return slv_tok_unigram(w, s, n);
    case SLV_TOK_WPM:
        return slv_tok_wpm(w, s, n);
    }
    return SLV_E_INTERNAL;
}

static size_t skip_spaces(const char *s, size_t n, size_t at) {
    while (at < n) {
        uint32_t cp;
        size_t used = slv_utf8_decode(s + at, n - at, &cp);
        if (!(slv_uclass(cp) & SLV_U_WS)) break;
        at += used;
    }
    return at;
}

/* Where s[0..end) ends without the white space at its end, not before `from`. */
static size_t trim_spaces(const char *s, size_t from, size_t end) {
    while (end > from) {
        size_t at = end - 1;
        uint32_t cp;
        while (at > from && ((unsigned char)s[at] & 0xc0) == 0x80)
            at--;
        slv_utf8_decode(s + at, end - at, &cp);
        if (!(slv_uclass(cp) & SLV_U_WS)) break;
        end = at;
    }
    return end;
}

/* Plain text in which guards may stand: they have done their work and go. */
static int plain_unguarded(struct slv_tok_work *w, const char *s, size_t n) {
    const size_t len = sizeof SLV_TOKEN_GUARD - 1;
    const char *g = memmem(s, n, SLV_TOKEN_GUARD, len);
    if (!g) return plain(w, s, n);
    char *bare = slv_mem_alloc(n);
    size_t used = 0;
    if (!bare) return SLV_E_NOMEM;
    for (; g; g = memmem(s, n, SLV_TOKEN_GUARD, len)) {
        size_t part = (size_t)(g - s);
        memcpy(bare + used, s, part);
        used += part;
        s += part + len;
        n -= part + len;
    }
    memcpy(bare + used, s, n);
    used += n;
    int rc = used ? plain(w, bare, used) : 0;
    slv_mem_free(bare);
    return rc;
}

/* Whether a guard keeps the token at s[at] from being read. User-defined ones are text anyway. */
static bool is_guarded(const struct slv_tokenizer *t, const char *s, size_t at, int32_t id) {
    const size_t len = sizeof SLV_TOKEN_GUARD - 1;
    return at >= len && slv_tok_kind(t, id) != SLV_TOKEN_USER &&
           !memcmp(s + at - len, SLV_TOKEN_GUARD, len);
}

static int cut_at_tokens(struct slv_tok_work *w, const char *s, size_t n, unsigned flags) {
    const struct slv_trie *trie = flags & SLV_TOKENIZE_SPECIAL ? &w->t->special : &w->t->user;
    const bool guards = (flags & SLV_TOKENIZE_GUARDS) != 0;
    int rc = 0;
    for (size_t from = 0, at = 0, len = 0; !rc && from < n;) {
        int32_t id = -1;
        for (; at < n; at++, id = -1)
            if ((id = slv_trie_longest(trie, s + at, n - at, &len)) >= 0 &&
                !(guards && is_guarded(w->t, s, at, id)))
                break;
        uint8_t attr = id >= 0 ? w->t->attr[id] : 0;
        size_t end = attr & SLV_TOK_LSTRIP ? trim_spaces(s, from, at) : at;
        if (end > from) rc = (guards ? plain_unguarded : plain)(w, s + from, end - from);
        if (rc || id < 0) break;
        rc = slv_ids_add(w->out, id);
        from = at = attr & SLV_TOK_RSTRIP ? skip_spaces(s, n, at + len) : at + len;
    }
    return rc;
}

static int tokenize_valid(struct slv_tok_work *w, const char *s, size_t n, unsigned flags) {
    const struct slv_tokenizer *t = w->t;
    bool add = (flags & SLV_TOKENIZE_ADD) != 0;
    int32_t last = slv_tokenizer_after(t);
    int rc = 0;
    if (add && t->add_bos && t->bos >= 0) rc = slv_ids_add(w->out, t->bos);
    if (!rc) rc = cut_at_tokens(w, s, n, flags);
    if (!rc && add && last >= 0) rc = slv_ids_add(w->out, last);
    return rc;
}

int slv_tokenize(const struct slv_tokenizer *t, const char *text, size_t n, unsigned flags,
                 struct slv_ids *out) {
    struct slv_tok_work w = {.t = t, .out = out};
    size_t before = out->n;
    char *repaired = NULL;
    if (n > SLV_TOK_MAX_TEXT) return SLV_E_LIMIT;
    if (!slv_utf8_valid(text, n, NULL)) {
        repaired = slv_mem_alloc(3 * n);
        if (!repaired) return SLV_E_NOMEM;
        n = slv_utf8_repair(text, n, repaired, NULL);
        text = repaired;
    }
    slv_buf_init(&w.text, UINT32_MAX - 16);
    slv_buf_init(&w.word, 4 * (size_t)SLV_TOK_MAX_PIECE);
    int rc = tokenize_valid(&w, text, n, flags);
    if (rc) out->n = before;
    work_fini(&w);
    slv_mem_free(repaired);
    return rc;
}

/* A token of one character has no inside: its guard goes before it, and reaches no further. A guard
 * inside a longer one never ends the text, so that what a template puts behind it is not kept from
 * being read. */
int slv_token_guard(const struct slv_tokenizer *t, const char *text, size_t n,
                    struct slv_buf *out) {
    for (size_t at = 0; at < n;) {
        size_t len = 0, other_len = 0;
        uint32_t cp;
        size_t first = slv_utf8_decode(text + at, n - at, &cp);
        int32_t id = slv_trie_longest(&t->special, text + at, n - at, &len);
        int32_t single = slv_trie_longest(&t->special, text + at, first, &other_len);
        bool user = id >= 0 && slv_trie_longest(&t->user, text + at, n - at, &other_len) == id;
        bool own_guard = first == sizeof SLV_TOKEN_GUARD - 1 &&
                         !memcmp(text + at, SLV_TOKEN_GUARD, sizeof SLV_TOKEN_GUARD - 1);
        if (!user && single >= 0) slv_buf_adds(out, SLV_TOKEN_GUARD);
        if (own_guard) slv_buf_adds(out, "\xef\xbf\xbd");
        else slv_buf_add(out, text + at, user ? len : first);
        if (id >= 0 && !user && len > first) slv_buf_adds(out, SLV_TOKEN_GUARD);
        at += user ? len : first;
    }
    return out->status;
}

/* --- the vocabulary --------------------------------------------------------------------------- */

static bool has(const struct slv_tokenizer *t, int32_t id) {
    return id >= 0 && (uint32_t)id < t->n;
}

size_t slv_tokenizer_size(const struct slv_tokenizer *t) { return t->n; }

static size_t trie_bytes(const struct slv_trie *t) {
    return t->cap * sizeof *t->edges + t->node_cap * sizeof *t->value;
}

size_t slv_tokenizer_bytes(const struct slv_tokenizer *t) {
    size_t each = sizeof *t->piece + sizeof *t->attr + (t->score ? sizeof *t->score : 0);
    return sizeof *t + t->n * each + t->slot_cap * sizeof *t->slot +
           t->merge_cap * sizeof *t->merge + trie_bytes(&t->special) + trie_bytes(&t->user) +
           trie_bytes(&t->words) + (t->charsmap_units * 4 + t->charsmap_text_n);
}

int32_t slv_tokenizer_after(const struct slv_tokenizer *t) {
    return !t->add_eos ? -1 : t->model == SLV_TOK_WPM ? t->sep : t->eos;
}

uint32_t slv_tokenizer_between(const struct slv_tokenizer *t) { return t->between; }

int32_t slv_tokenizer_bos(const struct slv_tokenizer *t) { return t->bos; }
int32_t slv_tokenizer_eos(const struct slv_tokenizer *t) { return t->eos; }
bool slv_tokenizer_adds_bos(const struct slv_tokenizer *t) { return t->add_bos && t->bos >= 0; }
const char *slv_tokenizer_name(const struct slv_tokenizer *t) { return t->name; }

bool slv_tokenizer_is_end(const struct slv_tokenizer *t, int32_t id) {
    return has(t, id) && (t->attr[id] & SLV_TOK_END);
}

struct slv_str slv_tokenizer_piece(const struct slv_tokenizer *t, int32_t id) {
    return has(t, id) ? t->piece[id] : (struct slv_str){"", 0};
}

enum slv_token_kind slv_tokenizer_kind(const struct slv_tokenizer *t, int32_t id) {
    return has(t, id) ? slv_tok_kind(t, id) : SLV_TOKEN_UNUSED;
}
