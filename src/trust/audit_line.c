/* audit_line.c: see audit_line.h. One table says what a record of each type has, in which order; it
 * is written and read by that. */
#include "trust/audit_line.h"
#include "base/json.h"
#include "base/utf8.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DOMAIN "selvage audit record 1\n"

enum kind { UINT, TEXT, HEX, TIME, TYPE };

#define LOGGED                                                                                     \
    (SLV_AUDIT_OPEN | SLV_AUDIT_START | SLV_AUDIT_REQUEST | SLV_AUDIT_SIGN | SLV_AUDIT_KEY |       \
     SLV_AUDIT_TORN)
#define ANY (LOGGED | SLV_AUDIT_CHECKPOINT)
#define KEYED                                                                                      \
    (SLV_AUDIT_OPEN | SLV_AUDIT_START | SLV_AUDIT_SIGN | SLV_AUDIT_KEY | SLV_AUDIT_CHECKPOINT)

static const struct {
    const char *name;
    enum kind kind;
    unsigned types; /* that have it */
    size_t at, size;
} fields[] = {
#define AT(m) offsetof(struct slv_audit_line, m), sizeof(((struct slv_audit_line *)0)->m)
    {"seq", UINT, ANY, AT(seq)},
    {"time", TIME, ANY, AT(time)},
    {"type", TYPE, ANY, AT(type)},
    {"version", UINT, SLV_AUDIT_OPEN | SLV_AUDIT_CHECKPOINT, AT(version)},
    {"log", HEX, SLV_AUDIT_OPEN | SLV_AUDIT_CHECKPOINT, AT(log)},
    {"segment", UINT, SLV_AUDIT_OPEN, AT(segment)},
    {"unsigned", UINT, SLV_AUDIT_START, AT(not_signed)},
    {"why", TEXT, SLV_AUDIT_SIGN, AT(why)},
    {"key", HEX, KEYED, AT(key)},
    {"hash_key", HEX, SLV_AUDIT_OPEN | SLV_AUDIT_START, AT(hash_key)},
    {"created", UINT, SLV_AUDIT_KEY, AT(created)},
    {"public", HEX, SLV_AUDIT_KEY, AT(public)},
    {"signed", HEX, SLV_AUDIT_KEY, AT(signed_by)},
    {"id", TEXT, SLV_AUDIT_REQUEST, AT(id)},
    {"who", TEXT, SLV_AUDIT_REQUEST, AT(who)},
    {"model", TEXT, SLV_AUDIT_REQUEST, AT(model)},
    {"prompt_tokens", UINT, SLV_AUDIT_REQUEST, AT(prompt_tokens)},
    {"output_tokens", UINT, SLV_AUDIT_REQUEST, AT(output_tokens)},
    {"ms", UINT, SLV_AUDIT_REQUEST, AT(ms)},
    {"finish", TEXT, SLV_AUDIT_REQUEST, AT(finish)},
    {"status", UINT, SLV_AUDIT_REQUEST, AT(status)},
    {"prompt_hash", HEX, SLV_AUDIT_REQUEST, AT(prompt_hash)},
    {"answer_hash", HEX, SLV_AUDIT_REQUEST, AT(answer_hash)},
    {"bytes", UINT, SLV_AUDIT_TORN, AT(bytes)},
    {"hash", HEX, SLV_AUDIT_TORN | SLV_AUDIT_CHECKPOINT, AT(hash)},
    {"prev", HEX, LOGGED, AT(prev)},
    {"sig", HEX, SLV_AUDIT_SIGN | SLV_AUDIT_CHECKPOINT, AT(sig)},
#undef AT
};
#define FIELDS (sizeof fields / sizeof fields[0])

static const struct {
    enum slv_audit_type type;
    const char *name;
} types[] = {
    {SLV_AUDIT_OPEN, "open"},
    {SLV_AUDIT_START, "start"},
    {SLV_AUDIT_REQUEST, "request"},
    {SLV_AUDIT_SIGN, "sign"},
    {SLV_AUDIT_KEY, "key"},
    {SLV_AUDIT_TORN, "torn"},
    {SLV_AUDIT_CHECKPOINT, "checkpoint"},
};
#define TYPES (sizeof types / sizeof types[0])

const char *slv_audit_type_name(enum slv_audit_type t) {
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].type == t) return types[i].name;
    return "";
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Fields [0, n) of the table, and no end. */
static void put_fields(const struct slv_audit_line *l, size_t n, struct slv_buf *out) {
    struct slv_json j;
    slv_json_init(&j, out);
    slv_json_object(&j, NULL);
    for (size_t i = 0; i < n; i++) {
        const void *at = (const char *)l + fields[i].at;
        if (!(fields[i].types & l->type)) continue;
        if (fields[i].kind == UINT) slv_json_uint(&j, fields[i].name, *(const uint64_t *)at);
        else if (fields[i].kind == TYPE)
            slv_json_str(&j, fields[i].name, slv_audit_type_name(l->type));
        else slv_json_str(&j, fields[i].name, at);
    }
}

int slv_audit_line_write(const struct slv_audit_line *l, struct slv_buf *out) {
    put_fields(l, FIELDS, out);
    return slv_buf_addc(out, '}');
}

int slv_audit_line_signed(const struct slv_audit_line *l, struct slv_buf *out) {
    slv_buf_adds(out, DOMAIN);
    put_fields(l, FIELDS - 1, out);
    return out->status;
}

void slv_audit_line_hash(const char *s, size_t n, char ret[SLV_HEX(SLV_AUDIT_HASH)]) {
    uint8_t hash[SLV_AUDIT_HASH];
    crypto_generichash(hash, sizeof hash, (const unsigned char *)s, n, NULL, 0);
    slv_hex_write(hash, sizeof hash, ret);
}

void slv_audit_line_text(slv_audit_text ret, const char *s) {
    size_t n = s ? strnlen(s, SLV_AUDIT_TEXT_MAX) : 0;
    ret[n ? slv_utf8_repair(s, n, ret, NULL) : 0] = '\0';
}

void slv_audit_line_time(char ret[SLV_AUDIT_TIME], uint64_t ns) {
    time_t s = (time_t)(ns / 1000000000);
    unsigned ms = (unsigned)(ns / 1000000 % 1000);
    struct tm tm = {0};
    char day[32];
    if (!gmtime_r(&s, &tm) || !strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm)) day[0] = '\0';
    snprintf(ret, SLV_AUDIT_TIME, "%.19s.%03uZ", day[19] ? "" : day, ms);
}

/* --- reading ---------------------------------------------------------------------------------- */

struct reader {
    const char *p, *end;
};

static bool skip(struct reader *r, const char *s) {
    size_t n = strlen(s);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, s, n) != 0) return false;
    r->p += n;
    return true;
}

static bool read_uint(struct reader *r, uint64_t *ret) {
    uint64_t v = 0;
    const char *from = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9') {
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*r->p - '0'), &v))
            return false;
        r->p++;
    }
    *ret = v;
    return r->p > from;
}

/* The character an escape stands for; 0: none that is written here. */
static char read_escape(struct reader *r) {
    static const char names[] = "\"\"\\\\b\bf\fn\nr\rt\t";
    uint8_t code[2];
    if (r->p == r->end) return 0;
    char c = *r->p++;
    for (const char *n = names; *n; n += 2)
        if (*n == c) return n[1];
    if (c != 'u' || r->end - r->p < 4 || !slv_hex_read(r->p, code, 2) || code[0] || code[1] > 127)
        return 0;
    r->p += 4;
    return (char)code[1];
}

/* A string of at most size - 1 bytes. */
static bool read_text(struct reader *r, char *ret, size_t size) {
    size_t n = 0;
    if (!skip(r, "\"")) return false;
    while (r->p < r->end && *r->p != '"') {
        char c = *r->p++;
        if (c == '\\') c = read_escape(r);
        if (!c || n + 1 == size) return false;
        ret[n++] = c;
    }
    ret[n] = '\0';
    return skip(r, "\"");
}

static bool is_hex(const char *s, size_t n) { return strspn(s, "0123456789abcdef") == n && !s[n]; }

static bool is_time(const char *s) {
    static const char form[SLV_AUDIT_TIME] = "0000-00-00T00:00:00.000Z";
    for (size_t i = 0; i < SLV_AUDIT_TIME; i++)
        if (form[i] == '0' ? s[i] < '0' || s[i] > '9' : s[i] != form[i]) return false;
    return true;
}

static bool read_type(struct reader *r, enum slv_audit_type *ret) {
    char name[16];
    if (!read_text(r, name, sizeof name)) return false;
    for (size_t i = 0; i < TYPES; i++)
        if (!strcmp(types[i].name, name)) {
            *ret = types[i].type;
            return true;
        }
    return false;
}

static bool read_field(struct reader *r, size_t i, struct slv_audit_line *l) {
    void *at = (char *)l + fields[i].at;
    bool first = i == 0;
    if (!skip(r, first ? "{\"" : ",\"") || !skip(r, fields[i].name) || !skip(r, "\":"))
        return false;
    switch (fields[i].kind) {
    case UINT:
        return read_uint(r, at);
    case TYPE:
        return read_type(r, &l->type);
    case TEXT:
        return read_text(r, at, fields[i].size);
    case HEX:
        return read_text(r, at, fields[i].size) && is_hex(at, fields[i].size - 1);
    case TIME:
        return read_text(r, at, fields[i].size) && is_time(at);
    }
    return false;
}

/* What was read, written again, must be the line. */
static bool is_canonical(const struct slv_audit_line *l, const char *s, size_t n) {
    char room[SLV_AUDIT_LINE_MAX + 1]; /* so that it never grows: there is no memory to be out of */
    struct slv_buf again = {.data = room, .cap = sizeof room, .max = SLV_AUDIT_LINE_MAX};
    return !slv_audit_line_write(l, &again) && again.len == n && !memcmp(again.data, s, n);
}

bool slv_audit_line_read(const char *s, size_t n, struct slv_audit_line *ret) {
    struct reader r = {s, s + n};
    struct slv_audit_line l = {0};
    l.type = ANY; /* until its type is read; what comes before that all have */
    if (n > SLV_AUDIT_LINE_MAX) return false;
    for (size_t i = 0; i < FIELDS; i++)
        if (fields[i].types & l.type && !read_field(&r, i, &l)) return false;
    if (!skip(&r, "}") || r.p != r.end || !is_canonical(&l, s, n)) return false;
    *ret = l;
    return true;
}
