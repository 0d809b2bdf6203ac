/* constraint.c: what answers are held to, compiled once for all requests of a model that say the
 * same. The texts are compared in full. What is kept has a bound in bytes, those in use included:
 * the least recently used ones that nobody uses go first, and where that is not enough a new one is
 * refused. One whose room for states is half used up is compiled anew for who comes next.
 *
 * The lock is held for looking at the list alone: compiling, measuring (which waits for a mask) and
 * freeing are done outside. */
#include "base/mem.h"
#include "engine/guide.h"
#include "serve/serve_int.h"

#include <stdatomic.h>
#include <string.h>

#define KEPT 32
#define MOST_LEAST ((size_t)8 << 20)
#define MOST_MOST ((size_t)64 << 20)
#define LARGE_TEXT ((size_t)64 << 10)
#define TRIM_BYTES ((size_t)8 << 20) /* once so many were freed, the system gets them back */

struct serve_constraint {
    struct serve_constraint *next; /* most recently used first */
    struct serve_model *m;
    struct slv_constraint *c;
    size_t bytes; /* when it was last measured */
    uint32_t users;
    bool grammar, worn; /* worn: for nobody any more */
    size_t n;
    char text[];
};

static pthread_mutex_t large_lock = PTHREAD_MUTEX_INITIALIZER; /* of compiling large texts */

static void measure(struct serve_constraint *k) {
    const size_t bytes = sizeof *k + k->n + slv_constraint_bytes(k->c);
    const bool worn = slv_constraint_is_worn(k->c);
    pthread_mutex_lock(&k->m->constraints_lock);
    k->bytes = bytes;
    k->worn = k->worn || worn;
    pthread_mutex_unlock(&k->m->constraints_lock);
}

static void drop(struct serve_constraint *k) {
    slv_constraint_close(k->c);
    slv_mem_free(k);
}

/* A list that was taken off the model's. The lock is not held. */
static void drop_all(struct serve_constraint *k) {
    static _Atomic size_t freed;
    size_t bytes = 0;
    while (k) {
        struct serve_constraint *next = k->next;
        bytes += k->bytes;
        drop(k);
        k = next;
    }
    if (atomic_fetch_add_explicit(&freed, bytes, memory_order_relaxed) + bytes < TRIM_BYTES) return;
    atomic_store_explicit(&freed, 0, memory_order_relaxed);
    slv_mem_trim();
}

static size_t bytes_of(const struct serve_model *m) {
    size_t r = 0;
    for (const struct serve_constraint *k = m->constraints; k; k = k->next)
        r += k->bytes;
    return r;
}

/* Takes those that nobody uses off the list that are worn, too many or, the last ones first, more
 * than `most` bytes. The lock is held. */
static struct serve_constraint *trim(struct serve_model *m, size_t most) {
    struct serve_constraint *gone = NULL;
    size_t n = 0, bytes = 0, left = bytes_of(m);
    for (struct serve_constraint *k = m->constraints; k; k = k->next)
        if (k->users) bytes += k->bytes; /* they stay */
    for (struct serve_constraint **at = &m->constraints; *at;) {
        struct serve_constraint *k = *at;
        const bool fits = left <= most || bytes + k->bytes <= most;
        if (k->users || (!k->worn && n < KEPT && fits)) {
            n += !k->users;
            bytes += k->users ? 0 : k->bytes;
            at = &k->next;
            continue;
        }
        *at = k->next;
        left -= k->bytes;
        k->next = gone;
        gone = k;
    }
    return gone;
}

/* Keeps k if it fits beside those in use. */
static bool add(struct serve_constraint *k) {
    struct serve_model *m = k->m;
    pthread_mutex_lock(&m->constraints_lock);
    struct serve_constraint *gone = trim(m, serve_constraint_most(m->s) - k->bytes);
    const bool fits = bytes_of(m) <= serve_constraint_most(m->s) - k->bytes;
    if (fits) {
        k->next = m->constraints;
        m->constraints = k;
    }
    pthread_mutex_unlock(&m->constraints_lock);
    drop_all(gone);
    return fits;
}

static struct serve_constraint *find(struct serve_model *m, bool grammar, const char *text,
                                     size_t n) {
    for (struct serve_constraint **at = &m->constraints; *at; at = &(*at)->next) {
        struct serve_constraint *k = *at;
        if (k->worn || k->n != n || k->grammar != grammar || memcmp(k->text, text, n) != 0)
            continue;
        *at = k->next;
        k->next = m->constraints;
        m->constraints = k;
        k->users++;
        return k;
    }
    return NULL;
}

/* Never an answer that is held to nothing. */
static bool refuse(struct serve_fail *f, const char *param, const char *what, const char *pointer,
                   const struct slv_err *err) {
    if (err->code == SLV_E_NOMEM) return serve_refuse_err(f, 503, param, err);
    return serve_refuse(f, 400, param, "unsupported_schema", "%scannot be honoured: %s%s%s", what,
                        pointer, *pointer ? ": " : "", err->msg);
}

static int compile(struct serve_constraint *k, char *pointer, struct slv_err *err) {
    if (k->grammar) return slv_grammar_open(k->m->m, k->text, k->n, &k->c, err);
    return slv_constraint_open(k->m->m, k->text, k->n, &k->c, pointer, err);
}

bool serve_constraint_check(struct serve_call *c, const char *param, const char *what,
                            const char *schema, size_t n, struct serve_fail *f) {
    struct slv_constraint *k = NULL;
    struct slv_err err = {0};
    char pointer[SLV_POINTER_MAX] = "";
    if (slv_constraint_open(c->model->m, schema, n, &k, pointer, &err))
        return refuse(f, param, what, pointer, &err);
    slv_constraint_close(k);
    return true;
}

size_t serve_constraint_most(const struct slv_serve *s) {
    const uint64_t n = s->o.memory / 16;
    return n < MOST_LEAST ? MOST_LEAST : n > MOST_MOST ? MOST_MOST : (size_t)n;
}

/* A new one, kept; NULL, and refused. */
static struct serve_constraint *make(struct serve_model *m, const char *param, bool grammar,
                                     const char *text, size_t n, struct serve_fail *f) {
    struct slv_err err = {0};
    char pointer[SLV_POINTER_MAX] = "";
    struct serve_constraint *k = slv_mem_alloc(sizeof *k + n);
    if (!k) {
        serve_refuse(f, 503, NULL, "out_of_memory", "out of memory");
        return NULL;
    }
    *k = (struct serve_constraint){.m = m, .users = 1, .grammar = grammar, .n = n};
    memcpy(k->text, text, n);
    const bool large = n > LARGE_TEXT;
    if (large) pthread_mutex_lock(&large_lock);
    const int rc = compile(k, pointer, &err);
    if (large) slv_mem_trim();
    if (large) pthread_mutex_unlock(&large_lock);
    if (rc) {
        slv_mem_free(k);
        refuse(f, param, "", pointer, &err);
        return NULL;
    }
    measure(k);
    if (k->bytes <= serve_constraint_most(m->s) && add(k)) return k;
    if (k->bytes > serve_constraint_most(m->s))
        serve_refuse(f, 400, param, "unsupported_schema",
                     "cannot be honoured: %zu MiB once it is compiled; at most %zu", k->bytes >> 20,
                     serve_constraint_most(m->s) >> 20);
    else
        serve_refuse(f, 503, param, "out_of_memory",
                     "no room beside the schemas and grammars that answers are held to now");
    drop_all(k);
    return NULL;
}

bool serve_constraint_get(struct serve_call *c, const char *param, bool grammar, const char *text,
                          size_t n, struct serve_fail *f) {
    struct serve_model *m = c->model;
    pthread_mutex_lock(&m->constraints_lock);
    struct serve_constraint *k = find(m, grammar, text, n);
    pthread_mutex_unlock(&m->constraints_lock);
    if (!k) k = make(m, param, grammar, text, n, f);
    if (!k) return false;
    c->constraint = k->c;
    c->constraint_ref = k;
    return true;
}

void serve_constraint_put(struct serve_call *c) {
    struct serve_constraint *k = c->constraint_ref;
    if (!k) return;
    struct serve_model *m = k->m;
    measure(k);
    pthread_mutex_lock(&m->constraints_lock);
    k->users--;
    struct serve_constraint *gone = trim(m, serve_constraint_most(m->s));
    pthread_mutex_unlock(&m->constraints_lock);
    drop_all(gone);
    c->constraint_ref = NULL;
}

void serve_constraints_close(struct serve_model *m) {
    struct serve_constraint *all = m->constraints;
    m->constraints = NULL;
    drop_all(all);
}
