/* serve.h: the private server: the interface of OpenAI's and Anthropic's clients before the engine.
 *
 *     socket -> net/httpd (loop's thread) -> api.c: route
 *       -> worker thread: key and limits (auth.c), JSON (ask.c), template, tokens (prompt.c)
 *       -> scheduler's thread (sched.c): batch steps, pieces written as they come (reply_*.c)
 *       -> worker thread: audit record, end of the reply
 *
 * Models (models.c) are opened by a thread of their own, on demand, within one budget of memory.
 *
 * What a request gets does not depend on who else is served, nor on what is cached. */
#ifndef SLV_SERVE_SERVE_H
#define SLV_SERVE_SERVE_H

#include "base/err.h"
#include "selvage.h"

struct slv_serve;
struct slv_audit;
struct slv_apikeys;
struct slv_porter;
struct slv_tls;

/* Opens a model by what a user calls it, for the server; as slv_model_open. */
typedef int (*slv_serve_open_fn)(void *ctx, const char *model, const struct slv_model_opts *opts,
                                 struct slv_model **ret, struct slv_err *err);

/* A request that has ended, for traces: times in nanoseconds since 1970, 0: not reached. No text of
 * its prompt or answer. */
struct slv_serve_span {
    char trace[33], span[17], parent[17]; /* hex; parent "" without a traceparent */
    char id[40], model[101], key[17], path[64], finish[24];
    uint32_t status;
    uint64_t begun_ns, started_ns, first_ns, ended_ns;
    uint64_t prompt_tokens, output_tokens, cached_tokens;
};
typedef void (*slv_serve_span_fn)(void *ctx, const struct slv_serve_span *s);

#define SLV_SERVE_MODELS_MAX 256

/* A model that clients may ask for. */
struct slv_serve_model {
    const char *name; /* as they say it */
    const char *path; /* as `open` takes it */
};

/* Zeros are defaults. All pointers are borrowed for the server's life. */
struct slv_serve_opts {
    const struct slv_serve_model *models; /* the first is what an empty name means */
    size_t n_models;
    slv_serve_open_fn open;
    void *open_ctx;
    bool load_all; /* models are opened at once, as far as the memory goes; else on demand */

    struct slv_apikeys *keys; /* NULL: whoever reaches the server may use it */
    struct slv_audit *audit;  /* NULL: none */
    struct slv_tls *tls;      /* NULL: plain HTTP */
    struct slv_porter *mesh;  /* to a node of the mesh, for admins; NULL: none */
    slv_serve_span_fn span;   /* told of each request that has ended, by any thread; may be NULL */
    void *span_ctx;

    uint64_t memory;     /* bytes of all models with their caches; 0: four fifths of what is free */
    uint32_t ctx;        /* most positions of one request; 0: the model's, at most 8192 */
    uint32_t slots;      /* requests of one model at a time; 0: 16 */
    uint32_t threads;    /* that compute; 0: as many as there are cores */
    enum slv_kv_kind kv; /* of all caches */
    uint64_t
        kv_bytes; /* of one model's cache; 0: `slots` requests of ctx positions, or what fits */
    const struct slv_spill *spill; /* for answers that wait for memory; NULL: computed again */
    uint32_t queue_max;            /* requests that wait; 0: 256 */
    uint32_t timeout_ms;           /* of one request, from its arrival; 0: none */
    uint32_t connections_max;      /* 0: 1024 */
    uint64_t body_max;             /* bytes; 0: 32 MiB */
    uint32_t drain_ms;             /* for requests that are being answered at the end; 0: 30 s */
    bool share_prefixes;           /* keys share what their prompts begin with, and with it, to who
                                 measures time, what others have asked */
    const char *adapters; /* a folder of adapters, NAME.gguf, which may be loaded; NULL: none */
    const char *const *origins; /* of web pages that may ask, besides the server's own */
    size_t n_origins;
    const char *const *hosts; /* names it may be called by, besides addresses and localhost; none:
                                 any, where there are keys */
    size_t n_hosts;
};

int slv_serve_open(const struct slv_serve_opts *o, struct slv_serve **ret,
                   struct slv_err *err) SLV_MUST_USE;
void slv_serve_close(struct slv_serve *s);

/* As slv_httpd_listen. */
int slv_serve_listen(struct slv_serve *s, const char *address, uint16_t *ret_port,
                     struct slv_err *err) SLV_MUST_USE;

/* Serves until slv_serve_stop; or until none of the models could be opened that were to be there
 * from the beginning: the first one's error. */
int slv_serve_run(struct slv_serve *s, struct slv_err *err) SLV_MUST_USE;

/* All from any thread or a signal handler. Reload: keys and certificates are read again. */
void slv_serve_stop(struct slv_serve *s);
/* The same, and answers that are being made are cut short now; they say so. */
void slv_serve_hurry(struct slv_serve *s);
void slv_serve_reload(struct slv_serve *s);

#endif
