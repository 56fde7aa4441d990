#include "checksum.h"

#include <atomic>

#include "memory.h"
#include "pool.h"
#include "xxh3.h"
#include "xxh64.h"

namespace bireme::internal {
namespace {

// Fewer chunks for each thread are not worth waking it.
constexpr size_t kLeastChunks = 2;

struct Work {
  const uint8_t* data;
  size_t chunks;
  uint64_t* hashes;
  std::atomic<size_t> next{0};
};

void hash_chunks(void* context, uint32_t) {
  Work& work = *static_cast<Work*>(context);
  for (size_t i; (i = work.next.fetch_add(1, std::memory_order_relaxed)) < work.chunks;)
    work.hashes[i] = xxh3(work.data + i * kChecksumChunk, kChecksumChunk);
}

}  // namespace

bool section_checksum(const uint8_t* data, size_t bytes, uint32_t threads, uint64_t* checksum) {
  Work work;
  work.data = data;
  work.chunks = bytes / kChecksumChunk;
  Array<uint64_t> hashes;
  if (!hashes.create(work.chunks + 1)) return false;
  work.hashes = hashes.data();
  const size_t useful = work.chunks / kLeastChunks;
  if (useful < threads) threads = static_cast<uint32_t>(useful);
  pool_run(hash_chunks, &work, threads > 1 ? threads : 1);
  hashes[work.chunks] = xxh64(data + work.chunks * kChecksumChunk, bytes % kChecksumChunk);
  *checksum = xxh64(hashes.data(), hashes.bytes());
  return true;
}

}  // namespace bireme::internal
