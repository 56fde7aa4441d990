// One launch of a kernel: its tasks divided among threads.
#ifndef BIREME_RUNTIME_LAUNCH_H_
#define BIREME_RUNTIME_LAUNCH_H_

#include <stddef.h>
#include <stdint.h>

#include "code_image.h"
#include "trace.h"

namespace bireme::internal {

struct Launch {
  Kernel kernel;
  void* const* args;
  const int64_t* dims;
  int64_t tasks;
  int64_t cost;              // nanoseconds of all tasks on one core, an estimate
  uint8_t* workspace;        // of the first thread
  size_t workspace_stride;   // bytes from one thread's to the next one's
  uint32_t threads;          // at most
  int64_t phase = 0;         // tasks of a phase, a divisor of `tasks`; 0: there are no phases
  Trace* trace = nullptr;    // gets an event for each thread that takes part
  uint32_t instruction = 0;  // for the trace
};

// Tasks of a phase at most.
constexpr int64_t kLargestPhase = 32;

// Runs all tasks. Those of a phase end before the next phase begins, and all tasks share the first
// thread's workspace; a call gets tasks of one phase, or all there are. Returns 0 or the number
// that one of the failing calls returned; tasks that had not begun by then are left out.
int32_t run_launch(const Launch& launch);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_LAUNCH_H_
