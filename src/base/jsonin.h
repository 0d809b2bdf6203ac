/* jsonin.h: reading JSON (RFC 8259) into a flat list of values.
 *
 * A document is one array of values in the order of the text; a value knows where the next one
 * beside it is, so that whole objects are stepped over:
 *
 *     {"a": [1, "x"], "b": null}
 *     number   0: object  1: "a"  2: array  3: 1  4: "x"  5: "b"  6: null
 *     end      7          2       5         4     5       6       7
 *
 * Names are string values before what they name. Strings without escapes stay where they are in
 * the text, others are in a buffer of the document. A vocabulary of a million entries is read in
 * one pass, into sixteen bytes an entry.
 *
 * Nothing in the text is trusted: depth, values and bytes have limits, and strings are valid UTF-8.
 * A name that is there twice counts as it does elsewhere: the last is found.
 * Threads: a document that is read may be used by any number.
 */
#ifndef SLV_BASE_JSONIN_H
#define SLV_BASE_JSONIN_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define SLV_JSON_MAX_TEXT ((size_t)256 << 20)
#define SLV_JSON_MAX_VALUES (1u << 24)
#define SLV_JSON_MAX_DEPTH 64u

enum slv_json_kind {
    SLV_JSON_NONE, /* there is no such value */
    SLV_JSON_NULL,
    SLV_JSON_FALSE,
    SLV_JSON_TRUE,
    SLV_JSON_NUMBER,
    SLV_JSON_STRING,
    SLV_JSON_ARRAY,
    SLV_JSON_OBJECT
};

struct slv_json_node {
    uint32_t at, n; /* bytes of a string or a number */
    uint32_t end;   /* number of the value after this one and all in it */
    uint8_t kind;   /* enum slv_json_kind */
    bool decoded;   /* the bytes are in `strings` */
};

struct slv_json_doc {
    const char *text; /* borrowed */
    struct slv_json_node *v;
    size_t n, cap;
    struct slv_buf strings;
};

/* A value of a document; with doc NULL, none. Every function below takes none, and says so. */
struct slv_json_val {
    const struct slv_json_doc *doc;
    uint32_t i;
};

/* Reads text[0..n), which must outlive the document. SLV_E_FORMAT with the byte, SLV_E_LIMIT,
 * SLV_E_NOMEM. */
int slv_json_read(const char *text, size_t n, struct slv_json_doc *ret,
                  struct slv_err *err) SLV_MUST_USE;
void slv_json_doc_fini(struct slv_json_doc *d);

struct slv_json_val slv_json_root(const struct slv_json_doc *d);
enum slv_json_kind slv_json_kind(struct slv_json_val v);

/* What an object has under a name; none where it has not, or v is no object. Linear. */
struct slv_json_val slv_json_get(struct slv_json_val v, const char *name);

/* Values in an array, or names in an object. Linear. */
size_t slv_json_count(struct slv_json_val v);

/* Goes over an array or an object: zero `it`; false at its end, and for what is neither. *ret_name
 * may be NULL, and is empty in an array. */
struct slv_json_iter {
    uint32_t next;
};
bool slv_json_each(struct slv_json_val v, struct slv_json_iter *it, struct slv_str *ret_name,
                   struct slv_json_val *ret);

/* Each returns true and writes *ret where v is of that kind, and fits. A whole number has no point
 * and no exponent. */
bool slv_json_get_str(struct slv_json_val v, struct slv_str *ret);
bool slv_json_get_i64(struct slv_json_val v, int64_t *ret);
bool slv_json_get_f64(struct slv_json_val v, double *ret);
bool slv_json_get_bool(struct slv_json_val v, bool *ret);

#endif
