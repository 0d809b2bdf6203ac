/* tok_unigram.c: SentencePiece's unigram model (T5, XLM-R and the embedding models on them): the
 * text is normalized, then cut so that the scores of its pieces, log probabilities, add up to the
 * most. One walk from left to right keeps for each byte the best way to get there; from each
 * code point the trie gives all pieces that begin there.
 *
 * Normalization is a table in the file, the "precompiled charsmap":
 *
 *   u32 length of the array | array of u32 units | texts, each ended by NUL
 *
 * The array is an XOR-linked double array (Darts-clone): a unit holds the label of its edge in bits
 * 0-7 and 31, "has a value" in bit 8, and the offset of its children in bits 10-30, times 256 when
 * bit 9 is set. The value, in the low 31 bits of the child for label 0, is an offset into the
 * texts. The longest match at a place is replaced by its text. All offsets are checked as they are
 * followed; a table that points outside itself maps nothing there, and one that goes in circles or
 * whose texts do not end is followed only so far.
 *
 * Sources: Kudo, "Subword Regularization" (2018); sentencepiece's unigram_model.cc
 * (EncodeOptimized) and normalizer.cc; Yata's darts-clone for the units. */
#include "base/mem.h"
#include "base/utf8.h"
#include "format/tok_int.h"
#include "format/uclass.h"

#include <float.h>
#include <string.h>

#define UNK_PENALTY 10.0f /* what an unknown character costs below the least likely piece */

#define MAX_SOURCE 64u  /* bytes that one entry of the charsmap replaces; NFKC's have 18 or so */
#define MAX_TARGET 256u /* bytes it puts there; NFKC's longest have 33 */
#define MAX_GROWTH 16u  /* times that a text may get longer; U+FDFA's 3 bytes become 39 */

static uint32_t load_u32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* --- normalization ---------------------------------------------------------------------------- */

static bool unit(const struct slv_tokenizer *t, uint32_t i, uint32_t *ret) {
    if (i >= t->charsmap_units) return false;
    *ret = load_u32(t->charsmap + 4 + 4 * (size_t)i);
    return true;
}

static uint32_t children(uint32_t u) { return u >> 10 << ((u & 1u << 9) >> 6); }

/* The longest match at s: bytes of s it takes (0: none) and the text it becomes. */
static size_t charsmap_match(const struct slv_tokenizer *t, const char *s, size_t n,
                             struct slv_str *ret) {
    uint32_t u, value, at = 0;
    size_t best = 0;
    if (!unit(t, 0, &u)) return 0;
    at = children(u);
    for (size_t i = 0; i < n && i < MAX_SOURCE && s[i]; i++) {
        unsigned char c = (unsigned char)s[i];
        at ^= c;
        if (!unit(t, at, &u) || (u & (1u << 31 | 0xff)) != c) break;
        at ^= children(u);
        if (!(u >> 8 & 1) || !unit(t, at, &value)) continue;
        value &= ~(1u << 31);
        if (value >= t->charsmap_text_n) continue;
        const char *text = (const char *)t->charsmap_text + value;
        size_t room = t->charsmap_text_n - value;
        const char *end = memchr(text, 0, room < MAX_TARGET ? room : MAX_TARGET);
        if (!end) continue;
        *ret = (struct slv_str){text, (size_t)(end - text)};
        best = i + 1;
    }
    return best;
}

/* What is at s after normalization, and in *ret_used how many bytes of s that stands for. User
 * pieces are kept as they are. */
static struct slv_str normalize_one(const struct slv_tokenizer *t, const char *s, size_t n,
                                    size_t *ret_used) {
    struct slv_str text;
    uint32_t cp;
    if (slv_trie_longest(&t->user, s, n, ret_used) >= 0) return (struct slv_str){s, *ret_used};
    *ret_used = charsmap_match(t, s, n, &text);
    if (*ret_used) return text;
    *ret_used = slv_utf8_decode(s, n, &cp);
    return (struct slv_str){s, *ret_used};
}

/* Whether other white space at *at of s parts words too; *at is its last byte then. */
static bool is_white(const struct slv_tokenizer *t, struct slv_str s, size_t *at) {
    uint32_t cp;
    if (!t->any_space || ((unsigned char)s.p[*at] & 0xc0) == 0x80) return false;
    const size_t used = slv_utf8_decode(s.p + *at, s.n - *at, &cp);
    if (!(slv_uclass(cp) & SLV_U_WS)) return false;
    *at += used - 1;
    return true;
}

/* Spaces become U+2581. With merge_spaces there is one before each run of other text but the first;
 * add_space puts one there too. */
static int normalize(struct slv_tok_work *w, const char *s, size_t n) {
    const struct slv_tokenizer *t = w->t;
    bool begun = false, in_text = false;
    size_t max = w->text.max;
    slv_buf_clear(&w->text);
    w->text.max = n < max / MAX_GROWTH - 4 ? MAX_GROWTH * n + 64 : max;
    for (size_t i = 0, used; i < n && !w->text.status; i += used) {
        struct slv_str one = normalize_one(t, s + i, n - i, &used);
        for (size_t k = 0; k < one.n; k++) {
            if (one.p[k] == ' ' || is_white(t, one, &k)) {
                in_text = false;
                if (!t->merge_spaces) slv_buf_adds(&w->text, SLV_TOK_SPACE);
                continue;
            }
            if (!in_text && (begun ? t->merge_spaces : t->add_space))
                slv_buf_adds(&w->text, SLV_TOK_SPACE);
            begun = in_text = true;
            slv_buf_addc(&w->text, one.p[k]);
        }
    }
    if (t->keep_last_space && !in_text) slv_buf_adds(&w->text, SLV_TOK_SPACE);
    w->text.max = max;
    return w->text.status;
}

/* --- the best cut ----------------------------------------------------------------------------- */

static void offer(struct slv_tok_best *to, double score, size_t from, int32_t id) {
    if (score > to->score) *to = (struct slv_tok_best){score, (uint32_t)from, id};
}

/* All pieces that begin at `at`; a code point that is none by itself may be unknown. */
static void extend(const struct slv_tokenizer *t, struct slv_tok_best *best, const char *s,
                   size_t n, size_t at, size_t cp_len) {
    double here = best[at].score;
    bool whole_cp = false;
    uint32_t node = 0;
    for (size_t i = at; i < n; i++) {
        node = slv_trie_step(&t->words, node, (unsigned char)s[i]);
        if (!node) break;
        int32_t id = t->words.value[node];
        if (id < 0) continue;
        if (i + 1 - at == cp_len) whole_cp = true;
        double score = slv_tok_kind(t, id) == SLV_TOKEN_USER ? 0.0 : (double)t->score[id];
        offer(best + i + 1, here + score, at, id);
    }
    if (!whole_cp) offer(best + at + cp_len, here + (double)t->unk_score, at, t->unk);
}

/* From the end back; unknown tokens that follow each other are one. Appended, then turned round. */
static int collect(struct slv_tok_work *w, size_t n) {
    size_t first = w->out->n;
    int32_t last = -1;
    int rc = 0;
    for (size_t at = n; !rc && at > 0; at = w->best[at].from) {
        int32_t id = w->best[at].id;
        if (id != w->t->unk || last != w->t->unk) rc = slv_ids_add(w->out, id);
        last = id;
    }
    for (size_t i = first, j = w->out->n; i + 1 < j; i++) {
        int32_t id = w->out->v[i];
        w->out->v[i] = w->out->v[--j];
        w->out->v[j] = id;
    }
    return rc;
}

int slv_tok_unigram(struct slv_tok_work *w, const char *s, size_t n) {
    int rc = normalize(w, s, n);
    if (rc) return rc;
    const char *text = w->text.data;
    size_t len = w->text.len;
    if (len + 1 > w->best_cap) {
        size_t bytes;
        if (!slv_size_mul(len + 1, sizeof *w->best, &bytes)) return SLV_E_LIMIT;
        struct slv_tok_best *p = slv_mem_realloc(w->best, bytes);
        if (!p) return SLV_E_NOMEM;
        w->best = p;
        w->best_cap = len + 1;
    }
    for (size_t i = 0; i <= len; i++)
        w->best[i] = (struct slv_tok_best){i ? -DBL_MAX : 0.0, 0, w->t->unk};
    for (size_t at = 0, used; at < len; at += used) {
        uint32_t cp;
        used = slv_utf8_decode(text + at, len - at, &cp);
        extend(w->t, w->best, text, len, at, used);
    }
    return collect(w, len);
}

/* --- opening ---------------------------------------------------------------------------------- */

static int load_charsmap(struct slv_tokenizer *t, const struct slv_gguf *g, struct slv_err *err) {
    static const char key[] = "tokenizer.ggml.precompiled_charsmap";
    struct slv_gguf_array a;
    if (!slv_gguf_has(g, key)) return 0;
    if (!slv_gguf_arr(g, key, &a) || (a.kind != SLV_GGUF_U8 && a.kind != SLV_GGUF_I8))
        return slv_err_set(err, SLV_E_FORMAT, "%s is not an array of bytes", key);
    const size_t n = a.n;
    if (!n) return 0;
    if (!(t->charsmap = slv_mem_alloc(n)))
        return slv_err_set(err, SLV_E_NOMEM, "out of memory for %s", key);
    for (size_t i = 0; i < n; i++) {
        int64_t v = 0;
        if (!slv_gguf_arr_i64(&a, i, &v)) break;
        t->charsmap[i] = (unsigned char)v;
    }
    size_t array = n >= 4 ? load_u32(t->charsmap) : n;
    if (n < 4 || array > n - 4 || array % 4)
        return slv_err_set(err, SLV_E_FORMAT, "%s: its array does not fit in its %zu bytes", key,
                           n);
    t->charsmap_units = array / 4;
    t->charsmap_text = t->charsmap + 4 + array;
    t->charsmap_text_n = n - 4 - array;
    return 0;
}

int slv_tok_unigram_load(struct slv_tokenizer *t, const struct slv_gguf *g, struct slv_err *err) {
    float least = FLT_MAX;
    int rc = load_charsmap(t, g, err);
    for (uint32_t id = 0; !rc && id < t->n; id++) {
        bool normal = slv_tok_kind(t, (int32_t)id) == SLV_TOKEN_NORMAL;
        if (normal && t->score[id] < least) least = t->score[id];
    }
    if (rc) return rc;
    if (t->unk < 0)
        return slv_err_set(err, SLV_E_FORMAT, "tokenizer.ggml.unknown_token_id is missing");
    t->unk_score = (least == FLT_MAX ? 0.0f : least) - UNK_PENALTY;
    return 0;
}
