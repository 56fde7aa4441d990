#include "imports.h"

#include <gtest/gtest.h>
#include <math.h>

namespace bireme::internal {
namespace {

template <class Function>
Function* import(const char* name) {
  return reinterpret_cast<Function*>(find_import(name));
}

TEST(Imports, AreTheFunctionsTheyAreNamedAfter) {
  EXPECT_EQ(import<float(float)>("expf")(1.5f), expf(1.5f));
  EXPECT_EQ(import<double(double)>("exp")(1.5), exp(1.5));
  EXPECT_EQ(import<float(float, float)>("powf")(3.0f, 2.5f), powf(3.0f, 2.5f));
  EXPECT_EQ(import<double(double, double, double)>("fma")(2, 3, 4), 10);
  EXPECT_EQ(import<float(float, int)>("ldexpf")(1.0f, 4), 16.0f);
}

TEST(Imports, NothingElseIsReachable) {
  for (const char* name : {"", "system", "mmap", "exp ", "EXPF"})
    EXPECT_EQ(find_import(name), nullptr) << name;
}

}  // namespace
}  // namespace bireme::internal
