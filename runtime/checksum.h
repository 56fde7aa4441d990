// The checksum of a section of the container (docs/artefact.md, "Checksums").
#ifndef BIREME_RUNTIME_CHECKSUM_H_
#define BIREME_RUNTIME_CHECKSUM_H_

#include <stddef.h>
#include <stdint.h>

namespace bireme::internal {

// A section is hashed in chunks of this size, which threads share.
constexpr size_t kChecksumChunk = size_t{1} << 20;

// The checksum of `bytes` bytes at `data`, found by up to `threads` threads of the pool. False if
// memory has run out: it needs 8 bytes for each chunk.
[[nodiscard]] bool section_checksum(const uint8_t* data, size_t bytes, uint32_t threads,
                                    uint64_t* checksum);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_CHECKSUM_H_
