/* pack.c: see pack.h. */
#define ZSTD_STATIC_LINKING_ONLY /* memory by slv_mem, and a frame's head */
#include "mesh/pack.h"
#include "base/mem.h"
#include "mesh/pack_dict.h"
#include "mesh/replica.h"

#include <zstd.h>

/* Level 1, and tables for messages of repair: level 3 takes 1.8 times as long for 2 to 3 % less,
 * level 6 takes 3.5 times as long for 6 to 9 %. */
#define LEVEL 1
#define USUAL ((size_t)48 << 10) /* bytes of a long message */
#define WINDOW_LOG 17
#define KEEP ((size_t)64 << 10) /* longer room is given back when less is wanted */

/* For one message. */
struct room {
    char *p; /* heap */
    size_t n;
};

struct slv_packer {
    void *tables; /* heap: a ZSTD_CDict. It and the ddict borrow slv_pack_dict */
    ZSTD_DDict *ddict;
    ZSTD_CCtx *cctx;
    ZSTD_DCtx *dctx;
    struct room packed, plain;
};

static void *take(void *ctx, size_t size) {
    (void)ctx;
    return slv_mem_alloc(size);
}

static void give_back(void *ctx, void *p) {
    (void)ctx;
    slv_mem_free(p);
}

static const ZSTD_customMem memory = {take, give_back, NULL};

/* Parameters of a cdict that was made with its own hold for all that is packed with it, so that
 * tables do not grow with messages. (It is made in place: up to libzstd 1.5.4 it is not looked
 * whether there was memory for one; zeros, as its level is not set there.) */
static bool open_packing(struct slv_packer *p) {
    ZSTD_compressionParameters c = ZSTD_getCParams(LEVEL, USUAL, n_slv_pack_dict);
    c.windowLog = WINDOW_LOG;
    p->cctx = ZSTD_createCCtx_advanced(memory);
    const size_t n = ZSTD_estimateCDictSize_advanced(n_slv_pack_dict, c, ZSTD_dlm_byRef);
    p->tables = slv_mem_calloc(1, n);
    if (!p->cctx || !p->tables) return false;
    const ZSTD_CDict *d = ZSTD_initStaticCDict(p->tables, n, slv_pack_dict, n_slv_pack_dict,
                                               ZSTD_dlm_byRef, ZSTD_dct_fullDict, c);
    return d && !ZSTD_isError(ZSTD_CCtx_setParameter(p->cctx, ZSTD_c_windowLog, WINDOW_LOG)) &&
           !ZSTD_isError(ZSTD_CCtx_refCDict(p->cctx, d));
}

static bool open_unpacking(struct slv_packer *p) {
    p->dctx = ZSTD_createDCtx_advanced(memory);
    p->ddict = ZSTD_createDDict_advanced(slv_pack_dict, n_slv_pack_dict, ZSTD_dlm_byRef,
                                         ZSTD_dct_fullDict, memory);
    return p->dctx && p->ddict;
}

int slv_packer_open(struct slv_packer **ret) {
    struct slv_packer *p = slv_mem_calloc(1, sizeof *p);
    if (!p) return SLV_E_NOMEM;
    if (!open_packing(p) || !open_unpacking(p)) {
        slv_packer_close(p);
        return SLV_E_NOMEM;
    }
    *ret = p;
    return 0;
}

void slv_packer_close(struct slv_packer *p) {
    if (!p) return;
    ZSTD_freeCCtx(p->cctx);
    slv_mem_free(p->tables);
    ZSTD_freeDCtx(p->dctx);
    ZSTD_freeDDict(p->ddict);
    slv_mem_free(p->packed.p);
    slv_mem_free(p->plain.p);
    slv_mem_free(p);
}

/* For n bytes; what was in it is lost. */
static int make_room(struct room *r, size_t n) {
    const size_t want = n < KEEP ? KEEP : n;
    if (r->p && r->n >= n && (r->n <= KEEP || n > KEEP)) return 0;
    slv_mem_free(r->p);
    r->p = slv_mem_alloc(want);
    r->n = r->p ? want : 0;
    return r->p ? 0 : SLV_E_NOMEM;
}

/* zstd is given no more room than what is worth it, and ends early where that is not enough. */
struct slv_str slv_pack(struct slv_packer *p, struct slv_str message) {
    const size_t most = message.n - message.n / 8;
    if (message.n < SLV_PACK_MIN || message.n > SLV_MESSAGE_MAX) return message;
    if (make_room(&p->packed, most)) return message;
    p->packed.p[0] = (char)SLV_MSG_PACKED;
    const size_t n = ZSTD_compress2(p->cctx, p->packed.p + 1, most - 1, message.p, message.n);
    return ZSTD_isError(n) ? message : (struct slv_str){p->packed.p, 1 + n};
}

/* How long a frame says that its message is; 0: it is not one frame that is whole, with that and
 * our dictionary. */
static size_t read_head(struct slv_str frame) {
    ZSTD_frameHeader h;
    if (ZSTD_getFrameHeader(&h, frame.p, frame.n) || h.frameType != ZSTD_frame) return 0;
    if (h.dictID != SLV_PACK_DICT || h.frameContentSize > SLV_MESSAGE_MAX) return 0;
    if (ZSTD_findFrameCompressedSize(frame.p, frame.n) != frame.n) return 0;
    return (size_t)h.frameContentSize;
}

int slv_unpack(struct slv_packer *p, struct slv_str packed, struct slv_str *ret) {
    if (!slv_is_packed(packed)) return SLV_E_FORMAT;
    const struct slv_str frame = {packed.p + 1, packed.n - 1};
    const size_t n = read_head(frame);
    if (!n) return SLV_E_FORMAT;
    const int rc = make_room(&p->plain, n);
    if (rc) return rc;
    if (ZSTD_decompress_usingDDict(p->dctx, p->plain.p, n, frame.p, frame.n, p->ddict) != n)
        return SLV_E_FORMAT;
    const struct slv_str plain = {p->plain.p, n};
    if (slv_is_packed(plain)) return SLV_E_FORMAT;
    *ret = plain;
    return 0;
}
