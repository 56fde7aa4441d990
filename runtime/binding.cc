#include "binding.h"

#include <algorithm>

#include "plan.h"

namespace bireme::internal {
namespace {

using ll = long long;

const fb::Tensor& tensor_at(const fb::Plan& plan, uint32_t index) {
  return *plan.tensors()->Get(index);
}

// Input `input` has `given` where the model has symbol `index`.
Code bind_symbol(const fb::Plan& plan, uint32_t index, int64_t given, const fb::Tensor& input,
                 uint32_t dim, Sizes& sizes, Fault& fault) {
  const fb::Symbol& symbol = *plan.symbols()->Get(index);
  const char* name = symbol.name()->c_str();
  if (given < symbol.min())
    return fail(fault, Code::symbol_range,
                "input %s: dimension %u (%s) is %lld, the model needs at least %lld",
                tensor_name(input), dim, name, ll{given}, ll{symbol.min()});
  if (symbol.max() >= 0 && given > symbol.max())
    return fail(fault, Code::symbol_range,
                "input %s: dimension %u (%s) is %lld, the model allows at most %lld",
                tensor_name(input), dim, name, ll{given}, ll{symbol.max()});
  int64_t& bound = sizes.symbols[index];
  if (bound >= 0 && bound != given)
    return fail(fault, Code::symbol_conflict,
                "input %s: dimension %u (%s) is %lld, but another dimension gave %s = %lld",
                tensor_name(input), dim, name, ll{given}, name, ll{bound});
  bound = given;
  return Code::ok;
}

Code bind_symbols(const fb::Plan& plan, const bireme_tensor* inputs, Sizes& sizes, Fault& fault) {
  for (int64_t& bound : sizes.symbols) bound = -1;
  uint32_t position = 0;
  for (uint32_t index : each(plan.inputs())) {
    const fb::Tensor& input = tensor_at(plan, index);
    const bireme_tensor& given = inputs[position++];
    for (uint32_t dim = 0; dim < given.rank; ++dim) {
      const fb::Scalar& entry = *plan.scalars()->Get(input.shape()->Get(dim));
      if (entry.op() == fb::ScalarOp::Symbol)
        BIREME_TRY(bind_symbol(plan, static_cast<uint32_t>(entry.a()), given.shape[dim], input, dim,
                               sizes, fault));
    }
  }
  return Code::ok;
}

Code check_input_sizes(const fb::Plan& plan, const bireme_tensor* inputs, const Sizes& sizes,
                       Fault& fault) {
  uint32_t position = 0;
  for (uint32_t index : each(plan.inputs())) {
    const fb::Tensor& input = tensor_at(plan, index);
    const bireme_tensor& given = inputs[position++];
    for (uint32_t dim = 0; dim < given.rank; ++dim) {
      const int64_t expected = sizes.scalars[input.shape()->Get(dim)];
      if (given.shape[dim] != expected)
        return fail(fault, Code::wrong_size, "input %s: dimension %u is %lld, the model has %lld",
                    tensor_name(input), dim, ll{given.shape[dim]}, ll{expected});
    }
  }
  return Code::ok;
}

// Product of the shape times the element size. False where it is negative or does not fit.
bool element_bytes(const fb::Tensor& tensor, const Sizes& sizes, int64_t* bytes) {
  *bytes = static_cast<int64_t>(dtype_bytes(tensor.dtype()));
  for (uint32_t scalar : each(tensor.shape())) {
    const int64_t size = sizes.scalars[scalar];
    if (size < 0 || __builtin_mul_overflow(*bytes, size, bytes)) return false;
  }
  return true;
}

}  // namespace

Code Sizes::create(const Model& model, Fault& fault) {
  const fb::Plan& plan = model.plan();
  const size_t tensors = length(plan.tensors());
  if (!symbols.create(length(plan.symbols())) || !scalars.create(length(plan.scalars())) ||
      !bytes.create(tensors) || !capacity.create(tensors) || !trips.create(plan.loops()))
    return fail(fault, Code::out_of_memory, "for the sizes of tensors");
  for (const fb::Instruction* instruction : each(plan.instructions()))
    if (instruction->op() == fb::Opcode::LoopBegin)
      trips[instruction->loop()] = instruction->trip();
  return Code::ok;
}

Code evaluate(const Model& model, uint32_t scalar, Sizes& sizes, Fault& fault) {
  const auto* program = reinterpret_cast<const fb::Scalar*>(model.plan().scalars()->Data());
  return evaluate_scalar(program, scalar, sizes.symbols.data(), sizes.scalars.data(), fault);
}

uint32_t constraint_time(const Model& model, const fb::Constraint& constraint) {
  return std::max(model.time(constraint.a()), model.time(constraint.b()));
}

uint32_t tensor_time(const Model& model, const fb::Tensor& tensor) {
  uint32_t time = model.time(tensor.bytes());
  for (uint32_t scalar : each(tensor.shape())) time = std::max(time, model.time(scalar));
  return time;
}

uint32_t view_time(const Model& model, const fb::Tensor& view, const Sizes& sizes) {
  const uint32_t time = std::max(tensor_time(model, view), model.time(view.view_offset()));
  if (view.loop() < 0) return time;
  return std::max({time, model.time(view.loop_stride()),
                   model.time(sizes.trips[static_cast<uint32_t>(view.loop())])});
}

Code size_tensor(const Model& model, uint32_t index, Sizes& sizes, Fault& fault) {
  const fb::Tensor& tensor = tensor_at(model.plan(), index);
  const int64_t bytes = sizes.scalars[tensor.bytes()];
  int64_t elements;
  if (!element_bytes(tensor, sizes, &elements))
    return fail(fault, Code::size_overflow, "tensor %s: its shape is negative or too large",
                tensor_name(tensor));
  const bool caller_sees_it =
      tensor.place() == fb::Place::Input || tensor.place() == fb::Place::Output;
  if (bytes < elements || (caller_sees_it && bytes != elements))
    return fail(fault, Code::size_overflow,
                "tensor %s: the plan gives %lld bytes for elements of %lld bytes",
                tensor_name(tensor), ll{bytes}, ll{elements});
  if (tensor.capacity() >= 0 && bytes > sizes.capacity[index])
    return fail(fault, Code::size_overflow, "tensor %s: %lld bytes, the plan reserves %lld",
                tensor_name(tensor), ll{bytes}, ll{sizes.capacity[index]});
  sizes.bytes[index] = bytes;
  if (tensor.capacity() < 0) sizes.capacity[index] = bytes;
  return Code::ok;
}

// The range a moving view covers is found at its first and last iteration: it moves in equal steps.
Code check_view(const Model& model, uint32_t index, const Sizes& sizes, Fault& fault) {
  const fb::Tensor& view = tensor_at(model.plan(), index);
  const int64_t bytes = sizes.bytes[index];
  const int64_t space = sizes.capacity[view.base()];
  const int64_t first = sizes.scalars[view.view_offset()];
  int64_t last = first;
  if (view.loop() >= 0) {
    const int64_t trip = sizes.scalars[sizes.trips[static_cast<uint32_t>(view.loop())]];
    if (trip <= 0) return Code::ok;  // never used
    int64_t moved;
    if (__builtin_mul_overflow(sizes.scalars[view.loop_stride()], trip - 1, &moved) ||
        __builtin_add_overflow(first, moved, &last))
      last = -1;
  }
  const int64_t low = first < last ? first : last;
  const int64_t high = first < last ? last : first;
  if (low >= 0 && bytes <= space && high <= space - bytes) return Code::ok;
  return fail(fault, Code::view_out_of_bounds,
              "tensor %s: bytes %lld to %lld + %lld of tensor %s, which has %lld",
              tensor_name(view), ll{low}, ll{high}, ll{bytes},
              tensor_name(tensor_at(model.plan(), view.base())), ll{space});
}

Code check_constraint(const Model& model, uint32_t index, const Sizes& sizes, Fault& fault) {
  const fb::Plan& plan = model.plan();
  const fb::Constraint& constraint = *plan.constraints()->Get(index);
  const Code code =
      check_equal(sizes.scalars[constraint.a()], sizes.scalars[constraint.b()], fault);
  if (code == Code::ok) return code;
  const fb::Source& source = *plan.sources()->Get(constraint.source());
  locate(fault, text(source.op()), text(source.node()));
  return code;
}

Code check_equal(int64_t a, int64_t b, Fault& fault) {
  if (a == b) return Code::ok;
  return fail(fault, Code::constraint_violated, "two sizes that must be equal are %lld and %lld",
              ll{a}, ll{b});
}

Code check_inputs(const Model& model, const bireme_tensor* inputs, uint32_t count, Fault& fault) {
  const fb::Plan& plan = model.plan();
  const uint32_t expected = static_cast<uint32_t>(length(plan.inputs()));
  if (count < expected)
    return fail(fault, Code::missing_input, "%u of %u inputs given, %s is missing", count, expected,
                tensor_name(tensor_at(plan, plan.inputs()->Get(count))));
  if (count > expected)
    return fail(fault, Code::unexpected_input, "%u inputs given, the model has %u", count,
                expected);
  for (uint32_t i = 0; i < expected; ++i) {
    const fb::Tensor& input = tensor_at(plan, plan.inputs()->Get(i));
    const auto dtype = static_cast<bireme_dtype>(input.dtype());
    if (inputs[i].dtype != dtype)
      return fail(fault, Code::wrong_dtype, "input %s is %s, the model has %s", tensor_name(input),
                  dtype_name(inputs[i].dtype), dtype_name(dtype));
    const size_t rank = length(input.shape());
    if (inputs[i].rank != rank)
      return fail(fault, Code::wrong_rank, "input %s has %u dimensions, the model has %zu",
                  tensor_name(input), inputs[i].rank, rank);
    if (rank > 0 && !inputs[i].shape)
      return fail(fault, Code::bad_argument, "input %s has no shape", tensor_name(input));
  }
  return Code::ok;
}

Code bind_sizes(const Model& model, const bireme_tensor* inputs, Sizes& sizes, Fault& fault) {
  const fb::Plan& plan = model.plan();
  BIREME_TRY(bind_symbols(plan, inputs, sizes, fault));
  for (uint32_t i = 0; i < sizes.scalars.size(); ++i) {
    sizes.scalars[i] = 0;
    if (model.time(i) == 0) BIREME_TRY(evaluate(model, i, sizes, fault));
  }
  BIREME_TRY(check_input_sizes(plan, inputs, sizes, fault));
  for (uint32_t i = 0; i < length(plan.constraints()); ++i)
    if (constraint_time(model, *plan.constraints()->Get(i)) == 0)
      BIREME_TRY(check_constraint(model, i, sizes, fault));
  for (uint32_t i = 0; i < length(plan.tensors()); ++i) {
    const fb::Tensor& tensor = tensor_at(plan, i);
    sizes.bytes[i] = 0;
    if (tensor.capacity() >= 0)
      sizes.capacity[i] = sizes.scalars[static_cast<uint32_t>(tensor.capacity())];
    if (sizes.capacity[i] < 0)
      return fail(fault, Code::size_overflow, "tensor %s: the plan reserves %lld bytes",
                  tensor_name(tensor), ll{sizes.capacity[i]});
    if (tensor_time(model, tensor) == 0) BIREME_TRY(size_tensor(model, i, sizes, fault));
  }
  for (uint32_t i = 0; i < length(plan.tensors()); ++i) {
    const fb::Tensor& tensor = tensor_at(plan, i);
    if (tensor.place() == fb::Place::View && view_time(model, tensor, sizes) == 0)
      BIREME_TRY(check_view(model, i, sizes, fault));
  }
  return Code::ok;
}

}  // namespace bireme::internal
