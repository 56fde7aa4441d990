#include "scalars.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace bireme::internal {
namespace {

Code evaluate_all(const fb::Scalar* program, size_t count, const int64_t* symbols, int64_t* values,
                  Fault& fault) {
  for (size_t i = 0; i < count; ++i)
    BIREME_TRY(evaluate_scalar(program, i, symbols, values, fault));
  return Code::ok;
}

// Value of `op` on two numbers, or false with the message.
bool compute(fb::ScalarOp op, int64_t a, int64_t b, int64_t* result, std::string* message) {
  const fb::Scalar program[] = {
      {a, 0, fb::ScalarOp::Const}, {b, 0, fb::ScalarOp::Const}, {0, 1, op}};
  int64_t values[3];
  Fault fault = BIREME_STATUS_INIT;
  const Code code = evaluate_all(program, 3, nullptr, values, fault);
  *result = values[2];
  *message = fault.message;
  EXPECT_TRUE(code == Code::ok || code == Code::size_overflow);
  return code == Code::ok;
}

TEST(Scalars, Arithmetic) {
  struct Case {
    fb::ScalarOp op;
    int64_t a, b, expected;
  };
  const Case cases[] = {
      {fb::ScalarOp::Add, 3, -5, -2},       {fb::ScalarOp::Sub, 3, -5, 8},
      {fb::ScalarOp::Mul, -3, 5, -15},      {fb::ScalarOp::Min, 3, -5, -5},
      {fb::ScalarOp::Max, 3, -5, 3},        {fb::ScalarOp::FloorDiv, 7, 2, 3},
      {fb::ScalarOp::FloorDiv, -7, 2, -4},  {fb::ScalarOp::FloorDiv, 7, -2, -4},
      {fb::ScalarOp::FloorDiv, -7, -2, 3},  {fb::ScalarOp::FloorDiv, -8, 2, -4},
      {fb::ScalarOp::CeilDiv, 7, 2, 4},     {fb::ScalarOp::CeilDiv, -7, 2, -3},
      {fb::ScalarOp::CeilDiv, 7, -2, -3},   {fb::ScalarOp::CeilDiv, -7, -2, 4},
      {fb::ScalarOp::CeilDiv, 8, 2, 4},     {fb::ScalarOp::Mod, 7, 3, 1},
      {fb::ScalarOp::Mod, -7, 3, 2},        {fb::ScalarOp::Mod, 7, -3, -2},
      {fb::ScalarOp::Mod, INT64_MIN, 3, 1},
  };
  for (const Case& c : cases) {
    int64_t result;
    std::string message;
    ASSERT_TRUE(compute(c.op, c.a, c.b, &result, &message)) << message;
    EXPECT_EQ(result, c.expected) << fb::EnumNameScalarOp(c.op) << " " << c.a << " " << c.b;
  }
}

TEST(Scalars, WhatHasNoValueIsAnError) {
  struct Case {
    fb::ScalarOp op;
    int64_t a, b;
  };
  const Case cases[] = {
      {fb::ScalarOp::Add, INT64_MAX, 1},       {fb::ScalarOp::Sub, INT64_MIN, 1},
      {fb::ScalarOp::Mul, INT64_MAX, 2},       {fb::ScalarOp::FloorDiv, 1, 0},
      {fb::ScalarOp::CeilDiv, 1, 0},           {fb::ScalarOp::Mod, 1, 0},
      {fb::ScalarOp::FloorDiv, INT64_MIN, -1}, {fb::ScalarOp::CeilDiv, INT64_MIN, -1},
      {fb::ScalarOp::Mod, INT64_MIN, -1},
  };
  for (const Case& c : cases) {
    int64_t result;
    std::string message;
    EXPECT_FALSE(compute(c.op, c.a, c.b, &result, &message)) << fb::EnumNameScalarOp(c.op);
    EXPECT_NE(message.find(fb::EnumNameScalarOp(c.op)), std::string::npos) << message;
  }
}

TEST(Scalars, SymbolsAreTakenByIndex) {
  const fb::Scalar program[] = {
      {1, 0, fb::ScalarOp::Symbol}, {0, 0, fb::ScalarOp::Symbol}, {0, 1, fb::ScalarOp::Sub}};
  const int64_t symbols[] = {10, 3};
  int64_t values[3];
  Fault fault = BIREME_STATUS_INIT;
  ASSERT_EQ(evaluate_all(program, 3, symbols, values, fault), Code::ok);
  EXPECT_EQ(values[2], 3 - 10);
}

}  // namespace
}  // namespace bireme::internal
