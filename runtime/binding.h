// From the shapes of the inputs to the sizes of everything: symbols, scalars, tensors.
#ifndef BIREME_RUNTIME_BINDING_H_
#define BIREME_RUNTIME_BINDING_H_

#include <stdint.h>

#include "bireme/bireme.h"
#include "memory.h"
#include "model.h"
#include "status.h"

namespace bireme::internal {

// The sizes of one set of input shapes.
struct Sizes {
  Array<int64_t> symbols;
  Array<int64_t> scalars;
  Array<int64_t> bytes;  // of each tensor

  Code create(const Model& model, Fault& fault);
};

// Checks count, dtypes and ranks of `inputs`, which are what no shape can change.
Code check_inputs(const Model& model, const bireme_tensor* inputs, uint32_t count, Fault& fault);

// Binds symbols and computes `sizes`. Afterwards shapes are consistent with the model, its
// constraints hold, every tensor has a size that is not negative and holds its elements, and every
// view lies inside its base, also while a loop moves it. `inputs` has passed check_inputs.
Code bind_sizes(const Model& model, const bireme_tensor* inputs, Sizes& sizes, Fault& fault);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_BINDING_H_
