/* transport_frame.c: what the transport reads from others; see transport.h.
 *
 *     stream         length 2, the high byte first, 1 to FRAME_MAX | message | ..
 *     announcement   "SLVA" | mesh 8 | number 8 | port 2, all with the high byte first */
#include "mesh/transport_int.h"
#include "mesh/wire.h"

static const char magic[4] = {'S', 'L', 'V', 'A'};

/* What stands behind a kind. */
static const struct {
    bool flags, id, bytes;
} form[FRAME_KINDS] = {
    [FRAME_DATA] = {.bytes = true},
    [FRAME_USE] = {.flags = true, .id = true},
    [FRAME_USED] = {.flags = true, .id = true},
    [FRAME_VIA] = {.id = true, .bytes = true},
    [FRAME_OF] = {.id = true, .bytes = true},
    [FRAME_NOWHERE] = {.id = true},
    [FRAME_WELCOME] = {.flags = false},
    [FRAME_TWIN] = {.flags = false},
};

bool transport_frame_read(struct slv_str message, struct frame *ret) {
    struct slv_reader r = slv_reader_of(message.p, message.n);
    struct frame f = {.kind = FRAME_DATA};
    const struct slv_str kind = slv_read_raw(&r, 1);
    if (r.bad || (uint8_t)kind.p[0] >= FRAME_KINDS) return false;
    f.kind = (enum frame_kind)kind.p[0];
    if (form[f.kind].flags) {
        const struct slv_str flags = slv_read_raw(&r, 1);
        if (r.bad || (uint8_t)flags.p[0] > FRAME_RELAYS) return false;
        f.flags = (uint8_t)flags.p[0];
    }
    if (form[f.kind].id) f.id = slv_read_id(&r);
    if (form[f.kind].bytes) f.bytes = slv_read_raw(&r, slv_reader_left(&r));
    if (!slv_reader_done(&r) || (form[f.kind].bytes && !f.bytes.n)) return false;
    *ret = f;
    return true;
}

static void put(uint8_t *p, uint64_t v, size_t n) {
    for (size_t i = n; i-- > 0; v >>= 8)
        p[i] = (uint8_t)v;
}

size_t transport_frame_head(const struct frame *f, uint8_t ret[FRAME_HEAD_MAX]) {
    size_t n = 0;
    ret[n++] = (uint8_t)f->kind;
    if (form[f->kind].flags) ret[n++] = f->flags;
    if (form[f->kind].id) {
        put(ret + n, f->id, 8);
        n += 8;
    }
    return n;
}

int transport_stream_next(const uint8_t *p, size_t n, size_t *ret_n) {
    if (n < STREAM_HEAD) return SLV_E_BUSY;
    const size_t len = (size_t)p[0] << 8 | p[1];
    if (!len || len > FRAME_MAX) return SLV_E_FORMAT;
    if (n - STREAM_HEAD < len) return SLV_E_BUSY;
    *ret_n = len;
    return 0;
}

bool transport_announce_read(struct slv_str datagram, struct announce *ret) {
    struct slv_reader r = slv_reader_of(datagram.p, datagram.n);
    const struct slv_str head = slv_read_raw(&r, sizeof magic);
    struct announce a = {.mesh = slv_read_id(&r)};
    a.node = slv_read_id(&r);
    const struct slv_str port = slv_read_raw(&r, 2);
    if (!slv_reader_done(&r) || memcmp(head.p, magic, sizeof magic)) return false;
    a.port = (uint16_t)((uint8_t)port.p[0] << 8 | (uint8_t)port.p[1]);
    if (!a.port) return false;
    *ret = a;
    return true;
}

void transport_announce_write(const struct announce *a, uint8_t ret[ANNOUNCE_BYTES]) {
    memcpy(ret, magic, sizeof magic);
    put(ret + 4, a->mesh, 8);
    put(ret + 12, a->node, 8);
    put(ret + 20, a->port, 2);
}
