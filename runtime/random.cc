#include "random.h"

#include <sys/random.h>
#include <time.h>
#include <unistd.h>

namespace bireme::internal {

void philox(uint32_t (&words)[4], uint64_t key) {
  uint32_t low = static_cast<uint32_t>(key);
  uint32_t high = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{words[0]} * 0xD2511F53u;
    const uint64_t second = uint64_t{words[2]} * 0xCD9E8D57u;
    words[0] = static_cast<uint32_t>(second >> 32) ^ words[1] ^ low;
    words[1] = static_cast<uint32_t>(second);
    words[2] = static_cast<uint32_t>(first >> 32) ^ words[3] ^ high;
    words[3] = static_cast<uint32_t>(first);
    low += 0x9E3779B9u;
    high += 0xBB67AE85u;
  }
}

uint64_t draw_key(uint64_t seed, uint64_t run, uint32_t stream, uint32_t draw) {
  uint32_t words[] = {draw, stream, static_cast<uint32_t>(run), static_cast<uint32_t>(run >> 32)};
  philox(words, seed);
  return uint64_t{words[1]} << 32 | words[0];
}

uint64_t new_seed() {
  uint64_t seed;
  if (getentropy(&seed, sizeof seed) == 0) return seed;
  // Only a sandbox forbids it. Then time, process and place in memory tell sessions apart.
  timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  uint32_t words[] = {static_cast<uint32_t>(time.tv_sec), static_cast<uint32_t>(time.tv_nsec),
                      static_cast<uint32_t>(getpid()), 0};
  philox(words, reinterpret_cast<uintptr_t>(&seed));
  return uint64_t{words[1]} << 32 | words[0];
}

}  // namespace bireme::internal
