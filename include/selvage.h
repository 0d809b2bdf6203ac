/* selvage.h: run small language models on the machine at hand.
 *
 * Two nouns carry the whole library:
 *
 *   struct slv_model     an immutable model file: weights, tokenizer, chat template. Any number of
 *                        threads may use one model at once.
 *   struct slv_session   one conversation with a model: its KV cache and position. One thread at a
 *                        time.
 *
 * Rules that hold everywhere:
 *   - Functions return 0, or a negative SLV_E_* code. Where a person needs to know more, the last
 *     parameter is a struct slv_err that may be NULL.
 *   - Results come back through parameters named ret_*, written only on success.
 *   - The caller owns what it passes in; a callee borrows it for the call. What a function hands
 *     out belongs to the caller and is returned through the matching close function, which takes
 *     NULL.
 *   - The library never prints, never exits and never aborts on input.
 *   - The same model, tokens and options give the same bits: on any CPU, with any thread count.
 */
#ifndef SELVAGE_H
#define SELVAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SLV_API __attribute__((visibility("default")))
#define SLV_MUST_USE __attribute__((warn_unused_result))
#else
#define SLV_API
#define SLV_MUST_USE
#endif

/* name, value, exit status of the program, text */
#define SLV_ERRORS(X)                                                                              \
    X(NOMEM, -1, 4, "out of memory")                                                               \
    X(IO, -2, 1, "input or output failed")                                                         \
    X(NOENT, -3, 1, "not found")                                                                   \
    X(USAGE, -4, 2, "wrong usage")                                                                 \
    X(FORMAT, -5, 3, "malformed input file")                                                       \
    X(UNSUPPORTED, -6, 3, "not supported")                                                         \
    X(LIMIT, -7, 4, "a limit was exceeded")                                                        \
    X(FIT, -8, 4, "does not fit in the memory allowed")                                            \
    X(TRUST, -9, 5, "trust refused")                                                               \
    X(BAR, -10, 6, "a stated bar was missed")                                                      \
    X(NUMERIC, -11, 1, "the model produced values that are not numbers")                           \
    X(NET, -12, 1, "network failure")                                                              \
    X(BUSY, -13, 1, "busy")                                                                        \
    X(CANCELLED, -14, 130, "interrupted")                                                          \
    X(INTERNAL, -15, 1, "internal error")

enum slv_error {
    SLV_OK = 0,
#define SLV_ERROR_ENUM(name, value, status, text) SLV_E_##name = (value),
    SLV_ERRORS(SLV_ERROR_ENUM)
#undef SLV_ERROR_ENUM
};

/* What went wrong, for a person: one line without a final full stop. `code` is an SLV_E_*. */
struct slv_err {
    int code;
    char msg[500];
};

/* The fixed text of an error code; "unknown error" for any other number. Never NULL. */
SLV_API const char *slv_strerror(int code);

/* "0.1.0": major.minor.patch of the library that is linked. */
SLV_API const char *slv_version(void);

#ifdef __cplusplus
}
#endif
#endif
