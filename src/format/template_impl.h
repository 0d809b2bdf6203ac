/* template_impl.h: what the files of the chat-template interpreter share; nobody else includes it.
 *
 *   text -> tpl_lex.c -> tokens -> tpl_parse.c, tpl_expr.c -> nodes in the template's arena
 *   nodes + scope -> tpl_exec.c (statements), tpl_eval.c (expressions) -> text
 *   tpl_value.c  values, dicts, scopes      tpl_ops.c      operators, attributes, items, slices
 *   tpl_text.c   str(), repr(), numbers     tpl_iter.c     iterators, unpacking
 *   tpl_json.c   JSON in, tojson            tpl_printf.c   the % operator and str.format
 *   tpl_time.c   strftime
 *   tpl_filters.c, tpl_seq_filters.c        tables of filters
 *   tpl_tests.c, tpl_globals.c              tables of tests and of global functions
 *   tpl_methods.c, tpl_search.c, tpl_case.c methods of str, dict, list; Unicode case and classes
 *
 * Semantics are those of Jinja2 3.1 (its documentation and behaviour) on Python 3 values, in the
 * sandbox that forbids changing lists and dicts. So every value is immutable once the template can
 * see it, except namespaces, cyclers, joiners, iterators and the loop object; strings share bytes.
 *
 * Failure. A function that returns a value, or bool, gives NULL or false when it fails. The reason
 * is in run->err when run->rc is set; otherwise memory or the scope's room is out. The first reason
 * wins. Callers only unwind: scratch and arena are given back as a whole at the end.
 *
 * Bounds. Every evaluated node, every element walked and every 32 bytes copied costs a step of
 * TPL_STEPS_MAX; every recursion, of nodes or of values, costs one of TPL_DEPTH_MAX; values live in
 * an arena of TPL_RUN_MAX; text under construction lives in one scratch buffer of TPL_STR_MAX. */
#ifndef SLV_FORMAT_TEMPLATE_IMPL_H
#define SLV_FORMAT_TEMPLATE_IMPL_H

#include "base/arena.h"
#include "format/template.h"

#define TPL_TEXT_MAX ((size_t)1 << 20)  /* bytes of a template */
#define TPL_CODE_MAX ((size_t)24 << 20) /* bytes of its compiled form */
#define TPL_NEST_MAX 100                /* statements and parentheses inside each other */
#define TPL_RUN_MAX ((size_t)40 << 20)  /* bytes of values made by one rendering */
#define TPL_STR_MAX ((size_t)8 << 20)   /* bytes of one string, and of all texts being built */
#define TPL_STEPS_MAX 20000000u         /* units of work in one rendering */
#define TPL_DEPTH_MAX 900               /* recursion while rendering */
#define TPL_RANGE_MAX 100000            /* elements of a range, as in Jinja's sandbox */
#define TPL_JSON_DEPTH 64               /* nesting of JSON given to slv_value_parse */

/* --- values ----------------------------------------------------------------------------------- */

enum tpl_kind {
    TPL_UNDEF, /* text: the name that was asked for */
    TPL_NONE,
    TPL_BOOL,
    TPL_INT,
    TPL_BIGINT, /* text: decimal digits of an integer that does not fit 64 bits; not computed with
                 */
    TPL_FLOAT,
    TPL_STR,
    TPL_LIST,
    TPL_TUPLE,
    TPL_DICT,
    TPL_VIEW,  /* dict.keys(), .values(), .items() */
    TPL_RANGE, /* range(...) */
    TPL_ITER,  /* what map, select, reverse... give: can be walked once */
    TPL_NS,    /* namespace(...) */
    TPL_MACRO,
    TPL_METHOD, /* a method together with its object */
    TPL_FUNC,   /* a global function */
    TPL_LOOP,
    TPL_CYCLER,
    TPL_JOINER,
};

enum tpl_view { TPL_KEYS, TPL_VALUES, TPL_ITEMS };

struct tpl_text {
    const char *p;
    size_t n;
};

struct slv_value {
    uint8_t kind; /* enum tpl_kind */
    union {
        bool truth;   /* BOOL */
        bool markup;  /* STR: came from |safe or |escape; + and % escape the other side */
        bool grouped; /* TUPLE: made by groupby, has .grouper and .list */
        uint8_t view; /* VIEW: enum tpl_view */
    };
    uint32_t cps; /* STR: code points */
    union {
        int64_t i;
        double d;
        struct tpl_text s; /* STR (valid UTF-8), BIGINT, UNDEF */
        struct tpl_list *list;
        struct tpl_dict *dict; /* DICT, VIEW, NS */
        struct tpl_range *range;
        struct tpl_iter *iter;
        struct tpl_macro *macro;
        struct tpl_method *method;
        const struct tpl_def *func;
        struct tpl_loop *loop;
        struct tpl_cycle *cycle; /* CYCLER, JOINER */
    };
    struct growth *growth; /* STR: in front of bytes that more may follow, or NULL */
};

struct tpl_list {
    struct slv_value **v;
    size_t n, cap;
};

struct tpl_entry {
    struct slv_value *key, *value;
    uint64_t hash;
};

/* Entries in the order of insertion; past a few of them an open-addressed index of 1 + position. */
struct tpl_dict {
    struct tpl_entry *e;
    size_t n, cap;
    uint32_t *index;
    size_t mask;
};

struct tpl_range {
    int64_t start, stop, step;
    size_t n;
};

struct tpl_cycle {
    struct tpl_list items; /* CYCLER */
    size_t pos;
    struct slv_value *sep; /* JOINER */
    bool used;
};

/* Owner of values: a caller's names, a template's constants, or what one rendering makes. */
struct slv_scope {
    struct slv_arena arena;
    const struct slv_clock *clock;
    struct slv_value *names; /* DICT */
    uint64_t seed;           /* of dict hashes; only speed depends on it */
    bool failed, full;       /* an allocation failed; it was for want of room, not of memory */
};

/* --- compiled templates ----------------------------------------------------------------------- */

enum tpl_op {
    /* expressions */
    OP_CONST,   /* val */
    OP_NAME,    /* id; val: the undefined value to give when it is not set */
    OP_TUPLE,   /* a: elements */
    OP_LIST,    /* a: elements */
    OP_DICT,    /* a: key, value, key, value... */
    OP_GETATTR, /* a; val: name */
    OP_GETITEM, /* a, b */
    OP_SLICE,   /* a, b, c: each may be NULL */
    OP_CALL,    /* a; call */
    OP_FILTER,  /* a (NULL: the text of a block), fn (NULL: unknown, val: name); call */
    OP_TEST,    /* a, fn (NULL: unknown, val: name); call */
    OP_NOT,
    OP_NEG,
    OP_POS,
    OP_AND,
    OP_OR,
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_FLOORDIV,
    OP_MOD,
    OP_POW,
    OP_CONCAT,  /* a: elements */
    OP_COMPARE, /* a; b: list of OP_EQ..OP_NOTIN nodes, operand in their a */
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_IN,
    OP_NOTIN,
    OP_COND,    /* a if b else c (NULL: undefined) */
    OP_NSREF,   /* target: id . val */
    OP_KEYWORD, /* val: name, a: value */
    /* statements */
    OP_DATA,        /* val */
    OP_PRINT,       /* a */
    OP_IF,          /* a: test, b: body, c: else (an elif is an OP_IF there) */
    OP_FOR,         /* a: target, b: iterable, c: test, body, orelse; flag: recursive */
    OP_SET,         /* a: target, b: value */
    OP_SETBLOCK,    /* a: target, b: filters or NULL, body */
    OP_MACRO,       /* macro; body */
    OP_CALLBLOCK,   /* a: OP_CALL, macro; body */
    OP_GENERATION,  /* body, in a frame of its own */
    OP_FILTERBLOCK, /* a: filters, body */
    OP_WITH,        /* a: targets, b: values, body */
    OP_BREAK,
    OP_CONTINUE,
};

struct tpl_call {
    struct tpl_node *args, *kwargs; /* lists */
    struct tpl_node *dyn_args, *dyn_kwargs;
    size_t n, nkw;
};

/* A macro's parameters: OP_NAME nodes, and their defaults in `a`. */
struct tpl_sig {
    const char *name; /* NULL: the body of a call */
    struct tpl_node *params;
    size_t n;
    bool caller, kwargs, varargs; /* the body speaks of these names */
    uint32_t caller_id, kwargs_id, varargs_id;
};

struct tpl_node {
    uint8_t op; /* enum tpl_op */
    bool flag;
    uint32_t line;
    uint32_t id;
    struct tpl_node *next; /* in a list */
    struct tpl_node *a, *b, *c;
    struct tpl_node *body, *orelse;
    struct slv_value *val;
    const struct tpl_def *fn;
    union {
        struct tpl_call *call;
        struct tpl_sig *sig;
        struct slv_value *undef; /* OP_GETATTR: what is given where there is no such attribute */
    };
};

struct slv_template {
    struct slv_scope mem;  /* nodes and constants */
    struct slv_value *ids; /* DICT: name -> id */
    struct tpl_node *body;
    uint32_t
        *hidden; /* names that the top level sets before it reads them: the scope's do not show */
    size_t hidden_n;
    uint32_t loop_id;
};

/* --- functions, filters, tests, methods ------------------------------------------------------- */

struct tpl_args {
    struct slv_value **v; /* after binding to a signature: NULL where not given */
    size_t n;
    struct slv_value **names, **kw; /* keyword arguments */
    size_t nkw;
};

struct tpl_run;

typedef struct slv_value *(*tpl_fn)(struct tpl_run *r, struct slv_value *self,
                                    const struct tpl_args *a);

/* One row of a table. `params` names the parameters after the value, in order, "a,b,c"; a leading
 * '*' says that the function takes its arguments as they come. Parameters can be given by keyword,
 * unless `positional`. */
struct tpl_def {
    const char *name;
    tpl_fn fn; /* NULL in a table of methods: known to Python, refused here */
    unsigned min, max;
    const char *params;
    bool positional;
};

/* The row of a name, or NULL. */
const struct tpl_def *slv_tpl_filter(const char *name, size_t n);
const struct tpl_def *slv_tpl_test(const char *name, size_t n);
const struct tpl_def *slv_tpl_global(const char *name, size_t n);
const struct tpl_def *slv_tpl_method(const struct slv_value *v, const char *name, size_t n);
/* Looks `name` up in a table whose last row has a NULL name. */
const struct tpl_def *slv_tpl_find(const struct tpl_def *table, const char *name, size_t n);
/* Whether Python has this method and Jinja's immutable sandbox hides it. */
bool slv_tpl_method_unsafe(const struct slv_value *v, const char *name, size_t n);

/* Binds arguments to def's parameters and calls it. */
struct slv_value *slv_tpl_invoke(struct tpl_run *r, const struct tpl_def *def,
                                 struct slv_value *self, const struct tpl_args *a);

#define TPL_ARGS_MAX 8 /* most parameters in any table */

/* --- one rendering ---------------------------------------------------------------------------- */

struct tpl_binding {
    uint32_t id;
    struct slv_value *v;
};

/* A scope of names. The outermost frame has parent NULL and keeps its values in run->root. */
struct tpl_frame {
    struct tpl_frame *parent;
    struct tpl_binding *b;
    size_t n, cap;
};

enum tpl_flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

struct tpl_run {
    const struct slv_template *t;
    struct slv_scope *given; /* the caller's names */
    struct slv_scope mem;    /* values made here */
    struct slv_value **root; /* by name id; NULL: not set */
    struct tpl_frame *frame;
    struct slv_buf *out;
    struct slv_buf scratch; /* a stack of texts being built; see slv_tpl_begin */
    unsigned captures;      /* above 0: statements print to scratch */
    enum tpl_flow flow;
    uint32_t steps, depth;
    uint32_t line; /* of the node at work */
    int rc;
    struct slv_err *err;
};

struct tpl_macro {
    const struct tpl_sig *sig;
    struct tpl_node *body;
    struct tpl_frame *frame; /* where it was defined */
};

struct tpl_method {
    struct slv_value *self;
    const struct tpl_def *def;
};

/* An iterator. `next` gives 1 and a value, 0 at the end, -1 on failure. */
struct tpl_iter {
    int (*next)(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret);
    struct slv_value *src;
    size_t pos, at; /* element number; byte offset in a string */
    struct tpl_iter *inner;
    const struct tpl_def *def;                /* filter or test to apply */
    struct slv_value *attr, *fallback, *fill; /* fallback: what slice cuts, too */
    struct tpl_dict *seen;
    struct tpl_args args;
    size_t width;
    bool negate, fold, reversed;
    const struct tpl_node *node; /* a for statement whose test selects */
    struct tpl_frame *frame;
};

struct tpl_loop {
    struct tpl_iter *it;
    struct slv_value *src;                                /* NULL when a test selects */
    struct slv_value *before, *current, *after, *changed; /* NULL: none */
    bool have_after, ended;
    int64_t index0, depth0, length; /* length -1: not known */
    const struct tpl_node *node;    /* the statement when recursive, else NULL */
    struct tpl_frame *frame;        /* outside the loop */
};

/* Sets the reason (first one wins) with "line N: " before it and returns NULL. */
void *slv_tpl_fail(struct tpl_run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void *slv_tpl_fail_code(struct tpl_run *r, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Pays for n units of work. */
bool slv_tpl_pay(struct tpl_run *r, size_t n);
/* Pays for a recursion; slv_tpl_leave gives the depth back. */
bool slv_tpl_enter(struct tpl_run *r);
static inline void slv_tpl_leave(struct tpl_run *r) { r->depth--; }

/* --- tpl_value.c ------------------------------------------------------------------------------ */

extern struct slv_value slv_tpl_none, slv_tpl_true, slv_tpl_false, slv_tpl_undef, slv_tpl_empty;

static inline struct slv_value *slv_tpl_bool(bool v) { return v ? &slv_tpl_true : &slv_tpl_false; }

void slv_tpl_scope_init(struct slv_scope *s, size_t max);
void *slv_tpl_alloc(struct slv_scope *s, size_t size);
struct slv_value *slv_tpl_new(struct slv_scope *s, enum tpl_kind kind);
/* A string over bytes that are valid UTF-8 and live as long as the scope: nothing is copied. */
struct slv_value *slv_tpl_view(struct slv_scope *s, const char *p, size_t n);
/* The same with v's markup mark. */
struct slv_value *slv_tpl_like(struct tpl_run *r, const struct slv_value *v, const char *p,
                               size_t n);
struct slv_value *slv_tpl_cstr(struct slv_scope *s, const char *literal);
/* The text a followed by b; a's bytes are shared where they can grow. */
struct slv_value *slv_tpl_join2(struct tpl_run *r, const struct slv_value *a,
                                const struct slv_value *b);
struct slv_value *slv_tpl_list(struct slv_scope *s, enum tpl_kind kind, size_t cap);
bool slv_tpl_push(struct slv_scope *s, struct slv_value *list, struct slv_value *v);
struct slv_value *slv_tpl_pair(struct slv_scope *s, struct slv_value *a, struct slv_value *b);
/* Dicts. `r` may be NULL where keys are strings. slv_tpl_get gives NULL for "not there" too. */
bool slv_tpl_put(struct tpl_run *r, struct slv_scope *s, struct tpl_dict *d, struct slv_value *key,
                 struct slv_value *v);
struct slv_value *slv_tpl_get(struct tpl_run *r, struct slv_scope *s, const struct tpl_dict *d,
                              const struct slv_value *key);
struct slv_value *slv_tpl_get_str(struct slv_scope *s, const struct tpl_dict *d, const char *p,
                                  size_t n);
static inline bool slv_tpl_seq(const struct slv_value *v) {
    return v->kind == TPL_LIST || v->kind == TPL_TUPLE;
}
bool slv_tpl_text_is(const struct slv_value *v, const char *literal);

/* --- tpl_text.c ------------------------------------------------------------------------------- */

/* Texts are built at the scratch buffer's end: begin, append to &r->scratch, end. Calls nest. */
static inline size_t slv_tpl_begin(struct tpl_run *r) { return r->scratch.len; }
struct slv_value *slv_tpl_end(struct tpl_run *r, size_t mark);
bool slv_tpl_add(struct tpl_run *r, const char *p, size_t n);
bool slv_tpl_add_value(struct tpl_run *r, const struct slv_value *v);   /* as str() */
bool slv_tpl_add_repr(struct tpl_run *r, const struct slv_value *v);    /* as repr() */
bool slv_tpl_add_escaped(struct tpl_run *r, const struct slv_value *v); /* HTML; markup as it is */
bool slv_tpl_add_fill(struct tpl_run *r, const char *p, size_t n, size_t times);
/* v itself if it is a string, else str(v). */
struct slv_value *slv_tpl_str(struct tpl_run *r, struct slv_value *v);
const char *slv_tpl_type(const struct slv_value *v); /* Python's name of the type */
/* Python's repr of a float into out; returns the length. */
#define TPL_FLOAT_TEXT 40
size_t slv_tpl_float_text(double v, char out[TPL_FLOAT_TEXT]);
/* Decimal text (digits, one '.', an exponent) to double whatever the locale; false: not all of it
 * is a number. */
bool slv_tpl_parse_double(const char *p, size_t n, double *ret);
/* An integer from checked digits in `base` with an optional '-': INT, or BIGINT in base 10. NULL
 * without s->failed: too long. */
struct slv_value *slv_tpl_parse_int(struct slv_scope *s, const char *p, size_t n, int base);
/* Byte offset of code point number `index` (0..cps). */
size_t slv_tpl_offset(const struct slv_value *v, size_t index);
/* The code point number of a byte offset. */
size_t slv_tpl_index_of(const struct slv_value *v, size_t offset);
/* The bytes last to first. */
char *slv_tpl_reverse(struct tpl_run *r, struct tpl_text s);
/* First or last place of needle in s, or SIZE_MAX. Linear time. */
bool slv_tpl_search(struct tpl_run *r, struct tpl_text s, struct tpl_text needle, bool last,
                    size_t *ret);

/* --- tpl_ops.c -------------------------------------------------------------------------------- */

bool slv_tpl_truth(struct tpl_run *r, struct slv_value *v); /* may fail: look at r->rc */
int slv_tpl_equal(struct tpl_run *r, const struct slv_value *a, const struct slv_value *b); /* -1 */
/* a < b, a > b as Python orders them: sets *ret to -1, 0, 1 (2: NaN). False: no order, reason set.
 */
bool slv_tpl_order(struct tpl_run *r, const struct slv_value *a, const struct slv_value *b,
                   int *ret);
bool slv_tpl_hash(struct tpl_run *r, const struct slv_scope *s, const struct slv_value *v,
                  uint64_t *ret);
struct slv_value *slv_tpl_compare(struct tpl_run *r, enum tpl_op op, struct slv_value *a,
                                  struct slv_value *b);
struct slv_value *slv_tpl_arith(struct tpl_run *r, enum tpl_op op, struct slv_value *a,
                                struct slv_value *b);
struct slv_value *slv_tpl_unary(struct tpl_run *r, enum tpl_op op, struct slv_value *a);
bool slv_tpl_len(struct tpl_run *r, struct slv_value *v, size_t *ret);
/* x.name and x[key]; an undefined value where there is none. `undef` (may be NULL) is used then. */
struct slv_value *slv_tpl_getattr(struct tpl_run *r, struct slv_value *v, struct slv_value *name,
                                  struct slv_value *undef);
struct slv_value *slv_tpl_getitem(struct tpl_run *r, struct slv_value *v, struct slv_value *key,
                                  struct slv_value *undef);
struct slv_value *slv_tpl_slice(struct tpl_run *r, struct slv_value *v,
                                struct slv_value *const part[3]);
struct slv_value *slv_tpl_undefined(struct tpl_run *r, struct slv_value *name);
/* Fails with "'x' is undefined" if v is undefined. */
bool slv_tpl_defined(struct tpl_run *r, const struct slv_value *v);
/* The number of an INT or BOOL. */
bool slv_tpl_as_int(const struct slv_value *v, int64_t *ret);
bool slv_tpl_as_double(const struct slv_value *v, double *ret); /* FLOAT too */
struct slv_value *slv_tpl_int(struct tpl_run *r, int64_t v);
struct slv_value *slv_tpl_double(struct tpl_run *r, double v);
/* Attributes that are neither items nor methods: of loops, cyclers, macros, groups (tpl_loop.c). */
struct slv_value *slv_tpl_field(struct tpl_run *r, struct slv_value *v,
                                const struct slv_value *name);

/* --- tpl_iter.c ------------------------------------------------------------------------------- */

struct tpl_iter *slv_tpl_iter(struct tpl_run *r, struct slv_value *v); /* TypeError: NULL */
bool slv_tpl_iterable(const struct slv_value *v);
int slv_tpl_next(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret);
/* A new LIST or TUPLE of all elements. */
struct slv_value *slv_tpl_collect(struct tpl_run *r, struct slv_value *v, enum tpl_kind kind);
struct slv_value *slv_tpl_iter_value(struct tpl_run *r, struct tpl_iter *it);
struct tpl_iter *slv_tpl_iter_new(struct tpl_run *r,
                                  int (*next)(struct tpl_run *, struct tpl_iter *,
                                              struct slv_value **));
/* Elements last to first; NULL with a reason if v cannot be walked backwards. */
struct tpl_iter *slv_tpl_reversed(struct tpl_run *r, struct slv_value *v);

/* --- tpl_methods.c, tpl_search.c -------------------------------------------------------------- */

extern const struct tpl_def slv_tpl_search_methods[];
/* Fail unless v is a STR, or an INT or BOOL. */
bool slv_tpl_want_str(struct tpl_run *r, const struct slv_value *v);
bool slv_tpl_want_int(struct tpl_run *r, const struct slv_value *v, int64_t *ret);

/* --- tpl_seq_filters.c ------------------------------------------------------------------------ */

extern const struct tpl_def slv_tpl_seq_filters[];

/* --- tpl_json.c, tpl_printf.c, tpl_time.c, tpl_case.c
 * -------------------------------------------------------
 */

struct slv_value *slv_tpl_tojson(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a);
struct slv_value *slv_tpl_percent(struct tpl_run *r, struct slv_value *fmt, struct slv_value *args,
                                  struct slv_value *map);
struct slv_value *slv_tpl_format(struct tpl_run *r, struct slv_value *fmt,
                                 const struct tpl_args *a);

/* A moment in strftime's form, in UTC. */
bool slv_tpl_add_time(struct tpl_run *r, struct tpl_text form, uint64_t wall_ns);

bool slv_tpl_space(uint32_t cp);
enum tpl_case { CASE_UPPER, CASE_LOWER, CASE_TITLE, CASE_CAPITAL, CASE_SWAP, CASE_FOLD };
struct slv_value *slv_tpl_recase(struct tpl_run *r, struct slv_value *v, enum tpl_case how);
enum tpl_class {
    IS_ALPHA,
    IS_DIGIT,
    IS_DECIMAL,
    IS_NUMERIC,
    IS_ALNUM,
    IS_SPACE,
    IS_LOWER,
    IS_UPPER,
    IS_TITLE,
    IS_PRINTABLE,
    IS_IDENTIFIER,
    IS_ASCII
};
bool slv_tpl_all(const struct slv_value *v, enum tpl_class what);
bool slv_tpl_word_char(uint32_t cp); /* \w */
bool slv_tpl_printable(uint32_t cp);
/* s without white space, or without the code points in chars, at the ends named. */
struct tpl_text slv_tpl_strip(struct tpl_text s, const struct slv_value *chars, bool left,
                              bool right);

/* --- tpl_eval.c, tpl_exec.c, tpl_loop.c ------------------------------------------------------- */

struct slv_value *slv_tpl_eval(struct tpl_run *r, const struct tpl_node *n);
/* An OP_CALL whose callee gets `caller` as a keyword argument. */
struct slv_value *slv_tpl_eval_call(struct tpl_run *r, const struct tpl_node *n,
                                    struct slv_value *caller);
/* A chain of OP_FILTER nodes whose innermost input is `text`. */
struct slv_value *slv_tpl_filtered(struct tpl_run *r, const struct tpl_node *n,
                                   struct slv_value *text);
struct slv_value *slv_tpl_call_macro(struct tpl_run *r, const struct tpl_macro *m,
                                     const struct tpl_args *a);
struct slv_value *slv_tpl_call_loop(struct tpl_run *r, const struct tpl_loop *l,
                                    const struct tpl_args *a);
bool slv_tpl_exec(struct tpl_run *r, const struct tpl_node *body);
bool slv_tpl_exec_for(struct tpl_run *r, const struct tpl_node *n, struct slv_value *src,
                      int64_t depth0);
/* The value bound to a name, or NULL. */
struct slv_value *slv_tpl_lookup(struct tpl_run *r, uint32_t id);
/* Binds a name in the innermost frame; v NULL: known to be unset there. */
bool slv_tpl_bind(struct tpl_run *r, uint32_t id, struct slv_value *v);
bool slv_tpl_assign(struct tpl_run *r, const struct tpl_node *target, struct slv_value *v);
struct tpl_frame *slv_tpl_frame(struct tpl_run *r, struct tpl_frame *parent);
/* Text printed between the two goes to a new string. */
size_t slv_tpl_capture(struct tpl_run *r);
struct slv_value *slv_tpl_captured(struct tpl_run *r, size_t mark);

extern const struct tpl_def slv_tpl_loop_methods[], slv_tpl_cycler_methods[];

/* --- tpl_lex.c, tpl_expr.c, tpl_parse.c ------------------------------------------------------- */

enum tpl_token {
    T_EOF,
    T_DATA,
    T_VAR_BEGIN,
    T_VAR_END,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_NAME,
    T_STRING,
    T_INT,
    T_FLOAT,
    /* operators */
    T_ADD,
    T_SUB,
    T_MUL,
    T_DIV,
    T_FLOORDIV,
    T_MOD,
    T_POW,
    T_TILDE,
    T_LBRACKET,
    T_RBRACKET,
    T_LPAREN,
    T_RPAREN,
    T_LBRACE,
    T_RBRACE,
    T_EQ,
    T_NE,
    T_GT,
    T_GE,
    T_LT,
    T_LE,
    T_ASSIGN,
    T_DOT,
    T_COLON,
    T_PIPE,
    T_COMMA,
    T_SEMICOLON,
};

struct tpl_tok {
    enum tpl_token type;
    uint32_t line;
    struct tpl_text s;     /* DATA, NAME, STRING (as it stands for) */
    struct slv_value *val; /* INT, FLOAT */
};

enum tpl_state { LEX_ROOT, LEX_BLOCK, LEX_VAR };

/* What the parser must know about an enclosing macro: whether its body reads these names. */
struct tpl_reads {
    struct tpl_reads *outer;
    bool names[3];  /* caller, kwargs, varargs: read */
    bool closed[3]; /* set before: a later reading does not count */
};

struct tpl_parser {
    struct slv_template *t;
    struct slv_scope *mem;
    const char *p;
    size_t n, at;
    uint32_t line;
    enum tpl_state state;
    bool line_starting; /* what was read last ended with a newline */
    char brackets[TPL_NEST_MAX];
    unsigned brackets_n;
    struct tpl_tok tok, ahead; /* current, and the one after when have_ahead */
    bool have_ahead;
    unsigned depth; /* of the parser's own recursion */
    unsigned loops; /* loops that break could leave */
    unsigned fors;  /* loops around this place, also outside of a macro */
    bool soft;      /* inside an if: an unknown filter or test fails only when reached */
    const struct tpl_node *unknown; /* the first such filter or test elsewhere */
    struct tpl_reads *reads;
    unsigned frames;   /* frames around this place; 0: the top level */
    unsigned branches; /* ifs around it within its frame */
    uint8_t *seen;     /* by name id: the top level has mentioned it */
    size_t seen_cap, hidden_cap;
    struct slv_err *err;
    int rc;
};

bool slv_tpl_lex(struct tpl_parser *p, struct tpl_tok *ret);
bool slv_tpl_advance(struct tpl_parser *p); /* tok becomes the next token */
bool slv_tpl_peek(struct tpl_parser *p);    /* fills ahead */
void *slv_tpl_syntax(struct tpl_parser *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void *slv_tpl_refuse(struct tpl_parser *p, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool slv_tpl_at_name(const struct tpl_parser *p, const char *name);
bool slv_tpl_expect(struct tpl_parser *p, enum tpl_token type, const char *what);
bool slv_tpl_skip_name(struct tpl_parser *p, const char *name, bool *ret_skipped);
struct tpl_node *slv_tpl_node(struct tpl_parser *p, enum tpl_op op, uint32_t line);
bool slv_tpl_id(struct tpl_parser *p, struct tpl_text name, uint32_t *ret);
/* Notes for what the enclosing macros read, and for how the top level mentions a name first. */
enum tpl_mention { MENTION_LOAD, MENTION_STORE, MENTION_PARAM };
bool slv_tpl_note_read(struct tpl_parser *p, struct tpl_text name, enum tpl_mention how);
bool slv_tpl_note_first(struct tpl_parser *p, uint32_t id, enum tpl_mention how);
bool slv_tpl_deeper(struct tpl_parser *p);

struct tpl_node *slv_tpl_parse_expr(struct tpl_parser *p, bool with_cond);
struct tpl_node *slv_tpl_parse_tuple(struct tpl_parser *p, bool with_cond, bool parens);
/* `| name(...) | name(...)` behind `of`; `bare`: the first has no bar before it. */
struct tpl_node *slv_tpl_parse_filters(struct tpl_parser *p, struct tpl_node *of, bool bare);
struct tpl_node *slv_tpl_name_node(struct tpl_parser *p, struct tpl_text name, uint32_t line);
bool slv_tpl_reserved(struct tpl_text name);

#endif
