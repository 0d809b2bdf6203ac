/* json.c: see json.h. */
#include "base/json.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void slv_json_init(struct slv_json *j, struct slv_buf *out) { *j = (struct slv_json){.out = out}; }

void slv_json_escape(struct slv_buf *out, const char *s, size_t n) {
    static const char names[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t used = slv_utf8_decode(s + i, n - i, &cp);
        const char *name = NULL;
        for (const char *p = names; *p && !name; p += 2)
            if ((uint32_t)*p == cp) name = p + 1;
        if (cp == SLV_UTF8_INVALID) slv_buf_adds(out, "\xef\xbf\xbd");
        else if (name) slv_buf_addf(out, "\\%c", *name);
        else if (cp < 0x20 || cp == 0x7f) slv_buf_addf(out, "\\u%04x", (unsigned)cp);
        else slv_buf_add(out, s + i, used);
        i += used;
    }
}

static void quoted(struct slv_buf *out, const char *s, size_t n) {
    slv_buf_addc(out, '"');
    slv_json_escape(out, s, n);
    slv_buf_addc(out, '"');
}

static void begin(struct slv_json *j, const char *key) {
    if (j->comma) slv_buf_addc(j->out, ',');
    if (key) {
        quoted(j->out, key, strlen(key));
        slv_buf_addc(j->out, ':');
    }
    j->comma = true;
}

static void open_with(struct slv_json *j, const char *key, char c) {
    begin(j, key);
    slv_buf_addc(j->out, c);
    j->comma = false;
}

static void close_with(struct slv_json *j, char c) {
    slv_buf_addc(j->out, c);
    j->comma = true;
}

void slv_json_object(struct slv_json *j, const char *key) { open_with(j, key, '{'); }
void slv_json_object_end(struct slv_json *j) { close_with(j, '}'); }
void slv_json_array(struct slv_json *j, const char *key) { open_with(j, key, '['); }
void slv_json_array_end(struct slv_json *j) { close_with(j, ']'); }

void slv_json_str_or_null(struct slv_json *j, const char *key, const char *s) {
    if (s) slv_json_str(j, key, s);
    else slv_json_null(j, key);
}

void slv_json_strn(struct slv_json *j, const char *key, const char *s, size_t n) {
    begin(j, key);
    quoted(j->out, s, n);
}

void slv_json_str(struct slv_json *j, const char *key, const char *s) {
    slv_json_strn(j, key, s, strlen(s));
}

void slv_json_int(struct slv_json *j, const char *key, int64_t v) {
    begin(j, key);
    slv_buf_addf(j->out, "%lld", (long long)v);
}

void slv_json_uint(struct slv_json *j, const char *key, uint64_t v) {
    begin(j, key);
    slv_buf_addf(j->out, "%llu", (unsigned long long)v);
}

/* Tries %.{first}g upward until the text reads back as v: short numbers stay short. */
static void shortest(struct slv_json *j, double v, int first, int last, bool single) {
    char text[40];
    for (int digits = first; digits <= last; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (single ? strtof(text, NULL) == (float)v : strtod(text, NULL) == v) break;
    }
    for (char *p = text; *p; p++) /* an embedding program may have set a locale with a comma */
        if (*p == ',') *p = '.';
    slv_buf_adds(j->out, text);
}

void slv_json_double(struct slv_json *j, const char *key, double v) {
    if (!isfinite(v)) {
        slv_json_null(j, key);
        return;
    }
    begin(j, key);
    shortest(j, v, 6, 17, false);
}

void slv_json_float(struct slv_json *j, const char *key, float v) {
    if (!isfinite(v)) {
        slv_json_null(j, key);
        return;
    }
    begin(j, key);
    shortest(j, (double)v, 6, 9, true);
}

void slv_json_bool(struct slv_json *j, const char *key, bool v) {
    begin(j, key);
    slv_buf_adds(j->out, v ? "true" : "false");
}

void slv_json_null(struct slv_json *j, const char *key) {
    begin(j, key);
    slv_buf_adds(j->out, "null");
}

void slv_json_raw(struct slv_json *j, const char *key, const char *json, size_t n) {
    begin(j, key);
    slv_buf_add(j->out, json, n);
}
