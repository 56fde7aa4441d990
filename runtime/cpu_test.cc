#include "cpu.h"

#include <gtest/gtest.h>

namespace bireme::internal {
namespace {

TEST(Cpu, LevelsAreOrdered) {
  EXPECT_EQ(isa_level("x86-64-v2"), 1);
  EXPECT_EQ(isa_level("x86-64-v3"), 2);
  EXPECT_EQ(isa_level("x86-64-v4"), 3);
  EXPECT_EQ(isa_level("x86-64-v4-bf16"), 4);
  EXPECT_EQ(isa_level("x86-64-v5"), 0);
  EXPECT_EQ(isa_level(""), 0);
  for (int level = 1; level <= 4; ++level) EXPECT_EQ(isa_level(isa_name(level)), level);
  EXPECT_STREQ(isa_name(0), "none");
}

// The compiler's own detection is an independent witness.
TEST(Cpu, AgreesWithTheCompiler) {
  const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                  __builtin_cpu_supports("avx512cd");
  const bool bf16 = v4 && __builtin_cpu_supports("avx512bf16");
  EXPECT_EQ(cpu_isa_level(), bf16 ? 4 : v4 ? 3 : v3 ? 2 : v2 ? 1 : 0);
}

}  // namespace
}  // namespace bireme::internal
