/* tpl_globals.c: the functions a template finds without being given them: Jinja's range, dict,
 * namespace, cycler and joiner, and transformers' raise_exception and strftime_now. */
#include "base/utf8.h"
#include "format/template_impl.h"

#include <stdio.h>
#include <string.h>

#define TPL_MESSAGE_MAX 1000 /* more than struct slv_err holds */
#define NS_PER_S UINT64_C(1000000000)

static bool int_arg(struct tpl_run *r, const struct slv_value *v, int64_t *ret) {
    if (slv_tpl_as_int(v, ret)) return true;
    if (slv_tpl_defined(r, v)) slv_tpl_fail(r, "an int is required, not %s", slv_tpl_type(v));
    return false;
}

static struct slv_value *g_range(struct tpl_run *r, struct slv_value *self,
                                 const struct tpl_args *a) {
    int64_t from = 0, to, step = 1;
    uint64_t n = 0;
    (void)self;
    if (!int_arg(r, a->v[a->v[1] ? 1 : 0], &to)) return NULL;
    if (a->v[1] && !int_arg(r, a->v[0], &from)) return NULL;
    if (a->v[2] && !int_arg(r, a->v[2], &step)) return NULL;
    if (step == 0) return slv_tpl_fail(r, "range() arg 3 must not be zero");
    if (step > 0 && from < to) n = ((uint64_t)to - (uint64_t)from - 1) / (uint64_t)step + 1;
    if (step < 0 && from > to)
        n = ((uint64_t)from - (uint64_t)to - 1) / (0 - (uint64_t)step) + 1;
    if (n > TPL_RANGE_MAX)
        return slv_tpl_fail(r, "Range too big. The sandbox blocks ranges larger than %d",
                            TPL_RANGE_MAX);
    struct slv_value *v = slv_tpl_new(&r->mem, TPL_RANGE);
    struct tpl_range *g = v ? slv_tpl_alloc(&r->mem, sizeof *g) : NULL;
    if (!g) return NULL;
    *g = (struct tpl_range){from, step, (size_t)n};
    v->range = g;
    return v;
}

/* Adds keyword arguments, and before them a mapping or pairs given as the one other argument. */
static bool fill_dict(struct tpl_run *r, struct tpl_dict *d, const struct tpl_args *a) {
    struct slv_value *pair;
    int got = 0;
    if (a->n > 1) {
        slv_tpl_fail(r, "expected at most 1 argument, got %zu", a->n);
        return false;
    }
    if (a->n && a->v[0]->kind == TPL_DICT) {
        const struct tpl_dict *from = a->v[0]->dict;
        if (!slv_tpl_pay(r, from->n)) return false;
        for (size_t i = 0; i < from->n; i++)
            if (!slv_tpl_put(r, &r->mem, d, from->e[i].key, from->e[i].value)) return false;
    } else if (a->n) {
        struct tpl_iter *it = slv_tpl_iter(r, a->v[0]);
        while (it && (got = slv_tpl_next(r, it, &pair)) == 1) {
            struct slv_value *two = slv_tpl_collect(r, pair, TPL_LIST);
            if (two && two->list->n != 2) slv_tpl_fail(r, "a pair is required");
            if (!two || two->list->n != 2 ||
                !slv_tpl_put(r, &r->mem, d, two->list->v[0], two->list->v[1]))
                return false;
        }
        if (!it || got < 0) return false;
    }
    for (size_t i = 0; i < a->nkw; i++)
        if (!slv_tpl_put(r, &r->mem, d, a->names[i], a->kw[i])) return false;
    return true;
}

static struct slv_value *g_dict(struct tpl_run *r, struct slv_value *self,
                                const struct tpl_args *a) {
    struct slv_value *v = slv_value_dict(&r->mem);
    (void)self;
    return v && fill_dict(r, v->dict, a) ? v : NULL;
}

static struct slv_value *g_namespace(struct tpl_run *r, struct slv_value *self,
                                     const struct tpl_args *a) {
    struct slv_value *v = g_dict(r, self, a);
    if (v) v->kind = TPL_NS;
    return v;
}

static struct slv_value *new_cycle(struct tpl_run *r, enum tpl_kind kind) {
    struct slv_value *v = slv_tpl_new(&r->mem, kind);
    if (v) v->cycle = slv_tpl_alloc(&r->mem, sizeof *v->cycle);
    return v && v->cycle ? v : NULL;
}

static struct slv_value *g_cycler(struct tpl_run *r, struct slv_value *self,
                                  const struct tpl_args *a) {
    struct slv_value *v = new_cycle(r, TPL_CYCLER);
    (void)self;
    if (!v) return NULL;
    if (!a->n || a->nkw) return slv_tpl_fail(r, "at least one item has to be provided");
    v->cycle->items = (struct tpl_list){a->v, a->n, a->n};
    return v;
}

static struct slv_value *g_joiner(struct tpl_run *r, struct slv_value *self,
                                  const struct tpl_args *a) {
    struct slv_value *v = new_cycle(r, TPL_JOINER);
    (void)self;
    if (!v) return NULL;
    v->cycle->sep = a->v[0] ? a->v[0] : slv_tpl_cstr(&r->mem, ", ");
    return v->cycle->sep ? v : NULL;
}

/* The template's own refusal: its words are the message. */
static struct slv_value *g_raise_exception(struct tpl_run *r, struct slv_value *self,
                                           const struct tpl_args *a) {
    struct slv_value *s = slv_tpl_str(r, a->v[0]);
    (void)self;
    if (!s || r->rc) return NULL;
    int n = s->s.n < TPL_MESSAGE_MAX ? (int)s->s.n : TPL_MESSAGE_MAX;
    r->rc = slv_err_set(r->err, SLV_E_USAGE, "%.*s", n, s->s.p);
    return NULL;
}

/* --- time ------------------------------------------------------------------------------------- */

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

/* ISO 8601: the week that holds the year's first Thursday is its first. */
static int iso_week(const struct calendar *c, int64_t *year) {
    int monday = (c->weekday + 6) % 7, week = (c->yearday - 1 - monday + 10) / 7;
    int64_t y = c->year;
    for (int i = 0; i < 2; i++) {
        bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
        /* Weekday of January 1st of that year, Monday 0; a long year begins on Thursday, or on
         * Wednesday if it is a leap year. */
        int64_t p = y - 1;
        int first = (int)((p * 365 + p / 4 - p / 100 + p / 400) % 7);
        int weeks = first == 3 || (leap && first == 2) ? 53 : 52;
        if (week == 0) {
            y--;
            week = -1;
            continue;
        }
        if (week < 0) {
            week = weeks;
        } else if (week > weeks) {
            week = 1;
            y++;
        }
        break;
    }
    *year = y;
    return week;
}

static const char *const day_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
static const char *const month_names[] = {"January", "February", "March",     "April",
                                          "May",     "June",     "July",      "August",
                                          "September", "October", "November", "December"};

/* One directive in the C locale's way; the length, or 0 if it is not known. */
static size_t directive(const struct calendar *c, char which, bool bare, char *out, size_t size) {
    int hour12 = c->hour % 12 ? c->hour % 12 : 12, number = -1, width = 2;
    const char *day = day_names[c->weekday], *month = month_names[c->month - 1];
    int64_t iso_year;
    long long year = (long long)c->year;
    int week = iso_week(c, &iso_year);
    switch (which) {
    case 'a': return (size_t)snprintf(out, size, "%.3s", day);
    case 'A': return (size_t)snprintf(out, size, "%s", day);
    case 'b':
    case 'h': return (size_t)snprintf(out, size, "%.3s", month);
    case 'B': return (size_t)snprintf(out, size, "%s", month);
    case 'p': return (size_t)snprintf(out, size, "%s", c->hour < 12 ? "AM" : "PM");
    case 'Y': return (size_t)snprintf(out, size, "%lld", year);
    case 'G': return (size_t)snprintf(out, size, "%lld", (long long)iso_year);
    case 'f': return (size_t)snprintf(out, size, "%06u", (unsigned)c->micro);
    case 'c':
        return (size_t)snprintf(out, size, "%.3s %.3s %2d %02d:%02d:%02d %lld", day, month, c->day,
                                c->hour, c->minute, c->second, year);
    case 'x':
    case 'D': return (size_t)snprintf(out, size, "%02d/%02d/%02lld", c->month, c->day, year % 100);
    case 'X':
    case 'T':
        return (size_t)snprintf(out, size, "%02d:%02d:%02d", c->hour, c->minute, c->second);
    case 'F': return (size_t)snprintf(out, size, "%lld-%02d-%02d", year, c->month, c->day);
    case 'R': return (size_t)snprintf(out, size, "%02d:%02d", c->hour, c->minute);
    case 'r':
        return (size_t)snprintf(out, size, "%02d:%02d:%02d %s", hour12, c->minute, c->second,
                                c->hour < 12 ? "AM" : "PM");
    case 'e': return (size_t)snprintf(out, size, "%*d", bare ? 1 : 2, c->day);
    case 'n': return (size_t)snprintf(out, size, "\n");
    case 't': return (size_t)snprintf(out, size, "\t");
    case '%': return (size_t)snprintf(out, size, "%%");
    case 'd': number = c->day; break;
    case 'm': number = c->month; break;
    case 'y': number = (int)(c->year % 100); break;
    case 'C': number = (int)(c->year / 100); break;
    case 'H': number = c->hour; break;
    case 'I': number = hour12; break;
    case 'M': number = c->minute; break;
    case 'S': number = c->second; break;
    case 'j': number = c->yearday, width = 3; break;
    case 'w': number = c->weekday, width = 1; break;
    case 'u': number = c->weekday ? c->weekday : 7, width = 1; break;
    case 'U': number = (c->yearday + 6 - c->weekday) / 7; break;
    case 'W': number = (c->yearday + 6 - (c->weekday + 6) % 7) / 7; break;
    case 'V': number = week; break;
    default: return 0;
    }
    return (size_t)snprintf(out, size, "%0*d", bare ? 1 : width, number);
}

/* strftime_now(format): the clock's time in UTC. "%-d" drops leading zeros as in glibc; %z and %Z
 * are empty as for a Python time without a zone; an unknown directive stays as it stands. */
static struct slv_value *g_strftime_now(struct tpl_run *r, struct slv_value *self,
                                        const struct tpl_args *a) {
    char text[80];
    (void)self;
    if (a->v[0]->kind != TPL_STR) return slv_tpl_fail(r, "strftime_now wants a str");
    if (!r->mem.clock) return slv_tpl_fail(r, "strftime_now: there is no clock");
    const struct tpl_text s = a->v[0]->s;
    const struct calendar c = calendar_of(slv_clock_wall(r->mem.clock));
    size_t mark = slv_tpl_begin(r);
    for (size_t i = 0; i < s.n; i++) {
        bool bare = s.p[i] == '%' && i + 2 < s.n && s.p[i + 1] == '-';
        size_t at = i + 1 + bare, n = 0;
        bool zone = s.p[i] == '%' && at < s.n && (s.p[at] == 'z' || s.p[at] == 'Z');
        if (s.p[i] == '%' && at < s.n && !zone) n = directive(&c, s.p[at], bare, text, sizeof text);
        if (!slv_tpl_pay(r, 1)) return NULL;
        if (n || zone) i = at;
        else text[0] = s.p[i], n = 1;
        if (!slv_tpl_add(r, text, zone ? 0 : n)) return NULL;
    }
    return slv_tpl_end(r, mark);
}

static const struct tpl_def globals[] = {
    {"cycler", g_cycler, 0, 0, "*", false},
    {"dict", g_dict, 0, 0, "*", false},
    {"joiner", g_joiner, 0, 1, "sep", false},
    {"namespace", g_namespace, 0, 0, "*", false},
    {"raise_exception", g_raise_exception, 1, 1, "message", false},
    {"range", g_range, 1, 3, "start,stop,step", true},
    {"strftime_now", g_strftime_now, 1, 1, "format", false},
    {NULL, NULL, 0, 0, "", false},
};

const struct tpl_def *slv_tpl_global(const char *name, size_t n) {
    return slv_tpl_find(globals, name, n);
}
