/* token.c: see token.h. */
#include "mesh/token.h"
#include "base/mem.h"

#include <sodium.h>
#include <string.h>

#define VERSION 1u
#define SUM 4u
#define TEXT sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define BYTES_MAX (SLV_TOKEN_MAX / 4 * 3) /* behind that text */

void slv_token_fini(struct slv_token *t) {
    for (size_t i = 0; i < t->n_space; i++)
        slv_dots_fini(&t->space[i].seen);
    slv_mem_free(t->space);
    slv_mem_free(t->group);
    *t = (struct slv_token){0};
}

/* --- what was seen ---------------------------------------------------------------------------- */

/* The first that is not before id; there are few. */
static size_t space_at(const struct slv_token *t, uint64_t id) {
    size_t i = 0;
    while (i < t->n_space && t->space[i].id < id)
        i++;
    return i;
}

static size_t group_at(const struct slv_token *t, uint64_t id) {
    size_t i = 0;
    while (i < t->n_group && t->group[i].id < id)
        i++;
    return i;
}

const struct slv_dots *slv_token_seen(const struct slv_token *t, uint64_t space) {
    const size_t i = space_at(t, space);
    return i < t->n_space && t->space[i].id == space ? &t->space[i].seen : NULL;
}

uint64_t slv_token_index(const struct slv_token *t, uint64_t group) {
    const size_t i = group_at(t, group);
    return i < t->n_group && t->group[i].id == group ? t->group[i].index : 0;
}

static int open_space(struct slv_token *t, uint64_t id, struct slv_dots **ret) {
    const size_t i = space_at(t, id);
    if (i == t->n_space || t->space[i].id != id) {
        void *p = t->space;
        const int rc =
            slv_mem_grow(&p, t->n_space, &t->room_space, sizeof *t->space, SLV_TOKEN_SPACES_MAX);
        t->space = p;
        if (rc) return rc;
        memmove(t->space + i + 1, t->space + i, (t->n_space - i) * sizeof *t->space);
        t->space[i] = (struct slv_token_space){.id = id};
        t->n_space++;
    }
    *ret = &t->space[i].seen;
    return 0;
}

int slv_token_see(struct slv_token *t, uint64_t space, const struct slv_dots *seen) {
    struct slv_dots *to;
    if (!seen->n) return 0; /* nothing has no place in a token */
    const int rc = open_space(t, space, &to);
    return rc ? rc : slv_dots_join(to, seen);
}

int slv_token_see_group(struct slv_token *t, uint64_t group, uint64_t index) {
    const size_t i = group_at(t, group);
    if (!index) return 0;
    if (index > SLV_TOKEN_INDEX_MAX) return SLV_E_LIMIT;
    if (i < t->n_group && t->group[i].id == group) {
        if (index > t->group[i].index) t->group[i].index = index;
        return 0;
    }
    void *p = t->group;
    const int rc =
        slv_mem_grow(&p, t->n_group, &t->room_group, sizeof *t->group, SLV_TOKEN_GROUPS_MAX);
    t->group = p;
    if (rc) return rc;
    memmove(t->group + i + 1, t->group + i, (t->n_group - i) * sizeof *t->group);
    t->group[i] = (struct slv_token_group){group, index};
    t->n_group++;
    return 0;
}

int slv_token_join(struct slv_token *t, const struct slv_token *other) {
    int rc = 0;
    for (size_t i = 0; i < other->n_space && !rc; i++)
        rc = slv_token_see(t, other->space[i].id, &other->space[i].seen);
    for (size_t i = 0; i < other->n_group && !rc; i++)
        rc = slv_token_see_group(t, other->group[i].id, other->group[i].index);
    return rc;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void sum_of(struct slv_str bytes, char ret[SUM]) {
    uint8_t hash[crypto_generichash_BYTES_MIN];
    crypto_generichash(hash, sizeof hash, (const uint8_t *)bytes.p, bytes.n, NULL, 0);
    memcpy(ret, hash, SUM);
}

static int read_spaces(struct slv_reader *r, struct slv_token *t) {
    const uint64_t n = slv_read_number(r, SLV_TOKEN_SPACES_MAX);
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t id = slv_read_id(r);
        struct slv_dots *to = NULL;
        if (r->bad || (t->n_space && t->space[t->n_space - 1].id >= id)) return SLV_E_FORMAT;
        int rc = open_space(t, id, &to);
        if (!rc) rc = slv_dots_read(r, to);
        if (!rc && !to->n) rc = SLV_E_FORMAT;
        if (rc) return rc;
    }
    return r->bad ? SLV_E_FORMAT : 0;
}

static int read_groups(struct slv_reader *r, struct slv_token *t) {
    const uint64_t n = slv_read_number(r, SLV_TOKEN_GROUPS_MAX);
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t id = slv_read_id(r), index = slv_read_number(r, SLV_TOKEN_INDEX_MAX);
        if (r->bad || !index || (t->n_group && t->group[t->n_group - 1].id >= id))
            return SLV_E_FORMAT;
        const int rc = slv_token_see_group(t, id, index);
        if (rc) return rc;
    }
    return r->bad ? SLV_E_FORMAT : 0;
}

static int read_bytes(struct slv_str bytes, struct slv_token *ret) {
    char sum[SUM];
    if (bytes.n < SUM) return SLV_E_FORMAT;
    bytes.n -= SUM;
    sum_of(bytes, sum);
    if (memcmp(sum, bytes.p + bytes.n, SUM) != 0) return SLV_E_FORMAT;
    struct slv_reader r = slv_reader_of(bytes.p, bytes.n);
    if (slv_read_number(&r, VERSION) != VERSION) return SLV_E_FORMAT;
    int rc = read_spaces(&r, ret);
    if (!rc) rc = read_groups(&r, ret);
    return rc ? rc : slv_reader_done(&r) ? 0 : SLV_E_FORMAT;
}

int slv_token_read(struct slv_str text, struct slv_token *ret, struct slv_err *err) {
    uint8_t raw[BYTES_MAX];
    size_t n = 0;
    int rc = 0;
    *ret = (struct slv_token){0};
    if (text.n > SLV_TOKEN_MAX || !slv_base64_read(text, raw, sizeof raw, &n)) rc = SLV_E_FORMAT;
    if (!rc) rc = read_bytes((struct slv_str){(const char *)raw, n}, ret);
    if (!rc) return 0;
    slv_token_fini(ret);
    if (rc == SLV_E_NOMEM) return slv_err_set(err, rc, "out of memory");
    return slv_err_set(err, SLV_E_FORMAT, "not a token of a session: it is cut short, or damaged");
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Each writer's numbers from 1 to the last that was seen. */
static int write_closed(const struct slv_dots *s, struct slv_buf *b) {
    struct slv_dots closed = {0};
    int rc = 0;
    for (uint32_t i = 0; i < s->n && !rc; i++) {
        const uint64_t id = s->writer[i].id;
        rc = slv_dots_add(&closed, id, (struct slv_dot_range){1, slv_dots_last(s, id)});
    }
    if (!rc) slv_dots_write(&closed, b);
    slv_dots_fini(&closed);
    return rc;
}

static int write_bytes(const struct slv_token *t, bool closed, struct slv_buf *b) {
    char sum[SUM];
    int rc = 0;
    slv_write_number(b, VERSION);
    slv_write_number(b, t->n_space);
    for (size_t i = 0; i < t->n_space && !rc && !b->status; i++) {
        slv_write_id(b, t->space[i].id);
        if (closed) rc = write_closed(&t->space[i].seen, b);
        else slv_dots_write(&t->space[i].seen, b);
    }
    slv_write_number(b, t->n_group);
    for (size_t i = 0; i < t->n_group; i++) {
        slv_write_id(b, t->group[i].id);
        slv_write_number(b, t->group[i].index);
    }
    sum_of((struct slv_str){b->data, b->len}, sum);
    slv_buf_add(b, sum, SUM);
    return rc ? rc : b->status;
}

int slv_token_write(const struct slv_token *t, struct slv_buf *b) {
    char text[sodium_base64_ENCODED_LEN(BYTES_MAX, TEXT)];
    struct slv_buf raw;
    slv_buf_init(&raw, BYTES_MAX);
    int rc = write_bytes(t, false, &raw);
    if (rc == SLV_E_LIMIT) {
        slv_buf_clear(&raw);
        rc = write_bytes(t, true, &raw);
    }
    if (!rc) {
        sodium_bin2base64(text, sizeof text, (const uint8_t *)raw.data, raw.len, TEXT);
        rc = slv_buf_adds(b, text);
    }
    slv_buf_fini(&raw);
    return rc;
}
