/* no_utf8proc.c: the functions of utf8proc that the library calls, for ARM programs built where
 * there is no utf8proc for ARM. Each aborts: what these programs test has ASCII text only, which
 * needs no Unicode tables, and a test that comes to need them must not pass on made-up answers. */
#include <utf8proc.h>

#include <stdio.h>
#include <stdlib.h>

static _Noreturn void missing(const char *name) {
    fprintf(stderr, "%s: there is no utf8proc in this program\n", name);
    abort();
}

utf8proc_category_t utf8proc_category(utf8proc_int32_t cp) {
    (void)cp;
    missing(__func__);
}

utf8proc_int32_t utf8proc_tolower(utf8proc_int32_t cp) {
    (void)cp;
    missing(__func__);
}

utf8proc_int32_t utf8proc_toupper(utf8proc_int32_t cp) {
    (void)cp;
    missing(__func__);
}

utf8proc_int32_t utf8proc_totitle(utf8proc_int32_t cp) {
    (void)cp;
    missing(__func__);
}

utf8proc_ssize_t utf8proc_decompose_char(utf8proc_int32_t cp, utf8proc_int32_t *dst,
                                         utf8proc_ssize_t n, utf8proc_option_t options, int *last) {
    (void)cp, (void)dst, (void)n, (void)options, (void)last;
    missing(__func__);
}
