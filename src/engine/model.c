/* model.c: opening a model: file, numbers, tensors, tokenizer, plan. See selvage.h. */
#include "engine/model.h"
#include "base/mem.h"
#include "base/thread.h"
#include "base/utf8.h"
#include "engine/batch.h"
#include "engine/kv.h"
#include "engine/packkept.h"
#include "engine/prefix.h"
#include "engine/sampler.h"
#include "engine/step.h"
#include "format/hf.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TEXTS_MAX ((size_t)8 << 20)
#define PROGRAM_BYTES ((uint64_t)16 << 20) /* code, libraries, stacks */

/* A NUL-terminated copy of a key's string, "" where the file has none. */
static int copy_text(struct slv_model *m, const char *key, const char **ret, struct slv_err *err) {
    struct slv_str s = {"", 0};
    slv_gguf_str(m->gguf, key, &s);
    if (s.n > TEXTS_MAX / 4)
        return slv_err_set(err, SLV_E_LIMIT, "key '%s': %zu bytes of text", key, s.n);
    *ret = slv_arena_strndup(&m->texts, s.p, s.n);
    return *ret ? 0 : slv_err_set(err, SLV_E_NOMEM, "out of memory");
}

static int read_texts(struct slv_model *m, struct slv_err *err) {
    slv_arena_init(&m->texts, TEXTS_MAX);
    int rc = copy_text(m, "general.architecture", &m->arch, err);
    if (!rc) rc = copy_text(m, "general.name", &m->name, err);
    if (!rc) rc = copy_text(m, "general.license", &m->license, err);
    if (!rc) rc = copy_text(m, "tokenizer.chat_template", &m->template_text, err);
    return rc;
}

static void count_params(struct slv_model *m) {
    for (size_t i = 0; i < slv_gguf_n_tensors(m->gguf); i++) {
        const struct slv_gguf_tensor *t = slv_gguf_tensor_at(m->gguf, i);
        m->params += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
    }
}

static int choose_cpu(struct slv_model *m, const char *cap, struct slv_err *err) {
    enum slv_cpu_level level;
    if (!cap) cap = getenv("SLV_CPU");
    if (cap && !*cap) cap = NULL;
    int rc = slv_cpu_choose(cap, &level, &m->cpu_lowered);
    if (rc) return slv_err_set(err, rc, "SLV_CPU: '%s' is not an instruction-set level", cap);
    slv_kernels_init(&m->kern, level);
    return 0;
}

/* The vocabulary fits the model, and what nothing here reads does not contradict it. */
static int check_vocabulary(const struct slv_model *m, struct slv_err *err) {
    const size_t n = slv_tokenizer_size(m->tokenizer);
    static const char pad[] = "tokenizer.ggml.padding_token_id", scores[] = "tokenizer.ggml.scores";
    struct slv_gguf_array a;
    int64_t id = -1;
    if (n != m->h.n_vocab)
        return slv_err_set(err, SLV_E_FORMAT, "the vocabulary has %zu tokens, the model %u", n,
                           m->h.n_vocab);
    if (slv_gguf_i64(m->gguf, pad, &id) && id >= (int64_t)n)
        return slv_err_set(err, SLV_E_FORMAT, "%s: %lld is not a token", pad, (long long)id);
    if (slv_gguf_arr(m->gguf, scores, &a) && a.n != n)
        return slv_err_set(err, SLV_E_FORMAT, "%s: %zu for %zu tokens", scores, a.n, n);
    return 0;
}

/* A template that cannot be compiled spoils conversations only: it is told when one is wanted. */
static void compile_template(struct slv_model *m) {
    size_t n = strlen(m->template_text);
    if (n && slv_template_compile(m->template_text, n, &m->chat, &m->chat_err)) m->chat = NULL;
}

static uint32_t threads_or_all(uint32_t n) {
    const char *env = getenv("SLV_THREADS");
    if (!n && env) n = (uint32_t)strtoul(env, NULL, 10);
    if (!n) n = (uint32_t)slv_team_cpus();
    return n > SLV_TEAM_MAX ? SLV_TEAM_MAX : n;
}

static int load_words(struct slv_model *m, struct slv_err *err) {
    int rc = slv_tokenizer_open(m->gguf, &m->tokenizer, err);
    if (!rc) rc = check_vocabulary(m, err);
    if (!rc) rc = read_texts(m, err);
    if (!rc) compile_template(m);
    return rc;
}

/* What a thread of its own sees to while words are read: tables and packed tiles of a source. */
struct reading {
    struct slv_model *m;
    const struct slv_repack_model *rm;
    const struct slv_model_opts *o;
    struct slv_team *team;
    int rc;
    struct slv_err err;
};

static void *read_source(void *arg) {
    struct reading *r = arg;
    struct slv_model *m = r->m;
    r->rc = slv_weights_read(&m->w, r->team, &r->err);
    if (!r->rc) r->rc = slv_repack_open(r->rm, r->team, r->o, &m->cached, &m->repack, &r->err);
    return NULL;
}

/* Words are read by one thread, and take a third of the time. */
static int load_source(struct slv_model *m, const struct slv_repack_model *rm,
                       const struct slv_model_opts *o, struct slv_team *team, struct slv_err *err) {
    struct reading r = {m, rm, o, team, 0, {0}};
    struct slv_err why = {0};
    pthread_t thread;
    bool threaded = slv_team_size(team) > 1 && !slv_thread_start(&thread, read_source, &r);
    if (!threaded) read_source(&r);
    int rc = r.rc && !threaded ? 0 : load_words(m, &why);
    if (threaded) pthread_join(thread, NULL);
    if (r.rc) return slv_err_set(err, r.rc, "%s", r.err.msg);
    return rc ? slv_err_set(err, rc, "%s", why.msg) : 0;
}

/* A packed file comes first, because its tiles are checked while words are read; packing is long,
 * and comes when all the rest is found to be right. */
static int load_tiles_and_words(struct slv_model *m, const struct slv_model_opts *o,
                                struct slv_err *err) {
    const struct slv_repack_model rm = slv_model_repack(m);
    const uint32_t n = threads_or_all(o->threads);
    struct slv_team *team;
    int rc = slv_team_open(n, &team);
    if (rc) return slv_err_set(err, rc, "cannot start %u threads", n);
    if (m->has_source) {
        rc = load_source(m, &rm, o, team, err);
    } else {
        rc = slv_repack_open(&rm, team, o, &m->cached, &m->repack, err);
        if (!rc) rc = load_words(m, err);
    }
    if (!rc && !m->cached) rc = slv_repack_pack(&rm, team, o, m->repack, err);
    slv_team_close(team);
    return rc;
}

static int load(struct slv_model *m, const struct slv_model_opts *o, struct slv_err *err) {
    int rc = choose_cpu(m, o->cpu, err);
    if (!rc) rc = slv_hparams_read(m->gguf, &m->h, err);
    if (!rc) rc = slv_weights_find(m->gguf, &m->h, o->source, &m->w, err);
    if (!rc) rc = o->inspect ? load_words(m, err) : load_tiles_and_words(m, o, err);
    m->w.source = NULL; /* it was lent */
    slv_keptread_close(m->early);
    m->early = NULL;
    if (rc) return rc;
    count_params(m);
    if (slv_plan_init(&m->plan, &m->h, &m->w))
        return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    return 0;
}

static void close_keeper(const struct slv_keeper *k) {
    if (k && k->close) k->close(k->ctx);
}

struct slv_repack_model slv_model_repack(struct slv_model *m) {
    return (struct slv_repack_model){.gguf = m->gguf,
                                     .h = &m->h,
                                     .w = &m->w,
                                     .keeper = m->keeper.open ? &m->keeper : NULL,
                                     .early = m->early};
}

/* Takes `early` over too, which may be NULL. */
static int adopt(struct slv_gguf *g, struct slv_keptread *early, const struct slv_model_opts *opts,
                 struct slv_model **ret, struct slv_err *err) {
    struct slv_model *m = slv_mem_calloc(1, sizeof *m);
    if (!m) {
        slv_gguf_close(g);
        slv_keptread_close(early);
        close_keeper(opts->keeper);
        return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    }
    pthread_mutex_init(&m->share_lock, NULL);
    m->gguf = g;
    m->early = early;
    m->inspect = opts->inspect;
    m->has_source = opts->source;
    if (opts->keeper) m->keeper = *opts->keeper;
    int rc = load(m, opts, err);
    if (rc) slv_model_close(m);
    else *ret = m;
    return rc;
}

int slv_model_adopt(struct slv_gguf *g, const struct slv_model_opts *opts, struct slv_model **ret,
                    struct slv_err *err) {
    return adopt(g, NULL, opts, ret, err);
}

/* Messages say the path. What a source says of its own bytes stays as it is. */
static int index_file(const char *path, const struct slv_blocks *source, struct slv_gguf **ret,
                      struct slv_err *err) {
    struct stat st;
    if (source) {
        int rc = slv_gguf_read(source, ret, err);
        bool own = rc == SLV_E_FORMAT || rc == SLV_E_UNSUPPORTED || rc == SLV_E_LIMIT;
        return own ? slv_err_prefix(err, rc, "%s", path) : rc;
    }
    const bool folder = !stat(path, &st) && S_ISDIR(st.st_mode);
    return (folder ? slv_hf_open : slv_gguf_open)(path, ret, err);
}

int slv_model_open(const char *path, const struct slv_model_opts *opts, struct slv_model **ret,
                   struct slv_err *err) {
    struct slv_model_opts none = {0};
    struct slv_gguf *g;
    if (!opts) opts = &none;
    bool alone = threads_or_all(opts->threads) == 1;
    struct slv_keptread *early = alone ? NULL : slv_repack_early(opts);
    int rc = index_file(path, opts->source, &g, err);
    if (rc) {
        slv_keptread_close(early);
        close_keeper(opts->keeper);
        return rc;
    }
    rc = adopt(g, early, opts, ret, err);
    bool by_file = rc == SLV_E_FORMAT || rc == SLV_E_UNSUPPORTED || rc == SLV_E_LIMIT;
    return by_file ? slv_err_prefix(err, rc, "%s", path) : rc;
}

int slv_model_share(struct slv_model *m,
                    int (*make)(struct slv_model *m, void **ret, struct slv_err *err),
                    void (*close)(void *p), void **ret, struct slv_err *err) {
    int rc = 0;
    pthread_mutex_lock(&m->share_lock);
    if (!m->shared) {
        rc = make(m, &m->shared, err);
        m->close_shared = close;
    }
    *ret = m->shared;
    pthread_mutex_unlock(&m->share_lock);
    return rc;
}

void slv_model_close(struct slv_model *m) {
    if (!m) return;
    if (m->shared) m->close_shared(m->shared);
    pthread_mutex_destroy(&m->share_lock);
    slv_template_free(m->chat);
    slv_plan_fini(&m->plan);
    slv_tokenizer_close(m->tokenizer);
    slv_repack_finish(m->repack);
    slv_weights_fini(&m->w);
    slv_arena_fini(&m->texts);
    slv_gguf_close(m->gguf);
    close_keeper(&m->keeper);
    slv_mem_free(m);
}

void slv_model_info(const struct slv_model *m, struct slv_model_info *ret) {
    const struct slv_hparams *h = &m->h;
    *ret = (struct slv_model_info){
        .arch = m->arch,
        .name = m->name,
        .license = m->license,
        .tokenizer = slv_tokenizer_name(m->tokenizer),
        .chat_template = m->template_text,
        .params = m->params,
        .file_bytes = slv_gguf_file_bytes(m->gguf),
        .n_layer = h->n_layer,
        .n_embd = h->n_embd,
        .n_head = h->n_head,
        .n_head_kv = h->n_head_kv,
        .n_ff = h->n_ff,
        .n_vocab = h->n_vocab,
        .n_ctx = h->n_ctx,
        .window = h->window,
        .adds_bos = slv_tokenizer_adds_bos(m->tokenizer),
        .bos = slv_tokenizer_bos(m->tokenizer),
        .eos = slv_tokenizer_eos(m->tokenizer),
        .encoder = h->family->encoder,
        .pooling = (enum slv_pooling)h->pooling,
        .cpu = slv_cpu_name(m->kern.level),
        .cpu_lowered = m->cpu_lowered,
        .cached = m->cached,
    };
}

bool slv_model_tensor(const struct slv_model *m, size_t i, struct slv_tensor_info *ret) {
    if (i >= slv_gguf_n_tensors(m->gguf)) return false;
    const struct slv_gguf_tensor *t = slv_gguf_tensor_at(m->gguf, i);
    *ret = (struct slv_tensor_info){.name = t->name.p,
                                    .name_n = t->name.n,
                                    .type = t->type->name,
                                    .n_dims = t->n_dims,
                                    .bytes = t->bytes};
    for (uint32_t d = 0; d < t->n_dims; d++)
        ret->shape[d] = t->ne[d];
    return true;
}

bool slv_model_is_long(const struct slv_model *m, uint32_t n_ctx) {
    return m->w.rope_long && n_ctx > m->h.rope.ctx_orig;
}

uint64_t slv_model_content(struct slv_model *m) {
    uint64_t sum = atomic_load_explicit(&m->content, memory_order_relaxed);
    if (sum) return sum;
    sum = m->keeper.open ? m->keeper.id : slv_gguf_sum(m->gguf);
    if (!sum) sum = 1;
    atomic_store_explicit(&m->content, sum, memory_order_relaxed);
    return sum;
}

/* --- memory ----------------------------------------------------------------------------------- */

enum slv_kv_type slv_kv_type_of(enum slv_kv_kind kind) {
    return kind == SLV_KV_KIND_F32 ? SLV_KV_F32 : kind == SLV_KV_KIND_Q8 ? SLV_KV_Q8 : SLV_KV_F16;
}

#define DEFAULT_CTX 4096u
#define DEFAULT_BATCH 256u
#define MAX_BATCH 8192u

#define DRAFT_LOGITS ((size_t)8 << 20) /* bytes that logits of drafts take by default */

/* Drafted tokens in a step where the caller does not say: their logits must stay a small part. */
static uint32_t draft_default(uint32_t n_vocab) {
    size_t rows = DRAFT_LOGITS / (n_vocab * sizeof(float));
    return rows > SLV_DRAFT_DEFAULT ? SLV_DRAFT_DEFAULT : rows < 4 ? 3 : (uint32_t)rows - 1;
}

/* What a batch has settled for its sessions. False: it has another model. */
static bool share(const struct slv_model *m, struct slv_session_opts *o) {
    const struct slv_batch *b = o->batch;
    o->n_batch = b->o.n_batch;
    o->n_logits = b->n_logits;
    o->threads = b->o.threads;
    o->memory = !b->o.memory ? 0 : b->o.memory > b->used ? b->o.memory - b->used : 1;
    if (o->n_draft != SLV_DRAFT_AUTO && o->n_draft > b->n_logits - 1) o->n_draft = b->n_logits - 1;
    return b->m == m;
}

int slv_session_opts_fill(const struct slv_model *m, const struct slv_session_opts *in,
                          struct slv_session_opts *ret, struct slv_err *err) {
    struct slv_session_opts o = in ? *in : (struct slv_session_opts){0};
    if (!o.n_ctx) o.n_ctx = m->h.n_ctx < DEFAULT_CTX ? m->h.n_ctx : DEFAULT_CTX;
    if (o.n_ctx > m->h.n_ctx)
        return slv_err_set(err, SLV_E_USAGE, "context: %u positions, the model has %u", o.n_ctx,
                           m->h.n_ctx);
    if (o.batch && !share(m, &o))
        return slv_err_set(err, SLV_E_USAGE, "the batch is one of another model");
    if (!o.n_batch) o.n_batch = DEFAULT_BATCH;
    if (o.n_batch > o.n_ctx) o.n_batch = o.n_ctx;
    if (o.n_draft == SLV_DRAFT_AUTO) o.n_draft = draft_default(m->h.n_vocab);
    else if (o.n_draft > SLV_DRAFT_MAX)
        return slv_err_set(err, SLV_E_USAGE, "drafts: %u tokens, the limit is %u", o.n_draft,
                           SLV_DRAFT_MAX);
    if (o.n_draft > o.n_batch - 1) o.n_draft = o.n_batch - 1;
    if (o.n_logits < o.n_draft + 1) o.n_logits = o.n_draft + 1;
    if (o.n_logits > o.n_batch) o.n_logits = o.n_batch;
    if (o.n_batch > MAX_BATCH)
        return slv_err_set(err, SLV_E_USAGE, "batch: %u tokens, the limit is %u", o.n_batch,
                           MAX_BATCH);
    if (o.prefix && (o.prefix->m != m || o.prefix->kind != o.kv))
        return slv_err_set(err, SLV_E_USAGE, "the prefix cache is one of another %s",
                           o.prefix->m != m ? "model" : "kind of KV cache");
    if (o.kv > SLV_KV_KIND_Q8) return slv_err_set(err, SLV_E_USAGE, "unknown kind of KV cache");
    o.threads = threads_or_all(o.threads);
    *ret = o;
    return 0;
}

int slv_model_check_generates(const struct slv_model *m, struct slv_err *err) {
    if (!m->h.family->encoder) return 0;
    return slv_err_set(err, SLV_E_USAGE, "'%s' is an encoder: it makes vectors of texts, not text",
                       m->h.family->arch);
}

static uint64_t weight_bytes(const struct slv_model *m) {
    return m->w.tile_bytes + m->w.table_bytes + m->w.arena.used +
           atomic_load_explicit(&m->adapter_bytes, memory_order_relaxed);
}

/* What the process holds beside weights and caches, whatever the number of sessions: a step's
 * buffers first of all. 0 if that overflows. */
static uint64_t around_bytes(const struct slv_model *m, const struct slv_session_opts *o) {
    uint64_t runner = slv_runner_bytes(&m->plan, o->n_batch, o->n_logits);
    if (!runner) return 0;
    return runner + PROGRAM_BYTES + slv_gguf_meta_bytes(m->gguf) +
           slv_tokenizer_bytes(m->tokenizer) + m->texts.used +
           o->n_batch * sizeof(struct slv_step_token);
}

uint64_t slv_model_shared_bytes(const struct slv_model *m, const struct slv_session_opts *o) {
    return weight_bytes(m) + around_bytes(m, o);
}

int slv_model_memory(const struct slv_model *m, const struct slv_session_opts *opts,
                     struct slv_memory *ret, struct slv_err *err) {
    struct slv_session_opts o = {0};
    int rc = slv_session_opts_fill(m, opts, &o, err);
    if (rc) return rc;
    if (m->h.family->encoder) {
        const struct slv_embedder_opts eo = {.pooling = SLV_POOL_MEAN, .n_ctx = o.n_ctx};
        return slv_embedder_memory(m, &eo, ret, err);
    }
    struct slv_memory mem = {.weights = o.batch ? 0 : weight_bytes(m)};
    uint64_t bytes = slv_kv_bytes(&m->h, slv_kv_type_of(o.kv), o.n_ctx, o.n_batch);
    mem.kv = !o.prefix ? bytes : o.batch && o.prefix->n_batch ? 0 : o.prefix->bytes;
    mem.arena = around_bytes(m, &o);
    if (!bytes || !mem.arena) return slv_err_set(err, SLV_E_FIT, "the session is too large");
    if (o.batch) mem.arena = 0;
    mem.arena += slv_sampler_bytes(m->h.n_vocab) + o.n_ctx * sizeof(int32_t);
    mem.arena += slv_kv_table_bytes(o.n_ctx);
    if (o.n_draft) mem.arena += slv_speculator_bytes(o.n_ctx);
    mem.total = mem.weights + mem.kv + mem.arena;
    *ret = mem;
    return 0;
}

/* --- text ------------------------------------------------------------------------------------- */

int slv_model_tokenize(const struct slv_model *m, const char *text, size_t n, bool special,
                       struct slv_tokens *ret) {
    struct slv_ids ids = {0};
    unsigned flags = special ? SLV_TOKENIZE_SPECIAL | SLV_TOKENIZE_ADD | SLV_TOKENIZE_GUARDS : 0;
    int rc = slv_tokenize(m->tokenizer, text, n, flags, &ids);
    if (rc) slv_ids_fini(&ids);
    else *ret = (struct slv_tokens){ids.v, ids.n};
    return rc;
}

void slv_tokens_free(struct slv_tokens *t) {
    if (!t) return;
    slv_mem_free(t->v);
    *t = (struct slv_tokens){0};
}

static int take_text(struct slv_buf *b, int rc, struct slv_text *ret) {
    struct slv_text t = {0};
    if (!rc) t.p = slv_buf_take(b, &t.n);
    if (!rc && !t.p) rc = b->status ? b->status : SLV_E_NOMEM;
    slv_buf_fini(b);
    if (!rc) *ret = t;
    return rc;
}

int slv_model_detokenize(const struct slv_model *m, const int32_t *ids, size_t n, bool special,
                         struct slv_text *ret) {
    struct slv_buf b;
    slv_buf_init(&b, SIZE_MAX / 4);
    return take_text(&b, slv_detokenize(m->tokenizer, ids, n, special, false, &b), ret);
}

int slv_model_token_text(const struct slv_model *m, int32_t id, struct slv_text *ret) {
    struct slv_buf b;
    slv_buf_init(&b, SIZE_MAX / 4);
    return take_text(&b, slv_token_bytes(m->tokenizer, id, true, false, &b), ret);
}

int slv_model_same_vocabulary(const struct slv_model *a, const struct slv_model *b,
                              struct slv_err *err) {
    return slv_same_vocabulary(a->tokenizer, b->tokenizer, err);
}

void slv_text_free(struct slv_text *t) {
    if (!t) return;
    slv_mem_free(t->p);
    *t = (struct slv_text){0};
}
