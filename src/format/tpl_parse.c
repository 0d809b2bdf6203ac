/* tpl_parse.c: tokens to statements; compiling a template.
 *
 * Names are interned to small numbers here. Jinja decides at compile time which frame a name
 * belongs to; one consequence is kept in `hidden`: a name that the top level assigns before it
 * mentions it otherwise is unset until then, whatever the caller gave. The other rules are those of
 * frames at run time (tpl_exec.c). */
#include "base/mem.h"
#include "base/utf8.h"
#include "format/template_impl.h"

#include <string.h>

#define PARAMS_MAX 255

/* --- tokens and errors ------------------------------------------------------------------------ */

__attribute__((format(printf, 3, 0))) static void *fail(struct tpl_parser *p, int code,
                                                        const char *fmt, va_list ap) {
    struct slv_err e;
    if (p->rc) return NULL;
    slv_err_vset(&e, code, fmt, ap);
    p->rc = slv_err_set(p->err, code, "line %u: %s", (unsigned)p->tok.line, e.msg);
    return NULL;
}

void *slv_tpl_syntax(struct tpl_parser *p, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fail(p, SLV_E_FORMAT, fmt, ap);
    va_end(ap);
    return NULL;
}

void *slv_tpl_refuse(struct tpl_parser *p, int code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fail(p, code, fmt, ap);
    va_end(ap);
    return NULL;
}

bool slv_tpl_deeper(struct tpl_parser *p) {
    if (p->depth++ < TPL_NEST_MAX) return true;
    slv_tpl_refuse(p, SLV_E_LIMIT, "nested deeper than %d", TPL_NEST_MAX);
    return false;
}

bool slv_tpl_peek(struct tpl_parser *p) {
    if (p->have_ahead) return true;
    p->have_ahead = slv_tpl_lex(p, &p->ahead);
    return p->have_ahead;
}

bool slv_tpl_advance(struct tpl_parser *p) {
    if (p->have_ahead) {
        p->tok = p->ahead;
        p->have_ahead = false;
        return true;
    }
    struct tpl_tok t;
    uint32_t line = p->line;
    if (!slv_tpl_lex(p, &t)) {
        p->tok.line = line;
        return false;
    }
    p->tok = t;
    return true;
}

bool slv_tpl_at_name(const struct tpl_parser *p, const char *name) {
    return p->tok.type == T_NAME && p->tok.s.n == strlen(name) &&
           memcmp(p->tok.s.p, name, p->tok.s.n) == 0;
}

bool slv_tpl_expect(struct tpl_parser *p, enum tpl_token type, const char *what) {
    if (p->tok.type == type) return slv_tpl_advance(p);
    slv_tpl_syntax(p, "expected %s", what);
    return false;
}

bool slv_tpl_skip_name(struct tpl_parser *p, const char *name, bool *ret_skipped) {
    *ret_skipped = slv_tpl_at_name(p, name);
    return !*ret_skipped || slv_tpl_advance(p);
}

struct tpl_node *slv_tpl_node(struct tpl_parser *p, enum tpl_op op, uint32_t line) {
    struct tpl_node *n = slv_tpl_alloc(p->mem, sizeof *n);
    if (n) {
        n->op = (uint8_t)op;
        n->line = line;
    }
    return n;
}

/* --- names ------------------------------------------------------------------------------------ */

bool slv_tpl_id(struct tpl_parser *p, struct tpl_text name, uint32_t *ret) {
    struct tpl_dict *d = p->t->ids->dict;
    struct slv_value *v = slv_tpl_get_str(p->mem, d, name.p, name.n);
    if (!v) {
        v = slv_value_int(p->mem, (int64_t)d->n);
        struct slv_value *key = slv_tpl_view(p->mem, name.p, name.n);
        if (!v || !slv_tpl_put(NULL, p->mem, d, key, v)) return false;
    }
    *ret = (uint32_t)v->i;
    return true;
}

bool slv_tpl_note_read(struct tpl_parser *p, struct tpl_text name, enum tpl_mention how) {
    static const char *const special[] = {"caller", "kwargs", "varargs"};
    if (how == MENTION_STORE && p->fors && name.n == 4 && memcmp(name.p, "loop", 4) == 0) {
        slv_tpl_syntax(p, "Can't assign to special loop variable in for-loop");
        return false;
    }
    for (int i = 0; i < 3; i++) {
        if (name.n != strlen(special[i]) || memcmp(name.p, special[i], name.n) != 0) continue;
        for (struct tpl_reads *f = p->reads; f; f = f->outer) {
            if (how != MENTION_LOAD) f->closed[i] = true;
            else if (!f->closed[i]) f->names[i] = true;
        }
    }
    return true;
}

bool slv_tpl_note_first(struct tpl_parser *p, uint32_t id, enum tpl_mention how) {
    if (p->frames) return true;
    if (id >= p->seen_cap) {
        size_t cap = (size_t)id * 2 + 64;
        uint8_t *seen = slv_tpl_alloc(p->mem, cap);
        if (!seen) return false;
        if (p->seen_cap) memcpy(seen, p->seen, p->seen_cap);
        p->seen = seen;
        p->seen_cap = cap;
    }
    if (p->seen[id]) return true;
    p->seen[id] = 1;
    if (how == MENTION_LOAD || p->branches) return true;
    struct slv_template *t = p->t;
    if (t->hidden_n == p->hidden_cap) {
        size_t cap = p->hidden_cap * 2 + 16;
        uint32_t *hidden = slv_tpl_alloc(p->mem, cap * sizeof *hidden);
        if (!hidden) return false;
        if (t->hidden_n) memcpy(hidden, t->hidden, t->hidden_n * sizeof *hidden);
        t->hidden = hidden;
        p->hidden_cap = cap;
    }
    t->hidden[t->hidden_n++] = id;
    return true;
}

static bool note_target(struct tpl_parser *p, const struct tpl_node *n) {
    if (n->op == OP_NAME) return slv_tpl_note_first(p, n->id, MENTION_STORE);
    if (n->op == OP_NSREF) return slv_tpl_note_first(p, n->id, MENTION_LOAD);
    for (n = n->a; n; n = n->next)
        if (!note_target(p, n)) return false;
    return true;
}

/* --- bodies ----------------------------------------------------------------------------------- */

static struct tpl_node *parse_statement(struct tpl_parser *p);

/* What a frame of names changes for the parser, and how to change it back. */
struct inside {
    unsigned loops, branches;
    bool soft;
};

static struct inside enter_frame(struct tpl_parser *p) {
    struct inside was = {p->loops, p->branches, p->soft};
    p->frames++;
    p->branches = 0;
    p->soft = false;
    return was;
}

static void leave_frame(struct tpl_parser *p, struct inside was) {
    p->frames--;
    p->loops = was.loops;
    p->branches = was.branches;
    p->soft = was.soft;
}

static bool at_end(const struct tpl_parser *p, const char *const *ends) {
    for (; ends && *ends; ends++)
        if (slv_tpl_at_name(p, *ends)) return true;
    return false;
}

/* Text, prints and statements up to a tag named in `ends` (whose name is then the current token) or
 * to the end of the template. */
static bool parse_nodes(struct tpl_parser *p, const char *const *ends, struct tpl_node **ret) {
    struct tpl_node **end = ret, *n;
    for (;;) {
        struct tpl_tok t = p->tok;
        if (t.type == T_EOF) {
            if (!ends) return true;
            return slv_tpl_syntax(p, "Unexpected end of template: no '%s'", ends[0]) != NULL;
        }
        if (!slv_tpl_advance(p)) return false;
        if (t.type == T_DATA) {
            n = slv_tpl_node(p, OP_DATA, t.line);
            if (!n) return false;
            n->val = slv_tpl_view(p->mem, t.s.p, t.s.n);
            if (!n->val) return false;
        } else if (t.type == T_VAR_BEGIN) {
            n = slv_tpl_node(p, OP_PRINT, p->tok.line);
            if (!n) return false;
            n->a = slv_tpl_parse_tuple(p, true, false);
            if (!n->a || !slv_tpl_expect(p, T_VAR_END, "'}}'")) return false;
        } else {
            if (at_end(p, ends)) return true;
            n = parse_statement(p);
            if (!n || !slv_tpl_expect(p, T_BLOCK_END, "'%}'")) return false;
        }
        *end = n;
        while (n->next) /* print a, b is two nodes */
            n = n->next;
        end = &n->next;
    }
}

static bool parse_body(struct tpl_parser *p, const char *const *ends, struct tpl_node **ret) {
    if (p->tok.type == T_COLON && !slv_tpl_advance(p)) return false;
    if (!slv_tpl_expect(p, T_BLOCK_END, "'%}'") || !slv_tpl_deeper(p)) return false;
    bool ok = parse_nodes(p, ends, ret);
    p->depth--;
    return ok;
}

/* A body whose end tag has one name, taken. */
static bool parse_block(struct tpl_parser *p, const char *end, struct tpl_node **ret) {
    const char *const ends[] = {end, NULL};
    return parse_body(p, ends, ret) && slv_tpl_advance(p);
}

/* --- targets ---------------------------------------------------------------------------------- */

static struct tpl_node *parse_targets(struct tpl_parser *p, bool with_ns, enum tpl_mention how);

static struct tpl_node *parse_target_name(struct tpl_parser *p, bool with_ns,
                                          enum tpl_mention how) {
    struct tpl_tok t = p->tok;
    if (t.type != T_NAME) return slv_tpl_syntax(p, "expected a name to assign to");
    if (slv_tpl_reserved(t.s)) return slv_tpl_syntax(p, "can't assign to a constant");
    if (!slv_tpl_advance(p)) return NULL;
    struct tpl_node *n = slv_tpl_name_node(p, t.s, t.line);
    if (!n) return NULL;
    if (!with_ns || p->tok.type != T_DOT) return slv_tpl_note_read(p, t.s, how) ? n : NULL;
    n->op = OP_NSREF;
    if (!slv_tpl_advance(p)) return NULL;
    n->val = slv_tpl_view(p->mem, p->tok.s.p, p->tok.s.n);
    return n->val && slv_tpl_expect(p, T_NAME, "a name") ? n : NULL;
}

static struct tpl_node *parse_target_item(struct tpl_parser *p, bool with_ns,
                                          enum tpl_mention how) {
    if (p->tok.type != T_LPAREN) return parse_target_name(p, with_ns, how);
    if (!slv_tpl_deeper(p) || !slv_tpl_advance(p)) return NULL;
    struct tpl_node *n = parse_targets(p, false, how);
    p->depth--;
    return n && slv_tpl_expect(p, T_RPAREN, "')'") ? n : NULL;
}

/* name, or name, name... */
static struct tpl_node *parse_targets(struct tpl_parser *p, bool with_ns, enum tpl_mention how) {
    uint32_t line = p->tok.line;
    struct tpl_node *first = parse_target_item(p, with_ns, how), *last = first;
    if (!first || p->tok.type != T_COMMA) return first;
    struct tpl_node *n = slv_tpl_node(p, OP_TUPLE, line);
    if (!n) return NULL;
    n->a = first;
    while (p->tok.type == T_COMMA) {
        if (!slv_tpl_advance(p)) return NULL;
        if (p->tok.type == T_RPAREN || p->tok.type == T_BLOCK_END) break;
        last->next = parse_target_item(p, with_ns, how);
        last = last->next;
        if (!last) return NULL;
    }
    return n;
}

/* --- statements ------------------------------------------------------------------------------- */

static struct tpl_node *parse_if(struct tpl_parser *p) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct tpl_node *first = NULL, **slot = &first;
    bool soft = p->soft, more = true;
    p->soft = true;
    p->branches++;
    while (more) {
        struct tpl_node *n = slv_tpl_node(p, OP_IF, p->tok.line);
        if (!n || !slv_tpl_advance(p)) return NULL;
        *slot = n;
        slot = &n->c;
        n->a = slv_tpl_parse_tuple(p, false, false);
        if (!n->a || !parse_body(p, ends, &n->b)) return NULL;
        more = slv_tpl_at_name(p, "elif");
    }
    if (slv_tpl_at_name(p, "else")) {
        if (!slv_tpl_advance(p) || !parse_block(p, "endif", slot)) return NULL;
    } else if (!slv_tpl_advance(p)) return NULL;
    p->soft = soft;
    p->branches--;
    return first;
}

static bool parse_for_body(struct tpl_parser *p, struct tpl_node *n, unsigned outer_loops) {
    static const char *const ends[] = {"endfor", "else", NULL};
    bool has_else;
    p->loops = n->flag ? 1 : outer_loops + 1;
    if (!parse_body(p, ends, &n->body)) return false;
    has_else = slv_tpl_at_name(p, "else");
    if (!slv_tpl_advance(p)) return false;
    /* What stands behind else is no longer in the loop. */
    p->loops = n->flag ? 0 : outer_loops;
    return !has_else || parse_block(p, "endfor", &n->orelse);
}

static struct tpl_node *parse_for(struct tpl_parser *p) {
    struct tpl_node *n = slv_tpl_node(p, OP_FOR, p->tok.line);
    bool has_test, is_in;
    if (!n || !slv_tpl_advance(p)) return NULL;
    p->fors++;
    n->a = parse_targets(p, false, MENTION_STORE);
    if (!n->a || !slv_tpl_skip_name(p, "in", &is_in)) return NULL;
    if (!is_in) return slv_tpl_syntax(p, "expected 'in'");
    n->b = slv_tpl_parse_tuple(p, false, false);
    if (!n->b || !slv_tpl_skip_name(p, "if", &has_test)) return NULL;
    struct inside was = enter_frame(p);
    if (has_test) {
        n->c = slv_tpl_parse_expr(p, true);
        if (!n->c) return NULL;
    }
    if (!slv_tpl_skip_name(p, "recursive", &n->flag) || !parse_for_body(p, n, was.loops))
        return NULL;
    leave_frame(p, was);
    p->fors--;
    return n;
}

static struct tpl_node *parse_set(struct tpl_parser *p) {
    struct tpl_node *n = slv_tpl_node(p, OP_SET, p->tok.line);
    if (!n || !slv_tpl_advance(p)) return NULL;
    n->a = parse_targets(p, true, MENTION_STORE);
    if (!n->a) return NULL;
    if (p->tok.type == T_ASSIGN) {
        if (!slv_tpl_advance(p)) return NULL;
        n->b = slv_tpl_parse_tuple(p, true, false);
        return n->b && note_target(p, n->a) ? n : NULL;
    }
    n->op = OP_SETBLOCK;
    if (!note_target(p, n->a)) return NULL;
    struct inside was = enter_frame(p);
    if (p->tok.type == T_PIPE) {
        n->b = slv_tpl_parse_filters(p, NULL, false);
        if (!n->b) return NULL;
    }
    if (!parse_block(p, "endset", &n->body)) return NULL;
    leave_frame(p, was);
    return n;
}

/* "(a, b=1)" of a macro or a call. */
static bool parse_signature(struct tpl_parser *p, struct tpl_sig *sig) {
    struct tpl_node **end = &sig->params;
    bool defaults = false;
    if (!slv_tpl_expect(p, T_LPAREN, "'('")) return false;
    while (p->tok.type != T_RPAREN) {
        if (sig->n && !slv_tpl_expect(p, T_COMMA, "','")) return false;
        struct tpl_node *n = parse_target_name(p, false, MENTION_PARAM);
        if (!n) return false;
        for (const struct tpl_node *o = sig->params; o; o = o->next)
            if (o->id == n->id) return slv_tpl_syntax(p, "duplicate parameter") != NULL;
        if (p->tok.type == T_ASSIGN) {
            if (!slv_tpl_advance(p)) return false;
            n->a = slv_tpl_parse_expr(p, true);
            if (!n->a) return false;
            defaults = true;
        } else if (defaults) {
            return slv_tpl_syntax(p, "non-default argument follows default argument") != NULL;
        }
        *end = n;
        end = &n->next;
        if (++sig->n > PARAMS_MAX) {
            slv_tpl_refuse(p, SLV_E_LIMIT, "more than %d parameters", PARAMS_MAX);
            return false;
        }
    }
    return slv_tpl_advance(p);
}

static bool special_id(struct tpl_parser *p, const char *name, uint32_t *ret) {
    return slv_tpl_id(p, (struct tpl_text){name, strlen(name)}, ret);
}

/* Reads a macro's body and what it says about caller, kwargs and varargs. */
static bool parse_macro_body(struct tpl_parser *p, struct tpl_node *n, const char *end) {
    struct tpl_sig *sig = n->sig;
    struct tpl_reads reads = {.outer = p->reads};
    bool *const wants[] = {&sig->caller, &sig->kwargs, &sig->varargs};
    uint32_t *const ids[] = {&sig->caller_id, &sig->kwargs_id, &sig->varargs_id};
    static const char *const names[] = {"caller", "kwargs", "varargs"};
    p->reads = &reads;
    p->loops = 0;
    bool ok = parse_block(p, end, &n->body);
    p->reads = reads.outer;
    for (int i = 0; ok && i < 3; i++) {
        ok = special_id(p, names[i], ids[i]);
        *wants[i] = reads.names[i];
        for (const struct tpl_node *o = sig->params; ok && o; o = o->next) {
            if (o->id != *ids[i]) continue;
            *wants[i] = false;
            if (i == 0 && reads.names[i] && !o->a)
                ok = slv_tpl_syntax(p, "a macro's \"caller\" argument must have a default");
        }
    }
    return ok;
}

static struct tpl_node *macro_node(struct tpl_parser *p, enum tpl_op op) {
    struct tpl_node *n = slv_tpl_node(p, op, p->tok.line);
    if (!n) return NULL;
    n->sig = slv_tpl_alloc(p->mem, sizeof *n->sig);
    return n->sig && slv_tpl_advance(p) ? n : NULL;
}

static struct tpl_node *parse_macro(struct tpl_parser *p) {
    struct tpl_node *n = macro_node(p, OP_MACRO);
    if (!n) return NULL;
    struct tpl_text name = p->tok.s;
    struct tpl_node *target = parse_target_name(p, false, MENTION_PARAM);
    if (!target || !slv_tpl_note_first(p, target->id, MENTION_STORE)) return NULL;
    n->id = target->id;
    n->sig->name = slv_arena_strndup(&p->mem->arena, name.p, name.n);
    if (!n->sig->name) p->mem->failed = true;
    struct inside was = enter_frame(p);
    if (!n->sig->name || !parse_signature(p, n->sig) || !parse_macro_body(p, n, "endmacro"))
        return NULL;
    leave_frame(p, was);
    return n;
}

static struct tpl_node *parse_call_block(struct tpl_parser *p) {
    struct tpl_node *n = macro_node(p, OP_CALLBLOCK);
    if (!n) return NULL;
    struct inside was = enter_frame(p);
    if (p->tok.type == T_LPAREN && !parse_signature(p, n->sig)) return NULL;
    leave_frame(p, was);
    n->a = slv_tpl_parse_expr(p, true);
    if (!n->a) return NULL;
    if (n->a->op != OP_CALL) return slv_tpl_syntax(p, "expected call");
    was = enter_frame(p);
    if (!parse_macro_body(p, n, "endcall")) return NULL;
    leave_frame(p, was);
    return n;
}

/* Training marks what the assistant says with this tag; a frame, and no other effect. */
static struct tpl_node *parse_generation(struct tpl_parser *p) {
    struct tpl_node *n = macro_node(p, OP_GENERATION);
    if (!n) return NULL;
    struct inside was = enter_frame(p);
    if (!parse_macro_body(p, n, "endgeneration")) return NULL;
    leave_frame(p, was);
    return n;
}

static struct tpl_node *parse_filter_block(struct tpl_parser *p) {
    struct tpl_node *n = slv_tpl_node(p, OP_FILTERBLOCK, p->tok.line);
    if (!n || !slv_tpl_advance(p)) return NULL;
    struct inside was = enter_frame(p);
    n->a = slv_tpl_parse_filters(p, NULL, true);
    if (!n->a || !parse_block(p, "endfilter", &n->body)) return NULL;
    leave_frame(p, was);
    return n;
}

static struct tpl_node *parse_with(struct tpl_parser *p) {
    struct tpl_node *n = slv_tpl_node(p, OP_WITH, p->tok.line);
    if (!n || !slv_tpl_advance(p)) return NULL;
    struct tpl_node **targets = &n->a, **values = &n->b;
    while (p->tok.type != T_BLOCK_END) {
        if (n->a && !slv_tpl_expect(p, T_COMMA, "','")) return NULL;
        *targets = parse_targets(p, false, MENTION_PARAM);
        if (!*targets || !slv_tpl_expect(p, T_ASSIGN, "'='")) return NULL;
        targets = &(*targets)->next;
        *values = slv_tpl_parse_expr(p, true);
        if (!*values) return NULL;
        values = &(*values)->next;
    }
    struct inside was = enter_frame(p);
    if (!parse_block(p, "endwith", &n->body)) return NULL;
    leave_frame(p, was);
    return n;
}

static struct tpl_node *parse_print(struct tpl_parser *p) {
    struct tpl_node *first = NULL, **end = &first;
    uint32_t line = p->tok.line;
    if (!slv_tpl_advance(p)) return NULL;
    while (p->tok.type != T_BLOCK_END) {
        if (first && !slv_tpl_expect(p, T_COMMA, "','")) return NULL;
        struct tpl_node *n = slv_tpl_node(p, OP_PRINT, line);
        if (!n) return NULL;
        n->a = slv_tpl_parse_expr(p, true);
        if (!n->a) return NULL;
        *end = n;
        end = &n->next;
    }
    if (first) return first;
    first = slv_tpl_node(p, OP_DATA, line);
    if (first) first->val = &slv_tpl_empty;
    return first;
}

static struct tpl_node *parse_flow(struct tpl_parser *p) {
    enum tpl_op op = slv_tpl_at_name(p, "break") ? OP_BREAK : OP_CONTINUE;
    if (!p->loops) return slv_tpl_syntax(p, "break or continue outside of a loop");
    struct tpl_node *n = slv_tpl_node(p, op, p->tok.line);
    return n && slv_tpl_advance(p) ? n : NULL;
}

static struct tpl_node *parse_refused(struct tpl_parser *p) {
    return slv_tpl_refuse(p, SLV_E_UNSUPPORTED, "the statement '%.*s' is not supported",
                          (int)p->tok.s.n, p->tok.s.p);
}

static struct tpl_node *parse_statement(struct tpl_parser *p) {
    static const struct {
        const char *name;
        struct tpl_node *(*parse)(struct tpl_parser *);
    } rows[] = {
        {"if", parse_if},
        {"for", parse_for},
        {"set", parse_set},
        {"macro", parse_macro},
        {"call", parse_call_block},
        {"filter", parse_filter_block},
        {"with", parse_with},
        {"print", parse_print},
        {"break", parse_flow},
        {"continue", parse_flow},
        {"generation", parse_generation},
        {"include", parse_refused},
        {"import", parse_refused},
        {"from", parse_refused},
        {"extends", parse_refused},
        {"block", parse_refused},
        {"autoescape", parse_refused},
    };
    if (p->tok.type != T_NAME) return slv_tpl_syntax(p, "tag name expected");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (slv_tpl_at_name(p, rows[i].name)) return rows[i].parse(p);
    int n = p->tok.s.n < 100 ? (int)p->tok.s.n : 100;
    return slv_tpl_syntax(p, "Encountered unknown tag '%.*s'", n, p->tok.s.p);
}

/* --- compiling -------------------------------------------------------------------------------- */

/* Copies the text with "\r\n" and "\r" as "\n" and without one newline at its end. */
static bool normalize(struct tpl_parser *p, const char *text, size_t n) {
    char *out = slv_tpl_alloc(p->mem, n + 1);
    size_t k = 0;
    if (!out) return false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\r') {
            out[k++] = '\n';
            if (i + 1 < n && text[i + 1] == '\n') i++;
        } else {
            out[k++] = text[i];
        }
    }
    if (k && out[k - 1] == '\n') k--;
    p->p = out;
    p->n = k;
    return true;
}

static bool compile(struct tpl_parser *p, const char *text, size_t n) {
    size_t at;
    if (n > TPL_TEXT_MAX) {
        slv_tpl_refuse(p, SLV_E_LIMIT, "a template longer than %zu bytes", TPL_TEXT_MAX);
        return false;
    }
    if (!slv_utf8_valid(text, n, &at)) {
        for (size_t i = 0; i < at; i++)
            p->tok.line += text[i] == '\n';
        slv_tpl_syntax(p, "the template is not valid UTF-8");
        return false;
    }
    p->t->ids = slv_value_dict(p->mem);
    if (!p->t->ids || !normalize(p, text, n) || !slv_tpl_advance(p)) return false;
    if (!special_id(p, "loop", &p->t->loop_id)) return false;
    if (!parse_nodes(p, NULL, &p->t->body)) return false;
    if (p->unknown) {
        p->tok.line = p->unknown->line;
        int length = p->unknown->val->s.n < 100 ? (int)p->unknown->val->s.n : 100;
        slv_tpl_refuse(p, SLV_E_UNSUPPORTED, "No %s named '%.*s'",
                       p->unknown->op == OP_TEST ? "test" : "filter", length, p->unknown->val->s.p);
        return false;
    }
    return true;
}

int slv_template_compile(const char *text, size_t n, struct slv_template **ret,
                         struct slv_err *err) {
    struct slv_template *t = slv_mem_alloc(sizeof *t);
    if (!t) return slv_err_set(err, SLV_E_NOMEM, "chat template: memory is out");
    *t = (struct slv_template){0};
    slv_tpl_scope_init(&t->mem, TPL_CODE_MAX);
    struct tpl_parser p = {.t = t, .mem = &t->mem, .line = 1, .tok.line = 1, .err = err};
    p.line_starting = true;
    if (compile(&p, text, n) && !t->mem.failed) {
        *ret = t;
        return 0;
    }
    if (!p.rc)
        p.rc = t->mem.full ? slv_err_set(err, SLV_E_LIMIT, "line %u: the template is too large",
                                         (unsigned)p.tok.line)
                           : slv_err_set(err, SLV_E_NOMEM, "chat template: memory is out");
    slv_template_free(t);
    return p.rc;
}

void slv_template_free(struct slv_template *t) {
    if (!t) return;
    slv_arena_fini(&t->mem.arena);
    slv_mem_free(t);
}
