// One user of a model: its memory and the plan made concrete for the sizes of its inputs.
#ifndef BIREME_RUNTIME_SESSION_H_
#define BIREME_RUNTIME_SESSION_H_

#include <atomic>

#include "binding.h"
#include "memory.h"
#include "model.h"
#include "status.h"
#include "trace.h"

namespace bireme::internal {

class Session {
 public:
  // `threads` 0: as many as the pool has. `profile`: see bireme_session_options.
  static Code create(Model& model, uint32_t threads, uint32_t profile, Session** session,
                     Fault& fault);
  ~Session();

  // What random numbers depend on. A new seed makes the next run the first.
  uint64_t seed() const { return seed_; }
  Code set_seed(uint64_t seed, Fault& fault);

  // See bireme_session_plan and bireme_session_run.
  Code plan(const bireme_tensor* inputs, uint32_t input_count, bireme_tensor* outputs,
            uint32_t output_count, Fault& fault);
  Code run(const bireme_tensor* inputs, uint32_t input_count, bireme_tensor* outputs,
           uint32_t output_count, Fault& fault);

  void memory(bireme_memory_info& info) const;
  uint32_t profile_count() const { return static_cast<uint32_t>(times_.size()); }
  void profile(uint32_t index, bireme_profile_entry& entry) const;
  // Of the last run; records nothing until it has room for events.
  Trace& trace() { return trace_; }
  const Trace& trace() const { return trace_; }

 private:
  template <class T>
  friend T* create_object();
  template <class T>
  friend void destroy_object(T*);

  // An instruction with every index replaced by what it stands for at the current sizes.
  struct Step {
    fb::Opcode op;
    uint32_t target;
    uint32_t loop;
    uint32_t first_argument;  // in slots_
    uint32_t first_dim;       // in dims_
    uint32_t kernel;          // of the version that is launched
    Kernel entry;
    int64_t tasks;
    int64_t phase;  // tasks of a phase; 0: there are none
    int64_t cost;
    int64_t bytes;  // Copy
    int64_t trip;
    int64_t operations;      // of a launch, -1: not known; for profiles
    int64_t moved;           // bytes of memory read and written, -1: not known; for profiles
    uint32_t first_refresh;  // Bind: in refreshes_, up to that of the next Bind
    uint32_t end_refresh;
    uint32_t draws;  // Draw: how many in this run
  };
  // A place in the list of arguments that is filled again and again.
  struct Patch {
    uint32_t slot;
    uint32_t tensor;
  };
  // Something that a Bind decides, in the order in which it is brought up to date.
  struct Refresh {
    enum Kind : uint32_t { scalar, constraint, tensor, view, step, slot };
    Kind kind;
    uint32_t index;
    uint32_t shown;  // slot: the tensor
  };
  struct Time {
    uint64_t calls;
    uint64_t nanoseconds;
    int64_t operations;
    int64_t moved;
  };

  Session() = default;
  Code initialise(Model& model, uint32_t threads, uint32_t profile, Fault& fault);
  Code list_patches(Fault& fault);
  Code list_refreshes(Fault& fault);
  template <class Visit>
  void each_late(Visit visit) const;
  uint32_t step_time(uint32_t index) const;

  // Planning: once for each new set of shapes.
  Code prepare(const bireme_tensor* inputs, Fault& fault);
  Code prepare_largest(Fault& fault);
  Code reserve(Fault& fault);
  Code reserve_scratch(uint32_t index, size_t* workspace, Fault& fault) const;
  Code make_step(uint32_t index, Fault& fault);
  bool is_short() const;
  Code bad_size(uint32_t index, const char* what, int64_t value, Fault& fault) const;
  Code at_instruction(uint32_t index, Code code, Fault& fault) const;
  const fb::Version* version_of(const fb::Instruction& instruction) const;
  bool shapes_are_current(const bireme_tensor* inputs) const;
  void remember_shapes(const bireme_tensor* inputs);
  void fill_fixed_addresses();
  void describe_outputs(bireme_tensor* outputs, bool after_run);

  // Running.
  Code bind_memory(const bireme_tensor* inputs, bireme_tensor* outputs, Fault& fault);
  Code bind_tensor(uint32_t index, const bireme_tensor& given, Code too_small, Fault& fault);
  Code execute(Fault& fault);
  Code execute_step(uint32_t index, uint32_t* next, Fault& fault);
  Code measure_step(uint32_t index, uint32_t* next, Fault& fault);
  Code bind(uint32_t index, Fault& fault);
  Code refresh(const Refresh& what, Fault& fault);
  uint64_t next_key(uint32_t index);
  Code launch(const Step& step, uint32_t index, Fault& fault);
  bool output_room(const bireme_tensor* outputs, uint64_t* bytes) const;
  void patch_loop(uint32_t loop);
  void* address(uint32_t tensor) const;

  uint32_t root(uint32_t tensor) const;
  const fb::Tensor& tensor(uint32_t index) const;
  uint64_t bookkeeping_bytes() const;
  void note_peak();

  Model* model_ = nullptr;
  uint32_t threads_ = 1;      // that scratch memory is there for
  uint32_t run_threads_ = 1;  // that a run at the current sizes uses
  std::atomic<bool> busy_{false};
  bool prepared_ = false;
  bool draws_ = false;  // whether an instruction is a Draw
  uint64_t seed_ = 0;
  uint64_t runs_ = 0;  // since the seed was set

  Sizes sizes_;
  Array<int64_t> shapes_;         // of the inputs that sizes_ belongs to, one after another
  Array<int64_t> output_shapes_;  // one after another
  Array<Step> steps_;
  Array<int64_t> dims_;    // arguments of kernels that are numbers
  Array<void*> slots_;     // arguments of kernels that are addresses
  Array<Patch> fixed_;     // slots that change with the sizes only
  Array<Patch> external_;  // slots in the caller's memory: change with every run
  Array<Patch> moving_;    // slots that move with a loop, sorted by loop
  Array<uint32_t>
      moving_of_;             // where each loop's part of moving_ starts; one more entry at the end
  Array<Refresh> refreshes_;  // of the first Bind, the second, ...
  Array<int64_t> counters_;
  Array<int64_t> offsets_;             // of Arena tensors
  Array<uint8_t*> external_address_;   // of Input and Output tensors, by tensor
  Array<Time> times_;                  // empty if the session does not profile
  clockid_t clock_ = CLOCK_MONOTONIC;  // of times_
  Trace trace_;

  Block arena_;
  Block workspace_;
  Block outputs_;  // those the caller gives no memory for
  int64_t arena_bytes_ = 0;
  size_t workspace_stride_ = 0;
  uint64_t peak_bytes_ = 0;
};

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_SESSION_H_
