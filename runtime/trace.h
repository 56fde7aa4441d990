// What each thread did when, for one run: a list of fixed length that several threads add to.
#ifndef BIREME_RUNTIME_TRACE_H_
#define BIREME_RUNTIME_TRACE_H_

#include <stdint.h>
#include <time.h>

#include <atomic>

#include "bireme/bireme.h"
#include "memory.h"

namespace bireme::internal {

// Nanoseconds of a clock.
inline uint64_t now(clockid_t clock = CLOCK_MONOTONIC) {
  timespec time;
  clock_gettime(clock, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(time.tv_nsec);
}

class Trace {
 public:
  // False if memory has run out.
  [[nodiscard]] bool create(uint32_t events) { return events_.create(events); }

  void clear() { added_.store(0, std::memory_order_relaxed); }

  // Of events beyond the room for them only the number is kept.
  void add(const bireme_trace_event& event) {
    const uint64_t place = added_.fetch_add(1, std::memory_order_relaxed);
    if (place < events_.size()) events_[place] = event;
  }

  bool active() const { return events_.size() != 0; }
  uint64_t added() const { return added_.load(std::memory_order_relaxed); }
  const bireme_trace_event* events() const { return events_.data(); }
  size_t room() const { return events_.size(); }
  size_t bytes() const { return events_.bytes(); }

 private:
  Array<bireme_trace_event> events_;
  std::atomic<uint64_t> added_{0};
};

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_TRACE_H_
