/* api.c: which path means what, and the short ones of them. */
#include "base/clock.h"
#include "base/mem.h"
#include "serve/prompt.h"
#include "serve/tools.h"

#include <stdio.h>
#include <string.h>

void serve_json_reply(struct slv_exchange *x, int status, struct slv_buf *body) {
    const struct slv_reply r = {.status = status, .type = "application/json"};
    slv_exchange_reply(x, &r, body->data, body->len);
    slv_buf_fini(body);
}

/* --- health and metrics: answered by the loop's thread ---------------------------------------- */

static void health(struct slv_serve *s, struct slv_exchange *x) {
    struct slv_buf b;
    struct slv_json j;
    struct serve_load load;
    uint32_t ready = 0, failed = 0;
    pthread_mutex_lock(&s->models_lock);
    for (size_t i = 0; i < s->o.n_models; i++) {
        ready += s->model[i].state == MODEL_READY;
        failed += s->model[i].state == MODEL_FAILED;
    }
    pthread_mutex_unlock(&s->models_lock);
    serve_sched_load(s->sched, &load);
    bool audit = !atomic_load(&s->audit_failed), stopping = atomic_load(&s->stopping);
    bool is_ready = audit && !stopping && (ready || (!s->o.load_all && failed < s->o.n_models));
    slv_buf_init(&b, 4096);
    slv_json_init(&j, &b);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "status",
                 is_ready                  ? "ok"
                 : stopping                ? "stopping"
                 : !audit                  ? "audit"
                 : failed == s->o.n_models ? "failed"
                                           : "loading");
    slv_json_bool(&j, "live", true);
    slv_json_bool(&j, "ready", is_ready);
    slv_json_uint(&j, "models_ready", ready);
    slv_json_uint(&j, "models_failed", failed);
    slv_json_uint(&j, "active", load.active);
    slv_json_uint(&j, "waiting", load.waiting);
    slv_json_bool(&j, "mesh", s->mesh != NULL);
    slv_json_object_end(&j);
    struct slv_str q = slv_exchange_head(x)->query;
    serve_json_reply(x, is_ready || slv_str_is(q, "live") ? 200 : 503, &b);
}

/* Who may read how much is asked of which model: this machine, or a key. */
static bool may_measure(struct slv_serve *s, struct slv_exchange *x, struct serve_fail *f) {
    const struct slv_apikey *key = NULL;
    struct serve_user *user;
    if (!s->o.keys || slv_exchange_peer(x)->is_local) return true;
    bool ok = serve_auth(s, x, &key, &user, f);
    slv_apikey_put(key);
    return ok;
}

static void metrics(struct slv_serve *s, struct slv_exchange *x) {
    static const struct slv_reply r = {.status = 200, .type = "text/plain; version=0.0.4"};
    struct slv_buf b;
    struct serve_load load;
    struct serve_fail f = {0};
    if (!may_measure(s, x, &f)) {
        serve_reply_fail(s, x, API_CHAT, &f);
        return;
    }
    serve_sched_load(s->sched, &load);
    serve_models_measure(s);
    serve_machine_measure(s);
    slv_metrics_set(s->metrics, M_WAITING, NULL, NULL, load.waiting);
    slv_metrics_set(s->metrics, M_ACTIVE, NULL, NULL, load.active);
    slv_metrics_set(s->metrics, M_CONNECTIONS, NULL, NULL, slv_httpd_connections(s->httpd));
    if (s->mesh) slv_metrics_set(s->metrics, M_MESH_WATCHES, NULL, NULL, serve_mesh_watches(s));
    slv_metrics_set(s->metrics, M_UPTIME, NULL, NULL, (double)(serve_now() - s->started) / 1e9);
    slv_buf_init(&b, (size_t)4 << 20);
    slv_metrics_write(s->metrics, &b);
    slv_exchange_reply(x, &r, b.data, b.len);
    slv_buf_fini(&b);
}

/* --- models ----------------------------------------------------------------------------------- */

static void model_json(struct serve_model *m, struct slv_json *j) {
    slv_json_object(j, NULL);
    slv_json_str(j, "id", m->name);
    slv_json_str(j, "object", "model");
    slv_json_str(j, "owned_by", "selvage");
    slv_json_str(j, "status", serve_model_state_name(m));
    pthread_mutex_lock(&m->s->models_lock);
    slv_json_uint(j, "created", m->created);
    if (m->state == MODEL_READY) {
        slv_json_uint(j, "context", m->ctx);
        slv_json_uint(j, "memory", m->bytes);
        slv_json_str(j, "kind", m->info.encoder ? "embeddings" : "text");
    }
    pthread_mutex_unlock(&m->s->models_lock);
    slv_json_object_end(j);
}

static bool may_use(const struct slv_apikey *key, const struct serve_model *m) {
    return !key || slv_apikey_names_allow(&key->models, m->name);
}

static void list_models(struct slv_serve *s, struct slv_exchange *x, const struct slv_apikey *key) {
    struct slv_buf b;
    struct slv_json j;
    slv_buf_init(&b, (size_t)1 << 20);
    slv_json_init(&j, &b);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "object", "list");
    slv_json_array(&j, "data");
    for (size_t i = 0; i < s->o.n_models; i++)
        if (may_use(key, &s->model[i])) model_json(&s->model[i], &j);
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    serve_json_reply(x, 200, &b);
}

bool serve_path_name(const struct slv_exchange *x, const char *root,
                     char ret[SLV_HEAD_TARGET_MAX + 1], struct serve_fail *f) {
    const struct slv_str p = slv_exchange_head(x)->path;
    const size_t n = strlen(root) + 1; /* a slash */
    const struct slv_str name = {p.p + n, p.n - n};
    return slv_head_decode(name, ret, SLV_HEAD_TARGET_MAX + 1) ||
           serve_refuse(f, 400, NULL, "wrong_path",
                        "the path: '%%' stands before two hex digits, and names are UTF-8");
}

static void show_model(struct slv_serve *s, struct slv_exchange *x, const struct slv_apikey *key,
                       const char *name, struct serve_fail *f) {
    for (size_t i = 0; i < s->o.n_models; i++) {
        struct slv_buf b;
        struct slv_json j;
        if (strcmp(name, s->model[i].name) != 0 || !may_use(key, &s->model[i])) continue;
        slv_buf_init(&b, 65536);
        slv_json_init(&j, &b);
        model_json(&s->model[i], &j);
        serve_json_reply(x, 200, &b);
        return;
    }
    serve_refuse(f, 404, "model", "model_not_found", "there is no model \"%.100s\"", name);
}

/* --- calls ------------------------------------------------------------------------------------ */

static bool make_choices(struct serve_call *c, struct serve_fail *f) {
    const struct serve_ask *a = &c->ask;
    const uint32_t n = c->api == API_EMBEDDINGS ? 1 : a->n;
    c->choice = slv_arena_calloc(&c->arena, n, sizeof *c->choice);
    if (!c->choice) return serve_refuse(f, 503, NULL, NULL, "out of memory");
    c->n_choices = c->n_left = n;
    for (uint32_t i = 0; i < c->n_choices; i++) {
        struct serve_choice *ch = &c->choice[i];
        *ch = (struct serve_choice){.call = c, .index = i};
        slv_buf_init(&ch->text, SERVE_ANSWER_MAX);
        slv_buf_init(&ch->logprobs, SERVE_ANSWER_MAX);
        slv_buf_init(&ch->item.text, SERVE_ANSWER_MAX);
        slv_buf_init(&ch->item.name, SERVE_ANSWER_MAX);
        slv_buf_init(&ch->item.done, SERVE_ANSWER_MAX);
        slv_generate_default(&ch->gen);
        ch->gen.sampling = a->sampling;
        ch->gen.sampling.seed += i;
        ch->gen.max_tokens = a->max_tokens;
        ch->gen.stop = a->stop;
        ch->gen.n_stop = a->n_stop;
        ch->gen.want_logprobs = a->logprobs;
        ch->gen.logprobs = a->top_logprobs;
        ch->gen.ignore_end = a->ignore_end;
        ch->gen.head = c->head;
        ch->gen.n_head = c->n_head;
        ch->gen.constraint = c->constraint;
        ch->gen.special = c->tool_syntax != NULL;
    }
    return true;
}

/* A prompt that is to be continued may end inside what would be one token; then the answer begins
 * with what it leaves off. */
static bool heal(struct serve_call *c, struct serve_fail *f) {
    struct slv_err err = {0};
    struct slv_text head = {0};
    size_t keep = 0;
    if (c->api != API_COMPLETIONS || !c->constraint) return true;
    if (slv_model_heal(c->model->m, c->prompt.v, c->prompt.n, &keep, &head, &err))
        return serve_refuse_err(f, 0, "prompt", &err);
    const bool cut = head.n > 0;
    if (cut) {
        c->head = slv_arena_strndup(&c->arena, head.p, head.n);
        c->n_head = head.n;
        c->prompt.n = keep;
    }
    slv_text_free(&head);
    return !cut || c->head || serve_refuse(f, 503, NULL, NULL, "out of memory");
}

static bool make_call(struct serve_call *c, struct serve_fail *f) {
    if (c->api == API_EMBEDDINGS) return serve_embed_make(c, f) && make_choices(c, f);
    return serve_adapters_get(c, f) && serve_prompt_make(c, f) && serve_tools_constrain(c, f) &&
           heal(c, f) && make_choices(c, f);
}

static void make(struct serve_call *c) {
    struct serve_fail f = {0};
    if (!make_call(c, &f) || !serve_sched_submit(c->s->sched, c, &f)) serve_call_refuse(c, &f);
}

/* On a compiler. */
static void make_slowly(void *call) {
    serve_pending_begun(call);
    make(call);
}

/* Whether what its answer is held to may have to be compiled. */
static bool is_held(const struct serve_ask *a) {
    return a->schema || a->json_object || a->grammar || a->tools;
}

void serve_call_resume(void *call) {
    struct serve_call *c = call;
    struct serve_fail f = c->fail;
    if (f.status) {
        serve_call_refuse(c, &f);
    } else if (c->api >= API_TOKENIZE) {
        if (serve_tokens_make(c, &f)) serve_call_answer(c);
        else serve_call_refuse(c, &f);
    } else if (is_held(&c->ask)) {
        serve_pending_compile(c, make_slowly);
    } else {
        make(c);
    }
}

void serve_call_late(void *call) {
    struct serve_call *c = call;
    struct serve_fail f = {0};
    if (!c->format) serve_refuse(&c->fail, 408, NULL, "timeout", "the time is over");
    else if (!make_choices(c, &f)) c->fail = f;
    for (uint32_t i = 0; !c->fail.status && i < c->n_choices; i++) {
        c->choice[i].finish = "timeout";
        serve_call_choice_end(&c->choice[i]);
    }
    serve_call_finish(c);
}

/* A seed that nobody chose. */
static uint64_t any_seed(const struct serve_call *c) {
    return slv_clock_wall(&slv_clock_system) ^ (c->seq << 40);
}

static void set_limits(struct serve_call *c) {
    uint64_t ms = c->ask.timeout_ms, most = c->s->o.timeout_ms;
    if (most && (!ms || ms > most)) ms = most;
    if (ms) c->deadline = c->t0 + ms * 1000000u;
    if (c->key && c->ask.priority > c->key->priority) c->ask.priority = c->key->priority;
    if (!c->ask.has_seed) c->ask.sampling.seed = any_seed(c);
}

/* Which model a request means, as far as its fields can be read; NULL: none that there is. */
static struct serve_model *named(const struct serve_call *c) {
    const json_t *v = json_object_get(c->ask.doc, "model");
    if (!json_is_object(c->ask.doc) || (v && !json_is_string(v) && !json_is_null(v))) return NULL;
    return serve_models_find(c->s, json_string_value(v));
}

/* Who asks and for which model; whatever is wrong then, it can be recorded. Without a valid key
 * nobody asks, and the body is not looked at. */
static bool introduce(struct serve_call *c, struct serve_fail *f) {
    struct serve_fail other = {0};
    bool ok = serve_auth(c->s, c->x, &c->key, &c->user, f);
    const bool read = ok || (c->key && c->s->o.audit);
    if (read && !serve_ask_read(c, ok ? f : &other)) ok = false;
    c->named = named(c);
    return ok;
}

static bool begin(struct serve_call *c, bool *ret_ready, struct serve_fail *f) {
    if (!introduce(c, f)) return false;
    if (atomic_load(&c->s->ending)) return serve_refuse_stopping(f);
    set_limits(c);
    if (c->key && !c->ask.priority) c->ask.priority = c->key->priority;
    struct serve_model *m = c->named;
    if (!m)
        return serve_refuse(f, 404, "model", "model_not_found", "there is no model \"%.100s\"",
                            c->ask.model);
    if (!may_use(c->key, m))
        return serve_refuse(f, 403, "model", "model_not_allowed",
                            "this key may not use the model \"%s\"", m->name);
    return serve_model_get(m, c, ret_ready, f);
}

void serve_call_begin(void *call) {
    struct serve_call *c = call;
    struct serve_fail f = {0};
    bool ready = false;
    if (!begin(c, &ready, &f)) {
        serve_call_refuse(c, &f);
    } else if (ready) {
        serve_call_resume(c);
    }
}

/* --- routes ----------------------------------------------------------------------------------- */

/* What a path's short request needs: a key, but no model. On a worker. */
struct errand {
    struct serve_work work;
    struct slv_serve *s;
    struct slv_exchange *x;
    void (*fn)(struct slv_serve *s, struct slv_exchange *x, const struct slv_apikey *key,
               struct serve_fail *f);
};

static void close_errand(void *errand) { slv_mem_free(errand); }

static void run_errand(void *arg) {
    struct errand *e = arg;
    const struct slv_apikey *key = NULL;
    struct serve_user *user;
    struct serve_fail f = {0};
    if (serve_auth(e->s, e->x, &key, &user, &f)) e->fn(e->s, e->x, key, &f);
    if (f.status) serve_reply_fail(e->s, e->x, API_CHAT, &f);
    slv_apikey_put(key);
    slv_exchange_put(e->x);
}

static void models_errand(struct slv_serve *s, struct slv_exchange *x, const struct slv_apikey *key,
                          struct serve_fail *f) {
    char name[SLV_HEAD_TARGET_MAX + 1];
    if (slv_exchange_head(x)->path.n <= strlen("/v1/models/")) list_models(s, x, key);
    else if (serve_path_name(x, "/v1/models", name, f)) show_model(s, x, key, name, f);
}

enum route_kind { ROUTE_NOW, ROUTE_CALL, ROUTE_ERRAND };
enum route_where { AT, AT_OR_BELOW, BELOW };

static const struct route {
    enum slv_method method;
    const char *path;
    enum route_where where;
    enum route_kind kind;
    enum serve_api api;
    void (*now)(struct slv_serve *s, struct slv_exchange *x);
    void (*errand)(struct slv_serve *s, struct slv_exchange *x, const struct slv_apikey *key,
                   struct serve_fail *f);
} routes[] = {
    {SLV_METHOD_GET, "/health", AT, ROUTE_NOW, API_CHAT, health, NULL},
    {SLV_METHOD_GET, "/metrics", AT, ROUTE_NOW, API_CHAT, metrics, NULL},
    {SLV_METHOD_GET, "/console", AT_OR_BELOW, ROUTE_NOW, API_CHAT, serve_console, NULL},
    {SLV_METHOD_GET, "/mesh", BELOW, ROUTE_NOW, API_CHAT, serve_mesh, NULL},
    {SLV_METHOD_PUT, "/mesh", BELOW, ROUTE_NOW, API_CHAT, serve_mesh, NULL},
    {SLV_METHOD_DELETE, "/mesh", BELOW, ROUTE_NOW, API_CHAT, serve_mesh, NULL},
    {SLV_METHOD_GET, "/v1/admin", AT_OR_BELOW, ROUTE_ERRAND, API_CHAT, NULL, serve_admin_errand},
    {SLV_METHOD_GET, "/v1/models", AT_OR_BELOW, ROUTE_ERRAND, API_CHAT, NULL, models_errand},
    {SLV_METHOD_GET, "/v1/adapters", AT, ROUTE_ERRAND, API_CHAT, NULL, serve_adapters_errand},
    {SLV_METHOD_POST, "/v1/adapters", AT, ROUTE_ERRAND, API_CHAT, NULL, serve_adapters_errand},
    {SLV_METHOD_DELETE, "/v1/adapters", BELOW, ROUTE_ERRAND, API_CHAT, NULL, serve_adapters_errand},
    {SLV_METHOD_POST, "/v1/chat/completions", AT, ROUTE_CALL, API_CHAT, NULL, NULL},
    {SLV_METHOD_POST, "/v1/completions", AT, ROUTE_CALL, API_COMPLETIONS, NULL, NULL},
    {SLV_METHOD_POST, "/v1/responses", AT, ROUTE_CALL, API_RESPONSES, NULL, NULL},
    {SLV_METHOD_POST, "/v1/messages", AT, ROUTE_CALL, API_MESSAGES, NULL, NULL},
    {SLV_METHOD_POST, "/v1/messages/count_tokens", AT, ROUTE_CALL, API_COUNT_TOKENS, NULL, NULL},
    {SLV_METHOD_POST, "/v1/embeddings", AT, ROUTE_CALL, API_EMBEDDINGS, NULL, NULL},
    {SLV_METHOD_POST, "/tokenize", AT, ROUTE_CALL, API_TOKENIZE, NULL, NULL},
    {SLV_METHOD_POST, "/detokenize", AT, ROUTE_CALL, API_DETOKENIZE, NULL, NULL},
};

static bool on_path(const struct route *r, struct slv_str p) {
    size_t n = strlen(r->path);
    if (p.n < n || memcmp(p.p, r->path, n) != 0) return false;
    return p.n == n ? r->where != BELOW : r->where != AT && p.p[n] == '/';
}

/* *ret_methods: those that the path takes, 1 << each. */
static const struct route *find(const struct slv_serve *s, const struct slv_head *h,
                                uint32_t *ret_methods) {
    const struct route *found = NULL;
    *ret_methods = 0;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!on_path(&routes[i], h->path)) continue;
        if (routes[i].now == serve_mesh && !s->mesh) continue;
        uint32_t methods = 1u << routes[i].method;
        if (routes[i].method == SLV_METHOD_GET) methods |= 1u << SLV_METHOD_HEAD;
        *ret_methods |= methods;
        if (methods & 1u << h->method) found = &routes[i];
    }
    return found;
}

static bool start_call(struct slv_serve *s, struct slv_exchange *x, enum serve_api api) {
    struct serve_call *c = serve_call_open(s, x, api);
    if (!c) return false;
    c->work = (struct serve_work){.fn = serve_call_begin, .arg = c};
    serve_work(s->workers, &c->work);
    return true;
}

static bool start_errand(struct slv_serve *s, struct slv_exchange *x, const struct route *r) {
    struct errand *e = slv_mem_alloc(sizeof *e);
    if (!e) return false;
    *e = (struct errand){.work = {.fn = run_errand, .arg = e}, .s = s, .x = x, .fn = r->errand};
    slv_exchange_own(x, e, NULL, close_errand);
    serve_work(s->workers, &e->work);
    return true;
}

static bool route(struct slv_serve *s, struct slv_exchange *x, struct serve_fail *f) {
    const struct slv_head *h = slv_exchange_head(x);
    uint32_t methods;
    const struct route *r = find(s, h, &methods);
    if (!serve_auth_origin(s, x, f)) return false;
    if (!methods)
        return serve_refuse(f, 404, NULL, "not_found", "there is nothing at %.*s", (int)h->path.n,
                            h->path.p);
    if (!r && h->method == SLV_METHOD_OPTIONS &&
        slv_head_field(h, "access-control-request-method").p) { /* a browser, before it asks */
        static const struct slv_reply yes = {.status = 200, .type = "text/plain"};
        slv_exchange_reply(x, &yes, "", 0);
        slv_exchange_put(x);
        return true;
    }
    f->methods = r ? 0 : methods;
    if (!r)
        return serve_refuse(f, 405, NULL, "wrong_method", "%.*s does not take %.*s", (int)h->path.n,
                            h->path.p, (int)h->method_text.n, h->method_text.p);
    if (r->kind == ROUTE_NOW) {
        r->now(s, x);
        slv_exchange_put(x);
        return true;
    }
    if (atomic_load(&s->audit_failed) && r->errand != serve_admin_errand) /* it says why */
        return serve_refuse(f, 503, NULL, "audit_failed", "the audit log cannot be written");
    bool ok = r->kind == ROUTE_CALL ? start_call(s, x, r->api) : start_errand(s, x, r);
    return ok || serve_refuse(f, 503, NULL, NULL, "out of memory");
}

void serve_handle(struct slv_exchange *x, void *server) {
    struct slv_serve *s = server;
    struct serve_fail f = {0};
    if (route(s, x, &f)) return;
    serve_reply_fail(s, x, API_CHAT, &f);
    slv_exchange_put(x);
}
