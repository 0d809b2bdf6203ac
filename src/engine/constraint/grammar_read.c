/* grammar_read.c: a grammar's text to expressions: see grammar.h.
 *
 * White space, lines' ends included, only separates; a definition ends where the next begins. */
#include "engine/constraint/grammar_int.h"
#include "engine/constraint/grammar_text.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <string.h>

static struct slv_gexpr *alternatives(struct slv_gtext *x);

static size_t line_of(const struct slv_gtext *x) {
    size_t line = 1;
    for (size_t i = 0; i < x->at && i < x->n; i++)
        line += x->s[i] == '\n';
    return line;
}

void *slv_gtext_fail(struct slv_gtext *x, int code, const char *fmt, ...) {
    va_list ap;
    if (x->rc) return NULL;
    x->rc = code;
    va_start(ap, fmt);
    slv_err_vset(x->err, code, fmt, ap);
    va_end(ap);
    return NULL;
}

/* At the place that is being read. */
static void *wrong(struct slv_gtext *x, int code, const char *what) {
    return slv_gtext_fail(x, code, "line %zu of the grammar: %s", line_of(x), what);
}

static void *unsupported(struct slv_gtext *x, const char *what) {
    return slv_gtext_fail(x, SLV_E_UNSUPPORTED, "line %zu of the grammar: %s not supported",
                          line_of(x), what);
}

/* --- names and definitions -------------------------------------------------------------------- */

static char peek(const struct slv_gtext *x, size_t at) { return at < x->n ? x->s[at] : 0; }

static bool begins(const struct slv_gtext *x, size_t at, const char *what) {
    const size_t n = strlen(what);
    return at <= x->n && x->n - at >= n && !memcmp(x->s + at, what, n);
}

static size_t past_blanks(const struct slv_gtext *x, size_t at) {
    while (peek(x, at) == ' ' || peek(x, at) == '\t')
        at++;
    return at;
}

/* Past white space and comments. */
static char skip(struct slv_gtext *x) {
    for (;;) {
        const char c = peek(x, x->at);
        if (c == '#' || begins(x, x->at, "//")) {
            while (x->at < x->n && x->s[x->at] != '\n')
                x->at++;
        } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') x->at++;
        else return c;
    }
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static size_t word_at(const struct slv_gtext *x, size_t at) {
    const size_t from = at;
    if (!x->gbnf && is_digit(peek(x, at))) return 0;
    for (;; at++) {
        const char c = peek(x, at);
        if (!is_letter(c) && !is_digit(c) && c != '_' && !(x->gbnf && c == '-')) break;
    }
    return at - from;
}

/* Past what Lark lets stand between a name and its colon: .priority, [attributes], {parameters}. */
static size_t past_extras(const struct slv_gtext *x, size_t at) {
    const char c = peek(x, at), close = c == '[' ? ']' : '}';
    if (c == '.') do
            at++;
        while (is_digit(peek(x, at)));
    if (c != '[' && c != '{') return at;
    while (at < x->n && x->s[at] != '\n' && x->s[at] != close)
        at++;
    return at + (peek(x, at) == close);
}

/* Whether a definition begins at `at`: a name and := */
static bool defines(const struct slv_gtext *x, size_t at) {
    const size_t n = word_at(x, at);
    if (!n) return false;
    at = past_blanks(x, at + n);
    if (x->gbnf) return begins(x, at, "::=");
    return peek(x, past_blanks(x, past_extras(x, at))) == ':';
}

/* A prefix of Lark's definitions, first on its line: how trees look, which there are none of. */
static bool defines_marked(const struct slv_gtext *x) {
    const char c = peek(x, x->at);
    if (x->gbnf || (c != '?' && c != '!')) return false;
    for (size_t i = x->at; i > 0 && x->s[i - 1] != '\n'; i--)
        if (x->s[i - 1] != ' ' && x->s[i - 1] != '\t') return false;
    return defines(x, x->at + 1);
}

/* --- expressions ------------------------------------------------------------------------------ */

static struct slv_gexpr *make(struct slv_gtext *x, enum slv_gexpr_kind kind) {
    if (x->rc) return NULL;
    if (x->n_exprs++ >= SLV_GRAMMAR_MAX_ITEMS) return wrong(x, SLV_E_LIMIT, "too many expressions");
    struct slv_gexpr *e = slv_arena_alloc(&x->mem, sizeof *e);
    if (!e) return wrong(x, SLV_E_NOMEM, "out of memory");
    e->kind = kind;
    return e;
}

static struct slv_gexpr *language(struct slv_gtext *x, slv_lang lang) {
    struct slv_gexpr *e = make(x, E_LANG);
    if (!e) return NULL;
    if (lang == SLV_LANG_FAIL) return wrong(x, slv_langs_status(x->g->p), slv_langs_why(x->g->p));
    if (slv_lang_is_none(x->g->p, lang))
        return wrong(x, SLV_E_UNSUPPORTED, "no string belongs to this terminal");
    e->lang = lang;
    return e;
}

/* What grammar_text.c found, or why it did not. */
static struct slv_gexpr *leaf(struct slv_gtext *x, int rc, slv_lang lang, const struct slv_err *e) {
    if (!rc) return language(x, lang);
    return slv_gtext_fail(x, rc, "line %zu of the grammar: %s", line_of(x), e->msg);
}

static struct slv_gexpr *literal(struct slv_gtext *x) {
    struct slv_err e;
    slv_lang lang = SLV_LANG_NONE;
    const int rc = slv_gram_literal(x->g->p, x->s, x->n, &x->at, !x->gbnf, &lang, &e);
    return leaf(x, rc, lang, &e);
}

static struct slv_gexpr *regex(struct slv_gtext *x) {
    struct slv_err e;
    slv_lang lang = SLV_LANG_NONE;
    const int rc = slv_gram_regex(x->g->p, x->s, x->n, &x->at, &lang, &e);
    return leaf(x, rc, lang, &e);
}

static struct slv_gexpr *class(struct slv_gtext *x) {
    struct slv_err e;
    slv_lang lang = SLV_LANG_NONE;
    const int rc = slv_gram_class(x->g->p, x->s, x->n, &x->at, &lang, &e);
    return leaf(x, rc, lang, &e);
}

static struct slv_gexpr *group(struct slv_gtext *x, char close) {
    x->at++;
    if (++x->depth > SLV_GRAMMAR_MAX_DEPTH)
        return wrong(x, SLV_E_LIMIT, "parentheses inside each other too deep");
    struct slv_gexpr *e = alternatives(x);
    x->depth--;
    if (!e) return NULL;
    if (skip(x) != close) return wrong(x, SLV_E_FORMAT, "( or [ without its end");
    x->at++;
    return e;
}

static struct slv_gexpr *repeat(struct slv_gtext *x, struct slv_gexpr *of, uint32_t lo,
                                uint32_t hi) {
    if (lo > hi) return wrong(x, SLV_E_FORMAT, "a repetition that runs backwards");
    if (lo > SLV_LANG_MAX_REPEAT || (hi != SLV_LANG_INF && hi > SLV_LANG_MAX_REPEAT))
        return wrong(x, SLV_E_LIMIT, "a repetition too large");
    struct slv_gexpr *e = make(x, E_REPEAT);
    if (!e) return NULL;
    e->first = of;
    e->lo = lo;
    e->hi = hi;
    return e;
}

static struct slv_gexpr *reference(struct slv_gtext *x) {
    struct slv_gexpr *e = make(x, E_REF);
    if (!e) return NULL;
    e->ref.name = x->s + x->at;
    e->ref.n = word_at(x, x->at);
    e->ref_next = x->refs;
    x->refs = e;
    x->at += e->ref.n;
    return e;
}

/* --- tokens ----------------------------------------------------------------------------------- */

static struct slv_gexpr *named_token(struct slv_gtext *x, int32_t id) {
    struct slv_grammar *g = x->g;
    struct slv_gexpr *e = make(x, E_TOKEN);
    if (!e) return NULL;
    if (slv_tokenizer_is_end(x->t, id))
        return unsupported(x, "a token that ends every answer, named in a grammar: it is");
    e->token = id;
    if (slv_grammar_names(g, id)) return e;
    const int rc = slv_mem_grow((void **)&g->tokens, g->n_tokens, &g->cap_tokens, sizeof *g->tokens,
                                SLV_GRAMMAR_MAX_TOKENS);
    if (rc) return wrong(x, rc, "too many tokens are named");
    g->tokens[g->n_tokens++] = id;
    return e;
}

/* <[123]>, which stands at x->at. */
static struct slv_gexpr *token_by_id(struct slv_gtext *x) {
    size_t at = x->at + 2;
    uint64_t id = 0;
    const size_t from = at;
    for (; is_digit(peek(x, at)) && id < UINT32_MAX; at++)
        id = id * 10 + (uint64_t)(x->s[at] - '0');
    if (at == from || !begins(x, at, "]>"))
        return wrong(x, SLV_E_FORMAT, "a token by number is written <[123]>");
    if (id >= slv_tokenizer_size(x->t))
        return slv_gtext_fail(x, SLV_E_FORMAT, "line %zu of the grammar: there is no token %llu",
                              line_of(x), (unsigned long long)id);
    struct slv_gexpr *e = named_token(x, (int32_t)id);
    x->at = at + 2;
    return e;
}

/* The token's text, the place behind its ">". */
static int token_text(struct slv_gtext *x, struct slv_buf *text, size_t *ret_at) {
    struct slv_err e;
    size_t at = x->at + 1;
    if (peek(x, at) == '"') {
        const int rc = slv_gram_quoted(x->s, x->n, &at, text, &e);
        if (rc || peek(x, at) != '>')
            return slv_gtext_fail(x, rc ? rc : SLV_E_FORMAT,
                                  "line %zu of the grammar: a token is written <name>, "
                                  "<\"name\"> or <[123]>",
                                  line_of(x)) == NULL;
        *ret_at = at + 1;
        return 0;
    }
    const char *end = memchr(x->s + x->at, '>', x->n - x->at);
    const char *line = memchr(x->s + x->at, '\n', x->n - x->at);
    if (!end || (line && line < end)) return wrong(x, SLV_E_FORMAT, "< without >") == NULL;
    *ret_at = (size_t)(end - x->s) + 1;
    return slv_buf_add(text, x->s + x->at, *ret_at - x->at)
               ? wrong(x, text->status, "the token's text") == NULL
               : 0;
}

static struct slv_gexpr *token(struct slv_gtext *x) {
    struct slv_gexpr *e = NULL;
    struct slv_buf text;
    size_t end = 0;
    if (!x->t) return wrong(x, SLV_E_USAGE, "it names a token, and there is no vocabulary");
    if (begins(x, x->at, "<[")) return token_by_id(x);
    slv_buf_init(&text, 4096);
    if (!token_text(x, &text, &end)) {
        const int32_t id = slv_tokenizer_find(x->t, text.data, text.len);
        if (id >= 0) e = named_token(x, id);
        else
            slv_gtext_fail(x, SLV_E_FORMAT,
                           "line %zu of the grammar: the vocabulary has no token \"%.*s\"",
                           line_of(x), text.len < 100 ? (int)text.len : 100, text.data);
        x->at = end;
    }
    slv_buf_fini(&text);
    return e;
}

/* --- %json and %text -------------------------------------------------------------------------- */

/* The end of the JSON value that begins at `at` with a brace or bracket; 0: there is none. */
static size_t json_end(const struct slv_gtext *x, size_t at) {
    size_t depth = 0;
    bool string = false;
    for (; at < x->n; at++) {
        const char c = x->s[at];
        if (string && c == '\\') at++;
        else if (c == '"') string = !string;
        else if (string) continue;
        else if (c == '{' || c == '[') depth++;
        else if ((c == '}' || c == ']') && --depth == 0) return at + 1;
    }
    return 0;
}

static int add_schema(struct slv_gtext *x, const char *s, size_t n) {
    const struct slv_schema_options o = SLV_SCHEMA_WRITTEN;
    struct slv_grammar *g = x->g;
    struct slv_schema *schema = NULL;
    struct slv_err e = {0};
    char at[SLV_SCHEMA_POINTER_MAX];
    int rc = slv_mem_grow((void **)&g->schemas, g->n_schemas, &g->cap_schemas, sizeof *g->schemas,
                          SLV_GRAMMAR_MAX_SCHEMAS);
    if (!rc)
        rc = slv_mem_grow((void **)&x->schema_texts, g->n_schemas, &x->cap_schema_texts,
                          sizeof *x->schema_texts, SLV_GRAMMAR_MAX_SCHEMAS);
    if (rc) return wrong(x, rc, "too many schemas") == NULL;
    rc = slv_schema_open_in(g->p, s, n, &o, &schema, at, &e);
    if (rc)
        return slv_gtext_fail(x, rc, "line %zu of the grammar: %%json: %s (at \"%.200s\")",
                              line_of(x), e.msg, at) == NULL;
    x->schema_texts[g->n_schemas] = (struct slv_word){s, n};
    g->schemas[g->n_schemas++] = schema;
    x->schema_bytes += slv_schema_bytes(schema);
    if (x->schema_bytes > SLV_SCHEMA_MAX_MEMORY)
        return wrong(x, SLV_E_LIMIT, "%json: all schemas together need more than 64 MiB") == NULL;
    if (slv_schema_has_values(schema)) return 0;
    return wrong(x, SLV_E_UNSUPPORTED, "%json: no value meets the schema") == NULL;
}

static struct slv_gexpr *json(struct slv_gtext *x) {
    const struct slv_grammar *g = x->g;
    const size_t end = skip(x) == '{' ? json_end(x, x->at) : 0;
    if (!end) return wrong(x, SLV_E_FORMAT, "%json wants a schema in braces");
    const char *s = x->s + x->at;
    const size_t n = end - x->at;
    uint32_t i = 0;
    while (i < g->n_schemas &&
           (x->schema_texts[i].n != n || memcmp(x->schema_texts[i].s, s, n) != 0))
        i++;
    if (i == g->n_schemas && add_schema(x, s, n)) return NULL;
    struct slv_gexpr *e = make(x, E_JSON);
    if (!e) return NULL;
    e->what = i;
    x->at = end;
    return e;
}

/* One marker of %text: a literal or a pattern; a token is no text in any case. */
static bool marker(struct slv_gtext *x, slv_lang *any) {
    struct slv_langs *p = x->g->p;
    const char c = skip(x);
    if (c == '<') return token(x) != NULL;
    if (c != '"' && c != '/') return wrong(x, SLV_E_FORMAT, "%text( wants \"a\" or /b/") != NULL;
    const struct slv_gexpr *e = c == '"' ? literal(x) : regex(x);
    if (!e) return false;
    if (slv_lang_nullable(p, e->lang))
        return wrong(x, SLV_E_FORMAT, "%text( with what may be empty") != NULL;
    *any = slv_lang_or(p, *any, e->lang);
    return true;
}

static struct slv_gexpr *text(struct slv_gtext *x) {
    struct slv_langs *p = x->g->p;
    slv_lang any = SLV_LANG_NONE;
    if (peek(x, x->at) != '(') return language(x, SLV_LANG_ANY);
    do {
        x->at++;
        if (!marker(x, &any)) return NULL;
    } while (skip(x) == ',');
    if (peek(x, x->at) != ')') return wrong(x, SLV_E_FORMAT, "%text( without )");
    x->at++;
    any = slv_lang_concat(p, SLV_LANG_ANY, slv_lang_concat(p, any, SLV_LANG_ANY));
    return language(x, slv_lang_not(p, any));
}

static struct slv_gexpr *directive(struct slv_gtext *x) {
    const size_t n = x->at < x->n ? word_at(x, x->at + 1) : 0;
    const char *name = x->s + x->at;
    if (n == 4 && begins(x, x->at, "%json")) {
        x->at += 5;
        return json(x);
    }
    if (n == 4 && begins(x, x->at, "%text")) {
        x->at += 5;
        return text(x);
    }
    return slv_gtext_fail(x, SLV_E_UNSUPPORTED, "line %zu of the grammar: %.*s is not supported",
                          line_of(x), n < 40 ? (int)n + 1 : 40, name);
}

/* --- sequences -------------------------------------------------------------------------------- */

/* [x] of Lark. */
static struct slv_gexpr *optional(struct slv_gtext *x) {
    struct slv_gexpr *e = group(x, ']');
    return e ? repeat(x, e, 0, 1) : NULL;
}

/* What begins with c. */
static struct slv_gexpr *atom(struct slv_gtext *x, char c) {
    switch (c) {
    case '"':
        return literal(x);
    case '(':
        return group(x, ')');
    case '<':
        return token(x);
    case '%':
        return directive(x);
    case '[':
        return x->gbnf ? class(x) : optional(x);
    case '/':
        if (!x->gbnf) return regex(x);
        break;
    case '.':
        if (!x->gbnf) break;
        x->at++;
        return language(x, slv_lang_set_not(x->g->p, NULL, 0));
    case '~':
    case '&':
        return unsupported(x, "~ and & of terminals are");
    case '@':
        return unsupported(x, "@ for another grammar is");
    default:
        if (word_at(x, x->at)) return reference(x);
        break;
    }
    return wrong(x, SLV_E_FORMAT, "what is this?");
}

static bool number(struct slv_gtext *x, uint32_t *ret) {
    uint32_t v = 0;
    const size_t from = x->at;
    for (; is_digit(peek(x, x->at)); x->at++)
        if (v <= SLV_LANG_MAX_REPEAT) v = v * 10 + (uint32_t)(x->s[x->at] - '0');
    *ret = v;
    return x->at > from;
}

/* {m}, {m,}, {,n}, {m,n}: the place behind the brace is x->at. */
static struct slv_gexpr *braces(struct slv_gtext *x, struct slv_gexpr *e) {
    uint32_t lo = 0, hi = 0;
    (void)skip(x);
    const bool some = number(x, &lo);
    hi = lo;
    if (skip(x) == ',') {
        x->at++;
        (void)skip(x);
        if (!number(x, &hi)) hi = SLV_LANG_INF;
    } else if (!some) return wrong(x, SLV_E_FORMAT, "{ wants a number");
    if (skip(x) != '}') return wrong(x, SLV_E_FORMAT, "{ without }");
    x->at++;
    return repeat(x, e, lo, hi);
}

/* Lark's "~ n" and "~ n..m". */
static struct slv_gexpr *times(struct slv_gtext *x, struct slv_gexpr *e) {
    uint32_t lo = 0, hi = 0;
    (void)skip(x);
    if (!number(x, &lo)) return unsupported(x, "~ and & of terminals are");
    hi = lo;
    if (begins(x, x->at, "..")) {
        x->at += 2;
        if (!number(x, &hi)) return wrong(x, SLV_E_FORMAT, "a number after ..");
    }
    return repeat(x, e, lo, hi);
}

static struct slv_gexpr *quantified(struct slv_gtext *x, struct slv_gexpr *e) {
    while (e) {
        const char c = skip(x);
        if (defines_marked(x) || !c || !strchr("*+?{~", c)) return e;
        if (c == '~' && x->gbnf) return e;
        x->at++;
        if (c == '{') e = braces(x, e);
        else if (c == '~') e = times(x, e);
        else e = repeat(x, e, c == '+', c == '?' ? 1 : SLV_LANG_INF);
    }
    return NULL;
}

/* Whether the sequence is over at c. */
static bool over(const struct slv_gtext *x, char c) {
    return !c || strchr("|)]", c) || begins(x, x->at, "->") || defines_marked(x) ||
           defines(x, x->at);
}

/* "-> name": what Lark calls an alternative. */
static bool alias(struct slv_gtext *x) {
    if (x->gbnf || !begins(x, x->at, "->")) return true;
    x->at += 2;
    (void)skip(x);
    const size_t n = word_at(x, x->at);
    x->at += n;
    return n || wrong(x, SLV_E_FORMAT, "a name after ->") != NULL;
}

/* The only one of a list, or the list. */
static struct slv_gexpr *listed(struct slv_gexpr *list) {
    return list->first && !list->first->next ? list->first : list;
}

static struct slv_gexpr *sequence(struct slv_gtext *x) {
    struct slv_gexpr *list = make(x, E_SEQ), **end = list ? &list->first : NULL;
    if (!list) return NULL;
    for (char c = skip(x); !over(x, c); c = skip(x)) {
        struct slv_gexpr *e = quantified(x, atom(x, c));
        if (!e || x->rc) return NULL;
        *end = e;
        end = &e->next;
    }
    return alias(x) ? listed(list) : NULL;
}

/* The first of a list is what it is once; an expression stands in one list only. */
static struct slv_gexpr *alternatives(struct slv_gtext *x) {
    struct slv_gexpr *list = make(x, E_ALT), **end = list ? &list->first : NULL;
    if (!list) return NULL;
    for (;;) {
        struct slv_gexpr *e = sequence(x);
        if (!e) return NULL;
        *end = e;
        end = &e->next;
        if (skip(x) != '|') return listed(list);
        x->at++;
    }
}

/* --- definitions ------------------------------------------------------------------------------ */

static bool no_extras(struct slv_gtext *x) {
    const char c = peek(x, x->at);
    if (x->gbnf || c == ':') return true;
    if (c == '.') return unsupported(x, "a priority is") != NULL;
    if (c == '[') return unsupported(x, "an attribute of a rule is") != NULL;
    return unsupported(x, "a template is") != NULL;
}

static int definition(struct slv_gtext *x) {
    struct slv_gdef d = {0};
    x->at += defines_marked(x);
    d.n = word_at(x, x->at);
    d.name = x->s + x->at;
    if (!d.n || !defines(x, x->at))
        return wrong(x, SLV_E_FORMAT,
                     x->gbnf ? "a definition is wanted, name ::= ..."
                             : "a definition is wanted, name: ...") == NULL;
    size_t first = 0;
    while (first + 1 < d.n && d.name[first] == '_')
        first++;
    d.terminal = !x->gbnf && d.name[first] >= 'A' && d.name[first] <= 'Z';
    x->at = past_blanks(x, x->at + d.n);
    if (!no_extras(x)) return 1;
    x->at += x->gbnf ? 3 : 1;
    d.body = alternatives(x);
    if (!d.body) return 1;
    const char c = skip(x);
    if (c == ')' || c == ']') return wrong(x, SLV_E_FORMAT, "an end without ( or [") == NULL;
    const int rc = slv_mem_grow((void **)&x->defs, x->n_defs, &x->cap_defs, sizeof *x->defs,
                                SLV_GRAMMAR_MAX_RULES);
    if (rc) return wrong(x, rc, "too many rules") == NULL;
    x->defs[x->n_defs++] = d;
    return 0;
}

int slv_gtext_read(struct slv_gtext *x) {
    size_t bad;
    if (x->n > SLV_GRAMMAR_MAX_BYTES)
        return slv_gtext_fail(x, SLV_E_LIMIT, "a grammar of %zu bytes", x->n) == NULL;
    if (!slv_utf8_valid(x->s, x->n, &bad))
        return slv_gtext_fail(x, SLV_E_FORMAT, "the grammar is not UTF-8 at byte %zu", bad) == NULL;
    (void)skip(x);
    x->gbnf = true;
    x->gbnf = defines(x, x->at);
    while (!x->rc && skip(x)) {
        if (peek(x, x->at) == '%' && directive(x)) wrong(x, SLV_E_FORMAT, "it belongs to no rule");
        if (!x->rc && definition(x)) break;
    }
    if (!x->rc && x->at < x->n) wrong(x, SLV_E_FORMAT, "a NUL byte");
    if (!x->rc && !x->n_defs) wrong(x, SLV_E_FORMAT, "it has no rules");
    return x->rc;
}
