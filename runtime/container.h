// The artefact's fixed header and its three sections (docs/artefact.md, "Container").
//
// After parse_container succeeds: every section lies inside the bytes given, sections are in order
// and do not overlap, their offsets are aligned as the format says, and plan and code (and weights,
// unless skipped) have the checksum the header gives. Nothing is promised about what the sections
// say.
#ifndef BIREME_RUNTIME_CONTAINER_H_
#define BIREME_RUNTIME_CONTAINER_H_

#include <stddef.h>
#include <stdint.h>

#include "status.h"

namespace bireme::internal {

constexpr uint8_t kMagic[8] = {'B', 'I', 'R', 'E', 'M', 'E', 0x1A, 0x0A};
constexpr uint32_t kFormatVersion = 2;
constexpr uint32_t kOldestVersion = 1;  // that can be read
constexpr uint32_t kHeaderBytes = 128;
constexpr uint64_t kPageBytes = 4096;

struct Section {
  uint64_t offset;
  uint64_t bytes;
  uint64_t checksum;
};

struct Container {
  Section plan;
  Section code;
  Section weights;
};

// `data` is aligned to 8 bytes. Checksums are found by up to `threads` threads of the pool.
Code parse_container(const uint8_t* data, size_t bytes, bool check_weights, uint32_t threads,
                     Container* container, Fault& fault);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_CONTAINER_H_
