// Native code of an artefact: chosen for this CPU, mapped, linked to the C library, made
// executable.
#ifndef BIREME_RUNTIME_CODE_IMAGE_H_
#define BIREME_RUNTIME_CODE_IMAGE_H_

#include <stddef.h>
#include <stdint.h>

#include "mapping.h"
#include "model_generated.h"
#include "status.h"

namespace bireme::internal {

using Kernel = int32_t (*)(void* const* args, const int64_t* dims, void* workspace, int64_t begin,
                           int64_t end);

class CodeImage {
 public:
  CodeImage() = default;
  CodeImage(const CodeImage&) = delete;
  CodeImage& operator=(const CodeImage&) = delete;
  ~CodeImage();

  // Loads the first image of `plan`, which is verified, that this CPU has the instruction set for;
  // `max_isa` may lower what it has (null: it does not). `code_offset` is where the code section
  // starts in `artefact`. No page is ever writable and executable at once.
  Code load(const Mapping& artefact, uint64_t code_offset, const fb::Plan& plan,
            const char* max_isa, Fault& fault);

  Kernel kernel(uint32_t index) const;
  const char* isa() const { return image_ ? image_->isa()->c_str() : ""; }
  size_t bytes() const { return bytes_; }

 private:
  Code map(const Mapping& artefact, uint64_t offset, Fault& fault);
  Code link(Fault& fault);

  const fb::CodeImage* image_ = nullptr;
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_CODE_IMAGE_H_
