#include "memory.h"

#include <gtest/gtest.h>
#include <string.h>

namespace bireme::internal {
namespace {

TEST(Array, IsZeroAndReportsWhatCannotBe) {
  Array<int64_t> array;
  ASSERT_TRUE(array.create(1000));
  for (int64_t value : array) EXPECT_EQ(value, 0);
  EXPECT_EQ(array.bytes(), 8000u);
  ASSERT_TRUE(array.create(0));
  EXPECT_EQ(array.begin(), array.end());
  volatile size_t too_many = SIZE_MAX / 4;  // the product overflows; hidden from compiler warnings
  EXPECT_FALSE(array.create(too_many));
  EXPECT_EQ(array.size(), 0u);
}

TEST(Block, GrowsOnlyAndIsAligned) {
  Block block;
  for (size_t bytes : {size_t{1}, size_t{1000}, size_t{5} << 20}) {
    ASSERT_TRUE(block.reserve(bytes));
    EXPECT_EQ(block.bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block.data()) % kAlignment, 0u);
    memset(block.data(), 1, bytes);
    const uint8_t* before = block.data();
    ASSERT_TRUE(block.reserve(bytes / 2));
    EXPECT_EQ(block.data(), before);
  }
  EXPECT_FALSE(block.reserve(SIZE_MAX / 2));
  EXPECT_FALSE(block.reserve(SIZE_MAX));  // no whole number of huge pages
  EXPECT_EQ(block.data(), nullptr);
  EXPECT_EQ(block.bytes(), 0u);
}

TEST(RoundUp, GivesTheNextMultipleOrFails) {
  uint64_t result;
  EXPECT_TRUE(round_up(0, 64, &result) && result == 0);
  EXPECT_TRUE(round_up(1, 64, &result) && result == 64);
  EXPECT_TRUE(round_up(64, 64, &result) && result == 64);
  EXPECT_FALSE(round_up(UINT64_MAX - 5, 64, &result));
}

}  // namespace
}  // namespace bireme::internal
