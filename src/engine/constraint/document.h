/* document.h: a JSON Schema as text and as places: every subschema is a node, a reference leads
 * from one node to another.
 *
 * Only what stands where a schema may stand is a node (a "$id" in an enum is data). A node knows
 * its JSON pointer, its draft, and the base URI that its references are resolved against. Nothing
 * is ever fetched: a reference out of the document is refused.
 *
 * Sources: JSON Schema drafts 4, 6, 7, 2019-09, 2020-12 (core, sections on identifiers); RFC
 * 3986, 5.2 (resolution of references); RFC 6901 (JSON pointers). */
#ifndef SLV_ENGINE_CONSTRAINT_DOCUMENT_H
#define SLV_ENGINE_CONSTRAINT_DOCUMENT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

#define SLV_SCHEMA_MAX_TEXT ((size_t)1 << 20)
#define SLV_SCHEMA_MAX_BYTES ((size_t)8 << 20) /* with values beside it, in a file */
#define SLV_SCHEMA_MAX_NODES 200000u
#define SLV_SCHEMA_MAX_DEPTH 256u
#define SLV_SCHEMA_POINTER_MAX 1024u

enum slv_draft {
    SLV_DRAFT_4,
    SLV_DRAFT_6,
    SLV_DRAFT_7,
    SLV_DRAFT_2019,
    SLV_DRAFT_2020,
    SLV_DRAFT_OTHER /* of a dialect that is not known: what its keywords mean cannot be said */
};

typedef uint32_t slv_node;

struct slv_document;

/* JSON text to a tree (the caller's): members in their order, none twice, nesting and size
 * bounded. Integers past 64 bits are taken only where they are the shortest decimal of a double,
 * as JavaScript writes them. SLV_E_FORMAT, SLV_E_UNSUPPORTED, SLV_E_LIMIT. */
int slv_schema_json(const char *text, size_t n, json_t **ret, struct slv_err *err) SLV_MUST_USE;

/* Reads text[0..n), as slv_schema_json does. SLV_E_FORMAT, SLV_E_UNSUPPORTED, SLV_E_LIMIT,
 * SLV_E_NOMEM. */
int slv_document_read(const char *text, size_t n, struct slv_document **ret,
                      struct slv_err *err) SLV_MUST_USE;
void slv_document_close(struct slv_document *d);

/* Node 0 is the whole schema. */
const json_t *slv_document_json(const struct slv_document *d, slv_node n);
enum slv_draft slv_document_draft(const struct slv_document *d, slv_node n);
size_t slv_document_nodes(const struct slv_document *d);
/* The JSON pointer of node n, and of a keyword in it (NULL: of n), cut to the limit. */
void slv_document_pointer(const struct slv_document *d, slv_node n, const char *keyword,
                          char ret[SLV_SCHEMA_POINTER_MAX]);

/* The node of a schema that lies in node n. SLV_E_LIMIT, SLV_E_NOMEM. */
int slv_document_node(struct slv_document *d, const json_t *schema, slv_node within,
                      slv_node *ret) SLV_MUST_USE;
/* "$ref", "$dynamicRef", "$recursiveRef". */
enum slv_reference { SLV_REF, SLV_REF_DYNAMIC, SLV_REF_RECURSIVE };

/* The node that `ref` names, seen from node n. SLV_E_UNSUPPORTED where it is outside the
 * document, or what it means depends on the way by which it was reached; SLV_E_FORMAT where it
 * leads nowhere. */
int slv_document_resolve(struct slv_document *d, slv_node n, const char *ref,
                         enum slv_reference kind, slv_node *ret, struct slv_err *err) SLV_MUST_USE;

#endif
