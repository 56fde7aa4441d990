// Where each intermediate tensor lies in the session's one block of memory.
#ifndef BIREME_RUNTIME_ARENA_H_
#define BIREME_RUNTIME_ARENA_H_

#include <stdint.h>

#include "model_generated.h"
#include "status.h"

namespace bireme::internal {

// Places the tensors of `plan.arena_order` (docs/artefact.md, "Arena"). `bytes` has the size of
// every tensor, not negative; `offsets` has one place for every tensor, and gets those of Arena
// ones.
Code place_arena(const fb::Plan& plan, const int64_t* bytes, int64_t* offsets, int64_t* arena_bytes,
                 Fault& fault);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_ARENA_H_
