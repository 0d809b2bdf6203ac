/* tpl_tests.c: the tests behind "is". */
#include "format/template_impl.h"

#include <math.h>
#include <string.h>

#define KIND_TEST(name, condition)                                                                 \
    static struct slv_value *name(struct tpl_run *r, struct slv_value *v,                          \
                                  const struct tpl_args *a) {                                      \
        (void)r, (void)a;                                                                          \
        return slv_tpl_bool(condition);                                                            \
    }
KIND_TEST(t_defined, v->kind != TPL_UNDEF)
KIND_TEST(t_undefined, v->kind == TPL_UNDEF)
KIND_TEST(t_none, v->kind == TPL_NONE)
KIND_TEST(t_boolean, v->kind == TPL_BOOL)
KIND_TEST(t_true, v->kind == TPL_BOOL && v->truth)
KIND_TEST(t_false, v->kind == TPL_BOOL && !v->truth)
KIND_TEST(t_integer, v->kind == TPL_INT || v->kind == TPL_BIGINT)
KIND_TEST(t_float, v->kind == TPL_FLOAT)
KIND_TEST(t_string, v->kind == TPL_STR)
KIND_TEST(t_mapping, v->kind == TPL_DICT)
KIND_TEST(t_number, v->kind == TPL_INT || v->kind == TPL_BIGINT || v->kind == TPL_FLOAT ||
                        v->kind == TPL_BOOL)
KIND_TEST(t_sequence, v->kind == TPL_STR || v->kind == TPL_DICT || v->kind == TPL_RANGE ||
                          v->kind == TPL_UNDEF || slv_tpl_seq(v))
KIND_TEST(t_iterable, slv_tpl_iterable(v))
KIND_TEST(t_callable, v->kind == TPL_MACRO || v->kind == TPL_METHOD || v->kind == TPL_FUNC ||
                          v->kind == TPL_LOOP || v->kind == TPL_JOINER || v->kind == TPL_UNDEF)
KIND_TEST(t_escaped, v->kind == TPL_STR && v->markup)
KIND_TEST(t_filter, v->kind == TPL_STR && slv_tpl_filter(v->s.p, v->s.n))
KIND_TEST(t_test, v->kind == TPL_STR && slv_tpl_test(v->s.p, v->s.n))

static struct slv_value *remainder_is(struct tpl_run *r, struct slv_value *v, struct slv_value *by,
                                      int64_t want) {
    struct slv_value *rest = slv_tpl_arith(r, OP_MOD, v, by), *wanted = slv_tpl_int(r, want);
    return rest && wanted ? slv_tpl_compare(r, OP_EQ, rest, wanted) : NULL;
}

static struct slv_value *t_odd(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    (void)a;
    struct slv_value *two = slv_tpl_int(r, 2);
    return two ? remainder_is(r, v, two, 1) : NULL;
}

static struct slv_value *t_even(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    (void)a;
    struct slv_value *two = slv_tpl_int(r, 2);
    return two ? remainder_is(r, v, two, 0) : NULL;
}

static struct slv_value *t_divisibleby(struct tpl_run *r, struct slv_value *v,
                                       const struct tpl_args *a) {
    return remainder_is(r, v, a->v[0], 0);
}

static struct slv_value *cased(struct tpl_run *r, struct slv_value *v, enum tpl_class what) {
    struct slv_value *s = slv_tpl_str(r, v);
    if (!s || !slv_tpl_pay(r, s->s.n / 2)) return NULL;
    return slv_tpl_bool(slv_tpl_all(s, what));
}

static struct slv_value *t_lower(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    (void)a;
    return cased(r, v, IS_LOWER);
}

static struct slv_value *t_upper(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    (void)a;
    return cased(r, v, IS_UPPER);
}

/* Identity, which for the singletons and small values of Python is equality of kind and value. */
static struct slv_value *t_sameas(struct tpl_run *r, struct slv_value *v,
                                  const struct tpl_args *a) {
    const struct slv_value *w = a->v[0];
    if (v == w) return &slv_tpl_true;
    if (v->kind != w->kind) return &slv_tpl_false;
    bool small = v->kind == TPL_NONE || v->kind == TPL_BOOL || v->kind == TPL_INT ||
                 (v->kind == TPL_STR && v->cps <= 1);
    if (v->kind == TPL_BOOL) return slv_tpl_bool(v->truth == w->truth);
    if (v->kind == TPL_INT && (v->i < -5 || v->i > 256)) return &slv_tpl_false;
    int same = small ? slv_tpl_equal(r, v, w) : 0;
    return same < 0 ? NULL : slv_tpl_bool(same);
}

#define COMPARE_TEST(name, op)                                                                     \
    static struct slv_value *name(struct tpl_run *r, struct slv_value *v,                          \
                                  const struct tpl_args *a) {                                      \
        return slv_tpl_compare(r, op, v, a->v[0]);                                                 \
    }
COMPARE_TEST(t_eq, OP_EQ)
COMPARE_TEST(t_ne, OP_NE)
COMPARE_TEST(t_lt, OP_LT)
COMPARE_TEST(t_le, OP_LE)
COMPARE_TEST(t_gt, OP_GT)
COMPARE_TEST(t_ge, OP_GE)
COMPARE_TEST(t_in, OP_IN)

static const struct tpl_def tests[] = {
    {"!=", t_ne, 1, 1, "other", true},          {"<", t_lt, 1, 1, "other", true},
    {"<=", t_le, 1, 1, "other", true},          {"==", t_eq, 1, 1, "other", true},
    {">", t_gt, 1, 1, "other", true},           {">=", t_ge, 1, 1, "other", true},
    {"boolean", t_boolean, 0, 0, "", false},    {"callable", t_callable, 0, 0, "", true},
    {"defined", t_defined, 0, 0, "", false},    {"divisibleby", t_divisibleby, 1, 1, "num", false},
    {"eq", t_eq, 1, 1, "other", true},          {"equalto", t_eq, 1, 1, "other", true},
    {"escaped", t_escaped, 0, 0, "", false},    {"even", t_even, 0, 0, "", false},
    {"false", t_false, 0, 0, "", false},        {"filter", t_filter, 0, 0, "", false},
    {"float", t_float, 0, 0, "", false},        {"ge", t_ge, 1, 1, "other", true},
    {"greaterthan", t_gt, 1, 1, "other", true}, {"gt", t_gt, 1, 1, "other", true},
    {"in", t_in, 1, 1, "seq", false},           {"integer", t_integer, 0, 0, "", false},
    {"iterable", t_iterable, 0, 0, "", false},  {"le", t_le, 1, 1, "other", true},
    {"lessthan", t_lt, 1, 1, "other", true},    {"lower", t_lower, 0, 0, "", false},
    {"lt", t_lt, 1, 1, "other", true},          {"mapping", t_mapping, 0, 0, "", false},
    {"ne", t_ne, 1, 1, "other", true},          {"none", t_none, 0, 0, "", false},
    {"number", t_number, 0, 0, "", false},      {"odd", t_odd, 0, 0, "", false},
    {"sameas", t_sameas, 1, 1, "other", false}, {"sequence", t_sequence, 0, 0, "", false},
    {"string", t_string, 0, 0, "", false},      {"test", t_test, 0, 0, "", false},
    {"true", t_true, 0, 0, "", false},          {"undefined", t_undefined, 0, 0, "", false},
    {"upper", t_upper, 0, 0, "", false},        {NULL, NULL, 0, 0, "", false},
};

const struct tpl_def *slv_tpl_test(const char *name, size_t n) {
    return slv_tpl_find(tests, name, n);
}
