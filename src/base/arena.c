/* arena.c: see arena.h. Chunks double from 4 KiB to 1 MiB; a larger request gets its own chunk. */
#include "base/arena.h"
#include "base/mem.h"

#include <string.h>

#define CHUNK_MIN ((size_t)4096)
#define CHUNK_MAX ((size_t)1 << 20)
#define ALIGN ((size_t)16)

struct slv_arena_chunk {
    struct slv_arena_chunk *next;
    size_t size; /* bytes behind the header */
    size_t at;   /* first free of them */
    size_t pad;  /* keeps the header a multiple of ALIGN */
};

_Static_assert(sizeof(struct slv_arena_chunk) % 16 == 0, "chunk payloads must stay aligned");

void slv_arena_init(struct slv_arena *a, size_t max) { *a = (struct slv_arena){.max = max}; }

static struct slv_arena_chunk *add_chunk(struct slv_arena *a, size_t need) {
    size_t size = a->head ? a->head->size * 2 : CHUNK_MIN, total;
    if (size > CHUNK_MAX) size = CHUNK_MAX;
    if (size < need) size = need;
    if (!slv_size_add(size, sizeof(struct slv_arena_chunk), &total)) return NULL;
    if (a->used > a->max || total > a->max - a->used) return NULL;
    struct slv_arena_chunk *c = slv_mem_alloc(total);
    if (!c) return NULL;
    *c = (struct slv_arena_chunk){.next = a->head, .size = size};
    a->head = c;
    a->used += total;
    return c;
}

void *slv_arena_alloc(struct slv_arena *a, size_t size) {
    size_t need;
    if (!slv_size_align(size ? size : 1, ALIGN, &need)) return NULL;
    struct slv_arena_chunk *c = a->head;
    if (!c || c->size - c->at < need) {
        c = add_chunk(a, need);
        if (!c) return NULL;
    }
    void *p = (char *)(c + 1) + c->at;
    c->at += need;
    return memset(p, 0, need);
}

void *slv_arena_calloc(struct slv_arena *a, size_t count, size_t size) {
    size_t bytes;
    return slv_size_mul(count, size, &bytes) ? slv_arena_alloc(a, bytes) : NULL;
}

char *slv_arena_strndup(struct slv_arena *a, const char *s, size_t n) {
    size_t size;
    char *p = slv_size_add(n, 1, &size) ? slv_arena_alloc(a, size) : NULL;
    if (p && n) memcpy(p, s, n);
    return p;
}

void slv_arena_reset(struct slv_arena *a) {
    while (a->head) {
        struct slv_arena_chunk *next = a->head->next;
        slv_mem_free(a->head);
        a->head = next;
    }
    a->used = 0;
}

void slv_arena_fini(struct slv_arena *a) {
    if (a) slv_arena_reset(a);
}
