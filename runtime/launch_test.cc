#include "launch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <vector>

#include "pool.h"

namespace bireme::internal {
namespace {

constexpr int64_t kLarge = 1'000'000'000;  // a cost that uses every thread

// Counts how often each task runs; args[0] is the array of counters.
int32_t count_tasks(void* const* args, const int64_t*, void*, int64_t begin, int64_t end) {
  auto* counters = static_cast<std::atomic<int>*>(args[0]);
  for (int64_t i = begin; i < end; ++i) counters[i].fetch_add(1, std::memory_order_relaxed);
  return 0;
}

Launch make(Kernel kernel, void* const* args, int64_t tasks, int64_t cost, uint32_t threads) {
  return {kernel, args, nullptr, tasks, cost, nullptr, 0, threads};
}

TEST(Launch, RunsEveryTaskOnce) {
  for (int64_t tasks : {0, 1, 2, 3, 7, 64, 1000}) {
    for (int64_t cost : {int64_t{-1}, int64_t{0}, int64_t{11'000}, kLarge}) {
      for (uint32_t threads : {1u, 2u, 5u}) {
        std::vector<std::atomic<int>> counters(static_cast<size_t>(tasks) + 1);
        void* args[] = {counters.data()};
        EXPECT_EQ(run_launch(make(count_tasks, args, tasks, cost, threads)), 0);
        for (int64_t i = 0; i < tasks; ++i)
          ASSERT_EQ(counters[static_cast<size_t>(i)].load(), 1) << i << " of " << tasks;
        EXPECT_EQ(counters[static_cast<size_t>(tasks)].load(), 0);
      }
    }
  }
}

int32_t count_calls(void* const* args, const int64_t*, void*, int64_t, int64_t) {
  static_cast<std::atomic<int>*>(args[0])->fetch_add(1);
  return 0;
}

TEST(Launch, SmallOnesStayWhole) {
  std::atomic<int> calls{0};
  void* args[] = {&calls};
  EXPECT_EQ(run_launch(make(count_calls, args, 1000, 3'999, 8)), 0);
  EXPECT_EQ(calls.load(), 1);
  EXPECT_EQ(run_launch(make(count_calls, args, 1000, kLarge, 8)), 0);
  EXPECT_GT(calls.load(), 8);
}

// Writes the address of its scratch memory for each task.
int32_t note_workspace(void* const* args, const int64_t*, void* workspace, int64_t begin,
                       int64_t end) {
  for (int64_t i = begin; i < end; ++i) static_cast<void**>(args[0])[i] = workspace;
  return 0;
}

TEST(Launch, GivesEachThreadItsWorkspace) {
  alignas(64) static uint8_t memory[4 * 128];
  std::vector<void*> seen(5000);
  void* args[] = {seen.data()};
  Launch launch = make(note_workspace, args, 5000, kLarge, 4);
  launch.workspace = memory;
  launch.workspace_stride = 128;
  EXPECT_EQ(run_launch(launch), 0);
  for (void* workspace : seen) {
    const auto offset = static_cast<uint8_t*>(workspace) - memory;
    EXPECT_TRUE(offset >= 0 && offset < 512 && offset % 128 == 0) << offset;
  }
}

int32_t fail_at_500(void* const* args, const int64_t*, void*, int64_t begin, int64_t end) {
  static_cast<std::atomic<int64_t>*>(args[0])->fetch_add(end - begin);
  return begin <= 500 && 500 < end ? 7 : 0;
}

TEST(Launch, IsTracedByEveryThreadThatTakesPart) {
  alignas(64) static uint8_t memory[4 * 128];
  std::vector<void*> seen(5000);
  void* args[] = {seen.data()};
  for (uint32_t threads : {1u, 4u}) {
    Trace trace;
    ASSERT_TRUE(trace.create(8));
    Launch launch = make(note_workspace, args, 5000, kLarge, threads);
    launch.workspace = memory;
    launch.workspace_stride = 128;
    launch.trace = &trace;
    launch.instruction = 17;
    EXPECT_EQ(run_launch(launch), 0);
    ASSERT_GE(trace.added(), 1u);
    EXPECT_LE(trace.added(), threads);
    std::vector<int> workers(threads);
    for (uint64_t i = 0; i < trace.added(); ++i) {
      const bireme_trace_event& event = trace.events()[i];
      EXPECT_EQ(event.instruction, 17u);
      EXPECT_LE(event.begin, event.end);
      ASSERT_LT(event.worker, threads);
      EXPECT_EQ(workers[event.worker]++, 0) << "a worker has two events";
    }
    EXPECT_EQ(workers[0], 1);
  }
}

TEST(Launch, OfATraceThatIsFullOnlyTheNumberIsKept) {
  Trace trace;
  ASSERT_TRUE(trace.create(1));
  trace.add({1, 0, 2, 3});
  trace.add({4, 0, 5, 6});
  EXPECT_EQ(trace.added(), 2u);
  EXPECT_EQ(trace.events()[0].instruction, 1u);
  trace.clear();
  EXPECT_EQ(trace.added(), 0u);
}

// What tasks of a launch in phases look at: args[0].
struct Watch {
  int64_t phase;
  void* workspace;
  std::atomic<int64_t> ended{0};
  std::atomic<int> wrong{0};
  std::vector<std::atomic<int>> runs;
  int64_t fails = -1;

  Watch(int64_t phase, int64_t tasks)
      : phase(phase), workspace(this), runs(static_cast<size_t>(tasks)) {}
};

int32_t watch_phases(void* const* args, const int64_t*, void* workspace, int64_t begin,
                     int64_t end) {
  Watch& watch = *static_cast<Watch*>(args[0]);
  const auto tasks = static_cast<int64_t>(watch.runs.size());
  const bool whole = begin == 0 && end == tasks;
  const int64_t number = begin / watch.phase;
  const bool right =
      whole || ((end - 1) / watch.phase == number && watch.ended.load() >= number * watch.phase);
  if (!right || workspace != watch.workspace) ++watch.wrong;
  for (int64_t i = begin; i < end; ++i) {
    ++watch.runs[static_cast<size_t>(i)];
    if (i == watch.fails) return 9;
  }
  watch.ended += end - begin;
  return 0;
}

int32_t run_watched(Watch& watch, uint32_t threads, int64_t cost = kLarge) {
  void* args[] = {&watch};
  Launch launch = make(watch_phases, args, static_cast<int64_t>(watch.runs.size()), cost, threads);
  launch.workspace = static_cast<uint8_t*>(watch.workspace);
  launch.workspace_stride = 128;
  launch.phase = watch.phase;
  return run_launch(launch);
}

TEST(Launch, PhasesFollowEachOther) {
  for (int64_t phase : {1, 2, 3, 16, 32})
    for (int64_t count : {1, 2, 200})
      for (uint32_t threads : {1u, 2u, 3u, 40u}) {
        Watch watch(phase, phase * count);
        EXPECT_EQ(run_watched(watch, threads), 0);
        EXPECT_EQ(watch.wrong, 0);
        for (const auto& runs : watch.runs) ASSERT_EQ(runs, 1);
      }
}

TEST(Launch, NoPhasesAreNoWork) {
  Watch watch(4, 0);
  EXPECT_EQ(run_watched(watch, 4), 0);
  EXPECT_EQ(watch.wrong, 0);
}

// A pool of the application that has one thread do everything.
void one_after_another(void*, void (*body)(void*, uint32_t), void* context, uint32_t workers) {
  for (uint32_t worker = workers; worker-- > 0;) body(context, worker);
}

int32_t note_begin(void* const* args, const int64_t*, void*, int64_t begin, int64_t) {
  static_cast<std::vector<int64_t>*>(args[0])->push_back(begin);
  return 0;
}

TEST(Launch, AThreadBeginsWithThePartThatIsItsOwn) {
  Fault fault{};
  ASSERT_EQ(pool_set({sizeof(bireme_pool_options), 4, one_after_another, nullptr}, fault),
            Code::ok);
  std::vector<int64_t> begins;
  void* args[] = {&begins};
  EXPECT_EQ(run_launch(make(note_begin, args, 4000, kLarge, 4)), 0);
  ASSERT_EQ(pool_set({sizeof(bireme_pool_options), 0, nullptr, nullptr}, fault), Code::ok);
  // The last of the threads came first, and did everything.
  ASSERT_GT(begins.size(), 4u);
  EXPECT_EQ(begins[0], 3000);
  EXPECT_EQ(std::set<int64_t>(begins.begin(), begins.end()).size(), begins.size());
  EXPECT_EQ(*std::min_element(begins.begin(), begins.end()), 0);
}

TEST(Launch, PiecesOfVeryManyTasksCanBeNumbered) {
  std::atomic<int> calls{0};
  void* args[] = {&calls};
  EXPECT_EQ(run_launch(make(count_calls, args, int64_t{1} << 40, int64_t{1} << 60, 2)), 0);
  EXPECT_GT(calls.load(), 2);
}

TEST(Launch, PhasesNeedNoSecondThread) {
  Fault fault{};
  ASSERT_EQ(pool_set({sizeof(bireme_pool_options), 4, one_after_another, nullptr}, fault),
            Code::ok);
  Watch watch(8, 8 * 50);
  EXPECT_EQ(run_watched(watch, 4), 0);
  EXPECT_EQ(watch.wrong, 0);
  for (const auto& runs : watch.runs) EXPECT_EQ(runs, 1);
  ASSERT_EQ(pool_set({sizeof(bireme_pool_options), 0, nullptr, nullptr}, fault), Code::ok);
}

TEST(Launch, PhasesStopAtAFault) {
  for (int repeat = 0; repeat < 50; ++repeat) {
    Watch watch(8, 8 * 100);
    watch.fails = 8 * 20 + 3;
    EXPECT_EQ(run_watched(watch, 3), 9);
    EXPECT_EQ(watch.wrong, 0);
    for (size_t i = 8 * 21; i < watch.runs.size(); ++i) ASSERT_EQ(watch.runs[i], 0);
  }
}

TEST(Launch, StopsAtAFault) {
  for (uint32_t threads : {1u, 4u}) {
    std::atomic<int64_t> done{0};
    void* args[] = {&done};
    EXPECT_EQ(run_launch(make(fail_at_500, args, 1'000'000, kLarge, threads)), 7);
    EXPECT_LE(done.load(), 1'000'000);
  }
}

}  // namespace
}  // namespace bireme::internal
