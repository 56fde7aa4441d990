// Creation and planning; session_run.cc has the execution.
#include "session.h"

#include "arena.h"
#include "launch.h"
#include "plan.h"
#include "pool.h"
#include "random.h"

namespace bireme::internal {
namespace {

// Estimated work of a run that one thread does.
constexpr int64_t kShortRunNanoseconds = 100'000;

}  // namespace

Code Session::create(Model& model, uint32_t threads, uint32_t profile, Session** session,
                     Fault& fault) {
  Session* created = create_object<Session>();
  if (!created) return fail(fault, Code::out_of_memory, "for the session");
  const Code code = created->initialise(model, threads, profile, fault);
  if (code != Code::ok) {
    destroy_object(created);
    return code;
  }
  *session = created;
  return Code::ok;
}

Session::~Session() {
  if (model_) model_->release();
}

const fb::Tensor& Session::tensor(uint32_t index) const {
  return *model_->plan().tensors()->Get(index);
}

// The tensor whose memory `index` lies in.
uint32_t Session::root(uint32_t index) const {
  return tensor(index).place() == fb::Place::View ? tensor(index).base() : index;
}

Code Session::initialise(Model& model, uint32_t threads, uint32_t profile, Fault& fault) {
  model.retain();
  model_ = &model;
  const uint32_t available = pool_threads();
  threads_ = threads == 0 || threads > available ? available : threads;
  seed_ = new_seed();

  if (profile > 1) clock_ = CLOCK_THREAD_CPUTIME_ID;
  const fb::Plan& plan = model.plan();
  size_t slots = 0, dims = 0, input_dims = 0, output_dims = 0;
  for (const fb::Instruction* instruction : each(plan.instructions())) {
    slots += length(instruction->args());
    dims += length(instruction->dims());
    draws_ |= instruction->op() == fb::Opcode::Draw;
  }
  for (uint32_t index : each(plan.inputs())) input_dims += length(tensor(index).shape());
  for (uint32_t index : each(plan.outputs())) output_dims += length(tensor(index).shape());
  const size_t instructions = length(plan.instructions());
  const size_t tensors = length(plan.tensors());
  BIREME_TRY(sizes_.create(model, fault));
  if (!shapes_.create(input_dims) || !output_shapes_.create(output_dims) ||
      !steps_.create(instructions) || !dims_.create(dims) || !slots_.create(slots) ||
      !counters_.create(plan.loops()) || !offsets_.create(tensors) ||
      !external_address_.create(tensors) || !times_.create(profile ? instructions : 0))
    return fail(fault, Code::out_of_memory, "for the session");
  BIREME_TRY(list_patches(fault));
  BIREME_TRY(list_refreshes(fault));
  note_peak();
  if (model.has_fixed_inputs()) return prepare_largest(fault);
  // Sizes so large that there is no memory for them can still be allowed, and never come.
  Fault ignored;
  prepare_largest(ignored);
  return Code::ok;
}

// Plans for the largest shapes that the inputs may have, if they have bounds: it leaves nothing to
// allocate for the first runs.
Code Session::prepare_largest(Fault& fault) {
  const fb::Plan& plan = model_->plan();
  size_t dims = 0;
  for (uint32_t input : each(plan.inputs()))
    for (uint32_t scalar : each(tensor(input).shape())) {
      const fb::Scalar& entry = *plan.scalars()->Get(scalar);
      ++dims;
      if (entry.op() != fb::ScalarOp::Symbol) continue;
      const uint32_t symbol = static_cast<uint32_t>(entry.a());
      sizes_.symbols[symbol] = plan.symbols()->Get(symbol)->max();
      if (sizes_.symbols[symbol] < 0) return Code::ok;
    }
  Array<bireme_tensor> inputs;
  Array<int64_t> shapes;
  if (!inputs.create(length(plan.inputs())) || !shapes.create(dims))
    return fail(fault, Code::out_of_memory, "for the session");
  for (uint32_t scalar = 0; scalar < length(plan.scalars()); ++scalar)
    if (model_->time(scalar) == 0) BIREME_TRY(evaluate(*model_, scalar, sizes_, fault));
  int64_t* shape = shapes.data();
  size_t position = 0;
  for (uint32_t input : each(plan.inputs())) {
    const uint32_t rank = static_cast<uint32_t>(length(tensor(input).shape()));
    inputs[position++] = {nullptr, 0, shape, rank,
                          static_cast<bireme_dtype>(tensor(input).dtype())};
    for (uint32_t scalar : each(tensor(input).shape())) *shape++ = sizes_.scalars[scalar];
  }
  BIREME_TRY(prepare(inputs.data(), fault));
  // If there is no room for outputs the caller may still bring some.
  uint64_t bytes;
  if (output_room(nullptr, &bytes)) outputs_.reserve(bytes);
  note_peak();
  return Code::ok;
}

// Bytes for the outputs that the caller gives no memory for; for all of them if `outputs` is null.
bool Session::output_room(const bireme_tensor* outputs, uint64_t* bytes) const {
  *bytes = 0;
  uint32_t position = 0;
  for (uint32_t index : each(model_->plan().outputs())) {
    if (outputs && outputs[position++].data) continue;
    if (__builtin_add_overflow(*bytes, static_cast<uint64_t>(sizes_.capacity[index]), bytes) ||
        !round_up(*bytes, kAlignment, bytes))
      return false;
  }
  return true;
}

// Sorts the arguments of all instructions by what makes their addresses change.
Code Session::list_patches(Fault& fault) {
  const fb::Plan& plan = model_->plan();
  enum Kind { fixed, external, moving };
  const auto kind_of = [&](uint32_t index) {
    if (tensor(index).place() == fb::Place::View && tensor(index).loop() >= 0) return moving;
    const fb::Place place = tensor(root(index)).place();
    return place == fb::Place::Input || place == fb::Place::Output ? external : fixed;
  };
  const auto for_each_slot = [&](auto&& visit) {
    uint32_t slot = 0;
    for (const fb::Instruction* instruction : each(plan.instructions()))
      for (uint32_t index : each(instruction->args())) visit(kind_of(index), Patch{slot++, index});
  };

  size_t count[3] = {};
  if (!moving_of_.create(size_t{plan.loops()} + 1))
    return fail(fault, Code::out_of_memory, "for the session");
  for_each_slot([&](Kind kind, Patch patch) {
    ++count[kind];
    if (kind == moving) ++moving_of_[static_cast<uint32_t>(tensor(patch.tensor).loop())];
  });
  if (!fixed_.create(count[fixed]) || !external_.create(count[external]) ||
      !moving_.create(count[moving]))
    return fail(fault, Code::out_of_memory, "for the session");

  // Counting sort by loop: the counts become ends of ranges, and filling from the back makes them
  // starts.
  uint32_t total = 0;
  for (uint32_t& entry : moving_of_) entry = total += entry;
  for_each_slot([&](Kind kind, Patch patch) {
    if (kind == moving)
      moving_[--moving_of_[static_cast<uint32_t>(tensor(patch.tensor).loop())]] = patch;
    else
      (kind == fixed ? fixed_ : external_)[--count[kind]] = patch;
  });
  return Code::ok;
}

// When everything that a step holds is known: the number of the last Bind it depends on, plus 1.
uint32_t Session::step_time(uint32_t index) const {
  const fb::Instruction& instruction = *model_->plan().instructions()->Get(index);
  uint32_t time = 0;
  const auto needs = [&](uint32_t scalar) {
    if (model_->time(scalar) > time) time = model_->time(scalar);
  };
  switch (instruction.op()) {
    case fb::Opcode::Launch:
      for (uint32_t scalar : each(instruction.dims())) needs(scalar);
      needs(instruction.tasks());
      needs(instruction.cost());
      if (instruction.operations() >= 0) needs(static_cast<uint32_t>(instruction.operations()));
      if (instruction.moved() >= 0) needs(static_cast<uint32_t>(instruction.moved()));
      for (const fb::Version* version : each(instruction.versions())) {
        needs(version->tasks());
        for (const fb::Guard* guard : each(version->guards())) needs(guard->scalar());
      }
      return time;
    case fb::Opcode::Copy:
    case fb::Opcode::JumpIfFalse:
      for (uint32_t argument : each(instruction.args())) needs(tensor(argument).bytes());
      return time;
    case fb::Opcode::LoopBegin:
    case fb::Opcode::LoopEnd:
      needs(instruction.trip());
      return time;
    case fb::Opcode::Check:
      for (uint32_t scalar : each(instruction.dims())) needs(scalar);
      return time;
    case fb::Opcode::Bind:
    case fb::Opcode::Draw:
    case fb::Opcode::Jump:
      return 0;
  }
  return 0;
}

// Visits (time, refresh) of everything that a Bind decides, in the order of Refresh::Kind.
template <class Visit>
void Session::each_late(Visit visit) const {
  const fb::Plan& plan = model_->plan();
  const auto late = [&](uint32_t time, Refresh::Kind kind, uint32_t index, uint32_t shown = 0) {
    if (time > 0) visit(time, Refresh{kind, index, shown});
  };
  for (uint32_t i = 0; i < length(plan.scalars()); ++i) late(model_->time(i), Refresh::scalar, i);
  for (uint32_t i = 0; i < length(plan.constraints()); ++i)
    late(constraint_time(*model_, *plan.constraints()->Get(i)), Refresh::constraint, i);
  for (uint32_t i = 0; i < length(plan.tensors()); ++i)
    late(tensor_time(*model_, tensor(i)), Refresh::tensor, i);
  for (uint32_t i = 0; i < length(plan.tensors()); ++i)
    if (tensor(i).place() == fb::Place::View)
      late(view_time(*model_, tensor(i), sizes_), Refresh::view, i);
  uint32_t slot = 0;
  for (uint32_t i = 0; i < length(plan.instructions()); ++i) {
    late(step_time(i), Refresh::step, i);
    for (uint32_t argument : each(plan.instructions()->Get(i)->args())) {
      const fb::Tensor& view = tensor(argument);
      // One that moves with a loop is found again at every iteration.
      if (view.place() == fb::Place::View && view.loop() < 0)
        late(model_->time(view.view_offset()), Refresh::slot, slot, argument);
      ++slot;
    }
  }
}

Code Session::list_refreshes(Fault& fault) {
  size_t count = 0;
  each_late([&](uint32_t, Refresh) { ++count; });
  if (!refreshes_.create(count)) return fail(fault, Code::out_of_memory, "for the session");
  uint32_t next = 0;
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    if (model_->plan().instructions()->Get(i)->op() != fb::Opcode::Bind) continue;
    steps_[i].first_refresh = next;
    each_late([&](uint32_t time, Refresh what) {
      if (time == i + 1) refreshes_[next++] = what;
    });
    steps_[i].end_refresh = next;
  }
  return Code::ok;
}

bool Session::shapes_are_current(const bireme_tensor* inputs) const {
  const int64_t* known = shapes_.data();
  for (size_t i = 0; i < length(model_->plan().inputs()); ++i)
    for (uint32_t d = 0; d < inputs[i].rank; ++d)
      if (*known++ != inputs[i].shape[d]) return false;
  return prepared_;
}

void Session::remember_shapes(const bireme_tensor* inputs) {
  int64_t* known = shapes_.data();
  for (size_t i = 0; i < length(model_->plan().inputs()); ++i)
    for (uint32_t d = 0; d < inputs[i].rank; ++d) *known++ = inputs[i].shape[d];
}

Code Session::prepare(const bireme_tensor* inputs, Fault& fault) {
  if (shapes_are_current(inputs)) return Code::ok;
  prepared_ = false;  // until everything below has succeeded
  BIREME_TRY(bind_sizes(*model_, inputs, sizes_, fault));
  BIREME_TRY(
      place_arena(model_->plan(), sizes_.capacity.data(), offsets_.data(), &arena_bytes_, fault));
  BIREME_TRY(reserve(fault));
  run_threads_ = is_short() ? 1 : threads_;
  fill_fixed_addresses();
  remember_shapes(inputs);
  note_peak();
  prepared_ = true;
  return Code::ok;
}

Code Session::reserve(Fault& fault) {
  size_t workspace = 0, slot = 0, dim = 0;
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    const fb::Instruction& instruction = *model_->plan().instructions()->Get(i);
    steps_[i].op = instruction.op();
    steps_[i].target = instruction.target();
    steps_[i].loop = instruction.loop();
    // What a Bind decides does nothing until then.
    steps_[i].tasks = steps_[i].bytes = steps_[i].trip = 0;
    steps_[i].operations = steps_[i].moved = 0;
    steps_[i].first_argument = static_cast<uint32_t>(slot);
    steps_[i].first_dim = static_cast<uint32_t>(dim);
    dim += length(instruction.dims());
    slot += length(instruction.args());
    BIREME_TRY(reserve_scratch(i, &workspace, fault));
    if (step_time(i) == 0) BIREME_TRY(make_step(i, fault));
  }
  uint64_t stride, total;
  if (!round_up(workspace, kAlignment, &stride) ||
      __builtin_mul_overflow(stride, uint64_t{threads_}, &total))
    return fail(fault, Code::size_overflow, "the scratch memory is too large");
  if (!arena_.reserve(static_cast<size_t>(arena_bytes_)))
    return fail(fault, Code::out_of_memory, "the arena needs %lld bytes",
                static_cast<long long>(arena_bytes_));
  if (!workspace_.reserve(total))
    return fail(fault, Code::out_of_memory, "the scratch memory of %u threads needs %llu bytes",
                threads_, static_cast<unsigned long long>(total));
  workspace_stride_ = stride;
  return Code::ok;
}

// The first version of a launch whose guards hold, or null.
const fb::Version* Session::version_of(const fb::Instruction& instruction) const {
  for (const fb::Version* version : each(instruction.versions())) {
    bool holds = true;
    for (const fb::Guard* guard : each(version->guards()))
      holds = holds && sizes_.scalars[guard->scalar()] == guard->value();
    if (holds) return version;
  }
  return nullptr;
}

// Scratch memory for whichever version of a launch the sizes will choose.
Code Session::reserve_scratch(uint32_t index, size_t* workspace, Fault& fault) const {
  const fb::Instruction& instruction = *model_->plan().instructions()->Get(index);
  if (instruction.op() != fb::Opcode::Launch) return Code::ok;
  const auto need = [&](uint32_t scalar) {
    const int64_t bytes = sizes_.scalars[scalar];
    if (bytes < 0) return bad_size(index, "the size of scratch memory", bytes, fault);
    if (static_cast<size_t>(bytes) > *workspace) *workspace = static_cast<size_t>(bytes);
    return Code::ok;
  };
  if (step_time(index) == 0) {
    const fb::Version* version = version_of(instruction);
    return need(version ? version->workspace() : instruction.workspace());
  }
  for (const fb::Version* version : each(instruction.versions()))
    BIREME_TRY(need(version->workspace()));
  return need(instruction.workspace());
}

Code Session::bad_size(uint32_t index, const char* what, int64_t value, Fault& fault) const {
  const Code code = fail(fault, Code::size_overflow, "instruction %u: %s is %lld", index, what,
                         static_cast<long long>(value));
  return at_instruction(index, code, fault);
}

// Adds where instruction `index` comes from to a fault that does not say.
Code Session::at_instruction(uint32_t index, Code code, Fault& fault) const {
  const fb::Plan& plan = model_->plan();
  const fb::Source& source = *plan.sources()->Get(plan.instructions()->Get(index)->source());
  if (code != Code::ok && !*fault.op) locate(fault, text(source.op()), text(source.node()));
  return code;
}

Code Session::make_step(uint32_t index, Fault& fault) {
  const fb::Instruction& instruction = *model_->plan().instructions()->Get(index);
  const auto bytes_of = [&](uint32_t argument) {
    return sizes_.bytes[instruction.args()->Get(argument)];
  };
  Step& step = steps_[index];
  uint32_t dim = step.first_dim;
  for (uint32_t scalar : each(instruction.dims())) dims_[dim++] = sizes_.scalars[scalar];
  switch (step.op) {
    case fb::Opcode::Launch: {
      const fb::Version* version = version_of(instruction);
      step.kernel = version ? version->kernel() : instruction.kernel();
      step.entry = model_->kernel(step.kernel);
      step.tasks = sizes_.scalars[version ? version->tasks() : instruction.tasks()];
      step.cost = sizes_.scalars[instruction.cost()];
      const auto known = [&](int32_t scalar) {
        return scalar < 0 ? -1 : sizes_.scalars[static_cast<uint32_t>(scalar)];
      };
      step.operations = known(instruction.operations());
      step.moved = known(instruction.moved());
      if (step.tasks < 0) return bad_size(index, "the number of tasks", step.tasks, fault);
      const int64_t phase = known(version ? version->phase() : instruction.phase());
      step.phase = phase < 0 ? 0 : phase;
      const bool fits =
          step.phase == 0 || (step.phase <= kLargestPhase && step.tasks % step.phase == 0 &&
                              step.tasks / step.phase <= INT32_MAX);
      return fits ? Code::ok : bad_size(index, "the tasks of a phase", step.phase, fault);
    }
    case fb::Opcode::Copy:
      if (bytes_of(0) > bytes_of(1))
        return bad_size(index, "the room of a copy", bytes_of(1), fault);
      step.bytes = bytes_of(0);
      step.moved = 2 * step.bytes;
      return Code::ok;
    case fb::Opcode::JumpIfFalse:
      return bytes_of(0) >= 1 ? Code::ok
                              : bad_size(index, "the size of a condition", bytes_of(0), fault);
    case fb::Opcode::LoopBegin:
    case fb::Opcode::LoopEnd:
      step.trip = sizes_.scalars[instruction.trip()];
      return Code::ok;
    case fb::Opcode::Bind:
      return bytes_of(0) >= 8 ? Code::ok
                              : bad_size(index, "the memory of a size", bytes_of(0), fault);
    case fb::Opcode::Draw:
      return bytes_of(0) >= 8 ? Code::ok
                              : bad_size(index, "the memory of a key", bytes_of(0), fault);
    case fb::Opcode::Check:
    case fb::Opcode::Jump:
      return Code::ok;
  }
  return Code::ok;
}

// Whether a run ends before threads that sleep could help: waking one costs the caller some 10 µs,
// and it comes after 50. Of a run that loops, or whose data decides sizes, nobody can tell.
bool Session::is_short() const {
  int64_t left = kShortRunNanoseconds;
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    const Step& step = steps_[i];
    const bool goes_back =
        step.op == fb::Opcode::LoopEnd || (step.op == fb::Opcode::Jump && step.target <= i);
    if (goes_back || step.op == fb::Opcode::Bind) return false;
    if (step.op != fb::Opcode::Launch || step.cost < 0) continue;
    if (step.cost >= left) return false;
    left -= step.cost;
  }
  return true;
}

void Session::fill_fixed_addresses() {
  for (const Patch& patch : fixed_) slots_[patch.slot] = address(patch.tensor);
}

// Start of a tensor now; a moving one at the current count of its loop.
void* Session::address(uint32_t index) const {
  const fb::Tensor& wanted = tensor(index);
  const uint32_t base_index = root(index);
  const fb::Tensor& base = tensor(base_index);
  uint8_t* start = nullptr;
  switch (base.place()) {
    case fb::Place::Arena:
      start = arena_.data() + offsets_[base_index];
      break;
    // Kernels do not write to weights; the mapping is read-only.
    case fb::Place::Weight:
      start = const_cast<uint8_t*>(model_->weights()) + base.offset();
      break;
    default:
      start = external_address_[base_index];
      break;
  }
  if (base_index == index) return start;
  int64_t offset = sizes_.scalars[wanted.view_offset()];
  if (wanted.loop() >= 0)
    offset +=
        sizes_.scalars[wanted.loop_stride()] * counters_[static_cast<uint32_t>(wanted.loop())];
  return start + offset;
}

// Before a run, sizes that the data decides are -1, and bytes are what has to be reserved for them.
void Session::describe_outputs(bireme_tensor* outputs, bool after_run) {
  int64_t* shape = output_shapes_.data();
  for (uint32_t index : each(model_->plan().outputs())) {
    const fb::Tensor& output = tensor(index);
    outputs->bytes = static_cast<size_t>(after_run ? sizes_.bytes[index] : sizes_.capacity[index]);
    outputs->shape = shape;
    outputs->rank = static_cast<uint32_t>(length(output.shape()));
    outputs->dtype = static_cast<bireme_dtype>(output.dtype());
    for (uint32_t scalar : each(output.shape()))
      *shape++ = after_run || model_->time(scalar) == 0 ? sizes_.scalars[scalar] : -1;
    ++outputs;
  }
}

Code Session::set_seed(uint64_t seed, Fault& fault) {
  if (busy_.exchange(true, std::memory_order_acquire))
    return fail(fault, Code::session_busy, "the seed was set while the session runs");
  seed_ = seed;
  runs_ = 0;
  busy_.store(false, std::memory_order_release);
  return Code::ok;
}

Code Session::plan(const bireme_tensor* inputs, uint32_t input_count, bireme_tensor* outputs,
                   uint32_t output_count, Fault& fault) {
  const uint32_t expected = static_cast<uint32_t>(length(model_->plan().outputs()));
  if (output_count != 0 && output_count != expected)
    return fail(fault, Code::bad_argument, "%u outputs given, the model has %u", output_count,
                expected);
  if (busy_.exchange(true, std::memory_order_acquire))
    return fail(fault, Code::session_busy, "plan was called while the session runs");
  Code code = check_inputs(*model_, inputs, input_count, fault);
  if (code == Code::ok) code = prepare(inputs, fault);
  if (code == Code::ok && output_count) describe_outputs(outputs, false);
  busy_.store(false, std::memory_order_release);
  return code;
}

uint64_t Session::bookkeeping_bytes() const {
  return sizeof *this + sizes_.symbols.bytes() + sizes_.scalars.bytes() + sizes_.bytes.bytes() +
         sizes_.capacity.bytes() + sizes_.trips.bytes() + refreshes_.bytes() + shapes_.bytes() +
         output_shapes_.bytes() + steps_.bytes() + dims_.bytes() + slots_.bytes() + fixed_.bytes() +
         external_.bytes() + moving_.bytes() + moving_of_.bytes() + counters_.bytes() +
         offsets_.bytes() + external_address_.bytes() + times_.bytes() + trace_.bytes();
}

void Session::note_peak() {
  const uint64_t held =
      arena_.bytes() + workspace_.bytes() + outputs_.bytes() + bookkeeping_bytes();
  if (held > peak_bytes_) peak_bytes_ = held;
}

void Session::memory(bireme_memory_info& info) const {
  info.arena_bytes = static_cast<uint64_t>(arena_bytes_);
  info.workspace_bytes = workspace_stride_ * threads_;
  info.output_bytes = outputs_.bytes();
  info.peak_bytes = peak_bytes_;
}

void Session::profile(uint32_t index, bireme_profile_entry& entry) const {
  static constexpr const char* kKinds[] = {"launch", "copy", "jump",  "jump", "loop",
                                           "loop",   "bind", "check", "draw"};
  const fb::Plan& plan = model_->plan();
  const fb::Instruction& instruction = *plan.instructions()->Get(index);
  const fb::Source& source = *plan.sources()->Get(instruction.source());
  entry.op = text(source.op());
  entry.node = text(source.node());
  entry.kernel = "";
  entry.kind = kKinds[static_cast<uint8_t>(instruction.op())];
  if (instruction.op() == fb::Opcode::Launch) {
    const fb::Kernel& kernel = *plan.kernels()->Get(steps_[index].kernel);
    entry.kernel = kernel.name()->c_str();
    entry.kind = text(kernel.kind());
  }
  entry.calls = times_[index].calls;
  entry.nanoseconds = times_[index].nanoseconds;
  entry.operations = times_[index].operations;
  entry.bytes = times_[index].moved;
  entry.tasks = steps_[index].tasks;
}

}  // namespace bireme::internal
