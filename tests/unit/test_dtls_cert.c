/* test_dtls_cert.c: what a user would lose: a node that takes somebody for a member who is none,
 * and one that is shut out because a clock is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "links.h"
#include "net/dtls_int.h"

#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define LINK 7
#define DAY ((uint64_t)86400)
#define TODAY ((uint64_t)1800000000) /* 2027-01-15 08:00:00 */

static enum slv_dtls_reason reason(int h) {
    return host[h].assoc[LINK] ? slv_dtls_reason(host[h].assoc[LINK]) : SLV_DTLS_WHY_NONE;
}

static void use(int h, const uint8_t der[SLV_DTLS_CERT], EVP_PKEY *key) {
    const uint8_t *p = der;
    X509 *x = d2i_X509(NULL, &p, SLV_DTLS_CERT);
    assert_non_null(x);
    assert_int_equal(SSL_CTX_use_cert_and_key(host[h].d->ctx, x, key, NULL, 1), 1);
    X509_free(x);
}

/* As a node makes it, but for what `c` has that is not zero. */
static EVP_PKEY *make(int h, const struct slv_dtls_cert *c, uint8_t ret[SLV_DTLS_CERT]) {
    struct slv_dtls_cert whole = *c;
    size_t n = 0;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_int_equal(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, whole.point,
                                                     sizeof whole.point, &n),
                     1);
    if (sodium_is_zero(c->node, sizeof c->node)) memcpy(whole.node, host[h].conf.key, 32);
    if (!whole.to) whole.to = SLV_DTLS_TIME_MAX;
    assert_int_equal(slv_dtls_cert_write(&whole, ret), 0);
    crypto_sign_detached(ret + slv_dtls_cert_signed.signature_at, NULL,
                         ret + slv_dtls_cert_signed.at, slv_dtls_cert_signed.n, host[h].secret);
    return key;
}

static void give(int h, const struct slv_dtls_cert *c, int flip_byte) {
    uint8_t der[SLV_DTLS_CERT];
    EVP_PKEY *key = make(h, c, der);
    if (flip_byte) der[flip_byte] ^= 1;
    use(h, der, key);
    EVP_PKEY_free(key);
}

struct pair {
    X509 *cert;
    EVP_PKEY *key;
};

/* A certificate that any program would make, of an OpenSSL key, signed by itself. */
static X509 *other_certificate(EVP_PKEY *key, const EVP_MD *md) {
    X509 *x = X509_new();
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -100);
    X509_gmtime_adj(X509_getm_notAfter(x), 100000);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"selvage node", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, md) > 0);
    return x;
}

static void give_other(int h, bool as_second) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = other_certificate(key, EVP_sha256());
    if (as_second) assert_int_equal(SSL_CTX_add1_chain_cert(host[h].d->ctx, x), 1);
    else assert_int_equal(SSL_CTX_use_cert_and_key(host[h].d->ctx, x, key, NULL, 1), 1);
    X509_free(x);
    EVP_PKEY_free(key);
}

/* Host `who` shows something wrong; the other one refuses for that reason. */
static void assert_refused(int who, enum slv_dtls_reason why) {
    links_connect(0, 1, LINK, NULL);
    links_settle();
    assert_int_equal(reason(!who), why);
    assert_int_equal(reason(who), SLV_DTLS_WHY_REFUSED);
    assert_false(links_is_open(0, LINK) || links_is_open(1, LINK));
    links_end();
}

static void assert_opens(void) {
    links_connect(0, 1, LINK, NULL);
    links_settle();
    assert_true(links_is_open(0, LINK) && links_is_open(1, LINK));
    links_end();
}

/* --- forms ------------------------------------------------------------------------------------ */

static void every_bit_of_a_certificate_counts(void **state) {
    (void)state;
    const struct slv_dtls_cert c = {.serial = {0xff, 2}, .from = 86399, .to = TODAY};
    struct slv_dtls_cert back;
    uint8_t der[SLV_DTLS_CERT];
    links_begin(1, NULL);
    EVP_PKEY_free(make(0, &c, der));
    assert_true(slv_dtls_cert_read(der, sizeof der, &back) && slv_dtls_cert_verify(der));
    assert_int_equal(back.from, c.from);
    assert_int_equal(back.to, c.to);
    assert_int_equal(back.serial[0], 0x7f);
    assert_memory_equal(back.node, host[0].conf.key, 32);
    for (size_t n = 0; n < sizeof der; n++)
        assert_false(slv_dtls_cert_read(der, n, &back));
    for (size_t bit = 0; bit < 8 * sizeof der; bit++) {
        der[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(slv_dtls_cert_read(der, sizeof der, &back) && slv_dtls_cert_verify(der));
        der[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    /* Nor does it help to sign a negative number, or a key in another form. */
    static const struct {
        size_t at;
        uint8_t v;
    } other[] = {{15, 0x80}, {15, 0x00}, {150, 0x02}, {150, 0x00}};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        const uint8_t was = der[other[i].at];
        der[other[i].at] = other[i].v;
        assert_false(slv_dtls_cert_read(der, sizeof der, &back));
        der[other[i].at] = was;
    }
    assert_true(slv_dtls_cert_read(der, sizeof der, &back));
    links_end();
}

static void dates_that_are_none_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_date;
    } at[] = {{"20260131235959Z", true},  {"20260229000000Z", false}, {"20240229000000Z", true},
              {"20261301000000Z", false}, {"20260132000000Z", false}, {"20260131240000Z", false},
              {"20260131236000Z", false}, {"20260131235960Z", false}, {"99991231235959Z", true},
              {"19691231235959Z", false}, {"19700101000000Z", true},  {"2026013123595 Z", false},
              {"202601312359590", false}, {"-9991231235959Z", false}};
    const struct slv_dtls_cert c = {.from = 1};
    struct slv_dtls_cert back;
    uint8_t der[SLV_DTLS_CERT];
    links_begin(1, NULL);
    EVP_PKEY_free(make(0, &c, der));
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        memcpy(der + 67, at[i].text, 15);
        assert_int_equal(slv_dtls_cert_read(der, sizeof der, &back), at[i].is_date);
    }
    const struct slv_dtls_cert late = {.to = SLV_DTLS_TIME_MAX + 1};
    assert_int_equal(slv_dtls_cert_write(&late, der), SLV_E_INTERNAL);
    links_end();
}

static void other_certificates_are_refused(void **state) {
    (void)state;
    const struct slv_dtls_cert plain = {.from = 1};
    for (int who = 0; who < 2; who++) {
        links_begin(2, NULL);
        give(who, &plain, 0);
        assert_opens();
        links_begin(2, NULL); /* of the same key, but signed by it with ECDSA */
        give_other(who, false);
        assert_refused(who, SLV_DTLS_WHY_FORM);
        links_begin(2, NULL); /* one more beside the right one */
        give_other(who, true);
        assert_refused(who, SLV_DTLS_WHY_FORM);
        links_begin(2, NULL); /* a byte of the subject's name */
        give(who, &plain, 120);
        assert_refused(who, SLV_DTLS_WHY_FORM);
        links_begin(2, NULL); /* a byte of the signature */
        give(who, &plain, 330);
        assert_refused(who, SLV_DTLS_WHY_SIGNATURE);
        links_begin(3, NULL); /* the name of a member, signed by a stranger */
        struct slv_dtls_cert member = plain;
        memcpy(member.node, host[2].conf.key, 32);
        give(who, &member, 0);
        assert_refused(who, SLV_DTLS_WHY_SIGNATURE);
        links_begin(2, NULL); /* the reader's own name */
        memcpy(member.node, host[!who].conf.key, 32);
        give(who, &member, 0);
        assert_refused(who, SLV_DTLS_WHY_SIGNATURE);
    }
}

/* In place of the certificate that the node has. */
static int only_that(SSL *ssl, void *arg) {
    const struct pair *p = arg;
    SSL_certs_clear(ssl);
    return SSL_use_cert_and_key(ssl, p->cert, p->key, NULL, 1);
}

/* Keys that the handshake itself has no use for. */
static void other_kinds_of_keys_are_refused(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++)
        for (int who = 0; who < 2; who++) {
            struct pair p = {.key = kind ? EVP_RSA_gen(2048)
                                         : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")};
            p.cert = other_certificate(p.key, kind ? EVP_sha256() : NULL);
            links_begin(2, NULL);
            SSL_CTX_set_cert_cb(host[who].d->ctx, only_that, &p);
            links_connect(0, 1, LINK, NULL);
            links_settle();
            assert_false(links_is_open(0, LINK) || links_is_open(1, LINK));
            assert_int_equal(reason(1), who ? SLV_DTLS_WHY_PROTOCOL : SLV_DTLS_WHY_NO_CERTIFICATE);
            assert_int_equal(reason(0), SLV_DTLS_WHY_REFUSED);
            links_end();
            X509_free(p.cert);
            EVP_PKEY_free(p.key);
        }
    links_begin(2, NULL);
    SSL_certs_clear(links_connect(0, 1, LINK, NULL)->ssl);
    links_settle();
    assert_int_equal(reason(1), SLV_DTLS_WHY_NO_CERTIFICATE);
    assert_int_equal(reason(0), SLV_DTLS_WHY_REFUSED);
    links_end();
}

/* OpenSSL does not let a certificate and another key be used together, but takes a pair for one
 * whose public key is told to be the certificate's. */
static EVP_PKEY *pretend(EVP_PKEY *secret, const uint8_t *point) {
    EVP_PKEY *ret = NULL;
    BIGNUM *number = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(secret, OSSL_PKEY_PARAM_PRIV_KEY, &number), 1);
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
    OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, point, SLV_DTLS_CERT_POINT);
    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_PRIV_KEY, number);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(b);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &ret, EVP_PKEY_KEYPAIR, params), 1);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(b);
    BN_free(number);
    return ret;
}

/* A member's certificate is no secret; its key is. */
static void a_certificate_without_its_key_is_of_no_use(void **state) {
    (void)state;
    const struct slv_dtls_cert plain = {.from = 1};
    uint8_t der[SLV_DTLS_CERT], other[SLV_DTLS_CERT];
    struct slv_dtls_cert members;
    for (int who = 0; who < 2; who++) {
        links_begin(3, NULL);
        EVP_PKEY_free(make(2, &plain, der));
        EVP_PKEY *own = make(who, &plain, other);
        assert_true(slv_dtls_cert_read(der, sizeof der, &members));
        EVP_PKEY *pretended = pretend(own, members.point);
        use(who, der, pretended);
        links_connect(0, 1, LINK, NULL);
        links_settle();
        assert_int_equal(reason(!who), SLV_DTLS_WHY_PROTOCOL);
        assert_int_equal(reason(who), SLV_DTLS_WHY_REFUSED);
        links_end();
        EVP_PKEY_free(pretended);
        EVP_PKEY_free(own);
    }
}

/* --- time ------------------------------------------------------------------------------------- */

static void who_does_not_know_the_time_shuts_nobody_out(void **state) {
    (void)state;
    static const struct slv_dtls_cert at[] = {
        {.from = 1, .to = 2}, {.from = SLV_DTLS_TIME_MAX - 5}, {.from = TODAY, .to = TODAY + DAY}};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        for (int who = 0; who < 2; who++) {
            links_begin(2, NULL);
            give(who, &at[i], 0);
            assert_opens();
        }
}

static void know(int h, uint64_t earliest, uint64_t latest) {
    host[h].earliest = earliest;
    host[h].latest = latest;
    assert_int_equal(slv_dtls_renew(host[h].d, now, NULL), 0);
}

static void who_knows_the_time_holds_to_it(void **state) {
    (void)state;
    static const struct {
        struct slv_dtls_cert cert;
        uint64_t earliest, latest;
        bool good;
    } c[] = {
        {{.from = TODAY - DAY, .to = TODAY}, TODAY, TODAY, true},
        {{.from = TODAY - DAY, .to = TODAY}, TODAY + 1, TODAY + 5, false}, /* over */
        {{.from = TODAY - DAY, .to = TODAY}, TODAY + 1, UINT64_MAX, false},
        {{.from = TODAY - DAY, .to = TODAY}, 0, TODAY + DAY, true},
        {{.from = TODAY, .to = TODAY + DAY}, 0, TODAY - 1, false}, /* not begun */
        {{.from = TODAY, .to = TODAY + DAY}, 0, TODAY, true},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++)
        for (int who = 0; who < 2; who++) {
            links_begin(2, NULL);
            know(!who, c[i].earliest, c[i].latest);
            give(who, &c[i].cert, 0);
            if (c[i].good) assert_opens();
            else assert_refused(who, SLV_DTLS_WHY_TIME);
        }
}

/* What nodes make of what they know; `earliest` and `latest` of the maker and of the reader. */
static void what_a_node_makes_is_taken_by_others(void **state) {
    (void)state;
    static const struct {
        uint64_t maker[2], reader[2];
        bool good;
    } c[] = {
        {{0, UINT64_MAX}, {TODAY, TODAY}, true},                         /* no clock at all */
        {{TODAY, TODAY}, {0, UINT64_MAX}, true},                         /* the reader has none */
        {{TODAY - 300 * DAY, UINT64_MAX}, {TODAY, TODAY + 1}, true},     /* since it was built */
        {{TODAY, TODAY}, {TODAY - DAY, TODAY - DAY}, true},              /* a day apart */
        {{TODAY, TODAY}, {TODAY + 8 * DAY, TODAY + 8 * DAY}, true},      /* seven days old */
        {{TODAY, TODAY}, {TODAY + 8 * DAY + 1, TODAY + 9 * DAY}, false}, /* and not renewed */
        {{TODAY, TODAY}, {TODAY - 2 * DAY, TODAY - DAY - 1}, false},
        {{TODAY, TODAY}, {TODAY + 9 * DAY, UINT64_MAX}, false},
        {{UINT64_MAX, UINT64_MAX}, {0, UINT64_MAX}, true},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        links_begin(2, NULL);
        know(0, c[i].maker[0], c[i].maker[1]);
        host[1].earliest = c[i].reader[0];
        host[1].latest = c[i].reader[1];
        if (c[i].good) assert_opens();
        else assert_refused(0, SLV_DTLS_WHY_TIME);
    }
}

/* --- how it is spoken ------------------------------------------------------------------------- */

static void there_is_one_way_to_speak(void **state) {
    (void)state;
    links_begin(2, NULL); /* no extended master secret */
    SSL_CTX_set_options(host[0].d->ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    links_connect(0, 1, LINK, NULL);
    links_settle();
    assert_int_equal(reason(1), SLV_DTLS_WHY_MASTER_SECRET);
    assert_int_equal(reason(0), SLV_DTLS_WHY_MASTER_SECRET);
    assert_int_equal(host[0].changes, 1);
    links_end();
    links_begin(2, NULL); /* another suite */
    SSL_CTX_set_cipher_list(host[0].d->ctx, "ECDHE-ECDSA-AES128-GCM-SHA256");
    assert_refused(0, SLV_DTLS_WHY_PROTOCOL);
    links_begin(2, NULL); /* DTLS 1.0 */
    SSL_CTX_set_security_level(host[0].d->ctx, 0);
    SSL_CTX_set_min_proto_version(host[0].d->ctx, DTLS1_VERSION);
    SSL_CTX_set_max_proto_version(host[0].d->ctx, DTLS1_VERSION);
    SSL_CTX_set_cipher_list(host[0].d->ctx, "ALL");
    links_connect(0, 1, LINK, NULL);
    links_settle();
    assert_int_not_equal(reason(0), SLV_DTLS_WHY_NONE);
    assert_null(host[1].assoc[LINK]);
    links_end();
}

/* Either side asks for one; the other sends an alert at most, and no hello. */
static void a_second_handshake_within_the_first_is_not_had(void **state) {
    (void)state;
    for (int who = 0; who < 2; who++) {
        links_begin(2, NULL);
        links_connect(0, 1, LINK, NULL);
        links_run();
        SSL *ssl = host[who].assoc[LINK]->ssl;
        SSL_clear_options(ssl, SSL_OP_NO_RENEGOTIATION);
        SSL_alloc_buffers(ssl);
        SSL_renegotiate(ssl);
        SSL_do_handshake(ssl);
        assert_true(packet_first < packet_n);
        struct packet *asked = packet[packet_first++];
        links_deliver(asked);
        free(asked);
        while (packet_first < packet_n) {
            assert_true(packet[packet_first]->from == who || packet[packet_first]->n < 60);
            free(packet[packet_first++]);
        }
        assert_true(links_is_open(!who, LINK));
        links_send(!who, LINK, "x");
        links_end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit_of_a_certificate_counts),
        cmocka_unit_test(dates_that_are_none_are_refused),
        cmocka_unit_test(other_certificates_are_refused),
        cmocka_unit_test(other_kinds_of_keys_are_refused),
        cmocka_unit_test(a_certificate_without_its_key_is_of_no_use),
        cmocka_unit_test(who_does_not_know_the_time_shuts_nobody_out),
        cmocka_unit_test(who_knows_the_time_holds_to_it),
        cmocka_unit_test(what_a_node_makes_is_taken_by_others),
        cmocka_unit_test(there_is_one_way_to_speak),
        cmocka_unit_test(a_second_handshake_within_the_first_is_not_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
