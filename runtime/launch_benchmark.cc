// What the pool costs: time of a launch by size, and after a pause that lets the workers sleep.
//   launch_benchmark [threads]
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "launch.h"
#include "pool.h"

using namespace bireme::internal;

namespace {

double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) * 1e-3;
}

// dims[0] additions for each task.
int32_t add_up(void* const*, const int64_t* dims, void*, int64_t begin, int64_t end) {
  for (int64_t task = begin; task < end; ++task) {
    double sum = 0;
    for (int64_t i = 0; i < dims[0]; ++i) {
      sum += 1;
      __asm__ __volatile__("" : "+x"(sum));
    }
  }
  return 0;
}

// Median microseconds of a launch of 64 tasks.
double measure(int64_t additions, int64_t cost, uint32_t threads, int pause_us) {
  const int64_t dims[] = {additions};
  const Launch launch = {add_up, nullptr, dims, 64, cost, nullptr, 0, threads};
  const PoolRun steady(pause_us == 0);
  std::vector<double> times;
  for (int round = 0; round < (pause_us ? 50 : 2000); ++round) {
    if (pause_us) usleep(static_cast<useconds_t>(pause_us));
    const PoolRun run(true);
    const double start = now();
    if (run_launch(launch) != 0) exit(1);
    times.push_back(now() - start);
  }
  std::nth_element(times.begin(), times.begin() + static_cast<long>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const uint32_t threads = argc > 1 ? static_cast<uint32_t>(atoi(argv[1])) : pool_threads();
  printf("%u threads of %u; median microseconds of a launch\n", threads, pool_threads());
  printf("%12s %10s %10s %12s\n", "work", "1 thread", "threads", "after sleep");
  for (int64_t additions : {0, 100, 1'000, 10'000}) {
    const double alone = measure(additions, 0, 1, 0);
    const auto cost = static_cast<int64_t>(std::max(alone, 100.0) * 1000);  // so that it is shared
    printf("%9lld * 64 %10.1f %10.1f %12.1f\n", static_cast<long long>(additions), alone,
           measure(additions, cost, threads, 0), measure(additions, cost, threads, 2000));
  }
}
