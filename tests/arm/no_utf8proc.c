/* no_utf8proc.c: the functions of utf8proc that the library calls, for ARM programs built where
 * there is no utf8proc for ARM. What these programs test has ASCII text only, whose categories are
 * here; all else aborts: a test that comes to need it must not pass on made-up answers. */
#include <utf8proc.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void missing(const char *name) {
    fprintf(stderr, "%s: there is no utf8proc in this program\n", name);
    abort();
}

/* The Unicode Standard, chapter 4.5, for U+0000 to U+007F. */
utf8proc_category_t utf8proc_category(utf8proc_int32_t cp) {
    static const struct {
        const char *of;
        utf8proc_category_t is;
    } marks[] = {
        {"!\"#%&'*,./:;?@\\", UTF8PROC_CATEGORY_PO},
        {"+<=>|~", UTF8PROC_CATEGORY_SM},
        {"([{", UTF8PROC_CATEGORY_PS},
        {")]}", UTF8PROC_CATEGORY_PE},
        {"^`", UTF8PROC_CATEGORY_SK},
        {"$", UTF8PROC_CATEGORY_SC},
        {"-", UTF8PROC_CATEGORY_PD},
        {"_", UTF8PROC_CATEGORY_PC},
    };
    if (cp >= 0x80) missing(__func__);
    if (cp < ' ' || cp == 0x7f) return UTF8PROC_CATEGORY_CC;
    if (cp == ' ') return UTF8PROC_CATEGORY_ZS;
    if (cp >= '0' && cp <= '9') return UTF8PROC_CATEGORY_ND;
    if (cp >= 'A' && cp <= 'Z') return UTF8PROC_CATEGORY_LU;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (strchr(marks[i].of, cp)) return marks[i].is;
    return UTF8PROC_CATEGORY_LL;
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

utf8proc_ssize_t utf8proc_decompose(const utf8proc_uint8_t *s, utf8proc_ssize_t n,
                                    utf8proc_int32_t *dst, utf8proc_ssize_t room,
                                    utf8proc_option_t options) {
    (void)s, (void)n, (void)dst, (void)room, (void)options;
    missing(__func__);
}

utf8proc_ssize_t utf8proc_normalize_utf32(utf8proc_int32_t *s, utf8proc_ssize_t n,
                                          utf8proc_option_t options) {
    (void)s, (void)n, (void)options;
    missing(__func__);
}

utf8proc_ssize_t utf8proc_decompose_char(utf8proc_int32_t cp, utf8proc_int32_t *dst,
                                         utf8proc_ssize_t n, utf8proc_option_t options, int *last) {
    (void)cp, (void)dst, (void)n, (void)options, (void)last;
    missing(__func__);
}
