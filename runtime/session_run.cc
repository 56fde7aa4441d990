// Execution of a planned session. Nothing here allocates, except memory for outputs that the caller
// leaves to the session, the first time and when they grow.
#include <string.h>

#include "launch.h"
#include "plan.h"
#include "pool.h"
#include "random.h"
#include "session.h"

namespace bireme::internal {
namespace {

Code code_of_fault(int32_t fault) {
  switch (fault) {
    case -1:  // what TVM's code generator can return
    case 1:
      return Code::index_out_of_range;
    case 2:
      return Code::division_by_zero;
    default:
      return Code::kernel_fault;
  }
}

}  // namespace

Code Session::run(const bireme_tensor* inputs, uint32_t input_count, bireme_tensor* outputs,
                  uint32_t output_count, Fault& fault) {
  const uint32_t expected = static_cast<uint32_t>(length(model_->plan().outputs()));
  if (output_count != expected)
    return fail(fault, Code::bad_argument, "%u outputs given, the model has %u", output_count,
                expected);
  if (busy_.exchange(true, std::memory_order_acquire))
    return fail(fault, Code::session_busy, "run was called while the session runs");
  Code code = check_inputs(*model_, inputs, input_count, fault);
  if (code == Code::ok) code = prepare(inputs, fault);
  if (code == Code::ok) code = bind_memory(inputs, outputs, fault);
  if (code == Code::ok) {
    code = execute(fault);
    ++runs_;
  }
  if (code == Code::ok) describe_outputs(outputs, true);
  busy_.store(false, std::memory_order_release);
  return code;
}

// Takes the addresses of inputs and outputs and gives memory to the outputs that have none.
Code Session::bind_memory(const bireme_tensor* inputs, bireme_tensor* outputs, Fault& fault) {
  const fb::Plan& plan = model_->plan();
  for (uint32_t i = 0; i < length(plan.inputs()); ++i)
    BIREME_TRY(bind_tensor(plan.inputs()->Get(i), inputs[i], Code::wrong_size, fault));

  uint64_t own_bytes;
  if (!output_room(outputs, &own_bytes))
    return fail(fault, Code::size_overflow, "the outputs are too large");
  if (!outputs_.reserve(own_bytes))
    return fail(fault, Code::out_of_memory, "the outputs need %llu bytes",
                static_cast<unsigned long long>(own_bytes));
  note_peak();
  uint8_t* own = outputs_.data();
  for (uint32_t i = 0; i < length(plan.outputs()); ++i) {
    const uint32_t index = plan.outputs()->Get(i);
    const size_t bytes = static_cast<size_t>(sizes_.capacity[index]);
    if (!outputs[i].data) {
      outputs[i].data = own;
      outputs[i].bytes = bytes;
      own += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    }
    BIREME_TRY(bind_tensor(index, outputs[i], Code::output_too_small, fault));
  }
  for (const Patch& patch : external_) slots_[patch.slot] = address(patch.tensor);
  return Code::ok;
}

Code Session::bind_tensor(uint32_t index, const bireme_tensor& given, Code too_small,
                          Fault& fault) {
  const int64_t needed = sizes_.capacity[index];
  if (given.bytes < static_cast<size_t>(needed))
    return fail(fault, too_small, "tensor %s has memory of %zu bytes, it needs %lld",
                tensor_name(tensor(index)), given.bytes, static_cast<long long>(needed));
  const size_t alignment = dtype_bytes(tensor(index).dtype());
  if (needed > 0 && (!given.data || reinterpret_cast<uintptr_t>(given.data) % alignment != 0))
    return fail(fault, Code::bad_address, "tensor %s is at %p, its elements have %zu bytes",
                tensor_name(tensor(index)), given.data, alignment);
  external_address_[index] = static_cast<uint8_t*>(given.data);
  return Code::ok;
}

Code Session::execute(Fault& fault) {
  const PoolRun run(run_threads_ > 1);
  if (draws_)
    for (Step& step : steps_) step.draws = 0;
  trace_.clear();
  const uint32_t count = static_cast<uint32_t>(steps_.size());
  for (uint32_t at = 0; at < count;) {
    uint32_t next = at + 1;
    if (times_.size() == 0) {
      BIREME_TRY(execute_step(at, &next, fault));
    } else {
      BIREME_TRY(measure_step(at, &next, fault));
    }
    at = next;
  }
  return Code::ok;
}

Code Session::measure_step(uint32_t index, uint32_t* next, Fault& fault) {
  const Step& step = steps_[index];
  // A launch has an event for each thread; run_launch adds them.
  const bool traced = trace_.active() && step.op != fb::Opcode::Launch;
  const uint64_t begin = traced ? now() : 0;
  const uint64_t start = now(clock_);
  BIREME_TRY(execute_step(index, next, fault));
  const uint64_t end = now(clock_);
  if (traced) trace_.add({index, 0, begin, now()});
  Time& time = times_[index];
  ++time.calls;
  time.nanoseconds += end - start;
  const auto add = [](int64_t& sum, int64_t amount) {
    if (sum < 0 || amount < 0 || __builtin_add_overflow(sum, amount, &sum)) sum = -1;
  };
  add(time.operations, step.operations);
  add(time.moved, step.moved);
  return Code::ok;
}

// Sets `next` only where it is not the following instruction.
Code Session::execute_step(uint32_t index, uint32_t* next, Fault& fault) {
  const Step& step = steps_[index];
  void* const* arguments = slots_.data() + step.first_argument;
  switch (step.op) {
    case fb::Opcode::Launch:
      return launch(step, index, fault);
    case fb::Opcode::Copy:
      if (step.bytes > 0) memmove(arguments[1], arguments[0], static_cast<size_t>(step.bytes));
      return Code::ok;
    case fb::Opcode::Jump:
      *next = step.target;
      return Code::ok;
    case fb::Opcode::JumpIfFalse:
      if (*static_cast<const uint8_t*>(arguments[0]) == 0) *next = step.target;
      return Code::ok;
    case fb::Opcode::LoopBegin:
      counters_[step.loop] = 0;
      if (step.trip <= 0)
        *next = step.target;
      else
        patch_loop(step.loop);
      return Code::ok;
    case fb::Opcode::LoopEnd:
      if (++counters_[step.loop] < step.trip) {
        patch_loop(step.loop);
        *next = step.target;
      }
      return Code::ok;
    case fb::Opcode::Bind:
      return at_instruction(index, bind(index, fault), fault);
    case fb::Opcode::Draw: {
      const uint64_t key = next_key(index);
      memcpy(arguments[0], &key, sizeof key);
      return Code::ok;
    }
    case fb::Opcode::Check: {
      const int64_t* dims = dims_.data() + step.first_dim;
      return at_instruction(index, check_equal(dims[0], dims[1], fault), fault);
    }
  }
  return Code::ok;
}

// Takes a size from the data and brings everything up to date that depends on it.
Code Session::bind(uint32_t index, Fault& fault) {
  const Step& step = steps_[index];
  const fb::Instruction& instruction = *model_->plan().instructions()->Get(index);
  const fb::Symbol& symbol = *model_->plan().symbols()->Get(instruction.symbol());
  const int64_t bound = sizes_.scalars[instruction.bound()];
  int64_t size;
  memcpy(&size, slots_[step.first_argument], sizeof size);
  if (size < 0 || size > bound)
    return fail(fault, Code::data_size_range, "%s is %lld, it must lie in 0 to %lld",
                symbol.name()->c_str(), static_cast<long long>(size),
                static_cast<long long>(bound));
  prepared_ = false;  // until everything below has succeeded
  sizes_.symbols[instruction.symbol()] = size;
  for (uint32_t i = step.first_refresh; i < step.end_refresh; ++i)
    BIREME_TRY(refresh(refreshes_[i], fault));
  prepared_ = true;
  return Code::ok;
}

uint64_t Session::next_key(uint32_t index) {
  const fb::Instruction& instruction = *model_->plan().instructions()->Get(index);
  const uint32_t draw = steps_[index].draws++;
  return instruction.stream() == 0 ? draw_key(instruction.seed(), 0, 0, draw)
                                   : draw_key(seed_, runs_, instruction.stream(), draw);
}

Code Session::refresh(const Refresh& what, Fault& fault) {
  switch (what.kind) {
    case Refresh::scalar:
      return evaluate(*model_, what.index, sizes_, fault);
    case Refresh::tensor:
      return size_tensor(*model_, what.index, sizes_, fault);
    case Refresh::view:
      return check_view(*model_, what.index, sizes_, fault);
    case Refresh::constraint:
      return check_constraint(*model_, what.index, sizes_, fault);
    case Refresh::step:
      return make_step(what.index, fault);
    case Refresh::slot:
      slots_[what.index] = address(what.shown);
      return Code::ok;
  }
  return Code::ok;
}

void Session::patch_loop(uint32_t loop) {
  for (uint32_t i = moving_of_[loop]; i < moving_of_[loop + 1]; ++i)
    slots_[moving_[i].slot] = address(moving_[i].tensor);
}

Code Session::launch(const Step& step, uint32_t index, Fault& fault) {
  Launch launch;
  launch.kernel = step.entry;
  launch.args = slots_.data() + step.first_argument;
  launch.dims = dims_.data() + step.first_dim;
  launch.tasks = step.tasks;
  launch.phase = step.phase;
  launch.cost = step.cost;
  launch.workspace = workspace_.data();
  launch.workspace_stride = workspace_stride_;
  launch.threads = run_threads_;
  launch.trace = trace_.active() ? &trace_ : nullptr;
  launch.instruction = index;
  const int32_t number = run_launch(launch);
  if (number == 0) return Code::ok;

  const Code code = fail(fault, code_of_fault(number), "kernel %s returned fault %d",
                         model_->plan().kernels()->Get(step.kernel)->name()->c_str(), number);
  return at_instruction(index, code, fault);
}

}  // namespace bireme::internal
