#include "mapping.h"

#include <gtest/gtest.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

namespace bireme::internal {
namespace {

std::string temporary(const char* contents) {
  std::string path = ::testing::TempDir() + "bireme_mapping_XXXXXX";
  const int file = mkstemp(path.data());
  EXPECT_EQ(write(file, contents, strlen(contents)), static_cast<ssize_t>(strlen(contents)));
  close(file);
  return path;
}

TEST(Mapping, MapsAFile) {
  const std::string path = temporary("hello");
  Fault fault = BIREME_STATUS_INIT;
  Mapping mapping;
  ASSERT_EQ(mapping.open_file(path.c_str(), fault), Code::ok);
  EXPECT_EQ(mapping.bytes(), 5u);
  EXPECT_EQ(memcmp(mapping.data(), "hello", 5), 0);
  EXPECT_GE(mapping.file(), 0);
  unlink(path.c_str());
}

TEST(Mapping, NamesWhatCannotBeOpened) {
  Fault fault = BIREME_STATUS_INIT;
  EXPECT_EQ(Mapping().open_file("/nowhere/x.bireme", fault), Code::cannot_open);
  EXPECT_STREQ(fault.message, "No such file or directory");
  EXPECT_EQ(Mapping().open_file("/tmp", fault), Code::cannot_open);
  EXPECT_EQ(Mapping().open_file("/dev/zero", fault), Code::cannot_open);
  const std::string empty = temporary("");
  EXPECT_EQ(Mapping().open_file(empty.c_str(), fault), Code::not_an_artefact);
  unlink(empty.c_str());
  const std::string fifo = ::testing::TempDir() + "bireme_fifo";
  unlink(fifo.c_str());
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(Mapping().open_file(fifo.c_str(), fault), Code::cannot_open);  // and does not hang
  unlink(fifo.c_str());
}

TEST(Mapping, CopiesMemoryOnlyIfItIsNotAligned) {
  alignas(64) static const uint8_t memory[100] = {1, 2, 3};
  Fault fault = BIREME_STATUS_INIT;
  Mapping in_place, copied;
  ASSERT_EQ(in_place.use_memory(memory, 100, fault), Code::ok);
  EXPECT_EQ(in_place.data(), memory);
  ASSERT_EQ(copied.use_memory(memory + 1, 99, fault), Code::ok);
  EXPECT_NE(copied.data(), memory + 1);
  EXPECT_EQ(memcmp(copied.data(), memory + 1, 99), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(copied.data()) % 64, 0u);
}

TEST(Mapping, CopiesThatAreLargeStartAtAHugePage) {
  Fault fault = BIREME_STATUS_INIT;
  const std::string memory(size_t{5} << 20, 'x');
  const char* odd = memory.data() + (reinterpret_cast<uintptr_t>(memory.data()) % 64 == 0 ? 1 : 0);
  const size_t bytes = memory.size() - 1;
  Mapping copied;
  ASSERT_EQ(copied.use_memory(odd, bytes, fault), Code::ok);
  EXPECT_EQ(memcmp(copied.data(), odd, bytes), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(copied.data()) % (size_t{2} << 20), 0u);
}

}  // namespace
}  // namespace bireme::internal
