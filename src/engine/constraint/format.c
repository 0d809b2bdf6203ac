/* format.c: see format.h.
 *
 * Sources: RFC 3339 (date-time, date, time, duration), RFC 9562 (uuid), RFC 2673 3.2 (ipv4), RFC
 * 4291 2.2 (ipv6), RFC 5321 4.1.2 (email), RFC 1123 2.1 (hostname), RFC 3986 appendix A (uri,
 * uri-reference), RFC 6901 (json-pointer). */
#include "engine/constraint/format.h"
#include "engine/constraint/regex.h"

#include <string.h>

#define YEAR_LEAP "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
#define DATE                                                                                       \
    "(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|"    \
    "30)|02-(?:0[1-9]|1\\d|2[0-8]))|" YEAR_LEAP "-02-29)"
#define HMS "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?"
#define ZONE "(?:[Zz]|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"

#define BYTE "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4 BYTE "(?:\\." BYTE "){3}"
#define H16 "[0-9A-Fa-f]{1,4}"
#define LS32 "(?:" H16 ":" H16 "|" IPV4 ")"
#define IPV6                                                                                       \
    "(?:(?:" H16 ":){6}" LS32 "|::(?:" H16 ":){5}" LS32 "|(?:" H16 ")?::(?:" H16 ":){4}" LS32      \
    "|(?:(?:" H16 ":){0,1}" H16 ")?::(?:" H16 ":){3}" LS32 "|(?:(?:" H16 ":){0,2}" H16             \
    ")?::(?:" H16 ":){2}" LS32 "|(?:(?:" H16 ":){0,3}" H16 ")?::" H16 ":" LS32 "|(?:(?:" H16       \
    ":){0,4}" H16 ")?::" LS32 "|(?:(?:" H16 ":){0,5}" H16 ")?::" H16 "|(?:(?:" H16 ":){0,6}" H16   \
    ")?::)"

#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define HOST LABEL "(?:\\." LABEL "){0,9}"
#define ATEXT "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"

#define HEX "[0-9A-Fa-f]"
#define UNRESERVED "A-Za-z0-9._~\\-"
#define SUBDELIMS "!$&'()*+,;="
#define PCT "%" HEX HEX
#define PCHAR "(?:[" UNRESERVED SUBDELIMS ":@]|" PCT ")"
#define AUTHORITY                                                                                  \
    "(?:(?:[" UNRESERVED SUBDELIMS ":]|" PCT ")*@)?(?:\\[" IPV6 "\\]|(?:[" UNRESERVED SUBDELIMS    \
    "]|" PCT ")*)(?::\\d*)?"
#define TAIL "(?:\\?(?:" PCHAR "|[/?])*)?(?:#(?:" PCHAR "|[/?])*)?"
#define HIER                                                                                       \
    "(?://" AUTHORITY "(?:/" PCHAR "*)*|/(?:" PCHAR "+(?:/" PCHAR "*)*)?|" PCHAR "+(?:/" PCHAR     \
    "*)*|)"
#define URI "[A-Za-z][A-Za-z0-9+.-]*:" HIER TAIL
#define NOCOLON "(?:[" UNRESERVED SUBDELIMS "@]|" PCT ")"
#define RELATIVE                                                                                   \
    "(?://" AUTHORITY "(?:/" PCHAR "*)*|/(?:" PCHAR "+(?:/" PCHAR "*)*)?|" NOCOLON "+(?:/" PCHAR   \
    "*)*|)" TAIL
#define POINTER "(?:/(?:[^~/]|~[01])*)*"
#define DURATION                                                                                   \
    "P(?:\\d{1,9}W|(?:\\d{1,9}Y(?:\\d{1,9}M(?:\\d{1,9}D)?)?|\\d{1,9}M(?:\\d{1,9}D)?|\\d{1,9}D)"    \
    "(?:T" CLOCK ")?|T" CLOCK ")"
#define CLOCK "(?:\\d{1,9}H(?:\\d{1,9}M(?:\\d{1,9}S)?)?|\\d{1,9}M(?:\\d{1,9}S)?|\\d{1,9}S)"

static const struct format {
    const char *name, *pattern;
} formats[] = {
    {"date-time", "^" DATE "[Tt]" HMS ZONE "$"},
    {"date", "^" DATE "$"},
    {"time", "^" HMS ZONE "$"},
    {"duration", "^" DURATION "$"},
    {"uuid", "^" HEX "{8}-" HEX "{4}-" HEX "{4}-" HEX "{4}-" HEX "{12}$"},
    {"ipv4", "^" IPV4 "$"},
    {"ipv6", "^" IPV6 "$"},
    {"hostname", "^" HOST "$"},
    {"email", "^" ATEXT "{1,32}(?:\\." ATEXT "{1,15})?@" HOST "$"},
    {"uri", "^" URI "$"},
    {"uri-reference", "^(?:" URI "|" RELATIVE ")$"},
    {"json-pointer", "^" POINTER "$"},
};

bool slv_format_lang(struct slv_langs *p, const char *name, slv_lang *ret) {
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(formats[i].name, name) != 0) continue;
        if (slv_regex_search(p, formats[i].pattern, strlen(formats[i].pattern), SLV_REGEX_ECMA, ret,
                             NULL))
            *ret = SLV_LANG_FAIL;
        return true;
    }
    return false;
}
