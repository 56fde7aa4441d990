// bireme.hpp, in the same binary as the library's own classes, as in a program linked statically.
#include <gtest/gtest.h>

#include "bireme/bireme.hpp"
#include "testing/plan_builder.h"

namespace {

using bireme::internal::testing::Bytes;

Bytes artefact() {
  auto b = bireme::internal::testing::doubling();
  bireme::internal::testing::add_image(b);
  return b.artefact();
}

TEST(Wrapper, LoadsRunsAndDescribes) {
  const Bytes file = artefact();
  bireme::Model model(file.data(), file.size());
  bireme::SessionOptions options;
  options.threads = 1;
  options.profile = true;
  bireme::Session session(model, options);
  EXPECT_STREQ(model.inputs()[0].name, "x");
  EXPECT_STREQ(model.outputs()[0].name, "y");
  EXPECT_STREQ(model.info().isa, "x86-64-v2");
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  const auto outputs = session.run({bireme::tensor(x.data(), {2, 3})});
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(outputs[0].data<float>()[5], 12.0f);
  EXPECT_THROW(outputs[0].data<int64_t>(), std::invalid_argument);
  EXPECT_EQ(session.memory().arena_bytes, 24u);
  session.set_seed(UINT64_MAX);
  EXPECT_EQ(session.seed(), UINT64_MAX);
  ASSERT_EQ(session.profile().size(), 2u);
  EXPECT_EQ(session.profile()[0].calls, 1u);
}

TEST(Wrapper, ThrowsWithEverything) {
  const Bytes file = artefact();
  bireme::Session session{bireme::Model(file.data(), file.size())};
  try {
    session.run({});
    FAIL();
  } catch (const bireme::Error& error) {
    EXPECT_EQ(error.code, 5003);
    EXPECT_EQ(std::string(error.what()).rfind("BM5003: 0 of 1 inputs given", 0), 0u);
    EXPECT_NE(std::string(error.what()).find("Hint: "), std::string::npos);
  }
  bireme::LoadOptions options;
  options.max_isa = "x86-64-v1";
  EXPECT_THROW(bireme::Model(file.data(), file.size(), options), bireme::Error);
  EXPECT_THROW(bireme::Model("/nowhere/x.bireme"), bireme::Error);
}

TEST(Wrapper, HandlesMove) {
  const Bytes file = artefact();
  bireme::Model a(file.data(), file.size());
  bireme::Model b(std::move(a));
  a = std::move(b);
  bireme::Session s(a);
  bireme::Session t(std::move(s));
  s = std::move(t);
  const float x[3] = {1, 2, 3};
  EXPECT_EQ(s.run({bireme::tensor(x, {1, 3})})[0].data<float>()[0], 2.0f);
}

}  // namespace
