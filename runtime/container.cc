#include "container.h"

#include <string.h>

#include "checksum.h"
#include "xxh64.h"

namespace bireme::internal {
namespace {

// Byte for byte the first 128 bytes of the file; little-endian like every host supported.
struct Header {
  uint8_t magic[8];
  uint32_t version;
  uint32_t header_bytes;
  uint64_t file_bytes;
  Section sections[3];
  uint64_t hash;
  uint8_t reserved[24];
};
static_assert(sizeof(Header) == kHeaderBytes);
static_assert(offsetof(Header, hash) == 96);

struct SectionRule {
  const char* name;
  uint64_t alignment;
};
constexpr SectionRule kRules[3] = {{"plan", 8}, {"code", kPageBytes}, {"weights", kPageBytes}};

using ull = unsigned long long;

Code check_section(const uint8_t* data, const Section& section, const Header& header,
                   const char* name, uint32_t threads, Fault& fault) {
  const uint8_t* first = data + section.offset;
  uint64_t found;
  if (header.version == 1)  // one hash of everything
    found = xxh64(first, section.bytes);
  else if (!section_checksum(first, section.bytes, threads, &found))
    return fail(fault, Code::out_of_memory, "for checksums");
  if (found == section.checksum) return Code::ok;
  return fail(fault, Code::section_corrupt, "the %s section's checksum does not match", name);
}

}  // namespace

Code parse_container(const uint8_t* data, size_t bytes, bool check_weights, uint32_t threads,
                     Container* container, Fault& fault) {
  if (bytes < sizeof kMagic || memcmp(data, kMagic, sizeof kMagic) != 0)
    return fail(fault, Code::not_an_artefact, "the first 8 bytes are not the format's mark");
  Header header;
  if (bytes < sizeof header)
    return fail(fault, Code::truncated, "the header needs %zu bytes, the file has %zu",
                sizeof header, bytes);
  memcpy(&header, data, sizeof header);
  // The hash is looked at before the version: a flipped bit is damage, not a newer format.
  if (header.hash != xxh64(data, offsetof(Header, hash)))
    return fail(fault, Code::header_corrupt, "the header's checksum does not match");
  if (header.version < kOldestVersion || header.version > kFormatVersion)
    return fail(fault, Code::unsupported_version, "format version %u, this runtime reads %u to %u",
                header.version, kOldestVersion, kFormatVersion);
  if (header.header_bytes != kHeaderBytes)
    return fail(fault, Code::header_corrupt, "the header says it has %u bytes, not %u",
                header.header_bytes, kHeaderBytes);
  for (uint8_t byte : header.reserved)
    if (byte != 0) return fail(fault, Code::header_corrupt, "reserved bytes are not zero");
  if (header.file_bytes != bytes)
    return fail(fault, Code::truncated, "the header says %llu bytes, the file has %zu",
                static_cast<ull>(header.file_bytes), bytes);

  uint64_t end = kHeaderBytes;  // of the section before
  for (int i = 0; i < 3; ++i) {
    Section& section = header.sections[i];
    const SectionRule& rule = kRules[i];
    if (section.bytes == 0) {  // an empty section has no place
      section.offset = 0;
      continue;
    }
    // Bounds by subtraction: offset + bytes may overflow, bytes - offset cannot after the first
    // test.
    if (section.offset > bytes || section.bytes > bytes - section.offset)
      return fail(fault, Code::header_corrupt, "the %s section ends after the file", rule.name);
    if (section.offset < end)
      return fail(fault, Code::header_corrupt, "the %s section overlaps what is before it",
                  rule.name);
    if (section.offset % rule.alignment != 0)
      return fail(fault, Code::header_corrupt, "the %s section is not aligned to %llu bytes",
                  rule.name, static_cast<ull>(rule.alignment));
    end = section.offset + section.bytes;
  }
  for (int i = 0; i < 3; ++i) {
    if (i == 2 && !check_weights) continue;
    BIREME_TRY(check_section(data, header.sections[i], header, kRules[i].name, threads, fault));
  }
  *container = {header.sections[0], header.sections[1], header.sections[2]};
  return Code::ok;
}

}  // namespace bireme::internal
