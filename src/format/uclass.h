/* uclass.h: what a tokenizer asks of a code point, as one word of flags.
 *
 * General categories come from utf8proc (Unicode 15); white space is the property White_Space, as
 * `\s` of Oniguruma and Rust's char::is_whitespace have it. Code points that are not assigned have
 * only SLV_U_CN. Threads: any. */
#ifndef SLV_FORMAT_UCLASS_H
#define SLV_FORMAT_UCLASS_H

#include <stdint.h>

enum slv_uclass_flag {
    SLV_U_LU = 1 << 0,
    SLV_U_LL = 1 << 1,
    SLV_U_LT = 1 << 2,
    SLV_U_LM = 1 << 3,
    SLV_U_LO = 1 << 4,
    SLV_U_MN = 1 << 5,
    SLV_U_MC = 1 << 6,
    SLV_U_ME = 1 << 7,
    SLV_U_ND = 1 << 8,
    SLV_U_NL = 1 << 9,
    SLV_U_NO = 1 << 10,
    SLV_U_PC = 1 << 11,
    SLV_U_PX = 1 << 12, /* punctuation but Pc */
    SLV_U_S = 1 << 13,
    SLV_U_C = 1 << 14, /* Cc, Cf, Cs, Co */
    SLV_U_CN = 1 << 15,
    SLV_U_WS = 1 << 16,
    /* ASCII only */
    SLV_U_SPACE = 1 << 17, /* ' ' */
    SLV_U_CR = 1 << 18,
    SLV_U_LF = 1 << 19,
    SLV_U_AZ = 1 << 20,     /* A-Z a-z */
    SLV_U_09 = 1 << 21,     /* 0-9 */
    SLV_U_APUNCT = 1 << 22, /* !-/ :-@ [-` {-~ */
    SLV_U_L = SLV_U_LU | SLV_U_LL | SLV_U_LT | SLV_U_LM | SLV_U_LO,
    SLV_U_M = SLV_U_MN | SLV_U_MC | SLV_U_ME,
    SLV_U_N = SLV_U_ND | SLV_U_NL | SLV_U_NO,
    SLV_U_P = SLV_U_PC | SLV_U_PX,
    SLV_U_CRLF = SLV_U_CR | SLV_U_LF
};

extern const uint32_t slv_uclass_ascii[128];

/* The flags of a code point above ASCII; SLV_U_CN for what is no scalar value. */
uint32_t slv_uclass_wide(uint32_t cp);

static inline uint32_t slv_uclass(uint32_t cp) {
    return cp < 128 ? slv_uclass_ascii[cp] : slv_uclass_wide(cp);
}

#endif
