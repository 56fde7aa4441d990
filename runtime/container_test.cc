#include "container.h"

#include <gtest/gtest.h>
#include <string.h>

#include <string>

#include "checksum.h"
#include "testing/plan_builder.h"
#include "xxh64.h"

namespace bireme::internal {
namespace {

using testing::Bytes;

Code parse(const Bytes& file, std::string* message = nullptr, bool check_weights = true,
           uint32_t threads = 1) {
  Fault fault = BIREME_STATUS_INIT;
  Container container;
  // An exact copy, so that a sanitizer sees any read past the end.
  const Bytes copy(file);
  const Code code =
      parse_container(copy.data(), copy.size(), check_weights, threads, &container, fault);
  if (message) *message = fault.message;
  return code;
}

Bytes example() { return testing::make_container(Bytes(100, 1), Bytes(4096, 2), Bytes(64, 3)); }

void put(Bytes& file, size_t at, uint64_t value) { memcpy(file.data() + at, &value, 8); }

TEST(Container, GivesTheSections) {
  const Bytes file = example();
  Fault fault = BIREME_STATUS_INIT;
  Container container;
  ASSERT_EQ(parse_container(file.data(), file.size(), true, 1, &container, fault), Code::ok);
  EXPECT_EQ(container.plan.offset, 128u);
  EXPECT_EQ(container.plan.bytes, 100u);
  EXPECT_EQ(container.code.offset, 4096u);
  EXPECT_EQ(container.weights.offset, 8192u);
  EXPECT_EQ(container.weights.bytes, 64u);
}

TEST(Container, AcceptsEmptySections) { EXPECT_EQ(parse(testing::make_container({1})), Code::ok); }

TEST(Container, RefusesEveryTruncation) {
  const Bytes file = example();
  for (size_t size = 0; size < file.size(); size += size < 300 ? 1 : 97) {
    const Code code = parse(Bytes(file.begin(), file.begin() + static_cast<long>(size)));
    EXPECT_EQ(code, size < 8 ? Code::not_an_artefact : Code::truncated) << size;
  }
  Bytes longer = file;
  longer.push_back(0);
  EXPECT_EQ(parse(longer), Code::truncated);
}

TEST(Container, RefusesEveryFlippedBitOfTheHeader) {
  const Bytes file = example();
  for (size_t at = 0; at < kHeaderBytes; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes flipped = file;
      flipped[at] ^= static_cast<uint8_t>(1 << bit);
      EXPECT_EQ(parse(flipped), at < 8 ? Code::not_an_artefact : Code::header_corrupt) << at;
    }
  }
}

TEST(Container, NamesTheDamagedSection) {
  std::string message;
  for (auto [at, name] : {std::pair{130, "plan"}, {4100, "code"}, {8200, "weights"}}) {
    Bytes file = example();
    file[static_cast<size_t>(at)] ^= 0x10;
    EXPECT_EQ(parse(file, &message), Code::section_corrupt);
    EXPECT_NE(message.find(name), std::string::npos) << message;
  }
}

TEST(Container, FindsDamageInEveryChunkWithManyThreads) {
  const Bytes file = testing::make_container({1}, {2}, Bytes(5 * kChecksumChunk + 9, 3));
  const size_t weights = 8192;
  ASSERT_EQ(parse(file, nullptr, true, 4), Code::ok);
  for (size_t at = weights + 7; at < file.size(); at += kChecksumChunk) {
    Bytes damaged = file;
    damaged[at] ^= 0x80;
    std::string message;
    EXPECT_EQ(parse(damaged, &message, true, 4), Code::section_corrupt) << at;
    EXPECT_NE(message.find("weights"), std::string::npos) << message;
  }
}

// Version 1 hashes each section as a whole.
TEST(Container, ReadsVersionOne) {
  Bytes file = example();
  file[8] = 1;
  for (size_t i = 0; i < 3; ++i) {
    uint64_t offset, bytes;
    memcpy(&offset, &file[24 + 24 * i], 8);
    memcpy(&bytes, &file[32 + 24 * i], 8);
    put(file, 40 + 24 * i, xxh64(&file[offset], bytes));
  }
  testing::sign_header(file);
  EXPECT_EQ(parse(file), Code::ok);
  file[8200] ^= 1;
  EXPECT_EQ(parse(file), Code::section_corrupt);
}

TEST(Container, WeightsCheckCanBeLeftOut) {
  Bytes file = example();
  file[8200] ^= 1;
  EXPECT_EQ(parse(file, nullptr, false), Code::ok);
  file[4100] ^= 1;
  EXPECT_EQ(parse(file, nullptr, false), Code::section_corrupt);
}

// Headers that are signed and wrong: what a hostile writer would make.
TEST(Container, RefusesHostileSections) {
  struct Case {
    size_t at;
    uint64_t value;
  };
  for (const Case& c : {
           Case{24, 0},                  // plan inside the header
           Case{24, 129},                // not aligned
           Case{32, UINT64_MAX},         // size overflows
           Case{24, UINT64_MAX - 7},     // offset overflows
           Case{48, 128},                // code inside the plan
           Case{48, 4096 + 64},          // code not aligned to a page
           Case{56, uint64_t{1} << 40},  // code past the end
           Case{72, 4096},               // weights inside the code
           Case{80, 65},                 // weights one byte past the end
           Case{104, 1},                 // reserved
       }) {
    Bytes file = example();
    put(file, c.at, c.value);
    testing::sign_header(file);
    std::string message;
    EXPECT_EQ(parse(file, &message), Code::header_corrupt) << c.at << " " << message;
  }
}

TEST(Container, SaysWhichVersionItReads) {
  Bytes file = example();
  file[8] = 9;
  testing::sign_header(file);
  std::string message;
  EXPECT_EQ(parse(file, &message), Code::unsupported_version);
  EXPECT_EQ(message, "format version 9, this runtime reads 1 to 2");
}

}  // namespace
}  // namespace bireme::internal
