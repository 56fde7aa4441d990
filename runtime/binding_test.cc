#include "binding.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "testing/plan_builder.h"

namespace bireme::internal {
namespace {

using testing::PlanBuilder;
using Shape = std::vector<int64_t>;

// Binds the shapes to the inputs of a plan; the message is "" on success.
class Binding {
 public:
  explicit Binding(const PlanBuilder& builder) : file_(builder.artefact()) {
    LoadOptions options;
    static const Kernel none[8] = {};
    options.kernels = none;
    const Code code = Model::load_memory(file_.data(), file_.size(), options, &model_, fault);
    EXPECT_EQ(code, Code::ok) << fault.message;
    EXPECT_EQ(sizes.create(*model_, fault), Code::ok);
  }
  ~Binding() { model_->release(); }

  Code bind(const std::vector<Shape>& shapes, bireme_dtype dtype = BIREME_F32) {
    std::vector<bireme_tensor> inputs;
    for (const Shape& shape : shapes)
      inputs.push_back({nullptr, 0, shape.data(), static_cast<uint32_t>(shape.size()), dtype});
    Code code = check_inputs(*model_, inputs.data(), static_cast<uint32_t>(inputs.size()), fault);
    if (code == Code::ok) code = bind_sizes(*model_, inputs.data(), sizes, fault);
    message = code == Code::ok ? "" : fault.message;
    return code;
  }

  Sizes sizes;
  Fault fault = BIREME_STATUS_INIT;
  std::string message;

 private:
  testing::Bytes file_;
  Model* model_ = nullptr;
};

TEST(Binding, BindsSymbolsAndSizesTensors) {
  Binding binding(testing::doubling());
  ASSERT_EQ(binding.bind({{7, 3}}), Code::ok);
  EXPECT_EQ(binding.sizes.symbols[0], 7);
  EXPECT_EQ(binding.sizes.bytes[0], 84);
}

TEST(Binding, NamesInputAndDimension) {
  Binding binding(testing::doubling());
  EXPECT_EQ(binding.bind({}), Code::missing_input);
  EXPECT_EQ(binding.message, "0 of 1 inputs given, x is missing");
  EXPECT_EQ(binding.bind({{1, 3}, {1, 3}}), Code::unexpected_input);
  EXPECT_EQ(binding.bind({{1, 3}}, BIREME_I64), Code::wrong_dtype);
  EXPECT_EQ(binding.message, "input x is int64, the model has float32");
  EXPECT_EQ(binding.bind({{1, 3}}, 77), Code::wrong_dtype);
  EXPECT_EQ(binding.bind({{1, 3}}, 256 + BIREME_F32), Code::wrong_dtype);
  EXPECT_EQ(binding.bind({{3}}), Code::wrong_rank);
  EXPECT_EQ(binding.message, "input x has 1 dimensions, the model has 2");
  EXPECT_EQ(binding.bind({{1, 4}}), Code::wrong_size);
  EXPECT_EQ(binding.message, "input x: dimension 1 is 4, the model has 3");
  EXPECT_EQ(binding.bind({{0, 3}}), Code::symbol_range);
  EXPECT_EQ(binding.message, "input x: dimension 0 (n) is 0, the model needs at least 1");
  EXPECT_EQ(binding.bind({{101, 3}}), Code::symbol_range);
  EXPECT_EQ(binding.bind({{-1, 3}}), Code::symbol_range);
  EXPECT_EQ(binding.bind({{1, -3}}), Code::wrong_size);
}

TEST(Binding, OccurrencesOfASymbolAgree) {
  PlanBuilder b;
  const uint32_t n = b.symbol("n");
  b.tensor("a", fb::Place::Input, {n, n});
  b.tensor("b", fb::Place::Input, {n});
  Binding binding(b);
  EXPECT_EQ(binding.bind({{2, 2}, {2}}), Code::ok);
  EXPECT_EQ(binding.bind({{2, 2}, {3}}), Code::symbol_conflict);
  EXPECT_EQ(binding.message, "input b: dimension 0 (n) is 3, but another dimension gave n = 2");
  EXPECT_EQ(binding.bind({{0, 0}, {0}}), Code::ok);  // 0 is a size like others
}

TEST(Binding, ComputedDimensionsAreChecked) {
  PlanBuilder b;
  const uint32_t n = b.symbol("n");
  const uint32_t doubled = b.scalar(fb::ScalarOp::Mul, n, b.constant(2));
  b.tensor("b", fb::Place::Input, {doubled});  // before the input that binds n
  b.tensor("a", fb::Place::Input, {n});
  Binding binding(b);
  EXPECT_EQ(binding.bind({{6}, {3}}), Code::ok);
  EXPECT_EQ(binding.bind({{7}, {3}}), Code::wrong_size);
  EXPECT_EQ(binding.message, "input b: dimension 0 is 7, the model has 6");
}

TEST(Binding, ConstraintsNameTheirSource) {
  PlanBuilder b;
  const uint32_t n = b.symbol("n"), m = b.symbol("m");
  b.tensor("a", fb::Place::Input, {n, m});
  auto constraint = std::make_unique<fb::ConstraintT>();
  constraint->a = n;
  constraint->b = m;
  constraint->source = b.source("reshape", "Reshape_3");
  b.plan.constraints.push_back(std::move(constraint));
  Binding binding(b);
  EXPECT_EQ(binding.bind({{4, 4}}), Code::ok);
  EXPECT_EQ(binding.bind({{4, 5}}), Code::constraint_violated);
  EXPECT_STREQ(binding.fault.op, "reshape");
  EXPECT_STREQ(binding.fault.node, "Reshape_3");
}

TEST(Binding, SizesThatOverflowAreErrors) {
  PlanBuilder b;
  const uint32_t n = b.symbol("n");
  b.tensor("a", fb::Place::Input, {n});
  const uint32_t t = b.tensor("t", fb::Place::Arena, {n, n});
  Binding binding(b);
  EXPECT_EQ(binding.bind({{1000}}), Code::ok);
  EXPECT_EQ(binding.bind({{int64_t{1} << 40}}), Code::size_overflow);

  b.plan.tensors[t]->bytes = b.constant(-5);
  EXPECT_EQ(Binding(b).bind({{1}}), Code::size_overflow);
  b.plan.tensors[t]->bytes = b.constant(3);  // less than one element
  EXPECT_EQ(Binding(b).bind({{1}}), Code::size_overflow);
  b.plan.tensors[t]->bytes = b.constant(100);  // more is room for a halo
  EXPECT_EQ(Binding(b).bind({{1}}), Code::ok);
  b.plan.tensors[0]->bytes = b.constant(100);  // but not of what the caller gives
  EXPECT_EQ(Binding(b).bind({{1}}), Code::size_overflow);
}

TEST(Binding, ViewsStayInsideTheirBase) {
  struct Case {
    int64_t offset, stride, trip;
    Code expected;
  };
  const Case cases[] = {
      {0, 8, 10, Code::ok},
      {8, 8, 10, Code::view_out_of_bounds},
      {72, -8, 10, Code::ok},
      {72, -8, 11, Code::view_out_of_bounds},
      {-8, 8, 2, Code::view_out_of_bounds},
      {0, INT64_MAX, 3, Code::view_out_of_bounds},
      {1000, 8, 0, Code::ok},  // a loop that does not run uses no view
  };
  for (const Case& c : cases) {
    PlanBuilder b;
    const uint32_t x = b.tensor("x", fb::Place::Input, {b.constant(20)});
    const uint32_t y = b.tensor("y", fb::Place::Output, {b.constant(2)});
    const uint32_t pair = b.constant(2);
    b.loop(b.constant(c.trip), [&](uint32_t) {
      b.copy(b.view("v", x, {pair}, b.constant(c.offset), 0, b.constant(c.stride)), y);
    });
    Binding binding(b);
    EXPECT_EQ(binding.bind({{20}}), c.expected) << c.offset << " " << c.stride << " " << c.trip;
  }
}

}  // namespace
}  // namespace bireme::internal
