#include "random.h"

#include <gtest/gtest.h>

#include <set>

namespace bireme::internal {
namespace {

// The vectors that the authors publish with their library, Random123.
TEST(Philox, KnownAnswers) {
  struct Known {
    uint32_t counter[4];
    uint64_t key;
    uint32_t expected[4];
  };
  const Known all[] = {
      {{0, 0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       0xffffffffffffffff,
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       0x299f31d0a4093822,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Known& known : all) {
    uint32_t words[] = {known.counter[0], known.counter[1], known.counter[2], known.counter[3]};
    philox(words, known.key);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(words[i], known.expected[i]);
  }
}

// tests/ir/test_random.py expects the same of the reference.
TEST(DrawKey, KnownAnswers) {
  EXPECT_EQ(draw_key(0, 0, 0, 0), 0xe169c58d6627e8d5u);
  EXPECT_EQ(draw_key(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3, 0x243f6a88),
            0x94fdccebd16cfe09u);
}

TEST(DrawKey, DependsOnEverything) {
  std::set<uint64_t> keys;
  for (const uint64_t seed : {uint64_t{1}, uint64_t{1} << 32})
    for (const uint64_t run : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32})
      for (const uint32_t stream : {1u, 2u})
        for (const uint32_t draw : {0u, 1u}) keys.insert(draw_key(seed, run, stream, draw));
  EXPECT_EQ(keys.size(), 24u);
}

TEST(NewSeed, IsAnotherEachTime) {
  std::set<uint64_t> seeds;
  for (int i = 0; i < 100; ++i) seeds.insert(new_seed());
  EXPECT_EQ(seeds.size(), 100u);
}

}  // namespace
}  // namespace bireme::internal
