#include "verifier.h"

#include <algorithm>

#include "container.h"
#include "memory.h"
#include "plan.h"

namespace bireme::internal {
namespace {

constexpr uint32_t kMaxRank = 64;
using ull = unsigned long long;

class Verifier {
 public:
  Verifier(const fb::Plan& plan, uint64_t code_bytes, uint64_t weight_bytes, ScalarHints& hints,
           Fault& fault)
      : plan_(plan),
        code_bytes_(code_bytes),
        weight_bytes_(weight_bytes),
        constant_(hints.constant),
        value_(hints.value),
        time_(hints.time),
        fault_(fault) {}

  Code run() {
    BIREME_TRY(binds());
    BIREME_TRY(scalars());
    BIREME_TRY(symbols());
    BIREME_TRY(tensors());
    BIREME_TRY(arena_order());
    BIREME_TRY(inputs_and_outputs());
    BIREME_TRY(images());
    BIREME_TRY(loops());
    BIREME_TRY(instructions());
    return constraints();
  }

 private:
  // ---- Tables ----

  // Finds the instruction that binds each symbol.
  Code binds() {
    if (!bind_time_.create(length(plan_.symbols()))) return no_memory();
    for (uint32_t pc = 0; pc < length(plan_.instructions()); ++pc) {
      const fb::Instruction& instruction = *plan_.instructions()->Get(pc);
      if (instruction.op() != fb::Opcode::Bind) continue;
      if (instruction.symbol() >= bind_time_.size() || bind_time_[instruction.symbol()] != 0)
        return bad("instruction %u: symbol %u is unknown or bound twice", pc, instruction.symbol());
      bind_time_[instruction.symbol()] = pc + 1;
    }
    return Code::ok;
  }

  Code scalars() {
    const size_t count = length(plan_.scalars());
    const size_t symbol_count = length(plan_.symbols());
    if (!constant_.create(count) || !value_.create(count) || !time_.create(count))
      return no_memory();
    if (!is_aligned(plan_.scalars())) return bad("the scalars are not aligned");
    for (size_t i = 0; i < count; ++i) {
      const fb::Scalar& entry = *plan_.scalars()->Get(static_cast<uint32_t>(i));
      const uint64_t a = static_cast<uint64_t>(entry.a());  // a negative one becomes too large
      switch (entry.op()) {
        case fb::ScalarOp::Const:
          constant_[i] = 1;
          continue;
        case fb::ScalarOp::Symbol:
          if (a >= symbol_count)
            return bad("scalar %zu: there is no symbol %llu", i, static_cast<ull>(a));
          time_[i] = bind_time_[a];
          continue;
        default:
          break;
      }
      if (entry.op() > fb::ScalarOp::MAX) return bad("scalar %zu: unknown operation", i);
      if (a >= i || entry.b() >= i) return bad("scalar %zu refers to one that is not before it", i);
      constant_[i] = constant_[a] & constant_[entry.b()];
      time_[i] = std::max(time_[a], time_[entry.b()]);
    }
    // Values at the hints; only constant ones are looked at.
    Array<int64_t> hints;
    if (!hints.create(symbol_count)) return no_memory();
    for (size_t s = 0; s < symbol_count; ++s) hints[s] = symbol(s).hint();
    if (count == 0) return Code::ok;
    const auto* program = reinterpret_cast<const fb::Scalar*>(plan_.scalars()->Data());
    Fault ignored = BIREME_STATUS_INIT;
    for (size_t i = 0; i < count; ++i)
      if (evaluate_scalar(program, i, hints.data(), value_.data(), ignored) != Code::ok)
        return bad("at the symbols' hints: %s", ignored.message);
    return Code::ok;
  }

  Code symbols() {
    const size_t count = length(plan_.symbols());
    Array<uint8_t> bound;
    if (!bound.create(count)) return no_memory();
    for (size_t i = 0; i < count; ++i) {
      const fb::Symbol& s = symbol(i);
      if (s.min() < 0 || s.max() < -1 || (s.max() >= 0 && s.max() < s.min()))
        return bad("symbol %s: its range is empty or negative", s.name()->c_str());
    }
    for (uint32_t index : each(plan_.inputs())) {
      if (index >= length(plan_.tensors())) return bad("there is no tensor %u", index);
      for (uint32_t dim : each(plan_.tensors()->Get(index)->shape())) {
        if (dim >= constant_.size()) return bad("tensor %u: there is no scalar %u", index, dim);
        const fb::Scalar& entry = *plan_.scalars()->Get(dim);
        if (time_[dim] != 0) return bad("input %u: its shape is known too late", index);
        if (entry.op() == fb::ScalarOp::Symbol) bound[static_cast<size_t>(entry.a())] = 1;
      }
    }
    for (size_t i = 0; i < count; ++i)
      if (!bound[i] && bind_time_[i] == 0)
        return bad("symbol %s is not a dimension of any input and never bound",
                   symbol(i).name()->c_str());
    return Code::ok;
  }

  Code tensors() {
    const size_t count = length(plan_.tensors());
    for (size_t i = 0; i < count; ++i) {
      const fb::Tensor& tensor = *plan_.tensors()->Get(static_cast<uint32_t>(i));
      if (tensor.dtype() > fb::DType::MAX) return bad("tensor %zu: unknown dtype", i);
      if (length(tensor.shape()) > kMaxRank) return bad("tensor %zu: rank above %u", i, kMaxRank);
      for (uint32_t dim : each(tensor.shape()))
        if (!is_scalar(dim)) return bad("tensor %zu: there is no scalar %u", i, dim);
      if (!is_scalar(tensor.bytes())) return bad("tensor %zu: bytes is no scalar", i);
      BIREME_TRY(capacity(tensor, i));
      switch (tensor.place()) {
        case fb::Place::Arena:
          for (uint32_t before : each(tensor.after()))
            if (before >= count) return bad("tensor %zu: there is no tensor %u", i, before);
          break;
        case fb::Place::Weight:
          BIREME_TRY(weight(tensor, i));
          break;
        case fb::Place::View:
          BIREME_TRY(view(tensor, i));
          break;
        case fb::Place::Input:
        case fb::Place::Output:
          break;
        default:
          return bad("tensor %zu: unknown place", i);
      }
    }
    return Code::ok;
  }

  // What is reserved for a tensor must be known before the run, and no data may decide it.
  Code capacity(const fb::Tensor& tensor, size_t i) {
    const bool reserved = tensor.place() == fb::Place::Arena || tensor.place() == fb::Place::Output;
    if (tensor.capacity() == -1)
      return tensor.place() == fb::Place::View || time_[tensor.bytes()] == 0
                 ? Code::ok
                 : bad("tensor %zu: its size is known too late and it has no capacity", i);
    if (tensor.capacity() < -1 || !is_scalar(static_cast<uint32_t>(tensor.capacity())))
      return bad("tensor %zu: capacity is no scalar", i);
    if (!reserved) return bad("tensor %zu has a capacity but no memory of its own", i);
    if (time_[static_cast<uint32_t>(tensor.capacity())] != 0)
      return bad("tensor %zu: its capacity is known too late", i);
    return Code::ok;
  }

  Code weight(const fb::Tensor& tensor, size_t i) {
    if (!constant_[tensor.bytes()]) return bad("weight %zu: its size is not constant", i);
    const int64_t bytes = value_[tensor.bytes()];
    if (tensor.offset() % kAlignment != 0) return bad("weight %zu is not aligned", i);
    if (bytes < 0 || tensor.offset() > weight_bytes_ ||
        static_cast<uint64_t>(bytes) > weight_bytes_ - tensor.offset())
      return bad("weight %zu is not inside the weights section", i);
    return Code::ok;
  }

  Code view(const fb::Tensor& tensor, size_t i) {
    if (tensor.base() >= length(plan_.tensors()))
      return bad("tensor %zu: there is no tensor %u", i, tensor.base());
    if (plan_.tensors()->Get(tensor.base())->place() == fb::Place::View)
      return bad("tensor %zu: its base is a view", i);
    if (!is_scalar(tensor.view_offset())) return bad("tensor %zu: view_offset is no scalar", i);
    if (tensor.loop() == -1) return Code::ok;
    if (tensor.loop() < -1 || static_cast<uint32_t>(tensor.loop()) >= plan_.loops())
      return bad("tensor %zu: there is no loop %d", i, tensor.loop());
    if (!is_scalar(tensor.loop_stride())) return bad("tensor %zu: loop_stride is no scalar", i);
    return Code::ok;
  }

  Code arena_order() {
    const size_t count = length(plan_.tensors());
    Array<uint8_t> placed;
    if (!placed.create(count)) return no_memory();
    for (uint32_t index : each(plan_.arena_order())) {
      if (index >= count) return bad("arena_order: there is no tensor %u", index);
      const fb::Tensor& tensor = *plan_.tensors()->Get(index);
      if (tensor.place() != fb::Place::Arena) return bad("arena_order: %u is not Arena", index);
      if (placed[index]) return bad("arena_order: tensor %u occurs twice", index);
      for (uint32_t before : each(tensor.after()))
        if (!placed[before]) return bad("arena_order: %u stands before tensor %u", index, before);
      placed[index] = 1;
    }
    for (size_t i = 0; i < count; ++i)
      if (plan_.tensors()->Get(static_cast<uint32_t>(i))->place() == fb::Place::Arena && !placed[i])
        return bad("arena_order: tensor %zu is missing", i);
    return Code::ok;
  }

  Code inputs_and_outputs() {
    BIREME_TRY(each_once(plan_.inputs(), fb::Place::Input, "inputs"));
    return each_once(plan_.outputs(), fb::Place::Output, "outputs");
  }

  Code each_once(const flatbuffers::Vector<uint32_t>* list, fb::Place place, const char* what) {
    const size_t count = length(plan_.tensors());
    Array<uint8_t> listed;
    if (!listed.create(count)) return no_memory();
    for (uint32_t index : each(list)) {
      if (index >= count) return bad("%s: there is no tensor %u", what, index);
      if (plan_.tensors()->Get(index)->place() != place)
        return bad("%s: tensor %u has another place", what, index);
      if (listed[index]) return bad("%s: tensor %u occurs twice", what, index);
      listed[index] = 1;
    }
    for (size_t i = 0; i < count; ++i)
      if (plan_.tensors()->Get(static_cast<uint32_t>(i))->place() == place && !listed[i])
        return bad("%s: tensor %zu is missing", what, i);
    return Code::ok;
  }

  Code images() {
    const size_t kernels = length(plan_.kernels());
    const size_t count = length(plan_.images());
    for (size_t i = 0; i < count; ++i) {
      const fb::CodeImage& image = *plan_.images()->Get(static_cast<uint32_t>(i));
      if (image.offset() % kPageBytes != 0 || image.bytes() % kPageBytes != 0 ||
          image.import_offset() % kPageBytes != 0)
        return bad("image %zu is not aligned to pages", i);
      if (image.bytes() == 0 || image.offset() > code_bytes_ ||
          image.bytes() > code_bytes_ - image.offset())
        return bad("image %zu is not inside the code section", i);
      if (image.import_offset() > image.bytes() ||
          length(image.imports()) > (image.bytes() - image.import_offset()) / sizeof(void*))
        return bad("image %zu: its import table is not inside it", i);
      for (const flatbuffers::String* name : each(image.imports()))
        if (!name) return bad("image %zu: an import has no name", i);
      if (length(image.entries()) != kernels)
        return bad("image %zu has %zu entries for %zu kernels", i, length(image.entries()),
                   kernels);
      for (uint64_t entry : each(image.entries()))
        if (entry >= image.import_offset())
          return bad("image %zu: an entry is not inside its code", i);
    }
    return Code::ok;
  }

  Code constraints() {
    for (const fb::Constraint* constraint : each(plan_.constraints()))
      if (!is_scalar(constraint->a()) || !is_scalar(constraint->b()) ||
          constraint->source() >= length(plan_.sources()))
        return bad("a constraint refers to what is not there");
    return Code::ok;
  }

  // ---- Instructions ----

  struct Loop {
    uint32_t begin, end;  // instruction numbers of LoopBegin and LoopEnd
  };

  // Finds the pair of every loop and checks that pairs nest.
  Code loops() {
    const size_t count = length(plan_.instructions());
    if (plan_.loops() > count) return bad("more loops than instructions");
    if (!loops_.create(plan_.loops()) || !inside_.create(count)) return no_memory();
    for (Loop& loop : loops_) loop = {kNone, kNone};
    Array<uint32_t> open;  // loops around the current instruction, outermost first
    if (!open.create(plan_.loops())) return no_memory();
    size_t depth = 0;
    for (uint32_t pc = 0; pc < count; ++pc) {
      const fb::Instruction& instruction = *plan_.instructions()->Get(pc);
      inside_[pc] = depth ? open[depth - 1] : kNone;
      if (instruction.op() == fb::Opcode::LoopBegin) {
        if (instruction.loop() >= plan_.loops() || loops_[instruction.loop()].begin != kNone)
          return bad("instruction %u: loop %u is unknown or begins twice", pc, instruction.loop());
        loops_[instruction.loop()].begin = pc;
        open[depth++] = instruction.loop();
      } else if (instruction.op() == fb::Opcode::LoopEnd) {
        if (depth == 0 || open[depth - 1] != instruction.loop())
          return bad("instruction %u ends a loop that is not the innermost", pc);
        loops_[instruction.loop()].end = pc;
        --depth;
      }
    }
    if (depth != 0) return bad("loop %u has no end", open[depth - 1]);
    // What surrounds a loop, so that chains can be followed outwards from any instruction.
    if (!outer_.create(plan_.loops())) return no_memory();
    for (size_t i = 0; i < loops_.size(); ++i)
      outer_[i] = loops_[i].begin == kNone ? kNone : inside_[loops_[i].begin];
    return Code::ok;
  }

  Code instructions() {
    const size_t count = length(plan_.instructions());
    for (uint32_t pc = 0; pc < count; ++pc) {
      const fb::Instruction& instruction = *plan_.instructions()->Get(pc);
      if (instruction.source() >= length(plan_.sources()))
        return bad("instruction %u: there is no source %u", pc, instruction.source());
      for (uint32_t argument : each(instruction.args())) BIREME_TRY(operand(argument, pc));
      if (!is_known(instruction.args(), pc))
        return bad("instruction %u uses a tensor whose size is known too late", pc);
      switch (instruction.op()) {
        case fb::Opcode::Launch:
          BIREME_TRY(launch(instruction, pc));
          break;
        case fb::Opcode::Copy:
          if (length(instruction.args()) != 2) return bad("instruction %u: Copy takes 2", pc);
          if (is_read_only(instruction.args()->Get(1)))
            return bad("instruction %u writes to an input or weight", pc);
          break;
        case fb::Opcode::JumpIfFalse:
          if (length(instruction.args()) != 1 ||
              plan_.tensors()->Get(instruction.args()->Get(0))->dtype() != fb::DType::Bool)
            return bad("instruction %u: JumpIfFalse takes one bool", pc);
          [[fallthrough]];
        case fb::Opcode::Jump:
          BIREME_TRY(jump(instruction.target(), pc));
          break;
        case fb::Opcode::LoopBegin:
        case fb::Opcode::LoopEnd:
          BIREME_TRY(loop(instruction, pc));
          break;
        case fb::Opcode::Bind:
          BIREME_TRY(bind(instruction, pc));
          break;
        case fb::Opcode::Draw:
          if (length(instruction.args()) != 1 ||
              plan_.tensors()->Get(instruction.args()->Get(0))->dtype() != fb::DType::U64)
            return bad("instruction %u: Draw takes one uint64", pc);
          if (is_read_only(instruction.args()->Get(0)))
            return bad("instruction %u writes to an input or weight", pc);
          break;
        case fb::Opcode::Check:
          if (length(instruction.dims()) != 2)
            return bad("instruction %u: Check compares 2 sizes", pc);
          BIREME_TRY(dims(instruction, pc));
          break;
        default:
          return bad("instruction %u: unknown operation", pc);
      }
    }
    return Code::ok;
  }

  Code operand(uint32_t index, uint32_t pc) {
    if (index >= length(plan_.tensors()))
      return bad("instruction %u: there is no tensor %u", pc, index);
    const fb::Tensor& tensor = *plan_.tensors()->Get(index);
    if (tensor.place() != fb::Place::View || tensor.loop() == -1) return Code::ok;
    const uint32_t loop = static_cast<uint32_t>(tensor.loop());
    if (loops_[loop].begin == kNone || pc <= loops_[loop].begin || pc >= loops_[loop].end)
      return bad("instruction %u uses tensor %u outside of loop %u", pc, index, loop);
    return Code::ok;
  }

  Code launch(const fb::Instruction& instruction, uint32_t pc) {
    if (instruction.kernel() >= length(plan_.kernels()))
      return bad("instruction %u: there is no kernel %u", pc, instruction.kernel());
    BIREME_TRY(dims(instruction, pc));
    if (!is_scalar(instruction.tasks()) || !is_scalar(instruction.cost()) ||
        !is_scalar(instruction.workspace()))
      return bad("instruction %u: tasks, cost or workspace is no scalar", pc);
    if (time_[instruction.tasks()] > pc || time_[instruction.cost()] > pc ||
        time_[instruction.workspace()] != 0)
      return bad("instruction %u: tasks, cost or workspace is known too late", pc);
    if (instruction.results() > length(instruction.args()))
      return bad("instruction %u: there are not %u results", pc, instruction.results());
    for (int32_t figure : {instruction.operations(), instruction.moved(), instruction.phase()})
      BIREME_TRY(optional_scalar(figure, pc));
    for (const fb::Version* version : each(instruction.versions()))
      BIREME_TRY(this->version(*version, pc));
    return Code::ok;
  }

  Code optional_scalar(int32_t figure, uint32_t pc) {
    if (figure < -1 || (figure >= 0 && !is_scalar(static_cast<uint32_t>(figure))))
      return bad("instruction %u: operations, moved bytes or phase is no scalar", pc);
    if (figure >= 0 && time_[figure] > pc)
      return bad("instruction %u: operations, moved bytes or phase is known too late", pc);
    return Code::ok;
  }

  Code dims(const fb::Instruction& instruction, uint32_t pc) {
    for (uint32_t dim : each(instruction.dims()))
      if (!is_scalar(dim))
        return bad("instruction %u: there is no scalar %u", pc, dim);
      else if (time_[dim] > pc)
        return bad("instruction %u: a size is known too late", pc);
    return Code::ok;
  }

  Code version(const fb::Version& version, uint32_t pc) {
    if (version.kernel() >= length(plan_.kernels()))
      return bad("instruction %u: a version has no kernel %u", pc, version.kernel());
    if (!is_scalar(version.tasks()) || !is_scalar(version.workspace()))
      return bad("instruction %u: tasks or workspace of a version is no scalar", pc);
    if (time_[version.tasks()] > pc || time_[version.workspace()] != 0)
      return bad("instruction %u: tasks or workspace of a version is known too late", pc);
    BIREME_TRY(optional_scalar(version.phase(), pc));
    if (!is_aligned(version.guards())) return bad("instruction %u: guards are not aligned", pc);
    for (const fb::Guard* guard : each(version.guards()))
      if (!is_scalar(guard->scalar()))
        return bad("instruction %u: a guard looks at scalar %u", pc, guard->scalar());
      else if (time_[guard->scalar()] > pc)
        return bad("instruction %u: a guard looks at what is known too late", pc);
    return Code::ok;
  }

  Code bind(const fb::Instruction& instruction, uint32_t pc) {
    if (length(instruction.args()) != 1 ||
        plan_.tensors()->Get(instruction.args()->Get(0))->dtype() != fb::DType::I64)
      return bad("instruction %u: Bind takes one int64", pc);
    if (!is_scalar(instruction.bound()) || time_[instruction.bound()] > pc)
      return bad("instruction %u: bound is no scalar or known too late", pc);
    return Code::ok;
  }

  // The loops around the target must be around the jump as well.
  Code jump(uint32_t target, uint32_t pc) {
    const size_t count = length(plan_.instructions());
    if (target > count) return bad("instruction %u: there is no instruction %u", pc, target);
    const uint32_t entered = target == count ? kNone : inside_[target];
    if (entered == kNone) return Code::ok;
    for (uint32_t loop = inside_[pc]; loop != kNone; loop = outer_[loop])
      if (loop == entered) return Code::ok;
    return bad("instruction %u jumps into loop %u", pc, entered);
  }

  Code loop(const fb::Instruction& instruction, uint32_t pc) {
    const Loop& pair = loops_[instruction.loop()];
    const uint32_t target = pc == pair.begin ? pair.end + 1 : pair.begin + 1;
    if (instruction.target() != target)
      return bad("instruction %u: a loop's target must be %u", pc, target);
    if (!is_scalar(instruction.trip())) return bad("instruction %u: trip is no scalar", pc);
    if (time_[instruction.trip()] > pc) return bad("instruction %u: trip is known too late", pc);
    if (plan_.instructions()->Get(pair.begin)->trip() != instruction.trip())
      return bad("instruction %u: both ends of a loop must have the same trip count", pc);
    return Code::ok;
  }

  // ---- Helpers ----

  static constexpr uint32_t kNone = UINT32_MAX;

  const fb::Symbol& symbol(size_t i) const {
    return *plan_.symbols()->Get(static_cast<uint32_t>(i));
  }
  // Structs are read in place, and FlatBuffers' own check does not look at their alignment.
  template <class T>
  static bool is_aligned(const flatbuffers::Vector<const T*>* structs) {
    return !structs || reinterpret_cast<uintptr_t>(structs->Data()) % alignof(T) == 0;
  }
  // Whether the sizes and places of the arguments are known when instruction `pc` starts.
  bool is_known(const flatbuffers::Vector<uint32_t>* arguments, uint32_t pc) const {
    for (uint32_t argument : each(arguments)) {
      const fb::Tensor& tensor = *plan_.tensors()->Get(argument);
      uint32_t time = time_[tensor.bytes()];
      for (uint32_t dim : each(tensor.shape())) time = std::max(time, time_[dim]);
      if (tensor.place() == fb::Place::View) {
        time = std::max(time, time_[tensor.view_offset()]);
        if (tensor.loop() >= 0) time = std::max(time, time_[tensor.loop_stride()]);
      }
      if (time > pc) return false;
    }
    return true;
  }
  bool is_scalar(uint32_t index) const { return index < constant_.size(); }
  bool is_read_only(uint32_t index) const {
    const fb::Tensor* tensor = plan_.tensors()->Get(index);
    if (tensor->place() == fb::Place::View) tensor = plan_.tensors()->Get(tensor->base());
    return tensor->place() == fb::Place::Input || tensor->place() == fb::Place::Weight;
  }
  __attribute__((format(printf, 2, 3))) Code bad(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)fail_list(fault_, Code::plan_invalid, format, arguments);
    va_end(arguments);
    return Code::plan_invalid;
  }
  Code no_memory() { return fail(fault_, Code::out_of_memory, "while the plan was checked"); }

  const fb::Plan& plan_;
  const uint64_t code_bytes_;
  const uint64_t weight_bytes_;
  Array<uint8_t>& constant_;
  Array<int64_t>& value_;
  Array<uint32_t>& time_;      // when each scalar is known
  Array<uint32_t> bind_time_;  // when each symbol is bound; 0: by the inputs
  Fault& fault_;
  Array<Loop> loops_;
  Array<uint32_t> inside_;  // innermost loop around each instruction; a LoopEnd is inside its own
  Array<uint32_t> outer_;   // loop around each loop
};

}  // namespace

Code verify_plan(const uint8_t* data, size_t bytes, uint64_t code_bytes, uint64_t weight_bytes,
                 const fb::Plan** plan, ScalarHints* hints, Fault& fault) {
  flatbuffers::Verifier verifier(data, bytes);
  if (!fb::VerifyPlanBuffer(verifier))
    return fail(fault, Code::plan_malformed, "its FlatBuffers structure is broken");
  *plan = fb::GetPlan(data);
  return Verifier(**plan, code_bytes, weight_bytes, *hints, fault).run();
}

}  // namespace bireme::internal
