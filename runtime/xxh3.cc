#include "xxh3.h"

#include <string.h>

#include "xxh_primes.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace bireme::internal {
namespace {

constexpr uint64_t kPrimeMix = 0x165667919E3779F9u;
constexpr uint32_t kShortPrime1 = 0x9E3779B1u;
constexpr uint32_t kShortPrime2 = 0x85EBCA77u;
constexpr uint32_t kShortPrime3 = 0xC2B2AE3Du;

// The default secret.
constexpr uint64_t kSecret[24] = {
    0xBE4BA423396CFEB8u, 0x1CAD21F72C81017Cu, 0xDB979083E96DD4DEu, 0x1F67B3B7A4A44072u,
    0x78E5C0CC4EE679CBu, 0x2172FFCC7DD05A82u, 0x8E2443F7744608B8u, 0x4C263A81E69035E0u,
    0xCB00C391BB52283Cu, 0xA32E531B8B65D088u, 0x4EF90DA297486471u, 0xD8ACDEA946EF1938u,
    0x3F349CE33F76FAA8u, 0x1D4F0BC7C7BBDCF9u, 0x3159B4CD4BE0518Au, 0x647378D9C97E9FC8u,
    0xC3EBD33483ACC5EAu, 0xEB6313FAFFA081C5u, 0x49DAF0B751DD0D17u, 0x9E68D429265516D3u,
    0xFCA1477D58BE162Bu, 0xCE31D07AD1B8F88Fu, 0x280416958F3ACB45u, 0x7E404BBBCAFBD7AFu,
};
constexpr size_t kLanes = 8;
constexpr size_t kStripe = 8 * kLanes;                               // bytes
constexpr size_t kStripesPerBlock = (sizeof kSecret - kStripe) / 8;  // the secret moves by 8
constexpr size_t kBlock = kStripesPerBlock * kStripe;                // bytes

// Two lanes in a register, where the machine has such; the compiler splits them where not.
typedef uint64_t Pair __attribute__((vector_size(16)));

// The lanes exchanged, and the product of the two halves of each. What compilers make of the
// general form is half as fast.
#if defined(__SSE2__)
Pair exchanged(Pair x) {
  return reinterpret_cast<Pair>(_mm_shuffle_epi32(reinterpret_cast<__m128i>(x), 0x4E));
}
Pair multiplied_halves(Pair x) {
  return reinterpret_cast<Pair>(
      _mm_mul_epu32(reinterpret_cast<__m128i>(x), reinterpret_cast<__m128i>(x >> 32)));
}
#elif defined(__aarch64__)
Pair exchanged(Pair x) {
  const uint64x2_t lanes = reinterpret_cast<uint64x2_t>(x);
  return reinterpret_cast<Pair>(vextq_u64(lanes, lanes, 1));
}
Pair multiplied_halves(Pair x) {
  const uint64x2_t lanes = reinterpret_cast<uint64x2_t>(x);
  return reinterpret_cast<Pair>(vmull_u32(vmovn_u64(lanes), vshrn_n_u64(lanes, 32)));
}
#else
Pair exchanged(Pair x) { return Pair{x[1], x[0]}; }
Pair multiplied_halves(Pair x) { return (x & 0xFFFFFFFFu) * (x >> 32); }
#endif

// Inlined and unrolled, also where the compiler is to save space, or the lanes go through memory.
inline __attribute__((always_inline)) void stripe(Pair lane[4], const uint8_t* data,
                                                  const uint8_t* secret) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    Pair value, key;
    memcpy(&value, data + 16 * i, sizeof value);
    memcpy(&key, secret + 16 * i, sizeof key);
    key ^= value;
    lane[i] += exchanged(value) + multiplied_halves(key);
  }
}

uint64_t folded(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

uint64_t xxh3(const void* data, size_t bytes) {
  const uint8_t* at = static_cast<const uint8_t*>(data);
  const uint8_t* secret = reinterpret_cast<const uint8_t*>(kSecret);
  Pair lane[4] = {{kShortPrime3, kPrime1},
                  {kPrime2, kPrime3},
                  {kPrime4, kShortPrime2},
                  {kPrime5, kShortPrime1}};
  const uint8_t* last = at + bytes - kStripe;
  const uint8_t* last_block = at + (bytes - 1) / kBlock * kBlock;
  for (; at < last_block; at += kBlock) {
    for (size_t i = 0; i < kStripesPerBlock; ++i) stripe(lane, at + i * kStripe, secret + 8 * i);
    for (int i = 0; i < 4; ++i) {
      Pair key;
      memcpy(&key, secret + sizeof kSecret - kStripe + 16 * i, sizeof key);
      lane[i] = (lane[i] ^ lane[i] >> 47 ^ key) * Pair{kShortPrime1, kShortPrime1};
    }
  }
  for (const uint8_t* key = secret; at < last; at += kStripe, key += 8) stripe(lane, at, key);
  stripe(lane, last, secret + sizeof kSecret - kStripe - 7);

  uint64_t hash = bytes * kPrime1;
  for (int i = 0; i < 4; ++i) {
    uint64_t key[2];
    memcpy(key, secret + 11 + 16 * i, sizeof key);
    hash += folded(lane[i][0] ^ key[0], lane[i][1] ^ key[1]);
  }
  hash = (hash ^ hash >> 37) * kPrimeMix;
  return hash ^ hash >> 32;
}

}  // namespace bireme::internal
