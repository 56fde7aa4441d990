#include "session.h"

#include <gtest/gtest.h>
#include <string.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "pool.h"
#include "random.h"
#include "testing/plan_builder.h"

namespace bireme::internal {
namespace {

using testing::PlanBuilder;
using Shape = std::vector<int64_t>;

// ---- Kernels
// -------------------------------------------------------------------------------------

int32_t double_kernel(void* const* args, const int64_t*, void*, int64_t begin, int64_t end) {
  const auto* x = static_cast<const float*>(args[0]);
  auto* y = static_cast<float*>(args[1]);
  for (int64_t i = begin; i < end; ++i) y[i] = 2 * x[i];
  return 0;
}

// out[i] = in[i] + dims[0]
int32_t add_dim_kernel(void* const* args, const int64_t* dims, void*, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i)
    static_cast<float*>(args[1])[i] =
        static_cast<const float*>(args[0])[i] + static_cast<float>(dims[0]);
  return 0;
}

// condition = x[0] < limit[0], a bool
int32_t less_kernel(void* const* args, const int64_t*, void*, int64_t, int64_t) {
  *static_cast<bool*>(args[2]) =
      *static_cast<const float*>(args[0]) < *static_cast<const float*>(args[1]);
  return 0;
}

// Sums through 64 floats of scratch memory, to see that it is there.
int32_t scratch_kernel(void* const* args, const int64_t*, void* workspace, int64_t, int64_t) {
  auto* scratch = static_cast<float*>(workspace);
  for (int i = 0; i < 64; ++i) scratch[i] = static_cast<float>(i);
  float sum = 0;
  for (int i = 0; i < 64; ++i) sum += scratch[i];
  *static_cast<float*>(args[1]) = reinterpret_cast<uintptr_t>(workspace) % 64 == 0 ? sum : -1.0f;
  return 0;
}

// (x, kept, count): keeps the positive ones of dims[0] values; a count of 99 stands for -1.
int32_t keep_kernel(void* const* args, const int64_t* dims, void*, int64_t, int64_t) {
  const auto* x = static_cast<const float*>(args[0]);
  int64_t count = 0;
  for (int64_t i = 0; i < dims[0]; ++i)
    if (x[i] > 0) static_cast<float*>(args[1])[count++] = x[i];
  if (count > 0 && static_cast<float*>(args[1])[0] == 99) count = -1;
  *static_cast<int64_t*>(args[2]) = count;
  return 0;
}

int32_t fault_2_kernel(void* const*, const int64_t*, void*, int64_t, int64_t) { return 2; }
int32_t fault_9_kernel(void* const*, const int64_t*, void*, int64_t, int64_t) { return 9; }

std::atomic<int> waiting{0};
std::atomic<bool> released{false};
int32_t wait_kernel(void* const*, const int64_t*, void*, int64_t, int64_t) {
  waiting.fetch_add(1);
  while (!released.load()) std::this_thread::yield();
  return 0;
}

// ---- Fixture
// -------------------------------------------------------------------------------------

struct Outcome {
  Code code;
  std::vector<float> values;  // of output 0
  Shape shape;
};

class Program {
 public:
  Program(const PlanBuilder& builder, std::vector<Kernel> kernels, uint32_t threads = 1,
          uint32_t profile = 0)
      : file_(builder.artefact()), kernels_(std::move(kernels)) {
    kernels_.push_back(nullptr);  // so that data() is not null
    LoadOptions options;
    options.kernels = kernels_.data();
    EXPECT_EQ(Model::load_memory(file_.data(), file_.size(), options, &model_, fault), Code::ok)
        << fault.message;
    code = Session::create(*model_, threads, profile, &session, fault);
  }
  ~Program() {
    destroy_object(session);
    model_->release();
  }

  Outcome run(const std::vector<float>& x, const Shape& shape) {
    const std::vector<float> copy(x);
    bireme_tensor input = {const_cast<float*>(copy.data()), copy.size() * 4, shape.data(),
                           static_cast<uint32_t>(shape.size()), BIREME_F32};
    bireme_tensor output = {};
    Outcome result;
    result.code = session->run(&input, 1, &output, 1, fault);
    if (result.code != Code::ok) return result;
    result.shape.assign(output.shape, output.shape + output.rank);
    result.values.resize(output.bytes / 4);
    if (output.bytes) memcpy(result.values.data(), output.data, output.bytes);
    return result;
  }

  Code code;
  Session* session = nullptr;
  Fault fault = BIREME_STATUS_INIT;

 private:
  testing::Bytes file_;
  std::vector<Kernel> kernels_;
  Model* model_ = nullptr;
};

// ---- Tests
// ---------------------------------------------------------------------------------------

TEST(Session, RunsAndReplansWhenShapesChange) {
  Program program(testing::doubling(), {double_kernel});
  for (int64_t n : {2, 50, 1, 100, 2}) {
    std::vector<float> x(static_cast<size_t>(n) * 3);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
    const Outcome run = program.run(x, {n, 3});
    ASSERT_EQ(run.code, Code::ok) << program.fault.message;
    EXPECT_EQ(run.shape, (Shape{n, 3}));
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(run.values[i], 2 * x[i]);
  }
}

TEST(Session, AnErrorLeavesItUsable) {
  Program program(testing::doubling(), {double_kernel});
  EXPECT_EQ(program.run({1, 2, 3}, {1, 3}).code, Code::ok);
  EXPECT_EQ(program.run({1, 2, 3}, {101, 3}).code, Code::symbol_range);
  const Outcome run = program.run({1, 2, 3}, {1, 3});
  EXPECT_EQ(run.code, Code::ok);
  EXPECT_EQ(run.values, (std::vector<float>{2, 4, 6}));
}

TEST(Session, AllocatesAtCreationForTheLargestSizes) {
  bireme_memory_info info = BIREME_MEMORY_INFO_INIT;
  Program fixed(testing::doubling(10), {double_kernel});
  fixed.session->memory(info);
  EXPECT_EQ(info.arena_bytes, 120u);
  EXPECT_GE(info.peak_bytes, info.arena_bytes);
  Program bounded(testing::doubling(), {double_kernel});
  bounded.session->memory(info);
  EXPECT_EQ(info.arena_bytes, 1200u);
  EXPECT_GE(info.output_bytes, 1200u);
  auto unbounded = testing::doubling();
  unbounded.plan.symbols[0]->max = -1;
  Program open(unbounded, {double_kernel});
  open.session->memory(info);
  EXPECT_EQ(info.arena_bytes, 0u);
  auto vast = testing::doubling();
  vast.plan.symbols[0]->max = INT64_MAX;
  Program hopeless(vast, {double_kernel});
  hopeless.session->memory(info);
  EXPECT_EQ(info.arena_bytes, 0u);
}

TEST(Session, PlanReportsOutputs) {
  Program program(testing::doubling(), {double_kernel});
  const int64_t shape[] = {5, 3};
  const bireme_tensor input = {nullptr, 0, shape, 2, BIREME_F32};
  bireme_tensor output = {};
  ASSERT_EQ(program.session->plan(&input, 1, &output, 1, program.fault), Code::ok);
  EXPECT_EQ(output.bytes, 60u);
  EXPECT_EQ(output.rank, 2u);
  EXPECT_EQ(output.shape[0], 5);
  EXPECT_EQ(output.dtype, BIREME_F32);
  EXPECT_EQ(program.session->plan(&input, 1, nullptr, 0, program.fault), Code::ok);
  EXPECT_EQ(program.session->plan(&input, 1, &output, 2, program.fault), Code::bad_argument);
}

TEST(Session, UsesTheCallersMemory) {
  Program program(testing::doubling(), {double_kernel});
  const int64_t shape[] = {1, 3};
  float x[] = {1, 2, 3}, y[4] = {0, 0, 0, 77};
  bireme_tensor input = {x, sizeof x, shape, 2, BIREME_F32};
  bireme_tensor output = {};
  output.data = y;
  output.bytes = sizeof y;
  ASSERT_EQ(program.session->run(&input, 1, &output, 1, program.fault), Code::ok);
  EXPECT_EQ(output.data, y);
  EXPECT_EQ(output.bytes, 12u);
  EXPECT_EQ(y[2], 6.0f);
  EXPECT_EQ(y[3], 77.0f);

  output.bytes = 11;
  EXPECT_EQ(program.session->run(&input, 1, &output, 1, program.fault), Code::output_too_small);
  EXPECT_STREQ(program.fault.message, "tensor y has memory of 11 bytes, it needs 12");
  output.bytes = 12;
  output.data = reinterpret_cast<uint8_t*>(y) + 1;
  EXPECT_EQ(program.session->run(&input, 1, &output, 1, program.fault), Code::bad_address);
  output.data = y;
  input.data = nullptr;
  EXPECT_EQ(program.session->run(&input, 1, &output, 1, program.fault), Code::bad_address);
  input.data = x;
  input.bytes = 8;
  EXPECT_EQ(program.session->run(&input, 1, &output, 1, program.fault), Code::wrong_size);
  EXPECT_EQ(program.session->run(&input, 1, &output, 0, program.fault), Code::bad_argument);
}

TEST(Session, EmptyTensorsNeedNoMemory) {
  PlanBuilder b;
  const std::vector<uint32_t> shape = {b.symbol("n")};
  const uint32_t x = b.tensor("x", fb::Place::Input, shape);
  b.launch(b.kernel("double"), {x, b.tensor("y", fb::Place::Output, shape)}, {shape[0]});
  Program program(b, {double_kernel});
  const Outcome run = program.run({}, {0});
  EXPECT_EQ(run.code, Code::ok) << program.fault.message;
  EXPECT_EQ(run.shape, Shape{0});
}

TEST(Session, PassesDimsAndWeights) {
  PlanBuilder b;
  const uint32_t n = b.symbol("n");
  b.tensor("x", fb::Place::Input, {n});
  const uint32_t w = b.weight("w", {10, 20, 30});
  const uint32_t y = b.tensor("y", fb::Place::Output, {b.constant(3)});
  PlanBuilder::LaunchOptions options;
  options.tasks = b.constant(3);
  options.dims = {n, 0};
  b.launch(b.kernel("add_dim"), {w, y}, options);
  Program program(b, {add_dim_kernel});
  EXPECT_EQ(program.run({0, 0, 0, 0}, {4}).values, (std::vector<float>{14, 24, 34}));
}

TEST(Session, GivesAlignedScratchMemory) {
  PlanBuilder b;
  const std::vector<uint32_t> shape = {b.constant(1)};
  const uint32_t x = b.tensor("x", fb::Place::Input, shape);
  PlanBuilder::LaunchOptions options;
  options.tasks = shape[0];
  options.workspace = b.constant(256);
  b.launch(b.kernel("scratch"), {x, b.tensor("y", fb::Place::Output, shape)}, options);
  Program program(b, {scratch_kernel});
  EXPECT_EQ(program.run({0}, {1}).values[0], 2016.0f);
}

// if x[0] < limit: y = x else y = limit
TEST(Session, Branches) {
  PlanBuilder b;
  const std::vector<uint32_t> one = {b.constant(1)};
  const uint32_t x = b.tensor("x", fb::Place::Input, one);
  const uint32_t y = b.tensor("y", fb::Place::Output, one);
  const uint32_t limit = b.weight("limit", {5});
  const uint32_t condition = b.tensor("c", fb::Place::Arena, {}, fb::DType::Bool);
  b.launch(b.kernel("less"), {x, limit, condition}, {one[0]});
  b.jump_if_false(condition, 4);
  b.copy(x, y);
  b.jump(5);
  b.copy(limit, y);
  Program program(b, {less_kernel});
  EXPECT_EQ(program.run({3}, {1}).values[0], 3.0f);
  EXPECT_EQ(program.run({8}, {1}).values[0], 5.0f);
}

// if x[0] < limit: (n must be 2) y = x else y = limit
TEST(Session, ChecksOnlyTheBranchThatRuns) {
  PlanBuilder b;
  const uint32_t one = b.constant(1), n = b.symbol("n");
  const uint32_t x = b.tensor("x", fb::Place::Input, {n});
  const uint32_t y = b.tensor("y", fb::Place::Output, {n});
  const uint32_t limit = b.weight("limit", {5});
  const uint32_t condition = b.tensor("c", fb::Place::Arena, {}, fb::DType::Bool);
  b.launch(b.kernel("less"), {x, limit, condition}, {one});
  b.jump_if_false(condition, 5);
  const uint32_t check = b.check(n, b.constant(2));
  b.plan.instructions[check]->source = b.source("reshape", "Reshape_3");
  b.copy(x, y);
  b.jump(6);
  b.copy(limit, y);
  Program program(b, {less_kernel});
  EXPECT_EQ(program.run({3, 4}, {2}).values, (std::vector<float>{3, 4}));
  EXPECT_EQ(program.run({8}, {1}).values[0], 5.0f);
  EXPECT_EQ(program.run({3}, {1}).code, Code::constraint_violated);
  EXPECT_STREQ(program.fault.node, "Reshape_3");
  EXPECT_EQ(program.run({8}, {1}).values[0], 5.0f);
}

// while state < limit: state *= 2
TEST(Session, LoopsByJumpingBack) {
  PlanBuilder b;
  const std::vector<uint32_t> one = {b.constant(1)};
  const uint32_t x = b.tensor("x", fb::Place::Input, one);
  const uint32_t y = b.tensor("y", fb::Place::Output, one);
  const uint32_t limit = b.weight("limit", {100});
  const uint32_t state = b.tensor("s", fb::Place::Arena, one);
  const uint32_t condition = b.tensor("c", fb::Place::Arena, {}, fb::DType::Bool);
  b.plan.tensors[condition]->after = {state};
  b.copy(x, state);
  b.launch(b.kernel("less"), {state, limit, condition}, {one[0]});
  b.jump_if_false(condition, 5);
  b.launch(b.kernel("double"), {state, state}, {one[0]});
  b.jump(1);
  b.copy(state, y);
  Program program(b, {less_kernel, double_kernel});
  EXPECT_EQ(program.run({3}, {1}).values[0], 192.0f);
  EXPECT_EQ(program.run({100}, {1}).values[0], 100.0f);
}

// y[steps - 1 - i] = 2 * x[i], row by row: a moving input, a moving output, negative stride.
PlanBuilder reversed_rows() {
  PlanBuilder b;
  const uint32_t steps = b.symbol("t");
  const uint32_t two = b.constant(2), eight = b.constant(8), minus_eight = b.constant(-8);
  const uint32_t x = b.tensor("x", fb::Place::Input, {steps, two});
  const uint32_t y = b.tensor("y", fb::Place::Output, {steps, two});
  const uint32_t last =
      b.scalar(fb::ScalarOp::Mul, b.scalar(fb::ScalarOp::Sub, steps, b.constant(1)), eight);
  const uint32_t kernel = b.kernel("double");
  b.loop(steps, [&](uint32_t loop) {
    const auto i = static_cast<int32_t>(loop);
    b.launch(kernel,
             {b.view("xi", x, {two}, 0, i, eight), b.view("yi", y, {two}, last, i, minus_eight)},
             {two});
  });
  return b;
}

TEST(Session, ViewsMoveWithLoops) {
  Program program(reversed_rows(), {double_kernel});
  EXPECT_EQ(program.run({1, 2, 3, 4, 5, 6}, {3, 2}).values,
            (std::vector<float>{10, 12, 6, 8, 2, 4}));
  EXPECT_EQ(program.run({1, 2}, {1, 2}).values, (std::vector<float>{2, 4}));
  const Outcome empty = program.run({}, {0, 2});
  EXPECT_EQ(empty.code, Code::ok) << program.fault.message;
  EXPECT_EQ(empty.shape, (Shape{0, 2}));
}

// Two loops, one inside the other, each with its moving views: y[j] = x[j] three times over.
TEST(Session, LoopsNest) {
  PlanBuilder b;
  const uint32_t rows = b.constant(3), columns = b.constant(4), one = b.constant(1);
  const uint32_t x = b.tensor("x", fb::Place::Input, {rows, columns});
  const uint32_t y = b.tensor("y", fb::Place::Output, {rows, columns});
  const uint32_t row = b.tensor("row", fb::Place::Arena, {columns});
  const uint32_t result = b.tensor("result", fb::Place::Arena, {columns});
  b.plan.tensors[result]->after = {row};
  const uint32_t kernel = b.kernel("double");
  const uint32_t sixteen = b.constant(16), four = b.constant(4);
  b.loop(rows, [&](uint32_t outer) {
    const auto i = static_cast<int32_t>(outer);
    b.copy(b.view("xi", x, {columns}, 0, i, sixteen), row);
    b.loop(columns, [&](uint32_t inner) {
      const auto j = static_cast<int32_t>(inner);
      b.launch(kernel,
               {b.view("a", row, {one}, 0, j, four), b.view("b", result, {one}, 0, j, four)},
               {one});
    });
    b.copy(result, b.view("yi", y, {columns}, 0, i, sixteen));
  });
  Program program(b, {double_kernel});
  std::vector<float> x_values(12), expected(12);
  for (size_t i = 0; i < 12; ++i) x_values[i] = static_cast<float>(i), expected[i] = 2.0f * i;
  EXPECT_EQ(program.run(x_values, {3, 4}).values, expected);
}

// y = 2 x for the positive elements of x [n]; n <= 100 and at most `most` hits.
PlanBuilder positives(int64_t most = 0) {
  PlanBuilder b;
  const uint32_t n = b.symbol("n", 0, 100);
  const uint32_t x = b.tensor("x", fb::Place::Input, {n});
  const uint32_t kept = b.tensor("kept", fb::Place::Arena, {n});
  const uint32_t count = b.tensor("count", fb::Place::Arena, {}, fb::DType::I64);
  b.plan.tensors[count]->after = {kept};
  b.source("compress", "Compress_3");
  b.launch(b.kernel("keep"), {x, kept, count}, {b.constant(1), 0, 0, {n}});
  const uint32_t hits = b.symbol("hits");
  b.bind(count, hits, most ? b.constant(most) : n);
  const uint32_t y = b.tensor("y", fb::Place::Output, {hits});
  b.plan.tensors[y]->capacity = static_cast<int32_t>(b.plan.tensors[kept]->bytes);
  b.launch(b.kernel("double"), {b.view("hit", kept, {hits}, 0), y}, {hits});
  return b;
}

TEST(Session, SizesComeFromData) {
  Program program(positives(), {keep_kernel, double_kernel}, 2, true);
  for (int round = 0; round < 3; ++round) {
    Outcome run = program.run({1, -1, 2, 3, -5}, {5});
    ASSERT_EQ(run.code, Code::ok) << program.fault.message;
    EXPECT_EQ(run.values, (std::vector<float>{2, 4, 6}));
    EXPECT_EQ(run.shape, (Shape{3}));
    EXPECT_EQ(program.run({-1, -1, -2, -3, -5}, {5}).shape, (Shape{0}));
    EXPECT_EQ(program.run({4, 4}, {2}).values, (std::vector<float>{8, 8}));
    EXPECT_EQ(program.run({}, {0}).shape, (Shape{0}));
  }
  bireme_profile_entry entry = BIREME_PROFILE_ENTRY_INIT;
  program.session->profile(1, entry);
  EXPECT_STREQ(entry.kind, "bind");
}

TEST(Session, OutputsOfUnknownSizeNeedTheirBound) {
  Program program(positives(), {keep_kernel, double_kernel});
  const int64_t shape[] = {4};
  float x[] = {1, -2, 3, -4}, y[] = {0, 0, 77, 0};
  const bireme_tensor input = {x, sizeof x, shape, 1, BIREME_F32};
  bireme_tensor output = {};
  ASSERT_EQ(program.session->plan(&input, 1, &output, 1, program.fault), Code::ok);
  EXPECT_EQ(output.bytes, 16u);
  EXPECT_EQ(output.shape[0], -1);
  output.data = y;
  ASSERT_EQ(program.session->run(&input, 1, &output, 1, program.fault), Code::ok);
  EXPECT_EQ(output.bytes, 8u);
  EXPECT_EQ(output.shape[0], 2);
  EXPECT_EQ(y[1], 6.0f);
  EXPECT_EQ(y[2], 77.0f);
  EXPECT_EQ(program.session->run(&input, 1, &output, 1, program.fault), Code::output_too_small);
}

TEST(Session, ASizeOutsideItsBoundIsAFault) {
  Program program(positives(2), {keep_kernel, double_kernel});
  EXPECT_EQ(program.run({1, 2, 3}, {3}).code, Code::data_size_range);
  EXPECT_STREQ(program.fault.message, "hits is 3, it must lie in 0 to 2");
  EXPECT_STREQ(program.fault.node, "Compress_3");
  EXPECT_EQ(program.run({99}, {1}).code, Code::data_size_range);
  EXPECT_EQ(program.run({1, 2, -3}, {3}).values, (std::vector<float>{2, 4}));
}

// More hits than the plan reserves memory for, and a size that the model forbids.
TEST(Session, WhatABindDecidesIsChecked) {
  PlanBuilder b = positives();
  b.plan.tensors[3]->capacity = static_cast<int32_t>(b.constant(8));
  Program small(b, {keep_kernel, double_kernel});
  EXPECT_EQ(small.run({1, 2, 3}, {3}).code, Code::size_overflow);
  EXPECT_STREQ(small.fault.message, "tensor y: 12 bytes, the plan reserves 8");
  EXPECT_STREQ(small.fault.node, "Compress_3");
  EXPECT_EQ(small.run({1, 2}, {2}).values, (std::vector<float>{2, 4}));

  b = positives();
  fb::ConstraintT constraint;
  constraint.a = b.plan.tensors[3]->shape[0];
  constraint.b = b.constant(2);
  b.plan.constraints.push_back(std::make_unique<fb::ConstraintT>(constraint));
  Program two(b, {keep_kernel, double_kernel});
  EXPECT_EQ(two.run({1, 2, 3}, {3}).code, Code::constraint_violated);
  EXPECT_EQ(two.run({1, 2}, {2}).code, Code::ok);

  b = positives();  // a view that starts behind the last hit
  b.plan.tensors[4]->view_offset =
      b.scalar(fb::ScalarOp::Mul, b.constant(4), b.plan.tensors[3]->shape[0]);
  Program view(b, {keep_kernel, double_kernel});
  EXPECT_EQ(view.run({1, 2, 3}, {3}).code, Code::view_out_of_bounds);
  EXPECT_EQ(view.run({-1, 2, -3}, {3}).code, Code::ok);

  b = positives();  // 1 / hits
  b.plan.instructions[2]->cost =
      b.scalar(fb::ScalarOp::FloorDiv, b.constant(1), b.plan.tensors[3]->shape[0]);
  Program division(b, {keep_kernel, double_kernel});
  EXPECT_EQ(division.run({-1}, {1}).code, Code::size_overflow);
  EXPECT_EQ(division.run({1}, {1}).code, Code::ok);
}

// Each row of x [2, 3] has its own number of hits; y counts with the loop how often a row has them.
TEST(Session, BindsAgainInEveryIteration) {
  PlanBuilder b;
  const uint32_t rows = b.constant(2), columns = b.constant(3), twelve = b.constant(12);
  const uint32_t x = b.tensor("x", fb::Place::Input, {rows, columns});
  const uint32_t y = b.tensor("y", fb::Place::Output, {rows, columns});
  const uint32_t kept = b.tensor("kept", fb::Place::Arena, {columns});
  const uint32_t count = b.tensor("count", fb::Place::Arena, {}, fb::DType::I64);
  b.plan.tensors[count]->after = {kept};
  const uint32_t hits = b.symbol("hits", 0, 3, 1);
  const uint32_t keep = b.kernel("keep"), twice = b.kernel("double");
  b.loop(rows, [&](uint32_t outer) {
    const auto i = static_cast<int32_t>(outer);
    const uint32_t row = b.view("row", x, {columns}, 0, i, twelve);
    b.launch(keep, {row, kept, count}, {b.constant(1), 0, 0, {columns}});
    b.bind(count, hits, columns);
    b.loop(hits, [&](uint32_t inner) {
      const auto j = static_cast<int32_t>(inner);
      const uint32_t one = b.constant(1), four = b.constant(4);
      b.copy(b.view("hit", kept, {one}, 0, j, four), kept);
    });
    b.launch(twice, {b.view("hits", kept, {hits}, 0), b.view("out", y, {hits}, 0, i, twelve)},
             {hits});
  });
  Program program(b, {keep_kernel, double_kernel});
  for (int round = 0; round < 2; ++round) {
    const Outcome run = program.run({1, -1, 5, -2, -3, -4}, {2, 3});
    ASSERT_EQ(run.code, Code::ok) << program.fault.message;
    EXPECT_EQ(run.values[0], 10.0f);  // the inner loop moved the last hit to the front
    EXPECT_EQ(run.values[1], 10.0f);
    EXPECT_EQ(program.run({-1, -1, -1, 7, 8, 9}, {2, 3}).values[3], 18.0f);
  }
}

// A plan that jumps over a Bind is not what a compiler writes, but it must not reach other memory:
// sizes are those of the last time, or 0 where the shapes are new.
TEST(Session, ABindThatIsJumpedOverLeavesSafeSizes) {
  PlanBuilder b;
  const uint32_t n = b.symbol("n", 1), one = b.constant(1);
  const uint32_t x = b.tensor("x", fb::Place::Input, {n});
  const uint32_t condition = b.tensor("c", fb::Place::Arena, {}, fb::DType::Bool);
  const uint32_t limit = b.weight("limit", {5}), two = b.weight("two", {0, 0});
  const int64_t value = 2;
  memcpy(b.weights.data() + b.plan.tensors[two]->offset, &value, sizeof value);
  b.plan.tensors[two]->dtype = fb::DType::I64;
  b.plan.tensors[two]->shape = {one};
  b.launch(b.kernel("less"), {x, limit, condition}, {one});
  b.jump_if_false(condition, 3);
  const uint32_t hits = b.symbol("hits");
  b.bind(two, hits, n);
  const uint32_t y = b.tensor("y", fb::Place::Output, {hits});
  b.plan.tensors[y]->capacity = static_cast<int32_t>(b.plan.tensors[x]->bytes);
  b.launch(b.kernel("double"), {b.view("head", x, {hits}, 0), y}, {hits});
  Program program(b, {less_kernel, double_kernel});
  EXPECT_EQ(program.run({9, 1, 1}, {3}).shape, (Shape{0}));
  EXPECT_EQ(program.run({1, 2, 3}, {3}).values, (std::vector<float>{2, 4}));
  EXPECT_EQ(program.run({9, 2, 3}, {3}).values, (std::vector<float>{18, 4}));
  EXPECT_EQ(program.run({9}, {1}).shape, (Shape{0}));
  EXPECT_EQ(program.run({1}, {1}).code, Code::data_size_range);
  EXPECT_EQ(program.run({9}, {1}).shape, (Shape{0}));
}

// y[0] is a key of the first stream, drawn once; y[1] to y[3] of the second, drawn in a loop.
PlanBuilder drawing(uint32_t first, uint32_t second) {
  PlanBuilder b;
  const uint32_t four = b.constant(4), eight = b.constant(8);
  const uint32_t y = b.tensor("y", fb::Place::Output, {four}, fb::DType::U64);
  b.draw(b.view("", y, {}, 0, -1, 0, fb::DType::U64), first, 77);
  b.loop(b.constant(3), [&](uint32_t loop) {
    const auto counter = static_cast<int32_t>(loop);
    b.draw(b.view("", y, {}, eight, counter, eight, fb::DType::U64), second, 77);
  });
  return b;
}

std::vector<uint64_t> keys(Program& program) {
  bireme_tensor output = {};
  EXPECT_EQ(program.session->run(nullptr, 0, &output, 1, program.fault), Code::ok);
  const auto* data = static_cast<const uint64_t*>(output.data);
  return std::vector<uint64_t>(data, data + 4);
}

TEST(Session, KeysDependOnSeedRunAndDraw) {
  Program program(drawing(1, 2), {});
  ASSERT_EQ(program.session->set_seed(5, program.fault), Code::ok);
  EXPECT_EQ(program.session->seed(), 5u);
  for (uint64_t run = 0; run < 3; ++run)
    EXPECT_EQ(keys(program),
              (std::vector<uint64_t>{draw_key(5, run, 1, 0), draw_key(5, run, 2, 0),
                                     draw_key(5, run, 2, 1), draw_key(5, run, 2, 2)}));
  ASSERT_EQ(program.session->set_seed(5, program.fault), Code::ok);
  EXPECT_EQ(keys(program)[0], draw_key(5, 0, 1, 0));
}

TEST(Session, EachHasASeedOfItsOwn) {
  Program one(drawing(1, 2), {}), other(drawing(1, 2), {});
  EXPECT_NE(one.session->seed(), other.session->seed());
  EXPECT_NE(keys(one), keys(other));
}

TEST(Session, AStreamWithASeedRepeatsItself) {
  Program program(drawing(0, 0), {});
  const std::vector<uint64_t> expected = {draw_key(77, 0, 0, 0), draw_key(77, 0, 0, 0),
                                          draw_key(77, 0, 0, 1), draw_key(77, 0, 0, 2)};
  for (uint64_t seed : {1u, 2u}) {
    ASSERT_EQ(program.session->set_seed(seed, program.fault), Code::ok);
    for (int run = 0; run < 2; ++run) EXPECT_EQ(keys(program), expected);
  }
}

TEST(Session, KernelFaultsNameTheOperation) {
  const std::pair<Kernel, Code> cases[] = {{fault_2_kernel, Code::division_by_zero},
                                           {fault_9_kernel, Code::kernel_fault}};
  for (const auto& [kernel, code] : cases) {
    Program program(testing::doubling(), {kernel});
    EXPECT_EQ(program.run({1, 2, 3}, {1, 3}).code, code);
    EXPECT_STREQ(program.fault.op, "add");
    EXPECT_STREQ(program.fault.node, "Add_7");
  }
}

// Two versions: one task for n = 2, more scratch memory for n = 3; any other n takes the launch
// itself.
TEST(Session, TakesTheFirstVersionWhoseGuardsHold) {
  PlanBuilder b = testing::doubling();
  const uint32_t n = b.plan.tensors[0]->shape[0], columns = b.plan.tensors[0]->shape[1];
  const uint32_t one = b.constant(1);
  const uint32_t add = b.kernel("add"), scratch = b.kernel("scratch");
  b.version(0, add, {one}, {{2, n}, {4, columns}});  // never: there are 3 columns
  b.version(0, add, {one}, {{2, n}, {3, columns}});
  b.version(0, scratch, {one, 0, b.constant(256)}, {{3, n}});
  b.plan.instructions[0]->dims = {n};
  Program program(b, {double_kernel, add_dim_kernel, scratch_kernel}, 1, true);
  const std::vector<float> x(12, 1.0f);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(program.run(x, {2, 3}).values[0], 3.0f);
    bireme_profile_entry entry = BIREME_PROFILE_ENTRY_INIT;
    program.session->profile(0, entry);
    EXPECT_STREQ(entry.kernel, "add");
    EXPECT_EQ(program.run(x, {3, 3}).values[0], 2016.0f);
    bireme_memory_info info = BIREME_MEMORY_INFO_INIT;
    program.session->memory(info);
    EXPECT_EQ(info.workspace_bytes, 256u);
    EXPECT_EQ(program.run(x, {4, 3}).values[11], 2.0f);
  }
  b.plan.instructions[0]->versions[2]->tasks = b.constant(-1);
  Program bad(b, {double_kernel, add_dim_kernel, scratch_kernel});
  EXPECT_EQ(bad.run(x, {3, 3}).code, Code::size_overflow);
  EXPECT_EQ(bad.run(x, {4, 3}).code, Code::ok);
}

TEST(Session, SizesOfInstructionsAreChecked) {
  PlanBuilder b = testing::doubling(1);
  b.plan.instructions[0]->tasks = b.constant(-1);
  Program tasks(b, {double_kernel});
  EXPECT_EQ(tasks.code, Code::size_overflow);
  EXPECT_STREQ(tasks.fault.node, "Add_7");

  b = testing::doubling(1);
  b.plan.instructions[0]->workspace = b.constant(-1);
  EXPECT_EQ(Program(b, {double_kernel}).code, Code::size_overflow);

  b = testing::doubling(1);
  b.plan.instructions[0]->workspace = b.constant(INT64_MAX);
  EXPECT_EQ(Program(b, {double_kernel}, 2).code, Code::size_overflow);

  b = testing::doubling(1);  // a copy to something smaller
  const uint32_t small = b.tensor("small", fb::Place::Arena, {b.constant(1)});
  b.copy(1, small);
  EXPECT_EQ(Program(b, {double_kernel}).code, Code::size_overflow);

  b = testing::doubling(1);  // a key where there is no room
  b.draw(b.tensor("none", fb::Place::Arena, {b.constant(0)}, fb::DType::U64), 1);
  EXPECT_EQ(Program(b, {double_kernel}).code, Code::size_overflow);

  b = testing::doubling(1);
  b.plan.tensors[1]->offset = uint64_t{1} << 50;
  EXPECT_EQ(Program(b, {double_kernel}).code, Code::out_of_memory);
}

TEST(Session, SecondThreadIsToldThatItIsBusy) {
  waiting = 0;
  released = false;
  Program program(testing::doubling(1), {wait_kernel});
  std::thread other([&] { EXPECT_EQ(program.run({1, 2, 3}, {1, 3}).code, Code::ok); });
  while (waiting.load() == 0) std::this_thread::yield();
  Fault fault = BIREME_STATUS_INIT;
  const int64_t shape[] = {1, 3};
  const bireme_tensor input = {nullptr, 0, shape, 2, BIREME_F32};
  bireme_tensor output = {};
  EXPECT_EQ(program.session->plan(&input, 1, nullptr, 0, fault), Code::session_busy);
  EXPECT_EQ(program.session->run(&input, 1, &output, 1, fault), Code::session_busy);
  EXPECT_EQ(program.session->set_seed(1, fault), Code::session_busy);
  released = true;
  other.join();
}

TEST(Session, ProfilesEveryInstruction) {
  Program program(reversed_rows(), {double_kernel}, 1, 1);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(program.run({1, 2, 3, 4, 5, 6}, {3, 2}).code, Code::ok);
  ASSERT_EQ(program.session->profile_count(), 3u);
  const uint64_t calls[] = {2, 6, 6};
  const char* kinds[] = {"loop", "elementwise", "loop"};
  for (uint32_t i = 0; i < 3; ++i) {
    bireme_profile_entry entry = BIREME_PROFILE_ENTRY_INIT;
    program.session->profile(i, entry);
    EXPECT_EQ(entry.calls, calls[i]);
    EXPECT_STREQ(entry.kind, kinds[i]);
    EXPECT_STREQ(entry.node, "node");
  }
  Program quiet(reversed_rows(), {double_kernel});
  EXPECT_EQ(quiet.session->profile_count(), 0u);
}

TEST(Session, ProfilesWhatIsKnownOfTheWork) {
  PlanBuilder b = testing::doubling();
  const uint32_t n = static_cast<uint32_t>(b.plan.instructions[0]->tasks);
  b.plan.instructions[0]->operations = static_cast<int32_t>(n);
  b.plan.instructions[0]->moved = static_cast<int32_t>(b.scalar(fb::ScalarOp::Mul, n, n));
  Program program(b, {double_kernel}, 1, 1);
  for (int64_t rows : {1, 2}) {
    const std::vector<float> x(static_cast<size_t>(rows) * 3, 1.0f);
    ASSERT_EQ(program.run(x, {rows, 3}).code, Code::ok);
  }
  bireme_profile_entry entry = BIREME_PROFILE_ENTRY_INIT;
  program.session->profile(0, entry);
  EXPECT_EQ(entry.calls, 2u);
  EXPECT_EQ(entry.operations, 3 + 6);
  EXPECT_EQ(entry.bytes, 9 + 36);
  EXPECT_EQ(entry.tasks, 6);

  Program silent(testing::doubling(), {double_kernel}, 1, 2);
  ASSERT_EQ(silent.run({1, 2, 3}, {1, 3}).code, Code::ok);
  silent.session->profile(0, entry);
  EXPECT_EQ(entry.operations, -1);
  EXPECT_EQ(entry.bytes, -1);
}

TEST(Session, TracesTheLastRun) {
  Program program(reversed_rows(), {double_kernel}, 1, 1);
  ASSERT_TRUE(program.session->trace().create(100));
  for (int i = 0; i < 2; ++i) ASSERT_EQ(program.run({1, 2, 3, 4, 5, 6}, {3, 2}).code, Code::ok);
  const Trace& trace = program.session->trace();
  ASSERT_EQ(trace.added(), 7u);  // of one run: LoopBegin, and three times Launch and LoopEnd
  const uint32_t order[] = {0, 1, 2, 1, 2, 1, 2};
  for (uint32_t i = 0; i < 7; ++i) {
    EXPECT_EQ(trace.events()[i].instruction, order[i]);
    EXPECT_EQ(trace.events()[i].worker, 0u);
    if (i) EXPECT_LE(trace.events()[i - 1].end, trace.events()[i].begin);
  }
}

// A pool of the application that counts how often it is asked.
void count_and_run(void* user, void (*body)(void*, uint32_t), void* context, uint32_t workers) {
  ++*static_cast<int*>(user);
  for (uint32_t worker = 0; worker < workers; ++worker) body(context, worker);
}

TEST(Session, AShortRunWakesNobody) {
  int asked = 0;
  Fault fault = BIREME_STATUS_INIT;
  ASSERT_EQ(pool_set({sizeof(bireme_pool_options), 4, count_and_run, &asked}, fault), Code::ok);
  PlanBuilder b = testing::doubling();
  const uint32_t rows = b.plan.instructions[0]->tasks;
  b.plan.instructions[0]->cost = b.scalar(fb::ScalarOp::Mul, rows, b.constant(1'000));
  Program program(b, {double_kernel}, 0);
  const auto run = [&](int64_t n) {
    asked = 0;
    const std::vector<float> x(static_cast<size_t>(n) * 3, 1.0f);
    EXPECT_EQ(program.run(x, {n, 3}).values, std::vector<float>(x.size(), 2.0f));
    return asked;
  };
  EXPECT_EQ(run(20), 0);
  EXPECT_EQ(run(100), 1);
  EXPECT_EQ(run(20), 0);
  ASSERT_EQ(pool_set({sizeof(bireme_pool_options), 0, nullptr, nullptr}, fault), Code::ok);
}

TEST(Session, ManySessionsShareThePool) {
  Fault fault = BIREME_STATUS_INIT;
  bireme_pool_options pool = BIREME_POOL_OPTIONS_INIT;
  pool.threads = 3;
  ASSERT_EQ(pool_set(pool, fault), Code::ok);
  PlanBuilder b = testing::doubling();
  b.plan.instructions[0]->cost = b.constant(1'000'000'000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&b, t] {
      Program program(b, {double_kernel}, 0);
      for (int64_t round = 0; round < 300; ++round) {
        const int64_t n = 1 + (round * 7 + t) % 100;
        std::vector<float> x(static_cast<size_t>(n) * 3, static_cast<float>(round));
        const Outcome run = program.run(x, {n, 3});
        ASSERT_EQ(run.code, Code::ok);
        for (float value : run.values) ASSERT_EQ(value, 2 * static_cast<float>(round));
      }
    });
  for (std::thread& thread : threads) thread.join();
  pool.threads = 0;
  ASSERT_EQ(pool_set(pool, fault), Code::ok);
}

}  // namespace
}  // namespace bireme::internal
