/* json_parse.c: see json_parse.h. */
#include "base/json_parse.h"
#include "base/mem.h"

#include <jansson.h>
#include <pthread.h>

static pthread_once_t json_once = PTHREAD_ONCE_INIT;

/* Jansson 2.14 reports a failed allocation as wrong syntax, or, in its lexer, drops bytes of a
 * string and succeeds. So we remember it ourselves. */
static _Thread_local bool json_starved;

/* What one document may take in all, given back or not. The three bytes "{}," become some 300 of
 * memory: without a limit an answer of 16 MB would take over a gigabyte. */
#define JSON_ROOM ((size_t)128 << 20)
static _Thread_local size_t json_room;
static _Thread_local bool json_full;

/* The allocator is all of the process's: who else uses jansson there has no such limit. */
static _Thread_local bool json_limited;

static void *json_alloc(size_t n) {
    if (!json_limited) return slv_mem_alloc(n);
    json_full = json_full || n > json_room;
    void *p = json_full ? NULL : slv_mem_alloc(n);
    if (p) json_room -= n;
    else json_starved = true;
    return p;
}

static void json_setup(void) { json_set_alloc_funcs(json_alloc, slv_mem_free); }

int slv_json_parse(const char *s, size_t n, const char *what, struct json_t **ret,
                   struct slv_err *err) {
    json_error_t e;
    pthread_once(&json_once, json_setup);
    json_starved = json_full = false;
    json_room = JSON_ROOM;
    json_limited = true;
    json_t *doc = json_loadb(s, n, JSON_REJECT_DUPLICATES, &e);
    json_limited = false;
    if (doc && !json_starved) {
        *ret = doc;
        return 0;
    }
    json_decref(doc);
    if (json_full) return slv_err_set(err, SLV_E_LIMIT, "%s: too many values", what);
    if (json_starved) return slv_err_set(err, SLV_E_NOMEM, "%s: out of memory", what);
    const bool is_nul = json_error_code(&e) == json_error_null_character;
    return slv_err_set(err, SLV_E_FORMAT, "%s: line %d, column %d: %s", what, e.line, e.column,
                       is_nul ? "a NUL character cannot be taken" : e.text);
}
