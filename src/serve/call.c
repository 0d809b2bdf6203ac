/* call.c: a call from its request to the end of its reply; refusals. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "serve/serve_int.h"
#include "trust/audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* --- refusals --------------------------------------------------------------------------------- */

static const char *type_of(int status) {
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 429:
        return "rate_limit_error";
    default:
        return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

bool serve_refuse(struct serve_fail *f, int status, const char *param, const char *code,
                  const char *fmt, ...) {
    va_list ap;
    f->status = status;
    f->type = type_of(status);
    f->code = code;
    snprintf(f->param, sizeof f->param, "%s", param ? param : "");
    va_start(ap, fmt);
    slv_err_vset(&f->err, SLV_E_USAGE, fmt, ap);
    va_end(ap);
    return false;
}

bool serve_refuse_stopping(struct serve_fail *f) {
    return serve_refuse(f, 503, NULL, "stopping", "the server is stopping");
}

bool serve_refuse_err(struct serve_fail *f, int status, const char *param,
                      const struct slv_err *err) {
    const char *code = NULL;
    if (!status) {
        switch (err->code) {
        case SLV_E_USAGE:
        case SLV_E_FORMAT:
        case SLV_E_UNSUPPORTED:
            status = 400;
            break;
        case SLV_E_LIMIT:
            status = 413;
            break;
        case SLV_E_NOENT:
            status = 404;
            break;
        case SLV_E_TRUST:
            status = 403;
            break;
        case SLV_E_FIT:
        case SLV_E_NOMEM:
        case SLV_E_BUSY:
            status = 503;
            break;
        default:
            status = 500;
        }
    }
    if (err->code == SLV_E_FIT || err->code == SLV_E_NOMEM) code = "out_of_memory";
    return serve_refuse(f, status, param, code, "%s", err->msg);
}

static void error_json(struct slv_buf *out, enum serve_api api, const struct serve_fail *f) {
    struct slv_json j;
    slv_json_init(&j, out);
    slv_json_object(&j, NULL);
    if (serve_is_anthropic(api)) slv_json_str(&j, "type", "error");
    slv_json_object(&j, "error");
    slv_json_str(&j, "message", f->err.msg);
    slv_json_str(&j, "type", f->type);
    slv_json_str_or_null(&j, "param", *f->param ? f->param : NULL);
    slv_json_str_or_null(&j, "code", f->code);
    slv_json_object_end(&j);
    slv_json_object_end(&j);
}

/* What a refusal's head says besides. */
static void refusal_fields(const struct serve_fail *f, struct slv_buf *out) {
    const char *before = "Allow: ";
    if (f->retry_s) slv_buf_addf(out, "Retry-After: %u\r\n", (unsigned)f->retry_s);
    if (f->status == 401) slv_buf_adds(out, "WWW-Authenticate: Bearer\r\n");
    for (int m = 0; m < SLV_METHOD_COUNT; m++) {
        if (!(f->methods & 1u << m)) continue;
        slv_buf_addf(out, "%s%s", before, slv_method_name((enum slv_method)m));
        before = ", ";
    }
    if (f->methods) slv_buf_adds(out, "\r\n");
    slv_buf_addc(out, '\0');
}

void serve_reply_fail(struct slv_serve *s, struct slv_exchange *x, enum serve_api api,
                      const struct serve_fail *f) {
    struct slv_buf body, fields;
    char status[8];
    slv_buf_init(&fields, 512);
    refusal_fields(f, &fields);
    const struct slv_reply r = {.status = f->status,
                                .type = "application/json",
                                .fields = fields.status ? "" : fields.data};
    const struct slv_head *h = slv_exchange_head(x);
    if (slv_head_field(h, "anthropic-version").p) api = API_MESSAGES; /* whatever it asked for */
    slv_buf_init(&body, 8192);
    error_json(&body, api, f);
    slv_exchange_reply(x, &r, body.data, body.len);
    slv_buf_fini(&body);
    slv_buf_fini(&fields);
    snprintf(status, sizeof status, "%d", f->status);
    slv_metrics_add(s->metrics, M_REFUSED, f->code ? f->code : f->type, NULL, 1.0);
    /* (what a client did wrong may be told in its own words, which no log is to keep) */
    const char *why = f->status >= 500 ? f->err.msg : f->code;
    slv_log(SLV_LOG_INFO, "%s %.*s %d %s%s%s", slv_exchange_peer(x)->address, (int)h->path.n,
            h->path.p, f->status, f->type, why ? ": " : "", why ? why : "");
}

/* --- life ------------------------------------------------------------------------------------- */

static const char *const prefixes[] = {
    [API_CHAT] = "chatcmpl-",  [API_COMPLETIONS] = "cmpl-", [API_RESPONSES] = "resp_",
    [API_MESSAGES] = "msg_",   [API_EMBEDDINGS] = "embd-",  [API_TOKENIZE] = "tok-",
    [API_DETOKENIZE] = "tok-", [API_COUNT_TOKENS] = "tok-"};

/* NULL: it answers in one piece. */
static const struct serve_format *const formats[API_COUNT] = {
    [API_CHAT] = &serve_format_chat,
    [API_COMPLETIONS] = &serve_format_completions,
    [API_RESPONSES] = &serve_format_responses,
    [API_MESSAGES] = &serve_format_messages};

static void make_id(struct serve_call *c) {
    unsigned char r[12] = {0};
    size_t n = (size_t)snprintf(c->id, sizeof c->id, "%s", prefixes[c->api]);
    if (getrandom(r, sizeof r, 0) < 0) memcpy(r, &c->seq, sizeof c->seq);
    for (size_t i = 0; i < sizeof r; i++)
        n += (size_t)snprintf(c->id + n, sizeof c->id - n, "%02x", r[i]);
}

static void on_gone(void *call) {
    struct serve_call *c = call;
    atomic_store(&c->gone, true);
    if (c->s->sched) serve_sched_gone(c->s->sched, c);
}

struct serve_call *serve_call_open(struct slv_serve *s, struct slv_exchange *x,
                                   enum serve_api api) {
    struct serve_call *c = slv_mem_calloc(1, sizeof *c);
    if (!c) return NULL;
    c->s = s;
    c->x = x;
    c->api = api;
    c->format = formats[api];
    c->seq = atomic_fetch_add(&s->seq, 1);
    c->t0 = serve_now();
    c->created = slv_clock_wall(&slv_clock_system) / 1000000000u;
    slv_arena_init(&c->arena, SERVE_ARENA_MAX);
    slv_buf_init(&c->out, SERVE_ANSWER_MAX);
    slv_buf_init(&c->prompt_text, SERVE_ANSWER_MAX);
    make_id(c);
    slv_exchange_own(x, c, on_gone, serve_call_close);
    return c;
}

void serve_call_close(void *call) {
    struct serve_call *c = call;
    for (uint32_t i = 0; c->choice && i < c->n_choices; i++) {
        slv_buf_fini(&c->choice[i].text);
        slv_buf_fini(&c->choice[i].logprobs);
        serve_items_fini(&c->choice[i].item);
    }
    serve_constraint_put(c);
    serve_adapters_put(c);
    if (c->model) serve_model_put(c->model);
    slv_apikey_put(c->key);
    json_decref(c->ask.doc);
    slv_tokens_free(&c->prompt);
    slv_mem_free(c->vectors);
    slv_buf_fini(&c->prompt_text);
    slv_buf_fini(&c->out);
    slv_arena_fini(&c->arena);
    slv_mem_free(c);
}

void serve_call_stream(struct serve_call *c) {
    static const struct slv_reply head = {.status = 200,
                                          .type = "text/event-stream; charset=utf-8",
                                          .fields = "Cache-Control: no-store\r\n"};
    if (c->begun || atomic_load(&c->gone)) return;
    c->begun = true;
    slv_exchange_begin(c->x, &head);
    slv_buf_clear(&c->out);
    c->format->begin(c);
    serve_call_send(c);
}

void serve_call_send(struct serve_call *c) { slv_exchange_send(c->x, c->out.data, c->out.len); }

void serve_call_choice_end(struct serve_choice *ch) {
    struct serve_call *c = ch->call;
    if (!c->format || !c->ask.stream || atomic_load(&c->gone)) return;
    serve_call_stream(c);
    slv_buf_clear(&c->out);
    c->format->choice_end(ch);
    serve_call_send(c);
}

static void fail(struct serve_call *c, const struct serve_fail *f) {
    if (c->begun) {
        slv_buf_clear(&c->out);
        c->format->error(c, f);
        serve_call_send(c);
        slv_exchange_end(c->x);
    } else {
        serve_reply_fail(c->s, c->x, c->api, f);
    }
}

/* --- the end of a reply ----------------------------------------------------------------------- */

/* What went wrong with a choice, for who asked. */
static void fail_of(struct serve_call *c, const struct serve_choice *ch) {
    if (ch->err.code == SLV_E_FIT)
        serve_refuse(&c->fail, 503, NULL, "out_of_memory", "%s", ch->err.msg);
    else if (ch->err.code == SLV_E_BUSY) serve_refuse_stopping(&c->fail);
    else serve_refuse_err(&c->fail, ch->err.code == SLV_E_NUMERIC ? 500 : 0, NULL, &ch->err);
}

static const char *status_word(const struct serve_call *c) {
    if (c->fail.status)
        return c->fail.code && !strcmp(c->fail.code, "stopping") ? "stopping" : "error";
    if (c->api == API_EMBEDDINGS || !c->n_choices) return "stop";
    return c->choice[0].finish ? c->choice[0].finish : "cancelled";
}

/* One record, where the request named a model that there is. After an error no more are taken, and
 * the server answers no more: an answer that leaves no trace is none that was allowed. */
static bool write_audit(struct serve_call *c, int status, const char *finish) {
    struct slv_err err = {0};
    if (!c->s->o.audit || !c->named) return true;
    const struct serve_choice *ch = c->n_choices ? &c->choice[0] : NULL;
    const struct slv_audit_record r = {.id = c->id,
                                       .who = c->key ? c->key->id : "",
                                       .model = c->named->name,
                                       .prompt_tokens = c->n_prompt,
                                       .output_tokens = c->n_output,
                                       .ms = (serve_now() - c->t0) / 1000000u,
                                       .finish = finish,
                                       .status = (uint32_t)status,
                                       .prompt = c->prompt_text.data,
                                       .prompt_n = c->prompt_text.len,
                                       .answer = ch ? ch->text.data : NULL,
                                       .answer_n = ch ? ch->text.len : 0};
    int rc = slv_audit_append(c->s->o.audit, &r, NULL, &err);
    if (!rc) return true;
    if (!atomic_exchange(&c->s->audit_failed, true))
        slv_log(SLV_LOG_ERROR, "audit log: %s: no more requests are answered", err.msg);
    slv_metrics_set(c->s->metrics, M_AUDIT_FAILED, NULL, NULL, 1.0);
    return false;
}

static void refuse_unrecorded(struct serve_call *c) {
    c->fail = (struct serve_fail){0};
    serve_refuse(&c->fail, 503, NULL, "audit_failed", "the audit log cannot be written");
}

void serve_call_refuse(struct serve_call *c, const struct serve_fail *f) {
    c->fail = *f;
    if (!write_audit(c, f->status, "refused")) refuse_unrecorded(c);
    fail(c, &c->fail);
    slv_exchange_put(c->x);
}

void serve_call_answer(struct serve_call *c) {
    static const struct slv_reply head = {.status = 200, .type = "application/json"};
    if (write_audit(c, 200, "stop")) {
        slv_exchange_reply(c->x, &head, c->out.data, c->out.len);
    } else {
        refuse_unrecorded(c);
        fail(c, &c->fail);
    }
    slv_exchange_put(c->x);
}

/* W3C trace context: "00-TRACE-PARENT-FLAGS"; a trace of its own without one. */
static void trace_of(const struct serve_call *c, struct slv_serve_span *ret) {
    struct slv_str t = slv_head_field(slv_exchange_head(c->x), "traceparent");
    const char *digits = c->id + strcspn(c->id, "-_") + 1; /* 24 of them, random */
    bool valid = t.n >= 55 && !memcmp(t.p, "00-", 3) && t.p[35] == '-' && t.p[52] == '-';
    for (size_t i = 3; valid && i < 52; i++)
        valid = i == 35 || strchr("0123456789abcdef", t.p[i]);
    snprintf(ret->span, sizeof ret->span, "%.14s00", digits);
    if (valid) {
        snprintf(ret->trace, sizeof ret->trace, "%.32s", t.p + 3);
        snprintf(ret->parent, sizeof ret->parent, "%.16s", t.p + 36);
    } else {
        snprintf(ret->trace, sizeof ret->trace, "%.24s%.8s", digits, digits + 16);
    }
}

static void tell_span(struct serve_call *c, int status) {
    const uint64_t now = serve_now(), wall = slv_clock_wall(&slv_clock_system);
    const struct slv_str path = slv_exchange_head(c->x)->path;
    if (!c->s->o.span) return;
    struct slv_serve_span s = {.status = (uint32_t)status,
                               .begun_ns = wall - (now - c->t0),
                               .started_ns = c->t_start ? wall - (now - c->t_start) : 0,
                               .first_ns = c->t_first ? wall - (now - c->t_first) : 0,
                               .ended_ns = wall,
                               .prompt_tokens = c->n_prompt,
                               .output_tokens = c->n_output,
                               .cached_tokens = c->n_cached};
    trace_of(c, &s);
    snprintf(s.id, sizeof s.id, "%s", c->id);
    snprintf(s.model, sizeof s.model, "%.100s", c->model->name);
    snprintf(s.key, sizeof s.key, "%s", c->key ? c->key->id : "");
    snprintf(s.path, sizeof s.path, "%.*s", (int)(path.n < 63 ? path.n : 63), path.p);
    snprintf(s.finish, sizeof s.finish, "%s", status_word(c));
    c->s->o.span(c->s->o.span_ctx, &s);
}

static void count_call(struct serve_call *c, int status) {
    struct slv_metrics *m = c->s->metrics;
    char code[8];
    const uint64_t now = serve_now();
    snprintf(code, sizeof code, "%d", status);
    slv_metrics_add(m, M_REQUESTS, c->model->name, code, 1.0);
    slv_metrics_add(m, M_PROMPT_TOKENS, c->model->name, NULL, (double)c->n_prompt);
    slv_metrics_add(m, M_OUTPUT_TOKENS, c->model->name, NULL, (double)c->n_output);
    slv_metrics_add(m, M_CACHED_TOKENS, c->model->name, NULL, (double)c->n_cached);
    slv_metrics_observe(m, M_DURATION, c->model->name, NULL, (double)(now - c->t0) / 1e9);
    slv_log(SLV_LOG_INFO, "%s %s %s %s %d %s: %llu + %llu tokens, %llu cached, %.0f ms", c->id,
            slv_exchange_peer(c->x)->address, c->key ? c->key->name : "-", c->model->name, status,
            status_word(c), (unsigned long long)c->n_prompt, (unsigned long long)c->n_output,
            (unsigned long long)c->n_cached, (double)(now - c->t0) / 1e6);
}

static void reply_whole(struct serve_call *c) {
    static const struct slv_reply head = {.status = 200, .type = "application/json"};
    slv_buf_clear(&c->out);
    if (c->api == API_EMBEDDINGS) serve_embed_write(c);
    else c->format->end(c);
    if (c->out.status)
        serve_refuse(&c->fail, 500, NULL, NULL, "the reply: %s", slv_strerror(c->out.status));
    else slv_exchange_reply(c->x, &head, c->out.data, c->out.len);
}

static void reply_stream_end(struct serve_call *c) {
    serve_call_stream(c);
    slv_buf_clear(&c->out);
    c->format->end(c);
    serve_call_send(c);
    slv_exchange_end(c->x);
}

void serve_call_finish(struct serve_call *c) {
    bool gone = atomic_load(&c->gone);
    for (uint32_t i = 0; i < c->n_choices; i++) {
        c->n_output += c->choice[i].n_tokens;
        if (c->choice[i].err.code && !c->fail.status && !gone) fail_of(c, &c->choice[i]);
    }
    serve_auth_tokens(c, c->api == API_EMBEDDINGS ? c->n_prompt : c->n_output, false, NULL);
    int status = gone ? 499 : c->fail.status ? c->fail.status : 200;
    if (!write_audit(c, status, status_word(c)) && !c->fail.status) refuse_unrecorded(c);
    count_call(c, status);
    tell_span(c, status);
    if (gone) {
        /* nobody to tell */
    } else if (c->fail.status) {
        fail(c, &c->fail);
    } else if (c->ask.stream) {
        reply_stream_end(c);
    } else {
        reply_whole(c);
        if (c->fail.status) fail(c, &c->fail);
    }
    slv_exchange_put(c->x);
}
