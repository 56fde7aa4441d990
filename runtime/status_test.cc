#include "status.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace bireme::internal {
namespace {

TEST(Status, CarriesCodeMeaningHintAndMessage) {
  Fault fault = BIREME_STATUS_INIT;
  EXPECT_EQ(fail(fault, Code::wrong_size, "dimension %d is %d", 1, 7), Code::wrong_size);
  EXPECT_EQ(fault.code, 5007);
  EXPECT_STREQ(fault.message, "dimension 1 is 7");
  EXPECT_STRNE(fault.meaning, "");
  EXPECT_STRNE(fault.hint, "");
  EXPECT_STREQ(fault.node, "");
}

TEST(Status, MarksWhatDoesNotFit) {
  Fault fault = BIREME_STATUS_INIT;
  const std::string name(1000, 'n');
  EXPECT_EQ(fail(fault, Code::plan_invalid, "%s", name.c_str()), Code::plan_invalid);
  EXPECT_EQ(std::string(fault.message), std::string(sizeof fault.message - 4, 'n') + "...");
  locate(fault, "conv", name.c_str());
  EXPECT_STREQ(fault.op, "conv");
  EXPECT_EQ(std::string(fault.node), std::string(sizeof fault.node - 4, 'n') + "...");
  locate(fault, nullptr, nullptr);
  EXPECT_STREQ(fault.node, "");
}

TEST(Status, APrefixIsCutAtItsFront) {
  Fault fault = BIREME_STATUS_INIT;
  EXPECT_EQ(fail(fault, Code::truncated, "the reason"), Code::truncated);
  prefix_message(fault, "model.bireme");
  EXPECT_STREQ(fault.message, "model.bireme: the reason");
  EXPECT_EQ(fail(fault, Code::truncated, "the reason"), Code::truncated);
  prefix_message(fault, (std::string(1000, 'x') + "/model.bireme").c_str());
  const std::string message = fault.message;
  EXPECT_EQ(message.size(), sizeof fault.message - 1);
  EXPECT_EQ(message.substr(message.size() - 25), "/model.bireme: the reason");
}

TEST(Status, EveryErrorHasItsOwnNumberMeaningAndHint) {
  std::set<int> numbers;
  std::set<std::string> meanings;
#define BIREME_ERROR(number, name, meaning, hint)        \
  EXPECT_TRUE(number / 1000 == 4 || number / 1000 == 5); \
  EXPECT_TRUE(numbers.insert(number).second);            \
  EXPECT_TRUE(meanings.insert(meaning).second);          \
  EXPECT_STRNE(hint, "");
#include "errors.def"
#undef BIREME_ERROR
}

}  // namespace
}  // namespace bireme::internal
