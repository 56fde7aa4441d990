// The two ways the runtime holds memory. Both report failure instead of throwing, and both are used
// only while loading and planning, never while a plan runs.
#ifndef BIREME_RUNTIME_MEMORY_H_
#define BIREME_RUNTIME_MEMORY_H_

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <new>
#include <type_traits>
#include <utility>

namespace bireme::internal {

// Fixed number of zero-initialised elements.
template <class T>
class Array {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  Array() = default;
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { free(data_); }

  // Drops what was there. False if memory has run out.
  [[nodiscard]] bool create(size_t size) {
    free(data_);
    data_ = static_cast<T*>(calloc(size ? size : 1, sizeof(T)));
    size_ = data_ ? size : 0;
    return data_ != nullptr;
  }

  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

// Raw memory that only grows, so that alternating sizes settle at the largest. Aligned to 64 bytes
// at least. Contents are not kept when it grows.
class Block {
 public:
  Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() { free(data_); }

  // False if memory has run out; the block is then empty.
  [[nodiscard]] bool reserve(size_t bytes);

  uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

constexpr size_t kAlignment = 64;

// Rounds up to a multiple of `unit`, a power of two. False on overflow.
[[nodiscard]] inline bool round_up(uint64_t value, uint64_t unit, uint64_t* result) {
  if (__builtin_add_overflow(value, unit - 1, result)) return false;
  *result &= ~(unit - 1);
  return true;
}

// new and delete without exceptions and without the C++ library.
template <class T>
T* create_object() {
  void* memory = malloc(sizeof(T));
  return memory ? new (memory) T() : nullptr;
}

template <class T>
void destroy_object(T* object) {
  if (!object) return;
  object->~T();
  free(object);
}

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_MEMORY_H_
