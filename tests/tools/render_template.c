/* render_template.c: renders chat templates for comparison with another implementation.
 *
 * Reads lines from stdin, each a JSON list: either ["template", TEXT], which compiles TEXT and
 * keeps it, or ["render", {NAME: VALUE, ...}], which renders the template kept. Answers each line
 * with one: {"ok": TEXT} or {"error": CODE, "message": TEXT}. The clock stands still at the second
 * given as the first argument (default 0). */
#include "base/json.h"
#include "base/mem.h"
#include "format/template_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t now_ns;

static uint64_t fixed(void *ctx) {
    (void)ctx;
    return now_ns;
}

static void answer(int rc, const struct slv_err *err, const struct slv_buf *text) {
    struct slv_buf out;
    struct slv_json j;
    slv_buf_init(&out, (size_t)1 << 28);
    slv_json_init(&j, &out);
    slv_json_object(&j, NULL);
    if (rc) {
        slv_json_int(&j, "error", rc);
        slv_json_str(&j, "message", err->msg);
    } else {
        slv_json_strn(&j, "ok", text->data, text->len);
    }
    slv_json_object_end(&j);
    puts(out.status ? "{\"error\": -1, \"message\": \"the answer is too long\"}" : out.data);
    fflush(stdout);
    slv_buf_fini(&out);
}

/* One request; the template compiled last is in *t. */
static int serve(const struct slv_clock *clock, const char *line, size_t n, struct slv_template **t,
                 struct slv_buf *out, struct slv_err *err) {
    struct slv_scope *s;
    struct slv_value *v;
    int rc = slv_scope_open((size_t)1 << 28, clock, &s);
    if (rc) return rc;
    rc = slv_value_parse(s, line, n, &v, err);
    bool list = !rc && v->kind == TPL_LIST && v->list->n == 2;
    if (!rc && !list) rc = slv_err_set(err, SLV_E_USAGE, "a list of two is required");
    if (!rc && slv_tpl_text_is(v->list->v[0], "template")) {
        slv_template_free(*t);
        *t = NULL;
        rc = slv_template_compile(v->list->v[1]->s.p, v->list->v[1]->s.n, t, err);
    } else if (!rc && (!*t || v->list->v[1]->kind != TPL_DICT)) {
        rc = slv_err_set(err, SLV_E_USAGE, "no template or no names");
    } else if (!rc) {
        rc = slv_scope_set_all(s, v->list->v[1]);
        if (!rc) rc = slv_template_render(*t, s, out, err);
    }
    slv_scope_close(s);
    return rc;
}

int main(int argc, char **argv) {
    struct slv_clock clock = {.mono_ns = fixed, .wall_ns = fixed};
    struct slv_template *t = NULL;
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    now_ns = argc > 1 ? strtoull(argv[1], NULL, 10) * 1000000000u : 0;
    while ((n = getline(&line, &room, stdin)) > 0) {
        struct slv_err err = {0};
        struct slv_buf out;
        slv_buf_init(&out, (size_t)1 << 26);
        int rc = serve(&clock, line, (size_t)n, &t, &out, &err);
        answer(rc, &err, &out);
        slv_buf_fini(&out);
    }
    free(line);
    slv_template_free(t);
    return 0;
}
