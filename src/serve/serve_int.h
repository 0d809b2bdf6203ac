/* serve_int.h: what the server's files share: the server, its models, a call and its choices.
 *
 * A call is one request for tokens, from the moment it is understood until its reply has ended; it
 * belongs to its exchange. A choice is one of the answers it asks for.
 *
 * Threads: a call belongs to one thread at a time: a worker makes it, the scheduler answers it, a
 * worker ends it. `gone` is set by the loop's thread. What is under which lock is said below. */
#ifndef SLV_SERVE_INT_H
#define SLV_SERVE_INT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "net/httpd.h"
#include "net/metrics.h"
#include "serve/serve.h"
#include "trust/apikeys.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#define SERVE_CHOICES_MAX 64
#define SERVE_STOPS_MAX 16
#define SERVE_TOP_MAX 20
#define SERVE_ANSWER_MAX ((size_t)64 << 20)
#define SERVE_ARENA_MAX ((size_t)64 << 20)
#define SERVE_ID 40
#define SERVE_ADAPTER_NAME 100

/* --- refusals --------------------------------------------------------------------------------- */

/* Why a request is not served: status, OpenAI's words for it, which parameter, and a sentence. */
struct serve_fail {
    int status; /* 0: it is served */
    const char *type, *code;
    char param[64];
    uint32_t retry_s; /* Retry-After; 0: none */
    uint32_t methods; /* Allow: 1 << each of enum slv_method; 0: none */
    struct slv_err err;
};

/* Fills in *f and returns false, so that a reader can say `return serve_refuse(...)`. param and
 * code may be NULL. */
bool serve_refuse(struct serve_fail *f, int status, const char *param, const char *code,
                  const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* The server is stopping. */
bool serve_refuse_stopping(struct serve_fail *f);
/* The same from an error of the library; `status` 0: the one that belongs to its code. */
bool serve_refuse_err(struct serve_fail *f, int status, const char *param,
                      const struct slv_err *err);

/* --- metrics ---------------------------------------------------------------------------------- */

enum serve_metric {
    M_REQUESTS,
    M_REFUSED,
    M_TLS_FAILURES,
    M_PROMPT_TOKENS,
    M_OUTPUT_TOKENS,
    M_CACHED_TOKENS,
    M_TTFT,
    M_BETWEEN,
    M_DURATION,
    M_QUEUE_WAIT,
    M_WAITING,
    M_ACTIVE,
    M_BATCH,
    M_PARKED,
    M_PARKS,
    M_SPILLED,
    M_REREAD,
    M_KV_USED,
    M_KV_BUDGET,
    M_CACHE_HITS,
    M_CACHE_MISSES,
    M_MEMORY_USED,
    M_MEMORY_BUDGET,
    M_RSS,
    M_CONNECTIONS,
    M_MODELS_LOADED,
    M_LOADS,
    M_STEPS,
    M_CPU,
    M_UPTIME,
    M_CORES,
    M_TEMPERATURE,
    M_MACHINE_FREE,
    M_MACHINE_MEMORY,
    M_MACHINE_CPU,
    M_AUDIT_FAILED,
    M_MESH_REQUESTS,
    M_MESH_WATCHES,
    M_COUNT
};
extern const struct slv_metric serve_metrics[M_COUNT];

/* --- models ----------------------------------------------------------------------------------- */

enum serve_model_state { MODEL_UNLOADED, MODEL_WANTED, MODEL_READY, MODEL_CLOSING, MODEL_FAILED };

/* An adapter of a model, shared by whoever uses it at the moment; under the model's
 * adapters_lock. */
struct serve_adapter {
    struct serve_adapter *next;
    char name[SERVE_ADAPTER_NAME + 1];
    struct slv_adapter *a;
    struct slv_adapter_info info;
    float scale;    /* where a request says none */
    bool standing;  /* of requests that say nothing of adapters */
    bool gone;      /* no longer to be had: closed when nobody uses it */
    uint32_t users; /* calls */
};

/* Under s->models_lock, but what `m` and below point to: those are there while users > 0 or the
 * scheduler has choices of it. */
struct serve_model {
    struct slv_serve *s;
    const char *name, *path;
    enum serve_model_state state;
    uint32_t users;     /* calls that need it */
    uint32_t n_pins;    /* adapters it has: it is not unloaded */
    bool asked;         /* for by a client, and not only to be there early */
    bool early;         /* the loader's: it is opened before it was asked for */
    uint64_t last_used; /* ns */
    uint64_t failed_at;
    struct slv_err why; /* of FAILED */
    uint64_t bytes;     /* of the budget */
    struct slv_model *m;
    struct slv_model_info info;
    struct slv_batch *batch;         /* NULL: the model makes no text */
    struct slv_prefix_cache *prefix; /* with it */
    struct slv_embedder *embedder;   /* the scheduler's; NULL: not yet */
    uint32_t ctx;                    /* most positions of one request */
    uint64_t created;
    /* the scheduler's */
    struct serve_call *pending;   /* they wait for it to be opened */
    struct serve_choice *waiting; /* by arrival */
    uint32_t n_active;
    struct slv_batch_stats told;          /* of the batch, as the metrics have it */
    bool reads;                           /* under its lock: somebody has no token yet */
    struct serve_constraint *constraints; /* under its lock: constraint.c */
    pthread_mutex_t constraints_lock;
    struct serve_adapter *adapters; /* under its lock: adapters.c */
    pthread_mutex_t adapters_lock;
};

/* --- keys ------------------------------------------------------------------------------------- */

/* One API key at work; under s->auth_lock but `served`, the scheduler's. */
struct serve_user {
    struct serve_user *next;
    char id[SLV_APIKEY_ID];  /* "" without keys */
    double tokens, requests; /* left in their buckets */
    uint64_t at;             /* ns, when they were filled */
    uint32_t active;         /* choices in a batch: the scheduler's */
    double served;           /* tokens that it had of its share: the scheduler's */
    uint64_t space;          /* of prefixes */
};

/* --- what is asked ---------------------------------------------------------------------------- */

enum serve_api {
    API_CHAT,
    API_COMPLETIONS,
    API_RESPONSES,
    API_MESSAGES,
    API_EMBEDDINGS,
    API_TOKENIZE,
    API_DETOKENIZE,
    API_COUNT_TOKENS, /* of what API_MESSAGES would be asked */
    API_COUNT
};

static inline bool serve_is_anthropic(enum serve_api api) {
    return api == API_MESSAGES || api == API_COUNT_TOKENS;
}
enum serve_tool_choice { TOOLS_AUTO, TOOLS_NONE, TOOLS_REQUIRED, TOOLS_NAMED };

/* A request's fields as they were understood. JSON is borrowed from `doc`. */
struct serve_ask {
    json_t *doc;
    const char *model;
    const json_t *messages, *prompt, *system, *tools, *schema, *template_args, *input;
    const char *grammar;
    bool json_object;
    enum serve_tool_choice tool_choice;
    const char *tool_name;
    bool parallel_tools;
    bool stream, include_usage, echo, ignore_end;
    uint32_t n, max_tokens; /* 0: as many as there is room for */
    bool logprobs;
    uint32_t top_logprobs;
    uint64_t timeout_ms;
    int64_t priority;
    bool has_seed;
    struct slv_sampling sampling;
    const char *stop[SERVE_STOPS_MAX];
    size_t n_stop;
    struct slv_logit_bias *bias; /* in the call's arena */
    uint32_t dimensions;
    bool base64;
    const json_t *tokens; /* of detokenize */
    const char *content;  /* of tokenize; or messages */
    bool add_special, parse_special, with_pieces;
    const json_t *adapters; /* a list of names, or of {"name", "scale"}; NULL: the model's own */
};

/* --- calls ------------------------------------------------------------------------------------ */

struct serve_call;

/* Something for a worker to do; part of what it is about, so that asking for it cannot fail. */
struct serve_work {
    struct serve_work *next;
    void (*fn)(void *arg);
    void *arg;
};

/* What an answer consists of, one after the other: texts and calls of tools (items.c). */
enum serve_item_kind { ITEM_NONE, ITEM_TEXT, ITEM_CALL };
struct serve_item {
    enum serve_item_kind kind; /* of the one that is open */
    uint32_t index;            /* its own; later: how many there were */
    struct slv_buf text;       /* its text, or its arguments */
    struct slv_buf name;
    char id[SERVE_ID];   /* of a call */
    bool cut;            /* the answer ended within it */
    struct slv_buf done; /* JSON of those that are finished, with commas */
};

/* One answer. */
struct serve_choice {
    struct serve_call *call;
    uint32_t index;
    struct serve_choice *next; /* of the model's that wait */
    struct slv_session *s;     /* while it is in the batch */
    struct slv_generate_opts gen;
    struct slv_buf text;     /* all of it */
    struct slv_buf logprobs; /* JSON: the elements, with commas */
    atomic_size_t n_tokens;
    uint64_t t_piece;   /* ns, of the last one */
    const char *finish; /* OpenAI's word */
    enum slv_finish how;
    struct slv_err err; /* code 0: it has an answer */
    const char *stop;   /* the string that ended it, or NULL */
    /* tools.c: how far its text was told of */
    size_t n_told;
    int parse_state;
    uint32_t depth;
    bool in_string, escaped, cut;
    uint32_t n_calls; /* of tools */
    struct serve_item item;
};

struct serve_format;

struct serve_call {
    struct slv_serve *s;
    struct slv_exchange *x;
    enum serve_api api;
    const struct serve_format *format;
    char id[SERVE_ID];
    uint64_t created;                        /* seconds since 1970 */
    uint64_t t0, t_start, t_first, deadline; /* ns; deadline 0: none */
    struct serve_call *next_pending;
    struct serve_work work;
    struct slv_arena arena;
    struct serve_ask ask;
    const struct slv_apikey *key; /* NULL without keys */
    struct serve_user *user;
    struct serve_model *model;  /* that it uses, until it is closed */
    struct serve_model *named;  /* by the request, whether it gets it or not; or NULL */
    struct slv_buf prompt_text; /* as the model reads it, for the audit log */
    struct slv_tokens prompt;
    const char *head; /* with which the answer begins, unsaid: what the prompt left off */
    size_t n_head;
    uint64_t n_cached, n_prompt, n_output;
    uint32_t n_read; /* choices that have read the prompt */
    struct slv_constraint *constraint;
    struct serve_constraint *constraint_ref;
    struct serve_adapter *adapter[SLV_ADAPTERS_MAX];
    struct slv_adapter_use use[SLV_ADAPTERS_MAX];
    uint32_t n_adapters;
    const struct serve_tool_syntax *tool_syntax; /* NULL: text is text */
    struct serve_choice *choice;                 /* [n] */
    uint32_t n_choices, n_left;
    atomic_bool gone;
    bool begun;         /* the stream */
    uint64_t seq;       /* by arrival */
    struct slv_buf out; /* scratch of the formatter */
    float *vectors;     /* of embeddings */
    struct slv_embed_text *texts;
    uint32_t *text_tokens;
    size_t n_texts, n_embedded, dimensions;
    struct serve_fail fail;
    uint64_t n_events; /* of a stream, where they are numbered */
};

/* How an interface writes its replies: each function appends what is to be sent to call->out, as
 * server-sent events where the call streams. */
struct serve_format {
    void (*begin)(struct serve_call *c);                               /* of a stream */
    void (*piece)(struct serve_choice *ch, const struct slv_piece *p); /* of a stream */
    void (*choice_end)(struct serve_choice *ch);                       /* of a stream */
    void (*end)(struct serve_call *c); /* of a stream; or the whole reply */
    void (*error)(struct serve_call *c, const struct serve_fail *f); /* within a stream */
    const struct serve_item_format *items; /* NULL: it tells of pieces as they come */
};
/* Of one that tells an answer as a row of items (items.c). */
struct serve_item_format {
    bool numbered; /* its events */
    bool keeps;    /* the last event of a stream has all items */
    /* Of a stream: an item opens, gets more, closes. */
    void (*open)(struct serve_choice *ch);
    void (*delta)(struct serve_choice *ch, const char *p, size_t n);
    void (*close)(struct serve_choice *ch);
    void (*json)(const struct serve_choice *ch, struct slv_json *j); /* an item that is whole */
    void (*stream_end)(struct serve_call *c);
    void (*whole)(struct serve_call *c, struct slv_json *j); /* the reply, all items done */
};
extern const struct serve_format serve_format_chat, serve_format_completions,
    serve_format_responses, serve_format_messages;

/* --- the server ------------------------------------------------------------------------------- */

struct serve_sched;
struct serve_workers;

struct slv_serve {
    struct slv_serve_opts o;
    struct slv_httpd *httpd;
    struct slv_metrics *metrics;
    struct serve_model *model; /* [o.n_models] */
    pthread_mutex_t models_lock;
    pthread_cond_t models_cond; /* one was asked for, or the end */
    uint64_t models_bytes;
    bool models_stop, models_tried;
    struct serve_call *compiling; /* in the compilers' queue, with a deadline */
    struct slv_err failed; /* why no model could be opened at the start; code 0: it is not so */
    pthread_t loader;
    bool has_loader;
    pthread_t watch;             /* of calls that wait for a model: pending.c */
    pthread_cond_t pending_cond; /* one more waits, or the end */
    bool has_watch, watch_stop;
    pthread_mutex_t auth_lock;
    struct serve_user *users;
    struct serve_sched *sched;
    struct serve_workers *workers, *compilers; /* what is quick; what may take long */
    struct serve_console *console;
    struct serve_mesh *mesh; /* NULL: none */
    atomic_bool stopping, reload;
    uint64_t tls_told;   /* ns, when a handshake that failed was last logged: the loop's thread */
    uint64_t tls_untold; /* others since then */
    atomic_bool ending;  /* what is being answered is cut short */
    atomic_bool audit_failed;
    uint64_t started; /* ns */
    atomic_uint_fast64_t seq;
};

uint64_t serve_now(void); /* ns, never goes back */

/* workers.c */
int serve_workers_open(unsigned n, struct serve_workers **ret) SLV_MUST_USE;
void serve_workers_close(struct serve_workers *w);
/* job->fn(job->arg) on one of them; it is theirs until then. */
void serve_work(struct serve_workers *w, struct serve_work *job);
/* False: one of them has begun it already. */
bool serve_work_take_back(struct serve_workers *w, struct serve_work *job);

/* models.c */
int serve_models_open(struct slv_serve *s, struct slv_err *err) SLV_MUST_USE;
/* No model is opened any more; who waits for one is refused. */
void serve_models_stop(struct slv_serve *s);
void serve_models_close(struct slv_serve *s);
/* The model of that name, or NULL. */
struct serve_model *serve_models_find(struct slv_serve *s, const char *name);
/* The call needs it: *ret_ready says whether it is there, until serve_model_put; if not, a worker
 * calls serve_call_resume when it is, or cannot be. */
bool serve_model_get(struct serve_model *m, struct serve_call *c, bool *ret_ready,
                     struct serve_fail *f) SLV_MUST_USE;
void serve_model_put(struct serve_model *m);
/* One more user of a model that is there; false: it is not. */
bool serve_model_hold(struct serve_model *m) SLV_MUST_USE;
/* Sets the gauges. */
void serve_models_measure(struct slv_serve *s);
const char *serve_model_state_name(struct serve_model *m);

/* pending.c: calls that wait for a model that is on its way. Under s->models_lock: one more; and
 * all of them go on, with the model if it is there, or as `refuse` says. */
void serve_pending_add(struct serve_model *m, struct serve_call *c);
void serve_pending_wake(struct serve_model *m,
                        bool (*refuse)(const struct serve_model *m, struct serve_fail *f));
void serve_pending_init(struct slv_serve *s);
/* The server is stopping: all that wait are refused. */
void serve_pending_refuse(struct slv_serve *s);
/* The thread that looks after their deadlines. */
int serve_pending_start(struct slv_serve *s) SLV_MUST_USE;
void serve_pending_stop(struct slv_serve *s);
/* fn on a compiler, unless the call's time is over before; and its beginning. */
void serve_pending_compile(struct serve_call *c, void (*fn)(void *call));
void serve_pending_begun(struct serve_call *c);

/* machine.c: sets the gauges of the machine and the process. */
void serve_machine_measure(struct slv_serve *s);

/* auth.c */
int serve_auth_open(struct slv_serve *s, struct slv_err *err) SLV_MUST_USE;
void serve_auth_close(struct slv_serve *s);
/* Who asks, with call->key and ->user; charges one request. Of a key that may not ask now, *ret_key
 * is set all the same. */
bool serve_auth(struct slv_serve *s, struct slv_exchange *x, const struct slv_apikey **ret_key,
                struct serve_user **ret_user, struct serve_fail *f) SLV_MUST_USE;
/* Takes tokens off the key's minute; whether there were so many. */
bool serve_auth_tokens(struct serve_call *c, uint64_t n, bool must, struct serve_fail *f);
/* Whether the request may come from where it says it comes from: Host and Origin. */
bool serve_auth_origin(struct slv_serve *s, struct slv_exchange *x,
                       struct serve_fail *f) SLV_MUST_USE;

/* sched.c */
int serve_sched_open(struct slv_serve *s, struct serve_sched **ret,
                     struct slv_err *err) SLV_MUST_USE;
/* Ends what it has, and takes no more; then nobody computes. NULL is taken, by both. */
void serve_sched_stop(struct serve_sched *q);
/* The same without waiting for it. */
void serve_sched_end(struct serve_sched *q);
void serve_sched_close(struct serve_sched *q);
/* Takes the call over; refused where too many wait. */
bool serve_sched_submit(struct serve_sched *q, struct serve_call *c,
                        struct serve_fail *f) SLV_MUST_USE;
/* Its client has left. From the loop's thread. */
void serve_sched_gone(struct serve_sched *q, struct serve_call *c);
struct serve_load {
    uint32_t waiting, active;
};
void serve_sched_load(struct serve_sched *q, struct serve_load *ret);
/* An answer that is made, or waits; never what is in it. */
struct serve_session {
    char id[SERVE_ID];
    char key[SLV_APIKEY_NAME_MAX + 1]; /* its name; "" without keys */
    const char *model;
    uint32_t index; /* among the answers of its request */
    bool is_active;
    uint64_t n_prompt, n_tokens;
    uint64_t t0, t_start; /* ns: the request's arrival, and its place in a batch or 0 */
};
/* At most max of them, those that are made first. */
size_t serve_sched_list(struct serve_sched *q, struct serve_session *ret, size_t max);

/* call.c */
struct serve_call *serve_call_open(struct slv_serve *s, struct slv_exchange *x, enum serve_api api);
void serve_call_close(void *call);
/* The call ends before anything was computed: the reply is an error. */
void serve_call_refuse(struct serve_call *c, const struct serve_fail *f);
/* It ends with what is in call->out, likewise. */
void serve_call_answer(struct serve_call *c);
/* Its model is there, or c->fail says why not: on a worker. */
void serve_call_resume(void *call);
/* Its time is over before its model is there: on a worker. */
void serve_call_late(void *call);
/* Its body has come: on a worker. */
void serve_call_begin(void *call);
/* The scheduler has ended all choices: a worker ends the reply. */
void serve_call_finish(struct serve_call *c);
/* Begins the stream of a call that wants one, unless it has begun: from then on a client that waits
 * sees that it lives. */
void serve_call_stream(struct serve_call *c);
/* A choice has its `finish`: what a stream says of it. */
void serve_call_choice_end(struct serve_choice *ch);
/* Sends what is in call->out. */
void serve_call_send(struct serve_call *c);
void serve_reply_fail(struct slv_serve *s, struct slv_exchange *x, enum serve_api api,
                      const struct serve_fail *f);

/* ask.c */
bool serve_ask_read(struct serve_call *c, struct serve_fail *f) SLV_MUST_USE;
/* prompt.c: the prompt's tokens, once the model is there. */
bool serve_prompt_make(struct serve_call *c, struct serve_fail *f) SLV_MUST_USE;
bool serve_prompt_render(struct serve_call *c, struct slv_buf *out,
                         struct serve_fail *f) SLV_MUST_USE;

/* adapters.c: those that the call asks for, its own until serve_adapters_put. */
bool serve_adapters_get(struct serve_call *c, struct serve_fail *f) SLV_MUST_USE;
void serve_adapters_put(struct serve_call *c);
void serve_adapters_close(struct serve_model *m);
/* GET, POST and DELETE of /v1/adapters. */
void serve_adapters_errand(struct slv_serve *s, struct slv_exchange *x,
                           const struct slv_apikey *key, struct serve_fail *f);
/* It has one more adapter, or one less. */
void serve_model_pin(struct serve_model *m, bool on);
/* Memory for something of a model's, within the budget; freed when it is unloaded. */
bool serve_model_take(struct serve_model *m, uint64_t bytes);
void serve_model_give(struct serve_model *m, uint64_t bytes);

/* tokens.c: the reply to a request that wants no answer of the model's, into call->out. */
bool serve_tokens_make(struct serve_call *c, struct serve_fail *f) SLV_MUST_USE;

/* constraint.c: what answers are held to, compiled once for all that ask for it. */

/* Bytes of all of a model's, of which a single one takes all at most: a sixteenth of the memory,
 * 8 to 64 MiB. While one is compiled it may take twice as much more, with its text as a tree; of
 * large texts only one at a time is. */
size_t serve_constraint_most(const struct slv_serve *s);
bool serve_constraint_get(struct serve_call *c, const char *param, bool grammar, const char *text,
                          size_t n, struct serve_fail *f) SLV_MUST_USE;
/* Whether a schema alone can be honoured. If not, the refusal begins with `what` and has keyword
 * and pointer. Compiles it anew each time. */
bool serve_constraint_check(struct serve_call *c, const char *param, const char *what,
                            const char *schema, size_t n, struct serve_fail *f) SLV_MUST_USE;
void serve_constraint_put(struct serve_call *c);
void serve_constraints_close(struct serve_model *m);

/* embed.c */
bool serve_embed_make(struct serve_call *c, struct serve_fail *f) SLV_MUST_USE;
bool serve_embed_step(struct serve_call *c, struct serve_fail *f) SLV_MUST_USE;
void serve_embed_write(struct serve_call *c);

/* items.c: functions of a serve_format that has `items`. */
void serve_items_piece(struct serve_choice *ch, const struct slv_piece *p);
void serve_items_choice_end(struct serve_choice *ch);
void serve_items_end(struct serve_call *c);
void serve_items_fini(struct serve_item *it);
/* A named event: its object is open in *j, and has its type, and number, until _end. */
void serve_event(struct serve_call *c, struct slv_json *j, const char *type);
void serve_event_end(struct serve_call *c, struct slv_json *j);

/* console.c: the page, and what only an admin may see. */
int serve_console_open(struct slv_serve *s, struct slv_err *err) SLV_MUST_USE;
void serve_console_close(struct slv_serve *s);
/* /console and the files below it. */
void serve_console(struct slv_serve *s, struct slv_exchange *x);
/* GET of /v1/admin/... */
void serve_admin_errand(struct slv_serve *s, struct slv_exchange *x, const struct slv_apikey *key,
                        struct serve_fail *f);

/* Whether who asks may see what only an admin may: its key says so, or, without keys, it is of this
 * machine. */
bool serve_may_administer(const struct slv_serve *s, const struct slv_exchange *x,
                          const struct slv_apikey *key, struct serve_fail *f) SLV_MUST_USE;

/* mesh.c: all of it on the loop's thread. */
int serve_mesh_open(struct slv_serve *s, struct slv_err *err) SLV_MUST_USE;
/* When no exchange is answered any more. */
void serve_mesh_close(struct slv_serve *s);
/* What is below /mesh. */
void serve_mesh(struct slv_serve *s, struct slv_exchange *x);
/* The server is stopping: streams end. */
void serve_mesh_stop(struct slv_serve *s);
/* Watchers there are. */
uint32_t serve_mesh_watches(const struct slv_serve *s);

/* api.c */
/* What stands in a path behind `root` and a slash, decoded: what a client may name. */
bool serve_path_name(const struct slv_exchange *x, const char *root,
                     char ret[SLV_HEAD_TARGET_MAX + 1], struct serve_fail *f) SLV_MUST_USE;
void serve_handle(struct slv_exchange *x, void *server);
void serve_json_reply(struct slv_exchange *x, int status, struct slv_buf *body);

#endif
