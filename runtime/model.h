// A loaded artefact: verified plan, weights, executable kernels. Immutable, so threads share it
// freely.
#ifndef BIREME_RUNTIME_MODEL_H_
#define BIREME_RUNTIME_MODEL_H_

#include <atomic>

#include "code_image.h"
#include "container.h"
#include "mapping.h"
#include "memory.h"
#include "model_generated.h"
#include "scalars.h"
#include "status.h"

namespace bireme::internal {

struct LoadOptions {
  bool check_weights = true;
  uint32_t threads = 0;  // that look for damage, 0: as many as the pool has
  const char* max_isa = nullptr;
  // Tests only: one function for each kernel, used in place of the artefact's code.
  const Kernel* kernels = nullptr;
};

class Model {
 public:
  // The loaded model has one owner; retain and release count further ones.
  static Code load_file(const char* path, const LoadOptions& options, Model** model, Fault& fault);
  static Code load_memory(const void* data, size_t bytes, const LoadOptions& options, Model** model,
                          Fault& fault);
  void retain() { owners_.fetch_add(1, std::memory_order_relaxed); }
  void release();

  const fb::Plan& plan() const { return *plan_; }
  const uint8_t* weights() const { return artefact_.data() + container_.weights.offset; }
  uint64_t weight_bytes() const { return container_.weights.bytes; }
  Kernel kernel(uint32_t index) const {
    return test_kernels_ ? test_kernels_[index] : code_.kernel(index);
  }
  const CodeImage& code() const { return code_; }

  // Whether the shapes of all inputs are numbers.
  bool has_fixed_inputs() const;
  // When a scalar is known (scalars.h).
  uint32_t time(uint32_t scalar) const { return hints_.time[scalar]; }

  // Dimensions of a tensor, one for each entry of its shape.
  const bireme_dim* dims(uint32_t tensor) const { return dims_.data() + first_dim_[tensor]; }

 private:
  template <class Open>
  static Code load(const LoadOptions& options, Open open, Model** model, Fault& fault);
  Code load(const LoadOptions& options, Fault& fault);
  Code describe_dims(Fault& fault);

  std::atomic<uint32_t> owners_{1};
  Mapping artefact_;
  Container container_ = {};
  const fb::Plan* plan_ = nullptr;
  ScalarHints hints_;
  CodeImage code_;
  const Kernel* test_kernels_ = nullptr;
  Array<bireme_dim> dims_;
  Array<uint32_t> first_dim_;  // for each tensor, where its dims start
};

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_MODEL_H_
