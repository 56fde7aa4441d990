// Short names for reading a verified plan.
#ifndef BIREME_RUNTIME_PLAN_H_
#define BIREME_RUNTIME_PLAN_H_

#include <stddef.h>
#include <stdint.h>

#include "model_generated.h"

namespace bireme::internal {

// Elements of an optional FlatBuffers vector: an absent one is empty.
template <class Vector>
size_t length(const Vector* vector) {
  return vector ? vector->size() : 0;
}

// An optional vector as a range for `for`.
template <class T>
struct Elements {
  const flatbuffers::Vector<T>* vector;
  auto begin() const { return vector ? vector->begin() : decltype(vector->begin())(nullptr, 0); }
  auto end() const { return vector ? vector->end() : decltype(vector->begin())(nullptr, 0); }
};
template <class T>
Elements<T> each(const flatbuffers::Vector<T>* vector) {
  return {vector};
}

inline const char* text(const flatbuffers::String* string) { return string ? string->c_str() : ""; }

// Name of a tensor for messages; `index` where the model has no name for it.
inline const char* tensor_name(const fb::Tensor& tensor) {
  return tensor.name() ? tensor.name()->c_str() : "(unnamed)";
}

// Both take any number, as callers may give one: 0 and "?" where it is no element type.
inline size_t dtype_bytes(uint32_t dtype) {
  constexpr uint8_t kBytes[] = {1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 2, 4,
                                8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  return dtype < sizeof kBytes ? kBytes[dtype] : 0;
}
inline size_t dtype_bytes(fb::DType dtype) { return dtype_bytes(static_cast<uint32_t>(dtype)); }

inline const char* dtype_name(uint32_t dtype) {
  constexpr const char* kNames[] = {"bool",
                                    "int8",
                                    "uint8",
                                    "int16",
                                    "uint16",
                                    "int32",
                                    "uint32",
                                    "int64",
                                    "uint64",
                                    "float16",
                                    "bfloat16",
                                    "float32",
                                    "float64",
                                    "float8_e4m3fn",
                                    "float8_e4m3fnuz",
                                    "float8_e5m2",
                                    "float8_e5m2fnuz",
                                    "float8_e8m0fnu",
                                    "float4_e2m1fn",
                                    "int4",
                                    "uint4",
                                    "int2",
                                    "uint2"};
  return dtype < sizeof kNames / sizeof *kNames ? kNames[dtype] : "?";
}

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_PLAN_H_
