// From the shapes of the inputs to the sizes of everything: symbols, scalars, tensors.
#ifndef BIREME_RUNTIME_BINDING_H_
#define BIREME_RUNTIME_BINDING_H_

#include <stdint.h>

#include "bireme/bireme.h"
#include "memory.h"
#include "model.h"
#include "status.h"

namespace bireme::internal {

// The sizes of one set of input shapes. What depends on data is 0 until its Bind is done.
struct Sizes {
  Array<int64_t> symbols;
  Array<int64_t> scalars;
  Array<int64_t> bytes;     // of each tensor
  Array<int64_t> capacity;  // reserved for each tensor that has memory of its own
  Array<uint32_t> trips;    // the scalar that is each loop's trip count

  Code create(const Model& model, Fault& fault);
};

// Checks count, dtypes and ranks of `inputs`, which are what no shape can change.
Code check_inputs(const Model& model, const bireme_tensor* inputs, uint32_t count, Fault& fault);

// Binds symbols and computes the `sizes` that no data decides (time 0, see scalars.h). Afterwards
// shapes are consistent with the model, its constraints hold, every tensor has a size that is not
// negative and holds its elements, and every view lies inside its base, also while a loop moves it.
// `inputs` has passed check_inputs.
Code bind_sizes(const Model& model, const bireme_tensor* inputs, Sizes& sizes, Fault& fault);

// The parts of bind_sizes, for what a Bind decides, in this order: scalars, constraints, tensors
// and views. None allocates.
Code evaluate(const Model& model, uint32_t scalar, Sizes& sizes, Fault& fault);
Code size_tensor(const Model& model, uint32_t index, Sizes& sizes, Fault& fault);
Code check_view(const Model& model, uint32_t index, const Sizes& sizes, Fault& fault);
Code check_constraint(const Model& model, uint32_t index, const Sizes& sizes, Fault& fault);
Code check_equal(int64_t a, int64_t b, Fault& fault);

// When each of them is known. `sizes` has been created; its values are not looked at.
uint32_t tensor_time(const Model& model, const fb::Tensor& tensor);
uint32_t view_time(const Model& model, const fb::Tensor& view, const Sizes& sizes);
uint32_t constraint_time(const Model& model, const fb::Constraint& constraint);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_BINDING_H_
