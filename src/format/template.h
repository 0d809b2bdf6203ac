/* template.h: the model's own chat template: the part of Jinja 2 that published templates use.
 *
 * A template comes from a model file and is as hostile as the rest of it. It is compiled once and
 * rendered many times; it sees its arguments and nothing else: no file, no environment, no
 * attribute of the host program; the one outside value is the time, through a clock it is given.
 * Nesting, steps, and bytes of output are bounded. Threads: a compiled template is immutable; each
 * rendering owns its memory.
 */
#ifndef SLV_FORMAT_TEMPLATE_H
#define SLV_FORMAT_TEMPLATE_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

struct slv_template;
struct slv_value; /* a value in a template's world: none, bool, int, float, string, list, dict */
struct slv_scope; /* owns values and the names a template is given */

/* Compiles text[0..n), with transformers' settings: trim_blocks and lstrip_blocks on,
 * keep_trailing_newline off. SLV_E_FORMAT with line and reason; SLV_E_UNSUPPORTED for a statement,
 * filter, test or method that is not known. */
int slv_template_compile(const char *text, size_t n, struct slv_template **ret,
                         struct slv_err *err) SLV_MUST_USE;
void slv_template_free(struct slv_template *t);

/* A scope with room for max_bytes of values. `clock` is what strftime_now reads (UTC). */
int slv_scope_open(size_t max_bytes, const struct slv_clock *clock,
                   struct slv_scope **ret) SLV_MUST_USE;
void slv_scope_close(struct slv_scope *s);

/* Value constructors. The result belongs to the scope and goes into no other. NULL: out of memory
 * or of the scope's room; passing NULL on to another constructor or to slv_scope_set gives NULL /
 * SLV_E_NOMEM, so that a build-up needs one check at its end. Strings are copied. */
struct slv_value *slv_value_none(struct slv_scope *s);
struct slv_value *slv_value_bool(struct slv_scope *s, bool v);
struct slv_value *slv_value_int(struct slv_scope *s, int64_t v);
struct slv_value *slv_value_double(struct slv_scope *s, double v);
struct slv_value *slv_value_str(struct slv_scope *s, const char *p, size_t n);
struct slv_value *slv_value_list(struct slv_scope *s);
struct slv_value *slv_value_dict(struct slv_scope *s);
/* Append / set; dicts keep insertion order, setting a key again replaces its value in place. */
struct slv_value *slv_value_push(struct slv_scope *s, struct slv_value *list, struct slv_value *v);
struct slv_value *slv_value_put(struct slv_scope *s, struct slv_value *dict, const char *key,
                                struct slv_value *v);

/* JSON text (RFC 8259) -> value, keys in the order of the text, depth at most 64. */
int slv_value_parse(struct slv_scope *s, const char *json, size_t n, struct slv_value **ret,
                    struct slv_err *err) SLV_MUST_USE;

/* Gives the template a global name ("messages", "tools", "add_generation_prompt", "bos_token"). */
int slv_scope_set(struct slv_scope *s, const char *name, struct slv_value *v) SLV_MUST_USE;
/* The same for every entry of a dict, as for a request's extra names. SLV_E_USAGE if it is none. */
int slv_scope_set_all(struct slv_scope *s, struct slv_value *dict) SLV_MUST_USE;

/* Renders into out (whose maximum bounds the output). The template's own raise_exception(msg) is
 * SLV_E_USAGE with msg; a runtime error is SLV_E_FORMAT with line and reason; too many steps or too
 * deep is SLV_E_LIMIT. The scope may be used again afterwards. */
int slv_template_render(const struct slv_template *t, struct slv_scope *s, struct slv_buf *out,
                        struct slv_err *err) SLV_MUST_USE;

#endif
