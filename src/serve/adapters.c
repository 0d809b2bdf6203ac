/* adapters.c: adapters of models, loaded and unloaded while they are in use.
 *
 *     GET    /v1/adapters                 those that are loaded
 *     POST   /v1/adapters                 {"name": "math", "model": .., "scale": 1,
 *                                         "default": false}: loads math.gguf of the
 *                                         server's folder, or changes one that is loaded
 *     DELETE /v1/adapters/math
 *
 * Loading and unloading are for keys that may administer. A request names its adapters
 * ("adapters": ["math", {"name": "tone", "scale": 0.5}]); one that says nothing gets those that are
 * loaded as default. An adapter that is unloaded stays until nobody uses it any more, so nothing
 * fails and nobody waits. A model with adapters is not unloaded. */
#include "base/json_parse.h"
#include "base/mem.h"
#include "serve/serve_int.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_name(const char *s) {
    size_t n = strlen(s);
    return n && n <= SERVE_ADAPTER_NAME && s[0] != '.' &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == n;
}

/* The lock is held. */
static struct serve_adapter *find(struct serve_model *m, const char *name) {
    for (struct serve_adapter *a = m->adapters; a; a = a->next)
        if (!a->gone && !strcmp(a->name, name)) return a;
    return NULL;
}

/* Those that are unloaded and that nobody uses. The lock is held. */
static void sweep(struct serve_model *m) {
    for (struct serve_adapter **at = &m->adapters; *at;) {
        struct serve_adapter *a = *at;
        if (!a->gone || a->users) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        slv_adapter_close(a->a);
        serve_model_give(m, a->info.bytes);
        serve_model_pin(m, false);
        slv_mem_free(a);
    }
}

void serve_adapters_close(struct serve_model *m) {
    while (m->adapters) {
        struct serve_adapter *a = m->adapters;
        m->adapters = a->next;
        slv_adapter_close(a->a);
        slv_mem_free(a);
    }
}

/* --- a request's ------------------------------------------------------------------------------ */

/* The lock is held. */
static bool use(struct serve_call *c, struct serve_adapter *a, float scale, struct serve_fail *f) {
    if (c->n_adapters == SLV_ADAPTERS_MAX)
        return serve_refuse(f, 400, "adapters", NULL, "adapters: at most %u", SLV_ADAPTERS_MAX);
    if (c->key && !slv_apikey_names_allow(&c->key->adapters, a->name))
        return serve_refuse(f, 403, "adapters", "adapter_not_allowed",
                            "this key may not use the adapter \"%s\"", a->name);
    a->users++;
    c->adapter[c->n_adapters] = a;
    c->use[c->n_adapters++] = (struct slv_adapter_use){.adapter = a->a, .scale = scale};
    return true;
}

static bool use_named(struct serve_call *c, const json_t *v, struct serve_fail *f) {
    const char *name = json_string_value(json_is_object(v) ? json_object_get(v, "name") : v);
    const json_t *scale = json_object_get(v, "scale");
    struct serve_adapter *a = name ? find(c->model, name) : NULL;
    double x = json_is_number(scale) ? json_number_value(scale) : a ? (double)a->scale : 0.0;
    if (!name || (scale && !json_is_number(scale)))
        return serve_refuse(f, 400, "adapters", NULL,
                            "adapters: names, or objects with name and scale, are wanted");
    if (!a)
        return serve_refuse(f, 404, "adapters", "adapter_not_found",
                            "there is no adapter \"%.100s\" of %s", name, c->model->name);
    if (!(fabs(x) <= 1000.0))
        return serve_refuse(f, 400, "adapters", NULL, "adapters: scale: -1000 to 1000 is wanted");
    return use(c, a, (float)x, f);
}

bool serve_adapters_get(struct serve_call *c, struct serve_fail *f) {
    struct serve_model *m = c->model;
    const json_t *list = c->ask.adapters;
    bool ok = true;
    size_t i;
    json_t *v;
    if (list && !json_is_array(list))
        return serve_refuse(f, 400, "adapters", NULL, "adapters: a list is wanted");
    pthread_mutex_lock(&m->adapters_lock);
    json_array_foreach(list, i, v) {
        ok = use_named(c, v, f);
        if (!ok) break;
    }
    for (struct serve_adapter *a = list ? NULL : m->adapters; ok && a; a = a->next)
        if (a->standing && !a->gone) ok = use(c, a, a->scale, f);
    pthread_mutex_unlock(&m->adapters_lock);
    return ok;
}

void serve_adapters_put(struct serve_call *c) {
    struct serve_model *m = c->model;
    if (!c->n_adapters) return;
    pthread_mutex_lock(&m->adapters_lock);
    for (uint32_t i = 0; i < c->n_adapters; i++)
        c->adapter[i]->users--;
    sweep(m);
    pthread_mutex_unlock(&m->adapters_lock);
    c->n_adapters = 0;
}

/* --- loading ---------------------------------------------------------------------------------- */

/* What is asked of an adapter. */
struct wish {
    const char *name;
    struct serve_model *m;
    float scale;
    bool has_scale, standing, has_standing;
};

static bool is_inside(const char *path, const char *folder) {
    const size_t n = strlen(folder);
    return !strncmp(path, folder, n) && (n == 1 || path[n] == '/');
}

/* Where an adapter's file is. What a link in the folder leads to outside of it is no adapter: who
 * may write there need not be one who may read all that the server may. */
static bool find_file(const struct slv_serve *s, const char *name, char ret[PATH_MAX],
                      struct serve_fail *f) {
    char path[PATH_MAX], folder[PATH_MAX];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/%s.gguf", s->o.adapters, name);
    bool known = n > 0 && (size_t)n < sizeof path && realpath(s->o.adapters, folder) &&
                 realpath(path, ret) && !stat(ret, &st);
    if (!known || !is_inside(ret, folder))
        return serve_refuse(f, 404, "name", "adapter_not_found",
                            "there is no file %s.gguf in the server's folder of adapters", name);
    if (!S_ISREG(st.st_mode)) return serve_refuse(f, 400, "name", NULL, "%s: is not a file", name);
    return !access(ret, R_OK) ||
           serve_refuse(f, 400, "name", NULL, "%s: the server may not read its file", name);
}

static struct slv_adapter *open_file(struct slv_serve *s, const struct wish *w,
                                     struct serve_fail *f) {
    struct slv_adapter *a = NULL;
    struct slv_err err = {0};
    char path[PATH_MAX];
    if (!s->o.adapters) {
        serve_refuse(f, 403, "name", NULL, "the server has no folder of adapters: --adapters");
        return NULL;
    }
    if (!find_file(s, w->name, path, f)) return NULL;
    if (slv_adapter_open(w->m->m, path, &a, &err)) {
        /* whoever asks knows the name, and need not know the folder */
        const size_t n = strlen(path);
        const char *why = err.msg;
        if (!strncmp(why, path, n)) why += n + strspn(why + n, ": ");
        memmove(err.msg, why, strlen(why) + 1);
        slv_err_prefix(&err, err.code, "%s", w->name);
        serve_refuse_err(f, 0, "name", &err);
    }
    return a;
}

static bool load(struct slv_serve *s, const struct wish *w, struct serve_fail *f) {
    struct slv_adapter *file = open_file(s, w, f);
    struct serve_adapter *a = file ? slv_mem_calloc(1, sizeof *a) : NULL;
    struct slv_adapter_info info = {0};
    if (file) slv_adapter_info(file, &info);
    if (file && (!a || !serve_model_take(w->m, info.bytes))) {
        slv_adapter_close(file);
        slv_mem_free(a);
        return serve_refuse(f, 503, "name", "out_of_memory", "no memory for the adapter");
    }
    if (!file) return false;
    *a = (struct serve_adapter){
        .a = file, .info = info, .scale = w->has_scale ? w->scale : 1.0f, .standing = w->standing};
    snprintf(a->name, sizeof a->name, "%s", w->name);
    serve_model_pin(w->m, true);
    pthread_mutex_lock(&w->m->adapters_lock);
    struct serve_adapter *other =
        find(w->m, w->name); /* somebody was quicker: the last one counts */
    if (other) other->gone = true;
    a->next = w->m->adapters;
    w->m->adapters = a;
    sweep(w->m);
    pthread_mutex_unlock(&w->m->adapters_lock);
    return true;
}

/* Changes one that is there. False: it is not. */
static bool change(const struct wish *w) {
    pthread_mutex_lock(&w->m->adapters_lock);
    struct serve_adapter *a = find(w->m, w->name);
    if (a && w->has_scale) a->scale = w->scale;
    if (a && w->has_standing) a->standing = w->standing;
    pthread_mutex_unlock(&w->m->adapters_lock);
    return a != NULL;
}

/* --- requests --------------------------------------------------------------------------------- */

static void adapter_json(const struct serve_model *m, const struct serve_adapter *a,
                         struct slv_json *j) {
    slv_json_object(j, NULL);
    slv_json_str(j, "name", a->name);
    slv_json_str(j, "object", "adapter");
    slv_json_str(j, "model", m->name);
    slv_json_float(j, "scale", a->scale);
    slv_json_bool(j, "default", a->standing);
    slv_json_uint(j, "rank", a->info.rank);
    slv_json_uint(j, "bytes", a->info.bytes);
    slv_json_uint(j, "users", a->users);
    slv_json_object_end(j);
}

static void list_all(struct slv_serve *s, struct slv_exchange *x, const struct slv_apikey *key) {
    struct slv_buf b;
    struct slv_json j;
    slv_buf_init(&b, (size_t)4 << 20);
    slv_json_init(&j, &b);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "object", "list");
    slv_json_array(&j, "data");
    for (size_t i = 0; i < s->o.n_models; i++) {
        struct serve_model *m = &s->model[i];
        pthread_mutex_lock(&m->adapters_lock);
        for (const struct serve_adapter *a = m->adapters; a; a = a->next)
            if (!a->gone && (!key || slv_apikey_names_allow(&key->adapters, a->name)))
                adapter_json(m, a, &j);
        pthread_mutex_unlock(&m->adapters_lock);
    }
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    serve_json_reply(x, 200, &b);
}

/* The model must be there already, and stays as long as it has adapters: a user of it. */
static bool find_model(struct slv_serve *s, const char *name, struct wish *w,
                       struct serve_fail *f) {
    w->m = serve_models_find(s, name);
    if (!w->m)
        return serve_refuse(f, 404, "model", "model_not_found", "there is no model \"%.100s\"",
                            name);
    if (!serve_model_hold(w->m))
        return serve_refuse(f, 409, "model", "model_not_loaded", "%s is not loaded", w->m->name);
    return true;
}

static bool read_wish(const json_t *doc, struct wish *w, const char **ret_model,
                      struct serve_fail *f) {
    const char *key;
    json_t *v;
    if (!json_is_object(doc)) return serve_refuse(f, 400, NULL, NULL, "body: an object is wanted");
    json_object_foreach((json_t *)(uintptr_t)doc, key, v) {
        bool ok = false;
        if (!strcmp(key, "name")) ok = (w->name = json_string_value(v)) && is_name(w->name);
        else if (!strcmp(key, "model")) ok = (*ret_model = json_string_value(v)) != NULL;
        else if (!strcmp(key, "scale")) {
            w->scale = (float)json_number_value(v);
            w->has_scale = ok = json_is_number(v) && fabsf(w->scale) <= 1000.0f;
        } else if (!strcmp(key, "default")) {
            w->standing = json_is_true(v);
            w->has_standing = ok = json_is_boolean(v);
        } else {
            return serve_refuse(f, 400, key, "unknown_field", "\"%.60s\" is not known here", key);
        }
        if (!ok) return serve_refuse(f, 400, key, NULL, "%s: not a value it can have", key);
    }
    return w->name || serve_refuse(f, 400, "name", "missing_field", "name is missing");
}

static bool post(struct slv_serve *s, struct slv_exchange *x, struct serve_fail *f) {
    struct slv_str body = slv_exchange_body(x);
    struct slv_err err = {0};
    struct wish w = {0};
    const char *model = NULL;
    json_t *doc = NULL;
    if (slv_json_parse(body.p, body.n, "body", &doc, &err))
        return serve_refuse_err(f, 0, NULL, &err);
    bool ok = read_wish(doc, &w, &model, f) && find_model(s, model, &w, f);
    if (ok) {
        ok = change(&w) || load(s, &w, f);
        serve_model_put(w.m);
    }
    json_decref(doc);
    return ok;
}

static bool delete (struct slv_serve *s, struct slv_exchange *x, struct serve_fail *f) {
    char name[SLV_HEAD_TARGET_MAX + 1];
    bool found = false;
    if (!serve_path_name(x, "/v1/adapters", name, f)) return false;
    for (size_t i = 0; i < s->o.n_models; i++) {
        struct serve_model *m = &s->model[i];
        pthread_mutex_lock(&m->adapters_lock);
        struct serve_adapter *a = find(m, name);
        if (a) a->gone = found = true;
        sweep(m);
        pthread_mutex_unlock(&m->adapters_lock);
    }
    return found || serve_refuse(f, 404, "name", "adapter_not_found",
                                 "there is no adapter \"%.100s\"", name);
}

void serve_adapters_errand(struct slv_serve *s, struct slv_exchange *x,
                           const struct slv_apikey *key, struct serve_fail *f) {
    const enum slv_method method = slv_exchange_head(x)->method;
    bool change = method == SLV_METHOD_POST || method == SLV_METHOD_DELETE;
    if (change && key && !key->admin) {
        serve_refuse(f, 403, NULL, "not_admin", "only a key that may administer loads adapters");
        return;
    }
    bool ok = !change || (method == SLV_METHOD_POST ? post(s, x, f) : delete (s, x, f));
    if (ok) list_all(s, x, key);
}
