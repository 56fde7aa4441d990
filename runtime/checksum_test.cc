#include "checksum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "xxh3.h"
#include "xxh64.h"

namespace bireme::internal {
namespace {

std::vector<uint8_t> bytes_of(size_t size) {
  std::vector<uint8_t> bytes(size);
  uint32_t state = 1;
  for (uint8_t& byte : bytes)
    byte = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

uint64_t checksum(const std::vector<uint8_t>& bytes, uint32_t threads = 1) {
  uint64_t result = 0;
  EXPECT_TRUE(section_checksum(bytes.data(), bytes.size(), threads, &result));
  return result;
}

// The rule of docs/artefact.md, written down once more.
uint64_t expected(const std::vector<uint8_t>& bytes) {
  std::vector<uint64_t> hashes;
  size_t at = 0;
  for (; bytes.size() - at >= kChecksumChunk; at += kChecksumChunk)
    hashes.push_back(xxh3(bytes.data() + at, kChecksumChunk));
  hashes.push_back(xxh64(bytes.data() + at, bytes.size() - at));
  return xxh64(hashes.data(), 8 * hashes.size());
}

TEST(Checksum, IsTheHashOfTheHashesOfChunks) {
  for (size_t size : {size_t{0}, size_t{1}, size_t{300}, kChecksumChunk - 1, kChecksumChunk,
                      kChecksumChunk + 1, 3 * kChecksumChunk, 9 * kChecksumChunk + 77}) {
    const std::vector<uint8_t> bytes = bytes_of(size);
    EXPECT_EQ(checksum(bytes), expected(bytes)) << size;
  }
}

TEST(Checksum, DoesNotDependOnThreads) {
  const std::vector<uint8_t> bytes = bytes_of(11 * kChecksumChunk + 5);
  const uint64_t alone = checksum(bytes);
  for (uint32_t threads : {0u, 2u, 3u, 64u})
    for (int round = 0; round < 5; ++round) EXPECT_EQ(checksum(bytes, threads), alone) << threads;
}

TEST(Checksum, SeesEveryChunkAndTheirOrder) {
  const std::vector<uint8_t> bytes = bytes_of(3 * kChecksumChunk + 5);
  const uint64_t before = checksum(bytes, 2);
  for (size_t at : {size_t{0}, kChecksumChunk + 17, 3 * kChecksumChunk - 1, bytes.size() - 1}) {
    std::vector<uint8_t> damaged = bytes;
    damaged[at] ^= 1;
    EXPECT_NE(checksum(damaged, 2), before) << at;
  }
  std::vector<uint8_t> swapped = bytes;
  std::swap_ranges(swapped.begin(), swapped.begin() + kChecksumChunk,
                   swapped.begin() + kChecksumChunk);
  EXPECT_NE(checksum(swapped, 2), before);
}

}  // namespace
}  // namespace bireme::internal
