/* document.c: see document.h. */
#include "engine/constraint/document.h"
#include "base/mem.h"
#include "engine/constraint/values.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_NODE UINT32_MAX
#define MAX_MEMORY ((size_t)128 << 20)

struct node {
    const json_t *json;
    slv_node parent;  /* NO_NODE: the root, or found by a pointer into what is no schema */
    const char *path; /* pointer from the parent, without escapes undone */
    const char *base; /* absolute URI without fragment; "" where the document has none */
    enum slv_draft draft;
};

struct anchor {
    const char *uri; /* with "#name", or the whole resource */
    slv_node node;
    bool dynamic;
};

struct slv_document {
    struct slv_arena mem;
    json_t *root;
    struct node *v;
    size_t n, cap;
    struct anchor *anchors;
    size_t n_anchors, cap_anchors;
    slv_node *slots; /* node + 1, by the json's address */
    size_t n_slots;
    unsigned depth;
    struct slv_err *err;
};

/* --- nodes ------------------------------------------------------------------------------------ */

const json_t *slv_document_json(const struct slv_document *d, slv_node n) { return d->v[n].json; }
enum slv_draft slv_document_draft(const struct slv_document *d, slv_node n) {
    return d->v[n].draft;
}
size_t slv_document_nodes(const struct slv_document *d) { return d->n; }

static size_t slot_of(const struct slv_document *d, const json_t *j) {
    size_t at = ((uintptr_t)j >> 4) * 0x9e3779b97f4a7c15u >> 20 & (d->n_slots - 1);
    while (d->slots[at] && d->v[d->slots[at] - 1].json != j)
        at = (at + 1) & (d->n_slots - 1);
    return at;
}

static bool more_slots(struct slv_document *d) {
    slv_node *old = d->slots;
    d->n_slots = d->n_slots ? d->n_slots * 2 : 64;
    d->slots = slv_mem_calloc(d->n_slots, sizeof *d->slots);
    if (!d->slots) {
        d->slots = old;
        d->n_slots /= 2;
        return false;
    }
    for (size_t i = 0; i < d->n; i++)
        d->slots[slot_of(d, d->v[i].json)] = (slv_node)i + 1;
    slv_mem_free(old);
    return true;
}

/* Reverses a path of nodes into a pointer. */
void slv_document_pointer(const struct slv_document *d, slv_node n, const char *keyword,
                          char ret[SLV_SCHEMA_POINTER_MAX]) {
    const char *parts[SLV_SCHEMA_MAX_DEPTH + 2];
    size_t k = 0, len = 0;
    if (keyword) parts[k++] = keyword;
    for (; n != NO_NODE && k < SLV_SCHEMA_MAX_DEPTH + 2; n = d->v[n].parent)
        if (*d->v[n].path) parts[k++] = d->v[n].path;
    while (k-- > 0) {
        const size_t m = strlen(parts[k]);
        if (len + m + 2 > SLV_SCHEMA_POINTER_MAX) break;
        ret[len++] = '/';
        memcpy(ret + len, parts[k], m);
        len += m;
    }
    ret[len] = 0;
}

static int keep_anchor(struct slv_document *d, const char *base, const char *name, slv_node n,
                       bool dynamic) {
    const size_t nb = strlen(base), nn = strlen(name);
    const int rc = slv_mem_grow((void **)&d->anchors, d->n_anchors, &d->cap_anchors,
                                sizeof *d->anchors, SLV_SCHEMA_MAX_NODES);
    char *uri = rc ? NULL : slv_arena_alloc(&d->mem, nb + nn + 2);
    if (!uri) return rc ? rc : SLV_E_LIMIT;
    memcpy(uri, base, nb);
    uri[nb] = '#';
    memcpy(uri + nb + 1, name, nn + 1);
    d->anchors[d->n_anchors++] = (struct anchor){uri, n, dynamic};
    return 0;
}

/* --- URIs ------------------------------------------------------------------------------------- */

struct piece {
    const char *s;
    size_t n;
};

struct uri {
    struct piece scheme, authority, path, query;
    bool has_scheme, has_authority, has_query;
};

/* RFC 3986, appendix B, by hand; the fragment is cut off before. */
static struct uri split(const char *s, size_t n) {
    struct uri u = {0};
    size_t i = 0;
    while (i < n && s[i] != ':' && s[i] != '/' && s[i] != '?')
        i++;
    if (i < n && s[i] == ':' && i > 0) {
        u.scheme = (struct piece){s, i};
        u.has_scheme = true;
        s += i + 1;
        n -= i + 1;
    }
    if (n >= 2 && s[0] == '/' && s[1] == '/') {
        for (i = 2; i < n && s[i] != '/' && s[i] != '?';)
            i++;
        u.authority = (struct piece){s + 2, i - 2};
        u.has_authority = true;
        s += i;
        n -= i;
    }
    const char *q = n ? memchr(s, '?', n) : NULL;
    u.path = (struct piece){s, q ? (size_t)(q - s) : n};
    if (q) u.query = (struct piece){q + 1, n - (size_t)(q - s) - 1};
    u.has_query = q != NULL;
    return u;
}

/* RFC 3986, 5.2.4: "." and ".." out of out[from..). */
static void remove_dots(struct slv_buf *b, size_t from) {
    size_t out = from, i = from;
    while (i < b->len) {
        size_t end = i + 1;
        while (end < b->len && b->data[end] != '/')
            end++;
        const char *seg = b->data + i;
        const size_t n = end - i;
        const bool last = end == b->len;
        if (n == 2 && !memcmp(seg, "/.", 2)) {
            if (last) b->data[out++] = '/';
        } else if (n == 3 && !memcmp(seg, "/..", 3)) {
            while (out > from && b->data[--out] != '/') {
            }
            if (last) b->data[out++] = '/';
        } else {
            memmove(b->data + out, seg, n);
            out += n;
        }
        i = end;
    }
    b->len = out;
    b->data[out] = 0;
}

static void put(struct slv_buf *b, struct piece s) { (void)slv_buf_add(b, s.s, s.n); }

/* ref[0..n), without fragment, seen from base: appended to out. */
static int resolve_uri(const char *base, const char *ref, size_t n, struct slv_buf *out) {
    const struct uri b = split(base, strlen(base)), r = split(ref, n);
    const bool whole = r.has_scheme, own_authority = whole || r.has_authority;
    const struct uri *first = whole ? &r : &b, *second = own_authority ? &r : &b;
    if (first->has_scheme) {
        put(out, first->scheme);
        (void)slv_buf_addc(out, ':');
    }
    if (second->has_authority) {
        (void)slv_buf_adds(out, "//");
        put(out, second->authority);
    }
    const size_t from = out->len;
    if (own_authority || (r.path.n && r.path.s[0] == '/')) put(out, r.path);
    else if (!r.path.n) put(out, b.path);
    else {
        size_t dir = b.path.n;
        while (dir && b.path.s[dir - 1] != '/')
            dir--;
        put(out, (struct piece){b.path.s, dir});
        put(out, r.path);
    }
    if (out->status) return out->status;
    if (out->len > from && out->data[from] == '/') remove_dots(out, from);
    const struct uri *q = own_authority || r.path.n || r.has_query ? &r : &b;
    if (q->has_query) {
        (void)slv_buf_addc(out, '?');
        put(out, q->query);
    }
    return out->status;
}

/* --- walking ---------------------------------------------------------------------------------- */

static const struct dialect {
    const char *uri; /* of "$schema", without scheme and '#' */
    enum slv_draft draft;
} dialects[] = {{"json-schema.org/draft-04/schema", SLV_DRAFT_4},
                {"json-schema.org/draft-06/schema", SLV_DRAFT_6},
                {"json-schema.org/draft-07/schema", SLV_DRAFT_7},
                {"json-schema.org/draft/2019-09/schema", SLV_DRAFT_2019},
                {"json-schema.org/draft/2020-12/schema", SLV_DRAFT_2020},
                {"json-schema.org/schema", SLV_DRAFT_2020}, /* whatever is the newest */
                {"spec.openapis.org/oas/3.1/dialect/base", SLV_DRAFT_2020}};

static enum slv_draft dialect_of(const char *uri) {
    const char *p = uri ? strstr(uri, "://") : NULL;
    if (!p || (strncmp(uri, "http://", 7) != 0 && strncmp(uri, "https://", 8) != 0))
        return SLV_DRAFT_OTHER;
    p += 3;
    size_t n = strlen(p);
    if (n && p[n - 1] == '#') n--;
    for (size_t i = 0; i < sizeof dialects / sizeof dialects[0]; i++)
        if (strlen(dialects[i].uri) == n && !memcmp(dialects[i].uri, p, n))
            return dialects[i].draft;
    return SLV_DRAFT_OTHER;
}

/* Which keywords hold schemas, and how. */
enum holds { H_ONE, H_LIST, H_MAP, H_ONE_OR_LIST, H_MAP_OR_NAMES };
static const struct holder {
    const char *name;
    enum holds holds;
} holders[] = {{"additionalItems", H_ONE},
               {"additionalProperties", H_ONE},
               {"allOf", H_LIST},
               {"anyOf", H_LIST},
               {"contains", H_ONE},
               {"contentSchema", H_ONE},
               {"definitions", H_MAP},
               {"$defs", H_MAP},
               {"dependencies", H_MAP_OR_NAMES},
               {"dependentSchemas", H_MAP},
               {"else", H_ONE},
               {"if", H_ONE},
               {"items", H_ONE_OR_LIST},
               {"not", H_ONE},
               {"oneOf", H_LIST},
               {"patternProperties", H_MAP},
               {"prefixItems", H_LIST},
               {"properties", H_MAP},
               {"propertyNames", H_ONE},
               {"then", H_ONE},
               {"unevaluatedItems", H_ONE},
               {"unevaluatedProperties", H_ONE}};

static bool may_be_schema(const json_t *j) { return json_is_object(j) || json_is_boolean(j); }

static int walk(struct slv_document *d, const json_t *j, slv_node parent, const char *path);

/* keyword, "/", and the escaped token, in the arena. */
static const char *join(struct slv_document *d, const char *keyword, const char *token) {
    const size_t nk = strlen(keyword), nt = token ? strlen(token) : 0;
    char *s = slv_arena_alloc(&d->mem, nk + 2 * nt + 2), *o = s;
    if (!s) return NULL;
    memcpy(o, keyword, nk);
    o += nk;
    if (token) *o++ = '/';
    for (size_t i = 0; i < nt; i++) {
        if (token[i] == '~' || token[i] == '/') {
            *o++ = '~';
            *o++ = token[i] == '~' ? '0' : '1';
        } else *o++ = token[i];
    }
    *o = 0;
    return s;
}

static int walk_list(struct slv_document *d, const char *keyword, const json_t *list, slv_node n) {
    size_t i;
    const json_t *x;
    json_array_foreach((json_t *)(uintptr_t)list, i, x) {
        char token[24];
        (void)snprintf(token, sizeof token, "%zu", i);
        if (!may_be_schema(x)) continue;
        const int rc = walk(d, x, n, join(d, keyword, token));
        if (rc) return rc;
    }
    return 0;
}

static int walk_map(struct slv_document *d, const char *keyword, const json_t *map, slv_node n) {
    const char *key;
    json_t *x;
    json_object_foreach((json_t *)(uintptr_t)map, key, x) {
        if (!may_be_schema(x)) continue;
        const int rc = walk(d, x, n, join(d, keyword, key));
        if (rc) return rc;
    }
    return 0;
}

static int walk_in(struct slv_document *d, slv_node n) {
    const json_t *s = d->v[n].json;
    for (size_t i = 0; i < sizeof holders / sizeof holders[0]; i++) {
        const struct holder *h = &holders[i];
        const json_t *x = json_object_get(s, h->name);
        int rc = 0;
        if (!x) continue;
        if (json_is_array(x) && (h->holds == H_LIST || h->holds == H_ONE_OR_LIST))
            rc = walk_list(d, h->name, x, n);
        else if (json_is_object(x) && (h->holds == H_MAP || h->holds == H_MAP_OR_NAMES))
            rc = walk_map(d, h->name, x, n);
        else if (may_be_schema(x) && (h->holds == H_ONE || h->holds == H_ONE_OR_LIST))
            rc = walk(d, x, n, h->name);
        if (rc) return rc;
    }
    return 0;
}

/* "$schema", "$id" and anchors of node n. */
static int identify(struct slv_document *d, slv_node n) {
    const json_t *s = d->v[n].json;
    const json_t *dialect = json_object_get(s, "$schema");
    if (dialect) d->v[n].draft = dialect_of(json_string_value(dialect));
    const enum slv_draft draft = d->v[n].draft;
    const char *id = json_string_value(json_object_get(s, draft == SLV_DRAFT_4 ? "id" : "$id"));
    if (draft <= SLV_DRAFT_7 && json_object_get(s, "$ref")) id = NULL; /* siblings do not count */
    int rc = 0;
    if (id && id[0] != '#') {
        struct slv_buf b;
        slv_buf_init(&b, 65536);
        rc = resolve_uri(d->v[n].base, id, strcspn(id, "#"), &b);
        if (!rc && !(d->v[n].base = slv_arena_strndup(&d->mem, b.data, b.len))) rc = SLV_E_LIMIT;
        slv_buf_fini(&b);
        if (!rc) rc = keep_anchor(d, d->v[n].base, "", n, false);
    } else if (id && draft <= SLV_DRAFT_7) rc = keep_anchor(d, d->v[n].base, id + 1, n, false);
    const char *anchor = json_string_value(json_object_get(s, "$anchor"));
    const char *dynamic = json_string_value(json_object_get(s, "$dynamicAnchor"));
    if (!rc && anchor && draft >= SLV_DRAFT_2019)
        rc = keep_anchor(d, d->v[n].base, anchor, n, false);
    if (!rc && dynamic && draft >= SLV_DRAFT_2020)
        rc = keep_anchor(d, d->v[n].base, dynamic, n, true);
    return rc;
}

static int walk(struct slv_document *d, const json_t *j, slv_node parent, const char *path) {
    if (!path) return SLV_E_LIMIT;
    if (d->slots && d->slots[slot_of(d, j)] && !json_is_boolean(j)) return 0;
    if ((d->n + 1) * 2 > d->n_slots && !more_slots(d)) return SLV_E_NOMEM;
    int rc = slv_mem_grow((void **)&d->v, d->n, &d->cap, sizeof *d->v, SLV_SCHEMA_MAX_NODES);
    if (rc) return slv_err_set(d->err, rc, "more than %u schemas in it", SLV_SCHEMA_MAX_NODES);
    const slv_node n = (slv_node)d->n++;
    const bool root = parent == NO_NODE;
    d->v[n] = (struct node){j, parent, path, root ? "" : d->v[parent].base,
                            root ? SLV_DRAFT_2020 : d->v[parent].draft};
    d->slots[slot_of(d, j)] = n + 1;
    if (json_is_boolean(j)) return 0;
    if (d->depth == SLV_SCHEMA_MAX_DEPTH)
        return slv_err_set(d->err, SLV_E_LIMIT, "schemas nested deeper than %u",
                           SLV_SCHEMA_MAX_DEPTH);
    rc = identify(d, n);
    d->depth++;
    if (!rc) rc = walk_in(d, n);
    d->depth--;
    return rc;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Whether the integer s[0..n) is the shortest decimal of a double, with zeros. */
static bool shortest_double(const char *s, size_t n) {
    char text[400], back[SLV_NUMBER_TEXT];
    if (n >= sizeof text) return false;
    memcpy(text, s, n);
    text[n] = 0;
    json_t *j = json_real(strtod(text, NULL));
    const size_t m = j ? slv_number_text(j, back) : 0;
    json_decref(j);
    return m == n && !memcmp(back, s, n);
}

static bool fits_64(const char *s, size_t n) {
    char text[24];
    if (n >= sizeof text) return false;
    memcpy(text, s, n);
    text[n] = 0;
    errno = 0;
    (void)strtoll(text, NULL, 10);
    return errno == 0;
}

/* Copies s[0..n) with ".0" behind integers past 64 bits, so that they are read as doubles; false
 * where one is not exactly that, or out of memory. */
static bool as_doubles(const char *s, size_t n, struct slv_buf *out) {
    for (size_t i = 0; i < n;) {
        const bool number = s[i] == '-' || (s[i] >= '0' && s[i] <= '9');
        bool whole = number;
        size_t end = i + 1;
        if (s[i] == '"') {
            while (end < n && s[end] != '"')
                end += s[end] == '\\' ? 2 : 1;
            end = end < n ? end + 1 : n;
        } else if (number) {
            for (; end < n && s[end] && strchr("0123456789.eE+-", s[end]); end++)
                whole = whole && s[end] >= '0' && s[end] <= '9';
        }
        (void)slv_buf_add(out, s + i, end - i);
        if (whole && !fits_64(s + i, end - i)) {
            if (!shortest_double(s + i, end - i)) return false;
            (void)slv_buf_adds(out, ".0");
        }
        i = end;
    }
    return out->status == 0;
}

/* The tree of a text that has integers past 64 bits; NULL where they are not doubles. */
static json_t *with_doubles(const char *text, size_t n, size_t flags, json_error_t *e) {
    struct slv_buf b;
    json_t *j = NULL;
    slv_buf_init(&b, SLV_SCHEMA_MAX_BYTES * 2);
    if (as_doubles(text, n, &b)) j = json_loadb(b.data, b.len, flags, e);
    slv_buf_fini(&b);
    return j;
}

int slv_schema_json(const char *text, size_t n, json_t **ret, struct slv_err *err) {
    const size_t flags = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
    json_error_t e;
    if (n > SLV_SCHEMA_MAX_BYTES)
        return slv_err_set(err, SLV_E_LIMIT, "%zu bytes; at most %zu", n, SLV_SCHEMA_MAX_BYTES);
    json_t *j = json_loadb(text, n, flags, &e);
    if (!j && json_error_code(&e) == json_error_numeric_overflow) {
        j = with_doubles(text, n, flags, &e);
        if (!j)
            return slv_err_set(err, SLV_E_UNSUPPORTED, "line %d, column %d: a number past 64 bits",
                               e.line, e.column);
    }
    if (!j)
        return slv_err_set(err, SLV_E_FORMAT, "line %d, column %d: %s", e.line, e.column, e.text);
    *ret = j;
    return 0;
}

static int parse(struct slv_document *d, const char *text, size_t n) {
    const int rc = slv_schema_json(text, n, &d->root, d->err);
    if (rc) return rc;
    if (!may_be_schema(d->root))
        return slv_err_set(d->err, SLV_E_FORMAT, "a schema is an object, true or false");
    return 0;
}

int slv_document_read(const char *text, size_t n, struct slv_document **ret, struct slv_err *err) {
    if (n > SLV_SCHEMA_MAX_TEXT)
        return slv_err_set(err, SLV_E_LIMIT, "a schema of %zu bytes; at most %zu", n,
                           SLV_SCHEMA_MAX_TEXT);
    struct slv_document *d = slv_mem_calloc(1, sizeof *d);
    if (!d) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    slv_arena_init(&d->mem, MAX_MEMORY);
    d->err = err;
    int rc = parse(d, text, n);
    if (!rc) rc = walk(d, d->root, NO_NODE, "");
    if (!rc) {
        d->err = NULL;
        *ret = d;
        return 0;
    }
    if (err && !err->code) slv_err_set(err, rc, "%s", slv_strerror(rc));
    slv_document_close(d);
    return rc;
}

void slv_document_close(struct slv_document *d) {
    if (!d) return;
    json_decref(d->root);
    slv_mem_free(d->v);
    slv_mem_free(d->anchors);
    slv_mem_free(d->slots);
    slv_arena_fini(&d->mem);
    slv_mem_free(d);
}

int slv_document_node(struct slv_document *d, const json_t *schema, slv_node within,
                      slv_node *ret) {
    const slv_node known = d->slots[slot_of(d, schema)];
    if (known && !json_is_boolean(schema)) {
        *ret = known - 1;
        return 0;
    }
    const slv_node n = (slv_node)d->n;
    const int rc = walk(d, schema, within, "");
    if (!rc) *ret = n;
    return rc;
}

/* --- references ------------------------------------------------------------------------------- */

static const struct anchor *find(const struct slv_document *d, const char *uri) {
    for (size_t i = 0; i < d->n_anchors; i++)
        if (!strcmp(d->anchors[i].uri, uri)) return &d->anchors[i];
    return NULL;
}

static int hex(char c) {
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* The next token of a pointer in a fragment: percent and tilde undone. False if it is too long. */
static bool token_of(const char **s, char out[512]) {
    size_t n = 0;
    for (++*s; **s && **s != '/'; (*s)++) {
        char c = **s;
        if (c == '%' && hex((*s)[1]) >= 0 && hex((*s)[2]) >= 0) {
            c = (char)(hex((*s)[1]) << 4 | hex((*s)[2]));
            *s += 2;
        }
        if (n == 511) return false;
        out[n++] = c;
    }
    size_t o = 0;
    for (size_t i = 0; i < n; i++) {
        const bool tilde = out[i] == '~' && i + 1 < n && (out[i + 1] == '0' || out[i + 1] == '1');
        out[o++] = !tilde ? out[i] : out[i + 1] == '0' ? '~' : '/';
        i += tilde;
    }
    out[o] = 0;
    return true;
}

/* Follows a JSON pointer from node n. The node below that is nearest gives base and draft. */
static int follow(struct slv_document *d, slv_node n, const char *pointer, slv_node *ret) {
    const json_t *j = d->v[n].json;
    char token[512];
    while (*pointer) {
        if (*pointer != '/' || !token_of(&pointer, token)) return SLV_E_FORMAT;
        if (json_is_array(j)) {
            char *end;
            const unsigned long i = strtoul(token, &end, 10);
            j = *end || !*token ? NULL : json_array_get(j, i);
        } else j = json_object_get(j, token);
        if (!j) return SLV_E_FORMAT;
        const slv_node known = d->slots[slot_of(d, j)];
        if (known && !json_is_boolean(j)) n = known - 1;
    }
    if (!may_be_schema(j)) return SLV_E_FORMAT;
    return slv_document_node(d, j, n, ret);
}

/* Whether the anchor that was found means what was reached last: its name is dynamic. Then it
 * must be the only one of that name, or what it means depends on the way. */
static int check_dynamic(const struct slv_document *d, const struct anchor *a,
                         struct slv_err *err) {
    const char *name = strchr(a->uri, '#');
    size_t found = 0;
    for (size_t i = 0; i < d->n_anchors; i++)
        found += d->anchors[i].dynamic && !strcmp(strchr(d->anchors[i].uri, '#'), name);
    if (!a->dynamic || found == 1) return 0;
    return slv_err_set(err, SLV_E_UNSUPPORTED, "several \"$dynamicAnchor\": \"%s\"", name + 1);
}

/* "$recursiveRef" goes where the outermost resource begins that has a "$recursiveAnchor": known
 * only where there is one resource. */
static int check_recursive(const struct slv_document *d, struct slv_err *err) {
    size_t resources = 0, recursive = 0;
    for (size_t i = 0; i < d->n; i++) {
        const json_t *j = d->v[i].json;
        resources +=
            i > 0 && d->v[i].parent != NO_NODE && json_is_string(json_object_get(j, "$id"));
        recursive += json_is_true(json_object_get(j, "$recursiveAnchor"));
    }
    if (!recursive || !resources) return 0;
    return slv_err_set(err, SLV_E_UNSUPPORTED, "several schemas with an \"$id\"");
}

static int resolve(struct slv_document *d, slv_node n, const char *ref, bool dynamic,
                   struct slv_buf *uri, slv_node *ret, struct slv_err *err) {
    const size_t cut = strcspn(ref, "#");
    const char *fragment = ref[cut] ? ref + cut + 1 : "";
    int rc = resolve_uri(d->v[n].base, ref, cut, uri);
    const size_t bare = uri->len;
    (void)slv_buf_addc(uri, '#');
    if (rc || uri->status) return slv_err_set(err, SLV_E_LIMIT, "a reference too long");
    const struct anchor *resource = find(d, uri->data);
    slv_node from = 0;
    if (resource) from = resource->node;
    else if (bare && strncmp(uri->data, d->v[0].base, bare + 1) != 0 &&
             (strlen(d->v[0].base) != bare || memcmp(uri->data, d->v[0].base, bare) != 0))
        return slv_err_set(err, SLV_E_UNSUPPORTED, "\"%s\" is outside of this document", ref);
    if (!*fragment || *fragment == '/') rc = follow(d, from, fragment, ret);
    else {
        (void)slv_buf_adds(uri, fragment);
        const struct anchor *a = uri->status ? NULL : find(d, uri->data);
        rc = a ? 0 : SLV_E_FORMAT;
        if (a) *ret = a->node;
        if (a && dynamic && (rc = check_dynamic(d, a, err)) != 0) return rc;
    }
    return rc ? slv_err_set(err, rc, "\"%s\" leads nowhere", ref) : 0;
}

int slv_document_resolve(struct slv_document *d, slv_node n, const char *ref,
                         enum slv_reference kind, slv_node *ret, struct slv_err *err) {
    struct slv_buf uri;
    int rc = kind == SLV_REF_RECURSIVE ? check_recursive(d, err) : 0;
    if (rc) return rc;
    slv_buf_init(&uri, 65536);
    rc = resolve(d, n, ref, kind == SLV_REF_DYNAMIC, &uri, ret, err);
    slv_buf_fini(&uri);
    return rc;
}
