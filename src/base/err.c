/* err.c: see err.h. Owns the error table's texts and the bounded message buffer's rules. */
#include "base/err.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

static const struct {
    int code;
    int exit_status;
    const char *text;
} errors[] = {
#define SLV_ERROR_ROW(name, value, status, text) {(value), (status), (text)},
    SLV_ERRORS(SLV_ERROR_ROW)
#undef SLV_ERROR_ROW
};

const char *slv_strerror(int code) {
    if (code == SLV_OK) return "no error";
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (errors[i].code == code) return errors[i].text;
    return "unknown error";
}

int slv_err_exit_status(int code) {
    if (code >= 0) return 0;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (errors[i].code == code) return errors[i].exit_status;
    return 1;
}

/* Control characters and broken UTF-8 (also a sequence cut by the buffer's end) become '?'. */
static void make_printable(char *s) {
    size_t n = strlen(s), i = 0;
    while (i < n) {
        uint32_t cp;
        size_t used = slv_utf8_decode(s + i, n - i, &cp);
        bool bad = slv_utf8_is_control(cp) || (cp >= 0x202a && cp <= 0x202e) ||
                   (cp >= 0x2066 && cp <= 0x2069) || cp == 0x2028 || cp == 0x2029;
        if (bad) memset(s + i, '?', used);
        i += used;
    }
}

int slv_err_vset(struct slv_err *err, int code, const char *fmt, va_list ap) {
    if (!err) return code;
    err->code = code;
    if (vsnprintf(err->msg, sizeof err->msg, fmt, ap) < 0) err->msg[0] = '\0';
    make_printable(err->msg);
    return code;
}

int slv_err_set(struct slv_err *err, int code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    slv_err_vset(err, code, fmt, ap);
    va_end(ap);
    return code;
}

int slv_err_prefix(struct slv_err *err, int code, const char *fmt, ...) {
    if (!err) return code;
    char old[sizeof err->msg];
    memcpy(old, err->msg, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    size_t used = n < 0 ? 0 : strlen(err->msg);
    snprintf(err->msg + used, sizeof err->msg - used, ": %s", old);
    make_printable(err->msg);
    return err->code;
}
