// Peak float32 multiply-add rate of one core, in GFLOP/s: independent chains of vector FMAs.
// Processor time is measured, so that other work on the machine does not lower it. Built with -O3
// -march=native; the vector is the widest that the compiler then has.
#include <stdio.h>
#include <time.h>

#if defined(__AVX512F__)
enum { kLanes = 16, kChains = 24 };
#elif defined(__AVX__)
enum { kLanes = 8, kChains = 12 };
#else
enum { kLanes = 4, kChains = 12 };
#endif
typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

int main(void) {
  enum { kSteps = 100000, kRounds = 100 };
  double best = 1e9;
  float sink = 0;
  for (int round = 0; round < kRounds; ++round) {
    Vector sum[kChains], factor, term;
    for (int i = 0; i < kLanes; ++i) factor[i] = 0.999f, term[i] = 0.001f;
    for (int c = 0; c < kChains; ++c) sum[c] = term * (float)(c + round);
    const double start = now();
    for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 24
      for (int c = 0; c < kChains; ++c) {
        sum[c] = sum[c] * factor + term;
      }
    }
    const double seconds = now() - start;
    if (seconds < best) best = seconds;
    for (int c = 0; c < kChains; ++c) sink += sum[c][0];
  }
  printf("%.2f\n", 2.0 * kLanes * kChains * kSteps / best * 1e-9);
  return sink == 12345.0f;
}
