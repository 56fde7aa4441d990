#include "status.h"

#include <stdio.h>
#include <string.h>

namespace bireme::internal {
namespace {

struct Entry {
  Code code;
  const char* meaning;
  const char* hint;
};

constexpr Entry kEntries[] = {
    {Code::ok, "", ""},
#define BIREME_ERROR(number, name, meaning, hint) {Code::name, meaning, hint},
#include "errors.def"
#undef BIREME_ERROR
};

const Entry& entry_of(Code code) {
  for (const Entry& entry : kEntries)
    if (entry.code == code) return entry;
  return kEntries[0];
}

// Copies as much as fits and marks a cut, so that a name is never taken for a shorter one.
void copy_text(char* to, size_t capacity, const char* from) {
  const size_t length = from ? strlen(from) : 0;
  if (length < capacity) {
    memcpy(to, from ? from : "", length + 1);
    return;
  }
  memcpy(to, from, capacity - 4);
  memcpy(to + capacity - 4, "...", 4);
}

// `length` is what the whole message would have had.
void mark_cut(Fault& fault, int length) {
  if (length >= static_cast<int>(sizeof fault.message))
    memcpy(fault.message + sizeof fault.message - 4, "...", 4);
}

}  // namespace

Code fail(Fault& fault, Code code, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)fail_list(fault, code, format, arguments);
  va_end(arguments);
  return code;
}

Code fail_list(Fault& fault, Code code, const char* format, va_list arguments) {
  const Entry& entry = entry_of(code);
  fault.code = static_cast<int32_t>(code);
  fault.meaning = entry.meaning;
  fault.hint = entry.hint;
  fault.op[0] = fault.node[0] = 0;
  mark_cut(fault, vsnprintf(fault.message, sizeof fault.message, format, arguments));
  return code;
}

void prefix_message(Fault& fault, const char* prefix) {
  char message[sizeof fault.message];
  memcpy(message, fault.message, sizeof message);
  // The reason matters more than the front of a long path.
  const size_t taken = strlen(message) + strlen(": ") + 1;
  const size_t room = taken < sizeof message ? sizeof message - taken : 0;
  const size_t length = strlen(prefix);
  if (length > room) prefix += length - room;
  mark_cut(fault, snprintf(fault.message, sizeof fault.message, "%s: %s", prefix, message));
}

void locate(Fault& fault, const char* op, const char* node) {
  copy_text(fault.op, sizeof fault.op, op);
  copy_text(fault.node, sizeof fault.node, node);
}

}  // namespace bireme::internal
