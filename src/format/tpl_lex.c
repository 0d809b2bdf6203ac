/* tpl_lex.c: template text to tokens, one at a time.
 *
 * Follows the rules of Jinja2's documentation on white space with trim_blocks and lstrip_blocks on:
 * the first newline after a block or comment is dropped; blanks before one, back to the start of
 * its line, are dropped; '-' inside a tag strips everything on that side, '+' keeps everything.
 * Inside brackets the end of a tag is not looked for. */
#include "base/utf8.h"
#include "format/template_impl.h"

#include <string.h>

static bool starts(const struct tpl_parser *p, size_t at, const char *what) {
    size_t n = strlen(what);
    return p->n - at >= n && memcmp(p->p + at, what, n) == 0;
}

static void count_lines(struct tpl_parser *p, size_t from, size_t to) {
    for (; from < to; from++)
        p->line += p->p[from] == '\n';
}

/* The first byte at or after `at` that is not white space. */
static size_t past_space(const struct tpl_parser *p, size_t at) {
    while (at < p->n) {
        uint32_t cp;
        size_t used = slv_utf8_decode(p->p + at, p->n - at, &cp);
        if (!slv_tpl_space(cp)) break;
        at += used;
    }
    return at;
}

static void move(struct tpl_parser *p, size_t to) {
    count_lines(p, p->at, to);
    p->line_starting = to > p->at ? p->p[to - 1] == '\n' : p->line_starting;
    p->at = to;
}

/* Ends a tag at `at`, where "%}" or such stands, maybe after a sign: returns where text goes on. */
static size_t tag_end(const struct tpl_parser *p, size_t at, bool trim) {
    bool strip = p->p[at] == '-', keep = p->p[at] == '+';
    at += strip || keep ? 3 : 2;
    if (strip) return past_space(p, at);
    if (trim && !keep && at < p->n && p->p[at] == '\n') at++;
    return at;
}

/* --- between tags ----------------------------------------------------------------------------- */

/* Text [from, to) before a tag whose sign is `sign`: how much of it stays. */
static size_t text_end(const struct tpl_parser *p, size_t from, size_t to, char sign, bool is_var) {
    struct tpl_text s = {p->p + from, to - from};
    if (sign == '-') return from + slv_tpl_strip(s, NULL, false, true).n;
    if (sign == '+' || is_var) return to;
    size_t line = to;
    while (line > from && p->p[line - 1] != '\n')
        line--;
    if (line == from && !p->line_starting) return to;
    return past_space(p, line) >= to ? line : to;
}

/* "{% raw %}" at `at`: returns the place behind it, or 0. */
static size_t raw_begin(const struct tpl_parser *p, size_t at) {
    size_t i = at + 2;
    if (i < p->n && (p->p[i] == '-' || p->p[i] == '+')) i++;
    i = past_space(p, i);
    if (!starts(p, i, "raw")) return 0;
    i = past_space(p, i + 3);
    if (starts(p, i, "-%}")) return past_space(p, i + 3);
    return starts(p, i, "%}") ? i + 2 : 0;
}

static bool lex_raw(struct tpl_parser *p, struct tpl_tok *ret) {
    for (size_t at = p->at; at < p->n; at++) {
        if (!starts(p, at, "{%")) continue;
        size_t i = at + 2;
        char sign = i < p->n ? p->p[i] : 0;
        if (sign == '-' || sign == '+') i++;
        i = past_space(p, i);
        if (!starts(p, i, "endraw")) continue;
        i = past_space(p, i + 6);
        if (!starts(p, i, "%}") && !starts(p, i, "-%}") && !starts(p, i, "+%}")) continue;
        size_t end = text_end(p, p->at, at, sign, false);
        *ret = (struct tpl_tok){T_DATA, p->line, {p->p + p->at, end - p->at}, NULL};
        move(p, tag_end(p, i, true));
        return true;
    }
    /* Jinja lets a template end right behind what opens a raw block or a comment. */
    *ret = (struct tpl_tok){.type = T_EOF, .line = p->line};
    if (p->at < p->n) slv_tpl_syntax(p, "a raw block does not end");
    return p->at == p->n;
}

static bool skip_comment(struct tpl_parser *p) {
    for (size_t i = p->at; i + 1 < p->n; i++) {
        if (p->p[i] != '#' || p->p[i + 1] != '}') continue;
        if (i > p->at && (p->p[i - 1] == '-' || p->p[i - 1] == '+')) i--;
        move(p, tag_end(p, i, true));
        return true;
    }
    if (p->at < p->n) slv_tpl_syntax(p, "a comment does not end");
    return p->at == p->n;
}

static size_t next_tag(const struct tpl_parser *p, size_t at) {
    for (; at + 1 < p->n; at++) {
        const char *brace = memchr(p->p + at, '{', p->n - 1 - at);
        if (!brace) break;
        at = (size_t)(brace - p->p);
        if (memchr("%{#", p->p[at + 1], 3)) return at;
    }
    return p->n;
}

/* Text up to the next tag; then the tag's first token, unless it is a comment. */
static bool lex_root(struct tpl_parser *p, struct tpl_tok *ret) {
    for (;;) {
        size_t from = p->at, at = next_tag(p, from);
        uint32_t line = p->line;
        if (at == p->n) {
            *ret = (struct tpl_tok){
                from < p->n ? T_DATA : T_EOF, line, {p->p + from, p->n - from}, NULL};
            move(p, p->n);
            return true;
        }
        char kind = p->p[at + 1], sign = at + 2 < p->n ? p->p[at + 2] : 0;
        size_t raw = kind == '%' ? raw_begin(p, at) : 0;
        size_t end = text_end(p, from, at, sign, kind == '{');
        if (end > from) {
            /* The tag is met again by the next call, with nothing before it. */
            *ret = (struct tpl_tok){T_DATA, line, {p->p + from, end - from}, NULL};
            move(p, at);
            p->line_starting = false;
            return true;
        }
        move(p, raw ? raw : at + 2 + (sign == '-' || sign == '+'));
        p->line_starting = raw ? p->line_starting : false;
        if (raw) return lex_raw(p, ret);
        if (kind != '#') {
            p->state = kind == '%' ? LEX_BLOCK : LEX_VAR;
            *ret = (struct tpl_tok){kind == '%' ? T_BLOCK_BEGIN : T_VAR_BEGIN, p->line, {0}, NULL};
            return true;
        }
        if (!skip_comment(p)) return false;
    }
}

/* --- inside tags ------------------------------------------------------------------------------ */

/* Digits of a base with single underscores between them, from `at`; returns where they end. */
static size_t digit_run(const struct tpl_parser *p, size_t at, int base) {
    size_t end = at;
    for (size_t i = at; i < p->n; i++) {
        int c = p->p[i] | 0x20, v;
        if (p->p[i] == '_' && i > at && p->p[i - 1] != '_') continue;
        if (p->p[i] >= '0' && p->p[i] <= '9') v = p->p[i] - '0';
        else if (c >= 'a' && c <= 'f') v = c - 'a' + 10;
        else break;
        if (v >= base) break;
        end = i + 1;
    }
    return end;
}

/* Where a float that begins at p->at ends, or 0. */
static size_t float_end(const struct tpl_parser *p) {
    size_t i = digit_run(p, p->at, 10), k;
    bool is_float = false;
    if (p->at && p->p[p->at - 1] == '.') return 0;
    if (i < p->n && p->p[i] == '.' && (k = digit_run(p, i + 1, 10)) > i + 1 && p->p[i + 1] != '_') {
        i = k;
        is_float = true;
    }
    if (i < p->n && (p->p[i] | 0x20) == 'e') {
        k = i + 1;
        if (k < p->n && (p->p[k] == '+' || p->p[k] == '-')) k++;
        size_t end = digit_run(p, k, 10);
        if (end > k) return end;
    }
    return is_float ? i : 0;
}

static bool lex_number(struct tpl_parser *p, struct tpl_tok *ret) {
    size_t end = float_end(p), from = p->at, k = 0;
    int base = 10;
    char prefix = p->at + 1 < p->n && p->p[from] == '0' ? (char)(p->p[from + 1] | 0x20) : 0;
    ret->type = end ? T_FLOAT : T_INT;
    if (!end && (prefix == 'b' || prefix == 'o' || prefix == 'x')) {
        int other = prefix == 'b' ? 2 : prefix == 'o' ? 8 : 16;
        size_t start = from + 2 + (from + 2 < p->n && p->p[from + 2] == '_');
        end = digit_run(p, start, other);
        if (end > start) {
            base = other;
            from = start;
        } else end = 0;
    }
    if (!end && p->p[from] == '0') {
        for (end = from + 1; end < p->n; end++) {
            bool joint = p->p[end] == '_' && end + 1 < p->n && p->p[end + 1] == '0';
            if (p->p[end] != '0' && !joint) break;
        }
    }
    if (!end) end = digit_run(p, from, 10);
    char *text = slv_tpl_alloc(p->mem, end - from);
    if (!text) return false;
    for (size_t i = from; i < end; i++)
        if (p->p[i] != '_') text[k++] = p->p[i];
    double v = 0;
    if (ret->type == T_FLOAT)
        ret->val = slv_tpl_parse_double(text, k, &v) ? slv_value_double(p->mem, v) : NULL;
    else ret->val = slv_tpl_parse_int(p->mem, text, k, base);
    if (!ret->val && !p->mem->failed) {
        slv_tpl_syntax(p, "a number that cannot be held");
        return false;
    }
    move(p, end);
    return ret->val != NULL;
}

/* The code point of \x41, \u0041, \U00000041 or \101; -1 when malformed. */
static int64_t numeric_escape(const char *s, size_t n, size_t *used) {
    size_t want = s[0] == 'x' ? 2 : s[0] == 'u' ? 4 : 8, i = 1;
    int64_t v = 0;
    if (s[0] >= '0' && s[0] <= '7') {
        for (i = 0; i < 3 && i < n && s[i] >= '0' && s[i] <= '7'; i++)
            v = v * 8 + (s[i] - '0');
        *used = i;
        return v;
    }
    for (; i <= want; i++) {
        int c = i < n ? s[i] : 0, low = c | 0x20;
        if (c >= '0' && c <= '9') v = v * 16 + (c - '0');
        else if (low >= 'a' && low <= 'f') v = v * 16 + (low - 'a' + 10);
        else return -1;
    }
    *used = i;
    return v > 0x10ffff ? -1 : v >= 0xd800 && v < 0xe000 ? 0xfffd : v;
}

/* What the text between two quotes stands for, with Python's escapes. */
static bool unescape(struct tpl_parser *p, struct tpl_text s, struct tpl_text *ret) {
    static const char names[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    *ret = s;
    if (!memchr(s.p, '\\', s.n)) return true;
    char *out = slv_tpl_alloc(p->mem, s.n + 1);
    if (!out) return false;
    size_t k = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '\\' || i + 1 == s.n) {
            out[k++] = s.p[i];
            continue;
        }
        char c = s.p[++i];
        const char *name = names;
        while (*name && *name != c)
            name += 2;
        if (*name) out[k++] = name[1];
        else if (c == 'x' || c == 'u' || c == 'U' || (c >= '0' && c <= '7')) {
            size_t used = 0;
            int64_t cp = numeric_escape(s.p + i, s.n - i, &used);
            if (cp < 0) return slv_tpl_syntax(p, "a malformed \\%c escape", c) != NULL;
            k += slv_utf8_encode((uint32_t)cp, out + k);
            i += used - 1;
        } else if (c == 'N') {
            slv_tpl_refuse(p, SLV_E_UNSUPPORTED, "\\N{...} escapes are not supported");
            return false;
        } else if (c != '\n') {
            out[k++] = '\\';
            out[k++] = c;
        }
    }
    *ret = (struct tpl_text){out, k};
    return true;
}

static bool lex_string(struct tpl_parser *p, struct tpl_tok *ret) {
    char quote = p->p[p->at];
    size_t i = p->at + 1;
    while (i < p->n && p->p[i] != quote)
        i += p->p[i] == '\\' ? 2 : 1;
    if (i >= p->n) {
        slv_tpl_syntax(p, "unexpected char '%c': a string does not end", quote);
        return false;
    }
    ret->type = T_STRING;
    struct tpl_text s = {p->p + p->at + 1, i - p->at - 1};
    move(p, i + 1);
    return unescape(p, s, &ret->s);
}

static bool lex_operator(struct tpl_parser *p, struct tpl_tok *ret) {
    static const struct {
        char text[3];
        enum tpl_token type;
    } rows[] = {
        {"**", T_POW},     {"//", T_FLOORDIV}, {"==", T_EQ},    {"!=", T_NE},
        {">=", T_GE},      {"<=", T_LE},       {"+", T_ADD},    {"-", T_SUB},
        {"/", T_DIV},      {"*", T_MUL},       {"%", T_MOD},    {"~", T_TILDE},
        {"[", T_LBRACKET}, {"]", T_RBRACKET},  {"(", T_LPAREN}, {")", T_RPAREN},
        {"{", T_LBRACE},   {"}", T_RBRACE},    {">", T_GT},     {"<", T_LT},
        {"=", T_ASSIGN},   {".", T_DOT},       {":", T_COLON},  {"|", T_PIPE},
        {",", T_COMMA},    {";", T_SEMICOLON},
    };
    char c = p->p[p->at];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!starts(p, p->at, rows[i].text)) continue;
        if (c == '(' || c == '[' || c == '{') {
            if (p->brackets_n == TPL_NEST_MAX) return slv_tpl_deeper(p);
            p->brackets[p->brackets_n++] = c == '(' ? ')' : c == '[' ? ']' : '}';
        } else if (c == ')' || c == ']' || c == '}') {
            if (p->brackets_n == 0 || p->brackets[--p->brackets_n] != c) {
                slv_tpl_syntax(p, "unexpected '%c'", c);
                return false;
            }
        }
        ret->type = rows[i].type;
        move(p, p->at + strlen(rows[i].text));
        return true;
    }
    slv_tpl_syntax(p, "unexpected char at byte %zu", p->at);
    return false;
}

static size_t name_end(const struct tpl_parser *p) {
    size_t at = p->at;
    while (at < p->n) {
        uint32_t cp;
        size_t used = slv_utf8_decode(p->p + at, p->n - at, &cp);
        if (!slv_tpl_word_char(cp)) break;
        at += used;
    }
    return at;
}

static bool lex_tag(struct tpl_parser *p, struct tpl_tok *ret) {
    const char *end = p->state == LEX_BLOCK ? "%}" : "}}";
    bool block = p->state == LEX_BLOCK;
    for (;;) {
        *ret = (struct tpl_tok){.line = p->line};
        bool sign = p->at < p->n && (p->p[p->at] == '-' || (block && p->p[p->at] == '+'));
        if (p->brackets_n == 0 && p->at < p->n && starts(p, p->at + sign, end)) {
            ret->type = block ? T_BLOCK_END : T_VAR_END;
            p->state = LEX_ROOT;
            move(p, tag_end(p, p->at, block));
            return true;
        }
        size_t space = past_space(p, p->at);
        if (space == p->at) break;
        move(p, space);
    }
    if (p->at == p->n) {
        ret->type = T_EOF;
        return true;
    }
    char c = p->p[p->at];
    if (c >= '0' && c <= '9') return lex_number(p, ret);
    if (c == '"' || c == '\'') return lex_string(p, ret);
    size_t to = name_end(p);
    if (to == p->at) return lex_operator(p, ret);
    ret->type = T_NAME;
    ret->s = (struct tpl_text){p->p + p->at, to - p->at};
    struct slv_value name = {.kind = TPL_STR, .s = ret->s};
    if (!slv_tpl_all(&name, IS_IDENTIFIER)) {
        slv_tpl_syntax(p, "Invalid character in identifier");
        return false;
    }
    move(p, to);
    return true;
}

bool slv_tpl_lex(struct tpl_parser *p, struct tpl_tok *ret) {
    return p->state == LEX_ROOT ? lex_root(p, ret) : lex_tag(p, ret);
}
