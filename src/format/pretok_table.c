/* pretok_table.c: the pre-tokenizers by the names GGUF files give them, and their rules as data.
 *
 * Sources: each expression is the one in the authors' tokenizer.json (quoted above its rules);
 * which name stands for which, and the flags, follow llama.cpp's loader (llama-vocab.cpp). Where
 * llama.cpp only approximates the authors' expression (\p{Lu} and its kin in gpt-4o, tekken and
 * kimi-k2, tiny_aya's word boundary) the authors' is what is here.
 */
#include "format/pretok.h"
#include "format/uclass.h"

#include <string.h>

/* --- sets ------------------------------------------------------------------------------------- */

/* Script=Han (Unicode 15.1). */
static const struct slv_range han[] = {{0x2e80, 0x2e99},
                                       {0x2e9b, 0x2ef3},
                                       {0x2f00, 0x2fd5},
                                       {0x3005, 0x3005},
                                       {0x3007, 0x3007},
                                       {0x3021, 0x3029},
                                       {0x3038, 0x303b},
                                       {0x3400, 0x4dbf},
                                       {0x4e00, 0x9fff},
                                       {0xf900, 0xfa6d},
                                       {0xfa70, 0xfad9},
                                       {0x16fe2, 0x16fe3},
                                       {0x16ff0, 0x16ff1},
                                       {0x20000, 0x2a6df},
                                       {0x2a700, 0x2b739},
                                       {0x2b740, 0x2b81d},
                                       {0x2b820, 0x2cea1},
                                       {0x2ceb0, 0x2ebe0},
                                       {0x2ebf0, 0x2ee5d},
                                       {0x2f800, 0x2fa1d},
                                       {0x30000, 0x3134a},
                                       {0x31350, 0x323af},
                                       {0, 0}};

/* [一-龥぀-ゟ゠-ヿ] */
static const struct slv_range cjk_kana[] = {{0x3040, 0x30ff}, {0x4e00, 0x9fa5}, {0, 0}};
/* [一-龥ࠀ-一가-퟿] */
static const struct slv_range cjk_wide[] = {{0x800, 0x9fa5}, {0xac00, 0xd7ff}, {0, 0}};
/* [가-힣ㄱ-ㆎ] */
static const struct slv_range hangul[] = {{0x3131, 0x318e}, {0xac00, 0xd7a3}, {0, 0}};
/* [！…“”‘’—：；，、-〿︰-﹏] */
static const struct slv_range cjk_punct[] = {
    {0x2014, 0x2014}, {0x2018, 0x2019}, {0x201c, 0x201d}, {0x2026, 0x2026}, {0x3001, 0x303f},
    {0xfe30, 0xfe4f}, {0xff01, 0xff01}, {0xff0c, 0xff0c}, {0xff1a, 0xff1b}, {0, 0}};
static const struct slv_range bopomofo[] = {{0x3105, 0x312f}, {0, 0}};
/* [.,!?…。，、।۔،()|]; white space comes from the class. */
static const struct slv_range bloom_break[] = {
    {0x21, 0x21},     {0x28, 0x29},     {0x2c, 0x2c},   {0x2e, 0x2e},   {0x3f, 0x3f},
    {0x7c, 0x7c},     {0x60c, 0x60c},   {0x6d4, 0x6d4}, {0x964, 0x964}, {0x2026, 0x2026},
    {0x3001, 0x3002}, {0xff0c, 0xff0c}, {0, 0}};
/* Oniguruma's \w beyond letters, marks, Nd, Nl and Pc: Other_Alphabetic, and of Latin-1's No. */
static const struct slv_range word_extra[] = {
    {0xb2, 0xb3},       {0xb9, 0xb9},       {0xbc, 0xbe},       {0x24b6, 0x24e9},
    {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189}, {0, 0}};
static const struct slv_range slash[] = {{0x2f, 0x2f}, {0, 0}};
static const struct slv_range backtick[] = {{0x60, 0x60}, {0, 0}};

/* The cased letters DeepSeek LLM lists: [A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿ ... 𑢠-𑣟𞤀-𞥃]. */
static const struct slv_range deepseek_letter[] = {{0x41, 0x5a},
                                                   {0x61, 0x7a},
                                                   {0xb5, 0xb5},
                                                   {0xc0, 0xd6},
                                                   {0xd8, 0xf6},
                                                   {0xf8, 0x1ba},
                                                   {0x1bc, 0x1bf},
                                                   {0x1c4, 0x293},
                                                   {0x295, 0x2af},
                                                   {0x370, 0x373},
                                                   {0x376, 0x377},
                                                   {0x37b, 0x37d},
                                                   {0x37f, 0x37f},
                                                   {0x386, 0x386},
                                                   {0x388, 0x38a},
                                                   {0x38c, 0x38c},
                                                   {0x38e, 0x3a1},
                                                   {0x3a3, 0x3f5},
                                                   {0x3f7, 0x481},
                                                   {0x48a, 0x52f},
                                                   {0x531, 0x556},
                                                   {0x10a0, 0x10c5},
                                                   {0x13a0, 0x13f5},
                                                   {0x13f8, 0x13fd},
                                                   {0x1c90, 0x1cba},
                                                   {0x1cbd, 0x1cbf},
                                                   {0x1d00, 0x1d2b},
                                                   {0x1d6b, 0x1d77},
                                                   {0x1d79, 0x1d9a},
                                                   {0x1e00, 0x1f15},
                                                   {0x1f18, 0x1f1d},
                                                   {0x1f20, 0x1f45},
                                                   {0x1f48, 0x1f4d},
                                                   {0x1f50, 0x1f57},
                                                   {0x1f59, 0x1f59},
                                                   {0x1f5b, 0x1f5b},
                                                   {0x1f5d, 0x1f5d},
                                                   {0x1f5f, 0x1f7d},
                                                   {0x1f80, 0x1fb4},
                                                   {0x1fb6, 0x1fbc},
                                                   {0x1fbe, 0x1fbe},
                                                   {0x1fc2, 0x1fc4},
                                                   {0x1fc6, 0x1fcc},
                                                   {0x1fd0, 0x1fd3},
                                                   {0x1fd6, 0x1fdb},
                                                   {0x1fe0, 0x1fec},
                                                   {0x1ff2, 0x1ff4},
                                                   {0x1ff6, 0x1ffc},
                                                   {0x2102, 0x2102},
                                                   {0x2107, 0x2107},
                                                   {0x210a, 0x2113},
                                                   {0x2115, 0x2115},
                                                   {0x2119, 0x211d},
                                                   {0x2124, 0x2124},
                                                   {0x2126, 0x2126},
                                                   {0x2128, 0x2128},
                                                   {0x212a, 0x212d},
                                                   {0x212f, 0x2134},
                                                   {0x2139, 0x2139},
                                                   {0x213c, 0x213f},
                                                   {0x2145, 0x2149},
                                                   {0x214e, 0x214e},
                                                   {0x2183, 0x2184},
                                                   {0x2c00, 0x2c7b},
                                                   {0x2c7e, 0x2ce4},
                                                   {0x2ceb, 0x2cee},
                                                   {0x2cf2, 0x2cf3},
                                                   {0xa640, 0xa66d},
                                                   {0xa680, 0xa69b},
                                                   {0xa722, 0xa76f},
                                                   {0xa771, 0xa787},
                                                   {0xa78b, 0xa78e},
                                                   {0xab70, 0xabbf},
                                                   {0xfb00, 0xfb06},
                                                   {0xfb13, 0xfb17},
                                                   {0xff21, 0xff3a},
                                                   {0xff41, 0xff5a},
                                                   {0x10400, 0x1044f},
                                                   {0x104b0, 0x104d3},
                                                   {0x104d8, 0x104fb},
                                                   {0x10c80, 0x10cb2},
                                                   {0x10cc0, 0x10cf2},
                                                   {0x118a0, 0x118df},
                                                   {0x1e900, 0x1e943},
                                                   {0, 0}};
/* [!-/:-~！-／：-～‘-‟　-。] */
static const struct slv_range deepseek_punct[] = {
    {0x21, 0x2f},     {0x3a, 0x7e}, {0x2018, 0x201f}, {0x3000, 0x3002}, {0xff01, 0xff0f},
    {0xff1a, 0xff5e}, {0, 0}};

#define UPPER (SLV_U_LU | SLV_U_LT | SLV_U_LM | SLV_U_LO | SLV_U_M)
#define LOWER (SLV_U_LL | SLV_U_LM | SLV_U_LO | SLV_U_M)

const struct slv_set slv_pretok_sets[SLV_SET_COUNT] = {
    [SLV_SET_NONE] = {0},
    [SLV_SET_SPACE] = {.mask = SLV_U_SPACE},
    [SLV_SET_WS] = {.mask = SLV_U_WS},
    [SLV_SET_NOT_WS_LETTER_NUMBER] = {.mask = SLV_U_WS | SLV_U_L | SLV_U_N, .negate = true},
    [SLV_SET_NOT_WS_LETTER_MARK_NUMBER] = {.mask = SLV_U_WS | SLV_U_L | SLV_U_M | SLV_U_N,
                                           .negate = true},
    [SLV_SET_NOT_CRLF_LETTER_NUMBER] = {.mask = SLV_U_CRLF | SLV_U_L | SLV_U_N, .negate = true},
    [SLV_SET_NOT_CRLF_LETTER_PUNCT_SYMBOL] = {.mask = SLV_U_CRLF | SLV_U_L | SLV_U_P | SLV_U_S,
                                              .negate = true},
    [SLV_SET_LETTER] = {.mask = SLV_U_L},
    [SLV_SET_LETTER_MARK] = {.mask = SLV_U_L | SLV_U_M},
    [SLV_SET_MARK] = {.mask = SLV_U_M},
    [SLV_SET_NUMBER] = {.mask = SLV_U_N},
    [SLV_SET_DECIMAL] = {.mask = SLV_U_ND},
    [SLV_SET_DIGIT] = {.mask = SLV_U_09},
    [SLV_SET_PUNCT] = {.mask = SLV_U_P},
    [SLV_SET_PUNCT_SYMBOL] = {.mask = SLV_U_P | SLV_U_S},
    [SLV_SET_PUNCT_ASCII] = {.mask = SLV_U_P | SLV_U_APUNCT},
    [SLV_SET_PUNCT_DEFAULT] = {.mask = SLV_U_P | SLV_U_APUNCT, .except = backtick},
    [SLV_SET_ASCII_PUNCT] = {.mask = SLV_U_APUNCT},
    [SLV_SET_ASCII_LETTER] = {.mask = SLV_U_AZ},
    [SLV_SET_CRLF] = {.mask = SLV_U_CRLF},
    [SLV_SET_CRLF_SLASH] = {.mask = SLV_U_CRLF, .ranges = slash},
    [SLV_SET_NEWLINE] = {.mask = SLV_U_LF},
    [SLV_SET_NOT_NEWLINE] = {.mask = SLV_U_LF, .negate = true},
    [SLV_SET_UPPER] = {.mask = UPPER},
    [SLV_SET_LOWER] = {.mask = LOWER},
    [SLV_SET_UPPER_NOT_HAN] = {.mask = UPPER, .except = han},
    [SLV_SET_LOWER_NOT_HAN] = {.mask = LOWER, .except = han},
    [SLV_SET_HAN] = {.ranges = han},
    [SLV_SET_CJK_KANA] = {.ranges = cjk_kana},
    [SLV_SET_CJK_WIDE] = {.ranges = cjk_wide},
    [SLV_SET_HANGUL] = {.ranges = hangul},
    [SLV_SET_CJK_PUNCT] = {.ranges = cjk_punct},
    [SLV_SET_BOPOMOFO] = {.ranges = bopomofo},
    [SLV_SET_DEEPSEEK_LETTER] = {.ranges = deepseek_letter},
    [SLV_SET_DEEPSEEK_PUNCT] = {.ranges = deepseek_punct},
    [SLV_SET_WORD] = {.mask = SLV_U_L | SLV_U_M | SLV_U_ND | SLV_U_NL | SLV_U_PC,
                      .ranges = word_extra},
    [SLV_SET_NOT_BLOOM_BREAK] = {.mask = SLV_U_WS, .negate = true, .ranges = bloom_break},
};

/* --- passes ----------------------------------------------------------------------------------- */

typedef struct slv_rule rules[];

#define SPACES                                                                                     \
    { SLV_RULE_RUN, .body = SLV_SET_WS }

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static const rules gpt2 = {
    {.kind = SLV_RULE_CONTRACTION},
    {.kind = SLV_RULE_RUN, .lead = SLV_SET_SPACE, .body = SLV_SET_LETTER},
    {.kind = SLV_RULE_RUN, .lead = SLV_SET_SPACE, .body = SLV_SET_NUMBER},
    {.kind = SLV_RULE_RUN, .lead = SLV_SET_SPACE, .body = SLV_SET_NOT_WS_LETTER_NUMBER},
    {.kind = SLV_RULE_SPACES_BEFORE},
    SPACES,
    {0}};

/* The family that Llama 3 began:
 * (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|
 * \s*[\r\n]+|\s+(?!\S)|\s+ */
#define WORD_LETTERS                                                                               \
    { SLV_RULE_RUN, .lead = SLV_SET_NOT_CRLF_LETTER_NUMBER, .body = SLV_SET_LETTER }
#define NUMBER_MAX(k)                                                                              \
    { SLV_RULE_RUN, .body = SLV_SET_NUMBER, .max = (k) }
#define SIGNS_THEN(set, most)                                                                      \
    {                                                                                              \
        .kind = SLV_RULE_RUN, .lead = SLV_SET_SPACE, .body = SLV_SET_NOT_WS_LETTER_NUMBER,         \
        .tail = (set), .tail_max = (most)                                                          \
    }

static const rules llama3 = {{.kind = SLV_RULE_CONTRACTION_I},
                             WORD_LETTERS,
                             NUMBER_MAX(3),
                             SIGNS_THEN(SLV_SET_CRLF, 0),
                             {.kind = SLV_RULE_NEWLINES},
                             {.kind = SLV_RULE_SPACES_BEFORE},
                             SPACES,
                             {0}};

/* Llama 3's with \p{N} in place of \p{N}{1,3}. bailingmoe's `\s*[\r\n]` ends where `\s*[\r\n]+`
 * does, and its possessive quantifiers change nothing: what follows them cannot be in them. */
static const rules qwen2 = {{.kind = SLV_RULE_CONTRACTION_I},
                            WORD_LETTERS,
                            NUMBER_MAX(1),
                            SIGNS_THEN(SLV_SET_CRLF, 0),
                            {.kind = SLV_RULE_NEWLINES},
                            {.kind = SLV_RULE_SPACES_BEFORE},
                            SPACES,
                            {0}};

/* ... with \p{N}+, after a pass of \p{N}{1,3}. */
static const rules minicpm5 = {{.kind = SLV_RULE_CONTRACTION_I},
                               WORD_LETTERS,
                               NUMBER_MAX(0),
                               SIGNS_THEN(SLV_SET_CRLF, 0),
                               {.kind = SLV_RULE_NEWLINES},
                               {.kind = SLV_RULE_SPACES_BEFORE},
                               SPACES,
                               {0}};

/* Qwen 2's without contractions. */
static const rules ufakzeka = {WORD_LETTERS,
                               NUMBER_MAX(1),
                               SIGNS_THEN(SLV_SET_CRLF, 0),
                               {.kind = SLV_RULE_NEWLINES},
                               {.kind = SLV_RULE_SPACES_BEFORE},
                               SPACES,
                               {0}};

/* Llama 3's with runs of white space in powers of two. */
static const rules jais2 = {{.kind = SLV_RULE_CONTRACTION_I},
                            WORD_LETTERS,
                            NUMBER_MAX(3),
                            SIGNS_THEN(SLV_SET_CRLF, 0),
                            {.kind = SLV_RULE_NEWLINES},
                            {.kind = SLV_RULE_SPACES_HALVING},
                            {0}};

/* ...|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+ */
static const rules seed_coder = {{.kind = SLV_RULE_CONTRACTION_I},
                                 WORD_LETTERS,
                                 NUMBER_MAX(1),
                                 SIGNS_THEN(SLV_SET_NONE, 0),
                                 {.kind = SLV_RULE_NEWLINES},
                                 {.kind = SLV_RULE_SPACES_BEFORE},
                                 SPACES,
                                 {0}};

/* ...|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|... */
static const rules qwen35 = {
    {.kind = SLV_RULE_CONTRACTION_I},
    {.kind = SLV_RULE_RUN, .lead = SLV_SET_NOT_CRLF_LETTER_NUMBER, .body = SLV_SET_LETTER_MARK},
    NUMBER_MAX(1),
    {.kind = SLV_RULE_RUN,
     .lead = SLV_SET_SPACE,
     .body = SLV_SET_NOT_WS_LETTER_MARK_NUMBER,
     .tail = SLV_SET_CRLF},
    {.kind = SLV_RULE_NEWLINES},
    {.kind = SLV_RULE_SPACES_BEFORE},
    SPACES,
    {0}};

/* ...|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|
 * \s*[\r\n]|... */
static const rules exaone_moe = {{.kind = SLV_RULE_CONTRACTION_I},
                                 {.kind = SLV_RULE_PHRASE, .lead = SLV_SET_NOT_CRLF_LETTER_NUMBER},
                                 NUMBER_MAX(1),
                                 SIGNS_THEN(SLV_SET_CRLF_SLASH, 1),
                                 {.kind = SLV_RULE_NEWLINES},
                                 {.kind = SLV_RULE_SPACES_BEFORE},
                                 SPACES,
                                 {0}};

/* [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|...)?|
 * [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|...)?|
 * \p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static const rules gpt4o = {
    {.kind = SLV_RULE_CAMEL_SUFFIX, .lead = SLV_SET_UPPER, .body = SLV_SET_LOWER},
    NUMBER_MAX(3),
    SIGNS_THEN(SLV_SET_CRLF_SLASH, 0),
    {.kind = SLV_RULE_NEWLINES},
    {.kind = SLV_RULE_SPACES_BEFORE},
    SPACES,
    {0}};

/* The same with single digits. */
static const rules youtu = {
    {.kind = SLV_RULE_CAMEL_SUFFIX, .lead = SLV_SET_UPPER, .body = SLV_SET_LOWER},
    NUMBER_MAX(1),
    SIGNS_THEN(SLV_SET_CRLF_SLASH, 0),
    {.kind = SLV_RULE_NEWLINES},
    {.kind = SLV_RULE_SPACES_BEFORE},
    SPACES,
    {0}};

/* ... and without contractions. */
static const rules tekken = {{.kind = SLV_RULE_CAMEL, .lead = SLV_SET_UPPER, .body = SLV_SET_LOWER},
                             NUMBER_MAX(1),
                             SIGNS_THEN(SLV_SET_CRLF_SLASH, 0),
                             {.kind = SLV_RULE_NEWLINES},
                             {.kind = SLV_RULE_SPACES_BEFORE},
                             SPACES,
                             {0}};

/* [\p{Han}]+|, then gpt-4o's words with &&[^\p{Han}] in each class; |\p{N}{1,3}|
 *  ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static const rules kimi_k2 = {
    {.kind = SLV_RULE_RUN, .body = SLV_SET_HAN},
    {.kind = SLV_RULE_CAMEL_SUFFIX, .lead = SLV_SET_UPPER_NOT_HAN, .body = SLV_SET_LOWER_NOT_HAN},
    NUMBER_MAX(3),
    SIGNS_THEN(SLV_SET_CRLF, 0),
    {.kind = SLV_RULE_NEWLINES},
    {.kind = SLV_RULE_SPACES_BEFORE},
    SPACES,
    {0}};

/* [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|
 *  ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
#define SIGN_WORD                                                                                  \
    { SLV_RULE_RUN, .lead = SLV_SET_ASCII_PUNCT, .body = SLV_SET_ASCII_LETTER, .must_lead = true }
#define WORD_MARKS                                                                                 \
    { SLV_RULE_RUN, .lead = SLV_SET_NOT_CRLF_LETTER_PUNCT_SYMBOL, .body = SLV_SET_LETTER_MARK }

static const rules deepseek3 = {SIGN_WORD,
                                WORD_MARKS,
                                {.kind = SLV_RULE_RUN,
                                 .lead = SLV_SET_SPACE,
                                 .body = SLV_SET_PUNCT_SYMBOL,
                                 .tail = SLV_SET_CRLF},
                                {.kind = SLV_RULE_NEWLINES},
                                {.kind = SLV_RULE_SPACES_BEFORE},
                                SPACES,
                                {0}};

/* ...| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+ */
static const rules spark = {
    SIGN_WORD,
    WORD_MARKS,
    {.kind = SLV_RULE_RUN, .lead = SLV_SET_SPACE, .body = SLV_SET_PUNCT_SYMBOL},
    {.kind = SLV_RULE_RUN, .body = SLV_SET_CRLF, .max = 1},
    {.kind = SLV_RULE_SPACES_BEFORE},
    SPACES,
    {0}};

/* [가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+
 */
static const rules youtu_scripts = {{.kind = SLV_RULE_RUN, .body = SLV_SET_HANGUL},
                                    {.kind = SLV_RULE_RUN, .body = SLV_SET_CJK_PUNCT},
                                    {.kind = SLV_RULE_RUN, .body = SLV_SET_BOPOMOFO},
                                    {.kind = SLV_RULE_RUN, .body = SLV_SET_CJK_KANA},
                                    {0}};

/* Passes of one rule. */
static const rules number = {NUMBER_MAX(1), {0}};
static const rules number_3 = {NUMBER_MAX(3), {0}};
static const rules numbers = {NUMBER_MAX(0), {0}};
static const rules three_digits = {
    {.kind = SLV_RULE_RUN, .body = SLV_SET_DIGIT, .min = 3, .max = 3}, {0}};
static const rules threes = {{.kind = SLV_RULE_THREES}, {0}};
static const rules line_end = {{.kind = SLV_RULE_RUN, .body = SLV_SET_CRLF, .max = 1}, {0}};
static const rules spaces_end = {{.kind = SLV_RULE_SPACES_AT_END}, {0}};
static const rules cjk_kana_run = {{.kind = SLV_RULE_RUN, .body = SLV_SET_CJK_KANA}, {0}};
static const rules cjk_wide_run = {{.kind = SLV_RULE_RUN, .body = SLV_SET_CJK_WIDE}, {0}};
static const rules punct_ascii = {{.kind = SLV_RULE_RUN, .body = SLV_SET_PUNCT_ASCII}, {0}};
static const rules punct_default = {{.kind = SLV_RULE_RUN, .body = SLV_SET_PUNCT_DEFAULT}, {0}};
static const rules lines = {{.kind = SLV_RULE_RUN, .body = SLV_SET_NOT_NEWLINE},
                            {SLV_RULE_RUN, .body = SLV_SET_NEWLINE},
                            {0}};

/*  ?[^(\s|.,!?…。，、।۔،)]+ */
static const rules bloom = {
    {.kind = SLV_RULE_RUN, .lead = SLV_SET_SPACE, .body = SLV_SET_NOT_BLOOM_BREAK}, {0}};

/* \s?\p{L}+ and \s?\p{P}+ ; \s?[A-Za-zµ...]+ and \s?[!-/...]+ */
static const rules space_letters = {
    {.kind = SLV_RULE_RUN, .lead = SLV_SET_WS, .body = SLV_SET_LETTER}, {0}};
static const rules space_punct = {{.kind = SLV_RULE_RUN, .lead = SLV_SET_WS, .body = SLV_SET_PUNCT},
                                  {0}};
static const rules deepseek_words = {
    {.kind = SLV_RULE_RUN, .lead = SLV_SET_WS, .body = SLV_SET_DEEPSEEK_LETTER}, {0}};
static const rules deepseek_signs = {
    {.kind = SLV_RULE_RUN, .lead = SLV_SET_WS, .body = SLV_SET_DEEPSEEK_PUNCT}, {0}};

/* --- rows ------------------------------------------------------------------------------------- */

#define WHOLE SLV_PRETOK_WHOLE
#define BOS SLV_PRETOK_BOS
#define RAW SLV_PRETOK_RAW
#define NO_BOS SLV_PRETOK_NO_BOS

static const struct slv_pretok rows[] = {
    {"gpt-2", 0, {gpt2}},
    {"phi-2", 0, {gpt2}},
    {"jina-es", 0, {gpt2}},
    {"jina-de", 0, {gpt2}},
    {"gigachat", 0, {gpt2}},
    {"jina-v2-es", 0, {gpt2}},
    {"jina-v2-de", 0, {gpt2}},
    {"a.x-4.0", 0, {gpt2}},
    {"mellum", 0, {gpt2}},
    {"modern-bert", 0, {gpt2}},
    {"jina-v1-en", 0, {gpt2}},
    {"jina-v2-code", 0, {gpt2}},
    {"roberta-bpe", 0, {gpt2}},
    {"mpt", 0, {gpt2}},
    {"olmo", 0, {gpt2}},
    {"jais", 0, {gpt2}},
    {"exaone4", 0, {gpt2}},
    {"trillion", 0, {gpt2}},
    {"granite-docling", 0, {gpt2}},
    {"starcoder", 0, {number, gpt2}},
    {"refact", 0, {number, gpt2}},
    {"command-r", 0, {number, gpt2}},
    {"smollm", 0, {number, gpt2}},
    {"codeshell", 0, {number, gpt2}},
    {"exaone", 0, {number, gpt2}},
    {"minerva-7b", 0, {number, gpt2}},
    {"mellum2", 0, {number, gpt2}},
    {"llama3", WHOLE | BOS, {llama3}},
    {"llama-v3", WHOLE | BOS, {llama3}},
    {"llama-bpe", WHOLE | BOS, {llama3}},
    {"falcon3", WHOLE | BOS, {llama3}},
    {"falcon-h1", WHOLE | BOS, {llama3}},
    {"pixtral", WHOLE | BOS, {llama3}},
    {"midm-2.0", WHOLE | BOS, {llama3}},
    {"lfm2", WHOLE | BOS, {llama3}},
    {"jina-v5-nano", WHOLE | BOS, {llama3}},
    {"dbrx", 0, {llama3}},
    {"smaug-bpe", 0, {llama3}},
    {"chatglm-bpe", NO_BOS, {llama3}},
    {"glm4", WHOLE | NO_BOS, {llama3}},
    {"glm5", WHOLE | NO_BOS, {llama3}},
    {"qwen2", 0, {qwen2}},
    {"deepseek-r1-qwen", 0, {qwen2}},
    {"kormo", 0, {qwen2}},
    {"f2llmv2", 0, {qwen2}},
    {"stablelm2", 0, {qwen2}},
    {"megrez", 0, {qwen2}},
    {"hunyuan", 0, {qwen2}},
    {"solar-open", 0, {qwen2}},
    {"grok-2", 0, {qwen2}},
    {"bailingmoe", 0, {qwen2}},
    {"bailingmoe2", 0, {qwen2}},
    {"llada-moe", 0, {qwen2}},
    {"qwen35", 0, {qwen35}},
    {"ufakzeka", 0, {ufakzeka}},
    {"jais-2", 0, {jais2}},
    {"seed-coder", 0, {seed_coder}},
    {"exaone-moe", 0, {exaone_moe}},
    {"minicpm5", WHOLE, {number_3, minicpm5}},
    {"laguna", 0, {lines, qwen2}},
    {"gpt-4o", 0, {gpt4o}},
    {"llama4", 0, {gpt4o}},
    {"kanana2", 0, {gpt4o}},
    {"talkie", 0, {gpt4o}},
    {"minimax-m2", 0, {gpt4o}},
    {"granite-embed-multi-97m", WHOLE, {gpt4o}},
    {"tiny_aya", 0, {threes, gpt4o}},
    {"cohere2moe", 0, {threes, gpt4o}},
    {"tekken", WHOLE | BOS, {tekken}},
    {"kimi-k2", 0, {kimi_k2}},
    {"youtu", WHOLE, {youtu_scripts, youtu}},
    {"deepseek-llm",
     0,
     {line_end, deepseek_words, deepseek_signs, spaces_end, cjk_wide_run, number}},
    {"deepseek-coder", 0, {line_end, space_letters, space_punct, cjk_wide_run, number}},
    {"deepseek-v3", 0, {number_3, cjk_kana_run, deepseek3}},
    {"hunyuan-dense", 0, {number_3, cjk_kana_run, deepseek3}},
    {"joyai-llm", 0, {number_3, cjk_kana_run, deepseek3}},
    {"hy_v4", 0, {number_3, cjk_kana_run, deepseek3}},
    {"spark2_5", 0, {number_3, cjk_kana_run, spark, number}},
    {"falcon", 0, {punct_ascii, gpt2, three_digits}},
    {"default", 0, {punct_default, gpt2, numbers, three_digits}},
    {"poro-chat", 0, {bloom}},
    {"bloom", 0, {bloom}},
    {"gpt3-finnish", 0, {bloom}},
    {"viking", 0, {bloom, number}},
    {"sarvam-moe", RAW, {lines}},
    {"gemma4", RAW | BOS, {lines}},
    {"granite-embed-multi-311m", RAW | BOS, {lines}},
};

const struct slv_pretok *slv_pretok_at(size_t i) {
    return i < sizeof rows / sizeof rows[0] ? rows + i : NULL;
}

const struct slv_pretok *slv_pretok_find(struct slv_str name) {
    const struct slv_pretok *p;
    for (size_t i = 0; (p = slv_pretok_at(i)); i++)
        if (strlen(p->name) == name.n && !memcmp(p->name, name.p, name.n)) return p;
    return NULL;
}
