#include "model.h"

#include "plan.h"
#include "pool.h"
#include "verifier.h"

namespace bireme::internal {

template <class Open>
Code Model::load(const LoadOptions& options, Open open, Model** model, Fault& fault) {
  Model* loaded = create_object<Model>();
  if (!loaded) return fail(fault, Code::out_of_memory, "for the model");
  Code code = open(loaded->artefact_);
  if (code == Code::ok) code = loaded->load(options, fault);
  if (code != Code::ok) {
    destroy_object(loaded);
    return code;
  }
  *model = loaded;
  return Code::ok;
}

Code Model::load_file(const char* path, const LoadOptions& options, Model** model, Fault& fault) {
  const auto open = [&](Mapping& artefact) { return artefact.open_file(path, fault); };
  const Code code = load(options, open, model, fault);
  if (code != Code::ok) prefix_message(fault, path);
  return code;
}

Code Model::load_memory(const void* data, size_t bytes, const LoadOptions& options, Model** model,
                        Fault& fault) {
  const auto open = [&](Mapping& artefact) { return artefact.use_memory(data, bytes, fault); };
  return load(options, open, model, fault);
}

Code Model::load(const LoadOptions& options, Fault& fault) {
  const uint32_t threads = options.threads ? options.threads : pool_threads();
  BIREME_TRY(parse_container(artefact_.data(), artefact_.bytes(), options.check_weights, threads,
                             &container_, fault));
  BIREME_TRY(verify_plan(artefact_.data() + container_.plan.offset, container_.plan.bytes,
                         container_.code.bytes, container_.weights.bytes, &plan_, &hints_, fault));
  test_kernels_ = options.kernels;
  if (!test_kernels_)
    BIREME_TRY(code_.load(artefact_, container_.code.offset, *plan_, options.max_isa, fault));
  return describe_dims(fault);
}

bool Model::has_fixed_inputs() const {
  for (uint32_t input : each(plan_->inputs()))
    for (uint32_t scalar : each(plan_->tensors()->Get(input)->shape()))
      if (!hints_.constant[scalar]) return false;
  return true;
}

void Model::release() {
  if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy_object(this);
}

Code Model::describe_dims(Fault& fault) {
  const size_t tensors = length(plan_->tensors());
  size_t count = 0;
  for (const fb::Tensor* tensor : each(plan_->tensors())) count += length(tensor->shape());
  if (!first_dim_.create(tensors) || !dims_.create(count))
    return fail(fault, Code::out_of_memory, "for the model");
  uint32_t next = 0;
  for (uint32_t i = 0; i < tensors; ++i) {
    first_dim_[i] = next;
    for (uint32_t scalar : each(plan_->tensors()->Get(i)->shape())) {
      bireme_dim& dim = dims_[next++];
      dim = {hints_.constant[scalar] ? hints_.value[scalar] : -1, nullptr, 0, -1};
      const fb::Scalar& entry = *plan_->scalars()->Get(scalar);
      if (entry.op() != fb::ScalarOp::Symbol) continue;
      const fb::Symbol& symbol = *plan_->symbols()->Get(static_cast<uint32_t>(entry.a()));
      dim = {-1, symbol.name()->c_str(), symbol.min(), symbol.max()};
    }
  }
  return Code::ok;
}

}  // namespace bireme::internal
