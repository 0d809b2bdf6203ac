/* shape.h: a compiled schema: for each spec, by type, what a value of it looks like while it is
 * written.
 *
 * Everything that has no value is gone: a property that no value fits is forbidden, an alternative
 * that cannot be completed is not there. Whether an object or an array that has begun can be
 * completed is decided by slv_members_can_end and slv_items_can_end; they may say no where a longer
 * search would say yes, never the other way, and a record is kept only if they say yes of its
 * beginning.
 *
 * A *credit* is one of a record's wants or contains that a member or an item meets. A member may
 * be read as one that meets some of them, or as one that need not: its spec depends on which (a
 * *variant*). */
#ifndef SLV_ENGINE_CONSTRAINT_SHAPE_H
#define SLV_ENGINE_CONSTRAINT_SHAPE_H

#include "engine/constraint/box.h"

#define SLV_VARIANTS 16 /* 2 to the power of SLV_MAX_CREDITS */

struct slv_string_set {
    slv_lang lang;
    uint32_t min, max; /* code points; 0 and SLV_LANG_INF where the language knows */
};

struct slv_member {
    const char *key; /* `"name":` as it is written, escapes included */
    uint32_t n;
    uint32_t order; /* in the schema */
    bool required;
    uint8_t credits;      /* wants it may meet */
    const slv_spec *spec; /* by set of credits; SLV_SPEC_NONE: not possible */
};

struct slv_free_member { /* members whose names are of a language */
    slv_lang names;
    bool boundless; /* whatever name has begun, it can end in infinitely many ways */
    uint32_t count; /* names, up to SLV_COUNT_INF */
    uint8_t credits;
    const slv_spec *spec;
};

struct slv_there { /* a member is there, or is not */
    uint32_t member;
    bool there;
};

struct slv_way {
    const struct slv_there *v;
    uint32_t n;
};

struct slv_ways { /* one of them */
    const struct slv_way *v;
    uint32_t n;
};

struct slv_members {
    const struct slv_member *v; /* sorted by key */
    const uint32_t *in_order;   /* index into v, by order */
    const uint32_t *last;       /* by order: the next required one, or the last */
    const struct slv_free_member *families;
    const struct slv_ways *groups;
    uint32_t n, n_families, n_groups, min, max;
    uint8_t wants; /* a bit each */
    bool simple;   /* no wants, groups or counts: it can always end */
};

struct slv_items {
    const slv_spec *const *spec; /* by position, the last for all that follow; by set of credits */
    uint32_t n_positions, min, max;
    bool unique;
    uint8_t credits; /* a bit for each contains */
    struct {
        uint32_t min, max;
    } contains[SLV_MAX_CREDITS];
};

struct slv_shape {
    unsigned types; /* those of which there is a value */
    const struct slv_numbers *numbers;
    const struct slv_string_set *texts;
    const struct slv_items *const *arrays;
    const struct slv_members *const *objects;
    uint32_t n_texts, n_arrays, n_objects;
    size_t longest; /* bytes of the longest value as it is written; SIZE_MAX: no bound */
};

struct slv_schema {
    struct slv_compile c;
    const struct slv_shape *shapes; /* by spec */
    size_t n_shapes;
    slv_spec root;
    bool own_langs; /* its pool of languages is its own */
};

#define SLV_SCHEMA_MAX_MEMORY ((size_t)64 << 20) /* of a compiled schema, its languages apart */
/* Steps (lang.h) that a schema, or a grammar with all its schemas, may take to be compiled: some
 * tenths of a second. */
#define SLV_COMPILE_STEPS ((uint64_t)16000000)

struct slv_schema_options {
    bool formats; /* "format" is asserted, not an annotation */
    enum slv_regex_classes classes;
};

/* What answers are held to: valid for every validator. */
#define SLV_SCHEMA_WRITTEN ((struct slv_schema_options){true, SLV_REGEX_ECMA})
/* What Python's jsonschema and its like take by default. */
#define SLV_SCHEMA_READ ((struct slv_schema_options){false, SLV_REGEX_UNICODE})

/* Compiles text[0..n). Fails with the keyword and, in ret_at (SLV_SCHEMA_POINTER_MAX bytes, or
 * NULL), the JSON pointer of what is not supported: SLV_E_UNSUPPORTED, SLV_E_FORMAT,
 * SLV_E_LIMIT, SLV_E_NOMEM. */
int slv_schema_open(const char *text, size_t n, const struct slv_schema_options *o,
                    struct slv_schema **ret, char *ret_at, struct slv_err *err) SLV_MUST_USE;
/* The same with its languages in p (NULL: in a pool of its own), which is borrowed: schemas that
 * are walked together. */
int slv_schema_open_in(struct slv_langs *p, const char *text, size_t n,
                       const struct slv_schema_options *o, struct slv_schema **ret, char *ret_at,
                       struct slv_err *err) SLV_MUST_USE;
void slv_schema_close(struct slv_schema *s);
/* Bytes it takes, its languages left out where they are not its own. */
size_t slv_schema_bytes(const struct slv_schema *s);
/* Whether any value meets it. */
bool slv_schema_has_values(const struct slv_schema *s);
/* A bound on the bytes of a value as it is written (and so on its tokens); SIZE_MAX: there is
 * none. */
size_t slv_schema_longest(const struct slv_schema *s);

/* How far an object has come. */
struct slv_object_state {
    const uint64_t *there; /* members that are, a bit each; NULL: none, or not told */
    bool any_order; /* all others may still come; else those from `pos` on, in the schema's order */
    uint32_t pos, count; /* count: free ones too */
    unsigned wants;      /* not met yet */
    uint32_t chosen;     /* one more that is there, plus one; 0: none */
};
bool slv_members_can_end(const struct slv_members *m, const struct slv_object_state *p);
/* Whether it may end here. */
bool slv_members_ended(const struct slv_members *m, const struct slv_object_state *p);

/* An array of `count` items, met[k] of which were taken for contains k. */
bool slv_items_can_end(const struct slv_items *a, uint32_t count, const uint32_t *met);

#endif
