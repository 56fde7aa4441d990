#include "xxh64.h"

#include <string.h>

#include "xxh_primes.h"

namespace bireme::internal {
namespace {

uint64_t rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

template <class T>
uint64_t read(const uint8_t* at) {  // little-endian hosts only, as the whole format
  T value;
  memcpy(&value, at, sizeof value);
  return value;
}

uint64_t round(uint64_t accumulator, uint64_t lane) {
  return rotate(accumulator + lane * kPrime2, 31) * kPrime1;
}

uint64_t merge(uint64_t accumulator, uint64_t lane) {
  return (accumulator ^ round(0, lane)) * kPrime1 + kPrime4;
}

}  // namespace

uint64_t xxh64(const void* data, size_t bytes) {
  const uint8_t* at = static_cast<const uint8_t*>(data);
  size_t left = bytes;
  uint64_t hash = kPrime5;

  if (left >= 32) {
    uint64_t lane[4] = {kPrime1 + kPrime2, kPrime2, 0, uint64_t{0} - kPrime1};
    for (; left >= 32; at += 32, left -= 32)
      for (int i = 0; i < 4; ++i) lane[i] = round(lane[i], read<uint64_t>(at + 8 * i));
    hash = rotate(lane[0], 1) + rotate(lane[1], 7) + rotate(lane[2], 12) + rotate(lane[3], 18);
    for (uint64_t value : lane) hash = merge(hash, value);
  }
  hash += bytes;

  for (; left >= 8; at += 8, left -= 8)
    hash = rotate(hash ^ round(0, read<uint64_t>(at)), 27) * kPrime1 + kPrime4;
  for (; left >= 4; at += 4, left -= 4)
    hash = rotate(hash ^ read<uint32_t>(at) * kPrime1, 23) * kPrime2 + kPrime3;
  for (; left > 0; ++at, --left) hash = rotate(hash ^ *at * kPrime5, 11) * kPrime1;

  hash = (hash ^ hash >> 33) * kPrime2;
  hash = (hash ^ hash >> 29) * kPrime3;
  return hash ^ hash >> 32;
}

}  // namespace bireme::internal
