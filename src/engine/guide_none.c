/* guide_none.c: guide.h where schemas are left out of the build. */
#include "engine/guide.h"
#include "base/err.h"

int slv_constraint_open(struct slv_model *m, const char *schema, size_t n,
                        struct slv_constraint **ret, char *ret_pointer, struct slv_err *err) {
    (void)m, (void)schema, (void)n, (void)ret;
    if (ret_pointer) ret_pointer[0] = 0;
    return slv_err_set(err, SLV_E_UNSUPPORTED, "built without JSON Schema");
}

int slv_grammar_open(struct slv_model *m, const char *text, size_t n, struct slv_constraint **ret,
                     struct slv_err *err) {
    (void)m, (void)text, (void)n, (void)ret;
    return slv_err_set(err, SLV_E_UNSUPPORTED, "built without grammars and JSON Schema");
}

size_t slv_constraint_bytes(const struct slv_constraint *c) {
    (void)c;
    return 0;
}

bool slv_constraint_is_worn(const struct slv_constraint *c) {
    (void)c;
    return false;
}

void slv_constraint_close(struct slv_constraint *c) { (void)c; }

int slv_guide_open(const struct slv_constraint *c, struct slv_model *m, const char *head,
                   size_t n_head, struct slv_guide **ret) {
    (void)c, (void)m, (void)head, (void)n_head, (void)ret;
    return SLV_E_UNSUPPORTED;
}

int slv_model_heal(struct slv_model *m, const int32_t *ids, size_t n, size_t *ret_n,
                   struct slv_text *ret_head, struct slv_err *err) {
    (void)m, (void)ids, (void)n, (void)ret_n, (void)ret_head;
    return slv_err_set(err, SLV_E_UNSUPPORTED, "built without JSON Schema");
}

bool slv_guide_holds(const struct slv_guide *g) {
    (void)g;
    return false;
}

void slv_guide_close(struct slv_guide *g) { (void)g; }

int slv_guide_mask(struct slv_guide *g, const uint64_t **ret, struct slv_err *err) {
    (void)g, (void)ret;
    return slv_err_set(err, SLV_E_UNSUPPORTED, "built without JSON Schema");
}

int slv_guide_take(struct slv_guide *g, int32_t id, struct slv_err *err) {
    (void)g, (void)id;
    return slv_err_set(err, SLV_E_UNSUPPORTED, "built without JSON Schema");
}

bool slv_guide_done(const struct slv_guide *g) {
    (void)g;
    return false;
}

bool slv_guide_ended(const struct slv_guide *g) {
    (void)g;
    return false;
}

int slv_guide_forced(struct slv_guide *g, int32_t *ids, size_t most, size_t *ret_n,
                     struct slv_err *err) {
    (void)g, (void)ids, (void)most, (void)ret_n;
    return slv_err_set(err, SLV_E_UNSUPPORTED, "built without JSON Schema");
}
