// The numbers that the hashes of the xxHash family multiply with, from its specification.
#ifndef BIREME_RUNTIME_XXH_PRIMES_H_
#define BIREME_RUNTIME_XXH_PRIMES_H_

#include <stdint.h>

namespace bireme::internal {

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87u;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4Fu;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9u;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63u;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5u;

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_XXH_PRIMES_H_
