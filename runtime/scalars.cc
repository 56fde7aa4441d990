#include "scalars.h"

namespace bireme::internal {
namespace {

// Quotient rounded towards minus infinity. False where it is not defined or overflows.
bool floor_divide(int64_t a, int64_t b, int64_t* quotient) {
  if (b == 0 || (a == INT64_MIN && b == -1)) return false;
  *quotient = a / b - (a % b != 0 && (a < 0) != (b < 0));
  return true;
}

bool ceil_divide(int64_t a, int64_t b, int64_t* quotient) {
  if (b == 0 || (a == INT64_MIN && b == -1)) return false;
  *quotient = a / b + (a % b != 0 && (a < 0) == (b < 0));
  return true;
}

// Has the sign of `b`, as in Python.
bool floor_modulo(int64_t a, int64_t b, int64_t* remainder) {
  if (b == 0 || (a == INT64_MIN && b == -1)) return false;
  *remainder = a % b;
  if (*remainder != 0 && (*remainder < 0) != (b < 0)) *remainder += b;
  return true;
}

}  // namespace

Code evaluate_scalar(const fb::Scalar* program, size_t i, const int64_t* symbols, int64_t* values,
                     Fault& fault) {
  const fb::Scalar& entry = program[i];
  if (entry.op() == fb::ScalarOp::Const) {
    values[i] = entry.a();
    return Code::ok;
  }
  if (entry.op() == fb::ScalarOp::Symbol) {
    values[i] = symbols[entry.a()];
    return Code::ok;
  }
  const int64_t a = values[entry.a()];
  const int64_t b = values[entry.b()];
  bool defined = true;
  switch (entry.op()) {
    case fb::ScalarOp::Add:
      defined = !__builtin_add_overflow(a, b, &values[i]);
      break;
    case fb::ScalarOp::Sub:
      defined = !__builtin_sub_overflow(a, b, &values[i]);
      break;
    case fb::ScalarOp::Mul:
      defined = !__builtin_mul_overflow(a, b, &values[i]);
      break;
    case fb::ScalarOp::FloorDiv:
      defined = floor_divide(a, b, &values[i]);
      break;
    case fb::ScalarOp::CeilDiv:
      defined = ceil_divide(a, b, &values[i]);
      break;
    case fb::ScalarOp::Mod:
      defined = floor_modulo(a, b, &values[i]);
      break;
    case fb::ScalarOp::Min:
      values[i] = a < b ? a : b;
      break;
    case fb::ScalarOp::Max:
      values[i] = a < b ? b : a;
      break;
    default:
      defined = false;
  }
  if (defined) return Code::ok;
  return fail(
      fault, Code::size_overflow, "size expression %zu (%s of %lld and %lld) has no 64-bit value",
      i, fb::EnumNameScalarOp(entry.op()), static_cast<long long>(a), static_cast<long long>(b));
}

}  // namespace bireme::internal
