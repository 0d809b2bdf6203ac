/* expand.h: keywords to boxes, as the files expand*.c share it.
 *
 * Keywords that belong together are a clause. A clause knows the boxes of the values that meet it,
 * and those of the values that do not: a schema is the product of its clauses, its complement their
 * union. Tables list the clauses by what they speak of; a keyword that is in none of them is an
 * annotation.
 *
 * Source: JSON Schema validation and core, drafts 4 to 2020-12. */
#ifndef SLV_ENGINE_CONSTRAINT_EXPAND_H
#define SLV_ENGINE_CONSTRAINT_EXPAND_H

#include "engine/constraint/box.h"

/* One schema that is being expanded. */
struct slv_at {
    struct slv_compile *c;
    slv_node node;
    const json_t *s;
    enum slv_draft draft;
};

struct slv_clause {
    const char *keys[5]; /* any of them makes it count; tables end in a row without */
    void (*yes)(const struct slv_at *a, struct slv_boxes *to);
    void (*no)(const struct slv_at *a, struct slv_boxes *to);
};

extern const struct slv_clause slv_scalar_clauses[], slv_array_clauses[], slv_object_clauses[];

/* The keyword's value, or NULL. */
const json_t *slv_kw_get(const struct slv_at *a, const char *key);
bool slv_kw_is_true(const struct slv_at *a, const char *key);
/* The keyword has a value that no schema has. */
void slv_kw_bad(const struct slv_at *a, const char *key, const char *why);
/* A count: *ret stays where it is absent. */
bool slv_kw_count(const struct slv_at *a, const char *key, uint32_t *ret);
/* The spec of a schema in this one, or of its complement. */
slv_spec slv_kw_spec(const struct slv_at *a, const char *key, const json_t *schema, bool yes);
/* The language of a pattern. */
slv_lang slv_kw_pattern(const struct slv_at *a, const char *keyword, const char *s, size_t n);

void slv_kw_add(const struct slv_at *a, struct slv_boxes *to, struct slv_box b);
/* Adds the boxes of a literal to a list: a union; or those of all literals together. */
void slv_kw_add_lit(const struct slv_at *a, struct slv_boxes *to, slv_lit l);
void slv_kw_add_all(const struct slv_at *a, struct slv_boxes *to, const slv_lit *v, size_t n);
/* Adds values of the types, arrays (or objects) among them like the record; seen: what was
 * looked at. */
void slv_kw_add_array(const struct slv_at *a, struct slv_boxes *to, unsigned types,
                      struct slv_array array, const struct slv_evaluated *seen);
void slv_kw_add_object(const struct slv_at *a, struct slv_boxes *to, unsigned types,
                       struct slv_object object, const struct slv_evaluated *seen);
/* Adds objects some member of which has such a name and meets the spec. */
void slv_kw_add_want(const struct slv_at *a, struct slv_boxes *to, slv_lang names, slv_spec spec);

#endif
