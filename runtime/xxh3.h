// XXH3 of 64 bits, the checksum of large pieces of the container, written from its specification:
// github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
#ifndef BIREME_RUNTIME_XXH3_H_
#define BIREME_RUNTIME_XXH3_H_

#include <stddef.h>
#include <stdint.h>

namespace bireme::internal {

// The specification treats shorter input in other ways, which nobody needs here.
constexpr size_t kXxh3LeastBytes = 241;

// Hash of at least kXxh3LeastBytes bytes at `data`, which needs no alignment, with seed 0 and the
// default secret.
uint64_t xxh3(const void* data, size_t bytes);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_XXH3_H_
