#include "launch.h"

#include <atomic>

#include "pool.h"

namespace bireme::internal {
namespace {

// A thread that sleeps needs about this long to join in, so less work than this is not worth it.
constexpr int64_t kWakeNanoseconds = 5'000;
// A piece that a thread takes should last at least this long, or taking pieces costs more than they
// do.
constexpr int64_t kPieceNanoseconds = 1'000;

struct Shared {
  const Launch* launch;
  int64_t smallest_piece;
  int64_t threads;
  std::atomic<int64_t> next{0};  // first task that nobody has taken
  std::atomic<int32_t> fault{0};
};

// Takes half of an equal share of what is left: large pieces first, small ones at the end, so that
// cores of unequal speed finish together.
bool take_piece(Shared& shared, int64_t* begin, int64_t* end) {
  const int64_t tasks = shared.launch->tasks;
  int64_t first = shared.next.load(std::memory_order_relaxed);
  int64_t last;
  do {
    if (first >= tasks) return false;
    int64_t piece = (tasks - first) / (2 * shared.threads);
    if (piece < shared.smallest_piece) piece = shared.smallest_piece;
    last = piece < tasks - first ? first + piece : tasks;
  } while (!shared.next.compare_exchange_weak(first, last, std::memory_order_relaxed));
  *begin = first;
  *end = last;
  return true;
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
  while (take_piece(shared, &begin, &end)) {
    const int32_t fault = launch.kernel(launch.args, launch.dims, workspace, begin, end);
    if (fault == 0) continue;
    int32_t none = 0;
    shared.fault.compare_exchange_strong(none, fault, std::memory_order_relaxed);
    shared.next.store(launch.tasks, std::memory_order_relaxed);
  }
}

}  // namespace

int32_t run_launch(const Launch& launch) {
  int64_t threads = launch.threads;
  if (threads > launch.tasks) threads = launch.tasks;
  if (threads > launch.cost / kWakeNanoseconds) threads = launch.cost / kWakeNanoseconds;
  if (threads <= 1) {
    if (launch.tasks == 0) return 0;
    const Traced traced(launch, 0);
    return launch.kernel(launch.args, launch.dims, launch.workspace, 0, launch.tasks);
  }
  Shared shared;
  shared.launch = &launch;
  shared.threads = threads;
  // Tasks that fit into the least time of a piece; their total cost is at least 10,000 here.
  shared.smallest_piece = launch.tasks / (launch.cost / kPieceNanoseconds);
  if (shared.smallest_piece < 1) shared.smallest_piece = 1;
  pool_run(run_share, &shared, static_cast<uint32_t>(threads));
  return shared.fault.load(std::memory_order_relaxed);
}

}  // namespace bireme::internal
