#include "xxh64.h"

#include <gtest/gtest.h>
#include <string.h>

#include <vector>

namespace bireme::internal {
namespace {

// Values of the reference implementation.
TEST(Xxh64, KnownValues) {
  EXPECT_EQ(xxh64("", 0), 0xEF46DB3751D8E999u);
  EXPECT_EQ(xxh64("a", 1), 0xD24EC4F1A98C6E5Bu);
  EXPECT_EQ(xxh64("abc", 3), 0x44BC2CF5AD770999u);
  const char* text = "Nobody inspects the spammish repetition";  // 39 bytes: every kind of tail
  EXPECT_EQ(xxh64(text, strlen(text)), 0xFBCEA83C8A378BF1u);
}

TEST(Xxh64, NeedsNoAlignment) {
  std::vector<uint8_t> bytes(200);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 37);
  for (size_t size : {1u, 8u, 31u, 32u, 33u, 100u}) {
    const uint64_t expected = xxh64(bytes.data(), size);
    for (size_t shift = 1; shift < 8; ++shift) {
      std::vector<uint8_t> moved(shift);
      moved.insert(moved.end(), bytes.begin(), bytes.begin() + static_cast<long>(size));
      EXPECT_EQ(xxh64(moved.data() + shift, size), expected);
    }
  }
}

}  // namespace
}  // namespace bireme::internal
