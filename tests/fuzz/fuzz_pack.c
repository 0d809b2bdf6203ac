/* fuzz_pack.c: any bytes as what a peer packed, and any bytes to be packed: what is unpacked is no
 * longer than a message may be; what is packed comes back, and does no harm where it was bent.
 *
 *     how, then: 0 what was packed; 1 a message; 2 the same, bent: where (2, the high byte first),
 *     by what, then the message */
#include "mesh/pack.h"
#include "mesh/replica.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slv_packer *packer;

static void require(bool ok) {
    if (!ok) abort();
}

static void unpack(struct slv_str packed) {
    struct slv_str m;
    const int rc = slv_unpack(packer, packed, &m);
    require(rc == SLV_E_FORMAT || (!rc && m.n && m.n <= SLV_MESSAGE_MAX && !slv_is_packed(m)));
    size_t sum = 0; /* all of it is there */
    for (size_t i = 0; !rc && i < m.n; i++)
        sum += (unsigned char)m.p[i];
    require(sum <= 255 * SLV_MESSAGE_MAX);
}

static void round_trip(struct slv_str m) {
    const struct slv_str packed = slv_pack(packer, m);
    struct slv_str back;
    if (packed.p == m.p) return;
    require(packed.n <= m.n - m.n / 8);
    const int rc = slv_unpack(packer, packed, &back);
    if (slv_is_packed(m)) require(rc == SLV_E_FORMAT);
    else require(!rc && back.n == m.n && !memcmp(back.p, m.p, m.n));
}

static void bend(struct slv_str m, size_t at, uint8_t by) {
    const struct slv_str packed = slv_pack(packer, m);
    if (packed.p == m.p) return;
    char *copy = malloc(packed.n);
    require(copy != NULL);
    memcpy(copy, packed.p, packed.n);
    copy[at % packed.n] ^= (char)by;
    unpack((struct slv_str){copy, packed.n});
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct slv_str rest = {(const char *)data + 1, size ? size - 1 : 0};
    if (!packer) require(!slv_packer_open(&packer));
    if (!size) return 0;
    if (data[0] % 3 == 0) unpack(rest);
    else if (data[0] % 3 == 1) round_trip(rest);
    else if (rest.n > 3)
        bend((struct slv_str){rest.p + 3, rest.n - 3}, (size_t)data[1] << 8 | data[2], data[3]);
    return 0;
}
