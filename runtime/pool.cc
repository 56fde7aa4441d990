#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "affinity.h"
#include "futex.h"

namespace bireme::internal {
namespace {

constexpr uint32_t kMaxThreads = 256;
// How long a thread looks for what must come soon before it sleeps. A worker: longer than most gaps
// between the launches of a run. The caller, for the last pieces of others: about a wake-up.
constexpr int64_t kWorkerSpinNanoseconds = 100'000;
constexpr int64_t kCallerSpinNanoseconds = 20'000;

int64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// Waits for `done` a bounded time. True once it holds. Yields in between: where cores are short,
// the thread that is waited for may be one that this one keeps from running.
template <class Condition>
bool spin_until(int64_t nanoseconds, Condition done) {
  const int64_t deadline = now() + nanoseconds;
  do {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      pause_briefly();
    }
    sched_yield();
  } while (now() < deadline);
  return false;
}

// One piece of work at a time. `ticket` says how many workers may still join it (high half) and how
// many are in it (low half). A worker joins by a compare-and-swap that takes a place, so it can
// never enter work that has been closed; the caller closes it, waits until nobody is inside, and
// only then may reuse the fields.
class Pool {
 public:
  void run(void (*body)(void*, uint32_t), void* context, uint32_t workers) {
    if (workers > 1 && !busy_.exchange(true, std::memory_order_acquire)) {
      if (start()) {
        publish(body, context, workers);
        body(context, 0);
        close();
        busy_.store(false, std::memory_order_release);
        return;
      }
      busy_.store(false, std::memory_order_release);
    }
    body(context, 0);
  }

  uint32_t threads() {
    uint32_t threads = threads_.load(std::memory_order_relaxed);
    if (threads == 0) {
      threads = usable_cpus();
      if (threads > kMaxThreads) threads = kMaxThreads;
      threads_.store(threads, std::memory_order_relaxed);
    }
    return threads;
  }

  void begin_run() { runs_.fetch_add(1, std::memory_order_relaxed); }
  void end_run() { runs_.fetch_sub(1, std::memory_order_relaxed); }

  // 0: as many as the process may use. False while the pool is at work.
  bool resize(uint32_t threads) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    stop();
    threads_.store(threads < kMaxThreads ? threads : kMaxThreads, std::memory_order_relaxed);
    busy_.store(false, std::memory_order_release);
    return true;
  }

  // When the library is unloaded or the process ends. Work that another thread has here is let
  // finish, but a kernel that never ends must not keep the process from ending.
  void shut_down() {
    for (int attempt = 0; busy_.exchange(true, std::memory_order_acquire); ++attempt) {
      if (attempt == 1000) return;
      usleep(1000);
    }
    stop();  // stays busy: whoever still runs a session works alone
  }

  // In the child of a fork.
  void forget_threads() {
    started_ = 0;
    ticket_.store(0, std::memory_order_relaxed);
    sleepers_.store(0, std::memory_order_relaxed);
    runs_.store(0, std::memory_order_relaxed);
    stopping_.store(false, std::memory_order_relaxed);
    busy_.store(false, std::memory_order_relaxed);
  }

 private:
  static constexpr uint32_t kPlace = 1u << 16;  // one free place in `ticket_`
  static constexpr uint32_t kInside = kPlace - 1;

  // Starts the threads if there are none. False if not one could be started. Called while busy.
  bool start() {
    if (started_ == 0) {
      const uint32_t wanted = threads() - 1;
      // Workers inherit the mask: the application's signals are for its own threads.
      sigset_t all, before;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &before);
      while (started_ < wanted &&
             pthread_create(&workers_[started_], nullptr, &Pool::worker_main, this) == 0)
        ++started_;
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    return started_ != 0;
  }

  void stop() {
    stopping_.store(true, std::memory_order_release);
    epoch_.fetch_add(1, std::memory_order_seq_cst);
    futex_wake(epoch_, kMaxThreads);
    for (; started_ > 0; --started_) pthread_join(workers_[started_ - 1], nullptr);
    stopping_.store(false, std::memory_order_relaxed);
  }

  void publish(void (*body)(void*, uint32_t), void* context, uint32_t workers) {
    body_ = body;
    context_ = context;
    workers_wanted_ = workers;
    ticket_.store((workers - 1) * kPlace, std::memory_order_release);
    // A worker counts itself as a sleeper before it looks at the epoch a last time; both are
    // sequentially consistent, so either it sees this epoch or it is seen as a sleeper here.
    epoch_.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0)
      futex_wake(epoch_, static_cast<int>(workers - 1));
  }

  void close() {
    ticket_.fetch_and(kInside, std::memory_order_acq_rel);
    const auto empty = [this] { return ticket_.load(std::memory_order_acquire) == 0; };
    if (spin_until(kCallerSpinNanoseconds, empty)) return;
    while (true) {
      const uint32_t ticket = ticket_.load(std::memory_order_acquire);
      if (ticket == 0) return;
      futex_wait(ticket_, ticket);
    }
  }

  static void* worker_main(void* self) {
    static_cast<Pool*>(self)->work();
    return nullptr;
  }

  void work() {
    uint32_t seen = 0;
    while (!stopping_.load(std::memory_order_acquire)) {
      const uint32_t epoch = epoch_.load(std::memory_order_seq_cst);
      if (epoch == seen) {
        wait_for_change(epoch);
        continue;
      }
      seen = epoch;
      join();
    }
  }

  // Takes a place in the current work, if there is one, and does it.
  void join() {
    uint32_t ticket = ticket_.load(std::memory_order_acquire);
    do {
      if (ticket < kPlace) return;
    } while (!ticket_.compare_exchange_weak(ticket, ticket - kPlace + 1, std::memory_order_acq_rel,
                                            std::memory_order_acquire));
    body_(context_, workers_wanted_ - ticket / kPlace);
    if (ticket_.fetch_sub(1, std::memory_order_acq_rel) == 1) futex_wake(ticket_, 1);
  }

  void wait_for_change(uint32_t epoch) {
    const auto changed = [&] { return epoch_.load(std::memory_order_seq_cst) != epoch; };
    const auto idle = [&] { return runs_.load(std::memory_order_relaxed) == 0; };
    spin_until(kWorkerSpinNanoseconds, [&] { return changed() || idle(); });
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    if (!changed()) futex_wait(epoch_, epoch);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }

  // Written by whoever holds `busy_`, read by workers that have taken a place.
  void (*body_)(void*, uint32_t) = nullptr;
  void* context_ = nullptr;
  uint32_t workers_wanted_ = 0;

  std::atomic<bool> busy_{false};
  std::atomic<bool> stopping_{false};
  alignas(64) std::atomic<uint32_t> epoch_{0};  // changes with every piece of work
  alignas(64) std::atomic<uint32_t> ticket_{0};
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<uint32_t> runs_{0};     // sessions that run now
  std::atomic<uint32_t> threads_{0};  // size of the pool, 0: not looked up yet
  uint32_t started_ = 0;
  pthread_t workers_[kMaxThreads] = {};
};

Pool pool;

// The host application's pool; parallel_for is null where there is none.
std::atomic<bireme_parallel_for> host_parallel_for{nullptr};
std::atomic<void*> host_user{nullptr};
std::atomic<uint32_t> host_threads{0};

__attribute__((constructor)) void watch_forks() {
  pthread_atfork(nullptr, nullptr, [] { pool.forget_threads(); });
}

__attribute__((destructor)) void stop_at_exit() { pool.shut_down(); }

}  // namespace

void pool_run(void (*body)(void* context, uint32_t worker), void* context, uint32_t workers) {
  const bireme_parallel_for host = host_parallel_for.load(std::memory_order_acquire);
  if (host && workers > 1) return host(host_user.load(), body, context, workers);
  pool.run(body, context, workers);
}

PoolRun::PoolRun(bool parallel) : parallel_(parallel) {
  if (parallel_) pool.begin_run();
}

PoolRun::~PoolRun() {
  if (parallel_) pool.end_run();
}

uint32_t pool_threads() {
  if (host_parallel_for.load(std::memory_order_acquire)) return host_threads.load();
  return pool.threads();
}

Code pool_set(const bireme_pool_options& options, Fault& fault) {
  if (options.parallel_for && options.threads == 0)
    return fail(fault, Code::bad_argument, "a pool of the application must say its threads");
  if (!options.parallel_for && !pool.resize(options.threads))
    return fail(fault, Code::session_busy, "the pool cannot be replaced while a session runs");
  host_user.store(options.user);
  host_threads.store(options.threads);
  host_parallel_for.store(options.parallel_for, std::memory_order_release);
  return Code::ok;
}

}  // namespace bireme::internal
