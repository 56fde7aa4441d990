// The scalar program: every size, count and kernel argument of a plan, computed from the symbols.
#ifndef BIREME_RUNTIME_SCALARS_H_
#define BIREME_RUNTIME_SCALARS_H_

#include <stddef.h>
#include <stdint.h>

#include "memory.h"
#include "model_generated.h"
#include "status.h"

namespace bireme::internal {

// What is known of the scalars without any input.
struct ScalarHints {
  Array<uint8_t> constant;  // 1: depends on no symbol, so the value below is its only one
  Array<int64_t> value;     // at the symbols' hints
  Array<uint32_t> time;     // when it is known: see below
};

// A size is known from the shapes of the inputs (time 0), or once the last of the Bind instructions
// that it depends on is done (time 1 + number of that instruction).

// Evaluates entry `i` of `program`, which is verified; `values` holds those it refers to. Fails
// with size_overflow where it overflows int64 or divides by zero.
Code evaluate_scalar(const fb::Scalar* program, size_t i, const int64_t* symbols, int64_t* values,
                     Fault& fault);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_SCALARS_H_
