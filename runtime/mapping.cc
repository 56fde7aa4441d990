#include "mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace bireme::internal {

Mapping::~Mapping() {
  if (mapped_) munmap(const_cast<uint8_t*>(data_), bytes_);
  if (file_ >= 0) close(file_);
}

Code Mapping::open_file(const char* path, Fault& fault) {
  // O_NONBLOCK: opening a FIFO must not hang; it has no effect on a regular file.
  file_ = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file_ < 0) return fail(fault, Code::cannot_open, "%s", strerror(errno));
  struct stat info;
  if (fstat(file_, &info) != 0) return fail(fault, Code::cannot_open, "%s", strerror(errno));
  if (!S_ISREG(info.st_mode)) return fail(fault, Code::cannot_open, "not a regular file");
  if (info.st_size == 0) return fail(fault, Code::not_an_artefact, "the file is empty");
  const size_t bytes = static_cast<size_t>(info.st_size);
  void* address = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file_, 0);
  if (address == MAP_FAILED) return fail(fault, Code::cannot_open, "mmap: %s", strerror(errno));
  // All of it is read soon. A system that can keep files in huge pages then has few faults to
  // serve and reads ahead in long pieces; one that cannot refuses, which changes nothing.
#ifdef MADV_HUGEPAGE
  madvise(address, bytes, MADV_HUGEPAGE);
#endif
  madvise(address, bytes, MADV_WILLNEED);
  data_ = static_cast<const uint8_t*>(address);
  bytes_ = bytes;
  mapped_ = true;
  return Code::ok;
}

Code Mapping::use_memory(const void* data, size_t bytes, Fault& fault) {
  if (reinterpret_cast<uintptr_t>(data) % kAlignment == 0 || bytes == 0) {
    data_ = static_cast<const uint8_t*>(data);
    bytes_ = bytes;
    return Code::ok;
  }
  if (!copy_.reserve(bytes))
    return fail(fault, Code::out_of_memory, "a copy of the artefact needs %zu bytes", bytes);
  memcpy(copy_.data(), data, bytes);
  data_ = copy_.data();
  bytes_ = bytes;
  return Code::ok;
}

}  // namespace bireme::internal
