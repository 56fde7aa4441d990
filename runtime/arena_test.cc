#include "arena.h"

#include <gtest/gtest.h>

#include <random>

#include "memory.h"
#include "testing/plan_builder.h"

namespace bireme::internal {
namespace {

struct Placement {
  Code code;
  std::vector<int64_t> offsets;
  int64_t arena_bytes = 0;
};

Placement place(const testing::PlanBuilder& builder, const std::vector<int64_t>& bytes) {
  const testing::Bytes plan = builder.plan_bytes();
  Placement result;
  result.offsets.resize(bytes.size());
  Fault fault = BIREME_STATUS_INIT;
  result.code = place_arena(*fb::GetPlan(plan.data()), bytes.data(), result.offsets.data(),
                            &result.arena_bytes, fault);
  return result;
}

TEST(Arena, StartsAtTheOffsetOrAfterTheOthers) {
  testing::PlanBuilder b;
  for (const char* name : {"a", "b", "c"}) b.tensor(name, fb::Place::Arena, {});
  b.plan.tensors[1]->after = {0};
  b.plan.tensors[2]->after = {0, 1};
  b.plan.tensors[2]->offset = 1000;  // rounded up to 1,024
  const Placement small = place(b, {100, 30, 7});
  EXPECT_EQ(small.offsets, (std::vector<int64_t>{0, 128, 1024}));
  EXPECT_EQ(small.arena_bytes, 1031);
  const Placement large = place(b, {100, 3000, 7});
  EXPECT_EQ(large.offsets, (std::vector<int64_t>{0, 128, 3136}));
  EXPECT_EQ(large.arena_bytes, 3143);
}

TEST(Arena, OrderedTensorsNeverOverlap) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    testing::PlanBuilder b;
    std::vector<int64_t> bytes;
    for (uint32_t i = 0; i < 30; ++i) {
      b.tensor("t", fb::Place::Arena, {});
      b.plan.tensors[i]->offset = random() % 2000;
      for (uint32_t j = 0; j < i; ++j)
        if (random() % 4 == 0) b.plan.tensors[i]->after.push_back(j);
      bytes.push_back(random() % 3 == 0 ? 0 : random() % 5000);
    }
    const Placement placement = place(b, bytes);
    ASSERT_EQ(placement.code, Code::ok);
    for (uint32_t i = 0; i < 30; ++i) {
      EXPECT_EQ(placement.offsets[i] % 64, 0);
      EXPECT_LE(placement.offsets[i] + bytes[i], placement.arena_bytes);
      for (uint32_t j : b.plan.tensors[i]->after)
        EXPECT_GE(placement.offsets[i], placement.offsets[j] + bytes[j]);
    }
  }
}

TEST(Arena, TooLargeIsAnError) {
  testing::PlanBuilder b;
  b.tensor("a", fb::Place::Arena, {});
  b.tensor("b", fb::Place::Arena, {});
  b.plan.tensors[1]->after = {0};
  EXPECT_EQ(place(b, {INT64_MAX - 10, 100}).code, Code::size_overflow);
  b.plan.tensors[0]->offset = UINT64_MAX - 3;
  EXPECT_EQ(place(b, {0, 0}).code, Code::size_overflow);
}

}  // namespace
}  // namespace bireme::internal
