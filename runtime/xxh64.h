// XXH64, the checksum of the container, written from its specification:
// github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
#ifndef BIREME_RUNTIME_XXH64_H_
#define BIREME_RUNTIME_XXH64_H_

#include <stddef.h>
#include <stdint.h>

namespace bireme::internal {

// Hash of `bytes` bytes at `data`, which needs no alignment, with seed 0.
uint64_t xxh64(const void* data, size_t bytes);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_XXH64_H_
