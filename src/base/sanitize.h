/* sanitize.h: whether the program was built with a sanitizer that keeps a shadow of all memory
 * (address, thread, memory). Such a build takes more time and memory than a limit of its own would
 * allow, so what sets one asks here. */
#ifndef SLV_BASE_SANITIZE_H
#define SLV_BASE_SANITIZE_H

#define SLV_SANITIZED 0
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#undef SLV_SANITIZED
#define SLV_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#undef SLV_SANITIZED
#define SLV_SANITIZED 1
#endif
#endif

#endif
