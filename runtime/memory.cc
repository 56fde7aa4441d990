#include "memory.h"

#include <sys/mman.h>

namespace bireme::internal {
namespace {

// From here on a block asks for huge pages: an arena walked by many kernels misses the TLB less.
constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

bool Block::reserve(size_t bytes) {
  if (bytes <= bytes_) return true;
  free(data_);
  data_ = nullptr;
  bytes_ = 0;
  const bool huge = bytes >= 2 * kHugePage;
  // The last page is a whole one too: hundreds of small ones take longer to come.
  uint64_t whole = bytes;
  if (huge && !round_up(bytes, kHugePage, &whole)) return false;
  void* memory = nullptr;
  if (posix_memalign(&memory, huge ? kHugePage : kAlignment, whole) != 0) return false;
#ifdef MADV_HUGEPAGE
  if (huge) madvise(memory, whole, MADV_HUGEPAGE);  // only advice: a refusal changes nothing
#endif
  data_ = static_cast<uint8_t*>(memory);
  bytes_ = bytes;
  return true;
}

}  // namespace bireme::internal
