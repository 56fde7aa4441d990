// Counts what is allocated, and lets allocations fail, by replacing malloc and its kin.
#include <dlfcn.h>
#include <errno.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <vector>

#include "bireme/bireme.h"
#include "testing/plan_builder.h"

namespace {

std::atomic<long> allocations{0};
std::atomic<long> fail_after{-1};  // allocations that still succeed; -1: all do

bool refused() {
  allocations.fetch_add(1);
  long left = fail_after.load();
  while (left >= 0) {
    if (left == 0) {
      errno = ENOMEM;  // glibc asserts it where it starts a thread
      return true;
    }
    if (fail_after.compare_exchange_weak(left, left - 1)) return false;
  }
  return false;
}

}  // namespace

// glibc's own names for what is replaced. operator new calls malloc.
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

void* malloc(size_t bytes) { return refused() ? nullptr : __libc_malloc(bytes); }
void* calloc(size_t count, size_t bytes) {
  return refused() ? nullptr : __libc_calloc(count, bytes);
}
void* realloc(void* memory, size_t bytes) {
  return refused() ? nullptr : __libc_realloc(memory, bytes);
}
int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  *memory = refused() ? nullptr : __libc_memalign(alignment, bytes);
  return *memory ? 0 : ENOMEM;
}
}

namespace {

using bireme::internal::testing::Bytes;

// A loop, parallel launches, a random key, a symbolic size of at most `most` (-1: no bound) and one
// that data decide.
Bytes artefact(int64_t most) {
  namespace fb = bireme::fb;
  auto b = bireme::internal::testing::doubling();
  b.plan.symbols[0]->max = most;
  b.plan.instructions[0]->cost = b.constant(1'000'000'000);
  const uint32_t three = b.constant(3), twelve = b.constant(12);
  const uint32_t row = b.tensor("row", fb::Place::Arena, {three});
  b.plan.tensors[row]->after = {1};
  b.loop(three, [&](uint32_t loop) {
    b.copy(b.view("w", b.weight("weights", std::vector<float>(9, 1.0f)), {three}, 0,
                  static_cast<int32_t>(loop), twelve),
           row);
  });
  const uint32_t key = b.tensor("key", fb::Place::Arena, {}, fb::DType::U64);
  b.plan.tensors[key]->after = {1, row};
  b.draw(key, 1);
  const uint32_t count = b.tensor("count", fb::Place::Arena, {}, fb::DType::I64);
  b.plan.tensors[count]->after = {1, row, key};
  const std::vector<float> two = {0, 0, 0, 0};
  const uint32_t size = b.weight("two", two);
  const uint64_t value = 2;
  memcpy(b.weights.data() + b.plan.tensors[size]->offset, &value, sizeof value);
  b.plan.tensors[size]->dtype = fb::DType::I64;
  b.plan.tensors[size]->shape = {b.constant(2)};
  b.copy(b.view("first", size, {}, 0, -1, 0, fb::DType::I64), count);
  const uint32_t found = b.symbol("found");
  b.bind(count, found, three);
  b.copy(b.view("head", 1, {found}, 0), b.view("tail", row, {found}, 0));
  bireme::internal::testing::add_image(b);
  return b.artefact();
}

struct Caller {
  float x[300] = {}, y[300] = {};
  int64_t shape[2] = {0, 3};

  int32_t run(bireme_session* session, int64_t n, bool own_output, bireme_status* status) {
    shape[0] = n;
    bireme_tensor input = {x, static_cast<size_t>(n) * 12, shape, 2, BIREME_F32};
    bireme_tensor output = {};
    if (own_output) output.data = y, output.bytes = sizeof y;
    return bireme_session_run(session, &input, 1, &output, 1, status);
  }
};

struct Loaded {
  bireme_model* model = nullptr;
  bireme_session* session = nullptr;

  explicit Loaded(const Bytes& file) {
    bireme_status status = BIREME_STATUS_INIT;
    EXPECT_EQ(bireme_model_load_memory(file.data(), file.size(), nullptr, &model, &status), 0);
    EXPECT_EQ(bireme_session_create(model, nullptr, &session, &status), 0);
  }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;
  ~Loaded() {
    bireme_session_free(session);
    bireme_model_free(model);
  }
};

TEST(Allocation, TenThousandRunsAllocateNothing) {
  const Bytes file = artefact(-1);
  bireme_status status = BIREME_STATUS_INIT;
  bireme_pool_options pool = BIREME_POOL_OPTIONS_INIT;
  pool.threads = 3;
  ASSERT_EQ(bireme_pool_set(&pool, &status), 0);
  const Loaded loaded(file);
  Caller caller;
  ASSERT_EQ(caller.run(loaded.session, 100, false, &status), 0) << status.message;

  const long before = allocations.load();
  int failures = 0;
  for (int i = 0; i < 10'000; ++i)
    failures += caller.run(loaded.session, 100, i % 2 == 0, &status) != 0;
  EXPECT_EQ(allocations.load() - before, 0);
  EXPECT_EQ(failures, 0);

  free(malloc(1));  // the counter does count
  EXPECT_GT(allocations.load() - before, 0);
}

TEST(Allocation, SizesWithABoundAllocateNothingAfterCreation) {
  const Bytes file = artefact(100);
  bireme_status status = BIREME_STATUS_INIT;
  bireme_pool_options pool = BIREME_POOL_OPTIONS_INIT;
  pool.threads = 1;  // threads are made by the first run that needs them
  ASSERT_EQ(bireme_pool_set(&pool, &status), 0);
  const Loaded loaded(file);
  Caller caller;
  const long before = allocations.load();
  int failures = 0;
  for (int64_t n : {1, 100, 7, 99, 100, 2}) {
    failures += caller.run(loaded.session, n, true, &status) != 0;
    failures += caller.run(loaded.session, n, false, &status) != 0;
  }
  EXPECT_EQ(allocations.load() - before, 0);
  EXPECT_EQ(failures, 0) << status.message;
}

// Lets the first, second, ... allocation fail until everything succeeds.
TEST(Allocation, EveryFailureIsReported) {
  const Bytes file = artefact(-1);
  bireme_status status = BIREME_STATUS_INIT;
  Caller caller;
  int refusals = 0;
  for (long allowed = 0;; ++allowed) {
    bireme_model* model = nullptr;
    bireme_session* session = nullptr;
    fail_after = allowed;
    int32_t code = bireme_model_load_memory(file.data(), file.size(), nullptr, &model, &status);
    if (code == 0) code = bireme_session_create(model, nullptr, &session, &status);
    if (code == 0) code = caller.run(session, 100, false, &status);
    fail_after = -1;
    bireme_session_free(session);
    bireme_model_free(model);
    if (code == 0) break;
    ASSERT_EQ(code, 5001) << status.message;
    ++refusals;
    ASSERT_LT(refusals, 1000);
  }
  EXPECT_GT(refusals, 20);  // as many places that allocate
}

TEST(Allocation, ASessionRecoversFromLackOfMemory) {
  const Bytes file = artefact(-1);
  bireme_status status = BIREME_STATUS_INIT;
  const Loaded loaded(file);
  Caller caller;
  ASSERT_EQ(caller.run(loaded.session, 1, true, &status), 0);
  fail_after = 0;
  const int32_t code = caller.run(loaded.session, 100, true, &status);
  fail_after = -1;
  EXPECT_EQ(code, 5001);
  EXPECT_EQ(caller.run(loaded.session, 100, true, &status), 0) << status.message;
  EXPECT_EQ(caller.run(loaded.session, 1, true, &status), 0) << status.message;
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
