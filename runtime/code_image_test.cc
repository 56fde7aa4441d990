#include "code_image.h"

#include <gtest/gtest.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "container.h"
#include "cpu.h"
#include "testing/plan_builder.h"

namespace bireme::internal {
namespace {

using testing::Bytes;
using testing::PlanBuilder;

PlanBuilder kernels(const std::string& isa = "x86-64-v2") {
  PlanBuilder b;
  for (const char* name : {"double", "exp", "fault"}) b.kernel(name);
  testing::add_image(b, isa);
  return b;
}

// Loads the image of a plan from memory or from a file that holds nothing but code.
class Loaded {
 public:
  Loaded(const PlanBuilder& builder, bool from_file, const char* max_isa = nullptr)
      : plan_(builder.plan_bytes()) {
    if (from_file) {
      std::string path = ::testing::TempDir() + "bireme_image_XXXXXX";
      const int file = mkstemp(path.data());
      EXPECT_EQ(write(file, builder.code.data(), builder.code.size()),
                static_cast<ssize_t>(builder.code.size()));
      close(file);
      EXPECT_EQ(artefact_.open_file(path.c_str(), fault), Code::ok);
      unlink(path.c_str());
    } else {
      code_bytes_ = builder.code;
      EXPECT_EQ(artefact_.use_memory(code_bytes_.data(), code_bytes_.size(), fault), Code::ok);
    }
    code = image.load(artefact_, 0, *fb::GetPlan(plan_.data()), max_isa, fault);
  }

  CodeImage image;
  Code code;
  Fault fault = BIREME_STATUS_INIT;

 private:
  Bytes plan_;
  Bytes code_bytes_;
  Mapping artefact_;
};

class CodeImageFrom : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Source, CodeImageFrom, ::testing::Bool(), [](const auto& info) {
  return info.param ? std::string("File") : std::string("Memory");
});

TEST_P(CodeImageFrom, RunsAndReachesTheCLibrary) {
  Loaded loaded(kernels(), GetParam());
  ASSERT_EQ(loaded.code, Code::ok) << loaded.fault.message;
  float x[5] = {0, 1, 2, -3, 0.5f}, y[5] = {};
  void* args[] = {x, y};
  EXPECT_EQ(loaded.image.kernel(0)(args, nullptr, nullptr, 1, 4), 0);
  EXPECT_EQ(y[0], 0.0f);
  EXPECT_EQ(y[3], -6.0f);
  EXPECT_EQ(y[4], 0.0f);
  EXPECT_EQ(loaded.image.kernel(1)(args, nullptr, nullptr, 0, 5), 0);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(y[i], expf(x[i]));
  EXPECT_EQ(loaded.image.kernel(2)(args, nullptr, nullptr, 0, 1), 2);
}

// What /proc/self/maps says about the page at an address.
std::string permissions(const void* address) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin, end;
    char mode[8];
    if (sscanf(line.c_str(), "%zx-%zx %7s", &begin, &end, mode) == 3 &&
        reinterpret_cast<uintptr_t>(address) - begin < end - begin)
      return mode;
  }
  return "";
}

TEST_P(CodeImageFrom, IsNeverWritable) {
  Loaded loaded(kernels(), GetParam());
  ASSERT_EQ(loaded.code, Code::ok);
  const auto* code = reinterpret_cast<const uint8_t*>(loaded.image.kernel(0));
  EXPECT_EQ(permissions(code), "r-xp");
  EXPECT_EQ(permissions(code + kPageBytes), "r--p");  // the import table
}

TEST_P(CodeImageFrom, RefusesUnknownImports) {
  PlanBuilder b = kernels();
  b.plan.images[0]->imports = {"expf", "system"};
  Loaded loaded(b, GetParam());
  EXPECT_EQ(loaded.code, Code::unknown_import);
  EXPECT_STREQ(loaded.fault.message, "it imports system");
}

TEST(CodeImage, TakesTheFirstThatTheCpuCanExecute) {
  PlanBuilder b;
  for (const char* name : {"double", "exp", "fault"}) b.kernel(name);
  for (const char* isa : {"armv9-sve", "x86-64-v4-bf16", "x86-64-v4", "x86-64-v3", "x86-64-v2"})
    testing::add_image(b, isa);
  const char* best[] = {"", "x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v4-bf16"};
  EXPECT_STREQ(Loaded(b, true).image.isa(), best[cpu_isa_level()]);
  EXPECT_STREQ(Loaded(b, true, "x86-64-v2").image.isa(), "x86-64-v2");
}

TEST(CodeImage, SaysWhyNoCodeFits) {
  Loaded newer(kernels("x86-64-v3"), false, "x86-64-v2");
  EXPECT_EQ(newer.code, Code::no_code_for_cpu);
  EXPECT_STREQ(newer.fault.message, "its code needs x86-64-v3, usable here is x86-64-v2");
  EXPECT_EQ(Loaded(kernels("riscv64"), false).code, Code::no_code_for_cpu);
  EXPECT_EQ(Loaded(kernels(), false, "pentium").code, Code::unknown_isa);
  PlanBuilder arm = kernels();
  arm.plan.target = "arm";
  EXPECT_EQ(Loaded(arm, false).code, Code::other_target);
  PlanBuilder none;
  none.kernel("double");
  EXPECT_EQ(Loaded(none, false).code, Code::no_code_for_cpu);
}

TEST(CodeImage, APlanWithoutKernelsNeedsNone) {
  EXPECT_EQ(Loaded(PlanBuilder(), false).code, Code::ok);
}

}  // namespace
}  // namespace bireme::internal
