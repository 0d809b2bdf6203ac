/* tpl_time.c: a moment as text: the directives of Python's strftime in the C locale, in UTC. */
#include "format/template_impl.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_S UINT64_C(1000000000)

struct calendar {
    int64_t year;
    int month, day, hour, minute, second, weekday, yearday; /* month 1.., weekday 0 = Sunday */
    uint64_t micro;
};

/* Days since 1970-01-01 to a date in the proleptic Gregorian calendar, by eras of 400 years that
 * begin in March (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
static struct calendar calendar_of(uint64_t wall_ns) {
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t seconds = (int64_t)(wall_ns / NS_PER_S), days = seconds / 86400, z = days + 719468;
    int rest = (int)(seconds % 86400);
    int64_t era = z / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    struct calendar c = {.micro = wall_ns % NS_PER_S / 1000};
    c.day = (int)(doy - (153 * mp + 2) / 5 + 1);
    c.month = (int)(mp < 10 ? mp + 3 : mp - 9);
    c.year = yoe + era * 400 + (c.month <= 2);
    c.hour = rest / 3600;
    c.minute = rest / 60 % 60;
    c.second = rest % 60;
    c.weekday = (int)((days + 4) % 7);
    bool leap = (c.year % 4 == 0 && c.year % 100 != 0) || c.year % 400 == 0;
    c.yearday = before[c.month - 1] + c.day + (leap && c.month > 2);
    return c;
}

static int weeks_in(int64_t year) {
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int64_t p = year - 1, first = (p * 365 + p / 4 - p / 100 + p / 400) % 7; /* 0: a Monday */
    return first == 3 || (leap && first == 2) ? 53 : 52;
}

/* ISO 8601: the week that holds the year's first Thursday is its first. */
static int iso_week(const struct calendar *c, int64_t *ret_year) {
    int monday = (c->weekday + 6) % 7, week = (c->yearday - 1 - monday + 10) / 7;
    *ret_year = c->year;
    if (week == 0) return weeks_in(--*ret_year);
    if (week <= weeks_in(c->year)) return week;
    ++*ret_year;
    return 1;
}

/* Directives that stand for others. */
static const char *composite(char which) {
    static const char *const rows[] = {
        "c%a %b %e %H:%M:%S %Y",
        "x%m/%d/%y",
        "D%m/%d/%y",
        "X%H:%M:%S",
        "T%H:%M:%S",
        "F%Y-%m-%d",
        "R%H:%M",
        "r%I:%M:%S %p",
        "n\n",
        "t\t",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i][0] == which) return rows[i] + 1;
    return NULL;
}

/* Names; NULL for a directive that is none. *ret_n is how much of it to show. */
static const char *name_of(const struct calendar *c, char which, size_t *ret_n) {
    static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};
    static const char *const months[] = {"January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December"};
    const char *name = which == 'p'                   ? c->hour < 12 ? "AM" : "PM"
                       : which == 'a' || which == 'A' ? days[c->weekday]
                       : strchr("bhB", which)         ? months[c->month - 1]
                       : which == 'z' || which == 'Z' ? ""
                                                      : NULL;
    if (name) *ret_n = strchr("abh", which) ? 3 : strlen(name);
    return name;
}

/* Numbers, with leading zeros (blanks for %e) unless `bare`; 0: a directive that is none. */
static size_t number_of(const struct calendar *c, char which, bool bare, char out[32]) {
    int64_t iso_year;
    int week = iso_week(c, &iso_year), monday = (c->weekday + 6) % 7;
    const struct {
        char which;
        int width;
        int64_t v;
    } rows[] = {
        {'d', 2, c->day},
        {'e', 2, c->day},
        {'m', 2, c->month},
        {'y', 2, c->year % 100},
        {'C', 2, c->year / 100},
        {'Y', 1, c->year},
        {'G', 1, iso_year},
        {'H', 2, c->hour},
        {'I', 2, c->hour % 12 ? c->hour % 12 : 12},
        {'M', 2, c->minute},
        {'S', 2, c->second},
        {'f', 6, (int64_t)c->micro},
        {'j', 3, c->yearday},
        {'w', 1, c->weekday},
        {'u', 1, monday + 1},
        {'U', 2, (c->yearday + 6 - c->weekday) / 7},
        {'W', 2, (c->yearday + 6 - monday) / 7},
        {'V', 2, week},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].which != which) continue;
        int width = bare ? 1 : rows[i].width;
        if (which == 'e') return (size_t)snprintf(out, 32, "%*lld", width, (long long)rows[i].v);
        return (size_t)snprintf(out, 32, "%0*lld", width, (long long)rows[i].v);
    }
    return 0;
}

static bool add_form(struct tpl_run *r, const struct calendar *c, struct tpl_text s) {
    char text[32];
    for (size_t i = 0; i < s.n; i++) {
        bool sign = s.p[i] == '%', bare = sign && i + 2 < s.n && s.p[i + 1] == '-';
        char which = sign && i + 1 + bare < s.n ? s.p[i + 1 + bare] : 0;
        const char *form = which ? composite(which) : NULL, *name = NULL;
        size_t n = 0;
        if (!slv_tpl_pay(r, 1)) return false;
        if (form) {
            if (!add_form(r, c, (struct tpl_text){form, strlen(form)})) return false;
        } else if (which && (name = name_of(c, which, &n))) {
            if (!slv_tpl_add(r, name, n)) return false;
        } else if (which && (n = number_of(c, which, bare, text))) {
            if (!slv_tpl_add(r, text, n)) return false;
        } else {
            if (!slv_tpl_add(r, s.p + i, 1)) return false;
            i += which == '%' && !bare; /* %% */
            continue;
        }
        i += 1 + (size_t)bare;
    }
    return true;
}

/* "%-d" drops leading zeros, as in glibc; %z and %Z are empty, as for a Python time without a zone;
 * an unknown directive stays as it stands. */
bool slv_tpl_add_time(struct tpl_run *r, struct tpl_text form, uint64_t wall_ns) {
    const struct calendar c = calendar_of(wall_ns);
    return add_form(r, &c, form);
}
