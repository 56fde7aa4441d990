// Writes artefacts for tests, without the compiler.
#ifndef BIREME_RUNTIME_TESTING_PLAN_BUILDER_H_
#define BIREME_RUNTIME_TESTING_PLAN_BUILDER_H_

#include <stdint.h>

#include <string>
#include <vector>

#include "model_generated.h"

namespace bireme::internal::testing {

using Bytes = std::vector<uint8_t>;

// The file around a plan (docs/artefact.md, "Container").
Bytes make_container(const Bytes& plan, const Bytes& code = {}, const Bytes& weights = {});

// Recomputes the checksums of a container whose bytes were changed, so that what lies behind them
// is reached. Its header must be well formed; sign_header changes the header's own checksum only.
void sign(Bytes& artefact);
void sign_header(Bytes& artefact);

// Collects a plan. Functions return the index of what they add; `plan` may be changed at will.
class PlanBuilder {
 public:
  PlanBuilder();

  uint32_t constant(int64_t value);
  uint32_t symbol(const std::string& name, int64_t min = 0, int64_t max = -1, int64_t hint = 1);
  uint32_t scalar(fb::ScalarOp op, uint32_t a, uint32_t b);
  // Adds `bytes` itself: the product of `shape`, which holds scalar indices, and the element size.
  uint32_t tensor(const std::string& name, fb::Place place, const std::vector<uint32_t>& shape,
                  fb::DType dtype = fb::DType::F32);
  // `values` become the next 64-byte aligned part of the weights section.
  uint32_t weight(const std::string& name, const std::vector<float>& values);
  uint32_t view(const std::string& name, uint32_t base, const std::vector<uint32_t>& shape,
                uint32_t offset, int32_t loop = -1, uint32_t stride = 0,
                fb::DType dtype = fb::DType::F32);
  uint32_t kernel(const std::string& name);
  uint32_t source(const std::string& op, const std::string& node);

  // Each returns the number of the instruction, with source 0 unless there is none yet.
  struct LaunchOptions {
    uint32_t tasks;
    uint32_t cost = 0;  // scalar 0 is the constant 0
    uint32_t workspace = 0;
    std::vector<uint32_t> dims = {};
    uint32_t source = 0;
    int32_t phase = -1;
  };
  uint32_t launch(uint32_t kernel, const std::vector<uint32_t>& args, const LaunchOptions& options);
  // Adds a version with the tasks and workspace of `options` to a launch.
  void version(uint32_t instruction, uint32_t kernel, const LaunchOptions& options,
               const std::vector<fb::Guard>& guards);
  uint32_t copy(uint32_t from, uint32_t to);
  uint32_t jump(uint32_t target);
  uint32_t jump_if_false(uint32_t condition, uint32_t target);
  // `symbol` is a scalar that `symbol` gave.
  uint32_t bind(uint32_t count, uint32_t symbol, uint32_t bound);
  uint32_t check(uint32_t a, uint32_t b);
  uint32_t draw(uint32_t to, uint32_t stream, uint64_t seed = 0);
  // The loop's instructions are added by `body`; returns the number of LoopBegin.
  template <class Body>
  uint32_t loop(uint32_t trip, Body body) {
    const uint32_t index = plan.loops++;
    const uint32_t begin = add_loop(fb::Opcode::LoopBegin, index, trip);
    body(index);
    const uint32_t end = add_loop(fb::Opcode::LoopEnd, index, trip);
    plan.instructions[begin]->target = end + 1;
    plan.instructions[end]->target = begin + 1;
    return begin;
  }
  uint32_t add_loop(fb::Opcode op, uint32_t loop, uint32_t trip);
  fb::InstructionT& add(fb::Opcode op);

  // The flattened plan, and the whole artefact.
  Bytes plan_bytes() const;
  Bytes artefact() const;

  fb::PlanT plan;
  Bytes code;
  Bytes weights;
};

// The artefact most tests use: input x [n, 3], y = 2 x through the arena, n in [1, 100]; kernel 0
// is "double" and takes (x, y). `fixed` > 0 replaces the symbol by a number.
PlanBuilder doubling(int64_t fixed = 0);

// Adds an image with the code of testing/kernels.cc for the kernels double, exp and fault.
void add_image(PlanBuilder& builder, const std::string& isa = "x86-64-v2");

}  // namespace bireme::internal::testing

#endif  // BIREME_RUNTIME_TESTING_PLAN_BUILDER_H_
