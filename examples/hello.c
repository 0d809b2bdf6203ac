/* hello.c: answer one prompt with libselvage: ./hello MODEL.gguf "Your question"
 * cc hello.c $(pkg-config --cflags --libs selvage) -o hello */
#include <selvage.h>
#include <stdio.h>

static bool print(const struct slv_piece *p, void *ctx) {
    (void)ctx;
    return fwrite(p->text, 1, p->n, stdout) == p->n && !fflush(stdout);
}

int main(int argc, char **argv) {
    struct slv_err err = {0};
    struct slv_model *model = NULL;
    struct slv_session *session = NULL;
    struct slv_text text = {0};
    struct slv_tokens tokens = {0};
    struct slv_generate_opts opts;
    if (argc != 3) return fprintf(stderr, "usage: hello MODEL.gguf PROMPT\n"), 2;
    struct slv_message message = {"user", argv[2]};
    slv_generate_default(&opts);
    opts.max_tokens = 200;
    int rc = slv_model_open(argv[1], NULL, &model, &err);
    if (!rc) rc = slv_session_open(model, NULL, &session, &err);
    if (!rc) rc = slv_model_chat(model, &message, 1, &text, &err);
    if (!rc) rc = slv_model_tokenize(model, text.p, text.n, true, &tokens);
    if (!rc) rc = slv_session_feed(session, tokens.v, tokens.n, &err);
    if (!rc) rc = slv_session_generate(session, &opts, print, NULL, NULL, &err);
    puts("");
    if (rc) fprintf(stderr, "hello: %s\n", err.code ? err.msg : slv_strerror(rc));
    slv_tokens_free(&tokens);
    slv_text_free(&text);
    slv_session_close(session);
    slv_model_close(model);
    return rc ? 1 : 0;
}
