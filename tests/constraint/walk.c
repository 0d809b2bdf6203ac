/* walk.c: random values of schemas, by what a matcher takes. walk SEED N < SCHEMAS.jsonl
 *
 * For each line, a schema, one line of JSON: a list of at most N values that were written byte
 * by byte, each byte drawn from those that are taken (those that close are preferred after a
 * while); null where the schema is refused or has no value. A value that finds no end in MOST
 * bytes (a pattern that chance does not meet) is left out. Fails where no byte goes on with a
 * text that was taken. */
#include "engine/constraint/matcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

static uint32_t draw(uint32_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

/* How glad c is: after `late` bytes what closes is preferred. */
static unsigned weight(unsigned char c, size_t at, size_t late) {
    const bool closes = c == '"' || c == '}' || c == ']';
    if (at > late) return closes ? 1000 : c == ',' || c == '[' || c == '{' ? 1 : 10;
    if (closes) return 40;
    return c >= 0x80 ? 3 : c == '\\' ? 6 : c >= '0' && c <= '9' ? 20 : 10;
}

/* One byte that the matcher takes; -1: none. */
static int next(struct slv_matcher *m, size_t at, size_t late) {
    uint32_t sum = 0;
    int best = -1;
    for (int c = 1; c < 256; c++) {
        const struct slv_mark mark = slv_matcher_mark(m);
        if (!slv_matcher_try(m, (unsigned char)c)) continue;
        slv_matcher_rewind(m, &mark);
        const unsigned w = weight((unsigned char)c, at, late);
        sum += w;
        if (draw(sum) < w) best = c;
    }
    return best;
}

#define LATE 300
#define MOST 5000

enum got { WHOLE, UNFINISHED, DEAD };

static enum got value(struct slv_matcher *m, char *out, size_t *ret_n) {
    size_t n = 0;
    slv_matcher_reset(m);
    while (n < MOST) {
        const bool done = slv_matcher_done(m);
        if (done && (n > LATE || draw(3) == 0)) break;
        const int c = next(m, n, LATE);
        if (c < 0 && done) break;
        if (c < 0) {
            fprintf(stderr, "dead end (%d) after: %.*s\n", slv_matcher_status(m), (int)n, out);
            return DEAD;
        }
        out[n] = (char)c;
        if (slv_matcher_feed(m, out + n, 1) != 1) return DEAD;
        n++;
    }
    *ret_n = n;
    return slv_matcher_done(m) ? WHOLE : UNFINISHED;
}

static int values(const char *text, size_t n, int count) {
    static char out[MOST + 1];
    struct slv_err err;
    struct slv_schema *s;
    struct slv_matcher *m;
    const struct slv_schema_options o = SLV_SCHEMA_WRITTEN;
    if (slv_schema_open(text, n, &o, &s, NULL, &err)) return puts("null") < 0;
    if (!slv_schema_has_values(s)) {
        slv_schema_close(s);
        return puts("null") < 0;
    }
    if (slv_matcher_open(s, 0, &m)) return 1;
    enum got got = WHOLE;
    putchar('[');
    for (int i = 0, printed = 0; i < count && got != DEAD; i++) {
        size_t k = 0;
        got = value(m, out, &k);
        if (got == WHOLE) printf("%s%.*s", printed++ ? "," : "", (int)k, out);
    }
    puts("]");
    slv_matcher_close(m);
    slv_schema_close(s);
    if (got == DEAD) fprintf(stderr, "schema: %.*s\n", (int)n, text);
    return got == DEAD;
}

int main(int argc, char **argv) {
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int failed = 0;
    if (argc != 3) return 2;
    state = strtoull(argv[1], NULL, 10);
    while ((n = getline(&line, &cap, stdin)) > 0)
        failed |= values(line, (size_t)n - (line[n - 1] == '\n'), atoi(argv[2]));
    free(line);
    return failed;
}
