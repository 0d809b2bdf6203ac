/* grammar_walk.c: texts of a grammar, by what a matcher takes.
 *
 * grammar_walk FILE write SEED N: N texts, a line of hexadecimal digits each, written byte by byte,
 * each byte drawn from those that are taken (those that close are preferred after a while); one
 * that finds no end in MOST bytes is left out. Fails where no byte goes on with what was taken.
 * grammar_walk FILE read: for each such line a line, 1 where it is a text of the grammar, else 0.
 * Tokens cannot be named. 3: the grammar is refused, and why. */
#include "engine/constraint/grammar.h"
#include "engine/constraint/matcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATE 200
#define MOST 3000

static uint64_t state;

static uint32_t draw(uint32_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

static unsigned weight(unsigned char c, size_t at) {
    const bool closes = c == '"' || c == '}' || c == ']' || c == ')';
    if (at > LATE) return closes ? 1000 : c == ',' || c == '[' || c == '{' || c == '(' ? 1 : 10;
    return closes ? 40 : c >= 0x80 ? 3 : c < 0x20 ? 4 : 10;
}

static int next(struct slv_matcher *m, size_t at) {
    uint32_t sum = 0;
    int best = -1;
    for (int c = 0; c < 256; c++) {
        const struct slv_mark mark = slv_matcher_mark(m);
        if (!slv_matcher_try(m, (unsigned char)c)) continue;
        slv_matcher_rewind(m, &mark);
        const unsigned w = weight((unsigned char)c, at);
        sum += w;
        if (draw(sum) < w) best = c;
    }
    return best;
}

/* 1: a text was written, or none that ends soon; 0: there was no way on. */
static int write_one(struct slv_matcher *m) {
    static unsigned char out[MOST];
    size_t n = 0;
    slv_matcher_reset(m);
    while (n < MOST) {
        const bool done = slv_matcher_done(m);
        if (done && (n > LATE || draw(4) == 0)) break;
        const int c = next(m, n);
        if (c < 0 && done) break;
        if (c < 0) return 0;
        out[n] = (unsigned char)c;
        if (slv_matcher_feed(m, (const char *)out + n, 1) != 1) return 0;
        n++;
    }
    if (!slv_matcher_done(m)) return 1;
    for (size_t i = 0; i < n; i++)
        printf("%02x", out[i]);
    puts("");
    return 1;
}

static bool is_text(struct slv_matcher *m, const char *hex, size_t n) {
    slv_matcher_reset(m);
    for (size_t i = 0; i + 1 < n; i += 2) {
        const char pair[3] = {hex[i], hex[i + 1], 0};
        const char c = (char)strtoul(pair, NULL, 16);
        if (slv_matcher_feed(m, &c, 1) != 1) return false;
    }
    return slv_matcher_done(m);
}

static int go(struct slv_matcher *m, int argc, char **argv) {
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int ok = 1;
    if (argc == 5) {
        state = strtoull(argv[3], NULL, 10);
        for (int i = atoi(argv[4]); i > 0 && ok; i--)
            ok = write_one(m);
        return !ok;
    }
    while ((n = getline(&line, &cap, stdin)) > 0)
        puts(is_text(m, line, (size_t)n - (line[n - 1] == '\n')) ? "1" : "0");
    free(line);
    return 0;
}

int main(int argc, char **argv) {
    static char text[1 << 20];
    struct slv_grammar *g;
    struct slv_matcher *m;
    struct slv_err err;
    FILE *in = argc == 3 || argc == 5 ? fopen(argv[1], "rb") : NULL;
    if (!in) return 2;
    const size_t n = fread(text, 1, sizeof text, in);
    fclose(in);
    if (slv_grammar_read(NULL, text, n, &g, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return 3;
    }
    int rc = slv_matcher_open_grammar(g, &m);
    if (!rc) {
        rc = go(m, argc, argv);
        slv_matcher_close(m);
    }
    slv_grammar_free(g);
    return rc ? 1 : 0;
}
