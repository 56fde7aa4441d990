#include "imports.h"

#include <math.h>
#include <string.h>

namespace bireme::internal {
namespace {

struct Import {
  const char* name;
  void* function;
};

// C++ overloads some of these names; the type picks the C function.
template <class T>
using Unary = T(T);
template <class T>
using Binary = T(T, T);
template <class T>
using Ternary = T(T, T, T);
template <class T>
using Scale = T(T, int);

#define BIREME_IMPORT(name) {#name, reinterpret_cast<void*>(&::name)},
#define BIREME_MATH(kind, name)                                          \
  {#name, reinterpret_cast<void*>(static_cast<kind<double>*>(&::name))}, \
      {#name "f", reinterpret_cast<void*>(static_cast<kind<float>*>(&::name##f))},

const Import kImports[] = {
#include "imports.def"
};

}  // namespace

void* find_import(const char* name) {
  for (const Import& import : kImports)
    if (strcmp(import.name, name) == 0) return import.function;
  return nullptr;
}

}  // namespace bireme::internal
