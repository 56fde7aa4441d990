#include "xxh3.h"

#include <gtest/gtest.h>

#include <vector>

namespace bireme::internal {
namespace {

std::vector<uint8_t> example() {
  std::vector<uint8_t> bytes(size_t{1} << 20);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 37 + (i >> 8) * 11);
  return bytes;
}

// Values of the reference implementation: the shortest input, whole blocks and parts of them, whole
// stripes and parts of them.
TEST(Xxh3, KnownValues) {
  const std::vector<uint8_t> bytes = example();
  struct Case {
    size_t bytes;
    uint64_t hash;
  };
  for (const Case& c : {
           Case{kXxh3LeastBytes, 0x8A70955E58EC2034u},
           Case{256, 0xA37FD471FBEAD12Au},
           Case{1024, 0xCEE210E2B4C158A5u},
           Case{1025, 0x94E0718B12DE547Eu},
           Case{1088, 0x5E4B4176235A2AE7u},
           Case{5000, 0xF6D7344B3F249185u},
           Case{size_t{1} << 20, 0x10898CE62B517117u},
       })
    EXPECT_EQ(xxh3(bytes.data(), c.bytes), c.hash) << c.bytes;
}

TEST(Xxh3, NeedsNoAlignment) {
  const std::vector<uint8_t> bytes = example();
  for (size_t shift = 1; shift < 16; ++shift) {
    std::vector<uint8_t> moved(shift);
    moved.insert(moved.end(), bytes.begin(), bytes.begin() + 5000);
    EXPECT_EQ(xxh3(moved.data() + shift, 5000), 0xF6D7344B3F249185u) << shift;
  }
}

}  // namespace
}  // namespace bireme::internal
