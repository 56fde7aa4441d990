#include "launch.h"

#include <sched.h>

#include <atomic>

#include "futex.h"
#include "pool.h"

namespace bireme::internal {
namespace {

// Less work than this is not worth sharing with another thread: to tell it, and to fetch from its
// core what it wrote, takes about half as long.
constexpr int64_t kShareNanoseconds = 2'000;
// A piece that a thread takes should last at least this long, or taking pieces costs more than they
// do.
constexpr int64_t kPieceNanoseconds = 500;
// Of one launch.
constexpr uint32_t kMostThreads = 128;

// A thread's own run of pieces: the first in the low half, the end in the high half. Pieces are
// numbered, not tasks, so that both fit.
struct alignas(64) Run {
  std::atomic<uint64_t> pieces;
};

uint64_t run_of(uint64_t first, uint64_t end) { return end << 32 | first; }

struct Shared {
  const Launch* launch;
  int64_t piece;  // tasks of a piece; the last may have fewer
  uint32_t threads;
  std::atomic<int32_t> fault{0};
  Run runs[kMostThreads];
};

// Takes three quarters of what is left of a run from its front, or half from its back. Large pieces
// come first, small ones at the end, so that cores of unequal speed finish together; few pieces,
// because some kernels prepare their operands anew for each.
bool take_part(Run& run, bool front, uint64_t* first, uint64_t* end) {
  uint64_t seen = run.pieces.load(std::memory_order_relaxed);
  uint64_t rest;
  do {
    const uint64_t begin = seen & UINT32_MAX;
    const uint64_t close = seen >> 32;
    if (begin >= close) return false;
    const uint64_t left = close - begin;
    const uint64_t part = front ? left - left / 4 : left - left / 2;
    *first = front ? begin : close - part;
    *end = front ? begin + part : close;
    rest = front ? run_of(begin + part, close) : run_of(begin, close - part);
  } while (!run.pieces.compare_exchange_weak(seen, rest, std::memory_order_relaxed));
  return true;
}

// Takes from the thread's own run, the same part of the tasks in every launch, so that a core finds
// in its cache what it wrote there in the launch before. Then from what others have left.
bool take_tasks(Shared& shared, uint32_t worker, int64_t* begin, int64_t* end) {
  const uint32_t threads = shared.threads;
  for (uint32_t i = 0; i < threads; ++i) {
    uint64_t first, close;
    if (!take_part(shared.runs[(worker + i) % threads], i == 0, &first, &close)) continue;
    const int64_t last = static_cast<int64_t>(close) * shared.piece;
    *begin = static_cast<int64_t>(first) * shared.piece;
    *end = last < shared.launch->tasks ? last : shared.launch->tasks;
    return true;
  }
  return false;
}

// An event from here to the end of its life, if the launch is traced.
class Traced {
 public:
  Traced(const Launch& launch, uint32_t worker)
      : launch_(launch), worker_(worker), begin_(launch.trace ? now() : 0) {}
  ~Traced() {
    if (launch_.trace) launch_.trace->add({launch_.instruction, worker_, begin_, now()});
  }
  Traced(const Traced&) = delete;
  Traced& operator=(const Traced&) = delete;

 private:
  const Launch& launch_;
  const uint32_t worker_;
  const uint64_t begin_;
};

void run_share(void* context, uint32_t worker) {
  Shared& shared = *static_cast<Shared*>(context);
  const Launch& launch = *shared.launch;
  const Traced traced(launch, worker);
  uint8_t* workspace = launch.workspace + worker * launch.workspace_stride;
  int64_t begin, end;
  while (take_tasks(shared, worker, &begin, &end)) {
    const int32_t fault = launch.kernel(launch.args, launch.dims, workspace, begin, end);
    if (fault == 0) continue;
    int32_t none = 0;
    shared.fault.compare_exchange_strong(none, fault, std::memory_order_relaxed);
    for (uint32_t i = 0; i < shared.threads; ++i)
      shared.runs[i].pieces.store(0, std::memory_order_relaxed);
  }
}

// Progress of a launch in phases. Any thread can do all tasks of a phase that nobody else does, so
// it never waits for a thread that has not come.
struct Phases {
  const Launch* launch;
  int64_t threads;
  int64_t count;
  // The phase in the high half; in the low half a bit for each of its tasks, set when it is taken.
  alignas(64) std::atomic<uint64_t> board{0};
  alignas(64) std::atomic<int64_t> done{0};  // tasks of the phase that have ended
  std::atomic<int32_t> fault{0};
};

// `count` bits from `first` on.
uint32_t bits(int64_t first, int64_t count) {
  return static_cast<uint32_t>(((uint64_t{1} << count) - 1) << first);
}

// Waits until the phase is no longer that of `seen`, or tasks of it are free again.
void wait_for_phase(const Phases& phases, uint64_t seen) {
  for (int i = 1; phases.board.load(std::memory_order_acquire) == seen; ++i) {
    pause_briefly();
    // Where cores are short, the thread that is waited for may be one that this one keeps from
    // running.
    if (i % 256 == 0) sched_yield();
  }
}

// In each phase a thread takes its own share of the tasks, the same in all phases, so that what
// they read stays in its core's cache; then, one by one, what others have left.
void run_phases(void* context, uint32_t worker) {
  Phases& phases = *static_cast<Phases*>(context);
  const Launch& launch = *phases.launch;
  const Traced traced(launch, worker);
  const int64_t tasks = launch.phase;
  const int64_t share = worker * tasks / phases.threads;
  const uint32_t all = bits(0, tasks);
  const uint32_t own = bits(share, (worker + 1) * tasks / phases.threads - share);
  uint64_t seen = phases.board.load(std::memory_order_acquire);
  while (true) {
    const int64_t phase = static_cast<int64_t>(seen >> 32);
    if (phase >= phases.count) return;
    const uint32_t free = all & ~static_cast<uint32_t>(seen);
    if (free == 0) {
      wait_for_phase(phases, seen);
      seen = phases.board.load(std::memory_order_acquire);
      continue;
    }
    const uint32_t wanted = free & own ? free & own : free;
    const int first = __builtin_ctz(wanted);
    int64_t count = 1;
    while (free & own && first + count < tasks && (wanted >> (first + count) & 1)) ++count;
    if (!phases.board.compare_exchange_weak(seen, seen | bits(first, count),
                                            std::memory_order_acq_rel, std::memory_order_acquire))
      continue;
    const int64_t begin = phase * tasks + first;
    const int32_t fault =
        launch.kernel(launch.args, launch.dims, launch.workspace, begin, begin + count);
    if (fault != 0) {
      // This phase never ends by itself, as these tasks are not counted.
      int32_t none = 0;
      phases.fault.compare_exchange_strong(none, fault, std::memory_order_relaxed);
      phases.board.store(static_cast<uint64_t>(phases.count) << 32, std::memory_order_release);
      return;
    }
    if (phases.done.fetch_add(count, std::memory_order_acq_rel) + count == tasks) {
      phases.done.store(0, std::memory_order_relaxed);
      phases.board.store(static_cast<uint64_t>(phase + 1) << 32, std::memory_order_release);
    }
    seen = phases.board.load(std::memory_order_acquire);
  }
}

int32_t run_in_phases(const Launch& launch, int64_t threads) {
  Phases phases;
  phases.launch = &launch;
  phases.threads = threads;
  phases.count = launch.tasks / launch.phase;
  pool_run(run_phases, &phases, static_cast<uint32_t>(threads));
  return phases.fault.load(std::memory_order_relaxed);
}

int32_t run_freely(const Launch& launch, uint32_t threads) {
  Shared shared;
  shared.launch = &launch;
  shared.threads = threads;
  // So many tasks as take the least time of a piece, and so many that pieces can be numbered.
  shared.piece = launch.tasks / (launch.cost / kPieceNanoseconds);
  if (shared.piece <= launch.tasks >> 31) shared.piece = (launch.tasks >> 31) + 1;
  if (shared.piece < 1) shared.piece = 1;
  const uint64_t pieces = static_cast<uint64_t>((launch.tasks - 1) / shared.piece + 1);
  for (uint32_t i = 0; i < threads; ++i)
    shared.runs[i].pieces.store(run_of(i * pieces / threads, (i + 1) * pieces / threads),
                                std::memory_order_relaxed);
  pool_run(run_share, &shared, threads);
  return shared.fault.load(std::memory_order_relaxed);
}

}  // namespace

int32_t run_launch(const Launch& launch) {
  const int64_t together = launch.phase ? launch.phase : launch.tasks;
  int64_t threads = launch.threads < kMostThreads ? launch.threads : kMostThreads;
  if (threads > together) threads = together;
  if (threads > launch.cost / kShareNanoseconds) threads = launch.cost / kShareNanoseconds;
  if (threads <= 1) {
    if (launch.tasks == 0) return 0;
    const Traced traced(launch, 0);
    return launch.kernel(launch.args, launch.dims, launch.workspace, 0, launch.tasks);
  }
  if (launch.phase) return run_in_phases(launch, threads);
  return run_freely(launch, static_cast<uint32_t>(threads));
}

}  // namespace bireme::internal
