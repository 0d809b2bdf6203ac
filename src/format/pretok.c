/* pretok.c: the matchers behind pretok.h.
 *
 * A matcher stands at byte `at` of a piece and says where its match ends, or that there is none.
 * Each follows the backtracking semantics of the expression it stands for (first alternative that
 * matches, greedy quantifiers), worked out by hand; the comments give the reasoning where the
 * shortcut is not plain. Checked against the engine the authors used (Oniguruma, through Hugging
 * Face tokenizers) by tests/golden/check_pretok.py.
 */
#include "format/pretok.h"
#include "base/utf8.h"
#include "format/uclass.h"

#include <string.h>

/* A piece being scanned. `run_*` remembers a run measured once, so that a rule that eats it in
 * bits does not measure it again: from run_at, which is where the next bit begins, run_left code
 * points remain up to run_end. */
struct scan {
    const char *s;
    size_t n;
    size_t run_at, run_end, run_left;
};

struct cp {
    uint32_t cp, cls;
    size_t len; /* 0: past the end; cls is 0 then, so that it is in no set but negated ones */
};

static struct cp peek(const struct scan *t, size_t at) {
    struct cp c = {0};
    if (at >= t->n) return c;
    unsigned char b = (unsigned char)t->s[at];
    if (b < 0x80) return (struct cp){.cp = b, .cls = slv_uclass_ascii[b], .len = 1};
    c.len = slv_utf8_decode(t->s + at, t->n - at, &c.cp);
    c.cls = slv_uclass_wide(c.cp);
    return c;
}

static bool in_ranges(const struct slv_range *r, uint32_t cp) {
    for (; r->hi; r++) {
        if (cp < r->lo) return false;
        if (cp <= r->hi) return true;
    }
    return false;
}

static bool in_set(unsigned id, struct cp c) {
    const struct slv_set *set = slv_pretok_sets + id;
    if (!c.len) return false;
    bool in = (c.cls & set->mask) != 0;
    if (!in && set->ranges) in = in_ranges(set->ranges, c.cp);
    if (in && set->except) in = !in_ranges(set->except, c.cp);
    return in != set->negate;
}

/* The end of up to `max` (0: any number) members of a set from `at` on; *ret_n how many. */
static size_t run(const struct scan *t, size_t at, unsigned set, size_t max, size_t *ret_n) {
    size_t count = 0;
    for (; !max || count < max; count++) {
        struct cp c = peek(t, at);
        if (!in_set(set, c)) break;
        at += c.len;
    }
    *ret_n = count;
    return at;
}

static size_t body_and_tail(const struct scan *t, size_t at, const struct slv_rule *r) {
    size_t count, end = run(t, at, r->body, r->max, &count);
    if (count < (r->min ? r->min : 1u)) return at;
    return r->tail ? run(t, end, r->tail, r->tail_max, &count) : end;
}

/* With the lead taken the body must follow; if it does not, the lead may be body itself. */
static size_t match_run(const struct scan *t, size_t at, const struct slv_rule *r) {
    if (r->lead) {
        struct cp c = peek(t, at);
        if (in_set(r->lead, c)) {
            size_t end = body_and_tail(t, at + c.len, r);
            if (end > at + c.len) return end;
        }
        if (r->must_lead) return at;
    }
    return body_and_tail(t, at, r);
}

/* The letter of an ASCII contraction. U+017F (long s) is an s where case does not count, as in
 * Oniguruma and in Python's regex: simple case folding takes it there. */
static char fold(struct cp c, bool any_case) {
    if (any_case && c.cp == 0x17f) return 's';
    if (c.cp >= 128) return '\0';
    return any_case && c.cp >= 'A' && c.cp <= 'Z' ? (char)(c.cp + 32) : (char)c.cp;
}

static size_t contraction(const struct scan *t, size_t at, bool any_case) {
    if (at >= t->n || t->s[at] != '\'') return at;
    struct cp a = peek(t, at + 1);
    char x = fold(a, any_case);
    if (x == 's' || x == 't' || x == 'm' || x == 'd') return at + 1 + a.len;
    struct cp b = peek(t, at + 1 + a.len);
    char y = fold(b, any_case);
    if ((x == 'r' && y == 'e') || (x == 'v' && y == 'e') || (x == 'l' && y == 'l'))
        return at + 1 + a.len + b.len;
    return at;
}

/* U* L+ : U* takes all it can; if no L follows it gives back up to its last member that is an L,
 * and L+ is that one alone, since what was given back behind it is none. */
static size_t camel_lower(const struct scan *t, size_t at, const struct slv_rule *r) {
    size_t both_end = at, p = at, count;
    for (;;) {
        struct cp c = peek(t, p);
        if (!in_set(r->lead, c)) break;
        p += c.len;
        if (in_set(r->body, c)) both_end = p;
    }
    size_t end = run(t, p, r->body, 0, &count);
    return count ? end : both_end;
}

/* U+ L* */
static size_t camel_upper(const struct scan *t, size_t at, const struct slv_rule *r) {
    size_t count, p = run(t, at, r->lead, 0, &count);
    return count ? run(t, p, r->body, 0, &count) : at;
}

/* [^\r\n\p{L}\p{N}]?U*L+ | [^\r\n\p{L}\p{N}]?U+L* with U the set `lead`, L the set `body`. Marks
 * are in all three sets, so each alternative is tried with and without the first code point. */
static size_t camel(const struct scan *t, size_t at, const struct slv_rule *r, bool suffix) {
    struct cp c = peek(t, at);
    size_t after = in_set(SLV_SET_NOT_CRLF_LETTER_NUMBER, c) ? at + c.len : at, end = at, e;
    if (after > at && (e = camel_lower(t, after, r)) > after) end = e;
    if (end == at) end = camel_lower(t, at, r);
    if (end == at && after > at && (e = camel_upper(t, after, r)) > after) end = e;
    if (end == at) end = camel_upper(t, at, r);
    return end > at && suffix ? contraction(t, end, true) : end;
}

/* \s* is greedy, so the match ends with the last line end of the run of white space. */
static size_t newlines(const struct scan *t, size_t at) {
    size_t end = at;
    for (struct cp c; (c = peek(t, at)).cls & SLV_U_WS;) {
        at += c.len;
        if (c.cls & SLV_U_CRLF) end = at;
    }
    return end;
}

/* All of a run that ends the piece, else all but its last. */
static size_t spaces_before(const struct scan *t, size_t at) {
    size_t last = at;
    for (struct cp c; (c = peek(t, at)).cls & SLV_U_WS;) {
        last = at;
        at += c.len;
    }
    return at == t->n ? at : last;
}

/* A run of white space either reaches the end of the piece, or no part of it does. (Oniguruma's `$`
 * is also true before a line feed; the models that use this rule have cut at line ends before.) */
static size_t spaces_at_end(const struct scan *t, size_t at, size_t *ret_skip) {
    size_t count, end = run(t, at, SLV_SET_WS, 0, &count);
    if (end == t->n) return end;
    if (count) *ret_skip = end;
    return at;
}

static void measure(struct scan *t, size_t at, unsigned set) {
    if (t->run_at == at && t->run_left) return;
    t->run_at = at;
    t->run_end = run(t, at, set, 0, &t->run_left);
}

/* Takes `count` code points off the measured run and returns where they end. */
static size_t take(struct scan *t, size_t at, size_t count) {
    for (size_t i = 0; i < count; i++)
        at += peek(t, at).len;
    t->run_left -= count;
    t->run_at = at;
    return at;
}

/* A bit of size k may be taken if k are there and what follows is not text: the run reaches
 * further or ends the piece. The smallest bits are one or two, then any one. */
static size_t spaces_halving(struct scan *t, size_t at) {
    measure(t, at, SLV_SET_WS);
    size_t left = t->run_left;
    bool ends = t->run_end == t->n;
    if (!left) return at;
    for (size_t k = 512; k >= 4; k /= 2)
        if (left > k || (left == k && ends)) return take(t, at, k);
    return take(t, at, left > 2 || (left == 2 && ends) ? 2 : 1);
}

/* Every bit of a run of digits is followed by a multiple of three more up to the run's end, if that
 * is a word's end; otherwise none is, wherever it begins. */
static size_t threes(struct scan *t, size_t at, size_t *ret_skip) {
    measure(t, at, SLV_SET_DECIMAL);
    if (!t->run_left) return at;
    if (in_set(SLV_SET_WORD, peek(t, t->run_end))) {
        *ret_skip = t->run_end;
        return at;
    }
    return take(t, at, (t->run_left - 1) % 3 + 1);
}

/* (?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+ from a letter on. */
static size_t phrase_letters(const struct scan *t, size_t at) {
    for (size_t count;;) {
        struct cp c = peek(t, at);
        size_t p = at + (c.cls & SLV_U_SPACE ? c.len : 0);
        c = peek(t, p);
        if (!(c.cls & SLV_U_L)) return at;
        at = run(t, p + c.len, SLV_SET_MARK, 0, &count);
    }
}

static size_t phrase(const struct scan *t, size_t at, const struct slv_rule *r) {
    struct cp c = peek(t, at);
    if (in_set(r->lead, c) && peek(t, at + c.len).cls & SLV_U_L)
        return phrase_letters(t, at + c.len);
    return c.cls & SLV_U_L ? phrase_letters(t, at) : at;
}

static size_t match_rule(struct scan *t, size_t at, const struct slv_rule *r, size_t *ret_skip) {
    switch ((enum slv_rule_kind)r->kind) {
    case SLV_RULE_RUN:
        return match_run(t, at, r);
    case SLV_RULE_CONTRACTION:
        return contraction(t, at, false);
    case SLV_RULE_CONTRACTION_I:
        return contraction(t, at, true);
    case SLV_RULE_CAMEL:
        return camel(t, at, r, false);
    case SLV_RULE_CAMEL_SUFFIX:
        return camel(t, at, r, true);
    case SLV_RULE_NEWLINES:
        return newlines(t, at);
    case SLV_RULE_SPACES_BEFORE:
        return spaces_before(t, at);
    case SLV_RULE_SPACES_AT_END:
        return spaces_at_end(t, at, ret_skip);
    case SLV_RULE_SPACES_HALVING:
        return spaces_halving(t, at);
    case SLV_RULE_THREES:
        return threes(t, at, ret_skip);
    case SLV_RULE_PHRASE:
        return phrase(t, at, r);
    case SLV_RULE_END:
        break;
    }
    return at;
}

struct job {
    const struct slv_pretok *pretok;
    slv_word_fn fn;
    void *ctx;
};

static int split(const struct job *job, size_t pass, const char *s, size_t n);

static int give(const struct job *job, size_t pass, const char *s, size_t n) {
    if (!n) return 0;
    bool last = pass + 1 >= SLV_PRETOK_PASSES || !job->pretok->pass[pass + 1];
    return last ? job->fn(job->ctx, s, n) : split(job, pass + 1, s, n);
}

/* Recursion is as deep as there are passes. */
static int split(const struct job *job, size_t pass, const char *s, size_t n) {
    const struct slv_rule *rules = job->pretok->pass[pass];
    struct scan t = {.s = s, .n = n};
    size_t from = 0, at = 0;
    while (at < n) {
        size_t end = at, skip = at + peek(&t, at).len;
        for (const struct slv_rule *r = rules; end == at && r->kind != SLV_RULE_END; r++)
            end = match_rule(&t, at, r, &skip);
        if (end == at) {
            at = skip;
            continue;
        }
        int rc = give(job, pass, s + from, at - from);
        if (!rc) rc = give(job, pass, s + at, end - at);
        if (rc) return rc;
        from = at = end;
    }
    return give(job, pass, s + from, n - from);
}

int slv_pretok_split(const struct slv_pretok *p, const char *s, size_t n, slv_word_fn fn,
                     void *ctx) {
    struct job job = {.pretok = p, .fn = fn, .ctx = ctx};
    if (!n) return 0;
    return p->pass[0] ? split(&job, 0, s, n) : fn(ctx, s, n);
}
