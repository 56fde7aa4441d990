// The scalar program: every size, count and kernel argument of a plan, computed from the symbols.
#ifndef BIREME_RUNTIME_SCALARS_H_
#define BIREME_RUNTIME_SCALARS_H_

#include <stddef.h>
#include <stdint.h>

#include "memory.h"
#include "model_generated.h"
#include "status.h"

namespace bireme::internal {

// What the scalars are where no input has been given yet.
struct ScalarHints {
  Array<uint8_t> constant;  // 1: depends on no symbol, so the value below is its only one
  Array<int64_t> value;     // at the symbols' hints
};

// Evaluates `program`, which is verified, in order; `values` has one place for each entry. Fails
// with size_overflow where an entry overflows int64 or divides by zero.
Code evaluate_scalars(const fb::Scalar* program, size_t count, const int64_t* symbols,
                      int64_t* values, Fault& fault);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_SCALARS_H_
