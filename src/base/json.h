/* json.h: writing JSON (RFC 8259) into a bounded buffer.
 *
 * The writer places commas and quotes; the caller keeps the nesting right. Strings that are not
 * valid UTF-8 are repaired with U+FFFD. Numbers that JSON cannot hold (NaN, infinities) become
 * null. Doubles are written with the fewest digits that read back as the same value. Errors are
 * the buffer's, sticky, and seen at the end. Threads: one. */
#ifndef SLV_BASE_JSON_H
#define SLV_BASE_JSON_H

#include "base/buf.h"

struct slv_json {
    struct slv_buf *out; /* borrowed */
    bool comma;          /* a value stands before the next one */
};

/* Begins a document at the buffer's end. */
void slv_json_init(struct slv_json *j, struct slv_buf *out);

/* `key` is NULL inside an array and at the top. */
void slv_json_object(struct slv_json *j, const char *key);
void slv_json_object_end(struct slv_json *j);
void slv_json_array(struct slv_json *j, const char *key);
void slv_json_array_end(struct slv_json *j);
void slv_json_str(struct slv_json *j, const char *key, const char *s);
/* null for NULL. */
void slv_json_str_or_null(struct slv_json *j, const char *key, const char *s);
void slv_json_strn(struct slv_json *j, const char *key, const char *s, size_t n);
void slv_json_int(struct slv_json *j, const char *key, int64_t v);
void slv_json_uint(struct slv_json *j, const char *key, uint64_t v);
void slv_json_double(struct slv_json *j, const char *key, double v);
/* The fewest digits that read back as the same float. */
void slv_json_float(struct slv_json *j, const char *key, float v);
void slv_json_bool(struct slv_json *j, const char *key, bool v);
void slv_json_null(struct slv_json *j, const char *key);
/* A value that is JSON already. */
void slv_json_raw(struct slv_json *j, const char *key, const char *json, size_t n);

/* Appends s[0..n) with JSON's escapes and without the quotes. */
void slv_json_escape(struct slv_buf *out, const char *s, size_t n);

#endif
