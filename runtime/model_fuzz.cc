// libFuzzer target: any bytes may be loaded and planned. The container is signed first, so that the
// fuzzer is not stopped by checksums; the artefact's code is never run.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string>
#include <vector>

#include "container.h"
#include "model.h"
#include "session.h"
#include "testing/plan_builder.h"

using namespace bireme::internal;
namespace fb = bireme::fb;

namespace {

int32_t no_kernel(void* const*, const int64_t*, void*, int64_t, int64_t) { return 0; }

// Whether the sections lie inside the file, as sign() needs it.
bool can_be_signed(const testing::Bytes& file) {
  if (file.size() < kHeaderBytes) return false;
  for (int i = 0; i < 3; ++i) {
    uint64_t offset, bytes;
    memcpy(&offset, &file[24 + 24 * static_cast<size_t>(i)], 8);
    memcpy(&bytes, &file[32 + 24 * static_cast<size_t>(i)], 8);
    if (offset > file.size() || bytes > file.size() - offset) return false;
  }
  return true;
}

void plan_session(Model& model, Fault& fault) {
  Session* session = nullptr;
  if (Session::create(model, 1, true, &session, fault) != Code::ok) return;
  const int64_t shape[8] = {3, 3, 3, 3, 3, 3, 3, 3};
  std::vector<bireme_tensor> inputs;
  const fb::Plan& plan = model.plan();
  if (plan.inputs())
    for (uint32_t index : *plan.inputs()) {
      const fb::Tensor& tensor = *plan.tensors()->Get(index);
      const uint32_t rank = tensor.shape() ? tensor.shape()->size() : 0;
      inputs.push_back(
          {nullptr, 0, shape, rank < 8 ? rank : 8, static_cast<bireme_dtype>(tensor.dtype())});
    }
  (void)session->plan(inputs.data(), static_cast<uint32_t>(inputs.size()), nullptr, 0, fault);
  destroy_object(session);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  testing::Bytes file(data, data + bytes);
  if (can_be_signed(file)) testing::sign(file);
  static const std::vector<Kernel> kernels(1 << 16, no_kernel);
  for (const bool with_code : {false, true}) {
    LoadOptions options;
    options.kernels = with_code ? nullptr : kernels.data();
    Fault fault = BIREME_STATUS_INIT;
    Model* model = nullptr;
    if (Model::load_memory(file.data(), file.size(), options, &model, fault) != Code::ok) continue;
    plan_session(*model, fault);
    model->release();
  }
  return 0;
}

// A plan may ask for any amount of memory; the sanitizer is to refuse it as a small machine would.
extern "C" const char* __asan_default_options() {
  return "allocator_may_return_null=1:max_allocation_size_mb=256";
}

// Writes the seeds: model_fuzz --seeds DIRECTORY.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  if (*argc != 3 || strcmp((*argv)[1], "--seeds") != 0) return 0;
  testing::PlanBuilder b = testing::doubling();
  testing::add_image(b);
  const uint32_t w = b.weight("w", std::vector<float>(16, 1.0f));
  b.version(0, 0, {b.constant(1)}, {{2, b.plan.tensors[0]->shape[0]}});
  b.plan.tensors[w]->dtype = fb::DType::I64;
  b.plan.tensors[w]->shape = {b.constant(8)};
  const uint32_t hits = b.symbol("hits", 0, 4);
  b.bind(w, hits, b.plan.tensors[0]->shape[0]);
  const uint32_t kept = b.tensor("kept", fb::Place::Arena, {hits});
  b.plan.tensors[kept]->capacity = static_cast<int32_t>(b.constant(1200));
  b.copy(b.view("head", 1, {hits}, 0), kept);
  const std::string path = std::string((*argv)[2]) + "/doubling.bireme";
  const testing::Bytes file = b.artefact();
  FILE* out = fopen(path.c_str(), "wb");
  if (!out || fwrite(file.data(), 1, file.size(), out) != file.size()) exit(1);
  fclose(out);
  exit(0);
}
