#include "arena.h"

#include "memory.h"
#include "plan.h"

namespace bireme::internal {

Code place_arena(const fb::Plan& plan, const int64_t* bytes, int64_t* offsets, int64_t* arena_bytes,
                 Fault& fault) {
  uint64_t end_of_all = 0;
  for (uint32_t index : each(plan.arena_order())) {
    const fb::Tensor& tensor = *plan.tensors()->Get(index);
    uint64_t start = tensor.offset();
    for (uint32_t before : each(tensor.after())) {
      // Neither overflows: both are at most INT64_MAX, checked below when `before` was placed.
      const uint64_t end =
          static_cast<uint64_t>(offsets[before]) + static_cast<uint64_t>(bytes[before]);
      if (end > start) start = end;
    }
    uint64_t end;
    if (!round_up(start, kAlignment, &start) ||
        __builtin_add_overflow(start, static_cast<uint64_t>(bytes[index]), &end) || end > INT64_MAX)
      return fail(fault, Code::size_overflow, "tensor %s: the arena is too large",
                  tensor_name(tensor));
    offsets[index] = static_cast<int64_t>(start);
    if (end > end_of_all) end_of_all = end;
  }
  *arena_bytes = static_cast<int64_t>(end_of_all);
  return Code::ok;
}

}  // namespace bireme::internal
