// Sleeping until a 32-bit word changes.
#ifndef BIREME_RUNTIME_FUTEX_H_
#define BIREME_RUNTIME_FUTEX_H_

#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace bireme::internal {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

// Returns when woken, at once if `word` is not `expected`, or for no reason: call it in a loop.
inline void futex_wait(std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

inline void futex_wake(std::atomic<uint32_t>& word, int threads) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0);
}

// Tells the processor that this thread is waiting for another.
inline void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_FUTEX_H_
