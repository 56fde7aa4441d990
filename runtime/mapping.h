// The bytes of an artefact: a mapped file, or memory.
#ifndef BIREME_RUNTIME_MAPPING_H_
#define BIREME_RUNTIME_MAPPING_H_

#include <stddef.h>
#include <stdint.h>

#include "memory.h"
#include "status.h"

namespace bireme::internal {

class Mapping {
 public:
  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  // Maps a regular file read-only and keeps it open, so that code can be mapped from it too.
  Code open_file(const char* path, Fault& fault);

  // Uses memory in place if it is aligned to 64 bytes, else a copy of it. The copy asks for huge
  // pages: layers that read each weight once take 10 to 20 % longer with small ones.
  Code use_memory(const void* data, size_t bytes, Fault& fault);

  const uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  int file() const { return file_; }  // -1: there is none

 private:
  const uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
  int file_ = -1;
  bool mapped_ = false;
  Block copy_;
};

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_MAPPING_H_
