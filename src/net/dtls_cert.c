/* dtls_cert.c: see dtls_cert.h. */
#include "net/dtls_cert.h"
#include "trust/pub.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define TIME 15 /* "20260131235959Z" */
#define NAME(text)                                                                                 \
    0x30, 0x17, 0x31, 0x15, 0x30, 0x13, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x0c, text
#define ED25519 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70
#define ZEROS_5 0, 0, 0, 0, 0
#define ZEROS_15 ZEROS_5, ZEROS_5, ZEROS_5
#define ZEROS_64 ZEROS_15, ZEROS_15, ZEROS_15, ZEROS_15, 0, 0, 0, 0

/* Places that differ are zero here. */
static const uint8_t
    form[SLV_DTLS_CERT] =
        {
            0x30,      0x82, 0x01,     0x6c,           /* Certificate */
            0x30,      0x82, 0x01,     0x1e,           /* TBSCertificate */
            0xa0,      0x03, 0x02,     0x01,     0x02, /* version 3 */
            0x02,      0x10, ZEROS_15, 0,              /* serialNumber */
            ED25519,                                   /* signature */
            NAME('s'), 'e',  'l',      'v',      'a',      'g',  'e',      ' ',
            'n',       'o',  'd',      'e',                                          /* issuer */
            0x30,      0x22, 0x18,     TIME,     ZEROS_15, 0x18, TIME,     ZEROS_15, /* validity */
            NAME('s'), 'e',  'l',      'v',      'a',      'g',  'e',      ' ',
            'l',       'i',  'n',      'k',  /* subject */
            0x30,      0x59, 0x30,     0x13, /* subjectPublicKeyInfo */
            0x06,      0x07, 0x2a,     0x86,     0x48,     0xce, 0x3d,     0x02,
            0x01, /* id-ecPublicKey */
            0x06,      0x08, 0x2a,     0x86,     0x48,     0xce, 0x3d,     0x03,
            0x01,      0x07,                               /* prime256v1 */
            0x03,      0x42, 0x00,     0,        ZEROS_64, /* a bit string */
            0xa3,      0x4d, 0x30,     0x4b,               /* extensions */
            0x30,      0x0e, 0x06,     0x03,     0x55,     0x1d, 0x0f,     0x01,
            0x01,      0xff,                                     /* keyUsage, critical */
            0x04,      0x04, 0x03,     0x02,     0x07,     0x80, /* digitalSignature */
            0x30,      0x0c, 0x06,     0x03,     0x55,     0x1d, 0x13,     0x01,
            0x01,      0xff,                                           /* basicConstraints */
            0x04,      0x02, 0x30,     0x00,                           /* no CA */
            0x30,      0x2b, 0x06,     0x03,     0x55,     0x1d, 0x23, /* authorityKeyIdentifier */
            0x04,      0x24, 0x30,     0x22,     0x80,     0x20, ZEROS_15, ZEROS_15,
            0,         0,                        /* keyIdentifier */
            ED25519,                             /* signatureAlgorithm */
            0x03,      0x41, 0x00,     ZEROS_64, /* signatureValue */
};

enum place { SERIAL, FROM, TO, POINT, NODE, SIGNATURE, PLACES };
static const struct {
    size_t at, n;
} place[PLACES] = {
    [SERIAL] = {15, SLV_DTLS_SERIAL},
    [FROM] = {67, TIME},
    [TO] = {84, TIME},
    [POINT] = {150, SLV_DTLS_CERT_POINT},
    [NODE] = {262, SLV_DTLS_KEY},
    [SIGNATURE] = {304, SLV_DTLS_SIGNATURE},
};

const struct slv_dtls_cert_signed slv_dtls_cert_signed = {4, 290, 304};

static bool put_time(uint64_t at, uint8_t *ret) {
    struct tm tm;
    char text[32];
    const time_t t = (time_t)at;
    if (at > SLV_DTLS_TIME_MAX || (uint64_t)t != at || !gmtime_r(&t, &tm)) return false;
    if (strftime(text, sizeof text, "%Y%m%d%H%M%SZ", &tm) != TIME) return false;
    memcpy(ret, text, TIME);
    return true;
}

static int digits(const uint8_t *p, size_t n) {
    int v = 0;
    for (size_t i = 0; i < n; i++)
        v = 10 * v + (p[i] - '0');
    return v;
}

/* What is written again as it stood: dates that are none are not. */
static bool get_time(const uint8_t *p, uint64_t *ret) {
    uint8_t again[TIME];
    for (size_t i = 0; i + 1 < TIME; i++)
        if (p[i] < '0' || p[i] > '9') return false;
    struct tm tm = {.tm_year = digits(p, 4) - 1900,
                    .tm_mon = digits(p + 4, 2) - 1,
                    .tm_mday = digits(p + 6, 2),
                    .tm_hour = digits(p + 8, 2),
                    .tm_min = digits(p + 10, 2),
                    .tm_sec = digits(p + 12, 2)};
    const time_t t = timegm(&tm);
    if (t < 0 || !put_time((uint64_t)t, again) || memcmp(again, p, TIME)) return false;
    *ret = (uint64_t)t;
    return true;
}

int slv_dtls_cert_write(const struct slv_dtls_cert *c, uint8_t ret[SLV_DTLS_CERT]) {
    memcpy(ret, form, sizeof form);
    memcpy(ret + place[SERIAL].at, c->serial, SLV_DTLS_SERIAL);
    ret[place[SERIAL].at] = (uint8_t)((c->serial[0] & 0x3f) | 0x40);
    memcpy(ret + place[POINT].at, c->point, SLV_DTLS_CERT_POINT);
    memcpy(ret + place[NODE].at, c->node, SLV_DTLS_KEY);
    const bool ok = put_time(c->from, ret + place[FROM].at) && put_time(c->to, ret + place[TO].at);
    return ok ? 0 : SLV_E_INTERNAL;
}

bool slv_dtls_cert_read(const uint8_t *p, size_t n, struct slv_dtls_cert *ret) {
    uint8_t bare[SLV_DTLS_CERT];
    struct slv_dtls_cert c;
    if (n != SLV_DTLS_CERT) return false;
    memcpy(bare, p, n);
    for (int i = 0; i < PLACES; i++)
        memset(bare + place[i].at, 0, place[i].n);
    if (memcmp(bare, form, n)) return false;
    memcpy(c.serial, p + place[SERIAL].at, sizeof c.serial);
    memcpy(c.point, p + place[POINT].at, sizeof c.point);
    memcpy(c.node, p + place[NODE].at, sizeof c.node);
    if ((c.serial[0] & 0xc0) != 0x40 || c.point[0] != 4) return false;
    if (!get_time(p + place[FROM].at, &c.from) || !get_time(p + place[TO].at, &c.to)) return false;
    *ret = c;
    return true;
}

bool slv_dtls_cert_verify(const uint8_t p[SLV_DTLS_CERT]) {
    return slv_pub_verify(p + place[NODE].at, p + slv_dtls_cert_signed.at, slv_dtls_cert_signed.n,
                          p + place[SIGNATURE].at);
}
