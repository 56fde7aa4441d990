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
  Trace* trace = nullptr;    // gets an event for each thread that takes part
  uint32_t instruction = 0;  // for the trace
};

// Runs all tasks. Returns 0 or the number that one of the failing calls returned; tasks that had
// not begun by then are left out.
int32_t run_launch(const Launch& launch);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_LAUNCH_H_
