/* fuzz_dtls.c: any bytes as datagrams of DTLS. The first byte chooses:
 *
 *     0  one datagram, from an address that nothing is known of
 *     1  one datagram, to both sides, in a handshake after as many steps as the next byte says
 *     2  a hello with a right cookie, in which bytes are changed: place 2, value 1, again and again
 *     3  a handshake whose datagrams are kept, lost, doubled, put off or changed, a byte or four
 *        for each; what is left are datagrams, behind their length, for the links as they are then
 *
 * Nothing is answered with more than it has, no handshake goes on for ever, and a link that is open
 * stays open and works, whatever comes from who has no key. */
#include "links.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *script;
static size_t script_n;

static void require(bool ok) {
    if (!ok) abort();
}

static uint8_t next(void) {
    if (!script_n) return 0;
    script_n--;
    return *script++;
}

static void meddle(size_t n, struct packet *p) {
    static struct packet held;
    static bool is_held;
    const uint8_t what = next();
    if (!n) is_held = false;
    if (what % 8 == 2 || what % 8 == 3) {
        const size_t at = (size_t)next() << 8 | next();
        if (what % 8 == 2) p->p[at % p->n] ^= next();
        else p->n = (uint16_t)(at % (p->n + 1u));
    }
    if (what % 8 == 4) {
        held = *p;
        is_held = true;
        return;
    }
    if (what % 8 != 1) links_push(p);
    if (what % 8 == 5) links_push(p);
    if (is_held && n % 2) {
        links_push(&held);
        is_held = false;
    }
}

static void inject(const uint8_t *p, size_t n) {
    static struct packet k;
    if (n > sizeof k.p) n = sizeof k.p;
    for (uint8_t to = 0; to < 2; to++) {
        k = (struct packet){.from = !to, .to = to, .link = 1, .n = (uint16_t)n};
        memcpy(k.p, p, n);
        links_deliver(&k);
    }
}

/* Hosts stay for all runs. */
static void begin(void) {
    static const struct slv_dtls_conf conf = {.handshake_ns = (uint64_t)5000000000,
                                              .sessions_max = 1};
    static bool begun;
    if (!begun) links_begin(2, &conf);
    begun = true;
    links_sent = 0;
}

/* Nothing else does: the sanitizer looks for leaks after each run that has freed less than it took.
 * */
static void end(void) {
    links_meddle = NULL;
    for (int h = 0; h < 2; h++)
        links_close(h, 1);
    links_lose();
}

static void still_works(void) {
    const uint64_t got[2] = {host[0].got_n, host[1].got_n};
    if (!links_is_open(0, 1) || !links_is_open(1, 1)) return;
    links_lose();
    links_send(0, 1, "to 1");
    links_send(1, 1, "to 0");
    links_run();
    require(host[0].got_n == got[0] + 1 && host[1].got_n == got[1] + 1);
}

static void from_nowhere(const uint8_t *p, size_t n) {
    inject(p, n);
    require(!host[0].assoc[1] && !host[1].assoc[1] && links_sent <= 2);
}

static void deliver_some(int most) {
    for (int i = 0; i < most && packet_first < packet_n; i++) {
        struct packet *k = packet[packet_first++];
        links_deliver(k);
        free(k);
    }
}

static void one_datagram(const uint8_t *p, size_t n) {
    links_connect(0, 1, 1, NULL);
    deliver_some(p[0] % 8);
    const bool open = links_is_open(0, 1) && links_is_open(1, 1);
    inject(p + 1, n - 1);
    links_settle();
    if (open && !host[0].old[1] && !host[1].old[1]) {
        require(links_is_open(0, 1) && links_is_open(1, 1));
        still_works();
    }
}

static void changed_hello(const uint8_t *p, size_t n) {
    links_connect(0, 1, 1, NULL);
    deliver_some(2);
    struct packet *k = packet[packet_first];
    for (; n >= 3; p += 3, n -= 3)
        k->p[((size_t)p[0] << 8 | p[1]) % k->n] = p[2];
    links_settle();
    still_works();
}

static void scripted(const uint8_t *p, size_t n) {
    script = p;
    script_n = n;
    links_meddle = meddle;
    links_connect(0, 1, 1, NULL);
    links_settle();
    links_meddle = NULL;
    still_works();
    const bool open = links_is_open(0, 1) && links_is_open(1, 1);
    while (script_n) {
        const size_t have = next();
        const size_t one = have < script_n ? have : script_n;
        inject(script, one);
        script += one;
        script_n -= one;
    }
    links_run();
    if (open && !host[0].old[1] && !host[1].old[1]) {
        require(links_is_open(0, 1) && links_is_open(1, 1));
        still_works();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    begin();
    if (data[0] % 4 == 0) from_nowhere(data + 1, size - 1);
    if (data[0] % 4 == 1) one_datagram(data + 1, size - 1);
    if (data[0] % 4 == 2) changed_hello(data + 1, size - 1);
    if (data[0] % 4 == 3) scripted(data + 1, size - 1);
    end();
    return 0;
}
