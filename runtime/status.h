// Error codes and the record that every failing function fills. No allocation: a status can report
// that memory has run out.
#ifndef BIREME_RUNTIME_STATUS_H_
#define BIREME_RUNTIME_STATUS_H_

#include <stdarg.h>

#include "bireme/bireme.h"

namespace bireme::internal {

enum class [[nodiscard]] Code : int32_t {
  ok = 0,
#define BIREME_ERROR(number, name, meaning, hint) name = number,
#include "errors.def"
#undef BIREME_ERROR
};

using Fault = bireme_status;

// Fills `fault` with code, meaning, hint and a formatted message; returns `code`.
__attribute__((format(printf, 3, 4))) Code fail(Fault& fault, Code code, const char* format, ...);
Code fail_list(Fault& fault, Code code, const char* format, va_list arguments);

// Puts "prefix: " before the message.
void prefix_message(Fault& fault, const char* prefix);

// Adds where in the model the fault lies. Null is the same as "".
void locate(Fault& fault, const char* op, const char* node);

}  // namespace bireme::internal

// Returns from the calling function if `expression` is a Code other than ok.
#define BIREME_TRY(expression)                                   \
  do {                                                           \
    if (const ::bireme::internal::Code try_code_ = (expression); \
        try_code_ != ::bireme::internal::Code::ok)               \
      return try_code_;                                          \
  } while (false)

#endif  // BIREME_RUNTIME_STATUS_H_
