#include "affinity.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

namespace bireme::internal {
namespace {

TEST(Affinity, ReadsCgroupQuotas) {
  EXPECT_EQ(parse_cpu_max("max 100000\n"), 0u);
  EXPECT_EQ(parse_cpu_max("200000 100000\n"), 2u);
  EXPECT_EQ(parse_cpu_max("150000 100000\n"), 2u);
  EXPECT_EQ(parse_cpu_max("5000 100000\n"), 1u);
  for (const char* broken : {"", "\n", "100000", "100000 0", "-1 100000", "abc def"})
    EXPECT_EQ(parse_cpu_max(broken), 0u) << broken;
}

TEST(Affinity, FollowsTheMaskOfTheThread) {
  EXPECT_GE(usable_cpus(), 1u);
  std::thread([] {
    cpu_set_t set;
    ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
    int first = 0;
    while (!CPU_ISSET(first, &set)) ++first;
    CPU_ZERO(&set);
    CPU_SET(first, &set);
    ASSERT_EQ(sched_setaffinity(0, sizeof set, &set), 0);
    EXPECT_EQ(usable_cpus(), 1u);
  }).join();
}

}  // namespace
}  // namespace bireme::internal
