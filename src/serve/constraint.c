/* constraint.c: what answers are held to, compiled once for all requests of a model that say the
 * same. The texts are compared in full. The least recently used ones that nobody uses go first, and
 * one whose room for states is half used up is compiled anew for who comes next. */
#include "base/mem.h"
#include "engine/guide.h"
#include "serve/serve_int.h"

#include <string.h>

#define KEPT 32

struct serve_constraint {
    struct serve_constraint *next; /* most recently used first */
    struct serve_model *m;
    struct slv_constraint *c;
    uint32_t users;
    bool grammar, worn; /* worn: for nobody any more */
    size_t n;
    char text[];
};

static void drop(struct serve_constraint *k) {
    slv_constraint_close(k->c);
    slv_mem_free(k);
}

/* The lock is held. */
static void trim(struct serve_model *m) {
    size_t n = 0;
    for (struct serve_constraint **at = &m->constraints; *at;) {
        struct serve_constraint *k = *at;
        if ((!k->worn && n++ < KEPT) || k->users) {
            at = &k->next;
            continue;
        }
        *at = k->next;
        drop(k);
    }
}

static struct serve_constraint *find(struct serve_model *m, bool grammar, const char *text,
                                     size_t n) {
    for (struct serve_constraint **at = &m->constraints; *at; at = &(*at)->next) {
        struct serve_constraint *k = *at;
        if (k->worn || k->n != n || k->grammar != grammar || memcmp(k->text, text, n) != 0)
            continue;
        k->worn = slv_constraint_is_worn(k->c);
        if (k->worn) continue;
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

bool serve_constraint_get(struct serve_call *c, const char *param, bool grammar, const char *text,
                          size_t n, struct serve_fail *f) {
    struct serve_model *m = c->model;
    struct slv_err err = {0};
    char pointer[SLV_POINTER_MAX] = "";
    pthread_mutex_lock(&m->constraints_lock);
    struct serve_constraint *k = find(m, grammar, text, n);
    pthread_mutex_unlock(&m->constraints_lock);
    if (!k) {
        k = slv_mem_alloc(sizeof *k + n);
        if (!k) return serve_refuse(f, 503, NULL, NULL, "out of memory");
        *k = (struct serve_constraint){.m = m, .users = 1, .grammar = grammar, .n = n};
        memcpy(k->text, text, n);
        if (compile(k, pointer, &err)) {
            slv_mem_free(k);
            return refuse(f, param, "", pointer, &err);
        }
        pthread_mutex_lock(&m->constraints_lock);
        k->next = m->constraints;
        m->constraints = k;
        trim(m);
        pthread_mutex_unlock(&m->constraints_lock);
    }
    c->constraint = k->c;
    c->constraint_ref = k;
    return true;
}

void serve_constraint_put(struct serve_call *c) {
    struct serve_constraint *k = c->constraint_ref;
    if (!k) return;
    pthread_mutex_lock(&k->m->constraints_lock);
    k->users--;
    trim(k->m);
    pthread_mutex_unlock(&k->m->constraints_lock);
    c->constraint_ref = NULL;
}

void serve_constraints_close(struct serve_model *m) {
    while (m->constraints) {
        struct serve_constraint *k = m->constraints;
        m->constraints = k->next;
        drop(k);
    }
}
