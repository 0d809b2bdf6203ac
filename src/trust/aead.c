/* aead.c: see aead.h. */
#include "trust/aead.h"
#include "base/mem.h"
#include "trust/secret.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>

#define NONCE 12
#define BOUND 16 /* bytes that are authenticated beside the block */

struct slv_aead {
    EVP_CIPHER *cipher;
    uint8_t *key; /* slv_secret_alloc */
};

void slv_aead_close(struct slv_aead *a) {
    if (!a) return;
    EVP_CIPHER_free(a->cipher);
    slv_secret_free(a->key, SLV_AEAD_KEY);
    slv_mem_free(a);
}

int slv_aead_open(const uint8_t key[SLV_AEAD_KEY], struct slv_aead **ret, struct slv_err *err) {
    struct slv_aead *a = slv_mem_calloc(1, sizeof *a);
    if (a) a->key = slv_secret_alloc(SLV_AEAD_KEY);
    if (!a || !a->key) {
        slv_aead_close(a);
        return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    }
    memcpy(a->key, key, SLV_AEAD_KEY);
    a->cipher = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
    if (!a->cipher) {
        slv_aead_close(a);
        return slv_err_set(err, SLV_E_UNSUPPORTED, "libcrypto has no ChaCha20-Poly1305 here");
    }
    *ret = a;
    return 0;
}

/* Index first in both, little-endian; what is bound goes on with whether it is the last block. */
static void place(uint64_t index, bool last, uint8_t nonce[NONCE], uint8_t bound[BOUND]) {
    memset(nonce, 0, NONCE);
    memset(bound, 0, BOUND);
    for (size_t i = 0; i < 8; i++)
        nonce[i] = bound[i] = (uint8_t)(index >> (8 * i));
    bound[8] = last;
}

int slv_aead_seal(const struct slv_aead *a, uint64_t index, bool last, uint8_t *p, size_t n) {
    uint8_t nonce[NONCE], bound[BOUND];
    int len = 0;
    place(index, last, nonce, bound);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool ok = c && EVP_EncryptInit_ex2(c, a->cipher, a->key, nonce, NULL) == 1 &&
              EVP_EncryptUpdate(c, NULL, &len, bound, BOUND) == 1 &&
              EVP_EncryptUpdate(c, p, &len, p, (int)n) == 1 &&
              EVP_EncryptFinal_ex(c, p + n, &len) == 1 &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, SLV_AEAD_TAG, p + n) == 1;
    EVP_CIPHER_CTX_free(c);
    return ok ? 0 : SLV_E_NOMEM; /* nothing else of it can fail */
}

int slv_aead_unseal(const struct slv_aead *a, uint64_t index, bool last, uint8_t *p, size_t n) {
    uint8_t nonce[NONCE], bound[BOUND];
    int len = 0;
    place(index, last, nonce, bound);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool begun = c && EVP_DecryptInit_ex2(c, a->cipher, a->key, nonce, NULL) == 1 &&
                 EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, SLV_AEAD_TAG, p + n) == 1 &&
                 EVP_DecryptUpdate(c, NULL, &len, bound, BOUND) == 1 &&
                 EVP_DecryptUpdate(c, p, &len, p, (int)n) == 1;
    bool good = begun && EVP_DecryptFinal_ex(c, p + n, &len) == 1;
    EVP_CIPHER_CTX_free(c);
    if (!good) sodium_memzero(p, n + SLV_AEAD_TAG);
    return good ? 0 : begun ? SLV_E_TRUST : SLV_E_NOMEM;
}
