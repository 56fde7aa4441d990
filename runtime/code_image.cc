#include "code_image.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu.h"
#include "imports.h"
#include "plan.h"

namespace bireme::internal {

CodeImage::~CodeImage() {
  if (data_) munmap(data_, bytes_);
}

Code CodeImage::load(const Mapping& artefact, uint64_t code_offset, const fb::Plan& plan,
                     const char* max_isa, Fault& fault) {
  int level = cpu_isa_level();
  if (max_isa) {
    const int highest = isa_level(max_isa);
    if (highest == 0) return fail(fault, Code::unknown_isa, "max_isa is \"%s\"", max_isa);
    if (highest < level) level = highest;
  }
  if (strcmp(plan.target()->c_str(), kTarget) != 0)
    return fail(fault, Code::other_target, "compiled for %s, this runtime is for %s",
                plan.target()->c_str(), kTarget);
  if (length(plan.kernels()) == 0) return Code::ok;
  for (const fb::CodeImage* image : each(plan.images())) {
    const int needed = isa_level(image->isa()->c_str());
    if (needed == 0 || needed > level) continue;
    image_ = image;
    BIREME_TRY(map(artefact, code_offset + image->offset(), fault));
    return link(fault);
  }
  const size_t count = length(plan.images());
  if (count == 0) return fail(fault, Code::no_code_for_cpu, "it has none at all");
  const fb::CodeImage& plainest = *plan.images()->Get(static_cast<uint32_t>(count - 1));
  return fail(fault, Code::no_code_for_cpu, "its code needs %s, usable here is %s",
              plainest.isa()->c_str(), isa_name(level));
}

// Pages of a file are shared with every process that loads it. Where the file cannot be mapped with
// the page size of this system, or there is no file, the code is copied.
Code CodeImage::map(const Mapping& artefact, uint64_t offset, Fault& fault) {
  bytes_ = image_->bytes();
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const bool from_file = artefact.file() >= 0 && offset % page == 0 && bytes_ % page == 0 &&
                         image_->import_offset() % page == 0;
  void* memory =
      from_file ? mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, artefact.file(),
                       static_cast<off_t>(offset))
                : mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return fail(fault, Code::cannot_map_code, "mmap of %zu bytes: %s", bytes_, strerror(errno));
  data_ = static_cast<uint8_t*>(memory);
  if (!from_file) memcpy(data_, artefact.data() + offset, bytes_);
  return Code::ok;
}

Code CodeImage::link(Fault& fault) {
  const size_t code_bytes = image_->import_offset();
  const size_t table_bytes = bytes_ - code_bytes;
  if (table_bytes && mprotect(data_ + code_bytes, table_bytes, PROT_READ | PROT_WRITE) != 0)
    return fail(fault, Code::cannot_map_code, "mprotect: %s", strerror(errno));
  void** table = reinterpret_cast<void**>(data_ + code_bytes);
  for (const flatbuffers::String* name : each(image_->imports())) {
    void* function = find_import(name->c_str());
    if (!function) return fail(fault, Code::unknown_import, "it imports %s", name->c_str());
    *table++ = function;
  }
  if (table_bytes && mprotect(data_ + code_bytes, table_bytes, PROT_READ) != 0)
    return fail(fault, Code::cannot_map_code, "mprotect: %s", strerror(errno));
  __builtin___clear_cache(reinterpret_cast<char*>(data_),
                          reinterpret_cast<char*>(data_ + code_bytes));
  if (mprotect(data_, code_bytes, PROT_READ | PROT_EXEC) != 0)
    return fail(fault, Code::cannot_map_code, "mprotect: %s", strerror(errno));
  return Code::ok;
}

Kernel CodeImage::kernel(uint32_t index) const {
  return reinterpret_cast<Kernel>(data_ + image_->entries()->Get(index));
}

}  // namespace bireme::internal
