/* hf.c: see hf.h. Owns the folder: which files it has, its numbers, and its tensors' names. */
#include "format/hf.h"
#include "base/mem.h"
#include "format/gguf_int.h"
#include "format/hf_int.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define META_MAX ((size_t)512 << 20)
#define PATH_MAX_BYTES 65536u

static const char *const file_names[HF_FILES] = {
    [HF_CONFIG] = "config.json",
    [HF_TOKENIZER] = "tokenizer.json",
    [HF_TOKENIZER_CONFIG] = "tokenizer_config.json",
    [HF_SPECIAL_TOKENS] = "special_tokens_map.json",
    [HF_GENERATION] = "generation_config.json",
    [HF_MODULES] = "modules.json",
    [HF_POOLING] = "1_Pooling/config.json",
    [HF_PROMPTS] = "config_sentence_transformers.json",
    [HF_SENTENCE] = "sentence_bert_config.json",
};

/* --- files ------------------------------------------------------------------------------------ */

struct slv_json_val hf_root(const struct hf *f, enum hf_file file) {
    const struct slv_json_doc *d = &f->file[file].doc;
    return d->n ? slv_json_root(d) : (struct slv_json_val){NULL, 0};
}

int hf_fail(const struct hf *f, enum hf_file file, int code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    slv_err_vset(f->err, code, fmt, ap);
    va_end(ap);
    return slv_err_prefix(f->err, code, "%s/%s", f->folder, file_names[file]);
}

int hf_read(const struct hf *f, const char *name, struct slv_buf *text, bool *ret_there) {
    struct slv_buf path;
    slv_buf_init(&path, PATH_MAX_BYTES);
    int rc = slv_buf_addf(&path, "%s/%s", f->folder, name);
    if (rc) slv_err_set(f->err, rc, "%s", slv_strerror(rc));
    else rc = slv_file_read(path.data, text, f->err);
    slv_buf_fini(&path);
    *ret_there = !rc;
    return rc == SLV_E_NOENT ? 0 : rc;
}

static int read_files(struct hf *f) {
    int rc = 0;
    for (size_t i = 0; i < HF_FILES; i++)
        slv_buf_init(&f->file[i].text, SLV_JSON_MAX_TEXT);
    for (size_t i = 0; i < HF_FILES && !rc; i++) {
        bool there = false;
        struct slv_buf *text = &f->file[i].text;
        rc = hf_read(f, file_names[i], text, &there);
        if (rc || !there) continue;
        rc = slv_json_read(text->data, text->len, &f->file[i].doc, f->err);
        if (rc) slv_err_prefix(f->err, rc, "%s/%s", f->folder, file_names[i]);
    }
    if (!rc && !f->file[HF_CONFIG].doc.n)
        rc = slv_err_set(f->err, SLV_E_NOENT, "%s: a folder without config.json", f->folder);
    return rc;
}

static void close_files(struct hf *f) {
    for (size_t i = 0; i < HF_FILES; i++) {
        slv_json_doc_fini(&f->file[i].doc);
        slv_buf_fini(&f->file[i].text);
    }
}

/* --- numbers ---------------------------------------------------------------------------------- */

static const char *full_key(const struct hf *f, const char *key, char out[160]) {
    snprintf(out, 160, "%s.%s", f->family->arch, key);
    return out;
}

static int wrong(const struct hf *f, const char *name, const char *what) {
    return hf_fail(f, HF_CONFIG, SLV_E_FORMAT, "'%s' is not %s", name, what);
}

/* Whether a value is what a table wants: "null" for none, else the same text, number or truth. */
static bool is_value(struct slv_json_val v, const char *want) {
    struct slv_str s;
    double x;
    bool b;
    if (slv_json_get_str(v, &s)) return slv_str_is(s, want);
    if (slv_json_get_bool(v, &b)) return !strcmp(want, b ? "true" : "false");
    if (slv_json_get_f64(v, &x)) return (*want >= '0' && *want <= '9') && x == strtod(want, NULL);
    return false;
}

static int must_be(const struct hf *f, const struct hf_key *k, struct slv_json_val v) {
    if (is_value(v, k->value)) return 0;
    return hf_fail(f, HF_CONFIG, SLV_E_UNSUPPORTED, "'%s' is not %s", k->json, k->value);
}

static int put_u32(struct hf *f, const struct hf_key *k, struct slv_json_val v, const char *key) {
    int64_t x;
    if (!slv_json_get_i64(v, &x) || x < 0 || x > UINT32_MAX)
        return wrong(f, k->json, "a whole number of 32 bits");
    slv_gguf_put_u32(&f->meta, key, (uint32_t)x);
    return 0;
}

static int put_places(struct hf *f, const struct hf_key *k, struct slv_json_val v,
                      const char *key) {
    int64_t all, pad = 1;
    const struct slv_json_val at = slv_json_get(hf_root(f, HF_CONFIG), "pad_token_id");
    if (slv_json_kind(at) == SLV_JSON_NUMBER && !slv_json_get_i64(at, &pad)) pad = -1;
    if (!slv_json_get_i64(v, &all) || all > UINT32_MAX || pad < 0 || pad + 1 >= all)
        return wrong(f, k->json, "a number of positions, more than those before the first token");
    f->places = (uint32_t)pad + 1;
    slv_gguf_put_u32(&f->meta, key, (uint32_t)(all - pad - 1));
    return 0;
}

static int put_f32(struct hf *f, const struct hf_key *k, struct slv_json_val v, const char *key) {
    double x = k->value ? strtod(k->value, NULL) : 0.0;
    if (slv_json_kind(v) != SLV_JSON_NONE && (!slv_json_get_f64(v, &x) || fabs(x) > 1e30))
        return wrong(f, k->json, "a number");
    slv_gguf_put_f32(&f->meta, key, (float)x);
    return 0;
}

static int put_str(struct hf *f, const struct hf_key *k, struct slv_json_val v, const char *key) {
    struct slv_str s = {k->value, k->value ? strlen(k->value) : 0};
    if (slv_json_kind(v) != SLV_JSON_NONE && !slv_json_get_str(v, &s))
        return wrong(f, k->json, "a string");
    slv_gguf_put_str(&f->meta, key, s);
    return 0;
}

static int put_key(struct hf *f, const struct hf_key *k) {
    char key[160];
    struct slv_json_val v = slv_json_get(hf_root(f, HF_CONFIG), k->json);
    bool b;
    if (slv_json_kind(v) == SLV_JSON_NULL) v = (struct slv_json_val){NULL, 0};
    const bool there = slv_json_kind(v) != SLV_JSON_NONE;
    if (!there && (k->kind == HF_MUST || !k->value)) return 0;
    if (k->kind == HF_MUST) return must_be(f, k, v);
    full_key(f, k->key, key);
    switch ((enum hf_kind)k->kind) {
    case HF_U32:
        return put_u32(f, k, v, key);
    case HF_PLACES:
        return put_places(f, k, v, key);
    case HF_F32:
        return put_f32(f, k, v, key);
    case HF_STR:
        return put_str(f, k, v, key);
    case HF_BOOL:
        if (!slv_json_get_bool(v, &b)) return wrong(f, k->json, "true or false");
        slv_gguf_put_bool(&f->meta, key, b);
        return 0;
    case HF_MUST:
        break;
    }
    return 0;
}

/* --- RoPE of decoders ------------------------------------------------------------------------- */

static const struct hf_key rope_keys[] = {
    {"factor", "rope.scaling.factor", HF_F32, NULL},
    {"original_max_position_embeddings", "rope.scaling.original_context_length", HF_U32, NULL},
    {"low_freq_factor", "rope.scaling.low_freq_factor", HF_F32, NULL},
    {"high_freq_factor", "rope.scaling.high_freq_factor", HF_F32, NULL},
    {"beta_fast", "rope.scaling.yarn_beta_fast", HF_F32, NULL},
    {"beta_slow", "rope.scaling.yarn_beta_slow", HF_F32, NULL},
};

/* "rope_scaling", or the "rope_parameters" that newer files have for it and for "rope_theta". */
static int put_rope_scaling(struct hf *f, struct slv_json_val v) {
    static const char *const known[] = {"linear", "yarn", "llama3"};
    struct slv_str type = {"default", 7};
    char key[160];
    if (!slv_json_get_str(slv_json_get(v, "rope_type"), &type))
        slv_json_get_str(slv_json_get(v, "type"), &type);
    if (slv_str_is(type, "default")) return 0;
    size_t i = 0;
    while (i < sizeof known / sizeof known[0] && !slv_str_is(type, known[i]))
        i++;
    if (i == sizeof known / sizeof known[0])
        return hf_fail(f, HF_CONFIG, SLV_E_UNSUPPORTED, "RoPE scaling '%.*s'",
                       type.n > 32 ? 32 : (int)type.n, type.p);
    if (slv_json_kind(slv_json_get(v, "attention_factor")) == SLV_JSON_NUMBER)
        return hf_fail(f, HF_CONFIG, SLV_E_UNSUPPORTED, "'attention_factor' of RoPE scaling");
    slv_gguf_put_str(&f->meta, full_key(f, "rope.scaling.type", key), type);
    int rc = 0;
    for (i = 0; i < sizeof rope_keys / sizeof rope_keys[0] && !rc; i++) {
        const struct hf_key *k = &rope_keys[i];
        struct slv_json_val at = slv_json_get(v, k->json);
        if (slv_json_kind(at) != SLV_JSON_NUMBER) continue;
        full_key(f, k->key, key);
        rc = k->kind == HF_U32 ? put_u32(f, k, at, key) : put_f32(f, k, at, key);
    }
    return rc;
}

static int put_rope(struct hf *f) {
    static const struct hf_key theta = {"rope_theta", "rope.freq_base", HF_F32, NULL};
    char key[160];
    const struct slv_json_val config = hf_root(f, HF_CONFIG);
    struct slv_json_val scaling = slv_json_get(config, "rope_parameters");
    struct slv_json_val base = slv_json_get(scaling, "rope_theta");
    if (slv_json_kind(scaling) != SLV_JSON_OBJECT) scaling = slv_json_get(config, "rope_scaling");
    if (slv_json_kind(base) != SLV_JSON_NUMBER) base = slv_json_get(config, "rope_theta");
    int rc = 0;
    if (slv_json_kind(base) == SLV_JSON_NUMBER)
        rc = put_f32(f, &theta, base, full_key(f, "rope.freq_base", key));
    if (!rc && f->family->halves)
        slv_gguf_put_bool(&f->meta, full_key(f, "rope.halves", key), true);
    return rc ? rc : put_rope_scaling(f, scaling);
}

/* --- pooling ---------------------------------------------------------------------------------- */

/* The numbers are those of GGUF's pooling_type. */
static const struct {
    const char *json;
    uint32_t type; /* 0: not known here */
} poolings[] = {
    {"pooling_mode_mean_tokens", 1},
    {"pooling_mode_cls_token", 2},
    {"pooling_mode_lasttoken", 3},
    {"pooling_mode_max_tokens", 0},
    {"pooling_mode_mean_sqrt_len_tokens", 0},
    {"pooling_mode_weightedmean_tokens", 0},
};

static int put_pooling(struct hf *f) {
    const struct slv_json_val v = hf_root(f, HF_POOLING);
    char key[160];
    uint32_t type = 0;
    for (size_t i = 0; i < sizeof poolings / sizeof poolings[0]; i++) {
        bool on = false;
        if (!slv_json_get_bool(slv_json_get(v, poolings[i].json), &on) || !on) continue;
        if (!poolings[i].type || type)
            return hf_fail(f, HF_POOLING, SLV_E_UNSUPPORTED, "'%s'%s", poolings[i].json,
                           type ? " and another mode together" : "");
        type = poolings[i].type;
    }
    if (type) slv_gguf_put_u32(&f->meta, full_key(f, "pooling_type", key), type);
    return 0;
}

static bool ends_in(struct slv_str s, const char *what) {
    const size_t n = strlen(what);
    return s.n >= n && !memcmp(s.p + s.n - n, what, n);
}

/* What is done to texts before they are cut into tokens: nothing is, here. */
static int check_texts(const struct hf *f) {
    const struct slv_json_val name = slv_json_get(hf_root(f, HF_PROMPTS), "default_prompt_name");
    bool lower = false;
    if (slv_json_kind(name) == SLV_JSON_STRING)
        return hf_fail(f, HF_PROMPTS, SLV_E_UNSUPPORTED, "a 'default_prompt_name'");
    slv_json_get_bool(slv_json_get(hf_root(f, HF_SENTENCE), "do_lower_case"), &lower);
    if (lower) return hf_fail(f, HF_SENTENCE, SLV_E_UNSUPPORTED, "'do_lower_case' is true");
    return 0;
}

/* What comes behind the transformer: pooling and normalizing are done here, nothing else is. */
static int check_modules(const struct hf *f) {
    static const char *const known[] = {".Transformer", ".Pooling", ".Normalize"};
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    while (slv_json_each(hf_root(f, HF_MODULES), &it, NULL, &at)) {
        struct slv_str type = {"", 0};
        size_t i = 0;
        slv_json_get_str(slv_json_get(at, "type"), &type);
        while (i < sizeof known / sizeof known[0] && !ends_in(type, known[i]))
            i++;
        if (i == sizeof known / sizeof known[0])
            return hf_fail(f, HF_MODULES, SLV_E_UNSUPPORTED, "a module '%.*s'",
                           type.n > 96 ? 96 : (int)type.n, type.p);
    }
    return check_texts(f);
}

/* A model that was trained to classify says so in its class's name. */
static void put_rank(struct hf *f) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    struct slv_str name;
    char key[160];
    if (!slv_json_each(slv_json_get(hf_root(f, HF_CONFIG), "architectures"), &it, NULL, &at))
        return;
    if (slv_json_get_str(at, &name) && ends_in(name, "ForSequenceClassification"))
        slv_gguf_put_u32(&f->meta, full_key(f, "pooling_type", key), 4);
}

/* --- metadata --------------------------------------------------------------------------------- */

static int find_family(struct hf *f) {
    struct slv_str type;
    const struct slv_json_val config = hf_root(f, HF_CONFIG);
    if (!slv_json_get_str(slv_json_get(config, "model_type"), &type))
        return hf_fail(f, HF_CONFIG, SLV_E_FORMAT, "'model_type' is missing or not a string");
    f->family = hf_family_get(type);
    if (!f->family)
        return hf_fail(f, HF_CONFIG, SLV_E_UNSUPPORTED, "model type '%.*s'",
                       type.n > 64 ? 64 : (int)type.n, type.p);
    if (slv_json_kind(slv_json_get(config, "quantization_config")) == SLV_JSON_OBJECT)
        return hf_fail(f, HF_CONFIG, SLV_E_UNSUPPORTED, "a 'quantization_config'");
    return 0;
}

/* What the folder is called. */
static struct slv_str last_part(const char *folder) {
    size_t n = strlen(folder), from;
    while (n > 1 && folder[n - 1] == '/')
        n--;
    for (from = n; from > 0 && folder[from - 1] != '/'; from--) {
    }
    return (struct slv_str){folder + from, n - from};
}

/* A template of its own file comes before the one in tokenizer_config.json, which may be a list of
 * named ones. */
static int put_template(struct hf *f) {
    struct slv_json_val v = slv_json_get(hf_root(f, HF_TOKENIZER_CONFIG), "chat_template"), at;
    struct slv_json_iter it = {0};
    struct slv_str s = {"", 0};
    struct slv_buf own;
    bool there = false;
    slv_buf_init(&own, (size_t)2 << 20);
    int rc = hf_read(f, "chat_template.jinja", &own, &there);
    if (there) s = (struct slv_str){own.data, own.len};
    else slv_json_get_str(v, &s);
    while (!there && slv_json_kind(v) == SLV_JSON_ARRAY && slv_json_each(v, &it, NULL, &at)) {
        struct slv_str name = {"", 0};
        slv_json_get_str(slv_json_get(at, "name"), &name);
        if (slv_str_is(name, "default")) slv_json_get_str(slv_json_get(at, "template"), &s);
    }
    if (!rc && s.n) slv_gguf_put_str(&f->meta, "tokenizer.chat_template", s);
    slv_buf_fini(&own);
    return rc;
}

static int put_meta(struct hf *f) {
    const struct slv_json_val config = hf_root(f, HF_CONFIG);
    int64_t n_vocab = 0;
    int rc = find_family(f);
    if (rc) return rc;
    slv_gguf_put_str(&f->meta, "general.architecture",
                     (struct slv_str){f->family->arch, strlen(f->family->arch)});
    slv_gguf_put_str(&f->meta, "general.name", last_part(f->folder));
    for (const struct hf_key *k = f->family->keys; k->json && !rc; k++)
        rc = put_key(f, k);
    if (!rc) rc = put_rope(f);
    if (!rc) rc = check_modules(f);
    if (!rc && f->file[HF_POOLING].doc.n) rc = put_pooling(f);
    else if (!rc) put_rank(f);
    if (!rc) rc = put_template(f);
    slv_json_get_i64(slv_json_get(config, "vocab_size"), &n_vocab);
    if (!rc && (n_vocab < 0 || n_vocab > UINT32_MAX)) rc = wrong(f, "vocab_size", "a count");
    if (!rc) rc = hf_tokenizer(f, (uint32_t)n_vocab);
    if (rc) return rc;
    rc = slv_gguf_meta_end(&f->meta);
    return rc ? slv_err_set(f->err, rc, "%s: metadata: %s", f->folder, slv_strerror(rc)) : 0;
}

/* --- tensors ---------------------------------------------------------------------------------- */

static int open_tensors(const struct hf *f, struct slv_safetensors *s) {
    static const char one[] = "model.safetensors", index[] = "model.safetensors.index.json";
    struct slv_buf path;
    slv_buf_init(&path, PATH_MAX_BYTES);
    int rc = slv_buf_addf(&path, "%s/%s", f->folder, one);
    if (rc) slv_err_set(f->err, rc, "%s", slv_strerror(rc));
    else rc = slv_safetensors_open(s, path.data, f->err);
    slv_buf_clear(&path);
    if (rc != SLV_E_NOENT) {
        slv_buf_fini(&path);
        return rc;
    }
    rc = slv_buf_addf(&path, "%s/%s", f->folder, index);
    const bool there = !rc && !access(path.data, F_OK);
    slv_buf_fini(&path);
    if (rc) return slv_err_set(f->err, rc, "%s", slv_strerror(rc));
    rc = SLV_E_NOENT;
    if (there) return slv_safetensors_open_index(s, f->folder, index, f->err);
    return slv_err_set(f->err, rc, "%s: a folder without %s or %s", f->folder, one, index);
}

static struct slv_str without_prefix(const struct hf_family *family, struct slv_str name) {
    const size_t n = family->prefix ? strlen(family->prefix) : 0;
    if (name.n <= n || memcmp(name.p, family->prefix ? family->prefix : "", n)) return name;
    return (struct slv_str){name.p + n, name.n - n};
}

/* The name of a tensor after a row: NULL: out of memory. */
static char *rename_to(const char *to, struct slv_str layer, struct slv_str rest,
                       struct slv_arena *a) {
    char name[2 * SLV_GGUF_MAX_NAME];
    size_t n = 0;
    for (; *to && n + layer.n + rest.n + 1 < sizeof name; to++) {
        const struct slv_str part = *to == '#'   ? layer
                                    : *to == '*' ? rest
                                                 : (struct slv_str){to, 1};
        memcpy(name + n, part.p, part.n);
        n += part.n;
    }
    return slv_arena_strndup(a, name, n);
}

/* Leaves out the first rows of the table of positions. */
static void cut_places(const struct hf *f, struct slv_gguf_tensor *t) {
    if (!f->places || !slv_str_is(t->name, "position_embd.weight") || t->ne[1] <= f->places) return;
    const uint64_t bytes = t->bytes / t->ne[1] * f->places;
    t->data = (const unsigned char *)t->data + bytes;
    t->offset += bytes;
    t->bytes -= bytes;
    t->ne[1] -= f->places;
}

/* Gives a tensor its name; *ret_keep false: it is passed over. A name that no row knows stays, for
 * weights.c to refuse. */
static int rename_tensor(const struct hf *f, struct slv_gguf_tensor *t, struct slv_arena *a,
                         bool *ret_keep) {
    const struct slv_str name = without_prefix(f->family, t->name);
    struct slv_str layer, rest;
    const struct hf_name *row = f->family->names;
    while (row->from && !hf_match(row->from, name, &layer, &rest))
        row++;
    *ret_keep = !row->from || row->to;
    if (!row->from || !row->to) return 0;
    t->name.p = rename_to(row->to, layer, rest, a);
    if (!t->name.p) return slv_err_set(f->err, SLV_E_NOMEM, "out of memory");
    t->name.n = strlen(t->name.p);
    cut_places(f, t);
    return 0;
}

static int take_tensors(const struct hf *f, struct slv_safetensors *s, struct gguf_made *made) {
    size_t n = 0;
    int rc = 0;
    for (size_t i = 0; i < s->n && !rc; i++) {
        bool keep = true;
        rc = rename_tensor(f, &s->v[i], &s->names, &keep);
        if (keep) s->v[n++] = s->v[i];
    }
    s->n = n;
    if (rc) return rc;
    *made = (struct gguf_made){
        .parts = s->map, .n_parts = s->n_files, .tensors = {.v = s->v, .n = n}, .names = s->names};
    *s = (struct slv_safetensors){0};
    return 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

int slv_hf_open(const char *folder, struct slv_gguf **ret, struct slv_err *err) {
    struct hf f = {.folder = folder, .err = err};
    struct slv_safetensors s;
    struct gguf_made made = {0};
    slv_safetensors_init(&s);
    slv_gguf_meta_init(&f.meta, META_MAX);
    int rc = read_files(&f);
    if (!rc) rc = put_meta(&f);
    if (!rc) rc = open_tensors(&f, &s);
    if (!rc) rc = take_tensors(&f, &s, &made);
    if (!rc) {
        made.meta = (unsigned char *)slv_buf_take(&f.meta.buf, &made.meta_n);
        if (made.meta) {
            rc = gguf_adopt(&made, ret, err);
            if (rc) slv_err_prefix(err, rc, "%s", folder);
        } else {
            gguf_made_fini(&made);
            rc = slv_err_set(err, SLV_E_NOMEM, "out of memory");
        }
    }
    slv_safetensors_fini(&s);
    slv_gguf_meta_fini(&f.meta);
    close_files(&f);
    return rc;
}
