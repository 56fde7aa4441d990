// Worker threads of the process, shared by all sessions; the only global state of the runtime.
//
// Threads are started when first needed and sleep while nothing runs; between the launches of a run
// they look for the next one for a bounded time. If the pool is busy with another session's work,
// the caller does its own work alone instead of waiting: more threads than cores would help
// neither. After fork() a child has none of the threads; it starts its own when it first needs
// them.
#ifndef BIREME_RUNTIME_POOL_H_
#define BIREME_RUNTIME_POOL_H_

#include <stdint.h>

#include "bireme/bireme.h"
#include "status.h"

namespace bireme::internal {

// Calls body(context, w) for w in [0, workers), at most once each, on the calling thread (w = 0)
// and on those workers that are free in time; returns when all calls have ended. So `body` must
// take its share of the work from a common counter until there is none left.
void pool_run(void (*body)(void* context, uint32_t worker), void* context, uint32_t workers);

// While one exists more work is about to come, so workers look for it for some microseconds before
// they sleep. Without one they sleep at once.
class PoolRun {
 public:
  // Nothing happens unless `parallel`.
  explicit PoolRun(bool parallel);
  ~PoolRun();
  PoolRun(const PoolRun&) = delete;
  PoolRun& operator=(const PoolRun&) = delete;

 private:
  const bool parallel_;
};

// Threads of the pool, the calling one included.
uint32_t pool_threads();

// Replaces the pool; see bireme_pool_set.
Code pool_set(const bireme_pool_options& options, Fault& fault);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_POOL_H_
