// Checks a plan so that nothing after it has to.
//
// After verify_plan succeeds:
//  - the bytes are a well-formed FlatBuffer of the schema, and every enumeration has a known value;
//  - every index (scalar, symbol, tensor, kernel, instruction, loop, source) is inside its table,
//    and scalars refer only to lower ones, so evaluation is a single pass;
//  - every symbol is bound by a dimension of an input or by one Bind, and ranges are not empty;
//  - no instruction uses a size that a Bind further down decides, and no Bind decides how much
//    memory is reserved: inputs, weights, capacities, scratch memory;
//  - inputs and outputs name each Input and Output tensor exactly once; a View's base is no View;
//  - sizes of weights do not depend on symbols, and every weight lies, aligned, in the weights
//    section;
//  - arena_order holds each Arena tensor once, after every tensor it has to follow;
//  - code images, their entry points and import tables lie inside the code section and inside each
//    other;
//  - each loop counter belongs to one LoopBegin/LoopEnd pair, loops nest, a jump enters no loop,
//    and a View that moves with a loop is used only inside it.
//
// It does not promise anything that depends on the sizes of inputs (the session checks that when it
// plans), nor that running the code terminates or does what the plan says.
#ifndef BIREME_RUNTIME_VERIFIER_H_
#define BIREME_RUNTIME_VERIFIER_H_

#include <stddef.h>
#include <stdint.h>

#include "model_generated.h"
#include "scalars.h"
#include "status.h"

namespace bireme::internal {

// `data` is aligned to 8 bytes; `code_bytes` and `weight_bytes` are the sizes of those sections.
// `hints` is filled for the scalars of the plan.
Code verify_plan(const uint8_t* data, size_t bytes, uint64_t code_bytes, uint64_t weight_bytes,
                 const fb::Plan** plan, ScalarHints* hints, Fault& fault);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_VERIFIER_H_
