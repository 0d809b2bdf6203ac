/* doc.h: JSON documents that several write at once.
 *
 * A document is a tree of places, each with a path that begins with that of the place it is in:
 *
 *     "."  name "\0\0"           a member of an object ("\0" in a name is "\0\1")
 *     "@"  run (8, 8), which (4) an element of a list, by its name (seq.h)
 *
 * and at a place P are entries
 *
 *     P "="                      what is here: stamp (8), then one of
 *                                    "v" and a scalar, as JSON
 *                                    "{" an object   "[" and a dot: a list   "t" and a dot: a text
 *                                    "+" a counter
 *     P "#" dot ...              the sequence of that list or text (seq.h)
 *     P "+" writer               a counter's row: ups, downs
 *
 * Of what is written to one place at once the latest stamp is read. Objects that are written at
 * once are one: their members are merged. Lists and texts that are put in at once stay apart, as
 * each has its own dot, and the later one is read; edits of one and the same are merged. Where
 * members of an object are later than what took its place, or its removal did not see them, it is
 * an object again: nobody's write is lost to a removal that did not know of it.
 *
 * Places are named by JSON Pointers (RFC 6901). Threads: one.
 */
#ifndef SLV_MESH_DOC_H
#define SLV_MESH_DOC_H

#include "mesh/seq.h"

#define SLV_DOC_DEPTH 64u

/* Each is for a draft of SLV_TYPE_DOC, makes one change, and leaves the draft good for nothing
 * where it fails. SLV_E_NOENT: there is no such place; SLV_E_USAGE: it is none for that;
 * SLV_E_FORMAT: the pointer or the value is malformed; SLV_E_LIMIT, SLV_E_NOMEM. */

/* A value takes the place of what is there, or comes into the object. The place around it must be
 * there, an object, or a list that has such an element. */
int slv_doc_set(struct slv_draft *d, struct slv_str pointer, struct slv_str json) SLV_MUST_USE;
/* A text, to be edited by many, in the place of what is there. */
int slv_doc_set_text(struct slv_draft *d, struct slv_str pointer, struct slv_str text) SLV_MUST_USE;
/* What is there goes. */
int slv_doc_remove(struct slv_draft *d, struct slv_str pointer) SLV_MUST_USE;
/* A value comes before element N of a list (".../N"), or behind its last (".../-"). */
int slv_doc_insert(struct slv_draft *d, struct slv_str pointer, struct slv_str json) SLV_MUST_USE;
/* Characters [at, at + gone) of a text go, and others come in their place. */
int slv_doc_edit(struct slv_draft *d, struct slv_str pointer, size_t at, size_t gone,
                 struct slv_str text) SLV_MUST_USE;
/* A counter counts; where there is none, or nothing, it begins. */
int slv_doc_count(struct slv_draft *d, struct slv_str pointer, int64_t by) SLV_MUST_USE;

/* What is at a place, as JSON with members in order. SLV_E_NOENT: nothing. */
int slv_doc_read(const struct slv_space *s, struct slv_str key, struct slv_str pointer,
                 struct slv_buf *ret) SLV_MUST_USE;

/* What a place is. */
enum slv_doc_kind {
    SLV_DOC_NOTHING,
    SLV_DOC_SCALAR,
    SLV_DOC_OBJECT,
    SLV_DOC_LIST,
    SLV_DOC_TEXT,
    SLV_DOC_COUNTER,
};
enum slv_doc_kind slv_doc_kind(const struct slv_space *s, struct slv_str key,
                               struct slv_str pointer);

#endif
