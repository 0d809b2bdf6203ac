/* tpl_expr.c: tokens to expressions. From the loosest binding to the tightest, as in Jinja's
 * documentation and grammar: if-else, or, and, not, comparisons, + -, ~, * / // %, **, unary,
 * then postfix (.name, [item], (call)), filters and tests. */
#include "format/template_impl.h"

#include <string.h>

static bool text_is(struct tpl_text s, const char *what) {
    return s.n == strlen(what) && memcmp(s.p, what, s.n) == 0;
}

static struct slv_value *string(struct tpl_parser *p, struct tpl_text s) {
    return slv_tpl_view(p->mem, s.p, s.n);
}

/* A node over one, two or three others; NULL if one that is asked for is missing. */
static struct tpl_node *binary(struct tpl_parser *p, enum tpl_op op, uint32_t line,
                               struct tpl_node *a, struct tpl_node *b) {
    struct tpl_node *n = a && b ? slv_tpl_node(p, op, line) : NULL;
    if (n) {
        n->a = a;
        n->b = b;
    }
    return n;
}

static struct tpl_node *unary(struct tpl_parser *p, enum tpl_op op, uint32_t line,
                              struct tpl_node *a) {
    struct tpl_node *n = a ? slv_tpl_node(p, op, line) : NULL;
    if (n) n->a = a;
    return n;
}

static struct tpl_node *constant(struct tpl_parser *p, uint32_t line, struct slv_value *v) {
    struct tpl_node *n = v ? slv_tpl_node(p, OP_CONST, line) : NULL;
    if (n) n->val = v;
    return n;
}

/* --- calls ------------------------------------------------------------------------------------ */

static bool repeated(const struct tpl_node *list, struct tpl_text name) {
    for (; list; list = list->next)
        if (list->val->s.n == name.n && memcmp(list->val->s.p, name.p, name.n) == 0) return true;
    return false;
}

/* One argument; the current token begins it. */
static bool parse_argument(struct tpl_parser *p, struct tpl_call *c, struct tpl_node ***args,
                           struct tpl_node ***kwargs) {
    bool star = p->tok.type == T_MUL, stars = p->tok.type == T_POW;
    if (star || stars) {
        if (c->dyn_kwargs || (star && c->dyn_args))
            return slv_tpl_syntax(p, "invalid syntax for function call expression") != NULL;
        if (!slv_tpl_advance(p)) return false;
        struct tpl_node *v = slv_tpl_parse_expr(p, true);
        *(star ? &c->dyn_args : &c->dyn_kwargs) = v;
        return v != NULL;
    }
    bool named = false;
    if (p->tok.type == T_NAME) {
        if (!slv_tpl_peek(p)) return false;
        named = p->ahead.type == T_ASSIGN;
    }
    if (c->dyn_kwargs || (!named && (c->dyn_args || c->kwargs)))
        return slv_tpl_syntax(p, "invalid syntax for function call expression") != NULL;
    struct tpl_node *n;
    if (!named) {
        n = slv_tpl_parse_expr(p, true);
        if (!n) return false;
        **args = n;
        *args = &n->next;
        c->n++;
        return true;
    }
    n = slv_tpl_node(p, OP_KEYWORD, p->tok.line);
    if (!n) return false;
    if (repeated(c->kwargs, p->tok.s))
        return slv_tpl_syntax(p, "keyword argument repeated") != NULL;
    n->val = string(p, p->tok.s);
    if (!n->val || !slv_tpl_advance(p) || !slv_tpl_advance(p)) return false;
    n->a = slv_tpl_parse_expr(p, true);
    **kwargs = n;
    *kwargs = &n->next;
    c->nkw++;
    return n->a != NULL;
}

static struct tpl_call *parse_call_args(struct tpl_parser *p) {
    struct tpl_call *c = slv_tpl_alloc(p->mem, sizeof *c);
    if (!c || !slv_tpl_expect(p, T_LPAREN, "'('")) return NULL;
    struct tpl_node **args = &c->args, **kwargs = &c->kwargs;
    for (bool first = true; p->tok.type != T_RPAREN; first = false) {
        if (!first) {
            if (!slv_tpl_expect(p, T_COMMA, "','")) return NULL;
            if (p->tok.type == T_RPAREN) break;
        }
        if (!parse_argument(p, c, &args, &kwargs)) return NULL;
        if (c->nkw > 256) return slv_tpl_refuse(p, SLV_E_LIMIT, "too many arguments");
    }
    return slv_tpl_advance(p) ? c : NULL;
}

static struct tpl_node *parse_call(struct tpl_parser *p, struct tpl_node *f) {
    struct tpl_node *n = unary(p, OP_CALL, p->tok.line, f);
    if (n) n->call = parse_call_args(p);
    return n && n->call ? n : NULL;
}

/* "name" or "name.name": the row of a filter or test, noted when there is none. */
static bool parse_row(struct tpl_parser *p, struct tpl_node *n,
                      const struct tpl_def *(*find)(const char *, size_t)) {
    if (p->tok.type != T_NAME) return slv_tpl_syntax(p, "expected a name") != NULL;
    struct tpl_text name = p->tok.s;
    bool dotted = false;
    if (!slv_tpl_advance(p)) return false;
    while (p->tok.type == T_DOT) {
        if (!slv_tpl_advance(p)) return false;
        if (!slv_tpl_expect(p, T_NAME, "a name")) return false;
        dotted = true;
    }
    n->val = string(p, name);
    n->fn = dotted ? NULL : find(name.p, name.n);
    if (!n->fn && !p->soft && !p->unknown) p->unknown = n;
    return n->val != NULL;
}

struct tpl_node *slv_tpl_parse_filters(struct tpl_parser *p, struct tpl_node *of, bool bare) {
    while (bare || p->tok.type == T_PIPE) {
        if (!bare && !slv_tpl_advance(p)) return NULL;
        bare = false;
        struct tpl_node *n = slv_tpl_node(p, OP_FILTER, p->tok.line);
        if (!n || !parse_row(p, n, slv_tpl_filter)) return NULL;
        n->a = of;
        if (p->tok.type == T_LPAREN) {
            n->call = parse_call_args(p);
            if (!n->call) return NULL;
        }
        of = n;
    }
    return of;
}

static struct tpl_node *parse_primary(struct tpl_parser *p);
static struct tpl_node *parse_postfix(struct tpl_parser *p, struct tpl_node *n);

/* Whether an argument without brackets follows a test's name, as in "is divisibleby 3". */
static bool bare_argument(const struct tpl_parser *p) {
    enum tpl_token t = p->tok.type;
    if (t == T_NAME)
        return !text_is(p->tok.s, "else") && !text_is(p->tok.s, "or") && !text_is(p->tok.s, "and");
    return t == T_STRING || t == T_INT || t == T_FLOAT || t == T_LBRACKET || t == T_LBRACE;
}

static struct tpl_node *parse_test(struct tpl_parser *p, struct tpl_node *of) {
    bool negated = false;
    uint32_t line = p->tok.line;
    if (!slv_tpl_advance(p) || !slv_tpl_skip_name(p, "not", &negated)) return NULL;
    struct tpl_node *n = unary(p, OP_TEST, line, of);
    if (!n || !parse_row(p, n, slv_tpl_test)) return NULL;
    if (p->tok.type == T_LPAREN) {
        n->call = parse_call_args(p);
        if (!n->call) return NULL;
    } else if (bare_argument(p)) {
        if (slv_tpl_at_name(p, "is"))
            return slv_tpl_syntax(p, "You cannot chain multiple tests with is");
        n->call = slv_tpl_alloc(p->mem, sizeof *n->call);
        struct tpl_node *arg = n->call ? parse_primary(p) : NULL;
        arg = arg ? parse_postfix(p, arg) : NULL;
        if (!arg) return NULL;
        n->call->args = arg;
        n->call->n = 1;
    }
    return negated ? unary(p, OP_NOT, line, n) : n;
}

/* --- postfix ---------------------------------------------------------------------------------- */

static bool at_subscript_end(const struct tpl_parser *p) {
    return p->tok.type == T_RBRACKET || p->tok.type == T_COMMA;
}

/* What stands between brackets: an expression, or a slice. */
static struct tpl_node *parse_subscribed(struct tpl_parser *p) {
    uint32_t line = p->tok.line;
    struct tpl_node *part[3] = {NULL, NULL, NULL};
    if (p->tok.type != T_COLON) {
        part[0] = slv_tpl_parse_expr(p, true);
        if (!part[0] || p->tok.type != T_COLON) return part[0];
    }
    if (!slv_tpl_advance(p)) return NULL;
    if (p->tok.type != T_COLON && !at_subscript_end(p)) {
        part[1] = slv_tpl_parse_expr(p, true);
        if (!part[1]) return NULL;
    }
    if (p->tok.type == T_COLON) {
        if (!slv_tpl_advance(p)) return NULL;
        if (!at_subscript_end(p)) {
            part[2] = slv_tpl_parse_expr(p, true);
            if (!part[2]) return NULL;
        }
    }
    struct tpl_node *n = slv_tpl_node(p, OP_SLICE, line);
    if (n) {
        n->a = part[0];
        n->b = part[1];
        n->c = part[2];
    }
    return n;
}

static struct tpl_node *parse_dot(struct tpl_parser *p, struct tpl_node *of, uint32_t line) {
    struct tpl_tok name = p->tok;
    if (name.type == T_INT) {
        struct tpl_node *key = constant(p, line, name.val);
        return key && slv_tpl_advance(p) ? binary(p, OP_GETITEM, line, of, key) : NULL;
    }
    if (!slv_tpl_expect(p, T_NAME, "a name or number")) return NULL;
    struct tpl_node *n = unary(p, OP_GETATTR, line, of);
    if (!n) return NULL;
    n->val = string(p, name.s);
    n->undef = slv_tpl_new(p->mem, TPL_UNDEF);
    if (!n->val || !n->undef) return NULL;
    n->undef->s = name.s;
    return n;
}

static struct tpl_node *parse_brackets(struct tpl_parser *p, struct tpl_node *of, uint32_t line) {
    struct tpl_node *args = NULL, **end = &args, *n;
    size_t count = 0;
    while (p->tok.type != T_RBRACKET) {
        if (count && !slv_tpl_expect(p, T_COMMA, "','")) return NULL;
        n = parse_subscribed(p);
        if (!n) return NULL;
        *end = n;
        end = &n->next;
        count++;
    }
    if (!slv_tpl_advance(p)) return NULL;
    if (count == 1) return binary(p, OP_GETITEM, line, of, args);
    n = slv_tpl_node(p, OP_TUPLE, line);
    if (n) n->a = args;
    return binary(p, OP_GETITEM, line, of, n);
}

static struct tpl_node *parse_postfix(struct tpl_parser *p, struct tpl_node *n) {
    while (n) {
        uint32_t line = p->tok.line;
        enum tpl_token type = p->tok.type;
        if (type == T_LPAREN) {
            n = parse_call(p, n);
            continue;
        }
        if (type != T_DOT && type != T_LBRACKET) break;
        if (!slv_tpl_advance(p)) return NULL;
        n = type == T_DOT ? parse_dot(p, n, line) : parse_brackets(p, n, line);
    }
    return n;
}

static struct tpl_node *parse_filter_expr(struct tpl_parser *p, struct tpl_node *n) {
    while (n) {
        if (p->tok.type == T_PIPE) n = slv_tpl_parse_filters(p, n, false);
        else if (slv_tpl_at_name(p, "is")) n = parse_test(p, n);
        else if (p->tok.type == T_LPAREN) n = parse_call(p, n);
        else break;
    }
    return n;
}

/* --- primaries -------------------------------------------------------------------------------- */

bool slv_tpl_reserved(struct tpl_text name) {
    static const char *const words[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (text_is(name, words[i])) return true;
    return false;
}

struct tpl_node *slv_tpl_name_node(struct tpl_parser *p, struct tpl_text name, uint32_t line) {
    struct tpl_node *n = slv_tpl_node(p, OP_NAME, line);
    if (!n || !slv_tpl_id(p, name, &n->id)) return NULL;
    n->val = slv_tpl_new(p->mem, TPL_UNDEF);
    if (!n->val) return NULL;
    n->val->s = name;
    return n;
}

static struct tpl_node *parse_name(struct tpl_parser *p) {
    struct tpl_tok t = p->tok;
    if (!slv_tpl_advance(p)) return NULL;
    if (slv_tpl_reserved(t.s)) {
        char c = (char)(t.s.p[0] | 0x20);
        return constant(p, t.line, c == 'n' ? &slv_tpl_none : slv_tpl_bool(c == 't'));
    }
    struct tpl_node *n = slv_tpl_name_node(p, t.s, t.line);
    if (!n || !slv_tpl_note_read(p, t.s, MENTION_LOAD) ||
        !slv_tpl_note_first(p, n->id, MENTION_LOAD))
        return NULL;
    return n;
}

/* One string, or several that stand side by side. */
static struct tpl_node *parse_string(struct tpl_parser *p) {
    struct tpl_tok t = p->tok;
    struct tpl_text s = t.s;
    char *own = NULL; /* the joined bytes, with room for more */
    size_t room = 0;
    if (!slv_tpl_advance(p)) return NULL;
    while (p->tok.type == T_STRING) {
        if (own && p->tok.s.n > room - s.n) own = NULL;
        if (!own) {
            room = 2 * (s.n + p->tok.s.n) + 1; /* both lie in a text of TPL_TEXT_MAX bytes */
            own = slv_tpl_alloc(p->mem, room);
            if (!own) return NULL;
            if (s.n) memcpy(own, s.p, s.n);
            s.p = own;
        }
        if (p->tok.s.n) memcpy(own + s.n, p->tok.s.p, p->tok.s.n);
        size_t added = p->tok.s.n;
        if (!slv_tpl_advance(p)) return NULL;
        s.n += added;
    }
    return constant(p, t.line, string(p, s));
}

static struct tpl_node *parse_list(struct tpl_parser *p) {
    struct tpl_node *n = slv_tpl_node(p, OP_LIST, p->tok.line), **end = n ? &n->a : NULL;
    if (!n || !slv_tpl_advance(p)) return NULL;
    for (bool first = true; p->tok.type != T_RBRACKET; first = false) {
        if (!first) {
            if (!slv_tpl_expect(p, T_COMMA, "','")) return NULL;
            if (p->tok.type == T_RBRACKET) break;
        }
        *end = slv_tpl_parse_expr(p, true);
        if (!*end) return NULL;
        end = &(*end)->next;
    }
    return slv_tpl_advance(p) ? n : NULL;
}

static struct tpl_node *parse_dict(struct tpl_parser *p) {
    struct tpl_node *n = slv_tpl_node(p, OP_DICT, p->tok.line), **end = n ? &n->a : NULL;
    if (!n || !slv_tpl_advance(p)) return NULL;
    for (bool first = true; p->tok.type != T_RBRACE; first = false) {
        if (!first) {
            if (!slv_tpl_expect(p, T_COMMA, "','")) return NULL;
            if (p->tok.type == T_RBRACE) break;
        }
        *end = slv_tpl_parse_expr(p, true);
        if (!*end || !slv_tpl_expect(p, T_COLON, "':'")) return NULL;
        end = &(*end)->next;
        *end = slv_tpl_parse_expr(p, true);
        if (!*end) return NULL;
        end = &(*end)->next;
    }
    return slv_tpl_advance(p) ? n : NULL;
}

static struct tpl_node *parse_primary(struct tpl_parser *p) {
    struct tpl_tok t = p->tok;
    struct tpl_node *n;
    if (t.type == T_NAME) return parse_name(p);
    if (t.type == T_STRING) return parse_string(p);
    if (t.type == T_INT || t.type == T_FLOAT)
        return slv_tpl_advance(p) ? constant(p, t.line, t.val) : NULL;
    if (t.type == T_LBRACKET) return parse_list(p);
    if (t.type == T_LBRACE) return parse_dict(p);
    if (t.type != T_LPAREN) return slv_tpl_syntax(p, "expected an expression");
    if (!slv_tpl_advance(p)) return NULL;
    n = slv_tpl_parse_tuple(p, true, true);
    return n && slv_tpl_expect(p, T_RPAREN, "')'") ? n : NULL;
}

/* --- operators -------------------------------------------------------------------------------- */

static struct tpl_node *parse_unary(struct tpl_parser *p, bool with_filter) {
    struct tpl_node *n;
    uint32_t line = p->tok.line;
    if (p->tok.type == T_SUB || p->tok.type == T_ADD) {
        enum tpl_op op = p->tok.type == T_SUB ? OP_NEG : OP_POS;
        if (!slv_tpl_deeper(p) || !slv_tpl_advance(p)) return NULL;
        n = unary(p, op, line, parse_unary(p, false));
        p->depth--;
    } else {
        n = parse_primary(p);
    }
    n = n ? parse_postfix(p, n) : NULL;
    return n && with_filter ? parse_filter_expr(p, n) : n;
}

struct level {
    enum tpl_token token;
    enum tpl_op op;
};

/* Operators of one level, from left to right; `next` reads what binds tighter. */
static struct tpl_node *parse_level(struct tpl_parser *p, const struct level *rows, size_t count,
                                    struct tpl_node *(*next)(struct tpl_parser *)) {
    uint32_t line = p->tok.line;
    struct tpl_node *left = next(p);
    while (left) {
        size_t i = 0;
        while (i < count && rows[i].token != p->tok.type)
            i++;
        if (i == count) break;
        if (!slv_tpl_advance(p)) return NULL;
        left = binary(p, rows[i].op, line, left, next(p));
        line = p->tok.line;
    }
    return left;
}

static struct tpl_node *parse_operand(struct tpl_parser *p) { return parse_unary(p, true); }

static struct tpl_node *parse_power(struct tpl_parser *p) {
    static const struct level rows[] = {{T_POW, OP_POW}};
    return parse_level(p, rows, 1, parse_operand);
}

static struct tpl_node *parse_product(struct tpl_parser *p) {
    static const struct level rows[] = {
        {T_MUL, OP_MUL}, {T_DIV, OP_DIV}, {T_FLOORDIV, OP_FLOORDIV}, {T_MOD, OP_MOD}};
    return parse_level(p, rows, 4, parse_power);
}

static struct tpl_node *parse_concat(struct tpl_parser *p) {
    uint32_t line = p->tok.line;
    struct tpl_node *first = parse_product(p), *n;
    if (!first || p->tok.type != T_TILDE) return first;
    n = unary(p, OP_CONCAT, line, first);
    for (struct tpl_node *last = first; n && p->tok.type == T_TILDE; last = last->next) {
        if (!slv_tpl_advance(p)) return NULL;
        last->next = parse_product(p);
        if (!last->next) return NULL;
    }
    return n;
}

static struct tpl_node *parse_sum(struct tpl_parser *p) {
    static const struct level rows[] = {{T_ADD, OP_ADD}, {T_SUB, OP_SUB}};
    return parse_level(p, rows, 2, parse_concat);
}

/* The comparison that stands here, taken; *ret_any false if there is none. */
static bool take_comparison(struct tpl_parser *p, enum tpl_op *ret, bool *ret_any) {
    static const struct level rows[] = {{T_EQ, OP_EQ}, {T_NE, OP_NE}, {T_LT, OP_LT},
                                        {T_LE, OP_LE}, {T_GT, OP_GT}, {T_GE, OP_GE}};
    *ret_any = true;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].token != p->tok.type) continue;
        *ret = rows[i].op;
        return slv_tpl_advance(p);
    }
    *ret = OP_IN;
    if (slv_tpl_at_name(p, "in")) return slv_tpl_advance(p);
    *ret = OP_NOTIN;
    *ret_any = false;
    if (!slv_tpl_at_name(p, "not")) return true;
    if (!slv_tpl_peek(p)) return false; /* this fills `ahead` */
    if (p->ahead.type != T_NAME || !text_is(p->ahead.s, "in")) return true;
    *ret_any = true;
    if (!slv_tpl_advance(p)) return false; /* over "not" */
    return slv_tpl_advance(p);             /* and "in" */
}

static struct tpl_node *parse_compare(struct tpl_parser *p) {
    uint32_t line = p->tok.line;
    struct tpl_node *first = parse_sum(p), *n = NULL, **end = NULL;
    for (;;) {
        enum tpl_op op;
        bool any;
        if (!first || !take_comparison(p, &op, &any)) return NULL;
        if (!any) return n ? n : first;
        struct tpl_node *operand = unary(p, op, p->tok.line, parse_sum(p));
        if (!operand) return NULL;
        if (!n) {
            n = unary(p, OP_COMPARE, line, first);
            if (!n) return NULL;
            end = &n->b;
        }
        *end = operand;
        end = &operand->next;
    }
}

static struct tpl_node *parse_not(struct tpl_parser *p) {
    bool is_not;
    uint32_t line = p->tok.line;
    if (!slv_tpl_skip_name(p, "not", &is_not)) return NULL;
    if (!is_not) return parse_compare(p);
    if (!slv_tpl_deeper(p)) return NULL;
    struct tpl_node *n = unary(p, OP_NOT, line, parse_not(p));
    p->depth--;
    return n;
}

static struct tpl_node *parse_and(struct tpl_parser *p) {
    struct tpl_node *left = parse_not(p);
    for (bool more = true; left;) {
        uint32_t line = p->tok.line;
        if (!slv_tpl_skip_name(p, "and", &more)) return NULL;
        if (!more) break;
        left = binary(p, OP_AND, line, left, parse_not(p));
    }
    return left;
}

static struct tpl_node *parse_or(struct tpl_parser *p) {
    struct tpl_node *left = parse_and(p);
    for (bool more = true; left;) {
        uint32_t line = p->tok.line;
        if (!slv_tpl_skip_name(p, "or", &more)) return NULL;
        if (!more) break;
        left = binary(p, OP_OR, line, left, parse_and(p));
    }
    return left;
}

/* What stands in a conditional may name an unknown filter: it matters only when reached. */
static struct tpl_node *parse_cond(struct tpl_parser *p) {
    const struct tpl_node *unknown = p->unknown;
    bool soft = p->soft, more = true;
    struct tpl_node *n = parse_or(p);
    while (n) {
        uint32_t line = p->tok.line;
        if (!slv_tpl_skip_name(p, "if", &more)) return NULL;
        if (!more) break;
        p->soft = true;
        p->unknown = unknown;
        n = binary(p, OP_COND, line, n, parse_or(p));
        if (!n || !slv_tpl_skip_name(p, "else", &more)) return NULL;
        if (more) {
            n->c = slv_tpl_parse_expr(p, true);
            if (!n->c) return NULL;
        }
    }
    p->soft = soft;
    return n;
}

struct tpl_node *slv_tpl_parse_expr(struct tpl_parser *p, bool with_cond) {
    if (!slv_tpl_deeper(p)) return NULL;
    struct tpl_node *n = with_cond ? parse_cond(p) : parse_or(p);
    p->depth--;
    return n;
}

static bool tuple_end(const struct tpl_parser *p) {
    return p->tok.type == T_VAR_END || p->tok.type == T_BLOCK_END || p->tok.type == T_RPAREN;
}

struct tpl_node *slv_tpl_parse_tuple(struct tpl_parser *p, bool with_cond, bool parens) {
    uint32_t line = p->tok.line;
    struct tpl_node *first = NULL, **end = &first;
    bool tuple = false;
    while (!tuple_end(p)) {
        *end = slv_tpl_parse_expr(p, with_cond);
        if (!*end) return NULL;
        end = &(*end)->next;
        if (p->tok.type != T_COMMA) break;
        tuple = true;
        if (!slv_tpl_advance(p)) return NULL;
    }
    if (!tuple && first) return first;
    if (!tuple && !parens) return slv_tpl_syntax(p, "Expected an expression");
    struct tpl_node *n = slv_tpl_node(p, OP_TUPLE, line);
    if (n) n->a = first;
    return n;
}
