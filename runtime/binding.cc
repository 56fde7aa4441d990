#include "binding.h"

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

Code check_constraints(const fb::Plan& plan, const Sizes& sizes, Fault& fault) {
  for (const fb::Constraint* constraint : each(plan.constraints())) {
    const int64_t a = sizes.scalars[constraint->a()];
    const int64_t b = sizes.scalars[constraint->b()];
    if (a == b) continue;
    const fb::Source& source = *plan.sources()->Get(constraint->source());
    const Code code = fail(fault, Code::constraint_violated,
                           "two sizes that must be equal are %lld and %lld", ll{a}, ll{b});
    locate(fault, text(source.op()), text(source.node()));
    return code;
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

Code size_tensor(const fb::Tensor& tensor, Sizes& sizes, int64_t* bytes, Fault& fault) {
  *bytes = sizes.scalars[tensor.bytes()];
  int64_t elements;
  if (!element_bytes(tensor, sizes, &elements))
    return fail(fault, Code::size_overflow, "tensor %s: its shape is negative or too large",
                tensor_name(tensor));
  const bool caller_sees_it =
      tensor.place() == fb::Place::Input || tensor.place() == fb::Place::Output;
  if (*bytes < elements || (caller_sees_it && *bytes != elements))
    return fail(fault, Code::size_overflow,
                "tensor %s: the plan gives %lld bytes for elements of %lld bytes",
                tensor_name(tensor), ll{*bytes}, ll{elements});
  return Code::ok;
}

// The range a moving view covers is found at its first and last iteration: it moves in equal steps.
Code check_view(const fb::Plan& plan, const fb::Tensor& view, int64_t bytes, int64_t trip,
                const Sizes& sizes, Fault& fault) {
  const int64_t space = sizes.bytes[view.base()];
  const int64_t first = sizes.scalars[view.view_offset()];
  int64_t last = first;
  if (view.loop() >= 0) {
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
              tensor_name(tensor_at(plan, view.base())), ll{space});
}

Code check_views(const fb::Plan& plan, const Sizes& sizes, Fault& fault) {
  Array<int64_t> trips;
  if (!trips.create(plan.loops())) return fail(fault, Code::out_of_memory, "for loop counts");
  for (const fb::Instruction* instruction : each(plan.instructions()))
    if (instruction->op() == fb::Opcode::LoopBegin)
      trips[instruction->loop()] = sizes.scalars[instruction->trip()];
  uint32_t index = 0;
  for (const fb::Tensor* tensor : each(plan.tensors())) {
    const int64_t bytes = sizes.bytes[index++];
    if (tensor->place() != fb::Place::View) continue;
    const int64_t trip = tensor->loop() >= 0 ? trips[static_cast<uint32_t>(tensor->loop())] : 1;
    BIREME_TRY(check_view(plan, *tensor, bytes, trip, sizes, fault));
  }
  return Code::ok;
}

}  // namespace

Code Sizes::create(const Model& model, Fault& fault) {
  const fb::Plan& plan = model.plan();
  if (!symbols.create(length(plan.symbols())) || !scalars.create(length(plan.scalars())) ||
      !bytes.create(length(plan.tensors())))
    return fail(fault, Code::out_of_memory, "for the sizes of tensors");
  return Code::ok;
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
  const size_t count = sizes.scalars.size();
  if (count > 0)
    BIREME_TRY(evaluate_scalars(reinterpret_cast<const fb::Scalar*>(plan.scalars()->Data()), count,
                                sizes.symbols.data(), sizes.scalars.data(), fault));
  BIREME_TRY(check_input_sizes(plan, inputs, sizes, fault));
  BIREME_TRY(check_constraints(plan, sizes, fault));
  uint32_t index = 0;
  for (const fb::Tensor* tensor : each(plan.tensors()))
    BIREME_TRY(size_tensor(*tensor, sizes, &sizes.bytes[index++], fault));
  return check_views(plan, sizes, fault);
}

}  // namespace bireme::internal
