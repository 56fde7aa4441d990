#include "verifier.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "testing/plan_builder.h"

namespace bireme::internal {
namespace {

using testing::Bytes;
using testing::PlanBuilder;

struct Result {
  Code code;
  std::string message;
};

Result verify(const PlanBuilder& builder) {
  const Bytes plan = builder.plan_bytes();
  const fb::Plan* parsed;
  ScalarHints hints;
  Fault fault = BIREME_STATUS_INIT;
  const Code code = verify_plan(plan.data(), plan.size(), builder.code.size(),
                                builder.weights.size(), &parsed, &hints, fault);
  return {code, fault.message};
}

// A plan that has one of everything.
//   0 launch  1 jump_if_false(->5)  2 loop_begin  3 copy(moving view)  4 loop_end  5 jump(->6)
//   6 bind  7 launch
PlanBuilder everything() {
  PlanBuilder b = testing::doubling();
  b.plan.instructions.pop_back();
  b.version(0, 0, {b.plan.instructions[0]->tasks}, {{4, b.plan.tensors[0]->shape[0]}});
  testing::add_image(b);
  const uint32_t four = b.constant(4);
  const uint32_t w = b.weight("w", std::vector<float>(20, 1.0f));
  const uint32_t condition = b.tensor("c", fb::Place::Arena, {}, fb::DType::Bool);
  b.plan.tensors[condition]->after = {1};
  b.jump_if_false(condition, 5);
  b.loop(four, [&](uint32_t loop) {
    const uint32_t part = b.view("part", w, {four}, 0, static_cast<int32_t>(loop), four);
    b.copy(part, b.view("row", 1, {four}, 0));
  });
  b.jump(6);
  const uint32_t count = b.tensor("count", fb::Place::Arena, {}, fb::DType::I64);
  b.plan.tensors[count]->after = {1};
  const uint32_t hits = b.symbol("hits", 0, 4);
  b.bind(count, hits, four);
  const uint32_t kept = b.tensor("kept", fb::Place::Arena, {hits});
  b.plan.tensors[kept]->capacity = static_cast<int32_t>(four);
  b.plan.tensors[kept]->after = {1};
  b.launch(0, {kept, kept}, {hits, 0, 0, {hits}});
  fb::ConstraintT constraint;
  constraint.a = constraint.b = four;
  b.plan.constraints.push_back(std::make_unique<fb::ConstraintT>(constraint));
  return b;
}

TEST(Verifier, AcceptsOneOfEverything) {
  const Result result = verify(everything());
  EXPECT_EQ(result.code, Code::ok) << result.message;
}

TEST(Verifier, AcceptsAnEmptyPlan) { EXPECT_EQ(verify(PlanBuilder()).code, Code::ok); }

TEST(Verifier, RefusesBytesThatAreNoPlan) {
  const fb::Plan* plan;
  ScalarHints hints;
  Fault fault = BIREME_STATUS_INIT;
  alignas(8) const uint8_t noise[64] = {200, 1, 2, 3};
  EXPECT_EQ(verify_plan(noise, sizeof noise, 0, 0, &plan, &hints, fault), Code::plan_malformed);
  EXPECT_EQ(verify_plan(noise, 0, 0, 0, &plan, &hints, fault), Code::plan_malformed);
}

struct Attack {
  const char* name;
  const char* words;  // of the message
  std::function<void(fb::PlanT&)> change;
};

constexpr uint32_t kFar = 1'000'000;

const Attack kAttacks[] = {
    {"scalar_forward", "refers to one that is not before",
     [](fb::PlanT& p) { p.scalars.emplace_back(kFar, 0, fb::ScalarOp::Add); }},
    {"scalar_itself", "refers to one that is not before",
     [](fb::PlanT& p) {
       p.scalars.emplace_back(0, static_cast<uint32_t>(p.scalars.size()), fb::ScalarOp::Add);
     }},
    {"scalar_negative", "refers to one that is not before",
     [](fb::PlanT& p) { p.scalars.emplace_back(-1, 0, fb::ScalarOp::Add); }},
    {"scalar_symbol", "there is no symbol",
     [](fb::PlanT& p) { p.scalars.emplace_back(7, 0, fb::ScalarOp::Symbol); }},
    {"scalar_op", "unknown operation",
     [](fb::PlanT& p) { p.scalars.emplace_back(0, 0, static_cast<fb::ScalarOp>(99)); }},
    {"scalar_divides_by_zero", "at the symbols' hints",
     [](fb::PlanT& p) { p.scalars.emplace_back(0, 0, fb::ScalarOp::FloorDiv); }},
    {"symbol_range", "symbol n", [](fb::PlanT& p) { p.symbols[0]->max = 0; }},
    {"symbol_negative", "symbol n", [](fb::PlanT& p) { p.symbols[0]->min = -1; }},
    {"symbol_unbound", "not a dimension of any input",
     [](fb::PlanT& p) {
       p.symbols.push_back(std::make_unique<fb::SymbolT>());
       p.symbols.back()->name = "free";
     }},
    {"tensor_shape", "there is no scalar", [](fb::PlanT& p) { p.tensors[0]->shape[0] = kFar; }},
    {"tensor_shape_arena", "there is no scalar",
     [](fb::PlanT& p) { p.tensors[1]->shape[0] = kFar; }},
    {"tensor_rank", "rank above", [](fb::PlanT& p) { p.tensors[1]->shape.assign(100, 0); }},
    {"tensor_bytes", "bytes is no scalar", [](fb::PlanT& p) { p.tensors[1]->bytes = kFar; }},
    {"tensor_dtype", "unknown dtype",
     [](fb::PlanT& p) { p.tensors[1]->dtype = static_cast<fb::DType>(23); }},
    {"tensor_place", "unknown place",
     [](fb::PlanT& p) { p.tensors[1]->place = static_cast<fb::Place>(5); }},
    {"weight_end", "not inside the weights", [](fb::PlanT& p) { p.tensors[3]->offset = 64; }},
    {"weight_far", "not inside the weights",
     [](fb::PlanT& p) { p.tensors[3]->offset = uint64_t{0} - 64; }},
    {"weight_alignment", "not aligned", [](fb::PlanT& p) { p.tensors[3]->offset = 4; }},
    {"weight_symbolic", "not constant",
     [](fb::PlanT& p) { p.tensors[3]->bytes = p.tensors[0]->bytes; }},
    {"view_base", "there is no tensor", [](fb::PlanT& p) { p.tensors[5]->base = kFar; }},
    {"view_of_view", "base is a view", [](fb::PlanT& p) { p.tensors[5]->base = 6; }},
    {"view_of_itself", "base is a view", [](fb::PlanT& p) { p.tensors[5]->base = 5; }},
    {"view_offset", "view_offset", [](fb::PlanT& p) { p.tensors[5]->view_offset = kFar; }},
    {"view_loop", "there is no loop", [](fb::PlanT& p) { p.tensors[5]->loop = 1; }},
    {"view_loop_negative", "there is no loop", [](fb::PlanT& p) { p.tensors[5]->loop = -2; }},
    {"view_stride", "loop_stride", [](fb::PlanT& p) { p.tensors[5]->loop_stride = kFar; }},
    {"order_far", "arena_order", [](fb::PlanT& p) { p.arena_order[0] = kFar; }},
    {"order_twice", "occurs twice", [](fb::PlanT& p) { p.arena_order.push_back(1); }},
    {"order_missing", "is missing", [](fb::PlanT& p) { p.arena_order.pop_back(); }},
    {"order_place", "is not Arena", [](fb::PlanT& p) { p.arena_order.push_back(0); }},
    {"order_late", "stands before",
     [](fb::PlanT& p) { std::swap(p.arena_order[0], p.arena_order[1]); }},
    {"after_far", "there is no tensor", [](fb::PlanT& p) { p.tensors[1]->after = {kFar}; }},
    {"after_itself", "stands before", [](fb::PlanT& p) { p.tensors[1]->after = {1}; }},
    {"after_weight", "stands before", [](fb::PlanT& p) { p.tensors[1]->after = {3}; }},
    {"input_far", "there is no tensor", [](fb::PlanT& p) { p.inputs[0] = kFar; }},
    {"input_place", "has another place", [](fb::PlanT& p) { p.inputs.push_back(1); }},
    {"input_twice", "occurs twice", [](fb::PlanT& p) { p.inputs.push_back(0); }},
    {"output_missing", "is missing", [](fb::PlanT& p) { p.outputs.clear(); }},
    {"image_offset", "not inside the code", [](fb::PlanT& p) { p.images[0]->offset = 4096; }},
    {"image_overflow", "not inside the code",
     [](fb::PlanT& p) { p.images[0]->offset = uint64_t{0} - 4096; }},
    {"image_bytes", "not inside the code", [](fb::PlanT& p) { p.images[0]->bytes = 1 << 20; }},
    {"image_empty", "not inside the code", [](fb::PlanT& p) { p.images[0]->bytes = 0; }},
    {"image_alignment", "not aligned", [](fb::PlanT& p) { p.images[0]->bytes = 8000; }},
    {"image_import_offset", "import table",
     [](fb::PlanT& p) { p.images[0]->import_offset = 1 << 20; }},
    {"image_import_alignment", "not aligned",
     [](fb::PlanT& p) { p.images[0]->import_offset = 100; }},
    {"image_imports", "import table", [](fb::PlanT& p) { p.images[0]->imports.resize(513); }},
    {"image_entries", "entries for", [](fb::PlanT& p) { p.images[0]->entries.push_back(0); }},
    {"image_entry_in_table", "entry is not inside",
     [](fb::PlanT& p) { p.images[0]->entries[0] = 4096; }},
    {"instruction_op", "unknown operation",
     [](fb::PlanT& p) { p.instructions[0]->op = static_cast<fb::Opcode>(9); }},
    {"instruction_source", "there is no source",
     [](fb::PlanT& p) { p.instructions[0]->source = kFar; }},
    {"launch_kernel", "there is no kernel", [](fb::PlanT& p) { p.instructions[0]->kernel = kFar; }},
    {"launch_argument", "there is no tensor",
     [](fb::PlanT& p) { p.instructions[0]->args[1] = kFar; }},
    {"launch_dim", "there is no scalar", [](fb::PlanT& p) { p.instructions[0]->dims = {kFar}; }},
    {"launch_tasks", "tasks", [](fb::PlanT& p) { p.instructions[0]->tasks = kFar; }},
    {"launch_operations", "operations",
     [](fb::PlanT& p) { p.instructions[0]->operations = 1 << 20; }},
    {"launch_results", "results", [](fb::PlanT& p) { p.instructions[0]->results = 9; }},
    {"launch_moved", "moved bytes", [](fb::PlanT& p) { p.instructions[0]->moved = -2; }},
    {"launch_cost", "cost", [](fb::PlanT& p) { p.instructions[0]->cost = kFar; }},
    {"launch_workspace", "workspace", [](fb::PlanT& p) { p.instructions[0]->workspace = kFar; }},
    {"version_kernel", "a version has no kernel",
     [](fb::PlanT& p) { p.instructions[0]->versions[0]->kernel = kFar; }},
    {"version_tasks", "of a version is no scalar",
     [](fb::PlanT& p) { p.instructions[0]->versions[0]->tasks = kFar; }},
    {"version_workspace", "of a version is no scalar",
     [](fb::PlanT& p) { p.instructions[0]->versions[0]->workspace = kFar; }},
    {"version_guard", "a guard looks at scalar",
     [](fb::PlanT& p) { p.instructions[0]->versions[0]->guards[0] = {0, kFar}; }},
    {"copy_count", "Copy takes 2", [](fb::PlanT& p) { p.instructions[3]->args.pop_back(); }},
    {"copy_to_weight", "writes to an input or weight",
     [](fb::PlanT& p) { p.instructions[3]->args[1] = 3; }},
    {"copy_to_view_of_weight", "writes to an input or weight",
     [](fb::PlanT& p) { p.instructions[3]->args[1] = 5; }},
    {"draw_dtype", "takes one uint64",
     [](fb::PlanT& p) {
       p.instructions[3]->op = fb::Opcode::Draw;
       p.instructions[3]->args = {1};
     }},
    {"draw_count", "takes one uint64",
     [](fb::PlanT& p) {
       p.instructions[3]->op = fb::Opcode::Draw;
       p.instructions[3]->args = {};
     }},
    {"draw_to_weight", "writes to an input or weight",
     [](fb::PlanT& p) {
       p.instructions[3]->op = fb::Opcode::Draw;
       p.instructions[3]->args = {3};
       p.tensors[3]->dtype = fb::DType::U64;
     }},
    {"condition_count", "takes one bool", [](fb::PlanT& p) { p.instructions[1]->args.clear(); }},
    {"condition_dtype", "takes one bool", [](fb::PlanT& p) { p.instructions[1]->args = {1}; }},
    {"jump_far", "there is no instruction", [](fb::PlanT& p) { p.instructions[5]->target = 9; }},
    {"jump_into_loop", "jumps into loop", [](fb::PlanT& p) { p.instructions[5]->target = 3; }},
    {"jump_to_loop_end", "jumps into loop", [](fb::PlanT& p) { p.instructions[1]->target = 4; }},
    {"moving_view_outside", "outside of loop",
     [](fb::PlanT& p) { p.instructions[0]->args[0] = 5; }},
    {"loop_target", "target must be", [](fb::PlanT& p) { p.instructions[2]->target = 3; }},
    {"loop_end_target", "target must be", [](fb::PlanT& p) { p.instructions[4]->target = 2; }},
    {"loop_trip", "trip is no scalar",
     [](fb::PlanT& p) { p.instructions[2]->trip = p.instructions[4]->trip = kFar; }},
    {"loop_trips_differ", "same trip count", [](fb::PlanT& p) { p.instructions[4]->trip = 0; }},
    {"loop_index", "unknown or begins twice", [](fb::PlanT& p) { p.instructions[2]->loop = 9; }},
    {"loop_end_alone", "not the innermost",
     [](fb::PlanT& p) { p.instructions[2]->op = fb::Opcode::Jump; }},
    {"loop_without_end", "has no end",
     [](fb::PlanT& p) { p.instructions[4]->op = fb::Opcode::Jump; }},
    {"loops_too_many", "more loops", [](fb::PlanT& p) { p.loops = UINT32_MAX; }},
    {"check_of_one", "Check compares 2 sizes",
     [](fb::PlanT& p) {
       p.instructions[1]->op = fb::Opcode::Check;
       p.instructions[1]->dims = {0};
     }},
    {"check_scalar", "there is no scalar",
     [](fb::PlanT& p) {
       p.instructions[1]->op = fb::Opcode::Check;
       p.instructions[1]->dims = {0, kFar};
     }},
    {"bind_symbol", "unknown or bound twice",
     [](fb::PlanT& p) { p.instructions[6]->symbol = kFar; }},
    {"bind_twice", "unknown or bound twice",
     [](fb::PlanT& p) {
       p.instructions.push_back(std::make_unique<fb::InstructionT>(*p.instructions[6]));
     }},
    {"bind_count", "Bind takes one int64", [](fb::PlanT& p) { p.instructions[6]->args.clear(); }},
    {"bind_dtype", "Bind takes one int64", [](fb::PlanT& p) { p.instructions[6]->args = {1}; }},
    {"bind_bound", "bound is no scalar", [](fb::PlanT& p) { p.instructions[6]->bound = kFar; }},
    {"bind_bound_itself", "known too late",
     [](fb::PlanT& p) { p.instructions[6]->bound = p.instructions[7]->dims[0]; }},
    {"bind_of_an_input", "shape is known too late",
     [](fb::PlanT& p) { p.instructions[6]->symbol = 0; }},
    {"bind_missing", "never bound", [](fb::PlanT& p) { p.instructions[6]->op = fb::Opcode::Jump; }},
    {"used_before_bind", "uses a tensor whose size is known too late",
     [](fb::PlanT& p) { p.instructions[0]->args[1] = p.instructions[7]->args[1]; }},
    {"dim_before_bind", "a size is known too late",
     [](fb::PlanT& p) { p.instructions[0]->dims = p.instructions[7]->dims; }},
    {"tasks_before_bind", "workspace is known too late",
     [](fb::PlanT& p) { p.instructions[0]->tasks = p.instructions[7]->dims[0]; }},
    {"workspace_bound", "workspace is known too late",
     [](fb::PlanT& p) { p.instructions[7]->workspace = p.instructions[7]->dims[0]; }},
    {"version_before_bind", "of a version is known too late",
     [](fb::PlanT& p) { p.instructions[0]->versions[0]->tasks = p.instructions[7]->dims[0]; }},
    {"guard_before_bind", "looks at what is known too late",
     [](fb::PlanT&
            p) { p.instructions[0]->versions[0]->guards[0] = {0, p.instructions[7]->dims[0]}; }},
    {"trip_before_bind", "trip is known too late",
     [](fb::PlanT&
            p) { p.instructions[2]->trip = p.instructions[4]->trip = p.instructions[7]->dims[0]; }},
    {"capacity_far", "capacity is no scalar",
     [](fb::PlanT& p) { p.tensors.back()->capacity = static_cast<int32_t>(kFar); }},
    {"capacity_negative", "capacity is no scalar",
     [](fb::PlanT& p) { p.tensors.back()->capacity = -2; }},
    {"capacity_missing", "has no capacity", [](fb::PlanT& p) { p.tensors.back()->capacity = -1; }},
    {"capacity_bound", "capacity is known too late",
     [](fb::PlanT&
            p) { p.tensors.back()->capacity = static_cast<int32_t>(p.instructions[7]->dims[0]); }},
    {"capacity_of_a_view", "no memory of its own",
     [](fb::PlanT& p) { p.tensors[6]->capacity = 0; }},
    {"constraint_a", "constraint", [](fb::PlanT& p) { p.constraints[0]->a = kFar; }},
    {"constraint_source", "constraint", [](fb::PlanT& p) { p.constraints[0]->source = kFar; }},
};

class VerifierAttack : public ::testing::TestWithParam<Attack> {};

TEST_P(VerifierAttack, IsRefusedWithItsReason) {
  PlanBuilder b = everything();
  GetParam().change(b.plan);
  const Result result = verify(b);
  EXPECT_EQ(result.code, Code::plan_invalid);
  EXPECT_NE(result.message.find(GetParam().words), std::string::npos) << result.message;
}

INSTANTIATE_TEST_SUITE_P(All, VerifierAttack, ::testing::ValuesIn(kAttacks),
                         [](const auto& info) { return info.param.name; });

TEST(Verifier, LoopsNestAndJumpsMayLeaveThem) {
  PlanBuilder b;
  const uint32_t two = b.constant(2);
  b.loop(two, [&](uint32_t) {
    b.loop(two, [&](uint32_t) { b.jump(7); });  // out of both
    b.jump(5);                                  // to LoopEnd: the next iteration
  });
  b.jump(7);
  b.jump(0);
  const Result result = verify(b);
  EXPECT_EQ(result.code, Code::ok) << result.message;
}

}  // namespace
}  // namespace bireme::internal
