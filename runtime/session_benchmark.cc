// What a step of a plan costs by itself: nanoseconds of a step that launches an empty kernel, of a
// turn of a loop around one, and of a step that is measured.
//   session_benchmark
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>

#include "model.h"
#include "session.h"
#include "testing/plan_builder.h"
#include "trace.h"

namespace fb = bireme::fb;
using namespace bireme::internal;
using bireme::internal::testing::Bytes;
using bireme::internal::testing::PlanBuilder;

namespace {

constexpr int64_t kSteps = 4096;
constexpr int kRounds = 2000;

int32_t nothing(void* const*, const int64_t*, void*, int64_t, int64_t) { return 0; }

// Input x and output y of one element; every launch has both as arguments.
template <class Body>
PlanBuilder plan_of(Body body) {
  PlanBuilder b;
  const uint32_t one = b.constant(1);
  const uint32_t x = b.tensor("x", fb::Place::Input, {one});
  const uint32_t y = b.tensor("y", fb::Place::Output, {one});
  const uint32_t kernel = b.kernel("nothing");
  body(b, [&] { b.launch(kernel, {x, y}, {one}); });
  return b;
}

PlanBuilder straight() {
  return plan_of([](PlanBuilder&, auto launch) {
    for (int64_t i = 0; i < kSteps; ++i) launch();
  });
}

PlanBuilder looped() {
  return plan_of(
      [](PlanBuilder& b, auto launch) { b.loop(b.constant(kSteps), [&](uint32_t) { launch(); }); });
}

// Least nanoseconds of a step over many runs.
double measure(const PlanBuilder& builder, uint32_t profile) {
  const Bytes file = builder.artefact();
  Kernel kernels[] = {nothing};
  LoadOptions options;
  options.kernels = kernels;
  Model* model = nullptr;
  Session* session = nullptr;
  Fault fault = BIREME_STATUS_INIT;
  if (Model::load_memory(file.data(), file.size(), options, &model, fault) != Code::ok ||
      Session::create(*model, 1, profile, &session, fault) != Code::ok) {
    fprintf(stderr, "%s\n", fault.message);
    exit(1);
  }
  const int64_t shape[] = {1};
  float x = 1, y = 0;
  const bireme_tensor input = {&x, sizeof x, shape, 1, BIREME_F32};
  uint64_t least = UINT64_MAX;
  for (int round = 0; round < kRounds; ++round) {
    bireme_tensor output = {&y, sizeof y, nullptr, 0, 0};
    const uint64_t start = now();
    if (session->run(&input, 1, &output, 1, fault) != Code::ok) exit(1);
    least = std::min(least, now() - start);
  }
  destroy_object(session);
  model->release();
  return static_cast<double>(least) / kSteps;
}

}  // namespace

int main() {
  printf("%-40s %8s\n", "", "ns");
  printf("%-40s %8.1f\n", "a launch of an empty kernel", measure(straight(), 0));
  printf("%-40s %8.1f\n", "a turn of a loop around one", measure(looped(), 0));
  printf("%-40s %8.1f\n", "a launch that is measured", measure(straight(), 1));
}
