/* uclass.c: see uclass.h. */
#include "format/uclass.h"

#include <utf8proc.h>

/* The 32 ASCII signs are all white space, punctuation or symbols; the latter two differ. */
#define PUNCT (SLV_U_PX | SLV_U_APUNCT)
#define SIGN (SLV_U_S | SLV_U_APUNCT)

const uint32_t slv_uclass_ascii[128] = {
    [0 ... 8] = SLV_U_C,
    ['\t'] = SLV_U_C | SLV_U_WS,
    ['\n'] = SLV_U_C | SLV_U_WS | SLV_U_LF,
    [11 ... 12] = SLV_U_C | SLV_U_WS,
    ['\r'] = SLV_U_C | SLV_U_WS | SLV_U_CR,
    [14 ... 31] = SLV_U_C,
    [' '] = SLV_U_WS | SLV_U_SPACE,
    ['!' ... '#'] = PUNCT,
    ['$'] = SIGN,
    ['%' ... '*'] = PUNCT,
    ['+'] = SIGN,
    [',' ... '/'] = PUNCT,
    ['0' ... '9'] = SLV_U_ND | SLV_U_09,
    [':' ... ';'] = PUNCT,
    ['<' ... '>'] = SIGN,
    ['?' ... '@'] = PUNCT,
    ['A' ... 'Z'] = SLV_U_LU | SLV_U_AZ,
    ['[' ... ']'] = PUNCT,
    ['^'] = SIGN,
    ['_'] = SLV_U_PC | SLV_U_APUNCT,
    ['`'] = SIGN,
    ['a' ... 'z'] = SLV_U_LL | SLV_U_AZ,
    ['{'] = PUNCT,
    ['|'] = SIGN,
    ['}'] = PUNCT,
    ['~'] = SIGN,
    [127] = SLV_U_C,
};

static const uint32_t by_category[] = {
    [UTF8PROC_CATEGORY_CN] = SLV_U_CN, [UTF8PROC_CATEGORY_LU] = SLV_U_LU,
    [UTF8PROC_CATEGORY_LL] = SLV_U_LL, [UTF8PROC_CATEGORY_LT] = SLV_U_LT,
    [UTF8PROC_CATEGORY_LM] = SLV_U_LM, [UTF8PROC_CATEGORY_LO] = SLV_U_LO,
    [UTF8PROC_CATEGORY_MN] = SLV_U_MN, [UTF8PROC_CATEGORY_MC] = SLV_U_MC,
    [UTF8PROC_CATEGORY_ME] = SLV_U_ME, [UTF8PROC_CATEGORY_ND] = SLV_U_ND,
    [UTF8PROC_CATEGORY_NL] = SLV_U_NL, [UTF8PROC_CATEGORY_NO] = SLV_U_NO,
    [UTF8PROC_CATEGORY_PC] = SLV_U_PC, [UTF8PROC_CATEGORY_PD] = SLV_U_PX,
    [UTF8PROC_CATEGORY_PS] = SLV_U_PX, [UTF8PROC_CATEGORY_PE] = SLV_U_PX,
    [UTF8PROC_CATEGORY_PI] = SLV_U_PX, [UTF8PROC_CATEGORY_PF] = SLV_U_PX,
    [UTF8PROC_CATEGORY_PO] = SLV_U_PX, [UTF8PROC_CATEGORY_SM] = SLV_U_S,
    [UTF8PROC_CATEGORY_SC] = SLV_U_S,  [UTF8PROC_CATEGORY_SK] = SLV_U_S,
    [UTF8PROC_CATEGORY_SO] = SLV_U_S,  [UTF8PROC_CATEGORY_ZS] = SLV_U_WS,
    [UTF8PROC_CATEGORY_ZL] = SLV_U_WS, [UTF8PROC_CATEGORY_ZP] = SLV_U_WS,
    [UTF8PROC_CATEGORY_CC] = SLV_U_C,  [UTF8PROC_CATEGORY_CF] = SLV_U_C,
    [UTF8PROC_CATEGORY_CS] = SLV_U_C,  [UTF8PROC_CATEGORY_CO] = SLV_U_C,
};

uint32_t slv_uclass_wide(uint32_t cp) {
    if (cp > 0x10ffff) return SLV_U_CN;
    if (cp == 0x85) return SLV_U_C | SLV_U_WS; /* NEL: the one control above ASCII that is space */
    /* Every other separator (Zs, Zl, Zp) has White_Space, and nothing else above ASCII does. */
    return by_category[utf8proc_category((utf8proc_int32_t)cp)];
}
