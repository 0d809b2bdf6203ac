/* box.h: sets of JSON values in the form that a schema is brought to, and their intersection.
 *
 * A *literal* is a place (a subschema, or a value it must equal) or the complement of one. A *spec*
 * is a set of literals that a value must meet all of; equal specs have equal numbers, so there are
 * finitely many, and a recursive schema becomes a finite graph. A *box* says for each type of JSON
 * which values belong to it: numbers by a set, strings by a language and bounds of their length,
 * arrays and objects by a record whose members are specs. What a literal means is a list of boxes,
 * their union.
 *
 * Every keyword that speaks of one type alone is a box; boxes intersect type by type; so allOf,
 * $ref and all that stands side by side multiply lists, anyOf joins them, and the complement of a
 * keyword is a short list again. Nothing else is needed for oneOf, not, if, and dependencies.
 *
 * Where the alternatives of a list differ only in which members are there (anyOf of "required",
 * dependencies, their complements), they become one box with a *group*, so that such keywords do
 * not multiply.
 *
 * A record of an object splits the names it does not list by classes: languages that share no name
 * and together have all of them. `wants` and `contains` are what complements need: that some
 * member, or some items, meet a spec.
 *
 * Errors are sticky in the compilation; functions go on with what they have. */
#ifndef SLV_ENGINE_CONSTRAINT_BOX_H
#define SLV_ENGINE_CONSTRAINT_BOX_H

#include "engine/constraint/document.h"
#include "engine/constraint/lang.h"
#include "engine/constraint/number.h"
#include "engine/constraint/regex.h"

typedef uint32_t slv_lit; /* place * 2, + 1: its complement */
typedef uint32_t slv_spec;
typedef uint32_t slv_name; /* of a property */

enum { SLV_SPEC_ANY = 0, SLV_SPEC_NONE = 1 };

#define SLV_COUNT_INF UINT32_MAX
#define SLV_MAX_BOXES 2048u /* of one spec */
#define SLV_MAX_SPECS 100000u
#define SLV_MAX_CLASSES 64u
#define SLV_MAX_CREDITS 4u /* wants of an object, or contains of an array */
#define SLV_MAX_EXPAND_DEPTH 100u
#define SLV_MAX_WORK 200000u /* intersections of boxes */
#define SLV_BOX_STEPS 8u     /* that one is counted as: slv_langs_spend */
#define SLV_CLEAR_WORK 300u  /* of them, to see whether a spec has no value by form */

enum {
    SLV_T_NULL = 1,
    SLV_T_FALSE = 2,
    SLV_T_TRUE = 4,
    SLV_T_NUMBER = 8,
    SLV_T_STRING = 16,
    SLV_T_ARRAY = 32,
    SLV_T_OBJECT = 64,
    SLV_T_ALL = 127
};

struct slv_prop {
    slv_name name;
    slv_spec spec;
    bool required;
};

struct slv_class {
    slv_lang names;
    slv_spec spec;
};

/* One way to meet a group: these members are there, or are not. */
struct slv_presence {
    const struct slv_prop *v; /* `required`: there; the spec does not count */
    uint32_t n;
};

struct slv_group { /* one of these ways */
    const struct slv_presence *v;
    uint32_t n;
};

struct slv_object {
    const struct slv_prop *props;    /* in the schema's order, each name once */
    const struct slv_class *classes; /* of all other names */
    const struct slv_class *wants;   /* for each: some member whose name is in it meets its spec */
    const struct slv_group *groups;  /* each of them is met */
    uint32_t n_props, n_classes, n_wants, n_groups, min, max;
};

struct slv_contains {
    slv_lit lit;
    uint32_t min, max; /* so many items meet it */
    uint32_t from;     /* of those from this index on */
};

struct slv_array {
    const slv_spec *prefix;
    const struct slv_contains *contains;
    uint32_t n_prefix, n_contains, min, max;
    slv_spec rest;
    bool unique;
};

/* What keywords have looked at, for unevaluatedProperties and unevaluatedItems. */
struct slv_evaluated {
    slv_lang names;
    uint32_t items;           /* so many at the start; SLV_COUNT_INF: all */
    const slv_lit *contained; /* items that meet one of these */
    uint32_t n_contained;
};

struct slv_box {
    unsigned types;
    const struct slv_numbers *numbers;
    slv_lang text;
    uint32_t min_len, max_len;
    const struct slv_array *array;         /* NULL: any */
    const struct slv_object *object;       /* NULL: any */
    const struct slv_evaluated *evaluated; /* NULL: nothing */
};

struct slv_boxes {
    struct slv_box *v;
    size_t n, cap;
};

enum slv_place_kind { SLV_PLACE_SCHEMA, SLV_PLACE_VALUE, SLV_PLACE_EITHER };

struct slv_place {
    enum slv_place_kind kind;
    slv_node node;         /* SCHEMA; else the schema that it came from */
    const json_t *value;   /* VALUE */
    const slv_lit *either; /* EITHER: meets one of these */
    uint32_t n_either;
    const struct slv_box *boxes[2]; /* what it means, and its complement; NULL: not known yet */
    uint32_t n_boxes[2];
    uint8_t state[2]; /* 0, 1: being found out, 2: known */
};

struct slv_spec_def {
    const slv_lit *v; /* sorted */
    uint32_t n;
    uint8_t clear; /* 0: not asked, 1: asking, 2: may have values, 3: has none, by form */
};

struct slv_name_def {
    const char *s;
    size_t n;
};

struct slv_compile {
    struct slv_arena mem;
    struct slv_langs *p;
    struct slv_document *d;
    struct slv_place *places;
    size_t n_places, cap_places;
    slv_lit *place_of_node; /* place + 1 */
    size_t n_place_of_node;
    struct slv_spec_def *specs;
    size_t n_specs, cap_specs;
    uint32_t *spec_slots;
    size_t n_spec_slots;
    struct slv_name_def *names;
    size_t n_names, cap_names;
    uint32_t *name_slots;
    size_t n_name_slots;
    unsigned depth;
    unsigned clear_depth; /* inside slv_spec_clear */
    bool unknown;         /* there, something is not known yet: what is computed is worth nothing */
    bool formats;         /* "format" is asserted */
    enum slv_regex_classes classes;
    bool annotate;          /* an unevaluated... is somewhere: boxes say what they have looked at */
    size_t work;            /* intersections of boxes so far */
    size_t clear_work;      /* when to give up inside slv_spec_clear */
    slv_node costly;        /* where the pattern stands that is made of most, */
    const char *costly_key; /* its keyword, NULL: there is none, */
    uint32_t cost;          /* and of how much */
    int rc;
    struct slv_err *err;
    char *at; /* SLV_SCHEMA_POINTER_MAX, or NULL */
};

/* Notes the first error: code, text, and the pointer of `keyword` (may be NULL) in node n. */
void slv_refuse(struct slv_compile *c, int code, slv_node n, const char *keyword, const char *fmt,
                ...) __attribute__((format(printf, 5, 6)));
/* count * size zeroed bytes; NULL, and the error noted, past the limit. */
void *slv_compile_take(struct slv_compile *c, size_t count, size_t size);

slv_name slv_name_of(struct slv_compile *c, const char *s, size_t n);

slv_lit slv_lit_schema(struct slv_compile *c, const json_t *schema, slv_node within);
slv_lit slv_lit_node(struct slv_compile *c, slv_node n);
slv_lit slv_lit_value(struct slv_compile *c, const json_t *value, slv_node within);
slv_lit slv_lit_either(struct slv_compile *c, const slv_lit *v, size_t n, slv_node within);

slv_spec slv_spec_of(struct slv_compile *c, slv_lit l);
slv_spec slv_spec_and(struct slv_compile *c, slv_spec a, slv_spec b);
/* Whether it has no value, seen without going round: false where it is not known. */
bool slv_spec_clear(struct slv_compile *c, slv_spec s);

extern const struct slv_object slv_object_any;
extern const struct slv_array slv_array_any;

/* Objects that are like both. */
const struct slv_object *slv_object_and(struct slv_compile *c, const struct slv_object *a,
                                        const struct slv_object *b);

/* All values. */
struct slv_box slv_box_all(void);
/* All values of the types. */
struct slv_box slv_box_of(unsigned types);
/* a and b; types in which nothing is left, by form, are gone. */
struct slv_box slv_box_and(struct slv_compile *c, const struct slv_box *a, const struct slv_box *b);

/* Lists: an empty box is not added, nor one that is there. */
void slv_boxes_add(struct slv_compile *c, struct slv_boxes *to, const struct slv_box *b);
/* to = to x with; `with` is left alone. */
void slv_boxes_and(struct slv_compile *c, struct slv_boxes *to, const struct slv_box *v, size_t n);
/* Puts those that differ only in which members are there into one box with a group. */
void slv_boxes_fold(struct slv_compile *c, struct slv_boxes *b);
void slv_boxes_free(struct slv_boxes *b);

/* What a literal means: borrowed until the compilation ends. NULL and 0 after an error. */
const struct slv_box *slv_expand(struct slv_compile *c, slv_lit l, uint32_t *ret_n);
/* Multiplies to by all of a spec's literals. */
void slv_boxes_and_spec(struct slv_compile *c, struct slv_boxes *to, slv_spec s);

#endif
