#include "pool.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

namespace bireme::internal {
namespace {

// Gives the pool a size for one test and its default afterwards.
class Pool : public ::testing::Test {
 protected:
  void resize(uint32_t threads) {
    bireme_pool_options options = BIREME_POOL_OPTIONS_INIT;
    options.threads = threads;
    ASSERT_EQ(pool_set(options, fault_), Code::ok);
  }
  void SetUp() override { resize(4); }
  void TearDown() override { resize(0); }

  Fault fault_ = BIREME_STATUS_INIT;
};

struct Work {
  std::atomic<int> next{0};
  std::atomic<int> sum{0};
  std::atomic<uint32_t> seen{0};  // bit of each worker
  int count = 0;
};

void work(void* context, uint32_t worker) {
  Work& shared = *static_cast<Work*>(context);
  EXPECT_EQ(shared.seen.fetch_or(1u << worker) & 1u << worker, 0u) << "worker came twice";
  for (int i; (i = shared.next.fetch_add(1)) < shared.count;) shared.sum.fetch_add(i);
}

void expect_done(uint32_t workers, int count) {
  Work shared;
  shared.count = count;
  pool_run(work, &shared, workers);
  EXPECT_EQ(shared.sum.load(), count * (count - 1) / 2);
  EXPECT_EQ(shared.seen.load() & 1, 1u);  // the caller takes part
  EXPECT_LT(shared.seen.load(), 1u << workers);
}

TEST_F(Pool, DoesAllWork) {
  EXPECT_EQ(pool_threads(), 4u);
  for (int round = 0; round < 2000; ++round) expect_done(1 + round % 4, round % 50);
}

TEST_F(Pool, OthersDoJoin) {
  // The caller waits inside the work until another thread has come.
  struct Meeting {
    std::atomic<int> present{0};
  } meeting;
  pool_run(
      [](void* context, uint32_t) {
        auto& present = static_cast<Meeting*>(context)->present;
        present.fetch_add(1);
        while (present.load() < 2) std::this_thread::yield();
      },
      &meeting, 2);
  EXPECT_EQ(meeting.present.load(), 2);
}

TEST_F(Pool, WorkersTakeNoSignals) {
  struct Masks {
    std::atomic<int> present{0};
    sigset_t of[2];
  } masks;
  pool_run(
      [](void* context, uint32_t worker) {
        Masks& shared = *static_cast<Masks*>(context);
        pthread_sigmask(SIG_SETMASK, nullptr, &shared.of[worker]);
        shared.present.fetch_add(1);
        while (shared.present.load() < 2) std::this_thread::yield();
      },
      &masks, 2);
  EXPECT_EQ(sigismember(&masks.of[0], SIGTERM), 0);
  EXPECT_EQ(sigismember(&masks.of[1], SIGTERM), 1);
}

TEST_F(Pool, SeveralCallersAtOnce) {
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t)
    callers.emplace_back([] {
      for (int round = 0; round < 500; ++round) expect_done(4, 40);
    });
  for (std::thread& caller : callers) caller.join();
}

TEST_F(Pool, CallsFromInsideWorkDoNotDeadlock) {
  pool_run([](void*, uint32_t) { expect_done(4, 10); }, nullptr, 3);
}

TEST_F(Pool, AChildAfterForkHasItsOwn) {
  expect_done(4, 100);
  const pid_t child = fork();
  if (child == 0) {
    Work shared;
    shared.count = 100;
    for (int i = 0; i < 50; ++i) {
      shared.next = shared.sum = 0;
      shared.seen = 0;
      pool_run(work, &shared, 4);
      if (shared.sum.load() != 4950) _exit(1);
    }
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  expect_done(4, 100);
}

double cpu_seconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

TEST_F(Pool, SleepsWhenIdle) {
  expect_done(4, 100);
  usleep(50'000);
  const double before = cpu_seconds();
  usleep(300'000);
  // Three threads that span would use 0.9 s of CPU time on free cores and 0.3 s at the very least.
  EXPECT_LT(cpu_seconds() - before, 0.05);
}

TEST_F(Pool, TheApplicationCanReplaceIt) {
  static std::atomic<int> calls;
  calls = 0;
  bireme_pool_options options = BIREME_POOL_OPTIONS_INIT;
  options.threads = 3;
  options.user = &calls;
  options.parallel_for = [](void* user, void (*body)(void*, uint32_t), void* context,
                            uint32_t workers) {
    static_cast<std::atomic<int>*>(user)->fetch_add(1);
    for (uint32_t w = workers; w-- > 0;) body(context, w);  // any order, one thread
  };
  ASSERT_EQ(pool_set(options, fault_), Code::ok);
  EXPECT_EQ(pool_threads(), 3u);
  expect_done(3, 100);
  expect_done(1, 100);  // nothing to share
  EXPECT_EQ(calls.load(), 1);
  options.threads = 0;
  EXPECT_EQ(pool_set(options, fault_), Code::bad_argument);
}

TEST_F(Pool, CannotBeReplacedWhileItWorks) {
  pool_run(
      [](void*, uint32_t worker) {
        if (worker != 0) return;
        Fault fault = BIREME_STATUS_INIT;
        const bireme_pool_options options = BIREME_POOL_OPTIONS_INIT;
        EXPECT_EQ(pool_set(options, fault), Code::session_busy);
      },
      nullptr, 2);
}

}  // namespace
}  // namespace bireme::internal
