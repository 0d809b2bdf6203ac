/* fuzz_transport.c: what the transport reads that it did not write: messages, the lengths of
 * streams, announcements, addresses: refused, or read so that they are written back as the same
 * bytes.
 *
 * The first byte says what the others are. */
#include "mesh/transport_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok) {
    if (!ok) abort();
}

static void message(struct slv_str s) {
    uint8_t head[FRAME_HEAD_MAX];
    struct frame f;
    if (!transport_frame_read(s, &f)) return;
    const size_t n = transport_frame_head(&f, head);
    require(n <= sizeof head && n + f.bytes.n == s.n && !memcmp(head, s.p, n));
    require(!f.bytes.n || f.bytes.p == s.p + n);
    require(f.kind < FRAME_KINDS && f.flags <= FRAME_RELAYS);
}

/* As a stream that comes in pieces: each message is found when all of it is there, not before. */
static void stream(struct slv_str s) {
    const uint8_t *p = (const uint8_t *)s.p;
    size_t at = 0, n = 0;
    while (!transport_stream_next(p + at, s.n - at, &n)) {
        require(n && n <= FRAME_MAX && n + STREAM_HEAD <= s.n - at);
        require(transport_stream_next(p + at, STREAM_HEAD + n - 1, &n) == SLV_E_BUSY);
        require(transport_stream_next(p + at, STREAM_HEAD - 1, &n) == SLV_E_BUSY);
        message((struct slv_str){s.p + at + STREAM_HEAD, n});
        at += STREAM_HEAD + n;
    }
}

static void announcement(struct slv_str s) {
    uint8_t back[ANNOUNCE_BYTES];
    struct announce a;
    if (!transport_announce_read(s, &a)) return;
    transport_announce_write(&a, back);
    require(s.n == sizeof back && !memcmp(back, s.p, s.n) && a.port);
}

static void address(struct slv_str s) {
    char text[120] = "", back[SLV_TRANSPORT_ADDRESS_TEXT];
    struct address a, b, c;
    unsigned socket = 0;
    memcpy(text, s.p, s.n < sizeof text - 1 ? s.n : sizeof text - 1);
    if (transport_address_parse(text, false, &a)) return;
    require(transport_address_port(&a));
    const struct slv_dtls_address packed = transport_address_pack(&a, 5);
    transport_address_unpack(&packed, &b, &socket);
    require(socket == 5 && transport_address_equal(&a, &b, true));
    transport_address_text(&a, back);
    /* (An interface that is not there any more has no name.) */
    if (transport_address_parse(back, false, &c)) require(a.sa.sa_family == AF_INET6);
    else require(a.sa.sa_family == AF_INET6 || transport_address_equal(&a, &c, true));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const what[])(struct slv_str) = {message, stream, announcement, address};
    if (!size) return 0;
    /* (At the end of a block of its size, so that what is read behind it is seen.) */
    char *p = malloc(size);
    if (!p) return 0;
    memcpy(p, data, size);
    what[data[0] % 4]((struct slv_str){p + 1, size - 1});
    free(p);
    return 0;
}
