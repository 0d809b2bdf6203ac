/* over.c: see over.h. */
#include "cli/over.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/engine.h"
#include "cli/out.h"
#include "cli/sig.h"

#include <string.h>

#define LEVELS_MAX 8
#define NOTES_MOST 320u /* tokens of the notes on one part */
#define NOTES_LEAST 32u

#define WHOLE "%.*s\n\nQuestion about the text above: %s"
#define PART                                                                                       \
    "%.*s\n\nThe text above is part of a longer one. Note briefly what it says that helps to "     \
    "answer this question, and nothing else: %s"
#define NOTES                                                                                      \
    "Notes on the parts of a text, in their order:\n\n%.*s\n\nAnswer this question from the "      \
    "notes: %s"

enum form { FORM_WHOLE, FORM_PART, FORM_NOTES };

static void write_prompt(enum form form, const char *p, size_t n, const char *question,
                         struct slv_buf *out) {
    switch (form) {
    case FORM_WHOLE:
        slv_buf_addf(out, WHOLE, (int)n, p, question);
        break;
    case FORM_PART:
        slv_buf_addf(out, PART, (int)n, p, question);
        break;
    case FORM_NOTES:
        slv_buf_addf(out, NOTES, (int)n, p, question);
        break;
    }
}

/* --- tokens ----------------------------------------------------------------------------------- */

static int make_tokens(const struct slv_over *o, const char *prompt, struct slv_tokens *ret,
                       struct slv_err *err) {
    struct slv_message m[2];
    struct slv_text text = {0};
    size_t n = 0;
    if (o->system) m[n++] = (struct slv_message){"system", o->system};
    m[n++] = (struct slv_message){"user", prompt};
    int rc = slv_model_chat(o->m, m, n, &text, err);
    if (rc) return rc;
    rc = slv_model_tokenize(o->m, text.p, text.n, true, ret);
    slv_text_free(&text);
    return rc ? slv_err_set(err, rc, "prompt: %s", slv_strerror(rc)) : 0;
}

/* Whether p[0..n) in that form leaves `answer` positions of the context. */
static int fits(const struct slv_over *o, enum form form, const char *p, size_t n,
                const char *question, uint32_t answer, bool *ret, struct slv_err *err) {
    struct slv_buf b;
    struct slv_tokens t = {0};
    slv_buf_init(&b, SLV_CLI_TEXT_MAX);
    write_prompt(form, p, n, question, &b);
    *ret = false;
    int rc = b.status == SLV_E_LIMIT ? 0 : b.status;
    if (!b.status) {
        rc = make_tokens(o, b.data, &t, err);
        *ret = !rc && t.n + answer <= slv_session_context(o->s);
    }
    slv_tokens_free(&t);
    slv_buf_fini(&b);
    return rc;
}

/* --- parts ------------------------------------------------------------------------------------ */

/* The last place in p[least..n) behind `mark`; 0: there is none. */
static size_t last_behind(const char *p, size_t least, size_t n, const char *mark) {
    const size_t k = strlen(mark);
    for (size_t at = n; at >= least + k && at >= k; at--)
        if (!memcmp(p + at - k, mark, k)) return at;
    return 0;
}

/* Where a part of at most n bytes ends, within its second half. */
static size_t nice_end(const char *p, size_t n) {
    static const char *const marks[] = {"\n\n", "\n", ". ", "? ", "! ", " "};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t at = last_behind(p, n / 2, n, marks[i]);
        if (at) return at;
    }
    while (n > 1 && ((unsigned char)p[n] & 0xc0) == 0x80)
        n--; /* not within a character */
    return n;
}

/* Bytes of the next part of p[0..n). */
static int next_part(const struct slv_over *o, const char *p, size_t n, const char *question,
                     uint32_t notes, size_t *ret, struct slv_err *err) {
    bool ok = false;
    size_t low = 0, high = n, bytes = (size_t)slv_session_context(o->s) * 16;
    if (high > bytes) high = bytes; /* no text has so many bytes a token for long */
    int rc = fits(o, FORM_PART, p, high, question, notes, &ok, err);
    if (ok) low = high;
    while (!rc && high - low > high / 64 + 1) {
        size_t mid = low + (high - low) / 2;
        rc = fits(o, FORM_PART, p, mid, question, notes, &ok, err);
        if (ok) low = mid;
        else high = mid;
    }
    if (rc) return rc;
    if (!low)
        return slv_err_set(err, SLV_E_LIMIT,
                           "--over: a context of %u has no room beside the prompt",
                           slv_session_context(o->s));
    *ret = low == n ? n : nice_end(p, low);
    return 0;
}

/* --- notes ------------------------------------------------------------------------------------ */

static bool on_piece(const struct slv_piece *p, void *ctx) {
    return !slv_buf_add(ctx, p->text, p->n) && !slv_sig_seen();
}

static int note(struct slv_over *o, const char *p, size_t n, const char *question, uint32_t most,
                struct slv_buf *out, struct slv_err *err) {
    struct slv_buf prompt;
    struct slv_tokens t = {0};
    struct slv_generate_opts g;
    slv_buf_init(&prompt, SLV_CLI_TEXT_MAX);
    write_prompt(FORM_PART, p, n, question, &prompt);
    slv_generate_default(&g);
    g.sampling = *o->sampling;
    g.max_tokens = most;
    int rc = prompt.status;
    if (rc) slv_err_set(err, rc, "prompt: %s", slv_strerror(rc));
    if (!rc) rc = make_tokens(o, prompt.data, &t, err);
    if (!rc) rc = slv_session_rewind(o->s, 0);
    if (!rc) rc = slv_session_feed(o->s, t.v, t.n, err);
    if (!rc) rc = slv_session_generate(o->s, &g, on_piece, out, NULL, err);
    if (out->status) rc = slv_err_set(err, out->status, "notes: %s", slv_strerror(out->status));
    slv_tokens_free(&t);
    slv_buf_fini(&prompt);
    return rc;
}

/* Notes on all parts of the text, in its place. */
static int make_notes(struct slv_over *o, const struct slv_buf *text, const char *question,
                      uint32_t most, struct slv_buf *ret, struct slv_err *err) {
    struct slv_progress bar;
    size_t at = 0;
    int rc = 0;
    slv_progress_init(&bar, "reading", o->cli->quiet);
    while (!rc && at < text->len) {
        size_t n = 0;
        rc = next_part(o, text->data + at, text->len - at, question, most, &n, err);
        if (rc) break;
        slv_buf_addf(ret, "%s%llu. ", ret->len ? "\n\n" : "", (unsigned long long)++o->parts);
        rc = note(o, text->data + at, n, question, most, ret, err);
        at += n;
        slv_progress_update(&bar, at, text->len);
    }
    slv_progress_end(&bar);
    o->levels++;
    return rc;
}

/* --- all of it -------------------------------------------------------------------------------- */

static int read_files(struct slv_over *o, struct slv_buf *text, struct slv_err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < o->n_files; i++) {
        if (i) slv_buf_adds(text, "\n\n");
        rc = slv_cli_file_text(o->files[i], text, err);
    }
    if (!rc && text->status)
        rc = slv_err_set(err, text->status, "--over: %s", slv_strerror(text->status));
    o->bytes = text->len;
    return rc || text->len ? rc : slv_err_set(err, SLV_E_USAGE, "--over: there is no text");
}

/* Tokens of the notes on a part: not so many that notes are no shorter than what they are on. */
static uint32_t notes_tokens(const struct slv_over *o) {
    uint32_t n = slv_session_context(o->s) / 8;
    return n > NOTES_MOST ? NOTES_MOST : n < NOTES_LEAST ? NOTES_LEAST : n;
}

int slv_over_prompt(struct slv_over *o, const char *question, struct slv_buf *ret,
                    struct slv_err *err) {
    struct slv_buf text, notes;
    enum form form = FORM_WHOLE;
    const uint32_t context = slv_session_context(o->s), quarter = context / 4;
    const uint32_t answer = o->answer && o->answer < quarter ? o->answer : quarter;
    bool ok = false;
    slv_buf_init(&text, SLV_OVER_BYTES_MAX);
    slv_buf_init(&notes, SLV_OVER_BYTES_MAX);
    int rc = read_files(o, &text, err);
    if (!rc) rc = fits(o, form, text.data, text.len, question, answer, &ok, err);
    while (!rc && !ok) {
        size_t before = text.len;
        slv_buf_clear(&notes);
        rc = make_notes(o, &text, question, notes_tokens(o), &notes, err);
        const struct slv_buf swap = text;
        text = notes;
        notes = swap;
        form = FORM_NOTES;
        if (!rc && (o->levels == LEVELS_MAX || text.len >= before))
            rc = slv_err_set(err, SLV_E_LIMIT, "--over: the notes do not get shorter: --ctx");
        if (!rc) rc = fits(o, form, text.data, text.len, question, answer, &ok, err);
    }
    if (!rc) write_prompt(form, text.data, text.len, question, ret);
    if (!rc) rc = slv_session_rewind(o->s, 0);
    slv_buf_fini(&text);
    slv_buf_fini(&notes);
    return rc;
}
