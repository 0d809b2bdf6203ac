/* mutate_gguf.c: a mutator that knows GGUF, for the fuzz targets that read it. Linked only with
 * libFuzzer.
 *
 * A file that can be parsed is taken apart, one entry or tensor is changed, and the file is put
 * together again with counts, lengths, offsets and sizes that agree: so that what lies behind the
 * parser is reached, by numbers no honest file has. Every eighth time, and where the file cannot be
 * parsed, the bytes are mutated as they are. */
#include "base/buf.h"
#include "format/gguf_int.h"

#include <string.h>

#define ALIGN 32
#define OUT_MAX ((size_t)1 << 20)

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

enum change {
    KV_NUMBER,
    KV_KIND,
    KV_DROP,
    KV_TEXT,
    ARR_ITEM,
    ARR_LENGTH,
    TENSOR_TYPE,
    TENSOR_DIM,
    TENSOR_DROP,
    TENSOR_DATA,
    CHANGES
};

struct job {
    uint64_t rng;
    enum change what;
    size_t at;   /* which entry or tensor */
    size_t item; /* which element */
    struct slv_buf out;
};

static uint64_t next(struct job *j) {
    j->rng = j->rng * 6364136223846793005u + 1442695040888963407u;
    return j->rng >> 33;
}

static void put(struct job *j, const void *p, size_t n) {
    if (slv_buf_add(&j->out, p, n)) return;
}

static void put_u32(struct job *j, uint32_t v) { put(j, &v, sizeof v); }
static void put_u64(struct job *j, uint64_t v) { put(j, &v, sizeof v); }

/* A number that has broken readers before. */
static uint64_t nasty(struct job *j) {
    static const uint64_t n[] = {
        0,          1,          2,         3,          4,          7,          8,
        15,         16,         17,        31,         32,         33,         63,
        64,         65,         127,       128,        255,        256,        257,
        300,        511,        512,       513,        1023,       1024,       4096,
        65535,      65536,      1u << 20,  1u << 24,   0x7fffffff, 0x80000000, 0xffffffff,
        1ull << 32, 1ull << 53, INT64_MAX, 1ull << 63, UINT64_MAX};
    uint64_t r = next(j);
    return r % 8 ? n[r / 8 % (sizeof n / sizeof *n)] : next(j) % 100000;
}

/* Bits of floats: zeros, ones, the ends of the range, not numbers. */
static uint32_t nasty_float(struct job *j) {
    static const uint32_t f[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x3f800001,
                                 0x00000001, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x7f800000,
                                 0xff800000, 0x7fc00000, 0x33d6bf95, 0x358637bd, 0x461c4000,
                                 0x49742400, 0x5368d4a5, 0x40000000, 0x42000000, 0x3a83126f};
    return f[next(j) % (sizeof f / sizeof *f)];
}

static void put_number(struct job *j, unsigned kind) {
    uint64_t v = nasty(j);
    double d;
    float f;
    if (kind == SLV_GGUF_F32) v = nasty_float(j);
    if (kind == SLV_GGUF_BOOL) v &= 1;
    if (kind == SLV_GGUF_F64) {
        uint32_t bits = nasty_float(j);
        memcpy(&f, &bits, sizeof f);
        d = (double)f;
        memcpy(&v, &d, sizeof v);
    }
    put(j, &v, gguf_kind_size(kind));
}

/* A string with its length; mutated if `hit`. */
static void put_text(struct job *j, const void *p, size_t n, bool hit) {
    uint8_t t[4096];
    if (!hit || n > sizeof t / 2) {
        put_u64(j, n);
        put(j, p, n);
        return;
    }
    memcpy(t, p, n);
    n = next(j) % 8 ? LLVMFuzzerMutate(t, n, n < 24 ? 48 : sizeof t) : 0;
    put_u64(j, n);
    put(j, t, n);
}

static void put_array(struct job *j, const struct gguf_kv *kv, bool hit) {
    size_t size = gguf_kind_size(kv->elem), n = (size_t)kv->n;
    if (hit && j->what == ARR_LENGTH) {
        n = next(j) % 4 ? next(j) % (n + 1) : n + next(j) % 4;
        if (next(j) % 2) n = kv->n ? (size_t)kv->n - 1 + next(j) % 3 : n;
    }
    put_u32(j, SLV_GGUF_ARRAY);
    put_u32(j, kv->elem);
    put_u64(j, n);
    for (size_t i = 0; i < n; i++) {
        size_t from = i < kv->n ? i : 0; /* more than there are: the first again */
        bool here = hit && j->what == ARR_ITEM && i == j->item;
        if (!kv->n) put_u64(j, 0);
        else if (kv->strings)
            put_text(j, kv->value + kv->strings[from] + 8,
                     (size_t)gguf_load_u64(kv->value + kv->strings[from]), here);
        else if (here) put_number(j, kv->elem);
        else put(j, kv->value + from * size, size);
    }
}

static void put_kv(struct job *j, const struct gguf_kv *kv, bool hit) {
    unsigned kind = kv->kind;
    put_u64(j, kv->key.n);
    put(j, kv->key.p, kv->key.n);
    if (kind == SLV_GGUF_ARRAY) {
        put_array(j, kv, hit);
        return;
    }
    if (hit && j->what == KV_KIND) kind = next(j) % 13;
    if (kind == SLV_GGUF_ARRAY) { /* an array of this number */
        put_u32(j, SLV_GGUF_ARRAY);
        put_u32(j, SLV_GGUF_U32);
        put_u64(j, 2);
        put_number(j, SLV_GGUF_U32);
        put_number(j, SLV_GGUF_U32);
        return;
    }
    put_u32(j, kind);
    if (kind != kv->kind && kind == SLV_GGUF_STR) put_text(j, "32", 2, true);
    else if (kind == SLV_GGUF_STR) put_text(j, kv->value, (size_t)kv->n, hit);
    else if (hit) put_number(j, kind);
    else put(j, kv->value, gguf_kind_size(kind));
}

/* Bytes of a tensor, or more than OUT_MAX. */
static size_t bytes_of(const struct slv_gguf_tensor *t) {
    uint64_t n = (t->ne[0] + t->type->block - 1) / t->type->block * t->type->bytes;
    for (unsigned i = 1; i < 4 && n <= OUT_MAX; i++)
        n = t->ne[i] > OUT_MAX ? OUT_MAX + 1 : n * t->ne[i];
    return n > OUT_MAX ? OUT_MAX + 1 : (size_t)n;
}

static void change_tensor(struct job *j, struct slv_gguf_tensor *t) {
    if (j->what == TENSOR_TYPE) {
        const struct slv_dtype *d = slv_dtype_get((uint32_t)(next(j) % 45));
        if (d) t->type = d;
    } else if (j->what == TENSOR_DIM) {
        uint64_t v = nasty(j);
        if (next(j) % 2) t->n_dims = 1 + (uint32_t)(next(j) % 4);
        t->ne[next(j) % t->n_dims] = v ? v % 4096 + (v % 4096 == 0) : 1;
    }
}

static void put_tensors(struct job *j, struct gguf_tensors *ts) {
    size_t at = 0, n = ts->n;
    for (size_t i = 0; i < n; i++) {
        struct slv_gguf_tensor *t = &ts->v[i];
        if (i == j->at) change_tensor(j, t);
        if (i == j->at && j->what == TENSOR_DROP) continue;
        put_u64(j, t->name.n);
        put(j, t->name.p, t->name.n);
        put_u32(j, t->n_dims);
        put(j, t->ne, t->n_dims * sizeof *t->ne);
        put_u32(j, t->type->id);
        put_u64(j, at);
        at += (bytes_of(t) + ALIGN - 1) / ALIGN * ALIGN;
    }
    static const char zeros[ALIGN];
    put(j, zeros, (ALIGN - j->out.len % ALIGN) % ALIGN);
    for (size_t i = 0; i < n && !j->out.status; i++) {
        const struct slv_gguf_tensor *t = &ts->v[i];
        if (i == j->at && j->what == TENSOR_DROP) continue;
        size_t from = j->out.len, want = (bytes_of(t) + ALIGN - 1) / ALIGN * ALIGN;
        if (want > OUT_MAX) break;
        put(j, t->data, want < t->bytes ? want : (size_t)t->bytes);
        while (!j->out.status && j->out.len < from + want)
            put(j, zeros, want - (j->out.len - from) < ALIGN ? want - (j->out.len - from) : ALIGN);
        if (i == j->at && j->what == TENSOR_DATA && !j->out.status)
            for (unsigned k = 0; k < 4; k++) {
                uint32_t v = nasty_float(j);
                memcpy(j->out.data + from + next(j) % (want / 4) * 4, &v, 4);
            }
    }
}

static void rebuild(struct job *j, const struct gguf_kvs *kvs, struct gguf_tensors *ts) {
    bool drop_kv = j->what == KV_DROP, drop_t = j->what == TENSOR_DROP;
    put(j, "GGUF\3\0\0", 8);
    put_u64(j, ts->n - (drop_t && ts->n ? 1 : 0));
    put_u64(j, kvs->n - (drop_kv && kvs->n ? 1 : 0));
    for (size_t i = 0; i < kvs->n; i++)
        if (!(drop_kv && i == j->at)) put_kv(j, &kvs->v[i], i == j->at && j->what < TENSOR_TYPE);
    put_tensors(j, ts);
}

static bool structured(struct job *j, const uint8_t *data, size_t size) {
    struct gguf_kvs kvs = {0};
    struct gguf_tensors ts = {0};
    uint32_t version;
    bool ok = !gguf_parse_part(data, size, NULL, &version, &kvs, &ts, NULL) && kvs.n && ts.n;
    j->what = (enum change)(next(j) % CHANGES);
    if (ok) {
        j->at = next(j) % (j->what < TENSOR_TYPE ? kvs.n : ts.n);
        if (j->what < TENSOR_TYPE && kvs.v[j->at].kind == SLV_GGUF_ARRAY)
            j->what = next(j) % 4 ? ARR_ITEM : ARR_LENGTH;
        else if (j->what == ARR_ITEM || j->what == ARR_LENGTH) j->what = KV_NUMBER;
        if (j->what == ARR_ITEM && kvs.v[j->at].n) j->item = next(j) % kvs.v[j->at].n;
        if (j->what < TENSOR_TYPE && kvs.v[j->at].elem == SLV_GGUF_ARRAY) ok = false;
        for (size_t i = 0; i < kvs.n; i++) /* nested arrays are not taken apart */
            ok = ok && !(kvs.v[i].kind == SLV_GGUF_ARRAY && kvs.v[i].elem == SLV_GGUF_ARRAY);
        if (ok) rebuild(j, &kvs, &ts);
    }
    gguf_kvs_fini(&kvs);
    gguf_tensors_fini(&ts);
    return ok && !j->out.status;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
    struct job j = {.rng = seed * 0x9e3779b97f4a7c15u + 1};
    size_t n = 0;
    next(&j);
    slv_buf_init(&j.out, OUT_MAX);
    if (next(&j) % 8 && structured(&j, data, size) && j.out.len <= max) {
        n = j.out.len;
        memcpy(data, j.out.data, n);
    }
    slv_buf_fini(&j.out);
    return n ? n : LLVMFuzzerMutate(data, size, max);
}
